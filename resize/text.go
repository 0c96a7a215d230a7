package resize

import (
	"context"
	"image"
	"image/color"
)

// A Typesetter makes pictures of text, for Plans that have Texts. Package resize/text has one. It is used by
// many goroutines at once.
type Typesetter interface {
	// Set sets t in a frame of so many pixels. The Rect of what it gives is where in the frame it belongs: it lies
	// in the frame, holds all that is not transparent, and is empty where nothing is. The picture is the caller's.
	//
	// What t asks for and cannot be done is ErrPlan in one line; the error may also be the cause of ctx's end. Equal
	// texts in equal frames give equal pixels, on all processors.
	Set(ctx context.Context, t Text, frame image.Point) (*image.NRGBA, error)
}

// A Text is written over a picture. Lengths are in pixels of the output, before DPR.
type Text struct {
	// Text is what is written: valid UTF-8 of at most 1,000 runes. Line feeds, alone or after carriage returns,
	// begin new lines; tabs are spaces; other control characters are ErrPlan. Empty: nothing is written.
	Text string

	// Font is the name of a font: a kind as in CSS (serif, sans-serif, monospace, cursive, fantasy) or a family, with
	// ",bold", ",italic" or both after it. A name that the Typesetter does not know is ErrPlan. Empty means sans-serif.
	Font string

	// Size is the size of an em. Zero means 12. It is at most 2000.
	Size float64

	// Color of the letters. Nil means black.
	Color *color.NRGBA

	// XAlign and YAlign place the text, and XAlign its lines among themselves. The zero value is Far: bottom right.
	XAlign, YAlign Align

	// X and Y are the left and the top edge of the text in the frame. Nil means as XAlign and YAlign say.
	X, Y *int

	// Pad is the text's distance from the edges of the frame, where XAlign and YAlign place it. Nil means 10.
	Pad *int

	// Width is how long lines may be: pixels when above 1, a fraction of the frame's width when in (0, 1]. Zero means
	// as far as Pad leaves room.
	Width float64

	// Height is how high all lines may be, likewise. It is read by MaxText, WrapText and WrapMaxText. Zero means no limit.
	Height float64

	// Fit says what happens to what is longer than Width or higher than Height. The zero value is ClipText.
	Fit TextFit

	// Cut is the end of a line that ClipText cuts off, and Ellipsis puts "…" in its place.
	Cut      TextCut
	Ellipsis bool

	// Lead is added to the distance between lines, which is 1.2 times Size.
	Lead float64

	// Track is added between letters; it may be negative, down to -4. Scripts whose letters join, such as Arabic, are left as they are.
	Track float64

	// Line is the width of an outline, drawn inside of the edges of the letters. Zero means none.
	Line float64

	// LineColor is the outline's. Nil means white.
	LineColor *color.NRGBA

	// Shadow is how strong a shadow is, 0 to 10: soft, black and around the letters. Zero means none.
	Shadow float64

	// ShadowBlur has the shadow fall Shadow pixels down and to the right instead, blurred by so many pixels, 0 to 100.
	// Nil means that it is soft and does not fall.
	ShadowBlur *int
}

// TextFit says what happens to text that is too large for its place.
type TextFit uint8

const (
	ClipText    TextFit = iota // lines are cut off, as Cut says
	MaxText                    // all is made smaller, until it fits
	WrapText                   // lines are broken between words; those that are below Height are left out, with "…" before
	WrapMaxText                // lines are broken between words, and all is made smaller, until it fits
)

// TextCut is the end of a line that is cut off.
type TextCut uint8

const (
	CutEnd TextCut = iota
	CutStart
	CutMiddle
)

// scaled gives t for an output with dpr pixels in each of t's.
func (t Text) scaled(dpr float64) Text {
	if dpr == 0 || dpr == 1 {
		return t
	}
	whole := func(v **int) {
		if *v != nil {
			n := int(float64(**v)*dpr + 0.5)
			if **v < 0 {
				n = -int(float64(-**v)*dpr + 0.5)
			}
			*v = &n
		}
	}
	if t.Size == 0 {
		t.Size = 12
	}
	if t.Pad == nil {
		pad := 10
		t.Pad = &pad
	}
	t.Size *= dpr
	t.Lead *= dpr
	t.Track *= dpr
	t.Line *= dpr
	t.Shadow *= dpr
	if t.Width > 1 {
		t.Width *= dpr
	}
	if t.Height > 1 {
		t.Height *= dpr
	}
	whole(&t.X)
	whole(&t.Y)
	whole(&t.Pad)
	whole(&t.ShadowBlur)
	return t
}

func (t *Text) form(f *form) {
	if t == nil {
		return
	}
	f.word("text;")
	f.text("t", t.Text)
	f.text("font", t.Font)
	f.num("size", t.Size)
	f.color("color", t.Color)
	f.num("xa", float64(t.XAlign))
	f.num("ya", float64(t.YAlign))
	f.pointer("x", t.X)
	f.pointer("y", t.Y)
	f.pointer("pad", t.Pad)
	f.num("w", t.Width)
	f.num("h", t.Height)
	f.num("fit", float64(t.Fit))
	f.num("cut", float64(t.Cut))
	f.flag("ellipsis", t.Ellipsis)
	f.num("lead", t.Lead)
	f.num("track", t.Track)
	f.num("line", t.Line)
	f.color("linecolor", t.LineColor)
	f.num("shad", t.Shadow)
	f.pointer("shadblur", t.ShadowBlur)
	f.word("end;")
}

// MaxTextBytes is the most bytes of a Text.
const MaxTextBytes = 4000

// check looks at the numbers; a Typesetter looks at the rest.
func (t *Text) check(c *checker) {
	if t == nil {
		return
	}
	c.within("the length of Text.Text", float64(len(t.Text)), 0, MaxTextBytes)
	c.within("the length of Text.Font", float64(len(t.Font)), 0, 200)
	c.within("Text.Size", t.Size, 0, 2000)
	c.within("Text.XAlign", float64(t.XAlign), 0, float64(Far))
	c.within("Text.YAlign", float64(t.YAlign), 0, float64(Far))
	for _, v := range []*int{t.X, t.Y, t.Pad} {
		if v != nil {
			c.within("Text.X, Y or Pad", float64(*v), -1e5, 1e5)
		}
	}
	c.within("Text.Width", t.Width, 0, 1e5)
	c.within("Text.Height", t.Height, 0, 1e5)
	c.within("Text.Fit", float64(t.Fit), 0, float64(WrapMaxText))
	c.within("Text.Cut", float64(t.Cut), 0, float64(CutMiddle))
	c.within("Text.Lead", t.Lead, 0, 4000)
	c.within("Text.Track", t.Track, -4, 1000)
	c.within("Text.Line", t.Line, 0, 1000)
	c.within("Text.Shadow", t.Shadow, 0, 10)
	if t.ShadowBlur != nil {
		c.within("Text.ShadowBlur", float64(*t.ShadowBlur), 0, 100)
	}
}
