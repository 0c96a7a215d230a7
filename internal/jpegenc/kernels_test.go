package jpegenc

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestQuantizer tries every step with every number that the transform can give.
func TestQuantizer(t *testing.T) {
	for step := 1; step <= 255; step++ {
		var table [64]uint8
		for i := range table {
			table[i] = uint8(step)
		}
		for _, up := range []int{64, roundUp} {
			q := newQuantizer(&table, up)
			d := 8 * step
			for at := range 2 { // the mean is rounded to the nearest
				bias := d / 2
				if at > 0 && step > 1 {
					bias = d * up / 128
				}
				for x := range 1 << 14 {
					got := (x + int(q.bias[at])) & 0xffff * int(q.reciprocal[at]) >> 16 * int(q.scale[at]) >> 16
					if want := (x + bias) / d; got != want {
						t.Fatalf("%d/%d is %d, want %d", x, d, got, want)
					}
				}
			}
		}
	}
}

// contents are pictures of samples that push the transform to its ends, and plain ones.
var contents = []struct {
	name string
	at   func(r *rand.Rand, x, y int) uint8
}{
	{"black", func(*rand.Rand, int, int) uint8 { return 0 }},
	{"white", func(*rand.Rand, int, int) uint8 { return 255 }},
	{"gray", func(*rand.Rand, int, int) uint8 { return 128 }},
	{"checkerboard", func(_ *rand.Rand, x, y int) uint8 { return uint8((x+y)%2) * 255 }},
	{"columns", func(_ *rand.Rand, x, _ int) uint8 { return uint8(x%2) * 255 }},
	{"rows", func(_ *rand.Rand, _, y int) uint8 { return uint8(y%2) * 255 }},
	{"edge", func(_ *rand.Rand, x, _ int) uint8 { return uint8(x/4%2) * 255 }},
	{"bits", func(r *rand.Rand, _, _ int) uint8 { return uint8(r.IntN(2)) * 255 }},
	{"noise", func(r *rand.Rand, _, _ int) uint8 { return uint8(r.IntN(256)) }},
	{"blocks", func(_ *rand.Rand, x, y int) uint8 { return uint8((x/8+y/8)%2) * 255 }},
	{"smooth", func(_ *rand.Rand, x, y int) uint8 {
		return uint8(128 + 60*math.Sin(float64(x)/9) + 50*math.Cos(float64(y)/7))
	}},
}

func samples(content int, w, h int) []uint8 {
	r := rand.New(rand.NewPCG(1, uint64(content)))
	pix := make([]uint8, w*h)
	for i := range pix {
		pix[i] = contents[content].at(r, i%w, i/w)
	}
	return pix
}

// basis fills a block with the signs of a basis function: the largest coefficient there is.
func basis(u, v int, sign float64) (b [64]uint8) {
	for i := range b {
		c := math.Cos(float64(2*(i%8)+1)*float64(u)*math.Pi/16) * math.Cos(float64(2*(i/8)+1)*float64(v)*math.Pi/16)
		if c*sign > 0 {
			b[i] = 255
		}
	}
	return b
}

// TestTransform compares transform with the definition of the DCT (T.81 A.3.3).
func TestTransform(t *testing.T) {
	reference := func(pix []uint8, stride int) (f [64]float64) {
		for at := range f {
			u, v := at/8, at%8
			for y := range 8 {
				for x := range 8 {
					f[at] += (float64(pix[y*stride+x]) - 128) *
						math.Cos(float64(2*x+1)*float64(u)*math.Pi/16) * math.Cos(float64(2*y+1)*float64(v)*math.Pi/16)
				}
			}
			f[at] /= 4
			if u == 0 {
				f[at] /= math.Sqrt2
			}
			if v == 0 {
				f[at] /= math.Sqrt2
			}
		}
		return f
	}
	for _, quality := range []int{1, 10, 50, 75, 90, 100} {
		table := steps(&baseSteps[0], quality)
		q := newQuantizer(&table, 64)
		check := func(name string, pix []uint8, stride, n int) {
			t.Helper()
			got, masks := make([]block, n), make([]uint64, n)
			transform(got, masks, pix, stride, q)
			for i, b := range got {
				f := reference(pix[8*i:], stride)
				for k, at := range zigzag {
					// Half a step of rounding, and what the transform may be off.
					if want := f[at] / float64(table[k]); math.Abs(float64(b[at])-want) > 0.5+0.2/float64(table[k]) {
						t.Fatalf("%s, quality %d: block %d has %d at %d, want %.3f", name, quality, i, b[at], k, want)
					}
					if (masks[i]>>k&1 != 0) != (b[at] != 0) {
						t.Fatalf("%s, quality %d: the mask of block %d is wrong at %d", name, quality, i, k)
					}
					if k > 0 && bits.Len32(uint32(max(b[at], -b[at]))) > 10 {
						t.Fatalf("%s: coefficient %d has no code", name, b[at])
					}
				}
			}
		}
		for i, c := range contents {
			check(c.name, samples(i, 48, 8), 48, 6)
		}
		for u := range 8 {
			for v := range 8 {
				for _, sign := range []float64{1, -1} {
					b := basis(u, v, sign)
					two := make([]uint8, 0, 128)
					for y := range 8 {
						two = append(append(two, b[8*y:][:8]...), b[8*y:][:8]...)
					}
					check(fmt.Sprintf("basis %d,%d", u, v), two, 16, 2)
				}
			}
		}
	}
}

// TestTwins holds the assembly to the code in Go, bit by bit, at every length and with strides that are none.
func TestTwins(t *testing.T) {
	for quality := 1; quality <= 100; quality++ {
		table := steps(&baseSteps[quality%2], quality)
		q := newQuantizer(&table, roundUp)
		for i, c := range contents {
			n := 1 + (quality+i)%7
			stride := 8*n + quality%3
			pix := samples(i, stride, 8)
			got, want := make([]block, n), make([]block, n)
			gotMasks, wantMasks := make([]uint64, n), make([]uint64, n)
			transform(got, gotMasks, pix, stride, q)
			transformGeneric(want, wantMasks, pix, stride, q)
			if !slices.Equal(got, want) || !slices.Equal(gotMasks, wantMasks) {
				t.Fatalf("transform of %s: %d blocks at quality %d differ", c.name, n, quality)
			}
		}
	}
	for i, c := range contents {
		for n := range 70 {
			upper, lower := samples(i, 8*n+1, 1), samples((i+1)%len(contents), 8*n+1, 1)
			for name, w := range map[string]*weighting{"luma": &lumaWeights, "blue": &blueWeights, "red": &redWeights} {
				got, want := make([]uint8, n), make([]uint8, n)
				weigh(got, upper, w)
				weighGeneric(want, upper, w)
				if !slices.Equal(got, want) {
					t.Fatalf("%s of %d pixels of %s: %v, want %v", name, n, c.name, got, want)
				}
			}
			var got, want [2][]uint8
			for j := range 2 {
				got[j], want[j] = make([]uint8, n), make([]uint8, n)
			}
			weighQuads(got[0], got[1], upper, lower)
			weighQuadsGeneric(want[0], want[1], upper, lower)
			if !slices.Equal(got[0], want[0]) || !slices.Equal(got[1], want[1]) {
				t.Fatalf("differences of %d squares of %s: %v, want %v", n, c.name, got, want)
			}
		}
	}
}

// TestColour compares the weights with those of JFIF.
func TestColour(t *testing.T) {
	for r := 0; r < 256; r += 15 {
		for g := 0; g < 256; g += 15 {
			for b := 0; b < 256; b += 15 {
				px := []uint8{uint8(r), uint8(g), uint8(b), 255}
				for _, c := range []struct {
					name    string
					w       *weighting
					r, g, b float64
					offset  float64
				}{
					{"luma", &lumaWeights, 0.299, 0.587, 0.114, 0},
					{"blue", &blueWeights, -0.168736, -0.331264, 0.5, 128},
					{"red", &redWeights, 0.5, -0.418688, -0.081312, 128},
				} {
					var got [1]uint8
					weigh(got[:], px, c.w)
					want := c.r*float64(r) + c.g*float64(g) + c.b*float64(b) + c.offset
					if math.Abs(float64(got[0])-want) > 0.51 {
						t.Fatalf("%s of %v is %d, want %.2f", c.name, px, got[0], want)
					}
				}
			}
		}
	}
	for v := range 256 {
		px := slices.Repeat([]uint8{uint8(v), uint8(v), uint8(v), 255}, 2)
		var y, cb, cr [1]uint8
		weigh(y[:], px, &lumaWeights)
		weighQuads(cb[:], cr[:], px, px)
		if int(y[0]) != v || cb[0] != 128 || cr[0] != 128 {
			t.Fatalf("gray %d becomes %d, %d, %d", v, y[0], cb[0], cr[0])
		}
	}
}

func BenchmarkTransform(b *testing.B) {
	table := steps(&baseSteps[0], 80)
	q := newQuantizer(&table, roundUp)
	pix := samples(10, 1024, 8)
	blocks, masks := make([]block, 128), make([]uint64, 128)
	for _, bb := range []struct {
		name string
		f    func([]block, []uint64, []uint8, int, *quantizer)
	}{{"best", transform}, {"go", transformGeneric}} {
		b.Run("kernel="+bb.name, func(b *testing.B) {
			b.SetBytes(int64(len(pix)))
			for b.Loop() {
				bb.f(blocks, masks, pix, 1024, q)
			}
		})
	}
}
