//go:build unix

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/imagecdn/imagecdn/purge"
)

// A fleet is what a test has running: nodes, each of which reaches each NATS server through a proxy of its own, and an origin.
type fleet struct {
	t       testing.TB
	policy  string
	bound   time.Duration
	servers []*natsServer
	nodes   []*node
	links   []*link // of each node
	origin  *origin
	w       *witness
}

// A setup is what a fleet is to be. Its zero value is three nodes on one server, with the strict policy.
type setup struct {
	nodes   int
	servers int
	images  int
	policy  string
	bound   time.Duration // zero means a second: tests have less time than those who run nodes
	bucket  string        // URL, where nodes have one
	skew    []time.Duration
	args    []string
}

func startFleet(t testing.TB, s setup) *fleet {
	t.Helper()
	s.nodes, s.servers, s.images = max(s.nodes, 1), max(s.servers, 1), max(s.images, 24)
	if s.policy == "" {
		s.policy = "strict"
	}
	if s.bound == 0 {
		s.bound = time.Second
	}
	path := command(t, binaries.node)
	logs := logsOf(t)
	f := &fleet{t: t, policy: s.policy, bound: s.bound, w: newWitness(s.images)}
	f.origin = startOrigin(t, f.w, s.images)
	f.servers = startNATS(t, logs, s.servers)
	dir := t.TempDir()
	for i := range s.nodes {
		f.links = append(f.links, startLink(t, f.servers))
		n := &node{name: fmt.Sprintf("n%d", i+1), binary: path, logs: logs, w: f.w}
		n.dir = filepath.Join(dir, n.name)
		n.args = append([]string{"-allow-private", "-source", "web=" + f.origin.url, "-memory", "32MiB", "-cache-size", "1GiB",
			"-cluster", f.links[i].url(), "-node", n.name, "-cluster-policy", s.policy, "-cluster-bound", s.bound.String(), "-cluster-replicas", fmt.Sprint(s.servers)}, s.args...)
		if s.bucket != "" {
			n.args = append(n.args, "-bucket", s.bucket)
		}
		if i < len(s.skew) && s.skew[i] != 0 {
			n.binary, n.env = command(t, binaries.skewed), []string{fmt.Sprintf("E2E_CLOCK_SKEW=%d", int64(s.skew[i]/time.Second))}
		}
		f.nodes = append(f.nodes, n)
	}
	for _, n := range f.nodes {
		n.begin(t)
	}
	for _, n := range f.nodes {
		n.serves(t)
	}
	f.together()
	return f
}

// patience is how long it may take until a node that is away is known to be: some more than the bound, and some for a busy machine.
func (f *fleet) patience() time.Duration { return 2*f.bound + 2*time.Second }

// together waits until each node is ready, and has heard of all others.
func (f *fleet) together() bool {
	f.t.Helper()
	return eventually(f.t, 60*time.Second, "all nodes are ready and know one another", func() bool {
		for _, n := range f.nodes {
			if !n.ready() || n.members() < len(f.nodes) {
				return false
			}
		}
		return true
	})
}

// members is how many nodes this one knows that are ready.
func (n *node) members() (ready int) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	status, answer, err := n.call(ctx, "GET", "/-/api/v1/nodes", nil)
	if err != nil || status != 200 {
		return 0
	}
	var all struct {
		Nodes []struct{ State string } `json:"nodes"`
	}
	if json.Unmarshal(answer, &all) != nil {
		return 0
	}
	for _, m := range all.Nodes {
		if m.State == "ready" {
			ready++
		}
	}
	return ready
}

// A link is between a node and the servers: toxiproxy, and behind it a relay.
type link struct {
	t       testing.TB
	proxies []*toxiproxy.Proxy
	relays  []*relay
}

func startLink(t testing.TB, servers []*natsServer) *link {
	t.Helper()
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	l := &link{t: t}
	for i, s := range servers {
		r := startRelay(t, s.address)
		p := toxiproxy.NewProxy(api, fmt.Sprint("proxy-", i), "127.0.0.1:0", r.address)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Stop)
		l.proxies, l.relays = append(l.proxies, p), append(l.relays, r)
	}
	return l
}

func (l *link) url() string {
	var urls []string
	for _, p := range l.proxies {
		urls = append(urls, "nats://"+p.Listen)
	}
	return strings.Join(urls, ",")
}

// drop ends the connections, and refuses new ones.
func (l *link) drop() {
	for _, p := range l.proxies {
		p.Stop()
	}
}

func (l *link) accept() {
	for _, p := range l.proxies {
		if err := p.Start(); err != nil {
			l.t.Error(err)
		}
	}
}

// spoil has connections, those that are there and new ones, go wrong in a way that toxiproxy knows: "upstream" is from the node to the server.
func (l *link) spoil(kind, stream string, attributes map[string]any) {
	text, err := json.Marshal(map[string]any{"type": kind, "stream": stream, "attributes": attributes})
	if err != nil {
		l.t.Error(err)
		return
	}
	for _, p := range l.proxies {
		if _, err := p.Toxics.AddToxicJson(bytes.NewReader(text)); err != nil {
			l.t.Error(err)
		}
	}
}

// mend ends what spoil has begun.
func (l *link) mend() {
	for _, p := range l.proxies {
		p.Toxics.ResetToxics(context.Background())
	}
}

// freeze has what is sent arrive when thaw is called, whoever has hung up by then.
func (l *link) freeze() {
	for _, r := range l.relays {
		r.frozen.Lock()
	}
}

func (l *link) thaw() {
	for _, r := range l.relays {
		r.frozen.Unlock()
	}
}

// A submitted is a purge that a node has acknowledged.
type submitted struct {
	id    string
	r     purge.Request
	owner *node
	least map[int]uint32 // by image: the version at the origin before it was submitted
	asked time.Time
	acked time.Time
	done  time.Time // when it was first seen at its end; zero until then
	rec   record    // then
}

// purge has the origin change some images, and a node purge them.
func (f *fleet) purge(ctx context.Context, owner *node, r purge.Request, images []int) (*submitted, error) {
	s := &submitted{r: r, owner: owner, least: make(map[int]uint32)}
	for _, n := range images {
		s.least[n] = f.origin.versions[n].Add(1)
		f.w.note(n, "version %d is at the origin; %s is asked for a purge %s %s", s.least[n], owner.name, r.Scope, r.Mode)
	}
	s.asked = time.Now()
	rec, err := owner.submit(ctx, r)
	if err != nil {
		for _, n := range images {
			f.w.note(n, "%s refused it: %v", owner.name, err)
		}
		return nil, err
	}
	s.id, s.acked = rec.ID, time.Now()
	for n, v := range s.least {
		f.w.note(n, "%s acknowledged %s", owner.name, s.id)
		if r.Mode != purge.Stale {
			f.w.acknowledged(owner.name, n, v)
		}
	}
	return s, nil
}

// serveOnce is that what a purge covers may be served once more after it is done, and is refreshed behind: docs/purges.md.
func servesOnce(r purge.Request) bool { return r.Mode == purge.Stale && r.Scope != purge.Original }

// isDone notes that a job is, when a node says so.
func (f *fleet) isDone(s *submitted, rec record) {
	if !s.done.IsZero() {
		return
	}
	s.done, s.rec = time.Now(), rec
	for n, v := range s.least {
		f.w.note(n, "%s is %s", s.id, rec.State)
		if rec.State == purge.Done && !servesOnce(s.r) {
			f.w.done(n, v)
		}
	}
}

// follow asks for a job, of a node and then of the next, until it is at its end.
func (f *fleet) follow(ctx context.Context, s *submitted, every time.Duration, ask func() *node) bool {
	for ctx.Err() == nil {
		one, cancel := context.WithTimeout(ctx, 3*time.Second)
		rec, err := ask().job(one, s.id)
		cancel()
		if err == nil && rec.State.Final() {
			f.isDone(s, rec)
			return true
		}
		select {
		case <-time.After(every):
		case <-ctx.Done():
		}
	}
	return false
}

// someRequest is a purge of any kind, and the images that it covers.
func (f *fleet) someRequest(r *rand.Rand) (purge.Request, []int) {
	var covers func(n int) bool
	q := purge.Request{Scope: []purge.Scope{purge.Original, purge.Original, purge.Original, purge.Prefix, purge.Tag, purge.All}[r.IntN(6)],
		Mode: []purge.Mode{purge.Delete, purge.Revalidate, purge.Stale}[r.IntN(3)]}
	one := r.IntN(len(f.origin.versions))
	switch q.Scope {
	case purge.Original:
		some := map[int]bool{}
		for _, n := range r.Perm(len(f.origin.versions))[:1+r.IntN(3)] {
			some[n] = true
			q.Paths = append(q.Paths, imagePath(n))
		}
		covers = func(n int) bool { return some[n] }
	case purge.Prefix:
		q.Paths = []string{folderPath(one)}
		covers = func(n int) bool { return n%folders == one%folders }
	case purge.Tag:
		q.Tags = []string{tagName(one)}
		covers = func(n int) bool { return n%tags == one%tags }
	case purge.All:
		q.Source = []string{"", "web"}[r.IntN(2)]
		covers = func(int) bool { return true }
	}
	var images []int
	for n := range f.origin.versions {
		if covers(n) {
			images = append(images, n)
		}
	}
	return q, images
}

// look asks a node for a picture, and judges the answer.
func (f *fleet) look(ctx context.Context, n *node, image, width int) (*response, error) {
	r, err := n.get(ctx, image, width)
	if err != nil {
		return nil, err
	}
	if err := f.w.judge(r, f.policy == "available"); err != nil {
		f.t.Error(err)
	}
	return r, nil
}

// random is where a test's choices come from.
func random(t testing.TB) *rand.Rand {
	n := *seed
	if n == 0 {
		n = rand.Uint64()
	}
	t.Logf("-e2e.seed %d", n)
	return rand.New(rand.NewPCG(n, 0))
}

// all runs f for each element at the same time.
func all[T any](of []T, f func(T)) {
	var wg sync.WaitGroup
	for _, one := range of {
		wg.Go(func() { f(one) })
	}
	wg.Wait()
}
