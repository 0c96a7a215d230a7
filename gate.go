package imagecdn

import (
	"container/list"
	"context"
	"math"
	"runtime/debug"
	"sync"
	"time"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/resize"
)

// A gate bounds how many pictures are made at once, the memory that this takes, and how many requests wait for it.
//
// A request joins, or is refused. Its render then asks for leave with an estimate of its bytes, once or twice: see
// [resize.Renderer.Admit]. Sources take turns, and clients of a source: see [queue]. Whose turn it is waits until it fits, so
// that a large picture is not passed by small ones for ever; those
// that have begun go first, as they hold memory until they end. A picture that does not fit is made alone (if one may take as much: resize.Renderer.MaxMemory): when nothing else
// works, the one whose turn it is always goes. So there is always one that works, and whoever ends lets the next ones in.
//
// Where too many wait, one more request is let in at the cost of the client who has most waiting: the newest of those is refused. So a
// client fills what nobody else needs, and no more.
//
// The bytes of originals are part of that memory, from when they arrive: see [larder].
type gate struct {
	slots  int
	memory int64               // bytes, of leaves, of originals and of decoded originals together
	most   int                 // requests that may wait
	held   *resize.Pyramids    // decoded originals, which make room
	waited func(time.Duration) // is told how long renders have waited to begin

	mu      sync.Mutex       // guards what follows
	drained bool             // nothing begins any more
	joined  int              // requests whose pictures are made or waited for
	idle    queue            // of those: the ones that have no leave; and seats
	working int              // slots in use, with those that are lent
	lent    int              // slots that are used behind, and go to the first request that needs them
	taken   int64            // bytes of leaves, and of originals
	begun   queue            // renders that hold memory already
	fresh   queue            // others
	behind  queue            // pictures that no request waits for
	cancel  func()           // ends the picture that is made in the background; nil where none is
	seats   map[string]*seat // by image
	larder
}

// A turn is work that waits for leave.
type turn struct {
	bytes int64
	room  *room         // that waits to grow by so many bytes; nil where the work is rendering
	slot  bool          // whether it needs one
	lends bool          // whether a request that needs the slot takes it away
	path  []string      // source and client, in the queues where these take turns
	ours  bool          // no request is behind it
	place *list.Element // in its queue
	ready chan struct{} // closed when it has leave, or is refused
	err   error         // why it is refused; set before ready is closed

	// Of a request that has joined:
	waits bool                    // it is in gate.idle
	seat  *seat                   // that it is of; nil where it is none's
	end   context.CancelCauseFunc // of its work
}

func newGate(slots, most int, memory int64, held *resize.Pyramids) *gate {
	return &gate{slots: slots, most: most, memory: memory, held: held, waited: func(time.Duration) {}, larder: newLarder(memory), seats: make(map[string]*seat)}
}

// defaultRenderMemory is half of the runtime's memory limit, where one is set.
func defaultRenderMemory() int64 {
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		return max(limit/2, 1)
	}
	return 256 << 20
}

// defaultMaxRenderMemory is what one picture may take where pictures together may take memory.
func defaultMaxRenderMemory(memory int64) int64 {
	if memory > math.MaxInt64/8 {
		return -1
	}
	return min(4*memory, debug.SetMemoryLimit(-1))
}

// join counts a request in, unless too many wait already and none of them makes way. Its work is done with the context that is
// returned, until part is called.
func (g *gate) join(ctx context.Context) (_ context.Context, part func(), err error) {
	t := &turn{path: pathOf(ctx)}
	g.mu.Lock()
	defer g.mu.Unlock()
	seated := false
	if a := askerOf(ctx); a != nil {
		seated = g.rise(g.seats[a.image()])
	}
	switch {
	case g.drained:
		return nil, nil, errClosing
	case !seated && !g.place(t.path):
		return nil, nil, errOverloaded
	}
	g.joined++
	g.idle.push(t)
	t.waits = true
	ctx, t.end = context.WithCancelCause(context.WithValue(ctx, turnKey{}, t))
	return ctx, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.begin(t)
		g.joined--
		t.end(nil)
	}, nil
}

type turnKey struct{}

// begin notes that the request of a turn from join makes way for nobody any more. The caller holds g.mu.
func (g *gate) begin(t *turn) {
	if t != nil && t.waits {
		t.waits = false
		g.idle.remove(t)
	}
}

// drain refuses what has not begun, from now on. What has goes on.
func (g *gate) drain() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.drained = true
	for t := g.idle.front(); t != nil; t = g.idle.front() {
		g.oust(t, errClosing)
	}
	for t := g.asked(); t != nil; t = g.asked() {
		g.refuse(&g.beginning, t, errClosing)
	}
}

// asked is an original that a request waits for, which is not begun; nil where there is none. The caller holds g.mu.
func (g *gate) asked() *turn {
	for t := range g.beginning.all() {
		if !t.ours {
			return t
		}
	}
	return nil
}

// refuse ends a turn's wait. The caller holds g.mu.
func (g *gate) refuse(queue *queue, t *turn, why error) {
	queue.remove(t)
	t.err = why
	close(t.ready)
	g.next() // who was behind it may fit
}

// admit gives leave to work for a request. It is a [resize.Renderer.Admit].
func (g *gate) admit(ctx context.Context, bytes int64, begun bool) (leave func(), err error) {
	t := &turn{bytes: bytes, slot: true}
	queue := &g.begun
	if !begun {
		queue, t.path = &g.fresh, pathOf(ctx)
	}
	began := time.Now()
	err = g.wait(ctx, queue, t)
	if !begun {
		g.waited(time.Since(began))
	}
	if err != nil {
		return nil, err
	}
	if joined, _ := ctx.Value(turnKey{}).(*turn); joined != nil {
		g.mu.Lock()
		g.begin(joined)
		g.mu.Unlock()
	}
	return func() { g.leave(1, bytes) }, nil
}

// admitBehind gives leave to work for a picture that has a slot from enterBehind. It fails with ErrNoRoom where that would have to wait
// while requests wait.
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
func (g *gate) wait(ctx context.Context, queue *queue, t *turn) error {
	t.ready = make(chan struct{})
	g.mu.Lock()
	queue.push(t)
	g.next()
	select {
	case <-t.ready:
		g.mu.Unlock()
		return t.err
	default:
	}
	if queue != &g.behind && g.cancel != nil {
		g.cancel()
	}
	g.mu.Unlock()

	select {
	case <-t.ready:
		return t.err
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-t.ready: // in the same moment
		return t.err
	default:
	}
	g.refuse(queue, t, context.Cause(ctx))
	return t.err
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
	for _, queue := range []*queue{&g.begun, &g.fresh, &g.behind} {
		for t := queue.front(); t != nil; t = queue.front() {
			if queue != &g.behind && g.working >= g.slots {
				g.reclaim()
			}
			if queue == &g.fresh && g.originalIsShort() || !g.fits(t) {
				if queue != &g.behind {
					g.refuseBehind()
				}
				return
			}
			queue.take()
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

// refuseBehind refuses the memory that work behind waits for, while requests wait: it would not come to it before they have all gone, and one
// of them may have joined that work. The caller holds g.mu.
func (g *gate) refuseBehind() {
	for t := range g.behind.all() {
		if !t.lends {
			g.behind.remove(t)
			t.err = cache.ErrNoRoom
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
	if g.busy() || g.growing.waiting+g.beginning.waiting > 0 {
		g.cancel = nil
		return false
	}
	return true
}

// gateState is how full a gate is.
type gateState struct {
	waiting   int   // requests whose pictures have no leave yet
	most      int   // that may
	working   int   // pictures being made
	slots     int   // that may be
	originals int   // that wait for memory
	taken     int64 // bytes of leaves and originals, and of decoded originals that are kept
	memory    int64 // that may be
}

func (g *gate) state() gateState {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := gateState{
		waiting: g.idle.waiting - len(g.seats), most: g.most, working: g.working, slots: g.slots,
		originals: g.growing.waiting + g.beginning.waiting, taken: g.taken, memory: g.memory,
	}
	if g.held != nil {
		s.taken += g.held.Bytes()
	}
	return s
}
