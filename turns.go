package imagecdn

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imagecdn/imagecdn/cache"
)

// turns are this node's turns at making pictures that other nodes would make, too, and keep where this one finds them.
type turns struct {
	cluster Cluster
	store   cache.Store
	most    int64        // waits at once
	waiting atomic.Int64 // those there are

	ctx  context.Context // until close
	stop context.CancelFunc

	mu     sync.Mutex // guards closed, and that work grows only before
	closed bool
	work   sync.WaitGroup // turns that end when their pictures have settled
}

const (
	// turnPatience is how long a wait for a turn may keep the originals' bytes: what a cluster takes to give one that nobody has.
	turnPatience = 50 * time.Millisecond

	// settleTimeout is how long others may wait for a picture that is made already.
	settleTimeout = 10 * time.Second
)

// newTurns returns nil where there is nobody to take turns with, or no store in which others would find a picture.
func newTurns(c Cluster, store cache.Store, most int) *turns {
	if c == nil || !cache.Settles(store) {
		return nil
	}
	t := &turns{cluster: c, store: store, most: int64(most)}
	t.ctx, t.stop = context.WithCancel(context.Background())
	return t
}

// take waits for the turn to make p, which holds nothing that others could be in need of. Another node may have made it meanwhile, or before the turn could be
// taken: the store is to be asked behind it. end is to be called once, at the end, with whether p was given to the store.
func (t *turns) take(ctx context.Context, p *picture) (end func(kept bool)) {
	if t == nil || p.behind || !p.keepable() {
		return func(bool) {}
	}
	defer t.waiting.Add(-1)
	if t.waiting.Add(1) > t.most {
		return func(bool) {} // made twice is better than more that wait
	}
	gone := make(chan struct{})
	late := time.AfterFunc(turnPatience, func() {
		p.done() // they are read again
		close(gone)
	})
	defer func() {
		if !late.Stop() {
			<-gone
		}
	}()
	ended, mine := t.cluster.Turn(ctx, p.key)
	if !mine || ended == nil {
		return func(bool) {}
	}
	return func(kept bool) {
		if !kept || !t.settle(p.key, ended) {
			ended()
		}
	}
}

// settle calls end when others can find what was put under k. It reports whether it will.
func (t *turns) settle(k cache.Key, end func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.work.Go(func() {
		defer end()
		ctx, cancel := context.WithTimeout(t.ctx, settleTimeout)
		defer cancel()
		cache.Settle(ctx, t.store, k)
	})
	return true
}

// close ends all turns.
func (t *turns) close() {
	if t == nil {
		return
	}
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.stop()
	t.work.Wait()
}
