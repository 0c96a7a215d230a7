package imagecdn_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn"
)

// from asks as a client at an address.
func from(h http.Handler, address, url string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, url, nil)
	r.RemoteAddr = address + ":1234"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// A crowd asks, and notes in which order who is answered.
type crowd struct {
	h    http.Handler
	wg   sync.WaitGroup
	mu   sync.Mutex // guards done
	done []string   // "name status"
}

func (c *crowd) ask(name, address, url string) {
	c.wg.Go(func() {
		w := from(c.h, address, url)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.done = append(c.done, fmt.Sprintf("%s %d", name, w.Code))
	})
	synctest.Wait()
}

// count is how many of a name had a status.
func (c *crowd) count(what string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.done {
		if d == what {
			n++
		}
	}
	return n
}

// crowded runs f in a bubble, with a handler that makes one picture at a time, lets 10 wait, and knows its original.
func crowded(t *testing.T, o imagecdn.Options, f func(t *testing.T, c *crowd)) {
	lifetimesOf(t, o, func(t *testing.T, h *imagecdn.Handler) { f(t, &crowd{h: h}) })
}

func lifetimesOf(t *testing.T, opts imagecdn.Options, f func(t *testing.T, h *imagecdn.Handler)) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		o.set("/cat.png", answer{header: cacheFor("max-age=3600"), body: paint(t, red, 40, 40)})
		o.set("/dog.png", answer{header: cacheFor("max-age=3600"), body: paint(t, blue, 40, 40)})
		for i := range 30 { // which share nothing with each other
			o.set(fmt.Sprintf("/%d.png", i), answer{header: cacheFor("max-age=3600"), body: paint(t, red, 40+i, 40)})
		}
		opts.Renders, opts.MaxQueued, opts.Decoded = 1, 10, -1
		h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: o}, "shop": {Transport: o}}, &opts)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		f(t, h)
	})
}

func TestWhoFillsTheQueueMakesWay(t *testing.T) {
	for name, url := range map[string]string{"sizes that share a decoding": "/photos/cat.png?w=%d", "originals": "/photos/%d.png?w=10"} {
		t.Run(name, func(t *testing.T) {
			crowded(t, imagecdn.Options{}, func(t *testing.T, c *crowd) {
				release := imagecdn.HoldGate(c.h.(*imagecdn.Handler))
				for i := range 20 {
					c.ask("greedy", "192.0.2.1", fmt.Sprintf(url, 10+i))
				}
				if n := c.count("greedy 429"); n != 10 {
					t.Errorf("%d of 20 were refused, and 10 may wait", n)
				}
				// One who waits for the same picture as one that makes way asks for itself.
				c.ask("sharer", "192.0.2.30", fmt.Sprintf(url, 19))
				for i := range 3 {
					c.ask("modest", fmt.Sprintf("192.0.2.%d", 10+i), fmt.Sprintf("/photos/dog.png?w=%d", 10+i))
				}
				c.ask("modest", "192.0.2.13", "/shop/dog.png?w=10")
				if c.count("greedy 429") != 15 || len(c.done) != 15 {
					t.Error(c.done)
				}
				release()
				c.wg.Wait()
				if c.count("sharer 200") != 1 || c.count("modest 200") != 4 || c.count("greedy 200") != 5 {
					t.Error(c.done)
				}
			})
		})
	}
}

func TestClientOption(t *testing.T) {
	user := func(r *http.Request) string { return r.URL.Query().Get("user") }
	crowded(t, imagecdn.Options{Client: user}, func(t *testing.T, c *crowd) {
		release := imagecdn.HoldGate(c.h.(*imagecdn.Handler))
		for i := range 11 {
			c.ask("a", "192.0.2.1", fmt.Sprintf("/photos/%d.png?w=10&user=a", i))
		}
		c.ask("b", "192.0.2.1", "/photos/dog.png?w=10&user=b")
		c.ask("a", "192.0.2.2", "/photos/20.png?w=10&user=a")
		release()
		c.wg.Wait()
		if c.count("b 200") != 1 || c.count("a 429") != 3 {
			t.Error(c.done)
		}
	})
}

type notNow time.Duration

func (notNow) Error() string               { return "too fast" }
func (n notNow) RetryAfter() time.Duration { return time.Duration(n) }
func hasRetryAfter(w *httptest.ResponseRecorder, want string) bool {
	return w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") == want && w.Header().Get("Cache-Control") == "no-store" &&
		strings.HasPrefix(w.Body.String(), "too fast")
}

func TestAdmitIsAskedForMissesAlone(t *testing.T) {
	var mu sync.Mutex // guards what follows
	asked, answer := 0, error(nil)
	admit := func(*http.Request) error {
		mu.Lock()
		defer mu.Unlock()
		asked++
		return answer
	}
	lifetimesOf(t, imagecdn.Options{Admit: admit}, func(t *testing.T, h *imagecdn.Handler) {
		for _, step := range []struct {
			url   string
			asked int // once this has been answered
		}{
			{"/photos/cat.png?w=10", 1},
			{"/photos/cat.png?w=10", 1},
			{"/photos/cat.png?w=11", 2},
			{"/photos/cat.png", 2},
			{"/photos/dog.png", 3},
			{"/photos/dog.png", 3},
			{"/photos/dog.png?w=10&mark=/photos/cat.png", 4},
			{"/shop/dog.png?w=10&mark=/shop/cat.png", 5}, // two fetches and a render
			{"/photos/none.png", 6},
			{"/photos/none.png", 6},
		} {
			w := from(h, "192.0.2.1", step.url)
			if w.Code != http.StatusOK && !strings.Contains(step.url, "none") || asked != step.asked {
				t.Errorf("%s: %d, asked %d times, want %d", step.url, w.Code, asked, step.asked)
			}
		}
		answer = notNow(90 * time.Second)
		for _, url := range []string{"/photos/cat.png?w=12", "/photos/new.png", "/photos/new.png?w=5"} {
			if w := from(h, "192.0.2.1", url); !hasRetryAfter(w, "90") {
				t.Errorf("%s: %d %v %s", url, w.Code, w.Header(), w.Body)
			}
		}
		if w := from(h, "192.0.2.1", "/photos/cat.png?w=10"); w.Code != http.StatusOK {
			t.Errorf("a hit: %d", w.Code)
		}
		answer = errors.New("too fast, and that is all")
		if w := from(h, "192.0.2.1", "/photos/cat.png?w=12"); !hasRetryAfter(w, "1") {
			t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
		}
		answer = nil
		if w := from(h, "192.0.2.1", "/photos/cat.png?w=12"); w.Code != http.StatusOK {
			t.Errorf("a refusal is remembered: %d", w.Code)
		}
	})
}

func TestDrain(t *testing.T) {
	lifetimesOf(t, imagecdn.Options{}, func(t *testing.T, h *imagecdn.Handler) {
		mustGet(t, h, "/photos/cat.png?w=9")
		release := imagecdn.HoldGate(h)
		c := &crowd{h: h}
		for i := range 5 {
			c.ask("waiting", "192.0.2.1", fmt.Sprintf("/photos/cat.png?w=%d", 10+i))
		}
		h.Drain()
		c.wg.Wait()
		if c.count("waiting 503") != 5 {
			t.Error(c.done)
		}
		for url, want := range map[string]int{"/photos/cat.png?w=9": 200, "/photos/cat.png?w=30": 503, "/photos/dog.png": 503} {
			if w := from(h, "192.0.2.1", url); w.Code != want {
				t.Errorf("%s: %d, want %d", url, w.Code, want)
			}
		}
		release()
	})
}
