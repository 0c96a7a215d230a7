package resize

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"image"
	"math"
	"math/rand/v2"
	"testing"

	"golang.org/x/image/draw"
	"golang.org/x/image/math/f64"
)

// TestWeights: of any stretch at any size, weights add up to one exactly, stay within the picture, and are never
// so far apart that the sums between would not fit.
func TestWeights(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 5))
	s := new(scratch)
	for range 3000 {
		size := 1 + r.IntN(1<<r.IntN(12))
		n := 1 + r.IntN(1<<r.IntN(9))
		x := whole(size)
		if r.IntN(2) == 0 { // a part, from anywhere to anywhere
			x.at = r.Float64() * float64(size)
			x.size = max(r.Float64()*(float64(size)-x.at), 1e-3)
			x.lo, x.hi = r.IntN(int(x.at)+1), min(int(math.Ceil(x.at+x.size))+r.IntN(9), size)
			x.flip = r.IntN(2) == 0
		}
		k := shrinkFactor(x.size / float64(n))
		part, shrunk := x.around(n, k)
		if part.lo < x.lo || part.lo+part.size > x.hi || part.k > k {
			t.Fatalf("%+v to %d in boxes of %d: %+v", x, n, k, part)
		}
		check := func(what string, size int) {
			for i := range s.down.Len() {
				first, weights := s.down.Row(i)
				sum, all := 0, 0
				for _, w := range weights {
					sum += int(w)
					all += max(int(w), -int(w))
				}
				if first < 0 || first+len(weights) > size || sum != 1<<weightBits || all > 7<<weightBits/4 {
					t.Fatalf("%+v to %d, %s: output %d is from %d of %d, with weights %v", x, n, what, i, first, size, weights)
				}
			}
		}
		s.boxes(&s.down, part, 0)
		if s.down.Len() != part.boxes {
			t.Fatalf("%d boxes, want %d", s.down.Len(), part.boxes)
		}
		check("boxes", part.size)
		s.lanczos(&s.down, shrunk, n, 0)
		check("lanczos", part.boxes)
	}
}

// TestWeightsAreTheSameEverywhere: on every architecture, to the last bit.
func TestWeightsAreTheSameEverywhere(t *testing.T) {
	sum := fnv.New64a()
	s := new(scratch)
	for size := 3; size < 3000; size = size*5/4 + 1 {
		for n := 1; n < 1500; n = n*4/3 + 1 {
			x := whole(size)
			x.at, x.size = x.size/7, x.size*0.77
			s.lanczos(&s.down, x, n, 0)
			for i := range n {
				first, weights := s.down.Row(i)
				binary.Write(sum, binary.LittleEndian, int32(first))
				binary.Write(sum, binary.LittleEndian, weights)
			}
		}
	}
	if got, want := sum.Sum64(), uint64(0x8b471b2020cff025); got != want {
		t.Errorf("the weights add up to %#x, where this was written to %#x", got, want)
	}
}

// TestResample compares with the reference where plans seldom go: reductions so large that boxes are at their
// bound, sizes below what assembly takes, parts, mirrored, of every kind of raster.
func TestResample(t *testing.T) {
	photo := toNRGBA(independent(t, sample(t, "chelsea.png"))) // 451x300
	for _, tt := range []struct {
		x, y  span
		w, h  int
		least float64
	}{
		{whole(451), whole(300), 200, 133, 45},
		{whole(451), whole(300), 100, 66, 45},
		{whole(451), whole(300), 44, 29, 45},
		{whole(451), whole(300), 3, 2, 45},
		{whole(451), whole(300), 1, 1, 45},
		{whole(451), whole(300), 300, 1, 45},
		{whole(451), whole(300), 1, 300, 45},
		{whole(451), whole(300), 600, 50, 45},
		{whole(451), whole(300), 451, 150, 45},
		{span{at: 100.3, size: 61.7, lo: 0, hi: 451}, span{at: 50.9, size: 88.2, lo: 0, hi: 300}, 31, 44, 45},
		{span{at: 100.3, size: 261.7, lo: 0, hi: 451, flip: true}, span{at: 5.9, size: 288.2, lo: 0, hi: 300, flip: true}, 31, 24, 45},
		{span{at: 7, size: 5, lo: 0, hi: 451}, span{at: 9, size: 5, lo: 0, hi: 300}, 7, 9, 45},
	} {
		name := fmt.Sprintf("%gx%g to %dx%d", tt.x.size, tt.y.size, tt.w, tt.h)
		mirrored := func(c canvas) canvas {
			out := newCanvas(c.w, c.h)
			for y := range c.h {
				for x := range c.w {
					sx, sy := x, y
					if tt.x.flip {
						sx = c.w - 1 - x
					}
					if tt.y.flip {
						sy = c.h - 1 - y
					}
					*out.at(x, y) = *c.at(sx, sy)
				}
			}
			return out
		}
		gray := image.NewGray(photo.Rect)
		veil := image.NewNRGBA(photo.Rect)
		for i := range gray.Pix {
			gray.Pix[i] = photo.Pix[4*i+1]
			copy(veil.Pix[4*i:], photo.Pix[4*i:][:3])
			veil.Pix[4*i+3] = uint8(128 + 127*math.Sin(float64(i%451)/23)*math.Cos(float64(i/451)/31))
		}
		for _, m := range []image.Image{gray, &image.RGBA{Pix: photo.Pix, Stride: photo.Stride, Rect: photo.Rect}, veil} {
			t.Run(fmt.Sprintf("%s/%T", name, m), func(t *testing.T) {
				got, err := scale(t.Context(), nil, m, tt.x, tt.y, tt.w, tt.h, false)
				if err != nil {
					t.Fatal(err)
				}
				want := slowResize(toCanvas(m), tt.x.at, tt.y.at, tt.x.size, tt.y.size, tt.w, tt.h)
				same(t, toCanvas(got), mirrored(want), tt.least)
			})
		}
	}
}

// endsAfter is a context that is done once it was asked n times.
type endsAfter struct {
	context.Context
	left int
}

var errEnded = errors.New("ended")

func (c *endsAfter) Err() error {
	if c.left--; c.left < 0 {
		return errEnded
	}
	return nil
}

// TestResampleStops: between any two rows, whether of the output or of what is made ready for it.
func TestResampleStops(t *testing.T) {
	for _, m := range []image.Image{soft(300, 300), toNRGBA(soft(40, 40)), image.NewGray(image.Rect(0, 0, 900, 900))} {
		asked := &endsAfter{context.Background(), math.MaxInt}
		b := m.Bounds()
		if _, err := scale(asked, nil, m, whole(b.Dx()), whole(b.Dy()), 50, 60, false); err != nil {
			t.Fatal(err)
		}
		calls := math.MaxInt - asked.left
		if calls < 60 {
			t.Errorf("%T %v: asked %d times for 60 rows", m, b.Size(), calls)
		}
		for left := 0; left < calls; left += 7 {
			got, err := scale(&endsAfter{context.Background(), left}, nil, m, whole(b.Dx()), whole(b.Dy()), 50, 60, false)
			if err == nil || got != nil {
				t.Fatalf("%T %v: done after %d of %d, it gave %v, %v", m, b.Size(), left, calls, got, err)
			}
		}
	}
}

// TestRotateStops: every few rows, and what is made of some rows at a time is what package draw makes of all at once.
func TestRotateStops(t *testing.T) {
	m := toNRGBA(independent(t, sample(t, "chelsea.png")))
	asked := &endsAfter{context.Background(), math.MaxInt}
	got, err := rotate(asked, m, 12, 300, 200)
	if err != nil {
		t.Fatal(err)
	}
	calls := math.MaxInt - asked.left
	if calls < 200/16 {
		t.Errorf("asked %d times for 200 rows", calls)
	}
	for left := range calls {
		if m, err := rotate(&endsAfter{context.Background(), left}, m, 12, 300, 200); err == nil || m != nil {
			t.Fatalf("done after %d of %d, it gave %v, %v", left, calls, m, err)
		}
	}
	in := image.NewRGBA(m.Rect)
	draw.Draw(in, in.Rect, m, image.Point{}, draw.Src)
	want := image.NewRGBA(image.Rect(0, 0, 300, 200))
	sin, cos := sincos(12)
	cx, cy := float64(m.Rect.Dx())/2, float64(m.Rect.Dy())/2
	draw.CatmullRom.Transform(want, f64.Aff3{cos, sin, 150 - cos*cx - sin*cy, -sin, cos, 100 + sin*cx - cos*cy}, in, in.Rect, draw.Src, nil)
	samePixels(t, got, want)
}

func TestTranspose(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	for _, ch := range []int{1, 4} {
		for w := 1; w < 35; w += 3 {
			for h := 1; h < 35; h++ {
				src := raster{stride: w*ch + r.IntN(9), w: w, h: h, ch: ch}
				src.pix = make([]uint8, src.stride*(h-1)+w*ch) // no byte more
				for i := range src.pix {
					src.pix[i] = uint8(r.IntN(256))
				}
				dst := transpose(src)
				if dst.w != h || dst.h != w || dst.ch != ch {
					t.Fatalf("%dx%d becomes %dx%d", w, h, dst.w, dst.h)
				}
				for y := range h {
					for x := range w {
						if got, want := dst.row(x)[y*ch:][:ch], src.row(y)[x*ch:][:ch]; !bytes.Equal(got, want) {
							t.Fatalf("%dx%d, %d channels: %d,%d is %v, want %v", w, h, ch, x, y, got, want)
						}
					}
				}
			}
		}
	}
}

// TestSolid finds the one pixel that is not opaque, wherever it is.
func TestSolid(t *testing.T) {
	for w := 1; w < 40; w++ {
		const h, gap = 3, 5
		pix := bytes.Repeat([]byte{0, 1, 2, 255}, (w+gap)*h)
		pix = pix[:4*((w+gap)*(h-1)+w)]
		for i := 3; i < len(pix); i += 4 {
			inside := i/4%(w+gap) < w
			pix[i] = 254
			if got := solid(pix, 4*(w+gap), w, h); got == inside {
				t.Fatalf("width %d, pixel %d: solid is %v", w, i/4, got)
			}
			pix[i] = 255
		}
	}
}
