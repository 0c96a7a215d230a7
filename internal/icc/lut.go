package icc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// A lut takes a colour to the connection space: curves, a grid, curves, a matrix, curves, as lutAToBType has them
// (ICC.1:2022, 10.12). The older types are the same without the middle. Steps that are not there are nil.
type lut struct {
	a      []curve // one for each channel
	grid   *grid
	m      []curve
	matrix *[12]float64 // 3 by 3, then what is added
	b      []curve

	decode func(v [3]float64) [3]float64 // what comes out, 0 to 1, as XYZ
}

// A grid has three numbers for each combination of some values of its channels; the last channel varies fastest.
type grid struct {
	points [4]int // for each of the channels
	stride [4]int // in nodes
	n      int    // channels
	data   []byte // 8- or 16-bit numbers
	wide   bool
}

// The encodings of the connection space (ICC.1:2022, 6.3.4.2 and 10.10).
func decodeXYZ(v [3]float64) [3]float64 {
	return [3]float64{v[0] * mostXYZ, v[1] * mostXYZ, v[2] * mostXYZ}
}

const mostXYZ = 1 + 32767.0/32768

func decodeLab(v [3]float64) [3]float64 { return fromLab(100*v[0], 255*v[1]-128, 255*v[2]-128) }

// decodeOldLab is that of lut16Type in any version: white is 0xff00.
func decodeOldLab(v [3]float64) [3]float64 {
	const f = 65535.0 / 65280
	return decodeLab([3]float64{v[0] * f, v[1] * f, v[2] * f})
}

// readLUT reads an A2B tag for n channels.
func readLUT(b []byte, n int, lab bool) (*lut, error) {
	if len(b) < 32 {
		return nil, errCut
	}
	if in, out := int(b[8]), int(b[9]); in != n || out != 3 {
		return nil, fmt.Errorf("icc: a table of %d channels to %d, for %d to 3", in, out, n)
	}
	l := &lut{decode: decodeXYZ}
	if lab {
		l.decode = decodeLab
	}
	switch kind := string(b[:4]); kind {
	case "mft1":
		return l, l.readOld(b, 48, 256, 256, true)
	case "mft2":
		if lab {
			l.decode = decodeOldLab
		}
		if len(b) < 52 {
			return nil, errCut
		}
		return l, l.readOld(b, 52, int(binary.BigEndian.Uint16(b[48:])), int(binary.BigEndian.Uint16(b[50:])), false)
	case "mAB ":
		return l, l.readNew(b)
	default:
		return nil, fmt.Errorf("icc: a table of type %q", kind)
	}
}

// readOld reads lut8Type and lut16Type. Their matrix is for XYZ that comes in, and no device's.
func (l *lut) readOld(b []byte, at, entriesIn, entriesOut int, small bool) error {
	if entriesIn < 2 || entriesOut < 2 {
		return errors.New("icc: a table of less than two entries")
	}
	width := 2
	if small {
		width = 1
	}
	n := int(b[8])
	rest := b[min(at, len(b)):]
	take := func(size int) []byte {
		if size > len(rest) {
			return nil
		}
		var part []byte
		part, rest = rest[:size], rest[size:]
		return part
	}
	for range n {
		t := take(entriesIn * width)
		if t == nil {
			return errCut
		}
		l.a = append(l.a, curve{table: t, small: small})
	}
	var err error
	points := []byte{b[10], b[10], b[10], b[10]}
	if l.grid, rest, err = readGrid(rest, points[:n], !small); err != nil {
		return err
	}
	for range 3 {
		t := take(entriesOut * width)
		if t == nil {
			return errCut
		}
		l.b = append(l.b, curve{table: t, small: small})
	}
	return nil
}

// readNew reads lutAToBType.
func (l *lut) readNew(b []byte) (err error) {
	n := int(b[8])
	part := func(i int) []byte {
		at := binary.BigEndian.Uint32(b[12+4*i:])
		if at == 0 || uint64(at) >= uint64(len(b)) {
			return nil
		}
		return b[at:]
	}
	curves := func(b []byte, n int) (all []curve, err error) {
		if b == nil {
			return nil, nil
		}
		for range n {
			c, size, err := readCurve(b)
			if err != nil {
				return nil, err
			}
			all = append(all, c)
			b = b[min((size+3)&^3, len(b)):]
		}
		return all, nil
	}
	if l.b, err = curves(part(0), 3); err != nil {
		return err
	}
	if m := part(1); m != nil {
		if len(m) < 48 {
			return errCut
		}
		l.matrix = new([12]float64)
		for i := range l.matrix {
			l.matrix[i] = fixed(m[4*i:])
		}
	}
	if l.m, err = curves(part(2), 3); err != nil {
		return err
	}
	if g := part(3); g != nil {
		if len(g) < 20 || g[16] != 1 && g[16] != 2 {
			return errCut
		}
		if l.grid, _, err = readGrid(g[20:], g[:n], g[16] == 2); err != nil {
			return err
		}
	}
	if l.a, err = curves(part(4), n); err != nil {
		return err
	}
	if l.grid == nil && n != 3 {
		return errors.New("icc: a table without a grid")
	}
	return nil
}

// readGrid reads a grid with so many points for each channel, and gives what is left.
func readGrid(b, points []byte, wide bool) (*grid, []byte, error) {
	g := &grid{n: len(points), wide: wide}
	size := uint64(3)
	for i := len(points) - 1; i >= 0; i-- {
		if points[i] < 2 {
			return nil, nil, errors.New("icc: a grid of less than two points")
		}
		g.points[i], g.stride[i] = int(points[i]), int(size/3)
		size *= uint64(points[i]) // below 3·2³² for four channels
	}
	if wide {
		size *= 2
	}
	if size > uint64(len(b)) {
		return nil, nil, errCut
	}
	g.data = b[:size]
	return g, b[size:], nil
}

// matrixOnly gives the curves and the matrix of tables that consist of these, for XYZ.
func (l *lut) matrixOnly(lab bool) (trc [3]curve, m *[12]float64, ok bool) {
	if lab || l.grid != nil || l.matrix == nil {
		return trc, nil, false
	}
	for i := range l.b {
		if !l.b[i].identity() {
			return trc, nil, false
		}
	}
	// Without a grid there is one set of curves before the matrix; who writes the other as well means both.
	if l.a != nil && l.m != nil {
		return trc, nil, false
	}
	copy(trc[:], l.a)
	copy(trc[:], l.m)
	return trc, l.matrix, true
}

func (l *lut) xyz(in []float64) [3]float64 {
	var v [4]float64
	copy(v[:], in)
	for i := range l.a {
		v[i] = l.a[i].at(v[i])
	}
	c := [3]float64{v[0], v[1], v[2]}
	if l.grid != nil {
		c = l.grid.at(v)
	}
	for i := range l.m {
		c[i] = l.m[i].at(c[i])
	}
	if m := l.matrix; m != nil {
		x, y, z := c[0], c[1], c[2]
		for i := range c {
			c[i] = m[3*i]*x + m[3*i+1]*y + m[3*i+2]*z + m[9+i]
		}
	}
	for i := range l.b {
		c[i] = l.b[i].at(c[i])
	}
	return l.decode(c)
}

// at interpolates: between tetrahedra of the last three channels, and of four linearly along the first, which is what
// littleCMS does.
func (g *grid) at(v [4]float64) [3]float64 {
	var base int
	var frac [4]float64
	for i := range g.n {
		at := clamp1(v[i]) * float64(g.points[i]-1)
		cell := min(int(at), g.points[i]-2)
		frac[i] = at - float64(cell)
		base += cell * g.stride[i]
	}
	if g.n == 3 {
		return g.tetrahedron(base, g.stride[:3], frac[:3])
	}
	lo := g.tetrahedron(base, g.stride[1:], frac[1:])
	hi := g.tetrahedron(base+g.stride[0], g.stride[1:], frac[1:])
	for i := range lo {
		lo[i] += frac[0] * (hi[i] - lo[i])
	}
	return lo
}

// tetrahedron walks from a corner of a cell to the opposite one, along the axes in the order of their fractions.
func (g *grid) tetrahedron(base int, stride []int, frac []float64) [3]float64 {
	order := [3]int{0, 1, 2}
	if frac[order[0]] < frac[order[1]] {
		order[0], order[1] = order[1], order[0]
	}
	if frac[order[1]] < frac[order[2]] {
		order[1], order[2] = order[2], order[1]
	}
	if frac[order[0]] < frac[order[1]] {
		order[0], order[1] = order[1], order[0]
	}
	out := g.node(base)
	last := out
	for _, axis := range order {
		base += stride[axis]
		next := g.node(base)
		for i := range out {
			out[i] += frac[axis] * (next[i] - last[i])
		}
		last = next
	}
	return out
}

func (g *grid) node(i int) [3]float64 {
	if g.wide {
		b := g.data[6*i:][:6]
		return [3]float64{
			float64(binary.BigEndian.Uint16(b)) / math.MaxUint16,
			float64(binary.BigEndian.Uint16(b[2:])) / math.MaxUint16,
			float64(binary.BigEndian.Uint16(b[4:])) / math.MaxUint16,
		}
	}
	b := g.data[3*i:][:3]
	return [3]float64{float64(b[0]) / 255, float64(b[1]) / 255, float64(b[2]) / 255}
}
