package resize

import (
	"image"
	"image/color"
	"math"
)

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

// within gives what is left of m: all of it, where nothing else is.
func (t *Trim) within(m *image.NRGBA) (x, y span) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	edge := t.edge(m)
	top, bottom, left, right := 0, h, 0, w
	column, row := func(i int) line { return line{m.Pix[4*i:], m.Stride, top, bottom} }, func(i int) line {
		return line{m.Pix[i*m.Stride:], 4, left, right}
	}
	for top < bottom && edge(row(top)) {
		top++
	}
	for bottom > top && edge(row(bottom-1)) {
		bottom--
	}
	for left < right && top < bottom && edge(column(left)) {
		left++
	}
	for right > left && top < bottom && edge(column(right-1)) {
		right--
	}
	if left >= right || top >= bottom {
		return whole(w), whole(h)
	}
	side := func(lo, hi, n int) span {
		lo, hi = max(lo-t.Pad, 0), min(hi+t.Pad, n)
		if lo >= hi { // a Pad below zero that leaves nothing
			return whole(n)
		}
		return span{at: float64(lo), size: float64(hi - lo), lo: lo, hi: hi}
	}
	return side(left, right, w), side(top, bottom, h)
}

// A line is a row or a column of pixels: those from lo to hi, step bytes apart.
type line struct {
	pix    []uint8
	step   int
	lo, hi int
}

// level is a channel of a pixel. What is transparent has no colour, whatever its numbers are.
func level(px []uint8, channel int) uint8 {
	if px[3] == 0 {
		return 0
	}
	return px[channel]
}

// edge gives what tells whether a line is part of the edge.
func (t *Trim) edge(m *image.NRGBA) func(line) bool {
	by := t.By
	if by == TrimColorUnlessAlpha {
		by = TrimColor
		if !solid(m.Pix, m.Stride, m.Rect.Dx(), m.Rect.Dy()) {
			by = TrimAlpha
		}
	}
	every := func(ok func(px []uint8) bool) func(line) bool {
		return func(l line) bool {
			for i := l.lo; i < l.hi; i++ {
				if !ok(l.pix[i*l.step:][:4]) {
					return false
				}
			}
			return true
		}
	}
	switch by {
	case TrimAlpha:
		return every(func(px []uint8) bool { return float64(px[3]) <= t.Alpha })
	case TrimColor:
		c := [4]uint8{level(m.Pix, 0), level(m.Pix, 1), level(m.Pix, 2), m.Pix[3]}
		if t.Color != nil {
			c = [4]uint8{t.Color.R, t.Color.G, t.Color.B, t.Color.A}
		}
		return every(func(px []uint8) bool {
			for i, v := range c {
				if math.Abs(float64(level(px, i))-float64(v)) > t.Tolerance {
					return false
				}
			}
			return true
		})
	}
	mean, deviation := 11.0, 10.0
	if t.Mean != nil {
		mean = *t.Mean
	}
	if t.Deviation != nil {
		deviation = *t.Deviation
	}
	// What the edge looks like is the mean of the four corners.
	w, h := m.Rect.Dx(), m.Rect.Dy()
	var corner [4]float64
	for _, at := range []int{m.PixOffset(0, 0), m.PixOffset(w-1, 0), m.PixOffset(0, h-1), m.PixOffset(w-1, h-1)} {
		for i := range corner {
			corner[i] += float64(level(m.Pix[at:], i)) / 4
		}
	}
	return func(l line) bool {
		n := float64(l.hi - l.lo)
		for c := range 4 {
			sum, squares := 0, 0
			for i := l.lo; i < l.hi; i++ {
				v := int(level(l.pix[i*l.step:], c))
				sum += v
				squares += v * v
			}
			average := float64(sum) / n
			variance := max(float64(squares)/n-average*average, 0)
			if math.Abs(average-corner[c]) > mean || math.Sqrt(variance) > deviation {
				return false
			}
		}
		return true
	}
}
