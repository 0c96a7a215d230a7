package cache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

// check compares the index with what ristretto holds, of a Memory that nobody is using.
func (m *Memory) check() error {
	m.cache.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for ik, things := range m.index {
		if len(things) == 0 {
			return fmt.Errorf("%v is in the index and has nothing", ik)
		}
		for k, h := range things {
			if k != h.key {
				return fmt.Errorf("%v is in the index as %v", h.key, k)
			}
			for _, in := range append([]Input{{k.Source, k.Image}}, h.thing.Inputs...) {
				if m.index[imageKey{in.Source, in.Image}][k] != h {
					return fmt.Errorf("%v is in the index under %v, and not under %v", k, ik, in)
				}
			}
			if ik != (imageKey{k.Source, k.Image}) {
				continue // a composite, counted under its own image
			}
			if got, ok := m.cache.Get(m.hash(k)); !ok || got != h {
				return fmt.Errorf("%v is in the index alone", k)
			}
			n++
		}
	}
	count, bytes := 0, int64(0)
	m.cache.IterValues(func(h *held) bool {
		count++
		bytes += h.thing.size()
		return false
	})
	if count != n {
		return fmt.Errorf("%d things are in the index, %d are held", n, count)
	}
	if bytes > max(0, m.bytes) {
		return fmt.Errorf("%d bytes are held, at most %d are allowed", bytes, m.bytes)
	}
	return nil
}

func TestMemoryIsBoundedAndItsIndexRight(t *testing.T) {
	m := NewMemory(1 << 20)
	defer m.Close()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 3))
			for range 500 {
				image := fmt.Sprint("/", r.IntN(100))
				k := Key{"s", image, Kind(r.IntN(3)), DigestOf([]byte{byte(r.IntN(4))})}
				switch r.IntN(10) {
				case 0:
					m.Remove(context.Background(), "s", image)
				case 1, 2, 3:
					m.Get(context.Background(), k)
				default:
					th := &Thing{Body: make([]byte, r.IntN(20_000))}
					if k.Kind == Composite {
						th.Inputs = []Input{{"s", fmt.Sprint("/", r.IntN(5))}, {"t", "/logo"}}[:r.IntN(3)]
					}
					m.Put(context.Background(), k, th, nil)
				case 4:
					if r.IntN(20) == 0 {
						m.RemoveAll(context.Background(), "t")
					}
				}
			}
		})
	}
	wg.Wait()
	if err := m.check(); err != nil {
		t.Error(err)
	}
}

func TestMemoryKeepsNothingLargerThanItself(t *testing.T) {
	for _, size := range []int64{-1, 1, 1 << 10, 1 << 20} {
		m := NewMemory(size)
		k := keyOf("/cat", Original, "x")
		if err := m.Put(context.Background(), k, &Thing{Body: make([]byte, 1<<20)}, nil); err != nil {
			t.Error(err)
		}
		if _, err := m.Get(context.Background(), k); err == nil {
			t.Errorf("1 MiB was kept in %d bytes", size)
		}
		if err := m.check(); err != nil {
			t.Error(err)
		}
		m.Close()
	}
}

// A purge that comes while a thing is put finds nothing to free. The thing goes all the same.
func TestAPurgeWhileAThingIsPut(t *testing.T) {
	m := NewMemory(0)
	defer m.Close()
	k := keyOf("/cat", Original, "x")
	purged := false
	valid := func() bool {
		was := purged
		purged = true
		return !was
	}
	if err := m.Put(context.Background(), k, &Thing{Body: []byte("x")}, valid); err != nil {
		t.Fatal(err)
	}
	if th, err := m.Get(context.Background(), k); err == nil {
		t.Errorf("got %q", th.Body)
	}
	if err := m.check(); err != nil {
		t.Error(err)
	}
}

func TestMemoryIsClosedWhileItIsUsed(t *testing.T) {
	for range 10 {
		m := NewMemory(0)
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := range 100 {
					k := keyOf("/cat", Kind(g%3), fmt.Sprint(i))
					m.Put(context.Background(), k, &Thing{Body: []byte("x")}, nil)
					m.Get(context.Background(), k)
					m.Remove(context.Background(), "s", "/cat")
				}
			})
		}
		wg.Go(func() { m.Close() })
		wg.Wait()
	}
}
