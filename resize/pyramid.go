package resize

import (
	"container/list"
	"context"
	"errors"
	"image"
	"sync"
	"time"

	"github.com/imagecdn/imagecdn/internal/kernel"
)

// Pyramids share the decoding of originals between renders: a page asks for an image in many widths, at once or within
// seconds, and what it takes to decode the original is most of what each of them costs.
//
//	p := resize.NewPyramids(nil)
//	defer p.Close()
//	r := resize.Renderer{Pyramids: p}
//	pic, err := r.RenderInputs(ctx, plan, []resize.Input{{ID: digest, Bytes: original}})
//
// An original is decoded once for all renders that want it at a time, as small as the largest of them allows. One
// that comes later and wants more has the decoding begin anew, at most four times; decoding goes on while
// anybody waits for it, and no longer. The pixels, and halves, quarters and eighths of them once a second render
// comes, are kept for a while after. What is kept is never changed, and known by the original's ID alone, which
// names its bytes: there is nothing to invalidate.
//
// A picture from a pyramid differs from one made without by less than anybody sees: against the kernel over all pixels
// SSIM is 0.995 and more for both (TestQuality).
//
// All methods are safe for concurrent use.
type Pyramids struct {
	most int64
	keep time.Duration

	mu      sync.Mutex // guards what follows, and the fields of pyramids and decodings that say so
	held    map[string]*pyramid
	order   list.List // of held: *pyramid, used least lately first
	running map[string]*decoding
	kept    int64 // bytes of held
	alive   int64 // bytes of held and of those that are still in use
	decodes int64 // begun
	shared  int64 // requests for an original that was decoded, or was being
	timer   *time.Timer
	closed  bool
}

// PyramidOptions are the optional settings of [Pyramids]. Nil and zero values mean the documented defaults.
type PyramidOptions struct {
	// Bytes bounds the pixels that are kept when nobody uses them. Zero means 64 MiB. Negative means that none are:
	// only renders that overlap share.
	Bytes int64

	// Keep is how long pixels are kept after they were decoded. Zero means 30 seconds.
	Keep time.Duration
}

// NewPyramids returns Pyramids that hold nothing yet.
func NewPyramids(o *PyramidOptions) *Pyramids {
	p := &Pyramids{most: 64 << 20, keep: 30 * time.Second, held: make(map[string]*pyramid), running: make(map[string]*decoding)}
	if o != nil && o.Bytes != 0 {
		p.most = max(o.Bytes, 0)
	}
	if o != nil && o.Keep > 0 {
		p.keep = o.Keep
	}
	return p
}

// Close lets go of all pixels; those in use go when their renders end. Nothing is kept after it.
func (p *Pyramids) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
	p.free(0)
}

// Bytes is how much memory decoded originals take now, those in use included.
func (p *Pyramids) Bytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.alive
}

// Decodes is how many decodings were begun.
func (p *Pyramids) Decodes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.decodes
}

// Held is how many originals are kept decoded.
func (p *Pyramids) Held() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.held)
}

// Shared is how many times an original was found decoded, or being decoded.
func (p *Pyramids) Shared() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shared
}

// Free lets go of pixels that nobody uses, those used least lately first, until no more than n bytes are taken.
func (p *Pyramids) Free(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free(n)
}

func (p *Pyramids) free(n int64) {
	for e := p.order.Front(); e != nil && p.alive > n; {
		h := e.Value.(*pyramid)
		e = e.Next()
		p.drop(h)
	}
}

// Remove lets go of an original's pixels, and of those that are being decoded once their renders end.
func (p *Pyramids) Remove(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.held[id]; h != nil {
		p.drop(h)
	}
	if d := p.running[id]; d != nil {
		d.unkept = true
	}
}

// Clear is Remove of every original.
func (p *Pyramids) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free(-1)
	for _, d := range p.running {
		d.unkept = true
	}
}

// A pyramid is an original decoded, and smaller ones made of it. Who has it pinned may use it.
type pyramid struct {
	id    string
	has   need
	since time.Time

	// Guarded by Pyramids.mu.
	place *list.Element // in Pyramids.order; nil once nobody else can find it
	pins  int
	uses  int // pins that there were
	bytes int64

	mu     sync.Mutex // guards levels; held while one is made, which takes milliseconds
	levels []source   // from the largest, each half as large as the one before
	arena  arena      // their memory
}

// A decoding is one under way, and the renders that wait for it.
type decoding struct {
	input  *input
	r      *Renderer
	extra  int64 // bytes that the first of those who wait takes after
	cancel context.CancelFunc
	done   chan struct{} // closed when finished

	// Guarded by Pyramids.mu.
	need     need   // of all who wait
	begun    need   // of the attempt under way
	again    func() // ends the attempt under way, for a larger one; nil where there is none
	waiters  int
	unkept   bool
	finished bool
	leave    func() // leave to work, for the first who takes it; nil where it is taken

	// Set before done is closed.
	pyramid *pyramid
	err     error
}

// errLarger ends an attempt that is to begin anew.
var errLarger = errors.New("resize: a larger decoding is wanted")

// get gives an original's pixels that serve for n, pinned, decoding them unless somebody has. leave is leave to work,
// where the decoding had it and nobody else took it; else nil. extra is how many bytes the render takes beside. A nil pyramid without an error
// says that what serves for this render and for those that it would share with takes more than one may: it decodes for itself.
func (p *Pyramids) get(ctx context.Context, r *Renderer, in *input, n need, extra int64) (_ *pyramid, leave func(), err error) {
	whole := in.bounds()
	if in.info.Format != JPEG { // others are decoded as they are
		n = need{1, whole}
	}
	p.mu.Lock()
	h := p.held[in.ID]
	if h != nil && h.has.covers(n) {
		p.shared++
		p.pin(h, 1)
		p.mu.Unlock()
		return h, nil, nil
	}
	if h != nil {
		// One that has been asked for twice is likely to be asked for again: by others of a page's widths, or of a
		// viewer's tiles.
		next := need{n.denom, whole}
		if n.denom < h.has.denom {
			next.denom = max(n.denom/2, 1)
		}
		if r.pixelBytes(in, next) <= p.most/2 && r.mayDecode(in, next, extra) {
			n = next
		}
	} else if part := n.region.Size(); 2*part.X*part.Y >= whole.Dx()*whole.Dy() && r.mayDecode(in, need{n.denom, whole}, extra) {
		n.region = whole
	}
	d := p.running[in.ID]
	if d != nil && !r.mayDecode(in, d.need.with(n), max(extra, d.extra)) {
		p.mu.Unlock()
		return nil, nil, nil
	}
	if d == nil {
		d = &decoding{input: in, r: r, extra: extra, need: n, done: make(chan struct{})}
		var work context.Context
		work, d.cancel = context.WithCancel(context.WithoutCancel(ctx))
		p.running[in.ID] = d
		go p.run(work, d)
	} else {
		p.shared++
	}
	d.waiters++
	if d.need = d.need.with(n); d.again != nil && !d.begun.covers(d.need) {
		d.widen() // so that no part, of many to come, ends the next attempt
		d.again()
	}
	p.mu.Unlock()

	select {
	case <-d.done:
	case <-ctx.Done():
		p.mu.Lock()
		finished := d.finished
		if !finished {
			if d.waiters--; d.waiters == 0 {
				d.cancel()
				p.forget(d)
			}
		}
		p.mu.Unlock()
		if !finished {
			return nil, nil, context.Cause(ctx)
		}
		<-d.done
	}
	p.mu.Lock()
	leave, d.leave = d.leave, nil
	p.mu.Unlock()
	return d.pyramid, leave, d.err
}

// run carries out d.
func (p *Pyramids) run(ctx context.Context, d *decoding) {
	defer d.cancel()
	for again := false; ; again = true {
		p.mu.Lock()
		n := d.need
		p.mu.Unlock()
		bytes := d.r.decodeBytes(d.input, n)
		leave, err := d.r.admit(ctx, bytes+d.extra, again)
		if err != nil {
			p.finish(d, nil, nil, err)
			return
		}
		timed, clock := d.r.clock(ctx)
		attempt, cancel := context.WithCancelCause(timed)
		p.mu.Lock()
		larger := d.r.decodeBytes(d.input, d.need) > bytes // others came while leave was waited for
		if !larger {
			n = d.need
			d.begun, d.again = n, func() { cancel(errLarger) }
			p.decodes++
		} else {
			d.widen()
		}
		p.mu.Unlock()
		if larger {
			cancel(nil)
			clock.Stop()
			leave()
			continue
		}
		clock.start()
		h, err := d.decode(attempt, n)
		p.mu.Lock()
		d.again = nil
		larger = ctx.Err() == nil && (context.Cause(attempt) == errLarger || err == nil && !h.has.covers(d.need))
		p.mu.Unlock()
		cancel(nil)
		clock.Stop()
		if larger {
			if h != nil {
				h.arena.release()
			}
			leave()
			continue
		}
		p.finish(d, h, leave, err)
		return
	}
}

// widen has all of the original decoded, unless that takes more than a render may. The caller holds Pyramids.mu.
func (d *decoding) widen() {
	if all := (need{d.need.denom, d.input.bounds()}); d.r.mayDecode(d.input, all, d.extra) {
		d.need = all
	}
}

// mayDecode reports whether a render that takes extra bytes beside may decode in for n.
func (r *Renderer) mayDecode(in *input, n need, extra int64) bool {
	return r.MaxMemory <= 0 || r.decodeBytes(in, n)+extra <= r.MaxMemory
}

// decode decodes d's input for n.
func (d *decoding) decode(ctx context.Context, n need) (*pyramid, error) {
	h := &pyramid{id: d.input.ID, has: n, since: time.Now()}
	src, err := d.r.decode(ctx, d.input.Bytes, d.input.info, n, h.arena.alloc)
	if err != nil {
		h.arena.release()
		return nil, err
	}
	if h.has.denom = src.denom; src.m.Bounds().Size() == src.size {
		h.has.region = d.input.bounds()
	}
	h.levels, h.bytes = []source{src}, sizeOf(src.m)
	return h, nil
}

// finish hands d's result, and leave to work, to those who wait.
func (p *Pyramids) finish(d *decoding, h *pyramid, leave func(), err error) {
	p.mu.Lock()
	p.forget(d)
	d.finished, d.pyramid, d.err = true, h, err
	if h != nil {
		p.alive += h.bytes
		p.pin(h, d.waiters)
		if old := p.held[h.id]; !d.unkept && !p.closed && (old == nil || !old.has.covers(h.has)) {
			if old != nil {
				p.drop(old)
			}
			p.hold(h)
		}
		p.unpinned(h)
	}
	if d.waiters > 0 && err == nil {
		d.leave, leave = leave, nil
	}
	p.mu.Unlock()
	close(d.done)
	if leave != nil {
		leave()
	}
}

// forget keeps others from joining d.
func (p *Pyramids) forget(d *decoding) {
	if p.running[d.input.ID] == d {
		delete(p.running, d.input.ID)
	}
}

// hold keeps h for those who come later.
func (p *Pyramids) hold(h *pyramid) {
	p.held[h.id], h.place = h, p.order.PushBack(h)
	p.kept += h.bytes
	p.shrink()
	if p.timer == nil {
		p.timer = time.AfterFunc(p.keep, p.expire)
	}
}

// expire lets go of what has been kept for long enough.
func (p *Pyramids) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = nil
	now, next := time.Now(), time.Duration(0)
	for _, h := range p.held {
		left := p.keep - now.Sub(h.since)
		switch {
		case left <= 0:
			p.drop(h)
		case next == 0 || left < next:
			next = left
		}
	}
	if next > 0 && !p.closed {
		p.timer = time.AfterFunc(next, p.expire)
	}
}

// shrink lets go of what is beyond the bound.
func (p *Pyramids) shrink() {
	for p.kept > p.most {
		p.drop(p.order.Front().Value.(*pyramid))
	}
}

// drop lets nobody else find h.
func (p *Pyramids) drop(h *pyramid) {
	if h.place == nil {
		return
	}
	p.order.Remove(h.place)
	h.place = nil
	delete(p.held, h.id)
	p.kept -= h.bytes
	p.unpinned(h)
}

// pin keeps h's memory for n more renders.
func (p *Pyramids) pin(h *pyramid, n int) {
	h.pins += n
	h.uses += n
	if h.place != nil {
		p.order.MoveToBack(h.place)
	}
}

// unpin ends a render's use of h.
func (p *Pyramids) unpin(h *pyramid) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h.pins--
	p.unpinned(h)
}

// unpinned gives h's memory back if nobody uses it, nor can find it.
func (p *Pyramids) unpinned(h *pyramid) {
	if h.pins == 0 && h.place == nil {
		p.alive -= h.bytes
		h.bytes = 0
		h.arena.release()
		h.levels = nil
	}
}

// level gives the smallest of h's levels that leaves enough of a reduction, of which have is all. h is pinned.
//
// What is halved is an average of four, which is what resample begins with, as long as the kernel has enough left to do (see
// shrinkAbove). A level is made when a second render comes, which for one would cost more than it saves.
func (p *Pyramids) level(ctx context.Context, h *pyramid, have float64) (source, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p.mu.Lock()
	often := h.uses > 1
	p.mu.Unlock()
	best := h.levels[0]
	for i := 1; ; i++ {
		denom := 2 * best.denom
		if denom > 8 || have < shrinkAbove/2*float64(denom) {
			return best, nil
		}
		if i == len(h.levels) {
			if !often {
				return best, nil
			}
			var own arena
			small, err := best.halved(ctx, &own)
			if err != nil {
				own.release() // nobody would count it
				return source{}, err
			}
			h.arena.buffers = append(h.arena.buffers, own.buffers...)
			h.levels = append(h.levels, small)
			p.grown(h, sizeOf(small.m))
		}
		best = h.levels[i]
	}
}

// grown counts n more bytes of h.
func (p *Pyramids) grown(h *pyramid, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h.bytes += n
	p.alive += n
	if h.place != nil {
		p.kept += n
		p.shrink()
	}
}

// halved gives s at half its size, each sample the mean of two by two.
func (s source) halved(ctx context.Context, a *arena) (source, error) {
	b := s.m.Bounds()
	small := source{
		denom: 2 * s.denom,
		at:    s.at.Div(2), // even, as parts begin at whole blocks
		size:  image.Pt((s.size.X+1)/2, (s.size.Y+1)/2),
	}
	small.m = newImage(s.m, (b.Dx()+1)/2, (b.Dy()+1)/2, a.alloc)
	from, to := planes(s.m), planes(small.m)
	sc := scratches.Get().(*scratch)
	defer scratches.Put(sc)
	for i := range from {
		if err := halve(ctx, sc, to[i], from[i]); err != nil {
			return source{}, err
		}
	}
	return small, nil
}

// halve makes dst of the means of two by two samples of src, the last of which may be halves.
func halve(ctx context.Context, s *scratch, dst, src raster) error {
	b := band{scratch: s, src: src, x: stretch{size: src.w, k: 1, boxes: src.w}, y: stretch{size: src.h, k: 1, boxes: src.h}}
	pairs := func(f *kernel.Filter, n, out, channels int) {
		s.boxes(f, stretch{size: n, k: 2, boxes: out}, channels)
	}
	pairs(&s.across, src.w, dst.w, src.ch)
	pairs(&s.down, src.h, dst.h, 0)
	return b.convolve(ctx, dst)
}

// newImage gives a picture of the kind of m, with memory that is not cleared.
func newImage(m image.Image, w, h int, alloc func(int) []byte) image.Image {
	r := image.Rect(0, 0, w, h)
	switch m := m.(type) {
	case *image.Gray:
		return &image.Gray{Pix: alloc(w * h), Stride: w, Rect: r}
	case *image.RGBA:
		return &image.RGBA{Pix: alloc(4 * w * h), Stride: 4 * w, Rect: r}
	case *image.NRGBA:
		return &image.NRGBA{Pix: alloc(4 * w * h), Stride: 4 * w, Rect: r}
	case *image.CMYK:
		return &image.CMYK{Pix: alloc(4 * w * h), Stride: 4 * w, Rect: r}
	case *image.YCbCr:
		rx, ry := subsampling(m.SubsampleRatio)
		cw, ch := (w+rx-1)/rx, (h+ry-1)/ry
		return &image.YCbCr{
			Y: alloc(w * h), Cb: alloc(cw * ch), Cr: alloc(cw * ch),
			YStride: w, CStride: cw, SubsampleRatio: m.SubsampleRatio, Rect: r,
		}
	}
	panic("resize: a picture of an unexpected type") // standard gives only these
}

// sizeOf is the memory of m.
func sizeOf(m image.Image) int64 {
	n := 0
	for _, p := range planes(m) {
		n += cap(p.pix)
	}
	return int64(n)
}
