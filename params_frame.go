package imagecdn

import (
	"image/color"
	"strings"

	"github.com/imagecdn/imagecdn/resize"
)

// paramsOfFrame are about what surrounds a picture, and lies under it.
var paramsOfFrame = []param{
	{
		name: "fill", takes: "solid, blur or gradient", refused: []string{"gen", "generative"},
		read:  func(r *reader, v string) string { return readWord(fillWords, v, &r.fill) },
		write: func(q *query, p *Params) { writeFill(q, p.Plan.Fill) },
	},
	part("fill-color", []string{"fillcolor"}, colorTakes, func(r *reader, v string) (problem string) {
		r.fillColor, problem = parseColor(v)
		return problem
	}),
	part("fill-align", nil, alignTakes, func(r *reader, v string) (problem string) {
		r.fillX, r.fillY, problem = parseAlign(v)
		return problem
	}),
	part("fill-blur", nil, "0 to 2000", func(r *reader, v string) (problem string) {
		r.fillBlur, problem = pointerTo(parseBetween(v, 0, 2000))
		return problem
	}),
	part("fill-gradient-type", nil, "linear or radial", func(r *reader, v string) string {
		return readWord(gradientWords, v, &r.gradient.Radial)
	}),
	part("fill-gradient-cs", nil, "srgb, linear, oklab, hsl or lch", func(r *reader, v string) string {
		return readWord(gradientSpaces, v, &r.gradient.Space)
	}),
	part("fill-gradient-linear", nil, "two colours", func(r *reader, v string) string { return parseColors(v, &r.linear) }),
	part("fill-gradient-linear-direction", nil, "top, bottom, left or right, where it begins, and where it ends", func(r *reader, v string) string {
		return parseDirection(v, &r.gradient)
	}),
	part("fill-gradient-radial", nil, "two colours", func(r *reader, v string) string { return parseColors(v, &r.radial) }),
	part("fill-gradient-radial-radius", nil, "two radii, each 2 to 8192 pixels or a fraction between 0 and 1", func(r *reader, v string) (problem string) {
		inner, outer, ok := strings.Cut(v, ",")
		if !ok {
			return "one radius"
		}
		if r.gradient.Inner, problem = pointerTo(parseRadius(inner)); problem == "" {
			r.gradient.Outer, problem = pointerTo(parseRadius(outer))
		}
		return problem
	}),
	part("fill-gradient-radial-x", nil, "2 to 8192 pixels, or a fraction between 0 and 1", func(r *reader, v string) (problem string) {
		r.gradient.X, problem = pointerTo(parseRadius(v))
		return problem
	}),
	part("fill-gradient-radial-y", nil, "2 to 8192 pixels, or a fraction between 0 and 1", func(r *reader, v string) (problem string) {
		r.gradient.Y, problem = pointerTo(parseRadius(v))
		return problem
	}),
	{
		name: "pad", takes: "0 to 8192 pixels",
		read: func(r *reader, v string) (problem string) {
			r.pad, problem = pointerTo(parseWhole(v, 0, maxSide))
			return problem
		},
		write: func(q *query, p *Params) { q.insets("pad", "pad", p.Plan.Pad) },
	},
	part("pad-top", nil, "0 to 8192 pixels", func(r *reader, v string) string { return r.side(v, &r.padSides.top) }),
	part("pad-right", nil, "0 to 8192 pixels", func(r *reader, v string) string { return r.side(v, &r.padSides.right) }),
	part("pad-bottom", nil, "0 to 8192 pixels", func(r *reader, v string) string { return r.side(v, &r.padSides.bottom) }),
	part("pad-left", nil, "0 to 8192 pixels", func(r *reader, v string) string { return r.side(v, &r.padSides.left) }),
	{
		name: "border", takes: "a width, 0 to 8192 pixels, and a colour: WIDTH,COLOUR",
		read: func(r *reader, v string) (problem string) {
			width, c, _ := strings.Cut(v, ",")
			if r.borderWidth, problem = parseWhole(width, 0, maxSide); problem != "" {
				return problem
			}
			var p *color.NRGBA
			if p, problem = parseColor(c); problem == "" {
				r.border.Color = *p
			}
			return problem
		},
		write: writeBorder,
	},
	part("border-top", nil, "0 to 8192 pixels", func(r *reader, v string) string { return r.side(v, &r.borderSides.top) }),
	part("border-right", nil, "0 to 8192 pixels", func(r *reader, v string) string { return r.side(v, &r.borderSides.right) }),
	part("border-bottom", nil, "0 to 8192 pixels", func(r *reader, v string) string { return r.side(v, &r.borderSides.bottom) }),
	part("border-left", nil, "0 to 8192 pixels", func(r *reader, v string) string { return r.side(v, &r.borderSides.left) }),
	part("border-radius", nil, cornersTake, func(r *reader, v string) string { return parseCorners(v, &r.border.Radius) }),
	part("border-radius-inner", nil, cornersTake, func(r *reader, v string) string {
		r.border.InnerRadius = &resize.Corners{}
		return parseCorners(v, r.border.InnerRadius)
	}),
	part("border-stroke-size", nil, "0 to 8192 pixels", func(r *reader, v string) (problem string) {
		r.border.Stroke, problem = parseWhole(v, 0, maxSide)
		return problem
	}),
	part("border-stroke-color", nil, colorTakes, func(r *reader, v string) (problem string) {
		r.border.StrokeColor, problem = parseColor(v)
		return problem
	}),
	{
		name: "mask", takes: "ellipse, corners, or the path of an image here, /SOURCE/PATH",
		read: func(r *reader, v string) (problem string) {
			var ok bool
			if r.mask.Shape, ok = valueOf(maskWords, v); !ok {
				r.mask.Shape = resize.PictureMask
				r.maskImage, problem = r.image(v)
			}
			return problem
		},
		write: writeMask,
	},
	part("corner-radius", nil, cornersTake, func(r *reader, v string) string { return parseCorners(v, &r.mask.Radius) }),
	part("mask-bg", []string{"maskbg"}, colorTakes, func(r *reader, v string) (problem string) {
		r.mask.Background, problem = parseColor(v)
		return problem
	}),
	{
		name: "bg", takes: colorTakes,
		read: func(r *reader, v string) (problem string) {
			r.params.Plan.Background, problem = parseColor(v)
			return problem
		},
		write: func(q *query, p *Params) { q.color("bg", p.Plan.Background) },
	},
	{
		name: "transparency", takes: "grid",
		read: func(r *reader, v string) string {
			if v != "grid" {
				return "unknown value"
			}
			return ""
		},
		write: func(q *query, p *Params) {
			if g := p.Plan.Grid; g != nil {
				q.text("transparency", "grid")
				if g.Colors != [2]color.NRGBA{} {
					q.color("grid-colors", &g.Colors[0])
					q.more("")
					q.colorDigits(g.Colors[1])
				}
				q.number("grid-size", float64(g.Size))
			}
		},
	},
	part("grid-colors", nil, "two colours", func(r *reader, v string) string { return parseColors(v, &r.gridColors) }),
	part("grid-size", nil, "1 to 8192 pixels", func(r *reader, v string) (problem string) {
		r.grid.Size, problem = parseWhole(v, 1, maxSide)
		return problem
	}),
}

const cornersTake = "a radius in pixels, or four, from the top left clockwise"

// fillKind is a fill of a URL.
type fillKind uint8

const (
	fillSolid fillKind = iota
	fillBlur
	fillGradient
)

var (
	fillWords     = []word[fillKind]{{"solid", fillSolid}, {"blur", fillBlur}, {"gradient", fillGradient}}
	gradientWords = []word[bool]{{"linear", false}, {"radial", true}}

	gradientSpaces = []word[resize.GradientSpace]{
		{"srgb", resize.GradientSRGB}, {"linear", resize.GradientLinear}, {"oklab", resize.GradientOklab},
		{"hsl", resize.GradientHSL}, {"lch", resize.GradientLCH},
	}
	maskWords = []word[resize.MaskShape]{{"ellipse", resize.EllipseMask}, {"corners", resize.CornersMask}}
)

// defaultFillBlur is how much fill=blur blurs without fill-blur.
const defaultFillBlur = 400

// sides are lengths that may stand for themselves.
type sides struct{ top, right, bottom, left *int }

// side reads one of sides.
func (r *reader) side(v string, to **int) (problem string) {
	*to, problem = pointerTo(parseWhole(v, 0, maxSide))
	return problem
}

// insets gives all for each side that is not told otherwise.
func (s sides) insets(all int) resize.Insets {
	or := func(v *int) int {
		if v != nil {
			return *v
		}
		return all
	}
	return resize.Insets{Top: or(s.top), Right: or(s.right), Bottom: or(s.bottom), Left: or(s.left)}
}

// parseRadius reads pixels, or a fraction from 0 to 1.
func parseRadius(s string) (float64, string) {
	if v, problem := parseNumber(s); problem == "" && v == 0 {
		return 0, ""
	}
	return parseLength(s, maxSide)
}

// parseColors reads two colours.
func parseColors(s string, to *[2]color.NRGBA) string {
	a, b, _ := strings.Cut(s, ",")
	first, problem := parseColor(a)
	if problem != "" {
		return problem
	}
	second, problem := parseColor(b)
	if problem != "" {
		return problem
	}
	*to = [2]color.NRGBA{*first, *second}
	return ""
}

// parseCorners reads one radius or four.
func parseCorners(s string, to *resize.Corners) string {
	list := strings.Split(s, ",")
	if len(list) != 1 && len(list) != 4 {
		return "neither one value nor four"
	}
	var v [4]int
	for i, item := range list {
		n, problem := parseWhole(item, 0, maxSourceSide)
		if problem != "" {
			return problem
		}
		v[i] = n
	}
	if len(list) == 1 {
		v = [4]int{v[0], v[0], v[0], v[0]}
	}
	*to = resize.Corners{TopLeft: v[0], TopRight: v[1], BottomRight: v[2], BottomLeft: v[3]}
	return ""
}

// directions are where straight gradients go, the words that URLs have for it.
var directions = []struct {
	words   string
	toward  resize.Flip
	reverse bool
}{
	{"top,bottom", resize.NoFlip, false}, {"bottom,top", resize.NoFlip, true},
	{"left,right", resize.Horizontal, false}, {"right,left", resize.Horizontal, true},
}

// parseDirection reads where a gradient ends, or where it begins and ends.
func parseDirection(s string, g *resize.Gradient) string {
	for _, d := range directions {
		if _, end, _ := strings.Cut(d.words, ","); s == d.words || s == end {
			g.Toward, g.Reverse = d.toward, d.reverse
			return ""
		}
	}
	return "no direction"
}

// padding is what fill and its parts come to.
func (r *reader) padding() *resize.Padding {
	var p resize.Padding
	switch r.fill {
	case fillSolid:
		p.Color = r.fillColor
	case fillBlur:
		if p.Blur = defaultFillBlur; r.fillBlur != nil {
			p.Blur = max(*r.fillBlur, 1) // as good as none
		}
	case fillGradient:
		g := r.gradient
		colors := r.linear
		if g.Radial {
			colors = r.radial
		}
		if colors == ([2]color.NRGBA{}) {
			colors = [2]color.NRGBA{{255, 255, 255, 255}, {0, 0, 0, 255}}
		}
		g.From, g.To = colors[0], colors[1]
		p.Gradient = &g
	}
	p.X, p.Y = r.fillX, r.fillY
	return &p
}

func writeFill(q *query, p *resize.Padding) {
	if p != nil {
		defer q.align("fill-align", p.X, p.Y)
	}
	switch {
	case p == nil:
	case p.Gradient != nil:
		g := p.Gradient
		q.text("fill", "gradient")
		kind := "linear"
		if g.Radial {
			kind = "radial"
			q.text("fill-gradient-type", kind)
		}
		if g.Space != resize.GradientSRGB {
			q.text("fill-gradient-cs", wordOf(gradientSpaces, g.Space))
		}
		q.color("fill-gradient-"+kind, &g.From)
		q.more("")
		q.colorDigits(g.To)
		for _, d := range directions[1:] {
			if d.toward == g.Toward && d.reverse == g.Reverse {
				q.text("fill-gradient-linear-direction", d.words)
			}
		}
		if g.Inner != nil && g.Outer != nil {
			q.pointer("fill-gradient-radial-radius", g.Inner)
			q.more("")
			q.digits(*g.Outer)
		}
		q.pointer("fill-gradient-radial-x", g.X)
		q.pointer("fill-gradient-radial-y", g.Y)
	case p.Blur != 0:
		q.text("fill", "blur")
		if p.Blur != defaultFillBlur {
			q.number("fill-blur", p.Blur)
		}
	default:
		q.text("fill", "solid")
		q.color("fill-color", p.Color)
	}
}

// canonicalFill leaves out what is not looked at.
func canonicalFill(plan *resize.Plan) {
	if plan.Fit != resize.Fill && plan.Fit != resize.FillMax && plan.Fit != resize.CoverFill && plan.Fit != resize.FaceArea {
		plan.Fill = nil
	}
	if plan.Fill == nil {
		return
	}
	p := *plan.Fill
	if g := p.Gradient; g != nil {
		c := *g
		if c.Radial {
			c.Toward, c.Reverse = resize.NoFlip, false
			if half := .5; c.X != nil && *c.X == half {
				c.X = nil
			}
			if half := .5; c.Y != nil && *c.Y == half {
				c.Y = nil
			}
			if c.Inner != nil && c.Outer != nil && *c.Inner == .25 && *c.Outer == .5 {
				c.Inner, c.Outer = nil, nil
			}
		} else {
			c.X, c.Y, c.Inner, c.Outer = nil, nil, nil, nil
		}
		p.Gradient = &c
	}
	if p.X == resize.Middle {
		p.X = resize.NoAlign
	}
	if p.Y == resize.Middle {
		p.Y = resize.NoAlign
	}
	if p == (resize.Padding{}) && plan.Fit != resize.FaceArea {
		plan.Fill = nil
		return
	}
	plan.Fill = &p
}

func writeBorder(q *query, p *Params) {
	b := p.Plan.Border
	if b == nil {
		return
	}
	q.text("border", "")
	q.digits(float64(b.Width.Top))
	q.more("")
	q.colorDigits(b.Color)
	if w := b.Width; w.Right != w.Top || w.Bottom != w.Top || w.Left != w.Top {
		for _, side := range []struct {
			name string
			v    int
		}{{"border-right", w.Right}, {"border-bottom", w.Bottom}, {"border-left", w.Left}} {
			q.text(side.name, "")
			q.digits(float64(side.v))
		}
	}
	q.corners("border-radius", &b.Radius)
	if b.InnerRadius != nil {
		q.text("border-radius-inner", "")
		q.cornerDigits(*b.InnerRadius)
	}
	q.number("border-stroke-size", float64(b.Stroke))
	q.color("border-stroke-color", b.StrokeColor)
}

// canonicalBorder leaves out what is not seen.
func canonicalBorder(b *resize.Border) *resize.Border {
	if b == nil || b.Width == (resize.Insets{}) && b.Radius == (resize.Corners{}) && b.Stroke == 0 {
		return nil
	}
	if b.Stroke == 0 && b.StrokeColor != nil {
		c := *b
		c.StrokeColor = nil
		return &c
	}
	return b
}

func writeMask(q *query, p *Params) {
	m := p.Plan.Mask
	if m == nil {
		return
	}
	if m.Shape == resize.PictureMask {
		q.text("mask", "")
		if len(p.Inputs) > 0 {
			q.path(p.Inputs[0])
		}
	} else {
		q.text("mask", wordOf(maskWords, m.Shape))
	}
	q.corners("corner-radius", &m.Radius)
	q.color("mask-bg", m.Background)
}

// canonicalMask leaves out the radius of what has no corners.
func canonicalMask(m *resize.Mask) *resize.Mask {
	if m == nil || m.Shape == resize.CornersMask || m.Radius == (resize.Corners{}) {
		return m
	}
	c := *m
	c.Radius = resize.Corners{}
	return &c
}

// canonicalGrid writes the defaults as zero.
func canonicalGrid(g *resize.Grid) *resize.Grid {
	if g == nil {
		return nil
	}
	c := *g
	if c.Colors == [2]color.NRGBA{{0xd0, 0xd7, 0xdd, 255}, {255, 255, 255, 255}} {
		c.Colors = [2]color.NRGBA{}
	}
	if c.Size == 4 {
		c.Size = 0
	}
	return &c
}
