package resize

import (
	"image"
	"math"
)

// enhance gives what Adjust.Enhance does to m and, if m is the first frame of an animation, to those after it.
func enhance(m image.Image) *colours {
	const (
		outside  = 0.005 // of all levels, on either side, may be cut off
		contrast = 1.5
		gamma    = 1.15
		vibrance = 25
	)
	c := new(colours)
	levels := histogram(m)
	lo, hi := levels.quantile(outside), levels.quantile(1-outside)
	if lo < 0 { // nothing is seen
		return c
	}
	gain := contrast
	if hi > lo {
		gain = min(255/float64(hi-lo), contrast)
	}
	// What is left of the range goes to both sides as it was there.
	base := 0.0
	if rest := 255 - float64(hi-lo); rest > 0 {
		base = (255 - float64(hi-lo)*gain) * float64(lo) / rest
	}
	stretch := func(v float64) float64 { return (float64((v*255-float64(lo))*gain) + base) / 255 }
	c.curves = append(c.curves, stretch)

	if middle := stretch(float64(levels.quantile(0.5)) / 255); middle > 0 && middle < 1 {
		exponent := min(max(math.Log(0.5)/math.Log(middle), 1/gamma), gamma)
		c.curves = append(c.curves, func(v float64) float64 { return math.Pow(v, exponent) })
	}
	c.steps = append(c.steps, newVibrance(vibrance))
	return c
}

// A levels is how much of a picture has each level, of all channels together, in parts of 255 of a pixel.
type levels [256]int64

func histogram(m image.Image) (n levels) {
	p := planes(m)[0]
	for y := range p.h {
		row := p.row(y)
		if p.ch == 1 {
			for _, v := range row {
				n[v] += 255
			}
			continue
		}
		for px := row; len(px) >= 4; px = px[4:] {
			a := int64(px[3])
			n[px[0]] += a
			n[px[1]] += a
			n[px[2]] += a
		}
	}
	return n
}

// quantile gives the level that the part f of a picture is not above, or -1 where nothing is seen.
func (n *levels) quantile(f float64) int {
	all := int64(0)
	for _, k := range n {
		all += k
	}
	if all == 0 {
		return -1
	}
	least, sum := int64(float64(all)*f), int64(0)
	for v, k := range n {
		if sum += k; sum > least {
			return v
		}
	}
	return 255
}
