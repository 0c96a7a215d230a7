package pngenc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math/rand/v2"
	"testing"
)

// pictures are of all types and many sizes: of noise, of shapes, of one colour.
func pictures(rnd *rand.Rand) map[string]image.Image {
	all := make(map[string]image.Image)
	for _, size := range []image.Point{{1, 1}, {2, 3}, {7, 5}, {10, 11}, {11, 1}, {31, 2}, {33, 40}, {200, 150}, {1, 300}, {5000, 3}} {
		for kind, value := range map[string]func(x, y int) uint8{
			"noise": func(int, int) uint8 { return uint8(rnd.IntN(256)) },
			"shape": func(x, y int) uint8 { return uint8((x/20 ^ y/30) * 37) },
			"one":   func(int, int) uint8 { return 200 },
			"soft":  func(x, y int) uint8 { return uint8(x/3 + y/2 + rnd.IntN(3)) },
		} {
			// A part of a larger picture, so that there is a stride, and other bounds.
			r := image.Rectangle{Max: size}.Add(image.Pt(3, 2))
			around := image.Rect(0, 0, r.Max.X+5, r.Max.Y+1)
			gray, rgba, nrgba := image.NewGray(around), image.NewRGBA(around), image.NewNRGBA(around)
			for y := range around.Dy() {
				for x := range around.Dx() {
					gray.SetGray(x, y, color.Gray{value(x, y)})
					rgba.SetRGBA(x, y, color.RGBA{value(x, y), value(y, x), value(x+1, y), 255})
					nrgba.SetNRGBA(x, y, color.NRGBA{value(x, y), value(y, x), value(x+1, y), value(x, y+1)})
				}
			}
			name := fmt.Sprint(size, " ", kind, " ")
			all[name+"gray"], all[name+"rgba"], all[name+"nrgba"] = gray.SubImage(r), rgba.SubImage(r), nrgba.SubImage(r)
			for _, n := range []int{1, 2, 3, 4, 5, 16, 17, 255, 256} {
				p := image.NewPaletted(around, nil)
				for i := range n {
					c := color.NRGBA{uint8(i), uint8(i * 3), uint8(i * 7), 255}
					if n%2 == 1 && i < n/2 {
						c.A = uint8(i)
					}
					p.Palette = append(p.Palette, c)
				}
				for y := range around.Dy() {
					for x := range around.Dx() {
						p.SetColorIndex(x, y, uint8(int(value(x, y))%n))
					}
				}
				all[fmt.Sprint(name, "paletted ", n)] = p.SubImage(r)
			}
		}
	}
	return all
}

// TestRoundTrip: image/png reads the same pixels, of the same kind.
func TestRoundTrip(t *testing.T) {
	for name, m := range pictures(rand.New(rand.NewPCG(1, 1))) {
		var b bytes.Buffer
		if err := Encode(t.Context(), &b, m); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		data := b.Bytes()
		got, err := png.Decode(&b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if fmt.Sprintf("%T", got) != fmt.Sprintf("%T", m) || got.Bounds().Size() != m.Bounds().Size() {
			t.Fatalf("%s: %T of %v, want %T of %v", name, got, got.Bounds(), m, m.Bounds())
		}
		at := m.Bounds().Min
		for y := range got.Bounds().Dy() {
			for x := range got.Bounds().Dx() {
				a, b := color.NRGBAModel.Convert(got.At(x, y)), color.NRGBAModel.Convert(m.At(at.X+x, at.Y+y))
				if a != b {
					t.Fatalf("%s: %v at %d,%d, want %v", name, a, x, y, b)
				}
			}
		}
		if p, ok := m.(*image.Paletted); ok {
			depth := 1
			for 1<<depth < len(p.Palette) {
				depth *= 2
			}
			if int(data[24]) != depth {
				t.Fatalf("%s: %d bits, want %d", name, data[24], depth)
			}
		}
	}
}

// TestNoLarger: files are hardly larger than image/png's. Some hundred bytes do not matter: pictures of colour that are
// so simple are not written without a palette.
func TestNoLarger(t *testing.T) {
	for name, m := range pictures(rand.New(rand.NewPCG(2, 2))) {
		var ours, theirs bytes.Buffer
		if err := errors.Join(Encode(t.Context(), &ours, m), png.Encode(&theirs, m)); err != nil {
			t.Fatal(err)
		}
		if most := theirs.Len()*106/100 + 1000; ours.Len() > most {
			t.Errorf("%s: %d bytes, image/png %d", name, ours.Len(), theirs.Len())
		}
	}
}

// TestChunks reads the file as the standard has it: signature, IHDR, data in chunks of a bounded size, IEND.
func TestChunks(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 300, 300))
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range m.Pix {
		m.Pix[i] = uint8(rnd.IntN(256))
	}
	var b bytes.Buffer
	if err := Encode(t.Context(), &b, m); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	data := b.Bytes()[8:]
	for len(data) >= 12 {
		n := int(binary.BigEndian.Uint32(data))
		if n > chunkSize {
			t.Errorf("a chunk of %d bytes", n)
		}
		kinds = append(kinds, string(data[4:8]))
		data = data[12+n:]
	}
	if got := fmt.Sprint(kinds); got != "[IHDR IDAT IDAT IDAT IDAT IDAT IDAT IEND]" || len(data) != 0 {
		t.Errorf("%s and %d bytes", got, len(data))
	}
}

func TestWhatItDoesNotWrite(t *testing.T) {
	for name, m := range map[string]image.Image{
		"no pixels":         image.NewGray(image.Rect(0, 0, 0, 5)),
		"another type":      image.NewGray16(image.Rect(0, 0, 5, 5)),
		"no colours":        image.NewPaletted(image.Rect(0, 0, 5, 5), nil),
		"too many colours":  image.NewPaletted(image.Rect(0, 0, 5, 5), make(color.Palette, 257)),
		"another type, too": image.NewYCbCr(image.Rect(0, 0, 5, 5), image.YCbCrSubsampleRatio420),
	} {
		if err := Encode(t.Context(), io.Discard, m); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A failing writer fails after some bytes.
type failing struct{ left int }

var errFull = errors.New("full")

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestErrorsOfTheWriter(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 200, 200))
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range m.Pix {
		m.Pix[i] = uint8(rnd.IntN(256))
	}
	var whole bytes.Buffer
	if err := Encode(t.Context(), &whole, m); err != nil {
		t.Fatal(err)
	}
	for left := 0; left < whole.Len(); left += 37 {
		if err := Encode(t.Context(), &failing{left}, m); !errors.Is(err, errFull) {
			t.Fatalf("after %d bytes: %v", left, err)
		}
	}
	// And what was left behind does not show in the next picture.
	var again bytes.Buffer
	if err := Encode(t.Context(), &again, m); err != nil || !bytes.Equal(again.Bytes(), whole.Bytes()) {
		t.Errorf("differs after errors: %v", err)
	}
}

func TestCancelled(t *testing.T) {
	cause := errors.New("nobody waits")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := Encode(ctx, io.Discard, image.NewGray(image.Rect(0, 0, 100, 100))); !errors.Is(err, cause) {
		t.Errorf("%v, want the cause", err)
	}
}

// TestFilters compares with the standard's words, sample by sample, and the kernels with their twin.
func TestFilters(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	abs := func(v int) int { return max(v, -v) }
	for _, bpp := range []int{1, 2, 3, 4} {
		for n := 1; n < 200; n += 1 + n/40 {
			var f filterer
			f.reset(n, bpp)
			random := func(b []byte) {
				for i := range b {
					b[i] = byte(rnd.IntN(256))
					if rnd.IntN(3) == 0 {
						b[i] = byte(rnd.IntN(3) * 127)
					}
				}
			}
			random(f.now())
			f.turn()
			random(f.now())
			least := uint64(1 << 60)
			for filter := range filters {
				sum := uint64(0)
				got := f.try(filter)
				for i := range n {
					at := func(row []byte, i int) int {
						if i < 0 {
							return 0
						}
						return int(row[lead+i])
					}
					a, b, c := at(f.row, i-bpp), at(f.before, i), at(f.before, i-bpp)
					p := 0
					switch filter {
					case sub:
						p = a
					case up:
						p = b
					case average:
						p = (a + b) / 2
					case paeth:
						toA, toB, toC := abs(b-c), abs(a-c), abs(a+b-2*c)
						switch {
						case toA <= toB && toA <= toC:
							p = a
						case toB <= toC:
							p = b
						default:
							p = c
						}
					}
					v := byte(at(f.row, i) - p)
					if f.tried[filter][1+i] != v {
						t.Fatalf("filter %d, byte %d of %d, %d a pixel: %d, want %d", filter, i, n, bpp, f.tried[filter][1+i], v)
					}
					sum += uint64(abs(int(int8(v))))
				}
				if got != sum {
					t.Fatalf("filter %d, %d bytes: sum %d, want %d", filter, n, got, sum)
				}
				least = min(least, sum)
			}
			if best := f.best(); f.try(int(best[0])) != least {
				t.Fatalf("filter %d is not the best", best[0])
			}
		}
	}
}

func FuzzEncode(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8}, uint8(2), uint8(0))
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, uint8(3), uint8(2))
	f.Fuzz(func(t *testing.T, pix []byte, width, kind uint8) {
		px := []int{1, 4, 4}[kind%3]
		w := int(width) + 1
		h := len(pix) / (px * w)
		if h == 0 {
			t.Skip("no row")
		}
		r := image.Rect(0, 0, w, h)
		var m image.Image
		switch kind % 3 {
		case 0:
			m = &image.Gray{Pix: pix, Stride: w, Rect: r}
		case 1:
			pix = bytes.Clone(pix)
			for i := 3; i < len(pix); i += 4 {
				pix[i] = 255
			}
			m = &image.RGBA{Pix: pix, Stride: 4 * w, Rect: r}
		case 2:
			m = &image.NRGBA{Pix: pix, Stride: 4 * w, Rect: r}
		}
		var b bytes.Buffer
		if err := Encode(t.Context(), &b, m); err != nil {
			t.Fatal(err)
		}
		got, err := png.Decode(&b)
		if err != nil {
			t.Fatal(err)
		}
		for y := range h {
			for x := range w {
				if got.At(x, y) != m.At(x, y) {
					t.Fatalf("%v at %d,%d, want %v", got.At(x, y), x, y, m.At(x, y))
				}
			}
		}
	})
}
