package imagecdn

import (
	"cmp"
	"image/color"
	"math"
	"strings"
	"time"

	"github.com/imagecdn/imagecdn/resize"
)

// A cloudimageParam is one parameter of Cloudimage.
type cloudimageParam struct {
	name    string
	aliases []string
	takes   string // the values that it has, for errors
	empty   bool   // may be empty
	text    bool   // may have a question mark in its value
	request bool   // is about the URL, and not about the picture

	// read takes a value, which is not empty unless empty says so. It returns what is wrong with it: nothing, if it is empty.
	read func(r *cloudimageReader, v string) (problem string)
}

// A cloudimageReader collects parameters, each by itself, in the order of cloudimageParams, and then puts together what several describe.
type cloudimageReader struct {
	params Params
	given  [(maxParams + 63) / 64]uint64
	other  func(string) (Image, *ParamError)

	function             string
	gravity              string
	crop                 []resize.Crop
	focal                *resize.Point
	focalPixels          bool
	alignX, alignY       resize.Align
	topLeft, bottomRight *[2]float64
	enlarge              bool
	margin               int
	background           *color.NRGBA
	opacity              float64
	imageFill            bool
	fillBlur             float64
	optipress            int
	info                 bool

	watermark   bool
	mark        resize.Mark
	markURL     string
	text        resize.Text
	markOpacity float64

	version   string
	expires   time.Time
	maxAge    time.Duration
	download  string
	downloads bool

	status int // of an answer to a problem, where it is not 400
}

func (r *cloudimageReader) has(name string) bool {
	i := cloudimageIndex[name]
	return r.given[i/64]&(1<<(i%64)) != 0
}

// cloudimageIndex finds a parameter by any of its names.
var cloudimageIndex = indexCloudimage(cloudimageParams)

func indexCloudimage(params []cloudimageParam) map[string]int {
	index := make(map[string]int, 2*len(params))
	for i, p := range params {
		index[p.name] = i
		for _, alias := range p.aliases {
			index[alias] = i
		}
	}
	return index
}

// Scales, from Cloudimage's numbers to those of a Plan. The ranges of version 7 are not documented; these are what the clients of
// version 6 send, each mapped onto the whole range here. docs/cloudimage.md has them as a table.
const (
	brightScale = 100. / 255
	sharpScale  = 25 // 0 to 4
	blurScale   = 10 // a standard deviation in pixels
	trimScale   = 255. / 100
)

// optipressQuality are the qualities of optipress=1, 2 and 3.
var optipressQuality = [4]int{0, 80, 65, 50}

var cloudimageParams = cloudimageTable()

// cloudimageTable makes cloudimageParams, whose f reads others of them.
func cloudimageTable() []cloudimageParam {
	flag := func(name string, aliases []string, at func(r *cloudimageReader) *bool) cloudimageParam {
		return cloudimageParam{name: name, aliases: aliases, takes: "0 or 1", read: func(r *cloudimageReader, v string) (problem string) {
			*at(r), problem = parseBool(v)
			return problem
		}}
	}
	// scaled is a number from lo to hi, which is then multiplied. What is beyond is taken for the end.
	scaled := func(name string, aliases []string, lo, hi, scale float64, at func(p *resize.Plan) *float64) cloudimageParam {
		return cloudimageParam{name: name, aliases: aliases, takes: span(lo, hi), read: func(r *cloudimageReader, v string) string {
			n, problem := parseBetween(v, math.Min(lo, -1)*1e6, 1e6)
			if problem == "" && n < 0 && lo >= 0 {
				problem = "negative"
			}
			*at(&r.params.Plan) = math.Min(math.Max(n, lo), hi) * scale
			return problem
		}}
	}
	side := func(name, alias string, at func(p *resize.Plan) *float64) cloudimageParam {
		return cloudimageParam{name: name, aliases: []string{alias}, takes: "2 to 8192 pixels", read: func(r *cloudimageReader, v string) (problem string) {
			n, problem := parseWhole(v, 2, maxSide)
			*at(&r.params.Plan) = float64(n)
			return problem
		}}
	}
	refused := func(name, why string) cloudimageParam {
		return cloudimageParam{name: name, takes: "no value here", read: func(*cloudimageReader, string) string { return why }}
	}
	ignored := func(name string, aliases ...string) cloudimageParam {
		return cloudimageParam{name: name, aliases: aliases, empty: true, text: true, request: true, read: func(*cloudimageReader, string) string { return "" }}
	}
	colour := func(name string, aliases []string, at func(r *cloudimageReader) **color.NRGBA) cloudimageParam {
		return cloudimageParam{name: name, aliases: aliases, takes: cloudimageColorTakes, read: func(r *cloudimageReader, v string) (problem string) {
			*at(r), problem = cloudimageColor(v)
			return problem
		}}
	}

	filters := []cloudimageParam{
		scaled("sharp", []string{"sharpen"}, 0, 4, sharpScale, func(p *resize.Plan) *float64 { return &p.Adjust.Sharpen }),
		{name: "grey", aliases: []string{"gray", "greyscale", "grayscale"}, takes: "0 or 1", read: func(r *cloudimageReader, v string) string {
			on, problem := parseBool(v)
			if on {
				r.params.Plan.Adjust.Saturation = -100
			}
			return problem
		}},
		scaled("bright", []string{"brightness"}, -255, 255, brightScale, func(p *resize.Plan) *float64 { return &p.Adjust.Brightness }),
		scaled("contrast", nil, -100, 100, 1, func(p *resize.Plan) *float64 { return &p.Adjust.Contrast }),
		{name: "saturation", takes: "−100 to 100", read: func(r *cloudimageReader, v string) string {
			n, problem := parseBetween(v, -1e6, 1e6)
			if r.params.Plan.Adjust.Saturation == 0 { // gray stays gray
				r.params.Plan.Adjust.Saturation = math.Min(math.Max(n, -100), 100)
			}
			return problem
		}},
		scaled("blur", []string{"gaussian"}, 0, 200, blurScale, func(p *resize.Plan) *float64 { return &p.Stylize.Blur }),
		{name: "pixelate", aliases: []string{"pixellate"}, takes: "0 to 100", read: func(r *cloudimageReader, v string) (problem string) {
			n, problem := parseWhole(v, 0, 1e6)
			r.params.Plan.Stylize.Pixelate = min(n, 100)
			return problem
		}},
		{name: "sepia", takes: "0 or 1, or 2 to 100 percent", read: func(r *cloudimageReader, v string) (problem string) {
			n, problem := parseBetween(v, 0, 100)
			if n == 1 {
				n = 100
			}
			r.params.Plan.Stylize.Sepia = n
			return problem
		}},
		{name: "duotone", takes: "two colours, DARK,LIGHT", read: func(r *cloudimageReader, v string) string {
			a, b, _ := strings.Cut(v, ",")
			dark, problem := cloudimageColor(a)
			light, problemB := cloudimageColor(b)
			if problem+problemB != "" {
				return "not two colours"
			}
			r.params.Plan.Stylize.Duotone = &resize.Duotone{Dark: *dark, Light: *light}
			return ""
		}},
		flag("invert", nil, func(r *cloudimageReader) *bool { return &r.params.Plan.Adjust.Invert }),
		{name: "blur_faces", takes: "0 or 1, or 2 to 100", read: func(r *cloudimageReader, v string) (problem string) {
			n, problem := parseBetween(v, 0, 100)
			if n == 1 {
				n = 50
			}
			r.params.Plan.FaceBlur = n
			return problem
		}},
	}
	filterIndex := indexCloudimage(filters)

	return append([]cloudimageParam{
		side("w", "width", func(p *resize.Plan) *float64 { return &p.Width }),
		side("h", "height", func(p *resize.Plan) *float64 { return &p.Height }),
		{name: "func", takes: "crop, face, fit, cropfit, bound, boundmin, cover or proxy", read: func(r *cloudimageReader, v string) string {
			r.function = v
			switch v {
			case "crop", "face", "fit", "cropfit", "bound", "boundmin", "cover", "proxy":
				return ""
			}
			return "unknown value"
		}},
		{name: "gravity", takes: "north, south, east, west, two of these together, center, auto, smart or face; or a point: X,Y in pixels of the original, Xp,Yp or Xs,Ys in percent, Xc,Yc from 0 to 1",
			read: (*cloudimageReader).readGravity},
		{name: "tl_px", takes: "X,Y in pixels of the original", read: func(r *cloudimageReader, v string) (problem string) {
			r.topLeft, problem = parsePixels(v)
			return problem
		}},
		{name: "br_px", takes: "X,Y in pixels of the original", read: func(r *cloudimageReader, v string) (problem string) {
			r.bottomRight, problem = parsePixels(v)
			return problem
		}},
		{name: "aspect_ratio", takes: "W:H or their quotient, or the least and the most of that", read: func(r *cloudimageReader, v string) (problem string) {
			p := &r.params.Plan
			p.Aspect, p.AspectMax, problem = parseRatios(v)
			return problem
		}},
		flag("org_if_sml", nil, func(r *cloudimageReader) *bool { return &r.params.Plan.NoEnlarge }),
		flag("fit_enlarge", nil, func(r *cloudimageReader) *bool { return &r.enlarge }),
		{name: "margin", takes: "0 to 8192 pixels", read: func(r *cloudimageReader, v string) (problem string) {
			r.margin, problem = parseWhole(v, 0, maxSide)
			return problem
		}},
		colour("bg_color", []string{"bg_colour"}, func(r *cloudimageReader) **color.NRGBA { return &r.background }),
		{name: "bg_opacity", takes: "0 to 1", read: func(r *cloudimageReader, v string) (problem string) {
			r.opacity, problem = parseRange(v, 1)
			return problem
		}},
		flag("bg_img_fit", nil, func(r *cloudimageReader) *bool { return &r.imageFill }),
		{name: "bg_blur", takes: "0 to 200", read: func(r *cloudimageReader, v string) (problem string) {
			r.fillBlur, problem = parseRange(v, 200)
			return problem
		}},
		{name: "bg_colorize", aliases: []string{"bg_colourize", "bg_colorise", "bg_colourise"}, takes: "no value here",
			read: func(*cloudimageReader, string) string { return "the background is not tinted here" }},
		{name: "flip", takes: "h, v or hv", read: func(r *cloudimageReader, v string) string { return readWord(flipWords, v, &r.params.Plan.Flip) }},
		{name: "r", aliases: []string{"rotate"}, takes: "degrees counter-clockwise", read: func(r *cloudimageReader, v string) (problem string) {
			r.params.Plan.Rotate, problem = parseAngle(v)
			r.params.Plan.Pivot = true
			return problem
		}},
		{name: "trim", takes: "0 to 100", read: func(r *cloudimageReader, v string) string {
			n, problem := parseRange(v, 100)
			if n > 0 {
				r.params.Plan.Trim = &resize.Trim{By: resize.TrimColor, Tolerance: n * trimScale}
			}
			return problem
		}},
		{name: "radius", takes: "1 to 65535 pixels, or max", read: func(r *cloudimageReader, v string) string {
			n, problem := maxSourceSide, ""
			if v != "max" {
				n, problem = parseWhole(v, 0, maxSourceSide)
			}
			if n > 0 {
				r.params.Plan.Mask = &resize.Mask{Shape: resize.CornersMask, Radius: resize.Corners{TopLeft: n, TopRight: n, BottomRight: n, BottomLeft: n}}
			}
			return problem
		}},
		{name: "dpr", takes: "a number above 0, at most 5", read: func(r *cloudimageReader, v string) (problem string) {
			if r.params.Plan.DPR, problem = parseRange(v, 5); problem == "" && r.params.Plan.DPR == 0 {
				problem = "zero"
			}
			return problem
		}},
		{name: "dpi", takes: "0 to 65535", read: func(r *cloudimageReader, v string) (problem string) {
			r.params.Plan.Encoding.DPI, problem = parseWhole(v, 0, 65535)
			return problem
		}},
		{name: "q", aliases: []string{"quality"}, takes: "1 to 100", read: func(r *cloudimageReader, v string) (problem string) {
			r.params.Plan.Quality, problem = parseWhole(v, 0, 100)
			r.params.Plan.Quality = max(r.params.Plan.Quality, 1)
			return problem
		}},
		{name: "optipress", takes: "0 to 3", read: func(r *cloudimageReader, v string) (problem string) {
			r.optipress, problem = parseWhole(v, 0, 3)
			return problem
		}},
		{name: "force_format", takes: "jpg, png, webp, avif or gif, or several in order of preference", read: (*cloudimageReader).readFormats},
		{name: "f", takes: "filters, such as bright:10,contrast:20", read: func(r *cloudimageReader, v string) string {
			for item := range strings.SplitSeq(v, ",") {
				name, value, ok := strings.Cut(item, ":")
				id, known := filterIndex[name]
				if !known {
					return printable(name) + " is no filter"
				}
				if !ok {
					value = "1"
				}
				if problem := filters[id].read(r, strings.ReplaceAll(value, ":", ",")); problem != "" {
					return printable(name) + ": " + problem
				}
			}
			return ""
		}},

		flag("wat", nil, func(r *cloudimageReader) *bool { return &r.watermark }),
		{name: "wat_url", takes: "the URL of an image here, or the path of one with an alias", text: true, read: func(r *cloudimageReader, v string) string {
			r.markURL = v
			return ""
		}},
		{name: "wat_text", takes: "up to 4000 bytes of text", text: true, read: func(r *cloudimageReader, v string) string {
			r.text.Text = v
			return checkText(v)
		}},
		{name: "wat_font", takes: "the name of a font", text: true, read: func(r *cloudimageReader, v string) string {
			r.text.Font = strings.ToLower(v)
			if len(v) > 200 || checkText(v) != "" {
				return "not a name"
			}
			return ""
		}},
		{name: "wat_fontsize", aliases: []string{"wat_font_size"}, takes: "1 to 2000 pixels", read: func(r *cloudimageReader, v string) (problem string) {
			r.text.Size, problem = parseBetween(v, 1, 2000)
			return problem
		}},
		colour("wat_color", []string{"wat_colour"}, func(r *cloudimageReader) **color.NRGBA { return &r.text.Color }),
		{name: "wat_gravity", takes: "north, south, east, west, two of these together, or center", read: func(r *cloudimageReader, v string) string {
			if v == "absolute" || v == "relative" {
				return "a place in percent is not supported"
			}
			_, x, y, ok := compass(v)
			if !ok {
				return "unknown value"
			}
			r.mark.XAlign, r.mark.YAlign = x, y
			return ""
		}},
		{name: "wat_pos", takes: "no value here", read: func(*cloudimageReader, string) string { return "a place in percent is not supported" }},
		{name: "wat_scale", takes: "1 to 1000 percent of the watermark, or 1p to 100p of the picture", read: func(r *cloudimageReader, v string) (problem string) {
			if of, ok := strings.CutSuffix(v, "p"); ok {
				r.mark.Scale, problem = parseWhole(of, 1, 100)
				return problem
			}
			r.mark.Percent, problem = parseBetween(v, 1, 1000)
			return problem
		}},
		{name: "wat_pad", takes: "X or X,Y pixels", read: func(r *cloudimageReader, v string) (problem string) {
			x, y, two := strings.Cut(v, ",")
			if r.mark.Pad, problem = parsePad(x); problem == "" && two {
				r.mark.PadY, problem = parsePad(y)
			}
			return problem
		}},
		{name: "wat_opacity", takes: "0 to 1", read: func(r *cloudimageReader, v string) (problem string) {
			r.markOpacity, problem = parseRange(v, 1)
			return problem
		}},

		flag("ci_info", nil, func(r *cloudimageReader) *bool { return &r.info }),
		refused("doc_page", "PDF is not read here"),
		refused("process", "pictures are not changed by models here"),
		{name: "p", takes: "the name of a preset", text: true, request: true, read: func(*cloudimageReader, string) string { return "" }},
		{name: "vh", takes: "up to 256 bytes of text", empty: true, text: true, request: true, read: func(r *cloudimageReader, v string) string {
			r.version = v
			return checkVersion(v)
		}},
		{name: "ci_cache", takes: "seconds", request: true, read: func(r *cloudimageReader, v string) string {
			n, problem := parseWhole(v, 1, 1<<31)
			r.maxAge = time.Duration(n) * time.Second
			return problem
		}},
		{name: "expires", takes: "a time in seconds since 1970", request: true, read: func(r *cloudimageReader, v string) (problem string) {
			r.expires, problem = parseTime(v)
			return problem
		}},
		{name: "force_download", takes: "1 or the name of a file, up to 200 bytes", empty: true, text: true, request: true, read: func(r *cloudimageReader, v string) string {
			if v == "0" || v == "false" {
				return ""
			}
			r.downloads = true
			if v != "1" && v != "true" {
				r.download = v
			}
			if len(v) > 200 || checkVersion(v) != "" || strings.ContainsAny(v, `/\`) {
				return "not the name of a file"
			}
			return ""
		}},
		{name: "ci_url_encoded", takes: "0 or 1", request: true, read: func(_ *cloudimageReader, v string) string {
			_, problem := parseBool(v)
			return problem
		}},
		ignored("ci_sign"), ignored("ci_seal"), ignored("ci_eqs"),
	}, filters...)
}

const cloudimageColorTakes = "a hexadecimal RGB, RRGGBB or RRGGBBAA, or a CSS colour name"

// cloudimageColor reads a colour, whose alpha is last as in CSS.
func cloudimageColor(s string) (*color.NRGBA, string) {
	s = strings.TrimPrefix(s, "#")
	switch {
	case s == "auto":
		return nil, "the main colour of the picture is not looked for here"
	case s == "transparent":
		return &color.NRGBA{255, 255, 255, 0}, ""
	case len(s) == 8:
		return parseColor(s[6:] + s[:6])
	case len(s) == 4:
		if c, problem := parseColor(s[3:] + s[:3]); problem == "" {
			return c, ""
		}
	}
	return parseColor(s)
}

// parsePixels reads X,Y.
func parsePixels(s string) (*[2]float64, string) {
	a, b, ok := strings.Cut(s, ",")
	if !ok {
		return nil, "one number"
	}
	x, problem := parseWhole(a, 0, maxSourceSide)
	if problem != "" {
		return nil, problem
	}
	y, problem := parseWhole(b, 0, maxSourceSide)
	return &[2]float64{float64(x), float64(y)}, problem
}

// parsePad reads a distance from an edge. One that is negative, which would put a watermark beyond it, is none.
func parsePad(s string) (*int, string) {
	if strings.HasSuffix(s, "p") {
		return nil, "a distance in percent is not supported"
	}
	n, problem := parseWhole(s, -maxSide, maxSide)
	n = max(n, 0)
	return pointerTo(n, problem)
}

// compass reads the name of a place as what to keep where something is cut, and as where something is put.
func compass(v string) (crop []resize.Crop, x, y resize.Align, ok bool) {
	if v == "center" || v == "centre" {
		return nil, resize.Middle, resize.Middle, true
	}
	x, y = resize.Middle, resize.Middle
	rest := v
	if after, ok := strings.CutPrefix(rest, "north"); ok {
		crop, y, rest = append(crop, resize.Top), resize.Near, after
	} else if after, ok := strings.CutPrefix(rest, "south"); ok {
		crop, y, rest = append(crop, resize.Bottom), resize.Far, after
	}
	switch rest {
	case "":
	case "west":
		crop, x = append(crop, resize.Left), resize.Near
	case "east":
		crop, x = append(crop, resize.Right), resize.Far
	default:
		return nil, 0, 0, false
	}
	return crop, x, y, v != ""
}

func (r *cloudimageReader) readGravity(v string) string {
	r.gravity = v
	switch v {
	case "auto", "smart":
		r.crop = []resize.Crop{resize.Entropy}
		return ""
	case "face":
		r.crop = []resize.Crop{resize.Faces, resize.Entropy}
		return ""
	}
	var ok bool
	if r.crop, r.alignX, r.alignY, ok = compass(v); ok {
		return ""
	}
	a, b, two := strings.Cut(v, ",")
	if !two {
		return "unknown value"
	}
	unit := ""
	if n := len(a); n > 0 && strings.IndexByte("psc", a[n-1]) >= 0 {
		unit = a[n-1:]
	}
	a, okA := strings.CutSuffix(a, unit)
	b, okB := strings.CutSuffix(b, unit)
	if !okA || !okB {
		return "two units"
	}
	most := map[string]float64{"": maxSourceSide, "p": 100, "s": 100, "c": 1}[unit]
	x, problem := parseRange(a, most)
	if problem != "" {
		return problem
	}
	y, problem := parseRange(b, most)
	if unit == "p" || unit == "s" {
		x, y = x/100, y/100
	}
	r.crop, r.focal, r.focalPixels = []resize.Crop{resize.FocalPoint}, &resize.Point{X: x, Y: y}, unit == ""
	return problem
}

// readFormats reads a list of formats, of which the browser decides. An underscore before a format forces it, even where it is
// larger than another; here all are.
func (r *cloudimageReader) readFormats(v string) string {
	for item := range strings.SplitSeq(v, ",") {
		f, ok := valueOf(formatWords, strings.TrimPrefix(item, "_"))
		if !ok || f.Data() {
			return "unknown value"
		}
		if last := r.params.Plan.Format; last == resize.WebP || last == resize.AVIF {
			r.params.Prefer = append(r.params.Prefer, last)
		} else if last != resize.SameFormat {
			continue // every browser takes what is before
		}
		r.params.Plan.Format = f
	}
	return ""
}

// finish puts together what several parameters describe. It names the one that is to blame for a problem.
func (r *cloudimageReader) finish() (name, problem string) {
	p := &r.params.Plan
	if r.function == "proxy" {
		r.params = Params{}
		return "", ""
	}
	if r.info {
		r.params = Params{Plan: resize.Plan{Format: resize.JSON}}
		return "", ""
	}
	if r.topLeft != nil || r.bottomRight != nil {
		rect := resize.Rect{Pixels: true}
		if tl := r.topLeft; tl != nil {
			rect.X, rect.Y = tl[0], tl[1]
		}
		if br := r.bottomRight; br != nil {
			if rect.W, rect.H = br[0]-rect.X, br[1]-rect.Y; rect.W <= 0 || rect.H <= 0 {
				return "br_px", "not to the right of tl_px and below it"
			}
		}
		p.Rect = &rect
	}
	if name, problem = r.finishFit(); problem != "" {
		return name, problem
	}
	p.Background = r.background
	if r.has("bg_opacity") {
		switch {
		case r.imageFill:
			return "bg_opacity", "the opacity of a background that is the picture itself is not supported"
		case p.Background != nil:
			c := *p.Background
			c.A = uint8(math.Round(float64(c.A) * r.opacity))
			p.Background = &c
		}
	}
	if p.Rotate == 0 {
		p.Pivot = false
	}
	if p.Quality == 0 {
		p.Quality = optipressQuality[r.optipress]
	}
	if r.watermark {
		if name, problem = r.finishWatermark(); problem != "" {
			return name, problem
		}
	}
	r.params = r.params.canonical()
	return "", ""
}

// finishFit sets how the original is mapped into the box.
func (r *cloudimageReader) finishFit() (name, problem string) {
	p := &r.params.Plan
	both := p.Width != 0 && p.Height != 0
	cuts := r.function == "" || r.function == "crop" || r.function == "face"
	if p.Aspect != 0 && !both && !cuts {
		switch {
		case p.AspectMax != 0, p.Width == 0 && p.Height == 0:
			return "aspect_ratio", "not supported with func=" + r.function + " unless it is one, with w or h"
		case p.Width != 0:
			p.Height = math.Max(2, math.Round(p.Width/p.Aspect))
		default:
			p.Width = math.Max(2, math.Round(p.Height*p.Aspect))
		}
		if p.Width > maxSide || p.Height > maxSide {
			return "aspect_ratio", "the side that follows from it is more than 8192 pixels"
		}
	}
	p.Crop, p.Focal, p.FocalPixels = r.crop, r.focal, r.focalPixels
	switch r.function {
	case "", "crop":
		p.Fit = resize.Cover
	case "face":
		p.Fit = resize.Cover
		p.Crop, p.Focal, p.FocalPixels = []resize.Crop{resize.Faces, resize.Entropy}, nil, false
	case "cropfit":
		p.Fit = resize.CoverFill
		r.fill()
	case "fit":
		if p.Fit = resize.FillMax; r.enlarge {
			p.Fit = resize.Fill
		}
		if r.focal != nil {
			return "gravity", "a point is not supported with func=fit, which takes a side or a corner"
		}
		p.Pad = resize.Insets{Top: r.margin, Right: r.margin, Bottom: r.margin, Left: r.margin}
		r.fill()
	case "bound":
		p.Fit = resize.Clip
	case "boundmin":
		p.Fit = resize.Outside
	case "cover":
		p.Fit = resize.Scale
	}
	return "", ""
}

// fill sets what pads, and where in it the picture is.
func (r *cloudimageReader) fill() {
	fill := resize.Padding{X: r.alignX, Y: r.alignY}
	if r.imageFill {
		if fill.Blur = defaultFillBlur; r.has("bg_blur") {
			fill.Blur = math.Max(r.fillBlur*blurScale, 1) // as good as none
		}
	}
	r.params.Plan.Fill = &fill
}

// finishWatermark adds the watermark.
func (r *cloudimageReader) finishWatermark() (name, problem string) {
	if !r.has("wat_opacity") {
		r.markOpacity = 1
	}
	if r.markURL == "" && r.text.Text == "" {
		return "wat", "there is no watermark here for URLs with neither wat_url nor wat_text"
	}
	if !r.has("wat_gravity") {
		r.mark.XAlign, r.mark.YAlign = resize.Middle, resize.Middle
	}
	if r.mark.Pad == nil {
		r.mark.Pad = new(int)
	}
	alpha := int(math.Round(r.markOpacity * 100))
	if r.markURL != "" {
		image, fault := r.other(r.markURL)
		if fault != nil {
			r.status = fault.Status
			return "wat_url", fault.Reason
		}
		if alpha > 0 {
			r.mark.Alpha = alpha
			r.params.Plan.Marks = []resize.Mark{r.mark}
			r.params.Inputs = []Image{image}
		}
	}
	if r.text.Text != "" && alpha > 0 {
		t := r.text
		t.XAlign, t.YAlign, t.Pad = r.mark.XAlign, r.mark.YAlign, r.mark.Pad
		if alpha < 100 {
			c := cmp.Or(t.Color, &color.NRGBA{A: 255})
			t.Color = &color.NRGBA{c.R, c.G, c.B, uint8(math.Round(float64(c.A) * r.markOpacity))}
		}
		r.params.Plan.Text = &t
	}
	return "", ""
}
