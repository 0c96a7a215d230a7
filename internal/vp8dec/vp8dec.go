// Package vp8dec decodes key frames of VP8 (RFC 6386), which are the pictures of lossy WebP: to the same samples as
// golang.org/x/image/vp8, in a fraction of the time.
//
//	m, err := vp8dec.Decode(ctx, chunk, &vp8dec.Options{FullRange: true})
//
// # How
//
// A row of macroblocks is decoded at a time, into a band that stays in a near cache: first the modes of all, then for each its
// coefficients and its pixels. What is below it is predicted from its last row as it is then, so that row is put aside, and the loop
// filter goes over the band at once. All but the last four rows of pixels, which the filter of the row below changes, are then final and
// written to the picture, stretched to all of eight bits on the way.
//
// The boolean decoder loads 56 bits at once. Coefficients lie as the pixels do that they are of, so that four blocks go through the
// inverse DCT together. On amd64 with AVX2 that, the loop filter, one mode of prediction, and the stretching are assembly,
// written by _asm; the Go beside it gives the same bits, and is what the tag purego selects.
//
// # Damage
//
// What x/image/vp8 refuses is refused: partitions that are cut off, and those that end before the macroblocks do. There are these
// differences:
//
//   - Pictures of no pixels are refused.
//   - A last partition of 16 MB and more is read.
//   - The strength of the loop filter is held to 0 to 63 where the standard says so, before and after the differences for kinds of
//     macroblocks are added, which x/image/vp8 adds up in eight bits that wrap.
//   - A partition whose first byte is 255, which no encoder can write, as the number that the boolean decoder begins with is below its range of
//     255, is other noise than x/image/vp8 makes of it in 32 bits.
//   - Damage to the rows below the region is not seen.
package vp8dec

import (
	"context"
	"errors"
	"fmt"
	"image"
	"sync"
)

// The kinds of errors, always wrapped in one line of what is wrong. Errors of the context come as its cause.
var (
	ErrDamaged     = errors.New("damaged VP8")
	ErrUnsupported = errors.New("unsupported VP8")

	errCut = fmt.Errorf("%w: cut off", ErrDamaged)
)

// Options say how to decode. Nil and zero mean the documented default.
type Options struct {
	// FullRange stretches luma and chroma, which VP8 has as television does (luma is 16 to 235, chroma 16 to 240), to the 0 to
	// 255 of JPEG, which is what image.YCbCr means.
	FullRange bool

	// Region is the part to decode, in pixels. The result covers at least that, from an even place on, and its bounds say what it
	// covers. All above and beside it is decoded, too, as VP8 allows nothing else; what is below is not. Empty means all.
	Region image.Rectangle

	// Alloc gives the memory for a plane of n samples; its contents do not matter. The planes of the result are slices of
	// what it gave. Nil means make.
	Alloc func(n int) []byte
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsupported, fmt.Sprintf(format, args...))
}

// Size gives the width and height of a frame, 1 to 16383 each, of which data need not be more than the first ten bytes.
func Size(data []byte) (width, height int, err error) {
	var h header
	_, _, err = h.size(data)
	if h.width == 0 || h.height == 0 {
		return 0, 0, err
	}
	return h.width, h.height, nil
}

// Decode decodes data, a frame, which it neither changes nor keeps. Beside the planes, memory is taken for a row of macroblocks: less
// than 40 bytes for each pixel of the width. Callers check the width and height before, by Size. When ctx is done, Decode stops within
// a row of macroblocks and returns its cause.
func Decode(ctx context.Context, data []byte, o *Options) (*image.YCbCr, error) {
	d := decoders.Get().(*decoder)
	defer decoders.Put(d)
	defer d.release()
	if o == nil {
		o = &Options{}
	}
	return d.decode(ctx, data, o)
}

// decoders keeps buffers from one picture to the next.
var decoders = sync.Pool{New: func() any { return new(decoder) }}

// A decoder is the state of one Decode.
type decoder struct {
	header
	first    reader // of modes
	parts    [8]reader
	probs    [4]coefProbs
	factors  [4]factors
	strength [4][2]strength

	across, down int // macroblocks
	row          []macroblock
	modesAbove   []uint8  // four for each macroblock
	someAbove    []uint16 // which blocks had tokens, as readResidue has it
	coef         [allCoef]int16

	// The band has the pixels of a row of macroblocks, after four rows from above it: luma, and below that both chroma
	// planes beside each other. y, u and v are where the macroblocks begin. The byte before a row of pixels is noneLeft.
	band                   []byte
	pitch, y, u, v         int
	aboveY, aboveU, aboveV []byte // the last row of the macroblocks above, after margin

	dst     *image.YCbCr
	stretch bool
}

// release forgets what belongs to the caller.
func (d *decoder) release() {
	d.first, d.parts, d.dst = reader{}, [8]reader{}, nil
}

func (d *decoder) decode(ctx context.Context, data []byte, o *Options) (*image.YCbCr, error) {
	first, rest, err := d.size(data)
	if err != nil {
		return nil, err
	}
	if err := d.read(first, rest); err != nil {
		return nil, err
	}
	if err := d.layOut(o); err != nil {
		return nil, err
	}
	rows := d.rowsNeeded()
	for y := range rows {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		part := &d.parts[y&(d.partitions-1)]
		d.readModes()
		d.startRow(y)
		d.reconstruct(part, y)
		if d.first.cut || part.cut {
			return nil, errCut
		}
		if y+1 < d.down {
			d.keepLastRow()
		}
		d.filter(y)
		d.write(y)
		d.keepUnfinished()
	}
	return d.dst, nil
}

// grow gives b with n elements, of any value.
func grow[T any](b []T, n int) []T {
	if cap(b) < n {
		return make([]T, n)
	}
	return b[:n]
}

// layOut works out what is where, and takes memory for it.
func (d *decoder) layOut(o *Options) error {
	d.across, d.down = (d.width+15)/16, (d.height+15)/16
	all := image.Rect(0, 0, d.width, d.height)
	r := all
	if !o.Region.Empty() {
		r = o.Region.Intersect(all)
		if r.Empty() {
			return fmt.Errorf("vp8dec: Options.Region %v is not in the picture of %dx%d", o.Region, d.width, d.height)
		}
		r.Min.X, r.Min.Y = r.Min.X&^1, r.Min.Y&^1
	}
	alloc := o.Alloc
	if alloc == nil {
		alloc = func(n int) []byte { return make([]byte, n) }
	}
	d.stretch = o.FullRange
	chroma := image.Pt((r.Dx()+1)/2, (r.Dy()+1)/2)
	d.dst = &image.YCbCr{YStride: r.Dx(), CStride: chroma.X, SubsampleRatio: image.YCbCrSubsampleRatio420, Rect: r}
	for i, plane := range []*[]byte{&d.dst.Y, &d.dst.Cb, &d.dst.Cr} {
		n := r.Dx() * r.Dy()
		if i > 0 {
			n = chroma.X * chroma.Y
		}
		b := alloc(n)
		if len(b) < n {
			return fmt.Errorf("vp8dec: Options.Alloc gave %d bytes, of %d", len(b), n)
		}
		*plane = b[:n:n]
	}

	d.row = grow(d.row, d.across)
	d.modesAbove, d.someAbove = grow(d.modesAbove, 4*d.across), grow(d.someAbove, d.across)
	clear(d.modesAbove) // which is modeDC
	clear(d.someAbove)
	const ahead = 4 // pixels that a subblock looks to the right
	for i, above := range []*[]byte{&d.aboveY, &d.aboveU, &d.aboveV} {
		n := 16 * d.across
		if i > 0 {
			n /= 2
		}
		*above = grow(*above, margin+n+ahead)
		for j := range *above {
			(*above)[j] = noneAbove
		}
	}
	d.pitch = margin + 16*d.across + margin
	const luma, chromaRows = 4 + 16, 4 + 8
	d.band = grow(d.band, (luma+chromaRows)*d.pitch)
	d.y = 4*d.pitch + margin
	d.u = (luma+4)*d.pitch + margin
	d.v = d.u + 8*d.across + margin
	for y := range 16 {
		d.band[d.y+y*d.pitch-1] = noneLeft
	}
	for y := range 8 {
		d.band[d.u+y*d.pitch-1], d.band[d.v+y*d.pitch-1] = noneLeft, noneLeft
	}
	return nil
}

// unfinished is how many rows of a plane, at the end of a row of macroblocks, the loop filter looks at or changes when it
// does the row below.
const unfinished = 4

// rowsNeeded is how many rows of macroblocks the region needs.
func (d *decoder) rowsNeeded() int {
	luma, chroma := d.dst.Rect.Max.Y, (d.dst.Rect.Max.Y+1)/2
	return min(max((luma+unfinished+15)/16, (chroma+unfinished+7)/8), d.down)
}

// startRow sets the pixels to the left of what is above.
func (d *decoder) startRow(y int) {
	corner := uint8(noneAbove)
	if y > 0 {
		corner = noneLeft
	}
	d.aboveY[margin-1], d.aboveU[margin-1], d.aboveV[margin-1] = corner, corner, corner
}

// reconstruct decodes the pixels of a row, and leaves in its macroblocks' skip whether they have no coefficients.
func (d *decoder) reconstruct(part *reader, y int) {
	var aside uint16
	for x := range d.row {
		m := &d.row[x]
		var res residue
		if m.skip {
			keep := uint16(0) // what is known of the block of luma's first coefficients stays where there is none
			if m.split {
				keep = 1 << 8
			}
			aside &= keep
			d.someAbove[x] &= keep
		} else {
			res = d.readResidue(part, m, &d.someAbove[x], &aside)
		}
		m.skip = res.blocks == 0
		d.predict(m, x, y, res)
		if !m.skip {
			clear(d.coef[:])
		}
	}
}

// predict makes the pixels of a macroblock.
func (d *decoder) predict(m *macroblock, x, y int, res residue) {
	band, pitch := d.band, d.pitch
	luma, u, v := d.y+16*x, d.u+8*x, d.v+8*x
	above := d.aboveY[margin-1+16*x:]
	if m.split {
		d.predictSubblocks(m, luma, above, res)
	} else {
		square(band, luma, pitch, above, 16, m.luma, x == 0, y == 0)
		if blocks := res.blocks & 0xffff; blocks != 0 {
			addRows(band, luma, luma+8, pitch, d.coef[:chromaCoef], rowsOf(blocks), res.words)
		}
	}
	square(band, u, pitch, d.aboveU[margin-1+8*x:], 8, m.chroma, x == 0, y == 0)
	square(band, v, pitch, d.aboveV[margin-1+8*x:], 8, m.chroma, x == 0, y == 0)
	if blocks := res.blocks >> 16; blocks != 0 {
		addRows(band, u, v, pitch, d.coef[chromaCoef:], rowsOf(blocks), res.words)
	}
}

// rowsOf gives which rows of four blocks have any that are set.
func rowsOf(blocks uint32) uint {
	var rows uint
	for i := range 4 {
		if blocks>>(4*i)&15 != 0 {
			rows |= 1 << i
		}
	}
	return rows
}

func (d *decoder) predictSubblocks(m *macroblock, luma int, above []byte, res residue) {
	band, pitch := d.band, d.pitch
	var around [9]uint8
	for i := range 16 {
		x, y := i&3, i>>2
		at := luma + 4*y*pitch + 4*x
		if y == 0 {
			around = [9]uint8(above[4*x:])
		} else {
			around = [9]uint8(band[at-pitch-1:])
			if x == 3 { // what is to the right comes later: it is taken from above the macroblock in all rows
				copy(around[5:], above[17:21])
			}
		}
		subblock(band, at, pitch, &around, m.sub[i])
		if res.blocks>>i&1 != 0 {
			addBlock(band, at, pitch, d.coef[4*coefPitch*y+4*x:chromaCoef], res.words)
		}
	}
}

// keepLastRow puts aside what the row below is predicted from.
func (d *decoder) keepLastRow() {
	n := 16 * d.across
	copy(d.aboveY[margin:], d.band[d.y+15*d.pitch:][:n])
	copy(d.aboveU[margin:], d.band[d.u+7*d.pitch:][:n/2])
	copy(d.aboveV[margin:], d.band[d.v+7*d.pitch:][:n/2])
	last := d.aboveY[margin+n-1]
	for i := range d.aboveY[margin+n:] {
		d.aboveY[margin+n+i] = last
	}
}

// filter goes over a row of macroblocks.
func (d *decoder) filter(y int) {
	if d.frameLevel == 0 {
		return
	}
	for x := range d.row {
		m := &d.row[x]
		split := 0
		if m.split {
			split = 1
		}
		if d.filterLevel[m.segment][split] == 0 {
			continue
		}
		edges := 0
		if x > 0 {
			edges |= edgeLeft
		}
		if y > 0 {
			edges |= edgeTop
		}
		if m.split || !m.skip {
			edges |= edgeInner
		}
		s := &d.strength[m.segment][split]
		if d.simple {
			filterSimple(d.band, d.y+16*x, d.pitch, s, edges)
		} else {
			filterNormal(d.band, d.y+16*x, d.u+8*x, d.v+8*x, d.pitch, s, edges)
		}
	}
}

// write puts into the picture what is final after a row of macroblocks.
func (d *decoder) write(y int) {
	r := d.dst.Rect
	chroma := image.Rect(r.Min.X/2, r.Min.Y/2, (r.Max.X+1)/2, (r.Max.Y+1)/2)
	luma, other := copySamples, copySamples
	if d.stretch {
		luma, other = stretchLuma, stretchChroma
	}
	last := y == d.down-1
	d.writePlane(d.dst.Y, d.dst.YStride, r, 16*y, 16, d.y, last, luma)
	d.writePlane(d.dst.Cb, d.dst.CStride, chroma, 8*y, 8, d.u, last, other)
	d.writePlane(d.dst.Cr, d.dst.CStride, chroma, 8*y, 8, d.v, last, other)
}

func copySamples(dst, src []byte) { copy(dst, src) }

// writePlane writes rows of the region r of a plane. The band's rows from at on are those of the plane from y on.
func (d *decoder) writePlane(dst []byte, stride int, r image.Rectangle, y, n, at int, last bool, put func(dst, src []byte)) {
	from, to := y-unfinished, y+n-unfinished
	if last {
		to = y + n
	}
	for row := max(from, r.Min.Y); row < min(to, r.Max.Y); row++ {
		src := d.band[at+(row-y)*d.pitch+r.Min.X:][:r.Dx()]
		put(dst[(row-r.Min.Y)*stride:][:r.Dx()], src)
	}
}

// keepUnfinished moves the last rows to above the next.
func (d *decoder) keepUnfinished() {
	n := unfinished * d.pitch
	copy(d.band[:n], d.band[16*d.pitch:][:n])
	copy(d.band[20*d.pitch:][:n], d.band[28*d.pitch:][:n])
}
