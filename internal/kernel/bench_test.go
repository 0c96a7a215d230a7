package kernel

import (
	"math/rand/v2"
	"testing"
)

// BenchmarkKernels gives the speed of each loop by the bytes it reads, assembly and Go beside each other: 2400
// samples a row, a reduction by two.
func BenchmarkKernels(b *testing.B) {
	const n, taps = 2400, 12
	r := rand.New(rand.NewPCG(1, 2))
	noise := func(int) float64 { return r.Float64() }
	narrow, wide := narrowRow(n*taps, noise), wideRow(n*taps+Slack, noise)
	weights := randomWeights(r, taps, false)
	filter := func(outputs, channels int) *Filter {
		f := new(Filter)
		f.Init(outputs, taps, channels)
		for i := range outputs {
			f.Set(i, min(2*i, n/channels-taps), weights)
		}
		return f
	}
	f1, f4 := filter(n/2, 1), filter(n/8, 4)
	row, out, deep := make([]int16, n), make([]uint8, 4*n), make([]int16, n)
	for _, bb := range []struct {
		name      string
		size      int
		run, twin func()
	}{
		{"down", n * taps, func() { Down(row, narrow, n, weights) }, func() { downNarrowGo(row, narrow, n, weights) }},
		{"down-wide", 2 * n * taps, func() { DownWide(row, wide, n, weights) }, func() { downWideGo(row, wide, n, weights) }},
		{"across-1", 2 * n, func() { Across(out[:n/2], wide, f1) }, func() { across1Go(out[:n/2], wide, f1) }},
		{"across-1-wide", 2 * n, func() { AcrossWide(deep[:n/2], wide, f1) }, func() { across1WideGo(deep[:n/2], wide, f1) }},
		{"across-4", 2 * n, func() { Across(out[:n/2], wide, f4) }, func() { across4Go(out[:n/2], wide, f4) }},
		{"across-4-wide", 2 * n, func() { AcrossWide(deep[:n/2], wide, f4) }, func() { across4WideGo(deep[:n/2], wide, f4) }},
		{"across-alpha", 2 * n, func() { AcrossAlpha(out[:n/2], wide, f4) }, func() { acrossAlphaGo(out[:n/2], wide, f4) }},
		{"premultiply", n, func() { Premultiply(row, narrow) }, func() { premultiplyGo(row, narrow[:n]) }},
		{"rgba", 3 * n, func() { YCbCrToRGBA(out, narrow, narrow[n:], narrow[2*n:]) },
			func() { yCbCrToRGBAGo(out, narrow[:n], narrow[n:2*n], narrow[2*n:3*n]) }},
	} {
		for _, way := range []struct {
			name string
			f    func()
		}{{"best", bb.run}, {"go", bb.twin}} {
			b.Run(bb.name+"/by="+way.name, func(b *testing.B) {
				b.SetBytes(int64(bb.size))
				for b.Loop() {
					way.f()
				}
			})
		}
	}
}
