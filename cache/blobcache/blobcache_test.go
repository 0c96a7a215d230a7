package blobcache_test

import (
	"context"
	"testing"
	"time"

	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/memblob"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/cache/blobcache"
	"github.com/imagecdn/imagecdn/cache/cachetest"
)

func TestStores(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) cache.Store{
		"memory": openMemory,
		"files":  openFiles,
		"Tiered(Memory, memory)": func(t *testing.T) cache.Store {
			return cache.Tiered(cache.NewMemory(64<<20), openMemory(t))
		},
		"Tiered(Tiered(Memory, Disk), memory)": func(t *testing.T) cache.Store {
			d, err := cache.OpenDisk(t.TempDir(), nil)
			if err != nil {
				t.Fatal(err)
			}
			return cache.Tiered(cache.Tiered(cache.NewMemory(64<<20), d), openMemory(t))
		},
		"Tiered(Disk, files)": func(t *testing.T) cache.Store {
			d, err := cache.OpenDisk(t.TempDir(), nil)
			if err != nil {
				t.Fatal(err)
			}
			return cache.Tiered(d, openFiles(t))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cachetest.TestStore(t, open)
		})
	}
}

func openMemory(t *testing.T) cache.Store {
	b := memblob.OpenBucket(nil)
	t.Cleanup(func() { b.Close() })
	return must(blobcache.New(t.Context(), b, nil))(t)
}

func openFiles(t *testing.T) cache.Store {
	b, err := fileblob.OpenBucket(t.TempDir(), &fileblob.Options{NoTempDir: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return must(blobcache.New(context.Background(), b, &blobcache.Options{Prefix: "cache"}))(t)
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// Nodes that begin with an empty bucket at once each write a generation. What one puts the others find soon, and not only with the next Refresh.
func TestNodesThatBeginAtOnce(t *testing.T) {
	bucket := memblob.OpenBucket(nil)
	defer bucket.Close()
	a := open(t, bucket, nil)
	if err := bucket.WriteAll(t.Context(), "generations/all/00000000000000000009-0000000000000000", []byte("by another\n"), nil); err != nil {
		t.Fatal(err)
	}
	b := open(t, bucket, nil)
	k, th := key("photos", "/cat.jpg", cache.Derivative, "w=1"), thing("cat")
	put(t, b, k, th)
	for end := time.Now().Add(30 * time.Second); !has(t, a, k, th); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is not found")
		}
	}
}
