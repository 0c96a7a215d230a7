package resize

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	webpenc "github.com/gen2brain/webp"
)

// A filmFrame is a frame as a file has it, for files that tests make.
type filmFrame struct {
	at       image.Point
	m        *image.NRGBA
	delay    int // ms
	replace  bool
	disposal Disposal
}

// A film is an animation that tests make files of.
type film struct {
	size   image.Point
	plays  int
	frames []filmFrame
}

// shown is what a viewer shows, pixel by pixel as the formats' documents say. Pixels are opaque or not there.
func (f film) shown() []*image.NRGBA {
	screen := image.NewNRGBA(image.Rectangle{Max: f.size})
	var all []*image.NRGBA
	for _, fr := range f.frames {
		before := toNRGBA(screen)
		for y := range fr.m.Rect.Dy() {
			for x := range fr.m.Rect.Dx() {
				if c := fr.m.NRGBAAt(x, y); c.A == 255 || fr.replace {
					screen.SetNRGBA(fr.at.X+x, fr.at.Y+y, c)
				}
			}
		}
		all = append(all, toNRGBA(screen))
		switch fr.disposal {
		case ToPrevious:
			screen = before
		case ToBackground:
			for y := range fr.m.Rect.Dy() {
				for x := range fr.m.Rect.Dx() {
					screen.SetNRGBA(fr.at.X+x, fr.at.Y+y, color.NRGBA{})
				}
			}
		}
	}
	return all
}

// filmColors are those of films: flat, so that every format keeps them.
var filmColors = color.Palette{color.NRGBA{}, color.NRGBA{220, 0, 0, 255}, color.NRGBA{0, 200, 40, 255}, color.NRGBA{0, 60, 255, 255}, color.NRGBA{250, 250, 0, 255}}

// randomFilm makes a film that the format can hold: places are even in WebP, which has no ToPrevious; GIF never replaces.
func randomFilm(r *rand.Rand, format Format, frames int) film {
	f := film{size: image.Pt(9+r.IntN(20), 7+r.IntN(20)), plays: r.IntN(4)}
	for i := range frames {
		fr := filmFrame{delay: 20 + 10*r.IntN(30), replace: r.IntN(2) == 0, disposal: Disposal(r.IntN(3))}
		size := image.Pt(1+r.IntN(f.size.X), 1+r.IntN(f.size.Y))
		if i == 0 {
			size = f.size
		}
		fr.at = image.Pt(r.IntN(f.size.X-size.X+1), r.IntN(f.size.Y-size.Y+1))
		switch format {
		case WebP:
			fr.at.X, fr.at.Y = fr.at.X&^1, fr.at.Y&^1
			if fr.disposal == ToPrevious {
				fr.disposal = Keep
			}
		case GIF:
			fr.replace = false
		}
		fr.m = image.NewNRGBA(image.Rectangle{Max: size})
		for y := range size.Y {
			for x := range size.X {
				fr.m.Set(x, y, filmColors[(x/3+y/2+r.IntN(2))%len(filmColors)])
			}
		}
		f.frames = append(f.frames, fr)
	}
	return f
}

// file writes f in a format, with none of the code that writes animations.
func (f film) file(t testing.TB, format Format) []byte {
	t.Helper()
	var b bytes.Buffer
	switch format {
	case GIF:
		g := gif.GIF{Config: image.Config{Width: f.size.X, Height: f.size.Y}, LoopCount: [4]int{0, -1, 1, 2}[f.plays]}
		for _, fr := range f.frames {
			p := image.NewPaletted(fr.m.Rect.Add(fr.at), filmColors)
			for y := range fr.m.Rect.Dy() {
				for x := range fr.m.Rect.Dx() {
					p.Set(fr.at.X+x, fr.at.Y+y, fr.m.At(x, y))
				}
			}
			g.Image, g.Delay = append(g.Image, p), append(g.Delay, fr.delay/10)
			g.Disposal = append(g.Disposal, [3]byte{gif.DisposalNone, gif.DisposalBackground, gif.DisposalPrevious}[fr.disposal])
		}
		if err := gif.EncodeAll(&b, &g); err != nil {
			t.Fatal(err)
		}
	case PNG:
		return f.apng(t, true)
	case WebP:
		le := binary.LittleEndian
		body := []byte("WEBPVP8X\x0a\x00\x00\x00\x12\x00\x00\x00")
		u24 := func(b []byte, n int) []byte { return append(b, byte(n), byte(n>>8), byte(n>>16)) }
		body = u24(u24(body, f.size.X-1), f.size.Y-1)
		body = append(body, "ANIM\x06\x00\x00\x00\xff\x80\x40\x20"...) // a background that nobody shows
		body = le.AppendUint16(body, uint16(f.plays))
		for _, fr := range f.frames {
			var still bytes.Buffer
			if err := webpenc.Encode(&still, fr.m, webpenc.Options{Lossless: true, Exact: true}); err != nil {
				t.Fatal(err)
			}
			var a []byte
			for _, n := range []int{fr.at.X / 2, fr.at.Y / 2, fr.m.Rect.Dx() - 1, fr.m.Rect.Dy() - 1, fr.delay} {
				a = u24(a, n)
			}
			flags := byte(0)
			if fr.replace {
				flags |= 2
			}
			if fr.disposal == ToBackground {
				flags |= 1
			}
			a = append(append(a, flags), still.Bytes()[12:]...)
			body = le.AppendUint32(append(body, "ANMF"...), uint32(len(a)))
			body = append(append(body, a...), make([]byte, len(a)%2)...)
		}
		b.WriteString("RIFF")
		b.Write(le.AppendUint32(nil, uint32(len(body))))
		b.Write(body)
	}
	return b.Bytes()
}

// rgba8 is a picture that image/png writes with alpha whether it needs that or not.
type rgba8 struct{ *image.NRGBA }

func (rgba8) Opaque() bool            { return false }
func (rgba8) ColorModel() color.Model { return color.NRGBAModel }

// apng writes f as APNG; first says that the default image is the first frame, and else it is an image of its own.
func (f film) apng(t testing.TB, first bool) []byte {
	t.Helper()
	be := binary.BigEndian
	chunks := func(m image.Image) (header, data []byte) {
		var b bytes.Buffer
		if err := png.Encode(&b, rgba8{toNRGBA(m)}); err != nil {
			t.Fatal(err)
		}
		pngChunks(b.Bytes(), func(kind string, body []byte, _ uint32) bool {
			switch kind {
			case "IHDR":
				header = body
			case "IDAT":
				data = append(data, body...)
			}
			return true
		})
		return header, data
	}
	header, data := chunks(image.NewNRGBA(image.Rectangle{Max: f.size}))
	out := appendPNGChunk([]byte(pngSignature), "IHDR", header)
	out = appendPNGChunk(out, "acTL", be.AppendUint32(be.AppendUint32(nil, uint32(len(f.frames))), uint32(f.plays)))
	if !first {
		out = appendPNGChunk(out, "IDAT", data)
	}
	number := uint32(0)
	for i, fr := range f.frames {
		c := be.AppendUint32(nil, number)
		number++
		for _, n := range []int{fr.m.Rect.Dx(), fr.m.Rect.Dy(), fr.at.X, fr.at.Y} {
			c = be.AppendUint32(c, uint32(n))
		}
		c = be.AppendUint16(be.AppendUint16(c, uint16(fr.delay)), 1000)
		op := byte(1)
		if fr.replace {
			op = 0
		}
		out = appendPNGChunk(out, "fcTL", append(c, byte(fr.disposal), op))
		_, data := chunks(fr.m)
		if i == 0 && first {
			out = appendPNGChunk(out, "IDAT", data)
			continue
		}
		for len(data) > 0 { // in pieces, as encoders write them
			n := min(len(data), 40)
			out = appendPNGChunk(out, "fdAT", append(be.AppendUint32(nil, number), data[:n]...))
			data = data[n:]
			number++
		}
	}
	return appendPNGChunk(out, "IEND", nil)
}

// played is what an animation's file holds, by the reader that is tested elsewhere.
type played struct {
	frames []*image.NRGBA
	delays []time.Duration
	plays  int
}

func play(t testing.TB, data []byte) played {
	t.Helper()
	info, err := Probe(data)
	if err != nil {
		t.Fatal(err)
	}
	f, err := codecFor(info.Format).Frames(data)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Headers) != info.Frames {
		t.Fatalf("%d frames, Probe says %d", len(f.Headers), info.Frames)
	}
	out := played{plays: f.Plays}
	p := newPlayer(f, info.Width, info.Height)
	for _, h := range f.Headers {
		if err := p.advance(t.Context()); err != nil {
			t.Fatal(err)
		}
		out.frames = append(out.frames, owned(p.canvas))
		out.delays = append(out.delays, h.Delay)
	}
	return out
}

// sameShown fails unless what is visible in a and b is the same.
func sameShown(t testing.TB, what string, got, want *image.NRGBA) {
	t.Helper()
	if got.Rect != want.Rect {
		t.Fatalf("%s: %v, want %v", what, got.Rect, want.Rect)
	}
	if d := diff(want, got); d.pixels > 0 {
		at := d.box.Min
		t.Fatalf("%s: %d pixels differ, in %v, of which one is %v, want %v", what, d.pixels, d.box, got.At(at.X, at.Y), want.At(at.X, at.Y))
	}
}

// TestPlayer: frames of random films come out of each format as the film's model shows them.
func TestPlayer(t *testing.T) {
	for _, format := range []Format{GIF, WebP, PNG} {
		t.Run(string(format), func(t *testing.T) {
			for seed := range uint64(25) {
				f := randomFilm(rand.New(rand.NewPCG(seed, 1)), format, 2+int(seed)%7)
				data := f.file(t, format)
				got := play(t, data)
				if got.plays != f.plays {
					t.Errorf("seed %d: plays %d times, want %d", seed, got.plays, f.plays)
				}
				for i, want := range f.shown() {
					sameShown(t, fmt.Sprintf("seed %d, frame %d", seed, i), got.frames[i], want)
					if d := time.Duration(f.frames[i].delay) * time.Millisecond; got.delays[i] != d {
						t.Errorf("seed %d, frame %d: %v, want %v", seed, i, got.delays[i], d)
					}
				}
			}
		})
	}
}

// libwebpShows gives the frames of an animated WebP as libwebp's own player has them, and how long it shows them, in ms.
func libwebpShows(t *testing.T, data []byte) (all []*image.NRGBA, delays []int) {
	t.Helper()
	w, err := webpenc.DecodeAll(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range w.Image {
		all = append(all, toNRGBA(m))
	}
	return all, w.Delay
}

// TestAnimatedAcross: every format that can be animated becomes every other one, with each frame what it is as a still, the
// delays, and the number of plays.
func TestAnimatedAcross(t *testing.T) {
	for _, from := range []Format{GIF, WebP, PNG} {
		for _, to := range []Format{SameFormat, GIF, WebP} {
			for _, p := range []Plan{{}, {Width: 40, Fit: Max}, {Width: 5, Height: 5, Fit: Scale}, {Orient: 6, Flip: Horizontal}, {Width: 9, Height: 9, Fit: Fill, Background: &color.NRGBA{220, 0, 0, 255}}} {
				p.Format = to
				t.Run(fmt.Sprintf("%s/%s", from, p), func(t *testing.T) {
					for seed := range uint64(3) {
						f := randomFilm(rand.New(rand.NewPCG(seed, 2)), from, 5)
						pic := render(t, p, f.file(t, from))
						want := to
						if to == SameFormat {
							want = from
						}
						if pic.Format != want {
							t.Fatalf("it is %s", pic.Format)
						}
						got := play(t, pic.Bytes)
						if got.plays != f.plays || len(got.frames) != len(f.frames) {
							t.Fatalf("%d frames, %d plays; want %d, %d", len(got.frames), got.plays, len(f.frames), f.plays)
						}
						for i, frame := range f.shown() {
							if d := time.Duration(f.frames[i].delay) * time.Millisecond; got.delays[i] != d {
								t.Errorf("seed %d, frame %d is shown for %v, want %v", seed, i, got.delays[i], d)
							}
							still := p
							still.Format = SameFormat
							want := toNRGBA(pixels(t, still, encodePixels(t, frame)))
							exact := p.Width == 0
							if pic.Format == GIF {
								want, _ = hardAlpha(want)
							}
							least := 22.0 // of GIF's few colours
							switch pic.Format {
							case PNG:
								least = 60
							case WebP:
								still.Format = WebP
								least = psnr(toCanvas(pixels(t, Plan{}, render(t, still, encodePixels(t, frame)).Bytes)), toCanvas(want)) - 3
							}
							if exact {
								sameShown(t, fmt.Sprintf("seed %d, frame %d", seed, i), got.frames[i], want)
							} else {
								same(t, toCanvas(got.frames[i]), toCanvas(want), least)
							}
						}
					}
				})
			}
		}
	}
}

// TestAnimatedWebPElsewhere: libwebp shows the same frames of what is written here, for as long and as often.
func TestAnimatedWebPElsewhere(t *testing.T) {
	loop := 7
	for name, data := range map[string][]byte{
		"film":  randomFilm(rand.New(rand.NewPCG(5, 5)), PNG, 8).file(t, PNG),
		"lossy": movie(t, 120, 80, 6, PNG),
	} {
		t.Run(name, func(t *testing.T) {
			pic := render(t, Plan{Format: WebP, Animation: Animation{Loop: &loop}}, data)
			got := play(t, pic.Bytes)
			frames, delays := libwebpShows(t, pic.Bytes)
			if len(frames) != len(got.frames) {
				t.Fatalf("%d frames, libwebp sees %d", len(got.frames), len(frames))
			}
			for i, want := range frames {
				if got.delays[i] != time.Duration(delays[i])*time.Millisecond {
					t.Errorf("frame %d is shown for %v, libwebp says %d ms", i, got.delays[i], delays[i])
				}
				if name == "film" {
					sameShown(t, fmt.Sprint("frame ", i), got.frames[i], want)
				} else {
					same(t, toCanvas(got.frames[i]), toCanvas(want), 40) // chroma is made larger another way
				}
			}
			file := filepath.Join(t.TempDir(), "a.webp")
			writeFile(t, file, pic.Bytes)
			if tool, err := exec.LookPath("webpinfo"); err != nil {
				t.Log("webpinfo is not there")
			} else if out, err := exec.Command(tool, file).CombinedOutput(); err != nil || strings.Contains(string(out), "rror") && !strings.Contains(string(out), "No error detected") {
				t.Errorf("%v: %s", err, out)
			}
			if tool, err := exec.LookPath("webpmux"); err != nil {
				t.Log("webpmux is not there")
			} else if out, err := exec.Command(tool, "-info", file).CombinedOutput(); err != nil || !strings.Contains(string(out), "Loop Count : 7") ||
				!strings.Contains(string(out), fmt.Sprint("Number of frames: ", len(got.frames))) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// movie makes an animation in which a part of a soft picture moves.
func movie(t testing.TB, w, h, frames int, format Format) []byte {
	t.Helper()
	f := film{size: image.Pt(w, h), plays: 0}
	back := soft(w, h)
	for i := range frames {
		m := toNRGBA(back)
		for y := range h / 3 {
			for x := range w / 4 {
				at := image.Pt((x+3*i)%w, y+h/4)
				m.SetNRGBA(at.X, at.Y, color.NRGBA{uint8(4 * x), uint8(5*y + i), 90, 255})
			}
		}
		if format == GIF {
			m, _ = hardAlpha(m)
			for p := 0; p < len(m.Pix); p += 4 { // few enough colours
				m.Pix[p], m.Pix[p+1], m.Pix[p+2] = m.Pix[p]&0xc0, m.Pix[p+1]&0xc0, m.Pix[p+2]&0x80
			}
		}
		f.frames = append(f.frames, filmFrame{m: m, delay: 40, replace: format != GIF})
	}
	if format != GIF {
		return f.file(t, format)
	}
	g := gif.GIF{}
	for _, fr := range f.frames {
		g.Image, g.Delay = append(g.Image, exactPalette(fr.m, 256)), append(g.Delay, 4)
		g.Disposal = append(g.Disposal, gif.DisposalBackground)
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, &g); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestPick(t *testing.T) {
	for _, tt := range []struct {
		a       Animation
		n       int
		want    string
		decoded int
	}{
		{Animation{}, 4, "[0 1 2 3]", 4},
		{Animation{First: 2}, 4, "[1 2 3]", 4},
		{Animation{Last: 2}, 4, "[0 1]", 2},
		{Animation{First: 2, Last: 3}, 4, "[1 2]", 3},
		{Animation{First: 3, Last: 3}, 4, "[2]", 3},
		{Animation{First: 3, Last: 99}, 4, "[2 3]", 4},
		{Animation{Interval: 2}, 5, "[0 2 4]", 5},
		{Animation{Interval: 3}, 5, "[0 3]", 4},
		{Animation{Skip: 2}, 5, "[1 3]", 4},
		{Animation{Skip: 3}, 7, "[1 2 4 5]", 6},
		{Animation{Skip: 3, Interval: 2}, 7, "[1 4]", 5},
		{Animation{First: 2, Skip: 2, Last: 5}, 9, "[2 4]", 5},
		{Animation{Reverse: true}, 3, "[2 1 0]", 3},
		{Animation{Interval: 2, Reverse: true}, 4, "[2 0]", 3},
	} {
		got, decoded, err := tt.a.pick(tt.n)
		if fmt.Sprint(got) != tt.want || decoded != tt.decoded || err != nil {
			t.Errorf("%+v of %d: %v, %d, %v; want %s, %d", tt.a, tt.n, got, decoded, err, tt.want, tt.decoded)
		}
	}
	for _, a := range []Animation{{First: 5}, {First: 2, Last: 2, Skip: 2}} {
		if got, _, err := a.pick(4); !errors.Is(err, ErrPlan) {
			t.Errorf("%+v of 4: %v, %v", a, got, err)
		}
	}
	minus, far := -1, 65536
	for _, a := range []Animation{{First: -1}, {Last: -1}, {First: 3, Last: 2}, {Skip: 1}, {Skip: -1}, {Interval: -2}, {FPS: -1}, {FPS: 1001}, {Loop: &minus}, {Loop: &far}} {
		var r Renderer
		if _, err := r.Render(t.Context(), Plan{Animation: a}, animation3(t)); !errors.Is(err, ErrPlan) {
			t.Errorf("%+v: %v", a, err)
		}
	}
}

// TestAnimationPlans: what a plan says of an animation, against the frames of the film.
func TestAnimationPlans(t *testing.T) {
	forever, thrice := 0, 3
	f := randomFilm(rand.New(rand.NewPCG(8, 8)), PNG, 11)
	f.plays = 2
	frames := f.shown()
	for _, tt := range []struct {
		a     Animation
		want  []int
		plays int
		delay time.Duration // of all; zero: their own
	}{
		{Animation{First: 2, Last: 6}, []int{1, 2, 3, 4, 5}, 2, 0},
		{Animation{Reverse: true}, []int{10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}, 2, 0},
		{Animation{First: 3, Interval: 3, Reverse: true}, []int{8, 5, 2}, 2, 0},
		{Animation{Skip: 2, Loop: &forever}, []int{1, 3, 5, 7, 9}, 0, 0},
		{Animation{Last: 4, FPS: 25, Loop: &thrice}, []int{0, 1, 2, 3}, 3, 40 * time.Millisecond},
	} {
		for _, from := range []Format{PNG} {
			for _, to := range []Format{GIF, WebP, SameFormat} {
				pic := render(t, Plan{Format: to, Animation: tt.a}, f.file(t, from))
				got := play(t, pic.Bytes)
				if len(got.frames) != len(tt.want) || got.plays != tt.plays {
					t.Fatalf("%+v: %d frames, %d plays", tt.a, len(got.frames), got.plays)
				}
				for k, i := range tt.want {
					sameShown(t, fmt.Sprintf("%s %+v, frame %d", to, tt.a, k), got.frames[k], frames[i])
					want := tt.delay
					if want == 0 {
						want = time.Duration(f.frames[i].delay) * time.Millisecond
					}
					if got.delays[k] != want {
						t.Errorf("%s %+v, frame %d: %v, want %v", to, tt.a, k, got.delays[k], want)
					}
				}
			}
		}
	}
	// One frame is a still, in any format, and in those that cannot move the first of those that are left is taken.
	for _, format := range []Format{PNG, GIF, WebP, JPEG} {
		for _, tt := range []struct {
			a    Animation
			want int
		}{{Animation{First: 7, Last: 7}, 6}, {Animation{First: 4, Skip: 2}, 4}, {Animation{Reverse: true}, 10}} {
			if tt.a.Last == 0 && (format == GIF || format == WebP) {
				continue
			}
			pic := render(t, Plan{Format: format, Animation: tt.a}, f.file(t, PNG))
			info, err := Probe(pic.Bytes)
			if err != nil || info.Frames != 1 || info.Format != format {
				t.Errorf("%s: %+v, %v", format, info, err)
			}
			if format == PNG || format == GIF {
				sameShown(t, fmt.Sprintf("%s %+v", format, tt.a), toNRGBA(pixels(t, Plan{}, pic.Bytes)), frames[tt.want])
			}
		}
	}
	// A still has no frames to choose from.
	samePixels(t, pixels(t, Plan{Animation: Animation{First: 5, Skip: 2, FPS: 3}}, encodePixels(t, frames[0])), frames[0])
}

// TestDefaultImage: a still of an APNG whose default image is no frame is that image, and the animation is without it.
func TestDefaultImage(t *testing.T) {
	f := randomFilm(rand.New(rand.NewPCG(3, 3)), PNG, 4)
	data := f.apng(t, false)
	samePixels(t, pixels(t, Plan{}, data), image.NewNRGBA(image.Rectangle{Max: f.size}))
	sameShown(t, "frame 1", toNRGBA(pixels(t, Plan{Animation: Animation{First: 1, Last: 1}}, data)), f.shown()[0])
	got := play(t, render(t, Plan{Format: WebP}, data).Bytes)
	for i, want := range f.shown() {
		sameShown(t, fmt.Sprint("frame ", i), got.frames[i], want)
	}
}

// TestOneFrame: an animation of one frame is a still.
func TestOneFrame(t *testing.T) {
	for _, format := range []Format{GIF, WebP, PNG} {
		f := randomFilm(rand.New(rand.NewPCG(4, 4)), format, 1)
		data := f.file(t, format)
		for _, to := range []Format{PNG, SameFormat} {
			pic := render(t, Plan{Format: to}, data)
			if info, err := Probe(pic.Bytes); err != nil || info.Frames != 1 {
				t.Errorf("%s: %+v, %v", format, info, err)
			}
			if pic.Format != WebP {
				sameShown(t, string(format), toNRGBA(pixels(t, Plan{}, pic.Bytes)), f.shown()[0])
			}
		}
	}
}

// TestSoftFrames: transparency that is neither nothing nor all goes from APNG to WebP.
func TestSoftFrames(t *testing.T) {
	data := movie(t, 60, 40, 4, PNG)
	want := play(t, data)
	got := play(t, render(t, Plan{Format: WebP, Quality: 90}, data).Bytes)
	for i := range want.frames {
		same(t, toCanvas(got.frames[i]), toCanvas(want.frames[i]), 28)
	}
}

// TestAnimationSteps: marks, padding and rotation are those of stills in every frame, with memory that is used again, by many at once.
func TestAnimationSteps(t *testing.T) {
	data, mark := movie(t, 48, 36, 6, PNG), encodePixels(t, soft(12, 12))
	frames := play(t, data).frames
	for _, p := range []Plan{
		{Marks: []Mark{{Alpha: 60}}},
		{Width: 40, Height: 40, Fit: Fill, Background: &color.NRGBA{9, 200, 90, 255}, Marks: []Mark{{XAlign: Near}}},
		{Width: 40, Rotate: 20, Fit: Clip},
		{Width: 20, Height: 30, Fit: Cover, Crop: []Crop{Left}},
	} {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			inputs := [][]byte{data}
			if len(p.Marks) > 0 {
				inputs = append(inputs, mark)
			}
			for range 3 {
				got := play(t, render(t, p, inputs...).Bytes)
				for i, frame := range frames {
					inputs[0] = encodePixels(t, frame)
					same(t, toCanvas(got.frames[i]), toCanvas(pixels(t, p, inputs...)), 60)
				}
				inputs[0] = data
			}
		})
	}
}

func TestTicker(t *testing.T) {
	for _, tt := range []struct {
		ticker ticker
		d      time.Duration
		want   string
	}{
		{ticker{unit: 10 * time.Millisecond, least: 2, most: 65535}, 33 * time.Millisecond, "[3 4 3 3 4]"},
		{ticker{unit: 10 * time.Millisecond, least: 2, most: 65535}, time.Second / 60, "[2 2 2 2 2]"}, // never one, which is shown for ten
		{ticker{unit: 10 * time.Millisecond, least: 2, most: 65535}, 0, "[0 0 0 0 0]"},
		{ticker{unit: 10 * time.Millisecond, least: 2, most: 65535}, 10 * time.Millisecond, "[1 1 1 1 1]"},
		{ticker{unit: time.Millisecond, most: 1<<24 - 1}, time.Second / 30, "[33 34 33 33 34]"},
		{ticker{unit: time.Millisecond, most: 1<<24 - 1}, 10 * time.Hour, "[16777215 16777215 16777215 16777215 16777215]"},
	} {
		var got []int
		k := tt.ticker
		for range 5 {
			got = append(got, k.units(tt.d))
		}
		if fmt.Sprint(got) != tt.want {
			t.Errorf("%v in units of %v: %v, want %s", tt.d, k.unit, got, tt.want)
		}
	}
}

// TestAnimationCut: a file that ends anywhere is an error or what it was, never a panic, and never fewer frames.
func TestAnimationCut(t *testing.T) {
	for _, format := range []Format{GIF, WebP, PNG} {
		f := randomFilm(rand.New(rand.NewPCG(6, 6)), format, 3)
		data := f.file(t, format)
		for n := range data {
			r := Renderer{}
			pic, err := r.Render(t.Context(), Plan{Format: GIF}, data[:n])
			if err == nil {
				info, err := Probe(pic.Bytes)
				if format != GIF || n < len(data)-1 && info.Frames != 1 && info.Frames != 2 || err != nil {
					t.Fatalf("%s cut off at %d of %d: %+v, %v", format, n, len(data), info, err)
				}
				continue
			}
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrUnsupported) {
				t.Fatalf("%s cut off at %d of %d: %v", format, n, len(data), err)
			}
		}
		for n := range data { // and damaged anywhere
			broken := bytes.Clone(data)
			broken[n] ^= 0x41
			r := Renderer{MaxPixels: 1e5}
			_, err := r.Render(t.Context(), Plan{Width: 8, Format: WebP}, broken)
			checkKind(t, err)
		}
	}
}

func TestHostileAnimations(t *testing.T) {
	be, le := binary.BigEndian, binary.LittleEndian
	webp := func(change func(anmf []byte)) []byte {
		data := randomFilm(rand.New(rand.NewPCG(7, 7)), WebP, 3).file(t, WebP)
		at := bytes.LastIndex(data, []byte("ANMF"))
		change(data[at+8:])
		return data
	}
	apng := func(kind string, change func(body []byte)) []byte {
		data := randomFilm(rand.New(rand.NewPCG(7, 7)), PNG, 3).file(t, PNG)
		at := bytes.LastIndex(data, []byte(kind))
		n := be.Uint32(data[at-4:])
		change(data[at+4:][:n])
		be.PutUint32(data[at+4+int(n):], pngSum(kind, data[at+4:][:n]))
		return data
	}
	for _, tt := range []struct {
		name string
		data []byte
		want error
		line string
	}{
		{"40,000 frames of GIF", gifOf(4, 4, 40_000), ErrTooLarge, "40000 frames"},
		{"a frame beyond the canvas of WebP", webp(func(b []byte) { b[0] = 200 }), ErrDamaged, "in a canvas"},
		{"a frame larger than its picture", webp(func(b []byte) { b[6]--; b[0], b[3] = 0, 0 }), ErrDamaged, ""},
		{"a number twice", apng("fcTL", func(b []byte) { be.PutUint32(b, 1) }), ErrDamaged, "comes where"},
		{"a number left out", apng("fdAT", func(b []byte) { be.PutUint32(b, be.Uint32(b)+1) }), ErrDamaged, "comes where"},
		{"a frame beyond the canvas of APNG", apng("fcTL", func(b []byte) { be.PutUint32(b[12:], 1<<31) }), ErrDamaged, "in a canvas"},
		{"a frame of no pixels", apng("fcTL", func(b []byte) { be.PutUint32(b[4:], 0) }), ErrDamaged, "in a canvas"},
		{"a fourth way to dispose", apng("fcTL", func(b []byte) { b[24] = 3 }), ErrDamaged, "disposed"},
		{"more frames than there are", apng("acTL", func(b []byte) { be.PutUint32(b, 1<<31) }), ErrDamaged, "announced"},
		{"data with a wrong checksum", func() []byte {
			data := apng("fdAT", func([]byte) {})
			data[bytes.LastIndex(data, []byte("fdAT"))+9] ^= 1
			return data
		}(), ErrDamaged, "checksum"},
		{"a GIF's frame beyond its screen", func() []byte {
			data := randomFilm(rand.New(rand.NewPCG(7, 7)), GIF, 3).file(t, GIF)
			le.PutUint16(data[6:], 3)
			return data
		}(), ErrDamaged, "in a screen"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r Renderer
			_, err := r.Render(t.Context(), Plan{Format: WebP}, tt.data)
			if !errors.Is(err, tt.want) || !strings.Contains(fmt.Sprint(err), tt.line) || strings.Contains(fmt.Sprint(err), "\n") {
				t.Errorf("%v, want %v with %q", err, tt.want, tt.line)
			}
		})
	}
}

// TestFrameBudget holds all three formats to the limits, before anything is decoded.
func TestFrameBudget(t *testing.T) {
	for _, format := range []Format{GIF, WebP, PNG} {
		f := randomFilm(rand.New(rand.NewPCG(9, 9)), format, 6)
		data, area := f.file(t, format), int64(f.size.X*f.size.Y)
		for _, tt := range []struct {
			r    Renderer
			p    Plan
			want error
		}{
			{Renderer{MaxFrames: 5}, Plan{}, ErrTooLarge},
			{Renderer{MaxFrames: 6}, Plan{}, nil},
			{Renderer{MaxFrames: 5}, Plan{Animation: Animation{Last: 5}}, nil},
			{Renderer{MaxFrames: 5}, Plan{Animation: Animation{Interval: 5}}, ErrTooLarge}, // the sixth
			{Renderer{MaxFrames: 5}, Plan{Format: JPEG}, nil},
			{Renderer{MaxFrames: 5}, Plan{Format: JPEG, Animation: Animation{First: 6}}, ErrTooLarge},
			{Renderer{MaxFrames: 5}, Plan{Format: JPEG, Animation: Animation{First: 5}}, nil},
			{Renderer{MaxPixels: 6*area - 1}, Plan{}, ErrTooLarge},
			{Renderer{MaxPixels: 6 * area}, Plan{}, nil},
			{Renderer{MaxPixels: 6 * area}, Plan{Width: float64(2 * f.size.X)}, ErrTooLarge},
		} {
			if _, err := tt.r.Render(t.Context(), tt.p, data); !errors.Is(err, tt.want) {
				t.Errorf("%s %+v, %s: %v, want %v", format, tt.r, tt.p, err, tt.want)
			}
		}
	}
}

// TestAnimationCancelled ends the context at one look at it after another: the cause comes out, and there is a look at every frame.
func TestAnimationCancelled(t *testing.T) {
	for _, from := range []Format{GIF, WebP, PNG} {
		for _, to := range []Format{GIF, WebP, SameFormat} {
			data := movie(t, 40, 30, 8, from)
			r := Renderer{MaxTime: -1} // else the context that is looked at is another, of this one
			n := int64(0)
			for ; ; n++ {
				pic, err := r.Render(newCountdown(t, n), Plan{Width: 30, Format: to, Animation: Animation{Reverse: n%2 == 0}}, data)
				if err == nil {
					break
				}
				if !errors.Is(err, errCountdown) || pic != nil {
					t.Fatalf("%s to %s, look %d: %v, %v", from, to, n, pic, err)
				}
				n += n / 4
			}
			if n < 16 {
				t.Errorf("%s to %s: the context was looked at %d times", from, to, n)
			}
		}
	}
}

// TestAnimationMemory: what is in memory does not grow with the frames, but for the files; and the estimate is above it.
func TestAnimationMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("left out of short runs")
	}
	const w, h = 120, 80
	peak := func(frames int, p Plan) int64 {
		data := movie(t, w, h, frames, GIF)
		for range 3 { // what pools hold goes with the second
			runtime.GC()
		}
		var before, now runtime.MemStats
		runtime.ReadMemStats(&before)
		defer debug.SetGCPercent(debug.SetGCPercent(5))
		most := uint64(0)
		r := Renderer{}
		j, err := r.prepare(p, []Input{{Bytes: data}})
		if err != nil {
			t.Fatal(err)
		}
		defer j.release()
		said := j.renderBytes() + r.decodeBytes(&j.inputs[0], j.needOf(0))
		if err := j.take(t.Context()); err != nil {
			t.Fatal(err)
		}
		decode := j.frames.Decode
		j.frames.Decode = func(ctx context.Context, i int) (image.Image, error) {
			if i%8 == 7 {
				runtime.GC()
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapAlloc)
			}
			return decode(ctx, i)
		}
		if _, err := j.animate(t.Context()); err != nil {
			t.Fatal(err)
		}
		took := int64(most) - int64(before.HeapAlloc)
		t.Logf("%s, %d frames: took %d KB, said %d KB", p, frames, took>>10, said>>10)
		if took > said {
			t.Errorf("%d bytes were taken, the estimate is %d", took, said)
		}
		return took
	}
	for _, p := range []Plan{{Width: 60, Format: GIF}, {Width: 60, Format: WebP}, {Width: 60, Format: WebP, Animation: Animation{Reverse: true}}} {
		few, many := peak(16, p), peak(128, p)
		canvases := int64(2)
		if p.Animation.Reverse {
			canvases = 2 * int64(stride(128))
		}
		const file = 3000 // bytes of a frame that is written
		if limit := few + canvases*4*w*h + 128*file; many > limit {
			t.Errorf("%s: %d bytes for 16 frames, %d for 128, want at most %d", p, few, many, limit)
		}
	}
}

// TestFormatsOfAnimations: which format an animation comes out in.
func TestFormatsOfAnimations(t *testing.T) {
	for _, from := range []Format{GIF, WebP, PNG} {
		data := randomFilm(rand.New(rand.NewPCG(2, 9)), from, 3).file(t, from)
		for _, tt := range []struct {
			plan   Plan
			want   Format
			frames int
		}{
			{Plan{}, from, 3},
			{Plan{Format: GIF}, GIF, 3},
			{Plan{Format: WebP}, WebP, 3},
			{Plan{Format: PNG}, PNG, 1},
			{Plan{Format: JPEG}, JPEG, 1},
			{Plan{Format: Opaque}, from, 3},
			{Plan{Animation: Animation{First: 2, Last: 2}}, from, 1},
		} {
			pic := render(t, tt.plan, data)
			if info, err := Probe(pic.Bytes); err != nil || info.Frames != tt.frames || info.Format != tt.want || pic.Format != tt.want {
				t.Errorf("%s, %s: %s, %+v, %v", from, tt.plan, pic.Format, info, err)
			}
		}
	}
}

func FuzzAnimation(f *testing.F) {
	for _, format := range []Format{GIF, WebP, PNG} {
		for seed := range uint64(2) {
			f.Add(randomFilm(rand.New(rand.NewPCG(seed, 3)), format, 3).file(f, format), uint8(seed))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, how uint8) {
		r := Renderer{MaxPixels: 1 << 14, MaxFrames: 8, MaxSize: 100}
		p := Plan{Width: 12, Format: []Format{GIF, SameFormat, WebP}[how%3], Animation: Animation{Reverse: how&8 != 0, Skip: int(how >> 5 & 2), First: int(how >> 6)}}
		pic, err := r.Render(t.Context(), p, data)
		if err != nil {
			checkKind(t, err)
			return
		}
		if info, err := Probe(pic.Bytes); err != nil || info.Width != pic.Width || info.Height != pic.Height {
			t.Fatalf("%+v, %v", info, err)
		} else if info.Frames > 1 {
			play(t, pic.Bytes)
		}
	})
}
