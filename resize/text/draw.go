package text

import (
	"context"
	"image"
	"image/color"
	"image/draw"
	"math"

	"github.com/go-text/typesetting/font"
	ot "github.com/go-text/typesetting/font/opentype"
	"golang.org/x/image/vector"

	"github.com/imagecdn/imagecdn/resize"
)

// Places of outlines are in 512ths of a pixel, as the rasterizer has them inside, so that it rounds nothing.
const sub = 512

// tile is the side of what is rasterized at once. The rasterizer computes in integers up to this size, and in floating
// point above, where processors differ.
const tile = 512

// A point of an outline, in 512ths of a pixel, y down.
type point struct{ x, y int64 }

// An outline is the closed contours of a glyph at a size, around its origin.
type outline struct {
	contours [][]point
	box      image.Rectangle // in pixels
}

type glyphAt struct {
	outline *outline
	at      point
}

func (g *glyphAt) box() image.Rectangle {
	// Of the pixel that the origin is in, and the next.
	r := g.outline.box.Add(image.Pt(int(g.at.x>>9), int(g.at.y>>9)))
	r.Max = r.Max.Add(image.Pt(1, 1))
	return r
}

// outlines are those of a text's glyphs. They are kept until the next text.
type outlines struct {
	size  int64
	known map[glyphKey]*outline
	ras   vector.Rasterizer
	part  image.Alpha
}

type glyphKey struct {
	face *font.Face
	id   font.GID
}

// of gives the outline of a glyph, which is empty where it has none: a space, or a picture.
func (o *outlines) of(f *font.Face, id font.GID, size int64) *outline {
	if o.size != size || o.known == nil {
		o.size, o.known = size, make(map[glyphKey]*outline)
	}
	k := glyphKey{f, id}
	if known := o.known[k]; known != nil {
		return known
	}
	g := new(outline)
	o.known[k] = g
	data, ok := f.GlyphDataOutline(id)
	if !ok {
		return g
	}
	upem := int64(f.Upem())
	// Font units may be fractions in some formats: they are taken to 64ths.
	scaled := func(v float32) int64 {
		return roundDiv(int64(math.Round(float64(v)*64))*size, 8*upem) // 64 and 64 to 512
	}
	var now []point
	end := func() {
		if len(now) > 2 {
			g.contours = append(g.contours, now)
		}
		now = nil
	}
	for i := range data.Segments {
		s := &data.Segments[i]
		var p [3]point
		for k, a := range s.ArgsSlice() {
			p[k] = point{scaled(a.X), -scaled(a.Y)}
		}
		if s.Op == ot.SegmentOpMoveTo || len(now) == 0 {
			end()
			now = append(now, p[0])
			if s.Op == ot.SegmentOpMoveTo {
				continue
			}
		}
		from := now[len(now)-1]
		switch s.Op {
		case ot.SegmentOpLineTo:
			now = append(now, p[0])
		case ot.SegmentOpQuadTo:
			now = quad(now, from, p[0], p[1])
		case ot.SegmentOpCubeTo:
			now = cube(now, from, p[0], p[1], p[2])
		}
	}
	end()
	if len(g.contours) == 0 {
		return g
	}
	lo, hi := g.contours[0][0], g.contours[0][0]
	for _, c := range g.contours {
		for _, p := range c {
			lo, hi = point{min(lo.x, p.x), min(lo.y, p.y)}, point{max(hi.x, p.x), max(hi.y, p.y)}
		}
	}
	g.box = image.Rect(int(lo.x>>9), int(lo.y>>9), int(hi.x>>9)+1, int(hi.y>>9)+1)
	return g
}

// roundDiv divides by a positive number, to the nearest.
func roundDiv(a, b int64) int64 {
	if a < 0 {
		return -((-a + b/2) / b)
	}
	return (a + b/2) / b
}

// steps gives how many lines a curve becomes, so that none is farther from it than a 16th of a pixel; bend is the largest
// second difference of its points, and by how much of it is that of the curve's kind.
func steps(bend, by int64) int64 {
	n := int64(1)
	for n < 64 && by*bend > 4*n*n*(sub/16) {
		n++
	}
	return n
}

func abs(v int64) int64 {
	if v < 0 {
		return -v
	}
	return v
}

// quad adds a curve of second order as lines.
func quad(to []point, a, b, c point) []point {
	n := steps(max(abs(a.x-2*b.x+c.x), abs(a.y-2*b.y+c.y)), 1)
	for i := int64(1); i < n; i++ {
		j := n - i
		to = append(to, point{
			roundDiv(j*j*a.x+2*i*j*b.x+i*i*c.x, n*n),
			roundDiv(j*j*a.y+2*i*j*b.y+i*i*c.y, n*n),
		})
	}
	return append(to, c)
}

// cube adds a curve of third order as lines.
func cube(to []point, a, b, c, d point) []point {
	bend := max(abs(a.x-2*b.x+c.x), abs(a.y-2*b.y+c.y), abs(b.x-2*c.x+d.x), abs(b.y-2*c.y+d.y))
	n := steps(bend, 3)
	for i := int64(1); i < n; i++ {
		j := n - i
		to = append(to, point{
			roundDiv(j*j*j*a.x+3*i*j*j*b.x+3*i*i*j*c.x+i*i*i*d.x, n*n*n),
			roundDiv(j*j*j*a.y+3*i*j*j*b.y+3*i*i*j*c.y+i*i*i*d.y, n*n*n),
		})
	}
	return append(to, d)
}

// draw makes the picture of a block.
func (sh *shaper) draw(ctx context.Context, t *resize.Text, b *block, frame image.Point) (*image.NRGBA, error) {
	glyphs, box := sh.place(t, b)
	reach, fall := shadowReach(t)
	// The part of the text that shows, or whose shadow does.
	box = box.Intersect(image.Rectangle{Max: frame}.Inset(-reach))
	if box.Empty() {
		return &image.NRGBA{}, nil
	}
	// An outline as thick as half of a stem leaves nothing else: no stem is half an em thick.
	width := min(round64(t.Line), b.size/4)
	if effort(glyphs, box, width) > maxEffort {
		return nil, bad("the letters are too large to lie over each other as they do, or the outline is too wide")
	}
	ink := image.NewAlpha(box)
	for i := range glyphs {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		sh.fill(ink, &glyphs[i])
	}
	var lines *image.Alpha
	if width > 0 {
		var err error
		if lines, err = stroke(ctx, ink, glyphs, width); err != nil {
			return nil, err
		}
	}
	var shadow *image.Alpha
	if t.Shadow > 0 {
		var err error
		if shadow, err = cast(ctx, t, ink, reach-fall); err != nil {
			return nil, err
		}
	}
	bounds := box
	if shadow != nil {
		bounds = bounds.Union(shadow.Rect.Add(image.Pt(fall, fall)))
	}
	bounds = bounds.Intersect(image.Rectangle{Max: frame})
	if bounds.Empty() {
		return &image.NRGBA{}, nil
	}
	letters, edge := color.NRGBA{A: 255}, color.NRGBA{255, 255, 255, 255}
	if t.Color != nil {
		letters = *t.Color
	}
	if t.LineColor != nil {
		edge = *t.LineColor
	}
	m := image.NewNRGBA(bounds)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		row := m.Pix[(y-bounds.Min.Y)*m.Stride:]
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			ink, line := alphaAt(ink, x, y), alphaAt(lines, x, y)
			// The outline takes the place of what it covers, so that nothing of the letters shows around it.
			px := mix(letters, (ink-line)*uint32(letters.A), edge, line*uint32(edge.A), alphaAt(shadow, x-fall, y-fall))
			copy(row[4*(x-bounds.Min.X):][:4], px[:])
		}
	}
	return m, nil
}

// maxEffort bounds what a text takes: in pixels that are touched, a few nanoseconds each. Text of which each pixel is
// inked once takes no more than its frame, but marks may lie over each other by the hundred, and wide outlines more so.
const maxEffort = 1 << 29

// effort gives how many pixels the glyphs and their outlines touch.
func effort(glyphs []glyphAt, box image.Rectangle, width int64) (n int) {
	area := func(r image.Rectangle) int {
		r = r.Intersect(box)
		return r.Dx() * r.Dy()
	}
	for i := range glyphs {
		g := &glyphs[i]
		n += area(g.box())
		if width > 0 {
			for _, c := range g.outline.contours {
				for k, p := range c {
					n += area(around(p.plus(g.at), c[(k+1)%len(c)].plus(g.at), reachOf(width)))
				}
			}
		}
	}
	return n
}

func (p point) plus(q point) point { return point{p.x + q.x, p.y + q.y} }

// reachOf gives how far an outline of width 64ths of a pixel reaches, in pixels.
func reachOf(width int64) int { return int(width/64) + 2 }

// around gives the pixels up to reach from a line from a to b.
func around(a, b point, reach int) image.Rectangle {
	return image.Rect(int(min(a.x, b.x)>>9)-reach, int(min(a.y, b.y)>>9)-reach,
		int(max(a.x, b.x)>>9)+reach+1, int(max(a.y, b.y)>>9)+reach+1)
}

func alphaAt(m *image.Alpha, x, y int) uint32 {
	if m == nil || !image.Pt(x, y).In(m.Rect) {
		return 0
	}
	return uint32(m.Pix[(y-m.Rect.Min.Y)*m.Stride+x-m.Rect.Min.X])
}

// mix lays two colours that lie beside each other over black. Their weights are of 255², black's of 255.
func mix(a color.NRGBA, wa uint32, b color.NRGBA, wb uint32, black uint32) (px [4]uint8) {
	sum := wa + wb
	under := black * (255*255 - sum) / 255
	all := sum + under
	if all == 0 {
		return px
	}
	px[0] = uint8((uint32(a.R)*wa + uint32(b.R)*wb + all/2) / all)
	px[1] = uint8((uint32(a.G)*wa + uint32(b.G)*wb + all/2) / all)
	px[2] = uint8((uint32(a.B)*wa + uint32(b.B)*wb + all/2) / all)
	px[3] = uint8((all + 127) / 255)
	return px
}

// place gives the outlines of a block, and the rectangle that they are in.
func (sh *shaper) place(t *resize.Text, b *block) (glyphs []glyphAt, box image.Rectangle) {
	block := b.width()
	// Baselines and the left edge are whole pixels, so that stems are as sharp as they can be without hinting.
	to := func(v int64) int64 { return roundDiv(v*b.size, em/8) } // em to 512ths, by 64ths
	for i := range b.lines {
		ln := &b.lines[i]
		left := int64(0)
		switch t.XAlign {
		case resize.Near:
		case resize.Middle:
			left = (block - ln.width) / 2
		default:
			left = block - ln.width
		}
		x := int64(b.at.X)*sub + to(left)
		y := int64(b.at.Y)*sub + roundDiv(to(b.ascent+int64(i)*b.lead), sub)*sub
		for _, g := range ln.glyphs {
			o := sh.of(g.face, g.id, b.size)
			if len(o.contours) == 0 {
				continue
			}
			glyphs = append(glyphs, glyphAt{o, point{x + to(g.x), y + to(g.y)}})
			box = box.Union(glyphs[len(glyphs)-1].box())
		}
	}
	return glyphs, box
}

// fill adds a glyph to dst.
func (o *outlines) fill(dst *image.Alpha, g *glyphAt) {
	box := g.box().Intersect(dst.Rect)
	for y := box.Min.Y; y < box.Max.Y; y += tile {
		for x := box.Min.X; x < box.Max.X; x += tile {
			o.fillTile(dst, g, image.Rect(x, y, x+tile, y+tile).Intersect(box))
		}
	}
}

func (o *outlines) fillTile(dst *image.Alpha, g *glyphAt, r image.Rectangle) {
	o.ras.Reset(r.Dx(), r.Dy())
	o.ras.DrawOp = draw.Src
	x, y := g.at.x-int64(r.Min.X)*sub, g.at.y-int64(r.Min.Y)*sub
	at := func(p point) (float32, float32) { return float32(p.x+x) / sub, float32(p.y+y) / sub }
	for _, c := range g.outline.contours {
		o.ras.MoveTo(at(c[0]))
		for _, p := range c[1:] {
			o.ras.LineTo(at(p))
		}
		o.ras.ClosePath()
	}
	if n := r.Dx() * r.Dy(); cap(o.part.Pix) < n {
		o.part.Pix = make([]uint8, n)
	} else {
		o.part.Pix = o.part.Pix[:n]
	}
	o.part.Stride, o.part.Rect = r.Dx(), image.Rect(0, 0, r.Dx(), r.Dy())
	o.ras.Draw(&o.part, o.part.Rect, image.Opaque, image.Point{})
	for y := range r.Dy() {
		row := dst.Pix[(r.Min.Y+y-dst.Rect.Min.Y)*dst.Stride+r.Min.X-dst.Rect.Min.X:][:r.Dx()]
		for x, v := range o.part.Pix[y*o.part.Stride:][:len(row)] {
			// Letters that join meet in the middle of a pixel: their parts of it add up.
			row[x] = uint8(min(uint32(row[x])+uint32(v), 255))
		}
	}
}

// stroke gives the outline of what is inked, inside of its edges and width 64ths of a pixel wide: what is nearer to an
// edge of a glyph than that. An edge that lies inside of another glyph, where letters join, is none.
func stroke(ctx context.Context, ink *image.Alpha, glyphs []glyphAt, width int64) (*image.Alpha, error) {
	w := float64(width) / 64
	reach := reachOf(width)
	// Squares of distances to the nearest edge, in pixels.
	near := make([]float32, len(ink.Pix))
	for i := range near {
		near[i] = math.MaxFloat32
	}
	for i := range glyphs {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		g := &glyphs[i]
		if !g.box().Overlaps(ink.Rect.Inset(-reach)) {
			continue
		}
		for _, c := range g.outline.contours {
			for k, p := range c {
				q := c[(k+1)%len(c)]
				visible(ink, p.plus(g.at), q.plus(g.at), func(a, b point) {
					measure(near, ink.Rect, a, b, reach)
				})
			}
		}
	}
	m := image.NewAlpha(ink.Rect)
	for i, in := range ink.Pix {
		if in == 0 || near[i] == math.MaxFloat32 {
			continue
		}
		d := math.Sqrt(float64(near[i]))
		cover := min(max(w+0.5-d, 0), 1)
		m.Pix[i] = uint8(min(float64(cover*255)+0.5, float64(in)))
	}
	return m, nil
}

// visible calls f for the parts of an edge that have ink on one side at most.
func visible(ink *image.Alpha, a, b point, f func(a, b point)) {
	dx, dy := b.x-a.x, b.y-a.y
	length := int64(math.Sqrt(float64(dx*dx + dy*dy)))
	if length == 0 {
		return
	}
	parts := min(length/(2*sub)+1, 1024)
	at := func(i int64) point { return point{a.x + dx*i/parts, a.y + dy*i/parts} }
	from := int64(-1)
	for i := range parts {
		p, q := at(i), at(i+1)
		x, y := (p.x+q.x)/2, (p.y+q.y)/2
		// A pixel to each side.
		ox, oy := -dy*sub/length, dx*sub/length
		hidden := alphaAt(ink, int((x+ox)>>9), int((y+oy)>>9)) > 240 && alphaAt(ink, int((x-ox)>>9), int((y-oy)>>9)) > 240
		switch {
		case hidden && from >= 0:
			f(at(from), p)
			from = -1
		case !hidden && from < 0:
			from = i
		}
	}
	if from >= 0 {
		f(at(from), b)
	}
}

// measure puts the squared distances to a line from a to b into near, for the middles of pixels up to reach around it.
func measure(near []float32, r image.Rectangle, a, b point, reach int) {
	box := around(a, b, reach).Intersect(r)
	dx, dy := float64(b.x-a.x)/sub, float64(b.y-a.y)/sub
	length := float64(dx*dx) + float64(dy*dy)
	for y := box.Min.Y; y < box.Max.Y; y++ {
		row := near[(y-r.Min.Y)*r.Dx():]
		py := float64(int64(y)*sub+sub/2-a.y) / sub
		for x := box.Min.X; x < box.Max.X; x++ {
			px := float64(int64(x)*sub+sub/2-a.x) / sub
			// Products are rounded before they are added: fused, they would be others on other processors.
			var d float64
			switch along := float64(px*dx) + float64(py*dy); {
			case length == 0 || along <= 0:
				d = float64(px*px) + float64(py*py)
			case along >= length:
				d = float64((px-dx)*(px-dx)) + float64((py-dy)*(py-dy))
			default:
				across := float64(px*dy) - float64(py*dx)
				d = float64(across*across) / length
			}
			if i := x - r.Min.X; float32(d) < row[i] {
				row[i] = float32(d)
			}
		}
	}
}

// shadowReach says how far a shadow shows outside of the text, and how far it falls to the right and down.
func shadowReach(t *resize.Text) (reach, fall int) {
	if t.Shadow == 0 {
		return 0, 0
	}
	if t.ShadowBlur != nil {
		fall = int(math.Round(t.Shadow))
	}
	return 3*shadowRadius(t) + fall, fall
}

// shadowRadius is that of each of the three blurs.
func shadowRadius(t *resize.Text) int {
	if t.ShadowBlur != nil {
		return (*t.ShadowBlur + 1) / 2
	}
	return int(math.Ceil(t.Shadow / 2))
}

// cast gives the shadow of what is inked, which is pad larger on each side. Three box blurs are near enough to a
// Gaussian one (Wells, "Efficient Synthesis of Gaussian Filters by Cascaded Uniform Filters", 1986).
func cast(ctx context.Context, t *resize.Text, ink *image.Alpha, pad int) (*image.Alpha, error) {
	m := image.NewAlpha(ink.Rect.Inset(-pad))
	for y := ink.Rect.Min.Y; y < ink.Rect.Max.Y; y++ {
		copy(m.Pix[m.PixOffset(ink.Rect.Min.X, y):], ink.Pix[ink.PixOffset(ink.Rect.Min.X, y):][:ink.Rect.Dx()])
	}
	w, h := m.Rect.Dx(), m.Rect.Dy()
	was := make([]uint8, max(w, h))
	if r := shadowRadius(t); r > 0 {
		for range 3 {
			for y := range h {
				if err := context.Cause(ctx); err != nil {
					return nil, err
				}
				blur(m.Pix[y*m.Stride:], w, 1, r, was)
			}
			for x := range w {
				if err := context.Cause(ctx); err != nil {
					return nil, err
				}
				blur(m.Pix[x:], h, m.Stride, r, was)
			}
		}
	}
	if t.ShadowBlur == nil {
		// Blurred strokes are faint: half as much again, and at most three quarters black.
		for i, v := range m.Pix {
			m.Pix[i] = uint8(min(uint32(v)*3/2, 255) * 3 / 4)
		}
	}
	return m, nil
}

// blur puts the mean of 2r+1 neighbours in the place of each of n values, step apart. What is outside is 0.
func blur(p []uint8, n, step, r int, was []uint8) {
	was = was[:n]
	for i := range was {
		was[i] = p[i*step]
	}
	size := uint32(2*r + 1)
	sum := uint32(0)
	for i := range min(r, n) {
		sum += uint32(was[i])
	}
	for i := range n {
		if i+r < n {
			sum += uint32(was[i+r])
		}
		if i-r-1 >= 0 {
			sum -= uint32(was[i-r-1])
		}
		p[i*step] = uint8((sum + size/2) / size)
	}
}
