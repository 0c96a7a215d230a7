package jpegdec

import (
	"bytes"
	"encoding/binary"
	"slices"
)

var errShort = damaged("the data of a scan ends early")

// A bitReader has the entropy-coded data between two markers, without its stuffing. The hot loops keep its
// fields in variables of their own, and fill the accumulator all in the same way:
//
//	if n < 32 {
//		acc |= binary.BigEndian.Uint64(buf[pos:]) >> n
//		pos += int(63-n) >> 3
//		n |= 56
//	}
//
// acc has its next bit at the top. n counts the bits of whole bytes that are in it; below them there may
// be the beginning of another, which the next load puts in the same place again (F. Giesen, "Reading bits in
// far too many ways", variant 4). So at least 56 bits are there after a load, and 32 always, as many as
// the longest code and its value.
//
// The data is followed by zeros for as much as a block can ask for, so that one check for each block
// will do: that pos is not beyond limit.
type bitReader struct {
	buf   []byte // the data, and padding of zeros
	size  int    // of the data
	limit int    // for pos, at the start of a block
	pos   int    // of the next byte to load
	acc   uint64
	n     uint
}

// padding is what 64 coefficients of 16+16 bits and as many corrections take at most, and two loads.
const padding = 64*4 + 8 + 3*8

// load makes r read the entropy-coded data at the start of src, up to a marker, and returns its length
// there.
func (r *bitReader) load(src []byte) int {
	if cap(r.buf) < len(src)+padding {
		r.buf = make([]byte, 0, len(src)+padding)
	}
	buf, p := r.buf[:0], 0
	for {
		i := bytes.IndexByte(src[p:], 0xff)
		if i < 0 {
			buf = append(buf, src[p:]...)
			p = len(src)
			break
		}
		if p+i+1 >= len(src) || src[p+i+1] != 0 {
			buf = append(buf, src[p:p+i]...)
			p += i
			break
		}
		buf = append(buf, src[p:p+i+1]...)
		p += i + 2
	}
	r.size = len(buf)
	r.limit = r.size + 8
	buf = slices.Grow(buf, padding)[:r.size+padding]
	clear(buf[r.size:])
	r.buf = buf
	r.pos, r.acc, r.n = 0, 0, 0
	return p
}

// over reports whether more bits have been taken than there are.
func (r *bitReader) over() bool { return 8*r.pos-int(r.n) > 8*r.size }

// take gives the next n bits, of at most 16.
func (r *bitReader) take(n uint) uint32 {
	if r.n < 32 {
		r.fill()
	}
	v := uint32(r.acc >> (64 - n))
	r.acc <<= n
	r.n -= n
	return v
}

// fill loads. It is the loops' own, but goes on with zeros at the end.
func (r *bitReader) fill() {
	if r.pos+8 <= len(r.buf) {
		r.acc |= binary.BigEndian.Uint64(r.buf[r.pos:]) >> r.n
	}
	r.pos += int(63-r.n) >> 3
	r.n |= 56
}

// restartAt steps over the marker of a restart, which are numbered modulo 8. Extra data before it is
// ignored, another marker is not.
func (d *decoder) restartAt(number int) error {
	want := byte(mRST0 + number&7)
	for {
		m, err := d.markerOrStuffing()
		switch {
		case err != nil:
			return err
		case m == want:
			return nil
		case m != 0:
			return damaged("marker %#x in place of a restart", m)
		}
	}
}

func (d *decoder) markerOrStuffing() (byte, error) {
	i := bytes.IndexByte(d.data[d.p:], 0xff)
	if i < 0 {
		return 0, errShort
	}
	for d.p += i + 1; d.p < len(d.data); {
		m := d.data[d.p]
		d.p++
		if m != 0xff {
			return m, nil
		}
	}
	return 0, errShort
}
