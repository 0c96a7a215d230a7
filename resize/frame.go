package resize

import "image/color"

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
	Radius     Corners      // of MaskCorners
	Background *color.NRGBA // what is put under it; nil means nothing where the output has transparency, else white
}

// MaskShape is the shape of a Mask.
type MaskShape uint8

const (
	EllipseMask MaskShape = iota // as wide and as high as the picture
	CornersMask                  // rounded corners
	PictureMask                  // the alpha, or luma where there is none, of an input, stretched over the picture
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
