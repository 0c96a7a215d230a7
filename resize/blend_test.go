package resize

import (
	"errors"
	"image"
	"image/color"
	"math"
	"testing"
)

// slowMode is what W3C Compositing and Blending Level 1 says of opaque colours, in floating point.
func slowMode(mode BlendMode, b, s [3]float64) [3]float64 {
	lum := func(c [3]float64) float64 { return 0.3*c[0] + 0.59*c[1] + 0.11*c[2] }
	sat := func(c [3]float64) float64 { return max(c[0], c[1], c[2]) - min(c[0], c[1], c[2]) }
	clip := func(c [3]float64) [3]float64 {
		l, n, x := lum(c), min(c[0], c[1], c[2]), max(c[0], c[1], c[2])
		for i := range c {
			if n < 0 {
				c[i] = l + (c[i]-l)*l/(l-n)
			}
			if x > 1 {
				c[i] = l + (c[i]-l)*(1-l)/(x-l)
			}
		}
		return c
	}
	setLum := func(c [3]float64, l float64) [3]float64 {
		d := l - lum(c)
		return clip([3]float64{c[0] + d, c[1] + d, c[2] + d})
	}
	setSat := func(c [3]float64, s float64) [3]float64 {
		lo, hi := min(c[0], c[1], c[2]), max(c[0], c[1], c[2])
		if hi == lo {
			return [3]float64{}
		}
		for i := range c {
			c[i] = (c[i] - lo) * s / (hi - lo)
		}
		return c
	}
	switch mode {
	case HueBlend:
		return setLum(setSat(s, sat(b)), lum(b))
	case SaturationBlend:
		return setLum(setSat(b, sat(s)), lum(b))
	case ColorBlend:
		return setLum(s, lum(b))
	case Luminosity:
		return setLum(b, lum(s))
	}
	f := mode.separable()
	return [3]float64{f(b[0], s[0]), f(b[1], s[1]), f(b[2], s[2])}
}

func TestBlendModes(t *testing.T) {
	backdrop, source := noise(37, 29), noise(37, 29)
	for i := range source.Pix {
		source.Pix[i] = uint8(int(source.Pix[i])*7 + 31*i)
		if i%4 == 3 {
			backdrop.Pix[i], source.Pix[i] = 255, 255
		}
	}
	for mode := Overlay; mode <= SoftLight; mode++ {
		got := toNRGBA(pixels(t, Plan{Blend: &Blend{Mode: mode}}, encodePixels(t, backdrop), encodePixels(t, source)))
		for i := 0; i < len(got.Pix); i += 4 {
			var b, s [3]float64
			for c := range 3 {
				b[c], s[c] = float64(backdrop.Pix[i+c])/255, float64(source.Pix[i+c])/255
			}
			want := slowMode(mode, b, s)
			for c := range 3 {
				if d := math.Abs(float64(got.Pix[i+c]) - want[c]*255); d > 1 || d > 0.51 && mode.separable() != nil {
					t.Fatalf("mode %d of %v and %v: %v, want %.4v", mode, backdrop.Pix[i:i+3], source.Pix[i:i+3], got.Pix[i:i+3], want)
				}
			}
		}
	}
}

func TestBlendOfWhatIsTransparent(t *testing.T) {
	red := color.NRGBA{200, 0, 0, 255}
	m := encodePixels(t, plain(20, 10, red))
	blue := color.NRGBA{0, 0, 255, 255}
	for _, tt := range []struct {
		name  string
		blend Blend
		want  color.NRGBA
	}{
		{"normal covers", Blend{Color: &blue, Mode: Normal}, blue},
		{"half of it", Blend{Color: &blue, Mode: Normal, Alpha: 50}, color.NRGBA{100, 0, 128, 255}},
		{"half a colour", Blend{Color: &color.NRGBA{0, 0, 255, 128}, Mode: Normal}, color.NRGBA{100, 0, 128, 255}},
		{"nothing", Blend{Color: &color.NRGBA{0, 0, 255, 0}, Mode: Multiply}, red},
	} {
		got := at(pixels(t, Plan{Blend: &tt.blend}, m), 3, 3)
		for _, d := range []int{int(got.R) - int(tt.want.R), int(got.G) - int(tt.want.G), int(got.B) - int(tt.want.B), int(got.A) - int(tt.want.A)} {
			if d < -1 || d > 1 {
				t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
				break
			}
		}
	}
	// Over nothing, a mode has nothing to work on: the source is what shows.
	clear := encodePixels(t, plain(20, 10, color.NRGBA{0, 200, 0, 0}))
	if got := at(pixels(t, Plan{Blend: &Blend{Color: &blue, Mode: Multiply}}, clear), 3, 3); got != blue {
		t.Errorf("over nothing: %v", got)
	}
}

func TestBlendIsPlaced(t *testing.T) {
	n := func(v int) *int { return &v }
	red, blue := color.NRGBA{200, 0, 0, 255}, color.NRGBA{0, 0, 255, 255}
	m, top := encodePixels(t, plain(40, 20, red)), encodePixels(t, plain(10, 5, blue))
	for _, tt := range []struct {
		name         string
		blend        Blend
		x, y, x2, y2 int
	}{
		{"in the middle, where nothing is said", Blend{}, 15, 7, 25, 12},
		{"top left", Blend{XAlign: Near, YAlign: Near}, 0, 0, 10, 5},
		{"to the left alone", Blend{XAlign: Near}, 0, 7, 10, 12},
		{"beyond the edges", Blend{X: n(-4), Y: n(-2)}, 0, 0, 6, 3},
		{"bottom right", Blend{XAlign: Far, YAlign: Far, Pad: 2}, 28, 13, 38, 18},
		{"in the middle", Blend{XAlign: Middle, YAlign: Middle}, 15, 7, 25, 12},
		{"at a place", Blend{X: n(3), Y: n(4)}, 3, 4, 13, 9},
		{"half as wide as the picture", Blend{Width: 0.5}, 10, 5, 30, 15},
		{"over all of it", Blend{Inherit: true}, 0, 0, 40, 20},
		{"over its edge", Blend{X: n(35), Y: n(18)}, 35, 18, 40, 20},
		{"filling a box", Blend{Width: 12, Height: 12, Fit: Cover}, 14, 4, 26, 16},
		{"clamped to a box", Blend{Width: 12, Height: 12, Fit: Clamp}, 14, 4, 26, 16},
		{"within a box", Blend{Width: 12, Height: 12}, 14, 7, 26, 13},
	} {
		tt.blend.Mode = Normal
		got := pixels(t, Plan{Blend: &tt.blend}, m, top)
		for y := range 20 {
			for x := range 40 {
				want := red
				if x >= tt.x && x < tt.x2 && y >= tt.y && y < tt.y2 {
					want = blue
				}
				if c := at(got, x, y); c != want {
					t.Fatalf("%s: %d,%d is %v", tt.name, x, y, c)
				}
			}
		}
	}
}

// TestBlendInherits: a blend of the picture's size is cut as the original is.
func TestBlendInherits(t *testing.T) {
	red, blue, green := color.NRGBA{200, 0, 0, 255}, color.NRGBA{0, 0, 255, 255}, color.NRGBA{0, 255, 0, 255}
	m := encodePixels(t, plain(40, 40, red))
	wide := plain(60, 20, blue) // its right third is green
	for y := range 20 {
		for x := 40; x < 60; x++ {
			wide.SetNRGBA(x, y, green)
		}
	}
	top := encodePixels(t, wide)
	for _, tt := range []struct {
		name        string
		plan        Plan
		left, right color.NRGBA // in the middle row
		corner      color.NRGBA
	}{
		{"not cut: within it", Plan{Width: 20, Height: 20}, blue, green, red},
		{"cut to the middle", Plan{Width: 20, Height: 20, Fit: Cover}, blue, blue, blue},
		{"cut to the right", Plan{Width: 20, Height: 20, Fit: Cover, Crop: []Crop{Right}}, green, green, green},
		{"stretched", Plan{Width: 20, Height: 20, Fit: Scale}, blue, green, blue},
		{"its own say goes before", Plan{Width: 20, Height: 20, Fit: Cover, Crop: []Crop{Right}, Blend: &Blend{Fit: Scale}}, blue, green, blue},
	} {
		if tt.plan.Blend == nil {
			tt.plan.Blend = &Blend{}
		}
		tt.plan.Blend.Inherit, tt.plan.Blend.Mode = true, Normal
		got := pixels(t, tt.plan, m, top)
		if l, r, c := at(got, 1, 10), at(got, 18, 10), at(got, 1, 1); l != tt.left || r != tt.right || c != tt.corner {
			t.Errorf("%s: %v, %v, %v", tt.name, l, r, c)
		}
	}
}

// TestOverlaysAreBounded: what is laid over a picture takes no more memory than a picture may.
func TestOverlaysAreBounded(t *testing.T) {
	m, line := encodePixels(t, plain(9, 9, color.NRGBA{1, 2, 3, 255})), encodePixels(t, plain(1, 900, color.NRGBA{1, 2, 3, 255}))
	for name, b := range map[string]Blend{
		"a box":                     {Width: 1e6, Height: 1e6, Fit: Scale},
		"a side that follows":       {Width: 500},
		"a box of the given side":   {Width: 9000, Height: 20, Fit: Cover},
		"a box that grows with DPR": {Width: 300, Height: 300, Fit: Scale},
	} {
		p := Plan{Blend: &b}
		if name == "a box that grows with DPR" {
			p.DPR = 100
		}
		if _, err := (&Renderer{}).Render(t.Context(), p, m, line); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A mark of one pixel on every pixel of a large picture is one mark.
	zero := 0
	r := Renderer{}
	inputs := []Input{{Bytes: encodePixels(t, plain(1500, 1500, color.NRGBA{1, 2, 3, 255}))}, {Bytes: encodePixels(t, plain(1, 1, color.NRGBA{9, 9, 9, 255}))}}
	j, err := r.prepare(Plan{Marks: []Mark{{Tile: true, Pad: &zero}}}, inputs)
	if err != nil {
		t.Fatal(err)
	}
	defer j.release()
	if err := j.take(t.Context()); err != nil || len(j.marks) != 1 {
		t.Errorf("%d marks, %v", len(j.marks), err)
	}
}

// TestTilesGoToAllSides: a grid of marks has one where the mark alone would be.
func TestTilesGoToAllSides(t *testing.T) {
	red, blue := color.NRGBA{200, 0, 0, 255}, color.NRGBA{0, 0, 255, 255}
	m, top := encodePixels(t, plain(60, 40, red)), encodePixels(t, plain(7, 4, blue))
	n := func(v int) *int { return &v }
	for _, mk := range []Mark{{}, {XAlign: Far, YAlign: Far}, {XAlign: Middle, YAlign: Middle}, {X: n(31), Y: n(17)}, {X: n(-3), Y: n(-2)}, {Pad: n(0)}, {Pad: n(3), YAlign: Far}} {
		one, all := mk, mk
		all.Tile = true
		if mk == (Mark{}) || mk.XAlign == NoAlign && mk.X == nil { // it begins at the top left
			one.XAlign = Near
		}
		if mk.YAlign == NoAlign && mk.Y == nil {
			one.YAlign = Near
		}
		pad := 5
		if mk.Pad != nil {
			pad = *mk.Pad
		}
		at0 := one.at(Plan{}, image.Pt(7, 4), image.Pt(60, 40))
		got := pixels(t, Plan{Marks: []Mark{all}}, m, top)
		for y := range 40 {
			for x := range 60 {
				want := red
				if mod(x-at0.X, 7+pad) < 7 && mod(y-at0.Y, 4+pad) < 4 {
					want = blue
				}
				if c := at(got, x, y); c != want {
					t.Fatalf("%+v: %d,%d is %v", mk, x, y, c)
				}
			}
		}
	}
}

func mod(a, n int) int { return (a%n + n) % n }

// TestMarksTurnCounterClockwise: as imgix has it.
func TestMarksTurnCounterClockwise(t *testing.T) {
	red, blue, green := color.NRGBA{200, 0, 0, 255}, color.NRGBA{0, 0, 255, 255}, color.NRGBA{0, 255, 0, 255}
	top := plain(10, 4, blue)
	for y := range 4 {
		for x := range 3 { // its left end
			top.SetNRGBA(x, y, green)
		}
	}
	got := pixels(t, Plan{Marks: []Mark{{Rotate: 90, XAlign: Near, YAlign: Near, Pad: new(int)}}}, encodePixels(t, plain(30, 30, red)), encodePixels(t, top))
	if a, b := at(got, 1, 1), at(got, 1, 9); a != blue || b != green {
		t.Errorf("what was left is above: %v, %v", a, b)
	}
}

// TestTextMarksAreMarks: what a mark says goes for a text, too.
func TestTextMarksAreMarks(t *testing.T) {
	m := encodePixels(t, plain(60, 40, color.NRGBA{200, 200, 200, 255}))
	r := Renderer{Text: boxText{}}
	text := &Text{Text: "abcd", Size: 10, Pad: new(int)} // 20 by 10
	dark := func(mk Mark) image.Rectangle {
		mk.Text = text
		pic, err := r.Render(t.Context(), Plan{Marks: []Mark{mk}}, m)
		if err != nil {
			t.Fatal(err)
		}
		var box image.Rectangle
		got := independent(t, pic.Bytes)
		for y := range 40 {
			for x := range 60 {
				if at(got, x, y).R < 190 {
					box = box.Union(image.Rect(x, y, x+1, y+1))
				}
			}
		}
		return box
	}
	for _, tt := range []struct {
		name string
		mark Mark
		want image.Rectangle
	}{
		{"as it is", Mark{}, image.Rect(35, 25, 55, 35)},
		{"placed", Mark{XAlign: Near, YAlign: Near, Pad: new(int)}, image.Rect(0, 0, 20, 10)},
		{"turned", Mark{XAlign: Near, YAlign: Near, Pad: new(int), Rotate: 90}, image.Rect(0, 0, 10, 20)},
		{"made its size", Mark{XAlign: Near, YAlign: Near, Pad: new(int), Width: 40}, image.Rect(0, 0, 40, 20)},
		{"left out", Mark{MinWidth: 61}, image.Rectangle{}},
	} {
		if got := dark(tt.mark); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestMarksAreTurnedTiledAndLeftOut(t *testing.T) {
	red, blue := color.NRGBA{200, 0, 0, 255}, color.NRGBA{0, 0, 255, 255}
	m, top := encodePixels(t, plain(60, 40, red)), encodePixels(t, plain(10, 4, blue))
	n := func(v int) *int { return &v }
	blues := func(mk Mark) (count int, first color.NRGBA) {
		got := pixels(t, Plan{Marks: []Mark{mk}}, m, top)
		for y := range 40 {
			for x := range 60 {
				if at(got, x, y) == blue {
					count++
				}
			}
		}
		return count, at(got, 2, 2)
	}
	if c, _ := blues(Mark{Rotate: 90, Pad: n(0)}); c != 40 {
		t.Errorf("turned: %d", c)
	}
	if c, first := blues(Mark{Tile: true, Pad: n(2)}); c != 5*10*(6*4+2) || first != blue {
		t.Errorf("tiled: %d, %v", c, first)
	}
	if c, _ := blues(Mark{MinWidth: 61}); c != 0 {
		t.Errorf("on a picture too narrow: %d", c)
	}
	if c, _ := blues(Mark{MinWidth: 60, MinHeight: 40}); c != 40 {
		t.Errorf("on one just wide enough: %d", c)
	}
	if c, _ := blues(Mark{Width: 10, Height: 10, Fit: Fill}); c != 40 {
		t.Errorf("padded with nothing: %d", c)
	}
}

func TestMarksHavePlansOfTheirOwn(t *testing.T) {
	red, blue := color.NRGBA{200, 0, 0, 255}, color.NRGBA{0, 0, 255, 255}
	m, top := encodePixels(t, plain(60, 40, red)), encodePixels(t, plain(20, 10, blue))
	zero := 0
	got := pixels(t, Plan{Marks: []Mark{{X: &zero, Y: &zero, Plan: &Plan{
		Width: 10, Height: 10, Fit: Cover, Adjust: Adjust{Invert: true}, Pad: Insets{2, 2, 2, 2}, Background: &blue, Rotate: 90, Pivot: true,
	}}}}, m, top)
	for p, want := range map[[2]int]color.NRGBA{{0, 0}: blue, {9, 9}: blue, {2, 2}: {255, 255, 0, 255}, {7, 7}: {255, 255, 0, 255}, {10, 10}: red} {
		if c := at(got, p[0], p[1]); c != want {
			t.Errorf("%v is %v, want %v", p, c, want)
		}
	}
	// The same as making the mark first.
	own := Plan{Width: 12, Flip: Horizontal, Stylize: Stylize{Sepia: 80}}
	samePixels(t, pixels(t, Plan{Marks: []Mark{{Plan: &own, Width: 30}}}, m, top),
		pixels(t, Plan{Marks: []Mark{{Width: 30}}}, m, encodePixels(t, pixels(t, own, top))))
	for _, bad := range []Plan{{Text: &Text{Text: "a"}}, {Trim: &Trim{}}, {Fit: FaceArea}, {Marks: []Mark{{}}}, {Blend: &Blend{}}, {Width: -1}} {
		if _, err := (&Renderer{}).Render(t.Context(), Plan{Marks: []Mark{{Plan: &bad}}}, m, top); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}
