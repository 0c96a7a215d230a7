package vp8dec

// The luma and chroma of VP8 are 16 to 235 and 16 to 240, as in television (ITU-R BT.601; RFC 6386, 9.2). These go to the 0 to 255
// of JPEG, to the nearest, by factors of a 32768th: 36/219 and 31/224 of a sample are added to it.
const (
	lumaMore   = 5387
	chromaMore = 4537
)

// nearest is (v·factor)/32768, rounded as VPMULHRSW does.
func nearest(v, factor int32) int32 { return (v*factor>>14 + 1) >> 1 }

func stretchLumaGo(dst, src []byte) {
	src = src[:len(dst)]
	for i, s := range src {
		v := max(int32(s)-16, 0)
		dst[i] = uint8(min(v+nearest(v, lumaMore), 255))
	}
}

func stretchChromaGo(dst, src []byte) {
	src = src[:len(dst)]
	for i, s := range src {
		dst[i] = clip(int32(s) + nearest(int32(s)-128, chromaMore))
	}
}
