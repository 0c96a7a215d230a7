package resize

import (
	"image"
	"math"
	"sync"
)

// Resampling follows the usual separable scheme (Turkowski, "Filters for Common Resampling Tasks",
// Graphics Gems, 1990): a Lanczos kernel of three lobes, widened by the reduction, over rows and
// then over columns. All of it is integer arithmetic, so results are equal on every machine:
//
//	samples    8 bits
//	weights    Q14, the weights of one output add up to exactly 1<<14
//	between    Q6 (14 bits and a sign, for the overshoot of negative lobes); rows of int16
//
// Pictures with transparency are weighted by alpha on the way in and divided by it on the way out,
// without a rounding to eight bits between, so that colours under transparent pixels never bleed.
const (
	weightBits = 14
	lobes      = 3

	// shrinkAbove is the reduction from which boxes of pixels are averaged first. The kernel then
	// has at least a factor of two left to do, where the difference to the full kernel is beyond
	// 40 dB on photographs (TestPhotographs). The kernel costs six multiplications for each sample of
	// the source, a box one addition.
	shrinkAbove = 4.0
)

// A span is a stretch of one axis, in samples; its ends may fall between samples.
type span struct {
	at, size float64

	// lo and hi bound the samples that may be looked at: the kernel reaches beyond the stretch that
	// is shown, but not beyond the picture, nor beyond what Plan.Rect cut out.
	lo, hi int

	// flip mirrors the stretch.
	flip bool
}

// exact reports whether n samples of s are samples of the source, mirrored or not.
func (s span) exact(n int) bool {
	return s.size == float64(n) && s.at == math.Trunc(s.at) && int(s.at) >= s.lo && int(s.at)+n <= s.hi
}

// scaled gives s in samples that are f times as large, with bounds that include every sample touched.
func (s span) scaled(f float64) span {
	s.at, s.size = s.at/f, s.size/f
	s.lo, s.hi = int(float64(s.lo)/f), int(math.Ceil(float64(s.hi)/f))
	return s
}

// A filter holds, for each output sample, which input samples it is made of.
type filter struct {
	taps   int     // per output
	start  []int   // first input of each output
	weight []int32 // taps of each output, Q14
}

// newFilter makes the filter that takes s to n samples.
func newFilter(s span, n int) filter {
	step := s.size / float64(n)
	scale := max(step, 1)
	support := lobes * scale
	taps := min(int(math.Ceil(2*support)), s.hi-s.lo)
	f := filter{taps: taps, start: make([]int, n), weight: make([]int32, n*taps)}
	w := make([]float64, taps)
	for i := range n {
		// A stretch may end a fraction of a sample beyond the picture, where chroma is subsampled.
		center := min(max(s.at+(float64(i)+0.5)*step, float64(s.lo)), float64(s.hi))
		first := min(max(int(math.Ceil(center-support-0.5)), s.lo), s.hi-taps)
		sum := 0.0
		for k := range w {
			w[k] = lanczos((float64(first+k) + 0.5 - center) / scale)
			sum += w[k]
		}
		// Rounding the running total instead of each weight keeps the sum exact.
		out := i
		if s.flip {
			out = n - 1 - i
		}
		q, total, given := f.weight[out*taps:][:taps], 0.0, int32(0)
		for k, v := range w {
			total += v / sum
			upTo := int32(math.Floor(total*(1<<weightBits) + 0.5))
			q[k] = upTo - given
			given = upTo
		}
		f.start[out] = first
	}
	return f
}

// lanczos is the kernel at x: sinc(x)·sinc(x/3) within three lobes.
func lanczos(x float64) float64 {
	if x < 0 {
		x = -x
	}
	switch {
	case x >= lobes:
		return 0
	case x < 1e-9:
		return 1
	}
	x *= math.Pi
	return lobes * math.Sin(x) * math.Sin(x/lobes) / (x * x)
}

// A raster is a rectangle of interleaved 8-bit samples.
type raster struct {
	pix    []uint8
	stride int // bytes from one row to the next
	w, h   int // pixels
	ch     int // channels: 1, or 4 for red, green, blue, alpha
	alpha  bool
}

func newRaster(w, h, ch int) raster {
	return raster{pix: make([]uint8, w*h*ch), stride: w * ch, w: w, h: h, ch: ch}
}

func (r raster) row(y int) []uint8 { return r.pix[y*r.stride:][: r.w*r.ch : r.w*r.ch] }

// scratch is the working memory of one resampling, kept for the next.
type scratch struct {
	rows []int16
	acc  []int32
	sums []uint64
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// grow gives a slice of n elements, in buf when it is large enough. The elements are not cleared.
func grow[T any](buf []T, n int) []T {
	if cap(buf) < n {
		return make([]T, n)
	}
	return buf[:n]
}

// resample maps the spans x and y of src to all of dst.
func resample(dst, src raster, x, y span) {
	if x.exact(dst.w) && y.exact(dst.h) {
		for i := range dst.h {
			from := i
			if y.flip {
				from = dst.h - 1 - i
			}
			row := src.row(int(y.at) + from)[int(x.at)*src.ch:][:dst.w*src.ch]
			if x.flip {
				mirror(dst.row(i), row, src.ch)
			} else {
				copy(dst.row(i), row)
			}
		}
		return
	}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)

	kx, ky := shrinkFactor(x.size/float64(dst.w)), shrinkFactor(y.size/float64(dst.h))
	if kx > 1 || ky > 1 {
		src, x, y = shrink(s, src, x, y, kx, ky)
	}
	s.convolve(dst, src, newFilter(x, dst.w), newFilter(y, dst.h), y.flip)
}

// mirror copies the pixels of src in the other order.
func mirror(dst, src []uint8, ch int) {
	for i, j := 0, len(src)-ch; j >= 0; i, j = i+ch, j-ch {
		copy(dst[i:i+ch], src[j:j+ch])
	}
}

func shrinkFactor(reduction float64) int {
	if reduction < shrinkAbove {
		return 1
	}
	return int(reduction / (shrinkAbove / 2))
}

// convolve runs the two filters. Rows are filtered across as they are needed and kept in a ring that
// holds as many as the filter down has taps.
func (s *scratch) convolve(dst, src raster, fx, fy filter, flip bool) {
	n := dst.w * dst.ch
	s.rows = grow(s.rows, n*fy.taps)
	s.acc = grow(s.acc, n)
	ring := func(y int) []int16 { return s.rows[(y%fy.taps)*n:][:n:n] }

	next := 0 // the first row that has not been filtered across
	for i := range dst.h {
		y := i
		if flip { // so that source rows are visited in order
			y = dst.h - 1 - i
		}
		first := fy.start[y]
		for next = max(next, first); next < first+fy.taps; next++ {
			switch {
			case dst.ch == 1:
				across1(ring(next), src.row(next), fx)
			case src.alpha:
				acrossAlpha(ring(next), src.row(next), fx)
			default:
				across4(ring(next), src.row(next), fx)
			}
		}

		clear(s.acc)
		w := fy.weight[y*fy.taps:][:fy.taps]
		k := 0
		for ; k+4 <= len(w); k += 4 {
			down4(s.acc, ring(first+k), ring(first+k+1), ring(first+k+2), ring(first+k+3), w[k:])
		}
		for ; k < len(w); k++ {
			down1(s.acc, ring(first+k), w[k])
		}
		if src.alpha {
			storeAlpha(dst.row(y), s.acc)
		} else {
			store(dst.row(y), s.acc)
		}
	}
}

// across1 filters a row of one channel: Q0 in, Q6 out.
func across1(dst []int16, src []uint8, f filter) {
	for i := range dst {
		w := f.weight[i*f.taps:][:f.taps]
		px := src[f.start[i]:][:len(w)]
		acc := int32(1 << (weightBits - 7))
		for k, v := range px {
			acc += w[k] * int32(v)
		}
		dst[i] = int16(acc >> (weightBits - 6))
	}
}

// across4 filters a row of four channels: Q0 in, Q6 out.
func across4(dst []int16, src []uint8, f filter) {
	const half = 1 << (weightBits - 7)
	for i := range len(dst) / 4 {
		w := f.weight[i*f.taps:][:f.taps]
		px := src[4*f.start[i]:][:4*len(w)]
		r, g, b, a := int32(half), int32(half), int32(half), int32(half)
		for _, v := range w {
			r += v * int32(px[0])
			g += v * int32(px[1])
			b += v * int32(px[2])
			a += v * int32(px[3])
			px = px[4:]
		}
		out := dst[4*i:][:4]
		out[0] = int16(r >> (weightBits - 6))
		out[1] = int16(g >> (weightBits - 6))
		out[2] = int16(b >> (weightBits - 6))
		out[3] = int16(a >> (weightBits - 6))
	}
}

// acrossAlpha filters a row whose colours are weighted by alpha. Full alpha and full colour come out
// as 255·255/4: the sum of a row of them is below 2³¹, overshoot included.
func acrossAlpha(dst []int16, src []uint8, f filter) {
	const half = 1 << (weightBits + 1)
	for i := range len(dst) / 4 {
		w := f.weight[i*f.taps:][:f.taps]
		px := src[4*f.start[i]:][:4*len(w)]
		r, g, b, a := int32(half), int32(half), int32(half), int32(half)
		for _, v := range w {
			va := v * int32(px[3])
			r += va * int32(px[0])
			g += va * int32(px[1])
			b += va * int32(px[2])
			a += va * 255
			px = px[4:]
		}
		out := dst[4*i:][:4]
		out[0] = int16(r >> (weightBits + 2))
		out[1] = int16(g >> (weightBits + 2))
		out[2] = int16(b >> (weightBits + 2))
		out[3] = int16(a >> (weightBits + 2))
	}
}

// down4 adds four weighted rows to acc.
func down4(acc []int32, r0, r1, r2, r3 []int16, w []int32) {
	w0, w1, w2, w3 := w[0], w[1], w[2], w[3]
	r0, r1, r2, r3 = r0[:len(acc)], r1[:len(acc)], r2[:len(acc)], r3[:len(acc)]
	for i := range acc {
		acc[i] += w0*int32(r0[i]) + w1*int32(r1[i]) + w2*int32(r2[i]) + w3*int32(r3[i])
	}
}

func down1(acc []int32, r []int16, w int32) {
	r = r[:len(acc)]
	for i := range acc {
		acc[i] += w * int32(r[i])
	}
}

// store rounds Q20 to samples.
func store(dst []uint8, acc []int32) {
	const shift = weightBits + 6
	acc = acc[:len(dst)]
	for i := range dst {
		v := (acc[i] + 1<<(shift-1)) >> shift
		if uint32(v) > 255 {
			v = ^(v >> 31) & 255 // below: 0, above: 255
		}
		dst[i] = uint8(v)
	}
}

// storeAlpha divides colours by alpha and rounds both to samples.
func storeAlpha(dst []uint8, acc []int32) {
	const full = (255 * 255 >> 2) << weightBits // as acrossAlpha left it, times the weights down
	for i := 0; i+4 <= len(dst); i += 4 {
		a := min(acc[i+3], full)
		alpha := uint8((int64(max(a, 0))*255 + full/2) / full)
		dst[i+3] = alpha
		if alpha == 0 {
			dst[i], dst[i+1], dst[i+2] = 0, 0, 0
			continue
		}
		for c := range 3 {
			v := int64(min(max(acc[i+c], 0), a))
			dst[i+c] = uint8((v*255 + int64(a)/2) / int64(a))
		}
	}
}

// shrink averages boxes of kx by ky samples, over as much of src as the kernel will look at after,
// and gives the spans in terms of the result.
func shrink(s *scratch, src raster, x, y span, kx, ky int) (raster, span, span) {
	fit := func(s span, k, size int) (lo, n int, out span) {
		// What is left to do is a reduction by less than shrinkAbove, so this is as far as the kernel
		// looks; the boxes begin where the stretch does.
		reach := int(lobes*shrinkAbove) * k
		lo = max(s.lo, int(s.at)-reach)
		hi := min(s.hi, int(math.Ceil(s.at+s.size))+reach)
		n = (hi - lo + k - 1) / k
		s.at, s.size = (s.at-float64(lo))/float64(k), s.size/float64(k)
		s.lo, s.hi = 0, n
		return lo, n, s
	}
	x0, w, x := fit(x, kx, src.w)
	y0, h, y := fit(y, ky, src.h)
	dst := newRaster(w, h, src.ch)
	dst.alpha = src.alpha
	s.sums = grow(s.sums, w*src.ch)
	for j := range h {
		clear(s.sums)
		top := y0 + j*ky
		bottom := min(top+ky, src.h)
		for yy := top; yy < bottom; yy++ {
			row := src.row(yy)[x0*src.ch:]
			switch {
			case src.ch == 1:
				sum1(s.sums, row, kx)
			case src.alpha:
				sumAlpha(s.sums, row, kx)
			default:
				sum4(s.sums, row, kx)
			}
		}
		out := dst.row(j)
		for i := range w {
			count := uint64(bottom-top) * uint64(min(kx, src.w-x0-i*kx))
			if src.alpha {
				sum := s.sums[4*i:][:4]
				half := sum[3] / 2
				out[4*i+3] = uint8((sum[3] + count/2) / count)
				if sum[3] > 0 {
					for c := range 3 {
						out[4*i+c] = uint8((sum[c] + half) / sum[3])
					}
				}
				continue
			}
			for c := range src.ch {
				out[i*src.ch+c] = uint8((s.sums[i*src.ch+c] + count/2) / count)
			}
		}
	}
	return dst, x, y
}

func sum1(sums []uint64, row []uint8, k int) {
	for i := range sums {
		n := min(k, len(row))
		t := uint64(0)
		for _, v := range row[:n] {
			t += uint64(v)
		}
		sums[i] += t
		row = row[n:]
	}
}

func sum4(sums []uint64, row []uint8, k int) {
	for i := 0; i+4 <= len(sums); i += 4 {
		n := min(4*k, len(row))
		var r, g, b, a uint64
		for px := row[:n]; len(px) >= 4; px = px[4:] {
			r += uint64(px[0])
			g += uint64(px[1])
			b += uint64(px[2])
			a += uint64(px[3])
		}
		sums[i] += r
		sums[i+1] += g
		sums[i+2] += b
		sums[i+3] += a
		row = row[n:]
	}
}

// sumAlpha adds up colours weighted by alpha, and alpha.
func sumAlpha(sums []uint64, row []uint8, k int) {
	for i := 0; i+4 <= len(sums); i += 4 {
		n := min(4*k, len(row))
		var r, g, b, a uint64
		for px := row[:n]; len(px) >= 4; px = px[4:] {
			w := uint64(px[3])
			r += w * uint64(px[0])
			g += w * uint64(px[1])
			b += w * uint64(px[2])
			a += w
		}
		sums[i] += r
		sums[i+1] += g
		sums[i+2] += b
		sums[i+3] += a
		row = row[n:]
	}
}

// transpose swaps rows and columns.
func transpose(src raster) raster {
	dst := newRaster(src.h, src.w, src.ch)
	dst.alpha = src.alpha
	for y := range src.h {
		row := src.row(y)
		if src.ch == 1 {
			for x, v := range row {
				dst.pix[x*dst.stride+y] = v
			}
			continue
		}
		for x := range src.w {
			copy(dst.pix[x*dst.stride+4*y:][:4], row[4*x:])
		}
	}
	return dst
}

// planes gives the rasters of m: one for Gray, RGBA (opaque) and NRGBA, three for YCbCr.
func planes(m image.Image) []raster {
	switch m := m.(type) {
	case *image.Gray:
		return []raster{{m.Pix, m.Stride, m.Rect.Dx(), m.Rect.Dy(), 1, false}}
	case *image.RGBA:
		return []raster{{m.Pix, m.Stride, m.Rect.Dx(), m.Rect.Dy(), 4, false}}
	case *image.NRGBA:
		return []raster{{m.Pix, m.Stride, m.Rect.Dx(), m.Rect.Dy(), 4, true}}
	case *image.YCbCr:
		w, h := m.Rect.Dx(), m.Rect.Dy()
		rx, ry := subsampling(m.SubsampleRatio)
		cw, ch := (w+rx-1)/rx, (h+ry-1)/ry
		return []raster{
			{m.Y, m.YStride, w, h, 1, false},
			{m.Cb, m.CStride, cw, ch, 1, false},
			{m.Cr, m.CStride, cw, ch, 1, false},
		}
	}
	panic("resize: a picture of an unexpected type") // standard gives only these
}

// subsampling says how many luma samples share one chroma sample, across and down.
func subsampling(r image.YCbCrSubsampleRatio) (x, y int) {
	switch r {
	case image.YCbCrSubsampleRatio422:
		return 2, 1
	case image.YCbCrSubsampleRatio420:
		return 2, 2
	case image.YCbCrSubsampleRatio440:
		return 1, 2
	case image.YCbCrSubsampleRatio411:
		return 4, 1
	case image.YCbCrSubsampleRatio410:
		return 4, 2
	}
	return 1, 1
}
