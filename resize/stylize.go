package resize

import "image/color"

// Stylize makes effects. The zero value makes none. Steps run in the order of the fields.
type Stylize struct {
	Blur       float64      // 0 to 2000: Gaussian, the standard deviation in tenths of a pixel
	Pixelate   int          // 0 to 100: side of the squares in pixels
	Halftone   float64      // 0 to 100: side of the cells of dots in pixels
	Monochrome *color.NRGBA // black to this colour, by luma; its alpha is how much of it. Nil: not asked for
	Sepia      float64      // 0 to 100 percent
	Duotone    *Duotone     // nil: not asked for
}

// A Duotone maps luma to colours between two.
type Duotone struct {
	Dark, Light color.NRGBA
	Alpha       int // opacity in percent, 1 to 100. Zero means 100
}

func (s Stylize) form(f *form) {
	f.num("blur", s.Blur)
	f.num("px", float64(s.Pixelate))
	f.num("htn", s.Halftone)
	f.color("mono", s.Monochrome)
	f.num("sepia", s.Sepia)
	if d := s.Duotone; d != nil {
		f.word("duotone;")
		f.color("dark", &d.Dark)
		f.color("light", &d.Light)
		f.num("a", float64(d.Alpha))
	}
}

func (s Stylize) check(c *checker) {
	c.within("Stylize.Blur", s.Blur, 0, 2000)
	c.within("Stylize.Pixelate", float64(s.Pixelate), 0, 100)
	c.within("Stylize.Halftone", s.Halftone, 0, 100)
	c.within("Stylize.Sepia", s.Sepia, 0, 100)
	if s.Duotone != nil {
		c.within("Stylize.Duotone.Alpha", float64(s.Duotone.Alpha), 0, 100)
	}
}
