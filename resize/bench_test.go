package resize

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/imagecdn/imagecdn/internal/jpegenc"
)

// large is a photograph of six megapixels, made of a smaller one: benchmarks need the size, not the motif.
func large(b *testing.B, format Format) []byte {
	b.Helper()
	src := toNRGBA(pixels(b, Plan{Width: 1363, Height: 1113, Fit: Scale}, sample(b, "retina.jpg")))
	m := image.NewNRGBA(image.Rect(0, 0, 2726, 2226))
	for y := range 2226 {
		for x := range 2726 {
			m.SetNRGBA(x, y, src.NRGBAAt(x%1363, y%1113))
		}
	}
	if format == PNG {
		return encodePixels(b, m)
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, m, &jpeg.Options{Quality: 85}); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}

func BenchmarkRender(b *testing.B) {
	originals := map[Format][]byte{}
	for _, bb := range []struct {
		from, to Format
		plan     Plan
	}{
		{JPEG, JPEG, Plan{Width: 200}},
		{JPEG, JPEG, Plan{Width: 500}},
		{JPEG, JPEG, Plan{Width: 1200}},
		{JPEG, JPEG, Plan{Width: 500, Height: 500, Fit: Cover, Crop: []Crop{Entropy}}},
		{JPEG, WebP, Plan{Width: 500}},
		{JPEG, PNG, Plan{Width: 500}},
		{PNG, JPEG, Plan{Width: 500}},
		{PNG, WebP, Plan{Width: 500}},
		{PNG, PNG, Plan{Width: 500}},
		{PNG, PNG, Plan{Width: 1200}},
		{JPEG, GIF, Plan{Width: 500}},
		{JPEG, JPEG, Plan{Width: 500, Rotate: 10}},
	} {
		if originals[bb.from] == nil {
			originals[bb.from] = large(b, bb.from)
		}
		data := originals[bb.from]
		bb.plan.Format, bb.plan.Quality = bb.to, 80
		b.Run(fmt.Sprintf("from=%s/to=%s/plan=%s", bb.from, bb.to, bb.plan), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			var r Renderer
			for b.Loop() {
				if _, err := r.Render(b.Context(), bb.plan, data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// eighteen is a photograph of eighteen megapixels, 5184x3456 in 4:2:0, enlarged from a smaller one.
func eighteen(b *testing.B, progressive bool) []byte {
	b.Helper()
	r := Renderer{MaxPixels: -1}
	j, err := r.prepare(Plan{Width: 5184, Height: 3456, Fit: Scale, Format: JPEG}, []Input{{Bytes: sample(b, "rocket.jpg")}})
	if err != nil {
		b.Fatal(err)
	}
	defer j.release()
	if err := j.take(b.Context()); err != nil {
		b.Fatal(err)
	}
	m, err := j.compose(b.Context(), j.inputs[0].src)
	if err != nil {
		b.Fatal(err)
	}
	// Noise, as sensors have it, or there would be hardly anything to decode.
	rnd := rand.New(rand.NewPCG(5, 6))
	luma := m.(*image.YCbCr).Y
	for i, v := range luma {
		luma[i] = uint8(min(max(int(v)+rnd.IntN(13)-6, 0), 255))
	}
	out, err := jpegenc.Append(b.Context(), nil, m, &jpegenc.Options{Quality: 85, Progressive: progressive})
	if err != nil {
		b.Fatal(err)
	}
	return out
}

// BenchmarkEightWidths is a page that asks for eight widths of one original together, of which two are worked on at
// a time: with each decoding for itself, and sharing.
func BenchmarkEightWidths(b *testing.B) {
	widths := []int{160, 320, 480, 640, 800, 1080, 1280, 1600}
	for _, progressive := range []bool{false, true} {
		data := eighteen(b, progressive)
		for _, sharing := range []bool{false, true} {
			b.Run(fmt.Sprintf("progressive=%t/shared=%t", progressive, sharing), func(b *testing.B) {
				b.ReportAllocs()
				slots := make(chan struct{}, 2)
				admit := func(context.Context, int64, bool) (func(), error) {
					slots <- struct{}{}
					return func() { <-slots }, nil
				}
				decodes := int64(0)
				for b.Loop() {
					r := Renderer{Admit: admit}
					if sharing {
						r.Pyramids = NewPyramids(nil)
					}
					var group sync.WaitGroup
					for _, w := range widths {
						group.Go(func() {
							plan := Plan{Width: float64(w), Format: JPEG, Quality: 80}
							if _, err := r.RenderInputs(b.Context(), plan, shared("original", data)); err != nil {
								b.Error(err)
							}
						})
					}
					group.Wait()
					if sharing {
						decodes += r.Pyramids.Decodes()
						r.Pyramids.Close()
					}
				}
				b.ReportMetric(float64(len(widths)*b.N)/b.Elapsed().Seconds(), "pictures/s")
				if sharing {
					b.ReportMetric(float64(decodes)/float64(b.N), "decodes/op")
				}
			})
		}
	}
}

// BenchmarkPart decodes what a square from the middle is made of, a ninth of 18 megapixels at their full size, and with all that is
// around it.
func BenchmarkPart(b *testing.B) {
	for _, progressive := range []bool{false, true} {
		data := eighteen(b, progressive)
		r := new(Renderer)
		j, err := r.prepare(Plan{Width: 1000, Rect: &Rect{X: 1728, Y: 1152, W: 1728, H: 1152}}, []Input{{Bytes: data}})
		if err != nil {
			b.Fatal(err)
		}
		for _, part := range []bool{false, true} {
			b.Run(fmt.Sprintf("progressive=%t/part=%t", progressive, part), func(b *testing.B) {
				n := j.need()
				if !part {
					n.region = j.inputs[0].bounds()
				}
				for b.Loop() {
					var a arena
					if _, err := r.decode(b.Context(), data, j.info, n, a.alloc); err != nil {
						b.Fatal(err)
					}
					a.release()
				}
			})
		}
	}
}

// BenchmarkResample is the kernel alone, from 681x556 to 500x408.
func BenchmarkResample(b *testing.B) {
	for _, bb := range []struct {
		name  string
		ch    int
		alpha bool
	}{{"gray", 1, false}, {"rgb", 4, false}, {"alpha", 4, true}} {
		b.Run("kind="+bb.name, func(b *testing.B) {
			src, dst := newRaster(681, 556, bb.ch), newRaster(500, 408, bb.ch)
			src.alpha, dst.alpha = bb.alpha, bb.alpha
			b.SetBytes(int64(len(src.pix)))
			for b.Loop() {
				if err := resample(b.Context(), []raster{dst}, []raster{src}, whole(681), whole(556)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkScale is scale of a photograph of four megapixels, 2400x1680, as JPEG and as PNG have it.
func BenchmarkScale(b *testing.B) {
	const w, h = 2400, 1680
	photo := toNRGBA(pixels(b, Plan{Width: w, Height: h, Fit: Scale}, sample(b, "retina.jpg")))
	luma := image.NewYCbCr(photo.Rect, image.YCbCrSubsampleRatio420)
	for y := range h {
		for x := range w {
			px := photo.NRGBAAt(x, y)
			yy, cb, cr := color.RGBToYCbCr(px.R, px.G, px.B)
			luma.Y[luma.YOffset(x, y)], luma.Cb[luma.COffset(x, y)], luma.Cr[luma.COffset(x, y)] = yy, cb, cr
		}
	}
	veil := image.NewNRGBA(photo.Rect)
	for i, v := range photo.Pix {
		veil.Pix[i] = v
		if i%4 == 3 {
			veil.Pix[i] = uint8(i / 997)
		}
	}
	for _, bb := range []struct {
		name string
		m    image.Image
		size int
	}{
		{"420", luma, w * h * 3 / 2},
		{"rgba", &image.RGBA{Pix: photo.Pix, Stride: photo.Stride, Rect: photo.Rect}, w * h * 4},
		{"nrgba", veil, w * h * 4},
	} {
		for _, width := range []int{200, 500, 1200, 3000} {
			b.Run(fmt.Sprintf("kind=%s/width=%d", bb.name, width), func(b *testing.B) {
				b.SetBytes(int64(bb.size))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := scale(b.Context(), nil, bb.m, whole(w), whole(h), width, width*h/w, bb.name == "420"); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkTurn is what a photograph that was taken upright costs more, at 500x700.
func BenchmarkTurn(b *testing.B) {
	for _, ch := range []int{1, 4} {
		b.Run(fmt.Sprintf("channels=%d", ch), func(b *testing.B) {
			src := newRaster(700, 500, ch)
			b.SetBytes(int64(len(src.pix)))
			for b.Loop() {
				transpose(src)
			}
		})
	}
}
