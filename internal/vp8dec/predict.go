package vp8dec

import "encoding/binary"

// The pixels around a macroblock that prediction goes by, where there are none (RFC 6386, 12.2, 12.3): above the picture,
// and to the left of it.
const (
	noneAbove = 127
	noneLeft  = 129
)

// The rows above a macroblock row are kept as they are before the loop filter. They begin after as many bytes as this, the last of which is
// the pixel above to the left.
const margin = 16

// square predicts a square of luma or chroma of n pixels a side at at. Above has the row above it, after the pixel to the left of that.
func square(band []byte, at, pitch int, above []byte, n int, mode uint8, atLeft, atTop bool) {
	row := above[1:][:n]
	switch mode {
	case modeTM:
		if n == 16 {
			trueMotion16(band, at, pitch, above)
		} else {
			trueMotion8(band, at, pitch, above)
		}
	case modeV:
		for range n {
			copy(band[at:][:n], row)
			at += pitch
		}
	case modeH:
		for range n {
			repeat(band[at:][:n], band[at-1])
			at += pitch
		}
	case modeDC:
		sum, count := 0, 0
		if !atTop {
			for _, v := range row {
				sum += int(v)
			}
			count += n
		}
		if !atLeft {
			for y := range n {
				sum += int(band[at-1+y*pitch])
			}
			count += n
		}
		v := uint8(128)
		if count > 0 {
			v = uint8((sum + count/2) / count)
		}
		for range n {
			repeat(band[at:][:n], v)
			at += pitch
		}
	}
}

// repeat sets 8 or 16 bytes.
func repeat(b []byte, v uint8) {
	x := uint64(v) * 0x0101010101010101
	binary.LittleEndian.PutUint64(b, x)
	if len(b) == 16 {
		binary.LittleEndian.PutUint64(b[8:], x)
	}
}

// trueMotionGo predicts a square of n pixels a side.
func trueMotionGo(band []byte, at, pitch int, above []byte, n int) {
	corner := int32(above[0])
	for range n {
		left := int32(band[at-1]) - corner
		row := band[at:][:n]
		for x, v := range above[1:][:n] {
			row[x] = clip(left + int32(v))
		}
		at += pitch
	}
}

// mean3 weights by 1, 2 and 1.
func mean3(a, b, c uint32) uint32 { return (a + 2*b + c + 2) >> 2 }

func mean2(a, b uint32) uint32 { return (a + b + 1) >> 1 }

// four gives four pixels as a word, the first in the lowest byte.
func four(a, b, c, d uint32) uint32 { return a | b<<8 | c<<16 | d<<24 }

// subblock predicts 4x4 pixels (12.3) from those around them: the pixel above to the left and the eight from above on are in above, the
// four to the left in band.
func subblock(band []byte, at, pitch int, above *[9]uint8, mode uint8) {
	// The names are those of the standard's figure: P above to the left, A to H above, I to L to the left.
	P, A, B, C, D := uint32(above[0]), uint32(above[1]), uint32(above[2]), uint32(above[3]), uint32(above[4])
	I, J, K, L := uint32(band[at-1]), uint32(band[at-1+pitch]), uint32(band[at-1+2*pitch]), uint32(band[at-1+3*pitch])
	var r0, r1, r2, r3 uint32 // rows
	switch mode {
	case modeDC:
		r0 = (A + B + C + D + I + J + K + L + 4) >> 3 * 0x01010101
		r1, r2, r3 = r0, r0, r0
	case modeTM:
		row := func(left uint32) uint32 {
			v := int32(left) - int32(P)
			return four(uint32(clip(v+int32(A))), uint32(clip(v+int32(B))), uint32(clip(v+int32(C))), uint32(clip(v+int32(D))))
		}
		r0, r1, r2, r3 = row(I), row(J), row(K), row(L)
	case modeV:
		r0 = four(mean3(P, A, B), mean3(A, B, C), mean3(B, C, D), mean3(C, D, uint32(above[5])))
		r1, r2, r3 = r0, r0, r0
	case modeH:
		r0, r1 = mean3(P, I, J)*0x01010101, mean3(I, J, K)*0x01010101
		r2, r3 = mean3(J, K, L)*0x01010101, mean3(K, L, L)*0x01010101
	case modeRD:
		s := uint64(four(mean3(L, K, J), mean3(K, J, I), mean3(J, I, P), mean3(I, P, A))) |
			uint64(four(mean3(P, A, B), mean3(A, B, C), mean3(B, C, D), 0))<<32
		r3, r2, r1, r0 = uint32(s), uint32(s>>8), uint32(s>>16), uint32(s>>24)
	case modeVR:
		r0 = four(mean2(P, A), mean2(A, B), mean2(B, C), mean2(C, D))
		r1 = four(mean3(I, P, A), mean3(P, A, B), mean3(A, B, C), mean3(B, C, D))
		r2, r3 = r0<<8|mean3(J, I, P), r1<<8|mean3(K, J, I)
	case modeLD:
		E, F, G, H := uint32(above[5]), uint32(above[6]), uint32(above[7]), uint32(above[8])
		s := uint64(four(mean3(A, B, C), mean3(B, C, D), mean3(C, D, E), mean3(D, E, F))) |
			uint64(four(mean3(E, F, G), mean3(F, G, H), mean3(G, H, H), 0))<<32
		r0, r1, r2, r3 = uint32(s), uint32(s>>8), uint32(s>>16), uint32(s>>24)
	case modeVL:
		E, F, G, H := uint32(above[5]), uint32(above[6]), uint32(above[7]), uint32(above[8])
		r0 = four(mean2(A, B), mean2(B, C), mean2(C, D), mean2(D, E))
		r1 = four(mean3(A, B, C), mean3(B, C, D), mean3(C, D, E), mean3(D, E, F))
		r2, r3 = r0>>8|mean3(E, F, G)<<24, r1>>8|mean3(F, G, H)<<24
	case modeHD:
		s := uint64(four(mean2(L, K), mean3(L, K, J), mean2(K, J), mean3(K, J, I))) |
			uint64(four(mean2(J, I), mean3(J, I, P), mean2(I, P), mean3(I, P, A)))<<32
		r3, r2, r1 = uint32(s), uint32(s>>16), uint32(s>>32)
		r0 = uint32(s>>48) | mean3(P, A, B)<<16 | mean3(A, B, C)<<24
	case modeHU:
		r0 = four(mean2(I, J), mean3(I, J, K), mean2(J, K), mean3(J, K, L))
		r1 = r0>>16 | mean2(K, L)<<16 | mean3(K, L, L)<<24
		r2 = r1>>16 | L<<16 | L<<24
		r3 = L * 0x01010101
	}
	binary.LittleEndian.PutUint32(band[at:], r0)
	binary.LittleEndian.PutUint32(band[at+pitch:], r1)
	binary.LittleEndian.PutUint32(band[at+2*pitch:], r2)
	binary.LittleEndian.PutUint32(band[at+3*pitch:], r3)
}
