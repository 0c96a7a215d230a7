package middleware

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// ErrSignature is what an error is that says that a URL was not signed, or not by the holder of a key.
var ErrSignature = errors.New("signature refused")

var (
	errNoKey     = fmt.Errorf("%w: no key is configured", ErrSignature)
	errShortKey  = fmt.Errorf("%w: a key that is configured is too short", ErrSignature)
	errLength    = fmt.Errorf("%w: the length that is configured is not 6 to 40", ErrSignature)
	errNoSign    = fmt.Errorf("%w: the URL is not signed", ErrSignature)
	errManySign  = fmt.Errorf("%w: the URL has more than one signature", ErrSignature)
	errNotLast   = fmt.Errorf("%w: the signature is not the last parameter", ErrSignature)
	errBadSign   = fmt.Errorf("%w: the signature is not that of this URL", ErrSignature)
	errRewritten = fmt.Errorf("%w: the URL was changed on its way here", ErrSignature)
)

// MinKey is the least number of bytes of a key of [Signature].
const MinKey = 16

// A Signature lets only those URLs through that somebody with a key has made, so that nobody else can ask
// for a million sizes of a picture.
//
// The signature is the last parameter of the query, "s" by default:
//
//	/img/photos/cat.jpg?w=400&s=5mV25YSBhUeIGNf57ndrNHAD9BoSo3aROH5zlNdpboU
//
// Its value is the HMAC-SHA256 (RFC 2104), in unpadded base64url (RFC 4648 section 5), of the path and the query as
// they are on the wire, with that one parameter cut out. Nothing is decoded, encoded again, or sorted: "%20" and "+",
// or "w=1&h=2" and "h=2&w=1", are different URLs. It must be there once, at the end, spelled as it is, so what is let
// through is byte for byte what [Signature.Sign] returns; parameters that somebody appends to a signed URL make it another.
// In a shell:
//
//	printf %s '/img/photos/cat.jpg?w=400' | openssl dgst -sha256 -hmac "$KEY" -binary | basenc --base64url | tr -d =
//
// A parameter "expires", the seconds since 1970 of when the URL ends, is signed with the rest: see [Until].
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
// A signature says that a URL was made by the holder of a key. It does not say for whom: who has the URL may
// share it. The host is not signed, so programs with different images need different keys.
// Before Signature, handlers may cut a prefix off the path; a URL that was changed in another way is refused. After it,
// nothing may choose the image by what is not signed, such as a header.
// A CDN in front must have the whole query in its cache key, or it will answer unsigned URLs with what
// it keeps. Keys are random bytes, 32 of them; one that is a word can be guessed from any signed URL.
//
// The zero value refuses every request.
type Signature struct {
	// Keys are the secrets, of at least [MinKey] bytes. The first signs, and all verify: to rotate, put the new key first,
	// and take the old one out when the URLs it signed are gone. A key that is shorter, or empty, is a mistake, and every
	// request is refused until it is mended. Zero means that every request is refused.
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

// configured returns an error if the keys verify nothing.
func (s *Signature) configured() error {
	if len(s.Keys) == 0 {
		return errNoKey
	}
	for _, key := range s.Keys {
		if len(key) < MinKey {
			return errShortKey
		}
	}
	return nil
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
// Sign panics if the keys are such that every request is refused: a URL that nobody can open helps no one.
func (s *Signature) Sign(rawPathAndQuery string) string {
	if err := s.configured(); err != nil {
		panic("middleware: Signature.Sign: " + err.Error())
	}
	uri, fragment := cutFragment(rawPathAndQuery)
	uri, _ = cutParam(uri, s.param())
	return addParam(uri, s.param(), sum(s.Keys[0], uri)) + fragment
}

// Check returns nil if the request's URL has the signature of one of the keys and has not expired, and else an error that
// is [ErrSignature] or [ErrExpired]. The method makes no difference.
func (s *Signature) Check(r *http.Request) error {
	_, err := s.verify(r)
	return err
}

// verify returns what was signed.
func (s *Signature) verify(r *http.Request) (rest string, err error) {
	if err := s.configured(); err != nil {
		return "", err
	}
	uri, err := sent(r)
	if err != nil {
		return "", err
	}
	rest, given, err := theLastSignature(uri, s.param())
	if err != nil {
		return "", err
	}
	for _, key := range s.Keys {
		// Encoded values are compared, as base64 has several spellings of the same 32 bytes.
		if hmac.Equal([]byte(given), []byte(sum(key, s.Prefix+rest))) {
			return rest, checkExpires(rest)
		}
	}
	return "", errBadSign
}

// Handler returns a handler that passes on to h the requests that Check lets through:
//
//  1. A request that Check refuses is answered with 403, or 404 if it has expired, one line of text and Cache-Control: no-store.
//  2. The signature is cut from URL.RawQuery and RequestURI, in a copy of the request that has no Form parsed. So h sees
//     the same request whoever signed it, and keys of caches do not change when the secrets do.
func (s *Signature) Handler(h http.Handler) http.Handler {
	return verified(h, s.verify)
}

// verified returns a handler that passes requests on with the query of what verify returns of them.
func verified(h http.Handler, verify func(*http.Request) (string, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, err := verify(r)
		if err != nil {
			refuse(w, err)
			return
		}
		_, query, force := strings.Cut(rest, "?")
		h.ServeHTTP(w, withQuery(r, query, force))
	})
}

// refuse answers with an error: one line of text that nobody is to keep.
func refuse(w http.ResponseWriter, err error) {
	status := http.StatusForbidden
	if errors.Is(err, ErrExpired) {
		status = http.StatusNotFound
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox") // the line may quote the URL
	http.Error(w, err.Error(), status)
}
