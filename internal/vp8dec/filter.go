package vp8dec

// The edges of a macroblock that are filtered.
const (
	edgeLeft  = 1 << iota
	edgeInner // both ways, four pixels from each other
	edgeTop
)

// A strength is the thresholds of the loop filter for a macroblock (RFC 6386, 15), each as many times as a kernel compares at
// once: of its outer and inner edges, of differences between neighbours, and of those that count as high variance.
type strength struct{ outer, inner, interior, hev [32]uint8 }

// filterNormalGo filters luma at y and the chroma planes at u and v of band (15.3).
func filterNormalGo(band []byte, y, u, v, pitch int, s *strength, edges int) {
	if edges&edgeLeft != 0 {
		outerEdge(band, y, pitch, 1, 16, s)
		outerEdge(band, u, pitch, 1, 8, s)
		outerEdge(band, v, pitch, 1, 8, s)
	}
	if edges&edgeInner != 0 {
		for i := 4; i < 16; i += 4 {
			innerEdge(band, y+i, pitch, 1, 16, s)
		}
		innerEdge(band, u+4, pitch, 1, 8, s)
		innerEdge(band, v+4, pitch, 1, 8, s)
	}
	if edges&edgeTop != 0 {
		outerEdge(band, y, 1, pitch, 16, s)
		outerEdge(band, u, 1, pitch, 8, s)
		outerEdge(band, v, 1, pitch, 8, s)
	}
	if edges&edgeInner != 0 {
		for i := 4; i < 16; i += 4 {
			innerEdge(band, y+i*pitch, 1, pitch, 16, s)
		}
		innerEdge(band, u+4*pitch, 1, pitch, 8, s)
		innerEdge(band, v+4*pitch, 1, pitch, 8, s)
	}
}

// filterSimpleGo filters luma alone (15.2).
func filterSimpleGo(band []byte, y, pitch int, s *strength, edges int) {
	if edges&edgeLeft != 0 {
		simpleEdge(band, y, pitch, 1, int32(s.outer[0]))
	}
	if edges&edgeInner != 0 {
		for i := 4; i < 16; i += 4 {
			simpleEdge(band, y+i, pitch, 1, int32(s.inner[0]))
		}
	}
	if edges&edgeTop != 0 {
		simpleEdge(band, y, 1, pitch, int32(s.outer[0]))
	}
	if edges&edgeInner != 0 {
		for i := 4; i < 16; i += 4 {
			simpleEdge(band, y+i*pitch, 1, pitch, int32(s.inner[0]))
		}
	}
}

func abs(v int32) int32 { return max(v, -v) }

// clampSigned gives v as a signed byte has it.
func clampSigned(v int32) int32 { return min(max(v, -128), 127) }

// two changes the pixels p0 and q0 beside an edge by a, and gives what q0 became smaller by.
func two(band []byte, at, across int, p0, q0, a int32) int32 {
	f := min((a+4)>>3, 15)
	band[at-across] = clip(p0 + min((a+3)>>3, 15))
	band[at] = clip(q0 - f)
	return f
}

// The edges begin at at. Pixels beside each other along one are along apart, those beside each other across it across.

func simpleEdge(band []byte, at, along, across int, limit int32) {
	for range 16 {
		p1, p0 := int32(band[at-2*across]), int32(band[at-across])
		q0, q1 := int32(band[at]), int32(band[at+across])
		if 2*abs(p0-q0)+abs(p1-q1)>>1 <= limit {
			two(band, at, across, p0, q0, clampSigned(clampSigned(p1-q1)+3*(q0-p0)))
		}
		at += along
	}
}

func outerEdge(band []byte, at, along, across, n int, s *strength) {
	limit, interior, hev := int32(s.outer[0]), int32(s.interior[0]), int32(s.hev[0])
	for range n {
		p3, p2, p1, p0 := int32(band[at-4*across]), int32(band[at-3*across]), int32(band[at-2*across]), int32(band[at-across])
		q0, q1, q2, q3 := int32(band[at]), int32(band[at+across]), int32(band[at+2*across]), int32(band[at+3*across])
		switch {
		case 2*abs(p0-q0)+abs(p1-q1)>>1 > limit || abs(p3-p2) > interior || abs(p2-p1) > interior || abs(p1-p0) > interior ||
			abs(q1-q0) > interior || abs(q2-q1) > interior || abs(q3-q2) > interior:
		case abs(p1-p0) > hev || abs(q1-q0) > hev:
			two(band, at, across, p0, q0, clampSigned(clampSigned(p1-q1)+3*(q0-p0)))
		default:
			a := clampSigned(clampSigned(p1-q1) + 3*(q0-p0))
			a1, a2, a3 := (27*a+63)>>7, (18*a+63)>>7, (9*a+63)>>7
			band[at-3*across] = clip(p2 + a3)
			band[at-2*across] = clip(p1 + a2)
			band[at-across] = clip(p0 + a1)
			band[at] = clip(q0 - a1)
			band[at+across] = clip(q1 - a2)
			band[at+2*across] = clip(q2 - a3)
		}
		at += along
	}
}

func innerEdge(band []byte, at, along, across, n int, s *strength) {
	limit, interior, hev := int32(s.inner[0]), int32(s.interior[0]), int32(s.hev[0])
	for range n {
		p3, p2, p1, p0 := int32(band[at-4*across]), int32(band[at-3*across]), int32(band[at-2*across]), int32(band[at-across])
		q0, q1, q2, q3 := int32(band[at]), int32(band[at+across]), int32(band[at+2*across]), int32(band[at+3*across])
		switch {
		case 2*abs(p0-q0)+abs(p1-q1)>>1 > limit || abs(p3-p2) > interior || abs(p2-p1) > interior || abs(p1-p0) > interior ||
			abs(q1-q0) > interior || abs(q2-q1) > interior || abs(q3-q2) > interior:
		case abs(p1-p0) > hev || abs(q1-q0) > hev:
			two(band, at, across, p0, q0, clampSigned(clampSigned(p1-q1)+3*(q0-p0)))
		default:
			a := (two(band, at, across, p0, q0, clampSigned(3*(q0-p0))) + 1) >> 1
			band[at-2*across] = clip(p1 + a)
			band[at+across] = clip(q1 - a)
		}
		at += along
	}
}
