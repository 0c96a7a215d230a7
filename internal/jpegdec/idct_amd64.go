//go:build !purego

package jpegdec

// hasAVX2 is what the processor and the system say (Intel's manual, volume 1, section 14.7.1).
var hasAVX2 = func() bool {
	if leaves, _, _, _ := cpuid(0, 0); leaves < 7 {
		return false
	}
	const osxsave, avx, avx2 = 1 << 27, 1 << 28, 1 << 5
	if _, _, c, _ := cpuid(1, 0); c&osxsave == 0 || c&avx == 0 {
		return false
	}
	if saved, _ := xgetbv(); saved&6 != 6 { // the halves of the registers
		return false
	}
	_, b, _, _ := cpuid(7, 0)
	return b&avx2 != 0
}()

func cpuid(leaf, subleaf uint32) (a, b, c, d uint32)

func xgetbv() (a, d uint32)

func idct8(dst []uint8, stride int, coef, quant *[64]int16) {
	if hasAVX2 {
		_ = dst[7*stride+7]
		idct8AVX2(&dst[0], stride, coef, quant)
		return
	}
	idct8Go(dst, stride, coef, quant)
}

func idct4(dst []uint8, stride int, coef, quant *[16]int16) {
	if hasAVX2 {
		_ = dst[3*stride+3]
		idct4AVX2(&dst[0], stride, coef, quant)
		return
	}
	idct4Go(dst, stride, coef, quant)
}

//go:noescape
func idct8AVX2(dst *uint8, stride int, coef, quant *[64]int16)

//go:noescape
func idct4AVX2(dst *uint8, stride int, coef, quant *[16]int16)
