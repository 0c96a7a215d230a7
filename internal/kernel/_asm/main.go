// Command asm writes kernel_amd64.s: go run . -out ../kernel_amd64.s
package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64,!purego")
	down8()
	down16()
	across1("across1SIMD", narrow)
	across1("across1WideSIMD", wide)
	across4("across4SIMD", narrow)
	across4("across4WideSIMD", wide)
	across4("acrossAlphaSIMD", unweighted)
	premultiply()
	yCbCrToRGBA()
	Generate()
}

// words and dwords are constants of a YMM register: vs, repeated.
func words(name string, vs ...int16) Mem {
	m := GLOBL(name, 8|16) // RODATA|NOPTR
	for i := range 16 {
		DATA(2*i, U16(uint16(vs[i%len(vs)])))
	}
	return m
}

func dwords(name string, vs ...int32) Mem {
	m := GLOBL(name, 8|16)
	for i := range 8 {
		DATA(4*i, U32(uint32(vs[i%len(vs)])))
	}
	return m
}

func floats(name string, v float32) Mem { return dwords(name, int32(math.Float32bits(v))) }

// bytes are a shuffle of each lane, or one for both.
func bytes(name string, lanes ...[16]uint8) Mem {
	m := GLOBL(name, 8|16)
	for i := range 2 {
		for j, v := range lanes[i%len(lanes)] {
			DATA(16*i+j, U8(v))
		}
	}
	return m
}

func constant(m Mem) reg.VecVirtual {
	y := YMM()
	VMOVDQU(m, y)
	return y
}

// blocks runs body for x = 0, size, 2·size, … and, where n is no multiple of size, once more for the last
// size elements. n is at least size.
func blocks(n reg.GPVirtual, size uint64, body func(x reg.GPVirtual)) {
	x, next := GP64(), GP64()
	XORQ(x, x)
	Label("block")
	body(x)
	ADDQ(U32(size), x)
	LEAQ(Mem{Base: x, Disp: int(size)}, next)
	CMPQ(next, n)
	JLE(LabelRef("block"))
	CMPQ(x, n)
	JGE(LabelRef("done"))
	MOVQ(n, x)
	SUBQ(U32(size), x)
	JMP(LabelRef("block"))
	Label("done")
}

// down is the loop over rows, two at a time, that both widths of samples share: add gets two rows of one
// block and their weights, and adds to acc.
func down(init Mem, scale uint8, add func(p, q Mem, w reg.VecVirtual, acc [4]reg.VecVirtual), store func(out Mem, acc [4]reg.VecVirtual)) {
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	stride := Load(Param("stride"), GP64())
	weight := Load(Param("weight"), GP64())
	n := Load(Param("n"), GP64()).(reg.GPVirtual)
	first := constant(init)
	blocks(n, 32, func(x reg.GPVirtual) {
		var acc [4]reg.VecVirtual
		for i := range acc {
			acc[i] = YMM()
			VMOVDQA(first, acc[i])
		}
		p, wp, k := GP64(), GP64(), GP64()
		LEAQ(Mem{Base: src, Index: x, Scale: scale}, p)
		MOVQ(weight, wp)
		Load(Param("rows"), k)
		SUBQ(Imm(2), k)
		JL(LabelRef("single"))
		Label("pair")
		w := YMM()
		VPBROADCASTD(Mem{Base: wp}, w)
		add(Mem{Base: p}, Mem{Base: p, Index: stride, Scale: 1}, w, acc)
		LEAQ(Mem{Base: p, Index: stride, Scale: 2}, p)
		ADDQ(Imm(4), wp)
		SUBQ(Imm(2), k)
		JGE(LabelRef("pair"))
		Label("single")
		ADDQ(Imm(2), k)
		JZ(LabelRef("store"))
		VPBROADCASTW(Mem{Base: wp}, w)
		add(Mem{Base: p}, Mem{}, w, acc)
		Label("store")
		store(Mem{Base: dst, Index: x, Scale: 2}, acc)
	})
	VZEROUPPER()
	RET()
}

func down8() {
	init := dwords("down8Init", 1<<7)
	TEXT("down8SIMD", NOSPLIT, "func(dst *int16, src *uint8, stride int, weight *int16, rows, n int)")
	zero := YMM()
	VPXOR(zero, zero, zero)
	down(init, 1, func(p, q Mem, w reg.VecVirtual, acc [4]reg.VecVirtual) {
		a, b, lo, hi := YMM(), YMM(), YMM(), YMM()
		VMOVDQU(p, a)
		if q.Base == nil {
			VPXOR(b, b, b)
		} else {
			VMOVDQU(q, b)
		}
		VPUNPCKLBW(b, a, lo) // columns 0-7 and 16-23, both rows in turn
		VPUNPCKHBW(b, a, hi) // 8-15 and 24-31
		for i, v := range []reg.VecVirtual{lo, hi} {
			s, t := YMM(), YMM()
			VPUNPCKLBW(zero, v, s)
			VPUNPCKHBW(zero, v, t)
			VPMADDWD(w, s, s)
			VPADDD(s, acc[2*i], acc[2*i])
			VPMADDWD(w, t, t)
			VPADDD(t, acc[2*i+1], acc[2*i+1])
		}
	}, func(out Mem, acc [4]reg.VecVirtual) {
		for _, a := range acc {
			VPSRAD(Imm(8), a, a)
		}
		s, t, u := YMM(), YMM(), YMM()
		VPACKSSDW(acc[1], acc[0], s) // 0-7 and 16-23
		VPACKSSDW(acc[3], acc[2], t) // 8-15 and 24-31
		VPERM2I128(Imm(0x20), t, s, u)
		VMOVDQU(u, out)
		VPERM2I128(Imm(0x31), t, s, u)
		VMOVDQU(u, out.Offset(32))
	})
}

func down16() {
	init := dwords("down16Init", 1<<29+1<<15)
	TEXT("down16SIMD", NOSPLIT, "func(dst, src *int16, stride int, weight *int16, rows, n int)")
	down(init, 2, func(p, q Mem, w reg.VecVirtual, acc [4]reg.VecVirtual) {
		for i := range 2 {
			a, b, s, t := YMM(), YMM(), YMM(), YMM()
			VMOVDQU(p.Offset(32*i), a)
			if q.Base == nil {
				VPXOR(b, b, b)
			} else {
				VMOVDQU(q.Offset(32*i), b)
			}
			VPUNPCKLWD(b, a, s) // columns 0-3 and 8-11
			VPUNPCKHWD(b, a, t) // 4-7 and 12-15
			VPMADDWD(w, s, s)
			VPADDD(s, acc[2*i], acc[2*i])
			VPMADDWD(w, t, t)
			VPADDD(t, acc[2*i+1], acc[2*i+1])
		}
	}, func(out Mem, acc [4]reg.VecVirtual) {
		for i := range 2 {
			VPSRAD(Imm(16), acc[2*i], acc[2*i])
			VPSRAD(Imm(16), acc[2*i+1], acc[2*i+1])
			s := YMM()
			VPACKSSDW(acc[2*i+1], acc[2*i], s)
			VMOVDQU(s, out.Offset(32*i))
		}
	})
}

// What becomes of a sum: Q20, of weights in Q14 and samples in Q6.
type form int

const (
	narrow     form = iota // 8 bits
	wide                   // Q8, less 32768
	unweighted             // 8 bits, colours divided by alpha
)

func (f form) init() Mem {
	switch f {
	case narrow:
		return dwords("acrossInit", 1<<19)
	case wide:
		return dwords("acrossWideInit", 1<<11-1<<27)
	}
	return dwords("acrossAlphaInit", 0)
}

func (f form) shift() uint64 {
	if f == narrow {
		return 20
	}
	return 12
}

func (f form) sample() (name string, size uint8) {
	if f == wide {
		return "int16", 2
	}
	return "uint8", 1
}

// inits are shared between kernels.
var inits = map[form]Mem{}

func (f form) sharedInit() Mem {
	if _, ok := inits[f]; !ok {
		inits[f] = f.init()
	}
	return inits[f]
}

func across1(name string, f form) {
	init := f.sharedInit()
	sample, size := f.sample()
	TEXT(name, NOSPLIT, "func(dst *"+sample+", row *int16, start *int32, packed *int16, pad, n int)")
	packed := Load(Param("packed"), GP64())
	n := Load(Param("n"), GP64()).(reg.GPVirtual)
	blocks(n, 8, func(x reg.GPVirtual) {
		var p [8]reg.GPVirtual
		row := Load(Param("row"), GP64())
		k := GP64()
		Load(Param("start"), k)
		for i := range p {
			p[i] = GP64()
			MOVLQSX(Mem{Base: k, Index: x, Scale: 4, Disp: 4 * i}, p[i])
			LEAQ(Mem{Base: row, Index: p[i], Scale: 2}, p[i])
		}
		var acc [4]reg.VecVirtual
		for i := range acc {
			acc[i] = YMM()
			VPXOR(acc[i], acc[i], acc[i])
		}
		XORQ(k, k)
		Label("chunk")
		for i := range acc { // output i in the low lane, i+4 in the high one
			px := YMM()
			VMOVDQU(Mem{Base: p[i], Index: k, Scale: 2}, px.AsX())
			VINSERTI128(Imm(1), Mem{Base: p[i+4], Index: k, Scale: 2}, px, px)
			VPMADDWD(Mem{Base: packed, Disp: 32 * i}, px, px)
			VPADDD(px, acc[i], acc[i])
		}
		ADDQ(U32(128), packed)
		ADDQ(Imm(8), k)
		pad, _ := Param("pad").Resolve()
		CMPQ(k, pad.Addr)
		JL(LabelRef("chunk"))
		VPHADDD(acc[1], acc[0], acc[0])
		VPHADDD(acc[3], acc[2], acc[2])
		VPHADDD(acc[2], acc[0], acc[0]) // outputs 0-3 and 4-7
		VPADDD(init, acc[0], acc[0])
		VPSRAD(Imm(f.shift()), acc[0], acc[0])
		hi := XMM()
		VEXTRACTI128(Imm(1), acc[0], hi)
		VPACKSSDW(hi, acc[0].AsX(), hi)
		dst := Load(Param("dst"), GP64())
		out := Mem{Base: dst, Index: x, Scale: size}
		if f == wide {
			VMOVDQU(hi, out)
			return
		}
		VPACKUSWB(hi, hi, hi)
		MOVQ(hi, out)
	})
	VZEROUPPER()
	RET()
}

// shuffles of across4, shared between kernels.
var pairs, spread Mem

func across4(name string, f form) {
	init := f.sharedInit()
	if pairs.Symbol.Name == "" {
		// r0 g0 b0 a0 r1 g1 b1 a1 to r0 r1 g0 g1 b0 b1 a0 a1
		pairs = bytes("pixelPairs", [16]uint8{0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15})
		// Four weights to two of them four times in the low lane and the other two in the high one.
		spread = bytes("weightPairs", [16]uint8{0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3},
			[16]uint8{4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7})
	}
	var full, perAlpha, halves, colour Mem
	if f == unweighted {
		full = dwords("fullAlpha", 255*255<<12)
		perAlpha = floats("perAlpha", 1.0/(255<<12))
		halves = floats("half", 0.5)
		colour = floats("maxColour", 255)
	}
	sample, _ := f.sample()
	TEXT(name, NOSPLIT, "func(dst *"+sample+", row *int16, start *int32, packed *int16, pad, n int)")
	packed := Load(Param("packed"), GP64())
	n := Load(Param("n"), GP64()).(reg.GPVirtual)
	row := Load(Param("row"), GP64())
	start := Load(Param("start"), GP64())
	dst := Load(Param("dst"), GP64())
	pairs, spread := constant(pairs), constant(spread)
	blocks(n, 4, func(x reg.GPVirtual) {
		var p [4]reg.GPVirtual
		var acc [4]reg.VecVirtual
		for i := range p {
			p[i] = GP64()
			MOVLQSX(Mem{Base: start, Index: x, Scale: 4, Disp: 4 * i}, p[i])
			LEAQ(Mem{Base: row, Index: p[i], Scale: 8}, p[i])
			acc[i] = YMM()
			VPXOR(acc[i], acc[i], acc[i])
		}
		k := GP64()
		XORQ(k, k)
		Label("chunk")
		for i := range acc {
			px, w := YMM(), YMM()
			VMOVDQU(Mem{Base: p[i], Index: k, Scale: 8}, px)
			VPSHUFB(pairs, px, px)
			VPBROADCASTQ(Mem{Base: packed, Disp: 8 * i}, w)
			VPSHUFB(spread, w, w)
			VPMADDWD(w, px, px)
			VPADDD(px, acc[i], acc[i])
		}
		ADDQ(Imm(32), packed)
		ADDQ(Imm(4), k)
		pad, _ := Param("pad").Resolve()
		CMPQ(k, pad.Addr)
		JL(LabelRef("chunk"))
		// The two lanes of each hold halves of the sum: pixels 0 and 2 together, and 1 and 3.
		var sum [2]reg.VecVirtual
		for i := range sum {
			lo, hi := YMM(), YMM()
			VPERM2I128(Imm(0x20), acc[i+2], acc[i], lo)
			VPERM2I128(Imm(0x31), acc[i+2], acc[i], hi)
			VPADDD(lo, hi, hi)
			sum[i] = hi
		}
		for i, s := range sum {
			if f != unweighted {
				VPADDD(init, s, s)
				VPSRAD(Imm(f.shift()), s, s)
				continue
			}
			a, zero, q := YMM(), YMM(), YMM()
			VPSHUFD(Imm(0xff), s, a)
			VPXOR(zero, zero, zero)
			VPMAXSD(zero, a, a)
			VPMINSD(full, a, a)
			VPMAXSD(zero, s, s)
			VPMINSD(a, s, s)
			VCVTDQ2PS(a, a)
			VCVTDQ2PS(s, q)
			VMULPS(colour, q, q)
			VDIVPS(a, q, q)
			VMULPS(perAlpha, a, a)
			VADDPS(halves, q, q)
			VADDPS(halves, a, a)
			VCVTTPS2DQ(q, q)
			VCVTTPS2DQ(a, a)
			VPBLENDD(Imm(0x88), a, q, q)
			VPCMPGTD(zero, a, a) // nothing is left of colours that are not seen
			VPAND(a, q, sum[i])
		}
		VPACKSSDW(sum[1], sum[0], sum[0]) // pixels 0 and 1, and 2 and 3
		if f == wide {
			VMOVDQU(sum[0], Mem{Base: dst, Index: x, Scale: 8})
			return
		}
		hi := XMM()
		VEXTRACTI128(Imm(1), sum[0], hi)
		VPACKUSWB(hi, sum[0].AsX(), hi)
		VMOVDQU(hi, Mem{Base: dst, Index: x, Scale: 4})
	})
	VZEROUPPER()
	RET()
}

func premultiply() {
	alphas := bytes("alphas", [16]uint8{6, 7, 6, 7, 6, 7, 0x80, 0x80, 14, 15, 14, 15, 14, 15, 0x80, 0x80})
	ones := words("opaqueAlpha", 0, 0, 0, 255)
	sign := words("sign", -32768)
	TEXT("premultiplySIMD", NOSPLIT, "func(dst *int16, src *uint8, n int)")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	n := Load(Param("n"), GP64()).(reg.GPVirtual)
	alpha, one, top := constant(alphas), constant(ones), constant(sign)
	blocks(n, 16, func(x reg.GPVirtual) {
		px, a := YMM(), YMM()
		VPMOVZXBW(Mem{Base: src, Index: x, Scale: 1}, px)
		VPSHUFB(alpha, px, a)
		VPOR(one, a, a)
		VPMULLW(a, px, px)
		VPXOR(top, px, px)
		VMOVDQU(px, Mem{Base: dst, Index: x, Scale: 2})
	})
	VZEROUPPER()
	RET()
}

// yCbCrToRGBA splits the weights of JFIF, in Q16, into whole numbers and what fits in 16 bits, so that pairs
// of products are added up at once:
//
//	r = y +   cr + (257·y             + 26345·cr) >> 16
//	g = y -   cr + (257·y - 22554·cb + 18734·cr) >> 16
//	b = y + 2·cb + (257·y - 14942·cb            ) >> 16
func yCbCrToRGBA() {
	middle := words("chromaZero", 128)
	red, blue, luma, green := words("redOf", 257, 26345), words("blueOf", 257, -14942), words("lumaOf", 257, 0), words("greenOf", -22554, 18734)
	full := words("opaque", 255)
	TEXT("yCbCrToRGBASIMD", NOSPLIT, "func(dst, y, cb, cr *uint8, n int)")
	dst := Load(Param("dst"), GP64())
	yp := Load(Param("y"), GP64())
	cbp := Load(Param("cb"), GP64())
	crp := Load(Param("cr"), GP64())
	n := Load(Param("n"), GP64()).(reg.GPVirtual)
	mid, rw, bw, yw, gw, opaque := constant(middle), constant(red), constant(blue), constant(luma), constant(green), constant(full)
	zero := YMM()
	VPXOR(zero, zero, zero)
	blocks(n, 16, func(x reg.GPVirtual) {
		y, cb, cr := YMM(), YMM(), YMM()
		VPMOVZXBW(Mem{Base: yp, Index: x, Scale: 1}, y)
		VPMOVZXBW(Mem{Base: cbp, Index: x, Scale: 1}, cb)
		VPMOVZXBW(Mem{Base: crp, Index: x, Scale: 1}, cr)
		VPSUBW(mid, cb, cb)
		VPSUBW(mid, cr, cr)
		// fraction gives the high words of what the pairs p, q weigh by w, plus more.
		fraction := func(p, q, w reg.VecVirtual, more ...reg.VecVirtual) reg.VecVirtual {
			lo, hi := YMM(), YMM()
			VPUNPCKLWD(q, p, lo)
			VPUNPCKHWD(q, p, hi)
			VPMADDWD(w, lo, lo)
			VPMADDWD(w, hi, hi)
			if more != nil {
				VPADDD(more[0], lo, lo)
				VPADDD(more[1], hi, hi)
			}
			VPSRAD(Imm(16), lo, lo)
			VPSRAD(Imm(16), hi, hi)
			VPACKSSDW(hi, lo, lo)
			return lo
		}
		r := fraction(y, cr, rw)
		VPADDW(y, r, r)
		VPADDW(cr, r, r)
		b := fraction(y, cb, bw)
		VPADDW(y, b, b)
		VPADDW(cb, b, b)
		VPADDW(cb, b, b)
		ylo, yhi := YMM(), YMM()
		VPUNPCKLWD(zero, y, ylo)
		VPUNPCKHWD(zero, y, yhi)
		VPMADDWD(yw, ylo, ylo)
		VPMADDWD(yw, yhi, yhi)
		g := fraction(cb, cr, gw, ylo, yhi)
		VPADDW(y, g, g)
		VPSUBW(cr, g, g)
		VPACKUSWB(b, r, r)      // r0-7 b0-7
		VPACKUSWB(opaque, g, g) // g0-7 a0-7
		rg, ba := YMM(), YMM()
		VPUNPCKLBW(g, r, rg)
		VPUNPCKHBW(g, r, ba)
		lo, hi, out := YMM(), YMM(), YMM()
		VPUNPCKLWD(ba, rg, lo) // pixels 0-3 and 8-11
		VPUNPCKHWD(ba, rg, hi) // 4-7 and 12-15
		VPERM2I128(Imm(0x20), hi, lo, out)
		VMOVDQU(out, Mem{Base: dst, Index: x, Scale: 4})
		VPERM2I128(Imm(0x31), hi, lo, out)
		VMOVDQU(out, Mem{Base: dst, Index: x, Scale: 4, Disp: 32})
	})
	VZEROUPPER()
	RET()
}
