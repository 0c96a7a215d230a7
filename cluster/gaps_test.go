package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/cluster/internal/faulty"
	"github.com/imagecdn/imagecdn/purge"
)

// all is how often everything was purged on the node.
func (n *fakeNode) all() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for _, a := range n.accepted {
		if strings.TrimSpace(a) == "all" {
			count++
		}
	}
	return count
}

func eventuallyCurrent(t *testing.T, c *Cluster) {
	t.Helper()
	eventually(t, c.Self()+" is current", func() bool { return c.Currency() == cache.Current })
}

// A process that lives on while it is cut off may miss more than the stream keeps.
func TestANodeThatRunsAndIsAwayForMorePurgesThanAreKept(t *testing.T) {
	s := faulty.StartServer(t, t.TempDir(), -1)
	link := faulty.NewLink(t, s.Addr().String())
	var a, b fakeNode
	o := Options{MaxPurges: 1000}
	ca := start(t, s.ClientURL(), "a", &a, o)
	cb := start(t, link.URL(), "b", &b, o)
	ready(t, ca, cb)
	if err := ca.Accept(t.Context(), paths("/p/before")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b has the first", func() bool { return b.has("original /p/before") })
	link.Cut()
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			for j := range 150 {
				if err := ca.Accept(t.Context(), paths(fmt.Sprint("/p/", i*150+j))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	time.Sleep((cb.o.beatTTL() + time.Second) / 2) // what it has read last may have expired by then
	eventually(t, "b is cut off", func() bool { return cb.Currency() != cache.Current })
	link.Mend()
	eventuallyCurrent(t, cb)
	if b.count() < 1500 && b.all() < 2 {
		t.Errorf("b is current, has carried out %d purges, and has not begun with nothing", b.count())
	}
}

// The same, by age.
func TestANodeThatRunsAndIsAwayForLongerThanPurgesAreKept(t *testing.T) {
	s := faulty.StartServer(t, t.TempDir(), -1)
	link := faulty.NewLink(t, s.Addr().String())
	var a, b fakeNode
	ca := start(t, s.ClientURL(), "a", &a, Options{})
	ready(t, ca)
	stream, err := ca.js.Stream(t.Context(), ca.streamName())
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	config.MaxAge, config.Duplicates = 4*time.Second, 4*time.Second
	if _, err := ca.js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	cb := start(t, link.URL(), "b", &b, Options{})
	ready(t, ca, cb)
	link.Cut()
	if err := ca.Accept(t.Context(), paths("/p/1")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the purge is too old", func() bool {
		_, err := stream.GetMsg(t.Context(), 0, jetstream.WithGetMsgSubject(ca.o.Prefix+purgeSubject))
		return err != nil
	})
	eventually(t, "b is cut off", func() bool { return cb.Currency() != cache.Current })
	link.Mend()
	eventuallyCurrent(t, cb)
	if !b.has("original /p/1") && b.all() < 2 {
		t.Errorf("b is current, and has carried out %q", b.accepted)
	}
}

// A node that is there may be slower than purges come, and the stream keeps so many.
func TestANodeThatIsTooSlowForThePurgesThatAreKept(t *testing.T) {
	s := faulty.StartServer(t, t.TempDir(), -1)
	var a, b fakeNode
	o := Options{MaxPurges: 1000}
	ca := start(t, s.ClientURL(), "a", &a, o)
	cb := start(t, s.ClientURL(), "b", &b, o)
	ready(t, ca, cb)
	release := make(chan struct{})
	b.fail = func(r purge.Request) error { <-release; return nil }
	const many = 4000 // what a reader has in hand does not count
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for j := range many / 20 {
				if _, err := ca.publish(t.Context(), paths(fmt.Sprint("/p/", i, "/", j))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	eventually(t, "b is cut off", func() bool { return cb.Currency() != cache.Current })
	close(release)
	eventually(t, "b has read all and is current", func() bool { return cb.Currency() == cache.Current && cb.Position() >= ca.Position() })
	if b.count() < many && b.all() < 2 {
		t.Errorf("b is current, has carried out %d purges of %d, and has not begun with nothing", b.count(), many)
	}
}

// A position is one in a log. What waits to be written when that is no more is about nothing.
func TestNamesThatWaitAreNotOfTheNextLog(t *testing.T) {
	s := faulty.StartServer(t, t.TempDir(), -1)
	var a fakeNode
	ca := start(t, s.ClientURL(), "a", &a, Options{})
	ready(t, ca)
	for i := range 50 {
		if err := ca.Accept(t.Context(), paths(fmt.Sprint("/p/", i))); err != nil {
			t.Fatal(err)
		}
	}
	names := ca.names
	old := ca.Position()
	waits := pendingName{answer("1", time.Now()), old, names.log(), names.resets.Load()}
	if err := ca.js.DeleteStream(t.Context(), ca.streamName()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "everything was purged", func() bool { return a.all() == 2 })
	eventually(t, "it is current", func() bool { return ca.Currency() == cache.Current && ca.Position() < old })
	if err := names.writeOne(cat, waits); err != nil {
		t.Fatal(err)
	}
	ca.Commit(cat, answer("1", time.Now()), old)
	time.Sleep(100 * time.Millisecond)
	if err := ca.Accept(t.Context(), paths("/photos/cat.jpg")); err != nil {
		t.Fatal(err)
	}
	if ca.Lookup(t.Context(), cat) != nil {
		t.Error("what was asked for before the purge is known after it")
	}
}

// A restarted node goes on with its job, and hears of the others later than the job does.
func TestAFlushAfterARestartWaitsForNodesThatMayServe(t *testing.T) {
	s := faulty.StartServer(t, t.TempDir(), -1)
	var a, b fakeNode
	o := Options{Bound: 2 * time.Second}
	ca := start(t, s.ClientURL(), "a", &a, o)
	cb := start(t, s.ClientURL(), "b", &b, o)
	ready(t, ca, cb)
	release := make(chan struct{})
	b.fail = func(r purge.Request) error { <-release; return nil } // it is slow
	if err := ca.Accept(t.Context(), paths("/p/1")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a has kept its position", func() bool { return a.Position().Seq > 0 })
	ca.Close()
	ca = start(t, s.ClientURL(), "a", &a, o)
	through := make(chan struct{})
	go func() {
		defer close(through)
		ca.Flush(t.Context(), purge.NodeFlush{ID: "1", Scope: purge.Original, Paths: []string{"/p/1"}, Resumed: true}, func(purge.NodeResult) {})
	}()
	for cb.Currency() == cache.Current {
		select {
		case <-through:
			if cb.Currency() == cache.Current {
				t.Fatal("the flush is through while b serves what it has not purged")
			}
		case <-time.After(time.Millisecond):
		}
	}
	close(release)
	<-through
	if !b.has("original /p/1") {
		t.Error("the flush is through, and b has not purged it")
	}
}

// However many purges a disk cannot keep, few are remembered, and what is tried again stands for all.
func TestADiskThatFailsForManyPurges(t *testing.T) {
	failing := true
	n := &fakeNode{fail: func(r purge.Request) error {
		if failing {
			return errors.New("the disk is full")
		}
		return nil
	}}
	c := new(Cluster)
	c.node.Store(&joinedNode{n})
	c.o, _ = (&Options{Name: "a"}).withDefaults()
	r := &reader{c: c}
	for i := range 3 * maxFailed {
		r.accept(t.Context(), []purge.Request{paths(fmt.Sprint("/p/", i))})
		if len(r.failed) == 0 || len(r.failed) > maxFailed {
			t.Fatalf("after %d: %d are to be tried again", i, len(r.failed))
		}
	}
	failing, r.pause = false, 0
	r.accept(t.Context(), nil)
	if len(r.failed) > 0 || n.all() != 1 {
		t.Errorf("%d are left, and %q was carried out", len(r.failed), n.accepted)
	}
	failing = true
	ctx, cancel := context.WithCancel(t.Context())
	r.accept(ctx, []purge.Request{paths("/p/a")})
	cancel()
	r.pause = 0
	r.accept(ctx, []purge.Request{paths("/p/b")})
	if len(r.failed) != 1 {
		t.Errorf("when the reading ended: %v", r.failed)
	}
}

// The server comes back with nothing: buckets are made anew as well, jobs that go on are written again, and the others hear of them.
func TestBucketsOfAServerThatForgets(t *testing.T) {
	s := faulty.StartServer(t, t.TempDir(), -1)
	port := s.Addr().(*net.TCPAddr).Port
	var a, b fakeNode
	ca := start(t, s.ClientURL(), "a", &a, Options{})
	cb := start(t, s.ClientURL(), "b", &b, Options{})
	ready(t, ca, cb)
	goesOn := purge.LogEntry{ID: "018bcfe5-0000-7000-8000-000000000001", Data: []byte("1"), Owner: "a"}
	for range 20 { // so that revisions of before are greater than those that come
		if err := ca.jobs.Write([]purge.LogEntry{{ID: "018bcfe5-0000-7000-8000-000000000000", Data: []byte("1"), Final: true}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := ca.jobs.Write([]purge.LogEntry{goesOn}, nil); err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	s.WaitForShutdown()
	faulty.StartServer(t, t.TempDir(), port)
	eventually(t, "everything was purged again", func() bool { return a.all() == 2 && b.all() == 2 })
	ready(t, ca, cb)
	eventually(t, "a job that goes on is written", func() bool { return ca.jobs.Write([]purge.LogEntry{goesOn}, nil) == nil })
	eventually(t, "b hears of it", func() bool {
		for e := range cb.jobs.Unfinished() {
			if e.ID == goesOn.ID && e.Owner == "a" {
				return true
			}
		}
		return false
	})
	eventually(t, "b finds a name that a has told", func() bool {
		ca.Commit(cat, answer("1", time.Now()), ca.Position())
		return cb.Lookup(t.Context(), cat) != nil
	})
}

// A disk whose position is in an end that the stream has lost, while others went on: what is in the place of what it had carried out, it has not.
func TestAPositionInAnEndThatWasLost(t *testing.T) {
	s := faulty.StartServer(t, t.TempDir(), -1)
	var a, b fakeNode
	ca := start(t, s.ClientURL(), "a", &a, Options{})
	cb := start(t, s.ClientURL(), "b", &b, Options{})
	ready(t, ca, cb)
	if err := ca.Accept(t.Context(), paths("/p/1")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b has kept its position", func() bool { return b.Position().Seq > 0 })
	cb.Close()
	time.Sleep(cb.o.beatTTL()) // its position is that of a beat which nobody can read any more
	began := time.Now().Add(-time.Millisecond)
	if err := ca.Accept(t.Context(), paths("/p/2")); err != nil {
		t.Fatal(err)
	}
	kept := cache.Position{Log: b.position.Log, Seq: ca.Position() + 1, Time: began.UnixNano()}
	eventually(t, "the stream goes on", func() bool { return ca.Position() > kept.Seq })
	time.Sleep(cb.o.beatTTL() + time.Second)
	b.position, b.accepted = kept, nil
	cb = start(t, s.ClientURL(), "b", &b, Options{})
	eventuallyCurrent(t, cb)
	if b.all() != 1 {
		t.Errorf("b is current, and has carried out %q", b.accepted)
	}
}
