package imagecdn

import (
	"context"
	"strconv"
	"time"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
)

// Renders is how many renders of h have ended.
func Renders(h *Handler) int { return int(h.rendered.Load()) }

// HoldGate takes all room to make pictures, until release is called.
func HoldGate(h *Handler) (release func()) {
	var leaves []func()
	for range h.gate.slots {
		ctx, part, err := h.gate.join(context.Background())
		if err != nil {
			panic(err)
		}
		leave, err := h.gate.admit(ctx, 0, false)
		if err != nil {
			panic(err)
		}
		leaves = append(leaves, func() { leave(); part() })
	}
	return func() {
		for _, leave := range leaves {
			leave()
		}
	}
}

// MaxBehind is how many pictures may wait to be made behind their stand-ins.
const MaxBehind = maxBehind

// Warming reports whether a picture is being made that nobody has asked for.
func Warming(h *Handler) bool {
	h.gate.mu.Lock()
	defer h.gate.mu.Unlock()
	return h.gate.cancel != nil
}

// StoreOf is what keeps h's things.
func StoreOf(h *Handler) cache.Store { return h.store }

// GenerationsOf are the generations that h's store has kept. It is a cache.Keeper.
func GenerationsOf(h *Handler) *cache.Generations { return h.store.(cache.Keeper).Generations() }

// Names is how many names are in h's table.
func Names(h *Handler) int { return h.table.Len() }

// LeftOfPurges is how many names are in h's table, images of before a purge are noted, and purges are to be resumed.
func LeftOfPurges(h *Handler) [3]int {
	t := h.targets
	t.mu.Lock()
	defer t.mu.Unlock()
	return [3]int{h.table.Len(), len(t.before), len(t.resumed)}
}

// Remembered is how many URLs, and how many pictures that cannot be made, h remembers.
func Remembered(h *Handler) (urls, failures int) {
	h.recent.mu.RLock()
	defer h.recent.mu.RUnlock()
	h.failures.mu.Lock()
	defer h.failures.mu.Unlock()
	return len(h.recent.all), len(h.failures.known)
}

// Decoded is how many originals h has begun to decode, and the bytes of those that are in memory decoded.
func Decoded(h *Handler) (decodes, bytes int64) { return h.decoded.Decodes(), h.decoded.Bytes() }

// HeldOriginals is how many bytes of originals h counts, and all that it counts as memory for making pictures.
func HeldOriginals(h *Handler) (originals, all int64) {
	h.gate.mu.Lock()
	defer h.gate.mu.Unlock()
	if len(h.gate.reading)+h.gate.growing.waiting+h.gate.beginning.waiting+h.gate.marked.Len() > 0 && h.gate.larder.bytes == 0 {
		panic("originals of no bytes are being read")
	}
	return h.gate.larder.bytes, h.gate.taken
}

// WithLadder is d with pictures on the rungs of l.
func WithLadder(d Dialect, l Ladder) Dialect {
	d, err := withLadder(d, &l)
	if err != nil {
		panic(err)
	}
	return d
}

// CloudimageStatus is a state in the words of Cloudimage's API.
func CloudimageStatus(s purge.State) string { return cloudimageStates[s] }

// FillDuplicates has n images purged at once, and returns how many are remembered.
func FillDuplicates(n int) int {
	var d duplicates
	for i := range n {
		d.again(strconv.Itoa(i), time.Unix(0, 0))
	}
	return len(d.at)
}

// AdminRoutes are the routes of the API, and those of the console for who has not signed in and for who has.
func AdminRoutes(h *Handler) (api, open, signed []string) {
	a := &admin{h: h}
	for _, r := range a.api() {
		api = append(api, r.pattern)
	}
	o, s := (&console{admin: a}).routes()
	for _, r := range o {
		open = append(open, r.pattern)
	}
	for _, r := range s {
		signed = append(signed, r.pattern)
	}
	return api, open, signed
}

// Seats is how many originals have a place in the queue before they are here.
func Seats(h *Handler) int {
	h.gate.mu.Lock()
	defer h.gate.mu.Unlock()
	return len(h.gate.seats)
}
