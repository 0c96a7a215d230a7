package imagecdn

import "time"

// A seat is the place in the gate's queue of a picture whose original is not here yet. Without seats all requests that come while one place is free have
// their originals fetched, for all but one to be refused then.
//
// An original has one seat, however many ask for it, for no longer than patience: an origin that is slow keeps nobody else out. Who loses a seat goes on,
// and asks for a place when the original is there.
type seat struct {
	turn  turn   // in gate.idle
	image string // source and path of the picture's first image
	timer *time.Timer
}

// seat takes a seat for a request whose original is about to be fetched. It reports whether there is one, or need not be as the original is being
// fetched already.
func (g *gate) seat(a *asker) bool {
	image, path := a.image(), pathOf(a)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.seats[image] != nil {
		return true
	}
	if !g.place(path) {
		return false
	}
	s := &seat{turn: turn{path: path}, image: image}
	s.turn.seat = s
	s.timer = time.AfterFunc(patience, func() { g.unseat(s) })
	g.idle.push(&s.turn)
	g.seats[image] = s
	a.seat = s
	return true
}

// unseat ends a seat, unless it has ended.
func (g *gate) unseat(s *seat) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rise(s)
}

// rise is unseat for callers that hold g.mu, and reports whether the seat had not ended. It may be nil.
func (g *gate) rise(s *seat) bool {
	if s == nil || g.seats[s.image] != s {
		return false
	}
	s.timer.Stop()
	g.idle.remove(&s.turn)
	delete(g.seats, s.image)
	return true
}

// place reports whether there is a place in the queue for one more request of a path, and makes one where another has more. The caller holds g.mu.
func (g *gate) place(path []string) bool {
	if g.joined+len(g.seats) < g.slots+g.most {
		return true
	}
	spare := g.idle.spare(path)
	if spare != nil {
		g.oust(spare, errOverloaded)
	}
	return spare != nil
}

// oust takes a turn out of g.idle, whose request is refused if it waits for a picture. The caller holds g.mu.
func (g *gate) oust(t *turn, why error) {
	if t.seat != nil {
		g.rise(t.seat)
		return
	}
	g.begin(t)
	t.end(why)
}
