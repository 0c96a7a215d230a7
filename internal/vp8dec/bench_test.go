package vp8dec

import (
	"testing"
)

// BenchmarkDecode decodes by this package and by x/image/vp8, which does not stretch.
func BenchmarkDecode(b *testing.B) {
	for name, frame := range frames(b) {
		w, h, err := Size(frame)
		if err != nil || w*h < 1000 {
			continue
		}
		b.Run(name+"/vp8dec", func(b *testing.B) {
			b.SetBytes(int64(w * h))
			for b.Loop() {
				if _, err := Decode(b.Context(), frame, &Options{FullRange: true}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/ximage", func(b *testing.B) {
			b.SetBytes(int64(w * h))
			for b.Loop() {
				if _, err := oracle(frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
