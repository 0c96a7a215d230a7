package resize

import (
	"context"
	"math"
	"slices"
	"sync"
)

// pixelate makes squares of so many pixels their mean.
func (e *effects) pixelate(side int) {
	if e.err != nil || side == 1 {
		return
	}
	p := planes(e.m)[0]
	across := (p.w + side - 1) / side
	sums := make([][5]int64, across) // of channels, times alpha where there is that; and the pixels
	for top := 0; top < p.h; top += side {
		if e.ctx.Err() != nil {
			e.err = context.Cause(e.ctx)
			return
		}
		rows := min(side, p.h-top)
		clear(sums)
		for y := range rows {
			p.addSquares(sums, p.row(top+y), side)
		}
		first := p.row(top)
		for i := range sums {
			square := first[i*side*p.ch : min((i+1)*side, p.w)*p.ch]
			p.mean(square[:p.ch], &sums[i])
			for at := p.ch; at < len(square); at *= 2 {
				copy(square[at:], square[:at])
			}
		}
		for y := 1; y < rows; y++ {
			copy(p.row(top+y), first)
		}
	}
}

// addSquares adds the pixels of a row to the squares that they are in.
func (p raster) addSquares(sums [][5]int64, row []uint8, side int) {
	for i := range sums {
		s := &sums[i]
		square := row[i*side*p.ch : min((i+1)*side, p.w)*p.ch]
		s[4] += int64(len(square) / p.ch)
		if p.ch == 1 {
			for _, v := range square {
				s[0] += int64(v)
			}
			continue
		}
		for px := square; len(px) >= 4; px = px[4:] {
			a := int64(px[3])
			s[0] += int64(px[0]) * a
			s[1] += int64(px[1]) * a
			s[2] += int64(px[2]) * a
			s[3] += a
		}
	}
}

// mean makes px what s is the sum of.
func (p raster) mean(px []uint8, s *[5]int64) {
	n := s[4]
	switch {
	case p.ch == 1:
		px[0] = uint8((s[0] + n/2) / n)
	case s[3] == 0:
		clear(px)
	default:
		for ch := range 3 {
			px[ch] = uint8((s[ch] + s[3]/2) / s[3])
		}
		px[3] = uint8((s[3] + n/2) / n)
	}
}

// A screen is the threshold of each place in a cell of dots (Ulichney, "Digital Halftoning", 1987, 5.2): cos(u) + cos(v), from light to dark,
// which gives black dots on white, a chequerboard at mid gray and white dots on black. Its levels are spread so that
// as much of a cell is below each as it says.
type screen struct {
	spread [2*screenSteps + 1]int32 // of (cos(u) + cos(v))·screenSteps/2, from -screenSteps: the threshold, Q8 of a level
}

const screenSteps = 2048

var spread = sync.OnceValue(func() *screen {
	const n = 512
	cosines := make([]float64, n)
	for i := range cosines {
		cosines[i] = math.Cos(2 * math.Pi * (float64(i) + 0.5) / n)
	}
	sums := make([]float64, 0, n*n)
	for _, a := range cosines {
		for _, b := range cosines {
			sums = append(sums, (a+b)/2)
		}
	}
	slices.Sort(sums)
	s := new(screen)
	at := 0
	for i := range s.spread {
		v := (float64(i) - screenSteps) / screenSteps
		for at < len(sums) && sums[at] <= v {
			at++
		}
		s.spread[i] = int32(float64(at) / (n * n) * (255 << 8))
	}
	return s
})

// halftone makes a screen of dots. side is that of the cells, in pixels.
func (e *effects) halftone(side float64) {
	if e.err != nil {
		return
	}
	const finest = 2 // pixels, below which there are no dots to see
	side = min(max(side, finest), 1<<20)
	p := planes(e.m)[0]
	// Turned by 45 degrees, u depends on x+y alone and v on x-y: both are looked up.
	wave := func(i int) int32 {
		phase := math.Mod(float64(i)/(math.Sqrt2*side), 1)
		return int32(math.Floor(float64(math.Cos(2*math.Pi*phase)*(screenSteps/2)) + 0.5))
	}
	u, v := make([]int32, p.w+p.h), make([]int32, p.w+p.h)
	for i := range u {
		u[i], v[i] = wave(i), wave(i-p.h)
	}
	s := spread()
	// Edges of dots are as soft as a pixel or two: thresholds go from black to white and back once a cell. It bounds the products below, too.
	soft := max(int32(min(3/side, 1)*(255<<8)), 2048)
	gain := int32((255<<16 + int64(soft) - 1) / int64(soft)) // Q8, up, so that white is reached
	tone := tones(float64(soft) / (255 << 8))
	level := func(luma uint8, threshold int32) uint8 {
		return uint8(min(max(((tone[luma]-threshold)*gain>>8+255<<7)>>8, 0), 255))
	}
	e.each(func(y int, row []uint8) {
		u, v := u[y:], v[p.h-y:]
		if p.ch == 1 {
			for x, l := range row {
				row[x] = level(l, s.spread[u[x]+v[x]+screenSteps])
			}
			return
		}
		for x := range p.w {
			px := row[4*x:][:4]
			luma := (luma15(int32(px[0]), int32(px[1]), int32(px[2])) + 1<<14) >> 15
			c := level(uint8(luma), s.spread[u[x]+v[x]+screenSteps])
			px[0], px[1], px[2] = c, c, c
		}
	})
}

// tones is what luma is compared to thresholds as, Q8 of a level, so that the mean of a cell is that luma, where the edges of dots are ramps of a width
// of soft, in parts of white. A ramp over thresholds that are spread evenly gives a trapezoid, whose integral has this inverse.
func tones(soft float64) (t [256]int32) {
	for v := range t {
		luma := float64(v) / 255
		dark := min(luma, 1-luma)
		if dark < soft/2 {
			dark = math.Sqrt(2*soft*dark) - soft/2
		}
		if luma > 0.5 {
			dark = 1 - dark
		}
		t[v] = int32(math.Floor(float64(dark*(255<<8)) + 0.5))
	}
	return t
}
