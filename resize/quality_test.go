package resize

import (
	"bytes"
	"flag"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"testing"

	"github.com/imagecdn/imagecdn/internal/ssim"
)

var photos = flag.String("photos", "", "a directory of more JPEG photographs for TestQuality")

// slowScaled makes w by h samples of all of m: the kernel, and nothing else, in floating point.
func slowScaled(m *image.Gray, w, h int) ssim.Plane {
	narrow, out := make([]float64, w*m.Rect.Dy()), ssim.Plane{W: w, H: h, V: make([]float64, w*h)}
	across := make([][]share, w)
	for x := range across {
		across[x] = slowAxis(x, w, m.Rect.Dx(), 0, float64(m.Rect.Dx()))
	}
	for y := range m.Rect.Dy() {
		for x, shares := range across {
			for _, s := range shares {
				narrow[y*w+x] += s.weight * float64(m.Pix[y*m.Stride+s.input])
			}
		}
	}
	for y := range h {
		to := out.V[y*w:][:w]
		for _, s := range slowAxis(y, h, m.Rect.Dy(), 0, float64(m.Rect.Dy())) {
			for x, v := range narrow[s.input*w:][:w] {
				to[x] += s.weight * v
			}
		}
		for x, v := range to {
			to[x] = min(max(v, 0), 255)
		}
	}
	return out
}

// qualityOriginals are the samples, as they are and as JPEG; halves of them, which are as sharp as their pixels allow, as
// what comes from another image service is; and what the flag names.
func qualityOriginals(t *testing.T) map[string][]byte {
	all := make(map[string][]byte)
	for _, name := range sampleNames(t) {
		data := sample(t, name)
		all[name] = data
		m := independent(t, data)
		small := pixels(t, Plan{Width: 0.5}, data)
		for _, v := range []struct {
			name string
			m    image.Image
		}{{name + " as JPEG", m}, {name + " at half its size", small}} {
			var b bytes.Buffer
			if err := jpeg.Encode(&b, v.m, &jpeg.Options{Quality: 92}); err != nil {
				t.Fatal(err)
			}
			all[v.name] = b.Bytes()
		}
	}
	if *photos != "" {
		names, err := filepath.Glob(filepath.Join(*photos, "*.jpg"))
		if err != nil || len(names) == 0 {
			t.Fatalf("no photographs in %s: %v", *photos, err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all[filepath.Base(name)] = data
		}
	}
	return all
}

// TestQuality: every size looks as if the kernel had made it from all pixels of the original, whether it was decoded
// for that size or larger, for another, and halved since. The sizes are those at which less is decoded, or more averaged,
// than right below, and some between.
func TestQuality(t *testing.T) {
	slow(t)
	const least = 0.995
	p := NewPyramids(nil)
	defer p.Close()
	r := &Renderer{Pyramids: p}
	worst, where := 1.0, ""
	for name, data := range qualityOriginals(t) {
		info, err := Probe(data)
		if err != nil {
			t.Fatal(name, err)
		}
		prepare := func(w, h int) *job {
			j, err := r.prepare(Plan{Width: float64(w), Height: float64(h), Fit: Scale, Color: Strip, Format: JPEG, Orient: 1}, shared(name, data))
			if err != nil {
				t.Fatal(name, err)
			}
			return j
		}
		decoded := make(map[int]*pyramid)
		for _, denom := range []int{1, 2, 4, 8} {
			in := &prepare(100, 100).inputs[0]
			h, err := (&decoding{input: in, r: r}).decode(t.Context(), need{denom, in.bounds()})
			if err != nil {
				t.Fatal(name, err)
			}
			defer h.arena.release()
			h.uses = 2
			decoded[denom] = h
		}
		var reductions []float64
		for denom, margin := range scaledMargin {
			reductions = append(reductions, float64(denom)*margin)
		}
		for denom := 1.0; denom <= 8; denom *= 2 { // boxes, and halves
			reductions = append(reductions, denom*shrinkAbove/2, denom*shrinkAbove/2*1.4)
		}
		for _, reduction := range reductions {
			w, h := int(float64(info.Width)/reduction), int(float64(info.Height)/reduction)
			if w < 40 || h < 30 {
				continue
			}
			want := slowScaled(gray8(decoded[1].levels[0].m), w, h)
			for denom := 1; denom <= prepare(w, h).denom(); denom *= 2 {
				if info.Format != JPEG && denom > 1 {
					break
				}
				j := prepare(w, h)
				src, err := p.level(t.Context(), decoded[denom], j.reduction())
				if err != nil {
					t.Fatal(err)
				}
				for _, src := range []source{decoded[denom].levels[0], src} {
					m, err := prepare(w, h).compose(t.Context(), src)
					if err != nil {
						t.Fatal(err)
					}
					v, err := ssim.Mean(ssim.Of(gray8(m)), want)
					if err != nil {
						t.Fatal(err)
					}
					at := fmt.Sprintf("%s, %dx%d of %dx%d, decoded at 1/%d, level 1/%d", name, w, h, info.Width, info.Height, denom, src.denom)
					if v < least {
						t.Errorf("%s: SSIM %.4f, want %.3f", at, v, least)
					}
					if v < worst {
						worst, where = v, at
					}
				}
			}
		}
	}
	t.Logf("SSIM is %.4f at least: %s", worst, where)
}
