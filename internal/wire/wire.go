// Package wire takes headers of stored things apart: numbers as varints, and strings behind their lengths.
package wire

import "encoding/binary"

// A Reader takes a header apart. Once Bad is set, all that it returns is empty.
type Reader struct {
	Rest string // what is left; strings that Reader returns are parts of it
	Bad  bool   // it was no such header
}

// Number reads a varint.
func (r *Reader) Number() uint64 {
	var n uint64
	for i := 0; i < len(r.Rest) && i < binary.MaxVarintLen64; i++ {
		c := r.Rest[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.Rest = r.Rest[i+1:]
			return n
		}
	}
	r.Rest, r.Bad = "", true
	return 0
}

// String reads a string behind its length.
func (r *Reader) String() string {
	n := r.Number()
	if n > uint64(len(r.Rest)) {
		r.Rest, r.Bad = "", true
		return ""
	}
	s := r.Rest[:n]
	r.Rest = r.Rest[n:]
	return s
}
