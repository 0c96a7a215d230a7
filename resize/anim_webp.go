package resize

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
	"time"

	webpenc "github.com/gen2brain/webp"
	webpdec "golang.org/x/image/webp"
)

// Flags of chunks (RFC 9649, 2.7.1).
const (
	vp8xAnimation = 1 << 1
	vp8xAlpha     = 1 << 4

	anmfDispose = 1 << 0 // its rectangle becomes transparent
	anmfReplace = 1 << 1 // it is not drawn over what is there
)

// anmfHeader is the bytes of a frame before its picture.
const anmfHeader = 16

// framesOfWebP reads all headers. Each frame is then decoded as a file of its own. The background colour is left alone, as
// browsers do.
func framesOfWebP(data []byte) (*Frames, error) {
	size := uint64(binary.LittleEndian.Uint32(data[4:])) + 8
	if size > uint64(len(data)) {
		return nil, errCut
	}
	var canvas image.Rectangle
	var parts [][]byte
	var bad error
	f := &Frames{Plays: 1}
	cut := riff(data[12:size], func(kind string, chunk []byte) bool {
		switch {
		case kind == "VP8X" && len(chunk) >= 10:
			canvas = image.Rect(0, 0, u24(chunk[4:])+1, u24(chunk[7:])+1)
		case kind == "ANIM" && len(chunk) >= 6:
			f.Plays = int(binary.LittleEndian.Uint16(chunk[4:]))
		case kind == "ANMF" && len(chunk) < anmfHeader:
			bad = errCut
		case kind == "ANMF":
			at := image.Pt(2*u24(chunk), 2*u24(chunk[3:]))
			h := FrameHeader{
				Rect:    image.Rectangle{Min: at, Max: at.Add(image.Pt(u24(chunk[6:])+1, u24(chunk[9:])+1))},
				Delay:   time.Duration(u24(chunk[12:])) * time.Millisecond,
				Replace: chunk[15]&anmfReplace != 0,
			}
			if chunk[15]&anmfDispose != 0 {
				h.Disposal = ToBackground
			}
			switch size := codedSize(chunk); {
			case !h.Rect.In(canvas):
				bad = fmt.Errorf("frame %d of %v in a canvas of %v", len(parts)+1, h.Rect, canvas.Max)
			case size != h.Rect.Size():
				// The decoder takes memory for what the picture says of itself.
				bad = fmt.Errorf("frame %d of %v has a picture of %v", len(parts)+1, h.Rect.Size(), size)
			}
			f.Headers, parts = append(f.Headers, h), append(parts, chunk)
		}
		return bad == nil
	})
	switch {
	case bad != nil:
		return nil, bad
	case cut:
		return nil, errCut
	}
	f.Decode = func(ctx context.Context, i int) (image.Image, error) {
		still, size := stillOfFrame(parts[i]), f.Headers[i].Rect.Size()
		// The picture has a size of its own, which memory would be taken for.
		c, err := webpdec.DecodeConfig(bytes.NewReader(still))
		switch {
		case err != nil:
			return nil, err
		case image.Pt(c.Width, c.Height) != size:
			return nil, fmt.Errorf("frame %d of %dx%d pixels in a place of %v", i+1, c.Width, c.Height, size)
		}
		return decodeStillWebP(ctx, still, DecodeOptions{Denom: 1})
	}
	return f, nil
}

// codedSize gives the size that the picture of an ANMF chunk says it has (RFC 6386, 9.1, and RFC 9649, 3.4); nothing if there is none.
func codedSize(anmf []byte) (size image.Point) {
	riff(anmf[anmfHeader:], func(kind string, b []byte) bool {
		switch {
		case kind == "VP8 " && len(b) >= 10:
			const scaled = 1<<14 - 1 // below two bits of a wish for a larger picture
			size = image.Pt(int(binary.LittleEndian.Uint16(b[6:]))&scaled, int(binary.LittleEndian.Uint16(b[8:]))&scaled)
		case kind == "VP8L" && len(b) >= 5:
			v := u32(b[1:])
			size = image.Pt(int(v&(1<<14-1))+1, int(v>>14&(1<<14-1))+1)
		}
		return kind != "VP8 " && kind != "VP8L"
	})
	return size
}

// stillOfFrame gives the picture of an ANMF chunk as a file.
func stillOfFrame(anmf []byte) []byte {
	still := []byte("RIFF\x00\x00\x00\x00WEBP")
	riff(anmf[anmfHeader:], func(kind string, chunk []byte) bool {
		switch kind {
		case "ALPH": // which is only read after a VP8X that announces it
			x := append([]byte{vp8xAlpha, 0, 0, 0}, anmf[6:12]...)
			still = appendChunk(still, "VP8X", x)
			still = appendChunk(still, kind, chunk)
		case "VP8 ", "VP8L":
			still = appendChunk(still, kind, chunk)
			return false
		}
		return true
	})
	binary.LittleEndian.PutUint32(still[4:], uint32(len(still)-8))
	return still
}

func appendChunk(b []byte, kind string, chunk ...[]byte) []byte {
	n := 0
	for _, c := range chunk {
		n += len(c)
	}
	b = binary.LittleEndian.AppendUint32(append(b, kind...), uint32(n))
	for _, c := range chunk {
		b = append(b, c...)
	}
	return append(b, make([]byte, n%2)...)
}

func appendU24(b []byte, n int) []byte { return append(b, byte(n), byte(n>>8), byte(n>>16)) }

// A webpAnimator writes frames, of each the part that is new. Nothing is ever disposed of: a part stands in for what was there, or
// is drawn over that where little of it is new. What is lossy is not encoded again before it changes.
type webpAnimator struct {
	ctx    context.Context
	w      io.Writer
	size   image.Point
	plays  int
	o      EncodeOptions
	last   *image.NRGBA // what was added; nil before there is anything
	frames []byte       // ANMF chunks
	alpha  bool
	ticker ticker
	lossy  int // of how many frames to come it is not tried whether they are smaller without loss
}

func animateWebP(ctx context.Context, w io.Writer, size image.Point, plays int, o EncodeOptions) (Animator, error) {
	t := ticker{unit: time.Millisecond, most: 1<<24 - 1}
	return &webpAnimator{ctx: ctx, w: w, size: size, plays: plays, o: o, ticker: t}, nil
}

// Add appends the part of a frame that is new.
func (a *webpAnimator) Add(frame image.Image, delay time.Duration) error {
	if err := context.Cause(a.ctx); err != nil {
		return err
	}
	m, _ := rgb(frame)
	box, flags := m.Rect, byte(anmfReplace)
	picture := frame
	if a.last == nil {
		a.last = image.NewNRGBA(m.Rect)
	} else {
		d := diff(a.last, m)
		if d.box.Empty() {
			d.box = image.Rect(0, 0, 1, 1) // of nothing, drawn over
		}
		box = d.box
		box.Min.X, box.Min.Y = box.Min.X&^1, box.Min.Y&^1 // places are in units of two pixels
		news := part(m, box)
		// Where most of a part is old, leaving that out saves more than its outline costs. Only what is opaque can be drawn over.
		if !d.soft && 4*d.pixels <= box.Dx()*box.Dy() {
			flags = 0
			news = newPixels(part(a.last, box), news)
		}
		picture = opaque(news)
	}
	chunks, err := a.encode(picture)
	if err != nil {
		return err
	}
	if _, solid := rgb(picture); !solid {
		a.alpha = true
	}
	header := make([]byte, 0, anmfHeader)
	for _, n := range []int{box.Min.X / 2, box.Min.Y / 2, box.Dx() - 1, box.Dy() - 1, a.ticker.units(delay)} {
		header = appendU24(header, n)
	}
	a.frames = appendChunk(a.frames, "ANMF", append(header, flags), chunks)
	put(a.last, m, image.Point{})
	return nil
}

// newPixels gives those of b that a has not, and nothing elsewhere.
func newPixels(a, b *image.NRGBA) *image.NRGBA {
	dst := image.NewNRGBA(b.Rect)
	for y := range b.Rect.Dy() {
		p, q, out := a.Pix[y*a.Stride:], b.Pix[y*b.Stride:], dst.Pix[y*dst.Stride:][:dst.Stride]
		for x := 0; x < len(out); x += 4 {
			if q[x+3] != 0 && u32(p[x:]) != u32(q[x:]) {
				copy(out[x:][:4], q[x:])
			}
		}
	}
	return dst
}

// encode gives the chunks of a picture. Drawings, which have few colours, are often smaller without loss; photographs that were a
// GIF have few colours too, and are larger and take four times as long, so that it is tried seldom where it did not pay.
func (a *webpAnimator) encode(m image.Image) ([]byte, error) {
	var b bytes.Buffer
	if err := encodeWebP(a.ctx, &b, m, a.o); err != nil {
		return nil, err
	}
	a.lossy = max(a.lossy-1, 0)
	if px, _ := rgb(m); a.lossy == 0 && exactPalette(px, 256) != nil {
		var exact bytes.Buffer
		if err := webpenc.Encode(&exact, packed(px), webpenc.Options{Lossless: true, Quality: 75, Method: webpenc.DefaultMethod}); err != nil {
			return nil, err
		}
		if exact.Len() <= b.Len() {
			b = exact
		} else {
			a.lossy = 10
		}
	}
	if b.Len() < 12 {
		return nil, errors.New("the encoder gave nothing")
	}
	var chunks []byte
	riff(b.Bytes()[12:], func(kind string, chunk []byte) bool {
		if kind == "ALPH" || kind == "VP8 " || kind == "VP8L" {
			chunks = appendChunk(chunks, kind, chunk)
		}
		return true
	})
	return chunks, nil
}

// Close writes the file, which begins with its length.
func (a *webpAnimator) Close() error {
	flags := byte(vp8xAnimation)
	if a.alpha {
		flags |= vp8xAlpha
	}
	x := appendU24(appendU24([]byte{flags, 0, 0, 0}, a.size.X-1), a.size.Y-1)
	head := appendChunk([]byte("RIFF\x00\x00\x00\x00WEBP"), "VP8X", x)
	anim := binary.LittleEndian.AppendUint16(make([]byte, 4), uint16(min(a.plays, 65535)))
	head = appendChunk(head, "ANIM", anim)
	binary.LittleEndian.PutUint32(head[4:], uint32(len(head)-8+len(a.frames)))
	if _, err := a.w.Write(head); err != nil {
		return err
	}
	_, err := a.w.Write(a.frames)
	return err
}
