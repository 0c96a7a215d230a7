package resize

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/webp"

	"github.com/imagecdn/imagecdn/internal/samples"
)

// This file is the slow, obviously right implementation that the package is compared to: it decodes with
// the standard library, all pixels, and resamples in float64, with one loop over what contributes to
// each pixel.

// A canvas is a picture of float64, colours weighted by alpha, 0 to 1.
type canvas struct {
	w, h int
	px   [][4]float64
}

func newCanvas(w, h int) canvas { return canvas{w, h, make([][4]float64, w*h)} }

func (c canvas) at(x, y int) *[4]float64 { return &c.px[y*c.w+x] }

func toCanvas(m image.Image) canvas {
	b := m.Bounds()
	c := newCanvas(b.Dx(), b.Dy())
	for y := range c.h {
		for x := range c.w {
			p := m.(image.RGBA64Image).RGBA64At(b.Min.X+x, b.Min.Y+y)
			*c.at(x, y) = [4]float64{float64(p.R) / 65535, float64(p.G) / 65535, float64(p.B) / 65535, float64(p.A) / 65535}
		}
	}
	return c
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// A share is how much an input contributes to an output.
type share struct {
	input  int
	weight float64
}

// slowAxis gives what output i of n is made of, of inputs in [0, size), for the stretch of length from at.
func slowAxis(i, n, size int, at, length float64) (shares []share) {
	step := length / float64(n)
	wide := math.Max(step, 1)
	center := at + (float64(i)+0.5)*step
	sum := 0.0
	for k := range size {
		if d := (float64(k) + 0.5 - center) / wide; math.Abs(d) < 3 {
			w := sinc(d) * sinc(d/3)
			shares = append(shares, share{k, w})
			sum += w
		}
	}
	for k := range shares {
		shares[k].weight /= sum
	}
	return shares
}

// slowResize makes w by h pixels of the stretch of c at x, y of size sw by sh.
func slowResize(c canvas, x, y, sw, sh float64, w, h int) canvas {
	narrow := newCanvas(w, c.h)
	for i := range w {
		shares := slowAxis(i, w, c.w, x, sw)
		for row := range c.h {
			narrow.mix(i, row, shares, func(k int) *[4]float64 { return c.at(k, row) })
		}
	}
	out := newCanvas(w, h)
	for j := range h {
		shares := slowAxis(j, h, c.h, y, sh)
		for i := range w {
			out.mix(i, j, shares, func(k int) *[4]float64 { return narrow.at(i, k) })
		}
	}
	return out
}

func (c canvas) mix(x, y int, shares []share, input func(k int) *[4]float64) {
	var sum [4]float64
	for _, s := range shares {
		p := input(s.input)
		for ch := range 4 {
			sum[ch] += s.weight * p[ch]
		}
	}
	*c.at(x, y) = sum
}

// onWhite lays c over white.
func (c canvas) onWhite() canvas {
	out := newCanvas(c.w, c.h)
	for i, p := range c.px {
		for ch := range 3 {
			out.px[i][ch] = p[ch] + 1 - p[3]
		}
		out.px[i][3] = 1
	}
	return out
}

// psnr is the peak signal to noise ratio over all channels, in decibels.
func psnr(a, b canvas) float64 {
	sum := 0.0
	for i := range a.px {
		for ch := range 4 {
			d := clamp01(a.px[i][ch]) - clamp01(b.px[i][ch])
			sum += d * d
		}
	}
	// Alpha counts only where there is some, or it would flatter every opaque picture.
	channels := 3.0
	for i := range a.px {
		if a.px[i][3] != 1 || b.px[i][3] != 1 {
			channels = 4
			break
		}
	}
	if sum == 0 {
		return 99
	}
	return -10 * math.Log10(sum/(channels*float64(len(a.px))))
}

func clamp01(v float64) float64 { return min(max(v, 0), 1) }

func (c canvas) image() *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, c.w, c.h))
	for y := range c.h {
		for x := range c.w {
			p := c.at(x, y)
			v := func(ch int) uint16 { return uint16(min(clamp01(p[ch]), clamp01(p[3]))*65535 + 0.5) }
			m.SetRGBA64(x, y, color.RGBA64{v(0), v(1), v(2), uint16(clamp01(p[3])*65535 + 0.5)})
		}
	}
	return m
}

// same fails unless got is want within least decibels, and leaves both and their difference among the
// artifacts. It gives the distance.
func same(t *testing.T, got, want canvas, least float64) float64 {
	t.Helper()
	if got.w != want.w || got.h != want.h {
		t.Errorf("size %dx%d, want %dx%d", got.w, got.h, want.w, want.h)
		return 0
	}
	d := psnr(got, want)
	if d >= least {
		return d
	}
	t.Errorf("%.2f dB from the reference, want %.0f", d, least)
	diff := newCanvas(got.w, got.h)
	for i := range diff.px {
		for ch := range 3 {
			diff.px[i][ch] = 0.5 + 4*(got.px[i][ch]-want.px[i][ch])
		}
		diff.px[i][3] = 1
	}
	for name, c := range map[string]canvas{"got": got, "want": want, "diff": diff} {
		var b bytes.Buffer
		if err := png.Encode(&b, c.image()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(t.ArtifactDir(), name+".png"), b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// independent decodes without this package.
func independent(t testing.TB, data []byte) image.Image {
	t.Helper()
	var m image.Image
	var err error
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xd8")):
		m, err = jpeg.Decode(bytes.NewReader(data))
	case bytes.HasPrefix(data, []byte("\x89PNG")):
		m, err = png.Decode(bytes.NewReader(data))
	case bytes.HasPrefix(data, []byte("GIF8")):
		m, err = gif.Decode(bytes.NewReader(data))
	case bytes.HasPrefix(data, []byte("RIFF")):
		m, err = webp.Decode(bytes.NewReader(data))
		if err == nil {
			m = televisionToRGB(m)
		}
	default:
		m, err = bmp.Decode(bytes.NewReader(data))
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// televisionToRGB reads luma and chroma as VP8 means them: 16 to 235 and 16 to 240. The numbers are those
// of BT.601.
func televisionToRGB(m image.Image) image.Image {
	var luma *image.YCbCr
	alpha := func(x, y int) uint8 { return 255 }
	switch m := m.(type) {
	case *image.YCbCr:
		luma = m
	case *image.NYCbCrA:
		luma = &m.YCbCr
		alpha = func(x, y int) uint8 { return m.A[m.AOffset(x, y)] }
	default:
		return m
	}
	dst := image.NewNRGBA(m.Bounds())
	for y := range dst.Rect.Dy() {
		for x := range dst.Rect.Dx() {
			yy := 1.164383 * (float64(luma.Y[luma.YOffset(x, y)]) - 16)
			cb := float64(luma.Cb[luma.COffset(x, y)]) - 128
			cr := float64(luma.Cr[luma.COffset(x, y)]) - 128
			v := func(f float64) uint8 { return uint8(min(max(f+0.5, 0), 255)) }
			dst.SetNRGBA(x, y, color.NRGBA{v(yy + 1.596027*cr), v(yy - 0.391762*cb - 0.812968*cr), v(yy + 2.017232*cb), alpha(x, y)})
		}
	}
	return dst
}

// slowUpright turns a picture by its EXIF orientation, pixel by pixel, as the table of TIFF 6.0 reads: row 0
// and column 0 of the file are the top, right, bottom or left of the picture.
func slowUpright(c canvas, orientation int) canvas {
	w, h := c.w, c.h
	if orientation >= 5 {
		w, h = h, w
	}
	out := newCanvas(w, h)
	for v := range c.h {
		for u := range c.w {
			right, bottom := c.w-1-u, c.h-1-v
			var x, y int
			switch orientation {
			case 1: // top, left
				x, y = u, v
			case 2: // top, right
				x, y = right, v
			case 3: // bottom, right
				x, y = right, bottom
			case 4: // bottom, left
				x, y = u, bottom
			case 5: // left, top
				x, y = v, u
			case 6: // right, top
				x, y = bottom, u
			case 7: // right, bottom
				x, y = bottom, right
			case 8: // left, bottom
				x, y = v, right
			}
			*out.at(x, y) = *c.at(u, v)
		}
	}
	return out
}

func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := fs.ReadFile(samples.FS(), name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sampleNames(t testing.TB) []string {
	t.Helper()
	names, err := fs.Glob(samples.FS(), "*")
	if err != nil || len(names) == 0 {
		t.Fatal("no samples", err)
	}
	return names
}

func render(t testing.TB, p Plan, inputs ...[]byte) *Picture {
	t.Helper()
	var r Renderer
	pic, err := r.Render(context.Background(), p, inputs...)
	if err != nil {
		t.Fatalf("%s: %v", p, err)
	}
	return pic
}

// pixels renders to PNG and decodes that.
func pixels(t testing.TB, p Plan, inputs ...[]byte) image.Image {
	t.Helper()
	p.Format = PNG
	return independent(t, render(t, p, inputs...).Bytes)
}

func encodePixels(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func toNRGBA(m image.Image) *image.NRGBA {
	dst := image.NewNRGBA(image.Rectangle{Max: m.Bounds().Size()})
	draw.Draw(dst, dst.Rect, m, m.Bounds().Min, draw.Src)
	return dst
}
