package resize

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"io"

	"github.com/gen2brain/jpegn"

	"github.com/imagecdn/imagecdn/internal/jpegenc"
)

// scaledMargin is how much larger than the output a JPEG is decoded at least, when it is decoded at a
// fraction of its size. These leave 40 dB and more between a resize from there and one from all pixels, on
// the photographs of the tests; each was chosen from the distances at 1, 1.1, 1.25, 1.5 and 2, which for
// 1/8 are 38, 37, 40, 43 and 47 dB, and for 1/2 all beyond 41.
var scaledMargin = map[int]float64{2: 1, 4: 1.1, 8: 1.25}

func init() {
	Register(Codec{
		Format:      JPEG,
		ContentType: "image/jpeg",
		Match:       func(b []byte) bool { return bytes.HasPrefix(b, []byte("\xff\xd8\xff")) },
		Probe: func(data []byte) (Info, error) {
			h, err := readJPEG(data)
			return Info{Format: JPEG, Width: h.w, Height: h.h, Orientation: h.orientation, Frames: 1}, err
		},
		Decode:  decodeJPEG,
		Encode:  encodeJPEG,
		MaxSide: 65535,
	})
}

// jpegHeader is what the segments of a JPEG file before its first scan say (ITU-T T.81 annex B).
type jpegHeader struct {
	w, h        int
	progressive bool
	components  int
	sampling    [4]byte // horizontal and vertical factor of each component
	rgb         bool    // three components that are not YCbCr
	orientation int
}

// Markers of T.81 table B.1.
const (
	mSOF0 = 0xc0
	mSOF2 = 0xc2
	mDHT  = 0xc4
	mRST0 = 0xd0
	mSOI  = 0xd8
	mEOI  = 0xd9
	mSOS  = 0xda
	mAPP0 = 0xe0
	mAPP1 = 0xe1
	mAPPE = 0xee
	mTEM  = 0x01
)

// segments calls f for each marker of a JPEG file with its segment (nil where it has none), in order,
// until f gives false or the data ends. The entropy-coded data after SOS is stepped over.
func segments(data []byte, f func(marker byte, segment []byte) bool) {
	for b := data[2:]; ; {
		// Bytes that are no marker are stepped over, as every decoder does.
		i := bytes.IndexByte(b, 0xff)
		if i < 0 || i+1 >= len(b) {
			return
		}
		marker := b[i+1]
		switch {
		case marker == 0xff: // fill byte
			b = b[i+1:]
			continue
		case marker == 0 || marker == mTEM || marker&^7 == mRST0: // stuffing, or nothing with a length
			b = b[i+2:]
			continue
		case marker == mEOI || marker == mSOI:
			b = b[i+2:]
			if !f(marker, nil) {
				return
			}
			continue
		}
		b = b[i+2:]
		if len(b) < 2 {
			return
		}
		n := int(binary.BigEndian.Uint16(b))
		if n < 2 || n > len(b) {
			return
		}
		if !f(marker, b[2:n]) {
			return
		}
		b = b[n:]
	}
}

// readJPEG reads the header, up to the first scan.
func readJPEG(data []byte) (h jpegHeader, err error) {
	h.orientation = 1
	err = fmt.Errorf("%w: JPEG without a frame header", ErrDamaged)
	var ids [4]byte
	jfif, adobe, transform := false, false, byte(0)
	segments(data, func(marker byte, b []byte) bool {
		switch {
		case marker == mSOS || marker == mEOI:
			return false
		case marker == mAPP0:
			jfif = jfif || bytes.HasPrefix(b, []byte("JFIF\x00"))
		case marker == mAPPE && len(b) >= 12 && bytes.HasPrefix(b, []byte("Adobe")):
			adobe, transform = true, b[11]
		case marker == mAPP1 && bytes.HasPrefix(b, []byte("Exif\x00\x00")):
			h.orientation = exifOrientation(b)
		case marker >= mSOF0 && marker <= 0xcf && marker != mDHT && marker != 0xc8 && marker != 0xcc:
			switch {
			case marker > mSOF2:
				err = fmt.Errorf("%w: JPEG of coding process %d", ErrUnsupported, marker-mSOF0)
				return false
			case len(b) < 6 || len(b) < 6+3*int(b[5]):
				return false
			case b[0] != 8:
				err = fmt.Errorf("%w: JPEG of %d bits", ErrUnsupported, b[0])
				return false
			case b[5] != 1 && b[5] != 3 && b[5] != 4:
				err = fmt.Errorf("%w: JPEG of %d components", ErrUnsupported, b[5])
				return false
			}
			h.progressive = marker == mSOF2
			h.h, h.w = int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:]))
			h.components = int(b[5])
			for i := range h.components {
				ids[i], h.sampling[i] = b[6+3*i], b[7+3*i]
			}
			err = nil
		}
		return true
	})
	// As image/jpeg tells them apart, so that both decoders give the same colours.
	h.rgb = h.components == 3 && !jfif && (adobe && transform == 0 || string(ids[:3]) == "RGB")
	return h, err
}

// scanJPEG counts what follows the header.
func scanJPEG(data []byte) (scans, frames int, ended bool) {
	segments(data, func(marker byte, _ []byte) bool {
		switch {
		case marker == mSOS:
			scans++
		case marker >= mSOF0 && marker <= mSOF2:
			frames++
		case marker == mEOI:
			ended = true
		}
		return !ended
	})
	return scans, frames, ended
}

// checkScans refuses files that would keep a decoder busy for no pixels.
func checkScans(data []byte, most int) error {
	scans, frames, _ := scanJPEG(data)
	switch {
	case frames > 1:
		return fmt.Errorf("%w: JPEG with %d frame headers", ErrDamaged, frames)
	case scans > most:
		return fmt.Errorf("%w: JPEG with %d scans, of at most %d", ErrTooLarge, scans, most)
	}
	return nil
}

// decodeJPEG decodes with jpegn, at 1/denom of the size, or with image/jpeg what jpegn gets wrong or does
// not do: CMYK, RGB, samplings that are rare, and files without an end. jpegn takes missing data for
// zeros; image/jpeg does not.
func decodeJPEG(ctx context.Context, data []byte, denom int) (image.Image, error) {
	h, err := readJPEG(data)
	if err != nil {
		return nil, err
	}
	_, _, ended := scanJPEG(data)
	if ended && h.plain() {
		m, err := jpegn.Decode(bytes.NewReader(data), &jpegn.Options{ScaleDenom: denom})
		if err == nil {
			if denom == 2 {
				for _, p := range planes(m) {
					repairHalf(p)
				}
			}
			return m, nil
		}
	}
	if !ended {
		if h.progressive {
			return nil, errCut // whether scans are missing cannot be told
		}
		// All of the picture may be there nevertheless.
		return jpeg.Decode(io.MultiReader(&reader{ctx, data}, bytes.NewReader([]byte{0xff, mEOI})))
	}
	return jpeg.Decode(&reader{ctx, data})
}

// repairHalf makes a plane that jpegn decoded at half size what it should be. In place of the inverse DCT
// of four points, whose odd rows are √2·(cos π/8, cos 3π/8, …) = 1.3066, 0.5412, jpegn 0.4.2 runs the
// transform of H.264, where they are 1 and 1/2: a blur that costs 6 dB. As both have orthogonal rows of
// the same signs, the differences of opposite samples of a block, d and f, tell what the coefficients were:
//
//	d' =  1.2618·d + 0.0897·f
//	f' = -0.0897·d + 1.2618·f
//
// TestScaledJPEG fails if a later jpegn needs it no more.
func repairHalf(p raster) {
	turn := func(a, b, c, d int32) (int32, int32, int32, int32) { // samples in Q5 or so, weights in Q10
		even, odd, inner := a+d, a-d, b-c
		x := (1292*odd + 92*inner + 512) >> 10
		y := (1292*inner - 92*odd + 512) >> 10
		return (even + x) / 2, (b + c + y) / 2, (b + c - y) / 2, (even - x) / 2
	}
	rows := len(p.pix) / p.stride // to the end of the last blocks
	var block [16]int32
	for y := 0; y+4 <= rows; y += 4 {
		for x := 0; x+4 <= p.stride; x += 4 {
			for i := range 4 {
				px := p.pix[(y+i)*p.stride+x:][:4]
				b := block[4*i:][:4]
				b[0], b[1], b[2], b[3] = turn(int32(px[0])<<5, int32(px[1])<<5, int32(px[2])<<5, int32(px[3])<<5)
			}
			for i := range 4 {
				a, b, c, d := turn(block[i], block[4+i], block[8+i], block[12+i])
				for k, v := range [4]int32{a, b, c, d} {
					p.pix[(y+k)*p.stride+x+i] = uint8(min(max((v+16)>>5, 0), 255))
				}
			}
		}
	}
}

// plain reports whether jpegn decodes the file as image/jpeg does.
func (h jpegHeader) plain() bool {
	if h.components == 1 {
		return true
	}
	if h.components != 3 || h.rgb || h.sampling[1] != 0x11 || h.sampling[2] != 0x11 {
		return false
	}
	switch h.sampling[0] {
	case 0x11, 0x21, 0x12, 0x22, 0x41:
		return true
	}
	return false
}

func encodeJPEG(w io.Writer, m image.Image, quality int) error {
	return jpegenc.Encode(context.Background(), w, m, &jpegenc.Options{Quality: quality})
}
