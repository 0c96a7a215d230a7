// Package faces finds faces in pictures for package resize, which cuts and zooms to them.
//
//	finder, err := faces.New(nil)
//	found, err := finder.Find(ctx, gray)
//
// It asks a cascade of decision trees about windows of all sizes (Markuš et al., "Object Detection with Pixel Intensity
// Comparisons Organized in Decision Trees", 2013), by github.com/esimov/pigo and with the cascade that comes with it.
// That knows faces that look at the camera, upright or nearly so; not profiles, nor faces on their side.
//
// A Finder is used by many goroutines at once. Equal pictures have equal faces on all processors: the cascade compares
// integers and adds numbers in one order, and everything around it is in integers.
package faces

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"image"
	"slices"

	pigo "github.com/esimov/pigo/core"

	"github.com/imagecdn/imagecdn/resize"
)

// facefinder is pigo's cascade/facefinder of v1.4.6, which is pico's; LICENSE.facefinder is beside it.
//
//go:embed facefinder
var facefinder []byte

const (
	// maxSide is the longer side of what is looked at. Time grows with its square, and a face of a 32nd of the picture
	// is not what anybody cuts to.
	maxSide = 640

	// minFace is the smallest window, in pixels of what is looked at. The cascade was made for 24 and more.
	minFace = 24
)

// Options are what New may be told. Nil and zero mean the defaults.
type Options struct {
	// MinScore is what a face has to have. Of two portraits one has 79 and one 341; of 21 pictures without faces
	// (landscapes, plants, animals, stars) most have nothing, and one of drops of water has most, 12. Zero means 20.
	// Negative means any above 0.
	MinScore float64

	// MaxFaces is how many are given at most, those with the highest scores. Zero means 32. Negative means no limit.
	MaxFaces int
}

// A Finder finds faces. It is a resize.FaceFinder.
type Finder struct {
	cascade *pigo.Pigo
	min     float64
	most    int
}

var _ resize.FaceFinder = (*Finder)(nil)

// New gives a Finder.
func New(opts *Options) (*Finder, error) {
	if opts == nil {
		opts = new(Options)
	}
	cascade, err := pigo.NewPigo().Unpack(facefinder)
	if err != nil {
		return nil, fmt.Errorf("faces: %w", err)
	}
	f := &Finder{cascade, opts.MinScore, opts.MaxFaces}
	if f.min == 0 {
		f.min = 20
	}
	if f.most == 0 {
		f.most = 32
	}
	return f, nil
}

// Find implements resize.FaceFinder. It looks at m at 640 pixels for its longer side, if it is larger; there, a face is
// found from 24 pixels on.
func (f *Finder) Find(ctx context.Context, m *image.Gray) ([]resize.Face, error) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	if w < minFace || h < minFace {
		return nil, context.Cause(ctx)
	}
	small := shrink(m)
	sw, sh := small.Rect.Dx(), small.Rect.Dy()
	params := pigo.CascadeParams{
		ShiftFactor: 0.1,
		ScaleFactor: 1.1,
		ImageParams: pigo.ImageParams{Pixels: small.Pix, Rows: sh, Cols: sw, Dim: small.Stride},
	}
	var hits []pigo.Detection
	// One size at a time, so that it can be stopped. Sizes grow by a tenth, in integers.
	for size := minFace; size <= min(sw, sh); size += max(size/10, 2) {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		params.MinSize, params.MaxSize = size, size
		hits = append(hits, f.cascade.RunCascade(params, 0)...)
	}
	faces := make([]resize.Face, 0)
	for _, c := range clusters(hits) {
		if c.score <= max(f.min, 0) {
			continue
		}
		// The window is around the face's middle.
		r := image.Rect(c.x-c.size/2, c.y-c.size/2, c.x+c.size/2, c.y+c.size/2)
		r = image.Rect(r.Min.X*w/sw, r.Min.Y*h/sh, r.Max.X*w/sw, r.Max.Y*h/sh).Add(m.Rect.Min).Intersect(m.Rect)
		if !r.Empty() {
			faces = append(faces, resize.Face{Rect: r, Score: c.score})
		}
	}
	if f.most > 0 && len(faces) > f.most {
		slices.SortStableFunc(faces, func(a, b resize.Face) int { return cmp.Compare(b.Score, a.Score) })
		faces = faces[:f.most]
	}
	slices.SortFunc(faces, func(a, b resize.Face) int {
		return cmp.Or(
			cmp.Compare(b.Rect.Dx()*b.Rect.Dy(), a.Rect.Dx()*a.Rect.Dy()),
			cmp.Compare(a.Rect.Min.Y, b.Rect.Min.Y),
			cmp.Compare(a.Rect.Min.X, b.Rect.Min.X),
			cmp.Compare(b.Score, a.Score),
		)
	})
	return slices.Clip(faces), nil
}

// A cluster is hits on one face: their mean, and the sum of how sure they are.
type cluster struct {
	x, y, size int
	score      float64
}

// clusters puts hits together that overlap the surest of them by a fifth of what both cover.
func clusters(hits []pigo.Detection) (all []cluster) {
	slices.SortFunc(hits, func(a, b pigo.Detection) int {
		return cmp.Or(cmp.Compare(b.Q, a.Q), cmp.Compare(a.Scale, b.Scale), cmp.Compare(a.Row, b.Row), cmp.Compare(a.Col, b.Col))
	})
	for len(hits) > 0 {
		top := hits[0]
		var c cluster
		n := 0
		hits = slices.DeleteFunc(hits, func(d pigo.Detection) bool {
			if !overlap(top, d) {
				return false
			}
			c.x, c.y, c.size = c.x+d.Col, c.y+d.Row, c.size+d.Scale
			c.score += float64(d.Q)
			n++
			return true
		})
		c.x, c.y, c.size = c.x/n, c.y/n, c.size/n
		all = append(all, c)
	}
	return all
}

// overlap says whether two windows share more than a fifth of what they cover.
func overlap(a, b pigo.Detection) bool {
	shared := func(p, q int) int { // of two spans, in halves of pixels
		return max(min(2*p+a.Scale, 2*q+b.Scale)-max(2*p-a.Scale, 2*q-b.Scale), 0)
	}
	both := shared(a.Row, b.Row) * shared(a.Col, b.Col)
	return 5*both > 4*(a.Scale*a.Scale+b.Scale*b.Scale)-both
}

// shrink gives m at maxSide, each pixel the mean of those that it stands for, or m itself where it is no larger.
func shrink(m *image.Gray) *image.Gray {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	if max(w, h) <= maxSide {
		return &image.Gray{Pix: m.Pix[m.PixOffset(m.Rect.Min.X, m.Rect.Min.Y):], Stride: m.Stride, Rect: image.Rect(0, 0, w, h)}
	}
	sw, sh := maxSide, max(h*maxSide/w, 1)
	if h > w {
		sw, sh = max(w*maxSide/h, 1), maxSide
	}
	dst := image.NewGray(image.Rect(0, 0, sw, sh))
	sums := make([]int, w)
	for y := range sh {
		y0, y1 := y*h/sh, (y+1)*h/sh
		clear(sums)
		for sy := y0; sy < y1; sy++ {
			for x, v := range m.Pix[m.PixOffset(m.Rect.Min.X, m.Rect.Min.Y+sy):][:w] {
				sums[x] += int(v)
			}
		}
		for x := range sw {
			x0, x1 := x*w/sw, (x+1)*w/sw
			sum := 0
			for _, v := range sums[x0:x1] {
				sum += v
			}
			n := (x1 - x0) * (y1 - y0)
			dst.Pix[y*dst.Stride+x] = uint8((sum + n/2) / n)
		}
	}
	return dst
}
