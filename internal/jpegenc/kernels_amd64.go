//go:build !purego

package jpegenc

import "golang.org/x/sys/cpu"

//go:generate go -C _asm run . -out ../kernels_amd64.s -stubs ../stubs_amd64.go -pkg jpegenc

func transform(dst []block, masks []uint64, src []uint8, stride int, q *quantizer) {
	pairs := len(dst) / 2
	if pairs > 0 && cpu.X86.HasAVX2 {
		_, _ = masks[2*pairs-1], src[7*stride+16*pairs-1]
		transformAVX2(&dst[0][0], &masks[0], &src[0], stride, &q.reciprocal[0], pairs)
		if len(dst)%2 == 0 {
			return
		}
		dst, masks, src = dst[2*pairs:], masks[2*pairs:], src[16*pairs:]
	}
	transformGeneric(dst, masks, src, stride, q)
}

func weigh(dst, src []uint8, w *weighting) {
	n := len(dst) / 16
	if n > 0 && cpu.X86.HasAVX2 {
		_ = src[64*n-1]
		weighAVX2(&dst[0], &src[0], &w.weight[0], w.offset, n)
		dst, src = dst[16*n:], src[64*n:]
	}
	weighGeneric(dst, src, w)
}

func weighQuads(cb, cr, upper, lower []uint8) {
	n := len(cb) / 8
	if n > 0 && cpu.X86.HasAVX2 {
		_, _, _ = cr[8*n-1], upper[64*n-1], lower[64*n-1]
		weighQuadsAVX2(&cb[0], &cr[0], &upper[0], &lower[0], &blueWeights.weight[0], &redWeights.weight[0], n)
		cb, cr, upper, lower = cb[8*n:], cr[8*n:], upper[64*n:], lower[64*n:]
	}
	weighQuadsGeneric(cb, cr, upper, lower)
}
