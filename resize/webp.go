package resize

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"

	webpenc "github.com/gen2brain/webp"
	webpdec "golang.org/x/image/webp"

	"github.com/imagecdn/imagecdn/internal/vp8dec"
)

// Encoding is libwebp's. Decoding is our own of what is with loss and x/image's of what is without: both are memory safe, and
// lossless pictures stay exact, which the other's decoder makes 4:2:0.
func init() {
	Register(Codec{
		Format:      WebP,
		ContentType: "image/webp",
		Match: func(b []byte) bool {
			return len(b) >= 16 && string(b[:4]) == "RIFF" && string(b[8:15]) == "WEBPVP8"
		},
		Probe:    probeWebP,
		Decode:   decodeWebP,
		Encode:   withVP8X(encodeWebP),
		Frames:   framesOfWebP,
		Animate:  animateWebP,
		Profile:  profileWebP,
		Profiles: true,
		MaxSide:  16383,
		Alpha:    true,

		PixelBytesOf: pixelBytesOfWebP,
	})
}

// riff calls f for each chunk until it gives false. A chunk that is cut off is not seen, but told of.
func riff(b []byte, f func(kind string, chunk []byte) bool) (cut bool) {
	for len(b) >= 8 {
		n := uint64(binary.LittleEndian.Uint32(b[4:]))
		kind := string(b[:4])
		b = b[8:]
		if n > uint64(len(b)) {
			return true
		}
		if !f(kind, b[:n]) {
			return false
		}
		b = b[min(n+n&1, uint64(len(b))):]
	}
	return len(b) > 0
}

func u24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// probeWebP reads the container (RFC 9649, 2).
func probeWebP(data []byte) (Info, error) {
	info := Info{Format: WebP, Orientation: 1, Frames: 1}
	b := data[12:]
	if string(b[:4]) != "VP8X" {
		c, err := webpdec.DecodeConfig(bytes.NewReader(data))
		if err != nil {
			return info, fmt.Errorf("%w: WebP: %w", ErrDamaged, err)
		}
		info.Width, info.Height = c.Width, c.Height
		// In VP8L, whether alpha is used is the bit after the two sizes of 14 bits.
		info.Alpha = string(b[:4]) == "VP8L" && len(b) > 12 && b[12]&0x10 != 0
		return info, nil
	}
	if len(b) < 18 {
		return info, fmt.Errorf("%w: WebP cut off", ErrDamaged)
	}
	const hasAlpha = 1 << 4
	info.Alpha = b[8]&hasAlpha != 0
	info.Width, info.Height = u24(b[12:])+1, u24(b[15:])+1
	frames := 0
	riff(b, func(kind string, chunk []byte) bool {
		switch kind {
		case "ANMF":
			frames++
			info.Alpha = true // frames need not cover the canvas
		case "EXIF":
			info.Orientation = exifOrientation(chunk)
		}
		return true
	})
	info.Frames = max(frames, 1)
	return info, nil
}

func decodeWebP(ctx context.Context, data []byte, o DecodeOptions) (image.Image, error) {
	m, err := decodeStillWebP(ctx, data, o)
	if err == nil || ctx.Err() != nil {
		return m, err
	}
	f, errFrames := framesOfWebP(data)
	switch {
	case errFrames != nil:
		return nil, errFrames
	case len(f.Headers) == 0:
		return nil, err
	}
	p := newPlayer(f, u24(data[24:])+1, u24(data[27:])+1)
	err = p.advance(ctx)
	return p.canvas, err
}

// decodeStillWebP decodes one picture, with its luma and chroma as JPEG has them.
func decodeStillWebP(ctx context.Context, data []byte, o DecodeOptions) (image.Image, error) {
	l, err := lossyOfWebP(data)
	switch {
	case err != nil:
		return nil, err
	case l.frame == nil:
		return webpdec.Decode(&reader{ctx, data})
	case l.alpha == nil:
		return vp8dec.Decode(ctx, l.frame, &vp8dec.Options{FullRange: true, Region: o.Region, Alloc: o.Alloc})
	}
	alpha, err := decodeALPH(ctx, l.alpha, l.size.X, l.size.Y)
	if err != nil {
		return nil, err
	}
	m, err := vp8dec.Decode(ctx, l.frame, &vp8dec.Options{FullRange: true, Alloc: o.Alloc})
	if err != nil {
		return nil, err
	}
	px, _ := rgb(m)
	for y := range l.size.Y {
		for x, a := range alpha[y*l.size.X:][:l.size.X] {
			px.Pix[y*px.Stride+4*x+3] = a
		}
	}
	return px, nil
}

// A lossyWebP is the chunks of a picture with loss. There is no frame where the picture is without, and only alpha
// where the header of the file has a size.
type lossyWebP struct {
	frame, alpha []byte
	size         image.Point
}

// lossyOfWebP takes the container apart as far as the pixels, by the rules of x/image/webp.
func lossyOfWebP(data []byte) (lossyWebP, error) {
	var l lossyWebP
	size := uint64(binary.LittleEndian.Uint32(data[4:])) + 8
	if size < 12 {
		return l, errCut
	}
	err := errCut
	extended, wantAlpha := false, false
	refuse := func(what string) bool {
		err = errors.New(what)
		return false
	}
	riff(data[12:min(size, uint64(len(data)))], func(kind string, chunk []byte) bool {
		switch kind {
		case "VP8X":
			if extended || len(chunk) != 10 {
				return refuse("a VP8X chunk that does not fit")
			}
			extended, wantAlpha = true, chunk[0]&vp8xAlpha != 0
			l.size = image.Pt(u24(chunk[4:])+1, u24(chunk[7:])+1)
		case "ALPH":
			if !wantAlpha || len(chunk) == 0 {
				return refuse("an ALPH chunk that does not fit")
			}
			l.alpha, wantAlpha = chunk, false
		case "VP8 ":
			w, h, errSize := vp8dec.Size(chunk)
			switch {
			case errSize != nil:
				err = errSize
				return false
			case wantAlpha:
				return refuse("no ALPH chunk")
			case extended && l.size != image.Pt(w, h):
				return refuse(fmt.Sprintf("a picture of %dx%d in a file of %dx%d", w, h, l.size.X, l.size.Y))
			}
			l.frame, err = chunk, nil
			return false
		case "VP8L":
			err = nil
			return false
		}
		return true
	})
	return l, err
}

func encodeWebP(_ context.Context, w io.Writer, m image.Image, o EncodeOptions) error {
	px, solid := rgb(m)
	px = packed(px)
	opts := webpenc.Options{Quality: o.Quality, Lossless: o.Encoding.Lossless, Method: webpenc.DefaultMethod}
	if solid {
		return webpenc.Encode(w, &image.RGBA{Pix: px.Pix, Stride: px.Stride, Rect: px.Rect}, opts)
	}
	return webpenc.Encode(w, px, opts)
}

// packed gives m with no bytes between its rows, which is all that the encoder takes.
func packed(m *image.NRGBA) *image.NRGBA {
	if m.Stride == 4*m.Rect.Dx() {
		return m
	}
	return owned(m)
}

// pixelBytesOfWebP tells what is coded without loss, whose decoder works in the picture itself, from a lossy picture with alpha, of which there are planes and a
// copy.
func pixelBytesOfWebP(data []byte, info Info) int {
	if l, err := lossyOfWebP(data); err == nil && l.frame == nil && info.Frames == 1 {
		return 6
	}
	return 12
}
