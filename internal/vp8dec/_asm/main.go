// Command asm writes the AVX2 kernels of package vp8dec.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("!purego")
	c := consts()
	filterNormal(c)
	filterSimple(c)
	addRows(c)
	addBlock(c)
	trueMotion("trueMotion16AVX2", 16)
	trueMotion("trueMotion8AVX2", 8)
	stretch(c)
	Generate()
}

// constants are values in all bytes or all words of 32 bytes.
type constants struct{ sign, fe, three, four, low5, sixteen, nine, words63, bias4, c1, c2, luma, chroma, words128 Mem }

func consts() constants {
	all := func(name string, size int, v uint64) Mem {
		m := GLOBL(name, RODATA|NOPTR)
		for i := 0; i < 32; i += size {
			if size == 1 {
				DATA(i, U8(v))
			} else {
				DATA(i, U16(v))
			}
		}
		return m
	}
	return constants{
		sign: all("sign", 1, 0x80), fe: all("fe", 1, 0xfe), three: all("three", 1, 3), four: all("four", 1, 4),
		low5: all("low5", 1, 0x1f), sixteen: all("sixteen", 1, 16),
		nine: all("nine", 2, 9<<8), words63: all("words63", 2, 63),
		bias4: all("bias4", 2, 4),
		c1:    all("c1", 2, 85627-65536),
		c2:    all("c2", 2, 35468), // as a signed word 65536 less
		luma:  all("luma", 2, 5387), chroma: all("chroma", 2, 4537), words128: all("words128", 2, 128),
	}
}

// The kernels of the loop filter take the pixels of an edge as eight registers, p3 to q3, each of one pixel for each place
// along the edge: 16 of luma in the lower lane and, where it is 256 bits wide, eight of each chroma plane in the upper.
const (
	p3 = iota
	p2
	p1
	p0
	q0
	q1
	q2
	q3
)

// A lanes makes registers of one width.
type lanes func() VecVirtual

func wide() VecVirtual { return YMM() }

func narrow() VecVirtual { return XMM() }

// absDiff gives |a-b| of unsigned bytes.
func absDiff(v lanes, a, b VecVirtual) VecVirtual {
	d, t := v(), v()
	VPSUBUSB(b, a, d)
	VPSUBUSB(a, b, t)
	VPOR(t, d, d)
	return d
}

// overLimit gives what 2|p0-q0| + |p1-q1|/2 is over the limit by (RFC 6386, 15.2).
func overLimit(v lanes, c constants, px *[8]VecVirtual, limit Mem) VecVirtual {
	d := absDiff(v, px[p0], px[q0])
	VPADDUSB(d, d, d)
	t := absDiff(v, px[p1], px[q1])
	VPAND(c.fe, t, t)
	VPSRLW(Imm(1), t, t)
	VPADDUSB(t, d, d)
	VPSUBUSB(limit, d, d)
	return d
}

// shift3 is an arithmetic shift of signed bytes.
func shift3(c constants, x VecVirtual) {
	VPXOR(c.sign, x, x)
	VPSRLW(Imm(3), x, x)
	VPAND(c.low5, x, x)
	VPSUBB(c.sixteen, x, x)
}

// flip goes from unsigned bytes to signed ones and back.
func flip(c constants, px ...VecVirtual) {
	for _, x := range px {
		VPXOR(c.sign, x, x)
	}
}

// base adds 3(q0-p0) to a, all of signed bytes that saturate.
func base(v lanes, px *[8]VecVirtual, a VecVirtual) {
	s := v()
	VPSUBSB(px[p0], px[q0], s)
	for range 3 {
		VPADDSB(s, a, a)
	}
}

// two changes p0 and q0 by a (15.2) and gives what q0 became smaller by.
func two(v lanes, c constants, px *[8]VecVirtual, a VecVirtual) VecVirtual {
	f := v()
	VPADDSB(c.three, a, f)
	shift3(c, f)
	VPADDSB(f, px[p0], px[p0])
	VPADDSB(c.four, a, f)
	shift3(c, f)
	VPSUBSB(f, px[q0], px[q0])
	return f
}

// thresholds gives where the edge is to be filtered, and where it has no high variance (15.3).
func thresholds(v lanes, c constants, px *[8]VecVirtual, limit, interior, hev Mem) (mask, smooth VecVirtual) {
	m, high := absDiff(v, px[p3], px[p2]), absDiff(v, px[p1], px[p0])
	t := absDiff(v, px[p2], px[p1])
	VPMAXUB(t, m, m)
	t = absDiff(v, px[q3], px[q2])
	VPMAXUB(t, m, m)
	t = absDiff(v, px[q2], px[q1])
	VPMAXUB(t, m, m)
	t = absDiff(v, px[q1], px[q0])
	VPMAXUB(t, high, high)
	VPMAXUB(high, m, m)
	VPSUBUSB(interior, m, m)
	VPSUBUSB(hev, high, high)
	over := overLimit(v, c, px, limit)
	VPOR(over, m, m)
	zero := v()
	VPXOR(zero, zero, zero)
	VPCMPEQB(zero, m, m)
	VPCMPEQB(zero, high, high)
	return m, high
}

// subblockEdge changes two pixels on either side at most.
func subblockEdge(v lanes, c constants, px *[8]VecVirtual, limit, interior, hev Mem) {
	mask, smooth := thresholds(v, c, px, limit, interior, hev)
	flip(c, px[p1], px[p0], px[q0], px[q1])
	a := v()
	VPSUBSB(px[q1], px[p1], a)
	VPANDN(a, smooth, a)
	base(v, px, a)
	VPAND(mask, a, a)
	f := two(v, c, px, a)
	sign := v()
	VMOVDQU(c.sign, sign)
	VPXOR(sign, f, f)
	VPAVGB(sign, f, f) // (f+1)>>1
	VPXOR(sign, f, f)
	VPAND(smooth, f, f)
	VPADDSB(f, px[p1], px[p1])
	VPSUBSB(f, px[q1], px[q1])
	flip(c, px[p1], px[p0], px[q0], px[q1])
}

// macroblockEdge changes three.
func macroblockEdge(v lanes, c constants, px *[8]VecVirtual, limit, interior, hev Mem) {
	mask, smooth := thresholds(v, c, px, limit, interior, hev)
	flip(c, px[p2], px[p1], px[p0], px[q0], px[q1], px[q2])
	a := v()
	VPSUBSB(px[q1], px[p1], a)
	base(v, px, a)
	VPAND(mask, a, a)
	rough := v()
	VPANDN(a, smooth, rough)
	VPAND(smooth, a, a)
	two(v, c, px, rough)
	lo, hi, zero := v(), v(), v()
	VPXOR(zero, zero, zero)
	VPUNPCKLBW(a, zero, lo) // 256a
	VPUNPCKHBW(a, zero, hi)
	VPMULHW(c.nine, lo, lo) // 9a
	VPMULHW(c.nine, hi, hi)
	x, y := v(), v()
	VPADDW(c.words63, lo, x)
	VPADDW(c.words63, hi, y)
	for i := range 3 {
		s, t := v(), v()
		VPSRAW(Imm(7), x, s)
		VPSRAW(Imm(7), y, t)
		VPACKSSWB(t, s, s)
		VPADDSB(s, px[p2+i], px[p2+i])
		VPSUBSB(s, px[q2-i], px[q2-i])
		if i < 2 {
			VPADDW(lo, x, x)
			VPADDW(hi, y, y)
		}
	}
	flip(c, px[p2], px[p1], px[p0], px[q0], px[q1], px[q2])
}

// interleave takes the bytes of registers in turn, in pairs that differ in a bit of their index.
func interleave(v lanes, px *[8]VecVirtual, bit int) {
	for i := range 8 {
		if i&bit == 0 {
			t := v()
			VPUNPCKLBW(px[i|bit], px[i], t)
			VPUNPCKHBW(px[i|bit], px[i], px[i|bit])
			px[i] = t
		}
	}
}

// columns turns registers of which each has eight pixels of row i and of row i+8, into one for each column.
func columns(v lanes, px *[8]VecVirtual) {
	for _, bit := range []int{4, 2, 1, 4} {
		interleave(v, px, bit)
	}
	x := *px
	for c := range 8 {
		px[c] = x[c&1<<2|c>>1]
	}
}

// rows is the inverse of columns.
func rows(v lanes, px *[8]VecVirtual) {
	for _, bit := range []int{4, 2, 1} {
		interleave(v, px, bit)
	}
}

// A plane is where in memory rows begin, at most 16 of them: each base is four rows on.
type plane struct {
	bases         []Register
	pitch, pitch3 Register
}

func newPlane(p, pitch, pitch3 Register, rows int) plane {
	pl := plane{bases: []Register{p}, pitch: pitch, pitch3: pitch3}
	for i := 4; i < rows; i += 4 {
		next := GP64()
		LEAQ(Mem{Base: pl.bases[len(pl.bases)-1], Index: pitch, Scale: 4}, next)
		pl.bases = append(pl.bases, next)
	}
	return pl
}

func (p plane) row(y int) Mem {
	m := Mem{Base: p.bases[y>>2]}
	switch y & 3 {
	case 1, 2:
		m.Index, m.Scale = p.pitch, uint8(y&3)
	case 3:
		m.Index, m.Scale = p.pitch3, 1
	}
	return m
}

// filterNormal does the edges of a macroblock in the order that the standard asks for.
func filterNormal(c constants) {
	TEXT("filterNormalAVX2", NOSPLIT, "func(y, u, v *uint8, pitch int, strength *uint8, edges int)")
	Doc("filterNormalAVX2 is filterNormalGo.")
	Pragma("noescape")
	y, u, vv := Load(Param("y"), GP64()), Load(Param("u"), GP64()), Load(Param("v"), GP64())
	pitch, s := Load(Param("pitch"), GP64()), Load(Param("strength"), GP64())
	edges := Load(Param("edges"), GP64())
	pitch3 := GP64()
	LEAQ(Mem{Base: pitch, Index: pitch, Scale: 2}, pitch3)
	outer, inner := Mem{Base: s}, Mem{Base: s, Disp: 32}
	interior, hev := Mem{Base: s, Disp: 64}, Mem{Base: s, Disp: 96}

	// load takes a row of luma, and one of each chroma plane. It and the loads of columns begin with broadcasts because the
	// generator would not know that the upper lane is defined.
	store := func(x VecVirtual, luma, u, v Mem) {
		VMOVDQU(x.AsX(), luma)
		t := XMM()
		VEXTRACTI128(Imm(1), x, t)
		VMOVQ(t, u)
		VMOVHPS(t, v)
	}
	load := func(x VecVirtual, luma, u, v Mem) {
		t := XMM()
		VMOVQ(u, t)
		VMOVHPS(v, t, t)
		VBROADCASTI128(luma, x)
		VINSERTI128(Imm(1), t, x, x)
	}
	vertical := func(x int, withChroma bool, edge func(px *[8]VecVirtual, v lanes)) {
		luma := newPlane(y, pitch, pitch3, 16)
		up, vp := newPlane(u, pitch, pitch3, 8), newPlane(vv, pitch, pitch3, 8)
		v := narrow
		if withChroma {
			v = wide
		}
		var px [8]VecVirtual
		for i := range px {
			px[i] = v()
			if withChroma {
				VPBROADCASTQ(luma.row(i).Offset(x-4), px[i])
			} else {
				VMOVQ(luma.row(i).Offset(x-4), px[i])
			}
			VMOVHPS(luma.row(i+8).Offset(x-4), px[i].AsX(), px[i].AsX())
			if withChroma {
				t := XMM()
				VMOVQ(up.row(i).Offset(x-4), t)
				VMOVHPS(vp.row(i).Offset(x-4), t, t)
				VINSERTI128(Imm(1), t, px[i], px[i])
			}
		}
		columns(v, &px)
		edge(&px, v)
		rows(v, &px)
		for i := range px {
			VMOVQ(px[i].AsX(), luma.row(i).Offset(x-4))
			VMOVHPS(px[i].AsX(), luma.row(i+8).Offset(x-4))
			if withChroma {
				t := XMM()
				VEXTRACTI128(Imm(1), px[i], t)
				VMOVQ(t, up.row(i).Offset(x-4))
				VMOVHPS(t, vp.row(i).Offset(x-4))
			}
		}
	}
	horizontal := func(luma, up, vp plane, edge func(px *[8]VecVirtual, v lanes), changed int) {
		v := narrow
		if up.bases != nil {
			v = wide
		}
		var px [8]VecVirtual
		for i := range px {
			px[i] = v()
			if up.bases != nil {
				load(px[i], luma.row(i), up.row(i), vp.row(i))
			} else {
				VMOVDQU(luma.row(i), px[i])
			}
		}
		edge(&px, v)
		for i := 4 - changed; i < 4+changed; i++ {
			if up.bases != nil {
				store(px[i], luma.row(i), up.row(i), vp.row(i))
			} else {
				VMOVDQU(px[i], luma.row(i))
			}
		}
	}
	atMacroblock := func(px *[8]VecVirtual, v lanes) { macroblockEdge(v, c, px, outer, interior, hev) }
	atSubblock := func(px *[8]VecVirtual, v lanes) { subblockEdge(v, c, px, inner, interior, hev) }

	TESTQ(U32(1), edges)
	JZ(LabelRef("left"))
	vertical(0, true, atMacroblock)
	Label("left")
	TESTQ(U32(2), edges)
	JZ(LabelRef("columns"))
	vertical(4, true, atSubblock)
	vertical(8, false, atSubblock)
	vertical(12, false, atSubblock)
	Label("columns")
	above := func(p Register) plane {
		up, four := GP64(), GP64()
		MOVQ(pitch, four)
		SHLQ(Imm(2), four)
		MOVQ(p, up)
		SUBQ(four, up)
		return plane{[]Register{up, p}, pitch, pitch3}
	}
	TESTQ(U32(4), edges)
	JZ(LabelRef("top"))
	horizontal(above(y), above(u), above(vv), atMacroblock, 3)
	Label("top")
	TESTQ(U32(2), edges)
	JZ(LabelRef("done"))
	luma := newPlane(y, pitch, pitch3, 16)
	horizontal(plane{luma.bases[0:2], pitch, pitch3}, newPlane(u, pitch, pitch3, 8), newPlane(vv, pitch, pitch3, 8), atSubblock, 2)
	horizontal(plane{luma.bases[1:3], pitch, pitch3}, plane{}, plane{}, atSubblock, 2)
	horizontal(plane{luma.bases[2:4], pitch, pitch3}, plane{}, plane{}, atSubblock, 2)
	Label("done")
	VZEROUPPER()
	RET()
}

// filterSimple looks at two pixels on either side, of luma alone, and changes one.
func filterSimple(c constants) {
	TEXT("filterSimpleAVX2", NOSPLIT, "func(y *uint8, pitch int, strength *uint8, edges int)")
	Doc("filterSimpleAVX2 is filterSimpleGo.")
	Pragma("noescape")
	y, pitch := Load(Param("y"), GP64()), Load(Param("pitch"), GP64())
	s, edges := Load(Param("strength"), GP64()), Load(Param("edges"), GP64())
	pitch3 := GP64()
	LEAQ(Mem{Base: pitch, Index: pitch, Scale: 2}, pitch3)
	outer, inner := Mem{Base: s}, Mem{Base: s, Disp: 32}
	edge := func(px *[8]VecVirtual, limit Mem) {
		mask := overLimit(narrow, c, px, limit)
		zero := XMM()
		VPXOR(zero, zero, zero)
		VPCMPEQB(zero, mask, mask)
		flip(c, px[p1], px[p0], px[q0], px[q1])
		a := XMM()
		VPSUBSB(px[q1], px[p1], a)
		base(narrow, px, a)
		VPAND(mask, a, a)
		two(narrow, c, px, a)
		flip(c, px[p1], px[p0], px[q0], px[q1])
	}
	vertical := func(x int, limit Mem) {
		luma := newPlane(y, pitch, pitch3, 16)
		var px [8]VecVirtual
		for i := range px {
			px[i] = XMM()
			VMOVQ(luma.row(i).Offset(x-4), px[i])
			VMOVHPS(luma.row(i+8).Offset(x-4), px[i], px[i])
		}
		columns(narrow, &px)
		edge(&px, limit)
		rows(narrow, &px)
		for i := range px {
			VMOVQ(px[i], luma.row(i).Offset(x-4))
			VMOVHPS(px[i], luma.row(i+8).Offset(x-4))
		}
	}
	horizontal := func(luma plane, limit Mem) {
		var px [8]VecVirtual
		for i := p1; i <= q1; i++ {
			px[i] = XMM()
			VMOVDQU(luma.row(i), px[i])
		}
		edge(&px, limit)
		VMOVDQU(px[p0], luma.row(p0))
		VMOVDQU(px[q0], luma.row(q0))
	}
	TESTQ(U32(1), edges)
	JZ(LabelRef("left"))
	vertical(0, outer)
	Label("left")
	TESTQ(U32(2), edges)
	JZ(LabelRef("columns"))
	for x := 4; x < 16; x += 4 {
		vertical(x, inner)
	}
	Label("columns")
	TESTQ(U32(4), edges)
	JZ(LabelRef("top"))
	up, four := GP64(), GP64()
	MOVQ(pitch, four)
	SHLQ(Imm(2), four)
	MOVQ(y, up)
	SUBQ(four, up)
	horizontal(plane{[]Register{up, y}, pitch, pitch3}, outer)
	Label("top")
	TESTQ(U32(2), edges)
	JZ(LabelRef("done"))
	luma := newPlane(y, pitch, pitch3, 16)
	for i := range 3 {
		horizontal(plane{luma.bases[i : i+2], pitch, pitch3}, inner)
	}
	Label("done")
	RET()
}

// transform does one direction of the inverse DCT (14.3) on words: x becomes what it gives for each.
func transform(v lanes, c constants, x *[4]VecVirtual) {
	// Both products keep their upper words. A factor of 1.3 is one of 0.3 and the word itself; one of 0.54 is, as a signed
	// word, 1 less.
	times := func(w VecVirtual, factor Mem) VecVirtual {
		p := v()
		VPMULHW(factor, w, p)
		VPADDW(w, p, p)
		return p
	}
	a, b := v(), v()
	VPADDW(x[2], x[0], a)
	VPSUBW(x[2], x[0], b)
	cc, t := times(x[1], c.c2), times(x[3], c.c1)
	VPSUBW(t, cc, cc)
	d, t := times(x[1], c.c1), times(x[3], c.c2)
	VPADDW(t, d, d)
	VPADDW(d, a, x[0])
	VPADDW(cc, b, x[1])
	VPSUBW(cc, b, x[2])
	VPSUBW(d, a, x[3])
}

// transpose turns the 4x4 words in each eight bytes of four registers.
func transpose(v lanes, x *[4]VecVirtual) {
	a, b, c, d := v(), v(), v(), v()
	VPUNPCKLWD(x[1], x[0], a) // 00 10 01 11 02 12 03 13, by column and row of the first block
	VPUNPCKHWD(x[1], x[0], b) // of the second
	VPUNPCKLWD(x[3], x[2], c)
	VPUNPCKHWD(x[3], x[2], d)
	e, f, g, h := x[0], x[1], x[2], x[3]
	VPUNPCKLDQ(c, a, e) // columns 0 and 1 of the first
	VPUNPCKHDQ(c, a, f) // 2 and 3
	VPUNPCKLDQ(d, b, g)
	VPUNPCKHDQ(d, b, h)
	VPUNPCKLQDQ(g, e, a)
	VPUNPCKHQDQ(g, e, b)
	VPUNPCKLQDQ(h, f, c)
	VPUNPCKHQDQ(h, f, d)
	*x = [4]VecVirtual{a, b, c, d}
}

func residue(v lanes, c constants, x *[4]VecVirtual) {
	transform(v, c, x)
	transpose(v, x)
	VPADDW(c.bias4, x[0], x[0])
	transform(v, c, x)
	for i := range x {
		VPSRAW(Imm(3), x[i], x[i])
	}
	transpose(v, x)
}

// addRows adds the residue of rows of four blocks.
func addRows(c constants) {
	TEXT("addRowsAVX2", NOSPLIT, "func(left, right *uint8, pitch int, coef *int16, rows uint)")
	Doc("addRowsAVX2 is addRowsGo, for coefficients below mostWords.")
	Pragma("noescape")
	left, right := Load(Param("left"), GP64()), Load(Param("right"), GP64())
	pitch, coef := Load(Param("pitch"), GP64()), Load(Param("coef"), GP64())
	mask := Load(Param("rows"), GP64())
	pitch3 := GP64()
	LEAQ(Mem{Base: pitch, Index: pitch, Scale: 2}, pitch3)
	TESTQ(mask, mask)
	JZ(LabelRef("done"))
	Label("row")
	TESTQ(U32(1), mask)
	JZ(LabelRef("next"))
	var x [4]VecVirtual
	for i := range x {
		x[i] = YMM()
		VMOVDQU(Mem{Base: coef, Disp: 32 * i}, x[i])
	}
	residue(wide, c, &x)
	l, r := plane{[]Register{left}, pitch, pitch3}, plane{[]Register{right}, pitch, pitch3}
	for i := range x {
		px, upper := XMM(), XMM()
		VMOVQ(l.row(i), px)
		VMOVHPS(r.row(i), px, px)
		words := YMM()
		VPMOVZXBW(px, words)
		VPADDW(words, x[i], words)
		VEXTRACTI128(Imm(1), words, upper)
		VPACKUSWB(upper, words.AsX(), px)
		VMOVQ(px, l.row(i))
		VMOVHPS(px, r.row(i))
	}
	Label("next")
	ADDQ(Imm(128), coef)
	LEAQ(Mem{Base: left, Index: pitch, Scale: 4}, left)
	LEAQ(Mem{Base: right, Index: pitch, Scale: 4}, right)
	SHRQ(Imm(1), mask)
	JNZ(LabelRef("row"))
	Label("done")
	VZEROUPPER()
	RET()
}

// addBlock adds the residue of one.
func addBlock(c constants) {
	TEXT("addBlockAVX2", NOSPLIT, "func(dst *uint8, pitch int, coef *int16)")
	Doc("addBlockAVX2 is addBlockGo, for coefficients below mostWords.")
	Pragma("noescape")
	dst, pitch := Load(Param("dst"), GP64()), Load(Param("pitch"), GP64())
	coef := Load(Param("coef"), GP64())
	pitch3 := GP64()
	LEAQ(Mem{Base: pitch, Index: pitch, Scale: 2}, pitch3)
	var x [4]VecVirtual
	for i := range x {
		x[i] = XMM()
		VMOVQ(Mem{Base: coef, Disp: 32 * i}, x[i])
	}
	residue(narrow, c, &x)
	p := plane{[]Register{dst}, pitch, pitch3}
	for i := range x {
		px := XMM()
		VMOVD(p.row(i), px)
		VPMOVZXBW(px, px)
		VPADDW(x[i], px, px)
		VPACKUSWB(px, px, px)
		VMOVD(px, p.row(i))
	}
	RET()
}

// trueMotion predicts from the pixels above, to the left, and above to the left (12.2).
func trueMotion(name string, n int) {
	TEXT(name, NOSPLIT, "func(dst *uint8, pitch int, above *uint8)")
	Doc(name + " is trueMotionGo of a square of that side.")
	Pragma("noescape")
	dst, pitch := Load(Param("dst"), GP64()), Load(Param("pitch"), GP64())
	above := Load(Param("above"), GP64())
	v := narrow
	if n == 16 {
		v = wide
	}
	top, corner, t := v(), v(), XMM()
	VPMOVZXBW(Mem{Base: above}, top)
	VPBROADCASTB(Mem{Base: above, Disp: -1}, t)
	VPMOVZXBW(t, corner)
	VPSUBW(corner, top, top)
	count := GP64()
	MOVQ(U32(n), count)
	Label("row")
	left, sum := v(), v()
	VPBROADCASTB(Mem{Base: dst, Disp: -1}, t)
	VPMOVZXBW(t, left)
	VPADDW(top, left, sum)
	if n == 16 {
		upper := XMM()
		VEXTRACTI128(Imm(1), sum, upper)
		VPACKUSWB(upper, sum.AsX(), t)
		VMOVDQU(t, Mem{Base: dst})
	} else {
		VPACKUSWB(sum, sum, sum)
		VMOVQ(sum, Mem{Base: dst})
	}
	ADDQ(pitch, dst)
	DECQ(count)
	JNZ(LabelRef("row"))
	if n == 16 {
		VZEROUPPER()
	}
	RET()
}

// stretch goes from the range of television to all of eight bits: what there is and a sixth, or a seventh, of it.
func stretch(c constants) {
	for _, luma := range []bool{true, false} {
		name := "stretchChroma"
		if luma {
			name = "stretchLuma"
		}
		TEXT(name+"AVX2", NOSPLIT, "func(dst, src *uint8, n int)")
		Doc(name + "AVX2 is " + name + "Go for n samples, a multiple of 32 and 32 at least.")
		Pragma("noescape")
		dst, src, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("n"), GP64())
		zero, factor, center := YMM(), YMM(), YMM()
		VPXOR(zero, zero, zero)
		if luma {
			VMOVDQU(c.luma, factor)
			VMOVDQU(c.sixteen, center)
		} else {
			VMOVDQU(c.chroma, factor)
			VMOVDQU(c.words128, center)
		}
		Label("block")
		x, lo, hi, t := YMM(), YMM(), YMM(), YMM()
		VMOVDQU(Mem{Base: src}, x)
		if luma {
			VPSUBUSB(center, x, x)
		}
		VPUNPCKLBW(zero, x, lo)
		VPUNPCKHBW(zero, x, hi)
		for _, w := range []VecVirtual{lo, hi} {
			if luma {
				VPMULHRSW(factor, w, t)
			} else {
				VPSUBW(center, w, t)
				VPMULHRSW(factor, t, t)
			}
			VPADDW(t, w, w)
		}
		VPACKUSWB(hi, lo, x)
		VMOVDQU(x, Mem{Base: dst})
		ADDQ(Imm(32), src)
		ADDQ(Imm(32), dst)
		SUBQ(Imm(32), n)
		JNZ(LabelRef("block"))
		VZEROUPPER()
		RET()
	}
}
