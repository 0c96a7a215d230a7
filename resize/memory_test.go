package resize

import (
	"image"
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
		{"PNG", encodePixels(t, photo), Plan{Width: 600, Format: JPEG}},
		{"gray PNG", encodePixels(t, gray), Plan{Width: 600, Format: JPEG}},
		{"to PNG", baseline, Plan{Width: 700, Format: PNG}},
		{"padded and turned", baseline, Plan{Width: 700, Height: 500, Fit: Fill, Rotate: 20, Format: JPEG}},
		{"sharpened", baseline, Plan{Width: 700, Format: JPEG, Adjust: Adjust{Sharpen: 20, Saturation: 10}}},
		{"with all that looks around", baseline, Plan{Width: 700, Format: JPEG, Adjust: Adjust{NoiseReduction: 20, NoiseThreshold: 20, Sharpen: 20, Unsharp: 20},
			Stylize: Stylize{Blur: 40}}},
		{"gray and coloured", encodePixels(t, gray), Plan{Width: 700, Format: PNG, Stylize: Stylize{Blur: 500, Sepia: 50}}},
		{"with a mark", baseline, Plan{Width: 700, Format: JPEG, Marks: []Mark{{}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inputs := []Input{{Bytes: tt.data}}
			for range tt.plan.Marks {
				inputs = append(inputs, Input{Bytes: encodePixels(t, image.NewNRGBA(image.Rect(0, 0, 200, 200)))})
			}
			r := &Renderer{}
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
