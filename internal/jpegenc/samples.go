package jpegenc

// transformRow makes blocks of one row of units, and keeps them as the row of units at.
func (e *encoder) transformRow(row, at int) {
	if e.pixels.pix != nil {
		e.convert(row)
	}
	for i := range e.comps {
		c := &e.comps[i]
		pix, left := c.pix, c.h-8*c.down*row
		if e.pixels.pix == nil {
			pix = pix[8*c.down*row*c.stride:]
		}
		for v := range c.down {
			if left > 8*v {
				to := (at*c.down + v) * c.perRow
				e.transformBlocks(c, to, pix[8*v*c.stride:], min(left-8*v, 8))
			}
		}
	}
}

// transformBlocks makes one row of blocks of up to eight rows of samples. Those that reach beyond the picture
// are made of its last row and column again.
func (e *encoder) transformBlocks(c *component, to int, pix []uint8, rows int) {
	q := e.quantizers[c.table]
	blocks, masks := c.blocks[to:to+c.perRow], c.masks[to:to+c.perRow]
	whole := 0 // blocks
	if rows == 8 {
		if whole = c.w / 16 * 2; whole > 0 {
			transform(blocks[:whole], masks, pix, c.stride, q)
		}
		if whole >= c.cols {
			return
		}
	}
	// What is left ends with the second block of a pair.
	left := c.w - 8*whole
	stride := (left + 15) &^ 15
	e.edge = sized(e.edge, 8*stride)
	for y := range 8 {
		row := e.edge[y*stride:][:stride]
		if y >= rows {
			copy(row, e.edge[(rows-1)*stride:][:stride])
			continue
		}
		copy(row, pix[y*c.stride+8*whole:][:left])
		for x := left; x < stride; x++ {
			row[x] = row[left-1]
		}
	}
	transform(blocks[whole:][:stride/8], masks[whole:], e.edge, stride, q)
}

// layStrips gives the components of a picture of pixels room for one row of units.
func (e *encoder) layStrips() {
	w, h := 8*e.hMax*e.cols, 8*e.vMax
	e.strips = sized(e.strips, w*h+2*(w/e.hMax)*8)
	luma, chroma := e.strips[:w*h], e.strips[w*h:]
	e.comps[0].pix, e.comps[0].stride = luma, w
	e.comps[1].pix, e.comps[1].stride = chroma[:len(chroma)/2], w/e.hMax
	e.comps[2].pix, e.comps[2].stride = chroma[len(chroma)/2:], w/e.hMax
}

// convert makes the strips from one row of units.
func (e *encoder) convert(row int) {
	luma, blue, red := &e.comps[0], &e.comps[1], &e.comps[2]
	px := func(y int) []uint8 { return e.pixels.pix[y*e.pixels.stride:][:4*e.w] }
	first := 8 * e.vMax * row
	rows := min(8*e.vMax, e.h-first)
	for y := range rows {
		weigh(luma.pix[y*luma.stride:][:e.w], px(first+y), &lumaWeights)
		if e.FullChroma {
			weigh(blue.pix[y*blue.stride:][:e.w], px(first+y), &blueWeights)
			weigh(red.pix[y*red.stride:][:e.w], px(first+y), &redWeights)
		}
	}
	if e.FullChroma {
		return
	}
	for y := 0; y < rows; y += 2 {
		upper, lower := px(first+y), px(first+min(y+1, rows-1))
		cb, cr := blue.pix[y/2*blue.stride:][:blue.w], red.pix[y/2*red.stride:][:red.w]
		n := e.w / 2
		weighQuads(cb[:n], cr[:n], upper, lower)
		if e.w%2 != 0 { // the last column twice
			var ends [2][8]uint8
			for i, line := range [][]uint8{upper, lower} {
				copy(ends[i][:4], line[4*e.w-4:])
				copy(ends[i][4:], line[4*e.w-4:])
			}
			weighQuadsGeneric(cb[n:], cr[n:], ends[0][:], ends[1][:])
		}
	}
}
