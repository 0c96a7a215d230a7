package resize

import (
	"context"
	"image"
	"math"

	"github.com/imagecdn/imagecdn/internal/kernel"
)

// Blurring is a Gaussian of stored values, weighted by alpha, as blur() of W3C Filter Effects has it. Beyond an edge the picture is taken
// to go on mirrored, so that edges neither darken nor show through.
//
// A large standard deviation leaves nothing that a small picture could not hold. So the picture is made smaller first, blurred by as much
// less, and enlarged after: what a blur costs grows up to a deviation of blurDirect and falls from there on.
const (
	blurDirect = 6.0 // up to this standard deviation, in pixels, the sum is of the picture's own
	blurSmall  = 4.5 // of a picture that is made smaller
	blurLeast  = 64  // pixels that a side is not made smaller than
)

// smallSide is how many of n pixels are enough for a blur.
func smallSide(n int, sigma float64) int {
	if sigma <= blurDirect {
		return n
	}
	return min(n, max(blurLeast, int(math.Ceil(float64(n)*blurSmall/sigma))))
}

// blurred gives m blurred, apart from m.
func blurred(ctx context.Context, a *arena, m image.Image, sigma float64) (image.Image, error) {
	b := m.Bounds()
	w, h := b.Dx(), b.Dy()
	sw, sh := smallSide(w, sigma), smallSide(h, sigma)
	small, err := scale(ctx, a, m, whole(w), whole(h), sw, sh, false)
	if err != nil {
		return nil, err
	}
	dst := newImage(m, sw, sh, a.alloc)
	if err := convolve(ctx, planes(dst)[0], planes(small)[0], sigma*float64(sw)/float64(w), sigma*float64(sh)/float64(h)); err != nil {
		return nil, err
	}
	return scale(ctx, a, dst, whole(sw), whole(sh), w, h, false)
}

// convolve blurs src into dst. The standard deviations are in pixels.
func convolve(ctx context.Context, dst, src raster, sigmaX, sigmaY float64) error {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	b := band{scratch: s, src: src, x: stretch{0, src.w, 1, src.w}, y: stretch{0, src.h, 1, src.h}}
	s.gaussian(&s.across, src.w, sigmaX, src.ch)
	s.gaussian(&s.down, src.h, sigmaY, 0)
	return b.convolve(ctx, dst)
}

// gaussian makes f the filter that blurs n samples, of so many channels. What a filter would take from beyond an end it takes from the mirror
// image within.
func (s *scratch) gaussian(f *kernel.Filter, n int, sigma float64, channels int) {
	// With a deviation of twice the side, the mirrored weights are all the same to nine digits.
	sigma = min(sigma, 2*float64(n))
	reach := int(math.Ceil(3.5 * sigma))
	taps := min(2*reach+1, n)
	f.Init(n, taps, channels)
	bell := make([]float64, reach+1)
	for i := range bell {
		// In single precision, as in lanczosTable.
		bell[i] = float64(float32(math.Exp(-float64(i*i) / (2 * sigma * sigma))))
	}
	s.exact, s.weight = grow(s.exact, taps), grow(s.weight, taps)
	same := -1 // the output whose weights are those of all in the middle
	for i := range (n + 1) / 2 {
		first := min(max(i-reach, 0), n-taps)
		middle := i >= reach && i+reach < n
		if !middle || same < 0 {
			clear(s.exact)
			sum := 0.0
			for d := -reach; d <= reach; d++ {
				at := i + d
				for at < 0 || at >= n {
					if at < 0 {
						at = -1 - at
					} else {
						at = 2*n - 1 - at
					}
				}
				v := bell[max(d, -d)]
				s.exact[at-first] += v
				sum += v
			}
			total, given := 0.0, 0
			for k, v := range s.exact {
				total += v
				upTo := int(math.Floor(float64(total*((1<<weightBits)/sum)) + 0.5))
				s.weight[k] = int16(upTo - given)
				given = upTo
			}
			if middle {
				same = i
			}
		}
		f.Set(i, first, s.weight)
		if other := n - 1 - i; other != i { // mirrored, so that blurring and mirroring commute
			for k := range taps / 2 {
				s.weight[k], s.weight[taps-1-k] = s.weight[taps-1-k], s.weight[k]
			}
			f.Set(other, n-taps-first, s.weight)
			for k := range taps / 2 {
				s.weight[k], s.weight[taps-1-k] = s.weight[taps-1-k], s.weight[k]
			}
		}
	}
}

// blur carries out Stylize.Blur.
func (e *effects) blur(sigma float64) {
	const nothing = 0.2 // up to this, a pixel's neighbours have no weight that 14 bits can say
	if e.err != nil || sigma <= nothing {
		return
	}
	m, err := blurred(e.ctx, e.arena, e.m, sigma)
	if err != nil {
		e.err = err
		return
	}
	e.m = m
}
