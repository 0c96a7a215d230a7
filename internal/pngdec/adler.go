package pngdec

// An adler is an Adler-32 checksum (RFC 1950, 8.2) of bytes that come piece by piece.
type adler struct{ a, b uint32 }

const (
	modulus = 65521

	// mostAdded is after how many bytes b must be reduced before it overflows 32 bits.
	mostAdded = 5552
)

func newAdler() adler { return adler{a: 1} }

func (s *adler) value() uint32 { return s.b<<16 | s.a }

func (s *adler) add(p []byte) {
	for len(p) > 0 {
		n := min(len(p), mostAdded)
		addAdler(s, p[:n])
		s.a %= modulus
		s.b %= modulus
		p = p[n:]
	}
}

// addAdlerGo adds at most mostAdded bytes, without reducing the sums.
func addAdlerGo(s *adler, p []byte) {
	a, b := s.a, s.b
	for ; len(p) >= 4; p = p[4:] {
		p0, p1, p2, p3 := uint32(p[0]), uint32(p[1]), uint32(p[2]), uint32(p[3])
		b += 4*a + 4*p0 + 3*p1 + 2*p2 + p3
		a += p0 + p1 + p2 + p3
	}
	for _, v := range p {
		a += uint32(v)
		b += a
	}
	s.a, s.b = a, b
}
