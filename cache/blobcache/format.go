package blobcache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"net/http"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/internal/wire"
)

// An object of the cache:
//
//	 0  8  magic and version of the format
//	 8  4  length of the header in bytes, big-endian as all fixed numbers here
//	12  8  length of the body
//	20 32  SHA-256 of bytes 0 to 19, of the header and of the body
//	52  .  header
//	 .  .  body
//
// The header is, one after the other, numbers being unsigned varints and strings a length and bytes:
//
//	kind, sum                    a byte, and 32
//	source, image                what the object's key has hashed
//	stamp                        of a composite, which writing it is; of a reference, of the composite that it tells of
//	inputs                       how many; for each: source, image
//	fields                       1 + how many, 0 for none at all
//	for each: name, values       1 + how many, 0 for a nil list; then each
//
// A reference has the composite's key in it, and no body.
const (
	magic  = "imgblob1"
	prefix = 52

	// maxHeader bounds the header, so that it can be read apart from the body.
	maxHeader = 1 << 20
)

var errDamaged = errors.New("blobcache: not a whole object")

// head is what stands in front of a body.
type head struct {
	key    cache.Key
	stamp  string
	inputs []cache.Input
	header http.Header
	size   int64 // of the body, where it was read
}

// encode returns what comes before the body in an object.
func (h *head) encode(body []byte) ([]byte, error) {
	b := make([]byte, prefix, prefix+512+len(h.key.Source)+len(h.key.Image))
	b = append(b, byte(h.key.Kind))
	b = append(b, h.key.Sum[:]...)
	b = appendString(b, h.key.Source)
	b = appendString(b, h.key.Image)
	b = appendString(b, h.stamp)
	b = binary.AppendUvarint(b, uint64(len(h.inputs)))
	for _, in := range h.inputs {
		b = appendString(b, in.Source)
		b = appendString(b, in.Image)
	}
	if h.header == nil {
		b = append(b, 0)
	} else {
		b = binary.AppendUvarint(b, uint64(len(h.header))+1)
	}
	for k, vs := range h.header {
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
	if len(b)-prefix > maxHeader {
		return nil, errors.New("blobcache: a header of more than 1 MiB")
	}
	copy(b, magic)
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-prefix))
	binary.BigEndian.PutUint64(b[12:], uint64(len(body)))
	sum := checksum(b[:20], b[prefix:], body)
	copy(b[20:], sum[:])
	return b, nil
}

func checksum(parts ...[]byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	h.Sum(sum[:0])
	return sum
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decode checks an object and takes it apart. The body is part of b.
func decode(b []byte) (*head, []byte, error) {
	hlen, blen, err := lengths(b)
	if err != nil {
		return nil, nil, err
	}
	rest := b[prefix:]
	if uint64(hlen) > uint64(len(rest)) || blen != uint64(len(rest))-uint64(hlen) {
		return nil, nil, errDamaged
	}
	sum := checksum(b[:20], rest)
	if !bytes.Equal(sum[:], b[20:prefix]) {
		return nil, nil, errDamaged
	}
	h, err := decodeHead(rest[:hlen])
	return h, rest[hlen:], err
}

// lengths reads those of the header and the body.
func lengths(b []byte) (header uint32, body uint64, err error) {
	if len(b) < prefix || string(b[:len(magic)]) != magic {
		return 0, 0, errDamaged
	}
	header, body = binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint64(b[12:])
	if header > maxHeader || body > math.MaxInt64-prefix-maxHeader {
		return 0, 0, errDamaged
	}
	return header, body, nil
}

func decodeHead(b []byte) (*head, error) {
	if len(b) < 1+sha256.Size || cache.Kind(b[0]) > cache.Composite {
		return nil, errDamaged
	}
	h := &head{key: cache.Key{Kind: cache.Kind(b[0]), Sum: cache.Digest(b[1 : 1+sha256.Size])}}
	r := reader{wire.Reader{Rest: string(b[1+sha256.Size:])}} // all strings of the header are parts of this one
	h.key.Source, h.key.Image, h.stamp = r.String(), r.String(), r.String()
	if n := r.count(2); n > 0 {
		h.inputs = make([]cache.Input, n)
		for i := range h.inputs {
			h.inputs[i] = cache.Input{Source: r.String(), Image: r.String()}
		}
	}
	if n := r.count(2); n > 0 {
		h.header = make(http.Header, n-1)
		for range n - 1 {
			k := r.String()
			values := r.count(1)
			if values == 0 {
				h.header[k] = nil
				continue
			}
			vs := make([]string, values-1)
			for i := range vs {
				vs[i] = r.String()
			}
			h.header[k] = vs
		}
	}
	if r.Bad || r.Rest != "" {
		return nil, errDamaged
	}
	return h, nil
}

// A reader takes a header of an object apart.
type reader struct{ wire.Reader }

// count is the number of what follows, or one more; each takes at least so many bytes.
func (r *reader) count(least int) int {
	n := r.Number()
	if n > uint64(len(r.Rest)/least)+1 {
		r.Rest, r.Bad = "", true
		return 0
	}
	return int(n)
}
