package text

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"golang.org/x/image/font/gofont/gomono"
	"golang.org/x/image/font/gofont/goregular"

	"github.com/imagecdn/imagecdn/resize"
)

var update = flag.Bool("update", false, "write testdata anew: look at what changed")

var (
	red    = &color.NRGBA{200, 30, 30, 255}
	blue   = &color.NRGBA{20, 60, 160, 255}
	yellow = &color.NRGBA{250, 220, 40, 255}
)

func ptr(n int) *int { return &n }

var goldens = []struct {
	name  string
	frame image.Point
	text  resize.Text
}{
	{"latin", image.Pt(300, 60), resize.Text{Text: "AVATAR fine Ünïcødé", Size: 28}},
	{"greek-cyrillic", image.Pt(300, 60), resize.Text{Text: "Καλημέρα Привет", Size: 28, XAlign: resize.Near, YAlign: resize.Near}},
	{"combining", image.Pt(200, 60), resize.Text{Text: "e\u0301 a\u0308\u0323 ễ", Size: 32}},
	{"serif-bold-italic", image.Pt(300, 60), resize.Text{Text: "Quick & brown", Font: "serif,bold,italic", Size: 32, Color: blue}},
	{"monospace", image.Pt(300, 60), resize.Text{Text: "iiii WWWW 0O1l", Font: "monospace", Size: 28}},
	{"outline", image.Pt(320, 90), resize.Text{Text: "Outline", Font: "sans-serif,bold", Size: 72, Line: 3, Color: red, LineColor: yellow}},
	{"outline-arabic", image.Pt(320, 110), resize.Text{Text: "مرحبا", Font: "sans-serif,bold", Size: 72, Line: 2, Color: red, LineColor: yellow}},
	{"shadow", image.Pt(300, 80), resize.Text{Text: "Shadow", Size: 48, Color: &color.NRGBA{255, 255, 255, 255}, Shadow: 6}},
	{"shadow-falls", image.Pt(300, 80), resize.Text{Text: "Shadow", Size: 48, Color: yellow, Shadow: 5, ShadowBlur: ptr(4)}},
	{"hebrew", image.Pt(300, 60), resize.Text{Text: "שָׁלוֹם עולם", Size: 32}},
	{"arabic", image.Pt(300, 80), resize.Text{Text: "السلام عليكم", Size: 40}},
	{"mixed", image.Pt(420, 60), resize.Text{Text: "abc אבג 123 דהו xyz", Size: 28}},
	{"mixed-right-to-left", image.Pt(420, 70), resize.Text{Text: "السعر 250 EUR فقط!", Size: 28}},
	{"ellipsis-end", image.Pt(200, 50), resize.Text{Text: "The quick brown fox jumps", Size: 24, Ellipsis: true}},
	{"ellipsis-start", image.Pt(200, 50), resize.Text{Text: "The quick brown fox jumps", Size: 24, Ellipsis: true, Cut: resize.CutStart}},
	{"ellipsis-middle", image.Pt(200, 50), resize.Text{Text: "The quick brown fox jumps", Size: 24, Ellipsis: true, Cut: resize.CutMiddle}},
	{"ellipsis-hebrew", image.Pt(200, 50), resize.Text{Text: "אבגד הוזח טיכל מנסע פצקר", Size: 24, Ellipsis: true}},
	{"clip", image.Pt(200, 50), resize.Text{Text: "The quick brown fox jumps", Size: 24}},
	{"max", image.Pt(200, 50), resize.Text{Text: "The quick brown fox jumps", Size: 24, Fit: resize.MaxText}},
	{"lines", image.Pt(240, 120), resize.Text{Text: "one\nand two\n\nfour", Size: 22, XAlign: resize.Middle, YAlign: resize.Middle}},
	{"wrap", image.Pt(260, 140), resize.Text{Text: "The quick brown fox jumps over the lazy dog.", Size: 24, Fit: resize.WrapText, Width: 200, XAlign: resize.Near, YAlign: resize.Near}},
	{"wrap-height", image.Pt(260, 140), resize.Text{Text: "The quick brown fox jumps over the lazy dog.", Size: 24, Fit: resize.WrapText, Width: 160, Height: 75}},
	{"wrap-arabic", image.Pt(260, 140), resize.Text{Text: "نص طويل بما يكفي ليحتاج إلى أكثر من سطر", Size: 24, Fit: resize.WrapText, Width: 160, Height: 80}},
	{"wrap-max", image.Pt(260, 140), resize.Text{Text: "The quick brown fox jumps over the lazy dog.", Size: 60, Fit: resize.WrapMaxText, XAlign: resize.Middle, Height: 0.5}},
	{"track-lead", image.Pt(260, 120), resize.Text{Text: "wide office\nlines", Size: 22, Track: 5, Lead: 12}},
	{"track-tight", image.Pt(260, 50), resize.Text{Text: "tight office", Size: 28, Track: -2}},
	{"place", image.Pt(200, 80), resize.Text{Text: "at 20, 5", Size: 24, X: ptr(20), Y: ptr(5)}},
	{"cut-by-frame", image.Pt(120, 60), resize.Text{Text: "BIG", Size: 90, X: ptr(-20), Y: ptr(-40), Width: 400}},
	{"missing", image.Pt(200, 50), resize.Text{Text: "a 漢字 z", Size: 24}},
	{"translucent", image.Pt(200, 60), resize.Text{Text: "half", Size: 40, Color: &color.NRGBA{0, 0, 0, 128}, Line: 1, LineColor: &color.NRGBA{255, 0, 0, 200}}},
}

func newSetter(t testing.TB, opts *Options) *Setter {
	t.Helper()
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func set(t testing.TB, s *Setter, text resize.Text, frame image.Point) *image.NRGBA {
	t.Helper()
	m, err := s.Set(t.Context(), text, frame)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// framed gives m in its frame.
func framed(m *image.NRGBA, frame image.Point) *image.NRGBA {
	dst := image.NewNRGBA(image.Rectangle{Max: frame})
	for y := m.Rect.Min.Y; y < m.Rect.Max.Y; y++ {
		for x := m.Rect.Min.X; x < m.Rect.Max.X; x++ {
			dst.SetNRGBA(x, y, m.NRGBAAt(x, y))
		}
	}
	return dst
}

func TestGolden(t *testing.T) {
	s := newSetter(t, nil)
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			got := framed(set(t, s, g.text, g.frame), g.frame)
			file := filepath.Join("testdata", "golden", g.name+".png")
			if *update {
				var b bytes.Buffer
				if err := png.Encode(&b, got); err != nil {
					t.Fatal(err)
				}
				if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, b.Bytes(), 0o666); err != nil {
					t.Fatal(err)
				}
				return
			}
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			want, err := png.Decode(f)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Pix, want.(*image.NRGBA).Pix) {
				out := filepath.Join(t.ArtifactDir(), "got.png")
				w, err := os.Create(out)
				if err == nil {
					err = png.Encode(w, got)
					w.Close()
				}
				t.Errorf("another picture than %s: see %s (%v)", file, out, err)
			}
		})
	}
}

// What is said of a picture of text, for all goldens: it lies in the frame, has something in it,
// and is the same again.
func TestRect(t *testing.T) {
	s := newSetter(t, nil)
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			m := set(t, s, g.text, g.frame)
			if !m.Rect.In(image.Rectangle{Max: g.frame}) {
				t.Errorf("%v lies outside of the frame %v", m.Rect, g.frame)
			}
			inked := false
			for i := 3; i < len(m.Pix); i += 4 {
				inked = inked || m.Pix[i] != 0
			}
			if !inked {
				t.Error("there is nothing in it")
			}
			if again := set(t, newSetter(t, nil), g.text, g.frame); !bytes.Equal(again.Pix, m.Pix) {
				t.Error("another Setter makes another picture")
			}
		})
	}
}

func TestNothing(t *testing.T) {
	s := newSetter(t, nil)
	for name, text := range map[string]resize.Text{
		"empty":     {},
		"spaces":    {Text: " \t\n  ", Line: 2, Shadow: 4},
		"outside":   {Text: "far", X: ptr(1000), Width: 100},
		"no room":   {Text: "far", Width: 1.5, Size: 100, Ellipsis: true},
		"invisible": {Text: "\u200f"},
	} {
		if m := set(t, s, text, image.Pt(100, 50)); !m.Rect.Empty() {
			t.Errorf("%s: %v", name, m.Rect)
		}
	}
}

// Inside of a stroke a colour is what was asked for, and there is no other colour but at the edges of outlines.
func TestColors(t *testing.T) {
	s := newSetter(t, nil)
	frame := image.Pt(300, 200)
	m := set(t, s, resize.Text{Text: "IH", Font: "sans-serif,bold", Size: 150, Color: red}, frame)
	solid := 0
	for i := 0; i < len(m.Pix); i += 4 {
		px := [4]uint8(m.Pix[i:])
		switch {
		case px[3] == 0:
			if px != ([4]uint8{}) {
				t.Fatalf("a transparent pixel is %v", px)
			}
		case [3]uint8(px[:3]) != [3]uint8{red.R, red.G, red.B}:
			t.Fatalf("a pixel of letters in %v is %v", *red, px)
		case px[3] == 255:
			solid++
		}
	}
	if solid < 3000 {
		t.Errorf("only %d pixels are opaque", solid)
	}

	// With an outline, letters are as large as without, the outline's colour is at the edge, and theirs in the middle.
	lined := set(t, s, resize.Text{Text: "IH", Font: "sans-serif,bold", Size: 150, Color: red, Line: 5, LineColor: yellow}, frame)
	if lined.Rect != m.Rect {
		t.Fatalf("with an outline it is in %v, without in %v", lined.Rect, m.Rect)
	}
	counts := make(map[[4]uint8]int)
	for i := 0; i < len(m.Pix); i += 4 {
		px := [4]uint8(lined.Pix[i:])
		counts[px]++
		if px[3] != m.Pix[i+3] {
			t.Fatalf("an outline changes alpha from %d to %d", m.Pix[i+3], px[3])
		}
		if 0 < px[3] && px[3] < 255 && [3]uint8(px[:3]) != [3]uint8{yellow.R, yellow.G, yellow.B} {
			t.Fatalf("the letters' colour shows around the outline: %v", px)
		}
	}
	if in, out := counts[[4]uint8{red.R, red.G, red.B, 255}], counts[[4]uint8{yellow.R, yellow.G, yellow.B, 255}]; in < 1000 || out < 1000 {
		t.Errorf("%d pixels of the letters' colour, %d of the outline's", in, out)
	}
}

// A larger frame shows the same and more.
func TestFrameCutsOnly(t *testing.T) {
	s := newSetter(t, nil)
	for _, extra := range []resize.Text{{}, {Line: 2}, {Shadow: 5}, {Shadow: 4, ShadowBlur: ptr(3)}} {
		text := extra
		text.Text, text.Size, text.X, text.Y, text.Width, text.LineColor = "Cut off g", 40, ptr(-10), ptr(-15), 400, red
		small, large := image.Pt(90, 25), image.Pt(400, 100)
		a, b := framed(set(t, s, text, small), small), framed(set(t, s, text, large), large)
		for y := range small.Y {
			for x := range small.X {
				if a.NRGBAAt(x, y) != b.NRGBAAt(x, y) {
					t.Fatalf("%+v: %d,%d is %v in the small frame, %v in the large one", extra, x, y, a.NRGBAAt(x, y), b.NRGBAAt(x, y))
				}
			}
		}
	}
}

// The tiles that large glyphs are rasterized in do not show.
func TestTiles(t *testing.T) {
	s := newSetter(t, nil)
	frame := image.Pt(1400, 1400)
	text := resize.Text{Text: "I", Font: "sans-serif,bold", Size: 1700, X: ptr(0), Y: ptr(-300), Width: 2000}
	m := set(t, s, text, frame)
	for y := 20; y < 1200; y++ {
		first, last := -1, -1
		for x := m.Rect.Min.X; x < m.Rect.Max.X; x++ {
			if m.NRGBAAt(x, y).A == 255 {
				if first < 0 {
					first = x
				}
				last = x
			}
		}
		if m.Rect.Max.Y <= y {
			break
		}
		for x := max(first, 0); x <= last; x++ {
			if m.NRGBAAt(x, y).A != 255 {
				t.Fatalf("a stem has a hole at %d,%d", x, y)
			}
		}
	}
}

// Letters of Arabic are another shape alone than joined, and run from the right.
func TestShaping(t *testing.T) {
	s := newSetter(t, nil)
	width := func(text string) int {
		return set(t, s, resize.Text{Text: text, Size: 64}, image.Pt(2000, 200)).Rect.Dx()
	}
	if joined, apart := width("ببب"), width("ب\u200cب\u200cب"); joined >= apart {
		t.Errorf("joined letters are %d wide, apart %d", joined, apart)
	}
	sh := newShaper(s.faces)
	order, err := s.family("")
	if err != nil {
		t.Fatal(err)
	}
	sh.use(order)
	advance := func(text string) int64 {
		p := sh.shape([]rune(text), 0, false)
		return p.advance()
	}
	if pair, apart := advance("AV"), advance("A")+advance("V"); pair >= apart {
		t.Errorf("a kerned pair is %d long, its letters %d", pair, apart)
	}

	// The order that is seen, spaces apart: those of all fonts are one letter to them.
	for _, test := range []struct{ text, seen string }{
		{"abc", "abc"},
		{"אבג", "גבא"},
		{"ab אב cd", "ab בא cd"},
		{"ab אב 12 גד cd", "ab דג 12 בא cd"},
		{"אב ab גד", "דג ab בא"},
		{"אב 12 גד", "דג 12 בא"},
		{"אב (ab) גד", "דג (ab) בא"},
		{"ab (אב) cd", "ab (בא) cd"},
	} {
		text := []rune(test.text)
		p := sh.shape(text, 0, sh.rightToLeft(text))
		var seen []rune
		for _, g := range p.line(p.runs).glyphs {
			for _, r := range test.seen {
				if r == ' ' {
					continue
				}
				if id, ok := g.face.NominalGlyph(r); ok && id == g.id {
					seen = append(seen, r)
					break
				}
			}
		}
		if got := string(seen); got != strings.ReplaceAll(test.seen, " ", "") {
			t.Errorf("%q is seen as %q, want %q", test.text, got, test.seen)
		}
	}
}

func TestFit(t *testing.T) {
	s := newSetter(t, nil)
	frame := image.Pt(400, 300)
	long := strings.Repeat("words and more ", 8)
	for name, fit := range map[string]resize.TextFit{"max": resize.MaxText, "wrap": resize.WrapText, "wrapmax": resize.WrapMaxText, "clip": resize.ClipText} {
		for _, size := range []float64{8, 30, 120} {
			m := set(t, s, resize.Text{Text: long, Size: size, Fit: fit, Width: 150, Height: 90}, frame)
			if m.Rect.Dx() > 152 {
				t.Errorf("%s at %v is %d wide, more than 150", name, size, m.Rect.Dx())
			}
			if limit := max(92, int(size*1.5)); fit != resize.ClipText && m.Rect.Dy() > limit {
				t.Errorf("%s at %v is %d high, more than 90", name, size, m.Rect.Dy())
			}
		}
	}
	// What fits stays as it is.
	short := resize.Text{Text: "short", Size: 20}
	want := set(t, s, short, frame)
	for fit := resize.MaxText; fit <= resize.WrapMaxText; fit++ {
		short.Fit, short.Height = fit, 100
		if got := set(t, s, short, frame); got.Rect != want.Rect || !bytes.Equal(got.Pix, want.Pix) {
			t.Errorf("a short text with fit %d is in %v, without in %v", fit, got.Rect, want.Rect)
		}
	}
}

func TestAlign(t *testing.T) {
	s := newSetter(t, nil)
	frame := image.Pt(400, 200)
	at := func(x, y resize.Align) image.Rectangle {
		return set(t, s, resize.Text{Text: "place", Size: 30, XAlign: x, YAlign: y}, frame).Rect
	}
	if d, n := at(0, 0), at(resize.Far, resize.Far); d != n || d.Max.X < 380 || d.Max.Y < 180 {
		t.Errorf("not aligned is %v, far %v: want bottom right", d, n)
	}
	if r := at(resize.Near, resize.Near); r.Min.X > 16 || r.Min.Y > 24 {
		t.Errorf("near is %v", r)
	}
	r := at(resize.Middle, resize.Middle)
	if mid := r.Min.Add(r.Max).Div(2); mid.X < 195 || mid.X > 205 || mid.Y < 90 || mid.Y > 112 {
		t.Errorf("the middle of %v is %v", r, mid)
	}
}

func TestErrors(t *testing.T) {
	s := newSetter(t, nil)
	ok := image.Pt(100, 100)
	for name, test := range map[string]struct {
		text  resize.Text
		frame image.Point
		want  string
	}{
		"not UTF-8":         {resize.Text{Text: "a\xffb"}, ok, "not UTF-8"},
		"too long":          {resize.Text{Text: strings.Repeat("é", MaxRunes+1)}, ok, "1001 runes, more than 1000"},
		"control":           {resize.Text{Text: "a\x07b"}, ok, "U+0007"},
		"control of C1":     {resize.Text{Text: "a\u0085b"}, ok, "U+0085"},
		"size":              {resize.Text{Text: "a", Size: 2001}, ok, "size is 2001"},
		"negative size":     {resize.Text{Text: "a", Size: -1}, ok, "size is -1"},
		"line":              {resize.Text{Text: "a", Line: -1}, ok, "line is -1"},
		"pad":               {resize.Text{Text: "a", Pad: ptr(-1)}, ok, "pad is -1"},
		"x":                 {resize.Text{Text: "a", X: ptr(1 << 30)}, ok, "x is 1073741824"},
		"font":              {resize.Text{Text: "a", Font: "Futura"}, ok, `no font "Futura": there are Noto Sans, `},
		"style":             {resize.Text{Text: "a", Font: "serif,wobbly"}, ok, "no font"},
		"no frame":          {resize.Text{Text: "a"}, image.Pt(0, 5), "frame of 0x5"},
		"large frame":       {resize.Text{Text: "a"}, image.Pt(60000, 60000), "frame of 60000x60000"},
		"unknown alignment": {resize.Text{Text: "a", XAlign: 9}, ok, "alignment"},
	} {
		m, err := s.Set(t.Context(), test.text, test.frame)
		if !errors.Is(err, resize.ErrPlan) || m != nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, %v; want ErrPlan with %q", name, m, err, test.want)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	if _, err := s.Set(ctx, resize.Text{Text: "a"}, ok); !errors.Is(err, gone) {
		t.Errorf("with a context that is over: %v", err)
	}
}

// What would take minutes is refused before it begins.
func TestEffort(t *testing.T) {
	s := newSetter(t, nil)
	frame := image.Pt(8000, 8000)
	sh := newShaper(s.faces)
	order, err := s.family("")
	if err != nil {
		t.Fatal(err)
	}
	sh.use(order)
	w := sh.shape([]rune("W"), 0, false)
	advance := w.advance()
	for name, text := range map[string]resize.Text{
		"all in one place": {Text: strings.Repeat("W", 990), Size: 2000, Track: -float64(advance) * 2000 / em, XAlign: resize.Near},
		"wide outlines":    {Text: strings.Repeat("W", 900), Size: 300, Line: 70, Fit: resize.WrapText},
	} {
		if _, err := s.Set(t.Context(), text, frame); !errors.Is(err, resize.ErrPlan) || !strings.Contains(err.Error(), "too large") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What is only large is not.
	if m := set(t, s, resize.Text{Text: "Wide", Size: 900, Line: 20}, image.Pt(3000, 1500)); m.Rect.Dx() < 1500 {
		t.Errorf("a large text is in %v", m.Rect)
	}
}

func TestFonts(t *testing.T) {
	frame := image.Pt(300, 60)
	text := func(font string) resize.Text { return resize.Text{Text: "Fonts fi 123", Size: 24, Font: font} }
	s := newSetter(t, &Options{
		Fonts:   [][]byte{goregular.TTF, gomono.TTF},
		Aliases: map[string]string{"Helvetica": "Go", "Heavy": "serif,bold", "Georgia": "Heavy"},
	})
	same := func(a, b string) bool {
		return bytes.Equal(set(t, s, text(a), frame).Pix, set(t, s, text(b), frame).Pix)
	}
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"", "sans-serif", true},
		{"", "Noto Sans", true},
		{"noto-sans", "NOTO SANS", true},
		{"sans-serif,bold", "Noto Sans Bold", true},
		{"serif,bold,italic", "Noto Serif Bold Italic", true},
		{"monospace", "Noto Sans Mono", true},
		{"cursive", "serif,italic", true},
		{"fantasy", "serif,bold", true},
		{"Helvetica", "Go", true},
		{"helvetica,regular", "Go", true},
		{"Georgia", "serif,bold", true},
		{"heavy,italic", "serif,bold,italic", true},
		{"Go", "sans-serif", false},
		{"sans-serif", "sans-serif,bold", false},
		{"sans-serif", "sans-serif,italic", false},
		{"serif", "sans-serif", false},
		{"Go Mono", "monospace", false},
	} {
		if got := same(test.a, test.b); got != test.same {
			t.Errorf("%q and %q are the same: %v", test.a, test.b, got)
		}
	}
	if names := strings.Join(s.Names(), ","); !strings.Contains(names, "Go Mono") || !strings.Contains(names, "sans-serif") {
		t.Errorf("Names: %s", names)
	}
	for _, opts := range []Options{
		{Fonts: [][]byte{[]byte("no font")}},
		{Aliases: map[string]string{"a": "nothing"}},
		{Aliases: map[string]string{"a": "b", "b": "a"}},
	} {
		if _, err := New(&opts); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: %v", opts.Aliases, err)
		}
	}
}

// All that docs/text.md says is covered is.
func TestCoverage(t *testing.T) {
	s := newSetter(t, nil)
	order, err := s.family("")
	if err != nil {
		t.Fatal(err)
	}
	for _, sample := range []string{
		"ABCxyz0123456789!?&@#%€£¥₪₽₴©®™…–—‘’“”«»",
		"ÀÉÎÕÜßæœøåčěřžłńąęőűğşıİ", "ắềộữđĐơƯ", "ΑΒΓαβγάέήίόύώς", "АБВабвёїієґЎў",
		"אבגדהוזחטיכךלמםנןסעפףצץקרשתָּ", "ءآأؤإئابةتثجحخدذرزسشصضطظعغفقكلمنهويًٌَُّْ٠١٢٣٤٥٦٧٨٩،؛؟", "پچژکگیۀەٹڈڑںے",
	} {
		for _, r := range sample {
			if !covered(s, order, r) {
				t.Errorf("there is no letter for %q (%U)", r, r)
			}
		}
	}
}

func covered(s *Setter, order family, r rune) bool {
	for _, i := range order {
		if _, ok := s.faces[i].font.NominalGlyph(r); ok {
			return true
		}
	}
	return false
}

func TestConcurrent(t *testing.T) {
	s := newSetter(t, nil)
	want := make([]*image.NRGBA, len(goldens))
	for i, g := range goldens {
		want[i] = set(t, s, g.text, g.frame)
	}
	var wg sync.WaitGroup
	for k := range 4 {
		wg.Go(func() {
			for i := range goldens {
				i = (i*7 + k) % len(goldens)
				m, err := s.Set(t.Context(), goldens[i].text, goldens[i].frame)
				if err != nil || !bytes.Equal(m.Pix, want[i].Pix) {
					t.Errorf("%s: another picture among others (%v)", goldens[i].name, err)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzSet(f *testing.F) {
	s := newSetter(f, nil)
	for _, g := range goldens {
		f.Add(g.text.Text, g.text.Size, g.text.Track, g.text.Line, g.text.Shadow, uint8(g.text.Fit), uint8(g.text.Cut), g.text.Ellipsis, 100.0)
	}
	f.Add("\u202eabc\u2066א\u2069 1", 20.0, -4.0, 1.0, 0.0, uint8(2), uint8(0), true, 1.5)
	f.Fuzz(func(t *testing.T, text string, size, track, line, shadow float64, fit, cut uint8, dots bool, width float64) {
		if len(text) > 60 || size > 200 || shadow > 20 {
			return
		}
		frame := image.Pt(160, 90)
		in := resize.Text{Text: text, Size: size, Track: track, Line: line, Shadow: shadow, Width: width, Height: 50,
			Fit: resize.TextFit(fit % 4), Cut: resize.TextCut(cut % 3), Ellipsis: dots}
		m, err := s.Set(t.Context(), in, frame)
		if err != nil {
			if !errors.Is(err, resize.ErrPlan) || strings.ContainsAny(err.Error(), "\n") {
				t.Fatalf("%v is not one line of ErrPlan", err)
			}
			return
		}
		if !utf8.ValidString(text) {
			t.Fatal("text that is not UTF-8 is set")
		}
		if !m.Rect.In(image.Rectangle{Max: frame}) || len(m.Pix) != m.Rect.Dx()*m.Rect.Dy()*4 {
			t.Fatalf("%v with %d bytes in a frame of %v", m.Rect, len(m.Pix), frame)
		}
	})
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		newSetter(b, nil)
	}
}

func BenchmarkSet(b *testing.B) {
	s := newSetter(b, nil)
	for _, bench := range []struct {
		name string
		text resize.Text
	}{
		{"short", resize.Text{Text: "© 2026 Example", Size: 24}},
		{"arabic", resize.Text{Text: "السلام عليكم", Size: 24}},
		{"outline", resize.Text{Text: "Outline", Size: 120, Line: 4}},
		{"shadow", resize.Text{Text: "Shadow", Size: 120, Shadow: 6}},
		{"wrap", resize.Text{Text: strings.Repeat("The quick brown fox. ", 40), Size: 16, Fit: resize.WrapText}},
		{"wrapmax", resize.Text{Text: strings.Repeat("The quick brown fox. ", 40), Size: 80, Fit: resize.WrapMaxText, Height: 300}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			for b.Loop() {
				set(b, s, bench.text, image.Pt(800, 600))
			}
		})
	}
}
