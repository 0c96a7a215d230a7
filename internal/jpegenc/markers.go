package jpegenc

// Markers of T.81 table B.1.
const (
	mSOF0 = 0xc0
	mSOF2 = 0xc2
	mDHT  = 0xc4
	mSOI  = 0xd8
	mEOI  = 0xd9
	mSOS  = 0xda
	mDQT  = 0xdb
	mAPP0 = 0xe0
)

// segment begins a segment of n bytes after its length.
func segment(dst []byte, marker byte, n int) []byte {
	return append(dst, 0xff, marker, byte((n+2)>>8), byte(n+2))
}

// start writes what comes before the first table of codes.
func (e *encoder) start(dst []byte, frame byte) []byte {
	dst = append(dst, 0xff, mSOI)
	dst = segment(dst, mAPP0, 14)
	dst = append(dst, "JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"...) // 1.01, square pixels, no thumbnail
	for i := range min(len(e.comps), 2) {
		dst = segment(dst, mDQT, 65)
		dst = append(dst, byte(i))
		dst = append(dst, e.steps[i][:]...)
	}
	dst = segment(dst, frame, 6+3*len(e.comps))
	dst = append(dst, 8, byte(e.h>>8), byte(e.h), byte(e.w>>8), byte(e.w), byte(len(e.comps)))
	for i := range e.comps {
		c := &e.comps[i]
		across, down := c.across, c.down
		if len(e.comps) == 1 {
			across, down = 1, 1
		}
		dst = append(dst, byte(i+1), byte(across<<4|down), byte(c.table))
	}
	return dst
}

// segment writes the code of a table.
func (h *huffman) segment(dst []byte, table int) []byte {
	dst = segment(dst, mDHT, 17+len(h.symbols))
	dst = append(dst, byte(table&1<<4|table>>1)) // class, and which of its class
	dst = append(dst, h.lengths[1:]...)
	return append(dst, h.symbols...)
}

// A scan is a pass over the picture: the coefficients from first to last in the order of the file, with
// the bits down to low. Before it, those down to high were given, if that is not 0.
type scan struct {
	comps       []component
	first, last int
	high, low   int
}

// segment writes the scan's header.
func (s scan) segment(dst []byte, e *encoder) []byte {
	dst = segment(dst, mSOS, 4+2*len(s.comps))
	dst = append(dst, byte(len(s.comps)))
	for i := range s.comps {
		c := &s.comps[i]
		id := 1
		for &e.comps[id-1] != c {
			id++
		}
		dc, ac := c.table, c.table // zero where there is none, as libjpeg has it
		if s.first > 0 || s.high > 0 {
			dc = 0
		}
		if s.last == 0 {
			ac = 0
		}
		dst = append(dst, byte(id), byte(dc<<4|ac))
	}
	return append(dst, byte(s.first), byte(s.last), byte(s.high<<4|s.low))
}
