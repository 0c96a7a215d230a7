package resize

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"testing"
)

// soft is a picture with transparency of every degree, and wild colours where nothing is seen.
func soft(w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			d := math.Hypot(float64(x)-float64(w)/2, float64(y)-float64(h)/2)
			a := uint8(min(max(255*(float64(w)/2.2-d)/12, 0), 255))
			c := color.NRGBA{uint8(40 + x%9), 160, uint8(60 + y%7), a}
			if a == 0 {
				c = color.NRGBA{255, 0, 255, 0}
			}
			m.SetNRGBA(x, y, c)
		}
	}
	return m
}

func noise(w, h int) *image.NRGBA {
	r := rand.New(rand.NewPCG(1, 2))
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = uint8(r.IntN(256))
	}
	return m
}

func samePixels(t *testing.T, got, want image.Image) {
	t.Helper()
	if got.Bounds().Size() != want.Bounds().Size() {
		t.Fatalf("size %v, want %v", got.Bounds().Size(), want.Bounds().Size())
	}
	for y := range want.Bounds().Dy() {
		for x := range want.Bounds().Dx() {
			g := color.NRGBAModel.Convert(got.At(got.Bounds().Min.X+x, got.Bounds().Min.Y+y)).(color.NRGBA)
			w := color.NRGBAModel.Convert(want.At(want.Bounds().Min.X+x, want.Bounds().Min.Y+y)).(color.NRGBA)
			if g.A == 0 && w.A == 0 {
				continue
			}
			if g != w {
				t.Fatalf("pixel %d,%d is %v, want %v", x, y, g, w)
			}
		}
	}
}

func TestOneToOneIsACopy(t *testing.T) {
	gray := image.NewGray(image.Rect(0, 0, 31, 17))
	for i := range gray.Pix {
		gray.Pix[i] = uint8(i * 7)
	}
	for name, m := range map[string]image.Image{"transparent": noise(31, 17), "opaque": arrow(31, 17), "gray": gray, "soft": soft(40, 30)} {
		t.Run(name, func(t *testing.T) {
			data := encodePixels(t, m)
			samePixels(t, pixels(t, Plan{}, data), m)
			samePixels(t, pixels(t, Plan{Width: 1, Height: 1}, data), m)
			samePixels(t, pixels(t, Plan{Width: float64(m.Bounds().Dx()), Height: float64(m.Bounds().Dy()), Fit: Cover}, data), m)
		})
	}
}

func TestGrayStaysGray(t *testing.T) {
	m := image.NewGray(image.Rect(0, 0, 64, 48))
	for i := range m.Pix {
		m.Pix[i] = uint8(i)
	}
	for _, format := range []Format{PNG, JPEG} {
		out := independent(t, render(t, Plan{Width: 30, Format: format}, encodePixels(t, m)).Bytes)
		if _, ok := out.(*image.Gray); !ok {
			t.Errorf("%s is %T", format, out)
		}
	}
}

// TestConstant: a picture of one colour has that colour at every size, alpha and all.
func TestConstant(t *testing.T) {
	for _, c := range []color.NRGBA{{0, 0, 0, 255}, {255, 255, 255, 255}, {1, 128, 254, 255}, {200, 100, 50, 128}, {7, 99, 250, 255}} {
		m := image.NewNRGBA(image.Rect(0, 0, 97, 61))
		fill(m, c)
		data := encodePixels(t, m)
		for _, p := range []Plan{{Width: 10}, {Width: 50}, {Width: 96}, {Width: 98}, {Width: 300}, {Width: 40, Height: 40, Fit: Cover}, {Width: 1, Height: 0.02, Fit: Scale}} {
			got := toNRGBA(pixels(t, p, data))
			for y := range got.Rect.Dy() {
				for x := range got.Rect.Dx() {
					if g := got.NRGBAAt(x, y); g != c {
						t.Fatalf("%s: pixel %d,%d is %v, want %v", p, x, y, g, c)
					}
				}
			}
		}
	}
}

func TestTwiceFlippedIsIdentity(t *testing.T) {
	m := noise(33, 20)
	for _, f := range []Flip{Horizontal, Vertical, Both} {
		once := pixels(t, Plan{Flip: f}, encodePixels(t, m))
		samePixels(t, pixels(t, Plan{Flip: f}, encodePixels(t, once)), m)
	}
	// And at another size: a flip commutes with a resize.
	data := encodePixels(t, arrow(90, 61))
	flipped := pixels(t, Plan{Width: 40, Flip: Horizontal}, data)
	resized := encodePixels(t, pixels(t, Plan{Width: 40}, data))
	samePixels(t, flipped, pixels(t, Plan{Flip: Horizontal}, resized))
}

func TestFourQuarterTurnsAreIdentity(t *testing.T) {
	var m image.Image = noise(24, 24)
	for range 4 {
		m = pixels(t, Plan{Rotate: 90}, encodePixels(t, m))
	}
	samePixels(t, m, noise(24, 24))
	samePixels(t, pixels(t, Plan{Rotate: 180}, encodePixels(t, pixels(t, Plan{Rotate: 180}, encodePixels(t, noise(24, 15))))), noise(24, 15))
	m = noise(24, 15)
	for range 4 {
		m = pixels(t, Plan{Orient: 6}, encodePixels(t, m))
	}
	samePixels(t, m, noise(24, 15))
}

// TestRotationIsCounterClockwise: what was at the right is at the top.
func TestRotationIsCounterClockwise(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 20, 20))
	fill(m, color.NRGBA{0, 0, 0, 255})
	for y := range 20 {
		for x := 10; x < 20; x++ {
			m.SetNRGBA(x, y, color.NRGBA{255, 0, 0, 255})
		}
	}
	for _, degrees := range []float64{90, 89, 91} {
		got := toNRGBA(pixels(t, Plan{Rotate: degrees}, encodePixels(t, m)))
		if got.NRGBAAt(10, 2).R < 250 || got.NRGBAAt(10, 17).R > 5 {
			t.Errorf("%v degrees: top is %v, bottom %v", degrees, got.NRGBAAt(10, 2), got.NRGBAAt(10, 17))
		}
	}
}

// TestRotationCovers: at no angle does a corner show what is not in the picture, and the frame keeps its
// size.
func TestRotationCovers(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 90, 60))
	fill(m, color.NRGBA{10, 200, 30, 255})
	data := encodePixels(t, m)
	for degrees := 0.0; degrees < 360; degrees += 7.5 {
		for _, p := range []Plan{{Width: 60}, {Width: 50, Height: 50, Fit: Cover}, {Width: 20, Height: 90, Fit: Scale}} {
			p.Rotate = degrees
			got := toNRGBA(pixels(t, p, data))
			plain := p
			plain.Rotate = 0
			if want := pixels(t, plain, data).Bounds(); got.Rect != want {
				t.Fatalf("%v degrees: %v, want %v", degrees, got.Rect, want)
			}
			for i := 0; i < len(got.Pix); i += 4 {
				for ch, v := range []uint8{10, 200, 30, 255} {
					if d := int(got.Pix[i+ch]) - int(v); d < -1 || d > 1 {
						t.Fatalf("%v degrees: pixel %d is %v", degrees, i/4, got.Pix[i:i+4])
					}
				}
			}
		}
	}
}

// TestCropCommutesWithResize: cutting after a resize gives the pixels that cutting before does.
func TestCropCommutesWithResize(t *testing.T) {
	data := sample(t, "chelsea.png") // 451x300
	whole := toNRGBA(pixels(t, Plan{Width: 225, Height: 150, Fit: Scale, Rect: &Rect{W: 450, H: 300}}, data))
	cut := toNRGBA(pixels(t, Plan{Width: 150, Height: 150, Fit: Cover, Crop: []Crop{Left}, Rect: &Rect{W: 450, H: 300}}, data))
	samePixels(t, cut, whole.SubImage(image.Rect(0, 0, 150, 150)))
}

// TestRectDoesNotBleed: pixels outside of Rect are not there, not even for the kernel.
func TestRectDoesNotBleed(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 100, 100))
	fill(m, color.NRGBA{255, 255, 255, 255})
	for y := 20; y < 80; y++ {
		for x := 20; x < 80; x++ {
			m.SetNRGBA(x, y, color.NRGBA{0, 0, 200, 255})
		}
	}
	got := toNRGBA(pixels(t, Plan{Width: 23, Rect: &Rect{X: 20, Y: 20, W: 60, H: 60}}, encodePixels(t, m)))
	for i := 0; i < len(got.Pix); i += 4 {
		if got.Pix[i] != 0 || got.Pix[i+2] != 200 {
			t.Fatalf("pixel %d is %v", i/4, got.Pix[i:i+4])
		}
	}
}

// TestNoFringes: colours under transparent pixels never show, and no channel is above alpha.
func TestNoFringes(t *testing.T) {
	data := encodePixels(t, soft(200, 200))
	for _, p := range []Plan{{Width: 9}, {Width: 60}, {Width: 199}, {Width: 400}, {Width: 60, Rotate: 30}, {Width: 50, Height: 50, Fit: Cover}} {
		for _, format := range []Format{PNG, WebP} {
			p.Format = format
			m := independent(t, render(t, p, data).Bytes)
			for y := range m.Bounds().Dy() {
				for x := range m.Bounds().Dx() {
					r, g, b, a := m.At(x, y).RGBA()
					if r > a || g > a || b > a {
						t.Fatalf("%s: pixel %d,%d has a channel above alpha", p, x, y)
					}
					// Magenta is hidden everywhere; red stays below green in what is seen.
					if c := color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA); format == PNG && c.A > 8 && c.R > c.G {
						t.Fatalf("%s: pixel %d,%d is %v", p, x, y, c)
					}
				}
			}
		}
	}
}

// TestTransparency compares with the reference, weighted by alpha.
func TestTransparency(t *testing.T) {
	m := soft(200, 160)
	full := toCanvas(m)
	for _, w := range []int{20, 45, 100, 150, 300} {
		h := int(math.Round(float64(w) * 0.8))
		want := slowResize(full, 0, 0, 200, 160, w, h)
		data := encodePixels(t, m)
		same(t, toCanvas(pixels(t, Plan{Width: float64(w)}, data)), want, 45)
		same(t, toCanvas(independent(t, render(t, Plan{Width: float64(w), Format: JPEG, Quality: 95}, data).Bytes)), want.onWhite(), 28)
		same(t, toCanvas(independent(t, render(t, Plan{Width: float64(w), Format: WebP, Quality: 95}, data).Bytes)), want, 30)
	}
}

func TestBackground(t *testing.T) {
	clear := image.NewNRGBA(image.Rect(0, 0, 20, 10))
	data := encodePixels(t, clear)
	red, veil := &color.NRGBA{200, 0, 0, 255}, &color.NRGBA{200, 0, 0, 128}
	for _, tt := range []struct {
		name string
		plan Plan
		at   [2]int
		want color.NRGBA
	}{
		{"transparency is kept", Plan{Format: PNG}, [2]int{3, 3}, color.NRGBA{}},
		{"white where the format has none", Plan{Format: JPEG}, [2]int{3, 3}, color.NRGBA{255, 255, 255, 255}},
		{"a colour shows through", Plan{Format: PNG, Background: red}, [2]int{3, 3}, *red},
		{"a veil too", Plan{Format: PNG, Background: veil}, [2]int{3, 3}, *veil},
		{"a veil is over white where the format has no alpha", Plan{Format: JPEG, Background: veil}, [2]int{3, 3}, color.NRGBA{227, 127, 127, 255}},
		{"fill is white", Plan{Format: PNG, Width: 20, Height: 20, Fit: Fill}, [2]int{3, 1}, color.NRGBA{255, 255, 255, 255}},
		{"and leaves the picture transparent", Plan{Format: PNG, Width: 20, Height: 20, Fit: Fill}, [2]int{3, 10}, color.NRGBA{}},
		{"fill with a colour", Plan{Format: PNG, Width: 20, Height: 20, Fit: Fill, Background: red}, [2]int{3, 1}, *red},
		{"opaque is PNG where there is transparency", Plan{Format: Opaque}, [2]int{3, 3}, color.NRGBA{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := color.NRGBAModel.Convert(independent(t, render(t, tt.plan, data).Bytes).At(tt.at[0], tt.at[1])).(color.NRGBA)
			for i, d := range []int{int(got.R) - int(tt.want.R), int(got.G) - int(tt.want.G), int(got.B) - int(tt.want.B), int(got.A) - int(tt.want.A)} {
				if d < -3 || d > 3 || i == 3 && d != 0 {
					t.Fatalf("got %v, want %v", got, tt.want)
				}
			}
		})
	}
}

func TestOpaqueIsJPEGWhereItCanBe(t *testing.T) {
	red := &color.NRGBA{200, 0, 0, 255}
	for _, tt := range []struct {
		plan Plan
		data []byte
		want Format
	}{
		{Plan{Width: 20}, sample(t, "rocket.jpg"), JPEG},
		{Plan{Width: 20}, sample(t, "coffee.png"), JPEG},
		{Plan{Width: 20}, encodePixels(t, soft(30, 30)), PNG},
		{Plan{Width: 20, Background: red}, encodePixels(t, soft(30, 30)), JPEG},
		{Plan{Width: 20, Height: 40, Fit: Fill, Background: &color.NRGBA{}}, sample(t, "rocket.jpg"), PNG},
	} {
		tt.plan.Format = Opaque
		if got := render(t, tt.plan, tt.data); got.Format != tt.want {
			t.Errorf("%s: %s, want %s", tt.plan, got.Format, tt.want)
		}
	}
}

func TestClampExtendsEdges(t *testing.T) {
	got := toNRGBA(pixels(t, Plan{Width: 40, Height: 60, Fit: Clamp}, encodePixels(t, noise(40, 20))))
	for y := range 60 {
		inside := min(max(y, 20), 39)
		for x := range 40 {
			if got.NRGBAAt(x, y) != got.NRGBAAt(x, inside) {
				t.Fatalf("pixel %d,%d is not that of row %d", x, y, inside)
			}
		}
	}
}

func TestEntropyFindsTheBusyPart(t *testing.T) {
	for _, at := range [][2]int{{10, 40}, {150, 40}, {250, 40}} {
		m := image.NewNRGBA(image.Rect(0, 0, 300, 100))
		for y := range 100 {
			for x := range 300 { // a smooth sky
				m.SetNRGBA(x, y, color.NRGBA{uint8(x / 3), uint8(100 + y), 200, 255})
			}
		}
		n := noise(30, 30)
		for y := range 30 {
			for x := range 30 {
				c := n.NRGBAAt(x, y)
				c.A = 255
				m.SetNRGBA(at[0]+x, at[1]+y, c)
			}
		}
		for _, o := range []int{1, 3, 6} { // upright or not
			data := withEXIF(t, stored(toCanvas(m), o).image(), JPEG, o)
			got := toNRGBA(pixels(t, Plan{Width: 50, Height: 50, Fit: Cover, Crop: []Crop{Entropy}}, data))
			all := toNRGBA(pixels(t, Plan{Height: 50}, data))
			if busy := sharp(got); busy < 0.6*sharp(all) { // the grids differ by parts of a pixel
				t.Errorf("at %v, stored %d: the cut holds %.0f of %.0f", at, o, busy, sharp(all))
			}
		}
	}
}

// sharp is the sum of the differences of neighbours that no sky has.
func sharp(m *image.NRGBA) float64 {
	g, sum := gray8(m), 0.0
	for y := range g.Rect.Dy() {
		for x := 1; x < g.Rect.Dx(); x++ {
			if d := math.Abs(float64(g.Pix[y*g.Stride+x]) - float64(g.Pix[y*g.Stride+x-1])); d > 20 {
				sum += d
			}
		}
	}
	return sum
}

func TestMarks(t *testing.T) {
	base := image.NewNRGBA(image.Rect(0, 0, 100, 80))
	fill(base, color.NRGBA{0, 0, 100, 255})
	mark := image.NewNRGBA(image.Rect(0, 0, 20, 10))
	fill(mark, color.NRGBA{200, 100, 0, 255})
	pad := 0
	p := Plan{Marks: []Mark{{}, {XAlign: Near, YAlign: Near, Pad: &pad, Alpha: 50}}}
	got := toNRGBA(pixels(t, p, encodePixels(t, base), encodePixels(t, mark), encodePixels(t, mark)))
	for _, tt := range []struct {
		x, y int
		want color.NRGBA
	}{
		{75, 65, color.NRGBA{200, 100, 0, 255}},
		{94, 74, color.NRGBA{200, 100, 0, 255}},
		{95, 74, color.NRGBA{0, 0, 100, 255}},
		{74, 65, color.NRGBA{0, 0, 100, 255}},
		{0, 0, color.NRGBA{100, 50, 50, 255}},
		{20, 0, color.NRGBA{0, 0, 100, 255}},
	} {
		g := got.NRGBAAt(tt.x, tt.y)
		for _, d := range []int{int(g.R) - int(tt.want.R), int(g.G) - int(tt.want.G), int(g.B) - int(tt.want.B), int(g.A) - int(tt.want.A)} {
			if d < -1 || d > 1 {
				t.Errorf("pixel %d,%d is %v, want %v", tt.x, tt.y, g, tt.want)
				break
			}
		}
	}
}

// TestInputsAreNotWritten: the caller's bytes stay as they are.
func TestInputsAreNotWritten(t *testing.T) {
	for _, name := range []string{"rocket.jpg", "chelsea.png"} {
		data := sample(t, name)
		before := string(data)
		render(t, Plan{Width: 50, Format: WebP, Marks: []Mark{{}}}, data, data)
		if string(data) != before {
			t.Errorf("%s was written to", name)
		}
	}
}

// TestConcurrent: one Renderer, many goroutines, the same bytes.
func TestConcurrent(t *testing.T) {
	var r Renderer
	data := sample(t, "rocket.jpg")
	want := render(t, Plan{Width: 90}, data).Bytes
	errs := make(chan error)
	for range 8 {
		go func() {
			pic, err := r.Render(t.Context(), Plan{Width: 90}, data)
			if err == nil && string(pic.Bytes) != string(want) {
				err = fmt.Errorf("other bytes")
			}
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// A background that lets something through is laid under the picture once, also where it pads.
func TestTranslucentBackgroundIsLaidOnce(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 40, 20))
	fill(m, color.NRGBA{0, 200, 0, 255})
	got := toNRGBA(pixels(t, Plan{Width: 40, Height: 40, Fit: Fill, Background: &color.NRGBA{255, 0, 0, 128}}, encodePixels(t, m)))
	for y, want := range map[int]color.NRGBA{5: {255, 0, 0, 128}, 20: {0, 200, 0, 255}, 35: {255, 0, 0, 128}} {
		if c := got.NRGBAAt(20, y); c != want {
			t.Errorf("at %d: %v, want %v", y, c, want)
		}
	}
}
