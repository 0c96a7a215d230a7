//go:build !amd64 || purego

package jpegenc

func transform(dst []block, masks []uint64, src []uint8, stride int, q *quantizer) {
	transformGeneric(dst, masks, src, stride, q)
}

func weigh(dst, src []uint8, w *weighting) { weighGeneric(dst, src, w) }

func weighQuads(cb, cr, upper, lower []uint8) { weighQuadsGeneric(cb, cr, upper, lower) }
