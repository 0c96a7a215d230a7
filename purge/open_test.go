package purge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var errCrash = errors.New("the power is gone")

// A failing log fails from its n-th write on, as if the power had gone before that write or, with after, just after it.
type failing struct {
	Log
	mu    sync.Mutex // guards n
	n     int
	after bool
}

func (l *failing) Write(put []LogEntry, drop []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n--; l.n > 0 {
		return l.Log.Write(put, drop)
	}
	if l.n == 0 && l.after {
		if err := l.Log.Write(put, drop); err != nil {
			return err
		}
	}
	return errCrash
}

// A cacheDisk is a Target on a disk that keeps what was accepted and purged.
type cacheDisk struct {
	mu       sync.Mutex // guards all
	accepted map[string]int
	purged   map[string]int
	order    []string
}

func newCacheDisk() *cacheDisk {
	return &cacheDisk{accepted: make(map[string]int), purged: make(map[string]int)}
}

func (d *cacheDisk) Accept(_ context.Context, r Request) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range r.Paths {
		d.accepted[p]++
		d.order = append(d.order, "accept "+p)
	}
	return nil
}

func (d *cacheDisk) PurgePath(_ context.Context, path string, _ Mode) (PathResult, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.purged[path]++
	d.order = append(d.order, "purge "+path)
	return PathResult{Originals: 1}, nil
}

func (d *cacheDisk) PurgeAll(context.Context, string, Mode) (PathResult, error) {
	return PathResult{}, nil
}

func entries(l Log) (all []LogEntry) {
	for e := range l.Entries("") {
		all = append(all, e)
	}
	return all
}

func open(t *testing.T, target Target, o ServiceOptions) *Service {
	t.Helper()
	s, err := Open(t.Context(), target, &o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The power goes before each write of the log, and just after each. Whatever was acknowledged is in force after the
// restart and comes to its end; what the log has was accepted.
func TestACrashAtEveryWriteLosesNothing(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			whole := false
			t.Run(fmt.Sprintf("after=%v/%d", after, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { whole = crashAtWrite(t, n, after) })
			})
			if whole {
				break
			}
			if n > 1000 {
				t.Fatal("it never comes through")
			}
		}
	}
}

func crashAtWrite(t *testing.T, n int, after bool) (whole bool) {
	disk, log := newCacheDisk(), &failing{Log: new(MemoryLog), n: n, after: after}
	s := open(t, disk, ServiceOptions{Log: log, CloseTimeout: -1})
	acknowledged := make(map[string][]string)
	for i := range 6 {
		var paths []string
		for k := range 1 + 60*(i%3) { // some save their progress
			paths = append(paths, fmt.Sprintf("/photos/%d-%d", i, k))
		}
		if j, err := s.Submit(t.Context(), Request{Paths: paths}, nil); err == nil {
			acknowledged[j.ID()] = paths
		} else if !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
	}
	synctest.Wait()
	log.mu.Lock()
	whole = log.n > 0
	log.mu.Unlock()

	// The restart: what the first service does from here on reaches no log.
	s.Close()
	s = open(t, disk, ServiceOptions{Log: log.Log})
	disk.mu.Lock()
	for id, paths := range acknowledged {
		for _, p := range paths {
			if disk.accepted[p] == 0 {
				t.Errorf("%s of %s is not in force", p, id)
			}
		}
	}
	disk.mu.Unlock()
	s.Close()
	for id, paths := range acknowledged {
		r, err := s.Get(id)
		if err != nil || r.State != Done || len(r.Paths) != len(paths) {
			t.Errorf("%s: %v, %s, %d paths of %d", id, err, r.State, len(r.Paths), len(paths))
		}
	}
	records, _, _ := s.List("", 100)
	for _, r := range records {
		for _, p := range r.Paths {
			if r.State != Done || disk.accepted[p.Path] == 0 || disk.purged[p.Path] == 0 {
				t.Errorf("%s: %s, %s accepted %d times, purged %d", r.ID, r.State, p.Path, disk.accepted[p.Path], disk.purged[p.Path])
			}
		}
	}
	return whole
}

func TestAnIntentIsAcceptedBeforeOpenReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, disk := new(MemoryLog), newCacheDisk()
		f := &failing{Log: log, n: 2} // the second write is that of the acceptance
		s := open(t, &fake{}, ServiceOptions{Log: f})
		if _, err := s.Submit(t.Context(), Request{Paths: []string{"/photos/a"}, Tenant: "t"}, nil); !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		s.Close()
		var told events
		s = open(t, disk, ServiceOptions{Log: log, OnStatus: told.add})
		disk.mu.Lock()
		if !slices.Equal(disk.order[:1], []string{"accept /photos/a"}) {
			t.Errorf("when Open returned: %q", disk.order)
		}
		disk.mu.Unlock()
		synctest.Wait()
		if want := []State{Received, Preparing, FlushingServers, FlushingCDN, Done}; !slices.Equal(told.states(), want) {
			t.Errorf("told %v", told.states())
		}
		if r := told.all[4].Record; r.Tenant != "t" || r.Attempt != 1 {
			t.Errorf("%+v", r)
		}
		s.Close()
	})
}

func TestARefusalOfAnIntent(t *testing.T) {
	for _, tt := range []struct {
		name  string
		err   error
		opens bool
	}{
		{"a path that is wrong by now is dropped", &PathError{Path: "/photos/a", Reason: "is gone"}, true},
		{"any other failure is one of Open", errors.New("the disk is full"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := new(MemoryLog)
				s := open(t, &fake{}, ServiceOptions{Log: &failing{Log: log, n: 2}})
				s.Submit(t.Context(), Request{Paths: []string{"/photos/a"}}, nil)
				s.Close()
				target := &fake{accept: func(context.Context, Request) error { return tt.err }}
				s, err := Open(t.Context(), target, &ServiceOptions{Log: log})
				left := len(entries(log))
				if tt.opens {
					if err != nil || left != 0 {
						t.Errorf("%v, %d entries are left", err, left)
					}
					s.Close()
				} else if !errors.Is(err, tt.err) || !strings.Contains(err.Error(), "the log memory") || left != 1 {
					t.Errorf("%v, %d entries are left", err, left)
				}
			})
		})
	}
}

// A service is closed while a job is at work and one waits. Both go on after the restart: the same attempt, states
// and sequence numbers that follow, and no path that was done is done again.
func TestUnfinishedJobsGoOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, disk := new(MemoryLog), newCacheDisk()
		target := &fake{accept: disk.Accept, path: func(ctx context.Context, path string, mode Mode) (PathResult, error) {
			if path == "/photos/slow" {
				<-ctx.Done()
				return PathResult{}, ctx.Err()
			}
			return disk.PurgePath(ctx, path, mode)
		}}
		var before, after events
		s := open(t, target, ServiceOptions{Log: log, Workers: 1, OnStatus: before.add, CloseTimeout: -1})
		atWork := submit(t, s, nil, "/photos/quick", "/photos/slow")
		waiting := submit(t, s, nil, "/photos/waits")
		synctest.Wait()
		s.Close()
		for _, j := range []*Job{atWork, waiting} {
			if r, err := j.Wait(t.Context()); err != ErrClosed || r.State.Final() {
				t.Errorf("waited for %s, %v", r.State, err)
			}
		}

		s = open(t, disk, ServiceOptions{Log: log, Workers: 1, OnStatus: after.add})
		synctest.Wait()
		s.Close()
		for _, tt := range []struct {
			j             *Job
			before, after string
		}{
			{atWork, "1 received 2 preparing 3 flushing_servers", "4 flushing_cdn 5 done"},
			{waiting, "1 received", "2 preparing 3 flushing_servers 4 flushing_cdn 5 done"},
		} {
			told := func(all []Event) string {
				var words []string
				for _, e := range all {
					if e.ID == tt.j.ID() {
						words = append(words, fmt.Sprint(e.Seq, " ", e.State))
					}
				}
				return strings.Join(words, " ")
			}
			if b, a := told(before.all), told(after.all); b != tt.before || a != tt.after {
				t.Errorf("told %q, then %q", b, a)
			}
			r, err := s.Get(tt.j.ID())
			if err != nil || r.Attempt != 1 || len(r.History) != 5 {
				t.Errorf("%v, %+v", err, r)
			}
		}
		if want := map[string]int{"/photos/quick": 1, "/photos/slow": 1, "/photos/waits": 1}; !maps.Equal(disk.purged, want) {
			t.Errorf("purged %v", disk.purged)
		}
	})
}

func TestRecordsAndRetriesSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(MemoryLog)
		broken := &fake{path: func(context.Context, string, Mode) (PathResult, error) {
			return PathResult{Derivatives: 2}, Permanent(errors.New("no"))
		}}
		s := open(t, broken, ServiceOptions{Log: log})
		j := submit(t, s, nil, "/photos/a")
		want := wait(t, j)
		s.Close()

		s = open(t, broken, ServiceOptions{Log: log})
		if got, err := s.Get(j.ID()); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
		}
		if _, err := s.Retry(t.Context(), j.ID()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		later := submit(t, s, nil, "/photos/b")
		s.Close()

		s = open(t, &fake{}, ServiceOptions{Log: log})
		if r, err := s.Get(j.ID()); err != nil || r.Attempt != 2 || r.State != Error || r.Paths[0].Derivatives != 4 {
			t.Errorf("%v, %+v", err, r)
		}
		again, err := s.Retry(t.Context(), j.ID())
		if err != nil {
			t.Fatal(err)
		}
		if r := wait(t, again); r.Attempt != 3 || r.State != Done {
			t.Errorf("%+v", r)
		}
		if got := ids(s.List("", 0)); !slices.Equal(got, []string{later.ID(), j.ID()}) {
			t.Errorf("the log has %v", got)
		}
		s.Close()
	})
}

func TestARetryThatIsNotSavedIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := &fake{path: func(context.Context, string, Mode) (PathResult, error) {
			return PathResult{}, Permanent(errors.New("no"))
		}}
		log := &failing{Log: new(MemoryLog), n: 100}
		s := open(t, broken, ServiceOptions{Log: log})
		defer s.Close()
		j := submit(t, s, nil, "/photos/a")
		want := wait(t, j)
		log.n = 0
		if _, err := s.Retry(t.Context(), j.ID()); !errors.Is(err, errCrash) {
			t.Error(err)
		}
		if r := j.Record(); fmt.Sprint(r) != fmt.Sprint(want) {
			t.Errorf("got  %+v\nwant %+v", r, want)
		}
	})
}

func TestTheLogIsBoundedByCountAndAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(MemoryLog)
		kept := func() int { return len(entries(log)) }
		s := open(t, &fake{}, ServiceOptions{Log: log, MaxLog: 3})
		for range 10 {
			wait(t, submit(t, s, nil, "/photos/a"))
		}
		if n := kept(); n > 5 { // what was dropped goes with the next write
			t.Errorf("%d are kept", n)
		}
		s.Close()
		s = open(t, &fake{}, ServiceOptions{Log: log, MaxLog: 2, MaxAge: time.Hour})
		if l, _, _ := s.List("", 0); len(l) != 2 {
			t.Errorf("%d after the restart", len(l))
		}
		time.Sleep(time.Hour + time.Second)
		if l, _, _ := s.List("", 0); len(l) != 0 {
			t.Errorf("%d after an hour", len(l))
		}
		wait(t, submit(t, s, nil, "/photos/a"))
		if n := kept(); n != 1 {
			t.Errorf("%d are kept after an hour", n)
		}
		s.Close()
	})
}

func TestADamagedLogIsAnErrorOfOpen(t *testing.T) {
	const id = "0198c1d2-0000-7000-8000-000000000001"
	good, err := kept{Accepted: true, Record: Record{ID: id, Attempt: 1, Paths: []PathResult{{Path: "/photos/a"}}}}.entry()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseEntry(good); err != nil {
		t.Fatal(err)
	}
	later := strings.Replace(string(good.Data), "purge 1", "purge 2", 1)
	for _, tt := range []struct{ data, want string }{
		{"", "is damaged"},
		{"purge", "is damaged"},
		{string(good.Data[:len(good.Data)-1]), "is damaged"},
		{later, "has version 2, and this program knows 1 alone"},
	} {
		log := new(MemoryLog)
		log.Write([]LogEntry{{ID: id, Data: []byte(tt.data)}}, nil)
		want := fmt.Sprintf("purge: the log memory: job %q %s", id, tt.want)
		if _, err := Open(t.Context(), &fake{}, &ServiceOptions{Log: log}); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	for i := range good.Data {
		for bit := range 8 {
			bad := LogEntry{ID: id, Data: slices.Clone(good.Data)}
			bad.Data[i] ^= 1 << bit
			if _, err := parseEntry(bad); err == nil {
				t.Fatalf("bit %d of byte %d is changed, and nobody noticed", bit, i)
			}
		}
	}
}

func TestIDsGrowAcrossRestarts(t *testing.T) {
	var g, h idSource
	now := time.UnixMilli(1_700_000_000_000)
	last := g.next(now)
	h.saw(last)
	if next := h.next(now.Add(-time.Hour)); next <= last {
		t.Errorf("%s after %s", next, last)
	}
}
