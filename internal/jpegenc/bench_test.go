package jpegenc

import (
	"bytes"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"os"
	"testing"

	xdraw "golang.org/x/image/draw"
)

// photo is a photograph of the samples, w pixels wide, in 4:2:0.
func photo(tb testing.TB, name string, w int) *image.YCbCr {
	tb.Helper()
	var out bytes.Buffer
	if err := jpeg.Encode(&out, photoRGBA(tb, name, w), &jpeg.Options{Quality: 100}); err != nil {
		tb.Fatal(err)
	}
	m, err := jpeg.Decode(&out)
	if err != nil {
		tb.Fatal(err)
	}
	return m.(*image.YCbCr)
}

func photoRGBA(tb testing.TB, name string, w int) *image.RGBA {
	tb.Helper()
	b, err := os.ReadFile("../samples/photos/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	src, _, err := image.Decode(bytes.NewReader(b))
	if err != nil {
		tb.Fatal(err)
	}
	s := src.Bounds().Size()
	dst := image.NewRGBA(image.Rect(0, 0, w, w*s.Y/s.X))
	xdraw.CatmullRom.Scale(dst, dst.Rect, src, src.Bounds(), draw.Src, nil)
	return dst
}

func BenchmarkEncode(b *testing.B) {
	for _, name := range []string{"retina.jpg", "coffee.png"} {
		for _, w := range []int{100, 500, 1200} {
			rgba := photoRGBA(b, name, w)
			for _, m := range []image.Image{photo(b, name, w), rgba} {
				kind := "YCbCr"
				if m == image.Image(rgba) {
					kind = "RGBA"
				}
				run := func(encoder string, f func(dst []byte) []byte) {
					b.Run(fmt.Sprintf("photo=%s/width=%d/kind=%s/encoder=%s", name, w, kind, encoder), func(b *testing.B) {
						b.SetBytes(int64(m.Bounds().Dx() * m.Bounds().Dy()))
						b.ReportAllocs()
						var out []byte
						for b.Loop() {
							out = f(out[:0])
						}
						b.ReportMetric(float64(len(out)), "bytes")
					})
				}
				for _, o := range []struct {
					name string
					Options
				}{{"optimised", Options{Quality: 80}}, {"standard", Options{Quality: 80, StandardCodes: true}},
					{"progressive", Options{Quality: 80, Progressive: true}}} {
					run(o.name, func(dst []byte) []byte {
						out, err := Append(b.Context(), dst, m, &o.Options)
						if err != nil {
							b.Fatal(err)
						}
						return out
					})
				}
				run("image/jpeg", func(dst []byte) []byte {
					out := bytes.NewBuffer(dst)
					if err := jpeg.Encode(out, m, &jpeg.Options{Quality: 80}); err != nil {
						b.Fatal(err)
					}
					return out.Bytes()
				})
			}
		}
	}
}

// BenchmarkEntropy is the part after the transform: tokens of one row of units, and their bytes.
func BenchmarkEntropy(b *testing.B) {
	m := photo(b, "coffee.png", 1200)
	e := newEncoder()
	if err := e.open(m, Options{Quality: 80}); err != nil {
		b.Fatal(err)
	}
	e.begin(scan{comps: e.comps, last: 63})
	for i := range e.huffman {
		e.huffman[i] = &standardCodes[i]
	}
	e.announce(nil)
	e.transformRow(e.rows/2, 0)
	e.tokens = make([]token, 0, 6*65*e.cols+maxBlockTokens)
	b.Run("part=tokens", func(b *testing.B) {
		b.SetBytes(int64(16 * m.Rect.Dx()))
		for b.Loop() {
			e.tokens = e.tokens[:0]
			e.tokenise(e.rows / 2)
		}
		b.ReportMetric(float64(len(e.tokens)), "tokens")
	})
	b.Run("part=bits", func(b *testing.B) {
		b.SetBytes(int64(16 * m.Rect.Dx()))
		var out []byte
		for b.Loop() {
			out = e.bits.write(out[:0], e.tokens, &e.codes)
		}
		b.ReportMetric(float64(len(e.tokens)), "tokens")
		b.ReportMetric(float64(len(out)), "bytes")
	})
}
