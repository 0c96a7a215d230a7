//go:build !purego

package jpegdec

import "golang.org/x/sys/cpu"

func idct8(dst []uint8, stride int, coef, quant *[64]int16) {
	if cpu.X86.HasAVX2 {
		_ = dst[7*stride+7]
		idct8AVX2(&dst[0], stride, coef, quant)
		return
	}
	idct8Go(dst, stride, coef, quant)
}

func idct4(dst []uint8, stride int, coef, quant *[16]int16) {
	if cpu.X86.HasAVX2 {
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
