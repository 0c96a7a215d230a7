package resize

import (
	"fmt"
	"image"
	"math"
	"slices"
)

// A layout is a Plan worked out for an original of a known size: all of the geometry, no pixels.
type layout struct {
	x, y         span // what is shown of the upright original, in its pixels
	fromX, fromY span // what could be shown: what is left of it by Trim and Rect

	// slideX and slideY are Entropy or Edges: the stretch is in the middle for now, and goes where there is most of that. Zero is
	// neither.
	slideX, slideY Crop

	// fit is how the box of two sides is filled; Clip where there is no such box.
	fit Fit

	// focuses says that what is shown is cut to Plan.Focal.
	focuses bool

	w, h  int         // what x and y become, in pixels
	frame image.Point // larger than w by h where Fit pads
	at    image.Point // where in the frame the picture is

	turned image.Point // the frame, turned by Pivot
	out    image.Point // the size of the output: that, widened by Pad
	inset  image.Point // where in the output that begins
}

// pads reports whether there is a frame around the picture.
func (l layout) pads() bool { return l.frame != image.Pt(l.w, l.h) }

// layout works out the geometry of p for an upright original of w by h pixels.
func (p Plan) layout(w, h int) (layout, error) { return p.layoutOf(sight{x: whole(w), y: whole(h)}) }

// layoutOf is layout for what has been seen of an upright original.
func (p Plan) layoutOf(s sight) (layout, error) {
	l, err := p.fit(s)
	if err != nil {
		return layout{}, err
	}
	l.turned = l.frame
	if p.Pivot && p.Rotate != 0 {
		l.turned = turnedSize(l.frame.X, l.frame.Y, p.Rotate)
	}
	pad := p.insets(p.Pad)
	l.out = l.turned.Add(image.Pt(pad.Left+pad.Right, pad.Top+pad.Bottom))
	l.inset = image.Pt(pad.Left, pad.Top)
	return l, nil
}

// px gives a length in pixels of the output.
func (p Plan) px(v int) int {
	if p.DPR > 0 {
		return int(math.Round(float64(v) * p.DPR))
	}
	return v
}

// insets gives i in pixels of the output.
func (p Plan) insets(i Insets) Insets {
	return Insets{p.px(i.Top), p.px(i.Right), p.px(i.Bottom), p.px(i.Left)}
}

// fit is layoutOf up to the frame.
func (p Plan) fit(s sight) (layout, error) {
	x, y := s.x, s.y
	if p.Rect != nil {
		rx, ry, err := p.Rect.spans(int(x.size), int(y.size))
		if err != nil {
			return layout{}, err
		}
		x, y = rx.moved(x.lo), ry.moved(y.lo)
	}
	l := layout{x: x, y: y, fromX: x, fromY: y}
	bw, bh := p.box(p.Width, x.size), p.box(p.Height, y.size) // zero: not asked for
	faced := p.Fit == FaceArea
	if faced {
		// What is shown is cut to the faces, and then fills the box; without any faces the box is filled, or padded.
		var found bool
		l.x, l.y, found = p.faceArea(s, x, y, bw, bh)
		x, y = l.x, l.y
		p.Fit, p.Aspect, p.AspectMax, p.NoEnlarge, p.Crop = Cover, 0, 0, false, nil
		if !found && p.Fill != nil {
			p.Fit = Fill
		}
	}
	sw, sh := x.size, y.size
	pad := p.insets(p.Pad)
	padX, padY := float64(pad.Left+pad.Right), float64(pad.Top+pad.Bottom)

	aspect := p.Aspect
	if p.AspectMax > 0 && p.Fit == Cover {
		aspect = math.Min(math.Max(sw/sh, p.Aspect), p.AspectMax)
	}
	sized := bw > 0 || bh > 0
	if aspect > 0 && (p.Fit == Cover || p.Fit == Fill) && (bw == 0 || bh == 0) {
		switch {
		case bw > 0:
			bh = atLeast1(bw / aspect)
		case bh > 0:
			bw = atLeast1(bh * aspect)
		case p.Fit == Fill: // the smallest that holds the source
			bw = math.Max(sw, sh*aspect)
			bw, bh = atLeast1(bw), atLeast1(bw/aspect)
		default: // the largest that the source holds
			bw = math.Min(sw, sh*aspect)
			bw, bh = atLeast1(bw), atLeast1(bw/aspect)
		}
	}
	if sized { // the box has room for Pad
		if bw > 0 {
			bw = math.Max(1, bw-padX)
		}
		if bh > 0 {
			bh = math.Max(1, bh-padY)
		}
	}
	switch {
	case bw == 0 && bh == 0:
		bw, bh = atLeast1(sw), atLeast1(sh)
		if p.Fit != Cover || !faced && !p.bounds() {
			p.Fit = Clip // there is no box to fit into
		}
	case bw == 0 || bh == 0:
		// One side follows from the other by the source's aspect ratio, whatever the fit.
		f := bw / sw
		if bw == 0 {
			f = bh / sh
		}
		if f > 1 && (p.NoEnlarge || p.Fit == Max || p.Fit == Min || p.Fit == FillMax || p.Fit == CoverFill) {
			f = 1
		}
		bw, bh = atLeast1(sw*f), atLeast1(sh*f)
		if p.Fit != Cover || faced || !p.bounds() {
			l.w, l.h = int(bw), int(bh)
			l.frame = image.Pt(l.w, l.h)
			return l, nil
		}
	}
	if p.Fit == Cover && !faced {
		bw, bh = p.bounded(bw, padX, p.MinWidth, p.MaxWidth), p.bounded(bh, padY, p.MinHeight, p.MaxHeight)
	}
	l.frame, l.fit = image.Pt(int(bw), int(bh)), p.Fit

	fit := p.Fit
	if fit == CoverFill {
		if fit = FillMax; sw >= bw && sh >= bh {
			fit = Cover
		}
	}
	inside := math.Min(bw/sw, bh/sh)
	if p.NoEnlarge || fit == Max || fit == FillMax {
		inside = math.Min(inside, 1)
	}
	switch {
	case fit == Min, fit == Cover && p.NoEnlarge:
		// The box, made smaller if the source does not hold it.
		f := math.Min(1, math.Min(sw/bw, sh/bh))
		bw, bh = atLeast1(bw*f), atLeast1(bh*f)
		l.frame = image.Pt(int(bw), int(bh))
	case fit == Scale && p.NoEnlarge:
		l.frame = image.Pt(int(math.Min(bw, sw)), int(math.Min(bh, sh)))
	}
	switch fit {
	case Outside:
		f := math.Max(bw/sw, bh/sh)
		if p.NoEnlarge {
			f = math.Min(f, 1)
		}
		l.w, l.h = int(atLeast1(sw*f)), int(atLeast1(sh*f))
		l.frame = image.Pt(l.w, l.h)
	case Cover, Min:
		l.w, l.h = l.frame.X, l.frame.Y
		p.cut(&l, s, bw, bh)
	case Scale:
		l.w, l.h = l.frame.X, l.frame.Y
	default:
		l.w, l.h = int(atLeast1(sw*inside)), int(atLeast1(sh*inside))
		if fit == Clip || fit == Max {
			l.frame = image.Pt(l.w, l.h)
		}
		l.at = image.Pt((l.frame.X-l.w)/2, (l.frame.Y-l.h)/2)
		if f := p.Fill; f != nil && fit != Clamp {
			l.at = image.Pt(f.X.of(l.frame.X-l.w, Middle), f.Y.of(l.frame.Y-l.h, Middle))
		}
	}
	return l, nil
}

// bounds reports whether a side is held between bounds.
func (p Plan) bounds() bool {
	return p.MinWidth > 0 || p.MinHeight > 0 || p.MaxWidth > 0 || p.MaxHeight > 0
}

// bounded moves a side of the box, which pad comes on top of, between what MinWidth and its kin ask for.
func (p Plan) bounded(v, pad float64, least, most int) float64 {
	if most > 0 {
		v = math.Min(v, math.Max(1, float64(p.px(most))-pad))
	}
	if least > 0 {
		v = math.Max(v, float64(p.px(least))-pad)
	}
	return math.Max(v, 1)
}

// of gives how much of room is before what a places. Standard is what NoAlign means.
func (a Align) of(room int, standard Align) int {
	if a == NoAlign {
		a = standard
	}
	switch a {
	case Near:
		return 0
	case Middle:
		return room / 2
	}
	return room
}

// moved gives s, of a part that begins at n, in all of it.
func (s span) moved(n int) span {
	s.at += float64(n)
	s.lo += n
	s.hi += n
	return s
}

// box gives a side of the box in pixels, from what was asked for and the source's size.
func (p Plan) box(asked, source float64) float64 {
	switch {
	case asked <= 0:
		return 0
	case asked <= 1:
		return atLeast1(asked * source)
	case p.DPR > 0:
		return atLeast1(asked * p.DPR)
	}
	return atLeast1(asked)
}

func atLeast1(v float64) float64 { return math.Max(1, math.Round(v)) }

// cut makes the source of l as wide for its height as bw is for bh, and says where it lies.
func (p Plan) cut(l *layout, s sight, bw, bh float64) {
	sw, sh := l.x.size, l.y.size
	f := math.Max(bw/sw, bh/sh)
	l.x.size, l.y.size = math.Min(sw, bw/f), math.Min(sh, bh/f)
	l.focuses = slices.Contains(p.Crop, FocalPoint)
	if p.Zoom > 1 && l.focuses {
		l.x.size, l.y.size = math.Max(1, l.x.size/p.Zoom), math.Max(1, l.y.size/p.Zoom)
	}
	restX, restY := sw-l.x.size, sh-l.y.size

	const unset = -1
	fx, fy := float64(unset), float64(unset) // how much of the rest is cut off at the left, and the top
	set := func(f *float64, v float64) {
		if *f == unset {
			*f = v
		}
	}
	for _, c := range p.Crop {
		switch c {
		case Left:
			set(&fx, 0)
		case Right:
			set(&fx, 1)
		case Top:
			set(&fy, 0)
		case Bottom:
			set(&fy, 1)
		case Center:
			set(&fx, 0.5)
			set(&fy, 0.5)
		case FocalPoint:
			at := Point{0.5, 0.5}
			if p.Focal != nil {
				at = *p.Focal
			}
			if p.FocalPixels && p.Focal != nil {
				at = Point{(at.X - l.fromX.at) / sw, (at.Y - l.fromY.at) / sh}
			}
			set(&fx, place(at.X, sw, l.x.size))
			set(&fy, place(at.Y, sh, l.y.size))
		case Faces:
			if at, ok := s.facesMiddle(p.Face, l.x.size, true); ok {
				set(&fx, place((at-l.x.at)/sw, sw, l.x.size))
			}
			if at, ok := s.facesMiddle(p.Face, l.y.size, false); ok {
				set(&fy, place((at-l.y.at)/sh, sh, l.y.size))
			}
		case Entropy, Edges:
			if fx == unset && restX > 0 {
				l.slideX = c
			}
			if fy == unset && restY > 0 {
				l.slideY = c
			}
			set(&fx, 0.5)
			set(&fy, 0.5)
		}
	}
	set(&fx, 0.5)
	set(&fy, 0.5)
	l.x.at += fx * restX
	l.y.at += fy * restY
}

// place says how much of what is cut off goes from the near end, for a stretch of size with the point
// at (a fraction of total) as near to its middle as the picture allows.
func place(at, total, size float64) float64 {
	if size >= total {
		return 0.5
	}
	at = min(max(at, 0), 1)
	return min(max((at*total-size/2)/(total-size), 0), 1)
}

// spans works out a Rect of an upright original of w by h pixels.
func (r Rect) spans(w, h int) (x, y span, err error) {
	x, okX := rectSide(r.X, r.W, r.XAlign, w, r.Pixels)
	y, okY := rectSide(r.Y, r.H, r.YAlign, h, r.Pixels)
	if !okX || !okY {
		return x, y, fmt.Errorf("%w: the rectangle lies outside of the picture, which is %dx%d", ErrPlan, w, h)
	}
	return x, y, nil
}

func rectSide(at, size float64, align Align, n int, px bool) (span, bool) {
	pixels := func(v float64) float64 {
		if v <= 1 && !px {
			v *= float64(n)
		}
		return math.Round(v)
	}
	lo := pixels(at)
	length := math.Max(1, pixels(size))
	if size == 0 {
		length = float64(n)
	}
	switch align {
	case Near:
		lo = 0
	case Middle:
		lo = math.Floor((float64(n) - length) / 2)
	case Far:
		lo = float64(n) - length
	}
	hi := math.Min(lo+length, float64(n))
	lo = math.Max(lo, 0)
	if lo >= hi {
		return span{}, false
	}
	return span{at: lo, size: hi - lo, lo: int(lo), hi: int(hi)}, true
}

// A checker keeps the first thing that is wrong with a plan.
type checker struct{ err error }

// within notes where v is not between lo and hi, NaN included.
func (c *checker) within(name string, v, lo, hi float64) {
	if c.err == nil && !(v >= lo && v <= hi) {
		c.err = fmt.Errorf("%w: %s is %v, of %v to %v", ErrPlan, name, v, lo, hi)
	}
}

// check reports what no picture could be made of, whatever the original.
func (p Plan) check() error {
	c := &checker{}
	c.within("Width", p.Width, 0, 1e6)
	c.within("Height", p.Height, 0, 1e6)
	c.within("MinWidth", float64(p.MinWidth), 0, 1e6)
	c.within("MinHeight", float64(p.MinHeight), 0, 1e6)
	c.within("MaxWidth", float64(p.MaxWidth), 0, 1e6)
	c.within("MaxHeight", float64(p.MaxHeight), 0, 1e6)
	c.within("DPR", p.DPR, 0, 1e6)
	if p.Aspect != 0 {
		c.within("Aspect", p.Aspect, 1e-4, 1e6)
	}
	if p.AspectMax != 0 {
		c.within("AspectMax", p.AspectMax, math.Max(p.Aspect, 1e-4), 1e6)
	}
	c.within("Rotate", p.Rotate, 0, math.Nextafter(360, 0))
	c.within("Fit", float64(p.Fit), 0, float64(CoverFill))
	c.within("Orient", float64(p.Orient), 0, 8)
	c.within("Flip", float64(p.Flip), 0, float64(Both))
	c.within("Quality", float64(p.Quality), 0, 100)
	c.within("Color", float64(p.Color), 0, float64(Strip))
	for _, v := range p.Crop {
		c.within("Crop", float64(v), float64(Top), float64(Faces))
	}
	if f := p.Focal; f != nil {
		c.within("Focal.X", f.X, math.Inf(-1), math.Inf(1))
		c.within("Focal.Y", f.Y, math.Inf(-1), math.Inf(1))
	}
	if p.Zoom != 0 {
		c.within("Zoom", p.Zoom, 1, 100)
	}
	c.within("Face", float64(p.Face), 0, 1e6)
	if p.FacePad != 0 {
		c.within("FacePad", p.FacePad, 1, 10)
	}
	if r := p.Rect; r != nil {
		for _, v := range []float64{r.X, r.Y, r.W, r.H} {
			c.within("Rect", v, 0, 1e6)
		}
		c.within("Rect.XAlign", float64(r.XAlign), 0, float64(Far))
		c.within("Rect.YAlign", float64(r.YAlign), 0, float64(Far))
	}
	c.within("FaceBlur", p.FaceBlur, 0, 2000)
	c.within("FacePixelate", float64(p.FacePixelate), 0, 100)
	p.Trim.check(c)
	p.Adjust.check(c)
	p.Stylize.check(c)
	p.Fill.check(c)
	p.Pad.check("Pad", c)
	p.Border.check(c)
	p.Mask.check(c)
	p.Grid.check(c)
	p.Blend.check(c)
	for i := range p.Marks {
		p.Marks[i].check(c)
	}
	p.Text.check(c)
	p.Encoding.check(c)
	if c.err == nil {
		c.err = p.Animation.check()
	}
	if c.err == nil && p.Adjust.RedEye {
		c.err = fmt.Errorf("%w: red eyes are not corrected here", ErrPlan)
	}
	return c.err
}
