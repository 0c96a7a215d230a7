// Package heif reads the boxes of a HEIF file, the container of AVIF and HEIC (ISO/IEC 23008-12), as far as it takes to know what a
// codec will be given: how large each picture says it is, and where its data lies. Files are those of strangers: nothing is
// trusted, what is looked at is bounded, and what makes no sense is not there.
package heif

import "encoding/binary"

// Boxes calls f for each box of b (ISO/IEC 14496-12, 4.2) until it gives false.
func Boxes(b []byte, f func(kind string, body []byte) bool) {
	for len(b) >= 8 {
		size, header := uint64(binary.BigEndian.Uint32(b)), uint64(8)
		switch size {
		case 0: // to the end
			size = uint64(len(b))
		case 1:
			if len(b) < 16 {
				return
			}
			size, header = binary.BigEndian.Uint64(b[8:]), 16
		}
		if size < header || size > uint64(len(b)) || !f(string(b[4:8]), b[header:size]) {
			return
		}
		b = b[size:]
	}
}

// A Container is what the boxes of a file say (ISO/IEC 23008-12, 6 and 9).
type Container struct {
	Primary    uint32 // the item that is shown
	Properties []Property
	Of         map[uint32][]int  // properties of each item, by number from 1
	At         map[uint32][]byte // data of each item, its first extent
	Extents    map[uint32]int    // of each item that At has
	Kinds      map[uint32]string // of each item; empty where there are two

	// Cut says that an item has data beyond the end of the file.
	Cut bool

	// Excess says that there is more than is looked at. A codec looks at all of it, so the file is not for it.
	Excess bool
}

// A Property is one that items share.
type Property struct {
	Kind string
	Body []byte
}

// maxItems bounds what is looked at: a grid has at most 256 tiles, and as many of alpha.
const maxItems = 1024

// maxLinks bounds the properties of all items together: an item has five or six.
const maxLinks = 16 * maxItems

// Read reads the boxes of a file.
func Read(data []byte) (c Container) {
	var meta, idat, iloc []byte
	links := maxLinks
	Boxes(data, func(kind string, body []byte) bool {
		if kind == "meta" && len(body) >= 4 {
			meta = body[4:]
		}
		return meta == nil
	})
	Boxes(meta, func(kind string, body []byte) bool {
		switch kind {
		case "pitm":
			c.Primary = primary(body)
		case "iloc":
			iloc = body
		case "idat":
			idat = body
		case "iinf":
			c.Kinds = kinds(body)
			c.Excess = c.Excess || len(c.Kinds) == maxItems
		case "iprp":
			Boxes(body, func(kind string, body []byte) bool {
				switch kind {
				case "ipco":
					Boxes(body, func(kind string, body []byte) bool {
						c.Excess = c.Excess || len(c.Properties) == maxItems
						if !c.Excess {
							c.Properties = append(c.Properties, Property{kind, body})
						}
						return !c.Excess
					})
				case "ipma":
					if c.Of == nil {
						c.Of = map[uint32][]int{}
					}
					links = associations(c.Of, body, links)
				}
				return links > 0
			})
		}
		return true
	})
	c.Excess = c.Excess || links == 0 || len(c.Of) == maxItems
	c.locations(iloc, data, idat)
	return c
}

// Orientation gives the EXIF orientation for quarter turns counter-clockwise followed by a mirror: none
// (-1), top to bottom (0) or left to right (1).
func Orientation(turns, mirror int) int {
	return [3][4]int{{1, 8, 3, 6}, {4, 5, 2, 7}, {2, 7, 4, 5}}[mirror+1][turns]
}

// GridSize reads the size that an image grid makes (ISO/IEC 23008-12, 6.6.2.3). It is 0, 0 where there is none.
func GridSize(b []byte) (w, h int) {
	switch {
	case len(b) >= 12 && b[1]&1 == 1:
		return int(min(binary.BigEndian.Uint32(b[4:]), 1<<16)), int(min(binary.BigEndian.Uint32(b[8:]), 1<<16))
	case len(b) >= 8 && b[1]&1 == 0:
		return int(binary.BigEndian.Uint16(b[4:])), int(binary.BigEndian.Uint16(b[6:]))
	}
	return 0, 0
}

// primary gives the item that is shown.
func primary(pitm []byte) uint32 {
	switch {
	case len(pitm) >= 6 && pitm[0] == 0:
		return uint32(binary.BigEndian.Uint16(pitm[4:]))
	case len(pitm) >= 8:
		return binary.BigEndian.Uint32(pitm[4:])
	}
	return 0
}

// cursor reads big-endian numbers. After the end it gives zeros, and short is set.
type cursor struct {
	b     []byte
	short bool
}

func (c *cursor) take(size int) (v uint64) {
	if size > len(c.b) {
		c.b, c.short = nil, true
		return 0
	}
	for _, x := range c.b[:size] {
		v = v<<8 | uint64(x)
	}
	c.b = c.b[size:]
	return v
}

// associations adds the properties of each item by number, from 1, until there are links of them. It returns how many links are left.
func associations(of map[uint32][]int, ipma []byte, links int) int {
	c := cursor{b: ipma}
	version, flags := c.take(1), c.take(3)
	idSize, size := 2, 1
	if version >= 1 {
		idSize = 4
	}
	if flags&1 != 0 {
		size = 2
	}
	for n := c.take(4); n > 0 && !c.short && len(of) < maxItems && links > 0; n-- {
		id := uint32(c.take(idSize))
		links-- // one without properties is looked at, too
		for k := c.take(1); k > 0 && links > 0; k-- {
			essential := uint64(1) << (8*size - 1)
			of[id] = append(of[id], int(c.take(size)&^essential))
			links--
		}
	}
	return links
}

// locations reads where the data of each item is, in the file itself or in idat.
func (f *Container) locations(iloc, data, idat []byte) {
	c := cursor{b: iloc}
	version := c.take(4) >> 24
	sizes := c.take(2)
	offsetSize, lengthSize, baseSize, indexSize := int(sizes>>12), int(sizes>>8&15), int(sizes>>4&15), int(sizes&15)
	idSize := 2
	if version == 2 {
		idSize = 4
	}
	f.At, f.Extents = map[uint32][]byte{}, map[uint32]int{}
	// Sizes of zero take no bytes, so that nothing but a count bounds how often they are read.
	left := maxLinks
	for n := c.take(idSize); n > 0 && !c.short; n-- {
		if left--; left < 0 || len(f.At) == maxItems {
			f.Excess = true
			return
		}
		id, method := uint32(c.take(idSize)), uint64(0)
		if version > 0 {
			method = c.take(2) & 15
		}
		c.take(2) // data_reference_index
		base := c.take(baseSize)
		count := c.take(2)
		from := data
		if method == 1 {
			from = idat
		}
		for k := range count {
			if left--; left < 0 {
				f.Excess = true
				return
			}
			if version > 0 {
				c.take(indexSize)
			}
			offset, length := base+c.take(offsetSize), c.take(lengthSize)
			if c.short {
				return
			}
			if method > 1 {
				continue
			}
			if length == 0 { // to the end
				length = uint64(len(from)) - min(offset, uint64(len(from)))
			}
			if offset > uint64(len(from)) || length > uint64(len(from))-offset {
				f.Cut = true
				continue
			}
			if k == 0 {
				f.At[id] = from[offset:][:length]
				f.Extents[id] += int(count) // of all places that an item has
			}
		}
	}
}

// kinds gives the kind of each item, such as "av01" or "grid".
func kinds(iinf []byte) map[uint32]string {
	c := cursor{b: iinf}
	size := 2
	if c.take(4)>>24 > 0 {
		size = 4
	}
	c.take(size) // how many
	of := map[uint32]string{}
	Boxes(c.b, func(kind string, body []byte) bool {
		c := cursor{b: body}
		version := c.take(4) >> 24
		if kind != "infe" || version < 2 {
			return true
		}
		size := 2
		if version > 2 {
			size = 4
		}
		id := uint32(c.take(size))
		c.take(2) // item_protection_index
		if len(c.b) >= 4 {
			if was, ok := of[id]; ok && was != string(c.b[:4]) {
				of[id] = "" // readers differ about which one counts
			} else {
				of[id] = string(c.b[:4])
			}
		}
		return len(of) < maxItems
	})
	return of
}
