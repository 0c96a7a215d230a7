package imagecdn

import (
	"container/list"
	"context"
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/imagecdn/imagecdn/resize"
)

// A gate bounds how many pictures are made at once, the memory that this takes, and how many requests wait for it.
//
// A request joins, or is refused. Its render then asks for leave with an estimate of its bytes, once or twice: see
// [resize.Renderer.Admit]. Leave is given in order, so that a large picture is not passed by small ones for ever; those
// that have begun go first, as they hold memory until they end. A picture that does not fit is made alone: when nothing else
// works, the first in order always goes. So there is always one that works, and whoever ends lets the next ones in.
//
// The bytes of originals are part of that memory, from when they arrive: see [larder].
type gate struct {
	slots  int
	memory int64            // bytes, of leaves, of originals and of decoded originals together
	most   int64            // requests that may wait
	held   *resize.Pyramids // decoded originals, which make room

	joined atomic.Int64 // requests whose pictures are made or waited for

	mu      sync.Mutex // guards what follows
	working int        // slots in use, with those that are lent
	lent    int        // slots that are used behind, and go to the first request that needs them
	taken   int64      // bytes of leaves, and of originals
	begun   list.List  // of *turn: renders that hold memory already
	fresh   list.List  // of *turn: others
	behind  list.List  // of *turn: pictures that no request waits for
	cancel  func()     // ends the picture that is made in the background; nil where none is
	larder
}

// A turn is work that waits for leave.
type turn struct {
	bytes int64
	room  *room         // that waits to grow by so many bytes; nil where the work is rendering
	slot  bool          // whether it needs one
	lends bool          // whether a request that needs the slot takes it away
	ready chan struct{} // closed when it has leave
}

func newGate(slots, most int, memory int64, held *resize.Pyramids) *gate {
	return &gate{slots: slots, most: int64(most), memory: memory, held: held, larder: newLarder(memory)}
}

// defaultRenderMemory is half of the runtime's memory limit, where one is set.
func defaultRenderMemory() int64 {
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		return max(limit/2, 1)
	}
	return 256 << 20
}

// join counts a request in, unless too many wait already.
func (g *gate) join() error {
	if g.joined.Add(1) > int64(g.slots)+g.most {
		g.joined.Add(-1)
		return errOverloaded
	}
	return nil
}

// part counts a request out.
func (g *gate) part() { g.joined.Add(-1) }

// admit gives leave to work for a request. It is a [resize.Renderer.Admit].
func (g *gate) admit(ctx context.Context, bytes int64, begun bool) (leave func(), err error) {
	t := &turn{bytes: bytes, slot: true}
	queue := &g.fresh
	if begun {
		queue = &g.begun
	}
	if err := g.wait(ctx, queue, t); err != nil {
		return nil, err
	}
	return func() { g.leave(1, bytes) }, nil
}

// admitBehind gives leave to work for a picture that has a slot from enterBehind.
func (g *gate) admitBehind(ctx context.Context, bytes int64, _ bool) (leave func(), err error) {
	if err := g.wait(ctx, &g.behind, &turn{bytes: bytes}); err != nil {
		return nil, err
	}
	return func() { g.leave(0, bytes) }, nil
}

// enterBehind waits for a slot that no request waits for, and lends it.
func (g *gate) enterBehind(ctx context.Context) error {
	return g.wait(ctx, &g.behind, &turn{slot: true, lends: true})
}

// leaveBehind ends what enterBehind began. A slot that was taken back is not given back twice.
func (g *gate) leaveBehind() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reclaim()
	g.next()
}

// reclaim takes back a slot that is lent, where there is one. The caller holds g.mu.
func (g *gate) reclaim() {
	if g.lent > 0 {
		g.lent--
		g.working--
	}
}

// wait waits in a queue for leave.
func (g *gate) wait(ctx context.Context, queue *list.List, t *turn) error {
	t.ready = make(chan struct{})
	g.mu.Lock()
	place := queue.PushBack(t)
	g.next()
	select {
	case <-t.ready:
		g.mu.Unlock()
		return nil
	default:
	}
	if queue != &g.behind && g.cancel != nil {
		g.cancel()
	}
	g.mu.Unlock()

	select {
	case <-t.ready:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-t.ready: // in the same moment
		return nil
	default:
	}
	queue.Remove(place)
	g.next() // who was behind it may fit
	return context.Cause(ctx)
}

// leave ends leave to work.
func (g *gate) leave(slots int, bytes int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.working -= slots
	g.taken -= bytes
	g.next()
}

// next gives leave to those who are next and fit. The caller holds g.mu.
func (g *gate) next() {
	g.nextOriginals()
	for _, queue := range []*list.List{&g.begun, &g.fresh, &g.behind} {
		for e := queue.Front(); e != nil; e = queue.Front() {
			t := e.Value.(*turn)
			if queue != &g.behind && g.working >= g.slots {
				g.reclaim()
			}
			if !g.fits(t) {
				return
			}
			queue.Remove(e)
			g.taken += t.bytes
			if t.slot {
				g.working++
			}
			if t.lends {
				g.lent++
			}
			close(t.ready)
		}
	}
}

// fits reports whether t may have leave now, and makes room for it where that is all it lacks.
func (g *gate) fits(t *turn) bool {
	if t.slot && g.working >= g.slots {
		return false
	}
	if t.lends {
		return true // it asks for its memory once it is in
	}
	left := g.memory - g.taken - t.bytes
	alone := g.working == g.lent
	if left < 0 && !alone {
		return false
	}
	return g.makeRoom(left) || alone
}

// makeRoom lets go of decoded originals that nobody uses, as far as they take more than is left. It reports whether the rest fits.
func (g *gate) makeRoom(left int64) bool {
	if g.held == nil || g.held.Bytes() <= left {
		return true
	}
	g.held.Free(max(left, 0))
	return g.held.Bytes() <= left
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
	if g.busy() || g.growing.Len()+g.beginning.Len() > 0 {
		g.cancel = nil
		return false
	}
	return true
}
