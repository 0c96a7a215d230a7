package resize

import (
	"image"
	"image/color"
	"math"
)

// Padding is what fills the frame around a picture.
type Padding struct {
	// Color fills it; nil means Plan.Background. Its alpha counts where the output has transparency.
	Color *color.NRGBA

	// Blur fills it with the picture itself, stretched to cover the frame, blurred by so much, as Stylize.Blur. Zero: not asked for.
	Blur float64

	// Gradient fills it with colours between two. Nil: not asked for.
	Gradient *Gradient

	// X and Y say where in the frame the picture is. The zero value is Middle.
	X, Y Align
}

// A Gradient goes from one colour to another.
type Gradient struct {
	From, To color.NRGBA
	Space    GradientSpace

	// Radial goes from a centre outwards. Otherwise it goes straight, from the top to the bottom.
	Radial bool

	// Toward is where a straight gradient ends: Horizontal is to the right, with Reverse to the left; Vertical down, with Reverse up.
	// NoFlip means down, and Both the corners: down and to the right.
	Toward  Flip
	Reverse bool

	// X and Y are the centre of a radial gradient: a fraction of the frame in [0, 1], else pixels. Nil means 0.5.
	X, Y *float64

	// Inner and Outer are where a radial gradient begins and ends, in fractions of the frame's smaller side in [0, 1], else in
	// pixels. Nil means 0.25 and 0.5.
	Inner, Outer *float64
}

// GradientSpace is where the colours between two are looked for.
type GradientSpace uint8

const (
	GradientSRGB   GradientSpace = iota
	GradientLinear               // linear light
	GradientOklab                // Björn Ottosson's, 2020
	GradientHSL
	GradientLCH // CIE LCh(ab), D65
)

// Insets are distances from the four sides, in pixels.
type Insets struct{ Top, Right, Bottom, Left int }

// Corners are radii in pixels, from the top left clockwise.
type Corners struct{ TopLeft, TopRight, BottomRight, BottomLeft int }

// A Border is drawn within the frame of a picture, over it.
type Border struct {
	Width       Insets
	Color       color.NRGBA
	Radius      Corners      // of the outside; what lies beyond becomes transparent
	InnerRadius *Corners     // of the inside. Nil means the outer radius less the width
	Stroke      int          // width of a line around the border, at both of its edges, in pixels
	StrokeColor *color.NRGBA // nil means black
}

// A Mask makes what is outside of a shape transparent.
type Mask struct {
	Shape      MaskShape
	Radius     Corners      // of CornersMask. Zero for all four means a fifth of the smaller side
	Background *color.NRGBA // what is put under it; nil means nothing where the output has transparency, else white
}

// MaskShape is the shape of a Mask.
type MaskShape uint8

const (
	EllipseMask MaskShape = iota // as wide and as high as the picture
	CornersMask                  // rounded corners
	PictureMask                  // the luma times the alpha of an input, stretched over the picture: white shows, black and nothing do not
)

// A Grid is a checkerboard.
type Grid struct {
	Colors [2]color.NRGBA // from the top left. Two zero colours mean D0D7DD and white
	Size   int            // of a square, in pixels. Zero means 4
}

func (p *Padding) form(f *form) {
	if p == nil {
		return
	}
	f.word("fill;")
	f.color("color", p.Color)
	f.num("blur", p.Blur)
	f.num("xa", float64(p.X))
	f.num("ya", float64(p.Y))
	if g := p.Gradient; g != nil {
		f.word("gradient;")
		f.color("from", &g.From)
		f.color("to", &g.To)
		f.num("space", float64(g.Space))
		f.flag("radial", g.Radial)
		f.num("toward", float64(g.Toward))
		f.flag("reverse", g.Reverse)
		for _, v := range []struct {
			name string
			v    *float64
		}{{"x", g.X}, {"y", g.Y}, {"inner", g.Inner}, {"outer", g.Outer}} {
			if v.v != nil {
				f.word(v.name + ";")
				f.num("v", *v.v)
			}
		}
		f.word("end;")
	}
	f.word("end;")
}

func (p *Padding) check(c *checker) {
	if p == nil {
		return
	}
	c.within("Fill.Blur", p.Blur, 0, 2000)
	c.within("Fill.X", float64(p.X), 0, float64(Far))
	c.within("Fill.Y", float64(p.Y), 0, float64(Far))
	if g := p.Gradient; g != nil {
		c.within("Fill.Gradient.Space", float64(g.Space), 0, float64(GradientLCH))
		c.within("Fill.Gradient.Toward", float64(g.Toward), 0, float64(Both))
		for _, v := range []*float64{g.X, g.Y, g.Inner, g.Outer} {
			if v != nil {
				c.within("Fill.Gradient's place", *v, 0, 65535)
			}
		}
	}
}

func (i Insets) form(name string, f *form) {
	if i != (Insets{}) {
		f.word(name + ";")
		f.num("t", float64(i.Top))
		f.num("r", float64(i.Right))
		f.num("b", float64(i.Bottom))
		f.num("l", float64(i.Left))
		f.word("end;")
	}
}

func (i Insets) check(name string, c *checker) {
	for _, v := range []int{i.Top, i.Right, i.Bottom, i.Left} {
		c.within(name, float64(v), 0, 8192)
	}
}

func (k Corners) form(name string, f *form) {
	if k != (Corners{}) {
		f.word(name + ";")
		f.num("tl", float64(k.TopLeft))
		f.num("tr", float64(k.TopRight))
		f.num("br", float64(k.BottomRight))
		f.num("bl", float64(k.BottomLeft))
		f.word("end;")
	}
}

func (k Corners) check(name string, c *checker) {
	for _, v := range []int{k.TopLeft, k.TopRight, k.BottomRight, k.BottomLeft} {
		c.within(name, float64(v), 0, 65535)
	}
}

func (b *Border) form(f *form) {
	if b == nil {
		return
	}
	f.word("border;")
	b.Width.form("width", f)
	f.color("color", &b.Color)
	b.Radius.form("radius", f)
	if b.InnerRadius != nil {
		f.word("has;")
		b.InnerRadius.form("inner", f)
	}
	f.num("stroke", float64(b.Stroke))
	f.color("strokecolor", b.StrokeColor)
	f.word("end;")
}

func (b *Border) check(c *checker) {
	if b == nil {
		return
	}
	b.Width.check("Border.Width", c)
	b.Radius.check("Border.Radius", c)
	if b.InnerRadius != nil {
		b.InnerRadius.check("Border.InnerRadius", c)
	}
	c.within("Border.Stroke", float64(b.Stroke), 0, 8192)
}

func (m *Mask) form(f *form) {
	if m == nil {
		return
	}
	f.word("mask;")
	f.num("shape", float64(m.Shape))
	m.Radius.form("radius", f)
	f.color("bg", m.Background)
	f.word("end;")
}

func (m *Mask) check(c *checker) {
	if m == nil {
		return
	}
	c.within("Mask.Shape", float64(m.Shape), 0, float64(PictureMask))
	m.Radius.check("Mask.Radius", c)
}

func (g *Grid) form(f *form) {
	if g == nil {
		return
	}
	f.word("grid;")
	f.color("a", &g.Colors[0])
	f.color("b", &g.Colors[1])
	f.num("size", float64(g.Size))
	f.word("end;")
}

func (g *Grid) check(c *checker) {
	if g != nil {
		c.within("Grid.Size", float64(g.Size), 0, 8192)
	}
}

// surround masks the picture, draws its border, and widens its frame.
func (j *job) surround(m image.Image) image.Image {
	p := &j.plan
	if p.Mask == nil && p.Border == nil && p.Pad == (Insets{}) && !j.crosses() {
		return m
	}
	px, _ := rgb(m)
	px = owned(px)
	if j.crosses() {
		j.crosshairs(px)
	}
	if p.Mask != nil {
		j.mask(px)
	}
	if p.Border != nil {
		j.border(px)
	}
	if p.Pad != (Insets{}) {
		wide := image.NewNRGBA(image.Rectangle{Max: j.layout.out}) // transparent: ground fills it
		for y := range px.Rect.Dy() {
			copy(wide.Pix[(j.layout.inset.Y+y)*wide.Stride+4*j.layout.inset.X:], px.Pix[y*px.Stride:][:4*px.Rect.Dx()])
		}
		px = wide
	}
	return opaque(px)
}

// A shape gives how much of a pixel, whose middle is at x and y, lies within it: 0 to 1.
type shape func(x, y float64) float64

// covers turns a distance from an edge, in pixels, into how much of a pixel is within: below zero is inside.
func covers(distance float64) float64 { return min(max(0.5-distance, 0), 1) }

// roundedRect is a rectangle with rounded corners. Radii that do not fit are made smaller together, as CSS does (CSS Backgrounds and
// Borders 3, section 4.5).
func roundedRect(x0, y0, x1, y1 float64, k Corners) shape {
	r := [4]float64{float64(k.TopLeft), float64(k.TopRight), float64(k.BottomRight), float64(k.BottomLeft)}
	f := 1.0
	for i, side := range [4]float64{x1 - x0, y1 - y0, x1 - x0, y1 - y0} {
		if sum := r[i] + r[(i+1)%4]; sum > side {
			f = min(f, max(side, 0)/sum)
		}
	}
	for i := range r {
		r[i] *= f
	}
	return func(x, y float64) float64 {
		corner := func(r, cx, cy float64) float64 { return covers(math.Hypot(x-cx, y-cy) - r) }
		switch {
		case x < x0+r[0] && y < y0+r[0]:
			return corner(r[0], x0+r[0], y0+r[0])
		case x > x1-r[1] && y < y0+r[1]:
			return corner(r[1], x1-r[1], y0+r[1])
		case x > x1-r[2] && y > y1-r[2]:
			return corner(r[2], x1-r[2], y1-r[2])
		case x < x0+r[3] && y > y1-r[3]:
			return corner(r[3], x0+r[3], y1-r[3])
		}
		return covers(max(max(x0-x, x-x1), max(y0-y, y-y1)))
	}
}

// ellipse fills a rectangle of w by h. The distance is that of Taubin, to the first order: the value over its gradient.
func ellipse(w, h float64) shape {
	a, b := w/2, h/2
	return func(x, y float64) float64 {
		u, v := (x-a)/a, (y-b)/b
		gradient := 2 * math.Hypot(u/a, v/b)
		if gradient == 0 {
			return 1
		}
		return covers((u*u + v*v - 1) / gradient)
	}
}

// mask takes away what is outside of the plan's mask.
func (j *job) mask(px *image.NRGBA) {
	mask := j.plan.Mask
	w, h := px.Rect.Dx(), px.Rect.Dy()
	var within shape
	switch mask.Shape {
	case EllipseMask:
		within = ellipse(float64(w), float64(h))
	case CornersMask:
		radius := j.plan.corners(mask.Radius)
		if radius == (Corners{}) {
			r := int(math.Round(float64(min(w, h)) / 5))
			radius = Corners{r, r, r, r}
		}
		within = roundedRect(0, 0, float64(w), float64(h), radius)
	}
	for y := range h {
		row := px.Pix[y*px.Stride:][:4*w]
		for x := range w {
			var part float64
			if within != nil {
				part = within(float64(x)+0.5, float64(y)+0.5)
			} else {
				part = float64(j.maskAlpha.Pix[y*j.maskAlpha.Stride+x]) / 255
			}
			row[4*x+3] = uint8(math.Round(float64(row[4*x+3]) * part))
		}
	}
	if mask.Background != nil {
		underlay(px, *mask.Background)
	}
}

// corners gives k in pixels of the output.
func (p Plan) corners(k Corners) Corners {
	return Corners{p.px(k.TopLeft), p.px(k.TopRight), p.px(k.BottomRight), p.px(k.BottomLeft)}
}

// border draws the plan's border over px.
func (j *job) border(px *image.NRGBA) {
	b := j.plan.Border
	w, h := float64(px.Rect.Dx()), float64(px.Rect.Dy())
	width, radius := j.plan.insets(b.Width), j.plan.corners(b.Radius)
	inner := Corners{
		max(radius.TopLeft-max(width.Top, width.Left), 0), max(radius.TopRight-max(width.Top, width.Right), 0),
		max(radius.BottomRight-max(width.Bottom, width.Right), 0), max(radius.BottomLeft-max(width.Bottom, width.Left), 0),
	}
	if b.InnerRadius != nil {
		inner = j.plan.corners(*b.InnerRadius)
	}
	l, t, r, d := float64(width.Left), float64(width.Top), w-float64(width.Right), h-float64(width.Bottom)
	outside, inside := roundedRect(0, 0, w, h, radius), roundedRect(l, t, r, d, inner)
	stroke := j.plan.px(b.Stroke)
	line := color.NRGBA{A: 255}
	if b.StrokeColor != nil {
		line = *b.StrokeColor
	}
	s := float64(stroke)
	grown := func(k Corners, by int) Corners {
		more := func(r int) int {
			if r == 0 {
				return 0
			}
			return max(r+by, 0)
		}
		return Corners{more(k.TopLeft), more(k.TopRight), more(k.BottomRight), more(k.BottomLeft)}
	}
	outerLine, innerLine := roundedRect(s, s, w-s, h-s, grown(radius, -stroke)), roundedRect(l-s, t-s, r+s, d+s, grown(inner, stroke))
	paint := func(dst []uint8, c color.NRGBA, part float64) {
		if part > 0 {
			blend(dst, []uint8{c.R, c.G, c.B, c.A}, uint32(math.Round(part*255)))
		}
	}
	for y := range px.Rect.Dy() {
		row := px.Pix[y*px.Stride:]
		for x := range px.Rect.Dx() {
			fx, fy := float64(x)+0.5, float64(y)+0.5
			dst := row[4*x:][:4]
			out, in := outside(fx, fy), inside(fx, fy)
			paint(dst, b.Color, 1-in)
			if stroke > 0 {
				paint(dst, line, max(1-outerLine(fx, fy), innerLine(fx, fy)-in))
			}
			if out < 1 {
				dst[3] = uint8(math.Round(float64(dst[3]) * out))
			}
		}
	}
}

// gridColors are those of a Grid that has none.
var gridColors = [2]color.NRGBA{{0xd0, 0xd7, 0xdd, 255}, white}

// checker lays px over the plan's checkerboard.
func (j *job) checker(px *image.NRGBA) {
	g := j.plan.Grid
	colors, size := g.Colors, j.plan.px(g.Size)
	if colors == ([2]color.NRGBA{}) {
		colors = gridColors
	}
	if size == 0 {
		size = j.plan.px(4)
	}
	size = max(size, 1)
	for y := range px.Rect.Dy() {
		row := px.Pix[y*px.Stride:]
		for x := range px.Rect.Dx() {
			c := colors[(x/size+y/size)%2]
			under := [4]uint8{c.R, c.G, c.B, c.A}
			blend(under[:], row[4*x:][:4], 255)
			copy(row[4*x:], under[:])
		}
	}
}

// crosses reports whether the focal point is to be shown.
func (j *job) crosses() bool { return j.plan.Crosshairs && j.layout.focuses }

// crosshairs draws two lines through the plan's focal point, each black beside white, so that it shows on anything.
func (j *job) crosshairs(px *image.NRGBA) {
	focal := Point{0.5, 0.5}
	if j.plan.Focal != nil {
		focal = *j.plan.Focal
	}
	l := j.layout
	fx := float64(l.w)*(l.fromX.at+focal.X*l.fromX.size-l.x.at)/l.x.size + float64(l.at.X)
	fy := float64(l.h)*(l.fromY.at+focal.Y*l.fromY.size-l.y.at)/l.y.size + float64(l.at.Y)
	if j.plan.Rotate != 0 { // the point has gone round the middle, and the lines stay upright
		_, _, zoom := j.turn()
		if zoom == 0 {
			zoom = 1
		}
		sin, cos := sincos(j.plan.Rotate)
		dx, dy := zoom*(fx-float64(l.frame.X)/2), zoom*(fy-float64(l.frame.Y)/2)
		fx = float64(cos*dx) + float64(sin*dy) + float64(px.Rect.Dx())/2
		fy = float64(cos*dy) - float64(sin*dx) + float64(px.Rect.Dy())/2
	}
	x, y := int(math.Floor(fx)), int(math.Floor(fy))
	set := func(x, y int, v uint8) {
		if image.Pt(x, y).In(px.Rect) {
			copy(px.Pix[px.PixOffset(x, y):], []uint8{v, v, v, 255})
		}
	}
	for i := range px.Rect.Dy() {
		set(x, i, 255)
		set(x+1, i, 0)
	}
	for i := range px.Rect.Dx() {
		set(i, y, 255)
		set(i, y+1, 0)
	}
}

// gradient fills dst.
func (j *job) gradient(dst *image.NRGBA, g *Gradient) {
	w, h := float64(dst.Rect.Dx()), float64(dst.Rect.Dy())
	// Colours of 1024 steps: more than a picture shows, and far fewer than it has pixels.
	var table [1024][4]uint8
	for i := range table {
		c := j.ownColor(g.at(float64(i) / float64(len(table)-1)))
		table[i] = [4]uint8{c.R, c.G, c.B, c.A}
	}
	place := func(v *float64, standard, of float64) float64 {
		switch {
		case v == nil:
			return standard * of
		case *v <= 1:
			return *v * of
		case j.plan.DPR > 0:
			return *v * j.plan.DPR
		}
		return *v
	}
	small := min(w, h)
	cx, cy := place(g.X, 0.5, w), place(g.Y, 0.5, h)
	inner, outer := place(g.Inner, 0.25, small), place(g.Outer, 0.5, small)
	for y := range dst.Rect.Dy() {
		row := dst.Pix[y*dst.Stride:][:4*dst.Rect.Dx()]
		for x := range dst.Rect.Dx() {
			fx, fy := float64(x)+0.5, float64(y)+0.5
			var t float64
			switch {
			case g.Radial:
				t = (math.Hypot(fx-cx, fy-cy) - inner) / max(outer-inner, 1e-9)
			case g.Toward == Horizontal:
				t = fx / w
			case g.Toward == Both:
				t = (fx/w + fy/h) / 2
			default:
				t = fy / h
			}
			if g.Reverse && !g.Radial {
				t = 1 - t
			}
			t = min(max(t, 0), 1)
			copy(row[4*x:], table[int(t*float64(len(table)-1)+0.5)][:])
		}
	}
}
