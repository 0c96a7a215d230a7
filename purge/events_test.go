package purge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// follow reads events until there are n, or none comes any more.
func follow(t *testing.T, s *Service, after string, n int) (got []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for e, err := range s.Events(ctx, after) {
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) && err != ErrClosed {
				t.Error(err)
			}
			break
		}
		if e.Record.ID != e.ID {
			t.Errorf("%+v", e)
		}
		if got = append(got, e.EventID()); len(got) == n {
			break
		}
	}
	return got
}

func eventIDs(jobs ...*Job) (all []string) {
	for _, j := range jobs {
		for n := range 5 {
			all = append(all, fmt.Sprintf("%s.%d", j.ID(), n+1))
		}
	}
	return all
}

func TestEventsComeInOrderAndGoOnAfterAnID(t *testing.T) {
	bubble(t, &fake{}, nil, func(t *testing.T, s *Service) {
		var live []string
		done := make(chan struct{})
		go func() { defer close(done); live = follow(t, s, "", 10) }()
		synctest.Wait()
		a := submit(t, s, nil, "/photos/a")
		wait(t, a)
		b := submit(t, s, nil, "/photos/b")
		<-done
		want := eventIDs(a, b)
		if !slices.Equal(live, want) {
			t.Errorf("got  %v\nwant %v", live, want)
		}
		for i, id := range want {
			if got := follow(t, s, id, 0); !slices.Equal(got, want[i+1:]) {
				t.Errorf("after %s: %v", id, got)
			}
		}
	})
}

func TestEventsOfBeforeARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(MemoryLog)
		s := open(t, &fake{}, ServiceOptions{Log: log})
		var jobs []*Job
		for range 3 {
			j := submit(t, s, nil, "/photos/a")
			wait(t, j)
			jobs = append(jobs, j)
			time.Sleep(time.Second)
		}
		s.Close()
		s = open(t, &fake{}, ServiceOptions{Log: log})
		want := eventIDs(jobs...)
		for i, id := range want {
			got := follow(t, s, id, 0)
			for _, id := range want[i+1:] { // at least once
				if !slices.Contains(got, id) {
					t.Errorf("after %s: %v lacks %s", want[i], got, id)
				}
			}
			if slices.Contains(got, id) {
				t.Errorf("after %s: it comes again", id)
			}
		}
		for _, unknown := range []string{"x", "0198c1d2-0000-7000-8000-000000000001.1", "."} {
			if got := follow(t, s, unknown, 0); !slices.Equal(got, want) {
				t.Errorf("after %q: %v", unknown, got)
			}
		}
		s.Close()
	})
}

// Who has called Events may tell others to begin: what they do is seen, whenever the first event is read.
func TestEventsBeginWithTheCall(t *testing.T) {
	bubble(t, &fake{}, nil, func(t *testing.T, s *Service) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		events := s.Events(ctx, "")
		a := submit(t, s, nil, "/photos/a")
		wait(t, a)
		for range 2 { // and an iterator begins at the same place each time
			var got []string
			for e, err := range events {
				if err != nil {
					t.Fatal(err)
				}
				if got = append(got, e.EventID()); len(got) == 5 {
					break
				}
			}
			if want := eventIDs(a); !slices.Equal(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		}
	})
}

func TestASlowReaderOfEventsMissesNothing(t *testing.T) {
	bubble(t, &fake{}, nil, func(t *testing.T, s *Service) {
		got := make(map[string]bool)
		var jobs []*Job
		first := make(chan struct{})
		goOn, done := make(chan struct{}), make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer close(done)
			for e, err := range s.Events(ctx, "") {
				if err != nil {
					return
				}
				if got[e.EventID()] = true; len(got) == 1 {
					close(first)
					<-goOn
				}
			}
		}()
		synctest.Wait()
		for range maxEvents {
			j := submit(t, s, nil, "/photos/a")
			wait(t, j)
			jobs = append(jobs, j)
		}
		<-first
		if n := len(s.stream.events); n > maxEvents {
			t.Errorf("%d events are kept", n)
		}
		close(goOn)
		synctest.Wait()
		cancel()
		<-done
		for _, id := range eventIDs(jobs...) {
			if !got[id] {
				t.Fatalf("%s is missing", id)
			}
		}
	})
}

func TestEventsEndWithTheService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewService(&fake{}, nil)
		last := make(chan error, 1)
		go func() {
			for _, err := range s.Events(t.Context(), "") {
				if err != nil {
					last <- err
				}
			}
		}()
		synctest.Wait()
		s.Close()
		if err := <-last; err != ErrClosed {
			t.Error(err)
		}
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		accepted := 0
		target := &fake{path: hold(release), accept: func(context.Context, Request) error { accepted++; return nil }}
		s := NewService(target, &ServiceOptions{Workers: 1})
		defer s.Close()
		atWork := submit(t, s, nil, "/photos/a")
		synctest.Wait()
		waiting, twin := submit(t, s, nil, "/photos/b"), submit(t, s, nil, "/photos/b")
		for _, tt := range []struct {
			id   string
			want error
		}{
			{"none", ErrNotFound},
			{atWork.ID(), ErrNotWaiting},
			{waiting.ID(), nil},
			{waiting.ID(), ErrNotWaiting},
		} {
			if _, err := s.Cancel(t.Context(), tt.id); err != tt.want {
				t.Errorf("%s: %v, want %v", tt.id, err, tt.want)
			}
		}
		if r := wait(t, waiting); r.State != Expired || !strings.Contains(r.Paths[0].Reason, "the purge is in force") || accepted != 3 {
			t.Errorf("%+v, %d accepted", r, accepted)
		}
		close(release)
		if r := wait(t, twin); r.State != Done {
			t.Error(r.Err())
		}
		if _, err := s.Cancel(t.Context(), twin.ID()); err != ErrNotWaiting {
			t.Error(err)
		}
		j, err := s.Retry(t.Context(), waiting.ID())
		if err != nil {
			t.Fatal(err)
		}
		if r := wait(t, j); r.State != Done || r.Attempt != 2 {
			t.Errorf("%+v", r)
		}
	})
}
