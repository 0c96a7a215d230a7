package blobcache_test

import (
	"testing"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/s3blob"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/cache/blobcache"
	"github.com/imagecdn/imagecdn/cache/cachetest"
	"github.com/imagecdn/imagecdn/internal/s3test"
)

// Each rule gets a prefix of its own in one bucket, and so sees nothing of the others.
func TestS3(t *testing.T) {
	b := openS3(t)
	for name, open := range map[string]func(s *blobcache.Store) cache.Store{
		"alone":            func(s *blobcache.Store) cache.Store { return s },
		"Tiered(Disk, S3)": func(s *blobcache.Store) cache.Store { return cache.Tiered(openDisk(t), s) },
	} {
		t.Run(name, func(t *testing.T) {
			cachetest.TestStore(t, func(t *testing.T) cache.Store {
				return open(must(blobcache.New(t.Context(), b, &blobcache.Options{Prefix: t.Name()}))(t))
			})
		})
	}
}

func openS3(t testing.TB) *blob.Bucket {
	t.Helper()
	b, err := blob.OpenBucket(t.Context(), s3test.Bucket(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func openDisk(t testing.TB) *cache.Disk {
	t.Helper()
	d, err := cache.OpenDisk(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
