package cache

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
)

// A file of the disk cache:
//
//	 0  8  magic and version of the format
//	 8  4  length of the header in bytes, big-endian as all numbers here
//	12  8  length of the body
//	20  4  CRC-32C of the header
//	24  4  CRC-32C of the body
//	28  .  header, JSON
//	 .  .  body
const (
	entryMagic  = "imgcdn1\n"
	entryPrefix = 28
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errDamaged = errors.New("cache: not a whole entry")
)

// fileHeader is the JSON in front of a file's body. What the path has hashed is here in full, and so is
// the file's own name, so that a file says what it is and counts for nothing elsewhere.
type fileHeader struct {
	Source  string      `json:"source"`
	Image   string      `json:"image"`
	File    string      `json:"file"`
	Header  http.Header `json:"header"`
	Zstd    bool        `json:"zstd,omitempty"`    // the body is compressed
	Escaped bool        `json:"escaped,omitempty"` // see escape

	Version string `json:"version,omitempty"` // of a name
	Entry   *Entry `json:"entry,omitempty"`   // of a name; its header is the one above
}

// escape makes h fit for JSON, which can hold no string that is not UTF-8. Paths and header fields are
// bytes, and have to come back as they were.
func (h *fileHeader) escape() {
	valid := utf8.ValidString(h.Source) && utf8.ValidString(h.Image) && utf8.ValidString(h.Version)
	for k, vs := range h.Header {
		valid = valid && utf8.ValidString(k)
		for _, v := range vs {
			valid = valid && utf8.ValidString(v)
		}
	}
	if !valid {
		h.Escaped = true
		h.each(func(s string) (string, error) { return url.PathEscape(s), nil })
	}
}

func (h *fileHeader) unescape() error {
	if !h.Escaped {
		return nil
	}
	return h.each(url.PathUnescape)
}

// each replaces every string of h that may be anything.
func (h *fileHeader) each(f func(string) (string, error)) error {
	var errs []error
	do := func(s string) string {
		s, err := f(s)
		errs = append(errs, err)
		return s
	}
	h.Source, h.Image, h.Version = do(h.Source), do(h.Image), do(h.Version)
	if h.Header != nil {
		header := make(http.Header, len(h.Header))
		for k, vs := range h.Header {
			var list []string
			if vs != nil {
				list = make([]string, len(vs))
			}
			for i, v := range vs {
				list[i] = do(v)
			}
			header[do(k)] = list
		}
		h.Header = header
	}
	return errors.Join(errs...)
}

func encodeEntry(header *fileHeader, body []byte) ([]byte, error) {
	header.escape()
	h, err := json.Marshal(header)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, entryPrefix+len(h)+len(body))
	b = append(b, entryMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(h)))
	b = binary.BigEndian.AppendUint64(b, uint64(len(body)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(h, castagnoli))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(body, castagnoli))
	b = append(b, h...)
	return append(b, body...), nil
}

// decodeEntry checks b, reads its header into header and returns the body, which is part of b.
func decodeEntry(b []byte, header *fileHeader) ([]byte, error) {
	if len(b) < entryPrefix || string(b[:8]) != entryMagic {
		return nil, errDamaged
	}
	hlen, blen := uint64(binary.BigEndian.Uint32(b[8:])), binary.BigEndian.Uint64(b[12:])
	rest := b[entryPrefix:]
	if hlen > uint64(len(rest)) || blen != uint64(len(rest))-hlen {
		return nil, errDamaged
	}
	h, body := rest[:hlen], rest[hlen:]
	if crc32.Checksum(h, castagnoli) != binary.BigEndian.Uint32(b[20:]) || crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(b[24:]) {
		return nil, errDamaged
	}
	if json.Unmarshal(h, header) != nil || header.unescape() != nil {
		return nil, errDamaged
	}
	return body, nil
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
