package resize

import (
	"context"
	"fmt"
	"image"
	"math"
)

// A placedMark is a Mark at its size and place.
type placedMark struct {
	m     *image.NRGBA
	at    image.Point
	alpha uint32 // of 255
}

// placeMarks makes the marks their size.
func (j *job) placeMarks(ctx context.Context) error {
	for i, mk := range j.plan.Marks {
		in := &j.inputs[1+i]
		p := poseOf(in.info.Orientation, NoFlip)
		srcW, srcH := p.size(in.info.Width, in.info.Height)
		w, h, at := mk.place(srcW, srcH, j.layout.frame)
		upright, err := p.upright(ctx, &j.arena, in.src, whole(srcW), whole(srcH), w, h, srcW, srcH, false)
		if err != nil {
			return fmt.Errorf("mark %d: %w", i+1, err)
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
