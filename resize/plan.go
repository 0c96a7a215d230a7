package resize

import (
	"image/color"
	"strconv"
)

// A Plan says what picture to make from an original. It knows nothing of the original: one Plan
// can be applied to many. The zero Plan re-encodes the original at its own size in its own format.
//
// Steps run in this order, whatever order a URL had: orientation (Orient, else EXIF), Flip,
// Rect, size (Width, Height, Aspect, DPR, Fit, Crop), Rotate, Marks, Background, encoding.
//
// A Plan is a value: it is not changed by rendering and may be shared between goroutines.
type Plan struct {
	// Width and Height are the box of the output, before DPR. A value above 1 is in pixels; a value
	// in (0, 1] is a fraction of the source's own size, after Orient and Rect. Zero: not asked for.
	Width, Height float64

	// DPR multiplies a Width and Height given in pixels. Zero means 1.
	DPR float64

	// Fit says how the source is mapped into the box. The zero value is Clip.
	Fit Fit

	// Aspect is width divided by height, used with Fit Cover where only one of Width and Height is
	// given (or neither). Zero: not asked for.
	Aspect float64

	// Crop says what to keep when Fit Cover (or Min) cuts, in order of preference. Empty: the centre.
	Crop []Crop

	// Focal is the point to keep near the centre where Crop has FocalPoint. Nil means the centre.
	Focal *Point

	// Rect is cut out of the upright source before anything is resized. Nil: the whole source.
	Rect *Rect

	// Orient replaces the original's EXIF orientation: 1 to 8 as EXIF (TIFF 6.0 tag 274) has them.
	// Zero means as the original says.
	Orient int

	// Rotate turns the picture counter-clockwise around its middle, in degrees [0, 360). The frame stays
	// as it is and the picture is zoomed so that it covers it, at 90 and 270 too unless the frame is
	// square: Orient is what turns picture and frame together.
	Rotate float64

	// Flip mirrors the upright source.
	Flip Flip

	// Background fills what is transparent where the output has no alpha, and what Fill and FillMax
	// pad. Nil means white there, and leaves transparency alone where the output holds it.
	Background *color.NRGBA

	// Format of the output. The zero value, SameFormat, is the original's own, or PNG where that
	// cannot be written (BMP).
	Format Format

	// Quality of lossy formats, 1 to 100. Zero means 75.
	Quality int

	// Marks are drawn over the picture in order. Mark i is the original's input i+1.
	Marks []Mark
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
	Clip    Fit = iota // inside the box, aspect ratio kept, enlarging if need be
	Cover              // fills the box, cut by Crop ("crop" in URLs)
	Clamp              // inside the box, the rest filled by extending the edge pixels
	Fill               // inside the box, the rest filled with Background, enlarging
	FillMax            // like Fill, never enlarging
	Max                // like Clip, never enlarging
	Min                // cut to the box's aspect ratio, never enlarging
	Scale              // stretched to the box, aspect ratio not kept
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
	Entropy
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
	Opaque     Format = "opaque" // JPEG, or PNG where the picture has transparency
	JPEG       Format = "jpg"    // JFIF, baseline
	PNG        Format = "png"    //
	GIF        Format = "gif"    // animated where the original is
	WebP       Format = "webp"   //
	BMP        Format = "bmp"    // read only
	AVIF       Format = "avif"   // with package resize/avif
)

// A Mark is a picture drawn over another: a watermark.
type Mark struct {
	// XAlign and YAlign place it. The zero value is Far: bottom right, as imgix has it.
	XAlign, YAlign Align

	// Width is its size: pixels of the output when above 1, a fraction of the output's width when in
	// (0, 1]. Zero keeps its own size, made smaller if it would not fit.
	Width float64

	// Alpha is its opacity in percent, 1 to 100. Zero means 100.
	Alpha int

	// Pad is its distance from the edges in pixels. Nil means 5.
	Pad *int
}

// String gives the canonical form of p: equal plans have equal strings, plans that differ have
// different ones. It is what derivative keys are computed from.
func (p Plan) String() string { return string(p.Append(nil)) }

// Append appends p's canonical form to b.
func (p Plan) Append(b []byte) []byte {
	num := func(name string, v float64) {
		if v != 0 {
			b = append(b, name...)
			b = append(b, '=')
			if n := int64(v); float64(n) == v && -1e15 < v && v < 1e15 {
				b = strconv.AppendInt(b, n, 10)
			} else {
				b = strconv.AppendFloat(b, v, 'g', -1, 64)
			}
			b = append(b, ';')
		}
	}
	word := func(s string) { b = append(b, s...) }
	num("w", p.Width)
	num("h", p.Height)
	if p.DPR != 1 {
		num("dpr", p.DPR)
	}
	num("fit", float64(p.Fit))
	num("ar", p.Aspect)
	for _, c := range p.Crop {
		num("crop", float64(c))
	}
	if p.Focal != nil {
		word("fp;")
		num("x", p.Focal.X)
		num("y", p.Focal.Y)
	}
	if r := p.Rect; r != nil {
		word("rect;")
		num("x", r.X)
		num("y", r.Y)
		num("w", r.W)
		num("h", r.H)
		num("xa", float64(r.XAlign))
		num("ya", float64(r.YAlign))
		word("end;")
	}
	num("or", float64(p.Orient))
	num("rot", p.Rotate)
	num("flip", float64(p.Flip))
	if c := p.Background; c != nil {
		word("bg;")
		num("v", float64(uint32(c.R)<<24|uint32(c.G)<<16|uint32(c.B)<<8|uint32(c.A)))
	}
	if p.Format != SameFormat {
		word("fm=")
		word(string(p.Format))
		word(";")
	}
	num("q", float64(p.Quality))
	for _, m := range p.Marks {
		word("mark;")
		num("xa", float64(m.XAlign))
		num("ya", float64(m.YAlign))
		num("w", m.Width)
		num("a", float64(m.Alpha))
		if m.Pad != nil {
			word("pad;")
			num("p", float64(*m.Pad))
		}
		word("end;")
	}
	return b
}
