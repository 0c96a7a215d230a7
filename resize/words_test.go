package resize

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"testing"
)

// TestSizesAsTheVendorSays is what imgix's documentation of fit, ar, dpr, min-w and its kin, pad and rect says of sizes
// (docs.imgix.com/apis/rendering/size, read in 2026), as numbers that were worked out by hand from its words. The numbers of a row are for the
// same plan and originals that are larger than the box, smaller, wider and taller than it.
func TestSizesAsTheVendorSays(t *testing.T) {
	originals := [4]image.Point{{900, 600}, {60, 40}, {600, 100}, {100, 600}}
	for _, tt := range []struct {
		words string
		plan  Plan
		want  [4]image.Point
	}{
		{"nothing is asked for: the size of the source", Plan{},
			[4]image.Point{{900, 600}, {60, 40}, {600, 100}, {100, 600}}},

		// Both sides.
		{"clip: within the boundaries, matches one of the dimensions, the other keeps the aspect ratio", Plan{Width: 300, Height: 300},
			[4]image.Point{{300, 200}, {300, 200}, {300, 50}, {50, 300}}},
		{"crop: fills the dimensions, matches both", Plan{Width: 300, Height: 200, Fit: Cover},
			[4]image.Point{{300, 200}, {300, 200}, {300, 200}, {300, 200}}},
		{"clamp: within, the remaining space is extended pixels, matches both", Plan{Width: 300, Height: 200, Fit: Clamp},
			[4]image.Point{{300, 200}, {300, 200}, {300, 200}, {300, 200}}},
		{"fill: within, excess space is filled, matches both exactly", Plan{Width: 300, Height: 200, Fit: Fill},
			[4]image.Point{{300, 200}, {300, 200}, {300, 200}, {300, 200}}},
		{"fillmax: as fill, the source is not enlarged, matches both", Plan{Width: 300, Height: 200, Fit: FillMax},
			[4]image.Point{{300, 200}, {300, 200}, {300, 200}, {300, 200}}},
		{"max: within, not larger than the source", Plan{Width: 300, Height: 300, Fit: Max},
			[4]image.Point{{300, 200}, {60, 40}, {300, 50}, {50, 300}}},
		{"min: cropped to the aspect ratio of the dimensions, not larger than the source", Plan{Width: 300, Height: 150, Fit: Min},
			[4]image.Point{{300, 150}, {60, 30}, {200, 100}, {100, 50}}},
		{"scale: the dimensions exactly, aspect ratio not kept", Plan{Width: 300, Height: 20, Fit: Scale},
			[4]image.Point{{300, 20}, {300, 20}, {300, 20}, {300, 20}}},

		// One side: the other is calculated from the source's aspect ratio.
		{"clip by width", Plan{Width: 300}, [4]image.Point{{300, 200}, {300, 200}, {300, 50}, {300, 1800}}},
		{"clip by height", Plan{Height: 300}, [4]image.Point{{450, 300}, {450, 300}, {1800, 300}, {50, 300}}},
		{"crop by width", Plan{Width: 300, Fit: Cover}, [4]image.Point{{300, 200}, {300, 200}, {300, 50}, {300, 1800}}},
		{"fill by height", Plan{Height: 300, Fit: Fill}, [4]image.Point{{450, 300}, {450, 300}, {1800, 300}, {50, 300}}},
		{"fillmax by width: not enlarged", Plan{Width: 300, Fit: FillMax}, [4]image.Point{{300, 200}, {60, 40}, {300, 50}, {100, 600}}},
		{"clamp by width", Plan{Width: 300, Fit: Clamp}, [4]image.Point{{300, 200}, {300, 200}, {300, 50}, {300, 1800}}},
		{"max by width", Plan{Width: 300, Fit: Max}, [4]image.Point{{300, 200}, {60, 40}, {300, 50}, {100, 600}}},
		{"min by height", Plan{Height: 300, Fit: Min}, [4]image.Point{{450, 300}, {60, 40}, {600, 100}, {50, 300}}},
		{"scale by width", Plan{Width: 300, Fit: Scale}, [4]image.Point{{300, 200}, {300, 200}, {300, 50}, {300, 1800}}},

		// Neither.
		{"crop without a box", Plan{Fit: Cover}, [4]image.Point{{900, 600}, {60, 40}, {600, 100}, {100, 600}}},
		{"fill without a box", Plan{Fit: Fill}, [4]image.Point{{900, 600}, {60, 40}, {600, 100}, {100, 600}}},

		// dpr: a box in pixels is multiplied, a fraction is not.
		{"clip at dpr=2", Plan{Width: 300, Height: 300, DPR: 2}, [4]image.Point{{600, 400}, {600, 400}, {600, 100}, {100, 600}}},
		{"crop at dpr=1.5", Plan{Width: 300, Height: 201, DPR: 1.5, Fit: Cover}, [4]image.Point{{450, 302}, {450, 302}, {450, 302}, {450, 302}}},
		{"fill at dpr=2", Plan{Width: 30, Height: 20, DPR: 2, Fit: Fill}, [4]image.Point{{60, 40}, {60, 40}, {60, 40}, {60, 40}}},
		{"max at dpr=2: never beyond the source", Plan{Width: 300, Height: 300, DPR: 2, Fit: Max}, [4]image.Point{{600, 400}, {60, 40}, {600, 100}, {100, 600}}},
		{"min at dpr=3", Plan{Width: 300, Height: 150, DPR: 3, Fit: Min}, [4]image.Point{{900, 450}, {60, 30}, {200, 100}, {100, 50}}},
		{"scale at dpr=0.5", Plan{Width: 300, Height: 20, DPR: 0.5, Fit: Scale}, [4]image.Point{{150, 10}, {150, 10}, {150, 10}, {150, 10}}},
		{"half of the width, at dpr=2", Plan{Width: 0.5, DPR: 2}, [4]image.Point{{450, 300}, {30, 20}, {300, 50}, {50, 300}}},
		{"half of the width by pixels", Plan{Width: 0.5, Height: 20, Fit: Cover}, [4]image.Point{{450, 20}, {30, 20}, {300, 20}, {50, 20}}},

		// ar works with crop and fill only.
		{"ar=9:1 with crop: 900x100 of 900 in width", Plan{Aspect: 9, Fit: Cover}, [4]image.Point{{900, 100}, {60, 7}, {600, 67}, {100, 11}}},
		{"ar=2:1, w=280: 280x140", Plan{Width: 280, Aspect: 2, Fit: Cover}, [4]image.Point{{280, 140}, {280, 140}, {280, 140}, {280, 140}}},
		{"ar=2:1, h=100", Plan{Height: 100, Aspect: 2, Fit: Cover}, [4]image.Point{{200, 100}, {200, 100}, {200, 100}, {200, 100}}},
		{"ar=3:1 with fill: the frame that the source fills as far as it can", Plan{Aspect: 3, Fit: Fill}, [4]image.Point{{1800, 600}, {120, 40}, {600, 200}, {1800, 600}}},
		{"ar=2:1, w=280 with fill", Plan{Width: 280, Aspect: 2, Fit: Fill}, [4]image.Point{{280, 140}, {280, 140}, {280, 140}, {280, 140}}},
		{"ar with clip says nothing", Plan{Width: 300, Aspect: 3}, [4]image.Point{{300, 200}, {300, 200}, {300, 50}, {300, 1800}}},
		{"ar with max says nothing", Plan{Width: 300, Aspect: 3, Fit: Max}, [4]image.Point{{300, 200}, {60, 40}, {300, 50}, {100, 600}}},
		{"ar at dpr=2", Plan{Width: 100, Aspect: 2, DPR: 2, Fit: Cover}, [4]image.Point{{200, 100}, {200, 100}, {200, 100}, {200, 100}}},

		// max-w and its kin work with crop only, and crop what the other side leaves too long.
		{"fit=crop&w=300&max-h=1200: not cropped, or cropped", Plan{Width: 300, MaxHeight: 1200, Fit: Cover}, [4]image.Point{{300, 200}, {300, 200}, {300, 50}, {300, 1200}}},
		{"fit=crop&w=300&max-h=150", Plan{Width: 300, MaxHeight: 150, Fit: Cover}, [4]image.Point{{300, 150}, {300, 150}, {300, 50}, {300, 150}}},
		{"fit=crop&h=200&max-w=250", Plan{Height: 200, MaxWidth: 250, Fit: Cover}, [4]image.Point{{250, 200}, {250, 200}, {250, 200}, {33, 200}}},
		{"fit=crop&w=300&min-h=100", Plan{Width: 300, MinHeight: 100, Fit: Cover}, [4]image.Point{{300, 200}, {300, 200}, {300, 100}, {300, 1800}}},
		{"fit=crop&max-w=250 alone", Plan{MaxWidth: 250, Fit: Cover}, [4]image.Point{{250, 600}, {60, 40}, {250, 100}, {100, 600}}},
		{"max-h without crop says nothing", Plan{Width: 300, MaxHeight: 100}, [4]image.Point{{300, 200}, {300, 200}, {300, 50}, {300, 1800}}},

		// pad: added without w and h; with them, the image with its padding is sized to fit.
		{"pad", Plan{Pad: Insets{10, 10, 10, 10}}, [4]image.Point{{920, 620}, {80, 60}, {620, 120}, {120, 620}}},
		{"pad with crop", Plan{Width: 300, Height: 200, Fit: Cover, Pad: Insets{10, 20, 30, 40}}, [4]image.Point{{300, 200}, {300, 200}, {300, 200}, {300, 200}}},
		{"pad with fill", Plan{Width: 300, Height: 200, Fit: Fill, Pad: Insets{10, 20, 30, 40}}, [4]image.Point{{300, 200}, {300, 200}, {300, 200}, {300, 200}}},
		{"pad with clip", Plan{Width: 320, Height: 320, Pad: Insets{10, 10, 10, 10}}, [4]image.Point{{320, 220}, {320, 220}, {320, 70}, {70, 320}}},
		{"pad with ar and a width", Plan{Width: 200, Aspect: 2, Fit: Cover, Pad: Insets{10, 10, 10, 10}}, [4]image.Point{{200, 100}, {200, 100}, {200, 100}, {200, 100}}},
		{"pad at dpr=2", Plan{Width: 160, Height: 160, DPR: 2, Pad: Insets{10, 10, 10, 10}}, [4]image.Point{{320, 227}, {320, 227}, {320, 87}, {87, 320}}},

		// rect comes before the box.
		{"rect=0,0,0.5,full with a width", Plan{Width: 300, Rect: &Rect{W: 0.5}}, [4]image.Point{{300, 400}, {300, 400}, {300, 100}, {300, 3600}}},
		{"rect=center,middle,50,20", Plan{Rect: &Rect{W: 50, H: 20, XAlign: Middle, YAlign: Middle}}, [4]image.Point{{50, 20}, {50, 20}, {50, 20}, {50, 20}}},

		// facearea without a face is crop.
		{"facearea without a face", Plan{Width: 300, Height: 200, Fit: FaceArea}, [4]image.Point{{300, 200}, {300, 200}, {300, 200}, {300, 200}}},
		{"facearea,fill without a face", Plan{Width: 300, Height: 200, Fit: FaceArea, Fill: &Padding{}}, [4]image.Point{{300, 200}, {300, 200}, {300, 200}, {300, 200}}},
		{"facearea without a face or a box", Plan{Fit: FaceArea}, [4]image.Point{{900, 600}, {60, 40}, {600, 100}, {100, 600}}},
		{"facearea without a face, by width", Plan{Width: 300, Fit: FaceArea}, [4]image.Point{{300, 200}, {300, 200}, {300, 50}, {300, 1800}}},
	} {
		for i, o := range originals {
			l, err := tt.plan.layout(o.X, o.Y)
			if err != nil || l.out != tt.want[i] {
				t.Errorf("%s: %v of %v, want %v: %v", tt.words, l.out, o, tt.want[i], err)
			}
		}
	}
}

// TestFaceAreaSizes: with a face, the box is filled too, and a fraction is of the picture and not of the face.
func TestFaceAreaSizes(t *testing.T) {
	s := sight{x: whole(900), y: whole(600), faces: []region{{300, 200, 400, 320}}}
	for _, tt := range []struct {
		plan Plan
		want image.Point
	}{
		{Plan{Width: 300, Height: 200}, image.Pt(300, 200)},
		{Plan{Width: 0.5, Height: 0.5}, image.Pt(450, 300)},
		{Plan{Width: 50}, image.Pt(50, 60)},
		{Plan{Height: 240, DPR: 2}, image.Pt(400, 480)},
		{Plan{}, image.Pt(100, 120)},
		{Plan{FacePad: 2}, image.Pt(200, 240)},
	} {
		tt.plan.Fit = FaceArea
		if l, err := tt.plan.layoutOf(s); err != nil || l.out != tt.want {
			t.Errorf("%s: %v, %v, want %v", tt.plan, l.out, err, tt.want)
		}
	}
}

// quarters is a picture of nine fields in three rows, each of its own colour, and what those are called.
func quarters(w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetNRGBA(x, y, color.NRGBA{uint8(40 + 90*(3*x/w)), uint8(40 + 90*(3*y/h)), 128, 255})
		}
	}
	return m
}

// field tells which third of the picture a colour of quarters is of.
func field(c color.NRGBA) image.Point {
	return image.Pt((int(c.R)-40+45)/90, (int(c.G)-40+45)/90)
}

// TestCropsInEveryOrientation: what Crop keeps is of the picture as it is seen, whatever way it is stored, flipped or turned by Orient.
func TestCropsInEveryOrientation(t *testing.T) {
	wide, tall := quarters(90, 30), quarters(30, 90)
	for _, tt := range []struct {
		name       string
		crop       []Crop
		focal      *Point
		wide, tall image.Point // the third that a square holds, of each
	}{
		{"nothing", nil, nil, image.Pt(1, 1), image.Pt(1, 1)},
		{"center", []Crop{Center}, nil, image.Pt(1, 1), image.Pt(1, 1)},
		{"left", []Crop{Left}, nil, image.Pt(0, 1), image.Pt(1, 1)},
		{"right", []Crop{Right}, nil, image.Pt(2, 1), image.Pt(1, 1)},
		{"top", []Crop{Top}, nil, image.Pt(1, 1), image.Pt(1, 0)},
		{"bottom", []Crop{Bottom}, nil, image.Pt(1, 1), image.Pt(1, 2)},
		{"top,left", []Crop{Top, Left}, nil, image.Pt(0, 1), image.Pt(1, 0)},
		{"bottom,right", []Crop{Bottom, Right}, nil, image.Pt(2, 1), image.Pt(1, 2)},
		{"left,right: the first counts", []Crop{Left, Right}, nil, image.Pt(0, 1), image.Pt(1, 1)},
		{"focalpoint", []Crop{FocalPoint}, &Point{0.9, 0.1}, image.Pt(2, 1), image.Pt(1, 0)},
		{"faces, of which there are none, then right", []Crop{Faces, Right}, nil, image.Pt(2, 1), image.Pt(1, 1)},
	} {
		for _, fit := range []Fit{Cover, Min} {
			for orientation := 1; orientation <= 8; orientation++ {
				for _, o := range []struct {
					seen *image.NRGBA
					want image.Point
				}{{wide, tt.wide}, {tall, tt.tall}} {
					r := Renderer{Faces: noFaces{}}
					data := withEXIF(t, toNRGBA(fromCanvas(stored(toCanvas(o.seen), orientation))), PNG, orientation)
					p := Plan{Width: 12, Height: 12, Fit: fit, Crop: tt.crop, Focal: tt.focal, Format: PNG}
					check := func(what string, p Plan, data []byte) {
						t.Helper()
						pic, err := r.Render(t.Context(), p, data)
						if err != nil {
							t.Fatal(err)
						}
						got := independent(t, pic.Bytes)
						// A square third of a strip has three fields the other way.
						across, down := field(at(got, 6, 6)), field(at(got, 6, 6))
						if across.X != o.want.X || down.Y != o.want.Y {
							t.Errorf("%s, fit %d, %s: the middle is of %v, want %v", tt.name, fit, what, across, o.want)
						}
					}
					check(fmt.Sprintf("stored as %d", orientation), p, data)
					p.Orient = orientation
					check(fmt.Sprintf("turned by Orient %d", orientation), p, encodePixels(t, toNRGBA(fromCanvas(stored(toCanvas(o.seen), orientation)))))
				}
			}
		}
	}
}

// fromCanvas makes c a picture.
func fromCanvas(c canvas) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, c.w, c.h))
	for i, p := range c.px {
		for k := range 4 {
			m.Pix[4*i+k] = uint8(p[k]*255 + 0.5)
		}
	}
	return m
}

// noFaces finds none.
type noFaces struct{}

func (noFaces) Find(context.Context, *image.Gray) ([]Face, error) { return nil, nil }

// TestPlacesOfAll: each Align, of the picture in its padding, of marks, of blends and of rectangles.
func TestPlacesOfAll(t *testing.T) {
	back, fore := color.NRGBA{10, 20, 30, 255}, color.NRGBA{200, 100, 50, 255}
	near := map[Align]int{Near: 0, Middle: 1, Far: 2}
	where := func(m image.Image, w, h int) (at image.Point) { // the third that the middle of what is fore is in
		var box image.Rectangle
		for y := range h {
			for x := range w {
				if c := m.At(x, y); toByte(c) == fore {
					box = box.Union(image.Rect(x, y, x+1, y+1))
				}
			}
		}
		return image.Pt((box.Min.X+box.Max.X)*3/(2*w), (box.Min.Y+box.Max.Y)*3/(2*h))
	}
	canvas, small := encodePixels(t, plain(60, 60, back)), encodePixels(t, plain(10, 10, fore))
	for x, i := range near {
		for y, k := range near {
			want := image.Pt(i, k)
			mark := pixels(t, Plan{Marks: []Mark{{XAlign: x, YAlign: y}}}, canvas, small)
			if got := where(mark, 60, 60); got != want {
				t.Errorf("a mark at %d, %d is in %v", x, y, got)
			}
			blend := pixels(t, Plan{Blend: &Blend{Mode: Normal, XAlign: x, YAlign: y}}, canvas, small)
			if got := where(blend, 60, 60); got != want {
				t.Errorf("a blend at %d, %d is in %v", x, y, got)
			}
			for _, o := range []image.Point{{60, 20}, {20, 60}} {
				want := want
				if o.X == 60 { // it fills the frame that way
					want.X = 1
				} else {
					want.Y = 1
				}
				filled := pixels(t, Plan{Width: 60, Height: 60, Fit: Fill, Fill: &Padding{Color: &back, X: x, Y: y}}, encodePixels(t, plain(o.X, o.Y, fore)))
				if got := where(filled, 60, 60); got != want {
					t.Errorf("%v filled at %d, %d is in %v, want %v", o, x, y, got, want)
				}
			}
			rect := pixels(t, Plan{Rect: &Rect{W: 4, H: 4, XAlign: x, YAlign: y}}, encodePixels(t, quarters(12, 12)))
			if got := field(at(rect, 1, 1)); got != want {
				t.Errorf("a rectangle at %d, %d is in %v", x, y, got)
			}
		}
	}
}

func toByte(c color.Color) color.NRGBA { return color.NRGBAModel.Convert(c).(color.NRGBA) }

// TestFaceByNumber: crop=faces goes to the one that faceindex says, and to the first where not all fit.
func TestFaceByNumber(t *testing.T) {
	s := sight{x: whole(900), y: whole(300), faces: []region{{100, 100, 200, 200}, {700, 100, 780, 180}}}
	for face, want := range map[int]float64{0: 0, 1: 0, 2: 590, 3: 0} {
		p := Plan{Width: 100, Height: 100, Fit: Cover, Crop: []Crop{Faces}, Face: face}
		if l, err := p.layoutOf(s); err != nil || l.x.at != want || l.x.size != 300 {
			t.Errorf("face %d: %+v, %v, want %v", face, l.x, err, want)
		}
	}
}

// TestHiddenFacesAndCrosshairsTurn: both are where the picture shows what they are about, when it is turned, too.
func TestHiddenFacesAndCrosshairsTurn(t *testing.T) {
	m := plain(90, 90, color.NRGBA{200, 200, 200, 255})
	for y := 30; y < 60; y++ { // where boxFaces finds the face: a chequerboard, which is gray when it is hidden
		for x := 30; x < 60; x++ {
			v := uint8(255 * ((x/5 + y/5) % 2))
			m.SetNRGBA(x, y, color.NRGBA{v, v, v, 255})
		}
	}
	data := encodePixels(t, m)
	r := Renderer{Faces: boxFaces{}}
	for _, p := range []Plan{{}, {Rotate: 30}, {Rotate: 90}, {Rotate: 45, Pivot: true}, {Width: 45, Height: 60, Fit: Cover, Rotate: 10}, {Width: 120, Height: 90, Fit: Fill, Rotate: 20}} {
		p.FaceBlur, p.Format = 100, PNG
		pic, err := r.Render(t.Context(), p, data)
		if err != nil {
			t.Fatal(err)
		}
		got := independent(t, pic.Bytes)
		cx, cy := pic.Width/2, pic.Height/2
		for dy := -3; dy <= 3; dy++ {
			for dx := -3; dx <= 3; dx++ {
				if c := at(got, cx+dx, cy+dy); c.R < 70 || c.R > 185 {
					t.Fatalf("%s: the face shows at %d,%d: %v", p, cx+dx, cy+dy, c)
				}
			}
		}
	}
	dot := plain(80, 40, color.NRGBA{120, 120, 120, 255})
	for y := 8; y < 12; y++ {
		for x := 18; x < 22; x++ {
			dot.SetNRGBA(x, y, color.NRGBA{255, 0, 0, 255})
		}
	}
	for _, p := range []Plan{{}, {Rotate: 20}, {Rotate: 90}, {Rotate: 200, Pivot: true}} {
		p.Width, p.Height, p.Fit, p.Crop, p.Focal = 160, 80, Cover, []Crop{FocalPoint}, &Point{0.25, 0.25}
		bare := pixels(t, p, encodePixels(t, dot))
		p.Crosshairs = true
		got := pixels(t, p, encodePixels(t, dot))
		var sum image.Point
		n := 0
		for y := range bare.Bounds().Dy() {
			for x := range bare.Bounds().Dx() {
				if c := at(bare, x, y); c.R > 200 && c.G < 60 {
					sum, n = sum.Add(image.Pt(x, y)), n+1
				}
			}
		}
		if n == 0 {
			continue // turned out of the frame
		}
		x, y := sum.X/n, sum.Y/n
		crossed := false
		for d := -1; d <= 1; d++ {
			for e := -1; e <= 1; e++ {
				crossed = crossed || at(got, x+d, 0) != at(bare, x+d, 0) && at(got, 0, y+e) != at(bare, 0, y+e)
			}
		}
		if !crossed {
			t.Errorf("%s: the lines do not cross at %d,%d", p, x, y)
		}
	}
}

// TestOwnColours: the colours of a plan are of sRGB, whatever the output's colours are: as large as they are different, the numbers of
// Adobe RGB (1998) differ from theirs, and all in the same way.
func TestOwnColours(t *testing.T) {
	c := color.NRGBA{200, 60, 20, 255}
	m, clear := encodePixels(t, plain(20, 20, color.NRGBA{90, 90, 90, 255})), encodePixels(t, plain(20, 20, color.NRGBA{}))
	r := Renderer{Text: boxText{}}
	numbers := func(p Plan, space ColorSpace, inputs ...[]byte) color.NRGBA {
		p.Color, p.Format = space, PNG
		pic, err := r.Render(t.Context(), p, inputs...)
		if err != nil {
			t.Fatal(err)
		}
		return at(independent(t, pic.Bytes), 3, 3)
	}
	want := numbers(Plan{Background: &c}, AdobeRGB, clear)
	if want == c {
		t.Fatal("Adobe RGB has the numbers of sRGB")
	}
	text := Text{Text: "abcdef", Size: 20, Color: &c, Pad: new(int)}
	all := Insets{5, 5, 5, 5}
	for _, tt := range []struct {
		name   string
		plan   Plan
		inputs [][]byte
	}{
		{"border", Plan{Border: &Border{Width: all, Color: c}}, [][]byte{m}},
		{"stroke", Plan{Border: &Border{Width: all, Stroke: 4, StrokeColor: &c}}, [][]byte{m}},
		{"fill", Plan{Width: 20, Height: 60, Fit: Fill, Fill: &Padding{Color: &c}}, [][]byte{m}},
		{"gradient", Plan{Width: 20, Height: 60, Fit: Fill, Fill: &Padding{Gradient: &Gradient{From: c, To: c}}}, [][]byte{m}},
		{"mask", Plan{Mask: &Mask{Background: &c}}, [][]byte{clear}},
		{"grid", Plan{Grid: &Grid{Colors: [2]color.NRGBA{c, c}}}, [][]byte{clear}},
		{"blend", Plan{Blend: &Blend{Color: &c, Mode: Normal}}, [][]byte{m}},
		{"a picture to blend", Plan{Blend: &Blend{Mode: Normal}}, [][]byte{m, encodePixels(t, plain(20, 20, c))}},
		{"mark", Plan{Marks: []Mark{{Pad: new(int)}}}, [][]byte{m, encodePixels(t, plain(20, 20, c))}},
		{"duotone", Plan{Stylize: Stylize{Duotone: &Duotone{Dark: c, Light: c}}}, [][]byte{m}},
		{"monochrome", Plan{Stylize: Stylize{Monochrome: &c}}, [][]byte{encodePixels(t, plain(20, 20, color.NRGBA{255, 255, 255, 255}))}},
		{"text", Plan{Text: &text}, [][]byte{m}},
		{"text as a mark", Plan{Marks: []Mark{{Text: &text, Pad: new(int)}}}, [][]byte{m}},
	} {
		before := tt.plan.String()
		if got := numbers(tt.plan, SRGB, tt.inputs...); tt.name[:4] != "text" && got != c {
			t.Errorf("%s in sRGB: %v, want %v", tt.name, got, c)
		}
		got := numbers(tt.plan, AdobeRGB, tt.inputs...)
		if tt.name[:4] == "text" { // whose pixels are soft: against the same in sRGB
			if srgb := numbers(tt.plan, SRGB, tt.inputs...); got == srgb {
				t.Errorf("%s: %v in both", tt.name, got)
			}
		} else if got != want {
			t.Errorf("%s: %v, want %v", tt.name, got, want)
		}
		if tt.plan.String() != before {
			t.Errorf("%s: the plan has changed", tt.name)
		}
	}
}
