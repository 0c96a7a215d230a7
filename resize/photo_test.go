package resize

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"math"
	"sync"
	"testing"

	webpenc "github.com/gen2brain/webp"
)

// TestPhotographs resizes every sample to several widths and formats, and compares with a resize of all
// of its pixels in floating point. What a lossy format loses is measured too: the reference, given to the
// encoder as it is, loses as much.
// slow leaves a test out of short runs, such as that of the race detector, which it keeps busy for minutes with the
// arithmetic of codecs that have no goroutines.
func slow(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out of short runs")
	}
}

func TestPhotographs(t *testing.T) {
	slow(t)
	lossy := map[Format]func(c canvas) []byte{
		JPEG: func(c canvas) []byte {
			var b bytes.Buffer
			if err := jpeg.Encode(&b, c.image(), &jpeg.Options{Quality: 90}); err != nil {
				t.Fatal(err)
			}
			return b.Bytes()
		},
		WebP: func(c canvas) []byte {
			var b bytes.Buffer
			if err := webpenc.Encode(&b, c.image(), webpenc.Options{Quality: 90, Method: 4}); err != nil {
				t.Fatal(err)
			}
			return b.Bytes()
		},
	}
	var mu sync.Mutex // guards least
	least := map[Format]float64{}
	t.Run("all", func(t *testing.T) {
		for _, name := range sampleNames(t) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				data := sample(t, name)
				full := toCanvas(independent(t, data))
				for _, width := range []int{60, 200, 333, 500} {
					h := int(math.Round(float64(width) * float64(full.h) / float64(full.w)))
					want := slowResize(full, 0, 0, float64(full.w), float64(full.h), width, h)
					for _, format := range []Format{PNG, JPEG, WebP} {
						if format == WebP && width > 200 && name != "coffee.png" {
							continue // its encoder is slow under the race detector
						}
						t.Run(fmt.Sprintf("%d/%s", width, format), func(t *testing.T) {
							atLeast := 35.0
							if encode := lossy[format]; encode != nil {
								atLeast = min(35, psnr(toCanvas(independent(t, encode(want))), want)-1)
							}
							pic := render(t, Plan{Width: float64(width), Format: format, Quality: 90, Color: Strip}, data)
							d := same(t, toCanvas(independent(t, pic.Bytes)), want, atLeast)
							mu.Lock()
							defer mu.Unlock()
							if v, ok := least[format]; !ok || d < v {
								least[format] = d
							}
						})
					}
				}
			})
		}
	})
	for format, d := range least {
		t.Logf("%s: at least %.2f dB", format, d)
	}
}
