package imagecdn_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	urlpkg "net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/internal/samples"
	"github.com/imagecdn/imagecdn/purge"
)

// paint returns a PNG of one colour, which tells versions of a picture apart.
func paint(t testing.TB, c color.NRGBA, w, h int) []byte {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := 0; i < len(m.Pix); i += 4 {
		m.Pix[i], m.Pix[i+1], m.Pix[i+2], m.Pix[i+3] = c.R, c.G, c.B, c.A
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var (
	red   = color.NRGBA{255, 0, 0, 255}
	green = color.NRGBA{0, 255, 0, 255}
	blue  = color.NRGBA{0, 0, 255, 255}
)

// colorOf is the colour in the middle of a PNG.
func colorOf(t testing.TB, body []byte) color.NRGBA {
	t.Helper()
	m, err := png.Decode(bytes.NewReader(body))
	if err != nil {
		t.Fatalf("not a PNG: %v: %q", err, body[:min(len(body), 80)])
	}
	b := m.Bounds()
	return color.NRGBAModel.Convert(m.At((b.Min.X+b.Max.X)/2, (b.Min.Y+b.Max.Y)/2)).(color.NRGBA)
}

// An answer is what an origin says of an image.
type answer struct {
	status int // zero means 200
	header http.Header
	body   []byte
	err    error
}

// A fakeOrigin answers requests without a network. It knows If-None-Match.
type fakeOrigin struct {
	mu       sync.Mutex // guards what follows
	images   map[string]answer
	requests []*http.Request

	// block, where set, is called before an answer is given, and once more in the middle of its body.
	block func(r *http.Request, where string)
}

func newOrigin() *fakeOrigin { return &fakeOrigin{images: make(map[string]answer)} }

func (o *fakeOrigin) set(path string, a answer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.images[path] = a
}

func (o *fakeOrigin) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.requests)
}

func (o *fakeOrigin) last() *http.Request {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.requests[len(o.requests)-1]
}

func (o *fakeOrigin) RoundTrip(r *http.Request) (*http.Response, error) {
	o.mu.Lock()
	o.requests = append(o.requests, r)
	a, ok := o.images[r.URL.Path]
	block := o.block
	o.mu.Unlock()
	if block != nil {
		block(r, "header")
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if a.err != nil {
		return nil, a.err
	}
	resp := &http.Response{StatusCode: http.StatusOK, Header: a.header.Clone(), Request: r}
	if resp.Header == nil {
		resp.Header = make(http.Header)
	}
	switch {
	case !ok:
		resp.StatusCode, a.body = http.StatusNotFound, []byte("no such image")
	case a.status != 0:
		resp.StatusCode = a.status
	case r.Header.Get("If-None-Match") != "" && r.Header.Get("If-None-Match") == a.header.Get("Etag"):
		resp.StatusCode, a.body = http.StatusNotModified, nil
	}
	body := io.Reader(bytes.NewReader(a.body))
	if block != nil && len(a.body) > 1 {
		half := len(a.body) / 2
		body = io.MultiReader(bytes.NewReader(a.body[:half]), hook(func() { block(r, "body") }), bytes.NewReader(a.body[half:]))
	}
	resp.Body = io.NopCloser(body)
	resp.ContentLength = int64(len(a.body))
	return resp, nil
}

// hook is a reader of nothing that does something.
type hook func()

func (h hook) Read([]byte) (int, error) { h(); return 0, io.EOF }

func open(t testing.TB, o http.RoundTripper, opts *imagecdn.Options) *imagecdn.Handler {
	t.Helper()
	h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: o}}, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func get(h http.Handler, url string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	u, err := urlpkg.Parse(url)
	if err != nil {
		u = &urlpkg.URL{Path: url} // what net/http would refuse before the handler sees it
	}
	r.URL = u
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func mustGet(t testing.TB, h http.Handler, url string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	w := get(h, url, header...)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", url, w.Code, w.Body)
	}
	return w
}

func cacheFor(lifetime string) http.Header {
	return http.Header{"Cache-Control": {lifetime}, "Etag": {`"1"`}}
}

func TestSecondRequestIsAHit(t *testing.T) {
	o := newOrigin()
	o.set("/cat.png", answer{header: cacheFor("max-age=60"), body: paint(t, red, 64, 48)})
	h := open(t, o, nil)
	first := mustGet(t, h, "/photos/cat.png?w=32")
	if got := first.Header().Get("Cache-Status"); got != "imagecdn; fwd=miss; stored" {
		t.Errorf("first: Cache-Status %q", got)
	}
	second := mustGet(t, h, "/photos/cat.png?w=32")
	if got := second.Header().Get("Cache-Status"); !strings.HasPrefix(got, "imagecdn; hit; ttl=") {
		t.Errorf("second: Cache-Status %q", got)
	}
	if !bytes.Equal(first.Body.Bytes(), second.Body.Bytes()) {
		t.Error("the two differ")
	}
	if colorOf(t, first.Body.Bytes()) != red {
		t.Error("not red")
	}
	for name, want := range map[string]string{
		"Content-Type": "image/png", "Cache-Control": "public, max-age=60", "Age": "0",
		"Content-Length": strconv.Itoa(second.Body.Len()), "X-Content-Type-Options": "nosniff", "Vary": "",
	} {
		if got := second.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if o.count() != 1 {
		t.Errorf("%d requests to the origin", o.count())
	}
	again := get(h, "/photos/cat.png?w=32", "If-None-Match", second.Header().Get("Etag"))
	if again.Code != http.StatusNotModified || again.Body.Len() != 0 {
		t.Errorf("If-None-Match: %d with %d bytes", again.Code, again.Body.Len())
	}
}

func TestThousandColdRequestsAreOneFetchAndOneRender(t *testing.T) {
	lifetimes(t, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		o.set("/cat.png", answer{header: cacheFor("max-age=60"), body: paint(t, red, 64, 48)})
		o.block = func(_ *http.Request, where string) {
			if where == "header" {
				time.Sleep(time.Second)
			}
		}
		// The first client is the one who brings the origin's request about, and goes away.
		leaving, leave := context.WithTimeout(t.Context(), time.Second/2)
		defer leave()
		left := httptest.NewRecorder()
		var ended sync.WaitGroup
		ended.Go(func() {
			h.ServeHTTP(left, httptest.NewRequestWithContext(leaving, http.MethodGet, "/photos/cat.png?w=32", nil))
		})
		synctest.Wait()
		bodies := make([]string, 1000)
		for i := range bodies {
			ended.Go(func() {
				w := get(h, "/photos/cat.png?w=32")
				if w.Code != http.StatusOK {
					t.Errorf("%d %s", w.Code, w.Body)
				}
				bodies[i] = w.Body.String()
			})
		}
		ended.Wait()
		for _, b := range bodies {
			if b != bodies[0] {
				t.Fatal("bodies differ")
			}
		}
		if colorOf(t, []byte(bodies[0])) != red {
			t.Error("not red")
		}
		if o.count() != 1 || imagecdn.Renders(h) != 1 {
			t.Errorf("%d requests to the origin and %d renders, want one of each", o.count(), imagecdn.Renders(h))
		}
		if left.Code == http.StatusOK {
			t.Error("the one who left was answered")
		}
	})
}

func TestWorkNobodyWaitsForIsCancelled(t *testing.T) {
	lifetimes(t, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		o.set("/cat.png", answer{header: cacheFor("max-age=60"), body: paint(t, red, 64, 48)})
		cancelled := make(chan bool, 1)
		o.block = func(r *http.Request, where string) {
			<-r.Context().Done()
			cancelled <- true
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/photos/cat.png?w=32", nil))
		<-cancelled
		o.mu.Lock()
		o.block = nil
		o.mu.Unlock()
		synctest.Wait()
		mustGet(t, h, "/photos/cat.png?w=32") // nothing of it is remembered against the image
	})
}

func TestEightWidthsAreOneFetch(t *testing.T) {
	o := newOrigin()
	o.set("/cat.png", answer{header: cacheFor("max-age=60"), body: paint(t, red, 640, 480)})
	h := open(t, o, nil)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if w := get(h, fmt.Sprintf("/photos/cat.png?w=%d", 50+i*50)); w.Code != http.StatusOK {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	wg.Wait()
	if o.count() != 1 {
		t.Errorf("%d requests to the origin", o.count())
	}
}

// The purge race: a fetch that began before a purge brings the old picture after it.
func TestPurgeRace(t *testing.T) {
	stores := map[string]func(t *testing.T, dir string) cache.Store{
		"memory": func(t *testing.T, dir string) cache.Store { return cache.NewMemory(0) },
		"disk": func(t *testing.T, dir string) cache.Store {
			d, err := cache.OpenDisk(dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			return cache.Tiered(cache.NewMemory(0), d)
		},
	}
	places := []struct{ name, where, control string }{
		{"origin silent before the header", "header", "max-age=3600"},
		{"origin silent in mid-body", "body", "max-age=3600"},
		{"origin silent before a 304", "header", "max-age=0"},
	}
	purges := map[string]func(h *imagecdn.Handler) (*purge.Job, error){
		"Purge": func(h *imagecdn.Handler) (*purge.Job, error) {
			return h.Purge(context.Background(), []string{"/photos/cat.png"}, nil)
		},
		"PurgeAll": func(h *imagecdn.Handler) (*purge.Job, error) { return h.PurgeAll(context.Background(), nil) },
		"PurgeAll of the source": func(h *imagecdn.Handler) (*purge.Job, error) {
			return h.PurgeAll(context.Background(), &purge.Options{Source: "photos"})
		},
	}
	for store, openStore := range stores {
		for _, place := range places {
			for how, purgeNow := range purges {
				t.Run(store+"/"+place.name+"/"+how, func(t *testing.T) {
					dir := t.TempDir()
					o := newOrigin()
					o.set("/cat.png", answer{header: cacheFor(place.control), body: paint(t, red, 40, 40)})
					h := open(t, o, &imagecdn.Options{Cache: openStore(t, dir)})
					const url = "/photos/cat.png?w=20"
					if place.control == "max-age=0" {
						mustGet(t, h, url) // so that the next is conditional
					}

					silent, goOn := make(chan bool, 1), make(chan bool)
					release := sync.OnceFunc(func() { close(goOn) })
					t.Cleanup(release)
					var once atomic.Bool
					o.mu.Lock()
					o.block = func(r *http.Request, where string) {
						if where == place.where && !once.Swap(true) {
							silent <- true
							<-goOn
						}
					}
					o.mu.Unlock()
					waiting := make(chan *httptest.ResponseRecorder)
					go func() { waiting <- get(h, url) }()
					<-silent

					job, err := purgeNow(h)
					if err != nil {
						t.Fatal(err)
					}
					rec, err := job.Wait(t.Context())
					if err != nil || rec.State != purge.Done {
						t.Fatalf("%v, %v", rec, err)
					}
					o.set("/cat.png", answer{header: http.Header{"Cache-Control": {"max-age=3600"}, "Etag": {`"2"`}}, body: paint(t, green, 40, 40)})

					// While the old fetch still hangs, and after it has ended, only the new picture is seen.
					if c := colorOf(t, mustGet(t, h, url).Body.Bytes()); c != green {
						t.Errorf("beside the old fetch: %v", c)
					}
					r := o.last()
					if r.Header.Get("Cache-Control") != "no-cache" || r.Header.Get("If-None-Match") != "" {
						t.Errorf("the first fetch after the purge had %v", r.Header)
					}
					release()
					old := <-waiting
					if old.Code == http.StatusOK && colorOf(t, old.Body.Bytes()) == red && old.Header().Get("Cache-Control") != "no-store" {
						t.Errorf("old bytes may be kept: %v", old.Header())
					}
					for range 3 {
						w := mustGet(t, h, url)
						if c := colorOf(t, w.Body.Bytes()); c != green {
							t.Errorf("after the old fetch: %v", c)
						}
					}
					if c := colorOf(t, mustGet(t, h, "/photos/cat.png?w=30&vh=2").Body.Bytes()); c != green {
						t.Errorf("another version: %v", c)
					}

					// And after a restart.
					if err := h.Close(); err != nil {
						t.Fatal(err)
					}
					h = open(t, o, &imagecdn.Options{Cache: openStore(t, dir)})
					if c := colorOf(t, mustGet(t, h, url).Body.Bytes()); c != green {
						t.Errorf("after a restart: %v", c)
					}
				})
			}
		}
	}
}

// lifetimes runs f in a bubble of fake time with a memory-only handler.
func lifetimes(t *testing.T, f func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: o}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		f(t, o, h)
	})
}

func TestFreshThenRevalidatedThenChanged(t *testing.T) {
	lifetimes(t, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		const url = "/photos/cat.png?w=20"
		o.set("/cat.png", answer{header: cacheFor("max-age=2"), body: paint(t, red, 40, 40)})
		mustGet(t, h, url)
		time.Sleep(1900 * time.Millisecond)
		if w := mustGet(t, h, url); o.count() != 1 || w.Header().Get("Age") != "1" {
			t.Errorf("fresh: %d requests, Age %s", o.count(), w.Header().Get("Age"))
		}
		time.Sleep(200 * time.Millisecond)
		w := mustGet(t, h, url)
		if got := o.last().Header.Get("If-None-Match"); o.count() != 2 || got != `"1"` {
			t.Errorf("stale: %d requests, If-None-Match %s", o.count(), got)
		}
		if got := w.Header().Get("Cache-Status"); got != "imagecdn; fwd=stale; fwd-status=304; ttl=2" {
			t.Errorf("stale: Cache-Status %q", got)
		}
		mustGet(t, h, url)
		if o.count() != 2 || imagecdn.Renders(h) != 1 {
			t.Errorf("after the 304: %d requests, %d renders; want 2 and 1", o.count(), imagecdn.Renders(h))
		}

		// The same bytes under another validator cost a transfer, and no render.
		o.set("/cat.png", answer{header: http.Header{"Cache-Control": {"max-age=2"}, "Etag": {`"1b"`}}, body: paint(t, red, 40, 40)})
		time.Sleep(3 * time.Second)
		mustGet(t, h, url)
		if o.count() != 3 || imagecdn.Renders(h) != 1 {
			t.Errorf("same digest: %d requests, %d renders; want 3 and 1", o.count(), imagecdn.Renders(h))
		}

		o.set("/cat.png", answer{header: http.Header{"Cache-Control": {"max-age=2"}, "Etag": {`"2"`}}, body: paint(t, green, 40, 40)})
		time.Sleep(3 * time.Second)
		if c := colorOf(t, mustGet(t, h, url).Body.Bytes()); c != green {
			t.Errorf("changed: %v", c)
		}
	})
}

func TestNoStoreIsNeverStored(t *testing.T) {
	for _, control := range []string{"no-store", "private, max-age=60", "max-age=60, no-store"} {
		lifetimes(t, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
			o.set("/cat.png", answer{header: cacheFor(control), body: paint(t, red, 40, 40)})
			for i := range 3 {
				w := mustGet(t, h, "/photos/cat.png?w=20")
				if got := w.Header().Get("Cache-Control"); got != "no-store" {
					t.Errorf("%s: Cache-Control %q", control, got)
				}
				if o.count() != i+1 {
					t.Errorf("%s: %d requests to the origin, want %d", control, o.count(), i+1)
				}
			}
		})
	}
}

func TestOriginDown(t *testing.T) {
	lifetimes(t, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		const url = "/photos/cat.png?w=20"
		o.set("/cat.png", answer{header: cacheFor("max-age=2, stale-if-error=60"), body: paint(t, red, 40, 40)})
		mustGet(t, h, url)
		o.set("/cat.png", answer{err: io.ErrUnexpectedEOF})
		time.Sleep(30 * time.Second)
		for range 3 {
			if c := colorOf(t, mustGet(t, h, url).Body.Bytes()); c != red {
				t.Errorf("within stale-if-error: %v", c)
			}
		}
		if o.count() != 2 {
			t.Errorf("%d requests: an origin that fails is left alone for a while", o.count())
		}
		time.Sleep(60 * time.Second)
		w := get(h, url)
		if w.Code != http.StatusBadGateway || strings.Count(w.Body.String(), "\n") != 1 {
			t.Errorf("past stale-if-error: %d %q", w.Code, w.Body)
		}
		o.set("/cat.png", answer{header: cacheFor("max-age=2"), body: paint(t, red, 40, 40)})
		time.Sleep(11 * time.Second)
		mustGet(t, h, url)
	})
}

func TestStaleWhileRevalidate(t *testing.T) {
	lifetimes(t, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		const url = "/photos/cat.png?w=20"
		o.set("/cat.png", answer{header: cacheFor("max-age=2, stale-while-revalidate=60"), body: paint(t, red, 40, 40)})
		mustGet(t, h, url)
		o.set("/cat.png", answer{header: cacheFor("max-age=2, stale-while-revalidate=60"), body: paint(t, green, 40, 40)})
		o.images["/cat.png"].header.Set("Etag", `"2"`)
		time.Sleep(10 * time.Second)
		if c := colorOf(t, mustGet(t, h, url).Body.Bytes()); c != red {
			t.Errorf("the first past its lifetime: %v, want the stale one", c)
		}
		synctest.Wait()
		if c := colorOf(t, mustGet(t, h, url).Body.Bytes()); c != green {
			t.Errorf("once refreshed: %v", c)
		}
	})
}

func TestNegativeAnswersAreShort(t *testing.T) {
	lifetimes(t, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		w := get(h, "/photos/late.png?w=20")
		if w.Code != http.StatusNotFound || w.Header().Get("Cache-Control") != "public, max-age=300" {
			t.Errorf("%d, %v", w.Code, w.Header())
		}
		get(h, "/photos/late.png?w=30")
		if o.count() != 1 {
			t.Errorf("%d requests for one missing image", o.count())
		}
		o.set("/late.png", answer{header: cacheFor("max-age=60"), body: paint(t, red, 40, 40)})
		time.Sleep(299 * time.Second)
		if w := get(h, "/photos/late.png?w=20"); w.Code != http.StatusNotFound {
			t.Errorf("within the negative lifetime: %d", w.Code)
		}
		time.Sleep(2 * time.Second)
		mustGet(t, h, "/photos/late.png?w=20")
	})
}

func TestWatermarkIsAnInput(t *testing.T) {
	lifetimes(t, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		const url = "/photos/cat.png?w=40&fm=png&mark=/photos/logo.png&mark-w=1&mark-pad=0&mark-align=middle,center"
		o.set("/cat.png", answer{header: cacheFor("max-age=3600"), body: paint(t, red, 40, 40)})
		o.set("/logo.png", answer{header: cacheFor("max-age=10"), body: paint(t, green, 20, 20)})
		w := mustGet(t, h, url)
		if c := colorOf(t, w.Body.Bytes()); c != green {
			t.Errorf("composite: %v", c)
		}
		if got := w.Header().Get("Cache-Control"); got != "public, max-age=10" {
			t.Errorf("a composite lives as long as its shortest-lived input: %q", got)
		}
		if c := colorOf(t, mustGet(t, h, "/photos/cat.png?w=40").Body.Bytes()); c != red {
			t.Errorf("without the mark: %v", c)
		}

		// It changes at the origin.
		o.set("/logo.png", answer{header: http.Header{"Cache-Control": {"max-age=3600"}, "Etag": {`"2"`}}, body: paint(t, blue, 20, 20)})
		time.Sleep(11 * time.Second)
		changed := mustGet(t, h, url)
		if c := colorOf(t, changed.Body.Bytes()); c != blue {
			t.Errorf("after the watermark changed: %v", c)
		}

		// It is purged.
		o.set("/logo.png", answer{header: http.Header{"Cache-Control": {"max-age=3600"}, "Etag": {`"3"`}}, body: paint(t, green, 20, 20)})
		if c := colorOf(t, mustGet(t, h, url).Body.Bytes()); c != blue {
			t.Errorf("before the purge: %v", c)
		}
		job, err := h.Purge(t.Context(), []string{"/photos/logo.png"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		job.Wait(t.Context())
		purged := mustGet(t, h, url)
		if c := colorOf(t, purged.Body.Bytes()); c != green {
			t.Errorf("after the watermark was purged: %v", c)
		}
		if purged.Header().Get("Etag") == changed.Header().Get("Etag") {
			t.Error("the composite's ETag is that of the old one")
		}

		// It is gone.
		o.set("/logo.png", answer{status: http.StatusGone})
		job, _ = h.Purge(t.Context(), []string{"/photos/logo.png"}, nil)
		job.Wait(t.Context())
		if w := get(h, url); w.Code != http.StatusGone || !strings.Contains(w.Body.String(), "/photos/logo.png") {
			t.Errorf("without its watermark: %d %q", w.Code, w.Body)
		}
	})
}

func TestBadInput(t *testing.T) {
	jpeg, err := fs.ReadFile(samples.FS(), "rocket.jpg")
	if err != nil {
		t.Fatal(err)
	}
	good := cacheFor("max-age=86400")
	o := newOrigin()
	o.set("/cat.jpg", answer{header: good, body: jpeg})
	o.set("/text.jpg", answer{header: good, body: []byte("this is no picture\n")})
	o.set("/cut.jpg", answer{header: good, body: jpeg[:len(jpeg)/2]})
	o.set("/empty.jpg", answer{header: good})
	o.set("/page.jpg", answer{header: good, body: []byte("<!DOCTYPE html><title>Sign in</title>\r\n<script>alert(1)</script>")})
	o.set("/bomb.png", answer{header: good, body: bomb(t)})
	o.set("/gone.jpg", answer{status: http.StatusGone})
	o.set("/secret.jpg", answer{status: http.StatusForbidden})
	o.set("/broken.jpg", answer{status: http.StatusInternalServerError})
	o.set("/slow.jpg", answer{err: context.DeadlineExceeded})
	h := open(t, o, nil)
	for _, c := range []struct {
		url    string
		status int
		says   string
	}{
		{"/photos/cat.jpg?w=abc", 400, "w=abc"},
		{"/photos/cat.jpg?w=-5", 400, "w=-5"},
		{"/photos/cat.jpg?w=100000", 400, "w=100000"},
		{"/photos/cat.jpg?w=9e99", 400, "w=9e99"},
		{"/photos/cat.jpg?w=8000&h=8000&fit=scale&dpr=5", 400, "dpr"},
		{"/photos/cat.jpg?fit=sideways", 400, "fit=sideways"},
		{"/photos/cat.jpg?w=%zz", 400, "w="},
		{"/photos/a/../cat.jpg", 400, ".."},
		{"/photos/%2e%2e/cat.jpg", 400, ".."},
		{"/photos//cat.jpg", 400, "empty segment"},
		{"/photos/a%2Fcat.jpg", 400, "slash"},
		{"/photos/a%00.jpg", 400, ""},
		{"/photos/", 400, ""},
		{"/", 400, ""},
		{"/elsewhere/cat.jpg", 403, `"elsewhere"`},
		{"/photos/cat.jpg?w=20&mark=/elsewhere/logo.png", 403, `"elsewhere"`},
		{"/photos/cat.jpg?w=20&mark=/photos/text.jpg", 415, "/photos/text.jpg"},
		{"/photos/text.jpg?w=20", 415, "not an image"},
		{"/photos/text.jpg", 415, "not an image"},
		{"/photos/page.jpg?w=20", 415, "not an image"},
		{"/photos/page.jpg", 415, "not an image"},
		{"/photos/empty.jpg?w=20", 415, ""},
		{"/photos/empty.jpg", 415, ""},
		{"/photos/cut.jpg?w=20", 422, "damaged"},
		{"/photos/bomb.png?w=20", 413, ""},
		{"/photos/missing.jpg?w=20", 404, "no such image"},
		{"/photos/gone.jpg?w=20", 410, "no such image"},
		{"/photos/secret.jpg?w=20", 502, ""},
		{"/photos/broken.jpg?w=20", 502, ""},
		{"/photos/slow.jpg?w=20", 504, "slow"},
	} {
		for range 2 { // the second time from what is remembered
			w := get(h, c.url)
			text := w.Body.String()
			if w.Code != c.status || !strings.Contains(text, c.says) {
				t.Errorf("%s: %d %q, want %d with %q", c.url, w.Code, text[:min(len(text), 200)], c.status, c.says)
			}
			if strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n") || len(text) > 400 || strings.Contains(text, "\r") {
				t.Errorf("%s: not one clear line: %q", c.url, text[:min(len(text), 200)])
			}
			if got := w.Header().Get("Content-Type"); got != "text/plain; charset=utf-8" {
				t.Errorf("%s: Content-Type %q", c.url, got)
			}
			control := w.Header().Get("Cache-Control")
			if control != "no-store" {
				seconds, err := strconv.Atoi(strings.TrimPrefix(control, "public, max-age="))
				if err != nil || seconds > 300 {
					t.Errorf("%s: Cache-Control %q", c.url, control)
				}
			}
			if bytes.HasPrefix(w.Body.Bytes(), jpeg[:16]) {
				t.Errorf("%s: the original's bytes", c.url)
			}
		}
	}
}

// bomb is a small PNG of 64 megapixels.
func bomb(t *testing.T) []byte {
	var b bytes.Buffer
	m := image.NewPaletted(image.Rect(0, 0, 8000, 8000), color.Palette{color.Black, color.White})
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What turned out to be no picture is asked for again soon, though its origin said to keep it for long.
func TestCorrectedOriginalIsSeenAfterTheNegativeLifetime(t *testing.T) {
	jpeg, _ := fs.ReadFile(samples.FS(), "rocket.jpg")
	large := paint(t, red, 8, 8) // that says it has 56 megapixels
	binary.BigEndian.PutUint32(large[16:], 8000)
	binary.BigEndian.PutUint32(large[20:], 7000)
	binary.BigEndian.PutUint32(large[29:], crc32.ChecksumIEEE(large[12:29]))
	for name, bad := range map[string][]byte{"text": []byte("oops"), "cut": jpeg[:len(jpeg)/2], "too large": large} {
		lifetimes(t, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
			o.set("/cat.jpg", answer{header: cacheFor("max-age=86400"), body: bad})
			if w := get(h, "/photos/cat.jpg?w=20"); w.Code < 400 {
				t.Errorf("%s: %d", name, w.Code)
			}
			o.set("/cat.jpg", answer{header: http.Header{"Cache-Control": {"max-age=86400"}, "Etag": {`"2"`}}, body: jpeg})
			time.Sleep(6 * time.Minute)
			mustGet(t, h, "/photos/cat.jpg?w=20")
		})
	}
}

func TestStrictRefusesUnknownParameters(t *testing.T) {
	o := newOrigin()
	o.set("/cat.png", answer{header: cacheFor("max-age=60"), body: paint(t, red, 40, 40)})
	loose, strict := open(t, o, nil), open(t, o, &imagecdn.Options{Strict: true})
	a, b := mustGet(t, loose, "/photos/cat.png?w=20"), mustGet(t, loose, "/photos/cat.png?utm_source=x&w=20")
	if a.Header().Get("Etag") != b.Header().Get("Etag") || imagecdn.Renders(loose) != 1 {
		t.Error("an unknown parameter told two pictures apart")
	}
	if w := get(strict, "/photos/cat.png?utm_source=x&w=20"); w.Code != 400 || !strings.Contains(w.Body.String(), "utm_source") {
		t.Errorf("strict: %d %q", w.Code, w.Body)
	}
}

func TestVersionIsAnotherCopyOfTheOriginal(t *testing.T) {
	lifetimes(t, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		o.set("/cat.png", answer{header: cacheFor("max-age=3600"), body: paint(t, red, 40, 40)})
		first := mustGet(t, h, "/photos/cat.png?w=20")
		o.set("/cat.png", answer{header: http.Header{"Cache-Control": {"max-age=3600"}, "Etag": {`"2"`}}, body: paint(t, green, 40, 40)})
		if c := colorOf(t, mustGet(t, h, "/photos/cat.png?w=20&vh=7").Body.Bytes()); c != green {
			t.Errorf("vh=7: %v", c)
		}
		if r := o.last(); r.Header.Get("Cache-Control") != "no-cache" || r.URL.RawQuery != "" {
			t.Errorf("vh=7 was fetched with %v, %s", r.Header, r.URL)
		}
		if c := colorOf(t, mustGet(t, h, "/photos/cat.png?w=20").Body.Bytes()); c != red {
			t.Errorf("without vh: %v", c)
		}
		if n := o.count(); n != 2 {
			t.Errorf("%d requests", n)
		}
		// Another name for the same bytes is the same picture.
		o.set("/cat.png", answer{header: cacheFor("max-age=3600"), body: paint(t, red, 40, 40)})
		if again := mustGet(t, h, "/photos/cat.png?w=20&vh=8"); again.Header().Get("Etag") != first.Header().Get("Etag") {
			t.Error("equal bytes under another version are another picture")
		}
	})
}

func TestAcceptDecidesTheFormat(t *testing.T) {
	o := newOrigin()
	o.set("/cat.png", answer{header: cacheFor("max-age=3600"), body: paint(t, red, 40, 40)})
	h := open(t, o, nil)
	for _, c := range []struct{ url, accept, contentType, vary string }{
		{"/photos/cat.png?w=20&auto=format", "image/avif,image/webp,*/*", "image/webp", "Accept"},
		{"/photos/cat.png?w=20&auto=format", "image/webp;q=0, */*", "image/png", "Accept"},
		{"/photos/cat.png?w=20&auto=format", "", "image/png", "Accept"},
		{"/photos/cat.png?w=20&fm=jpg", "image/webp", "image/jpeg", ""},
		{"/photos/cat.png?w=20&auto=compress", "image/webp", "image/jpeg", ""},
	} {
		w := mustGet(t, h, c.url, "Accept", c.accept)
		if got := w.Header(); got.Get("Content-Type") != c.contentType || got.Get("Vary") != c.vary {
			t.Errorf("%s for %q: %s, Vary %q; want %s, %q", c.url, c.accept, got.Get("Content-Type"), got.Get("Vary"), c.contentType, c.vary)
		}
	}
}

func TestOverloadIsRefusedAndNotRemembered(t *testing.T) {
	o := newOrigin()
	o.set("/big.png", answer{header: cacheFor("max-age=3600"), body: paint(t, red, 1500, 1500)})
	h := open(t, o, &imagecdn.Options{Renders: 1, MaxQueued: 1})
	var busy, served atomic.Int32
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			switch w := get(h, fmt.Sprintf("/photos/big.png?w=%d", 1000+i)); w.Code {
			case http.StatusOK:
				served.Add(1)
			case http.StatusTooManyRequests:
				busy.Add(1)
				if w.Header().Get("Retry-After") == "" || w.Header().Get("Cache-Control") != "no-store" {
					t.Errorf("%v", w.Header())
				}
			default:
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	wg.Wait()
	if served.Load() == 0 || busy.Load() == 0 {
		t.Errorf("%d served, %d refused", served.Load(), busy.Load())
	}
	for i := range 3 {
		mustGet(t, h, fmt.Sprintf("/photos/big.png?w=%d", 1000+i))
	}
}

func TestExpiresBoundsALifetime(t *testing.T) {
	lifetimes(t, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		o.set("/cat.png", answer{header: cacheFor("max-age=3600"), body: paint(t, red, 40, 40)})
		plain := mustGet(t, h, "/photos/cat.png?w=20")
		time.Sleep(10 * time.Second)
		url := fmt.Sprintf("/photos/cat.png?w=20&expires=%d", time.Now().Add(time.Minute).Unix())
		w := mustGet(t, h, url)
		if got := w.Header(); got.Get("Cache-Control") != "public, max-age=70" || got.Get("Age") != "10" || got.Get("Etag") != plain.Header().Get("Etag") {
			t.Errorf("%v", got)
		}
		if imagecdn.Renders(h) != 1 {
			t.Error("expires told two pictures apart")
		}
		if w := mustGet(t, h, fmt.Sprintf("/photos/cat.png?w=20&expires=%d", time.Now().Add(time.Hour*24).Unix())); w.Header().Get("Cache-Control") != "public, max-age=3600" {
			t.Errorf("later than the origin allows: %v", w.Header())
		}
		time.Sleep(time.Minute)
		if w := get(h, url); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "expired") {
			t.Errorf("afterwards: %d %s", w.Code, w.Body)
		}
		if w := get(h, "/photos/cat.png?expires=soon"); w.Code != http.StatusBadRequest {
			t.Errorf("expires=soon: %d", w.Code)
		}
	})
}

func TestDownloadsHaveAName(t *testing.T) {
	lifetimes(t, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		o.set("/cat.png", answer{header: cacheFor("max-age=3600"), body: paint(t, red, 20, 10)})
		for _, tt := range []struct{ query, want string }{
			{"w=10", ""},
			{"w=10&dl=my+cat.png", `attachment; filename="my cat.png"`},
			{"w=10&dl=katze-%C3%A4.png", "attachment; filename*=utf-8''katze-%C3%A4.png"},
			{"w=10&dl=", "attachment"},
		} {
			if got := mustGet(t, h, "/photos/cat.png?"+tt.query).Header().Get("Content-Disposition"); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.query, got, tt.want)
			}
		}
		if imagecdn.Renders(h) != 1 {
			t.Error("dl told two pictures apart")
		}
		if w := get(h, "/photos/cat.png?w=10&dl=a%22%0Ab"); w.Code != http.StatusBadRequest {
			t.Errorf("a line break in a name: %d", w.Code)
		}
	})
}

func TestDataHasItsOwnType(t *testing.T) {
	lifetimes(t, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		o.set("/cat.png", answer{header: cacheFor("max-age=3600"), body: paint(t, red, 20, 10)})
		for query, want := range map[string][2]string{
			"fm=json":      {"application/json", `"PixelWidth": 20`},
			"palette=json": {"application/json", `"hex":"#ff0000"`},
			"palette=css":  {"text/css; charset=utf-8", ".image-fg-1 { color:#ff0000"},
			"fm=blurhash":  {"text/plain; charset=utf-8", "e"},
		} {
			w := mustGet(t, h, "/photos/cat.png?"+query)
			if got := w.Header().Get("Content-Type"); got != want[0] || !strings.Contains(w.Body.String(), want[1]) {
				t.Errorf("%s: %s, %s", query, got, w.Body)
			}
			if w.Header().Get("Etag") == "" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: %v", query, w.Header())
			}
		}
		for _, query := range []string{"txt=a", "w=10&h=10&fit=facearea", "face-blur=9"} {
			if w := get(h, "/photos/cat.png?"+query); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "nothing here") {
				t.Errorf("%s, which this handler cannot do: %d %s", query, w.Code, w.Body)
			}
		}
	})
}
