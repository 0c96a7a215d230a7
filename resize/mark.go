package resize

import (
	"context"
	"image"
	"math"
)

// A Mark is a picture drawn over another: a watermark.
type Mark struct {
	// Text is what is drawn. Nil means an input.
	Text *Text

	// XAlign and YAlign place it. The zero value is Far: bottom right, as imgix has it.
	XAlign, YAlign Align

	// Width and Height are its box: pixels of the output when above 1, a fraction of the output's size when in
	// (0, 1]. Zero for both keeps its own size, made smaller if it would not fit; zero for one follows from the other.
	Width, Height float64

	// Scale is its width as a percentage of the output's, 1 to 100, instead of Width and Height. Zero: not asked for.
	Scale int

	// Fit says how it is mapped into its box: Clip, Cover, Fill, Max or Scale.
	Fit Fit

	// Rotate turns it clockwise around its middle, in degrees [0, 360). What it takes in grows with it.
	Rotate float64

	// Tile repeats it over all of the picture, Pad apart.
	Tile bool

	// Alpha is its opacity in percent, 1 to 100. Zero means 100.
	Alpha int

	// Pad is its distance from the edges in pixels. Nil means 5.
	Pad *int

	// X and Y are its top left corner in pixels, instead of XAlign, YAlign and Pad. Nil: not asked for.
	X, Y *int

	// MinWidth and MinHeight are the smallest output, in pixels, that it is drawn on.
	MinWidth, MinHeight int
}

func (mk *Mark) form(f *form) {
	f.word("mark;")
	mk.Text.form(f)
	f.num("xa", float64(mk.XAlign))
	f.num("ya", float64(mk.YAlign))
	f.num("w", mk.Width)
	f.num("h", mk.Height)
	f.num("scale", float64(mk.Scale))
	f.num("fit", float64(mk.Fit))
	f.num("rot", mk.Rotate)
	f.flag("tile", mk.Tile)
	f.num("a", float64(mk.Alpha))
	f.pointer("pad", mk.Pad)
	f.pointer("x", mk.X)
	f.pointer("y", mk.Y)
	f.num("minw", float64(mk.MinWidth))
	f.num("minh", float64(mk.MinHeight))
	f.word("end;")
}

func (mk *Mark) check(c *checker) {
	mk.Text.check(c)
	c.within("Mark.XAlign", float64(mk.XAlign), 0, float64(Far))
	c.within("Mark.YAlign", float64(mk.YAlign), 0, float64(Far))
	c.within("Mark.Width", mk.Width, 0, 1e6)
	c.within("Mark.Height", mk.Height, 0, 1e6)
	c.within("Mark.Scale", float64(mk.Scale), 0, 100)
	c.within("Mark.Fit", float64(mk.Fit), 0, float64(Scale))
	c.within("Mark.Rotate", mk.Rotate, 0, 360)
	c.within("Mark.Alpha", float64(mk.Alpha), 0, 100)
	for _, v := range []*int{mk.Pad, mk.X, mk.Y} {
		if v != nil {
			c.within("Mark.Pad, X or Y", float64(*v), 0, 1e6)
		}
	}
	c.within("Mark.MinWidth", float64(mk.MinWidth), 0, 1e6)
	c.within("Mark.MinHeight", float64(mk.MinHeight), 0, 1e6)
}

// A placedMark is a Mark at its size and place.
type placedMark struct {
	m     *image.NRGBA
	at    image.Point
	alpha uint32 // of 255
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
	for i, mk := range j.plan.Marks {
		in := &j.inputs[next+i]
		p := poseOf(in.info.Orientation, NoFlip)
		srcW, srcH := p.size(in.info.Width, in.info.Height)
		w, h, at := mk.place(srcW, srcH, j.layout.out)
		upright, err := p.upright(ctx, &j.arena, in.src, whole(srcW), whole(srcH), w, h, srcW, srcH, false)
		if err != nil {
			return j.inputError(next+i, err)
		}
		m, _ := rgb(upright)
		alpha := mk.Alpha
		if alpha == 0 {
			alpha = 100
		}
		j.marks = append(j.marks, placedMark{m: m, at: at, alpha: uint32(alpha*255+50) / 100})
	}
	return nil
}

// placeMask stretches the mask over the picture, before Pad.
func (j *job) placeMask(ctx context.Context, in *input) error {
	size := j.layout.out
	pad := j.plan.insets(j.plan.Pad)
	size = size.Sub(image.Pt(pad.Left+pad.Right, pad.Top+pad.Bottom))
	p := poseOf(in.info.Orientation, NoFlip)
	srcW, srcH := p.size(in.info.Width, in.info.Height)
	m, err := p.upright(ctx, &j.arena, in.src, whole(srcW), whole(srcH), size.X, size.Y, srcW, srcH, false)
	if err != nil {
		return j.inputError(1, err)
	}
	alpha, transparent := m.(*image.NRGBA)
	if !transparent {
		j.maskAlpha = gray8(m)
		return nil
	}
	j.maskAlpha = image.NewGray(alpha.Rect)
	for y := range alpha.Rect.Dy() {
		for x := range alpha.Rect.Dx() {
			j.maskAlpha.Pix[y*j.maskAlpha.Stride+x] = alpha.Pix[y*alpha.Stride+4*x+3]
		}
	}
	return nil
}

// place gives the size and the place of a mark of w by h in a frame.
func (mk Mark) place(w, h int, frame image.Point) (int, int, image.Point) {
	pad := 5
	if mk.Pad != nil {
		pad = *mk.Pad
	}
	// A pad that leaves nothing in a small picture is given up before the mark is.
	padX, padY := min(pad, (frame.X-1)/2), min(pad, (frame.Y-1)/2)
	roomX, roomY := float64(frame.X-2*padX), float64(frame.Y-2*padY)

	f := 1.0
	switch {
	case mk.Width > 1:
		f = mk.Width / float64(w)
	case mk.Width > 0:
		f = mk.Width * float64(frame.X) / float64(w)
	}
	f = math.Min(f, math.Min(roomX/float64(w), roomY/float64(h)))
	mw, mh := int(atLeast1(float64(w)*f)), int(atLeast1(float64(h)*f))
	side := func(a Align, pad, size, frame int) int {
		switch a {
		case Near:
			return pad
		case Middle:
			return (frame - size) / 2
		}
		return frame - pad - size
	}
	return mw, mh, image.Pt(side(mk.XAlign, padX, mw, frame.X), side(mk.YAlign, padY, mh, frame.Y))
}

// mark draws the marks over m.
func (j *job) mark(m image.Image) image.Image {
	dst, solid := rgb(m)
	dst = owned(dst)
	for _, mk := range j.marks {
		over(dst, mk.m, mk.at, mk.alpha)
	}
	if solid {
		return &image.RGBA{Pix: dst.Pix, Stride: dst.Stride, Rect: dst.Rect}
	}
	return dst
}

// owned gives a copy of m, which may share its pixels with the original.
func owned(m *image.NRGBA) *image.NRGBA {
	dst := image.NewNRGBA(m.Rect)
	for y := range m.Rect.Dy() {
		copy(dst.Pix[y*dst.Stride:][:dst.Stride], m.Pix[y*m.Stride:])
	}
	return dst
}
