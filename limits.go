package imagecdn

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/resize"
)

// A gate bounds how many pictures are made at once, and how many requests wait for that.
type gate struct {
	slots   *semaphore.Weighted
	size    int64
	most    int64
	waiting atomic.Int64

	mu     sync.Mutex // guards what follows
	cancel func()     // ends the picture that is made in the background; nil where none is
	lent   int64      // slots that are used behind, and go to the first request that needs them
}

func newGate(slots, most int) *gate {
	return &gate{slots: semaphore.NewWeighted(int64(slots)), size: int64(slots), most: int64(most)}
}

func (g *gate) enter(ctx context.Context) error {
	if g.slots.TryAcquire(1) || g.reclaim() && g.slots.TryAcquire(1) {
		return nil
	}
	if g.waiting.Add(1) > g.most {
		g.waiting.Add(-1)
		return &httpError{status: http.StatusTooManyRequests, text: "too many pictures are being made; try again soon", retryAfter: time.Second}
	}
	defer g.waiting.Add(-1)
	g.mu.Lock()
	if g.cancel != nil {
		g.cancel()
	}
	g.mu.Unlock()
	g.reclaim() // what was lent before this request was counted among those that wait
	return g.slots.Acquire(ctx, 1)
}

// background says that a picture that nobody waits for is about to be made, unless others are: it reports which. cancel is
// called when a request has to wait. Nil says that it is over.
func (g *gate) background(cancel func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cancel = cancel
	if cancel == nil {
		return false
	}
	if !g.slots.TryAcquire(g.size - g.lent) {
		g.cancel = nil
		return false
	}
	g.slots.Release(g.size - g.lent)
	return true
}

// enterBehind waits for a slot that no request waits for, and lends it.
func (g *gate) enterBehind(ctx context.Context) error {
	for {
		if err := g.slots.Acquire(ctx, 1); err != nil {
			return err
		}
		g.mu.Lock()
		if g.waiting.Load() == 0 {
			g.lent++
			g.mu.Unlock()
			return nil
		}
		g.mu.Unlock()
		g.slots.Release(1)
	}
}

// reclaim takes back a slot that is lent, and reports whether there was one.
func (g *gate) reclaim() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lent == 0 {
		return false
	}
	g.lent--
	g.slots.Release(1)
	return true
}

// leaveBehind ends what enterBehind began. A slot that was taken back is not given back twice.
func (g *gate) leaveBehind() { g.reclaim() }

func (g *gate) leave() { g.slots.Release(1) }

// failures remembers, for a short while, which pictures cannot be made, so that a damaged original is not
// decoded for every request. It holds a bounded number of them.
type failures struct {
	mu    sync.Mutex // guards known
	known map[cache.Digest]failure
}

type failure struct {
	err     *httpError
	expires time.Time
}

const maxFailures = 10_000

func newFailures() *failures { return &failures{known: make(map[cache.Digest]failure)} }

func (f *failures) remember(key cache.Digest, err *httpError) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k := range f.known {
		if len(f.known) < maxFailures {
			break
		}
		delete(f.known, k)
	}
	f.known[key] = failure{err, time.Now().Add(err.lifetime)}
}

// recall returns the error of a picture that could not be made lately, with what is left of its life.
func (f *failures) recall(key cache.Digest) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	known, ok := f.known[key]
	if !ok {
		return nil
	}
	left := time.Until(known.expires)
	if left <= 0 {
		delete(f.known, key)
		return nil
	}
	e := *known.err
	e.lifetime = left
	return &e
}

// unmakeable says what a failed render means to the client, and has it remembered where another try would
// bring no more.
func (h *Handler) unmakeable(ctx context.Context, p *picture, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	e := &httpError{status: statusOf(err), text: publicText(err), cause: err}
	if e.status == http.StatusInternalServerError {
		return e
	}
	e.lifetime = p.inputs[0].source.cache.Negative()
	h.failures.remember(p.key.Sum, e)
	if p.behind {
		return e // its stand-in was made of these bytes
	}
	if errors.Is(err, resize.ErrDamaged) || errors.Is(err, resize.ErrUnsupported) {
		for _, in := range p.inputs {
			in.source.cache.Spoil(in.now)
		}
	}
	return e
}
