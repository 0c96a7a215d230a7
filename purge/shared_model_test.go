package purge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

// Random jobs and retries on three nodes with one log, whose targets and rings fail, that are killed and come back, that are taken for lost while they
// go on, and that are cut off from the log. What must hold: every job that was acknowledged comes to one end in each attempt, whoever looks; it is Done
// only if each other node has flushed every path after it was purged by the job's owner, or was lost; and in the end, when all works, every job can be
// brought to Done from any node.
func TestSharedLogAgainstAModel(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) { sharedHistory(t, uint64(seed)) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

type clusterModel struct {
	*site
	rng *rand.Rand // guarded by site.mu

	// Guarded by site.mu.
	calm    bool
	up      map[string]bool
	lostAt  map[string][]time.Time            // when a node was seen as lost, again and again
	flushed map[string]map[string][]time.Time // by node and path
	purged  map[string][]time.Time            // by path
	ends    map[string]map[purge.State]string // by job and attempt, the end and who saw it
}

func (m *clusterModel) fails(odds int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.calm && m.rng.IntN(odds) == 0
}

func (m *clusterModel) pause(ctx context.Context, most time.Duration) {
	m.mu.Lock()
	d := time.Duration(m.rng.Int64N(int64(most)))
	m.mu.Unlock()
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (m *clusterModel) purgePath(ctx context.Context, node, path string) (purge.PathResult, error) {
	m.pause(ctx, time.Second)
	switch {
	case ctx.Err() != nil:
		return purge.PathResult{}, ctx.Err()
	case m.fails(10):
		return purge.PathResult{}, purge.Permanent(errors.New("no"))
	case m.fails(10):
		return purge.PathResult{}, errors.New("not now")
	case strings.HasSuffix(path, "/same"):
		return purge.PathResult{Outcome: purge.Unchanged}, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.purged[path] = append(m.purged[path], time.Now())
	return purge.PathResult{Derivatives: 1}, nil
}

func (m *clusterModel) flushNodes(ctx context.Context, self string, f purge.NodeFlush, report func(purge.NodeResult)) {
	var one sync.Mutex
	var all sync.WaitGroup
	if m.fails(15) {
		panic("oh")
	}
	mute := m.fails(15)
	for _, name := range modelNodes {
		if name == self {
			continue
		}
		all.Go(func() {
			say := func(r purge.NodeResult) {
				one.Lock()
				defer one.Unlock()
				r.Name = name
				report(r)
			}
			say(purge.NodeResult{State: purge.Received})
			for ctx.Err() == nil {
				m.pause(ctx, time.Second)
				m.mu.Lock()
				up, lost := m.up[name], m.site.lost[name]
				if up {
					for _, p := range f.Paths {
						m.flushed[name][p] = append(m.flushed[name][p], time.Now())
					}
				}
				if lost {
					m.lostAt[name] = append(m.lostAt[name], time.Now())
				}
				m.mu.Unlock()
				switch {
				case lost:
					say(purge.NodeResult{State: purge.Done, Outcome: purge.Left})
				case up && mute:
				case up && m.fails(8):
					say(purge.NodeResult{State: purge.Error, Reason: "full"})
				case up:
					say(purge.NodeResult{State: purge.Done, Outcome: purge.Flushed})
				default:
					continue // until it is up again, or lost
				}
				return
			}
		})
	}
	all.Wait()
}

var modelNodes = []string{"a", "b", "c"}

// saw notes an end that somebody saw, which nobody may have seen otherwise.
func (m *clusterModel) saw(t *testing.T, who string, e purge.Event) {
	if !e.State.Final() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key := fmt.Sprintf("%s, attempt %d", e.ID, e.Attempt)
	if m.ends[key] == nil {
		m.ends[key] = make(map[purge.State]string)
	}
	m.ends[key][e.State] = who
	if len(m.ends[key]) > 1 {
		t.Errorf("%s ends as %v", key, m.ends[key])
	}
}

// judge holds a record of a job to what happened.
func (m *clusterModel) judge(t *testing.T, r purge.Record) {
	if r.State != purge.Done {
		return
	}
	for _, n := range r.Nodes {
		if n.State != purge.Done || n.Outcome != purge.Flushed && n.Outcome != purge.Left {
			t.Errorf("%s is done with %+v", r.ID, n)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	since := func(all []time.Time, at time.Time) bool {
		return slices.ContainsFunc(all, func(t time.Time) bool { return !t.Before(at) })
	}
	for _, p := range r.Paths {
		if p.Outcome == purge.Unchanged {
			continue
		}
		i := slices.IndexFunc(m.purged[p.Path], func(at time.Time) bool { return !at.Before(r.Date) })
		if i < 0 {
			t.Errorf("%s is done, and nobody purged %s", r.ID, p.Path)
			continue
		}
		// The owner, whoever that was, has no result; each other has.
		missing := 0
		for _, name := range modelNodes {
			if !since(m.flushed[name][p.Path], m.purged[p.Path][i]) && !since(m.lostAt[name], r.Date) {
				missing++
			}
		}
		if missing > 1 || len(r.Nodes) < 2 {
			t.Errorf("%s is done, and %d have not flushed %s: %+v", r.ID, missing, p.Path, r)
		}
	}
}

type modelNode struct {
	s   *purge.Service
	log *switched
}

func sharedHistory(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	m := &clusterModel{
		site: newSite(), rng: rand.New(rand.NewPCG(seed, 2)), up: make(map[string]bool), lostAt: make(map[string][]time.Time),
		flushed: make(map[string]map[string][]time.Time), purged: make(map[string][]time.Time), ends: make(map[string]map[purge.State]string),
	}
	m.site.path, m.site.flush = m.purgePath, m.flushNodes
	m.site.accept = func(ctx context.Context, _ string, _ purge.Request) error {
		if m.pause(ctx, 200*time.Millisecond); m.fails(10) {
			return errors.New("no quorum")
		}
		return ctx.Err()
	}
	m.site.lag = func() time.Duration {
		m.mu.Lock()
		defer m.mu.Unlock()
		return time.Duration(m.rng.Int64N(int64(time.Second)) * int64(m.rng.IntN(3)))
	}
	nodes := make(map[string]modelNode)
	start := func(name string) {
		m.mu.Lock()
		m.up[name], m.site.lost[name] = true, false
		m.mu.Unlock()
		s, l := m.open(t, name, purge.ServiceOptions{Workers: 1 + rng.IntN(2), Tries: 2, CloseTimeout: -1})
		nodes[name] = modelNode{s, l}
		events := s.Events(t.Context(), "")
		go func() {
			for e, err := range events {
				if err != nil {
					return
				}
				m.saw(t, name, e)
			}
		}()
	}
	for _, name := range modelNodes {
		m.flushed[name] = make(map[string][]time.Time)
		start(name)
	}
	var mu sync.Mutex
	var acknowledged []string
	var submits sync.WaitGroup
	alive := func() []string {
		return slices.DeleteFunc(slices.Clone(modelNodes), func(name string) bool { return nodes[name].s == nil })
	}
	for range 20 + rng.IntN(40) {
		time.Sleep(time.Duration(rng.ExpFloat64() * float64(time.Second)))
		name := modelNodes[rng.IntN(len(modelNodes))]
		n := nodes[name]
		switch rng.IntN(12) {
		default:
			if n.s == nil {
				continue
			}
			var paths []string
			for _, i := range rng.Perm(5)[:1+rng.IntN(3)] {
				paths = append(paths, []string{"/p/a", "/p/b", "/p/c", "/p/d", "/p/same"}[i])
			}
			submits.Go(func() {
				j, err := n.s.Submit(t.Context(), purge.Request{Paths: paths}, nil)
				if err != nil {
					return
				}
				mu.Lock()
				acknowledged = append(acknowledged, j.ID())
				mu.Unlock()
				if r, err := j.Wait(t.Context()); err == nil {
					m.saw(t, "Wait on "+name, purge.Event{ID: r.ID, Attempt: r.Attempt, State: r.State})
				}
			})
		case 0, 1: // a retry, of one's own or another's
			mu.Lock()
			ids := slices.Clone(acknowledged)
			mu.Unlock()
			if n.s != nil && len(ids) > 0 {
				id := ids[rng.IntN(len(ids))]
				submits.Go(func() { n.s.Retry(t.Context(), id) })
			}
		case 2: // the power of a node goes, and others learn of it
			if n.s == nil || len(alive()) == 1 {
				continue
			}
			n.log.cut(errCutOff)
			m.mu.Lock()
			m.up[name] = false
			m.mu.Unlock()
			nodes[name] = modelNode{}
			if err := n.s.Close(); err != nil {
				t.Error(err)
			}
			go func() {
				time.Sleep(5 * time.Second)
				m.mu.Lock()
				defer m.mu.Unlock()
				m.site.lost[name] = !m.up[name]
			}()
		case 3: // and comes back
			if n.s == nil {
				start(name)
			}
		case 4: // it is taken for lost and goes on, with or without the log
			if n.s == nil {
				continue
			}
			m.lose(name, true)
			if rng.IntN(2) == 0 {
				n.log.cut(errCutOff)
			}
		case 5: // which is over
			if n.s == nil {
				continue
			}
			m.lose(name, false)
			n.log.cut(nil)
		case 6: // a restart in good order
			if n.s == nil {
				continue
			}
			if err := n.s.Close(); err != nil {
				t.Error(err)
			}
			n.log.cut(nil)
			start(name)
		}
	}
	m.mu.Lock()
	m.calm = true
	m.mu.Unlock()
	if down := modelNodes[rng.IntN(3)]; rng.IntN(2) == 0 { // for good, as far as the others know
		if s := nodes[down].s; s != nil {
			nodes[down].log.cut(errCutOff)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			nodes[down] = modelNode{}
		}
		m.mu.Lock()
		m.up[down] = false
		m.mu.Unlock()
		for _, name := range modelNodes {
			if name != down && nodes[name].s == nil {
				start(name)
			}
			if name != down {
				nodes[name].log.cut(nil)
			}
			m.lose(name, name == down)
		}
		time.Sleep(3 * time.Minute)
		for _, id := range acknowledged {
			for _, name := range alive() {
				if r, err := nodes[name].s.Get(id); err != nil || !r.State.Final() {
					t.Errorf("%s goes on while %s is lost: %+v, %v", id, down, r, err)
				}
			}
		}
	}
	for _, name := range modelNodes {
		if nodes[name].s == nil {
			start(name)
		}
		nodes[name].log.cut(nil)
		m.lose(name, false)
	}
	time.Sleep(10 * time.Minute)
	view := func(id string) (r purge.Record) {
		var first string
		for _, name := range modelNodes {
			var err error
			r, err = nodes[name].s.Get(id)
			if err != nil {
				t.Errorf("%s on %s: %v", id, name, err)
				return r
			}
			b, _ := json.Marshal(r)
			if first == "" {
				first = string(b)
			}
			if first != string(b) {
				t.Errorf("%s is on %s\n%s\nand on %s\n%s", id, modelNodes[0], first, name, b)
			}
		}
		return r
	}
	for _, id := range acknowledged {
		r := view(id)
		if !r.State.Final() {
			t.Errorf("%s goes on after ten minutes: %+v", id, r)
			continue
		}
		m.judge(t, r)
		if r.State == purge.Done {
			continue
		}
		j, err := nodes[modelNodes[rng.IntN(len(modelNodes))]].s.Retry(t.Context(), id)
		if err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		j.Wait(t.Context())
		time.Sleep(time.Minute)
		if r := view(id); r.State != purge.Done {
			t.Errorf("%s does not become done: %+v", id, r)
		} else {
			m.judge(t, r)
		}
	}
	for e := range m.log.Node("z").Unfinished() {
		t.Errorf("left unfinished: %s of %s", e.ID, e.Owner)
	}
	for _, name := range modelNodes {
		st := nodes[name].s.Stats()
		active := slices.Sorted(maps.Values(st.Active))
		if st.Flushing+st.Working+st.Waiting > 0 || active[0] != 0 || active[len(active)-1] != 0 {
			t.Errorf("%s at rest: %+v", name, st.Active)
		}
		if err := nodes[name].s.Close(); err != nil {
			t.Error(err)
		}
	}
	submits.Wait()
}
