package middleware

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ErrExpired is what an error is that says that a URL was signed for a time that is over.
var ErrExpired = errors.New("the URL has expired")

var errExpires = fmt.Errorf("%w: expires is not a time in seconds since 1970", ErrSignature)

// Until returns a URL that ends at t, to be signed: with the parameter "expires", of whole seconds since 1970, at the end
// of its query, in place of one that is there already.
//
//	src := sign.Sign(middleware.Until("/img/photos/cat.jpg?w=400", time.Now().Add(time.Hour)))
//
// From t on, such a URL is answered 404, as imgix does. The parameter does not tell two pictures apart: URLs of all times share
// what is kept of one. An imagecdn.Handler sees to it that nobody downstream keeps it for longer; other handlers have
// to do so themselves.
func Until(rawPathAndQuery string, t time.Time) string {
	uri, fragment := cutFragment(rawPathAndQuery)
	uri, _ = cutParam(uri, "expires")
	return addParam(uri, "expires", strconv.FormatInt(t.Unix(), 10)) + fragment
}

// checkExpires returns an error if a URL whose signature is right has ended. It looks at every expires, and at
// expires64, which imgix has too, so that it does not matter which of them the handler that follows goes by.
func checkExpires(uri string) error {
	_, query, _ := strings.Cut(uri, "?")
	if !strings.Contains(query, "expires") && !strings.Contains(query, "%") {
		return nil
	}
	for param := range strings.SplitSeq(query, "&") {
		encoded := isParam(param, "expires64")
		if !encoded && !isParam(param, "expires") {
			continue
		}
		_, value, _ := strings.Cut(param, "=")
		value, err := url.QueryUnescape(value)
		if err != nil {
			return errExpires
		}
		if encoded {
			b, err := base64.RawURLEncoding.Strict().DecodeString(value)
			if err != nil {
				return errExpires
			}
			value = string(b)
		}
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds < 1 || seconds > 253402300799 { // the last second that RFC 3339 can write
			return errExpires
		}
		if !time.Now().Before(time.Unix(seconds, 0)) {
			return ErrExpired
		}
	}
	return nil
}
