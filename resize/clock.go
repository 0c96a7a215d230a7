package resize

import (
	"context"
	"fmt"
	"time"
)

// A clock ends a context when its work has taken too long. Waiting for leave to work is not work.
type clock struct {
	timer  *time.Timer
	cancel context.CancelCauseFunc
	left   time.Duration
	since  time.Time // when it was started; zero while it stands
}

// clock gives a context for work that may take as long as r allows, and its clock, which stands still.
func (r *Renderer) clock(ctx context.Context) (context.Context, *clock) {
	most := r.MaxTime
	switch {
	case most == 0:
		most = time.Minute
	case most < 0:
		return ctx, new(clock)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	late := fmt.Errorf("image %w: more than %v", ErrTooSlow, most)
	c := &clock{cancel: cancel, left: most, timer: time.AfterFunc(most, func() { cancel(late) })}
	c.timer.Stop() // nothing has begun
	return ctx, c
}

// start lets c run, unless it runs.
func (c *clock) start() {
	if c != nil && c.timer != nil && c.since.IsZero() {
		c.since = time.Now()
		c.timer.Reset(c.left)
	}
}

// stand stops c until it is started again.
func (c *clock) stand() {
	if c != nil && c.timer != nil && !c.since.IsZero() {
		c.timer.Stop()
		c.left = max(c.left-time.Since(c.since), 1)
		c.since = time.Time{}
	}
}

// Stop ends c and its context.
func (c *clock) Stop() {
	if c.timer != nil {
		c.timer.Stop()
		c.cancel(nil)
	}
}
