package resize

import (
	"context"
	"image"
)

// A pose is how a stored picture becomes upright: rows and columns swapped first, then mirrored.
// Together these give all eight EXIF orientations and every combination with a flip.
type pose struct {
	swap         bool
	flipX, flipY bool
}

// poses are the EXIF orientations (TIFF 6.0, tag 274), by number.
var poses = [9]pose{
	1: {},
	2: {flipX: true},
	3: {flipX: true, flipY: true},
	4: {flipY: true},
	5: {swap: true},
	6: {swap: true, flipX: true},
	7: {swap: true, flipX: true, flipY: true},
	8: {swap: true, flipY: true},
}

func poseOf(orientation int, f Flip) pose {
	p := poses[0]
	if orientation >= 1 && orientation <= 8 {
		p = poses[orientation]
	}
	if f == Horizontal || f == Both {
		p.flipX = !p.flipX
	}
	if f == Vertical || f == Both {
		p.flipY = !p.flipY
	}
	return p
}

// size gives the upright size of a picture stored as w by h.
func (p pose) size(w, h int) (int, int) {
	if p.swap {
		return h, w
	}
	return w, h
}

// stored takes spans of the upright picture, w by h, to spans of the stored one.
func (p pose) stored(x, y span, w, h int) (span, span) {
	if p.flipX {
		x = x.mirrored(w)
	}
	if p.flipY {
		y = y.mirrored(h)
	}
	if p.swap {
		return y, x
	}
	return x, y
}

// shownAs takes spans of the stored picture, w by h, to spans of the upright one. Neither is mirrored.
func (p pose) shownAs(x, y span, w, h int) (span, span) {
	if p.swap {
		x, y, w, h = y, x, h, w
	}
	if p.flipX {
		x = x.mirrored(w)
	}
	if p.flipY {
		y = y.mirrored(h)
	}
	x.flip, y.flip = false, false
	return x, y
}

func (s span) mirrored(n int) span {
	return span{at: float64(n) - s.at - s.size, size: s.size, lo: n - s.hi, hi: n - s.lo, flip: !s.flip}
}

// upright gives the spans x and y of an upright original, of fullW by fullH, as w by h pixels, in a's memory or src's. The error is the cause of
// ctx's end.
func (p pose) upright(ctx context.Context, a *arena, src source, x, y span, w, h int, fullW, fullH int, halve bool) (image.Image, error) {
	x, y = p.stored(x, y, fullW, fullH)
	b := src.m.Bounds()
	x, y = x.in(src.denom, src.at.X, b.Dx(), src.size.X), y.in(src.denom, src.at.Y, b.Dy(), src.size.Y)
	if !p.swap {
		return scale(ctx, a, src.m, x, y, w, h, halve)
	}
	m, err := scale(ctx, a, src.m, x, y, h, w, halve)
	if err != nil {
		return nil, err
	}
	if c, ok := m.(*image.YCbCr); ok {
		if rx, ry := subsampling(c.SubsampleRatio); rx != ry { // src itself, of unequal subsampling
			m, _ = rgb(m)
			m = opaque(m.(*image.NRGBA))
		}
	}
	return turned(m), nil
}
