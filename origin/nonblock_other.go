//go:build !unix

package origin

const nonblock = 0
