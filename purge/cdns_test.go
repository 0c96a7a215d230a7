package purge

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fakeCDNs does what it is told, a CDN after another.
type fakeCDNs struct {
	names []string
	flush func(ctx context.Context, name string, paths []string) CDNResult // nil: takes all

	mu      sync.Mutex
	flushes []Flush
}

func (c *fakeCDNs) Names() []string { return slices.Clone(c.names) }

func (c *fakeCDNs) Flush(ctx context.Context, f Flush, report func(CDNResult)) {
	c.mu.Lock()
	c.flushes = append(c.flushes, f)
	c.mu.Unlock()
	for _, name := range c.names {
		paths := f.Parts[name]
		if len(paths) == 0 {
			continue
		}
		r := CDNResult{Name: name, State: Done, Outcome: Accepted, Items: len(paths), Purged: len(paths)}
		if c.flush != nil {
			r = c.flush(ctx, name, paths)
		}
		if ctx.Err() != nil {
			return
		}
		if r.Name != "" {
			report(r)
		}
	}
}

// told is what each flush had for each CDN, one line for each.
func (c *fakeCDNs) told() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	flushes := slices.Clone(c.flushes)
	slices.SortStableFunc(flushes, func(a, b Flush) int { return cmp.Or(a.Attempt-b.Attempt, strings.Compare(a.ID, b.ID)) })
	var lines []string
	for _, f := range flushes {
		for _, name := range c.names {
			if p := f.Parts[name]; len(p) > 0 {
				lines = append(lines, fmt.Sprintf("%d %s %s", f.Attempt, name, strings.Join(p, ",")))
			}
		}
	}
	return strings.Join(lines, "\n")
}

// down is the result of a CDN that failed for those paths.
func down(name string, paths ...string) CDNResult {
	return CDNResult{Name: name, State: Error, Reason: "503: down", Failed: []CDNFailure{{"503: down", paths}}}
}

func TestCDNsHearOfWhatWasFlushed(t *testing.T) {
	target := &fake{path: func(_ context.Context, path string, _ Mode) (PathResult, error) {
		switch path {
		case "/p/same":
			return PathResult{Outcome: Unchanged}, nil
		case "/p/bad":
			return PathResult{}, Permanent(fmt.Errorf("no"))
		}
		return PathResult{Derivatives: 1}, nil
	}}
	cdns := &fakeCDNs{names: []string{"edge", "other"}}
	var told events
	bubble(t, target, &ServiceOptions{CDNs: cdns}, func(t *testing.T, s *Service) {
		r := wait(t, submit(t, s, told.add, "/p/a", "/p/same", "/p/bad", "/p/b"))
		if got := cdns.told(); got != "1 edge /p/a,/p/b\n1 other /p/a,/p/b" {
			t.Errorf("told\n%s", got)
		}
		if r.State != Error || len(r.CDNs) != 2 || r.CDNs[0].State != Done || r.CDNs[0].Outcome != Accepted {
			t.Errorf("got %+v", r)
		}
		if r = wait(t, submit(t, s, nil, "/p/same")); r.State != Done || r.CDNs[1].State != Done || r.CDNs[1].Outcome != Unneeded {
			t.Errorf("unchanged: %+v", r)
		}
	})
	if want := []State{Received, Preparing, FlushingServers, FlushingCDN, Error}; !reflect.DeepEqual(told.states(), want) {
		t.Errorf("states are %v", told.states())
	}
	if f := cdns.flushes[0]; f.Scope != Original || f.Mode != Delete || f.ID == "" {
		t.Errorf("got %+v", f)
	}
}

// One CDN fails: what is here is purged, the job says which CDN and why, and Retry tells that one alone, of what failed alone.
func TestACDNThatFailsIsToldAgainByRetry(t *testing.T) {
	fails := true
	cdns := &fakeCDNs{names: []string{"good", "bad"}, flush: func(_ context.Context, name string, paths []string) CDNResult {
		if name == "bad" && fails {
			return down(name, paths[0])
		}
		return CDNResult{Name: name, State: Done, Outcome: Confirmed}
	}}
	bubble(t, &fake{}, &ServiceOptions{CDNs: cdns}, func(t *testing.T, s *Service) {
		j := submit(t, s, nil, "/p/a", "/p/b")
		r := wait(t, j)
		if r.State != ErrorCDNNode || r.Paths[0].State != Done || r.CDNs[0].State != Done || r.CDNs[1].Reason != "503: down" {
			t.Errorf("got %+v", r)
		}
		if err := r.Err(); err == nil || !strings.Contains(err.Error(), "failed on bad: 503: down") {
			t.Errorf("the error is %v", err)
		}
		if _, err := s.Retry(t.Context(), j.ID()); err != nil {
			t.Fatal(err)
		}
		if r = wait(t, j); r.State != ErrorCDNNode || r.Attempt != 2 {
			t.Errorf("the second attempt: %+v", r)
		}
		fails = false
		if _, err := s.Retry(t.Context(), j.ID()); err != nil {
			t.Fatal(err)
		}
		if r = wait(t, j); r.State != Done || r.CDNs[1].Outcome != Confirmed || len(r.CDNs[1].Failed) != 0 || r.Err() != nil {
			t.Errorf("the third attempt: %+v", r)
		}
		if _, err := s.Retry(t.Context(), j.ID()); err != ErrNothingFailed {
			t.Errorf("the fourth: %v", err)
		}
	})
	if got := cdns.told(); got != "1 good /p/a,/p/b\n1 bad /p/a,/p/b\n2 bad /p/a\n3 bad /p/a" {
		t.Errorf("told\n%s", got)
	}
}

// A path that failed here is tried again, and then told to all CDNs, with what failed on one.
func TestARetryTellsWhatIsNewAndWhatFailed(t *testing.T) {
	first := true
	target := &fake{path: func(_ context.Context, path string, _ Mode) (PathResult, error) {
		if path == "/p/b" && first {
			return PathResult{}, Permanent(fmt.Errorf("no"))
		}
		return PathResult{}, nil
	}}
	cdns := &fakeCDNs{names: []string{"good", "bad"}, flush: func(_ context.Context, name string, paths []string) CDNResult {
		if name == "bad" && first {
			return down(name, paths...)
		}
		return CDNResult{Name: name, State: Done, Outcome: Accepted}
	}}
	bubble(t, target, &ServiceOptions{CDNs: cdns}, func(t *testing.T, s *Service) {
		j := submit(t, s, nil, "/p/a", "/p/b")
		if r := wait(t, j); r.State != Error {
			t.Errorf("got %+v", r)
		}
		first = false
		if _, err := s.Retry(t.Context(), j.ID()); err != nil {
			t.Fatal(err)
		}
		if r := wait(t, j); r.State != Done {
			t.Errorf("then %+v", r)
		}
	})
	if got := cdns.told(); got != "1 good /p/a\n1 bad /p/a\n2 good /p/b\n2 bad /p/b,/p/a" {
		t.Errorf("told\n%s", got)
	}
}

// A CDN that takes an hour keeps no worker: the next purge is done here at once.
func TestASlowCDNKeepsNoWorker(t *testing.T) {
	cdns := &fakeCDNs{names: []string{"slow"}, flush: func(ctx context.Context, name string, _ []string) CDNResult {
		select {
		case <-time.After(time.Hour):
		case <-ctx.Done():
		}
		return CDNResult{Name: name, State: Done, Outcome: Accepted}
	}}
	bubble(t, &fake{}, &ServiceOptions{CDNs: cdns, Workers: 1, MaxQueued: 2, MaxFlushing: 21}, func(t *testing.T, s *Service) {
		var jobs []*Job
		for i := range 20 {
			jobs = append(jobs, submit(t, s, nil, fmt.Sprintf("/p/%d", i)))
			synctest.Wait()
		}
		for _, j := range jobs {
			if r := j.Record(); r.State != FlushingCDN || r.Paths[0].State != Done || r.CDNs[0].State != FlushingCDN {
				t.Fatalf("got %+v", r)
			}
		}
		// Nothing is unbounded all the same.
		submit(t, s, nil, "/p/x")
		synctest.Wait()
		if _, err := s.Submit(t.Context(), Request{Paths: []string{"/p/y"}}, nil); ErrorCode(err) != ErrorCode(ErrBusy) {
			t.Errorf("one more: %v", err)
		}
		if _, err := s.Cancel(t.Context(), jobs[0].ID()); err != ErrNotWaiting {
			t.Errorf("cancelled: %v", err)
		}
		for _, j := range jobs {
			if r := wait(t, j); r.State != Done {
				t.Errorf("got %+v", r)
			}
		}
	})
}

func TestCDNsThatMisbehave(t *testing.T) {
	for name, flush := range map[string]func(context.Context, string, []string) CDNResult{
		"panic":       func(context.Context, string, []string) CDNResult { panic("oh") },
		"say nothing": func(context.Context, string, []string) CDNResult { return CDNResult{} },
		"say no end": func(_ context.Context, name string, _ []string) CDNResult {
			return CDNResult{Name: name, State: FlushingCDN}
		},
	} {
		t.Run(name, func(t *testing.T) {
			cdns := &fakeCDNs{names: []string{"odd"}, flush: flush}
			bubble(t, &fake{}, &ServiceOptions{CDNs: cdns}, func(t *testing.T, s *Service) {
				r := wait(t, submit(t, s, nil, "/p/a"))
				if r.State != ErrorCDNNode || r.CDNs[0].State != Error || r.CDNs[0].Reason == "" || !slices.Equal(r.CDNs[0].left(), []string{"/p/a"}) {
					t.Errorf("got %+v", r)
				}
			})
		})
	}
}

// A restart in the middle goes on with the CDNs that were not through, of all that was flushed, and with no other.
func TestFlushingCDNsGoesOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(MemoryLog)
		cdns := &fakeCDNs{names: []string{"quick", "slow"}, flush: func(ctx context.Context, name string, _ []string) CDNResult {
			if name == "slow" {
				<-ctx.Done()
			}
			return CDNResult{Name: name, State: Done, Outcome: Accepted}
		}}
		purged := make(map[string]int)
		target := &fake{path: func(_ context.Context, path string, _ Mode) (PathResult, error) {
			purged[path]++
			return PathResult{}, nil
		}}
		s := open(t, target, ServiceOptions{Log: log, CDNs: cdns, CloseTimeout: -1})
		j := submit(t, s, nil, "/p/a", "/p/b")
		synctest.Wait()
		s.Close()
		if r, err := j.Wait(t.Context()); err != ErrClosed || r.State != FlushingCDN || r.CDNs[0].State != Done {
			t.Errorf("waited for %+v, %v", r, err)
		}

		cdns = &fakeCDNs{names: []string{"new", "quick", "slow"}}
		s = open(t, target, ServiceOptions{Log: log, CDNs: cdns})
		synctest.Wait()
		defer s.Close()
		r, err := s.Get(j.ID())
		if err != nil || r.State != Done || r.Attempt != 1 || len(r.CDNs) != 3 {
			t.Errorf("%+v, %v", r, err)
		}
		if got := cdns.told(); got != "1 new /p/a,/p/b\n1 slow /p/a,/p/b" {
			t.Errorf("told\n%s", got)
		}
		if purged["/p/a"] != 1 || purged["/p/b"] != 1 {
			t.Errorf("purged %v", purged)
		}
	})
}

// What failed on a CDN is in the log, so that a retry after a restart knows it; a CDN that is no more is no longer waited for.
func TestARetryOfCDNsAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(MemoryLog)
		cdns := &fakeCDNs{names: []string{"old", "bad"}, flush: func(_ context.Context, name string, paths []string) CDNResult {
			return down(name, paths[1:]...)
		}}
		s := open(t, &fake{}, ServiceOptions{Log: log, CDNs: cdns})
		j := submit(t, s, nil, "/p/a", "/p/b")
		wait(t, j)
		s.Close()

		cdns = &fakeCDNs{names: []string{"bad"}}
		s = open(t, &fake{}, ServiceOptions{Log: log, CDNs: cdns})
		defer s.Close()
		j, err := s.Retry(t.Context(), j.ID())
		if err != nil {
			t.Fatal(err)
		}
		if r := wait(t, j); r.State != Done || len(r.CDNs) != 1 || r.Attempt != 2 {
			t.Errorf("got %+v", r)
		}
		if got := cdns.told(); got != "2 bad /p/b" {
			t.Errorf("told\n%s", got)
		}
	})
}

// Jobs that wait for the same work share what CDNs are told as well.
func TestJobsThatShareWorkShareItsCDNs(t *testing.T) {
	release := make(chan struct{})
	cdns := &fakeCDNs{names: []string{"edge"}, flush: func(_ context.Context, name string, paths []string) CDNResult {
		return down(name, paths...)
	}}
	synctest.Test(t, func(t *testing.T) {
		s := NewService(&fake{path: hold(release)}, &ServiceOptions{CDNs: cdns, Workers: 1})
		defer s.Close()
		first := submit(t, s, nil, "/p/first")
		a, b := submit(t, s, nil, "/p/a"), submit(t, s, nil, "/p/a")
		close(release)
		wait(t, first)
		for _, j := range []*Job{a, b} {
			if r := wait(t, j); r.State != ErrorCDNNode || r.CDNs[0].Reason != "503: down" {
				t.Errorf("got %+v", r)
			}
		}
		if got := cdns.told(); got != "1 edge /p/first\n1 edge /p/a" {
			t.Errorf("told\n%s", got)
		}
		for _, j := range []*Job{a, b} { // each has its own part left
			if _, err := s.Retry(t.Context(), j.ID()); err != nil {
				t.Fatal(err)
			}
			wait(t, j)
		}
		if got := cdns.told(); got != "1 edge /p/first\n1 edge /p/a\n2 edge /p/a\n2 edge /p/a" {
			t.Errorf("told\n%s", got)
		}
	})
}

func TestAProbeIsTheTargets(t *testing.T) {
	cdns := &fakeCDNs{names: []string{"edge"}}
	bubble(t, prober{&fake{}}, &ServiceOptions{CDNs: cdns}, func(t *testing.T, s *Service) {
		wait(t, submit(t, s, nil, "/p/a"))
		if status, etag, err := cdns.flushes[0].Probe(t.Context(), "/p/a"); status != 200 || etag != `"/p/a"` || err != nil {
			t.Errorf("got %d %s %v", status, etag, err)
		}
	})
}

type prober struct{ *fake }

func (prober) Probe(_ context.Context, path string) (int, string, error) {
	return 200, `"` + path + `"`, nil
}

// A shield has failed when the restart comes, and the edge behind it is not through: the edge is not told of what the shield lacks as if nothing were.
func TestAShieldThatFailedBeforeARestartIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(MemoryLog)
		cdns := &fakeCDNs{names: []string{"done", "shield", "edge"}, flush: func(ctx context.Context, name string, paths []string) CDNResult {
			switch name {
			case "shield":
				return down(name, paths[1:]...)
			case "edge":
				<-ctx.Done()
			}
			return CDNResult{Name: name, State: Done, Outcome: Accepted}
		}}
		s := open(t, &fake{}, ServiceOptions{Log: log, CDNs: cdns, CloseTimeout: -1})
		j := submit(t, s, nil, "/p/a", "/p/b")
		synctest.Wait()
		s.Close()
		cdns = &fakeCDNs{names: []string{"done", "shield", "edge"}}
		s = open(t, &fake{}, ServiceOptions{Log: log, CDNs: cdns})
		defer s.Close()
		synctest.Wait()
		if r, err := s.Get(j.ID()); err != nil || r.State != Done {
			t.Errorf("%+v, %v", r, err)
		}
		if got := cdns.told(); got != "1 shield /p/b\n1 edge /p/a,/p/b" {
			t.Errorf("told\n%s", got)
		}
	})
}

// What waited for a worker when the service closed is told to the CDNs that there are when it opens, and waits for no other.
func TestAJobThatWaitedKnowsTheCDNsThatThereAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(MemoryLog)
		old := &fakeCDNs{names: []string{"gone", "stays"}}
		s := open(t, &fake{path: func(ctx context.Context, _ string, _ Mode) (PathResult, error) {
			<-ctx.Done()
			return PathResult{}, ctx.Err()
		}}, ServiceOptions{Log: log, CDNs: old, Workers: 1, CloseTimeout: -1})
		submit(t, s, nil, "/p/held")
		j := submit(t, s, nil, "/p/a")
		synctest.Wait()
		s.Close()
		cdns := &fakeCDNs{names: []string{"stays", "new"}}
		s = open(t, &fake{}, ServiceOptions{Log: log, CDNs: cdns})
		defer s.Close()
		synctest.Wait()
		r, err := s.Get(j.ID())
		if err != nil || r.State != Done || len(r.CDNs) != 2 || r.CDNs[1].Outcome != Accepted {
			t.Errorf("%+v, %v", r, err)
		}
		if got := cdns.told(); !strings.Contains(got, "stays /p/a") || !strings.Contains(got, "new /p/a") {
			t.Errorf("told\n%s", got)
		}
	})
}

// A CDN that is new when a job is retried has heard of nothing: it is told of all that was purged.
func TestARetryTellsANewCDNAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(MemoryLog)
		fails := true
		target := &fake{path: func(_ context.Context, path string, _ Mode) (PathResult, error) {
			switch {
			case path == "/p/same":
				return PathResult{Outcome: Unchanged}, nil
			case path == "/p/b" && fails:
				return PathResult{}, Permanent(fmt.Errorf("no"))
			}
			return PathResult{}, nil
		}}
		s := open(t, target, ServiceOptions{Log: log, CDNs: &fakeCDNs{names: []string{"old"}}})
		j := submit(t, s, nil, "/p/a", "/p/b", "/p/same")
		wait(t, j)
		s.Close()
		fails = false
		cdns := &fakeCDNs{names: []string{"new", "old"}}
		s = open(t, target, ServiceOptions{Log: log, CDNs: cdns})
		defer s.Close()
		j, err := s.Retry(t.Context(), j.ID())
		if err != nil {
			t.Fatal(err)
		}
		if r := wait(t, j); r.State != Done || r.CDNs[0].Outcome != Accepted {
			t.Errorf("got %+v", r)
		}
		if got := cdns.told(); got != "2 new /p/b,/p/a\n2 old /p/b" {
			t.Errorf("told\n%s", got)
		}
	})
}

// What failed here no CDN was told of, and none says that it needed nothing.
func TestWhatFailsHereIsNotCalledUnneeded(t *testing.T) {
	fails := true
	target := &fake{path: func(context.Context, string, Mode) (PathResult, error) {
		if fails {
			return PathResult{}, Permanent(fmt.Errorf("no"))
		}
		return PathResult{}, nil
	}}
	cdns := &fakeCDNs{names: []string{"edge"}}
	bubble(t, target, &ServiceOptions{CDNs: cdns}, func(t *testing.T, s *Service) {
		j := submit(t, s, nil, "/p/a")
		if r := wait(t, j); r.State != Error || r.CDNs[0].State != Error || r.CDNs[0].Outcome != "" || r.CDNs[0].Reason == "" {
			t.Errorf("got %+v", r)
		}
		fails = false
		if _, err := s.Retry(t.Context(), j.ID()); err != nil {
			t.Fatal(err)
		}
		if r := wait(t, j); r.State != Done || r.CDNs[0].Outcome != Accepted || r.CDNs[0].Reason != "" {
			t.Errorf("then %+v", r)
		}
	})
}

// The reasons of a CDN are one line each, whoever wrote it.
func TestReasonsOfCDNsAreOneLine(t *testing.T) {
	cdns := &fakeCDNs{names: []string{"edge"}, flush: func(_ context.Context, name string, paths []string) CDNResult {
		why := strings.Repeat("a\nb", 1000)
		return CDNResult{Name: name, State: Error, Reason: why, Failed: []CDNFailure{{why, paths}}}
	}}
	bubble(t, &fake{}, &ServiceOptions{CDNs: cdns}, func(t *testing.T, s *Service) {
		r := wait(t, submit(t, s, nil, "/p/a"))
		r.CDNs[0].Failed[0].Paths[0] = "mine" // records are the receiver's
		if again, _ := s.Get(r.ID); again.CDNs[0].Failed[0].Paths[0] != "/p/a" {
			t.Error("two records share their failures")
		}
		for _, why := range []string{r.CDNs[0].Reason, r.CDNs[0].Failed[0].Reason} {
			if strings.Contains(why, "\n") || len(why) > 512 || why == "" {
				t.Errorf("got %q", why)
			}
		}
	})
}

// holdLog is a log that keeps one write waiting.
type holdLog struct {
	MemoryLog
	hold func(put []LogEntry) <-chan struct{} // nil: no
}

func (l *holdLog) Write(put []LogEntry, drop []string) error {
	if wait := l.hold(put); wait != nil {
		<-wait
	}
	return l.MemoryLog.Write(put, drop)
}

// A job is retried while the end of another that shared its work is being saved: who shares the work of the retry is not forgotten.
func TestARetryWhileASharersEndIsSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Value // the ID of the job whose end takes long to save
		saved := make(chan struct{})
		log := &holdLog{}
		log.hold = func(put []LogEntry) <-chan struct{} {
			for _, e := range put {
				if k, err := parseEntry(e); err == nil && e.ID == held.Load() && k.Record.State.Final() {
					return saved
				}
			}
			return nil
		}
		work, told := make(chan struct{}), make(chan struct{})
		attempts := 0
		cdns := &fakeCDNs{names: []string{"edge"}, flush: func(_ context.Context, name string, paths []string) CDNResult {
			if paths[0] == "/p/a" {
				if attempts++; attempts == 3 {
					<-told
				}
			}
			return down(name, paths...)
		}}
		s := open(t, &fake{path: func(_ context.Context, path string, _ Mode) (PathResult, error) {
			if strings.HasPrefix(path, "/p/hold") {
				<-work
			}
			return PathResult{}, nil
		}}, ServiceOptions{Log: log, CDNs: cdns, Workers: 1})
		defer s.Close()
		d := submit(t, s, nil, "/p/a")
		wait(t, d)
		submit(t, s, nil, "/p/hold1")
		a, b := submit(t, s, nil, "/p/a"), submit(t, s, nil, "/p/a")
		held.Store(b.ID())
		work <- struct{}{}
		wait(t, a)
		submit(t, s, nil, "/p/hold2")
		synctest.Wait()
		for _, j := range []*Job{a, d} {
			if _, err := s.Retry(t.Context(), j.ID()); err != nil {
				t.Fatal(err)
			}
		}
		work <- struct{}{}
		synctest.Wait()
		close(saved)
		synctest.Wait()
		close(told)
		for _, j := range []*Job{a, b, d} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			if r, err := j.Wait(ctx); err != nil || r.State != ErrorCDNNode {
				t.Errorf("%v: %s, %v", r.Attempt, r.State, err)
			}
		}
	})
}
