package icc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// A curve is a table, or a formula. A table takes 0 to 1, to which all else is clipped, to 0 to 1; a formula goes on outside.
type curve struct {
	table []byte // of 16-bit numbers; nil for a formula
	small bool   // of 8-bit numbers

	// The formula is (ax+b)^g+e from d on, and cx+f before. All zero means that there is none: the identity.
	g, a, b, c, d, e, f float64
}

// paramCount is how many parameters each function of parametricCurveType has (ICC.1:2022, table 68).
var paramCount = [5]int{1, 3, 4, 5, 7}

// readCurve reads curveType or parametricCurveType, and says how many bytes it has.
func readCurve(b []byte) (c curve, size int, err error) {
	if len(b) < 12 {
		return c, 0, errors.New("icc: a profile without a curve")
	}
	switch kind := string(b[:4]); kind {
	case "curv":
		n := uint64(binary.BigEndian.Uint32(b[8:]))
		if 12+2*n > uint64(len(b)) {
			return c, 0, errCut
		}
		switch n {
		case 0:
		case 1:
			c.gamma(float64(binary.BigEndian.Uint16(b[12:])) / 256)
		default:
			c.table = b[12:][:2*n]
		}
		return c, 12 + 2*int(n), nil
	case "para":
		kind := int(binary.BigEndian.Uint16(b[8:]))
		if kind >= len(paramCount) {
			return c, 0, fmt.Errorf("icc: a curve by function %d", kind)
		}
		size = 12 + 4*paramCount[kind]
		if size > len(b) {
			return c, 0, errCut
		}
		var v [7]float64
		for i := range paramCount[kind] {
			v[i] = fixed(b[12+4*i:])
		}
		switch kind {
		case 0:
			c.gamma(v[0])
		case 1, 2:
			c.g, c.a, c.b, c.e, c.f = v[0], v[1], v[2], v[3], v[3]
			if c.a != 0 {
				c.d = -c.b / c.a
			}
		case 3, 4:
			c.g, c.a, c.b, c.c, c.d, c.e, c.f = v[0], v[1], v[2], v[3], v[4], v[5], v[6]
		}
		return c, size, nil
	default:
		return c, 0, fmt.Errorf("icc: a curve of type %q", kind)
	}
}

// gamma makes c a power. That of one is the identity, below zero too.
func (c *curve) gamma(g float64) {
	if g != 1 {
		c.g, c.a = g, 1
	}
}

func (c *curve) identity() bool { return c.table == nil && c.g == 0 && c.a == 0 }

func (c *curve) at(x float64) float64 {
	switch {
	case c.table != nil:
		return c.look(clamp1(x))
	case c.identity():
		return x
	case x < c.d:
		return bounded(c.c*x + c.f)
	}
	return bounded(math.Pow(max(c.a*x+c.b, 0), c.g) + c.e)
}

// bounded keeps what formulas of strangers give finite.
func bounded(v float64) float64 {
	if v != v {
		return 0
	}
	return min(max(v, -1000), 1000)
}

// look interpolates in the table.
func (c *curve) look(x float64) float64 {
	n, value := len(c.table)/2, func(i int) float64 { return float64(binary.BigEndian.Uint16(c.table[2*i:])) / 65535 }
	if c.small {
		n, value = len(c.table), func(i int) float64 { return float64(c.table[i]) / 255 }
	}
	at := x * float64(n-1)
	i := min(int(at), n-2)
	lo, hi := value(i), value(i+1)
	return lo + (at-float64(i))*(hi-lo)
}
