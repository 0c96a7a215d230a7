package icc

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata anew, by transicc (Debian: liblcms2-utils)")

// A tagged is a tag of a profile that a test makes.
type tagged struct {
	name string
	data []byte
}

// profile puts a profile together.
func profile(version byte, class, space, pcs string, tags ...tagged) []byte {
	be := binary.BigEndian
	b := make([]byte, 128)
	b[8] = version
	copy(b[12:], class+space+pcs)
	copy(b[24:], "\x07\xea\x00\x01\x00\x01\x00\x00\x00\x00\x00\x00acsp")
	copy(b[68:], "\x00\x00\xf6\xd6\x00\x01\x00\x00\x00\x00\xd3\x2d")
	b = be.AppendUint32(b, uint32(len(tags)))
	at := 132 + 12*len(tags)
	for _, t := range tags {
		b = append(b, t.name...)
		b = be.AppendUint32(b, uint32(at))
		b = be.AppendUint32(b, uint32(len(t.data)))
		at += (len(t.data) + 3) &^ 3
	}
	for _, t := range tags {
		b = pad4(append(b, t.data...))
	}
	be.PutUint32(b, uint32(len(b)))
	return b
}

func pad4(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func para(kind int, params ...float64) []byte {
	b := []byte{'p', 'a', 'r', 'a', 0, 0, 0, 0, 0, byte(kind), 0, 0}
	for _, v := range params {
		b = binary.BigEndian.AppendUint32(b, s15(v))
	}
	return b
}

// table gives a curve of n numbers.
func table(n int, f func(float64) float64) []byte {
	b := binary.BigEndian.AppendUint32([]byte("curv\x00\x00\x00\x00"), uint32(n))
	for i := range n {
		b = binary.BigEndian.AppendUint16(b, uint16(math.Round(65535*f(float64(i)/float64(n-1)))))
	}
	return b
}

// rgbOf makes an RGB profile of P3's primaries and three curves.
func rgbOf(version byte, r, g, b []byte) []byte {
	tags := []tagged{{"rTRC", r}, {"gTRC", g}, {"bTRC", b}}
	m := colorants(p3XY)
	for i, n := range []string{"rXYZ", "gXYZ", "bXYZ"} {
		x := []byte("XYZ \x00\x00\x00\x00")
		for j := range 3 {
			x = binary.BigEndian.AppendUint32(x, s15(m[j][i]))
		}
		tags = append(tags, tagged{n, x})
	}
	return profile(version, "mntr", "RGB ", "XYZ ", tags...)
}

// inks gives a colour of channels, additive ones where there are three, as the connection space has it, 0 to 1.
func inks(v []float64, lab bool) [3]float64 {
	var rgb [3]float64
	for i := range rgb {
		rgb[i] = v[i]
		if len(v) == 4 {
			rgb[i] = (1 - 0.9*v[i]) * (1 - 0.93*v[3])
		}
	}
	r, g, b := rgb[0], rgb[1], rgb[2]
	if lab {
		return [3]float64{0.3*r + 0.6*g + 0.1*b, (60*(r-g) + 128) / 255, (50*(0.5*r+0.5*g-b) + 128) / 255}
	}
	m := colorants(adobeXY).of([3]float64{r * r, g * g, b * b})
	const most = 1 + 32767.0/32768
	return [3]float64{m[0] / most, m[1] / most, m[2] / most}
}

// gridOf gives the nodes of a grid of n channels, of one or two bytes a number, times f.
func gridOf(n, points, width int, f float64, lab bool) (b []byte) {
	total := 1
	for range n {
		total *= points
	}
	v := make([]float64, n)
	for i := range total {
		for ch, k := n-1, i; ch >= 0; ch, k = ch-1, k/points {
			v[ch] = float64(k%points) / float64(points-1)
		}
		for _, x := range inks(v, lab) {
			if width == 1 {
				b = append(b, byte(math.Round(255*x*f)))
			} else {
				b = binary.BigEndian.AppendUint16(b, uint16(math.Round(65535*x*f)))
			}
		}
	}
	return b
}

// mft makes lut8Type or lut16Type.
func mft(n, points, width int, lab bool) []byte {
	kind, f := "mft1", 1.0
	if width == 2 {
		kind = "mft2"
		if lab {
			f = 65280.0 / 65535
		}
	}
	b := []byte(kind + "\x00\x00\x00\x00")
	b = append(b, byte(n), 3, byte(points), 0)
	for i := range 9 {
		b = binary.BigEndian.AppendUint32(b, s15(float64(1-min(i%4, 1))))
	}
	in := table(256, func(x float64) float64 { return math.Pow(x, 1.2) })[12:]
	out := table(256, func(x float64) float64 { return x })[12:]
	if width == 2 {
		b = append(b, 1, 0, 1, 0)
	} else {
		narrow := func(t []byte) (s []byte) {
			for i := range 256 {
				s = append(s, t[2*i])
			}
			return s
		}
		in, out = narrow(in), narrow(out)
	}
	b = append(b, bytes.Repeat(in, n)...)
	b = append(b, gridOf(n, points, width, f, lab)...)
	return append(b, bytes.Repeat(out, 3)...)
}

// mAB makes lutAToBType with all of its steps, or without a grid.
func mAB(n, points, width int, lab bool) []byte {
	b := []byte("mAB \x00\x00\x00\x00")
	b = append(b, byte(n), 3, 0, 0)
	b = append(b, make([]byte, 20)...)
	put := func(slot int, part []byte) {
		binary.BigEndian.PutUint32(b[12+4*slot:], uint32(len(b)))
		b = pad4(append(b, part...))
	}
	put(0, bytes.Repeat(pad4(para(0, 1)), 3))
	var m []byte
	for _, v := range []float64{0.95, 0.02, 0, 0.01, 0.96, 0.01, 0, 0, 0.97, 0.01, 0.005, 0.01} {
		m = binary.BigEndian.AppendUint32(m, s15(v))
	}
	put(1, m)
	put(2, bytes.Repeat(pad4(para(0, 1.1)), 3))
	if points > 0 {
		g := make([]byte, 20)
		for i := range n {
			g[i] = byte(points)
		}
		g[16] = byte(width)
		put(3, append(g, gridOf(n, points, width, 1, lab)...))
		put(4, bytes.Repeat(pad4(table(33, func(x float64) float64 { return x * x })), n))
	}
	return b
}

func cicp(primaries, transfer int, gray bool) []byte {
	b, _ := FromCICP(primaries, transfer, gray)
	return b
}

func gamma(g float64) []byte { return Curve{g}.tag() }

// profiles are those that littleCMS is asked about, one for each thing that there is to read.
func profiles() map[string][]byte {
	srgb := Curve{}.tag()
	p3 := p3XY
	return map[string][]byte{
		"display-p3":    Make("Display P3", &p3, Curve{}),
		"adobe-rgb":     Compact(AdobeRGB, false),
		"srgb":          Compact(SRGB, false),
		"rec2020":       cicp(9, 13, false),
		"linear":        rgbOf(2, gamma(1), gamma(1), []byte("curv\x00\x00\x00\x00\x00\x00\x00\x00")),
		"gammas":        rgbOf(2, gamma(1.5), gamma(2), gamma(2.5)),
		"tables":        rgbOf(2, table(2, func(x float64) float64 { return x }), table(64, func(x float64) float64 { return x * x }), table(1024, math.Sqrt)),
		"para-0-1-2":    rgbOf(4, para(0, 1.8), para(1, 2, 1.1, -0.1), para(2, 2.2, 0.9, -0.05, 0.05)),
		"para-3-4":      rgbOf(4, srgb, para(3, 2, 0.9, 0.1, 0.3, 0.2), para(4, 2.4, 0.9, 0.1, 0.3, 0.2, 0.01, 0.02)),
		"gray-gamma":    Make("gray", nil, Curve{1.8}),
		"gray-table":    profile(2, "mntr", "GRAY", "XYZ ", tagged{"kTRC", table(300, func(x float64) float64 { return x * x * x })}),
		"gray-lab":      profile(2, "mntr", "GRAY", "Lab ", tagged{"kTRC", table(16, math.Sqrt)}),
		"rgb-mft1-lab":  profile(2, "mntr", "RGB ", "Lab ", tagged{"A2B0", mft(3, 9, 1, true)}),
		"rgb-mft2-lab":  profile(2, "scnr", "RGB ", "Lab ", tagged{"A2B0", mft(3, 7, 2, true)}),
		"rgb-mft2-xyz":  profile(4, "mntr", "RGB ", "XYZ ", tagged{"A2B0", mft(3, 9, 2, false)}),
		"rgb-mab-lab":   profile(4, "spac", "RGB ", "Lab ", tagged{"A2B0", mAB(3, 9, 2, true)}),
		"rgb-mab-xyz":   profile(4, "mntr", "RGB ", "XYZ ", tagged{"A2B0", mAB(3, 0, 0, false)}),
		"cmyk-mft1-lab": profile(2, "prtr", "CMYK", "Lab ", tagged{"A2B0", mft(4, 5, 1, true)}),
		"cmyk-mft2-lab": profile(2, "prtr", "CMYK", "Lab ", tagged{"A2B0", mft(4, 6, 2, true)}),
		"cmyk-mft2-xyz": profile(4, "prtr", "CMYK", "XYZ ", tagged{"A2B0", mft(4, 5, 2, false)}),
		"cmyk-mab-lab":  profile(4, "prtr", "CMYK", "Lab ", tagged{"A2B0", mAB(4, 5, 1, true)}),
	}
}

// colours gives pixels of four bytes that reach all corners of a space.
func colours(s Space, steps int) (px []uint8) {
	total := 1
	for range s {
		total *= steps
	}
	for i := range total {
		at := len(px)
		px = append(px, 0, 0, 0, 255)
		k := i
		for ch := range int(s) {
			px[at+ch] = uint8(k % steps * 255 / (steps - 1))
			k /= steps
		}
		if s == Gray {
			px[at+1], px[at+2] = px[at], px[at]
		}
	}
	return px
}

// steps are the values of each channel that are asked for: off the points of the grids here.
var steps = map[Space]int{Gray: 52, RGB: 8, CMYK: 5}

// littleCMS asks transicc what px become: perceptual, its own sRGB.
func littleCMS(t testing.TB, file string, s Space, px []uint8) [][3]float64 {
	t.Helper()
	bin, err := exec.LookPath("transicc")
	if err != nil {
		t.Skip("transicc is not here (Debian: liblcms2-utils)")
	}
	var in bytes.Buffer
	for ; len(px) >= 4; px = px[4:] {
		for ch := range int(s) {
			v := float64(px[ch])
			if s == CMYK {
				v *= 100.0 / 255
			}
			fmt.Fprintf(&in, "%.6f ", v)
		}
		in.WriteByte('\n')
	}
	cmd := exec.Command(bin, "-n", "-s", "-t0", "-i"+file, "-o*sRGB")
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("transicc: %v: %s", err, out)
	}
	return parse(t, out)
}

func parse(t testing.TB, b []byte) (all [][3]float64) {
	t.Helper()
	for line := range strings.Lines(string(b)) {
		var v [3]float64
		if n, _ := fmt.Sscan(line, &v[0], &v[1], &v[2]); n == 3 {
			all = append(all, v)
		}
	}
	return all
}

func convert(tr *Transform, px []uint8) []uint8 {
	dst := make([]uint8, len(px))
	if tr.Space() == CMYK {
		tr.CMYK(dst, px)
	} else {
		tr.RGB(dst, px)
	}
	return dst
}

// compare fails unless got is near want, in 255ths: on average, and everywhere.
func compare(t *testing.T, px, got []uint8, want [][3]float64, mean, most float64) {
	t.Helper()
	if len(want) != len(px)/4 {
		t.Fatalf("%d colours, of %d", len(want), len(px)/4)
	}
	sum, worst, at := 0.0, 0.0, 0
	for i, w := range want {
		for ch, v := range w {
			d := math.Abs(float64(got[4*i+ch]) - v)
			sum += d
			if d > worst {
				worst, at = d, i
			}
		}
	}
	t.Logf("mean %.3f, at most %.2f", sum/float64(3*len(want)), worst)
	if sum/float64(3*len(want)) > mean || worst > most {
		t.Errorf("mean %.3f of %v, at most %.2f of %v: %v becomes %v, want %.1f", sum/float64(3*len(want)), mean, worst, most,
			px[4*at:][:4], got[4*at:][:4], want[at])
	}
}

// TestLittleCMS compares with what littleCMS 2.14 makes of the same profiles. The numbers are in testdata, by
//
//	go test ./internal/icc -run TestLittleCMS -update
func TestLittleCMS(t *testing.T) {
	for name, b := range profiles() {
		t.Run(name, func(t *testing.T) {
			p, err := Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			px := colours(p.Space(), steps[p.Space()])
			golden := filepath.Join("testdata", name+".txt")
			if *update {
				file := filepath.Join(t.TempDir(), name+".icc")
				if err := os.WriteFile(file, b, 0o666); err != nil {
					t.Fatal(err)
				}
				var out bytes.Buffer
				for _, v := range littleCMS(t, file, p.Space(), px) {
					fmt.Fprintf(&out, "%.2f %.2f %.2f\n", v[0], v[1], v[2])
				}
				if err := os.WriteFile(golden, out.Bytes(), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, px, convert(New(p, SRGB), px), parse(t, want), 0.5, 4)
		})
	}
}

// TestSystem compares with littleCMS on the profiles that this machine has.
func TestSystem(t *testing.T) {
	var files []string
	for _, pattern := range []string{"/usr/share/color/icc/*.ic[cm]", "/usr/share/color/icc/*/*.ic[cm]"} {
		f, _ := filepath.Glob(pattern)
		files = append(files, f...)
	}
	if len(files) == 0 {
		t.Skip("no profiles here (Debian: icc-profiles-free, colord-data, libgs-common)")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p, err := Parse(b)
			if err != nil {
				t.Skip(err)
			}
			px := colours(p.Space(), steps[p.Space()])
			tr := New(p, SRGB)
			t.Log("identity:", tr.Identity())
			compare(t, px, convert(tr, px), littleCMS(t, file, p.Space(), px), 0.5, 8)
		})
	}
}

// TestIdentity: profiles of sRGB change nothing, whoever wrote them; others do.
func TestIdentity(t *testing.T) {
	for name, b := range profiles() {
		p, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		tr := New(p, SRGB)
		if tr.Identity() != (name == "srgb") {
			t.Errorf("%s: identity %v", name, tr.Identity())
		}
	}
	// The curve of a tenth of the numbers that HP's profile has, with primaries rounded: as compact profiles have it.
	coarse := table(100, func(x float64) float64 {
		if x <= 0.04045 {
			return x / 12.92
		}
		return math.Pow((x+0.055)/1.055, 2.4)
	})
	m := Compact(SRGB, false)
	tags, _ := readTags(m)
	var all []tagged
	for _, n := range []string{"rXYZ", "gXYZ", "bXYZ"} {
		all = append(all, tagged{n, tags[n]})
	}
	for _, n := range []string{"rTRC", "gTRC", "bTRC"} {
		all = append(all, tagged{n, coarse})
	}
	p, err := Parse(profile(2, "mntr", "RGB ", "XYZ ", all...))
	if err != nil {
		t.Fatal(err)
	}
	if !New(p, SRGB).Identity() {
		t.Error("sRGB by a table of 100 numbers is not taken to be sRGB")
	}
	p, err = Parse(Compact(AdobeRGB, false))
	if err != nil {
		t.Fatal(err)
	}
	if !New(p, AdobeRGB).Identity() {
		t.Error("Adobe RGB to Adobe RGB changes something")
	}
}

// TestGrays: what is gray stays gray, in every profile that screens have, and white stays white.
func TestGrays(t *testing.T) {
	for _, name := range []string{"display-p3", "adobe-rgb", "rec2020", "gray-gamma", "gray-table", "gray-lab"} {
		p, err := Parse(profiles()[name])
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range []Output{SRGB, AdobeRGB} {
			tr := New(p, o)
			gray := tr.Gray()
			if gray == nil {
				t.Fatalf("%s: grays do not stay gray", name)
			}
			for v := range 256 {
				px := []uint8{uint8(v), uint8(v), uint8(v), 7}
				tr.RGB(px, px)
				for _, c := range px[:3] {
					if d := int(c) - int(gray[v]); d < -1 || d > 1 {
						t.Fatalf("%s: gray %d becomes %v, and alone %d", name, v, px, gray[v])
					}
				}
				if px[3] != 7 {
					t.Fatalf("%s: alpha 7 becomes %d", name, px[3])
				}
			}
			if gray[255] != 255 {
				t.Errorf("%s: white becomes %d", name, gray[255])
			}
		}
	}
}

// TestRoundTrip: sRGB fits in Adobe RGB, and comes back as it was.
func TestRoundTrip(t *testing.T) {
	from, err := Parse(Compact(SRGB, false))
	if err != nil {
		t.Fatal(err)
	}
	back, err := Parse(Compact(AdobeRGB, false))
	if err != nil {
		t.Fatal(err)
	}
	px := colours(RGB, 16)
	adobe := convert(New(from, AdobeRGB), px)
	if bytes.Equal(adobe, px) {
		t.Fatal("Adobe RGB is sRGB")
	}
	var want [][3]float64
	for p := px; len(p) >= 4; p = p[4:] {
		want = append(want, [3]float64{float64(p[0]), float64(p[1]), float64(p[2])})
	}
	compare(t, px, convert(New(back, SRGB), adobe), want, 0.5, 6)
}

// TestMade: what PNG and CICP say becomes a profile, and sRGB none.
func TestMade(t *testing.T) {
	srgb, wide := srgbXY, p3XY
	for _, c := range []struct {
		name string
		b    []byte
		made bool
	}{
		{"CICP sRGB", cicp(1, 13, false), false},
		{"CICP television", cicp(1, 1, false), false},
		{"CICP P3", cicp(12, 13, false), true},
		{"CICP gray by the curve of sRGB", cicp(12, 13, true), false},
		{"CICP linear", cicp(1, 8, false), true},
		{"CICP PQ", cicp(9, 16, false), false},
		{"CICP unspecified", cicp(2, 2, false), false},
		{"gamma of sRGB", FromGamma(nil, 0.45455, false), false},
		{"gamma and primaries of sRGB", FromGamma(&srgb, 0.45455, false), false},
		{"gamma of old Macs", FromGamma(nil, 0.55556, false), true},
		{"gamma of old Macs, gray", FromGamma(nil, 0.55556, true), true},
		{"primaries of P3", FromGamma(&wide, 0.45455, false), true},
		{"no gamma", FromGamma(nil, 0, false), false},
		{"no primaries", FromGamma(&Primaries{}, 0.45455, false), false},
		{"primaries in a line", FromGamma(&Primaries{{0.1, 0.1}, {0.2, 0.2}, {0.3, 0.3}, d65}, 0.45455, false), false},
	} {
		if (c.b != nil) != c.made {
			t.Errorf("%s: %d bytes", c.name, len(c.b))
		}
		if c.b != nil {
			p, err := Parse(c.b)
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			} else if New(p, SRGB).Identity() {
				t.Errorf("%s: sRGB", c.name)
			}
		}
	}
}

// FuzzParse: no profile makes anything panic, or give other than pixels.
func FuzzParse(f *testing.F) {
	for _, b := range profiles() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			return
		}
		if p.Space() != SpaceOf(b) {
			t.Fatalf("a profile of %d channels, by its header of %d", p.Space(), SpaceOf(b))
		}
		c := newConversion(p, SRGB)
		for _, v := range []float64{0, 0.3, 1} {
			for _, x := range c.at([]float64{v, 1 - v, v, v}[:p.Space()]) {
				if math.IsNaN(x) {
					t.Fatal("not a number")
				}
			}
		}
		if p.lut != nil && len(b)%16 != 0 { // a grid takes 20 ms
			return
		}
		tr := New(p, SRGB)
		if tr.Bytes() > 700<<10 {
			t.Fatalf("%d bytes", tr.Bytes())
		}
		convert(tr, []byte{0, 0, 0, 0, 1, 2, 3, 4, 255, 128, 0, 255, 255, 255, 255, 255, 9})
	})
}

func BenchmarkConvert(b *testing.B) {
	for _, name := range []string{"display-p3", "adobe-rgb", "gray-gamma", "rgb-mft2-lab", "cmyk-mft2-lab"} {
		p, err := Parse(profiles()[name])
		if err != nil {
			b.Fatal(err)
		}
		tr := New(p, SRGB)
		px := make([]uint8, 4<<20)
		seed := uint32(1)
		for i := range px { // neighbours differ a little, as in photographs
			seed = seed*1664525 + 1013904223
			px[i] = uint8(i/4096 + int(seed>>28))
		}
		dst := make([]uint8, len(px))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(px)))
			for b.Loop() {
				if tr.Space() == CMYK {
					tr.CMYK(dst, px)
				} else {
					tr.RGB(dst, px)
				}
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	for _, name := range []string{"display-p3", "rgb-mft2-lab", "cmyk-mft2-lab"} {
		data := profiles()[name]
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				p, err := Parse(data)
				if err != nil {
					b.Fatal(err)
				}
				New(p, SRGB)
			}
		})
	}
}
