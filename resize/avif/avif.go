// Package avif lets package resize read and write AVIF. Import it for its side effect:
//
//	import _ "github.com/imagecdn/imagecdn/resize/avif"
//
// It is apart because it is heavy: libavif with its codecs, compiled to WebAssembly (or the system's
// libavif where there is one), and an encoder that takes a hundred times as long as that of JPEG.
//
// # Safety
//
// AVIF is a container of boxes around a video codec, and the two may disagree about sizes. The container
// is read by this package, within bounds and before the codec sees anything: the size that Renderer
// checks is the larger of what the container and the codec's own sequence header say, and a picture where
// they differ is refused. The codec runs in WebAssembly's sandbox, where what goes wrong is an error; the
// system's library has no sandbox.
//
// Neither decoding nor encoding stops when the context is done.
package avif

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"image/draw"
	"io"

	"github.com/gen2brain/avif"

	"github.com/imagecdn/imagecdn/resize"
)

// speed of the encoder, 0 to 10: 8 takes half the time of 6 for files that are a few percent larger.
const speed = 8

func init() {
	resize.Register(resize.Codec{
		Format:      resize.AVIF,
		ContentType: "image/avif",
		Match:       match,
		Probe:       probe,
		Decode: func(_ context.Context, data []byte, _ int) (image.Image, error) {
			return avif.Decode(bytes.NewReader(data))
		},
		Encode:  encode,
		MaxSide: 16384, // libavif's limit is 16384 squared pixels
		Alpha:   true,
	})
}

func match(b []byte) bool {
	if len(b) < 12 || string(b[4:8]) != "ftyp" {
		return false
	}
	brand := string(b[8:12])
	if brand == "avif" || brand == "avis" {
		return true
	}
	// mif1 and others are also the brands of HEIC: AVIF has to be among the compatible ones.
	n := min(int(min(binary.BigEndian.Uint32(b), 1024)), len(b))
	for i := 16; i+4 <= n; i += 4 {
		if string(b[i:i+4]) == "avif" {
			return true
		}
	}
	return false
}

func encode(w io.Writer, m image.Image, quality int) error {
	rgba, ok := m.(*image.RGBA)
	if !ok || rgba.Stride != 4*rgba.Rect.Dx() {
		// The encoder wants colours weighted by alpha and no bytes between rows.
		rgba = image.NewRGBA(m.Bounds())
		draw.Draw(rgba, rgba.Rect, m, m.Bounds().Min, draw.Src)
	}
	return avif.Encode(w, rgba, avif.Options{
		Quality: quality, QualityAlpha: quality, Speed: speed, ChromaSubsampling: image.YCbCrSubsampleRatio420,
	})
}

// boxes calls f for each box of b (ISO/IEC 14496-12, 4.2) until it gives false.
func boxes(b []byte, f func(kind string, body []byte) bool) {
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

// probe reads the properties of the primary item (ISO/IEC 23008-12, 6 and 9).
func probe(data []byte) (resize.Info, error) {
	info := resize.Info{Format: resize.AVIF, Frames: 1, Orientation: 1}
	var meta, pitm, ipco, ipma []byte
	boxes(data, func(kind string, body []byte) bool {
		if kind == "meta" && len(body) >= 4 {
			meta = body[4:]
		}
		return meta == nil
	})
	boxes(meta, func(kind string, body []byte) bool {
		switch kind {
		case "pitm":
			pitm = body
		case "iprp":
			boxes(body, func(kind string, body []byte) bool {
				switch kind {
				case "ipco":
					ipco = body
				case "ipma":
					ipma = body
				}
				return true
			})
		}
		return true
	})
	type property struct {
		kind string
		body []byte
	}
	var all []property
	boxes(ipco, func(kind string, body []byte) bool {
		all = append(all, property{kind, body})
		if kind == "auxC" && bytes.Contains(body, []byte("auxid:1")) || bytes.Contains(body, []byte(":alpha")) {
			info.Alpha = true
		}
		return len(all) < 1024
	})

	turns, mirror := 0, -1
	codecW, codecH := 0, 0
	for _, i := range associations(ipma, primary(pitm)) {
		if i < 1 || i > len(all) {
			continue
		}
		switch p := all[i-1]; {
		case p.kind == "ispe" && len(p.body) >= 12:
			w, h := binary.BigEndian.Uint32(p.body[4:]), binary.BigEndian.Uint32(p.body[8:])
			if w > 65535 || h > 65535 {
				return info, fmt.Errorf("%w: AVIF of %dx%d pixels", resize.ErrTooLarge, w, h)
			}
			info.Width, info.Height = int(w), int(h)
		case p.kind == "irot" && len(p.body) >= 1:
			turns = int(p.body[0] & 3)
		case p.kind == "imir" && len(p.body) >= 1:
			mirror = int(p.body[0] & 1)
		case p.kind == "av1C" && len(p.body) > 4:
			codecW, codecH = sequenceSize(p.body[4:])
		}
	}
	if info.Width == 0 || info.Height == 0 {
		return info, fmt.Errorf("%w: AVIF without a size", resize.ErrDamaged)
	}
	// Of a grid, ispe is the size of the whole, and the codec's that of a tile; but then the primary item
	// has no av1C.
	if codecW > 0 && (codecW != info.Width || codecH != info.Height) {
		return info, fmt.Errorf("%w: AVIF whose container says %dx%d and whose codec %dx%d",
			resize.ErrDamaged, info.Width, info.Height, codecW, codecH)
	}
	info.Orientation = orientation(turns, mirror)
	return info, nil
}

// orientation gives the EXIF orientation for quarter turns counter-clockwise followed by a mirror: none
// (-1), top to bottom (0) or left to right (1).
func orientation(turns, mirror int) int {
	return [3][4]int{{1, 8, 3, 6}, {4, 5, 2, 7}, {2, 7, 4, 5}}[mirror+1][turns]
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

// associations gives the properties of an item by number, from 1.
func associations(ipma []byte, item uint32) []int {
	if len(ipma) < 8 {
		return nil
	}
	wideID, wideIndex := ipma[0] >= 1, ipma[3]&1 != 0
	count, b := binary.BigEndian.Uint32(ipma[4:]), ipma[8:]
	for range count {
		id, n := uint32(0), 2
		if wideID {
			n = 4
		}
		if len(b) < n+1 {
			return nil
		}
		if id = uint32(binary.BigEndian.Uint16(b)); wideID {
			id = binary.BigEndian.Uint32(b)
		}
		size := 1
		if wideIndex {
			size = 2
		}
		entries := int(b[n])
		b = b[n+1:]
		if len(b) < entries*size {
			return nil
		}
		if id != item {
			b = b[entries*size:]
			continue
		}
		list := make([]int, entries)
		for i := range list {
			if wideIndex {
				list[i] = int(binary.BigEndian.Uint16(b[2*i:]) & 0x7fff)
			} else {
				list[i] = int(b[i] & 0x7f)
			}
		}
		return list
	}
	return nil
}

// sequenceSize reads the largest frame that an AV1 sequence header announces (AV1, 5.5), from the OBUs of
// an av1C. It is 0, 0 where there is none, or one that is not of the short form that stills have.
func sequenceSize(obus []byte) (w, h int) {
	for len(obus) > 1 {
		kind, extended, sized := obus[0]>>3&15, obus[0]&4 != 0, obus[0]&2 != 0
		obus = obus[1:]
		if extended {
			obus = obus[1:]
		}
		size := uint64(len(obus))
		if sized {
			v, n := binary.Uvarint(obus) // leb128
			if n <= 0 || v > uint64(len(obus)-n) {
				return 0, 0
			}
			size, obus = v, obus[n:]
		}
		if kind != 1 {
			obus = obus[size:]
			continue
		}
		r := bits{b: obus[:size]}
		r.take(3 + 1)       // seq_profile, still_picture
		if r.take(1) == 0 { // reduced_still_picture_header
			return 0, 0
		}
		r.take(5) // seq_level_idx
		wBits, hBits := int(r.take(4))+1, int(r.take(4))+1
		w, h = int(r.take(wBits))+1, int(r.take(hBits))+1
		if r.short {
			return 0, 0
		}
		return w, h
	}
	return 0, 0
}

// bits reads numbers, most significant bit first.
type bits struct {
	b     []byte
	at    int
	short bool
}

func (r *bits) take(n int) (v uint32) {
	for range n {
		v <<= 1
		if r.at/8 >= len(r.b) {
			r.short = true
			continue
		}
		v |= uint32(r.b[r.at/8]>>(7-r.at%8)) & 1
		r.at++
	}
	return v
}
