package jpegdec

import (
	"bytes"
	"errors"
	"image"
	"image/jpeg"
	"testing"
)

func seed(f *testing.F, add func(data []byte)) {
	for name, data := range testdata(f) {
		if len(data) < 1200 {
			add(data)
			_ = name
		}
	}
	add([]byte("\xff\xd8\xff\xd9"))
}

// FuzzAgainstStd: what image/jpeg decodes is decoded to the same samples, and what it refuses is refused.
func FuzzAgainstStd(f *testing.F) {
	seed(f, func(data []byte) { f.Add(data) })
	f.Fuzz(func(t *testing.T, data []byte) {
		new(agreement).compare(t, data)
	})
}

// FuzzDecode: no options and no data make Decode panic, write beyond the planes, or take more memory than the
// dimensions justify.
func FuzzDecode(f *testing.F) {
	seed(f, func(data []byte) {
		f.Add(data, byte(0), byte(0), byte(0), byte(0))
		f.Add(data, byte(1<<2|2), byte(3), byte(3), byte(20))
	})
	f.Fuzz(func(t *testing.T, data []byte, scales, x, y, side byte) {
		c, err := jpeg.DecodeConfig(bytes.NewReader(data))
		if err != nil || c.Width*c.Height > 1<<18 {
			return
		}
		o := &Options{Scale: 1 << (scales & 3), Chroma: 1 << (scales >> 2 & 3)}
		o.Region = image.Rect(int(x), int(y), int(x)+int(side), int(y)+int(side))
		var ends [][]byte
		o.Alloc = func(n int) []byte {
			if n > 4*(c.Width+64)*(c.Height+64) {
				t.Fatalf("%d bytes for %dx%d", n, c.Width, c.Height)
			}
			b := bytes.Repeat([]byte{0xaa}, n+16)
			ends = append(ends, b[n:])
			return b[:n:n]
		}
		m, err := Decode(t.Context(), data, o)
		for _, end := range ends {
			if !bytes.Equal(end, bytes.Repeat([]byte{0xaa}, 16)) {
				t.Fatal("written beyond a plane")
			}
		}
		if err != nil {
			if m != nil || !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrUnsupported) && !errors.Is(err, ErrTooManyScans) && o.Region.Overlaps(image.Rect(0, 0, c.Width, c.Height)) {
				t.Fatal(m, err)
			}
			return
		}
		for _, p := range planes(t, m) { // every sample that is shown is there
			_ = p.pix[(p.h-1)*p.stride+p.w-1]
		}
		b := m.Bounds()
		m.At(b.Min.X, b.Min.Y)
		m.At(b.Max.X-1, b.Max.Y-1)
	})
}
