package resize

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"math"
	"os"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn/internal/bombs"
)

// seeds are small pictures of every kind.
func seeds(f *testing.F) [][]byte {
	var all [][]byte
	for _, format := range []Format{JPEG, PNG, GIF, WebP} {
		all = append(all, render(f, Plan{Width: 16, Format: format}, sample(f, "coffee.png")).Bytes)
	}
	all = append(all, animation3(f), encodePixels(f, soft(12, 9)), encodePixels(f, image.NewGray(image.Rect(0, 0, 5, 3))),
		withEXIF(f, arrow(16, 8), JPEG, 6), withEXIF(f, arrow(16, 8), PNG, 8),
		jpegOf(16, 16, 3), gifOf(9, 9, 2), pngOf(9, 9))
	for _, file := range append(goFiles(f, "png/testdata/pngsuite/*.png", "testdata/triangle-001.gif", "testdata/video-001.progressive.jpeg"),
		moduleFiles(f, "testdata/bmp_*.bmp", "testdata/gopher-doc.1bpp.lossless.webp", "testdata/yellow_rose.lossy-with-alpha.webp")...) {
		if b, err := os.ReadFile(file); err == nil && len(b) < 20_000 {
			all = append(all, b)
		}
	}
	for _, b := range bombs.All() {
		if data := b.Data(); len(data) < 2_000 {
			all = append(all, data)
		}
	}
	return all
}

func FuzzProbe(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := Probe(data)
		if err != nil {
			if !errors.Is(err, ErrUnsupported) && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if info.Width < 1 || info.Height < 1 || info.Frames < 1 || info.Orientation < 1 || info.Orientation > 8 || codecFor(info.Format) == nil {
			t.Fatalf("%+v", info)
		}
	})
}

func FuzzRender(f *testing.F) {
	for i, b := range seeds(f) {
		f.Add(b, float64(10+i), 0.5, uint32(i*7919))
	}
	formats := []Format{SameFormat, JPEG, PNG, GIF, Opaque}
	f.Fuzz(func(t *testing.T, data []byte, w, h float64, how uint32) {
		p := Plan{
			Width: w, Height: h,
			Fit:    Fit(how % 9),
			Crop:   []Crop{Crop(how / 9 % 8)},
			Flip:   Flip(how / 72 % 4),
			Rotate: float64(how / 288 % 8 * 45),
			Orient: int(how / 2304 % 9),
			Format: formats[how/20736%5],
			Aspect: float64(how/103680%4) / 2,
		}
		if how/414720%2 == 1 {
			p.Rect = &Rect{X: math.Abs(w) / 2, Y: 0.2, W: 0.7, H: math.Abs(h), XAlign: Align(how / 829440 % 4)}
		}
		r := Renderer{MaxPixels: 1 << 16, MaxSize: 300, MaxFrames: 5}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		pic, err := r.Render(ctx, p, data)
		if err != nil {
			checkKind(t, err)
			return
		}
		// What comes out can be read, and is as large as it is said to be.
		info, err := Probe(pic.Bytes)
		if err != nil || info.Width != pic.Width || info.Height != pic.Height || info.Format != pic.Format {
			t.Fatalf("%+v gave %+v, %v; %s %dx%d", p, info, err, pic.Format, pic.Width, pic.Height)
		}
		if pic.Width > 300 || pic.Height > 300 {
			t.Fatalf("%dx%d", pic.Width, pic.Height)
		}
	})
}

// FuzzAdjust renders pictures with every field of Adjust and Stylize: no panic, the same picture twice, and alpha as it was where nothing
// moves pixels. What is outside of a field's range is refused.
func FuzzAdjust(f *testing.F) {
	opaquePixels, softPixels := encodePixels(f, arrow(23, 17)), encodePixels(f, soft(19, 24))
	grayPixels := encodePixels(f, gray8(arrow(9, 31)))
	f.Add(uint8(0), 1.0, 10.0, 20.0, 30.0, 40.0, -50.0, 60.0, 70.0, 80.0, -90.0, 33.0, 44.0, 5.0, 55.0, 6.0, 7.0, uint32(0xff8040c0), uint32(0x80ff00ff))
	f.Add(uint8(1), 2.5, -100.0, -100.0, -100.0, -100.0, -100.0, 100.0, 359.0, -100.0, 100.0, 100.0, -100.0, 500.0, 2000.0, 100.0, 100.0, uint32(0), uint32(1))
	f.Add(uint8(2), 0.1, 100.0, 100.0, 100.0, 100.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.3, 0.0, uint32(0xffffffff), uint32(0x01020304))
	f.Add(uint8(0xf4), 1e6, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 500.0, 2000.0, 100.0, 0.0, uint32(7), uint32(0xffff0000))
	f.Fuzz(func(t *testing.T, how uint8, dpr, exp, bri, con, gam, high, shad, hue, sat, vib, sharp, usm, rad, blur, htn, sepia float64, one, two uint32) {
		colour := func(v uint32) color.NRGBA {
			return color.NRGBA{uint8(v), uint8(v >> 8), uint8(v >> 16), uint8(v >> 24)}
		}
		p := Plan{Format: PNG, DPR: dpr, Adjust: Adjust{
			Enhance: how&8 != 0, NoiseReduction: int(int8(one)), NoiseThreshold: int(int8(two)),
			Exposure: exp, Brightness: bri, Contrast: con, Gamma: gam, Highlights: high, Shadows: shad,
			Hue: hue, Saturation: sat, Vibrance: vib, Invert: how&16 != 0,
			Sharpen: sharp, Unsharp: usm, UnsharpRadius: rad,
		}, Stylize: Stylize{Blur: blur, Pixelate: int(one >> 8 % 128), Halftone: htn, Sepia: sepia}}
		if how&32 != 0 {
			c := colour(one)
			p.Stylize.Monochrome = &c
		}
		if how&64 != 0 {
			p.Stylize.Duotone = &Duotone{Dark: colour(one), Light: colour(two), Alpha: int(two >> 16 % 128)}
		}
		data := [][]byte{opaquePixels, softPixels, grayPixels}[how%3]
		var r Renderer
		first, err := r.Render(t.Context(), p, data)
		if err != nil {
			checkKind(t, err)
			return
		}
		second := render(t, p, data)
		if !bytes.Equal(first.Bytes, second.Bytes) {
			t.Fatalf("%s: two pictures of one plan", p)
		}
		before, after := toNRGBA(independent(t, data)), toNRGBA(independent(t, first.Bytes))
		if before.Rect != after.Rect {
			t.Fatalf("%s: %v becomes %v", p, before.Rect, after.Rect)
		}
		if p.Stylize.Blur == 0 && p.Stylize.Pixelate == 0 {
			for i := 3; i < len(after.Pix); i += 4 {
				if after.Pix[i] != before.Pix[i] {
					t.Fatalf("%s: alpha %d becomes %d", p, before.Pix[i], after.Pix[i])
				}
			}
		}
	})
}
