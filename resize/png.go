package resize

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"io"
	"math"

	"github.com/imagecdn/imagecdn/internal/pngdec"
	"github.com/imagecdn/imagecdn/internal/pngenc"
)

func init() {
	Register(Codec{
		Format:      PNG,
		ContentType: "image/png",
		Match:       func(b []byte) bool { return bytes.HasPrefix(b, []byte("\x89PNG\r\n\x1a\n")) },
		Probe:       probeAPNG,
		Decode: func(ctx context.Context, data []byte, o DecodeOptions) (image.Image, error) {
			return pngdec.Decode(ctx, data, &pngdec.Options{Alloc: o.Alloc})
		},
		Encode:   withICCP(encodePNG),
		Frames:   framesOfAPNG,
		Animate:  animatePNG,
		Alpha:    true,
		Profile:  profilePNG,
		Profiles: true,
	})
}

// probePNG reads IHDR, and steps from chunk to chunk for what else matters (PNG, third edition, 5.3).
func probePNG(data []byte) (Info, error) {
	info := Info{Format: PNG, Orientation: 1, Frames: 1}
	first := true
	for b := data[8:]; len(b) >= 8; {
		n, kind := binary.BigEndian.Uint32(b), string(b[4:8])
		b = b[8:]
		if first {
			if kind != "IHDR" || n != 13 || len(b) < 13 {
				break
			}
			w, h := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
			if w > 65535 || h > 65535 {
				return info, fmt.Errorf("%w: PNG of %dx%d pixels", ErrTooLarge, w, h)
			}
			info.Width, info.Height = int(w), int(h)
			info.Alpha = b[9]&4 != 0
			first = false
		}
		if uint64(n)+4 > uint64(len(b)) {
			break // cut off: decoding will say so
		}
		switch kind {
		case "tRNS":
			info.Alpha = true
		case "eXIf":
			info.Orientation = exifOrientation(b[:n])
		case "IEND":
			return info, nil
		}
		b = b[n+4:]
	}
	if first {
		return info, fmt.Errorf("%w: PNG without a header", ErrDamaged)
	}
	return info, nil
}

func encodePNG(ctx context.Context, w io.Writer, m image.Image, o EncodeOptions) error {
	if o.Encoding.DPI > 0 {
		w = &inserter{w, 8 + 25, physical(o.Encoding.DPI)} // after the signature and IHDR
	}
	if o.Encoding.TrueColor {
		px, _ := rgb(m)
		return pngenc.Encode(ctx, w, px)
	}
	if n := o.Encoding.Colors; n > 0 {
		px, _ := rgb(m)
		return pngenc.Encode(ctx, w, quantize(px, n))
	}
	switch m.(type) {
	case *image.RGBA, *image.NRGBA:
		// Drawings and icons have few colours: an exact palette makes their files several times smaller.
		px, _ := rgb(m)
		if p := exactPalette(px, 256); p != nil {
			return pngenc.Encode(ctx, w, p)
		}
	}
	return pngenc.Encode(ctx, w, m)
}

// physical gives the chunk pHYs (PNG, third edition, 11.3.4.3), in pixels per metre.
func physical(dpi int) []byte {
	perMetre := uint32(math.Round(float64(dpi) / 0.0254))
	body := binary.BigEndian.AppendUint32(nil, perMetre)
	body = binary.BigEndian.AppendUint32(body, perMetre)
	return appendPNGChunk(nil, "pHYs", append(body, 1))
}
