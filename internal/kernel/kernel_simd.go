//go:build (amd64 || arm64) && !purego

package kernel

// The loops in assembly. What they say of n is the least that they take: they make blocks of so many outputs, the
// last of which may overlap the one before. Strides are in bytes.

//go:noescape
func down8SIMD(dst *int16, src *uint8, stride int, weight *int16, rows, n int) // 32

//go:noescape
func down16SIMD(dst, src *int16, stride int, weight *int16, rows, n int) // 32

//go:noescape
func across1SIMD(dst *uint8, row *int16, start *int32, packed *int16, pad, n int) // 8

//go:noescape
func across1WideSIMD(dst *int16, row *int16, start *int32, packed *int16, pad, n int) // 8

//go:noescape
func across4SIMD(dst *uint8, row *int16, start *int32, packed *int16, pad, n int) // 4 pixels

//go:noescape
func across4WideSIMD(dst *int16, row *int16, start *int32, packed *int16, pad, n int) // 4 pixels

//go:noescape
func acrossAlphaSIMD(dst *uint8, row *int16, start *int32, packed *int16, pad, n int) // 4 pixels

//go:noescape
func premultiplySIMD(dst *int16, src *uint8, n int) // 32 samples

//go:noescape
func yCbCrToRGBASIMD(dst, y, cb, cr *uint8, n int) // 16 pixels

func downNarrow(dst []int16, src []uint8, stride int, weights []int16) {
	if !accelerated || len(dst) < 32 {
		downNarrowGo(dst, src, stride, weights)
		return
	}
	down8SIMD(&dst[0], &src[0], stride, &weights[0], len(weights), len(dst))
}

func downWide(dst []int16, src []int16, stride int, weights []int16) {
	if !accelerated || len(dst) < 32 {
		downWideGo(dst, src, stride, weights)
		return
	}
	down16SIMD(&dst[0], &src[0], 2*stride, &weights[0], len(weights), len(dst))
}

func across1(dst []uint8, row []int16, f *Filter) {
	if len(f.packed) == 0 {
		across1Go(dst, row, f)
		return
	}
	across1SIMD(&dst[0], &row[0], &f.start[0], &f.packed[0], f.pad, len(f.start))
}

func across1Wide(dst []int16, row []int16, f *Filter) {
	if len(f.packed) == 0 {
		across1WideGo(dst, row, f)
		return
	}
	across1WideSIMD(&dst[0], &row[0], &f.start[0], &f.packed[0], f.pad, len(f.start))
}

func across4(dst []uint8, row []int16, f *Filter) {
	if len(f.packed) == 0 {
		across4Go(dst, row, f)
		return
	}
	across4SIMD(&dst[0], &row[0], &f.start[0], &f.packed[0], f.pad, len(f.start))
}

func across4Wide(dst []int16, row []int16, f *Filter) {
	if len(f.packed) == 0 {
		across4WideGo(dst, row, f)
		return
	}
	across4WideSIMD(&dst[0], &row[0], &f.start[0], &f.packed[0], f.pad, len(f.start))
}

func acrossAlpha(dst []uint8, row []int16, f *Filter) {
	if len(f.packed) == 0 {
		acrossAlphaGo(dst, row, f)
		return
	}
	acrossAlphaSIMD(&dst[0], &row[0], &f.start[0], &f.packed[0], f.pad, len(f.start))
}

func premultiply(dst []int16, src []uint8) {
	if !accelerated || len(dst) < 32 {
		premultiplyGo(dst, src)
		return
	}
	premultiplySIMD(&dst[0], &src[0], len(dst))
}

func yCbCrToRGBA(dst, y, cb, cr []uint8) {
	if !accelerated || len(y) < 16 {
		yCbCrToRGBAGo(dst, y, cb, cr)
		return
	}
	yCbCrToRGBASIMD(&dst[0], &y[0], &cb[0], &cr[0], len(y))
}
