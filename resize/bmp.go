package resize

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"image"

	"golang.org/x/image/bmp"
)

func init() {
	Register(Codec{
		Format:      BMP,
		ContentType: "image/bmp",
		// The header's size, 40 and more in every file since Windows 3.0, tells BMP from text that
		// begins with BM.
		Match: func(b []byte) bool {
			return len(b) >= 18 && string(b[:2]) == "BM" && b[14] >= 12 && b[15] == 0 && b[16] == 0 && b[17] == 0
		},
		Probe: probeBMP,
		Decode: func(ctx context.Context, data []byte, _ DecodeOptions) (image.Image, error) {
			return bmp.Decode(&reader{ctx, data})
		},
		PixelBytes: 5, // an index, and its colour
	})
}

func probeBMP(data []byte) (Info, error) {
	c, err := bmp.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		if err == bmp.ErrUnsupported {
			return Info{}, fmt.Errorf("%w: BMP of a rare kind", ErrUnsupported)
		}
		return Info{}, fmt.Errorf("%w: BMP: %w", ErrDamaged, err)
	}
	// Nothing is compressed in those that are read: what is too short would take memory for nothing.
	if row := (int64(c.Width)*int64(binary.LittleEndian.Uint16(data[28:])) + 31) / 32 * 4; row*int64(c.Height) > int64(len(data)) {
		return Info{}, fmt.Errorf("%w: BMP cut off", ErrDamaged)
	}
	alpha := len(data) >= 30 && binary.LittleEndian.Uint16(data[28:]) == 32
	return Info{Format: BMP, Width: c.Width, Height: c.Height, Orientation: 1, Frames: 1, Alpha: alpha}, nil
}
