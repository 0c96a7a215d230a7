package resize

import "image/color"

// Trim cuts a uniform edge off. What would leave nothing is not done.
type Trim struct {
	// By says what an edge is.
	By TrimBy

	// Color is what TrimColor cuts off. Nil means that of the top left pixel.
	Color *color.NRGBA

	// Tolerance is how far from Color, in levels of any channel, 0 to 255, TrimColor still cuts.
	Tolerance float64

	// Mean and Deviation are the most by which the mean of a line's levels differs from that of the corners, and the most
	// by which levels deviate within the line, that TrimAuto still cuts. Nil means 11 and 10.
	Mean, Deviation *float64

	// Alpha is the most opacity, 0 to 255, that TrimAlpha still cuts.
	Alpha float64

	// Pad leaves so many pixels more around what is kept, −200 to 200; below zero, fewer.
	Pad int
}

// TrimBy says what an edge is.
type TrimBy uint8

const (
	TrimAuto             TrimBy = iota // lines of about one colour
	TrimColor                          // lines of one colour
	TrimAlpha                          // transparent lines
	TrimColorUnlessAlpha               // TrimAlpha where the picture has transparency, else TrimColor
)

func (t *Trim) form(f *form) {
	if t == nil {
		return
	}
	f.word("trim;")
	f.num("by", float64(t.By))
	f.color("color", t.Color)
	f.num("tol", t.Tolerance)
	if t.Mean != nil {
		f.word("mean;")
		f.num("v", *t.Mean)
	}
	if t.Deviation != nil {
		f.word("dev;")
		f.num("v", *t.Deviation)
	}
	f.num("alpha", t.Alpha)
	f.num("pad", float64(t.Pad))
	f.word("end;")
}

func (t *Trim) check(c *checker) {
	if t == nil {
		return
	}
	c.within("Trim.By", float64(t.By), 0, float64(TrimColorUnlessAlpha))
	c.within("Trim.Tolerance", t.Tolerance, 0, 255)
	if t.Mean != nil {
		c.within("Trim.Mean", *t.Mean, 0, 255)
	}
	if t.Deviation != nil {
		c.within("Trim.Deviation", *t.Deviation, 0, 255)
	}
	c.within("Trim.Alpha", t.Alpha, 0, 255)
	c.within("Trim.Pad", float64(t.Pad), -200, 200)
}
