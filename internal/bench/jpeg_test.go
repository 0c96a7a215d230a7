package bench

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"os"
	"path/filepath"
	"testing"

	"github.com/gen2brain/jpegn"

	"github.com/imagecdn/imagecdn/internal/jpegdec"
)

// BenchmarkJPEG decodes photographs: the module's samples, or the files that IMAGECDN_BENCH_JPEG names with a
// pattern. Rounds alternate between the decoders with -count. MB/s are of the file.
func BenchmarkJPEG(b *testing.B) {
	pattern := os.Getenv("IMAGECDN_BENCH_JPEG")
	if pattern == "" {
		pattern = "../samples/photos/*.jpg"
	}
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		b.Skipf("no photographs at %s: %v", pattern, err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		for _, scale := range []int{1, 2, 4, 8} {
			for _, decoder := range []struct {
				name   string
				scales int
				decode func() error
			}{
				{"jpegdec", 8, func() error {
					_, err := jpegdec.Decode(b.Context(), data, &jpegdec.Options{Scale: scale})
					return err
				}},
				{"jpegn", 8, func() error {
					_, err := jpegn.Decode(bytes.NewReader(data), &jpegn.Options{ScaleDenom: scale})
					return err
				}},
				{"std", 1, func() error {
					_, err := jpeg.Decode(bytes.NewReader(data))
					return err
				}},
			} {
				if scale > decoder.scales {
					continue
				}
				b.Run(fmt.Sprintf("file=%s/scale=%d/decoder=%s", filepath.Base(name), scale, decoder.name), func(b *testing.B) {
					b.SetBytes(int64(len(data)))
					b.ReportAllocs()
					for b.Loop() {
						if err := decoder.decode(); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}
