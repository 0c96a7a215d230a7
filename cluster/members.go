package cluster

import (
	"encoding/json"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/imagecdn/imagecdn"
)

// beat sends a beat every now and then, until Close.
func (c *Cluster) beat() {
	t := time.NewTicker(c.o.interval())
	defer t.Stop()
	version := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
	}
	since := time.Now()
	for c.ctx.Err() == nil {
		if !c.usurped.Load() {
			c.sendBeat(since, version)
		}
		select {
		case <-t.C:
		case <-c.ctx.Done():
		}
	}
}

func (c *Cluster) sendBeat(since time.Time, version string) {
	n := c.beaten.Add(1)
	m, err := c.message(beatSubject, event{
		Instance: c.instance, Number: n, Since: since, Applied: c.applied.Load(), Ready: c.Ready() == nil, Version: version, First: c.members.first(),
	})
	if err != nil {
		return
	}
	c.sent.Lock()
	for old, t := range c.sent.at { // what has not come back by now makes nobody current
		if c.now()-t > 2*c.o.patience() {
			delete(c.sent.at, old)
		}
	}
	c.sent.at[n] = c.now() // before it is sent
	c.sent.Unlock()
	_ = c.nc.PublishMsg(m) // that it comes back is all that counts
}

// message is what this node puts into the stream beside purges. It expires as beats do.
func (c *Cluster) message(subject string, e event) (*nats.Msg, error) {
	data, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	m := nats.NewMsg(c.o.Prefix + subject + c.o.Name)
	m.Header.Set(jetstream.MsgTTLHeader, c.o.beatTTL().String())
	m.Data = data
	return m, nil
}

// sentAt is when a beat was sent.
func (c *Cluster) sentAt(n uint64) (time.Duration, bool) {
	c.sent.Lock()
	defer c.sent.Unlock()
	t, ok := c.sent.at[n]
	return t, ok
}

// readBack is when a beat was sent that was read back.
func (c *Cluster) readBack(n uint64) (time.Duration, bool) {
	c.sent.Lock()
	defer c.sent.Unlock()
	t, ok := c.sent.at[n]
	delete(c.sent.at, n)
	return t, ok
}

// leave tells the others that this node serves nothing any more.
func (c *Cluster) leave() error {
	m, err := c.message(leaveSubject, event{Instance: c.instance})
	if err != nil {
		return err
	}
	if err := c.nc.PublishMsg(m); err != nil {
		return nil // they will see by themselves
	}
	_ = c.nc.FlushTimeout(time.Second)
	return nil
}

// members are the nodes whose beats were read.
//
// # When a node is lost
//
// A beat of node m that is read at T was sent before T, and nothing that m sends later makes m current from before that; so if no other
// comes, m is current until T and Bound at the most. The stream has one order for all: when this node reads a beat of its own
// that it sent at T and patience, or later, and nothing of m has come between, there is nothing of m in the stream between, and m is
// not current any more. All that is compared are durations that two clocks measure.
type members struct {
	c  *Cluster
	mu sync.Mutex // guards all below

	byInstance map[string]*member
	began      time.Duration // since when the stream is read; of before, nothing is known
	observed   time.Duration // the latest beat of one's own that was read was sent then
	changed    chan struct{} // closed when a member is lost, or leaves
}

type member struct {
	name     string
	instance string
	first    uint64 // position of its first beat, as it says, or as far as is known
	seen     time.Duration
	last     event
	gone     bool
}

// maxGone is how many nodes that are gone are remembered.
const maxGone = 100

func newMembers(c *Cluster) *members {
	return &members{c: c, byInstance: make(map[string]*member), began: -1, changed: make(chan struct{})}
}

// saw notes a beat. It reports whether that says that another process has taken this node's name.
func (ms *members) saw(name string, e event, seq uint64) (usurped bool) {
	if e.Instance == "" {
		return false
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	now := ms.c.now()
	if ms.began < 0 {
		ms.began = now
	}
	m := ms.byInstance[e.Instance]
	if m == nil {
		m = &member{name: name, instance: e.Instance, first: seq}
		ms.byInstance[e.Instance] = m
	}
	if e.First > 0 {
		m.first = e.First
	}
	m.seen, m.last, m.gone = now, e, false
	if name != ms.c.o.Name || e.Instance == ms.c.instance {
		return false
	}
	own := ms.byInstance[ms.c.instance]
	return own != nil && m.first > own.first
}

// first is where this node's first beat is, or zero while that is not known.
func (ms *members) first() uint64 {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if own := ms.byInstance[ms.c.instance]; own != nil {
		return own.first
	}
	return 0
}

// left notes a farewell.
func (ms *members) left(name, instance string) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if m := ms.byInstance[instance]; m != nil && m.name == name && !m.gone {
		m.gone = true
		ms.tell()
	}
}

// observe says that a beat of this node came back that was sent at t.
func (ms *members) observe(t time.Duration) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	ms.observed = max(ms.observed, t)
	lost := false
	var gone []*member
	for _, m := range ms.byInstance {
		if !m.gone && m.instance != ms.c.instance && ms.observed-m.seen >= ms.c.o.patience() {
			m.gone, lost = true, true
			ms.c.o.Logger.Warn("cluster: a node is lost", "node", m.name, "seen", (ms.observed - m.seen).Round(time.Millisecond))
		}
		if m.gone {
			gone = append(gone, m)
		}
	}
	if len(gone) > maxGone {
		slices.SortFunc(gone, func(a, b *member) int { return int(a.seen - b.seen) })
		for _, m := range gone[:len(gone)-maxGone] {
			delete(ms.byInstance, m.instance)
		}
	}
	if lost {
		ms.tell()
	}
}

func (ms *members) tell() {
	close(ms.changed)
	ms.changed = make(chan struct{})
}

// others are the nodes that may serve, but for this one, by instance, and what is closed when one of them is lost.
func (ms *members) others() (names map[string]string, changed <-chan struct{}) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	names = make(map[string]string)
	for _, m := range ms.byInstance {
		if !m.gone && m.instance != ms.c.instance {
			names[m.instance] = m.name
		}
	}
	return names, ms.changed
}

// Lost implements [purge.Nodes].
func (c *Cluster) Lost(node string) bool {
	if node == c.o.Name || c.Ready() != nil {
		return false
	}
	ms := c.members
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if ms.began < 0 || ms.observed-ms.began < c.o.patience() {
		return false // its beats may not have come yet
	}
	for _, m := range ms.byInstance {
		if m.name == node && !m.gone {
			return false
		}
	}
	return true
}

// Members implements [imagecdn.Cluster].
func (c *Cluster) Members() []imagecdn.Member {
	ms := c.members
	ms.mu.Lock()
	defer ms.mu.Unlock()
	byName := make(map[string]*member)
	for _, m := range ms.byInstance {
		if other := byName[m.name]; other == nil || other.gone && !m.gone || other.gone == m.gone && other.seen < m.seen {
			byName[m.name] = m
		}
	}
	now := c.now()
	var all []imagecdn.Member
	for _, m := range byName {
		one := imagecdn.Member{Name: m.name, Self: m.instance == c.instance, Since: m.last.Since, Seen: now - m.seen, Applied: m.last.Applied, Version: m.last.Version}
		ready := m.last.Ready
		if one.Self {
			ready, one.Applied = c.Ready() == nil, c.applied.Load()
		}
		switch {
		case m.gone:
			one.State = "gone"
		case one.Self && c.current.Load() > 0 && !ready || one.Seen > c.o.Bound:
			one.State = "cut_off"
		case !ready:
			one.State = "catching_up"
		default:
			one.State = "ready"
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b imagecdn.Member) int { return strings.Compare(a.Name, b.Name) })
	return all
}
