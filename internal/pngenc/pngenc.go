// Package pngenc writes PNG (third edition, W3C Recommendation 2025) of 8 bits a sample, and of 1, 2 and 4 for
// small palettes, not interlaced.
//
//	err := pngenc.Encode(ctx, w, m)
//
// # How
//
// Rows are filtered as the standard recommends, with all five filters tried, in assembly on amd64 with AVX2. What is left of a photograph
// hardly ever repeats: looking for matches takes ten times as long as the rest, and then Huffman codes alone make the
// smaller file, as they are not kept from being short by codes for lengths. So both ways are tried, on strips of the picture of less than 200 KB
// together, and the whole is written in the way that made less of them. On drawings that is by matches. Indices of palettes are
// never filtered, and always matched. So is what has matches and has more of them unfiltered, such as words on a screen.
package pngenc

import (
	"compress/flate"
	"context"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/adler32"
	"hash/crc32"
	"image"
	"image/color"
	"io"
	"sync"

	fast "github.com/klauspost/compress/flate"
)

// The kinds of colour (11.2.1).
const (
	grayscale      = 0
	trueColor      = 2
	indexed        = 3
	trueColorAlpha = 6
)

// Encode writes m, which is one of
//
//	*image.Gray      8 bits of gray
//	*image.RGBA      24 bits of colour; alpha is taken to be 255 everywhere
//	*image.NRGBA     32 bits of colour and alpha
//	*image.Paletted  1, 2, 4 or 8 bits, as many as the palette, of 256 colours at most, needs
//
// and anything else is an error. When ctx is done, its cause is returned after some rows more. w is given pieces of 64 KB
// or less; its errors come as they are.
func Encode(ctx context.Context, w io.Writer, m image.Image) error {
	e := encoders.Get().(*encoder)
	defer e.release()
	if err := e.begin(w, m); err != nil {
		return err
	}
	by := matchesAll
	if e.plain = e.kind == indexed; !e.plain {
		by = e.choose()
	}
	if err := e.rows(ctx, by); err != nil {
		return err
	}
	return e.end()
}

// A way is how rows are compressed.
type way int

const (
	codesAlone way = iota
	matchesFew     // in little time, to find out whether there are matches
	matches
	matchesAll // for indices, of which there are few bytes, and where it makes a fifth of the file

	ways
)

// A compressor writes DEFLATE (RFC 1951).
type compressor interface {
	io.WriteCloser
	Reset(io.Writer)
}

// compressor makes one of a way. The standard library's finds more of the matches, and takes four times as long.
func (w way) compressor() compressor {
	level := 0
	switch w {
	case codesAlone:
		level = fast.HuffmanOnly
	case matchesFew:
		level = 1
	case matches:
		level = 6
	case matchesAll:
		f, _ := flate.NewWriter(io.Discard, flate.DefaultCompression) // errors are of levels that there are not
		return f
	}
	f, _ := fast.NewWriter(io.Discard, level)
	return f
}

// An encoder is the working memory of Encode, kept for the next picture.
type encoder struct {
	filterer
	pix           []byte
	stride        int
	width, height int
	kind, depth   int
	plain         bool // whether rows are not filtered

	compressors [ways]compressor
	sample      []byte
	file        chunks
	sum         hash.Hash32
}

var encoders = sync.Pool{New: func() any {
	return &encoder{sum: adler32.New()}
}}

// begin writes what comes before the pixels.
func (e *encoder) begin(w io.Writer, m image.Image) error {
	b := m.Bounds()
	e.width, e.height = b.Dx(), b.Dy()
	if b.Empty() || int64(e.width) > 1<<31-1 || int64(e.height) > 1<<31-1 {
		return fmt.Errorf("png: a picture of %dx%d pixels", e.width, e.height)
	}
	e.depth = 8
	var plte, trns []byte
	bpp := 1
	switch m := m.(type) {
	case *image.Gray:
		e.kind, e.pix, e.stride = grayscale, m.Pix[m.PixOffset(b.Min.X, b.Min.Y):], m.Stride
	case *image.RGBA:
		e.kind, e.pix, e.stride, bpp = trueColor, m.Pix[m.PixOffset(b.Min.X, b.Min.Y):], m.Stride, 3
	case *image.NRGBA:
		e.kind, e.pix, e.stride, bpp = trueColorAlpha, m.Pix[m.PixOffset(b.Min.X, b.Min.Y):], m.Stride, 4
	case *image.Paletted:
		e.kind, e.pix, e.stride = indexed, m.Pix[m.PixOffset(b.Min.X, b.Min.Y):], m.Stride
		n := len(m.Palette)
		if n == 0 || n > 256 {
			return fmt.Errorf("png: a palette of %d colours", n)
		}
		for e.depth = 1; 1<<e.depth < n; e.depth *= 2 {
		}
		plte, trns = palette(m.Palette)
	default:
		return fmt.Errorf("png: a picture of type %T", m)
	}
	e.filterer.reset((e.width*bpp*e.depth+7)/8, bpp)

	e.file.begin(w)
	e.file.raw("\x89PNG\r\n\x1a\n")
	head := binary.BigEndian.AppendUint32(nil, uint32(e.width))
	head = binary.BigEndian.AppendUint32(head, uint32(e.height))
	e.file.chunk("IHDR", append(head, byte(e.depth), byte(e.kind), 0, 0, 0))
	if plte != nil {
		e.file.chunk("PLTE", plte)
	}
	if trns != nil {
		e.file.chunk("tRNS", trns)
	}
	return e.file.err
}

// palette gives the colours of p, and their alpha up to the last that is not 255.
func palette(p color.Palette) (plte, trns []byte) {
	alphas := 0
	var alpha [256]byte
	for i, c := range p {
		v := color.NRGBAModel.Convert(c).(color.NRGBA)
		plte = append(plte, v.R, v.G, v.B)
		alpha[i] = v.A
		if v.A != 255 {
			alphas = i + 1
		}
	}
	if alphas > 0 {
		trns = alpha[:alphas]
	}
	return plte, trns
}

// load puts row y into the filterer.
func (e *encoder) load(y int) {
	src, dst := e.pix[y*e.stride:], e.now()
	switch {
	case e.kind == trueColor:
		src = src[:4*e.width]
		for ; len(dst) >= 4 && len(src) >= 4; dst, src = dst[3:], src[4:] { // the fourth byte is written over
			binary.LittleEndian.PutUint32(dst, binary.LittleEndian.Uint32(src))
		}
		copy(dst, src[:3])
	case e.depth == 8:
		copy(dst, src[:len(dst)])
	default:
		per := 8 / e.depth
		src = src[:e.width]
		for i := range dst {
			b := byte(0)
			for k := range per {
				b <<= e.depth
				if at := i*per + k; at < len(src) {
					b |= src[at]
				}
			}
			dst[i] = b
		}
	}
}

// filtered gives the row that was loaded, behind its filter. Indices are not filtered: their differences mean nothing.
func (e *encoder) filtered() []byte {
	if e.plain {
		e.try(none)
		return e.tried[none]
	}
	return e.best()
}

// choose tries strips of the picture, from top to bottom. It sets plain where rows are better not filtered: words on
// a screen match as they are, and differ in their differences.
func (e *encoder) choose() way {
	const (
		strips = 6
		size   = 32 << 10 // as far as matches reach
	)
	row := 1 + len(e.now())
	rows := max(size/row, 2)
	apart := e.height / strips
	if rows >= apart {
		rows, apart = min(e.height, strips*rows), e.height
	}
	try := func(ways ...way) (sizes [2]counter) {
		for top := 0; top+rows <= e.height; top += apart {
			e.sample = e.sample[:0]
			clear(e.before)
			for y := top; y < top+rows; y++ {
				e.load(y)
				e.sample = append(e.sample, e.filtered()...)
				e.turn()
			}
			for i, by := range ways {
				e.compress(by, &sizes[i], e.sample)
			}
		}
		clear(e.before)
		return sizes
	}
	filtered := try(codesAlone, matchesFew)
	if filtered[0] <= filtered[1] {
		return codesAlone
	}
	e.plain = true
	if plain := try(matchesFew); plain[0] >= filtered[1] {
		e.plain = false
	}
	return matches
}

// A counter counts what is written to it.
type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

func (e *encoder) compress(by way, to io.Writer, p []byte) {
	f := e.compressor(by, to)
	f.Write(p) // a counter has no errors
	f.Close()
}

// compressor gives the one of a way, writing to to.
func (e *encoder) compressor(by way, to io.Writer) compressor {
	f := e.compressors[by]
	if f == nil {
		f = by.compressor()
		e.compressors[by] = f
	}
	f.Reset(to)
	return f
}

// rows writes the pixels, as a zlib stream (RFC 1950).
func (e *encoder) rows(ctx context.Context, by way) error {
	e.file.Write([]byte{0x78, 0x01})
	e.sum.Reset()
	f := e.compressor(by, &e.file)
	for y := range e.height {
		if y%16 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		e.load(y)
		row := e.filtered()
		e.turn()
		e.sum.Write(row)
		if _, err := f.Write(row); err != nil {
			return err
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	e.file.Write(e.sum.Sum(nil))
	return e.file.err
}

// end writes what comes after the pixels.
func (e *encoder) end() error {
	e.file.flush()
	e.file.chunk("IEND", nil)
	return e.file.err
}

// release forgets the picture and the writer.
func (e *encoder) release() {
	e.pix, e.file.w = nil, nil
	for _, f := range e.compressors {
		if f != nil {
			f.Reset(io.Discard)
		}
	}
	encoders.Put(e)
}

// chunks writes a file. What is written by Write goes into IDAT chunks. After an error it writes nothing.
type chunks struct {
	w    io.Writer
	err  error
	data []byte // a chunk that is not full: its length, its kind, and then data
}

const (
	chunkSize = 64 << 10
	chunkHead = 8
)

func (c *chunks) begin(w io.Writer) {
	c.w, c.err = w, nil
	if c.data == nil {
		c.data = make([]byte, 0, chunkHead+chunkSize+4)
	}
	c.data = append(c.data[:0], "\x00\x00\x00\x00IDAT"...)
}

func (c *chunks) raw(s string) { c.put([]byte(s)) }

func (c *chunks) put(b []byte) {
	if c.err == nil {
		_, c.err = c.w.Write(b)
	}
}

func (c *chunks) chunk(kind string, data []byte) {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	b = append(append(b, kind...), data...)
	c.put(binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:])))
}

func (c *chunks) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && c.err == nil {
		part := min(len(p), chunkHead+chunkSize-len(c.data))
		c.data = append(c.data, p[:part]...)
		p = p[part:]
		if len(c.data) == chunkHead+chunkSize {
			c.flush()
		}
	}
	if c.err != nil {
		return 0, c.err
	}
	return n, nil
}

// flush ends the chunk that is being filled.
func (c *chunks) flush() {
	if len(c.data) == chunkHead {
		return
	}
	binary.BigEndian.PutUint32(c.data, uint32(len(c.data)-chunkHead))
	c.put(binary.BigEndian.AppendUint32(c.data, crc32.ChecksumIEEE(c.data[4:])))
	c.data = c.data[:chunkHead]
}

// grow gives a slice of n elements, in buf when it is large enough.
func grow(buf []byte, n int) []byte {
	if cap(buf) < n {
		return make([]byte, n)
	}
	return buf[:n]
}
