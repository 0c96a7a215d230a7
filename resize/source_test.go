package resize

import (
	"fmt"
	"image"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// jpegs are JPEG files of every kind: the sample, and those of the Go distribution where that is here.
func jpegs(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{"rocket.jpg": sample(t, "rocket.jpg")}
	names, _ := filepath.Glob(filepath.Join(runtime.GOROOT(), "src/image/testdata/*.jpeg"))
	for _, name := range names {
		if strings.Contains(name, "truncated") {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(name)] = b
	}
	return all
}

// TestParts: what is made of the part that a plan needs is what is made of all, to the bit.
func TestParts(t *testing.T) {
	plans := []Plan{
		{Width: 20, Rect: &Rect{X: 40, Y: 30, W: 50, H: 40}},
		{Width: 12, Rect: &Rect{X: 0.5, Y: 0.5, W: 0.5, H: 0.5}},
		{Width: 90, Rect: &Rect{X: 61, Y: 33, W: 31, H: 23}}, // enlarged
		{Rect: &Rect{X: 17, Y: 11, W: 40, H: 40}},            // copied
		{Width: 20, Height: 60, Fit: Cover, Crop: []Crop{Right}},
		{Width: 60, Height: 10, Fit: Cover, Crop: []Crop{Bottom}},
		{Width: 9, Height: 9, Fit: Cover, Crop: []Crop{FocalPoint}, Focal: &Point{0.9, 0.1}},
		{Width: 30, Height: 30, Fit: Cover, Crop: []Crop{Entropy}, Rect: &Rect{X: 20, Y: 20, W: 70, H: 50}},
		{Width: 40, Height: 12, Fit: Cover, Rotate: 15},
		{Width: 30, Height: 30, Fit: Fill, Rotate: 90, Rect: &Rect{X: 20, Y: 10, W: 50, H: 30}},
		{Width: 30, Fit: Scale, Height: 10, Flip: Both, Rect: &Rect{X: 3, Y: 10, W: 50, H: 30}},
	}
	r := new(Renderer)
	saved := 0
	for name, data := range jpegs(t) {
		for _, p := range plans {
			for _, p.Orient = range []int{1, 3, 6, 7} {
				for _, p.Format = range []Format{JPEG, PNG} {
					t.Run(fmt.Sprintf("%s/%s", name, p), func(t *testing.T) {
						compose := func(part bool) (image.Image, source) {
							j, err := r.prepare(p, []Input{{Bytes: data}})
							if err != nil {
								t.Fatal(err)
							}
							n := j.need()
							if !part {
								n.region = j.inputs[0].bounds()
							}
							src, err := r.decode(t.Context(), data, j.info, n, j.arena.alloc)
							if err != nil {
								t.Fatal(err)
							}
							m, err := j.compose(t.Context(), src)
							if err != nil {
								t.Fatal(err)
							}
							return m, src
						}
						want, all := compose(false)
						got, part := compose(true)
						sameSamples(t, got, want)
						if part.m.Bounds().Size() != all.m.Bounds().Size() {
							saved++
						}
					})
				}
			}
		}
	}
	if saved == 0 {
		t.Error("no plan was carried out on a part")
	}
}

// sameSamples compares pictures of one type, without converting colours.
func sameSamples(t *testing.T, got, want image.Image) {
	t.Helper()
	if g, w := fmt.Sprintf("%T %v", got, got.Bounds()), fmt.Sprintf("%T %v", want, want.Bounds()); g != w {
		t.Fatalf("%s, want %s", g, w)
	}
	a, b := planes(got), planes(want)
	for i := range b {
		for y := range b[i].h {
			if string(a[i].row(y)) != string(b[i].row(y)) {
				t.Fatalf("plane %d, row %d: other samples", i, y)
			}
		}
	}
}
