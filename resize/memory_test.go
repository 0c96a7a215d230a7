package resize

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/imagecdn/imagecdn/internal/jpegenc"
)

// TestEstimates: what a render allocates, garbage included, is no more than its estimate says and not far less, for pictures
// that are large enough to matter.
func TestEstimates(t *testing.T) {
	photo := standard(independent(t, sample(t, "retina.jpg")))
	progressive, err := jpegenc.Append(t.Context(), nil, photo, &jpegenc.Options{Progressive: true})
	if err != nil {
		t.Fatal(err)
	}
	baseline, err := jpegenc.Append(t.Context(), nil, photo, nil)
	if err != nil {
		t.Fatal(err)
	}
	gray := gray8(photo)
	lossless := encodePixels(t, photo)
	for _, tt := range []struct {
		name string
		data []byte
		plan Plan
	}{
		{"JPEG whole", baseline, Plan{Format: JPEG}},
		{"JPEG", baseline, Plan{Width: 600, Format: JPEG}},
		{"JPEG small", baseline, Plan{Width: 100, Format: JPEG}},
		{"part of a JPEG", baseline, Plan{Width: 300, Format: JPEG, Rect: &Rect{X: 300, Y: 300, W: 300, H: 300}}},
		{"progressive whole", progressive, Plan{Width: 1300, Format: JPEG}},
		{"progressive", progressive, Plan{Width: 300, Format: JPEG}},
		{"PNG", lossless, Plan{Width: 600, Format: JPEG}},
		{"gray PNG", encodePixels(t, gray), Plan{Width: 600, Format: JPEG}},
		{"to PNG", baseline, Plan{Width: 700, Format: PNG}},
		{"padded and turned", baseline, Plan{Width: 700, Height: 500, Fit: Fill, Rotate: 20, Format: JPEG}},
		{"sharpened", baseline, Plan{Width: 700, Format: JPEG, Adjust: Adjust{Sharpen: 20, Saturation: 10}}},
		{"with all that looks around", baseline, Plan{Width: 700, Format: JPEG, Adjust: Adjust{NoiseReduction: 20, NoiseThreshold: 20, Sharpen: 20, Unsharp: 20},
			Stylize: Stylize{Blur: 40}}},
		{"gray and coloured", encodePixels(t, gray), Plan{Width: 700, Format: PNG, Stylize: Stylize{Blur: 500, Sepia: 50}}},
		{"with a mark", baseline, Plan{Width: 700, Format: JPEG, Marks: []Mark{{}}}},
		{"with a tiled mark that is turned", baseline, Plan{Width: 700, Format: JPEG, Marks: []Mark{{Width: 0.7, Rotate: 30, Tile: true}}}},
		{"with three marks and a text", baseline, Plan{Width: 700, Format: JPEG, Marks: []Mark{{Width: 1, Height: 1, Fit: Scale}, {Width: 1, Height: 1, Fit: Cover}, {Text: &Text{Text: "a mark", Size: 200}}}, Text: &Text{Text: "a text", Size: 300}}},
		{"with a blend", baseline, Plan{Width: 700, Format: JPEG, Blend: &Blend{Inherit: true, Fit: Scale}}},
		{"with a blend larger than it is", baseline, Plan{Width: 300, Format: JPEG, Blend: &Blend{Width: 1500, Height: 1500, Fit: Cover}}},
		{"with a picture as a mask", baseline, Plan{Width: 700, Format: PNG, Mask: &Mask{Shape: PictureMask}}},
		{"masked, framed and padded", baseline, Plan{Width: 700, Format: PNG, Mask: &Mask{}, Border: &Border{Width: Insets{9, 9, 9, 9}, Radius: Corners{9, 9, 9, 9}}, Pad: Insets{50, 50, 50, 50}}},
		{"blurred around", baseline, Plan{Width: 900, Height: 700, Fit: Fill, Format: JPEG, Fill: &Padding{Blur: 300}}},
		{"trimmed", baseline, Plan{Width: 300, Format: JPEG, Trim: &Trim{}}},
		{"trimmed PNG", lossless, Plan{Width: 300, Format: JPEG, Trim: &Trim{By: TrimAlpha}}},
		{"cut to faces", baseline, Plan{Width: 300, Height: 300, Format: JPEG, Fit: Cover, Crop: []Crop{Faces}}},
		{"zoomed to faces", progressive, Plan{Width: 700, Height: 700, Format: JPEG, Fit: FaceArea}},
		{"with faces hidden", baseline, Plan{Width: 900, Format: JPEG, FaceBlur: 100, FacePixelate: 10}},
		{"pivoted", baseline, Plan{Width: 700, Format: PNG, Rotate: 30, Pivot: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inputs := []Input{{Bytes: tt.data}}
			for range tt.plan.Inputs() - 1 {
				inputs = append(inputs, Input{Bytes: encodePixels(t, image.NewNRGBA(image.Rect(0, 0, 200, 200)))})
			}
			r := &Renderer{Faces: boxFaces{}, Text: boxText{}}
			j, err := r.prepare(tt.plan, inputs)
			if err != nil {
				t.Fatal(err)
			}
			said := j.renderBytes()
			for i := range j.inputs {
				said += r.decodeBytes(&j.inputs[i], j.needOf(i))
			}
			// Without what pools have kept, and without the collector between.
			runtime.GC()
			runtime.GC()
			defer debug.SetGCPercent(debug.SetGCPercent(-1))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, err := r.RenderInputs(t.Context(), tt.plan, inputs); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			took := int64(after.TotalAlloc - before.TotalAlloc)
			t.Logf("said %d KB, took %d KB: %.2f", said>>10, took>>10, float64(said)/float64(took))
			if took > said || said > 8*took+4<<20 {
				t.Errorf("the estimate is %d bytes, and %d were taken", said, took)
			}
		})
	}
}

// TestAsksForWhatTrimMakesLarger: a picture that is larger than its header lets expect, as little of its width is left, is asked for
// again, and all leave is given back.
func TestAsksForWhatTrimMakesLarger(t *testing.T) {
	m := encodePixels(t, framed(400, 400, color.NRGBA{10, 20, 30, 255}, 180, 0, 180, 0)) // 40 by 400 are left
	var asked []int64
	held := 0
	r := Renderer{Admit: func(_ context.Context, bytes int64, begun bool) (func(), error) {
		if begun != (len(asked) > 0) || held != 0 {
			t.Errorf("leave %d: begun is %v, and %d are held", len(asked)+1, begun, held)
		}
		asked = append(asked, bytes)
		held++
		return func() { held-- }, nil
	}}
	pic, err := r.Render(t.Context(), Plan{Width: 200, Trim: &Trim{By: TrimColor}}, m)
	if err != nil || pic.Height != 2000 {
		t.Fatal(pic, err)
	}
	if len(asked) != 2 || asked[1] < 16*200*2000 || held != 0 {
		t.Errorf("asked for %v, %d are held", asked, held)
	}
	asked = nil
	if _, err := r.Render(t.Context(), Plan{Width: 20, Height: 20, Fit: Cover, Trim: &Trim{By: TrimColor}}, m); err != nil || len(asked) != 1 {
		t.Errorf("of one size whatever is cut: asked for %v, %v", asked, err)
	}
}

// TestMaxMemory: a render whose estimate is above what one may take is refused before anything is decoded, with a line that says what it would take; one
// that has as much is made.
func TestMaxMemory(t *testing.T) {
	deep := image.NewNRGBA64(image.Rect(0, 0, 2000, 1000))
	for i := range deep.Pix {
		deep.Pix[i] = uint8(i * i >> 7)
	}
	photo := sample(t, "retina.jpg")
	for _, tt := range []struct {
		name string
		data []byte
		plan Plan
	}{
		{"16 bits a channel", encodePixels(t, deep), Plan{Width: 100}},
		{"a blur of all of it", photo, Plan{Format: JPEG, Stylize: Stylize{Blur: 400}}},
		{"a large result", sample(t, "rocket.jpg"), Plan{Width: 4000, Format: PNG}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := int64(0)
			r := Renderer{Admit: func(_ context.Context, bytes int64, _ bool) (func(), error) {
				asked = bytes
				return func() {}, nil
			}}
			if _, err := r.Render(t.Context(), tt.plan, tt.data); err != nil {
				t.Fatal(err)
			}
			most := asked
			for _, shared := range []*Pyramids{nil, NewPyramids(nil)} {
				r.Pyramids, r.MaxMemory, asked = shared, most-1, 0
				inputs := []Input{{ID: "original", Bytes: tt.data}}
				_, err := r.RenderInputs(t.Context(), tt.plan, inputs)
				want := fmt.Sprintf("image too large: making the picture would take about %d MiB of memory, of at most %d MiB", most>>20+1, (most-1)>>20)
				if !errors.Is(err, ErrTooLarge) || err.Error() != want || asked != 0 || shared != nil && shared.Decodes() != 0 {
					t.Errorf("with a byte too few: %v, want %s, and %d were asked for", err, want, asked)
				}
				r.MaxMemory = most
				if _, err := r.RenderInputs(t.Context(), tt.plan, inputs); err != nil {
					t.Errorf("with as much as it takes: %v", err)
				}
			}
		})
	}
}

// TestMaxMemoryOfWhatTrimMakesLarger: what turns out to be larger after it was trimmed is refused then.
func TestMaxMemoryOfWhatTrimMakesLarger(t *testing.T) {
	m := encodePixels(t, framed(400, 400, color.NRGBA{10, 20, 30, 255}, 180, 0, 180, 0)) // 40 by 400 are left
	held := 0
	r := Renderer{MaxMemory: 16 << 20, Admit: func(_ context.Context, bytes int64, _ bool) (func(), error) {
		held++
		return func() { held-- }, nil
	}}
	if _, err := r.Render(t.Context(), Plan{Width: 400, Trim: &Trim{By: TrimColor}}, m); !errors.Is(err, ErrTooLarge) || held != 0 {
		t.Errorf("%v, and %d are held", err, held)
	}
	if _, err := r.Render(t.Context(), Plan{Width: 400}, m); err != nil {
		t.Error(err)
	}
}
