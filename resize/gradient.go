package resize

import (
	"image/color"
	"math"
)

// at gives the colour at t of a gradient, 0 to 1. Colours are weighted by alpha on the way, so that none bleeds out of what is
// transparent.
func (g *Gradient) at(t float64) color.NRGBA {
	a, b := float64(g.From.A)/255, float64(g.To.A)/255
	alpha := a + (b-a)*t
	if alpha == 0 {
		return color.NRGBA{}
	}
	share := t
	if a != b {
		share = b * t / alpha
	}
	from, to := g.Space.of(g.From), g.Space.of(g.To)
	var v [3]float64
	for i := range v {
		d := to[i] - from[i]
		if hue := g.Space.hue(); i == hue {
			// The shorter way round, and no way where one of the colours is gray, which has no hue.
			d = math.Remainder(d, 360)
			switch {
			case from[1] < 1e-6:
				from[i], d = to[i], 0
			case to[1] < 1e-6:
				d = 0
			}
		}
		v[i] = from[i] + d*share
	}
	c := g.Space.color(v)
	c.A = uint8(math.Round(alpha * 255))
	return c
}

// hue is which of a space's coordinates goes round in degrees; −1 is none. The one that is 1 is the colourfulness then.
func (s GradientSpace) hue() int {
	switch s {
	case GradientHSL:
		return 0
	case GradientLCH:
		return 2
	}
	return -1
}

// Linear light and back (IEC 61966-2-1).
func linearOf(v uint8) float64 {
	c := float64(v) / 255
	if c <= 0.04045 {
		return c / 12.92
	}
	return math.Pow((c+0.055)/1.055, 2.4)
}

func encoded(v float64) uint8 {
	if v <= 0.0031308 {
		v *= 12.92
	} else {
		v = 1.055*math.Pow(v, 1/2.4) - 0.055
	}
	return uint8(math.Round(min(max(v, 0), 1) * 255))
}

// of gives the coordinates of c in s.
func (s GradientSpace) of(c color.NRGBA) [3]float64 {
	switch s {
	case GradientLinear:
		return [3]float64{linearOf(c.R), linearOf(c.G), linearOf(c.B)}
	case GradientOklab:
		return oklab(linearOf(c.R), linearOf(c.G), linearOf(c.B))
	case GradientHSL:
		return hslOf(float64(c.R)/255, float64(c.G)/255, float64(c.B)/255)
	case GradientLCH:
		return lch(linearOf(c.R), linearOf(c.G), linearOf(c.B))
	}
	return [3]float64{float64(c.R), float64(c.G), float64(c.B)}
}

// color gives the opaque colour at v; what sRGB does not hold is cut off.
func (s GradientSpace) color(v [3]float64) color.NRGBA {
	var r, g, b float64
	switch s {
	case GradientLinear:
		r, g, b = v[0], v[1], v[2]
	case GradientOklab:
		r, g, b = fromOklab(v)
	case GradientHSL:
		c := fromHSL(v)
		return color.NRGBA{c[0], c[1], c[2], 255}
	case GradientLCH:
		r, g, b = fromLCH(v)
	default:
		byteOf := func(v float64) uint8 { return uint8(math.Round(min(max(v, 0), 255))) }
		return color.NRGBA{byteOf(v[0]), byteOf(v[1]), byteOf(v[2]), 255}
	}
	return color.NRGBA{encoded(r), encoded(g), encoded(b), 255}
}

// oklab and fromOklab are Björn Ottosson's, "A perceptual color space for image processing", 2020.
func oklab(r, g, b float64) [3]float64 {
	l := math.Cbrt(0.4122214708*r + 0.5363325363*g + 0.0514459929*b)
	m := math.Cbrt(0.2119034982*r + 0.6806995451*g + 0.1073969566*b)
	s := math.Cbrt(0.0883024619*r + 0.2817188376*g + 0.6299787005*b)
	return [3]float64{
		0.2104542553*l + 0.7936177850*m - 0.0040720468*s,
		1.9779984951*l - 2.4285922050*m + 0.4505937099*s,
		0.0259040371*l + 0.7827717662*m - 0.8086757660*s,
	}
}

func fromOklab(v [3]float64) (r, g, b float64) {
	l := v[0] + 0.3963377774*v[1] + 0.2158037573*v[2]
	m := v[0] - 0.1055613458*v[1] - 0.0638541728*v[2]
	s := v[0] - 0.0894841775*v[1] - 1.2914855480*v[2]
	l, m, s = l*l*l, m*m*m, s*s*s
	return 4.0767416621*l - 3.3077115913*m + 0.2309699292*s,
		-1.2684380046*l + 2.6097574011*m - 0.3413193965*s,
		-0.0041960863*l - 0.7034186147*m + 1.7076147010*s
}

// hslOf and fromHSL are those of CSS Color 4, section 7: degrees, and two numbers from 0 to 1.
func hslOf(r, g, b float64) [3]float64 {
	hi, lo := max(r, g, b), min(r, g, b)
	light, d := (hi+lo)/2, hi-lo
	if d == 0 {
		return [3]float64{0, 0, light}
	}
	var hue float64
	switch hi {
	case r:
		hue = math.Mod((g-b)/d+6, 6)
	case g:
		hue = (b-r)/d + 2
	default:
		hue = (r-g)/d + 4
	}
	return [3]float64{hue * 60, d / (1 - math.Abs(2*light-1)), light}
}

func fromHSL(v [3]float64) [3]uint8 {
	hue := math.Mod(math.Mod(v[0], 360)+360, 360)
	a := v[1] * min(v[2], 1-v[2])
	f := func(n float64) uint8 {
		k := math.Mod(n+hue/30, 12)
		return uint8(math.Round(min(max(v[2]-a*max(-1, min(k-3, 9-k, 1)), 0), 1) * 255))
	}
	return [3]uint8{f(0), f(8), f(4)}
}

// White of D65, and the knee of CIE L*.
const (
	whiteX, whiteY, whiteZ = 0.9504559, 1.0, 1.0890578
	labEpsilon, labKappa   = 216.0 / 24389, 24389.0 / 27
)

// lch and fromLCH are CIE 1976 L*a*b* against D65, its a and b as a length and degrees.
func lch(r, g, b float64) [3]float64 {
	x := 0.4123908*r + 0.3575843*g + 0.1804808*b
	y := 0.2126390*r + 0.7151687*g + 0.0721923*b
	z := 0.0193308*r + 0.1191948*g + 0.9505322*b
	f := func(v float64) float64 {
		if v > labEpsilon {
			return math.Cbrt(v)
		}
		return (labKappa*v + 16) / 116
	}
	fx, fy, fz := f(x/whiteX), f(y/whiteY), f(z/whiteZ)
	p, q := 500*(fx-fy), 200*(fy-fz)
	chroma := math.Hypot(p, q)
	if chroma < 0.02 { // gray, but for what the matrices round
		chroma = 0
	}
	return [3]float64{116*fy - 16, chroma, math.Atan2(q, p) * 180 / math.Pi}
}

func fromLCH(v [3]float64) (r, g, b float64) {
	sin, cos := math.Sincos(v[2] * math.Pi / 180)
	fy := (v[0] + 16) / 116
	fx, fz := fy+v[1]*cos/500, fy-v[1]*sin/200
	f := func(t float64) float64 {
		if t*t*t > labEpsilon {
			return t * t * t
		}
		return (116*t - 16) / labKappa
	}
	x, y, z := whiteX*f(fx), whiteY*f(fy), whiteZ*f(fz)
	return 3.2409699*x - 1.5373832*y - 0.4986108*z,
		-0.9692436*x + 1.8759675*y + 0.0415551*z,
		0.0556301*x - 0.2039770*y + 1.0569715*z
}
