package blobcache

import (
	"bytes"
	"net/http"
	"reflect"
	"testing"

	"github.com/imagecdn/imagecdn/cache"
)

// Whatever is in a bucket, it is taken apart without a panic, and without more memory than it has bytes; what is a header is the same
// one when it is put together again.
func FuzzDecodeHead(f *testing.F) {
	for _, h := range []head{
		{key: cache.Key{Source: "s", Image: "/a", Kind: cache.Original, Sum: cache.DigestOf(nil)}},
		{
			key:   cache.Key{Source: "s", Image: "/caf\xe9", Kind: cache.Composite, Sum: cache.DigestOf([]byte("x"))},
			stamp: "0123", inputs: []cache.Input{{Source: "marks", Image: "/logo"}, {}},
			header: http.Header{"Content-Type": {"image/png"}, "Vary": {"Accept", ""}, "X-Nil": nil, "X-Empty": {}},
		},
	} {
		b, err := h.encode([]byte("body"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[prefix:])
		got, body, err := decode(append(bytes.Clone(b), "body"...))
		if err != nil || string(body) != "body" || !reflect.DeepEqual(*got, h) {
			f.Errorf("got %+v, %q, %v, want %+v", got, body, err, h)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeHead(b)
		if err != nil {
			return
		}
		again, err := h.encode(nil)
		if err != nil {
			return // too large
		}
		got, _, err := decode(again)
		if err != nil || !reflect.DeepEqual(got, h) {
			t.Errorf("got %+v, %v, want %+v", got, err, h)
		}
	})
}
