package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A fakeOrigin answers by a function, and remembers what it was asked.
type fakeOrigin struct {
	mu       sync.Mutex
	answer   func(*http.Request) (*http.Response, error)
	requests []*http.Request
	ended    int // requests whose context ended before they were answered
}

func (o *fakeOrigin) RoundTrip(req *http.Request) (*http.Response, error) {
	o.mu.Lock()
	o.requests = append(o.requests, req)
	answer := o.answer
	o.mu.Unlock()
	resp, err := answer(req)
	if req.Context().Err() != nil {
		o.mu.Lock()
		o.ended++
		o.mu.Unlock()
	}
	return resp, err
}

func (o *fakeOrigin) answers(f func(*http.Request) (*http.Response, error)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answer = f
}

// asked is how many requests there were.
func (o *fakeOrigin) asked() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.requests)
}

func (o *fakeOrigin) last() http.Header {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.requests[len(o.requests)-1].Header
}

func reply(status int, body string, lines ...string) *http.Response {
	return &http.Response{StatusCode: status, Header: header(lines...), Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

// always answers with the same, and with 304 where the ETag of it is known.
func always(status int, body string, lines ...string) func(*http.Request) (*http.Response, error) {
	return func(req *http.Request) (*http.Response, error) {
		if etag := header(lines...).Get("Etag"); etag != "" && req.Header.Get("If-None-Match") == etag {
			return reply(http.StatusNotModified, "", lines...), nil
		}
		return reply(status, body, lines...), nil
	}
}

func fails(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// site is an origin with a cache in front of it.
type site struct {
	*testing.T
	origin *fakeOrigin
	store  Store
	table  *Table
	cache  *Transport
	open   func() Store
	opts   TransportOptions
}

var storesOfSites = map[string]func(t *testing.T, dir string) Store{
	"memory": func(t *testing.T, dir string) Store { return NewMemory(64 << 20) },
	"memory and disk": func(t *testing.T, dir string) Store {
		d, err := OpenDisk(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		return Tiered(NewMemory(64<<20), d)
	},
}

// onSite runs test in a bubble, with memory alone.
func onSite(t *testing.T, o *TransportOptions, test func(*site)) {
	t.Helper()
	onSiteWith(t, "memory", o, test)
}

func onSiteWith(t *testing.T, kind string, o *TransportOptions, test func(*site)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := &site{T: t, origin: &fakeOrigin{}, open: func() Store { return storesOfSites[kind](t, dir) }}
		if o != nil {
			s.opts = *o
		}
		s.opts.Source = "s"
		s.start()
		test(s)
		s.close()
	})
}

func (s *site) start() {
	s.store = s.open()
	s.table = NewTable(s.store, nil)
	o := s.opts
	o.Table = s.table
	s.cache = NewTransport(s.store, s.origin, &o)
}

func (s *site) close() {
	s.Helper()
	if err := errors.Join(s.cache.Close(), s.store.Close()); err != nil {
		s.Errorf("Close: %v", err)
	}
	if err := s.table.check(); err != nil {
		s.Error(err)
	}
}

func (s *site) restart() {
	s.Helper()
	s.close()
	s.start()
}

func (s *site) fetch() *Result { s.Helper(); return s.fetchVersion("") }

func (s *site) fetchVersion(version string) *Result {
	s.Helper()
	res, err := s.cache.Fetch(s.Context(), "/cat", version)
	if err != nil {
		s.Fatalf("Fetch: %v", err)
	}
	return res
}

// is fetches and compares: the status, how it came about, the body, and how often the origin was asked so far.
func (s *site) is(status int, how How, body string, asked int) *Result {
	s.Helper()
	res := s.fetch()
	if res.Entry.Status != status || res.How != how {
		s.Errorf("got %d, how %d, %q; want %d, how %d", res.Entry.Status, res.How, res.Entry.Reason, status, how)
	}
	if status == http.StatusOK {
		if got := s.body(res); got != body {
			s.Errorf("got %q, want %q", got, body)
		}
	} else if res.Entry.Reason == "" {
		s.Errorf("%d without a reason", res.Entry.Status)
	}
	synctest.Wait()
	if n := s.origin.asked(); n != asked {
		s.Errorf("the origin was asked %d times, want %d", n, asked)
	}
	return res
}

func (s *site) body(res *Result) string {
	s.Helper()
	body, of, err := s.cache.Body(s.Context(), res)
	if err != nil {
		s.Fatalf("Body: %v", err)
	}
	if of.Entry.OK() && of.Entry.Digest != DigestOf(body) {
		s.Errorf("the digest of %q is another's", body)
	}
	return string(body)
}

func (s *site) stored(body string) bool {
	_, err := s.store.Get(s.Context(), Key{"s", "/cat", Original, DigestOf([]byte(body))})
	return err == nil
}

func TestFreshThenRevalidated(t *testing.T) {
	for kind := range storesOfSites {
		t.Run(kind, func(t *testing.T) {
			onSiteWith(t, kind, nil, func(s *site) {
				s.origin.answers(always(200, "one", `ETag: "1"`, "Last-Modified: Wed, 06 May 2026 12:00:00 GMT", "Cache-Control: max-age=2", "Content-Type: image/png", "X-Old: 1"))
				s.is(200, Filled, "one", 1)
				s.is(200, Hit, "one", 1)
				time.Sleep(2*time.Second - 1)
				s.is(200, Hit, "one", 1)
				time.Sleep(1)
				s.origin.answers(always(200, "one", `ETag: "1"`, "Cache-Control: max-age=3", "X-New: 1"))
				res := s.is(200, Revalidated, "one", 2)
				if h := s.origin.last(); h.Get("If-None-Match") != `"1"` || h.Get("If-Modified-Since") == "" || h.Get("Cache-Control") != "" {
					s.Errorf("it was asked with %v", h)
				}
				if h := res.Entry.Header; h.Get("X-New") != "1" || h.Get("X-Old") != "1" || h.Get("Content-Type") != "image/png" {
					s.Errorf("the 304 left %v", h)
				}
				s.is(200, Hit, "one", 2)
				s.restart()
				if kind != "memory" {
					s.is(200, Hit, "one", 2)
				}
				time.Sleep(3 * time.Second)
				s.origin.answers(always(200, "two", `ETag: "2"`, "Cache-Control: max-age=2"))
				s.is(200, Filled, "two", 3)
				s.is(200, Hit, "two", 3)
			})
		})
	}
}

// A 304 without a Date is dated when it arrives, not when the bytes did.
func TestA304WithoutADateMakesFresh(t *testing.T) {
	onSite(t, nil, func(s *site) {
		date := "Date: " + time.Now().UTC().Format(http.TimeFormat)
		s.origin.answers(always(200, "one", `ETag: "1"`, "Cache-Control: max-age=10", date))
		s.is(200, Filled, "one", 1)
		time.Sleep(time.Minute)
		s.origin.answers(always(200, "one", `ETag: "1"`))
		s.is(200, Revalidated, "one", 2)
		s.is(200, Hit, "one", 2)
	})
}

func TestAThousandClientsAreOneRequest(t *testing.T) {
	onSite(t, nil, func(s *site) {
		s.origin.answers(func(req *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return reply(200, "one", "Cache-Control: max-age=60"), nil
		})
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if got := s.body(s.fetch()); got != "one" {
					s.Errorf("got %q", got)
				}
			})
		}
		wg.Wait()
		s.is(200, Hit, "one", 1)
	})
}

func TestClientsThatLeave(t *testing.T) {
	slow := func(req *http.Request) (*http.Response, error) {
		select {
		case <-time.After(time.Minute):
			return reply(200, "one"), nil
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
	t.Run("the first to leave harms nobody", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(slow)
			first, leave := context.WithCancel(s.Context())
			left := make(chan error)
			go func() { _, err := s.cache.Fetch(first, "/cat", ""); left <- err }()
			synctest.Wait()
			stayed := make(chan string)
			go func() { stayed <- s.body(s.fetch()) }()
			synctest.Wait()
			leave()
			if err := <-left; !errors.Is(err, context.Canceled) {
				s.Errorf("the one who left got %v", err)
			}
			if got := <-stayed; got != "one" || s.origin.ended != 0 {
				s.Errorf("the one who stayed got %q, %d requests were ended", got, s.origin.ended)
			}
			s.is(200, Hit, "one", 1)
		})
	})
	t.Run("all leaving ends the request, and says nothing of the origin", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(slow)
			ctx, cancel := context.WithTimeout(s.Context(), time.Second)
			defer cancel()
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					if _, err := s.cache.Fetch(ctx, "/cat", ""); !errors.Is(err, context.DeadlineExceeded) {
						s.Errorf("got %v", err)
					}
				})
			}
			wg.Wait()
			synctest.Wait()
			if s.origin.ended != 1 || s.origin.asked() != 1 {
				s.Errorf("%d of %d requests were ended", s.origin.ended, s.origin.asked())
			}
			if e := s.cache.Known("/cat", ""); e != nil {
				s.Errorf("it is known as %+v", e)
			}
			s.is(200, Filled, "one", 2)
		})
	})
}

func TestNoStoreIsNeitherStoredNorShared(t *testing.T) {
	for _, cc := range []string{"no-store", "private", "private, max-age=60"} {
		t.Run(cc, func(t *testing.T) {
			onSiteWith(t, "memory and disk", nil, func(s *site) {
				n := 0
				s.origin.answers(func(req *http.Request) (*http.Response, error) {
					s.origin.mu.Lock()
					n++
					body := fmt.Sprint("mine ", n)
					s.origin.mu.Unlock()
					time.Sleep(time.Second)
					return reply(200, body, "Cache-Control: "+cc, `ETag: "1"`), nil
				})
				var mu sync.Mutex
				var got []string
				var wg sync.WaitGroup
				for range 5 {
					wg.Go(func() {
						res := s.fetch()
						body := s.body(res)
						mu.Lock()
						defer mu.Unlock()
						got = append(got, body)
						if res.How != FilledUnkept || res.Keepable() {
							s.Errorf("how %d, keepable %v", res.How, res.Keepable())
						}
					})
				}
				wg.Wait()
				slices.Sort(got)
				if want := []string{"mine 1", "mine 2", "mine 3", "mine 4", "mine 5"}; !slices.Equal(got, want) {
					s.Errorf("got %q", got)
				}
				for _, body := range got {
					if s.stored(body) {
						s.Errorf("%q was stored", body)
					}
				}
				if e := s.cache.Known("/cat", ""); e != nil {
					s.Errorf("it is known: %+v", e)
				}
				s.restart()
				s.is(200, FilledUnkept, "mine 6", 6)
			})
		})
	}
}

// An origin that begins to forbid storing is obeyed from then on: what was stored before is not served while it is
// stale, nor when the origin fails.
func TestNoStoreEndsWhatWasStored(t *testing.T) {
	for kind := range storesOfSites {
		t.Run(kind, func(t *testing.T) {
			onSiteWith(t, kind, nil, func(s *site) {
				s.origin.answers(always(200, "public", `ETag: "1"`, "Cache-Control: max-age=2, stale-while-revalidate=1000, stale-if-error=1000"))
				s.is(200, Filled, "public", 1)
				time.Sleep(3 * time.Second)
				s.origin.answers(always(200, "private", `ETag: "2"`, "Cache-Control: private"))
				s.is(200, StaleHit, "public", 2) // and asked behind
				s.is(200, FilledUnkept, "private", 3)
				if kind != "memory" {
					s.restart()
				}
				s.origin.answers(fails(errors.New("down")))
				s.is(502, Filled, "", 4)
			})
		})
	}
}

func TestNegativeAnswers(t *testing.T) {
	for _, status := range []int{404, 410} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			onSite(t, nil, func(s *site) {
				s.origin.answers(always(status, "<h1>nope</h1>", "Cache-Control: max-age=86400"))
				s.is(status, Filled, "", 1)
				s.is(status, Hit, "", 1)
				time.Sleep(5*time.Minute - 1)
				s.is(status, Hit, "", 1)
				time.Sleep(1)
				s.origin.answers(always(200, "one"))
				s.is(200, Filled, "one", 2)
				s.is(200, Hit, "one", 2)
			})
		})
	}
	t.Run("a 404 takes the place of bytes", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(always(200, "one", `ETag: "1"`, "Cache-Control: max-age=2, stale-if-error=1000"))
			s.is(200, Filled, "one", 1)
			time.Sleep(2 * time.Second)
			s.origin.answers(always(404, ""))
			s.is(404, Filled, "", 2)
			s.is(404, Hit, "", 2)
		})
	})
}

func TestOriginsThatFail(t *testing.T) {
	failures := []struct {
		rule   string
		answer func(*http.Request) (*http.Response, error)
		status int
	}{
		{"500", always(500, ""), 502},
		{"503", always(503, ""), 502},
		{"504", always(504, ""), 504},
		{"429", always(429, ""), 502},
		{"an error", fails(errors.New("connection refused")), 502},
		{"a timeout", fails(context.DeadlineExceeded), 504},
		{"a redirect", always(302, "", "Location: /dog"), 502},
		{"a part", always(206, "on"), 502},
		{"a short body", func(*http.Request) (*http.Response, error) {
			resp := reply(200, "one")
			resp.ContentLength = 10
			return resp, nil
		}, 502},
		{"a body that breaks", func(*http.Request) (*http.Response, error) {
			resp := reply(200, "")
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader("on"), errReader{io.ErrUnexpectedEOF}))
			resp.ContentLength = -1
			return resp, nil
		}, 502},
		{"a 304 that nobody asked for", always(304, "", `ETag: "9"`), 502},
	}
	for _, f := range failures {
		t.Run(f.rule+", nothing known: an error, remembered briefly", func(t *testing.T) {
			onSite(t, nil, func(s *site) {
				s.origin.answers(f.answer)
				s.is(f.status, Filled, "", 1)
				s.is(f.status, Hit, "", 1)
				time.Sleep(10*time.Second - 1)
				s.is(f.status, Hit, "", 1)
				time.Sleep(1)
				s.origin.answers(always(200, "one"))
				s.is(200, Filled, "one", 2)
			})
		})
		t.Run(f.rule+", bytes known: they are used, and the origin rests", func(t *testing.T) {
			onSite(t, nil, func(s *site) {
				s.origin.answers(always(200, "old", "Cache-Control: max-age=2"))
				s.is(200, Filled, "old", 1)
				time.Sleep(2 * time.Second)
				s.origin.answers(f.answer)
				s.is(200, StaleHit, "old", 2)
				s.is(200, StaleHit, "old", 2)
				time.Sleep(10*time.Second - 1)
				s.is(200, StaleHit, "old", 2)
				time.Sleep(1)
				s.is(200, StaleHit, "old", 3)
				time.Sleep(24 * time.Hour)
				s.is(f.status, Filled, "", 4)
				time.Sleep(10 * time.Second)
				s.origin.answers(always(200, "new"))
				s.is(200, Filled, "new", 5)
			})
		})
	}
	t.Run("403 is no failure that old bytes stand in for", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(always(200, "old", "Cache-Control: max-age=2"))
			s.is(200, Filled, "old", 1)
			time.Sleep(2 * time.Second)
			s.origin.answers(always(403, ""))
			s.is(502, Filled, "", 2)
		})
	})
	t.Run("must-revalidate is obeyed", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(always(200, "old", "Cache-Control: max-age=2, must-revalidate"))
			s.is(200, Filled, "old", 1)
			time.Sleep(2 * time.Second)
			s.origin.answers(always(500, ""))
			s.is(502, Filled, "", 2)
		})
	})
	t.Run("Classify names the status", func(t *testing.T) {
		onSite(t, &TransportOptions{Classify: func(error) (int, string) { return 403, "not allowed" }}, func(s *site) {
			s.origin.answers(fails(errors.New("blocked")))
			if res := s.is(403, Filled, "", 1); res.Entry.Reason != "not allowed" {
				s.Errorf("the reason is %q", res.Entry.Reason)
			}
		})
	})
	t.Run("a panic is an error, and the next request asks again", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(func(*http.Request) (*http.Response, error) { panic("ouch") })
			if _, err := s.cache.Fetch(s.Context(), "/cat", ""); err == nil || !strings.Contains(err.Error(), "ouch") {
				s.Errorf("got %v", err)
			}
			s.origin.answers(always(200, "one"))
			s.is(200, Filled, "one", 2)
		})
	})
}

type errReader struct{ error }

func (r errReader) Read([]byte) (int, error) { return 0, r.error }

func TestShortBodiesAreNotStored(t *testing.T) {
	onSiteWith(t, "memory and disk", nil, func(s *site) {
		s.origin.answers(func(*http.Request) (*http.Response, error) {
			resp := reply(200, "on", "Cache-Control: max-age=60")
			resp.ContentLength = 3
			return resp, nil
		})
		s.is(502, Filled, "", 1)
		if s.stored("on") {
			s.Error("half a body was stored")
		}
	})
}

func TestMaxBytes(t *testing.T) {
	for name, length := range map[string]int64{"said": 11, "unsaid": -1} {
		t.Run(name, func(t *testing.T) {
			onSite(t, &TransportOptions{MaxBytes: 10}, func(s *site) {
				s.origin.answers(func(*http.Request) (*http.Response, error) {
					resp := reply(200, "0123456789x")
					resp.ContentLength = length
					return resp, nil
				})
				s.is(413, Filled, "", 1)
				s.is(413, Hit, "", 1)
				time.Sleep(5 * time.Minute)
				s.origin.answers(always(200, "0123456789"))
				s.is(200, Filled, "0123456789", 2)
			})
		})
	}
	t.Run("no limit", func(t *testing.T) {
		onSite(t, &TransportOptions{MaxBytes: -1}, func(s *site) {
			s.origin.answers(always(200, strings.Repeat("x", 100_000)))
			s.is(200, Filled, strings.Repeat("x", 100_000), 1)
		})
	})
	t.Run("an empty body is a body", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(always(200, ""))
			s.is(200, Filled, "", 1)
			s.is(200, Hit, "", 1)
		})
	})
}

func TestLostBytesAreFetchedAgain(t *testing.T) {
	lose := func(s *site) {
		if _, err := s.store.Remove(s.Context(), "s", "/cat"); err != nil {
			s.Fatal(err)
		}
	}
	t.Run("the same", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(always(200, "one", `ETag: "1"`))
			s.is(200, Filled, "one", 1)
			lose(s)
			s.is(200, Hit, "one", 2)
			if h := s.origin.last(); h.Get("If-None-Match") != "" {
				s.Errorf("lost bytes were asked for with %v", h)
			}
			s.is(200, Hit, "one", 2)
		})
	})
	t.Run("others by now", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(always(200, "one"))
			res := s.is(200, Filled, "one", 1)
			res.body = nil
			lose(s)
			s.origin.answers(always(200, "two"))
			body, now, err := s.cache.Body(s.Context(), res)
			if err != nil || string(body) != "two" || now.Entry.Digest != DigestOf([]byte("two")) {
				s.Errorf("got %q, %v", body, err)
			}
			s.is(200, Hit, "two", 2)
		})
	})
	t.Run("gone by now", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(always(200, "one"))
			s.fetch()
			res := s.fetch()
			lose(s)
			s.origin.answers(always(404, ""))
			if _, now, err := s.cache.Body(s.Context(), res); err != nil || now.Entry.Status != 404 {
				s.Errorf("got %v", err)
			}
			s.is(404, Hit, "", 2)
		})
	})
	t.Run("the origin is down: what the image is stays known", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(always(200, "one"))
			s.fetch()
			res := s.fetch()
			lose(s)
			s.origin.answers(always(500, ""))
			if _, now, err := s.cache.Body(s.Context(), res); err != nil || now.Entry.Status != 502 {
				s.Errorf("got %v", err)
			}
			if e := s.cache.Known("/cat", ""); e == nil || !e.OK() {
				s.Errorf("it is known as %+v", e)
			}
		})
	})
	t.Run("at once by many: one request", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(always(200, "one"))
			s.fetch()
			res := s.fetch()
			lose(s)
			s.origin.answers(func(*http.Request) (*http.Response, error) {
				time.Sleep(time.Second)
				return reply(200, "one"), nil
			})
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					if got := s.body(res); got != "one" {
						s.Errorf("got %q", got)
					}
				})
			}
			wg.Wait()
			s.is(200, Hit, "one", 2)
		})
	})
}

func TestStaleWhileRevalidate(t *testing.T) {
	onSite(t, nil, func(s *site) {
		s.origin.answers(always(200, "one", "Cache-Control: max-age=2, stale-while-revalidate=60"))
		s.is(200, Filled, "one", 1)
		time.Sleep(2 * time.Second)
		release := make(chan struct{})
		s.origin.answers(func(*http.Request) (*http.Response, error) {
			<-release
			return reply(200, "two", "Cache-Control: max-age=2, stale-while-revalidate=60"), nil
		})
		for range 200 { // more than may run behind at a time: it is one refresh all the same
			s.is(200, StaleHit, "one", 2)
		}
		if n := len(s.cache.refreshing); n != 1 {
			s.Errorf("%d refreshes run behind", n)
		}
		close(release)
		synctest.Wait()
		s.is(200, Hit, "two", 2)

		// A refresh that fails keeps serving, and lets the origin rest.
		time.Sleep(2 * time.Second)
		s.origin.answers(always(500, ""))
		s.is(200, StaleHit, "two", 3)
		s.is(200, StaleHit, "two", 3)
		time.Sleep(10 * time.Second)
		s.is(200, StaleHit, "two", 4)
	})
	t.Run("and no grace for errors", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(always(200, "one", "Cache-Control: s-maxage=2, stale-while-revalidate=60"))
			s.is(200, Filled, "one", 1)
			time.Sleep(2 * time.Second)
			s.origin.answers(always(500, ""))
			s.is(200, StaleHit, "one", 2)
			s.is(200, StaleHit, "one", 2)
			time.Sleep(60 * time.Second)
			s.is(502, Filled, "", 3)
		})
	})
	t.Run("at most so many at a time", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			images := 2 * maxBehind
			s.origin.answers(always(200, "one", "Cache-Control: max-age=2, stale-while-revalidate=60"))
			for i := range images {
				if _, err := s.cache.Fetch(s.Context(), fmt.Sprint("/", i), ""); err != nil {
					s.Fatal(err)
				}
			}
			time.Sleep(2 * time.Second)
			release := make(chan struct{})
			s.origin.answers(func(*http.Request) (*http.Response, error) { <-release; return reply(200, "two"), nil })
			for i := range images {
				if _, err := s.cache.Fetch(s.Context(), fmt.Sprint("/", i), ""); err != nil {
					s.Fatal(err)
				}
			}
			synctest.Wait()
			if n := s.origin.asked() - images; n != maxBehind {
				s.Errorf("%d refreshes run behind, want %d", n, maxBehind)
			}
			close(release)
		})
	})
	t.Run("Close ends what runs behind", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(always(200, "one", "Cache-Control: max-age=2, stale-while-revalidate=60"))
			s.fetch()
			time.Sleep(2 * time.Second)
			s.origin.answers(func(req *http.Request) (*http.Response, error) {
				<-req.Context().Done()
				return nil, req.Context().Err()
			})
			s.is(200, StaleHit, "one", 2)
			if err := s.cache.Close(); err != nil {
				s.Error(err)
			}
			if s.origin.ended != 1 {
				s.Error("Close did not wait for what runs behind")
			}
			s.is(200, StaleHit, "one", 2)
			if _, err := s.cache.Fetch(s.Context(), "/dog", ""); !errors.Is(err, errTransportClosed) {
				s.Errorf("after Close: %v", err)
			}
		})
	})
}

func TestHeadersAreEndToEnd(t *testing.T) {
	onSite(t, nil, func(s *site) {
		s.origin.answers(always(200, "one", "Content-Type: image/png", "X-A: 1", "X-A: 2", "Connection: close, X-Hop", "X-Hop: 1", "Keep-Alive: 5",
			"Transfer-Encoding: chunked", "Set-Cookie: a=b", "Proxy-Authenticate: Basic", "Trailer: X", "TE: trailers", "Upgrade: h2c"))
		h := s.is(200, Filled, "one", 1).Entry.Header
		if want := header("Content-Type: image/png", "X-A: 1", "X-A: 2"); fmt.Sprint(h) != fmt.Sprint(want) {
			s.Errorf("got %v, want %v", h, want)
		}
	})
	t.Run("none at all", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("one"))}, nil
			})
			s.is(200, Filled, "one", 1)
		})
	})
}

func TestInspect(t *testing.T) {
	inspect := func(body []byte) (string, int, string) {
		if string(body) == "page" {
			return "", 415, "this is no picture"
		}
		return "image/png", 200, ""
	}
	onSite(t, &TransportOptions{Inspect: inspect}, func(s *site) {
		s.origin.answers(always(200, "page", "Content-Type: image/png", "Cache-Control: max-age=86400"))
		s.is(415, Filled, "", 1)
		s.is(415, Hit, "", 1)
		if s.stored("page") {
			s.Error("it was stored")
		}
		time.Sleep(5 * time.Minute)
		s.origin.answers(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("one"))}, nil
		})
		if res := s.is(200, Filled, "one", 2); res.Entry.Header.Get("Content-Type") != "image/png" {
			s.Errorf("got %v", res.Entry.Header)
		}
	})
}

func TestSpoil(t *testing.T) {
	onSite(t, nil, func(s *site) {
		s.origin.answers(always(200, "broken", "Cache-Control: max-age=86400, stale-while-revalidate=86400"))
		s.cache.Spoil(s.is(200, Filled, "broken", 1))
		s.is(200, Hit, "broken", 1)
		time.Sleep(5 * time.Minute)
		s.origin.answers(always(200, "mended"))
		s.is(200, Filled, "mended", 2)
	})
}

// The first fetch after a purge is unconditional and passes every cache on the way, until one has brought bytes.
func TestFirstFetchAfterAPurge(t *testing.T) {
	purges := map[string]func(*site) error{
		"an image":   func(s *site) error { return s.cache.Purge("/cat", Delete) },
		"the source": func(s *site) error { return s.table.PurgeAll("s", Delete) },
		"everything": func(s *site) error { return s.table.PurgeAll("", Delete) },
	}
	for kind := range storesOfSites {
		for what, purge := range purges {
			for _, restart := range []bool{false, true} {
				if restart && kind == "memory" {
					continue
				}
				t.Run(fmt.Sprintf("%s, %s, restart %v", what, kind, restart), func(t *testing.T) {
					onSiteWith(t, kind, nil, func(s *site) {
						s.origin.answers(always(200, "old", `ETag: "1"`, "Cache-Control: max-age=2"))
						s.is(200, Filled, "old", 1)
						if h := s.origin.last(); h.Get("Cache-Control") != "" {
							s.Errorf("before any purge it was asked with %v", h)
						}
						if err := purge(s); err != nil {
							s.Fatal(err)
						}
						if restart {
							s.restart()
						}
						first := func(when string) {
							s.Helper()
							if h := s.origin.last(); h.Get("Cache-Control") != "no-cache" || h.Get("If-None-Match") != "" || h.Get("If-Modified-Since") != "" {
								s.Errorf("%s it was asked with %v", when, h)
							}
						}
						s.origin.answers(always(500, ""))
						s.is(502, Filled, "", 2)
						first("first")
						time.Sleep(10 * time.Second)
						s.origin.answers(always(404, ""))
						s.is(404, Filled, "", 3)
						first("after a failure")
						time.Sleep(5 * time.Minute)
						s.origin.answers(always(200, "new", `ETag: "2"`, "Cache-Control: max-age=2"))
						s.is(200, Filled, "new", 4)
						first("after a 404")
						time.Sleep(2 * time.Second)
						s.is(200, Revalidated, "new", 5)
						if h := s.origin.last(); h.Get("Cache-Control") != "" || h.Get("If-None-Match") != `"2"` {
							s.Errorf("later it was asked with %v", h)
						}
					})
				})
			}
		}
	}
}

func TestModesOfAPurge(t *testing.T) {
	purges := map[string]func(*site, Mode) error{
		"an image":   func(s *site, m Mode) error { return s.cache.Purge("/cat", m) },
		"the source": func(s *site, m Mode) error { return s.table.PurgeAll("s", m) },
		"everything": func(s *site, m Mode) error { return s.table.PurgeAll("", m) },
	}
	for what, purge := range purges {
		t.Run("Revalidate "+what, func(t *testing.T) {
			onSite(t, nil, func(s *site) {
				s.origin.answers(always(200, "one", `ETag: "1"`))
				s.is(200, Filled, "one", 1)
				if err := purge(s, Revalidate); err != nil {
					s.Fatal(err)
				}
				s.is(200, Revalidated, "one", 2)
				if h := s.origin.last(); h.Get("If-None-Match") != `"1"` || h.Get("Cache-Control") != "no-cache" {
					s.Errorf("asked with %v", h)
				}
				s.is(200, Hit, "one", 2)
				if err := purge(s, Revalidate); err != nil {
					s.Fatal(err)
				}
				s.origin.answers(always(500, ""))
				s.is(502, Filled, "", 3) // old bytes do not stand in
			})
		})
		t.Run("Stale "+what, func(t *testing.T) {
			onSite(t, nil, func(s *site) {
				s.origin.answers(always(200, "one", `ETag: "1"`))
				s.is(200, Filled, "one", 1)
				if err := purge(s, Stale); err != nil {
					s.Fatal(err)
				}
				s.origin.answers(always(500, ""))
				s.is(200, StaleHit, "one", 2)
				s.is(200, StaleHit, "one", 2) // the origin rests
				time.Sleep(10 * time.Second)
				s.origin.answers(always(200, "two", `ETag: "2"`))
				s.is(200, StaleHit, "one", 3)
				if h := s.origin.last(); h.Get("If-None-Match") != `"1"` || h.Get("Cache-Control") != "no-cache" {
					s.Errorf("asked with %v", h)
				}
				s.is(200, Hit, "two", 3)
			})
		})
		t.Run("Stale does not keep a 404, "+what, func(t *testing.T) {
			onSite(t, nil, func(s *site) {
				s.origin.answers(always(404, ""))
				s.is(404, Filled, "", 1)
				if err := purge(s, Stale); err != nil {
					s.Fatal(err)
				}
				s.origin.answers(always(200, "one"))
				s.is(200, Filled, "one", 2)
			})
		})
	}
}

func TestSupersede(t *testing.T) {
	for kind := range storesOfSites {
		t.Run(kind, func(t *testing.T) {
			onSiteWith(t, kind, nil, func(s *site) {
				s.origin.answers(always(200, "old", `ETag: "1"`))
				s.is(200, Filled, "old", 1)
				d := Key{"s", "/cat", Derivative, DigestOf([]byte("small old"))}
				if err := s.store.Put(s.Context(), d, &Thing{Body: []byte("small old")}, nil); err != nil {
					s.Fatal(err)
				}
				if err := s.cache.Purge("/cat", Revalidate); err != nil {
					s.Fatal(err)
				}
				s.origin.answers(always(200, "new", `ETag: "2"`))
				for _, hit := range []bool{false, true} { // the second time the bytes are not in the Result
					res, err := s.cache.Refresh(s.Context(), "/cat", "")
					if err != nil || !res.Entry.OK() || hit != (res.How == Revalidated) {
						s.Fatalf("got %+v, %v", res, err)
					}
					r, err := s.cache.Supersede(s.Context(), res)
					if err != nil || !hit && (r.Derivatives != 1 || r.Originals == 0) {
						s.Errorf("superseded %+v, %v", r, err)
					}
					if _, err := s.store.Get(s.Context(), d); err == nil || s.stored("old") || !s.stored("new") {
						s.Errorf("the derivative %v, old %v, new %v", err, s.stored("old"), s.stored("new"))
					}
				}
				s.is(200, Hit, "new", 3)
				s.restart()
				if kind != "memory" {
					s.is(200, Hit, "new", 3)
				}
			})
		})
	}
}

// A silence is where an origin stops answering.
type silence struct {
	rule    string
	known   bool // the old bytes are known, and stale
	behind  bool // they may be served while the origin is asked
	lost    bool // they are known, and lost
	version string
	status  int
	at      func(release chan struct{}) func(*http.Request) (*http.Response, error)
}

func beforeHeaders(status int, lines ...string) func(chan struct{}) func(*http.Request) (*http.Response, error) {
	return func(release chan struct{}) func(*http.Request) (*http.Response, error) {
		return func(req *http.Request) (*http.Response, error) {
			<-release
			if status != 200 {
				return reply(status, "", lines...), nil
			}
			return reply(status, "old", lines...), nil
		}
	}
}

func inMidBody(release chan struct{}) func(*http.Request) (*http.Response, error) {
	return func(req *http.Request) (*http.Response, error) {
		resp := reply(200, "", `ETag: "old"`, "Cache-Control: max-age=3600")
		resp.ContentLength = 3
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader("o"), waitReader(release), strings.NewReader("ld")))
		return resp, nil
	}
}

type waitReader chan struct{}

func (r waitReader) Read([]byte) (int, error) { <-r; return 0, io.EOF }

var silences = []silence{
	{rule: "before headers", status: 200, at: beforeHeaders(200, `ETag: "old"`, "Cache-Control: max-age=3600")},
	{rule: "in mid-body", status: 200, at: inMidBody},
	{rule: "before a 304", known: true, status: 200, at: beforeHeaders(304, `ETag: "old"`, "Cache-Control: max-age=3600")},
	{rule: "before a 200 in place of a 304", known: true, status: 200, at: inMidBody},
	{rule: "before a 404", status: 404, at: beforeHeaders(404)},
	{rule: "before a 410 of what was there", known: true, status: 410, at: beforeHeaders(410)},
	{rule: "before a 500", status: 502, at: beforeHeaders(500)},
	{rule: "before a 500, with old bytes to serve", known: true, status: 200, at: beforeHeaders(500)},
	{rule: "behind, before a 304", known: true, behind: true, status: 200, at: beforeHeaders(304, `ETag: "old"`, "Cache-Control: max-age=3600")},
	{rule: "behind, in mid-body", known: true, behind: true, status: 200, at: inMidBody},
	{rule: "a version, before headers", version: "v", status: 200, at: beforeHeaders(200, `ETag: "old"`, "Cache-Control: max-age=3600")},
	{rule: "a version, before a 304", known: true, version: "v", status: 200, at: beforeHeaders(304, `ETag: "old"`, "Cache-Control: max-age=3600")},
	{rule: "lost bytes, in mid-body", known: true, lost: true, status: 200, at: inMidBody},
}

// A fill that began before a purge never becomes the image's value; who asks after the purge never waits for it; and who
// waited for it is told that nobody may keep what it brings.
func TestThePurgeRace(t *testing.T) {
	purges := map[string]func(*site) error{
		"an image": func(s *site) error {
			if err := s.cache.Purge("/cat", Delete); err != nil {
				return err
			}
			_, err := s.cache.Free(s.Context(), "/cat")
			return err
		},
		"the source": func(s *site) error {
			if err := s.table.PurgeAll("s", Delete); err != nil {
				return err
			}
			_, err := s.store.RemoveAll(s.Context(), "s")
			return err
		},
		"everything": func(s *site) error {
			if err := s.table.PurgeAll("", Delete); err != nil {
				return err
			}
			_, err := s.store.RemoveAll(s.Context(), "")
			return err
		},
	}
	for kind := range storesOfSites {
		for what, purge := range purges {
			for _, b := range silences {
				for _, order := range []string{"the new fill first", "the old fill first", "a restart first"} {
					if kind == "memory" && order == "a restart first" {
						continue // nothing is known then, purges neither
					}
					t.Run(strings.Join([]string{kind, "purge of " + what, b.rule, order}, "/"), func(t *testing.T) {
						t.Parallel()
						onSiteWith(t, kind, nil, func(s *site) { purgeRace(s, b, purge, order) })
					})
				}
			}
		}
	}
}

func purgeRace(s *site, b silence, purge func(*site) error, order string) {
	if b.known {
		cc := "Cache-Control: max-age=2"
		if b.behind {
			cc += ", stale-while-revalidate=60"
		}
		if b.lost {
			cc = "Cache-Control: max-age=60"
		}
		s.origin.answers(always(200, "old", `ETag: "old"`, cc))
		s.fetchVersion(b.version)
		time.Sleep(3 * time.Second)
	}
	var lost *Result
	if b.lost {
		lost = s.fetchVersion(b.version)
		if err := func() error { _, err := s.store.Remove(s.Context(), "s", "/cat"); return err }(); err != nil {
			s.Fatal(err)
		}
		if d, ok := keeperOf(s.store).(*tieredKeeper); ok { // a disk frees what is hidden only
			if err := d.Hide("s", "/cat", false); err != nil {
				s.Fatal(err)
			}
		}
	}
	release := make(chan struct{})
	s.origin.answers(b.at(release))
	asked := s.origin.asked()

	// Two wait for the fill of before.
	type waited struct {
		res  *Result
		body string
	}
	waiters := make(chan waited, 2)
	for range 2 {
		go func() {
			if b.lost {
				body, res, err := s.cache.Body(s.Context(), lost)
				if err != nil {
					s.Errorf("Body: %v", err)
				}
				waiters <- waited{res, string(body)}
				return
			}
			res := s.fetchVersion(b.version)
			w := waited{res: res, body: string(res.body)}
			if !b.behind && res.Entry.OK() && res.body == nil {
				w.body = "old" // of a 304: in the store, if anywhere
			}
			waiters <- w
		}()
	}
	synctest.Wait()
	if n := s.origin.asked(); n != asked+1 {
		s.Fatalf("%d fills are under way, want 1", n-asked)
	}
	if err := purge(s); err != nil {
		s.Fatal(err)
	}

	newFill := func() {
		s.Helper()
		asked := s.origin.asked()
		s.origin.answers(always(200, "new", `ETag: "new"`, "Cache-Control: max-age=3600"))
		done := make(chan *Result)
		go func() { done <- s.fetchVersion(b.version) }()
		synctest.Wait()
		select {
		case res := <-done:
			if string(res.body) != "new" || res.How != Filled || !res.Alive() {
				s.Errorf("after the purge: %q, how %d, alive %v", res.body, res.How, res.Alive())
			}
			if h := s.origin.last(); s.origin.asked() != asked+1 || h.Get("Cache-Control") != "no-cache" || h.Get("If-None-Match") != "" {
				s.Errorf("asked %d times, at last with %v", s.origin.asked()-asked, h)
			}
		default:
			s.Error("a request that came after the purge waits for the fill of before")
			close(release)
			<-done
		}
	}
	oldFill := func() {
		s.Helper()
		close(release)
		for range 2 {
			w := <-waiters
			if w.res.Alive() || w.res.Keepable() {
				s.Errorf("a fill that began before the purge counts as alive")
			}
			if w.res.Entry.Status != b.status || b.status == 200 && !b.behind && w.body != "old" {
				s.Errorf("who waited got %d %q", w.res.Entry.Status, w.body)
			}
		}
		synctest.Wait()
	}
	switch order {
	case "the new fill first":
		newFill()
		oldFill()
	case "the old fill first":
		oldFill()
		if e := s.cache.Known("/cat", b.version); e != nil {
			s.Errorf("the fill that began before the purge left %+v", e)
		}
		newFill()
	case "a restart first":
		oldFill()
		s.restart()
		if e := s.cache.Known("/cat", b.version); e != nil {
			s.Errorf("the fill that began before the purge is known after a restart: %+v", e)
		}
		newFill()
	}
	check := func(want *Entry) {
		s.Helper()
		if e := s.cache.Known("/cat", b.version); e != want && (e == nil || e.Digest != DigestOf([]byte("new"))) {
			s.Errorf("the image is known as %+v", e)
		}
		if s.stored("old") {
			s.Error("the bytes of before are stored")
		}
	}
	new := s.cache.Known("/cat", b.version)
	if new == nil {
		s.Fatal("the new fill was not kept")
	}
	check(new)
	s.restart()
	check(nil)
}
