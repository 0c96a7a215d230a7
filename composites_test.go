package imagecdn_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
)

// stores are those whose composites must follow their inputs.
var stores = []struct {
	name string
	open func(t *testing.T) cache.Store
}{
	{"memory", func(*testing.T) cache.Store { return cache.NewMemory(0) }},
	{"disk", func(t *testing.T) cache.Store { return openCacheDisk(t, t.TempDir()) }},
	{"tiered", func(t *testing.T) cache.Store { return cache.Tiered(cache.NewMemory(0), openCacheDisk(t, t.TempDir())) }},
}

func openCacheDisk(t *testing.T, dir string) *cache.Disk {
	t.Helper()
	d, err := cache.OpenDisk(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// marking is an origin with three photographs and two equal watermarks.
func marking(t *testing.T) *fakeOrigin {
	o := newOrigin()
	for i := range 3 {
		o.set(fmt.Sprintf("/%d.png", i), answer{header: cachedAnHour, body: paint(t, red, 40, 40+i)})
	}
	for _, mark := range []string{"/logo.png", "/seal.png"} {
		o.set(mark, answer{header: cachedAnHour, body: paint(t, blue, 10, 10)})
	}
	return o
}

// photos are the URLs of the photographs, as they are or with more parameters.
func photos(more string) (urls []string) {
	for i := range 3 {
		urls = append(urls, fmt.Sprintf("/photos/%d.png?w=20%s", i, more))
	}
	return urls
}

const withLogo, withSeal = "&mark=/photos/logo.png", "&mark=/photos/seal.png"

// see asks for all of them, and returns how many were made for that, and the bytes of all together.
func see(t *testing.T, h *imagecdn.Handler, urls []string) (made, bytes int) {
	t.Helper()
	before := imagecdn.Renders(h)
	for _, url := range urls {
		bytes += mustGet(t, h, url).Body.Len()
	}
	return imagecdn.Renders(h) - before, bytes
}

func TestAPurgeOfAWatermarkRemovesAndCountsItsComposites(t *testing.T) {
	repainted := answer{header: version2, body: paint(t, green, 10, 10)}
	for _, c := range []struct {
		rule    string
		mode    purge.Mode
		then    *answer
		outcome purge.Outcome
		removed [3]int
		remade  int
	}{
		{"delete, and it comes back as it was", purge.Delete, nil, purge.Removed, [3]int{1, 1, 3}, 3},
		{"delete, and it comes back as another", purge.Delete, &repainted, purge.Removed, [3]int{1, 1, 3}, 3},
		{"revalidate what is unchanged", purge.Revalidate, nil, purge.Unchanged, [3]int{}, 0},
		{"revalidate what has changed", purge.Revalidate, &repainted, purge.Changed, [3]int{1, 1, 3}, 3},
		{"stale, and it has changed", purge.Stale, &repainted, purge.Changed, [3]int{1, 1, 3}, 3},
	} {
		t.Run(c.rule, func(t *testing.T) {
			for _, store := range stores {
				t.Run(store.name, func(t *testing.T) {
					o := marking(t)
					h := open(t, o, &imagecdn.Options{Cache: store.open(t)})
					see(t, h, photos(""))
					see(t, h, photos(withSeal)) // equal bytes under another name
					see(t, h, []string{"/photos/logo.png?w=5"})
					made, bytes := see(t, h, photos(withLogo))
					if again, _ := see(t, h, photos(withLogo)); made != 3 || again != 0 {
						t.Fatalf("made %d, then %d", made, again)
					}
					if c.then != nil {
						o.set("/logo.png", *c.then)
					}
					rec, states := purged(t, h, purge.Options{Mode: c.mode}, "/photos/logo.png")
					got := rec.Paths[0]
					if rec.State != purge.Done || got.Outcome != c.outcome || [3]int{got.Originals, got.Derivatives, got.Composites} != c.removed {
						t.Errorf("%v: %+v, want %s and %v", states, got, c.outcome, c.removed)
					}
					if c.remade > 0 && got.Bytes < int64(bytes) || c.remade == 0 && got.Bytes != 0 {
						t.Errorf("%d bytes, and the composites had %d", got.Bytes, bytes)
					}
					if made, _ := see(t, h, photos("")); made != 0 {
						t.Errorf("%d pictures without the watermark were made anew", made)
					}
					if made, _ := see(t, h, photos(withSeal)); made != 0 {
						t.Errorf("%d pictures with another watermark were made anew", made)
					}
					if made, _ := see(t, h, photos(withLogo)); made != c.remade {
						t.Errorf("%d composites were made anew, want %d", made, c.remade)
					}
					if made, _ := see(t, h, photos(withLogo)); made != 0 {
						t.Errorf("what was made anew was not kept: %d", made)
					}

					// Composites go with the image that they are on as well, and count there.
					rec, _ = purged(t, h, purge.Options{}, "/photos/0.png", "/photos/logo.png")
					if n := []int{rec.Paths[0].Composites, rec.Paths[1].Composites}; !slices.Equal(n, []int{2, 2}) && !slices.Equal(n, []int{1, 3}) {
						t.Errorf("composites %v, want two of 0.png and two more, in one order or the other", n)
					}
				})
			}
		})
	}
}

func TestAPurgeOfASourceOfWatermarksRemovesTheirComposites(t *testing.T) {
	for _, store := range stores {
		t.Run(store.name, func(t *testing.T) {
			o := marking(t)
			h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: o}, "marks": {Transport: o}}, &imagecdn.Options{Cache: store.open(t)})
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			const withMark = "&mark=/marks/logo.png"
			see(t, h, photos(""))
			_, bytes := see(t, h, photos(withMark))
			rec, _ := purged(t, h, purge.Options{Source: "marks"})
			if p := rec.Paths[0]; rec.State != purge.Done || p.Composites != 3 || p.Bytes < int64(bytes) {
				t.Errorf("%v: %+v", rec.State, p)
			}
			if made, _ := see(t, h, photos("")); made != 0 {
				t.Errorf("%d pictures without the watermark were made anew", made)
			}
			if made, _ := see(t, h, photos(withMark)); made != 3 {
				t.Errorf("%d composites were made anew", made)
			}
		})
	}
}

// unfreed is a cache that frees nothing until it is closed, as where the power goes just after a purge.
type unfreed struct{ *cache.Disk }

func (unfreed) Remove(ctx context.Context, _, _ string) (cache.Removed, error) {
	<-ctx.Done()
	return cache.Removed{}, ctx.Err()
}

// Between the moment when a purge of a watermark was accepted and the one when its composites are freed, the server restarts.
func TestAPurgeOfAWatermarkGoesOnAfterARestart(t *testing.T) {
	dir, o, log := t.TempDir(), marking(t), new(purge.MemoryLog)
	done := make(chan purge.Event, 10)
	start := func(store cache.Store) *imagecdn.Handler {
		h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: o}}, &imagecdn.Options{
			Cache: store,
			Purge: &purge.ServiceOptions{Log: log, CloseTimeout: -1, OnStatus: func(e purge.Event) {
				if e.State.Final() {
					done <- e
				}
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	h := start(unfreed{openCacheDisk(t, dir)})
	see(t, h, photos(""))
	_, bytes := see(t, h, photos(withLogo))
	if _, err := h.Purge(t.Context(), []string{"/photos/logo.png"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}

	h = start(cache.Tiered(cache.NewMemory(0), openCacheDisk(t, dir)))
	defer h.Close()
	e := <-done
	if p := e.Record.Paths[0]; e.State != purge.Done || p.Composites != 3 || p.Bytes < int64(bytes) {
		t.Errorf("%v: %+v", e.State, p)
	}
	if made, _ := see(t, h, photos("")); made != 0 {
		t.Errorf("%d pictures without the watermark were made anew", made)
	}
	if made, _ := see(t, h, photos(withLogo)); made != 3 {
		t.Errorf("%d composites were made anew", made)
	}
	if n := diskFiles(t, filepath.Join(dir, "trash")); n != 0 {
		t.Errorf("%d files are left in the trash", n)
	}
}

// A picture with itself for a watermark is a composite like any other.
func TestAPictureOnItself(t *testing.T) {
	h := open(t, marking(t), nil)
	see(t, h, []string{"/photos/0.png?w=20&mark=/photos/0.png"})
	rec, _ := purged(t, h, purge.Options{}, "/photos/0.png")
	if p := rec.Paths[0]; p.Originals != 1 || p.Composites != 1 {
		t.Errorf("%+v", p)
	}
	w := mustGet(t, h, "/photos/0.png?w=20&mark=/photos/0.png")
	if got := w.Header().Get("Cache-Status"); !strings.Contains(got, "fwd=miss") || w.Code != http.StatusOK {
		t.Errorf("Cache-Status %q", got)
	}
}

func TestAPurgeOfAFolderOfWatermarksRemovesTheirComposites(t *testing.T) {
	for _, store := range stores {
		t.Run(store.name, func(t *testing.T) {
			o := marking(t)
			o.set("/marks/logo.png", answer{header: cachedAnHour, body: paint(t, blue, 10, 10)})
			h := open(t, o, &imagecdn.Options{Cache: store.open(t)})
			const withMark = "&mark=/photos/marks/logo.png"
			see(t, h, photos(""))
			_, bytes := see(t, h, photos(withMark))
			job, err := h.PurgeFolders(t.Context(), []string{"/photos/marks/"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			rec, err := job.Wait(t.Context())
			if p := rec.Paths[0]; err != nil || rec.State != purge.Done || p.Composites != 3 || p.Bytes < int64(bytes) {
				t.Errorf("%v, %v: %+v", rec.State, err, p)
			}
			if made, _ := see(t, h, photos("")); made != 0 {
				t.Errorf("%d pictures without the watermark were made anew", made)
			}
			if made, _ := see(t, h, photos(withMark)); made != 3 {
				t.Errorf("%d composites were made anew", made)
			}
		})
	}
}
