package imagecdn

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/resize"
)

// standInLifetime is how long a picture may be kept that goes out in place of a better one. Encoding AVIF takes about a second,
// after others that are in the queue; who comes back after this most likely finds it.
const standInLifetime = 30 * time.Second

// AVIF pays between these two bounds (docs/formats.md has the measurements).
const (
	// Below so many bytes of the next best format, the container of AVIF costs more than its codec saves.
	minBehindBytes = 1000

	// An encoder cannot be interrupted, and takes 2.5 seconds and 130 MB of memory for a megapixel. All that are at work
	// together stay within this.
	maxBehindPixels = 2 << 20

	// What an encoder takes at least, as pixels.
	minBehindPixels = 1 << 18
)

const (
	// maxBehind is how many pictures may wait to be made behind. Those beyond are asked for again when their stand-ins expire.
	maxBehind = 256

	// maxVerdicts is how many pictures are remembered whose stand-ins are better, or which fail. Who is forgotten is tried again.
	maxVerdicts = 10_000
)

// behind makes AVIF for requests that named it and were answered with the next best format, so that nobody waits
// for its encoder.
//
// It begins only while there is a slot that no request waits for. As the encoder cannot be interrupted, what gives way
// from then on is the slot: a request that needs it takes it at once, and shares the processor with what is left of the encoding.
type behind struct {
	h      *Handler
	most   int                 // pictures made at once
	pixels *semaphore.Weighted // of those
	ctx    context.Context
	stop   context.CancelFunc
	done   sync.WaitGroup

	mu       sync.Mutex // guards what follows
	closed   bool
	running  int
	queue    []*follower
	queued   map[cache.Digest]bool // by key of the better picture: those waiting and those being made
	verdicts map[instead]verdict
}

// A follower is a picture in AVIF that is to be made because its stand-in went out.
type follower struct {
	*picture
	standIn cache.Key
	instead instead
}

// instead is a choice between a picture and what may stand in for it.
type instead struct {
	better cache.Digest
	format resize.Format
}

// A verdict is that the stand-in is to be served.
type verdict struct {
	until time.Time // zero: for good, as what is better follows from the bytes
}

// settled says that an original's picture at a URL is best in this format.
type settled struct {
	digest cache.Digest // of the original
	format resize.Format
}

func newBehind(h *Handler) *behind {
	b := &behind{
		h:        h,
		most:     max(1, h.gate.slots/2),
		pixels:   semaphore.NewWeighted(maxBehindPixels),
		queued:   make(map[cache.Digest]bool),
		verdicts: make(map[instead]verdict),
	}
	b.ctx, b.stop = context.WithCancel(cache.Behind(context.Background()))
	return b
}

// close ends all work. An encoder that is at it ends by itself, and what it gives is kept by nobody.
func (b *behind) close() {
	b.mu.Lock()
	b.closed, b.queue = true, nil
	b.mu.Unlock()
	b.stop()
	b.done.Wait()
}

// negotiate names the picture for a request whose Accept header decides about the format. Where that is AVIF, it is
// what the client has or what is in the cache; else the next best stands in for it.
func (h *Handler) negotiate(ctx context.Context, r *http.Request, req *parsed) (*picture, error) {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	best, _ := req.Params.negotiate(accept, h.avif())
	expected, known := &best, req.settled.Load()
	if best.Format == resize.AVIF && known != nil {
		if next, _ := req.Params.negotiate(accept, false); next.Format == known.format {
			expected = &next // if the original is the same
		}
	}
	p, err := h.name(ctx, req, expected)
	if err != nil {
		return nil, err
	}
	if p.drawing {
		return p, nil
	}
	original := p.inputs[0].now.Entry
	if own := req.own; own.Format == resize.SameFormat || own.Format == resize.GIF {
		if kind := original.Header["Content-Type"]; len(kind) == 1 && kind[0] == "image/gif" {
			return p, p.replan(own) // which may move
		}
	}
	if best.Format != resize.AVIF || expected != &best && known.digest == original.Digest {
		return p, nil
	}
	if err := p.replan(&best); err != nil || p.matches(r.Header.Values("If-None-Match")) {
		return p, err
	}
	if p.thing = req.find(p); p.thing != nil {
		return p, nil
	}

	next, _ := req.Params.negotiate(accept, false)
	if next.Format == best.Format {
		return p, nil // asked for by name, and nothing else is taken
	}
	choice := instead{p.key.Sum, next.Format}
	if v, ok := h.behind.verdict(choice); ok {
		if !v.until.IsZero() {
			p.atMost = time.Until(v.until)
		} else if len(p.inputs) == 1 {
			req.settled.Store(&settled{original.Digest, next.Format})
		}
		return p, p.replan(&next)
	}
	if h.find(ctx, p) == nil {
		return p, nil
	}
	p.better, p.atMost = &best, standInLifetime
	return p, p.replan(&next)
}

// replan changes what is to be made of p's inputs.
func (p *picture) replan(plan *resize.Plan) error {
	if p.plan == plan {
		return nil
	}
	p.plan = plan
	return p.computeKey()
}

// follow has the picture made that p, which is about to be sent, stands in for. Where p is so small that this would not pay,
// it is no stand-in.
func (h *Handler) follow(p *picture) {
	size := int64(-1) // not known of what the client has already
	switch {
	case p.thing != nil:
		size = int64(len(p.thing.Body))
	case p.file != nil:
		size = p.file.Size
	}
	better := &picture{req: p.req, plan: p.better, inputs: slices.Clone(p.inputs), behind: true}
	if better.computeKey() != nil {
		return
	}
	f := &follower{better, p.key, instead{better.key.Sum, p.plan.Format}}
	if size >= 0 && size < minBehindBytes {
		h.behind.decide(f.instead, time.Time{})
		p.atMost = 0
		return
	}
	if p.keepable() {
		h.behind.add(f)
	}
}

// add has f made some time, unless too much is to be made already.
func (b *behind) add(f *follower) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || len(b.queue) == maxBehind || b.queued[f.key.Sum] {
		return
	}
	b.queued[f.key.Sum] = true
	b.queue = append(b.queue, f)
	if b.running < b.most {
		b.running++
		b.done.Go(b.run)
	}
}

// run makes what is in the queue, and ends when that is empty.
func (b *behind) run() {
	for {
		b.mu.Lock()
		if len(b.queue) == 0 {
			b.running--
			b.mu.Unlock()
			return
		}
		f := b.queue[0]
		b.queue = slices.Delete(b.queue, 0, 1)
		b.mu.Unlock()

		b.make(f)

		b.mu.Lock()
		delete(b.queued, f.key.Sum)
		b.mu.Unlock()
	}
}

// make makes one picture, and has it remembered where its stand-in is better.
func (b *behind) make(f *follower) {
	h := b.h
	if !f.keepable() {
		return // purged meanwhile
	}
	standIn, err := h.store.Get(b.ctx, f.standIn)
	if err != nil {
		return // without it there is nothing to compare with; who asks for it brings it back
	}
	info, err := resize.Probe(standIn.Body)
	pixels := int64(max(info.Width*info.Height, minBehindPixels))
	if err != nil || info.Frames > 1 || len(standIn.Body) < minBehindBytes || pixels > maxBehindPixels { // AVIF holds no animation
		b.decide(f.instead, time.Time{})
		return
	}
	if b.pixels.Acquire(b.ctx, pixels) != nil {
		return
	}
	defer b.pixels.Release(pixels)
	if h.gate.enterBehind(b.ctx) != nil {
		return
	}
	defer h.gate.leaveBehind()
	f.most = len(standIn.Body)
	th, _, err := h.makeOnce(b.ctx, f.picture)
	switch {
	case b.ctx.Err() != nil, err == errInputsChanged, errors.Is(err, cache.ErrNoRoom): // who asks for it again has it tried again
	case errors.Is(err, resize.ErrTooLarge): // as it will be
		b.decide(f.instead, time.Time{})
	case err != nil:
		h.log.Warn("a picture could not be made behind a stand-in", "path", "/"+f.key.Source+f.key.Image, "format", f.plan.Format, "error", err)
		b.postpone(f)
	case len(th.Body) >= f.most:
		b.decide(f.instead, time.Time{})
	case f.keepable():
		if _, err := h.store.Get(b.ctx, f.key); err != nil {
			b.postpone(f) // the store has no room for it
		}
	}
}

// postpone has f not tried again before the negative lifetime has passed.
func (b *behind) postpone(f *follower) {
	b.decide(f.instead, time.Now().Add(cmp.Or(f.inputs[0].source.cache.Negative(), standInLifetime)))
}

func (b *behind) decide(i instead, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	makeRoom(b.verdicts, maxVerdicts)
	b.verdicts[i] = verdict{until}
}

func (b *behind) verdict(i instead) (verdict, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, ok := b.verdicts[i]
	if ok && !v.until.IsZero() && !time.Now().Before(v.until) {
		delete(b.verdicts, i)
		return v, false
	}
	return v, ok
}
