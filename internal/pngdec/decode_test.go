package pngdec

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"

	"compress/zlib"
)

// chunk makes one of a kind, with its checksum.
func chunk(kind string, data []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	b = append(append(b, kind...), data...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

const signature = "\x89PNG\r\n\x1a\n"

func ihdr(w, h, depth, kind, interlace int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(w))
	b = binary.BigEndian.AppendUint32(b, uint32(h))
	return chunk("IHDR", append(b, byte(depth), byte(kind), 0, 0, byte(interlace)))
}

func deflate(raw []byte, level int) []byte {
	var b bytes.Buffer
	w, _ := zlib.NewWriterLevel(&b, level)
	w.Write(raw)
	w.Close()
	return b.Bytes()
}

// same decodes data both ways and fails where they differ. It says whether there was a picture.
func same(t *testing.T, data []byte) bool {
	t.Helper()
	want, wantErr := png.Decode(bytes.NewReader(data))
	got, err := Decode(t.Context(), data, &Options{Alloc: dirty})
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%v, and image/png says %v", err, wantErr)
	}
	if err != nil {
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrUnsupported) {
			t.Fatalf("an error of no kind: %v", err)
		}
		return false
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%T of %v differs from image/png's %T of %v", got, got.Bounds(), want, want.Bounds())
	}
	return true
}

// dirty is memory that was used before.
func dirty(n int) []byte { return bytes.Repeat([]byte{0xa5}, n) }

// A form is a kind of colour, a depth, and what goes with them.
type form struct {
	kind, depth int
	plte, trns  []byte
}

func (f form) String() string {
	return fmt.Sprintf("kind=%d/depth=%d/plte=%d/trns=%d", f.kind, f.depth, len(f.plte), len(f.trns))
}

func forms() []form {
	var all []form
	palette := func(n int) []byte {
		b := make([]byte, 3*n)
		for i := range b {
			b[i] = byte(i * 37)
		}
		return b
	}
	for _, depth := range []int{1, 2, 4, 8, 16} {
		all = append(all, form{grayscale, depth, nil, nil}, form{grayscale, depth, nil, []byte{0, 1}})
		if depth <= 8 {
			all = append(all,
				form{indexed, depth, palette(1 << depth), nil},
				form{indexed, depth, palette(1<<depth - 1), nil},
				form{indexed, depth, palette(1 << depth), []byte{0, 128}[:1]},
				form{indexed, depth, palette(2), []byte{7, 128, 9, 250}})
		}
		if depth >= 8 {
			all = append(all,
				form{trueColor, depth, nil, nil},
				form{trueColor, depth, palette(9), nil},
				form{trueColor, depth, nil, []byte{0, 1, 0, 1, 0, 1}},
				form{grayscaleAlpha, depth, nil, nil},
				form{trueColorAlpha, depth, nil, nil})
		}
	}
	return all
}

// file makes a PNG of rows with random filters and few values, so that transparent colours and matches come up.
func (f form) file(rnd *rand.Rand, w, h int, interlaced bool, level, perChunk int) []byte {
	passes, interlace := []pass{{0, 0, 1, 1}}, 0
	if interlaced {
		passes, interlace = adam7[:], 1
	}
	var raw []byte
	for _, p := range passes {
		pw, ph := p.size(w, h)
		if pw <= 0 || ph <= 0 {
			continue
		}
		for range ph {
			raw = append(raw, byte(rnd.IntN(5)))
			for range (pw*channels[f.kind]*f.depth + 7) / 8 {
				v := byte(rnd.IntN(3))
				if rnd.IntN(4) == 0 {
					v = byte(rnd.IntN(256))
				}
				raw = append(raw, v)
			}
		}
	}
	b := append([]byte(signature), ihdr(w, h, f.depth, f.kind, interlace)...)
	if f.plte != nil {
		b = append(b, chunk("PLTE", f.plte)...)
	}
	if f.trns != nil {
		b = append(b, chunk("tRNS", f.trns)...)
	}
	b = append(b, chunk("tEXt", []byte("Comment\x00none"))...)
	z := deflate(raw, level)
	for len(z) > perChunk {
		b = append(b, chunk("IDAT", z[:perChunk])...)
		z = z[perChunk:]
	}
	b = append(b, chunk("IDAT", z)...)
	return append(b, chunk("IEND", nil)...)
}

func TestEveryForm(t *testing.T) {
	for _, f := range forms() {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(1, uint64(f.kind<<8|f.depth)))
			for _, interlaced := range []bool{false, true} {
				for _, size := range [][2]int{{1, 1}, {2, 3}, {7, 5}, {8, 8}, {33, 9}, {67, 41}, {300, 7}} {
					for _, level := range []int{-2, 0, 1, 9} {
						data := f.file(rnd, size[0], size[1], interlaced, level, 1+rnd.IntN(500))
						if _, err := Decode(t.Context(), data, nil); err != nil {
							t.Fatalf("%v, interlaced %t, level %d: %v", size, interlaced, level, err)
						}
						same(t, data)
					}
				}
			}
		})
	}
}

// TestLarge has rows that are longer than what is inflated at a time, and data longer than the window many times.
func TestLarge(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, size := range [][2]int{{65535, 3}, {2000, 150}, {3, 20000}} {
		for _, f := range []form{{trueColor, 8, nil, nil}, {trueColorAlpha, 16, nil, nil}, {grayscale, 1, nil, nil}} {
			if f.depth == 16 && size[1] == 150 {
				continue
			}
			if data := f.file(rnd, size[0], size[1], false, 6, 8192); !same(t, data) {
				t.Errorf("%v of %v is refused", f, size)
			}
		}
	}
}

// TestSuite reads what the Go distribution has of Willem van Schaik's PngSuite.
func TestSuite(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(runtime.GOROOT(), "src/image/png/testdata", "*.png"))
	more, _ := filepath.Glob(filepath.Join(runtime.GOROOT(), "src/image/png/testdata/pngsuite", "*.png"))
	if files = append(files, more...); len(files) == 0 {
		t.Skip("the Go distribution is without its test data")
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			same(t, data)
		})
	}
}

// TestCut: a file that ends early is refused wherever it does.
func TestCut(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for _, f := range forms() {
		data := f.file(rnd, 19, 11, f.depth == 8, 6, 100)
		for n := range data {
			if _, err := Decode(t.Context(), data[:n], nil); !errors.Is(err, ErrDamaged) {
				t.Fatalf("%v cut off at %d of %d: %v", f, n, len(data), err)
			}
		}
	}
}

// TestShortStream cuts off the compressed data alone, with checksums and chunks that are whole.
func TestShortStream(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	raw := make([]byte, 20*61)
	for i := range raw {
		if i%61 != 0 {
			raw[i] = byte(rnd.IntN(1 + i/8))
		}
	}
	for _, level := range []int{-2, 0, 1, 6} {
		z := deflate(raw, level)
		for n := range z {
			data := append([]byte(signature), ihdr(20, 20, 8, trueColor, 0)...)
			data = append(append(data, chunk("IDAT", z[:n])...), chunk("IEND", nil)...)
			if same(t, data) {
				t.Fatalf("level %d: cut off at %d of %d, and a picture", level, n, len(z))
			}
		}
	}
}

func TestHostileChunks(t *testing.T) {
	raw := make([]byte, 4*(1+12))
	z := deflate(raw, 6)
	head, idat, iend := ihdr(4, 4, 8, trueColor, 0), chunk("IDAT", z), chunk("IEND", nil)
	indexedHead, plte := ihdr(12, 4, 8, indexed, 0), chunk("PLTE", make([]byte, 6))
	flip := func(b []byte, i int) []byte {
		b = bytes.Clone(b)
		b[(i+len(b))%len(b)] ^= 1
		return b
	}
	for _, tt := range []struct {
		name   string
		chunks [][]byte
		ok     bool
	}{
		{"as it should be", [][]byte{head, idat, iend}, true},
		{"bytes after the end", [][]byte{head, idat, iend, []byte("more")}, true},
		{"no header", [][]byte{idat, iend}, false},
		{"two headers", [][]byte{head, head, idat, iend}, false},
		{"no data", [][]byte{head, iend}, false},
		{"empty data", [][]byte{head, chunk("IDAT", nil), iend}, false},
		{"empty data before", [][]byte{head, chunk("IDAT", nil), idat, iend}, true},
		{"more data after", [][]byte{head, idat, chunk("IDAT", []byte("more")), iend}, true},
		{"data again", [][]byte{head, idat, chunk("tEXt", nil), idat, iend}, true},
		{"data with a hole", [][]byte{head, chunk("IDAT", z[:9]), chunk("tEXt", nil), chunk("IDAT", z[9:]), iend}, false},
		{"no end", [][]byte{head, idat}, false},
		{"an end that is not empty", [][]byte{head, idat, chunk("IEND", []byte{0})}, false},
		{"a chunk before the header", [][]byte{chunk("tEXt", nil), head, idat, iend}, true},
		{"a palette after the data", [][]byte{head, idat, plte, iend}, false},
		{"a palette after tRNS", [][]byte{head, chunk("tRNS", make([]byte, 6)), plte, idat, iend}, false},
		{"two palettes", [][]byte{head, plte, plte, idat, iend}, false},
		{"an empty palette", [][]byte{indexedHead, chunk("PLTE", nil), idat, iend}, false},
		{"a palette of no whole colours", [][]byte{indexedHead, chunk("PLTE", make([]byte, 7)), idat, iend}, false},
		{"a palette of too many colours", [][]byte{indexedHead, chunk("PLTE", make([]byte, 3*257)), idat, iend}, false},
		{"a palette for gray", [][]byte{ihdr(12, 4, 8, grayscale, 0), plte, idat, iend}, false},
		{"indices without a palette", [][]byte{indexedHead, idat, iend}, false},
		{"indices with one", [][]byte{indexedHead, plte, idat, iend}, true},
		{"tRNS before the palette", [][]byte{indexedHead, chunk("tRNS", []byte{0}), plte, idat, iend}, false},
		{"tRNS longer than the palette", [][]byte{indexedHead, plte, chunk("tRNS", make([]byte, 200)), idat, iend}, true},
		{"tRNS longer than any", [][]byte{indexedHead, plte, chunk("tRNS", make([]byte, 257)), idat, iend}, false},
		{"tRNS of the wrong size", [][]byte{head, chunk("tRNS", make([]byte, 2)), idat, iend}, false},
		{"tRNS beside alpha", [][]byte{ihdr(3, 4, 8, trueColorAlpha, 0), chunk("tRNS", make([]byte, 6)), idat, iend}, false},
		{"a checksum that is wrong", [][]byte{head, flip(idat, -1), iend}, false},
		{"a checksum of text that is wrong", [][]byte{head, flip(chunk("tEXt", []byte("x")), 8), idat, iend}, false},
		{"a checksum of pixels that is wrong", [][]byte{head, chunk("IDAT", flip(z, -1)), iend}, false},
		{"a dictionary", [][]byte{head, chunk("IDAT", append([]byte{0x78, 0xbb}, z[2:]...)), iend}, false},
		{"another compression", [][]byte{head, chunk("IDAT", append([]byte{0x79, 0x9c}, z[2:]...)), iend}, false},
		{"a window too large", [][]byte{head, chunk("IDAT", append([]byte{0x88, 0x1c}, z[2:]...)), iend}, false},
		{"a row too few", [][]byte{head, chunk("IDAT", deflate(raw[13:], 6)), iend}, false},
		{"a byte too many", [][]byte{head, chunk("IDAT", deflate(append(raw, 0), 6)), iend}, false},
		{"a gigabyte too many", [][]byte{head, chunk("IDAT", deflate(make([]byte, 1<<24), 6)), iend}, false},
		{"a filter that there is not", [][]byte{head, chunk("IDAT", deflate(append([]byte{5}, raw[1:]...), 6)), iend}, false},
		{"a length beyond the file", [][]byte{head, {0x7f, 0xff, 0xff, 0xff, 'I', 'D', 'A', 'T', 0, 0, 0, 0}, iend}, false},
		{"a length beyond all", [][]byte{head, {0xff, 0xff, 0xff, 0xff, 't', 'E', 'X', 't', 0, 0, 0, 0}, iend}, false},
		{"depth 3", [][]byte{ihdr(4, 4, 3, grayscale, 0), idat, iend}, false},
		{"16 bits of index", [][]byte{ihdr(4, 4, 16, indexed, 0), plte, idat, iend}, false},
		{"colour 1", [][]byte{ihdr(4, 4, 8, 1, 0), idat, iend}, false},
		{"colour 7", [][]byte{ihdr(4, 4, 8, 7, 0), idat, iend}, false},
		{"interlace 2", [][]byte{ihdr(4, 4, 8, trueColor, 2), idat, iend}, false},
		{"no pixels", [][]byte{ihdr(0, 4, 8, trueColor, 0), idat, iend}, false},
		{"pixels below none", [][]byte{ihdr(4, -1, 8, trueColor, 0), idat, iend}, false},
		{"a short header", [][]byte{chunk("IHDR", make([]byte, 12)), idat, iend}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := append([]byte(signature), bytes.Join(tt.chunks, nil)...)
			if got := same(t, data); got != tt.ok {
				t.Errorf("read: %t, want %t", got, tt.ok)
			}
		})
	}
}

// TestRestOfData: what follows the compressed data in its chunks does not matter, however much it is.
func TestRestOfData(t *testing.T) {
	z := deflate(make([]byte, 4*13), 6)
	for _, n := range []int{1, 100, 10_000} {
		data := append([]byte(signature), ihdr(4, 4, 8, trueColor, 0)...)
		data = append(append(data, chunk("IDAT", append(bytes.Clone(z), make([]byte, n)...))...), chunk("IEND", nil)...)
		if _, err := Decode(t.Context(), data, nil); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestCancelled(t *testing.T) {
	data := form{trueColor, 8, nil, nil}.file(rand.New(rand.NewPCG(1, 2)), 400, 400, false, 6, 8192)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("nobody waits")
	_, err := Decode(ctx, data, &Options{Alloc: func(n int) []byte {
		cancel(cause) // in the middle of it
		return make([]byte, n)
	}})
	if !errors.Is(err, cause) {
		t.Errorf("%v, want the cause", err)
	}
}

// TestBoundedMemory: a file of a few bytes takes memory for its picture and some rows, whatever its data claims to inflate to.
func TestBoundedMemory(t *testing.T) {
	data := append([]byte(signature), ihdr(4, 4, 8, trueColor, 0)...)
	data = append(append(data, chunk("IDAT", deflate(make([]byte, 1<<26), 9))...), chunk("IEND", nil)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Decode(t.Context(), data, nil); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20 {
		t.Errorf("%d bytes for a picture of 48", n)
	}
}

func FuzzDecode(f *testing.F) {
	rnd := rand.New(rand.NewPCG(9, 10))
	for _, form := range forms() {
		f.Add(form.file(rnd, 9, 7, form.depth == 4, 6, 40))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		// Checksums are made right, so that fuzzing gets past them.
		data = bytes.Clone(data)
		for at := len(signature); at+12 <= len(data); {
			n := int(binary.BigEndian.Uint32(data[at:]))
			if n < 0 || at+12+n > len(data) {
				break
			}
			binary.BigEndian.PutUint32(data[at+8+n:], crc32.ChecksumIEEE(data[at+4:at+8+n]))
			at += 12 + n
		}
		if c, err := png.DecodeConfig(bytes.NewReader(data)); err == nil && c.Width*c.Height > 1<<20 {
			t.Skip("too large")
		}
		want, wantErr := png.Decode(bytes.NewReader(data))
		got, err := Decode(t.Context(), data, &Options{Alloc: dirty})
		switch {
		case (err == nil) == (wantErr == nil):
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%T differs from image/png's %T", got, want)
			}
		case wantErr != nil && wantErr.Error() == "png: invalid format: too much pixel data":
			// bytes after the compressed data, perhaps; an image that is all there
		default:
			t.Errorf("%v, and image/png says %v", err, wantErr)
		}
	})
}
