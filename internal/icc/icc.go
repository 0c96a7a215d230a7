// Package icc converts pictures between colour spaces by ICC profiles (ICC.1:2022, and version 2 as in ICC.1:2001-04).
//
//	p, err := icc.Parse(profile)
//	t := icc.New(p, icc.SRGB)
//	if !t.Identity() {
//		t.RGB(dst, src)
//	}
//
// It reads input profiles: gray with a curve, RGB with curves and a matrix, and RGB and CMYK with tables (lut8Type,
// lut16Type, lutAToBType), of either connection space. What comes out is one of two spaces that it knows.
//
// # What is computed
//
// The intent is perceptual (tag A2B0), with the compensation of black points that littleCMS applies to it:
// what jpgicc and transicc do when nothing is said and the output is their own sRGB. Floating point tags (D2B0) and named
// colours are not read. Colours that the output has no numbers for are clipped, channel by channel.
//
// # Safety
//
// Profiles are bytes of strangers. Every offset and count is checked against the bytes that there are, what is built
// from a profile has a size that does not depend on it, and no input makes any function panic.
package icc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// MaxBytes is the largest profile that Parse takes. Those of presses, the largest in use, have 0.5 to 2 MB.
const MaxBytes = 4 << 20

// A Space is what the numbers of a picture are.
type Space uint8

const (
	Gray Space = 1 // one number
	RGB  Space = 3 // three
	CMYK Space = 4 // four, 255 is all ink
)

// A Profile says what the numbers of a picture look like. It is not changed once it is made.
type Profile struct {
	space Space
	v4    bool

	tables bool // it is a profile of tables, whatever they consist of

	// One of these: curves with a matrix (RGB) or alone (gray), or tables.
	trc    [3]curve
	matrix [3][3]float64 // columns are red, green and blue in XYZ, by D50
	add    [3]float64    // XYZ of black
	grayL  bool          // the curve gives L* rather than Y
	lut    *lut
}

// Space is what the pictures that p is for consist of.
func (p *Profile) Space() Space { return p.space }

var errCut = errors.New("icc: profile cut off")

// SpaceOf gives the space of a profile by its header alone, and zero for one that Parse does not take either.
func SpaceOf(b []byte) Space {
	if len(b) < 132 || len(b) > MaxBytes || string(b[36:40]) != "acsp" {
		return 0
	}
	switch string(b[16:20]) {
	case "GRAY":
		return Gray
	case "RGB ":
		return RGB
	case "CMYK":
		return CMYK
	}
	return 0
}

// Parse reads a profile. It keeps parts of b.
func Parse(b []byte) (*Profile, error) {
	p := &Profile{space: SpaceOf(b)}
	if p.space == 0 {
		return nil, errors.New("icc: not a profile of gray, RGB or CMYK")
	}
	p.v4 = b[8] >= 4
	switch class := string(b[12:16]); class {
	case "mntr", "scnr", "prtr", "spac":
	default:
		return nil, fmt.Errorf("icc: a profile of class %q", class)
	}
	var lab bool
	switch pcs := string(b[20:24]); pcs {
	case "XYZ ":
	case "Lab ":
		lab = true
	default:
		return nil, fmt.Errorf("icc: a connection space %q", pcs)
	}
	tags, err := readTags(b)
	if err != nil {
		return nil, err
	}
	// Tables win over a matrix, as everywhere: who writes both means the matrix for those who cannot read tables.
	table := tags["A2B0"]
	if table == nil && tags["rTRC"] == nil {
		table = tags["A2B1"]
	}
	switch {
	case p.space != Gray && table != nil:
		p.tables = true
		p.lut, err = readLUT(table, int(p.space), lab)
		if err != nil || p.space != RGB {
			break
		}
		if trc, m, ok := p.lut.matrixOnly(lab); ok {
			p.trc = trc
			for i := range 3 {
				full := decodeXYZ([3]float64(m[3*i : 3*i+3]))
				p.matrix[i], p.add[i] = full, m[9+i]*mostXYZ
			}
			p.lut = nil
		}
	case p.space == Gray && tags["kTRC"] != nil:
		p.grayL = lab
		p.trc[0], _, err = readCurve(tags["kTRC"])
	case p.space == RGB:
		err = p.readMatrix(tags)
	default:
		err = errors.New("icc: a profile without a way to its connection space")
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// readTags gives the tags' data, by name.
func readTags(b []byte) (map[string][]byte, error) {
	n := binary.BigEndian.Uint32(b[128:])
	if n > 256 || 132+12*int(n) > len(b) {
		return nil, errCut
	}
	tags := make(map[string][]byte, n)
	for i := range int(n) {
		t := b[132+12*i:][:12]
		at, size := uint64(binary.BigEndian.Uint32(t[4:])), uint64(binary.BigEndian.Uint32(t[8:]))
		if at+size > uint64(len(b)) || size < 8 {
			continue // matters only where the tag does
		}
		tags[string(t[:4])] = b[at : at+size]
	}
	return tags, nil
}

func (p *Profile) readMatrix(tags map[string][]byte) (err error) {
	for i, c := range []string{"r", "g", "b"} {
		if p.trc[i], _, err = readCurve(tags[c+"TRC"]); err != nil {
			return err
		}
		xyz := tags[c+"XYZ"]
		if len(xyz) < 20 || string(xyz[:4]) != "XYZ " {
			return errors.New("icc: a profile without colorants")
		}
		for j := range 3 {
			p.matrix[j][i] = fixed(xyz[8+4*j:])
		}
	}
	return nil
}

// fixed reads an s15Fixed16Number.
func fixed(b []byte) float64 { return float64(int32(binary.BigEndian.Uint32(b))) / 65536 }

// d50 is the white of the connection space, as profiles have it (ICC.1:2022, 7.2.16).
var d50 = [3]float64{0.9642, 1, 0.8249}

// perceptualBlack is the black of the perceptual intent in version 4 (ICC.1:2022, 6.3.4.3).
var perceptualBlack = [3]float64{0.00336, 0.0034731, 0.00287}

// xyz takes a colour, of values 0 to 1, to the connection space.
func (p *Profile) xyz(in []float64) [3]float64 {
	switch {
	case p.lut != nil:
		return p.lut.xyz(in)
	case p.space == Gray:
		y := p.trc[0].at(in[0])
		if p.grayL {
			return fromLab(100*y, 0, 0)
		}
		return [3]float64{y * d50[0], y * d50[1], y * d50[2]}
	}
	r, g, b := p.trc[0].at(in[0]), p.trc[1].at(in[1]), p.trc[2].at(in[2])
	var out [3]float64
	for i, m := range &p.matrix {
		out[i] = m[0]*r + m[1]*g + m[2]*b + p.add[i]
	}
	return out
}

// black gives the black point, as littleCMS's cmsDetectBlackPoint finds it: the darkest colorant made neutral, or what
// version 4 fixes for tables.
func (p *Profile) black() [3]float64 {
	if p.v4 && p.tables {
		return perceptualBlack
	}
	in := []float64{0, 0, 0, 0}
	if p.space == CMYK {
		in = []float64{1, 1, 1, 1}
	}
	l := lightness(p.xyz(in)[1])
	if !(l > 0 && l <= 50) {
		return [3]float64{}
	}
	return fromLab(l, 0, 0)
}

func fromLab(l, a, b float64) [3]float64 {
	f := func(t float64) float64 {
		if t <= 24.0/116 {
			return (108.0 / 841) * (t - 16.0/116)
		}
		return t * t * t
	}
	y := (l + 16) / 116
	return [3]float64{f(y+a/500) * d50[0], f(y) * d50[1], f(y-b/200) * d50[2]}
}

func lightness(y float64) float64 {
	if y <= 24.0*24*24/(116*116*116) {
		return 116*(841.0/108*y+16.0/116) - 16
	}
	return 116*math.Cbrt(y) - 16
}

func clamp1(v float64) float64 {
	if !(v > 0) { // NaN too
		return 0
	}
	return min(v, 1)
}
