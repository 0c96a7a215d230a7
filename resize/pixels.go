package resize

import (
	"context"
	"encoding/binary"
	"image"
	"image/color"
	"image/draw"

	"github.com/imagecdn/imagecdn/internal/kernel"
)

// Inside this package a picture is one of five types, all with bounds at the origin:
//
//	*image.Gray   opaque
//	*image.YCbCr  opaque, as JPEG has it: full range, any subsampling
//	*image.RGBA   opaque: every alpha is 255
//	*image.NRGBA  with transparency
//	*image.CMYK   opaque: inks, until recolor
//
// standard makes any picture one of them. Sixteen bits a channel become eight.
func standard(m image.Image) image.Image {
	b := m.Bounds()
	switch m := m.(type) {
	case *image.Gray:
		if b.Min == (image.Point{}) {
			return m
		}
	case *image.YCbCr:
		if b.Min == (image.Point{}) {
			return m
		}
	case *image.NRGBA:
		if b.Min == (image.Point{}) {
			return opaque(m)
		}
	case *image.RGBA:
		if b.Min == (image.Point{}) && solid(m.Pix, m.Stride, b.Dx(), b.Dy()) {
			return m
		}
	case *image.Gray16:
		dst := image.NewGray(image.Rectangle{Max: b.Size()})
		for y := range b.Dy() {
			src := m.Pix[y*m.Stride:]
			for x := range b.Dx() {
				dst.Pix[y*dst.Stride+x] = src[2*x]
			}
		}
		return dst
	case *image.NRGBA64:
		dst := image.NewNRGBA(image.Rectangle{Max: b.Size()})
		highBytes(dst.Pix, dst.Stride, m.Pix, m.Stride, b.Dy())
		return opaque(dst)
	case *image.RGBA64:
		if m.Opaque() {
			dst := image.NewRGBA(image.Rectangle{Max: b.Size()})
			highBytes(dst.Pix, dst.Stride, m.Pix, m.Stride, b.Dy())
			return dst
		}
	case *image.Paletted:
		return fromPalette(m)
	case *image.CMYK:
		if b.Min == (image.Point{}) {
			return m
		}
		dst := image.NewCMYK(image.Rectangle{Max: b.Size()})
		for y := range b.Dy() {
			copy(dst.Pix[y*dst.Stride:][:dst.Stride], m.Pix[y*m.Stride:])
		}
		return dst
	}
	dst := image.NewNRGBA(image.Rectangle{Max: b.Size()})
	draw.Draw(dst, dst.Rect, m, b.Min, draw.Src)
	return opaque(dst)
}

// highBytes keeps the high byte of each big-endian 16-bit sample.
func highBytes(dst []uint8, dstStride int, src []uint8, srcStride, h int) {
	for y := range h {
		d, s := dst[y*dstStride:][:dstStride], src[y*srcStride:][:2*dstStride]
		for i := range d {
			d[i] = s[2*i]
		}
	}
}

// fromPalette looks colours up: to Gray where all of them are gray, else to RGBA or NRGBA.
func fromPalette(m *image.Paletted) image.Image {
	var table [256]color.NRGBA
	gray, solid := true, true
	for i := range table {
		table[i] = color.NRGBA{A: 255} // an index beyond the palette is black, as libpng has it
		if i < len(m.Palette) {
			c := color.NRGBAModel.Convert(m.Palette[i]).(color.NRGBA)
			table[i] = c
			gray = gray && c.R == c.G && c.G == c.B
			solid = solid && c.A == 255
		}
	}
	b := m.Bounds()
	r := image.Rectangle{Max: b.Size()}
	if gray && solid {
		dst := image.NewGray(r)
		for y := range b.Dy() {
			out := dst.Pix[y*dst.Stride:][:b.Dx()]
			for x, i := range m.Pix[y*m.Stride:][:b.Dx()] {
				out[x] = table[i].R
			}
		}
		return dst
	}
	dst := image.NewNRGBA(r)
	for y := range b.Dy() {
		out := dst.Pix[y*dst.Stride:]
		for x, i := range m.Pix[y*m.Stride:][:b.Dx()] {
			c := &table[i]
			px := out[4*x:][:4]
			px[0], px[1], px[2], px[3] = c.R, c.G, c.B, c.A
		}
	}
	return opaque(dst)
}

// opaque gives m as RGBA if nothing in it is transparent.
func opaque(m *image.NRGBA) image.Image {
	if solid(m.Pix, m.Stride, m.Rect.Dx(), m.Rect.Dy()) {
		return &image.RGBA{Pix: m.Pix, Stride: m.Stride, Rect: m.Rect}
	}
	return m
}

// solid reports whether the alpha of all of w by h pixels of four channels is 255.
func solid(pix []uint8, stride, w, h int) bool {
	const alphas = 0xff000000_ff000000
	for y := range h {
		row := pix[y*stride:][:4*w]
		all := uint64(alphas)
		for ; len(row) >= 32; row = row[32:] {
			all &= binary.LittleEndian.Uint64(row) & binary.LittleEndian.Uint64(row[8:]) &
				binary.LittleEndian.Uint64(row[16:]) & binary.LittleEndian.Uint64(row[24:])
		}
		for ; len(row) >= 4; row = row[4:] {
			all &= uint64(row[3])<<24 | 0xff000000_00000000
		}
		if all != alphas {
			return false
		}
	}
	return true
}

// rgb gives m as four channels of colour that is not weighted by alpha. solid says that all alpha is
// 255. The pixels are m's own where m has that form.
func rgb(m image.Image) (dst *image.NRGBA, solid bool) {
	switch m := m.(type) {
	case *image.NRGBA:
		return m, false
	case *image.RGBA:
		return &image.NRGBA{Pix: m.Pix, Stride: m.Stride, Rect: m.Rect}, true
	case *image.CMYK:
		return rgb(withoutInks(m))
	case *image.Gray:
		dst = image.NewNRGBA(m.Rect)
		for y := range m.Rect.Dy() {
			out := dst.Pix[y*dst.Stride:][:dst.Stride]
			for x, v := range m.Pix[y*m.Stride:][:m.Rect.Dx()] {
				binary.LittleEndian.PutUint32(out[4*x:], uint32(v)*0x010101|0xff000000)
			}
		}
	case *image.YCbCr:
		p := planes(m)
		if luma := p[0]; m.SubsampleRatio != image.YCbCrSubsampleRatio444 {
			full := []raster{newRaster(luma.w, luma.h, 1), newRaster(luma.w, luma.h, 1)}
			rx, ry := subsampling(m.SubsampleRatio)
			x, y := whole(luma.w).scaled(float64(rx)), whole(luma.h).scaled(float64(ry))
			// There is no error without a context that ends.
			_ = resample(context.Background(), full, p[1:], x, y)
			p = append(p[:1], full...)
		}
		dst = image.NewNRGBA(m.Rect)
		for y := range p[0].h {
			kernel.YCbCrToRGBA(dst.Pix[y*dst.Stride:][:dst.Stride], p[0].row(y), p[1].row(y), p[2].row(y))
		}
	}
	return dst, true
}

// flatten lays m over an opaque colour, in place. It gives the same pixels as RGBA.
func flatten(m *image.NRGBA, c color.NRGBA) *image.RGBA {
	bg := [3]uint32{uint32(c.R), uint32(c.G), uint32(c.B)}
	for y := range m.Rect.Dy() {
		row := m.Pix[y*m.Stride:][:4*m.Rect.Dx()]
		for px := row; len(px) >= 4; px = px[4:] {
			a := uint32(px[3])
			if a == 255 {
				continue
			}
			for i := range 3 {
				px[i] = uint8((uint32(px[i])*a + bg[i]*(255-a) + 127) / 255)
			}
			px[3] = 255
		}
	}
	return &image.RGBA{Pix: m.Pix, Stride: m.Stride, Rect: m.Rect}
}

// underlay lays m over a colour that may be transparent itself, in place.
func underlay(m *image.NRGBA, c color.NRGBA) {
	for y := range m.Rect.Dy() {
		for px := m.Pix[y*m.Stride:][:4*m.Rect.Dx()]; len(px) >= 4; px = px[4:] {
			under := [4]uint8{c.R, c.G, c.B, c.A}
			blend(under[:], px, 255)
			copy(px, under[:])
		}
	}
}

// over draws src on dst at p, at alpha of 255, in place. What falls outside of dst is left out.
func over(dst, src *image.NRGBA, p image.Point, alpha uint32) {
	r := src.Rect.Add(p).Intersect(dst.Rect)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		d := dst.Pix[y*dst.Stride+4*r.Min.X:][:4*r.Dx()]
		s := src.Pix[(y-p.Y)*src.Stride+4*(r.Min.X-p.X):][:len(d)]
		for ; len(d) >= 4; d, s = d[4:], s[4:] {
			blend(d, s, alpha)
		}
	}
}

// blend is Porter and Duff's over, for one pixel of colours that are not weighted by alpha.
func blend(dst, src []uint8, alpha uint32) {
	sa := uint32(src[3]) * alpha // of 255²
	switch {
	case sa == 0:
		return
	case sa == 255*255:
		copy(dst[:4], src[:4])
		return
	}
	da := uint32(dst[3]) * (255*255 - sa) / 255 // what shows of dst, of 255²
	sum := sa + da
	for i := range 3 {
		dst[i] = uint8((uint32(src[i])*sa + uint32(dst[i])*da + sum/2) / sum)
	}
	dst[3] = uint8((sum + 127) / 255)
}

// whole is the span of all of a side.
func whole(n int) span { return span{size: float64(n), hi: n} }

// scale gives the spans x and y of src, in its pixels, as a picture of w by h. A YCbCr picture comes
// out with chroma halved both ways, or not at all. Its memory is a's, or src's. The error is the cause of ctx's end.
func scale(ctx context.Context, a *arena, src image.Image, x, y span, w, h int, halve bool) (image.Image, error) {
	if b := src.Bounds(); x.exact(w) && y.exact(h) && !x.flip && !y.flip && b.Dx() == w && b.Dy() == h {
		wanted := image.YCbCrSubsampleRatio444
		if halve {
			wanted = image.YCbCrSubsampleRatio420
		}
		if m, ok := src.(*image.YCbCr); !ok || m.SubsampleRatio == wanted {
			return src, nil
		}
	}
	dst, rx, ry := src, 1, 1
	if m, ok := src.(*image.YCbCr); ok {
		rx, ry = subsampling(m.SubsampleRatio)
		ratio := image.YCbCrSubsampleRatio444
		if halve {
			ratio = image.YCbCrSubsampleRatio420
		}
		dst = &image.YCbCr{SubsampleRatio: ratio}
	}
	dst = newImage(dst, w, h, a.alloc)
	from, to := planes(src), planes(dst)
	if err := resample(ctx, to[:1], from[:1], x, y); err != nil {
		return nil, err
	}
	if len(to) > 1 {
		x, y = chroma(x, rx, w, to[1].w), chroma(y, ry, h, to[1].h)
		if err := resample(ctx, to[1:], from[1:], x, y); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

// chroma gives the span of n chroma samples that go with s, the span of size luma samples. The last
// chroma sample of an odd size reaches half beyond the picture.
func chroma(s span, ratio, size, n int) span {
	s = s.scaled(float64(ratio))
	if n == size {
		return s
	}
	more := s.size * (2*float64(n)/float64(size) - 1)
	if s.flip {
		s.at -= more
	}
	s.size += more
	return s
}

// turned gives m with rows and columns swapped.
func turned(m image.Image) image.Image {
	b := m.Bounds()
	r := image.Rect(0, 0, b.Dy(), b.Dx())
	p := planes(m)
	for i := range p {
		p[i] = transpose(p[i])
	}
	switch m := m.(type) {
	case *image.Gray:
		return &image.Gray{Pix: p[0].pix, Stride: p[0].stride, Rect: r}
	case *image.RGBA:
		return &image.RGBA{Pix: p[0].pix, Stride: p[0].stride, Rect: r}
	case *image.NRGBA:
		return &image.NRGBA{Pix: p[0].pix, Stride: p[0].stride, Rect: r}
	case *image.CMYK:
		return &image.CMYK{Pix: p[0].pix, Stride: p[0].stride, Rect: r}
	case *image.YCbCr:
		ratio := m.SubsampleRatio // only those that scale gives: the same across and down
		return &image.YCbCr{Y: p[0].pix, Cb: p[1].pix, Cr: p[2].pix, YStride: p[0].stride,
			CStride: p[1].stride, SubsampleRatio: ratio, Rect: r}
	}
	return m
}

// gray8 gives the luma of m, sharing m's pixels where it can.
func gray8(m image.Image) *image.Gray {
	switch m := m.(type) {
	case *image.Gray:
		return m
	case *image.YCbCr:
		return &image.Gray{Pix: m.Y, Stride: m.YStride, Rect: m.Rect}
	}
	src, _ := rgb(m)
	dst := image.NewGray(src.Rect)
	for y := range src.Rect.Dy() {
		row := src.Pix[y*src.Stride:]
		for x := range src.Rect.Dx() {
			px := row[4*x:][:4]
			// BT.601 luma, against black where transparent.
			v := (19595*uint32(px[0]) + 38470*uint32(px[1]) + 7471*uint32(px[2]) + 1<<15) >> 16
			dst.Pix[y*dst.Stride+x] = uint8(v * uint32(px[3]) / 255)
		}
	}
	return dst
}
