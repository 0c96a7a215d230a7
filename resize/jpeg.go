package resize

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"

	"github.com/imagecdn/imagecdn/internal/jpegdec"
	"github.com/imagecdn/imagecdn/internal/jpegenc"
)

// scaledMargin is how much larger than the output a JPEG is decoded at least, when it is decoded at a fraction of its
// size. From there on SSIM is 0.995 and more against the kernel over all pixels (TestQuality), on 22 photographs of which
// those of an elephant's skin and of stars are the worst; 1.3, 1.6 and 1.8 leave it at 0.994 and more. The inverse DCT of fewer
// points is no low-pass filter: what it leaves out of one block returns as false detail near its highest
// frequency, to be filtered out with what is there. That cannot be put right after: weights by the best linear estimate
// of each pixel, from the samples of all blocks around, change SSIM by 0.001 or less from margins of 1.3 on, up or down.
var scaledMargin = map[int]float64{2: 1.4, 4: 1.7, 8: 1.9}

func init() {
	Register(Codec{
		Format:      JPEG,
		ContentType: "image/jpeg",
		Match:       func(b []byte) bool { return bytes.HasPrefix(b, []byte("\xff\xd8\xff")) },
		Probe: func(data []byte) (Info, error) {
			h, err := readJPEG(data)
			return Info{Format: JPEG, Width: h.w, Height: h.h, Orientation: h.orientation, Frames: 1}, err
		},
		Decode:   decodeJPEG,
		Encode:   withAPP2(encodeJPEG),
		Profile:  profileJPEG,
		Profiles: true,
		MaxSide:  65535,

		EncodeBytes: 6,
	})
}

// jpegHeader is what the segments of a JPEG file before its first scan say (ITU-T T.81 annex B).
type jpegHeader struct {
	w, h        int
	orientation int
	progressive bool
	components  int
	samples     int // of all components, for each four pixels; rounded up
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
	mAPP1 = 0xe1
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
	segments(data, func(marker byte, b []byte) bool {
		switch {
		case marker == mSOS || marker == mEOI:
			return false
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
			h.progressive, h.components = marker == mSOF2, int(b[5])
			h.samples = samplesOf(b[6:][:3*h.components])
			h.h, h.w = int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:]))
			err = nil
		}
		return true
	})
	return h, err
}

// samplesOf gives how many samples four pixels have, by the sampling factors of a frame header's components.
func samplesOf(components []byte) int {
	across, down, sum := 1, 1, 0
	for c := components; len(c) >= 3; c = c[3:] {
		across, down = max(across, int(c[1]>>4)), max(down, int(c[1]&15))
		sum += int(c[1]>>4) * int(c[1]&15)
	}
	return (4*sum + across*down - 1) / (across * down)
}

// maxSegments is how many segments a JPEG may have: metadata of 64 MiB is a thousand, and a scan comes with a table or two.
const maxSegments = 10_000

// checkScans refuses files that would keep a decoder busy for no pixels.
func checkScans(data []byte, most int) error {
	scans, frames, all := 0, 0, 0
	segments(data, func(marker byte, _ []byte) bool {
		all++
		switch {
		case marker == mSOS:
			scans++
		case marker >= mSOF0 && marker <= mSOF2:
			frames++
		}
		return marker != mEOI
	})
	switch {
	case all > maxSegments:
		return fmt.Errorf("%w: JPEG with %d segments, of at most %d", ErrTooLarge, all, maxSegments)
	case frames > 1:
		return fmt.Errorf("%w: JPEG with %d frame headers", ErrDamaged, frames)
	case scans > most:
		return fmt.Errorf("%w: JPEG with %d scans, of at most %d", ErrTooLarge, scans, most)
	}
	return nil
}

// decodeJPEG decodes as small, and as little, as o allows. checkScans has been asked before.
func decodeJPEG(ctx context.Context, data []byte, o DecodeOptions) (image.Image, error) {
	m, err := jpegdec.Decode(ctx, data, &jpegdec.Options{
		Scale:    o.Denom,
		Region:   o.Region,
		MaxScans: -1,
		NoEnd:    true, // all of a picture may be there although the marker of the end is not
		Alloc:    o.Alloc,
	})
	if errors.Is(err, jpegdec.ErrUnsupported) {
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return m, err
}

func encodeJPEG(ctx context.Context, w io.Writer, m image.Image, o EncodeOptions) error {
	if o.Encoding.DPI > 0 {
		w = &densityWriter{Writer: w, dpi: uint16(o.Encoding.DPI)}
	}
	if o.Encoding.Chroma == Chroma422 {
		m = halvedAcross(m)
	}
	return jpegenc.Encode(ctx, w, m, &jpegenc.Options{
		Quality: o.Quality, Progressive: o.Encoding.Progressive, FullChroma: o.Encoding.Chroma == Chroma444,
	})
}

// densityWriter puts a density into the JFIF header that goes through it: in dots per inch (JFIF 1.02, page 5).
type densityWriter struct {
	io.Writer
	dpi  uint16
	seen int // bytes
}

func (w *densityWriter) Write(p []byte) (int, error) {
	const units, end = 13, 18 // SOI, APP0's marker and length, "JFIF\0", a version
	if w.seen < end {
		field := [5]byte{1, byte(w.dpi >> 8), byte(w.dpi), byte(w.dpi >> 8), byte(w.dpi)}
		p = bytes.Clone(p)
		for i := range p {
			if at := w.seen + i; at >= units && at < end {
				p[i] = field[at-units]
			}
		}
	}
	n, err := w.Writer.Write(p)
	w.seen += n
	return n, err
}

// halvedAcross gives m with half of its columns of chroma: 4:2:2. Gray stays gray.
func halvedAcross(m image.Image) image.Image {
	if _, gray := m.(*image.Gray); gray {
		return m
	}
	b := m.Bounds()
	dst := image.NewYCbCr(image.Rectangle{Max: b.Size()}, image.YCbCrSubsampleRatio422)
	full, planar := m.(*image.YCbCr)
	px, _ := rgb(m)
	for y := range b.Dy() {
		var sumB, sumR, n int
		for x := range b.Dx() {
			var l, cb, cr uint8
			if planar && full.SubsampleRatio == image.YCbCrSubsampleRatio444 {
				i := full.YOffset(b.Min.X+x, b.Min.Y+y)
				k := full.COffset(b.Min.X+x, b.Min.Y+y)
				l, cb, cr = full.Y[i], full.Cb[k], full.Cr[k]
			} else {
				p := px.Pix[y*px.Stride+4*x:]
				l, cb, cr = color.RGBToYCbCr(p[0], p[1], p[2])
			}
			dst.Y[y*dst.YStride+x] = l
			sumB, sumR, n = sumB+int(cb), sumR+int(cr), n+1
			if n == 2 || x == b.Dx()-1 {
				dst.Cb[y*dst.CStride+x/2], dst.Cr[y*dst.CStride+x/2] = uint8((sumB+n/2)/n), uint8((sumR+n/2)/n)
				sumB, sumR, n = 0, 0, 0
			}
		}
	}
	return dst
}
