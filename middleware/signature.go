package middleware

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
)

// ErrSignature is what every error of [Signature.Check] is.
var ErrSignature = errors.New("signature refused")

var (
	errNoKey    = fmt.Errorf("%w: no key is configured", ErrSignature)
	errNoSign   = fmt.Errorf("%w: the URL is not signed", ErrSignature)
	errManySign = fmt.Errorf("%w: the URL has more than one signature", ErrSignature)
	errBadSign  = fmt.Errorf("%w: the signature is not that of this URL", ErrSignature)
)

// A Signature lets only those URLs through that somebody with a key has made, so that nobody else can ask
// for a million sizes of a picture.
//
// The signature is a parameter of the query, "s" by default:
//
//	/img/photos/cat.jpg?w=400&s=5mV25YSBhUeIGNf57ndrNHAD9BoSo3aROH5zlNdpboU
//
// Its value is the HMAC-SHA256 (RFC 2104), in unpadded base64url (RFC 4648 section 5), of the path and the query as
// they are on the wire, with that one parameter cut out. Nothing is decoded, encoded again, or sorted: "%20" and "+",
// or "w=1&h=2" and "h=2&w=1", are different URLs. The parameter may stand anywhere in the query, because some
// clients append to a URL that is signed already; it must be there once, spelled as it is. In a shell:
//
//	printf %s '/img/photos/cat.jpg?w=400' | openssl dgst -sha256 -hmac "$KEY" -binary | basenc --base64url | tr -d =
//
// # What is signed behind a prefix
//
// What is signed is the path that the browser asks for, which is what the server gets in Request.RequestURI.
// [http.StripPrefix] and the patterns of an [http.ServeMux] leave it as it is, so it makes no difference whether
// Signature is inside or outside of them. Where something in front of the server cuts a prefix off (a proxy that makes
// "/cat.jpg" out of "/img/cat.jpg"), Prefix puts it back. Where something in front rewrites URLs in another way,
// adds parameters or normalizes escapes, signatures do not match, and requests are refused.
//
// # Safe deployments
//
// A signature says that a URL was made by the holder of a key. It does not say for whom, or for how long: who
// has the URL may share it. The host is not signed, so programs with different images need different keys.
// Before Signature, handlers may cut a prefix off the path; a URL that was changed in another way is refused. After it,
// nothing may choose the image by what is not signed, such as a header.
// A CDN in front must have the whole query in its cache key, or it will answer unsigned URLs with what
// it keeps. Keys are random bytes, 32 of them; one that is a word can be guessed from any signed URL.
//
// The zero value refuses every request.
type Signature struct {
	// Keys are the secrets. The first signs, and all verify: to rotate, put the new key first, and take the
	// old one out when the URLs it signed are gone. Empty keys never verify.
	// Zero means that every request is refused.
	Keys [][]byte

	// Param is the name of the parameter. Zero means "s".
	Param string

	// Prefix is what was cut from the front of the path before the request came to this server, such as "/img".
	// Zero means nothing. It is not for http.StripPrefix, which needs none.
	Prefix string
}

func (s *Signature) param() string {
	if s.Param == "" {
		return "s"
	}
	return s.Param
}

func sum(key []byte, message string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(message))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// Sign returns a URL with its signature as the last parameter of the query, in place of one that is there already.
// The URL is given as the browser will send it: a path that begins with a slash, with the prefix if there is one,
// percent-encoded, and the query, such as [net/url.URL.RequestURI] returns. A fragment stays at the end, unsigned.
//
// Sign panics if there is no first key, or if it is empty: a URL that nobody can open helps no one.
func (s *Signature) Sign(rawPathAndQuery string) string {
	if len(s.Keys) == 0 || len(s.Keys[0]) == 0 {
		panic("middleware: Signature.Sign: Signature.Keys has no first key")
	}
	uri, fragment, hash := strings.Cut(rawPathAndQuery, "#")
	uri, _ = cutParam(uri, s.param())
	separator := "?"
	if strings.Contains(uri, "?") {
		separator = "&"
	}
	signed := uri + separator + s.param() + "=" + sum(s.Keys[0], uri)
	if hash {
		signed += "#" + fragment
	}
	return signed
}

// Check returns nil if the request's URL has the signature of one of the keys, and else an error that is
// [ErrSignature]. The method makes no difference.
func (s *Signature) Check(r *http.Request) error {
	keys := 0
	for _, key := range s.Keys {
		if len(key) > 0 {
			keys++
		}
	}
	if keys == 0 {
		return errNoKey
	}
	name := s.param()
	uri, cut := cutParam(requestURI(r), name)
	switch {
	case len(cut) == 0:
		return errNoSign
	case len(cut) > 1:
		return errManySign
	}
	given, ok := strings.CutPrefix(cut[0], name+"=")
	if !ok { // spelled with escapes, or with no value
		return errBadSign
	}
	if !sameURL(r.URL, uri, name) {
		return errBadSign
	}
	for _, key := range s.Keys {
		// Encoded values are compared, as base64 has several spellings of the same 32 bytes.
		if len(key) > 0 && hmac.Equal([]byte(given), []byte(sum(key, s.Prefix+uri))) {
			return nil
		}
	}
	return errBadSign
}

// requestURI returns the path and query as they were sent. A request that was sent to no server has its URL's.
func requestURI(r *http.Request) string {
	uri := r.RequestURI
	if uri == "" {
		return r.URL.RequestURI()
	}
	if uri[0] == '/' {
		return uri
	}
	// The absolute form (RFC 9112 section 3.2.2), for which servers must be ready: "http://host/path".
	if i := strings.Index(uri, "://"); i >= 0 {
		if j := strings.IndexAny(uri[i+3:], "/?"); j >= 0 {
			return uri[i+3+j:]
		}
	}
	return uri
}

// sameURL reports whether u, which the handlers that follow go by, is what was signed: the same query, and the same
// path but for a prefix that has been cut off on the way here.
func sameURL(u *url.URL, uri, param string) bool {
	path, query, _ := strings.Cut(uri, "?")
	path, err := url.PathUnescape(path)
	if err != nil || !strings.HasSuffix(path, u.Path) {
		return false
	}
	rest, _, _ := cutQuery(u.RawQuery, param)
	return rest == query
}

// Handler returns a handler that passes on to h the requests that Check lets through:
//
//  1. A request that Check refuses is answered with 403, one line of text and Cache-Control: no-store.
//  2. The signature is cut from URL.RawQuery, RequestURI and, if it was parsed, Form, in a copy of the request. So h
//     sees the same request whoever signed it, and keys of caches do not change when the secrets do.
func (s *Signature) Handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.Check(r); err != nil {
			w.Header().Set("Cache-Control", "no-store")
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		name := s.param()
		inner := new(http.Request)
		*inner = *r
		u := *r.URL
		u.RawQuery, _, u.ForceQuery = cutQuery(u.RawQuery, name)
		u.ForceQuery = u.ForceQuery && u.RawQuery == ""
		inner.URL = &u
		inner.RequestURI, _ = cutParam(r.RequestURI, name)
		if r.Form != nil {
			inner.Form = maps.Clone(r.Form)
			delete(inner.Form, name)
		}
		h.ServeHTTP(w, inner)
	})
}
