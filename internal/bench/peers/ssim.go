package main

import (
	"fmt"
	"math"
)

// ssimWindow is 11 samples of a Gaussian of standard deviation 1.5, of sum 1; the window is its square.
var ssimWindow = func() (g [11]float64) {
	var sum float64
	for i := range g {
		x := float64(i - len(g)/2)
		g[i] = math.Exp(-x * x / (2 * 1.5 * 1.5))
		sum += g[i]
	}
	for i := range g {
		g[i] /= sum
	}
	return g
}()

// ssim is the mean structural similarity of Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error
// Visibility to Structural Similarity", IEEE Transactions on Image Processing 13 (2004), with the constants of the paper
// (K1 0.01, K2 0.03, range 255, window 11x11 Gaussian of 1.5), where the window is inside of the picture, and without the
// reduction beforehand that later programs of the authors have.
func ssim(a, b plane) (float64, error) {
	n := len(ssimWindow)
	if a.w != b.w || a.h != b.h || a.w < n || a.h < n {
		return 0, fmt.Errorf("no SSIM of %dx%d and %dx%d", a.w, a.h, b.w, b.h)
	}
	product := func(p, q plane) plane {
		r := newPlane(p.w, p.h)
		for i := range r.v {
			r.v[i] = p.v[i] * q.v[i]
		}
		return blur(r)
	}
	ma, mb, aa, bb, ab := blur(a), blur(b), product(a, a), product(b, b), product(a, b)
	const c1, c2 = (0.01 * 255) * (0.01 * 255), (0.03 * 255) * (0.03 * 255)
	var sum float64
	for i := range ma.v {
		x, y := ma.v[i], mb.v[i]
		varA, varB, cov := aa.v[i]-x*x, bb.v[i]-y*y, ab.v[i]-x*y
		sum += (2*x*y + c1) * (2*cov + c2) / ((x*x + y*y + c1) * (varA + varB + c2))
	}
	return sum / float64(len(ma.v)), nil
}

// blur weighs each sample's surroundings by the window. What it gives is smaller by the window less one.
func blur(p plane) plane {
	n := len(ssimWindow)
	mid := newPlane(p.w-n+1, p.h)
	for y := range mid.h {
		row := p.v[y*p.w:][:p.w]
		for x := range mid.w {
			var sum float64
			for i, k := range ssimWindow {
				sum += k * row[x+i]
			}
			mid.v[y*mid.w+x] = sum
		}
	}
	out := newPlane(mid.w, p.h-n+1)
	for y := range out.h {
		to := out.v[y*out.w:][:out.w]
		for i, k := range ssimWindow {
			for x, v := range mid.v[(y+i)*mid.w:][:mid.w] {
				to[x] += k * v
			}
		}
	}
	return out
}
