package resize

import "image/color"

// Stylize makes effects. The zero value makes none. Steps run in the order of the fields, after those of Adjust; values and luma are as there.
// Lengths are in pixels of the output before DPR, which multiplies them.
type Stylize struct {
	// Blur is 0 to 2000: Gaussian, of stored values, weighted by alpha, which it blurs too. The standard deviation is in tenths of a pixel.
	Blur float64

	// Pixelate is 0 to 100: the side of squares, from the top left, that become their mean, weighted by alpha. The last ones are cut off.
	Pixelate int

	// Halftone is 0 to 100: the side of the cells of a screen of dots, turned by 45 degrees, black on white by luma. Black and white stay that, and between
	// them as much of a cell is white as luma says.
	Halftone float64

	// Monochrome maps luma to the colours from black to this one; its alpha is how much of that is mixed with what was. Nil: not asked for.
	Monochrome *color.NRGBA

	// Sepia is 0 to 100 percent of sepia() of W3C Filter Effects.
	Sepia float64

	// Duotone maps luma to the colours between two. Nil: not asked for.
	Duotone *Duotone
}

// A Duotone maps luma to colours between two, whose own alpha does not count.
type Duotone struct {
	Dark, Light color.NRGBA
	Alpha       int // how much of it is mixed with what was, in percent, 1 to 100. Zero means 100
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

// colours adds the steps of s that look at nothing but colours.
func (s Stylize) colours(c *colours) {
	if m := s.Monochrome; m != nil && m.A > 0 {
		c.steps = append(c.steps, newMatrix(onto([3]float64{}, parts(*m)).toward(float64(m.A)/255)))
	}
	if s.Sepia > 0 {
		c.steps = append(c.steps, newMatrix(sepia.toward(s.Sepia/100)))
	}
	if d := s.Duotone; d != nil {
		alpha := float64(d.Alpha) / 100
		if d.Alpha == 0 {
			alpha = 1
		}
		c.steps = append(c.steps, newMatrix(onto(parts(d.Dark), parts(d.Light)).toward(alpha)))
	}
}

// sepia is the matrix of W3C Filter Effects Module Level 1, 12.2.
var sepia = mixing{{0.393, 0.769, 0.189}, {0.349, 0.686, 0.168}, {0.272, 0.534, 0.131}}

// parts gives the channels of c as parts of white.
func parts(c color.NRGBA) [3]float64 {
	return [3]float64{float64(c.R) / 255, float64(c.G) / 255, float64(c.B) / 255}
}
