package text

import (
	"image"
	"math"
	"slices"
	"sort"
	"strings"
	"unicode"

	"github.com/go-text/typesetting/bidi"
	"github.com/go-text/typesetting/di"
	"github.com/go-text/typesetting/font"
	ot "github.com/go-text/typesetting/font/opentype"
	"github.com/go-text/typesetting/language"
	"github.com/go-text/typesetting/segmenter"
	"github.com/go-text/typesetting/shaping"
	"golang.org/x/image/math/fixed"

	"github.com/imagecdn/imagecdn/resize"
)

// em is the size that all text is shaped at, in the shaper's 64ths: 1024 pixels. The shaper rounds sizes to whole
// pixels; here they are scaled from a large one, so that text that is made smaller only has other places.
const em = 1024 * 64

// A placed glyph of a line. x is from the line's left end to the glyph's origin, y from the baseline down, in em.
type placed struct {
	face *font.Face
	id   font.GID
	x, y int64
}

// A line of glyphs, in the order that they are seen in.
type line struct {
	glyphs []placed
	width  int64 // in em
}

// A block is text with places, in ems of size 64ths of a pixel.
type block struct {
	lines           []line
	size            int64
	ascent, descent int64 // of the font asked for, in em; both positive
	lead            int64 // from baseline to baseline, in em
	at              image.Point
}

func (b *block) width() int64 {
	var w int64
	for i := range b.lines {
		w = max(w, b.lines[i].width)
	}
	return w
}

func (b *block) height() int64 {
	return b.ascent + b.descent + int64(max(len(b.lines)-1, 0))*b.lead
}

// A shaper shapes for one goroutine.
type shaper struct {
	all   []face
	faces []*font.Face // of all; nil where not used so far
	order family

	hb      shaping.HarfbuzzShaper
	seg     shaping.Segmenter
	breaks  segmenter.Segmenter
	bidi    bidi.Paragraph
	wrapper shaping.LineWrapper
	outlines
}

func newShaper(all []face) *shaper {
	return &shaper{all: all, faces: make([]*font.Face, len(all))}
}

func (sh *shaper) use(order family) { sh.order = order }

func (sh *shaper) face(i int) *font.Face {
	if sh.faces[i] == nil {
		sh.faces[i] = font.NewFace(sh.all[i].font)
	}
	return sh.faces[i]
}

// ResolveFace implements shaping.Fontmap.
func (sh *shaper) ResolveFace(r rune) *font.Face {
	for _, i := range sh.order {
		if _, ok := sh.all[i].font.NominalGlyph(r); ok {
			return sh.face(i)
		}
	}
	return sh.face(sh.order[0]) // its box
}

// A paragraph is a line of text, shaped.
type paragraph struct {
	text   []rune
	rtl    bool
	runs   []shaping.Output // in the order of the text
	levels []bidi.Level     // of each rune
}

// layout gives t its places in a frame.
func (sh *shaper) layout(t *resize.Text, frame image.Point) *block {
	b := &block{size: round64(t.Size)}
	if e, ok := sh.face(sh.order[0]).FontHExtents(); ok {
		upem := float64(sh.face(sh.order[0]).Upem())
		b.ascent = int64(math.Round(float64(e.Ascender) * em / upem))
		b.descent = int64(math.Round(-float64(e.Descender) * em / upem))
	}
	ems := func(px float64) int64 { return int64(math.Round(px * em / t.Size)) }
	b.lead = em*6/5 + ems(t.Lead)
	track := min(max(ems(t.Track), -em), 1<<24)

	pad := 10
	if t.Pad != nil {
		pad = *t.Pad
	}
	// A pad that leaves nothing in a small picture is given up before the text is.
	padX, padY := min(pad, (frame.X-1)/2), min(pad, (frame.Y-1)/2)
	maxW := int64(frame.X-2*padX) * 64
	if t.X != nil {
		maxW = max(int64(frame.X-*t.X-padX), 0) * 64
	}
	length := func(v float64, side int) int64 {
		if v <= 1 {
			v *= float64(side)
		}
		return round64(v)
	}
	if t.Width > 0 {
		maxW = length(t.Width, frame.X)
	}
	maxH := int64(math.MaxInt64)
	if t.Height > 0 {
		maxH = length(t.Height, frame.Y)
	}

	var paragraphs []paragraph
	if strings.TrimFunc(t.Text, unicode.IsSpace) != "" {
		for s := range strings.SplitSeq(t.Text, "\n") {
			text := []rune(s)
			paragraphs = append(paragraphs, sh.shape(text, track, sh.rightToLeft(text)))
		}
	}
	switch t.Fit {
	case resize.ClipText:
		for _, p := range paragraphs {
			b.lines = append(b.lines, sh.clip(p, track, maxW*em/b.size, t.Cut, t.Ellipsis))
		}
	case resize.MaxText:
		for _, p := range paragraphs {
			b.lines = append(b.lines, p.line(p.runs))
		}
		for _, room := range [][2]int64{{maxW, b.width()}, {maxH, b.height()}} {
			if px, is := room[0], room[1]; is > 0 && px < math.MaxInt64/em && is*b.size > px*em {
				b.size = max(px*em/is, 1)
			}
		}
	case resize.WrapText:
		rows := math.MaxInt
		if maxH < math.MaxInt64/em {
			rows = int(max((maxH*em/b.size-b.ascent-b.descent)/b.lead, 0)) + 1
		}
		b.lines = sh.wrap(paragraphs, maxW*em/b.size, rows)
	case resize.WrapMaxText:
		fits := func(size int64) bool {
			b.size, b.lines = size, sh.wrap(paragraphs, maxW*em/size, math.MaxInt)
			return b.width()*size <= maxW*em && (maxH >= math.MaxInt64/em || b.height()*size <= maxH*em)
		}
		// Sizes go up in pixels: wrapping costs more than the rest.
		if full := b.size; !fits(full) {
			n := sort.Search(int(full/64), func(i int) bool { return !fits(int64(i+1) * 64) })
			fits(min(max(int64(n)*64, 64), full))
		}
	}

	w, h := b.pixels(b.width()), b.pixels(b.height())
	place := func(at *int, a resize.Align, size, frame, pad int) int {
		switch {
		case at != nil:
			return *at
		case a == resize.Near:
			return pad
		case a == resize.Middle:
			return (frame - size) / 2
		}
		return frame - pad - size
	}
	b.at = image.Pt(place(t.X, t.XAlign, w, frame.X, padX), place(t.Y, t.YAlign, h, frame.Y, padY))
	return b
}

// pixels gives a length in em, rounded up.
func (b *block) pixels(v int64) int { return int((v*b.size + em*64 - 1) / (em * 64)) }

// rightToLeft says whether text runs from right to left: its first letter that has a direction says so (UAX 9, P2). White
// space at the end of a line has the level of all (L1).
func (sh *shaper) rightToLeft(text []rune) bool {
	runs := sh.bidi.Segment(append(slices.Clone(text), ' '), bidi.Neutral)
	return runs.NumRuns() > 0 && !runs.Run(runs.NumRuns()-1).IsLeftToRight()
}

// shape shapes a line.
func (sh *shaper) shape(text []rune, track int64, rtl bool) paragraph {
	p := paragraph{text: text, rtl: rtl}
	if len(text) == 0 {
		return p
	}
	p.levels = make([]bidi.Level, len(text))
	base, way := bidi.LeftToRight, di.DirectionLTR
	if rtl {
		base, way = bidi.RightToLeft, di.DirectionRTL
	}
	runs := sh.bidi.Segment(text, base)
	for i := range runs.NumRuns() {
		r := runs.Run(i)
		for k := r.Start; k < r.End; k++ {
			p.levels[k] = r.Level
		}
	}
	in := shaping.Input{
		Text:      text,
		RunEnd:    len(text),
		Direction: way,
		Size:      fixed.I(em / 64),
		Language:  language.NewLanguage("en"),
	}
	if track != 0 { // a ligature is not spaced
		in.FontFeatures = []shaping.FontFeature{{Tag: ot.MustNewTag("liga")}, {Tag: ot.MustNewTag("clig")}}
	}
	for _, in := range sh.seg.Split(in, sh) {
		out := sh.hb.Shape(in) // the wrapper looks at extents
		if track != 0 && !joins(in.Script) {
			out.AddLetterSpacing(fixed.Int26_6(track), in.RunStart == 0, in.RunEnd == len(text))
		}
		p.runs = append(p.runs, out)
	}
	return p
}

// joins says whether a script's letters join, so that spacing would break words.
func joins(s language.Script) bool {
	switch s {
	case language.Arabic, language.Syriac, language.Mongolian, language.Nko, language.Mandaic, language.Phags_Pa:
		return true
	}
	return false
}

// advance is how long p is on one line.
func (p *paragraph) advance() (w int64) {
	for i := range p.runs {
		w += int64(p.runs[i].Advance)
	}
	return w
}

// line puts the runs of a line in the order that they are seen in (UAX 9, L2).
func (p *paragraph) line(runs []shaping.Output) line {
	runs = slices.Clone(runs)
	// White space at the end takes no room.
	for i := len(runs) - 1; i >= 0; i-- {
		if !p.trim(&runs[i]) {
			break
		}
	}
	level := func(r *shaping.Output) bidi.Level {
		if r.Runes.Offset < len(p.levels) {
			return p.levels[r.Runes.Offset]
		}
		return 0
	}
	var top bidi.Level
	for i := range runs {
		top = max(top, level(&runs[i]))
	}
	for l := top; l > 0; l-- {
		for i := 0; i < len(runs); i++ {
			if level(&runs[i]) < l {
				continue
			}
			from := i
			for i < len(runs) && level(&runs[i]) >= l {
				i++
			}
			slices.Reverse(runs[from:i])
		}
	}
	var ln line
	for i := range runs {
		for _, g := range runs[i].Glyphs {
			ln.glyphs = append(ln.glyphs, placed{runs[i].Face, g.GlyphID, ln.width + int64(g.XOffset), -int64(g.YOffset)})
			ln.width += int64(g.Advance)
		}
	}
	return ln
}

// trim takes the advance of white space at r's end, and says whether r is nothing else.
func (p *paragraph) trim(r *shaping.Output) bool {
	glyphs := slices.Clone(r.Glyphs)
	r.Glyphs = glyphs
	if r.Direction.Progression() == di.TowardTopLeft {
		glyphs = slices.Clone(glyphs)
		slices.Reverse(glyphs)
		defer func() { slices.Reverse(glyphs); r.Glyphs = glyphs }()
	}
	for i := len(glyphs) - 1; i >= 0; i-- {
		g := &glyphs[i]
		for k := g.TextIndex(); k < min(g.TextIndex()+g.RunesCount(), len(p.text)); k++ {
			if !unicode.IsSpace(p.text[k]) || p.text[k] == '\u00a0' {
				return false
			}
		}
		g.Advance, g.XAdvance = 0, 0
	}
	return true
}

const ellipsis = "…"

// clip cuts graphemes off a line until it is at most room long.
func (sh *shaper) clip(p paragraph, track, room int64, cut resize.TextCut, dots bool) line {
	if p.advance() <= room {
		return p.line(p.runs)
	}
	if whole := p.line(p.runs); whole.width <= room { // but for white space
		return whole
	}
	sh.breaks.Init(p.text)
	ends := []int{0}
	for it := sh.breaks.GraphemeIterator(); it.Next(); {
		g := it.Grapheme()
		ends = append(ends, g.Offset+len(g.Text))
	}
	last := len(ends) - 1
	kept := func(n int) line {
		head, tail := n, 0
		switch cut {
		case resize.CutStart:
			head, tail = 0, n
		case resize.CutMiddle:
			head, tail = (n+1)/2, n/2
		}
		before, after := p.text[:ends[head]], p.text[ends[last-tail]:]
		if n < last && dots {
			// Dots stand where words end.
			before = []rune(strings.TrimRightFunc(string(before), unicode.IsSpace))
			after = []rune(strings.TrimLeftFunc(string(after), unicode.IsSpace))
			before = append(before, []rune(ellipsis)...)
		}
		text := slices.Concat(before, after)
		if len(text) == 0 {
			return line{}
		}
		short := sh.shape(text, track, p.rtl)
		return short.line(short.runs)
	}
	n := sort.Search(last, func(n int) bool { return kept(n+1).width > room })
	ln := kept(n)
	if ln.width > room {
		return line{}
	}
	return ln
}

// wrap breaks paragraphs into lines of room, at most rows of them; the last has dots where there is more.
func (sh *shaper) wrap(paragraphs []paragraph, room int64, rows int) (lines []line) {
	for i := range paragraphs {
		p := &paragraphs[i]
		left := rows - len(lines)
		if left <= 0 {
			break
		}
		if len(p.runs) == 0 {
			lines = append(lines, line{})
			continue
		}
		config := shaping.WrapConfig{Direction: di.DirectionLTR}
		if p.rtl {
			config.Direction = di.DirectionRTL
		}
		if rows < math.MaxInt {
			config.TruncateAfterLines = left
			config.TextContinues = i < len(paragraphs)-1
			if dots := sh.shape([]rune(ellipsis), 0, p.rtl); len(dots.runs) > 0 {
				config.Truncator = dots.runs[0]
			}
		}
		// The wrapper trims its runs in place.
		runs := make([]shaping.Output, len(p.runs))
		for k := range runs {
			runs[k] = p.runs[k]
			runs[k].Glyphs = slices.Clone(p.runs[k].Glyphs)
		}
		wrapped, _ := sh.wrapper.WrapParagraphF(config, fixed.Int26_6(min(room, 1<<30)), p.text, shaping.NewSliceIterator(runs))
		for _, runs := range wrapped {
			lines = append(lines, p.wrapped(runs, config))
		}
	}
	return lines
}

// wrapped gives a line that the wrapper made, whose last run may be the dots.
func (p *paragraph) wrapped(runs shaping.Line, config shaping.WrapConfig) line {
	if n := len(runs); n > 0 && config.TruncateAfterLines > 0 && len(config.Truncator.Glyphs) > 0 &&
		len(runs[n-1].Glyphs) > 0 && &runs[n-1].Glyphs[0] == &config.Truncator.Glyphs[0] {
		dots := paragraph{text: []rune(ellipsis)}
		ln, end := p.line(runs[:n-1]), dots.line(runs[n-1:])
		if p.rtl {
			ln, end = end, ln
		}
		for _, g := range end.glyphs {
			g.x += ln.width
			ln.glyphs = append(ln.glyphs, g)
		}
		ln.width += end.width
		return ln
	}
	return p.line(runs)
}
