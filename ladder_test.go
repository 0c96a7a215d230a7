package imagecdn_test

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
)

// Each query, and what is asked for in its place.
func TestLadder(t *testing.T) {
	both := imagecdn.Ladder{Widths: []int{160, 320, 640, 1280}, Qualities: []int{40, 60, 80}}
	for _, test := range []struct{ query, want string }{
		{"w=1.5", "w=160"},
		{"w=159", "w=160"},
		{"w=160", "w=160"},
		{"w=161", "w=320"},
		{"w=1281", "w=1280"},
		{"w=8192", "w=1280"},
		{"h=161", "h=320"},
		{"w=320&h=240", "w=320&h=240"},
		{"w=300&h=200", "w=320&h=213"},
		{"w=306&h=204", "w=320&h=213"},
		{"w=1000&h=1000&fit=crop", "w=1280&h=1280&fit=crop"},
		{"w=4000&h=2&fit=crop", "w=1280&h=2&fit=crop"},
		{"w=0.5", "w=0.5"},
		{"w=0.5&h=0.333", "w=0.5&h=0.333"},
		{"w=0.5&h=200&fit=crop", "w=0.5&h=320&fit=crop"},
		{"w=300&h=0.5&fit=crop", "w=320&h=0.5&fit=crop"},
		{"w=300&ar=16:9&fit=crop", "w=320&ar=16:9&fit=crop"},

		// With a density.
		{"w=160&dpr=2", "w=320"},
		{"w=150&dpr=2", "w=320"},
		{"w=150&dpr=2.0001", "w=320"},
		{"w=300&h=200&dpr=2&fit=crop", "w=640&h=427&fit=crop"},
		{"w=160&dpr=0.5", "w=160"},
		{"w=300&dpr=2&pad=10", "w=320&dpr=2&pad=10"},
		{"w=300&dpr=1.9&pad=10", "w=320&dpr=2&pad=10"},
		{"w=300&dpr=3&pad=10", "w=427&dpr=3&pad=10"},
		{"w=300&dpr=1&pad=10", "w=320&pad=10"},

		// What is not a size.
		{"q=1", "q=40"},
		{"q=75", "q=80"},
		{"q=100", "q=80"},
		{"w=300&q=61", "w=320&q=80"},
		{"blur=7", "blur=7"},
		{"auto=format&w=300", "auto=format&w=320"},
		{"", ""},
	} {
		got := snapped(t, both, test.query)
		want, _, err := imagecdn.ParseParams(test.want, true)
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != want.String() {
			t.Errorf("%s: got %s, want %s", test.query, got, want)
		}
		again := snapped(t, both, got.String())
		if again.String() != got.String() && !strings.Contains(test.query, "dpr=3") { // a rung that three pixels do not divide
			t.Errorf("%s: %s is moved on to %s", test.query, got, again)
		}
	}
	none := imagecdn.Ladder{}
	if got := snapped(t, none, "w=161&dpr=2&q=61").String(); got != "w=161&dpr=2&q=61" {
		t.Errorf("with no rungs: got %s", got)
	}
}

func snapped(t *testing.T, l imagecdn.Ladder, query string) imagecdn.Params {
	t.Helper()
	req, err := imagecdn.WithLadder(imagecdn.Native{Strict: true}, l).ParseRequest(&url.URL{Path: "/photos/cat.jpg", RawQuery: query})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return req.Params
}

// All widths there are, in all densities, are as many pictures as there are rungs.
func TestLadderBoundsSizes(t *testing.T) {
	l := imagecdn.Ladder{Widths: []int{160, 320, 640, 1280, 2560}}
	seen := make(map[string]bool)
	for w := 2; w <= 8192; w += 3 {
		for _, dpr := range []string{"1", "1.5", "2", "2.62"} {
			query := fmt.Sprintf("w=%d&dpr=%s", w, dpr)
			if _, _, err := imagecdn.ParseParams(query, true); err == nil {
				seen[snapped(t, l, query).String()] = true
			}
		}
	}
	if len(seen) != len(l.Widths) {
		t.Errorf("%d pictures: %v", len(seen), seen)
	}
}

func TestURLsOfOneRungShareAPicture(t *testing.T) {
	o := newOrigin()
	o.set("/cat.png", answer{header: cacheFor("max-age=60"), body: paint(t, red, 640, 480)})
	h := open(t, o, &imagecdn.Options{Ladder: &imagecdn.Ladder{Widths: []int{160, 320}}})
	first := mustGet(t, h, "/photos/cat.png?w=100")
	for _, query := range []string{"w=160", "w=80&dpr=2", "width=99", "w=150&strange=1"} {
		w := mustGet(t, h, "/photos/cat.png?"+query)
		if w.Header().Get("Etag") != first.Header().Get("Etag") || !bytes.Equal(w.Body.Bytes(), first.Body.Bytes()) {
			t.Errorf("%s is another picture", query)
		}
	}
	if imagecdn.Renders(h) != 1 {
		t.Errorf("%d renders", imagecdn.Renders(h))
	}
	m, err := png.DecodeConfig(first.Body)
	if err != nil || m.Width != 160 || m.Height != 120 {
		t.Errorf("%v, %v", m, err)
	}
}

func TestBadLadders(t *testing.T) {
	for _, test := range []struct {
		ladder imagecdn.Ladder
		says   string
	}{
		{imagecdn.Ladder{Widths: []int{320, 160}}, "Options.Ladder.Widths: 160"},
		{imagecdn.Ladder{Widths: []int{320, 320}}, "Options.Ladder.Widths: 320"},
		{imagecdn.Ladder{Widths: []int{1}}, "Options.Ladder.Widths: 1"},
		{imagecdn.Ladder{Widths: []int{8193}}, "Options.Ladder.Widths: 8193"},
		{imagecdn.Ladder{Qualities: []int{0}}, "Options.Ladder.Qualities: 0"},
		{imagecdn.Ladder{Qualities: []int{50, 101}}, "Options.Ladder.Qualities: 101"},
	} {
		_, err := imagecdn.New(nil, &imagecdn.Options{Ladder: &test.ladder})
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%+v: got %v, want %q", test.ladder, err, test.says)
		}
	}
	if _, err := imagecdn.New(nil, &imagecdn.Options{MaxEnlarge: -1}); err == nil || !strings.Contains(err.Error(), "Options.MaxEnlarge") {
		t.Errorf("MaxEnlarge: got %v", err)
	}
}

// Widths without end fill neither memory nor a disk: so many are kept, and the rest is made and forgotten.
func TestMaxVariants(t *testing.T) {
	disk, err := cache.OpenDisk(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, store := range map[string]cache.Store{"memory": nil, "disk": disk, "tiers": nil} {
		t.Run(name, func(t *testing.T) {
			if name == "tiers" {
				slow, err := cache.OpenDisk(t.TempDir(), nil)
				if err != nil {
					t.Fatal(err)
				}
				store = cache.Tiered(cache.NewMemory(0), slow)
			}
			o := newOrigin()
			o.set("/cat.png", answer{header: cacheFor("max-age=60"), body: paint(t, red, 64, 48)})
			o.set("/dog.png", answer{header: cacheFor("max-age=60"), body: paint(t, green, 64, 48)})
			h := open(t, o, &imagecdn.Options{Cache: store, MaxVariants: 5})
			for i := range 12 {
				url := fmt.Sprintf("/photos/cat.png?w=%d", 10+i)
				want := "imagecdn; fwd=miss; stored"
				if i >= 5 {
					want = "imagecdn; fwd=miss; detail=too-many-variants"
				}
				w := mustGet(t, h, url)
				if got := w.Header().Get("Cache-Status"); got != want {
					t.Errorf("%s: Cache-Status %q, want %q", url, got, want)
				}
				if got := w.Header().Get("Cache-Control"); got != "public, max-age=60" { // downstream may help
					t.Errorf("%s: Cache-Control %q", url, got)
				}
			}
			if n, err := imagecdn.StoreOf(h).(cache.Counter).Count(context.Background(), "photos", "/cat.png"); n != 5 || err != nil {
				t.Errorf("%d pictures are kept (%v), want 5", n, err)
			}
			for url, want := range map[string]string{
				"/photos/cat.png?w=10":                      "imagecdn; hit; ttl=",                          // the first stay
				"/photos/cat.png?w=21":                      "imagecdn; fwd=miss; detail=too-many-variants", // the last are made again
				"/photos/cat.png":                           "imagecdn; hit; ttl=",                          // the original is none of them
				"/photos/dog.png?w=21":                      "imagecdn; fwd=miss; stored",                   // other images have room
				"/photos/dog.png?w=22&mark=/photos/cat.png": "imagecdn; fwd=miss; stored",                   // also those that it is a part of
			} {
				if got := mustGet(t, h, url).Header().Get("Cache-Status"); !strings.HasPrefix(got, want) {
					t.Errorf("%s: Cache-Status %q, want %q", url, got, want)
				}
			}
			job, err := h.Purge(t.Context(), []string{"/photos/cat.png"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := job.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := mustGet(t, h, "/photos/cat.png?w=21").Header().Get("Cache-Status"); got != "imagecdn; fwd=miss; stored" {
				t.Errorf("after a purge: Cache-Status %q", got)
			}
		})
	}
}

func TestMaxVersions(t *testing.T) {
	o := newOrigin()
	o.set("/cat.png", answer{header: cacheFor("max-age=60"), body: paint(t, red, 64, 48)})
	o.set("/dog.png", answer{header: cacheFor("max-age=60"), body: paint(t, green, 64, 48)})
	h := open(t, o, &imagecdn.Options{MaxVersions: 4})
	for i := range 10 {
		w := get(h, fmt.Sprintf("/photos/cat.png?w=20&vh=%d", i))
		want := http.StatusOK
		if i >= 4 {
			want = http.StatusForbidden
		}
		if w.Code != want {
			t.Errorf("version %d: %d %s, want %d", i, w.Code, w.Body, want)
		}
	}
	if o.count() != 4 {
		t.Errorf("%d requests to the origin, want 4", o.count())
	}
	for url, want := range map[string]int{
		"/photos/cat.png?w=20&vh=3": 200, // known ones go on
		"/photos/cat.png?w=20":      200, // and so does the image itself
		"/photos/dog.png?w=20&vh=9": 200,
		"/photos/cat.png?w=20&vh=9": 403,
	} {
		if w := get(h, url); w.Code != want || strings.Count(w.Body.String(), "\n") != 1 && want == 403 {
			t.Errorf("%s: %d %s, want %d", url, w.Code, w.Body, want)
		}
	}
	job, err := h.Purge(t.Context(), []string{"/photos/cat.png"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := job.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustGet(t, h, "/photos/cat.png?w=20&vh=9")
}

func TestMaxEnlarge(t *testing.T) {
	o := newOrigin()
	o.set("/dot.png", answer{header: cacheFor("max-age=60"), body: paint(t, red, 10, 8)})
	h := open(t, o, &imagecdn.Options{MaxEnlarge: 2})
	for query, want := range map[string]int{
		"w=20":                   200,
		"w=21":                   400,
		"w=10&dpr=2":             200,
		"w=10&dpr=3":             400,
		"h=16":                   200,
		"h=17":                   400,
		"w=8000&h=8000&fit=fill": 400, // what is around it counts
		"w=8000&fit=max":         200, // does not enlarge
		"w=8000&h=8000&fit=crop": 400,
		"rect=0,0,2,2&w=20&h=16": 200, // of the original, not of what is cut out of it
		"w=20&pad=1":             200,
		"w=18&pad=1":             200, // which the box has room for
		"w=20&pad=100":           400, // unless it has no room for them
		"border=1,000000":        200,
	} {
		if w := get(h, "/photos/dot.png?"+query); w.Code != want || want == 400 && !strings.Contains(w.Body.String(), "2 times the original's 10x8") {
			t.Errorf("%s: %d %s, want %d", query, w.Code, w.Body, want)
		}
	}
}
