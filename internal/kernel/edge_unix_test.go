//go:build unix

package kernel

import (
	"syscall"
	"testing"
	"unsafe"
)

// An edge is memory behind which there is none, so that to read beyond it is a fault.
type edge []byte

func newEdge(t *testing.T) edge {
	t.Helper()
	page := syscall.Getpagesize()
	const size = 1 << 16
	mem, err := syscall.Mmap(-1, 0, size+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(mem) })
	if err := syscall.Mprotect(mem[size:], syscall.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	return mem[:size:size]
}

// atEnd copies row to the end of e.
func atEnd[T uint8 | int16](e edge, row []T) []T {
	size := len(row) * int(unsafe.Sizeof(row[0]))
	out := unsafe.Slice((*T)(unsafe.Pointer(&e[len(e)-size])), len(row))
	copy(out, row)
	return out
}
