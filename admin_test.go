package imagecdn_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/boltlog"
)

// api returns a function that calls the invalidation API of a handler with these options.
func api(t *testing.T, o *imagecdn.Options) (h *imagecdn.Handler, server *httptest.Server, call func(method, path, body string) (*http.Response, purge.Record)) {
	h, err := imagecdn.New(imagecdn.Sources{"photos": imagecdn.Dir(t.TempDir())}, o)
	if err != nil {
		t.Fatal(err)
	}
	server = httptest.NewServer(h.Admin(&imagecdn.AdminOptions{Authorize: func(*http.Request) error { return nil }}))
	return h, server, func(method, path, body string) (*http.Response, purge.Record) {
		t.Helper()
		req, _ := http.NewRequestWithContext(t.Context(), method, server.URL+"/api/v1/purges"+path, strings.NewReader(body))
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var rec purge.Record
		if err := json.NewDecoder(resp.Body).Decode(&rec); err != nil {
			t.Fatal(err)
		}
		return resp, rec
	}
}

func TestAPILimits(t *testing.T) {
	h, server, call := api(t, &imagecdn.Options{Purge: &purge.ServiceOptions{Limits: func(string) purge.Limits { return purge.MultiCDNLimits() }}})
	defer h.Close()
	defer server.Close()
	many := make([]string, 76)
	for i := range many {
		many[i] = fmt.Sprintf(`"/photos/%d"`, i)
	}
	for _, tt := range []struct {
		body   string
		status int
		after  string
	}{
		{`{"tenant":"a","paths":[` + strings.Join(many, ",") + `]}`, 400, ""},
		{`{"tenant":"a","paths":[` + strings.Join(many[1:], ",") + `]}`, 202, ""},
		{`{"tenant":"a","paths":["/photos/a"]}`, 429, "60"},
		{`{"tenant":"b","paths":["/photos/a"]}`, 202, ""},
	} {
		resp, _ := call("POST", "", tt.body)
		if resp.StatusCode != tt.status || resp.Header.Get("Retry-After") != tt.after {
			t.Errorf("%.40s: %s, Retry-After %q", tt.body, resp.Status, resp.Header.Get("Retry-After"))
		}
	}
}

func TestAPICancel(t *testing.T) {
	h, server, call := api(t, nil)
	defer h.Close()
	defer server.Close()
	if resp, _ := call("POST", "/none/cancel", ""); resp.StatusCode != 404 {
		t.Error(resp.Status)
	}
	job, err := h.PurgeAll(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := job.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if resp, _ := call("POST", "/"+job.ID()+"/cancel", ""); resp.StatusCode != 409 {
		t.Error(resp.Status)
	}
}

// A stream tells every state, and one that is opened anew goes on after the last that was read.
func TestAPIEvents(t *testing.T) {
	h, server, call := api(t, nil)
	defer server.Close()
	stream := func(lastID string) (next func() string) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		t.Cleanup(cancel)
		req, _ := http.NewRequestWithContext(ctx, "GET", server.URL+"/api/v1/purges/events", nil)
		if lastID != "" {
			req.Header.Set("Last-Event-ID", lastID)
		}
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		if ct := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || ct != "text/event-stream" {
			t.Fatal(resp.Status, ct)
		}
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		return func() (id string) {
			for lines.Scan() {
				name, value, _ := strings.Cut(lines.Text(), ": ")
				switch name {
				case "id":
					id = value
				case "data":
					var e purge.Event
					if err := json.Unmarshal([]byte(value), &e); err != nil || e.EventID() != id {
						t.Errorf("%v, %s has the ID %s", err, value, id)
					}
				case "":
					if id != "" {
						return id
					}
				}
			}
			return "the end"
		}
	}
	next := stream("")
	_, rec := call("POST", "", `{"paths":["/photos/a.jpg"]}`)
	var got, want []string
	for n := range 5 {
		got = append(got, next())
		want = append(want, fmt.Sprintf("%s.%d", rec.ID, n+1))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	again := stream(want[2])
	if a, b := again(), again(); a != want[3] || b != want[4] {
		t.Errorf("after %s come %s and %s", want[2], a, b)
	}
	h.Close()
	if end := next(); end != "the end" {
		t.Errorf("after Close comes %s", end)
	}
}

func TestPurgesSurviveARestart(t *testing.T) {
	log := new(purge.MemoryLog)
	o := &imagecdn.Options{Purge: &purge.ServiceOptions{Log: log}}
	h, server, call := api(t, o)
	_, rec := call("POST", "", `{"paths":["/photos/a.jpg"],"tenant":"t"}`)
	server.Close()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h, server, call = api(t, o)
	defer h.Close()
	defer server.Close()
	if resp, got := call("GET", "/"+rec.ID, ""); resp.StatusCode != 200 || got.State != purge.Done || got.Tenant != "t" {
		t.Errorf("%s, %+v", resp.Status, got)
	}

	if err := log.Write([]purge.LogEntry{{ID: rec.ID, Data: []byte("x")}}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := imagecdn.New(nil, o); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("a damaged log: %v", err)
	}
}

// A revalidation is cut short by a restart, on the way to the origin. The job comes to its end, and what was made of the image
// serves on, once the origin was asked.
func TestARevalidationGoesOnAfterARestart(t *testing.T) {
	dir, o := t.TempDir(), newOrigin()
	o.set("/cat.png", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
	asked := make(chan struct{})
	blocked := roundTrip(func(r *http.Request) (*http.Response, error) {
		if o.count() == 0 {
			return o.RoundTrip(r)
		}
		close(asked)
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	log, err := boltlog.Open(filepath.Join(dir, "purges.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	start := func(origin http.RoundTripper, told func(purge.Event)) *imagecdn.Handler {
		disk, err := cache.OpenDisk(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: origin}}, &imagecdn.Options{
			Cache: disk,
			Purge: &purge.ServiceOptions{Log: log, CloseTimeout: -1, OnStatus: told},
		})
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	h := start(blocked, nil)
	before := mustGet(t, h, "/photos/cat.png?w=20")
	job, err := h.Purge(t.Context(), []string{"/photos/cat.png"}, &purge.Options{Mode: purge.Revalidate})
	if err != nil {
		t.Fatal(err)
	}
	<-asked
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if rec, err := job.Wait(t.Context()); !errors.Is(err, purge.ErrClosed) || rec.State.Final() {
		t.Errorf("%s, %v", rec.State, err)
	}

	done := make(chan purge.Event, 10)
	h = start(o, func(e purge.Event) {
		if e.State.Final() {
			done <- e
		}
	})
	defer h.Close()
	e := <-done
	if e.ID != job.ID() || e.State != purge.Done || e.Attempt != 1 || e.Record.Paths[0].Outcome != purge.Marked {
		t.Errorf("%v: %+v", e, e.Record.Paths)
	}
	requests := o.count()
	if after := mustGet(t, h, "/photos/cat.png?w=20"); after.Header().Get("Etag") != before.Header().Get("Etag") || imagecdn.Renders(h) != 0 {
		t.Errorf("rendered %d times", imagecdn.Renders(h))
	}
	if n := o.count() - requests; n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
