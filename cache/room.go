package cache

import (
	"context"
	"errors"
	"sync/atomic"
)

// A Room is leave to have the bytes of one original in memory, such as a budget gives. The transport asks for it before it
// has the bytes, in small steps as they arrive, and closes it when neither it nor any caller that was given them needs them
// any more: see [Result.Done].
//
// A Room is used by one goroutine at a time.
type Room interface {
	// Resize waits until the original may take so many bytes in all, of about expect once it is whole; less than zero
	// where that is not known. It is called with no bytes before an origin is asked that will send some, and for the last
	// time with bytes and expect equal, when the original is whole. What is no more than before never waits.
	//
	// An error ends the exchange, tells nothing of the origin, and goes to all who wait for it. When ctx ends, Resize
	// returns its cause, and the Room stays as it was. Where no request waits, see [IsBehind], Resize does not wait either: it
	// fails with ErrNoRoom. An error that is ErrNoRoom does not go to others who wait: they ask for themselves.
	Resize(ctx context.Context, bytes, expect int64) error

	// Close gives all of it back. It is called once.
	Close()
}

// ErrNoRoom is what a [Room] returns in place of waiting, for work that no request waits for.
var ErrNoRoom = errors.New("cache: no room for an original that nobody waits for")

type behindKey struct{}

// Behind returns a context for work that no request waits for.
func Behind(ctx context.Context) context.Context { return context.WithValue(ctx, behindKey{}, true) }

// IsBehind reports whether no request waits for the work of this context.
func IsBehind(ctx context.Context) bool { return ctx.Value(behindKey{}) != nil }

// A sharedRoom is that of bytes which several Results may have in common.
type sharedRoom struct {
	Room
	users atomic.Int32
}

// handed is told how many get r.
func (r *Result) handed(callers int) {
	switch {
	case r.room == nil:
	case callers == 0:
		r.room.Close()
	default:
		r.room.users.Store(int32(callers))
	}
}

// own is r for one of those who get it.
func (r *Result) own() *Result {
	if r.body == nil {
		return r
	}
	mine := *r
	return &mine
}

// Done lets go of the bytes that r may have brought, where the caller needs them no more. Each Result of Fetch, Refresh, Body
// and Share is to be Done with, where TransportOptions.Room is set; the rest of it may be used afterwards. A second call
// does nothing.
func (r *Result) Done() {
	if r.body == nil {
		return // others may have the same r
	}
	r.body = nil
	if h := r.room; h != nil && h.users.Add(-1) == 0 {
		h.Close()
	}
}

// Brought reports whether r has bytes that the request brought.
func (r *Result) Brought() bool { return r.body != nil }

// Share returns an r of its own for another who needs its bytes. r is not Done with.
func (r *Result) Share() *Result {
	if r.body != nil && r.room != nil {
		r.room.users.Add(1)
	}
	return r.own()
}

// anyRoom is where nobody counts.
type anyRoom struct{}

func (anyRoom) Resize(context.Context, int64, int64) error { return nil }
func (anyRoom) Close()                                     {}

func (t *Transport) room(image string) Room {
	if t.opts.Room == nil {
		return anyRoom{}
	}
	return t.opts.Room(image)
}

// A roomError is an error of a Room.
type roomError struct{ error }
