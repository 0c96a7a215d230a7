//go:build !plantedfaults

package fault

// Planted is the fault that is made.
const Planted = None
