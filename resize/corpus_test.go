package resize

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// goFiles lists the pictures in a directory of the Go distribution.
func goFiles(t testing.TB, patterns ...string) []string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	root := strings.TrimSpace(string(out))
	if err != nil || root == "" {
		t.Skip("no Go distribution here to take pictures from")
	}
	return globAll(t, filepath.Join(root, "src/image"), patterns...)
}

// moduleFiles lists the pictures that golang.org/x/image is tested with.
func moduleFiles(t testing.TB, patterns ...string) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/image").Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		t.Skip("no source of golang.org/x/image here to take pictures from")
	}
	return globAll(t, dir, patterns...)
}

func globAll(t testing.TB, dir string, patterns ...string) []string {
	t.Helper()
	var all []string
	for _, p := range patterns {
		files, err := filepath.Glob(filepath.Join(dir, p))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, files...)
	}
	if len(all) == 0 {
		t.Skip("no pictures in", dir)
	}
	return all
}

// TestCorpus puts every picture of the Go distribution and of x/image through at two sizes.
func TestCorpus(t *testing.T) {
	files := goFiles(t, "testdata/*.jpeg", "testdata/*.png", "testdata/*.gif", "png/testdata/*.png", "png/testdata/pngsuite/*.png")
	files = append(files, moduleFiles(t, "testdata/*.png", "testdata/*.jpeg", "testdata/*.bmp", "testdata/*.webp")...)
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(name, "invalid-") && name != "invalid-palette.png" { // which image/png reads
				var r Renderer
				if _, err := r.Render(t.Context(), Plan{Width: 20}, data); !errors.Is(err, ErrDamaged) {
					t.Errorf("%v, want ErrDamaged", err)
				}
				return
			}
			full := toCanvas(independent(t, data))
			info, err := Probe(data)
			if err != nil || info.Width != full.w || info.Height != full.h {
				t.Fatalf("Probe says %+v, %v; it is %dx%d", info, err, full.w, full.h)
			}
			for _, f := range []float64{0.4, 1} {
				w := max(1, int(math.Round(float64(full.w)*f)))
				h := max(1, int(math.Round(float64(full.h)*float64(w)/float64(full.w))))
				want := full
				if f != 1 {
					want = slowResize(full, 0, 0, float64(full.w), float64(full.h), w, h)
				}
				atLeast := 35.0
				if strings.Contains(name, "cmyk") {
					atLeast = 30 // inks are resampled, and the reference resamples the colours that they make
				}
				// The reference knows no profile, nor gAMA, which all of pngsuite's have.
				p := Plan{Width: float64(w), Height: float64(h), Fit: Scale, Color: Strip}
				same(t, toCanvas(pixels(t, p, data)), want, atLeast)
			}
		})
	}
}

// TestProbe checks what headers are read to say.
func TestProbe(t *testing.T) {
	for _, tt := range []struct {
		name string
		want Info
	}{
		{"astronaut.png", Info{PNG, 512, 512, 1, 1, false}},
		{"hubble_deep_field.jpg", Info{JPEG, 1000, 872, 1, 1, false}},
	} {
		if got, err := Probe(sample(t, tt.name)); err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
	}
	for _, file := range moduleFiles(t, "testdata/yellow_rose.lossy-with-alpha.webp", "testdata/tux.lossless.webp") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := Probe(data); err != nil || !info.Alpha || info.Format != WebP {
			t.Errorf("%s: %+v, %v, want alpha", file, info, err)
		}
	}
}

// arrow is a picture that is different in every pose, in strokes broad enough to survive JPEG.
func arrow(w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.NRGBA{230, 230, 220, 255}
			switch {
			case x < w/4 && y < h/2:
				c = color.NRGBA{200, 30, 30, 255}
			case y > 3*h/4:
				c = color.NRGBA{30, 60, uint8(160 + 80*x/w), 255}
			case x > w/2 && x < 3*w/4:
				c = color.NRGBA{40, 150, uint8(120 * y / h), 255}
			}
			m.SetNRGBA(x, y, c)
		}
	}
	return m
}

// stored gives c as a file stores it that asks for an orientation.
func stored(c canvas, orientation int) canvas {
	inverse := [9]int{1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
	return slowUpright(c, inverse[orientation])
}

// exifBlock is a TIFF with one entry, the orientation.
func exifBlock(order binary.AppendByteOrder, orientation int) []byte {
	b := []byte("MM\x00*")
	if order.String() == "LittleEndian" {
		b = []byte("II*\x00")
	}
	b = order.AppendUint32(b, 8)
	b = order.AppendUint16(b, 1)
	b = order.AppendUint16(b, 274)
	b = order.AppendUint16(b, 3)
	b = order.AppendUint32(b, 1)
	b = order.AppendUint16(b, uint16(orientation))
	return order.AppendUint32(append(b, 0, 0), 0)
}

func withEXIF(t testing.TB, m image.Image, format Format, orientation int) []byte {
	t.Helper()
	var b bytes.Buffer
	exif := exifBlock(binary.BigEndian, orientation)
	if orientation%2 == 0 {
		exif = exifBlock(binary.LittleEndian, orientation)
	}
	switch format {
	case JPEG:
		if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 95}); err != nil {
			t.Fatal(err)
		}
		app1 := append([]byte("\xff\xe1\x00\x00Exif\x00\x00"), exif...)
		binary.BigEndian.PutUint16(app1[2:], uint16(len(app1)-2))
		return append(append([]byte("\xff\xd8"), app1...), b.Bytes()[2:]...)
	case PNG:
		if err := png.Encode(&b, m); err != nil {
			t.Fatal(err)
		}
		const afterIHDR = 8 + 12 + 13
		chunk := binary.BigEndian.AppendUint32(nil, uint32(len(exif)))
		chunk = append(append(chunk, "eXIf"...), exif...)
		chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
		return append(append(append([]byte{}, b.Bytes()[:afterIHDR]...), chunk...), b.Bytes()[afterIHDR:]...)
	}
	t.Fatal("no EXIF in", format)
	return nil
}

// TestOrientation: a picture stored in any of the eight ways comes out the same, at several sizes, scaled
// decodings among them, and cut in the same place.
func TestOrientation(t *testing.T) {
	slow(t)
	const w, h = 360, 240
	picture := toCanvas(arrow(w, h))
	for orientation := 1; orientation <= 8; orientation++ {
		for _, format := range []Format{JPEG, PNG} {
			data := withEXIF(t, stored(picture, orientation).image(), format, orientation)
			for _, width := range []int{360, 151, 40} {
				t.Run(fmt.Sprintf("%d/%s/%d", orientation, format, width), func(t *testing.T) {
					height := int(math.Round(float64(width) * h / w))
					want := slowResize(picture, 0, 0, w, h, width, height)
					same(t, toCanvas(pixels(t, Plan{Width: float64(width)}, data)), want, 35)
					// JPEG to JPEG goes by halved chroma.
					same(t, toCanvas(independent(t, render(t, Plan{Width: float64(width), Format: JPEG, Quality: 95}, data).Bytes)), want, 28)
				})
			}
			t.Run(fmt.Sprintf("%d/%s/cut", orientation, format), func(t *testing.T) {
				p := Plan{Width: 100, Height: 100, Fit: Cover, Crop: []Crop{Right}, Rect: &Rect{X: 30, Y: 40, W: 240, H: 160}}
				want := slowResize(picture, 110, 40, 160, 160, 100, 100)
				same(t, toCanvas(pixels(t, p, data)), want, 30)
			})
			t.Run(fmt.Sprintf("%d/%s/overridden", orientation, format), func(t *testing.T) {
				want := stored(picture, orientation)
				same(t, toCanvas(pixels(t, Plan{Orient: 1}, data)), want, 35)
			})
		}
	}
}

// TestOrient: what Plan.Orient asks for is done to a picture that has none.
func TestOrient(t *testing.T) {
	data := encodePixels(t, arrow(60, 40))
	for orientation := 1; orientation <= 8; orientation++ {
		want := slowUpright(toCanvas(arrow(60, 40)), orientation)
		if d := psnr(toCanvas(pixels(t, Plan{Orient: orientation}, data)), want); d != 99 {
			t.Errorf("orientation %d: %.1f dB from an exact copy", orientation, d)
		}
	}
}

// TestEXIF: odd EXIF is no orientation, and never more than the block is read.
func TestEXIF(t *testing.T) {
	good := exifBlock(binary.LittleEndian, 6)
	far := bytes.Clone(good)
	binary.LittleEndian.PutUint32(far[4:], 0xffffffff)
	many := bytes.Clone(good)
	binary.LittleEndian.PutUint16(many[8:], 65535)
	long := bytes.Clone(good)
	binary.LittleEndian.PutUint16(long[12:], 4)
	for _, tt := range []struct {
		name string
		data []byte
		want int
	}{
		{"little endian", good, 6},
		{"big endian", exifBlock(binary.BigEndian, 8), 8},
		{"with JPEG's prefix", append([]byte("Exif\x00\x00"), good...), 6},
		{"more entries than there are", many, 6},
		{"a value of zero", exifBlock(binary.BigEndian, 0), 1},
		{"a value of nine", exifBlock(binary.BigEndian, 9), 1},
		{"another type", long, 1},
		{"a directory beyond the end", far, 1},
		{"cut off", good[:12], 1},
		{"no byte order", []byte("XX*\x00\x08\x00\x00\x00"), 1},
		{"nothing", nil, 1},
	} {
		if got := exifOrientation(tt.data); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	for n := range good {
		exifOrientation(good[:n])
	}
}

// TestScaledJPEG: smaller decodings, against the mean of all pixels.
func TestScaledJPEG(t *testing.T) {
	data := sample(t, "rocket.jpg")
	full := toCanvas(independent(t, data))
	for _, denom := range []int{2, 4, 8} {
		m, err := decodeJPEG(t.Context(), data, DecodeOptions{Denom: denom})
		if err != nil {
			t.Fatal(err)
		}
		w, h := (full.w+denom-1)/denom, (full.h+denom-1)/denom
		want := slowResize(full, 0, 0, float64(w*denom), float64(h*denom), w, h)
		same(t, toCanvas(m), want, 40)
	}
}

// TestMetadataIsDropped: nothing of EXIF, profiles or comments is in the output.
func TestMetadataIsDropped(t *testing.T) {
	data := sample(t, "hubble_deep_field.jpg")
	for _, format := range []Format{JPEG, PNG, WebP, GIF} {
		out := render(t, Plan{Width: 100, Format: format}, data).Bytes
		for _, word := range []string{"Exif", "EXIF", "Photoshop", "ICC_PROFILE", "iCCP", "http://", "<x:"} {
			if bytes.Contains(out, []byte(word)) {
				t.Errorf("%s: output holds %q", format, word)
			}
		}
	}
}

// TestLibvips compares with another program, where it is installed.
func TestLibvips(t *testing.T) {
	slow(t)
	vips, err := exec.LookPath("vips")
	if err != nil {
		t.Skip("no vips here to compare with")
	}
	for _, name := range sampleNames(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			in, out := filepath.Join(dir, name), filepath.Join(dir, "out.png")
			if err := os.WriteFile(in, sample(t, name), 0o666); err != nil {
				t.Fatal(err)
			}
			args := []string{"thumbnail", in, out, "200"}
			if profileOf(t, sample(t, name)) != nil {
				args = append(args, "--export-profile", "srgb")
			}
			if b, err := exec.Command(vips, args...).CombinedOutput(); err != nil {
				t.Skipf("vips does not do this one: %v: %s", err, b)
			}
			b, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			want := toCanvas(independent(t, b))
			d := same(t, toCanvas(pixels(t, Plan{Width: float64(want.w), Height: float64(want.h), Fit: Scale}, sample(t, name))), want, 35)
			t.Logf("%.1f dB", d)
		})
	}
}
