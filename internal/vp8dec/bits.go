package vp8dec

import (
	"encoding/binary"
	"math/bits"
)

// A reader is a boolean entropy decoder (RFC 6386, 7). Data that ends early goes on as zeros, and is told of: a bit counts as
// beyond the end where the eight that decide it are not all there.
type reader struct {
	data  []byte
	p     int
	value uint64 // what is not decoded of the bits that were loaded, from the lowest on
	rng   uint32 // 128 to 255
	n     int    // bits in value after the eight that decide the next; below zero some of those are missing
	cut   bool
}

func newReader(data []byte) reader { return reader{data: data, rng: 255, n: -8} }

// fill loads bits, seven bytes at once while there are eight.
func (r *reader) fill() {
	switch left := len(r.data) - r.p; {
	case left >= 8:
		r.value = r.value<<56 | binary.BigEndian.Uint64(r.data[r.p:])>>8
		r.p += 7
		r.n += 56
	case left > 0:
		r.value = r.value<<8 | uint64(r.data[r.p])
		r.p++
		r.n += 8
	default:
		r.cut = true
		r.value <<= 8
		r.n += 8
	}
}

// step decodes a bit whose probability of being zero is prob/256, of a value with n bits more than it needs, and gives the state after it.
// It is small enough to be inlined, so that loops keep the state in registers.
func step(value uint64, rng uint32, n int, prob uint8) (uint64, uint32, int, bool) {
	split := 1 + (rng-1)*uint32(prob)>>8
	bit := uint32(value>>(uint(n)&63)) >= split
	if bit {
		value -= uint64(split) << (uint(n) & 63)
		rng -= split
	} else {
		rng = split
	}
	shift := bits.LeadingZeros8(uint8(rng))
	return value, rng << (uint(shift) & 7), n - shift, bit
}

func (r *reader) bit(prob uint8) (bit bool) {
	if r.n < 0 {
		r.fill()
	}
	r.value, r.rng, r.n, bit = step(r.value, r.rng, r.n, prob)
	return bit
}

func (r *reader) flag() bool { return r.bit(128) }

// literal reads an unsigned number.
func (r *reader) literal(bits int) int {
	v := 0
	for range bits {
		v *= 2
		if r.flag() {
			v++
		}
	}
	return v
}

// signed reads a number and its sign.
func (r *reader) signed(bits int) int {
	v := r.literal(bits)
	if r.flag() {
		return -v
	}
	return v
}

// optional reads a flag, and a signed number where it is set.
func (r *reader) optional(bits int) int {
	if !r.flag() {
		return 0
	}
	return r.signed(bits)
}
