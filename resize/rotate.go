package resize

import (
	"context"
	"image"
	"math"

	"golang.org/x/image/draw"
	"golang.org/x/image/math/f64"
)

// turn gives the size that the picture must have before Plan.Rotate is carried out, for the frame to be
// covered by it after, and by how much all of the picture is zoomed for that. Zoom is zero where
// nothing is rotated.
//
// A frame of w by h, seen from the turned picture, is a box of w·|cos|+h·|sin| by w·|sin|+h·|cos|.
func (j *job) turn() (w, h int, zoom float64) {
	if j.plan.Rotate == 0 || j.plan.Pivot {
		return 0, 0, 0
	}
	fw, fh := float64(j.layout.frame.X), float64(j.layout.frame.Y)
	sin, cos := sincos(j.plan.Rotate)
	sin, cos = math.Abs(sin), math.Abs(cos)
	bw, bh := fw*cos+fh*sin, fw*sin+fh*cos
	if sin != 0 && cos != 0 {
		bw, bh = math.Ceil(bw)+2, math.Ceil(bh)+2 // for the corners to have neighbours
	}
	return int(bw), int(bh), max(bw/fw, bh/fh)
}

// sincos is exact at right angles.
func sincos(degrees float64) (sin, cos float64) {
	switch degrees {
	case 90:
		return 1, 0
	case 180:
		return 0, -1
	case 270:
		return -1, 0
	}
	return math.Sincos(degrees * math.Pi / 180)
}

// middle is the part of s around its middle that is f times its size.
func (s span) middle(f float64) span {
	size := s.size * f
	s.at += (s.size - size) / 2
	s.size = size
	return s
}

// turnedSize is the size of the box that a picture of w by h takes in when it is turned.
func turnedSize(w, h int, degrees float64) image.Point {
	sin, cos := sincos(degrees)
	sin, cos = math.Abs(sin), math.Abs(cos)
	// What rounding leaves above a whole number is no pixel.
	side := func(v float64) int { return int(math.Ceil(v - 1e-6)) }
	return image.Pt(side(float64(float64(w)*cos)+float64(float64(h)*sin)), side(float64(float64(w)*sin)+float64(float64(h)*cos)))
}

// rotate turns m counter-clockwise around its middle and gives w by h pixels of the middle. The error is the cause
// of ctx's end.
func rotate(ctx context.Context, m image.Image, degrees float64, w, h int) (image.Image, error) {
	if turns, rest := math.Modf(degrees / 90); rest == 0 {
		p := poses[[4]int{1, 8, 3, 6}[int(turns)]]
		px, solid := rgb(m)
		if solid {
			m = &image.RGBA{Pix: px.Pix, Stride: px.Stride, Rect: px.Rect}
		}
		return p.upright(ctx, nil, all(m), whole(w), whole(h), w, h, w, h, false)
	}
	// The kernel of package draw weights by alpha on RGBA, which is what makes edges clean.
	src, solid := rgb(m)
	in := &image.RGBA{Pix: src.Pix, Stride: src.Stride, Rect: src.Rect}
	if !solid {
		in = image.NewRGBA(src.Rect)
		draw.Draw(in, in.Rect, src, image.Point{}, draw.Src)
	}
	sin, cos := sincos(degrees)
	cx, cy := float64(src.Rect.Dx())/2, float64(src.Rect.Dy())/2
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	turn := f64.Aff3{
		cos, sin, float64(w)/2 - cos*cx - sin*cy,
		-sin, cos, float64(h)/2 + sin*cx - cos*cy,
	}
	const rows = 16 // at a time, as package draw does not stop by itself
	for y := 0; y < h; y += rows {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		part := out.SubImage(image.Rect(0, y, w, min(y+rows, h))).(*image.RGBA)
		draw.CatmullRom.Transform(part, turn, in, in.Rect, draw.Src, nil)
	}
	return standard(out), nil
}

// pivot turns m counter-clockwise, and gives all of it: what is around it in the box that it takes in is transparent.
func pivot(ctx context.Context, m image.Image, degrees float64) (image.Image, error) {
	b := m.Bounds()
	size := turnedSize(b.Dx(), b.Dy(), degrees)
	if _, rest := math.Modf(degrees / 90); rest == 0 {
		return rotate(ctx, m, degrees, size.X, size.Y)
	}
	// A transparent edge around the picture makes its edges smooth.
	const edge = 2
	src, _ := rgb(m)
	in := image.NewNRGBA(image.Rect(0, 0, b.Dx()+2*edge, b.Dy()+2*edge))
	for y := range b.Dy() {
		copy(in.Pix[(y+edge)*in.Stride+4*edge:], src.Pix[y*src.Stride:][:4*b.Dx()])
	}
	return rotate(ctx, in, degrees, size.X, size.Y)
}
