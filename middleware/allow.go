package middleware

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrParam is what every error of [Allow.Check] is.
var ErrParam = errors.New("parameter refused")

// An Allow lets through requests that have no other parameters than those on a list, and of these, where the list
// says so, no other values. It bounds what strangers may ask for where URLs are not signed: a few widths, say, or
// presets and nothing else.
//
//	sizes := &middleware.Allow{Params: map[string][]string{
//		"w":    {"320", "640", "1280", "1920"},
//		"auto": {"format"},
//	}}
//	presets := &middleware.Allow{Params: map[string][]string{"p": {"thumb", "hero"}}, Required: []string{"p"}}
//
// Names and values are compared after percent-decoding, and exactly: "w" does not stand for "width" or "w64", nor
// "640" for "640.0". A name that is given twice is refused, whatever its values, because handlers disagree about which of
// them counts. So is an empty parameter ("?w=320&&").
//
// # Safe deployments
//
// An Allow is inside of what takes signatures out of the query, or beside it in an [AnyOf]. It bounds how many pictures
// there are of an image, and not how many images. A value that the list leaves open (nil) can have as many forms as a stranger has patience: list
// those of what makes another picture, or another version ("vh"). What the Accept header decides is bounded by the formats there are.
//
// The zero value lets requests without any parameters through, for the original itself, and refuses all others.
type Allow struct {
	// Params are the parameters that a URL may have, by name, and the values of each. Nil values mean any; an empty list
	// means none. Zero means that no parameter is allowed.
	Params map[string][]string

	// Required are the names of parameters that a URL has to have. Zero means none, and that the original itself may be had.
	Required []string
}

// Check returns nil for a request whose parameters are on the list, and else an error that is [ErrParam] and names the parameter.
func (a *Allow) Check(r *http.Request) error {
	seen := make(map[string]bool)
	if r.URL.RawQuery != "" {
		for param := range strings.SplitSeq(r.URL.RawQuery, "&") {
			name, value, _ := strings.Cut(param, "=")
			name, err := url.QueryUnescape(name)
			if err != nil || name == "" {
				return fmt.Errorf("%w: %s is no parameter", ErrParam, quote(param))
			}
			values, ok := a.Params[name]
			if !ok {
				return fmt.Errorf("%w: %s is not allowed here", ErrParam, quote(name))
			}
			if seen[name] {
				return fmt.Errorf("%w: %s is given twice", ErrParam, quote(name))
			}
			seen[name] = true
			if value, err = url.QueryUnescape(value); err != nil || values != nil && !slices.Contains(values, value) {
				return fmt.Errorf("%w: %s is not allowed to be %s here", ErrParam, quote(name), quote(value))
			}
		}
	}
	for _, name := range a.Required {
		if !seen[name] {
			return fmt.Errorf("%w: %s has to be given here", ErrParam, quote(name))
		}
	}
	return nil
}

// Handler returns a handler that passes on to h the requests that Check lets through, as they are. Others are answered with 403, one
// line of text and Cache-Control: no-store.
func (a *Allow) Handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := a.Check(r); err != nil {
			refuse(w, err)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// quote makes what a stranger wrote fit for one short line.
func quote(s string) string {
	s = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return utf8.RuneError
		}
		return c
	}, clip(s, 64))
	return `"` + s + `"`
}
