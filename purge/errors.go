package purge

import (
	"context"
	"errors"
	"fmt"
)

// Why a call was refused, to be compared with errors.Is.
var (
	// ErrBusy: too many jobs wait already. Try again later.
	ErrBusy error = &codedError{"busy", "purge: too many jobs are waiting"}

	// ErrClosed: the service is closed.
	ErrClosed error = &codedError{"closed", "purge: the service is closed"}

	// ErrNotFound: the log has no such job: there never was one, or its record
	// has been dropped to make room.
	ErrNotFound error = &codedError{"not_found", "purge: there is no such job"}

	// ErrNotFinished: the job cannot be retried, since it is not at its end.
	ErrNotFinished error = &codedError{"not_finished", "purge: the job has not finished"}

	// ErrNotWaiting: the job cannot be cancelled, since a worker has it, or had it.
	ErrNotWaiting error = &codedError{"not_waiting", "purge: the job does not wait any more"}

	// ErrNotOwner: the job belongs to another node.
	ErrNotOwner error = &codedError{"not_owner", "purge: the job belongs to another node"}

	// ErrUnavailable: the other nodes of the cluster, or what keeps the jobs of all, cannot be reached. Nothing was promised.
	ErrUnavailable error = &codedError{"unavailable", "purge: the cluster cannot be reached"}

	// ErrNothingFailed: there is nothing to retry.
	ErrNothingFailed error = &codedError{"nothing_failed", "purge: nothing of the job has failed"}
)

type codedError struct{ code, text string }

func (e *codedError) Error() string { return e.text }
func (e *codedError) Code() string  { return e.code }

// A RequestError says which part of a request was refused, and why.
type RequestError struct {
	Field  string // as in JSON: "scope", "paths", "tags", "source", "mode", "tenant", "cursor"
	Reason string // what is wrong with it, as a predicate
}

func (e *RequestError) Error() string { return e.Field + " " + e.Reason }

func errNoSelector(s Scope) error {
	return &RequestError{"scope", fmt.Sprintf("is %q, which cannot be purged here", s)}
}

// Code returns "invalid_request".
func (e *RequestError) Code() string { return "invalid_request" }

// ErrorCode returns the word for err that a program can act on:
//
//	invalid_path     *PathError        400
//	invalid_request  *RequestError     400
//	not_found        ErrNotFound       404
//	not_finished     ErrNotFinished    409
//	not_waiting      ErrNotWaiting     409
//	not_owner        ErrNotOwner       409
//	nothing_failed   ErrNothingFailed  409
//	too_many_paths   *LimitError       400
//	limited          *LimitError       429
//	busy             ErrBusy           429
//	closed           ErrClosed         503
//	unavailable      ErrUnavailable    503
//	cancelled        the context ended 503
//	internal         anything else     500
//
// with the HTTP status that suits it. A Target's error that has a method
// Code() string keeps the word it chose.
func ErrorCode(err error) string {
	var coded interface{ Code() string }
	switch {
	case errors.As(err, &coded):
		return coded.Code()
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "cancelled"
	}
	return "internal"
}

// Permanent marks err as one that trying again does not mend, so that the
// service does not. It returns nil if err is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

// errPanic stands for a panic: the text is public, what was thrown is logged.
var errPanic = Permanent(errors.New("internal error"))

func isPermanent(err error) bool {
	_, permanent := errors.AsType[*permanentError](err)
	return permanent || isRefusal(err)
}

// isRefusal reports whether err says what is wrong with the request itself.
func isRefusal(err error) bool {
	_, path := errors.AsType[*PathError](err)
	_, request := errors.AsType[*RequestError](err)
	return path || request
}
