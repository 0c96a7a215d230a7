package resize

import (
	"image"
	"image/color"
	"math"
	"testing"
)

// plain is a picture of one colour.
func plain(w, h int, c color.NRGBA) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	fill(m, c)
	return m
}

// framed is a picture of noise in an edge of one colour: left, top, right and bottom pixels of it.
func framed(w, h int, c color.NRGBA, l, t, r, b int) *image.NRGBA {
	m := plain(w, h, c)
	for y := t; y < h-b; y++ {
		for x := l; x < w-r; x++ {
			m.SetNRGBA(x, y, color.NRGBA{uint8(90 + x*37%120), uint8(y * 53 % 200), uint8((x*y)%150 + 20), 255})
		}
	}
	return m
}

func at(m image.Image, x, y int) color.NRGBA {
	return color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA)
}

func TestTrimCutsTheEdgeOff(t *testing.T) {
	gray := color.NRGBA{200, 200, 200, 255}
	edged := framed(60, 40, gray, 5, 7, 11, 3)
	clear := framed(60, 40, color.NRGBA{200, 200, 200, 0}, 5, 7, 11, 3)
	faint := framed(60, 40, color.NRGBA{10, 20, 30, 9}, 5, 7, 11, 3)
	uneven := framed(60, 40, gray, 5, 7, 11, 3)
	for i := 0; i < len(uneven.Pix); i += 4 {
		if uneven.Pix[i] == 200 {
			uneven.Pix[i] = uint8(198 + (i/4%60+i/240)%5)
		}
	}
	f := func(v float64) *float64 { return &v }
	for _, tt := range []struct {
		name string
		m    image.Image
		plan Plan
		w, h int
	}{
		{"one colour", edged, Plan{Trim: &Trim{By: TrimColor}}, 44, 30},
		{"about one colour", uneven, Plan{Trim: &Trim{}}, 44, 30},
		{"about one colour is not one", uneven, Plan{Trim: &Trim{By: TrimColor}}, 60, 40},
		{"within a tolerance it is", uneven, Plan{Trim: &Trim{By: TrimColor, Color: &gray, Tolerance: 3}}, 44, 30},
		{"another colour", edged, Plan{Trim: &Trim{By: TrimColor, Color: &color.NRGBA{0, 0, 0, 255}}}, 60, 40},
		{"no deviation allowed", uneven, Plan{Trim: &Trim{Deviation: f(0)}}, 60, 40},
		{"transparent", clear, Plan{Trim: &Trim{By: TrimAlpha}}, 44, 30},
		{"nearly transparent", faint, Plan{Trim: &Trim{By: TrimAlpha}}, 60, 40},
		{"nearly transparent, and told so", faint, Plan{Trim: &Trim{By: TrimAlpha, Alpha: 9}}, 44, 30},
		{"transparency first", clear, Plan{Trim: &Trim{By: TrimColorUnlessAlpha}}, 44, 30},
		{"else colour", edged, Plan{Trim: &Trim{By: TrimColorUnlessAlpha}}, 44, 30},
		{"more is left", edged, Plan{Trim: &Trim{By: TrimColor, Pad: 4}}, 52, 37},
		{"less is left", edged, Plan{Trim: &Trim{By: TrimColor, Pad: -2}}, 40, 26},
		{"nothing would be left", edged, Plan{Trim: &Trim{By: TrimColor, Pad: -200}}, 60, 40},
		{"all of one colour", plain(20, 10, gray), Plan{Trim: &Trim{}}, 20, 10},
		{"turned", edged, Plan{Trim: &Trim{By: TrimColor}, Orient: 6}, 30, 44},
		{"a part of what is left", edged, Plan{Trim: &Trim{By: TrimColor}, Rect: &Rect{X: 0.5, W: 0.5, H: 1}}, 22, 30},
		{"resized", edged, Plan{Trim: &Trim{By: TrimColor}, Width: 22}, 22, 15},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := pixels(t, tt.plan, encodePixels(t, tt.m))
			if got.Bounds().Dx() != tt.w || got.Bounds().Dy() != tt.h {
				t.Errorf("%v, want %dx%d", got.Bounds().Size(), tt.w, tt.h)
			}
		})
	}
	for orient := 1; orient <= 8; orient++ {
		// Trimming and turning commute.
		got := pixels(t, Plan{Trim: &Trim{By: TrimColor}, Orient: orient}, encodePixels(t, edged))
		inside := pixels(t, Plan{Rect: &Rect{X: 5, Y: 7, W: 44, H: 30}}, encodePixels(t, edged))
		samePixels(t, got, pixels(t, Plan{Orient: orient}, encodePixels(t, inside)))
	}
}

func TestPadWidensTheFrame(t *testing.T) {
	m := encodePixels(t, plain(60, 40, color.NRGBA{10, 20, 30, 255}))
	red := color.NRGBA{255, 0, 0, 255}
	for _, tt := range []struct {
		name         string
		plan         Plan
		w, h         int
		x, y, x2, y2 int // where the picture begins and ends
	}{
		{"without a size it is added", Plan{Pad: Insets{5, 5, 5, 5}}, 70, 50, 5, 5, 65, 45},
		{"each side", Plan{Pad: Insets{1, 2, 3, 4}}, 66, 44, 4, 1, 64, 41},
		{"with a size it is within", Plan{Width: 30, Pad: Insets{5, 5, 5, 5}}, 30, 23, 5, 5, 25, 18},
		{"within a box", Plan{Width: 50, Height: 50, Fit: Cover, Pad: Insets{5, 5, 5, 5}}, 50, 50, 5, 5, 45, 45},
		{"at a density", Plan{Width: 30, DPR: 2, Pad: Insets{5, 5, 5, 5}}, 60, 47, 10, 10, 50, 37},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.plan.Background = &red
			got := pixels(t, tt.plan, m)
			if got.Bounds().Dx() != tt.w || got.Bounds().Dy() != tt.h {
				t.Fatalf("%v, want %dx%d", got.Bounds().Size(), tt.w, tt.h)
			}
			for y := range tt.h {
				for x := range tt.w {
					want := red
					if image.Pt(x, y).In(image.Rect(tt.x, tt.y, tt.x2, tt.y2)) {
						want = color.NRGBA{10, 20, 30, 255}
					}
					if c := at(got, x, y); c != want {
						t.Fatalf("%d,%d is %v, want %v", x, y, c, want)
					}
				}
			}
		})
	}
	if c := at(pixels(t, Plan{Pad: Insets{9, 9, 9, 9}, Format: PNG}, m), 2, 2); c.A != 0 {
		t.Errorf("without a background it is %v", c)
	}
	if c := at(independent(t, render(t, Plan{Pad: Insets{9, 9, 9, 9}, Format: JPEG}, m).Bytes), 2, 2); c.R < 250 {
		t.Errorf("in a JPEG it is %v", c)
	}
}

// opacity is the mean of alpha, 0 to 1.
func opacity(m image.Image) float64 {
	px, sum := toNRGBA(m), 0
	for i := 3; i < len(px.Pix); i += 4 {
		sum += int(px.Pix[i])
	}
	return float64(sum) / 255 / float64(len(px.Pix)/4)
}

func TestMasks(t *testing.T) {
	m := encodePixels(t, plain(120, 80, color.NRGBA{10, 20, 30, 255}))
	near := func(name string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 0.002 {
			t.Errorf("%s covers %.4f, want %.4f", name, got, want)
		}
	}
	round := pixels(t, Plan{Mask: &Mask{}}, m)
	near("an ellipse", opacity(round), math.Pi/4)
	corners := pixels(t, Plan{Mask: &Mask{Shape: CornersMask, Radius: Corners{20, 20, 20, 20}}}, m)
	near("corners of 20", opacity(corners), 1-(4-math.Pi)*400/9600)
	near("corners that do not fit", opacity(pixels(t, Plan{Mask: &Mask{Shape: CornersMask, Radius: Corners{999, 999, 999, 999}}}, m)), 1-(4-math.Pi)*1600/9600)
	near("one corner", opacity(pixels(t, Plan{Mask: &Mask{Shape: CornersMask, Radius: Corners{BottomRight: 30}}}, m)), 1-(4-math.Pi)/4*900/9600)
	near("no radius is a fifth of the smaller side", opacity(pixels(t, Plan{Mask: &Mask{Shape: CornersMask}}, m)), 1-(4-math.Pi)*16*16/9600)
	for _, p := range []image.Point{{0, 0}, {119, 0}, {0, 79}, {119, 79}} {
		if c := at(corners, p.X, p.Y); c.A != 0 {
			t.Errorf("corner %v is %v", p, c)
		}
	}
	samePixels(t, pixels(t, Plan{Mask: &Mask{}, Flip: Both}, m), round)
	if c := at(pixels(t, Plan{Mask: &Mask{Background: &color.NRGBA{255, 0, 0, 255}}}, m), 0, 0); c != (color.NRGBA{255, 0, 0, 255}) {
		t.Errorf("the background is %v", c)
	}

	// A picture masks by its luma and its alpha: white shows, black and nothing do not.
	half := plain(4, 4, color.NRGBA{255, 255, 255, 255})
	for i := 3; i < len(half.Pix); i += 16 {
		half.Pix[i], half.Pix[i+4] = 0, 0
	}
	for name, mask := range map[string]image.Image{"alpha": half, "luma": plain(4, 4, color.NRGBA{128, 128, 128, 255}), "both": plain(4, 4, color.NRGBA{180, 180, 180, 181})} {
		got := pixels(t, Plan{Mask: &Mask{Shape: PictureMask}}, m, encodePixels(t, mask))
		near(name, opacity(got), 0.5)
	}
	if _, err := (&Renderer{}).Render(t.Context(), Plan{Mask: &Mask{Shape: PictureMask}}, m); err == nil {
		t.Error("a mask without its picture")
	}
	if _, err := (&Renderer{}).Render(t.Context(), Plan{Mask: &Mask{Shape: PictureMask}}, m, []byte("x")); err == nil || err.Error()[:8] != "the mask" {
		t.Errorf("a mask that is no picture: %v", err)
	}
}

func TestBorders(t *testing.T) {
	inner, red, green := color.NRGBA{10, 20, 30, 255}, color.NRGBA{255, 0, 0, 255}, color.NRGBA{0, 255, 0, 255}
	m := encodePixels(t, plain(60, 40, inner))
	got := pixels(t, Plan{Border: &Border{Width: Insets{1, 2, 3, 4}, Color: red}}, m)
	for y := range 40 {
		for x := range 60 {
			want := red
			if image.Pt(x, y).In(image.Rect(4, 1, 58, 37)) {
				want = inner
			}
			if c := at(got, x, y); c != want {
				t.Fatalf("%d,%d is %v, want %v", x, y, c, want)
			}
		}
	}
	round := pixels(t, Plan{Border: &Border{Width: Insets{5, 5, 5, 5}, Color: red, Radius: Corners{15, 15, 15, 15}}}, m)
	for p, want := range map[image.Point]color.NRGBA{{0, 0}: {}, {30, 2}: red, {30, 20}: inner, {6, 6}: red, {9, 9}: inner} {
		if c := at(round, p.X, p.Y); c != want && !(want.A == 0 && c.A == 0) {
			t.Errorf("%v is %v, want %v", p, c, want)
		}
	}
	stroke := pixels(t, Plan{Border: &Border{Width: Insets{9, 9, 9, 9}, Color: red, Stroke: 2, StrokeColor: &green}}, m)
	for x, want := range []color.NRGBA{green, green, red, red, red, red, red, green, green, inner, inner} {
		if c := at(stroke, x, 20); c != want {
			t.Errorf("column %d is %v, want %v", x, c, want)
		}
	}
	dense := pixels(t, Plan{DPR: 2, Border: &Border{Width: Insets{3, 3, 3, 3}, Color: red}}, m)
	if c, d := at(dense, 5, 20), at(dense, 6, 20); c != red || d != inner {
		t.Errorf("at twice the density: %v, %v", c, d)
	}
}

func TestGradientsEndInTheirColours(t *testing.T) {
	from, to := color.NRGBA{250, 40, 10, 255}, color.NRGBA{20, 90, 240, 255}
	for space := GradientSRGB; space <= GradientLCH; space++ {
		g := &Gradient{From: from, To: to, Space: space}
		if a, b := g.at(0), g.at(1); a != from || b != to {
			t.Errorf("space %d: %v to %v", space, a, b)
		}
		before := g.at(0)
		for i := 1; i <= 100; i++ { // without a step that shows
			c := g.at(float64(i) / 100)
			if d := math.Abs(float64(c.R)-float64(before.R)) + math.Abs(float64(c.G)-float64(before.G)) + math.Abs(float64(c.B)-float64(before.B)); d > 24 {
				t.Errorf("space %d: from %v to %v in a hundredth", space, before, c)
			}
			before = c
		}
		for v := range 256 {
			gray := color.NRGBA{uint8(v), uint8(255 - v), uint8(v / 2), 255}
			if c := space.color(space.of(gray)); c != gray {
				t.Errorf("space %d: %v comes back as %v", space, gray, c)
			}
		}
	}
	if c := (&Gradient{From: color.NRGBA{255, 0, 0, 255}, To: color.NRGBA{0, 0, 255, 0}}).at(0.5); c.A != 128 || c.R != 255 {
		t.Errorf("towards nothing: %v", c)
	}
	fade := (&Gradient{From: color.NRGBA{128, 128, 128, 255}, To: color.NRGBA{0, 0, 255, 255}, Space: GradientHSL}).at(0.5)
	if fade.B <= fade.R || fade.G > fade.R+2 {
		t.Errorf("from gray to blue goes through %v", fade)
	}
	m := encodePixels(t, plain(40, 10, color.NRGBA{9, 9, 9, 255}))
	for _, tt := range []struct {
		name string
		g    Gradient
		a, b image.Point
	}{
		{"down", Gradient{}, image.Pt(20, 0), image.Pt(20, 39)},
		{"up", Gradient{Reverse: true}, image.Pt(20, 39), image.Pt(20, 0)},
		{"right", Gradient{Toward: Horizontal}, image.Pt(0, 2), image.Pt(39, 2)},
		{"left", Gradient{Toward: Horizontal, Reverse: true}, image.Pt(39, 2), image.Pt(0, 2)},
		{"outwards", Gradient{Radial: true, Y: new(float64)}, image.Pt(20, 1), image.Pt(0, 39)},
	} {
		tt.g.From, tt.g.To = from, to
		got := pixels(t, Plan{Width: 40, Height: 40, Fit: Fill, Fill: &Padding{Gradient: &tt.g}, Format: PNG}, m)
		far := func(a, b color.NRGBA) float64 {
			return math.Abs(float64(a.R)-float64(b.R)) + math.Abs(float64(a.G)-float64(b.G)) + math.Abs(float64(a.B)-float64(b.B))
		}
		if a, b := at(got, tt.a.X, tt.a.Y), at(got, tt.b.X, tt.b.Y); far(a, from) > 20 || far(b, to) > 20 {
			t.Errorf("%s: %v to %v", tt.name, a, b)
		}
		if c := at(got, 20, 20); c != (color.NRGBA{9, 9, 9, 255}) {
			t.Errorf("%s: the picture is %v", tt.name, c)
		}
	}
}

func TestFillIsPlaced(t *testing.T) {
	inner, blue := color.NRGBA{9, 9, 9, 255}, color.NRGBA{0, 0, 255, 255}
	m := encodePixels(t, plain(40, 10, inner))
	for align, y := range map[Align]int{NoAlign: 15, Near: 0, Middle: 15, Far: 30} {
		got := pixels(t, Plan{Width: 40, Height: 40, Fit: Fill, Fill: &Padding{Color: &blue, Y: align}}, m)
		for i := range 40 {
			want := blue
			if i >= y && i < y+10 {
				want = inner
			}
			if c := at(got, 3, i); c != want {
				t.Fatalf("align %d: row %d is %v", align, i, c)
			}
		}
	}
}

func TestGridIsUnderWhatIsTransparent(t *testing.T) {
	m := encodePixels(t, plain(20, 20, color.NRGBA{}))
	red, green := color.NRGBA{255, 0, 0, 255}, color.NRGBA{0, 255, 0, 255}
	got := pixels(t, Plan{Grid: &Grid{Colors: [2]color.NRGBA{red, green}, Size: 5}}, m)
	for p, want := range map[image.Point]color.NRGBA{{0, 0}: red, {4, 4}: red, {5, 4}: green, {5, 5}: red, {0, 19}: green} {
		if c := at(got, p.X, p.Y); c != want {
			t.Errorf("%v is %v, want %v", p, c, want)
		}
	}
	if c := at(pixels(t, Plan{Grid: &Grid{}}, m), 0, 0); c != (color.NRGBA{0xd0, 0xd7, 0xdd, 255}) {
		t.Errorf("by default it begins with %v", c)
	}
	solid := encodePixels(t, plain(20, 20, red))
	samePixels(t, pixels(t, Plan{Grid: &Grid{}}, solid), pixels(t, Plan{}, solid))
}

func TestPivotTakesTheFrameWithIt(t *testing.T) {
	m := encodePixels(t, plain(60, 40, color.NRGBA{10, 20, 30, 255}))
	for _, tt := range []struct {
		degrees float64
		w, h    int
	}{{90, 40, 60}, {180, 60, 40}, {270, 40, 60}, {45, 71, 71}, {30, 72, 65}, {1, 61, 42}} {
		got := pixels(t, Plan{Rotate: tt.degrees, Pivot: true, Format: PNG}, m)
		if got.Bounds().Size() != image.Pt(tt.w, tt.h) {
			t.Errorf("%v degrees: %v, want %dx%d", tt.degrees, got.Bounds().Size(), tt.w, tt.h)
		}
		if a, want := opacity(got)*float64(got.Bounds().Dx()*got.Bounds().Dy()), 2400.0; math.Abs(a-want) > 12 {
			t.Errorf("%v degrees: %.0f pixels of the picture's %.0f", tt.degrees, a, want)
		}
	}
	upright := encodePixels(t, arrow(60, 40))
	samePixels(t, pixels(t, Plan{Rotate: 90, Pivot: true}, upright), pixels(t, Plan{Orient: 8}, upright))
}

func TestBoundsOfASide(t *testing.T) {
	for _, tt := range []struct {
		plan Plan
		w, h int
	}{
		{Plan{Width: 100, Height: 100, MaxWidth: 50}, 50, 100},
		{Plan{Width: 100, Height: 100, MaxHeight: 50, MinWidth: 150}, 150, 50},
		{Plan{Width: 100, Aspect: 2, MaxHeight: 20}, 100, 20},
		{Plan{Width: 100, Height: 100, MaxWidth: 50, DPR: 2}, 100, 200},
		{Plan{Width: 100, Height: 100, MinHeight: 1, MaxHeight: 500}, 100, 100},
	} {
		tt.plan.Fit = Cover
		l, err := tt.plan.layout(300, 200)
		if err != nil || l.out != image.Pt(tt.w, tt.h) {
			t.Errorf("%v: %v, %v, want %dx%d", tt.plan, l.out, err, tt.w, tt.h)
		}
	}
}

func TestZoomGoesIntoThePoint(t *testing.T) {
	p := Plan{Width: 100, Height: 100, Fit: Cover, Crop: []Crop{FocalPoint}, Focal: &Point{0.25, 0.5}, Zoom: 4}
	l, err := p.layout(400, 200)
	if err != nil {
		t.Fatal(err)
	}
	if l.x.at != 75 || l.x.size != 50 || l.y.at != 75 || l.y.size != 50 {
		t.Errorf("%+v, %+v", l.x, l.y)
	}
	p.Focal = &Point{0, 0}
	if l, err = p.layout(400, 200); err != nil || l.x.at != 0 || l.y.at != 0 {
		t.Errorf("at the corner: %+v, %+v, %v", l.x, l.y, err)
	}
	p.Focal, p.Crosshairs, p.Zoom = &Point{0.25, 0.5}, true, 0
	got := pixels(t, p, encodePixels(t, plain(400, 200, color.NRGBA{99, 99, 99, 255})))
	if a, b := at(got, 50, 10), at(got, 51, 10); a.R != 255 || b.R != 0 {
		t.Errorf("the crosshairs are not at 50: %v, %v", a, b)
	}
	if a := at(got, 10, 50); a.R != 255 {
		t.Errorf("nor at 50 down: %v", a)
	}
}

func TestEdgesDrawTheCrop(t *testing.T) {
	m := plain(300, 100, color.NRGBA{120, 120, 120, 255})
	for y := 20; y < 80; y++ { // fine noise on the left, one hard shape on the right
		for x := range 60 {
			v := uint8(115 + (x*y)%11)
			m.SetNRGBA(20+x, y, color.NRGBA{v, v, v, 255})
			m.SetNRGBA(220+x, y, color.NRGBA{0, 0, 0, 255})
		}
	}
	data := encodePixels(t, m)
	if c := at(pixels(t, Plan{Width: 100, Height: 100, Fit: Cover, Crop: []Crop{Edges}}, data), 50, 50); c.R != 0 {
		t.Errorf("edges: the middle is %v", c)
	}
	if c := at(pixels(t, Plan{Width: 100, Height: 100, Fit: Cover, Crop: []Crop{Left, Edges}}, data), 50, 50); c.R == 0 {
		t.Errorf("left comes first: the middle is %v", c)
	}
}
