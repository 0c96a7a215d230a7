package resize

import (
	"cmp"
	"context"
	"math"
	"math/bits"
	"sync"

	"github.com/imagecdn/imagecdn/internal/icc"
)

// An arena is memory for samples that is given back at once, for the next picture.
type arena struct{ buffers []*[]byte }

// buffers are those not in use, by size class: four for each power of two, so that a fifth is wasted at most.
var buffers [4 * 64]sync.Pool

// sizeClass gives the class of n bytes, and the bytes that its buffers have.
func sizeClass(n int) (class, size int) {
	const least = 4096
	n = max(n, least)
	exp := bits.Len(uint(n-1)) - 1 // 2^exp < n <= 2^(exp+1), but for the least
	quarter := max(1<<exp/4, 1)
	steps := (n - 1<<exp + quarter - 1) / quarter
	return 4*exp + steps, 1<<exp + steps*quarter
}

// alloc gives n bytes, whose contents do not matter. A nil arena gives memory that is not shared.
func (a *arena) alloc(n int) []byte {
	if a == nil {
		return make([]byte, n)
	}
	class, size := sizeClass(n)
	b, _ := buffers[class].Get().(*[]byte)
	if b == nil {
		b = new([]byte)
		*b = make([]byte, size)
	}
	a.buffers = append(a.buffers, b)
	return (*b)[:n]
}

// release gives all of a's memory back. Nothing made in it may be used after.
func (a *arena) release() {
	for _, b := range a.buffers {
		class, _ := sizeClass(len(*b))
		buffers[class].Put(b)
	}
	a.buffers = nil
}

// admit asks for leave to work with about so many bytes.
func (r *Renderer) admit(ctx context.Context, bytes int64, begun bool) (leave func(), err error) {
	if r.Admit == nil {
		return func() {}, nil
	}
	return r.Admit(ctx, bytes, begun)
}

// What a render takes is estimated from its plan and the headers of its inputs, before anything is decoded. The
// estimates are of all that is in use at a time, and rather high than low: TestEstimates holds them to what is taken.

// decodeBytes is the memory that it takes to decode in for n, pixels and all. The original itself is its giver's.
func (r *Renderer) decodeBytes(in *input, n need) int64 {
	const tables = 1 << 20
	bytes := r.pixelBytes(in, n) + tables
	if in.colored && in.kept == nil {
		bytes += 3 * icc.MaxBytes // and what it outgrew while it was inflated
	}
	switch in.info.Format {
	case PNG: // what is compressed is put together from its chunks
		bytes += int64(len(in.Bytes))
	case JPEG:
		// The entropy-coded data is copied without its stuffing. A progressive picture has its coefficients in memory, two
		// bytes each, and eight bytes for each block of 64.
		bytes += int64(len(in.Bytes))
		if in.jpeg.progressive {
			samples := int64(in.info.Width) * int64(in.info.Height) * int64(in.jpeg.samples) / 4
			bytes += samples*2/int64(n.denom*n.denom) + samples/8
		}
	}
	return bytes
}

// pixelBytes is the memory of the pixels that decoding in for n brings, and of what they are made from.
func (r *Renderer) pixelBytes(in *input, n need) int64 {
	if in.info.Format == JPEG {
		h := &in.jpeg
		px := int64(n.region.Dx()/n.denom+16) * int64(n.region.Dy()/n.denom+16)
		bytes := px * int64(h.samples) / 4
		if h.samples == 16 || h.components == 4 { // may be RGB or CMYK, which RGBA is made of
			bytes += 8 * px
		}
		return bytes
	}
	if in.info.Format == WebP && !in.info.Alpha {
		if l, err := lossyOfWebP(in.Bytes); err == nil && l.frame != nil { // three planes, and a row of macroblocks
			return int64(n.region.Dx()+2)*int64(n.region.Dy()+2)*2 + int64(in.info.Width)*40
		}
	}
	codec := codecFor(in.info.Format)
	per := cmp.Or(codec.PixelBytes, 12) // or of a frame, which is no larger
	if codec.PixelBytesOf != nil {
		per = codec.PixelBytesOf(in.Bytes, in.info)
	}
	return int64(in.info.Width) * int64(in.info.Height) * int64(per)
}

// framesBytes is the memory that it takes to show the original's frames: the canvas, what is below a frame, those that are
// kept on the way back, and the headers.
func (j *job) framesBytes() int64 {
	canvases := 2
	if n := len(j.sequence); n > 1 && j.sequence[0] > j.sequence[1] {
		canvases += min(3*stride(j.sequence[0]+1), 2*n)
	}
	return int64(j.info.Width)*int64(j.info.Height)*4*int64(canvases) + int64(j.info.Frames)*256
}

// renderBytes is the memory that j takes beside the pixels of its inputs.
func (j *job) renderBytes() int64 {
	_, _, w, h := j.shown()
	frame := max(int64(w)*int64(h), int64(j.layout.frame.X)*int64(j.layout.frame.Y), int64(j.layout.out.X)*int64(j.layout.out.Y))
	// A row of boxes, as many as a filter has taps.
	bytes := int64(j.srcW+j.srcH)*4*2*32 + 1<<20 + j.plan.effectBytes(int64(w)*int64(h)) + j.lookBytes() + j.overlayBytes()
	switch {
	case j.animated:
		// What is made of a frame is gone before the next; the file grows, by hardly more than a byte for a pixel.
		return bytes + j.framesBytes() + frame*(40+2*int64(len(j.sequence)))
	case j.to.Format == JPEG && j.plain() && !j.recolors():
		return bytes + 3*frame + min(6*frame, 32<<20) + 2*frame // planes, tokens, the file
	case j.frames != nil:
		bytes += j.framesBytes()
	}
	if f := j.plan.Fill; f != nil && f.Blur != 0 && j.layout.pads() {
		bytes += 14 * frame
	}
	if j.plan.Pivot {
		bytes += 8 * frame
	}
	bytes += j.encodeBytes() * frame
	if j.bare() {
		return bytes + 6*frame
	}
	return bytes + 14*frame // a picture for each step of the plan
}

// encodeBytes is what encoding takes for a pixel, the file included.
func (j *job) encodeBytes() int64 {
	switch per := int64(j.to.EncodeBytes); {
	case j.to.Format == WebP && j.plan.Encoding.Lossless:
		return 40
	case per > 0:
		return per
	}
	return 10
}

// lookBytes is what it takes to look at the original before the layout is known.
func (j *job) lookBytes() int64 {
	var bytes int64
	if j.plan.Trim != nil { // all of it in four channels, and chroma of its size
		bytes += int64(j.srcW) * int64(j.srcH) * 7
	}
	if j.plan.seesFaces() {
		bytes += facesIn * facesIn * 12
	}
	if p := &j.plan; p.FaceBlur != 0 || p.FacePixelate != 0 {
		bytes += 16 * int64(j.layout.w) * int64(j.layout.h)
	}
	return bytes
}

// overlayBytes is what the mask, the blend, the marks and the text take, at their sizes.
func (j *job) overlayBytes() int64 {
	p, out := &j.plan, j.layout.out
	whole := int64(out.X) * int64(out.Y)
	var bytes int64
	// What is in a box, and what it is made in.
	add := func(l layout, err error) {
		if most := int64(limit(j.MaxSize, 8192)); err == nil && int64(l.frame.X) <= most && int64(l.frame.Y) <= most { // else it is refused
			bytes += 16*int64(l.frame.X)*int64(l.frame.Y) + 1<<18
		}
	}
	next := 1
	if p.Mask != nil && p.Mask.Shape == PictureMask {
		bytes += 20*int64(j.layout.turned.X)*int64(j.layout.turned.Y) + 1<<18
		next++
	}
	if p.Blend != nil && p.Blend.Color == nil && next < len(j.inputs) {
		size := j.inputs[next].upright()
		add(p.Blend.box(*p, j.layout.fit, j.layout.turned).plan().layout(size.X, size.Y))
		next++
	}
	for i := range p.Marks {
		mk := &p.Marks[i]
		if mk.Text != nil {
			bytes += 24 * whole
			continue
		}
		if next < len(j.inputs) {
			size := j.inputs[next].upright()
			l, err := mk.box(*p, size, out).plan().layout(size.X, size.Y)
			if math.Mod(mk.Rotate, 360) != 0 { // the box that it takes in, twice, and itself with an edge
				side := max(l.frame.X, l.frame.Y)
				bytes += 24 * int64(side) * int64(side)
			}
			add(l, err)
			next++
		}
	}
	if p.Text != nil {
		bytes += 14 * whole
	}
	return bytes
}
