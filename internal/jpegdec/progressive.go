package jpegdec

import (
	"encoding/binary"
	"math/bits"
)

// progressiveScan decodes a scan of a progressive picture (annex G) into the coefficients.
func (d *decoder) progressiveScan(s *scanHeader) error {
	for i := range s.components {
		s.components[i].decoded = true
	}
	if s.start > 0 && s.components[0].points == 1 {
		return nil // segments finds the marker after it
	}
	for i := range s.components {
		c := &s.components[i]
		switch {
		case s.start > 0:
			if !c.ac.defined {
				return damaged("a scan without its Huffman table")
			}
			c.ac.build(builtAC)
		case s.high == 0:
			if !c.dc.defined {
				return damaged("a scan without its Huffman table")
			}
			c.dc.build(builtDC)
		}
	}
	d.p += d.bits.load(d.data[d.p:])
	var err error
	switch {
	case s.start == 0:
		err = d.dcScan(s)
	default:
		err = d.acScan(s)
	}
	if err == nil && d.bits.over() {
		err = errShort
	}
	return err
}

// dcScan decodes a scan of DC coefficients, or of one more bit of them.
func (d *decoder) dcScan(s *scanHeader) error {
	across, down := d.mcuX, d.mcuY
	single := len(s.components) == 1
	if single {
		across, down = s.components[0].inside, s.components[0].inDown
	}
	left, restarts := d.restart, 0
	for my := range down {
		if err := d.cancelled(); err != nil {
			return err
		}
		for mx := range across {
			if d.bits.pos > d.bits.limit {
				return errShort
			}
			for i := range s.components {
				c := &s.components[i]
				h, v := c.h, c.v
				if single {
					h, v = 1, 1
				}
				for y := range v {
					for x := range h {
						at := ((my*v+y)*c.across + mx*h + x) * c.points * c.points
						if s.high > 0 {
							c.coef[at] |= int16(d.bits.take(1) << s.low)
							continue
						}
						if err := d.bits.difference(c); err != nil {
							return err
						}
						c.coef[at] = saturate(c.diff << s.low)
					}
				}
			}
			if left--; left == 0 && !(mx == across-1 && my == down-1) {
				left = d.restart
				if err := d.nextInterval(s, restarts); err != nil {
					return err
				}
				restarts++
			}
		}
	}
	return nil
}

// difference decodes a difference of DC values (section F.2.2.1).
func (r *bitReader) difference(c *scanComponent) error {
	if r.n < 32 {
		r.fill()
	}
	if e := c.dc.look[r.acc>>(64-lookBits)]; e&more == 0 {
		r.acc <<= e & 63
		r.n -= uint(e & 63)
		c.diff += int32(e) >> 16
		return nil
	}
	size, l := c.dc.find(r.acc)
	if l == 0 || size > 16 {
		return errCode
	}
	r.acc <<= l
	c.diff += extend(uint32(r.acc>>32)>>(32-size), uint(size))
	r.acc <<= size
	r.n -= l + uint(size)
	return nil
}

// acScan decodes a scan of a band of AC coefficients, or of one more bit of them.
func (d *decoder) acScan(s *scanHeader) error {
	c := &s.components[0]
	size := c.points * c.points
	band := uint64(1)<<s.end<<1 - 1<<s.start
	left, restarts := d.restart, 0
	for y := range c.inDown {
		if err := d.cancelled(); err != nil {
			return err
		}
		for x := 0; x < c.inside; {
			if d.bits.pos > d.bits.limit {
				return errShort
			}
			at := y*c.across + x
			n := 1
			// As many blocks as the run leaves out have nothing in the scan, but bits that correct what is
			// there already.
			run := min(d.eobRun, c.inside-x)
			if left > 0 {
				run = min(run, left)
			}
			switch {
			case run > 0 && s.high == 0:
				n = run
				d.eobRun -= n
			case run > 0 && c.mask[at]&band == 0:
				for n < run && c.mask[at+n]&band == 0 {
					n++
				}
				d.eobRun -= n
			case s.high > 0:
				if err := d.refine(s, c.coef[at*size:][:size], &c.mask[at]); err != nil {
					return err
				}
			default:
				if err := d.band(s, c.coef[at*size:][:size], &c.mask[at]); err != nil {
					return err
				}
			}
			x += n
			if left -= n; left == 0 && !(x == c.inside && y == c.inDown-1) {
				left = d.restart
				if err := d.nextInterval(s, restarts); err != nil {
					return err
				}
				restarts++
			}
		}
	}
	return nil
}

// band decodes a band of one block for the first time (section G.1.2.2).
func (d *decoder) band(s *scanHeader, coef []int16, mask *uint64) error {
	r, c := &d.bits, &s.components[0]
	buf, pos, acc, n := r.buf, r.pos, r.acc, r.n
	ac, place, m := c.ac, &places[c.points], *mask
	for k := s.start; k <= s.end; k++ {
		if n < 32 {
			acc |= binary.BigEndian.Uint64(buf[pos:]) >> n
			pos += int(63-n) >> 3
			n |= 56
		}
		e := ac.look[acc>>(64-lookBits)]
		var v int32
		if e>>16 != 0 {
			k += int(e >> 8 & 15)
			if k > s.end { // the value is left, as image/jpeg does
				l := e&63 - uint32(bits.Len16(magnitude(e)))
				acc <<= l & 63
				n -= uint(l)
				break
			}
			acc <<= e & 63
			n -= uint(e & 63)
			v = int32(e) >> 16
		} else {
			value, l := uint8(e>>8), uint(e&63)
			if l == 0 {
				if value, l = ac.find(acc); l == 0 {
					return errCode
				}
			}
			acc <<= l & 63
			n -= l
			run, size := int(value>>4), uint(value&15)
			if size == 0 {
				if run == 15 {
					k += 15
					continue
				}
				d.eobRun = 1<<run - 1
				if run > 0 {
					d.eobRun += int(acc >> (64 - run))
					acc <<= run
					n -= uint(run)
				}
				break
			}
			if k += run; k > s.end {
				break
			}
			v = extend(uint32(acc>>32)>>(32-size), size)
			acc <<= size
			n -= size
		}
		m |= 1 << (k & 63)
		if p := int(place[k&63]); p < len(coef) {
			coef[p] = saturate(v << s.low)
		}
	}
	*mask = m
	r.pos, r.acc, r.n = pos, acc, n
	return nil
}

// refine decodes one more bit of a band of one block (section G.1.2.3): corrections of the coefficients that
// are not zero, which mask tells, and among them those that no longer are.
func (d *decoder) refine(s *scanHeader, coef []int16, mask *uint64) error {
	r, c := &d.bits, &s.components[0]
	buf, pos, acc, n := r.buf, r.pos, r.acc, r.n
	ac, place, m := c.ac, &places[c.points], *mask
	delta := int32(1) << s.low
	k := s.start
	if d.eobRun == 0 {
		for ; k <= s.end; k++ {
			if n < 32 {
				acc |= binary.BigEndian.Uint64(buf[pos:]) >> n
				pos += int(63-n) >> 3
				n |= 56
			}
			e := ac.look[acc>>(64-lookBits)]
			run, v := int(e>>8&15), int32(0)
			switch v16 := int16(e >> 16); v16 {
			case 1, -1:
				acc <<= e & 63
				n -= uint(e & 63)
				v = int32(v16) * delta
			default:
				return errRefine
			case 0:
				value, l := uint8(e>>8), uint(e&63)
				if l == 0 {
					if value, l = ac.find(acc); l == 0 {
						return errCode
					}
				}
				acc <<= l & 63
				n -= l
				run = int(value >> 4)
				switch value & 15 {
				case 0:
					if run < 15 {
						d.eobRun = 1 << run
						if run > 0 {
							d.eobRun += int(acc >> (64 - run))
							acc <<= run
							n -= uint(run)
						}
					}
				case 1:
					v = delta
					if int64(acc) >= 0 {
						v = -delta
					}
					acc <<= 1
					n--
				default:
					return errRefine
				}
			}
			if d.eobRun > 0 {
				break
			}
			for ; k <= s.end; k++ {
				if m>>(k&63)&1 == 0 {
					if run == 0 {
						break
					}
					run--
					continue
				}
				if n < 32 {
					acc |= binary.BigEndian.Uint64(buf[pos:]) >> n
					pos += int(63-n) >> 3
					n |= 56
				}
				if p := int(place[k&63]); int64(acc) < 0 && p < len(coef) {
					coef[p] = away(coef[p], delta)
				}
				acc <<= 1
				n--
			}
			if k > s.end {
				return damaged("coefficients beyond the end of a block")
			}
			if v != 0 {
				m |= 1 << (k & 63)
				if p := int(place[k&63]); p < len(coef) {
					coef[p] = saturate(v)
				}
			}
		}
	}
	if d.eobRun > 0 {
		d.eobRun--
		for rest := m >> k << k & (1<<s.end<<1 - 1); rest != 0; rest &= rest - 1 {
			if n < 32 {
				acc |= binary.BigEndian.Uint64(buf[pos:]) >> n
				pos += int(63-n) >> 3
				n |= 56
			}
			if p := int(place[bits.TrailingZeros64(rest)&63]); int64(acc) < 0 && p < len(coef) {
				coef[p] = away(coef[p], delta)
			}
			acc <<= 1
			n--
		}
	}
	*mask = m
	r.pos, r.acc, r.n = pos, acc, n
	return nil
}

var errRefine = damaged("a code that refines by more than a bit")

// away moves v away from zero.
func away(v int16, delta int32) int16 {
	if v < 0 {
		delta = -delta
	}
	return saturate(int32(v) + delta)
}

// reconstruct makes the planes of a progressive picture from the coefficients of all its scans.
func (d *decoder) reconstruct() error {
	for i := range d.components {
		c := &d.components[i]
		if !c.decoded {
			continue
		}
		c.setQuant(&d.quant[c.tq])
		needed := uint64(0)
		for k, place := range &places[c.points] {
			if place != nowhere && k > 0 {
				needed |= 1 << k
			}
		}
		size := c.points * c.points
		for y := c.region.Min.Y; y < c.region.Max.Y; y++ {
			if err := d.cancelled(); err != nil {
				return err
			}
			for x := c.region.Min.X; x < c.region.Max.X; x++ {
				i := y*c.across + x
				b := c.coef[i*size:][:size]
				if d.observe != nil {
					d.observe(c, b)
				}
				at := c.at(x, y)
				if c.mask[i]&needed == 0 {
					c.flat(at, b[0])
					continue
				}
				switch c.points {
				case 8:
					idct8(c.plane[at:at+7*c.stride+8], c.stride, (*[64]int16)(b), &c.quant)
				case 4:
					idct4(c.plane[at:at+3*c.stride+4], c.stride, (*[16]int16)(b), (*[16]int16)(c.quant[:]))
				case 2:
					idct2(c.plane[at:at+c.stride+2], c.stride, (*[4]int16)(b), (*[4]int16)(c.quant[:]))
				}
			}
		}
	}
	return nil
}
