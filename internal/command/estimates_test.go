package command

import (
	"bytes"
	"context"
	"flag"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"

	"github.com/imagecdn/imagecdn/internal/samples"
	"github.com/imagecdn/imagecdn/resize"
)

var (
	estimateSide = flag.Int("estimates.side", 0, "how wide the originals of TestEstimatesOfLargePictures are, in pixels; 3000 is the usual number")
	estimateOnly = flag.String("estimates.only", "", "a part of the names that TestEstimatesOfLargePictures is kept to")
)

// What large pictures are said to take before anything is decoded is about what they take: the most that is in use or resident at a time. That counts
// the memory of a system's libraries and of sandboxes, and leaves garbage out, both unlike TestEstimates of package resize.
func TestEstimatesOfLargePictures(t *testing.T) {
	if *estimateSide == 0 {
		t.Skip("takes a minute or two, and a gigabyte: -estimates.side 3000")
	}
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Skip("peaks are read from /proc: ", err)
	}
	w, h := *estimateSide, *estimateSide*2/3
	originals := largeOriginals(t, w, h)
	blur := resize.Stylize{Blur: 100}
	full := resize.Plan{Width: float64(w), Height: float64(h), Fit: resize.Scale}
	with := func(p resize.Plan, f func(*resize.Plan)) resize.Plan { f(&p); return p }
	for _, tt := range []struct {
		from string
		name string
		plan resize.Plan
	}{
		{"4:2:0.jpg", "500", resize.Plan{Width: 500, Format: resize.JPEG}},
		{"4:2:0.jpg", "whole", with(full, func(p *resize.Plan) { p.Format = resize.JPEG })},
		{"4:2:0.jpg", "whole, progressive", with(full, func(p *resize.Plan) { p.Format = resize.JPEG; p.Encoding.Progressive = true })},
		{"4:4:4.jpg", "500", resize.Plan{Width: 500, Format: resize.JPEG}},
		{"4:4:4.jpg", "whole", with(full, func(p *resize.Plan) { p.Format = resize.JPEG })},
		{"progressive.jpg", "whole", with(full, func(p *resize.Plan) { p.Format = resize.JPEG })},
		{"gray.jpg", "whole", with(full, func(p *resize.Plan) { p.Format = resize.JPEG })},
		{"8bit.png", "500", resize.Plan{Width: 500, Format: resize.JPEG}},
		{"8bit.png", "whole", with(full, func(p *resize.Plan) { p.Format = resize.JPEG })},
		{"8bit.png", "whole to PNG", with(full, func(p *resize.Plan) { p.Format = resize.PNG })},
		{"alpha.png", "500", resize.Plan{Width: 500, Format: resize.PNG}},
		{"alpha.png", "whole to PNG", with(full, func(p *resize.Plan) { p.Format = resize.PNG })},
		{"16bit.png", "500", resize.Plan{Width: 500, Format: resize.JPEG}},
		{"16bit.png", "whole", with(full, func(p *resize.Plan) { p.Format = resize.JPEG })},
		{"16bit-alpha.png", "500", resize.Plan{Width: 500, Format: resize.PNG}},
		{"gray.png", "500", resize.Plan{Width: 500, Format: resize.JPEG}},
		{"gray16.png", "500", resize.Plan{Width: 500, Format: resize.JPEG}},
		{"palette.png", "500", resize.Plan{Width: 500, Format: resize.PNG}},
		{"palette.gif", "500", resize.Plan{Width: 500, Format: resize.GIF}},
		{"a.bmp", "500", resize.Plan{Width: 500, Format: resize.JPEG}},
		{"a.tiff", "500", resize.Plan{Width: 500, Format: resize.JPEG}},
		{"lossy.webp", "500", resize.Plan{Width: 500, Format: resize.WebP}},
		{"lossy.webp", "whole", with(full, func(p *resize.Plan) { p.Format = resize.JPEG })},
		{"lossless.webp", "500", resize.Plan{Width: 500, Format: resize.WebP}},
		{"alpha.webp", "500", resize.Plan{Width: 500, Format: resize.WebP}},
		{"a.avif", "500", resize.Plan{Width: 500, Format: resize.JPEG}},
		{"4:2:0.jpg", "whole to PNG", with(full, func(p *resize.Plan) { p.Format = resize.PNG })},
		{"4:2:0.jpg", "whole to GIF", with(full, func(p *resize.Plan) { p.Format = resize.GIF })},
		{"4:2:0.jpg", "whole to WebP", with(full, func(p *resize.Plan) { p.Format = resize.WebP })},
		{"4:2:0.jpg", "whole to lossless WebP", with(full, func(p *resize.Plan) { p.Format = resize.WebP; p.Encoding.Lossless = true })},
		{"4:2:0.jpg", "whole to AVIF", with(full, func(p *resize.Plan) { p.Format = resize.AVIF })},
		{"4:2:0.jpg", "whole to AVIF of 4:4:4", with(full, func(p *resize.Plan) { p.Format = resize.AVIF; p.Encoding.Chroma = resize.Chroma444 })},
		{"4:2:0.jpg", "whole to PNG of 64 colours", with(full, func(p *resize.Plan) { p.Format = resize.PNG; p.Encoding.Colors = 64 })},
		{"4:2:0.jpg", "half to PNG", resize.Plan{Width: float64(w / 2), Format: resize.PNG}},
		{"4:2:0.jpg", "half, of the best quality", resize.Plan{Width: float64(w / 2), Format: resize.JPEG, Quality: 100, Encoding: resize.Encoding{Chroma: resize.Chroma444}}},
		{"8bit.png", "two thirds to PNG", resize.Plan{Width: float64(w * 2 / 3), Format: resize.PNG}},
		{"16bit.tiff", "500", resize.Plan{Width: 500, Format: resize.JPEG}},
		{"4:2:0.jpg", "whole, blurred", with(full, func(p *resize.Plan) { p.Format = resize.JPEG; p.Stylize = blur })},
		{"4:2:0.jpg", "whole, coloured", with(full, func(p *resize.Plan) { p.Format = resize.JPEG; p.Adjust.Saturation = 20 })},
		{"4:2:0.jpg", "whole, sharpened", with(full, func(p *resize.Plan) { p.Format = resize.JPEG; p.Adjust.Sharpen = 20 })},
		{"4:2:0.jpg", "whole, with all that looks around", with(full, func(p *resize.Plan) {
			p.Format = resize.JPEG
			p.Adjust = resize.Adjust{NoiseReduction: 20, NoiseThreshold: 20, Sharpen: 20, Unsharp: 20}
			p.Stylize = blur
		})},
		{"16bit-alpha.png", "whole, blurred", with(full, func(p *resize.Plan) { p.Format = resize.PNG; p.Stylize = blur })},
		{"4:2:0.jpg", "whole, turned by 20", with(full, func(p *resize.Plan) { p.Format = resize.JPEG; p.Rotate = 20 })},
		{"4:2:0.jpg", "whole, padded", with(full, func(p *resize.Plan) { p.Format = resize.JPEG; p.Fit = resize.Fill; p.Height += 100 })},
		{"4:2:0.jpg", "whole, padded with itself", with(full, func(p *resize.Plan) {
			p.Format = resize.JPEG
			p.Fit = resize.Fill
			p.Height += 100
			p.Fill = &resize.Padding{Blur: 100}
		})},
		{"4:2:0.jpg", "whole, masked, with a border", with(full, func(p *resize.Plan) {
			p.Format = resize.PNG
			p.Mask = &resize.Mask{}
			p.Border = &resize.Border{Width: resize.Insets{Top: 9, Right: 9, Bottom: 9, Left: 9}}
			p.Pad = resize.Insets{Top: 50}
		})},
		{"4:2:0.jpg", "trimmed", resize.Plan{Width: 500, Format: resize.JPEG, Trim: &resize.Trim{}}},
		{"small.jpg", "enlarged to 8192", resize.Plan{Width: 8192, Height: 5461, Fit: resize.Scale, Format: resize.JPEG}},
	} {
		name := tt.from + " " + tt.name
		if !strings.Contains(name, *estimateOnly) {
			continue
		}
		data := originals[tt.from]()
		if data == nil {
			t.Logf("%-46s no original", name)
			continue
		}
		said, live, resident, total, took, err := takes(t, tt.plan, data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		px := float64(w * h)
		if tt.from == "small.jpg" {
			px = 8192 * 5461
		}
		peak := max(live, resident)
		t.Logf("%-46s said %5d MiB, live %5d, resident %5d: %.2f (%.1f of %.1f bytes a pixel, %.1f with garbage; %d ms)", name, said>>20, live>>20, resident>>20,
			float64(said)/float64(peak), float64(said)/px, float64(peak)/px, float64(total)/px, took.Milliseconds())
		if peak > said+said/5 || said > 3*peak+64<<20 {
			t.Errorf("%s: %d MiB were taken, and %d MiB expected", name, peak>>20, said>>20)
		}
	}
}

// takes renders, and says what the render was said to take, what it took in the heap, and what the process grew by.
func takes(t *testing.T, p resize.Plan, data []byte) (said, live, resident, total int64, took time.Duration, err error) {
	defer debug.SetGCPercent(debug.SetGCPercent(5))
	runtime.GC() // what pools have kept goes with the second
	runtime.GC()
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	objects := func() int64 {
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	heap, rss := objects(), peakMemory(t, os.Getpid())
	done, most := make(chan struct{}), make(chan int64)
	go func() {
		tick := time.NewTicker(500 * time.Microsecond)
		defer tick.Stop()
		peak := int64(0)
		for {
			select {
			case <-tick.C:
				peak = max(peak, objects())
			case <-done:
				most <- peak
				return
			}
		}
	}()
	r := resize.Renderer{MaxPixels: -1, Admit: func(_ context.Context, bytes int64, _ bool) (func(), error) {
		said = max(said, bytes)
		return func() {}, nil
	}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	_, err = r.Render(t.Context(), p, data)
	took = time.Since(start)
	runtime.ReadMemStats(&after)
	close(done)
	return said, <-most - heap, peakMemory(t, os.Getpid()) - rss, int64(after.TotalAlloc - before.TotalAlloc), took, err
}

// largeOriginals makes photographs of each kind, when they are asked for.
func largeOriginals(t *testing.T, w, h int) map[string]func() []byte {
	t.Helper()
	small, err := fs.ReadFile(samples.FS(), "rocket.jpg")
	if err != nil {
		t.Fatal(err)
	}
	var r resize.Renderer
	r.MaxPixels = -1
	pic, err := r.Render(t.Context(), resize.Plan{Width: float64(w), Height: float64(h), Fit: resize.Scale, Format: resize.PNG}, small)
	if err != nil {
		t.Fatal(err)
	}
	smooth, err := png.Decode(bytes.NewReader(pic.Bytes))
	if err != nil {
		t.Fatal(err)
	}
	// Noise as sensors have it, without which there would be little to compress.
	base, rnd := smooth.(*image.RGBA), rand.New(rand.NewPCG(1, 2))
	for i, v := range base.Pix {
		if i%4 < 3 {
			base.Pix[i] = uint8(min(max(int(v)+rnd.IntN(13)-6, 0), 255))
		}
	}
	pixels := func() *image.RGBA {
		return &image.RGBA{Pix: bytes.Clone(base.Pix), Stride: base.Stride, Rect: base.Rect}
	}
	encoded := func(f func(b *bytes.Buffer, m *image.RGBA) error) func() []byte {
		return func() []byte {
			var b bytes.Buffer
			if err := f(&b, pixels()); err != nil {
				t.Fatal(err)
			}
			return b.Bytes()
		}
	}
	quick := png.Encoder{CompressionLevel: png.BestSpeed}
	wide := func(m *image.RGBA, alpha bool) image.Image {
		out := image.NewNRGBA64(m.Rect)
		for i, v := range m.Pix {
			out.Pix[2*i], out.Pix[2*i+1] = v, v
			if alpha && i%4 == 3 {
				out.Pix[2*i], out.Pix[2*i+1] = byte(i>>12), 7
			}
		}
		if alpha {
			return out
		}
		return &image.RGBA64{Pix: out.Pix, Stride: out.Stride, Rect: out.Rect}
	}
	soft := func(m *image.RGBA) *image.NRGBA {
		for i := 3; i < len(m.Pix); i += 4 {
			m.Pix[i] = byte(i >> 10)
		}
		return &image.NRGBA{Pix: m.Pix, Stride: m.Stride, Rect: m.Rect}
	}
	grays := func(m *image.RGBA) *image.Gray {
		out := image.NewGray(m.Rect)
		for i := range out.Pix {
			out.Pix[i] = m.Pix[4*i+1]
		}
		return out
	}
	indexed := func(m *image.RGBA) *image.Paletted {
		p := image.NewPaletted(m.Rect, nil)
		for i := range 256 {
			p.Palette = append(p.Palette, color.RGBA{uint8(i), uint8(i * 3), 9, 255})
		}
		for i := range p.Pix {
			p.Pix[i] = m.Pix[4*i+1]
		}
		return p
	}
	render := func(p resize.Plan, alpha bool) func() []byte {
		return func() []byte {
			var b bytes.Buffer
			m := pixels()
			var from image.Image = m
			if alpha {
				from = soft(m)
			}
			if err := quick.Encode(&b, from); err != nil {
				t.Fatal(err)
			}
			pic, err := r.Render(t.Context(), p, b.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			return pic.Bytes
		}
	}
	return map[string]func() []byte{
		"small.jpg":       func() []byte { return small },
		"4:2:0.jpg":       render(resize.Plan{Format: resize.JPEG}, false),
		"4:4:4.jpg":       render(resize.Plan{Format: resize.JPEG, Encoding: resize.Encoding{Chroma: resize.Chroma444}}, false),
		"progressive.jpg": render(resize.Plan{Format: resize.JPEG, Encoding: resize.Encoding{Progressive: true}}, false),
		"gray.jpg":        encoded(func(b *bytes.Buffer, m *image.RGBA) error { return jpeg.Encode(b, grays(m), nil) }),
		"8bit.png":        encoded(func(b *bytes.Buffer, m *image.RGBA) error { return quick.Encode(b, m) }),
		"alpha.png":       encoded(func(b *bytes.Buffer, m *image.RGBA) error { return quick.Encode(b, soft(m)) }),
		"16bit.png":       encoded(func(b *bytes.Buffer, m *image.RGBA) error { return quick.Encode(b, wide(m, false)) }),
		"16bit-alpha.png": encoded(func(b *bytes.Buffer, m *image.RGBA) error { return quick.Encode(b, wide(m, true)) }),
		"gray.png":        encoded(func(b *bytes.Buffer, m *image.RGBA) error { return quick.Encode(b, grays(m)) }),
		"gray16.png": encoded(func(b *bytes.Buffer, m *image.RGBA) error {
			out := image.NewGray16(m.Rect)
			for i, v := range grays(m).Pix {
				out.Pix[2*i], out.Pix[2*i+1] = v, v
			}
			return quick.Encode(b, out)
		}),
		"palette.png": encoded(func(b *bytes.Buffer, m *image.RGBA) error { return quick.Encode(b, indexed(m)) }),
		"palette.gif": encoded(func(b *bytes.Buffer, m *image.RGBA) error {
			return gif.EncodeAll(b, &gif.GIF{Image: []*image.Paletted{indexed(m)}, Delay: []int{0}})
		}),
		"a.bmp": encoded(func(b *bytes.Buffer, m *image.RGBA) error { return bmp.Encode(b, m) }),
		"a.tiff": encoded(func(b *bytes.Buffer, m *image.RGBA) error {
			return tiff.Encode(b, m, &tiff.Options{Compression: tiff.Deflate})
		}),
		"16bit.tiff": encoded(func(b *bytes.Buffer, m *image.RGBA) error {
			return tiff.Encode(b, wide(m, true), &tiff.Options{Compression: tiff.Deflate})
		}),
		"lossy.webp":    render(resize.Plan{Format: resize.WebP}, false),
		"lossless.webp": render(resize.Plan{Format: resize.WebP, Encoding: resize.Encoding{Lossless: true}}, false),
		"alpha.webp":    render(resize.Plan{Format: resize.WebP}, true),
		"a.avif":        render(resize.Plan{Format: resize.AVIF}, false),
	}
}
