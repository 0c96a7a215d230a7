package imagecdn

import "context"

// Renders is how many renders h has begun.
func Renders(h *Handler) int { return int(h.rendered.Load()) }

// HoldGate takes all room to make pictures, until release is called.
func HoldGate(h *Handler) (release func()) {
	if err := h.gate.slots.Acquire(context.Background(), h.gate.size); err != nil {
		panic(err)
	}
	return func() { h.gate.slots.Release(h.gate.size) }
}

// Warming reports whether a picture is being made that nobody has asked for.
func Warming(h *Handler) bool {
	h.gate.mu.Lock()
	defer h.gate.mu.Unlock()
	return h.gate.cancel != nil
}
