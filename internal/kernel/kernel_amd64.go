//go:build !purego

package kernel

import "golang.org/x/sys/cpu"

var accelerated = cpu.X86.HasAVX2

func downNarrow(dst []int16, src []uint8, stride int, weights []int16) {
	if !accelerated || len(dst) < 32 {
		downNarrowGo(dst, src, stride, weights)
		return
	}
	down8AVX2(&dst[0], &src[0], stride, &weights[0], len(weights), len(dst))
}

func downWide(dst []int16, src []int16, stride int, weights []int16) {
	if !accelerated || len(dst) < 32 {
		downWideGo(dst, src, stride, weights)
		return
	}
	down16AVX2(&dst[0], &src[0], 2*stride, &weights[0], len(weights), len(dst))
}

func across1(dst []uint8, row []int16, f *Filter) {
	if len(f.packed) == 0 {
		across1Go(dst, row, f)
		return
	}
	across1AVX2(&dst[0], &row[0], &f.start[0], &f.packed[0], f.pad, len(f.start))
}

func across1Wide(dst []int16, row []int16, f *Filter) {
	if len(f.packed) == 0 {
		across1WideGo(dst, row, f)
		return
	}
	across1WideAVX2(&dst[0], &row[0], &f.start[0], &f.packed[0], f.pad, len(f.start))
}

func across4(dst []uint8, row []int16, f *Filter) {
	if len(f.packed) == 0 {
		across4Go(dst, row, f)
		return
	}
	across4AVX2(&dst[0], &row[0], &f.start[0], &f.packed[0], f.pad, len(f.start))
}

func across4Wide(dst []int16, row []int16, f *Filter) {
	if len(f.packed) == 0 {
		across4WideGo(dst, row, f)
		return
	}
	across4WideAVX2(&dst[0], &row[0], &f.start[0], &f.packed[0], f.pad, len(f.start))
}

func acrossAlpha(dst []uint8, row []int16, f *Filter) {
	if len(f.packed) == 0 {
		acrossAlphaGo(dst, row, f)
		return
	}
	acrossAlphaAVX2(&dst[0], &row[0], &f.start[0], &f.packed[0], f.pad, len(f.start))
}

func premultiply(dst []int16, src []uint8) {
	if !accelerated || len(dst) < 16 {
		premultiplyGo(dst, src)
		return
	}
	premultiplyAVX2(&dst[0], &src[0], len(dst))
}

func yCbCrToRGBA(dst, y, cb, cr []uint8) {
	if !accelerated || len(y) < 16 {
		yCbCrToRGBAGo(dst, y, cb, cr)
		return
	}
	yCbCrToRGBAAVX2(&dst[0], &y[0], &cb[0], &cr[0], len(y))
}
