package imagecdn_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image/color"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
)

// heavy is a small PNG of size bytes, which a chunk that means nothing makes up. Its colour is i's.
func heavy(t testing.TB, i, size int) []byte {
	small := paint(t, color.NRGBA{uint8(i), uint8(i >> 8), 7, 255}, 8, 8)
	const header = 8 + 25 // signature and IHDR
	chunk := make([]byte, 8, size-len(small))
	binary.BigEndian.PutUint32(chunk, uint32(size-len(small)-12))
	copy(chunk[4:], "fiLl")
	chunk = chunk[:size-len(small)-4]
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
	return bytes.Join([][]byte{small[:header], chunk, small[header:]}, nil)
}

// A heavyOrigin has any image, of size bytes, and counts what of it is out: read from it, by requests that have not ended.
type heavyOrigin struct {
	t      testing.TB
	size   int
	slow   func(r *http.Request)         // before an answer
	stalls func(path string) (after int) // bytes after which nothing comes any more; less than zero where all does
	length bool                          // whether Content-Length is said
	memory int64                         // bytes of the cache

	mu   sync.Mutex // guards what follows
	out  map[string]int
	now  int
	most int
	sent int // requests
}

func (o *heavyOrigin) RoundTrip(r *http.Request) (*http.Response, error) {
	o.mu.Lock()
	o.sent++
	o.mu.Unlock()
	if o.slow != nil {
		o.slow(r)
	}
	var i int
	_, _ = fmt.Sscanf(strings.TrimLeft(r.URL.Path, "/abcdefghijklmnopqrstuvwxyz"), "%d", &i)
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Cache-Control": {"max-age=3600"}}, Request: r, ContentLength: -1}
	if o.length {
		resp.ContentLength = int64(o.size)
	}
	stall := -1
	if o.stalls != nil {
		stall = o.stalls(r.URL.Path)
	}
	body := heavy(o.t, i, o.size)
	resp.Body = io.NopCloser(&heavyBody{o, r.Context(), r.URL.Path, bytes.NewReader(body), stall})
	return resp, nil
}

type heavyBody struct {
	o     *heavyOrigin
	ctx   context.Context
	path  string
	from  *bytes.Reader
	stall int
}

func (b *heavyBody) Read(p []byte) (int, error) {
	if done := int(b.from.Size()) - b.from.Len(); b.stall >= 0 {
		if done >= b.stall {
			<-b.ctx.Done()
			return 0, b.ctx.Err()
		}
		p = p[:min(len(p), b.stall-done)]
	}
	n, err := b.from.Read(p)
	b.o.mu.Lock()
	defer b.o.mu.Unlock()
	b.o.out[b.path] += n
	b.o.now += n
	b.o.most = max(b.o.most, b.o.now)
	return n, err
}

// ended says that the requests for these images have ended.
func (o *heavyOrigin) ended(paths ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, path := range paths {
		o.now -= o.out[path]
		delete(o.out, path)
	}
}

// inBudget opens a handler with a budget, whose cache keeps next to nothing unless o says so, runs f, and sees that nothing is held after.
func inBudget(t *testing.T, o *heavyOrigin, opts imagecdn.Options, f func(t *testing.T, h *imagecdn.Handler)) {
	synctest.Test(t, func(t *testing.T) {
		o.t, o.out, o.length = t, make(map[string]int), true
		opts.Cache = cache.NewMemory(max(o.memory, 1<<20))
		opts.Decoded, opts.MaxRenderMemory = -1, -1
		h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: o}}, &opts)
		if err != nil {
			t.Fatal(err)
		}
		f(t, h)
		synctest.Wait()
		if originals, all := imagecdn.HeldOriginals(h); originals != 0 || all != 0 {
			t.Errorf("%d bytes of originals are held, and %d in all", originals, all)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestOriginalsStayWithinTheBudget(t *testing.T) {
	const size, budget = 4 << 20, 16 << 20
	for _, known := range []bool{true, false} {
		t.Run(fmt.Sprintf("length known %t", known), func(t *testing.T) {
			o := &heavyOrigin{size: size}
			inBudget(t, o, imagecdn.Options{RenderMemory: budget, Renders: 2}, func(t *testing.T, h *imagecdn.Handler) {
				o.length = known
				var group sync.WaitGroup
				for i := range 64 {
					group.Go(func() {
						path := fmt.Sprintf("/%d.png", i)
						if w := get(h, "/photos"+path+"?w=4"); w.Code != http.StatusOK {
							t.Errorf("%s: %d %s", path, w.Code, w.Body)
						} else if got := colorOf(t, w.Body.Bytes()); got.R != uint8(i) {
							t.Errorf("%s is %v", path, got)
						}
						o.ended(path)
					})
				}
				group.Wait()
			})
			if o.most > budget+size || o.sent != 64 {
				t.Errorf("%d KB were held, of %d KB and one of %d KB; %d requests of the origin", o.most>>10, budget>>10, size>>10, o.sent)
			}
			t.Logf("at most %d KB were held", o.most>>10)
		})
	}
}

// An original that is in while its watermark is not holds memory, which the watermark may be waiting for.
func TestOriginalsAndMarksDoNotWaitForEachOther(t *testing.T) {
	const size, budget = 1 << 20, 4 << 20
	for name, slow := range map[string]string{"the mark comes late": "/mark", "the original comes late": "/cat", "both at once": "none"} {
		t.Run(name, func(t *testing.T) {
			o := &heavyOrigin{size: size, slow: func(r *http.Request) {
				if strings.HasPrefix(r.URL.Path, slow) {
					time.Sleep(5 * time.Second)
				}
			}}
			inBudget(t, o, imagecdn.Options{RenderMemory: budget, Renders: 2}, func(t *testing.T, h *imagecdn.Handler) {
				var group sync.WaitGroup
				for i := range 32 {
					group.Go(func() {
						cat, mark := fmt.Sprintf("/cat%d.png", i), fmt.Sprintf("/mark%d.png", i)
						if w := get(h, "/photos"+cat+"?w=4&mark=/photos"+mark); w.Code != http.StatusOK {
							t.Errorf("%d: %d %s", i, w.Code, w.Body)
						}
						o.ended(cat, mark)
					})
				}
				group.Wait()
			})
			t.Logf("at most %d KB were held", o.most>>10)
			if o.most > budget+2*size {
				t.Errorf("%d KB were held", o.most>>10)
			}
		})
	}
}

// Origins that send a little, and then nothing, keep nobody from being served, and hold what they have sent. So do requests
// that go away.
func TestSlowOriginsHoldWhatTheyHaveSent(t *testing.T) {
	const size = 1 << 20
	o := &heavyOrigin{size: size, stalls: func(path string) int {
		if strings.HasPrefix(path, "/slow") {
			return 100
		}
		return -1
	}}
	inBudget(t, o, imagecdn.Options{RenderMemory: 16 << 20, Renders: 1, MaxQueued: 100}, func(t *testing.T, h *imagecdn.Handler) {
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		for i := range 30 {
			group.Go(func() {
				r := httptest.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("/photos/slow%d.png?w=4", i), nil)
				h.ServeHTTP(httptest.NewRecorder(), r)
			})
		}
		synctest.Wait()
		start := time.Now()
		for i := range 10 {
			mustGet(t, h, fmt.Sprintf("/photos/quick%d.png?w=4", i))
		}
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("it took %v", took)
		}
		if originals, _ := imagecdn.HeldOriginals(h); originals > 30*64<<10 {
			t.Errorf("%d bytes are held", originals)
		}
		cancel()
		group.Wait()
	})
}

// Hits, and what the origin says is unchanged, wait for no memory; what is refreshed behind gives up where there is none.
func TestOnlyBytesWaitForMemory(t *testing.T) {
	const size = 1 << 20
	o := &heavyOrigin{size: size, stalls: func(path string) int {
		if strings.HasPrefix(path, "/slow") {
			return size - 1
		}
		return -1
	}}
	o.memory = 64 << 20
	inBudget(t, o, imagecdn.Options{RenderMemory: 4 << 20, Renders: 1, MaxQueued: 2}, func(t *testing.T, h *imagecdn.Handler) {
		mustGet(t, h, "/photos/cat.png?w=4")
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		var mu sync.Mutex
		codes := make(map[int]int)
		for i := range 30 {
			group.Go(func() {
				r := httptest.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("/photos/slow%d.png?w=4", i), nil)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				mu.Lock()
				defer mu.Unlock()
				if codes[w.Code]++; w.Code == http.StatusTooManyRequests && (w.Header().Get("Retry-After") == "" || w.Header().Get("Cache-Control") != "no-store") {
					t.Error(w.Header())
				}
			})
		}
		time.Sleep(10 * time.Second)
		start := time.Now()
		for _, url := range []string{"/photos/cat.png?w=4", "/photos/cat.png", "/photos/cat.png?w=5"} {
			mustGet(t, h, url)
		}
		if time.Since(start) > 0 {
			t.Errorf("what is in memory waited for %v", time.Since(start))
		}
		cancel()
		group.Wait()
		if codes[http.StatusTooManyRequests] == 0 || codes[http.StatusTooManyRequests] > 29 {
			t.Errorf("%v", codes)
		}
	})
}

// Functions of Options may end a request by a panic, as net/http has it. Nothing is held for it after.
func TestPanicsHoldNothing(t *testing.T) {
	for _, tt := range []struct{ name, url string }{
		{"a picture", "/photos/1.png?w=4"},
		{"a picture with a mark", "/photos/1.png?w=4&mark=/photos/2.png"},
	} {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, known %t", tt.name, known), func(t *testing.T) {
				panics := false
				admit := func(*http.Request) error {
					if panics {
						panic(http.ErrAbortHandler)
					}
					return nil
				}
				inBudget(t, &heavyOrigin{size: 100 << 10}, imagecdn.Options{Admit: admit}, func(t *testing.T, h *imagecdn.Handler) {
					get := func(url string) (code int, panicked any) {
						defer func() { panicked = recover() }()
						w := httptest.NewRecorder()
						h.ServeHTTP(w, httptest.NewRequest("GET", url, nil))
						return w.Code, nil
					}
					if known {
						if code, _ := get("/photos/1.png?w=5"); code != http.StatusOK {
							t.Fatal(code)
						}
					}
					panics = true
					if code, p := get(tt.url); p != http.ErrAbortHandler {
						t.Errorf("%d, panic %v", code, p)
					}
					panics = false
					if code, p := get(tt.url); code != http.StatusOK || p != nil {
						t.Errorf("the next request: %d, panic %v", code, p)
					}
				})
			})
		}
	}
}
