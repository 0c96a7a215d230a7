// Package jpegenc writes JPEG files (ITU-T T.81 with JFIF's APP0), baseline or progressive.
//
//	out, err := jpegenc.Append(ctx, nil, m, &jpegenc.Options{Quality: 80})
//
// Its quality means what libjpeg's does: the tables of annex K, scaled in the same way. Codes are made for
// each picture from what is in it, which costs a few percent of the time and saves as much of the bytes, and
// frequencies are rounded with an eye on their cost: see roundUp.
//
// # Stages
//
//	samples ─▶ blocks     transform and quantisation, two blocks at once (AVX2; a twin in Go elsewhere)
//	blocks  ─▶ tokens     symbols with the bits that follow them, counted
//	tokens  ─▶ bytes      once the codes are known
//
// A baseline picture holds one row of blocks at a time and, for each coefficient that is not zero, a token of
// four bytes, to 32 MB; a progressive one holds two bytes for each sample beside, padded to whole blocks.
//
// The same picture gives the same bytes on every machine.
package jpegenc

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"slices"
	"sync"
)

// Options say how to write. Nil and the zero value mean the documented defaults.
type Options struct {
	// Quality is 1 to 100, on libjpeg's scale. Zero means 75.
	Quality int

	// Progressive writes ten passes (six for gray) of growing precision, as libjpeg's simple progression
	// has them. False means baseline: one pass.
	Progressive bool

	// StandardCodes writes the codes of annex K rather than ones made for the picture. It has no effect on
	// progressive files, for which annex K has none. False means codes made for the picture.
	StandardCodes bool

	// FullChroma keeps the colour of each pixel of *image.RGBA and *image.NRGBA: 4:4:4. False means 4:2:0.
	// An *image.YCbCr is written as it is.
	FullChroma bool
}

// maxSide is the largest width or height that a frame header has room for.
const maxSide = 65535

// maxTokens is how many tokens a scan may have before codes are made from what was seen by then: the first
// megapixels stand for the rest.
const maxTokens = 8 << 20

// keptBytes is the size up to which buffers are kept for the next picture.
const keptBytes = 32 << 20

// Append writes m at the end of dst and returns the longer slice. m is an *image.Gray, an *image.YCbCr in
// full range with any subsampling, or an *image.RGBA or *image.NRGBA, whose alpha is not looked at. It is
// read only, and not kept. Bounds may begin anywhere, but those of an *image.YCbCr at whole chroma samples.
//
// Errors are of the picture (of another type, empty, larger than 65535 on a side, or with less data than its
// bounds say), of options out of range, or ctx's cause; dst is then returned as it was. ctx is looked at for each
// row of blocks.
func Append(ctx context.Context, dst []byte, m image.Image, o *Options) ([]byte, error) {
	e := encoders.Get().(*encoder)
	defer e.release()
	return e.append(ctx, dst, m, o)
}

// Encode is Append to w, in one Write, from a buffer that is kept for the next picture.
func Encode(ctx context.Context, w io.Writer, m image.Image, o *Options) error {
	e := encoders.Get().(*encoder)
	defer e.release()
	out, err := e.append(ctx, e.out[:0], m, o)
	if err != nil {
		return err
	}
	e.out = out
	_, err = w.Write(out)
	return err
}

func (e *encoder) append(ctx context.Context, dst []byte, m image.Image, opt *Options) ([]byte, error) {
	var o Options
	if opt != nil {
		o = *opt
	}
	if o.Quality == 0 {
		o.Quality = 75
	}
	if o.Quality < 1 || o.Quality > 100 {
		return dst, fmt.Errorf("jpegenc: Quality is %d, not 1 to 100", o.Quality)
	}
	if err := e.open(m, o); err != nil {
		return dst, err
	}
	write := e.baseline
	if o.Progressive {
		write = e.progressive
	}
	out, err := write(ctx, dst)
	if err != nil {
		return dst, err
	}
	return append(out, 0xff, mEOI), nil
}

// encoders are those not in use, with their buffers.
var encoders = sync.Pool{New: func() any { return newEncoder() }}

func newEncoder() *encoder {
	return &encoder{values: newValues(), maxTokens: maxTokens, roundUp: roundUp}
}

// An encoder writes one picture at a time.
type encoder struct {
	Options
	maxTokens  int
	roundUp    int
	values     *values
	w, h       int // of the picture, in pixels
	hMax, vMax int // blocks of luma in a unit, across and down; a unit is what is coded together
	cols, rows int // units
	comps      []component
	pixels     pixels
	steps      [2][64]uint8 // of quantisation, in the order of the file
	quantizers [2]*quantizer

	blocks []block
	masks  []uint64
	edge   []uint8 // eight rows that reach beyond the picture
	strips []uint8 // a row of units, of pixels

	out     []byte // of Encode
	tokens  []token
	stats   statistics
	optimal [tables]huffman
	huffman [tables]*huffman // optimal's, or standardCodes
	codes   [tables * 256]code
	bits    bitWriter

	scan      scan
	announced bool // whether its codes are made and its header is written
	run       int  // blocks that end in a row
	runAt     int  // the place of their token

	store [3]component // what comps is made of
}

// A component is one of gray, luma and the differences.
type component struct {
	pix    []uint8
	stride int
	w, h   int   // samples
	across int   // blocks in a unit
	down   int   //
	table  int   // of quantizers; the codes are 2·table and the next
	dc     token // the table of the first coefficient, as tokens have it
	cols   int   // blocks, without those that only fill units up
	rows   int

	blocks   []block  // rows of perRow: of one row of units, or of the picture
	masks    []uint64 // which coefficients of each are not zero
	perRow   int      // even, and enough for all units
	previous int      // first coefficient of the block before
}

// pixels is a picture of four bytes each that is made components of, a row of units at a time.
type pixels struct {
	pix    []uint8 // nil if the picture has components
	stride int
}

// open looks at the picture and lays the components out.
func (e *encoder) open(m image.Image, o Options) error {
	if m == nil {
		return errors.New("jpegenc: no picture")
	}
	b := m.Bounds()
	e.Options, e.w, e.h = o, b.Dx(), b.Dy()
	if b.Empty() {
		return errors.New("jpegenc: a picture without pixels")
	}
	if e.w > maxSide || e.h > maxSide {
		return fmt.Errorf("jpegenc: a picture of %dx%d, of at most %d on a side", e.w, e.h, maxSide)
	}
	e.hMax, e.vMax = 1, 1
	e.pixels = pixels{}
	e.comps = e.store[:1]
	switch m := m.(type) {
	case *image.Gray:
		e.store[0] = component{pix: from(m.Pix, m.PixOffset(b.Min.X, b.Min.Y)), stride: m.Stride}
	case *image.YCbCr:
		var ok bool
		if e.hMax, e.vMax, ok = ratio(m.SubsampleRatio); !ok {
			return fmt.Errorf("jpegenc: a picture with the subsampling %v", m.SubsampleRatio)
		}
		if b.Min.X%e.hMax != 0 || b.Min.Y%e.vMax != 0 {
			return fmt.Errorf("jpegenc: a picture of %v that begins between chroma samples, at %v", m.SubsampleRatio, b.Min)
		}
		e.comps = e.store[:3]
		chroma := m.COffset(b.Min.X, b.Min.Y)
		e.store[0] = component{pix: from(m.Y, m.YOffset(b.Min.X, b.Min.Y)), stride: m.YStride}
		e.store[1] = component{pix: from(m.Cb, chroma), stride: m.CStride}
		e.store[2] = component{pix: from(m.Cr, chroma), stride: m.CStride}
	case *image.RGBA:
		e.pixels = pixels{from(m.Pix, m.PixOffset(b.Min.X, b.Min.Y)), m.Stride}
	case *image.NRGBA:
		e.pixels = pixels{from(m.Pix, m.PixOffset(b.Min.X, b.Min.Y)), m.Stride}
	default:
		return fmt.Errorf("jpegenc: a picture of type %T", m)
	}
	if e.pixels.pix != nil {
		e.comps = e.store[:3]
		e.store = [3]component{}
		if !e.FullChroma {
			e.hMax, e.vMax = 2, 2
		}
		if !holds(e.pixels.pix, e.pixels.stride, 4*e.w, e.h) {
			return errShort
		}
	}
	e.cols, e.rows = ceil(e.w, 8*e.hMax), ceil(e.h, 8*e.vMax)

	stored := 1 // rows of units
	if e.Progressive {
		stored = e.rows
	}
	blocks := 0
	for i := range e.comps {
		c := &e.comps[i]
		c.w, c.h, c.across, c.down = e.w, e.h, e.hMax, e.vMax
		if i > 0 {
			c.w, c.h, c.across, c.down = ceil(e.w, e.hMax), ceil(e.h, e.vMax), 1, 1
			c.table, c.dc = 1, dcChroma<<8
		}
		if e.pixels.pix == nil && !holds(c.pix, c.stride, c.w, c.h) {
			return errShort
		}
		c.cols, c.rows = ceil(c.w, 8), ceil(c.h, 8)
		c.perRow = (e.cols*c.across + 1) &^ 1
		blocks += c.perRow * c.down * stored
	}
	e.blocks, e.masks = sized(e.blocks, blocks), sized(e.masks, blocks)
	at := 0
	for i := range e.comps {
		c := &e.comps[i]
		n := c.perRow * c.down * stored
		c.blocks, c.masks = e.blocks[at:at+n], e.masks[at:at+n]
		at += n
	}
	if e.pixels.pix != nil {
		e.layStrips()
	}
	for i := range e.quantizers[:min(len(e.comps), 2)] {
		t := steps(&baseSteps[i], e.Quality)
		if e.quantizers[i] == nil || t != e.steps[i] {
			e.quantizers[i] = newQuantizer(&t, e.roundUp)
		}
		e.steps[i] = t
	}
	return nil
}

var errShort = errors.New("jpegenc: a picture with less data than its bounds say")

// from is pix[at:], and empty where there is no such place.
func from(pix []uint8, at int) []uint8 {
	if at < 0 || at > len(pix) {
		return []uint8{}
	}
	return pix[at:]
}

// holds reports whether pix has h rows of w bytes.
func holds(pix []uint8, stride, w, h int) bool {
	return h == 1 && len(pix) >= w || stride >= w && len(pix) >= w && (len(pix)-w)/stride >= h-1
}

// ratio is how many samples of luma share one of chroma, across and down.
func ratio(r image.YCbCrSubsampleRatio) (h, v int, ok bool) {
	switch r {
	case image.YCbCrSubsampleRatio444:
		return 1, 1, true
	case image.YCbCrSubsampleRatio422:
		return 2, 1, true
	case image.YCbCrSubsampleRatio420:
		return 2, 2, true
	case image.YCbCrSubsampleRatio440:
		return 1, 2, true
	case image.YCbCrSubsampleRatio411:
		return 4, 1, true
	case image.YCbCrSubsampleRatio410:
		return 4, 2, true
	}
	return 0, 0, false
}

func ceil(n, by int) int { return (n + by - 1) / by }

// sized is a slice of n elements, whatever they are: s if it is large enough.
func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// release lets go of the picture, and of buffers that are too large to keep; e is then for others.
func (e *encoder) release() {
	e.pixels, e.store, e.comps = pixels{}, [3]component{}, nil
	e.bits, e.scan = bitWriter{}, scan{}
	e.tokens = e.tokens[:0]
	if 128*cap(e.blocks) > keptBytes {
		e.blocks, e.masks = nil, nil
	}
	if 4*cap(e.tokens) > keptBytes {
		e.tokens = nil
	}
	if cap(e.out) > keptBytes {
		e.out = nil
	}
	encoders.Put(e)
}

// baseline writes all but the end.
func (e *encoder) baseline(ctx context.Context, dst []byte) ([]byte, error) {
	perRow := 0
	for i := range e.comps {
		perRow += e.cols * e.comps[i].across * e.comps[i].down
	}
	dst = e.start(dst, mSOF0)
	e.begin(scan{comps: e.comps, last: 63})
	if e.StandardCodes {
		for i := range 2 * min(len(e.comps), 2) {
			e.huffman[i] = &standardCodes[i]
		}
		dst = e.announce(dst)
	}
	for row := range e.rows {
		if ctx.Err() != nil {
			return dst, context.Cause(ctx)
		}
		e.transformRow(row, 0)
		e.tokens = slices.Grow(e.tokens, perRow*65+maxBlockTokens)
		e.tokenise(row)
		dst = e.emit(dst, row == e.rows-1)
	}
	return e.bits.flush(dst), nil
}

// begin makes s the scan that tokens are of.
func (e *encoder) begin(s scan) {
	e.scan, e.announced, e.run = s, false, 0
	e.stats, e.huffman, e.tokens = statistics{}, [tables]*huffman{}, e.tokens[:0]
	for i := range e.comps {
		e.comps[i].previous = 0
	}
}

// due reports whether the tokens there are can be written: if their codes are known, if they are the last of
// the scan, or if they are so many that those to come may be taken to be like them.
func (e *encoder) due(last bool) bool {
	return e.announced || last || len(e.tokens) >= e.maxTokens
}

// emit writes the tokens there are if they are due.
func (e *encoder) emit(dst []byte, last bool) []byte {
	if !e.due(last) {
		return dst
	}
	if !e.announced {
		if !last {
			e.allowAll()
		}
		for i := range e.huffman {
			if counts := e.stats.of(i); *counts != [256]uint32{} {
				e.huffman[i] = &e.optimal[i]
				e.huffman[i].optimise(counts)
			}
		}
		dst = e.announce(dst)
		size := uint64(0)
		for i, n := range &e.stats {
			size += uint64(n) * uint64(e.codes[i]&63)
		}
		// Beside it, what follows bytes of ones, about one in 256, and bits that are not counted.
		dst = slices.Grow(dst, int(size/8+size/8/128)+1024)
	}
	dst = e.bits.write(dst, e.tokens, &e.codes)
	e.tokens = e.tokens[:0]
	return dst
}

// announce writes the codes and the header of the scan.
func (e *encoder) announce(dst []byte) []byte {
	e.announced = true
	for i, h := range e.huffman {
		if h != nil {
			dst = h.segment(dst, i)
			h.fill((*[256]code)(e.codes[256*i:]), e.Progressive)
		}
	}
	if e.scan.first > 0 || e.scan.high > 0 {
		for n := range 17 {
			e.codes[raw+token(n)] = code(n)
		}
	}
	return e.scan.segment(dst, e)
}

// allowAll counts each symbol that may still come in the scan once more.
func (e *encoder) allowAll() {
	for i := range e.scan.comps {
		c := &e.scan.comps[i]
		dc, ac := e.stats.of(2*c.table+dcLuma), e.stats.of(2*c.table+acLuma)
		if e.scan.first == 0 && e.scan.high == 0 {
			for size := range 12 {
				dc[size]++
			}
		}
		if e.scan.last == 0 {
			continue
		}
		for run := range 16 {
			for size := range 11 {
				ac[run<<4|size]++
			}
		}
	}
}

// tokenise appends the tokens of one row of units.
func (e *encoder) tokenise(row int) {
	n := len(e.tokens)
	out := e.tokens[:cap(e.tokens)]
	for x := range e.cols {
		for i := range e.comps {
			c := &e.comps[i]
			for v := range c.down {
				if row*c.down+v >= c.rows { // beyond the picture: cheapest as the block before
					for range c.across {
						n += e.values.appendBlock((*[maxBlockTokens]token)(out[n:]), &e.stats, &block{}, 0, 0, c.dc)
					}
					continue
				}
				at := v*c.perRow + x*c.across
				for h := range c.across {
					b, mask, diff := &c.blocks[at+h], c.masks[at+h], 0
					if x*c.across+h < c.cols {
						diff = int(b[0]) - c.previous
						c.previous = int(b[0])
					} else {
						mask = 0
					}
					n += e.values.appendBlock((*[maxBlockTokens]token)(out[n:]), &e.stats, b, mask, diff, c.dc)
				}
			}
		}
	}
	e.tokens = out[:n]
}
