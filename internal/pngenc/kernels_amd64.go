//go:build !purego

package pngenc

import "golang.org/x/sys/cpu"

//go:generate go -C _asm run . -out ../kernels_amd64.s -stubs ../stubs_amd64.go -pkg pngenc

// accelerate filters as much from the left as there is a faster way for.
func accelerate(dst, row, before []byte, filter, bpp int) (done int, sum uint64) {
	n := len(dst) &^ 31
	if n == 0 || !cpu.X86.HasAVX2 {
		return 0, 0
	}
	_, _ = row[lead+n-1], before[lead+n-1]
	to, x, b := &dst[0], &row[lead], &before[lead]
	switch filter {
	case none:
		sum = noneAVX2(to, x, b, bpp, n)
	case sub:
		sum = subAVX2(to, x, b, bpp, n)
	case up:
		sum = upAVX2(to, x, b, bpp, n)
	case average:
		sum = averageAVX2(to, x, b, bpp, n)
	case paeth:
		sum = paethAVX2(to, x, b, bpp, n)
	}
	return n, sum
}
