package imagecdn_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
)

// A countingStore counts how often it is asked.
type countingStore struct {
	cache.Store
	gets atomic.Int64
}

func (s *countingStore) Get(ctx context.Context, k cache.Key) (*cache.Thing, error) {
	s.gets.Add(1)
	return s.Store.Get(ctx, k)
}

// What is remembered of a URL says what the store and the origin would say, and the store learns which pictures are
// popular.
func TestWhatIsRememberedOfAURL(t *testing.T) {
	for _, url := range []string{"/photos/a.png?w=10", "/photos/a.png"} {
		synctest.Test(t, func(t *testing.T) {
			o := newOrigin()
			o.set("/a.png", answer{header: cacheFor("max-age=100"), body: paint(t, red, 20, 20)})
			store := &countingStore{Store: cache.NewMemory(0)}
			h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: o}}, &imagecdn.Options{Cache: store})
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			check := func(w *httptest.ResponseRecorder, name, want string) {
				t.Helper()
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: %s is %q, want %q", url, name, got, want)
				}
			}
			start := time.Now()
			get(h, url)
			get(h, url)
			before := store.gets.Load()
			for range 20 {
				get(h, url)
			}
			if n := store.gets.Load() - before; n != 0 {
				t.Errorf("%s: the store was asked %d times in one moment", url, n)
			}
			for range 20 {
				time.Sleep(10 * time.Millisecond)
				get(h, url)
			}
			if n := store.gets.Load() - before; n != 20 {
				t.Errorf("%s: the store was asked %d times, not once in 10 ms", url, n)
			}

			for range 5 {
				time.Sleep(1500 * time.Millisecond)
				w := get(h, url)
				age := time.Since(start)
				check(w, "Age", fmt.Sprint(int(age.Seconds())))
				check(w, "Cache-Status", fmt.Sprintf("imagecdn; hit; ttl=%d", int((100*time.Second-age).Seconds())))
			}

			// Purged, and the origin sends the same bytes: nothing of before is served.
			etag := get(h, url).Header().Get("Etag")
			job, err := h.Purge(t.Context(), []string{"/photos/a.png"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := job.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			asked := store.gets.Load()
			w := get(h, url)
			check(w, "Cache-Status", "imagecdn; fwd=miss; stored")
			check(w, "Etag", etag)
			if url != "/photos/a.png" && store.gets.Load() == asked {
				t.Errorf("%s: after a purge the picture came out of what was remembered", url)
			}
		})
	}
}
