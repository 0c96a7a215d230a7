//go:build !purego

package kernel

import "golang.org/x/sys/cpu"

var accelerated = cpu.ARM64.HasASIMD
