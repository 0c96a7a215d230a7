package jpegenc

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// A token is one symbol and the bits that follow it, before it is known which code the symbol gets:
//
//	bits 0 to 7    symbol: for AC the zeros before in the upper half, the number of bits in the lower
//	bits 8 to 9    table
//	bits 10 to 31  the bits that follow
//
// Keeping tokens rather than coefficients is what makes a second pass cheap: there are fewer of them, and
// nothing is left to do but to look up codes.
type token uint32

// Tables, as tokens have them.
const (
	dcLuma = iota
	acLuma
	dcChroma
	acChroma

	tables = 4
)

// Symbols that stand for no value.
const (
	endOfBlock = 0x00
	zeros16    = 0xf0
)

// statistics says how often each symbol of each table occurs.
type statistics [tables * 256]uint32

func (s *statistics) of(table int) *[256]uint32 { return (*[256]uint32)(s[256*table:]) }

// values maps the low 12 bits of a number to the token of it: its size, and its bits as T.81 F.1.2.1 has
// them, which for negative numbers are those of the number less one.
type values [4096]token

func newValues() *values {
	v := new(values)
	for n := -2047; n <= 2047; n++ {
		size := bits.Len32(uint32(max(n, -n)))
		low := n
		if n < 0 {
			low = n - 1
		}
		v[n&4095] = token(low&(1<<size-1))<<10 | token(size)
	}
	return v
}

// maxBlockTokens is more than the tokens of a block: at most one for each coefficient.
const maxBlockTokens = 128

// appendBlock writes the tokens of b, which differs from the block before in its first coefficient by diff,
// to dst and gives their number.
func (v *values) appendBlock(dst *[maxBlockTokens]token, stats *statistics, b *block, mask uint64, diff int, dc token) int {
	t := v[diff&4095] | dc
	stats[t&1023]++
	dst[0] = t
	n := 1
	ac := dc + 1<<8
	before := 0
	for mask &^= 1; mask != 0; mask &= mask - 1 {
		k := bits.TrailingZeros64(mask)
		run := k - before - 1
		before = k
		for run > 15 {
			stats[(ac+zeros16)&1023]++
			dst[n&127] = ac + zeros16
			n++
			run -= 16
		}
		t := v[uint16(b[zigzag[k&63]&63])&4095] + ac + token(run<<4)
		stats[t&1023]++
		dst[n&127] = t
		n++
	}
	if before != 63 {
		stats[ac&1023]++
		dst[n&127] = ac + endOfBlock
		n++
	}
	return n
}

// A bitWriter holds the bits that do not make eight bytes yet.
type bitWriter struct {
	acc  uint64 // its lowest bits
	used uint   // how many, up to 64
}

// write appends the tokens to dst, a zero after each byte of ones (T.81 F.1.2.3).
func (w *bitWriter) write(dst []byte, tokens []token, codes *[tables * 256]code) []byte {
	acc, used := w.acc, w.used
	for len(tokens) > 0 {
		some := tokens[:min(len(tokens), 512)]
		tokens = tokens[len(some):]
		// No token has more than 30 bits, and no byte becomes more than two.
		dst = slices.Grow(dst, 8*len(some)+16)
		out, n := dst[:cap(dst)], len(dst)
		for _, t := range some {
			c := codes[t&1023]
			v, size := uint64(c>>8)|uint64(t>>10), uint(c&63)
			if used+size <= 64 {
				acc = acc<<(size&63) | v
				used += size
				continue
			}
			rest := (used + size - 64) & 63
			acc = acc<<((64-used)&63) | v>>rest
			if acc&^(acc+0x0101010101010101)&0x8080808080808080 == 0 {
				binary.BigEndian.PutUint64(out[n:], acc)
				n += 8
			} else {
				n = stuff(out, n, acc, 8)
			}
			acc, used = v, rest
		}
		dst = dst[:n]
	}
	w.acc, w.used = acc, used
	return dst
}

// stuff writes the upper count bytes of acc at n, zeros between, and gives the place after them.
func stuff(out []byte, n int, acc uint64, count int) int {
	for ; count > 0; count-- {
		b := byte(acc >> 56)
		acc <<= 8
		out[n] = b
		n++
		if b == 0xff {
			out[n] = 0
			n++
		}
	}
	return n
}

// flush writes what is left, with ones to the end of the byte.
func (w *bitWriter) flush(dst []byte) []byte {
	if w.used > 0 {
		dst = slices.Grow(dst, 16)
		acc := w.acc<<(64-w.used) | (1<<(64-w.used) - 1)
		dst = dst[:stuff(dst[:cap(dst)], len(dst), acc, int(w.used+7)/8)]
	}
	*w = bitWriter{}
	return dst
}
