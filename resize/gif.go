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
		Encode: func(_ context.Context, w io.Writer, m image.Image, _ EncodeOptions) error {
			px, _ := rgb(m)
			p := quantize(px)
			return gif.EncodeAll(w, &gif.GIF{Image: []*image.Paletted{p}, Delay: []int{0}})
		},
		MaxSide:    65535,
		PixelBytes: 8,
		Alpha:      true,
	})
}

// Blocks of a GIF file (GIF89a, 12 and following).
const (
	gifExtension = 0x21
	gifImage     = 0x2c
	gifControl   = 0xf9
)

func probeGIF(data []byte) (Info, error) {
	info := Info{Format: GIF, Orientation: 1}
	if len(data) < 13 {
		return info, fmt.Errorf("%w: GIF cut off", ErrDamaged)
	}
	info.Width = int(binary.LittleEndian.Uint16(data[6:]))
	info.Height = int(binary.LittleEndian.Uint16(data[8:]))
	info.Frames, info.Alpha, _ = walkGIF(data)
	return info, nil
}

// walkGIF steps from block to block without looking into them: 34 bytes can ask for four gigabytes. It
// counts frames, and tells whether anything may be transparent and whether the data ends within a block.
// A missing trailer is no harm.
func walkGIF(data []byte) (frames int, alpha, cut bool) {
	b, cut := skip(data, 13+colorTable(data[10]))
	for len(b) > 0 && !cut {
		switch b[0] {
		case gifExtension:
			alpha = alpha || len(b) >= 4 && b[1] == gifControl && b[3]&1 != 0
			if b, cut = skip(b, 2); !cut {
				b, cut = subBlocks(b)
			}
		case gifImage:
			if len(b) < 10 {
				return frames, alpha, true
			}
			frames++
			if frames == 1 && (u32(b[1:]) != 0 || u32(b[5:]) != u32(data[6:])) {
				alpha = true // the frame leaves some of the screen open
			}
			if b, cut = skip(b, 10+colorTable(b[9])+1); !cut {
				b, cut = subBlocks(b)
			}
		default: // the trailer, or nonsense that viewers take for it
			return frames, alpha, false
		}
	}
	return frames, alpha, cut
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
	if _, _, cut := walkGIF(data); cut {
		return nil, errCut
	}
	m, err := gif.Decode(&reader{ctx, data})
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

// animate renders every frame of an animated GIF, as viewers show it, and encodes them anew.
func (j *job) animate(ctx context.Context, data []byte) (*Picture, error) {
	var in *gif.GIF
	err := guard("gif", func() (err error) {
		in, err = gif.DecodeAll(&reader{ctx, data})
		return err
	})
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, ErrDamaged):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: gif: %w", ErrDamaged, err)
	}

	size := j.layout.frame
	out := animation{gif.GIF{LoopCount: in.LoopCount, Config: image.Config{Width: size.X, Height: size.Y}}, nil}
	screen := image.NewNRGBA(image.Rect(0, 0, in.Config.Width, in.Config.Height))
	var before *image.NRGBA
	for i, frame := range in.Image {
		if in.Disposal[i] == gif.DisposalPrevious {
			before = owned(screen)
		}
		draw.Draw(screen, frame.Rect, frame, frame.Rect.Min, draw.Over)

		m, err := j.compose(ctx, all(standard(owned(screen))))
		if err != nil {
			return nil, err
		}
		px, _ := rgb(m)
		out.add(px, in.Delay[i])

		switch in.Disposal[i] {
		case gif.DisposalBackground:
			draw.Draw(screen, frame.Rect, image.Transparent, image.Point{}, draw.Src)
		case gif.DisposalPrevious:
			screen = before
		}
	}
	buf := writer{ctx: ctx}
	if err := guard("gif", func() error { return gif.EncodeAll(&buf, &out.GIF) }); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("writing gif: %w", err)
	}
	return &Picture{Bytes: buf.Bytes(), Format: GIF, Width: size.X, Height: size.Y}, nil
}

// An animation is built frame by frame. After each, a viewer shows exactly that frame.
type animation struct {
	gif.GIF
	last *image.NRGBA
}

// add appends a frame: the smallest rectangle that holds what changed, drawn over what was there.
func (a *animation) add(m *image.NRGBA, delay int) {
	m, _ = hardAlpha(m)
	box := m.Rect
	if n := len(a.Image); n > 0 {
		var clears bool
		box, clears = changed(a.last, m)
		if clears {
			// Nothing can be drawn that makes a pixel transparent again; only a frame can be wiped after
			// it was shown, and all of the one before then is.
			a.Image[n-1] = quantize(a.last)
			a.Disposal[n-1] = gif.DisposalBackground
			box = m.Rect
		}
	}
	part := &image.NRGBA{Pix: m.Pix[m.PixOffset(box.Min.X, box.Min.Y):], Stride: m.Stride, Rect: image.Rectangle{Max: box.Size()}}
	p := quantize(part)
	p.Rect = box
	a.Image = append(a.Image, p)
	a.Delay = append(a.Delay, delay)
	a.Disposal = append(a.Disposal, gif.DisposalNone)
	a.last = m
}

// changed gives the smallest rectangle of at least a pixel outside of which a and b are equal, and
// whether b is transparent where a is not.
func changed(a, b *image.NRGBA) (r image.Rectangle, clears bool) {
	for y := range a.Rect.Dy() {
		p, q := a.Pix[y*a.Stride:][:4*a.Rect.Dx()], b.Pix[y*b.Stride:][:4*a.Rect.Dx()]
		if bytes.Equal(p, q) {
			continue
		}
		for x := range a.Rect.Dx() {
			if u32(p[4*x:]) != u32(q[4*x:]) {
				r = r.Union(image.Rect(x, y, x+1, y+1))
				clears = clears || q[4*x+3] == 0
			}
		}
	}
	if r.Empty() {
		r = image.Rect(0, 0, 1, 1)
	}
	return r, clears
}
