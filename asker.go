package imagecdn

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/internal/client"
)

// An asker is the context of a request, and says who sent it. Work that several requests share has the asker of the one that began
// it: it waits where that one does, and what the others are charged with is their own leave alone.
type asker struct {
	context.Context
	r      *http.Request
	source string // of the image that is asked for
	path   string // of that image
	seat   *seat  // that was taken for it last; nil where none was

	// Both happen in the request's own goroutines, before it waits for anything.
	named    sync.Once // guards client and since
	admitted sync.Once // guards err
	makes    bool      // a picture, if that is not in the cache
	client   string
	since    time.Duration // from when the handler was made until it was found that more has to be done than to look into the cache
	err      error         // why the request may not go on
}

type askerKey struct{}

func (a *asker) Value(key any) any {
	if key == (askerKey{}) {
		return a
	}
	return a.Context.Value(key)
}

// askedBy is the context of a request for a picture.
func askedBy(r *http.Request, req *parsed) *asker {
	return &asker{Context: r.Context(), r: r, source: req.Image.Source, path: req.Image.Path, makes: !req.asIs}
}

// askerOf is who ctx is of; nil where no request is.
func askerOf(ctx context.Context) *asker {
	a, _ := ctx.Value(askerKey{}).(*asker)
	return a
}

// image tells images apart.
func (a *asker) image() string { return a.source + a.path }

// name finds out who sent the request.
func (a *asker) name(h *Handler) {
	a.named.Do(func() {
		a.since = time.Since(h.stats.began)
		named := h.opts.Client
		if named == nil {
			named = client.Of
		}
		a.client = named(a.r)
	})
}

// admit asks for leave to do more for a request than to look into the cache. It may be asked several times for one.
func (h *Handler) admit(ctx context.Context) error {
	a := askerOf(ctx)
	if a == nil || cache.IsBehind(ctx) {
		return nil
	}
	a.name(h)
	a.admitted.Do(func() {
		if h.opts.Admit == nil {
			return
		}
		if err := h.opts.Admit(a.r); err != nil {
			e := &httpError{status: http.StatusTooManyRequests, text: err.Error(), retryAfter: time.Second, cause: err}
			var later interface{ RetryAfter() time.Duration }
			if errors.As(err, &later) {
				e.retryAfter = max(later.RetryAfter(), time.Second)
			}
			a.err = e
		}
	})
	return a.err
}

// admitFetch asks for leave to fetch an image. One that is known is only compared, more often than not, and a hit after that.
func (h *Handler) admitFetch(ctx context.Context, known bool) error {
	a := askerOf(ctx)
	if a == nil {
		return nil
	}
	if known {
		a.name(h)
		return nil
	}
	if err := h.admit(ctx); err != nil {
		return err
	}
	if a.makes && !h.gate.seat(a) {
		return errOverloaded // the picture would be refused, once its original is here
	}
	return nil
}

// pathOf is where in the queues the work of ctx waits.
func pathOf(ctx context.Context) []string {
	if a := askerOf(ctx); a != nil {
		return []string{a.source, a.client}
	}
	return []string{"", ""}
}
