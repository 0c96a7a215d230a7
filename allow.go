package imagecdn

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// An Allow bounds what URLs may ask for. It looks at what a URL comes to, whatever the dialect and however it is spelled: w, width and
// w64 are one parameter. What is not allowed is a 403.
//
//	imagecdn.Allow{Widths: []int{320, 640, 1280}, Params: []string{"w", "fit", "auto"}}
//
// [github.com/imagecdn/imagecdn/middleware.Allow] is the other list: of names and values as they are sent, in front of the handler, and so of
// one dialect and spelling.
type Allow struct {
	// Widths are the widths that pictures may have that have one: w in pixels, from 2 to 8192. A dpr has to be a whole number then, and
	// a fraction of the original's width is refused. Zero means any.
	Widths []int

	// Heights are Widths for h. Zero means any, and with Widths none: a list of widths bounds nothing where each may be had in a thousand
	// heights.
	Heights []int

	// Params are the parameters that pictures may be made with, by the first of their native names in docs/parameters.md; vh, expires and dl
	// are always allowed. Zero means all.
	Params []string
}

// check reports a list that makes no sense.
func (a *Allow) check() error {
	for _, list := range []struct {
		field, param string
		sides        []int
	}{{"Widths", "w", a.Widths}, {"Heights", "h", a.Heights}} {
		for _, v := range list.sides {
			if v < 2 || v > maxSide {
				return fmt.Errorf("imagecdn: Options.Allow.%s: %d is not between 2 and %d", list.field, v, maxSide)
			}
		}
		if len(list.sides) > 0 && a.Params != nil && !slices.Contains(a.Params, list.param) {
			return fmt.Errorf("imagecdn: Options.Allow.%s is set, and Params does not have %q", list.field, list.param)
		}
	}
	if len(a.Widths) > 0 && len(a.Heights) == 0 && slices.Contains(a.Params, "h") {
		return errors.New(`imagecdn: Options.Allow.Params has "h", and Widths is set without Heights`)
	}
	for _, name := range a.Params {
		id, ok := paramIndex[name]
		switch {
		case !ok:
			return fmt.Errorf("imagecdn: Options.Allow.Params: there is no parameter %q", name)
		case params[id].name != name:
			return fmt.Errorf("imagecdn: Options.Allow.Params: %q is another name of %q", name, params[id].name)
		}
	}
	return nil
}

// refusal says what of p is not allowed.
func (a *Allow) refusal(p Params) *ParamError {
	plan := p.canonical().Plan
	if a.Params != nil {
		for pair := range strings.SplitSeq(p.String(), "&") {
			if name, value, _ := strings.Cut(pair, "="); name != "" && !slices.Contains(a.Params, name) {
				return forbidden(name, value, "not allowed here")
			}
		}
	}
	if len(a.Widths) == 0 && len(a.Heights) == 0 {
		return nil
	}
	if plan.DPR != math.Trunc(plan.DPR) {
		return forbidden("dpr", plain(plan.DPR), "not a whole number, which it has to be here")
	}
	if len(a.Widths) > 0 {
		if e := refusedSide("w", plan.Width, a.Widths); e != nil {
			return e
		}
	}
	if len(a.Heights) > 0 || len(a.Widths) > 0 {
		return refusedSide("h", plan.Height, a.Heights)
	}
	return nil
}

// refusedSide says what is wrong with a side of the box.
func refusedSide(name string, v float64, allowed []int) *ParamError {
	if v == 0 || v > 1 && slices.Contains(allowed, int(v)) {
		return nil
	}
	switch {
	case len(allowed) == 0:
		return forbidden(name, plain(v), "not allowed here")
	case v <= 1:
		return forbidden(name, plain(v), "a fraction, which is not allowed here")
	}
	nearest := allowed[0]
	for _, a := range allowed {
		if math.Abs(float64(a)-v) < math.Abs(float64(nearest)-v) {
			nearest = a
		}
	}
	return forbidden(name, plain(v), "not on the list of what is allowed here; the nearest is "+strconv.Itoa(nearest))
}

func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func forbidden(name, value, reason string) *ParamError {
	return &ParamError{Param: name, Value: value, Reason: reason, Status: http.StatusForbidden}
}

// limited is a dialect some of whose requests are not allowed.
type limited struct {
	Dialect
	presetsOnly bool
	allow       *Allow
}

// ParseRequest implements [Dialect].
func (l limited) ParseRequest(u *url.URL) (Request, error) {
	r, err := l.Dialect.ParseRequest(u)
	switch {
	case err != nil:
		return r, err
	case l.presetsOnly && r.Preset == "":
		return r, forbidden("preset", "", "a URL has to have a preset here")
	case l.presetsOnly && r.Beside != "":
		return r, forbidden(r.Beside, "", "not allowed beside a preset here")
	}
	if l.allow != nil {
		if e := l.allow.refusal(r.Params); e != nil {
			return Request{}, e
		}
	}
	return r, nil
}

// dialect is the dialect that o asks for, of a handler of these sources.
func (o *Options) dialect(sources Sources) (Dialect, error) {
	d := o.Dialect
	switch {
	case d == nil:
		d = Native{Strict: o.Strict, Presets: o.Presets}
	case o.Strict:
		return nil, errors.New("imagecdn: Options.Strict is for the native dialect, and Options.Dialect is another")
	case o.Presets != nil:
		return nil, errors.New("imagecdn: Options.Presets are for the native dialect, and Options.Dialect is another, which has its own")
	}
	if err := checkDialect(d, sources); err != nil {
		return nil, err
	}
	if !o.PresetsOnly && o.Allow == nil {
		return d, nil
	}
	if o.PresetsOnly && presetsOf(d) == 0 {
		return nil, errors.New("imagecdn: Options.PresetsOnly is set, and there are no presets")
	}
	l := limited{Dialect: d, presetsOnly: o.PresetsOnly}
	if o.Allow != nil {
		if err := o.Allow.check(); err != nil {
			return nil, err
		}
		allow := Allow{slices.Clone(o.Allow.Widths), slices.Clone(o.Allow.Heights), slices.Clone(o.Allow.Params)}
		l.allow = &allow
	}
	return l, nil
}

// presetsOf counts the presets of a dialect, which are one at least in one of another package.
func presetsOf(d Dialect) int {
	switch d := d.(type) {
	case Native:
		return len(d.Presets)
	case Imgix:
		return len(d.Presets)
	case Cloudimage:
		return len(d.Presets)
	}
	return 1
}
