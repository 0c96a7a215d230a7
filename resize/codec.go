package resize

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"maps"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// A Codec reads and writes one format. Those of this package are registered already; resize/avif
// registers one more. All functions may be called by many goroutines at once, get bytes of strangers,
// and may panic: a panic becomes a [PanicError].
type Codec struct {
	// Format is the name in Plan.Format and Info.Format. A codec registered later replaces one of the
	// same name.
	Format Format

	// ContentType is the media type, such as "image/png".
	ContentType string

	// Match reports whether data, which may be short, begins a picture of this format.
	Match func(data []byte) bool

	// Probe reads the header of data, for which Match holds, in time and memory that do not depend on
	// the pixels. Its errors wrap ErrUnsupported or ErrDamaged.
	Probe func(data []byte) (Info, error)

	// Decode gives the pixels of data, for which Probe succeeded, as stored: of Info's size, or as little of that
	// as o allows. Of an animation it gives the first frame. Any error that is not ctx's counts as ErrDamaged.
	Decode func(ctx context.Context, data []byte, o DecodeOptions) (image.Image, error)

	// Encode writes m as *image.Gray, as *image.RGBA without transparency, or as *image.NRGBA (and, for
	// JPEG alone, as *image.YCbCr), as o says. When ctx is done it returns ctx's cause as soon as it
	// can; w's Write gives that cause, too. Nil means that the format is read only.
	Encode func(ctx context.Context, w io.Writer, m image.Image, o EncodeOptions) error

	// Profile gives the ICC profile that the pixels of data, for which Probe succeeded, are by, as the file has it or made from what
	// it says of colours, and nil for sRGB. It may be part of data. Of one of more than 4 MB it gives that much and a byte at least:
	// the picture is refused. Nil means that the format has none.
	Profile func(data []byte) []byte

	// Frames reads the headers of data's frames, where Info has more than one: all that a render may be refused for, and no
	// pixels. Any error counts as ErrDamaged. Nil means that only the first frame can be read.
	Frames func(data []byte) (*Frames, error)

	// Animate begins an animation of a size that plays so often, 0 for ever, which is written to w as o says. Errors are as
	// those of Encode. Nil means that only stills can be written.
	Animate func(ctx context.Context, w io.Writer, size image.Point, plays int, o EncodeOptions) (Animator, error)

	// Animated is the format that is written instead of this one where the picture is animated and Animate is nil. Empty means
	// none: this format then shows the first frame.
	Animated Format

	// MaxSide is the largest width or height that Encode takes. Zero means that Renderer.MaxSize decides.
	MaxSide int

	// PixelBytes is the memory that Decode takes for a pixel at most, of those that are in use at a time. Zero means 12.
	PixelBytes int

	// PixelBytesOf is PixelBytes where pictures of a format differ: of data, for which Probe gave info. Nil means PixelBytes.
	PixelBytesOf func(data []byte, info Info) int

	// EncodeBytes is the memory that Encode takes for a pixel at most, of that which is in use at a time: with its copies of the picture, and the file.
	// Zero means 10.
	EncodeBytes int

	// Alpha says that Encode keeps transparency.
	Alpha bool

	// Profiles says that Encode writes EncodeOptions.Profile.
	Profiles bool
}

// DecodeOptions say what a Codec may leave out. It may as well ignore them.
type DecodeOptions struct {
	// Denom is 1, 2, 4 or 8. The picture may come at 1/Denom of its size, rounded up.
	Denom int

	// Region is the part that matters, in pixels of the full size. A picture that has other bounds than all has
	// those of the part that it covers, which begin at whole samples of chroma. Empty means all.
	Region image.Rectangle

	// Alloc gives memory for samples, which is used again once nobody uses the picture.
	Alloc func(n int) []byte
}

// EncodeOptions say how a Codec writes. What its format has no word for it ignores.
type EncodeOptions struct {
	// Quality is 1 to 100, for formats that lose something.
	Quality int

	// Encoding is the plan's.
	Encoding Encoding

	// Profile is the ICC profile to write: of gray for *image.Gray, else of RGB, and the picture is then written as what its profile
	// is for. Empty means none.
	Profile []byte
}

// Info is what the header of a picture says.
type Info struct {
	Format        Format
	Width, Height int  // as stored: before Orientation
	Orientation   int  // 1 to 8 as EXIF has them; 1 where the file says nothing or nonsense
	Frames        int  // of an animation; 1 for stills
	Alpha         bool // whether it may have transparent pixels
}

// registry maps formats to codecs. It is replaced, never changed, so that readers need no lock.
var (
	registry   atomic.Pointer[map[Format]*Codec]
	registryMu sync.Mutex // guards the replacing
)

// Register makes c known to every Renderer. It is meant to be called from init.
func Register(c Codec) {
	registryMu.Lock()
	defer registryMu.Unlock()
	next := map[Format]*Codec{}
	if old := registry.Load(); old != nil {
		maps.Copy(next, *old)
	}
	next[c.Format] = &c
	registry.Store(&next)
}

func codecFor(f Format) *Codec { return (*registry.Load())[f] }

// ContentType gives the media type of f, or "application/octet-stream" for a format that nobody
// registered.
func (f Format) ContentType() string {
	if c := codecFor(f); c != nil {
		return c.ContentType
	}
	return "application/octet-stream"
}

// Writable reports whether a codec is registered that writes f.
func (f Format) Writable() bool {
	c := codecFor(f)
	return c != nil && c.Encode != nil
}

// Probe reads the header of a picture, never its pixels. The format is found by content, never by
// name. Errors wrap ErrUnsupported, ErrDamaged or ErrTooLarge.
func Probe(data []byte) (Info, error) {
	c, err := match(data)
	if err != nil {
		return Info{}, err
	}
	var info Info
	err = guard(string(c.Format), func() (err error) {
		info, err = c.Probe(data)
		return err
	})
	if err != nil {
		return Info{}, err
	}
	// 65535 is the most that JPEG and GIF can say, and far beyond what anybody shows.
	if info.Width < 1 || info.Height < 1 || info.Width > 65535 || info.Height > 65535 {
		return Info{}, fmt.Errorf("%w: %s of %dx%d pixels", ErrDamaged, info.Format, info.Width, info.Height)
	}
	if info.Frames > maxFrames {
		return Info{}, fmt.Errorf("%w: %s of %d frames, of at most %d", ErrTooLarge, info.Format, info.Frames, maxFrames)
	}
	if info.Orientation < 1 || info.Orientation > 8 {
		info.Orientation = 1
	}
	info.Frames = max(info.Frames, 1)
	return info, nil
}

// maxFrames is how many frames a file may have, whichever are shown: their headers take memory before any is picked. At 50 a
// second they are more than three minutes.
const maxFrames = 10_000

func match(data []byte) (*Codec, error) {
	for _, c := range *registry.Load() {
		if c.Match(data) {
			return c, nil
		}
	}
	switch {
	case len(data) == 0:
		return nil, fmt.Errorf("%w: no bytes", ErrUnsupported)
	case bytes.HasPrefix(data, []byte("\xff\xd8")):
		return nil, fmt.Errorf("%w: JPEG cut off", ErrDamaged)
	}
	// The first word is enough to tell an error page from an odd format.
	start := data[:min(len(data), 16)]
	if i := bytes.IndexAny(start, " \r\n"); i > 0 {
		start = start[:i]
	}
	return nil, fmt.Errorf("%w: starts with %q", ErrUnsupported, start)
}

// A PanicError is the panic of a codec, which wraps ErrDamaged: decoders are given bytes of strangers. It is a fault of the codec
// all the same, of which somebody should be told.
type PanicError struct {
	Codec string
	Value any
	Stack []byte
}

// Error tells a client no more than that the picture is damaged.
func (e *PanicError) Error() string { return fmt.Sprintf("%v: %s cannot be read", ErrDamaged, e.Codec) }
func (e *PanicError) Unwrap() error { return ErrDamaged }

// guard runs f and turns a panic into a PanicError.
func guard(what string, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{what, r, debug.Stack()}
		}
	}()
	return f()
}

// errCut says that a file ends in the middle of something.
var errCut = errors.New("cut off")

// writer collects bytes until ctx is done. Encoders hand over a few kilobytes at a time, and stop where that fails.
type writer struct {
	bytes.Buffer
	ctx context.Context
}

func (w *writer) Write(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	return w.Buffer.Write(p)
}

// reader gives data until ctx is done. Decoders pull a few kilobytes at a time, so one that is busy
// with a hostile file stops soon after.
type reader struct {
	ctx  context.Context
	data []byte
}

func (r *reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}
