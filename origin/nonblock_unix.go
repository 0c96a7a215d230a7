//go:build unix

package origin

import "syscall"

// nonblock keeps an open of what has become a FIFO since it was stat'ed from waiting for a writer.
const nonblock = syscall.O_NONBLOCK
