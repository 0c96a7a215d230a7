package resize

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"
)

// BlurHash gives a picture as a BlurHash: a string of 4+2xy characters, of which browsers make a blurred picture to
// show until the real one is there. x and y, 1 to 9, say how much detail it has each way. imgix's own examples of
// fm=blurhash have 5 and 5, those of BlurHash 4 and 3.
//
// It gives what the reference implementation in C does (github.com/woltapp/blurhash), to the letter but where a value lies
// within rounding between two: the sums are in integers here, so that they are the same on all processors. What is
// transparent is white.
func BlurHash(m image.Image, x, y int) (string, error) {
	if x < 1 || x > 9 || y < 1 || y > 9 {
		return "", fmt.Errorf("%w: a BlurHash of %dx%d components, which are 1 to 9", ErrPlan, x, y)
	}
	b := m.Bounds()
	if b.Empty() || b.Dx() > 1<<16 || b.Dy() > 1<<16 {
		return "", fmt.Errorf("%w: a BlurHash of a picture of %dx%d", ErrPlan, b.Dx(), b.Dy())
	}
	f := cosines(m, x, y)

	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"
	hash := make([]byte, 0, 4+2*x*y)
	put := func(v, n int) {
		at := len(hash)
		hash = append(hash, "0000"[:n]...)
		for i := n - 1; i >= 0; i, v = i-1, v/83 {
			hash[at+i] = digits[v%83]
		}
	}
	put(x-1+9*(y-1), 1)
	largest := 0.0
	for _, c := range f[1:] {
		largest = max(largest, math.Abs(c[0]), math.Abs(c[1]), math.Abs(c[2]))
	}
	most := 1.0
	if len(f) > 1 {
		q := min(max(int(math.Floor(float64(largest*166)-0.5)), 0), 82)
		most = float64(q+1) / 166
		put(q, 1)
	} else {
		put(0, 1)
	}
	put(toSRGB(f[0][0])<<16|toSRGB(f[0][1])<<8|toSRGB(f[0][2]), 4)
	for _, c := range f[1:] {
		v := 0
		for _, s := range c {
			root := math.Copysign(math.Sqrt(math.Abs(s/most)), s)
			v = 19*v + min(max(int(math.Floor(float64(root*9)+9.5)), 0), 18)
		}
		put(v, 2)
	}
	return string(hash), nil
}

// cosines gives the factors of m's cosine waves in linear light: red, green and blue of y rows of x.
func cosines(m image.Image, x, y int) [][3]float64 {
	src := colors(m)
	w, h := src.Rect.Dx(), src.Rect.Dy()
	var light [256]int64 // Q18
	for i := range light {
		light[i] = int64(math.Round(fromSRGB(i) * (1 << 18)))
	}
	across, down := waves(x, w), waves(y, h)
	sums := make([][3]int64, x*y) // Q42
	row := make([][3]int64, x)
	for py := range h {
		clear(row)
		px := src.Pix[py*src.Stride:][:4*w]
		for i := range w {
			a := int(px[4*i+3])
			var c [3]int64
			for k := range c {
				v := int(px[4*i+k])
				if a != 255 {
					v = (v*a + 255*(255-a) + 127) / 255
				}
				c[k] = light[v]
			}
			for n := range row {
				cos := across[n*w+i]
				row[n][0] += c[0] * cos // Q34
				row[n][1] += c[1] * cos
				row[n][2] += c[2] * cos
			}
		}
		for n := range row {
			for k := range row[n] {
				mean := row[n][k] / int64(w) >> 8 // Q26
				for j := range y {
					sums[j*x+n][k] += mean * down[j*h+py]
				}
			}
		}
	}
	f := make([][3]float64, x*y)
	for i := range f {
		norm := 2.0
		if i == 0 {
			norm = 1
		}
		for k := range f[i] {
			f[i][k] = norm * float64(sums[i][k]/int64(h)) / (1 << 42)
		}
	}
	return f
}

// waves gives n cosine waves at size places each, in Q16.
func waves(n, size int) []int64 {
	v := make([]int64, n*size)
	for i := range v {
		v[i] = int64(math.Round(math.Cos(math.Pi*float64(i/size)*float64(i%size)/float64(size)) * (1 << 16)))
	}
	return v
}

// fromSRGB gives a value of 255 in linear light, 0 to 1, and toSRGB the value of that (IEC 61966-2-1).
func fromSRGB(v int) float64 {
	f := float64(v) / 255
	if f <= 0.04045 {
		return f / 12.92
	}
	return math.Pow((f+0.055)/1.055, 2.4)
}

func toSRGB(f float64) int {
	f = min(max(f, 0), 1)
	if f <= 0.0031308 {
		return int(float64(f*12.92*255) + 0.5)
	}
	return int(float64((float64(1.055*math.Pow(f, 1/2.4))-0.055)*255) + 0.5)
}

// colors gives any picture as rgb does.
func colors(m image.Image) *image.NRGBA {
	switch m := m.(type) {
	case *image.RGBA: // of others, whose colours may be weighted by alpha
		if !m.Opaque() {
			break
		}
		dst, _ := rgb(m)
		return dst
	case *image.NRGBA, *image.Gray, *image.YCbCr:
		dst, _ := rgb(m)
		return dst
	}
	dst := image.NewNRGBA(m.Bounds())
	if p, ok := m.(*image.Paletted); ok && len(p.Palette) > 0 {
		var table [256]color.NRGBA
		for i, c := range p.Palette[:min(len(p.Palette), 256)] {
			table[i] = color.NRGBAModel.Convert(c).(color.NRGBA)
		}
		for y := range p.Rect.Dy() {
			out := dst.Pix[y*dst.Stride:]
			for x, i := range p.Pix[y*p.Stride:][:p.Rect.Dx()] {
				c := table[i]
				copy(out[4*x:][:4], []uint8{c.R, c.G, c.B, c.A})
			}
		}
		return dst
	}
	draw.Draw(dst, dst.Rect, m, m.Bounds().Min, draw.Src)
	return dst
}
