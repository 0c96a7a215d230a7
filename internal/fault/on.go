//go:build plantedfaults

package fault

// Planted is the fault that is made. It is set while nothing of the module runs.
var Planted = None
