package jpegdec

import (
	"encoding/binary"
	"image"
	"math/bits"
)

// last is the index, in zig-zag order, of the last coefficient that an inverse DCT of so many points needs.
func last(points int) int { return [9]int{1: 0, 2: 4, 4: 24, 8: 63}[points] }

// places says for each number of points where coefficients, in zig-zag order, go in a block of points²:
// column by column of frequencies, that is, so that the first pass of the inverse DCT leaves one to transpose.
// What is not needed goes to nowhere.
var places = func() (t [9][64]uint8) {
	for _, points := range []int{1, 2, 4, 8} {
		x, y, up := 0, 0, true
		for k := range 64 {
			t[points][k] = nowhere
			if x < points && y < points {
				t[points][k] = uint8(x*points + y)
			}
			switch { // figure A.6
			case up && x == 7:
				y, up = y+1, false
			case up && y == 0:
				x, up = x+1, false
			case up:
				x, y = x+1, y-1
			case y == 7:
				x, up = x+1, true
			case x == 0:
				y, up = y+1, true
			default:
				x, y = x-1, y+1
			}
		}
	}
	return t
}()

// nowhere is a place beyond the 64 of a block.
const nowhere = 64

// skipWorth is how many blocks a picture must have for the table of skips to pay for its making.
const skipWorth = 4000

// sequentialScan decodes a scan of a sequential picture into the planes. done says that it brought all of the
// region, and all components.
func (d *decoder) sequentialScan(s *scanHeader) (done bool, err error) {
	for i := range s.components {
		c := &s.components[i]
		if !c.dc.defined || !c.ac.defined {
			return false, damaged("a scan without its Huffman tables")
		}
		c.dc.build(builtDC)
		c.ac.build(builtAC)
		if (c.points < 8 || d.options.Region != image.Rectangle{}) && c.across*c.down > skipWorth {
			c.ac.buildSkip()
		}
		c.setQuant(&d.quant[c.tq])
		c.decoded = true
	}
	across, down, region := d.mcuX, d.mcuY, d.region
	single := len(s.components) == 1
	if single {
		c := s.components[0]
		across, down, region = c.inside, c.inDown, c.region
	}
	d.p += d.bits.load(d.data[d.p:])
	left, restarts := d.restart, 0
	for my := range down {
		if err := d.cancelled(); err != nil {
			return false, err
		}
		if my == region.Max.Y && len(s.components) == len(d.components) {
			return true, nil
		}
		inside := my >= region.Min.Y && my < region.Max.Y
		for mx := range across {
			shown := inside && mx >= region.Min.X && mx < region.Max.X
			for i := range s.components {
				c := &s.components[i]
				if single {
					if err := d.sequentialBlock(c, mx, my, shown); err != nil {
						return false, err
					}
					continue
				}
				for y := range c.v {
					for x := range c.h {
						if err := d.sequentialBlock(c, mx*c.h+x, my*c.v+y, shown); err != nil {
							return false, err
						}
					}
				}
			}
			if left--; left == 0 && !(mx == across-1 && my == down-1) {
				left = d.restart
				if err := d.nextInterval(s, restarts); err != nil {
					return false, err
				}
				restarts++
			}
		}
	}
	if d.bits.over() {
		return false, errShort
	}
	return false, nil
}

// nextInterval goes on after a restart marker.
func (d *decoder) nextInterval(s *scanHeader, number int) error {
	if d.bits.over() {
		return errShort
	}
	if err := d.restartAt(number); err != nil {
		return err
	}
	d.p += d.bits.load(d.data[d.p:])
	d.eobRun = 0
	for i := range s.components {
		s.components[i].diff = 0
	}
	return nil
}

// sequentialBlock decodes the block at x, y of a component and puts its samples into the plane if it is
// shown.
func (d *decoder) sequentialBlock(c *scanComponent, x, y int, shown bool) error {
	limit := 0
	if shown {
		limit = last(c.points)
	}
	k, err := d.coefficients(c, limit)
	if err != nil || !shown {
		return err
	}
	b := &d.block
	b[0] = saturate(c.diff)
	if d.observe != nil {
		d.observe(c.component, b[:c.points*c.points])
	}
	at := c.at(x, y)
	if k == 0 {
		c.flat(at, b[0])
		return nil
	}
	switch c.points {
	case 8:
		idct8(c.plane[at:at+7*c.stride+8], c.stride, (*[64]int16)(b[:]), &c.quant)
		*(*[64]int16)(b[:]) = [64]int16{}
	case 4:
		idct4(c.plane[at:at+3*c.stride+4], c.stride, (*[16]int16)(b[:]), (*[16]int16)(c.quant[:]))
		*(*[16]int16)(b[:]) = [16]int16{}
	case 2:
		idct2(c.plane[at:at+c.stride+2], c.stride, (*[4]int16)(b[:]), (*[4]int16)(c.quant[:]))
		*(*[4]int16)(b[:]) = [4]int16{}
	}
	return nil
}

// at is where in the plane the block at x, y begins.
func (c *component) at(x, y int) int {
	return ((y-c.region.Min.Y)*c.stride + x - c.region.Min.X) * c.points
}

// setQuant puts a table, in zig-zag order, in the order of the coefficients.
func (c *component) setQuant(q *[64]uint16) {
	for k, place := range &places[c.points] {
		if place != nowhere {
			c.quant[place] = int16(q[k])
		}
	}
}

// flat fills the block at a place in the plane with what a DC coefficient alone makes.
func (c *component) flat(at int, dc int16) {
	v := sample((int32(dc*c.quant[0]) + 4) >> 3)
	switch p := c.plane; c.points {
	case 8:
		v8 := uint64(v) * 0x0101010101010101
		for range 8 {
			binary.LittleEndian.PutUint64(p[at:], v8)
			at += c.stride
		}
	case 4:
		v4 := uint32(v) * 0x01010101
		for range 4 {
			binary.LittleEndian.PutUint32(p[at:], v4)
			at += c.stride
		}
	case 2:
		p[at], p[at+1], p[at+c.stride], p[at+c.stride+1] = v, v, v, v
	case 1:
		p[at] = v
	}
}

func saturate(v int32) int16 { return int16(min(max(v, -1<<15), 1<<15-1)) }

// coefficients decodes a block (sections F.2.2.1 and F.2.2.2): the DC value into c.diff, AC coefficients up
// to limit into d.block, and those beyond it are passed by. It returns the index of the last that it
// stored, or 0.
func (d *decoder) coefficients(c *scanComponent, limit int) (stored int, err error) {
	r := &d.bits
	if r.pos > r.limit {
		return 0, errShort
	}
	buf, pos, acc, n := r.buf, r.pos, r.acc, r.n

	if n < 32 {
		acc |= binary.BigEndian.Uint64(buf[pos:]) >> n
		pos += int(63-n) >> 3
		n |= 56
	}
	if e := c.dc.look[acc>>(64-lookBits)]; e&more == 0 {
		acc <<= e & 63
		n -= uint(e & 63)
		c.diff += int32(e) >> 16
	} else {
		size, l := c.dc.find(acc)
		if l == 0 || size > 16 {
			return 0, errCode
		}
		acc <<= l
		c.diff += extend(uint32(acc>>32)>>(32-size), uint(size))
		acc <<= size
		n -= l + uint(size)
	}

	if d.eobRun > 0 { // in a sequential picture it is an error, which image/jpeg lets pass
		d.eobRun--
		r.pos, r.acc, r.n = pos, acc, n
		return 0, nil
	}
	ac, place, b := c.ac, &places[c.points], &d.block
	for k := 1; k < 64; k++ {
		if k > limit && ac.skips {
			if k, pos, acc, n = skip(ac, buf, k, pos, acc, n); k == 64 {
				break
			}
		}
		if n < 32 {
			acc |= binary.BigEndian.Uint64(buf[pos:]) >> n
			pos += int(63-n) >> 3
			n |= 56
		}
		e := ac.look[acc>>(64-lookBits)]
		if e>>16 != 0 {
			k += int(e >> 8 & 15)
			if k > 63 { // the value is left, as image/jpeg does
				l := e&63 - uint32(bits.Len16(magnitude(e)))
				acc <<= l & 63
				n -= uint(l)
				break
			}
			acc <<= e & 63
			n -= uint(e & 63)
			if k <= limit {
				b[place[k&63]&127] = int16(e >> 16)
				stored = k
			}
			continue
		}
		value, l := uint8(e>>8), uint(e&63)
		if l == 0 {
			if value, l = ac.find(acc); l == 0 {
				return 0, errCode
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
			if run > 0 {
				d.eobRun = 1<<run + int(acc>>(64-run)) - 1
				acc <<= run
				n -= uint(run)
			}
			break
		}
		if k += run; k > 63 {
			break
		}
		if k <= limit {
			b[place[k&63]&127] = int16(extend(uint32(acc>>32)>>(32-size), size))
			stored = k
		}
		acc <<= size
		n -= size
	}
	r.pos, r.acc, r.n = pos, acc, n
	return stored, nil
}

var errCode = damaged("a code that is in no Huffman table")

// skip passes by coefficients from k on and returns how far it came: 64 at the end of the block, or where a
// code has to be looked at.
func skip(h *huffman, buf []byte, k, pos int, acc uint64, n uint) (int, int, uint64, uint) {
	for {
		if n < 32 {
			acc |= binary.BigEndian.Uint64(buf[pos:]) >> n
			pos += int(63-n) >> 3
			n |= 56
		}
		s := h.skip[acc>>(64-lookBits)]
		to := k + int(s>>8)
		if s == 0 || to > 64 || to == 64 && s&endsBlock != 0 {
			return k, pos, acc, n
		}
		acc <<= s & 63
		n -= uint(s & 63)
		k = to
		if k == 64 || s&endsBlock != 0 {
			return 64, pos, acc, n
		}
	}
}
