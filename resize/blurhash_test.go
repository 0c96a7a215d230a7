package resize

import (
	"errors"
	"image"
	"image/color"
	"image/draw"
	"math"
	"testing"
)

// What github.com/woltapp/blurhash's TypeScript 2.0.5 gives for these pictures. It takes the largest factor with its sign,
// where the C implementation and this one take its absolute value: the gradient, where that makes a difference, is by
// TypeScript with this one thing changed.
var blurHashes = []struct {
	picture string
	x, y    int
	want    string
}{
	{"astronaut.png", 1, 1, "00JGyh"},
	{"astronaut.png", 4, 3, "LNJGyh:*Ipo}*J5kR+xaOXozRQIo"},
	{"astronaut.png", 5, 5, "eNJGyh:*Ipo}EL*J5kR+xaMxOXozRQIosov#%2Sff5X8IUkBsnt7NH"},
	{"astronaut.png", 3, 8, "*NJGyh:*Ip*J5kR+OXozRQv#%2SfIUkBsnk=NGxD%MbcNGwIxZIo"},
	{"chelsea.png", 1, 1, "00HdT$"},
	{"chelsea.png", 4, 3, "L8HdT$v|u6sl9Z%MRP?Ho~xuxYR-"},
	{"chelsea.png", 5, 5, "e8HdT$v|u6slI@9Z%MRP?HkXo~xuxYR-IoMxf5W=NGobIpWVi^j=M{"},
	{"chelsea.png", 3, 8, "*8HdT$v|u69Z%MRPo~xuxYMxf5W=IpWVi^X9RjoLa#ayR*jEs;NG"},
	{"coffee.png", 1, 1, "00J=.M"},
	{"coffee.png", 4, 3, "LMJ=.MJAv}xG~AE257IpOqSgkVR+"},
	{"coffee.png", 5, 5, "eMJ=.MJAv}xGyB~AE257IpX8OqSgkVR+jJ9vNbsljZS~oLofW:WBt7"},
	{"coffee.png", 3, 8, "*MJ=.MJAv}~AE257OqSgkV9vNbsloLofW:niR*NcV@WCt7M{ay%1"},
	{"black", 1, 1, "000000"},
	{"black", 4, 3, "L00000fQfQfQfQfQfQfQfQfQfQfQ"},
	{"black", 5, 5, "e00000fQfQfQfQfQfQfQfQfQfQfQfQfQfQfQfQfQfQfQfQfQfQfQfQ"},
	{"black", 3, 8, "*00000fQfQfQfQfQfQfQfQfQfQfQfQfQfQfQfQfQfQfQfQfQfQfQ"},
	{"white", 1, 1, "00TSUA"},
	{"white", 4, 3, "L9TSUA?bfQ?b~qj[fQj[fQfQfQfQ"},
	{"white", 5, 5, "e9TSUA?bfQ?bfQ~qj[fQj[fQfQfQfQfQfQ~qj[fQj[fQfQfQfQfQfQ"},
	{"white", 3, 8, "*9TSUA?bfQ~qj[fQfQfQfQ~qj[fQfQfQfQ~qj[fQfQfQfQ~qj[fQ"},
	{"gradient", 1, 1, "00G8.{"},
	{"gradient", 4, 3, "LrG8.{2x$8S$mMWZjuf8gMfkfQfk"},
	{"gradient", 5, 5, "erG8.{2x$8S$jvmMWZjuf8fRgMfkfQfkfQnnWrjufRfQf9fRfQfQfQ"},
	{"gradient", 3, 8, "*rG8.{2x$8mMWZjugMfkfQnnWrjuf9fRfQogWqjte?fRfQogWqjt"},
	{"checks", 1, 1, "00LqcR"},
	{"checks", 4, 3, "L6LqcRuHfQq7^|K_fQGnfQGnfQGn"},
	{"checks", 5, 5, "e6LqcRuHfQq7fQ^|K_fQGnfQfQGnfQGnfQ^|G-fQCdfQfQCdfQ8TfQ"},
	{"checks", 3, 8, "*ELqcRpXfQ%IO.fQfQO.fQ%IP5fQfQKxfQ%I4JfQfQ+3fQ%Iz]fQ"},
	{"chelsea.png", 9, 9, "|8HdT$v|u6slI@S$NZt8%29Z%MRP?HkX%3g3-p%2o~xuxYR-Io$%oLELxuMxf5W=NGobs:t5NGNHIpWVi^j=M{M{Ion$RkX9RjoLRkR*WUM{s:WBa#ayR*xaRjbcxaxas;jEs;NGt6ofaexaRkt6%LWAt7RjWBxaWUWXR*"},
	{"checks", 9, 9, "|eLqcRkUfQknfQTZX6wMfQt5X6fQS{fQO.X6rufQfQX6fQS{fQO.X6rufQt5S{fQS{fQO.X6v+fQfQS{fQS{fQKxX6v+fQt5KxfQGnfQ4JKx@NfQfQv+fQv+fQ+3ruKxfQt5rufQrufQz]nkO.fQfQjafQjafQjafQbGfQ"},
}

// blurHashPictures are those that are computed.
var blurHashPictures = map[string]func(x, y int) color.NRGBA{
	"black": func(x, y int) color.NRGBA { return color.NRGBA{A: 255} },
	"white": func(x, y int) color.NRGBA { return color.NRGBA{255, 255, 255, 255} },
	"gradient": func(x, y int) color.NRGBA {
		return color.NRGBA{uint8(5 * x), uint8(7 * y), uint8(255 - 2*x - 3*y), 255}
	},
	"checks": func(x, y int) color.NRGBA {
		v := uint8((x/8 + y/6) % 2 * 255)
		return color.NRGBA{v, 255 - v, 40, 255}
	},
}

func drawn(f func(x, y int) color.NRGBA) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, 48, 33))
	for y := range 33 {
		for x := range 48 {
			m.SetNRGBA(x, y, f(x, y))
		}
	}
	return m
}

func blurHashPicture(t testing.TB, name string) image.Image {
	if f := blurHashPictures[name]; f != nil {
		return drawn(f)
	}
	return independent(t, sample(t, name))
}

func TestBlurHash(t *testing.T) {
	for _, test := range blurHashes {
		got, err := BlurHash(blurHashPicture(t, test.picture), test.x, test.y)
		if err != nil || got != test.want {
			t.Errorf("%s, %dx%d: %s, want %s (%v)", test.picture, test.x, test.y, got, test.want, err)
		}
	}
}

// The factors are those of the definition, computed in floating point.
func TestBlurHashCosines(t *testing.T) {
	m := drawn(blurHashPictures["gradient"])
	const x, y = 5, 4
	got := cosines(m, x, y)
	for j := range y {
		for i := range x {
			var want [3]float64
			for py := range 33 {
				for px := range 48 {
					basis := math.Cos(math.Pi*float64(i*px)/48) * math.Cos(math.Pi*float64(j*py)/33)
					c := m.NRGBAAt(px, py)
					for k, v := range []uint8{c.R, c.G, c.B} {
						want[k] += basis * fromSRGB(int(v)) / (48 * 33)
					}
				}
			}
			for k := range want {
				if i+j > 0 {
					want[k] *= 2
				}
				if d := math.Abs(want[k] - got[j*x+i][k]); d > 2e-5 {
					t.Errorf("factor %d,%d of channel %d is %v, want %v", i, j, k, got[j*x+i][k], want[k])
				}
			}
		}
	}
}

// One picture in several forms has one hash.
func TestBlurHashForms(t *testing.T) {
	m := drawn(blurHashPictures["gradient"])
	want, err := BlurHash(m, 4, 3)
	if err != nil {
		t.Fatal(err)
	}
	large := image.NewRGBA64(image.Rect(-5, -5, 100, 100))
	draw.Draw(large, m.Rect.Add(image.Pt(7, 9)), m, image.Point{}, draw.Src)
	rgba := image.NewRGBA(image.Rect(0, 0, 60, 60))
	draw.Draw(rgba, m.Rect.Add(image.Pt(3, 3)), m, image.Point{}, draw.Src)
	for name, form := range map[string]image.Image{
		"RGBA64": large.SubImage(m.Rect.Add(image.Pt(7, 9))),
		"RGBA":   rgba.SubImage(m.Rect.Add(image.Pt(3, 3))),
	} {
		if got, err := BlurHash(form, 4, 3); err != nil || got != want {
			t.Errorf("%s: %s, want %s (%v)", name, got, want, err)
		}
	}
	white, err := BlurHash(drawn(blurHashPictures["white"]), 4, 3)
	if err != nil {
		t.Fatal(err)
	}
	paletted := image.NewPaletted(image.Rect(0, 0, 48, 33), color.Palette{color.NRGBA{255, 0, 0, 0}})
	for name, form := range map[string]image.Image{
		"transparent": image.NewNRGBA(image.Rect(0, 0, 48, 33)), "transparent with a palette": paletted,
	} {
		if got, err := BlurHash(form, 4, 3); err != nil || got != white {
			t.Errorf("%s: %s, want white's %s (%v)", name, got, white, err)
		}
	}
}

func TestBlurHashErrors(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 3, 3))
	for _, n := range []image.Point{{0, 3}, {3, 0}, {10, 1}, {1, 10}, {-1, 1}} {
		if _, err := BlurHash(m, n.X, n.Y); !errors.Is(err, ErrPlan) {
			t.Errorf("%v: %v", n, err)
		}
	}
	if _, err := BlurHash(image.NewNRGBA(image.Rectangle{}), 4, 3); !errors.Is(err, ErrPlan) {
		t.Errorf("of nothing: %v", err)
	}
}

func BenchmarkBlurHash(b *testing.B) {
	m := independent(b, sample(b, "astronaut.png"))
	for b.Loop() {
		if _, err := BlurHash(m, 4, 3); err != nil {
			b.Fatal(err)
		}
	}
}
