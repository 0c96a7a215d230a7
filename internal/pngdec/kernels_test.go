package pngdec

import (
	"bytes"
	"hash/adler32"
	"math/rand/v2"
	"testing"
)

// slow is a row as the standard has it (9.2), sample by sample.
func slow(src, before []byte, filter byte, bpp int) []byte {
	abs := func(v int) int { return max(v, -v) }
	dst := make([]byte, len(src))
	for i := range src {
		a, b, c := 0, int(before[i]), 0
		if i >= bpp {
			a, c = int(dst[i-bpp]), int(before[i-bpp])
		}
		p := 0
		switch filter {
		case sub:
			p = a
		case up:
			p = b
		case average:
			p = (a + b) / 2
		case paeth:
			toA, toB, toC := abs(b-c), abs(a-c), abs(a+b-2*c)
			switch {
			case toA <= toB && toA <= toC:
				p = a
			case toB <= toC:
				p = b
			default:
				p = c
			}
		}
		dst[i] = src[i] + byte(p)
	}
	return dst
}

func TestUnfilter(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.IntN(256))
			if rnd.IntN(3) == 0 {
				b[i] = byte(rnd.IntN(2) * 255)
			}
		}
		return b
	}
	for _, bpp := range []int{1, 2, 3, 4, 6, 8} {
		for w := 1; w < 70; w++ {
			n := bpp * w
			for filter := byte(none); filter <= paeth; filter++ {
				src, before := random(n), random(n)
				want := slow(src, before, filter, bpp)
				got := make([]byte, n)
				unfilter(got, src, before, filter, bpp)
				if !bytes.Equal(got, want) {
					t.Fatalf("filter %d, %d bytes, %d a pixel: differs", filter, n, bpp)
				}
			}
		}
	}
	for w := 1; w < 70; w++ {
		for filter := byte(none); filter <= paeth; filter++ {
			for _, spare := range []int{0, 1, 9} {
				src, before := random(3*w), random(3*w)
				want := slow(src, before, filter, 3)
				wide, got := random(4*w), random(4*w)
				for x := range w {
					copy(wide[4*x:], before[3*x:3*x+3])
				}
				unfilter3(got, append(make([]byte, 0, 3*w+spare), src...), wide, filter)
				for x := range w {
					if !bytes.Equal(got[4*x:4*x+3], want[3*x:3*x+3]) || got[4*x+3] != 255 {
						t.Fatalf("filter %d, pixel %d of %d, %d bytes to spare: differs", filter, x, w, spare)
					}
				}
			}
		}
	}
}

// TestPredict: the predictor without the sum is Paeth's for all there is.
func TestPredict(t *testing.T) {
	const step = 5 // 0, 5, …, 255
	for a := 0; a < 256; a += step {
		for b := 0; b < 256; b += step {
			for c := range 256 {
				before := []byte{byte(c), byte(b)}
				want := slow([]byte{byte(a - c), 0}, before, paeth, 1)[1]
				if got := predict(a, b, c); got != int(want) {
					t.Fatalf("of %d, %d, %d: %d, want %d", a, b, c, got, want)
				}
			}
		}
	}
}

func TestAdler(t *testing.T) {
	b := bytes.Repeat([]byte{255}, 100_000)
	rnd := rand.New(rand.NewPCG(2, 2))
	for range 300 {
		n := rnd.IntN(len(b))
		if rnd.IntN(2) == 0 {
			n = rnd.IntN(200)
		}
		s := newAdler()
		cut := rnd.IntN(n + 1)
		s.add(b[:cut])
		s.add(b[cut:n])
		if got, want := s.value(), adler32.Checksum(b[:n]); got != want {
			t.Fatalf("of %d bytes in two pieces: %08x, want %08x", n, got, want)
		}
		for range 2000 {
			b[rnd.IntN(len(b))] = byte(rnd.IntN(256))
		}
	}
}

func TestMostAdded(t *testing.T) {
	// The sums begin below the modulus, and mostAdded times the largest byte must not overflow the second.
	const n, a = mostAdded, modulus - 1
	if most := uint64(a) + n*a + 255*n*(n+1)/2; most > 1<<32-1 {
		t.Errorf("%d", most)
	}
}
