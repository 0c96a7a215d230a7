package imagecdn_test

import (
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/purge"
)

// The promises of the design about a purge P, accepted at a and complete at c, each with a test that it heads: here those about
// what is served, I1 to I6, in promises_durable_test.go I7 to I10, and in promises_bounds_test.go I11 to I16.

// I1: Every response whose request arrived after c holds only bytes from origin exchanges whose request was sent after a.
//
// Clients and purges go on at random beside an origin that is slow, fails, and never says the same twice: each
// exchange has a number, which is the colour of its picture. The mode stale serves what is old on purpose.
func TestI1AfterAPurgeOnlyBytesFromExchangesAfterIt(t *testing.T) {
	images := map[string][]string{ // and the scopes that cover them
		"/a/cat.png": {"image", "list", "source", "folder", "tag", "everything"},
		"/b/dog.png": {"source", "everything"},
	}
	for _, store := range everyStore {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("%s/%d", store, seed), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					o := &numberedOrigin{rand: rand.New(rand.NewPCG(seed, 1)), t: t}
					s := &site{T: t, store: store, dir: t.TempDir(), other: newOrigin(), around: func(http.RoundTripper) http.RoundTripper { return o }}
					s.start()
					defer func() { s.stop() }()
					var mu sync.Mutex // guards least
					least := make(map[string]int)
					var work sync.WaitGroup
					served, done := 0, 0
					for n := range 6 {
						r := rand.New(rand.NewPCG(seed, uint64(10+n)))
						work.Go(func() {
							for range 60 {
								time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
								image := []string{"/a/cat.png", "/b/dog.png"}[r.IntN(2)]
								url := "/photos" + image + []string{"", "?w=4", "?w=5", "?w=4&vh=1"}[r.IntN(4)]
								mu.Lock()
								floor := least[image]
								mu.Unlock()
								w := get(s, url)
								if w.Code != http.StatusOK {
									continue
								}
								c := colorOf(t, w.Body.Bytes())
								mu.Lock()
								served++
								mu.Unlock()
								if number := int(c.R)<<8 | int(c.G); number <= floor {
									t.Errorf("%s: a request after a purge has the bytes of exchange %d; %d had been sent when that was asked for", url, number, floor)
								}
							}
						})
					}
					r := rand.New(rand.NewPCG(seed, 2))
					work.Go(func() {
						for range 40 {
							time.Sleep(time.Duration(r.IntN(500)) * time.Millisecond)
							p, mode := scopes[r.IntN(len(scopes))], []purge.Mode{purge.Delete, purge.Delete, purge.Revalidate}[r.IntN(3)]
							sent := o.sent()
							rec, err := s.accept(p, cat, mode).Wait(t.Context())
							if err != nil || rec.State != purge.Done {
								continue // the origin fails
							}
							mu.Lock()
							done++
							for image, by := range images {
								if slices.Contains(by, p.name) {
									least[image] = sent
								}
							}
							mu.Unlock()
						}
					})
					work.Wait()
					if served < 200 || done < 20 {
						t.Errorf("%d requests were answered with a picture, and %d purges done: that shows little", served, done)
					}
				})
			})
		}
	}
}

// A numberedOrigin paints the number of the exchange into what it answers.
type numberedOrigin struct {
	t *testing.T

	mu   sync.Mutex // guards what follows
	n    int
	rand *rand.Rand
}

func (o *numberedOrigin) sent() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.n
}

func (o *numberedOrigin) RoundTrip(r *http.Request) (*http.Response, error) {
	o.mu.Lock()
	o.n++
	c := color.NRGBA{uint8(o.n >> 8), uint8(o.n), 0, 255}
	wait, midway := time.Duration(o.rand.IntN(400))*time.Millisecond, time.Duration(o.rand.IntN(400))*time.Millisecond
	fails := o.rand.IntN(10) == 0
	o.mu.Unlock()
	time.Sleep(wait)
	if fails {
		return nil, errors.New("no route")
	}
	one := newOrigin()
	one.set(r.URL.Path, answer{header: catHeader(c, "max-age=1, stale-while-revalidate=2, stale-if-error=5"), body: paint(o.t, c, 8, 8)})
	one.block = func(_ *http.Request, where string) {
		if where == "body" {
			time.Sleep(midway)
		}
	}
	return one.RoundTrip(r)
}

// I2: A fill that began before a never becomes the name's value: not in memory, on disk, as a negative entry, or after a
// restart.
func TestI2AFillFromBeforeAPurgeNeverBecomesTheValue(t *testing.T) {
	for _, fill := range []struct{ name, where, control string }{
		{"before its header", "header", "max-age=3600"},
		{"in mid-body", "body", "max-age=3600"},
		{"before a 304", "header", "max-age=0"},
		{"before a 404", "header", ""},
	} {
		t.Run(fill.name, func(t *testing.T) {
			everywhere(t, func(s *site, p scope) {
				if fill.control != "" {
					s.hasFor(cat, red, fill.control)
				} else {
					s.origin.set(cat, answer{status: http.StatusNotFound, header: http.Header{"Surrogate-Key": {"cats"}}})
				}
				if fill.control == "max-age=0" {
					s.sees("before", catURL, red)
				}
				release := s.hang(cat, fill.where)
				defer release()
				old := s.behind(catURL)
				synctest.Wait()
				s.do(p, cat, purge.Delete)
				s.fails(cat)
				release()
				<-old
				synctest.Wait()

				// The origin fails: what is served now is what the old fill has left.
				for _, url := range []string{catURL, "/photos/a/cat.png", "/photos/a/cat.png?w=30"} {
					if w := get(s, url); w.Code != http.StatusBadGateway {
						s.Errorf("%s: %d from the fill", url, w.Code)
					}
				}
				s.restart()
				if w := get(s, catURL); w.Code != http.StatusBadGateway {
					s.Errorf("after a restart: %d from the fill", w.Code)
				}
				s.has(cat, green)
				time.Sleep(time.Minute)
				s.sees("once the origin is back", catURL, green)
			})
		})
	}
}

// I3: A request that arrives after a never joins a flight that began before a.
func TestI3ARequestAfterAPurgeJoinsNoFlightFromBefore(t *testing.T) {
	for _, flight := range []struct {
		name  string
		begin func(s *site) (release func())
	}{
		{"a first fetch", func(s *site) func() {
			s.has(cat, red)
			release := s.hang(cat, "header")
			s.behind(catURL)
			return release
		}},
		{"a revalidation", func(s *site) func() {
			s.hasFor(cat, red, "max-age=0")
			s.sees("before", catURL, red)
			release := s.hang(cat, "header")
			s.behind(catURL)
			return release
		}},
		{"a refresh that nobody waits for", func(s *site) func() {
			s.hasFor(cat, red, "max-age=1, stale-while-revalidate=60")
			s.sees("before", catURL, red)
			time.Sleep(2 * time.Second)
			release := s.hang(cat, "header")
			s.sees("before", catURL, red)
			return release
		}},
		{"a fetch of bytes that the store has lost", func(s *site) func() {
			s.has(cat, red)
			s.sees("before", catURL, red)
			if s.store == "memory" {
				s.loseFromMemory(cat)
			} else {
				s.restartWithout("o-")
			}
			release := s.hang(cat, "header")
			s.behind("/photos/a/cat.png?w=30")
			return release
		}},
	} {
		t.Run(flight.name, func(t *testing.T) {
			inStores(t, []string{"memory", "tiers"}, func(s *site, p scope) { // flights are in front of them
				release := flight.begin(s)
				defer release()
				synctest.Wait()
				before := s.origin.count()
				s.has(cat, green)
				s.do(p, cat, purge.Delete)
				for _, url := range []string{catURL, "/photos/a/cat.png?w=30", "/photos/a/cat.png"} {
					answer := s.behind(url)
					synctest.Wait()
					select {
					case w := <-answer:
						if w.Code != http.StatusOK || colorOf(s, w.Body.Bytes()) != green {
							s.Errorf("%s: %d, and not the new picture", url, w.Code)
						}
					default:
						s.Errorf("%s waits for a flight from before the purge", url)
					}
				}
				if n := s.origin.count() - before; n != 1 {
					s.Errorf("%d requests to the origin after the purge, want one", n)
				}
			})
		})
	}
}

// loseFromMemory has the memory lose what it has of an image, as it may at any time.
func (s *site) loseFromMemory(image string) {
	if _, err := imagecdn.StoreOf(s.Handler).Remove(s.Context(), "photos", image); err != nil {
		s.Fatal(err)
	}
}

// restartWithout restarts with a cache that has lost the files whose names begin so.
func (s *site) restartWithout(prefix string) {
	s.Helper()
	synctest.Wait()
	s.stop()
	lost := 0
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), prefix) {
			lost++
			err = os.Remove(path)
		}
		return err
	})
	if err != nil || lost == 0 {
		s.Fatalf("%d files lost, %v", lost, err)
	}
	s.start()
}

// I4: Requests that arrived before a may be given old bytes, but then Cache-Control: no-store, so that nobody downstream
// keeps them.
func TestI4OldBytesAfterAPurgeAreForNobodyToKeep(t *testing.T) {
	everywhere(t, func(s *site, p scope) {
		s.hasFor(cat, red, "max-age=0")
		s.origin.set("/a/none.png", answer{status: http.StatusNotFound, header: catHeader(red, "max-age=60")})
		etag := s.sees("before", catURL, red).Get("Etag")
		for _, c := range []struct {
			name, image, url, ifNoneMatch string
			gate                          bool // the request waits for its turn to make a picture, not for the origin
			status                        int
		}{
			{"a derivative", cat, catURL, "", false, 200},
			{"the original itself", cat, "/photos/a/cat.png", "", false, 200},
			{"a 304 to a client's copy", cat, catURL, etag, false, 304},
			{"a 404", "/a/none.png", "/photos/a/none.png?w=20", "", false, 404},
			{"a picture that is still to be made", cat, "/photos/a/cat.png?w=31", "", true, 200},
		} {
			var release func()
			if c.gate {
				release = imagecdn.HoldGate(s.Handler)
			} else {
				release = s.hang(c.image, "header")
			}
			var header []string
			if c.ifNoneMatch != "" {
				header = []string{"If-None-Match", c.ifNoneMatch}
			}
			waiting := s.behind(c.url, header...)
			synctest.Wait()
			s.do(p, c.image, purge.Delete)
			release()
			w := <-waiting
			if w.Code != c.status {
				s.Errorf("%s: %d %s", c.name, w.Code, w.Body)
			}
			if got := w.Header().Get("Cache-Control"); got != "no-store" || w.Header().Get("Age") != "" {
				s.Errorf("%s: Cache-Control %q, Age %q", c.name, got, w.Header().Get("Age"))
			}
			s.sees("between", catURL, red)
		}
	})
}

// I5: The first fetch after a is unconditional and carries Cache-Control: no-cache, so that no intermediary answers it from its
// copy, and a 304 to an old validator freshens nothing.
func TestI5TheFirstFetchAfterAPurgeIsUnconditionalAndNoCache(t *testing.T) {
	everywhere(t, func(s *site, p scope) {
		s.has(cat, red)
		unconditional := func(when string, requests int) {
			s.Helper()
			h := s.origin.last().Header
			if s.origin.count() != requests || h.Get("Cache-Control") != "no-cache" || h.Get("If-None-Match")+h.Get("If-Modified-Since") != "" {
				s.Errorf("%s: %d requests, want %d; the last had %v", when, s.origin.count(), requests, h)
			}
		}
		s.sees("before", catURL, red)
		if h := s.origin.last().Header; h.Get("Cache-Control") != "" {
			s.Errorf("before any purge: %v", h)
		}
		s.do(p, cat, purge.Delete)
		s.sees("after", catURL, red)
		unconditional("after", 2)
		s.do(p, cat, purge.Delete)
		s.sees("in another version", catURL+"&vh=2", red)
		unconditional("in another version", 3)

		// What says nothing of the image is not the first fetch; nor is an answer to what was not asked.
		s.do(p, cat, purge.Delete)
		s.fails(cat)
		get(s, catURL)
		unconditional("to an origin that fails", 4)
		s.origin.set(cat, answer{status: http.StatusNotModified, header: catHeader(red, "max-age=3600")})
		time.Sleep(time.Minute)
		if w := get(s, catURL); w.Code != http.StatusBadGateway {
			s.Errorf("an origin that answers 304 to what is unconditional: %d", w.Code)
		}
		unconditional("for the second time", 5)
		s.hasFor(cat, red, "max-age=0")
		time.Sleep(time.Minute)
		s.sees("once the origin is back", catURL, red)
		unconditional("once the origin is back", 6)

		// A 304 was on its way when the purge came.
		release := s.hang(cat, "header")
		old := s.behind(catURL)
		synctest.Wait()
		if h := s.origin.last().Header; h.Get("If-None-Match") == "" || h.Get("Cache-Control") != "" {
			s.Errorf("a revalidation had %v", h)
		}
		s.do(p, cat, purge.Delete)
		s.has(cat, green)
		release()
		<-old
		s.sees("after the 304", catURL, green)
		unconditional("after the 304", 8)

		// Nor is it forgotten over a restart.
		s.do(p, cat, purge.Delete)
		s.restart()
		s.sees("after a restart", catURL, green)
		if s.store != "memory" {
			unconditional("after a restart", 9)
		}
	})
}

// I6: P covers every variant: parameters, formats, densities, negotiated forms, vh versions, stale copies, negative entries, and
// every composite the image is part of.
func TestI6APurgeCoversEveryVariant(t *testing.T) {
	variants := []struct{ url, accept string }{
		{"/photos/a/cat.png", ""},
		{"/photos/a/cat.png?w=20", ""},
		{"/photos/a/cat.png?w=10&dpr=2", ""},
		{"/photos/a/cat.png?w=20&h=10&fit=crop", ""},
		{"/photos/a/cat.png?w=20&fm=jpg", ""},
		{"/photos/a/cat.png?w=20&fm=jpg&q=10", ""},
		{"/photos/a/cat.png?w=20&fm=webp", ""},
		{"/photos/a/cat.png?w=20&auto=format", "image/webp,*/*"},
		{"/photos/a/cat.png?w=20&auto=format", ""},
		{"/photos/a/cat.png?w=20&vh=1", ""},
		{"/photos/a/cat.png?w=20&vh=2", ""},
		{"/photos/a/cat.png?vh=2", ""},
		{"/photos/a/cat.png?w=40&mark=/other/logo.png&mark-w=4", ""},
		{"/other/logo.png?w=40&fm=png&mark=/photos/a/cat.png&mark-w=1&mark-pad=0&mark-align=middle,center", ""},
	}
	everywhere(t, func(s *site, p scope) {
		s.other.set("/logo.png", answer{header: cachedAnHour, body: paint(s, blue, 40, 40)})
		s.has(cat, red)
		ask := func(i int) *httptest.ResponseRecorder {
			return mustGet(s, s, variants[i].url, "Accept", variants[i].accept)
		}
		before := make([]*httptest.ResponseRecorder, len(variants))
		for i := range variants {
			ask(i)
			before[i] = ask(i)
			if !strings.Contains(before[i].Header().Get("Cache-Status"), "hit") {
				s.Errorf("%s is not cached: %v", variants[i].url, before[i].Header())
			}
		}
		synctest.Wait()
		s.has(cat, green)
		s.do(p, cat, purge.Delete)
		asked := s.origin.count()
		for i, v := range variants {
			w := ask(i)
			old, now := before[i].Header().Get("Etag"), w.Header().Get("Etag")
			if old == now || bytes.Equal(before[i].Body.Bytes(), w.Body.Bytes()) {
				s.Errorf("%s, Accept %q: not covered: %v", v.url, v.accept, w.Header())
			}
			if get(s, v.url, "Accept", v.accept, "If-None-Match", old).Code != http.StatusOK {
				s.Errorf("%s, Accept %q: what a client has of it counts as current", v.url, v.accept)
			}
			if w.Header().Get("Content-Type") == "image/png" && !strings.Contains(v.url, "mark=/other") && colorOf(s, w.Body.Bytes()) != green {
				s.Errorf("%s: %v", v.url, colorOf(s, w.Body.Bytes()))
			}
		}
		if n := s.origin.count() - asked; n != 3 { // as the image has three versions
			s.Errorf("%d requests to the origin", n)
		}

		// A stale copy, while its origin fails.
		s.hasFor(cat, red, "max-age=1, stale-while-revalidate=3600, stale-if-error=3600")
		s.do(p, cat, purge.Delete)
		s.sees("fresh", catURL, red)
		s.fails(cat)
		time.Sleep(time.Minute)
		s.sees("stale", catURL, red)
		synctest.Wait()
		s.do(p, cat, purge.Delete)
		if w := get(s, catURL); w.Code != http.StatusBadGateway {
			s.Errorf("a stale copy after the purge: %d", w.Code)
		}
		time.Sleep(time.Minute) // a failure has no tags

		// Negative entries: no such image, no picture, a damaged one, and a failure.
		for _, bad := range []answer{
			{status: http.StatusNotFound, header: catHeader(red, "max-age=3600")},
			{header: catHeader(red, "max-age=3600"), body: []byte("no picture")},
			{header: catHeader(red, "max-age=3600"), body: paint(s, red, 40, 40)[:60]},
		} {
			s.origin.set(cat, bad)
			s.do(p, cat, purge.Delete)
			if w := get(s, catURL); w.Code < 400 || w.Header().Get("Cache-Control") == "no-store" {
				s.Errorf("%d %v", w.Code, w.Header())
			}
			s.has(cat, green)
			if w := get(s, catURL); w.Code < 400 {
				s.Errorf("a negative entry is not kept: %d", w.Code)
			}
			s.do(p, cat, purge.Delete)
			s.sees("after a negative entry", catURL, green)
		}
	})
}
