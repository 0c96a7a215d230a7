package middleware

import (
	"net/url"
	"strings"
)

// A query is handled here as it is on the wire: parameters between ampersands, never decoded and encoded again.

// isParam reports whether one parameter of a raw query has the given name, also spelled with escapes (%73 for s).
func isParam(param, name string) bool {
	key, _, _ := strings.Cut(param, "=")
	if key == name {
		return true
	}
	if !strings.ContainsAny(key, "%+") {
		return false
	}
	key, err := url.QueryUnescape(key)
	return err == nil && key == name
}

// cutParam returns a raw path and query without the parameters of the given name, and what those were. The
// question mark goes with the last parameter: "/a?s=1" becomes "/a", and "/a?&s=1" becomes "/a?".
func cutParam(uri, name string) (rest string, cut []string) {
	path, query, ok := strings.Cut(uri, "?")
	if !ok {
		return uri, nil
	}
	query, cut, any := cutQuery(query, name)
	if !any {
		return path, cut
	}
	return path + "?" + query, cut
}

// cutQuery is cutParam for a raw query alone. any reports whether parameters remain, be it an empty one.
func cutQuery(query, name string) (rest string, cut []string, any bool) {
	var kept []string
	for param := range strings.SplitSeq(query, "&") {
		if isParam(param, name) {
			cut = append(cut, param)
		} else {
			kept = append(kept, param)
		}
	}
	return strings.Join(kept, "&"), cut, len(kept) > 0
}
