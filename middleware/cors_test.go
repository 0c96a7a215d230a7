package middleware

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCORSOrigins(t *testing.T) {
	for _, test := range []struct {
		origins string // separated by spaces
		origin  string
		want    bool
	}{
		{"https://shop.example", "https://shop.example", true},
		{"https://Shop.Example:443", "https://shop.example", true},
		{"http://localhost:3000", "http://localhost:3000", true},
		{"https://a.example https://b.example", "https://b.example", true},
		{"https://shop.example", "http://shop.example", false},
		{"https://shop.example", "https://shop.example:8443", false},
		{"https://shop.example", "https://shop.example.evil.example", false},
		{"https://shop.example", "https://www.shop.example", false},
		{"https://shop.example", "https://shop.example/", false},
		{"https://shop.example", "", false},

		{"https://*.example.com", "https://www.example.com", true},
		{"https://*.example.com", "https://a.b-c.example.com", true},
		{"https://*.example.com:8443", "https://www.example.com:8443", true},
		{"https://*.example.com", "https://example.com", false},
		{"https://*.example.com", "https://.example.com", false},
		{"https://*.example.com", "https://evilexample.com", false},
		{"https://*.example.com", "https://www.example.com.evil.example", false},
		{"https://*.example.com", "https://evil.example/.example.com", false},
		{"https://*.example.com", "https://evil.example#.example.com", false},
		{"https://*.example.com", "https://evil.example?.example.com", false},
		{"https://*.example.com", "https://evil.example:80@a.example.com", false},
		{"https://*.example.com", "https://evil.example\\.example.com", false},
		{"https://*.example.com", "https://a..example.com", false},
		{"https://*.example.com", "https://a .example.com", false},
		{"https://*.example.com", "http://www.example.com", false},
		{"https://*.example.com", "https://www.example.com:8443", false},
		{"https://*.example.com", "https://*.example.com", false},

		{"*", "https://anybody.example", true},
		{"*", "null", true},
		{"null", "null", true},
		{"https://shop.example", "null", false},
		{"https://*.example.com", "null", false},
		{"", "https://shop.example", false},
		{"", "null", false},

		// Malformed entries match nothing.
		{"shop.example", "shop.example", false},
		{"https://shop.example/", "https://shop.example", false},
		{"https://*", "https://shop.example", false},
		{"*.example.com", "https://www.example.com", false},
		{"https://*example.com", "https://evilexample.com", false},
	} {
		c := &CORS{Origins: strings.Fields(test.origins)}
		r := httptest.NewRequest("GET", "/cat.jpg", nil)
		r.Header["Origin"] = []string{test.origin}
		err := c.Check(r)
		if (err == nil) != test.want || err != nil && !errors.Is(err, ErrOrigin) {
			t.Errorf("%q with %q: got %v, want allowed %v", test.origin, test.origins, err, test.want)
		}
		r.Header.Del("Origin")
		if err := c.Check(r); err != nil {
			t.Errorf("%q without an origin: %v", test.origins, err)
		}
	}
	r := httptest.NewRequest("GET", "/cat.jpg", nil)
	r.Header["Origin"] = []string{"https://shop.example", "https://evil.example"}
	if (&CORS{Origins: []string{"https://shop.example"}}).Check(r) == nil {
		t.Error("two origins are let through")
	}
}

func TestCORSMistakesPanic(t *testing.T) {
	for _, c := range []*CORS{
		{Origins: []string{"shop.example"}},
		{Origins: []string{"https://shop.example/"}},
		{Origins: []string{"https://shop.example:"}},
		{Origins: []string{"https://*"}},
		{Origins: []string{"https://*.*.example"}},
		{Origins: []string{"https://www.*.example"}},
		{Origins: []string{"https://ann@shop.example"}},
		{Origins: []string{"https://b\u00fccher.example"}},
		{Origins: []string{""}},
		{ResourcePolicy: "everybody"},
	} {
		func() {
			defer func() {
				if msg, _ := recover().(string); !strings.Contains(msg, "middleware: CORS.") {
					t.Errorf("%+v: got panic %q", c, msg)
				}
			}()
			c.Handler(http.NotFoundHandler())
		}()
	}
}

// fields returns the fields of a header that CORS is about, in order, one a line.
func fields(header http.Header) string {
	var lines []string
	for name, values := range header {
		if strings.HasPrefix(name, "Access-Control-") || strings.HasPrefix(name, "Cross-Origin-") || name == "Timing-Allow-Origin" || name == "Vary" {
			lines = append(lines, name+": "+strings.Join(values, ", "))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestCORSHandler(t *testing.T) {
	const exposed = "Access-Control-Expose-Headers: Cache-Status, ETag, Age, Content-Length\n"
	shop := CORS{Origins: []string{"https://shop.example"}}
	public := CORS{Origins: []string{"https://shop.example", "*"}}
	for _, test := range []struct {
		name   string
		c      CORS
		method string
		header string // of the request, "Name: value" separated by ;
		want   string
	}{
		{"zero value", CORS{}, "GET", "Origin: https://shop.example", "Vary: Accept"},
		{"zero value, preflight", CORS{}, "OPTIONS", "Origin: https://shop.example;Access-Control-Request-Method: GET", "Vary: Accept"},
		{"allowed", shop, "GET", "Origin: https://shop.example",
			"Access-Control-Allow-Origin: https://shop.example\n" + exposed + "Timing-Allow-Origin: https://shop.example\nVary: Accept, Origin"},
		{"allowed, HEAD", shop, "HEAD", "Origin: https://shop.example",
			"Access-Control-Allow-Origin: https://shop.example\n" + exposed + "Timing-Allow-Origin: https://shop.example\nVary: Accept, Origin"},
		{"not allowed", shop, "GET", "Origin: https://evil.example", "Vary: Accept, Origin"},
		{"null", shop, "GET", "Origin: null", "Vary: Accept, Origin"},
		{"no origin", shop, "GET", "", "Vary: Accept, Origin"},
		{"public", public, "GET", "Origin: https://evil.example",
			"Access-Control-Allow-Origin: *\n" + exposed + "Timing-Allow-Origin: *\nVary: Accept"},
		{"public, no origin", public, "GET", "",
			"Access-Control-Allow-Origin: *\n" + exposed + "Timing-Allow-Origin: *\nVary: Accept"},
		{"policy alone", CORS{ResourcePolicy: "same-site"}, "GET", "Origin: https://shop.example",
			"Cross-Origin-Resource-Policy: same-site\nVary: Accept"},
		{"policy", CORS{Origins: []string{"*"}, ResourcePolicy: "cross-origin", ExposeHeaders: []string{"ETag", "Age"}}, "GET", "",
			"Access-Control-Allow-Origin: *\nAccess-Control-Expose-Headers: ETag, Age\nCross-Origin-Resource-Policy: cross-origin\nTiming-Allow-Origin: *\nVary: Accept"},
		{"nothing exposed", CORS{Origins: []string{"*"}, ExposeHeaders: []string{}}, "GET", "",
			"Access-Control-Allow-Origin: *\nTiming-Allow-Origin: *\nVary: Accept"},

		{"preflight", shop, "OPTIONS", "Origin: https://shop.example;Access-Control-Request-Method: GET",
			"Access-Control-Allow-Headers: *\nAccess-Control-Allow-Methods: GET, HEAD\nAccess-Control-Allow-Origin: https://shop.example\n" +
				"Access-Control-Max-Age: 7200\nVary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers"},
		{"preflight, not allowed", shop, "OPTIONS", "Origin: https://evil.example;Access-Control-Request-Method: GET",
			"Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers"},
		{"preflight, configured", CORS{Origins: []string{"*"}, AllowHeaders: []string{"Traceparent"}, MaxAge: time.Minute}, "OPTIONS",
			"Origin: null;Access-Control-Request-Method: GET",
			"Access-Control-Allow-Headers: Traceparent\nAccess-Control-Allow-Methods: GET, HEAD\nAccess-Control-Allow-Origin: *\n" +
				"Access-Control-Max-Age: 60\nVary: Access-Control-Request-Method, Access-Control-Request-Headers"},
		{"preflight, not to be remembered", CORS{Origins: []string{"*"}, AllowHeaders: []string{}, MaxAge: -1}, "OPTIONS",
			"Origin: null;Access-Control-Request-Method: GET",
			"Access-Control-Allow-Methods: GET, HEAD\nAccess-Control-Allow-Origin: *\n" +
				"Access-Control-Max-Age: 0\nVary: Access-Control-Request-Method, Access-Control-Request-Headers"},
		{"OPTIONS that is no preflight", shop, "OPTIONS", "Origin: https://evil.example", "Vary: Accept, Origin"},
	} {
		passed := false
		h := test.c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			passed = true
			w.Header()["Vary"] = []string{"Accept"} // as a handler does that stores headers with an image
			if len(test.c.Origins) > 0 {
				w.Header().Set("Access-Control-Allow-Origin", "https://upstream.example")
				w.Header().Set("Access-Control-Allow-Credentials", "true")
			}
			io.WriteString(w, "image")
		}))
		r := httptest.NewRequest(test.method, "/cat.jpg", nil)
		for field := range strings.SplitSeq(test.header, ";") {
			if name, value, ok := strings.Cut(field, ": "); ok {
				r.Header.Set(name, value)
			}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := fields(w.Result().Header); got != test.want {
			t.Errorf("%s:\ngot\n%s\nwant\n%s", test.name, got, test.want)
		}
		if preflight := strings.Contains(test.want, "Request-Method"); passed == preflight || preflight != (w.Code == 204) {
			t.Errorf("%s: got %d, passed on %v", test.name, w.Code, passed)
		}
	}
}

// However a handler begins its response, or does not, the fields are there.
func TestCORSFieldsAreSent(t *testing.T) {
	for name, f := range map[string]http.HandlerFunc{
		"nothing":     func(w http.ResponseWriter, r *http.Request) {},
		"WriteHeader": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(304) },
		"Write":       func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("x")) },
		"WriteString": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "x") },
		"ReadFrom":    func(w http.ResponseWriter, r *http.Request) { w.(io.ReaderFrom).ReadFrom(strings.NewReader("x")) },
		"Flush":       func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush() },
		"controller":  func(w http.ResponseWriter, r *http.Request) { http.NewResponseController(w).Flush() },
		"early hints": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(103)
			w.Header().Del("Vary")
			w.WriteHeader(200)
		},
	} {
		c := &CORS{Origins: []string{"https://shop.example"}}
		srv := httptest.NewServer(c.Handler(f))
		req, err := http.NewRequest("GET", srv.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", "https://shop.example")
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		srv.Close()
		if resp.Header.Get("Access-Control-Allow-Origin") != "https://shop.example" || resp.Header.Get("Vary") != "Origin" {
			t.Errorf("%s: got %v", name, resp.Header)
		}
	}
}

// Who may measure can be a list apart from who may read.
func TestTimingOrigins(t *testing.T) {
	for _, test := range []struct {
		name               string
		cors               CORS
		origin             string
		allow, timing, who string // Access-Control-Allow-Origin, Timing-Allow-Origin and Vary
	}{
		{"as Origins", CORS{Origins: []string{"https://a.example"}}, "https://a.example", "https://a.example", "https://a.example", "Origin"},
		{"none", CORS{Origins: []string{"*"}, TimingOrigins: []string{}}, "https://a.example", "*", "", ""},
		{"everybody", CORS{Origins: []string{"https://a.example"}, TimingOrigins: []string{"*"}}, "https://b.example", "", "*", "Origin"},
		{"some of all", CORS{Origins: []string{"*"}, TimingOrigins: []string{"https://*.a.example"}}, "https://x.a.example", "*", "https://x.a.example", "Origin"},
		{"others of all", CORS{Origins: []string{"*"}, TimingOrigins: []string{"https://*.a.example"}}, "https://a.example", "*", "", "Origin"},
		{"alone", CORS{TimingOrigins: []string{"*"}}, "", "", "*", ""},
		{"nobody", CORS{TimingOrigins: []string{}}, "https://a.example", "", "upstream", ""},
	} {
		h := test.cors.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Timing-Allow-Origin", "upstream")
		}))
		r := httptest.NewRequest(http.MethodGet, "/cat.jpg", nil)
		if test.origin != "" {
			r.Header.Set("Origin", test.origin)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		got := w.Header()
		if got.Get("Access-Control-Allow-Origin") != test.allow || got.Get("Timing-Allow-Origin") != test.timing || got.Get("Vary") != test.who {
			t.Errorf("%s: %v", test.name, got)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a bad entry does not panic")
		}
	}()
	(&CORS{TimingOrigins: []string{"a.example"}}).Handler(http.NotFoundHandler())
}
