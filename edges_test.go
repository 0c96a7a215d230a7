package imagecdn_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/cdn"
)

// An edge is a CDN that keeps what it was answered, whatever that is, and forgets by tag.
type edge struct {
	h *imagecdn.Handler

	mu   sync.Mutex // guards kept
	down bool
	kept map[string]keptAnswer
}

type keptAnswer struct {
	status int
	tags   []string
	body   string
	etag   string
}

func (e *edge) Features() cdn.Features {
	return cdn.Features{
		Forms: map[cdn.Kind]cdn.Form{cdn.Tag: {MaxItems: 10}},
		Tags:  []cdn.TagHeader{{Name: "Surrogate-Key", Separator: " "}, {Name: "cache-tag", Separator: ","}},
	}
}

func (e *edge) Purge(_ context.Context, b cdn.Batch) (cdn.Receipt, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.down {
		return cdn.Receipt{}, &cdn.Error{Status: 403, Reason: "closed for the day"}
	}
	for url, k := range e.kept {
		if slices.ContainsFunc(b.Values, func(t string) bool { return slices.Contains(k.tags, t) }) {
			delete(e.kept, url)
		}
	}
	return cdn.Receipt{Complete: true}, nil
}

// get answers from what is kept, or by the handler.
func (e *edge) get(t *testing.T, url string) keptAnswer {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if k, ok := e.kept[url]; ok {
		return k
	}
	w := get(e.h, url)
	k := keptAnswer{status: w.Code, tags: strings.Fields(w.Header().Get("Surrogate-Key")), body: w.Body.String(), etag: w.Header().Get("Etag")}
	if other := strings.Split(w.Header().Get("Cache-Tag"), ","); !slices.Equal(other, k.tags) && len(k.tags) > 0 {
		t.Errorf("%s: the tags are %v and %v", url, k.tags, other)
	}
	if !strings.Contains(w.Header().Get("Cache-Control"), "no-store") {
		e.kept[url] = k
	}
	return k
}

func behindEdge(t *testing.T, o http.RoundTripper) *edge {
	e := &edge{kept: make(map[string]keptAnswer)}
	edges, err := cdn.New([]cdn.Ring{{{Name: "edge", CDN: e}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	e.h = open(t, o, &imagecdn.Options{CDNs: edges})
	return e
}

// Each kind of purge reaches all that a CDN keeps of what it is about, whatever the answer was, and nothing else.
func TestPurgesReachTheEdge(t *testing.T) {
	tagged := http.Header{"Cache-Control": {"max-age=60"}, "Surrogate-Key": {"product-17 Blue"}}
	o := newOrigin()
	urls := []string{
		"/photos/a/cat.png", "/photos/a/cat.png?w=10", "/photos/a/cat.png?w=20&fm=jpg", "/photos/a/cat.png?vh=2", // one image
		"/photos/a/dog.png?w=10", "/photos/b/fish.png?w=10", // others
		"/photos/b/fish.png?w=10&mark=%2Fphotos%2Fa%2Fcat.png", // with the cat
		"/photos/a/none.png",                                   // 404
		"/photos/a/broken.png?w=10",                            // 422
		"/photos/a/dog.png?w=10&mark=%2Fphotos%2Fa%2Fnone.png", // 404, by a watermark
		"/photos/a/cat.png?w=oops",                             // 400, which is about no image
		"/photos/a/cat.png?expires=1",                          // 404, once
	}
	const everything = "111111111111"
	for _, tt := range []struct {
		name    string
		request purge.Request
		want    string // for each URL, whether it is forgotten
	}{
		{"an image", purge.Request{Paths: []string{"/photos/a/cat.png"}}, "111100100001"},
		{"an image that is no more", purge.Request{Paths: []string{"/photos/a/none.png"}}, "000000010100"},
		{"an image that is broken", purge.Request{Paths: []string{"/photos/a/broken.png"}}, "000000001000"},
		{"a folder", purge.Request{Scope: purge.Prefix, Paths: []string{"/photos/b/"}}, "000001100000"},
		{"a tag", purge.Request{Scope: purge.Tag, Tags: []string{"product-17"}}, "111100100000"},
		{"a tag of another case", purge.Request{Scope: purge.Tag, Tags: []string{"blue"}}, "000000000000"},
		{"a tag of what is broken", purge.Request{Scope: purge.Tag, Tags: []string{"fragile"}}, "000000001000"},
		{"a source", purge.Request{Scope: purge.All, Source: "photos"}, "111111111101"},
		{"everything", purge.Request{Scope: purge.All}, everything},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o.set("/a/cat.png", answer{header: tagged, body: paint(t, red, 40, 30)})
			o.set("/a/dog.png", answer{header: cacheFor("max-age=60"), body: paint(t, green, 40, 30)})
			o.set("/b/fish.png", answer{header: cacheFor("max-age=60"), body: paint(t, blue, 40, 30)})
			o.set("/a/broken.png", answer{header: http.Header{"Cache-Control": {"max-age=60"}, "Cache-Tag": {"fragile"}}, body: paint(t, red, 40, 30)[:60]})
			e := behindEdge(t, o)
			for i, u := range urls {
				k := e.get(t, u)
				if want := map[int]int{7: 404, 8: 422, 9: 404, 10: 400, 11: 404}[i]; want != 0 && k.status != want || want == 0 && k.status != 200 {
					t.Fatalf("%s: %d %s", u, k.status, k.body)
				}
				if again := e.get(t, u); !slices.Equal(again.tags, k.tags) || len(e.kept) != i+1 {
					t.Fatalf("%s is not kept", u)
				}
			}
			job, err := e.h.Purges().Submit(t.Context(), tt.request, nil)
			if err != nil {
				t.Fatal(err)
			}
			rec, err := job.Wait(t.Context())
			if err != nil || rec.State != purge.Done || len(rec.CDNs) != 1 || rec.CDNs[0].Outcome != purge.Confirmed {
				t.Fatalf("%+v, %v", rec, err)
			}
			got := ""
			for _, u := range urls {
				if _, kept := e.kept[u]; kept {
					got += "0"
				} else {
					got += "1"
				}
			}
			if got != tt.want {
				t.Errorf("forgotten are %s, want %s", got, tt.want)
			}
		})
	}
}

func TestACDNThatIsDown(t *testing.T) {
	o := newOrigin()
	o.set("/cat.png", answer{header: cacheFor("max-age=60"), body: paint(t, red, 40, 30)})
	e := behindEdge(t, o)
	e.get(t, "/photos/cat.png?w=10")
	e.down = true
	o.set("/cat.png", answer{header: cacheFor("max-age=60"), body: paint(t, green, 40, 30)})
	job, err := e.h.Purge(t.Context(), []string{"/photos/cat.png"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if rec, err := job.Wait(t.Context()); err != nil || rec.State != purge.ErrorCDNNode || rec.CDNs[0].Reason != "403: closed for the day" {
		t.Errorf("%+v, %v", rec, err)
	}
	if c := colorOf(t, mustGet(t, e.h, "/photos/cat.png?w=10").Body.Bytes()); c != green {
		t.Errorf("the handler has %v", c)
	}
	if k := e.get(t, "/photos/cat.png?w=10"); colorOf(t, []byte(k.body)) != red {
		t.Error("the edge has been purged")
	}
	e.down = false
	if job, err = e.h.Purges().Retry(t.Context(), job.ID()); err != nil {
		t.Fatal(err)
	}
	if rec, err := job.Wait(t.Context()); err != nil || rec.State != purge.Done {
		t.Errorf("%+v, %v", rec, err)
	}
	if k := e.get(t, "/photos/cat.png?w=10"); colorOf(t, []byte(k.body)) != green {
		t.Error("the edge has not been purged")
	}
}

// Browsers, which nobody can purge, keep little where a CDN is in front, and the tags change with the origin's.
func TestAnswersForACDN(t *testing.T) {
	o := newOrigin()
	o.set("/cat.png", answer{header: http.Header{"Cache-Control": {"max-age=86400"}, "Surrogate-Key": {"one"}}, body: paint(t, red, 40, 30)})
	e := behindEdge(t, o)
	n := cdn.Namer{}
	w := mustGet(t, e.h, "/photos/cat.png?w=10")
	if got := w.Header().Get("Cache-Control"); got != "public, max-age=300, s-maxage=86400" {
		t.Errorf("Cache-Control is %q", got)
	}
	if got, want := w.Header().Get("Surrogate-Key"), strings.Join(n.Tags([]cdn.Image{{Source: "photos", Path: "/cat.png", Tags: []string{"one"}}}), " "); got != want {
		t.Errorf("tags are %q, want %q", got, want)
	}
	// A 304 has them as well: a CDN may take them over.
	again := get(e.h, "/photos/cat.png?w=10", "If-None-Match", w.Header().Get("Etag"))
	if again.Code != http.StatusNotModified || again.Header().Get("Surrogate-Key") != w.Header().Get("Surrogate-Key") {
		t.Errorf("%d with %q", again.Code, again.Header().Get("Surrogate-Key"))
	}
	o.set("/cat.png", answer{header: http.Header{"Cache-Control": {"max-age=86400"}, "Surrogate-Key": {"two"}}, body: paint(t, red, 40, 30)})
	if _, err := e.h.Purge(t.Context(), []string{"/photos/cat.png"}, nil); err != nil {
		t.Fatal(err)
	}
	if got := mustGet(t, e.h, "/photos/cat.png?w=10").Header().Get("Surrogate-Key"); !strings.Contains(got, n.Origin("two")) || strings.Contains(got, n.Origin("one")) {
		t.Errorf("then the tags are %q", got)
	}
	// Without CDNs, there are none.
	plain := open(t, o, nil)
	if got := mustGet(t, plain, "/photos/cat.png?w=10").Header().Get("Surrogate-Key"); got != "" {
		t.Errorf("tags without CDNs: %q", got)
	}
}

func TestTagsThatContradict(t *testing.T) {
	edges, err := cdn.New([]cdn.Ring{{{Name: "edge", CDN: &edge{}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = imagecdn.New(nil, &imagecdn.Options{CDNs: edges, Tags: []cdn.TagHeader{{Name: "surrogate-key", Separator: ","}}})
	if err == nil || !strings.Contains(err.Error(), "Surrogate-Key") {
		t.Errorf("got %v", err)
	}
}

// An edge is verified by what a visitor gets of it.
func TestVerifiedByAVisit(t *testing.T) {
	o := newOrigin()
	o.set("/cat.png", answer{header: cacheFor("max-age=60"), body: paint(t, red, 40, 30)})
	e := &edge{kept: make(map[string]keptAnswer)}
	client := &http.Client{Transport: visits(func(r *http.Request) *http.Response {
		k := e.get(t, strings.TrimPrefix(r.URL.Path, "/img"))
		return &http.Response{StatusCode: k.status, Header: http.Header{"Etag": {k.etag}}, Body: http.NoBody}
	})}
	edges, err := cdn.New([]cdn.Ring{{{Name: "edge", CDN: e, Bases: []string{"https://www.example.com/img"}, Verify: 5}}}, &cdn.Options{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	e.h = open(t, o, &imagecdn.Options{CDNs: edges})
	e.get(t, "/photos/cat.png")
	o.set("/cat.png", answer{header: cacheFor("max-age=60"), body: paint(t, green, 40, 30)})
	job, err := e.h.Purge(t.Context(), []string{"/photos/cat.png", "/photos/none.png"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if rec, err := job.Wait(t.Context()); err != nil || rec.State != purge.Done || rec.CDNs[0].Outcome != purge.Verified {
		t.Errorf("%+v, %v", rec, err)
	}
}

type visits func(*http.Request) *http.Response

func (v visits) RoundTrip(r *http.Request) (*http.Response, error) { return v(r), nil }

// What a visitor is not answered with a picture for is no reason to say that an edge has not been purged.
func TestVerifiedWhereVisitorsAreRefused(t *testing.T) {
	o := newOrigin()
	o.set("/cat.png", answer{header: cacheFor("max-age=60"), body: paint(t, red, 40, 30)})
	o.set("/page.png", answer{header: cacheFor("max-age=60"), body: []byte("<html>")})
	for name, opts := range map[string]imagecdn.Options{
		"all may be asked for": {},
		"presets alone":        {Dialect: imagecdn.Native{Presets: map[string]string{"small": "w=10"}}, PresetsOnly: true},
	} {
		t.Run(name, func(t *testing.T) {
			e := &edge{kept: make(map[string]keptAnswer)}
			client := &http.Client{Transport: visits(func(r *http.Request) *http.Response {
				k := e.get(t, strings.TrimPrefix(r.URL.Path, "/img"))
				return &http.Response{StatusCode: k.status, Header: http.Header{"Etag": {k.etag}}, Body: http.NoBody}
			})}
			edges, err := cdn.New([]cdn.Ring{{{Name: "edge", CDN: e, Bases: []string{"https://www.example.com/img"}, Verify: 5}}}, &cdn.Options{Client: client})
			if err != nil {
				t.Fatal(err)
			}
			opts.CDNs = edges
			e.h = open(t, o, &opts)
			job, err := e.h.Purge(t.Context(), []string{"/photos/cat.png", "/photos/page.png", "/photos/none.png"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // of an edge that differs, it takes longer
			defer cancel()
			if rec, err := job.Wait(ctx); err != nil || rec.State != purge.Done || rec.CDNs[0].Outcome != purge.Verified {
				t.Errorf("%+v, %v", rec, err)
			}
		})
	}
}
