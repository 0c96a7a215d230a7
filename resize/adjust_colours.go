package resize

import (
	"encoding/binary"
	"image"
	"math"
)

// What depends on nothing but a pixel's own colour is compiled: curves into one table of 256 entries, which is all there is to a picture
// of one channel, and what mixes channels into steps that run on a row at a time. Between steps a channel is Q6, as is what
// a table gives to them, so that a picture is rounded to 8 bits once. All is of integers, so that every machine comes to the same from the same tables.
const (
	fineBits = 6
	fineMost = 255 << fineBits

	matrixBits = 14
)

// Rec. 709's shares of luma, Q15. They add up to 1<<15.
const lumaR, lumaG, lumaB = 6966, 23436, 2366

// luma15 is the luma of three channels, with 15 bits more than they have.
func luma15[T int | int32](r, g, b T) T { return lumaR*r + lumaG*g + lumaB*b }

// A colours is a change of colours, pixel by pixel. The zero value changes nothing.
type colours struct {
	curves []func(v float64) float64 // of [0, 1], one after the other, cut off to [0, 1]
	steps  []colourStep              // after them
}

// A colourStep changes pixels of red, green and blue in Q6.
type colourStep interface{ run(px []int32) }

func (c *colours) none() bool { return len(c.curves)+len(c.steps) == 0 }

// at is what becomes of v, a level, by the curves.
func (c *colours) at(v int) float64 {
	x := float64(v) / 255
	for _, f := range c.curves {
		x = min(max(f(x), 0), 1)
	}
	return x * 255
}

// table is what becomes of each level, alone.
func (c *colours) table() (t [256]uint8) {
	for v := range t {
		t[v] = uint8(math.Floor(c.at(v) + 0.5))
	}
	return t
}

// fine is what becomes of each level by the curves, in Q6.
func (c *colours) fine() (t [256]int32) {
	for v := range t {
		t[v] = int32(math.Floor(float64(c.at(v)*(1<<fineBits)) + 0.5))
	}
	return t
}

// palette is what becomes of each gray. gray says that all of them stay that.
func (c *colours) palette() (p [256][3]uint8, gray bool) {
	fine, gray := c.fine(), true
	px := make([]int32, 3*256)
	for v := range p {
		px[3*v], px[3*v+1], px[3*v+2] = fine[v], fine[v], fine[v]
	}
	for _, s := range c.steps {
		s.run(px)
	}
	for v := range p {
		for ch := range 3 {
			p[v][ch] = rounded(px[3*v+ch])
		}
		gray = gray && p[v][0] == p[v][1] && p[v][1] == p[v][2]
	}
	return p, gray
}

func rounded(fine int32) uint8 { return uint8((fine + 1<<(fineBits-1)) >> fineBits) }

// colour carries out c.
func (e *effects) colour(c *colours) {
	switch {
	case c.none() || e.err != nil:
		return
	case e.gray():
		e.colourGray(c)
		return
	case len(c.steps) == 0:
		t := c.table()
		e.each(func(_ int, row []uint8) {
			for px := row; len(px) >= 4; px = px[4:] {
				px[0], px[1], px[2] = t[px[0]], t[px[1]], t[px[2]]
			}
		})
		return
	}
	if m, ok := c.steps[0].(*matrix); ok && len(c.steps) == 1 {
		t := newProducts(c, m)
		e.each(func(_ int, row []uint8) { t.run(row) })
		return
	}
	fine := c.fine()
	buf := make([]int32, 3*e.m.Bounds().Dx())
	e.each(func(_ int, row []uint8) {
		for px, v := row, buf; len(px) >= 4 && len(v) >= 3; px, v = px[4:], v[3:] {
			v[0], v[1], v[2] = fine[px[0]], fine[px[1]], fine[px[2]]
		}
		for _, s := range c.steps {
			s.run(buf)
		}
		for px, v := row, buf; len(px) >= 4 && len(v) >= 3; px, v = px[4:], v[3:] {
			px[0], px[1], px[2] = rounded(v[0]), rounded(v[1]), rounded(v[2])
		}
	})
}

// colourGray is colour for a picture of one channel, which becomes one of colours where c has any.
func (e *effects) colourGray(c *colours) {
	p, gray := c.palette()
	if gray {
		e.each(func(_ int, row []uint8) {
			for i, v := range row {
				row[i] = p[v][0]
			}
		})
		return
	}
	var word [256]uint32
	for v, c := range p {
		word[v] = uint32(c[0]) | uint32(c[1])<<8 | uint32(c[2])<<16 | 0xff000000
	}
	b := e.m.Bounds()
	dst := newImage(&image.RGBA{}, b.Dx(), b.Dy(), e.arena.alloc).(*image.RGBA)
	e.each(func(y int, row []uint8) {
		out := dst.Pix[y*dst.Stride:][:dst.Stride]
		for x, v := range row {
			binary.LittleEndian.PutUint32(out[4*x:], word[v])
		}
	})
	e.m = dst
}

// colours adds the steps of a that look at nothing but colours.
func (a Adjust) colours(c *colours) {
	curve := func(f func(v float64) float64) { c.curves = append(c.curves, f) }
	if a.Exposure != 0 {
		light := math.Exp2(a.Exposure / 50)
		curve(func(v float64) float64 { return fromLinear(min(toLinear(v)*light, 1)) })
	}
	if a.Brightness != 0 {
		curve(func(v float64) float64 { return v + a.Brightness/100 })
	}
	if a.Contrast != 0 {
		curve(func(v float64) float64 { return float64((v-0.5)*(1+a.Contrast/100)) + 0.5 })
	}
	if a.Gamma != 0 {
		exponent := math.Exp2(-a.Gamma / 100)
		curve(func(v float64) float64 { return math.Pow(v, exponent) })
	}
	if a.Highlights != 0 {
		curve(func(v float64) float64 { return v + float64(a.Highlights/50*v*v*v*(1-v)) })
	}
	if a.Shadows != 0 {
		curve(func(v float64) float64 { return v + float64(a.Shadows/50*v*(1-v)*(1-v)*(1-v)) })
	}
	// A turn by 360 degrees is none.
	turned := a.Hue != 0 && a.Hue != 360 || a.Saturation != 0
	mix := saturation(1 + a.Saturation/100).times(hueRotation(a.Hue))
	if a.Invert && a.Vibrance == 0 && turned {
		mix = inverse.times(mix)
	}
	if turned {
		c.steps = append(c.steps, newMatrix(mix))
	}
	if a.Vibrance != 0 {
		c.steps = append(c.steps, newVibrance(a.Vibrance))
	}
	switch {
	case !a.Invert || turned && a.Vibrance == 0:
	case len(c.steps) == 0:
		curve(func(v float64) float64 { return 1 - v })
	default:
		c.steps = append(c.steps, newMatrix(inverse))
	}
}

// toLinear and fromLinear are the curve of sRGB, IEC 61966-2-1.
func toLinear(v float64) float64 {
	if v <= 0.04045 {
		return v / 12.92
	}
	return math.Pow((v+0.055)/1.055, 2.4)
}

func fromLinear(v float64) float64 {
	if v <= 0.0031308 {
		return v * 12.92
	}
	return float64(1.055*math.Pow(v, 1/2.4)) - 0.055
}

// A mixing is what red, green and blue are made of: shares of red, green and blue, and a part of white.
type mixing [3][4]float64

var (
	identity = mixing{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}}
	inverse  = mixing{{-1, 0, 0, 1}, {0, -1, 0, 1}, {0, 0, -1, 1}}
)

// times is b and then a.
func (a mixing) times(b mixing) (c mixing) {
	for i := range 3 {
		for k := range 4 {
			for l := range 3 {
				c[i][k] += float64(a[i][l] * b[l][k])
			}
		}
		c[i][3] += a[i][3]
	}
	return c
}

// toward is a to the part f, and the identity to the rest.
func (a mixing) toward(f float64) (c mixing) {
	for i := range 3 {
		for k := range 4 {
			c[i][k] = float64(a[i][k]*f) + float64(identity[i][k]*(1-f))
		}
	}
	return c
}

// onto maps luma to the colours between two.
func onto(dark, light [3]float64) (c mixing) {
	for i := range 3 {
		d := (light[i] - dark[i]) / (1 << 15)
		c[i] = [4]float64{lumaR * d, lumaG * d, lumaB * d, dark[i]}
	}
	return c
}

func saturation(s float64) mixing {
	return identity.toward(0).times(onto([3]float64{}, [3]float64{1, 1, 1})).toward(1 - s)
}

// hueRotation is feColorMatrix's hueRotate (W3C Filter Effects Module Level 1, 9.6).
func hueRotation(degrees float64) (c mixing) {
	sin, cos := sincos(degrees)
	turn := mixing{{-0.213, -0.715, 0.928}, {0.143, 0.140, -0.283}, {-0.787, 0.715, 0.072}}
	gray := onto([3]float64{}, [3]float64{1, 1, 1})
	for i := range 3 {
		for k := range 3 {
			c[i][k] = gray[i][k] + float64(cos*(identity[i][k]-gray[i][k])) + float64(sin*turn[i][k])
		}
	}
	return c
}

// A matrix is a mixing in integers: Q14, and the part of white in Q6 and Q14.
type matrix [3][4]int32

// newMatrix rounds m so that a row whose shares add up to a round number keeps that: what is gray stays so.
func newMatrix(m mixing) *matrix {
	q := new(matrix)
	for i, row := range m {
		total, given := 0.0, int32(0)
		for k := range 3 {
			total += row[k]
			upTo := int32(math.Floor(float64(total*(1<<matrixBits)) + 0.5))
			q[i][k] = upTo - given
			given = upTo
		}
		q[i][3] = int32(math.Floor(float64(row[3]*fineMost) + 0.5))
	}
	return q
}

func (m *matrix) run(px []int32) {
	const half = 1 << (matrixBits - 1)
	for ; len(px) >= 3; px = px[3:] {
		// A channel is below 1<<14, and the sum of absolute shares below 8, that of a saturated turn: sums fit 32 bits.
		r, g, b := int(px[0]), int(px[1]), int(px[2])
		for i := range 3 {
			row := &m[i]
			v := (int(row[0])*r+int(row[1])*g+int(row[2])*b+half)>>matrixBits + int(row[3])
			px[i] = int32(min(max(v, 0), fineMost))
		}
	}
}

// A products is curves and then a matrix, multiplied out: what each level of red, green and blue adds to all three, in lanes of 21 bits in Q6, from blue
// on. One sum of three words is a pixel. A lane is biased, so that none borrows from the next; its part of white and a half for
// rounding are with red's.
type products struct {
	red, green, blue [256]uint64
}

const (
	laneBits = 21
	laneBias = 1 << 19 // sums of what a matrix gives are within ±8·255 in Q6, which is less
)

func newProducts(c *colours, m *matrix) *products {
	t := new(products)
	for v, fine := range c.fine() {
		for lane, row := range m {
			// Rounding the running total keeps the sum exact where all three levels are the same: gray stays gray.
			total, given, part := 0, 0, [3]int{}
			for k := range 3 {
				total += int(row[k]) * int(fine)
				upTo := (total + 1<<(matrixBits-1)) >> matrixBits
				part[k] = upTo - given
				given = upTo
			}
			part[0] += int(row[3]) + laneBias + 1<<(fineBits-1)
			shift := lane * laneBits
			// Sums wrap as they do in two's complement: a negative part borrows, and red's bias gives back.
			t.red[v] += uint64(part[0]) << shift
			t.green[v] += uint64(int64(part[1])) << shift
			t.blue[v] += uint64(int64(part[2])) << shift
		}
	}
	return t
}

// run changes a row of pixels of four channels.
func (t *products) run(row []uint8) {
	for px := row; len(px) >= 4; px = px[4:] {
		sum := t.red[px[0]] + t.green[px[1]] + t.blue[px[2]]
		px[0] = lane(sum)
		px[1] = lane(sum >> laneBits)
		px[2] = lane(sum >> (2 * laneBits))
	}
}

func lane(v uint64) uint8 {
	fine := int32(v&(1<<laneBits-1)) - laneBias
	return uint8(min(max(fine>>fineBits, 0), 255))
}

// A vibrance is saturation for what is pale. Its strength is Q14.
type vibrance struct{ strength int32 }

func newVibrance(percent float64) vibrance {
	return vibrance{int32(math.Floor(percent/100*(1<<matrixBits) + 0.5))}
}

func (s vibrance) run(px []int32) {
	const half = 1 << (matrixBits - 1)
	for ; len(px) >= 3; px = px[3:] {
		r, g, b := px[0], px[1], px[2]
		chroma := max(r, g, b) - min(r, g, b)
		if chroma == 0 {
			continue
		}
		// 1/fineMost is 16449/2^28 to a part in ten thousand.
		k := int32(int64(s.strength) * int64(fineMost-chroma) * 16449 >> 28)
		if r > g && g > b { // red to yellow; skin is in the middle between them
			k -= int32(int64(k) * int64(min(r-g, g-b)) / int64(chroma))
		}
		luma := int32((int64(luma15(int(r), int(g), int(b))) + 1<<14) >> 15)
		px[0] = min(max(r+((r-luma)*k+half)>>matrixBits, 0), fineMost)
		px[1] = min(max(g+((g-luma)*k+half)>>matrixBits, 0), fineMost)
		px[2] = min(max(b+((b-luma)*k+half)>>matrixBits, 0), fineMost)
	}
}
