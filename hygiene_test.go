package imagecdn_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/origin"
)

// marker is what tests write into requests, and look for in responses.
const marker = "zq9marker7x"

// hostileHeader is of an origin that says more than it is asked for.
func hostileHeader() http.Header {
	header := cacheFor("max-age=60")
	for _, name := range []string{
		"Set-Cookie", "Server", "X-Powered-By", "Via", "Access-Control-Allow-Origin", "Timing-Allow-Origin", "Content-Security-Policy", "Link", "Refresh",
		"Location", "Content-Disposition", "Content-Language", "Alt-Svc", "Strict-Transport-Security", "Clear-Site-Data", "Sourcemap", "X-Internal-Host", "P3p",
	} {
		header.Set(name, marker)
	}
	header.Set("Content-Type", "text/html; "+marker)
	return header
}

// A response of each kind that there is, over a network: none can be sniffed or run, tells what the origin runs on, or reflects what the
// request has beside its URL; and HEAD has what GET has but for the body.
func TestEveryKindOfResponse(t *testing.T) {
	o := newOrigin()
	header := hostileHeader()
	png := paint(t, red, 40, 30)
	o.set("/cat.png", answer{header: header, body: png})
	o.set("/gone.png", answer{status: 410, header: header, body: []byte("<script>" + marker)})
	o.set("/broken.png", answer{status: 500, header: header, body: []byte("<script>" + marker)})
	o.set("/moved.png", answer{status: 302, header: header})
	o.set("/page.png", answer{header: header, body: []byte("<html><script>alert(1)</script>" + marker)})
	o.set("/drawing.svg", answer{header: header, body: []byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`)})
	o.set("/cut.png", answer{header: header, body: png[:len(png)/2]})
	o.set("/far.png", answer{header: header, err: errors.New("dial tcp 10.1.2.3:80: " + marker)})
	o.set("/slow.png", answer{header: header, err: &origin.Error{Text: "too slow", Kind: origin.ErrTimeout, Cause: errors.New("10.1.2.3")}})
	o.set("/shut.png", answer{header: header, err: &origin.Error{Text: "refused", Kind: origin.ErrRefused, Cause: errors.New(marker)}})
	o.set("/large.png", answer{header: header, body: paint(t, red, 600, 600)})
	h := open(t, o, &imagecdn.Options{MaxPixels: 300_000, Strict: true, Renders: 1, MaxQueued: 1})
	closed := open(t, o, nil)
	closed.Close()
	mux := http.NewServeMux()
	mux.Handle("/-/", http.StripPrefix("/-", h.Admin(&imagecdn.AdminOptions{Keys: []string{"k"}})))
	mux.Handle("/closed/", http.StripPrefix("/closed", closed))
	mux.Handle("/closed/-/", http.StripPrefix("/closed/-", closed.Admin(nil)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/photos/") || strings.HasPrefix(r.URL.Path, "/nowhere/") {
			h.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	defer server.Close()

	for _, test := range []struct {
		method, url string
		header      string // Name: value, besides those with a marker
		status      int
		kind        string // Content-Type
	}{
		{"GET", "/photos/cat.png?w=20", "", 200, "image/png"},
		{"GET", "/photos/cat.png?w=20", "", 200, "image/png"}, // from the cache
		{"GET", "/photos/cat.png", "", 200, "image/png"},
		{"GET", "/photos/cat.png?w=20&fm=webp", "", 200, "image/webp"},
		{"GET", "/photos/cat.png?w=20&auto=format", "Accept: image/webp", 200, "image/webp"},
		{"GET", "/photos/cat.png?w=20&dl=a.png", "", 200, "image/png"},
		{"GET", "/photos/cat.png?w=20", "Range: bytes=0-9", 200, "image/png"}, // whole, which is allowed (RFC 9110 section 14.2)
		{"GET", "/photos/cat.png?w=20", "If-None-Match: *", 304, ""},
		{"GET", "/photos/cat.png?w=abc", "", 400, ""},
		{"GET", "/photos/cat.png?<script>=1", "", 400, ""},
		{"GET", "/photos/../cat.png", "", 400, ""},
		{"GET", "/nowhere/cat.png", "", 403, ""},
		{"GET", "/photos/shut.png", "", 403, ""},
		{"GET", "/photos/none.png", "", 404, ""},
		{"GET", "/photos/cat.png?w=20&expires=1", "", 404, ""},
		{"POST", "/photos/cat.png?w=20", "", 405, ""},
		{"PURGE", "/photos/cat.png", "", 405, ""},
		{"TRACE", "/photos/cat.png", "", 405, ""},
		{"OPTIONS", "/photos/cat.png", "", 405, ""},
		{"DELETE", "/photos/cat.png", "", 405, ""},
		{"GET", "/photos/gone.png", "", 410, ""},
		{"GET", "/photos/large.png?w=20", "", 413, ""},
		{"GET", "/photos/page.png", "", 415, ""},
		{"GET", "/photos/page.png?w=20", "", 415, ""},
		{"GET", "/photos/drawing.svg?w=20", "", 415, ""},
		{"GET", "/photos/cut.png?w=20", "", 422, ""},
		{"GET", "/photos/broken.png", "", 502, ""},
		{"GET", "/photos/moved.png", "", 502, ""},
		{"GET", "/photos/far.png", "", 502, ""},
		{"GET", "/photos/slow.png", "", 504, ""},
		{"GET", "/closed/photos/cat.png", "", 503, ""},

		{"GET", "/-/healthz", "", 200, "text/plain; charset=utf-8"},
		{"GET", "/-/readyz", "", 200, "text/plain; charset=utf-8"},
		{"GET", "/closed/-/readyz", "", 503, ""},
		{"GET", "/-/nothing", "", 404, "application/json"},
		{"GET", "/-/metrics", "", 401, "application/json"},
		{"GET", "/-/metrics", "Authorization: Bearer k", 200, "text/plain; version=0.0.4; charset=utf-8"},
		{"GET", "/-/api/v1/purges", "", 401, "application/json"},
		{"GET", "/-/api/v1/purges", "Authorization: Bearer " + marker, 401, "application/json"},
		{"GET", "/-/api/v1/purges", "Authorization: Bearer k", 200, "application/json"},
		{"GET", "/-/api/v1/purges?limit=<b>", "Authorization: Bearer k", 400, "application/json"},
		{"GET", "/-/api/v1/purges/none", "Authorization: Bearer k", 404, "application/json"},
		{"POST", "/-/api/v1/purges", "Authorization: Bearer k", 400, "application/json"},
		{"POST", "/-/healthz", "", 404, "application/json"},
	} {
		send := func(method string) (*http.Response, string) {
			r, err := http.NewRequest(method, server.URL+test.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range requestHeaders {
				r.Header.Set(name, marker)
			}
			r.Header.Del("If-None-Match")
			r.Header.Del("Authorization")
			if name, value, ok := strings.Cut(test.header, ": "); ok {
				r.Header.Set(name, value)
			}
			r.Host = marker + ".example"
			resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
			if err != nil {
				t.Fatalf("%s %s: %v", method, test.url, err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatalf("%s %s: %v", method, test.url, err)
			}
			return resp, string(body)
		}
		resp, body := send(test.method)
		name := fmt.Sprintf("%s %s with %s", test.method, test.url, test.header)
		if resp.StatusCode != test.status {
			t.Errorf("%s: %d %q, want %d", name, resp.StatusCode, body, test.status)
			continue
		}
		kind := test.kind
		if kind == "" && test.status != 304 {
			kind = "text/plain; charset=utf-8"
		}
		if got := resp.Header.Get("Content-Type"); got != kind {
			t.Errorf("%s: Content-Type %q, want %q", name, got, kind)
		}
		if got := resp.Header["X-Content-Type-Options"]; len(got) != 1 || got[0] != "nosniff" {
			t.Errorf("%s: X-Content-Type-Options %q", name, got)
		}
		if resp.Header.Get("Cache-Control") == "" && strings.HasPrefix(test.url, "/photos") {
			t.Errorf("%s: no Cache-Control", name)
		}
		if text := fmt.Sprint(resp.Header) + body; strings.Contains(text, marker) || strings.Contains(text, "10.1.2.3") {
			t.Errorf("%s: what the request or the origin said is in the response: %v %.300q", name, resp.Header, body)
		}
		for field := range resp.Header {
			if !slices.Contains(sentHeaders, field) {
				t.Errorf("%s: a field %s that no response has", name, field)
			}
		}
		if test.status >= 400 {
			if strings.Count(body, "\n") != 1 || !strings.HasSuffix(body, "\n") {
				t.Errorf("%s: %q is not one line", name, body)
			}
			if !strings.HasPrefix(resp.Header.Get("Content-Security-Policy"), "default-src 'none'") {
				t.Errorf("%s: Content-Security-Policy %q", name, resp.Header.Get("Content-Security-Policy"))
			}
			if cc := resp.Header.Get("Cache-Control"); cc != "no-store" && !slices.Contains([]string{"10", "60", "300"}, strings.TrimPrefix(cc, "public, max-age=")) {
				t.Errorf("%s: Cache-Control %q", name, cc)
			}
		}
		if test.method != "GET" {
			continue
		}
		head, none := send("HEAD")
		if none != "" || head.StatusCode != resp.StatusCode {
			t.Errorf("HEAD %s: %d %q, want %d and nothing", test.url, head.StatusCode, none, resp.StatusCode)
		}
		for _, volatile := range []string{"Date", "Cache-Status", "Connection"} {
			head.Header.Del(volatile)
			resp.Header.Del(volatile)
		}
		if strings.HasPrefix(test.url, "/-/") || strings.HasPrefix(test.url, "/closed/-/") {
			resp.Header.Del("Content-Length") // which net/http works out from the body
			head.Header.Del("Content-Length")
		}
		if test.status == 404 && strings.HasPrefix(test.url, "/-/nothing") {
			continue // names the method
		}
		if fmt.Sprint(head.Header) != fmt.Sprint(resp.Header) {
			t.Errorf("%s:\nHEAD %v\nGET  %v", test.url, head.Header, resp.Header)
		}
	}
}

// sentHeaders are all fields that responses have.
var sentHeaders = []string{
	"Age", "Allow", "Cache-Control", "Cache-Status", "Connection", "Content-Disposition", "Content-Length", "Content-Security-Policy", "Content-Type", "Date", "Etag",
	"Location", "Retry-After", "Vary", "Www-Authenticate", "X-Content-Type-Options",
}

// requestHeaders are fields that caches have been poisoned by, or that somebody on the way may act upon.
var requestHeaders = []string{
	"Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Cdn-Loop", "Cf-Connecting-Ip", "Client-Ip", "Cookie",
	"Content-Type", "Device-Memory", "Dnt", "Downlink", "Dpr", "Ect", "Fastly-Client-Ip", "Forwarded", "From", "Front-End-Https", "If-Match",
	"If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Max-Forwards", "Origin", "Pragma", "Prefer", "Proxy-Authorization", "Proxy-Host", "Purpose",
	"Range", "Referer", "Request-Uri", "Rtt", "Save-Data", "Sec-Ch-Dpr", "Sec-Ch-Ua", "Sec-Ch-Viewport-Width", "Sec-Ch-Width", "Sec-Fetch-Dest", "Sec-Fetch-Mode",
	"Sec-Fetch-Site", "Sec-Purpose", "Surrogate-Capability", "True-Client-Ip", "User-Agent", "Via", "Viewport-Width", "Width", "X-Amz-Website-Redirect-Location",
	"X-Cache-Key", "X-Client-Ip", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Path", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Proto",
	"X-Forwarded-Scheme", "X-Forwarded-Server", "X-Host", "X-Http-Host-Override", "X-Http-Method-Override", "X-Method-Override", "X-Original-Host",
	"X-Original-Url", "X-Proxy-Url", "X-Real-Ip", "X-Requested-With", "X-Rewrite-Url", "X-Wap-Profile",
}

// Two requests that differ in one field get the same, stored or not, whichever comes first. So there is nothing in a field to poison the
// cache with, here or downstream. Accept is the exception, where auto=format says so, and Vary with it; If-None-Match asks for a 304.
func TestNoFieldOfARequestIsInTheAnswer(t *testing.T) {
	values := []string{marker, "https://" + marker + ".example/", "bytes=0-1", "no-cache", "max-age=0", "2", "POST"}
	urls := []string{"/photos/cat.png?w=20", "/photos/cat.png", "/photos/cat.png?w=30&auto=format", "/photos/none.png", "/photos/cat.png?w=abc"}
	answers := func(t *testing.T, with func(r *http.Request)) (got []string) {
		synctest.Test(t, func(t *testing.T) {
			o := newOrigin()
			o.set("/cat.png", answer{header: cacheFor("max-age=60"), body: paint(t, red, 40, 30)})
			h := open(t, o, nil)
			for _, url := range urls {
				for pass := range 3 {
					r := httptest.NewRequest(http.MethodGet, url, nil)
					if pass == 0 {
						with(r)
					}
					w := httptest.NewRecorder()
					h.ServeHTTP(w, r)
					got = append(got, fmt.Sprint(url, pass, w.Code, w.Header(), w.Body))
				}
				time.Sleep(time.Second)
			}
			for _, r := range o.requests {
				got = append(got, fmt.Sprint(r.URL, r.Host, r.Header))
			}
			h.Close()
		})
		return got
	}
	clean := answers(t, func(*http.Request) {})
	differs := func(t *testing.T, how string, got []string) {
		t.Helper()
		for i := range clean {
			if got[i] != clean[i] {
				t.Errorf("%s:\ngot  %.300q\nwant %.300q", how, got[i], clean[i])
				return
			}
		}
	}
	for _, name := range requestHeaders {
		for _, value := range values {
			differs(t, name+": "+value, answers(t, func(r *http.Request) { r.Header.Set(name, value) }))
		}
	}
	for _, host := range []string{marker + ".example", "127.0.0.1:6379", "", "a b", strings.Repeat("h", 300), "photos", "[::1]"} {
		differs(t, "Host: "+host, answers(t, func(r *http.Request) { r.Host, r.URL.Host = host, host }))
	}
	differs(t, "all fields", answers(t, func(r *http.Request) {
		for _, name := range requestHeaders {
			r.Header.Set(name, marker)
		}
		r.RemoteAddr, r.Proto = marker, marker
	}))
}

// FuzzReflection looks for a field of a request, known or not, whose value comes back.
func FuzzReflection(f *testing.F) {
	for _, name := range requestHeaders {
		f.Add(name, "", "/photos/cat.png?w=20")
	}
	f.Add("Accept", "image/webp,", "/photos/cat.png?w=20&auto=format")
	f.Add("X-Forwarded-Host", "a.example:80", "/photos/none.png")
	f.Add("Origin", "https://", "/nowhere/x")
	o := newOrigin()
	o.set("/cat.png", answer{header: cacheFor("max-age=60"), body: paint(f, red, 4, 3)})
	h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: o}}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { h.Close() })
	f.Fuzz(func(t *testing.T, name, value, url string) {
		if strings.Contains(url, marker) || len(url) > 2000 {
			t.Skip()
		}
		w := get(h, url, name, value+marker)
		if text := fmt.Sprint(w.Header()) + w.Body.String(); strings.Contains(text, marker) {
			t.Errorf("%s: %s%s: %v %q", name, value, marker, w.Header(), w.Body)
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", url, w.Header())
		}
	})
}

// A handler that is overloaded, and one whose render panics, answer as the others do.
func TestOverloadIsAResponseAsOthers(t *testing.T) {
	o := newOrigin()
	o.set("/cat.png", answer{header: hostileHeader(), body: paint(t, red, 40, 30)})
	h := open(t, o, &imagecdn.Options{Renders: 1, MaxQueued: 1})
	release := imagecdn.HoldGate(h)
	ctx, leave := context.WithCancel(t.Context())
	waiting := make(chan bool)
	go func() {
		defer close(waiting)
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/photos/cat.png?w=20", nil))
	}()
	var w *httptest.ResponseRecorder
	for i := 21; ; i++ { // until the first one is in the queue
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		w = httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("/photos/cat.png?w=%d", i), nil))
		cancel()
		if w.Code == http.StatusTooManyRequests || i == 200 {
			break
		}
	}
	leave()
	<-waiting
	release()
	header := maps.Clone(w.Header())
	if w.Code != 429 || header.Get("Retry-After") == "" || header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v", w.Code, header)
	}
}
