package resize

import (
	"image/color"
	"strconv"
)

// A Plan says what picture to make from an original. It knows nothing of the original: one Plan
// can be applied to many. The zero Plan re-encodes the original at its own size in its own format.
//
// Steps run in this order, whatever order a URL had: orientation (Orient, else EXIF), Flip, Trim,
// Rect, size (Width, Height, Aspect, DPR, Fit, Crop), FaceBlur and FacePixelate, Adjust, Stylize, Fill, Rotate, Blend, Mask, Pad and Border, Marks, Text, Background or Grid, encoding.
//
// A Plan is a value: it is not changed by rendering and may be shared between goroutines.
type Plan struct {
	// Width and Height are the box of the output, before DPR. A value above 1 is in pixels; a value
	// in (0, 1] is a fraction of the source's own size, after Orient and Rect. Zero: not asked for.
	Width, Height float64

	// MinWidth, MinHeight, MaxWidth and MaxHeight bound the output with Fit Cover, in pixels before DPR: a side that Width, Height and
	// Aspect, or the source's aspect ratio, leave outside is moved to the bound, and the other side keeps what it is, so that the rest
	// is cut. Zero: not asked for.
	MinWidth, MinHeight, MaxWidth, MaxHeight int

	// DPR multiplies a Width and Height given in pixels, and all lengths in pixels that follow: of Adjust, Stylize, Pad, Border, Mask, Marks,
	// Blend and Text. Zero means 1.
	DPR float64

	// Fit says how the source is mapped into the box. The zero value is Clip.
	Fit Fit

	// NoEnlarge keeps what is shown of the source from being enlarged: with Fit Cover, a box that is too large is made smaller, as by
	// Min; with Scale, each side stays what it is at most. FaceArea does not heed it.
	NoEnlarge bool

	// Aspect is width divided by height, used with Fit Cover and Fill where only one of Width and Height is given. With neither, Cover
	// cuts the least and Fill pads the least that gives that. Zero: not asked for.
	Aspect float64

	// AspectMax makes Aspect the lower end of a range, and is its upper one: a source between the two keeps its own, and any other
	// gets the nearer one. Zero: no range.
	AspectMax float64

	// Crop says what to keep when Fit Cover (or Min) cuts, in order of preference. Empty: the centre.
	Crop []Crop

	// Focal is the point to keep near the centre where Crop has FocalPoint. Nil means the centre.
	Focal *Point

	// FocalPixels has Focal in pixels of the upright source, before Trim and Rect, rather than in fractions of what is left after them.
	FocalPixels bool

	// Zoom enlarges what is around Focal, 1 to 100, where Crop has FocalPoint. Zero means 1.
	Zoom float64

	// Crosshairs draws where Focal is, where Zoom would enlarge.
	Crosshairs bool

	// Face is which face Fit FaceArea shows and Crop Faces goes to, counted from 1 by size. Zero means all of them, or as many of the
	// largest as there is room for.
	Face int

	// FacePad is how much wider than the faces, 1 to 10, what Fit FaceArea shows is. Zero means 1.
	FacePad float64

	// Trim cuts a uniform edge off the upright source, before Rect. Nil: nothing is cut off.
	Trim *Trim

	// Rect is cut out of the upright source before anything is resized. Nil: the whole source.
	Rect *Rect

	// Orient replaces the original's EXIF orientation: 1 to 8 as EXIF (TIFF 6.0 tag 274) has them.
	// Zero means as the original says.
	Orient int

	// Rotate turns the picture counter-clockwise around its middle, in degrees [0, 360). The frame stays
	// as it is and the picture is zoomed so that it covers it, at 90 and 270 too unless the frame is
	// square: Orient is what turns picture and frame together.
	Rotate float64

	// Pivot turns the picture without zooming it: the frame grows, and its corners are filled with Background.
	Pivot bool

	// Flip mirrors the upright source.
	Flip Flip

	// FaceBlur and FacePixelate make the faces that are found unrecognizable: 0 to 100, as Stylize.Blur and Pixelate. They need
	// Renderer.Faces.
	FaceBlur     float64
	FacePixelate int

	// Adjust changes colours, and Stylize makes effects. The zero values change nothing.
	Adjust  Adjust
	Stylize Stylize

	// Fill says what pads with the fits Fill and FillMax. Nil means Background.
	Fill *Padding

	// Pad widens the frame, in pixels, with Background.
	Pad Insets

	// Border is drawn around the picture, within its frame. Nil: none.
	Border *Border

	// Mask makes what is outside of a shape transparent. Nil: none.
	Mask *Mask

	// Background fills what is transparent where the output has no alpha, and what Fill and FillMax
	// pad. Nil means white there, and leaves transparency alone where the output holds it.
	Background *color.NRGBA

	// Grid is a checkerboard under what is transparent, in place of Background. Nil: none.
	Grid *Grid

	// Format of the output. The zero value, SameFormat, is the original's own, or PNG where that
	// cannot be written (BMP).
	Format Format

	// Quality of lossy formats, 1 to 100. Zero means 75.
	Quality int

	// Color is what the output's numbers stand for. The zero value is SRGB. Background is a colour of sRGB, but with Origin and Strip
	// it has the numbers that are written.
	Color ColorSpace

	// Encoding is what else an encoder is told.
	Encoding Encoding

	// Animation says what to show of an animated original. The zero value is all of it where Format can be animated, and
	// the first frame where it cannot.
	Animation Animation

	// Blend is laid over all of the picture. Nil: none.
	Blend *Blend

	// Marks are drawn over the picture in order.
	Marks []Mark

	// Text is drawn over the picture. It needs Renderer.Text. Nil: none.
	Text *Text
}

// Inputs is how many pictures p is made of: the original, then that of Mask, that of Blend, and those of Marks, where they have
// one.
func (p Plan) Inputs() int {
	n := 1
	if p.Mask != nil && p.Mask.Shape == PictureMask {
		n++
	}
	if p.Blend != nil && p.Blend.Color == nil {
		n++
	}
	for i := range p.Marks {
		if p.Marks[i].Text == nil {
			n++
		}
	}
	return n
}

// inputName says for errors what input i is, from 1 on.
func (p Plan) inputName(i int) string {
	if p.Mask != nil && p.Mask.Shape == PictureMask {
		if i--; i == 0 {
			return "the mask"
		}
	}
	if p.Blend != nil && p.Blend.Color == nil {
		if i--; i == 0 {
			return "the blend"
		}
	}
	return "mark " + strconv.Itoa(i)
}

// A Point is a place in a picture, in fractions of its width and height from the top left.
type Point struct{ X, Y float64 }

// A Rect is a rectangle of the source. Each number is in pixels when above 1 and a fraction of the
// source's width or height when in [0, 1]; XAlign and YAlign, when set, stand in for X and Y. Zero W or H
// means as far as the source goes. What lies outside of the source is cut off; a Rect that lies outside
// of it entirely is ErrPlan.
type Rect struct {
	X, Y, W, H     float64
	XAlign, YAlign Align

	Pixels bool // all numbers are pixels, 1 too
}

// Align is a place along one axis.
type Align uint8

const (
	NoAlign Align = iota
	Near          // left or top
	Middle        // centre or middle
	Far           // right or bottom
)

// Fit says how the source is mapped into the box of Width and Height.
type Fit uint8

const (
	Clip      Fit = iota // inside the box, aspect ratio kept, enlarging if need be
	Cover                // fills the box, cut by Crop ("crop" in URLs)
	Clamp                // inside the box, the rest filled by extending the edge pixels
	Fill                 // inside the box, the rest filled with Background, enlarging
	FillMax              // like Fill, never enlarging
	Max                  // like Clip, never enlarging
	Min                  // cut to the box's aspect ratio, never enlarging
	Scale                // stretched to the box, aspect ratio not kept
	FaceArea             // the faces, filling the box; with none, as Cover, or as Fill where Plan.Fill is set
	Outside              // covers the box, aspect ratio kept and nothing cut: the smaller side is as asked
	CoverFill            // like Cover where the source is as large as the box on both sides, else like FillMax
)

// Crop is one preference of where to cut.
type Crop uint8

const (
	Top Crop = iota + 1
	Bottom
	Left
	Right
	Center
	FocalPoint
	Entropy // where neighbouring pixels differ most
	Edges   // where there are most edges
	Faces   // around the faces; passed over where there are none
)

// Flip mirrors a picture.
type Flip uint8

const (
	NoFlip Flip = iota
	Horizontal
	Vertical
	Both
)

// Format is an encoding of a picture. The formats of this package are constants below; another
// package may add its own with Register.
type Format string

const (
	SameFormat Format = ""       // the original's
	Opaque     Format = "opaque" // JPEG, or PNG where the picture has transparency; the original's own where it is animated
	JPEG       Format = "jpg"    // JFIF, baseline
	PNG        Format = "png"    // read animated; a still where it is asked for by name
	GIF        Format = "gif"    // animated where the original is
	WebP       Format = "webp"   // animated where the original is
	BMP        Format = "bmp"    // read only
	ICO        Format = "ico"    // and CUR; read only
	TIFF       Format = "tiff"   // with package resize/tiff; read only
	HEIC       Format = "heic"   // with package resize/heic; read only
	AVIF       Format = "avif"   // with package resize/avif; WebP where the original is animated

	// What can be said about a picture, in its place.
	JSON         Format = "json"         // of the original: its size, type and metadata
	BlurHashText Format = "blurhash"     // of the picture
	PaletteJSON  Format = "palette.json" // the picture's main colours
	PaletteCSS   Format = "palette.css"
)

// Data says that f is text about a picture.
func (f Format) Data() bool {
	return f == JSON || f == BlurHashText || f == PaletteJSON || f == PaletteCSS
}

// String gives the canonical form of p: equal plans have equal strings, plans that differ have
// different ones. It is what derivative keys are computed from.
func (p Plan) String() string { return string(p.Append(nil)) }

// Append appends p's canonical form to b.
func (p Plan) Append(b []byte) []byte {
	f := form(b)
	p.Trim.form(&f)
	f.num("w", p.Width)
	f.num("h", p.Height)
	f.num("minw", float64(p.MinWidth))
	f.num("minh", float64(p.MinHeight))
	f.num("maxw", float64(p.MaxWidth))
	f.num("maxh", float64(p.MaxHeight))
	if p.DPR != 1 {
		f.num("dpr", p.DPR)
	}
	f.num("fit", float64(p.Fit))
	f.flag("noenlarge", p.NoEnlarge)
	f.num("ar", p.Aspect)
	f.num("armax", p.AspectMax)
	for _, c := range p.Crop {
		f.num("crop", float64(c))
	}
	if p.Focal != nil {
		f.word("fp;")
		f.num("x", p.Focal.X)
		f.num("y", p.Focal.Y)
		f.flag("fppx", p.FocalPixels)
	}
	f.num("zoom", p.Zoom)
	f.flag("crosshairs", p.Crosshairs)
	f.num("face", float64(p.Face))
	f.num("facepad", p.FacePad)
	if r := p.Rect; r != nil {
		f.word("rect;")
		f.num("x", r.X)
		f.num("y", r.Y)
		f.num("w", r.W)
		f.num("h", r.H)
		f.num("xa", float64(r.XAlign))
		f.num("ya", float64(r.YAlign))
		f.flag("px", r.Pixels)
		f.word("end;")
	}
	f.num("or", float64(p.Orient))
	f.num("rot", p.Rotate)
	f.flag("pivot", p.Pivot)
	f.num("flip", float64(p.Flip))
	f.num("faceblur", p.FaceBlur)
	f.num("facepx", float64(p.FacePixelate))
	p.Adjust.form(&f)
	p.Stylize.form(&f)
	p.Fill.form(&f)
	p.Pad.form("pad", &f)
	p.Border.form(&f)
	p.Mask.form(&f)
	f.color("bg", p.Background)
	p.Grid.form(&f)
	p.Blend.form(&f)
	for i := range p.Marks {
		p.Marks[i].form(&f)
	}
	p.Text.form(&f)
	if p.Format != SameFormat {
		f.text("fm", string(p.Format))
	}
	f.num("q", float64(p.Quality))
	f.num("cs", float64(p.Color))
	p.Encoding.form(&f)
	p.Animation.form(&f)
	return f
}

// A form is a canonical form under construction: a field that is zero is left out, and each ends in a semicolon.
type form []byte

func (f *form) word(s string) { *f = append(*f, s...) }

// num writes a number.
func (f *form) num(name string, v float64) {
	if v == 0 {
		return
	}
	b := append(append(*f, name...), '=')
	if n := int64(v); float64(n) == v && -1e15 < v && v < 1e15 {
		b = strconv.AppendInt(b, n, 10)
	} else {
		b = strconv.AppendFloat(b, v, 'g', -1, 64)
	}
	*f = append(b, ';')
}

// pointer writes a number that may be zero where it is there.
func (f *form) pointer(name string, v *int) {
	if v != nil {
		f.word(name)
		*f = append(strconv.AppendInt(append(*f, '='), int64(*v), 10), ';')
	}
}

func (f *form) flag(name string, v bool) {
	if v {
		f.word(name)
		f.word(";")
	}
}

// text writes any text: quoted, so that none can pass for what follows it.
func (f *form) text(name, v string) {
	if v != "" {
		*f = append(strconv.AppendQuote(append(append(*f, name...), '='), v), ';')
	}
}

func (f *form) color(name string, c *color.NRGBA) {
	if c != nil {
		f.word(name)
		f.word(";")
		f.num("v", float64(uint32(c.R)<<24|uint32(c.G)<<16|uint32(c.B)<<8|uint32(c.A)))
	}
}
