package purge

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fakeNodes are the nodes that others names, beside a; each does what flush says, and nothing without it.
type fakeNodes struct {
	others []string
	flush  func(ctx context.Context, node string, f NodeFlush) NodeResult // zero: no result
	whole  func(ctx context.Context, f NodeFlush, report func(NodeResult))

	mu      sync.Mutex
	flushes []NodeFlush
}

func (n *fakeNodes) Self() string          { return "a" }
func (n *fakeNodes) Lost(node string) bool { return false }

func (n *fakeNodes) Flush(ctx context.Context, f NodeFlush, report func(NodeResult)) {
	n.mu.Lock()
	n.flushes = append(n.flushes, f)
	n.mu.Unlock()
	if n.whole != nil {
		n.whole(ctx, f, report)
		return
	}
	for _, name := range n.others {
		report(NodeResult{Name: name, State: FlushingServers})
		r := NodeResult{Name: name, State: Done, Outcome: Flushed, Derivatives: 2}
		if n.flush != nil {
			r = n.flush(ctx, name, f)
		}
		if ctx.Err() != nil {
			return
		}
		if r.Name != "" {
			report(r)
		}
	}
}

// told is what each flush had, one line for each.
func (n *fakeNodes) told() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	flushes := slices.Clone(n.flushes)
	slices.SortStableFunc(flushes, func(a, b NodeFlush) int { return cmp.Or(a.Attempt-b.Attempt, strings.Compare(a.ID, b.ID)) })
	var lines []string
	for _, f := range flushes {
		lines = append(lines, fmt.Sprintf("%d %s", f.Attempt, strings.Join(f.Paths, ",")))
	}
	return strings.Join(lines, "\n")
}

// of returns how nodes stand in a record, as "b done flushed, c error failed".
func nodesOf(r Record) string {
	var all []string
	for _, n := range r.Nodes {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s", n.Name, n.State, n.Outcome)))
	}
	return strings.Join(all, ", ")
}

// From the inside out: here, then on all nodes, and then CDNs. These hear of what was flushed, and of nothing else; nodes also of what has not changed here: they may have
// something older, and the job waits until they have carried it out.
func TestNodesHearBeforeCDNs(t *testing.T) {
	var mu sync.Mutex
	var order []string
	note := func(s string) { mu.Lock(); order = append(order, s); mu.Unlock() }
	target := &fake{path: func(_ context.Context, path string, _ Mode) (PathResult, error) {
		note("here " + path)
		switch path {
		case "/p/same":
			return PathResult{Outcome: Unchanged}, nil
		case "/p/bad":
			return PathResult{}, Permanent(fmt.Errorf("no"))
		}
		return PathResult{Derivatives: 1}, nil
	}}
	nodes := &fakeNodes{others: []string{"c", "b"}, flush: func(_ context.Context, name string, f NodeFlush) NodeResult {
		time.Sleep(time.Second)
		note(name)
		return NodeResult{Name: name, State: Done, Outcome: Flushed, Originals: 1, Derivatives: 3, Composites: 1, Bytes: 10}
	}}
	cdns := &fakeCDNs{names: []string{"edge"}, flush: func(_ context.Context, name string, _ []string) CDNResult {
		note(name)
		return CDNResult{Name: name, State: Done, Outcome: Accepted}
	}}
	var told events
	bubble(t, target, &ServiceOptions{CDNs: cdns, Nodes: nodes}, func(t *testing.T, s *Service) {
		j := submit(t, s, told.add, "/p/a", "/p/same", "/p/b")
		time.Sleep(time.Second / 2)
		synctest.Wait()
		if r := j.Record(); r.State != FlushingServers || nodesOf(r) != "c flushing_servers" || s.Stats().Flushing != 1 || s.Stats().Working != 0 {
			t.Errorf("while nodes are asked: %s, %s", r.State, nodesOf(r))
		}
		r := wait(t, j)
		if r.State != Done || nodesOf(r) != "b done flushed, c done flushed" || r.Nodes[0].Bytes != 10 || r.Nodes[0].Derivatives != 3 || r.Err() != nil {
			t.Errorf("got %+v", r)
		}
		if got := strings.Join(order, " "); got != "here /p/a here /p/same here /p/b c b edge" {
			t.Errorf("the order was %s", got)
		}
		synctest.Wait()
		if got := told.states(); !slices.Equal(got, []State{Received, Preparing, FlushingServers, FlushingCDN, Done}) {
			t.Errorf("states are %v", got)
		}
		before := cdns.told()
		j = submit(t, s, nil, "/p/same")
		if r = wait(t, j); r.State != Done || nodesOf(r) != "b done flushed, c done flushed" || cdns.told() != before || len(r.History) != 4 {
			t.Errorf("nothing flushed: %+v", r)
		}
		if r = wait(t, submit(t, s, nil, "/p/a", "/p/bad")); r.State != Error || nodesOf(r) != "b done flushed, c done flushed" || cdns.told() == "" {
			t.Errorf("a path failed here: %+v", r)
		}
		j, err := s.Submit(t.Context(), Request{Paths: []string{"/p/a"}, Mode: Followed, Cause: ByOrigin}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if r = wait(t, j); r.State != Done || r.Nodes != nil {
			t.Errorf("followed: %+v", r)
		}
		j, err = s.Submit(t.Context(), Request{Scope: All, Source: "p", Mode: Stale}, nil)
		if err != nil {
			t.Fatal(err)
		}
		wait(t, j)
		if f := nodes.flushes[3]; f.ID != j.ID() || f.Scope != All || f.Source != "p" || f.Mode != Stale || f.Paths[0] != "/p/*" {
			t.Errorf("got %+v", f)
		}
		if n := s.Stats().Nodes; n[Flushed] != 8 || n[Left] != 0 || n[Failing] != 0 {
			t.Errorf("counted %v", n)
		}
	})
	if got := nodes.told(); got != "1 /p/a,/p/same,/p/b\n1 /p/same\n1 /p/a\n1 /p/*" {
		t.Errorf("told\n%s", got)
	}
}

// A node fails: no CDN hears of the purge, the job says which node and why, and Retry has all do again what was flushed, and then tells CDNs.
func TestANodeThatFailsIsAskedAgainByRetry(t *testing.T) {
	fails := true
	nodes := &fakeNodes{others: []string{"b", "c"}, flush: func(_ context.Context, name string, f NodeFlush) NodeResult {
		if name == "c" && fails {
			return NodeResult{Name: name, State: Error, Reason: "disk\nfull", Derivatives: 1}
		}
		return NodeResult{Name: name, State: Done, Outcome: Flushed, Derivatives: 2}
	}}
	cdns := &fakeCDNs{names: []string{"edge"}}
	bad := true
	target := &fake{path: func(_ context.Context, path string, _ Mode) (PathResult, error) {
		if path == "/p/bad" && bad {
			return PathResult{}, Permanent(fmt.Errorf("no"))
		}
		return PathResult{}, nil
	}}
	bubble(t, target, &ServiceOptions{CDNs: cdns, Nodes: nodes}, func(t *testing.T, s *Service) {
		j := submit(t, s, nil, "/p/a", "/p/bad")
		r := wait(t, j)
		if r.State != Error || nodesOf(r) != "b done flushed, c error failed" || r.CDNs[0].State != Error || len(r.CDNs[0].Failed) != 1 {
			t.Errorf("got %+v", r)
		}
		if err := r.Err(); err == nil || !strings.Contains(err.Error(), "failed on the nodes c: disk full") {
			t.Errorf("the error is %v", err)
		}
		bad = false
		s.Retry(t.Context(), j.ID())
		if r = wait(t, j); r.State != Error || r.Attempt != 2 || nodesOf(r) != "b done flushed, c error failed" {
			t.Errorf("the second attempt: %+v", r)
		}
		if got := cdns.told(); got != "" {
			t.Errorf("CDNs are told %s", got)
		}
		fails = false
		s.Retry(t.Context(), j.ID())
		if r = wait(t, j); r.State != Done || nodesOf(r) != "b done flushed, c done flushed" || r.CDNs[0].State != Done || r.Err() != nil {
			t.Errorf("the third attempt: %+v", r)
		}
		if r.Nodes[0].Derivatives != 6 || r.Nodes[1].Derivatives != 4 {
			t.Errorf("removed there: %+v", r.Nodes)
		}
		if _, err := s.Retry(t.Context(), j.ID()); err != ErrNothingFailed {
			t.Errorf("the fourth: %v", err)
		}
	})
	if got := nodes.told(); got != "1 /p/a\n2 /p/a,/p/bad\n3 /p/a,/p/bad" {
		t.Errorf("nodes are told\n%s", got)
	}
	if got := cdns.told(); got != "3 edge /p/a,/p/bad" && got != "3 edge /p/bad,/p/a" {
		t.Errorf("CDNs are told\n%s", got)
	}
}

// What a ring is that ends badly: never a job that is done.
func TestARingThatEndsWithoutResults(t *testing.T) {
	for _, tt := range []struct {
		name  string
		whole func(ctx context.Context, f NodeFlush, report func(NodeResult))
		want  State
		nodes string
		text  string // of the error or the summary
	}{
		{"no node but this one", func(context.Context, NodeFlush, func(NodeResult)) {}, Done, "", ""},
		{"a node that left", func(_ context.Context, _ NodeFlush, report func(NodeResult)) {
			report(NodeResult{Name: "b", State: Done, Outcome: Left, Reason: "cut off"})
		}, Done, "b done left", "without b"},
		{"a node without an end", func(_ context.Context, _ NodeFlush, report func(NodeResult)) {
			report(NodeResult{Name: "b", State: FlushingServers})
			report(NodeResult{Name: "c", State: Done})
		}, Error, "b error failed, c done flushed", "failed on the nodes b: ended without a result"},
		{"a panic before any result", func(context.Context, NodeFlush, func(NodeResult)) { panic("oh") }, Error, "* error failed", "failed on other nodes: internal error"},
		{"a panic after a result", func(_ context.Context, _ NodeFlush, report func(NodeResult)) {
			report(NodeResult{Name: "b", State: Done})
			panic("oh")
		}, Error, "* error failed, b done flushed", "failed on other nodes: internal error"},
		{"the goroutine ends", func(_ context.Context, _ NodeFlush, report func(NodeResult)) {
			report(NodeResult{Name: "b", State: Received})
			runtime.Goexit()
		}, Error, "b error failed", "ended without a result"},
		{"states that nodes have not", func(_ context.Context, _ NodeFlush, report func(NodeResult)) {
			report(NodeResult{Name: "b", State: "dancing"})
			report(NodeResult{Name: "b", State: Expired, Outcome: Flushed})
			report(NodeResult{Name: "b", State: Done}) // too late
		}, Error, "b error failed", "failed on the nodes b: failed without saying why"},
		{"too many nodes", func(_ context.Context, _ NodeFlush, report func(NodeResult)) {
			for i := range maxNodes + 1 {
				report(NodeResult{Name: fmt.Sprintf("%04d", i), State: Done})
			}
		}, Error, "many", "more than 1000 nodes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cdns := &fakeCDNs{names: []string{"edge"}}
			var late func(NodeResult)
			nodes := &fakeNodes{whole: func(ctx context.Context, f NodeFlush, report func(NodeResult)) {
				late = report
				tt.whole(ctx, f, report)
			}}
			bubble(t, &fake{}, &ServiceOptions{Nodes: nodes, CDNs: cdns}, func(t *testing.T, s *Service) {
				j := submit(t, s, nil, "/p/a")
				r := wait(t, j)
				got := nodesOf(r)
				if tt.nodes == "many" {
					got = "many"
				}
				if r.State != tt.want || got != tt.nodes {
					t.Errorf("%s: %.200s", r.State, nodesOf(r))
				}
				if text := fmt.Sprint(r.Err()) + r.summary(); !strings.Contains(text, tt.text) {
					t.Errorf("it says %.300s", text)
				}
				if told := cdns.told() != ""; told != (tt.want == Done) {
					t.Errorf("CDNs are told: %v", told)
				}
				late(NodeResult{Name: "z", State: Error})
				if r, _ := s.Get(j.ID()); r.State != tt.want || strings.Contains(nodesOf(r), "z ") {
					t.Errorf("a late result counts: %+v", r)
				}
				if tt.want == Error { // and all is well again
					nodes.whole = func(_ context.Context, _ NodeFlush, report func(NodeResult)) {
						report(NodeResult{Name: "c", State: Done})
					}
					if _, err := s.Retry(t.Context(), j.ID()); err != nil {
						t.Fatal(err)
					}
					if r := wait(t, j); r.State != Done || cdns.told() == "" || strings.Contains(nodesOf(r), "*") || strings.Contains(nodesOf(r), "error") {
						t.Errorf("the retry: %s %.200s", r.State, nodesOf(r))
					}
				}
				if n := s.Stats(); n.Flushing != 0 || n.Active[FlushingServers] != 0 {
					t.Errorf("it counts %+v", n)
				}
			})
		})
	}
}

// A node that never answers keeps no worker, and no Close.
func TestANodeThatNeverAnswers(t *testing.T) {
	nodes := &fakeNodes{others: []string{"b"}, flush: func(ctx context.Context, _ string, _ NodeFlush) NodeResult {
		<-ctx.Done()
		return NodeResult{}
	}}
	cdns := &fakeCDNs{names: []string{"edge"}}
	t.Run("in memory", func(t *testing.T) {
		bubble(t, &fake{}, &ServiceOptions{Nodes: nodes, CDNs: cdns, Workers: 1, MaxFlushing: 10}, func(t *testing.T, s *Service) {
			var jobs []*Job
			for i := range 10 {
				jobs = append(jobs, submit(t, s, nil, fmt.Sprintf("/p/%d", i)))
				synctest.Wait()
			}
			if _, err := s.Submit(t.Context(), Request{Paths: []string{"/p/y"}}, nil); ErrorCode(err) != ErrorCode(ErrBusy) {
				t.Errorf("the error is %v", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if r, err := jobs[0].Wait(ctx); err != context.DeadlineExceeded || r.State != FlushingServers || r.Paths[0].State != Done {
				t.Errorf("got %+v, %v", r, err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			for _, j := range jobs {
				if r := wait(t, j); r.State != Error || nodesOf(r) != "b error failed" || r.Nodes[0].Reason != whyClosed {
					t.Errorf("got %+v", r)
				}
			}
		})
	})
	t.Run("with a log", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			log := new(MemoryLog)
			s := open(t, &fake{}, ServiceOptions{Log: log, Nodes: nodes, CDNs: cdns})
			j := submit(t, s, nil, "/p/a")
			synctest.Wait()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if r, err := j.Wait(t.Context()); err != ErrClosed || r.State != FlushingServers {
				t.Errorf("got %+v, %v", r, err)
			}
			calls := 0
			s = open(t, &fake{path: func(context.Context, string, Mode) (PathResult, error) { calls++; return PathResult{}, nil }},
				ServiceOptions{Log: log, Nodes: &fakeNodes{others: []string{"c"}}, CDNs: cdns})
			time.Sleep(time.Second)
			if r, err := s.Get(j.ID()); err != nil || r.State != Done || nodesOf(r) != "c done flushed" || r.Attempt != 1 || calls != 0 {
				t.Errorf("then %+v, %v, %d paths again", r, err, calls)
			}
			s.Close()
		})
	})
	if got := cdns.told(); got != "1 edge /p/a" {
		t.Errorf("CDNs are told\n%s", got)
	}
}

// Jobs that share their work ask nodes once, and each has the results; a retry for nodes alone shares nothing with another's.
func TestSharedWorkAsksNodesOnce(t *testing.T) {
	release := make(chan struct{})
	var fails atomic.Bool
	nodes := &fakeNodes{others: []string{"b"}, flush: func(_ context.Context, name string, f NodeFlush) NodeResult {
		if fails.Load() {
			return NodeResult{Name: name, State: Error, Reason: "no"}
		}
		return NodeResult{Name: name, State: Done}
	}}
	synctest.Test(t, func(t *testing.T) {
		release = make(chan struct{})
		target := &fake{path: func(ctx context.Context, path string, m Mode) (PathResult, error) {
			if path == "/p/slow" {
				return hold(release)(ctx, path, m)
			}
			return PathResult{}, nil
		}}
		s := NewService(target, &ServiceOptions{Nodes: nodes, Workers: 1})
		defer s.Close()
		fails.Store(true)
		slow := submit(t, s, nil, "/p/slow")
		x, y, z := submit(t, s, nil, "/p/a"), submit(t, s, nil, "/p/a"), submit(t, s, nil, "/p/b")
		close(release)
		for _, j := range []*Job{slow, x, y, z} {
			if r := wait(t, j); r.State != Error || nodesOf(r) != "b error failed" {
				t.Errorf("got %+v", r)
			}
		}
		if n := len(nodes.flushes); n != 3 {
			t.Errorf("asked %d times, want 3", n)
		}
		fails.Store(false)
		release = make(chan struct{})
		slow = submit(t, s, nil, "/p/slow")
		for _, j := range []*Job{x, y, z} {
			if _, err := s.Retry(t.Context(), j.ID()); err != nil {
				t.Fatal(err)
			}
		}
		if n := s.Stats().Waiting; n != 3 {
			t.Errorf("%d wait", n)
		}
		close(release)
		for _, j := range []*Job{slow, x, y, z} {
			if r := wait(t, j); r.State != Done || nodesOf(r) != "b done flushed" {
				t.Errorf("then %+v", r)
			}
		}
		var asked []string
		for _, f := range nodes.flushes[3:] {
			asked = append(asked, f.Paths...)
		}
		slices.Sort(asked)
		if got := strings.Join(asked, " "); got != "/p/a /p/b /p/slow" {
			t.Errorf("asked again for %s", got)
		}
		release = make(chan struct{}) // a retry that is cancelled can be retried
		fails.Store(true)
		j := submit(t, s, nil, "/p/c")
		wait(t, j)
		slow = submit(t, s, nil, "/p/slow")
		s.Retry(t.Context(), j.ID())
		if _, err := s.Cancel(t.Context(), j.ID()); err != nil {
			t.Fatal(err)
		}
		if r := wait(t, j); r.State != Expired || nodesOf(r) != "b error failed" {
			t.Errorf("cancelled: %+v", r)
		}
		fails.Store(false)
		close(release)
		s.Retry(t.Context(), j.ID())
		if r := wait(t, j); r.State != Done || nodesOf(r) != "b done flushed" {
			t.Errorf("retried: %+v", r)
		}
	})
}

// What has not changed on one node may have been something else on another, and CDNs may have that from there.
func TestCDNsHearOfWhatWasSomethingElseOnANode(t *testing.T) {
	target := &fake{path: func(_ context.Context, path string, _ Mode) (PathResult, error) {
		if path == "/p/same" {
			return PathResult{Outcome: Unchanged}, nil
		}
		return PathResult{Outcome: Changed, Derivatives: 1}, nil
	}}
	for _, test := range []struct {
		name string
		node NodeResult
		mode Mode
		want string
	}{
		{"the same", NodeResult{Outcome: Flushed}, Revalidate, "1 edge /p/other"},
		{"something else", NodeResult{Outcome: Flushed, Changed: true}, Revalidate, "1 edge /p/other,/p/same"},
		{"something else, and stale", NodeResult{Outcome: Flushed, Changed: true}, Stale, "1 edge /p/other,/p/same"},
		{"nobody knows", NodeResult{Outcome: Left}, Revalidate, "1 edge /p/other,/p/same"},
		{"in a mode that does not compare", NodeResult{Outcome: Left}, Delete, "1 edge /p/other"},
	} {
		t.Run(test.name, func(t *testing.T) {
			nodes := &fakeNodes{others: []string{"b", "c"}, flush: func(_ context.Context, name string, f NodeFlush) NodeResult {
				r := NodeResult{Name: name, State: Done, Outcome: Flushed}
				if name == "c" {
					r = test.node
					r.Name, r.State = name, Done
				}
				return r
			}}
			cdns := &fakeCDNs{names: []string{"edge"}, flush: func(_ context.Context, name string, _ []string) CDNResult {
				return CDNResult{Name: name, State: Done, Outcome: Accepted}
			}}
			bubble(t, target, &ServiceOptions{CDNs: cdns, Nodes: nodes}, func(t *testing.T, s *Service) {
				j, err := s.Submit(t.Context(), Request{Paths: []string{"/p/other", "/p/same"}, Mode: test.mode}, nil)
				if err != nil {
					t.Fatal(err)
				}
				if r := wait(t, j); r.State != Done || len(r.CDNs) != 1 || r.CDNs[0].State != Done {
					t.Errorf("got %+v", r)
				}
				if got := cdns.told(); got != test.want {
					t.Errorf("told %q, want %q", got, test.want)
				}
			})
		})
	}
}

// What a node has removed is in the record also when the service is closed, in order, before all nodes have answered.
func TestRingThatIsClosedInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(MemoryLog)
		first := true
		nodes := &fakeNodes{whole: func(ctx context.Context, f NodeFlush, report func(NodeResult)) {
			if first {
				report(NodeResult{Name: "b", State: Done, Outcome: Flushed, Derivatives: 3})
				report(NodeResult{Name: "c", State: FlushingServers})
				<-ctx.Done()
				return
			}
			report(NodeResult{Name: "b", State: Done, Outcome: Flushed}) // nothing is left to remove
			report(NodeResult{Name: "c", State: Done, Outcome: Flushed})
		}}
		target := &fake{}
		o := &ServiceOptions{Nodes: nodes, Log: log, CloseTimeout: -1}
		s, err := Open(t.Context(), target, o)
		if err != nil {
			t.Fatal(err)
		}
		j := submit(t, s, nil, "/p/a")
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		id := j.ID()
		s.Close()
		first = false
		s, err = Open(t.Context(), target, o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		r, err := s.Get(id)
		if err != nil || r.State != Done {
			t.Fatal(r.State, err)
		}
		if r.Nodes[0].Derivatives != 3 {
			t.Errorf("node b removed 3, and the record says %d: %+v", r.Nodes[0].Derivatives, r.Nodes)
		}
	})
}
