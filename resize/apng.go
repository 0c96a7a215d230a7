package resize

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"io"
	"slices"
	"time"

	"github.com/imagecdn/imagecdn/internal/pngenc"
)

const pngSignature = "\x89PNG\r\n\x1a\n"

// pngChunks calls f for each chunk until it gives false, with the data and its checksum. It tells whether the data ends within one.
func pngChunks(data []byte, f func(kind string, body []byte, sum uint32) bool) (cut bool) {
	for b := data[len(pngSignature):]; len(b) > 0; {
		if len(b) < 12 {
			return true
		}
		n := uint64(binary.BigEndian.Uint32(b))
		if n > uint64(len(b)-12) {
			return true
		}
		if !f(string(b[4:8]), b[8:8+n], binary.BigEndian.Uint32(b[8+n:])) {
			return false
		}
		b = b[12+n:]
	}
	return false
}

func pngSum(kind string, body []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE([]byte(kind)), crc32.IEEETable, body)
}

func appendPNGChunk(b []byte, kind string, body []byte) []byte {
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(body))), kind...)
	b = append(b, body...)
	return binary.BigEndian.AppendUint32(b, pngSum(kind, body))
}

// probeAPNG is probePNG, and counts the frames of an animation: of a file with an acTL before its picture (PNG, third
// edition, 11.3.6).
func probeAPNG(data []byte) (Info, error) {
	info, err := probePNG(data)
	if err != nil {
		return info, err
	}
	frames, animated, picture := 0, false, false
	pngChunks(data, func(kind string, _ []byte, _ uint32) bool {
		switch kind {
		case "acTL":
			animated = !picture
		case "IDAT":
			picture = true
		case "fcTL":
			frames++
		}
		return kind != "IEND" && (animated || !picture)
	})
	if animated && frames > 0 {
		info.Frames = frames
		info.Alpha = info.Alpha || frames > 1 // frames may be wiped away
	}
	return info, nil
}

// An apngFrame is where the data of a frame is.
type apngFrame struct {
	w, h uint32
	data []apngData
}

// apngData is the data of an IDAT, or of a fdAT with the number before it.
type apngData struct {
	kind string
	body []byte
	sum  uint32
}

// An apngReader goes through the chunks of an animation in order.
type apngReader struct {
	ihdr, palette, transparent []byte
	announced                  uint32 // frames, by acTL
	animated                   bool
	number                     uint32 // of the next fcTL or fdAT
	picture, pictureEnded      bool   // IDAT has been seen, and something after it
	parts                      []apngFrame
	frames                     Frames
}

// framesOfAPNG reads all headers. Each frame is then decoded as a file of its own. A default image without an fcTL is none of them.
func framesOfAPNG(data []byte) (*Frames, error) {
	var r apngReader
	var err error
	ended := false
	cut := pngChunks(data, func(kind string, body []byte, sum uint32) bool {
		ended = kind == "IEND"
		err = r.chunk(kind, body, sum)
		return err == nil && !ended
	})
	switch {
	case err != nil:
		return nil, err
	case cut || !ended:
		return nil, errCut
	case !r.animated || r.announced != uint32(len(r.parts)):
		return nil, fmt.Errorf("%d frames are announced, and %d are there", r.announced, len(r.parts))
	}
	for i, p := range r.parts {
		if len(p.data) == 0 {
			return nil, fmt.Errorf("frame %d has no data", i+1)
		}
	}
	r.frames.Decode = func(ctx context.Context, i int) (image.Image, error) {
		file, err := r.file(i)
		if err != nil {
			return nil, err
		}
		return codecFor(PNG).Decode(ctx, file, DecodeOptions{Denom: 1, Alloc: func(n int) []byte { return make([]byte, n) }})
	}
	return &r.frames, nil
}

// chunk takes what the next chunk says.
func (r *apngReader) chunk(kind string, body []byte, sum uint32) error {
	if kind != "IDAT" && r.picture {
		r.pictureEnded = true
	}
	switch kind {
	case "IHDR", "acTL", "fcTL", "PLTE", "tRNS":
		if pngSum(kind, body) != sum {
			return fmt.Errorf("the checksum of %s is wrong", kind)
		}
	}
	if r.ihdr == nil && kind != "IHDR" {
		return errors.New("no header")
	}
	switch kind {
	case "IHDR":
		if r.ihdr != nil || len(body) != 13 {
			return errors.New("a header too many, or of a wrong length")
		}
		r.ihdr = body
	case "PLTE":
		r.palette = body
	case "tRNS":
		r.transparent = body
	case "acTL":
		if r.animated || r.picture || len(body) != 8 {
			return errors.New("acTL is not where it belongs")
		}
		// That plays of four milliards are not for ever makes no difference.
		r.animated, r.announced, r.frames.Plays = true, binary.BigEndian.Uint32(body), int(min(binary.BigEndian.Uint32(body[4:]), 1<<30))
	case "IDAT":
		if r.pictureEnded {
			return errors.New("the default image is in two pieces")
		}
		r.picture = true
		if n := len(r.parts); n > 0 { // else it is no frame
			r.parts[n-1].data = append(r.parts[n-1].data, apngData{kind, body, sum})
		}
	case "fcTL":
		return r.control(body)
	case "fdAT":
		if len(body) < 4 || !r.picture || len(r.parts) == 0 {
			return errors.New("fdAT is not where it belongs")
		}
		n := len(r.parts) - 1
		if d := r.parts[n].data; len(d) > 0 && d[0].kind != kind {
			return errors.New("fdAT without fcTL")
		}
		r.parts[n].data = append(r.parts[n].data, apngData{kind, body, sum})
		return r.inOrder(body)
	}
	return nil
}

func (r *apngReader) inOrder(body []byte) error {
	if n := binary.BigEndian.Uint32(body); n != r.number {
		return fmt.Errorf("chunk %d of the animation comes where %d should", n, r.number)
	}
	r.number++
	return nil
}

// control takes an fcTL.
func (r *apngReader) control(b []byte) error {
	if len(b) != 26 || !r.animated {
		return errors.New("fcTL is not where it belongs")
	}
	if err := r.inOrder(b); err != nil {
		return err
	}
	u := func(i int) uint32 { return binary.BigEndian.Uint32(b[i:]) }
	w, h, x, y := u(4), u(8), u(12), u(16)
	full := [2]uint32{binary.BigEndian.Uint32(r.ihdr), binary.BigEndian.Uint32(r.ihdr[4:])}
	n := len(r.parts)
	switch {
	case w == 0 || h == 0 || uint64(x)+uint64(w) > uint64(full[0]) || uint64(y)+uint64(h) > uint64(full[1]):
		return fmt.Errorf("frame %d of %dx%d at %d, %d in a canvas of %dx%d", n+1, w, h, x, y, full[0], full[1])
	case n == 0 && !r.picture && (w != full[0] || h != full[1]):
		return errors.New("the first frame is the default image, and of another size")
	case n > 0 && len(r.parts[n-1].data) == 0:
		return fmt.Errorf("frame %d has no data", n)
	case b[24] > 2 || b[25] > 1:
		return fmt.Errorf("frame %d is disposed of by %d and blended by %d", n+1, b[24], b[25])
	}
	num, den := time.Duration(binary.BigEndian.Uint16(b[20:])), time.Duration(binary.BigEndian.Uint16(b[22:]))
	if den == 0 {
		den = 100
	}
	r.frames.Headers = append(r.frames.Headers, FrameHeader{
		Rect:     image.Rect(int(x), int(y), int(x+w), int(y+h)),
		Delay:    num * time.Second / den,
		Disposal: [3]Disposal{Keep, ToBackground, ToPrevious}[b[24]],
		Replace:  b[25] == 0,
	})
	r.parts = append(r.parts, apngFrame{w: w, h: h})
	return nil
}

// file gives frame i as a picture of its own.
func (r *apngReader) file(i int) ([]byte, error) {
	p := r.parts[i]
	header := slices.Clone(r.ihdr)
	binary.BigEndian.PutUint32(header, p.w)
	binary.BigEndian.PutUint32(header[4:], p.h)
	b := appendPNGChunk([]byte(pngSignature), "IHDR", header)
	if r.palette != nil {
		b = appendPNGChunk(b, "PLTE", r.palette)
	}
	if r.transparent != nil {
		b = appendPNGChunk(b, "tRNS", r.transparent)
	}
	for _, d := range p.data {
		if pngSum(d.kind, d.body) != d.sum {
			return nil, errors.New("the checksum of its data is wrong")
		}
		if d.kind == "fdAT" {
			d.body = d.body[4:]
		}
		b = appendPNGChunk(b, "IDAT", d.body)
	}
	return appendPNGChunk(b, "IEND", nil), nil
}

// An apngAnimator writes frames without loss, of each the part that is new, which takes the place of what was there.
type apngAnimator struct {
	ctx    context.Context
	w      io.Writer
	size   image.Point
	plays  int
	last   *image.NRGBA
	chunks []byte
	frames uint32
	number uint32
	ticker ticker
}

func animatePNG(ctx context.Context, w io.Writer, size image.Point, plays int, _ EncodeOptions) (Animator, error) {
	t := ticker{unit: time.Millisecond, most: 65535}
	return &apngAnimator{ctx: ctx, w: w, size: size, plays: plays, ticker: t}, nil
}

// Add appends the part of a frame that is new.
func (a *apngAnimator) Add(frame image.Image, delay time.Duration) error {
	if err := context.Cause(a.ctx); err != nil {
		return err
	}
	m, _ := rgb(frame)
	box := m.Rect
	if a.last == nil {
		a.last = image.NewNRGBA(m.Rect)
	} else if box = diff(a.last, m).box; box.Empty() {
		box = image.Rect(0, 0, 1, 1)
	}
	put(a.last, m, image.Point{})

	var file bytes.Buffer
	// With alpha whether it needs that or not, as all frames have one header.
	if err := pngenc.Encode(a.ctx, &file, part(m, box)); err != nil {
		return err
	}
	c := binary.BigEndian.AppendUint32(nil, a.number)
	for _, n := range []int{box.Dx(), box.Dy(), box.Min.X, box.Min.Y} {
		c = binary.BigEndian.AppendUint32(c, uint32(n))
	}
	c = binary.BigEndian.AppendUint16(c, uint16(a.ticker.units(delay)))
	c = binary.BigEndian.AppendUint16(c, 1000)
	a.chunks = appendPNGChunk(a.chunks, "fcTL", append(c, 0, 0)) // it stays; it replaces
	a.number++
	pngChunks(file.Bytes(), func(kind string, body []byte, _ uint32) bool {
		switch {
		case kind == "IHDR" && a.frames == 0:
			header := appendPNGChunk([]byte(pngSignature), kind, body)
			a.chunks = append(header, a.chunks...)
		case kind == "IDAT" && a.frames == 0:
			a.chunks = appendPNGChunk(a.chunks, kind, body)
		case kind == "IDAT":
			a.chunks = appendPNGChunk(a.chunks, "fdAT", append(binary.BigEndian.AppendUint32(nil, a.number), body...))
			a.number++
		}
		return true
	})
	a.frames++
	return nil
}

// Close writes the file, whose beginning has the number of its frames.
func (a *apngAnimator) Close() error {
	const header = len(pngSignature) + 12 + 13
	actl := binary.BigEndian.AppendUint32(nil, a.frames)
	actl = binary.BigEndian.AppendUint32(actl, uint32(a.plays))
	for _, b := range [][]byte{a.chunks[:header], appendPNGChunk(nil, "acTL", actl), a.chunks[header:], appendPNGChunk(nil, "IEND", nil)} {
		if _, err := a.w.Write(b); err != nil {
			return err
		}
	}
	return nil
}
