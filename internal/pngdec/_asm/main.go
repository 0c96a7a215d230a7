// Command asm writes the AVX2 kernels of package pngdec.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("!purego")
	unfilterPaeth("paeth3AVX", 3)
	unfilterPaeth("paeth4AVX", 4)
	addAdler()
	Generate()
}

// unfilterPaeth does a pixel after the other, in words, as each needs the one before. What is not on the way from one pixel to the next
// is kept off it: from a come a minimum, a maximum and a difference, two comparisons, and two choices among sums made meanwhile.
func unfilterPaeth(name string, bpp int) {
	TEXT(name, NOSPLIT, "func(dst, src, before *uint8, n int)")
	if bpp == 3 {
		Doc(name + " is paeth3Go for n pixels, one at least. It reads a byte after src.")
	} else {
		Doc(name + " is paeth4Go for n pixels, one at least.")
	}
	Pragma("noescape")
	dst, src := Load(Param("dst"), GP64()), Load(Param("src"), GP64())
	before, n := Load(Param("before"), GP64()), Load(Param("n"), GP64())
	a, c, alpha := XMM(), XMM(), XMM()
	VPXOR(a, a, a)
	VPXOR(c, c, c)
	if bpp == 3 {
		VPCMPEQD(alpha, alpha, alpha)
		VPSLLD(Imm(24), alpha, alpha)
	}
	Label("pixel")
	b, x := XMM(), XMM()
	VPMOVZXBW(Mem{Base: before}, b)
	VPMOVZXBW(Mem{Base: src}, x)
	threshold := XMM() // 3c-b, and then less a
	VPADDW(c, c, threshold)
	VPADDW(c, threshold, threshold)
	VPSUBW(b, threshold, threshold)
	cx := XMM()
	VPADDB(c, x, cx) // the upper bytes of words are zero, and stay so
	low, high := XMM(), XMM()
	VPSUBW(a, threshold, threshold)
	VPMINSW(a, b, low)
	VPMAXSW(a, b, high)
	notLow, notHigh := XMM(), XMM()
	VPCMPGTW(threshold, high, notLow) // high > threshold
	VPCMPGTW(low, threshold, notHigh) // threshold > low
	VPADDB(low, x, low)
	VPADDB(high, x, high)
	VPBLENDVB(notLow, cx, low, low)
	VPBLENDVB(notHigh, low, high, a)
	out := XMM()
	VPACKUSWB(a, a, out)
	if bpp == 3 {
		VPOR(alpha, out, out)
	}
	VMOVD(out, Mem{Base: dst})
	VMOVDQA(b, c)
	ADDQ(Imm(uint64(bpp)), src)
	ADDQ(Imm(4), before)
	ADDQ(Imm(4), dst)
	DECQ(n)
	JNZ(LabelRef("pixel"))
	RET()
}

// addAdler takes 32 bytes at a time: their sum, their sum weighted by 32 to 1, and what was added up before them, which counts 32 times.
func addAdler() {
	TEXT("adlerAVX2", NOSPLIT, "func(p *uint8, n int) (sum, weighted uint32)")
	Doc("adlerAVX2 gives the sum of n bytes and the sum of them weighted by n to 1; n is a multiple of 32 from 32 to mostAdded.")
	Pragma("noescape")
	p, n := Load(Param("p"), GP64()), Load(Param("n"), GP64())
	weights := GLOBL("weights", RODATA|NOPTR)
	for i := range 32 {
		DATA(i, U8(32-i))
	}
	ones := GLOBL("ones", RODATA|NOPTR)
	for i := range 16 {
		DATA(2*i, U16(1))
	}
	weight, one, zero := YMM(), YMM(), YMM()
	VMOVDQU(weights, weight)
	VMOVDQU(ones, one)
	VPXOR(zero, zero, zero)
	sum, before, weighted := YMM(), YMM(), YMM()
	VPXOR(sum, sum, sum)
	VPXOR(before, before, before)
	VPXOR(weighted, weighted, weighted)
	Label("block")
	x, t := YMM(), YMM()
	VMOVDQU(Mem{Base: p}, x)
	VPADDD(sum, before, before)
	VPSADBW(zero, x, t)
	VPADDD(t, sum, sum)
	VPMADDUBSW(weight, x, t) // at most 255·(32+31), which is within 16 bits
	VPMADDWD(one, t, t)
	VPADDD(t, weighted, weighted)
	ADDQ(Imm(32), p)
	SUBQ(Imm(32), n)
	JNZ(LabelRef("block"))
	VPSLLD(Imm(5), before, before)
	VPADDD(before, weighted, weighted)
	store := func(v VecVirtual, name string) {
		upper := XMM()
		VEXTRACTI128(Imm(1), v, upper)
		VPADDD(upper, v.AsX(), upper)
		t := XMM()
		VPSHUFD(Imm(0x4e), upper, t)
		VPADDD(t, upper, upper)
		VPSHUFD(Imm(0xb1), upper, t)
		VPADDD(t, upper, upper)
		r := GP32()
		VMOVD(upper, r)
		Store(r, Return(name))
	}
	store(sum, "sum")
	store(weighted, "weighted")
	VZEROUPPER()
	RET()
}
