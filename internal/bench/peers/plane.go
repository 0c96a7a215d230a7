package main

import (
	"bytes"
	"fmt"
	"image"
	_ "image/jpeg" // decodes what sides have made, and photographs
	_ "image/png"  // decodes photographs
	"math"

	"github.com/imagecdn/imagecdn/internal/ssim"
)

// A plane is the luma of a picture, 0 to 255, row by row.
type plane struct {
	w, h int
	v    []float64
}

func newPlane(w, h int) plane { return plane{w, h, make([]float64, w*h)} }

// samples gives p as package ssim has it.
func (p plane) samples() ssim.Plane { return ssim.Plane{W: p.w, H: p.h, V: p.v} }

// lumaOf decodes all of a picture by the standard library. Of a JPEG it is the Y that is in the file; else Y is as JFIF
// has it, not rounded.
func lumaOf(data []byte) (plane, error) {
	m, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return plane{}, err
	}
	b := m.Bounds()
	p := newPlane(b.Dx(), b.Dy())
	for y := range p.h {
		row := p.v[y*p.w:][:p.w]
		switch m := m.(type) {
		case *image.YCbCr:
			for x := range row {
				row[x] = float64(m.Y[m.YOffset(b.Min.X+x, b.Min.Y+y)])
			}
		case *image.Gray:
			for x := range row {
				row[x] = float64(m.GrayAt(b.Min.X+x, b.Min.Y+y).Y)
			}
		case *image.RGBA: // what image/png makes of pictures without alpha
			for x := range row {
				c := m.RGBAAt(b.Min.X+x, b.Min.Y+y)
				row[x] = 0.299*float64(c.R) + 0.587*float64(c.G) + 0.114*float64(c.B)
			}
		default:
			return plane{}, fmt.Errorf("the luma of %T is not defined here", m)
		}
	}
	return p, nil
}

// lanczos resizes in floating point, from all samples, by Lanczos3 as wide as the reduction, which is what the sides
// approximate. Samples beyond the edge are those at the edge.
func lanczos(src plane, w, h int) plane {
	weights := lanczosWeights(src.w, w)
	mid := newPlane(w, src.h)
	for y := range src.h {
		row := src.v[y*src.w:][:src.w]
		for x, t := range weights {
			var sum float64
			for i, k := range t.k {
				sum += k * row[min(max(t.from+i, 0), src.w-1)]
			}
			mid.v[y*w+x] = sum
		}
	}
	dst := newPlane(w, h)
	for y, t := range lanczosWeights(src.h, h) {
		out := dst.v[y*w:][:w]
		for i, k := range t.k {
			row := mid.v[min(max(t.from+i, 0), src.h-1)*w:][:w]
			for x, v := range row {
				out[x] += k * v
			}
		}
	}
	for i, v := range dst.v {
		dst.v[i] = min(max(v, 0), 255)
	}
	return dst
}

// taps are the weights of the samples from a place on.
type taps struct {
	from int
	k    []float64
}

func lanczosWeights(from, to int) []taps {
	ratio := float64(from) / float64(to)
	wide := math.Max(ratio, 1)
	all := make([]taps, to)
	for i := range all {
		at := (float64(i)+0.5)*ratio - 0.5
		t := taps{from: int(math.Ceil(at - 3*wide))}
		var sum float64
		for j := t.from; float64(j) <= at+3*wide; j++ {
			k := lanczos3((float64(j) - at) / wide)
			t.k = append(t.k, k)
			sum += k
		}
		for j := range t.k {
			t.k[j] /= sum
		}
		all[i] = t
	}
	return all
}

func lanczos3(x float64) float64 {
	switch {
	case x == 0:
		return 1
	case math.Abs(x) >= 3:
		return 0
	}
	return 3 * math.Sin(math.Pi*x) * math.Sin(math.Pi*x/3) / (math.Pi * math.Pi * x * x)
}

// cut leaves out n samples at each edge.
func (p plane) cut(n int) plane {
	c := newPlane(p.w-2*n, p.h-2*n)
	for y := range c.h {
		copy(c.v[y*c.w:][:c.w], p.v[(y+n)*p.w+n:])
	}
	return c
}
