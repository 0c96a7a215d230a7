package resize

import (
	"bytes"
	"encoding/json"
	"errors"
	"image"
	"image/color"
	"strings"
	"testing"
)

// flags is a picture of so many columns of each colour.
func flags(columns []int, colors []color.NRGBA) *image.NRGBA {
	w := 0
	for _, n := range columns {
		w += n
	}
	m := image.NewNRGBA(image.Rect(0, 0, w, 4))
	x := 0
	for i, n := range columns {
		for range n {
			for y := range 4 {
				m.SetNRGBA(x, y, colors[i])
			}
			x++
		}
	}
	return m
}

var (
	orange = color.NRGBA{255, 128, 0, 255}   // vibrant
	navy   = color.NRGBA{0, 0, 128, 255}     // vibrant, dark
	rose   = color.NRGBA{255, 128, 192, 255} // vibrant, light
	gray   = color.NRGBA{128, 128, 128, 255} // muted
	sand   = color.NRGBA{200, 190, 170, 255} // muted, light
	slate  = color.NRGBA{50, 60, 70, 255}    // muted, dark
)

func palette(t testing.TB, m image.Image, n int) Palette {
	t.Helper()
	p, err := PaletteOf(m, n)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What is in a picture is found, exactly, and counted.
func TestPalette(t *testing.T) {
	all := []color.NRGBA{orange, navy, rose, gray, sand, slate}
	m := flags([]int{3, 10, 7, 5, 2, 1}, all)
	p := palette(t, m, 6)
	want := []color.NRGBA{navy, rose, gray, orange, sand, slate}
	if len(p.Colors) != 6 {
		t.Fatalf("%d colours: %v", len(p.Colors), p.Colors)
	}
	for i := range want {
		if p.Colors[i] != want[i] {
			t.Errorf("colour %d is %v, want %v", i+1, p.Colors[i], want[i])
		}
	}
	for name, test := range map[string]struct {
		got  *color.NRGBA
		want color.NRGBA
	}{
		"vibrant": {p.Vibrant, orange}, "vibrant dark": {p.VibrantDark, navy}, "vibrant light": {p.VibrantLight, rose},
		"muted": {p.Muted, gray}, "muted light": {p.MutedLight, sand}, "muted dark": {p.MutedDark, slate},
	} {
		if test.got == nil || *test.got != test.want {
			t.Errorf("%s is %v, want %v", name, test.got, test.want)
		}
	}
	if n := len(palette(t, m, 2).Colors); n != 2 {
		t.Errorf("%d colours of 2", n)
	}
	if n := len(palette(t, m, 16).Colors); n != 6 {
		t.Errorf("%d colours of 6", n)
	}
	if p := palette(t, m, 0); len(p.Colors) != 0 || p.Vibrant == nil {
		t.Errorf("without colours: %+v", p)
	}
	for _, n := range []int{-1, 17} {
		if _, err := PaletteOf(m, n); !errors.Is(err, ErrPlan) {
			t.Errorf("%d colours: %v", n, err)
		}
	}
}

func TestPaletteLuminance(t *testing.T) {
	for _, test := range []struct {
		c    color.NRGBA
		want float64
	}{{color.NRGBA{A: 255}, 0}, {color.NRGBA{255, 255, 255, 255}, 1}, {color.NRGBA{0, 255, 0, 255}, 0.7152}} {
		p := palette(t, flags([]int{9}, []color.NRGBA{test.c}), 6)
		if p.Luminance != test.want || len(p.Colors) != 1 || p.Colors[0] != test.c {
			t.Errorf("%v: %+v", test.c, p)
		}
	}
}

// What is not seen has no colour.
func TestPaletteTransparent(t *testing.T) {
	p := palette(t, flags([]int{90, 5}, []color.NRGBA{{0, 255, 0, 100}, orange}), 6)
	if len(p.Colors) != 1 || p.Colors[0] != orange {
		t.Errorf("%v", p.Colors)
	}
	p = palette(t, image.NewNRGBA(image.Rect(0, 0, 5, 5)), 6)
	if len(p.Colors) != 0 || p.Luminance != 0 || p.Vibrant != nil {
		t.Errorf("of nothing: %+v", p)
	}
	if s := string(p.JSON()); s != `{"colors":[],"average_luminance":0,"dominant_colors":{}}` {
		t.Errorf("of nothing: %s", s)
	}
}

// On photographs, colours stand for many pixels each, the first for most.
func TestPalettePhotos(t *testing.T) {
	for _, name := range sampleNames(t) {
		m := colors(independent(t, sample(t, name)))
		all := swatches(m, 6)
		total := int64(0)
		for i, s := range all {
			total += s.n
			if s.n == 0 || i > 0 && s.n > all[i-1].n {
				t.Errorf("%s: %v", name, all)
			}
		}
		if want := int64(m.Rect.Dx()) * int64(m.Rect.Dy()); len(all) != 6 || total != want {
			t.Errorf("%s: %d colours of %d pixels, not 6 of %d", name, len(all), total, want)
		}
		a, b := palette(t, m, 6).JSON(), palette(t, m, 6).JSON()
		if !bytes.Equal(a, b) {
			t.Errorf("%s: %s, and then %s", name, a, b)
		}
	}
}

func TestPaletteJSON(t *testing.T) {
	p := Palette{Colors: []color.NRGBA{orange, {4, 131, 188, 255}}, Luminance: 0.375264, Muted: &gray}
	const want = `{"colors":[{"red":1,"hex":"#ff8000","blue":0,"green":0.501961},` +
		`{"red":0.0156863,"hex":"#0483bc","blue":0.737255,"green":0.513725}],` +
		`"average_luminance":0.375264,"dominant_colors":{"muted":{"red":0.501961,"hex":"#808080","blue":0.501961,"green":0.501961}}}`
	got := p.JSON()
	if string(got) != want || !json.Valid(got) {
		t.Errorf("%s\nwant %s", got, want)
	}
	p.VibrantDark = &navy
	if !strings.Contains(string(p.JSON()), `"vibrant_dark":{`) {
		t.Errorf("%s", p.JSON())
	}
}

func TestPaletteCSS(t *testing.T) {
	p := Palette{Colors: []color.NRGBA{orange}, MutedDark: &slate}
	const want = `.image-fg-1 { color:#ff8000 !important; }
.image-bg-1 { background-color:#ff8000 !important; }
.image-fg-ex-1 { color:#ffffff !important; }
.image-bg-ex-1 { background-color:#ffffff !important; }
.image-fg-ex-2 { color:#000000 !important; }
.image-bg-ex-2 { background-color:#000000 !important; }
.image-fg-muted-dark { color:#323c46 !important; }
.image-bg-muted-dark { background-color:#323c46 !important; }
`
	got, err := p.CSS("")
	if err != nil || string(got) != want {
		t.Errorf("%s%v\nwant %s", got, err, want)
	}
	frog, err := p.CSS("Frog_2-x")
	if err != nil || string(frog) != strings.ReplaceAll(want, ".image-", ".Frog_2-x-") {
		t.Errorf("%s%v", frog, err)
	}
	for _, prefix := range []string{"a b", "a{", "}*{color:red", "1a", "-a", "a.b", "é", "a\n", strings.Repeat("a", 65)} {
		if css, err := p.CSS(prefix); !errors.Is(err, ErrPlan) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %s, %v", prefix, css, err)
		}
	}
}

func BenchmarkPalette(b *testing.B) {
	m := independent(b, sample(b, "astronaut.png"))
	for b.Loop() {
		palette(b, m, 6)
	}
}
