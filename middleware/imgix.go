package middleware

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"net/http"
	"strings"
)

// An ImgixSignature lets through the URLs that imgix's libraries sign, for who comes from there and has URLs out, or
// clients that make them:
//
//	/users/1.png?w=400&h=300&s=c7b86f666a832434dd38577e38cf86d1
//
// The parameter "s" is the last, and its value the MD5, in lower-case hexadecimal, of the token, the path and, if there is
// one, the question mark and the query, as they are on the wire, without that parameter. A path that was signed without its
// leading slash is taken, too, as @imgix/js-core can sign one. A path that is a whole URL, encoded or not, is a path as any other.
// "expires" is as in [Signature].
//
// # Safe deployments
//
// What is said of [Signature] holds here. Beside that, the scheme is of its time: MD5 behind a secret, and not HMAC. Who has a signed URL
// can compute the signature of what begins with it and goes on with MD5's padding. Padding has NUL bytes in it, and so
// URLs with other bytes than visible ASCII are refused here, whether their signature is right or not. imgix's tokens are short: one signed
// URL is enough to try all words of a dictionary. New programs have Signature, and [AnyOf] lets both through meanwhile.
//
// The zero value refuses every request.
type ImgixSignature struct {
	// Tokens are the secrets. The first signs, and all verify. An empty one is a mistake, and every request is refused
	// until it is mended. Zero means that every request is refused.
	Tokens []string

	// Mount is the front of the path that those who sign do not know, such as "/img": imgix's libraries take a host, and
	// no path in it. Paths on the wire have to begin with it. It is cut off before the signature is looked at, and not from
	// the request. Zero means that the whole path is signed.
	Mount string
}

func (s *ImgixSignature) configured() error { return configured(s.Tokens) }

// configured returns an error if secrets verify nothing.
func configured(secrets []string) error {
	if len(secrets) == 0 {
		return errNoKey
	}
	for _, secret := range secrets {
		if secret == "" {
			return errShortKey
		}
	}
	return nil
}

func imgixSum(token, uri string) string {
	sum := md5.Sum([]byte(token + uri))
	return hex.EncodeToString(sum[:])
}

// Sign returns a URL with its signature as the last parameter of the query, in place of one that is there already. The
// URL is given as in [Signature.Sign], with Mount. Sign panics if that is not in it, or if the tokens are such that every
// request is refused.
func (s *ImgixSignature) Sign(rawPathAndQuery string) string {
	if err := s.configured(); err != nil {
		panic("middleware: ImgixSignature.Sign: " + err.Error())
	}
	uri, fragment := cutFragment(rawPathAndQuery)
	uri, _ = cutParam(uri, "s")
	message, ok := unmount(uri, s.Mount)
	if !ok {
		panic("middleware: ImgixSignature.Sign: the path does not begin with Mount and a slash")
	}
	return addParam(uri, "s", imgixSum(s.Tokens[0], message)) + fragment
}

// Check returns nil if the request's URL has the signature of one of the tokens and has not expired, and else an error that
// is [ErrSignature] or [ErrExpired]. The method makes no difference.
func (s *ImgixSignature) Check(r *http.Request) error {
	_, err := s.verify(r)
	return err
}

func (s *ImgixSignature) verify(r *http.Request) (rest string, err error) {
	if err := s.configured(); err != nil {
		return "", err
	}
	uri, err := sent(r)
	if err != nil {
		return "", err
	}
	rest, given, err := theLastSignature(uri, "s")
	if err != nil {
		return "", err
	}
	message, ok := unmount(rest, s.Mount)
	if !ok || !visible(message) {
		return "", errBadSign
	}
	for _, token := range s.Tokens {
		for _, message := range slashForms(message) {
			if hmac.Equal([]byte(given), []byte(imgixSum(token, message))) {
				return rest, checkExpires(rest)
			}
		}
	}
	return "", errBadSign
}

// slashForms returns what may have been signed of a path: the path itself, and without its leading slash. A second
// slash would make the latter the path of another image, and then it is left out: no text is a form of two paths.
func slashForms(path string) []string {
	if strings.HasPrefix(path, "//") {
		return []string{path}
	}
	return []string{path, path[1:]}
}

// Handler returns a handler that passes on to h the requests that Check lets through, without the signature: see
// [Signature.Handler].
func (s *ImgixSignature) Handler(h http.Handler) http.Handler {
	return verified(h, s.verify)
}
