package resize

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// What follows is each effect a second time, as its documentation reads: in float64, pixel by pixel, with nothing compiled.

// A slowPixel is red, green, blue and alpha, 0 to 1, colours not weighted by alpha.
type slowPixel [4]float64

// A slowPicture has its pixels row by row.
type slowPicture struct {
	w, h int
	px   []slowPixel
}

func toSlow(m *image.NRGBA) slowPicture {
	c := slowPicture{m.Rect.Dx(), m.Rect.Dy(), nil}
	for y := range c.h {
		for x := range c.w {
			p := m.NRGBAAt(x, y)
			c.px = append(c.px, slowPixel{float64(p.R) / 255, float64(p.G) / 255, float64(p.B) / 255, float64(p.A) / 255})
		}
	}
	return c
}

func (c slowPicture) each(f func(p slowPixel) [3]float64) slowPicture {
	out := slowPicture{c.w, c.h, make([]slowPixel, len(c.px))}
	for i, p := range c.px {
		q := f(p)
		out.px[i] = slowPixel{clamp01(q[0]), clamp01(q[1]), clamp01(q[2]), p[3]}
	}
	return out
}

func (c slowPicture) curve(f func(v float64) float64) slowPicture {
	return c.each(func(p slowPixel) [3]float64 { return [3]float64{f(p[0]), f(p[1]), f(p[2])} })
}

func slowLuma(p slowPixel) float64 { return 0.2126*p[0] + 0.7152*p[1] + 0.0722*p[2] }

// blur is a Gaussian of the picture mirrored at its edges, by the sum over all that is near.
func (c slowPicture) blur(sigma float64) slowPicture {
	mirror := func(i, n int) int {
		i = ((i % (2 * n)) + 2*n) % (2 * n)
		return min(i, 2*n-1-i)
	}
	pass := func(in [][4]float64, n, others int, index func(along, other int) int) [][4]float64 {
		out := make([][4]float64, len(in))
		reach := int(math.Ceil(4.5 * sigma))
		bell := make([]float64, reach+1)
		for d := range bell {
			bell[d] = math.Exp(-float64(d*d) / (2 * sigma * sigma))
		}
		for o := range others {
			for i := range n {
				var sum [4]float64
				all := 0.0
				for d := -reach; d <= reach; d++ {
					w := bell[max(d, -d)]
					p := in[index(mirror(i+d, n), o)]
					for ch := range 4 {
						sum[ch] += w * p[ch]
					}
					all += w
				}
				for ch := range 4 {
					out[index(i, o)][ch] = sum[ch] / all
				}
			}
		}
		return out
	}
	weighted := make([][4]float64, len(c.px))
	for i, p := range c.px {
		weighted[i] = [4]float64{p[0] * p[3], p[1] * p[3], p[2] * p[3], p[3]}
	}
	weighted = pass(weighted, c.w, c.h, func(x, y int) int { return y*c.w + x })
	weighted = pass(weighted, c.h, c.w, func(y, x int) int { return y*c.w + x })
	out := slowPicture{c.w, c.h, make([]slowPixel, len(c.px))}
	for i, p := range weighted {
		if p[3] > 0 {
			out.px[i] = slowPixel{p[0] / p[3], p[1] / p[3], p[2] / p[3], p[3]}
		}
	}
	return out
}

func (c slowPicture) unsharp(sigma, k float64) slowPicture {
	b := c.blur(sigma)
	i := -1
	return c.each(func(p slowPixel) [3]float64 {
		i++
		d := k * (slowLuma(p) - slowLuma(b.px[i]))
		return [3]float64{p[0] + d, p[1] + d, p[2] + d}
	})
}

func (c slowPicture) noise(nr, nrs float64) slowPicture {
	b := c.blur(1.5)
	i := -1
	return c.each(func(p slowPixel) (q [3]float64) {
		i++
		d := slowLuma(p) - slowLuma(b.px[i])
		w := 1.0
		if nr != 0 {
			w = math.Min(1, math.Pow(d*1000/nr, 2))
		}
		for ch := range 3 {
			q[ch] = p[ch] + w*nrs/50*d - (1-w)*math.Copysign(1, nr)*(p[ch]-b.px[i][ch])
		}
		return q
	})
}

func (c slowPicture) pixelate(side int) slowPicture {
	out := slowPicture{c.w, c.h, make([]slowPixel, len(c.px))}
	for y := range c.h {
		for x := range c.w {
			var sum slowPixel
			n := 0.0
			for v := y / side * side; v < min(y/side*side+side, c.h); v++ {
				for u := x / side * side; u < min(x/side*side+side, c.w); u++ {
					p := c.px[v*c.w+u]
					for ch := range 3 {
						sum[ch] += p[ch] * p[3]
					}
					sum[3] += p[3]
					n++
				}
			}
			if sum[3] > 0 {
				out.px[y*c.w+x] = slowPixel{sum[0] / sum[3], sum[1] / sum[3], sum[2] / sum[3], sum[3] / n}
			}
		}
	}
	return out
}

func (c slowPicture) vibrance(v float64) slowPicture {
	return c.each(func(p slowPixel) (q [3]float64) {
		r, g, b := p[0], p[1], p[2]
		chroma := max(r, g, b) - min(r, g, b)
		k := v / 100 * (1 - chroma)
		if r > g && g > b {
			k *= 1 - min(r-g, g-b)/chroma
		}
		for ch := range 3 {
			q[ch] = p[ch] + (p[ch]-slowLuma(p))*k
		}
		return q
	})
}

func (c slowPicture) saturate(s float64) slowPicture {
	return c.each(func(p slowPixel) (q [3]float64) {
		for ch := range 3 {
			q[ch] = slowLuma(p) + (p[ch]-slowLuma(p))*(1+s/100)
		}
		return q
	})
}

// hue is the matrix as W3C Filter Effects writes it down, but for the digits of luma.
func (c slowPicture) hue(degrees float64) slowPicture {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	return c.each(func(p slowPixel) (q [3]float64) {
		q[0] = (0.2126+cos*0.7874-sin*0.213)*p[0] + (0.7152-cos*0.7152-sin*0.715)*p[1] + (0.0722-cos*0.0722+sin*0.928)*p[2]
		q[1] = (0.2126-cos*0.2126+sin*0.143)*p[0] + (0.7152+cos*0.2848+sin*0.140)*p[1] + (0.0722-cos*0.0722-sin*0.283)*p[2]
		q[2] = (0.2126-cos*0.2126-sin*0.787)*p[0] + (0.7152-cos*0.7152+sin*0.715)*p[1] + (0.0722+cos*0.9278+sin*0.072)*p[2]
		return q
	})
}

func (c slowPicture) toward(dark, light [3]float64, part float64) slowPicture {
	return c.each(func(p slowPixel) (q [3]float64) {
		for ch := range 3 {
			q[ch] = (1-part)*p[ch] + part*(dark[ch]+(light[ch]-dark[ch])*slowLuma(p))
		}
		return q
	})
}

func (c slowPicture) sepia(part float64) slowPicture {
	return c.each(func(p slowPixel) [3]float64 {
		return [3]float64{
			(1-part)*p[0] + part*(0.393*p[0]+0.769*p[1]+0.189*p[2]),
			(1-part)*p[1] + part*(0.349*p[0]+0.686*p[1]+0.168*p[2]),
			(1-part)*p[2] + part*(0.272*p[0]+0.534*p[1]+0.131*p[2]),
		}
	})
}

// halftone is a screen whose thresholds are found by bisection of the share of a cell that is below each.
func (c slowPicture) halftone(side float64) slowPicture {
	shares := func() func(v float64) float64 {
		const n = 800
		var counts [4001]float64
		for a := range n {
			for b := range n {
				v := (math.Cos(2*math.Pi*(float64(a)+0.3)/n) + math.Cos(2*math.Pi*(float64(b)+0.3)/n)) / 2
				counts[int(math.Round((v+1)*2000))]++
			}
		}
		sum := 0.0
		for i, v := range counts {
			counts[i] = (sum + v/2) / (n * n)
			sum += v
		}
		return func(v float64) float64 { return counts[int(math.Round((v+1)*2000))] }
	}()
	soft := math.Min(3/math.Max(side, 2), 1)
	out := slowPicture{c.w, c.h, make([]slowPixel, len(c.px))}
	for y := range c.h {
		for x := range c.w {
			p := c.px[y*c.w+x]
			u, v := float64(x+y)/math.Sqrt2, float64(x-y)/math.Sqrt2
			turn := 2 * math.Pi / math.Max(side, 2)
			t := shares((math.Cos(u*turn) + math.Cos(v*turn)) / 2)
			l := slowLuma(p)
			// Black and white stay, as does the mean of a cell: see the comment of tones.
			switch {
			case l < soft/2:
				l = math.Sqrt(2*soft*l) - soft/2
			case l > 1-soft/2:
				l = 1 - (math.Sqrt(2*soft*math.Max(1-l, 0)) - soft/2)
			}
			q := clamp01((l-t)/soft + 0.5)
			out.px[y*c.w+x] = slowPixel{q, q, q, p[3]}
		}
	}
	return out
}

// colourful has all kinds of colours: a photograph, noise, ramps and grays.
func colourful(t testing.TB) *image.NRGBA {
	m := toNRGBA(pixels(t, Plan{Width: 96, Height: 64, Fit: Cover}, sample(t, "astronaut.png")))
	n := noise(96, 16)
	for y := range 16 {
		for x := range 96 {
			c := n.NRGBAAt(x, y)
			c.A = 255
			switch {
			case y >= 12:
				v := uint8(x * 255 / 95)
				c = color.NRGBA{v, v, v, 255}
			case y >= 8:
				v := uint8(x * 255 / 95)
				c = color.NRGBA{v, uint8(y * 20), 255 - v, 255}
			}
			m.SetNRGBA(x, y, c)
		}
	}
	return m
}

// translucent is colourful with transparency of all degrees.
func translucent(t testing.TB) *image.NRGBA {
	m := colourful(t)
	for i := 3; i < len(m.Pix); i += 4 {
		x, y := i/4%96, i/4/96
		m.Pix[i] = uint8(min(max(3*x-y, 0), 255))
	}
	return m
}

var pink = color.NRGBA{255, 34, 102, 255}

// twins are plans, and what they are by the book.
var twins = []struct {
	name string
	plan Plan
	slow func(c slowPicture) slowPicture
	off  float64 // levels that a channel may be off by; zero means 1. Weights of noise reduction are steep, and random colours far from their surroundings
}{
	{"exposure up", Plan{Adjust: Adjust{Exposure: 70}}, func(c slowPicture) slowPicture {
		return c.curve(func(v float64) float64 { return fromLinear(toLinear(v) * math.Pow(2, 1.4)) })
	}, 0},
	{"exposure down", Plan{Adjust: Adjust{Exposure: -100}}, func(c slowPicture) slowPicture {
		return c.curve(func(v float64) float64 { return fromLinear(toLinear(v) / 4) })
	}, 0},
	{"brightness", Plan{Adjust: Adjust{Brightness: 33}}, func(c slowPicture) slowPicture {
		return c.curve(func(v float64) float64 { return v + 0.33 })
	}, 0},
	{"contrast", Plan{Adjust: Adjust{Contrast: 60}}, func(c slowPicture) slowPicture {
		return c.curve(func(v float64) float64 { return (v-0.5)*1.6 + 0.5 })
	}, 0},
	{"gamma", Plan{Adjust: Adjust{Gamma: -80}}, func(c slowPicture) slowPicture {
		return c.curve(func(v float64) float64 { return math.Pow(v, math.Pow(2, 0.8)) })
	}, 0},
	{"highlights", Plan{Adjust: Adjust{Highlights: -80}}, func(c slowPicture) slowPicture {
		return c.curve(func(v float64) float64 { return v - 1.6*v*v*v*(1-v) })
	}, 0},
	{"shadows", Plan{Adjust: Adjust{Shadows: 70}}, func(c slowPicture) slowPicture {
		return c.curve(func(v float64) float64 { return v + 1.4*v*(1-v)*(1-v)*(1-v) })
	}, 0},
	{"hue", Plan{Adjust: Adjust{Hue: 75}}, func(c slowPicture) slowPicture { return c.hue(75) }, 0},
	{"saturation up", Plan{Adjust: Adjust{Saturation: 90}}, func(c slowPicture) slowPicture { return c.saturate(90) }, 0},
	{"saturation down", Plan{Adjust: Adjust{Saturation: -60}}, func(c slowPicture) slowPicture { return c.saturate(-60) }, 0},
	{"vibrance up", Plan{Adjust: Adjust{Vibrance: 100}}, func(c slowPicture) slowPicture { return c.vibrance(100) }, 0},
	{"vibrance down", Plan{Adjust: Adjust{Vibrance: -70}}, func(c slowPicture) slowPicture { return c.vibrance(-70) }, 0},
	{"invert", Plan{Adjust: Adjust{Invert: true}}, func(c slowPicture) slowPicture {
		return c.curve(func(v float64) float64 { return 1 - v })
	}, 0.5},
	{"order", Plan{Adjust: Adjust{Contrast: 40, Gamma: 30, Vibrance: -50, Invert: true}, Stylize: Stylize{Sepia: 50}}, func(c slowPicture) slowPicture {
		return c.curve(func(v float64) float64 { return (v-0.5)*1.4 + 0.5 }).curve(func(v float64) float64 { return math.Pow(v, math.Pow(2, -0.3)) }).
			vibrance(-50).curve(func(v float64) float64 { return 1 - v }).sepia(0.5)
	}, 0},
	{"noise", Plan{Adjust: Adjust{NoiseReduction: 60, NoiseThreshold: 30}}, func(c slowPicture) slowPicture { return c.noise(60, 30) }, 6},
	{"noise brought out", Plan{Adjust: Adjust{NoiseReduction: -40, NoiseThreshold: -20}}, func(c slowPicture) slowPicture { return c.noise(-40, -20) }, 6},
	{"edges alone", Plan{Adjust: Adjust{NoiseThreshold: 100}}, func(c slowPicture) slowPicture { return c.noise(0, 100) }, 2},
	{"sharpen", Plan{Adjust: Adjust{Sharpen: 50}}, func(c slowPicture) slowPicture { return c.unsharp(1, 1) }, 0},
	{"unsharp", Plan{Adjust: Adjust{Unsharp: 80}}, func(c slowPicture) slowPicture { return c.unsharp(2.5, 0.8) }, 0},
	{"unsharp, wide and dense", Plan{DPR: 2, Adjust: Adjust{Unsharp: -60, UnsharpRadius: 6}}, func(c slowPicture) slowPicture { return c.unsharp(12, -0.6) }, 1.5},
	{"blur a little", Plan{Stylize: Stylize{Blur: 12}}, func(c slowPicture) slowPicture { return c.blur(1.2) }, 0},
	{"blur", Plan{Stylize: Stylize{Blur: 50}}, func(c slowPicture) slowPicture { return c.blur(5) }, 0},
	{"blur more", Plan{Stylize: Stylize{Blur: 90}}, func(c slowPicture) slowPicture { return c.blur(9) }, 1.5},
	{"blur dense", Plan{DPR: 3, Stylize: Stylize{Blur: 60}}, func(c slowPicture) slowPicture { return c.blur(18) }, 1.5},
	{"blur most", Plan{Stylize: Stylize{Blur: 2000}}, func(c slowPicture) slowPicture { return c.blur(200) }, 0},
	{"pixelate", Plan{Stylize: Stylize{Pixelate: 7}}, func(c slowPicture) slowPicture { return c.pixelate(7) }, 0},
	{"pixelate dense", Plan{DPR: 2.5, Stylize: Stylize{Pixelate: 3}}, func(c slowPicture) slowPicture { return c.pixelate(8) }, 0},
	{"monochrome", Plan{Stylize: Stylize{Monochrome: &pink}}, func(c slowPicture) slowPicture { return c.toward([3]float64{}, parts(pink), 1) }, 0},
	{"monochrome in part", Plan{Stylize: Stylize{Monochrome: &color.NRGBA{255, 34, 102, 51}}}, func(c slowPicture) slowPicture {
		return c.toward([3]float64{}, parts(pink), 0.2)
	}, 0},
	{"sepia", Plan{Stylize: Stylize{Sepia: 100}}, func(c slowPicture) slowPicture { return c.sepia(1) }, 0},
	{"duotone", Plan{Stylize: Stylize{Duotone: &Duotone{Dark: pink, Light: color.NRGBA{20, 255, 0, 0}}}}, func(c slowPicture) slowPicture {
		return c.toward(parts(pink), [3]float64{20. / 255, 1, 0}, 1)
	}, 0},
	{"duotone in part", Plan{Stylize: Stylize{Duotone: &Duotone{Light: pink, Alpha: 35}}}, func(c slowPicture) slowPicture {
		return c.toward([3]float64{}, parts(pink), 0.35)
	}, 0},
	{"blur, squares, one colour", Plan{Stylize: Stylize{Blur: 20, Pixelate: 5, Monochrome: &pink}}, func(c slowPicture) slowPicture {
		return c.blur(2).pixelate(5).toward([3]float64{}, parts(pink), 1)
	}, 2},
}

// TestEffectsByTheBook compares every effect with its twin, to the level, with transparency and without.
func TestEffectsByTheBook(t *testing.T) {
	for name, m := range map[string]*image.NRGBA{"opaque": colourful(t), "translucent": translucent(t)} {
		data := encodePixels(t, m)
		from := toSlow(m)
		for _, tt := range twins {
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				got, want := toNRGBA(pixels(t, tt.plan, data)), tt.slow(from)
				off := tt.off
				if off == 0 {
					off = 1
				}
				worst, sum := 0.0, 0.0
				for i, w := range want.px {
					g := got.Pix[4*i:][:4]
					if d := math.Abs(float64(g[3]) - 255*w[3]); d > off {
						t.Fatalf("pixel %d,%d: alpha is %d, want %.2f", i%want.w, i/want.w, g[3], 255*w[3])
					}
					for ch := range 3 {
						// Under transparency a level of what is seen is more of what is stored.
						d := math.Abs(float64(g[ch])-255*w[ch]) * w[3]
						if d > off+0.02 {
							t.Fatalf("pixel %d,%d: channel %d is %d, want %.2f", i%want.w, i/want.w, ch, g[ch], 255*w[ch])
						}
						worst = max(worst, d)
						sum += d
					}
				}
				mean := sum / float64(3*len(want.px))
				t.Logf("off by %.2f levels at most, %.2f in the mean", worst, mean)
				if mean > 0.5 {
					t.Errorf("off by %.2f levels in the mean", mean)
				}
			})
		}
	}
}

// TestHalftoneByTheBook: edges of dots are steep, so a pixel may be off where the twin's thresholds are, and few are.
func TestHalftoneByTheBook(t *testing.T) {
	m := colourful(t)
	for _, side := range []float64{1, 2, 5, 8.5, 40} {
		got := toNRGBA(pixels(t, Plan{Stylize: Stylize{Halftone: side}}, encodePixels(t, m)))
		want := toSlow(m).halftone(side)
		bad := 0
		for i, w := range want.px {
			if math.Abs(float64(got.Pix[4*i])-255*w[0]) > 4 {
				bad++
			}
		}
		if bad > len(want.px)/50 {
			t.Errorf("side %v: %d of %d pixels are off", side, bad, len(want.px))
		}
	}
}

// TestHalftoneKeepsTones: as much of a screen is white as the luma says.
func TestHalftoneKeepsTones(t *testing.T) {
	for _, side := range []float64{3, 6, 12.5} {
		for v := 0; v < 256; v += 15 {
			m := image.NewGray(image.Rect(0, 0, 160, 160))
			for i := range m.Pix {
				m.Pix[i] = uint8(v)
			}
			got := pixels(t, Plan{Stylize: Stylize{Halftone: side}}, encodePixels(t, m)).(*image.Gray)
			sum := 0
			for _, p := range got.Pix {
				sum += int(p)
			}
			if mean := float64(sum) / (160 * 160); math.Abs(mean-float64(v)) > 3 || (v == 0 || v == 255) && mean != float64(v) {
				t.Errorf("side %v: %d becomes %.1f", side, v, mean)
			}
		}
	}
}

func TestNoEffectIsIdentity(t *testing.T) {
	none := color.NRGBA{200, 100, 50, 0}
	for name, m := range map[string]image.Image{"transparent": noise(31, 17), "opaque": colourful(t), "gray": gray8(colourful(t))} {
		for _, p := range []Plan{
			{Adjust: Adjust{UnsharpRadius: 5}},
			{Adjust: Adjust{Hue: 360}},
			{Stylize: Stylize{Pixelate: 1}},
			{Stylize: Stylize{Monochrome: &none}},
			{Stylize: Stylize{Blur: 1}},
		} {
			t.Run(fmt.Sprint(name, p), func(t *testing.T) {
				samePixels(t, pixels(t, p, encodePixels(t, m)), m)
			})
		}
	}
}

// TestSmallEffectIsSmall: next to zero is next to no change, whatever the field.
func TestSmallEffectIsSmall(t *testing.T) {
	m := translucent(t)
	for _, p := range []Plan{
		{Adjust: Adjust{Exposure: 1e-3}}, {Adjust: Adjust{Brightness: -1e-3}}, {Adjust: Adjust{Contrast: 1e-3}}, {Adjust: Adjust{Gamma: 1e-3}},
		{Adjust: Adjust{Highlights: -1e-3}}, {Adjust: Adjust{Shadows: 1e-3}}, {Adjust: Adjust{Hue: 1e-3}}, {Adjust: Adjust{Hue: 359.999}},
		{Adjust: Adjust{Saturation: 1e-3}}, {Adjust: Adjust{Vibrance: -1e-3}}, {Adjust: Adjust{Sharpen: 1e-3}}, {Adjust: Adjust{Unsharp: 1e-3}},
		{Stylize: Stylize{Blur: 1e-3}}, {Stylize: Stylize{Sepia: 1e-3}}, {Stylize: Stylize{Halftone: 0}},
	} {
		samePixels(t, pixels(t, p, encodePixels(t, m)), m)
	}
}

func TestExtremes(t *testing.T) {
	data := encodePixels(t, colourful(t))
	all := func(name string, p Plan, ok func(r, g, b uint8) bool) {
		t.Helper()
		m := toNRGBA(pixels(t, p, data))
		for i := 0; i < len(m.Pix); i += 4 {
			if !ok(m.Pix[i], m.Pix[i+1], m.Pix[i+2]) {
				t.Fatalf("%s: pixel %d is %v", name, i/4, m.Pix[i:i+4])
			}
		}
	}
	grays := func(r, g, b uint8) bool { return r == g && g == b }
	is := func(v uint8) func(r, g, b uint8) bool {
		return func(r, g, b uint8) bool { return r == v && grays(r, g, b) }
	}
	all("saturation -100", Plan{Adjust: Adjust{Saturation: -100}}, grays)
	all("saturation -100 and a hue", Plan{Adjust: Adjust{Saturation: -100, Hue: 77}}, grays)
	all("contrast -100", Plan{Adjust: Adjust{Contrast: -100}}, is(128))
	all("brightness 100", Plan{Adjust: Adjust{Brightness: 100}}, is(255))
	all("brightness -100", Plan{Adjust: Adjust{Brightness: -100}}, is(0))
	all("monochrome white", Plan{Stylize: Stylize{Monochrome: &white}}, grays)
	all("halftone", Plan{Stylize: Stylize{Halftone: 5}}, grays)
	all("duotone of one colour", Plan{Stylize: Stylize{Duotone: &Duotone{Dark: pink, Light: pink}}}, func(r, g, b uint8) bool {
		return r == pink.R && g == pink.G && b == pink.B
	})
}

// TestCurvesAreMonotone: what is darker stays so, at every strength, alone and together.
func TestCurvesAreMonotone(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	percent := func() float64 { return float64(r.IntN(201) - 100) }
	plans := []Adjust{}
	for v := -100.0; v <= 100; v += 12.5 {
		plans = append(plans, Adjust{Exposure: v}, Adjust{Brightness: v}, Adjust{Contrast: v}, Adjust{Gamma: v}, Adjust{Highlights: min(v, 0)}, Adjust{Shadows: max(v, 0)})
	}
	for range 200 {
		plans = append(plans, Adjust{Exposure: percent(), Brightness: percent(), Contrast: percent(), Gamma: percent(),
			Highlights: -math.Abs(percent()), Shadows: math.Abs(percent())})
	}
	for _, a := range plans {
		var c colours
		a.colours(&c)
		table := c.table()
		for v := 1; v < 256; v++ {
			if table[v] < table[v-1] {
				t.Fatalf("%+v: %d becomes %d, and %d becomes %d", a, v-1, table[v-1], v, table[v])
			}
		}
	}
}

func TestInvertTwiceIsIdentity(t *testing.T) {
	m := translucent(t)
	p := Plan{Adjust: Adjust{Invert: true}}
	samePixels(t, pixels(t, p, encodePixels(t, pixels(t, p, encodePixels(t, m)))), m)
}

// TestConstantStays: blurring, sharpening, noise reduction and squares leave a picture of one colour alone.
func TestConstantStays(t *testing.T) {
	for _, c := range []color.NRGBA{{0, 0, 0, 255}, {255, 255, 255, 255}, {1, 128, 254, 255}, {200, 100, 50, 128}, {7, 99, 250, 255}} {
		m := image.NewNRGBA(image.Rect(0, 0, 97, 61))
		fill(m, c)
		for _, p := range []Plan{
			{Stylize: Stylize{Blur: 8}}, {Stylize: Stylize{Blur: 100}}, {Stylize: Stylize{Blur: 2000}}, {Stylize: Stylize{Pixelate: 10}},
			{Adjust: Adjust{Sharpen: 100}}, {Adjust: Adjust{Unsharp: 100, UnsharpRadius: 30}}, {Adjust: Adjust{Unsharp: -100}},
			{Adjust: Adjust{NoiseReduction: 50, NoiseThreshold: 50}},
		} {
			got := toNRGBA(pixels(t, p, encodePixels(t, m)))
			for i := 0; i < len(got.Pix); i += 4 {
				if g := (color.NRGBA{got.Pix[i], got.Pix[i+1], got.Pix[i+2], got.Pix[i+3]}); g != c {
					t.Fatalf("%s: pixel %d is %v, want %v", p, i/4, g, c)
				}
			}
		}
	}
}

// everyEffect has each of them, alone.
func everyEffect() []Plan {
	all := []Plan{{Adjust: Adjust{Enhance: true}}, {Stylize: Stylize{Halftone: 6}}}
	for _, tt := range twins {
		all = append(all, tt.plan)
	}
	return all
}

// TestGrayWithEffects: a gray picture comes out as the same picture of colours would, and as one of one channel where nothing colours it.
func TestGrayWithEffects(t *testing.T) {
	gray := gray8(colourful(t))
	rgba := toNRGBA(gray)
	for _, p := range everyEffect() {
		for _, format := range []Format{PNG, JPEG} {
			p.Format = format
			got, want := independent(t, render(t, p, encodePixels(t, gray)).Bytes), toNRGBA(pixels(t, p, encodePixels(t, rgba)))
			coloured := p.Stylize.Monochrome != nil || p.Stylize.Sepia != 0 || p.Stylize.Duotone != nil
			if _, ok := got.(*image.Gray); ok == coloured {
				t.Errorf("%s is %T", p, got)
			}
			if format != PNG {
				continue
			}
			g := toNRGBA(got)
			for i := range g.Pix {
				if d := int(g.Pix[i]) - int(want.Pix[i]); d < -1 || d > 1 {
					t.Fatalf("%s: byte %d is %d, and %d as one of colours", p, i, g.Pix[i], want.Pix[i])
				}
			}
		}
	}
	// A gray that is stored as colours has no colour after.
	for _, p := range everyEffect() {
		if p.Stylize.Monochrome != nil || p.Stylize.Sepia != 0 || p.Stylize.Duotone != nil {
			continue
		}
		m := toNRGBA(pixels(t, p, encodePixels(t, rgba)))
		for i := 0; i < len(m.Pix); i += 4 {
			if m.Pix[i] != m.Pix[i+1] || m.Pix[i] != m.Pix[i+2] {
				t.Fatalf("%s: pixel %d is %v", p, i/4, m.Pix[i:i+4])
			}
		}
	}
}

// TestEffectsKeepAlpha: but for those that move pixels, no effect touches it, and none shows what is under it.
func TestEffectsKeepAlpha(t *testing.T) {
	m := translucent(t)
	for _, p := range everyEffect() {
		if p.Stylize.Blur != 0 || p.Stylize.Pixelate != 0 {
			continue
		}
		got := toNRGBA(pixels(t, p, encodePixels(t, m)))
		for i := 3; i < len(got.Pix); i += 4 {
			if got.Pix[i] != m.Pix[i] {
				t.Fatalf("%s: alpha of pixel %d is %d, was %d", p, i/4, got.Pix[i], m.Pix[i])
			}
		}
	}
	data := encodePixels(t, soft(120, 120))
	for _, s := range []Stylize{{Blur: 30}, {Blur: 300}, {Pixelate: 9}} {
		got := toNRGBA(pixels(t, Plan{Stylize: s}, data))
		for i := 0; i < len(got.Pix); i += 4 {
			if px := got.Pix[i:][:4]; px[3] > 8 && px[0] > px[1] { // magenta is hidden everywhere
				t.Fatalf("%+v: pixel %d is %v", s, i/4, px)
			}
		}
	}
}

// TestEffectsCommute with flips, all but those that begin at the top left, and with cutting, those that look at nothing but a pixel.
func TestEffectsCommute(t *testing.T) {
	m := translucent(t)
	data := encodePixels(t, m)
	for _, p := range everyEffect() {
		if p.Stylize.Pixelate != 0 || p.Stylize.Halftone != 0 {
			continue
		}
		for _, f := range []Flip{Horizontal, Vertical} {
			before := p
			before.Flip = f
			got := toNRGBA(pixels(t, before, data))
			want := toNRGBA(pixels(t, Plan{Flip: f}, encodePixels(t, pixels(t, p, data))))
			for i := range got.Pix {
				d := max(got.Pix[i], want.Pix[i]) - min(got.Pix[i], want.Pix[i])
				// Colours that are almost transparent are kept in few digits.
				if a := max(got.Pix[i|3], want.Pix[i|3]); float64(d)*float64(a)/255 > 1 {
					t.Fatalf("%s: byte %d is %d, and %d flipped after", before, i, got.Pix[i], want.Pix[i])
				}
			}
		}
		if a := p.Adjust; p.Stylize.Blur == 0 && a.Sharpen == 0 && a.Unsharp == 0 && a.NoiseReduction == 0 && a.NoiseThreshold == 0 && !a.Enhance {
			cut := p
			cut.Rect = &Rect{X: 10, Y: 5, W: 50, H: 40}
			samePixels(t, pixels(t, cut, data), toNRGBA(pixels(t, p, data)).SubImage(image.Rect(10, 5, 60, 45)))
		}
	}
}

// TestEffectsWithOtherSteps: padding, marks and what rotation brings in are not adjusted, and a JPEG goes the same way as its pixels.
func TestEffectsWithOtherSteps(t *testing.T) {
	red := &color.NRGBA{200, 0, 0, 255}
	m := toNRGBA(pixels(t, Plan{Width: 40, Height: 60, Fit: Fill, Background: red, Adjust: Adjust{Invert: true}}, encodePixels(t, gray8(noise(40, 20)))))
	if got := m.NRGBAAt(3, 3); got != *red {
		t.Errorf("what pads is %v", got)
	}
	base, mark := image.NewNRGBA(image.Rect(0, 0, 60, 60)), image.NewNRGBA(image.Rect(0, 0, 20, 20))
	fill(base, white)
	fill(mark, *red)
	m = toNRGBA(pixels(t, Plan{Adjust: Adjust{Invert: true}, Marks: []Mark{{}}}, encodePixels(t, base), encodePixels(t, mark)))
	if got := m.NRGBAAt(45, 45); got != *red || m.NRGBAAt(5, 5).R != 0 {
		t.Errorf("the mark is %v, the picture %v", got, m.NRGBAAt(5, 5))
	}
	photo := sample(t, "rocket.jpg")
	plain := Plan{Width: 100, Stylize: Stylize{Sepia: 100}}
	want := pixels(t, plain, encodePixels(t, pixels(t, Plan{Width: 100}, photo)))
	samePixels(t, pixels(t, plain, photo), want)
}

// TestEffectsLookTheSameHoweverDecoded: lengths are those of the output, so that a scaled decoding or a shared one makes no difference to be seen.
func TestEffectsLookTheSameHoweverDecoded(t *testing.T) {
	data := sample(t, "rocket.jpg")
	pixelsOnly := encodePixels(t, standard(independent(t, data)))
	for _, effect := range []Plan{
		{Stylize: Stylize{Blur: 40}}, {Stylize: Stylize{Pixelate: 10}}, {Adjust: Adjust{Unsharp: 50}}, {Adjust: Adjust{Enhance: true}},
	} {
		effect.Width, effect.Color = 75, Strip
		same(t, toCanvas(pixels(t, effect, data)), toCanvas(pixels(t, effect, pixelsOnly)), 38)
	}
}

// TestEffectsAtTwoDensities: a picture of twice the density, made half as large, is the picture.
func TestEffectsAtTwoDensities(t *testing.T) {
	data := sample(t, "astronaut.png")
	for _, s := range []Plan{
		{Stylize: Stylize{Blur: 60}}, {Stylize: Stylize{Pixelate: 10}}, {Adjust: Adjust{Unsharp: 80, UnsharpRadius: 4}}, {Stylize: Stylize{Blur: 700}},
	} {
		one, two := s, s
		one.Width, two.Width, two.DPR = 120, 120, 2
		halved := pixels(t, Plan{Width: 120}, encodePixels(t, pixels(t, two, data)))
		same(t, toCanvas(halved), toCanvas(pixels(t, one, data)), 33)
	}
}

// TestEnhanceIsThatOfTheFirstFrame: frames of an animation do not flicker.
func TestEnhanceIsThatOfTheFirstFrame(t *testing.T) {
	dark, bright := image.NewNRGBA(image.Rect(0, 0, 16, 16)), image.NewNRGBA(image.Rect(0, 0, 16, 16))
	for i := range dark.Pix {
		dark.Pix[i], bright.Pix[i] = uint8(i%64), uint8(150+i%64)
		if i%4 == 3 {
			dark.Pix[i], bright.Pix[i] = 255, 255
		}
	}
	j := &job{Renderer: &Renderer{}, plan: Plan{Adjust: Adjust{Enhance: true}}}
	defer j.arena.release()
	if _, err := j.effects(t.Context(), dark, true); err != nil {
		t.Fatal(err)
	}
	after, err := j.effects(t.Context(), dark, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.effects(t.Context(), bright, true); err != nil {
		t.Fatal(err)
	}
	again, err := j.effects(t.Context(), dark, true)
	if err != nil {
		t.Fatal(err)
	}
	samePixels(t, again, after)
}

// TestEffectsStop within a few rows of the end of the context, every one of them.
func TestEffectsStop(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("nobody waits")
	cancel(why)
	m := colourful(t)
	for _, p := range everyEffect() {
		j := &job{Renderer: &Renderer{}, plan: p}
		for _, m := range []image.Image{m, &image.RGBA{Pix: m.Pix, Stride: m.Stride, Rect: m.Rect}, gray8(m)} {
			if _, err := j.effects(ctx, m, true); !errors.Is(err, why) {
				t.Errorf("%s: %v", p, err)
			}
		}
		j.arena.release()
	}
}

// TestEffectsLeaveOriginalsAlone: pixels that are shared are not changed.
func TestEffectsLeaveOriginalsAlone(t *testing.T) {
	for _, m := range []image.Image{colourful(t), gray8(colourful(t))} {
		r := planes(m)[0]
		before := slices.Clone(r.pix)
		for _, p := range everyEffect() {
			j := &job{Renderer: &Renderer{}, plan: p}
			if _, err := j.effects(t.Context(), m, true); err != nil {
				t.Fatal(err)
			}
			j.arena.release()
			if !bytes.Equal(r.pix, before) {
				t.Fatalf("%s changes its original", p)
			}
		}
	}
}

func BenchmarkEffects(b *testing.B) {
	m := toNRGBA(pixels(b, Plan{Width: 1200, Height: 800, Fit: Cover}, sample(b, "retina.jpg")))
	opaque := &image.RGBA{Pix: m.Pix, Stride: m.Stride, Rect: m.Rect}
	for _, bb := range []struct {
		name string
		plan Plan
	}{
		{"enhance", Plan{Adjust: Adjust{Enhance: true}}},
		{"noise", Plan{Adjust: Adjust{NoiseReduction: 20, NoiseThreshold: 20}}},
		{"tones", Plan{Adjust: Adjust{Exposure: 20, Contrast: 10, Gamma: 10, Highlights: -10, Shadows: 10, Invert: true}}},
		{"saturation", Plan{Adjust: Adjust{Saturation: 20}}},
		{"hue+saturation", Plan{Adjust: Adjust{Hue: 100, Saturation: 20}}},
		{"vibrance", Plan{Adjust: Adjust{Vibrance: 20}}},
		{"sharpen", Plan{Adjust: Adjust{Sharpen: 20}}},
		{"unsharp", Plan{Adjust: Adjust{Unsharp: 20}}},
		{"blur=10", Plan{Stylize: Stylize{Blur: 10}}},
		{"blur=60", Plan{Stylize: Stylize{Blur: 60}}},
		{"blur=100", Plan{Stylize: Stylize{Blur: 100}}},
		{"blur=400", Plan{Stylize: Stylize{Blur: 400}}},
		{"blur=2000", Plan{Stylize: Stylize{Blur: 2000}}},
		{"pixelate", Plan{Stylize: Stylize{Pixelate: 10}}},
		{"halftone", Plan{Stylize: Stylize{Halftone: 8}}},
		{"monochrome", Plan{Stylize: Stylize{Monochrome: &pink}}},
		{"sepia", Plan{Stylize: Stylize{Sepia: 50}}},
		{"duotone", Plan{Stylize: Stylize{Duotone: &Duotone{Light: pink}}}},
	} {
		for kind, m := range map[string]image.Image{"opaque": opaque, "gray": gray8(opaque), "alpha": m} {
			b.Run(bb.name+"/"+kind, func(b *testing.B) {
				b.SetBytes(1200 * 800) // so that MB/s are megapixels a second
				j := &job{Renderer: &Renderer{}, plan: bb.plan}
				for b.Loop() {
					if _, err := j.effects(b.Context(), m, true); err != nil {
						b.Fatal(err)
					}
					j.arena.release()
				}
			})
		}
	}
}

// TestEffectsOnEveryFrame of an animation.
func TestEffectsOnEveryFrame(t *testing.T) {
	data := animation3(t)
	frames := func(p Plan) []image.Image {
		p.Format = GIF
		g, err := gif.DecodeAll(bytes.NewReader(render(t, p, data).Bytes))
		if err != nil {
			t.Fatal(err)
		}
		var all []image.Image
		for _, m := range g.Image {
			all = append(all, m)
		}
		return all
	}
	coloured := func(m image.Image) bool {
		px := toNRGBA(m).Pix
		for i := 0; i < len(px); i += 4 {
			if px[i+3] > 0 && (px[i] != px[i+1] || px[i] != px[i+2]) {
				return true
			}
		}
		return false
	}
	before, after := frames(Plan{}), frames(Plan{Adjust: Adjust{Enhance: true, Saturation: -100}, Stylize: Stylize{Blur: 5}})
	if len(before) != len(after) || !slices.ContainsFunc(before, coloured) {
		t.Fatalf("%d frames become %d", len(before), len(after))
	}
	for i, m := range after {
		if coloured(m) {
			t.Errorf("frame %d has colours", i)
		}
	}
}
