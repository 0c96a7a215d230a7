package middleware

import (
	"net/http"
	"net/url"
	"strings"
)

// A URL is handled here as it is on the wire: a path, and parameters between ampersands, never decoded and encoded again.

// sent returns the path and query that the request was sent with. It refuses a request whose URL, by which the handlers
// that follow go, is another one: only a prefix of the path may have been cut off on the way here.
func sent(r *http.Request) (uri string, err error) {
	uri = requestURI(r)
	path, query, _ := strings.Cut(uri, "?")
	if !strings.HasPrefix(path, "/") || query != r.URL.RawQuery {
		return "", errRewritten
	}
	given := r.URL.EscapedPath()
	if strings.HasSuffix(path, given) {
		return uri, nil
	}
	// EscapedPath has escaped what clients should have.
	if u, err := url.ParseRequestURI(path); err != nil || !strings.HasSuffix(u.EscapedPath(), given) {
		return "", errRewritten
	}
	return uri, nil
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

// withQuery returns a copy of r with another query. force is for the question mark of an empty one. A form that was parsed
// has the parameters of before: it is parsed anew by the handler that wants it.
func withQuery(r *http.Request, query string, force bool) *http.Request {
	inner := new(http.Request)
	*inner = *r
	u := *r.URL
	u.RawQuery, u.ForceQuery = query, force && query == ""
	inner.URL, inner.Form = &u, nil
	if r.RequestURI != "" {
		inner.RequestURI, _, _ = strings.Cut(r.RequestURI, "?")
		if force {
			inner.RequestURI += "?" + query
		}
	}
	return inner
}

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

// addParam appends a parameter to a raw path and query. cutParam undoes it.
func addParam(uri, name, value string) string {
	separator := "?"
	if strings.Contains(uri, "?") {
		separator = "&"
	}
	return uri + separator + name + "=" + value
}

// theSignature returns the value of the one parameter of the given name, and the rest of the URL. It is an error for
// there to be none or several, or for its name to be spelled with escapes.
func theSignature(uri, name string) (rest, value string, err error) {
	rest, cut := cutParam(uri, name)
	switch {
	case len(cut) == 0:
		return "", "", errNoSign
	case len(cut) > 1:
		return "", "", errManySign
	}
	value, ok := strings.CutPrefix(cut[0], name+"=")
	if !ok {
		return "", "", errBadSign
	}
	return rest, value, nil
}

// theLastSignature is theSignature for a parameter that has to be the last.
func theLastSignature(uri, name string) (rest, value string, err error) {
	rest, value, err = theSignature(uri, name)
	if err == nil && addParam(rest, name, value) != uri {
		return "", "", errNotLast
	}
	return rest, value, err
}

// cutFragment returns a URL without its fragment, and the fragment with its #.
func cutFragment(uri string) (rest, fragment string) {
	if i := strings.IndexByte(uri, '#'); i >= 0 {
		return uri[:i], uri[i:]
	}
	return uri, ""
}

// unmount cuts what is mounted off a path, and reports whether it was there.
func unmount(uri, mount string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(uri, mount)
	return rest, ok && strings.HasPrefix(rest, "/")
}

// visible reports whether all of a URL is printed ASCII, as RFC 3986 wants it.
func visible(uri string) bool {
	for i := range len(uri) {
		if uri[i] <= ' ' || uri[i] > '~' {
			return false
		}
	}
	return true
}
