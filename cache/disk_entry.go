package cache

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"strings"
	"sync"

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

func encodeEntry(header any, body []byte) ([]byte, error) {
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

// decodeEntry checks b and returns the body, which is part of b.
func decodeEntry(b []byte, header any) ([]byte, error) {
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
	if json.Unmarshal(h, header) != nil {
		return nil, errDamaged
	}
	return body, nil
}

// compressible reports whether a body of this type is worth compressing. Most pictures are compressed already.
func compressible(contentType string) bool {
	t, _, _ := strings.Cut(contentType, ";")
	switch t {
	case "image/bmp", "image/svg+xml", "image/tiff", "image/x-icon", "application/json":
		return true
	}
	return strings.HasPrefix(t, "text/")
}

// Both are safe for concurrent use; neither starts a goroutine until it is used as a stream.
var (
	zstdWriter = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		if err != nil {
			panic(err) // the options above are valid
		}
		return e
	})
	zstdReader = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(1<<30))
		if err != nil {
			panic(err)
		}
		return d
	})
)

func compress(b []byte) []byte            { return zstdWriter().EncodeAll(b, nil) }
func decompress(b []byte) ([]byte, error) { return zstdReader().DecodeAll(b, nil) }
