package vp8dec

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/image/vp8"
)

// frameOf gives the VP8 chunk of a WebP file, or nil.
func frameOf(file []byte) []byte {
	for b := file[12:]; len(b) >= 8; {
		n := int(binary.LittleEndian.Uint32(b[4:]))
		if string(b[:4]) == "VP8 " {
			return b[8:][:n]
		}
		b = b[min(8+n+n&1, len(b)):]
	}
	return nil
}

// frames gives the frames of testdata: of cwebp's qualities, filters, segments and sizes.
func frames(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*.webp")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata: ", err)
	}
	return read(t, files)
}

func read(t testing.TB, files []string) map[string][]byte {
	all := make(map[string][]byte)
	for _, name := range files {
		file, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if frame := frameOf(file); frame != nil {
			all[filepath.Base(name)] = frame
		}
	}
	return all
}

// oracle decodes by x/image/vp8.
func oracle(frame []byte) (*image.YCbCr, error) {
	d := vp8.NewDecoder()
	d.Init(bytes.NewReader(frame), len(frame))
	if _, err := d.DecodeFrameHeader(); err != nil {
		return nil, err
	}
	return d.DecodeFrame()
}

// dirty is memory that was used before.
func dirty(n int) []byte { return bytes.Repeat([]byte{0xa5}, n) }

// differs says whether got is another picture than the part of want that it covers.
func differs(got, want *image.YCbCr) error {
	r := got.Rect
	if !r.In(want.Rect) || got.SubsampleRatio != want.SubsampleRatio {
		return fmt.Errorf("%v %v of a picture of %v %v", r, got.SubsampleRatio, want.Rect, want.SubsampleRatio)
	}
	for y := r.Min.Y; y < r.Max.Y; y++ {
		a, b := got.Y[got.YOffset(r.Min.X, y):][:r.Dx()], want.Y[want.YOffset(r.Min.X, y):][:r.Dx()]
		if !bytes.Equal(a, b) {
			return fmt.Errorf("luma of row %d of %v:\n%v\n%v", y, r, a, b)
		}
		n := (r.Dx() + 1) / 2
		i, j := got.COffset(r.Min.X, y), want.COffset(r.Min.X, y)
		if !bytes.Equal(got.Cb[i:][:n], want.Cb[j:][:n]) || !bytes.Equal(got.Cr[i:][:n], want.Cr[j:][:n]) {
			return fmt.Errorf("chroma of row %d of %v", y, r)
		}
	}
	return nil
}

// wraps reports whether the strength of the filter that a header asks for is one that x/image/vp8 adds up otherwise than the
// standard, which is one of the differences that the package comment lists.
func (d *decoder) wraps() bool {
	for i := range d.filterLevel {
		for split, level := range d.filterLevel[i] {
			l := int8(d.frameLevel)
			if d.segmented {
				l = int8(d.level[i])
				if d.relative {
					l += int8(d.frameLevel)
				}
			}
			if d.deltas {
				l += int8(d.intraDelta)
				l += int8(split * d.splitDelta)
			}
			if int(min(max(l, 0), 63)) != level && d.frameLevel != 0 {
				return true
			}
		}
	}
	return false
}

// beyond reports whether a partition begins with a number that is not below the range, another of the differences.
func (d *decoder) beyond() bool {
	for _, r := range append(d.parts[:], d.first) {
		if len(r.data) > 0 && r.data[0] == 255 {
			return true
		}
	}
	return false
}

// same decodes a frame both ways and fails where they differ. It says whether there was a picture.
func same(t testing.TB, frame []byte) bool {
	t.Helper()
	want, wantErr := oracle(frame)
	d := new(decoder)
	got, err := d.decode(t.Context(), frame, &Options{Alloc: dirty})
	if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrUnsupported) {
		t.Fatalf("an error of no kind: %v", err)
	}
	if w, h, sizeErr := Size(frame); sizeErr == nil && err == nil && got.Rect != image.Rect(0, 0, w, h) {
		t.Fatalf("%v, and Size says %dx%d", got.Rect, w, h)
	}
	if wantErr == nil && want.Rect.Empty() && err != nil {
		return false // a picture of no pixels
	}
	if d.beyond() {
		return err == nil
	}
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%v, and x/image/vp8 says %v", err, wantErr)
	}
	if err != nil {
		return false
	}
	if d.wraps() {
		return true
	}
	if err := differs(got, want); err != nil {
		t.Fatal(err)
	}
	return true
}

// TestAgainstXImage: the samples of x/image/vp8.
func TestAgainstXImage(t *testing.T) {
	all := frames(t)
	if dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/image").Output(); err != nil {
		t.Log("the files of x/image are not there: ", err)
	} else {
		files, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "testdata/*lossy*.webp"))
		for name, frame := range read(t, files) {
			all[name] = frame
		}
	}
	for name, frame := range all {
		t.Run(name, func(t *testing.T) {
			if !same(t, frame) {
				t.Error("refused")
			}
		})
	}
}

// randomFrame makes a frame of w by h whose partitions are noise, which is a picture as long as it lasts. The bits of the
// header before the probabilities are noise as well.
func randomFrame(rnd *rand.Rand, w, h int) []byte {
	blocks := ((w + 15) / 16) * ((h + 15) / 16)
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = uint8(rnd.Uint32())
		}
		return b
	}
	first := noise(400 + 40*blocks)
	data := []byte{uint8(len(first)<<5) | 1<<4, uint8(len(first) >> 3), uint8(len(first) >> 11), 0x9d, 0x01, 0x2a}
	data = binary.LittleEndian.AppendUint16(data, uint16(w))
	data = binary.LittleEndian.AppendUint16(data, uint16(h))
	data = append(data, first...)
	sizes := make([]byte, 3*7)
	for i := range 7 {
		sizes[3*i+1] = uint8(rnd.IntN(60)) // in units of 256 bytes
	}
	return append(append(data, sizes...), noise(256*60*8+900*blocks)...)
}

// TestNoise: all modes, tokens, strengths and numbers of partitions come up, and coefficients that no encoder would write.
func TestNoise(t *testing.T) {
	rnd := rand.New(rand.NewPCG(6386, 1))
	pictures := 0
	for range 400 {
		frame := randomFrame(rnd, 1+rnd.IntN(70), 1+rnd.IntN(70))
		if same(t, frame) {
			pictures++
		}
	}
	if pictures < 100 {
		t.Errorf("%d pictures of 400", pictures)
	}
}

// TestTruncated: a frame is refused wherever it ends, where x/image/vp8 refuses it.
func TestTruncated(t *testing.T) {
	for name, frame := range frames(t) {
		if len(frame) > 2500 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			for n := range frame {
				same(t, frame[:n:n])
			}
		})
	}
}

// TestChangedBytes: damage leads to the same samples or the same refusal.
func TestChangedBytes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(6386, 2))
	for name, frame := range frames(t) {
		t.Run(name, func(t *testing.T) {
			for range 60 {
				broken := bytes.Clone(frame)
				for range 1 + rnd.IntN(3) {
					i := rnd.IntN(len(broken))
					if i >= 6 && i < 10 {
						continue // the size
					}
					broken[i] = uint8(rnd.Uint32())
				}
				same(t, broken)
			}
		})
	}
}

// TestRegion: parts are parts of the whole, and begin at even places.
func TestRegion(t *testing.T) {
	rnd := rand.New(rand.NewPCG(6386, 3))
	for name, frame := range frames(t) {
		t.Run(name, func(t *testing.T) {
			for _, full := range []bool{false, true} {
				want, err := Decode(t.Context(), frame, &Options{FullRange: full})
				if err != nil {
					t.Fatal(err)
				}
				for range 40 {
					x, y := rnd.IntN(want.Rect.Dx()), rnd.IntN(want.Rect.Dy())
					r := image.Rect(x, y, x+1+rnd.IntN(want.Rect.Dx()), y+1+rnd.IntN(want.Rect.Dy()))
					got, err := Decode(t.Context(), frame, &Options{FullRange: full, Region: r, Alloc: dirty})
					if err != nil {
						t.Fatal(err)
					}
					r = r.Intersect(want.Rect)
					if !r.In(got.Rect) || got.Rect.Min.X&1 != 0 || got.Rect.Min.Y&1 != 0 || got.Rect.Dx() > r.Dx()+1 || got.Rect.Dy() > r.Dy()+1 {
						t.Fatalf("%v for %v", got.Rect, r)
					}
					if err := differs(got, want); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// TestRegionEndsEarly: what is below the region is not looked at.
func TestRegionEndsEarly(t *testing.T) {
	frame := frames(t)["tall-50x90.webp"] // of 50x90: six rows of macroblocks
	cut := bytes.Clone(frame)
	w, h, err := Size(cut)
	if err != nil || h < 80 {
		t.Fatal(w, h, err)
	}
	ctx := &countdown{Context: t.Context(), left: 1 << 30}
	if _, err := Decode(ctx, cut, &Options{Region: image.Rect(0, 0, w, 8)}); err != nil {
		t.Fatal(err)
	}
	if asked := 1<<30 - ctx.left; asked != 1 {
		t.Errorf("%d rows of macroblocks for 8 rows of pixels", asked)
	}
	ctx.left = 1 << 30
	if _, err := Decode(ctx, cut, &Options{Region: image.Rect(0, 0, w, 9)}); err != nil {
		t.Fatal(err)
	}
	if asked := 1<<30 - ctx.left; asked != 2 {
		t.Errorf("%d rows of macroblocks for 9 rows of pixels", asked)
	}
}

// A countdown is done once it was asked so often.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	c.left--
	if c.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestCancel: each row of macroblocks asks whether anybody waits.
func TestCancel(t *testing.T) {
	frame := frames(t)["tall-50x90.webp"]
	_, h, _ := Size(frame)
	rows := (h + 15) / 16
	for n := range rows + 1 {
		parent, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("nobody waits")
		cancel(cause)
		m, err := Decode(&countdown{Context: parent, left: n}, frame, nil)
		if n < rows && (m != nil || !errors.Is(err, cause)) || n == rows && err != nil {
			t.Errorf("after %d of %d rows: %v", n, rows, err)
		}
	}
}

// TestFullRange: samples are stretched to the nearest (ITU-R BT.601), and those beyond the range held to it.
func TestFullRange(t *testing.T) {
	var src, luma, chroma [256]uint8
	for i := range src {
		src[i] = uint8(i)
	}
	stretchLuma(luma[:], src[:])
	stretchChroma(chroma[:], src[:])
	for i := range 256 {
		if want := min(max((255*(i-16)*2+219)/(2*219), 0), 255); luma[i] != uint8(want) {
			t.Errorf("luma %d becomes %d, want %d", i, luma[i], want)
		}
		away := 255 * (i - 128) * 2 // the nearest, half away from zero
		if away < 0 {
			away -= 224
		} else {
			away += 224
		}
		if want := min(max(away/(2*224)+128, 0), 255); chroma[i] != uint8(want) {
			t.Errorf("chroma %d becomes %d, want %d", i, chroma[i], want)
		}
	}
}

// TestErrors: each in one line.
func TestErrors(t *testing.T) {
	frame := frames(t)["q5.webp"]
	change := func(i int, b ...byte) []byte {
		f := bytes.Clone(frame)
		copy(f[i:], b)
		return f
	}
	for _, tt := range []struct {
		name  string
		frame []byte
		o     *Options
		want  error
		text  string
	}{
		{"nothing", nil, nil, ErrDamaged, "cut off"},
		{"three bytes", frame[:3], nil, ErrDamaged, "cut off"},
		{"a header", frame[:10], nil, ErrDamaged, "cut off"},
		{"not a key frame", change(0, frame[0]|1), nil, ErrUnsupported, "before it"},
		{"no start code", change(3, 0), nil, ErrDamaged, "start code"},
		{"no width", change(6, 0, 0), nil, ErrDamaged, "0x29"},
		{"no height", change(8, 0, 0), nil, ErrDamaged, "37x0"},
		{"a first partition beyond the end", change(1, 255, 255), nil, ErrDamaged, "cut off"},
		{"a larger picture than there is data for", change(6, 255, 0x3f, 255, 0x3f), &Options{Region: image.Rect(0, 16000, 1, 16001)}, ErrDamaged, "cut off"},
		{"a region outside", frame, &Options{Region: image.Rect(37, 0, 40, 3)}, nil, "not in the picture"},
		{"too little memory", frame, &Options{Alloc: func(n int) []byte { return make([]byte, n-1) }}, nil, "Options.Alloc"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Decode(t.Context(), tt.frame, tt.o)
			if m != nil || err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want %v with %q", err, tt.want, tt.text)
			}
		})
	}
}

// FuzzAgainstXImage: what x/image/vp8 decodes is decoded to the same samples, and what it refuses is refused.
func FuzzAgainstXImage(f *testing.F) {
	for _, frame := range frames(f) {
		f.Add(frame)
	}
	rnd := rand.New(rand.NewPCG(6386, 4))
	f.Add(randomFrame(rnd, 40, 40)[:3000])
	f.Fuzz(func(t *testing.T, frame []byte) {
		if w, h, err := Size(frame); err == nil && w*h > 1<<18 {
			return
		}
		same(t, frame)
	})
}

// FuzzDecode: no region and no data make Decode panic, write beyond the planes, or take more memory than the header justifies.
func FuzzDecode(f *testing.F) {
	for _, frame := range frames(f) {
		f.Add(frame, uint16(3), uint16(5), uint16(20), uint16(16), true)
	}
	f.Fuzz(func(t *testing.T, frame []byte, x, y, w, h uint16, full bool) {
		width, height, err := Size(frame)
		if err != nil || width*height > 1<<18 {
			return
		}
		var ends [][]byte
		total := 0
		o := &Options{FullRange: full, Region: image.Rect(int(x), int(y), int(x)+int(w), int(y)+int(h)), Alloc: func(n int) []byte {
			total += n
			b := dirty(n + 16)
			ends = append(ends, b[n:])
			return b[:n:n]
		}}
		m, err := Decode(t.Context(), frame, o)
		if most := width*height + (width+1)/2*((height+1)/2)*2; total > most {
			t.Fatalf("%d bytes for %dx%d", total, width, height)
		}
		for _, end := range ends {
			if !bytes.Equal(end, dirty(16)) {
				t.Fatal("written beyond a plane")
			}
		}
		if (m == nil) != (err != nil) {
			t.Fatal(m, err)
		}
	})
}
