package pngenc

import (
	"image"
	"image/png"
	"io"
	"math/rand/v2"
	"testing"
)

// BenchmarkEncode is of what looks like a photograph, and like a drawing, to the encoder: soft shapes with noise, and hard ones
// without.
func BenchmarkEncode(b *testing.B) {
	rnd := rand.New(rand.NewPCG(1, 2))
	photo, drawing := image.NewRGBA(image.Rect(0, 0, 1200, 750)), image.NewRGBA(image.Rect(0, 0, 1200, 750))
	for y := range 750 {
		for x := range 1200 {
			i := photo.PixOffset(x, y)
			v := (x*x/1200 + y*y/750) / 12
			photo.Pix[i], photo.Pix[i+1], photo.Pix[i+2], photo.Pix[i+3] = uint8(v+rnd.IntN(3)), uint8(v/2+x/20+rnd.IntN(3)), uint8(200-v/3+rnd.IntN(3)), 255
			v = x/40 ^ y/30
			drawing.Pix[i], drawing.Pix[i+1], drawing.Pix[i+2], drawing.Pix[i+3] = uint8(v*9), uint8(v*5+x/60), uint8(v*31), 255
		}
	}
	for name, m := range map[string]*image.RGBA{"photograph": photo, "drawing": drawing} {
		for by, encode := range map[string]func() error{
			"pngenc":    func() error { return Encode(b.Context(), io.Discard, m) },
			"image-png": func() error { return png.Encode(io.Discard, m) },
		} {
			b.Run("of="+name+"/by="+by, func(b *testing.B) {
				b.SetBytes(int64(len(m.Pix) / 4 * 3))
				b.ReportAllocs()
				for b.Loop() {
					if err := encode(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
