package resize

import (
	"bytes"
	"image"
	"image/jpeg"
	"testing"

	"github.com/imagecdn/imagecdn/internal/jpegenc"
)

// A JPEG comes out with chroma halved both ways at every size, also at those that it is decoded at.
func TestChromaIsHalvedAtEverySize(t *testing.T) {
	m := image.NewYCbCr(image.Rect(0, 0, 160, 120), image.YCbCrSubsampleRatio444)
	for i := range m.Y {
		m.Y[i], m.Cb[i], m.Cr[i] = uint8(i), uint8(i/3), uint8(i/7)
	}
	original, err := jpegenc.Append(t.Context(), nil, m, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []float64{160, 159, 80, 79, 40, 20, 200} {
		got, err := jpeg.Decode(bytes.NewReader(render(t, Plan{Width: w}, original).Bytes))
		if err != nil {
			t.Fatal(err)
		}
		if ratio := got.(*image.YCbCr).SubsampleRatio; ratio != image.YCbCrSubsampleRatio420 {
			t.Errorf("at %v pixels chroma is %v", w, ratio)
		}
	}
}
