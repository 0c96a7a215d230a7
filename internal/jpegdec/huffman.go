package jpegdec

import "math/bits"

// lookBits is how many bits a table is looked up with: enough for most codes with their values, and few
// enough for the tables of a picture, 8 KB each, to share the first-level cache.
const lookBits = 11

// A huffman is a Huffman table of T.81 annex C.
type huffman struct {
	defined bool
	built   uint8 // what look holds: 0, builtDC or builtAC
	skips   bool  // whether skip is built

	counts [17]uint8 // codes of each length
	values [256]uint8

	// A code of l bits, with what follows it as 16 bits, is below limit[l], and not below limit[l-1]; its
	// value is values[code + base[l]].
	limit [18]uint32
	base  [17]int32

	// look has for each lookBits bits
	//
	//	bits 0-7   how many of them the code takes, with the value's
	//	bits 8-15  AC: how many zeros are before the coefficient
	//	bits 16-31 AC: the coefficient, which is not zero. DC: the difference
	//
	// or if they do not hold both: with a zero coefficient, for AC, or with the flag more, for DC, the
	// length of the code alone and its value in bits 8-15; or 0 where the code is longer.
	look [1 << lookBits]uint32

	// skip has for each lookBits bits how to pass by as many AC codes as begin and end in them, values
	// included: bits 0-5 all their lengths, bit 7 whether the last is the end of the block, and bits 8-15
	// how many coefficients they stand for. 0 where the first code is longer, or has another meaning.
	skip [1 << lookBits]uint16
}

const (
	builtDC = 1
	builtAC = 2

	more      = 0x80 // in look, for DC
	endsBlock = 0x80 // in skip
)

// huffmanTables reads tables (section B.2.4.2).
func (d *decoder) huffmanTables(b []byte) error {
	for len(b) > 0 {
		if len(b) < 17 {
			return damaged("a Huffman table of %d bytes", len(b))
		}
		class, t := b[0]>>4, b[0]&15
		if class > 1 || t > 3 || d.baseline && t > 1 {
			return damaged("Huffman table %d of class %d", t, class)
		}
		h := &d.huff[class][t]
		n, err := h.define(b[1:])
		if err != nil {
			return err
		}
		b = b[1+n:]
	}
	return nil
}

// define reads the lengths and values of a table from the start of b, and returns how many bytes they are.
func (h *huffman) define(b []byte) (int, error) {
	h.defined, h.built, h.skips = false, 0, false
	total, code := 0, uint32(0)
	for l := 1; l <= 16; l++ {
		h.counts[l] = b[l-1]
		h.base[l] = int32(total) - int32(code)
		total += int(b[l-1])
		code += uint32(b[l-1])
		h.limit[l] = code << (16 - l)
		if h.limit[l] > 1<<16 {
			return 0, damaged("a Huffman table of too many codes")
		}
		code <<= 1
	}
	switch {
	case total == 0:
		return 0, damaged("an empty Huffman table")
	case total > 256:
		return 0, damaged("a Huffman table of %d codes", total)
	case len(b) < 16+total:
		return 0, damaged("a Huffman table of %d bytes", len(b))
	}
	copy(h.values[:], b[16:16+total])
	h.defined = true
	return 16 + total, nil
}

// find gives the code at the top of acc and its length, or the length 0 if there is none.
func (h *huffman) find(acc uint64) (value uint8, length uint) {
	code := uint32(acc >> 48)
	for l := uint(1); l <= 16; l++ {
		if code < h.limit[l] {
			return h.values[uint8(int32(code>>(16-l))+h.base[l])], l
		}
	}
	return 0, 0
}

// build makes look for one of the two uses.
func (h *huffman) build(use uint8) {
	if h.built == use {
		return
	}
	h.built, h.skips = use, false
	i, v := 0, 0
	fill := func(n int, e uint32) {
		part := h.look[i:][:n]
		for j := range part {
			part[j] = e
		}
		i += n
	}
	for l := 1; l <= lookBits; l++ {
		rest := lookBits - l
		for range h.counts[l] {
			s := h.values[v]
			v++
			run, size := uint32(s>>4), int(s&15)
			if use == builtDC {
				run, size = 0, int(s)
			}
			switch {
			case size > rest || size == 0 && use == builtAC:
				e := uint32(s)<<8 | uint32(l)
				if use == builtDC {
					e |= more
				}
				fill(1<<rest, e)
			default:
				for bits := range 1 << size {
					e := uint32(uint16(extend(uint32(bits), uint(size))))<<16 | run<<8 | uint32(l+size)
					fill(1<<(rest-size), e)
				}
			}
		}
	}
	e := uint32(0)
	if use == builtDC {
		e = more
	}
	fill(1<<lookBits-i, e)
}

// buildSkip makes skip out of look, for AC.
func (h *huffman) buildSkip() {
	if h.skips {
		return
	}
	h.skips = true
	for i := range h.skip {
		length, coefs, end := 0, 0, uint16(0)
		for length < lookBits && end == 0 {
			e := h.look[i<<length&(1<<lookBits-1)]
			l, run := int(e&0xff), int(e>>8&0xff)
			size := 0
			if e>>16 == 0 {
				size = run & 15
				run >>= 4
			} else {
				size = bits.Len16(magnitude(e))
				l -= size
			}
			if l == 0 || length+l > lookBits || size == 0 && run != 0 && run != 15 {
				break
			}
			if size == 0 && run == 0 {
				end = endsBlock
			} else {
				coefs += run + 1
			}
			length += l + size
		}
		if coefs > 64 || length == 0 {
			h.skip[i] = 0
			continue
		}
		h.skip[i] = uint16(coefs)<<8 | end | uint16(length)
	}
}

// magnitude is that of the coefficient in an entry of look.
func magnitude(e uint32) uint16 {
	v := int16(e >> 16)
	return uint16(max(v, -v))
}

// extend makes a signed number of size bits (section F.2.2.1).
func extend(v uint32, size uint) int32 {
	if v < 1<<size>>1 {
		return int32(v) - 1<<size + 1
	}
	return int32(v)
}
