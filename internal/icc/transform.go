package icc

import (
	"encoding/binary"
	"math"
	"sync"
)

// An Output is a space that pictures are converted to.
type Output uint8

const (
	SRGB     Output = iota // IEC 61966-2-1
	AdobeRGB               // Adobe RGB (1998), version 2005-05
)

// A Transform takes the numbers of a profile to those of an output. It is not changed once it is made, and takes at most
// 0.7 MB.
type Transform struct {
	space    Space
	identity bool

	// gray is what each gray becomes, where that is gray again: from gray always, from RGB by most profiles.
	gray *[256]uint8

	// Of RGB with a matrix: what each value of each channel adds to the linear red, green and blue of the output, and
	// what those become.
	linear *[3][256][3]int32
	encode []uint8
	shift  uint8

	// Of tables: colours at some values of each channel, and where in them a value is.
	grid []uint64
	axis *[4][256]place
}

const (
	// linearBits are those of 1 in Transform.linear: channels that are far outside of the output's add up to 32 times as much.
	linearBits = 26

	// Points of a grid for each channel, as littleCMS has them. A step is 8 and 16 values.
	rgbPoints  = 33
	cmykPoints = 17

	// A node has 13 bits for each channel: -128 to 383, in sixteenths, so that what lies outside of 0 to 255 is clipped after
	// it is interpolated. Three weighted sums, whose weights add up to 255, fit in 64 bits: laneBits each.
	nodeScale  = 16
	nodeOffset = 128
	laneBits   = 21
)

// New makes the transform of p's numbers to those of o. It takes up to some 50 ms for tables.
func New(p *Profile, o Output) *Transform {
	c := newConversion(p, o)
	t := &Transform{space: p.space}
	switch {
	case p.space == Gray:
	case p.lut == nil:
		t.byMatrix(c)
	default:
		t.byGrid(c)
	}
	if p.space != CMYK {
		t.findGray(c)
		t.identity = t.findIdentity([...]int{SRGB: 1, AdobeRGB: 3}[o])
	}
	return t
}

// Space is what t converts from.
func (t *Transform) Space() Space { return t.space }

// Identity reports whether t changes no number by more than one, and to Adobe RGB by three, whose curve is steep where it is
// dark: what it is given may be left as it is. A profile of the same space is so, whoever wrote it.
func (t *Transform) Identity() bool { return t.identity }

// Bytes is how much memory t takes.
func (t *Transform) Bytes() int {
	n := 1024 + 8*len(t.grid)
	if t.linear != nil {
		n += 3 * 256 * 3 * 4
	}
	return n
}

// Gray gives what each gray becomes, or nil where grays do not stay gray.
func (t *Transform) Gray() *[256]uint8 { return t.gray }

// RGB converts pixels of four bytes, red, green, blue and alpha, which stays. dst is as long as src, and may be src. A
// transform from gray takes each of the channels for it.
func (t *Transform) RGB(dst, src []uint8) {
	dst = dst[:len(src)]
	switch {
	case t.linear != nil:
		t.matrix(dst, src)
	case t.space == Gray:
		for ; len(src) >= 4 && len(dst) >= 4; src, dst = src[4:], dst[4:] {
			dst[0], dst[1], dst[2], dst[3] = t.gray[src[0]], t.gray[src[1]], t.gray[src[2]], src[3]
		}
	default:
		t.tetrahedra(dst, src)
	}
}

// CMYK converts pixels of four bytes, which are inks, to opaque ones of red, green, blue and alpha. dst is as long as src, and
// may be src.
func (t *Transform) CMYK(dst, src []uint8) {
	dst = dst[:len(src)]
	axis, grid := t.axis, t.grid
	for ; len(src) >= 4 && len(dst) >= 4; src, dst = src[4:], dst[4:] {
		p, q, r, s := axis[0][src[0]], axis[1][src[1]], axis[2][src[2]], axis[3][src[3]]
		base := uint32(p.at) + uint32(q.at) + uint32(r.at) + uint32(s.at)
		// The simplex that a colour is in: the channels in the order of their fractions, largest first.
		a, b, c, d := p.step, q.step, r.step, s.step
		a, b = max(a, b), min(a, b)
		c, d = max(c, d), min(c, d)
		a, c = max(a, c), min(a, c)
		b, d = max(b, d), min(b, d)
		b, c = max(b, c), min(b, c)
		sum := grid[base] * uint64(255-a>>stepBits)
		base += uint32(a & stepMask)
		sum += grid[base] * uint64(a>>stepBits-b>>stepBits)
		base += uint32(b & stepMask)
		sum += grid[base] * uint64(b>>stepBits-c>>stepBits)
		base += uint32(c & stepMask)
		sum += grid[base] * uint64(c>>stepBits-d>>stepBits)
		base += uint32(d & stepMask)
		sum += grid[base] * uint64(d>>stepBits)
		binary.LittleEndian.PutUint32(dst, unpack(sum)|255<<24)
	}
}

// A place is where a value lies on an axis of a grid.
type place struct {
	at   uint32 // the node before it
	step uint32 // the way to the next node, and above stepBits how far on it, of 255
}

const (
	stepBits = 16
	stepMask = 1<<stepBits - 1
)

// unpack gives the channels of a sum, whose weights are 255 in all, in three bytes.
func unpack(sum uint64) uint32 {
	const lane, whole = 1<<laneBits - 1, 255 * nodeScale
	const half = whole / 2
	sum += half | half<<laneBits | half<<(2*laneBits)
	clip := func(v uint64) uint32 { return uint32(min(max(int32(v&lane)/whole-nodeOffset, 0), 255)) }
	return clip(sum) | clip(sum>>laneBits)<<8 | clip(sum>>(2*laneBits))<<16
}

func (t *Transform) tetrahedra(dst, src []uint8) {
	axis, grid := t.axis, t.grid
	for ; len(src) >= 4 && len(dst) >= 4; src, dst = src[4:], dst[4:] {
		p, q, r := axis[0][src[0]], axis[1][src[1]], axis[2][src[2]]
		base := p.at + q.at + r.at
		a, b, c := p.step, q.step, r.step
		a, b = max(a, b), min(a, b)
		b, c = max(b, c), min(b, c)
		a, b = max(a, b), min(a, b)
		sum := grid[base] * uint64(255-a>>stepBits)
		base += a & stepMask
		sum += grid[base] * uint64(a>>stepBits-b>>stepBits)
		base += b & stepMask
		sum += grid[base] * uint64(b>>stepBits-c>>stepBits)
		base += c & stepMask
		sum += grid[base] * uint64(c>>stepBits)
		binary.LittleEndian.PutUint32(dst, unpack(sum)|uint32(src[3])<<24)
	}
}

func (t *Transform) matrix(dst, src []uint8) {
	reds, greens, blues := &t.linear[0], &t.linear[1], &t.linear[2]
	encode, shift := t.encode, t.shift&31
	most := int32(len(encode) - 1)
	for ; len(src) >= 4 && len(dst) >= 4; src, dst = src[4:], dst[4:] {
		r, g, b := &reds[src[0]], &greens[src[1]], &blues[src[2]]
		x := min(max((r[0]+g[0]+b[0])>>shift, 0), most)
		y := min(max((r[1]+g[1]+b[1])>>shift, 0), most)
		z := min(max((r[2]+g[2]+b[2])>>shift, 0), most)
		binary.LittleEndian.PutUint32(dst, uint32(encode[x])|uint32(encode[y])<<8|uint32(encode[z])<<16|uint32(src[3])<<24)
	}
}

// A conversion is what a Transform is made from: exact, and slow.
type conversion struct {
	*output
	from   *Profile
	scale  [3]float64 // with offset, the compensation of the black point, in XYZ
	offset [3]float64
}

// An output is what all conversions to an Output have in common.
type output struct {
	matrix [3][3]float64 // XYZ to linear
	encode func(float64) float64
	table  []float64 // encode, for what needs no more
	bits   int       // of a linear value, so that hardly one of the output's is left out
	bytes  []uint8   // encode, by such values
}

var outputs = [...]func() *output{
	SRGB:     sync.OnceValue(func() *output { return newOutput(srgbXY, 14, encodeSRGB) }),
	AdobeRGB: sync.OnceValue(func() *output { return newOutput(adobeXY, 16, encodeAdobe) }),
}

func newOutput(p Primaries, bits int, encode func(float64) float64) *output {
	o := &output{matrix: invert(colorants(p)), encode: encode, bits: bits}
	o.table = make([]float64, 4097)
	for i := range o.table {
		o.table[i] = encode(float64(i) / 4096)
	}
	o.bytes = make([]uint8, 1<<bits)
	for i := range o.bytes {
		o.bytes[i] = uint8(255*clamp1(encode(float64(i)/float64(len(o.bytes)-1))) + 0.5)
	}
	return o
}

func newConversion(p *Profile, o Output) *conversion {
	c := &conversion{output: outputs[o](), from: p}
	black := p.black()
	for i := range black {
		c.scale[i] = d50[i] / (d50[i] - black[i])
		c.offset[i] = -black[i] * c.scale[i]
	}
	return c
}

// linear gives the output's linear channels, which may lie outside of 0 to 1.
func (c *conversion) linear(xyz [3]float64) (out [3]float64) {
	for i := range xyz {
		xyz[i] = xyz[i]*c.scale[i] + c.offset[i]
	}
	for i, m := range &c.matrix {
		out[i] = m[0]*xyz[0] + m[1]*xyz[1] + m[2]*xyz[2]
	}
	return out
}

// at gives the output's channels of a colour of the profile: 0 to 1, but for those that the output has no numbers for.
func (c *conversion) at(in []float64) [3]float64 {
	out := c.linear(c.from.xyz(in))
	for i, v := range out {
		if v < 1.0/64 || v >= 1 { // where interpolation would show
			out[i] = math.Copysign(c.encode(math.Abs(v)), v)
			continue
		}
		at := v * 4096
		j := min(int(at), 4095)
		out[i] = c.table[j] + (at-float64(j))*(c.table[j+1]-c.table[j])
	}
	return out
}

func (t *Transform) byMatrix(c *conversion) {
	t.encode = c.bytes
	t.shift = uint8(linearBits - c.bits)
	one := float64(int(len(t.encode)-1) << t.shift)
	base, black := c.linear(c.from.add), c.linear([3]float64{})
	t.linear = new([3][256][3]int32)
	for ch := range 3 {
		for v := range 256 {
			y := c.from.trc[ch].at(float64(v) / 255)
			var xyz [3]float64
			for i := range xyz {
				xyz[i] = c.from.matrix[i][ch] * y
			}
			sum := c.linear(xyz)
			for i := range sum {
				s := (sum[i] - black[i]) * one
				if ch == 0 {
					s += base[i]*one + float64(int(1)<<t.shift)/2
				}
				const most = math.MaxInt32 / 3
				t.linear[ch][v][i] = int32(math.Round(min(max(s, -most), most)))
			}
		}
	}
}

func (t *Transform) byGrid(c *conversion) {
	n, points := int(c.from.space), rgbPoints
	if n == 4 {
		points = cmykPoints
	}
	t.axis = new([4][256]place)
	nodes := 1
	for ch := n - 1; ch >= 0; ch-- {
		for v := range 256 {
			at := v * (points - 1)
			cell, frac := at/255, at%255
			p := place{at: uint32(cell * nodes), step: uint32(frac<<stepBits | nodes)}
			if frac == 0 {
				p.step = 0 // the last node has no next
			}
			t.axis[ch][v] = p
		}
		nodes *= points
	}
	t.grid = make([]uint64, nodes)
	in := make([]float64, n)
	for i := range t.grid {
		k := i
		for ch := n - 1; ch >= 0; ch-- {
			in[ch] = float64(k%points) / float64(points-1)
			k /= points
		}
		for j, v := range c.at(in) {
			const most = 511 * nodeScale
			t.grid[i] |= uint64(min(max((v*255+nodeOffset)*nodeScale+0.5, 0), most)) << (j * laneBits)
		}
	}
}

// findGray works out what grays become.
func (t *Transform) findGray(c *conversion) {
	gray := new([256]uint8)
	for v := range gray {
		x := float64(v) / 255
		out := c.at([]float64{x, x, x}[:t.space])
		for i := range out {
			out[i] = clamp1(out[i])
		}
		lo, hi := min(out[0], out[1], out[2]), max(out[0], out[1], out[2])
		if hi-lo > 1.5/255 { // primaries in files are rounded, and do not add up to white exactly
			return
		}
		gray[v] = uint8(255*out[1] + 0.5)
	}
	t.gray = gray
}

func (t *Transform) findIdentity(most int) bool {
	near := func(a, b uint8) bool { return max(int(a)-int(b), int(b)-int(a)) <= most }
	if t.gray == nil {
		return false
	}
	for v, g := range t.gray {
		if !near(uint8(v), g) {
			return false
		}
	}
	if t.space == Gray {
		return true
	}
	var row, out [4 * 18]uint8
	for i := range 18 * 18 {
		for j := range 18 {
			row[4*j], row[4*j+1], row[4*j+2] = uint8(15*j), uint8(15*(i%18)), uint8(15*(i/18))
		}
		t.RGB(out[:], row[:])
		for k := range row {
			if !near(row[k], out[k]) {
				return false
			}
		}
	}
	return true
}
