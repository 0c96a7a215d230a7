package jpegenc

// A weighting makes one of luma, blue difference and red difference of red, green and blue, by ITU-R BT.601 in full
// range, as JFIF has them: sums of weights in Q15. The layout is the assembly's.
type weighting struct {
	weight [4]int16 // of red, green, blue and alpha, which does not count
	offset int32    // added to the sum, with one half for rounding
}

// One half less the smallest fraction keeps 255.5 from becoming 256, in differences; a gray gives 128 all the same.
var (
	lumaWeights = weighting{[4]int16{9798, 19235, 3735, 0}, 1 << 14}
	blueWeights = weighting{[4]int16{-5529, -10855, 16384, 0}, 128<<15 + 1<<14 - 1}
	redWeights  = weighting{[4]int16{16384, -13720, -2664, 0}, 128<<15 + 1<<14 - 1}
)

// weighGeneric sets dst to the weighted sums of len(dst) pixels of four bytes.
func weighGeneric(dst, src []uint8, w *weighting) {
	r, g, b := int32(w.weight[0]), int32(w.weight[1]), int32(w.weight[2])
	for i := range dst {
		px := src[4*i:][:4]
		dst[i] = uint8((int32(px[0])*r + int32(px[1])*g + int32(px[2])*b + w.offset) >> 15)
	}
}

// weighQuadsGeneric sets cb and cr to the differences of squares of 2x2 pixels of two rows: of their sum,
// so that there is one rounding.
func weighQuadsGeneric(cb, cr, upper, lower []uint8) {
	for i := range cb {
		a, b := upper[8*i:][:8], lower[8*i:][:8]
		red := int32(a[0]) + int32(a[4]) + int32(b[0]) + int32(b[4])
		green := int32(a[1]) + int32(a[5]) + int32(b[1]) + int32(b[5])
		blue := int32(a[2]) + int32(a[6]) + int32(b[2]) + int32(b[6])
		sum := func(w *weighting) uint8 {
			return uint8((red*int32(w.weight[0]) + green*int32(w.weight[1]) + blue*int32(w.weight[2]) + quadOffset) >> 17)
		}
		cb[i], cr[i] = sum(&blueWeights), sum(&redWeights)
	}
}

// quadOffset is the offset of differences for sums of four pixels.
const quadOffset = 128<<17 + 1<<16 - 1
