// Package text sets text for package resize, which draws it over pictures: Latin, Greek, Cyrillic, Arabic and Hebrew
// with fonts that come with it, and whatever the fonts that a program adds have letters for.
//
//	setter, err := text.New(nil)
//	m, err := setter.Set(ctx, resize.Text{Text: "© 2026 שלום"}, image.Pt(600, 400))
//
// Text is shaped as OpenType has it (letters join, marks sit on their letters, pairs are kerned), in the order of the
// Unicode bidirectional algorithm, and broken into lines by UAX 14. What a font has no letter for is looked for in the
// others, first those that were added; what none has is a box. Colours in fonts (emoji) are not drawn, only outlines.
//
// # Promises
//
// A Setter is used by many goroutines at once. Equal texts make equal pixels on all processors: places are computed in
// integers, at 1/512 of a pixel. Nothing depends on the fonts of the system. Text is bounded by MaxRunes and MaxSize,
// what it makes by the frame.
package text

import (
	"context"
	"fmt"
	"image"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/imagecdn/imagecdn/resize"
)

const (
	// MaxRunes is how long a text may be.
	MaxRunes = 1000

	// MaxSize is the largest size of an em, in pixels.
	MaxSize = 2000

	// maxFrame is the largest frame in pixels. A mask of what is inked in it is held, and the picture itself: with an
	// outline and a shadow ten bytes for each pixel of the text's rectangle.
	maxFrame = 1 << 27

	// maxSide keeps places in 32 bits, at 1/512 of a pixel.
	maxSide = 1 << 16

	// far is how far a text may be placed from the frame's corner, and how much is added between lines and letters.
	far = 1 << 20
)

// Set implements resize.Typesetter.
func (s *Setter) Set(ctx context.Context, t resize.Text, frame image.Point) (*image.NRGBA, error) {
	if err := check(&t, frame); err != nil {
		return nil, err
	}
	family, err := s.family(t.Font)
	if err != nil {
		return nil, err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	sh := s.shapers.Get().(*shaper)
	defer s.shapers.Put(sh)
	sh.use(family)
	b := sh.layout(&t, frame)
	return sh.draw(ctx, &t, b, frame)
}

func bad(format string, args ...any) error {
	return fmt.Errorf("text: %w: %s", resize.ErrPlan, fmt.Sprintf(format, args...))
}

// check says what is wrong with t, or puts in its defaults.
func check(t *resize.Text, frame image.Point) error {
	if frame.X < 1 || frame.Y < 1 || frame.X > maxSide || frame.Y > maxSide || int64(frame.X)*int64(frame.Y) > maxFrame {
		return bad("a frame of %dx%d", frame.X, frame.Y)
	}
	if !utf8.ValidString(t.Text) {
		return bad("the text is not UTF-8")
	}
	if n := utf8.RuneCountInString(t.Text); n > MaxRunes {
		return bad("the text has %d runes, more than %d", n, MaxRunes)
	}
	t.Text = strings.NewReplacer("\r\n", "\n", "\u2028", "\n", "\u2029", "\n", "\t", " ").Replace(t.Text)
	for _, r := range t.Text {
		if unicode.IsControl(r) && r != '\n' {
			return bad("the text has the control character %U", r)
		}
	}
	if t.Size == 0 {
		t.Size = 12
	}
	ranges := []struct {
		name     string
		v        float64
		min, max float64
	}{
		{"size", t.Size, 1.0 / 64, MaxSize},
		{"width", t.Width, 0, far},
		{"height", t.Height, 0, far},
		{"lead", t.Lead, 0, far},
		{"track", t.Track, -MaxSize, far},
		{"line", t.Line, 0, far},
		{"shadow", t.Shadow, 0, 100},
	}
	for _, r := range ranges {
		if !(r.min <= r.v && r.v <= r.max) { // NaN is not
			return bad("%s is %v, not from %v to %v", r.name, r.v, r.min, r.max)
		}
	}
	for _, p := range []struct {
		name string
		v    *int
		min  int
		max  int
	}{{"x", t.X, -far, far}, {"y", t.Y, -far, far}, {"pad", t.Pad, 0, far}, {"shadow blur", t.ShadowBlur, 0, 500}} {
		if p.v != nil && (*p.v < p.min || *p.v > p.max) {
			return bad("%s is %d, not from %d to %d", p.name, *p.v, p.min, p.max)
		}
	}
	if t.XAlign > resize.Far || t.YAlign > resize.Far || t.Fit > resize.WrapMaxText || t.Cut > resize.CutMiddle {
		return bad("an alignment, a fit or a cut that is none")
	}
	return nil
}

// round64 gives v in 64ths.
func round64(v float64) int64 { return int64(math.Round(float64(v * 64))) }
