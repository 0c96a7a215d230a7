package jpegdec

import (
	"image"
	"image/draw"
)

// isRGB tells three components that are not YCbCr, as image/jpeg does.
func (d *decoder) isRGB() bool {
	if d.jfif || len(d.components) != 3 {
		return false
	}
	if d.adobe && d.adobeTransform == 0 {
		return true
	}
	return d.comp[0].id == 'R' && d.comp[1].id == 'G' && d.comp[2].id == 'B'
}

// bounds is what the planes cover, in pixels of the result.
func (d *decoder) bounds() image.Rectangle {
	c := &d.components[0]
	r := c.region
	r = image.Rect(r.Min.X*c.points, r.Min.Y*c.points, r.Max.X*c.points, r.Max.Y*c.points)
	return r.Intersect(image.Rect(0, 0, ceilDiv(d.width, d.options.Scale), ceilDiv(d.height, d.options.Scale)))
}

// image makes a picture of the planes.
func (d *decoder) image() (image.Image, error) {
	r, c := d.bounds(), d.components
	if len(c) == 1 {
		return &image.Gray{Pix: c[0].plane, Stride: c[0].stride, Rect: r}, nil
	}
	// Chroma may be decoded at another scale than luma.
	across, down := c[0].h*c[0].points/(c[1].h*c[1].points), c[0].v*c[0].points/(c[1].v*c[1].points)
	m := &image.YCbCr{
		Y: c[0].plane, Cb: c[1].plane, Cr: c[2].plane,
		YStride: c[0].stride, CStride: c[1].stride,
		SubsampleRatio: ratios[[2]int{across, down}],
		Rect:           r,
	}
	switch {
	case len(c) == 4:
		return d.cmyk(m)
	case d.isRGB():
		return d.rgb(m), nil
	}
	return m, nil
}

var ratios = map[[2]int]image.YCbCrSubsampleRatio{
	{1, 1}: image.YCbCrSubsampleRatio444,
	{1, 2}: image.YCbCrSubsampleRatio440,
	{2, 1}: image.YCbCrSubsampleRatio422,
	{2, 2}: image.YCbCrSubsampleRatio420,
	{4, 1}: image.YCbCrSubsampleRatio411,
	{4, 2}: image.YCbCrSubsampleRatio410,
}

// rgb interleaves planes that are red, green and blue.
func (d *decoder) rgb(m *image.YCbCr) image.Image {
	r := m.Rect
	n := 4 * r.Dx() * r.Dy()
	dst := &image.RGBA{Pix: d.options.Alloc(n)[:n:n], Stride: 4 * r.Dx(), Rect: r}
	across := d.comp[0].h * d.comp[0].points / (d.comp[1].h * d.comp[1].points)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		red, other := m.Y[m.YOffset(r.Min.X, y):], m.COffset(r.Min.X, y)
		green, blue := m.Cb[other:], m.Cr[other:]
		row := dst.Pix[dst.PixOffset(r.Min.X, y):][:dst.Stride]
		for x := range r.Dx() {
			px := row[4*x:][:4]
			px[0], px[1], px[2], px[3] = red[x], green[x/across], blue[x/across], 255
		}
	}
	return dst
}

// cmyk makes a picture of four components. Adobe's are inverted: 255 is no ink.
func (d *decoder) cmyk(m *image.YCbCr) (image.Image, error) {
	if !d.adobe {
		return nil, unsupported("four components and no word of Adobe what they are")
	}
	r := m.Rect
	n := 4 * r.Dx() * r.Dy()
	dst := &image.RGBA{Pix: d.options.Alloc(n)[:n:n], Stride: 4 * r.Dx(), Rect: r}
	black, stride := d.comp[3].plane, d.comp[3].stride
	across := d.comp[0].h * d.comp[0].points / (d.comp[1].h * d.comp[1].points)
	if d.adobeTransform != 0 { // YCCK: RGB is the inverse of CMY, as Adobe's values are
		draw.Draw(dst, r, m, r.Min, draw.Src)
		for y := range r.Dy() {
			for x := range r.Dx() {
				dst.Pix[y*dst.Stride+4*x+3] = 255 - black[y*stride+x]
			}
		}
	} else {
		for y := range r.Dy() {
			row, luma := dst.Pix[y*dst.Stride:][:dst.Stride], m.Y[y*m.YStride:]
			k, other := black[y*stride:], m.COffset(r.Min.X, r.Min.Y+y)
			for x := range r.Dx() {
				px, i := row[4*x:][:4], other+x/across
				px[0], px[1], px[2], px[3] = 255-luma[x], 255-m.Cb[i], 255-m.Cr[i], 255-k[x]
			}
		}
	}
	return &image.CMYK{Pix: dst.Pix, Stride: dst.Stride, Rect: r}, nil
}
