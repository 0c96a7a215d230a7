package resize

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"io"
	"strings"
	"sync/atomic"
	"testing"
)

// pngOf makes a PNG of one bit a pixel that claims a size, with no more data than the header.
func pngOf(w, h uint32) []byte {
	b := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR")
	b = binary.BigEndian.AppendUint32(b, w)
	b = binary.BigEndian.AppendUint32(b, h)
	b = append(b, 1, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[12:]))
	return append(b, "\x00\x00\x00\x00IEND\xae\x42\x60\x82"...)
}

// gifOf makes an animated GIF that claims a size and has frames of no data.
func gifOf(w, h uint16, frames int) []byte {
	b := binary.LittleEndian.AppendUint16([]byte("GIF89a"), w)
	b = binary.LittleEndian.AppendUint16(b, h)
	b = append(b, 0x80, 0, 0, 0, 0, 0, 255, 255, 255)
	for range frames {
		b = append(b, 0x21, 0xf9, 4, 0, 0, 0, 0, 0, 0x2c, 0, 0, 0, 0)
		b = binary.LittleEndian.AppendUint16(b, w)
		b = binary.LittleEndian.AppendUint16(b, h)
		b = append(b, 0, 2, 2, 0x44, 0x01, 0)
	}
	return append(b, 0x3b)
}

// jpegOf makes a progressive gray JPEG with a scan of DC and many that say nothing.
func jpegOf(w, h uint16, scans int) []byte {
	b := []byte("\xff\xd8\xff\xdb\x00\x43\x00")
	b = append(b, bytes.Repeat([]byte{1}, 64)...)
	b = append(b, "\xff\xc2\x00\x0b\x08"...)
	b = binary.BigEndian.AppendUint16(b, h)
	b = binary.BigEndian.AppendUint16(b, w)
	b = append(b, 1, 1, 0x11, 0)
	table := append([]byte("\xff\xc4\x00\x14\x00\x01"), make([]byte, 16)...)
	b = append(b, table...)
	table[4] = 0x10
	b = append(b, table...)
	for i := range scans {
		spectrum := byte(min(i, 1))
		b = append(b, "\xff\xda\x00\x08\x01\x01\x00"...)
		b = append(b, spectrum, spectrum, 0)
		b = append(b, bytes.Repeat([]byte{0}, int(w)*int(h)/64/8+1)...)
	}
	return append(b, 0xff, 0xd9)
}

func TestHostile(t *testing.T) {
	jpg, pic := sample(t, "rocket.jpg"), sample(t, "chelsea.png")
	twoFrames := bytes.Clone(jpg)
	i := bytes.Index(twoFrames, []byte("\xff\xc0"))
	n := int(binary.BigEndian.Uint16(twoFrames[i+2:])) + 2
	twoFrames = append(append(append([]byte{}, twoFrames[:i+n]...), twoFrames[i:i+n]...), twoFrames[i+n:]...)
	twelve := bytes.Clone(jpg)
	twelve[i+4] = 12
	flat := bytes.Clone(jpg)
	flat[i+5], flat[i+6] = 0, 0
	for _, tt := range []struct {
		name   string
		data   []byte
		format Format
		want   error
		line   string // that the error holds
	}{
		{"nothing", nil, PNG, ErrUnsupported, "no bytes"},
		{"an error page", []byte("<!DOCTYPE html><html>"), PNG, ErrUnsupported, `starts with "<!DOCTYPE"`},
		{"text", []byte("Not found"), PNG, ErrUnsupported, `starts with "Not"`},
		{"a drawing", []byte("<svg xmlns='http://www.w3.org/2000/svg'/>"), PNG, ErrUnsupported, "<svg"},
		{"garbage", []byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10"), PNG, ErrUnsupported, "starts with"},
		{"text that begins like BMP", []byte("BM is short for bitmap, they say"), PNG, ErrUnsupported, "starts with"},
		{"JPEG of two bytes", jpg[:2], PNG, ErrDamaged, "cut off"},
		{"JPEG of three bytes", jpg[:3], PNG, ErrDamaged, ""},
		{"JPEG cut off in the header", jpg[:300], PNG, ErrDamaged, ""},
		{"JPEG cut off in the middle", jpg[:len(jpg)/2], PNG, ErrDamaged, ""},
		{"JPEG cut off near the end", jpg[:len(jpg)-50], PNG, ErrDamaged, ""},
		{"JPEG with two frame headers", twoFrames, PNG, ErrDamaged, "2 frame headers"},
		{"JPEG of 12 bits", twelve, PNG, ErrUnsupported, "12 bits"},
		{"JPEG without rows", flat, PNG, ErrDamaged, "0 pixels"},
		{"JPEG of many scans", jpegOf(64, 64, 300), PNG, ErrTooLarge, "300 scans"},
		{"PNG of many pixels", pngOf(8000, 8000), PNG, ErrTooLarge, "8000x8000"},
		{"PNG of very many", pngOf(1<<31-1, 1<<31-1), PNG, ErrTooLarge, ""},
		{"PNG of none", pngOf(0, 10), PNG, ErrDamaged, ""},
		{"PNG without data", pngOf(10, 10), PNG, ErrDamaged, ""},
		{"PNG cut off", pic[:len(pic)/2], PNG, ErrDamaged, ""},
		{"PNG of a signature", pic[:8], PNG, ErrDamaged, ""},
		{"GIF of many frames", gifOf(4000, 4000, 100), GIF, ErrTooLarge, "100 frame(s)"},
		{"GIF of too many", gifOf(4, 4, 501), GIF, ErrTooLarge, "501 frames"},
		{"GIF of four gigabytes", gifOf(65535, 65535, 1), PNG, ErrTooLarge, "65535x65535"},
		{"GIF without data", gifOf(10, 10, 2), GIF, ErrDamaged, ""},
		{"GIF of a header", []byte("GIF89a"), GIF, ErrDamaged, ""},
		{"WebP of a header", []byte("RIFF\x00\x00\x00\x00WEBPVP8 "), PNG, ErrDamaged, ""},
		{"WebP of a huge canvas", []byte("RIFF\x16\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x10\x00\x00\x00\xff\xff\x00\xff\xff\x00"), PNG, ErrDamaged, ""},
		{"BMP of a header", []byte("BM\x00\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00"), PNG, ErrDamaged, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r Renderer
			_, err := r.Render(t.Context(), Plan{Width: 20, Format: tt.format}, tt.data)
			if !errors.Is(err, tt.want) || !strings.Contains(fmt.Sprint(err), tt.line) || strings.Contains(fmt.Sprint(err), "\n") {
				t.Errorf("%v, want %v with %q", err, tt.want, tt.line)
			}
		})
	}
}

// TestTruncated cuts every sample, and one of each other format, at twenty places.
func TestTruncated(t *testing.T) {
	files := map[string][]byte{}
	for _, name := range sampleNames(t) {
		files[name] = sample(t, name)
	}
	for _, format := range []Format{WebP, GIF} {
		files[string(format)] = render(t, Plan{Width: 80, Format: format}, sample(t, "coffee.png")).Bytes
	}
	files["animation"] = animation3(t)
	for name, data := range files {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range 20 {
				n := len(data) * i / 20
				var r Renderer
				_, err := r.Render(t.Context(), Plan{Width: 20}, data[:n])
				if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrUnsupported) {
					t.Errorf("cut off at %d of %d: %v", n, len(data), err)
				}
			}
		})
	}
}

// TestMissingEnd: without its last two bytes a JPEG still has all of its pixels.
func TestMissingEnd(t *testing.T) {
	data := sample(t, "rocket.jpg")
	want := pixels(t, Plan{}, data)
	got := pixels(t, Plan{}, data[:len(data)-2])
	same(t, toCanvas(got), toCanvas(want), 40)
}

// TestFlippedBytes: whatever byte is damaged, the result is a picture or an error of a known kind.
func TestFlippedBytes(t *testing.T) {
	for _, format := range []Format{JPEG, PNG, GIF, WebP} {
		data := render(t, Plan{Width: 24, Format: format}, sample(t, "coffee.png")).Bytes
		for i := range data {
			broken := bytes.Clone(data)
			broken[i] ^= 0x55
			r := Renderer{MaxPixels: 1e6}
			_, err := r.Render(t.Context(), Plan{Width: 20, Format: PNG}, broken)
			checkKind(t, err)
		}
	}
}

func checkKind(t *testing.T, err error) {
	t.Helper()
	for _, kind := range []error{nil, ErrUnsupported, ErrDamaged, ErrTooLarge, ErrPlan} {
		if errors.Is(err, kind) {
			return
		}
	}
	t.Fatalf("an error of no kind: %v", err)
}

func TestLimits(t *testing.T) {
	data := sample(t, "chelsea.png") // 451x300
	for _, tt := range []struct {
		name string
		r    Renderer
		plan Plan
		data []byte
		want error
	}{
		{"pixels", Renderer{MaxPixels: 451*300 - 1}, Plan{}, data, ErrTooLarge},
		{"just as many", Renderer{MaxPixels: 451 * 300}, Plan{}, data, nil},
		{"no limit", Renderer{MaxPixels: -1, MaxSize: -1}, Plan{Width: 8200, Height: 2, Fit: Scale}, data, nil},
		{"output", Renderer{}, Plan{Width: 8193, Height: 1, Fit: Scale}, data, ErrTooLarge},
		{"output by density", Renderer{}, Plan{Width: 5000, Height: 2, DPR: 2, Fit: Scale}, data, ErrTooLarge},
		{"output by aspect ratio", Renderer{}, Plan{Width: 5000}, encodePixels(t, image.NewGray(image.Rect(0, 0, 10, 20))), ErrTooLarge},
		{"output of one's own", Renderer{MaxSize: 100}, Plan{Width: 101}, data, ErrTooLarge},
		{"output beyond the format", Renderer{MaxSize: -1}, Plan{Width: 16384, Height: 2, Fit: Scale, Format: WebP}, data, ErrTooLarge},
		{"frames", Renderer{MaxFrames: 2}, Plan{}, animation3(t), ErrTooLarge},
		{"frames of which one is shown", Renderer{MaxFrames: 2}, Plan{Format: PNG}, animation3(t), nil},
		{"pixels of all frames", Renderer{MaxPixels: 2 * 60 * 40}, Plan{}, animation3(t), ErrTooLarge},
		{"pixels of all frames that come out", Renderer{MaxPixels: 3 * 60 * 40}, Plan{Width: 120}, animation3(t), ErrTooLarge},
		{"scans", Renderer{MaxScans: 3}, Plan{}, jpegOf(16, 16, 4), ErrTooLarge},
		{"marks", Renderer{}, Plan{Marks: []Mark{{}}}, data, ErrPlan},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := tt.r.Render(t.Context(), tt.plan, tt.data); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
	var r Renderer
	if _, err := r.Render(t.Context(), Plan{Marks: []Mark{{}}}, data, pngOf(8000, 8000)); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "mark 1") {
		t.Errorf("a large mark: %v", err)
	}
}

// A countdown is a context that ends when it has been asked n times.
type countdown struct {
	context.Context
	n      atomic.Int64
	cancel context.CancelCauseFunc
}

func newCountdown(t *testing.T, n int64) *countdown {
	c := new(countdown)
	c.Context, c.cancel = context.WithCancelCause(t.Context())
	c.n.Store(n)
	t.Cleanup(func() { c.cancel(nil) })
	return c
}

var errCountdown = errors.New("nobody waits any more")

func (c *countdown) Err() error {
	if c.n.Add(-1) <= 0 {
		c.cancel(errCountdown)
	}
	return c.Context.Err()
}

// TestCancelledAnywhere ends the context at one look at it after another: each time the cause comes out and no
// picture, and there are looks in every step.
func TestCancelledAnywhere(t *testing.T) {
	jpg := sample(t, "rocket.jpg")
	for _, tt := range []struct {
		name  string
		plan  Plan
		data  []byte
		looks int64 // at least
	}{
		{"JPEG", Plan{Width: 600, Format: JPEG}, jpg, 27 + 200 + 25}, // rows of blocks, of samples, of blocks
		{"PNG", Plan{Width: 300, Format: PNG}, encodePixels(t, pixels(t, Plan{}, jpg)), 20 + 150 + 3},
		{"GIF", Plan{Width: 300, Format: GIF}, jpg, 27 + 150 + 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Renderer{MaxTime: -1} // else the context that is looked at is another, of this one
			n := int64(0)
			for ; ; n++ {
				ctx := newCountdown(t, n)
				pic, err := r.Render(ctx, tt.plan, tt.data)
				if err == nil {
					break
				}
				if !errors.Is(err, errCountdown) || pic != nil {
					t.Fatalf("look %d: %v, %v", n, pic, err)
				}
				n += n / 8 // the early ones are the odd ones
			}
			if n < tt.looks {
				t.Errorf("the context was looked at %d times, want %d and more", n, tt.looks)
			}
		})
	}
}

// TestCancelled: a context that is done stops the work, whatever the step, and its cause comes out.
func TestCancelled(t *testing.T) {
	why := errors.New("nobody waits for it")
	for _, name := range []string{"rocket.jpg", "chelsea.png"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(why)
		var r Renderer
		if _, err := r.Render(ctx, Plan{Width: 20}, sample(t, name)); !errors.Is(err, why) {
			t.Errorf("%s: %v, want the cause", name, err)
		}
	}
	// Readers fail in the middle of decoding.
	ctx, cancel := context.WithCancel(t.Context())
	r := &reader{ctx, make([]byte, 100)}
	if n, err := r.Read(make([]byte, 50)); n != 50 || err != nil {
		t.Fatal(n, err)
	}
	cancel()
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want Canceled", err)
	}
}

// TestPanics: a codec that panics is a damaged picture.
func TestPanics(t *testing.T) {
	err := guard("test", func() error { panic("index out of range") })
	p, ok := errors.AsType[*PanicError](err)
	if !errors.Is(err, ErrDamaged) || !ok || p.Value != "index out of range" || len(p.Stack) == 0 || err.Error() != "damaged image: test cannot be read" {
		t.Error(err)
	}
}

// animation3 is an animated GIF of three frames that uses every disposal method, 60x40.
func animation3(t testing.TB) []byte {
	t.Helper()
	palette := color.Palette{color.NRGBA{}, color.NRGBA{200, 0, 0, 255}, color.NRGBA{0, 200, 0, 255}, color.NRGBA{0, 0, 200, 255}}
	box := func(r image.Rectangle, c uint8) *image.Paletted {
		m := image.NewPaletted(r, palette)
		for i := range m.Pix {
			m.Pix[i] = c
		}
		return m
	}
	var b bytes.Buffer
	err := gif.EncodeAll(&b, &gif.GIF{
		Image: []*image.Paletted{
			box(image.Rect(0, 0, 60, 40), 1),
			box(image.Rect(20, 10, 40, 30), 2),
			box(image.Rect(0, 0, 30, 20), 3),
		},
		Delay:     []int{10, 20, 30},
		Disposal:  []byte{gif.DisposalNone, gif.DisposalPrevious, gif.DisposalBackground},
		LoopCount: 5,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// shown gives what a viewer shows of each frame.
func shown(t testing.TB, data []byte) []*image.NRGBA {
	t.Helper()
	g, err := gif.DecodeAll(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	screen := image.NewNRGBA(image.Rect(0, 0, g.Config.Width, g.Config.Height))
	var frames []*image.NRGBA
	for i, f := range g.Image {
		before := toNRGBA(screen)
		for y := f.Rect.Min.Y; y < f.Rect.Max.Y; y++ {
			for x := f.Rect.Min.X; x < f.Rect.Max.X; x++ {
				if _, _, _, a := f.At(x, y).RGBA(); a > 0 {
					screen.Set(x, y, f.At(x, y))
				}
			}
		}
		frames = append(frames, toNRGBA(screen))
		switch g.Disposal[i] {
		case gif.DisposalPrevious:
			screen = before
		case gif.DisposalBackground:
			for y := f.Rect.Min.Y; y < f.Rect.Max.Y; y++ {
				for x := f.Rect.Min.X; x < f.Rect.Max.X; x++ {
					screen.SetNRGBA(x, y, color.NRGBA{})
				}
			}
		}
	}
	return frames
}

func TestAnimationIsKept(t *testing.T) {
	holes := func() []byte { // frames that clear what was there
		palette := color.Palette{color.NRGBA{}, color.NRGBA{200, 0, 0, 255}, color.NRGBA{0, 200, 0, 255}}
		g := gif.GIF{Config: image.Config{Width: 60, Height: 40}, LoopCount: -1}
		for i := range 4 {
			m := image.NewPaletted(image.Rect(10*i, 0, 10*i+20, 40), palette)
			for k := range m.Pix {
				m.Pix[k] = uint8(1 + i%2)
			}
			g.Image, g.Delay, g.Disposal = append(g.Image, m), append(g.Delay, 7), append(g.Disposal, gif.DisposalBackground)
		}
		var b bytes.Buffer
		if err := gif.EncodeAll(&b, &g); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for name, data := range map[string][]byte{"disposals": animation3(t), "holes": holes()} {
		for _, p := range []Plan{{}, {Width: 30}, {Width: 120}, {Width: 30, Height: 30, Fit: Cover}, {Flip: Horizontal}, {Orient: 6}, {Rotate: 180}} {
			t.Run(name+"/"+p.String(), func(t *testing.T) {
				pic := render(t, p, data)
				if pic.Format != GIF {
					t.Fatal(pic.Format)
				}
				want, err := gif.DecodeAll(bytes.NewReader(data))
				if err != nil {
					t.Fatal(err)
				}
				got, err := gif.DecodeAll(bytes.NewReader(pic.Bytes))
				if err != nil {
					t.Fatal(err)
				}
				if fmt.Sprint(got.Delay, got.LoopCount) != fmt.Sprint(want.Delay, want.LoopCount) {
					t.Errorf("delays and loops %v, %d, want %v, %d", got.Delay, got.LoopCount, want.Delay, want.LoopCount)
				}
				if got.Config.Width != pic.Width || got.Config.Height != pic.Height {
					t.Errorf("%dx%d, want %dx%d", got.Config.Width, got.Config.Height, pic.Width, pic.Height)
				}
				out := shown(t, pic.Bytes)
				for i, frame := range shown(t, data) {
					// Each frame is what the same plan makes of a still of it.
					still, _ := hardAlpha(toNRGBA(pixels(t, p, encodePixels(t, frame))))
					same(t, toCanvas(out[i]), toCanvas(still), 30)
				}
			})
		}
	}
}

// TestStillOfAnimation: other formats show the first frame.
func TestStillOfAnimation(t *testing.T) {
	data := animation3(t)
	samePixels(t, pixels(t, Plan{}, data), shown(t, data)[0])
}

// TestGIFQuality: photographs in 256 colours.
func TestGIFQuality(t *testing.T) {
	for _, name := range sampleNames(t) {
		want := toCanvas(pixels(t, Plan{Width: 200}, sample(t, name)))
		same(t, toCanvas(independent(t, render(t, Plan{Width: 200, Format: GIF}, sample(t, name)).Bytes)), want, 30)
	}
}

// TestAnimatedWebP: the first frame, on its canvas.
func TestAnimatedWebP(t *testing.T) {
	still := render(t, Plan{Width: 32, Format: WebP, Quality: 95}, encodePixels(t, soft(32, 32))).Bytes
	size24 := func(b []byte, n int) []byte { return append(b, byte(n), byte(n>>8), byte(n>>16)) }
	frame := size24(size24(nil, 4), 2) // at 8, 4
	frame = size24(size24(frame, 31), 31)
	frame = append(size24(frame, 100), 0)
	riff(still[12:], func(kind string, chunk []byte) bool {
		if kind == "ALPH" || kind == "VP8 " || kind == "VP8L" {
			frame = binary.LittleEndian.AppendUint32(append(frame, kind...), uint32(len(chunk)))
			frame = append(frame, chunk...)
			frame = append(frame, make([]byte, len(chunk)%2)...)
		}
		return true
	})
	b := []byte("RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x12\x00\x00\x00")
	b = size24(size24(b, 59), 39)
	b = append(b, "ANIM\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	for range 2 {
		b = binary.LittleEndian.AppendUint32(append(b, "ANMF"...), uint32(len(frame)))
		b = append(b, frame...)
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-8))

	info, err := Probe(b)
	if want := (Info{WebP, 60, 40, 1, 2, true}); err != nil || info != want {
		t.Fatalf("%+v, %v, want %+v", info, err, want)
	}
	want := newCanvas(60, 40)
	in := toCanvas(pixels(t, Plan{}, still))
	for y := range 32 {
		for x := range 32 {
			*want.at(8+x, 4+y) = *in.at(x, y)
		}
	}
	same(t, toCanvas(pixels(t, Plan{}, b)), want, 45)
}

// TestGarbageAfterTheEnd is ignored, as browsers do.
func TestGarbageAfterTheEnd(t *testing.T) {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, arrow(40, 30), nil); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\xff\xda and the rest of a page")
	render(t, Plan{Width: 20}, b.Bytes())
}
