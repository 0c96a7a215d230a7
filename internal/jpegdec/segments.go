package jpegdec

import (
	"bytes"
	"context"
	"encoding/binary"
)

// Markers of T.81 table B.1.
const (
	mSOF0 = 0xc0
	mSOF1 = 0xc1
	mSOF2 = 0xc2
	mDHT  = 0xc4
	mDAC  = 0xcc
	mRST0 = 0xd0
	mSOI  = 0xd8
	mEOI  = 0xd9
	mSOS  = 0xda
	mDQT  = 0xdb
	mDRI  = 0xdd
	mAPP0 = 0xe0
	mAPPE = 0xee
	mAPPF = 0xef
	mCOM  = 0xfe
)

// segments reads the file to its end.
func (d *decoder) segments() error {
	if !bytes.HasPrefix(d.data, []byte{0xff, mSOI}) {
		return damaged("no marker of the start")
	}
	d.p = 2
	for {
		marker, err := d.marker()
		if err != nil {
			return err
		}
		if marker == mEOI {
			return nil
		}
		if marker&^7 == mRST0 { // some encoders write one after the last MCU
			continue
		}
		rest := d.data[d.p:]
		if len(rest) < 2 {
			return errCut
		}
		n := int(binary.BigEndian.Uint16(rest))
		if n < 2 {
			return damaged("a segment of length %d", n)
		}
		if n > len(rest) {
			return errCut
		}
		d.p += n
		done, err := d.segment(marker, rest[2:n])
		if err != nil {
			return err
		}
		if done {
			return nil
		}
	}
}

// marker finds the next marker. What is between segments is stepped over, as all decoders do.
func (d *decoder) marker() (byte, error) {
	for {
		i := bytes.IndexByte(d.data[d.p:], 0xff)
		if i < 0 || d.p+i+1 >= len(d.data) {
			return 0, errCut
		}
		d.p += i + 1
		m := d.data[d.p]
		d.p++
		if m == 0 { // stuffing
			continue
		}
		for m == 0xff { // fill bytes
			if d.p >= len(d.data) {
				return 0, errCut
			}
			m = d.data[d.p]
			d.p++
		}
		return m, nil
	}
}

// segment takes one segment. done says that nothing after it matters.
func (d *decoder) segment(marker byte, b []byte) (done bool, err error) {
	switch marker {
	case mSOF0, mSOF1, mSOF2:
		return false, d.frame(marker, b)
	case mDHT:
		return false, d.huffmanTables(b)
	case mDQT:
		return false, d.quantTables(b)
	case mSOS:
		return d.scan(b)
	case mDRI:
		if len(b) != 2 {
			return false, damaged("a restart interval of %d bytes", len(b))
		}
		d.restart = int(binary.BigEndian.Uint16(b))
	case mAPP0:
		if len(b) >= 5 {
			d.jfif = bytes.HasPrefix(b, []byte("JFIF\x00"))
		}
	case mAPPE:
		if len(b) >= 12 && bytes.HasPrefix(b, []byte("Adobe")) {
			d.adobe, d.adobeTransform = true, b[11]
		}
	case 0xc3, 0xc7, 0xcb, 0xcf:
		return false, unsupported("lossless coding")
	case 0xc5, 0xc6, 0xcd, 0xce, 0xde, 0xdf:
		return false, unsupported("hierarchical coding")
	case 0xc9, 0xca, mDAC:
		return false, unsupported("arithmetic coding")
	default:
		switch {
		case mAPP0 <= marker && marker <= mAPPF || marker == mCOM:
		case marker < mSOF0:
			return false, damaged("unknown marker %#x", marker)
		default:
			return false, unsupported("marker %#x", marker)
		}
	}
	return false, nil
}

// frame reads a frame header (T.81 section B.2.2), with the limits that image/jpeg has.
func (d *decoder) frame(marker byte, b []byte) error {
	if d.components != nil {
		return damaged("more than one frame header")
	}
	d.baseline, d.progressive = marker == mSOF0, marker == mSOF2
	if len(b) < 6 {
		return damaged("a frame header of %d bytes", len(b))
	}
	n := int(b[5])
	switch {
	case n != 1 && n != 3 && n != 4:
		return unsupported("%d components", n)
	case len(b) != 6+3*n:
		return damaged("a frame header of %d bytes for %d components", len(b), n)
	case b[0] != 8:
		return unsupported("%d bits a sample", b[0])
	}
	d.height, d.width = int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:]))
	if d.width == 0 || d.height == 0 {
		return damaged("%dx%d pixels", d.width, d.height)
	}
	for i := range n {
		s := b[6+3*i:][:3]
		c := &d.comp[i]
		*c = component{id: s[0], h: int(s[1] >> 4), v: int(s[1] & 15), tq: s[2]}
		for j := range i {
			if d.comp[j].id == c.id {
				return damaged("two components called %d", c.id)
			}
		}
		if c.tq > 3 {
			return damaged("quantization table %d", c.tq)
		}
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 {
			return damaged("%dx%d samples", c.h, c.v)
		}
		if n == 1 { // T.81 section A.2.2: then the factors do not matter
			c.h, c.v = 1, 1
		}
	}
	// As image/jpeg: luma has the most samples, and all that are fewer go into it.
	c := d.comp[:n]
	ok := true
	for i := range c {
		ok = ok && c[i].h != 3 && c[i].v != 3
	}
	switch n {
	case 3:
		ok = ok && c[0].v != 4 && c[0].h%c[1].h == 0 && c[0].v%c[1].v == 0 &&
			c[1].h == c[2].h && c[1].v == c[2].v
	case 4:
		ok = ok && (c[0].h == 1 && c[0].v == 1 || c[0].h == 2 && c[0].v == 2) &&
			c[1].h == 1 && c[1].v == 1 && c[2].h == 1 && c[2].v == 1 && c[3].h == c[0].h && c[3].v == c[0].v
	}
	if !ok {
		return unsupported("sampling factors")
	}
	d.components = c
	return nil
}

// quantTables reads quantization tables (section B.2.4.1), which are in zig-zag order.
func (d *decoder) quantTables(b []byte) error {
	for len(b) > 0 {
		precision, t := b[0]>>4, b[0]&15
		b = b[1:]
		n := 64 << precision
		switch {
		case t > 3:
			return damaged("quantization table %d", t)
		case precision > 1:
			return damaged("quantization table of precision %d", precision)
		case len(b) < n:
			return damaged("a quantization table of %d bytes", len(b))
		}
		for i := range 64 {
			if precision == 0 {
				d.quant[t][i] = uint16(b[i])
			} else {
				d.quant[t][i] = binary.BigEndian.Uint16(b[2*i:])
			}
		}
		b = b[n:]
	}
	return nil
}

// A scanHeader is what SOS says (section B.2.3).
type scanHeader struct {
	components []scanComponent
	start, end int // of the band, in zig-zag order
	high, low  int // bits of the successive approximation
}

type scanComponent struct {
	*component
	dc, ac *huffman
	diff   int32 // the last DC value
}

// scan reads a scan header and the scan.
func (d *decoder) scan(b []byte) (done bool, err error) {
	if d.components == nil {
		return false, damaged("a scan before the frame header")
	}
	if len(b) < 6 || len(b) != 4+2*int(b[0]) || int(b[0]) > len(d.components) {
		return false, damaged("a scan header of %d bytes", len(b))
	}
	n := int(b[0])
	s := scanHeader{components: make([]scanComponent, n), end: 63}
	size := 0
	for i := range s.components {
		id, t := b[1+2*i], b[2+2*i]
		c := &s.components[i]
		for j := range d.components {
			if d.components[j].id == id {
				c.component = &d.components[j]
			}
		}
		if c.component == nil {
			return false, damaged("a scan of an unknown component %d", id)
		}
		for j := range i {
			if s.components[j].component == c.component {
				return false, damaged("a scan of component %d twice", id)
			}
		}
		if dc, ac := t>>4, t&15; dc > 3 || ac > 3 || d.baseline && (dc > 1 || ac > 1) {
			return false, damaged("Huffman tables %d and %d", dc, ac)
		}
		c.dc, c.ac = &d.huff[0][t>>4], &d.huff[1][t&15]
		size += c.h * c.v
	}
	if len(d.components) > 1 && size > 10 {
		return false, damaged("an MCU of %d blocks", size)
	}
	if d.progressive {
		s.start, s.end = int(b[1+2*n]), int(b[2+2*n])
		s.high, s.low = int(b[3+2*n]>>4), int(b[3+2*n]&15)
		switch {
		case s.start == 0 && s.end != 0 || s.start > s.end || s.end > 63:
			return false, damaged("a scan of coefficients %d to %d", s.start, s.end)
		case s.start > 0 && n > 1:
			return false, damaged("a scan of coefficients %d to %d of %d components", s.start, s.end, n)
		case s.high > 0 && s.high != s.low+1:
			return false, damaged("a scan of bits %d to %d", s.high, s.low)
		}
	}
	d.scans++
	if d.options.MaxScans > 0 && d.scans > d.options.MaxScans {
		return false, ErrTooManyScans
	}
	if d.scans == 1 {
		if err := d.layOut(); err != nil {
			return false, err
		}
		// Each block takes a bit at least of a scan that has DC in it. So a header that claims much
		// and brings little takes no memory.
		units := d.mcuX * d.mcuY * size
		if n == 1 {
			units = s.components[0].inside * s.components[0].inDown
		}
		if s.start == 0 && units/8 > len(d.data)-d.p {
			return false, errShort
		}
		if err := d.allocate(); err != nil {
			return false, err
		}
	}
	if d.progressive {
		return false, d.progressiveScan(&s)
	}
	return d.sequentialScan(&s)
}

// cancelled is asked once for each row of blocks.
func (d *decoder) cancelled() error {
	if d.ctx.Err() != nil {
		return context.Cause(d.ctx)
	}
	return nil
}
