// Package pngdec decodes PNG (third edition, W3C Recommendation 2025): all that image/png reads, to the same pixels in
// the same types of pictures, in a fraction of the time.
//
//	m, err := pngdec.Decode(ctx, data, nil)
//
// # How
//
// The data of all IDAT chunks is checked and put together. It is inflated a few rows at a time, by tables that
// give two literals in one look, into a buffer that stays in a near cache. From there each row is unfiltered straight into the
// picture: a row of three channels becomes one of four on the way. On amd64 with AVX2 the filter that costs most, Paeth's, and
// Adler-32 are assembly, written by _asm; the Go beside it gives the same bits, and is what the tag purego selects.
//
// # Damage
//
// What image/png refuses is refused: checksums that do not match, chunks out of order, data that is short or
// too long. There is one difference: bytes in the IDAT chunks after the end of the compressed data, which
// image/png takes or not as its buffer happens to end, are passed over.
package pngdec

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"sync"
)

// The kinds of errors, always wrapped in one line of what is wrong. Errors of the context come as its cause.
var (
	ErrDamaged     = errors.New("damaged PNG")
	ErrUnsupported = errors.New("unsupported PNG")

	errCut   = fmt.Errorf("%w: cut off", ErrDamaged)
	errOrder = fmt.Errorf("%w: chunk out of order", ErrDamaged)
	errTRNS  = fmt.Errorf("%w: tRNS that does not fit", ErrDamaged)
	errPLTE  = fmt.Errorf("%w: PLTE that does not fit", ErrDamaged)
	errShort = fmt.Errorf("%w: not enough pixel data", ErrDamaged)
	errLong  = fmt.Errorf("%w: too much pixel data", ErrDamaged)
)

// Options say how to decode. Nil and zero mean the documented default.
type Options struct {
	// Alloc gives the memory for n bytes of samples; its contents do not matter. Those of the result are
	// a slice of what it gave. Nil means make.
	Alloc func(n int) []byte
}

// The kinds of colour (11.2.1).
const (
	grayscale      = 0
	trueColor      = 2
	indexed        = 3
	grayscaleAlpha = 4
	trueColorAlpha = 6
)

// channels are the samples of a pixel, by the kind of colour; zero for kinds that there are not.
var channels = [7]int{grayscale: 1, trueColor: 3, indexed: 1, grayscaleAlpha: 2, trueColorAlpha: 4}

// A stage is how far the chunks have got. They come in this order.
type stage int

const (
	start stage = iota
	seenIHDR
	seenPLTE
	seenTRNS
	seenIDAT
	seenIEND
)

type decoder struct {
	ctx   context.Context
	alloc func(n int) []byte

	width, height int
	depth, kind   int
	interlaced    bool
	bpp           int // bytes to the sample of the same kind before; 1 where there are several pixels in a byte

	palette     color.Palette
	transparent []byte // of tRNS, six bytes at most, for what has no palette

	img image.Image
	pix []byte // of img
	px  int    // bytes of a pixel of img

	*buffers
	raw  []byte // filtered rows, after the window of those before
	from int    // where in raw the first row begins that is not taken yet
	op   int    // where in raw the inflated data ends
	left int    // bytes of rows that are not inflated yet
	sum  adler
}

// buffers is what a decoder needs beside the picture, kept for the next.
type buffers struct {
	inflater
	idat []byte
	out  []byte
	rows [2][]byte // unfiltered rows of what is not unfiltered into the picture
}

var pool = sync.Pool{New: func() any { return new(buffers) }}

// Decode decodes data, which it neither changes nor keeps. The result is of the type that image/png gives:
//
//	*image.Gray, *image.Gray16       gray of up to 8 bits, and of 16
//	*image.RGBA, *image.RGBA64       colour
//	*image.Paletted                  colour by index
//	*image.NRGBA, *image.NRGBA64     all that has alpha, or a colour that is transparent
//
// Memory is the result's, the size of data at most, and some rows'. Sizes are the caller's to check, by the header.
func Decode(ctx context.Context, data []byte, o *Options) (image.Image, error) {
	d := decoder{ctx: ctx, alloc: func(n int) []byte { return make([]byte, n) }}
	if o != nil && o.Alloc != nil {
		d.alloc = o.Alloc
	}
	const signature = "\x89PNG\r\n\x1a\n"
	if len(data) < len(signature) || string(data[:len(signature)]) != signature {
		return nil, fmt.Errorf("%w: no signature", ErrDamaged)
	}
	data = data[len(signature):]
	for at := start; at != seenIEND; {
		kind, chunk, rest, err := next(data)
		if err != nil {
			return nil, err
		}
		switch kind {
		case "IHDR":
			if at != start {
				return nil, errOrder
			}
			at, err = seenIHDR, d.header(chunk)
		case "PLTE":
			if at != seenIHDR {
				return nil, errOrder
			}
			at, err = seenPLTE, d.readPalette(chunk)
		case "tRNS":
			if d.kind == indexed && at != seenPLTE || at != seenIHDR && at != seenPLTE {
				return nil, errOrder
			}
			at, err = seenTRNS, d.readTransparency(chunk)
		case "IDAT":
			if at < seenIHDR || at == seenIHDR && d.kind == indexed {
				return nil, errOrder
			}
			if at < seenIDAT { // later ones bring nothing
				at = seenIDAT
				rest, err = d.decode(data)
			}
		case "IEND":
			if at != seenIDAT {
				return nil, errOrder
			}
			at = seenIEND
			if len(chunk) != 0 {
				err = fmt.Errorf("%w: IEND of %d bytes", ErrDamaged, len(chunk))
			}
		}
		if err != nil {
			return nil, err
		}
		data = rest
	}
	return d.img, nil
}

// next takes a chunk off data.
func next(data []byte) (kind string, chunk, rest []byte, err error) {
	if len(data) < 12 {
		return "", nil, nil, errCut
	}
	n := uint64(binary.BigEndian.Uint32(data))
	if n > uint64(len(data)-12) {
		return "", nil, nil, errCut
	}
	kind, chunk, rest = string(data[4:8]), data[8:8+n], data[12+n:]
	if crc32.ChecksumIEEE(data[4:8+n]) != binary.BigEndian.Uint32(data[8+n:]) {
		return "", nil, nil, fmt.Errorf("%w: checksum of %q", ErrDamaged, kind)
	}
	return kind, chunk, rest, nil
}

func (d *decoder) header(b []byte) error {
	if len(b) != 13 {
		return fmt.Errorf("%w: IHDR of %d bytes", ErrDamaged, len(b))
	}
	w, h := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	d.depth, d.kind = int(b[8]), int(b[9])
	switch {
	case b[10] != 0 || b[11] != 0:
		return fmt.Errorf("%w: compression %d, filters %d", ErrUnsupported, b[10], b[11])
	case b[12] > 1:
		return fmt.Errorf("%w: interlace %d", ErrDamaged, b[12])
	case w == 0 || h == 0 || w > 1<<31-1 || h > 1<<31-1:
		return fmt.Errorf("%w: %dx%d pixels", ErrDamaged, w, h)
	case uint64(w)*uint64(h) > (1<<(bitsOfInt-1)-1)/8: // of 8 bytes at most
		return fmt.Errorf("%w: %dx%d pixels", ErrUnsupported, w, h)
	}
	d.width, d.height, d.interlaced = int(w), int(h), b[12] == 1
	known := false
	switch d.depth {
	case 1, 2, 4:
		known = d.kind == grayscale || d.kind == indexed
	case 8:
		known = d.kind < len(channels) && channels[d.kind] > 0
	case 16:
		known = d.kind < len(channels) && channels[d.kind] > 0 && d.kind != indexed
	}
	if !known {
		return fmt.Errorf("%w: depth %d of colour %d", ErrUnsupported, d.depth, d.kind)
	}
	d.bpp = max(channels[d.kind]*d.depth/8, 1)
	return nil
}

const bitsOfInt = 32 << (^uint(0) >> 63)

func (d *decoder) readPalette(b []byte) error {
	n := len(b) / 3
	if len(b)%3 != 0 || n == 0 || n > 256 || n > 1<<d.depth {
		return errPLTE
	}
	switch d.kind {
	case trueColor, trueColorAlpha:
		return nil // a wish for those who cannot show all colours
	case indexed:
	default:
		return errPLTE
	}
	d.palette = make(color.Palette, 256)
	for i := range d.palette {
		c := color.RGBA{A: 255} // an index beyond the palette is black
		if i < n {
			c.R, c.G, c.B = b[3*i], b[3*i+1], b[3*i+2]
		}
		d.palette[i] = c
	}
	d.palette = d.palette[:n]
	return nil
}

func (d *decoder) readTransparency(b []byte) error {
	switch d.kind {
	case grayscale:
		if len(b) != 2 {
			return errTRNS
		}
		d.transparent = []byte{b[0], b[1]}
		if d.depth < 8 {
			d.transparent[1] *= levels[d.depth]
		}
		return nil
	case trueColor:
		if len(b) != 6 {
			return errTRNS
		}
		d.transparent = append([]byte(nil), b...)
		return nil
	case indexed:
		if len(b) > 256 {
			return errTRNS
		}
		d.palette = d.palette[:max(len(d.palette), len(b))]
		for i, a := range b {
			c := d.palette[i].(color.RGBA)
			d.palette[i] = color.NRGBA{c.R, c.G, c.B, a}
		}
		return nil
	}
	return errTRNS
}

// levels are what a step of a depth less than 8 is of 255.
var levels = [5]uint8{1: 255, 2: 85, 4: 17}

// decode decodes what data, which begins with an IDAT chunk, has of those one after the other.
func (d *decoder) decode(data []byte) (rest []byte, err error) {
	d.buffers = pool.Get().(*buffers)
	defer pool.Put(d.buffers)
	n := 0
	for b := data; len(b) >= 8 && string(b[4:8]) == "IDAT"; {
		if d.ctx.Err() != nil {
			return nil, context.Cause(d.ctx)
		}
		_, chunk, after, err := next(b)
		if err != nil {
			return nil, err
		}
		n += len(chunk)
		b = after
	}
	d.idat = grow(d.idat, n+inPadding)
	for at := 0; at < n; {
		size := int(binary.BigEndian.Uint32(data))
		at += copy(d.idat[at:], data[8:8+size])
		data = data[12+size:]
	}
	// A zlib stream (RFC 1950): the way of compression and the window, and no dictionary.
	if n < 2 {
		return nil, errShort
	}
	if head := binary.BigEndian.Uint16(d.idat); head>>8&15 != 8 || head>>12 > 7 || head%31 != 0 || head&0x20 != 0 {
		return nil, errInflate
	}
	d.reset(d.idat[2:], n-2)

	passes := adam7[:]
	if !d.interlaced {
		passes = []pass{{0, 0, 1, 1}}
	}
	longest := 0
	for _, p := range passes {
		w, h := p.size(d.width, d.height)
		if w > 0 && h > 0 {
			row, ok := d.rowBytes(w)
			if !ok || row > (1<<(bitsOfInt-1)-1-d.left)/h {
				return nil, fmt.Errorf("%w: %dx%d pixels", ErrUnsupported, d.width, d.height)
			}
			longest = max(longest, row)
			d.left += row * h
		}
	}
	// Deflate brings 258 bytes for two bits at most. So a header that claims much and brings little takes no memory.
	const ratio = 258 * 8 / 2
	if d.left/ratio > n {
		return nil, errShort
	}
	d.newImage()
	d.out = grow(d.out, window+longest+atATime+outSlack)
	d.raw = d.out
	for i := range d.rows {
		d.rows[i] = grow(d.rows[i], longest)
	}
	d.sum = newAdler()
	for _, p := range passes {
		if err := d.pass(p); err != nil {
			return nil, err
		}
	}
	if done, err := d.ended(d.raw[:outSlack+1]); err != nil {
		return nil, err
	} else if !done {
		return nil, errLong
	}
	switch sum := d.inflater.rest(); {
	case len(sum) < 4:
		return nil, errCut
	case binary.BigEndian.Uint32(sum) != d.sum.value():
		return nil, fmt.Errorf("%w: checksum of the pixel data", ErrDamaged)
	}
	return data, nil
}

// atATime is how much is inflated before rows are taken: with the window and the rows of the picture it goes into a cache of
// the second level.
const atATime = 128 << 10

// grow gives a slice of n elements, in buf when it is large enough.
func grow(buf []byte, n int) []byte {
	if cap(buf) < n {
		return make([]byte, n)
	}
	return buf[:n]
}

// rowBytes is the size of a row of w pixels, with its filter.
func (d *decoder) rowBytes(w int) (n int, ok bool) {
	bits := int64(w) * int64(channels[d.kind]*d.depth)
	bytes := 1 + (bits+7)/8
	return int(bytes), bytes == int64(int(bytes))
}

// newImage makes the picture that the header and tRNS say.
func (d *decoder) newImage() {
	r := image.Rect(0, 0, d.width, d.height)
	alpha := d.kind == grayscaleAlpha || d.kind == trueColorAlpha || d.transparent != nil
	d.px = 1
	switch {
	case d.kind == indexed:
	case alpha || d.kind == trueColor:
		d.px = 4
	}
	if d.depth == 16 {
		d.px *= 2
	}
	d.pix = d.alloc(d.width * d.height * d.px)
	stride := d.width * d.px
	switch {
	case d.kind == indexed:
		d.img = &image.Paletted{Pix: d.pix, Stride: stride, Rect: r, Palette: d.palette}
	case d.px == 1:
		d.img = &image.Gray{Pix: d.pix, Stride: stride, Rect: r}
	case d.px == 2:
		d.img = &image.Gray16{Pix: d.pix, Stride: stride, Rect: r}
	case d.px == 4 && alpha:
		d.img = &image.NRGBA{Pix: d.pix, Stride: stride, Rect: r}
	case d.px == 4:
		d.img = &image.RGBA{Pix: d.pix, Stride: stride, Rect: r}
	case alpha:
		d.img = &image.NRGBA64{Pix: d.pix, Stride: stride, Rect: r}
	default:
		d.img = &image.RGBA64{Pix: d.pix, Stride: stride, Rect: r}
	}
}

// A pass is which pixels of the picture it brings: from one, and so far apart.
type pass struct{ x, y, stepX, stepY int }

// adam7 are the passes of an interlaced picture (8.2).
var adam7 = [7]pass{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}}

func (p pass) size(w, h int) (int, int) {
	return (w - p.x + p.stepX - 1) / p.stepX, (h - p.y + p.stepY - 1) / p.stepY
}

// row gives the next n bytes of filtered data, and inflates more where they are not there.
func (d *decoder) row(n int) ([]byte, error) {
	if d.op-d.from < n {
		if d.ctx.Err() != nil {
			return nil, context.Cause(d.ctx)
		}
		if keep := min(d.from, d.op-window); keep > 0 {
			copy(d.raw, d.raw[keep:d.op])
			d.from -= keep
			d.op -= keep
		}
		want := min(d.left, len(d.raw)-outSlack-d.op)
		op, err := d.inflate(d.raw, d.op, d.op+want)
		if err != nil {
			return nil, err
		}
		got := op - d.op
		if got > d.left {
			return nil, errLong
		}
		d.sum.add(d.raw[d.op:op])
		d.left -= got
		d.op = op
		if d.op-d.from < n {
			return nil, errShort
		}
	}
	b := d.raw[d.from:][:n]
	d.from += n
	return b, nil
}

// pass decodes one pass.
func (d *decoder) pass(p pass) error {
	w, h := p.size(d.width, d.height)
	if w <= 0 || h <= 0 {
		return nil
	}
	n, _ := d.rowBytes(w)
	stride := d.width * d.px
	// Rows of eight bits that are not interlaced are unfiltered where they belong.
	direct := !d.interlaced && d.depth == 8 && d.px == d.bpp
	expand := !d.interlaced && d.depth == 8 && d.kind == trueColor && d.transparent == nil
	size := n - 1
	if expand {
		size = 4 * w
	}
	now, before := d.rows[0], d.rows[1]
	if expand || direct {
		now, before = nil, make([]byte, size)
	} else {
		now, before = now[:size], before[:size]
		clear(before)
	}
	wide := []byte(nil)
	if d.interlaced {
		wide = make([]byte, w*d.px)
	}
	for y := range h {
		src, err := d.row(n)
		if err != nil {
			return err
		}
		filter, src := src[0], src[1:]
		if filter > paeth {
			return fmt.Errorf("%w: filter %d", ErrDamaged, filter)
		}
		dst := d.pix[(p.y+y*p.stepY)*stride:][:stride]
		switch {
		case expand:
			unfilter3(dst, src, before, filter)
			before = dst
			continue
		case direct:
			unfilter(dst, src, before, filter, d.bpp)
			before = dst
			if d.kind == indexed {
				d.checkIndices(dst)
			}
			continue
		}
		unfilter(now, src, before, filter, d.bpp)
		if !d.interlaced {
			d.convert(dst, now)
		} else {
			d.convert(wide, now)
			for x, at := 0, p.x*d.px; x < len(wide); x, at = x+d.px, at+p.stepX*d.px {
				copy(dst[at:at+d.px], wide[x:])
			}
		}
		now, before = before, now
	}
	return nil
}

// checkIndices makes the palette as long as row needs it, with black, as image/png does.
func (d *decoder) checkIndices(row []byte) {
	m := d.img.(*image.Paletted)
	if len(m.Palette) == 256 {
		return
	}
	most := uint8(0)
	for _, i := range row {
		most = max(most, i)
	}
	m.Palette = m.Palette[:max(len(m.Palette), int(most)+1)]
}

// convert makes samples of the file those of the picture: len(dst)/d.px pixels.
func (d *decoder) convert(dst, src []byte) {
	switch {
	case d.depth < 8 && d.px == 1:
		step := levels[d.depth]
		if d.kind == indexed {
			step = 1
		}
		unpack(dst, src, d.depth, step)
		if d.kind == indexed {
			d.checkIndices(dst)
		}
	case d.depth < 8:
		w := len(dst) / 4
		gray := dst[3*w:] // where alpha comes last
		unpack(gray, src, d.depth, levels[d.depth])
		grayAlpha(dst, gray, d.transparent[1])
	case d.depth == 8:
		switch {
		case d.px == d.bpp:
			copy(dst, src)
			if d.kind == indexed {
				d.checkIndices(dst)
			}
		case d.kind == grayscale:
			grayAlpha(dst, src, d.transparent[1])
		case d.kind == grayscaleAlpha:
			for ; len(dst) >= 4; dst, src = dst[4:], src[2:] {
				v := src[0]
				dst[0], dst[1], dst[2], dst[3] = v, v, v, src[1]
			}
		default:
			none := [3]byte{}
			if t := d.transparent; t != nil {
				none = [3]byte{t[1], t[3], t[5]}
			}
			for ; len(dst) >= 4; dst, src = dst[4:], src[3:] {
				c := [3]byte(src)
				dst[0], dst[1], dst[2], dst[3] = c[0], c[1], c[2], 255
				if d.transparent != nil && c == none {
					dst[3] = 0
				}
			}
		}
	case d.px == d.bpp:
		copy(dst, src)
	default: // 16 bits to four channels
		of := channels[d.kind]
		for ; len(dst) >= 8; dst, src = dst[8:], src[2*of:] {
			if of < 3 {
				copy(dst, src[:2])
				copy(dst[2:], src[:2])
				copy(dst[4:], src[:2])
			} else {
				copy(dst, src[:6])
			}
			switch {
			case of == 2:
				copy(dst[6:8], src[2:4])
			case d.transparent != nil && string(src[:2*of]) == string(d.transparent):
				dst[6], dst[7] = 0, 0
			default:
				dst[6], dst[7] = 255, 255
			}
		}
	}
}

// grayAlpha makes gray four channels, with no alpha where it is none. gray may be the end of dst.
func grayAlpha(dst, gray []byte, none uint8) {
	for x := 0; len(dst) >= 4; x, dst = x+1, dst[4:] {
		v := gray[x]
		dst[0], dst[1], dst[2], dst[3] = v, v, v, 255
		if v == none {
			dst[3] = 0
		}
	}
}

// unpack makes samples of depth bits bytes, times step.
func unpack(dst, src []byte, depth int, step uint8) {
	per := 8 / depth
	for len(dst) > 0 {
		b := src[0]
		src = src[1:]
		n := min(per, len(dst))
		for i := range n {
			dst[i] = b >> (8 - depth) * step
			b <<= depth
		}
		dst = dst[n:]
	}
}
