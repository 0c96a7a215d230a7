package resize

import "image/color"

// A Blend is a picture or a colour laid over all of a picture, by a mode.
type Blend struct {
	// Color is what is laid over it. Nil means an input.
	Color *color.NRGBA

	// Mode says how the two are put together. The zero value is Overlay.
	Mode BlendMode

	// Alpha is the opacity in percent, 1 to 100. Zero means 100.
	Alpha int

	// Width and Height are the box of the input, as those of a Mark. Inherit stretches it over the picture instead.
	Width, Height float64
	Inherit       bool

	// Fit says how the input is mapped into the box: Clip, Cover, Clamp, Max or Scale. Crop is for Cover.
	Fit  Fit
	Crop []Crop

	// XAlign and YAlign place it. The zero value is Near: top left.
	XAlign, YAlign Align

	// Pad is its distance from the edges in pixels.
	Pad int

	// X and Y are its top left corner in pixels, instead of XAlign and YAlign. Nil: not asked for.
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
			c.within("Blend.X or Y", float64(*v), 0, 1e6)
		}
	}
}
