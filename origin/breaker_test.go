package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A moody host answers as it is told, and counts.
type moody struct {
	mu   sync.Mutex // guards what follows
	mood func(w http.ResponseWriter, r *http.Request)
	hits int
}

func (m *moody) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	m.hits++
	mood := m.mood
	m.mu.Unlock()
	mood(w, r)
}

func (m *moody) set(mood func(http.ResponseWriter, *http.Request)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mood = mood
}

func (m *moody) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hits
}

func fine(w http.ResponseWriter, _ *http.Request)   { io.WriteString(w, "cat") }
func silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
func hangsUp(http.ResponseWriter, *http.Request)    { panic(http.ErrAbortHandler) }
func cutsOff(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "9")
	fine(w, nil)
}
func stalls(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Length", "9")
	io.WriteString(w, "cat")
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}
func answers(status int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

// fetch fetches an image to its end.
func fetch(ctx context.Context, t *testing.T, h *HTTP) error {
	resp, err := h.RoundTrip(request(t, http.MethodGet, "/cat.jpg").WithContext(ctx))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.ReadAll(resp.Body)
	return err
}

// moodily runs f in a bubble, with an origin that breaks after 3 failures and does not retry.
func moodily(t *testing.T, o HTTPOptions, f func(t *testing.T, m *moody, h *HTTP)) {
	synctest.Test(t, func(t *testing.T) {
		m := &moody{mood: fine}
		if o.Retries == 0 {
			o.Retries = -1
		}
		if o.BreakAfter == 0 {
			o.BreakAfter = 3
		}
		f(t, m, one(t, &o, m.ServeHTTP))
	})
}

func TestWhatBreaks(t *testing.T) {
	for _, test := range []struct {
		name   string
		mood   func(http.ResponseWriter, *http.Request)
		breaks bool
		status int // while it is left alone
	}{
		{"hanging up", hangsUp, true, 502},
		{"silence", silent, true, 504},
		{"502", answers(502), true, 502},
		{"503", answers(503), true, 502},
		{"503 with Retry-After", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "1"); w.WriteHeader(503) }, true, 502},
		{"504", answers(504), true, 502},
		{"bodies that are cut short", cutsOff, true, 502},
		{"bodies that stall", stalls, true, 504},
		{"404", answers(404), false, 0},
		{"410", answers(410), false, 0},
		{"403", answers(403), false, 0},
		{"429", answers(429), false, 0},
		{"500", answers(500), false, 0},
		{"304", answers(304), false, 0},
		{"a redirect that is refused", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "ftp://x/")
			w.WriteHeader(302)
		}, false, 0},
		{"what is compressed", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			w.WriteHeader(200)
		}, false, 0},
		{"a fine answer", fine, false, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			moodily(t, HTTPOptions{}, func(t *testing.T, m *moody, h *HTTP) {
				m.set(test.mood)
				for i := range 3 {
					if err := fetch(t.Context(), t, h); errors.Is(err, ErrBroken) {
						t.Fatal("it broke early")
					}
					if i < 2 {
						time.Sleep(time.Second)
					}
				}
				start := time.Now()
				err := fetch(t.Context(), t, h)
				if errors.Is(err, ErrBroken) != test.breaks || m.count() != map[bool]int{true: 3, false: 4}[test.breaks] {
					t.Errorf("got %v after %d requests", err, m.count())
				}
				if test.breaks && (Status(err) != test.status || time.Since(start) != 0) {
					t.Errorf("got %d after %v, want %d at once", Status(err), time.Since(start), test.status)
				}
			})
		})
	}
}

// failThrice has an origin fail for as long as it takes to be left alone.
func failThrice(t *testing.T, h *HTTP) {
	for range 2 {
		_ = fetch(t.Context(), t, h)
		time.Sleep(time.Second)
	}
	_ = fetch(t.Context(), t, h)
}

func TestFailuresInOneMomentBreakNothing(t *testing.T) {
	moodily(t, HTTPOptions{}, func(t *testing.T, m *moody, h *HTTP) {
		for range 5 {
			m.set(silent)
			for range 50 { // they time out together
				go func() { _ = fetch(t.Context(), t, h) }()
			}
			time.Sleep(11 * time.Second)
			m.set(fine)
			if err := fetch(t.Context(), t, h); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestFailuresInARow(t *testing.T) {
	moodily(t, HTTPOptions{}, func(t *testing.T, m *moody, h *HTTP) {
		for i := range 30 { // two of three fail
			time.Sleep(time.Second)
			m.set(answers(503))
			if i%3 == 2 {
				m.set(answers(404))
			}
			if err := fetch(t.Context(), t, h); err != nil {
				t.Fatalf("%d: %v", i, err)
			}
		}
	})
}

func TestCallersThatGoAwayBreakNothing(t *testing.T) {
	moodily(t, HTTPOptions{}, func(t *testing.T, m *moody, h *HTTP) {
		for i, mood := range []func(http.ResponseWriter, *http.Request){silent, stalls, silent, stalls, silent, stalls, fine} {
			m.set(mood)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := fetch(ctx, t, h); errors.Is(err, ErrBroken) || (err == nil) != (i == 6) {
				t.Errorf("%d: %v", i, err)
			}
			cancel()
		}
	})
}

func TestProbes(t *testing.T) {
	moodily(t, HTTPOptions{}, func(t *testing.T, m *moody, h *HTTP) {
		m.set(answers(503))
		failThrice(t, h)
		// Each probe that fails doubles the pause, up to a minute.
		for _, pause := range []time.Duration{5, 10, 20, 40, 60, 60} {
			hits := m.count()
			time.Sleep(pause*time.Second - 1)
			if err := fetch(t.Context(), t, h); !errors.Is(err, ErrBroken) || m.count() != hits {
				t.Fatalf("before %ds: %v", pause, err)
			}
			time.Sleep(1)
			if err := fetch(t.Context(), t, h); err != nil || m.count() != hits+1 {
				t.Fatalf("after %ds: %v", pause, err)
			}
		}
		// While a probe is out, nobody else is let through. One that its caller gives up decides nothing.
		time.Sleep(time.Minute)
		m.set(silent)
		ctx, cancel := context.WithCancel(t.Context())
		probe := make(chan error)
		go func() { probe <- fetch(ctx, t, h) }()
		synctest.Wait()
		if err := fetch(t.Context(), t, h); !errors.Is(err, ErrBroken) {
			t.Errorf("beside a probe: %v", err)
		}
		cancel()
		<-probe
		m.set(fine)
		for range 2 {
			if err := fetch(t.Context(), t, h); err != nil {
				t.Errorf("once it works: %v", err)
			}
		}
		// The next time it begins anew.
		m.set(answers(503))
		failThrice(t, h)
		if err := fetch(t.Context(), t, h); !errors.Is(err, ErrBroken) {
			t.Error(err)
		}
		time.Sleep(5 * time.Second)
		if err := fetch(t.Context(), t, h); err != nil {
			t.Error(err)
		}
	})
}

func TestRequestsOfBeforeDecideNothing(t *testing.T) {
	moodily(t, HTTPOptions{ResponseHeaderTimeout: 20 * time.Second}, func(t *testing.T, m *moody, h *HTTP) {
		m.set(silent)
		for range 10 { // they fail after 20 seconds
			go func() { _ = fetch(t.Context(), t, h) }()
		}
		synctest.Wait()
		m.set(answers(503))
		failThrice(t, h)
		time.Sleep(5 * time.Second)
		m.set(fine)
		if err := fetch(t.Context(), t, h); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if err := fetch(t.Context(), t, h); err != nil {
			t.Errorf("it works, and failures of before count: %v", err)
		}
	})
}

func TestRetriesEndWhereTheHostIsLeftAlone(t *testing.T) {
	moodily(t, HTTPOptions{Retries: 9}, func(t *testing.T, m *moody, h *HTTP) {
		m.set(answers(503))
		resp, _ := get(t, h, "/cat.jpg")
		// The pauses add up to two seconds after five to seven.
		if n := m.count(); resp.StatusCode != 503 || n < 6 || n > 8 {
			t.Errorf("got %d after %d requests, want 503 after 6 to 8", resp.StatusCode, n)
		}
	})
}

func TestNoBreaker(t *testing.T) {
	moodily(t, HTTPOptions{BreakAfter: -1}, func(t *testing.T, m *moody, h *HTTP) {
		m.set(hangsUp)
		for range 100 {
			if err := fetch(t.Context(), t, h); errors.Is(err, ErrBroken) {
				t.Fatal(err)
			}
		}
	})
}

// Each host that redirects lead to is on its own, and how many are remembered is bounded.
func TestHostsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := &moody{mood: answers(503)}
		h := newTest(t, "http://img.example", &HTTPOptions{Retries: -1, BreakAfter: 3}, map[string]http.Handler{
			"img.example:80": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/cat.jpg" {
					w.Header().Set("Location", "http://bad.example/")
					w.WriteHeader(302)
				}
			}),
			"bad.example:80": bad,
		})
		failThrice(t, h)
		for range 5 {
			_ = fetch(t.Context(), t, h)
		}
		if resp, _ := get(t, h, "/dog.jpg"); resp.StatusCode != 200 || bad.count() != 3 {
			t.Errorf("%d, and %d requests to the other", resp.StatusCode, bad.count())
		}
		for i := range 2 * maxBreakers {
			a, err := h.breakers.try(fmt.Sprint(i))
			if err != nil {
				t.Fatal(err)
			}
			a.fail(nil)
		}
		if n := len(h.breakers.hosts); n != maxBreakers {
			t.Errorf("%d hosts are remembered", n)
		}
	})
}
