package vp8dec

// The modes of prediction (RFC 6386, 8.1): whole macroblocks have the first four, subblocks all.
const (
	modeDC = iota
	modeTM
	modeV
	modeH
	modeRD
	modeVR
	modeLD
	modeVL
	modeHD
	modeHU
	modes
)

// A macroblock is what the first partition says of one.
type macroblock struct {
	luma, chroma uint8
	split        bool // into subblocks, with a mode for each
	skip         bool // there are no coefficients
	segment      uint8
	sub          [16]uint8
}

// readModes reads a row (11.2, 11.4).
func (d *decoder) readModes() {
	h, r := &d.header, &d.first
	var left [4]uint8
	for i := range d.row {
		m := &d.row[i]
		m.segment, m.skip = 0, false
		if h.updateMap {
			if !r.bit(h.segmentPer[0]) {
				if r.bit(h.segmentPer[1]) {
					m.segment = 1
				}
			} else {
				m.segment = 2
				if r.bit(h.segmentPer[2]) {
					m.segment = 3
				}
			}
		}
		if h.skips {
			m.skip = r.bit(h.skipProb)
		}
		above := (*[4]uint8)(d.modesAbove[4*i:])
		m.split = !r.bit(145)
		if m.split {
			d.readSubblockModes(&m.sub, above, &left)
		} else {
			switch {
			case !r.bit(156):
				m.luma = modeDC
				if r.bit(163) {
					m.luma = modeV
				}
			case !r.bit(128):
				m.luma = modeH
			default:
				m.luma = modeTM
			}
			l := m.luma
			*above, left = [4]uint8{l, l, l, l}, [4]uint8{l, l, l, l}
		}
		switch {
		case !r.bit(142):
			m.chroma = modeDC
		case !r.bit(114):
			m.chroma = modeV
		case !r.bit(183):
			m.chroma = modeH
		default:
			m.chroma = modeTM
		}
	}
}

// subblockModes is the tree of a subblock's mode: for a node and a bit, the next node, or less than zero the mode of which
// that is the complement.
var subblockModes = [9][2]int8{
	{^modeDC, 1},
	{^modeTM, 2},
	{^modeV, 3},
	{4, 6},
	{^modeH, 5},
	{^modeRD, ^modeVR},
	{^modeLD, 7},
	{^modeVL, 8},
	{^modeHD, ^modeHU},
}

func (d *decoder) readSubblockModes(sub *[16]uint8, above, left *[4]uint8) {
	r := &d.first
	value, rng, n := r.value, r.rng, r.n
	for y := range 4 {
		mode := left[y]
		for x := range 4 {
			probs := &subblockModeProbs[above[x]][mode]
			for node := int8(0); ; {
				if n < 0 {
					r.value, r.n = value, n
					r.fill()
					value, n = r.value, r.n
				}
				var bit bool
				value, rng, n, bit = step(value, rng, n, probs[node])
				next := subblockModes[node][0]
				if bit {
					next = subblockModes[node][1]
				}
				if next < 0 {
					mode = uint8(^next)
					break
				}
				node = next
			}
			above[x], sub[4*y+x] = mode, mode
		}
		left[y] = mode
	}
	r.value, r.rng, r.n = value, rng, n
}
