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

		PixelBytesOf: pixelBytesOfPNG,
	})
}

// pixelBytesOfPNG is what a pixel takes as package pngdec gives it, in memory of an arena, of which a fifth may be left over, and as standard does
// where that differs: sixteen bits become eight, and an index a colour.
func pixelBytesOfPNG(data []byte, info Info) int {
	const depth, kind, gray, indexed = 24, 25, 0, 3 // where IHDR has them, and kinds
	deep := data[depth] == 16
	switch {
	case data[kind] == indexed:
		return 2 + 4
	case data[kind] == gray && !info.Alpha && deep:
		return 3 + 1
	case data[kind] == gray && !info.Alpha:
		return 2
	case deep:
		return 10 + 4
	}
	return 5
}

// sizeOfPNG reads IHDR.
func sizeOfPNG(data []byte) (w, h int, err error) {
	const end = 8 + 8 + 13 // of the signature, the chunk's header and its body
	if len(data) < end || string(data[12:16]) != "IHDR" || u32be(data[8:]) != 13 {
		return 0, 0, fmt.Errorf("%w: PNG without a header", ErrDamaged)
	}
	across, down := u32be(data[16:]), u32be(data[20:])
	if across > 65535 || down > 65535 {
		return 0, 0, fmt.Errorf("%w: PNG of %dx%d pixels", ErrTooLarge, across, down)
	}
	return int(across), int(down), nil
}

// maxChunks is how many chunks a PNG may have: those of 64 MiB in pieces of 256 bytes.
const maxChunks = 1 << 18

// probePNG reads IHDR, and steps from chunk to chunk for what else matters (PNG, third edition, 5.3).
func probePNG(data []byte) (info Info, err error) {
	info = Info{Format: PNG, Orientation: 1, Frames: 1}
	if info.Width, info.Height, err = sizeOfPNG(data); err != nil {
		return info, err
	}
	info.Alpha = data[25]&4 != 0
	chunks := 0
	pngChunks(data, func(kind string, body []byte, _ uint32) bool { // that it is cut off decoding will say
		switch kind {
		case "tRNS":
			info.Alpha = true
		case "eXIf":
			info.Orientation = exifOrientation(body)
		}
		chunks++
		return kind != "IEND" && chunks <= maxChunks
	})
	if chunks > maxChunks {
		return info, fmt.Errorf("%w: PNG of more than %d chunks", ErrTooLarge, maxChunks)
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
