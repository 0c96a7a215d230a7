package jpegenc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	_ "image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var ratios = []image.YCbCrSubsampleRatio{
	image.YCbCrSubsampleRatio444, image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio420,
	image.YCbCrSubsampleRatio440, image.YCbCrSubsampleRatio411, image.YCbCrSubsampleRatio410,
}

// kinds are the pictures that can be written, of any size and content, each with strides that are none.
var kinds = func() (kinds []struct {
	name string
	make func(w, h, content int) image.Image
	full bool // Options.FullChroma
}) {
	add := func(name string, full bool, make func(w, h, content int) image.Image) {
		kinds = append(kinds, struct {
			name string
			make func(w, h, content int) image.Image
			full bool
		}{name, make, full})
	}
	add("gray", false, func(w, h, content int) image.Image {
		return &image.Gray{Pix: samples(content, w+3, h)[:(w+3)*(h-1)+w], Stride: w + 3, Rect: image.Rect(0, 0, w, h)}
	})
	for _, r := range ratios {
		add(r.String(), false, func(w, h, content int) image.Image {
			m := image.NewYCbCr(image.Rect(0, 0, w, h), r)
			x, y, _ := ratio(r)
			cw, ch := ceil(w, x), ceil(h, y)
			m.YStride, m.CStride = w+5, cw+1
			m.Y = samples(content, w+5, h)[:(w+5)*(h-1)+w]
			m.Cb = samples((content+1)%len(contents), cw+1, ch)[:(cw+1)*(ch-1)+cw]
			m.Cr = samples((content+3)%len(contents), cw+1, ch)[:(cw+1)*(ch-1)+cw]
			return m
		})
	}
	rgb := func(w, h, content int) ([]uint8, int) {
		stride := 4 * (w + 1)
		pix := samples(content, stride, h)
		for i := 3; i < len(pix); i += 4 {
			pix[i] = 255
		}
		return pix[:stride*(h-1)+4*w], stride
	}
	add("RGBA", false, func(w, h, content int) image.Image {
		pix, stride := rgb(w, h, content)
		return &image.RGBA{Pix: pix, Stride: stride, Rect: image.Rect(0, 0, w, h)}
	})
	add("RGBA full", true, func(w, h, content int) image.Image {
		pix, stride := rgb(w, h, content)
		return &image.RGBA{Pix: pix, Stride: stride, Rect: image.Rect(0, 0, w, h)}
	})
	add("NRGBA", false, func(w, h, content int) image.Image {
		pix, stride := rgb(w, h, content)
		return &image.NRGBA{Pix: pix, Stride: stride, Rect: image.Rect(-2, 5, w-2, h+5)}
	})
	return kinds
}()

// A plane is what one component of a picture should be.
type plane struct {
	at   func(x, y int) float64
	w, h int
}

// planesOf are the components of m, by the book.
func planesOf(m image.Image, full bool) []plane {
	of := func(pix []uint8, stride, w, h int) plane {
		return plane{func(x, y int) float64 { return float64(pix[y*stride+x]) }, w, h}
	}
	w, h := m.Bounds().Dx(), m.Bounds().Dy()
	var pix []uint8
	var stride int
	switch m := m.(type) {
	case *image.Gray:
		return []plane{of(m.Pix, m.Stride, w, h)}
	case *image.YCbCr:
		x, y, _ := ratio(m.SubsampleRatio)
		cw, ch := ceil(w, x), ceil(h, y)
		return []plane{of(m.Y, m.YStride, w, h), of(m.Cb, m.CStride, cw, ch), of(m.Cr, m.CStride, cw, ch)}
	case *image.RGBA:
		pix, stride = m.Pix, m.Stride
	case *image.NRGBA:
		pix, stride = m.Pix, m.Stride
	}
	sum := func(r, g, b float64) func(x, y int) float64 {
		return func(x, y int) float64 {
			px := pix[min(y, h-1)*stride+4*min(x, w-1):]
			return r*float64(px[0]) + g*float64(px[1]) + b*float64(px[2])
		}
	}
	planes := []plane{{sum(0.299, 0.587, 0.114), w, h}}
	for _, f := range []func(x, y int) float64{sum(-0.168736, -0.331264, 0.5), sum(0.5, -0.418688, -0.081312)} {
		if full {
			planes = append(planes, plane{func(x, y int) float64 { return f(x, y) + 128 }, w, h})
			continue
		}
		planes = append(planes, plane{func(x, y int) float64 {
			return (f(2*x, 2*y)+f(2*x+1, 2*y)+f(2*x, 2*y+1)+f(2*x+1, 2*y+1))/4 + 128
		}, ceil(w, 2), ceil(h, 2)})
	}
	return planes
}

func write(t testing.TB, m image.Image, o Options) []byte {
	t.Helper()
	b, err := Append(t.Context(), nil, m, &o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode(t testing.TB, b []byte) image.Image {
	t.Helper()
	m, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("image/jpeg: %v", err)
	}
	return m
}

// within checks that got is as near to m as its tables promise: as the DCT keeps lengths, the error of a block
// is no longer than what each step may round off, together, and what rounding samples adds.
func within(t testing.TB, m image.Image, got image.Image, o Options) {
	t.Helper()
	if got.Bounds().Size() != m.Bounds().Size() {
		t.Fatalf("a picture of %v, want %v", got.Bounds().Size(), m.Bounds().Size())
	}
	want, planes := planesOf(m, o.FullChroma), planesOf(got, o.FullChroma)
	if len(want) != len(planes) {
		t.Fatalf("%d components, want %d", len(planes), len(want))
	}
	for i, p := range want {
		if p.w != planes[i].w || p.h != planes[i].h {
			t.Fatalf("component %d is %dx%d, want %dx%d", i, planes[i].w, planes[i].h, p.w, p.h)
		}
		off := 0.0
		for y := range p.h {
			for x := range p.w {
				d := planes[i].at(x, y) - p.at(x, y)
				off += d * d
			}
		}
		perBlock := 0.0
		for _, step := range steps(&baseSteps[min(i, 1)], o.Quality) {
			most := float64(step) * (128 - roundUp) / 128
			perBlock += most * most
		}
		blocks := float64(ceil(p.w, 8) * ceil(p.h, 8))
		if most := math.Sqrt(blocks*perBlock) + math.Sqrt(64*blocks); math.Sqrt(off) > most {
			t.Fatalf("component %d is off by %.1f, at most %.1f", i, math.Sqrt(off), most)
		}
	}
}

// samePlanes checks that two pictures have the same samples, beyond their bounds apart.
func samePlanes(t testing.TB, what string, a, b image.Image) {
	t.Helper()
	p, q := planesOf(a, false), planesOf(b, false)
	for i := range p {
		for y := range p[i].h {
			for x := range p[i].w {
				if p[i].at(x, y) != q[i].at(x, y) {
					t.Fatalf("%s: component %d differs at %d,%d", what, i, x, y)
				}
			}
		}
	}
}

// all writes m in each way, and checks that all give the same samples and that they are near m.
func all(t testing.TB, m image.Image, o Options) {
	t.Helper()
	first := decode(t, write(t, m, o))
	within(t, m, first, o)
	o.StandardCodes = true
	samePlanes(t, "standard codes", first, decode(t, write(t, m, o)))
	o.StandardCodes, o.Progressive = false, true
	samePlanes(t, "progressive", first, decode(t, write(t, m, o)))
}

func TestKinds(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			for n := range 40 {
				for _, size := range []image.Point{{n + 1, n + 1}, {n + 1, 40 - n}, {n + 1, 1}, {1, n + 1}, {n + 1, 17}} {
					content := (size.X + 3*size.Y) % len(contents)
					quality := 1 + (n*37+size.Y*11)%100
					m := k.make(size.X, size.Y, content)
					all(t, m, Options{Quality: quality, FullChroma: k.full})
				}
			}
		})
	}
}

// TestQualities writes the worst there is at each quality: no coefficient may be without a code.
func TestQualities(t *testing.T) {
	for quality := 1; quality <= 100; quality++ {
		for content := range contents {
			k := kinds[(content+quality)%len(kinds)]
			all(t, k.make(35, 33, content), Options{Quality: quality, FullChroma: k.full})
		}
	}
}

// TestExtremes writes blocks that are as far as can be along each basis function.
func TestExtremes(t *testing.T) {
	m := image.NewGray(image.Rect(0, 0, 8*16, 8*8))
	for u := range 8 {
		for v := range 8 {
			for i, sign := range []float64{1, -1} {
				b := basis(u, v, sign)
				for y := range 8 {
					copy(m.Pix[(8*v+y)*m.Stride+8*(2*u+i):], b[8*y:][:8])
				}
			}
		}
	}
	for _, quality := range []int{1, 50, 99, 100} {
		all(t, m, Options{Quality: quality})
	}
}

func psnr(a, b plane) float64 {
	sum := 0.0
	for y := range a.h {
		for x := range a.w {
			d := a.at(x, y) - b.at(x, y)
			sum += d * d
		}
	}
	return 10 * math.Log10(255*255*float64(a.w*a.h)/max(sum, 1e-9))
}

// TestPhotographs compares with the standard library's encoder. With the same rounding, the picture is as near to
// the original and the file is smaller. With ours it is smaller still, and nearer than theirs at that size.
func TestPhotographs(t *testing.T) {
	nearest := newEncoder()
	nearest.roundUp = 64
	distance := func(b []byte, src image.Image) (size float64, db [3]float64) {
		planes := planesOf(decode(t, b), false)
		for i, p := range planesOf(src, false) {
			db[i] = psnr(p, planes[i])
		}
		return float64(len(b)), db
	}
	theirs := func(src image.Image, quality int) (float64, [3]float64) {
		var out bytes.Buffer
		if err := jpeg.Encode(&out, src, &jpeg.Options{Quality: quality}); err != nil {
			t.Fatal(err)
		}
		return distance(out.Bytes(), src)
	}
	for _, name := range []string{"coffee.png", "chelsea.png"} {
		for _, src := range []image.Image{photo(t, name, 250), photoRGBA(t, name, 250)} {
			for _, quality := range []int{1, 20, 50, 75, 90, 100} {
				peer, peerDB := theirs(src, quality)
				b, err := nearest.append(t.Context(), nil, src, &Options{Quality: quality})
				if err != nil {
					t.Fatal(err)
				}
				size, db := distance(b, src)
				for i := range db {
					if db[i] < min(peerDB[i]-0.1, 60) {
						t.Errorf("%s as %T at %d, component %d: %.2f dB, image/jpeg has %.2f", name, src, quality, i, db[i], peerDB[i])
					}
				}
				progressive := float64(len(write(t, src, Options{Quality: quality, Progressive: true})))
				if size > peer || progressive > peer {
					t.Errorf("%s as %T at %d: %.0f bytes, %.0f if progressive, image/jpeg's are %.0f",
						name, src, quality, size, progressive, peer)
				}

				// Theirs at the size of ours, between two qualities.
				size, db = distance(write(t, src, Options{Quality: quality}), src)
				if quality < 20 || quality > 95 {
					continue // the scale is too coarse, or all steps are one
				}
				low := quality
				for peer > size {
					low--
					peer, peerDB = theirs(src, low)
				}
				above, aboveDB := theirs(src, low+1)
				want := peerDB[0] + (size-peer)/(above-peer)*(aboveDB[0]-peerDB[0])
				if db[0] < want+0.1 {
					t.Errorf("%s as %T at %d: %.2f dB in %.0f bytes, image/jpeg would have %.2f", name, src, quality, db[0], size, want)
				}
			}
		}
	}
}

// TestManyTokens writes pictures whose tokens are too many to wait for the last: codes are made early, and
// must do for what comes later.
func TestManyTokens(t *testing.T) {
	for _, k := range kinds {
		for _, contents := range [][2]int{{10, 8}, {8, 0}, {2, 7}} {
			m := k.make(130, 150, contents[0])
			if m, ok := m.(*image.Gray); ok { // what follows is of another kind
				copy(m.Pix[60*m.Stride:], k.make(130, 90, contents[1]).(*image.Gray).Pix)
			}
			for _, o := range []Options{{Quality: 100}, {Quality: 30}, {Quality: 100, Progressive: true}, {Quality: 30, Progressive: true}} {
				o.FullChroma = k.full
				want := decode(t, write(t, m, o))
				e := newEncoder()
				for _, e.maxTokens = range []int{1, 100, 1000, 10000} {
					b, err := e.append(t.Context(), nil, m, &o)
					if err != nil {
						t.Fatal(err)
					}
					samePlanes(t, fmt.Sprintf("%s, %+v, %d tokens", k.name, o, e.maxTokens), want, decode(t, b))
				}
			}
		}
	}
}

func TestRefused(t *testing.T) {
	rect := image.Rect(0, 0, 20, 20)
	short := image.NewYCbCr(rect, image.YCbCrSubsampleRatio420)
	short.Cr = short.Cr[:len(short.Cr)-1]
	between := image.NewYCbCr(rect, image.YCbCrSubsampleRatio420).SubImage(image.Rect(1, 0, 20, 20))
	cut := image.NewRGBA(rect)
	cut.Pix = cut.Pix[:100]
	narrow := image.NewGray(rect)
	narrow.Stride = 19
	for _, tt := range []struct {
		name string
		m    image.Image
		o    *Options
		want string
	}{
		{"no picture", nil, nil, "no picture"},
		{"an empty picture", image.NewGray(image.Rect(0, 0, 0, 9)), nil, "without pixels"},
		{"a picture that is too wide", &image.Uniform{}, nil, "of at most 65535"},
		{"a type that is not known", image.NewAlpha(rect), nil, "*image.Alpha"},
		{"chroma that is cut off", short, nil, "less data"},
		{"pixels that are cut off", cut, nil, "less data"},
		{"rows that overlap", narrow, nil, "less data"},
		{"a beginning between chroma samples", between, nil, "between chroma samples"},
		{"a quality below the scale", cut, &Options{Quality: -1}, "Quality is -1"},
		{"a quality above the scale", cut, &Options{Quality: 101}, "Quality is 101"},
	} {
		dst := []byte("kept")
		got, err := Append(t.Context(), dst, tt.m, tt.o)
		if err == nil || !strings.Contains(err.Error(), tt.want) || string(got) != "kept" {
			t.Errorf("%s: %q, %v; want an error of %q", tt.name, got, err, tt.want)
		}
	}

	cause := errors.New("nobody waits")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	for _, o := range []Options{{}, {Progressive: true}} {
		if _, err := Append(ctx, nil, image.NewGray(rect), &o); err != cause {
			t.Errorf("with a context that is done: %v", err)
		}
	}
}

// TestSubImage writes parts of pictures that begin elsewhere.
func TestSubImage(t *testing.T) {
	r := image.Rect(8, 4, 41, 37)
	for _, k := range kinds {
		m := k.make(60, 50, 10)
		r := r.Add(m.Bounds().Min)
		sub := m.(interface {
			SubImage(image.Rectangle) image.Image
		}).SubImage(r)
		o := Options{Quality: 90, FullChroma: k.full}
		got := decode(t, write(t, sub, o))
		var want image.Image // the same, moved to the origin
		switch m := sub.(type) {
		case *image.Gray:
			want = &image.Gray{Pix: m.Pix, Stride: m.Stride, Rect: got.Bounds()}
		case *image.YCbCr:
			moved := *m
			moved.Rect = got.Bounds()
			want = &moved
		case *image.RGBA:
			want = &image.RGBA{Pix: m.Pix, Stride: m.Stride, Rect: got.Bounds()}
		case *image.NRGBA:
			want = &image.NRGBA{Pix: m.Pix, Stride: m.Stride, Rect: got.Bounds()}
		}
		within(t, want, got, o)
	}
}

// TestAppend checks that what was there stays, and that a second picture is not touched by the first.
func TestAppend(t *testing.T) {
	a, b := kinds[3].make(50, 70, 8), kinds[8].make(33, 21, 10)
	alone := write(t, b, Options{Quality: 60})
	for range 3 {
		write(t, a, Options{Quality: 100, Progressive: true})
		write(t, a, Options{StandardCodes: true})
		out, err := Append(t.Context(), []byte("before"), b, &Options{Quality: 60})
		if err != nil || string(out) != "before"+string(alone) {
			t.Fatalf("other bytes than alone, error %v", err)
		}
		var w bytes.Buffer
		if err := Encode(t.Context(), &w, b, &Options{Quality: 60}); err != nil || w.String() != string(alone) {
			t.Fatalf("Encode writes other bytes than Append, error %v", err)
		}
	}
	if got := decode(t, write(t, image.NewGray(image.Rect(0, 0, 9, 9)), Options{})); got.At(3, 3) != (color.Gray{}) {
		t.Errorf("black became %v", got.At(3, 3))
	}
}

// TestAllocations checks that a picture leaves nothing behind but its bytes, where there was one like it before.
func TestAllocations(t *testing.T) {
	m := kinds[3].make(300, 200, 10)
	e := newEncoder()
	var out []byte
	n := testing.AllocsPerRun(50, func() {
		var err error
		if out, err = e.append(context.Background(), out[:0], m, nil); err != nil {
			t.Fatal(err)
		}
	})
	if n > 0 {
		t.Errorf("%v allocations for a picture", n)
	}
}

// TestDjpeg has libjpeg-turbo decode what was written, which may not have anything to say about it.
func TestDjpeg(t *testing.T) {
	djpeg, err := exec.LookPath("djpeg")
	if err != nil {
		t.Skip("djpeg, of libjpeg-turbo, is not there to decode: ", err)
	}
	for i, k := range kinds {
		for _, o := range []Options{{Quality: 30}, {Quality: 95, StandardCodes: true}, {Quality: 85, Progressive: true}} {
			o.FullChroma = k.full
			m := k.make(67, 45, 8+i%3)
			name := filepath.Join(t.TempDir(), "m.jpg")
			if err := os.WriteFile(name, write(t, m, o), 0o666); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), djpeg, "-dct", "int", "-nosmooth", "-grayscale", "-pnm", name)
			var said bytes.Buffer
			cmd.Stderr = &said
			out, err := cmd.Output()
			if err != nil || said.Len() > 0 {
				t.Fatalf("%s, %+v: %v: %s", k.name, o, err, said.Bytes())
			}
			want := fmt.Sprintf("P5\n%d %d\n255\n", 67, 45)
			if !strings.HasPrefix(string(out), want) {
				t.Fatalf("%s, %+v: another picture", k.name, o)
			}
			luma, ours := out[len(want):], planesOf(decode(t, write(t, m, o)), false)[0]
			for at, v := range luma {
				if d := float64(v) - ours.at(at%67, at/67); math.Abs(d) > 2 {
					t.Fatalf("%s, %+v: sample %d is %d, in image/jpeg %v", k.name, o, at, v, ours.at(at%67, at/67))
				}
			}
		}
	}
}

func FuzzAppend(f *testing.F) {
	f.Add(uint8(3), uint16(17), uint16(9), uint8(80), []byte("abcdefgh"))
	f.Add(uint8(0), uint16(1), uint16(64), uint8(100), []byte{0, 255})
	f.Add(uint8(7), uint16(31), uint16(33), uint8(1), []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, kind uint8, w, h uint16, quality uint8, pattern []byte) {
		k := kinds[int(kind)%len(kinds)]
		m := k.make(int(w%80)+1, int(h%80)+1, int(kind)%len(contents))
		if len(pattern) > 0 {
			for _, pix := range func() [][]uint8 {
				switch m := m.(type) {
				case *image.Gray:
					return [][]uint8{m.Pix}
				case *image.YCbCr:
					return [][]uint8{m.Y, m.Cb, m.Cr}
				case *image.RGBA:
					return [][]uint8{m.Pix}
				}
				return nil
			}() {
				for i := range pix {
					pix[i] = pattern[i%len(pattern)]
				}
			}
		}
		all(t, m, Options{Quality: int(quality)%100 + 1, FullChroma: k.full})
	})
}

// TestSameBytes holds every machine to the same bytes. They may change, with resize.Version.
func TestSameBytes(t *testing.T) {
	sum := sha256.New()
	for _, k := range kinds {
		for content := range len(contents) - 1 { // the last is of floating point
			for _, o := range []Options{{Quality: 75}, {Quality: 90, Progressive: true}, {Quality: 30, StandardCodes: true}} {
				o.FullChroma = k.full
				sum.Write(write(t, k.make(77, 43, content), o))
			}
		}
	}
	if got, want := hex.EncodeToString(sum.Sum(nil)), "93853fdaaa61bf7150b15553aa30ae4d512c04e19afff32bc269a8186c218139"; got != want {
		t.Errorf("the bytes have the sum %s, want %s", got, want)
	}
}

// FuzzBounds gives pictures whose bounds, strides and data may contradict each other: they are written whole or
// refused.
func FuzzBounds(f *testing.F) {
	f.Add(uint8(0), int16(0), int16(0), int16(5), int16(6), int16(5), int16(3), uint16(30), uint16(9))
	f.Add(uint8(3), int16(2), int16(4), int16(17), int16(9), int16(20), int16(12), uint16(400), uint16(200))
	f.Add(uint8(7), int16(-3), int16(1), int16(9), int16(1), int16(-1), int16(0), uint16(36), uint16(0))
	f.Fuzz(func(t *testing.T, kind uint8, x, y, w, h, stride, chroma int16, n, nChroma uint16) {
		r := image.Rect(int(x), int(y), int(x)+int(w%200), int(y)+int(h%200))
		pix := samples(8, int(n), 1)
		var m image.Image
		switch kind % 9 {
		case 0:
			m = &image.Gray{Pix: pix, Stride: int(stride), Rect: r}
		case 1:
			m = &image.RGBA{Pix: pix, Stride: int(stride), Rect: r}
		case 2:
			m = &image.NRGBA{Pix: pix, Stride: int(stride), Rect: r}
		default:
			m = &image.YCbCr{Y: pix, Cb: samples(10, int(nChroma), 1), Cr: samples(7, int(nChroma), 1),
				YStride: int(stride), CStride: int(chroma), SubsampleRatio: ratios[int(kind%9)-3], Rect: r}
		}
		for _, progressive := range []bool{false, true} {
			b, err := Append(t.Context(), nil, m, &Options{Progressive: progressive, FullChroma: kind >= 128})
			if err != nil {
				continue
			}
			if got := decode(t, b).Bounds().Size(); got != r.Size() {
				t.Fatalf("a picture of %v, want %v", got, r.Size())
			}
		}
	})
}
