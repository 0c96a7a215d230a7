package imagecdn_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/internal/clustertest"
	"github.com/imagecdn/imagecdn/purge"
)

// A fleet is three nodes of one cluster, on one origin.
type fleet struct {
	*testing.T
	hub   *clustertest.Hub
	nodes []*clustertest.Node
	all   []*imagecdn.Handler
}

var fleetNames = []string{"a", "b", "c"}

// openFleet opens a fleet. store opens the cache of a node; nil means memory.
func openFleet(t *testing.T, o http.RoundTripper, store func(node string) cache.Store) *fleet {
	t.Helper()
	f := &fleet{T: t, hub: clustertest.New()}
	for _, name := range fleetNames {
		n := f.hub.Node(name)
		opts := &imagecdn.Options{Cluster: n}
		if store != nil {
			opts.Cache = store(name)
		}
		f.nodes, f.all = append(f.nodes, n), append(f.all, open(t, o, opts))
	}
	f.ready()
	return f
}

// ready waits until all nodes are.
func (f *fleet) ready() {
	f.Helper()
	for _, n := range f.nodes {
		for range 10_000 {
			if n.Ready() == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if err := n.Ready(); err != nil {
			f.Fatal(err)
		}
	}
}

// purge makes a purge through one node, and waits until all have done it.
func (f *fleet) purge(through int, r purge.Request) {
	f.Helper()
	job, err := f.all[through].Purges().Submit(f.Context(), r, nil)
	if err != nil {
		f.Fatal(err)
	}
	if rec, err := job.Wait(f.Context()); err != nil || rec.State != purge.Done {
		f.Fatalf("%v, %v", rec, err)
	}
	names := append(r.Paths, r.Tags...)
	f.nodes[through].Flush(f.Context(), purge.NodeFlush{Scope: r.Scope, Source: r.Source, Mode: r.Mode, Paths: names}, func(res purge.NodeResult) {
		if res.State != purge.Done {
			f.Errorf("node %s: %+v", res.Name, res)
		}
	})
}

// fleetStores are the caches that nodes may have.
func fleetStores(t *testing.T) map[string]func(node string) cache.Store {
	bucket := clustertest.NewBucket(time.Millisecond)
	t.Cleanup(func() { bucket.Close() })
	dir := t.TempDir()
	return map[string]func(node string) cache.Store{
		"memory": nil,
		"disk": func(node string) cache.Store {
			d, err := cache.OpenDisk(dir+"/"+node, nil)
			if err != nil {
				t.Fatal(err)
			}
			return cache.Tiered(cache.NewMemory(0), d)
		},
		"bucket": func(string) cache.Store { return cache.Tiered(cache.NewMemory(0), bucket.Open()) },
	}
}

// TestPurgeRace, over nodes: a purge through any of them finds fetches in flight on the two others.
func TestPurgeRaceOverNodes(t *testing.T) {
	const url = "/photos/cats/cat.png?w=20"
	requests := map[string]purge.Request{
		"image":      {Scope: purge.Original, Mode: purge.Delete, Paths: []string{"/photos/cats/cat.png"}},
		"revalidate": {Scope: purge.Original, Mode: purge.Revalidate, Paths: []string{"/photos/cats/cat.png"}},
		"folder":     {Scope: purge.Prefix, Mode: purge.Delete, Paths: []string{"/photos/cats/"}},
		"tag":        {Scope: purge.Tag, Mode: purge.Delete, Tags: []string{"cat"}},
		"source":     {Scope: purge.All, Mode: purge.Delete, Source: "photos"},
		"everything": {Scope: purge.All, Mode: purge.Delete},
	}
	for what, r := range requests {
		for _, control := range []string{"max-age=3600", "max-age=0"} {
			for kind, store := range fleetStores(t) {
				t.Run(what+"/"+control+"/"+kind, func(t *testing.T) {
					header := func(tag string) http.Header {
						return http.Header{"Cache-Control": {control}, "Etag": {tag}, "Cache-Tag": {"cat"}}
					}
					o := newOrigin()
					o.set("/cats/cat.png", answer{header: header(`"1"`), body: paint(t, red, 40, 40)})
					f := openFleet(t, o, store)
					if control == "max-age=0" || r.Mode == purge.Revalidate {
						for _, h := range f.all {
							mustGet(t, h, url)
						}
					}

					inFlight := control == "max-age=0" || r.Mode != purge.Revalidate // else they are hits
					goOn := make(chan bool)
					silent := make(chan bool, 2)
					release := sync.OnceFunc(func() { close(goOn) })
					t.Cleanup(release)
					var blocked atomic.Int32
					o.mu.Lock()
					o.block = func(_ *http.Request, where string) {
						if where == "header" && inFlight && blocked.Add(1) <= 2 {
							silent <- true
							<-goOn
						}
					}
					o.mu.Unlock()
					waiting := make(chan *httptest.ResponseRecorder, 2)
					for _, h := range f.all[1:] {
						go func() { waiting <- get(h, url) }()
						if inFlight {
							<-silent
						}
					}
					o.set("/cats/cat.png", answer{header: header(`"2"`), body: paint(t, green, 40, 40)})
					f.purge(0, r)
					for i, h := range f.all {
						if c := colorOf(t, mustGet(t, h, url).Body.Bytes()); c != green {
							t.Errorf("node %s, beside the fetches of before: %v", fleetNames[i], c)
						}
					}
					release()
					for range f.all[1:] {
						w := <-waiting
						if c := colorOf(t, w.Body.Bytes()); inFlight && c == red && w.Header().Get("Cache-Control") != "no-store" {
							t.Errorf("old bytes may be kept: %v", w.Header())
						}
					}
					f.hub.Told()
					for i, h := range f.all {
						if c := colorOf(t, mustGet(t, h, url).Body.Bytes()); c != green {
							t.Errorf("node %s, after the fetches of before: %v", fleetNames[i], c)
						}
					}
				})
			}
		}
	}
}

func TestCutOffNodesServeAsTheirPolicySays(t *testing.T) {
	const url = "/photos/cat.png?w=20"
	cat := purge.Request{Scope: purge.Original, Mode: purge.Delete, Paths: []string{"/photos/cat.png"}}
	for kind, store := range fleetStores(t) {
		t.Run(kind, func(t *testing.T) {
			o := newOrigin()
			o.set("/cat.png", answer{header: cacheFor("max-age=3600"), body: paint(t, red, 40, 40)})
			f := openFleet(t, o, store)
			for _, h := range f.all {
				mustGet(t, h, url)
			}
			strict, available := f.all[1], f.all[2]
			f.nodes[1].Cut(cache.CutOff)
			f.nodes[2].Cut(cache.CutOffServing)
			if _, err := strict.Purge(t.Context(), cat.Paths, nil); err == nil {
				t.Error("a node that is cut off has accepted a purge")
			}
			o.set("/cat.png", answer{header: http.Header{"Cache-Control": {"max-age=3600"}, "Etag": {`"2"`}}, body: paint(t, green, 40, 40)})
			f.purge(0, cat)

			for range 2 {
				asked := o.count()
				w := mustGet(t, strict, url)
				if c := colorOf(t, w.Body.Bytes()); c != green {
					t.Errorf("strict: %v", c)
				}
				status, control := w.Header().Get("Cache-Status"), w.Header().Get("Cache-Control")
				if status != "imagecdn; fwd=miss; detail=cut-off" || control != "no-store" {
					t.Errorf("strict: %q, %q", status, control)
				}
				if r := o.last(); o.count() != asked+1 || r.Header.Get("Cache-Control") != "no-cache" || r.Header.Get("If-None-Match") != "" {
					t.Errorf("strict: %d requests to the origin, the last with %v", o.count()-asked, r.Header)
				}
			}
			asked := o.count()
			w := mustGet(t, available, url)
			if c, status := colorOf(t, w.Body.Bytes()), w.Header().Get("Cache-Status"); c != red || !strings.HasPrefix(status, "imagecdn; hit; ttl=") || !strings.HasSuffix(status, "; detail=cut-off") || o.count() != asked {
				t.Errorf("available: %v, %q", c, status)
			}
			if control := w.Header().Get("Cache-Control"); control != "no-store" { // a CDN that has done the purge would have it again
				t.Errorf("available: %q", control)
			}

			f.nodes[1].Release()
			f.nodes[2].Release()
			f.ready()
			for i, h := range f.all {
				w := mustGet(t, h, url)
				if c := colorOf(t, w.Body.Bytes()); c != green || strings.Contains(w.Header().Get("Cache-Status"), "cut-off") {
					t.Errorf("node %s, back again: %v, %v", fleetNames[i], c, w.Header())
				}
			}
		})
	}
}

// On a node that is cut off, requests do not wait for one another: the first may have been there before a purge, and the second after it.
func TestCutOffRequestsAreAlone(t *testing.T) {
	o := newOrigin()
	o.set("/cat.png", answer{header: cacheFor("max-age=3600"), body: paint(t, red, 40, 40)})
	f := openFleet(t, o, nil)
	f.nodes[1].Cut(cache.CutOff)
	silent, goOn := make(chan bool), make(chan bool)
	o.block = func(_ *http.Request, where string) {
		if where == "header" {
			silent <- true
			<-goOn
		}
	}
	var work sync.WaitGroup
	for range 3 {
		work.Go(func() { get(f.all[1], "/photos/cat.png") })
	}
	for range 3 {
		<-silent
	}
	close(goOn)
	work.Wait()
}

func TestOneFetchAndOneRenderOverNodes(t *testing.T) {
	bucket := clustertest.NewBucket(5 * time.Millisecond)
	t.Cleanup(func() { bucket.Close() })
	o := newOrigin()
	body := paint(t, red, 400, 400)
	o.set("/cat.png", answer{header: cacheFor("max-age=3600"), body: body})
	f := openFleet(t, o, func(string) cache.Store { return cache.Tiered(cache.NewMemory(0), bucket.Open()) })
	mustGet(t, f.all[0], "/photos/cat.png")
	if f.hub.Lookups() == 0 {
		t.Fatal("the cluster was not asked")
	}
	original := cache.Key{Source: "photos", Image: "/cat.png", Kind: cache.Original, Sum: cache.DigestOf(body)}
	if !cache.Settle(t.Context(), imagecdn.StoreOf(f.all[0]), original) {
		t.Fatal("the original has not reached the bucket")
	}
	asked := o.count()
	var work sync.WaitGroup
	for _, h := range f.all {
		for range 3 {
			work.Go(func() {
				if w := get(h, "/photos/cat.png?w=100"); w.Code != http.StatusOK || colorOf(t, w.Body.Bytes()) != red {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		}
	}
	work.Wait()
	renders := int64(0)
	for _, h := range f.all {
		for _, r := range h.Stats().Renders {
			for _, n := range r.Took.Counts {
				renders += n
			}
		}
	}
	if renders != 1 {
		t.Errorf("%d renders", renders)
	}
	if o.count() != asked {
		t.Errorf("%d fetches more than one", o.count()-asked)
	}
	for _, h := range f.all {
		h.Close()
	}
	if n := f.hub.Turns(); n != 0 {
		t.Errorf("%d turns have not ended", n)
	}
}

func TestARefusalEndsATurn(t *testing.T) {
	bucket := clustertest.NewBucket(0)
	t.Cleanup(func() { bucket.Close() })
	o := newOrigin()
	bad := paint(t, red, 40, 40)
	o.set("/bad.png", answer{header: cacheFor("max-age=3600"), body: bad[:len(bad)-20]})
	f := openFleet(t, o, func(string) cache.Store { return cache.Tiered(cache.NewMemory(0), bucket.Open()) })
	for _, h := range f.all {
		if w := get(h, "/photos/bad.png?w=100"); w.Code != http.StatusUnprocessableEntity {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if n := f.hub.Turns(); n != 0 {
		t.Errorf("%d turns have not ended", n)
	}
}

// What one node hears of an image, others that hold it use: also that it is unchanged, or another.
func TestNodesLearnWhatOthersHear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		o.set("/cat.png", answer{header: cacheFor("max-age=60"), body: paint(t, red, 40, 40)})
		f := openFleet(t, o, nil)
		for _, h := range f.all {
			mustGet(t, h, "/photos/cat.png?w=20")
		}
		time.Sleep(61 * time.Second)
		mustGet(t, f.all[0], "/photos/cat.png?w=20") // which revalidates
		f.hub.Told()
		asked := o.count()
		for _, h := range f.all[1:] {
			if w := mustGet(t, h, "/photos/cat.png?w=20"); !strings.HasPrefix(w.Header().Get("Cache-Status"), "imagecdn; hit") {
				t.Errorf("Cache-Status %q", w.Header().Get("Cache-Status"))
			}
		}
		if o.count() != asked {
			t.Errorf("%d requests to the origin for what is known", o.count()-asked)
		}
		time.Sleep(61 * time.Second)
		o.set("/cat.png", answer{header: http.Header{"Cache-Control": {"max-age=60"}, "Etag": {`"2"`}}, body: paint(t, green, 40, 40)})
		mustGet(t, f.all[2], "/photos/cat.png?w=20")
		f.hub.Told()
		for i, h := range f.all {
			if c := colorOf(t, mustGet(t, h, "/photos/cat.png?w=20").Body.Bytes()); c != green {
				t.Errorf("node %s: %v", fleetNames[i], c)
			}
		}
		for _, h := range f.all {
			h.Close()
		}
	})
}

// A node that was away carries out what it has missed before it serves what it had.
func TestANodeThatWasAwayCatchesUp(t *testing.T) {
	const url = "/photos/cat.png?w=20"
	dir := t.TempDir()
	o := newOrigin()
	o.set("/cat.png", answer{header: cacheFor("max-age=3600"), body: paint(t, red, 40, 40)})
	hub := clustertest.New()
	start := func(name string) (*imagecdn.Handler, *clustertest.Node) {
		d, err := cache.OpenDisk(dir+"/"+name, nil)
		if err != nil {
			t.Fatal(err)
		}
		n := hub.Node(name)
		h := open(t, o, &imagecdn.Options{Cache: cache.Tiered(cache.NewMemory(0), d), Cluster: n})
		for n.Ready() != nil {
			time.Sleep(time.Millisecond)
		}
		return h, n
	}
	a, _ := start("a")
	b, _ := start("b")
	purgeOnce := func() {
		t.Helper()
		job, err := a.Purge(t.Context(), []string{"/photos/cat.png"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if rec, err := job.Wait(t.Context()); err != nil || rec.State != purge.Done {
			t.Fatalf("%v, %v", rec, err)
		}
	}
	purgeOnce()
	mustGet(t, a, url)
	mustGet(t, b, url)
	hub.Told()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	o.set("/cat.png", answer{header: http.Header{"Cache-Control": {"max-age=3600"}, "Etag": {`"2"`}}, body: paint(t, green, 40, 40)})
	purgeOnce()
	b, n := start("b")
	if n.Position() != 2 {
		t.Errorf("position %d", n.Position())
	}
	if c := colorOf(t, mustGet(t, b, url).Body.Bytes()); c != green {
		t.Errorf("after the restart: %v", c)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	asked := o.count()
	b, _ = start("b")
	if c := colorOf(t, mustGet(t, b, url).Body.Bytes()); c != green || o.count() != asked {
		t.Errorf("after another restart, with nothing missed: %v, and %d requests to the origin", c, o.count()-asked)
	}
}

// A node that has no such source is not in the way of a purge, and forgets what it had when it had the source.
func TestPurgeOfASourceThatANodeLacks(t *testing.T) {
	hub := clustertest.New()
	nodes := []*clustertest.Node{hub.Node("a"), hub.Node("b")}
	o := newOrigin()
	o.set("/cat.png", answer{header: cacheFor("max-age=3600"), body: paint(t, red, 40, 40)})
	a := open(t, o, &imagecdn.Options{Cluster: nodes[0]})
	b, err := imagecdn.New(imagecdn.Sources{"others": {Transport: o}}, &imagecdn.Options{Cluster: nodes[1]})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	f := &fleet{T: t, hub: hub, nodes: nodes, all: []*imagecdn.Handler{a, b}}
	f.ready()
	for _, mode := range []purge.Mode{purge.Delete, purge.Revalidate, purge.Stale} {
		f.purge(0, purge.Request{Scope: purge.Original, Mode: mode, Paths: []string{"/photos/cat.png"}})
		f.purge(0, purge.Request{Scope: purge.Prefix, Mode: mode, Paths: []string{"/photos/cats/"}})
		f.purge(0, purge.Request{Scope: purge.All, Mode: mode, Source: "photos"})
	}
	f.ready()
	if _, err := b.Purge(t.Context(), []string{"/photos/cat.png"}, nil); err == nil {
		t.Error("a purge of a source that is not here was taken")
	}
	if nodes[1].Position() != 9 {
		t.Errorf("the refused purge has reached the cluster: position %d", nodes[1].Position())
	}
}

// A purge that keeps bytes leaves nothing of before to be served on any node, and costs one request to the origin.
func TestKeepingPurgesOverNodes(t *testing.T) {
	const url = "/photos/cat.png?w=20"
	for _, mode := range []purge.Mode{purge.Revalidate, purge.Stale} {
		for _, changes := range []bool{false, true} {
			t.Run(string(mode), func(t *testing.T) {
				o := newOrigin()
				o.set("/cat.png", answer{header: cacheFor("max-age=3600"), body: paint(t, red, 40, 40)})
				f := openFleet(t, o, nil)
				for _, h := range f.all {
					mustGet(t, h, url)
				}
				want := red
				if changes {
					o.set("/cat.png", answer{header: http.Header{"Cache-Control": {"max-age=3600"}, "Etag": {`"2"`}}, body: paint(t, green, 40, 40)})
					want = green
				}
				asked := o.count()
				f.purge(1, purge.Request{Scope: purge.Original, Mode: mode, Paths: []string{"/photos/cat.png"}})
				f.hub.Told()
				if n := o.count() - asked; n != 1 {
					t.Errorf("%d requests to the origin by the purge", n)
				}
				for i, h := range f.all {
					w := mustGet(t, h, url)
					if c := colorOf(t, w.Body.Bytes()); c != want {
						t.Errorf("node %s: %v, %v", fleetNames[i], c, w.Header())
					}
				}
			})
		}
	}
}

func TestNewRefusesTwoLogs(t *testing.T) {
	n := &loggedNode{clustertest.New().Node("a")}
	_, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: newOrigin()}}, &imagecdn.Options{Cluster: n, Purge: &purge.ServiceOptions{Log: sharedLog{}}})
	if err == nil || !strings.Contains(err.Error(), "Options.Cluster") {
		t.Error(err)
	}
}

type loggedNode struct{ *clustertest.Node }

func (loggedNode) Log() purge.SharedLog { return sharedLog{} }

type sharedLog struct{ purge.SharedLog }

// Where New fails after it has joined, nobody waits for the node.
func TestNewThatFailsLeavesTheCluster(t *testing.T) {
	hub := clustertest.New()
	n := &failingNode{Node: hub.Node("a")}
	_, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: newOrigin()}}, &imagecdn.Options{Cluster: n})
	if !errors.Is(err, errNoJoin) || !n.closed {
		t.Errorf("%v, closed %v", err, n.closed)
	}
}

var errNoJoin = errors.New("no quorum")

type failingNode struct {
	*clustertest.Node
	closed bool
}

func (n *failingNode) Join(context.Context, *imagecdn.Node) error { return errNoJoin }

func (n *failingNode) Close() error {
	n.closed = true
	return n.Node.Close()
}

// A node that is cut off is not ready, and says so wherever an operator looks.
func TestAdminOfANode(t *testing.T) {
	f := openFleet(t, newOrigin(), nil)
	admin := f.all[1].Admin(&imagecdn.AdminOptions{Keys: []string{"k"}})
	ask := func(path string) *httptest.ResponseRecorder {
		return get(admin, path, "Authorization", "Bearer k")
	}
	for _, tt := range []struct {
		ready   int
		current string
		nodes   string
		page    string
	}{
		{http.StatusOK, "imagecdn_node_current 1\n", `"ready":true,"reason":""`, "this one"},
		{http.StatusServiceUnavailable, "imagecdn_node_current 0\n", `"ready":false,"reason":"the node b is cut off`, "This node is not ready"},
	} {
		if w := ask("/readyz"); w.Code != tt.ready || strings.Count(w.Body.String(), "\n") != 1 {
			t.Errorf("readyz: %d %q", w.Code, w.Body)
		}
		metrics := ask("/metrics").Body.String()
		if !strings.Contains(metrics, tt.current) || !strings.Contains(metrics, `imagecdn_node_seen_seconds{node="c"} 0`) {
			t.Errorf("metrics: there is no %q", tt.current)
		}
		if w := ask("/api/v1/nodes"); !strings.Contains(w.Body.String(), tt.nodes) || strings.Count(w.Body.String(), `"name"`) != 3 {
			t.Errorf("nodes: %s", w.Body)
		}
		if w := ask("/console"); !strings.Contains(w.Body.String(), tt.page) {
			t.Errorf("the console has no %q", tt.page)
		}
		f.nodes[1].Cut(cache.CutOff)
	}
	alone := open(t, newOrigin(), nil).Admin(&imagecdn.AdminOptions{Keys: []string{"k"}})
	if w := get(alone, "/api/v1/nodes", "Authorization", "Bearer k"); w.Body.String() != `{"ready":true,"reason":"","nodes":[]}`+"\n" {
		t.Errorf("without a cluster: %s", w.Body)
	}
	if w := get(alone, "/console", "Authorization", "Bearer k"); strings.Contains(w.Body.String(), `id="nodes"`) {
		t.Error("the console has nodes without a cluster")
	}
}

// The page of a job says what became of it on other nodes.
func TestConsoleHasTheNodesOfAJob(t *testing.T) {
	o := newOrigin()
	o.set("/cat.png", answer{header: cacheFor("max-age=3600"), body: paint(t, red, 40, 40)})
	f := openFleet(t, o, nil)
	for _, h := range f.all {
		mustGet(t, h, "/photos/cat.png?w=20")
	}
	f.nodes[2].Cut(cache.CutOff)
	job, err := f.all[0].Purge(t.Context(), []string{"/photos/cat.png"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := job.Wait(t.Context())
	if err != nil || rec.State != purge.Done || len(rec.Nodes) != 2 {
		t.Fatalf("%+v, %v", rec, err)
	}
	if b, c := rec.Nodes[0], rec.Nodes[1]; b.Outcome != purge.Flushed || b.Derivatives != 1 || c.Outcome != purge.Left {
		t.Errorf("%+v", rec.Nodes)
	}
	page := get(f.all[0].Admin(&imagecdn.AdminOptions{Keys: []string{"k"}}), "/console/purges/"+rec.ID, "Authorization", "Bearer k").Body.String()
	for _, want := range []string{"Other nodes", `data-label="Node">b<`, "flushed", `data-label="Node">c<`, "left"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
}

// What is gone is still the image that had these tags, on the nodes that have known it. No other learns that it is gone without them.
func TestATagPurgeFindsWhatIsGoneOverNodes(t *testing.T) {
	const url = "/photos/cat.png"
	o := newOrigin()
	header := cacheFor("max-age=3600")
	header.Set("Cache-Tag", "cat")
	o.set("/cat.png", answer{header: header, body: paint(t, red, 40, 40)})
	f := openFleet(t, o, nil)
	mustGet(t, f.all[0], url)
	o.set("/cat.png", answer{status: http.StatusNotFound, header: cacheFor("max-age=3600")})
	f.purge(0, purge.Request{Scope: purge.Original, Mode: purge.Revalidate, Paths: []string{"/photos/cat.png"}})
	if w := get(f.all[0], url); w.Code != http.StatusNotFound {
		t.Fatalf("it is gone, and is %d", w.Code)
	}
	f.hub.Told()
	o.set("/cat.png", answer{header: header, body: paint(t, green, 40, 40)})
	f.purge(0, purge.Request{Scope: purge.Tag, Mode: purge.Delete, Tags: []string{"cat"}})
	for i, h := range f.all {
		if w := get(h, url); w.Code != http.StatusOK {
			t.Errorf("node %s, after the purge: %d %s", fleetNames[i], w.Code, w.Header().Get("Cache-Status"))
		}
	}
}
