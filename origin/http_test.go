package origin

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn/internal/cleanpath"
)

// pipes is a network in memory: what is dialled at an address is served by a handler there.
type pipes struct {
	listeners map[string]*pipeListener
}

func newPipes(t *testing.T, hosts map[string]http.Handler) *pipes {
	p := &pipes{map[string]*pipeListener{}}
	for addr, handler := range hosts {
		l := &pipeListener{make(chan net.Conn), make(chan struct{}), sync.Once{}}
		p.listeners[addr] = l
		srv := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
		go srv.Serve(l)
		t.Cleanup(func() { srv.Close() })
	}
	return p
}

func (p *pipes) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	l, ok := p.listeners[addr]
	if !ok {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: addr, IsNotFound: true}}
	}
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// newTest returns an origin at base on a network in memory.
func newTest(t *testing.T, base string, o *HTTPOptions, hosts map[string]http.Handler) *HTTP {
	t.Helper()
	h, err := NewHTTP(base, o)
	if err != nil {
		t.Fatal(err)
	}
	h.transport.DialContext = newPipes(t, hosts).dial
	t.Cleanup(func() { h.Close() })
	return h
}

// one returns an origin at http://img.example served by f.
func one(t *testing.T, o *HTTPOptions, f http.HandlerFunc) *HTTP {
	t.Helper()
	return newTest(t, "http://img.example", o, map[string]http.Handler{"img.example:80": f})
}

// pause waits, in a bubble's time, unless the client goes away.
func pause(r *http.Request, d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	}
}

func TestBases(t *testing.T) {
	for _, test := range []struct {
		base string
		want string // part of the error; empty for none
	}{
		{"https://img.example.com", ""},
		{"https://img.example.com/", ""},
		{"http://img.example.com:8080/a%20b/", ""},
		{"HTTPS://img.example.com/x", ""},
		{"http://[2606:4700::1]:8080", ""},
		{"", "has no http or https scheme"},
		{"img.example.com", "has no http or https scheme"},
		{"/photos", "has no http or https scheme"},
		{"//img.example.com", "has no http or https scheme"},
		{"file:///etc", "has no http or https scheme"},
		{"ftp://img.example.com", "has no http or https scheme"},
		{"http:img.example.com", "has no host"},
		{"http:///photos", "has no host"},
		{"http://:80/", "has no host"},
		{"http://ann@img.example.com", "has a user name"},
		{"http://ann:secret@img.example.com", "has a user name"},
		{"http://img.example.com?", "has a query"},
		{"http://img.example.com?a=b", "has a query"},
		{"http://img.example.com#", "has a fragment"},
		{"http://img.example.com/#x", "has a fragment"},
		{"http://img.example.com:/", "has an empty port"},
		{"http://img.example.com:0/", "has a port that is none"},
		{"http://img.example.com:65536/", "has a port that is none"},
		{"http://img.example.com:http/", "is not a URL"},
		{"http://img.example.com/a/../b", "has a . or .. segment"},
		{"http://img.example.com/%2e%2e/b", "has a . or .. segment"},
		{"http://img.example.com/%zz", "is not a URL"},
		{"http://a%00b/", "is not a URL"},
	} {
		_, err := NewHTTP(test.base, nil)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.base, err)
		case test.want != "" && err == nil:
			t.Errorf("%s: no error, want %q", test.base, test.want)
		case err != nil && !strings.Contains(err.Error(), test.want):
			t.Errorf("%s: got %q, want %q", test.base, err, test.want)
		case err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: %q has a password, or more than a line", test.base, err)
		}
	}
}

func TestJoin(t *testing.T) {
	for _, test := range []struct{ base, path, want string }{
		{"http://h", "/cat.jpg", "http://h/cat.jpg"},
		{"http://h/", "/cat.jpg", "http://h/cat.jpg"},
		{"http://h/a", "/cat.jpg", "http://h/a/cat.jpg"},
		{"http://h/a/", "/cat.jpg", "http://h/a/cat.jpg"},
		{"http://h/a//", "/cat.jpg", "http://h/a/cat.jpg"},
		{"http://h/a%20b/%C3%B6", "/c d.jpg", "http://h/a%20b/%C3%B6/c%20d.jpg"},
		{"http://h/a%2Fb", "/c", "http://h/a%2Fb/c"},
		{"http://h/a+b", "/c+d", "http://h/a+b/c%2Bd"},
		{"http://h:81/a", "/x?y#z", "http://h:81/a/x%3Fy%23z"},
		{"http://h", "/100%.jpg", "http://h/100%25.jpg"},
		{"http://h", "/%2e%2e/x", "http://h/%252e%252e/x"},
		{"http://h", "/st\u00f6ked \u2713.png", "http://h/st%C3%B6ked%20%E2%9C%93.png"},
		{"http://h", "/a;b,c:d@e!f", "http://h/a%3Bb%2Cc%3Ad%40e%21f"},
		{"http://h", "/a\\b\x00\xff", "http://h/a%5Cb%00%FF"},
		{"http://h/a", "/", "http://h/a/"},
		{"http://h", "/http://evil.example", "http://h/http%3A//evil.example"},
	} {
		h, err := NewHTTP(test.base, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.join(test.path).String(); got != test.want {
			t.Errorf("%s joined with %q:\n got %s\nwant %s", test.base, test.path, got, test.want)
		}
	}
}

func FuzzJoin(f *testing.F) {
	f.Add("", "/cat.jpg")
	f.Add("/a b/", "/c%d/\u00f6?#.jpg")
	f.Add("/%2F//", "/%2e%2e")
	f.Fuzz(func(t *testing.T, basePath, path string) {
		if !cleanpath.Is(path) {
			t.Skip()
		}
		h, err := NewHTTP("http://img.example"+basePath, nil)
		if err != nil || h.base.Host != "img.example" {
			t.Skip()
		}
		base, err := url.Parse("http://img.example" + basePath)
		if err != nil {
			t.Fatal(err)
		}
		// Slashes at the end of the base, as they are written, join with the one of the path.
		want := strings.TrimRight(base.EscapedPath(), "/")
		if want, err = url.PathUnescape(want); err != nil {
			t.Fatal(err)
		}
		want += path

		u := h.join(path)
		wire := u.String()
		back, err := url.Parse(wire)
		if err != nil {
			t.Fatalf("%q: %v", wire, err)
		}
		if back.Path != want || u.Path != want {
			t.Errorf("%s: got path %q and %q, want %q", wire, u.Path, back.Path, want)
		}
		if back.Host != "img.example" || back.RawQuery != "" || back.ForceQuery || back.Fragment != "" || back.User != nil {
			t.Errorf("%s is more than a path", wire)
		}
		if back.EscapedPath() != u.EscapedPath() {
			t.Errorf("escaped path %q is read as %q", u.EscapedPath(), back.EscapedPath())
		}
	})
}

func TestOptionsAreCopied(t *testing.T) {
	o := &HTTPOptions{Header: http.Header{"authorization": {"a"}}, RedirectHosts: []string{"CDN.example"}}
	h, err := NewHTTP("http://img.example", o)
	if err != nil {
		t.Fatal(err)
	}
	if o.Timeout != 0 || o.RedirectHosts[0] != "CDN.example" || len(o.Header) != 1 {
		t.Errorf("the options were written to: %+v", o)
	}
	o.Header["authorization"][0] = "b"
	if got := h.opts.Header.Get("Authorization"); got != "a" {
		t.Errorf("got %q after the caller changed its header, want a", got)
	}
	for _, host := range []string{"", "*", "*.", "a*.example", "https://cdn.example", "cdn.example:80", "cdn.example/"} {
		if _, err := NewHTTP("http://img.example", &HTTPOptions{RedirectHosts: []string{host}}); err == nil ||
			!strings.Contains(err.Error(), "HTTPOptions.RedirectHosts") {
			t.Errorf("RedirectHosts %q: got %v, want an error that names the field", host, err)
		}
	}
}

func TestRequestAsSent(t *testing.T) {
	var got *http.Request
	h := one(t, &HTTPOptions{Header: http.Header{"authorization": {"Bearer k"}, "X-A": {"1", "2"}, "Host": {"vhost.example"}}},
		func(w http.ResponseWriter, r *http.Request) { got = r })
	req := request(t, http.MethodGet, "/a b.jpg",
		"If-None-Match", `"x"`, "If-Modified-Since", "Sat, 01 Aug 2026 00:00:00 GMT", "Cache-Control", "no-cache",
		"X-A", "0", "Range", "bytes=0-1", "If-Range", `"x"`, "Accept-Encoding", "gzip", "User-Agent", "curl/8",
		"Connection", "X-Hop, close", "X-Hop", "1", "Upgrade", "h2c", "Te", "trailers", "Proxy-Authorization", "p", "Cookie", "c=1")
	req.URL.RawQuery = "w=100"
	before := req.Header.Clone()
	resp, err := h.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.Request != req {
		t.Error("Response.Request is not the source-relative request")
	}
	if fmt.Sprint(before) != fmt.Sprint(req.Header) || req.URL.RawQuery != "w=100" {
		t.Error("the request was changed")
	}
	if got.RequestURI != "/a%20b.jpg?w=100" || got.Host != "vhost.example" || got.Method != "GET" {
		t.Errorf("got %s %s of %s", got.Method, got.RequestURI, got.Host)
	}
	want := http.Header{
		"If-None-Match": {`"x"`}, "If-Modified-Since": {"Sat, 01 Aug 2026 00:00:00 GMT"}, "Cache-Control": {"no-cache"},
		"X-A": {"1", "2"}, "Authorization": {"Bearer k"}, "Accept-Encoding": {"identity"}, "User-Agent": {"imagecdn"}, "Cookie": {"c=1"},
	}
	if fmt.Sprint(got.Header) != fmt.Sprint(want) {
		t.Errorf("got header  %v\nwant header %v", got.Header, want)
	}
}

func TestUserAgentOfTheOptions(t *testing.T) {
	var got string
	h := one(t, &HTTPOptions{Header: http.Header{"User-Agent": {"shop/2"}}},
		func(w http.ResponseWriter, r *http.Request) { got = r.UserAgent() })
	get(t, h, "/cat.jpg")
	if got != "shop/2" {
		t.Errorf("got User-Agent %q, want shop/2", got)
	}
}

func TestStatusesPassThrough(t *testing.T) {
	for _, status := range []int{200, 203, 204, 300, 304, 400, 401, 403, 404, 410, 418, 429, 500, 501} {
		hits := 0
		h := one(t, nil, func(w http.ResponseWriter, r *http.Request) {
			hits++
			w.Header().Set("ETag", `"v1"`)
			w.WriteHeader(status)
		})
		resp, _ := get(t, h, "/cat.jpg", "If-None-Match", `"v1"`)
		if resp.StatusCode != status || resp.Header.Get("ETag") != `"v1"` || hits != 1 {
			t.Errorf("got %d with %v after %d requests, want %d after one", resp.StatusCode, resp.Header, hits, status)
		}
	}
}

func TestHead(t *testing.T) {
	h := one(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead {
			t.Errorf("got method %s", r.Method)
		}
		w.Header().Set("Content-Length", "5")
	})
	resp, err := h.RoundTrip(request(t, http.MethodHead, "/cat.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if len(b) != 0 || err != nil || resp.ContentLength != 5 {
		t.Errorf("got %q, %v, length %d", b, err, resp.ContentLength)
	}
}

func TestContentEncoding(t *testing.T) {
	for _, test := range []struct {
		status int
		coding string
		want   int // zero for an error
	}{
		{200, "", 200},
		{200, "identity", 200},
		{200, "Identity, ", 200},
		{200, "gzip", 0},
		{200, "identity, br", 0},
		{206, "zstd", 0},
		{304, "gzip", 304},
		{404, "gzip", 404},
		{500, "br", 500},
	} {
		h := one(t, nil, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", test.coding)
			w.WriteHeader(test.status)
			if test.status != 304 {
				io.WriteString(w, "body")
			}
		})
		if test.want == 0 {
			if err := fails(t, h, "/cat.jpg"); Status(err) != 502 || !strings.Contains(err.Error(), "Content-Encoding") {
				t.Errorf("%d %q: got %v", test.status, test.coding, err)
			}
			continue
		}
		resp, body := get(t, h, "/cat.jpg")
		wantBody := "body"
		if test.status != 200 {
			wantBody = ""
		}
		if resp.StatusCode != test.want || body != wantBody {
			t.Errorf("%d %q: got %d %q, want %d %q", test.status, test.coding, resp.StatusCode, body, test.want, wantBody)
		}
	}
}

func TestRedirects(t *testing.T) {
	to := func(location string, status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", location)
			w.WriteHeader(status)
		}
	}
	for _, test := range []struct {
		name     string
		handler  http.HandlerFunc // at img.example
		max      int
		hosts    []string
		want     string // the body
		hits     int    // at img.example
		wantText string // of the error
	}{
		{"301", to("http://cdn.example/x.jpg", 301), 0, nil, "cdn /x.jpg", 1, ""},
		{"302", to("http://cdn.example/x.jpg", 302), 0, nil, "cdn /x.jpg", 1, ""},
		{"303", to("http://cdn.example/x.jpg", 303), 0, nil, "cdn /x.jpg", 1, ""},
		{"307", to("http://cdn.example/x.jpg", 307), 0, nil, "cdn /x.jpg", 1, ""},
		{"308 with a query and a fragment", to("//cdn.example/x%20y.jpg?v=1#f", 308), 0, nil, "cdn /x%20y.jpg?v=1", 1, ""},
		{"a listed host", to("http://cdn.example/x", 302), 0, []string{"cdn.example"}, "cdn /x", 1, ""},
		{"a listed parent", to("http://cdn.example/x", 302), 0, []string{"*.example"}, "cdn /x", 1, ""},
		{"the default maximum", to("/again", 302), 0, nil, "", 4, "too many redirects"},
		{"a maximum of one", to("/again", 302), 1, nil, "", 2, "too many redirects"},
		{"none", to("http://cdn.example/x.jpg", 302), -1, nil, "", 1, "too many redirects"},
		{"no Location", to("", 302), 0, nil, "", 1, "has no Location"},
		{"another scheme", to("file:///etc/passwd", 302), 0, nil, "", 1, "is not to http or https"},
		{"gopher", to("gopher://cdn.example/x", 302), 0, nil, "", 1, "is not to http or https"},
		{"a user name", to("http://ann:pw@cdn.example/x", 302), 0, nil, "", 1, "has a user name"},
		{"another port", to("http://cdn.example:6379/x", 302), 0, nil, "", 1, "HTTPOptions.Ports"},
		{"another port of its own", to("http://img.example:22/x", 302), 0, nil, "", 1, "HTTPOptions.Ports"},
		{"port 0", to("http://cdn.example:0/x", 302), 0, nil, "", 1, "HTTPOptions.Ports"},
		{"a port of 17 bits", to("http://cdn.example:65616/x", 302), 0, nil, "", 1, "HTTPOptions.Ports"},
		{"not a URL", to("http://cdn.example/%zz", 302), 0, nil, "", 1, "is not a URL"},
		{"no host", to("http:///x", 302), 0, nil, "", 1, "has no host"},
		{"a host not listed", to("http://cdn.example/x", 302), 0, []string{"a.example"}, "", 1, "RedirectHosts"},
		{"no label above a parent", to("http://cdn.example/x", 302), 0, []string{"*.cdn.example"}, "", 1, "RedirectHosts"},
		{"not by label", to("http://evilcdn.example/x", 302), 0, []string{"*.cdn.example"}, "", 1, "RedirectHosts"},
	} {
		t.Run(test.name, func(t *testing.T) {
			hits := 0
			h := newTest(t, "http://img.example", &HTTPOptions{MaxRedirects: test.max, RedirectHosts: test.hosts},
				map[string]http.Handler{
					"img.example:80": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						hits++
						test.handler(w, r)
					}),
					"cdn.example:80": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						io.WriteString(w, "cdn "+r.RequestURI)
					}),
				})
			if test.wantText != "" {
				err := fails(t, h, "/cat.jpg")
				if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), test.wantText) || strings.Contains(err.Error(), "example") {
					t.Errorf("got %v, want %q", err, test.wantText)
				}
			} else if _, body := get(t, h, "/cat.jpg"); body != test.want {
				t.Errorf("got %q, want %q", body, test.want)
			}
			if hits != test.hits {
				t.Errorf("the origin was asked %d times, want %d", hits, test.hits)
			}
		})
	}
}

func TestSchemeDowngradeIsRefused(t *testing.T) {
	h, err := NewHTTP("https://img.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		from, location string
		want           bool
	}{
		{"https://img.example/a", "https://cdn.example/", true},
		{"https://img.example/a", "/b", true},
		{"http://img.example/a", "https://img.example/a", true},
		{"https://img.example/a", "http://img.example/a", false},
		{"https://img.example/a", "http://cdn.example/", false},
		{"https://img.example/a", "HTTP://cdn.example/", false},
	} {
		from, err := url.Parse(test.from)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.follow(from, test.location); (err == nil) != test.want {
			t.Errorf("%s to %s: got %v, want allowed %v", test.from, test.location, err, test.want)
		}
	}
}

func TestCredentialsStayWithTheirHost(t *testing.T) {
	seen := map[string][]string{} // by host, what came along
	answer := func(location string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			seen[r.Host] = append(seen[r.Host], strings.Join([]string{
				r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("X-Key"), r.Header.Get("Cookie"), r.Header.Get("If-None-Match"), r.UserAgent(),
			}, "|"))
			if location != "" {
				w.Header().Set("Location", location)
				w.WriteHeader(http.StatusFound)
			}
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/cat.jpg", answer("/moved.jpg"))
	mux.Handle("/moved.jpg", answer("http://img.example:8080/port.jpg"))
	mux.Handle("/back.jpg", answer(""))
	h := newTest(t, "http://img.example",
		&HTTPOptions{Header: http.Header{"Authorization": {"Bearer k"}, "X-Key": {"k"}, "User-Agent": {"shop"}}, Ports: []uint16{8080}},
		map[string]http.Handler{
			"img.example:80":   mux,
			"img.example:8080": answer("http://img.example/back.jpg"),
		})
	get(t, h, "/cat.jpg", "Cookie", "c=1", "If-None-Match", `"v"`)
	want := map[string][]string{
		"img.example": {
			`/cat.jpg|Bearer k|k|c=1|"v"|shop`,
			`/moved.jpg|Bearer k|k|c=1|"v"|shop`,
			`/back.jpg||||"v"|imagecdn`, // not given back: another host chose this URL
		},
		"img.example:8080": {`/port.jpg||||"v"|imagecdn`},
	}
	if fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", seen, want)
	}
}

func TestSameOrigin(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"http://a.example", "http://a.example:80/x", true},
		{"https://a.example", "https://A.example:443", true},
		{"http://a.example", "https://a.example", true},
		{"http://a.example:8080", "https://a.example", false},
		{"http://a.example", "https://a.example:8443", false},
		{"https://a.example", "http://a.example", false},
		{"http://a.example", "http://b.a.example", false},
		{"http://b.a.example", "http://a.example", false},
		{"http://a.example", "http://a.example:81", false},
	} {
		a, _ := url.Parse(test.a)
		b, _ := url.Parse(test.b)
		if got := sameOrigin(a, b); got != test.want {
			t.Errorf("%s and %s: got %v, want %v", test.a, test.b, got, test.want)
		}
	}
}

func TestRetries(t *testing.T) {
	hangUp := func(w http.ResponseWriter) { panic(http.ErrAbortHandler) }
	status := func(code int) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.WriteHeader(code) }
	}
	later := func(w http.ResponseWriter) {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(503)
	}
	for _, test := range []struct {
		name    string
		retries int
		answers []func(http.ResponseWriter) // the last is for all after it
		want    int                         // status; zero for an error
		hits    int
	}{
		{"no failure", 0, []func(http.ResponseWriter){status(200)}, 200, 1},
		{"502, 503, then fine", 0, []func(http.ResponseWriter){status(502), status(503), status(200)}, 200, 3},
		{"504 to the end is the response", 0, []func(http.ResponseWriter){status(504)}, 504, 3},
		{"hang up, then fine", 0, []func(http.ResponseWriter){hangUp, status(200)}, 200, 2},
		{"hang up to the end", 0, []func(http.ResponseWriter){hangUp}, 0, 3},
		{"five retries", 5, []func(http.ResponseWriter){status(503)}, 503, 6},
		{"no retries", -1, []func(http.ResponseWriter){status(503)}, 503, 1},
		{"no retries after a hang-up", -1, []func(http.ResponseWriter){hangUp}, 0, 1},
		{"not with Retry-After", 0, []func(http.ResponseWriter){later}, 503, 1},
		{"not a 500", 0, []func(http.ResponseWriter){status(500)}, 500, 1},
		{"not a 404", 0, []func(http.ResponseWriter){status(404)}, 404, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hits := 0
				h := one(t, &HTTPOptions{Retries: test.retries}, func(w http.ResponseWriter, r *http.Request) {
					answer := test.answers[min(hits, len(test.answers)-1)]
					hits++
					answer(w)
				})
				start := time.Now()
				if test.want == 0 {
					fails(t, h, "/cat.jpg")
				} else if resp, _ := get(t, h, "/cat.jpg"); resp.StatusCode != test.want {
					t.Errorf("got %d, want %d", resp.StatusCode, test.want)
				}
				if hits != test.hits {
					t.Errorf("got %d requests, want %d", hits, test.hits)
				}
				least, most := time.Duration(0), time.Duration(0)
				for i, d := 1, firstBackoff; i < test.hits; i, d = i+1, min(2*d, lastBackoff) {
					least, most = least+d/2, most+d
				}
				if took := time.Since(start); took < least || took > most {
					t.Errorf("waited %v between requests, want %v to %v", took, least, most)
				}
			})
		})
	}
}

func TestNamesThatDoNotExistAreNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTest(t, "http://nobody.example", nil, nil)
		start := time.Now()
		if err := fails(t, h, "/cat.jpg"); Status(err) != 502 || strings.Contains(err.Error(), "nobody") {
			t.Errorf("got %v, want a 502 that names no host", err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v, want no wait", took)
		}
	})
}

func TestRetriesEndWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := one(t, &HTTPOptions{Retries: 100, Timeout: -1}, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			time.Sleep(5 * time.Second)
			cancel()
		}()
		start := time.Now()
		_, err := h.RoundTrip(request(t, http.MethodGet, "/cat.jpg").WithContext(ctx))
		if !errors.Is(err, context.Canceled) || time.Since(start) != 5*time.Second {
			t.Errorf("got %v after %v, want context.Canceled after 5s", err, time.Since(start))
		}
	})
}

// A retry that would end after the deadline is not begun: what there is, is returned.
func TestRetriesFitTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := one(t, &HTTPOptions{Retries: 100, Timeout: 3 * time.Second}, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		start := time.Now()
		resp, _ := get(t, h, "/cat.jpg")
		if resp.StatusCode != 503 || time.Since(start) > 3*time.Second {
			t.Errorf("got %d after %v, want 503 within 3s", resp.StatusCode, time.Since(start))
		}
	})
}

func TestTimeouts(t *testing.T) {
	silent := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for _, test := range []struct {
		name    string
		opts    HTTPOptions
		handler http.HandlerFunc
		want    time.Duration
	}{
		{"header, by default", HTTPOptions{}, silent, 10 * time.Second},
		{"header", HTTPOptions{ResponseHeaderTimeout: time.Second}, silent, time.Second},
		{"the whole, by default", HTTPOptions{ResponseHeaderTimeout: -1}, silent, time.Minute},
		{"the whole", HTTPOptions{Timeout: 2 * time.Second}, silent, 2 * time.Second},
		{"redirects that dawdle", HTTPOptions{Timeout: 2 * time.Second, MaxRedirects: 100}, func(w http.ResponseWriter, r *http.Request) {
			pause(r, 700*time.Millisecond)
			w.Header().Set("Location", "/x")
			w.WriteHeader(302)
		}, 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := one(t, &test.opts, test.handler)
				start := time.Now()
				err := fails(t, h, "/cat.jpg")
				if !errors.Is(err, ErrTimeout) || Status(err) != 504 || time.Since(start) != test.want {
					t.Errorf("got %v after %v, want ErrTimeout after %v", err, time.Since(start), test.want)
				}
			})
		})
	}
}

func TestCallerThatGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := one(t, nil, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := h.RoundTrip(request(t, http.MethodGet, "/cat.jpg").WithContext(ctx))
		if !errors.Is(err, ErrTimeout) {
			t.Errorf("with a deadline: got %v, want ErrTimeout", err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		go func() {
			time.Sleep(time.Second)
			cancel()
		}()
		_, err = h.RoundTrip(request(t, http.MethodGet, "/cat.jpg").WithContext(ctx))
		if !errors.Is(err, context.Canceled) || errors.Is(err, ErrTimeout) {
			t.Errorf("cancelled: got %v, want context.Canceled alone", err)
		}
	})
}

func TestSlowBodies(t *testing.T) {
	// chunks sends so many bytes after each wait, for ever.
	chunks := func(bytes int, wait time.Duration) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				w.Write(make([]byte, bytes))
				w.(http.Flusher).Flush()
				pause(r, wait)
			}
		}
	}
	for _, test := range []struct {
		name    string
		opts    HTTPOptions
		handler http.HandlerFunc
		least   time.Duration // until it ends
		most    time.Duration
	}{
		{"nothing after the header", HTTPOptions{}, chunks(0, time.Hour), 10 * time.Second, 10 * time.Second},
		{"a byte a second", HTTPOptions{}, chunks(1, time.Second), 10 * time.Second, 11 * time.Second},
		{"half of the rate", HTTPOptions{}, chunks(512, time.Second), 19 * time.Second, 20 * time.Second},
		{"the rate, and so Timeout", HTTPOptions{}, chunks(1024, time.Second), time.Minute, time.Minute},
		{"a stall after much", HTTPOptions{}, chunks(100<<10, 11*time.Second), 10 * time.Second, 10 * time.Second},
		{"short stalls", HTTPOptions{}, chunks(100<<10, 9*time.Second), time.Minute, time.Minute},
		{"another rate", HTTPOptions{MinRate: 100}, chunks(512, time.Second), time.Minute, time.Minute},
		{"a byte a second, and no rate", HTTPOptions{MinRate: -1}, chunks(1, time.Second), time.Minute, time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := one(t, &test.opts, test.handler)
				start := time.Now()
				resp, err := h.RoundTrip(request(t, http.MethodGet, "/cat.jpg"))
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				_, err = io.ReadAll(resp.Body)
				if took := time.Since(start); !errors.Is(err, ErrTimeout) || took < test.least || took > test.most {
					t.Errorf("got %v after %v, want ErrTimeout after %v to %v", err, took, test.least, test.most)
				}
			})
		})
	}
}

func TestSlowReaderIsNotTheOriginsFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := one(t, nil, func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 1<<20)) })
		resp, err := h.RoundTrip(request(t, http.MethodGet, "/cat.jpg"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for range 4 {
			time.Sleep(11 * time.Second)
			if _, err := io.ReadFull(resp.Body, make([]byte, 1<<18)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestCancelledBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := one(t, nil, func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte("half"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})
		ctx, cancel := context.WithCancel(t.Context())
		resp, err := h.RoundTrip(request(t, http.MethodGet, "/cat.jpg").WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		go func() {
			time.Sleep(time.Second)
			cancel()
		}()
		if _, err := io.ReadAll(resp.Body); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	})
}

func TestShortBodies(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"Content-Length": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.Write([]byte("half"))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		},
		"chunked": func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte("half"))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		},
	} {
		h := one(t, nil, handler)
		resp, err := h.RoundTrip(request(t, http.MethodGet, "/cat.jpg"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b, err := io.ReadAll(resp.Body)
		if !errors.Is(err, io.ErrUnexpectedEOF) || Status(err) != 502 {
			t.Errorf("%s: got %q and %v, want io.ErrUnexpectedEOF", name, b, err)
		}
		resp.Body.Close()
	}
}

func TestLongResponseHeaderIsAnError(t *testing.T) {
	h := one(t, nil, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X", strings.Repeat("x", 100<<10))
	})
	if err := fails(t, h, "/cat.jpg"); Status(err) != 502 {
		t.Errorf("got %v, want a 502", err)
	}
}

func TestHTTP2(t *testing.T) {
	body := bytes.Repeat([]byte("image"), 10000)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Proto", r.Proto)
		w.Write(body[:len(body)/2])
		w.(http.Flusher).Flush()
		if r.URL.Path == "/short.jpg" {
			panic(http.ErrAbortHandler)
		}
		w.Write(body[len(body)/2:])
	}))
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	conf := srv.Client().Transport.(*http.Transport).TLSClientConfig
	h, err := NewHTTP(srv.URL, &HTTPOptions{AllowPrivate: true, TLS: &tls.Config{RootCAs: conf.RootCAs}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	resp, got := get(t, h, "/cat.jpg")
	if resp.Header.Get("X-Proto") != "HTTP/2.0" || got != string(body) {
		t.Errorf("got %d bytes over %s, want %d over HTTP/2.0", len(got), resp.Header.Get("X-Proto"), len(body))
	}
	resp, err = h.RoundTrip(request(t, http.MethodGet, "/short.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short: got %v, want io.ErrUnexpectedEOF", err)
	}

	unknown, err := NewHTTP(srv.URL, &HTTPOptions{AllowPrivate: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := fails(t, unknown, "/cat.jpg"); Status(err) != 502 || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("a certificate of nobody: got %v, want a 502 with no address", err)
	}
}
