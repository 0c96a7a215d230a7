package resize

import (
	"image"
	"image/color"
	"math"
)

// A Blend is a picture or a colour laid over all of a picture, by a mode.
type Blend struct {
	// Color is what is laid over it. Nil means an input.
	Color *color.NRGBA

	// Mode says how the two are put together. The zero value is Overlay.
	Mode BlendMode

	// Alpha is the opacity in percent, 1 to 100. Zero means 100.
	Alpha int

	// Width and Height are the box of the input, as those of a Mark. With Inherit it is as large as the picture, and mapped into that as the
	// original is, unless Fit says how: cut as Plan.Crop says where Plan.Fit is Cover, Min or FaceArea; stretched where that is Scale.
	Width, Height float64
	Inherit       bool

	// Fit says how the input is mapped into the box: Clip, Cover, Clamp, Max or Scale. Crop is for Cover.
	Fit  Fit
	Crop []Crop

	// XAlign and YAlign place it. The zero value is Middle, as imgix has it.
	XAlign, YAlign Align

	// Pad is its distance from the edges in pixels.
	Pad int

	// X and Y are its top left corner in pixels, −1e6 to 1e6, instead of XAlign and YAlign. Nil: not asked for.
	X, Y *int
}

// BlendMode is one of the modes of W3C Compositing and Blending Level 1, sections 9 and 10.
type BlendMode uint8

const (
	Overlay BlendMode = iota
	Normal
	ColorBlend
	Burn // color-burn
	Dodge
	Darken
	Difference
	Exclusion
	HardLight
	HueBlend
	Lighten
	Luminosity
	Multiply
	SaturationBlend
	Screen
	SoftLight
)

func (b *Blend) form(f *form) {
	if b == nil {
		return
	}
	f.word("blend;")
	f.color("color", b.Color)
	f.num("mode", float64(b.Mode))
	f.num("a", float64(b.Alpha))
	f.num("w", b.Width)
	f.num("h", b.Height)
	f.flag("inherit", b.Inherit)
	f.num("fit", float64(b.Fit))
	for _, c := range b.Crop {
		f.num("crop", float64(c))
	}
	f.num("xa", float64(b.XAlign))
	f.num("ya", float64(b.YAlign))
	f.num("pad", float64(b.Pad))
	f.pointer("x", b.X)
	f.pointer("y", b.Y)
	f.word("end;")
}

func (b *Blend) check(c *checker) {
	if b == nil {
		return
	}
	c.within("Blend.Mode", float64(b.Mode), 0, float64(SoftLight))
	c.within("Blend.Alpha", float64(b.Alpha), 0, 100)
	c.within("Blend.Width", b.Width, 0, 1e6)
	c.within("Blend.Height", b.Height, 0, 1e6)
	c.within("Blend.Fit", float64(b.Fit), 0, float64(Scale))
	for _, v := range b.Crop {
		c.within("Blend.Crop", float64(v), float64(Top), float64(Faces))
	}
	c.within("Blend.XAlign", float64(b.XAlign), 0, float64(Far))
	c.within("Blend.YAlign", float64(b.YAlign), 0, float64(Far))
	c.within("Blend.Pad", float64(b.Pad), 0, 1e6)
	for _, v := range []*int{b.X, b.Y} {
		if v != nil {
			c.within("Blend.X or Y", float64(*v), -1e6, 1e6)
		}
	}
}

// box is what the input is mapped into, in pixels of a picture of a size, which was fitted into its own box by fit.
func (b *Blend) box(p Plan, picture Fit, of image.Point) box {
	if b.Inherit {
		fit, crop := b.Fit, b.Crop
		if fit == Clip {
			switch picture {
			case Cover, Min, FaceArea:
				fit, crop = Cover, p.Crop
			case Scale, Clamp:
				fit = picture
			}
		}
		return box{float64(of.X), float64(of.Y), fit, crop}
	}
	return box{b.Width, b.Height, b.Fit, b.Crop}.pixels(p, of)
}

// at is the place of an input that has been mapped into its box.
func (b *Blend) at(p Plan, size, of image.Point) image.Point {
	pad := p.px(b.Pad)
	at := image.Pt(pad+b.XAlign.of(of.X-2*pad-size.X, Middle), pad+b.YAlign.of(of.Y-2*pad-size.Y, Middle))
	if b.X != nil {
		at.X = p.px(*b.X)
	}
	if b.Y != nil {
		at.Y = p.px(*b.Y)
	}
	return at
}

// blendOver lays the plan's blend over m.
func (j *job) blendOver(m image.Image) image.Image {
	b := j.plan.Blend
	px, _ := rgb(m)
	px = owned(px)
	alpha := uint32(b.Alpha)
	if alpha == 0 {
		alpha = 100
	}
	mix := b.Mode.mixer()
	w := px.Rect.Dx()
	if b.Color != nil {
		src := []uint8{b.Color.R, b.Color.G, b.Color.B, b.Color.A}
		for y := range px.Rect.Dy() {
			for row := px.Pix[y*px.Stride:][:4*w]; len(row) > 0; row = row[4:] {
				mix(row[:4], src, alpha)
			}
		}
		return opaque(px)
	}
	top := j.blended
	r := top.m.Rect.Add(top.at).Intersect(px.Rect)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		dst := px.Pix[px.PixOffset(r.Min.X, y):][:4*r.Dx()]
		src := top.m.Pix[top.m.PixOffset(r.Min.X-top.at.X, y-top.at.Y):]
		for i := 0; i < len(dst); i += 4 {
			mix(dst[i:i+4], src[i:i+4], alpha)
		}
	}
	return opaque(px)
}

// mixer gives what puts a pixel over another, at alpha percent: W3C Compositing and Blending Level 1, section 5:
//
//	Cs' = (1 − αb)·Cs + αb·B(Cb, Cs)
//	Co  = αs·Cs' + (1 − αs)·αb·Cb, over αo = αs + αb·(1 − αs)
func (mode BlendMode) mixer() func(dst, src []uint8, alpha uint32) {
	var table *[256][256]uint8 // B of backdrop and source, where channels are apart
	if f := mode.separable(); f != nil {
		table = new([256][256]uint8)
		for b := range 256 {
			for s := range 256 {
				table[b][s] = uint8(math.Round(min(max(f(float64(b)/255, float64(s)/255), 0), 1) * 255))
			}
		}
	}
	return func(dst, src []uint8, alpha uint32) {
		sa := uint32(src[3]) * alpha * 255 / 100 // of 255²
		if sa == 0 {
			return
		}
		var mixed [3]uint8
		if table != nil {
			for i := range mixed {
				mixed[i] = table[dst[i]][src[i]]
			}
		} else {
			mixed = mode.together([3]uint8(dst), [3]uint8(src))
		}
		ab := uint32(dst[3])
		da := ab * (255*255 - sa) / 255
		sum := sa + da
		for i := range 3 {
			c := ((255-ab)*uint32(src[i]) + ab*uint32(mixed[i]) + 127) / 255
			dst[i] = uint8((c*sa + uint32(dst[i])*da + sum/2) / sum)
		}
		dst[3] = uint8((sum + 127) / 255)
	}
}

// separable gives B of one channel of the backdrop and the source (section 9.1). Nil means that it takes all three.
func (mode BlendMode) separable() func(b, s float64) float64 {
	hard := func(b, s float64) float64 {
		if s <= 0.5 {
			return b * 2 * s
		}
		return b + (2*s - 1) - b*(2*s-1)
	}
	switch mode {
	case Normal:
		return func(_, s float64) float64 { return s }
	case Overlay:
		return func(b, s float64) float64 { return hard(s, b) }
	case HardLight:
		return hard
	case Multiply:
		return func(b, s float64) float64 { return b * s }
	case Screen:
		return func(b, s float64) float64 { return b + s - b*s }
	case Darken:
		return func(b, s float64) float64 { return min(b, s) }
	case Lighten:
		return func(b, s float64) float64 { return max(b, s) }
	case Difference:
		return func(b, s float64) float64 { return math.Abs(b - s) }
	case Exclusion:
		return func(b, s float64) float64 { return b + s - 2*b*s }
	case Dodge:
		return func(b, s float64) float64 {
			switch {
			case b == 0:
				return 0
			case s == 1:
				return 1
			}
			return min(1, b/(1-s))
		}
	case Burn:
		return func(b, s float64) float64 {
			switch {
			case b == 1:
				return 1
			case s == 0:
				return 0
			}
			return 1 - min(1, (1-b)/s)
		}
	case SoftLight:
		return func(b, s float64) float64 {
			if s <= 0.5 {
				return b - (1-2*s)*b*(1-b)
			}
			d := math.Sqrt(b)
			if b <= 0.25 {
				d = ((16*b-12)*b + 4) * b
			}
			return b + (2*s-1)*(d-b)
		}
	}
	return nil
}

// fine is how many parts of a level together works with. It works in whole numbers, so that all machines come to the same.
const fine = 64

// together gives B of whole pixels (section 9.2).
func (mode BlendMode) together(backdrop, source [3]uint8) [3]uint8 {
	var b, s, c [3]int32
	for i := range c {
		b[i], s[i] = fine*int32(backdrop[i]), fine*int32(source[i])
	}
	switch mode {
	case HueBlend:
		c = withLuminosity(withSaturation(s, saturationOf(b)), luminosity(b))
	case SaturationBlend:
		c = withLuminosity(withSaturation(b, saturationOf(s)), luminosity(b))
	case ColorBlend:
		c = withLuminosity(s, luminosity(b))
	default:
		c = withLuminosity(b, luminosity(s))
	}
	var mixed [3]uint8
	for i := range c {
		mixed[i] = uint8((c[i] + fine/2) / fine)
	}
	return mixed
}

func luminosity(c [3]int32) int32 { return (30*c[0] + 59*c[1] + 11*c[2] + 50) / 100 }

func saturationOf(c [3]int32) int32 { return max(c[0], c[1], c[2]) - min(c[0], c[1], c[2]) }

// withLuminosity moves c to a luminosity, and back into what there is, towards gray.
func withLuminosity(c [3]int32, l int32) [3]int32 {
	d := l - luminosity(c)
	for i := range c {
		c[i] += d
	}
	l = luminosity(c)
	lo, hi := min(c[0], c[1], c[2]), max(c[0], c[1], c[2])
	for i := range c {
		if lo < 0 && l > lo {
			c[i] = l + (c[i]-l)*l/(l-lo)
		}
		if hi > 255*fine && hi > l {
			c[i] = l + (c[i]-l)*(255*fine-l)/(hi-l)
		}
		c[i] = min(max(c[i], 0), 255*fine)
	}
	return c
}

// withSaturation stretches c to a saturation.
func withSaturation(c [3]int32, s int32) [3]int32 {
	lo, hi := min(c[0], c[1], c[2]), max(c[0], c[1], c[2])
	if hi == lo {
		return [3]int32{}
	}
	for i := range c {
		c[i] = (c[i] - lo) * s / (hi - lo)
	}
	return c
}
