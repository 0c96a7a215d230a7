package vp8dec

// The kinds of blocks, by which tokens have their probabilities (RFC 6386, 13.3).
const (
	blockY1AfterY2 = iota // luma whose first coefficients are in a block of their own
	blockY2
	blockUV
	blockY1
)

// A coefProbs has the probabilities of tokens by coefficient and context.
type coefProbs [17][3][11]uint8

// Coefficients lie as the pixels do that they are of: luma is 16 rows of 16, and below it eight rows of both chroma planes
// side by side.
const (
	coefPitch  = 16
	chromaCoef = 16 * coefPitch
	allCoef    = chromaCoef + 8*coefPitch
)

// zigzag is where coefficients go (13), in rows of coefPitch.
var zigzag = [16]uint8{
	0, 1, coefPitch, 2 * coefPitch, coefPitch + 1, 2, 3, coefPitch + 2,
	2*coefPitch + 1, 3 * coefPitch, 3*coefPitch + 1, 2*coefPitch + 2, coefPitch + 3, 2*coefPitch + 3, 3*coefPitch + 2, 3*coefPitch + 3,
}

// largeTokens are the probabilities of the bits that categories 3 to 6 have (13.2), and zeros.
var largeTokens = [4][12]uint8{
	{173, 148, 140},
	{176, 155, 140, 135},
	{180, 157, 141, 134, 130},
	{254, 254, 243, 230, 196, 177, 153, 140, 133, 130, 129},
}

// mostWords is what coefficients stay below so that words are enough to transform them: both directions make what goes in up
// to 3.85 times as large.
const mostWords = 2048

// tokens reads the coefficients of a block from the first on, times factor, into coef at at. It reports whether there were
// any tokens, and gives bits that magnitudes have at most.
func (r *reader) tokens(probs *coefProbs, context uint8, first int, factor [2]int32, coef []int16, at int) (some uint8, magnitudes uint32) {
	value, rng, n := r.value, r.rng, r.n
	var bit bool
	p := &probs[first][context]
	if n < 0 {
		r.value, r.n = value, n
		r.fill()
		value, n = r.value, r.n
	}
	value, rng, n, bit = step(value, rng, n, p[0])
	if !bit {
		r.value, r.rng, r.n = value, rng, n
		return 0, 0
	}
	for i := first; i < 16; {
		if n < 0 {
			r.value, r.n = value, n
			r.fill()
			value, n = r.value, r.n
		}
		value, rng, n, bit = step(value, rng, n, p[1])
		if !bit {
			i++
			p = &probs[i][0] // there is no end of block after a zero
			continue
		}
		if n < 0 {
			r.value, r.n = value, n
			r.fill()
			value, n = r.value, r.n
		}
		value, rng, n, bit = step(value, rng, n, p[2])
		v := int32(1)
		next := 1
		if bit {
			r.value, r.rng, r.n = value, rng, n
			v = r.large(p)
			value, rng, n = r.value, r.rng, r.n
			next = 2
		}
		if n < 0 {
			r.value, r.n = value, n
			r.fill()
			value, n = r.value, r.n
		}
		// The sign: a bit of even odds.
		f := factor[1]
		if i == 0 {
			f = factor[0]
		}
		v *= f
		magnitudes |= uint32(v)
		value, rng, n, bit = step(value, rng, n, 128)
		if bit {
			v = -v
		}
		coef[at+int(zigzag[i])] = int16(v)
		i++
		if i == 16 {
			break
		}
		p = &probs[i][next]
		if n < 0 {
			r.value, r.n = value, n
			r.fill()
			value, n = r.value, r.n
		}
		value, rng, n, bit = step(value, rng, n, p[0])
		if !bit {
			break
		}
	}
	r.value, r.rng, r.n = value, rng, n
	return 1, magnitudes
}

// large reads a token that says two or more.
func (r *reader) large(p *[11]uint8) int32 {
	if !r.bit(p[3]) {
		if !r.bit(p[4]) {
			return 2
		}
		return 3 + r.one(p[5])
	}
	if !r.bit(p[6]) {
		if !r.bit(p[7]) {
			return 5 + r.one(159)
		}
		v := 7 + 2*r.one(165)
		return v + r.one(145)
	}
	category := 2 * r.one(p[8])
	category += r.one(p[9+category/2])
	v := int32(0)
	for _, prob := range largeTokens[category] {
		if prob == 0 {
			break
		}
		v = 2*v + r.one(prob)
	}
	return v + 3 + 8<<category
}

func (r *reader) one(prob uint8) int32 {
	if r.bit(prob) {
		return 1
	}
	return 0
}

// A residue says which blocks of a macroblock have anything to add to what is predicted.
type residue struct {
	blocks uint32 // bits of luma, in rows, and from 16 on of each chroma plane
	words  bool   // words are enough to transform all
}

// readResidue reads the coefficients of a macroblock into d.coef, which is zero. What neighbours had is kept as bits: four for luma, two for
// each chroma plane, one for the block of luma's first coefficients.
func (d *decoder) readResidue(r *reader, m *macroblock, above, left *uint16) residue {
	f, coef := &d.factors[m.segment], d.coef[:]
	up, aside := *above, *left
	kind, first := blockY1, 0
	var blocks, magnitudes uint32
	const y2 = 1 << 8
	if !m.split {
		context := uint8(up>>8&1 + aside>>8&1)
		var first16 [52]int16
		some, _ := r.tokens(&d.probs[blockY2], context, 0, f.y2, first16[:], 0)
		up, aside = up&^y2|uint16(some)<<8, aside&^y2|uint16(some)<<8
		if some != 0 {
			blocks, magnitudes = d.inverseWHT(&first16)
		}
		kind, first = blockY1AfterY2, 1
	}
	probs := &d.probs[kind]
	for y := range 4 {
		l := uint8(aside>>y) & 1
		for x := range 4 {
			some, most := r.tokens(probs, l+uint8(up>>x)&1, first, f.y1, coef, 4*coefPitch*y+4*x)
			l = some
			up = up&^(1<<x) | uint16(some)<<x
			blocks |= uint32(some) << (4*y + x)
			magnitudes |= most
		}
		aside = aside&^(1<<y) | uint16(l)<<y
	}
	probs = &d.probs[blockUV]
	for plane := range 2 {
		for y := range 2 {
			at := 4 + 2*plane
			l := uint8(aside>>(at+y)) & 1
			for x := range 2 {
				some, most := r.tokens(probs, l+uint8(up>>(at+x))&1, 0, f.uv, coef, chromaCoef+4*coefPitch*y+8*plane+4*x)
				l = some
				up = up&^(1<<(at+x)) | uint16(some)<<(at+x)
				blocks |= uint32(some) << (16 + 4*y + 2*plane + x)
				magnitudes |= most
			}
			aside = aside&^(1<<(at+y)) | uint16(l)<<(at+y)
		}
	}
	*above, *left = up, aside
	return residue{blocks, magnitudes < mostWords}
}

// inverseWHT makes the first coefficients of luma (14.3), and gives which are not zero and bits that their magnitudes have.
func (d *decoder) inverseWHT(in *[52]int16) (blocks, magnitudes uint32) {
	var m [16]int32
	for i := range 4 {
		x0, x1, x2, x3 := int32(in[i]), int32(in[coefPitch+i]), int32(in[2*coefPitch+i]), int32(in[3*coefPitch+i])
		a0, a1, a2, a3 := x0+x3, x1+x2, x1-x2, x0-x3
		m[i], m[8+i], m[4+i], m[12+i] = a0+a1, a0-a1, a3+a2, a3-a2
	}
	for y := range 4 {
		dc := m[4*y] + 3
		a0, a1, a2, a3 := dc+m[4*y+3], m[4*y+1]+m[4*y+2], m[4*y+1]-m[4*y+2], dc-m[4*y+3]
		for x, v := range [4]int32{(a0 + a1) >> 3, (a3 + a2) >> 3, (a0 - a1) >> 3, (a3 - a2) >> 3} {
			w := int16(v)
			d.coef[4*coefPitch*y+4*x] = w
			if w != 0 {
				blocks |= 1 << (4*y + x)
				magnitudes |= uint32(int32(w) ^ int32(w)>>15)
			}
		}
	}
	return blocks, magnitudes
}
