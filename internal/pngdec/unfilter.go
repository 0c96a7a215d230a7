package pngdec

import "encoding/binary"

// The filters of rows (9.2): what of the bytes to the left (a), above (b) and above to the left (c) was taken off.
const (
	none = iota
	sub
	up
	average
	paeth
)

// addBytes adds eight bytes to eight, each without carry into the next (Warren, "Hacker's Delight", 2-18).
func addBytes(x, y uint64) uint64 {
	const high = 0x80808080_80808080
	return (x&^high + y&^high) ^ (x^y)&high
}

// addPixels is addBytes for four.
func addPixels(x, y uint32) uint32 {
	const high = 0x80808080
	return (x&^high + y&^high) ^ (x^y)&high
}

// averages gives the averages of four bytes and four, rounded down.
func averages(x, y uint32) uint32 { return x&y + (x^y)>>1&0x7f7f7f7f }

// predict is Paeth's predictor: which of a, b and c is closest to a+b-c, in that order. The sum is not needed: c is, unless it is
// beyond both of the others by as much as they are apart (S. Barrett, stb_image).
func predict(a, b, c int) int {
	limit := 3*c - (a + b)
	low, high := min(a, b), max(a, b)
	p := c
	if high <= limit {
		p = low
	}
	if limit <= low {
		p = high
	}
	return p
}

// unfilter makes dst, a row as it was, of src, the row before it, and the filter; all are of one size. bpp is how far apart
// the samples of a kind are.
func unfilter(dst, src, before []byte, filter byte, bpp int) {
	n := len(dst)
	src, before = src[:n], before[:n]
	first := min(bpp, n)
	switch filter {
	case none:
		copy(dst, src)
	case sub:
		if bpp == 4 {
			a := uint32(0)
			for ; len(dst) >= 4; dst, src = dst[4:], src[4:] {
				a = addPixels(a, binary.LittleEndian.Uint32(src))
				binary.LittleEndian.PutUint32(dst, a)
			}
			return
		}
		copy(dst[:first], src)
		for i := first; i < n; i++ {
			dst[i] = src[i] + dst[i-bpp]
		}
	case up:
		for ; len(dst) >= 8; dst, src, before = dst[8:], src[8:], before[8:] {
			binary.LittleEndian.PutUint64(dst, addBytes(binary.LittleEndian.Uint64(src), binary.LittleEndian.Uint64(before)))
		}
		for i := range dst {
			dst[i] = src[i] + before[i]
		}
	case average:
		if bpp == 4 {
			a := uint32(0)
			for ; len(dst) >= 4; dst, src, before = dst[4:], src[4:], before[4:] {
				a = addPixels(averages(a, binary.LittleEndian.Uint32(before)), binary.LittleEndian.Uint32(src))
				binary.LittleEndian.PutUint32(dst, a)
			}
			return
		}
		for i := range first {
			dst[i] = src[i] + before[i]/2
		}
		for i := first; i < n; i++ {
			dst[i] = src[i] + uint8((int(dst[i-bpp])+int(before[i]))/2)
		}
	case paeth:
		if bpp == 4 {
			paeth4(dst, src, before)
			return
		}
		for i := range first {
			dst[i] = src[i] + before[i]
		}
		for i := first; i < n; i++ {
			dst[i] = src[i] + uint8(predict(int(dst[i-bpp]), int(before[i]), int(before[i-bpp])))
		}
	}
}

// unfilter3 is unfilter for rows of three bytes a pixel that become four, the last of which is 255. before is such a row, and
// may be anything there in the last.
func unfilter3(dst, src, before []byte, filter byte) {
	n := len(dst) / 4
	dst, src, before = dst[:4*n], src[:3*n], before[:4*n]
	if filter == paeth {
		paeth3(dst, src, before)
		return
	}
	const opaque = 0xff000000
	a := uint32(0)
	i := 0
	// Words of four bytes are read for three, so the last pixel is apart.
	for ; len(src) >= 4; i++ {
		v := binary.LittleEndian.Uint32(src)
		src = src[3:]
		switch filter {
		case sub:
			v = addPixels(a, v)
		case up:
			v = addPixels(binary.LittleEndian.Uint32(before[4*i:]), v)
		case average:
			v = addPixels(averages(a, binary.LittleEndian.Uint32(before[4*i:])), v)
		}
		a = v
		binary.LittleEndian.PutUint32(dst[4*i:], v|opaque)
	}
	v := uint32(src[0]) | uint32(src[1])<<8 | uint32(src[2])<<16
	switch filter {
	case sub:
		v = addPixels(a, v)
	case up:
		v = addPixels(binary.LittleEndian.Uint32(before[4*i:]), v)
	case average:
		v = addPixels(averages(a, binary.LittleEndian.Uint32(before[4*i:])), v)
	}
	binary.LittleEndian.PutUint32(dst[4*i:], v|opaque)
}

// paeth4Go is unfilter for Paeth's filter and four bytes a pixel.
func paeth4Go(dst, src, before []byte) {
	var a, c [4]int
	for ; len(dst) >= 4 && len(src) >= 4 && len(before) >= 4; dst, src, before = dst[4:], src[4:], before[4:] {
		for i := range 4 {
			b := int(before[i])
			a[i] = (int(src[i]) + predict(a[i], b, c[i])) & 255
			c[i] = b
			dst[i] = uint8(a[i])
		}
	}
}

// paeth3Go is unfilter3 for Paeth's filter.
func paeth3Go(dst, src, before []byte) {
	var a0, a1, a2, c0, c1, c2 int
	for ; len(dst) >= 4 && len(src) >= 3 && len(before) >= 4; dst, src, before = dst[4:], src[3:], before[4:] {
		b0, b1, b2 := int(before[0]), int(before[1]), int(before[2])
		a0 = (int(src[0]) + predict(a0, b0, c0)) & 255
		a1 = (int(src[1]) + predict(a1, b1, c1)) & 255
		a2 = (int(src[2]) + predict(a2, b2, c2)) & 255
		binary.LittleEndian.PutUint32(dst, uint32(a0)|uint32(a1)<<8|uint32(a2)<<16|255<<24)
		c0, c1, c2 = b0, b1, b2
	}
}
