package resize

import (
	"image"
	"math"

	"github.com/imagecdn/imagecdn/internal/kernel"
)

// unsharp adds so much of what luma differs from its surroundings to all channels: what is sharpened keeps its hue, and nothing gets
// coloured edges.
func (e *effects) unsharp(sigma, amount float64) {
	if e.err != nil {
		return
	}
	around, err := e.surroundings(sigma)
	if err != nil {
		e.err = err
		return
	}
	k := int32(math.Floor(amount*256 + 0.5)) // Q8, of Q8
	const half = 1 << 15
	if e.gray() {
		e.each(func(y int, row []uint8) {
			blurred := around(y)
			for x, v := range row {
				d := int32(v)<<8 - blurred[x]
				row[x] = uint8(min(max(int32(v)+(d*k+half)>>16, 0), 255))
			}
		})
		return
	}
	e.each(func(y int, row []uint8) {
		blurred := around(y)
		for px := row; len(px) >= 4 && len(blurred) > 0; px, blurred = px[4:], blurred[1:] {
			r, g, b := int32(px[0]), int32(px[1]), int32(px[2])
			d := luma15(r, g, b)>>7 - blurred[0]
			more := (d*k + half) >> 16
			px[0] = uint8(min(max(r+more, 0), 255))
			px[1] = uint8(min(max(g+more, 0), 255))
			px[2] = uint8(min(max(b+more, 0), 255))
		}
	})
}

// surroundings gives rows of blurred luma, Q8, each valid until the next. They are of the picture as it is now, and asked for in order.
//
// Half a level less or more would be seen where smooth skies are sharpened, so neither luma nor blurred luma is rounded to 8 bits
// where it need not be: not in opaque pictures, with the small blurs that sharpening takes.
func (e *effects) surroundings(sigma float64) (func(y int) []int32, error) {
	b := e.m.Bounds()
	w, h := b.Dx(), b.Dy()
	out := make([]int32, w)
	if _, alpha := e.m.(*image.NRGBA); alpha {
		m, err := blurred(e.ctx, e.arena, e.m, sigma)
		if err != nil {
			return nil, err
		}
		px := planes(m)[0]
		return func(y int) []int32 {
			lumaRow(out, px.row(y), 4)
			return out
		}, nil
	}
	if smallSide(w, sigma) != w || smallSide(h, sigma) != h {
		m, err := blurred(e.ctx, e.arena, e.luma(), sigma)
		if err != nil {
			return nil, err
		}
		px := planes(m)[0]
		return func(y int) []int32 {
			lumaRow(out, px.row(y), 1)
			return out
		}, nil
	}
	// Rows are wide ones (see package kernel), which are Q8 too.
	src := make([]int16, w*h)
	channels := planes(e.m)[0].ch
	e.each(func(y int, row []uint8) {
		lumaRow(out, row, channels)
		wide := src[y*w:][:w]
		for x, v := range out {
			wide[x] = int16(v - 1<<15)
		}
	})
	var s scratch
	s.gaussian(&s.across, w, sigma, 1)
	s.gaussian(&s.down, h, sigma, 0)
	between, wide := make([]int16, w+kernel.Slack), make([]int16, w)
	return func(y int) []int32 {
		first, weights := s.down.Row(y)
		kernel.DownWide(between[:w], src[first*w:], w, weights)
		kernel.AcrossWide(wide, between, &s.across)
		for x, v := range wide {
			out[x] = int32(v) + 1<<15
		}
		return out
	}, e.err
}

// lumaRow gives the luma of a row of pixels, Q8.
func lumaRow(dst []int32, row []uint8, channels int) {
	if channels == 1 {
		for x, v := range row {
			dst[x] = int32(v) << 8
		}
		return
	}
	for x := range dst {
		c := row[4*x:][:4]
		dst[x] = luma15(int32(c[0]), int32(c[1]), int32(c[2])) >> 7
	}
}

// luma is that of e's picture, which is left alone.
func (e *effects) luma() *image.Gray {
	if m, ok := e.m.(*image.Gray); ok {
		return m
	}
	b := e.m.Bounds()
	dst := newImage(&image.Gray{}, b.Dx(), b.Dy(), e.arena.alloc).(*image.Gray)
	e.each(func(y int, row []uint8) {
		out := dst.Pix[y*dst.Stride:][:dst.Stride]
		for x := range out {
			c := row[4*x:][:4]
			out[x] = uint8((luma15(int32(c[0]), int32(c[1]), int32(c[2])) + 1<<14) >> 15)
		}
	})
	return dst
}

// reduceNoise carries out Adjust.NoiseReduction and NoiseThreshold.
func (e *effects) reduceNoise(threshold, sharpen float64) {
	if e.err != nil {
		return
	}
	const sigma = 1.5
	m, err := blurred(e.ctx, e.arena, e.m, sigma)
	if err != nil {
		e.err = err
		return
	}
	around := planes(m)[0]

	// By how much luma differs, in eighths of a level: how much of the difference is added, Q14, to luma and taken off each channel.
	const steps = 255 << 3
	var edge, noise [steps + 1]int32
	for d := range edge {
		weight := 1.0
		if threshold != 0 {
			far := float64(d) / steps * 1000 / threshold
			weight = min(far*far, 1)
		}
		edge[d] = int32(math.Floor(weight*sharpen/50*(1<<14) + 0.5))
		noise[d] = int32(math.Floor((1-weight)*math.Copysign(1, threshold)*(1<<14) + 0.5))
	}
	const half = 1 << 13
	gray := e.gray()
	e.each(func(y int, row []uint8) {
		from := around.row(y)
		if gray {
			for x, v := range row {
				d := int32(v) - int32(from[x])
				i := max(d, -d) << 3
				row[x] = uint8(min(max(int32(v)+(d*(edge[i]-noise[i])+half)>>14, 0), 255))
			}
			return
		}
		for px, q := row, from; len(px) >= 4 && len(q) >= 4; px, q = px[4:], q[4:] {
			r, g, b := int32(px[0])-int32(q[0]), int32(px[1])-int32(q[1]), int32(px[2])-int32(q[2])
			d := luma15(r, g, b)
			i := (max(d, -d) + 1<<11) >> 12
			more := int32((int64(d)*int64(edge[i]) + 1<<14) >> 15)
			px[0] = uint8(min(max(int32(px[0])+(more-r*noise[i]+half)>>14, 0), 255))
			px[1] = uint8(min(max(int32(px[1])+(more-g*noise[i]+half)>>14, 0), 255))
			px[2] = uint8(min(max(int32(px[2])+(more-b*noise[i]+half)>>14, 0), 255))
		}
	})
}
