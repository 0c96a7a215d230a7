// Package origin is where originals come from. Every origin is an [http.RoundTripper], so that a
// cache, a limiter or a test can stand in front of any of them, or in place of one.
//
//	shop, err := origin.NewHTTP("https://img.example.com/catalogue", nil)
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer shop.Close()
//
//	photos, err := origin.OpenDir("./photos")
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer photos.Close()
//
// # The request
//
// A request is source-relative: URL.Path is the image's decoded path ("/cat.jpg", "/a b/c.jpg"), with a
// leading slash and no empty, "." or ".." segment. URL.RawQuery is seldom there: an origin that is asked over HTTP passes it
// on, and others ignore it. Scheme, host and fragment are placeholders and ignored. The method is GET or HEAD. A request that breaks these rules is an error, never a guess.
//
// Conditions (If-None-Match, If-Modified-Since) and directives (Cache-Control) have their usual meaning.
// Range and If-Range are not passed on: an original comes whole, or not at all.
//
// # The response
//
// A response is what the origin said: 200 with the bytes, 304 for a condition that holds, 404, 410, 503.
// An error means that it said nothing that can be used; [Status] turns it into an HTTP status. A body that
// ends early ends in an error that is [io.ErrUnexpectedEOF], never in io.EOF: half an image must not pass for
// a whole one. Response.Request is the source-relative request, so that addresses behind an origin stay there.
//
// Package origintest has these rules as tests, for an origin of one's own.
//
// # Errors
//
// The text of an [Error] is one line that may be shown to anybody: it has no address, no host and no file name
// in it. The cause, which may have all three, is for the log.
//
// # What is promised
//
// An HTTP origin dials no address but a public one, whatever a URL, a redirect or a DNS answer says, unless
// [HTTPOptions].AllowPrivate is set. A directory opens nothing outside itself, whatever a path or a
// symbolic link says. Both honour the request's context, and are safe for concurrent use.
package origin

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/imagecdn/imagecdn/internal/cleanpath"
)

var (
	// ErrRefused is for what this package would not do: dial a private address or another port, follow a
	// redirect to another scheme, or read a path that is not clean.
	ErrRefused = errors.New("origin: refused")

	// ErrTimeout is for an origin that was too slow: to connect, to begin its answer, or to end it.
	ErrTimeout = errors.New("origin: too slow")

	// ErrBroken is for an origin that was not asked, as it has failed often: see [HTTPOptions].BreakAfter.
	ErrBroken = errors.New("origin: left alone")
)

// An Error is what RoundTrip, and Read of a response's body, return.
type Error struct {
	// Text is one line for anybody to read. It holds no address, host or file name.
	Text string

	// Kind is ErrRefused, ErrTimeout, ErrBroken, io.ErrUnexpectedEOF for a body that was cut short,
	// context.Canceled for a caller that went away, or nil for any other failure.
	Kind error

	// Cause is what happened, for the log. It may be nil.
	Cause error
}

// Error returns Text.
func (e *Error) Error() string { return e.Text }

// Unwrap returns Kind and Cause, those that are not nil.
func (e *Error) Unwrap() []error {
	var errs []error
	if e.Kind != nil {
		errs = append(errs, e.Kind)
	}
	if e.Cause != nil {
		errs = append(errs, e.Cause)
	}
	return errs
}

// Status returns the HTTP status for an error of an origin: 403 for ErrRefused, 504 for ErrTimeout and for a
// context whose deadline passed, 502 for any other. ErrBroken has the status of what failed last.
func Status(err error) int {
	switch {
	case errors.Is(err, ErrRefused):
		return http.StatusForbidden
	case errors.Is(err, ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}

// admit checks that a request is one an origin answers. It closes the request's body, as a RoundTripper must.
func admit(req *http.Request) error {
	if req.Body != nil {
		req.Body.Close()
	}
	if req.Method != http.MethodGet && req.Method != http.MethodHead && req.Method != "" {
		return &Error{Text: "origin: refused: the method must be GET or HEAD", Kind: ErrRefused}
	}
	if req.URL == nil || !cleanpath.Is(req.URL.Path) {
		return &Error{
			Text: "origin: refused: the path must begin with a slash and have no empty, . or .. segment",
			Kind: ErrRefused,
		}
	}
	if err := req.Context().Err(); err != nil {
		return failure(err)
	}
	return nil
}

// failure makes the Error for what went wrong before the response's header was there.
func failure(err error) *Error {
	var e *Error
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &e):
		if e == err {
			return e
		}
		return &Error{Text: e.Text, Kind: e.Kind, Cause: err}
	case errors.Is(err, context.Canceled):
		return &Error{Text: "origin: the request was cancelled", Kind: context.Canceled, Cause: err}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return &Error{Text: "origin: the origin was too slow", Kind: ErrTimeout, Cause: err}
	}
	return &Error{Text: "origin: the origin could not be reached or gave no valid answer", Cause: err}
}

// cutShort makes the Error for what went wrong while a body was read. It is never io.EOF.
func cutShort(err error) *Error {
	e := failure(err)
	if e.Kind == nil {
		e = &Error{Text: "origin: the body was cut short", Kind: io.ErrUnexpectedEOF, Cause: err}
	}
	return e
}
