package blobcache_test

import (
	"fmt"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/cache/blobcache"
)

// A hit in each tier, of a body of 35 KB and one of 800 KB: a picture and an original.
func BenchmarkGet(b *testing.B) {
	for _, tier := range []struct {
		name string
		open func(b *testing.B) cache.Store
	}{
		{"memory", func(*testing.B) cache.Store { return cache.NewMemory(0) }},
		{"disk", func(b *testing.B) cache.Store { return openDisk(b) }},
		{"bucket in memory", func(b *testing.B) cache.Store { return openBench(b, memblob.OpenBucket(nil)) }},
		{"bucket of S3 on loopback", func(b *testing.B) cache.Store { return openBench(b, openS3(b)) }},
	} {
		b.Run(tier.name, func(b *testing.B) {
			s := tier.open(b)
			defer s.Close()
			for _, size := range []int{35_000, 800_000} {
				k, th := key("s", "/cat", cache.Derivative, fmt.Sprint(size)), &cache.Thing{Header: cat.Header, Body: make([]byte, size)}
				if err := s.Put(b.Context(), k, th, nil); err != nil {
					b.Fatal(err)
				}
				if bs, ok := s.(*blobcache.Store); ok {
					settle(bs)
				}
				b.Run(fmt.Sprintf("%dKB", size/1000), func(b *testing.B) {
					b.SetBytes(int64(size))
					for b.Loop() {
						if _, err := s.Get(b.Context(), k); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		})
	}
}

func openBench(b *testing.B, bucket *blob.Bucket) *blobcache.Store {
	s, err := blobcache.New(b.Context(), bucket, nil)
	if err != nil {
		b.Fatal(err)
	}
	return s
}
