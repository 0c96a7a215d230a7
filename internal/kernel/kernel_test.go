package kernel

import (
	"fmt"
	"image/color"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// sources fill a row: noise, and what is as large, as small and as uneven as it gets.
var sources = []struct {
	name string
	at   func(r *rand.Rand, i int) float64 // 0 to 1
}{
	{"noise", func(r *rand.Rand, _ int) float64 { return r.Float64() }},
	{"nothing", func(*rand.Rand, int) float64 { return 0 }},
	{"all", func(*rand.Rand, int) float64 { return 1 }},
	{"edges", func(r *rand.Rand, _ int) float64 { return float64(r.IntN(2)) }},
	{"ramp", func(_ *rand.Rand, i int) float64 { return float64(i%256) / 255 }},
}

func narrowRow(n int, at func(i int) float64) []uint8 {
	row := make([]uint8, n)
	for i := range row {
		row[i] = uint8(at(i)*255 + 0.5)
	}
	return row
}

func wideRow(n int, at func(i int) float64) []int16 {
	row := make([]int16, n)
	for i := range row {
		row[i] = int16(at(i)*65535 - 32768)
	}
	return row
}

// randomWeights are of either sign and add up to one, or are anything at all.
func randomWeights(r *rand.Rand, n int, wild bool) []int16 {
	w := make([]int16, n)
	sum := 0
	for i := range w {
		v := r.IntN(1<<15) - 1<<13
		if wild {
			v = []int{math.MinInt16, math.MaxInt16, r.IntN(1<<16) - 1<<15}[r.IntN(3)]
		} else {
			v /= n
		}
		w[i] = int16(v)
		sum += v
	}
	if !wild {
		w[r.IntN(n)] += int16(1<<14 - sum)
	}
	return w
}

const longest = 257

// run calls f for every width and source.
func run(t *testing.T, f func(t *testing.T, r *rand.Rand, n int, at func(i int) float64)) {
	if !accelerated {
		t.Skip("there is only one implementation here")
	}
	for _, s := range sources {
		t.Run(s.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(7, 11))
			for n := 1; n <= longest && !t.Failed(); n++ {
				f(t, r, n, func(i int) float64 { return s.at(r, i) })
			}
		})
	}
}

// same compares, and looks at what lies behind what was asked for.
func same[T uint8 | int16](t *testing.T, what string, n int, run, twin func(dst []T)) {
	t.Helper()
	const guard = 64
	got, want := make([]T, n+guard), make([]T, n+guard)
	for i := range got {
		got[i], want[i] = 99, 99
	}
	run(got[:n:n])
	twin(want[:n:n])
	if !slices.Equal(got, want) {
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%s: %d of %d is %d, in Go %d", what, i, n, got[i], want[i])
				return
			}
		}
	}
}

func TestDown(t *testing.T) {
	e, deepEdge := newEdge(t), newEdge(t)
	run(t, func(t *testing.T, r *rand.Rand, n int, at func(int) float64) {
		for _, taps := range []int{1, 2, 3, 4, 6, 7, 13, 24} {
			for _, wild := range []bool{false, true} {
				w := randomWeights(r, taps, wild)
				stride := n + r.IntN(5)
				size := (taps-1)*stride + n // no byte more
				what := fmt.Sprintf("%d taps", taps)
				src := atEnd(e, narrowRow(size, at))
				same(t, what, n, func(dst []int16) { Down(dst, src, stride, w) },
					func(dst []int16) { downNarrowGo(dst, src, stride, w) })
				deep := atEnd(deepEdge, wideRow(size, at))
				same(t, what+", wide", n, func(dst []int16) { DownWide(dst, deep, stride, w) },
					func(dst []int16) { downWideGo(dst, deep, stride, w) })
			}
		}
	})
}

// randomFilter reads all of size inputs.
func randomFilter(r *rand.Rand, n, taps, size, channels int, wild bool) *Filter {
	f := new(Filter)
	f.Init(3, 5, channels) // what was in it before must not matter
	for i := range 3 {
		f.Set(i, i, randomWeights(r, 5, true))
	}
	f.Init(n, taps, channels)
	for _, i := range r.Perm(n) {
		start := r.IntN(size - taps + 1)
		if i == n-1 {
			start = size - taps
		}
		f.Set(i, start, randomWeights(r, taps, wild))
	}
	return f
}

func TestAcross(t *testing.T) {
	e := newEdge(t)
	run(t, func(t *testing.T, r *rand.Rand, n int, at func(int) float64) {
		for _, taps := range []int{1, 3, 4, 5, 8, 9, 12, 18, 33} {
			for _, wild := range []bool{false, true} {
				size := taps + r.IntN(2*n)
				for _, ch := range []int{1, 4} {
					f := randomFilter(r, n, taps, size, ch, wild)
					row := wideRow(size*ch+Slack, at)
					if !wild {
						for i, v := range row { // as Down leaves it, with some overshoot
							row[i] = int16(int(v)/3 + 8000)
						}
					}
					row = atEnd(e, row)
					what := fmt.Sprintf("%d taps, %d channels", taps, ch)
					if ch == 1 {
						same(t, what, n, func(dst []uint8) { Across(dst, row, f) }, func(dst []uint8) { across1Go(dst, row, f) })
						same(t, what+", wide", n, func(dst []int16) { AcrossWide(dst, row, f) }, func(dst []int16) { across1WideGo(dst, row, f) })
						continue
					}
					same(t, what, 4*n, func(dst []uint8) { Across(dst, row, f) }, func(dst []uint8) { across4Go(dst, row, f) })
					same(t, what+", wide", 4*n, func(dst []int16) { AcrossWide(dst, row, f) }, func(dst []int16) { across4WideGo(dst, row, f) })
					same(t, what+", alpha", 4*n, func(dst []uint8) { AcrossAlpha(dst, row, f) }, func(dst []uint8) { acrossAlphaGo(dst, row, f) })
				}
			}
		}
	})
}

func TestPremultiply(t *testing.T) {
	e := newEdge(t)
	run(t, func(t *testing.T, r *rand.Rand, n int, at func(int) float64) {
		src := atEnd(e, narrowRow(4*n, at))
		same(t, "premultiply", 4*n, func(dst []int16) { Premultiply(dst, src) }, func(dst []int16) { premultiplyGo(dst, src) })
	})
}

func TestYCbCrToRGBA(t *testing.T) {
	e, e1, e2 := newEdge(t), newEdge(t), newEdge(t)
	run(t, func(t *testing.T, r *rand.Rand, n int, at func(int) float64) {
		y, cb, cr := atEnd(e, narrowRow(n, at)), atEnd(e1, narrowRow(n, at)), atEnd(e2, narrowRow(n, at))
		same(t, "rgba", 4*n, func(dst []uint8) { YCbCrToRGBA(dst, y, cb, cr) }, func(dst []uint8) { yCbCrToRGBAGo(dst, y, cb, cr) })
	})
}

// TestEveryColour goes through all there are.
func TestEveryColour(t *testing.T) {
	y, cb, cr, dst := make([]uint8, 256), make([]uint8, 256), make([]uint8, 256), make([]uint8, 1024)
	for i := range y {
		y[i] = uint8(i)
	}
	step := 1
	if testing.Short() {
		step = 17
	}
	for b := 0; b < 256; b += step {
		for r := 0; r < 256; r += step {
			for i := range y {
				cb[i], cr[i] = uint8(b), uint8(r)
			}
			YCbCrToRGBA(dst, y, cb, cr)
			for i := range y {
				wr, wg, wb := color.YCbCrToRGB(uint8(i), uint8(b), uint8(r))
				if px := [4]uint8(dst[4*i:]); px != [4]uint8{wr, wg, wb, 255} {
					t.Fatalf("YCbCr %d %d %d is %v, want %d %d %d", i, b, r, px, wr, wg, wb)
				}
			}
		}
	}
}

// TestAlphaIsUndone: a picture of one colour and one alpha comes out as it went in, where alpha leaves as much of
// the colour.
func TestAlphaIsUndone(t *testing.T) {
	f := new(Filter)
	f.Init(8, 4, 4)
	for i := range 8 {
		f.Set(i, i, []int16{-1000, 9192, 9192, -1000})
	}
	one := []int16{1 << 14}
	for a := 0; a < 256; a++ {
		for c := 0; c < 256; c += 3 {
			px := make([]uint8, 4*11)
			for i := 0; i < len(px); i += 4 {
				px[i], px[i+1], px[i+2], px[i+3] = uint8(c), uint8(255-c), 0, uint8(a)
			}
			wide, row, out := make([]int16, len(px)), make([]int16, len(px)+Slack), make([]uint8, 32)
			Premultiply(wide, px)
			DownWide(row[:len(px)], wide, len(px), one)
			AcrossAlpha(out, row, f)
			for i := 0; i < len(out); i += 4 {
				if out[i+3] != uint8(a) {
					t.Fatalf("alpha %d comes out as %d", a, out[i+3])
				}
				if d := int(out[i]) - c; a > 0 && (d*a > 4+a/2 || -d*a > 4+a/2) {
					t.Fatalf("colour %d of alpha %d comes out as %d", c, a, out[i])
				}
				if a == 0 && out[i] != 0 {
					t.Fatal("colour where there is no alpha")
				}
			}
		}
	}
}

func TestRowsThatDoNotFit(t *testing.T) {
	f := new(Filter)
	f.Init(16, 2, 1)
	for i := range 16 {
		f.Set(i, i, []int16{1 << 13, 1 << 13})
	}
	for name, call := range map[string]func(){
		"a row too short":        func() { Across(make([]uint8, 16), make([]int16, 17+Slack-1), f) },
		"too many outputs":       func() { Across(make([]uint8, 17), make([]int16, 99), f) },
		"alpha of gray":          func() { AcrossAlpha(make([]uint8, 16), make([]int16, 99), f) },
		"a start before the row": func() { f.Set(0, -1, []int16{1, 2}) },
		"too many weights":       func() { f.Set(0, 0, []int16{1, 2, 3}) },
		"rows beyond the source": func() { Down(make([]int16, 32), make([]uint8, 95), 32, []int16{1, 2, 3}) },
		"no weights":             func() { Down(make([]int16, 32), make([]uint8, 95), 32, nil) },
		"short chroma":           func() { YCbCrToRGBA(make([]uint8, 128), make([]uint8, 32), make([]uint8, 31), make([]uint8, 32)) },
		"short pixels":           func() { Premultiply(make([]int16, 32), make([]uint8, 31)) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it was done")
				}
			}()
			call()
		})
	}
}
