package purge_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/purgetest"
)

// A site is a few nodes with a log that they share. What a test sets is set before it is used.
type site struct {
	log *purgetest.SharedLog

	mu   sync.Mutex // guards all below
	lost map[string]bool
	done []string // "b purge /p/a", "b accept /p/a", "b resume /p/a"

	accept func(ctx context.Context, node string, r purge.Request) error
	path   func(ctx context.Context, node, path string) (purge.PathResult, error)
	flush  func(ctx context.Context, node string, f purge.NodeFlush, report func(purge.NodeResult))
	lag    func() time.Duration
}

func newSite() *site { return &site{log: purgetest.NewSharedLog(), lost: make(map[string]bool)} }

func (c *site) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = append(c.done, fmt.Sprintf(format, args...))
}

// count returns how often a thing was done.
func (c *site) count(what string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.done {
		if d == what {
			n++
		}
	}
	return n
}

func (c *site) lose(node string, lost bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost[node] = lost
}

// A member is a node of a site: its target and its view of the others.
type member struct {
	*site
	name string
}

func (m member) Accept(ctx context.Context, r purge.Request) error {
	m.note("%s accept %s", m.name, strings.Join(r.Paths, ","))
	if m.accept != nil {
		return m.accept(ctx, m.name, r)
	}
	return nil
}

func (m member) Resume(_ context.Context, r purge.Request) error {
	m.note("%s resume %s", m.name, strings.Join(r.Paths, ","))
	return nil
}

func (m member) PurgePath(ctx context.Context, path string, _ purge.Mode) (purge.PathResult, error) {
	m.note("%s purge %s", m.name, path)
	if m.path != nil {
		return m.path(ctx, m.name, path)
	}
	return purge.PathResult{Originals: 1}, nil
}

func (m member) PurgeAll(context.Context, string, purge.Mode) (purge.PathResult, error) {
	return purge.PathResult{}, nil
}

func (m member) Self() string { return m.name }

func (m member) Lost(node string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lost[node]
}

func (m member) Flush(ctx context.Context, f purge.NodeFlush, report func(purge.NodeResult)) {
	if m.flush != nil {
		m.flush(ctx, m.name, f, report)
	}
}

// A switched log is one that a node can be cut off from.
type switched struct {
	purge.SharedLog
	lag func() time.Duration // how late the watch tells; nil: at once
	mu  sync.Mutex
	off error
}

func (l *switched) Watch(ctx context.Context, changed func(purge.LogEntry)) {
	l.SharedLog.Watch(ctx, func(e purge.LogEntry) {
		if l.lag != nil {
			select {
			case <-time.After(l.lag()):
			case <-ctx.Done():
				return
			}
		}
		changed(e)
	})
}

func (l *switched) cut(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.off = err
}

func (l *switched) Write(put []purge.LogEntry, drop []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.off != nil {
		return l.off
	}
	return l.SharedLog.Write(put, drop)
}

func (l *switched) Take(e purge.LogEntry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.off != nil {
		return l.off
	}
	return l.SharedLog.Take(e)
}

var errCutOff = errors.New("the cluster is away")

// open starts a node's service.
func (c *site) open(t *testing.T, name string, o purge.ServiceOptions) (*purge.Service, *switched) {
	t.Helper()
	m := member{c, name}
	l := &switched{SharedLog: c.log.Node(name), lag: c.lag}
	o.Log, o.Nodes = l, m
	s, err := purge.Open(t.Context(), m, &o)
	if err != nil {
		t.Fatal(err)
	}
	return s, l
}

func submit(t *testing.T, s *purge.Service, paths ...string) *purge.Job {
	t.Helper()
	j, err := s.Submit(t.Context(), purge.Request{Paths: paths}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func get(t *testing.T, s *purge.Service, id string) purge.Record {
	t.Helper()
	r, err := s.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func closeAll(t *testing.T, all ...*purge.Service) {
	t.Helper()
	for _, s := range all {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// heard collects the events of a service, as "state" by job.
func heard(t *testing.T, s *purge.Service) func(id string) string {
	var mu sync.Mutex
	var all []purge.Event
	events := s.Events(t.Context(), "")
	go func() {
		for e, err := range events {
			if err != nil {
				return
			}
			mu.Lock()
			all = append(all, e)
			mu.Unlock()
		}
	}()
	return func(id string) string {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		var states []string
		for _, e := range all {
			if e.ID == id {
				states = append(states, fmt.Sprintf("%d %s", e.Seq, e.State))
			}
		}
		return strings.Join(states, ", ")
	}
}

func TestASharedLogTakesNodes(t *testing.T) {
	if _, err := purge.Open(t.Context(), member{newSite(), "a"}, &purge.ServiceOptions{Log: newSite().log.Node("a")}); err == nil || !strings.Contains(err.Error(), "ServiceOptions.Nodes") {
		t.Errorf("the error is %v", err)
	}
}

// A job of one node is seen on another as it goes on: listed, got, waited for, in events; it is not worked on there, and not told to the callback there.
func TestJobsOfOtherNodesAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSite()
		c.path = func(ctx context.Context, node, path string) (purge.PathResult, error) {
			time.Sleep(time.Second)
			if path == "/p/bad" {
				return purge.PathResult{}, purge.Permanent(errors.New("no"))
			}
			return purge.PathResult{Originals: 1}, nil
		}
		a, _ := c.open(t, "a", purge.ServiceOptions{})
		before := submit(t, a, "/p/0")
		b, _ := c.open(t, "b", purge.ServiceOptions{OnStatus: func(e purge.Event) {
			if e.Attempt == 1 {
				t.Errorf("b's callback is told %s", e)
			}
		}})
		defer closeAll(t, a, b)
		on := heard(t, b)
		j := submit(t, a, "/p/1", "/p/bad")
		synctest.Wait()
		if r := get(t, b, j.ID()); r.State.Final() || len(r.Paths) != 2 {
			t.Errorf("got %+v", r)
		}
		if _, err := b.Cancel(t.Context(), j.ID()); err != purge.ErrNotOwner {
			t.Errorf("Cancel: %v", err)
		}
		if _, err := b.Retry(t.Context(), j.ID()); err != purge.ErrNotFinished {
			t.Errorf("Retry: %v", err)
		}
		if n := b.Stats(); n.Followed != 2 || n.Records != 2 || n.Working != 0 || n.Active[purge.FlushingServers] != 0 {
			t.Errorf("b counts %+v", n)
		}
		if r, err := j.Wait(t.Context()); err != nil || r.State != purge.Error {
			t.Errorf("got %+v, %v", r, err)
		}
		if r, err := before.Wait(t.Context()); err != nil || r.State != purge.Done {
			t.Errorf("got %+v, %v", r, err)
		}
		synctest.Wait()
		list, _, err := b.List("", 0)
		if err != nil || len(list) != 2 || list[0].ID != j.ID() || list[1].State != purge.Done || list[0].State != purge.Error {
			t.Errorf("listed %+v, %v", list, err)
		}
		if got := on(j.ID()); !strings.HasPrefix(got, "1 received, ") || !strings.HasSuffix(got, ", 5 error") {
			t.Errorf("events: %s", got)
		}
		if c.count("b purge /p/0")+c.count("b purge /p/1")+c.count("b accept /p/1") > 0 {
			t.Error("b has worked on it")
		}
		// What another has failed can be retried here; then it is that one's to follow.
		c.path = nil
		k, err := b.Retry(t.Context(), j.ID())
		if err != nil {
			t.Fatal(err)
		}
		if r, err := k.Wait(t.Context()); err != nil || r.State != purge.Done || r.Attempt != 2 {
			t.Errorf("got %+v, %v", r, err)
		}
		synctest.Wait()
		if r, err := j.Wait(t.Context()); err != nil || r.State != purge.Done || r.Attempt != 2 {
			t.Errorf("a has %+v, %v", r, err)
		}
		if c.count("b purge /p/bad") != 1 || c.count("b purge /p/1") != 0 || c.count("a purge /p/bad") != 1 {
			t.Errorf("done: %v", c.done)
		}
		if n := a.Stats(); n.Followed != 1 || n.TakenAway != 1 {
			t.Errorf("a counts %+v", n)
		}
		if _, err := a.Retry(t.Context(), j.ID()); err != purge.ErrNothingFailed {
			t.Errorf("Retry: %v", err)
		}
	})
}

// A retry that two nodes ask for at once is one node's.
func TestARetryByTwoNodesIsOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSite()
		c.path = func(context.Context, string, string) (purge.PathResult, error) {
			return purge.PathResult{}, purge.Permanent(errors.New("no"))
		}
		a, _ := c.open(t, "a", purge.ServiceOptions{})
		b, _ := c.open(t, "b", purge.ServiceOptions{})
		d, _ := c.open(t, "d", purge.ServiceOptions{})
		defer closeAll(t, a, b, d)
		j := submit(t, a, "/p/1")
		if _, err := j.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		var mu sync.Mutex
		c.path = func(context.Context, string, string) (purge.PathResult, error) {
			time.Sleep(time.Minute)
			return purge.PathResult{}, nil
		}
		var all sync.WaitGroup
		won := 0
		for _, s := range []*purge.Service{a, b, d} {
			all.Go(func() {
				_, err := s.Retry(t.Context(), j.ID())
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won++
				} else if !errors.Is(err, purge.ErrNotOwner) && !errors.Is(err, purge.ErrNotFinished) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if won != 1 {
			t.Errorf("%d won", won)
		}
		time.Sleep(2 * time.Minute)
		for _, s := range []*purge.Service{a, b, d} {
			if r := get(t, s, j.ID()); r.State != purge.Done || r.Attempt != 2 {
				t.Errorf("got %+v", r)
			}
		}
	})
}

// What a lost node has left, in each state, is brought to its end by exactly one of those that are left; the job keeps its ID and its attempt.
func TestJobsOfALostNodeAreTakenOver(t *testing.T) {
	for _, tt := range []struct {
		name   string
		hang   string // where a hangs
		accept string // by another, once or not at all
		purged bool   // by another
	}{
		{"an intent", "accept", "/p/1", true},
		{"an accepted job", "path", "", true},
		{"in the ring", "flush", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newSite()
				hang := func(ctx context.Context, node, where string) {
					if node == "a" && tt.hang == where {
						<-ctx.Done()
					}
				}
				c.accept = func(ctx context.Context, node string, _ purge.Request) error {
					hang(ctx, node, "accept")
					return ctx.Err()
				}
				c.path = func(ctx context.Context, node, path string) (purge.PathResult, error) {
					hang(ctx, node, "path")
					return purge.PathResult{Originals: 1}, ctx.Err()
				}
				c.flush = func(ctx context.Context, node string, f purge.NodeFlush, report func(purge.NodeResult)) {
					hang(ctx, node, "flush")
					for _, n := range []string{"a", "b", "d"} {
						r := purge.NodeResult{Name: n, State: purge.Done, Outcome: purge.Flushed}
						if c.lost[n] {
							r.Outcome = purge.Left
						}
						if n != node {
							report(r)
						}
					}
				}
				a, la := c.open(t, "a", purge.ServiceOptions{CloseTimeout: -1})
				b, _ := c.open(t, "b", purge.ServiceOptions{})
				d, _ := c.open(t, "d", purge.ServiceOptions{})
				defer closeAll(t, b, d)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go a.Submit(ctx, purge.Request{Paths: []string{"/p/1"}}, nil)
				time.Sleep(time.Minute)
				list, _, _ := b.List("", 0)
				if want := map[string]int{"accept": 0}[tt.hang]; tt.hang == "accept" && len(list) != want || tt.hang != "accept" && len(list) != 1 {
					t.Fatalf("b has %+v", list)
				}
				if c.count("b purge /p/1")+c.count("d purge /p/1")+c.count("b accept /p/1") > 0 {
					t.Fatal("somebody works on it who is not to")
				}
				// The power of a goes: its log has nothing of what it does from now on.
				la.cut(errCutOff)
				a.Close()
				on := heard(t, d)
				c.lose("a", true)
				time.Sleep(10 * time.Second)
				list, _, _ = b.List("", 0)
				if len(list) != 1 || list[0].State != purge.Done || list[0].Attempt != 1 || list[0].Nodes[0].Outcome != purge.Left || list[0].Nodes[1].Outcome != purge.Flushed {
					t.Fatalf("b has %+v", list)
				}
				if r := get(t, d, list[0].ID); r.State != purge.Done {
					t.Errorf("d has %+v", r)
				}
				if got := on(list[0].ID); !strings.HasSuffix(got, " done") || strings.Count(got, "done") != 1 {
					t.Errorf("events: %s", got)
				}
				if n := c.count("b accept /p/1") + c.count("d accept /p/1"); n != strings.Count(tt.accept, "/p/1") {
					t.Errorf("accepted %d times", n)
				}
				if n := c.count("b purge /p/1") + c.count("d purge /p/1"); (n == 1) != tt.purged {
					t.Errorf("purged %d times", n)
				}
				if n := b.Stats().TakenOver + d.Stats().TakenOver; n != 1 {
					t.Errorf("taken over %d times", n)
				}
				if n := b.Stats().Followed + d.Stats().Followed; n != 1 {
					t.Errorf("followed by %d", n)
				}
				c.lose("a", false)
				a, _ = c.open(t, "a", purge.ServiceOptions{})
				if r := get(t, a, list[0].ID); r.State != purge.Done {
					t.Errorf("a has %+v", r)
				}
				closeAll(t, a)
			})
		})
	}
}

// A watch that is late tells of what the lost node had put when the job is this one's already: that takes nothing away.
func TestALateWatchTakesNoJobAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSite()
		c.lag = func() time.Duration { return 30 * time.Second }
		c.path = func(ctx context.Context, node, path string) (purge.PathResult, error) {
			select {
			case <-time.After(50 * time.Second): // within PathTimeout
			case <-ctx.Done():
			}
			return purge.PathResult{Originals: 1}, ctx.Err()
		}
		a, la := c.open(t, "a", purge.ServiceOptions{CloseTimeout: -1})
		b, _ := c.open(t, "b", purge.ServiceOptions{OnStatus: func(e purge.Event) {
			if e.State == purge.Done && e.Seq != 5 {
				t.Errorf("got %s", e.EventID())
			}
		}})
		d, _ := c.open(t, "d", purge.ServiceOptions{})
		j := submit(t, a, "/p/1")
		time.Sleep(time.Second)
		la.cut(errCutOff)
		a.Close()
		c.lose("a", true)
		time.Sleep(5 * time.Second)
		if b.Stats().TakenOver+d.Stats().TakenOver != 1 {
			t.Fatal("nobody has it")
		}
		time.Sleep(time.Hour)
		for _, s := range []*purge.Service{b, d} {
			if r := get(t, s, j.ID()); r.State != purge.Done {
				t.Errorf("got %+v", r)
			}
			if n := s.Stats(); n.TakenAway != 0 || n.TakenOver > 1 {
				t.Errorf("it counts %+v", n)
			}
		}
		if n := c.count("b purge /p/1") + c.count("d purge /p/1"); n != 1 {
			t.Errorf("purged %d times", n)
		}
		closeAll(t, b, d)
	})
}

// An intent of a lost node that is refused is dropped; one that the target does not accept as yet is tried again.
func TestAnIntentOfALostNode(t *testing.T) {
	for _, tt := range []struct {
		name  string
		err   error
		tries int
		want  int // records
	}{
		{"refused", &purge.PathError{Path: "/p/1", Reason: "names no source"}, 1, 0},
		{"not now", errors.New("not now"), 3, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newSite()
				tries := 0
				c.accept = func(ctx context.Context, node string, _ purge.Request) error {
					if node == "a" {
						<-ctx.Done()
						return ctx.Err()
					}
					if tries++; tries <= 2 {
						return tt.err
					}
					return nil
				}
				a, la := c.open(t, "a", purge.ServiceOptions{CloseTimeout: -1})
				b, _ := c.open(t, "b", purge.ServiceOptions{})
				defer closeAll(t, b)
				go a.Submit(t.Context(), purge.Request{Paths: []string{"/p/1"}}, nil)
				synctest.Wait()
				la.cut(errCutOff)
				a.Close()
				c.lose("a", true)
				time.Sleep(time.Minute)
				if list, _, _ := b.List("", 0); len(list) != tt.want || tries != tt.tries {
					t.Errorf("%d tries, and %+v", tries, list)
				}
				for e := range c.log.Node("z").Unfinished() {
					t.Errorf("left in the log: %s of %s", e.ID, e.Owner)
				}
			})
		})
	}
}

// A node that was taken for lost goes on with its job: its end is refused, and it waits for the end that the other brings about.
func TestAnOwnerThatComesBackIsRefused(t *testing.T) {
	for _, cutOff := range []bool{false, true} { // from the log, at the time
		t.Run(fmt.Sprintf("cut off=%v", cutOff), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newSite()
				c.path = func(_ context.Context, node, path string) (purge.PathResult, error) {
					switch node {
					case "a":
						time.Sleep(10 * time.Second)
						return purge.PathResult{Originals: 1}, nil
					default:
						time.Sleep(20 * time.Second)
						return purge.PathResult{}, purge.Permanent(errors.New("b says no"))
					}
				}
				var mu sync.Mutex
				var told []string
				a, la := c.open(t, "a", purge.ServiceOptions{OnStatus: func(e purge.Event) {
					mu.Lock()
					defer mu.Unlock()
					told = append(told, string(e.State))
				}})
				b, _ := c.open(t, "b", purge.ServiceOptions{})
				defer closeAll(t, a, b)
				on := heard(t, a)
				var mine []string
				j, err := a.Submit(t.Context(), purge.Request{Paths: []string{"/p/1"}}, func(e purge.Event) {
					mu.Lock()
					defer mu.Unlock()
					mine = append(mine, string(e.State))
				})
				if err != nil {
					t.Fatal(err)
				}
				twin := submit(t, a, "/p/2")
				synctest.Wait()
				c.lose("a", true)
				if cutOff {
					la.cut(errCutOff)
				}
				time.Sleep(12 * time.Second)
				if r := j.Record(); r.State.Final() {
					t.Errorf("a has ended it: %+v", r)
				}
				la.cut(nil)
				c.lose("a", false)
				r, err := j.Wait(t.Context())
				if err != nil || r.State != purge.Error || r.Paths[0].Reason != "b says no" {
					t.Errorf("a waited for %+v, %v", r, err)
				}
				if r2 := get(t, b, j.ID()); r2.State != purge.Error {
					t.Errorf("b has %+v", r2)
				}
				if r, err := twin.Wait(t.Context()); err != nil || r.State != purge.Error {
					t.Errorf("the other: %+v, %v", r, err)
				}
				synctest.Wait()
				if got := on(j.ID()); strings.Contains(got, "done") || strings.Count(got, "error") != 1 {
					t.Errorf("a's events: %s", got)
				}
				mu.Lock()
				defer mu.Unlock()
				if slices.Contains(told, "error") || mine[len(mine)-1] != "error" || slices.Contains(mine, "done") {
					t.Errorf("the callback of all is told %v, the job's %v", told, mine)
				}
				if n := a.Stats(); n.TakenAway != 2 || n.Followed != 2 || n.Active[purge.FlushingServers] != 0 || n.Working != 0 || n.Ended[purge.Done] != 0 {
					t.Errorf("a counts %+v", n)
				}
			})
		})
	}
}

// Jobs that wait are lost as those at work are, and who shares the work of a lost job goes on without it.
func TestOneOfSharedWorkIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSite()
		c.path = func(ctx context.Context, node, path string) (purge.PathResult, error) {
			time.Sleep(10 * time.Second)
			return purge.PathResult{Originals: 1}, nil
		}
		a, _ := c.open(t, "a", purge.ServiceOptions{Workers: 1})
		slow := submit(t, a, "/p/slow")
		lead, twin, waits := submit(t, a, "/p/1"), submit(t, a, "/p/1"), submit(t, a, "/p/2")
		time.Sleep(11 * time.Second) // lead and twin are at work
		thief := c.log.Node("thief")
		for e := range thief.Entries("") {
			if e.ID == lead.ID() || e.ID == waits.ID() {
				if err := thief.Take(e); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(time.Minute)
		for _, j := range []*purge.Job{slow, twin} {
			if r := get(t, a, j.ID()); r.State != purge.Done || r.Paths[0].Outcome != purge.Removed {
				t.Errorf("got %+v", r)
			}
		}
		for _, j := range []*purge.Job{lead, waits} {
			if r := get(t, a, j.ID()); r.State.Final() {
				t.Errorf("got %+v", r)
			}
		}
		if n := a.Stats(); n.Followed != 2 || n.Working != 0 || n.Waiting != 0 || n.TakenAway != 2 {
			t.Errorf("it counts %+v", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := lead.Wait(ctx); err != context.DeadlineExceeded {
			t.Errorf("Wait: %v", err)
		}
		closeAll(t, a)
		if _, err := lead.Wait(t.Context()); err != purge.ErrClosed {
			t.Errorf("Wait: %v", err)
		}
	})
}

// A log that nodes share and that is away holds the end of jobs up, and no Close.
func TestAnEndIsSavedBeforeItIsReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSite()
		release := make(chan struct{})
		c.path = func(context.Context, string, string) (purge.PathResult, error) {
			<-release
			return purge.PathResult{}, nil
		}
		a, la := c.open(t, "a", purge.ServiceOptions{})
		j, k := submit(t, a, "/p/1"), submit(t, a, "/p/2")
		synctest.Wait()
		la.cut(errCutOff)
		close(release)
		time.Sleep(time.Hour)
		if r := j.Record(); r.State != purge.FlushingCDN {
			t.Errorf("got %+v", r)
		}
		la.cut(nil)
		if r, err := j.Wait(t.Context()); err != nil || r.State != purge.Done {
			t.Errorf("got %+v, %v", r, err)
		}
		k.Wait(t.Context())
		la.cut(errCutOff)
		if _, err := a.Submit(t.Context(), purge.Request{Paths: []string{"/p/3"}}, nil); !errors.Is(err, errCutOff) {
			t.Errorf("Submit: %v", err)
		}
		la.cut(nil)
		release = make(chan struct{})
		j = submit(t, a, "/p/4")
		synctest.Wait()
		la.cut(errCutOff)
		close(release)
		synctest.Wait()
		closeAll(t, a)
		if r, err := j.Wait(t.Context()); err != purge.ErrClosed || r.State.Final() {
			t.Errorf("got %+v, %v", r, err)
		}
		a, _ = c.open(t, "a", purge.ServiceOptions{})
		time.Sleep(time.Second)
		if r := get(t, a, j.ID()); r.State != purge.Done {
			t.Errorf("then %+v", r)
		}
		closeAll(t, a)
	})
}

// What is dropped here to make room stays in the log while its owner is there; when that is lost, it goes.
func TestFollowedJobsMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSite()
		var slow bool
		c.path = func(ctx context.Context, node, path string) (purge.PathResult, error) {
			if slow {
				<-ctx.Done()
			}
			return purge.PathResult{}, ctx.Err()
		}
		a, la := c.open(t, "a", purge.ServiceOptions{CloseTimeout: -1})
		b, _ := c.open(t, "b", purge.ServiceOptions{MaxLog: 3})
		defer func() { closeAll(t, b) }()
		inLog := func() (n int) {
			for range c.log.Node("z").Entries("") {
				n++
			}
			return n
		}
		for i := range 5 {
			j := submit(t, a, fmt.Sprintf("/p/%d", i))
			j.Wait(t.Context())
		}
		synctest.Wait()
		list, _, _ := b.List("", 0)
		if len(list) != 3 || inLog() != 5 || b.Stats().Followed != 3 {
			t.Errorf("b has %d, the log %d", len(list), inLog())
		}
		slow = true
		var jobs []*purge.Job
		for i := range 4 { // those that go on are dropped as well, but last
			jobs = append(jobs, submit(t, a, fmt.Sprintf("/q/%d", i)))
		}
		synctest.Wait()
		if list, _, _ := b.List("", 0); len(list) != 3 || list[2].ID != jobs[1].ID() {
			t.Errorf("b has %+v", list)
		}
		j := submit(t, b, "/p/x") // one's own never
		synctest.Wait()
		if list, _, _ := b.List("", 0); len(list) != 3 || list[0].ID != j.ID() {
			t.Errorf("b has %+v", list)
		}
		la.cut(errCutOff)
		a.Close()
		slow = false
		closeAll(t, b)
		b, _ = c.open(t, "b", purge.ServiceOptions{MaxLog: 3})
		c.lose("a", true)
		time.Sleep(time.Minute)
		if n := inLog(); n > 5 { // three here, and what was taken over since
			t.Errorf("the log has %d", n)
		}
		for e := range c.log.Node("z").Unfinished() {
			t.Errorf("unfinished: %s of %s", e.ID, e.Owner)
		}
	})
}

// IDs grow over nodes whose clocks differ by some minutes; a clock that is years ahead leads nobody.
func TestIDsGrowAcrossNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSite()
		b, _ := c.open(t, "b", purge.ServiceOptions{})
		defer closeAll(t, b)
		// The clock of a bubble begins in 2000: a is 30 minutes ahead, d by 25 years.
		plant := func(node string, ahead time.Duration) string {
			s := newSite()
			s.log = purgetest.NewSharedLog()
			var id string
			ms := time.Now().Add(ahead).UnixMilli()
			one, _ := s.open(t, "x", purge.ServiceOptions{})
			j := submit(t, one, "/p/1")
			j.Wait(t.Context())
			closeAll(t, one)
			id = fmt.Sprintf("%08x-%04x-7fff-8000-000000000000", ms>>16, ms&0xffff)
			for e := range s.log.Node("x").Entries("") {
				body := bytes.ReplaceAll(e.Data, []byte(j.ID()), []byte(id))
				_, body, _ = bytes.Cut(body, []byte("\n"))
				if err := c.log.Node(node).Write([]purge.LogEntry{{ID: id, Final: true, Data: sum(body)}}, nil); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			if _, err := b.Get(id); err != nil {
				t.Fatal(err)
			}
			return id
		}
		near := plant("a", 30*time.Minute)
		if j := submit(t, b, "/p/1"); j.ID() <= near {
			t.Errorf("%s after %s", j.ID(), near)
		}
		far := plant("d", 25*365*24*time.Hour)
		if j := submit(t, b, "/p/1"); j.ID() >= far || j.ID() <= near {
			t.Errorf("%s after %s", j.ID(), far)
		}
		e, _ := c.open(t, "e", purge.ServiceOptions{}) // nor after a restart
		if j := submit(t, e, "/p/1"); j.ID() >= far || j.ID() <= near {
			t.Errorf("%s after %s", j.ID(), far)
		}
		closeAll(t, e)
	})
}

// Entries of others that cannot be read are logged once, and left alone.
func TestDamagedEntriesOfOthersAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSite()
		other := c.log.Node("a")
		bad := purge.LogEntry{ID: "0198c1d2-0000-7000-8000-000000000001", Data: []byte("purge 9 00000000\n{}")}
		if err := other.Write([]purge.LogEntry{bad, {ID: "no ID", Data: nil}}, nil); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		var mu sync.Mutex
		b, _ := c.open(t, "b", purge.ServiceOptions{Logger: slog.New(slog.NewTextHandler(&locked{mu: &mu, b: &out}, nil))})
		bad.ID = "0198c1d2-0000-7000-8000-000000000002"
		if err := other.Write([]purge.LogEntry{bad}, nil); err != nil {
			t.Fatal(err)
		}
		c.lose("a", true)
		time.Sleep(time.Minute)
		j := submit(t, b, "/p/1")
		if r, err := j.Wait(t.Context()); err != nil || r.State != purge.Done {
			t.Errorf("got %+v, %v", r, err)
		}
		closeAll(t, b)
		mu.Lock()
		defer mu.Unlock()
		if n := strings.Count(out.String(), "cannot be read"); n != 3 {
			t.Errorf("logged %d times:\n%s", n, out.String())
		}
		own := c.log.Node("c")
		bad.ID = "0198c1d2-0000-7000-8000-000000000003"
		if err := own.Write([]purge.LogEntry{bad}, nil); err != nil {
			t.Fatal(err)
		}
		m := member{c, "c"}
		if _, err := purge.Open(t.Context(), m, &purge.ServiceOptions{Log: own, Nodes: m}); err == nil {
			t.Error("one's own that cannot be read is no error")
		}
	})
}

// sum puts a head before the body of an entry.
func sum(body []byte) []byte {
	return append(fmt.Appendf(nil, "purge 1 %08x\n", crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))), body...)
}

type locked struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}
