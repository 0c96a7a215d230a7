package resize

import (
	"context"
	"fmt"
	"image"
	"math"
	"slices"
)

// A sight is what a layout has to know of the pixels of an upright original.
type sight struct {
	x, y  span // what is left of it by Trim
	faces []region
}

// A region is a part of an upright original, in its pixels.
type region struct{ x0, y0, x1, y1 float64 }

func (r region) union(s region) region {
	return region{min(r.x0, s.x0), min(r.y0, s.y0), max(r.x1, s.x1), max(r.y1, s.y1)}
}

// seesFaces reports whether p has to do with faces.
func (p Plan) seesFaces() bool {
	return p.Fit == FaceArea || slices.Contains(p.Crop, Faces) || p.FaceBlur != 0 || p.FacePixelate != 0 || p.Adjust.RedEye ||
		p.Format == JSON && p.Encoding.Faces
}

// looks reports whether j's layout hangs on what is in the original.
func (j *job) looks() bool { return j.plan.Trim != nil || j.plan.seesFaces() }

// look works out the layout again, with what the original shows. Of an animation, the first frame counts for all.
func (j *job) look(ctx context.Context) error {
	if !j.looks() {
		return nil
	}
	src := j.inputs[0].src
	if src.m == nil {
		var err error
		if src, err = j.decode(ctx, j.inputs[0].Bytes, j.info, j.need(), j.arena.alloc); err != nil {
			return err
		}
	}
	j.sight = sight{x: whole(j.srcW), y: whole(j.srcH)}
	if j.plan.Trim != nil {
		px, _ := rgb(recolor(&j.arena, src.m, nil))
		x, y := j.plan.Trim.within(px)
		// The stored picture is trimmed; which side is which is for the pose to say.
		j.sight.x, j.sight.y = j.pose.shownAs(x, y, j.info.Width, j.info.Height)
	}
	if j.plan.seesFaces() {
		if err := j.findFaces(ctx, src); err != nil {
			return err
		}
	}
	var err error
	if j.layout, err = j.plan.layoutOf(j.sight); err != nil {
		return err
	}
	return j.sizeFits(j.pictures())
}

// facesIn is the longer side of the picture that faces are looked for in.
const facesIn = 640

// findFaces looks for faces in what is left by Trim and Rect.
func (j *job) findFaces(ctx context.Context, src source) error {
	if j.Faces == nil {
		return fmt.Errorf("%w: nothing here finds faces", ErrPlan)
	}
	x, y := j.layout.fromX, j.layout.fromY
	if j.plan.Trim != nil {
		l, err := j.plan.layoutOf(j.sight)
		if err != nil {
			return err
		}
		x, y = l.fromX, l.fromY
	}
	f := math.Min(1, facesIn/math.Max(x.size, y.size))
	w, h := int(atLeast1(x.size*f)), int(atLeast1(y.size*f))
	small, err := j.pose.upright(ctx, &j.arena, src, x, y, w, h, j.srcW, j.srcH, false)
	if err != nil {
		return err
	}
	found, err := j.Faces.Find(ctx, gray8(recolor(&j.arena, small, nil)))
	if err != nil {
		return err
	}
	perX, perY := x.size/float64(w), y.size/float64(h)
	for _, face := range found {
		r := face.Rect
		j.sight.faces = append(j.sight.faces, region{
			x.at + float64(r.Min.X)*perX, y.at + float64(r.Min.Y)*perY, x.at + float64(r.Max.X)*perX, y.at + float64(r.Max.Y)*perY,
		})
	}
	return nil
}

// faceArea gives the part of x and y that Fit FaceArea shows in a box of w by h, which is zero where there is none: the faces,
// FacePad times as large, as wide for its height as the box. Without faces there is none.
func (p Plan) faceArea(s sight, x, y span, w, h float64) (span, span, bool) {
	faces := s.faces
	if len(faces) == 0 {
		return x, y, false
	}
	if p.Face > 0 {
		if p.Face > len(faces) {
			return x, y, false
		}
		faces = faces[p.Face-1 : p.Face]
	}
	r := faces[0]
	for _, f := range faces[1:] {
		r = r.union(f)
	}
	pad := max(p.FacePad, 1)
	cx, cy := (r.x0+r.x1)/2, (r.y0+r.y1)/2
	rw, rh := (r.x1-r.x0)*pad, (r.y1-r.y0)*pad
	if w > 0 && h > 0 {
		rw, rh = max(rw, rh*w/h), max(rh, rw*h/w)
		// Where the picture does not hold that, it is made smaller.
		f := min(1, x.size/rw, y.size/rh)
		rw, rh = rw*f, rh*f
	}
	side := func(s span, middle, size float64) span {
		size = max(min(size, s.size), 1)
		s.at, s.size = min(max(middle-size/2, s.at), s.at+s.size-size), size
		return s
	}
	return side(x, cx, rw), side(y, cy, rh), true
}

// facesMiddle is where the middle of a stretch of so many pixels goes along one axis, so that it holds as many of the largest faces as
// it can. Where one is asked for by number and there, it is that one's.
func (s sight) facesMiddle(number int, size float64, across bool) (middle float64, ok bool) {
	faces := s.faces
	if number > 0 && number <= len(faces) {
		faces = faces[number-1 : number]
	}
	var lo, hi float64
	for i, f := range faces {
		a, b := f.y0, f.y1
		if across {
			a, b = f.x0, f.x1
		}
		switch {
		case i == 0:
			lo, hi = a, b
		case max(hi, b)-min(lo, a) <= size:
			lo, hi = min(lo, a), max(hi, b)
		}
	}
	return (lo + hi) / 2, len(s.faces) > 0
}

// hideFaces makes faces in m, which shows spanX and spanY of the upright original, unrecognizable.
func (j *job) hideFaces(ctx context.Context, m image.Image, spanX, spanY span) (image.Image, error) {
	px, solid := rgb(m)
	px = owned(px)
	perX, perY := float64(px.Rect.Dx())/spanX.size, float64(px.Rect.Dy())/spanY.size
	for _, f := range j.sight.faces {
		// A face ends at the eyebrows and the chin: a quarter more hides the rest.
		dx, dy := (f.x1-f.x0)/8, (f.y1-f.y0)/8
		r := image.Rect(
			int(math.Floor((f.x0-dx-spanX.at)*perX)), int(math.Floor((f.y0-dy-spanY.at)*perY)),
			int(math.Ceil((f.x1+dx-spanX.at)*perX)), int(math.Ceil((f.y1+dy-spanY.at)*perY)),
		).Intersect(px.Rect)
		if r.Empty() {
			continue
		}
		face := owned(part(px, r))
		if j.plan.FaceBlur != 0 {
			soft, err := blurred(ctx, j.rasters(), face, j.plan.FaceBlur/100*float64(r.Dx())/2)
			if err != nil {
				return nil, err
			}
			face, _ = rgb(soft)
			face = owned(face)
		}
		if n := j.plan.FacePixelate; n != 0 {
			e := &effects{ctx: ctx, arena: j.rasters(), m: face}
			e.pixelate(max(1, j.plan.px(n)))
			if e.err != nil {
				return nil, e.err
			}
		}
		within := ellipse(float64(r.Dx()), float64(r.Dy()))
		for y := range r.Dy() {
			for x := range r.Dx() {
				blend(px.Pix[px.PixOffset(r.Min.X+x, r.Min.Y+y):][:4], face.Pix[face.PixOffset(x, y):][:4], uint32(math.Round(within(float64(x)+0.5, float64(y)+0.5)*255)))
			}
		}
	}
	if solid {
		return &image.RGBA{Pix: px.Pix, Stride: px.Stride, Rect: px.Rect}, nil
	}
	return px, nil
}
