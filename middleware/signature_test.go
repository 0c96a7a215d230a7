package middleware

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

const testKey = "secret-key-of-32-bytes-0123456789"

func keys(list ...string) [][]byte {
	var b [][]byte
	for _, key := range list {
		b = append(b, []byte(key))
	}
	return b
}

// The values are those of another implementation:
//
//	printf %s "$uri" | openssl dgst -sha256 -hmac secret-key-of-32-bytes-0123456789 -binary | basenc --base64url | tr -d =
func TestSign(t *testing.T) {
	for _, test := range []struct{ uri, want string }{
		{"/img/photos/cat.jpg?w=400", "/img/photos/cat.jpg?w=400&s=5mV25YSBhUeIGNf57ndrNHAD9BoSo3aROH5zlNdpboU"},
		{"/img/photos/cat.jpg", "/img/photos/cat.jpg?s=lRSRNKkhxFpyrqZWgSK_iSsLWlMYw65d3q3K71RsylI"},
		{"/img/photos/cat.jpg?h=2&w=1", "/img/photos/cat.jpg?h=2&w=1&s=A2Rs6fSOTxvVEk4z2SpIA7So9QUfUJgKbGJoHbv54kQ"},
		{"/img/photos/cat.jpg?w=1&h=2", "/img/photos/cat.jpg?w=1&h=2&s=3fOvI68uKhhEwdvvZ4SQUugTEeSoRohJY2bttrni9WE"},
		{"/st%C3%B6ked%20a+b.png?txt=a+b%20c!&x", "/st%C3%B6ked%20a+b.png?txt=a+b%20c!&x&s=V9KgfgfgHetJkqN06wvNvVvwU8X1RjzxjJ5mRsIEEP4"},
		{"/a?", "/a?&s=8NALCj7jCOTP8nquGbDPD641uOxlNPYFYGdNuQjlmes"},
		{"/", "/?s=fsivgZxfzL3cq0GilyC91zq6CVLwsiWzZziHs3esAUc"},

		// A signature that is there is replaced; a fragment is not part of the request.
		{"/img/photos/cat.jpg?s=old&w=400", "/img/photos/cat.jpg?w=400&s=5mV25YSBhUeIGNf57ndrNHAD9BoSo3aROH5zlNdpboU"},
		{"/img/photos/cat.jpg?s=old&%73=older", "/img/photos/cat.jpg?s=lRSRNKkhxFpyrqZWgSK_iSsLWlMYw65d3q3K71RsylI"},
		{"/img/photos/cat.jpg?w=400#eye", "/img/photos/cat.jpg?w=400&s=5mV25YSBhUeIGNf57ndrNHAD9BoSo3aROH5zlNdpboU#eye"},
	} {
		s := &Signature{Keys: keys(testKey, "another-key-of-bytes")}
		got := s.Sign(test.uri)
		if got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.uri, got, test.want)
		}
		if err := s.Check(httptest.NewRequest("GET", strings.TrimSuffix(got, "#eye"), nil)); err != nil {
			t.Errorf("%s: %v", got, err)
		}
	}
}

func TestSignatureCheck(t *testing.T) {
	const (
		good = "5mV25YSBhUeIGNf57ndrNHAD9BoSo3aROH5zlNdpboU" // of /img/photos/cat.jpg?w=400
		bare = "lRSRNKkhxFpyrqZWgSK_iSsLWlMYw65d3q3K71RsylI" // of /img/photos/cat.jpg
		// printf %s '/cat.jpg?w=1' | openssl dgst -sha256 -hmac key-1-of-16-bytes …, and key-2-of-16-bytes
		k1 = "T1DXccbdkY_2hu7eu76NNd9wtssBCyrADjeyJ0rHPDk"
		k2 = "mRAiO81VQjlT79lz6q2Fi7I4U3GQyUk0a7-EuKMcAxQ"
	)
	std := Signature{Keys: keys(testKey)}
	for _, test := range []struct {
		name string
		s    Signature
		uri  string
		want error
	}{
		{"last", std, "/img/photos/cat.jpg?w=400&s=" + good, nil},
		{"alone", std, "/img/photos/cat.jpg?s=" + bare, nil},
		{"absolute form", std, "http://img.example/img/photos/cat.jpg?w=400&s=" + good, nil},

		{"first", std, "/img/photos/cat.jpg?s=" + good + "&w=400", errNotLast},
		{"in the middle", std, "/img/photos/cat.jpg?w=4&s=" + good + "&h=2", errNotLast},
		{"an old one that somebody appended to", std, "/img/photos/cat.jpg?s=" + bare + "&w=400", errNotLast},
		{"followed by nothing", std, "/img/photos/cat.jpg?w=400&s=" + good + "&", errNotLast},
		{"in base64", std, "/img/photos/cat.jpg?w=400&s64=" + base64.RawURLEncoding.EncodeToString([]byte(good)), errNoSign},
		{"in upper case", std, "/img/photos/cat.jpg?w=400&s=" + strings.ToUpper(good), errBadSign},
		{"a longer one", std, "/img/photos/cat.jpg?w=400&s=" + good + "A", errBadSign},
		{"with escapes in it", std, "/img/photos/cat.jpg?w=400&s=%35" + good[1:], errBadSign},
		{"two slashes", std, "//img/photos/cat.jpg?w=400&s=" + good, errBadSign},
		{"not signed", std, "/img/photos/cat.jpg?w=400", errNoSign},
		{"no query", std, "/img/photos/cat.jpg", errNoSign},
		{"twice", std, "/img/photos/cat.jpg?w=400&s=" + good + "&s=" + good, errManySign},
		{"twice, one with escapes", std, "/img/photos/cat.jpg?w=400&s=" + good + "&%73=x", errManySign},
		{"with escapes", std, "/img/photos/cat.jpg?w=400&%73=" + good, errBadSign},
		{"no value", std, "/img/photos/cat.jpg?w=400&s", errBadSign},
		{"empty", std, "/img/photos/cat.jpg?w=400&s=", errBadSign},
		{"another query", std, "/img/photos/cat.jpg?w=401&s=" + good, errBadSign},
		{"a parameter more", std, "/img/photos/cat.jpg?w=400&s=" + good + "&h=1", errNotLast},
		{"a parameter more before it", std, "/img/photos/cat.jpg?w=400&h=1&s=" + good, errBadSign},
		{"a parameter less", std, "/img/photos/cat.jpg?s=" + good, errBadSign},
		{"an empty parameter more", std, "/img/photos/cat.jpg?w=400&&s=" + good, errBadSign},
		{"another path", std, "/img/photos/dog.jpg?w=400&s=" + good, errBadSign},
		{"another spelling of the path", std, "/img/photos/%63at.jpg?w=400&s=" + good, errBadSign},
		{"another spelling of the query", std, "/img/photos/cat.jpg?w=40%30&s=" + good, errBadSign},
		{"a padded signature", std, "/img/photos/cat.jpg?w=400&s=" + good + "=", errBadSign},
		{"another spelling of the same bytes", std, "/img/photos/cat.jpg?w=400&s=" + good[:42] + "V", errBadSign},
		{"half a signature", std, "/img/photos/cat.jpg?w=400&s=" + good[:21], errBadSign},
		{"another name", std, "/img/photos/cat.jpg?w=400&S=" + good, errNoSign},
		{"a question mark more", std, "/img/photos/cat.jpg?&s=" + bare, errBadSign},

		{"first key", Signature{Keys: keys("key-1-of-16-bytes", "key-2-of-16-bytes")}, "/cat.jpg?w=1&s=" + k1, nil},
		{"second key", Signature{Keys: keys("key-1-of-16-bytes", "key-2-of-16-bytes")}, "/cat.jpg?w=1&s=" + k2, nil},
		{"a key taken out", Signature{Keys: keys("key-2-of-16-bytes")}, "/cat.jpg?w=1&s=" + k1, errBadSign},

		{"another name, configured", Signature{Keys: keys("key-1-of-16-bytes"), Param: "sig"}, "/cat.jpg?w=1&sig=" + k1, nil},
		{"then s is an ordinary one", Signature{Keys: keys("key-1-of-16-bytes"), Param: "sig"}, "/cat.jpg?w=1&s=" + k1, errNoSign},

		{"a prefix cut off in front", Signature{Keys: keys(testKey), Prefix: "/img"}, "/photos/cat.jpg?w=400&s=" + good, nil},
		{"a prefix that was not", Signature{Keys: keys(testKey), Prefix: "/img"}, "/img/photos/cat.jpg?w=400&s=" + good, errBadSign},

		{"no keys", Signature{}, "/img/photos/cat.jpg?w=400&s=" + good, errNoKey},
		{"no key in the keys", Signature{Keys: keys("", "")}, "/img/photos/cat.jpg?w=400&s=" + sum(nil, "/img/photos/cat.jpg?w=400"), errShortKey},
		{"an empty key beside another", Signature{Keys: keys(testKey, "")}, "/img/photos/cat.jpg?w=400&s=" + good, errShortKey},
		{"a key of 15 bytes", Signature{Keys: keys(testKey[:15])}, "/img/photos/cat.jpg?w=400&s=" + sum([]byte(testKey[:15]), "/img/photos/cat.jpg?w=400"), errShortKey},
		{"a key of 16 bytes", Signature{Keys: keys(testKey[:16])}, "/img/photos/cat.jpg?w=400&s=" + sum([]byte(testKey[:16]), "/img/photos/cat.jpg?w=400"), nil},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			err := test.s.Check(httptest.NewRequest(method, test.uri, nil))
			if err != test.want {
				t.Errorf("%s: %s %s: got %v, want %v", test.name, method, test.uri, err, test.want)
			}
			if err != nil && !errors.Is(err, ErrSignature) {
				t.Errorf("%s: %v is not ErrSignature", test.name, err)
			}
		}
	}
}

func TestSignWithoutKeyPanics(t *testing.T) {
	for _, s := range []*Signature{{}, {Keys: keys("")}, {Keys: keys("", testKey)}, {Keys: keys(testKey, "short")}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%v: no panic", s.Keys)
				}
			}()
			s.Sign("/cat.jpg")
		}()
	}
}

// A URL that was changed between the server and the check is not the one that was signed.
func TestSignatureOfARewrittenURL(t *testing.T) {
	s := &Signature{Keys: keys(testKey)}
	for _, test := range []struct {
		name   string
		change func(*http.Request)
		want   error
	}{
		{"not changed", func(*http.Request) {}, nil},
		{"prefix cut off", func(r *http.Request) { r.URL.Path = "/cat 1.jpg" }, nil},
		{"another path", func(r *http.Request) { r.URL.Path = "/dog.jpg" }, errRewritten},
		{"another spelling", func(r *http.Request) { r.URL.RawPath = "/img/c%61t%201.jpg" }, errRewritten},
		{"a parameter more", func(r *http.Request) { r.URL.RawQuery += "&h=1" }, errRewritten},
		{"no query", func(r *http.Request) { r.URL.RawQuery = "" }, errRewritten},
	} {
		r := httptest.NewRequest("GET", s.Sign("/img/cat%201.jpg?w=400"), nil)
		test.change(r)
		if err := s.Check(r); err != test.want {
			t.Errorf("%s: got %v, want %v", test.name, err, test.want)
		}
	}
}

func TestSignatureHandler(t *testing.T) {
	s := &Signature{Keys: keys(testKey)}
	var got *http.Request
	images := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got = r })
	inside := http.NewServeMux()
	inside.Handle("/img/", http.StripPrefix("/img", s.Handler(images)))
	outside := http.NewServeMux()
	outside.Handle("/img/", s.Handler(http.StripPrefix("/img", images)))
	for name, test := range map[string]struct {
		h    http.Handler
		path string
	}{
		"alone":              {s.Handler(images), "/img/a b.jpg"},
		"inside StripPrefix": {inside, "/a b.jpg"},
		"outside":            {outside, "/a b.jpg"},
	} {
		for _, query := range []struct{ signed, want string }{
			{"", ""},
			{"?", "?"},
			{"?w=400&txt=a+b%20c", "?w=400&txt=a+b%20c"},
		} {
			got = nil
			r := httptest.NewRequest("GET", s.Sign("/img/a%20b.jpg"+query.signed), nil)
			r.ParseForm()
			uri, before := r.RequestURI, r.URL.String()
			w := httptest.NewRecorder()
			test.h.ServeHTTP(w, r)
			if got == nil {
				t.Fatalf("%s: %q: got %d", name, query.signed, w.Code)
			}
			want := strings.TrimPrefix(query.want, "?")
			got.ParseForm()
			if got.URL.Path != test.path || got.URL.RawQuery != want || got.RequestURI != "/img/a%20b.jpg"+query.want || got.Form.Has("s") {
				t.Errorf("%s: %q: h got %s, RequestURI %s, form %v", name, query.signed, got.URL, got.RequestURI, got.Form)
			}
			if reparsed, err := url.ParseRequestURI(got.RequestURI); err != nil || reparsed.ForceQuery != got.URL.ForceQuery {
				t.Errorf("%s: %q: URL %+v is not that of RequestURI %s", name, query.signed, got.URL, got.RequestURI)
			}
			if r.RequestURI != uri || r.URL.String() != before || !r.Form.Has("s") {
				t.Errorf("%s: the caller's request was changed", name)
			}
		}
	}

	got = nil
	for _, method := range []string{"GET", "HEAD", "POST"} {
		for name, s := range map[string]*Signature{"no signature": s, "no keys": {}} {
			w := httptest.NewRecorder()
			s.Handler(images).ServeHTTP(w, httptest.NewRequest(method, "/img/cat.jpg", nil))
			body, _ := io.ReadAll(w.Body)
			if w.Code != 403 || w.Header().Get("Cache-Control") != "no-store" || strings.Count(string(body), "\n") != 1 || got != nil {
				t.Errorf("%s %s: got %d %q, header %v", method, name, w.Code, body, w.Header())
			}
		}
	}
}

func FuzzSignature(f *testing.F) {
	f.Add("/cat.jpg?w=400", uint(3), byte(1))
	f.Add("/st%C3%B6ked a+b.png?txt=%20!&&s=1&x", uint(30), byte(0x20))
	f.Add("/?", uint(0), byte(0xff))
	f.Add("/a?s", uint(4), byte('s'^'t'))
	s := &Signature{Keys: keys(testKey)}
	request := func(uri string) *http.Request {
		u, err := url.ParseRequestURI(uri)
		if err != nil || u.Host != "" || strings.ContainsAny(uri, "#") {
			return nil
		}
		return &http.Request{Method: "GET", URL: u, RequestURI: uri}
	}
	f.Fuzz(func(t *testing.T, uri string, at uint, flip byte) {
		if !strings.HasPrefix(uri, "/") || request(uri) == nil {
			t.Skip()
		}
		signed := s.Sign(uri)
		r := request(signed)
		if r == nil {
			t.Fatalf("%q, signed from %q, is not a URL", signed, uri)
		}
		if err := s.Check(r); err != nil {
			t.Fatalf("%q: %v", signed, err)
		}
		if again := s.Sign(signed); again != signed {
			t.Errorf("signed twice, %q became %q", signed, again)
		}
		bare, cut := cutParam(signed, "s")
		if original, were := cutParam(uri, "s"); len(cut) != 1 || bare != original || len(were) == 0 && bare != uri {
			t.Errorf("%q without its signature is %q, want %q", signed, bare, uri)
		}

		if flip == 0 {
			return
		}
		b := []byte(signed)
		b[at%uint(len(b))] ^= flip
		if r := request(string(b)); r != nil && s.Check(r) == nil {
			t.Errorf("%q is let through, for %q", b, signed)
		}
	})
}
