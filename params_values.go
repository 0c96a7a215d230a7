package imagecdn

import (
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/image/colornames"

	"github.com/imagecdn/imagecdn/resize"
)

// maxSourceSide is the most pixels that a side of an original may have: what a JPEG can say.
const maxSourceSide = 65535

// maxVersionBytes bounds vh, which is kept with every name.
const maxVersionBytes = 256

// A word is a name in URLs for a value.
type word[T comparable] struct {
	text  string
	value T
}

// The first word of a value is the one that canonical queries use.
var (
	fitWords = []word[resize.Fit]{
		{"clip", resize.Clip}, {"crop", resize.Cover}, {"max", resize.Max}, {"min", resize.Min},
		{"fill", resize.Fill}, {"fillmax", resize.FillMax}, {"scale", resize.Scale}, {"clamp", resize.Clamp},
		{"facearea", resize.FaceArea}, {"outside", resize.Outside}, {"cropfill", resize.CoverFill},
	}
	cropWords = []word[resize.Crop]{
		{"top", resize.Top}, {"bottom", resize.Bottom}, {"left", resize.Left}, {"right", resize.Right},
		{"center", resize.Center}, {"focalpoint", resize.FocalPoint}, {"entropy", resize.Entropy}, {"edges", resize.Edges}, {"faces", resize.Faces},
	}
	flipWords = []word[resize.Flip]{
		{"h", resize.Horizontal}, {"v", resize.Vertical}, {"hv", resize.Both}, {"vh", resize.Both},
	}
	xWords = []word[resize.Align]{{"left", resize.Near}, {"center", resize.Middle}, {"right", resize.Far}}
	yWords = []word[resize.Align]{{"top", resize.Near}, {"middle", resize.Middle}, {"bottom", resize.Far}}

	// Degrees turn clockwise, as imgix has them: 90 is EXIF 6, 180 is 3, 270 is 8. And 0 leaves the
	// pixels as they are stored, whatever EXIF says, which is EXIF 1.
	orientWords = []word[int]{
		{"0", 1}, {"1", 1}, {"2", 2}, {"3", 3}, {"4", 4}, {"5", 5}, {"6", 6}, {"7", 7}, {"8", 8},
		{"90", 6}, {"180", 3}, {"270", 8},
	}
)

func valueOf[T comparable](words []word[T], text string) (v T, ok bool) {
	for i := range words {
		if words[i].text == text {
			return words[i].value, true
		}
	}
	return v, false
}

// wordOf returns the word for v, or "?" for a value that has none.
func wordOf[T comparable](words []word[T], v T) string {
	for i := range words {
		if words[i].value == v {
			return words[i].text
		}
	}
	return "?"
}

// parseCrop reads preferences in order.
func parseCrop(list string) (crop []resize.Crop, problem string) {
	for rest, more := list, true; more; {
		var item string
		item, rest, more = strings.Cut(rest, ",")
		c, ok := valueOf(cropWords, item)
		if !ok {
			return nil, "unknown value"
		}
		if !slices.Contains(crop, c) {
			crop = append(crop, c)
		}
	}
	return crop, ""
}

func parseAlign(list string) (x, y resize.Align, problem string) {
	for rest, more := list, true; more; {
		var item string
		item, rest, more = strings.Cut(rest, ",")
		a, ok := valueOf(xWords, item)
		axis := &x
		if !ok {
			a, ok = valueOf(yWords, item)
			axis = &y
		}
		switch {
		case !ok:
			return x, y, "unknown value"
		case *axis != resize.NoAlign && *axis != a:
			return x, y, "two places along one axis"
		}
		*axis = a
	}
	return x, y, ""
}

// parseImage reads the name of another image here, as it stands in a URL of its own.
func parseImage(value string) (Image, string) {
	if strings.Contains(value, "://") || strings.HasPrefix(value, "//") {
		return Image{}, "absolute URLs are not supported yet"
	}
	if strings.Contains(value, "?") {
		return Image{}, "parameters of its own are not supported yet"
	}
	source, path, fault := splitPath(value)
	if fault != nil {
		return Image{}, "the path " + fault.Reason
	}
	return Image{Source: source, Path: path}, ""
}

// checkVersion accepts any text that can be kept, compared and logged.
func checkVersion(vh string) (problem string) {
	switch {
	case len(vh) > maxVersionBytes:
		return "too long"
	case !utf8.ValidString(vh):
		return "not UTF-8"
	case strings.ContainsFunc(vh, unicode.IsControl):
		return "a control character"
	}
	return ""
}

// parseRect reads x,y,w,h.
func parseRect(value string) (rect *resize.Rect, problem string) {
	var field [4]string
	n := 0
	for rest, more := value, true; more; n++ {
		if n == len(field) {
			return nil, "more than four values"
		}
		field[n], rest, more = strings.Cut(rest, ",")
	}
	if n < len(field) {
		return nil, "fewer than four values"
	}
	var r resize.Rect
	for i := range field {
		if field[i] == "1px" {
			r.Pixels, field[i] = true, "1"
		}
	}
	if r.Pixels {
		return pixelRect(field)
	}
	if r.X, r.XAlign, problem = parsePlace(field[0], xWords); problem != "" {
		return nil, "x: " + problem
	}
	if r.Y, r.YAlign, problem = parsePlace(field[1], yWords); problem != "" {
		return nil, "y: " + problem
	}
	if r.W, problem = parseExtent(field[2]); problem != "" {
		return nil, "w: " + problem
	}
	if r.H, problem = parseExtent(field[3]); problem != "" {
		return nil, "h: " + problem
	}
	return &r, ""
}

// pixelRect reads a rectangle all of whose numbers are pixels.
func pixelRect(field [4]string) (*resize.Rect, string) {
	r := resize.Rect{Pixels: true}
	x, okX := valueOf(xWords, field[0])
	y, okY := valueOf(yWords, field[1])
	r.XAlign, r.YAlign = x, y
	for i, to := range []*float64{&r.X, &r.Y, &r.W, &r.H} {
		if i == 0 && okX || i == 1 && okY || i > 1 && field[i] == "full" {
			continue
		}
		v, problem := parseWhole(field[i], 0, maxSourceSide)
		switch {
		case problem != "":
			return nil, problem
		case v == 0 && i > 1:
			return nil, "zero"
		case strings.HasPrefix(strings.TrimLeft(field[i], "0"), "."):
			return nil, "a fraction beside pixels"
		}
		*to = float64(v)
	}
	return &r, ""
}

// parsePlace reads a coordinate of a rectangle.
func parsePlace(s string, words []word[resize.Align]) (v float64, a resize.Align, problem string) {
	if a, ok := valueOf(words, s); ok {
		return 0, a, ""
	}
	v, problem = parseNumber(s)
	switch {
	case problem != "" || v == 0:
	case v == 1:
		problem = "1 is the far edge, which leaves nothing" // a Rect's 1 is a fraction, never a pixel
	case v > 1:
		v, problem = parseLength(s, maxSourceSide)
	}
	return v, resize.NoAlign, problem
}

// parseExtent reads a side of a rectangle.
func parseExtent(s string) (v float64, problem string) {
	if s == "full" {
		return 1, ""
	}
	return parseLength(s, maxSourceSide)
}

// parseLength reads whole pixels above 1, or a fraction in (0, 1]. Pixels with decimals, which
// layout code computes, are rounded.
func parseLength(s string, most float64) (v float64, problem string) {
	v, problem = parseNumber(s)
	switch {
	case problem != "":
		return 0, problem
	case v == 0:
		return 0, "zero"
	case v <= 1:
		return v, ""
	case v > most:
		return 0, "too large"
	}
	if v = math.Round(v); v < 2 {
		return 0, "neither two pixels nor a fraction" // 1.2 must not round to 1, the whole width
	}
	return v, ""
}

// parseRange reads a number from 0 to most.
func parseRange(s string, most float64) (v float64, problem string) {
	v, problem = parseNumber(s)
	if problem == "" && v > most {
		return 0, "too large"
	}
	return v, problem
}

// parseBetween reads a number from lo to hi, with a sign where lo is negative.
func parseBetween(s string, lo, hi float64) (v float64, problem string) {
	digits, negative := s, false
	if lo < 0 {
		digits, negative = strings.CutPrefix(s, "-")
	}
	v, problem = parseNumber(digits)
	if negative && v != 0 { // not −0
		v = -v
	}
	switch {
	case problem != "":
		return 0, problem
	case v < lo:
		return 0, "too small"
	case v > hi:
		return 0, "too large"
	}
	return v, ""
}

// parseWhole reads a number from lo to hi and rounds it.
func parseWhole(s string, lo, hi int) (v int, problem string) {
	f, problem := parseBetween(s, float64(lo), float64(hi))
	return int(math.Round(f)), problem
}

// parseBool reads a word for true or false.
func parseBool(s string) (v bool, problem string) {
	switch s {
	case "true", "1":
		return true, ""
	case "false", "0":
		return false, ""
	}
	return false, "unknown value"
}

// pointerTo gives a pointer to a value that was read without a problem.
func pointerTo[T any](v T, problem string) (*T, string) {
	if problem != "" {
		return nil, problem
	}
	return &v, ""
}

// span writes a range for people.
func span(lo, hi float64) string {
	write := func(v float64) string { return strings.Replace(strconv.FormatFloat(v, 'f', -1, 64), "-", "−", 1) }
	return write(lo) + " to " + write(hi)
}

// wordList lists words for people.
func wordList[T comparable](words []word[T]) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = w.text
	}
	return strings.Join(list[:len(list)-1], ", ") + " or " + list[len(list)-1]
}

// parseRatios reads one ratio, or the least and the most.
func parseRatios(s string) (least, most float64, problem string) {
	a, b, ranged := strings.Cut(s, ",")
	if least, problem = parseRatio(a); problem != "" || !ranged {
		return least, 0, problem
	}
	if most, problem = parseRatio(b); problem == "" && most < least {
		least, most = most, least
	}
	return least, most, problem
}

// parseRatio reads W:H or a number.
func parseRatio(s string) (v float64, problem string) {
	width, height, ok := strings.Cut(s, ":")
	v, problem = parseNumber(width)
	if ok && problem == "" {
		var h float64
		h, problem = parseNumber(height)
		v /= h
	}
	if problem == "" && !(v >= 1.0/maxSide && v <= maxSide) {
		problem = "out of range"
	}
	if problem != "" {
		return 0, problem
	}
	return v, ""
}

// parseAngle reads degrees of either sign and brings them into [0, 360).
func parseAngle(s string) (v float64, problem string) {
	digits, negative := strings.CutPrefix(s, "-")
	if v, problem = parseNumber(digits); problem != "" {
		return 0, problem
	}
	if v = math.Mod(v, 360); negative && v != 0 {
		v = 360 - v
	}
	if v == 360 {
		v = 0 // 360 less next to nothing
	}
	return v, ""
}

const colorTakes = "a hexadecimal RGB, ARGB, RRGGBB or AARRGGBB without #, or a CSS colour name"

// parseColor reads a hexadecimal colour, alpha first, or one of CSS's 148 names.
func parseColor(s string) (*color.NRGBA, string) {
	var d [8]byte
	n := 0
	for ; n < len(s) && n < len(d); n++ {
		v, ok := hexDigit(s[n])
		if !ok {
			break
		}
		d[n] = v
	}
	if n == len(s) {
		switch n {
		case 3:
			return &color.NRGBA{d[0] * 17, d[1] * 17, d[2] * 17, 0xff}, ""
		case 4:
			return &color.NRGBA{d[1] * 17, d[2] * 17, d[3] * 17, d[0] * 17}, ""
		case 6:
			return &color.NRGBA{d[0]<<4 | d[1], d[2]<<4 | d[3], d[4]<<4 | d[5], 0xff}, ""
		case 8:
			return &color.NRGBA{d[2]<<4 | d[3], d[4]<<4 | d[5], d[6]<<4 | d[7], d[0]<<4 | d[1]}, ""
		}
	}
	if c, ok := namedColor(s); ok {
		return &c, ""
	}
	return nil, "not a colour"
}

// parseNumber reads digits with at most one decimal point. Signs, exponents, hexadecimal, Inf and
// NaN, which strconv would take, are no way to write a size; less so two ways to write one.
func parseNumber(s string) (v float64, problem string) {
	digits, points := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			digits++
		case c == '.':
			points++
		case c == '-' && i == 0 && len(s) > 1:
			if _, problem := parseNumber(s[1:]); problem == "" {
				return 0, "negative"
			}
			return 0, "not a number"
		default:
			return 0, "not a number"
		}
	}
	if digits == 0 || points > 1 {
		return 0, "not a number"
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, "too large"
	}
	return v, ""
}

// namedColor returns the colour of a CSS name, in either case. Package colornames has the 147 of
// SVG 1.1; CSS added one.
func namedColor(name string) (color.NRGBA, bool) {
	name = strings.ToLower(name)
	if name == "rebeccapurple" {
		return color.NRGBA{0x66, 0x33, 0x99, 0xff}, true
	}
	c, ok := colornames.Map[name]
	return color.NRGBA(c), ok // all are opaque, so premultiplied or not is one
}

func hexDigit(c byte) (v byte, ok bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// parseTime reads a Unix time. The year 9999 is the last that a Date can say.
func parseTime(s string) (time.Time, string) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}, "not a whole number"
	}
	if n < 1 || n > 253402300799 {
		return time.Time{}, "not between the years 1970 and 9999"
	}
	return time.Unix(n, 0), ""
}
