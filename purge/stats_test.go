package purge

import (
	"context"
	"errors"
	"testing"
	"time"
)

// The numbers of Stats are those of what happened: in states, by outcome, with work that is shared counted once.
func TestStats(t *testing.T) {
	var release chan struct{} // of the bubble
	target := &fake{
		accept: func(_ context.Context, r Request) error {
			if len(r.Paths) > 0 && r.Paths[0] == "/none/a" {
				return &PathError{Path: r.Paths[0], Reason: "names no source"}
			}
			return nil
		},
		path: func(ctx context.Context, path string, mode Mode) (PathResult, error) {
			switch path {
			case "/a/slow":
				return hold(release)(ctx, path, mode)
			case "/a/bad":
				return PathResult{Derivatives: 1, Bytes: 7}, Permanent(errors.New("broken"))
			}
			time.Sleep(3 * time.Second)
			return PathResult{Originals: 1, Derivatives: 2, Composites: 1, Bytes: 100}, nil
		},
	}
	o := &ServiceOptions{Workers: 1, MaxQueued: 3, MaxWait: time.Minute}
	bubble(t, target, o, func(t *testing.T, s *Service) {
		release = make(chan struct{})
		is := func(when string, got, want int64) {
			t.Helper()
			if got != want {
				t.Errorf("%s is %d, want %d", when, got, want)
			}
		}
		for _, path := range []string{"x", "/none/a"} {
			if _, err := s.Submit(t.Context(), Request{Paths: []string{path}}, nil); err == nil {
				t.Fatal(path)
			}
		}
		first := submit(t, s, nil, "/a/slow")
		time.Sleep(time.Second)
		twin := submit(t, s, nil, "/a/1", "/a/2")
		other := submit(t, s, nil, "/a/2", "/a/1") // the same work: it is shared
		bad := submit(t, s, nil, "/a/bad")
		if _, err := s.Submit(t.Context(), Request{Paths: []string{"/a/3"}}, nil); !errors.Is(err, ErrBusy) {
			t.Fatal(err)
		}
		n := s.Stats()
		is("accepted", n.Accepted[Original], 4)
		is("refused as too many", n.Refused["busy"], 1)
		is("refused for their paths", n.Refused["invalid_path"], 2)
		is("waiting", int64(n.Waiting), 3)
		is("working", int64(n.Working), 1)
		is("received", int64(n.Active[Received]), 3)
		is("flushing", int64(n.Active[FlushingServers]), 1)
		is("in the log", int64(n.Records), 4)

		time.Sleep(9 * time.Second)
		close(release)
		for _, j := range []*Job{first, twin, other, bad} {
			wait(t, j)
		}
		if _, err := s.Retry(t.Context(), bad.ID()); err != nil {
			t.Fatal(err)
		}
		wait(t, bad)
		n = s.Stats()
		for state, active := range n.Active {
			is("active as "+string(state), int64(active), 0)
		}
		is("done", n.Ended[Done], 3)
		is("errors", n.Ended[Error], 2)
		is("retried", n.Retried, 1)
		is("removed", n.Paths[Removed], 2) // of the twins, once
		is("absent", n.Paths[Absent], 1)
		is("failed", n.Paths[Failed], 2)
		is("originals", n.Originals, 2)
		is("derivatives", n.Derivatives, 4+2)
		is("composites", n.Composites, 2)
		is("bytes", n.Bytes, 200+14)
		steps := n.Steps[Received]
		is("waits", steps.Count(), 5)
		is("seconds of waiting", int64(steps.Sum.Seconds()), 9+9+15) // the twins until the first is done, and bad until they are
		flushing := n.Steps[FlushingServers]
		is("flushes", flushing.Count(), 5)
		is("seconds of flushing", int64(flushing.Sum.Seconds()), 10+6+6)
		if len(flushing.Counts) != len(flushing.Bounds)+1 {
			t.Errorf("%d counts of %d bounds", len(flushing.Counts), len(flushing.Bounds))
		}
		n.Accepted[All], n.Steps[Received].Counts[0] = 99, 99
		if again := s.Stats(); again.Accepted[All] != 0 || again.Steps[Received].Counts[0] == 99 {
			t.Error("what Stats has returned is the service's own")
		}
	})
}

// What a restart goes on with is active.
func TestStatsOfARestart(t *testing.T) {
	log := new(MemoryLog)
	s, err := Open(t.Context(), &fake{path: hold(nil)}, &ServiceOptions{Log: log, CloseTimeout: -1})
	if err != nil {
		t.Fatal(err)
	}
	submit(t, s, nil, "/a/1")
	s.Close()
	release := make(chan struct{})
	s, err = Open(t.Context(), &fake{path: hold(release)}, &ServiceOptions{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	n := s.Stats()
	active := 0
	for _, k := range n.Active {
		active += k
	}
	if active != 1 || n.Accepted[Original] != 0 {
		t.Errorf("%v active, %v accepted", n.Active, n.Accepted)
	}
	close(release)
	records, _, err := s.List("", 1)
	if err != nil || len(records) != 1 {
		t.Fatal(records, err)
	}
	for range 500 {
		if n = s.Stats(); n.Ended[Done] == 1 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n.Ended[Done] != 1 || n.Active[Received]+n.Active[Preparing]+n.Active[FlushingServers]+n.Active[FlushingCDN] != 0 {
		t.Errorf("ended %v, active %v", n.Ended, n.Active)
	}
}
