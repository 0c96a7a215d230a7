//go:build !purego

package jpegdec

func idct8(dst []uint8, stride int, coef, quant *[64]int16) {
	_ = dst[7*stride+7]
	idct8NEON(&dst[0], stride, coef, quant)
}

func idct4(dst []uint8, stride int, coef, quant *[16]int16) {
	_ = dst[3*stride+3]
	idct4NEON(&dst[0], stride, coef, quant)
}

//go:noescape
func idct8NEON(dst *uint8, stride int, coef, quant *[64]int16)

//go:noescape
func idct4NEON(dst *uint8, stride int, coef, quant *[16]int16)
