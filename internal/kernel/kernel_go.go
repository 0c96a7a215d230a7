package kernel

import "image/color"

// saturate is the nearest int16.
func saturate(v int32) int16 { return int16(min(max(v, -1<<15), 1<<15-1)) }

// clamp8 is the nearest uint8.
func clamp8(v int32) uint8 {
	if uint32(v) > 255 {
		v = ^(v >> 31) & 255 // below: 0, above: 255
	}
	return uint8(v)
}

func downNarrowGo(dst []int16, src []uint8, stride int, weights []int16) {
	downGo(dst, src, stride, weights, 1<<(weightBits-7), weightBits-6)
}

// Beside rounding, the 32768 that wide samples are short of comes back: times weights that add up to 1<<14.
func downWideGo(dst []int16, src []int16, stride int, weights []int16) {
	downGo(dst, src, stride, weights, 1<<(weightBits+15)+1<<(weightBits+1), weightBits+2)
}

func downGo[T uint8 | int16](dst []int16, src []T, stride int, weights []int16, init int32, shift uint) {
	var sums [256]int32 // of as many columns: they stay in the nearest cache
	for x := 0; x < len(dst); x += len(sums) {
		out := dst[x:min(x+len(sums), len(dst))]
		acc := sums[:len(out)]
		row := func(k int) []T { return src[k*stride+x:][:len(acc)] }
		// First the one to four rows that are left over when the others are taken four at a time.
		k := (len(weights)-1)%4 + 1
		w0, r0 := int32(weights[0]), row(0)
		switch k {
		case 1:
			for i := range acc {
				acc[i] = init + w0*int32(r0[i])
			}
		case 2:
			w1, r1 := int32(weights[1]), row(1)
			for i := range acc {
				acc[i] = init + w0*int32(r0[i]) + w1*int32(r1[i])
			}
		case 3:
			w1, w2, r1, r2 := int32(weights[1]), int32(weights[2]), row(1), row(2)
			for i := range acc {
				acc[i] = init + w0*int32(r0[i]) + w1*int32(r1[i]) + w2*int32(r2[i])
			}
		case 4:
			w1, w2, w3, r1, r2, r3 := int32(weights[1]), int32(weights[2]), int32(weights[3]), row(1), row(2), row(3)
			for i := range acc {
				acc[i] = init + w0*int32(r0[i]) + w1*int32(r1[i]) + w2*int32(r2[i]) + w3*int32(r3[i])
			}
		}
		for ; k < len(weights); k += 4 {
			w0, w1, w2, w3 := int32(weights[k]), int32(weights[k+1]), int32(weights[k+2]), int32(weights[k+3])
			r0, r1, r2, r3 := row(k), row(k+1), row(k+2), row(k+3)
			for i := range acc {
				acc[i] += w0*int32(r0[i]) + w1*int32(r1[i]) + w2*int32(r2[i]) + w3*int32(r3[i])
			}
		}
		for i, v := range acc {
			out[i] = saturate(v >> shift)
		}
	}
}

const wideInit = 1<<(weightBits-3) - 1<<(weightBits+13)

func across1Go(dst []uint8, row []int16, f *Filter) {
	for i := range dst {
		dst[i] = clamp8((f.sum(row, i) + 1<<(weightBits+5)) >> (weightBits + 6))
	}
}

func across1WideGo(dst []int16, row []int16, f *Filter) {
	for i := range dst {
		dst[i] = saturate((f.sum(row, i) + wideInit) >> (weightBits - 2))
	}
}

// sum is output i of one channel, Q20.
func (f *Filter) sum(row []int16, i int) (sum int32) {
	w := f.weight[i*f.taps:][:f.taps]
	px := row[f.start[i]:][:len(w)]
	for len(w) >= 4 && len(px) >= 4 {
		sum += int32(w[0])*int32(px[0]) + int32(w[1])*int32(px[1]) + int32(w[2])*int32(px[2]) + int32(w[3])*int32(px[3])
		w, px = w[4:], px[4:]
	}
	for k, v := range px {
		sum += int32(w[k]) * int32(v)
	}
	return sum
}

func across4Go(dst []uint8, row []int16, f *Filter) {
	const half = 1 << (weightBits + 5)
	for i := range len(dst) / 4 {
		r, g, b, a := f.sum4(row, i)
		px := dst[4*i:][:4]
		px[0] = clamp8((r + half) >> (weightBits + 6))
		px[1] = clamp8((g + half) >> (weightBits + 6))
		px[2] = clamp8((b + half) >> (weightBits + 6))
		px[3] = clamp8((a + half) >> (weightBits + 6))
	}
}

func across4WideGo(dst []int16, row []int16, f *Filter) {
	for i := range len(dst) / 4 {
		r, g, b, a := f.sum4(row, i)
		px := dst[4*i:][:4]
		px[0] = saturate((r + wideInit) >> (weightBits - 2))
		px[1] = saturate((g + wideInit) >> (weightBits - 2))
		px[2] = saturate((b + wideInit) >> (weightBits - 2))
		px[3] = saturate((a + wideInit) >> (weightBits - 2))
	}
}

// sum4 is output i of four channels, Q20.
func (f *Filter) sum4(row []int16, i int) (r, g, b, a int32) {
	w := f.weight[i*f.taps:][:f.taps]
	px := row[4*f.start[i]:][:4*len(w)]
	for _, v := range w {
		v := int32(v)
		r += v * int32(px[0])
		g += v * int32(px[1])
		b += v * int32(px[2])
		a += v * int32(px[3])
		px = px[4:]
	}
	return r, g, b, a
}

// Sums of colours weighted by alpha are in Q12 of 255².
const (
	fullAlpha = 255 * 255 << 12
	perAlpha  = float32(1.0 / (255 << 12))
)

func acrossAlphaGo(dst []uint8, row []int16, f *Filter) {
	for i := range len(dst) / 4 {
		r, g, b, a := f.sum4(row, i)
		a = min(max(a, 0), fullAlpha)
		px := dst[4*i:][:4]
		// The conversions keep compilers from fusing operations, so that all machines round alike.
		px[3] = uint8(int32(float32(float32(a)*perAlpha) + 0.5))
		if px[3] == 0 {
			px[0], px[1], px[2] = 0, 0, 0
			continue
		}
		px[0], px[1], px[2] = unweigh(r, a), unweigh(g, a), unweigh(b, a)
	}
}

// unweigh gives 255·v/a, rounded, of v within 0 and a.
func unweigh(v, a int32) uint8 {
	v = min(max(v, 0), a)
	return uint8(int32(float32(float32(float32(v)*255)/float32(a)) + 0.5))
}

func premultiplyGo(dst []int16, src []uint8) {
	for i := 0; i+4 <= len(dst); i += 4 {
		px, out := src[i:][:4], dst[i:][:4]
		a := int32(px[3])
		out[0] = int16(int32(px[0])*a - 1<<15)
		out[1] = int16(int32(px[1])*a - 1<<15)
		out[2] = int16(int32(px[2])*a - 1<<15)
		out[3] = int16(255*a - 1<<15)
	}
}

func yCbCrToRGBAGo(dst, y, cb, cr []uint8) {
	for i, v := range y {
		px := dst[4*i:][:4]
		px[0], px[1], px[2] = color.YCbCrToRGB(v, cb[i], cr[i])
		px[3] = 255
	}
}
