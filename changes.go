package imagecdn

import (
	"context"
	"errors"
	"sync"

	"github.com/imagecdn/imagecdn/purge"
)

// ChangesTenant is on whose behalf purges are made that no one asked for.
const ChangesTenant = "(changes)"

// maxChanges is how many changes may be on their way to the log. Those beyond are not noted there; the cache has
// followed them all the same.
const maxChanges = 64

// changes notes in the log of purges what origins were found to have changed.
type changes struct {
	h *Handler

	mu     sync.Mutex // guards what follows
	noting int
	closed bool
	done   sync.WaitGroup
}

// note is told of a change by a request, and does not keep it waiting.
func (c *changes) note(source, image string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.noting == maxChanges {
		return
	}
	c.noting++
	c.done.Go(func() {
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.noting--
		}()
		_, err := c.h.purges.Submit(context.Background(), purge.Request{
			Paths: []string{purge.EscapePath("/" + source + image)}, Mode: purge.Followed, Tenant: ChangesTenant, Cause: purge.ByOrigin,
		}, nil)
		if err != nil && !errors.Is(err, purge.ErrClosed) {
			c.h.log.Warn("a change at an origin is not in the log of purges", "image", "/"+source+image, "error", err)
		}
	})
}

func (c *changes) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.done.Wait()
}
