package imagecdn_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/internal/samples"
)

// A discarding ResponseWriter, reused, so that only the handler's own work is counted.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }

func BenchmarkServeHTTP(b *testing.B) {
	o := newOrigin()
	o.set("/cat.png", answer{header: cacheFor("max-age=3600"), body: paint(b, red, 640, 480)})
	h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: o}, "samples": imagecdn.FS(samples.FS())}, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	for _, c := range []struct{ name, url, match, accept string }{
		{"memory hit", "/photos/cat.png?w=500&h=300&fit=crop", "", ""},
		{"negotiated", "/photos/cat.png?w=500&h=300&fit=crop&auto=format", "", "image/webp,image/apng,*/*"},
		{"not modified", "/photos/cat.png?w=500&h=300&fit=crop", "*", ""},
		{"original", "/photos/cat.png", "", ""},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, c.url, nil)
			if c.match != "" {
				r.Header.Set("If-None-Match", c.match)
			}
			if c.accept != "" {
				r.Header.Set("Accept", c.accept)
			}
			w := &discard{make(http.Header)}
			h.ServeHTTP(w, r)
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				h.ServeHTTP(w, r)
			}
		})
	}
}

// What Prometheus costs, every quarter of a minute.
func BenchmarkMetrics(b *testing.B) {
	for _, images := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("%d images", images), func(b *testing.B) {
			o := newOrigin()
			body := paint(b, red, 4, 4)
			h := open(b, o, nil)
			for i := range images {
				path := fmt.Sprintf("/%d.png", i)
				o.set(path, answer{header: cacheFor("max-age=3600"), body: body})
				mustGet(b, h, "/photos"+path)
			}
			admin := h.Admin(&imagecdn.AdminOptions{PublicMetrics: true})
			r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
			w := &discard{make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				admin.ServeHTTP(w, r)
			}
		})
	}
}
