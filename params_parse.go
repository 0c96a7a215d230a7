package imagecdn

import (
	"encoding/base64"
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

// A paramID is a parameter, in the order of the canonical form.
type paramID uint8

const (
	paramUnknown paramID = iota
	paramW
	paramH
	paramDPR
	paramFit
	paramAR
	paramCrop
	paramFocalX
	paramFocalY
	paramRect
	paramOrient
	paramFlip
	paramRot
	paramBG
	paramMark
	paramMarkAlign
	paramMarkW
	paramMarkAlpha
	paramMarkPad
	paramFM
	paramQ
	paramAuto
	paramVH
	paramExpires
	paramCount
)

// paramNames are the names that canonical queries use.
var paramNames = [paramCount]string{
	paramW: "w", paramH: "h", paramDPR: "dpr", paramFit: "fit", paramAR: "ar", paramCrop: "crop",
	paramFocalX: "fp-x", paramFocalY: "fp-y", paramRect: "rect", paramOrient: "orient",
	paramFlip: "flip", paramRot: "rot", paramBG: "bg", paramMark: "mark",
	paramMarkAlign: "mark-align", paramMarkW: "mark-w", paramMarkAlpha: "mark-alpha",
	paramMarkPad: "mark-pad", paramFM: "fm", paramQ: "q", paramAuto: "auto", paramVH: "vh", paramExpires: "expires",
}

// paramTakes say what values a parameter has, for errors.
var paramTakes = [paramCount]string{
	paramW:         "2 to 8192 pixels, or a fraction of the original's width between 0 and 1",
	paramH:         "2 to 8192 pixels, or a fraction of the original's height between 0 and 1",
	paramDPR:       "a number above 0, at most 5",
	paramFit:       "clip, crop, fill, fillmax, max, min, scale or clamp",
	paramAR:        "width:height, such as 16:9, or their quotient, between 1:8192 and 8192:1",
	paramCrop:      "a list of top, bottom, left, right, center, focalpoint and entropy",
	paramFocalX:    "a number from 0 (left) to 1 (right)",
	paramFocalY:    "a number from 0 (top) to 1 (bottom)",
	paramRect:      "x,y,w,h in pixels or fractions; x may be left, center or right, y top, middle or bottom, w and h full",
	paramOrient:    "0 to 8 as EXIF has them, or 90, 180 or 270 degrees clockwise",
	paramFlip:      "h, v or hv",
	paramRot:       "degrees counter-clockwise, 0 to 359",
	paramBG:        "a hexadecimal RGB, ARGB, RRGGBB or AARRGGBB without #, or a CSS colour name",
	paramMark:      "the path of an image here, /SOURCE/PATH, such as /photos/logo.png",
	paramMarkAlign: "at most one of left, center and right and one of top, middle and bottom",
	paramMarkW:     "2 to 8192 pixels, or a fraction of the picture's width between 0 and 1",
	paramMarkAlpha: "0 to 100 percent",
	paramMarkPad:   "0 to 8192 pixels",
	paramFM:        "jpg, png, gif, webp or avif",
	paramQ:         "0 to 100",
	paramAuto:      "a list of format and compress",
	paramVH:        "up to 256 bytes of text",
	paramExpires:   "a time in seconds since 1970",
}

// paramByName knows every name and alias. Names are case-sensitive.
func paramByName(name string) paramID {
	switch name {
	case "w", "width":
		return paramW
	case "h", "height":
		return paramH
	case "dpr":
		return paramDPR
	case "fit", "f":
		return paramFit
	case "ar":
		return paramAR
	case "crop":
		return paramCrop
	case "fp-x":
		return paramFocalX
	case "fp-y":
		return paramFocalY
	case "rect":
		return paramRect
	case "orient", "or":
		return paramOrient
	case "flip":
		return paramFlip
	case "rot":
		return paramRot
	case "bg":
		return paramBG
	case "mark", "m":
		return paramMark
	case "mark-align", "markalign", "ma":
		return paramMarkAlign
	case "mark-w", "markw", "mw":
		return paramMarkW
	case "mark-alpha", "markalpha", "malph":
		return paramMarkAlpha
	case "mark-pad", "markpad", "mp":
		return paramMarkPad
	case "fm":
		return paramFM
	case "q":
		return paramQ
	case "auto":
		return paramAuto
	case "vh":
		return paramVH
	case "expires":
		return paramExpires
	}
	return paramUnknown
}

// An argument is a parameter as a query has it.
type argument struct {
	name, value string
	given       bool
}

// ParseParams reads the query of an image URL, without its question mark. It returns the canonical
// form, and vh apart from it, which is part of the image's name. What expires says is checked, and belongs to the
// [Request].
//
// Unknown parameters are ignored; strict makes them errors. Any parameter but auto may be given as
// NAME64 with its value in unpadded base64url. A parameter given twice, under whatever names, must
// have the same value both times: caches and proxies disagree about which one counts. Auto alone may
// be repeated, and adds up.
//
// Every error is a [*ParamError].
func ParseParams(rawQuery string, strict bool) (p Params, vh string, err error) {
	q, err := parseQuery(rawQuery, strict)
	return q.Params, q.Image.Version, err
}

// parseQuery is ParseParams; it fills in what of a request is in the query.
func parseQuery(rawQuery string, strict bool) (q Request, err error) {
	var args [paramCount]argument
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
		id, encoded := paramByName(name), false
		if id == paramUnknown {
			if plain, ok := strings.CutSuffix(name, "64"); ok {
				id, encoded = paramByName(plain), true
			}
			if id == paramUnknown || id == paramAuto {
				if strict {
					return Request{}, &ParamError{name, value, "unknown parameter"}
				}
				continue
			}
		}
		fail := func(reason string) (Request, error) {
			return Request{}, &ParamError{name, value, reason}
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
		if value == "" && id != paramVH {
			return fail("no value: " + paramNames[id] + " takes " + paramTakes[id])
		}
		arg := &args[id]
		switch {
		case !arg.given:
			*arg = argument{name, value, true}
		case id == paramAuto:
			arg.value += "," + value
		case arg.value != value:
			return fail("given twice, and before as " + printable(arg.name) + "=" + printable(arg.value))
		}
	}
	r := reader{focal: resize.Point{X: .5, Y: .5}}
	for id := paramUnknown + 1; id < paramCount; id++ {
		if arg := &args[id]; arg.given {
			if problem := r.read(id, arg.value); problem != "" {
				return Request{}, &ParamError{arg.name, arg.value, problem + ": " + paramNames[id] + " takes " + paramTakes[id]}
			}
		}
	}
	q.Params = r.finish()
	if id, problem := tooLarge(&q.Params.Plan); problem != "" {
		return Request{}, &ParamError{args[id].name, args[id].value, problem}
	}
	q.Image.Version, q.Expires = args[paramVH].value, r.expires
	return q, nil
}

// maxSide is the most pixels that a side of an output may have. A JPEG could have 65,535 and a WebP
// 16,383; imgix, whose URLs these are, stops at 8192.
const maxSide = 8192

// A reader collects parameters, each by itself, in the order of paramID.
type reader struct {
	params Params
	focal  resize.Point
	mark   resize.Mark
	logo   Image // what mark names
	hidden bool  // mark-alpha=0

	expires time.Time
}

// read takes the value of one parameter, which is not empty but for vh. The problem is empty where
// there is none.
func (r *reader) read(id paramID, value string) (problem string) {
	plan := &r.params.Plan
	ok := true
	switch id {
	case paramW:
		plan.Width, problem = parseLength(value, maxSide)
	case paramH:
		plan.Height, problem = parseLength(value, maxSide)
	case paramDPR:
		plan.DPR, problem = parseRange(value, 5)
		if problem == "" && plan.DPR == 0 {
			problem = "zero"
		}
	case paramFit:
		plan.Fit, ok = valueOf(fitWords, value)
	case paramAR:
		plan.Aspect, problem = parseRatio(value)
	case paramCrop:
		plan.Crop, problem = parseCrop(value)
	case paramFocalX:
		r.focal.X, problem = parseRange(value, 1)
	case paramFocalY:
		r.focal.Y, problem = parseRange(value, 1)
	case paramRect:
		plan.Rect, problem = parseRect(value)
	case paramOrient:
		plan.Orient, ok = valueOf(orientWords, value)
	case paramFlip:
		plan.Flip, ok = valueOf(flipWords, value)
	case paramRot:
		plan.Rotate, problem = parseAngle(value)
	case paramBG:
		plan.Background, problem = parseColor(value)
	case paramMark:
		r.logo, problem = parseMark(value)
	case paramMarkAlign:
		r.mark.XAlign, r.mark.YAlign, problem = parseAlign(value)
	case paramMarkW:
		r.mark.Width, problem = parseLength(value, maxSide)
	case paramMarkAlpha:
		r.mark.Alpha, problem = parseInt(value, 100)
		r.hidden = r.mark.Alpha == 0
	case paramMarkPad:
		var pad int
		if pad, problem = parseInt(value, maxSide); pad != defaultMarkPad {
			r.mark.Pad = &pad
		}
	case paramFM:
		plan.Format, ok = valueOf(formatWords, value)
	case paramQ:
		plan.Quality, problem = parseInt(value, 100)
		plan.Quality = max(plan.Quality, 1) // the worst there is
	case paramAuto:
		r.params.AutoFormat, r.params.Compress, problem = parseAuto(value)
	case paramVH:
		problem = checkVersion(value)
	case paramExpires:
		r.expires, problem = parseTime(value)
	}
	if !ok {
		return unknownWord(id, value)
	}
	return problem
}

// finish puts together what several parameters describe.
func (r *reader) finish() Params {
	if r.logo.Path != "" && !r.hidden {
		r.params.Marks = []Image{r.logo}
		r.params.Plan.Marks = []resize.Mark{r.mark}
	}
	if slices.Contains(r.params.Plan.Crop, resize.FocalPoint) {
		focal := r.focal
		r.params.Plan.Focal = &focal
	}
	return r.params.canonical()
}

// tooLarge looks at the sides that the URL alone determines; those that follow from the original
// are for the renderer to bound. It names the parameter that is to blame.
func tooLarge(plan *resize.Plan) (id paramID, problem string) {
	dpr := plan.DPR
	if dpr == 0 {
		dpr = 1
	}
	w, h := plan.Width*dpr, plan.Height*dpr
	if plan.Width > 1 && w > maxSide || plan.Height > 1 && h > maxSide {
		return paramDPR, "w or h times dpr is more than 8192 pixels"
	}
	if plan.Aspect != 0 && (plan.Width > 1 && w/plan.Aspect > maxSide || plan.Height > 1 && h*plan.Aspect > maxSide) {
		return paramAR, "the side that follows from it is more than 8192 pixels"
	}
	return paramUnknown, ""
}
