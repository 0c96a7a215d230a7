// Package bombs makes pictures that ask for far more than their size tells: for tests, which show that a decoder refuses them before it
// takes the memory or the time.
//
//	for _, b := range bombs.All() {
//		_, err := resize.Probe(b.Data())
//	}
//
// All of them are made from what the formats say, none is anybody's file. None is larger than 8 MB.
package bombs

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// A Bomb is one such picture.
type Bomb struct {
	Name string // of a file, whose ending is that of the format
	Data func() []byte

	// Harmless says that the file only looks like a bomb to a careless reader, or has a first frame that is none: it may be shown, in
	// little time and memory.
	Harmless bool
}

// All gives all bombs.
func All() []Bomb {
	var all []Bomb
	for _, of := range [][]Bomb{jpegs(), pngs(), gifs(), webps(), bitmaps(), tiffs(), heifs()} {
		all = append(all, of...)
	}
	return all
}

// be16 and its kin append numbers.
func be16(b []byte, v ...int) []byte {
	for _, v := range v {
		b = binary.BigEndian.AppendUint16(b, uint16(v))
	}
	return b
}

func be32(b []byte, v ...int) []byte {
	for _, v := range v {
		b = binary.BigEndian.AppendUint32(b, uint32(v))
	}
	return b
}

func le16(b []byte, v ...int) []byte {
	for _, v := range v {
		b = binary.LittleEndian.AppendUint16(b, uint16(v))
	}
	return b
}

func le24(b []byte, v ...int) []byte {
	for _, v := range v {
		b = append(b, byte(v), byte(v>>8), byte(v>>16))
	}
	return b
}

func le32(b []byte, v ...int) []byte {
	for _, v := range v {
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	return b
}

// deflated gives n bytes of zeros, compressed: the same megabyte again and again, as that takes no time.
func deflated(n int) []byte {
	const most = 1 << 20
	zlib := func(n int) []byte {
		var b bytes.Buffer
		z, _ := flate.NewWriter(&b, flate.BestCompression)
		_, _ = z.Write(make([]byte, n))
		_ = z.Flush()
		return b.Bytes()
	}
	b := []byte{0x78, 0xda}
	b = append(b, bytes.Repeat(zlib(most), n/most)...)
	b = append(b, zlib(n%most)...)
	// An empty last block, and Adler-32, of which one half is the sum of the bytes and the other how many there are.
	return be32(append(b, 3, 0), n%65521<<16|1)
}

// repeat gives n times what f gives.
func repeat(n int, f func(i int) []byte) []byte {
	var b []byte
	for i := range n {
		b = append(b, f(i)...)
	}
	return b
}

func jpegs() []Bomb {
	segment := func(marker byte, body ...byte) []byte {
		return append(be16([]byte{0xff, marker}, len(body)+2), body...)
	}
	table := segment(0xdb, append([]byte{0}, bytes.Repeat([]byte{1}, 64)...)...)
	frame := func(sof byte, depth byte, w, h int) []byte {
		return segment(sof, append(be16([]byte{depth}, h, w), 1, 1, 0x11, 0)...)
	}
	codes := append(segment(0xc4, append([]byte{0, 1}, make([]byte, 16)...)...), segment(0xc4, append([]byte{0x10, 1}, make([]byte, 16)...)...)...)
	scan := func(from, to byte) []byte { return segment(0xda, 1, 1, 0, from, to, 0) }
	file := func(parts ...[]byte) []byte {
		b := []byte{0xff, 0xd8}
		for _, p := range parts {
			b = append(b, p...)
		}
		return append(b, 0xff, 0xd9)
	}
	small := func(before ...[]byte) []byte {
		return file(append(before, table, frame(0xc0, 8, 8, 8), codes, scan(0, 63), []byte{0x3f})...)
	}
	// A run of 32,767 blocks that have nothing, in 15 bits after a code of one.
	run := segment(0xc4, append([]byte{0x10, 1}, append(make([]byte, 15), 0xe0)...)...)
	return []Bomb{
		{Name: "scans.jpg", Data: func() []byte {
			return file(table, frame(0xc2, 8, 4096, 4096), codes, scan(0, 0), make([]byte, 512*512/8), run,
				repeat(299, func(int) []byte {
					return append(scan(1, 63), bytes.Repeat([]byte{0x7f, 0xfe}, 9)...)
				}))
		}},
		{Name: "huge.jpg", Data: func() []byte { return file(table, frame(0xc0, 8, 65500, 65500), codes, scan(0, 63), make([]byte, 100)) }},
		{Name: "claims.jpg", Data: func() []byte { return file(table, frame(0xc2, 8, 7000, 7000), codes, scan(0, 0), make([]byte, 100)) }},
		{Name: "dnl.jpg", Data: func() []byte {
			return file(table, frame(0xc0, 8, 8, 0), codes, scan(0, 63), []byte{0x3f}, segment(0xdc, 0xff, 0xff))
		}},
		{Name: "arithmetic.jpg", Data: func() []byte { return file(table, frame(0xc9, 8, 8, 8), scan(0, 63), make([]byte, 100)) }},
		{Name: "lossless.jpg", Data: func() []byte { return file(table, frame(0xc3, 8, 8, 8), scan(0, 63), make([]byte, 100)) }},
		{Name: "twelve-bits.jpg", Data: func() []byte { return file(table, frame(0xc1, 12, 8, 8), codes, scan(0, 63), make([]byte, 100)) }},
		{Name: "segments.jpg", Data: func() []byte {
			return small(repeat(1<<16, func(int) []byte { return segment(0xe5, 0) }))
		}},
		{Name: "tables.jpg", Data: func() []byte {
			return small(repeat(20_000, func(int) []byte { return append(bytes.Clone(codes), table...) }))
		}},
		{Name: "frames.jpg", Data: func() []byte {
			return small(frame(0xc0, 8, 8, 8), frame(0xc0, 8, 8, 8))
		}},
		{Name: "profile.jpg", Data: func() []byte { // of 80 segments, and 5 MB
			return small(repeat(80, func(i int) []byte {
				return segment(0xe2, append(append([]byte("ICC_PROFILE\x00"), byte(i+1), 80), make([]byte, 65500)...)...)
			}))
		}},
		{Name: "restarts.jpg", Harmless: true, Data: func() []byte { return small(segment(0xdd, 0xff, 0xff)) }},
		{Name: "exif-loop.jpg", Harmless: true, Data: func() []byte {
			// The directory is followed by itself, and has an entry that points to it.
			exif := be32([]byte("Exif\x00\x00MM\x00*"), 8)
			exif = be16(exif, 1, 0x8769, 4)
			exif = be32(exif, 1, 8, 8)
			return small(segment(0xe1, exif...))
		}},
		{Name: "exif-entries.jpg", Harmless: true, Data: func() []byte {
			return small(segment(0xe1, be16(be32([]byte("Exif\x00\x00MM\x00*"), 8), 65535)...))
		}},
	}
}

const pngSignature = "\x89PNG\r\n\x1a\n"

func pngChunk(kind string, body []byte) []byte {
	b := append(be32(nil, len(body)), kind...)
	b = append(b, body...)
	return be32(b, int(crc32.ChecksumIEEE(b[4:])))
}

// png gives a file of so many bits a sample, of a kind of colour.
func png(w, h int, depth, kind byte, chunks ...[]byte) []byte {
	b := append([]byte(pngSignature), pngChunk("IHDR", append(be32(nil, w, h), depth, kind, 0, 0, 0))...)
	for _, c := range chunks {
		b = append(b, c...)
	}
	return append(b, pngChunk("IEND", nil)...)
}

func pngs() []Bomb {
	two := deflated(2)
	dot := pngChunk("IDAT", two)
	control := func(number, w, h, x, y int) []byte {
		return pngChunk("fcTL", append(be32(nil, number, w, h, x, y), 0, 1, 0, 10, 0, 0))
	}
	return []Bomb{
		{Name: "bits.png", Data: func() []byte { return png(30000, 30000, 1, 0, pngChunk("IDAT", deflated(30000*(1+30000/8)))) }},
		{Name: "huge.png", Data: func() []byte { return png(65535, 65535, 8, 6, dot) }},
		{Name: "larger.png", Data: func() []byte { return png(1<<31-1, 1<<31-1, 8, 6, dot) }},
		{Name: "claims.png", Data: func() []byte { return png(7000, 7000, 16, 6, dot) }},
		{Name: "gigabyte.png", Data: func() []byte { return png(100, 100, 8, 0, pngChunk("IDAT", deflated(1<<30))) }},
		{Name: "profile.png", Data: func() []byte {
			return png(1, 1, 8, 0, pngChunk("iCCP", append([]byte("x\x00\x00"), deflated(100<<20)...)), dot)
		}},
		{Name: "text.png", Harmless: true, Data: func() []byte {
			return png(1, 1, 8, 0, pngChunk("zTXt", append([]byte("x\x00\x00"), deflated(100<<20)...)), dot)
		}},
		{Name: "chunks.png", Data: func() []byte {
			return png(1, 1, 8, 0, repeat(300_000, func(int) []byte { return pngChunk("tEXt", nil) }), dot)
		}},
		{Name: "pieces.png", Data: func() []byte {
			return png(1, 1, 8, 0, repeat(300_000, func(int) []byte { return pngChunk("IDAT", nil) }), dot)
		}},
		{Name: "frames.png", Data: func() []byte {
			return png(1, 1, 8, 0, pngChunk("acTL", be32(nil, 65536, 0)), control(0, 1, 1, 0, 0), dot, repeat(65535, func(i int) []byte {
				return append(control(2*i+1, 1, 1, 0, 0), pngChunk("fdAT", append(be32(nil, 2*i+2), two...))...)
			}))
		}},
		{Name: "outside.png", Harmless: true, Data: func() []byte {
			return png(1, 1, 8, 0, pngChunk("acTL", be32(nil, 2, 0)), control(0, 1, 1, 0, 0), dot, control(1, 60000, 60000, 1<<31, 1<<31),
				pngChunk("fdAT", append(be32(nil, 2), two...)))
		}},
	}
}

func gifs() []Bomb {
	screen := func(w, h int) []byte {
		return append(le16([]byte("GIF89a"), w, h), 0x80, 0, 0, 0, 0, 0, 255, 255, 255)
	}
	frame := func(w, h int) []byte {
		b := append([]byte{0x21, 0xf9, 4, 0, 0, 0, 0, 0, 0x2c}, le16(nil, 0, 0, w, h)...)
		return append(b, 0, 2, 2, 0x44, 0x01, 0) // a pixel
	}
	return []Bomb{
		{Name: "claims.gif", Data: func() []byte { // 34 bytes
			b := append(le16([]byte("GIF89a"), 65535, 65535), 0x80, 0, 0, 0, 0, 0, 255, 255, 255, 0x2c)
			return append(le16(b, 0, 0, 65535, 65535), 0, 2, 1, 0x44)
		}},
		{Name: "within.gif", Data: func() []byte { return append(append(screen(7000, 7000), frame(7000, 7000)...), 0x3b) }},
		{Name: "frames.gif", Data: func() []byte {
			return append(append(screen(1, 1), repeat(40_000, func(int) []byte { return frame(1, 1) })...), 0x3b)
		}},
		{Name: "outside.gif", Data: func() []byte { return append(append(screen(1, 1), frame(60000, 60000)...), 0x3b) }},
	}
}

func webps() []Bomb {
	chunk := func(kind string, body []byte) []byte {
		b := append(le32([]byte(kind), len(body)), body...)
		return append(b, make([]byte, len(body)%2)...)
	}
	file := func(chunks ...[]byte) []byte {
		b := []byte("RIFF\x00\x00\x00\x00WEBP")
		for _, c := range chunks {
			b = append(b, c...)
		}
		binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-8))
		return b
	}
	extended := func(flags byte, w, h int) []byte { return chunk("VP8X", le24([]byte{flags, 0, 0, 0}, w-1, h-1)) }
	lossless := func(w, h int) []byte {
		return chunk("VP8L", append(le32([]byte{0x2f}, w-1|(h-1)<<14), make([]byte, 60)...))
	}
	lossy := func(w, h int) []byte {
		return chunk("VP8 ", append(le16([]byte{0x10, 4, 0, 0x9d, 1, 0x2a}, w, h), make([]byte, 100)...))
	}
	frame := func(x, y, w, h int, picture []byte) []byte {
		return chunk("ANMF", append(append(le24(nil, x/2, y/2, w-1, h-1, 100), 0), picture...))
	}
	const animated = 2
	anim := chunk("ANIM", make([]byte, 6))
	return []Bomb{
		{Name: "canvas.webp", Data: func() []byte { return file(extended(0, 1<<24, 1<<24), lossless(1, 1)) }},
		{Name: "lossless.webp", Data: func() []byte { return file(lossless(16384, 16384)) }},
		{Name: "lossy.webp", Data: func() []byte { return file(lossy(16383, 16383)) }},
		{Name: "lies.webp", Data: func() []byte { return file(extended(0, 1, 1), lossless(16384, 16384)) }},
		{Name: "lies-lossy.webp", Data: func() []byte { return file(extended(0, 1, 1), lossy(16383, 16383)) }},
		{Name: "frame-lies.webp", Data: func() []byte {
			f := frame(0, 0, 1, 1, lossless(16384, 16384))
			return file(extended(animated, 1, 1), anim, f, f)
		}},
		{Name: "frame-lies-lossy.webp", Data: func() []byte {
			f := frame(0, 0, 1, 1, lossy(16383, 16383))
			return file(extended(animated, 1, 1), anim, f, f)
		}},
		{Name: "outside.webp", Data: func() []byte {
			f := frame(1<<24, 1<<24, 16384, 16384, lossless(16384, 16384))
			return file(extended(animated, 1, 1), anim, f, f)
		}},
		{Name: "frames.webp", Data: func() []byte {
			return file(extended(animated, 1, 1), anim, repeat(65536, func(int) []byte { return frame(0, 0, 1, 1, lossless(1, 1)[:20]) }))
		}},
		{Name: "profile.webp", Data: func() []byte { return file(extended(1<<5, 1, 1), chunk("ICCP", make([]byte, 5<<20)), lossless(1, 1)) }},
	}
}

func bitmaps() []Bomb {
	bmp := func(w, h int, depth, compression int) []byte {
		b := le32([]byte("BM"), 54, 0, 54, 40, w, h)
		return append(le32(le16(b, 1, depth), compression, 0, 0, 0, 0, 0), make([]byte, 100)...)
	}
	return []Bomb{
		{Name: "huge.bmp", Data: func() []byte { return bmp(65535, 65535, 24, 0) }},
		{Name: "claims.bmp", Data: func() []byte { return bmp(7000, 7000, 32, 0) }},
		{Name: "least.bmp", Data: func() []byte { return bmp(1, -1<<31, 24, 0) }},
		{Name: "upside-down.bmp", Data: func() []byte { return bmp(7000, -7000, 24, 0) }},
		{Name: "negative.bmp", Data: func() []byte { return bmp(-7000, 7000, 24, 0) }},
		{Name: "runs.bmp", Data: func() []byte { return bmp(7000, 7000, 8, 1) }},
		{Name: "entries.ico", Data: func() []byte { // which all have the same data, of 100,000 chunks
			data := png(256, 256, 8, 6, repeat(100_000, func(int) []byte { return pngChunk("tEXt", nil) }))
			const n = 65535
			b := le16(nil, 0, 1, n)
			for range n {
				b = le32(append(b, 0, 0, 0, 0, 1, 0, 32, 0), len(data), 6+16*n)
			}
			return append(b, data...)
		}},
		{Name: "huge.ico", Data: func() []byte {
			data := png(65535, 65535, 8, 6, pngChunk("IDAT", deflated(2)))
			return append(le32(append(le16(nil, 0, 1, 1), 1, 1, 0, 0, 1, 0, 32, 0), len(data), 22), data...)
		}},
		{Name: "claims.ico", Data: func() []byte {
			data := append(le32(le16(le32(nil, 40, 7000, 14000), 1, 32), 0, 0, 0, 0, 0, 0), make([]byte, 100)...)
			return append(le32(append(le16(nil, 0, 1, 1), 1, 1, 0, 0, 1, 0, 32, 0), len(data), 22), data...)
		}},
	}
}

func tiffs() []Bomb {
	const short, long = 3, 4
	// entries are tag, type, count and value each, in order of their tags; data follows the directory.
	file := func(data []byte, entries ...[4]int) []byte {
		b := le16(le32([]byte("II*\x00"), 8), len(entries))
		for _, e := range entries {
			b = le32(le16(b, e[0], e[1]), e[2], e[3])
		}
		return append(le32(b, 8), data...) // the directory is followed by itself
	}
	// dataAt is where data begins, after so many entries.
	dataAt := func(entries int) int { return 8 + 2 + 12*entries + 4 }
	gray := func(w, h, compression int) [][4]int {
		return [][4]int{{256, long, 1, w}, {257, long, 1, h}, {258, short, 1, 8}, {259, short, 1, compression}, {262, short, 1, 1}}
	}
	const none, lzw, deflate, packBits = 1, 5, 8, 32773
	// blocks are n strips or tiles that share their data.
	blocks := func(entries [][4]int, offsetsTag, countsTag, n int, body []byte, more ...[4]int) []byte {
		at := dataAt(len(entries) + 2 + len(more))
		if n == 1 { // and the entries have them themselves
			entries = append(append(entries, [4]int{offsetsTag, long, 1, at}), more...)
			return file(body, append(entries, [4]int{countsTag, long, 1, len(body)})...)
		}
		offsets := repeat(n, func(int) []byte { return le32(nil, at+8*n) })
		counts := repeat(n, func(int) []byte { return le32(nil, len(body)) })
		entries = append(entries, [4]int{offsetsTag, long, n, at})
		entries = append(entries, more...)
		entries = append(entries, [4]int{countsTag, long, n, at + 4*n})
		return file(append(append(offsets, counts...), body...), entries...)
	}
	return []Bomb{
		{Name: "huge.tiff", Data: func() []byte { return blocks(gray(65535, 65535, deflate), 273, 279, 1, deflated(100)) }},
		{Name: "strips.tiff", Data: func() []byte { // each is a megabyte of nothing
			return blocks(gray(1, 65535, packBits), 273, 279, 65535, bytes.Repeat([]byte{0x80}, 1<<20), [4]int{278, long, 1, 1})
		}},
		{Name: "tiles.tiff", Data: func() []byte {
			n := 500_000
			entries := append(gray(1000, 500, deflate), [4]int{322, long, 1, 1}, [4]int{323, long, 1, 1})
			return blocks(entries, 324, 325, n, deflated(1))
		}},
		{Name: "ratio.tiff", Harmless: true, Data: func() []byte { return blocks(gray(100, 100, deflate), 273, 279, 1, deflated(1<<30)) }},
		{Name: "claims.tiff", Data: func() []byte { return blocks(gray(7000, 7000, none), 273, 279, 1, []byte{0}) }},
		{Name: "counts.tiff", Data: func() []byte {
			return file(nil, append(gray(7000, 7000, lzw), [4]int{273, long, 1<<32 - 1, 8}, [4]int{279, long, 1<<32 - 1, 8})...)
		}},
		{Name: "loop.tiff", Harmless: true, Data: func() []byte {
			return blocks(gray(4, 4, none), 273, 279, 1, make([]byte, 16))
		}},
	}
}

func heifs() []Bomb {
	box := func(kind string, parts ...[]byte) []byte {
		body := bytes.Join(parts, nil)
		return append(append(be32(nil, 8+len(body)), kind...), body...)
	}
	full := func(kind string, version byte, parts ...[]byte) []byte {
		return box(kind, append([][]byte{{version, 0, 0, 0}}, parts...)...)
	}
	ispe := func(w, h int) []byte { return full("ispe", 0, be32(nil, w, h)) }
	item := func(kind string) []byte {
		return full("iinf", 0, be16(nil, 1), full("infe", 2, be16(nil, 1, 0), []byte(kind), []byte{0}))
	}
	links := full("ipma", 0, be32(nil, 1), be16(nil, 1), []byte{2, 1, 2})
	// at says where item 1 has its data: in the box idat.
	at := func(n int) []byte {
		return full("iloc", 1, []byte{0x44, 0}, be16(nil, 1, 1, 1, 0, 1), be32(nil, 0, n))
	}
	file := func(brand string, meta ...[]byte) []byte {
		return append(box("ftyp", []byte(brand), make([]byte, 4), []byte(brand)), full("meta", 0, append([][]byte{full("pitm", 0, be16(nil, 1))}, meta...)...)...)
	}
	// A sequence header of a still of 16 bits a side (AV1, 5.5.1): profile 0, reduced, level 0.
	sequence := func(w, h int) []byte {
		v := uint64(0b000_1_1_00000_1111_1111)<<32 | uint64(w-1)<<16 | uint64(h-1)
		b := binary.BigEndian.AppendUint64(nil, v<<(64-18-32))
		return append([]byte{0x0a, byte(len(b))}, b...)
	}
	// A sequence parameter set of a picture in 4:2:0 (ITU-T H.265, 7.3.2.2), up to the size, of 15 bits a side at most.
	parameters := func(w, h int) []byte {
		var v uint64
		n := 0
		take := func(bits int, x uint64) { v, n = v<<bits|x, n+bits }
		golomb := func(x int) { size := bits.Len(uint(x + 1)); take(2*size-1, uint64(x+1)) }
		golomb(0) // its number
		golomb(1) // 4:2:0
		golomb(w)
		golomb(h)
		b := append([]byte{33 << 1, 1, 1}, bytes.Repeat([]byte{1}, 12)...) // profile and level, without three zeros
		return append(b, binary.BigEndian.AppendUint64(nil, v<<(64-n))...)
	}
	config := func(kind string, w, h int) []byte {
		if kind == "av01" {
			return box("av1C", []byte{0x81, 0, 0, 0}, sequence(w, h))
		}
		sps := parameters(w, h)
		return box("hvcC", make([]byte, 21), []byte{3, 1, 33}, be16(nil, 1, len(sps)), sps)
	}
	properties := func(links []byte, p ...[]byte) []byte { return box("iprp", box("ipco", p...), links) }
	var all []Bomb
	for _, f := range []struct{ brand, name, kind string }{{"avif", "avif", "av01"}, {"heic", "heic", "hvc1"}} {
		all = append(all,
			Bomb{Name: "huge." + f.name, Data: func() []byte {
				return file(f.brand, item(f.kind), at(10), properties(links, ispe(30000, 30000), config(f.kind, 30000, 30000)), box("idat", make([]byte, 10)))
			}},
			Bomb{Name: "lies." + f.name, Data: func() []byte {
				return file(f.brand, item(f.kind), at(10), properties(links, ispe(10, 10), config(f.kind, 30000, 30000)), box("idat", sequence(30000, 30000)))
			}},
			Bomb{Name: "grid." + f.name, Data: func() []byte { // of 256 times 256 tiles
				grid := be32([]byte{0, 1, 255, 255}, 65535, 65535)
				return file(f.brand, item("grid"), at(len(grid)), properties(links, ispe(10, 10), box("pixi", make([]byte, 8))), box("idat", grid))
			}},
			Bomb{Name: "places." + f.name, Data: func() []byte { // 100,000 times 65,535 places of no bytes
				const n = 100_000
				iloc := full("iloc", 2, []byte{0, 0}, be32(nil, n), repeat(n, func(int) []byte { return be16(be32(nil, 1), 0, 0, 65535) }))
				return file(f.brand, item(f.kind), iloc, properties(links, ispe(10, 10), config(f.kind, 10, 10)))
			}},
			Bomb{Name: "links." + f.name, Data: func() []byte { // 4 million properties of one item
				const n = 16_000
				ipma := full("ipma", 0, be32(nil, n), repeat(n, func(int) []byte { return append(be16(nil, 1), bytes.Repeat([]byte{255}, 256)...) }))
				return file(f.brand, item(f.kind), at(10), properties(ipma, ispe(10, 10), config(f.kind, 10, 10)), box("idat", make([]byte, 10)))
			}},
			Bomb{Name: "shared." + f.name, Data: func() []byte { // 1,000 pictures of the same 4 MB of nothing
				const n = 1000
				data := bytes.Repeat([]byte{0x12, 0}, 2<<20)
				iloc := full("iloc", 1, []byte{0x44, 0}, be16(nil, n), repeat(n, func(i int) []byte { return be32(be16(nil, i+1, 1, 0, 1), 0, len(data)) }))
				iinf := full("iinf", 0, be16(nil, n), repeat(n, func(i int) []byte {
					return full("infe", 2, be16(nil, i+1, 0), []byte(f.kind), []byte{0})
				}))
				ipma := full("ipma", 0, be32(nil, n), repeat(n, func(i int) []byte { return append(be16(nil, i+1), 2, 1, 2) }))
				config := box("av1C", []byte{0x81, 0, 0, 0})
				if f.kind == "hvc1" {
					config = box("hvcC", make([]byte, 21), []byte{1, 0})
				}
				return file(f.brand, iinf, iloc, properties(ipma, ispe(10, 10), config), box("idat", data))
			}},
		)
	}
	return all
}
