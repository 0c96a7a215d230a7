// Package clustertest has a cluster of handlers in one process, for tests: what nodes share is in memory, and a test says when one of them
// is cut off, and when it hears of the others again.
//
//	hub := clustertest.New()
//	a, err := imagecdn.New(sources, &imagecdn.Options{Cluster: hub.Node("a")})
//	b, err := imagecdn.New(sources, &imagecdn.Options{Cluster: hub.Node("b")})
package clustertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
)

// A Hub is what the nodes of a cluster share. All methods are safe for concurrent use.
type Hub struct {
	mu      sync.Mutex      // guards all, and the fields of nodes that say so
	changed chan struct{}   // closed, and made anew, with each change
	log     []purge.Request // those of the cluster: the position of one is its index and one
	nodes   map[string]*Node
	names   map[cache.Name]known
	turns   map[cache.Key]chan struct{}
	lookups int
	telling sync.WaitGroup // nodes that are told of names
}

// known is what a node has told of a name.
type known struct {
	entry []byte // its JSON
	at    uint64
}

// New returns a hub without any nodes.
func New() *Hub {
	return &Hub{
		changed: make(chan struct{}),
		nodes:   make(map[string]*Node),
		names:   make(map[cache.Name]known),
		turns:   make(map[cache.Key]chan struct{}),
	}
}

// logName is what positions are about.
const logName = "clustertest"

// Node returns the node of that name, which is to be joined once: a restart takes the next.
func (h *Hub) Node(name string) *Node {
	n := &Node{hub: h, name: name, since: time.Now()}
	n.life, n.stop = context.WithCancel(context.Background())
	return n
}

// Lookups is how often the hub was asked for a name.
func (h *Hub) Lookups() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lookups
}

// Told waits until every node has heard of the names that were committed before.
func (h *Hub) Told() { h.telling.Wait() }

// change does something to what mu guards, and lets those look who wait for it.
func (h *Hub) change(do func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	do()
	close(h.changed)
	h.changed = make(chan struct{})
}

// wait waits until is says so, which is called under mu.
func (h *Hub) wait(ctx context.Context, is func() bool) error {
	for {
		h.mu.Lock()
		ok, changed := is(), h.changed
		h.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A Node is one node of a Hub: an [imagecdn.Cluster].
type Node struct {
	hub   *Hub
	name  string
	since time.Time
	node  *imagecdn.Node // set by Join
	life  context.Context
	stop  context.CancelFunc
	work  sync.WaitGroup // of Join

	currency atomic.Int32
	position atomic.Uint64

	// Guarded by the hub's mu.
	noted  uint64
	held   bool  // it hears of nothing
	left   bool  // it is closed
	failed error // what its table could not carry out
}

var (
	_ imagecdn.Cluster = (*Node)(nil)

	errCutOff = errors.New("the node is cut off: nothing was promised")
)

// Cut cuts n off: it hears of no purges, which others are done without it. policy is cache.CutOff or CutOffServing.
func (n *Node) Cut(policy cache.Currency) {
	n.hub.change(func() {
		n.held = true
		n.currency.Store(int32(policy))
	})
}

// Hold has n hear of nothing, before anybody knows that it does not: until Release, others wait for it.
func (n *Node) Hold() { n.hub.change(func() { n.held = true }) }

// Release ends what Cut and Hold have begun. The node is current once it has carried out what it has missed.
func (n *Node) Release() { n.hub.change(func() { n.held = false }) }

// Currency implements [cache.Shared].
func (n *Node) Currency() cache.Currency { return cache.Currency(n.currency.Load()) }

// Position implements [cache.Shared].
func (n *Node) Position() uint64 { return n.position.Load() }

// Lookup implements [cache.Shared].
func (n *Node) Lookup(_ context.Context, name cache.Name) *cache.Entry {
	n.hub.mu.Lock()
	defer n.hub.mu.Unlock()
	n.hub.lookups++
	k, ok := n.hub.names[name]
	if !ok || n.held {
		return nil
	}
	e := decode(k.entry)
	if !n.valid(name, e, k.at) {
		return nil
	}
	return e
}

// valid reports whether no purge that is noted here covers what was asked for at a position. The hub's mu is held.
func (n *Node) valid(name cache.Name, e *cache.Entry, at uint64) bool {
	for i := at; i < n.noted; i++ {
		if covers(n.hub.log[i], name, e) {
			return false
		}
	}
	return true
}

// covers reports whether a purge is of an image.
func covers(r purge.Request, n cache.Name, e *cache.Entry) bool {
	path := "/" + n.Source + n.Image
	switch r.Scope {
	case purge.All:
		return r.Source == "" || r.Source == n.Source
	case purge.Prefix:
		return slices.ContainsFunc(r.Paths, func(f string) bool { return strings.HasPrefix(path, f) })
	case purge.Tag:
		return slices.ContainsFunc(cache.TagsOf(e.Header), func(t string) bool { return slices.Contains(r.Tags, t) })
	}
	return slices.Contains(r.Paths, path)
}

func decode(data []byte) *cache.Entry {
	e := new(cache.Entry)
	if err := json.Unmarshal(data, e); err != nil {
		panic(err) // it was encoded here
	}
	return e
}

// Commit implements [cache.Shared].
func (n *Node) Commit(name cache.Name, e *cache.Entry, position uint64) {
	data, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	n.hub.mu.Lock()
	defer n.hub.mu.Unlock()
	if before, ok := n.hub.names[name]; n.held || ok && decode(before.entry).ResponseTime.After(e.ResponseTime) {
		return
	}
	n.hub.names[name] = known{data, position}
	for _, other := range n.hub.nodes {
		if other == n || other.held {
			continue
		}
		n.hub.telling.Go(func() {
			told := decode(data)
			other.node.Table().Learn(name, told, func() bool {
				n.hub.mu.Lock()
				defer n.hub.mu.Unlock()
				return other.valid(name, told, position)
			})
		})
	}
}

// Join implements [imagecdn.Cluster].
func (n *Node) Join(_ context.Context, node *imagecdn.Node) error {
	n.node = node
	p := node.Table().Position()
	n.hub.mu.Lock()
	newest := uint64(len(n.hub.log))
	n.hub.mu.Unlock()
	if p.Log != logName && newest > 0 { // who knows what was missed
		if err := node.Accept(context.Background(), purge.Request{Scope: purge.All, Mode: purge.Delete}); err != nil {
			return err
		}
		p.Seq = newest
	}
	n.position.Store(p.Seq)
	n.currency.Store(int32(cache.CutOff))
	n.hub.change(func() {
		n.noted = p.Seq
		n.hub.nodes[n.name] = n
	})
	n.work.Go(n.apply)
	return nil
}

// apply carries out the purges of the cluster, in their order.
func (n *Node) apply() {
	for {
		var r purge.Request
		var next uint64
		err := n.hub.wait(n.life, func() bool {
			applied, newest := n.position.Load(), uint64(len(n.hub.log))
			if n.held {
				return false
			}
			if applied == newest {
				n.currency.Store(int32(cache.Current))
				return false
			}
			next = applied + 1
			r = n.hub.log[applied]
			n.noted = next
			return true
		})
		if err != nil {
			return
		}
		if err = n.node.Accept(n.life, r); err == nil {
			err = n.node.Table().SavePosition(cache.Position{Log: logName, Seq: next})
		}
		if err != nil {
			n.currency.Store(int32(cache.CutOff)) // for good: it does not know what it should
			n.hub.change(func() { n.failed = err })
			return
		}
		n.hub.change(func() { n.position.Store(next) })
	}
}

// Accept implements [imagecdn.Cluster].
func (n *Node) Accept(ctx context.Context, r purge.Request) error {
	if n.Currency() != cache.Current {
		return errCutOff
	}
	var at uint64
	n.hub.change(func() {
		n.hub.log = append(n.hub.log, r)
		at = uint64(len(n.hub.log))
	})
	if err := n.hub.wait(ctx, func() bool { return n.position.Load() >= at || n.failed != nil }); err != nil {
		return err
	}
	n.hub.mu.Lock()
	defer n.hub.mu.Unlock()
	return n.failed
}

// Self implements [purge.Nodes].
func (n *Node) Self() string { return n.name }

// Lost implements [purge.Nodes].
func (n *Node) Lost(node string) bool {
	n.hub.mu.Lock()
	defer n.hub.mu.Unlock()
	return n.hub.nodes[node] == nil
}

// Flush implements [purge.Nodes].
func (n *Node) Flush(ctx context.Context, f purge.NodeFlush, report func(purge.NodeResult)) {
	n.hub.mu.Lock()
	least := n.position.Load()
	var others []*Node
	for _, other := range n.hub.nodes {
		if other != n {
			others = append(others, other)
		}
	}
	n.hub.mu.Unlock()
	slices.SortFunc(others, func(a, b *Node) int { return strings.Compare(a.name, b.name) })
	for _, other := range others {
		res := purge.NodeResult{Name: other.name, State: purge.Done, Outcome: purge.Flushed}
		err := n.hub.wait(ctx, func() bool { return other.position.Load() >= least || other.Currency() != cache.Current || other.left })
		switch {
		case err != nil:
			res.State, res.Outcome, res.Reason = purge.Error, purge.Failing, err.Error()
		case other.position.Load() < least:
			res.Outcome = purge.Left
		default:
			r, err := other.node.Flush(ctx, f)
			res.Originals, res.Derivatives, res.Composites, res.Bytes = r.Originals, r.Derivatives, r.Composites, r.Bytes
			if err != nil {
				res.State, res.Outcome, res.Reason = purge.Error, purge.Failing, err.Error()
			}
		}
		report(res)
	}
}

// Log implements [imagecdn.Cluster]: each node has its own jobs.
func (n *Node) Log() purge.SharedLog { return nil }

// Turn implements [imagecdn.Cluster].
func (n *Node) Turn(ctx context.Context, k cache.Key) (end func(), mine bool) {
	n.hub.mu.Lock()
	other := n.hub.turns[k]
	held := make(chan struct{})
	if other == nil {
		n.hub.turns[k] = held
	}
	n.hub.mu.Unlock()
	if other != nil {
		select {
		case <-other:
		case <-ctx.Done():
		}
		return func() {}, false
	}
	return func() {
		n.hub.mu.Lock()
		defer n.hub.mu.Unlock()
		delete(n.hub.turns, k)
		close(held) // which a second call would fail at
	}, true
}

// Turns is how many turns have not ended.
func (h *Hub) Turns() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.turns)
}

// Ready implements [imagecdn.Cluster].
func (n *Node) Ready() error {
	if n.Currency() != cache.Current {
		return fmt.Errorf("the node %s is cut off, or catches up", n.name)
	}
	return nil
}

// Members implements [imagecdn.Cluster].
func (n *Node) Members() (all []imagecdn.Member) {
	n.hub.mu.Lock()
	defer n.hub.mu.Unlock()
	for name, other := range n.hub.nodes {
		state := "ready"
		if other.Currency() != cache.Current {
			state = "cut_off"
		}
		all = append(all, imagecdn.Member{Name: name, Self: other == n, State: state, Since: other.since, Applied: other.position.Load()})
	}
	slices.SortFunc(all, func(a, b imagecdn.Member) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Close implements [imagecdn.Cluster].
func (n *Node) Close() error {
	n.stop()
	n.currency.Store(int32(cache.CutOff))
	n.hub.change(func() {
		n.left = true
		if n.hub.nodes[n.name] == n {
			delete(n.hub.nodes, n.name)
		}
	})
	n.work.Wait()
	n.hub.telling.Wait()
	return nil
}

// A Bucket is a store that several nodes share, and write to behind. It holds 64 MiB.
type Bucket struct {
	store  cache.Store
	writes sync.WaitGroup
	delay  time.Duration
}

// NewBucket returns an empty bucket, in which a thing is found by nodes other than its writer after delay.
func NewBucket(delay time.Duration) *Bucket {
	return &Bucket{store: cache.NewMemory(64 << 20), delay: delay}
}

// Close frees what the bucket holds.
func (b *Bucket) Close() error {
	b.writes.Wait()
	return b.store.Close()
}

// Open returns a store in the bucket for one node.
func (b *Bucket) Open() cache.Store { return &opened{bucket: b, on: make(map[cache.Key]chan struct{})} }

type opened struct {
	bucket *Bucket
	mu     sync.Mutex                  // guards on
	on     map[cache.Key]chan struct{} // what is on its way
}

func (s *opened) Get(ctx context.Context, k cache.Key) (*cache.Thing, error) {
	return s.bucket.store.Get(ctx, k)
}

func (s *opened) Put(_ context.Context, k cache.Key, t *cache.Thing, valid func() bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on[k] != nil {
		return nil
	}
	done := make(chan struct{})
	s.on[k] = done
	s.bucket.writes.Go(func() {
		time.Sleep(s.bucket.delay)
		_ = s.bucket.store.Put(context.Background(), k, t, valid)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.on, k)
		close(done)
	})
	return nil
}

// Settle implements [cache.Settler].
func (s *opened) Settle(ctx context.Context, k cache.Key) bool {
	s.mu.Lock()
	done := s.on[k]
	s.mu.Unlock()
	if done != nil {
		select {
		case <-done:
		case <-ctx.Done():
			return false
		}
	}
	_, err := s.bucket.store.Get(ctx, k)
	return err == nil
}

func (s *opened) Remove(ctx context.Context, source, image string) (cache.Removed, error) {
	if cache.IsElsewhere(ctx) {
		return cache.Removed{}, nil
	}
	return s.bucket.store.Remove(ctx, source, image)
}

func (s *opened) RemoveAll(ctx context.Context, source string) (cache.Removed, error) {
	if cache.IsElsewhere(ctx) {
		return cache.Removed{}, nil
	}
	return s.bucket.store.RemoveAll(ctx, source)
}

func (s *opened) Close() error { return nil }
