package resize

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"math/bits"
)

func init() {
	Register(Codec{
		Format:      ICO,
		ContentType: "image/vnd.microsoft.icon",
		Match: func(b []byte) bool {
			// Four bytes tell little. The first entry's place tells more: it is after all entries.
			return len(b) >= 22 && b[0] == 0 && b[1] == 0 && (b[2] == 1 || b[2] == 2) && b[3] == 0 &&
				u32(b[18:]) >= 6+16*uint32(binary.LittleEndian.Uint16(b[4:])) && binary.LittleEndian.Uint16(b[4:]) > 0
		},
		Probe: func(data []byte) (Info, error) {
			i, err := largestIcon(data)
			return Info{Format: ICO, Width: i.w, Height: i.h, Orientation: 1, Frames: 1, Alpha: true}, err
		},
		Decode: decodeICO,
	})
}

// An icon is one picture of a file.
type icon struct {
	data []byte
	png  bool
	dib  dib
	w, h int
	bits int // for a pixel
}

// A dib is the header of a device-independent bitmap, a BMP file without its own header.
type dib struct {
	size     int // of the header
	colors   int // of the table
	topDown  bool
	masks    [4]uint32 // of red, green, blue and alpha in 16 and 32 bits
	hasMasks bool      // the header is followed by them
}

// maxIcons is how many pictures of a file are looked at: an icon has one for each of a dozen sizes, in a few depths.
const maxIcons = 256

// largestIcon gives the picture with the most pixels, and of these the one with the most colours. What directories say of sizes
// is not looked at, as many are wrong; the pictures themselves know.
func largestIcon(data []byte) (best icon, err error) {
	n := int(binary.LittleEndian.Uint16(data[4:]))
	if n > maxIcons {
		return icon{}, fmt.Errorf("%w: ICO of %d pictures, of at most %d", ErrTooLarge, n, maxIcons)
	}
	err = fmt.Errorf("%w: ICO cut off", ErrDamaged)
	found := false
	for e := data[6:]; n > 0 && len(e) >= 16; e, n = e[16:], n-1 {
		size, at := uint64(u32(e[8:])), uint64(u32(e[12:]))
		if at >= uint64(len(data)) || at+size > uint64(len(data)) {
			continue
		}
		i, errIcon := readIcon(data[at : at+size])
		if errIcon != nil {
			err = errIcon
			continue
		}
		if !found || i.w*i.h > best.w*best.h || i.w*i.h == best.w*best.h && i.bits > best.bits {
			best, found = i, true
		}
	}
	if found {
		return best, nil
	}
	return icon{}, err
}

// readIcon reads the header of one picture.
func readIcon(b []byte) (icon, error) {
	if bytes.HasPrefix(b, []byte(pngSignature)) {
		// No more than the header is read: entries may share their data, and each walk through it would cost as much again.
		w, h, err := sizeOfPNG(b)
		return icon{data: b, png: true, w: w, h: h, bits: 32}, err
	}
	if len(b) < 40 {
		return icon{}, fmt.Errorf("%w: ICO with a picture of %d bytes", ErrDamaged, len(b))
	}
	i := icon{data: b, w: int(int32(u32(b[4:]))), h: int(int32(u32(b[8:]))), bits: int(binary.LittleEndian.Uint16(b[14:]))}
	i.dib.size = int(min(u32(b), 1<<16))
	if i.h < 0 {
		i.h, i.dib.topDown = -i.h, true
	}
	i.h /= 2 // as the mask below is counted, too
	if i.w < 1 || i.w > 65535 || i.h < 1 || i.h > 65535 || i.dib.size < 40 || i.dib.size > len(b) {
		return icon{}, fmt.Errorf("%w: ICO with a picture of %dx%d", ErrDamaged, i.w, i.h)
	}
	const rgb, bitfields = 0, 3
	compression, colors := u32(b[16:]), u32(b[32:])
	switch i.bits {
	case 1, 2, 4, 8:
		i.dib.colors = 1 << i.bits
		if colors > 0 && colors < uint32(i.dib.colors) {
			i.dib.colors = int(colors)
		}
	case 16:
		i.dib.masks = [4]uint32{0x7c00, 0x3e0, 0x1f, 0}
	case 24:
	case 32:
		i.dib.masks = [4]uint32{0xff0000, 0xff00, 0xff, 0xff000000}
	default:
		return icon{}, fmt.Errorf("%w: ICO of %d bits a pixel", ErrUnsupported, i.bits)
	}
	switch {
	case compression == rgb:
	case compression == bitfields && i.bits >= 16 && i.bits != 24:
		n := 3
		if i.dib.size >= 56 { // the masks are part of the header, alpha's too
			n = 4
		} else {
			i.dib.hasMasks = true
		}
		if len(b) < 40+4*n {
			return icon{}, fmt.Errorf("%w: ICO cut off", ErrDamaged)
		}
		i.dib.masks = [4]uint32{}
		for k := range n {
			i.dib.masks[k] = u32(b[40+4*k:])
		}
	default:
		return icon{}, fmt.Errorf("%w: ICO with a bitmap of compression %d", ErrUnsupported, compression)
	}
	return i, nil
}

func decodeICO(ctx context.Context, data []byte, o DecodeOptions) (image.Image, error) {
	i, err := largestIcon(data)
	switch {
	case err != nil:
		return nil, err
	case i.png:
		return codecFor(PNG).Decode(ctx, i.data, DecodeOptions{Denom: 1, Alloc: o.Alloc})
	}
	at := i.dib.size + 4*i.dib.colors
	if i.dib.hasMasks {
		at += 12
	}
	// Rows are of whole words of four bytes, those of the mask too.
	row, maskRow := (i.w*i.bits+31)/32*4, (i.w+31)/32*4
	if len(i.data) < at+row*i.h {
		return nil, errCut
	}
	m := image.NewNRGBA(image.Rect(0, 0, i.w, i.h))
	if i.bits <= 8 {
		err = i.indexed(m, i.data[at:], row)
	} else {
		i.direct(m, i.data[at:], row)
	}
	if err != nil || i.bits == 32 && i.dib.masks[3] != 0 && anyAlpha(m) {
		return m, err // and the mask says the same, for those that know no alpha
	}
	mask := i.data[at+row*i.h:]
	if len(mask) < maskRow*i.h {
		if i.bits < 32 {
			return nil, errCut
		}
		mask = nil // some leave it out with alpha
	}
	for y := range i.h {
		out := m.Pix[i.line(y)*m.Stride:]
		for x := range i.w {
			out[4*x+3] = 255
			// What is inverted rather than covered is shown as nothing.
			if mask != nil && mask[y*maskRow+x/8]>>(7-x%8)&1 == 1 {
				copy(out[4*x:], []uint8{0, 0, 0, 0})
			}
		}
	}
	return m, nil
}

// line gives the row of the picture that is stored in place y.
func (i icon) line(y int) int {
	if i.dib.topDown {
		return y
	}
	return i.h - 1 - y
}

// indexed looks up colours of 1, 2, 4 or 8 bits.
func (i icon) indexed(m *image.NRGBA, b []byte, row int) error {
	table := i.data[i.dib.size:]
	perByte, low := 8/i.bits, byte(1<<i.bits-1)
	for y := range i.h {
		in, out := b[y*row:], m.Pix[i.line(y)*m.Stride:]
		for x := range i.w {
			c := int(in[x/perByte] >> (8 - i.bits*(x%perByte+1)) & low)
			if c >= i.dib.colors {
				return errors.New("a colour beyond the table")
			}
			out[4*x], out[4*x+1], out[4*x+2] = table[4*c+2], table[4*c+1], table[4*c]
		}
	}
	return nil
}

// direct takes colours of 16, 24 or 32 bits.
func (i icon) direct(m *image.NRGBA, b []byte, row int) {
	for y := range i.h {
		in, out := b[y*row:], m.Pix[i.line(y)*m.Stride:]
		for x := range i.w {
			px := out[4*x:][:4]
			var v uint32
			switch i.bits {
			case 16:
				v = uint32(binary.LittleEndian.Uint16(in[2*x:]))
			case 24:
				px[0], px[1], px[2] = in[3*x+2], in[3*x+1], in[3*x]
				continue
			case 32:
				v = u32(in[4*x:])
			}
			for c, mask := range i.dib.masks {
				if mask != 0 {
					shift := bits.TrailingZeros32(mask)
					px[c] = uint8(uint64((v&mask)>>shift) * 255 / uint64(mask>>shift))
				}
			}
		}
	}
}

// anyAlpha reports whether some pixel is not entirely transparent: a picture in which none is has no alpha.
func anyAlpha(m *image.NRGBA) bool {
	for i := 3; i < len(m.Pix); i += 4 {
		if m.Pix[i] != 0 {
			return true
		}
	}
	return false
}
