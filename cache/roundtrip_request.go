package cache

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Target is the name under which RoundTrip keeps the answer to a request, for [Transport.Purge]: its URL, scheme and
// host in lower case, without a default port, user or fragment. Where the request has a Host of its own that is not its
// URL's, as under a reverse proxy that passes Host on, the name is SCHEME://HOST@URL-HOST/PATH: what two upstreams
// say of one host is kept apart, and so is what one says of two.
func Target(req *http.Request) string { return nameOf(req, req.URL) }

func nameOf(req *http.Request, u *url.URL) string {
	scheme := strings.ToLower(req.URL.Scheme)
	where, host := authority(scheme, req.URL.Host), authority(scheme, req.Host)
	switch {
	case where == "":
		where = host
	case host != "" && host != where:
		where = host + "@" + where
	}
	return scheme + "://" + where + u.RequestURI()
}

func authority(scheme, host string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ":")
	switch scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	return host
}

// originOf is the scheme and the authority of a name.
func originOf(name string) string {
	scheme, rest, _ := strings.Cut(name, "://")
	where, _, _ := strings.Cut(rest, "/")
	return scheme + "://" + where
}

// sameOrigin is the name of what a field of the answer to req refers to, where that has the origin of req.
func sameOrigin(req *http.Request, ref string) (name string, ok bool) {
	if ref == "" {
		return "", false
	}
	base := *req.URL
	if req.Host != "" {
		base.Host = req.Host
	}
	u, err := base.Parse(ref)
	if err != nil || u.Opaque != "" || !strings.EqualFold(u.Scheme, base.Scheme) {
		return "", false
	}
	scheme := strings.ToLower(u.Scheme)
	switch authority(scheme, u.Host) {
	case authority(scheme, base.Host), authority(scheme, req.URL.Host):
		return nameOf(req, u), true
	}
	return "", false
}

// variant is the secondary key (RFC 9111 section 4.1): a hash of the request's fields that Vary names. White space
// around commas is left aside, and of languages and codings the case, too.
func variant(stored, request http.Header) string {
	fields := varyFields(stored)
	if len(fields) == 0 {
		return ""
	}
	var b strings.Builder
	for _, f := range fields {
		b.WriteString(f)
		if lines := request.Values(f); len(lines) > 0 {
			all := strings.Join(lines, ",")
			if f == "Accept-Language" || f == "Accept-Encoding" {
				all = strings.ToLower(all)
			}
			for v := range strings.SplitSeq(all, ",") {
				b.WriteByte('\x00')
				b.WriteString(strings.TrimSpace(v))
			}
		}
		b.WriteByte('\n')
	}
	return "vary " + DigestOf([]byte(b.String())).String()[:32]
}

func varyFields(h http.Header) []string {
	var fields []string
	for _, line := range h.Values("Vary") {
		for f := range strings.SplitSeq(line, ",") {
			if f = strings.TrimSpace(f); f != "" {
				fields = append(fields, http.CanonicalHeaderKey(f))
			}
		}
	}
	slices.Sort(fields)
	return slices.Compact(fields)
}

// wishes are a request's directives (RFC 9111 section 5.2.1). Durations are negative where there is none.
type wishes struct {
	noCache, noStore, onlyIfCached bool
	maxAge, minFresh, maxStale     time.Duration
}

// wishesOf reads a request's Cache-Control, and Pragma where there is none (RFC 9111 section 5.4). A value that cannot
// be read counts as absent: it is the client's advice.
func wishesOf(h http.Header) wishes {
	w := wishes{maxAge: -1, minFresh: -1, maxStale: -1}
	field := h.Values("Cache-Control")
	if len(field) == 0 {
		pragma, _ := directives(h.Values("Pragma"))
		w.noCache = slices.Contains(pragma, directive{"no-cache", ""})
		return w
	}
	list, _ := directives(field)
	for _, d := range list {
		n, ok := deltaSeconds(d.value)
		switch d.name {
		case "no-cache":
			w.noCache = true
		case "no-store":
			w.noStore = true
		case "only-if-cached":
			w.onlyIfCached = true
		case "max-age":
			if ok {
				w.maxAge = n
			}
		case "min-fresh":
			if ok {
				w.minFresh = n
			}
		case "max-stale":
			switch {
			case ok:
				w.maxStale = n
			case d.value == "":
				w.maxStale = forever
			}
		}
	}
	return w
}

// allow reports whether a stored response is fresh enough for the request.
func (w wishes) allow(e *Entry, now time.Time) bool {
	return w.takes(e, now) && (w.minFresh < 0 || e.Freshness.Lifetime-e.Age(now) >= w.minFresh)
}

// takes reports whether a stored response is young enough for the request, be it fresh or not.
func (w wishes) takes(e *Entry, now time.Time) bool {
	return !w.noCache && (w.maxAge < 0 || e.Age(now) <= w.maxAge)
}
