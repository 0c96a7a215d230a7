package resize

import (
	"bytes"
	"encoding/binary"
)

// exifOrientation finds the orientation in a block of EXIF (a TIFF file, TIFF 6.0 section 2), with or
// without the "Exif\0\0" that JPEG puts in front. It is 1 where there is none. It reads the first
// directory only, follows no other offset, and so ends after at most 65535 entries within the block.
func exifOrientation(b []byte) int {
	b = bytes.TrimPrefix(b, []byte("Exif\x00\x00"))
	if len(b) < 8 {
		return 1
	}
	var order binary.ByteOrder
	switch string(b[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 1
	}
	at := uint64(order.Uint32(b[4:]))
	if at+2 > uint64(len(b)) {
		return 1
	}
	entries := b[at+2:]
	for range order.Uint16(b[at:]) {
		if len(entries) < 12 {
			break
		}
		const orientation, short = 274, 3
		if order.Uint16(entries) == orientation {
			v := int(order.Uint16(entries[8:]))
			if order.Uint16(entries[2:]) == short && v >= 1 && v <= 8 {
				return v
			}
			return 1
		}
		entries = entries[12:]
	}
	return 1
}
