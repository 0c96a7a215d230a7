package resize

import (
	"image"
	"image/color"
	"image/draw"

	"github.com/imagecdn/imagecdn/internal/icc"
)

// ColorSpace says which colours the numbers of the output stand for, and whether the file says so. Originals are what their
// file says that they are: by an ICC profile, or by PNG's cICP, gAMA and cHRM; sRGB where it says nothing.
//
// Formats that hold no profile (GIF, and AVIF as it is written here) are in sRGB unless the plan says Strip. CMYK becomes RGB
// whatever the plan says: by its profile, or without one by the inverse of its inks.
type ColorSpace uint8

const (
	SRGB     ColorSpace = iota // converted to sRGB; the file says nothing, which means sRGB
	TinySRGB                   // converted to sRGB, with a profile of a few hundred bytes that says so
	AdobeRGB                   // converted to Adobe RGB (1998), with a small profile
	Origin                     // the original's numbers and its profile; SRGB where that cannot be kept
	Strip                      // the original's numbers, and nobody is told what they were
)

// coloring is what a job does about colours.
type coloring struct {
	keep   bool       // numbers stay as they are, but for inks
	output icc.Output // what they become else
	embed  embedding
}

// embedding says which profile goes into the output.
type embedding uint8

const (
	noProfile embedding = iota
	ownProfile
	originalProfile
)

// coloring works out what j does, by headers alone.
func (j *job) coloring() coloring {
	original := &j.inputs[0]
	var c coloring
	switch j.plan.Color {
	case Strip:
		c.keep = true
	case Origin:
		// A mark has other colours; and gray is only gray as long as nothing is added.
		switch {
		case !j.to.Profiles || j.animated || len(j.plan.Marks) > 0 || j.plan.Blend != nil || j.plan.Text != nil:
		case original.colors == icc.RGB,
			original.colors == icc.Gray && j.plain() && j.plan.Background == nil && !j.info.Alpha && j.to.writesGray():
			c.keep, c.embed = true, originalProfile
		}
	case TinySRGB, AdobeRGB:
		if j.to.Profiles && !j.animated {
			c.embed = ownProfile
			if j.plan.Color == AdobeRGB {
				c.output = icc.AdobeRGB
			}
		}
	}
	return c
}

// recolors reports whether the original is converted, as far as headers say.
func (j *job) recolors() bool {
	return j.inputs[0].colored && !j.color.keep || j.inputs[0].jpeg.components == 4 || j.color.output != icc.SRGB
}

// writesGray reports whether what c writes of *image.Gray has one channel.
func (c *Codec) writesGray() bool { return c.Format == JPEG || c.Format == PNG }

// transform gives what input i's colours are to go through, or nil.
func (j *job) transform(i int) *icc.Transform {
	in := &j.inputs[i]
	switch {
	case in.settled, j.color.keep && in.colors != icc.CMYK:
		return nil
	case !in.colored && j.color.output == icc.SRGB:
		return nil
	}
	profile := in.profile()
	if profile == nil {
		profile = compactSRGB()
	}
	t := transforms.get(profile, j.color.output)
	if t == nil || t.Identity() {
		return nil
	}
	return t
}

// recolor gives m with its colours gone through t, which may be nil, in memory of its own unless m comes back. Inks become RGB.
func recolor(a *arena, m image.Image, t *icc.Transform) image.Image {
	if inks, ok := m.(*image.CMYK); ok {
		b := inks.Rect
		if t != nil && t.Space() == icc.CMYK {
			dst := &image.RGBA{Pix: a.alloc(4 * b.Dx() * b.Dy()), Stride: 4 * b.Dx(), Rect: b}
			for y := range b.Dy() {
				t.CMYK(dst.Pix[y*dst.Stride:][:dst.Stride], inks.Pix[y*inks.Stride:][:dst.Stride])
			}
			return dst
		}
		m = withoutInks(inks)
	}
	if t == nil || t.Space() == icc.CMYK {
		return m
	}
	switch m := m.(type) {
	case *image.Gray:
		return recolorGray(a, m, t)
	case *image.YCbCr:
		px, _ := rgb(m) // a picture of its own
		t.RGB(px.Pix, px.Pix)
		return &image.RGBA{Pix: px.Pix, Stride: px.Stride, Rect: px.Rect}
	case *image.RGBA, *image.NRGBA:
		dst := newImage(m, m.Bounds().Dx(), m.Bounds().Dy(), a.alloc)
		from, to := planes(m)[0], planes(dst)[0]
		for y := range from.h {
			t.RGB(to.row(y), from.row(y))
		}
		return dst
	}
	return m
}

func recolorGray(a *arena, m *image.Gray, t *icc.Transform) image.Image {
	table := t.Gray()
	if table == nil {
		px, _ := rgb(m)
		t.RGB(px.Pix, px.Pix)
		return &image.RGBA{Pix: px.Pix, Stride: px.Stride, Rect: px.Rect}
	}
	dst := &image.Gray{Pix: a.alloc(m.Rect.Dx() * m.Rect.Dy()), Stride: m.Rect.Dx(), Rect: m.Rect}
	for y := range m.Rect.Dy() {
		out := dst.Pix[y*dst.Stride:][:dst.Stride]
		for x, v := range m.Pix[y*m.Stride:][:dst.Stride] {
			out[x] = table[v]
		}
	}
	return dst
}

// withoutInks gives m as if inks were the inverse of colours.
func withoutInks(m *image.CMYK) *image.RGBA {
	dst := image.NewRGBA(m.Rect)
	draw.Draw(dst, dst.Rect, m, m.Rect.Min, draw.Src)
	return dst
}

// ownColors makes the colours of the plan the output's numbers. Those of gradients and texts are made that when they are drawn.
func (j *job) ownColors() {
	if j.color.output == icc.SRGB {
		return
	}
	own := func(to **color.NRGBA) { // the plan is its maker's
		if *to != nil {
			c := j.ownColor(**to)
			*to = &c
		}
	}
	p := &j.plan
	own(&p.Background)
	own(&p.Stylize.Monochrome)
	if p.Stylize.Duotone != nil {
		d := *p.Stylize.Duotone
		d.Dark, d.Light = j.ownColor(d.Dark), j.ownColor(d.Light)
		p.Stylize.Duotone = &d
	}
	if p.Fill != nil {
		f := *p.Fill
		own(&f.Color)
		p.Fill = &f
	}
	if p.Border != nil {
		b := *p.Border
		b.Color = j.ownColor(b.Color)
		own(&b.StrokeColor)
		p.Border = &b
	}
	if p.Mask != nil {
		m := *p.Mask
		own(&m.Background)
		p.Mask = &m
	}
	if p.Grid != nil {
		g := *p.Grid
		if g.Colors == ([2]color.NRGBA{}) {
			g.Colors = gridColors
		}
		for i, c := range g.Colors {
			g.Colors[i] = j.ownColor(c)
		}
		p.Grid = &g
	}
	if p.Blend != nil {
		b := *p.Blend
		own(&b.Color)
		p.Blend = &b
	}
}

// transformTo gives what colours of sRGB are to go through, or nil.
func transformTo(output icc.Output) *icc.Transform {
	if output == icc.SRGB {
		return nil
	}
	return transforms.get(compactSRGB(), output)
}

// ownColor gives c, which is of sRGB, in the output's numbers.
func (j *job) ownColor(c color.NRGBA) color.NRGBA {
	t := transformTo(j.color.output)
	if t == nil {
		return c
	}
	px := []uint8{c.R, c.G, c.B, c.A}
	t.RGB(px, px)
	return color.NRGBA{px[0], px[1], px[2], px[3]}
}

// profile gives the profile to write with m, and m as what that is for.
func (j *job) profile(m image.Image, to *Codec) (image.Image, []byte) {
	gray, isGray := m.(*image.Gray)
	var profile []byte
	switch j.color.embed {
	case originalProfile:
		if profile = j.inputs[0].profile(); icc.SpaceOf(profile) == icc.Gray {
			return m, profile
		}
	case ownProfile:
		if isGray && to.writesGray() {
			return m, icc.Compact(j.color.output, true)
		}
		profile = icc.Compact(j.color.output, false)
	}
	if profile != nil && isGray {
		px, _ := rgb(gray)
		m = &image.RGBA{Pix: px.Pix, Stride: px.Stride, Rect: px.Rect}
	}
	return m, profile
}
