package resize

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"
	"strconv"
)

// A Palette is the colours of a picture.
type Palette struct {
	// Colors are what all colours come down to, the most frequent first.
	Colors []color.NRGBA

	// Luminance is the mean of all pixels, 0 for black to 1 for white: luma as ITU-R BT.709 weighs it.
	Luminance float64

	// Colors that go together, by the rules of Vibrant.js: as near as there are to an ideal of saturation and lightness.
	// Nil where the picture has none that comes near.
	Vibrant, VibrantDark, VibrantLight *color.NRGBA
	Muted, MutedDark, MutedLight       *color.NRGBA
}

// PaletteOf gives the palette of a picture with at most n Colors, 0 to 16; imgix's default is 6. Fewer are given where
// a picture has fewer. Pixels that are transparent by half or more have no colour.
func PaletteOf(m image.Image, n int) (Palette, error) {
	if n < 0 || n > 16 {
		return Palette{}, fmt.Errorf("%w: a palette of %d colours, which are 0 to 16", ErrPlan, n)
	}
	var p Palette
	src, _ := hardAlpha(colors(m))
	var sum, count int64
	for y := range src.Rect.Dy() {
		for px := src.Pix[y*src.Stride:][:4*src.Rect.Dx()]; len(px) >= 4; px = px[4:] {
			if px[3] != 0 {
				sum += 2126*int64(px[0]) + 7152*int64(px[1]) + 722*int64(px[2])
				count++
			}
		}
	}
	if count == 0 {
		return p, nil
	}
	p.Luminance = float64(sum) / float64(10000*255*count)
	for _, s := range swatches(src, n) {
		p.Colors = append(p.Colors, s.color)
	}
	p.dominant(swatches(src, 64))
	return p, nil
}

// A swatch is a colour and how many pixels have it.
type swatch struct {
	color color.NRGBA
	n     int64
}

// swatches gives at most n colours that stand for those of m, the most frequent first.
func swatches(m *image.NRGBA, n int) []swatch {
	if n == 0 {
		return nil
	}
	var all []swatch
	if exact := exactPalette(m, n+1); exact != nil { // with one that is transparent
		for _, c := range exact.Palette {
			all = append(all, swatch{color: c.(color.NRGBA)})
		}
		for _, i := range exact.Pix {
			all[i].n++
		}
		all = slices.DeleteFunc(all, func(s swatch) bool { return s.color.A == 0 })
	}
	if all == nil || len(all) > n {
		all = nil
		var table [][3]int32
		for _, c := range medianCut(m, n) {
			c := c.(color.NRGBA)
			all = append(all, swatch{color: c})
			table = append(table, [3]int32{int32(c.R), int32(c.G), int32(c.B)})
		}
		counts := make([]int64, 1<<(3*binBits))
		for y := range m.Rect.Dy() {
			for px := m.Pix[y*m.Stride:][:4*m.Rect.Dx()]; len(px) >= 4; px = px[4:] {
				if px[3] != 0 {
					counts[binOf(px[0], px[1], px[2])]++
				}
			}
		}
		for key, n := range counts {
			if n > 0 {
				all[closest(table, key)].n += n
			}
		}
		all = slices.DeleteFunc(all, func(s swatch) bool { return s.n == 0 })
	}
	slices.SortStableFunc(all, func(a, b swatch) int { return int(b.n - a.n) })
	return all
}

// A target is what a named colour is like: saturation and lightness (HSL), and what is not far from them.
type target struct {
	saturation, lightness interval
	to                    func(*Palette) **color.NRGBA
}

type interval struct{ min, ideal, max float64 }

// targets are Vibrant.js's, in the order that they choose in.
var targets = []target{
	{vivid, middling, func(p *Palette) **color.NRGBA { return &p.Vibrant }},
	{vivid, bright, func(p *Palette) **color.NRGBA { return &p.VibrantLight }},
	{vivid, dark, func(p *Palette) **color.NRGBA { return &p.VibrantDark }},
	{dull, middling, func(p *Palette) **color.NRGBA { return &p.Muted }},
	{dull, bright, func(p *Palette) **color.NRGBA { return &p.MutedLight }},
	{dull, dark, func(p *Palette) **color.NRGBA { return &p.MutedDark }},
}

var (
	vivid    = interval{0.35, 1, 1}
	dull     = interval{0, 0.3, 0.4}
	dark     = interval{0, 0.26, 0.45}
	middling = interval{0.3, 0.5, 0.7}
	bright   = interval{0.55, 0.74, 1}
)

func (i interval) has(v float64) bool { return i.min <= v && v <= i.max }

// dominant chooses the named colours. Each is chosen for one name.
func (p *Palette) dominant(all []swatch) {
	chosen := make([]bool, len(all))
	for _, t := range targets {
		best, most := -1, 0.0
		for i, s := range all {
			saturation, lightness := hsl(s.color)
			if chosen[i] || !t.saturation.has(saturation) || !t.lightness.has(lightness) {
				continue
			}
			// As Vibrant.js weighs them: 3, 6 and 1.
			v := float64(3*(1-math.Abs(saturation-t.saturation.ideal))) +
				float64(6*(1-math.Abs(lightness-t.lightness.ideal))) + float64(s.n)/float64(all[0].n)
			if best < 0 || v > most {
				best, most = i, v
			}
		}
		if best >= 0 {
			chosen[best] = true
			*t.to(p) = &all[best].color
		}
	}
}

// hsl gives a colour's saturation and lightness.
func hsl(c color.NRGBA) (saturation, lightness float64) {
	high, low := int(max(c.R, c.G, c.B)), int(min(c.R, c.G, c.B))
	lightness = float64(high+low) / 510
	switch {
	case high == low:
		return 0, lightness
	case high+low > 255:
		return float64(high-low) / float64(510-high-low), lightness
	}
	return float64(high-low) / float64(high+low), lightness
}

// named gives the colours that have names, in the order of imgix's answers.
func (p Palette) named() []namedColor {
	all := []namedColor{
		{"vibrant", p.Vibrant}, {"muted-dark", p.MutedDark}, {"muted", p.Muted},
		{"vibrant-light", p.VibrantLight}, {"muted-light", p.MutedLight}, {"vibrant-dark", p.VibrantDark},
	}
	return slices.DeleteFunc(all, func(c namedColor) bool { return c.color == nil })
}

type namedColor struct {
	name  string
	color *color.NRGBA
}

// JSON gives p as imgix's palette=json has it: {"colors":[{"red":1,"hex":"#ff8000","blue":0,"green":0.501961}],
// "average_luminance":0.5,"dominant_colors":{"vibrant":{…}}}, numbers from 0 to 1.
func (p Palette) JSON() []byte {
	type jsonColor struct {
		Red   json.Number `json:"red"`
		Hex   string      `json:"hex"`
		Blue  json.Number `json:"blue"`
		Green json.Number `json:"green"`
	}
	number := func(v float64) json.Number { return json.Number(strconv.FormatFloat(v, 'g', 6, 64)) }
	of := func(c color.NRGBA) jsonColor {
		return jsonColor{number(float64(c.R) / 255), hexOf(c), number(float64(c.B) / 255), number(float64(c.G) / 255)}
	}
	var out struct {
		Colors    []jsonColor          `json:"colors"`
		Luminance json.Number          `json:"average_luminance"`
		Dominant  map[string]jsonColor `json:"dominant_colors"`
	}
	out.Colors = make([]jsonColor, 0, len(p.Colors))
	for _, c := range p.Colors {
		out.Colors = append(out.Colors, of(c))
	}
	out.Luminance = number(p.Luminance)
	out.Dominant = make(map[string]jsonColor)
	for _, c := range p.named() {
		out.Dominant[string(bytes.ReplaceAll([]byte(c.name), []byte("-"), []byte("_")))] = of(*c.color)
	}
	b, err := json.Marshal(out)
	if err != nil {
		panic(err) // there is nothing in it that JSON does not have
	}
	return b
}

// CSS gives p as imgix's palette=css has it: a class for each colour in the foreground and one in the background,
// .image-fg-1 and .image-bg-1, with prefix in the place of image. Empty means image. White and black are ex-1 and
// ex-2. A prefix that is no name of a class, of letters, digits, hyphens and underscores, is ErrPlan: it could end the rule.
func (p Palette) CSS(prefix string) ([]byte, error) {
	if prefix == "" {
		prefix = "image"
	}
	if len(prefix) > 64 {
		return nil, fmt.Errorf("%w: the prefix has more than 64 letters", ErrPlan)
	}
	for i, r := range prefix {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == '_'
		if !letter && (i == 0 || r != '-' && (r < '0' || r > '9')) {
			return nil, fmt.Errorf("%w: the prefix %q is no name of a class", ErrPlan, prefix)
		}
	}
	var b []byte
	rule := func(name string, c color.NRGBA) {
		for _, side := range []struct{ short, property string }{{"fg", "color"}, {"bg", "background-color"}} {
			b = fmt.Appendf(b, ".%s-%s-%s { %s:%s !important; }\n", prefix, side.short, name, side.property, hexOf(c))
		}
	}
	for i, c := range p.Colors {
		rule(strconv.Itoa(i+1), c)
	}
	rule("ex-1", color.NRGBA{255, 255, 255, 255})
	rule("ex-2", color.NRGBA{0, 0, 0, 255})
	for _, c := range p.named() {
		rule(c.name, *c.color)
	}
	return b, nil
}

func hexOf(c color.NRGBA) string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }
