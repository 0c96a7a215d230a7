package imagecdn

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/imagecdn/imagecdn/resize"
)

// paramsOfBlend lay another picture, or a colour, over all of it.
var paramsOfBlend = []param{
	{
		name: "blend", aliases: []string{"b"}, takes: "a colour, or the path of an image here, /SOURCE/PATH",
		read: func(r *reader, v string) (problem string) {
			if c, problem := parseColor(v); problem == "" {
				r.blend.Color = c
				return ""
			}
			r.blendImage, problem = r.image(v)
			return problem
		},
		write: writeBlend,
	},
	part("blend-color", []string{"blendcolor", "blend-clr", "blendclr"}, colorTakes, func(r *reader, v string) (problem string) {
		r.blendColor, problem = parseColor(v)
		return problem
	}),
	part("blend-mode", []string{"blendmode", "bm"}, wordList(blendModes), func(r *reader, v string) string {
		return readWord(blendModes, v, &r.blend.Mode)
	}),
	part("blend-alpha", []string{"blendalpha", "balph"}, "0 to 100 percent", func(r *reader, v string) (problem string) {
		r.blend.Alpha, problem = parseWhole(v, 0, 100)
		r.noBlend = r.blend.Alpha == 0
		return problem
	}),
	part("blend-w", []string{"blendw", "bw"}, "2 to 8192 pixels, or a fraction of the picture's width between 0 and 1", func(r *reader, v string) (problem string) {
		r.blend.Width, problem = parseLength(v, maxSide)
		return problem
	}),
	part("blend-h", []string{"blendh", "bh"}, "2 to 8192 pixels, or a fraction of the picture's height between 0 and 1", func(r *reader, v string) (problem string) {
		r.blend.Height, problem = parseLength(v, maxSide)
		return problem
	}),
	part("blend-size", []string{"blendsize", "bs"}, "inherit", func(r *reader, v string) string {
		if r.blend.Inherit = v == "inherit"; !r.blend.Inherit {
			return "unknown value"
		}
		return ""
	}),
	part("blend-fit", []string{"blendfit", "bf"}, "clip, clamp, crop, max or scale", func(r *reader, v string) string {
		return readWord(blendFits, v, &r.blend.Fit)
	}),
	part("blend-crop", []string{"blendcrop", "bc"}, "a list of top, bottom, left, right and faces", func(r *reader, v string) (problem string) {
		r.blend.Crop, problem = parseCrop(v)
		return problem
	}),
	part("blend-align", []string{"blendalign", "ba"}, alignTakes, func(r *reader, v string) (problem string) {
		r.blend.XAlign, r.blend.YAlign, problem = parseAlign(v)
		return problem
	}),
	part("blend-pad", []string{"blendpad", "bp"}, "0 to 8192 pixels", func(r *reader, v string) (problem string) {
		r.blend.Pad, problem = parseWhole(v, 0, maxSide)
		return problem
	}),
	part("blend-x", []string{"blendx", "bx"}, "0 to 8192 pixels", func(r *reader, v string) string { return r.side(v, &r.blend.X) }),
	part("blend-y", []string{"blendy", "by"}, "0 to 8192 pixels", func(r *reader, v string) string { return r.side(v, &r.blend.Y) }),
}

// paramsOfMark draw a watermark.
var paramsOfMark = []param{
	{
		name: "mark", aliases: []string{"m"}, takes: "the path of an image here, /SOURCE/PATH, such as /photos/logo.png, with parameters of its own if need be",
		read: func(r *reader, v string) string {
			r.markPath = v
			return ""
		},
		write: writeMark,
	},
	part("mark-base", []string{"markbase", "mb"}, "the path of a folder here, /SOURCE/PATH, which a relative mark is in", func(r *reader, v string) (problem string) {
		r.markBase = strings.TrimSuffix(v, "/")
		_, problem = r.image(r.markBase + "/x")
		return problem
	}),
	part("mark-align", []string{"markalign", "ma"}, alignTakes, func(r *reader, v string) (problem string) {
		r.mark.XAlign, r.mark.YAlign, problem = parseAlign(v)
		return problem
	}),
	part("mark-w", []string{"markw", "mw"}, "2 to 8192 pixels, or a fraction of the picture's width between 0 and 1", func(r *reader, v string) (problem string) {
		r.mark.Width, problem = parseLength(v, maxSide)
		return problem
	}),
	part("mark-h", []string{"markh", "mh"}, "2 to 8192 pixels, or a fraction of the picture's height between 0 and 1", func(r *reader, v string) (problem string) {
		r.mark.Height, problem = parseLength(v, maxSide)
		return problem
	}),
	part("mark-scale", []string{"markscale", "ms"}, "1 to 100 percent of the picture's width", func(r *reader, v string) (problem string) {
		r.mark.Scale, problem = parseWhole(v, 1, 100)
		return problem
	}),
	part("mark-percent", nil, "1 to 1000 percent of its own size", func(r *reader, v string) (problem string) {
		r.mark.Percent, problem = parseBetween(v, 1, 1000)
		return problem
	}),
	part("mark-fit", []string{"markfit", "mf"}, "clip, crop, fill, max or scale", func(r *reader, v string) string {
		return readWord(markFits, v, &r.mark.Fit)
	}),
	part("mark-rot", nil, "degrees counter-clockwise, 0 to 359", func(r *reader, v string) (problem string) {
		r.mark.Rotate, problem = parseAngle(v)
		return problem
	}),
	part("mark-tile", []string{"marktile", "mtile"}, "grid", func(r *reader, v string) string {
		if r.mark.Tile = v == "grid"; !r.mark.Tile {
			return "unknown value"
		}
		return ""
	}),
	part("mark-alpha", []string{"markalpha", "malph"}, "0 to 100 percent", func(r *reader, v string) (problem string) {
		r.mark.Alpha, problem = parseWhole(v, 0, 100)
		r.noMark = r.mark.Alpha == 0
		return problem
	}),
	part("mark-pad", []string{"markpad", "mp"}, "0 to 8192 pixels, or two such for the sides and for top and bottom", func(r *reader, v string) (problem string) {
		x, y, two := strings.Cut(v, ",")
		if problem = r.side(x, &r.mark.Pad); problem == "" && two {
			problem = r.side(y, &r.mark.PadY)
		}
		return problem
	}),
	part("mark-x", []string{"markx", "mx"}, "−8192 to 8192 pixels", func(r *reader, v string) (problem string) {
		r.mark.X, problem = pointerTo(parseWhole(v, -maxSide, maxSide))
		return problem
	}),
	part("mark-y", []string{"marky", "my"}, "−8192 to 8192 pixels", func(r *reader, v string) (problem string) {
		r.mark.Y, problem = pointerTo(parseWhole(v, -maxSide, maxSide))
		return problem
	}),
	part("mark-if-min-width", nil, "0 to 8192 pixels", func(r *reader, v string) (problem string) {
		r.mark.MinWidth, problem = parseWhole(v, 0, maxSide)
		return problem
	}),
	part("mark-if-min-height", nil, "0 to 8192 pixels", func(r *reader, v string) (problem string) {
		r.mark.MinHeight, problem = parseWhole(v, 0, maxSide)
		return problem
	}),
}

// paramsOfText draw a text.
var paramsOfText = []param{
	{
		name: "txt", aliases: []string{"t"}, takes: "up to 4000 bytes of text",
		read: func(r *reader, v string) string {
			r.text.Text = v
			return checkText(v)
		},
		write: func(q *query, p *Params) { writeText(q, p.Plan.Text) },
	},
	part("txt-font", []string{"txtfont", "tf"}, "the name of a font", func(r *reader, v string) string {
		r.text.Font = strings.ToLower(v)
		if len(v) > 200 || checkText(v) != "" {
			return "not a name"
		}
		return ""
	}),
	part("txt-size", []string{"txtsize", "tsz"}, "1 to 2000 pixels", func(r *reader, v string) (problem string) {
		r.text.Size, problem = parseBetween(v, 1, 2000)
		return problem
	}),
	part("txt-color", []string{"txtcolor", "txt-clr", "txtclr", "tc"}, colorTakes, func(r *reader, v string) (problem string) {
		r.text.Color, problem = parseColor(v)
		return problem
	}),
	part("txt-align", []string{"txtalign", "ta"}, alignTakes, func(r *reader, v string) (problem string) {
		r.text.XAlign, r.text.YAlign, problem = parseAlign(v)
		return problem
	}),
	part("txt-clip", []string{"txtclip", "tcl"}, "a list of start, middle or end, and ellipsis", func(r *reader, v string) string {
		for item := range strings.SplitSeq(v, ",") {
			if item == "ellipsis" {
				r.text.Ellipsis = true
			} else if problem := readWord(cutWords, item, &r.text.Cut); problem != "" {
				return problem
			}
		}
		return ""
	}),
	part("txt-fit", []string{"txtfit"}, "max, wrap or wrapmax", func(r *reader, v string) string {
		return readWord(textFits, v, &r.text.Fit)
	}),
	part("txt-line", []string{"txtline", "tl"}, "0 to 1000 pixels", func(r *reader, v string) (problem string) {
		r.text.Line, problem = parseRange(v, 1000)
		return problem
	}),
	part("txt-line-color", []string{"txtlinecolor", "txt-line-clr", "txtlineclr"}, colorTakes, func(r *reader, v string) (problem string) {
		r.text.LineColor, problem = parseColor(v)
		return problem
	}),
	part("txt-pad", []string{"txtpad", "tp"}, "0 to 8192 pixels", func(r *reader, v string) string { return r.side(v, &r.text.Pad) }),
	part("txt-shad", []string{"txtshad", "tsh"}, "0 to 10", func(r *reader, v string) (problem string) {
		r.text.Shadow, problem = parseRange(v, 10)
		return problem
	}),
	part("txt-shad-blur", nil, "0 to 100 pixels", func(r *reader, v string) (problem string) {
		r.text.ShadowBlur, problem = pointerTo(parseWhole(v, 0, 100))
		return problem
	}),
	part("txt-width", []string{"txtwidth", "txt-w"}, "2 to 8192 pixels, or a fraction of the picture's width between 0 and 1", func(r *reader, v string) (problem string) {
		r.text.Width, problem = parseRadius(v)
		return problem
	}),
	part("txt-h", []string{"txt-height"}, "2 to 8192 pixels, or a fraction of the picture's height between 0 and 1", func(r *reader, v string) (problem string) {
		r.text.Height, problem = parseRadius(v)
		return problem
	}),
	part("txt-x", []string{"txtx"}, "−8192 to 8192 pixels", func(r *reader, v string) (problem string) {
		r.text.X, problem = pointerTo(parseWhole(v, -maxSide, maxSide))
		return problem
	}),
	part("txt-y", []string{"txty"}, "−8192 to 8192 pixels", func(r *reader, v string) (problem string) {
		r.text.Y, problem = pointerTo(parseWhole(v, -maxSide, maxSide))
		return problem
	}),
	part("txt-lead", []string{"txtlead"}, "0 to 4000 pixels", func(r *reader, v string) (problem string) {
		r.text.Lead, problem = parseRange(v, 4000)
		return problem
	}),
	part("txt-track", []string{"txttrack", "tt"}, "−4 to 1000 pixels", func(r *reader, v string) (problem string) {
		r.text.Track, problem = parseBetween(v, -4, 1000)
		return problem
	}),
}

const alignTakes = "at most one of left, center and right and one of top, middle and bottom"

var (
	blendModes = []word[resize.BlendMode]{
		{"overlay", resize.Overlay}, {"normal", resize.Normal}, {"color", resize.ColorBlend}, {"burn", resize.Burn},
		{"dodge", resize.Dodge}, {"darken", resize.Darken}, {"difference", resize.Difference}, {"exclusion", resize.Exclusion},
		{"hardlight", resize.HardLight}, {"hue", resize.HueBlend}, {"lighten", resize.Lighten}, {"luminosity", resize.Luminosity},
		{"multiply", resize.Multiply}, {"saturation", resize.SaturationBlend}, {"screen", resize.Screen}, {"softlight", resize.SoftLight},
	}
	blendFits = []word[resize.Fit]{
		{"clip", resize.Clip}, {"clamp", resize.Clamp}, {"crop", resize.Cover}, {"max", resize.Max}, {"scale", resize.Scale},
	}
	markFits = []word[resize.Fit]{
		{"clip", resize.Clip}, {"crop", resize.Cover}, {"fill", resize.Fill}, {"max", resize.Max}, {"scale", resize.Scale},
	}
	cutWords = []word[resize.TextCut]{{"end", resize.CutEnd}, {"start", resize.CutStart}, {"middle", resize.CutMiddle}}
	textFits = []word[resize.TextFit]{{"max", resize.MaxText}, {"wrap", resize.WrapText}, {"wrapmax", resize.WrapMaxText}}
)

// checkText accepts text with line breaks.
func checkText(s string) (problem string) {
	switch {
	case len(s) > resize.MaxTextBytes:
		return "too long"
	case !utf8.ValidString(s):
		return "not UTF-8"
	case strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }):
		return "a control character"
	}
	return ""
}

// The places in Params.Inputs of the pictures of a blend and of the first mark.
func blendInput(plan *resize.Plan) int {
	if plan.Mask != nil && plan.Mask.Shape == resize.PictureMask {
		return 1
	}
	return 0
}

func markInput(plan *resize.Plan) int {
	n := blendInput(plan)
	if plan.Blend != nil && plan.Blend.Color == nil {
		n++
	}
	return n
}

func writeBlend(q *query, p *Params) {
	b := p.Plan.Blend
	if b == nil {
		return
	}
	if b.Color != nil {
		q.color("blend", b.Color)
	} else {
		q.text("blend", "")
		if i := blendInput(&p.Plan); i < len(p.Inputs) {
			q.path(p.Inputs[i])
		}
	}
	if b.Mode != resize.Overlay {
		q.text("blend-mode", wordOf(blendModes, b.Mode))
	}
	q.number("blend-alpha", float64(b.Alpha))
	q.number("blend-w", b.Width)
	q.number("blend-h", b.Height)
	if b.Inherit {
		q.text("blend-size", "inherit")
	}
	if b.Fit != resize.Clip {
		q.text("blend-fit", wordOf(blendFits, b.Fit))
	}
	q.crop("blend-crop", b.Crop)
	q.align("blend-align", b.XAlign, b.YAlign)
	q.number("blend-pad", float64(b.Pad))
	q.whole("blend-x", b.X)
	q.whole("blend-y", b.Y)
}

// canonicalBlend leaves out what has no effect.
func canonicalBlend(blend *resize.Blend) *resize.Blend {
	if blend == nil {
		return nil
	}
	b := *blend
	if b.Alpha == 100 {
		b.Alpha = 0
	}
	if b.Color != nil { // which covers everything
		return &resize.Blend{Color: b.Color, Mode: b.Mode, Alpha: b.Alpha}
	}
	if b.Inherit {
		b.Width, b.Height = 0, 0
	}
	if b.XAlign == resize.Middle {
		b.XAlign = resize.NoAlign
	}
	if b.YAlign == resize.Middle {
		b.YAlign = resize.NoAlign
	}
	if b.Fit != resize.Cover {
		b.Crop = nil
	}
	b.Crop = canonicalCrop(b.Crop)
	return &b
}

func writeMark(q *query, p *Params) {
	for i, at := 0, markInput(&p.Plan); i < len(p.Plan.Marks); i++ {
		m := &p.Plan.Marks[i]
		q.text("mark", "")
		switch own := (Params{}); {
		case m.Text != nil:
			at--
			own.Plan.Text = m.Text
			q.escape("~text?"+q.nested(own), false)
		case at+i < len(p.Inputs):
			q.path(p.Inputs[at+i])
			if m.Plan != nil {
				own.Plan = *m.Plan
				q.escape("?"+q.nested(own), false)
			}
		}
		q.align("mark-align", m.XAlign, m.YAlign)
		q.number("mark-w", m.Width)
		q.number("mark-h", m.Height)
		q.number("mark-scale", float64(m.Scale))
		q.number("mark-percent", m.Percent)
		if m.Fit != resize.Clip {
			q.text("mark-fit", wordOf(markFits, m.Fit))
		}
		q.number("mark-rot", m.Rotate)
		if m.Tile {
			q.text("mark-tile", "grid")
		}
		q.number("mark-alpha", float64(m.Alpha))
		q.whole("mark-pad", m.Pad)
		if m.PadY != nil {
			if m.Pad == nil {
				q.text("mark-pad", strconv.Itoa(defaultMarkPad))
			}
			q.more(strconv.Itoa(*m.PadY))
		}
		q.whole("mark-x", m.X)
		q.whole("mark-y", m.Y)
		q.number("mark-if-min-width", float64(m.MinWidth))
		q.number("mark-if-min-height", float64(m.MinHeight))
	}
}

// canonicalMarks writes the defaults of marks as zero.
func canonicalMarks(marks []resize.Mark) []resize.Mark {
	if len(marks) == 0 {
		return marks
	}
	changed := make([]resize.Mark, len(marks))
	for i, m := range marks {
		standard := resize.Far
		if m.Tile {
			standard = resize.Near
		}
		if m.XAlign == standard {
			m.XAlign = resize.NoAlign
		}
		if m.YAlign == standard {
			m.YAlign = resize.NoAlign
		}
		if m.Alpha == 100 {
			m.Alpha = 0
		}
		if m.Pad != nil && *m.Pad == defaultMarkPad {
			m.Pad = nil
		}
		if m.PadY != nil && (m.Pad == nil && *m.PadY == defaultMarkPad || m.Pad != nil && *m.PadY == *m.Pad) {
			m.PadY = nil
		}
		if m.Percent != 0 {
			m.Width, m.Height, m.Scale = 0, 0, 0
		}
		if m.Scale != 0 {
			m.Width, m.Height = 0, 0
		}
		if m.Width == 0 || m.Height == 0 {
			m.Fit = resize.Clip
		}
		m.Text = canonicalText(m.Text)
		changed[i] = m
	}
	return changed
}

func writeText(q *query, t *resize.Text) {
	if t == nil {
		return
	}
	q.free("txt", t.Text)
	if t.Font != "" {
		q.free("txt-font", t.Font)
	}
	q.number("txt-size", t.Size)
	q.color("txt-color", t.Color)
	q.align("txt-align", t.XAlign, t.YAlign)
	switch {
	case t.Cut != resize.CutEnd && t.Ellipsis:
		q.text("txt-clip", wordOf(cutWords, t.Cut)+",ellipsis")
	case t.Ellipsis:
		q.text("txt-clip", "ellipsis")
	case t.Cut != resize.CutEnd:
		q.text("txt-clip", wordOf(cutWords, t.Cut))
	}
	if t.Fit != resize.ClipText {
		q.text("txt-fit", wordOf(textFits, t.Fit))
	}
	q.number("txt-line", t.Line)
	q.color("txt-line-color", t.LineColor)
	q.whole("txt-pad", t.Pad)
	q.number("txt-shad", t.Shadow)
	q.whole("txt-shad-blur", t.ShadowBlur)
	q.number("txt-width", t.Width)
	q.number("txt-h", t.Height)
	q.whole("txt-x", t.X)
	q.whole("txt-y", t.Y)
	q.number("txt-lead", t.Lead)
	q.number("txt-track", t.Track)
}

// canonicalText writes the defaults of a text as zero, and leaves out what has no effect.
func canonicalText(text *resize.Text) *resize.Text {
	if text == nil || text.Text == "" {
		return nil
	}
	t := *text
	if t.Size == 12 {
		t.Size = 0
	}
	if t.XAlign == resize.Far {
		t.XAlign = resize.NoAlign
	}
	if t.YAlign == resize.Far {
		t.YAlign = resize.NoAlign
	}
	if t.Pad != nil && *t.Pad == 10 {
		t.Pad = nil
	}
	if t.Fit == resize.ClipText {
		t.Height = 0
	} else {
		t.Cut, t.Ellipsis = resize.CutEnd, false
	}
	if t.Line == 0 {
		t.LineColor = nil
	}
	if t.Shadow == 0 {
		t.ShadowBlur = nil
	}
	return &t
}
