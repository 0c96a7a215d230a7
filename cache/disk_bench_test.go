package cache

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkDiskGet compares Get with the least that reading a file takes, and with what net/http does to serve one.
func BenchmarkDiskGet(b *testing.B) {
	for _, size := range []int{4 << 10, 35_000, 512 << 10} {
		d := openDisk(b, b.TempDir(), nil)
		body := make([]byte, size)
		rand.Read(body)
		th := &Thing{Header: http.Header{"Content-Type": {"image/jpeg"}, "Cache-Control": {"max-age=60"}, "Etag": {`"abc"`}}, Body: body}
		k := keyOf("/cat", Derivative, "x")
		if err := d.Put(context.Background(), k, th, nil); err != nil {
			b.Fatal(err)
		}
		path := filepath.Join(d.folder("s", "/cat"), k.file())
		run := func(name string, do func() error) {
			b.Run(fmt.Sprintf("%d/%s", size, name), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if err := do(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		run("Get", func() error { _, err := d.Get(context.Background(), k); return err })
		run("os.ReadFile", func() error { _, err := os.ReadFile(path); return err })
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		run("http.ServeContent", func() error {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			http.ServeContent(discard{make(http.Header)}, req, "x.jpg", time.Time{}, f)
			return nil
		})
	}
}

// discard is a response that nobody reads.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

// BenchmarkDiskPut compares Put of new things with writing files that nobody checks, in as many folders.
func BenchmarkDiskPut(b *testing.B) {
	const size = 35_000
	body := make([]byte, size)
	rand.Read(body)
	th := &Thing{Header: http.Header{"Content-Type": {"image/jpeg"}, "Cache-Control": {"max-age=60"}, "Etag": {`"abc"`}}, Body: body}
	b.Run("Put", func(b *testing.B) {
		d := openDisk(b, b.TempDir(), &DiskOptions{MaxBytes: 1 << 30})
		b.SetBytes(size)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if err := d.Put(context.Background(), keyOf(fmt.Sprint("/", i%100), Derivative, fmt.Sprint(i)), th, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("os.WriteFile", func(b *testing.B) {
		dir := b.TempDir()
		for i := range 100 {
			if err := os.Mkdir(filepath.Join(dir, fmt.Sprint(i)), 0o700); err != nil {
				b.Fatal(err)
			}
		}
		b.SetBytes(size)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i%100), fmt.Sprint(i%7000)), body, 0o600); err != nil {
				b.Fatal(err)
			}
		}
	})
}
