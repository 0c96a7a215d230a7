package purge

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// An idSource makes UUIDs of version 7 (RFC 9562), each greater than the one
// before, also when the clock stands still or goes back: the log is sorted by
// them. It is not for concurrent use.
type idSource struct {
	last uint64 // milliseconds<<12 | counter
}

func (g *idSource) next(now time.Time) string {
	var b [16]byte
	rand.Read(b[6:])
	// The counter starts anywhere in the lower half of its 12 bits, and where
	// it runs over it carries into the milliseconds.
	t := uint64(now.UnixMilli())<<12 | uint64(binary.BigEndian.Uint16(b[6:])&0x7ff)
	t = max(t, g.last+1)
	g.last = t

	binary.BigEndian.PutUint64(b[:8], t>>12<<16|0x7000|t&0xfff)
	b[8] = b[8]&0x3f | 0x80

	s := make([]byte, 0, 36)
	for i, part := range [][]byte{b[:4], b[4:6], b[6:8], b[8:10], b[10:]} {
		if i > 0 {
			s = append(s, '-')
		}
		s = hex.AppendEncode(s, part)
	}
	return string(s)
}

// saw makes the next ID greater than id, which has the form of one.
func (g *idSource) saw(id string) {
	b, err := hex.DecodeString(id[:8] + id[9:13] + id[14:18])
	if err == nil {
		t := binary.BigEndian.Uint64(b)
		g.last = max(g.last, t>>16<<12|t&0xfff)
	}
}

// maxAhead is how far ahead of the clock IDs of other nodes may be: so far clocks are apart that nobody sets. Beyond it somebody's clock was
// wrong by more, and to follow that would give all nodes IDs of that time until it comes.
const maxAhead = time.Hour

// sawOther is saw for an ID that another node may have made, and reports whether it is not too far ahead of the clock.
func (g *idSource) sawOther(id string, now time.Time) bool {
	b, err := hex.DecodeString(id[:8] + id[9:13])
	if err != nil || binary.BigEndian.Uint64(append([]byte{0, 0}, b...)) > uint64(now.Add(maxAhead).UnixMilli()) {
		return false
	}
	g.saw(id)
	return true
}

// nextID returns what is greater than id and no more than any greater ID. id has the form of one.
func nextID(id string) string {
	b := []byte(id)
	for i := len(b) - 1; i >= 0; i-- {
		switch b[i] {
		case '-':
			continue
		case 'f':
			b[i] = '0'
			continue
		case '9':
			b[i] = 'a'
		default:
			b[i]++
		}
		return string(b)
	}
	return "" // there is none greater: Entries begins with id
}

// isID reports whether s has the form of an ID.
func isID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
				return false
			}
		}
	}
	return true
}
