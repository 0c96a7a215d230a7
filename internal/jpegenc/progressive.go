package jpegenc

import (
	"context"
	"math/bits"
	"slices"
)

// progressive writes all but the end, in the passes of libjpeg's jpeg_simple_progression: the mean of each
// block first, then the first few frequencies of luma, then differences, which need no more than that.
func (e *encoder) progressive(ctx context.Context, dst []byte) ([]byte, error) {
	for row := range e.rows {
		if ctx.Err() != nil {
			return dst, context.Cause(ctx)
		}
		e.transformRow(row, row)
	}
	dst = e.start(dst, mSOF2)
	all, luma := e.comps, e.comps[:1]
	scans := []scan{
		{comps: all, low: 1},
		{comps: luma, first: 1, last: 5, low: 2},
		{comps: luma, first: 6, last: 63, low: 2},
		{comps: luma, first: 1, last: 63, high: 2, low: 1},
		{comps: all, high: 1, low: 0},
		{comps: luma, first: 1, last: 63, high: 1, low: 0},
	}
	if len(all) == 3 {
		blue, red := all[1:2], all[2:3]
		scans = slices.Insert(scans, 5,
			scan{comps: red, first: 1, last: 63, high: 1, low: 0},
			scan{comps: blue, first: 1, last: 63, high: 1, low: 0})
		scans = slices.Insert(scans, 2,
			scan{comps: red, first: 1, last: 63, low: 1},
			scan{comps: blue, first: 1, last: 63, low: 1})
	}
	for _, s := range scans {
		e.begin(s)
		// Rows of units, or of blocks where there is but one component.
		rows, perRow := e.rows, 0
		for i := range all {
			perRow += e.cols * all[i].across * all[i].down
		}
		if s.first > 0 {
			rows, perRow = s.comps[0].rows, s.comps[0].cols*maxBlockTokens
		}
		for row := range rows {
			if ctx.Err() != nil {
				return dst, context.Cause(ctx)
			}
			e.tokens = slices.Grow(e.tokens, perRow)
			switch {
			case s.first == 0:
				e.means(s, row)
			case s.high == 0:
				e.frequencies(s, row)
			default:
				e.refinements(s, row)
			}
			last := row == rows-1
			if e.due(last) {
				e.endRun(s)
			}
			dst = e.emit(dst, last)
		}
		dst = e.bits.flush(dst)
	}
	return dst, nil
}

// raw is the table of tokens that are no symbol but just bits, in the scans that have no symbols in that
// table; the number of the bits, up to 16, is in the symbol's place.
const raw = token(dcLuma << 8)

func (e *encoder) push(t token) {
	e.stats[t&1023]++
	e.tokens = append(e.tokens, t)
}

func (e *encoder) pushRaw(b uint64, n int) {
	for n > 0 {
		some := min(n, 16)
		n -= some
		e.tokens = append(e.tokens, token(b>>n&(1<<some-1))<<10|raw|token(some))
	}
}

// means gives the first coefficients of a row of units (T.81 G.1.2.1).
func (e *encoder) means(s scan, row int) {
	for x := range e.cols {
		for i := range s.comps {
			c := &s.comps[i]
			for v := range c.down {
				y := row*c.down + v
				for h := range c.across {
					within := y < c.rows && x*c.across+h < c.cols
					value := c.previous
					if within {
						value = int(c.blocks[y*c.perRow+x*c.across+h][0]) >> s.low
					}
					if s.high > 0 {
						e.pushRaw(uint64(value)&1, 1)
						continue
					}
					e.push(e.values[(value-c.previous)&4095] | c.dc)
					c.previous = value
				}
			}
		}
	}
}

// magnitude is |v| >> low.
func magnitude(v int16, low int) int {
	return int(max(v, -v)) >> low
}

// band is the mask of the coefficients of s.
func (s scan) band() uint64 { return ^uint64(0) >> (63 - s.last) &^ (1<<s.first - 1) }

// frequencies gives the upper bits of coefficients of a row of blocks (T.81 G.1.2.2).
func (e *encoder) frequencies(s scan, row int) {
	c := &s.comps[0]
	ac := c.dc + 1<<8
	for i := range c.cols {
		b := &c.blocks[row*c.perRow+i]
		before := s.first - 1
		for mask := c.masks[row*c.perRow+i] & s.band(); mask != 0; mask &= mask - 1 {
			k := bits.TrailingZeros64(mask)
			v := b[zigzag[k&63]&63]
			n := magnitude(v, s.low)
			if n == 0 {
				continue
			}
			if v < 0 {
				n = -n
			}
			e.endRun(s)
			run := k - before - 1
			before = k
			for ; run > 15; run -= 16 {
				e.push(ac + zeros16)
			}
			e.push(e.values[n&4095] + ac + token(run<<4))
		}
		if before != s.last {
			e.extendRun(s)
		}
	}
}

// extendRun counts one more block of which nothing is left to say but bits of what was there before. The
// token of the run comes before those bits, and is filled in when its length is known.
func (e *encoder) extendRun(s scan) {
	if e.run == maxRun {
		e.endRun(s)
	}
	if e.run == 0 {
		e.runAt = len(e.tokens)
		e.tokens = append(e.tokens, 0)
	}
	e.run++
}

// maxRun is the longest run of blocks.
const maxRun = 1<<15 - 1

func (e *encoder) endRun(s scan) {
	if e.run == 0 {
		return
	}
	n := bits.Len(uint(e.run)) - 1
	t := s.comps[0].dc + 1<<8 + token(n<<4) | token(e.run-1<<n)<<10
	e.stats[t&1023]++
	e.tokens[e.runAt] = t
	e.run = 0
}

// refinements gives one more bit of coefficients of a row of blocks: of those that were not zero as they
// are, and of those that become so with their sign (T.81 G.1.2.3).
func (e *encoder) refinements(s scan, row int) {
	c := &s.comps[0]
	ac := c.dc + 1<<8
	for i := range c.cols {
		b := &c.blocks[row*c.perRow+i]
		mask := c.masks[row*c.perRow+i] & s.band()
		lastNew := 0
		for m := mask; m != 0; m &= m - 1 {
			if k := bits.TrailingZeros64(m); magnitude(b[zigzag[k&63]&63], s.low) == 1 {
				lastNew = k
			}
		}
		before, zeros := s.first-1, 0
		later, laterBits := uint64(0), 0 // bits that follow the next symbol
		for ; mask != 0; mask &= mask - 1 {
			k := bits.TrailingZeros64(mask)
			v := b[zigzag[k&63]&63]
			n := magnitude(v, s.low)
			zeros += k - before - 1
			before = k
			if n == 0 {
				zeros++
				continue
			}
			for ; zeros > 15 && k <= lastNew; zeros -= 16 {
				e.endRun(s)
				e.push(ac + zeros16)
				e.pushRaw(later, laterBits)
				later, laterBits = 0, 0
			}
			if n > 1 {
				later, laterBits = later<<1|uint64(n&1), laterBits+1
				continue
			}
			e.endRun(s)
			positive := token(1)
			if v < 0 {
				positive = 0
			}
			e.push(ac + token(zeros<<4) + 1 | positive<<10)
			e.pushRaw(later, laterBits)
			later, laterBits, zeros = 0, 0, 0
		}
		if zeros+s.last-before > 0 || laterBits > 0 {
			e.extendRun(s)
			e.pushRaw(later, laterBits)
		}
	}
}
