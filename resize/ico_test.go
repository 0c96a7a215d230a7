package resize

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"strings"
	"testing"
)

// iconFile makes an ICO of pictures, or a CUR, with directories that say nothing of sizes.
func iconFile(kind byte, pictures ...[]byte) []byte {
	le := binary.LittleEndian
	b := append([]byte{0, 0, kind, 0}, le.AppendUint16(nil, uint16(len(pictures)))...)
	at := 6 + 16*len(pictures)
	for _, p := range pictures {
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
		b = le.AppendUint32(le.AppendUint32(b, uint32(len(p))), uint32(at))
		at += len(p)
	}
	return append(b, bytes.Join(pictures, nil)...)
}

// bitmap makes a DIB of m, with a mask of what is transparent in it: bits of 1, 4 and 8 look colours up in a palette of as many
// as there are, in order of appearance.
func bitmap(m *image.NRGBA, bits int, topDown bool) []byte {
	le := binary.LittleEndian
	w, h := m.Rect.Dx(), m.Rect.Dy()
	b := le.AppendUint32(nil, 40)
	b = le.AppendUint32(b, uint32(w))
	height := int32(2 * h)
	if topDown {
		height = -height
	}
	b = le.AppendUint32(b, uint32(height))
	b = le.AppendUint16(le.AppendUint16(b, 1), uint16(bits))
	b = append(b, make([]byte, 24)...)
	var palette []color.NRGBA
	index := func(c color.NRGBA) int {
		c.A = 255
		for i, p := range palette {
			if p == c {
				return i
			}
		}
		palette = append(palette, c)
		return len(palette) - 1
	}
	rows := func(bits int, value func(x, y int) uint32) (out []byte) {
		for i := range h {
			y := h - 1 - i
			if topDown {
				y = i
			}
			row := make([]byte, (w*bits+31)/32*4)
			for x := range w {
				v := value(x, y)
				switch {
				case bits < 8:
					row[x*bits/8] |= byte(v) << (8 - bits - x*bits%8)
				default:
					for k := range bits / 8 {
						row[x*bits/8+k] = byte(v >> (8 * k))
					}
				}
			}
			out = append(out, row...)
		}
		return out
	}
	pixels := rows(bits, func(x, y int) uint32 {
		c := m.NRGBAAt(x, y)
		switch bits {
		case 16:
			return uint32(c.R>>3)<<10 | uint32(c.G>>3)<<5 | uint32(c.B>>3)
		case 24, 32:
			return uint32(c.A)<<24 | uint32(c.R)<<16 | uint32(c.G)<<8 | uint32(c.B)
		}
		return uint32(index(c))
	})
	if bits <= 8 {
		for i := range 1 << bits {
			c := color.NRGBA{}
			if i < len(palette) {
				c = palette[i]
			}
			b = append(b, c.B, c.G, c.R, 0)
		}
	}
	mask := rows(1, func(x, y int) uint32 {
		if m.NRGBAAt(x, y).A == 0 {
			return 1
		}
		return 0
	})
	return append(append(b, pixels...), mask...)
}

// drawing is a picture of a few colours that 16 bits hold, with holes.
func drawing(w, h, colors int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			i := (x/2 + y) % colors
			c := color.NRGBA{uint8(i*255/max(colors-1, 1)) & 0x80, 255, 0, 255}
			c.R |= c.R >> 5 & 7 // five bits made eight
			if i == 0 {
				c.G = 0
			}
			if colors > 2 && (x+y)%7 == 0 {
				c = color.NRGBA{}
			}
			m.SetNRGBA(x, y, c)
		}
	}
	return m
}

func TestICO(t *testing.T) {
	for _, bits := range []int{1, 4, 8, 16, 24, 32} {
		for _, topDown := range []bool{false, true} {
			for _, kind := range []byte{1, 2} {
				t.Run(fmt.Sprintf("%d bits, top down %v, kind %d", bits, topDown, kind), func(t *testing.T) {
					m := drawing(13, 9, min(1<<bits, 3))
					if bits == 16 {
						for p := 0; p < len(m.Pix); p += 4 {
							m.Pix[p] = uint8(int(m.Pix[p]>>3) * 255 / 31)
						}
					}
					data := iconFile(kind, bitmap(m, bits, topDown))
					info, err := Probe(data)
					if want := (Info{ICO, 13, 9, 1, 1, true}); err != nil || info != want {
						t.Fatalf("%+v, %v, want %+v", info, err, want)
					}
					samePixels(t, pixels(t, Plan{}, data), m)
				})
			}
		}
	}
}

// TestLargestIcon: the picture with the most pixels is taken, of equals that with the most colours, whatever it is stored as.
func TestLargestIcon(t *testing.T) {
	small, large, poor := drawing(8, 8, 3), drawing(16, 16, 3), drawing(16, 16, 2)
	for name, data := range map[string][]byte{
		"last":        iconFile(1, bitmap(small, 32, false), bitmap(large, 8, false)),
		"first":       iconFile(1, bitmap(large, 8, false), bitmap(small, 32, false)),
		"more bits":   iconFile(1, bitmap(poor, 1, false), bitmap(large, 24, false), bitmap(poor, 4, false)),
		"PNG":         iconFile(1, bitmap(small, 32, false), encodePixels(t, large)),
		"another cut": iconFile(1, bitmap(drawing(32, 32, 3), 32, false)[:20], bitmap(large, 8, false)),
	} {
		samePixels(t, pixels(t, Plan{}, data), large)
		if pic := render(t, Plan{Width: 8}, data); pic.Format != PNG {
			t.Errorf("%s: it is %s", name, pic.Format)
		}
	}
}

// TestIconAlpha: alpha of 32 bits counts where there is any, and else the mask.
func TestIconAlpha(t *testing.T) {
	m := soft(20, 20)
	samePixels(t, pixels(t, Plan{}, iconFile(1, bitmap(m, 32, false))), m)
	samePixels(t, pixels(t, Plan{}, iconFile(1, bitmap(m, 32, false)[:40+20*20*4])), m) // without a mask

	want := drawing(20, 20, 3)
	b := bitmap(want, 32, false)
	for i := 40 + 3; i < 40+20*20*4; i += 4 {
		b[i] = 0
	}
	samePixels(t, pixels(t, Plan{}, iconFile(1, b)), want)
}

func TestHostileICO(t *testing.T) {
	good := bitmap(drawing(9, 9, 3), 8, false)
	change := func(at int, v uint32) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint32(b[at:], v)
		return iconFile(1, b)
	}
	beyond := iconFile(1, good)
	binary.LittleEndian.PutUint32(beyond[18:], 1<<31)
	for _, tt := range []struct {
		name string
		data []byte
		want error
	}{
		{"wide", change(4, 1<<30), ErrDamaged},
		{"large", change(4, 60000), ErrTooLarge},
		{"very large", iconFile(1, func() []byte { b := bytes.Clone(good); copy(b[4:], "\x60\xea\x00\x00\xc0\xd4\x01\x00"); return b }()), ErrTooLarge},
		{"no height", change(8, 0), ErrDamaged},
		{"a height beyond", change(8, 1<<31), ErrDamaged},
		{"13 bits", change(12, 13<<16|1), ErrUnsupported},
		{"run lengths", change(16, 1), ErrUnsupported},
		{"a header of nothing", change(0, 0), ErrDamaged},
		{"a header beyond", change(0, 1<<31), ErrDamaged},
		{"a colour beyond", change(32, 2), ErrDamaged},
		{"a picture beyond", beyond, ErrDamaged},
		{"a PNG of many pixels", iconFile(1, pngOf(60000, 60000)), ErrTooLarge},
		{"no pictures", append([]byte{0, 0, 1, 0, 1, 0}, make([]byte, 40)...), ErrUnsupported},
	} {
		var r Renderer
		if _, err := r.Render(t.Context(), Plan{Format: PNG}, tt.data); !errors.Is(err, tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	for _, data := range [][]byte{iconFile(1, good), iconFile(2, encodePixels(t, drawing(9, 9, 3)))} {
		for n := range data {
			var r Renderer
			if _, err := r.Render(t.Context(), Plan{Format: PNG}, data[:n]); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrUnsupported) {
				t.Errorf("cut off at %d of %d: %v", n, len(data), err)
			}
			broken := bytes.Clone(data)
			broken[n] ^= 0x81
			r.MaxPixels = 1e6
			_, err := r.Render(t.Context(), Plan{Format: PNG, Width: 5}, broken)
			checkKind(t, err)
		}
	}
}

func FuzzICO(f *testing.F) {
	for _, bits := range []int{1, 4, 8, 16, 24, 32} {
		f.Add(iconFile(1, bitmap(drawing(7, 5, min(1<<bits, 3)), bits, bits == 8)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := Renderer{MaxPixels: 1 << 14}
		_, err := r.Render(t.Context(), Plan{Width: 8, Format: PNG}, data)
		checkKind(t, err)
	})
}
