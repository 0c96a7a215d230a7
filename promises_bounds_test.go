package imagecdn_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/resize"
)

// I11: Purge-all takes effect in constant time, however much is cached.
//
// Counted are the calls of the store, the bytes that it is to make durable, and the objects allocated, from the call to its
// return, for ten images and for ten thousand.
func TestI11APurgeOfEverythingTakesTheSameForTenImagesAndTenThousand(t *testing.T) {
	type cost struct {
		calls       []string
		bytes       int
		allocations float64
	}
	body := paint(t, red, 2, 2)
	header := catHeader(red, "max-age=3600")
	origin := roundTrip(func(r *http.Request) (*http.Response, error) {
		o := newOrigin()
		o.set(r.URL.Path, answer{header: header, body: body})
		return o.RoundTrip(r)
	})
	costs := make(map[string][]cost)
	for _, images := range []int{10, 10_000} {
		synctest.Test(t, func(t *testing.T) {
			store := &countedKeeper{Memory: cache.NewMemory(64 << 20)}
			store.gens.Store(new(cache.Generations))
			h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: origin}}, &imagecdn.Options{
				Cache: store, Purge: &purge.ServiceOptions{Workers: 1},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			s := &site{T: t, Handler: h}
			for i := range images {
				mustGet(t, h, fmt.Sprintf("/photos/a/%d.png", i))
			}
			store.hold = make(chan bool) // the one worker does nothing from here on
			s.accept(scopes[0], "/b/none.png", purge.Delete)
			synctest.Wait()
			for _, p := range scopes[2:] {
				store.calls, store.bytes = nil, 0
				s.accept(p, cat, purge.Delete)
				c := cost{calls: slices.Clone(store.calls), bytes: store.bytes}
				c.allocations = testing.AllocsPerRun(20, func() { s.accept(p, cat, purge.Delete) })
				costs[p.name] = append(costs[p.name], c)
				if n := imagecdn.Names(h); n != images {
					t.Errorf("%s: %d names of %d images", p.name, n, images)
				}
			}
			close(store.hold)
		})
	}
	for scope, c := range costs {
		few, many := c[0], c[1]
		if !slices.Equal(few.calls, []string{"save generations"}) || !slices.Equal(many.calls, few.calls) || many.bytes != few.bytes ||
			many.allocations > few.allocations+5 {
			t.Errorf("%s: for 10 images %+v, for 10,000 %+v", scope, few, many)
		}
	}
}

// A countedKeeper keeps generations, and no names, in memory, and counts what is asked of it.
type countedKeeper struct {
	*cache.Memory
	gens  atomic.Pointer[cache.Generations]
	hold  chan bool // where set, what frees waits until it is closed
	calls []string
	bytes int
}

func (k *countedKeeper) LoadName(cache.Name) *cache.Entry { return nil }
func (k *countedKeeper) SaveName(cache.Name, *cache.Entry, func() bool) error {
	k.calls = append(k.calls, "save name")
	return nil
}
func (k *countedKeeper) Hide(source, image string, _ bool) error {
	k.calls = append(k.calls, "hide")
	_, err := k.Memory.Remove(context.Background(), source, image)
	return err
}
func (k *countedKeeper) Generations() *cache.Generations { return k.gens.Load() }
func (k *countedKeeper) SaveGenerations(g *cache.Generations) error {
	data, err := json.Marshal(g)
	k.calls = append(k.calls, "save generations")
	k.bytes += len(data)
	k.gens.Store(g)
	return err
}
func (k *countedKeeper) Remove(ctx context.Context, source, image string) (cache.Removed, error) {
	if k.hold != nil {
		<-k.hold
	}
	return k.Memory.Remove(ctx, source, image)
}
func (k *countedKeeper) RemoveAll(ctx context.Context, source string) (cache.Removed, error) {
	if k.hold != nil {
		<-k.hold
	}
	return k.Memory.RemoveAll(ctx, source)
}

// I12: Status is honest: Done only when all of it is. Partial is said to be partial, per URL and per CDN, with the reason.
//
// No CDN is called yet: records have none.
func TestI12StatusIsHonest(t *testing.T) {
	for _, store := range everyStore {
		t.Run(store, func(t *testing.T) {
			onSite(t, store, func(s *site) {
				paths := []string{"/photos/1.png", "/photos/2.png", "/photos/3.png", "/photos/4.png"}
				for _, path := range paths {
					s.has(path[len("/photos"):], red)
					s.sees("before", path+"?w=20", red)
				}
				synctest.Wait()
				var mu sync.Mutex // guards what follows
				broken, calls := true, make(map[string]int)
				s.told = func(call, image string) error {
					mu.Lock()
					defer mu.Unlock()
					if call == "remove" {
						calls[image]++
						if broken && (image == "/2.png" || image == "/4.png") {
							return fmt.Errorf("the disk under %s is gone", image)
						}
					}
					return nil
				}
				var states []string
				job, err := s.Purge(s.Context(), paths, &purge.Options{OnStatus: func(e purge.Event) { states = append(states, string(e.State)) }})
				if err != nil {
					s.Fatal(err)
				}
				time.Sleep(100 * time.Millisecond) // in the first of the pauses between tries
				if rec := job.Record(); rec.State != purge.FlushingServers || rec.Paths[0].State != purge.Done || rec.Paths[1].State != purge.FlushingServers ||
					!strings.Contains(rec.Paths[1].Reason, "is gone") {
					s.Errorf("midway: %+v", rec)
				}
				rec, err := job.Wait(s.Context())
				if err != nil || rec.State != purge.Error || rec.Err() == nil || !strings.Contains(rec.Err().Error(), "2 failed") || rec.CDNs == nil || len(rec.CDNs) != 0 {
					s.Errorf("%v, %v: %+v", err, rec.Err(), rec)
				}
				for i, got := range rec.Paths {
					// Of what failed, memory may be free already.
					want := purge.PathResult{Path: paths[i], State: purge.Done, Outcome: purge.Removed, Originals: 1, Derivatives: 1, Bytes: got.Bytes}
					if i%2 == 1 {
						want = purge.PathResult{Path: paths[i], State: purge.Error, Outcome: purge.Failed, Reason: fmt.Sprintf("the disk under /%d.png is gone", i+1),
							Originals: got.Originals, Derivatives: got.Derivatives, Bytes: got.Bytes}
					}
					if got != want || i%2 == 0 && got.Bytes == 0 {
						s.Errorf("%+v, want %+v", got, want)
					}
				}

				// A retry is of what failed, and of nothing else.
				first := rec
				mu.Lock()
				broken = false
				clear(calls)
				mu.Unlock()
				api := s.Admin(&imagecdn.AdminOptions{Authorize: func(*http.Request) error { return nil }})
				w := httptest.NewRecorder()
				api.ServeHTTP(w, httptest.NewRequest("POST", "/api/v1/purges/"+job.ID()+"/retry", nil))
				if w.Code != http.StatusAccepted {
					s.Fatalf("%d %s", w.Code, w.Body)
				}
				rec, err = job.Wait(s.Context())
				synctest.Wait()
				if err != nil || rec.State != purge.Done || rec.Attempt != 2 || rec.Err() != nil || calls["/1.png"]+calls["/3.png"] != 0 {
					s.Errorf("%v: %+v after %v", err, rec, calls)
				}
				for i, got := range rec.Paths {
					if i%2 == 0 && got != first.Paths[i] || got.State != purge.Done || got.Outcome != purge.Removed || got.Reason != "" {
						s.Errorf("after the retry: %+v", got)
					}
				}
				want := "received preparing flushing_servers flushing_cdn error received preparing flushing_servers flushing_cdn done"
				if got := strings.Join(states, " "); got != want {
					s.Errorf("states %s, want %s", got, want)
				}
			})
		})
	}

	t.Run("an origin that fails, and one that says nothing new", func(t *testing.T) {
		lifetimes(t, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
			for _, path := range []string{"/same.png", "/down.png"} {
				o.set(path, answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
				mustGet(t, h, "/photos"+path+"?w=20")
			}
			o.set("/down.png", answer{status: http.StatusServiceUnavailable})
			rec, _ := purged(t, h, purge.Options{Mode: purge.Revalidate}, "/photos/same.png", "/photos/down.png")
			if rec.State != purge.Error || rec.Paths[0].Outcome != purge.Unchanged || rec.Paths[1].Outcome != purge.Failed || rec.Paths[1].Reason == "" {
				t.Errorf("%+v", rec)
			}
		})
	})
}

// I13: Purges never block readers on I/O, and 100,000 of them leave lookups as fast as before.
func TestI13PurgesKeepNoReaderWaiting(t *testing.T) {
	t.Run("a disk that hangs", func(t *testing.T) {
		inStores(t, []string{"disk", "tiers"}, func(s *site, p scope) {
			s.has(cat, red)
			s.other.set("/1.png", answer{header: cachedAnHour, body: paint(s, red, 40, 40)})
			s.other.set("/2.png", answer{header: cachedAnHour, body: paint(s, red, 40, 40)})
			s.sees("before", catURL, red)
			s.sees("before", "/other/1.png?w=20", red)
			synctest.Wait()
			s.has(cat, green)
			goOn := make(chan bool)
			hung := atomic.Bool{}
			s.told = func(call, _ string) error {
				if call != "hidden" && call != "saved generations" {
					hung.Store(true)
					<-goOn
				}
				return nil
			}
			accepted := make(chan *purge.Job, 1)
			go func() { accepted <- s.accept(p, cat, purge.Delete) }()
			synctest.Wait()
			if len(accepted) != 0 || !hung.Load() {
				s.Error("the purge did not wait for the disk")
			}
			for _, c := range []struct{ what, url string }{
				{"a hit", "/other/1.png?w=20"},
				{"another size", "/other/1.png?w=21"},
				{"a miss", "/other/2.png?w=20"},
				{"the image itself", catURL},
			} {
				waiting := s.behind(c.url)
				synctest.Wait()
				select {
				case w := <-waiting:
					if w.Code != http.StatusOK {
						s.Errorf("%s: %d %s", c.what, w.Code, w.Body)
					}
				default:
					s.Errorf("%s waits for the purge", c.what)
				}
			}
			close(goOn)
			if _, err := (<-accepted).Wait(s.Context()); err != nil {
				s.Error(err)
			}
			s.sees("after", catURL, green)
		})
	})

	t.Run("100,000 purges", func(t *testing.T) {
		onSite(t, "memory", func(s *site) {
			s.has(cat, red)
			s.sees("before", catURL, red)
			lookup := func() float64 {
				w := &discard{header: make(http.Header)}
				r := httptest.NewRequest(http.MethodGet, catURL, nil)
				return testing.AllocsPerRun(100, func() { clear(w.header); s.ServeHTTP(w, r) })
			}
			before, left := lookup(), imagecdn.LeftOfPurges(s.Handler)
			goOn := make(chan bool)
			s.told = func(string, string) error { <-goOn; return nil }
			requests := s.origin.count()
			var jobs []*purge.Job
			for i := range 100 {
				paths := make([]string, 1000)
				for j := range paths {
					paths[j] = fmt.Sprintf("/photos/b/%d-%d.png", i, j)
				}
				job, err := s.Purge(s.Context(), paths, nil)
				if err != nil {
					s.Fatal(err)
				}
				jobs = append(jobs, job)
			}
			synctest.Wait()
			if during := lookup(); during > before || s.origin.count() != requests {
				s.Errorf("a hit allocates %v times beside 100,000 purges, %v before; %d requests to the origin", during, before, s.origin.count()-requests)
			}
			close(goOn)
			for _, job := range jobs {
				if rec, err := job.Wait(s.Context()); err != nil || rec.State != purge.Done {
					s.Fatal(err, rec.State)
				}
			}
			if after, now := lookup(), imagecdn.LeftOfPurges(s.Handler); after > before || now != left {
				s.Errorf("a hit allocates %v times after 100,000 purges, %v before; they have left %v, before there was %v", after, before, now, left)
			}
		})
	})

	// What folders and tags leave is bounded by the places in which generations are counted, not by their number.
	t.Run("50,000 folders and tags", func(t *testing.T) {
		onSite(t, "disk", func(s *site) {
			s.limits = purge.ServiceOptions{MaxPaths: 25_000, MaxBytes: 1 << 30, CloseTimeout: -1}
			s.restart()
			folders, tags := make([]string, 25_000), make([]string, 25_000)
			for i := range folders {
				folders[i], tags[i] = fmt.Sprintf("/photos/%d/", i), fmt.Sprint("tag", i)
			}
			if _, err := s.PurgeFolders(s.Context(), folders, nil); err != nil {
				s.Fatal(err)
			}
			if _, err := s.PurgeTags(s.Context(), tags, nil); err != nil {
				s.Fatal(err)
			}
			if n := len(imagecdn.GenerationsOf(s.Handler).Marks); n > 1<<14 {
				s.Errorf("%d marks", n)
			}
		})
	})
}

// I14: Content that changes at the origin after a is cached normally.
func TestI14WhatChangesAfterAPurgeIsCachedAsEver(t *testing.T) {
	everywhere(t, func(s *site, p scope) {
		s.has(cat, red)
		s.sees("before", catURL, red)
		synctest.Wait()
		s.do(p, cat, purge.Delete)
		s.hasFor(cat, green, "max-age=60")
		asked := s.origin.count()
		hit := func(when, url string, requests int) {
			s.Helper()
			h := s.sees(when, url, green)
			if n := s.origin.count() - asked; n != requests || h.Get("Cache-Control") != "public, max-age=60" {
				s.Errorf("%s: %d requests to the origin, want %d; %v", when, n, requests, h)
			}
		}
		hit("at first", catURL, 1)
		hit("again", catURL, 1)
		hit("in another size", "/photos/a/cat.png?w=30", 1)
		synctest.Wait()
		if s.store != "memory" {
			s.restart()
			hit("after a restart", catURL, 1)
		}
		// It is revalidated as ever, and followed as ever.
		time.Sleep(61 * time.Second)
		hit("past its lifetime", catURL, 2)
		if h := s.origin.last().Header; h.Get("If-None-Match") == "" || h.Get("Cache-Control") != "" {
			s.Errorf("past its lifetime: %v", h)
		}
		s.hasFor(cat, blue, "max-age=60")
		time.Sleep(61 * time.Second)
		s.sees("when it has changed again", catURL, blue)
		s.sees("when it has changed again", catURL, blue)
		if n := s.origin.count() - asked; n != 3 {
			s.Errorf("%d requests to the origin", n)
		}

		// What changes while the work behind a purge goes on is kept as well, if maybe not its bytes in memory.
		free := make(chan bool)
		s.told = func(call, _ string) error {
			if strings.HasPrefix(call, "remove") {
				<-free
			}
			return nil
		}
		job := s.accept(p, cat, purge.Delete)
		s.has(cat, green)
		s.sees("while the purge goes on", catURL, green)
		s.sees("while the purge goes on", catURL, green)
		close(free)
		if _, err := job.Wait(s.Context()); err != nil {
			s.Fatal(err)
		}
		time.Sleep(time.Second)
		s.sees("when it is done", catURL, green)
		asked = s.origin.count()
		s.sees("when it is done", catURL, green)
		time.Sleep(time.Minute)
		s.sees("when it is done", catURL, green)
		if n := s.origin.count() - asked; n != 0 {
			s.Errorf("%d more requests to the origin", n)
		}
	})
}

// I15: Nothing unbounded: bytes in memory, bytes on disk, queued work, pixels in flight, log records, goroutines.
//
// Goroutines: a bubble ends when all of its own have.
func TestI15NothingIsUnbounded(t *testing.T) {
	hour := answer{header: cachedAnHour, body: paint(t, red, 8, 8)}
	bubble := func(name string, o imagecdn.Options, f func(s *site)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &site{T: t, origin: newOrigin()}
				h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: s.origin}}, &o)
				if err != nil {
					t.Fatal(err)
				}
				defer h.Close()
				s.Handler = h
				f(s)
			})
		})
	}

	bubble("requests that wait for a picture to be made", imagecdn.Options{MaxQueued: 5}, func(s *site) {
		s.origin.set(cat, hour)
		release := imagecdn.HoldGate(s.Handler)
		var waiting []<-chan *httptest.ResponseRecorder
		for i := range 5 {
			waiting = append(waiting, s.behind(fmt.Sprintf("/photos/a/cat.png?w=%d", i+1)))
			synctest.Wait()
		}
		w := get(s, "/photos/a/cat.png?w=6")
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || w.Header().Get("Cache-Control") != "no-store" {
			s.Errorf("%d %v", w.Code, w.Header())
		}
		release()
		for _, c := range waiting {
			if w := <-c; w.Code != http.StatusOK {
				s.Errorf("%d %s", w.Code, w.Body)
			}
		}
	})

	bubble("pictures that are made at once", imagecdn.Options{Renders: 1}, func(s *site) {
		s.origin.set(cat, hour)
		release := imagecdn.HoldGate(s.Handler) // the one there is room for
		waiting := s.behind("/photos/a/cat.png?w=6")
		synctest.Wait()
		if n := imagecdn.Renders(s.Handler); n != 0 {
			s.Errorf("%d are being made", n)
		}
		release()
		<-waiting
	})

	bubble("pixels and bytes of an original", imagecdn.Options{MaxPixels: 100, MaxBytes: 10_000}, func(s *site) {
		s.origin.set("/wide.png", answer{header: cachedAnHour, body: paint(s, red, 101, 1)})
		s.origin.set("/long.png", answer{header: cachedAnHour, body: make([]byte, 10_001)})
		for _, url := range []string{"/photos/wide.png?w=1", "/photos/long.png?w=1", "/photos/long.png"} {
			if w := get(s, url); w.Code != http.StatusRequestEntityTooLarge {
				s.Errorf("%s: %d %s", url, w.Code, w.Body)
			}
		}
	})

	bubble("refreshes that nobody waits for", imagecdn.Options{}, func(s *site) {
		for i := range 100 {
			s.origin.set(fmt.Sprintf("/%d.png", i), answer{header: cacheFor("max-age=1, stale-while-revalidate=60"), body: hour.body})
			mustGet(s, s, fmt.Sprintf("/photos/%d.png", i))
		}
		time.Sleep(2 * time.Second)
		goOn := make(chan bool)
		s.origin.mu.Lock()
		s.origin.block = func(_ *http.Request, where string) { <-goOn }
		s.origin.mu.Unlock()
		before := s.origin.count()
		for i := range 100 {
			mustGet(s, s, fmt.Sprintf("/photos/%d.png", i))
		}
		synctest.Wait()
		if n := s.origin.count() - before; n != 64 {
			s.Errorf("%d, want 64", n)
		}
		close(goOn)
	})

	bubble("URLs that are remembered, and pictures that cannot be made", imagecdn.Options{}, func(s *site) {
		s.origin.set(cat, answer{header: cachedAnHour, body: hour.body[:len(hour.body)-20]})
		for i := range 10_100 {
			if w := get(s, fmt.Sprintf("/photos/a/cat.png?w=%d&h=%d", 1+i%100, 1+i/100)); w.Code != http.StatusUnprocessableEntity {
				s.Fatalf("%d %s", w.Code, w.Body)
			}
		}
		if urls, failures := imagecdn.Remembered(s.Handler); urls > 4096 || failures != 10_000 {
			s.Errorf("%d URLs and %d failures", urls, failures)
		}
	})

	t.Run("purges", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := &site{T: t, store: "memory", origin: newOrigin(), other: newOrigin()}
			s.limits = purge.ServiceOptions{Workers: 1, MaxQueued: 5, MaxLog: 10, MaxPaths: 3, Limits: func(tenant string) purge.Limits {
				if tenant == "small" {
					return purge.Limits{MaxPaths: 1, MaxWaiting: 2}
				}
				return purge.Limits{}
			}}
			s.start()
			defer func() { s.stop() }()
			goOn := make(chan bool)
			s.told = func(string, string) error { <-goOn; return nil }
			if _, err := s.Purge(t.Context(), []string{"/photos/1", "/photos/2", "/photos/3", "/photos/4"}, nil); err == nil {
				t.Error("four paths, of at most three")
			}
			if _, err := s.Purge(t.Context(), []string{"/photos/1", "/photos/2"}, &purge.Options{Tenant: "small"}); purge.ErrorCode(err) != "too_many_paths" {
				t.Errorf("two paths of a small tenant: %v", err)
			}
			var jobs []*purge.Job
			tenants := []string{"", "small", "small", "small", "", "", "", ""}
			for i, want := range []string{"", "", "", "limited", "", "", "", "busy"} { // the first is at work, and five wait
				job, err := s.Purge(t.Context(), []string{fmt.Sprintf("/photos/%d.png", i)}, &purge.Options{Tenant: tenants[i]})
				synctest.Wait()
				if err == nil {
					jobs = append(jobs, job)
				}
				if got := purge.ErrorCode(err); err != nil && got != want || err == nil && want != "" {
					t.Errorf("purge %d: %v, want %q", i, err, want)
				}
			}
			if len(jobs) != 6 {
				t.Errorf("%d jobs were taken", len(jobs))
			}
			close(goOn)
			synctest.Wait()
			for i := range 50 {
				job, err := s.Purge(t.Context(), []string{fmt.Sprintf("/photos/%d.png", i)}, nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := job.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			w := httptest.NewRecorder()
			s.Admin(&imagecdn.AdminOptions{Authorize: func(*http.Request) error { return nil }}).ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/purges?limit=100", nil))
			var list struct{ Purges []purge.Record }
			if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || len(list.Purges) != 10 {
				t.Errorf("%d records, %v", len(list.Purges), err)
			}
		})
	})

	bubble("streams of events", imagecdn.Options{}, func(s *site) {
		api := s.Admin(&imagecdn.AdminOptions{Authorize: func(*http.Request) error { return nil }})
		ctx, stop := context.WithCancel(s.Context())
		open := func() (*httptest.ResponseRecorder, *sync.WaitGroup) {
			w, over := httptest.NewRecorder(), new(sync.WaitGroup)
			over.Go(func() { api.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/api/v1/purges/events", nil)) })
			synctest.Wait()
			return w, over
		}
		var all []*sync.WaitGroup
		for i := range 1001 {
			w, over := open()
			if all = append(all, over); (w.Code == http.StatusTooManyRequests) != (i == 1000) {
				s.Errorf("stream %d: %d", i, w.Code)
			}
		}
		stop()
		for _, over := range all {
			over.Wait()
		}
	})

	// Stores and tables by themselves.
	t.Run("bytes in memory", func(t *testing.T) {
		m := cache.NewMemory(1 << 20)
		defer m.Close()
		kept := fillStore(t, m, 100, 64<<10)
		if kept == 0 || kept > 16 {
			t.Errorf("%d things of 64 KiB in 1 MiB", kept)
		}
	})
	t.Run("bytes and files on disk", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			d, err := cache.OpenDisk(t.TempDir(), &cache.DiskOptions{MaxBytes: 1 << 20, MaxFiles: 100})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			for _, c := range []struct{ n, size int }{{40, 64 << 10}, {150, 1}} {
				kept := fillStore(t, d, c.n, c.size)
				synctest.Wait()
				if now := d.Stats(); kept == 0 || now.Bytes > 1<<20 || now.Files > 100 {
					t.Errorf("%d of %d things of %d bytes: %+v", kept, c.n, c.size, now)
				}
			}
		})
	})
	t.Run("bytes on their way to a slow tier", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			slow := &slowStore{Memory: cache.NewMemory(1 << 20), goOn: make(chan bool)}
			tiers := cache.Tiered(cache.NewMemory(1<<20), slow)
			fillStore(t, tiers, 100, 1<<20)
			close(slow.goOn)
			tiers.Close()
			if n := slow.puts.Load(); n < 32 || n > 64 {
				t.Errorf("%d MiB were waiting", n)
			}
		})
	})
	t.Run("names", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := cache.NewMemory(1 << 20)
			defer m.Close()
			o := newOrigin()
			table := cache.NewTable(m, &cache.TableOptions{MaxNames: 640})
			tr := cache.NewTransport(m, o, &cache.TransportOptions{Table: table})
			defer tr.Close()
			for i := range 5000 {
				path := fmt.Sprintf("/%d.png", i)
				if i%2 == 0 {
					o.set(path, hour)
				}
				if _, err := tr.Fetch(t.Context(), path, fmt.Sprint(i%3)); err != nil {
					t.Fatal(err)
				}
			}
			if n := table.Len(); n == 0 || n > 640 {
				t.Errorf("%d names, of at most 640", n)
			}
		})
	})
}

// fillStore puts things of a size into a store, and returns how many of them it has then.
func fillStore(t *testing.T, s cache.Store, n, size int) (kept int) {
	t.Helper()
	key := func(i int) cache.Key {
		return cache.Key{Source: "photos", Image: fmt.Sprintf("/%d-%d", size, i), Sum: cache.DigestOf(fmt.Append(nil, i))}
	}
	th := &cache.Thing{Header: http.Header{"Content-Type": {"image/png"}}, Body: make([]byte, size)}
	for i := range n {
		if err := s.Put(t.Context(), key(i), th, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if _, err := s.Get(t.Context(), key(i)); err == nil {
			kept++
		}
	}
	return kept
}

// A slowStore takes nothing until it is told to.
type slowStore struct {
	*cache.Memory
	goOn chan bool
	puts atomic.Int32
}

func (s *slowStore) Put(ctx context.Context, k cache.Key, t *cache.Thing, valid func() bool) error {
	s.puts.Add(1)
	<-s.goOn
	return nil
}

// I16: A failed transform is an error with a short negative lifetime. It is never the original's bytes under the derivative's URL.
func TestI16AFailedTransformIsAnErrorForAShortWhile(t *testing.T) {
	noise := make([]byte, 4096)
	for i := range noise {
		noise[i] = byte(i * i >> 3)
	}
	good := paint(t, red, 40, 40)
	for _, c := range []struct {
		name, query string
		original    []byte
		status      int
	}{
		{"damaged", "?w=20", good[:len(good)-30], 422},
		{"damaged, as it is large", "?w=20", append(slices.Clone(good[:60]), noise...), 422},
		{"no picture", "?w=20", noise, 415},
		{"empty", "?w=20", nil, 415},
		{"too many pixels", "?w=20", bomb(t), 413},
		{"a picture that may not be made", "?w=99999", good, 400},
		{"a mark that is damaged", "?w=20&mark=/photos/a/bad.png", good, 422},
	} {
		for _, store := range everyStore {
			t.Run(c.name+"/"+store, func(t *testing.T) {
				t.Parallel()
				onSite(t, store, func(s *site) {
					header := catHeader(red, "max-age=31536000, immutable, stale-if-error=31536000")
					s.origin.set(cat, answer{header: header, body: c.original})
					s.origin.set("/a/bad.png", answer{header: header, body: good[:len(good)-30]})
					fails := func(when string) {
						s.Helper()
						for _, method := range []string{http.MethodGet, http.MethodHead} {
							r, w := httptest.NewRequest(method, "/photos"+cat+c.query, nil), httptest.NewRecorder()
							s.ServeHTTP(w, r)
							h, body := w.Header(), w.Body.Bytes()
							if w.Code != c.status || h.Get("Content-Type") != "text/plain; charset=utf-8" || h.Get("Etag") != "" {
								s.Errorf("%s, %s: %d, %v", when, method, w.Code, h)
							}
							seconds, err := strconv.Atoi(strings.TrimPrefix(h.Get("Cache-Control"), "public, max-age="))
							if err != nil || seconds < 1 || seconds > 300 {
								s.Errorf("%s, %s: Cache-Control %q", when, method, h.Get("Cache-Control"))
							}
							if len(body) > 0 != (method == http.MethodGet) || bytes.Count(body, []byte("\n")) > 1 || len(c.original) >= 16 && bytes.Contains(body, c.original[:16]) {
								s.Errorf("%s, %s: %q", when, method, body[:min(len(body), 200)])
							}
						}
					}
					fails("at first")
					made, asked := imagecdn.Renders(s.Handler), s.origin.count()
					fails("from memory")
					if imagecdn.Renders(s.Handler) != made || s.origin.count() != asked {
						s.Errorf("it was tried %d times more, and the origin asked %d times", imagecdn.Renders(s.Handler)-made, s.origin.count()-asked)
					}
					synctest.Wait()
					s.restart()
					fails("after a restart")
					switch c.status {
					case 400:
						return // it stays the wrong question
					case 413: // it is a picture, which lives as long as its origin says
						time.Sleep(301 * time.Second)
						fails("when it is tried again")
						s.do(scopes[0], cat, purge.Delete)
					}
					s.has(cat, green)
					s.origin.set("/a/bad.png", answer{header: catHeader(green, "max-age=60"), body: paint(s, green, 40, 40)})
					time.Sleep(301 * time.Second)
					s.sees("when its short life is over", "/photos"+cat+c.query, green)
				})
			})
		}
	}
}

// An original whose decoding panics, or takes longer than a picture may, is 422, for any picture of it, and is not decoded again for as long as failures are
// remembered. Others are served.
func TestOriginalsThatCostAreLeftAlone(t *testing.T) {
	var decodes atomic.Int32
	resize.Register(resize.Codec{
		Format:      "trap",
		ContentType: "image/x-trap",
		Match:       func(b []byte) bool { return bytes.HasPrefix(b, []byte("a trap that ")) },
		Probe: func([]byte) (resize.Info, error) {
			return resize.Info{Format: "trap", Width: 40, Height: 30, Orientation: 1, Frames: 1}, nil
		},
		Decode: func(ctx context.Context, data []byte, _ resize.DecodeOptions) (image.Image, error) {
			decodes.Add(1)
			if bytes.HasSuffix(data, []byte("panics")) {
				panic("index out of range")
			}
			<-ctx.Done()
			return nil, context.Cause(ctx)
		},
	})
	for _, tt := range []struct{ does, says string }{
		{"panics", "damaged image: trap cannot be read\n"},
		{"takes for ever", "damaged image: image takes too long to make: more than 20s\n"},
	} {
		t.Run(tt.does, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				decodes.Store(0)
				o := newOrigin()
				o.set("/a.trap", answer{header: cacheFor("max-age=3600"), body: []byte("a trap that " + tt.does)})
				o.set("/cat.png", answer{header: cacheFor("max-age=3600"), body: paint(t, red, 40, 30)})
				h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: o}}, &imagecdn.Options{RenderTimeout: 20 * time.Second})
				if err != nil {
					t.Fatal(err)
				}
				defer h.Close()
				refused := func(url string, times int32) {
					t.Helper()
					if w := get(h, url); w.Code != http.StatusUnprocessableEntity || w.Body.String() != tt.says || decodes.Load() != times {
						t.Errorf("%s: %d %q, after %d decodings; want 422 %q, after %d", url, w.Code, w.Body, decodes.Load(), tt.says, times)
					}
				}
				refused("/photos/a.trap?w=10", 1)
				refused("/photos/a.trap?w=10", 1)
				refused("/photos/a.trap?w=11&fm=png", 1)
				mustGet(t, h, "/photos/cat.png?w=10")
				time.Sleep(6 * time.Minute)
				refused("/photos/a.trap?w=12", 2)
			})
		})
	}
}
