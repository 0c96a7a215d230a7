package imagecdn

import (
	"cmp"
	"image/color"
	"slices"
	"strconv"
	"time"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/resize"
)

// An Image names an original: which source, which path in it, which version.
type Image struct {
	// Source is the name of the source.
	Source string

	// Path is the place in the source: percent-decoded, clean, with a leading slash.
	Path string

	// Version is the vh of the URL: another version of the same path, fetched by itself. Empty
	// means the current one.
	Version string

	// Query is the raw query that the origin is asked with: another image for each. A purge of the path covers all of
	// them. Only dialects whose URLs contain the URLs of originals have any. Empty means none.
	Query string
}

// version is what the cache tells images of one path apart by.
func (i Image) version() string { return cache.Version(i.Version, i.Query) }

// A Request is what an image URL asks for.
type Request struct {
	Image  Image
	Params Params

	// Expires is when the URL ends to be good, and nothing that came of it may be kept longer. Zero means never.
	Expires time.Time

	// MaxAge bounds how long the answer may be kept by whoever gets it, from then on. It never lengthens anything. Zero means no bound.
	MaxAge time.Duration

	// Downloads is whether browsers are to save the picture rather than to show it, and Download the name that they are told,
	// which may be empty.
	Downloads bool
	Download  string

	// Preset is the name of the preset that the URL has; empty without one. Beside is then the name of the first parameter beside it
	// that is about the picture.
	Preset, Beside string
}

// Params say everything about a derivative but which original it is made from.
//
// The zero Params ask for the original itself. [ParseParams] returns the canonical form, in which
// what has no effect is left out, so that two spellings of one picture are equal. Params made by
// hand are brought into that form by the methods. A Params is a value: no method changes what its
// pointers and slices lead to, and it may be shared between goroutines.
type Params struct {
	// Plan is the picture. Its Format is what fm asked for; Negotiate says what is rendered.
	Plan resize.Plan

	// AutoFormat is auto=format: the Accept header of the request decides the format.
	AutoFormat bool

	// Prefer are the formats, AVIF and WebP, of which the first is rendered that Accept names; Plan.Format is for everybody else. It
	// is all but the last of a list in fm, and not looked at with AutoFormat or Compress, or where Plan.Format is SameFormat.
	Prefer []resize.Format

	// Compress is auto=compress: JPEG, or PNG where the picture has transparency, whatever fm says,
	// and quality 45 where q says nothing.
	Compress bool

	// Inputs are the other originals that go into the picture, in the order of [resize.Plan.Inputs]: Inputs[i] is input i+1.
	Inputs []Image
}

const (
	// defaultQuality is what a Plan without a Quality is encoded with.
	defaultQuality = 75

	// compressQuality is the quality of auto=compress.
	compressQuality = 45

	// defaultMarkPad is the distance in pixels of a mark from the edges.
	defaultMarkPad = 5
)

// Canonical returns p in the form that [ParseParams] gives: without what has no effect on the picture.
func (p Params) Canonical() Params { return p.canonical() }

// canonical returns p without what has no effect on the picture. It only ever leaves out what
// Plan's documentation, or that of the parameters, says is not looked at; where two plans merely
// seem to come to the same pixels (dpr=2&w=100 and w=200, w=1 and no w) they stay apart, because a
// key that is shared wrongly gives a visitor another picture, and one that is not shared costs one
// more rendering.
func (p Params) canonical() Params {
	plan := &p.Plan

	both := plan.Width != 0 && plan.Height != 0
	if plan.Fit != resize.Cover && plan.Fit != resize.Fill || both {
		plan.Aspect, plan.AspectMax = 0, 0
	}
	if plan.Fit != resize.Cover || plan.AspectMax == plan.Aspect {
		plan.AspectMax = 0 // both are what it is to be
	}
	bounds := plan.MinWidth != 0 || plan.MinHeight != 0 || plan.MaxWidth != 0 || plan.MaxHeight != 0
	if !both && plan.Aspect == 0 && plan.Fit != resize.FaceArea && !(plan.Fit == resize.Cover && bounds) {
		switch {
		case plan.Width == 0 && plan.Height == 0:
			plan.Fit = resize.Clip // no box, so nothing to fit
		case plan.Fit == resize.FillMax, plan.Fit == resize.Min, plan.Fit == resize.CoverFill:
			plan.Fit = resize.Max // the other side follows, so nothing to cut or to pad
		case plan.Fit != resize.Max:
			plan.Fit = resize.Clip
		}
	}

	canonicalBounds(plan)
	canonicalEnlarge(plan)

	// What to keep, where something is cut.
	if plan.Fit != resize.Cover && !((plan.Fit == resize.Min || plan.Fit == resize.CoverFill) && both) {
		plan.Crop = nil
	}
	plan.Crop = canonicalCrop(plan.Crop)
	canonicalFocal(plan)
	canonicalFaces(plan)
	plan.Rect = canonicalRect(plan.Rect)
	plan.Trim = canonicalTrim(plan.Trim)
	if plan.Rotate == 0 {
		plan.Pivot = false
	}
	canonicalAnimation(&plan.Animation)
	canonicalColour(plan)
	canonicalFill(plan)
	plan.Border = canonicalBorder(plan.Border)
	plan.Mask = canonicalMask(plan.Mask)
	plan.Grid = canonicalGrid(plan.Grid)
	plan.Blend = canonicalBlend(plan.Blend)
	plan.Marks = canonicalMarks(plan.Marks)
	plan.Text = canonicalText(plan.Text)
	if plan.DPR == 1 || !hasPixels(plan) {
		plan.DPR = 0
	}

	// The encoding.
	if plan.Format.Data() {
		p.AutoFormat, p.Compress = false, false
	}
	if p.Compress {
		plan.Format = resize.SameFormat
	}
	p.Prefer = p.canonicalPrefer()
	canonicalEncoding(plan, p.AutoFormat || p.Prefer != nil)
	switch {
	case p.Compress:
		if plan.Quality == compressQuality {
			plan.Quality = 0
		}
	case !p.AutoFormat && p.Prefer == nil:
		plan.Quality = canonicalQuality(plan)
	case plan.Quality == defaultQuality && !onlyQuality(plan):
		plan.Quality = 0
	}
	return p
}

// hasPixels reports whether plan has a length in pixels, which are what DPR multiplies, and never fractions.
func hasPixels(plan *resize.Plan) bool {
	bounded := plan.MinWidth != 0 || plan.MinHeight != 0 || plan.MaxWidth != 0 || plan.MaxHeight != 0
	return plan.Width > 1 || plan.Height > 1 || bounded || plan.Pad != (resize.Insets{}) || plan.Border != nil || plan.Mask != nil || plan.Grid != nil ||
		plan.Blend != nil || len(plan.Marks) > 0 || plan.Text != nil || plan.Fill != nil || plan.FacePixelate != 0 ||
		plan.Stylize.Blur != 0 || plan.Stylize.Pixelate != 0 || plan.Stylize.Halftone != 0 || plan.Adjust.Unsharp != 0
}

// canonicalPrefer leaves out formats that come twice, and last ones that everybody else gets as well.
func (p *Params) canonicalPrefer() []resize.Format {
	if p.AutoFormat || p.Compress || p.Plan.Format == resize.SameFormat || p.Plan.Format.Data() {
		return nil
	}
	var kept []resize.Format
	for _, f := range p.Prefer {
		if !slices.Contains(kept, f) {
			kept = append(kept, f)
		}
	}
	for len(kept) > 0 && kept[len(kept)-1] == p.Plan.Format {
		kept = kept[:len(kept)-1]
	}
	if len(kept) == 0 {
		return nil
	}
	return kept
}

// canonicalQuality leaves out a quality that says nothing: the default, unless the quality is all
// that is asked for (q=75 alone encodes anew, which the original itself is not), and that of
// formats that have none.
func canonicalQuality(plan *resize.Plan) int {
	switch {
	case plan.Format == resize.PNG, plan.Format == resize.GIF, plan.Format.Data():
		return 0
	case plan.Quality == defaultQuality && !onlyQuality(plan):
		return 0
	}
	return plan.Quality
}

// onlyQuality reports whether plan asks for nothing but, perhaps, a quality.
func onlyQuality(plan *resize.Plan) bool {
	p := *plan
	p.Quality = 0
	var room [64]byte
	return len(p.Append(room[:0])) == 0
}

// canonicalCrop leaves out repetitions, and the centre where it is the only preference.
func canonicalCrop(crop []resize.Crop) []resize.Crop {
	if len(crop) == 0 || len(crop) == 1 && crop[0] == resize.Center {
		return nil
	}
	for i, c := range crop {
		if slices.Contains(crop[:i], c) {
			kept := slices.Clone(crop[:i])
			for _, c := range crop[i:] {
				if !slices.Contains(kept, c) {
					kept = append(kept, c)
				}
			}
			return canonicalCrop(kept)
		}
	}
	return crop
}

// canonicalRect writes left and top as 0, drops an alignment that the whole width or height leaves
// no room for, and drops the rectangle that is the whole source.
func canonicalRect(rect *resize.Rect) *resize.Rect {
	if rect == nil {
		return nil
	}
	r := *rect
	if r.XAlign != resize.NoAlign {
		r.X = 0
		if r.XAlign == resize.Near || r.W == 1 && !r.Pixels {
			r.XAlign = resize.NoAlign
		}
	}
	if r.YAlign != resize.NoAlign {
		r.Y = 0
		if r.YAlign == resize.Near || r.H == 1 && !r.Pixels {
			r.YAlign = resize.NoAlign
		}
	}
	if r.Pixels && r.X != 1 && r.Y != 1 && r.W != 1 && r.H != 1 {
		r.Pixels = false // nothing could be taken for a fraction
	}
	if !r.Pixels {
		r.W, r.H = cmp.Or(r.W, 1), cmp.Or(r.H, 1)
	}
	switch r {
	case resize.Rect{W: 1, H: 1}:
		return nil
	case *rect:
		return rect
	}
	return &r
}

// IsZero reports whether p asks for nothing: the original itself.
func (p Params) IsZero() bool {
	p = p.canonical()
	return onlyQuality(&p.Plan) && p.Plan.Quality == 0 && !p.AutoFormat && !p.Compress && len(p.Prefer) == 0 && len(p.Inputs) == 0
}

// Negotiate returns the plan to render for a client that sent accept, its Accept header, and
// whether another client might be given another plan: then the response needs "Vary: Accept".
//
// With auto=format, a client that names image/avif gets AVIF where a package that writes it is linked in, and else one that
// names image/webp gets WebP; a wildcard is not a name, as clients that cannot show them send wildcards too. Every other
// client gets what fm asks for, or the original's own format. With auto=compress, fm does not count and those clients
// get [resize.Opaque]. Of Prefer, the first that the client names is picked, AVIF where a package that writes it is linked in.
func (p Params) Negotiate(accept string) (plan resize.Plan, varies bool) {
	return p.negotiate(accept, resize.AVIF.Writable())
}

// negotiate is Negotiate with or without AVIF among the formats that Accept decides about.
func (p Params) negotiate(accept string, avif bool) (plan resize.Plan, varies bool) {
	p = p.canonical()
	var preferred resize.Format
	varies = p.AutoFormat && (avif || p.Plan.Format != resize.WebP)
	for i := len(p.Prefer) - 1; i >= 0; i-- { // the first of them is the last word
		f := p.Prefer[i]
		if f == resize.AVIF && !avif {
			continue
		}
		varies = varies || f != p.Plan.Format
		if acceptsType(accept, "image/"+string(f)) {
			preferred = f
		}
	}
	switch {
	case preferred != "":
		p.Plan.Format = preferred
	case p.AutoFormat && avif && acceptsType(accept, "image/avif"):
		p.Plan.Format = resize.AVIF
	case p.AutoFormat && acceptsType(accept, "image/webp"):
		p.Plan.Format = resize.WebP
	case p.Compress:
		p.Plan.Format = resize.Opaque
	}
	if p.Compress && p.Plan.Quality == 0 {
		p.Plan.Quality = compressQuality
	}
	p.Plan.Quality = canonicalQuality(&p.Plan)
	return p.Plan, varies
}

// String returns the canonical query of p: names in a fixed order, defaults and what has no effect
// left out. Equal pictures that are spelled differently have equal strings, pictures that differ
// never do, and [ParseParams] of the string is p again.
func (p Params) String() string {
	p = p.canonical()
	q := query{b: make([]byte, 0, 128), nested: Params.String}
	for i := range params {
		if write := params[i].write; write != nil {
			write(&q, &p)
		}
	}
	return string(q.b)
}

// A query is a canonical query under construction.
type query struct {
	b      []byte
	nested func(Params) string // Params.String, which a row cannot refer to, as it refers to all rows
}

// text appends name=value. The value must need no escaping.
func (q *query) text(name, value string) {
	if len(q.b) > 0 {
		q.b = append(q.b, '&')
	}
	q.b = append(q.b, name...)
	q.b = append(q.b, '=')
	q.b = append(q.b, value...)
}

// more appends another value of a list.
func (q *query) more(value string) {
	q.b = append(q.b, ',')
	q.b = append(q.b, value...)
}

// number appends name=v, unless v is zero.
func (q *query) number(name string, v float64) {
	if v != 0 {
		q.text(name, "")
		q.digits(v)
	}
}

// digits appends the shortest decimal that is read as v again, without an exponent.
func (q *query) digits(v float64) {
	q.b = strconv.AppendFloat(q.b, v, 'f', -1, 64)
}

// pointer appends name=v, where there is a v.
func (q *query) pointer(name string, v *float64) {
	if v != nil {
		q.text(name, "")
		q.digits(*v)
	}
}

// whole appends name=v, where there is a v.
func (q *query) whole(name string, v *int) {
	if v != nil {
		q.text(name, strconv.Itoa(*v))
	}
}

func (q *query) flag(name string, v bool) {
	if v {
		q.text(name, "true")
	}
}

// free appends name=value, escaped.
func (q *query) free(name, value string) {
	q.text(name, "")
	q.escape(value, false)
}

// color appends name=c, where there is a c.
func (q *query) color(name string, c *color.NRGBA) {
	if c != nil {
		q.text(name, "")
		q.colorDigits(*c)
	}
}

func (q *query) colorDigits(c color.NRGBA) {
	if c.A != 0xff {
		q.hex(c.A)
	}
	q.hex(c.R)
	q.hex(c.G)
	q.hex(c.B)
}

// insets appends the four sides as one parameter where they are equal, and else as four that begin with prefix.
func (q *query) insets(name, prefix string, i resize.Insets) {
	if i == (resize.Insets{Top: i.Top, Right: i.Top, Bottom: i.Top, Left: i.Top}) {
		q.number(name, float64(i.Top))
		return
	}
	q.number(prefix+"-top", float64(i.Top))
	q.number(prefix+"-right", float64(i.Right))
	q.number(prefix+"-bottom", float64(i.Bottom))
	q.number(prefix+"-left", float64(i.Left))
}

// corners appends radii, unless all are zero.
func (q *query) corners(name string, c *resize.Corners) {
	if *c != (resize.Corners{}) {
		q.text(name, "")
		q.cornerDigits(*c)
	}
}

func (q *query) cornerDigits(c resize.Corners) {
	q.digits(float64(c.TopLeft))
	if c == (resize.Corners{TopLeft: c.TopLeft, TopRight: c.TopLeft, BottomRight: c.TopLeft, BottomLeft: c.TopLeft}) {
		return
	}
	for _, v := range []int{c.TopRight, c.BottomRight, c.BottomLeft} {
		q.more(strconv.Itoa(v))
	}
}

// crop appends a list of preferences.
func (q *query) crop(name string, crop []resize.Crop) {
	for i, c := range crop {
		if i == 0 {
			q.text(name, wordOf(cropWords, c))
		} else {
			q.more(wordOf(cropWords, c))
		}
	}
}

// align appends a place along both axes.
func (q *query) align(name string, x, y resize.Align) {
	if y != resize.NoAlign {
		q.text(name, wordOf(yWords, y))
	}
	if x == resize.NoAlign {
		return
	}
	if y == resize.NoAlign {
		q.text(name, wordOf(xWords, x))
	} else {
		q.more(wordOf(xWords, x))
	}
}

func (q *query) hex(v uint8) {
	const digits = "0123456789abcdef"
	q.b = append(q.b, digits[v>>4], digits[v&15])
}

// place appends a coordinate of a rectangle.
func (q *query) place(v float64, a resize.Align, px bool, words []word[resize.Align]) {
	if a != resize.NoAlign {
		q.b = append(q.b, wordOf(words, a)...)
		return
	}
	q.digits(v)
	if px && v == 1 {
		q.b = append(q.b, "px"...)
	}
}

// extent appends a side of a rectangle.
func (q *query) extent(v float64, px bool) {
	switch {
	case v == 0:
		q.b = append(q.b, "full"...)
	case v == 1 && px:
		q.b = append(q.b, "1px"...)
	default:
		q.digits(v)
	}
}

// path appends the path of img as a URL has it, escaped once more for being in a query.
func (q *query) path(img Image) {
	q.b = append(q.b, '/')
	q.escape(img.Source, true)
	q.escape(img.Path, true)
}

// escape appends s, escaped for being in a query; in a path, what means something there is escaped before that.
func (q *query) escape(s string, path bool) {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '-', c == '.', c == '_', c == '~', c == '/':
			q.b = append(q.b, c)
		case path && (c == '%' || c == '?' || c == '#'):
			q.b = append(q.b, '%', '2', '5', digits[c>>4], digits[c&15])
		default:
			q.b = append(q.b, '%', digits[c>>4], digits[c&15])
		}
	}
}
