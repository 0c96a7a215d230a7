package cluster_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/cluster"
	"github.com/imagecdn/imagecdn/cluster/internal/faulty"
	"github.com/imagecdn/imagecdn/purge"
)

// A numberedOrigin never says the same twice: the colour of its pictures is the number of the exchange.
type numberedOrigin struct {
	mu   sync.Mutex
	sent int
	slow func() time.Duration
}

func (o *numberedOrigin) last() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sent
}

func (o *numberedOrigin) RoundTrip(r *http.Request) (*http.Response, error) {
	o.mu.Lock()
	o.sent++
	n, wait := o.sent, o.slow()
	o.mu.Unlock()
	select {
	case <-time.After(wait):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	m := image.NewNRGBA(image.Rect(0, 0, 4, 4))
	for i := range 16 {
		m.Set(i%4, i/4, color.NRGBA{byte(n >> 16), byte(n >> 8), byte(n), 255})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"image/png"}, "Cache-Control": {"max-age=3600"}, "Cache-Tag": {"all-of-them"}},
		Body: io.NopCloser(&b), Request: r}, nil
}

// exchange is the number of the exchange that an answer is from.
func exchange(t *testing.T, w *httptest.ResponseRecorder) int {
	t.Helper()
	m, err := png.Decode(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	r, g, b, _ := m.At(0, 0).RGBA()
	return int(r>>8)<<16 | int(g>>8)<<8 | int(b>>8)
}

// A site is a few handlers that are one cluster, each with a link to the server that can be cut.
type site struct {
	t      *testing.T
	server *server.Server
	dir    string // of the server
	port   int
	origin *numberedOrigin
	o      cluster.Options
	nodes  []*siteNode
}

type siteNode struct {
	name string
	dir  string // of its cache; empty for memory
	link *faulty.Link
	mu   sync.RWMutex
	h    *imagecdn.Handler // nil while it is down
	c    *cluster.Cluster
}

func startSite(t *testing.T, nodes int, o cluster.Options, disk bool) *site {
	s := &site{t: t, dir: t.TempDir(), origin: &numberedOrigin{slow: func() time.Duration { return rand.N(20 * time.Millisecond) }}, o: o}
	s.startServer(-1)
	s.port = s.server.Addr().(*net.TCPAddr).Port
	for i := range nodes {
		n := &siteNode{name: fmt.Sprint("n", i), link: faulty.NewLink(t, s.server.Addr().String())}
		if disk {
			n.dir = t.TempDir()
		}
		s.nodes = append(s.nodes, n)
		s.start(n)
	}
	for _, n := range s.nodes {
		s.ready(n)
	}
	t.Cleanup(func() {
		for _, n := range s.nodes {
			s.stop(n)
		}
	})
	return s
}

func (s *site) startServer(port int) {
	s.t.Helper()
	s.server = faulty.StartServer(s.t, s.dir, port)
}

func (s *site) start(n *siteNode) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	o := s.o
	o.Name = n.name
	if o.Bound == 0 {
		o.Bound = time.Second
	}
	if testing.Verbose() {
		o.Logger = slog.New(slog.NewTextHandler(s.t.Output(), nil)).With("of", n.name)
	}
	c, err := cluster.Connect(ctx, n.link.URL(), &o)
	if err != nil {
		s.t.Fatal(err)
	}
	var store cache.Store = cache.NewMemory(64 << 20)
	if n.dir != "" {
		disk, err := cache.OpenDisk(n.dir, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		store = cache.Tiered(store, disk)
	}
	h, err := imagecdn.New(imagecdn.Sources{"s": {Transport: s.origin}}, &imagecdn.Options{Cluster: c, Cache: store, NoAVIF: true, Logger: o.Logger})
	if err != nil {
		s.t.Fatal(err)
	}
	n.mu.Lock()
	n.h, n.c = h, c
	n.mu.Unlock()
}

func (s *site) stop(n *siteNode) {
	n.mu.Lock()
	h := n.h
	n.h = nil
	n.mu.Unlock()
	if h != nil {
		h.Close()
	}
}

func (s *site) ready(n *siteNode) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		n.mu.RLock()
		c := n.c
		n.mu.RUnlock()
		if err := c.Ready(); err == nil {
			return
		} else if time.Now().After(deadline) {
			s.t.Fatal(err)
		}
	}
}

// get asks a node. It returns nil where the node is down.
func (s *site) get(n *siteNode, url string) *httptest.ResponseRecorder {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.h == nil {
		return nil
	}
	w := httptest.NewRecorder()
	n.h.ServeHTTP(w, httptest.NewRequest("GET", url, nil))
	return w
}

// A history is what is known of what may be served.
type history struct {
	mu    sync.Mutex
	least map[string]int // by image: exchanges up to this one are purged
}

func (h *history) floor(image string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.least[image]
}

func (h *history) purged(images []string, upTo int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range images {
		h.least[m] = max(h.least[m], upTo)
	}
}

// A node that was away while a job in mode stale was done serves nothing of before, not even once.
func TestStalePurgeWhileANodeIsAway(t *testing.T) {
	for name, disk := range map[string]bool{"ended": true, "cut off": false} {
		t.Run(name, func(t *testing.T) {
			const url = "/s/a.png?w=4&fm=png"
			s := startSite(t, 2, cluster.Options{}, disk)
			a, b := s.nodes[0], s.nodes[1]
			for _, n := range s.nodes {
				exchange(t, s.get(n, url))
			}
			if disk {
				s.stop(b)
			} else {
				b.link.Cut()
			}
			before := s.origin.last()
			job, err := a.h.Purge(t.Context(), []string{"/s/a.png"}, &purge.Options{Mode: purge.Stale})
			if err != nil {
				t.Fatal(err)
			}
			if rec, err := job.Wait(t.Context()); err != nil || rec.State != purge.Done {
				t.Fatalf("%+v, %v", rec, err)
			}
			if disk {
				s.start(b)
			} else {
				b.link.Mend()
			}
			s.ready(b)
			if n := exchange(t, s.get(b, url)); n <= before {
				t.Errorf("it serves what was heard in exchange %d, and the purge came after %d", n, before)
			}
		})
	}
}

// After a purge by any node is done, no node serves what was fetched before it was asked for: beside fetches that are under way, links that
// break, nodes that end and come back with their disk, and a server that restarts.
func TestHistories(t *testing.T) {
	for _, test := range []struct {
		name  string
		disk  bool
		chaos bool
	}{
		{"all is well", false, false},
		{"things break", false, true},
		{"things break, with disks", true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && test.disk {
				t.Skip("-short")
			}
			s := startSite(t, 3, cluster.Options{}, test.disk)
			images := []string{"/s/a/1.png", "/s/a/2.png", "/s/b/3.png"}
			h := history{least: make(map[string]int)}
			ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
			if test.chaos {
				ctx, cancel = context.WithTimeout(t.Context(), 25*time.Second)
			}
			defer cancel()
			var work sync.WaitGroup
			var counts struct {
				sync.Mutex
				served, hits, done, refused, left, uncached int
			}
			for range 8 {
				work.Go(func() {
					for ctx.Err() == nil {
						n, m := s.nodes[rand.IntN(len(s.nodes))], images[rand.IntN(len(images))]
						floor := h.floor(m)
						w := s.get(n, m+[]string{"", "?w=4&fm=png", "?w=8&fm=png", "?vh=1"}[rand.IntN(4)])
						if w == nil || w.Code == http.StatusServiceUnavailable {
							time.Sleep(time.Millisecond)
							continue
						}
						if w.Code != http.StatusOK {
							t.Errorf("%d %s", w.Code, w.Body)
							return
						}
						if got := exchange(t, w); got <= floor {
							t.Errorf("%s by %s is from exchange %d, and all up to %d were purged; %s, %s", m, n.name, got, floor, w.Header().Get("Cache-Status"), w.Header().Get("Cache-Control"))
							return
						}
						counts.Lock()
						counts.served++
						if strings.Contains(w.Header().Get("Cache-Status"), "hit") {
							counts.hits++
						}
						if w.Header().Get("Cache-Control") == "no-store" {
							counts.uncached++
						}
						counts.Unlock()
						time.Sleep(rand.N(4 * time.Millisecond))
					}
				})
			}
			for range 3 {
				work.Go(func() {
					for ctx.Err() == nil {
						n := s.nodes[rand.IntN(len(s.nodes))]
						n.mu.RLock()
						handler := n.h
						if handler == nil {
							n.mu.RUnlock()
							time.Sleep(time.Millisecond)
							continue
						}
						upTo := s.origin.last()
						covers := images[:1]
						mode := []purge.Mode{purge.Delete, purge.Revalidate, purge.Stale}[rand.IntN(3)]
						scope := rand.IntN(5)
						once := mode == purge.Stale && scope < 3 // it is served once more after the job is done: docs/purges.md
						var job *purge.Job
						var err error
						switch o := (&purge.Options{Mode: mode}); scope {
						case 0:
							covers = images
							job, err = handler.PurgeAll(ctx, o)
						case 1:
							covers = images[:2]
							job, err = handler.PurgeFolders(ctx, []string{"/s/a/"}, o)
						case 2:
							covers = images
							job, err = handler.PurgeTags(ctx, []string{"all-of-them"}, o)
						case 3:
							covers = images[1:]
							job, err = handler.Purge(ctx, covers, o)
						default:
							job, err = handler.Purge(ctx, covers, o)
						}
						n.mu.RUnlock()
						if err != nil {
							counts.Lock()
							counts.refused++
							counts.Unlock()
							time.Sleep(10 * time.Millisecond)
							continue
						}
						waiting, stop := context.WithTimeout(ctx, 20*time.Second)
						rec, err := job.Wait(waiting)
						stop()
						if err != nil || rec.State != purge.Done {
							if err == nil && ctx.Err() == nil && !test.chaos && mode != purge.Stale { // which fails where another comes between
								t.Errorf("a purge ended as %s: %v", rec.State, rec.Err())
							}
							continue
						}
						if !once {
							h.purged(covers, upTo)
						}
						counts.Lock()
						counts.done++
						for _, r := range rec.Nodes {
							if r.Outcome == purge.Left {
								counts.left++
							}
						}
						counts.Unlock()
						time.Sleep(rand.N(30 * time.Millisecond))
					}
				})
			}
			if test.chaos {
				work.Go(func() {
					for ctx.Err() == nil {
						n := s.nodes[rand.IntN(len(s.nodes))]
						switch rand.IntN(5) {
						case 0, 1:
							n.link.Cut()
							time.Sleep(rand.N(3 * time.Second))
							n.link.Mend()
						case 2:
							n.link.Hold(true) // connections stay, and nothing comes through
							time.Sleep(rand.N(3 * time.Second))
							n.link.Hold(false)
						case 3:
							s.stop(n)
							time.Sleep(rand.N(time.Second))
							s.start(n)
						default:
							s.server.Shutdown()
							s.server.WaitForShutdown()
							time.Sleep(rand.N(time.Second))
							s.startServer(s.port)
						}
						time.Sleep(rand.N(2 * time.Second))
					}
				})
			}
			work.Wait()
			t.Logf("%d answers, %d of them hits and %d not to be kept; %d purges done, %d refused, %d times a node was left out", counts.served, counts.hits, counts.uncached, counts.done, counts.refused, counts.left)
			if counts.served < 100 || counts.done < 3 || counts.hits == 0 {
				t.Errorf("too little has happened to say anything")
			}
		})
	}
}
