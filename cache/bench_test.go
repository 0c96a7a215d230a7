package cache

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"testing"
)

func BenchmarkLookup(b *testing.B) {
	for name, purge := range map[string]func(*Table) error{
		"hit": func(*Table) error { return nil },
		"hit/100k purges": func(t *Table) (err error) {
			for i := range 100_000 {
				err = t.Purge("s", fmt.Sprint("/purged", i), Delete)
			}
			return err
		},
		"hit/Stale of all": func(t *Table) error { return t.PurgeAll("", Stale) },
	} {
		b.Run(name, func(b *testing.B) {
			table := NewTable(nil, nil)
			for i := range 10_000 {
				table.Commit(table.Lease(Name{"s", fmt.Sprint("/photos/", i, ".jpg"), ""}), newEntry(1))
			}
			if err := purge(table); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				n := Name{"s", "/photos/4711.jpg", ""}
				for pb.Next() {
					if table.Lookup(table.Lease(n)) == nil {
						b.Fatal("not found")
					}
				}
			})
		})
	}
}

func BenchmarkMemoryGet(b *testing.B) {
	m := NewMemory(0)
	defer m.Close()
	k := keyOf("/cat", Derivative, "x")
	if err := m.Put(context.Background(), k, &Thing{Body: make([]byte, 35_000)}, nil); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := m.Get(context.Background(), k); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDisk(b *testing.B) {
	body := make([]byte, 35_000)
	rand.Read(body)
	th := &Thing{Header: http.Header{"Content-Type": {"image/jpeg"}, "Cache-Control": {"max-age=60"}, "Etag": {`"abc"`}}, Body: body}
	d := openDisk(b, b.TempDir(), nil)
	k := keyOf("/cat", Derivative, "x")
	if err := d.Put(context.Background(), k, th, nil); err != nil {
		b.Fatal(err)
	}
	b.Run("Get", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.Get(context.Background(), k); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Put", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			i++
			if err := d.Put(context.Background(), keyOf("/cat", Derivative, fmt.Sprint(i)), th, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Purge", func(b *testing.B) {
		table := NewTable(d, nil)
		for b.Loop() {
			if err := table.Purge("s", "/dog", Delete); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkFetchHit(b *testing.B) {
	m := NewMemory(0)
	defer m.Close()
	t := NewTransport(m, &fakeOrigin{answer: always(200, "one")}, &TransportOptions{Source: "s"})
	defer t.Close()
	if _, err := t.Fetch(b.Context(), "/photos/4711.jpg", ""); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := t.Fetch(context.Background(), "/photos/4711.jpg", ""); err != nil {
				b.Fatal(err)
			}
		}
	})
}
