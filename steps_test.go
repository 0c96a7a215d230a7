package imagecdn_test

import (
	"context"
	"io/fs"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/internal/samples"
)

// serverTiming reads Server-Timing by its grammar: a list of metrics, each a token with parameters, of which ours have dur alone.
func serverTiming(t *testing.T, header http.Header) map[string]time.Duration {
	t.Helper()
	fields := header.Values("Server-Timing")
	if len(fields) == 0 {
		return nil
	}
	if len(fields) > 1 {
		t.Fatalf("%d fields", len(fields))
	}
	metric := regexp.MustCompile("^([!#$%&'*+.^_`|~0-9A-Za-z-]+);dur=([0-9]+(?:\\.[0-9]+)?)$")
	all := make(map[string]time.Duration)
	for part := range strings.SplitSeq(fields[0], ", ") {
		m := metric.FindStringSubmatch(part)
		if m == nil {
			t.Fatalf("%q is no metric, in %q", part, fields[0])
		}
		ms, err := strconv.ParseFloat(m[2], 64)
		if _, twice := all[m[1]]; twice || err != nil {
			t.Fatalf("%q: twice %t, %v", fields[0], twice, err)
		}
		all[m[1]] = time.Duration(ms * float64(time.Millisecond))
	}
	return all
}

// Each request says how long its own work took: of the origin, of the queue, of nothing where it is a hit.
func TestServerTiming(t *testing.T) {
	body, err := fs.ReadFile(samples.FS(), "rocket.jpg")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		o.set("/a.jpg", answer{header: cacheFor("max-age=60"), body: body})
		o.block = func(_ *http.Request, where string) {
			if where == "header" {
				time.Sleep(2 * time.Second)
			} else {
				time.Sleep(time.Second)
			}
		}
		h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: o}}, &imagecdn.Options{ServerTiming: true, Renders: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		release := imagecdn.HoldGate(h)
		var ended sync.WaitGroup
		ended.Go(func() {
			got := serverTiming(t, mustGet(t, h, "/photos/a.jpg?w=20").Header())
			for name, want := range map[string]time.Duration{"fetch": 3 * time.Second, "name": 3 * time.Second, "queue": 4 * time.Second, "make": 4 * time.Second, "total": 7 * time.Second} {
				if got[name] != want {
					t.Errorf("%s took %v, want %v", name, got[name], want)
				}
			}
			if got["render"] != 0 { // in a bubble, work takes no time
				t.Errorf("rendering took %v besides waiting", got["render"])
			}
		})
		time.Sleep(5 * time.Second)
		ended.Go(func() { // joins the work of the first
			got := serverTiming(t, mustGet(t, h, "/photos/a.jpg?w=20").Header())
			if got["make"] != 2*time.Second || got["queue"] != 0 || got["fetch"] != 0 || got["total"] != 2*time.Second {
				t.Errorf("who joined after 5 s of 7: %v", got)
			}
		})
		time.Sleep(2 * time.Second)
		release()
		ended.Wait()
		if got := serverTiming(t, mustGet(t, h, "/photos/a.jpg?w=20").Header()); len(got) != 1 || got["total"] != 0 {
			t.Errorf("a hit: %v", got)
		}
		if got := serverTiming(t, get(h, "/photos/none.jpg").Header()); got["fetch"] != 2*time.Second {
			t.Errorf("a 404: %v", got)
		}
	})
}

func TestServerTimingIsOffUnlessAskedFor(t *testing.T) {
	o := newOrigin()
	o.set("/a.png", answer{header: cacheFor("max-age=60"), body: paint(t, red, 8, 8)})
	h := open(t, o, nil)
	for _, url := range []string{"/photos/a.png?w=4", "/photos/a.png?w=4", "/photos/none.png", "/photos/a.png?w=x"} {
		if v := get(h, url).Header().Values("Server-Timing"); v != nil {
			t.Errorf("%s: Server-Timing %q", url, v)
		}
	}
}

// Options.Trace gets the steps in their places, and the origin what OriginHeader adds, in the context of the fetch.
func TestTrace(t *testing.T) {
	o := newOrigin()
	o.set("/a.png", answer{header: cacheFor("max-age=60"), body: paint(t, red, 8, 8)})
	type stepKey struct{}
	var mu sync.Mutex
	var ended []string
	h := open(t, o, &imagecdn.Options{
		Trace: func(ctx context.Context, step string, _ ...slog.Attr) (context.Context, func(error, ...slog.Attr)) {
			if above, ok := ctx.Value(stepKey{}).(string); ok {
				step = above + ">" + step
			}
			return context.WithValue(ctx, stepKey{}, step), func(err error, attrs ...slog.Attr) {
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					step += " failed"
				}
				for _, a := range attrs {
					if a.Key == "http.response.status_code" || a.Key == "http.response.body.size" || a.Key == "imagecdn.cache_status" {
						value, _, _ := strings.Cut(a.Value.String(), "; ttl=")
						step += " " + value
					}
				}
				ended = append(ended, step)
			}
		},
		OriginHeader: func(ctx context.Context, header http.Header) { header.Set("X-Step", ctx.Value(stepKey{}).(string)) },
	})
	w := mustGet(t, h, "/photos/a.png?w=4")
	size := strconv.Itoa(w.Body.Len())
	get(h, "/photos/a.png?w=4", "If-None-Match", "*")
	get(h, "/photos/a.png?w=x")
	want := []string{
		"request>name>fetch 200 " + strconv.Itoa(len(paint(t, red, 8, 8))), "request>name", "request>make>read", "request>make>render>queue", "request>make>render",
		"request>make>store", "request>make", "request 200 " + size + " imagecdn; fwd=miss; stored",
		"request>name", "request 304 0 imagecdn; hit",
		"request 400 " + strconv.Itoa(get(h, "/photos/a.png?w=x").Body.Len()),
	}
	mu.Lock()
	defer mu.Unlock()
	if got, want := strings.Join(ended[:len(want)], "\n"), strings.Join(want, "\n"); got != want {
		t.Errorf("steps:\n%s\nwant\n%s", got, want)
	}
	if got := o.last().Header.Get("X-Step"); got != "request>name>fetch" {
		t.Errorf("the origin was told %q", got)
	}
}
