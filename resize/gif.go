package resize

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/gif"
	"io"
	"slices"
	"time"
)

func init() {
	Register(Codec{
		Format:      GIF,
		ContentType: "image/gif",
		Match: func(b []byte) bool {
			return bytes.HasPrefix(b, []byte("GIF87a")) || bytes.HasPrefix(b, []byte("GIF89a"))
		},
		Probe:  probeGIF,
		Decode: decodeGIF,
		Encode: func(_ context.Context, w io.Writer, m image.Image, o EncodeOptions) error {
			px, _ := rgb(m)
			p := quantize(px, o.Encoding.colors())
			return gif.EncodeAll(w, &gif.GIF{Image: []*image.Paletted{p}, Delay: []int{0}})
		},
		Frames:     framesOfGIF,
		Animate:    animateGIF,
		MaxSide:    65535,
		PixelBytes: 6, // an index, and its colour
		Alpha:      true,
	})
}

// Blocks of a GIF file (GIF89a, 12 and following).
const (
	gifExtension = 0x21
	gifImage     = 0x2c
	gifTrailer   = 0x3b

	gifControl     = 0xf9 // extensions
	gifApplication = 0xff
)

func probeGIF(data []byte) (Info, error) {
	info := Info{Format: GIF, Orientation: 1}
	if len(data) < 13 {
		return info, fmt.Errorf("%w: GIF cut off", ErrDamaged)
	}
	info.Width = int(binary.LittleEndian.Uint16(data[6:]))
	info.Height = int(binary.LittleEndian.Uint16(data[8:]))
	walkGIF(data, func(f gifFrame) { // whether it is cut off decoding will say
		info.Frames++
		info.Alpha = info.Alpha || f.alpha
		if info.Frames == 1 && f.rect() != image.Rect(0, 0, info.Width, info.Height) {
			info.Alpha = true // the frame leaves some of the screen open
		}
	})
	return info, nil
}

// A gifFrame is a frame's part of a file: all since the frame before it.
type gifFrame struct {
	data     []byte
	image    []byte // its image descriptor and what follows
	alpha    bool
	delay    uint16 // in hundredths of a second
	disposal byte
	loop     []byte // what a Netscape extension before it says; nil where there is none
}

func (f gifFrame) rect() image.Rectangle {
	n := func(i int) int { return int(binary.LittleEndian.Uint16(f.image[i:])) }
	return image.Rect(n(1), n(3), n(1)+n(5), n(3)+n(7))
}

// walkGIF steps from block to block without looking into them: 34 bytes can ask for four gigabytes. It
// calls each for every frame, and tells whether the data ends within a block. A missing trailer is no harm.
func walkGIF(data []byte, each func(gifFrame)) (cut bool) {
	b, cut := skip(data, 13+colorTable(data[10]))
	f := gifFrame{data: b}
	for len(b) > 0 && !cut {
		switch b[0] {
		case gifExtension:
			switch {
			case len(b) >= 8 && b[1] == gifControl:
				f.alpha = f.alpha || b[3]&1 != 0
				f.disposal, f.delay = b[3]>>2&7, binary.LittleEndian.Uint16(b[4:])
			case len(b) >= 19 && b[1] == gifApplication && string(b[3:14]) == "NETSCAPE2.0" && b[14] == 3 && b[15] == 1:
				f.loop = b[16:18]
			}
			if b, cut = skip(b, 2); !cut {
				b, cut = subBlocks(b)
			}
		case gifImage:
			if len(b) < 10 {
				return true
			}
			f.image = b
			if b, cut = skip(b, 10+colorTable(b[9])+1); !cut {
				b, cut = subBlocks(b)
			}
			f.data = f.data[:len(f.data)-len(b)]
			each(f)
			f = gifFrame{data: b}
		default: // the trailer, or nonsense that viewers take for it
			return false
		}
	}
	return cut
}

func u32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

// colorTable gives the bytes of the colour table that flags announce.
func colorTable(flags byte) int {
	if flags&0x80 == 0 {
		return 0
	}
	return 3 << (flags&7 + 1)
}

// skip gives b without its first n bytes, and whether it had fewer.
func skip(b []byte, n int) (rest []byte, cut bool) {
	return b[min(n, len(b)):], n > len(b)
}

// subBlocks skips blocks up to one that is empty.
func subBlocks(b []byte) (rest []byte, cut bool) {
	for len(b) > 0 && b[0] != 0 {
		b, _ = skip(b, 1+int(b[0]))
	}
	return skip(b, 1)
}

// decodeGIF decodes the first frame, on a screen that is transparent elsewhere.
func decodeGIF(ctx context.Context, data []byte, _ DecodeOptions) (image.Image, error) {
	if walkGIF(data, func(gifFrame) {}) {
		return nil, errCut
	}
	m, err := decodeGIFImage(ctx, data)
	if err != nil {
		return nil, err
	}
	screen := image.Rect(0, 0, int(binary.LittleEndian.Uint16(data[6:])), int(binary.LittleEndian.Uint16(data[8:])))
	if m.Bounds() == screen {
		return m, nil
	}
	if !m.Bounds().In(screen) {
		return nil, errors.New("a frame larger than the screen")
	}
	dst := image.NewNRGBA(screen)
	draw.Draw(dst, m.Bounds(), m, m.Bounds().Min, draw.Src)
	return dst, nil
}

// decodeGIFImage decodes the first image of a file, where there is data enough for it: image/gif takes memory for all of it
// before it looks.
func decodeGIFImage(ctx context.Context, data []byte) (image.Image, error) {
	enough, first := true, true
	walkGIF(data, func(f gifFrame) {
		if first {
			// A code of LZW has two bits at least. What it stands for is a pixel longer than any before, and has 4,096 at most.
			codes := int64(len(f.image)) * 4
			size := f.rect().Size()
			enough, first = int64(size.X)*int64(size.Y) <= codes*min(codes, 4096), false
		}
	})
	if !enough {
		return nil, errCut
	}
	return gif.Decode(&reader{ctx, data})
}

// framesOfGIF reads all headers. Each frame is then decoded as a file of its own.
func framesOfGIF(data []byte) (*Frames, error) {
	screen := image.Rect(0, 0, int(binary.LittleEndian.Uint16(data[6:])), int(binary.LittleEndian.Uint16(data[8:])))
	head := data[:min(13+colorTable(data[10]), len(data))]
	var parts [][]byte
	var outside error
	f := &Frames{Plays: 1}
	cut := walkGIF(data, func(g gifFrame) {
		h := FrameHeader{Rect: g.rect(), Delay: time.Duration(g.delay) * 10 * time.Millisecond}
		switch g.disposal {
		case gif.DisposalBackground:
			h.Disposal = ToBackground // which is transparent, whatever the file says is behind, as in all browsers
		case gif.DisposalPrevious:
			h.Disposal = ToPrevious
		}
		if !h.Rect.In(screen) {
			outside = fmt.Errorf("frame %d of %v in a screen of %v", len(parts)+1, h.Rect, screen.Max)
		}
		if g.loop != nil {
			// It says how often the animation is played again (as gif2webp, and browsers, have it).
			if f.Plays = int(binary.LittleEndian.Uint16(g.loop)); f.Plays > 0 {
				f.Plays++
			}
		}
		f.Headers, parts = append(f.Headers, h), append(parts, g.data)
	})
	switch {
	case cut:
		return nil, errCut
	case outside != nil:
		return nil, outside
	}
	f.Decode = func(ctx context.Context, i int) (image.Image, error) {
		return decodeGIFImage(ctx, slices.Concat(head, parts[i], []byte{gifTrailer}))
	}
	return f, nil
}

// A gifAnimator writes frames that a viewer shows exactly as they were added, but for their colours. It is one frame behind.
type gifAnimator struct {
	colors int // most of a frame
	w      io.Writer
	size   image.Point
	plays  int
	last   *image.NRGBA // what is shown; nil before there is anything

	waiting  *image.Paletted // the last frame that was added
	delay    int             // of waiting, in hundredths of a second
	disposal byte            // of waiting
	begun    bool            // the header is written
	ticker   ticker
}

func animateGIF(_ context.Context, w io.Writer, size image.Point, plays int, o EncodeOptions) (Animator, error) {
	// A delay of 20 ms or more must not become one of 10, which browsers show for 100.
	t := ticker{unit: 10 * time.Millisecond, least: 2, most: 65535}
	return &gifAnimator{w: w, size: size, plays: plays, ticker: t, colors: o.Encoding.colors()}, nil
}

// Add appends the smallest rectangle that holds what changed, drawn over what was there.
func (a *gifAnimator) Add(frame image.Image, delay time.Duration) error {
	m, _ := rgb(frame)
	m, _ = hardAlpha(m)
	box := m.Rect
	if a.last != nil {
		d := diff(a.last, m)
		switch {
		case d.clears:
			// Nothing can be drawn that makes a pixel transparent again; only a frame can be wiped after
			// it was shown, and all of the one before then is.
			a.waiting, a.disposal = quantize(a.last, a.colors), gif.DisposalBackground
		case d.box.Empty():
			box = image.Rect(0, 0, 1, 1)
		default:
			box = d.box
		}
	}
	if err := a.write(); err != nil {
		return err
	}
	p := quantize(part(m, box), a.colors)
	p.Rect = box
	a.waiting, a.delay, a.disposal = p, a.ticker.units(delay), gif.DisposalNone
	if a.last == nil {
		a.last = image.NewNRGBA(m.Rect)
	}
	put(a.last, m, image.Point{})
	return nil
}

// write writes the frame that waits, as a file of one frame has it.
func (a *gifAnimator) write() error {
	if a.waiting == nil {
		return nil
	}
	const header = 13
	var b bytes.Buffer
	err := gif.EncodeAll(&b, &gif.GIF{
		Image: []*image.Paletted{a.waiting}, Delay: []int{a.delay}, Disposal: []byte{a.disposal},
		Config: image.Config{Width: a.size.X, Height: a.size.Y},
	})
	if err != nil {
		return err
	}
	if !a.begun {
		a.begun = true
		if _, err := a.w.Write(b.Bytes()[:header]); err != nil {
			return err
		}
		if a.plays != 1 {
			again := max(min(a.plays-1, 65535), 0)
			ext := append([]byte{gifExtension, gifApplication, 11}, "NETSCAPE2.0\x03\x01"...)
			ext = append(binary.LittleEndian.AppendUint16(ext, uint16(again)), 0)
			if _, err := a.w.Write(ext); err != nil {
				return err
			}
		}
	}
	_, err = a.w.Write(b.Bytes()[header : b.Len()-1])
	return err
}

// Close writes the last frame and the trailer.
func (a *gifAnimator) Close() error {
	if err := a.write(); err != nil {
		return err
	}
	_, err := a.w.Write([]byte{gifTrailer})
	return err
}
