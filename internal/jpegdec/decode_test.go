package jpegdec

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// testdata gives the files of testdata/, which testdata/make.sh makes, by their names without .jpg.
func testdata(t testing.TB) map[string][]byte {
	t.Helper()
	return files(t, "testdata/*.jpg", ".jpg")
}

func files(t testing.TB, pattern, suffix string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimSuffix(filepath.Base(name), suffix)] = data
	}
	return files
}

// corpus gives the JPEGs of the Go distribution and the module's samples.
func corpus(t testing.TB) map[string][]byte {
	all := files(t, "../samples/photos/*.jpg", "")
	for name, data := range files(t, filepath.Join(runtime.GOROOT(), "src/image/testdata/*.jpeg"), "") {
		all[name] = data
	}
	if len(all) < 10 {
		t.Log("the Go distribution's test files are not here")
	}
	return all
}

// A plane of samples, w by h of them shown.
type plane struct {
	pix    []uint8
	stride int
	w, h   int
}

// planes gives the planes of a picture, interleaved ones as one.
func planes(t testing.TB, m image.Image) []plane {
	t.Helper()
	w, h := m.Bounds().Dx(), m.Bounds().Dy()
	switch m := m.(type) {
	case *image.Gray:
		return []plane{{m.Pix, m.Stride, w, h}}
	case *image.YCbCr:
		x, y := ratioOf(m.SubsampleRatio)
		cw, ch := (w+x-1)/x, (h+y-1)/y
		return []plane{{m.Y, m.YStride, w, h}, {m.Cb, m.CStride, cw, ch}, {m.Cr, m.CStride, cw, ch}}
	case *image.RGBA:
		return []plane{{m.Pix, m.Stride, 4 * w, h}}
	case *image.CMYK:
		return []plane{{m.Pix, m.Stride, 4 * w, h}}
	}
	t.Fatalf("a picture of type %T", m)
	return nil
}

func ratioOf(r image.YCbCrSubsampleRatio) (x, y int) {
	for k, v := range ratios {
		if v == r {
			return k[0], k[1]
		}
	}
	panic(r)
}

// distance is the largest difference of two pictures' samples, or an error that says what else differs.
func distance(t testing.TB, got, want image.Image) (int, error) {
	t.Helper()
	if fmt.Sprintf("%T", got) != fmt.Sprintf("%T", want) || got.Bounds() != want.Bounds() {
		return 0, fmt.Errorf("%T %v, want %T %v", got, got.Bounds(), want, want.Bounds())
	}
	a, b := planes(t, got), planes(t, want)
	far := 0
	for i := range a {
		if a[i].w != b[i].w || a[i].h != b[i].h {
			return 0, fmt.Errorf("plane %d of %dx%d, want %dx%d", i, a[i].w, a[i].h, b[i].w, b[i].h)
		}
		for y := range a[i].h {
			ra, rb := a[i].pix[y*a[i].stride:][:a[i].w], b[i].pix[y*b[i].stride:][:a[i].w]
			for x := range ra {
				far = max(far, int(ra[x])-int(rb[x]), int(rb[x])-int(ra[x]))
			}
		}
	}
	return far, nil
}

func within(t *testing.T, got, want image.Image, most int) {
	t.Helper()
	if d, err := distance(t, got, want); err != nil || d > most {
		t.Errorf("%d levels off, of at most %d: %v", d, most, err)
	}
}

func decode(t testing.TB, data []byte, o *Options) image.Image {
	t.Helper()
	m, err := Decode(t.Context(), data, o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func decodeStd(t testing.TB, data []byte) image.Image {
	t.Helper()
	m, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// plainOf is the file whose coefficients the file of a name has, too: sequential, interleaved, without restarts.
func plainOf(name string) string {
	for _, s := range []string{"-restart", "-progressive", "-separate"} {
		name = strings.ReplaceAll(name, s, "")
	}
	return name
}

// TestAgainstStd: every sample is within one level of image/jpeg's, and all ways to write the same
// coefficients give the same samples.
func TestAgainstStd(t *testing.T) {
	all := testdata(t)
	delete(all, "arithmetic")
	for name, data := range all {
		t.Run(name, func(t *testing.T) {
			plain := all[plainOf(name)]
			got := decode(t, data, nil)
			within(t, got, decodeStd(t, plain), 1)
			within(t, got, decode(t, plain, nil), 0)
		})
	}
	for name, data := range corpus(t) {
		t.Run(name, func(t *testing.T) { within(t, decode(t, data, nil), decodeStd(t, data), 1) })
	}
}

// reduced gives a plane at 1/denom, slowly: the definition of the DCT of the samples of each block, and of the
// inverse of as many points as are left.
func reduced(p plane, denom int) plane {
	n := 8 / denom
	q := plane{stride: (p.w + 7) / 8 * n, w: (p.w + denom - 1) / denom, h: (p.h + denom - 1) / denom}
	q.pix = make([]uint8, q.stride*((p.h+7)/8*n))
	cosine := func(x, u, n int) float64 {
		c := math.Cos(float64(2*x+1) * float64(u) * math.Pi / float64(2*n))
		if u == 0 {
			c /= math.Sqrt2
		}
		return c
	}
	for by := 0; by < p.h; by += 8 {
		for bx := 0; bx < p.w; bx += 8 {
			var f [8][8]float64
			for u := range n {
				for v := range n {
					for y := range 8 {
						for x := range 8 {
							f[u][v] += float64(p.pix[(by+y)*p.stride+bx+x]) * cosine(x, u, 8) * cosine(y, v, 8) / 4
						}
					}
				}
			}
			for y := range n {
				for x := range n {
					sum := 0.0
					for u := range n {
						for v := range n {
							sum += f[u][v] * cosine(x, u, n) * cosine(y, v, n) / 4
						}
					}
					q.pix[(by/denom+y)*q.stride+bx/denom+x] = uint8(math.Round(min(max(sum, 0), 255)))
				}
			}
		}
	}
	return q
}

// TestScales: scaled pictures are what the definition makes of image/jpeg's samples at full size, within
// the two roundings to whole samples that are between them.
func TestScales(t *testing.T) {
	all := testdata(t)
	delete(all, "arithmetic")
	for name, data := range all {
		if strings.HasPrefix(name, "rgb") {
			continue // interleaved: TestAgainstStd has its planes, and the code for them is the same
		}
		for _, scale := range []int{2, 4, 8} {
			t.Run(fmt.Sprintf("%s/%d", name, scale), func(t *testing.T) {
				full := decodeStd(t, all[plainOf(name)])
				got := decode(t, data, &Options{Scale: scale})
				b := full.Bounds()
				if want := image.Rect(0, 0, ceilDiv(b.Dx(), scale), ceilDiv(b.Dy(), scale)); got.Bounds() != want {
					t.Fatalf("%v, want %v", got.Bounds(), want)
				}
				within(t, got, decode(t, all[plainOf(name)], &Options{Scale: scale}), 0)
				a, b1 := planes(t, got), planes(t, full)
				for i := range a {
					want := reduced(b1[i], scale)
					far := 0
					for y := range a[i].h {
						for x := range a[i].w {
							g, w := int(a[i].pix[y*a[i].stride+x]), int(want.pix[y*want.stride+x])
							far = max(far, g-w, w-g)
						}
					}
					if far > 1 {
						t.Errorf("plane %d: %d levels off", i, far)
					}
				}
			})
		}
	}
}

// TestChroma: luma as Scale says, and chroma as Chroma says as long as it does not become larger.
func TestChroma(t *testing.T) {
	all := testdata(t)
	for _, tt := range []struct {
		name          string
		scale, chroma int
		got           int // the scale that chroma comes out at
		ratio         image.YCbCrSubsampleRatio
	}{
		{"2x2", 2, 1, 1, image.YCbCrSubsampleRatio444},
		{"2x2", 4, 2, 2, image.YCbCrSubsampleRatio444},
		{"2x2", 4, 1, 2, image.YCbCrSubsampleRatio444},
		{"2x2", 8, 8, 8, image.YCbCrSubsampleRatio420},
		{"2x2", 2, 8, 2, image.YCbCrSubsampleRatio420},
		{"2x1", 2, 1, 2, image.YCbCrSubsampleRatio422},
		{"1x2", 2, 1, 2, image.YCbCrSubsampleRatio440},
		{"1x1", 2, 1, 2, image.YCbCrSubsampleRatio444},
		{"4x1", 4, 1, 4, image.YCbCrSubsampleRatio411},
		{"4x2", 4, 1, 2, image.YCbCrSubsampleRatio422},
		{"2x2", 1, 1, 1, image.YCbCrSubsampleRatio420},
	} {
		for _, way := range []string{"", "-progressive"} {
			t.Run(fmt.Sprintf("%s%s/%d/%d", tt.name, way, tt.scale, tt.chroma), func(t *testing.T) {
				data := all[tt.name+"-37x29"+way]
				got := decode(t, data, &Options{Scale: tt.scale, Chroma: tt.chroma}).(*image.YCbCr)
				if got.SubsampleRatio != tt.ratio {
					t.Fatalf("%v, want %v", got.SubsampleRatio, tt.ratio)
				}
				luma := decode(t, data, &Options{Scale: tt.scale}).(*image.YCbCr)
				chroma := decode(t, data, &Options{Scale: tt.got}).(*image.YCbCr)
				if !bytes.Equal(got.Y, luma.Y) || !bytes.Equal(got.Cb, chroma.Cb) || !bytes.Equal(got.Cr, chroma.Cr) {
					t.Error("planes are not those of the same scale")
				}
			})
		}
	}
}

// TestRegion: a region covers what was asked for, and has the samples of the whole picture.
func TestRegion(t *testing.T) {
	all := testdata(t)
	delete(all, "arithmetic")
	for name, b := range corpus(t) {
		if strings.HasPrefix(name, "video") {
			all[name] = b
		}
	}
	r := rand.New(rand.NewPCG(5, 6))
	for name, data := range all {
		t.Run(name, func(t *testing.T) {
			for _, scale := range []int{1, 2, 4, 8} {
				full := decode(t, data, &Options{Scale: scale})
				for range 6 {
					b := decode(t, data, nil).Bounds()
					x, y := r.IntN(b.Dx()), r.IntN(b.Dy())
					region := image.Rect(x, y, x+1+r.IntN(b.Dx()), y+1+r.IntN(b.Dy()))
					got := decode(t, data, &Options{Scale: scale, Region: region})
					shown := region.Intersect(b)
					scaled := image.Rect(shown.Min.X/scale, shown.Min.Y/scale, ceilDiv(shown.Max.X, scale), ceilDiv(shown.Max.Y, scale))
					if !scaled.In(got.Bounds()) || !got.Bounds().In(full.Bounds()) {
						t.Fatalf("%v at 1/%d covers %v, want %v", region, scale, got.Bounds(), scaled)
					}
					part := full.(interface {
						SubImage(image.Rectangle) image.Image
					}).SubImage(got.Bounds())
					within(t, got, part, 0)
				}
			}
		})
	}
}

// TestAlloc: the planes are what Alloc gave, whatever was in it, and hold no more than the blocks.
func TestAlloc(t *testing.T) {
	for name, data := range testdata(t) {
		if name == "arithmetic" {
			continue
		}
		want := decode(t, data, &Options{Scale: 2})
		for _, dirt := range []byte{0, 0x55, 0xff} {
			given := 0
			got := decode(t, data, &Options{Scale: 2, Alloc: func(n int) []byte {
				given += n
				return bytes.Repeat([]byte{dirt}, n+3)
			}})
			within(t, got, want, 0)
			if given > 4*64*64 {
				t.Errorf("%s: %d bytes", name, given)
			}
		}
	}
}

// TestNothingIsKept: a server that gives the planes allocates next to nothing for a picture.
func TestNothingIsKept(t *testing.T) {
	data := testdata(t)["2x2-37x29"]
	var planes [3][64 * 64]byte
	next := 0
	o := &Options{Alloc: func(n int) []byte { next++; return planes[next%3][:n] }}
	// Objects: the picture and the list of a scan's components. Now and then the pool is empty.
	if n := testing.AllocsPerRun(200, func() { decode(t, data, o) }); n > 6 {
		t.Errorf("%.0f objects", n)
	}
}

// adobeSegment is an APP14 segment with a transform.
func adobeSegment(transform byte) []byte {
	return []byte{0xff, 0xee, 0, 14, 'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, transform}
}

// TestColours: which components are YCbCr, RGB, CMYK or YCCK is decided as image/jpeg does.
func TestColours(t *testing.T) {
	all := testdata(t)
	bare := func(b []byte) []byte { // without JFIF
		if bytes.HasPrefix(b[2:], []byte("\xff\xe0")) {
			return append([]byte("\xff\xd8"), b[4+int(binary.BigEndian.Uint16(b[4:])):]...)
		}
		return b
	}
	after := func(b, segment []byte) []byte { return append(append([]byte("\xff\xd8"), segment...), b[2:]...) }
	cases := map[string][]byte{
		"no JFIF":           bare(all["2x2-37x29"]),
		"Adobe RGB":         after(bare(all["2x2-37x29"]), adobeSegment(0)),
		"Adobe RGB 2x1":     after(bare(all["2x1-37x29"]), adobeSegment(0)),
		"Adobe YCbCr":       after(bare(all["2x2-37x29"]), adobeSegment(1)),
		"Adobe and JFIF":    after(all["2x2-37x29"], adobeSegment(0)),
		"Adobe before gray": after(bare(all["gray-37x29"]), adobeSegment(0)),
	}
	for name, b := range corpus(t) {
		if strings.Contains(name, "cmyk") {
			i := bytes.Index(b, []byte("Adobe"))
			for transform := range 3 {
				b := bytes.Clone(b)
				b[i+11] = byte(transform)
				cases[fmt.Sprint(name, transform)] = b
			}
		}
	}
	for name, data := range cases {
		t.Run(name, func(t *testing.T) {
			want := decodeStd(t, data)
			got := decode(t, data, nil)
			most := 1
			if m, ok := want.(*image.CMYK); ok && m != nil {
				most = 3 // YCCK: through YCbCr to RGB, where a level of chroma is up to two of blue
			}
			within(t, got, want, most)
			for _, scale := range []int{2, 8} {
				small := decode(t, data, &Options{Scale: scale, Chroma: 1})
				if fmt.Sprintf("%T", small) != fmt.Sprintf("%T", want) {
					t.Errorf("%T at 1/%d", small, scale)
				}
			}
		})
	}
}

// TestScaledRGB: red, green and blue come out at one size, as far as that is there, and are the planes that the
// same file has when it is taken for YCbCr.
func TestScaledRGB(t *testing.T) {
	rgb := testdata(t)["rgb-37x29"]
	ycc := append([]byte("\xff\xd8\xff\xe0\x00\x07JFIF\x00"), rgb[2:]...)
	for scale, ratio := range map[int]image.YCbCrSubsampleRatio{
		1: image.YCbCrSubsampleRatio420, 2: image.YCbCrSubsampleRatio444, 8: image.YCbCrSubsampleRatio444} {
		got := decode(t, rgb, &Options{Scale: scale}).(*image.RGBA)
		want := decode(t, ycc, &Options{Scale: scale, Chroma: 1}).(*image.YCbCr)
		if want.SubsampleRatio != ratio {
			t.Fatal(scale, want.SubsampleRatio)
		}
		for y := range got.Rect.Dy() {
			for x := range got.Rect.Dx() {
				c := want.YCbCrAt(x, y)
				if (got.RGBAAt(x, y) != color.RGBA{c.Y, c.Cb, c.Cr, 255}) {
					t.Fatalf("1/%d: %v at %d, %d, want %v", scale, got.RGBAAt(x, y), x, y, c)
				}
			}
		}
	}
}

// TestRefused: what cannot be read, and why.
func TestRefused(t *testing.T) {
	all := testdata(t)
	good := all["2x2-37x29"]
	sof := bytes.Index(good, []byte("\xff\xc0"))
	sos := bytes.Index(good, []byte("\xff\xda"))
	dht := bytes.Index(good, []byte("\xff\xc4"))
	with := func(at int, b ...byte) []byte {
		c := bytes.Clone(good)
		copy(c[at:], b)
		return c
	}
	inserted := func(at int, b ...byte) []byte {
		return append(append(append([]byte{}, good[:at]...), b...), good[at:]...)
	}
	restarted := all["2x2-37x29-restart"]
	for _, tt := range []struct {
		name string
		data []byte
		want error
		line string
	}{
		{"nothing", nil, ErrDamaged, "start"},
		{"text", []byte("GIF89a"), ErrDamaged, "start"},
		{"a start alone", good[:2], ErrDamaged, "cut off"},
		{"an end alone", []byte("\xff\xd8\xff\xd9"), ErrDamaged, "no scan"},
		{"no scan", append(bytes.Clone(good[:sos]), 0xff, 0xd9), ErrDamaged, "no scan"},
		{"no end", good[:len(good)-2], ErrDamaged, "cut off"},
		{"half of an end", good[:len(good)-1], ErrDamaged, "cut off"},
		{"cut in the data", good[:len(good)-60], ErrDamaged, "ends early"},
		{"cut in the data, with an end", append(bytes.Clone(good[:len(good)-60]), 0xff, 0xd9), ErrDamaged, "ends early"},
		{"12 bits", with(sof+4, 12), ErrUnsupported, "12 bits"},
		{"no rows", with(sof+5, 0, 0), ErrDamaged, "37x0 pixels"},
		{"two components", with(sof+9, 2), ErrUnsupported, "2 components"},
		{"sampling of three", with(sof+11, 0x31), ErrUnsupported, "sampling"},
		{"sampling of none", with(sof+11, 0x02), ErrDamaged, "0x2 samples"},
		{"lossless", with(sof, 0xff, 0xc3), ErrUnsupported, "lossless"},
		{"hierarchical", with(sof, 0xff, 0xc5), ErrUnsupported, "hierarchical"},
		{"arithmetic", all["arithmetic"], ErrUnsupported, "arithmetic"},
		{"two frames", inserted(sos, good[sof:sof+19]...), ErrDamaged, "more than one frame"},
		{"a scan before the frame", append([]byte("\xff\xd8"), good[sos:]...), ErrDamaged, "before the frame"},
		{"no Huffman tables", append(bytes.Clone(good[:dht]), good[sos:]...), ErrDamaged, "without its Huffman tables"},
		{"a table of too many codes", with(dht+5, 3), ErrDamaged, "too many codes"},
		{"a component twice", with(sos+7, good[sos+5]), ErrDamaged, "twice"},
		{"a component nobody knows", with(sos+5, 99), ErrDamaged, "unknown component 99"},
		{"a segment of no length", with(dht+2, 0, 1), ErrDamaged, "length 1"},
		{"a restart that is missing", bytes.Replace(restarted, []byte{0xff, 0xd1}, []byte{0xff, 0xd2}, 1), ErrDamaged, "restart"},
		{"dimensions without data", with(sof+5, 0xff, 0xff, 0xff, 0xff), ErrDamaged, "ends early"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Decode(t.Context(), tt.data, nil)
			if m != nil || !errors.Is(err, tt.want) || !strings.Contains(fmt.Sprint(err), tt.line) || strings.Contains(fmt.Sprint(err), "\n") {
				t.Errorf("%v, want %v with %q", err, tt.want, tt.line)
			}
		})
	}
}

// TestNoEnd: with the option, a sequential file needs no marker of its end, but all the rest.
func TestNoEnd(t *testing.T) {
	for name, data := range testdata(t) {
		if name == "arithmetic" {
			continue
		}
		m, err := Decode(t.Context(), data[:len(data)-2], &Options{NoEnd: true})
		if strings.Contains(name, "progressive") {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		within(t, m, decode(t, data, nil), 0)
		whole := bytes.LastIndex(data, []byte("\xff\xda")) // the last scan, of a component or of all
		for _, n := range []int{2, whole, whole + 5, len(data) - 12} {
			if _, err := Decode(t.Context(), data[:n], &Options{NoEnd: true}); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s: cut at %d: %v", name, n, err)
			}
		}
	}
}

// TestClaims: a header that claims much and brings little takes no memory.
func TestClaims(t *testing.T) {
	for _, name := range []string{"2x2-37x29", "2x2-37x29-progressive", "2x2-37x29-separate"} {
		data := bytes.Clone(testdata(t)[name])
		i := max(bytes.Index(data, []byte("\xff\xc0")), bytes.Index(data, []byte("\xff\xc2")))
		copy(data[i+5:], "\x40\x00\x40\x00")
		_, err := Decode(t.Context(), data, &Options{Alloc: func(n int) []byte {
			t.Errorf("%s: %d bytes", name, n)
			return make([]byte, n)
		}})
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMaxScans(t *testing.T) {
	data := testdata(t)["2x2-37x29-progressive"] // of 10
	for most, want := range map[int]error{9: ErrTooManyScans, 10: nil, 0: nil, -1: nil} {
		if _, err := Decode(t.Context(), data, &Options{MaxScans: most}); !errors.Is(err, want) {
			t.Errorf("%d: %v, want %v", most, err, want)
		}
	}
}

func TestOptions(t *testing.T) {
	data := testdata(t)["2x2-37x29"]
	for _, o := range []Options{{Scale: 3}, {Scale: -1}, {Chroma: 16}, {Region: image.Rect(37, 0, 50, 10)},
		{Alloc: func(n int) []byte { return make([]byte, n-1) }}} {
		if m, err := Decode(t.Context(), data, &o); err == nil {
			t.Errorf("%+v: %v", o, m.Bounds())
		}
	}
}

// TestCancelled: a context that is done stops decoding, in a scan too, and its cause comes out.
func TestCancelled(t *testing.T) {
	why := errors.New("nobody waits for it")
	for _, name := range []string{"2x2-37x29", "2x2-37x29-progressive", "2x2-37x29-separate"} {
		for after := range 12 {
			ctx, cancel := context.WithCancelCause(t.Context())
			stop := &countdown{ctx, after, func() { cancel(why) }}
			if _, err := Decode(stop, testdata(t)[name], nil); err != nil && !errors.Is(err, why) {
				t.Errorf("%s: %v", name, err)
			} else if after == 0 && err == nil {
				t.Errorf("%s: not stopped", name)
			}
			cancel(nil)
		}
	}
}

// A countdown is a context that ends when it has been asked a number of times.
type countdown struct {
	context.Context
	left int
	stop func()
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		c.stop()
	}
	return c.Context.Err()
}

// TestDamage: whatever byte is damaged and wherever a file is cut, image/jpeg and this package agree on
// whether it is a picture, and on its samples.
func TestDamage(t *testing.T) {
	names := []string{"2x2-37x29", "2x2-37x29-restart", "2x2-17x33-progressive", "gray-37x29-progressive-restart", "2x2-37x29-separate"}
	for _, name := range names {
		data := testdata(t)[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen agreement
			for i := range data {
				seen.compare(t, data[:i])
				seen.compare(t, append(bytes.Clone(data[:i]), 0xff, 0xd9))
				for _, x := range []byte{0x01, 0x10, 0x80, 0xff} {
					b := bytes.Clone(data)
					b[i] ^= x
					seen.compare(t, b)
				}
			}
			t.Logf("%+v", seen)
			if seen.Same < 100 || seen.Refused < 100 {
				t.Error("hardly anything was compared")
			}
		})
	}
}

// An agreement counts what came of comparing files with image/jpeg.
type agreement struct {
	Refused int // by both
	Same    int // pictures
	Wild    int // pictures of coefficients that no picture of 8 bits has: nothing is said of their samples
	Listed  int // where the package comment says that the two differ
}

// compare decodes data with both, and fails unless they agree or differ for a reason that the package comment
// gives.
func (a *agreement) compare(t *testing.T, data []byte) {
	t.Helper()
	if c, err := jpeg.DecodeConfig(bytes.NewReader(data)); err == nil && (c.Width*c.Height > 1<<18 || c.ColorModel == color.Model(nil)) {
		return
	}
	for i := range data[:max(len(data)-9, 0)] { // what image/jpeg refuses the header of may be large, too
		h, w := int(data[i+5])<<8|int(data[i+6]), int(data[i+7])<<8|int(data[i+8])
		if data[i] == 0xff && data[i+1] >= mSOF0 && data[i+1] <= mSOF2 && h*w > 1<<18 {
			return
		}
	}
	want, wantErr := jpeg.Decode(bytes.NewReader(data))
	d := new(decoder)
	wild := false
	d.observe = func(c *component, coef []int16) {
		sum := 0
		for i, v := range coef {
			p := int(v) * int(uint16(c.quant[i]))
			sum += max(p, -p)
		}
		wild = wild || sum > 4000 // a pass adds up to 4·1.4 times that, and that is to fit 16 bits
	}
	got, gotErr := d.decode(t.Context(), data, &Options{MaxScans: -1})
	if gotErr != nil && !errors.Is(gotErr, ErrDamaged) && !errors.Is(gotErr, ErrUnsupported) {
		t.Fatalf("an error of no kind: %v\n%q", gotErr, data)
	}
	switch listed := d.listed(data, gotErr); {
	case wantErr != nil && gotErr != nil:
		a.Refused++
	case listed:
		a.Listed++
	case wantErr != nil || gotErr != nil:
		t.Errorf("%v, image/jpeg: %v\n%q", gotErr, wantErr, data)
	case wild:
		a.Wild++
	default:
		a.Same++
		most := 1
		if _, ok := want.(*image.CMYK); ok {
			most = 3
		}
		if far, err := distance(t, got, want); err != nil || far > most {
			t.Errorf("%d levels off: %v\n%q", far, err, data)
		}
	}
}

// listed reports whether the package comment lists a difference that d, which decoded data, is subject to.
func (d *decoder) listed(data []byte, err error) bool {
	for _, of := range []string{"too many codes", "without its Huffman table", "a quantization table of 0 bytes", ": 0x", "x0 pixels"} {
		if err != nil && strings.Contains(err.Error(), of) {
			return true
		}
	}
	if len(d.components) < 2 {
		for i := range data[:max(len(data)-11, 0)] {
			h, v := data[i+11]>>4, data[i+11]&15
			if data[i] == 0xff && data[i+1] >= mSOF0 && data[i+1] <= mSOF2 && data[i+9] == 1 && (h == 3 || v == 3) {
				return true
			}
		}
		return false
	}
	restarts, single := false, false
	for i := range data[:max(len(data)-4, 0)] {
		restarts = restarts || data[i] == 0xff && data[i+1] == mDRI
		single = single || data[i] == 0xff && data[i+1] == mSOS && data[i+4] == 1
	}
	c := d.components
	return single && (restarts && c[0].h*c[0].v > 1 || c[0].h == 4 && c[1].h == 2)
}
