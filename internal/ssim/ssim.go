// Package ssim measures how alike two pictures look: the mean structural similarity of Wang, Bovik, Sheikh and
// Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE Transactions on Image
// Processing 13 (2004). Tests and benchmarks are held to it; nothing that serves pictures imports it.
//
//	v, err := ssim.Mean(ssim.Of(a), ssim.Of(b)) // 1 where they are equal
package ssim

import (
	"fmt"
	"image"
	"math"
)

// Window is the side of the window that two pictures are compared in, in samples. No picture may be smaller.
const Window = 11

// sigma is the standard deviation of the window's weights, in samples.
const sigma = 1.5

// A Plane is one channel of a picture: H rows of W samples, 0 to 255, without gaps.
type Plane struct {
	W, H int
	V    []float64
}

// Of gives the samples of m.
func Of(m *image.Gray) Plane {
	p := newPlane(m.Rect.Dx(), m.Rect.Dy())
	for y := range p.H {
		row := p.V[y*p.W:][:p.W]
		for x, v := range m.Pix[y*m.Stride:][:p.W] {
			row[x] = float64(v)
		}
	}
	return p
}

func newPlane(w, h int) Plane { return Plane{w, h, make([]float64, w*h)} }

// Mean is the mean of SSIM over all places where the window is inside of the picture, with the constants of the paper
// (K1 0.01, K2 0.03, range 255, a Gaussian window of 11 by 11 samples with a deviation of 1.5), and without the
// reduction beforehand that later programs of its authors have. It is 1 for equal pictures and -1 at least. Pictures of
// unequal sizes, or smaller than the window, are an error.
func Mean(a, b Plane) (float64, error) {
	if a.W != b.W || a.H != b.H || a.W < Window || a.H < Window {
		return 0, fmt.Errorf("no SSIM of %dx%d and %dx%d", a.W, a.H, b.W, b.H)
	}
	g := window()
	mid := make([]float64, (a.W-Window+1)*a.H)
	mean := func(p, q Plane) []float64 {
		r := newPlane(a.W, a.H)
		for i, v := range p.V[:len(r.V)] {
			r.V[i] = v * q.V[i]
		}
		return blur(&g, mid, r)
	}
	aa, bb, ab := mean(a, a), mean(b, b), mean(a, b)
	ma, mb := blur(&g, mid, a), blur(&g, mid, b)
	const c1, c2 = (0.01 * 255) * (0.01 * 255), (0.03 * 255) * (0.03 * 255)
	var sum float64
	for i, x := range ma {
		y := mb[i]
		varA, varB, cov := aa[i]-x*x, bb[i]-y*y, ab[i]-x*y
		sum += (2*x*y + c1) * (2*cov + c2) / ((x*x + y*y + c1) * (varA + varB + c2))
	}
	return sum / float64(len(ma)), nil
}

// window is one side of the window, whose weights are its square. They add up to one.
func window() (g [Window]float64) {
	var sum float64
	for i := range g {
		x := float64(i - Window/2)
		g[i] = math.Exp(-x * x / (2 * sigma * sigma))
		sum += g[i]
	}
	for i := range g {
		g[i] /= sum
	}
	return g
}

// blur weighs each sample's surroundings by the window: across, in the memory of mid, and then down. What it gives is
// smaller by the window less one.
func blur(g *[Window]float64, mid []float64, p Plane) []float64 {
	w, h := p.W-Window+1, p.H-Window+1
	for y := range p.H {
		row, to := p.V[y*p.W:][:p.W], mid[y*w:][:w]
		for x := range to {
			var sum float64
			for i, v := range row[x:][:Window] {
				sum += g[i] * v
			}
			to[x] = sum
		}
	}
	out := make([]float64, w*h)
	for y := range h {
		to := out[y*w:][:w]
		for i, k := range g {
			for x, v := range mid[(y+i)*w:][:w] {
				to[x] += k * v
			}
		}
	}
	return out
}
