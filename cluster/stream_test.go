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

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/cluster/internal/faulty"
	"github.com/imagecdn/imagecdn/purge"
)

func TestAPurgeIsCarriedOutOnAllNodes(t *testing.T) {
	s := faulty.StartServer(t, t.TempDir(), -1)
	var nodes [3]fakeNode
	var cs []*Cluster
	for i := range nodes {
		nodes[i].result = purge.PathResult{Derivatives: i, Bytes: 10}
		cs = append(cs, start(t, s.ClientURL(), fmt.Sprint("n", i), &nodes[i], Options{}))
	}
	ready(t, cs...)
	for i, c := range cs {
		path := fmt.Sprintf("/photos/%d.jpg", i)
		if err := c.Accept(t.Context(), paths(path)); err != nil {
			t.Fatal(err)
		}
		if !nodes[i].has("original " + path) {
			t.Errorf("Accept returned before it was carried out on %s", c.Self())
		}
		got := make(map[string]purge.NodeResult)
		c.Flush(t.Context(), purge.NodeFlush{ID: "x", Paths: []string{path}}, func(r purge.NodeResult) { got[r.Name] = r })
		if len(got) != 2 {
			t.Errorf("results of %d nodes: %v", len(got), got)
		}
		for j := range nodes {
			if j == i {
				continue
			}
			if !nodes[j].has("original " + path) {
				t.Errorf("%s answered before it had carried the purge out", cs[j].Self())
			}
			want := purge.NodeResult{Name: cs[j].Self(), State: purge.Done, Outcome: purge.Flushed, Derivatives: j, Bytes: 10}
			if got[cs[j].Self()] != want {
				t.Errorf("got %+v, want %+v", got[cs[j].Self()], want)
			}
		}
		if len(nodes[i].flushed) != i {
			t.Errorf("%s was asked to flush its own purge: %q", c.Self(), nodes[i].flushed)
		}
	}
}

// What was missed is carried out before a node is current again.
func TestANodeThatWasAwayCatchesUpFirst(t *testing.T) {
	s := faulty.StartServer(t, t.TempDir(), -1)
	var a, b fakeNode
	ca := start(t, s.ClientURL(), "a", &a, Options{})
	cb := start(t, s.ClientURL(), "b", &b, Options{})
	ready(t, ca, cb)
	if err := ca.Accept(t.Context(), paths("/p/1")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b has the first", func() bool { return b.has("original /p/1") })
	eventually(t, "b has kept how far it is", func() bool { return b.Position().Seq > 0 })
	cb.Close()
	for i := 2; i < 2000; i++ {
		if err := ca.Accept(t.Context(), paths(fmt.Sprint("/p/", i))); err != nil {
			t.Fatal(err)
		}
	}
	b.accepted = nil
	cb = start(t, s.ClientURL(), "b", &b, Options{})
	for cb.Ready() != nil {
		time.Sleep(time.Millisecond)
	}
	if b.has("original /p/1") {
		t.Error("what was carried out before was carried out again")
	}
	if n := b.count(); n != 1998 {
		t.Errorf("when it was ready it had carried out %d of 1998", n)
	}
	if b.has("all ") {
		t.Error("it began with nothing")
	}
}

func TestWhatCannotBeTrustedIsForgotten(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(p cache.Position) cache.Position
		forget bool
	}{
		{"as it was left", func(p cache.Position) cache.Position { return p }, false},
		{"a disk that was no part of the cluster", func(p cache.Position) cache.Position { return cache.Position{} }, true},
		{"another stream", func(p cache.Position) cache.Position { p.Log = "other"; return p }, true},
		{"a stream that has lost its end", func(p cache.Position) cache.Position { p.Seq += 1000; return p }, true},
		{"another past", func(p cache.Position) cache.Position { p.Time++; return p }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := faulty.StartServer(t, t.TempDir(), -1)
			var n fakeNode
			c := start(t, s.ClientURL(), "a", &n, Options{})
			ready(t, c)
			if err := c.Accept(t.Context(), paths("/p/1")); err != nil {
				t.Fatal(err)
			}
			eventually(t, "its position is kept", func() bool { return n.Position().Seq > 0 })
			c.Close()
			n.position = test.change(n.position)
			n.accepted = nil
			c = start(t, s.ClientURL(), "a", &n, Options{})
			ready(t, c)
			if got := n.has("all "); got != test.forget {
				t.Errorf("everything was purged: %v; carried out: %q", got, n.accepted)
			}
		})
	}
}

// A node that is cut off is not current for longer than the bound, whoever else takes it for lost does so later, and it refuses purges.
func TestCutOff(t *testing.T) {
	for _, available := range []bool{false, true} {
		t.Run(fmt.Sprint("available ", available), func(t *testing.T) {
			s := faulty.StartServer(t, t.TempDir(), -1)
			link := faulty.NewLink(t, s.Addr().String())
			var a, b fakeNode
			o := Options{Available: available}
			ca := start(t, s.ClientURL(), "a", &a, o)
			cb := start(t, link.URL(), "b", &b, o)
			ready(t, ca, cb)
			link.Cut()
			var got []purge.NodeResult
			if err := ca.Accept(t.Context(), paths("/p/1")); err != nil {
				t.Fatal(err)
			}
			ca.Flush(t.Context(), purge.NodeFlush{ID: "1", Paths: []string{"/p/1"}}, func(r purge.NodeResult) { got = append(got, r) })
			if cb.Currency() == cache.Current {
				t.Error("b was lost while it was current")
			}
			if want := cache.CutOff; !available && cb.Currency() != want {
				t.Errorf("b is %v", cb.Currency())
			}
			if want := cache.CutOffServing; available && cb.Currency() != want {
				t.Errorf("b is %v", cb.Currency())
			}
			if last := got[len(got)-1]; last.Name != "b" || last.Outcome != purge.Left || last.State != purge.Done {
				t.Errorf("got %+v", got)
			}
			if !ca.Lost("b") || ca.Lost("a") || cb.Lost("a") {
				t.Errorf("lost: b for a %v, a for itself %v, a for b %v", ca.Lost("b"), ca.Lost("a"), cb.Lost("a"))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := cb.Accept(ctx, paths("/p/2")); !errors.Is(err, errCutOff) {
				t.Errorf("a purge by a node that is cut off: %v", err)
			}
			if cb.Ready() == nil {
				t.Error("a node that is cut off is ready")
			}
			link.Mend()
			eventually(t, "b is current", func() bool { return cb.Currency() == cache.Current })
			if !b.has("original /p/1") {
				t.Error("b was current before it had carried out what it missed")
			}
			if a.has("original /p/2") {
				t.Error("what was refused was carried out")
			}
			eventually(t, "a sees b", func() bool { return !ca.Lost("b") })
		})
	}
}

// The server goes away and comes back, with what it had.
func TestServerRestarts(t *testing.T) {
	dir := t.TempDir()
	s := faulty.StartServer(t, dir, -1)
	port := s.Addr().(*net.TCPAddr).Port
	var a, b fakeNode
	ca := start(t, s.ClientURL(), "a", &a, Options{})
	cb := start(t, s.ClientURL(), "b", &b, Options{})
	ready(t, ca, cb)
	if err := ca.Accept(t.Context(), paths("/p/1")); err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	s.WaitForShutdown()
	eventually(t, "both are cut off", func() bool { return ca.Ready() != nil && cb.Ready() != nil })
	faulty.StartServer(t, dir, port)
	ready(t, ca, cb)
	if err := cb.Accept(t.Context(), paths("/p/2")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a has the second", func() bool { return a.has("original /p/2") })
	if got := strings.Join(a.accepted, ","); strings.Count(got, "all") != 1 { // the one with which a new node begins
		t.Errorf("a has carried out %q", got)
	}
}

// The server comes back with nothing: nobody knows what was purged.
func TestServerForgets(t *testing.T) {
	s := faulty.StartServer(t, t.TempDir(), -1)
	port := s.Addr().(*net.TCPAddr).Port
	var a fakeNode
	ca := start(t, s.ClientURL(), "a", &a, Options{})
	ready(t, ca)
	s.Shutdown()
	s.WaitForShutdown()
	faulty.StartServer(t, t.TempDir(), port)
	eventually(t, "everything was purged again", func() bool { return a.count() == 2 })
	eventually(t, "it is ready", func() bool { return ca.Ready() == nil })
}

func TestTwoProcessesOfOneName(t *testing.T) {
	s := faulty.StartServer(t, t.TempDir(), -1)
	var old, young fakeNode
	co := start(t, s.ClientURL(), "a", &old, Options{})
	ready(t, co)
	cy := start(t, s.ClientURL(), "a", &young, Options{})
	eventually(t, "the old one serves nothing", func() bool { return co.Currency() == cache.CutOff && co.Ready() != nil })
	eventually(t, "the young one is ready", func() bool { return cy.Ready() == nil })
	if err := co.Accept(t.Context(), paths("/p/1")); err == nil {
		t.Error("the old one accepts purges")
	}
	job := []purge.LogEntry{{ID: "018bcfe5-0000-7000-8000-000000000001", Data: []byte("1")}}
	if err := cy.jobs.Write(job, nil); err != nil {
		t.Error(err)
	}
	if err := co.jobs.Write(job, nil); !errors.Is(err, errUsurped) {
		t.Errorf("the old one writes the jobs of the young one: %v", err)
	}
	if err := cy.Accept(t.Context(), paths("/p/2")); err != nil {
		t.Error(err)
	}
}

// What a disk cannot keep is carried out in memory, tried again, and the position stays behind it.
func TestADiskThatFails(t *testing.T) {
	s := faulty.StartServer(t, t.TempDir(), -1)
	var a fakeNode
	var failing sync.Map
	a.fail = func(r purge.Request) error {
		if _, fails := failing.Load(strings.Join(r.Paths, "")); fails {
			return errors.New("the disk is full")
		}
		return nil
	}
	ca := start(t, s.ClientURL(), "a", &a, Options{})
	ready(t, ca)
	if err := ca.Accept(t.Context(), paths("/p/1")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the position is kept", func() bool { return a.Position().Seq > 0 })
	before := a.Position()
	failing.Store("/p/2", true)
	for _, p := range []string{"/p/2", "/p/3"} {
		if err := ca.Accept(t.Context(), paths(p)); err != nil {
			t.Fatal(err)
		}
	}
	if a.Position() != before {
		t.Error("the position was kept beyond what the disk could not")
	}
	failing.Delete("/p/2")
	eventually(t, "it was tried again", func() bool { return a.has("original /p/2") })
	eventually(t, "the position goes on", func() bool { return a.Position().Seq > before.Seq })
}

func TestFlushOfANodeThatFails(t *testing.T) {
	s := faulty.StartServer(t, t.TempDir(), -1)
	var a, b fakeNode
	left := 2
	b.stuck = func(f purge.NodeFlush) bool { return f.ID == "cancelled" }
	b.flushErr = func(f purge.NodeFlush) error {
		if f.ID == "for ever" {
			return errors.New("the disk fails")
		}
		if left--; left >= 0 {
			return errors.New("once more")
		}
		return nil
	}
	ca := start(t, s.ClientURL(), "a", &a, Options{})
	cb := start(t, s.ClientURL(), "b", &b, Options{})
	ready(t, ca, cb)
	for id, want := range map[string]purge.NodeResult{
		"for ever":  {Name: "b", State: purge.Error, Outcome: purge.Failing, Reason: "the disk fails"},
		"two times": {Name: "b", State: purge.Done, Outcome: purge.Flushed},
	} {
		var last purge.NodeResult
		ca.Flush(t.Context(), purge.NodeFlush{ID: id, Paths: []string{"/p/1"}}, func(r purge.NodeResult) { last = r })
		if last != want {
			t.Errorf("%s: got %+v", id, last)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		time.Sleep(50 * time.Millisecond)
		cancel()
	}()
	ca.Flush(ctx, purge.NodeFlush{ID: "cancelled"}, func(purge.NodeResult) {})
}

func TestManyPurgesAtOnce(t *testing.T) {
	s := faulty.StartServer(t, t.TempDir(), -1)
	var nodes [3]fakeNode
	var cs []*Cluster
	for i := range nodes {
		cs = append(cs, start(t, s.ClientURL(), fmt.Sprint("n", i), &nodes[i], Options{}))
	}
	ready(t, cs...)
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			c := cs[i%3]
			if err := c.Accept(t.Context(), paths(fmt.Sprint("/p/", i))); err != nil {
				t.Error(err)
				return
			}
			n := 0
			c.Flush(t.Context(), purge.NodeFlush{ID: fmt.Sprint(i)}, func(r purge.NodeResult) {
				if r.State == purge.Done && r.Outcome == purge.Flushed {
					n++
				}
			})
			if n != 2 {
				t.Errorf("%d answered", n)
			}
		})
	}
	wg.Wait()
	for i := range nodes {
		if n := nodes[i].count(); n != 301 { // and the one with which it began
			t.Errorf("%d has carried out %d", i, n)
		}
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"Options.Name":      {Name: "a.b"},
		"Options.Prefix":    {Name: "a", Prefix: "x y"},
		"Options.Replicas":  {Name: "a", Replicas: 2},
		"Options.Bound":     {Name: "a", Bound: time.Millisecond},
		"Options.Retention": {Name: "a", Retention: time.Second},
		"Options.MaxPurges": {Name: "a", MaxPurges: 1},
	} {
		if _, err := o.withDefaults(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if o, err := (*Options)(nil).withDefaults(); err != nil || !nodeNames.MatchString(o.Name) {
		t.Errorf("%+v: %v", o, err)
	}
	if _, err := Connect(t.Context(), "nats://127.0.0.1:1", &Options{Name: "a"}); err == nil {
		t.Error("a server that is not there is no error")
	}
}

func TestRequestsInTheStream(t *testing.T) {
	long := paths()
	for i := range 1000 {
		long.Paths = append(long.Paths, fmt.Sprintf("/photos/summer/%d.jpg", i))
	}
	for _, r := range []purge.Request{paths("/p/1"), {Scope: purge.All, Source: "p", Mode: purge.Stale, Tenant: "t"}, {Scope: purge.Tag, Tags: []string{"a"}, Mode: purge.Revalidate}, long} {
		data, err := encode(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeRequest(data)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(r) {
			t.Errorf("%.200s became %.200s, %v", fmt.Sprint(r), fmt.Sprint(got), err)
		}
		if len(data) > 10_000 {
			t.Errorf("%d bytes", len(data))
		}
	}
	for _, data := range []string{"", "x", "{}", `{"scope":"original","what":1}`, `{"scope":"everything"}`, "\x28\xb5\x2f\xfd"} {
		if _, err := decodeRequest([]byte(data)); err == nil {
			t.Errorf("%q was read", data)
		}
	}
}

// A job of before a restart is flushed when this node knows again who else may serve, and not before.
func TestFlushOfAJobOfBeforeARestart(t *testing.T) {
	s := faulty.StartServer(t, t.TempDir(), -1)
	var a, b fakeNode
	ca := start(t, s.ClientURL(), "a", &a, Options{})
	cb := start(t, s.ClientURL(), "b", &b, Options{})
	ready(t, ca, cb)
	ca.Close()
	ca = start(t, s.ClientURL(), "a", &a, Options{})
	var last purge.NodeResult
	ca.Flush(t.Context(), purge.NodeFlush{ID: "1", Attempt: 1, Resumed: true, Paths: []string{"/p/1"}}, func(r purge.NodeResult) { last = r })
	if last.Name != "b" || last.Outcome != purge.Flushed {
		t.Errorf("got %+v", last)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	s.Shutdown()
	eventually(t, "a is cut off", func() bool { return ca.Ready() != nil })
	last = purge.NodeResult{}
	ca.Flush(ctx, purge.NodeFlush{ID: "2", Attempt: 1, Resumed: true, Paths: []string{"/p/1"}}, func(r purge.NodeResult) { last = r })
	if last.State.Final() {
		t.Errorf("a node that is cut off has the result %+v", last)
	}
}
