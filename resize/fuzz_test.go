package resize

import (
	"context"
	"errors"
	"image"
	"math"
	"os"
	"testing"
	"time"
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
