//go:build !unix

package kernel

import "testing"

type edge struct{}

func newEdge(*testing.T) edge { return edge{} }

func atEnd[T uint8 | int16](_ edge, row []T) []T { return row }
