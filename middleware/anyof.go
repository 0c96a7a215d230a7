package middleware

import (
	"errors"
	"net/http"
)

// A Checker is a middleware that refuses requests, such as [*Signature], [*ImgixSignature], [*CloudimageSignature],
// [*CloudimageSeal] and [*Allow].
type Checker interface {
	// Check returns nil for a request that may pass, and else an error of one line that a client may read.
	Check(*http.Request) error

	// Handler returns a handler that passes on those requests, in the form that the handler is to see.
	Handler(http.Handler) http.Handler
}

// AnyOf lets through what any one of several lets through, the first that does: URLs that were signed in the old way and in the
// new one, or some sizes for everybody and all sizes signed:
//
//	middleware.AnyOf{
//		&middleware.Allow{Params: map[string][]string{"w": {"320", "640", "1280"}}},
//		&middleware.Signature{Keys: keys},
//	}
//
// It is as safe as the least safe of them. An empty one refuses every request.
type AnyOf []Checker

// Check returns nil if one of them does. Else it is [ErrExpired] if that is what one of them says, and if not the error of the first.
func (a AnyOf) Check(r *http.Request) error {
	_, err := a.find(r)
	return err
}

// find returns the index of the one that lets the request through.
func (a AnyOf) find(r *http.Request) (i int, err error) {
	err = errNoKey
	for i, c := range a {
		e := c.Check(r)
		if e == nil {
			return i, nil
		}
		if i == 0 || errors.Is(e, ErrExpired) {
			err = e
		}
	}
	return 0, err
}

// Handler returns a handler that passes requests on to h through the Handler of the first that lets them through. A request that
// none does is answered with 403, or 404 if it has expired, one line of text and Cache-Control: no-store.
func (a AnyOf) Handler(h http.Handler) http.Handler {
	inner := make([]http.Handler, len(a))
	for i, c := range a {
		inner[i] = c.Handler(h)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i, err := a.find(r)
		if err != nil {
			refuse(w, err)
			return
		}
		inner[i].ServeHTTP(w, r)
	})
}
