package vp8dec

import "encoding/binary"

// A header is what a frame's begins with (RFC 6386, 9).
type header struct {
	width, height int

	segmented  bool
	updateMap  bool
	segmentPer [3]uint8 // probabilities in the tree of segments
	relative   bool     // what follows is added to the frame's
	quantizer  [4]int
	level      [4]int

	simple      bool
	frameLevel  int
	sharpness   int
	deltas      bool
	intraDelta  int // of all of a key frame
	splitDelta  int // of macroblocks with a mode for each subblock
	skips       bool
	skipProb    uint8
	partitions  int
	filterLevel [4][2]int // by segment, and whether there is a mode for each subblock
}

// size reads the part of the header that is not compressed, and gives what comes after it.
func (h *header) size(data []byte) (first, rest []byte, err error) {
	const tag, keyHeader = 3, 10
	if len(data) < tag {
		return nil, nil, errCut
	}
	if data[0]&1 != 0 {
		return nil, nil, unsupported("a frame that needs those before it")
	}
	if len(data) < keyHeader {
		return nil, nil, errCut
	}
	if string(data[3:6]) != "\x9d\x01\x2a" {
		return nil, nil, damaged("no start code")
	}
	h.width, h.height = int(binary.LittleEndian.Uint16(data[6:])&0x3fff), int(binary.LittleEndian.Uint16(data[8:])&0x3fff)
	if h.width == 0 || h.height == 0 {
		return nil, nil, damaged("%dx%d pixels", h.width, h.height)
	}
	n := int(data[0])>>5 | int(data[1])<<3 | int(data[2])<<11
	data = data[keyHeader:]
	if n > len(data) {
		return nil, nil, errCut
	}
	return data[:n], data[n:], nil
}

// read reads the rest. What is not for key frames, and the bits for the kind of colours and of clamping, which no decoder does
// anything by, are passed over.
func (d *decoder) read(first, rest []byte) error {
	h, r := &d.header, &d.first
	*r = newReader(first)
	r.literal(2) // colour space, clamping
	h.segmented, h.updateMap, h.relative = r.flag(), false, false
	h.quantizer, h.level, h.segmentPer = [4]int{}, [4]int{}, [3]uint8{255, 255, 255}
	if h.segmented {
		h.updateMap = r.flag()
		if r.flag() {
			h.relative = !r.flag()
			for i := range h.quantizer {
				h.quantizer[i] = r.optional(7)
			}
			for i := range h.level {
				h.level[i] = r.optional(6)
			}
		}
		if h.updateMap {
			for i := range h.segmentPer {
				if r.flag() {
					h.segmentPer[i] = uint8(r.literal(8))
				}
			}
		}
	}
	h.simple, h.frameLevel, h.sharpness, h.deltas = r.flag(), r.literal(6), r.literal(3), r.flag()
	h.intraDelta, h.splitDelta = 0, 0
	if h.deltas && r.flag() {
		for i := range 8 {
			switch v := r.optional(6); i {
			case 0:
				h.intraDelta = v
			case 4:
				h.splitDelta = v
			}
		}
	}
	h.partitions = 1 << r.literal(2)
	if err := d.split(rest); err != nil {
		return err
	}
	d.quantizers()
	r.flag() // whether the probabilities that follow are for this frame alone
	d.probabilities()
	h.skips = r.flag()
	h.skipProb = 0
	if h.skips {
		h.skipProb = uint8(r.literal(8))
	}
	if r.cut {
		return errCut
	}
	d.strengths()
	return nil
}

// split finds the partitions (9.5): the sizes of all but the last come before them.
func (d *decoder) split(rest []byte) error {
	n := d.header.partitions
	if len(rest) < 3*(n-1) {
		return errCut
	}
	sizes, data := rest[:3*(n-1)], rest[3*(n-1):]
	for i := range n - 1 {
		size := int(sizes[3*i]) | int(sizes[3*i+1])<<8 | int(sizes[3*i+2])<<16
		if size > len(data) {
			return errCut
		}
		d.parts[i] = newReader(data[:size])
		data = data[size:]
	}
	d.parts[n-1] = newReader(data)
	return nil
}

// factors are what the coefficients of a segment are multiplied by: the first, and the others.
type factors struct{ y1, y2, uv [2]int32 }

func (d *decoder) quantizers() {
	h, r := &d.header, &d.first
	index := r.literal(7)
	y1dc, y2dc, y2ac, uvdc, uvac := r.optional(4), r.optional(4), r.optional(4), r.optional(4), r.optional(4)
	for i := range d.factors {
		q := index
		if h.segmented {
			q = h.quantizer[i]
			if h.relative {
				q += index
			}
		}
		dc := func(delta, most int) int32 { return int32(dcFactors[min(max(q+delta, 0), most)]) }
		ac := func(delta int) int32 { return int32(acFactors[min(max(q+delta, 0), 127)]) }
		d.factors[i] = factors{
			y1: [2]int32{dc(y1dc, 127), ac(0)},
			y2: [2]int32{2 * dc(y2dc, 127), max(ac(y2ac)*155/100, 8)},
			uv: [2]int32{dc(uvdc, 117), ac(uvac)}, // 132 at most
		}
	}
}

// bands are the bands of the coefficients (13.3), and of one after the last, which is never asked for.
var bands = [17]uint8{0, 1, 2, 3, 6, 4, 5, 6, 6, 6, 6, 6, 6, 6, 6, 7, 0}

// probabilities reads those that change, and lays all out by coefficient.
func (d *decoder) probabilities() {
	for i := range tokenUpdateProbs {
		var p [8][3][11]uint8
		for j := range p {
			for k := range p[j] {
				for l := range p[j][k] {
					p[j][k][l] = defaultTokenProbs[i][j][k][l]
					if d.first.bit(tokenUpdateProbs[i][j][k][l]) {
						p[j][k][l] = uint8(d.first.literal(8))
					}
				}
			}
		}
		for n, band := range bands {
			for k := range 3 {
				copy(d.probs[i][n][k][:], p[band][k][:])
			}
		}
	}
}

// strengths works out how much the loop filter does (9.6, 15.1), for each segment and kind of macroblock.
func (d *decoder) strengths() {
	h := &d.header
	for i := range h.filterLevel {
		level := h.frameLevel
		if h.segmented {
			level = h.level[i]
			if h.relative {
				level += h.frameLevel
			}
			level = min(max(level, 0), 63)
		}
		for split := range 2 {
			l := level
			if h.deltas {
				l += h.intraDelta + split*h.splitDelta
			}
			l = min(max(l, 0), 63)
			h.filterLevel[i][split] = l
			interior := l
			if h.sharpness > 0 {
				interior >>= 1
				if h.sharpness > 4 {
					interior >>= 1
				}
				interior = min(interior, 9-h.sharpness)
			}
			interior = max(interior, 1)
			hev := 0
			if l >= 15 {
				hev = 1
			}
			if l >= 40 {
				hev = 2
			}
			s := &d.strength[i][split]
			for k := range s.outer {
				s.inner[k], s.outer[k] = uint8(2*l+interior), uint8(2*(l+2)+interior)
				s.interior[k], s.hev[k] = uint8(interior), uint8(hev)
			}
		}
	}
}
