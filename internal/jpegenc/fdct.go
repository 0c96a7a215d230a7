package jpegenc

import "math/bits"

// A block holds the 64 quantised coefficients of 8x8 samples, or of one scan of them. The coefficient of
// horizontal frequency u and vertical frequency v is at 8u+v: the transposition of T.81's order that the
// second pass of the transform leaves behind, as taking it back would cost more than looking places up.
type block [64]int16

// zigzag is the place in a block of each coefficient in the order of the file (T.81 figure A.6).
var zigzag = [64]uint8{
	0, 8, 1, 2, 9, 16, 24, 17, 10, 3, 4, 11, 18, 25, 32, 40,
	33, 26, 19, 12, 5, 6, 13, 20, 27, 34, 41, 48, 56, 49, 42, 35,
	28, 21, 14, 7, 15, 22, 29, 36, 43, 50, 57, 58, 51, 44, 37, 30,
	23, 31, 38, 45, 52, 59, 60, 53, 46, 39, 47, 54, 61, 62, 55, 63,
}

// roundUp is the part of a step, in 128ths, from the next multiple at which coefficients but the mean still become
// that multiple: 64 is the nearest. Larger coefficients are rarer than smaller ones, so the lower multiple costs
// fewer bits and is on average hardly farther off. Six photographs, 400 pixels wide, against 64 (bytes; SSIM and PSNR
// of luma at the same quality, and at the same bytes):
//
//	quality 60  59: -3.8 %  -0.0009  -0.05 dB   +0.0025  +0.18 dB    54: -7.0 %  -0.0023  -0.16 dB
//	quality 80  59: -3.3 %  -0.0004  -0.05 dB   +0.0009  +0.17 dB    54: -6.0 %  -0.0012  -0.18 dB
//	quality 90  59: -3.0 %  -0.0002  -0.05 dB   +0.0007  +0.18 dB    54: -5.6 %  -0.0007  -0.19 dB
//
// Steps of one are those of pictures that are to be exact: they round to the nearest.
const roundUp = 59

// A quantizer divides coefficients by the steps of a table and rounds, by multiplication:
//
//	q = ((|x| + bias) * reciprocal >> 16) * scale >> 16, with the sign of x
//
// for x as the transform gives it, eight times the coefficient of T.81. The layout is the assembly's.
type quantizer struct {
	reciprocal [64]uint16
	bias       [64]uint16
	scale      [64]uint16
}

// newQuantizer makes the quantizer of a table that is in the order of the file; see roundUp.
//
// For the divisor d with b = floor(log2 d), 2^(16+b)/d is a 16-bit number; rounded down where the remainder is
// at most half of d, with one more in the bias, and up where it is more, it gives the exact quotient for
// dividends of 16 bits (Alverson, "Integer Division Using Reciprocals", 1991; TestQuantizer tries all).
func newQuantizer(table *[64]uint8, roundUp int) *quantizer {
	q := new(quantizer)
	for k, step := range table {
		at := zigzag[k]
		d := uint32(step) << 3
		b := bits.Len32(d) - 1
		shift := 16 + b
		r, rest := uint32(1<<shift)/d, uint32(1<<shift)%d
		bias := d / 2
		if k > 0 && step > 1 {
			bias = d * uint32(roundUp) / 128
		}
		switch {
		case rest == 0: // a power of two: r would need 17 bits
			r >>= 1
			shift--
		case rest <= d/2:
			bias++
		default:
			r++
		}
		q.reciprocal[at], q.bias[at], q.scale[at] = uint16(r), uint16(bias), 1<<(32-shift)
	}
	return q
}

// Constants of the transform in Q13: sums of products of cosines of multiples of π/16 and √2.
const (
	fix0298 = 2446
	fix0390 = 3196
	fix0541 = 4433
	fix0765 = 6270
	fix0899 = 7373
	fix1175 = 9633
	fix1501 = 12299
	fix1847 = 15137
	fix1961 = 16069
	fix2053 = 16819
	fix2562 = 20995
	fix3072 = 25172
)

// transformGeneric sets dst to the quantised coefficients of the blocks that lie side by side in src, of
// the given stride, and masks to which of them are not zero: bit k for place k in the order of the file.
//
// The transform is that of Loeffler, Ligtenberg and Moschytz ("Practical Fast 1-D DCT Algorithms with 11
// Multiplications", 1989) in the integers of libjpeg's jfdctint: 13 bits of the constants and, between the
// passes, two bits of the fraction. Columns go first here, so results may differ from libjpeg's by one rounding.
func transformGeneric(dst []block, masks []uint64, src []uint8, stride int, q *quantizer) {
	for i := range dst {
		var a, f [64]int32 // f is transposed
		for y := range 8 {
			row, to := (*[8]uint8)(src[y*stride+8*i:]), (*[8]int32)(a[8*y:])
			for x, s := range row {
				to[x] = int32(s) - 128
			}
		}
		const half1, half2 = 1 << 10, 1 << 14
		for x := range 8 {
			a := (*[57]int32)(a[x:])
			d0, d1, d2, d3, d4, d5, d6, d7 := pass(a[0], a[8], a[16], a[24], a[32], a[40], a[48], a[56])
			a[0], a[8] = d0<<2, (d1+half1)>>11
			a[16], a[24] = (d2+half1)>>11, (d3+half1)>>11
			a[32], a[40] = d4<<2, (d5+half1)>>11
			a[48], a[56] = (d6+half1)>>11, (d7+half1)>>11
		}
		for y := range 8 {
			a, f := (*[8]int32)(a[8*y:]), (*[57]int32)(f[y:])
			d0, d1, d2, d3, d4, d5, d6, d7 := pass(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7])
			f[0], f[8] = (d0+2)>>2, (d1+half2)>>15
			f[16], f[24] = (d2+half2)>>15, (d3+half2)>>15
			f[32], f[40] = (d4+2)>>2, (d5+half2)>>15
			f[48], f[56] = (d6+half2)>>15, (d7+half2)>>15
		}
		b := &dst[i]
		for at, x := range &f {
			sign := x >> 31
			n := uint32((x^sign)-sign) + uint32(q.bias[at])
			n = n * uint32(q.reciprocal[at]) >> 16 * uint32(q.scale[at]) >> 16
			b[at] = int16((int32(n) ^ sign) - sign)
		}
		mask := uint64(0)
		for _, at := range &zigzag {
			v := int64(b[at&63])
			mask = mask>>1 | uint64(v|-v)&(1<<63) // one of v and -v is negative, unless it is zero
		}
		masks[i] = mask
	}
}

// pass is the transform of eight samples times 2√2: the first and the fifth result as they are, the others
// in Q13.
func pass(s0, s1, s2, s3, s4, s5, s6, s7 int32) (d0, d1, d2, d3, d4, d5, d6, d7 int32) {
	t0, t7 := s0+s7, s0-s7
	t1, t6 := s1+s6, s1-s6
	t2, t5 := s2+s5, s2-s5
	t3, t4 := s3+s4, s3-s4

	even, odd := t0+t3, t1+t2
	d0, d4 = even+odd, even-odd
	even, odd = t0-t3, t1-t2
	d2 = even*(fix0541+fix0765) + odd*fix0541
	d6 = even*fix0541 + odd*(fix0541-fix1847)

	z3, z4 := t4+t6, t5+t7
	z3, z4 = z3*(fix1175-fix1961)+z4*fix1175, z3*fix1175+z4*(fix1175-fix0390)
	d7 = t4*(fix0298-fix0899) - t7*fix0899 + z3
	d1 = t7*(fix1501-fix0899) - t4*fix0899 + z4
	d5 = t5*(fix2053-fix2562) - t6*fix2562 + z4
	d3 = t6*(fix3072-fix2562) - t5*fix2562 + z3
	return d0, d1, d2, d3, d4, d5, d6, d7
}
