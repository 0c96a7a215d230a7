package cache

import (
	"context"
	"net/http"
	"time"
)

// A turn is held by the one request that asks next about a name, while others wait for what it brings. It asks in
// its own context, as what it gets may turn out to be for it alone.
type turn struct {
	key    string
	done   chan struct{}
	gaveUp bool // its client has gone away: nothing is known yet
}

const (
	// passedFor is how long it is remembered that the answer for a URL was not to be stored.
	passedFor = 10 * time.Second

	// maxPassed bounds the memory of it.
	maxPassed = 10_000
)

// takeTurn returns the turn to ask about what was found, and whether it is the caller's; nil where nobody
// should wait. A purge begins another: a request that comes after it does not wait for one from before.
func (t *Transport) takeTurn(f found) (_ *turn, first bool) {
	if t.wasPassed(f.lease) {
		return nil, false
	}
	key := f.lease.flight() + "\x00" + f.variant
	t.mu.Lock()
	defer t.mu.Unlock()
	if other := t.turns[key]; other != nil {
		return other, false
	}
	if t.turns == nil {
		t.turns = make(map[string]*turn)
	}
	t.turns[key] = &turn{key: key, done: make(chan struct{})}
	return t.turns[key], true
}

// endTurn lets those who wait look at what there is now. ctx is that of the request which held the turn.
func (t *Transport) endTurn(ctx context.Context, held *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if held == nil || t.turns[held.key] != held {
		return
	}
	delete(t.turns, held.key)
	held.gaveUp = ctx.Err() != nil
	close(held.done)
}

// notePassed remembers that the answer for a URL was not to be stored. What was asked with credentials says nothing
// about others, and an origin's failure nothing about the next answer.
func (t *Transport) notePassed(req *http.Request, lease Lease, status int) {
	if req.Header.Get("Authorization") != "" || status >= 500 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.passed == nil || len(t.passed) >= maxPassed {
		t.passed = make(map[string]time.Time)
	}
	t.passed[lease.name.Image] = time.Now().Add(passedFor)
}

func (t *Transport) wasPassed(lease Lease) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	until, ok := t.passed[lease.name.Image]
	if ok && !time.Now().Before(until) {
		delete(t.passed, lease.name.Image)
		ok = false
	}
	return ok
}
