package purge

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A clerk is a Target that takes a second for each path and notes when each was begun.
type clerk struct {
	fake
	mu    sync.Mutex // guards begun
	begun []string
}

func newClerk() *clerk {
	c := new(clerk)
	c.path = func(_ context.Context, path string, _ Mode) (PathResult, error) {
		c.mu.Lock()
		c.begun = append(c.begun, strings.TrimPrefix(path, "/photos/"))
		c.mu.Unlock()
		time.Sleep(time.Second)
		return PathResult{Derivatives: 1}, nil
	}
	return c
}

func submitAs(t *testing.T, s *Service, tenant string, paths ...string) *Job {
	t.Helper()
	for i := range paths {
		paths[i] = "/photos/" + paths[i]
	}
	j, err := s.Submit(t.Context(), Request{Tenant: tenant, Paths: paths}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// One tenant has a hundred jobs, another submits its first. Between that and its beginning no job of the
// other tenant begins: it waits for one of the jobs that workers are at, and for nothing else.
func TestAHundredJobsDelayAnotherTenantsFirstByNoneThatWaits(t *testing.T) {
	for _, workers := range []int{1, 2, 4} {
		for _, size := range []int{1, 3, 60} { // paths of each of the hundred
			t.Run(fmt.Sprintf("%d workers, %d paths", workers, size), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newClerk()
					s := NewService(c, &ServiceOptions{Workers: workers, MaxWait: -1, CloseTimeout: -1})
					defer s.Close()
					var theirs []*Job
					for i := range 100 {
						var paths []string
						for k := range size {
							paths = append(paths, fmt.Sprintf("a%d-%d", i, k))
						}
						theirs = append(theirs, submitAs(t, s, "a", paths...))
					}
					time.Sleep(time.Duration(size)*5*time.Second/2 + time.Millisecond)
					begun := func() (n int) {
						for _, j := range theirs {
							if j.Record().State != Received {
								n++
							}
						}
						return n
					}
					before := begun()
					mine := submitAs(t, s, "b", "mine")
					for mine.Record().State == Received {
						time.Sleep(time.Millisecond)
					}
					if after := begun(); after > before+workers-1 { // the other workers may be free at the same instant
						t.Errorf("%d jobs of the other began before it", after-before)
					}
					wait(t, mine)
				})
			})
		}
	}
}

// Over time tenants get as many paths, whatever the size of their jobs.
func TestTenantsShareWorkersByPaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClerk()
		s := NewService(c, &ServiceOptions{Workers: 1, MaxWait: -1, CloseTimeout: -1})
		defer s.Close()
		sizes := map[string]int{"a": 1, "b": 10, "c": 120}
		for tenant, size := range sizes {
			for i := range 1200 / size {
				if i >= 300 {
					break
				}
				var paths []string
				for k := range size {
					paths = append(paths, fmt.Sprintf("%s%d-%d", tenant, i, k))
				}
				submitAs(t, s, tenant, paths...)
			}
		}
		time.Sleep(750 * time.Second)
		got := make(map[byte]int)
		c.mu.Lock()
		for _, p := range c.begun {
			got[p[0]]++
		}
		c.mu.Unlock()
		for tenant := range sizes {
			if n := got[tenant[0]]; n < 250-120 || n > 250+120 {
				t.Errorf("tenant %s got %d paths of 750, where a third is due, and no more than its longest job beside", tenant, n)
			}
		}
	})
}

// Coming and going gains nothing: a tenant that has one job waiting at any time does not keep another waiting.
func TestATenantThatComesAndGoesGetsNoMoreThanItsShare(t *testing.T) {
	var q queue
	job := func(tenant string) *Job { return &Job{rec: Record{Tenant: tenant, Paths: make([]PathResult, 1)}} }
	for range 1000 {
		q.push(job("steady"))
	}
	got := make(map[string]int)
	for range 600 {
		if tn := q.tenants["flighty"]; tn == nil || len(tn.jobs) == 0 {
			q.push(job("flighty"))
		}
		got[q.pop().rec.Tenant]++
	}
	if got["steady"] < 300 {
		t.Errorf("%v", got)
	}
}

// A random history against a list: each job comes out once, each tenant's in order, and nothing is left over.
func TestQueueAgainstAList(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var q queue
	var list []*Job
	for step := range 20_000 {
		switch rnd.IntN(9) {
		case 0, 1, 2, 3:
			j := &Job{rec: Record{Tenant: fmt.Sprint(rnd.IntN(20)), Paths: make([]PathResult, 1+rnd.IntN(200))}}
			q.push(j)
			list = append(list, j)
		case 4:
			if len(list) > 0 {
				i := rnd.IntN(len(list))
				if !q.remove(list[i]) || q.remove(list[i]) {
					t.Fatalf("step %d: remove", step)
				}
				list = slices.Delete(list, i, i+1)
			}
		default:
			j := q.pop()
			if j == nil && len(list) == 0 {
				continue
			}
			i := slices.IndexFunc(list, func(k *Job) bool { return j != nil && k.rec.Tenant == j.rec.Tenant })
			if i < 0 || list[i] != j {
				t.Fatalf("step %d: popped %v, the tenant's %d", step, j, i)
			}
			list = slices.Delete(list, i, i+1)
		}
		if q.Len() != len(list) {
			t.Fatalf("step %d: %d jobs, want %d", step, q.Len(), len(list))
		}
		if q.fresh.Len()+q.rest.Len() != len(q.tenants) || q.n == 0 && len(q.tenants) != 0 {
			t.Fatalf("step %d: %d fresh, %d others, %d tenants, %d jobs", step, q.fresh.Len(), q.rest.Len(), len(q.tenants), q.n)
		}
	}
}

func TestQueueForgetsTenants(t *testing.T) {
	var q queue
	for range 5 {
		q.push(&Job{rec: Record{Tenant: "waits"}})
	}
	for i := range 20_000 {
		q.push(&Job{rec: Record{Tenant: fmt.Sprint(i)}})
		q.pop()
	}
	if len(q.tenants) > 1100 {
		t.Errorf("%d tenants for %d jobs", len(q.tenants), q.Len())
	}
}

// Jobs that wait for the same work share it. Each is accepted, each is in the log, each comes to its end with events of its own.
func TestIdenticalJobsThatWaitShareTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClerk()
		accepted := 0
		c.accept = func(context.Context, Request) error { accepted++; return nil }
		s := NewService(c, &ServiceOptions{Workers: 1})
		defer s.Close()
		first := submitAs(t, s, "t", "x")
		synctest.Wait()
		var told [3]events
		var same []*Job
		for i, paths := range [][]string{{"/photos/a", "/photos/b"}, {"/photos/b", "/photos/a"}, {"/photos/a", "/photos/b", "/photos/a"}} {
			j, err := s.Submit(t.Context(), Request{Tenant: "t", Paths: paths}, told[i].add)
			if err != nil {
				t.Fatal(err)
			}
			same = append(same, j)
		}
		late := submitAs(t, s, "t", "x") // its twin is at work already, and may be past the point
		others := []*Job{first, late}
		for _, r := range []Request{
			{Tenant: "u", Paths: []string{"/photos/a", "/photos/b"}},
			{Tenant: "t", Paths: []string{"/photos/a", "/photos/b"}, Mode: Stale},
			{Tenant: "t", Paths: []string{"/photos/a"}},
		} {
			j, err := s.Submit(t.Context(), r, nil)
			if err != nil {
				t.Fatal(err)
			}
			others = append(others, j)
		}
		if accepted != 8 || s.sharing != 2 {
			t.Errorf("%d accepted, %d share", accepted, s.sharing)
		}
		for i, j := range same {
			r := wait(t, j)
			if r.State != Done || r.Paths[0].Derivatives != 1 || r.Paths[1].Derivatives != 1 {
				t.Errorf("%+v", r)
			}
			synctest.Wait()
			if want := []State{Received, Preparing, FlushingServers, FlushingCDN, Done}; !slices.Equal(told[i].states(), want) {
				t.Errorf("told %v", told[i].states())
			}
			if _, err := s.Get(j.ID()); err != nil {
				t.Error(err)
			}
		}
		for _, j := range others {
			wait(t, j)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if slices.Sort(c.begun); strings.Join(c.begun, " ") != "a a a a b b b x x" {
			t.Errorf("begun %v", c.begun)
		}
	})
}

// What shares the work of a job that expires goes on without it.
func TestSharersOutliveTheirLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := NewService(&fake{path: hold(release)}, &ServiceOptions{Workers: 1, MaxWait: 10 * time.Second})
		defer s.Close()
		submitAs(t, s, "", "x")
		synctest.Wait()
		lead := submitAs(t, s, "", "a")
		time.Sleep(5 * time.Second)
		second, third := submitAs(t, s, "", "a"), submitAs(t, s, "", "a")
		time.Sleep(6 * time.Second)
		if r := wait(t, lead); r.State != Expired || s.sharing != 1 || s.queue.Len() != 1 {
			t.Errorf("%s, %d share, %d wait", r.State, s.sharing, s.queue.Len())
		}
		close(release)
		for _, j := range []*Job{second, third} {
			if r := wait(t, j); r.State != Done {
				t.Error(r.Err())
			}
		}
	})
}
