package imagecdn

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/resize"
)

// failures remembers, for a short while, which pictures cannot be made, so that a damaged original is not
// decoded for every request. It holds a bounded number of them.
type failures struct {
	mu    sync.Mutex // guards known
	known map[cache.Digest]failure
}

type failure struct {
	err     *httpError
	expires time.Time
}

const maxFailures = 10_000

func newFailures() *failures { return &failures{known: make(map[cache.Digest]failure)} }

func (f *failures) remember(key cache.Digest, err *httpError) {
	f.mu.Lock()
	defer f.mu.Unlock()
	makeRoom(f.known, maxFailures)
	f.known[key] = failure{err, time.Now().Add(err.lifetime)}
}

// makeRoom drops entries of m, whichever, until one more makes no more than most.
func makeRoom[K comparable, V any](m map[K]V, most int) {
	for k := range m {
		if len(m) < most {
			break
		}
		delete(m, k)
	}
}

// recall returns the error of a picture that could not be made lately, with what is left of its life.
func (f *failures) recall(key cache.Digest) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	known, ok := f.known[key]
	if !ok {
		return nil
	}
	left := time.Until(known.expires)
	if left <= 0 {
		delete(f.known, key)
		return nil
	}
	e := *known.err
	e.lifetime = left
	return &e
}

// unmakeable says what a failed render means to the client, and has it remembered where another try would
// bring no more.
func (h *Handler) unmakeable(ctx context.Context, p *picture, inputs []resize.Input, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, cache.ErrNoRoom) {
		return err
	}
	h.logPanic(err)
	e := &httpError{status: statusOf(err), text: publicText(err), cause: err}
	if e.status == http.StatusInternalServerError {
		return e
	}
	e.lifetime = p.inputs[0].source.cache.Negative()
	h.failures.remember(p.key.Sum, e)
	_, panicked := errors.AsType[*resize.PanicError](err)
	if panicked || errors.Is(err, resize.ErrDamaged) && errors.Is(err, resize.ErrTooSlow) {
		// Each other picture of it would cost as much.
		i := 0
		if in, ok := errors.AsType[*resize.InputError](err); ok {
			i = in.Index
		}
		h.failures.remember(p.inputs[i].now.Entry.Digest, e)
	}
	if p.behind {
		return e // its stand-in was made of these bytes
	}
	for i, in := range p.inputs {
		if p.drawing || errors.Is(err, resize.ErrDamaged) || errors.Is(err, resize.ErrUnsupported) || errors.Is(err, resize.ErrTooLarge) && h.tooLarge(inputs[i].Bytes) {
			in.source.cache.Spoil(in.now)
		}
	}
	return e
}

// logPanic tells the operator of a codec that has panicked. To the client it is a damaged picture.
func (h *Handler) logPanic(err error) {
	if p, ok := errors.AsType[*resize.PanicError](err); ok {
		h.log.Error("a codec panicked", "codec", p.Codec, "panic", p.Value, "stack", string(p.Stack))
	}
}

// tooLarge reports whether an original has too many pixels, whatever is made of it.
func (h *Handler) tooLarge(body []byte) bool {
	most := cmp.Or(h.opts.MaxPixels, 50e6)
	info, err := resize.Probe(body)
	return err == nil && most > 0 && int64(info.Width)*int64(info.Height) > most
}
