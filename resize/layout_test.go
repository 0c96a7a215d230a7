package resize

import (
	"errors"
	"fmt"
	"image"
	"math"
	"testing"
)

func TestLayout(t *testing.T) {
	crop := func(c ...Crop) []Crop { return c }
	for _, tt := range []struct {
		name   string
		plan   Plan
		w, h   int        // of the upright original
		size   [2]int     // of the output
		pic    [4]int     // of the picture in it: place and size
		window [4]float64 // of the original: place and size
	}{
		{"nothing asked", Plan{}, 300, 200, [2]int{300, 200}, [4]int{0, 0, 300, 200}, [4]float64{0, 0, 300, 200}},
		{"clip is limited by width", Plan{Width: 100, Height: 100}, 300, 200, [2]int{100, 67}, [4]int{0, 0, 100, 67}, [4]float64{0, 0, 300, 200}},
		{"clip is limited by height", Plan{Width: 100, Height: 100}, 200, 300, [2]int{67, 100}, [4]int{0, 0, 67, 100}, [4]float64{0, 0, 200, 300}},
		{"clip enlarges", Plan{Width: 600, Height: 600}, 300, 200, [2]int{600, 400}, [4]int{0, 0, 600, 400}, [4]float64{0, 0, 300, 200}},
		{"clip by width alone", Plan{Width: 100}, 300, 200, [2]int{100, 67}, [4]int{0, 0, 100, 67}, [4]float64{0, 0, 300, 200}},
		{"clip by height alone", Plan{Height: 100}, 300, 200, [2]int{150, 100}, [4]int{0, 0, 150, 100}, [4]float64{0, 0, 300, 200}},
		{"halves round up", Plan{Width: 101}, 202, 101, [2]int{101, 51}, [4]int{0, 0, 101, 51}, [4]float64{0, 0, 202, 101}},
		{"no side vanishes", Plan{Width: 10}, 10000, 3, [2]int{10, 1}, [4]int{0, 0, 10, 1}, [4]float64{0, 0, 10000, 3}},
		{"a fraction of the width", Plan{Width: 0.5}, 301, 200, [2]int{151, 100}, [4]int{0, 0, 151, 100}, [4]float64{0, 0, 301, 200}},
		{"one is all of the width", Plan{Width: 1}, 300, 200, [2]int{300, 200}, [4]int{0, 0, 300, 200}, [4]float64{0, 0, 300, 200}},
		{"fractions of both", Plan{Width: 0.5, Height: 0.1}, 300, 200, [2]int{30, 20}, [4]int{0, 0, 30, 20}, [4]float64{0, 0, 300, 200}},
		{"density multiplies pixels", Plan{Width: 100, DPR: 2}, 300, 200, [2]int{200, 133}, [4]int{0, 0, 200, 133}, [4]float64{0, 0, 300, 200}},
		{"density below one", Plan{Width: 100, DPR: 0.75}, 300, 200, [2]int{75, 50}, [4]int{0, 0, 75, 50}, [4]float64{0, 0, 300, 200}},
		{"density leaves fractions alone", Plan{Width: 0.5, DPR: 2}, 300, 200, [2]int{150, 100}, [4]int{0, 0, 150, 100}, [4]float64{0, 0, 300, 200}},
		{"density alone does nothing", Plan{DPR: 3}, 300, 200, [2]int{300, 200}, [4]int{0, 0, 300, 200}, [4]float64{0, 0, 300, 200}},

		{"max reduces", Plan{Width: 100, Height: 100, Fit: Max}, 300, 200, [2]int{100, 67}, [4]int{0, 0, 100, 67}, [4]float64{0, 0, 300, 200}},
		{"max never enlarges", Plan{Width: 600, Height: 600, Fit: Max}, 300, 200, [2]int{300, 200}, [4]int{0, 0, 300, 200}, [4]float64{0, 0, 300, 200}},
		{"max by width never enlarges", Plan{Width: 600, Fit: Max}, 300, 200, [2]int{300, 200}, [4]int{0, 0, 300, 200}, [4]float64{0, 0, 300, 200}},

		{"scale distorts", Plan{Width: 50, Height: 400, Fit: Scale}, 300, 200, [2]int{50, 400}, [4]int{0, 0, 50, 400}, [4]float64{0, 0, 300, 200}},
		{"scale by width alone keeps the aspect ratio", Plan{Width: 150, Fit: Scale}, 300, 200, [2]int{150, 100}, [4]int{0, 0, 150, 100}, [4]float64{0, 0, 300, 200}},

		{"crop cuts the sides", Plan{Width: 100, Height: 100, Fit: Cover}, 300, 200, [2]int{100, 100}, [4]int{0, 0, 100, 100}, [4]float64{50, 0, 200, 200}},
		{"crop cuts top and bottom", Plan{Width: 100, Height: 50, Fit: Cover}, 300, 200, [2]int{100, 50}, [4]int{0, 0, 100, 50}, [4]float64{0, 25, 300, 150}},
		{"crop enlarges", Plan{Width: 400, Height: 400, Fit: Cover}, 300, 200, [2]int{400, 400}, [4]int{0, 0, 400, 400}, [4]float64{50, 0, 200, 200}},
		{"crop by width alone cuts nothing", Plan{Width: 150, Fit: Cover}, 300, 200, [2]int{150, 100}, [4]int{0, 0, 150, 100}, [4]float64{0, 0, 300, 200}},
		{"crop left", Plan{Width: 100, Height: 100, Fit: Cover, Crop: crop(Left)}, 300, 200, [2]int{100, 100}, [4]int{0, 0, 100, 100}, [4]float64{0, 0, 200, 200}},
		{"crop right", Plan{Width: 100, Height: 100, Fit: Cover, Crop: crop(Right)}, 300, 200, [2]int{100, 100}, [4]int{0, 0, 100, 100}, [4]float64{100, 0, 200, 200}},
		{"crop top does not matter where the sides are cut", Plan{Width: 100, Height: 100, Fit: Cover, Crop: crop(Top)}, 300, 200, [2]int{100, 100}, [4]int{0, 0, 100, 100}, [4]float64{50, 0, 200, 200}},
		{"crop top and left", Plan{Width: 100, Height: 50, Fit: Cover, Crop: crop(Top, Left)}, 300, 200, [2]int{100, 50}, [4]int{0, 0, 100, 50}, [4]float64{0, 0, 300, 150}},
		{"crop bottom", Plan{Width: 100, Height: 50, Fit: Cover, Crop: crop(Bottom)}, 300, 200, [2]int{100, 50}, [4]int{0, 0, 100, 50}, [4]float64{0, 50, 300, 150}},
		{"the first of two opposites counts", Plan{Width: 100, Height: 100, Fit: Cover, Crop: crop(Right, Left)}, 300, 200, [2]int{100, 100}, [4]int{0, 0, 100, 100}, [4]float64{100, 0, 200, 200}},
		{"crop centre", Plan{Width: 100, Height: 100, Fit: Cover, Crop: crop(Center, Left)}, 300, 200, [2]int{100, 100}, [4]int{0, 0, 100, 100}, [4]float64{50, 0, 200, 200}},
		{"focal point", Plan{Width: 100, Height: 100, Fit: Cover, Crop: crop(FocalPoint), Focal: &Point{0.4, 0.9}}, 300, 200, [2]int{100, 100}, [4]int{0, 0, 100, 100}, [4]float64{20, 0, 200, 200}},
		{"focal point stays inside", Plan{Width: 100, Height: 100, Fit: Cover, Crop: crop(FocalPoint), Focal: &Point{0.9, 0}}, 300, 200, [2]int{100, 100}, [4]int{0, 0, 100, 100}, [4]float64{100, 0, 200, 200}},
		{"focal point beyond the picture", Plan{Width: 100, Height: 100, Fit: Cover, Crop: crop(FocalPoint), Focal: &Point{-5, 7}}, 300, 200, [2]int{100, 100}, [4]int{0, 0, 100, 100}, [4]float64{0, 0, 200, 200}},
		{"focal point of nowhere is the middle", Plan{Width: 100, Height: 100, Fit: Cover, Crop: crop(FocalPoint)}, 300, 200, [2]int{100, 100}, [4]int{0, 0, 100, 100}, [4]float64{50, 0, 200, 200}},

		{"aspect ratio with width", Plan{Width: 100, Aspect: 2, Fit: Cover}, 300, 200, [2]int{100, 50}, [4]int{0, 0, 100, 50}, [4]float64{0, 25, 300, 150}},
		{"aspect ratio with height", Plan{Height: 100, Aspect: 0.5, Fit: Cover}, 300, 200, [2]int{50, 100}, [4]int{0, 0, 50, 100}, [4]float64{100, 0, 100, 200}},
		{"aspect ratio alone", Plan{Aspect: 1, Fit: Cover}, 300, 200, [2]int{200, 200}, [4]int{0, 0, 200, 200}, [4]float64{50, 0, 200, 200}},
		{"aspect ratio with both gives way", Plan{Width: 100, Height: 100, Aspect: 3, Fit: Cover}, 300, 200, [2]int{100, 100}, [4]int{0, 0, 100, 100}, [4]float64{50, 0, 200, 200}},
		{"aspect ratio without crop does nothing", Plan{Width: 100, Aspect: 1}, 300, 200, [2]int{100, 67}, [4]int{0, 0, 100, 67}, [4]float64{0, 0, 300, 200}},
		{"aspect ratio and density", Plan{Width: 100, Aspect: 2, DPR: 2, Fit: Cover}, 300, 200, [2]int{200, 100}, [4]int{0, 0, 200, 100}, [4]float64{0, 25, 300, 150}},

		{"fill pads above and below", Plan{Width: 100, Height: 100, Fit: Fill}, 300, 200, [2]int{100, 100}, [4]int{0, 16, 100, 67}, [4]float64{0, 0, 300, 200}},
		{"fill enlarges", Plan{Width: 600, Height: 800, Fit: Fill}, 300, 200, [2]int{600, 800}, [4]int{0, 200, 600, 400}, [4]float64{0, 0, 300, 200}},
		{"fillmax does not", Plan{Width: 600, Height: 800, Fit: FillMax}, 300, 200, [2]int{600, 800}, [4]int{150, 300, 300, 200}, [4]float64{0, 0, 300, 200}},
		{"fillmax reduces", Plan{Width: 100, Height: 100, Fit: FillMax}, 300, 200, [2]int{100, 100}, [4]int{0, 16, 100, 67}, [4]float64{0, 0, 300, 200}},
		{"clamp is as large as fill", Plan{Width: 100, Height: 100, Fit: Clamp}, 200, 300, [2]int{100, 100}, [4]int{16, 0, 67, 100}, [4]float64{0, 0, 200, 300}},
		{"fill by width alone pads nothing", Plan{Width: 150, Fit: Fill}, 300, 200, [2]int{150, 100}, [4]int{0, 0, 150, 100}, [4]float64{0, 0, 300, 200}},

		{"min cuts", Plan{Width: 100, Height: 100, Fit: Min}, 300, 200, [2]int{100, 100}, [4]int{0, 0, 100, 100}, [4]float64{50, 0, 200, 200}},
		{"min never enlarges", Plan{Width: 400, Height: 400, Fit: Min}, 300, 200, [2]int{200, 200}, [4]int{0, 0, 200, 200}, [4]float64{50, 0, 200, 200}},
		{"min keeps the box's aspect ratio", Plan{Width: 800, Height: 200, Fit: Min}, 300, 200, [2]int{300, 75}, [4]int{0, 0, 300, 75}, [4]float64{0, 62.5, 300, 75}},
		{"min by width alone", Plan{Width: 400, Fit: Min}, 300, 200, [2]int{300, 200}, [4]int{0, 0, 300, 200}, [4]float64{0, 0, 300, 200}},

		{"outside covers the box", Plan{Width: 100, Height: 100, Fit: Outside}, 300, 200, [2]int{150, 100}, [4]int{0, 0, 150, 100}, [4]float64{0, 0, 300, 200}},
		{"outside enlarges", Plan{Width: 600, Height: 100, Fit: Outside}, 300, 200, [2]int{600, 400}, [4]int{0, 0, 600, 400}, [4]float64{0, 0, 300, 200}},
		{"outside without enlarging", Plan{Width: 600, Height: 100, Fit: Outside, NoEnlarge: true}, 300, 200, [2]int{300, 200}, [4]int{0, 0, 300, 200}, [4]float64{0, 0, 300, 200}},
		{"coverfill cuts what is large enough", Plan{Width: 100, Height: 100, Fit: CoverFill}, 300, 200, [2]int{100, 100}, [4]int{0, 0, 100, 100}, [4]float64{50, 0, 200, 200}},
		{"coverfill pads what is not", Plan{Width: 200, Height: 300, Fit: CoverFill}, 300, 200, [2]int{200, 300}, [4]int{0, 83, 200, 133}, [4]float64{0, 0, 300, 200}},
		{"scale without enlarging", Plan{Width: 600, Height: 100, Fit: Scale, NoEnlarge: true}, 300, 200, [2]int{300, 100}, [4]int{0, 0, 300, 100}, [4]float64{0, 0, 300, 200}},
		{"aspect ratio without enlarging", Plan{Width: 600, Aspect: 2, Fit: Cover, NoEnlarge: true}, 300, 200, [2]int{300, 150}, [4]int{0, 0, 300, 150}, [4]float64{0, 25, 300, 150}},
		{"aspect ratio in the range stays", Plan{Aspect: 1, AspectMax: 2, Fit: Cover}, 300, 200, [2]int{300, 200}, [4]int{0, 0, 300, 200}, [4]float64{0, 0, 300, 200}},
		{"aspect ratio below the range", Plan{Aspect: 1.75, AspectMax: 2, Fit: Cover, Width: 175}, 300, 150 + 100, [2]int{175, 100}, [4]int{0, 0, 175, 100}, [4]float64{0, 39.285714285714285, 300, 171.42857142857142}},
		{"aspect ratio above the range", Plan{Aspect: 0.5, AspectMax: 1, Fit: Cover}, 300, 200, [2]int{200, 200}, [4]int{0, 0, 200, 200}, [4]float64{50, 0, 200, 200}},
		{"focal point in pixels", Plan{Width: 100, Height: 100, Fit: Cover, Crop: crop(FocalPoint), Focal: &Point{120, 9}, FocalPixels: true}, 300, 200, [2]int{100, 100}, [4]int{0, 0, 100, 100}, [4]float64{20, 0, 200, 200}},
		{"focal point in pixels of all of the picture", Plan{Width: 50, Height: 50, Fit: Cover, Crop: crop(FocalPoint), Focal: &Point{190, 60}, FocalPixels: true, Rect: &Rect{X: 100, Y: 50, W: 100, H: 50}}, 300, 200, [2]int{50, 50}, [4]int{0, 0, 50, 50}, [4]float64{150, 50, 50, 50}},
		{"one pixel is no fraction", Plan{Rect: &Rect{X: 1, Y: 1, W: 1, Pixels: true}}, 300, 200, [2]int{1, 199}, [4]int{0, 0, 1, 199}, [4]float64{1, 1, 1, 199}},
		{"rectangle in pixels", Plan{Rect: &Rect{X: 10, Y: 20, W: 100, H: 50}}, 300, 200, [2]int{100, 50}, [4]int{0, 0, 100, 50}, [4]float64{10, 20, 100, 50}},
		{"rectangle in fractions", Plan{Rect: &Rect{X: 0.5, Y: 0.25, W: 0.5, H: 0.5}}, 300, 200, [2]int{150, 100}, [4]int{0, 0, 150, 100}, [4]float64{150, 50, 150, 100}},
		{"rectangle is clipped", Plan{Rect: &Rect{X: 250, Y: 150, W: 100, H: 100}}, 300, 200, [2]int{50, 50}, [4]int{0, 0, 50, 50}, [4]float64{250, 150, 50, 50}},
		{"rectangle aligned far", Plan{Rect: &Rect{W: 100, H: 50, XAlign: Far, YAlign: Far}}, 300, 200, [2]int{100, 50}, [4]int{0, 0, 100, 50}, [4]float64{200, 150, 100, 50}},
		{"rectangle aligned in the middle", Plan{Rect: &Rect{W: 101, H: 50, XAlign: Middle, YAlign: Middle}}, 300, 200, [2]int{101, 50}, [4]int{0, 0, 101, 50}, [4]float64{99, 75, 101, 50}},
		{"alignment goes before a number", Plan{Rect: &Rect{X: 99, W: 100, H: 50, XAlign: Near}}, 300, 200, [2]int{100, 50}, [4]int{0, 0, 100, 50}, [4]float64{0, 0, 100, 50}},
		{"rectangle larger than the picture", Plan{Rect: &Rect{W: 999, H: 50, XAlign: Middle}}, 300, 200, [2]int{300, 50}, [4]int{0, 0, 300, 50}, [4]float64{0, 0, 300, 50}},
		{"rectangle without a size goes to the edge", Plan{Rect: &Rect{X: 100, Y: 50}}, 300, 200, [2]int{200, 150}, [4]int{0, 0, 200, 150}, [4]float64{100, 50, 200, 150}},
		{"fractions are of the rectangle", Plan{Width: 0.5, Rect: &Rect{W: 100, H: 50}}, 300, 200, [2]int{50, 25}, [4]int{0, 0, 50, 25}, [4]float64{0, 0, 100, 50}},
		{"crop is of the rectangle", Plan{Width: 50, Height: 50, Fit: Cover, Crop: crop(Right), Rect: &Rect{X: 100, Y: 50, W: 100, H: 50}}, 300, 200, [2]int{50, 50}, [4]int{0, 0, 50, 50}, [4]float64{150, 50, 50, 50}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := tt.plan.layout(tt.w, tt.h)
			if err != nil {
				t.Fatal(err)
			}
			if got := [2]int{l.frame.X, l.frame.Y}; got != tt.size {
				t.Errorf("output is %v, want %v", got, tt.size)
			}
			if got := [4]int{l.at.X, l.at.Y, l.w, l.h}; got != tt.pic {
				t.Errorf("picture is at %v, want %v", got, tt.pic)
			}
			got := [4]float64{l.x.at, l.y.at, l.x.size, l.y.size}
			for i := range got {
				if math.Abs(got[i]-tt.window[i]) > 1e-9 {
					t.Errorf("window is %v, want %v", got, tt.window)
					break
				}
			}
		})
	}
}

// TestLayoutHolds goes through all combinations: whatever is asked for, nothing is empty, nothing lies
// outside, and fits keep what they promise.
func TestLayoutHolds(t *testing.T) {
	sizes := []float64{0, 0.01, 0.5, 1, 2, 99, 100, 1000}
	originals := [][2]int{{1, 1}, {300, 200}, {3, 4000}, {4000, 3}, {101, 99}}
	for fit := Clip; fit <= CoverFill; fit++ {
		for _, w := range sizes {
			for _, h := range sizes {
				for _, o := range originals {
					for _, ar := range []float64{0, 0.001, 1, 1.7, 1000} {
						for _, rect := range []*Rect{nil, {X: 0.3, Y: 0.3, W: 0.2, H: 0.9}} {
							p := Plan{Width: w, Height: h, Fit: fit, Aspect: ar, Rect: rect, Crop: []Crop{FocalPoint}, Focal: &Point{0.8, 0.1}}
							l, err := p.layout(o[0], o[1])
							what := fmt.Sprintf("%+v of %v: %+v", p, o, l)
							if err != nil {
								t.Fatal(what, err)
							}
							checkLayout(t, p, l, o, what)
						}
					}
				}
			}
		}
	}
}

func checkLayout(t *testing.T, p Plan, l layout, o [2]int, what string) {
	t.Helper()
	const e = 1e-9
	switch {
	case l.w < 1 || l.h < 1:
		t.Fatal("an empty picture: ", what)
	case l.at.X < 0 || l.at.Y < 0 || l.at.X+l.w > l.frame.X || l.at.Y+l.h > l.frame.Y:
		t.Fatal("a picture outside of its frame: ", what)
	case l.x.at < float64(l.x.lo)-e || l.y.at < float64(l.y.lo)-e || l.x.at+l.x.size > float64(l.x.hi)+e || l.y.at+l.y.size > float64(l.y.hi)+e:
		t.Fatal("a window outside of the original: ", what)
	case l.x.lo < 0 || l.y.lo < 0 || l.x.hi > o[0] || l.y.hi > o[1]:
		t.Fatal("bounds outside of the original: ", what)
	case l.x.size <= 0 || l.y.size <= 0:
		t.Fatal("an empty window: ", what)
	}
	both := p.Width > 1 && p.Height > 1
	switch p.Fit {
	case Cover, Fill, FillMax, Clamp, Scale:
		if both && (float64(l.frame.X) != p.Width || float64(l.frame.Y) != p.Height) {
			t.Fatal("not the box that was asked for: ", what)
		}
	case Max, Min:
		if p.Aspect == 0 && (float64(l.w) > l.x.size+1 || float64(l.h) > l.y.size+1) {
			t.Fatal("enlarged: ", what)
		}
	}
}

func TestRectOutside(t *testing.T) {
	for _, r := range []Rect{
		{X: 300, W: 10, H: 10},
		{X: 1, W: 10, H: 10}, // a fraction: all of the width
		{Y: 1000, W: 10, H: 10},
	} {
		if _, err := (Plan{Rect: &r}).layout(300, 200); !errors.Is(err, ErrPlan) {
			t.Errorf("%+v: %v, want ErrPlan", r, err)
		}
	}
}

func TestPlansRefused(t *testing.T) {
	nan, pad := math.NaN(), -1
	for _, p := range []Plan{
		{Width: -1}, {Width: nan}, {Height: math.Inf(1)}, {DPR: -1}, {Aspect: nan}, {Aspect: 1e-300},
		{Rotate: 360}, {Rotate: -1}, {Rotate: nan}, {Fit: 99}, {Orient: 9}, {Orient: -1}, {Flip: 9},
		{Quality: 101}, {Quality: -1}, {Crop: []Crop{0}}, {Crop: []Crop{99}}, {Focal: &Point{X: nan}},
		{Rect: &Rect{X: -1}}, {Rect: &Rect{W: nan}}, {Rect: &Rect{XAlign: 9}},
		{Marks: []Mark{{Width: nan}}}, {Marks: []Mark{{Alpha: 101}}}, {Marks: []Mark{{Pad: &pad}}}, {Marks: []Mark{{XAlign: 9}}},
		{Format: "tiff"}, {Format: BMP},
	} {
		inputs := make([][]byte, 1+len(p.Marks))
		for i := range inputs {
			inputs[i] = sample(t, "chelsea.png")
		}
		var r Renderer
		if _, err := r.Render(t.Context(), p, inputs...); !errors.Is(err, ErrPlan) {
			t.Errorf("%+v: %v, want ErrPlan", p, err)
		}
	}
}

// TestMarkPlace checks sizes and places of marks with no pixels.
func TestMarkPlace(t *testing.T) {
	pad := func(n int) *int { return &n }
	for _, tt := range []struct {
		name  string
		mark  Mark
		w, h  int
		frame [2]int
		want  [4]int // place and size
		plan  Plan
	}{
		{"bottom right, 5 pixels away", Mark{}, 20, 10, [2]int{100, 80}, [4]int{75, 65, 20, 10}, Plan{}},
		{"top left", Mark{XAlign: Near, YAlign: Near, Pad: pad(0)}, 20, 10, [2]int{100, 80}, [4]int{0, 0, 20, 10}, Plan{}},
		{"middle", Mark{XAlign: Middle, YAlign: Middle}, 20, 10, [2]int{100, 80}, [4]int{40, 35, 20, 10}, Plan{}},
		{"width in pixels", Mark{Width: 40}, 20, 10, [2]int{100, 80}, [4]int{55, 55, 40, 20}, Plan{}},
		{"width as a fraction", Mark{Width: 0.1}, 20, 10, [2]int{100, 80}, [4]int{85, 70, 10, 5}, Plan{}},
		{"made to fit", Mark{}, 2000, 1000, [2]int{100, 80}, [4]int{5, 30, 90, 45}, Plan{}},
		{"made to fit by height", Mark{Width: 1}, 10, 1000, [2]int{100, 80}, [4]int{94, 5, 1, 70}, Plan{}},
		{"a pad larger than the picture", Mark{Pad: pad(500)}, 20, 10, [2]int{9, 9}, [4]int{4, 4, 1, 1}, Plan{}},
		{"height in pixels", Mark{Height: 40}, 20, 10, [2]int{100, 80}, [4]int{15, 35, 80, 40}, Plan{}},
		{"a box", Mark{Width: 30, Height: 30}, 20, 10, [2]int{100, 80}, [4]int{65, 60, 30, 15}, Plan{}},
		{"a box that is filled", Mark{Width: 30, Height: 30, Fit: Cover}, 20, 10, [2]int{100, 80}, [4]int{65, 45, 30, 30}, Plan{}},
		{"a box it is padded to", Mark{Width: 30, Height: 30, Fit: Fill}, 20, 10, [2]int{100, 80}, [4]int{65, 45, 30, 30}, Plan{}},
		{"a box it is stretched to", Mark{Width: 30, Height: 30, Fit: Scale}, 20, 10, [2]int{100, 80}, [4]int{65, 45, 30, 30}, Plan{}},
		{"a box it does not grow into", Mark{Width: 30, Height: 30, Fit: Max}, 20, 10, [2]int{100, 80}, [4]int{75, 65, 20, 10}, Plan{}},
		{"a box too large", Mark{Width: 300, Height: 300, Fit: Cover}, 20, 10, [2]int{100, 80}, [4]int{25, 5, 70, 70}, Plan{}},
		{"a percentage", Mark{Scale: 50}, 20, 10, [2]int{100, 80}, [4]int{45, 50, 50, 25}, Plan{}},
		{"at a place", Mark{X: pad(3), Y: pad(0)}, 20, 10, [2]int{100, 80}, [4]int{3, 0, 20, 10}, Plan{}},
		{"at twice the density", Mark{Width: 20, Pad: pad(4)}, 20, 10, [2]int{100, 80}, [4]int{52, 52, 40, 20}, Plan{DPR: 2}},
		{"a picture of one pixel", Mark{}, 20, 10, [2]int{1, 1}, [4]int{0, 0, 1, 1}, Plan{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			frame, size := image.Pt(tt.frame[0], tt.frame[1]), image.Pt(tt.w, tt.h)
			l, err := tt.mark.box(tt.plan, size, frame).plan().layout(tt.w, tt.h)
			if err != nil {
				t.Fatal(err)
			}
			at := tt.mark.at(tt.plan, l.frame, frame)
			if got := [4]int{at.X, at.Y, l.frame.X, l.frame.Y}; got != tt.want {
				t.Errorf("at %v, want %v", got, tt.want)
			}
		})
	}
}
