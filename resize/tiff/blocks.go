package tiff

import (
	"encoding/binary"
	"fmt"

	"github.com/imagecdn/imagecdn/resize"
)

// Tags of the first directory that say how the picture is cut up (TIFF 6.0, pages 37 to 40 and 67 to 68).
const (
	tagStripByteCounts = 279
	tagTileWidth       = 322
	tagTileLength      = 323
	tagTileByteCounts  = 325
)

// leastTile is the least width and length of a tile. The format has 16 for both; what is cut finer costs more for setting up a
// decompressor than for pixels.
const leastTile = 16

// checkBlocks refuses files whose strips or tiles are more work than their size tells: tiles of a few pixels, and blocks that share
// their data, each of which is unpacked by itself.
func checkBlocks(data []byte) error {
	const entry = 12
	o := order(data)
	at := uint64(o.Uint32(data[4:]))
	if at+2 > uint64(len(data)) {
		return nil // decoding will say so
	}
	b, n := data[at+2:], o.Uint16(data[at:])
	for ; n > 0 && len(b) >= entry; n-- {
		e := b[:entry]
		b = b[entry:]
		switch o.Uint16(e) {
		case tagTileWidth, tagTileLength:
			if v, _ := sum(o, data, e); v < leastTile {
				return fmt.Errorf("%w: TIFF with tiles of %d pixels", resize.ErrUnsupported, v)
			}
		case tagStripByteCounts, tagTileByteCounts:
			if v, ok := sum(o, data, e); ok && v > 2*uint64(len(data)) {
				return fmt.Errorf("%w: TIFF of %d bytes with blocks of %d", resize.ErrDamaged, len(data), v)
			}
		}
	}
	return nil
}

// sum adds up the numbers of an entry. It is not ok where they are none, or beyond the end of the file.
func sum(o binary.ByteOrder, data, entry []byte) (total uint64, ok bool) {
	var size uint64
	switch o.Uint16(entry[2:]) {
	case 1: // byte
		size = 1
	case 3: // short
		size = 2
	case 4: // long
		size = 4
	default:
		return 0, false
	}
	n := uint64(o.Uint32(entry[4:])) * size
	values := entry[8:12]
	if n > 4 {
		at := uint64(o.Uint32(values))
		if at+n > uint64(len(data)) {
			return 0, false
		}
		values = data[at:]
	}
	for values = values[:n]; len(values) > 0; values = values[size:] {
		switch size {
		case 1:
			total += uint64(values[0])
		case 2:
			total += uint64(o.Uint16(values))
		case 4:
			total += uint64(o.Uint32(values))
		}
	}
	return total, true
}
