package vp8dec

// clip gives v as a sample.
func clip(v int32) uint8 { return uint8(min(max(v, 0), 255)) }

// addBlockGo adds the inverse DCT (RFC 6386, 14.3) of coefficients in rows of coefPitch to 4x4 samples.
func addBlockGo(band []byte, at, pitch int, coef []int16) {
	const (
		c1 = 85627 // 65536·√2·cos(π/8)
		c2 = 35468 // 65536·√2·sin(π/8)
	)
	coef = coef[: 3*coefPitch+4 : 3*coefPitch+4]
	var m [4][4]int32
	for i := range 4 {
		x0, x1, x2, x3 := int32(coef[i]), int32(coef[coefPitch+i]), int32(coef[2*coefPitch+i]), int32(coef[3*coefPitch+i])
		a, b := x0+x2, x0-x2
		c, d := (x1*c2)>>16-(x3*c1)>>16, (x1*c1)>>16+(x3*c2)>>16
		m[i] = [4]int32{a + d, b + c, b - c, a - d}
	}
	for y := range 4 {
		dc := m[0][y] + 4
		a, b := dc+m[2][y], dc-m[2][y]
		c, d := (m[1][y]*c2)>>16-(m[3][y]*c1)>>16, (m[1][y]*c1)>>16+(m[3][y]*c2)>>16
		px := band[at+y*pitch:][:4]
		px[0] = clip(int32(px[0]) + (a+d)>>3)
		px[1] = clip(int32(px[1]) + (b+c)>>3)
		px[2] = clip(int32(px[2]) + (b-c)>>3)
		px[3] = clip(int32(px[3]) + (a-d)>>3)
	}
}

// addRowsGo adds those of rows of four blocks, of which two are at left and two at right, for each bit of rows that is set.
func addRowsGo(band []byte, left, right, pitch int, coef []int16, rows uint) {
	for ; rows != 0; rows >>= 1 {
		if rows&1 != 0 {
			for x := range 2 {
				addBlockGo(band, left+4*x, pitch, coef[4*x:])
				addBlockGo(band, right+4*x, pitch, coef[8+4*x:])
			}
		}
		left, right = left+4*pitch, right+4*pitch
		coef = coef[min(4*coefPitch, len(coef)):]
	}
}
