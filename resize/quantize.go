package resize

import (
	"cmp"
	"image"
	"image/color"
	"slices"
)

// exactPalette gives m with a palette if it has at most n colours, else nil. All transparent pixels count
// as one colour.
func exactPalette(m *image.NRGBA, n int) *image.Paletted {
	index := make(map[uint32]uint8, n)
	var palette color.Palette
	dst := image.NewPaletted(m.Rect, nil)
	last, lastIndex := uint32(0), -1
	for y := range m.Rect.Dy() {
		out := dst.Pix[y*dst.Stride:][:m.Rect.Dx()]
		row := m.Pix[y*m.Stride:]
		for x := range out {
			px := row[4*x:][:4]
			key := uint32(px[0]) | uint32(px[1])<<8 | uint32(px[2])<<16 | uint32(px[3])<<24
			if px[3] == 0 {
				key = 0
			}
			if lastIndex < 0 || key != last {
				i, ok := index[key]
				if !ok {
					if len(palette) == n {
						return nil
					}
					i = uint8(len(palette))
					index[key] = i
					palette = append(palette, color.NRGBA{uint8(key), uint8(key >> 8), uint8(key >> 16), uint8(key >> 24)})
				}
				last, lastIndex = key, int(i)
			}
			out[x] = uint8(lastIndex)
		}
	}
	dst.Palette = palette
	return dst
}

// quantize gives m in at most so many colours, 2 to 256, one of which is transparent where m has transparency. Colours
// come from a median cut (Heckbert, "Color Image Quantization for Frame Buffer Display", 1982), and the
// error of each pixel goes to its neighbours (Floyd and Steinberg, 1976), unless these are enough.
func quantize(m *image.NRGBA, n int) *image.Paletted {
	m, transparent := hardAlpha(m)
	if p := exactPalette(m, n); p != nil {
		return p
	}
	if transparent {
		n--
	}
	palette := medianCut(m, n)
	if transparent {
		palette = append(palette, color.NRGBA{})
	}
	return dither(m, palette, n)
}

// hardAlpha gives m with each pixel opaque or not there.
func hardAlpha(m *image.NRGBA) (dst *image.NRGBA, transparent bool) {
	if m.Opaque() {
		return m, false
	}
	dst = owned(m)
	for px := dst.Pix; len(px) >= 4; px = px[4:] {
		if px[3] >= 128 {
			px[3] = 255
			continue
		}
		px[0], px[1], px[2], px[3] = 0, 0, 0, 0
		transparent = true
	}
	return dst, transparent
}

// A bin is all pixels whose colours share the upper five bits of each channel.
type bin struct {
	n   int
	sum [3]int
}

func (b *bin) mean(c int) int { return b.sum[c] / b.n }

const binBits = 5

func binOf(r, g, b uint8) int {
	return int(r>>(8-binBits))<<(2*binBits) | int(g>>(8-binBits))<<binBits | int(b>>(8-binBits))
}

func medianCut(m *image.NRGBA, n int) color.Palette {
	table := make([]bin, 1<<(3*binBits))
	for y := range m.Rect.Dy() {
		for px := m.Pix[y*m.Stride:][:4*m.Rect.Dx()]; len(px) >= 4; px = px[4:] {
			if px[3] != 0 {
				b := &table[binOf(px[0], px[1], px[2])]
				b.n++
				b.sum[0] += int(px[0])
				b.sum[1] += int(px[1])
				b.sum[2] += int(px[2])
			}
		}
	}
	table = slices.DeleteFunc(table, func(b bin) bool { return b.n == 0 })

	boxes := []cutBox{newCutBox(table)}
	for len(boxes) < n {
		// The box with most error is split, not the one with most pixels: skies take few colours.
		at := 0
		for i := range boxes {
			if boxes[i].err > boxes[at].err {
				at = i
			}
		}
		b := boxes[at]
		if len(b.bins) < 2 {
			break
		}
		slices.SortFunc(b.bins, func(x, y bin) int { return cmp.Compare(x.mean(b.axis), y.mean(b.axis)) })
		half, i := 0, 0
		for ; i < len(b.bins)-1 && (i == 0 || 2*half < b.n); i++ {
			half += b.bins[i].n
		}
		boxes[at] = newCutBox(b.bins[:i])
		boxes = append(boxes, newCutBox(b.bins[i:]))
	}
	palette := make(color.Palette, 0, n+1)
	for _, b := range boxes {
		if b.n > 0 {
			palette = append(palette, color.NRGBA{uint8(b.mean[0] + 0.5), uint8(b.mean[1] + 0.5), uint8(b.mean[2] + 0.5), 255})
		}
	}
	return palette
}

// A cutBox is a part of the colours that shares one entry of the palette.
type cutBox struct {
	bins []bin
	n    int
	mean [3]float64
	axis int     // the channel that varies most
	err  float64 // the sum of the squared distances to mean; zero where there is nothing to split
}

func newCutBox(bins []bin) cutBox {
	b := cutBox{bins: bins}
	var sum, squares [3]float64
	for i := range bins {
		b.n += bins[i].n
		for c := range 3 {
			v := float64(bins[i].sum[c])
			sum[c] += v
			squares[c] += v * v / float64(bins[i].n)
		}
	}
	if b.n == 0 {
		return b
	}
	worst := -1.0
	for c := range 3 {
		b.mean[c] = sum[c] / float64(b.n)
		v := squares[c] - sum[c]*b.mean[c]
		if v > worst {
			worst, b.axis = v, c
		}
		if len(bins) > 1 {
			b.err += max(v, 0)
		}
	}
	return b
}

// dither maps m to the first n colours of palette; what is transparent becomes the one after them.
func dither(m *image.NRGBA, palette color.Palette, n int) *image.Paletted {
	n = min(n, len(palette))
	if last := palette[len(palette)-1].(color.NRGBA); last.A == 0 {
		n = len(palette) - 1
	}
	colors := make([][3]int32, n)
	for i := range colors {
		c := palette[i].(color.NRGBA)
		colors[i] = [3]int32{int32(c.R), int32(c.G), int32(c.B)}
	}
	nearest := make([]int16, 1<<(3*binBits)) // 1 more than the index; zero: not looked for yet
	w, h := m.Rect.Dx(), m.Rect.Dy()
	dst := image.NewPaletted(m.Rect, palette)
	// Errors are in sixteenths, with a pixel to spare on both sides.
	now, next := make([][3]int32, w+2), make([][3]int32, w+2)
	for y := range h {
		row := m.Pix[y*m.Stride:][:4*w]
		for x := range w {
			px := row[4*x:][:4]
			if px[3] == 0 {
				dst.Pix[y*dst.Stride+x] = uint8(n)
				continue
			}
			var v [3]int32
			for c := range 3 {
				v[c] = min(max(int32(px[c])+(now[x+1][c]+8)>>4, 0), 255)
			}
			key := binOf(uint8(v[0]), uint8(v[1]), uint8(v[2]))
			i := nearest[key]
			if i == 0 {
				i = int16(closest(colors, key)) + 1
				nearest[key] = i
			}
			dst.Pix[y*dst.Stride+x] = uint8(i - 1)
			for c := range 3 {
				e := v[c] - colors[i-1][c]
				now[x+2][c] += e * 7
				next[x][c] += e * 3
				next[x+1][c] += e * 5
				next[x+2][c] += e
			}
		}
		now, next = next, now
		clear(next)
	}
	return dst
}

// closest gives the index of the colour nearest to the middle of a bin.
func closest(colors [][3]int32, key int) int {
	const step = 1 << (8 - binBits)
	at := [3]int32{
		int32(key>>(2*binBits))*step + step/2,
		int32(key>>binBits&(1<<binBits-1))*step + step/2,
		int32(key&(1<<binBits-1))*step + step/2,
	}
	best, least := 0, int32(1<<30)
	for i, c := range colors {
		r, g, b := c[0]-at[0], c[1]-at[1], c[2]-at[2]
		if d := 3*r*r + 6*g*g + b*b; d < least { // as eyes weigh them
			best, least = i, d
		}
	}
	return best
}
