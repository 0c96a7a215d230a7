package tiff

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/image/tiff"

	"github.com/imagecdn/imagecdn/resize"
)

// files are those that the decoder is tested with.
func files(t testing.TB) []string {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/image").Output()
	if err != nil {
		t.Skip("no source of the codec here to take pictures from")
	}
	all, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "testdata/*.tiff"))
	if err != nil || len(all) == 0 {
		t.Skip("no pictures with the source of the codec")
	}
	return all
}

func pixels(t testing.TB, p resize.Plan, data []byte) image.Image {
	t.Helper()
	var r resize.Renderer
	p.Format = resize.PNG
	pic, err := r.Render(t.Context(), p, data)
	if err != nil {
		t.Fatal(err)
	}
	m, err := png.Decode(bytes.NewReader(pic.Bytes))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// equal fails unless a and b have the same eight bits a channel.
func equal(t *testing.T, got, want image.Image) {
	t.Helper()
	if got.Bounds() != want.Bounds() {
		t.Fatalf("%v, want %v", got.Bounds(), want.Bounds())
	}
	b := want.Bounds()
	for y := range b.Dy() {
		for x := range b.Dx() {
			r1, g1, b1, a1 := got.At(x, y).RGBA()
			r2, g2, b2, a2 := want.At(x, y).RGBA()
			if r1>>8 != r2>>8 || g1>>8 != g2>>8 || b1>>8 != b2>>8 || a1>>8 != a2>>8 {
				t.Fatalf("at %d, %d: %v, want %v", x, y, got.At(x, y), want.At(x, y))
			}
		}
	}
}

func TestFiles(t *testing.T) {
	for _, name := range files(t) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(name, "invalid-") {
				var r resize.Renderer
				if _, err := r.Render(t.Context(), resize.Plan{Width: 10}, data); !errors.Is(err, resize.ErrDamaged) {
					t.Errorf("%v, want ErrDamaged", err)
				}
				return
			}
			want, err := tiff.Decode(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			info, err := resize.Probe(data)
			if err != nil || info.Format != resize.TIFF || info.Width != want.Bounds().Dx() || info.Height != want.Bounds().Dy() {
				t.Fatalf("%+v, %v", info, err)
			}
			equal(t, pixels(t, resize.Plan{}, data), want)
		})
	}
}

// small is a picture with transparency.
func small(t testing.TB) (*image.NRGBA, []byte) {
	m := image.NewNRGBA(image.Rect(0, 0, 9, 6))
	for i := range 9 * 6 {
		m.SetNRGBA(i%9, i/9, color.NRGBA{uint8(20 * i), uint8(255 - 3*i), 7, uint8(255 - 4*i)})
	}
	var b bytes.Buffer
	if err := tiff.Encode(&b, m, &tiff.Options{Compression: tiff.Deflate, Predictor: true}); err != nil {
		t.Fatal(err)
	}
	return m, b.Bytes()
}

// setTag gives data with another value of an entry of its directory.
func setTag(t *testing.T, data []byte, tag uint16, kind uint16, value uint32) []byte {
	t.Helper()
	data = bytes.Clone(data)
	le := binary.LittleEndian
	at := le.Uint32(data[4:])
	for n := range uint32(le.Uint16(data[at:])) {
		if e := data[at+2+12*n:]; le.Uint16(e) == tag {
			le.PutUint16(e[2:], kind)
			le.PutUint32(e[4:], 1)
			le.PutUint32(e[8:], value)
			return data
		}
	}
	t.Fatalf("no tag %d", tag)
	return nil
}

func TestAlphaAndOrientation(t *testing.T) {
	m, data := small(t)
	if info, err := resize.Probe(data); err != nil || !info.Alpha || info.Orientation != 1 {
		t.Errorf("%+v, %v", info, err)
	}
	equal(t, pixels(t, resize.Plan{}, data), m)

	// There is no entry for it, so that of the resolution's unit, 296, is taken: it stays in order.
	turned := setTag(t, data, 296, 3, 6)
	at := bytes.LastIndex(turned, []byte{0x28, 0x01, 3, 0})
	binary.LittleEndian.PutUint16(turned[at:], 274)
	if got := orientation(turned); got != 6 {
		t.Errorf("orientation %d, want 6", got)
	}
}

// TestHostile: sizes are refused before anything is decoded, and what is damaged is an error.
func TestHostile(t *testing.T) {
	_, data := small(t)
	for _, tt := range []struct {
		name string
		data []byte
		want error
	}{
		{"wide", setTag(t, data, 256, 4, 1<<20), resize.ErrDamaged},
		{"large", setTag(t, setTag(t, data, 256, 4, 60000), 257, 4, 60000), resize.ErrTooLarge},
		{"nothing", setTag(t, data, 256, 4, 0), resize.ErrDamaged},
		{"CMYK", setTag(t, data, 262, 3, 5), resize.ErrUnsupported},
		{"compressed by JPEG", setTag(t, data, 259, 3, 7), resize.ErrUnsupported},
		{"header alone", data[:8], resize.ErrDamaged},
	} {
		var r resize.Renderer
		if _, err := r.Render(t.Context(), resize.Plan{Format: resize.PNG}, tt.data); !errors.Is(err, tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	const resolution = 16 // bytes at the end, which nobody reads
	for n := range len(data) - resolution {
		var r resize.Renderer
		_, err := r.Render(t.Context(), resize.Plan{Format: resize.PNG}, data[:n])
		if !errors.Is(err, resize.ErrDamaged) && !errors.Is(err, resize.ErrUnsupported) {
			t.Errorf("cut off at %d: %v", n, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	_, data := small(f)
	f.Add(data)
	for _, name := range files(f) {
		if data, err := os.ReadFile(name); err == nil && len(data) < 10_000 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !match(data) {
			return
		}
		r := resize.Renderer{MaxPixels: 1 << 14}
		_, err := r.Render(t.Context(), resize.Plan{Width: 8, Format: resize.PNG}, data)
		for _, kind := range []error{nil, resize.ErrUnsupported, resize.ErrDamaged, resize.ErrTooLarge} {
			if errors.Is(err, kind) {
				return
			}
		}
		t.Fatalf("an error of no kind: %v", err)
	})
}
