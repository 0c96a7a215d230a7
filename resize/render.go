// Package resize makes pictures out of pictures: an original and a Plan go in, the bytes of a resized,
// cut, turned, watermarked and encoded picture come out.
//
//	var r resize.Renderer
//	pic, err := r.Render(ctx, resize.Plan{Width: 500, Format: resize.JPEG}, original)
//	// pic.Bytes, pic.Format.ContentType(), pic.Width, pic.Height
//
// It reads JPEG, PNG, GIF, WebP, BMP and ICO and writes the first four, of which all but JPEG may be animated. Importing package
// resize/avif for its side effect adds AVIF, and resize/tiff and resize/heic read what their names say. Everything is pure Go.
//
// # Promises
//
// Originals are bytes of strangers. Sizes are checked before anything is decoded, work stops when the
// context is done, and no input, however damaged, makes Render panic: it gives an error that wraps
// ErrUnsupported, ErrDamaged, ErrTooLarge, ErrTooSlow or ErrPlan with one line that says what is wrong. A JPEG that
// was cut off is an error, never a picture that is half gray.
//
// Output never carries metadata: not EXIF, not XMP, and a colour profile only where Plan.Color says so. EXIF orientation is applied
// before it is dropped, and colours are converted to sRGB: after resampling, which is of the numbers in the file.
//
// The same Plan and the same bytes give the same picture whenever the same Version runs on the same
// architecture, with two exceptions: the encoder of WebP is the system's libwebp where there is one, and pictures that
// share a decoding (see [Pyramids]) are equal to the eye, not to the bit.
//
// # Memory
//
// A Renderer asks Admit, where that is set, before it takes memory, with an estimate from headers alone. Buffers for
// pixels are kept for the next picture, until the garbage collector wants them.
//
// # Limits
//
// Profiles of gray, RGB and CMYK are converted by, of at most 4 MB; what is wider than sRGB is clipped to it. Sixteen
// bits a channel become eight. Resampling works on the
// stored values, not on linear light, as browsers and libvips do by default.
package resize

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
	"time"
)

// Version is the version of the engine. It is part of the keys under which pictures are kept, so it
// changes whenever the pixels of any picture do; a test holds it to that.
const Version = "3"

// The kinds of errors that Render and Probe give, always wrapped in one line of what is wrong. Errors of
// the context come as they are.
var (
	ErrUnsupported = errors.New("not an image that can be read") // HTTP: 415
	ErrDamaged     = errors.New("damaged image")                 // HTTP: 422
	ErrTooLarge    = errors.New("image too large")               // HTTP: 413
	ErrTooSlow     = errors.New("takes too long to make")        // HTTP: 422
	ErrPlan        = errors.New("cannot be done")                // HTTP: 400
)

// A Renderer makes pictures. The zero value is ready. It holds no resources, and may be used by many
// goroutines at once, but is not to be changed then.
type Renderer struct {
	// MaxPixels is the largest input: width times height, times the frames of an animation that are shown, with those before
	// the last of them. An animation that comes out may not be larger either. Zero means 50 megapixels. Negative means no
	// limit.
	MaxPixels int64

	// MaxFrames is the longest animation that is kept animated, up to the last frame that the plan shows; a longer one is
	// ErrTooLarge, as showing a part of it would pass for the whole. Of an animation that a still is made of, it is the last
	// frame that can be picked.
	// Zero means 500. Negative means no limit.
	MaxFrames int

	// MaxSize is the largest width or height of an output; what would be larger is ErrTooLarge.
	// Zero means 8192. Negative means no limit but the format's.
	MaxSize int

	// MaxEnlarge is how many times wider, or higher, than its original an output may be, with what is around it; what would be
	// larger is ErrPlan. Zero means that MaxSize alone decides.
	MaxEnlarge float64

	// MaxScans is how many scans a progressive JPEG may have. Each costs a pass over all pixels and
	// takes but 34 bytes, so that 43 KB can be 3 s of work. Encoders write 10. Zero means 100. Negative
	// means no limit.
	MaxScans int

	// MaxTime is how long a render may work, from when it has leave: what takes longer is ErrTooSlow. Some steps notice at their
	// end only, such as encoding AVIF. Zero means a minute. Negative means no limit.
	MaxTime time.Duration

	// MaxMemory is the most memory that a render may take, in bytes, decoding included, by the estimate that Admit is asked with; what
	// would take more is ErrTooLarge before anything is decoded. What Plan.Trim cuts or a face is looked for in may turn out to make a larger picture than
	// the headers let expect, and is refused then. Zero means no limit.
	MaxMemory int64

	// Pyramids shares the decoding of inputs that have an ID. Renderers that use the same ones have the same limits.
	// Nil means that each render decodes for itself.
	Pyramids *Pyramids

	// Faces finds faces, for the plans that have to do with them. Nil means that those are ErrPlan.
	Faces FaceFinder

	// Text sets the Texts of plans. Nil means that plans with a Text are ErrPlan.
	Text Typesetter

	// Admit is asked for leave before memory is taken: for about so many bytes, from then until leave is called.
	// A render that shares its decoding may ask again after it; begun says so, and that memory is held until it
	// ends, so that it goes before those that have not begun. An error ends the render, and all that wait for the
	// same decoding. Nil means that leave is always given.
	Admit func(ctx context.Context, bytes int64, begun bool) (leave func(), err error)
}

// A Picture is a rendered picture.
type Picture struct {
	Bytes         []byte
	Format        Format // never SameFormat or Opaque
	Width, Height int

	Frames int   // of an animation; 1 for stills
	Read   int64 // pixels of the inputs, those of an animation times the frames that are shown
}

// An Input is a picture that goes into another.
type Input struct {
	// ID names Bytes: inputs with equal IDs have equal bytes, such as a digest of them sees to. Renderer.Pyramids
	// knows originals by it. Empty means that the input has none, and shares nothing.
	ID string

	// Bytes are read only, and not kept.
	Bytes []byte
}

// Check reads the header of a picture, and refuses what Render would refuse whatever is made of it: what is no picture, and what has
// too many pixels or scans, or too large a colour profile.
func (r *Renderer) Check(data []byte) (Info, error) {
	info, err := Probe(data)
	if err == nil {
		err = r.fits(info, 1)
	}
	if err == nil && info.Format == JPEG {
		err = checkScans(data, limit(r.MaxScans, 100))
	}
	if err == nil {
		_, err = newInput(Input{Bytes: data}, info)
	}
	return info, err
}

// Render is RenderInputs of inputs without an ID.
func (r *Renderer) Render(ctx context.Context, p Plan, inputs ...[]byte) (*Picture, error) {
	named := make([]Input, len(inputs))
	for i, b := range inputs {
		named[i].Bytes = b
	}
	return r.RenderInputs(ctx, p, named)
}

// RenderInputs makes the picture that p describes. inputs are the original and then p.Marks' pictures, in order.
//
// When ctx is done, RenderInputs returns its cause: from the middle of resampling and rotating, of decoding JPEG, PNG, GIF and
// BMP and of encoding JPEG, PNG and GIF, and else as soon as the step or the frame that it is at is finished.
func (r *Renderer) RenderInputs(ctx context.Context, p Plan, inputs []Input) (pic *Picture, err error) {
	j, err := r.prepare(p, inputs)
	if err != nil {
		return nil, err
	}
	defer j.release()
	defer func() {
		if pic != nil {
			pic.Frames, pic.Read = j.pictures(), j.pixels()
		}
	}()
	ctx, j.clock = r.clock(ctx)
	defer j.clock.Stop()
	if p.Format == JSON && !j.looks() {
		return j.describe()
	}
	if err := j.take(ctx); err != nil {
		return nil, err
	}
	if p.Format == JSON {
		return j.describe()
	}
	if j.animated {
		return j.animate(ctx)
	}
	m, err := j.compose(ctx, j.inputs[0].src)
	if err != nil {
		return nil, err
	}
	return j.encode(ctx, m)
}

// prepare works out all that does not depend on pixels.
func (r *Renderer) prepare(p Plan, inputs []Input) (*job, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if n := p.Inputs(); len(inputs) != n {
		return nil, fmt.Errorf("%w: %d inputs, and the plan has %d", ErrPlan, len(inputs), n)
	}
	info, err := Probe(inputs[0].Bytes)
	if err != nil {
		return nil, err
	}
	if p.Format.Data() && p.Width == 0 && p.Height == 0 {
		p.Width, p.Height, p.Fit = dataSize, dataSize, Max
	}
	var shown []int
	decoded, from := 1, codecFor(info.Format)
	if info.Frames > 1 && from.Frames != nil {
		if shown, decoded, err = p.Animation.pick(info.Frames); err != nil {
			return nil, err
		}
	}
	to, err := p.output(info, len(shown) > 1)
	if err != nil {
		return nil, err
	}
	j := &job{Renderer: r, plan: p, to: to, info: info, pose: poseOf(info.Orientation, p.Flip)}
	switch {
	case len(shown) > 1 && to.Animate != nil && p.Format != PNG:
		j.animated, j.sequence = true, shown
	case len(shown) > 0 && p.Animation.picks():
		j.sequence, decoded = shown[:1], shown[0]+1
	default:
		decoded = 1
	}
	if err := r.fits(info, decoded); err != nil {
		return nil, err
	}
	if j.sequence != nil {
		if err := j.readFrames(from, inputs[0].Bytes); err != nil {
			return nil, err
		}
	}
	if p.Orient != 0 {
		j.pose = poseOf(p.Orient, p.Flip)
	}
	j.srcW, j.srcH = j.pose.size(info.Width, info.Height)
	if j.layout, err = p.layout(j.srcW, j.srcH); err != nil {
		return nil, err
	}
	if err := j.sizeFits(j.pictures()); err != nil {
		return nil, err
	}
	original, err := newInput(inputs[0], info)
	if err != nil {
		return nil, err
	}
	j.inputs = append(j.inputs, original)
	for i, in := range inputs[1:] {
		var mark input
		info, err := Probe(in.Bytes)
		if err == nil {
			err = r.fits(info, 1)
		}
		if err == nil {
			mark, err = newInput(in, info)
		}
		if err != nil {
			return nil, p.inputError(i+1, err)
		}
		j.inputs = append(j.inputs, mark)
	}
	j.color = j.coloring()
	j.ownColors()
	return j, nil
}

// readFrames reads the headers of all frames that j shows.
func (j *job) readFrames(from *Codec, data []byte) error {
	err := guard(string(from.Format), func() (err error) {
		j.frames, err = from.Frames(data)
		return err
	})
	if err == nil && len(j.frames.Headers) != j.info.Frames {
		err = fmt.Errorf("%d frames, of %d", len(j.frames.Headers), j.info.Frames)
	}
	if err != nil && !errors.Is(err, ErrDamaged) {
		err = fmt.Errorf("%w: %s: %w", ErrDamaged, from.Format, err)
	}
	return err
}

// output finds the codec of the format to write: to be animated, if it can be.
func (p Plan) output(original Info, animated bool) (*Codec, error) {
	f := p.Format
	if c := codecFor(original.Format); f == Opaque && animated && c.Animate != nil {
		return c, nil
	}
	switch f {
	case SameFormat:
		if c := codecFor(original.Format); c.Encode != nil {
			return c, nil
		}
		f = PNG
	case Opaque:
		f = JPEG
		if original.Alpha || p.Background != nil && p.Background.A < 255 {
			f = PNG // until the pixels are seen
		}
	}
	c := codecFor(f)
	switch {
	case c == nil:
		return nil, fmt.Errorf("%w: no package for format %q is linked in", ErrPlan, f)
	case c.Encode == nil:
		return nil, fmt.Errorf("%w: format %q can be read but not written", ErrPlan, f)
	}
	if animated && c.Animate == nil && c.Animated != "" {
		if a := codecFor(c.Animated); a != nil && a.Animate != nil {
			return a, nil
		}
	}
	return c, nil
}

func limit[T int | int64](v, standard T) T {
	switch {
	case v == 0:
		return standard
	case v < 0:
		return math.MaxInt32
	}
	return v
}

func (r *Renderer) maxPixels() int64 {
	if r.MaxPixels < 0 {
		return math.MaxInt64
	}
	return limit(r.MaxPixels, 50e6)
}

// fits checks an input before any of it is decoded.
func (r *Renderer) fits(info Info, frames int) error {
	if n := limit(r.MaxFrames, 500); frames > n {
		return fmt.Errorf("%w: %d frames, of at most %d", ErrTooLarge, frames, n)
	}
	// Sides are 16 bits and frames 34 bytes each, so the product stays below 2⁶³.
	if n := int64(info.Width) * int64(info.Height) * int64(frames); n > r.maxPixels() {
		return fmt.Errorf("%w: %dx%d pixels in %d frame(s), of at most %d pixels",
			ErrTooLarge, info.Width, info.Height, frames, r.maxPixels())
	}
	return nil
}

// A job is one call of Render with what does not depend on the pixels worked out.
type job struct {
	*Renderer
	plan       Plan
	to         *Codec
	info       Info // of the original
	pose       pose
	srcW, srcH int // of the original, upright
	layout     layout
	color      coloring
	animated   bool
	frames     *Frames // of the original, where frames of it are shown by number
	sequence   []int   // those frames
	inputs     []input // the original, then the marks
	marks      []placedMark
	blended    placedMark  // the input of a Blend
	maskAlpha  *image.Gray // of a Mask that is a picture, as large as the frame
	sight      sight       // what the layout was worked out with
	enhanced   *colours    // what Adjust.Enhance does; nil until the first frame is seen

	leave func() // ends the leave to work; nil where there is none
	clock *clock // runs while there is leave
	arena arena
	frame arena // of one frame of an animation
}

// pictures is how many come out.
func (j *job) pictures() int {
	if j.animated {
		return len(j.sequence)
	}
	return 1
}

// pixels is how many the inputs have.
func (j *job) pixels() (n int64) {
	for i := range j.inputs {
		info := j.inputs[i].info
		size := int64(info.Width) * int64(info.Height)
		if i == 0 {
			size *= int64(j.pictures())
		}
		n += size
	}
	return n
}

func (j *job) sizeFits(frames int) error {
	f := j.layout.out
	n := limit(j.MaxSize, 8192)
	if j.to.MaxSide > 0 {
		n = min(n, j.to.MaxSide)
	}
	if f.X > n || f.Y > n {
		return fmt.Errorf("%w: the result would be %dx%d, of at most %d on a side", ErrTooLarge, f.X, f.Y, n)
	}
	if most := j.MaxEnlarge; most > 0 && !j.to.Format.Data() &&
		(float64(f.X) > math.Ceil(most*float64(j.srcW)) || float64(f.Y) > math.Ceil(most*float64(j.srcH))) {
		return fmt.Errorf("%w: the result would be %dx%d, and may be %v times the original's %dx%d at most", ErrPlan, f.X, f.Y, most, j.srcW, j.srcH)
	}
	if frames > 1 && int64(f.X)*int64(f.Y)*int64(frames) > j.maxPixels() {
		return fmt.Errorf("%w: the result would be %d frames of %dx%d, of at most %d pixels",
			ErrTooLarge, frames, f.X, f.Y, j.maxPixels())
	}
	return nil
}

// denom is the smallest scale, of those that JPEG can be decoded at, that still has enough pixels: the
// last part of a reduction is left to the kernel.
func (j *job) denom() int {
	have := j.reduction()
	for _, denom := range []int{8, 4, 2} {
		if have >= scaledMargin[denom]*float64(denom) {
			return denom
		}
	}
	return 1
}

// reduction is by how much the original is made smaller, on the side where it is less.
func (j *job) reduction() float64 {
	l := j.layout
	have := math.Min(l.x.size/float64(l.w), l.y.size/float64(l.h))
	if _, _, zoom := j.turn(); zoom > 1 {
		have /= zoom
	}
	return have
}

// shown gives what is shown of the upright original, in its pixels, and the size that it is resampled to at first:
// what a rotation turns out of the frame is left out where nothing pads it.
func (j *job) shown() (x, y span, w, h int) {
	l := j.layout
	if w, h, zoom := j.turn(); zoom > 0 && !l.pads() {
		return l.x.middle(float64(w) / (float64(l.w) * zoom)), l.y.middle(float64(h) / (float64(l.h) * zoom)), w, h
	}
	return l.x, l.y, l.w, l.h
}

// plain says that the picture is the original resampled, and no more.
func (j *job) plain() bool { return j.bare() && !j.plan.effects() }

// bare says that nothing is put around the picture or over it, and that it is not turned.
func (j *job) bare() bool {
	p := &j.plan
	return !j.layout.pads() && j.layout.out == j.layout.frame && p.Rotate == 0 && !j.crosses() && p.Blend == nil && p.Mask == nil && p.Border == nil &&
		len(p.Marks) == 0 && p.Text == nil && p.FaceBlur == 0 && p.FacePixelate == 0
}

// rasters is the memory for a picture between the original and the encoder. That of a frame is given back after it.
func (j *job) rasters() *arena {
	if j.animated {
		return &j.frame
	}
	return &j.arena
}

// compose runs the steps of the plan up to encoding.
func (j *job) compose(ctx context.Context, src source) (image.Image, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if err := j.slide(ctx, src); err != nil {
		return nil, err
	}
	l := j.layout
	_, _, zoom := j.turn()
	x, y, w, h := j.shown()
	plain, colors := j.plain(), j.transform(0)
	m, err := j.pose.upright(ctx, j.rasters(), src, x, y, w, h, j.srcW, j.srcH, plain && colors == nil && j.to.Format == JPEG && j.plan.Encoding.Chroma == Chroma420)
	if err != nil {
		return nil, err
	}
	m = recolor(j.rasters(), m, colors)
	if plain {
		return j.ground(m), nil
	}
	if len(j.sight.faces) > 0 && (j.plan.FaceBlur != 0 || j.plan.FacePixelate != 0) {
		if m, err = j.hideFaces(ctx, m, x, y); err != nil {
			return nil, err
		}
	}
	if j.plan.effects() {
		if m, err = j.effects(ctx, m, m == src.m); err != nil {
			return nil, err
		}
	}
	if l.pads() {
		if m, err = j.pad(ctx, m); err != nil {
			return nil, err
		}
	}
	if zoom > 0 {
		if l.pads() {
			w, h, _ = j.turn()
			m, err = scale(ctx, j.rasters(), m, whole(l.frame.X).middle(float64(w)/(float64(l.frame.X)*zoom)),
				whole(l.frame.Y).middle(float64(h)/(float64(l.frame.Y)*zoom)), w, h, false)
			if err != nil {
				return nil, err
			}
		}
		if m, err = rotate(ctx, m, j.plan.Rotate, l.frame.X, l.frame.Y); err != nil {
			return nil, err
		}
	}
	if j.plan.Pivot && j.plan.Rotate != 0 {
		if m, err = pivot(ctx, m, j.plan.Rotate); err != nil {
			return nil, err
		}
	}
	if j.plan.Blend != nil {
		m = j.blendOver(m)
	}
	m = j.surround(m)
	if len(j.marks) > 0 {
		m = j.mark(m)
	}
	return j.ground(m), nil
}

// ground lays the picture over the background where the plan or the format asks for it.
func (j *job) ground(m image.Image) image.Image {
	switch t := m.(type) {
	case *image.YCbCr:
		if j.to.Format != JPEG {
			px, _ := rgb(t)
			return &image.RGBA{Pix: px.Pix, Stride: px.Stride, Rect: px.Rect}
		}
	case *image.NRGBA:
		switch {
		case j.plan.Grid != nil:
			t = owned(t)
			j.checker(t)
			m = opaque(t)
		case j.plan.Background != nil:
			t = owned(t)
			underlay(t, *j.plan.Background)
			m = opaque(t)
		}
		if t, ok := m.(*image.NRGBA); ok && !j.to.Alpha {
			return flatten(owned(t), white)
		}
	}
	return m
}

var white = color.NRGBA{255, 255, 255, 255}

// pad puts the picture in its frame.
func (j *job) pad(ctx context.Context, m image.Image) (image.Image, error) {
	l := j.layout
	src, solid := rgb(m)
	dst := image.NewNRGBA(image.Rectangle{Max: l.frame})
	switch f := j.plan.Fill; {
	case j.plan.Fit == Clamp:
		extend(dst, src, l.at)
	case f != nil && f.Gradient != nil:
		j.gradient(dst, f.Gradient)
		over(dst, src, l.at, 255)
		return opaque(dst), nil
	case f != nil && f.Blur != 0:
		back, err := j.backdrop(ctx, m, f.Blur)
		if err != nil {
			return nil, err
		}
		over(dst, back, image.Point{}, 255)
		over(dst, src, l.at, 255)
		return opaque(dst), nil
	default:
		c := white
		if j.plan.Background != nil {
			c = *j.plan.Background
		}
		asked := f != nil && f.Color != nil
		if asked {
			c = *f.Color
		}
		if c.A < 255 && !asked {
			c = color.NRGBA{} // ground lays it under all of the picture, once
		}
		solid = solid && c.A == 255
		fill(dst, c)
		for y := range l.h { // as it is: what is transparent in it stays so
			copy(dst.Pix[(l.at.Y+y)*dst.Stride+4*l.at.X:], src.Pix[y*src.Stride:][:4*l.w])
		}
	}
	if solid {
		return &image.RGBA{Pix: dst.Pix, Stride: dst.Stride, Rect: dst.Rect}, nil
	}
	return dst, nil
}

// backdrop is the picture stretched to cover the frame, blurred.
func (j *job) backdrop(ctx context.Context, m image.Image, blur float64) (*image.NRGBA, error) {
	l := j.layout
	cover, err := Plan{Width: math.Max(float64(l.frame.X), 1.5), Height: math.Max(float64(l.frame.Y), 1.5), Fit: Cover}.layout(l.w, l.h)
	if err != nil {
		return nil, err
	}
	px, _ := rgb(m)
	wide, err := scale(ctx, j.rasters(), px, cover.x, cover.y, l.frame.X, l.frame.Y, false)
	if err != nil {
		return nil, err
	}
	soft, err := blurred(ctx, j.rasters(), wide, blur/10*j.plan.density())
	if err != nil {
		return nil, err
	}
	back, _ := rgb(soft)
	return back, nil
}

func fill(dst *image.NRGBA, c color.NRGBA) {
	for px := dst.Pix; len(px) >= 4; px = px[4:] {
		px[0], px[1], px[2], px[3] = c.R, c.G, c.B, c.A
	}
}

// extend puts src at a place in dst and repeats its edges around it.
func extend(dst, src *image.NRGBA, at image.Point) {
	w, h := src.Rect.Dx(), src.Rect.Dy()
	for y := range dst.Rect.Dy() {
		from := src.Pix[min(max(y-at.Y, 0), h-1)*src.Stride:][:4*w]
		row := dst.Pix[y*dst.Stride:][:4*dst.Rect.Dx()]
		copy(row[4*at.X:], from)
		for x := range at.X {
			copy(row[4*x:], from[:4])
		}
		for x := at.X + w; x < dst.Rect.Dx(); x++ {
			copy(row[4*x:], from[4*w-4:])
		}
	}
}

func (j *job) encodeOptions() EncodeOptions {
	o := EncodeOptions{Quality: j.plan.Quality, Encoding: j.plan.Encoding}
	if o.Quality == 0 {
		o.Quality = 75
	}
	return o
}

// encode writes m.
func (j *job) encode(ctx context.Context, m image.Image) (*Picture, error) {
	to := j.to
	if j.plan.Format == Opaque && to.Format == PNG {
		if t, ok := m.(*image.NRGBA); ok {
			m = opaque(t)
		}
		if _, transparent := m.(*image.NRGBA); !transparent {
			to = codecFor(JPEG)
		}
	}
	o := j.encodeOptions()
	m, o.Profile = j.profile(m, to)
	out := writer{ctx: ctx}
	if err := guard(string(to.Format), func() error { return to.Encode(ctx, &out, m, o) }); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("writing %s: %w", to.Format, err)
	}
	return &Picture{Bytes: out.Bytes(), Format: to.Format, Width: m.Bounds().Dx(), Height: m.Bounds().Dy()}, nil
}
