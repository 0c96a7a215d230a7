package resize

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"testing"
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
					if _, err := scale(b.Context(), bb.m, whole(w), whole(h), width, width*h/w, bb.name == "420"); err != nil {
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
