// Package jpegdec decodes JPEG: baseline, extended sequential and progressive, of 8 bits, Huffman coded
// (ITU-T T.81). It reads what image/jpeg reads and gives the same samples, but for the last bit, in a
// fraction of the time, and it can decode at 1/2, 1/4 and 1/8 of the size in less time still.
//
//	m, err := jpegdec.Decode(ctx, data, &jpegdec.Options{Scale: 4})
//
// # How
//
// The entropy-coded data of a scan is freed of its stuffing first, so that 64 bits at once can be loaded
// anywhere in it. A table of 11 bits tells the length of a code, the run before the coefficient and the
// coefficient itself in one look. Blocks of sequential pictures go through the inverse DCT straight into
// the planes; of progressive ones, the coefficients that the scale needs are kept, and one bit for each of
// the others, which is all that later scans ask of them.
//
// The inverse DCT of eight points is, to the bit, that of libjpeg's jidctint.c (C. Loeffler, A. Ligtenberg,
// G. Moschytz, "Practical fast 1-D DCT algorithms with 11 multiplications", ICASSP 1989). Scaled pictures
// are made by inverse DCTs of four, two and one points from as many low frequencies. The kernels in assembly
// give the same samples as those in Go, which the tag purego selects.
//
// # Damage
//
// What image/jpeg refuses is refused: codes that are not in a table, data that ends early, restart markers
// that are missing, a file without an end. What it lets pass, it lets pass: a run beyond the end of a
// block ends the block. There are these differences:
//
//   - Pictures of no pixels and Huffman tables with more codes than their lengths have room for are refused.
//   - A scan whose Huffman tables are not all there is refused at once, also where image/jpeg gets by without them.
//   - A quantization table of which a segment holds the number alone is refused, and not taken for the segment's end.
//   - A picture of one component is read whatever its sampling factors, which T.81 gives no meaning then, and
//     which image/jpeg refuses where one is three.
//   - A non-interleaved scan has as many blocks as T.81 says, and restarts where T.81 says, which image/jpeg
//     has wrong where luma is sampled four times across and chroma twice, and where a component that is
//     sampled more than once is restarted.
//   - Coefficients beyond what 8-bit samples can have come out saturated or wrapped at 16 bits, not at 32.
//   - Scans that the scale needs nothing of, and the rows below the region, are not looked at.
package jpegdec

import (
	"context"
	"errors"
	"fmt"
	"image"
	"sync"
)

// The kinds of errors, always wrapped in one line of what is wrong. Errors of the context come as its cause.
var (
	ErrDamaged      = errors.New("damaged JPEG")
	ErrUnsupported  = errors.New("unsupported JPEG")
	ErrTooManyScans = errors.New("JPEG of too many scans")

	errCut = fmt.Errorf("%w: cut off", ErrDamaged)
)

// Options say what to decode. Nil and zero mean all of the picture at its full size.
type Options struct {
	// Scale is the denominator of the size: 1, 2, 4 or 8. The result has a width and height of the
	// picture's divided by Scale, rounded up. Zero means 1.
	Scale int

	// Chroma is the denominator that chroma is decoded at where that is less than Scale: a picture of 4:2:0
	// at Scale 2 and Chroma 1 comes out as 4:4:4. It is taken as a wish: chroma never comes out larger
	// than luma on either axis. Pictures that are not YCbCr have it as 1. Zero means Scale.
	Chroma int

	// Region is the part to decode, in pixels of the full size. The result covers at least that, and its
	// bounds say what it covers, in pixels of the result. Empty means all.
	Region image.Rectangle

	// NoEnd accepts a file that lacks the marker of its end, if it is sequential and its scans brought all
	// components. Of a progressive one nobody could tell what is missing.
	NoEnd bool

	// MaxScans is how many scans a file may have. Zero means 100. Negative means no limit.
	MaxScans int

	// Alloc gives the memory for a plane of n samples; its contents do not matter. The planes of the result
	// are slices of what it gave. Nil means make.
	Alloc func(n int) []byte
}

// Decode decodes data, which it neither changes nor keeps. The result is one of
//
//	*image.Gray   one component
//	*image.YCbCr  three components, full range
//	*image.RGBA   three components that are RGB, by image/jpeg's rules
//	*image.CMYK   four components, as image/jpeg gives them
//
// and its planes reach to the end of the last blocks. Memory is taken for as many pixels as the header
// says, so callers check that before; two bytes more a sample are taken for progressive pictures. When ctx
// is done, Decode stops within a row of blocks and returns its cause.
func Decode(ctx context.Context, data []byte, o *Options) (image.Image, error) {
	d := decoders.Get().(*decoder)
	defer decoders.Put(d)
	defer d.release()
	return d.decode(ctx, data, o)
}

// decoders keeps tables and buffers from one picture to the next.
var decoders = sync.Pool{New: func() any { return new(decoder) }}

// A decoder is the state of one Decode.
type decoder struct {
	ctx     context.Context
	data    []byte
	p       int // where in data
	options Options

	width, height int
	progressive   bool
	baseline      bool // SOF0, which allows less than SOF1
	components    []component
	comp          [4]component
	mcuX, mcuY    int // MCUs across and down
	region        image.Rectangle
	scans         int

	jfif           bool
	adobe          bool
	adobeTransform byte

	restart int // MCUs between restart markers, or 0
	quant   [4][64]uint16
	huff    [2][4]huffman // DC and AC

	bits   bitReader
	eobRun int // as image/jpeg has it, it lives on from one scan to the next
	block  [128]int16

	// What progressive pictures keep, all components in one.
	coef []int16
	mask []uint64

	observe func(c *component, coef []int16) // for tests: sees all that goes into an inverse DCT
}

// A component is one of the frame's.
type component struct {
	id   byte
	h, v int // samples for each MCU, in blocks
	tq   byte

	points         int // samples of a block on each side, at the scale: 8, 4, 2 or 1
	across, down   int // blocks in all MCUs
	inside, inDown int // blocks that have pixels in them
	region         image.Rectangle
	plane          []byte
	stride         int
	decoded        bool

	quant [64]int16 // in the order of the coefficients
	coef  []int16   // points² for each block
	mask  []uint64  // for each block a bit for each coefficient that is not zero, in zig-zag order
}

// release forgets what belongs to the caller.
func (d *decoder) release() {
	d.ctx, d.data, d.options, d.observe = nil, nil, Options{}, nil
	d.components = nil
	d.comp = [4]component{}
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsupported, fmt.Sprintf(format, args...))
}

func (d *decoder) decode(ctx context.Context, data []byte, o *Options) (image.Image, error) {
	d.ctx, d.data, d.p = ctx, data, 0
	d.options = Options{}
	if o != nil {
		d.options = *o
	}
	if err := d.checkOptions(); err != nil {
		return nil, err
	}
	d.width, d.height, d.scans, d.restart, d.eobRun = 0, 0, 0, 0, 0
	d.progressive, d.baseline, d.jfif, d.adobe, d.adobeTransform = false, false, false, false, 0
	d.quant = [4][64]uint16{}
	for i := range d.huff {
		for j := range d.huff[i] {
			d.huff[i][j].defined = false
		}
	}
	if err := d.segments(); err != nil && !(err == errCut && d.options.NoEnd && d.whole()) {
		return nil, err
	}
	if d.scans == 0 {
		return nil, damaged("no scan")
	}
	if d.progressive {
		if err := d.reconstruct(); err != nil {
			return nil, err
		}
	}
	for i := range d.components {
		if c := &d.components[i]; !c.decoded {
			clear(c.plane) // image/jpeg's value of what no scan gave
		}
	}
	return d.image()
}

// whole reports whether all of a picture is there, in what has been read.
func (d *decoder) whole() bool {
	for i := range d.components {
		if !d.components[i].decoded {
			return false
		}
	}
	return d.scans > 0 && !d.progressive
}

func (d *decoder) checkOptions() error {
	o := &d.options
	if o.Scale == 0 {
		o.Scale = 1
	}
	if o.Chroma == 0 {
		o.Chroma = o.Scale
	}
	for _, n := range []int{o.Scale, o.Chroma} {
		if n != 1 && n != 2 && n != 4 && n != 8 {
			return fmt.Errorf("jpegdec: Options.Scale %d, Options.Chroma %d: want 1, 2, 4 or 8", o.Scale, o.Chroma)
		}
	}
	if o.MaxScans == 0 {
		o.MaxScans = 100
	}
	if o.Alloc == nil {
		o.Alloc = func(n int) []byte { return make([]byte, n) }
	}
	return nil
}

// layOut works out what the frame header and the options lead to, before the first scan.
func (d *decoder) layOut() error {
	o := &d.options
	h0, v0 := d.components[0].h, d.components[0].v
	w, h := 8*h0, 8*v0 // an MCU, in pixels
	d.mcuX, d.mcuY = (d.width+w-1)/w, (d.height+h-1)/h
	d.region = image.Rect(0, 0, d.mcuX, d.mcuY)
	if !o.Region.Empty() {
		r := o.Region.Intersect(image.Rect(0, 0, d.width, d.height))
		if r.Empty() {
			return fmt.Errorf("jpegdec: Options.Region %v is not in the picture of %dx%d", o.Region, d.width, d.height)
		}
		d.region = image.Rect(r.Min.X/w, r.Min.Y/h, (r.Max.X+w-1)/w, (r.Max.Y+h-1)/h)
	}
	for i := range d.components {
		c := &d.components[i]
		denom, least := o.Scale, o.Chroma
		if len(d.components) == 4 || d.isRGB() {
			least = 1 // they are not chroma, and end in pixels of the size that Scale says
		}
		if i == 1 || i == 2 {
			for denom > least && h0*denom/2 >= c.h*o.Scale && v0*denom/2 >= c.v*o.Scale {
				denom /= 2
			}
		}
		c.points = 8 / denom
		c.across, c.down = d.mcuX*c.h, d.mcuY*c.v
		c.inside = (ceilDiv(d.width*c.h, h0) + 7) / 8
		c.inDown = (ceilDiv(d.height*c.v, v0) + 7) / 8
		r := d.region
		c.region = image.Rect(r.Min.X*c.h, r.Min.Y*c.v, r.Max.X*c.h, r.Max.Y*c.v)
		c.stride = c.region.Dx() * c.points
	}
	return nil
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// allocate takes memory for what the frame needs, once there is a scan that has data for it.
func (d *decoder) allocate() error {
	for i := range d.components {
		c := &d.components[i]
		n := c.stride * c.region.Dy() * c.points
		c.plane = d.options.Alloc(n)
		if len(c.plane) < n {
			return fmt.Errorf("jpegdec: Options.Alloc gave %d bytes, of %d", len(c.plane), n)
		}
		c.plane = c.plane[:n:n]
	}
	if !d.progressive {
		return nil
	}
	coefs, blocks := 0, 0
	for i := range d.components {
		c := &d.components[i]
		coefs += c.across * c.down * c.points * c.points
		blocks += c.across * c.down
	}
	if cap(d.coef) < coefs {
		d.coef = make([]int16, coefs)
	}
	if cap(d.mask) < blocks {
		d.mask = make([]uint64, blocks)
	}
	d.coef, d.mask = d.coef[:coefs], d.mask[:blocks]
	clear(d.coef)
	clear(d.mask)
	coefs, blocks = 0, 0
	for i := range d.components {
		c := &d.components[i]
		n := c.across * c.down
		c.coef, coefs = d.coef[coefs:][:n*c.points*c.points], coefs+n*c.points*c.points
		c.mask, blocks = d.mask[blocks:][:n], blocks+n
	}
	return nil
}
