// Package flight lets requests for the same work share one run of it, as x/sync/singleflight does,
// with one addition: a run is cancelled when nobody waits for it any more, and only then.
package flight

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"

	"golang.org/x/sync/singleflight"
)

// A Group collapses calls with equal keys that overlap in time. The zero value is ready. It is safe
// for concurrent use.
type Group[V any] struct {
	// Handed, where set before the first Do, is told what a run has brought, and how many callers get it, before any of
	// them does. It is not told of errors. It must return at once, and not use the Group.
	Handed func(v V, callers int)

	single singleflight.Group

	mu   sync.Mutex // guards runs, the fields of its values, and that runs and single agree
	runs map[string]*run
}

type run struct {
	ctx     context.Context
	cancel  context.CancelFunc
	waiters int
	ended   bool
}

// A PanicError is what callers get when the work panicked.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Do returns what work returns, running it once for all overlapping calls with this key. shared says
// that this call joined a run which another had begun. The context that work gets carries the values
// of the first caller's and ends when every caller has gone away; a caller that goes away gets the cause
// of its own context's end, unless the run has ended before.
func (g *Group[V]) Do(ctx context.Context, key string, work func(context.Context) (V, error)) (v V, shared bool, err error) {
	return g.Join(ctx, key, work, func() {})
}

// Join is Do, which calls joined before it waits for a run that another had begun: so that this caller can let go of what that may need.
func (g *Group[V]) Join(ctx context.Context, key string, work func(context.Context) (V, error), joined func()) (v V, shared bool, err error) {
	g.mu.Lock()
	r, shared := g.runs[key]
	if !shared {
		r = new(run)
		r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
		if g.runs == nil {
			g.runs = make(map[string]*run)
		}
		g.runs[key] = r
	}
	r.waiters++
	done := g.single.DoChan(key, func() (v any, err error) {
		defer func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.forget(key, r)
			r.ended = true
			if v, ok := v.(V); ok && err == nil && g.Handed != nil {
				g.Handed(v, r.waiters)
			}
		}()
		defer func() {
			if p := recover(); p != nil {
				err = &PanicError{p, debug.Stack()}
			}
		}()
		return work(r.ctx)
	})
	g.mu.Unlock()
	if shared {
		joined()
	}

	select {
	case res := <-done:
		v, _ = res.Val.(V)
		return v, shared, res.Err
	case <-ctx.Done():
		g.mu.Lock()
		ended := r.ended
		if !ended {
			if r.waiters--; r.waiters == 0 {
				g.forget(key, r)
			}
		}
		g.mu.Unlock()
		if ended { // it is counted among those who get what there is
			res := <-done
			v, _ = res.Val.(V)
			return v, shared, res.Err
		}
		return v, shared, context.Cause(ctx)
	}
}

// forget ends r, so that whoever comes later starts a new run. The caller holds g.mu.
func (g *Group[V]) forget(key string, r *run) {
	if g.runs[key] == r {
		delete(g.runs, key)
		g.single.Forget(key)
	}
	r.cancel()
}
