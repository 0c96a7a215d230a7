// Package heic lets package resize read HEIC, the photographs of phones: HEVC in HEIF. Import it for its side effect:
//
//	import _ "github.com/imagecdn/imagecdn/resize/heic"
//
// It is apart because it is heavy, libheif and libde265 compiled to WebAssembly (or the system's libheif, where a dynamically linked
// program finds one under the name libheif.so), and because HEVC is patented: who imports it decides about licences.
//
// It reads the primary picture, in eight bits, with its rotation applied; not its transparency, its depth, or what else is stored
// beside it. Nothing is written.
//
// # Safety
//
// As in AVIF, the container and the codec may disagree about sizes. So before the codec sees anything, the size that each picture has
// by its container is compared with that of each sequence parameter set, in the header and in the data, and that of each grid. Where
// they differ, or where a picture is of a kind that is not known here, the file is refused. The codec runs in WebAssembly's sandbox,
// where what goes wrong is an error; the system's library has no sandbox, and the build tag nodynamic leaves it alone.
//
// Decoding does not stop when the context is done.
package heic

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"image"

	"github.com/gen2brain/heic"

	"github.com/imagecdn/imagecdn/internal/heif"
	"github.com/imagecdn/imagecdn/resize"
)

func init() {
	resize.Register(resize.Codec{
		Format:      resize.HEIC,
		ContentType: "image/heic",
		Match:       match,
		Probe:       probe,
		Decode: func(_ context.Context, data []byte, _ resize.DecodeOptions) (image.Image, error) {
			return heic.Decode(bytes.NewReader(data))
		},
		// Tiles, the whole and its copies in the sandbox's memory, and the picture outside.
		PixelBytes: 16,
	})
}

func match(b []byte) bool {
	if len(b) < 12 || string(b[4:8]) != "ftyp" {
		return false
	}
	hevc := false
	n := min(int(min(binary.BigEndian.Uint32(b), 1024)), len(b))
	for i := 8; i+4 <= n; i += 4 {
		switch string(b[i : i+4]) {
		case "avif", "avis": // of another codec
			return false
		case "heic", "heix", "heim", "heis":
			hevc = hevc || i != 12 // which is a version
		}
	}
	return hevc
}

// item is what the container says of one picture.
type item struct {
	w, h    int // as coded
	outW    int // as shown, which is what the decoder gives
	outH    int
	config  []byte // hvcC
	problem error
}

func readItem(c heif.Container, id uint32) (it item) {
	swap := func() { it.outW, it.outH = it.outH, it.outW }
	for _, i := range c.Of[id] {
		if i < 1 || i > len(c.Properties) {
			continue
		}
		switch p := c.Properties[i-1]; {
		case p.Kind == "ispe" && len(p.Body) >= 12:
			w, h := binary.BigEndian.Uint32(p.Body[4:]), binary.BigEndian.Uint32(p.Body[8:])
			if it.w > 0 {
				it.problem = fmt.Errorf("%w: HEIC with a picture of two sizes", resize.ErrDamaged)
				return it
			}
			if w > 65535 || h > 65535 {
				it.problem = fmt.Errorf("%w: HEIC of %dx%d pixels", resize.ErrTooLarge, w, h)
				return it
			}
			it.w, it.h, it.outW, it.outH = int(w), int(h), int(w), int(h)
		case p.Kind == "irot" && len(p.Body) >= 1 && p.Body[0]&1 == 1:
			swap()
		case p.Kind == "clap" && len(p.Body) >= 16:
			n := func(i int) int { return int(binary.BigEndian.Uint32(p.Body[i:])) }
			if n(4) == 0 || n(12) == 0 || n(0)/n(4) > it.outW || n(8)/n(12) > it.outH {
				it.problem = fmt.Errorf("%w: HEIC with a clean aperture larger than the picture", resize.ErrDamaged)
				return it
			}
			it.outW, it.outH = n(0)/n(4), n(8)/n(12)
		case p.Kind == "hvcC":
			it.config = p.Body
		}
	}
	return it
}

func probe(data []byte) (resize.Info, error) {
	info := resize.Info{Format: resize.HEIC, Frames: 1, Orientation: 1}
	c := heif.Read(data)
	whole := readItem(c, c.Primary)
	switch kind := c.Kinds[c.Primary]; {
	case c.Excess:
		return info, fmt.Errorf("%w: HEIC of too many parts", resize.ErrTooLarge)
	case c.Cut:
		return info, fmt.Errorf("%w: HEIC cut off", resize.ErrDamaged)
	case whole.problem != nil:
		return info, whole.problem
	case whole.w == 0 || whole.h == 0:
		return info, fmt.Errorf("%w: HEIC without a size", resize.ErrDamaged)
	case kind != "hvc1" && kind != "grid":
		return info, fmt.Errorf("%w: HEIC whose picture is of the kind %q", resize.ErrUnsupported, kind)
	}
	info.Width, info.Height = whole.outW, whole.outH
	most := max(4*whole.w*whole.h, 1<<20) // a tile is hardly larger than the whole
	// Pictures may share their data in a file made up to be looked through again and again. A grid's tiles share their header.
	work := 4*len(data) + 1<<20
	for id, kind := range c.Kinds {
		part, at := readItem(c, id), c.At[id]
		if work -= len(at) + len(part.config); work < 0 {
			return info, fmt.Errorf("%w: HEIC with pictures of the same data", resize.ErrDamaged)
		}
		switch {
		case part.problem != nil:
			return info, part.problem
		case part.w*part.h > most:
			return info, fmt.Errorf("%w: HEIC of %dx%d with a part of %dx%d", resize.ErrDamaged, whole.w, whole.h, part.w, part.h)
		}
		switch kind {
		case "hvc1":
			if err := checkCoded(part, at, c.Extents[id]); err != nil {
				return info, err
			}
		case "grid":
			if w, h := heif.GridSize(at); w != part.w || h != part.h || w == 0 {
				return info, fmt.Errorf("%w: HEIC whose container says %dx%d and whose grid %dx%d", resize.ErrDamaged, part.w, part.h, w, h)
			}
		case "", "iovl", "iden", "av01", "jpeg", "avc1", "unci", "mski":
			return info, fmt.Errorf("%w: HEIC with a picture of the kind %q", resize.ErrUnsupported, kind)
		}
	}
	return info, nil
}

// checkCoded holds what a picture's data will be decoded to, to what its container says.
func checkCoded(it item, data []byte, extents int) error {
	const prefix = 23 // of hvcC, up to its arrays (ISO/IEC 14496-15, 8.3.3.1)
	if len(it.config) < prefix || data == nil {
		return fmt.Errorf("%w: HEIC with a picture without data", resize.ErrDamaged)
	}
	if extents != 1 {
		return fmt.Errorf("%w: HEIC with a picture in %d pieces", resize.ErrUnsupported, extents)
	}
	found := false
	check := func(nal []byte) error {
		const sps = 33
		if len(nal) < 3 || nal[0]>>1&63 != sps {
			return nil
		}
		w, h := sequenceSize(nal)
		// It is coded in blocks of up to 64, and cut to size.
		if w < it.w || h < it.h || w >= it.w+64 || h >= it.h+64 {
			return fmt.Errorf("%w: HEIC whose container says %dx%d and whose codec %dx%d", resize.ErrDamaged, it.w, it.h, w, h)
		}
		found = true
		return nil
	}
	b := it.config[prefix:]
	for range it.config[prefix-1] {
		if len(b) < 3 {
			return fmt.Errorf("%w: HEIC cut off", resize.ErrDamaged)
		}
		n := binary.BigEndian.Uint16(b[1:])
		b = b[3:]
		for range n {
			if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
				return fmt.Errorf("%w: HEIC cut off", resize.ErrDamaged)
			}
			size := int(binary.BigEndian.Uint16(b))
			if err := check(b[2:][:size]); err != nil {
				return err
			}
			b = b[2+size:]
		}
	}
	lengthSize := int(it.config[21]&3) + 1
	for len(data) >= lengthSize {
		n := 0
		for _, v := range data[:lengthSize] {
			n = n<<8 | int(v)
		}
		data = data[lengthSize:]
		if n > len(data) {
			return fmt.Errorf("%w: HEIC cut off", resize.ErrDamaged)
		}
		if err := check(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	if !found {
		return fmt.Errorf("%w: HEIC without a sequence parameter set", resize.ErrDamaged)
	}
	return nil
}

// sequenceSize reads the size of luma from a sequence parameter set (ITU-T H.265, 7.3.2.2). It is 0, 0 where there is none.
func sequenceSize(nal []byte) (w, h int) {
	r := bits{b: bytes.ReplaceAll(nal[2:min(len(nal), 2+256)], []byte{0, 0, 3}, []byte{0, 0})} // without emulation prevention
	r.take(4)                                                                                  // sps_video_parameter_set_id
	layers := int(r.take(3))                                                                   // sps_max_sub_layers_minus1
	r.take(1)                                                                                  // sps_temporal_id_nesting_flag
	r.at += 88 + 8                                                                             // general profile and level
	var profile, level [8]bool
	for i := range layers {
		profile[i], level[i] = r.take(1) == 1, r.take(1) == 1
	}
	if layers > 0 {
		r.at += 2 * (8 - layers)
	}
	for i := range layers {
		if profile[i] {
			r.at += 88
		}
		if level[i] {
			r.at += 8
		}
	}
	r.golomb()           // sps_seq_parameter_set_id
	if r.golomb() == 3 { // chroma_format_idc
		r.take(1) // separate_colour_plane_flag
	}
	w, h = int(min(r.golomb(), 1<<20)), int(min(r.golomb(), 1<<20))
	if r.at > 8*len(r.b) {
		return 0, 0
	}
	return w, h
}

// bits reads numbers, most significant bit first. After the end it gives zeros.
type bits struct {
	b  []byte
	at int
}

func (r *bits) take(n int) (v uint64) {
	for range n {
		v <<= 1
		if r.at/8 < len(r.b) {
			v |= uint64(r.b[r.at/8]>>(7-r.at%8)) & 1
		}
		r.at++
	}
	return v
}

// golomb reads an Exp-Golomb number, ue(v).
func (r *bits) golomb() uint64 {
	zeros := 0
	for zeros < 32 && r.take(1) == 0 {
		zeros++
	}
	return 1<<zeros - 1 + r.take(zeros)
}
