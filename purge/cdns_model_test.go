package purge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Random jobs, with targets and CDNs that fail, retries, and restarts that change which CDNs there are, the former behind the latter. What must hold, at each
// job's end: a CDN that is Done has heard of every path that was purged here, after it was, but for those it says failed; nobody
// heard of a path that had failed on the one before; and in the end, when all works, every job can be brought to Done.
func TestCDNsAgainstAModel(t *testing.T) {
	seeds := 300
	if testing.Short() {
		seeds = 50
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) { cdnHistory(t, uint64(seed)) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

type modelSite struct {
	rng *rand.Rand

	mu     sync.Mutex
	calm   bool
	purged map[string][]time.Time            // here, by path
	told   map[string]map[string][]time.Time // by CDN and path, without failing
}

func (m *modelSite) sleep(ctx context.Context, most time.Duration) {
	m.mu.Lock()
	d := time.Duration(m.rng.Int64N(int64(most)))
	m.mu.Unlock()
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (m *modelSite) fails(odds int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.calm && m.rng.IntN(odds) == 0
}

func (m *modelSite) path(ctx context.Context, path string, _ Mode) (PathResult, error) {
	m.sleep(ctx, 300*time.Millisecond)
	switch {
	case ctx.Err() != nil:
		return PathResult{}, ctx.Err()
	case m.fails(8):
		return PathResult{}, Permanent(errors.New("no"))
	case m.fails(8):
		return PathResult{}, errors.New("not now")
	case strings.HasSuffix(path, "/same"):
		return PathResult{Outcome: Unchanged}, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.purged[path] = append(m.purged[path], time.Now())
	return PathResult{Derivatives: 1}, nil
}

// modelCDNs are one behind the other.
type modelCDNs struct {
	*modelSite
	names []string
}

func (c modelCDNs) Names() []string { return slices.Clone(c.names) }

func (c modelCDNs) Flush(ctx context.Context, f Flush, report func(CDNResult)) {
	blocked := make(map[string]bool)
	for _, name := range c.names {
		paths := f.Parts[name]
		if len(paths) == 0 {
			continue
		}
		r := CDNResult{Name: name, State: FlushingCDN, Items: len(paths)}
		report(r)
		if c.sleep(ctx, 5*time.Second); ctx.Err() != nil {
			return
		}
		if c.fails(20) {
			panic("oh")
		}
		var failed []string
		for _, p := range paths {
			if blocked[p] || c.fails(4) {
				blocked[p] = true
				failed = append(failed, p)
				continue
			}
			c.mu.Lock()
			c.told[name][p] = append(c.told[name][p], time.Now())
			c.mu.Unlock()
		}
		r.State, r.Outcome, r.Purged = Done, Accepted, len(paths)-len(failed)
		if len(failed) > 0 {
			r.State, r.Reason, r.Failed = Error, "503", []CDNFailure{{"503", failed}}
		}
		report(r)
	}
}

func cdnHistory(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	m := &modelSite{rng: rand.New(rand.NewPCG(seed, 2)), purged: make(map[string][]time.Time), told: make(map[string]map[string][]time.Time)}
	all := []string{"shield", "edge", "other"}
	for _, name := range all {
		m.told[name] = make(map[string][]time.Time)
	}
	log := new(MemoryLog)
	var ids []string
	check := func(s *Service, id string) (r Record) {
		r, err := s.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		if !r.State.Final() {
			return r
		}
		failedHere := slices.ContainsFunc(r.Paths, PathResult.failed)
		failedThere := slices.ContainsFunc(r.CDNs, CDNResult.failed)
		if want := map[bool]State{true: Error, false: map[bool]State{true: ErrorCDNNode, false: Done}[failedThere]}[failedHere]; r.State != want && r.State != Expired {
			t.Errorf("%s is %s, want %s: %+v", id, r.State, want, r)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, c := range r.CDNs {
			left := c.left()
			if !c.State.Final() || c.State == Done && len(left) > 0 {
				t.Errorf("%s: %+v at the end of the job", id, c)
			}
			if c.failed() && len(left) == 0 && !failedHere {
				t.Errorf("%s: %+v failed with nothing", id, c)
			}
			for _, p := range r.flushedPaths() {
				if c.Outcome == Unneeded {
					t.Errorf("%s: %s is purged, and %s did not need it", id, p, c.Name)
				}
				if slices.Contains(left, p) {
					continue
				}
				first := slices.IndexFunc(m.purged[p], func(at time.Time) bool { return !at.Before(r.Date) })
				if first < 0 || !slices.ContainsFunc(m.told[c.Name][p], func(at time.Time) bool { return !at.Before(m.purged[p][first]) }) {
					t.Errorf("%s: %s has not heard of %s: %+v", id, c.Name, p, r)
				}
			}
		}
		return r
	}
	for epoch := range 1 + rng.IntN(4) {
		var names []string
		for _, name := range all {
			if rng.IntN(4) > 0 {
				names = append(names, name)
			}
		}
		s := open(t, &fake{path: m.path}, ServiceOptions{Log: log, CDNs: modelCDNs{m, names}, Workers: 1 + rng.IntN(2), Tries: 2, CloseTimeout: -1})
		for range rng.IntN(15) {
			time.Sleep(time.Duration(rng.ExpFloat64() * float64(time.Second)))
			if len(ids) > 0 && rng.IntN(3) == 0 {
				id := ids[rng.IntN(len(ids))]
				check(s, id)
				if _, err := s.Retry(t.Context(), id); err != nil && err != ErrNothingFailed && err != ErrNotFinished {
					t.Error(err)
				}
				continue
			}
			var paths []string
			for _, i := range rng.Perm(6)[:1+rng.IntN(3)] {
				paths = append(paths, []string{"/p/a", "/p/b", "/p/c", "/p/d", "/p/same", "/q/same"}[i])
			}
			ids = append(ids, submit(t, s, nil, paths...).ID())
		}
		if rng.IntN(2) == 0 {
			time.Sleep(time.Duration(rng.IntN(60)) * time.Second)
		}
		for _, id := range ids {
			check(s, id)
		}
		if err := s.Close(); err != nil {
			t.Errorf("epoch %d: %v", epoch, err)
		}
	}
	m.mu.Lock()
	m.calm = true
	m.mu.Unlock()
	s := open(t, &fake{path: m.path}, ServiceOptions{Log: log, CDNs: modelCDNs{m, all}})
	defer s.Close()
	time.Sleep(time.Hour)
	for _, id := range ids {
		if r := check(s, id); !r.State.Final() {
			t.Errorf("%s goes on after an hour: %+v", id, r)
		} else if r.State != Done {
			if _, err := s.Retry(t.Context(), id); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Minute)
			if r := check(s, id); r.State != Done {
				t.Errorf("%s does not become done: %s", id, fmt.Sprintf("%+v", r))
			}
		}
	}
}
