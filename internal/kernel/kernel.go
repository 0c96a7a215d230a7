// Package kernel holds the inner loops of resampling and of colour: sums of weighted rows and of weighted
// neighbours, in fixed point.
//
// # Samples
//
// A row is in one of three forms:
//
//	narrow  8 bits, as pictures have them
//	wide    Q8 less 32768 in an int16: 0 to 255 take all of it, or a colour times its alpha, 0 to 255²
//	between Q6 in an int16, which leaves room for what negative lobes overshoot
//
// Weights are Q14; those of one output add up to exactly 1<<14, so that what is constant stays so, and
// their absolute values to less than twice that. Down takes narrow or wide rows to one between; Across takes
// that to narrow or wide.
//
// # Machines
//
// On amd64 with AVX2 the loops are assembly, written by _asm, and on arm64 too, written by hand; elsewhere, and
// with the build tag purego, they are Go. All give the same bits, whatever the data: tests compare them.
//
// There is no AVX-512: with its dot products (VNNI), Down is 1.4 times as fast as with AVX2 on an AMD EPYC. As Down is a seventh
// of a render from JPEG to JPEG at 500 and 1200 pixels, that would be 4 % of it.
package kernel

//go:generate go -C _asm run . -out ../kernel_amd64.s

const (
	weightBits = 14

	// Slack is how many elements of a row the functions named Across may read, but not use, beyond the last
	// that a Filter names.
	Slack = 16
)

// A Filter says for each of n outputs which inputs it is the sum of. Init makes it one, and Set must then be
// called for each output, before it is used. It may be used for reading by many goroutines.
type Filter struct {
	taps     int     // per output
	start    []int32 // the first input of each output
	weight   []int16 // taps of each output, Q14
	reach    int     // one more than the last input
	channels int

	// packed are the weights in the order in which assembly reads them, or empty. Outputs come in groups,
	// of eight for one channel and of four for four; the last group may repeat outputs of the one before.
	// Within a group come the first eight or four weights of each output, then the next, up to pad, with
	// zeros after taps.
	packed []int16
	pad    int
}

// Init makes f a filter of n outputs with taps inputs each, for Down or, if channels is 1 or 4, for the
// functions named Across. It keeps f's memory.
func (f *Filter) Init(n, taps, channels int) {
	f.taps, f.reach, f.channels = taps, 0, channels
	f.start = grow(f.start, n)
	f.weight = grow(f.weight, n*taps)
	f.packed = f.packed[:0]
	if group, chunk := f.shape(); group > 0 && n >= group && accelerated {
		f.pad = (taps + chunk - 1) / chunk * chunk
		f.packed = grow(f.packed, (n+group-1)/group*group*f.pad)
		clear(f.packed)
	}
}

// shape gives how many outputs assembly makes at once, and of how many inputs.
func (f *Filter) shape() (group, chunk int) {
	switch f.channels {
	case 1:
		return 8, 8
	case 4:
		return 4, 4
	}
	return 0, 0
}

// grow gives a slice of n elements, in buf when it is large enough.
func grow[T any](buf []T, n int) []T {
	if cap(buf) < n {
		return make([]T, n)
	}
	return buf[:n]
}

// Len is the number of outputs.
func (f *Filter) Len() int { return len(f.start) }

// Taps is the number of inputs of each output.
func (f *Filter) Taps() int { return f.taps }

// Set says that output i is the sum of the inputs from start, at least 0, weighted by w, of which there are
// Taps.
func (f *Filter) Set(i, start int, w []int16) {
	if start < 0 || len(w) != f.taps {
		panic("kernel: a filter that reads what is not there")
	}
	f.start[i] = int32(start)
	f.reach = max(f.reach, start+f.taps)
	copy(f.weight[i*f.taps:], w)
	if len(f.packed) == 0 {
		return
	}
	n := len(f.start)
	group, _ := f.shape()
	if g := i / group; g < n/group {
		f.pack(g, i%group, w)
	}
	if last := n - group; i >= last && n%group != 0 {
		f.pack(n/group, i-last, w)
	}
}

// pack puts the weights of output i of group g where assembly reads them.
func (f *Filter) pack(g, i int, w []int16) {
	group, chunk := f.shape()
	if f.channels == 1 {
		i = i%4*2 + i/4 // outputs 0 and 4, 1 and 5, … share a register
	}
	to := f.packed[g*group*f.pad+i*chunk:]
	for len(w) > chunk {
		copy(to, w[:chunk])
		to, w = to[group*chunk:], w[chunk:]
	}
	copy(to, w)
}

// Row gives the first input and the weights of output i. The weights are f's own.
func (f *Filter) Row(i int) (start int, weights []int16) {
	return int(f.start[i]), f.weight[i*f.taps:][:f.taps:f.taps]
}

// Down adds up rows of src, narrow ones, stride bytes apart and as long as dst, as many as there are weights.
func Down(dst []int16, src []uint8, stride int, weights []int16) {
	if len(weights) == 0 || len(dst) == 0 {
		panic("kernel: a sum of nothing")
	}
	_ = src[(len(weights)-1)*stride+len(dst)-1]
	downNarrow(dst, src, stride, weights)
}

// DownWide is Down for wide rows; stride is in samples.
func DownWide(dst []int16, src []int16, stride int, weights []int16) {
	if len(weights) == 0 || len(dst) == 0 {
		panic("kernel: a sum of nothing")
	}
	_ = src[(len(weights)-1)*stride+len(dst)-1]
	downWide(dst, src, stride, weights)
}

// Across makes the row dst of f's outputs, of one channel or of four, from row, which is Slack longer
// than what f reads.
func Across(dst []uint8, row []int16, f *Filter) {
	f.check(len(dst), len(row))
	if f.channels == 1 {
		across1(dst, row, f)
		return
	}
	across4(dst, row, f)
}

// AcrossWide is Across with a wide row as the result.
func AcrossWide(dst []int16, row []int16, f *Filter) {
	f.check(len(dst), len(row))
	if f.channels == 1 {
		across1Wide(dst, row, f)
		return
	}
	across4Wide(dst, row, f)
}

// AcrossAlpha is Across for rows that Premultiply began: it divides colours by alpha, and where that
// rounds to zero makes them black.
func AcrossAlpha(dst []uint8, row []int16, f *Filter) {
	f.check(len(dst), len(row))
	if f.channels != 4 {
		panic("kernel: alpha among less than four channels")
	}
	acrossAlpha(dst, row, f)
}

func (f *Filter) check(dst, row int) {
	if dst != len(f.start)*f.channels || row < f.reach*f.channels+Slack {
		panic("kernel: rows that do not fit the filter")
	}
}

// Premultiply makes a wide row of red, green, blue and alpha: colours times alpha, and alpha times 255.
func Premultiply(dst []int16, src []uint8) {
	premultiply(dst, src[:len(dst)])
}

// YCbCrToRGBA gives the pixels that color.YCbCrToRGB does, opaque.
func YCbCrToRGBA(dst, y, cb, cr []uint8) {
	n := len(dst) / 4
	yCbCrToRGBA(dst[:4*n], y[:n], cb[:n], cr[:n])
}
