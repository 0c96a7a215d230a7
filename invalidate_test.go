package imagecdn_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/origin"
	"github.com/imagecdn/imagecdn/purge"
)

// purged purges and returns the record, and the states in the order they were reported.
func purged(t *testing.T, h *imagecdn.Handler, o purge.Options, paths ...string) (purge.Record, []purge.State) {
	t.Helper()
	var mu sync.Mutex
	var states []purge.State
	last := make(chan bool)
	o.OnStatus = func(e purge.Event) {
		mu.Lock()
		defer mu.Unlock()
		states = append(states, e.State)
		if e.State.Final() {
			close(last)
		}
	}
	submit := h.PurgeAll
	if len(paths) > 0 {
		submit = func(ctx context.Context, o *purge.Options) (*purge.Job, error) { return h.Purge(ctx, paths, o) }
	}
	job, err := submit(t.Context(), &o)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := job.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	<-last
	mu.Lock()
	defer mu.Unlock()
	return rec, states
}

var (
	allStates    = []purge.State{purge.Received, purge.Preparing, purge.FlushingServers, purge.FlushingCDN, purge.Done}
	withoutCDN   = []purge.State{purge.Received, purge.Preparing, purge.FlushingServers, purge.Done}
	version2     = http.Header{"Cache-Control": {"max-age=3600"}, "Etag": {`"2"`}}
	cachedAnHour = cacheFor("max-age=3600")
)

func TestPurgeReportsEveryStateInOrder(t *testing.T) {
	const url, path = "/photos/cat.png?w=20", "/photos/cat.png"
	for _, c := range []struct {
		name     string
		mode     purge.Mode
		then     answer // what the origin has once the purge is made
		outcome  purge.Outcome
		states   []purge.State
		removed  [3]int // originals, derivatives, composites
		requests int    // to the origin, by the job alone
	}{
		{"delete", purge.Delete, answer{header: version2, body: paint(t, green, 40, 40)}, purge.Removed, allStates, [3]int{1, 2, 1}, 0},
		{"revalidate what is unchanged", purge.Revalidate, answer{header: cachedAnHour, body: paint(t, red, 40, 40)}, purge.Unchanged, withoutCDN, [3]int{}, 1},
		{"revalidate what has another validator and the same bytes", purge.Revalidate, answer{header: version2, body: paint(t, red, 40, 40)}, purge.Unchanged, withoutCDN, [3]int{}, 1},
		{"revalidate what has changed", purge.Revalidate, answer{header: version2, body: paint(t, green, 40, 40)}, purge.Changed, allStates, [3]int{1, 2, 1}, 1},
		{"revalidate what is gone", purge.Revalidate, answer{status: http.StatusNotFound}, purge.Gone, allStates, [3]int{1, 2, 1}, 1},
		{"stale", purge.Stale, answer{header: version2, body: paint(t, green, 40, 40)}, purge.Changed, allStates, [3]int{1, 2, 1}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			lifetimes(t, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
				o.set("/cat.png", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
				o.set("/logo.png", answer{header: cachedAnHour, body: paint(t, blue, 10, 10)})
				before := mustGet(t, h, url)
				mustGet(t, h, "/photos/cat.png?w=30")
				mustGet(t, h, "/photos/cat.png?w=30&mark=/photos/logo.png")
				asked, made := o.count(), imagecdn.Renders(h)
				o.set("/cat.png", c.then)

				rec, states := purged(t, h, purge.Options{Mode: c.mode}, path)
				if rec.State != purge.Done || !slices.Equal(states, c.states) {
					t.Errorf("states %v, want %v", states, c.states)
				}
				got := rec.Paths[0]
				if got.Path != path || got.Outcome != c.outcome || [3]int{got.Originals, got.Derivatives, got.Composites} != c.removed {
					t.Errorf("%+v, want %s and %v", got, c.outcome, c.removed)
				}
				if n := o.count() - asked; n != c.requests {
					t.Errorf("the job asked the origin %d times, want %d", n, c.requests)
				}
				if c.requests == 1 && o.last().Header.Get("If-None-Match") != `"1"` {
					t.Errorf("it asked with %v", o.last().Header)
				}

				w := get(h, url)
				switch c.outcome {
				case purge.Unchanged:
					if w.Header().Get("Etag") != before.Header().Get("Etag") || imagecdn.Renders(h) != made {
						t.Error("unchanged, and yet made anew")
					}
				case purge.Gone:
					if w.Code != http.StatusNotFound {
						t.Errorf("gone: %d", w.Code)
					}
				default:
					if colorOf(t, w.Body.Bytes()) != green {
						t.Error("still the old picture")
					}
				}
			})
		})
	}
}

func TestStaleServesWhileItRefreshes(t *testing.T) {
	lifetimes(t, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		const url = "/photos/cat.png?w=20"
		o.set("/cat.png", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
		mustGet(t, h, url)
		o.set("/cat.png", answer{header: version2, body: paint(t, green, 40, 40)})
		goOn := make(chan bool)
		o.mu.Lock()
		o.block = func(_ *http.Request, where string) {
			if where == "header" {
				<-goOn
			}
		}
		o.mu.Unlock()
		job, err := h.Purge(t.Context(), []string{"/photos/cat.png"}, &purge.Options{Mode: purge.Stale})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if c := colorOf(t, mustGet(t, h, url).Body.Bytes()); c != red {
			t.Errorf("while it refreshes: %v", c)
		}
		close(goOn)
		if rec, err := job.Wait(t.Context()); err != nil || rec.State != purge.Done {
			t.Fatalf("%v, %v", rec, err)
		}
		if c := colorOf(t, mustGet(t, h, url).Body.Bytes()); c != green {
			t.Errorf("once done: %v", c)
		}
	})
}

// What a purge has to ask the origin is asked also by a server that drains: a purge goes on until Close ends it, and after a restart.
func TestPurgeOfAServerThatDrains(t *testing.T) {
	for _, mode := range []purge.Mode{purge.Revalidate, purge.Stale} {
		t.Run(string(mode), func(t *testing.T) {
			lifetimes(t, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
				const url = "/photos/cat.png?w=20"
				o.set("/cat.png", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
				mustGet(t, h, url)
				o.set("/cat.png", answer{header: version2, body: paint(t, green, 40, 40)})
				h.Drain()
				if rec, _ := purged(t, h, purge.Options{Mode: mode}, "/photos/cat.png"); rec.State != purge.Done || rec.Paths[0].Outcome != purge.Changed {
					t.Errorf("%+v", rec)
				}
			})
		})
	}
}

// An origin that fails says nothing of whether an image has changed.
func TestStaleFailsWhereTheOriginDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		o.set("/cat.png", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
		h := open(t, o, nil)
		const url = "/photos/cat.png?w=20"
		mustGet(t, h, url)
		o.set("/cat.png", answer{status: http.StatusInternalServerError})
		rec, _ := purged(t, h, purge.Options{Mode: purge.Stale}, "/photos/cat.png")
		if p := rec.Paths[0]; rec.State != purge.Error || p.Outcome != purge.Failed || !strings.Contains(p.Reason, "the origin fails") {
			t.Errorf("%s, %+v", rec.State, p)
		}
		if c := colorOf(t, mustGet(t, h, url).Body.Bytes()); c != red {
			t.Errorf("meanwhile: %v", c)
		}
	})
}

// The second of two purges comes while the first asks the origin. What the first hears is of before the second, so
// neither is done before the origin was asked again.
func TestStalePurgesThatOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		o.set("/cat.png", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
		h := open(t, o, &imagecdn.Options{Purge: &purge.ServiceOptions{Workers: 1}})
		const url = "/photos/cat.png?w=20"
		mustGet(t, h, url)
		goOn := make(chan bool)
		o.mu.Lock()
		o.block = func(_ *http.Request, where string) {
			if where == "header" {
				<-goOn
			}
		}
		o.mu.Unlock()
		var jobs []*purge.Job
		for range 2 {
			job, err := h.Purge(t.Context(), []string{"/photos/cat.png"}, &purge.Options{Mode: purge.Stale})
			if err != nil {
				t.Fatal(err)
			}
			jobs = append(jobs, job)
			synctest.Wait() // the first is on its way with a 304
			o.set("/cat.png", answer{header: version2, body: paint(t, blue, 40, 40)})
		}
		close(goOn)
		for _, job := range jobs {
			if rec, err := job.Wait(t.Context()); err != nil || rec.State != purge.Done {
				t.Errorf("%+v, %v", rec, err)
			}
			if c := colorOf(t, mustGet(t, h, url).Body.Bytes()); c != blue {
				t.Errorf("once done: %v", c)
			}
		}
	})
}

func TestPurgeAllCoversEverythingAndNoMore(t *testing.T) {
	for _, mode := range []purge.Mode{purge.Delete, purge.Revalidate, purge.Stale} {
		t.Run(string(mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := newOrigin(), newOrigin()
				h, err := imagecdn.New(imagecdn.Sources{"a": {Transport: a}, "b": {Transport: b}}, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer h.Close()
				for _, o := range []*fakeOrigin{a, b} {
					o.set("/cat.png", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
				}
				see := func() (got [2]string) {
					for i, url := range []string{"/a/cat.png?w=20", "/b/cat.png?w=20"} {
						got[i] = "red"
						if colorOf(t, mustGet(t, h, url).Body.Bytes()) == green {
							got[i] = "green"
						}
					}
					return got
				}
				see()
				for _, o := range []*fakeOrigin{a, b} {
					o.set("/cat.png", answer{header: version2, body: paint(t, green, 40, 40)})
				}
				rec, _ := purged(t, h, purge.Options{Source: "a", Mode: mode})
				if rec.State != purge.Done {
					t.Errorf("%v", rec)
				}
				if mode == purge.Stale {
					see()
					synctest.Wait() // the stale one was served, and refreshed behind
				}
				if got := see(); got != [2]string{"green", "red"} {
					t.Errorf("after a purge of a: %v", got)
				}
				purged(t, h, purge.Options{Mode: mode})
				if mode == purge.Stale {
					see()
					synctest.Wait()
				}
				if got := see(); got != [2]string{"green", "green"} {
					t.Errorf("after a purge of all: %v", got)
				}
			})
		})
	}
}

func TestRefusedPurgesNameTheFaultAndTheRightForm(t *testing.T) {
	h := open(t, newOrigin(), nil)
	for _, path := range []string{"/photos/flat1.jpg?w=500", "cdn.example.com/photos/flat1.jpg", "https://cdn.example.com/photos/flat1.jpg?w=500"} {
		_, err := h.Purge(t.Context(), []string{path}, nil)
		p, ok := errors.AsType[*purge.PathError](err)
		if !ok || !strings.Contains(err.Error(), "/photos/flat1.jpg") || p.Reason == "" {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := h.Purge(t.Context(), []string{"/elsewhere/cat.jpg"}, nil); err == nil || !strings.Contains(err.Error(), "elsewhere") {
		t.Errorf("unknown source: %v", err)
	}
	if _, err := h.PurgeAll(t.Context(), &purge.Options{Source: "elsewhere"}); err == nil || !strings.Contains(err.Error(), "elsewhere") {
		t.Errorf("unknown source: %v", err)
	}
	if _, err := h.Purge(t.Context(), nil, nil); err == nil {
		t.Error("no paths, and no error")
	}
}

func openDiskHandler(t *testing.T, dir string, sources imagecdn.Sources) *imagecdn.Handler {
	t.Helper()
	d, err := cache.OpenDisk(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	h, err := imagecdn.New(sources, &imagecdn.Options{Cache: cache.Tiered(cache.NewMemory(0), d)})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestRestartContinuesFromDisk(t *testing.T) {
	dir, o := t.TempDir(), newOrigin()
	o.set("/cat.png", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
	sources := imagecdn.Sources{"photos": {Transport: o}}
	h := openDiskHandler(t, dir, sources)
	first := mustGet(t, h, "/photos/cat.png?w=20")
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}

	h = openDiskHandler(t, dir, sources)
	second := mustGet(t, h, "/photos/cat.png?w=20")
	if got := second.Header().Get("Cache-Status"); !strings.HasPrefix(got, "imagecdn; hit; ttl=") {
		t.Errorf("Cache-Status %q", got)
	}
	if second.Body.String() != first.Body.String() || o.count() != 1 || imagecdn.Renders(h) != 0 {
		t.Errorf("%d requests, %d renders", o.count(), imagecdn.Renders(h))
	}
	rec, _ := purged(t, h, purge.Options{}, "/photos/cat.png")
	if p := rec.Paths[0]; p.Originals != 1 || p.Derivatives != 1 || p.Bytes == 0 {
		t.Errorf("removed %+v", p)
	}
	h.Close()

	h = openDiskHandler(t, dir, sources)
	defer h.Close()
	mustGet(t, h, "/photos/cat.png?w=20")
	if o.count() != 2 || o.last().Header.Get("Cache-Control") != "no-cache" {
		t.Errorf("after a purge and a restart: %d requests, %v", o.count(), o.last().Header)
	}
	if n := diskFiles(t, filepath.Join(dir, "trash")); n != 0 {
		t.Errorf("%d files are left in the trash", n)
	}
}

func diskFiles(t *testing.T, dir string) (n int) {
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestMemoryOnlyTouchesNoDisk(t *testing.T) {
	empty := t.TempDir()
	t.Chdir(empty)
	for _, v := range []string{"HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"} {
		t.Setenv(v, empty)
	}
	o := newOrigin()
	o.set("/cat.png", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
	h := open(t, o, nil)
	mustGet(t, h, "/photos/cat.png?w=20&fm=webp")
	mustGet(t, h, "/photos/cat.png")
	purged(t, h, purge.Options{}, "/photos/cat.png")
	purged(t, h, purge.Options{})
	if n := diskFiles(t, empty); n != 0 {
		t.Errorf("%d files were written", n)
	}
}

func TestDirectoryIsItsOwnValidator(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a b", "cat.png")
	os.MkdirAll(filepath.Dir(file), 0o755)
	os.WriteFile(file, paint(t, red, 40, 40), 0o644)
	h, err := imagecdn.New(imagecdn.Sources{"photos": imagecdn.Dir(dir)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	const url = "/photos/a%20b/cat.png?w=20"
	if c := colorOf(t, mustGet(t, h, url).Body.Bytes()); c != red {
		t.Error(c)
	}
	os.WriteFile(file, paint(t, green, 40, 40), 0o644)
	deadline := time.Now().Add(10 * time.Second)
	for colorOf(t, mustGet(t, h, url).Body.Bytes()) != green {
		if time.Now().After(deadline) {
			t.Fatal("an edited file does not show")
		}
		time.Sleep(50 * time.Millisecond)
	}
	// A purge shows it at once.
	os.WriteFile(file, paint(t, blue, 40, 40), 0o644)
	purged(t, h, purge.Options{}, "/photos/a%20b/cat.png")
	if c := colorOf(t, mustGet(t, h, url).Body.Bytes()); c != blue {
		t.Errorf("after a purge: %v", c)
	}
	for _, url := range []string{"/photos/a%20b", "/photos/.hidden.png", "/photos/none.png"} {
		if w := get(h, url); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d %s", url, w.Code, w.Body)
		}
	}
}

func TestHTTPOriginIsGuarded(t *testing.T) {
	body := paint(t, red, 40, 40)
	var seen []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.URL.EscapedPath()+" "+r.Header.Get("If-None-Match"))
		w.Header().Set("Etag", `"1"`)
		w.Header().Set("Cache-Control", "max-age=0")
		if r.Header.Get("If-None-Match") == `"1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Write(body)
	}))
	defer server.Close()
	allowed := imagecdn.Origin(server.URL + "/base/")
	allowed.HTTP = &origin.HTTPOptions{AllowPrivate: true}
	h, err := imagecdn.New(imagecdn.Sources{"open": allowed, "shut": imagecdn.Origin(server.URL)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if w := get(h, "/shut/cat.png?w=20"); w.Code != http.StatusForbidden || len(seen) != 0 || strings.Contains(w.Body.String(), "127.0.0.1") {
		t.Errorf("a private address: %d %q, %v", w.Code, w.Body, seen)
	}
	mustGet(t, h, "/open/a%20b/cat.png?w=20")
	mustGet(t, h, "/open/a%20b/cat.png?w=20")
	if want := []string{"/base/a%20b/cat.png ", `/base/a%20b/cat.png "1"`}; !slices.Equal(seen, want) {
		t.Errorf("the origin saw %q, want %q", seen, want)
	}
}

func TestNewRefusesBadSettings(t *testing.T) {
	for says, f := range map[string]func() (*imagecdn.Handler, error){
		`"a/b"`: func() (*imagecdn.Handler, error) {
			return imagecdn.New(imagecdn.Sources{"a/b": imagecdn.Dir(".")}, nil)
		},
		`["x"]`: func() (*imagecdn.Handler, error) { return imagecdn.New(imagecdn.Sources{"x": {}}, nil) },
		"nowhere": func() (*imagecdn.Handler, error) {
			return imagecdn.New(imagecdn.Sources{"x": imagecdn.Dir(filepath.Join(t.TempDir(), "nowhere"))}, nil)
		},
		"http or https": func() (*imagecdn.Handler, error) {
			return imagecdn.New(imagecdn.Sources{"x": imagecdn.Origin("ftp://example.com/")}, nil)
		},
		"Renders": func() (*imagecdn.Handler, error) { return imagecdn.New(nil, &imagecdn.Options{Renders: -1}) },
	} {
		h, err := f()
		if err == nil {
			h.Close()
			t.Errorf("%s: no error", says)
		} else if !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %s in %v", says, err)
		}
	}
}

func TestClosedHandlerAnswers503(t *testing.T) {
	o := newOrigin()
	h := open(t, o, nil)
	if err := errors.Join(h.Close(), h.Close()); err != nil {
		t.Fatal(err)
	}
	if w := get(h, "/photos/cat.png?w=20"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d", w.Code)
	}
	if _, err := h.Purge(t.Context(), []string{"/photos/cat.png"}, nil); !errors.Is(err, purge.ErrClosed) {
		t.Errorf("%v", err)
	}
}

func TestAPI(t *testing.T) {
	o := newOrigin()
	o.set("/cat.png", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
	h := open(t, o, nil)
	api := http.StripPrefix("/-", h.Admin(&imagecdn.AdminOptions{Keys: []string{"old", "new"}}))
	call := func(method, path, key, body string) (int, map[string]any, http.Header) {
		t.Helper()
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		if key != "" {
			r.Header.Set("Authorization", "Bearer "+key)
		}
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		var v map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
			t.Fatalf("%s %s: %v in %q", method, path, err, w.Body)
		}
		return w.Code, v, w.Header()
	}
	mustGet(t, h, "/photos/cat.png?w=20")

	status, job, header := call("POST", "/-/api/v1/purges", "new", `{"scope":"original","paths":["/photos/cat.png"],"mode":"delete"}`)
	if status != http.StatusAccepted || job["id"] == "" || header.Get("Location") != fmt.Sprint("/-/api/v1/purges/", job["id"]) {
		t.Fatalf("%d %v %v", status, job, header)
	}
	deadline := time.Now().Add(10 * time.Second)
	for job["state"] != "done" {
		if time.Now().After(deadline) {
			t.Fatalf("%v", job)
		}
		time.Sleep(time.Millisecond)
		if status, job, _ = call("GET", header.Get("Location"), "old", ""); status != http.StatusOK {
			t.Fatalf("%d %v", status, job)
		}
	}
	path := job["paths"].([]any)[0].(map[string]any)
	if path["path"] != "/photos/cat.png" || path["outcome"] != "removed" || path["derivatives"] != 1.0 {
		t.Errorf("%v", path)
	}
	if status, job, _ := call("POST", "/-/api/v1/purges", "new", `{"scope":"all","source":"photos"}`); status != http.StatusAccepted || job["mode"] != "delete" {
		t.Errorf("all: %d %v", status, job)
	}
	if status, list, _ := call("GET", "/-/api/v1/purges?limit=1", "new", ""); status != http.StatusOK || len(list["purges"].([]any)) != 1 || list["next"] == "" {
		t.Errorf("list: %d %v", status, list)
	}
	for _, c := range []struct {
		method, path, key, body string
		status                  int
		code, says              string
	}{
		{"POST", "/-/api/v1/purges", "", `{}`, 401, "unauthorized", "Bearer"},
		{"POST", "/-/api/v1/purges", "wrong", `{}`, 401, "unauthorized", "opens nothing"},
		{"GET", "/-/api/v1/purges", "", ``, 401, "unauthorized", "Bearer"},
		{"POST", "/-/api/v1/purges", "new", `{"paths":["/photos/a.jpg?w=5"]}`, 400, "invalid_path", "/photos/a.jpg"},
		{"POST", "/-/api/v1/purges", "new", `{"paths":["/nowhere/a.jpg"]}`, 400, "invalid_path", "nowhere"},
		{"POST", "/-/api/v1/purges", "new", `{"scope":"all","source":"nowhere"}`, 400, "invalid_request", "nowhere"},
		{"POST", "/-/api/v1/purges", "new", `{"scope":"most"}`, 400, "invalid_request", "most"},
		{"POST", "/-/api/v1/purges", "new", `{"pahts":["/photos/a.jpg"]}`, 400, "invalid_request", "pahts"},
		{"POST", "/-/api/v1/purges", "new", `nonsense`, 400, "invalid_request", "not a purge"},
		{"POST", "/-/api/v1/purges", "new", `{"paths":["` + strings.Repeat("a", 2<<20) + `"]}`, 413, "invalid_request", ""},
		{"GET", "/-/api/v1/purges/nope", "new", ``, 404, "not_found", "no such job"},
		{"POST", "/-/api/v1/purges/" + job["id"].(string) + "/retry", "new", ``, 409, "nothing_failed", ""},
		{"GET", "/-/api/v1/elsewhere", "new", ``, 404, "not_found", ""},
	} {
		status, v, _ := call(c.method, c.path, c.key, c.body)
		e, _ := v["error"].(map[string]any)
		if status != c.status || e["code"] != c.code || !strings.Contains(fmt.Sprint(e["message"]), c.says) {
			t.Errorf("%s %s %.60s: %d %v, want %d %s %q", c.method, c.path, c.body, status, v, c.status, c.code, c.says)
		}
	}

	// Without a key, the API is shut.
	shut := h.Admin(nil)
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/api/v1/purges", nil)
	r.Header.Set("Authorization", "Bearer ")
	if shut.ServeHTTP(w, r); w.Code != http.StatusUnauthorized {
		t.Errorf("no keys: %d", w.Code)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		w := httptest.NewRecorder()
		if shut.ServeHTTP(w, httptest.NewRequest("GET", path, nil)); w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// A purge that keeps the bytes is one of vh versions too: when it is done, none is served that the origin was not asked about.
func TestStaleRefreshesVersions(t *testing.T) {
	for _, mode := range []purge.Mode{purge.Stale, purge.Revalidate} {
		lifetimes(t, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
			o.set("/cat.png", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
			mustGet(t, h, "/photos/cat.png?w=20&vh=1")
			mustGet(t, h, "/photos/cat.png?w=20&vh=2")
			o.set("/cat.png", answer{header: version2, body: paint(t, green, 40, 40)})
			rec, _ := purged(t, h, purge.Options{Mode: mode}, "/photos/cat.png")
			if want := map[purge.Mode]purge.Outcome{purge.Stale: purge.Staled, purge.Revalidate: purge.Marked}[mode]; rec.Paths[0].Outcome != want {
				t.Errorf("%s: %s, want %s", mode, rec.Paths[0].Outcome, want)
			}
			for _, vh := range []string{"1", "2"} {
				if w := mustGet(t, h, "/photos/cat.png?w=20&vh="+vh); colorOf(t, w.Body.Bytes()) != green {
					t.Errorf("%s: version %s is the old picture", mode, vh)
				}
			}
		})
	}
}
