package resize

import (
	"context"
	"image"
	"math"
)

// slides reports whether there is a stretch that hangs on the pixels.
func (l *layout) slides() bool { return l.slideX != 0 || l.slideY != 0 }

// slide moves the stretch that Crop's Entropy or Edges left open to where the picture says most, or has most edges, and settles it
// there for the frames that follow.
//
// What a pixel says is what it would cost to code it: minus the logarithm of how often its difference
// from what its neighbours predict occurs in the picture (Shannon, 1948). Sky and walls cost nothing,
// smooth shading little, texture and faces much; and the costs of pixels add up, so that the best
// window is found with one running sum.
func (j *job) slide(ctx context.Context, src source) error {
	l := &j.layout
	if !l.slides() {
		return nil
	}
	// A small copy of all that could be shown: which part is busy does not hang on single pixels.
	bound := func(s span) span {
		return span{at: float64(s.lo), size: float64(s.hi - s.lo), lo: s.lo, hi: s.hi}
	}
	bx, by := bound(l.x), bound(l.y)
	f := math.Min(1, 256/math.Max(bx.size, by.size))
	w, h := int(atLeast1(bx.size*f)), int(atLeast1(by.size*f))
	small, err := j.pose.upright(ctx, j.rasters(), src, bx, by, w, h, j.srcW, j.srcH, false)
	if err != nil {
		return err
	}
	gray := gray8(small)
	of := func(c Crop) (cols, rows []float64) {
		if c == Edges {
			return edges(gray)
		}
		return information(gray)
	}
	if l.slideX != 0 {
		cols, _ := of(l.slideX)
		l.x.at = busiest(bx, l.x, cols)
	}
	if l.slideY != 0 {
		_, rows := of(l.slideY)
		l.y.at = busiest(by, l.y, rows)
	}
	l.slideX, l.slideY = 0, 0
	return nil
}

// edges gives how much edge is in the columns and the rows of m: the squares of Sobel's gradient, so that one hard edge
// counts for more than much texture.
func edges(m *image.Gray) (cols, rows []float64) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	cols, rows = make([]float64, w), make([]float64, h)
	for y := range h {
		at := func(dy int) []uint8 { return m.Pix[min(max(y+dy, 0), h-1)*m.Stride:][:w] }
		above, here, below := at(-1), at(0), at(1)
		for x := range w {
			l, r := max(x-1, 0), min(x+1, w-1)
			gx := int(above[r]) - int(above[l]) + 2*(int(here[r])-int(here[l])) + int(below[r]) - int(below[l])
			gy := int(below[l]) - int(above[l]) + 2*(int(below[x])-int(above[x])) + int(below[r]) - int(above[r])
			v := float64(gx*gx + gy*gy)
			cols[x] += v
			rows[y] += v
		}
	}
	return cols, rows
}

// information gives what the columns and the rows of m say, in bits.
func information(m *image.Gray) (cols, rows []float64) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	residual := func(x, y int) uint8 {
		v := m.Pix[y*m.Stride+x]
		switch {
		case x > 0 && y > 0:
			left, up, corner := int(m.Pix[y*m.Stride+x-1]), int(m.Pix[(y-1)*m.Stride+x]), int(m.Pix[(y-1)*m.Stride+x-1])
			return v - uint8(min(max(left+up-corner, min(left, up)), max(left, up)))
		case x > 0:
			return v - m.Pix[y*m.Stride+x-1]
		case y > 0:
			return v - m.Pix[(y-1)*m.Stride+x]
		}
		return 0
	}
	var count [256]int
	for y := range h {
		for x := range w {
			count[residual(x, y)]++
		}
	}
	var bits [256]float64
	for i, n := range count {
		if n > 0 {
			bits[i] = -math.Log2(float64(n) / float64(w*h))
		}
	}
	cols, rows = make([]float64, w), make([]float64, h)
	for y := range h {
		for x := range w {
			b := bits[residual(x, y)]
			cols[x] += b
			rows[y] += b
		}
	}
	return cols, rows
}

// busiest gives where in all a stretch as long as part holds most of info, which describes all of it. Of
// stretches that hold nearly as much, it takes the one that has what it holds in its middle.
func busiest(all, part span, info []float64) float64 {
	const nearly = 0.97
	perSample := all.size / float64(len(info))
	n := min(max(int(math.Round(part.size/perSample)), 1), len(info))
	sums := make([]float64, len(info)-n+1) // of the stretch from each place
	for i := range sums {
		if i == 0 {
			for _, v := range info[:n] {
				sums[0] += v
			}
			continue
		}
		sums[i] = sums[i-1] + info[i+n-1] - info[i-1]
	}
	best := 0
	for i, v := range sums {
		if v > sums[best] {
			best = i
		}
	}
	middle := float64(len(info)) / 2
	if sums[best] > 0 {
		middle = 0
		for i, v := range info[best:][:n] {
			middle += (float64(best+i) + 0.5) * v / sums[best]
		}
	}
	at, off := best, math.Inf(1)
	for i, v := range sums {
		if d := math.Abs(float64(i) + float64(n)/2 - middle); v >= nearly*sums[best] && d < off {
			at, off = i, d
		}
	}
	return all.at + math.Min(float64(at)*perSample, all.size-part.size)
}
