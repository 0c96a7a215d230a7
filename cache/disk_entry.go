package cache

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"math"
	"net/http"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/imagecdn/imagecdn/internal/wire"
)

// A file of the disk cache:
//
//	 0  8  magic and version of the format
//	 8  4  length of the header in bytes, big-endian as all fixed numbers here
//	12  8  length of the body
//	20  4  CRC-32C of bytes 0 to 19 and of the header
//	24  4  CRC-32C of the body
//	28  .  header
//	 .  .  body
//
// The header is, one after the other, numbers being unsigned varints and strings a length and bytes:
//
//	flags                        1: the body is compressed with zstd; 2: a composite, with inputs
//	source, image, file name     what the path has hashed
//	version, entry               of a name: its version, and the Entry without its header, in JSON
//	stamp, inputs                with flag 2 alone: the stamp; then how many; for each: source, image
//	fields                       1 + how many, 0 for none at all; then how many values they have together
//	for each: name, values       1 + how many, 0 for a nil list; then each
const (
	entryMagic  = "imgcdn3\n"
	entryPrefix = 28

	flagZstd   = 1
	flagInputs = 2
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errDamaged = errors.New("cache: not a whole entry")

	// errFormat is what an entry of an earlier version of this package is: not damaged, and of no use.
	errFormat = errors.New("cache: an entry of an earlier format")
)

var earlierMagics = []string{"imgcdn1\n", "imgcdn2\n"}

// fileHeader is what stands in front of a file's body. What the path has hashed is here in full, and so is
// the file's own name, so that a file says what it is and counts for nothing elsewhere.
type fileHeader struct {
	Source string
	Image  string
	File   string
	Header http.Header
	Zstd   bool // the body is compressed

	Version string // of a name
	Entry   *Entry // of a name; its header is the one above

	Stamp  string  // of a composite that has inputs: which writing it is
	Inputs []Input // of a composite
}

// encodeEntry returns what comes before the body in a file.
func encodeEntry(h *fileHeader, body []byte) ([]byte, error) {
	var entry []byte
	if h.Entry != nil {
		var err error
		if entry, err = json.Marshal(h.Entry); err != nil {
			return nil, err
		}
	}
	size, values := entryPrefix+128+len(h.Source)+len(h.Image)+len(h.File)+len(h.Version)+len(entry), 0
	for k, vs := range h.Header {
		size += len(k) + 8
		values += len(vs)
		for _, v := range vs {
			size += len(v) + 4
		}
	}
	for _, in := range h.Inputs {
		size += len(in.Source) + len(in.Image) + 8
	}
	b := make([]byte, entryPrefix, size)
	var flags byte
	if h.Zstd {
		flags |= flagZstd
	}
	if len(h.Inputs) > 0 {
		flags |= flagInputs
	}
	b = append(b, flags)
	b = appendString(b, h.Source)
	b = appendString(b, h.Image)
	b = appendString(b, h.File)
	b = appendString(b, h.Version)
	b = appendString(b, entry)
	if len(h.Inputs) > 0 {
		b = appendString(b, h.Stamp)
		b = binary.AppendUvarint(b, uint64(len(h.Inputs)))
		for _, in := range h.Inputs {
			b = appendString(b, in.Source)
			b = appendString(b, in.Image)
		}
	}
	if h.Header == nil {
		b = append(b, 0)
	} else {
		b = binary.AppendUvarint(b, uint64(len(h.Header))+1)
	}
	b = binary.AppendUvarint(b, uint64(values))
	for k, vs := range h.Header {
		b = appendString(b, k)
		if vs == nil {
			b = append(b, 0)
			continue
		}
		b = binary.AppendUvarint(b, uint64(len(vs))+1)
		for _, v := range vs {
			b = appendString(b, v)
		}
	}
	if uint64(len(b)-entryPrefix) > math.MaxUint32 {
		return nil, errors.New("cache: a header of more than 4 GiB")
	}
	p := append(b[:0], entryMagic...)
	p = binary.BigEndian.AppendUint32(p, uint32(len(b)-entryPrefix))
	p = binary.BigEndian.AppendUint64(p, uint64(len(body)))
	p = binary.BigEndian.AppendUint32(p, crc32.Update(crc32.Checksum(b[:20], castagnoli), castagnoli, b[entryPrefix:]))
	binary.BigEndian.AppendUint32(p, crc32.Checksum(body, castagnoli))
	return b, nil
}

func appendString[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decodeEntry checks b, reads its header into header and returns the body, which is part of b.
func decodeEntry(b []byte, header *fileHeader) ([]byte, error) {
	if len(b) < entryPrefix || string(b[:8]) != entryMagic {
		for _, m := range earlierMagics {
			if len(b) >= len(m) && string(b[:len(m)]) == m {
				return nil, errFormat
			}
		}
		return nil, errDamaged
	}
	hlen, blen := uint64(binary.BigEndian.Uint32(b[8:])), binary.BigEndian.Uint64(b[12:])
	rest := b[entryPrefix:]
	if hlen > uint64(len(rest)) || blen != uint64(len(rest))-hlen {
		return nil, errDamaged
	}
	h, body := rest[:hlen], rest[hlen:]
	if crc32.Update(crc32.Checksum(b[:20], castagnoli), castagnoli, h) != binary.BigEndian.Uint32(b[20:]) ||
		crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(b[24:]) {
		return nil, errDamaged
	}
	r := headerReader{wire.Reader{Rest: string(h)}} // all strings of the header are parts of this one
	if !r.read(header) {
		return nil, errDamaged
	}
	return body, nil
}

// A headerReader takes a header of a file apart.
type headerReader struct{ wire.Reader }

func (r *headerReader) read(h *fileHeader) bool {
	if r.Rest == "" {
		return false
	}
	flags := r.Rest[0]
	h.Zstd = flags&flagZstd != 0
	r.Rest = r.Rest[1:]
	h.Source, h.Image, h.File, h.Version = r.String(), r.String(), r.String(), r.String()
	if entry := r.String(); entry != "" {
		h.Entry = new(Entry)
		if json.Unmarshal([]byte(entry), h.Entry) != nil {
			return false
		}
	}
	if flags&flagInputs != 0 {
		h.Stamp = r.String()
		n := r.Number()
		if n == 0 || n > uint64(len(r.Rest)) { // each takes two bytes at least
			return false
		}
		h.Inputs = make([]Input, n)
		for i := range h.Inputs {
			h.Inputs[i] = Input{r.String(), r.String()}
		}
	}
	fields, values := r.Number(), r.Number()
	if r.Bad || fields > uint64(len(r.Rest))+1 || values > uint64(len(r.Rest)) {
		return false // each takes a byte at least
	}
	if fields > 0 {
		h.Header = make(http.Header, fields-1)
	}
	all := make([]string, 0, values)
	for range max(fields, 1) - 1 {
		k, n := r.String(), r.Number()
		if n == 0 {
			h.Header[k] = nil
			continue
		}
		if n-1 > uint64(cap(all)-len(all)) {
			return false
		}
		first := len(all)
		for range n - 1 {
			all = append(all, r.String())
		}
		h.Header[k] = all[first:len(all):len(all)]
	}
	return !r.Bad && r.Rest == ""
}

// compressible reports whether a body of this type is worth compressing. Most pictures are compressed already.
func compressible(contentType string) bool {
	t, _, _ := strings.Cut(contentType, ";")
	switch strings.ToLower(strings.TrimSpace(t)) {
	case "image/bmp", "image/svg+xml", "image/tiff", "image/x-icon", "application/json":
		return true
	}
	return strings.HasPrefix(t, "text/")
}

// Both are safe for concurrent use; neither starts a goroutine until it is used as a stream.
func newZstdWriter() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err) // the options above are valid
	}
	return e
}

func newZstdReader() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(1<<30))
	if err != nil {
		panic(err)
	}
	return d
}
