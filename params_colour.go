package imagecdn

import (
	"strings"

	"github.com/imagecdn/imagecdn/resize"
)

// paramsOfColour change colours.
var paramsOfColour = []param{
	{
		name: "nr", takes: "−100 to 100",
		read: func(r *reader, v string) (problem string) {
			r.noise, problem = pointerTo(parseWhole(v, -100, 100))
			return problem
		},
		write: func(q *query, p *Params) {
			if a := p.Plan.Adjust; a.NoiseReduction != 0 {
				q.number("nr", float64(a.NoiseReduction))
				q.text("nrs", "")
				q.digits(float64(a.NoiseThreshold))
			}
		},
	},
	part("nrs", nil, "−100 to 100", func(r *reader, v string) (problem string) {
		r.noiseThreshold, problem = pointerTo(parseWhole(v, -100, 100))
		return problem
	}),
	number("exp", nil, -100, 100, "", func(p *resize.Plan) *float64 { return &p.Adjust.Exposure }),
	number("bri", nil, -100, 100, "", func(p *resize.Plan) *float64 { return &p.Adjust.Brightness }),
	number("con", nil, -100, 100, "", func(p *resize.Plan) *float64 { return &p.Adjust.Contrast }),
	number("gam", nil, -100, 100, "", func(p *resize.Plan) *float64 { return &p.Adjust.Gamma }),
	number("high", nil, -100, 0, "", func(p *resize.Plan) *float64 { return &p.Adjust.Highlights }),
	number("shad", nil, 0, 100, "", func(p *resize.Plan) *float64 { return &p.Adjust.Shadows }),
	{
		name: "hue", takes: "degrees, 0 to 360",
		read: func(r *reader, v string) (problem string) {
			r.params.Plan.Adjust.Hue, problem = parseAngle(v)
			return problem
		},
		write: func(q *query, p *Params) { q.number("hue", p.Plan.Adjust.Hue) },
	},
	number("sat", nil, -100, 100, "", func(p *resize.Plan) *float64 { return &p.Adjust.Saturation }),
	number("vib", nil, -100, 100, "", func(p *resize.Plan) *float64 { return &p.Adjust.Vibrance }),
	boolean("invert", []string{"inv"}, func(p *resize.Plan) *bool { return &p.Adjust.Invert }),
	number("sharp", nil, 0, 100, "", func(p *resize.Plan) *float64 { return &p.Adjust.Sharpen }),
	number("usm", nil, -100, 100, "", func(p *resize.Plan) *float64 { return &p.Adjust.Unsharp }),
	number("usmrad", nil, 0, 500, " pixels", func(p *resize.Plan) *float64 { return &p.Adjust.UnsharpRadius }),
}

// paramsOfEffects make effects.
var paramsOfEffects = []param{
	number("blur", nil, 0, 2000, "", func(p *resize.Plan) *float64 { return &p.Stylize.Blur }),
	integer("px", nil, 0, 100, " pixels", func(p *resize.Plan) *int { return &p.Stylize.Pixelate }),
	number("htn", nil, 0, 100, "", func(p *resize.Plan) *float64 { return &p.Stylize.Halftone }),
	{
		name: "monochrome", aliases: []string{"mono"}, takes: colorTakes,
		read: func(r *reader, v string) (problem string) {
			r.params.Plan.Stylize.Monochrome, problem = parseColor(v)
			return problem
		},
		write: func(q *query, p *Params) { q.color("monochrome", p.Plan.Stylize.Monochrome) },
	},
	number("sepia", nil, 0, 100, " percent", func(p *resize.Plan) *float64 { return &p.Stylize.Sepia }),
	{
		name: "duotone", takes: "two colours, DARK,LIGHT, each " + colorTakes,
		read: func(r *reader, v string) string {
			dark, light, ok := strings.Cut(v, ",")
			if !ok {
				return "one colour"
			}
			a, problem := parseColor(dark)
			b, problemB := parseColor(light)
			if problem+problemB != "" {
				return "not two colours"
			}
			r.duotone.Dark, r.duotone.Light = *a, *b
			return ""
		},
		write: func(q *query, p *Params) {
			if d := p.Plan.Stylize.Duotone; d != nil {
				q.color("duotone", &d.Dark)
				q.more("")
				q.colorDigits(d.Light)
				q.number("duotone-alpha", float64(d.Alpha))
			}
		},
	},
	part("duotone-alpha", nil, "0 to 100 percent", func(r *reader, v string) (problem string) {
		r.duotone.Alpha, problem = parseWhole(v, 0, 100)
		r.noDuotone = r.duotone.Alpha == 0
		return problem
	}),
}

// defaultNoise is the nr of a URL that has only nrs, and the other way round.
const defaultNoise = 20

// defaultUnsharpRadius is the usmrad of a URL that has usm.
const defaultUnsharpRadius = 2.5

// canonicalColour leaves out what has no effect.
func canonicalColour(plan *resize.Plan) {
	a := &plan.Adjust
	if a.NoiseReduction == 0 {
		a.NoiseThreshold = 0
	}
	if a.Hue == 360 {
		a.Hue = 0
	}
	if a.Unsharp == 0 || a.UnsharpRadius == defaultUnsharpRadius {
		a.UnsharpRadius = 0
	}
	if m := plan.Stylize.Monochrome; m != nil && m.A == 0 {
		plan.Stylize.Monochrome = nil
	}
	if d := plan.Stylize.Duotone; d != nil && d.Alpha == 100 {
		changed := *d
		changed.Alpha = 0
		plan.Stylize.Duotone = &changed
	}
}
