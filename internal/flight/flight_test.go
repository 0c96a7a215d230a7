package flight

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestOverlappingCallsShareOneRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[int]
		var runs, joined atomic.Int32
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				v, shared, err := g.Do(t.Context(), "k", func(context.Context) (int, error) {
					time.Sleep(time.Second)
					return int(runs.Add(1)), nil
				})
				if v != 1 || err != nil {
					t.Errorf("got %d, %v", v, err)
				}
				if shared {
					joined.Add(1)
				}
			})
		}
		wg.Wait()
		if runs.Load() != 1 || joined.Load() != 99 {
			t.Errorf("%d runs, %d joined, want 1 and 99", runs.Load(), joined.Load())
		}
	})
}

func TestFirstCallerLeavingHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[string]
		work := func(ctx context.Context) (string, error) {
			select {
			case <-time.After(time.Minute):
				return "done", nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		first, leave := context.WithCancel(t.Context())
		go func() {
			if _, _, err := g.Do(first, "k", work); !errors.Is(err, context.Canceled) {
				t.Errorf("the one who left got %v", err)
			}
		}()
		time.Sleep(time.Second)
		go func() { time.Sleep(time.Second); leave() }()
		if v, shared, err := g.Do(t.Context(), "k", work); v != "done" || !shared || err != nil {
			t.Errorf("the one who stayed got %q, %v, %v", v, shared, err)
		}
	})
}

func TestWorkNobodyWaitsForIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[int]
		ended := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err := g.Do(ctx, "k", func(ctx context.Context) (int, error) {
			<-ctx.Done()
			ended <- ctx.Err()
			return 0, ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("caller got %v", err)
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("work ended with %v", err)
		}
		// Who comes after an abandoned run starts another.
		if v, shared, err := g.Do(t.Context(), "k", func(context.Context) (int, error) { return 7, nil }); v != 7 || shared || err != nil {
			t.Errorf("later call got %d, %v, %v", v, shared, err)
		}
	})
}

func TestPanicIsAnError(t *testing.T) {
	var g Group[int]
	_, _, err := g.Do(t.Context(), "k", func(context.Context) (int, error) { panic("ouch") })
	if p, ok := errors.AsType[*PanicError](err); !ok || p.Value != "ouch" || len(p.Stack) == 0 {
		t.Errorf("got %v", err)
	}
	if len(g.runs) != 0 {
		t.Errorf("%d runs left", len(g.runs))
	}
}

// Who joins a run is told before it waits, and nobody else is.
func TestJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[int]
		told, release := make([]int, 2), make(chan struct{})
		for i := range told {
			go func() {
				_, _, _ = g.Join(t.Context(), "k", func(context.Context) (int, error) { <-release; return 1, nil }, func() { told[i]++ })
			}()
			synctest.Wait()
		}
		if told[0] != 0 || told[1] != 1 {
			t.Errorf("told %v", told)
		}
		close(release)
	})
}
