package pngdec

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// An inflater undoes DEFLATE (RFC 1951) of data that is all in memory. It is resumable by output, never by input.
//
// As many bits as a 64-bit word holds are loaded at once, and a table of 11 bits tells what they begin with: one
// literal or two, or a length with its extra bits, in one look. Codes that are longer go on in a second table.
type inflater struct {
	in    []byte // the data and inPadding bytes that do not matter
	n     int    // the length of the data
	at    int    // the next byte to load
	bits  uint64 // loaded and not used, the first in the lowest place
	nbits uint   // how many of them count; above are bits that will be loaded again

	kind   blockKind
	final  bool
	stored int // bytes of a stored block to come

	litLen [litLenSize]uint32
	dist   [distSize]uint32
	fixed  bool // whether litLen and dist are those of fixed blocks

	lengths [maxLitLen + maxDist]uint8
	codeLen [1 << codeLenBits]uint32
}

type blockKind uint8

const (
	noBlock blockKind = iota
	storedBlock
	codedBlock
	noMore
)

const (
	window    = 32 << 10
	maxMatch  = 258
	maxLitLen = 286
	maxDist   = 30

	litLenBits  = 11
	distBits    = 9
	codeLenBits = 7

	// What begins like one entry of a first table and goes on is two codes at least, as a code is complete; all second
	// tables are made for the longest code there may be, of 15 bits.
	litLenSize = 1<<litLenBits + maxLitLen/2<<(15-litLenBits)
	distSize   = 1<<distBits + maxDist/2<<(15-distBits)

	// inPadding is how much may be loaded past the end: three loads of seven bytes after the check, of eight bytes each.
	inPadding = 48

	// outSlack is how much room there must be after what is asked for: a match is not split, and is copied in words.
	outSlack = maxMatch + 16
)

// An entry of a table says in its lowest five bits how many bits it takes, and above that what they are:
//
//	literal  bit 31, bit 30 if there are two of them; bits 8 to 15 and 16 to 23
//	length   bits 16 to 24: the least length; bits 8 to 12: its extra bits, which the lowest five bits include
//	distance bits 16 to 30: the least distance; extra bits as of lengths
//	end      bit 29
//	second   bit 28, or of distances bit 31; bits 16 to 27: where the second table begins, after the first; bits 8 to 11:
//	         how many bits it is indexed by
//	nothing  zero: no code begins so
const (
	isLiteral    = 1 << 31
	isTwo        = 1 << 30
	isEnd        = 1 << 29
	isSecond     = 1 << 28
	isSecondDist = 1 << 31
	takes        = 31
)

var errInflate = fmt.Errorf("%w: bad compressed data", ErrDamaged)

// reset makes z ready for in, of which n bytes are data.
func (z *inflater) reset(in []byte, n int) {
	z.in, z.n, z.at, z.bits, z.nbits = in, n, 0, 0, 0
	z.kind, z.final = noBlock, false
}

// take gives the next n bits, at most 32.
func (z *inflater) take(n uint) uint32 {
	z.load()
	v := uint32(z.bits & (1<<n - 1))
	z.bits >>= n
	z.nbits -= n
	return v
}

// load makes at least 56 bits count. Past the end they are whatever is there; overrun tells.
func (z *inflater) load() {
	if z.at <= z.n+8 {
		z.bits |= binary.LittleEndian.Uint64(z.in[z.at:]) << (z.nbits & 63)
	}
	z.at += int(63-z.nbits) >> 3
	z.nbits |= 56
}

// overrun reports whether more bits were used than there are.
func (z *inflater) overrun() bool { return z.at-int(z.nbits>>3) > z.n }

// rest gives the whole bytes after the last bit that was used.
func (z *inflater) rest() []byte { return z.in[min(z.at-int(z.nbits>>3), z.n):z.n] }

// inflate writes to out from op until it holds limit bytes or more, at most maxMatch more, or the data ends. Matches reach back in
// out as far as it is filled, so the window before op must be there. It gives where it ended.
func (z *inflater) inflate(out []byte, op, limit int) (int, error) {
	_ = out[limit+outSlack-1]
	for op < limit {
		var err error
		switch z.kind {
		case noMore:
			return op, nil
		case noBlock:
			err = z.block()
		case storedBlock:
			op, err = z.copyStored(out, op, limit)
		case codedBlock:
			op, err = z.decode(out, op, limit)
		}
		if err == nil && z.overrun() {
			err = errCut
		}
		if err != nil {
			return op, err
		}
	}
	return op, nil
}

// ended reports whether nothing more is to come, for which it reads empty blocks. It is for when all is there that was asked for.
func (z *inflater) ended(out []byte) (bool, error) {
	n, err := z.inflate(out, 0, 1)
	return n == 0, err
}

// block reads the header of a block.
func (z *inflater) block() error {
	if z.final {
		z.kind = noMore
		return nil
	}
	z.final = z.take(1) == 1
	switch z.take(2) {
	case 0:
		drop := z.nbits & 7 // whole bytes follow; those above are loaded again
		z.bits >>= drop
		z.nbits -= drop
		size, inverse := z.take(16), z.take(16)
		if size != inverse^0xffff {
			return errInflate
		}
		z.stored, z.kind = int(size), storedBlock
		z.at -= int(z.nbits >> 3)
		z.bits, z.nbits = 0, 0
		return nil
	case 1:
		z.kind = codedBlock
		return z.fixedCodes()
	case 2:
		z.kind = codedBlock
		return z.dynamicCodes()
	}
	return errInflate
}

func (z *inflater) copyStored(out []byte, op, limit int) (int, error) {
	n := min(z.stored, limit-op)
	if n > z.n-z.at {
		return op, errCut
	}
	copy(out[op:], z.in[z.at:][:n])
	z.at += n
	z.stored -= n
	if z.stored == 0 {
		z.kind = noBlock
	}
	return op + n, nil
}

func (z *inflater) fixedCodes() error {
	if z.fixed {
		return nil
	}
	var lengths [288]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	if !build(z.litLen[:], litLenBits, lengths[:], isSecond, litLenEntry) {
		return errInflate
	}
	pair(&z.litLen)
	var five [32]uint8
	for i := range five {
		five[i] = 5
	}
	if !build(z.dist[:], distBits, five[:], isSecondDist, distEntry) {
		return errInflate
	}
	z.fixed = true
	return nil
}

// codeOrder is the order in which the lengths of the code of code lengths come (RFC 1951, 3.2.7).
var codeOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

func (z *inflater) dynamicCodes() error {
	z.fixed = false
	nLit, nDist, nCode := int(z.take(5))+257, int(z.take(5))+1, int(z.take(4))+4
	if nLit > maxLitLen || nDist > maxDist {
		return errInflate
	}
	var small [19]uint8
	for i := range nCode {
		small[codeOrder[i]] = uint8(z.take(3))
	}
	if !build(z.codeLen[:], codeLenBits, small[:], isSecond, func(s int) uint32 { return uint32(s)<<16 | 1<<15 }) {
		return errInflate
	}
	lengths := z.lengths[:nLit+nDist]
	for i := 0; i < len(lengths); {
		z.load()
		e := z.codeLen[z.bits&(1<<codeLenBits-1)]
		if e == 0 {
			return errInflate
		}
		z.bits >>= e & takes
		z.nbits -= uint(e & takes)
		symbol := uint8(e >> 16)
		if symbol < 16 {
			lengths[i] = symbol
			i++
			continue
		}
		repeat, value := 0, uint8(0)
		switch symbol {
		case 16:
			if i == 0 {
				return errInflate
			}
			repeat, value = 3+int(z.take(2)), lengths[i-1]
		case 17:
			repeat = 3 + int(z.take(3))
		case 18:
			repeat = 11 + int(z.take(7))
		}
		if i+repeat > len(lengths) {
			return errInflate
		}
		for range repeat {
			lengths[i] = value
			i++
		}
	}
	if !build(z.litLen[:], litLenBits, lengths[:nLit], isSecond, litLenEntry) || !build(z.dist[:], distBits, lengths[nLit:], isSecondDist, distEntry) {
		return errInflate
	}
	pair(&z.litLen)
	return nil
}

// litLenEntry gives what a symbol of literals and lengths means, less the bits of its code.
func litLenEntry(s int) uint32 {
	switch {
	case s < 256:
		return isLiteral | uint32(s)<<8
	case s == 256:
		return isEnd
	case s < 265:
		return uint32(s-257+3) << 16
	case s < 285:
		extra := uint32(s-261) / 4
		return (uint32(s-265)%4+4)<<extra<<16 + 3<<16 | extra<<8 | extra
	case s == 285:
		return maxMatch << 16
	}
	return 0 // which the fixed code has, and nothing may use
}

// distEntry is litLenEntry for distances.
func distEntry(s int) uint32 {
	switch {
	case s < 4:
		return uint32(s+1) << 16
	case s < maxDist:
		extra := uint32(s-2) / 2
		return ((uint32(s)%2+2)<<extra+1)<<16 | extra<<8 | extra
	}
	return 0
}

// build makes a table of a canonical code, indexed by size bits and then by what second tables need. It reports whether the code is one:
// complete, or of one code of one bit, or empty, as image/png's has it.
func build(table []uint32, size uint, lengths []uint8, second uint32, entry func(symbol int) uint32) bool {
	var count, next [16]int
	longest := 0
	for _, n := range lengths {
		count[n]++
		longest = max(longest, int(n))
	}
	first := table[:1<<size]
	clear(first)
	if longest == 0 {
		return true
	}
	count[0] = 0
	code := 0
	for n := 1; n <= longest; n++ {
		code = (code + count[n-1]) << 1
		next[n] = code
	}
	if end := next[longest] + count[longest]; end != 1<<longest && !(longest == 1 && end == 1) {
		return false
	}
	free := 1 << size
	for s, n := range lengths {
		if n == 0 {
			continue
		}
		e := entry(s)
		if e != 0 {
			e += uint32(n)
		}
		c := int(bits.Reverse16(uint16(next[n])) >> (16 - n))
		next[n]++
		if uint(n) <= size {
			for i := c; i < len(first); i += 1 << n {
				first[i] = e
			}
			continue
		}
		at := c & (len(first) - 1)
		if first[at] == 0 {
			more := uint(longest) - size
			first[at] = second | uint32(free-len(first))<<16 | uint32(more)<<8
			clear(table[free:][:1<<more])
			free += 1 << more
		}
		start, more := len(first)+int(first[at]>>16&0xfff), first[at]>>8&15
		for i := c >> size; i < 1<<more; i += 1 << (uint(n) - size) {
			table[start+i] = e
		}
	}
	return true
}

// pair joins literals whose codes fit into an index together.
func pair(t *[litLenSize]uint32) {
	// Downwards, so that the entry of what follows, whose index is shorter, is still of one literal. It was filled in with zeros
	// for the bits that are not known, and holds if it takes none of those.
	for i := 1<<litLenBits - 1; i >= 0; i-- {
		e := t[i]
		if e&isLiteral == 0 {
			continue
		}
		n := e & takes
		then := t[i>>n]
		if m := then & takes; then&isLiteral != 0 && n+m <= litLenBits {
			t[i] = isLiteral | isTwo | then<<8&0xff0000 | e&0xff00 | n + m
		}
	}
}

// decode writes what a block of codes says, from op, until out holds limit bytes.
func (z *inflater) decode(out []byte, op, limit int) (int, error) {
	in, at, acc, n := z.in, z.at, z.bits, z.nbits
	inEnd := z.n + 8
	lit, dist := &z.litLen, &z.dist
	var err error
loop:
	for op < limit {
		if at > inEnd {
			err = errCut
			break
		}
		acc |= binary.LittleEndian.Uint64(in[at:]) << (n & 63)
		at += int(63-n) >> 3
		n |= 56
		e := lit[acc&(1<<litLenBits-1)]
		// Four looks of 11 bits each are within 56.
		if e&isLiteral != 0 {
			acc >>= e & takes
			n -= uint(e & takes)
			binary.LittleEndian.PutUint16(out[op:], uint16(e>>8))
			op += 1 + int(e>>30&1)
			e = lit[acc&(1<<litLenBits-1)]
			if e&isLiteral != 0 {
				acc >>= e & takes
				n -= uint(e & takes)
				binary.LittleEndian.PutUint16(out[op:], uint16(e>>8))
				op += 1 + int(e>>30&1)
				e = lit[acc&(1<<litLenBits-1)]
				if e&isLiteral != 0 {
					acc >>= e & takes
					n -= uint(e & takes)
					binary.LittleEndian.PutUint16(out[op:], uint16(e>>8))
					op += 1 + int(e>>30&1)
					e = lit[acc&(1<<litLenBits-1)]
					if e&isLiteral != 0 {
						acc >>= e & takes
						n -= uint(e & takes)
						binary.LittleEndian.PutUint16(out[op:], uint16(e>>8))
						op += 1 + int(e>>30&1)
						continue
					}
				}
			}
			acc |= binary.LittleEndian.Uint64(in[at:]) << (n & 63)
			at += int(63-n) >> 3
			n |= 56
		}
		if e&isSecond != 0 {
			start, more := e>>16&0xfff, e>>8&15
			e = lit[min(1<<litLenBits+start+uint32(acc>>litLenBits)&(1<<more-1), litLenSize-1)]
			if e&isLiteral != 0 {
				acc >>= e & takes
				n -= uint(e & takes)
				out[op] = uint8(e >> 8)
				op++
				continue
			}
		}
		if e&isEnd != 0 {
			acc >>= e & takes
			n -= uint(e & takes)
			z.kind = noBlock
			break
		}
		if e == 0 {
			err = errInflate
			break
		}
		// At least 56 bits are there: 15 and 5 for the length, 15 and 13 for the distance.
		extra := e >> 8 & 31
		taken := acc
		acc >>= e & takes
		n -= uint(e & takes)
		length := int(e>>16&0x1ff) + int(taken>>(e&takes-extra)&(1<<extra-1))

		e = dist[acc&(1<<distBits-1)]
		if e&isSecondDist != 0 {
			start, more := e>>16&0xfff, e>>8&15
			e = dist[min(1<<distBits+start+uint32(acc>>distBits)&(1<<more-1), distSize-1)]
		}
		if e == 0 {
			err = errInflate
			break
		}
		extra = e >> 8 & 31
		taken = acc
		acc >>= e & takes
		n -= uint(e & takes)
		back := int(e>>16) + int(taken>>(e&takes-extra)&(1<<extra-1))
		if back > op {
			err = errInflate
			break
		}
		from, end := op-back, op+length
		switch {
		case back >= 8:
			for op < end {
				binary.LittleEndian.PutUint64(out[op:], binary.LittleEndian.Uint64(out[from:]))
				op, from = op+8, from+8
			}
		case back == 1:
			v := uint64(out[from]) * 0x01010101_01010101
			for op < end {
				binary.LittleEndian.PutUint64(out[op:], v)
				op += 8
			}
		default:
			for ; op < end; op, from = op+1, from+1 {
				out[op] = out[from]
			}
		}
		op = end
		if op >= limit {
			break loop
		}
	}
	z.at, z.bits, z.nbits = at, acc, n
	return op, err
}
