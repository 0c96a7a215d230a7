// Package origintest checks that an [http.RoundTripper] is an origin as package origin describes one. A test of
// an origin of one's own is:
//
//	func TestOrigin(t *testing.T) {
//		origintest.Run(t, func(t *testing.T, files map[string]string) http.RoundTripper {
//			// put files where the origin will find them
//			return myorigin.New()
//		})
//	}
package origintest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// Run runs the suite. Each test calls open for an origin that has the given files, and nothing else: their contents
// by source-relative path, such as "/a b/cat.jpg". open may register what ends the origin with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T, files map[string]string) http.RoundTripper) {
	files := map[string]string{
		"/cat.jpg":                "a cat",
		"/a b/c d.jpg":            "spaces",
		"/deep/er/and/deeper.jpg": "deep",
		"/100%.jpg":               "a percent sign",
		"/%41.jpg":                "an escape that is none",
		"/plus+.jpg":              "a plus sign",
		"/hash#.jpg":              "a hash",
		"/semi;comma,.jpg":        "punctuation",
		"/st\u00f6ked \u2713.jpg": "other alphabets",
		"/big.jpg":                strings.Repeat("0123456789abcdef", 1<<16),
	}
	for _, test := range []struct {
		rule string
		f    func(t *testing.T, rt http.RoundTripper, files map[string]string)
	}{
		{"a file comes whole", whole},
		{"scheme, host and fragment mean nothing", placeholders},
		{"HEAD is GET without the body", head},
		{"what is not there is 404 or 410", missing},
		{"a validator that holds is answered with 304 and no body", conditions},
		{"a validator that does not is answered with the whole", unconditional},
		{"a range is answered with the whole", ranges},
		{"the request is not changed, and its body is closed", untouched},
		{"the response has the request it answers", answers},
		{"methods other than GET and HEAD are errors", methods},
		{"paths that are not clean are errors", unclean},
		{"a request that was cancelled is an error that says so", cancelled},
		{"many may ask at once", concurrent},
	} {
		t.Run(test.rule, func(t *testing.T) {
			test.f(t, open(t, maps.Clone(files)), files)
		})
	}
}

func request(t *testing.T, method, path string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "source://placeholder/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Path = path
	return req
}

// do returns the response and its body. It closes what it reads.
func do(rt http.RoundTripper, req *http.Request) (*http.Response, string, error) {
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	if resp == nil || resp.Body == nil || resp.Header == nil {
		return nil, "", errors.New("no error, and no response with a header and a body")
	}
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), errors.Join(err, resp.Body.Close())
}

func must(t *testing.T, rt http.RoundTripper, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, body, err := do(rt, req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	return resp, body
}

// checkWhole is nil if a response is 200 with these bytes.
func checkWhole(resp *http.Response, body, want string) error {
	if resp.StatusCode != http.StatusOK || body != want {
		return fmt.Errorf("got %d with %d bytes, want 200 with %d", resp.StatusCode, len(body), len(want))
	}
	if resp.ContentLength >= 0 && resp.ContentLength != int64(len(want)) {
		return fmt.Errorf("got ContentLength %d for %d bytes", resp.ContentLength, len(want))
	}
	return nil
}

func whole(t *testing.T, rt http.RoundTripper, files map[string]string) {
	for path, want := range files {
		resp, body := must(t, rt, request(t, http.MethodGet, path))
		if err := checkWhole(resp, body, want); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func placeholders(t *testing.T, rt http.RoundTripper, files map[string]string) {
	req := request(t, http.MethodGet, "/cat.jpg")
	req.URL.Scheme, req.URL.Host, req.Host = "https", "elsewhere.invalid", "elsewhere.invalid"
	req.URL.Fragment = "top"
	resp, body := must(t, rt, req)
	if err := checkWhole(resp, body, files["/cat.jpg"]); err != nil {
		t.Error(err)
	}
}

func head(t *testing.T, rt http.RoundTripper, files map[string]string) {
	for _, path := range []string{"/cat.jpg", "/big.jpg", "/no.jpg"} {
		get, _ := must(t, rt, request(t, http.MethodGet, path))
		resp, body := must(t, rt, request(t, http.MethodHead, path))
		if resp.StatusCode != get.StatusCode || body != "" {
			t.Errorf("%s: got %d with %d bytes, want %d with none", path, resp.StatusCode, len(body), get.StatusCode)
		}
		for _, name := range []string{"Etag", "Last-Modified", "Cache-Control", "Content-Type"} {
			if got, want := resp.Header.Get(name), get.Header.Get(name); got != want {
				t.Errorf("%s: got %s %q, want %q", path, name, got, want)
			}
		}
	}
}

func missing(t *testing.T, rt http.RoundTripper, files map[string]string) {
	for _, path := range []string{"/no.jpg", "/no/no.jpg", "/cat.jpg/more.jpg", "/deep/er", "/a%20b/c%20d.jpg", "/A.jpg"} {
		if resp, _ := must(t, rt, request(t, http.MethodGet, path)); resp.StatusCode != 404 && resp.StatusCode != 410 {
			t.Errorf("%s: got %d", path, resp.StatusCode)
		}
	}
}

func conditions(t *testing.T, rt http.RoundTripper, files map[string]string) {
	first, _ := must(t, rt, request(t, http.MethodGet, "/cat.jpg"))
	validators := 0
	for validator, condition := range map[string]string{"Etag": "If-None-Match", "Last-Modified": "If-Modified-Since"} {
		value := first.Header.Get(validator)
		if value == "" {
			continue
		}
		validators++
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			req := request(t, method, "/cat.jpg")
			req.Header.Set(condition, value)
			if resp, body := must(t, rt, req); resp.StatusCode != http.StatusNotModified || body != "" {
				t.Errorf("%s with %s: got %d with %d bytes, want 304 with none", method, condition, resp.StatusCode, len(body))
			}
		}
	}
	if validators == 0 {
		t.Error("there is no validator: neither ETag nor Last-Modified")
	}
}

func unconditional(t *testing.T, rt http.RoundTripper, files map[string]string) {
	req := request(t, http.MethodGet, "/cat.jpg")
	req.Header.Set("If-None-Match", `"some other"`)
	resp, body := must(t, rt, req)
	if err := checkWhole(resp, body, files["/cat.jpg"]); err != nil {
		t.Error(err)
	}
}

func ranges(t *testing.T, rt http.RoundTripper, files map[string]string) {
	req := request(t, http.MethodGet, "/big.jpg")
	req.Header.Set("Range", "bytes=1-2")
	resp, body := must(t, rt, req)
	if err := checkWhole(resp, body, files["/big.jpg"]); err != nil {
		t.Error(err)
	}
}

type body struct {
	io.Reader
	closed bool
}

func (b *body) Close() error { b.closed = true; return nil }

func untouched(t *testing.T, rt http.RoundTripper, files map[string]string) {
	for _, path := range []string{"/cat.jpg", "/no.jpg"} {
		req := request(t, http.MethodGet, path)
		b := &body{Reader: strings.NewReader("")}
		req.Body = b
		req.Header.Set("Range", "bytes=1-2")
		req.Header.Set("Connection", "close")
		header, u := req.Header.Clone(), *req.URL
		must(t, rt, req)
		if *req.URL != u || req.Method != http.MethodGet || fmt.Sprint(req.Header) != fmt.Sprint(header) {
			t.Errorf("%s: the request was changed", path)
		}
		if !b.closed {
			t.Errorf("%s: the request's body was not closed", path)
		}
	}
}

func answers(t *testing.T, rt http.RoundTripper, files map[string]string) {
	for _, path := range []string{"/cat.jpg", "/no.jpg"} {
		req := request(t, http.MethodGet, path)
		if resp, _ := must(t, rt, req); resp.Request != req {
			t.Errorf("%s: Response.Request is another", path)
		}
	}
}

func methods(t *testing.T, rt http.RoundTripper, files map[string]string) {
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "PURGE"} {
		if resp, _, err := do(rt, request(t, method, "/cat.jpg")); err == nil {
			t.Errorf("%s: got %d, want an error", method, resp.StatusCode)
		}
	}
}

func unclean(t *testing.T, rt http.RoundTripper, files map[string]string) {
	for _, path := range []string{"", "cat.jpg", "//cat.jpg", "/a b//c d.jpg", "/./cat.jpg", "/deep/../cat.jpg", "/../cat.jpg", "/deep/"} {
		if resp, _, err := do(rt, request(t, http.MethodGet, path)); err == nil {
			t.Errorf("%q: got %d, want an error", path, resp.StatusCode)
		}
	}
}

func cancelled(t *testing.T, rt http.RoundTripper, files map[string]string) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := do(rt, request(t, http.MethodGet, "/cat.jpg").WithContext(ctx)); !errors.Is(err, context.Canceled) {
		t.Errorf("before it began: got %v, want context.Canceled", err)
	}

	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	resp, err := rt.RoundTrip(request(t, http.MethodGet, "/big.jpg").WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	cancel()
	// All of it may be on this side of the network by now; what may not be is a whole body that is not.
	if n, err := io.Copy(io.Discard, resp.Body); err == nil && n+1 != int64(len(files["/big.jpg"])) {
		t.Errorf("while the body was read: got %d bytes and no error", n+1)
	}
}

func concurrent(t *testing.T, rt http.RoundTripper, files map[string]string) {
	var wg sync.WaitGroup
	for range 4 {
		for path, want := range files {
			req := request(t, http.MethodGet, path)
			wg.Go(func() {
				resp, body, err := do(rt, req)
				if err == nil {
					err = checkWhole(resp, body, want)
				}
				if err != nil {
					t.Errorf("%s: %v", path, err)
				}
			})
		}
	}
	wg.Wait()
}
