package imagecdn

// Renders is how many renders h has begun.
func Renders(h *Handler) int { return int(h.rendered.Load()) }
