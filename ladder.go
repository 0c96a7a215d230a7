package imagecdn

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/resize"
)

// A Ladder has the sizes and qualities that pictures are made in. What a URL asks for is moved to the next rung up, or to the last, so
// that w=1 to w=8192 are as many pictures as there are rungs. It is the plan that is moved, before the picture's key is
// computed: URLs of one rung share one picture and one ETag, whatever their dialect.
//
// It bounds what honest pages cost; what a stranger can ask for is bounded by signatures, lists of parameters (package middleware)
// and Options.MaxVariants, as there are other parameters than sizes.
type Ladder struct {
	// Widths are the widths in pixels, dpr included, from 2 to 8192, ascending. A w in pixels moves to a rung, and an h in pixels
	// with it, so that the ratio of the two stays what it was, to the pixel; an h without a w in pixels moves to a rung of
	// its own. Fractions of the original's size stay as they are, and so do min-w and its kin.
	//
	// A dpr is done with then, unless a plan has other lengths that it multiplies: those keep it, moved up to 1, 1.5, 2, 3, 4 or 5,
	// and their width is that of the rung to within as many pixels.
	//
	// Empty means that sizes stay as they are.
	Widths []int

	// Qualities are what q moves to, from 1 to 100, ascending. A URL without q has the quality that it would have without a Ladder.
	// Empty means that qualities stay as they are.
	Qualities []int
}

// densities are what a dpr moves to where it stays.
var densities = []float64{1, 1.5, 2, 3, 4, 5}

func (l *Ladder) check() error {
	for _, list := range []struct {
		name        string
		rungs       []int
		least, most int
	}{{"Widths", l.Widths, 2, maxSide}, {"Qualities", l.Qualities, 1, 100}} {
		last := list.least - 1
		for _, rung := range list.rungs {
			if rung <= last || rung > list.most {
				return fmt.Errorf("imagecdn: Options.Ladder.%s: %d is not in place: they go from %d to %d, each above the one before",
					list.name, rung, list.least, list.most)
			}
			last = rung
		}
	}
	return nil
}

// rung returns the first of rungs that is not below v, or else the last.
func rung[T int | float64](rungs []T, v float64) T {
	for _, r := range rungs {
		if float64(r) >= v {
			return r
		}
	}
	return rungs[len(rungs)-1]
}

// snap moves p to the rungs of l.
func (l *Ladder) snap(p Params) Params {
	plan := &p.Plan
	if plan.Quality != 0 && len(l.Qualities) > 0 {
		plan.Quality = rung(l.Qualities, float64(plan.Quality))
	}
	side := plan.Width
	if side <= 1 {
		side = plan.Height
	}
	if len(l.Widths) == 0 || side <= 1 {
		return p.canonical()
	}
	dpr := cmp.Or(plan.DPR, 1)
	to := float64(rung(l.Widths, math.Round(side*dpr))) / side // by how much
	if plan.DPR = 0; !onlyBox(plan) {
		plan.DPR = rung(densities, dpr)
		to /= plan.DPR
	}
	for _, v := range []*float64{&plan.Width, &plan.Height} {
		if *v > 1 {
			// A side of one pixel cannot be asked for: 1 is the whole of the original's.
			*v = max(2, math.Round(*v*to))
		}
	}
	return p.canonical()
}

// onlyBox reports whether plan has no lengths in pixels but Width and Height. What it does not know of counts as a length.
func onlyBox(plan *resize.Plan) bool {
	known := resize.Plan{
		Width: plan.Width, Height: plan.Height, DPR: plan.DPR, Fit: plan.Fit, Aspect: plan.Aspect, Crop: plan.Crop, Focal: plan.Focal,
		Zoom: plan.Zoom, Face: plan.Face, FacePad: plan.FacePad, Trim: plan.Trim, Rect: plan.Rect, Orient: plan.Orient,
		Rotate: plan.Rotate, Pivot: plan.Pivot, Flip: plan.Flip, Background: plan.Background, Format: plan.Format, Quality: plan.Quality,
		Color: plan.Color, Encoding: plan.Encoding, Animation: plan.Animation,
	}
	return string(known.Append(nil)) == string(plan.Append(nil))
}

// A laddered dialect is one whose pictures are on the rungs of a ladder.
type laddered struct {
	Dialect
	ladder Ladder
}

func (d *laddered) ParseRequest(u *url.URL) (Request, error) {
	req, err := d.Dialect.ParseRequest(u)
	if err == nil {
		req.Params = d.ladder.snap(req.Params)
	}
	return req, err
}

// withLadder returns d, or d with l, where there is one.
func withLadder(d Dialect, l *Ladder) (Dialect, error) {
	if l == nil {
		return d, nil
	}
	return &laddered{d, Ladder{slices.Clone(l.Widths), slices.Clone(l.Qualities)}}, l.check()
}

const (
	// A page asks for some tens of widths of an image, in a few formats and cuts.
	defaultMaxVariants = 1000

	// A version is an original of its own, which costs a fetch.
	defaultMaxVersions = 1000
)

// crowded reports whether so many pictures of p's image are kept that p is not to be.
func (h *Handler) crowded(ctx context.Context, p *picture) bool {
	most := cmp.Or(h.opts.MaxVariants, defaultMaxVariants)
	counter, ok := h.store.(cache.Counter)
	if most < 0 || !ok {
		return false
	}
	n, err := counter.Count(ctx, p.key.Source, p.key.Image)
	return err != nil || n >= most
}

// mayName refuses an image whose version is not known where too many of its versions are.
func (h *Handler) mayName(in *input) error {
	i, most := in.image, cmp.Or(h.opts.MaxVersions, defaultMaxVersions)
	if i.Version == "" || most < 0 || len(in.source.cache.Versions(i.Path)) < most || in.source.cache.Known(i.Path, i.Version) != nil {
		return nil
	}
	return &httpError{
		status: http.StatusForbidden, lifetime: in.source.cache.Negative(),
		text: fmt.Sprintf("vh=%s: there are %d versions of this image here, and no more may be", printable(i.Version), most),
	}
}
