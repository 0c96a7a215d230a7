package resize

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
	"time"
)

// Frames are an animation as its file has it: headers that are read already, and pixels that are read one frame at a time.
type Frames struct {
	// Plays is how often the animation is shown. Zero means for ever.
	Plays int

	// Headers are of all frames, in order of showing. Each Rect lies within Info's size.
	Headers []FrameHeader

	// Decode gives the pixels of frame i by themselves, of Headers[i].Rect's size. Any error that is not ctx's counts as ErrDamaged.
	Decode func(ctx context.Context, i int) (image.Image, error)
}

// A FrameHeader says how a frame is put on the canvas, which is transparent at first.
type FrameHeader struct {
	Rect     image.Rectangle
	Delay    time.Duration // how long it is shown
	Replace  bool          // it takes the place of what is in Rect, its transparency included; else it is drawn over that
	Disposal Disposal
}

// Disposal is what becomes of a frame's Rect before the next one is drawn.
type Disposal uint8

const (
	Keep         Disposal = iota // it stays as it is
	ToBackground                 // it becomes transparent
	ToPrevious                   // it becomes what it was before the frame
)

// An Animator writes an animation frame by frame.
type Animator interface {
	// Add appends what a viewer shows from then on, for delay. m is of the animation's size, of a type that Codec.Encode
	// takes, and not kept.
	Add(m image.Image, delay time.Duration) error

	// Close writes what is left. It is called once, after at least two frames.
	Close() error
}

// An Animation says what to show of an animation, and how fast. The zero value is all of it, as it is. Frames are taken out in
// the order of the fields. Of a still it says nothing, and only FPS and Loop have no effect on a still that is made of an animation:
// that is the first of the frames that are left.
type Animation struct {
	// First and Last are the frames to begin and to end with, by number from 1. Equal ones pick a still. A Last beyond
	// the end is the end, a First beyond it ErrPlan. Zero means the first, and the last.
	First, Last int

	// Skip leaves out every Skip-th frame, beginning with the first. Zero leaves out none. It is never 1.
	Skip int

	// Interval keeps every Interval-th frame only, beginning with the first. Zero means 1. A frame that is kept is shown
	// for as long as it was, so that fewer are over sooner.
	Interval int

	// Reverse shows the last frame first.
	Reverse bool

	// FPS is how many frames are shown in a second, 1 to 1000. Zero means that each frame has the delay that it has.
	FPS int

	// Loop is how often the animation plays, 0 for ever. Nil means as often as the original does.
	Loop *int
}

// picks reports whether a leaves out frames or orders them anew.
func (a Animation) picks() bool {
	return a.First > 1 || a.Last > 0 || a.Skip > 0 || a.Interval > 1 || a.Reverse
}

// pick gives the frames to show of n, by number from 0, and how many there are up to the last of them.
func (a Animation) pick(n int) (shown []int, decoded int, err error) {
	first, last := max(a.First, 1), n
	if a.Last > 0 {
		last = min(a.Last, n)
	}
	if first > n {
		return nil, 0, fmt.Errorf("%w: frame %d is asked for, of %d", ErrPlan, first, n)
	}
	for i, k := first-1, 0; i < last; i++ {
		if a.Skip > 0 && (i-first+1)%a.Skip == 0 {
			continue
		}
		if k%max(a.Interval, 1) == 0 {
			shown = append(shown, i)
		}
		k++
	}
	if len(shown) == 0 {
		return nil, 0, fmt.Errorf("%w: no frame is left, of %d", ErrPlan, n)
	}
	decoded = shown[len(shown)-1] + 1
	if a.Reverse {
		for i, k := 0, len(shown)-1; i < k; i, k = i+1, k-1 {
			shown[i], shown[k] = shown[k], shown[i]
		}
	}
	return shown, decoded, nil
}

// delay is how long a frame is shown that the original shows for d.
func (a Animation) delay(d time.Duration) time.Duration {
	if a.FPS > 0 {
		return time.Second / time.Duration(a.FPS)
	}
	return d
}

func (a Animation) form(f *form) {
	if a == (Animation{}) {
		return
	}
	f.word("anim;")
	f.num("from", float64(a.First))
	f.num("to", float64(a.Last))
	f.num("skip", float64(a.Skip))
	f.num("nth", float64(a.Interval))
	f.flag("back", a.Reverse)
	f.num("fps", float64(a.FPS))
	f.pointer("loop", a.Loop)
	f.word("end;")
}

// check reports what cannot be done whatever the original.
func (a Animation) check() error {
	bad := func(name string, v int) error { return fmt.Errorf("%w: Animation's %s is %d", ErrPlan, name, v) }
	switch {
	case a.First < 0:
		return bad("First", a.First)
	case a.Last < 0 || a.Last > 0 && a.Last < a.First:
		return bad("Last", a.Last)
	case a.Skip < 0 || a.Skip == 1:
		return bad("Skip", a.Skip)
	case a.Interval < 0:
		return bad("Interval", a.Interval)
	case a.FPS < 0 || a.FPS > 1000:
		return bad("FPS", a.FPS)
	case a.Loop != nil && (*a.Loop < 0 || *a.Loop > 65535):
		return bad("Loop", *a.Loop)
	}
	return nil
}

// A player shows an animation frame by frame, on one canvas.
type player struct {
	*Frames
	canvas *image.NRGBA
	next   int          // the frame that advance draws
	under  *image.NRGBA // what was below the frame that is shown, where that is to come back
}

func newPlayer(f *Frames, w, h int) *player {
	return &player{Frames: f, canvas: image.NewNRGBA(image.Rect(0, 0, w, h))}
}

// advance draws the next frame.
func (p *player) advance(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if p.next > 0 {
		switch h := p.Headers[p.next-1]; h.Disposal {
		case ToBackground:
			put(p.canvas, image.NewNRGBA(image.Rectangle{Max: h.Rect.Size()}), h.Rect.Min)
		case ToPrevious:
			put(p.canvas, p.under, h.Rect.Min)
		}
	}
	h := p.Headers[p.next]
	p.under = nil
	if h.Disposal == ToPrevious {
		p.under = owned(part(p.canvas, h.Rect))
	}
	m, err := p.Decode(ctx, p.next)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("frame %d: %w", p.next+1, err)
	}
	if m.Bounds().Size() != h.Rect.Size() {
		return fmt.Errorf("frame %d is %v, and said to be %v", p.next+1, m.Bounds().Size(), h.Rect.Size())
	}
	paint(p.canvas, m, h.Rect.Min, h.Replace)
	p.next++
	return nil
}

// clone is a player that goes on from where p is.
func (p *player) clone() *player {
	c := *p
	c.canvas = owned(p.canvas) // nobody changes under
	return &c
}

// each calls f for the frames of shown, which rise or fall. What it is given is the player's own, until it returns.
func (p *player) each(ctx context.Context, shown []int, f func(i int, canvas *image.NRGBA) error) error {
	if len(shown) > 1 && shown[0] > shown[1] {
		return p.backwards(ctx, shown, f)
	}
	for _, i := range shown {
		for p.next <= i {
			if err := p.advance(ctx); err != nil {
				return err
			}
		}
		if err := f(i, p.canvas); err != nil {
			return err
		}
	}
	return nil
}

// stride is after how many of n frames a player that runs backwards keeps a copy of itself.
func stride(n int) int { return int(math.Ceil(math.Sqrt(float64(n)))) }

// backwards runs through all frames once and keeps the state at every so many of them, and then from each such state, the
// last one first, up to the next: each frame is decoded twice, and of n canvases twice the root of n are in memory.
func (p *player) backwards(ctx context.Context, shown []int, f func(i int, canvas *image.NRGBA) error) error {
	n := shown[0] + 1
	step := stride(n)
	var states []*player
	for {
		if p.next%step == 0 {
			states = append(states, p.clone())
		}
		if p.next/step == (n-1)/step {
			break
		}
		if err := p.advance(ctx); err != nil {
			return err
		}
	}
	at := 0
	for k := len(states) - 1; k >= 0 && at < len(shown); k-- {
		s, from := states[k], at
		states[k] = nil
		for at < len(shown) && shown[at] >= k*step {
			at++
		}
		ready := make([]*image.NRGBA, at-from)
		for i := at - 1; i >= from; i-- {
			for s.next <= shown[i] {
				if err := s.advance(ctx); err != nil {
					return err
				}
			}
			ready[i-from] = owned(s.canvas)
		}
		for i, canvas := range ready {
			if err := f(shown[from+i], canvas); err != nil {
				return err
			}
			ready[i] = nil
		}
	}
	return nil
}

// play calls f for the frames that j shows. Errors are of the kinds that Render gives.
func (j *job) play(ctx context.Context, shown []int, f func(h FrameHeader, canvas *image.NRGBA) error) error {
	p := newPlayer(j.frames, j.info.Width, j.info.Height)
	var failed error // of f, which is not about the original
	err := guard(string(j.info.Format), func() error {
		return p.each(ctx, shown, func(i int, canvas *image.NRGBA) error {
			failed = f(p.Headers[i], canvas)
			return failed
		})
	})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case failed != nil, errors.Is(err, ErrUnsupported), errors.Is(err, ErrDamaged), errors.Is(err, ErrTooLarge):
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrDamaged, j.info.Format, err)
}

// still gives the first frame that j shows.
func (j *job) still(ctx context.Context) (src source, err error) {
	err = j.play(ctx, j.sequence, func(_ FrameHeader, canvas *image.NRGBA) error {
		src = all(standard(canvas))
		return nil
	})
	return src, err
}

// animate renders each frame as viewers show it, and encodes them anew.
func (j *job) animate(ctx context.Context) (*Picture, error) {
	size, out := j.layout.out, writer{ctx: ctx}
	plays := j.frames.Plays
	if loop := j.plan.Animation.Loop; loop != nil {
		plays = *loop
	}
	var to Animator
	written := func(f func() error) error {
		err := guard(string(j.to.Format), f)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		return fmt.Errorf("writing %s: %w", j.to.Format, err)
	}
	err := written(func() (err error) {
		to, err = j.to.Animate(ctx, &out, size, plays, j.encodeOptions())
		return err
	})
	if err != nil {
		return nil, err
	}
	defer j.frame.release()
	err = j.play(ctx, j.sequence, func(h FrameHeader, canvas *image.NRGBA) error {
		m, err := j.compose(ctx, all(standard(canvas)))
		if err == nil {
			err = written(func() error { return to.Add(m, j.plan.Animation.delay(h.Delay)) })
		}
		j.frame.release()
		return err
	})
	if err == nil {
		err = written(to.Close)
	}
	if err != nil {
		return nil, err
	}
	return &Picture{Bytes: out.Bytes(), Format: j.to.Format, Width: size.X, Height: size.Y}, nil
}

// part is the part of m in r, with bounds that begin at the origin, sharing its pixels.
func part(m *image.NRGBA, r image.Rectangle) *image.NRGBA {
	if r.Empty() {
		return image.NewNRGBA(image.Rectangle{})
	}
	return &image.NRGBA{Pix: m.Pix[m.PixOffset(r.Min.X, r.Min.Y):], Stride: m.Stride, Rect: image.Rectangle{Max: r.Size()}}
}

// put copies src to a place in dst that holds it.
func put(dst, src *image.NRGBA, at image.Point) {
	for y := range src.Rect.Dy() {
		copy(dst.Pix[dst.PixOffset(at.X, at.Y+y):][:4*src.Rect.Dx()], src.Pix[y*src.Stride:])
	}
}

// paint draws a frame at a place in dst that holds it.
func paint(dst *image.NRGBA, m image.Image, at image.Point, replace bool) {
	if p, ok := m.(*image.Paletted); ok {
		paintPaletted(dst, p, at, replace)
		return
	}
	px, solid := rgb(standard(m))
	if replace || solid {
		put(dst, px, at)
		return
	}
	over(dst, px, at, 255)
}

// paintPaletted looks colours up on the way.
func paintPaletted(dst *image.NRGBA, m *image.Paletted, at image.Point, replace bool) {
	var table [256][4]uint8
	for i := range table {
		table[i] = [4]uint8{3: 255} // as in fromPalette
		if i < len(m.Palette) {
			c := color.NRGBAModel.Convert(m.Palette[i]).(color.NRGBA)
			table[i] = [4]uint8{c.R, c.G, c.B, c.A}
		}
	}
	b := m.Bounds()
	for y := range b.Dy() {
		out := dst.Pix[dst.PixOffset(at.X, at.Y+y):]
		for x, i := range m.Pix[y*m.Stride:][:b.Dx()] {
			c := &table[i]
			switch {
			case replace || c[3] == 255:
				copy(out[4*x:][:4], c[:])
			case c[3] > 0:
				blend(out[4*x:][:4], c[:], 255)
			}
		}
	}
}

// A canvasDiff says what of a picture is new.
type canvasDiff struct {
	box    image.Rectangle // holds all that is new
	pixels int             // that are new; transparent ones are equal, whatever their colours
	clears bool            // some pixel is transparent that was not
	soft   bool            // some new pixel is not opaque
}

// diff compares a with b, which stands in for it and has the same size.
func diff(a, b *image.NRGBA) (d canvasDiff) {
	w := a.Rect.Dx()
	d.box = image.Rectangle{Min: image.Pt(w, a.Rect.Dy())}
	for y := range a.Rect.Dy() {
		p, q := a.Pix[y*a.Stride:][:4*w], b.Pix[y*b.Stride:][:4*w]
		if bytes.Equal(p, q) {
			continue
		}
		first, last := -1, 0
		for x := range w {
			if u32(p[4*x:]) == u32(q[4*x:]) || p[4*x+3] == 0 && q[4*x+3] == 0 {
				continue
			}
			if first < 0 {
				first = x
			}
			last = x
			d.pixels++
			d.clears = d.clears || q[4*x+3] == 0
			d.soft = d.soft || q[4*x+3] != 255
		}
		if first >= 0 {
			d.box.Min = image.Pt(min(d.box.Min.X, first), min(d.box.Min.Y, y))
			d.box.Max = image.Pt(max(d.box.Max.X, last+1), y+1)
		}
	}
	if d.pixels == 0 {
		d.box = image.Rectangle{}
	}
	return d
}

// A ticker takes delays to whole units of time, such that their sum stays what it is.
type ticker struct {
	unit  time.Duration
	least int // that a delay above shortest becomes
	most  int
	late  time.Duration // by how much what was given is shorter than what was asked for
}

// shortest is the delay up to which browsers take a frame to have none, and show it for a tenth of a second.
const shortest = 10 * time.Millisecond

func (t *ticker) units(d time.Duration) int {
	n := int((d + t.late + t.unit/2) / t.unit)
	if d > shortest && n < t.least {
		t.late = 0 // it cannot be caught up with
		return t.least
	}
	n = min(max(n, 0), t.most)
	t.late += d - time.Duration(n)*t.unit
	t.late = min(max(t.late, -t.unit), t.unit)
	return n
}
