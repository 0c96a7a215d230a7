package imagecdn

import (
	"encoding/base64"
	"errors"
	"image/color"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/imagecdn/imagecdn/resize"
)

// A ParamError says which part of an image URL is wrong, and why.
type ParamError struct {
	Param  string // the parameter as the URL spells it, or "path"
	Value  string // its value, decoded
	Reason string // what is wrong with it, and what would be right

	// Status is that of the answer: 403 where the URL names what is not to be had here, or asks for what the settings do not allow.
	// Zero means 400.
	Status int
}

// paramStatus is the status of an answer to a URL that a dialect refuses.
func paramStatus(err error) int {
	if e, ok := errors.AsType[*ParamError](err); ok && e.Status != 0 {
		return e.Status
	}
	return http.StatusBadRequest
}

// Error returns one line, such as
//
//	w=abc: not a number: w takes 2 to 8192 pixels, or a fraction of the original's width between 0 and 1
func (e *ParamError) Error() string {
	if e.Param == "path" {
		return "path " + printable(e.Value) + ": " + e.Reason
	}
	return printable(e.Param) + "=" + printable(e.Value) + ": " + e.Reason
}

// printable makes what somebody else wrote fit to be shown and logged: it is cut short, and what does
// not print is replaced.
func printable(s string) string {
	const limit = 100 // bytes
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}

// An argument is a parameter as a query has it.
type argument struct {
	param       int // in params
	name, value string
}

// ParseParams reads the query of an image URL, without its question mark. It returns the canonical
// form, and vh apart from it, which is part of the image's name. What expires and dl say is checked, and belongs to the
// [Request].
//
// Unknown parameters are ignored; strict makes them errors. Any parameter but auto may be given as
// NAME64 with its value in unpadded base64url. A parameter given twice, under whatever names, must
// have the same value both times: caches and proxies disagree about which one counts. Auto alone may
// be repeated, and adds up.
//
// Every error is a [*ParamError].
func ParseParams(rawQuery string, strict bool) (p Params, vh string, err error) {
	q, err := parseQuery(rawQuery, strict, parseImage)
	return q.Params, q.Image.Version, err
}

// parseQuery is ParseParams; it fills in what of a request is in the query. An image that a parameter names is read by image.
func parseQuery(rawQuery string, strict bool, image func(string) (Image, string)) (q Request, err error) {
	args, err := splitQuery(rawQuery, strict)
	if err != nil {
		return Request{}, err
	}
	r := newReader(image)
	for _, arg := range args {
		p := &params[arg.param]
		r.given[arg.param/64] |= 1 << (arg.param % 64)
		if problem := p.read(r, arg.value); problem != "" {
			if slices.Contains(p.refused, arg.value) {
				problem = arg.value + " is not supported"
			}
			return Request{}, &ParamError{Param: arg.name, Value: arg.value, Reason: problem + ": " + p.name + " takes " + p.takes}
		}
	}
	if name, problem := r.finish(); problem != "" {
		return Request{}, wrong(args, name, problem)
	}
	r.params = r.params.canonical()
	q = Request{Params: r.params, Expires: r.expires, Download: r.download, Downloads: r.downloads}
	q.Image.Version = r.version
	if name, problem := tooLarge(&q.Params.Plan); problem != "" {
		return Request{}, wrong(args, name, problem)
	}
	return q, nil
}

// wrong makes an error of the parameter called name.
func wrong(args []argument, name, problem string) error {
	for _, arg := range args {
		if params[arg.param].name == name {
			return &ParamError{Param: arg.name, Value: arg.value, Reason: problem}
		}
	}
	return &ParamError{Param: name, Reason: problem}
}

// splitQuery takes a query apart, and decodes it. The arguments are in the order of params.
func splitQuery(rawQuery string, strict bool) (args []argument, err error) {
	args = make([]argument, 0, 8)
	for rest := rawQuery; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		if strings.ContainsAny(name, "%+") {
			if decoded, err := url.QueryUnescape(name); err == nil {
				name = decoded // and what cannot be decoded is no name that we know
			}
		}
		id, known := paramIndex[name]
		encoded := false
		if !known {
			if plain, ok := strings.CutSuffix(name, "64"); ok {
				id, encoded = paramIndex[plain]
				known = encoded && !params[id].repeats
			}
			if !known {
				if strict {
					return nil, &ParamError{Param: name, Value: value, Reason: "unknown parameter"}
				}
				continue
			}
		}
		p := &params[id]
		fail := func(reason string) ([]argument, error) {
			return nil, &ParamError{Param: name, Value: value, Reason: reason}
		}
		if strings.ContainsAny(value, "%+") {
			decoded, err := url.QueryUnescape(value)
			if err != nil {
				return fail("a percent sign that is not followed by two hexadecimal digits")
			}
			value = decoded
		}
		if encoded {
			decoded, err := base64.RawURLEncoding.Strict().DecodeString(value)
			if err != nil {
				return fail("not base64url without padding")
			}
			value = string(decoded)
		}
		if value == "" && !p.empty {
			return fail("no value: " + p.name + " takes " + p.takes)
		}
		before := slices.IndexFunc(args, func(a argument) bool { return a.param == id })
		switch {
		case before < 0:
			args = append(args, argument{id, name, value})
		case p.repeats:
			args[before].value += "," + value
		case args[before].value != value:
			return fail("given twice, and before as " + printable(args[before].name) + "=" + printable(args[before].value))
		}
	}
	slices.SortFunc(args, func(a, b argument) int { return a.param - b.param })
	return args, nil
}

// maxSide is the most pixels that a side of an output may have. A JPEG could have 65,535 and a WebP
// 16,383; imgix, whose URLs these are, stops at 8192.
const maxSide = 8192

// A reader collects parameters, each by itself, in the order of params, and then puts together what several describe.
type reader struct {
	params Params
	given  [(maxParams + 63) / 64]uint64
	image  func(string) (Image, string) // reads what a parameter names

	focal resize.Point
	trim  resize.Trim

	noise, noiseThreshold *int
	duotone               resize.Duotone
	noDuotone             bool

	fill           fillKind
	fillX, fillY   resize.Align
	fillBlur       *float64
	fillColor      *color.NRGBA
	gradient       resize.Gradient
	linear, radial [2]color.NRGBA

	pad         *int
	padSides    sides
	border      resize.Border
	borderWidth int
	borderSides sides

	mask       resize.Mask
	maskImage  Image
	grid       resize.Grid
	gridColors [2]color.NRGBA

	blend      resize.Blend
	blendImage Image
	blendColor *color.NRGBA
	noBlend    bool

	markPath, markBase string
	mark               resize.Mark
	noMark             bool

	text resize.Text

	progressive bool
	colors      int

	version   string
	expires   time.Time
	download  string
	downloads bool
}

// maxParams bounds how many parameters there are, for a set of them.
const maxParams = 256

func newReader(image func(string) (Image, string)) *reader {
	return &reader{image: image, focal: resize.Point{X: .5, Y: .5}}
}

// has reports whether the parameter called name was given.
func (r *reader) has(name string) bool {
	i := paramIndex[name]
	return r.given[i/64]&(1<<(i%64)) != 0
}

// readWord finds the value of a word.
func readWord[T comparable](words []word[T], text string, to *T) string {
	v, ok := valueOf(words, text)
	if !ok {
		return "unknown value"
	}
	*to = v
	return ""
}

// finish puts together what several parameters describe. It names the one that is to blame for a problem.
func (r *reader) finish() (name, problem string) {
	p := &r.params.Plan
	if slices.Contains(p.Crop, resize.FocalPoint) {
		focal := r.focal
		p.Focal = &focal
	}
	if r.has("trim") {
		p.Trim = &r.trim
	}
	if r.noise != nil || r.noiseThreshold != nil {
		p.Adjust.NoiseReduction, p.Adjust.NoiseThreshold = defaultNoise, defaultNoise
		if r.noise != nil {
			p.Adjust.NoiseReduction = *r.noise
		}
		if r.noiseThreshold != nil {
			p.Adjust.NoiseThreshold = *r.noiseThreshold
		}
	}
	if r.has("duotone") && !r.noDuotone {
		p.Stylize.Duotone = &r.duotone
	}
	if r.has("fill") {
		p.Fill = r.padding()
	}
	all := 0
	if r.pad != nil {
		all = *r.pad
	}
	p.Pad = r.padSides.insets(all)
	if r.has("border") {
		r.border.Width = r.borderSides.insets(r.borderWidth)
		p.Border = &r.border
	}
	if r.has("mask") {
		p.Mask = &r.mask
		if r.mask.Shape == resize.PictureMask {
			r.params.Inputs = append(r.params.Inputs, r.maskImage)
		}
	}
	if r.has("transparency") {
		r.grid.Colors = r.gridColors
		p.Grid = &r.grid
	}
	if r.blendColor != nil && !r.has("blend") {
		r.blend.Color = r.blendColor
	}
	if (r.has("blend") || r.blendColor != nil) && !r.noBlend {
		p.Blend = &r.blend
		if r.blend.Color == nil {
			r.params.Inputs = append(r.params.Inputs, r.blendImage)
		}
	}
	if r.has("mark") {
		if r.markBase != "" && !strings.HasPrefix(r.markPath, "/") && !strings.Contains(r.markPath, "://") {
			r.markPath = r.markBase + "/" + r.markPath
		}
		logo, problem := r.readMark(r.markPath)
		if problem != "" {
			return "mark", problem + ": mark takes " + params[paramIndex["mark"]].takes
		}
		if !r.noMark {
			p.Marks = []resize.Mark{r.mark}
			if r.mark.Text == nil {
				r.params.Inputs = append(r.params.Inputs, logo)
			}
		}
	}
	if r.has("txt") {
		p.Text = &r.text
	}
	p.Encoding.Progressive, p.Encoding.Colors = r.progressive, r.colors
	return "", ""
}

// readMark reads what mark names: an image here with parameters of its own, or imgix's picture of a text, ~text?PARAMETERS.
func (r *reader) readMark(value string) (logo Image, problem string) {
	where, query, own := strings.Cut(value, "?")
	isText := where == "~text" || strings.HasSuffix(where, "/~text")
	if !isText {
		if logo, problem = r.image(where); problem != "" || !own {
			return logo, problem
		}
	}
	nested, err := parseQuery(query, true, func(string) (Image, string) { return Image{}, "a mark has no images of its own" })
	if err != nil {
		fault, _ := errors.AsType[*ParamError](err)
		what, _, _ := strings.Cut(fault.Reason, ": ") // what would be right is too much for a value in a value
		return Image{}, "of its own parameters, " + (&ParamError{Param: fault.Param, Value: fault.Value, Reason: what}).Error()
	}
	plan := nested.Params.Plan
	plan.Format, plan.Quality, plan.Encoding, plan.Animation = resize.SameFormat, 0, resize.Encoding{}, resize.Animation{}
	switch {
	case isText && plan.Text == nil:
		return Image{}, "~text has no txt"
	case isText:
		t := *plan.Text
		t.X, t.Y, t.XAlign, t.YAlign = new(int), new(int), resize.Near, resize.Near
		if t.Width == 0 && plan.Width > 1 {
			t.Width = plan.Width
		}
		if t.Fit == resize.ClipText {
			t.Fit = resize.WrapText
		}
		r.mark.Text = canonicalText(&t)
	case plan.Text != nil, plan.Trim != nil, hasFaces(&plan):
		return Image{}, "of its own parameters, txt, trim and those of faces are not supported"
	case !onlyQuality(&plan):
		r.mark.Plan = &plan
	}
	return logo, ""
}

// hasFaces reports whether plan looks for faces.
func hasFaces(plan *resize.Plan) bool {
	return plan.Fit == resize.FaceArea || slices.Contains(plan.Crop, resize.Faces) || plan.FaceBlur != 0 || plan.FacePixelate != 0 || plan.Adjust.RedEye
}

// tooLarge looks at the sides that the URL alone determines; those that follow from the original
// are for the renderer to bound. It names the parameter that is to blame.
func tooLarge(plan *resize.Plan) (name, problem string) {
	dpr := plan.DPR
	if dpr == 0 {
		dpr = 1
	}
	w, h := plan.Width*dpr, plan.Height*dpr
	if plan.Width > 1 && w > maxSide || plan.Height > 1 && h > maxSide {
		return "dpr", "w or h times dpr is more than 8192 pixels"
	}
	if plan.Aspect != 0 && (plan.Width > 1 && w/plan.Aspect > maxSide || plan.Height > 1 && h*max(plan.Aspect, plan.AspectMax) > maxSide) {
		return "ar", "the side that follows from it is more than 8192 pixels"
	}
	return "", ""
}
