package resize

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"math"
)

// A Mark is a picture drawn over another: a watermark.
type Mark struct {
	// Text is what is drawn. Nil means an input.
	Text *Text

	// Plan is what is made of the input before it is drawn: its size, cut, colours and what surrounds it. It has no inputs of its own,
	// and nothing that hangs on what the input shows. Nil means that the input is drawn as it is.
	Plan *Plan

	// XAlign and YAlign place it. The zero value is Far, bottom right, and with Tile Near, as imgix has it.
	XAlign, YAlign Align

	// Width and Height are its box: pixels of the output when above 1, a fraction of the output's size when in
	// (0, 1]. Zero for both keeps its own size, made smaller if it would not fit; zero for one follows from the other.
	Width, Height float64

	// Scale is its width as a percentage of the output's, 1 to 100, instead of Width and Height. Zero: not asked for.
	Scale int

	// Percent is its size in percent of its own, instead of Width, Height and Scale; it is made smaller if it would not fit. Zero: not
	// asked for.
	Percent float64

	// Fit says how it is mapped into its box: Clip, Cover, Fill, Max or Scale.
	Fit Fit

	// Rotate turns it counter-clockwise around its middle, in degrees [0, 360]. What it takes in grows with it.
	Rotate float64

	// Tile repeats it to all sides of its place, over all of the picture, Pad apart.
	Tile bool

	// Alpha is its opacity in percent, 1 to 100. Zero means 100.
	Alpha int

	// Pad is its distance from the edges in pixels. Nil means 5.
	Pad *int

	// PadY is its distance from the upper and the lower edge, where that is not Pad. Nil means Pad.
	PadY *int

	// X and Y are its top left corner in pixels, −1e6 to 1e6, instead of XAlign, YAlign and Pad. Nil: not asked for.
	X, Y *int

	// MinWidth and MinHeight are the smallest output, in pixels, that it is drawn on.
	MinWidth, MinHeight int
}

func (mk *Mark) form(f *form) {
	f.word("mark;")
	mk.Text.form(f)
	if mk.Plan != nil {
		f.word("plan;")
		*f = mk.Plan.Append(*f)
		f.word("end;")
	}
	f.num("xa", float64(mk.XAlign))
	f.num("ya", float64(mk.YAlign))
	f.num("w", mk.Width)
	f.num("h", mk.Height)
	f.num("scale", float64(mk.Scale))
	f.num("percent", mk.Percent)
	f.num("fit", float64(mk.Fit))
	f.num("rot", mk.Rotate)
	f.flag("tile", mk.Tile)
	f.num("a", float64(mk.Alpha))
	f.pointer("pad", mk.Pad)
	f.pointer("pady", mk.PadY)
	f.pointer("x", mk.X)
	f.pointer("y", mk.Y)
	f.num("minw", float64(mk.MinWidth))
	f.num("minh", float64(mk.MinHeight))
	f.word("end;")
}

func (mk *Mark) check(c *checker) {
	mk.Text.check(c)
	if p := mk.Plan; p != nil && c.err == nil {
		switch c.err = p.check(); {
		case c.err != nil:
			c.err = fmt.Errorf("a mark's plan: %w", c.err)
		case p.Inputs() > 1 || len(p.Marks) > 0 || p.Text != nil || p.Trim != nil || p.seesFaces():
			c.err = fmt.Errorf("%w: a mark's plan has marks, a text, a blend or a mask of its own, or is to look for faces or edges", ErrPlan)
		}
	}
	c.within("Mark.XAlign", float64(mk.XAlign), 0, float64(Far))
	c.within("Mark.YAlign", float64(mk.YAlign), 0, float64(Far))
	c.within("Mark.Width", mk.Width, 0, 1e6)
	c.within("Mark.Height", mk.Height, 0, 1e6)
	c.within("Mark.Scale", float64(mk.Scale), 0, 100)
	c.within("Mark.Percent", mk.Percent, 0, 1e6)
	c.within("Mark.Fit", float64(mk.Fit), 0, float64(Scale))
	c.within("Mark.Rotate", mk.Rotate, 0, 360)
	c.within("Mark.Alpha", float64(mk.Alpha), 0, 100)
	for _, v := range []*int{mk.Pad, mk.PadY} {
		if v != nil {
			c.within("Mark.Pad or PadY", float64(*v), 0, 1e6)
		}
	}
	for _, v := range []*int{mk.X, mk.Y} {
		if v != nil {
			c.within("Mark.X or Y", float64(*v), -1e6, 1e6)
		}
	}
	c.within("Mark.MinWidth", float64(mk.MinWidth), 0, 1e6)
	c.within("Mark.MinHeight", float64(mk.MinHeight), 0, 1e6)
}

// A placedMark is a Mark at its size and place.
type placedMark struct {
	m     *image.NRGBA
	at    image.Point
	alpha uint32      // of 255
	step  image.Point // from one to the next, where it is repeated; else zero
}

// placeMarks makes the marks their size, and the mask that of the picture.
func (j *job) placeMarks(ctx context.Context) error {
	next := 1
	if m := j.plan.Mask; m != nil && m.Shape == PictureMask {
		if err := j.placeMask(ctx, &j.inputs[next]); err != nil {
			return err
		}
		next++
	}
	if b := j.plan.Blend; b != nil && b.Color == nil {
		in := &j.inputs[next]
		m, err := j.boxed(ctx, in, b.box(j.plan, j.layout.fit, j.layout.turned))
		if err != nil {
			return j.inputError(next, err)
		}
		j.blended = placedMark{m: m, at: b.at(j.plan, m.Rect.Size(), j.layout.turned)}
		next++
	}
	for i := range j.plan.Marks {
		mk := &j.plan.Marks[i]
		n := 0 // a text is no input
		if mk.Text == nil {
			n = next
			next++
		}
		if out := j.layout.out; out.X < mk.MinWidth || out.Y < mk.MinHeight {
			continue
		}
		var in *input
		if n > 0 {
			var err error
			if in, err = j.planned(ctx, &j.inputs[n], mk.Plan); err != nil {
				return j.inputError(n, err)
			}
		} else {
			m, err := j.set(ctx, mk.Text)
			if err != nil {
				return err
			}
			if m == nil {
				continue
			}
			m = &image.NRGBA{Pix: m.Pix, Stride: m.Stride, Rect: image.Rectangle{Max: m.Rect.Size()}}
			in = &input{
				info: Info{Format: PNG, Width: m.Rect.Dx(), Height: m.Rect.Dy(), Orientation: 1, Frames: 1, Alpha: true}, src: all(m),
			}
		}
		m, err := j.boxed(ctx, in, mk.box(j.plan, in.upright(), j.layout.out))
		if degrees := math.Mod(mk.Rotate, 360); err == nil && degrees != 0 {
			var turned image.Image
			if turned, err = pivot(ctx, m, degrees); err == nil {
				m, _ = rgb(turned)
			}
		}
		if err != nil {
			return j.inputError(n, err)
		}
		j.place(mk, m)
	}
	if j.plan.Text == nil {
		return nil
	}
	m, err := j.set(ctx, j.plan.Text)
	if err != nil || m == nil {
		return err
	}
	at := m.Rect.Min
	m = &image.NRGBA{Pix: m.Pix, Stride: m.Stride, Rect: image.Rectangle{Max: m.Rect.Size()}}
	if t := transformTo(j.color.output); t != nil {
		m, _ = rgb(recolor(&j.arena, m, t))
	}
	j.marks = append(j.marks, placedMark{m: m, at: at, alpha: 255})
	return nil
}

// set gives a picture of t, as a Typesetter places it, or nil where there is nothing to see.
func (j *job) set(ctx context.Context, t *Text) (*image.NRGBA, error) {
	if j.Text == nil {
		return nil, fmt.Errorf("%w: nothing here sets text", ErrPlan)
	}
	m, err := j.Text.Set(ctx, t.scaled(j.plan.DPR), j.layout.out)
	if err != nil || m.Rect.Empty() {
		return nil, err
	}
	return m, nil
}

// place puts m, a mark at its size, where mk says.
func (j *job) place(mk *Mark, m *image.NRGBA) {
	out, size := j.layout.out, m.Rect.Size()
	alpha := mk.Alpha
	if alpha == 0 {
		alpha = 100
	}
	placed := placedMark{m: m, alpha: uint32(alpha*255+50) / 100}
	placed.at = mk.at(j.plan, size, out)
	if mk.Tile {
		placed.step = size.Add(mk.pad(j.plan, out))
	}
	j.marks = append(j.marks, placed)
}

// pad is the distance from the edges of a picture. One that leaves nothing in a small picture is given up before the mark is.
func (mk *Mark) pad(p Plan, out image.Point) image.Point {
	pad := p.px(5)
	if mk.Pad != nil {
		pad = p.px(*mk.Pad)
	}
	padY := pad
	if mk.PadY != nil {
		padY = p.px(*mk.PadY)
	}
	return image.Pt(min(pad, (out.X-1)/2), min(padY, (out.Y-1)/2))
}

// at is the place of a mark of a size.
func (mk *Mark) at(p Plan, size, out image.Point) image.Point {
	pad := mk.pad(p, out)
	standard := Far
	if mk.Tile {
		standard = Near
	}
	at := image.Pt(pad.X+mk.XAlign.of(out.X-2*pad.X-size.X, standard), pad.Y+mk.YAlign.of(out.Y-2*pad.Y-size.Y, standard))
	if mk.X != nil {
		at.X = p.px(*mk.X)
	}
	if mk.Y != nil {
		at.Y = p.px(*mk.Y)
	}
	return at
}

// box is what an input of a size is mapped into: never more than what the pad leaves.
func (mk *Mark) box(p Plan, size, out image.Point) box {
	b := box{width: mk.Width, height: mk.Height, fit: mk.Fit}
	if mk.Scale > 0 {
		b = box{width: float64(mk.Scale) / 100}
	}
	b = b.pixels(p, out)
	if mk.Percent > 0 {
		b = box{width: atLeast1(float64(size.X) * mk.Percent / 100)}
	}
	return b.within(size, out.Sub(mk.pad(p, out).Mul(2)))
}

// A box is what a picture that goes into another is mapped into: in pixels above 1, else in fractions of the other.
type box struct {
	width, height float64
	fit           Fit
	crop          []Crop
}

// pixels gives b in pixels.
func (b box) pixels(p Plan, of image.Point) box {
	side := func(v float64, of int) float64 {
		switch {
		case v == 0:
			return 0
		case v <= 1:
			return atLeast1(v * float64(of))
		case p.DPR > 0:
			v *= p.DPR
		}
		return atLeast1(v)
	}
	b.width, b.height = side(b.width, of.X), side(b.height, of.Y)
	return b
}

// within makes b, which is in pixels, smaller where what is mapped into it would be larger than room.
func (b box) within(size, room image.Point) box {
	l, err := b.plan().layout(size.X, size.Y)
	if err != nil {
		return b
	}
	f := math.Min(float64(room.X)/float64(l.frame.X), float64(room.Y)/float64(l.frame.Y))
	if f >= 1 {
		return b
	}
	fit := b.fit
	if b.width == 0 || b.height == 0 {
		fit = Scale // the size is the input's own, made smaller
	}
	return box{atLeast1(float64(l.frame.X) * f), atLeast1(float64(l.frame.Y) * f), fit, b.crop}
}

// plan gives the plan that maps an input into b, which is in pixels.
func (b box) plan() Plan {
	// A side of one pixel would be a fraction of the input, and all of it.
	side := func(v float64) float64 {
		if v == 1 {
			return math.Nextafter(1, 2)
		}
		return v
	}
	return Plan{Width: side(b.width), Height: side(b.height), Fit: b.fit, Crop: b.crop}
}

// upright is the size of an input as it is seen.
func (in *input) upright() image.Point {
	w, h := poseOf(in.info.Orientation, NoFlip).size(in.info.Width, in.info.Height)
	return image.Pt(w, h)
}

// planned carries out a mark's plan: it gives what came of the input, as one.
func (j *job) planned(ctx context.Context, in *input, p *Plan) (*input, error) {
	if p == nil {
		return in, nil
	}
	m, err := j.part(ctx, in, *p)
	if err != nil {
		return nil, err
	}
	b := m.Bounds()
	return &input{info: Info{Format: PNG, Width: b.Dx(), Height: b.Dy(), Orientation: 1}, settled: true, src: all(m)}, nil
}

// part makes a picture of one input by itself.
func (j *job) part(ctx context.Context, in *input, p Plan) (image.Image, error) {
	size := in.upright()
	sub := &job{Renderer: j.Renderer, plan: p, to: codecFor(PNG), info: in.info,
		pose: poseOf(in.info.Orientation, p.Flip), srcW: size.X, srcH: size.Y, inputs: []input{*in}, color: j.color}
	if p.Orient != 0 {
		sub.pose = poseOf(p.Orient, p.Flip)
		sub.srcW, sub.srcH = sub.pose.size(in.info.Width, in.info.Height)
	}
	var err error
	if sub.layout, err = p.layout(sub.srcW, sub.srcH); err != nil {
		return nil, err
	}
	if err := sub.sizeFits(1); err != nil {
		return nil, err
	}
	m, err := sub.compose(ctx, in.src)
	j.arena.buffers = append(j.arena.buffers, sub.arena.buffers...)
	return m, err
}

// boxed maps an input into b, which is in pixels.
func (j *job) boxed(ctx context.Context, in *input, b box) (*image.NRGBA, error) {
	p := b.plan()
	p.Background = &color.NRGBA{} // what Fill pads with
	m, err := j.part(ctx, in, p)
	if err != nil {
		return nil, err
	}
	px, _ := rgb(m)
	return px, nil
}

// placeMask stretches the mask over the picture, before Pad.
func (j *job) placeMask(ctx context.Context, in *input) error {
	size := j.layout.turned
	m, err := j.boxed(ctx, in, box{float64(size.X), float64(size.Y), Scale, nil})
	if err != nil {
		return j.inputError(1, err)
	}
	j.maskAlpha = gray8(m) // against black where it is transparent
	return nil
}

// mark draws the marks over m.
func (j *job) mark(m image.Image) image.Image {
	dst, solid := rgb(m)
	dst = owned(dst)
	for _, mk := range j.marks {
		if mk.step == (image.Point{}) {
			over(dst, mk.m, mk.at, mk.alpha)
			continue
		}
		for y := tileFrom(mk.at.Y, mk.step.Y); y < dst.Rect.Dy(); y += mk.step.Y {
			for x := tileFrom(mk.at.X, mk.step.X); x < dst.Rect.Dx(); x += mk.step.X {
				over(dst, mk.m, image.Pt(x, y), mk.alpha)
			}
		}
	}
	if solid {
		return &image.RGBA{Pix: dst.Pix, Stride: dst.Stride, Rect: dst.Rect}
	}
	return dst
}

// tileFrom gives the last of the places step apart, one of which is at, that is not above zero.
func tileFrom(at, step int) int {
	if at %= step; at > 0 {
		at -= step
	}
	return at
}

// owned gives a copy of m, which may share its pixels with the original.
func owned(m *image.NRGBA) *image.NRGBA {
	dst := image.NewNRGBA(m.Rect)
	for y := range m.Rect.Dy() {
		copy(dst.Pix[y*dst.Stride:][:dst.Stride], m.Pix[y*m.Stride:])
	}
	return dst
}
