//go:build !amd64 || purego

package vp8dec

func filterNormal(band []byte, y, u, v, pitch int, s *strength, edges int) {
	filterNormalGo(band, y, u, v, pitch, s, edges)
}

func filterSimple(band []byte, y, pitch int, s *strength, edges int) {
	filterSimpleGo(band, y, pitch, s, edges)
}

func addRows(band []byte, left, right, pitch int, coef []int16, rows uint, _ bool) {
	addRowsGo(band, left, right, pitch, coef, rows)
}

func addBlock(band []byte, at, pitch int, coef []int16, _ bool) { addBlockGo(band, at, pitch, coef) }

func trueMotion16(band []byte, at, pitch int, above []byte) { trueMotionGo(band, at, pitch, above, 16) }

func trueMotion8(band []byte, at, pitch int, above []byte) { trueMotionGo(band, at, pitch, above, 8) }

func stretchLuma(dst, src []byte) { stretchLumaGo(dst, src) }

func stretchChroma(dst, src []byte) { stretchChromaGo(dst, src) }
