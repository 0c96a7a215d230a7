// Package avif lets package resize read and write AVIF. Import it for its side effect:
//
//	import _ "github.com/imagecdn/imagecdn/resize/avif"
//
// It is apart because it is heavy: libavif with its codecs, compiled to WebAssembly (or the system's
// libavif, of version 1.1 or later, where there is one that a dynamically linked program finds under the name libavif.so), and
// an encoder that takes a second where that of JPEG takes ten milliseconds.
//
// A plan's quality means what it means for JPEG: the same SSIM.
//
// # Safety
//
// AVIF is a container of boxes around a video codec, and the two may disagree about sizes: the container
// says 10x10, and the codec fills the memory. So before the codec sees anything, the container is read
// here, within bounds, and what each picture in it says of its size is compared with what the sequence
// header in its data says. Where they differ, the file is refused. The codec runs in WebAssembly's sandbox,
// where what goes wrong is an error; the system's library has no sandbox.
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

	"github.com/imagecdn/imagecdn/internal/heif"
	"github.com/imagecdn/imagecdn/internal/icc"
	"github.com/imagecdn/imagecdn/resize"
)

// speed is that of the encoder, 0 to 10: the slowest that takes at most 2.5 seconds of a core for a megapixel. Each step
// from 8 to 6 saves nine parts in a hundred; at 8, AVIF is hardly smaller than WebP (docs/formats.md has the measurements).
func speed() int {
	if avif.Dynamic() == nil {
		return 6 // the system's library: 0.8 seconds
	}
	return 7 // WebAssembly: 2.3 seconds, and at 6 twice that
}

func init() {
	resize.Register(resize.Codec{
		Format:      resize.AVIF,
		ContentType: "image/avif",
		Match:       match,
		Probe:       probe,
		Decode: func(_ context.Context, data []byte, _ resize.DecodeOptions) (image.Image, error) {
			return avif.Decode(bytes.NewReader(data))
		},
		Encode:  encode,
		Profile: profile,
		// Sequences are neither read nor written.
		Animated: resize.WebP,
		MaxSide:  16384, // libavif's limit is 16384 squared pixels
		Alpha:    true,
		// Planes in the sandbox's memory of at least two bytes a sample, and the picture outside.
		PixelBytes: 30,
		// What libaom takes: of pictures of 1 to 8 megapixels 85 to 130, and up to 160 with all of their chroma.
		EncodeBytes: 150,
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

func encode(_ context.Context, w io.Writer, m image.Image, o resize.EncodeOptions) error {
	rgba, ok := m.(*image.RGBA)
	if !ok || rgba.Stride != 4*rgba.Rect.Dx() {
		// The encoder wants colours weighted by alpha and no bytes between rows.
		rgba = image.NewRGBA(m.Bounds())
		draw.Draw(rgba, rgba.Rect, m, m.Bounds().Min, draw.Src)
	}
	quality := ofAVIF(o.Quality)
	chroma := image.YCbCrSubsampleRatio420
	switch o.Encoding.Chroma {
	case resize.Chroma422:
		chroma = image.YCbCrSubsampleRatio422
	case resize.Chroma444:
		chroma = image.YCbCrSubsampleRatio444
	}
	return avif.Encode(w, rgba, avif.Options{Quality: quality, QualityAlpha: quality, Speed: speed(), ChromaSubsampling: chroma})
}

// scale is where the encoder's quality stands for what JPEG's does: the median, over photographs, of those that give the same
// SSIM (docs/formats.md). One quality in a URL then looks the same in each format, and AVIF does not spend on more what it saves.
var scale = []struct{ jpeg, avif int }{{1, 1}, {10, 12}, {20, 29}, {30, 36}, {45, 42}, {60, 48}, {75, 57}, {80, 63}, {85, 69}, {90, 76}, {95, 87}, {100, 100}}

// ofAVIF gives the encoder's quality for one that is meant as JPEG's.
func ofAVIF(quality int) int {
	for i, to := range scale[1:] {
		if from := scale[i]; quality <= to.jpeg {
			d := to.jpeg - from.jpeg
			return from.avif + ((max(quality, from.jpeg)-from.jpeg)*(to.avif-from.avif)+d/2)/d
		}
	}
	return 100
}

// item is one picture of a container.
type item struct {
	w, h          int
	turns, mirror int
	coded         bool // has data of its own; a grid has that of its tiles
	config        []byte
}

// readItem reads what a container says of an item.
func readItem(c heif.Container, id uint32) (it item, err error) {
	it.mirror = -1
	for _, i := range c.Of[id] {
		if i < 1 || i > len(c.Properties) {
			continue
		}
		switch p := c.Properties[i-1]; {
		case p.Kind == "ispe" && len(p.Body) >= 12:
			w, h := binary.BigEndian.Uint32(p.Body[4:]), binary.BigEndian.Uint32(p.Body[8:])
			if w > 65535 || h > 65535 {
				return it, fmt.Errorf("%w: AVIF of %dx%d pixels", resize.ErrTooLarge, w, h)
			}
			it.w, it.h = int(w), int(h)
		case p.Kind == "irot" && len(p.Body) >= 1:
			it.turns = int(p.Body[0] & 3)
		case p.Kind == "imir" && len(p.Body) >= 1:
			it.mirror = int(p.Body[0] & 1)
		case p.Kind == "av1C" && len(p.Body) >= 4:
			it.coded, it.config = true, p.Body[4:]
		}
	}
	return it, nil
}

func probe(data []byte) (resize.Info, error) {
	info := resize.Info{Format: resize.AVIF, Frames: 1}
	c := heif.Read(data)
	switch {
	case c.Excess:
		return info, fmt.Errorf("%w: AVIF of too many parts", resize.ErrTooLarge)
	case c.Cut:
		return info, fmt.Errorf("%w: AVIF cut off", resize.ErrDamaged)
	}
	it, err := readItem(c, c.Primary)
	if err != nil {
		return info, err
	}
	if it.w == 0 || it.h == 0 {
		return info, fmt.Errorf("%w: AVIF without a size", resize.ErrDamaged)
	}
	info.Width, info.Height, info.Orientation = it.w, it.h, heif.Orientation(it.turns, it.mirror)
	for _, p := range c.Properties {
		info.Alpha = info.Alpha || p.Kind == "auxC" && bytes.Contains(p.Body, []byte("alpha"))
	}
	// Pictures may share their data in a file made up to be looked through again and again.
	most := 4*len(data) + 1<<20
	for id := range c.Of {
		part, err := readItem(c, id)
		if err != nil {
			return info, err
		}
		if most -= len(c.At[id]) + len(part.config); most < 0 {
			return info, fmt.Errorf("%w: AVIF with pictures of the same data", resize.ErrDamaged)
		}
		if c.Kinds[id] == "grid" {
			if w, h := heif.GridSize(c.At[id]); w != part.w || h != part.h || w == 0 {
				return info, fmt.Errorf("%w: AVIF whose container says %dx%d and whose grid %dx%d", resize.ErrDamaged, part.w, part.h, w, h)
			}
		}
		if !part.coded {
			continue
		}
		w, h := sequenceSize(part.config)
		if w == 0 {
			w, h = sequenceSize(c.At[id])
		}
		switch {
		case w == 0:
			return info, fmt.Errorf("%w: AVIF without a sequence header", resize.ErrDamaged)
		case w != part.w || h != part.h:
			return info, fmt.Errorf("%w: AVIF whose container says %dx%d and whose codec %dx%d",
				resize.ErrDamaged, part.w, part.h, w, h)
		case w*h > max(4*it.w*it.h, 1<<20): // a tile is hardly larger than the whole
			return info, fmt.Errorf("%w: AVIF of %dx%d with a part of %dx%d", resize.ErrDamaged, it.w, it.h, w, h)
		}
	}
	return info, nil
}

// profile gives the profile of the picture that is shown, or one made of its colour description (ISO/IEC 14496-12, 12.1.5). What the
// sequence header alone says is not looked at: every writer puts it into the container too.
func profile(data []byte) []byte {
	c := heif.Read(data)
	var nclx []byte
	for _, i := range c.Of[c.Primary] {
		if i < 1 || i > len(c.Properties) {
			continue
		}
		p := c.Properties[i-1]
		if p.Kind != "colr" || len(p.Body) < 4 {
			continue
		}
		switch kind, body := string(p.Body[:4]), p.Body[4:]; kind {
		case "prof", "rICC":
			if icc.SpaceOf(body) == icc.RGB || len(body) > icc.MaxBytes {
				return body
			}
		case "nclx":
			nclx = body
		}
	}
	if len(nclx) < 6 {
		return nil
	}
	made, _ := icc.FromCICP(int(binary.BigEndian.Uint16(nclx)), int(binary.BigEndian.Uint16(nclx[2:])), false)
	return made
}

// sequenceSize reads the largest frame that an AV1 sequence header announces (AV1, 5.5.1), from the first of
// some OBUs. It is 0, 0 where there is none.
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
		const sequenceHeader = 1
		if kind == sequenceHeader {
			return frameSize(&bits{b: obus[:size]})
		}
		obus = obus[size:]
	}
	return 0, 0
}

// frameSize reads a sequence header up to max_frame_height.
func frameSize(r *bits) (w, h int) {
	r.take(3 + 1)       // seq_profile, still_picture
	if r.take(1) == 1 { // reduced_still_picture_header
		r.take(5) // seq_level_idx
	} else {
		delayBits := 0      // of the decoder model, where there is one
		if r.take(1) == 1 { // timing_info_present_flag
			r.take(32)          // num_units_in_display_tick
			r.take(32)          // time_scale
			if r.take(1) == 1 { // equal_picture_interval
				r.golomb() // num_ticks_per_picture_minus_1
			}
			if r.take(1) == 1 { // decoder_model_info_present_flag
				delayBits = int(r.take(5)) + 1
				r.take(32) // num_units_in_decoding_tick
				r.take(5 + 5)
			}
		}
		displayDelay := r.take(1) == 1
		for range r.take(5) + 1 { // operating points
			r.take(12) // operating_point_idc
			if r.take(5) > 7 {
				r.take(1) // seq_tier
			}
			if delayBits > 0 && r.take(1) == 1 {
				r.take(delayBits)
				r.take(delayBits)
				r.take(1)
			}
			if displayDelay && r.take(1) == 1 {
				r.take(4)
			}
		}
	}
	wBits, hBits := int(r.take(4))+1, int(r.take(4))+1
	w, h = int(r.take(wBits))+1, int(r.take(hBits))+1
	if r.short {
		return 0, 0
	}
	return w, h
}

// bits reads numbers, most significant bit first. After the end it gives zeros, and short is set.
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

// golomb reads what AV1 calls uvlc().
func (r *bits) golomb() {
	zeros := 0
	for r.take(1) == 0 && !r.short {
		zeros++
	}
	if zeros < 32 {
		r.take(zeros)
	}
}
