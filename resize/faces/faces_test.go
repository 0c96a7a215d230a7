package faces

import (
	"context"
	"errors"
	"image"
	"image/draw"
	_ "image/jpeg"
	_ "image/png"
	"io/fs"
	"slices"
	"testing"

	"github.com/imagecdn/imagecdn/internal/samples"
	"github.com/imagecdn/imagecdn/resize"
)

func sample(t testing.TB, name string) *image.Gray {
	t.Helper()
	f, err := samples.FS().Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, _, err := image.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	g := image.NewGray(image.Rectangle{Max: m.Bounds().Size()})
	draw.Draw(g, g.Rect, m, m.Bounds().Min, draw.Src)
	return g
}

func find(t testing.TB, m *image.Gray) []resize.Face {
	t.Helper()
	f, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	found, err := f.Find(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range found {
		if !x.Rect.In(m.Rect) || x.Rect.Empty() || x.Score <= 0 {
			t.Errorf("%+v in a picture of %v", x, m.Rect)
		}
	}
	return found
}

// The astronaut's face, eyes and mouth, by eye.
var (
	face   = image.Rect(170, 55, 280, 170)
	within = image.Rect(192, 95, 258, 150)
)

func isFace(r image.Rectangle) bool {
	return within.In(r) && r.In(face.Inset(-15))
}

func TestFind(t *testing.T) {
	files, err := fs.Glob(samples.FS(), "*.*")
	if err != nil || len(files) < 6 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		found := find(t, sample(t, name))
		if name == "astronaut.png" {
			if len(found) != 1 || !isFace(found[0].Rect) || found[0].Score < 50 {
				t.Errorf("%s: %+v", name, found)
			}
		} else if len(found) != 0 { // a cat, a cup, stars, an eye's ground, a rocket
			t.Errorf("%s: %+v, where no face is", name, found)
		}
	}
}

// Where a picture is mirrored, larger, or part of another, so are its faces.
func TestFindMoved(t *testing.T) {
	m := sample(t, "astronaut.png")
	w, h := m.Rect.Dx(), m.Rect.Dy()

	mirrored := image.NewGray(m.Rect)
	large := image.NewGray(image.Rect(0, 0, 3*w, 3*h))
	two := image.NewGray(image.Rect(-40, 7, 2*w-40, h+7))
	for y := range h {
		for x := range w {
			v := m.GrayAt(x, y)
			mirrored.SetGray(w-1-x, y, v)
			for k := range 9 {
				large.SetGray(3*x+k%3, 3*y+k/3, v)
			}
			// The left one at half the size.
			two.SetGray(x+w-40, y+7, v)
			if x%2 == 0 && y%2 == 0 {
				two.SetGray(x/2-40, y/2+7, v)
			}
		}
	}
	if found := find(t, mirrored); len(found) != 1 ||
		!isFace(image.Rect(w-found[0].Rect.Max.X, found[0].Rect.Min.Y, w-found[0].Rect.Min.X, found[0].Rect.Max.Y)) {
		t.Errorf("mirrored: %+v", found)
	}
	if found := find(t, large); len(found) != 1 ||
		!isFace(image.Rectangle{found[0].Rect.Min.Div(3), found[0].Rect.Max.Div(3)}) {
		t.Errorf("enlarged: %+v", found)
	}
	found := find(t, two)
	if len(found) != 2 || !isFace(found[0].Rect.Sub(image.Pt(w-40, 7))) {
		t.Fatalf("two, one of half the size: %+v", found)
	}
	half := found[1].Rect.Sub(image.Pt(-40, 7))
	if !isFace(image.Rectangle{half.Min.Mul(2), half.Max.Mul(2)}) {
		t.Errorf("the one of half the size: %+v", found[1])
	}
	// A part of a picture, which shares its pixels.
	part := m.SubImage(image.Rect(100, 20, 400, 300)).(*image.Gray)
	if found := find(t, part); len(found) != 1 || !isFace(found[0].Rect) {
		t.Errorf("a part: %+v", found)
	}
}

func TestFindNothing(t *testing.T) {
	for _, size := range []image.Point{{}, {1, 1}, {23, 500}, {24, 24}, {5000, 1}, {3000, 24}} {
		m := image.NewGray(image.Rectangle{Max: size})
		for i := range m.Pix {
			m.Pix[i] = uint8(i * 7)
		}
		if found := find(t, m); len(found) != 0 {
			t.Errorf("%v: %+v", size, found)
		}
	}
}

func TestOptions(t *testing.T) {
	m := sample(t, "astronaut.png")
	count := func(o Options) int {
		f, err := New(&o)
		if err != nil {
			t.Fatal(err)
		}
		found, err := f.Find(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	if n := count(Options{MinScore: -1}); n < 2 {
		t.Errorf("%d with any score", n)
	}
	if n := count(Options{MinScore: -1, MaxFaces: 1}); n != 1 {
		t.Errorf("%d with at most one", n)
	}
	if n := count(Options{MinScore: 1000}); n != 0 {
		t.Errorf("%d with a score of 1000", n)
	}
}

func TestCancel(t *testing.T) {
	f, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	if _, err := f.Find(ctx, sample(t, "astronaut.png")); !errors.Is(err, gone) {
		t.Error(err)
	}
}

// Goroutines share a Finder, and find the same.
func TestConcurrent(t *testing.T) {
	m := sample(t, "astronaut.png")
	f, err := New(&Options{MinScore: -1})
	if err != nil {
		t.Fatal(err)
	}
	const n = 4
	all := make(chan []resize.Face, n)
	for range n {
		go func() {
			found, _ := f.Find(t.Context(), m)
			all <- found
		}()
	}
	first := <-all
	for range n - 1 {
		if next := <-all; len(first) == 0 || !slices.Equal(first, next) {
			t.Errorf("%+v and %+v", first, next)
		}
	}
}

func FuzzFind(f *testing.F) {
	finder, err := New(&Options{MinScore: -1, MaxFaces: -1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(30), uint8(40), []byte{1, 200, 3})
	f.Add(uint8(90), uint8(24), []byte("a picture"))
	f.Fuzz(func(t *testing.T, w, h uint8, data []byte) {
		m := image.NewGray(image.Rect(3, 4, 3+int(w), 4+int(h)))
		for i := range m.Pix {
			if len(data) > 0 {
				m.Pix[i] = data[(i*i+i/7)%len(data)]
			}
		}
		found, err := finder.Find(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range found {
			if x.Rect.Empty() || !x.Rect.In(m.Rect) {
				t.Fatalf("%+v in %v", x, m.Rect)
			}
			if i > 0 && x.Rect.Dx()*x.Rect.Dy() > found[i-1].Rect.Dx()*found[i-1].Rect.Dy() {
				t.Fatalf("a larger face is after a smaller one: %+v", found)
			}
		}
	})
}

func BenchmarkFind(b *testing.B) {
	f, err := New(nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"astronaut.png", "coffee.png", "retina.jpg"} {
		b.Run(name, func(b *testing.B) {
			m := sample(b, name)
			for b.Loop() {
				if _, err := f.Find(b.Context(), m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
