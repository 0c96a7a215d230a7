package cache_test

import (
	"context"
	"testing"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/cache/cachetest"
)

func openDisk(t *testing.T, dir string) *cache.Disk {
	t.Helper()
	d, err := cache.OpenDisk(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestStores(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) cache.Store{
		"Memory":                  func(t *testing.T) cache.Store { return cache.NewMemory(64 << 20) },
		"Disk":                    func(t *testing.T) cache.Store { return openDisk(t, t.TempDir()) },
		"Tiered(Memory, Disk)":    func(t *testing.T) cache.Store { return cache.Tiered(cache.NewMemory(64<<20), openDisk(t, t.TempDir())) },
		"Disk of the fault loops": func(t *testing.T) cache.Store { return cache.OpenCrashDisk(t) },
		"Tiered(Memory, Memory)":  func(t *testing.T) cache.Store { return cache.Tiered(cache.NewMemory(64<<20), cache.NewMemory(64<<20)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cachetest.TestStore(t, open)
		})
	}
}

func TestDiskIsAKeeper(t *testing.T) {
	cachetest.TestKeeper(t, func(t *testing.T, dir string) cachetest.KeepingStore { return openDisk(t, dir) })
}

func TestWhatTheSlowTierHasIsCopiedToTheFast(t *testing.T) {
	fast, slow := cache.NewMemory(0), cache.NewMemory(0)
	s := cache.Tiered(fast, slow)
	k := cache.Key{Source: "s", Image: "/a", Sum: cache.DigestOf([]byte("x"))}
	if err := slow.Put(context.Background(), k, &cache.Thing{Body: []byte("x")}, nil); err != nil {
		t.Fatal(err)
	}
	if th, err := s.Get(context.Background(), k); err != nil || string(th.Body) != "x" {
		t.Fatalf("got %v, %v", th, err)
	}
	if th, err := fast.Get(context.Background(), k); err != nil || string(th.Body) != "x" {
		t.Errorf("the fast tier has %v, %v", th, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
