package bloborigin_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/memblob"
	_ "gocloud.dev/blob/s3blob"

	"github.com/imagecdn/imagecdn/internal/s3test"
	"github.com/imagecdn/imagecdn/origin"
	"github.com/imagecdn/imagecdn/origin/bloborigin"
	"github.com/imagecdn/imagecdn/origin/origintest"
)

func TestConformance(t *testing.T) {
	for name, bucket := range map[string]func(t *testing.T) *blob.Bucket{
		"memory": func(*testing.T) *blob.Bucket { return memblob.OpenBucket(nil) },
		"files": func(t *testing.T) *blob.Bucket {
			b, err := fileblob.OpenBucket(t.TempDir(), &fileblob.Options{NoTempDir: true})
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			origintest.Run(t, func(t *testing.T, files map[string]string) http.RoundTripper {
				return fill(t, bucket(t), files, nil)
			})
		})
		t.Run(name+" with a prefix", func(t *testing.T) {
			origintest.Run(t, func(t *testing.T, files map[string]string) http.RoundTripper {
				return fill(t, bucket(t), files, &bloborigin.Options{Prefix: "pictures/of cats"})
			})
		})
	}
	t.Run("S3", func(t *testing.T) {
		b, err := blob.OpenBucket(t.Context(), s3test.Bucket(t))
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		n := 0
		origintest.Run(t, func(t *testing.T, files map[string]string) http.RoundTripper {
			n++
			return fill(t, b, files, &bloborigin.Options{Prefix: fmt.Sprint("rule-", n, "/")})
		})
	})
}

// fill puts files in a bucket.
func fill(t *testing.T, b *blob.Bucket, files map[string]string, o *bloborigin.Options) *bloborigin.Origin {
	t.Helper()
	prefix := ""
	if o != nil {
		prefix = o.Prefix
		if prefix[len(prefix)-1] != '/' {
			prefix += "/"
		}
	}
	for path, text := range files {
		if err := b.WriteAll(context.Background(), prefix+path[1:], []byte(text), &blob.WriterOptions{ContentType: "image/jpeg"}); err != nil {
			t.Fatal(err)
		}
	}
	made, err := bloborigin.New(b, o)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func get(t *testing.T, rt http.RoundTripper, path string, header http.Header) (*http.Response, string) {
	t.Helper()
	resp, body, err := ask(t, rt, path, header)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

func ask(t *testing.T, rt http.RoundTripper, path string, header http.Header) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "source://x/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Path = path
	if header != nil {
		req.Header = header
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}

func TestHeaders(t *testing.T) {
	b := memblob.OpenBucket(nil)
	for key, o := range map[string]*blob.WriterOptions{
		"own.svg":   {ContentType: "image/svg+xml", CacheControl: "public, max-age=7", ContentDisposition: "attachment"},
		"plain.svg": {ContentType: "image/svg+xml"},
		"evil.svg":  {ContentType: "image/svg+xml", CacheControl: "max-age=7\r\nSet-Cookie: a=b"},
	} {
		if err := b.WriteAll(t.Context(), key, []byte("<svg/>"), o); err != nil {
			t.Fatal(err)
		}
	}
	o, err := bloborigin.New(b, &bloborigin.Options{CacheControl: "max-age=60"})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/own.svg": "public, max-age=7", "/plain.svg": "max-age=60", "/evil.svg": "max-age=60"} {
		resp, _ := get(t, o, path, nil)
		h := resp.Header
		if h.Get("Cache-Control") != want || h.Get("Content-Type") != "image/svg+xml" || h.Get("Etag") == "" || h.Get("Last-Modified") == "" || len(h) != 5 {
			t.Errorf("%s: got %v", path, h)
		}
	}

	first, _ := get(t, o, "/plain.svg", nil)
	etag, modified := first.Header.Get("Etag"), first.Header.Get("Last-Modified")
	later := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	earlier := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
	for _, test := range []struct {
		header http.Header
		status int
	}{
		{http.Header{"If-None-Match": {etag}}, 304},
		{http.Header{"If-None-Match": {"W/" + etag}}, 304},
		{http.Header{"If-None-Match": {`"a,b", ` + etag}}, 304},
		{http.Header{"If-None-Match": {`"a"`, etag}}, 304},
		{http.Header{"If-None-Match": {"*"}}, 304},
		{http.Header{"If-None-Match": {`"a"`}}, 200},
		{http.Header{"If-None-Match": {etag[:len(etag)-1]}}, 200},
		{http.Header{"If-Modified-Since": {modified}}, 304},
		{http.Header{"If-Modified-Since": {later}}, 304},
		{http.Header{"If-Modified-Since": {earlier}}, 200},
		{http.Header{"If-Modified-Since": {"yesterday"}}, 200},
		{http.Header{"If-None-Match": {`"a"`}, "If-Modified-Since": {later}}, 200},
	} {
		if resp, _ := get(t, o, "/plain.svg", test.header); resp.StatusCode != test.status {
			t.Errorf("%v: got %d, want %d", test.header, resp.StatusCode, test.status)
		}
	}
	if resp, _ := get(t, o, "/", nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("/: got %d", resp.StatusCode)
	}
}

// What is kept with gzip, as drawings often are, is unpacked; what is damaged ends in an error.
func TestContentEncoding(t *testing.T) {
	b := memblob.OpenBucket(nil)
	var zip bytes.Buffer
	w := gzip.NewWriter(&zip)
	io.WriteString(w, "<svg/>")
	w.Close()
	for key, data := range map[string][]byte{"whole.svg": zip.Bytes(), "half.svg": zip.Bytes()[:zip.Len()/2], "none.svg": []byte("<svg/>"), "empty.svg": {}} {
		if err := b.WriteAll(t.Context(), key, data, &blob.WriterOptions{ContentType: "image/svg+xml", ContentEncoding: "gzip"}); err != nil {
			t.Fatal(err)
		}
	}
	o, err := bloborigin.New(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, body := get(t, o, "/whole.svg", nil); body != "<svg/>" || resp.Header.Get("Content-Encoding") != "" || resp.ContentLength != -1 {
		t.Errorf("got %q with %v", body, resp.Header)
	}
	for _, path := range []string{"/half.svg", "/none.svg", "/empty.svg"} {
		_, body, err := ask(t, o, path, nil)
		var e *origin.Error
		if !errors.As(err, &e) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: got %q, %v", path, body, err)
		}
	}
}

func TestErrors(t *testing.T) {
	b := memblob.OpenBucket(nil)
	o := fill(t, b, map[string]string{"/cat.jpg": "a cat"}, nil)
	b.Close()
	_, _, err := ask(t, o, "/cat.jpg", nil)
	var e *origin.Error
	if !errors.As(err, &e) || origin.Status(err) != http.StatusBadGateway || e.Text != "origin: the origin could not be reached or gave no valid answer" {
		t.Errorf("a bucket that is closed: %v", err)
	}
	b = memblob.OpenBucket(nil)
	fill(t, b, map[string]string{"/cat.jpg": "a cat"}, nil)
	slow, err := bloborigin.New(b, &bloborigin.Options{Timeout: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, body, err := ask(t, slow, "/cat.jpg", nil); !errors.Is(err, origin.ErrTimeout) || origin.Status(err) != http.StatusGatewayTimeout {
		t.Errorf("what takes longer than its timeout: %q, %v", body, err)
	}
	for _, bad := range []bloborigin.Options{{Prefix: "/a"}, {CacheControl: "a\nb"}} {
		if _, err := bloborigin.New(b, &bad); err == nil {
			t.Errorf("%+v is no error", bad)
		}
	}
	if _, err := bloborigin.Open(t.Context(), "nosuch://bucket", nil); err == nil {
		t.Error("a scheme that no driver has is no error")
	}
}
