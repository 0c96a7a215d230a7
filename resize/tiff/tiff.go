// Package tiff lets package resize read TIFF. Import it for its side effect:
//
//	import _ "github.com/imagecdn/imagecdn/resize/tiff"
//
// It is apart because few sites serve scans and prints, and each format that is read is one more that strangers can send.
//
// It reads the first picture of a file, of 1, 8 or 16 bits a sample: gray, of a palette, or RGB with or without alpha, in strips or
// tiles; stored as it is or by PackBits, LZW, Deflate, or the fax codes of groups 3 and 4. CMYK, JPEG inside, floating point, and the
// raw files of cameras are ErrUnsupported. The size is read, and held to the Renderer's limits, before anything is decoded.
package tiff

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"

	"golang.org/x/image/tiff"

	"github.com/imagecdn/imagecdn/resize"
)

func init() {
	resize.Register(resize.Codec{
		Format:      resize.TIFF,
		ContentType: "image/tiff",
		Match:       match,
		Probe:       probe,
		Decode:      decode,

		PixelBytesOf: pixelBytes,
	})
}

// pixelBytes is for pictures that are one strip, which is in memory twice while it is unpacked.
func pixelBytes(data []byte, _ resize.Info) int {
	c, err := tiff.DecodeConfig(file{context.Background(), data})
	switch {
	case err != nil, c.ColorModel == color.NRGBA64Model, c.ColorModel == color.RGBA64Model, c.ColorModel == color.Gray16Model:
		return 32
	}
	return 16
}

// order gives the order of bytes that data announces; nil if it is no TIFF.
func order(data []byte) binary.ByteOrder {
	if len(data) < 8 {
		return nil
	}
	switch string(data[:4]) {
	case "II*\x00":
		return binary.LittleEndian
	case "MM\x00*":
		return binary.BigEndian
	}
	return nil
}

func match(data []byte) bool { return order(data) != nil }

func probe(data []byte) (resize.Info, error) {
	c, err := tiff.DecodeConfig(file{context.Background(), data})
	if err != nil {
		return resize.Info{}, kind(err)
	}
	if err := checkBlocks(data); err != nil {
		return resize.Info{}, err
	}
	info := resize.Info{Format: resize.TIFF, Width: c.Width, Height: c.Height, Orientation: orientation(data), Frames: 1}
	switch c.ColorModel {
	case color.NRGBAModel, color.NRGBA64Model, color.RGBAModel, color.RGBA64Model:
		info.Alpha = true // or not, where there are three samples: the model is the same
	}
	return info, nil
}

// kind makes an error one of those that Probe gives.
func kind(err error) error {
	if _, ok := errors.AsType[tiff.UnsupportedError](err); ok {
		return fmt.Errorf("%w: %w", resize.ErrUnsupported, err)
	}
	return fmt.Errorf("%w: %w", resize.ErrDamaged, err)
}

func decode(ctx context.Context, data []byte, _ resize.DecodeOptions) (image.Image, error) {
	m, err := tiff.Decode(file{ctx, data})
	if err != nil && ctx.Err() == nil {
		err = kind(err)
	}
	return m, err
}

// orientation reads tag 274 of the first directory. What it says is what EXIF's says, and 0 where it says nothing.
func orientation(data []byte) int {
	const entry, tag = 12, 274
	o := order(data)
	at := uint64(o.Uint32(data[4:]))
	if at+2 > uint64(len(data)) {
		return 0
	}
	b := data[at:]
	for n := o.Uint16(b); n > 0 && len(b) >= 2+entry; n-- {
		if e := b[2:]; o.Uint16(e) == tag {
			return int(o.Uint16(e[8:]))
		}
		b = b[entry:]
	}
	return 0
}

// A file is data until ctx is done.
type file struct {
	ctx  context.Context
	data []byte
}

// ReadAt is what the decoder uses of a file that has it: nothing is copied that is not needed.
func (f file) ReadAt(p []byte, off int64) (int, error) {
	if f.ctx.Err() != nil {
		return 0, context.Cause(f.ctx)
	}
	if off < 0 || off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.data[off:])
	if n < len(p) {
		return n, io.ErrUnexpectedEOF
	}
	return n, nil
}

func (f file) Read([]byte) (int, error) { return 0, errors.New("tiff: read in order") }
