package resize

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"

	"golang.org/x/image/vp8l"
)

// decodeALPH decodes the transparency of a lossy picture of that size (RFC 9649, 2.7.1.2): as many bytes as it has pixels.
func decodeALPH(ctx context.Context, chunk []byte, w, h int) ([]byte, error) {
	const stored, lossless = 0, 1
	how, data := chunk[0], chunk[1:]
	alpha := make([]byte, w*h)
	switch how & 3 {
	case stored:
		if len(data) < len(alpha) {
			return nil, errCut
		}
		copy(alpha, data)
	case lossless: // the green of a VP8L picture without its header
		x, y := w-1, h-1
		header := []byte{0x2f, uint8(x), uint8(x>>8) | uint8(y<<6), uint8(y >> 2), uint8(y >> 10)}
		m, err := vp8l.Decode(io.MultiReader(bytes.NewReader(header), &reader{ctx, data}))
		if err != nil {
			return nil, err
		}
		px, ok := m.(*image.NRGBA)
		if !ok || px.Rect.Dx() != w || px.Rect.Dy() != h {
			return nil, errors.New("transparency of another size")
		}
		for i := range alpha {
			alpha[i] = px.Pix[4*i+1]
		}
	default:
		return nil, fmt.Errorf("transparency compressed by method %d", how&3)
	}
	unfilterALPH(alpha, w, how>>2&3)
	return alpha, nil
}

// unfilterALPH adds to each value what it is predicted to be. The first row is predicted from the left, the first column from above.
func unfilterALPH(alpha []byte, w int, filter byte) {
	const horizontal, vertical, gradient = 1, 2, 3
	if filter == 0 {
		return
	}
	for x := 1; x < w; x++ {
		alpha[x] += alpha[x-1]
	}
	above := alpha[:w]
	for rest := alpha[w:]; len(rest) >= w; rest = rest[w:] {
		row := rest[:w]
		row[0] += above[0]
		switch filter {
		case horizontal:
			for x := 1; x < w; x++ {
				row[x] += row[x-1]
			}
		case vertical:
			for x := 1; x < w; x++ {
				row[x] += above[x]
			}
		case gradient:
			for x := 1; x < w; x++ {
				row[x] += uint8(min(max(int(row[x-1])+int(above[x])-int(above[x-1]), 0), 255))
			}
		}
		above = row
	}
}
