package avif

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagecdn/imagecdn/internal/icc"
	"github.com/imagecdn/imagecdn/internal/samples"
	"github.com/imagecdn/imagecdn/resize"
)

func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := fs.ReadFile(samples.FS(), name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func render(t testing.TB, p resize.Plan, data []byte) *resize.Picture {
	t.Helper()
	var r resize.Renderer
	pic, err := r.Render(t.Context(), p, data)
	if err != nil {
		t.Fatalf("%s: %v", p, err)
	}
	return pic
}

func pixels(t testing.TB, p resize.Plan, data []byte) image.Image {
	t.Helper()
	p.Format = resize.PNG
	m, err := png.Decode(bytes.NewReader(render(t, p, data).Bytes))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// near fails unless all channels of a and b are within d on average.
func near(t *testing.T, a, b image.Image, d float64) {
	t.Helper()
	if a.Bounds() != b.Bounds() {
		t.Fatalf("%v, want %v", a.Bounds(), b.Bounds())
	}
	sum := 0.0
	for y := range a.Bounds().Dy() {
		for x := range a.Bounds().Dx() {
			p, q := color.RGBAModel.Convert(a.At(x, y)).(color.RGBA), color.RGBAModel.Convert(b.At(x, y)).(color.RGBA)
			for _, v := range []int{int(p.R) - int(q.R), int(p.G) - int(q.G), int(p.B) - int(q.B), int(p.A) - int(q.A)} {
				sum += float64(max(v, -v))
			}
		}
	}
	if mean := sum / float64(4*a.Bounds().Dx()*a.Bounds().Dy()); mean > d {
		t.Errorf("%.2f apart, want at most %.2f", mean, d)
	}
}

// TestRoundTrip writes AVIF, opaque and not, and reads it again.
func TestRoundTrip(t *testing.T) {
	if testing.Short() {
		t.Skip("left out of short runs")
	}
	soft := image.NewNRGBA(image.Rect(0, 0, 64, 48))
	for y := range 48 {
		for x := range 64 {
			soft.SetNRGBA(x, y, color.NRGBA{200, uint8(4 * x), 30, uint8(5 * y)})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, soft); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"photograph": sample(t, "coffee.png"), "transparent": b.Bytes()} {
		t.Run(name, func(t *testing.T) {
			out := render(t, resize.Plan{Width: 60, Format: resize.AVIF, Quality: 90}, data)
			info, err := resize.Probe(out.Bytes)
			if err != nil || info.Format != resize.AVIF || info.Width != 60 || info.Alpha != (name == "transparent") {
				t.Fatalf("%+v, %v", info, err)
			}
			if out.Format.ContentType() != "image/avif" {
				t.Error(out.Format.ContentType())
			}
			near(t, pixels(t, resize.Plan{}, out.Bytes), pixels(t, resize.Plan{Width: 60}, data), 4)
		})
	}
}

// files are those that the codec is tested with.
func files(t testing.TB) []string {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/gen2brain/avif").Output()
	if err != nil {
		t.Skip("no source of the codec here to take pictures from")
	}
	all, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "testdata/*.avif*"))
	if err != nil || len(all) == 0 {
		t.Skip("no pictures with the source of the codec")
	}
	return all
}

// TestFiles: each has the size that its header says, and truncated ones are errors.
func TestFiles(t *testing.T) {
	for _, file := range files(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			info, err := resize.Probe(data)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v", info)
			w, h := info.Width, info.Height
			if info.Orientation >= 5 {
				w, h = h, w
			}
			if got := pixels(t, resize.Plan{}, data).Bounds(); got != image.Rect(0, 0, w, h) {
				t.Errorf("%v, want %dx%d", got, w, h)
			}
			var r resize.Renderer
			for _, n := range []int{0, 11, 40, 100, len(data) / 3} {
				if _, err := r.Render(t.Context(), resize.Plan{Width: 10, Format: resize.PNG}, data[:n]); !errors.Is(err, resize.ErrDamaged) && !errors.Is(err, resize.ErrUnsupported) {
					t.Errorf("cut off at %d: %v", n, err)
				}
			}
		})
	}
}

// TestSizesMustAgree: a container that lies about the size is refused before the codec runs.
func TestSizesMustAgree(t *testing.T) {
	out := render(t, resize.Plan{Width: 60, Format: resize.AVIF}, sample(t, "coffee.png")).Bytes
	i := bytes.Index(out, []byte("ispe"))
	lying := bytes.Clone(out)
	lying[i+11] = 8
	var r resize.Renderer
	if _, err := r.Render(t.Context(), resize.Plan{Format: resize.PNG}, lying); !errors.Is(err, resize.ErrDamaged) {
		t.Errorf("%v, want ErrDamaged", err)
	}
	huge := bytes.Clone(out)
	copy(huge[i+8:], []byte{0, 0, 0x40, 0, 0, 0, 0x40, 0})
	if _, err := r.Render(t.Context(), resize.Plan{Format: resize.PNG}, huge); err == nil {
		t.Error("a picture of 16384x16384 was accepted")
	}
}

func FuzzProbe(f *testing.F) {
	for _, file := range files(f) {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:min(len(data), 1024)])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if match(data) {
			probe(data) // nothing to hold it to but that it ends
		}
	})
}

// A quality means what JPEG's does, so all of them are there, and none is above a higher one.
func TestQualities(t *testing.T) {
	last := 0
	for q := 1; q <= 100; q++ {
		got := ofAVIF(q)
		if got < 1 || got > 100 || got < last {
			t.Errorf("%d is %d, after %d", q, got, last)
		}
		last = got
	}
	for _, c := range []struct{ jpeg, avif int }{{1, 1}, {75, 57}, {90, 76}, {100, 100}} {
		if got := ofAVIF(c.jpeg); got != c.avif {
			t.Errorf("%d is %d, want %d", c.jpeg, got, c.avif)
		}
	}
}

// TestProfile: the colours of the picture that is shown, by a profile before a description.
func TestProfile(t *testing.T) {
	box := func(kind string, parts ...string) string {
		body := strings.Join(parts, "")
		return string(binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))) + kind + body
	}
	p3, _ := icc.FromCICP(12, 13, false)
	adobe := icc.Compact(icc.AdobeRGB, false)
	nclx := func(primaries, transfer byte) string {
		return box("colr", "nclx", string([]byte{0, primaries, 0, transfer, 0, 6, 0x80}))
	}
	for _, c := range []struct {
		name  string
		props []string // the first belongs to another picture
		want  []byte
	}{
		{"none", []string{""}, nil},
		{"sRGB", []string{nclx(12, 13), nclx(1, 13)}, nil},
		{"P3", []string{nclx(1, 13), nclx(12, 13)}, p3},
		{"PQ", []string{nclx(1, 13), nclx(9, 16)}, nil},
		{"a profile", []string{nclx(12, 13), box("colr", "prof", string(adobe))}, adobe},
		{"a profile before a description", []string{"", nclx(12, 13), box("colr", "prof", string(adobe))}, adobe},
		{"no profile", []string{nclx(1, 13), box("colr", "prof", "nonsense")}, nil},
		{"cut off", []string{nclx(1, 13), box("colr", "nclx", "\x00\x0c")}, nil},
	} {
		assoc := []byte{0, 0, 0, 0, 0, 0, 0, 2, 0, 7, 1, 1, 0, 1, byte(len(c.props) - 1)}
		for i := range c.props[1:] {
			assoc = append(assoc, byte(i+2))
		}
		for i, p := range c.props {
			if p == "" {
				c.props[i] = box("free")
			}
		}
		file := box("ftyp", "avif\x00\x00\x00\x00") + box("meta", "\x00\x00\x00\x00", box("pitm", "\x00\x00\x00\x00\x00\x01"),
			box("iprp", box("ipco", c.props...), box("ipma", string(assoc))))
		if got := profile([]byte(file)); !bytes.Equal(got, c.want) {
			t.Errorf("%s: %d bytes, want %d", c.name, len(got), len(c.want))
		}
	}
}

// TestAnimationsAreWebP: AVIF of an animation is WebP, as an animation that stops is not what was asked for; of a frame of it,
// and of an animation that is picked down to one, it is AVIF.
func TestAnimationsAreWebP(t *testing.T) {
	if testing.Short() {
		t.Skip("left out of short runs")
	}
	g := gif.GIF{LoopCount: 3}
	for i := range 3 {
		m := image.NewPaletted(image.Rect(0, 0, 40, 30), color.Palette{color.Black, color.White})
		for j := range m.Pix {
			m.Pix[j] = uint8((i + j/3) % 2)
		}
		g.Image, g.Delay = append(g.Image, m), append(g.Delay, 7)
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, &g); err != nil {
		t.Fatal(err)
	}
	out := render(t, resize.Plan{Format: resize.AVIF}, b.Bytes())
	if info, err := resize.Probe(out.Bytes); err != nil || info.Frames != 3 || info.Format != resize.WebP || out.Format.ContentType() != "image/webp" {
		t.Errorf("%s, %+v, %v", out.Format, info, err)
	}
	out = render(t, resize.Plan{Format: resize.AVIF, Animation: resize.Animation{First: 2, Last: 2}}, b.Bytes())
	if out.Format != resize.AVIF {
		t.Errorf("a frame is %s", out.Format)
	}
}
