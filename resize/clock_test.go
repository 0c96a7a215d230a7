package resize

import (
	"bytes"
	"context"
	"errors"
	"image"
	"testing"
	"testing/synctest"
	"time"
)

// A slow codec begins to work, and ends with its context.
func registerSlow(t *testing.T, begun chan<- struct{}) {
	before := registry.Load()
	t.Cleanup(func() { registry.Store(before) })
	Register(Codec{
		Format: "slow",
		Match:  func(b []byte) bool { return bytes.HasPrefix(b, []byte("slow")) },
		Probe: func([]byte) (Info, error) {
			return Info{Format: "slow", Width: 10, Height: 10, Orientation: 1, Frames: 1}, nil
		},
		Decode: func(ctx context.Context, _ []byte, _ DecodeOptions) (image.Image, error) {
			begun <- struct{}{}
			<-ctx.Done()
			return nil, context.Cause(ctx)
		},
	})
}

// TestMaxTime: decoding ends when it has taken too long, whether it is shared or not. Waiting for leave does not count.
func TestMaxTime(t *testing.T) {
	for _, shared := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			begun := make(chan struct{}, 1)
			registerSlow(t, begun)
			r := Renderer{MaxTime: 3 * time.Second, Admit: func(context.Context, int64, bool) (func(), error) {
				time.Sleep(time.Hour)
				return func() {}, nil
			}}
			in := Input{Bytes: []byte("slow")}
			if shared {
				r.Pyramids = NewPyramids(nil)
				defer r.Pyramids.Close()
				in.ID = "slow"
			}
			start := time.Now()
			_, err := r.RenderInputs(t.Context(), Plan{Width: 5, Format: PNG}, []Input{in})
			if !errors.Is(err, ErrTooSlow) || !errors.Is(err, ErrDamaged) {
				t.Errorf("shared %v: %v, want ErrTooSlow", shared, err)
			}
			if took := time.Since(start); len(begun) != 1 || took != time.Hour+3*time.Second {
				t.Errorf("shared %v: after %v", shared, took)
			}
		})
	}
	// A standing clock loses nothing.
	synctest.Test(t, func(t *testing.T) {
		ctx, c := (&Renderer{MaxTime: 10 * time.Second}).clock(t.Context())
		defer c.Stop()
		for range 3 {
			c.start()
			time.Sleep(3 * time.Second)
			c.stand()
			time.Sleep(time.Minute)
		}
		if ctx.Err() != nil {
			t.Error("ended after 9 seconds of 10")
		}
		c.start()
		time.Sleep(1001 * time.Millisecond)
		if !errors.Is(context.Cause(ctx), ErrTooSlow) {
			t.Errorf("after 10 seconds: %v", context.Cause(ctx))
		}
	})
}
