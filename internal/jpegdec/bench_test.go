package jpegdec

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"testing"
)

// photographs are what the benchmarks decode: the module's samples, or the files that
// IMAGECDN_BENCH_JPEG names with a pattern.
func photographs(b *testing.B) map[string][]byte {
	pattern := os.Getenv("IMAGECDN_BENCH_JPEG")
	if pattern == "" {
		pattern = "../samples/photos/*.jpg"
	}
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		b.Skipf("no photographs at %s: %v", pattern, err)
	}
	files := make(map[string][]byte)
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		files[filepath.Base(name)] = data
	}
	return files
}

// BenchmarkDecode has this package beside image/jpeg; internal/bench has jpegn, too. MB/s are of the file.
func BenchmarkDecode(b *testing.B) {
	for name, data := range photographs(b) {
		for _, scale := range []int{1, 2, 4, 8} {
			run := func(decoder string, decode func() error) {
				b.Run(fmt.Sprintf("%s/%d/%s", name, scale, decoder), func(b *testing.B) {
					b.SetBytes(int64(len(data)))
					b.ReportAllocs()
					for b.Loop() {
						if err := decode(); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
			var planes [3][]byte
			next := 0
			options := &Options{Scale: scale, Alloc: func(n int) []byte {
				next++
				p := &planes[next%3]
				if cap(*p) < n {
					*p = make([]byte, n)
				}
				return (*p)[:n]
			}}
			run("jpegdec", func() error {
				_, err := Decode(b.Context(), data, options)
				return err
			})
			if scale == 1 {
				run("std", func() error {
					_, err := jpeg.Decode(bytes.NewReader(data))
					return err
				})
			}
		}
	}
}

// BenchmarkEntropy has the entropy pass alone: of all coefficients, and of those that 1/8 needs.
func BenchmarkEntropy(b *testing.B) {
	for name, data := range photographs(b) {
		for _, scale := range []int{1, 2, 4, 8} {
			b.Run(fmt.Sprintf("%s/%d", name, scale), func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				// A region of one MCU in the last row: all blocks are decoded, and one is shown.
				config, err := jpeg.DecodeConfig(bytes.NewReader(data))
				if err != nil {
					b.Fatal(err)
				}
				x, y := config.Width-1, config.Height-1
				for b.Loop() {
					if _, err := Decode(b.Context(), data, &Options{Scale: scale, Region: image.Rect(x, y, x+1, y+1)}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
