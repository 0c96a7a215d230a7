//go:build unix

package e2e

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

// A fault is something that goes wrong while requests and purges go on. It returns the node that was away, and from when until when nobody heard of
// it, as far as is sure; nil where each was there, or may have been.
type fault struct {
	name    string
	short   string // with which policies it is part of the short form
	setup   setup
	happens func(f *fleet, l *load, for_ time.Duration) (away *node, from, until time.Time)
}

// Under faults a witness sees no node show what a purge of before has done away with, unless it may and says so; and the log of jobs tells the truth.
func TestFaults(t *testing.T) {
	faults := []fault{
		{"nothing", "", setup{}, func(f *fleet, l *load, d time.Duration) (*node, time.Time, time.Time) {
			time.Sleep(d)
			return nil, time.Time{}, time.Time{}
		}},
		{"a node is killed and comes back with its disk", "strict", setup{}, killed},
		{"the node that works jobs is killed and stays away", "strict", setup{}, killedForGood},
		{"a node is stopped and goes on", "strict available", setup{}, stopped},
		{"the leader of the stream is killed", "strict", setup{servers: 3}, leaderKilled},
		{"all servers are killed and come back", "", setup{servers: 3}, allServersKilled},
		{"the connection is cut", "available", setup{}, func(f *fleet, l *load, d time.Duration) (*node, time.Time, time.Time) {
			return l.cutOff(1, d, f.links[1].drop, f.links[1].accept)
		}},
		{"a black hole", "strict", setup{}, spoiled("timeout", map[string]any{"timeout": 0}, "upstream", "downstream")},
		{"what is sent comes after all, when it is long too late", "", setup{}, func(f *fleet, l *load, d time.Duration) (*node, time.Time, time.Time) {
			return l.cutOff(1, d, f.links[1].freeze, f.links[1].thaw)
		}},
		{"a node hears nothing", "strict", setup{}, spoiled("timeout", map[string]any{"timeout": 0}, "downstream")},
		{"a node is not heard", "", setup{}, spoiled("timeout", map[string]any{"timeout": 0}, "upstream")},
		{"links are slow", "", setup{bound: 5 * time.Second}, slowLinks},
		{"clocks are an hour apart", "", setup{skew: []time.Duration{0, time.Hour, -time.Hour}}, func(f *fleet, l *load, d time.Duration) (*node, time.Time, time.Time) {
			time.Sleep(d)
			return nil, time.Time{}, time.Time{}
		}},
		{"clocks are an hour apart and a node is cut off", "", setup{skew: []time.Duration{-time.Hour, time.Hour}}, func(f *fleet, l *load, d time.Duration) (*node, time.Time, time.Time) {
			return l.cutOff(1, d, f.links[1].drop, f.links[1].accept)
		}},
		{"a node starts from an old image of its disk", "strict", setup{}, oldDisk(true)},
		{"a node starts from an old image of its disk, without its jobs", "", setup{}, oldDisk(false)},
	}
	for _, policy := range []string{"strict", "available"} {
		for _, one := range faults {
			t.Run(policy+"/"+one.name, func(t *testing.T) {
				if !*long && !strings.Contains(one.short, policy) {
					t.Skip("part of the long form: -e2e.long")
				}
				s := one.setup
				s.nodes, s.policy = 3, policy
				f := startFleet(t, s)
				l := f.load(random(t))
				d := f.patience() + time.Second
				d = max(d, *away)
				away, from, until := one.happens(f, l, d)
				f.together()
				time.Sleep(time.Second) // of load, as it is when all is well again
				l.end()
				l.judge(away, from, until)
			})
		}
	}
}

// A load is requests and purges of all nodes, at random, until its end.
type load struct {
	f      *fleet
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	answers, errors, saidCutOff, refusals atomic.Int64

	mu   sync.Mutex // guards jobs
	jobs []*submitted
}

func (f *fleet) load(r *rand.Rand) *load {
	l := &load{f: f}
	l.ctx, l.cancel = context.WithTimeout(f.t.Context(), 5*time.Minute)
	f.t.Cleanup(func() { l.cancel(); l.work.Wait() })
	f.origin.slow.Store(int64(20 * time.Millisecond))
	for _, n := range f.nodes {
		for range 2 { // and no more: a node that is stopped keeps them
			l.work.Go(func() { l.ask(n, rand.New(rand.NewPCG(r.Uint64(), 0))) })
		}
		l.work.Go(func() { l.purge(n, rand.New(rand.NewPCG(r.Uint64(), 0))) })
	}
	return l
}

func (l *load) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-l.ctx.Done():
	}
}

func (l *load) ask(n *node, r *rand.Rand) {
	for l.ctx.Err() == nil {
		res, err := l.f.look(l.ctx, n, r.IntN(len(l.f.origin.versions)), 4+r.IntN(3))
		switch {
		case err != nil:
			l.errors.Add(1)
			l.pause(20 * time.Millisecond)
		case res.cutOff():
			l.saidCutOff.Add(1)
			fallthrough
		default:
			l.answers.Add(1)
			l.pause(time.Duration(r.IntN(6)) * time.Millisecond)
		}
	}
}

func (l *load) purge(n *node, r *rand.Rand) {
	for l.ctx.Err() == nil {
		l.pause(time.Duration(r.IntN(300)) * time.Millisecond)
		q, images := l.f.someRequest(r)
		s, err := l.f.purge(l.ctx, n, q, images)
		if err != nil {
			l.refusals.Add(1)
			continue
		}
		l.mu.Lock()
		l.jobs = append(l.jobs, s)
		l.mu.Unlock()
		l.work.Go(func() { l.follow(s) })
	}
}

// follow asks one node after the other for a job, beginning with its own: the first that says that it is done is believed.
func (l *load) follow(s *submitted) {
	ctx, cancel := context.WithTimeout(l.f.t.Context(), 4*time.Minute)
	defer cancel()
	i := slices.Index(l.f.nodes, s.owner)
	l.f.follow(ctx, s, 10*time.Millisecond, func() *node { i++; return l.f.nodes[(i-1)%len(l.f.nodes)] })
}

// end ends the load, and sees all jobs to their end.
func (l *load) end() {
	l.cancel()
	done := make(chan struct{})
	go func() { l.work.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		l.f.t.Error("a minute after all was well again, jobs that were acknowledged have no end")
	}
}

// acknowledged are the jobs of a node.
func (l *load) acknowledged(by *node) (all []*submitted) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.jobs {
		if s.owner == by {
			all = append(all, s)
		}
	}
	return all
}

// judge looks at what the log of jobs has, on each node.
func (l *load) judge(away *node, from, until time.Time) {
	t, f := l.f.t, l.f
	left, flushed, meanwhile, behind := 0, 0, 0, 0
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, s := range l.jobs {
		if s.done.IsZero() {
			continue // end has said so
		}
		if s.rec.State != purge.Done && superseded(s) {
			behind++
			continue
		}
		if s.rec.State != purge.Done {
			t.Errorf("job %s of %s, %s %s, ended as %+v", s.id, s.owner.name, s.r.Scope, s.r.Mode, s.rec)
			continue
		}
		outcomes := make(map[string]purge.NodeResult)
		for _, one := range s.rec.Nodes {
			outcomes[one.Name] = one
			switch one.Outcome {
			case purge.Flushed:
				flushed++
			case purge.Left:
				left++
				if one.Reason == "" {
					t.Errorf("job %s has left %s out, and says no reason", s.id, one.Name)
				}
			default:
				t.Errorf("job %s is done, and is not on %s: %+v", s.id, one.Name, one)
			}
		}
		// A purge that was asked for and done while a node was away cannot have had an answer of it.
		if away != nil && s.owner != away && s.asked.After(from) && s.done.Before(until) {
			meanwhile++
			if o, ok := outcomes[away.name]; ok && o.Outcome != purge.Left {
				t.Errorf("job %s was done while %s was away, and says of it %q", s.id, away.name, o.Outcome)
			}
		}
		// All nodes have the same of it.
		for _, n := range f.nodes {
			var rec record
			eventually(t, 10*time.Second, n.name+" has the end of job "+s.id, func() bool {
				var err error
				rec, err = n.job(ctx, s.id)
				return err == nil && rec.State.Final()
			})
			if rec.State != s.rec.State || rec.Attempt != s.rec.Attempt || !slices.Equal(rec.Nodes, s.rec.Nodes) {
				t.Errorf("job %s is, as %s has it, %+v, and was, when it was first seen at its end, %+v", s.id, n.name, rec, s.rec)
			}
		}
		if t.Failed() {
			break
		}
	}
	t.Logf("%d answers, of which %d say cut-off; %d requests had no picture; %d jobs, %d refused, %d failed as others came between; nodes flushed %d times, left out %d times; %d jobs asked for and done while a node was away; %d exchanges with the origin",
		l.answers.Load(), l.saidCutOff.Load(), l.errors.Load(), len(l.jobs), l.refusals.Load(), behind, flushed, left, meanwhile, f.origin.exchanges.Load())
	if t.Failed() {
		return
	}
	if l.answers.Load() < 100 || len(l.jobs) < 10 || 2*behind > len(l.jobs) {
		t.Error("the load did next to nothing")
	}
	if away != nil && meanwhile == 0 {
		t.Error("no purge was done while a node was away")
	}
	if away != nil && left == 0 {
		t.Error("a node was away, and no job says so")
	}
}

// superseded reports whether a job has failed for others alone that were about the same images: each time the origin was asked, another purge came before
// it had answered. The log says so; when many wait that may happen, on one node as well.
func superseded(s *submitted) bool {
	if s.r.Mode != purge.Stale || s.rec.State != purge.Error {
		return false
	}
	for _, p := range s.rec.Paths {
		if p.State != purge.Done && p.Reason != "another purge came between" {
			return false
		}
	}
	return true
}

// cutOff cuts a node off for a while. It is away from a moment after that on: what was on its way may have arrived.
func (l *load) cutOff(i int, d time.Duration, cut, mend func()) (*node, time.Time, time.Time) {
	time.Sleep(time.Second)
	cut()
	from := time.Now().Add(200 * time.Millisecond)
	time.Sleep(d)
	until := time.Now()
	if l.f.nodes[i].ready() {
		l.f.t.Errorf("%s was cut off for %v, and says that it is ready", l.f.nodes[i].name, d)
	}
	mend()
	return l.f.nodes[i], from, until
}

func spoiled(kind string, attributes map[string]any, streams ...string) func(*fleet, *load, time.Duration) (*node, time.Time, time.Time) {
	return func(f *fleet, l *load, d time.Duration) (*node, time.Time, time.Time) {
		away, from, until := l.cutOff(1, d, func() {
			for _, s := range streams {
				f.links[1].spoil(kind, s, attributes)
			}
		}, f.links[1].mend)
		if len(streams) == 1 {
			// It may be heard of for a while, or may hear: when it is away is for nobody to say.
			return nil, from, until
		}
		return away, from, until
	}
}

func slowLinks(f *fleet, l *load, d time.Duration) (*node, time.Time, time.Time) {
	for _, k := range f.links {
		k.spoil("latency", "upstream", map[string]any{"latency": 150, "jitter": 50})
		k.spoil("latency", "downstream", map[string]any{"latency": 150, "jitter": 50})
	}
	time.Sleep(d)
	for _, k := range f.links {
		k.mend()
	}
	return nil, time.Time{}, time.Time{}
}

// killed kills a node in the middle of purges, several times.
func killed(f *fleet, l *load, d time.Duration) (*node, time.Time, time.Time) {
	n := f.nodes[1]
	var from, until time.Time
	for i := range 3 {
		time.Sleep(time.Second)
		l.whilePurging(n)
		n.kill()
		from = time.Now()
		if i == 2 {
			time.Sleep(d)
		}
		until = time.Now()
		n.start(f.t)
	}
	return n, from, until
}

// whilePurging waits until the node has acknowledged a purge that is not done, or for a moment.
func (l *load) whilePurging(n *node) {
	before := len(l.acknowledged(n))
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Microsecond) {
		if mine := l.acknowledged(n); len(mine) > before {
			return
		}
	}
}

// killedForGood has the others take over what a node leaves undone, before it comes back.
func killedForGood(f *fleet, l *load, d time.Duration) (*node, time.Time, time.Time) {
	n := f.nodes[1]
	time.Sleep(time.Second)
	l.whilePurging(n)
	n.kill()
	from := time.Now()
	mine := l.acknowledged(n)
	eventually(f.t, f.patience()+15*time.Second, "all jobs that the killed node had acknowledged are taken over and ended", func() bool {
		for _, s := range mine {
			for _, other := range f.nodes {
				if other == n {
					continue
				}
				rec, err := other.job(l.ctx, s.id)
				if err != nil || !rec.State.Final() {
					return false
				}
			}
		}
		return true
	})
	time.Sleep(max(0, d-time.Since(from)))
	until := time.Now()
	n.start(f.t)
	return n, from, until
}

// stopped has a node stand still, as a virtual machine may: it does not know that it was away.
func stopped(f *fleet, l *load, d time.Duration) (*node, time.Time, time.Time) {
	n := f.nodes[1]
	time.Sleep(time.Second)
	n.signal(syscall.SIGSTOP)
	from := time.Now().Add(100 * time.Millisecond)
	// Requests that come meanwhile are answered when it goes on, by then at the latest.
	ctx, cancel := context.WithTimeout(l.ctx, d+time.Minute)
	defer cancel()
	var asked sync.WaitGroup
	for i := range 40 {
		asked.Go(func() {
			time.Sleep(d * time.Duration(i) / 40)
			_, _ = f.look(ctx, n, i%len(f.origin.versions), 4+i%3)
		})
	}
	time.Sleep(d)
	until := time.Now()
	n.signal(syscall.SIGCONT)
	asked.Wait()
	return n, from, until
}

// leaderKilled has the other servers choose another leader.
func leaderKilled(f *fleet, l *load, d time.Duration) (*node, time.Time, time.Time) {
	time.Sleep(time.Second)
	s := leader(f.servers, "imagecdn_inv")
	if s == nil {
		f.t.Error("the stream has no leader")
		return nil, time.Time{}, time.Time{}
	}
	s.kill()
	began := time.Now()
	others := slices.DeleteFunc(slices.Clone(f.servers), func(one *natsServer) bool { return one == s })
	eventually(f.t, 30*time.Second, "another server leads the stream", func() bool { return leader(others, "imagecdn_inv") != nil })
	elected := time.Since(began)
	before := len(l.acknowledged(f.nodes[0]))
	eventually(f.t, 60*time.Second, "purges are accepted with a server away", func() bool { return len(l.acknowledged(f.nodes[0])) > before })
	accepted := time.Since(began)
	f.together()
	f.t.Logf("after the leader was killed another led after %.1f s, a purge was accepted after %.1f s, and all nodes were ready after %.1f s",
		elected.Seconds(), accepted.Seconds(), time.Since(began).Seconds())
	time.Sleep(d)
	s.start()
	eventually(f.t, 30*time.Second, "the server is back", s.ready)
	return nil, time.Time{}, time.Time{}
}

func allServersKilled(f *fleet, l *load, d time.Duration) (*node, time.Time, time.Time) {
	time.Sleep(time.Second)
	for _, s := range f.servers {
		s.kill()
	}
	time.Sleep(f.patience())
	for _, n := range f.nodes {
		if n.ready() {
			f.t.Errorf("there is no server, and %s says that it is ready", n.name)
		}
	}
	time.Sleep(max(0, d-f.patience()))
	for _, s := range f.servers {
		s.start()
	}
	return nil, time.Time{}, time.Time{}
}

// oldDisk has a node come back with the disk of before purges: as a backup, or the image that a machine is made from.
func oldDisk(withJobs bool) func(*fleet, *load, time.Duration) (*node, time.Time, time.Time) {
	return func(f *fleet, l *load, d time.Duration) (*node, time.Time, time.Time) {
		n := f.nodes[1]
		time.Sleep(time.Second)
		n.stop(f.t)
		image := filepath.Join(f.t.TempDir(), "image")
		if err := os.CopyFS(image, os.DirFS(n.dir)); err != nil {
			f.t.Error(err)
		}
		n.start(f.t)
		time.Sleep(d) // of purges
		n.kill()
		if err := os.RemoveAll(n.dir); err != nil {
			f.t.Error(err)
		}
		if err := os.CopyFS(n.dir, os.DirFS(image)); err != nil {
			f.t.Error(err)
		}
		if !withJobs {
			matches, _ := filepath.Glob(filepath.Join(n.dir, "purges.db*"))
			for _, m := range matches {
				if strings.HasPrefix(filepath.Base(m), "purges.db") {
					_ = os.Remove(m)
				}
			}
		}
		n.start(f.t)
		return nil, time.Time{}, time.Time{}
	}
}
