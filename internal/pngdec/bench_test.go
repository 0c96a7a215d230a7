package pngdec

import (
	"bytes"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"testing"
)

// photograph is a PNG by image/png of two megapixels that look like one to it: soft shapes, and noise. The variable is for
// figures of a real one.
func photograph(b *testing.B) []byte {
	if name := os.Getenv("PNG"); name != "" {
		data, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		return data
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	m := image.NewRGBA(image.Rect(0, 0, 1600, 1200))
	for y := range 1200 {
		for x := range 1600 {
			px := m.Pix[y*m.Stride+4*x:][:4]
			v := (x*x/1600 + y*y/1200) / 12
			px[0], px[1], px[2], px[3] = uint8(v+rnd.IntN(3)), uint8(v/2+x/20+rnd.IntN(3)), uint8(200-v/3+rnd.IntN(3)), 255
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, m); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}

func BenchmarkDecode(b *testing.B) {
	data := photograph(b)
	c, err := png.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		b.Fatal(err)
	}
	pix := make([]byte, 8*c.Width*c.Height)
	again := &Options{Alloc: func(n int) []byte { return pix[:n] }}
	b.Run("pngdec", func(b *testing.B) {
		b.SetBytes(int64(3 * c.Width * c.Height))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Decode(b.Context(), data, again); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("image-png", func(b *testing.B) {
		b.SetBytes(int64(3 * c.Width * c.Height))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := png.Decode(bytes.NewReader(data)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
