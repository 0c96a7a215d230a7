// Command asm writes the AVX2 kernels of package jpegenc.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("!purego")
	transform()
	weigh()
	weighQuads()
	Generate()
}

// pairs is a constant of 16 words that alternate, for VPMADDWD.
func pairs(name string, a, b int) Mem {
	return dwords(name, uint32(uint16(a))|uint32(uint16(b))<<16)
}

// dwords is a constant of eight equal 32-bit numbers.
func dwords(name string, v uint32) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(v))
	}
	return m
}

// rotation is a pair of sums of products with a pair of constants, descaled: two coefficients of eight.
type rotation struct{ first, second Mem }

// bind holds the constants of the transform, in Q13.
type bind struct {
	even, z     rotation
	t47, t56    rotation
	half1       Mem // of a descaling by 11 bits
	half2       Mem // of one by 15
	two         Mem // words
	centre      Mem
	permutation [4][4]*Mem
}

func constants() *bind {
	const (
		f0298, f0390, f0541, f0765, f0899, f1175 = 2446, 3196, 4433, 6270, 7373, 9633
		f1501, f1847, f1961, f2053, f2562, f3072 = 12299, 15137, 16069, 16819, 20995, 25172
	)
	k := &bind{
		even:   rotation{pairs("even2", f0541+f0765, f0541), pairs("even6", f0541, f0541-f1847)},
		z:      rotation{pairs("odd3", f1175-f1961, f1175), pairs("odd4", f1175, f1175-f0390)},
		t47:    rotation{pairs("odd7", f0298-f0899, -f0899), pairs("odd1", -f0899, f1501-f0899)},
		t56:    rotation{pairs("odd5", f2053-f2562, -f2562), pairs("odd3b", -f2562, f3072-f2562)},
		half1:  dwords("half11", 1<<10),
		half2:  dwords("half15", 1<<14),
		two:    pairs("two", 2, 2),
		centre: pairs("centre", 128, 128),
	}
	// Which byte of each packed register, of two columns, goes where in the order of the file.
	names := "ABCDEFGHIJKLMNOP"
	for out := range 4 {
		for in := range 4 {
			var bytes [16]byte
			some := false
			for i := range 16 {
				bytes[i] = 0x80 // gives zero
				if at := zigzag[16*out+i]; at/16 == in {
					bytes[i], some = byte(at%16), true
				}
			}
			if !some {
				continue
			}
			m := GLOBL("order"+names[4*out+in:][:1], RODATA|NOPTR)
			for i, b := range append(bytes[:], bytes[:]...) {
				DATA(i, U8(b))
			}
			k.permutation[out][in] = &m
		}
	}
	return k
}

// zigzag is that of the package: places in a transposed block.
var zigzag = func() (places [64]int) {
	u, v := 0, 0
	for k := range places {
		places[k] = 8*u + v
		switch {
		case (u+v)%2 == 0 && u == 7:
			v++
		case (u+v)%2 == 0 && v == 0:
			u++
		case (u+v)%2 == 0:
			u, v = u+1, v-1
		case v == 7:
			u++
		case u == 0:
			v++
		default:
			u, v = u-1, v+1
		}
	}
	return places
}()

// transform does two blocks at a time: one in the lower halves of registers, one in the upper.
func transform() {
	TEXT("transformAVX2", NOSPLIT, "func(dst *int16, masks *uint64, src *uint8, stride int, q *uint16, pairs int)")
	Doc("transformAVX2 is transformGeneric for pairs of blocks; there must be one at least.")
	Pragma("noescape")
	dst, masks := Load(Param("dst"), GP64()), Load(Param("masks"), GP64())
	src, stride := Load(Param("src"), GP64()), Load(Param("stride"), GP64())
	q, n := Load(Param("q"), GP64()), Load(Param("pairs"), GP64())
	k := constants()
	stride3 := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, stride3)

	Label("pair")
	var r [8]VecVirtual
	lower := GP64()
	LEAQ(Mem{Base: src, Index: stride, Scale: 4}, lower)
	for y := range r {
		r[y] = YMM()
		m := Mem{Base: src}
		if y >= 4 {
			m.Base = lower
		}
		switch y % 4 {
		case 1:
			m.Index, m.Scale = stride, 1
		case 2:
			m.Index, m.Scale = stride, 2
		case 3:
			m.Index, m.Scale = stride3, 1
		}
		VPMOVZXBW(m, r[y])
		VPSUBW(k.centre, r[y], r[y])
	}
	r = k.pass(r, false)
	r = transpose(r)
	r = k.pass(r, true)

	var packed [4]VecVirtual
	for i := range r {
		abs, factor := YMM(), YMM()
		VPABSW(r[i], abs)
		VBROADCASTI128(Mem{Base: q, Disp: 128 + 16*i}, factor) // bias
		VPADDW(factor, abs, abs)
		VBROADCASTI128(Mem{Base: q, Disp: 16 * i}, factor) // reciprocal
		VPMULHUW(factor, abs, abs)
		VBROADCASTI128(Mem{Base: q, Disp: 256 + 16*i}, factor) // scale
		VPMULHUW(factor, abs, abs)
		VPSIGNW(r[i], abs, abs)
		VMOVDQU(abs.AsX(), Mem{Base: dst, Disp: 16 * i})
		VEXTRACTI128(U8(1), abs, Mem{Base: dst, Disp: 128 + 16*i})
		r[i] = abs
		if i%2 == 1 {
			packed[i/2] = YMM()
			VPACKSSWB(r[i], r[i-1], packed[i/2]) // saturates: not zero stays so
		}
	}

	// Bytes in the order of the file: the lower block's in the lower halves.
	var ordered [4]VecVirtual
	for out := range ordered {
		for in, m := range k.permutation[out] {
			if m == nil {
				continue
			}
			if ordered[out] == nil {
				ordered[out] = YMM()
				VPSHUFB(*m, packed[in], ordered[out])
				continue
			}
			t := YMM()
			VPSHUFB(*m, packed[in], t)
			VPOR(t, ordered[out], ordered[out])
		}
	}
	zero, t := YMM(), YMM()
	VPXOR(zero, zero, zero)
	for b, halves := range []uint64{0x20, 0x31} {
		mask, high := GP64(), GP64()
		VPERM2I128(U8(halves), ordered[1], ordered[0], t)
		VPCMPEQB(zero, t, t)
		VPMOVMSKB(t, mask.As32())
		VPERM2I128(U8(halves), ordered[3], ordered[2], t)
		VPCMPEQB(zero, t, t)
		VPMOVMSKB(t, high.As32())
		SHLQ(U8(32), high)
		ORQ(high, mask)
		NOTQ(mask)
		MOVQ(mask, Mem{Base: masks, Disp: 8 * b})
	}
	ADDQ(U8(16), src)
	ADDQ(U32(256), dst)
	ADDQ(U8(16), masks)
	DECQ(n)
	JNZ(LabelRef("pair"))
	VZEROUPPER()
	RET()
}

func add(a, b VecVirtual) VecVirtual { d := YMM(); VPADDW(b, a, d); return d }
func sub(a, b VecVirtual) VecVirtual { d := YMM(); VPSUBW(b, a, d); return d }

// interleave gives the words of a and b in turn: of the lower four columns, and of the upper.
func interleave(a, b VecVirtual) [2]VecVirtual {
	lo, hi := YMM(), YMM()
	VPUNPCKLWD(b, a, lo)
	VPUNPCKHWD(b, a, hi)
	return [2]VecVirtual{lo, hi}
}

func dot(v [2]VecVirtual, by Mem) [2]VecVirtual {
	lo, hi := YMM(), YMM()
	VPMADDWD(by, v[0], lo)
	VPMADDWD(by, v[1], hi)
	return [2]VecVirtual{lo, hi}
}

// pass transforms columns: eight of each of two blocks.
func (k *bind) pass(a [8]VecVirtual, last bool) (d [8]VecVirtual) {
	half, down := k.half1, uint64(11)
	if last {
		half, down = k.half2, 15
	}
	descale := func(v [2]VecVirtual) VecVirtual {
		for _, r := range v {
			VPADDD(half, r, r)
			VPSRAD(U8(down), r, r)
		}
		VPACKSSDW(v[1], v[0], v[0])
		return v[0]
	}
	plus := func(v, w [2]VecVirtual) [2]VecVirtual {
		VPADDD(w[0], v[0], v[0])
		VPADDD(w[1], v[1], v[1])
		return v
	}
	t7, t0 := sub(a[0], a[7]), add(a[0], a[7])
	t6, t1 := sub(a[1], a[6]), add(a[1], a[6])
	t5, t2 := sub(a[2], a[5]), add(a[2], a[5])
	t4, t3 := sub(a[3], a[4]), add(a[3], a[4])

	e, o := add(t0, t3), add(t1, t2)
	d[0], d[4] = add(e, o), sub(e, o)
	for _, r := range []VecVirtual{d[0], d[4]} {
		if last {
			VPADDW(k.two, r, r)
			VPSRAW(U8(2), r, r)
		} else {
			VPSLLW(U8(2), r, r)
		}
	}
	both := interleave(sub(t0, t3), sub(t1, t2))
	d[2] = descale(dot(both, k.even.first))
	d[6] = descale(dot(both, k.even.second))

	both = interleave(add(t4, t6), add(t5, t7))
	z3, z4 := dot(both, k.z.first), dot(both, k.z.second)
	both = interleave(t4, t7)
	d[7] = descale(plus(dot(both, k.t47.first), z3))
	d[1] = descale(plus(dot(both, k.t47.second), z4))
	both = interleave(t5, t6)
	d[5] = descale(plus(dot(both, k.t56.first), z4))
	d[3] = descale(plus(dot(both, k.t56.second), z3))
	return d
}

// transpose turns two blocks of 8x8 words at once, each in its halves.
func transpose(a [8]VecVirtual) (d [8]VecVirtual) {
	var w [8]VecVirtual
	for i := range 4 { // rows 2i and 2i+1
		v := interleave(a[2*i], a[2*i+1])
		w[2*i], w[2*i+1] = v[0], v[1]
	}
	var q [8]VecVirtual // columns 2i and 2i+1: rows 0 to 3, then 4 to 7
	for h := range 2 {
		for side := range 2 {
			lo, hi := YMM(), YMM()
			VPUNPCKLDQ(w[4*h+2+side], w[4*h+side], lo)
			VPUNPCKHDQ(w[4*h+2+side], w[4*h+side], hi)
			q[4*h+2*side], q[4*h+2*side+1] = lo, hi
		}
	}
	for i := range 4 {
		d[2*i], d[2*i+1] = YMM(), YMM()
		VPUNPCKLQDQ(q[4+i], q[i], d[2*i])
		VPUNPCKHQDQ(q[4+i], q[i], d[2*i+1])
	}
	return d
}

// weigh does 16 pixels at a time.
func weigh() {
	TEXT("weighAVX2", NOSPLIT, "func(dst, src *uint8, weight *int16, offset int32, n int)")
	Doc("weighAVX2 is weighGeneric for n times 16 pixels; n is one at least.")
	Pragma("noescape")
	dst, src := Load(Param("dst"), GP64()), Load(Param("src"), GP64())
	w, n := Load(Param("weight"), GP64()), Load(Param("n"), GP64())
	weight, offset, zero, order := YMM(), YMM(), YMM(), YMM()
	VPBROADCASTQ(Mem{Base: w}, weight)
	VMOVD(Load(Param("offset"), GP32()), offset.AsX())
	VPBROADCASTD(offset.AsX(), offset)
	VPXOR(zero, zero, zero)
	places := GLOBL("quarters", RODATA|NOPTR)
	for i, at := range []uint32{0, 4, 1, 5, 0, 4, 1, 5} {
		DATA(4*i, U32(at))
	}
	VMOVDQU(places, order)

	Label("pixels")
	var sum [2]VecVirtual
	for i := range sum {
		px, lo, hi := YMM(), YMM(), YMM()
		VMOVDQU(Mem{Base: src, Disp: 32 * i}, px)
		VPUNPCKLBW(zero, px, lo)
		VPUNPCKHBW(zero, px, hi)
		VPMADDWD(weight, lo, lo)
		VPMADDWD(weight, hi, hi)
		VPHADDD(hi, lo, lo)
		VPADDD(offset, lo, lo)
		VPSRLD(U8(15), lo, lo)
		sum[i] = lo
	}
	VPACKUSDW(sum[1], sum[0], sum[0])
	VPACKUSWB(sum[0], sum[0], sum[0])
	VPERMD(sum[0], order, sum[0])
	VMOVDQU(sum[0].AsX(), Mem{Base: dst})
	ADDQ(U8(64), src)
	ADDQ(U8(16), dst)
	DECQ(n)
	JNZ(LabelRef("pixels"))
	VZEROUPPER()
	RET()
}

// weighQuads does 16 pixels of two rows at a time.
func weighQuads() {
	TEXT("weighQuadsAVX2", NOSPLIT, "func(cb, cr, upper, lower *uint8, blue, red *int16, n int)")
	Doc("weighQuadsAVX2 is weighQuadsGeneric for n times 8 squares; n is one at least.")
	Pragma("noescape")
	cb, cr := Load(Param("cb"), GP64()), Load(Param("cr"), GP64())
	upper, lower := Load(Param("upper"), GP64()), Load(Param("lower"), GP64())
	blue, red := Load(Param("blue"), GP64()), Load(Param("red"), GP64())
	n := Load(Param("n"), GP64())
	zero, blueWeight, redWeight, offset, order := YMM(), YMM(), YMM(), YMM(), XMM()
	VPBROADCASTQ(Mem{Base: blue}, blueWeight)
	VPBROADCASTQ(Mem{Base: red}, redWeight)
	VMOVDQU(dwords("quad", 128<<17+1<<16-1), offset)
	VPXOR(zero, zero, zero)
	places := GLOBL("halves", RODATA|NOPTR)
	for i, at := range []byte{0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15} {
		DATA(i, U8(at))
	}
	VMOVDQU(places, order)

	Label("squares")
	var sum [2]VecVirtual // words: red, green, blue, alpha of four squares
	for i := range sum {
		a, b, lo, hi, t := YMM(), YMM(), YMM(), YMM(), YMM()
		VMOVDQU(Mem{Base: upper, Disp: 32 * i}, a)
		VMOVDQU(Mem{Base: lower, Disp: 32 * i}, b)
		VPUNPCKLBW(zero, a, lo)
		VPUNPCKLBW(zero, b, t)
		VPADDW(t, lo, lo)
		VPUNPCKHBW(zero, a, hi)
		VPUNPCKHBW(zero, b, t)
		VPADDW(t, hi, hi)
		sum[i] = YMM()
		VPUNPCKLQDQ(hi, lo, sum[i])
		VPUNPCKHQDQ(hi, lo, t)
		VPADDW(t, sum[i], sum[i])
	}
	difference := func(weight VecVirtual) VecVirtual {
		lo, hi := YMM(), YMM()
		VPMADDWD(weight, sum[0], lo)
		VPMADDWD(weight, sum[1], hi)
		VPHADDD(hi, lo, lo) // squares 0, 1, 4, 5 and 2, 3, 6, 7
		VPADDD(offset, lo, lo)
		VPSRLD(U8(17), lo, lo)
		return lo
	}
	b, r := difference(blueWeight), difference(redWeight)
	VPACKUSDW(r, b, b)
	VPACKUSWB(b, b, b)
	VPERMQ(U8(0x08), b, b)
	VPSHUFB(order, b.AsX(), b.AsX())
	VMOVQ(b.AsX(), Mem{Base: cb})
	VPEXTRQ(U8(1), b.AsX(), Mem{Base: cr})
	ADDQ(U8(64), upper)
	ADDQ(U8(64), lower)
	ADDQ(U8(8), cb)
	ADDQ(U8(8), cr)
	DECQ(n)
	JNZ(LabelRef("squares"))
	VZEROUPPER()
	RET()
}
