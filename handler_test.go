package imagecdn_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
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
	r.URL, _ = r.URL.Parse(url)
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
	o := newOrigin()
	o.set("/cat.png", answer{header: cacheFor("max-age=60"), body: paint(t, red, 64, 48)})
	h := open(t, o, nil)
	const n = 1000
	var together, ended sync.WaitGroup
	together.Add(1)
	bodies := make([]string, n)
	for i := range n {
		ended.Go(func() {
			together.Wait()
			if i == 0 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Microsecond)
				defer cancel()
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/photos/cat.png?w=32", nil))
				return
			}
			w := get(h, "/photos/cat.png?w=32")
			if w.Code != http.StatusOK {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			bodies[i] = w.Body.String()
		})
	}
	together.Done()
	ended.Wait()
	for _, b := range bodies[1:] {
		if b != bodies[1] {
			t.Fatal("bodies differ")
		}
	}
	if o.count() > 2 { // the one who left may have cancelled its own
		t.Errorf("%d requests to the origin", o.count())
	}
	if got := imagecdn.Renders(h); got != 1 {
		t.Errorf("%d renders", got)
	}
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
