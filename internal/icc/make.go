package icc

import (
	"encoding/binary"
	"math"
)

// Primaries are the chromaticities, x and y, of red, green, blue and white.
type Primaries [4][2]float64

var (
	d65       = [2]float64{0.3127, 0.3290}
	srgbXY    = Primaries{{0.64, 0.33}, {0.30, 0.60}, {0.15, 0.06}, d65} // ITU-R BT.709
	adobeXY   = Primaries{{0.64, 0.33}, {0.21, 0.71}, {0.15, 0.06}, d65}
	p3XY      = Primaries{{0.680, 0.320}, {0.265, 0.690}, {0.150, 0.060}, d65}
	rec2020XY = Primaries{{0.708, 0.292}, {0.170, 0.797}, {0.131, 0.046}, d65}
)

var primariesOf = [...]Primaries{SRGB: srgbXY, AdobeRGB: adobeXY}

// adobeGamma is 2 and 51/256 (Adobe RGB (1998) Color Image Encoding, 4.3.1.2).
const adobeGamma = 563.0 / 256

func encodeSRGB(v float64) float64 {
	if v <= 0.0031308 {
		return 12.92 * v
	}
	return 1.055*math.Pow(v, 1/2.4) - 0.055
}

func encodeAdobe(v float64) float64 { return math.Pow(v, 1/adobeGamma) }

type matrix [3][3]float64

func (m matrix) times(n matrix) (out matrix) {
	for i := range 3 {
		for j := range 3 {
			out[i][j] = m[i][0]*n[0][j] + m[i][1]*n[1][j] + m[i][2]*n[2][j]
		}
	}
	return out
}

func (m matrix) of(v [3]float64) (out [3]float64) {
	for i, r := range m {
		out[i] = r[0]*v[0] + r[1]*v[1] + r[2]*v[2]
	}
	return out
}

// invert gives m's inverse: zeros where there is none.
func invert(m matrix) (out matrix) {
	cofactor := func(i, j int) float64 {
		a, b, c, d := (i+1)%3, (i+2)%3, (j+1)%3, (j+2)%3
		return m[a][c]*m[b][d] - m[a][d]*m[b][c]
	}
	det := m[0][0]*cofactor(0, 0) + m[0][1]*cofactor(0, 1) + m[0][2]*cofactor(0, 2)
	if math.Abs(det) < 1e-9 {
		return out
	}
	for i := range 3 {
		for j := range 3 {
			out[j][i] = cofactor(i, j) / det
		}
	}
	return out
}

// bradford takes XYZ to the cones' responses in which white is adapted (ICC.1:2022, annex E).
var bradford = matrix{{0.8951, 0.2664, -0.1614}, {-0.7502, 1.7135, 0.0367}, {0.0389, -0.0685, 1.0296}}

// colorants gives red, green and blue in XYZ, as columns, adapted to D50; zeros where p are not those of colours.
func colorants(p Primaries) matrix {
	var m matrix
	for i := range 3 {
		x, y := p[i][0], p[i][1]
		m[0][i], m[1][i], m[2][i] = x, y, 1-x-y
	}
	x, y := p[3][0], p[3][1]
	if !(y > 0.01 && x > 0 && x+y < 1) {
		return matrix{}
	}
	white := [3]float64{x / y, 1, (1 - x - y) / y}
	sums := invert(m).of(white)
	for i := range 3 {
		for j := range 3 {
			m[j][i] *= sums[i]
		}
	}
	from, to := bradford.of(white), bradford.of(d50)
	var adapt matrix
	for i := range 3 {
		adapt[i][i] = to[i] / from[i]
	}
	return invert(bradford).times(adapt).times(bradford).times(m)
}

// A Curve is a transfer function that profiles are made with: sRGB's, or a power.
type Curve struct {
	// Gamma is the exponent, 0.01 to 100. Zero means the curve of sRGB.
	Gamma float64
}

// tag gives the curve as parametricCurveType, of version 4, or as a gamma that version 2 knows where that is exact.
func (c Curve) tag() []byte {
	be := binary.BigEndian
	if g := c.Gamma * 256; g > 0 && g == math.Trunc(g) && g < 1<<16 {
		return be.AppendUint16([]byte("curv\x00\x00\x00\x00\x00\x00\x00\x01"), uint16(g))
	}
	b, params := []byte("para\x00\x00\x00\x00\x00\x00\x00\x00"), []float64{c.Gamma}
	if c.Gamma == 0 {
		b[9], params = 3, []float64{2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045}
	}
	for _, v := range params {
		b = be.AppendUint32(b, s15(v))
	}
	return b
}

func s15(v float64) uint32 { return uint32(int32(math.Round(v * 65536))) }

// Make gives the bytes of a profile, of version 4, of RGB with these primaries, or of gray where p is nil. It gives nil where p are
// not the primaries of colours.
func Make(name string, p *Primaries, c Curve) []byte {
	if !(c.Gamma == 0 || c.Gamma >= 0.01 && c.Gamma <= 100) {
		return nil
	}
	be := binary.BigEndian
	xyz := func(v [3]float64) []byte {
		b := []byte("XYZ \x00\x00\x00\x00")
		for _, x := range v {
			b = be.AppendUint32(b, s15(x))
		}
		return b
	}
	text := func(s string) []byte {
		b := []byte("mluc\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x0cenUS")
		b = be.AppendUint32(b, uint32(2*len(s)))
		b = be.AppendUint32(b, 28)
		for i := range len(s) {
			b = append(b, 0, s[i])
		}
		return b
	}
	type tag struct {
		name string
		data []byte // nil: that of the tag before
	}
	tags := []tag{{"desc", text(name)}, {"cprt", text("CC0")}, {"wtpt", xyz(d50)}}
	space := "GRAY"
	if p == nil {
		tags = append(tags, tag{"kTRC", c.tag()})
	} else {
		space = "RGB "
		m := colorants(*p)
		if invert(m) == (matrix{}) {
			return nil
		}
		for i, n := range []string{"rXYZ", "gXYZ", "bXYZ"} {
			v := [3]float64{m[0][i], m[1][i], m[2][i]}
			for _, x := range v {
				if !(math.Abs(x) < 8) {
					return nil
				}
			}
			tags = append(tags, tag{n, xyz(v)})
		}
		tags = append(tags, tag{"rTRC", c.tag()}, tag{"gTRC", nil}, tag{"bTRC", nil})
	}
	b := make([]byte, 128, 640)
	be.PutUint32(b[8:], 0x04200000)
	copy(b[12:], "mntr"+space+"XYZ ")
	copy(b[24:], "\x07\xea\x00\x01\x00\x01\x00\x00\x00\x00\x00\x00acsp") // 2026-01-01
	copy(b[68:], xyz(d50)[8:])
	b = be.AppendUint32(b, uint32(len(tags)))
	at, size := 132+12*len(tags), 0
	for i, t := range tags {
		if t.data == nil {
			at -= (size + 3) &^ 3
			tags[i].data = tags[i-1].data
		}
		size = len(tags[i].data)
		b = append(b, t.name...)
		b = be.AppendUint32(b, uint32(at))
		b = be.AppendUint32(b, uint32(size))
		at += (size + 3) &^ 3
	}
	for i, t := range tags {
		if i > 0 && (t.name == "gTRC" || t.name == "bTRC") {
			continue
		}
		b = append(b, t.data...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
	}
	be.PutUint32(b, uint32(len(b)))
	return b
}

// Compact gives a small profile of o: of gray pictures, or of RGB.
func Compact(o Output, gray bool) []byte {
	name, c := "sRGB", Curve{}
	if o == AdobeRGB {
		name, c = "Adobe RGB (1998) compatible", Curve{adobeGamma}
	}
	p := primariesOf[o]
	if gray {
		return Make(name+" gray", nil, c)
	}
	return Make(name, &p, c)
}

// FromCICP gives a profile of the colour primaries and transfer characteristics of ITU-T H.273, and nil for sRGB. It does not know
// all of them: not the curves of high dynamic range, nor those that are unspecified.
//
// The curves of video cameras (1, 6, 14, 15) are taken to be sRGB's, near which what is shown by them is meant to be.
func FromCICP(primaries, transfer int, gray bool) (profile []byte, known bool) {
	var p Primaries
	name := ""
	switch primaries {
	case 1:
		p = srgbXY
	case 5:
		p, name = Primaries{{0.64, 0.33}, {0.29, 0.60}, {0.15, 0.06}, d65}, "BT.470 B/G"
	case 6, 7:
		p, name = Primaries{{0.630, 0.340}, {0.310, 0.595}, {0.155, 0.070}, d65}, "SMPTE C"
	case 9:
		p, name = rec2020XY, "BT.2020"
	case 11:
		p, name = Primaries{p3XY[0], p3XY[1], p3XY[2], {0.314, 0.351}}, "DCI P3"
	case 12:
		p, name = p3XY, "Display P3"
	default:
		return nil, false
	}
	var c Curve
	switch transfer {
	case 1, 6, 13, 14, 15:
	case 4:
		c.Gamma = 2.2
	case 5:
		c.Gamma = 2.8
	case 8:
		c.Gamma = 1
	default:
		return nil, false
	}
	return made(name, p, c, gray), true
}

// FromGamma gives a profile of the gamma and chromaticities that PNG has (third edition, 11.3.2.1 and 11.3.2.2). It
// gives nil for sRGB, and for what is no colour space. A gamma within a twentieth of that which stands for sRGB's curve is
// taken to be it where the primaries are sRGB's, as libpng does.
func FromGamma(p *Primaries, gamma float64, gray bool) []byte {
	if !(gamma >= 0.01 && gamma <= 100) {
		return nil
	}
	c, xy := Curve{1 / gamma}, srgbXY
	if p != nil {
		xy = *p
	}
	near := true
	for i := range xy {
		near = near && math.Hypot(xy[i][0]-srgbXY[i][0], xy[i][1]-srgbXY[i][1]) < 0.005
	}
	if near {
		if xy = srgbXY; math.Abs(gamma/0.45455-1) < 0.05 {
			c.Gamma = 0
		}
	}
	return made("PNG", xy, c, gray)
}

// made is Make unless that is sRGB.
func made(name string, p Primaries, c Curve, gray bool) []byte {
	switch {
	case c.Gamma == 0 && (gray || p == srgbXY):
		return nil
	case gray:
		return Make(name, nil, c)
	}
	return Make(name, &p, c)
}
