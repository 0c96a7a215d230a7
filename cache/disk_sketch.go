package cache

import (
	"hash/maphash"
	"math/bits"
	"sync"
)

// A sketch counts, about, how often things were asked for lately, in a fixed size and without knowing them: four rows
// of counters of four bits, of which the least counts (a count-min sketch with conservative update), halved
// whenever so much was counted that what is old should weigh less. It is the one of TinyLFU (Einziger, Friedman and
// Manes, https://arxiv.org/abs/1512.00727).
type sketch struct {
	seed maphash.Seed

	mu    sync.Mutex // guards what follows
	rows  [sketchRows][]byte
	mask  uint64
	added int
	every int // halve after so many
}

const (
	sketchRows = 4
	sketchMax  = 15 // in four bits
)

// newSketch returns a sketch for about so many things, at two bytes for each: 2 MiB for 1,000,000.
func newSketch(things int64) *sketch {
	if things <= 0 || things > 1<<22 {
		things = 1 << 22
	}
	width := uint64(1) << max(10, bits.Len64(uint64(things)-1))
	s := &sketch{seed: maphash.MakeSeed(), mask: width - 1, every: int(width) * 10}
	for i := range s.rows {
		s.rows[i] = make([]byte, width/2)
	}
	return s
}

func (s *sketch) add(what string) {
	h := maphash.String(s.seed, what)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.least(h)
	if n < sketchMax {
		for i := range s.rows {
			at := s.at(h, i)
			shift := at & 1 * 4
			if c := &s.rows[i][at/2]; *c>>shift&15 == n {
				*c += 1 << shift
			}
		}
	}
	if s.added++; s.added >= s.every {
		s.added /= 2
		for _, row := range s.rows {
			for i, c := range row {
				row[i] = c >> 1 & 0x77
			}
		}
	}
}

// count returns how often what was added lately, 15 standing for more.
func (s *sketch) count(what string) uint8 {
	h := maphash.String(s.seed, what)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.least(h)
}

func (s *sketch) least(h uint64) uint8 {
	n := uint8(sketchMax)
	for i := range s.rows {
		at := s.at(h, i)
		n = min(n, s.rows[i][at/2]>>(at&1*4)&15)
	}
	return n
}

// at is where in a row the counter of a hash is.
func (s *sketch) at(h uint64, row int) uint64 {
	return (h + uint64(row)*bits.RotateLeft64(h, 32)) & s.mask
}

// last sets how many additions count as lately.
func (s *sketch) last(n int) {
	s.mu.Lock()
	s.every = min(max(n, 1000), int(s.mask+1)*10)
	s.mu.Unlock()
}
