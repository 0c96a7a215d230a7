package jpegdec

//go:generate sh _asm/generate.sh

// Inverse DCTs. All take coefficients column by column of frequencies (the place of horizontal frequency
// u and vertical frequency v is u·points + v) with their quantization table in the same order, and write
// samples row by row to dst, whose rows are stride bytes apart. Products are taken modulo 2¹⁶; where they fit,
// as those of all pictures of 8 bits do, nothing else wraps. What the first pass gives is saturated at 16
// bits.
//
// Weights are 13 bits after the point and the first pass leaves 2, as in libjpeg's jidctint.c. The gain of a
// pass is √8 of that of an orthonormal transform, which three bits of the last shift undo.
const (
	weightBits = 13
	passBits   = 2
	shift1     = weightBits - passBits
	shift2     = weightBits + passBits + 3
)

// Weights of jidctint.c, in Q13.
const (
	w0298 = 2446
	w0390 = 3196
	w0541 = 4433
	w0765 = 6270
	w0899 = 7373
	w1175 = 9633
	w1501 = 12299
	w1847 = 15137
	w1961 = 16069
	w2053 = 16819
	w2562 = 20995
	w3072 = 25172

	w1306 = w0541 + w0765 // √2·cos π/8, of the four points
)

// sample clips a value that is centred at zero.
func sample(v int32) uint8 {
	v += 128
	if uint32(v) > 255 {
		v = ^v >> 31 // all ones above, zeros below
	}
	return uint8(v)
}

// saturate16 is what packing 32 bits into 16 does.
func saturate16(v int32) int32 {
	if int32(int16(v)) != v {
		return int32(saturate(v))
	}
	return v
}

// idct8Go is jidctint.c's jpeg_idct_islow, rows before columns.
func idct8Go(dst []uint8, stride int, coef, quant *[64]int16) {
	var pass [64]int32 // pass[8v+x]: vertical frequency v, column x of samples
	for v := range 8 {
		x0, x1 := int32(coef[v]*quant[v]), int32(coef[8+v]*quant[8+v])
		x2, x3 := int32(coef[16+v]*quant[16+v]), int32(coef[24+v]*quant[24+v])
		x4, x5 := int32(coef[32+v]*quant[32+v]), int32(coef[40+v]*quant[40+v])
		x6, x7 := int32(coef[48+v]*quant[48+v]), int32(coef[56+v]*quant[56+v])
		row := pass[8*v : 8*v+8 : 8*v+8]
		if x1|x2|x3|x4|x5|x6|x7 == 0 {
			dc := saturate16(x0 << passBits)
			row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7] = dc, dc, dc, dc, dc, dc, dc, dc
			continue
		}

		const round = 1 << (shift1 - 1)
		z1 := (x2 + x6) * w0541
		t2, t3 := z1-x6*w1847, z1+x2*w0765
		t0, t1 := (x0+x4)<<weightBits+round, (x0-x4)<<weightBits+round
		e0, e1, e2, e3 := t0+t3, t1+t2, t1-t2, t0-t3
		z1, z2, z3, z4 := (x7+x1)*-w0899, (x5+x3)*-w2562, x7+x3, x5+x1
		z5 := (z3 + z4) * w1175
		z3, z4 = z5-z3*w1961, z5-z4*w0390
		o0, o1, o2, o3 := x1*w1501+z1+z4, x3*w3072+z2+z3, x5*w2053+z2+z4, x7*w0298+z1+z3

		row[0], row[7] = saturate16((e0+o0)>>shift1), saturate16((e0-o0)>>shift1)
		row[1], row[6] = saturate16((e1+o1)>>shift1), saturate16((e1-o1)>>shift1)
		row[2], row[5] = saturate16((e2+o2)>>shift1), saturate16((e2-o2)>>shift1)
		row[3], row[4] = saturate16((e3+o3)>>shift1), saturate16((e3-o3)>>shift1)
	}
	d0, d1, d2, d3 := dst[:8], dst[stride:][:8], dst[2*stride:][:8], dst[3*stride:][:8]
	d4, d5, d6, d7 := dst[4*stride:][:8], dst[5*stride:][:8], dst[6*stride:][:8], dst[7*stride:][:8]
	for x := range 8 {
		x0, x1, x2, x3 := pass[x], pass[8+x], pass[16+x], pass[24+x]
		x4, x5, x6, x7 := pass[32+x], pass[40+x], pass[48+x], pass[56+x]

		const round = 1 << (shift2 - 1)
		z1 := (x2 + x6) * w0541
		t2, t3 := z1-x6*w1847, z1+x2*w0765
		t0, t1 := (x0+x4)<<weightBits+round, (x0-x4)<<weightBits+round
		e0, e1, e2, e3 := t0+t3, t1+t2, t1-t2, t0-t3
		z1, z2, z3, z4 := (x7+x1)*-w0899, (x5+x3)*-w2562, x7+x3, x5+x1
		z5 := (z3 + z4) * w1175
		z3, z4 = z5-z3*w1961, z5-z4*w0390
		o0, o1, o2, o3 := x1*w1501+z1+z4, x3*w3072+z2+z3, x5*w2053+z2+z4, x7*w0298+z1+z3

		d0[x], d7[x] = sample((e0+o0)>>shift2), sample((e0-o0)>>shift2)
		d1[x], d6[x] = sample((e1+o1)>>shift2), sample((e1-o1)>>shift2)
		d2[x], d5[x] = sample((e2+o2)>>shift2), sample((e2-o2)>>shift2)
		d3[x], d4[x] = sample((e3+o3)>>shift2), sample((e3-o3)>>shift2)
	}
}

// idct4Go is the inverse DCT of four points of the lowest 4x4 frequencies.
func idct4Go(dst []uint8, stride int, coef, quant *[16]int16) {
	var pass [16]int32
	for v := range 4 {
		x0, x1 := int32(coef[v]*quant[v]), int32(coef[4+v]*quant[4+v])
		x2, x3 := int32(coef[8+v]*quant[8+v]), int32(coef[12+v]*quant[12+v])
		t0, t1 := (x0+x2)<<weightBits+1<<(shift1-1), (x0-x2)<<weightBits+1<<(shift1-1)
		z0, z1 := x1*w1306+x3*w0541, x1*w0541-x3*w1306
		pass[4*v] = saturate16((t0 + z0) >> shift1)
		pass[4*v+1] = saturate16((t1 + z1) >> shift1)
		pass[4*v+2] = saturate16((t1 - z1) >> shift1)
		pass[4*v+3] = saturate16((t0 - z0) >> shift1)
	}
	for x := range 4 {
		x0, x1, x2, x3 := pass[x], pass[4+x], pass[8+x], pass[12+x]
		t0, t1 := (x0+x2)<<weightBits+1<<(shift2-1), (x0-x2)<<weightBits+1<<(shift2-1)
		z0, z1 := x1*w1306+x3*w0541, x1*w0541-x3*w1306
		dst[x] = sample((t0 + z0) >> shift2)
		dst[stride+x] = sample((t1 + z1) >> shift2)
		dst[2*stride+x] = sample((t1 - z1) >> shift2)
		dst[3*stride+x] = sample((t0 - z0) >> shift2)
	}
}

// idct2 is the inverse DCT of two points of the lowest 2x2 frequencies. Its weights are all one.
func idct2(dst []uint8, stride int, coef, quant *[4]int16) {
	a, b := int32(coef[0]*quant[0]), int32(coef[1]*quant[1])
	c, d := int32(coef[2]*quant[2]), int32(coef[3]*quant[3])
	a, c = a+c+4, a-c+4
	b, d = b+d, b-d
	dst[0], dst[1] = sample((a+b)>>3), sample((c+d)>>3)
	dst[stride], dst[stride+1] = sample((a-b)>>3), sample((c-d)>>3)
}
