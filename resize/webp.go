package resize

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"io"

	webpenc "github.com/gen2brain/webp"
	webpdec "golang.org/x/image/webp"
)

// Encoding is libwebp's, decoding x/image's: it is memory safe, and lossless pictures stay exact, which
// the other's decoder makes 4:2:0.
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

func decodeWebP(ctx context.Context, data []byte, _ DecodeOptions) (image.Image, error) {
	m, err := decodeStillWebP(ctx, data)
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
func decodeStillWebP(ctx context.Context, data []byte) (image.Image, error) {
	m, err := webpdec.Decode(&reader{ctx, data})
	if err != nil {
		return nil, err
	}
	switch m := m.(type) {
	case *image.YCbCr:
		fullRange(m)
		return m, nil
	case *image.NYCbCrA:
		fullRange(&m.YCbCr)
		px, _ := rgb(&m.YCbCr)
		for y := range m.Rect.Dy() {
			for x, a := range m.A[y*m.AStride:][:m.Rect.Dx()] {
				px.Pix[y*px.Stride+4*x+3] = a
			}
		}
		return px, nil
	}
	return m, nil
}

// fullRange stretches the luma and chroma of VP8, which are 16 to 235 and 16 to 240 as in television
// (ITU-R BT.601; RFC 6386, 9.2), to the 0 to 255 of JPEG. image.YCbCr means the latter, and x/image/webp
// hands out the former under its name.
func fullRange(m *image.YCbCr) {
	var luma, chroma [256]uint8
	for i := range 256 {
		luma[i] = uint8(min(max((255*(i-16)*2+219)/(2*219), 0), 255))
		c := 255 * (i - 128) * 2
		if c < 0 {
			c -= 224
		} else {
			c += 224
		}
		chroma[i] = uint8(min(max(c/(2*224)+128, 0), 255))
	}
	for i, v := range m.Y {
		m.Y[i] = luma[v]
	}
	for i, v := range m.Cb {
		m.Cb[i] = chroma[v]
	}
	for i, v := range m.Cr {
		m.Cr[i] = chroma[v]
	}
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
