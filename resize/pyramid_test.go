package resize

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// shared is an Input of data, named by what the test calls it.
func shared(id string, data []byte) []Input { return []Input{{ID: id, Bytes: data}} }

// A level that is given up leaves no memory behind, which nobody would count.
func TestLevelGivenUp(t *testing.T) {
	p := NewPyramids(nil)
	defer p.Close()
	h := &pyramid{levels: []source{all(image.NewGray(image.Rect(0, 0, 512, 512)))}, pins: 1, uses: 2}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.level(ctx, h, 64); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	if n := len(h.arena.buffers); n != 0 {
		t.Errorf("%d buffers are kept", n)
	}
	if s, err := p.level(t.Context(), h, 64); err != nil || s.denom != 8 || p.Bytes() == 0 || len(h.arena.buffers) == 0 {
		t.Errorf("then 1/%d, %v, %d bytes in %d buffers", s.denom, err, p.Bytes(), len(h.arena.buffers))
	}
	h.arena.release()
}

// TestHalved: halves are means, with alpha and at odd sizes too.
func TestHalved(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, size := range []image.Point{{8, 6}, {7, 5}, {1, 1}, {1, 9}, {33, 2}} {
		veil := image.NewNRGBA(image.Rectangle{Max: size})
		for i := range veil.Pix {
			veil.Pix[i] = uint8(rnd.IntN(256))
		}
		solid := &image.RGBA{Pix: bytes.Clone(veil.Pix), Stride: veil.Stride, Rect: veil.Rect}
		for i := 3; i < len(solid.Pix); i += 4 {
			solid.Pix[i] = 255
		}
		gray := image.NewGray(veil.Rect)
		copy(gray.Pix, veil.Pix)
		yuv := image.NewYCbCr(veil.Rect, image.YCbCrSubsampleRatio422)
		copy(yuv.Y, veil.Pix)
		copy(yuv.Cb, veil.Pix[1:])
		copy(yuv.Cr, veil.Pix[2:])
		for _, m := range []image.Image{veil, solid, gray, yuv} {
			t.Run(fmt.Sprintf("%T/%v", m, size), func(t *testing.T) {
				var a arena
				got, err := all(m).halved(t.Context(), &a)
				if err != nil {
					t.Fatal(err)
				}
				if want := image.Pt((size.X+1)/2, (size.Y+1)/2); got.size != want || got.m.Bounds().Size() != want || got.denom != 2 {
					t.Fatalf("%v of %v, 1/%d, want %v", got.m.Bounds(), got.size, got.denom, want)
				}
				src, dst := planes(m), planes(got.m)
				for i := range dst {
					for y := range dst[i].h {
						for x := range dst[i].w {
							checkMean(t, dst[i], src[i], x, y)
						}
					}
				}
			})
		}
	}
}

func checkMean(t *testing.T, dst, src raster, x, y int) {
	t.Helper()
	n, sums, alpha := 0.0, [4]float64{}, 0.0
	for _, at := range [][2]int{{2 * x, 2 * y}, {2*x + 1, 2 * y}, {2 * x, 2*y + 1}, {2*x + 1, 2*y + 1}} {
		if at[0] >= src.w || at[1] >= src.h {
			continue
		}
		px := src.row(at[1])[at[0]*src.ch:][:src.ch]
		weight := 1.0
		if src.alpha {
			weight = float64(px[3]) / 255
			alpha += float64(px[3])
		}
		n++
		for i, v := range px {
			sums[i] += weight * float64(v)
		}
	}
	for i, v := range dst.row(y)[x*dst.ch:][:dst.ch] {
		want := sums[i] / n
		if src.alpha {
			want = sums[i] / (alpha / 255)
			if i == 3 {
				want = alpha / n
			}
		}
		tolerance := 0.6
		if src.alpha {
			tolerance = 1 + 255/max(alpha/n, 1) // colours of little alpha are known roughly
		}
		if math.Abs(float64(v)-want) > tolerance {
			t.Errorf("%d,%d channel %d: %d, want %.2f", x, y, i, v, want)
		}
	}
}

// TestSharedDecode: renders of one original that overlap, or come later, decode it once, as large as the largest needs.
func TestSharedDecode(t *testing.T) {
	data := sample(t, "retina.jpg") // 1411 pixels wide
	widths := func(p *Pyramids, widths ...int) {
		t.Helper()
		// Leave comes when all have asked, so that all arrive together.
		var waiting sync.WaitGroup
		waiting.Add(len(widths))
		r := &Renderer{Pyramids: p, Admit: func(context.Context, int64, bool) (func(), error) {
			for {
				p.mu.Lock()
				d := p.running["retina"]
				all := d == nil || d.waiters == len(widths)
				p.mu.Unlock()
				if all {
					return func() {}, nil
				}
				time.Sleep(time.Millisecond)
			}
		}}
		var group sync.WaitGroup
		for _, w := range widths {
			group.Go(func() {
				pic, err := r.RenderInputs(t.Context(), Plan{Width: float64(w), Format: JPEG}, shared("retina", data))
				if err != nil {
					t.Error(err)
				} else if pic.Width != w {
					t.Errorf("width %d, want %d", pic.Width, w)
				}
			})
		}
		group.Wait()
	}
	for _, tt := range []struct {
		name   string
		rounds [][]int
		want   int64
	}{
		{"together", [][]int{{100, 200, 300, 400, 500, 600, 700}}, 1},
		{"a smaller one after", [][]int{{600}, {100}, {300, 200}}, 1},
		{"larger ones after decode one size larger than they need", [][]int{{100}, {300}, {600}, {400}}, 2},
		{"the largest last", [][]int{{100}, {1400}}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := NewPyramids(nil)
			for _, r := range tt.rounds {
				widths(p, r...)
			}
			if n := p.Decodes(); n != tt.want {
				t.Errorf("%d decodings, want %d", n, tt.want)
			}
			p.Close()
			if n := p.Bytes(); n != 0 {
				t.Errorf("%d bytes after Close, want 0", n)
			}
		})
	}
}

// TestLargerWhileDecoding: one who wants more than is being decoded has it begin anew, and all are served by that.
func TestLargerWhileDecoding(t *testing.T) {
	p := NewPyramids(nil)
	defer p.Close()
	r := &Renderer{Pyramids: p}
	data := sample(t, "rocket.jpg")
	info, err := Probe(data)
	if err != nil {
		t.Fatal(err)
	}
	known, err := newInput(shared("rocket", data)[0], info)
	if err != nil {
		t.Fatal(err)
	}
	in := &known
	get := func(denom int) chan *pyramid {
		got := make(chan *pyramid, 1)
		go func() {
			h, leave, err := p.get(t.Context(), r, in, need{denom, in.bounds()}, 0)
			if err != nil {
				t.Error(err)
			}
			if leave != nil {
				leave()
			}
			got <- h
		}()
		return got
	}
	// The first attempt stands still, between its beginning and its first pixel, until a second render has come.
	var begun, larger sync.WaitGroup
	begun.Add(1)
	larger.Add(1)
	jpg := *codecFor(JPEG)
	defer Register(jpg)
	slow, attempts := jpg, atomic.Int64{}
	slow.Decode = func(ctx context.Context, data []byte, o DecodeOptions) (image.Image, error) {
		if attempts.Add(1) == 1 {
			begun.Done()
			larger.Wait()
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		return jpg.Decode(ctx, data, o)
	}
	Register(slow)
	small := get(8)
	begun.Wait()
	large := get(1)
	larger.Done()
	a, b := <-small, <-large
	if a != b || a.has.denom != 1 {
		t.Errorf("%v and %v, want one decoding of all pixels", a.has, b.has)
	}
	if n := attempts.Load(); n != 2 {
		t.Errorf("%d attempts, want 2", n)
	}
	p.unpin(a)
	p.unpin(b)
}

// TestDecodeCancelled: a decoding goes on while anybody waits, and ends when nobody does.
func TestDecodeCancelled(t *testing.T) {
	data := sample(t, "rocket.jpg")
	gone := errors.New("gone")
	p := NewPyramids(nil)
	defer p.Close()
	ended, asked := make(chan error, 1), make(chan struct{}, 1)
	r := &Renderer{Pyramids: p, Admit: func(ctx context.Context, _ int64, _ bool) (func(), error) {
		asked <- struct{}{}
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil, context.Cause(ctx)
	}}
	render := func(ctx context.Context) chan error {
		done := make(chan error, 1)
		go func() {
			_, err := r.RenderInputs(ctx, Plan{Width: 50}, shared("rocket", data))
			done <- err
		}()
		return done
	}
	waiters := func(n int) {
		t.Helper()
		for {
			p.mu.Lock()
			d := p.running["rocket"]
			ok := d != nil && d.waiters == n
			p.mu.Unlock()
			if ok {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	first, leaveFirst := context.WithCancelCause(t.Context())
	second, leaveSecond := context.WithCancelCause(t.Context())
	a := render(first)
	<-asked
	b := render(second)
	waiters(2)
	leaveFirst(gone)
	if err := <-a; !errors.Is(err, gone) {
		t.Errorf("the first: %v, want its cause", err)
	}
	waiters(1)
	select {
	case <-ended:
		t.Fatal("the decoding ended with one that waits")
	default:
	}
	leaveSecond(gone)
	if err := <-b; !errors.Is(err, gone) {
		t.Errorf("the second: %v, want its cause", err)
	}
	<-ended
	if n := p.Bytes(); n != 0 {
		t.Errorf("%d bytes are held, want 0", n)
	}
}

// TestPyramidsKeep: pixels go by age, by room, and when they are removed.
func TestPyramidsKeep(t *testing.T) {
	data := sample(t, "rocket.jpg") // 640x427
	render := func(p *Pyramids, id string) {
		t.Helper()
		r := &Renderer{Pyramids: p}
		if _, err := r.RenderInputs(context.Background(), Plan{Width: 200}, shared(id, data)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(p *Pyramids, decodes int64, held ...string) {
		t.Helper()
		p.mu.Lock()
		defer p.mu.Unlock()
		sum := int64(0)
		for e := p.order.Front(); e != nil; e = e.Next() {
			h := e.Value.(*pyramid)
			sum += h.bytes
			if h.pins != 0 || p.held[h.id] != h {
				t.Errorf("%s: %d pins, held %v", h.id, h.pins, p.held[h.id] == h)
			}
		}
		if p.kept != sum || p.alive != sum || p.kept > p.most || len(p.held) != p.order.Len() {
			t.Errorf("%d bytes kept, %d alive, of %d; counted %d in %d of %d", p.kept, p.alive, p.most, sum, len(p.held), p.order.Len())
		}
		if p.decodes != decodes || len(p.held) != len(held) {
			t.Errorf("%d decodings, %d held; want %d, %v", p.decodes, len(p.held), decodes, held)
		}
		for _, id := range held {
			if p.held[id] == nil {
				t.Errorf("%s is not held", id)
			}
		}
	}
	t.Run("age", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := NewPyramids(&PyramidOptions{Keep: 10 * time.Second})
			defer p.Close()
			render(p, "a")
			time.Sleep(6 * time.Second)
			render(p, "b")
			render(p, "a") // which makes it no younger
			check(p, 2, "a", "b")
			time.Sleep(5 * time.Second)
			check(p, 2, "b")
			time.Sleep(6 * time.Second)
			check(p, 2)
			render(p, "a")
			check(p, 3, "a")
		})
	})
	t.Run("room", func(t *testing.T) {
		p := NewPyramids(&PyramidOptions{Bytes: 500_000}) // for two at 1/2
		defer p.Close()
		render(p, "a")
		render(p, "b")
		render(p, "a")
		render(p, "c")
		check(p, 3, "a", "c")
	})
	t.Run("none", func(t *testing.T) {
		p := NewPyramids(&PyramidOptions{Bytes: -1})
		defer p.Close()
		render(p, "a")
		render(p, "a")
		check(p, 2)
	})
	t.Run("remove", func(t *testing.T) {
		p := NewPyramids(nil)
		defer p.Close()
		render(p, "a")
		render(p, "b")
		p.Remove("a")
		check(p, 2, "b")
		p.Clear()
		check(p, 2)
	})
	t.Run("free", func(t *testing.T) {
		p := NewPyramids(nil)
		defer p.Close()
		render(p, "a")
		render(p, "b")
		p.Free(p.Bytes() - 1)
		check(p, 2, "b")
	})
	t.Run("close", func(t *testing.T) {
		p := NewPyramids(nil)
		render(p, "a")
		p.Close()
		check(p, 1)
		render(p, "a")
		check(p, 2)
	})
}

// TestPyramidsAtRandom renders by many at once, some of whom go away, with little room; what comes out is right, and nothing is
// held at the end.
func TestPyramidsAtRandom(t *testing.T) {
	originals := map[string][]byte{}
	for _, name := range []string{"rocket.jpg", "coffee.png", "hubble_deep_field.jpg"} {
		originals[name] = sample(t, name)
	}
	names := []string{"rocket.jpg", "coffee.png", "hubble_deep_field.jpg"}
	p := NewPyramids(&PyramidOptions{Bytes: 2 << 20, Keep: 20 * time.Millisecond})
	slots := make(chan struct{}, 2)
	r := &Renderer{Pyramids: p, Admit: func(ctx context.Context, bytes int64, _ bool) (func(), error) {
		if bytes <= 0 {
			t.Errorf("leave for %d bytes", bytes)
		}
		select {
		case slots <- struct{}{}:
			return func() { <-slots }, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(worker)))
			for range 15 {
				name := names[rnd.IntN(len(names))]
				plan := Plan{Width: float64(30 + rnd.IntN(400)), Format: JPEG}
				if rnd.IntN(3) == 0 {
					plan.Rect = &Rect{X: 0.5 * rnd.Float64(), Y: 0.5 * rnd.Float64(), W: 0.3, H: 0.3}
				}
				inputs := shared(name, originals[name])
				if rnd.IntN(3) == 0 {
					plan.Marks = []Mark{{Width: 0.3}}
					inputs = append(inputs, Input{ID: "coffee.png", Bytes: originals["coffee.png"]})
				}
				ctx, cancel := context.WithCancel(t.Context())
				if rnd.IntN(4) == 0 {
					time.AfterFunc(time.Duration(rnd.IntN(3000))*time.Microsecond, cancel)
				}
				switch pic, err := r.RenderInputs(ctx, plan, inputs); {
				case err != nil && ctx.Err() == nil:
					t.Error(err)
				case err == nil:
					var alone Renderer
					want, err := alone.RenderInputs(t.Context(), plan, inputs)
					if err != nil {
						t.Error(err)
					} else if d := psnr(toCanvas(independent(t, pic.Bytes)), toCanvas(independent(t, want.Bytes))); d < 27 {
						t.Errorf("%s of %s: %.1f dB from what is made alone", plan, name, d)
					}
				}
				cancel()
				if rnd.IntN(10) == 0 {
					p.Remove(name)
				}
			}
		})
	}
	group.Wait()
	p.Close()
	for {
		p.mu.Lock()
		n := len(p.running)
		p.mu.Unlock()
		if n == 0 && len(slots) == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if n := p.Bytes(); n != 0 || len(slots) != 0 {
		t.Errorf("%d bytes and %d slots are held, want none", n, len(slots))
	}
}

// A render that could share a decoding, but only one that takes more than a render may, decodes for itself.
func TestSharingStaysWithinMaxMemory(t *testing.T) {
	data := sample(t, "retina.jpg")
	whole, part := Plan{Width: 200, Format: JPEG}, Plan{Width: 300, Format: JPEG, Rect: &Rect{X: 300, Y: 300, W: 300, H: 300}}
	asked := make(map[int64]int)
	var mu sync.Mutex
	begun, release := make(chan struct{}, 9), make(chan struct{})
	r := &Renderer{Pyramids: NewPyramids(nil), Admit: func(_ context.Context, bytes int64, _ bool) (func(), error) {
		mu.Lock()
		asked[bytes]++
		mu.Unlock()
		begun <- struct{}{}
		<-release
		return func() {}, nil
	}}
	defer r.Pyramids.Close()
	estimate := func(p Plan) int64 {
		j, err := r.prepare(p, []Input{{Bytes: data}})
		if err != nil {
			t.Fatal(err)
		}
		return j.renderBytes() + r.decodeBytes(&j.inputs[0], j.needOf(0))
	}
	r.MaxMemory = max(estimate(whole), estimate(part)) // and not enough for all of it at the part's scale
	var group sync.WaitGroup
	for _, p := range []Plan{whole, part} {
		group.Go(func() {
			if _, err := r.RenderInputs(t.Context(), p, []Input{{ID: "retina", Bytes: data}}); err != nil {
				t.Error(err)
			}
		})
		<-begun // so that the second comes while the first decodes
	}
	close(release)
	group.Wait()
	for bytes := range asked {
		if bytes > r.MaxMemory {
			t.Errorf("%d bytes were asked for, of at most %d", bytes, r.MaxMemory)
		}
	}
	if asked[estimate(whole)] != 1 || asked[estimate(part)] != 1 || r.Pyramids.Decodes() != 1 {
		t.Errorf("asked for %v, and %d decodings were shared; want one of %d, and one of %d apart", asked, r.Pyramids.Decodes(), estimate(whole), estimate(part))
	}
}
