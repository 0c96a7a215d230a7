package resize

import (
	"context"
	"encoding/binary"
	"image"
	"math"
	"sync"

	"github.com/imagecdn/imagecdn/internal/kernel"
)

// Resampling follows the usual separable scheme (Turkowski, "Filters for Common Resampling Tasks",
// Graphics Gems, 1990): a Lanczos kernel of three lobes, widened by the reduction, over columns and then
// over rows. All sums are of integers, so that every machine comes to the same from the same weights:
//
//	samples    8 bits
//	weights    Q14, the weights of one output add up to exactly 1<<14
//	between    Q6 in 16 bits (14 bits and a sign, for the overshoot of negative lobes)
//
// A row of the output is made at once: the rows of the source that it needs are added up, which is the larger
// part of the work and the one that wide registers are made for, and the sum is filtered across.
//
// Pictures with transparency are weighted by alpha on the way in and divided by it on the way out,
// without a rounding to eight bits between, so that colours under transparent pixels never bleed.
const (
	weightBits = 14
	lobes      = 3

	// shrinkAbove is the reduction from which boxes of pixels are averaged first. The kernel then
	// has at least a factor of half of it left to do, where SSIM is 0.995 and more against the full kernel
	// (TestQuality); with a factor of two left it is 0.993. The kernel costs six multiplications for each
	// sample of the source, a box one.
	shrinkAbove = 4.5

	// largestBox bounds the averages, whose weights would else lose precision.
	largestBox = 128
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

// A stretch is the part of one axis of a raster that is resampled, in boxes of k samples.
type stretch struct {
	lo, size int // in samples
	k        int
	boxes    int
}

// around gives the stretch that n outputs of s are made of, in boxes of at most k samples, and s in terms of its
// boxes. The last box may be smaller; boxes are made so large that it is hardly.
func (s span) around(n, k int) (stretch, span) {
	reach := int(math.Ceil(lobes*max(s.size/float64(n), float64(k)))) + k
	lo := max(s.lo, int(s.at)-reach)
	size := min(s.hi, int(math.Ceil(s.at+s.size))+reach) - lo
	boxes := (size + k - 1) / k
	k = (size + boxes - 1) / boxes
	boxes = (size + k - 1) / k
	return stretch{lo, size, k, boxes}, span{
		at: (s.at - float64(lo)) / float64(k), size: s.size / float64(k), hi: boxes, flip: s.flip,
	}
}

// lanczos makes f the filter that takes s to n samples.
func (s *scratch) lanczos(f *kernel.Filter, x span, n, channels int) {
	step := x.size / float64(n)
	scale := max(step, 1)
	support := lobes * scale
	taps := min(int(math.Ceil(2*support)), x.hi-x.lo)
	f.Init(n, taps, channels)
	s.exact, s.weight = grow(s.exact, taps), grow(s.weight, taps)
	table := lanczosTable()
	perTap := tableSteps / scale
	// Conversions, here and in at, keep compilers from fusing two operations, so that all machines round alike.
	for i := range n {
		// A stretch may end a fraction of a sample beyond the picture, where chroma is subsampled.
		center := min(max(x.at+float64((float64(i)+0.5)*step), float64(x.lo)), float64(x.hi))
		first := min(max(int(math.Ceil(center-support-0.5)), x.lo), x.hi-taps)
		sum := 0.0
		from := float64(first) + 0.5 - center
		for k := range s.exact {
			w := table.at((from + float64(k)) * perTap)
			s.exact[k] = w
			sum += w
		}
		// Rounding the running total instead of each weight keeps the sum exact.
		total, given := 0.0, 0
		for k, v := range s.exact {
			total += v
			upTo := int(math.Floor(float64(total*((1<<weightBits)/sum)) + 0.5))
			s.weight[k] = int16(upTo - given)
			given = upTo
		}
		out := i
		if x.flip {
			out = n - 1 - i
		}
		f.Set(out, first, s.weight)
	}
}

// A lanczosValues holds the kernel, sinc(x)·sinc(x/3), at each of tableSteps parts of a lobe. What a line
// between two of them is off by is a thirtieth of the last bit of a weight.
type lanczosValues [lobes*tableSteps + 1]float64

const tableSteps = 512

var lanczosTable = sync.OnceValue(func() *lanczosValues {
	t := new(lanczosValues)
	t[0] = 1
	for i := 1; i < lobes*tableSteps; i++ { // and zero at the end
		x := math.Pi * float64(i) / tableSteps
		// In single precision, so that machines whose sines differ in the last bit agree.
		t[i] = float64(float32(lobes * math.Sin(x) * math.Sin(x/lobes) / (x * x)))
	}
	return t
})

// at gives the kernel at x, in steps.
func (t *lanczosValues) at(x float64) float64 {
	x = math.Abs(x)
	i := int(x)
	if i >= len(t)-1 {
		return 0
	}
	return t[i] + float64((x-float64(i))*(t[i+1]-t[i]))
}

// boxes makes f the filter that averages the boxes of x.
func (s *scratch) boxes(f *kernel.Filter, x stretch, channels int) {
	k, size, n, taps := x.k, x.size, x.boxes, min(x.k, x.size)
	f.Init(n, taps, channels)
	s.weight = grow(s.weight, taps)
	for i := range n {
		// The last box ends where the others would begin again, with no weight on what it shares.
		start := min(i*k, size-taps)
		none := i*k - start
		clear(s.weight[:none])
		for j := range taps - none {
			s.weight[none+j] = int16((j+1)<<weightBits/(taps-none) - j<<weightBits/(taps-none))
		}
		f.Set(i, start, s.weight)
	}
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
	across, down       kernel.Filter
	boxAcross, boxDown kernel.Filter
	exact              []float64 // the weights of one output
	weight             []int16   // and as a Filter has them

	row    []int16 // one row between the filters
	boxRow []int16 // one row between the averages
	ring   []int16 // rows that are weighted by alpha or averaged, as many as the filter down has taps
	box    []int16 // some columns of the rows of one box, weighted by alpha
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// grow gives a slice of n elements, in buf when it is large enough. The elements are not cleared.
func grow[T any](buf []T, n int) []T {
	if cap(buf) < n {
		return make([]T, n)
	}
	return buf[:n]
}

// resample maps the spans x and y of each of src to all of dst's raster beside it. Those of src are of one size
// and kind, and those of dst too. When ctx is done it stops at the next row, with ctx's cause.
func resample(ctx context.Context, dst, src []raster, x, y span) error {
	if x.exact(dst[0].w) && y.exact(dst[0].h) {
		for i := range dst {
			move(dst[i], src[i], x, y)
		}
		return nil
	}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)

	w, h, ch := dst[0].w, dst[0].h, dst[0].ch
	b := band{scratch: s, flip: y.flip}
	b.x, x = x.around(w, shrinkFactor(x.size/float64(w)))
	b.y, y = y.around(h, shrinkFactor(y.size/float64(h)))
	s.lanczos(&s.across, x, w, ch)
	s.lanczos(&s.down, y, h, 0)
	if b.shrinks() {
		s.boxes(&s.boxAcross, b.x, ch)
		s.boxes(&s.boxDown, b.y, 0)
	}
	for i := range dst {
		b.src = src[i]
		if err := b.convolve(ctx, dst[i]); err != nil {
			return err
		}
	}
	return nil
}

// move copies the samples of src that are samples of dst.
func move(dst, src raster, x, y span) {
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
	return int(min(reduction/(shrinkAbove/2), largestBox))
}

// A band is the part of a raster that is resampled.
type band struct {
	*scratch
	src  raster
	x, y stretch
	flip bool // whether the last rows of the output come first
}

func (b *band) shrinks() bool { return b.x.k > 1 || b.y.k > 1 }

// convolve runs the filters. Where rows of the source cannot be added up as they are, they are made ready as they
// are needed and kept in a ring that holds as many as the filter down has taps.
func (b *band) convolve(ctx context.Context, dst raster) error {
	n, taps := b.x.boxes*dst.ch, b.down.Taps()
	b.row = grow(b.row, n+kernel.Slack)
	row := b.row[:n]
	direct := !b.src.alpha && !b.shrinks()
	if !direct {
		b.ring = grow(b.ring, taps*n)
		b.weight = grow(b.weight, taps)
	}
	next := 0 // the first row that is not in the ring yet
	for i := range dst.h {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		y := i
		if b.flip { // so that source rows are visited in order
			y = dst.h - 1 - i
		}
		first, weights := b.down.Row(y)
		if direct {
			kernel.Down(row, b.from(first), b.src.stride, weights)
		} else {
			for next = max(next, first); next < first+taps; next++ {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				b.ready(b.ring[next%taps*n:][:n], next)
			}
			// The ring is added up in the order of memory.
			turn := first % taps
			copy(b.weight[turn:], weights)
			copy(b.weight, weights[taps-turn:])
			kernel.DownWide(row, b.ring, n, b.weight)
		}
		if b.src.alpha {
			kernel.AcrossAlpha(dst.row(y), b.row, &b.across)
		} else {
			kernel.Across(dst.row(y), b.row, &b.across)
		}
	}
	return nil
}

// from gives the samples of the band from row y of it.
func (b *band) from(y int) []uint8 {
	return b.src.pix[(b.y.lo+y)*b.src.stride+b.x.lo*b.src.ch:]
}

// ready makes row y of boxes a wide one (see package kernel).
func (b *band) ready(dst []int16, y int) {
	n := b.x.size * b.src.ch
	if !b.shrinks() {
		kernel.Premultiply(dst, b.from(y)[:n])
		return
	}
	b.boxRow = grow(b.boxRow, n+kernel.Slack)
	first, weights := b.boxDown.Row(y)
	if b.src.alpha {
		const columns = 1024 // at a time, so that the rows of a box stay in a near cache
		b.box = grow(b.box, len(weights)*columns)
		for x := 0; x < n; x += columns {
			size := min(columns, n-x)
			for i := range weights {
				kernel.Premultiply(b.box[i*columns:][:size], b.from(first + i)[x:][:size])
			}
			kernel.DownWide(b.boxRow[x:][:size], b.box, columns, weights)
		}
	} else {
		kernel.Down(b.boxRow[:n], b.from(first), b.src.stride, weights)
	}
	kernel.AcrossWide(dst, b.boxRow, &b.boxAcross)
}

// transpose swaps rows and columns, in tiles of eight by eight: a row of dst is as far from the next as a cache line
// is from one of another set.
func transpose(src raster) raster {
	const tile = 8
	dst := newRaster(src.h, src.w, src.ch)
	dst.alpha = src.alpha
	for top := 0; top < src.h; top += tile {
		for left := 0; left < src.w; left += tile {
			w, h := min(tile, src.w-left), min(tile, src.h-top)
			from := src.pix[top*src.stride+left*src.ch:]
			to := dst.pix[left*dst.stride+top*src.ch:]
			switch {
			case src.ch == 4:
				for x := range w {
					column := to[x*dst.stride:][:4*h]
					for y := range h {
						binary.LittleEndian.PutUint32(column[4*y:], binary.LittleEndian.Uint32(from[y*src.stride+4*x:]))
					}
				}
			case w == tile && h == tile:
				transposeTile(to, dst.stride, from, src.stride)
			default:
				for y := range h {
					for x, v := range from[y*src.stride:][:w] {
						to[x*dst.stride+y] = v
					}
				}
			}
		}
	}
	return dst
}

// transposeTile swaps rows and columns of eight by eight bytes: first quarters of it, then quarters of those, then
// single bytes (Warren, "Hacker's Delight", 7-3).
func transposeTile(dst []uint8, dstStride int, src []uint8, srcStride int) {
	row := func(y int) uint64 { return binary.LittleEndian.Uint64(src[y*srcStride:]) }
	swap := func(a, b uint64, shift uint, mask uint64) (uint64, uint64) {
		t := (a>>shift ^ b) & mask
		return a ^ t<<shift, b ^ t
	}
	const quarters, pairs, bytes = 0x00000000_ffffffff, 0x0000ffff_0000ffff, 0x00ff00ff_00ff00ff
	a0, a4 := swap(row(0), row(4), 32, quarters)
	a1, a5 := swap(row(1), row(5), 32, quarters)
	a2, a6 := swap(row(2), row(6), 32, quarters)
	a3, a7 := swap(row(3), row(7), 32, quarters)
	a0, a2 = swap(a0, a2, 16, pairs)
	a1, a3 = swap(a1, a3, 16, pairs)
	a4, a6 = swap(a4, a6, 16, pairs)
	a5, a7 = swap(a5, a7, 16, pairs)
	a0, a1 = swap(a0, a1, 8, bytes)
	a2, a3 = swap(a2, a3, 8, bytes)
	a4, a5 = swap(a4, a5, 8, bytes)
	a6, a7 = swap(a6, a7, 8, bytes)
	for x, v := range [8]uint64{a0, a1, a2, a3, a4, a5, a6, a7} {
		binary.LittleEndian.PutUint64(dst[x*dstStride:], v)
	}
}

// planes gives the rasters of m: one for Gray, RGBA (opaque), NRGBA and CMYK, three for YCbCr.
func planes(m image.Image) []raster {
	switch m := m.(type) {
	case *image.Gray:
		return []raster{{m.Pix, m.Stride, m.Rect.Dx(), m.Rect.Dy(), 1, false}}
	case *image.RGBA:
		return []raster{{m.Pix, m.Stride, m.Rect.Dx(), m.Rect.Dy(), 4, false}}
	case *image.CMYK:
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
