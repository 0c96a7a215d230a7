//go:build purego || (!amd64 && !arm64)

package jpegdec

func idct8(dst []uint8, stride int, coef, quant *[64]int16) { idct8Go(dst, stride, coef, quant) }

func idct4(dst []uint8, stride int, coef, quant *[16]int16) { idct4Go(dst, stride, coef, quant) }
