// Command asm writes the AVX2 kernels of package pngenc.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("!purego")
	filter("subAVX2", func(x, a, b, c VecVirtual) { VPSUBB(a, x, x) })
	filter("upAVX2", func(x, a, b, c VecVirtual) { VPSUBB(b, x, x) })
	ones := GLOBL("ones", RODATA|NOPTR)
	for i := range 32 {
		DATA(i, U8(1))
	}
	filter("averageAVX2", func(x, a, b, c VecVirtual) {
		// VPAVGB rounds up.
		odd, mean := YMM(), YMM()
		VPXOR(a, b, odd)
		VPAND(ones, odd, odd)
		VPAVGB(a, b, mean)
		VPSUBB(odd, mean, mean)
		VPSUBB(mean, x, x)
	})
	filter("paethAVX2", paeth)
	filter("noneAVX2", func(x, a, b, c VecVirtual) {})
	Generate()
}

// filter makes a function that filters 32 bytes at a time. body makes x the result; what it does not use is not loaded in time
// that matters.
func filter(name string, body func(x, a, b, c VecVirtual)) {
	TEXT(name, NOSPLIT, "func(dst, row, before *uint8, bpp, n int) uint64")
	Doc(name + " is its generic twin for n bytes, a multiple of 32 and not zero. The bytes before row and before are read.")
	Pragma("noescape")
	dst, row := Load(Param("dst"), GP64()), Load(Param("row"), GP64())
	before, bpp := Load(Param("before"), GP64()), Load(Param("bpp"), GP64())
	n := Load(Param("n"), GP64())
	left, aboveLeft := GP64(), GP64()
	MOVQ(row, left)
	SUBQ(bpp, left)
	MOVQ(before, aboveLeft)
	SUBQ(bpp, aboveLeft)
	zero, sum := YMM(), YMM()
	VPXOR(zero, zero, zero)
	VPXOR(sum, sum, sum)
	i := GP64()
	XORQ(i, i)
	Label("block")
	x, a, b, c := YMM(), YMM(), YMM(), YMM()
	VMOVDQU(Mem{Base: row, Index: i, Scale: 1}, x)
	VMOVDQU(Mem{Base: left, Index: i, Scale: 1}, a)
	VMOVDQU(Mem{Base: before, Index: i, Scale: 1}, b)
	VMOVDQU(Mem{Base: aboveLeft, Index: i, Scale: 1}, c)
	body(x, a, b, c)
	VMOVDQU(x, Mem{Base: dst, Index: i, Scale: 1})
	VPABSB(x, x) // -128 is 128
	VPSADBW(zero, x, x)
	VPADDQ(x, sum, sum)
	ADDQ(Imm(32), i)
	CMPQ(i, n)
	JLT(LabelRef("block"))
	upper := XMM()
	VEXTRACTI128(Imm(1), sum, upper)
	VPADDQ(upper, sum.AsX(), upper)
	t := XMM()
	VPSHUFD(Imm(0x4e), upper, t)
	VPADDQ(t, upper, upper)
	r := GP64()
	VMOVQ(upper, r)
	VZEROUPPER()
	Store(r, ReturnIndex(0))
	RET()
}

// paeth finds which of a, b and c is closest to a+b-c, all in bytes: the distances of a and b are |b-c| and |a-c|. That of
// c is the difference of those where a and b are on different sides of c; else it is their sum, and no less than either.
func paeth(x, a, b, c VecVirtual) {
	above, below, toA, toB, toC, t, side := YMM(), YMM(), YMM(), YMM(), YMM(), YMM(), YMM()
	zero := YMM()
	VPXOR(zero, zero, zero)
	VPSUBUSB(c, b, above) // zero where b <= c
	VPSUBUSB(b, c, below)
	VPOR(above, below, toA)
	VPCMPEQB(zero, above, side)
	VPSUBUSB(c, a, above)
	VPSUBUSB(a, c, below)
	VPOR(above, below, toB)
	VPCMPEQB(zero, above, t)
	VPCMPEQB(t, side, side) // on one side: toC is 255
	VPSUBUSB(toA, toB, toC)
	VPSUBUSB(toB, toA, t)
	VPOR(t, toC, toC)
	VPOR(side, toC, toC)
	// In the order a, b, c where they are equal.
	least := YMM()
	VPMINUB(toB, toC, least)
	VPCMPEQB(toB, least, t)
	VPBLENDVB(t, b, c, c)
	VPMINUB(toA, least, least)
	VPCMPEQB(toA, least, t)
	VPBLENDVB(t, a, c, c)
	VPSUBB(c, x, x)
}
