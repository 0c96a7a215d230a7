package middleware

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

var (
	errSealed  = fmt.Errorf("%w: the URL is sealed, which is not taken here", ErrSignature)
	errSigned  = fmt.Errorf("%w: the URL is signed, and not sealed", ErrSignature)
	errBadSeal = fmt.Errorf("%w: what is sealed is no query", ErrSignature)
	errNoParam = fmt.Errorf("%w: a parameter beside the seal is empty or damaged", ErrSignature)
	errTwice   = fmt.Errorf("%w: a parameter that is sealed is given twice", ErrSignature)
)

// A CloudimageSignature lets through the URLs that Cloudimage's libraries sign, for who comes from there:
//
//	/v7/assets/image.jpg?ci_sign=84c81ef20852013046&w=200
//
// The value of "ci_sign" is the SHA-1, in lower-case hexadecimal and cut short, of the salt, the path without "/v7" and, if there
// is one, the question mark and the query, as they are on the wire, without that parameter. The parameter may stand anywhere,
// once, as the libraries sort the query when they have signed it. "expires" is as in [Signature], though Cloudimage has none.
//
// A URL that is sealed is refused: Cloudimage has one or the other for a token, and so has a program. [CloudimageSeal] is the other.
//
// # Safe deployments
//
// What is said of [Signature] and of [ImgixSignature] holds here, with SHA-1 in place of MD5. A signature of 18 digits has 72 bits, one of
// 6 is found in a few million requests. "/v7/cat.jpg" and "/cat.jpg" have one signature, and have to be one image.
//
// The zero value refuses every request.
type CloudimageSignature struct {
	// Salts are the secrets. The first signs, and all verify. An empty one is a mistake, and every request is refused
	// until it is mended. Zero means that every request is refused.
	Salts []string

	// MinLength is how many hexadecimal digits a signature has to have, from 6 to 40. Longer ones verify too, up to 40; Sign makes
	// them of this length. Zero means 18. With any other number every request is refused.
	MinLength int

	// Mount is the front of the path that those who sign do not know, before "/v7": see [ImgixSignature]. Zero means none.
	Mount string
}

func (s *CloudimageSignature) scheme() cloudimage {
	return cloudimage{s.Salts, cmp.Or(s.MinLength, 18), s.Mount}
}

// cloudimage is what signatures and seals have in common.
type cloudimage struct {
	salts  []string
	length int
	mount  string
}

func (c *cloudimage) configured() error {
	if c.length < 6 || c.length > 40 {
		return errLength
	}
	return configured(c.salts)
}

// signed returns the part of a URL that is signed.
func (c *cloudimage) signed(uri string) (rest string, ok bool) {
	rest, ok = unmount(uri, c.mount)
	if after, is := strings.CutPrefix(rest, "/v7"); is && strings.HasPrefix(after, "/") {
		rest = after
	}
	return rest, ok
}

// equal reports whether a signature is that of a message.
func (c *cloudimage) equal(given, message string) bool {
	return len(given) >= c.length && len(given) <= 2*sha1.Size && hmac.Equal([]byte(given), []byte(sha1Hex(message)[:len(given)]))
}

func sha1Hex(message string) string {
	sum := sha1.Sum([]byte(message))
	return hex.EncodeToString(sum[:])
}

// Sign returns a URL with its signature as the last parameter of the query, in place of one that is there already. The
// URL is given as in [Signature.Sign], with Mount, and with "/v7" or without. Sign panics if Mount is not in it, or if the settings are such
// that every request is refused.
func (s *CloudimageSignature) Sign(rawPathAndQuery string) string {
	c := s.scheme()
	if err := c.configured(); err != nil {
		panic("middleware: CloudimageSignature.Sign: " + err.Error())
	}
	uri, fragment := cutFragment(rawPathAndQuery)
	uri, _ = cutParam(uri, "ci_sign")
	message, ok := c.signed(uri)
	if !ok {
		panic("middleware: CloudimageSignature.Sign: the path does not begin with Mount and a slash")
	}
	return addParam(uri, "ci_sign", sha1Hex(c.salts[0] + message)[:c.length]) + fragment
}

// Check returns nil if the request's URL has the signature of one of the salts and has not expired, and else an error that
// is [ErrSignature] or [ErrExpired]. The method makes no difference.
func (s *CloudimageSignature) Check(r *http.Request) error {
	_, err := s.verify(r)
	return err
}

func (s *CloudimageSignature) verify(r *http.Request) (rest string, err error) {
	c := s.scheme()
	if err := c.configured(); err != nil {
		return "", err
	}
	uri, err := sent(r)
	if err != nil {
		return "", err
	}
	for _, name := range []string{"ci_seal", "ci_eqs"} {
		if _, cut := cutParam(uri, name); len(cut) > 0 {
			return "", errSealed
		}
	}
	rest, given, err := theSignature(uri, "ci_sign")
	if err != nil {
		return "", err
	}
	message, ok := c.signed(rest)
	if !ok || !visible(message) {
		return "", errBadSign
	}
	for _, salt := range c.salts {
		if c.equal(given, salt+message) {
			return rest, checkExpires(rest)
		}
	}
	return "", errBadSign
}

// Handler returns a handler that passes on to h the requests that Check lets through, without the signature: see
// [Signature.Handler]. "/v7" stays in the path.
func (s *CloudimageSignature) Handler(h http.Handler) http.Handler {
	return verified(h, s.verify)
}

// A CloudimageSeal lets through the URLs that Cloudimage's libraries seal. A seal fixes the image and some of the parameters;
// whoever has the URL may add others:
//
//	/v7/assets/image.jpg?ci_eqs=Ymx1cj0yMCZoPTMwMA&ci_seal=a49adc8f592ef99188&w=100
//
// The value of "ci_eqs" is the query that is sealed, here blur=20&h=300, in unpadded base64url; it is left out if nothing but the
// image is. The value of "ci_seal" is the SHA-1, in lower-case hexadecimal and cut short, of the path without "/v7", that of
// ci_eqs, and the salt. Both are there once, anywhere in the query. A path that was sealed without its leading slash is
// taken, too, as Cloudimage's documentation does it.
//
// A URL that gives a parameter again that is sealed, or twice inside the seal, is refused: under its own name, in base64 (w64 for w), or
// under the other name that Cloudimage has for it (width for w, bg_colour for bg_color). So the sealed one cannot be overridden.
//
// # Safe deployments
//
// What is said of [CloudimageSignature] holds here. Seal what costs: a URL that fixes w can still be had with a thousand values of
// h or dpr, unless an [Allow] that is inside of the seal knows better. Nothing stands between the path and ci_eqs where they are hashed,
// so letters can be moved from one to the other: an image whose name is that of another and more letters, with no dot between,
// can be had in its place.
//
// The zero value refuses every request.
type CloudimageSeal struct {
	// Salts are the secrets: see [CloudimageSignature]. Zero means that every request is refused.
	Salts []string

	// MinLength is how many hexadecimal digits a seal has to have: see [CloudimageSignature]. Zero means 18.
	MinLength int

	// Mount is the front of the path that those who seal do not know: see [CloudimageSignature]. Zero means none.
	Mount string
}

func (s *CloudimageSeal) scheme() cloudimage {
	return cloudimage{s.Salts, cmp.Or(s.MinLength, 18), s.Mount}
}

// Seal returns a URL whose parameters of the given names are sealed, and the others are not, in place of a seal that is there already.
// The URL is given as in [CloudimageSignature.Sign]. Seal panics where that does, and where names repeat.
func (s *CloudimageSeal) Seal(rawPathAndQuery string, names ...string) string {
	c := s.scheme()
	if err := c.configured(); err != nil {
		panic("middleware: CloudimageSeal.Seal: " + err.Error())
	}
	uri, fragment := cutFragment(rawPathAndQuery)
	for _, name := range []string{"ci_eqs", "ci_seal"} {
		uri, _ = cutParam(uri, name)
	}
	var sealed []string
	for _, name := range names {
		var cut []string
		uri, cut = cutParam(uri, name)
		sealed = append(sealed, cut...)
	}
	slices.Sort(sealed) // as the libraries do
	path, _, _ := strings.Cut(uri, "?")
	path, ok := c.signed(path)
	if !ok {
		panic("middleware: CloudimageSeal.Seal: the path does not begin with Mount and a slash")
	}
	eqs := base64.RawURLEncoding.EncodeToString([]byte(strings.Join(sealed, "&")))
	if eqs != "" {
		uri = addParam(uri, "ci_eqs", eqs)
	}
	uri = addParam(uri, "ci_seal", sha1Hex(path + eqs + c.salts[0])[:c.length])
	if _, err := unseal(uri); err != nil {
		panic("middleware: CloudimageSeal.Seal: " + err.Error())
	}
	return uri + fragment
}

// Check returns nil if the request's URL has the seal of one of the salts and has not expired, and else an error that
// is [ErrSignature] or [ErrExpired]. The method makes no difference.
func (s *CloudimageSeal) Check(r *http.Request) error {
	_, err := s.verify(r)
	return err
}

// verify returns the URL that was sealed, opened.
func (s *CloudimageSeal) verify(r *http.Request) (rest string, err error) {
	c := s.scheme()
	if err := c.configured(); err != nil {
		return "", err
	}
	uri, err := sent(r)
	if err != nil {
		return "", err
	}
	if _, cut := cutParam(uri, "ci_sign"); len(cut) > 0 {
		return "", errSigned
	}
	rest, given, err := theSignature(uri, "ci_seal")
	if err != nil {
		return "", err
	}
	rest, eqs, err := theSignature(rest, "ci_eqs")
	switch {
	case err == errNoSign:
		rest, _ = cutParam(uri, "ci_seal")
	case err != nil:
		return "", err
	case eqs == "":
		return "", errBadSeal // is left out where it is empty, so that there is one way to write it
	}
	path, _, _ := strings.Cut(rest, "?")
	path, ok := c.signed(path)
	if !ok || !visible(path) {
		return "", errBadSign
	}
	for _, salt := range c.salts {
		for _, path := range slashForms(path) {
			if !c.equal(given, path+eqs+salt) {
				continue
			}
			if rest, err = unseal(uri); err != nil {
				return "", err
			}
			return rest, checkExpires(rest)
		}
	}
	return "", errBadSign
}

// unseal returns a URL with what is sealed in place of the seal, before what is not.
func unseal(uri string) (string, error) {
	uri, _ = cutParam(uri, "ci_seal")
	uri, cut := cutParam(uri, "ci_eqs")
	names := make(map[string]bool)
	sealed := ""
	if len(cut) > 0 {
		b, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimPrefix(cut[0], "ci_eqs="))
		if sealed = string(b); err != nil || !visible(sealed) || strings.Contains(sealed, "#") {
			return "", errBadSeal
		}
		for param := range strings.SplitSeq(sealed, "&") {
			name, err := sealedName(param)
			switch {
			case err != nil, name == "", name == "ci_sign", name == "ci_seal", name == "ci_eqs":
				return "", errBadSeal
			case names[name]:
				return "", errTwice
			}
			names[name] = true
		}
	}
	path, free, any := strings.Cut(uri, "?")
	if any {
		for param := range strings.SplitSeq(free, "&") {
			switch name, err := sealedName(param); {
			case err != nil, name == "":
				return "", errNoParam
			case names[name]:
				return "", errTwice
			}
		}
	}
	switch {
	case sealed == "":
		return uri, nil
	case free == "":
		return path + "?" + sealed, nil
	}
	return path + "?" + sealed + "&" + free, nil
}

// sealedName returns the name of a parameter, one for all that Cloudimage has for it.
func sealedName(param string) (string, error) {
	name, _, _ := strings.Cut(param, "=")
	name, err := url.QueryUnescape(name)
	name = strings.TrimSuffix(name, "64")
	switch name {
	case "width":
		name = "w"
	case "height":
		name = "h"
	case "grey":
		name = "gray"
	case "pixellate":
		name = "pixelate"
	}
	name = strings.Replace(name, "colour", "color", 1)
	return strings.Replace(name, "colorise", "colorize", 1), err
}

// Handler returns a handler that passes on to h the requests that Check lets through. In place of the seal, the query has
// the parameters that are sealed, before the others: see [Signature.Handler].
func (s *CloudimageSeal) Handler(h http.Handler) http.Handler {
	return verified(h, s.verify)
}
