package resize

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/imagecdn/imagecdn/internal/icc"
)

func displayP3() []byte {
	b, _ := icc.FromCICP(12, 13, false)
	return b
}

func adobeRGB() []byte { return icc.Compact(icc.AdobeRGB, false) }

func grayGamma() []byte { return icc.FromGamma(nil, 1/1.8, true) }

// press gives a profile of CMYK: a grid whose inks take away their share of light, one more than the other.
func press() []byte {
	be := binary.BigEndian
	const points = 7
	lut := []byte("mft2\x00\x00\x00\x00\x04\x03\x07\x00")
	lut = append(lut, make([]byte, 36)...)
	lut = append(lut, 0, 2, 0, 2)
	straight := []byte{0, 0, 255, 255}
	lut = append(lut, bytes.Repeat(straight, 4)...)
	at := func(i int) float64 { return float64(i%points) / (points - 1) }
	for i := range points * points * points * points {
		c, m, y, k := at(i/(points*points*points)), at(i/(points*points)), at(i/points), at(i)
		key := 1 - 0.9*k
		r, g, b := (1-0.95*c)*(1-0.1*m)*key, (1-0.35*c)*(1-0.85*m)*(1-0.05*y)*key, (1-0.1*c)*(1-0.4*m)*(1-0.9*y)*key
		for _, v := range []float64{0.3*r + 0.6*g + 0.1*b, (60*(r-g) + 128) / 255, (60*(0.4*r+0.6*g-b) + 128) / 255} {
			lut = be.AppendUint16(lut, uint16(math.Round(65280*v)))
		}
	}
	lut = append(lut, bytes.Repeat(straight, 3)...)
	p := make([]byte, 144)
	p[8] = 2
	copy(p[12:], "prtrCMYKLab ")
	copy(p[36:], "acsp")
	copy(p[68:], "\x00\x00\xf6\xd6\x00\x01\x00\x00\x00\x00\xd3\x2d")
	p[131] = 1
	copy(p[132:], "A2B0")
	be.PutUint32(p[136:], 144)
	be.PutUint32(p[140:], uint32(len(lut)))
	p = append(p, lut...)
	be.PutUint32(p, uint32(len(p)))
	return p
}

// jpegWith gives a JPEG with segments put in after SOI.
func jpegWith(file, segments []byte) []byte {
	return append(append(bytes.Clone(file[:2]), segments...), file[2:]...)
}

// pngWith gives a PNG with chunks put in after IHDR: pairs of a kind and its data.
func pngWith(file []byte, chunks ...any) []byte {
	out := bytes.Clone(file[:33])
	for i := 0; i < len(chunks); i += 2 {
		kind, data := chunks[i].(string), chunks[i+1].([]byte)
		out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
		at := len(out)
		out = append(append(out, kind...), data...)
		out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[at:]))
	}
	return append(out, file[33:]...)
}

func deflated(profile []byte) []byte {
	b := bytes.NewBufferString("x\x00\x00")
	z := zlib.NewWriter(b)
	z.Write(profile)
	z.Close()
	return b.Bytes()
}

func colorSample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "color", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// colorFiles are JPEGs in other colours than sRGB.
func colorFiles(t testing.TB) map[string][]byte {
	rgb, gray, inks := colorSample(t, "rgb.jpg"), colorSample(t, "gray.jpg"), colorSample(t, "inks.jpg")
	return map[string][]byte{
		"display-p3": jpegWith(rgb, app2(displayP3())),
		"adobe-rgb":  jpegWith(rgb, app2(adobeRGB())),
		"gray":       jpegWith(gray, app2(grayGamma())),
		"cmyk":       jpegWith(inks, app2(press())),
	}
}

// apart gives the mean difference of all channels, of 255, and the largest.
func apart(t *testing.T, a, b image.Image) (mean float64, most int) {
	t.Helper()
	if a.Bounds().Size() != b.Bounds().Size() {
		t.Fatalf("%v and %v", a.Bounds(), b.Bounds())
	}
	p, q := toNRGBA(a), toNRGBA(b)
	sum := 0
	for i := range p.Pix {
		d := int(p.Pix[i]) - int(q.Pix[i])
		d = max(d, -d)
		sum += d
		most = max(most, d)
	}
	return float64(sum) / float64(len(p.Pix)/4*3), most
}

// jpgicc converts a JPEG to sRGB by littleCMS.
func jpgicc(t *testing.T, data []byte) []byte {
	t.Helper()
	bin, err := exec.LookPath("jpgicc")
	if err != nil {
		t.Skip("jpgicc is not here (Debian: liblcms2-utils)")
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.jpg"), filepath.Join(dir, "out.jpg")
	writeFile(t, in, data)
	if b, err := exec.Command(bin, "-q100", in, out).CombinedOutput(); err != nil {
		t.Fatalf("jpgicc: %v: %s", err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestColorLittleCMS: pictures are what littleCMS 2.14 makes of the same files, within 2 of 255 on average. That is in
// testdata/color, by scripts/colour-samples.sh.
func TestColorLittleCMS(t *testing.T) {
	for name, data := range colorFiles(t) {
		t.Run(name, func(t *testing.T) {
			golden := filepath.Join("testdata", "color", name+".lcms.jpg")
			if *update {
				writeFile(t, golden, jpgicc(t, data))
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			mean, most := apart(t, pixels(t, Plan{}, data), independent(t, want))
			unconverted, _ := apart(t, pixels(t, Plan{Color: Strip}, data), independent(t, want))
			t.Logf("mean %.2f, at most %d; unconverted %.2f", mean, most, unconverted)
			if mean > 2 {
				t.Errorf("%.2f apart on average, at most %d", mean, most)
			}
			if name != "cmyk" && unconverted < 2*mean {
				t.Errorf("as near without converting: %.2f", unconverted)
			}
		})
	}
}

// TestColorPhotographs: as TestColorLittleCMS, on whole photographs, with littleCMS as it is here.
func TestColorPhotographs(t *testing.T) {
	slow(t)
	rocket := sample(t, "rocket.jpg") // which is in Adobe RGB
	var b bytes.Buffer
	if err := jpeg.Encode(&b, independent(t, sample(t, "coffee.png")), &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"rocket, Adobe RGB": rocket, "coffee, Display P3": jpegWith(b.Bytes(), app2(displayP3()))} {
		t.Run(name, func(t *testing.T) {
			mean, most := apart(t, pixels(t, Plan{}, data), independent(t, jpgicc(t, data)))
			t.Logf("mean %.2f, at most %d", mean, most)
			if mean > 2 {
				t.Errorf("%.2f apart on average", mean)
			}
		})
	}
	t.Run("press", func(t *testing.T) {
		const profile = "/usr/share/color/icc/ghostscript/default_cmyk.icc"
		if _, err := os.Stat(profile); err != nil {
			t.Skip("no profile of a press here (Debian: libgs-common)")
		}
		bin, err := exec.LookPath("jpgicc")
		if err != nil {
			t.Skip("jpgicc is not here (Debian: liblcms2-utils)")
		}
		dir := t.TempDir()
		in, out := filepath.Join(dir, "in.jpg"), filepath.Join(dir, "out.jpg")
		writeFile(t, in, b.Bytes())
		if b, err := exec.Command(bin, "-q95", "-e", "-o"+profile, in, out).CombinedOutput(); err != nil {
			t.Fatalf("jpgicc: %v: %s", err, b)
		}
		inks, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		p, err := os.ReadFile(profile)
		if err != nil {
			t.Fatal(err)
		}
		if got := profileJPEG(inks); !bytes.Equal(got, p) {
			t.Fatalf("a profile of %d bytes, want %d", len(got), len(p))
		}
		mean, most := apart(t, pixels(t, Plan{}, inks), independent(t, jpgicc(t, inks)))
		t.Logf("mean %.2f, at most %d", mean, most)
		if mean > 2 {
			t.Errorf("%.2f apart on average", mean)
		}
	})
}

// TestColorWhere: the same colours by whatever way a file says what they are.
func TestColorWhere(t *testing.T) {
	m := independent(t, colorSample(t, "rgb.jpg"))
	file := encodePixels(t, m)
	u32s := func(v ...uint32) (b []byte) {
		for _, x := range v {
			b = binary.BigEndian.AppendUint32(b, x)
		}
		return b
	}
	srgbXY := u32s(31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
	p3XY := u32s(31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
	plain := pixels(t, Plan{}, file)
	p3 := pixels(t, Plan{}, pngWith(file, "iCCP", deflated(displayP3())))
	adobe := pixels(t, Plan{}, pngWith(file, "iCCP", deflated(adobeRGB())))
	linear := pixels(t, Plan{}, pngWith(file, "iCCP", deflated(icc.FromGamma(nil, 1, false))))
	if d, _ := apart(t, plain, m); d != 0 {
		t.Fatalf("a picture without a profile comes out %v apart", d)
	}
	for _, other := range []image.Image{p3, adobe, linear} {
		if d, _ := apart(t, plain, other); d < 0.5 {
			t.Fatalf("a profile makes a difference of %v", d)
		}
	}
	srgb := icc.Compact(icc.SRGB, false)
	for _, c := range []struct {
		name string
		data []byte
		want image.Image
		most int
	}{
		{"sRGB by a profile is a copy", pngWith(file, "iCCP", deflated(srgb)), plain, 0},
		{"cICP P3", pngWith(file, "cICP", []byte{12, 13, 0, 1}), p3, 0},
		{"cICP before iCCP", pngWith(file, "iCCP", deflated(adobeRGB()), "cICP", []byte{12, 13, 0, 1}), p3, 0},
		{"cICP of sRGB before iCCP", pngWith(file, "cICP", []byte{1, 13, 0, 1}, "iCCP", deflated(adobeRGB())), plain, 0},
		{"cICP that nobody knows leaves it to iCCP", pngWith(file, "cICP", []byte{9, 16, 0, 1}, "iCCP", deflated(adobeRGB())), adobe, 0},
		{"iCCP before sRGB", pngWith(file, "sRGB", []byte{0}, "iCCP", deflated(adobeRGB())), adobe, 0},
		{"a damaged iCCP leaves it to sRGB", pngWith(file, "sRGB", []byte{0}, "gAMA", u32s(100000), "iCCP", deflated([]byte("nonsense"))), plain, 0},
		{"iCCP of gray in a picture of colours", pngWith(file, "iCCP", deflated(grayGamma())), plain, 0},
		{"iCCP that is not compressed", pngWith(file, "iCCP", append([]byte("x\x00\x00"), adobeRGB()...)), plain, 0},
		{"iCCP without a name", pngWith(file, "iCCP", bytes.Repeat([]byte("x"), 100)), plain, 0},
		{"sRGB before gAMA", pngWith(file, "gAMA", u32s(100000), "sRGB", []byte{0}), plain, 0},
		{"gAMA of sRGB", pngWith(file, "gAMA", u32s(45455)), plain, 0},
		{"gAMA and cHRM of sRGB", pngWith(file, "gAMA", u32s(45455), "cHRM", srgbXY), plain, 0},
		{"gAMA 1", pngWith(file, "gAMA", u32s(100000)), linear, 0},
		{"gAMA 0", pngWith(file, "gAMA", u32s(0)), plain, 0},
		{"cHRM alone", pngWith(file, "cHRM", p3XY), plain, 0},
		{"gAMA and cHRM of nothing", pngWith(file, "gAMA", u32s(45455), "cHRM", make([]byte, 32)), plain, 0},
		{"JPEG in one segment", jpegWith(colorSample(t, "rgb.jpg"), app2(displayP3())), p3, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d, most := apart(t, pixels(t, Plan{}, c.data), c.want); most > c.most && d > 1 || c.most == 0 && most > 0 {
				t.Errorf("mean %.2f, at most %d", d, most)
			}
		})
	}
	var r Renderer
	long := deflated(append(adobeRGB(), make([]byte, icc.MaxBytes)...))
	if _, err := r.Render(t.Context(), Plan{}, pngWith(file, "iCCP", long)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("iCCP that is too long: %v, want ErrTooLarge", err)
	}
	gamma := pixels(t, Plan{}, pngWith(file, "gAMA", u32s(45455), "cHRM", p3XY))
	if d, _ := apart(t, gamma, p3); d > 4 { // by a gamma of 2.2, which is not sRGB's curve
		t.Errorf("cHRM of P3: %.2f from its profile", d)
	}
}

// TestColorChunks: profiles in several segments, and damaged ones, which are as none.
func TestColorChunks(t *testing.T) {
	file := colorSample(t, "rgb.jpg")
	p := displayP3()
	chunk := func(i, n int, data []byte) []byte {
		b := []byte{0xff, mAPP2}
		b = binary.BigEndian.AppendUint16(b, uint16(16+len(data)))
		return append(append(b, "ICC_PROFILE\x00"...), append([]byte{byte(i), byte(n)}, data...)...)
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	a, b, c := p[:100], p[100:300], p[300:]
	big := append(bytes.Clone(p), make([]byte, 200_000)...)
	for _, x := range []struct {
		name string
		data []byte
		want []byte
	}{
		{"one", chunk(1, 1, p), p},
		{"three", join(chunk(1, 3, a), chunk(2, 3, b), chunk(3, 3, c)), p},
		{"in another order", join(chunk(3, 3, c), chunk(1, 3, a), chunk(2, 3, b)), p},
		{"of 64 KB each", app2(big), big},
		{"one missing", join(chunk(1, 3, a), chunk(3, 3, c)), nil},
		{"one twice", join(chunk(1, 3, a), chunk(2, 3, b), chunk(2, 3, b), chunk(3, 3, c)), nil},
		{"of different counts", join(chunk(1, 2, a), chunk(2, 3, b)), nil},
		{"number 0", chunk(0, 1, p), nil},
		{"beyond the count", chunk(2, 1, p), nil},
		{"empty", chunk(1, 1, nil), nil},
		{"of gray", chunk(1, 1, grayGamma()), nil},
		{"of CMYK", chunk(1, 1, press()), nil},
	} {
		if got := profileJPEG(jpegWith(file, x.data)); !bytes.Equal(got, x.want) {
			t.Errorf("%s: %d bytes, want %d", x.name, len(got), len(x.want))
		}
	}
}

// TestColorSpaces: what Plan.Color says is what comes out, in each format that holds a profile and in those that do not.
// profileOf gives the profile that a picture is by, or nil.
func profileOf(t *testing.T, data []byte) []byte {
	t.Helper()
	info, err := Probe(data)
	if err != nil {
		t.Fatal(err)
	}
	in, err := newInput(Input{Bytes: data}, info)
	if err != nil {
		t.Fatal(err)
	}
	return in.profile()
}

func TestColorSpaces(t *testing.T) {
	files := colorFiles(t)
	files["untagged"] = colorSample(t, "rgb.jpg")
	files["gray PNG"] = pngWith(encodePixels(t, independent(t, colorSample(t, "gray.jpg"))), "iCCP", deflated(grayGamma()))
	soft := soft(40, 30)
	files["transparent"] = pngWith(encodePixels(t, soft), "iCCP", deflated(displayP3()))
	for name, data := range files {
		original := profileOf(t, data)
		srgb := pixels(t, Plan{Width: 30}, data)
		for _, format := range []Format{JPEG, PNG, WebP, GIF} {
			for space := SRGB; space <= Strip; space++ {
				p := Plan{Width: 30, Format: format, Quality: 95, Color: space}
				out := render(t, p, data)
				info, err := Probe(out.Bytes)
				if err != nil || info.Format != format {
					t.Fatalf("%s %s: %+v %v", name, p, info, err)
				}
				c := codecFor(format)
				var profile []byte
				if c.Profile != nil {
					profile = c.Profile(out.Bytes)
				}
				gray := name == "gray" || name == "gray PNG"
				keeps := original != nil && name != "cmyk" && (!gray || format == JPEG || format == PNG)
				var want []byte
				switch {
				case format == GIF:
				case space == Origin && keeps:
					want = original
				case space == TinySRGB:
					want = icc.Compact(icc.SRGB, gray && format != WebP)
				case space == AdobeRGB:
					want = icc.Compact(icc.AdobeRGB, gray && format != WebP)
				}
				if !bytes.Equal(profile, want) {
					t.Errorf("%s %s: a profile of %d bytes, want %d", name, p, len(profile), len(want))
				}
				// Whatever its numbers, the picture is the same once it is read by its profile.
				if format == PNG && space != Strip && name != "transparent" {
					d, most := apart(t, pixels(t, Plan{}, out.Bytes), srgb)
					if d > 1 || most > 12 {
						t.Errorf("%s %s: read again, mean %.2f and at most %d apart", name, p, d, most)
					}
				}
			}
		}
	}
}

// TestColorMarks: marks and backgrounds end in the same space as the picture.
func TestColorMarks(t *testing.T) {
	flat := func(c color.NRGBA) []byte {
		m := image.NewNRGBA(image.Rect(0, 0, 32, 32))
		fill(m, c)
		return encodePixels(t, m)
	}
	want := color.NRGBA{200, 100, 50, 255}
	back, _ := icc.Parse(icc.Compact(icc.SRGB, false))
	inAdobe := []uint8{want.R, want.G, want.B, 255}
	icc.New(back, icc.AdobeRGB).RGB(inAdobe, inAdobe)
	adobe := pngWith(flat(color.NRGBA{inAdobe[0], inAdobe[1], inAdobe[2], 255}), "iCCP", deflated(adobeRGB()))
	for _, space := range []ColorSpace{SRGB, AdobeRGB, Origin} {
		p := Plan{Width: 64, Height: 40, Fit: Fill, Background: &want, Format: PNG, Color: space, Marks: []Mark{{}}}
		out := render(t, p, flat(want), adobe)
		m := toNRGBA(pixels(t, Plan{}, out.Bytes)) // as its profile says
		for i := 0; i < len(m.Pix); i += 4 {
			px := m.Pix[i:][:4]
			for ch, v := range []uint8{want.R, want.G, want.B, 255} {
				if d := int(px[ch]) - int(v); d < -2 || d > 2 {
					t.Fatalf("%d: pixel %d is %v, want %v", space, i/4, px, want)
				}
			}
		}
	}
}

// TestColorPyramid: renders that share a decoding convert for themselves.
func TestColorPyramid(t *testing.T) {
	for name, data := range colorFiles(t) {
		p := NewPyramids(nil)
		r := Renderer{Pyramids: p}
		var sizes [3]*image.NRGBA
		for i, space := range []ColorSpace{SRGB, Strip, SRGB} {
			pic, err := r.RenderInputs(t.Context(), Plan{Format: PNG, Color: space}, []Input{{ID: name, Bytes: data}})
			if err != nil {
				t.Fatal(err)
			}
			m, err := png.Decode(bytes.NewReader(pic.Bytes))
			if err != nil {
				t.Fatal(err)
			}
			sizes[i] = toNRGBA(m)
		}
		if !bytes.Equal(sizes[0].Pix, sizes[2].Pix) {
			t.Errorf("%s: the second render differs", name)
		}
		if name != "cmyk" && bytes.Equal(sizes[0].Pix, sizes[1].Pix) {
			t.Errorf("%s: nothing is converted", name)
		}
		p.Close()
	}
}

// TestColorCache: what was made of profiles is bounded, and made once.
func TestColorCache(t *testing.T) {
	c := transformCache{most: 3 << 20}
	first := press()
	if a, b := c.get(first, icc.SRGB), c.get(first, icc.SRGB); a == nil || a != b {
		t.Error("made twice")
	}
	for i := range 8 {
		p := press()
		p[100] = byte(1 + i) // in the header, where nobody looks
		if c.get(p, icc.SRGB) == nil {
			t.Fatal("no transform")
		}
	}
	var all sync.WaitGroup
	made := make([]*icc.Transform, 8)
	for i := range made {
		all.Go(func() { made[i] = c.get(displayP3(), icc.AdobeRGB) })
	}
	all.Wait()
	for _, m := range made {
		if m == nil || m != made[0] {
			t.Error("made more than once by those who want it at a time")
		}
	}
	if c.get([]byte("nonsense"), icc.SRGB) != nil {
		t.Error("a transform of nonsense")
	}
	bytes := 0
	for e := c.order.Front(); e != nil; e = e.Next() {
		bytes += e.Value.(*cachedTransform).bytes
	}
	if bytes != c.bytes || bytes > c.most || len(c.held) != c.order.Len() || len(c.held) < 3 {
		t.Errorf("%d bytes of %d in %d of %d", bytes, c.bytes, c.order.Len(), len(c.held))
	}
}

// FuzzColor: no file makes reading what it says of colours panic.
func FuzzColor(f *testing.F) {
	for _, b := range colorFiles(f) {
		f.Add(b)
	}
	file := colorSample(f, "rgb.jpg")
	m, err := jpeg.Decode(bytes.NewReader(file))
	if err != nil {
		f.Fatal(err)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		f.Fatal(err)
	}
	f.Add(pngWith(b.Bytes()[:60], "iCCP", deflated(displayP3())))
	f.Add(pngWith(b.Bytes()[:60], "cICP", []byte{12, 13, 0, 1}, "gAMA", []byte{0, 0, 200, 0}))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, c := range *registry.Load() {
			if !c.Match(data) || c.Profile == nil {
				continue
			}
			if p := c.Profile(data); len(p) > icc.MaxBytes {
				t.Fatalf("a profile of %d bytes", len(p))
			}
		}
	})
}

func BenchmarkColor(b *testing.B) {
	files := colorFiles(b)
	files["untagged"] = colorSample(b, "rgb.jpg")
	rocket := sample(b, "rocket.jpg")
	files["rocket"] = rocket
	var r Renderer
	for name, data := range files {
		for _, space := range []ColorSpace{SRGB, Strip} {
			b.Run(name+map[ColorSpace]string{SRGB: "/srgb", Strip: "/strip"}[space], func(b *testing.B) {
				for b.Loop() {
					if _, err := r.Render(b.Context(), Plan{Width: 500, Format: JPEG, Color: space}, data); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
