package imagecdn

import (
	"slices"

	"github.com/imagecdn/imagecdn/resize"
)

// paramsOfSize say what part of the original is shown, and how large.
var paramsOfSize = []param{
	{
		name: "w", aliases: []string{"width"}, takes: "2 to 8192 pixels, or a fraction of the original's width between 0 and 1",
		read: func(r *reader, v string) (problem string) {
			r.params.Plan.Width, problem = parseLength(v, maxSide)
			return problem
		},
		write: func(q *query, p *Params) { q.number("w", p.Plan.Width) },
	},
	{
		name: "h", aliases: []string{"height"}, takes: "2 to 8192 pixels, or a fraction of the original's height between 0 and 1",
		read: func(r *reader, v string) (problem string) {
			r.params.Plan.Height, problem = parseLength(v, maxSide)
			return problem
		},
		write: func(q *query, p *Params) { q.number("h", p.Plan.Height) },
	},
	{
		name: "dpr", takes: "a number above 0, at most 5",
		read: func(r *reader, v string) (problem string) {
			if r.params.Plan.DPR, problem = parseRange(v, 5); problem == "" && r.params.Plan.DPR == 0 {
				problem = "zero"
			}
			return problem
		},
		write: func(q *query, p *Params) { q.number("dpr", p.Plan.DPR) },
	},
	{
		name: "fit", aliases: []string{"f"}, takes: "clip, crop, facearea, fill, fillmax, max, min, scale, clamp, outside or cropfill",
		read: func(r *reader, v string) string {
			return readWord(fitWords, v, &r.params.Plan.Fit)
		},
		write: func(q *query, p *Params) {
			if p.Plan.Fit != resize.Clip {
				q.text("fit", wordOf(fitWords, p.Plan.Fit))
			}
		},
	},
	{
		name: "enlarge", takes: "true or false",
		read: func(r *reader, v string) string {
			enlarge, problem := parseBool(v)
			r.params.Plan.NoEnlarge = !enlarge
			return problem
		},
		write: func(q *query, p *Params) {
			if p.Plan.NoEnlarge {
				q.text("enlarge", "false")
			}
		},
	},
	{
		name: "ar", takes: "width:height, such as 16:9, or their quotient, between 1:8192 and 8192:1, or the least and the most of that",
		read: func(r *reader, v string) (problem string) {
			p := &r.params.Plan
			p.Aspect, p.AspectMax, problem = parseRatios(v)
			return problem
		},
		write: func(q *query, p *Params) {
			q.number("ar", p.Plan.Aspect)
			if p.Plan.AspectMax != 0 {
				q.more("")
				q.digits(p.Plan.AspectMax)
			}
		},
	},
	integer("min-w", []string{"min-width"}, 1, maxSide, " pixels", func(p *resize.Plan) *int { return &p.MinWidth }),
	integer("min-h", []string{"min-height"}, 1, maxSide, " pixels", func(p *resize.Plan) *int { return &p.MinHeight }),
	integer("max-w", []string{"max-width"}, 1, maxSide, " pixels", func(p *resize.Plan) *int { return &p.MaxWidth }),
	integer("max-h", []string{"max-height"}, 1, maxSide, " pixels", func(p *resize.Plan) *int { return &p.MaxHeight }),
	{
		name: "crop", takes: "a list of top, bottom, left, right, center, focalpoint, entropy, edges and faces",
		read: func(r *reader, v string) (problem string) {
			r.params.Plan.Crop, problem = parseCrop(v)
			return problem
		},
		write: func(q *query, p *Params) { q.crop("crop", p.Plan.Crop) },
	},
	part("fp-unit", nil, "px", func(r *reader, v string) string {
		r.params.Plan.FocalPixels = true
		return only(v, "px")
	}),
	part("fp-x", nil, "a number from 0 (left) to 1 (right)", func(r *reader, v string) string { return r.focus(v, &r.focal.X) }),
	{
		name: "fp-y", takes: "a number from 0 (top) to 1 (bottom)",
		read: func(r *reader, v string) string { return r.focus(v, &r.focal.Y) },
		write: func(q *query, p *Params) {
			if f := p.Plan.Focal; f != nil {
				if p.Plan.FocalPixels {
					q.text("fp-unit", "px")
				}
				q.text("fp-x", "")
				q.digits(f.X)
				q.text("fp-y", "")
				q.digits(f.Y)
			}
		},
	},
	number("fp-z", nil, 1, 100, "", func(p *resize.Plan) *float64 { return &p.Zoom }),
	boolean("fp-debug", nil, func(p *resize.Plan) *bool { return &p.Crosshairs }),
	{
		name: "rect", takes: "x,y,w,h in pixels or fractions, of which 1px is a pixel; x may be left, center or right, y top, middle or bottom, w and h full",
		read: func(r *reader, v string) (problem string) {
			r.params.Plan.Rect, problem = parseRect(v)
			return problem
		},
		write: func(q *query, p *Params) {
			if r := p.Plan.Rect; r != nil {
				q.text("rect", "")
				q.place(r.X, r.XAlign, r.Pixels, xWords)
				q.more("")
				q.place(r.Y, r.YAlign, r.Pixels, yWords)
				q.more("")
				q.extent(r.W, r.Pixels)
				q.more("")
				q.extent(r.H, r.Pixels)
			}
		},
	},
	{
		name: "trim", takes: "auto, color, alpha or colorunlessalpha",
		read:  func(r *reader, v string) string { return readWord(trimWords, v, &r.trim.By) },
		write: writeTrim,
	},
	part("trim-color", []string{"trimcolor"}, colorTakes, func(r *reader, v string) (problem string) {
		r.trim.Color, problem = parseColor(v)
		return problem
	}),
	part("trim-tol", []string{"trimtol"}, "0 to 255 levels", func(r *reader, v string) (problem string) {
		r.trim.Tolerance, problem = parseRange(v, 255)
		return problem
	}),
	part("trim-md", []string{"trimmd"}, "0 to 255 levels", func(r *reader, v string) (problem string) {
		r.trim.Mean, problem = pointerTo(parseRange(v, 255))
		return problem
	}),
	part("trim-sd", []string{"trimsd"}, "0 to 255 levels", func(r *reader, v string) (problem string) {
		r.trim.Deviation, problem = pointerTo(parseRange(v, 255))
		return problem
	}),
	part("trim-alpha", nil, "0 to 255 levels", func(r *reader, v string) (problem string) {
		r.trim.Alpha, problem = parseRange(v, 255)
		return problem
	}),
	part("trim-pad", []string{"trimpad"}, "−200 to 200 pixels", func(r *reader, v string) (problem string) {
		r.trim.Pad, problem = parseWhole(v, -200, 200)
		return problem
	}),
}

var trimWords = []word[resize.TrimBy]{
	{"auto", resize.TrimAuto}, {"color", resize.TrimColor}, {"alpha", resize.TrimAlpha}, {"colorunlessalpha", resize.TrimColorUnlessAlpha},
}

// The defaults of trim-md and trim-sd.
const (
	defaultTrimMean      = 11
	defaultTrimDeviation = 10
)

func writeTrim(q *query, p *Params) {
	t := p.Plan.Trim
	if t == nil {
		return
	}
	q.text("trim", wordOf(trimWords, t.By))
	q.color("trim-color", t.Color)
	q.number("trim-tol", t.Tolerance)
	q.pointer("trim-md", t.Mean)
	q.pointer("trim-sd", t.Deviation)
	q.number("trim-alpha", t.Alpha)
	q.number("trim-pad", float64(t.Pad))
}

// canonicalTrim leaves out what the kind of trim does not look at, and defaults.
func canonicalTrim(trim *resize.Trim) *resize.Trim {
	if trim == nil {
		return nil
	}
	t := *trim
	if t.By != resize.TrimColor && t.By != resize.TrimColorUnlessAlpha {
		t.Color, t.Tolerance = nil, 0
	}
	if t.By != resize.TrimAuto || t.Mean != nil && *t.Mean == defaultTrimMean {
		t.Mean = nil
	}
	if t.By != resize.TrimAuto || t.Deviation != nil && *t.Deviation == defaultTrimDeviation {
		t.Deviation = nil
	}
	if t.By != resize.TrimAlpha && t.By != resize.TrimColorUnlessAlpha {
		t.Alpha = 0
	}
	return &t
}

// canonicalBounds leaves out the sides' bounds where nothing heeds them.
func canonicalBounds(plan *resize.Plan) {
	if plan.Fit != resize.Cover {
		plan.MinWidth, plan.MinHeight, plan.MaxWidth, plan.MaxHeight = 0, 0, 0, 0
	}
}

// focus reads a coordinate of the focal point: pixels where fp-unit, which is read before it, says so.
func (r *reader) focus(v string, to *float64) (problem string) {
	most := 1.
	if r.params.Plan.FocalPixels {
		most = maxSourceSide
	}
	*to, problem = parseRange(v, most)
	return problem
}

// canonicalEnlarge leaves NoEnlarge to fits that say it by themselves, and to those that enlarge nothing.
func canonicalEnlarge(plan *resize.Plan) {
	if !plan.NoEnlarge {
		return
	}
	bounded := plan.MinWidth != 0 || plan.MinHeight != 0 || plan.MaxWidth != 0 || plan.MaxHeight != 0
	switch {
	case plan.Fit == resize.Scale, plan.Fit == resize.Outside, plan.Fit == resize.Clamp:
		return
	case plan.Fit == resize.Cover:
		if plan.Aspect != 0 && plan.Width == 0 && plan.Height == 0 {
			break // the largest that there is
		}
		if plan.Aspect != 0 || bounded {
			return
		}
		plan.Fit = resize.Min
	case plan.Fit == resize.Clip && (plan.Width != 0 || plan.Height != 0):
		plan.Fit = resize.Max
	case plan.Fit == resize.Fill:
		plan.Fit = resize.FillMax
	}
	plan.NoEnlarge = false
}

// canonicalFocal leaves out what crop=focalpoint is not there to look at.
func canonicalFocal(plan *resize.Plan) {
	if !slices.Contains(plan.Crop, resize.FocalPoint) {
		plan.Focal, plan.Zoom, plan.Crosshairs = nil, 0, false
	}
	if plan.Focal == nil {
		plan.FocalPixels = false
	}
	if f := plan.Focal; f != nil && !plan.FocalPixels && *f == (resize.Point{X: .5, Y: .5}) {
		plan.Focal = nil
	}
	if plan.Zoom == 1 {
		plan.Zoom = 0
	}
}
