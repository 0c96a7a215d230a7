package imagecdn

import (
	"slices"
	"strconv"
	"time"

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
}

// A Request is what an image URL asks for.
type Request struct {
	Image  Image
	Params Params

	// Expires is when the URL ends to be good, and nothing that came of it may be kept longer. Zero means never.
	Expires time.Time
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

	// Compress is auto=compress: JPEG, or PNG where the picture has transparency, whatever fm says,
	// and quality 45 where q says nothing.
	Compress bool

	// Marks are the originals drawn over the picture: Marks[i] is input i+1 of the plan, and there
	// are as many as Plan.Marks. A URL asks for at most one.
	Marks []Image
}

const (
	// defaultQuality is what a Plan without a Quality is encoded with.
	defaultQuality = 75

	// compressQuality is the quality of auto=compress.
	compressQuality = 45

	// defaultMarkPad is the distance in pixels of a mark from the edges.
	defaultMarkPad = 5
)

// canonical returns p without what has no effect on the picture. It only ever leaves out what
// Plan's documentation, or that of the parameters, says is not looked at; where two plans merely
// seem to come to the same pixels (dpr=2&w=100 and w=200, w=1 and no w) they stay apart, because a
// key that is shared wrongly gives a visitor another picture, and one that is not shared costs one
// more rendering.
func (p Params) canonical() Params {
	plan := &p.Plan

	// The box. DPR multiplies pixels only, never fractions.
	if plan.DPR == 1 || plan.Width <= 1 && plan.Height <= 1 {
		plan.DPR = 0
	}
	both := plan.Width != 0 && plan.Height != 0
	if plan.Fit != resize.Cover || both {
		plan.Aspect = 0
	}
	if !both && plan.Aspect == 0 {
		switch {
		case plan.Width == 0 && plan.Height == 0:
			plan.Fit = resize.Clip // no box, so nothing to fit
		case plan.Fit == resize.FillMax, plan.Fit == resize.Min:
			plan.Fit = resize.Max // the other side follows, so nothing to cut or to pad
		case plan.Fit != resize.Max:
			plan.Fit = resize.Clip
		}
	}

	// What to keep, where something is cut.
	if plan.Fit != resize.Cover && !(plan.Fit == resize.Min && both) {
		plan.Crop = nil
	}
	plan.Crop = canonicalCrop(plan.Crop)
	if f := plan.Focal; f != nil {
		if *f == (resize.Point{X: .5, Y: .5}) || !slices.Contains(plan.Crop, resize.FocalPoint) {
			plan.Focal = nil
		}
	}
	plan.Rect = canonicalRect(plan.Rect)
	plan.Marks = canonicalMarks(plan.Marks)

	// The encoding.
	if p.Compress {
		plan.Format = resize.SameFormat
	}
	switch {
	case p.Compress:
		if plan.Quality == compressQuality {
			plan.Quality = 0
		}
	case !p.AutoFormat:
		plan.Quality = canonicalQuality(plan)
	case plan.Quality == defaultQuality && !onlyQuality(plan):
		plan.Quality = 0
	}
	return p
}

// canonicalQuality leaves out a quality that says nothing: the default, unless the quality is all
// that is asked for (q=75 alone encodes anew, which the original itself is not), and that of
// formats that have none.
func canonicalQuality(plan *resize.Plan) int {
	switch {
	case plan.Format == resize.PNG, plan.Format == resize.GIF:
		return 0
	case plan.Quality == defaultQuality && !onlyQuality(plan):
		return 0
	}
	return plan.Quality
}

// onlyQuality reports whether plan asks for nothing but, perhaps, a quality.
func onlyQuality(plan *resize.Plan) bool {
	return plan.Width == 0 && plan.Height == 0 && plan.DPR == 0 &&
		plan.Fit == resize.Clip && plan.Aspect == 0 && len(plan.Crop) == 0 && plan.Focal == nil &&
		plan.Rect == nil && plan.Orient == 0 && plan.Rotate == 0 && plan.Flip == resize.NoFlip &&
		plan.Background == nil && plan.Format == resize.SameFormat && len(plan.Marks) == 0
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
		if r.XAlign == resize.Near || r.W == 1 {
			r.XAlign = resize.NoAlign
		}
	}
	if r.YAlign != resize.NoAlign {
		r.Y = 0
		if r.YAlign == resize.Near || r.H == 1 {
			r.YAlign = resize.NoAlign
		}
	}
	switch r {
	case resize.Rect{W: 1, H: 1}:
		return nil
	case *rect:
		return rect
	}
	return &r
}

// canonicalMarks writes the defaults of marks as zero.
func canonicalMarks(marks []resize.Mark) []resize.Mark {
	var changed []resize.Mark
	for i, m := range marks {
		c := m
		if c.XAlign == resize.Far {
			c.XAlign = resize.NoAlign
		}
		if c.YAlign == resize.Far {
			c.YAlign = resize.NoAlign
		}
		if c.Alpha == 100 {
			c.Alpha = 0
		}
		if c.Pad != nil && *c.Pad == defaultMarkPad {
			c.Pad = nil
		}
		if c != m {
			if changed == nil {
				changed = slices.Clone(marks)
			}
			changed[i] = c
		}
	}
	if changed != nil {
		return changed
	}
	return marks
}

// IsZero reports whether p asks for nothing: the original itself.
func (p Params) IsZero() bool {
	p = p.canonical()
	return onlyQuality(&p.Plan) && p.Plan.Quality == 0 && !p.AutoFormat && !p.Compress && len(p.Marks) == 0
}

// Negotiate returns the plan to render for a client that sent accept, its Accept header, and
// whether another client might be given another plan: then the response needs "Vary: Accept".
//
// With auto=format, a client that names image/avif gets AVIF where a package that writes it is linked in, and else one that
// names image/webp gets WebP; a wildcard is not a name, as clients that cannot show them send wildcards too. Every other
// client gets what fm asks for, or the original's own format. With auto=compress, fm does not count and those clients
// get [resize.Opaque].
func (p Params) Negotiate(accept string) (plan resize.Plan, varies bool) {
	return p.negotiate(accept, resize.AVIF.Writable())
}

// negotiate is Negotiate with or without AVIF among the formats that Accept decides about.
func (p Params) negotiate(accept string, avif bool) (plan resize.Plan, varies bool) {
	p = p.canonical()
	varies = p.AutoFormat && (avif || p.Plan.Format != resize.WebP)
	switch {
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
	plan := &p.Plan
	q := make(query, 0, 128)
	q.number(paramW, plan.Width)
	q.number(paramH, plan.Height)
	q.number(paramDPR, plan.DPR)
	if plan.Fit != resize.Clip {
		q.text(paramFit, wordOf(fitWords, plan.Fit))
	}
	q.number(paramAR, plan.Aspect)
	for i, c := range plan.Crop {
		if i == 0 {
			q.text(paramCrop, wordOf(cropWords, c))
		} else {
			q.more(wordOf(cropWords, c))
		}
	}
	if f := plan.Focal; f != nil {
		q.text(paramFocalX, "")
		q.digits(f.X)
		q.text(paramFocalY, "")
		q.digits(f.Y)
	}
	if r := plan.Rect; r != nil {
		q.text(paramRect, "")
		q.place(r.X, r.XAlign, xWords)
		q.more("")
		q.place(r.Y, r.YAlign, yWords)
		q.more("")
		q.digits(r.W)
		q.more("")
		q.digits(r.H)
	}
	q.number(paramOrient, float64(plan.Orient))
	if plan.Flip != resize.NoFlip {
		q.text(paramFlip, wordOf(flipWords, plan.Flip))
	}
	q.number(paramRot, plan.Rotate)
	if c := plan.Background; c != nil {
		q.text(paramBG, "")
		if c.A != 0xff {
			q.hex(c.A)
		}
		q.hex(c.R)
		q.hex(c.G)
		q.hex(c.B)
	}
	for i, m := range plan.Marks {
		q.text(paramMark, "")
		if i < len(p.Marks) {
			q.path(p.Marks[i])
		}
		if m.YAlign != resize.NoAlign {
			q.text(paramMarkAlign, wordOf(yWords, m.YAlign))
		}
		if m.XAlign != resize.NoAlign {
			if m.YAlign == resize.NoAlign {
				q.text(paramMarkAlign, wordOf(xWords, m.XAlign))
			} else {
				q.more(wordOf(xWords, m.XAlign))
			}
		}
		q.number(paramMarkW, m.Width)
		q.number(paramMarkAlpha, float64(m.Alpha))
		if m.Pad != nil {
			q.text(paramMarkPad, strconv.Itoa(*m.Pad))
		}
	}
	if plan.Format != resize.SameFormat {
		q.text(paramFM, string(plan.Format))
	}
	q.number(paramQ, float64(plan.Quality))
	switch {
	case p.AutoFormat && p.Compress:
		q.text(paramAuto, "compress,format")
	case p.AutoFormat:
		q.text(paramAuto, "format")
	case p.Compress:
		q.text(paramAuto, "compress")
	}
	return string(q)
}

// A query is a canonical query under construction.
type query []byte

// text appends name=value. The value must need no escaping.
func (q *query) text(id paramID, value string) {
	if len(*q) > 0 {
		*q = append(*q, '&')
	}
	*q = append(*q, paramNames[id]...)
	*q = append(*q, '=')
	*q = append(*q, value...)
}

// more appends another value of a list.
func (q *query) more(value string) {
	*q = append(*q, ',')
	*q = append(*q, value...)
}

// number appends name=v, unless v is zero.
func (q *query) number(id paramID, v float64) {
	if v != 0 {
		q.text(id, "")
		q.digits(v)
	}
}

// digits appends the shortest decimal that is read as v again, without an exponent.
func (q *query) digits(v float64) {
	*q = strconv.AppendFloat(*q, v, 'f', -1, 64)
}

func (q *query) hex(v uint8) {
	const digits = "0123456789abcdef"
	*q = append(*q, digits[v>>4], digits[v&15])
}

// place appends a coordinate of a rectangle.
func (q *query) place(v float64, a resize.Align, words []word[resize.Align]) {
	if a != resize.NoAlign {
		*q = append(*q, wordOf(words, a)...)
		return
	}
	q.digits(v)
}

// path appends the path of img as a URL has it, escaped once more for being in a query.
func (q *query) path(img Image) {
	const digits = "0123456789ABCDEF"
	write := func(s string) {
		for i := range len(s) {
			switch c := s[i]; {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
				c == '-', c == '.', c == '_', c == '~', c == '/':
				*q = append(*q, c)
			case c == '%', c == '?', c == '#':
				*q = append(*q, '%', '2', '5', digits[c>>4], digits[c&15])
			default:
				*q = append(*q, '%', digits[c>>4], digits[c&15])
			}
		}
	}
	*q = append(*q, '/')
	write(img.Source)
	write(img.Path)
}
