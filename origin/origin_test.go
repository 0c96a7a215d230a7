package origin

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"testing"

	"github.com/imagecdn/imagecdn/internal/cleanpath"
)

// get asks rt for a path. It fails the test if there is no response, or a body that does not end well.
func get(t *testing.T, rt http.RoundTripper, path string, header ...string) (*http.Response, string) {
	t.Helper()
	resp, err := rt.RoundTrip(request(t, http.MethodGet, path, header...))
	if err != nil {
		t.Fatalf("GET %s: %v (%v)", path, err, causeOf(err))
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("GET %s: body: %v (%v)", path, err, causeOf(err))
	}
	return resp, string(b)
}

// fails asks rt for a path, and returns the error that must come of it.
func fails(t *testing.T, rt http.RoundTripper, path string, header ...string) error {
	t.Helper()
	resp, err := rt.RoundTrip(request(t, http.MethodGet, path, header...))
	if err == nil {
		resp.Body.Close()
		t.Fatalf("GET %s: got %s, want an error", path, resp.Status)
	}
	if _, ok := errors.AsType[*Error](err); !ok {
		t.Errorf("GET %s: error is a %T, want an *Error", path, err)
	}
	return err
}

func request(t *testing.T, method, path string, header ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "source://placeholder/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Path = path
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return req
}

func causeOf(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Cause
	}
	return nil
}

func TestOnlyCleanPathsAreAdmitted(t *testing.T) {
	for _, test := range []struct {
		path string
		want bool
	}{
		{"/", true},
		{"/cat.jpg", true},
		{"/a b/c.jpg", true},
		{"/..jpg", true},
		{"/a/...", true},
		{"", false},
		{"cat.jpg", false},
		{"//cat.jpg", false},
		{"/a//b", false},
		{"/a/", false},
		{"/.", false},
		{"/..", false},
		{"/../etc/passwd", false},
		{"/a/../b", false},
		{"/a/./b", false},
	} {
		if got := cleanpath.Is(test.path); got != test.want {
			t.Errorf("clean(%q) = %v, want %v", test.path, got, test.want)
		}
	}
}

func TestRequestsThatBreakTheRulesAreRefused(t *testing.T) {
	h, err := NewHTTP("http://img.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for _, rt := range []http.RoundTripper{h, dir} {
		body := &closeCounter{}
		req := request(t, http.MethodPost, "/cat.jpg")
		req.Body = body
		if _, err := rt.RoundTrip(req); !errors.Is(err, ErrRefused) {
			t.Errorf("%T: POST: got %v, want ErrRefused", rt, err)
		}
		if body.closed != 1 {
			t.Errorf("%T: the request's body was closed %d times, want once", rt, body.closed)
		}
		if err := fails(t, rt, "/../cat.jpg"); !errors.Is(err, ErrRefused) {
			t.Errorf("%T: path with ..: got %v, want ErrRefused", rt, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := rt.RoundTrip(request(t, http.MethodGet, "/cat.jpg").WithContext(ctx)); !errors.Is(err, context.Canceled) {
			t.Errorf("%T: cancelled: got %v, want context.Canceled", rt, err)
		}
	}
}

type closeCounter struct {
	strings.Reader
	closed int
}

func (c *closeCounter) Close() error { c.closed++; return nil }

func TestStatusOfErrors(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{&Error{Kind: ErrRefused}, 403},
		{&Error{Kind: ErrTimeout}, 504},
		{context.DeadlineExceeded, 504},
		{&Error{Kind: io.ErrUnexpectedEOF}, 502},
		{&Error{Cause: fs.ErrClosed}, 502},
		{errors.New("anything"), 502},
	} {
		if got := Status(test.err); got != test.want {
			t.Errorf("Status(%#v) = %d, want %d", test.err, got, test.want)
		}
	}
}
