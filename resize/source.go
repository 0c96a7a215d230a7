package resize

import (
	"context"
	"errors"
	"fmt"
	"image"

	"github.com/imagecdn/imagecdn/internal/icc"
)

// A need is what a job wants of an original's pixels: a part, and how small it may be.
type need struct {
	denom  int             // the size may be divided by this: 1, 2, 4 or 8
	region image.Rectangle // in pixels of the stored original
}

// covers reports whether pixels decoded for n serve for m.
func (n need) covers(m need) bool { return n.denom <= m.denom && m.region.In(n.region) }

// with gives what serves for both.
func (n need) with(m need) need {
	return need{min(n.denom, m.denom), n.region.Union(m.region)}
}

// A source is decoded pixels: of all of an original or of a part, at 1/denom of its size.
type source struct {
	m     image.Image // as standard has it
	denom int
	at    image.Point // where in all of the original m is, in pixels of that size
	size  image.Point // of all of the original, at that size
}

// all is a picture that is no part of any other.
func all(m image.Image) source { return source{m: m, denom: 1, size: m.Bounds().Size()} }

// in gives s, a stretch of one side of an original, in the samples of a source: n of them from at, of size.
func (s span) in(denom, at, n, size int) span {
	if denom > 1 {
		s = s.scaled(float64(denom))
		s.hi = min(s.hi, size)
	}
	s.at -= float64(at)
	s.lo, s.hi = max(s.lo-at, 0), min(s.hi-at, n)
	return s
}

// touches gives the samples that n outputs of s are made from, of all size samples, however chroma is subsampled.
// What resample makes from these alone is what it makes from all.
func (s span) touches(n, size int) (lo, hi int) {
	lo, hi = size, 0
	for _, ratio := range []int{1, 2, 4} {
		for _, out := range []int{n, (n + 1) / 2} {
			c := chroma(s, ratio, n, out)
			c.hi = min(c.hi, (size+ratio-1)/ratio)
			t, _ := c.around(out, shrinkFactor(c.size/float64(out)))
			lo, hi = min(lo, ratio*t.lo), max(hi, ratio*(t.lo+t.size))
		}
	}
	return lo, min(hi, size)
}

// An input is an Input of a job.
type input struct {
	Input
	info    Info
	jpeg    jpegHeader // of a JPEG
	colored bool       // it has an ICC profile that can be read
	colors  icc.Space  // what that is for; zero where there is none
	kept    []byte     // that profile, where it is small
	settled bool       // its colours are the output's already
	pyramid *pyramid   // pinned; nil where the job decodes for itself
	src     source
}

func newInput(in Input, info Info) (input, error) {
	x := input{Input: in, info: info}
	if info.Format == JPEG {
		x.jpeg, _ = readJPEG(in.Bytes) // as Probe has read it
	}
	return x, x.readColors()
}

func (in *input) bounds() image.Rectangle { return image.Rect(0, 0, in.info.Width, in.info.Height) }

// fitsMemory checks what j takes beside decoding, and that. It counts decodings that others may have done already, so that whether a
// picture can be made does not depend on who has asked for what.
func (j *job) fitsMemory(bytes int64) error {
	if j.MaxMemory <= 0 {
		return nil
	}
	for i := range j.inputs {
		bytes += j.decodeBytes(&j.inputs[i], j.needOf(i))
	}
	if bytes > j.MaxMemory {
		return fmt.Errorf("%w: making the picture would take about %d MiB of memory, of at most %d MiB", ErrTooLarge, bytes>>20+1, j.MaxMemory>>20)
	}
	return nil
}

// take gets leave to work, and then the pixels of the inputs.
func (j *job) take(ctx context.Context) error {
	begun, asked := false, j.renderBytes()
	if err := j.fitsMemory(asked); err != nil {
		return err
	}
	unshared := false
	for i := len(j.inputs) - 1; i >= 0; i-- {
		in := &j.inputs[i]
		if j.Pyramids == nil || in.ID == "" || i == 0 && j.frames != nil {
			continue
		}
		// Who waits for a decoding has no leave, which that may be waiting for.
		j.giveBack()
		var err error
		if in.pyramid, j.leave, err = j.Pyramids.get(ctx, j.Renderer, in, j.needOf(i), j.renderBytes()); err != nil {
			return j.inputError(i, err)
		}
		shared := in.pyramid != nil
		begun, unshared = begun || shared, unshared || !shared
	}
	if unshared { // which is not part of the leave that came with another's decoding
		j.giveBack()
	}
	if j.leave == nil {
		bytes := j.renderBytes()
		for i := range j.inputs {
			if in := &j.inputs[i]; in.pyramid == nil {
				bytes += j.decodeBytes(in, j.needOf(i))
			}
		}
		var err error
		if j.leave, err = j.admit(ctx, bytes, begun); err != nil {
			return err
		}
	}
	j.clock.start()
	for i := len(j.inputs) - 1; i >= 0; i-- {
		in := &j.inputs[i]
		var err error
		switch {
		case in.pyramid != nil:
			in.src, err = j.Pyramids.level(ctx, in.pyramid, j.reductionOf(i))
		case i == 0 && j.animated: // frame by frame, later
		case i == 0 && j.frames != nil:
			in.src, err = j.still(ctx)
		default:
			in.src, err = j.decode(ctx, in.Bytes, in.info, j.needOf(i), j.arena.alloc)
		}
		if err != nil {
			return j.inputError(i, err)
		}
	}
	if err := j.look(ctx); err != nil {
		return err
	}
	if err := j.takeMore(ctx, asked); err != nil {
		return err
	}
	return j.placeMarks(ctx)
}

// takeMore asks again where what an original shows has made the picture larger than it was thought to be, asked bytes.
func (j *job) takeMore(ctx context.Context, asked int64) (err error) {
	bytes := j.renderBytes()
	if bytes <= asked {
		return nil
	}
	if err := j.fitsMemory(bytes); err != nil {
		return err
	}
	// Leave for all of it, after that for a part is given back: two that wait for each other's rest would wait for ever.
	for i := range j.inputs {
		if in := &j.inputs[i]; in.pyramid == nil {
			bytes += j.decodeBytes(in, j.needOf(i))
		}
	}
	j.giveBack()
	j.leave, err = j.admit(ctx, bytes, true)
	return err
}

// release ends j's use of what it shares, and its leave.
func (j *job) release() {
	j.arena.release()
	for i := range j.inputs {
		if h := j.inputs[i].pyramid; h != nil {
			j.Pyramids.unpin(h)
		}
	}
	j.giveBack()
}

// giveBack ends j's leave to work, where it has that.
func (j *job) giveBack() {
	if j.leave != nil {
		j.clock.stand()
		j.leave()
		j.leave = nil
	}
}

// An InputError is an error about an input that is not the original.
type InputError struct {
	Index int // in the inputs of RenderInputs
	Name  string
	Err   error
}

func (e *InputError) Error() string { return e.Name + ": " + e.Err.Error() }
func (e *InputError) Unwrap() error { return e.Err }

// inputError says which input err is about, where it is about another than the original.
func (j *job) inputError(i int, err error) error { return j.plan.inputError(i, err) }

func (p Plan) inputError(i int, err error) error {
	if i == 0 {
		return err
	}
	return &InputError{i, p.inputName(i), err}
}

// needOf is what j wants of an input: of a mark everything.
func (j *job) needOf(i int) need {
	if i > 0 {
		return need{1, j.inputs[i].bounds()}
	}
	return j.need()
}

// reductionOf is by how much an input is made smaller: a mark is taken as it is.
func (j *job) reductionOf(i int) float64 {
	if i > 0 || j.looks() {
		return 1
	}
	return j.reduction()
}

// need is what j wants of its original.
func (j *job) need() need {
	n := need{j.denom(), image.Rect(0, 0, j.info.Width, j.info.Height)}
	if j.looks() {
		return need{1, n.region}
	}
	var across, down [2]int
	x, y, w, h := j.shown()
	if l := j.layout; l.slides() { // all that could be shown is looked at
		x, y = j.pose.stored(l.x, l.y, j.srcW, j.srcH)
		across, down = [2]int{x.lo, x.hi}, [2]int{y.lo, y.hi}
	} else {
		x, y = j.pose.stored(x, y, j.srcW, j.srcH)
		w, h = j.pose.size(w, h)
		side := func(s span, out, size int) [2]int {
			small := (size + n.denom - 1) / n.denom
			lo, hi := s.in(n.denom, 0, small, small).touches(out, small)
			return [2]int{lo * n.denom, hi * n.denom}
		}
		across, down = side(x, w, j.info.Width), side(y, h, j.info.Height)
	}
	n.region = n.region.Intersect(image.Rect(across[0], down[0], across[1], down[1]))
	return n
}

// decode gives pixels of data that serve for n, in memory from alloc.
func (r *Renderer) decode(ctx context.Context, data []byte, info Info, n need, alloc func(int) []byte) (source, error) {
	if err := context.Cause(ctx); err != nil {
		return source{}, err
	}
	if info.Format == JPEG {
		if err := checkScans(data, limit(r.MaxScans, 100)); err != nil {
			return source{}, err
		}
	}
	o := DecodeOptions{Denom: n.denom, Alloc: alloc}
	if n.region != image.Rect(0, 0, info.Width, info.Height) {
		o.Region = n.region
	}
	var src source
	err := guard(string(info.Format), func() error {
		m, err := codecFor(info.Format).Decode(ctx, data, o)
		if err != nil {
			return err
		}
		// Checked before standard looks at the pixels, and whatever the codec: a header may say one
		// size and the data another.
		b := m.Bounds()
		for _, denom := range []int{1, n.denom} {
			size := image.Pt((info.Width+denom-1)/denom, (info.Height+denom-1)/denom)
			part := image.Rect(n.region.Min.X/denom, n.region.Min.Y/denom, (n.region.Max.X+denom-1)/denom, (n.region.Max.Y+denom-1)/denom)
			switch {
			case b.Size() == size:
				src = source{standard(atOrigin(m)), denom, image.Point{}, size}
				return nil
			case !o.Region.Empty() && part.In(b) && b.In(image.Rectangle{Max: size}):
				src = source{standard(atOrigin(m)), denom, b.Min, size}
				return nil
			}
		}
		return fmt.Errorf("the header says %dx%d, the data %dx%d", info.Width, info.Height, b.Dx(), b.Dy())
	})
	switch {
	case err == nil:
		return src, nil
	case errors.Is(context.Cause(ctx), ErrTooSlow): // whatever is made of it
		return source{}, fmt.Errorf("%w: %w", ErrDamaged, context.Cause(ctx))
	case ctx.Err() != nil:
		return source{}, context.Cause(ctx)
	case errors.Is(err, ErrUnsupported), errors.Is(err, ErrDamaged), errors.Is(err, ErrTooLarge):
		return source{}, err
	}
	return source{}, fmt.Errorf("%w: %s: %w", ErrDamaged, info.Format, err)
}

// atOrigin gives m with bounds that begin at the origin, where it is of a type that codecs cut pictures out as.
func atOrigin(m image.Image) image.Image {
	min := m.Bounds().Min
	if min == (image.Point{}) {
		return m
	}
	switch m := m.(type) {
	case *image.Gray:
		c := *m
		c.Rect = c.Rect.Sub(min)
		return &c
	case *image.YCbCr:
		c := *m // which begins at whole samples of chroma
		c.Rect = c.Rect.Sub(min)
		return &c
	case *image.RGBA:
		c := *m
		c.Rect = c.Rect.Sub(min)
		return &c
	case *image.CMYK:
		c := *m
		c.Rect = c.Rect.Sub(min)
		return &c
	}
	return m
}
