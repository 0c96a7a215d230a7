package purge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A fake is a Target made of functions; those that are nil succeed and say nothing.
type fake struct {
	accept func(context.Context, Request) error
	path   func(ctx context.Context, path string, mode Mode) (PathResult, error)
	all    func(ctx context.Context, source string, mode Mode) (PathResult, error)
}

func (f *fake) Accept(ctx context.Context, r Request) error {
	if f.accept == nil {
		return nil
	}
	return f.accept(ctx, r)
}

func (f *fake) PurgePath(ctx context.Context, path string, mode Mode) (PathResult, error) {
	if f.path == nil {
		return PathResult{}, nil
	}
	return f.path(ctx, path, mode)
}

func (f *fake) PurgeAll(ctx context.Context, source string, mode Mode) (PathResult, error) {
	if f.all == nil {
		return PathResult{}, nil
	}
	return f.all(ctx, source, mode)
}

// hold is a path function that returns when its context ends or release is closed.
func hold(release <-chan struct{}) func(context.Context, string, Mode) (PathResult, error) {
	return func(ctx context.Context, _ string, _ Mode) (PathResult, error) {
		select {
		case <-release:
			return PathResult{}, nil
		case <-ctx.Done():
			return PathResult{}, ctx.Err()
		}
	}
}

// events collects what a callback is told.
type events struct {
	mu  sync.Mutex
	all []Event
}

func (e *events) add(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
}

func (e *events) states() (s []State) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range e.all {
		s = append(s, ev.State)
	}
	return s
}

// bubble runs f in a synctest bubble with a service for t that is closed at the end,
// after which no goroutine may be left, or the bubble fails.
func bubble(t *testing.T, target Target, o *ServiceOptions, f func(t *testing.T, s *Service)) {
	synctest.Test(t, func(t *testing.T) {
		s := NewService(target, o)
		f(t, s)
		s.Close()
	})
}

func submit(t *testing.T, s *Service, onStatus func(Event), paths ...string) *Job {
	t.Helper()
	j, err := s.Submit(t.Context(), Request{Paths: paths}, onStatus)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func wait(t *testing.T, j *Job) Record {
	t.Helper()
	r, err := j.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestStatesInOrder(t *testing.T) {
	full := []State{Received, Preparing, FlushingServers, FlushingCDN, Done}
	noCDN := []State{Received, Preparing, FlushingServers, Done}
	failed := []State{Received, Preparing, FlushingServers, Error}
	partly := []State{Received, Preparing, FlushingServers, FlushingCDN, Error}
	for _, tt := range []struct {
		name     string
		r        Request
		outcomes []Outcome // by path
		want     []State
	}{
		{"delete", Request{Mode: Delete}, []Outcome{Removed}, full},
		{"the zero mode is delete", Request{}, []Outcome{Removed}, full},
		{"what is not stored here may be on a CDN", Request{Mode: Delete}, []Outcome{Absent}, full},
		{"revalidate, changed", Request{Mode: Revalidate}, []Outcome{Changed}, full},
		{"revalidate, gone", Request{Mode: Revalidate}, []Outcome{Gone}, full},
		{"revalidate, all unchanged, leaves CDNs alone", Request{Mode: Revalidate}, []Outcome{Unchanged, Unchanged}, noCDN},
		{"revalidate, some unchanged", Request{Mode: Revalidate}, []Outcome{Unchanged, Changed}, full},
		{"stale", Request{Mode: Stale}, []Outcome{Staled}, full},
		{"all", Request{Scope: All}, []Outcome{Removed}, full},
		{"all of a source, revalidate", Request{Scope: All, Source: "photos", Mode: Revalidate}, []Outcome{Removed}, full},
		{"all failed", Request{}, []Outcome{Failed, Failed}, failed},
		{"one failed", Request{}, []Outcome{Removed, Failed}, partly},
		{"one failed, the rest unchanged", Request{Mode: Revalidate}, []Outcome{Unchanged, Failed}, failed},
		{"all, failed", Request{Scope: All}, []Outcome{Failed}, failed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			result := func(o Outcome) (PathResult, error) {
				if o == Failed {
					return PathResult{}, errors.New("no")
				}
				return PathResult{Outcome: o}, nil
			}
			target := &fake{
				path: func(_ context.Context, path string, mode Mode) (PathResult, error) {
					if want := tt.r.Mode; mode != want && want != "" || mode == "" {
						t.Errorf("mode %q, want %q", mode, want)
					}
					return result(tt.outcomes[path[len(path)-1]-'0'])
				},
				all: func(_ context.Context, source string, mode Mode) (PathResult, error) {
					if source != tt.r.Source {
						t.Errorf("source %q, want %q", source, tt.r.Source)
					}
					return result(tt.outcomes[0])
				},
			}
			bubble(t, target, nil, func(t *testing.T, s *Service) {
				var got events
				if tt.r.Scope == "" {
					for i := range tt.outcomes {
						tt.r.Paths = append(tt.r.Paths, fmt.Sprintf("/photos/%d", i))
					}
				}
				j, err := s.Submit(t.Context(), tt.r, got.add)
				if err != nil {
					t.Fatal(err)
				}
				r := wait(t, j)
				synctest.Wait()
				if !slices.Equal(got.states(), tt.want) {
					t.Errorf("told   %v\nwanted %v", got.states(), tt.want)
				}
				var history []State
				for i, h := range r.History {
					history = append(history, h.State)
					if ev := got.all[i]; ev.Seq != i+1 || ev.ID != j.ID() || ev.Attempt != 1 || ev.Record.State != ev.State || !ev.Time.Equal(h.Time) {
						t.Errorf("event %d: %+v", i, ev)
					}
				}
				if !slices.Equal(history, tt.want) {
					t.Errorf("history %v\nwanted  %v", history, tt.want)
				}
				for i, o := range tt.outcomes {
					if r.Paths[i].Outcome != o {
						t.Errorf("path %d is %q, want %q", i, r.Paths[i].Outcome, o)
					}
				}
				if (r.Err() == nil) != (r.State == Done) {
					t.Errorf("state %s, error %v", r.State, r.Err())
				}
			})
		})
	}
}

// A selecting target can purge folders and tags.
type selecting struct {
	fake
	asked func(scope Scope, name string, mode Mode)
}

func (f *selecting) PurgeSelection(_ context.Context, scope Scope, name string, mode Mode) (PathResult, error) {
	f.asked(scope, name, mode)
	return PathResult{Originals: 2}, nil
}

func TestFoldersAndTags(t *testing.T) {
	var mu sync.Mutex
	var accepted, asked []string
	target := &selecting{}
	target.accept = func(_ context.Context, r Request) error {
		accepted = append(accepted, fmt.Sprintf("%s %s %s %s", r.Scope, r.Mode, r.Paths, r.Tags))
		return nil
	}
	target.asked = func(s Scope, name string, m Mode) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, fmt.Sprintf("%s %s %s", s, m, name))
	}
	bubble(t, target, nil, func(t *testing.T, s *Service) {
		for _, r := range []Request{
			{Scope: Prefix, Paths: []string{"/photos/a", "/photos/a/", "/photos/%62/"}},
			{Scope: Tag, Tags: []string{"x", "y", "x"}, Mode: Stale},
		} {
			j, err := s.Submit(t.Context(), r, nil)
			if err != nil {
				t.Fatal(err)
			}
			rec := wait(t, j)
			if rec.State != Done || len(rec.Paths) != 2 || rec.Paths[1].Originals != 2 {
				t.Errorf("%+v", rec)
			}
		}
		if want := []string{"prefix delete [/photos/a/ /photos/b/] []", "tag stale [] [x y]"}; !slices.Equal(accepted, want) {
			t.Errorf("accepted %q, want %q", accepted, want)
		}
		if want := []string{"prefix delete /photos/a/", "prefix delete /photos/b/", "tag stale x", "tag stale y"}; !slices.Equal(asked, want) {
			t.Errorf("asked %q, want %q", asked, want)
		}
		for _, tt := range []struct {
			r    Request
			text string
		}{
			{Request{Scope: Prefix}, `paths is empty; list at least one, such as "/source/folder/"`},
			{Request{Scope: Tag}, `tags is empty; list at least one, such as "product-17"`},
			{Request{Scope: Tag, Tags: []string{"a"}, Paths: []string{"/p/a"}}, `paths goes with the scopes "original" and "prefix", and the scope is "tag"`},
			{Request{Scope: Prefix, Tags: []string{"a"}, Paths: []string{"/p/a"}}, `tags goes with scope "tag", and the scope is "prefix"`},
			{Request{Scope: All, Tags: []string{"a"}}, `tags goes with scope "tag", and the scope is "all"`},
			{Request{Scope: Tag, Source: "photos", Tags: []string{"a"}}, `source goes with scope "all", and the scope is "tag"`},
			{Request{Scope: Tag, Tags: []string{""}}, `tags has an empty tag`},
			{Request{Scope: Tag, Tags: []string{"a b"}}, `tags has the tag "a b", with a comma, white space or a control character in it, which no origin can send`},
			{Request{Scope: Tag, Tags: []string{"a\xff"}}, `tags has the tag "a\xff", which is not UTF-8`},
			{Request{Scope: Tag, Tags: []string{strings.Repeat("a", 1025)}}, `tags has a tag of 1025 bytes; it may have 1024`},
		} {
			if _, err := s.Submit(t.Context(), tt.r, nil); err == nil || err.Error() != tt.text {
				t.Errorf("%+v:\ngot  %v\nwant %s", tt.r, err, tt.text)
			}
		}
	})
	bubble(t, &fake{}, nil, func(t *testing.T, s *Service) {
		_, err := s.Submit(t.Context(), Request{Scope: Tag, Tags: []string{"x"}}, nil)
		if err == nil || err.Error() != `scope is "tag", which cannot be purged here` {
			t.Error(err)
		}
	})
}

func TestRefusedRequest(t *testing.T) {
	var accepted atomic.Int32
	target := &fake{accept: func(_ context.Context, r Request) error {
		accepted.Add(1)
		if r.Source == "nowhere" {
			return &RequestError{"source", "is not one of ours"}
		}
		return errors.New("the disk is full")
	}}
	many := func(n int) (p []string) {
		for i := range n {
			p = append(p, fmt.Sprintf("/photos/%d.jpg", i))
		}
		return p
	}
	bubble(t, target, &ServiceOptions{MaxPaths: 3}, func(t *testing.T, s *Service) {
		for _, tt := range []struct {
			r          Request
			code, text string
			accepts    int32
		}{
			{Request{}, "invalid_request", `paths is empty; list at least one, such as "/source/image.jpg"`, 0},
			{Request{Scope: "some"}, "invalid_request", `scope is "some"; it may be "original", "prefix", "tag" or "all"`, 0},
			{Request{Mode: "hard", Paths: many(1)}, "invalid_request", `mode is "hard"; it may be "delete", "revalidate" or "stale"`, 0},
			{Request{Source: "photos", Paths: many(1)}, "invalid_request", `source goes with scope "all", and the scope is "original"`, 0},
			{Request{Scope: All, Paths: many(1)}, "invalid_request", `paths goes with scope "original", and the scope is "all"`, 0},
			{Request{Scope: All, Source: "a/b"}, "invalid_request", `source is "a/b", which has a slash; it is a name, such as "photos"`, 0},
			{Request{Scope: All, Source: ".."}, "invalid_request", `source is "..", which has the segment ".."; it is a name, such as "photos"`, 0},
			{Request{Scope: All, Source: "a\\b"}, "invalid_request", `source is "a\\b", which has a backslash; it is a name, such as "photos"`, 0},
			{Request{Scope: All, Source: strings.Repeat("x", MaxPath+1)}, "invalid_request", `source is "` + strings.Repeat("x", 256) + `…", which has more than 2048 bytes; it is a name, such as "photos"`, 0},
			{Request{Tenant: strings.Repeat("x", 129), Paths: many(1)}, "invalid_request", "tenant has 129 bytes; it may have 128", 0},
			{Request{Tenant: "a\nb", Paths: many(1)}, "invalid_request", "tenant has bytes that are no text", 0},
			{Request{Paths: many(4)}, "invalid_request", "paths lists more than 3; make it several purges", 0},
			{Request{Paths: []string{"/photos/a.jpg", "/photos/b.jpg?w=1"}}, "invalid_path", `path "/photos/b.jpg?w=1" has a query; the right form is "/photos/b.jpg"`, 0},
			{Request{Scope: All, Source: "nowhere"}, "invalid_request", "source is not one of ours", 1},
			{Request{Paths: append(many(3), many(3)...)}, "internal", "purge: not accepted: the disk is full", 1},
		} {
			accepted.Store(0)
			j, err := s.Submit(t.Context(), tt.r, func(Event) { t.Error("told") })
			if j != nil || err == nil || err.Error() != tt.text || ErrorCode(err) != tt.code || accepted.Load() != tt.accepts {
				t.Errorf("%+v:\ngot  %s %v, accepted %d\nwant %s %s, accepted %d", tt.r, ErrorCode(err), err, accepted.Load(), tt.code, tt.text, tt.accepts)
			}
		}
		if l, _, _ := s.List("", 0); len(l) != 0 {
			t.Errorf("the log has what was refused: %v", l)
		}
	})
}

func TestAcceptComesFirst(t *testing.T) {
	var accepted atomic.Bool
	target := &fake{
		accept: func(_ context.Context, r Request) error {
			time.Sleep(time.Second)
			want := Request{Scope: Original, Mode: Delete, Tenant: "t", Cause: ByCode, Paths: []string{"/photos/b c.jpg", "/photos/a.jpg"}}
			if !reflect.DeepEqual(r, want) {
				t.Errorf("accept got %+v, want %+v", r, want)
			}
			accepted.Store(true)
			return nil
		},
		path: func(context.Context, string, Mode) (PathResult, error) {
			if !accepted.Load() {
				t.Error("purged before it was accepted")
			}
			return PathResult{}, nil
		},
	}
	bubble(t, target, nil, func(t *testing.T, s *Service) {
		// A path given twice, in whatever spelling, is purged once.
		j, err := s.Submit(t.Context(), Request{Tenant: "t", Paths: []string{"/photos/b%20c.jpg", "/photos/a.jpg", "/photos/b c.jpg"}}, func(Event) {
			if !accepted.Load() {
				t.Error("told before it was accepted")
			}
		})
		if err != nil || !accepted.Load() {
			t.Fatalf("returned with %v, accepted %v", err, accepted.Load())
		}
		if r := wait(t, j); len(r.Paths) != 2 || r.Paths[0].Path != "/photos/b c.jpg" || r.Tenant != "t" {
			t.Errorf("record %+v", r)
		}
	})
}

func TestACancelledSubmitIsRefused(t *testing.T) {
	target := &fake{accept: func(ctx context.Context, _ Request) error { <-ctx.Done(); return ctx.Err() }}
	bubble(t, target, &ServiceOptions{MaxQueued: 1, Workers: 1}, func(t *testing.T, s *Service) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Submit(ctx, Request{Scope: All}, nil); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		for range 10 { // each gives its place in the queue back
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := s.Submit(ctx, Request{Scope: All}, nil)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || ErrorCode(err) != "cancelled" {
				t.Fatal(err)
			}
		}
	})
}

func TestTheJobOutlivesItsSubmitter(t *testing.T) {
	bubble(t, &fake{}, nil, func(t *testing.T, s *Service) {
		release := make(chan struct{})
		s.target = &fake{path: hold(release)}
		ctx, cancel := context.WithCancel(t.Context())
		j, err := s.Submit(ctx, Request{Paths: []string{"/photos/a.jpg"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if r, err := j.Wait(ctx); !errors.Is(err, context.Canceled) || r.State.Final() || r.ID != j.ID() {
			t.Errorf("waited for %s, %v", r.State, err)
		}
		close(release)
		if r := wait(t, j); r.State != Done {
			t.Error(r.Err())
		}
		if r, err := j.Wait(ctx); r.State != Done || err != nil {
			t.Errorf("a finished job: %s, %v", r.State, err)
		}
	})
}

func TestTransientFailuresAreTriedAgain(t *testing.T) {
	var calls []string
	target := &fake{path: func(_ context.Context, path string, _ Mode) (PathResult, error) {
		calls = append(calls, path[len("/photos/"):])
		n := 0
		for _, c := range calls {
			if c == path[len("/photos/"):] {
				n++
			}
		}
		switch path {
		case "/photos/twice":
			if n < 3 {
				return PathResult{Derivatives: 2, Bytes: 10}, fmt.Errorf("not\nyet")
			}
			return PathResult{Outcome: Absent}, nil
		case "/photos/never":
			return PathResult{Composites: 1}, errors.New("origin timed out")
		case "/photos/permanent":
			return PathResult{}, fmt.Errorf("wrapped: %w", Permanent(errors.New("read-only")))
		case "/photos/unknown":
			return PathResult{}, &PathError{Path: path, Reason: "names no source of ours"}
		}
		return PathResult{Originals: 1, Bytes: 5}, nil
	}}
	bubble(t, target, nil, func(t *testing.T, s *Service) {
		start := time.Now()
		r := wait(t, submit(t, s, nil, "/photos/twice", "/photos/never", "/photos/permanent", "/photos/unknown", "/photos/ok"))
		// Between four tries are 200, 400 and 800 ms, each less a half at most.
		if d := time.Since(start); d < 700*time.Millisecond || d > 1400*time.Millisecond+3 {
			t.Errorf("it took %v", d)
		}
		const order = "twice never permanent unknown ok twice never twice never never"
		if got := strings.Join(calls, " "); got != order {
			t.Errorf("calls %s\nwant  %s", got, order)
		}
		want := []PathResult{
			{"/photos/twice", Done, Removed, "", 0, 4, 0, 20},
			{"/photos/never", Error, Failed, "origin timed out", 0, 0, 4, 0},
			{"/photos/permanent", Error, Failed, "wrapped: read-only", 0, 0, 0, 0},
			{"/photos/unknown", Error, Failed, `path "/photos/unknown" names no source of ours`, 0, 0, 0, 0},
			{"/photos/ok", Done, Removed, "", 1, 0, 0, 5},
		}
		if !reflect.DeepEqual(r.Paths, want) {
			t.Errorf("got  %+v\nwant %+v", r.Paths, want)
		}
		if r.State != Error {
			t.Errorf("state %s", r.State)
		}
		if got, want := r.Err().Error(), fmt.Sprintf(`purge %s: error: 3 failed, "/photos/never": origin timed out`, r.ID); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

func TestATargetThatPanics(t *testing.T) {
	var logged bytes.Buffer
	target := &fake{path: func(_ context.Context, path string, _ Mode) (PathResult, error) {
		switch path {
		case "/photos/panic":
			panic("a secret")
		case "/photos/exit":
			runtime.Goexit()
		}
		return PathResult{}, nil
	}}
	o := &ServiceOptions{Workers: 1, Logger: slog.New(slog.NewTextHandler(&logged, nil))}
	bubble(t, target, o, func(t *testing.T, s *Service) {
		r := wait(t, submit(t, s, nil, "/photos/panic", "/photos/fine"))
		if r.State != Error || r.Paths[0].Reason != "internal error" || r.Paths[1].State != Done {
			t.Errorf("%+v", r)
		}
		if !strings.Contains(logged.String(), "a secret") || !strings.Contains(logged.String(), "PurgePath") {
			t.Errorf("logged %q", logged.String())
		}
		if r := wait(t, submit(t, s, nil, "/photos/exit")); r.State != Error {
			t.Errorf("%+v", r)
		}
		if r := wait(t, submit(t, s, nil, "/photos/fine")); r.State != Done { // the worker lives
			t.Errorf("%+v", r)
		}

		target.accept = func(context.Context, Request) error { panic("another") }
		if _, err := s.Submit(t.Context(), Request{Scope: All}, nil); err == nil || ErrorCode(err) != "internal" || strings.Contains(err.Error(), "another") {
			t.Error(err)
		}
		target.accept = func(context.Context, Request) error { runtime.Goexit(); return nil }
		left := make(chan struct{})
		go func() {
			defer close(left)
			s.Submit(t.Context(), Request{Scope: All}, nil)
		}()
		<-left
		if s.admitted != 0 || s.live != 0 {
			t.Errorf("%d admitted, %d bytes live", s.admitted, s.live)
		}
	})
}

func TestATargetThatHangsIsTimedOut(t *testing.T) {
	target := &fake{
		path: func(ctx context.Context, _ string, _ Mode) (PathResult, error) {
			<-ctx.Done()
			return PathResult{}, ctx.Err()
		},
		all: func(ctx context.Context, _ string, _ Mode) (PathResult, error) {
			<-ctx.Done()
			return PathResult{}, ctx.Err()
		},
	}
	bubble(t, target, &ServiceOptions{Tries: 1}, func(t *testing.T, s *Service) {
		start := time.Now()
		r := wait(t, submit(t, s, nil, "/photos/a"))
		if d := time.Since(start); d != time.Minute || r.State != Error || r.Paths[0].Reason != "context deadline exceeded" {
			t.Errorf("after %v: %+v", d, r)
		}
		start = time.Now()
		j, err := s.Submit(t.Context(), Request{Scope: All}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if r := wait(t, j); time.Since(start) != time.Hour || r.State != Error {
			t.Errorf("after %v: %+v", time.Since(start), r)
		}
	})
}

func TestRetryOnlyWhatFailed(t *testing.T) {
	var calls []string
	broken := true
	target := &fake{path: func(_ context.Context, path string, _ Mode) (PathResult, error) {
		calls = append(calls, path)
		if broken && path == "/photos/b" {
			return PathResult{Derivatives: 1}, Permanent(errors.New("no"))
		}
		return PathResult{Outcome: Removed, Derivatives: 2}, nil
	}}
	accepts := 0
	target.accept = func(context.Context, Request) error { accepts++; return nil }
	bubble(t, target, nil, func(t *testing.T, s *Service) {
		var got events
		j := submit(t, s, got.add, "/photos/a", "/photos/b", "/photos/c")
		first := wait(t, j)
		if first.State != Error {
			t.Fatal(first.State)
		}
		broken, calls = false, nil
		again, err := s.Retry(t.Context(), j.ID())
		if err != nil || again.ID() != j.ID() {
			t.Fatalf("retried as %v, %v", again, err)
		}
		r := wait(t, again)
		if !slices.Equal(calls, []string{"/photos/b"}) || accepts != 1 {
			t.Errorf("called for %v, accepted %d times", calls, accepts)
		}
		if r.State != Done || r.Attempt != 2 || !r.Date.Equal(first.Date) || r.Paths[1].Derivatives != 3 || r.Paths[1].Reason != "" {
			t.Errorf("%+v", r)
		}
		if first.State != Error || first.Paths[1].State != Error {
			t.Errorf("the first record has changed: %+v", first)
		}
		synctest.Wait()
		want := []State{
			Received, Preparing, FlushingServers, FlushingCDN, Error,
			Received, Preparing, FlushingServers, FlushingCDN, Done,
		}
		if !slices.Equal(got.states(), want) {
			t.Errorf("told %v", got.states())
		}
		for i, e := range got.all {
			if e.Seq != i+1 || e.Attempt != 1+i/5 {
				t.Errorf("event %d: %+v", i, e)
			}
		}
		if e := got.all[4]; e.Record.Paths[1].State != Error { // a snapshot
			t.Errorf("%+v", e)
		}

		if _, err := s.Retry(t.Context(), j.ID()); err != ErrNothingFailed {
			t.Error(err)
		}
		if _, err := s.Retry(t.Context(), "01234567-89ab-7000-8000-000000000000"); err != ErrNotFound {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Retry(ctx, j.ID()); err != context.Canceled {
			t.Error(err)
		}
	})
}

func TestRetryWhileAtWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := NewService(&fake{path: hold(release)}, nil)
		defer s.Close()
		j := submit(t, s, nil, "/photos/a")
		if _, err := s.Retry(t.Context(), j.ID()); err != ErrNotFinished {
			t.Error(err)
		}
		close(release)
		wait(t, j)
	})
}

func TestHistoryIsBounded(t *testing.T) {
	target := &fake{path: func(context.Context, string, Mode) (PathResult, error) {
		return PathResult{}, Permanent(errors.New("no"))
	}}
	bubble(t, target, nil, func(t *testing.T, s *Service) {
		j := submit(t, s, nil, "/photos/a")
		for range 100 {
			wait(t, j)
			if _, err := s.Retry(t.Context(), j.ID()); err != nil {
				t.Fatal(err)
			}
		}
		r := wait(t, j)
		if n := len(r.History); n != maxHistory || r.Attempt != 101 || r.History[n-1] != (StateAt{Error, 101, r.History[n-1].Time}) {
			t.Errorf("%d states, attempt %d", n, r.Attempt)
		}
	})
}

func TestWaitingTooLongExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := NewService(&fake{path: hold(release)}, &ServiceOptions{Workers: 1, MaxWait: 30 * time.Second})
		defer s.Close()
		at := submit(t, s, nil, "/photos/a")
		var got events
		j := submit(t, s, got.add, "/photos/b")
		start := time.Now()
		r := wait(t, j)
		if d := time.Since(start); r.State != Expired || d != 30*time.Second {
			t.Fatalf("%s after %v", r.State, d)
		}
		if p := r.Paths[0]; p.State != Expired || p.Outcome != Failed || p.Reason != "waited longer than 30s for a worker" {
			t.Errorf("%+v", p)
		}
		if err := r.Err(); err == nil || !strings.Contains(err.Error(), "expired: 1 failed") {
			t.Error(err)
		}
		synctest.Wait()
		if want := []State{Received, Expired}; !slices.Equal(got.states(), want) {
			t.Errorf("told %v", got.states())
		}

		if _, err := s.Retry(t.Context(), j.ID()); err != nil {
			t.Fatal(err)
		}
		close(release)
		if r := wait(t, j); r.State != Done || r.Attempt != 2 {
			t.Errorf("%s, attempt %d", r.State, r.Attempt)
		}
		wait(t, at)
		time.Sleep(time.Hour) // no timer is left that expires a finished job
		if r := j.Record(); r.State != Done {
			t.Errorf("%s", r.State)
		}
	})
}

func TestTheQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var accepted atomic.Int32
		target := &fake{path: hold(release), accept: func(context.Context, Request) error { accepted.Add(1); return nil }}
		s := NewService(target, &ServiceOptions{Workers: 2, MaxQueued: 3})
		defer s.Close()
		var jobs []*Job
		for range 5 {
			jobs = append(jobs, submit(t, s, nil, "/photos/a"))
		}
		_, err := s.Submit(t.Context(), Request{Paths: []string{"/photos/b"}}, nil)
		if !errors.Is(err, ErrBusy) || ErrorCode(err) != "busy" || accepted.Load() != 5 {
			t.Errorf("%v, %d accepted", err, accepted.Load())
		}
		close(release)
		for _, j := range jobs {
			if r := wait(t, j); r.State != Done {
				t.Error(r.Err())
			}
		}
		submit(t, s, nil, "/photos/b")
	})
}

func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		one := jobBytes(Request{Paths: []string{"/photos/a"}})
		s := NewService(&fake{path: hold(release)}, &ServiceOptions{MaxBytes: 3 * one})
		defer s.Close()
		for range 3 {
			submit(t, s, nil, "/photos/a")
		}
		if _, err := s.Submit(t.Context(), Request{Paths: []string{"/photos/b"}}, nil); !errors.Is(err, ErrBusy) {
			t.Error(err)
		}
		close(release)
		synctest.Wait()
		for range 10 {
			wait(t, submit(t, s, nil, "/photos/a"))
		}
		synctest.Wait()
		if l, _, _ := s.List("", 0); len(l) != 3 || s.bytes != 3*one || s.live != 0 {
			t.Errorf("%d records, %d bytes, %d live", len(l), s.bytes, s.live)
		}
		// One job is taken however large it is, or it never would be.
		big := make([]string, 100)
		for i := range big {
			big[i] = fmt.Sprintf("/photos/%d", i)
		}
		wait(t, submit(t, s, nil, big...))
	})
}

func TestTheLogKeepsTheNewestAndTheRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		target := &fake{path: func(ctx context.Context, path string, mode Mode) (PathResult, error) {
			if path == "/photos/slow" {
				return hold(release)(ctx, path, mode)
			}
			return PathResult{}, nil
		}}
		s := NewService(target, &ServiceOptions{MaxLog: 3})
		defer s.Close()
		slow := submit(t, s, nil, "/photos/slow")
		var last []string
		for range 10 {
			j := submit(t, s, nil, "/photos/a")
			wait(t, j)
			last = append(last, j.ID())
		}
		synctest.Wait()
		want := []string{last[9], last[8], slow.ID()}
		if got := ids(s.List("", 0)); !slices.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
		if _, err := s.Get(last[0]); err != ErrNotFound || ErrorCode(err) != "not_found" {
			t.Error(err)
		}
		if r, err := s.Get(slow.ID()); err != nil || r.State != FlushingServers {
			t.Errorf("%s, %v", r.State, err)
		}
		close(release)
		wait(t, slow)
		submit(t, s, nil, "/photos/a")
		if _, err := s.Get(slow.ID()); err != ErrNotFound {
			t.Error(err)
		}
		if r := wait(t, slow); r.State != Done { // a handle goes on working
			t.Error(r.State)
		}
	})
}

func ids(records []Record, _ string, _ error) (out []string) {
	for _, r := range records {
		out = append(out, r.ID)
	}
	return out
}

func TestListPagesStandStill(t *testing.T) {
	bubble(t, &fake{}, &ServiceOptions{MaxLog: 1000}, func(t *testing.T, s *Service) {
		var want []string
		for range 57 {
			want = append(want, submit(t, s, nil, "/photos/a").ID())
		}
		slices.Reverse(want)
		var got []string
		cursor := ""
		for {
			records, next, err := s.List(cursor, 10)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, ids(records, "", nil)...)
			for range 3 { // arrivals between the pages
				submit(t, s, nil, "/photos/b")
			}
			if cursor = next; next == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %d, want %d", len(got), len(want))
		}

		// A cursor whose record has been dropped still marks its place.
		synctest.Wait()
		_, next, _ := s.List("", 20)
		s.mu.Lock()
		s.o.MaxLog = 10
		s.unlock()
		if l, n, err := s.List(next, 10); len(l) != 0 || n != "" || err != nil {
			t.Errorf("%d records, next %q, %v", len(l), n, err)
		}

		for _, tt := range []struct{ n, want int }{{0, 10}, {-1, 10}, {3, 3}, {1000, 10}} {
			if l, _, _ := s.List("", tt.n); len(l) != tt.want {
				t.Errorf("List(%d) has %d records, want %d", tt.n, len(l), tt.want)
			}
		}
		if _, _, err := s.List("page 2", 10); ErrorCode(err) != "invalid_request" {
			t.Error(err)
		}
	})
}

func TestAStuckCallbackDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewService(&fake{}, &ServiceOptions{Workers: 1})
		unstick := make(chan struct{})
		var stuck, other events
		j1 := submit(t, s, func(e Event) { <-unstick; stuck.add(e) }, "/photos/a")
		j2 := submit(t, s, other.add, "/photos/b")
		start := time.Now()
		for _, j := range []*Job{j1, j2} {
			if r := wait(t, j); r.State != Done {
				t.Error(r.State)
			}
		}
		synctest.Wait()
		if time.Since(start) != 0 || len(other.states()) != 5 || len(stuck.states()) != 0 {
			t.Errorf("after %v: %v, %v", time.Since(start), other.states(), stuck.states())
		}
		close(unstick)
		synctest.Wait()
		if want := []State{Received, Preparing, FlushingServers, FlushingCDN, Done}; !slices.Equal(stuck.states(), want) {
			t.Errorf("told %v", stuck.states())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestStuckCallbacksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		s := NewService(&fake{}, &ServiceOptions{MaxCallbacks: 2, MaxLog: 10, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		unstick := make(chan struct{})
		told := make([]events, 30)
		for i := range told {
			j := submit(t, s, func(e Event) { <-unstick; told[i].add(e) }, "/photos/a")
			wait(t, j)
		}
		synctest.Wait()
		if s.tellers != 2 || s.line.Len() > 10 {
			t.Errorf("%d tellers, %d in line", s.tellers, s.line.Len())
		}
		if !strings.Contains(logged.String(), "dropped events") {
			t.Errorf("logged %q", logged.String())
		}
		close(unstick)
		synctest.Wait()
		for i := range told {
			want := 5
			if i >= 2 && i < 20 { // not with a teller, and out of the log
				want = 0
			}
			if got := len(told[i].states()); got != want {
				t.Errorf("job %d was told %d events, want %d", i, got, want)
			}
		}
		if err := s.Close(); err != nil || s.tellers != 0 {
			t.Errorf("%v, %d tellers", err, s.tellers)
		}
	})
}

func TestCallbacksThatPanicOrExit(t *testing.T) {
	var logged bytes.Buffer
	o := &ServiceOptions{Logger: slog.New(slog.NewTextHandler(&logged, nil)), MaxCallbacks: 1}
	bubble(t, &fake{}, o, func(t *testing.T, s *Service) {
		var panics, exits, fine events
		wait(t, submit(t, s, func(e Event) { panics.add(e); panic("oh") }, "/photos/a"))
		wait(t, submit(t, s, func(e Event) { exits.add(e); runtime.Goexit() }, "/photos/a"))
		wait(t, submit(t, s, fine.add, "/photos/a"))
		synctest.Wait()
		for _, got := range []*events{&panics, &exits, &fine} {
			if n := len(got.states()); n != 5 {
				t.Errorf("told %d events", n)
			}
		}
		if n := strings.Count(logged.String(), "panic=oh"); n != 5 {
			t.Errorf("logged %d panics", n)
		}
	})
}

func TestACallbackMayCallTheService(t *testing.T) {
	bubble(t, &fake{}, nil, func(t *testing.T, s *Service) {
		var second atomic.Pointer[Job]
		submit(t, s, func(e Event) {
			if r, err := s.Get(e.ID); err != nil || r.ID != e.ID {
				t.Errorf("%v", err)
			}
			if e.State == Done {
				second.Store(submit(t, s, nil, "/photos/b"))
			}
		}, "/photos/a")
		synctest.Wait()
		if r := wait(t, second.Load()); r.State != Done {
			t.Error(r.State)
		}
	})
}

func TestClose(t *testing.T) {
	t.Run("lets jobs and callbacks end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			target := &fake{path: func(context.Context, string, Mode) (PathResult, error) {
				time.Sleep(time.Second)
				return PathResult{}, nil
			}}
			s := NewService(target, &ServiceOptions{Workers: 1})
			var got events
			var jobs []*Job
			for i := range 3 {
				jobs = append(jobs, submit(t, s, func(e Event) { time.Sleep(10 * time.Millisecond); got.add(e) }, fmt.Sprint("/photos/", i)))
			}
			start := time.Now()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if d := time.Since(start); d < 3*time.Second || d > 4*time.Second {
				t.Errorf("it took %v", d)
			}
			for _, j := range jobs {
				if r := j.Record(); r.State != Done {
					t.Error(r.State)
				}
			}
			if n := len(got.states()); n != 15 {
				t.Errorf("told %d events", n)
			}
			if _, err := s.Submit(t.Context(), Request{Scope: All}, nil); !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
			if _, err := s.Retry(t.Context(), jobs[0].ID()); err != ErrNothingFailed {
				t.Error(err)
			}
			if r, err := s.Get(jobs[0].ID()); err != nil || r.State != Done {
				t.Errorf("%s, %v", r.State, err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	})

	for _, tt := range []struct {
		name    string
		timeout time.Duration
		took    time.Duration
	}{
		{"cuts short what takes too long", 0, 5 * time.Second},
		{"cuts short at once", -1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := NewService(&fake{path: hold(nil)}, &ServiceOptions{Workers: 1, CloseTimeout: tt.timeout})
				var got events
				atWork := submit(t, s, got.add, "/photos/a", "/photos/b")
				waiting := submit(t, s, got.add, "/photos/c")
				synctest.Wait()
				start := time.Now()
				var all sync.WaitGroup
				for range 3 {
					all.Go(func() {
						if err := s.Close(); err != nil {
							t.Error(err)
						}
					})
				}
				all.Wait()
				if d := time.Since(start); d != tt.took {
					t.Errorf("it took %v", d)
				}
				for _, j := range []*Job{atWork, waiting} {
					r := wait(t, j)
					if r.State != Error {
						t.Error(r.State)
					}
					for _, p := range r.Paths {
						if p.State != Error || p.Outcome != Failed || p.Reason != "the service closed" {
							t.Errorf("%+v", p)
						}
					}
				}
				if n := len(got.states()); n != 6 { // four of the one, two of the other
					t.Errorf("told %v", got.states())
				}
				if _, err := s.Retry(t.Context(), waiting.ID()); err != ErrClosed || ErrorCode(err) != "closed" {
					t.Error(err)
				}
			})
		})
	}

	t.Run("waits no longer for what does not return", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			never := make(chan struct{})
			target := &fake{
				path: func(context.Context, string, Mode) (PathResult, error) { <-never; return PathResult{}, nil },
				accept: func(_ context.Context, r Request) error {
					if r.Scope == All {
						<-never
					}
					return nil
				},
			}
			s := NewService(target, nil)
			var told atomic.Int32
			j := submit(t, s, func(Event) { told.Add(1); <-never }, "/photos/a")
			refused := make(chan error, 1)
			go func() {
				_, err := s.Submit(t.Context(), Request{Scope: All}, nil)
				refused <- err
			}()
			synctest.Wait()
			start := time.Now()
			const want = "purge: closed before all returned: calls of the target 2, callbacks 1"
			if err := s.Close(); err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %v", err, want)
			}
			if d := time.Since(start); d != 6*time.Second {
				t.Errorf("it took %v", d)
			}
			if r := wait(t, j); r.State != Error || r.Paths[0].Reason != "the service closed" {
				t.Errorf("%+v", r)
			}
			close(never)
			if err := <-refused; !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
			synctest.Wait()
			if r := j.Record(); r.State != Error || told.Load() != 1 || len(r.History) != 4 {
				t.Errorf("after the end: %+v, told %d times", r, told.Load())
			}
		})
	})

	t.Run("ends an Accept", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := NewService(&fake{accept: func(ctx context.Context, _ Request) error { <-ctx.Done(); return ctx.Err() }}, nil)
			refused := make(chan error, 1)
			go func() {
				_, err := s.Submit(t.Context(), Request{Scope: All}, nil)
				refused <- err
			}()
			synctest.Wait()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if err := <-refused; !errors.Is(err, ErrClosed) || ErrorCode(err) != "closed" {
				t.Error(err)
			}
		})
	})

	t.Run("in a wait between tries", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			target := &fake{path: func(context.Context, string, Mode) (PathResult, error) { return PathResult{}, errors.New("busy") }}
			s := NewService(target, &ServiceOptions{CloseTimeout: -1, Backoff: time.Hour})
			j := submit(t, s, nil, "/photos/a")
			synctest.Wait()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if r := wait(t, j); r.Paths[0].Reason != "the service closed, after: busy" {
				t.Errorf("%+v", r.Paths)
			}
		})
	})
}

func TestRecordsBelongToTheCaller(t *testing.T) {
	bubble(t, &fake{}, nil, func(t *testing.T, s *Service) {
		var told events
		j := submit(t, s, func(e Event) {
			told.add(e)
			e.Record.Paths[0].Path = "spoilt"
			e.Record.History[0].State = "spoilt"
		}, "/photos/a")
		for range 2 {
			r := wait(t, j)
			g, _ := s.Get(j.ID())
			l, _, _ := s.List("", 0)
			for _, r := range []Record{r, g, l[0], j.Record()} {
				if r.Paths[0].Path != "/photos/a" || r.History[0].State != Received {
					t.Fatalf("%+v", r)
				}
				r.Paths[0].Path, r.History[0].State = "spoilt", "spoilt"
			}
		}
	})
}

func TestJSON(t *testing.T) {
	target := &fake{
		path: func(_ context.Context, path string, _ Mode) (PathResult, error) {
			time.Sleep(1500 * time.Millisecond)
			if path == "/photos/dog.jpg" {
				return PathResult{}, Permanent(errors.New("origin timed out"))
			}
			return PathResult{Outcome: Changed, Originals: 1, Derivatives: 12, Composites: 3, Bytes: 48210}, nil
		},
	}
	bubble(t, target, nil, func(t *testing.T, s *Service) {
		var r Request
		if err := json.Unmarshal([]byte(`{"scope":"original","paths":["/photos/cat.jpg","/photos/dog.jpg"],"mode":"revalidate","tenant":"shop"}`), &r); err != nil {
			t.Fatal(err)
		}
		j, err := s.Submit(t.Context(), r, nil)
		if err != nil {
			t.Fatal(err)
		}
		const want = `{
	"id": "ID",
	"scope": "original",
	"mode": "revalidate",
	"tenant": "shop",
	"cause": "code",
	"date": "2000-01-01T00:00:00Z",
	"attempt": 1,
	"state": "error",
	"paths": [
		{
			"path": "/photos/cat.jpg",
			"state": "done",
			"outcome": "changed",
			"reason": "",
			"originals": 1,
			"derivatives": 12,
			"composites": 3,
			"bytes": 48210
		},
		{
			"path": "/photos/dog.jpg",
			"state": "error",
			"outcome": "failed",
			"reason": "origin timed out",
			"originals": 0,
			"derivatives": 0,
			"composites": 0,
			"bytes": 0
		}
	],
	"cdns": [],
	"history": [
		{
			"state": "received",
			"attempt": 1,
			"time": "2000-01-01T00:00:00Z"
		},
		{
			"state": "preparing",
			"attempt": 1,
			"time": "2000-01-01T00:00:00Z"
		},
		{
			"state": "flushing_servers",
			"attempt": 1,
			"time": "2000-01-01T00:00:00Z"
		},
		{
			"state": "flushing_cdn",
			"attempt": 1,
			"time": "2000-01-01T00:00:03Z"
		},
		{
			"state": "error",
			"attempt": 1,
			"time": "2000-01-01T00:00:03Z"
		}
	]
}`
		got, err := json.MarshalIndent(wait(t, j), "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Replace(string(got), j.ID(), "ID", 1); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}

		for _, tt := range []struct{ source, path, field string }{
			{"", "/*", ""},
			{"photos", "/photos/*", `"source":"photos",`},
		} {
			j, err := s.Submit(t.Context(), Request{Scope: All, Source: tt.source}, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := json.Marshal(wait(t, j))
			want := `"scope":"all",` + tt.field + `"mode":"delete","tenant":"","cause":"code","date":"2000-01-01T00:00:03Z","attempt":1,"state":"done",` +
				`"paths":[{"path":"` + tt.path + `","state":"done","outcome":"absent",`
			if !strings.Contains(string(got), want) {
				t.Errorf("got %s\nwant %s", got, want)
			}
		}
	})
}

func TestEventString(t *testing.T) {
	one := []PathResult{{"/photos/cat.jpg", Done, Removed, "", 1, 12, 0, 48210}}
	many := []PathResult{
		{"/photos/a.jpg", Done, Unchanged, "", 0, 0, 0, 0},
		{"/photos/b c.jpg", Error, Failed, "origin timed out", 0, 1, 0, 7},
		{"/photos/c.jpg", Expired, Failed, "waited", 0, 0, 0, 0},
	}
	all := []PathResult{{"/*", Done, Staled, "", 0, 0, 2, 0}}
	for _, tt := range []struct {
		e    Event
		want string
	}{
		{Event{State: Received, Attempt: 1, Record: Record{Scope: Original, Mode: Delete, Paths: one}},
			`purge 0198 delete "/photos/cat.jpg": received`},
		{Event{State: Done, Attempt: 1, Record: Record{Scope: Original, Mode: Delete, Paths: one}},
			`purge 0198 delete "/photos/cat.jpg": done: 1 removed, 1 originals, 12 derivatives, 48210 bytes`},
		{Event{State: Error, Attempt: 2, Record: Record{Scope: Original, Mode: Revalidate, Paths: many}},
			`purge 0198 revalidate 3 paths, attempt 2: error: 1 unchanged, 1 derivatives, 7 bytes, 2 failed, "/photos/b c.jpg": origin timed out`},
		{Event{State: Done, Attempt: 1, Record: Record{Scope: All, Mode: Stale, Paths: all}},
			`purge 0198 stale all: done: 1 stale, 2 composites`},
		{Event{State: Preparing, Attempt: 1, Record: Record{Scope: All, Source: "photos", Mode: Delete, Paths: all}},
			`purge 0198 delete all of "photos": preparing`},
		{Event{State: Done}, `purge 0198: done`},
	} {
		tt.e.ID = "0198"
		if got := tt.e.String(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

func TestReasonIsOneShortLine(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"origin timed out", "origin timed out"},
		{"a\r\nb\x00c\x7f", "a  b c "},
		{"a\xffb", "a\uFFFDb"},
		{"", "failed without saying why"},
		{strings.Repeat("é", 300), strings.Repeat("é", 254) + "…"},
	} {
		if got := reason(tt.in); got != tt.want || len(got) > 512 {
			t.Errorf("reason(%q) = %q", tt.in, got)
		}
	}
}

func TestFinal(t *testing.T) {
	for _, tt := range []struct {
		s    State
		want bool
	}{
		{Received, false}, {Preparing, false}, {FlushingServers, false}, {FlushingCDN, false}, {"", false},
		{Done, true}, {ErrorCDNNode, true}, {Error, true}, {Expired, true},
	} {
		if got := tt.s.Final(); got != tt.want {
			t.Errorf("%q is final: %v", tt.s, got)
		}
	}
}

func TestErrorCode(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&PathError{}, "invalid_path"},
		{fmt.Errorf("x: %w", &RequestError{}), "invalid_request"},
		{ErrBusy, "busy"}, {ErrClosed, "closed"}, {ErrNotFound, "not_found"},
		{ErrNotFinished, "not_finished"}, {ErrNothingFailed, "nothing_failed"},
		{context.Canceled, "cancelled"}, {context.DeadlineExceeded, "cancelled"},
		{errors.New("x"), "internal"},
	} {
		if got := ErrorCode(tt.err); got != tt.want {
			t.Errorf("%v has the code %q, want %q", tt.err, got, tt.want)
		}
	}
	if Permanent(nil) != nil {
		t.Error("Permanent(nil) is not nil")
	}
}

// Random submitters, a target and callbacks of every kind, and at the end each job
// must be accounted for: its events in order, one final state, and nothing left over.
func TestManyAtOnce(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		var (
			mu  sync.Mutex
			rnd = rand.New(rand.NewPCG(seed, 0))
		)
		dice := func(n int) int {
			mu.Lock()
			defer mu.Unlock()
			return rnd.IntN(n)
		}
		purge := func() (PathResult, error) {
			time.Sleep(time.Duration(dice(2000)) * time.Millisecond)
			switch dice(8) {
			case 0:
				return PathResult{}, errors.New("not now")
			case 1:
				return PathResult{}, Permanent(errors.New("never"))
			case 2:
				panic("broken")
			case 3:
				return PathResult{Outcome: Unchanged}, nil
			}
			return PathResult{Derivatives: dice(3)}, nil
		}
		target := &fake{
			path: func(context.Context, string, Mode) (PathResult, error) { return purge() },
			all:  func(context.Context, string, Mode) (PathResult, error) { return purge() },
			accept: func(context.Context, Request) error {
				time.Sleep(time.Duration(dice(100)) * time.Millisecond)
				if dice(20) == 0 {
					return errors.New("refused")
				}
				return nil
			},
		}
		s := NewService(target, &ServiceOptions{MaxQueued: 50, MaxWait: 10 * time.Second, MaxCallbacks: 20, CloseTimeout: time.Hour})
		var told sync.Map // job's ID ▶ *events
		var all sync.WaitGroup
		var jobs, busy atomic.Int32
		for range 40 {
			all.Go(func() {
				for range 20 {
					r := Request{Scope: All}
					if dice(4) > 0 {
						r = Request{Mode: []Mode{Delete, Revalidate, Stale}[dice(3)]}
						for range 1 + dice(5) {
							r.Paths = append(r.Paths, fmt.Sprintf("/photos/%d", dice(10)))
						}
					}
					j, err := s.Submit(context.Background(), r, func(e Event) {
						l, _ := told.LoadOrStore(e.ID, new(events))
						l.(*events).add(e)
						switch dice(10) {
						case 0:
							time.Sleep(time.Duration(dice(5000)) * time.Millisecond)
						case 1:
							panic("broken")
						}
					})
					if err != nil {
						if errors.Is(err, ErrBusy) {
							busy.Add(1)
						}
						time.Sleep(time.Duration(dice(2000)) * time.Millisecond)
						continue
					}
					jobs.Add(1)
					if dice(2) == 0 {
						j.Wait(context.Background())
						s.Retry(context.Background(), j.ID())
					}
					s.List("", 10)
					time.Sleep(time.Duration(dice(2000)) * time.Millisecond)
				}
			})
		}
		all.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}

		n := int32(0)
		told.Range(func(id, l any) bool {
			n++
			all := l.(*events).all
			r, err := s.Get(id.(string))
			if err != nil || !r.State.Final() || len(all) != len(r.History) {
				t.Errorf("job %v: %v, %s, %d events for %d states", id, err, r.State, len(all), len(r.History))
				return false
			}
			rank := map[State]int{Received: 1, Preparing: 2, FlushingServers: 3, FlushingCDN: 4, Done: 5, Error: 5, Expired: 5}
			for i, e := range all {
				if e.Seq != i+1 || e.State != r.History[i].State {
					t.Errorf("job %v: event %d is %v", id, i, e)
				}
				if i > 0 && e.Attempt == all[i-1].Attempt && rank[e.State] <= rank[all[i-1].State] {
					t.Errorf("job %v: %s after %s", id, e.State, all[i-1].State)
				}
			}
			failed := false
			for _, p := range r.Paths {
				if !p.State.Final() || p.Outcome == "" || p.failed() != (p.Reason != "") {
					t.Errorf("job %v: %+v", id, p)
				}
				failed = failed || p.failed()
			}
			if failed == (r.State == Done) {
				t.Errorf("job %v is %s: %+v", id, r.State, r.Paths)
			}
			return true
		})
		if n != jobs.Load() || n == 0 {
			t.Errorf("%d jobs, %d were told of", jobs.Load(), n)
		}
		if s.live != 0 || s.admitted != 0 || s.working != 0 || s.tellers != 0 || s.queue.Len() != 0 || s.sharing != 0 || s.line.Len() != 0 {
			t.Errorf("left over: %d bytes, %d admitted, %d workers, %d tellers, %d in the queue, %d in line",
				s.live, s.admitted, s.working, s.tellers, s.queue.Len()+s.sharing, s.line.Len())
		}
		t.Logf("%d jobs, %d refused as one too many", n, busy.Load())
	})
}

func TestAServiceAtRestHasNoGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewService(&fake{}, nil)
		for range 20 {
			wait(t, submit(t, s, func(Event) {}, "/photos/a"))
		}
		// Not closed: the bubble fails if a goroutine is left.
	})
}

func BenchmarkSubmit(b *testing.B) {
	s := NewService(&fake{}, nil)
	defer s.Close()
	r := Request{Paths: []string{"/photos/2026/05/cat.jpg"}}
	for b.Loop() {
		j, err := s.Submit(b.Context(), r, nil)
		if err != nil {
			b.Fatal(err)
		}
		j.Wait(b.Context())
	}
}

func BenchmarkParsePath(b *testing.B) {
	for _, tt := range []struct{ name, path string }{
		{"plain", "/photos/2026/05/cat.jpg"},
		{"escaped", "/photos/2026/05/a%20cat.jpg"},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := ParsePath(tt.path); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
