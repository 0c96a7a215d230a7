//go:build !purego

package vp8dec

import (
	"math/bits"

	"golang.org/x/sys/cpu"
)

//go:generate go -C _asm run . -out ../kernels_amd64.s -stubs ../stubs_amd64.go -pkg vp8dec

func filterNormal(band []byte, y, u, v, pitch int, s *strength, edges int) {
	if !cpu.X86.HasAVX2 {
		filterNormalGo(band, y, u, v, pitch, s, edges)
		return
	}
	_, _, _, _ = band[y-4*pitch-4], band[u-4*pitch-4], band[y+15*pitch+15], band[v+7*pitch+7]
	filterNormalAVX2(&band[y], &band[u], &band[v], pitch, &s.outer[0], edges)
}

func filterSimple(band []byte, y, pitch int, s *strength, edges int) {
	if !cpu.X86.HasAVX2 {
		filterSimpleGo(band, y, pitch, s, edges)
		return
	}
	_, _ = band[y-4*pitch-4], band[y+15*pitch+15]
	filterSimpleAVX2(&band[y], pitch, &s.outer[0], edges)
}

func addRows(band []byte, left, right, pitch int, coef []int16, rows uint, words bool) {
	if !words || !cpu.X86.HasAVX2 {
		addRowsGo(band, left, right, pitch, coef, rows)
		return
	}
	n := bits.Len(rows)
	if n == 0 {
		return
	}
	_, _, _ = band[left+(4*n-1)*pitch+7], band[right+(4*n-1)*pitch+7], coef[64*n-1]
	addRowsAVX2(&band[left], &band[right], pitch, &coef[0], rows)
}

func addBlock(band []byte, at, pitch int, coef []int16, words bool) {
	if !words || !cpu.X86.HasAVX2 {
		addBlockGo(band, at, pitch, coef)
		return
	}
	_, _ = band[at+3*pitch+3], coef[51]
	addBlockAVX2(&band[at], pitch, &coef[0])
}

func trueMotion16(band []byte, at, pitch int, above []byte) {
	if !cpu.X86.HasAVX2 {
		trueMotionGo(band, at, pitch, above, 16)
		return
	}
	_, _, _ = band[at-1], band[at+15*pitch+15], above[16]
	trueMotion16AVX2(&band[at], pitch, &above[1])
}

func trueMotion8(band []byte, at, pitch int, above []byte) {
	if !cpu.X86.HasAVX2 {
		trueMotionGo(band, at, pitch, above, 8)
		return
	}
	_, _, _ = band[at-1], band[at+7*pitch+7], above[8]
	trueMotion8AVX2(&band[at], pitch, &above[1])
}

func stretchLuma(dst, src []byte) {
	n := len(dst)
	if n < 32 || !cpu.X86.HasAVX2 {
		stretchLumaGo(dst, src)
		return
	}
	_ = src[n-1]
	stretchLumaAVX2(&dst[0], &src[0], n&^31)
	if n&31 != 0 { // the last 32, of which some are done again
		stretchLumaAVX2(&dst[n-32], &src[n-32], 32)
	}
}

func stretchChroma(dst, src []byte) {
	n := len(dst)
	if n < 32 || !cpu.X86.HasAVX2 {
		stretchChromaGo(dst, src)
		return
	}
	_ = src[n-1]
	stretchChromaAVX2(&dst[0], &src[0], n&^31)
	if n&31 != 0 {
		stretchChromaAVX2(&dst[n-32], &src[n-32], 32)
	}
}
