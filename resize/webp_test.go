package resize

import (
	"bytes"
	"fmt"
	"image"
	"math/rand/v2"
	"testing"

	webpenc "github.com/gen2brain/webp"
	"github.com/imagecdn/imagecdn/internal/vp8dec"
	webpdec "golang.org/x/image/webp"
)

// stretched gives what x/image/webp decodes as its luma and chroma are meant: those of television (ITU-R BT.601).
func stretched(m *image.YCbCr) *image.YCbCr {
	c := image.NewYCbCr(m.Rect, m.SubsampleRatio)
	chroma := func(v uint8) uint8 {
		away := 255 * (int(v) - 128) * 2 // the nearest, half away from zero
		if away < 0 {
			away -= 224
		} else {
			away += 224
		}
		return uint8(min(max(away/(2*224)+128, 0), 255))
	}
	for y := range m.Rect.Dy() {
		for x := range m.Rect.Dx() {
			c.Y[c.YOffset(x, y)] = uint8(min(max((255*(int(m.Y[m.YOffset(x, y)])-16)*2+219)/(2*219), 0), 255))
			c.Cb[c.COffset(x, y)] = chroma(m.Cb[m.COffset(x, y)])
			c.Cr[c.COffset(x, y)] = chroma(m.Cr[m.COffset(x, y)])
		}
	}
	return c
}

// samePicture compares by colours and alpha.
func samePicture(a, b image.Image) error {
	if a.Bounds() != b.Bounds() {
		return fmt.Errorf("%v, want %v", a.Bounds(), b.Bounds())
	}
	r := a.Bounds()
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if a.At(x, y) != b.At(x, y) {
				return fmt.Errorf("%v at %d,%d, want %v", a.At(x, y), x, y, b.At(x, y))
			}
		}
	}
	return nil
}

// viaXImage decodes by x/image/webp, with the samples stretched.
func viaXImage(data []byte) (image.Image, error) {
	m, err := webpdec.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	switch m := m.(type) {
	case *image.YCbCr:
		return stretched(m), nil
	case *image.NYCbCrA:
		px, _ := rgb(stretched(&m.YCbCr))
		for y := range m.Rect.Dy() {
			for x := range m.Rect.Dx() {
				px.Pix[y*px.Stride+4*x+3] = m.A[y*m.AStride+x]
			}
		}
		return px, nil
	}
	return m, nil
}

// lossyFile makes a WebP with loss of w by h, as the chunk of its frame and as a file.
func lossyFile(t *testing.T, w, h int) (frame, file []byte) {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range m.Pix { // a gradient with noise
		x, y := i/4%w, i/4/w
		m.Pix[i] = uint8((x*(i%4+1)*3 + y*5 + i*i*7%23) % 256)
		if i%4 == 3 {
			m.Pix[i] = 255
		}
	}
	var b bytes.Buffer
	if err := webpenc.Encode(&b, m, webpenc.Options{Quality: 60, Method: 2}); err != nil {
		t.Fatal(err)
	}
	riff(b.Bytes()[12:], func(kind string, chunk []byte) bool {
		if kind == "VP8 " {
			frame = chunk
		}
		return true
	})
	if w2, h2, err := vp8dec.Size(frame); err != nil || w2 != w || h2 != h {
		t.Fatal(w2, h2, err)
	}
	return frame, b.Bytes()
}

// webpFile puts chunks of kind, content, kind, content together.
func webpFile(chunks ...string) []byte {
	b := []byte("RIFF\x00\x00\x00\x00WEBP")
	for i := 0; i < len(chunks); i += 2 {
		b = appendChunk(b, chunks[i], []byte(chunks[i+1]))
	}
	n := len(b) - 8
	b[4], b[5], b[6], b[7] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
	return b
}

// TestLossyWebP: the container is taken apart as by x/image/webp, to the same pixels or to an error as there.
func TestLossyWebP(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9649, 1))
	const w, h = 33, 21
	frame, file := lossyFile(t, w, h)
	f := string(frame)
	noise := make([]byte, w*h)
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	vp8x := func(flags byte, w, h int) string {
		return string(appendU24(appendU24([]byte{flags, 0, 0, 0}, w-1), h-1))
	}
	// Transparency without loss, as a VP8L picture without its header.
	mask := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range noise {
		copy(mask.Pix[4*i:], []byte{0, noise[i] / 64 * 80, 0, 255})
	}
	var lossless bytes.Buffer
	if err := webpenc.Encode(&lossless, mask, webpenc.Options{Lossless: true, Exact: true, Quality: 50}); err != nil {
		t.Fatal(err)
	}
	var green string
	riff(lossless.Bytes()[12:], func(kind string, chunk []byte) bool {
		if kind == "VP8L" {
			green = string(chunk[5:])
		}
		return true
	})
	raw := string(noise)
	for _, tt := range []struct {
		name string
		data []byte
		ok   bool
	}{
		{"as encoded", file, true},
		{"a frame alone", webpFile("VP8 ", f), true},
		{"other chunks before it", webpFile("EXIF", "abc", "ICCP", "", "VP8 ", f), true},
		{"other chunks after it", webpFile("VP8 ", f, "XMP ", "a"), true},
		{"extended", webpFile("VP8X", vp8x(0, w, h), "VP8 ", f), true},
		{"extended by another size", webpFile("VP8X", vp8x(0, w+1, h), "VP8 ", f), false},
		{"extended twice", webpFile("VP8X", vp8x(0, w, h), "VP8X", vp8x(0, w, h), "VP8 ", f), false},
		{"extended too little", webpFile("VP8X", vp8x(0, w, h)[:9], "VP8 ", f), false},
		{"transparency", webpFile("VP8X", vp8x(vp8xAlpha, w, h), "ALPH", "\x00"+raw, "VP8 ", f), true},
		{"transparency predicted from the left", webpFile("VP8X", vp8x(vp8xAlpha, w, h), "ALPH", "\x04"+raw, "VP8 ", f), true},
		{"transparency predicted from above", webpFile("VP8X", vp8x(vp8xAlpha, w, h), "ALPH", "\x08"+raw, "VP8 ", f), true},
		{"transparency predicted by gradient", webpFile("VP8X", vp8x(vp8xAlpha, w, h), "ALPH", "\x0c"+raw, "VP8 ", f), true},
		{"transparency with bytes after it", webpFile("VP8X", vp8x(vp8xAlpha, w, h), "ALPH", "\x00"+raw+"xy", "VP8 ", f), true},
		{"transparency without loss", webpFile("VP8X", vp8x(vp8xAlpha, w, h), "ALPH", "\x01"+green, "VP8 ", f), true},
		{"transparency without loss, by gradient", webpFile("VP8X", vp8x(vp8xAlpha, w, h), "ALPH", "\x0d"+green, "VP8 ", f), true},
		{"transparency of an unknown kind", webpFile("VP8X", vp8x(vp8xAlpha, w, h), "ALPH", "\x02"+raw, "VP8 ", f), false},
		{"transparency cut off", webpFile("VP8X", vp8x(vp8xAlpha, w, h), "ALPH", "\x00"+raw[1:], "VP8 ", f), false},
		{"transparency of no bytes", webpFile("VP8X", vp8x(vp8xAlpha, w, h), "ALPH", "", "VP8 ", f), false},
		{"transparency without loss, cut off", webpFile("VP8X", vp8x(vp8xAlpha, w, h), "ALPH", "\x01"+green[:9], "VP8 ", f), false},
		{"transparency that nobody announced", webpFile("VP8X", vp8x(0, w, h), "ALPH", "\x00"+raw, "VP8 ", f), false},
		{"transparency announced and not there", webpFile("VP8X", vp8x(vp8xAlpha, w, h), "VP8 ", f), false},
		{"without loss", lossless.Bytes(), true},
		{"no picture", webpFile("EXIF", "abcd"), false},
		{"a size of nothing", append([]byte("RIFF\x00\x00\x00\x00"), file[8:]...), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want, wantErr := viaXImage(tt.data)
			got, err := decodeStillWebP(t.Context(), tt.data, DecodeOptions{Denom: 1})
			if (err == nil) != (wantErr == nil) || (err == nil) != tt.ok {
				t.Fatalf("%v, x/image says %v", err, wantErr)
			}
			if err != nil {
				return
			}
			if err := samePicture(got, want); err != nil {
				t.Error(err)
			}
		})
	}
	for n := range file {
		_, wantErr := viaXImage(file[:n:n])
		if n < 16 {
			continue // which Match refuses
		}
		if _, err := decodeStillWebP(t.Context(), file[:n:n], DecodeOptions{}); (err == nil) != (wantErr == nil) {
			t.Fatalf("%d bytes of %d: %v, x/image says %v", n, len(file), err, wantErr)
		}
	}
}

// TestLossyWebPRegion: a crop of a lossy WebP decodes a part, and shows what a crop of the whole shows.
func TestLossyWebPRegion(t *testing.T) {
	_, file := lossyFile(t, 200, 150)
	m, err := decodeWebP(t.Context(), file, DecodeOptions{Denom: 1, Region: image.Rect(51, 33, 100, 70)})
	if err != nil {
		t.Fatal(err)
	}
	whole, err := viaXImage(file)
	if err != nil {
		t.Fatal(err)
	}
	want := whole.(*image.YCbCr).SubImage(image.Rect(50, 32, 100, 70))
	if err := samePicture(m, want); err != nil {
		t.Error(err)
	}
}
