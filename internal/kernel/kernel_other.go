//go:build !(amd64 || arm64) || purego

package kernel

const accelerated = false

func downNarrow(dst []int16, src []uint8, stride int, weights []int16) {
	downNarrowGo(dst, src, stride, weights)
}

func downWide(dst []int16, src []int16, stride int, weights []int16) {
	downWideGo(dst, src, stride, weights)
}

func across1(dst []uint8, row []int16, f *Filter)     { across1Go(dst, row, f) }
func across1Wide(dst []int16, row []int16, f *Filter) { across1WideGo(dst, row, f) }
func across4(dst []uint8, row []int16, f *Filter)     { across4Go(dst, row, f) }
func across4Wide(dst []int16, row []int16, f *Filter) { across4WideGo(dst, row, f) }
func acrossAlpha(dst []uint8, row []int16, f *Filter) { acrossAlphaGo(dst, row, f) }
func premultiply(dst []int16, src []uint8)            { premultiplyGo(dst, src) }
func yCbCrToRGBA(dst, y, cb, cr []uint8)              { yCbCrToRGBAGo(dst, y, cb, cr) }
