package imagecdn

import (
	"container/list"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/imagecdn/imagecdn/cache"
)

// A larder has the bytes of originals that pictures are made of: from when they are fetched, or read from the disk, until
// no request needs them. They are part of the gate's memory, and have up to a share of it before renders do, which take what it
// leaves: so neither keeps the other waiting for ever, as renders end by themselves and what waits in the larder is bounded.
//
// An original is begun in its turn, if what it is expected to take has room beside what those that are being read will take yet;
// one that has come to a halt counts with what has arrived. What is begun grows in steps. When nothing is
// rendered or waits for that, or all that is here waits to grow, so that nothing will be given back, one original may go beyond the share, and beyond that those
// that the first request with watermarks needs, as it may hold one input and wait for another. So what is taken is
// at most the share and one original more, or the share and the inputs of one such request.
//
// What follows is guarded by gate.mu.
type larder struct {
	share     int64              // bytes
	bytes     int64              // of all originals
	typical   int64              // bytes that an original is expected to have of which nothing is known
	reading   map[*room]struct{} // begun, and not whole
	growing   queue
	beginning queue
	over      *room       // the one original that may go beyond the share, until it is closed; nil where none does
	marked    list.List   // of []string: the inputs of requests that need several, in the order of the requests
	timer     *time.Timer // looks again, when originals may have come to a halt; nil where that is not needed
}

// An original that has not grown for this long is not waited for.
const patience = time.Second

// A room is one original's place. It is a [cache.Room].
type room struct {
	gate  *gate
	image string // its path, after its source

	// Guarded by gate.mu.
	begun  bool
	bytes  int64
	expect int64 // bytes, once it is whole
	moved  time.Time
}

func newLarder(memory int64) larder {
	share := max(memory/4, 1)
	return larder{share: share, typical: max(min(share/16, 4<<20), 1), reading: make(map[*room]struct{})}
}

// Resize implements [cache.Room].
func (r *room) Resize(ctx context.Context, bytes, expect int64) error {
	g := r.gate
	g.mu.Lock()
	if expect < 0 {
		expect = max(g.typical, bytes)
	}
	r.expect = expect
	t := &turn{room: r, bytes: bytes - r.bytes}
	switch {
	case r.begun && t.bytes <= 0:
		g.grow(t)
		g.next()
		g.mu.Unlock()
		return nil
	case cache.IsBehind(ctx):
		defer g.mu.Unlock()
		if g.busy() || g.growing.waiting+g.beginning.waiting > 0 || !g.hasRoom(t) {
			return cache.ErrNoRoom
		}
		g.grow(t)
		return nil
	case r.begun:
		g.mu.Unlock()
		return g.wait(ctx, &g.growing, t)
	}
	t.path, t.ours = pathOf(ctx), askerOf(ctx) == nil
	var err error
	switch {
	case g.drained && !t.ours:
		err = errClosing
	case g.beginning.waiting >= g.slots+g.most:
		if spare := g.beginning.spare(t.path); spare != nil {
			g.refuse(&g.beginning, spare, errOverloaded)
		} else {
			err = errOverloaded
		}
	}
	g.mu.Unlock()
	if err != nil {
		return err
	}
	return g.wait(ctx, &g.beginning, t)
}

// errOverloaded is for one request. Those that have joined it ask for themselves, as of [cache.ErrNoRoom].
var errOverloaded = &httpError{
	status: http.StatusTooManyRequests, text: "too many pictures are being made; try again soon", retryAfter: time.Second, cause: cache.ErrNoRoom,
}

// errClosing is for requests alone: what a purge asks, which may have joined one, is asked all the same, until the purges are closed.
var errClosing = &httpError{status: http.StatusServiceUnavailable, text: "the server is closing", cause: cache.ErrNoRoom}

// Close implements [cache.Room].
func (r *room) Close() {
	g := r.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	g.taken -= r.bytes
	g.larder.bytes -= r.bytes
	r.bytes = 0
	delete(g.reading, r)
	if g.over == r {
		g.over = nil
	}
	g.next()
}

// marks notes that a request needs all of these images at a time, until done is called.
func (g *gate) marks(images []string) (done func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	place := g.marked.PushBack(images)
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.marked.Remove(place)
		g.next()
	}
}

// grow gives t's original what it waits for. The caller holds g.mu.
func (g *gate) grow(t *turn) {
	r := t.room
	r.begun, r.moved = true, time.Now()
	r.bytes += t.bytes
	g.larder.bytes += t.bytes
	g.taken += t.bytes
	if g.over == nil && r.bytes > g.share {
		g.over = r
	}
	if r.bytes < r.expect {
		g.reading[r] = struct{}{}
		return
	}
	delete(g.reading, r)
	g.typical = (3*g.typical + r.bytes) / 4
}

// expected is how much what is being read will take yet, as far as it moves. The caller holds g.mu.
func (g *gate) expected() (bytes int64) {
	now := time.Now()
	for r := range g.reading {
		if now.Sub(r.moved) < patience {
			bytes += max(r.expect-r.bytes, 0)
		}
	}
	return bytes
}

// nextOriginals lets originals grow, and begin, that are next and fit. The caller holds g.mu.
func (g *gate) nextOriginals() {
	queues := []*queue{&g.growing, &g.beginning}
	for _, queue := range queues {
		for t := queue.front(); t != nil && g.hasRoom(t); t = queue.front() {
			queue.take()
			g.letGrow(t)
		}
	}
	if busy := g.busy(); !busy || g.stuck() {
		if busy {
			queues = queues[:1] // to begin yet another would not help
		}
		for _, queue := range queues {
			for t := range queue.all() {
				if g.mayExceed(t) {
					if g.over == nil {
						g.over = t.room
					}
					queue.remove(t)
					g.letGrow(t)
				}
			}
		}
	}
	if g.beginning.waiting > 0 && g.timer == nil && g.expected() > 0 {
		g.timer = time.AfterFunc(patience, func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.timer = nil
			g.next()
		})
	}
}

func (g *gate) letGrow(t *turn) {
	g.grow(t)
	close(t.ready)
}

// busy reports whether pictures are made, or wait for nothing but that: what they hold will be given back. The caller holds g.mu.
func (g *gate) busy() bool { return g.working > g.lent || g.begun.waiting > 0 || g.fresh.waiting > 0 }

// stuck reports whether all originals that are here wait for each other, or for origins that have come to a halt: no picture that is made
// will give any of their bytes back. The caller holds g.mu.
func (g *gate) stuck() bool {
	if g.growing.waiting == 0 {
		return false
	}
	left, waits := g.larder.bytes, make(map[*room]bool, g.growing.waiting)
	for t := range g.growing.all() {
		left -= t.room.bytes
		waits[t.room] = true
	}
	now := time.Now()
	for r := range g.reading {
		if !waits[r] && now.Sub(r.moved) >= patience {
			left -= r.bytes
		}
	}
	return left == 0
}

// hasRoom reports whether t's original may have what it waits for, and makes room for it where that is all it lacks.
func (g *gate) hasRoom(t *turn) bool {
	left := g.memory - g.taken - t.bytes
	return g.hasShare(t) && left >= 0 && g.makeRoom(left)
}

// hasShare reports whether there is room for t's original in the share.
func (g *gate) hasShare(t *turn) bool {
	others := g.larder.bytes - t.room.bytes
	if !t.room.begun {
		others += g.expected()
		return others <= 0 || others+t.room.expect <= g.share
	}
	return others <= 0 || g.larder.bytes+t.bytes <= g.share
}

// originalIsShort reports whether the original whose turn it is lacks nothing but memory that renders have. As they end, what they give
// back is then for it: renders that take less would take that again and again. The caller holds g.mu.
func (g *gate) originalIsShort() bool {
	if g.working == g.lent {
		return false // nobody gives anything back
	}
	for _, queue := range []*queue{&g.growing, &g.beginning} {
		if t := queue.front(); t != nil && g.hasShare(t) && g.larder.bytes+t.bytes <= g.memory {
			return true
		}
	}
	return false
}

// mayExceed reports whether t's original may have what it waits for although that has no room, as nothing else goes on. The one that does
// goes on until it is whole, used and closed: several that each went a step beyond the share would all stand there.
func (g *gate) mayExceed(t *turn) bool {
	if first := g.marked.Front(); first != nil && slices.Contains(first.Value.([]string), t.room.image) {
		return true
	}
	if g.over != nil {
		return g.over == t.room
	}
	return t.room.begun || g.expected() == 0
}
