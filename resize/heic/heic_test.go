package heic

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gen2brain/heic"

	"github.com/imagecdn/imagecdn/resize"
)

// files are those that the codec is tested with.
func files(t testing.TB) []string {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/gen2brain/heic").Output()
	if err != nil {
		t.Skip("no source of the codec here to take pictures from")
	}
	all, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "testdata/*.heic"))
	if err != nil || len(all) == 0 {
		t.Skip("no pictures with the source of the codec")
	}
	return all
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestFiles: each has the size that its header says, and looks like what the codec gives.
func TestFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("left out of short runs")
	}
	for _, file := range files(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data := read(t, file)
			info, err := resize.Probe(data)
			if err != nil || info.Format != resize.HEIC {
				t.Fatalf("%+v, %v", info, err)
			}
			want, err := heic.Decode(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			var r resize.Renderer
			pic, err := r.Render(t.Context(), resize.Plan{Format: resize.PNG}, data)
			if err != nil {
				t.Fatal(err)
			}
			got, err := png.Decode(bytes.NewReader(pic.Bytes))
			if err != nil {
				t.Fatal(err)
			}
			if got.Bounds() != want.Bounds() || got.Bounds() != image.Rect(0, 0, info.Width, info.Height) {
				t.Fatalf("%v, want %v; Probe says %dx%d", got.Bounds(), want.Bounds(), info.Width, info.Height)
			}
			sum, n := 0, 0
			for y := 0; y < info.Height; y += 3 {
				for x := 0; x < info.Width; x += 3 {
					r1, g1, b1, _ := got.At(x, y).RGBA()
					r2, g2, b2, _ := want.At(x, y).RGBA()
					for _, d := range []int{int(r1) - int(r2), int(g1) - int(g2), int(b1) - int(b2)} {
						sum += max(d, -d) >> 8
						n++
					}
				}
			}
			if mean := float64(sum) / float64(n); mean > 3 { // chroma is made larger another way
				t.Errorf("%.2f apart", mean)
			}
		})
	}
}

// TestSizesMustAgree: what lies about its size is refused before the codec runs.
func TestSizesMustAgree(t *testing.T) {
	for _, file := range files(t) {
		data := read(t, file)
		for i := 0; ; i++ { // each size there is
			at := 0
			for range i + 1 {
				k := bytes.Index(data[at:], []byte("ispe"))
				if k < 0 {
					at = -1
					break
				}
				at += k + 4
			}
			if at < 0 {
				break
			}
			for _, size := range []uint32{7, 30000, 1 << 20} {
				lying := bytes.Clone(data)
				binary.BigEndian.PutUint32(lying[at+4:], size)
				if info, err := resize.Probe(lying); !errors.Is(err, resize.ErrDamaged) && !errors.Is(err, resize.ErrTooLarge) {
					t.Errorf("%s, size %d is %d: %+v, %v", filepath.Base(file), i, size, info, err)
				}
			}
		}
	}
}

func TestCutOff(t *testing.T) {
	for _, file := range files(t) {
		data := read(t, file)
		for i := range 40 {
			n := len(data) * i / 40
			var r resize.Renderer
			if _, err := r.Render(t.Context(), resize.Plan{Width: 10, Format: resize.PNG}, data[:n]); !errors.Is(err, resize.ErrDamaged) && !errors.Is(err, resize.ErrUnsupported) {
				t.Errorf("%s cut off at %d of %d: %v", filepath.Base(file), n, len(data), err)
			}
		}
	}
}

func FuzzProbe(f *testing.F) {
	for _, file := range files(f) {
		f.Add(read(f, file)[:2048])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if match(data) {
			probe(data) // nothing to hold it to but that it ends
		}
	})
}
