package resize

import "image/color"

// A Text is drawn over a picture. Sizes are in pixels.
type Text struct {
	Content string
	Font    string       // one that Renderer.Text knows; empty means its default
	Size    int          // of the font. Zero means 12
	Color   *color.NRGBA // nil means black

	// XAlign and YAlign place it, and its lines. The zero value is Far and Far: bottom right.
	XAlign, YAlign Align

	Pad *int // distance from the edges. Nil means 10

	// X and Y are its top left corner, instead of XAlign, YAlign and Pad. Nil: not asked for.
	X, Y *int

	Width int  // of its box. Zero means that of the picture, less Pad
	Fit   bool // makes the font as large as the box allows

	// Clip says where a line that is too long is cut: Near at its start, Middle, and Far, the zero value, at its end.
	Clip     Align
	Ellipsis bool // "…" where it is cut
	Wrap     bool // breaks lines instead of cutting them

	Line      int          // width of an outline
	LineColor *color.NRGBA // nil means white
	Shadow    float64      // 0 to 10
	Leading   int          // between lines, beyond the font's
	Tracking  int          // between letters, −4 and more

	// Background is the colour of its box. Nil means none.
	Background *color.NRGBA

	Alpha int // opacity in percent, 1 to 100. Zero means 100
}

func (t *Text) form(f *form) {
	if t == nil {
		return
	}
	f.word("text;")
	f.text("txt", t.Content)
	f.text("font", t.Font)
	f.num("size", float64(t.Size))
	f.color("color", t.Color)
	f.num("xa", float64(t.XAlign))
	f.num("ya", float64(t.YAlign))
	f.pointer("pad", t.Pad)
	f.pointer("x", t.X)
	f.pointer("y", t.Y)
	f.num("w", float64(t.Width))
	f.flag("fit", t.Fit)
	f.num("clip", float64(t.Clip))
	f.flag("ellipsis", t.Ellipsis)
	f.flag("wrap", t.Wrap)
	f.num("line", float64(t.Line))
	f.color("linecolor", t.LineColor)
	f.num("shad", t.Shadow)
	f.num("lead", float64(t.Leading))
	f.num("track", float64(t.Tracking))
	f.color("bg", t.Background)
	f.num("a", float64(t.Alpha))
	f.word("end;")
}

// MaxText is the most bytes of a Text.
const MaxText = 4000

func (t *Text) check(c *checker) {
	if t == nil {
		return
	}
	c.within("the length of Text.Content", float64(len(t.Content)), 1, MaxText)
	c.within("the length of Text.Font", float64(len(t.Font)), 0, 200)
	c.within("Text.Size", float64(t.Size), 0, 4000)
	c.within("Text.XAlign", float64(t.XAlign), 0, float64(Far))
	c.within("Text.YAlign", float64(t.YAlign), 0, float64(Far))
	for _, v := range []*int{t.Pad, t.X, t.Y} {
		if v != nil {
			c.within("Text.Pad, X or Y", float64(*v), -1e5, 1e5)
		}
	}
	c.within("Text.Width", float64(t.Width), 0, 1e5)
	c.within("Text.Clip", float64(t.Clip), 0, float64(Far))
	c.within("Text.Line", float64(t.Line), 0, 1000)
	c.within("Text.Shadow", t.Shadow, 0, 10)
	c.within("Text.Leading", float64(t.Leading), 0, 4000)
	c.within("Text.Tracking", float64(t.Tracking), -4, 1000)
	c.within("Text.Alpha", float64(t.Alpha), 0, 100)
}
