package pngenc

// The filters of rows (9.2): what is taken off each byte of the bytes to the left (a), above (b) and above to the left (c).
const (
	none = iota
	sub
	up
	average
	paeth
	filters
)

// lead is how many zeros there are before each row, to the left of its first pixel: as many bytes as a pixel has at most.
const lead = 8

// filterer filters the rows of a picture, each by the filter whose bytes, taken as differences from zero, add up to least: the
// heuristic that the standard recommends (12.7), among all five filters.
type filterer struct {
	bpp         int
	row, before []byte // with lead zeros before each
	tried       [filters][]byte
}

// reset makes f ready for rows of n bytes.
func (f *filterer) reset(n, bpp int) {
	f.bpp = bpp
	f.row, f.before = grow(f.row, lead+n), grow(f.before, lead+n)
	clear(f.row[:lead])
	clear(f.before)
	for i := range f.tried {
		f.tried[i] = grow(f.tried[i], 1+n)
		f.tried[i][0] = byte(i)
	}
}

// now is where the next row goes.
func (f *filterer) now() []byte { return f.row[lead:] }

// turn makes the row the one before.
func (f *filterer) turn() { f.row, f.before = f.before, f.row }

// best gives the row behind its filter.
func (f *filterer) best() []byte {
	best, least := none, f.try(none)
	for _, filter := range [...]int{sub, up, average, paeth} {
		if sum := f.try(filter); sum < least {
			best, least = filter, sum
		}
	}
	return f.tried[best]
}

// try filters the row, and gives the sum of what comes out.
func (f *filterer) try(filter int) uint64 {
	dst := f.tried[filter][1:]
	done, sum := accelerate(dst, f.row, f.before, filter, f.bpp)
	return sum + filterGo(dst[done:], f.row[done:], f.before[done:], filter, f.bpp)
}

// filterGo filters row, which comes after lead bytes, into dst. It gives the sum of the absolute values of what it writes, as
// signed bytes.
func filterGo(dst, row, before []byte, filter, bpp int) uint64 {
	n := len(dst)
	x, a := row[lead:][:n], row[lead-bpp:][:n]
	b, c := before[lead:][:n], before[lead-bpp:][:n]
	sum := 0
	switch filter {
	case none:
		copy(dst, x)
	case sub:
		for i, v := range x {
			dst[i] = v - a[i]
		}
	case up:
		for i, v := range x {
			dst[i] = v - b[i]
		}
	case average:
		for i, v := range x {
			dst[i] = v - uint8((int(a[i])+int(b[i]))/2)
		}
	case paeth:
		for i, v := range x {
			dst[i] = v - predict(int(a[i]), int(b[i]), int(c[i]))
		}
	}
	for _, v := range dst {
		d := int(int8(v))
		sum += max(d, -d)
	}
	return uint64(sum)
}

// predict is Paeth's predictor: which of a, b and c is closest to a+b-c, in that order. c is, unless it is beyond both of
// the others by as much as they are apart (S. Barrett, stb_image).
func predict(a, b, c int) uint8 {
	limit := 3*c - (a + b)
	low, high := min(a, b), max(a, b)
	p := c
	if high <= limit {
		p = low
	}
	if limit <= low {
		p = high
	}
	return uint8(p)
}
