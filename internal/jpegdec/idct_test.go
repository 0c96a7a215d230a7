package jpegdec

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// slowIDCT is the definition (T.81 section A.3.3) of points² samples out of as many low frequencies, and
// nothing else. coef and quant are in the order of blocks.
func slowIDCT(points int, coef, quant []int16) []float64 {
	dst := make([]float64, points*points)
	for y := range points {
		for x := range points {
			sum := 0.0
			for u := range points {
				for v := range points {
					f := float64(coef[u*points+v] * quant[u*points+v])
					if u == 0 {
						f /= math.Sqrt2
					}
					if v == 0 {
						f /= math.Sqrt2
					}
					sum += f * math.Cos(float64(2*x+1)*float64(u)*math.Pi/float64(2*points)) *
						math.Cos(float64(2*y+1)*float64(v)*math.Pi/float64(2*points))
				}
			}
			dst[y*points+x] = min(max(sum/4+128, 0), 255)
		}
	}
	return dst
}

// transforms are what decoding calls, and the twins in Go.
var transforms = []struct {
	name   string
	points int
	run    func(dst []uint8, stride int, coef, quant []int16)
}{
	{"8", 8, func(dst []uint8, stride int, c, q []int16) { idct8(dst, stride, (*[64]int16)(c), (*[64]int16)(q)) }},
	{"8Go", 8, func(dst []uint8, stride int, c, q []int16) { idct8Go(dst, stride, (*[64]int16)(c), (*[64]int16)(q)) }},
	{"4", 4, func(dst []uint8, stride int, c, q []int16) { idct4(dst, stride, (*[16]int16)(c), (*[16]int16)(q)) }},
	{"4Go", 4, func(dst []uint8, stride int, c, q []int16) { idct4Go(dst, stride, (*[16]int16)(c), (*[16]int16)(q)) }},
	{"2", 2, func(dst []uint8, stride int, c, q []int16) { idct2(dst, stride, (*[4]int16)(c), (*[4]int16)(q)) }},
	{"1", 1, func(dst []uint8, stride int, c, q []int16) {
		b := component{points: 1, plane: dst, stride: stride, quant: [64]int16{q[0]}}
		b.flat(0, c[0])
	}},
}

// blocks calls f with blocks of all kinds that an 8-bit picture may have.
func blocks(points int, n int, f func(coef, quant []int16)) {
	r := rand.New(rand.NewPCG(1, 2))
	coef, quant := make([]int16, points*points), make([]int16, points*points)
	for i := range n {
		for k := range quant {
			quant[k] = int16(1 + r.IntN(1+i%99))
		}
		clear(coef)
		coef[0] = int16((r.IntN(2048) - 1024) / int(quant[0]))
		for range r.IntN(2 + i%(points*points)) {
			k := r.IntN(points * points)
			size := 1 + r.IntN(1000)/(1+i%20)
			coef[k] = int16((r.IntN(2*size) - size) / int(quant[k]))
		}
		f(coef, quant)
	}
}

func TestIDCT(t *testing.T) {
	for _, tr := range transforms {
		t.Run(tr.name, func(t *testing.T) {
			const stride = 11
			dst := make([]uint8, 8*stride)
			far, sum, n := 0.0, 0.0, 0
			blocks(tr.points, 3000, func(coef, quant []int16) {
				for i := range dst {
					dst[i] = 7
				}
				tr.run(dst, stride, coef, quant)
				want := slowIDCT(tr.points, coef, quant)
				for i, v := range dst {
					x, y := i%stride, i/stride
					if x >= tr.points || y >= tr.points {
						if v != 7 {
							t.Fatalf("wrote to %d, %d", x, y)
						}
						continue
					}
					d := float64(v) - want[y*tr.points+x]
					far, sum, n = max(far, math.Abs(d)), sum+d, n+1
				}
			})
			// Rounding to whole samples costs 0.5, and halves go up.
			if far > 0.6 || math.Abs(sum/float64(n)) > 0.1 {
				t.Errorf("%.3f from the definition at most, %.4f on average", far, sum/float64(n))
			}
		})
	}
}

// TestIDCTTwins: assembly and Go give the same samples, for any bits as coefficients.
func TestIDCTTwins(t *testing.T) {
	for i := 0; i < 4; i += 2 {
		asm, twin := transforms[i], transforms[i+1]
		t.Run(asm.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 4))
			var got, want [64]uint8
			check := func(coef, quant []int16) {
				asm.run(got[:], asm.points, coef, quant)
				twin.run(want[:], asm.points, coef, quant)
				if got != want {
					t.Fatalf("coefficients %v\ntable %v\n got %v\nwant %v", coef, quant, got, want)
				}
			}
			blocks(asm.points, 3000, check)
			coef, quant := make([]int16, asm.points*asm.points), make([]int16, asm.points*asm.points)
			for i := range 20000 {
				for k := range coef {
					coef[k], quant[k] = int16(r.Uint32()), 1
					switch i % 5 {
					case 1:
						quant[k] = int16(r.Uint32())
					case 2: // the extremes of what both passes add up
						coef[k] = [2]int16{math.MinInt16, math.MaxInt16}[r.IntN(2)]
					case 3:
						if r.IntN(8) > 0 {
							coef[k] = 0
						}
					case 4:
						coef[k] >>= 4
					}
				}
				check(coef, quant)
			}
		})
	}
}

// TestGenerated: the assembly for arm64 is what its source makes.
func TestGenerated(t *testing.T) {
	if _, err := exec.LookPath("aarch64-linux-gnu-as"); err != nil {
		t.Skip("no assembler for arm64 here: ", err)
	}
	file := filepath.Join(t.TempDir(), "idct_arm64.s")
	if b, err := exec.Command("sh", "_asm/generate.sh", file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if want, err := os.ReadFile("idct_arm64.s"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("idct_arm64.s is not what go generate makes: %v", err)
	}
}

func BenchmarkIDCT(b *testing.B) {
	for _, tr := range transforms {
		b.Run(tr.name, func(b *testing.B) {
			const n = 64
			var coefs, quants [][]int16
			blocks(tr.points, n, func(coef, quant []int16) {
				coefs, quants = append(coefs, append([]int16{}, coef...)), append(quants, append([]int16{}, quant...))
			})
			dst := make([]uint8, 64*n)
			b.SetBytes(int64(n * tr.points * tr.points))
			for b.Loop() {
				for i := range n {
					tr.run(dst[8*i:], 8*n-64, coefs[i], quants[i])
				}
			}
		})
	}
}
