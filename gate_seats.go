package imagecdn

import "time"

// Seats are places in the gate's queue for pictures whose originals are not here yet. Without them all requests that come while one place is free have
// their originals fetched, for all but one to be refused then.
//
// An original has one seat, however many ask for it, for no longer than patience: an origin that is slow keeps nobody else out.
type seats struct {
	queue queue            // whose they are
	taken map[string]*seat // by source and path of the picture's first image
}

type seat struct {
	turn  turn
	timer *time.Timer // ends it
}

// seat takes a seat for a request whose original is about to be fetched. It reports whether there is one, or need not be as the original is being
// fetched already. Those that have fewer seats than others get one beyond the number, as they would get a place in the queue.
func (g *gate) seat(a *asker) bool {
	image, path := a.image(), pathOf(a)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.seats.taken[image] != nil {
		return true
	}
	if g.joined+g.seats.queue.waiting >= g.slots+g.most && g.idle.spare(path) == nil && g.seats.queue.spare(path) == nil {
		return false
	}
	s := &seat{turn: turn{path: path}}
	s.timer = time.AfterFunc(patience, func() { g.unseat(image, s) })
	g.seats.queue.push(&s.turn)
	g.seats.taken[image] = s
	a.seat = s
	return true
}

// unseat ends a seat, unless it has ended.
func (g *gate) unseat(image string, s *seat) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.seats.taken[image] == s {
		g.rise(image)
	}
}

// rise ends the seat of an image, where there is one. The caller holds g.mu.
func (g *gate) rise(image string) {
	if s := g.seats.taken[image]; s != nil {
		s.timer.Stop()
		g.seats.queue.remove(&s.turn)
		delete(g.seats.taken, image)
	}
}
