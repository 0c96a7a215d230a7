package resize

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/golden anew; change Version when a picture changes")

// goldens are pictures that are looked at, one for each step of a plan. They are compared pixel by pixel:
// a change of any is a change of the engine, and needs another Version.
var goldens = []struct {
	name  string
	from  string
	plan  Plan
	marks []string
}{
	{"clip", "rocket.jpg", Plan{Width: 120, Height: 120}, nil},
	{"cover-entropy", "coffee.png", Plan{Width: 90, Height: 90, Fit: Cover, Crop: []Crop{Entropy}}, nil},
	{"cover-focal", "chelsea.png", Plan{Width: 60, Height: 90, Fit: Cover, Crop: []Crop{FocalPoint}, Focal: &Point{0.6, 0.5}}, nil},
	{"clamp", "chelsea.png", Plan{Width: 80, Height: 80, Fit: Clamp}, nil},
	{"fill", "rocket.jpg", Plan{Width: 80, Height: 80, Fit: Fill, Background: &color.NRGBA{200, 60, 0, 255}}, nil},
	{"rect", "astronaut.png", Plan{Width: 80, Rect: &Rect{X: 0.3, Y: 0.05, W: 0.3, H: 0.4}}, nil},
	{"rotate", "rocket.jpg", Plan{Width: 120, Height: 80, Fit: Cover, Rotate: 12}, nil},
	{"orient-flip", "chelsea.png", Plan{Width: 80, Orient: 6, Flip: Vertical}, nil},
	{"mark", "coffee.png", Plan{Width: 120, Marks: []Mark{{Width: 0.4, Alpha: 70}}}, []string{"soft"}},
	{"alpha", "soft", Plan{Width: 40}, nil},
	{"enlarge", "chelsea.png", Plan{Width: 120, Rect: &Rect{X: 120, Y: 70, W: 40, H: 30}}, nil},
	{"adjust-enhance", "rocket.jpg", Plan{Width: 90, Adjust: Adjust{Enhance: true}}, nil},
	{"adjust-noise", "hubble_deep_field.jpg", Plan{Width: 90, Adjust: Adjust{NoiseReduction: 40, NoiseThreshold: 30}}, nil},
	{"adjust-tones", "coffee.png", Plan{Width: 90, Adjust: Adjust{Exposure: 20, Brightness: 5, Contrast: 15, Gamma: 20, Highlights: -60, Shadows: 50}}, nil},
	{"adjust-colours", "chelsea.png", Plan{Width: 90, Adjust: Adjust{Hue: 40, Saturation: 20, Vibrance: 50, Invert: true}}, nil},
	{"adjust-sharpen", "chelsea.png", Plan{Width: 90, DPR: 2, Adjust: Adjust{Sharpen: 40, Unsharp: 50, UnsharpRadius: 4}}, nil},
	{"stylize-blur", "astronaut.png", Plan{Width: 90, Stylize: Stylize{Blur: 100}}, nil},
	{"stylize-blur-alpha", "soft", Plan{Width: 60, Stylize: Stylize{Blur: 40}}, nil},
	{"stylize-pixelate", "astronaut.png", Plan{Width: 90, Stylize: Stylize{Pixelate: 8, Sepia: 80}}, nil},
	{"stylize-halftone", "astronaut.png", Plan{Width: 90, Stylize: Stylize{Halftone: 5, Duotone: &Duotone{Dark: color.NRGBA{0, 0, 128, 255}, Light: color.NRGBA{255, 240, 192, 255}, Alpha: 80}}}, nil},
	{"stylize-monochrome", "coffee.png", Plan{Width: 90, Stylize: Stylize{Monochrome: &color.NRGBA{255, 34, 102, 200}}}, nil},
	{"trim", "soft", Plan{Width: 60, Trim: &Trim{By: TrimAlpha, Alpha: 60, Pad: 4}}, nil},
	{"pad-border", "chelsea.png", Plan{Width: 90, DPR: 1.5, Pad: Insets{4, 8, 12, 16}, Border: &Border{Width: Insets{6, 6, 10, 6}, Color: color.NRGBA{200, 60, 0, 255}, Radius: Corners{20, 10, 0, 30}, Stroke: 1}}, nil},
	{"mask-corners", "coffee.png", Plan{Width: 80, Height: 60, Fit: Cover, Mask: &Mask{Shape: CornersMask}}, nil},
	{"mask-ellipse", "coffee.png", Plan{Width: 80, Height: 60, Fit: Cover, Mask: &Mask{Background: &color.NRGBA{0, 80, 160, 200}}}, nil},
	{"mask-picture", "coffee.png", Plan{Width: 80, Height: 60, Fit: Cover, Mask: &Mask{Shape: PictureMask}}, []string{"soft"}},
	{"gradient-linear", "rocket.jpg", Plan{Width: 60, Height: 90, Fit: Fill, Fill: &Padding{Y: Far, Gradient: &Gradient{From: color.NRGBA{255, 0, 0, 255}, To: color.NRGBA{0, 0, 255, 255}, Space: GradientOklab}}}, nil},
	{"gradient-radial", "soft", Plan{Width: 80, Height: 60, Fit: Fill, Fill: &Padding{Gradient: &Gradient{Radial: true, From: color.NRGBA{255, 220, 0, 255}, To: color.NRGBA{0, 60, 120, 100}, Space: GradientLCH}}}, nil},
	{"fill-blur", "rocket.jpg", Plan{Width: 60, Height: 90, Fit: Fill, Fill: &Padding{Blur: 80}}, nil},
	{"grid", "soft", Plan{Width: 60, Grid: &Grid{Size: 6}}, nil},
	{"pivot", "chelsea.png", Plan{Width: 80, Rotate: 25, Pivot: true, Background: &color.NRGBA{30, 30, 60, 255}}, nil},
	{"blend-multiply", "astronaut.png", Plan{Width: 80, Blend: &Blend{Mode: Multiply, Color: &color.NRGBA{255, 140, 0, 255}, Alpha: 80}}, nil},
	{"blend-overlay", "astronaut.png", Plan{Width: 80, Height: 60, Fit: Cover, Blend: &Blend{Inherit: true}}, []string{"coffee.png"}},
	{"blend-luminosity", "coffee.png", Plan{Width: 80, Height: 60, Fit: Cover, Blend: &Blend{Mode: Luminosity, Width: 0.6}}, []string{"soft"}},
	{"mark-tiled", "coffee.png", Plan{Width: 120, Marks: []Mark{{Tile: true, Scale: 15, Rotate: 30, Alpha: 60}}}, []string{"soft"}},
	{"crosshairs", "chelsea.png", Plan{Width: 80, Height: 60, Fit: Cover, Crop: []Crop{FocalPoint}, Focal: &Point{0.6, 0.4}, Zoom: 1.5, Crosshairs: true, Rotate: 10}, nil},
	{"cover-edges", "coffee.png", Plan{Width: 60, Height: 90, Fit: Cover, Crop: []Crop{Edges}}, nil},
}

// goldenVersion is the Version that testdata/golden was written by.
const goldenVersion = "testdata/golden/VERSION"

func TestGolden(t *testing.T) {
	input := func(name string) []byte {
		if name == "soft" {
			return encodePixels(t, soft(120, 120))
		}
		return sample(t, name)
	}
	sum := sha256.New()
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			inputs := [][]byte{input(g.from)}
			for _, m := range g.marks {
				inputs = append(inputs, input(m))
			}
			got := pixels(t, g.plan, inputs...)
			sum.Write(toNRGBA(got).Pix)
			file := filepath.Join("testdata", "golden", g.name+".png")
			if *update {
				writeFile(t, file, encodePixels(t, got))
				return
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := independent(t, b)
			if runtime.GOARCH != "amd64" {
				same(t, toCanvas(got), toCanvas(want), 50) // the JPEG decoder has other code there
			} else if !bytes.Equal(toNRGBA(got).Pix, toNRGBA(want).Pix) {
				same(t, toCanvas(got), toCanvas(want), 200)
				t.Error("the engine makes another picture: look at it, run with -update, and change Version")
			}
		})
	}

	if runtime.GOARCH != "amd64" {
		t.Skip("the sum of all pictures is that of amd64")
	}
	// The lossy encoder that is this module's own is held to its bytes.
	sum.Write(render(t, Plan{Width: 64, Format: JPEG}, sample(t, "rocket.jpg")).Bytes)
	sum.Write(render(t, Plan{Width: 64, Format: GIF}, sample(t, "coffee.png")).Bytes)
	stamp := fmt.Sprintf("%s %s\n", Version, hex.EncodeToString(sum.Sum(nil)))
	was, err := os.ReadFile(goldenVersion)
	if *update {
		version, digest, _ := bytes.Cut(was, []byte(" "))
		if err == nil && string(version) == Version && string(digest) != stamp[len(Version)+1:] {
			t.Errorf("pictures changed but Version is still %s: keys of old pictures would hold new ones", Version)
			return
		}
		writeFile(t, goldenVersion, []byte(stamp))
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if string(was) != stamp {
		t.Errorf("testdata is of version %sthis engine is %s", was, stamp)
	}
}

func writeFile(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o666); err != nil {
		t.Fatal(err)
	}
}
