package vp8dec

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// smooth makes pixels that differ from their neighbours by little, in places by more, as thresholds tell apart.
func smooth(rnd *rand.Rand, n, step int) []byte {
	b := make([]byte, n)
	v := rnd.IntN(256)
	for i := range b {
		v += rnd.IntN(2*step+1) - step
		if rnd.IntN(40) == 0 {
			v = rnd.IntN(256)
		}
		v = min(max(v, 0), 255)
		b[i] = uint8(v)
	}
	return b
}

// TestFilterKernels: the kernels change the band as the Go beside them does, and nothing else of it.
func TestFilterKernels(t *testing.T) {
	rnd := rand.New(rand.NewPCG(15, 1))
	changed := 0
	for round := range 4000 {
		pitch := 64 + 16*rnd.IntN(3)
		band := smooth(rnd, 40*pitch, 1+rnd.IntN(12))
		if round%4 == 0 { // columns alike as well
			for i := pitch; i < len(band); i++ {
				band[i] = uint8(min(max(int(band[i-pitch])+rnd.IntN(5)-2, 0), 255))
			}
		}
		level := 1 + rnd.IntN(63)
		interior := 1 + rnd.IntN(level)
		hev := uint8(rnd.IntN(3))
		var s strength
		for i := range s.outer {
			s.inner[i], s.outer[i] = uint8(2*level+interior), uint8(2*level+4+interior)
			s.interior[i], s.hev[i] = uint8(interior), hev
		}
		y := 5*pitch + 16 + rnd.IntN(4)
		u := 28*pitch + 8 + rnd.IntN(4)
		v := u + 12 + rnd.IntN(4)
		edges := rnd.IntN(8)
		got, want := bytes.Clone(band), bytes.Clone(band)
		filterNormal(got, y, u, v, pitch, &s, edges)
		filterNormalGo(want, y, u, v, pitch, &s, edges)
		if !bytes.Equal(got, want) {
			t.Fatalf("normal, round %d: edges %d, level %d, interior %d", round, edges, level, interior)
		}
		if !bytes.Equal(got, band) {
			changed++
		}
		got, want = bytes.Clone(band), bytes.Clone(band)
		filterSimple(got, y, pitch, &s, edges)
		filterSimpleGo(want, y, pitch, &s, edges)
		if !bytes.Equal(got, want) {
			t.Fatalf("simple, round %d: edges %d, level %d", round, edges, level)
		}
	}
	if changed < 1000 {
		t.Errorf("only %d rounds changed anything", changed)
	}
}

// TestResidueKernels: coefficients of all sizes that the kernels are for, and of those that they are not, add the same.
func TestResidueKernels(t *testing.T) {
	rnd := rand.New(rand.NewPCG(14, 1))
	for round := range 4000 {
		const pitch = 48
		band := smooth(rnd, 20*pitch, 40)
		most := []int{3, 100, mostWords - 1, 32767}[round%4]
		var coef [allCoef]int16
		for i := range coef {
			if rnd.IntN(1+round%5) == 0 {
				coef[i] = int16(rnd.IntN(2*most+1) - most)
			}
			if round%7 == 0 && coef[i] != 0 { // the extremes
				coef[i] = int16(most)
				if rnd.IntN(2) == 0 {
					coef[i] = int16(-most)
				}
			}
		}
		words := most < mostWords
		rows := uint(rnd.IntN(16))
		got, want := bytes.Clone(band), bytes.Clone(band)
		left, right := pitch+rnd.IntN(9), pitch+20+rnd.IntN(9)
		addRows(got, left, right, pitch, coef[:chromaCoef], rows, words)
		addRowsGo(want, left, right, pitch, coef[:chromaCoef], rows)
		if !bytes.Equal(got, want) {
			t.Fatalf("rows %04b, coefficients up to %d", rows, most)
		}
		at := 4 * rnd.IntN(4)
		addBlock(got, left, pitch, coef[at:], words)
		addBlockGo(want, left, pitch, coef[at:])
		if !bytes.Equal(got, want) {
			t.Fatalf("a block of coefficients up to %d", most)
		}
	}
}

func TestTrueMotionKernels(t *testing.T) {
	rnd := rand.New(rand.NewPCG(12, 1))
	for range 500 {
		const pitch = 40
		band, above := smooth(rnd, 18*pitch, 60), smooth(rnd, 17, 60)
		for n, kernel := range map[int]func(band []byte, at, pitch int, above []byte){16: trueMotion16, 8: trueMotion8} {
			got, want := bytes.Clone(band), bytes.Clone(band)
			kernel(got, pitch+9, pitch, above)
			trueMotionGo(want, pitch+9, pitch, above, n)
			if !bytes.Equal(got, want) {
				t.Fatalf("squares of %d", n)
			}
		}
	}
}

func TestStretchKernels(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 2))
	for n := range 300 {
		src := make([]byte, n)
		for i := range src {
			src[i] = uint8(rnd.Uint32())
		}
		for name, f := range map[string][2]func(dst, src []byte){"luma": {stretchLuma, stretchLumaGo}, "chroma": {stretchChroma, stretchChromaGo}} {
			got, want := dirty(n+8), dirty(n+8)
			f[0](got[:n], src)
			f[1](want[:n], src)
			if !bytes.Equal(got, want) {
				t.Fatalf("%d samples of %s", n, name)
			}
		}
	}
}

// TestTransformExact: what the transform of one coefficient adds is what the standard's formula says (14.3).
func TestTransformExact(t *testing.T) {
	for _, c := range []int16{1, -1, 4, 7, -8, 100, 2047, -2047} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			band := bytes.Repeat([]byte{128}, 4*16)
			coef := make([]int16, 64)
			coef[0] = c
			addBlock(band, 0, 16, coef, true)
			want := min(max(128+(int(c)+4)>>3, 0), 255)
			for y := range 4 {
				for x := range 4 {
					if got := int(band[16*y+x]); got != want {
						t.Fatalf("%d at %d,%d, want %d", got, x, y, want)
					}
				}
			}
		})
	}
}
