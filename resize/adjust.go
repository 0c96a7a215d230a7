package resize

import (
	"context"
	"image"
	"math"
)

// Adjust changes colours. The zero value changes nothing. Steps run in the order of the fields, on the picture at the size that it
// comes out at, before it is padded; what they do to a frame of an animation they do to all.
//
// Values are those of imgix, whose formulas are not public: those here are the usual ones. v is a channel as it is stored (sRGB), 0 to 1;
// all of red, green and blue go through the same curve, and what leaves 0 to 1 is cut off after each step. Luma is that
// of Rec. 709, 0.2126 R + 0.7152 G + 0.0722 B, of stored values. Alpha is never changed, and zero is exactly no change. docs/effects.md shows each.
type Adjust struct {
	// Enhance stretches the tones to the range there is, and lifts what is dull: of all channels together, the darkest and the
	// brightest half percent become black and white, as far as that makes contrast 1.5 times what it is and no more; a gamma of at most 1.15 either way
	// brings the median to the middle; and Vibrance is 25. Of an animation the first frame decides.
	Enhance bool

	// RedEye takes the red out of pupils. It needs Renderer.Faces.
	RedEye bool

	// NoiseReduction and NoiseThreshold (nr and nrs), −100 to 100, tell noise from edges by d, the difference between a pixel's luma and that of its
	// surroundings (Gaussian, 1.5 pixels of the output). Where it is small the pixel takes on the colour of its surroundings, and where it is large
	// d·NoiseThreshold/50 is added. The weight of the second is (d·1000/NoiseReduction)², at most 1, so that 20 means differences of 0.02
	// and that 20 for both, imgix's default, is the default of Core Image's CINoiseReduction, whose description imgix's follows.
	// Below zero NoiseReduction brings noise out instead, and NoiseThreshold softens edges. Both are set or neither.
	NoiseReduction, NoiseThreshold int

	Exposure   float64 // −100 to 100: light times 2^(Exposure/50), that is two stops at the ends, by the curve of sRGB (IEC 61966-2-1)
	Brightness float64 // −100 (black) to 100 (white): v + Brightness/100
	Contrast   float64 // −100 (mid gray) to 100: (v − ½)·(1 + Contrast/100) + ½, as contrast() of W3C Filter Effects
	Gamma      float64 // −100 to 100: v^(2^(−Gamma/100)); above zero it lightens what is between black and white
	Highlights float64 // −100 to 0: v + 2·Highlights/100·v³(1−v), which darkens what is bright, most at ¾, and keeps white
	Shadows    float64 // 0 to 100: v + 2·Shadows/100·v(1−v)³, which lightens what is dark, most at ¼, and keeps black

	// Hue turns colours, in degrees [0, 360), by the matrix of hue-rotate() of W3C Filter Effects, which keeps grays and luma.
	Hue float64

	// Saturation is −100 (exactly gray) to 100: luma + (v − luma)·(1 + Saturation/100), as saturate() of W3C Filter Effects.
	// Hue and Saturation are one matrix: nothing is cut off between.
	Saturation float64

	// Vibrance is −100 to 100: as Saturation, weighted by 1 − (max − min) of the pixel's channels, so that it is most for what is
	// pale, and by less, down to a half, for the orange hues of skin.
	Vibrance float64

	// Invert makes v 1 − v.
	Invert bool

	// Sharpen is 0 to 100: adds Sharpen/50 times what luma differs from its surroundings, Gaussian with a standard deviation of one pixel of the output.
	Sharpen float64

	// Unsharp is −100 to 100: adds Unsharp/100 times what luma differs from its surroundings, Gaussian with a standard deviation of
	// UnsharpRadius; below zero it softens.
	Unsharp float64

	// UnsharpRadius is in pixels before DPR. Zero means 2.5.
	UnsharpRadius float64
}

func (a Adjust) form(f *form) {
	f.flag("enhance", a.Enhance)
	f.flag("redeye", a.RedEye)
	f.num("nr", float64(a.NoiseReduction))
	f.num("nrs", float64(a.NoiseThreshold))
	f.num("exp", a.Exposure)
	f.num("bri", a.Brightness)
	f.num("con", a.Contrast)
	f.num("gam", a.Gamma)
	f.num("high", a.Highlights)
	f.num("shad", a.Shadows)
	f.num("hue", a.Hue)
	f.num("sat", a.Saturation)
	f.num("vib", a.Vibrance)
	f.flag("inv", a.Invert)
	f.num("sharp", a.Sharpen)
	f.num("usm", a.Unsharp)
	f.num("usmrad", a.UnsharpRadius)
}

func (a Adjust) check(c *checker) {
	c.within("Adjust.NoiseReduction", float64(a.NoiseReduction), -100, 100)
	c.within("Adjust.NoiseThreshold", float64(a.NoiseThreshold), -100, 100)
	c.within("Adjust.Exposure", a.Exposure, -100, 100)
	c.within("Adjust.Brightness", a.Brightness, -100, 100)
	c.within("Adjust.Contrast", a.Contrast, -100, 100)
	c.within("Adjust.Gamma", a.Gamma, -100, 100)
	c.within("Adjust.Highlights", a.Highlights, -100, 0)
	c.within("Adjust.Shadows", a.Shadows, 0, 100)
	c.within("Adjust.Hue", a.Hue, 0, 360)
	c.within("Adjust.Saturation", a.Saturation, -100, 100)
	c.within("Adjust.Vibrance", a.Vibrance, -100, 100)
	c.within("Adjust.Sharpen", a.Sharpen, 0, 100)
	c.within("Adjust.Unsharp", a.Unsharp, -100, 100)
	c.within("Adjust.UnsharpRadius", a.UnsharpRadius, 0, 500)
}

// effects reports whether p has anything for job.effects to do.
func (p Plan) effects() bool { return p.Adjust != Adjust{} || p.Stylize != Stylize{} }

// density is what lengths in pixels are multiplied by.
func (p Plan) density() float64 {
	if p.DPR > 0 {
		return p.DPR
	}
	return 1
}

// effects carries out Adjust and Stylize. shared says that m's pixels are not to be changed. The error is the cause of ctx's end.
//
// A YCbCr picture comes out as RGBA. A gray one stays gray as long as nothing colours it.
func (j *job) effects(ctx context.Context, m image.Image, shared bool) (image.Image, error) {
	adjust, style, density := j.plan.Adjust, j.plan.Stylize, j.plan.density()
	e := &effects{ctx: ctx, arena: j.rasters(), m: m}
	e.own(shared)

	if adjust.Enhance {
		if j.enhanced == nil {
			j.enhanced = enhance(e.m)
		}
		e.colour(j.enhanced)
	}
	if adjust.NoiseReduction != 0 || adjust.NoiseThreshold != 0 {
		e.reduceNoise(float64(adjust.NoiseReduction), float64(adjust.NoiseThreshold))
	}
	var c colours
	adjust.colours(&c)
	sharpens := adjust.Sharpen != 0 || adjust.Unsharp != 0
	if sharpens || style.Blur != 0 || style.Pixelate != 0 || style.Halftone != 0 {
		e.colour(&c)
		c = colours{}
	}
	if adjust.Sharpen != 0 {
		e.unsharp(1, adjust.Sharpen/50)
	}
	if adjust.Unsharp != 0 {
		radius := adjust.UnsharpRadius
		if radius == 0 {
			radius = 2.5
		}
		e.unsharp(radius*density, adjust.Unsharp/100)
	}
	if style.Blur != 0 {
		e.blur(style.Blur / 10 * density)
	}
	if style.Pixelate != 0 {
		e.pixelate(max(1, int(math.Round(min(float64(style.Pixelate)*density, 1<<20)))))
	}
	if style.Halftone != 0 {
		e.halftone(style.Halftone * density)
	}
	style.colours(&c)
	e.colour(&c)
	return e.m, e.err
}

// An effects is a picture that is being changed, in place where that can be. After the first error nothing happens any more.
type effects struct {
	ctx   context.Context
	arena *arena
	m     image.Image // Gray, RGBA or NRGBA, whose pixels nobody else has
	err   error
}

// own makes e's picture one that can be changed.
func (e *effects) own(shared bool) {
	if m, ok := e.m.(*image.YCbCr); ok {
		px, _ := rgb(m)
		e.m = &image.RGBA{Pix: px.Pix, Stride: px.Stride, Rect: px.Rect}
		return
	}
	if !shared {
		return
	}
	b := e.m.Bounds()
	dst := newImage(e.m, b.Dx(), b.Dy(), e.arena.alloc)
	to, from := planes(dst)[0], planes(e.m)[0]
	for y := range to.h {
		copy(to.row(y), from.row(y))
	}
	e.m = dst
}

// each runs f for each row of e's picture, until ctx ends.
func (e *effects) each(f func(y int, row []uint8)) {
	if e.err != nil {
		return
	}
	r := planes(e.m)[0]
	for y := range r.h {
		if e.ctx.Err() != nil {
			e.err = context.Cause(e.ctx)
			return
		}
		f(y, r.row(y))
	}
}

// gray reports whether e's picture has but one channel.
func (e *effects) gray() bool {
	_, ok := e.m.(*image.Gray)
	return ok
}

// effectBytes is the memory that effects take, of a picture of so many pixels: those that they are carried out on, a copy or its
// blurred one for each step that looks at surroundings, and what these are made in.
func (p Plan) effectBytes(pixels int64) int64 {
	a, s := p.Adjust, p.Stylize
	if !p.effects() {
		return 0
	}
	bytes := 4 * pixels // a picture of its own
	for _, e := range []struct {
		asked bool
		bytes int64
	}{{a.NoiseReduction != 0 || a.NoiseThreshold != 0, 4}, {a.Sharpen != 0, 3}, {a.Unsharp != 0, 3}, {s.Blur != 0, 6}} {
		if e.asked {
			bytes += e.bytes * pixels
		}
	}
	return bytes
}
