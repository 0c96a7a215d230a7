package middleware

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrOrigin is what [CORS.Check] returns for an origin that is not on the list.
var ErrOrigin = errors.New("origin not allowed")

// CORS lets pages of other origins read images: draw them on a canvas and take the pixels, fetch them from a
// script, measure how long they took. (To show them in an <img>, no permission is needed.)
//
// Pages are given no more than anybody is: credentials are never allowed, and of methods only GET and HEAD.
//
// The zero value allows no origin, and changes nothing. Where there are origins in either list, the Access-Control fields and the
// Timing-Allow-Origin of the wrapped handler's response are replaced, so that what an upstream server allows is not passed on.
//
// CORS protects pages from each other inside browsers. It refuses no request: what nobody may read needs a [Signature].
type CORS struct {
	// Origins are the origins that are allowed:
	//
	//   - "https://shop.example", "http://localhost:3000": exactly this one. Other alphabets are written in
	//     Punycode ("https://xn--bcher-kva.example"), as browsers send them.
	//   - "https://*.example.com": every name below example.com, to any depth, on the default port; neither example.com
	//     itself nor evilexample.com. A port may follow.
	//   - "*": everybody. No other entry then matters, and responses are the same for all.
	//   - "null": files, and pages in a sandbox. It is matched by this and "*" alone, and lets in anybody who
	//     makes a sandbox.
	//
	// Zero means none.
	Origins []string

	// TimingOrigins are the origins whose pages may measure how long an image took, and where: Timing-Allow-Origin. They are of the same
	// forms. Nil means Origins; a list without entries, none.
	TimingOrigins []string

	// ExposeHeaders are the response header fields that scripts may read.
	// Zero means Cache-Status, ETag, Age and Content-Length.
	ExposeHeaders []string

	// AllowHeaders are the request header fields that scripts may set.
	// Zero means any but Authorization ("*").
	AllowHeaders []string

	// MaxAge is how long browsers may remember the answer to a preflight request; they have limits of their own, two
	// hours in Chromium. Zero means 2 hours. Negative means not at all.
	MaxAge time.Duration

	// ResourcePolicy is the Cross-Origin-Resource-Policy of every response: "cross-origin", for pages that have
	// Cross-Origin-Embedder-Policy: require-corp, or "same-site" or "same-origin" to keep images from being shown
	// elsewhere. Zero means that the field is left as it is. It does not depend on Origins.
	ResourcePolicy string
}

// Check returns nil for a request that has no Origin, or one that is allowed, and else an error that is [ErrOrigin].
func (c *CORS) Check(r *http.Request) error {
	return parseOrigins(c.Origins).check(r)
}

// Valid reports an entry of Origins or TimingOrigins, or a ResourcePolicy, that is not of a form described there. It is for lists that come from
// outside of the program, as Handler panics.
func (c *CORS) Valid() error {
	for _, list := range []struct {
		name    string
		origins []string
	}{{"Origins", c.Origins}, {"TimingOrigins", c.timers()}} {
		for _, origin := range list.origins {
			if err := validOrigin(origin); err != nil {
				return fmt.Errorf("CORS.%s: %w", list.name, err)
			}
		}
	}
	switch c.ResourcePolicy {
	case "", "cross-origin", "same-site", "same-origin":
		return nil
	}
	return fmt.Errorf("CORS.ResourcePolicy: %q is not cross-origin, same-site or same-origin", c.ResourcePolicy)
}

// timers are the origins that may measure.
func (c *CORS) timers() []string {
	if c.TimingOrigins == nil {
		return c.Origins
	}
	return c.TimingOrigins
}

// Handler returns a handler that adds to the responses of h what lets allowed origins read them. It panics, as
// [http.ServeMux.Handle] does, if an entry of Origins or TimingOrigins, or ResourcePolicy, is not of a form described there.
//
//  1. A preflight request (OPTIONS with Origin and Access-Control-Request-Method) is answered here, with 204. h does not
//     see it.
//  2. A response to an allowed origin gets Access-Control-Allow-Origin and Access-Control-Expose-Headers, and one to an origin that may
//     measure Timing-Allow-Origin. If everybody is allowed, so does one to a request without Origin.
//  3. Unless everybody is allowed both, or nobody either, every response gets Vary: Origin, so that a shared cache does not give to
//     one origin what was made for another. As caches count by that field, "*" is the better choice for public images.
//  4. Cross-Origin-Resource-Policy is set if there is one.
func (c *CORS) Handler(h http.Handler) http.Handler {
	if err := c.Valid(); err != nil {
		panic("middleware: " + err.Error())
	}
	timers := c.timers()
	if len(c.Origins) == 0 && len(timers) == 0 && c.ResourcePolicy == "" {
		return h
	}
	origins, timing := parseOrigins(c.Origins), parseOrigins(timers)
	none := origins.empty() && timing.empty()
	expose := listOr(c.ExposeHeaders, "Cache-Status, ETag, Age, Content-Length")
	allow := listOr(c.AllowHeaders, "*")
	maxAge := "0"
	switch {
	case c.MaxAge == 0:
		maxAge = "7200"
	case c.MaxAge > 0:
		maxAge = strconv.FormatInt(int64(c.MaxAge/time.Second), 10)
	}
	policy := c.ResourcePolicy

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		allowed := origins.allow(r) // the value of Access-Control-Allow-Origin, or empty
		measures := timing.allow(r) // that of Timing-Allow-Origin, or empty
		decorate := func(header http.Header) {
			if policy != "" {
				header.Set("Cross-Origin-Resource-Policy", policy)
			}
			if none {
				return
			}
			if origins.some() || timing.some() {
				vary(header, "Origin")
			}
			for name := range header {
				if strings.HasPrefix(name, "Access-Control-") || name == "Timing-Allow-Origin" {
					delete(header, name)
				}
			}
			if allowed != "" {
				header.Set("Access-Control-Allow-Origin", allowed)
				if expose != "" {
					header.Set("Access-Control-Expose-Headers", expose)
				}
			}
			if measures != "" {
				header.Set("Timing-Allow-Origin", measures)
			}
		}

		if !origins.empty() && r.Method == http.MethodOptions &&
			r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != "" {
			header := w.Header()
			decorate(header)
			header.Del("Access-Control-Expose-Headers")
			header.Del("Timing-Allow-Origin")
			vary(header, "Access-Control-Request-Method")
			vary(header, "Access-Control-Request-Headers")
			if allowed != "" {
				header.Set("Access-Control-Allow-Methods", "GET, HEAD")
				if allow != "" {
					header.Set("Access-Control-Allow-Headers", allow)
				}
				header.Set("Access-Control-Max-Age", maxAge)
			}
			w.WriteHeader(http.StatusNoContent)
			return
		}

		// Fields are added when the header is sent, because h may replace what is there before.
		inner := &response{ResponseWriter: w, before: decorate}
		h.ServeHTTP(inner, r)
		if inner.status == 0 { // net/http will send the header when this returns
			decorate(w.Header())
		}
	})
}

// vary adds a field name to Vary unless it is there.
func vary(header http.Header, field string) {
	for _, list := range header["Vary"] {
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.TrimSpace(name); name == "*" || strings.EqualFold(name, field) {
				return
			}
		}
	}
	header.Add("Vary", field)
}

func listOr(list []string, def string) string {
	if list == nil {
		return def
	}
	return strings.Join(list, ", ")
}

// origins is CORS.Origins in the form requests are compared to.
type origins struct {
	everybody bool
	exact     []string
	below     []originPattern
}

// An originPattern is "https://*.example.com:8443" as "https://" and ".example.com:8443".
type originPattern struct{ scheme, parent string }

func parseOrigins(list []string) *origins {
	o := &origins{}
	for _, origin := range list {
		if validOrigin(origin) != nil {
			continue // matches nothing
		}
		origin = canonicalOrigin(origin)
		if origin == "*" {
			o.everybody = true
		} else if scheme, parent, ok := strings.Cut(origin, "*"); ok {
			o.below = append(o.below, originPattern{scheme, parent})
		} else {
			o.exact = append(o.exact, origin)
		}
	}
	return o
}

func (o *origins) empty() bool { return !o.everybody && len(o.exact) == 0 && len(o.below) == 0 }

// some reports whether it depends on the origin what is allowed.
func (o *origins) some() bool { return !o.everybody && !o.empty() }

func (o *origins) check(r *http.Request) error {
	if len(r.Header["Origin"]) == 0 || o.allow(r) != "" {
		return nil
	}
	return ErrOrigin
}

// allow returns the Access-Control-Allow-Origin for a request: "*", the request's origin, or nothing.
func (o *origins) allow(r *http.Request) string {
	if o.everybody {
		return "*"
	}
	values := r.Header["Origin"]
	if len(values) != 1 {
		return ""
	}
	origin := values[0]
	if slices.Contains(o.exact, origin) || slices.ContainsFunc(o.below, func(p originPattern) bool { return p.match(origin) }) {
		return origin
	}
	return ""
}

// match reports whether what stands for the star is labels of a host name, and nothing that would make the parent part
// of something else ("https://evil.example/.example.com").
func (p originPattern) match(origin string) bool {
	labels, ok := strings.CutPrefix(origin, p.scheme)
	if !ok {
		return false
	}
	if labels, ok = strings.CutSuffix(labels, p.parent); !ok {
		return false
	}
	for label := range strings.SplitSeq(labels, ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// canonicalOrigin is an origin as browsers send it: lower case, without the default port.
func canonicalOrigin(origin string) string {
	origin = strings.ToLower(origin)
	if rest, ok := strings.CutPrefix(origin, "https://"); ok {
		return "https://" + strings.TrimSuffix(rest, ":443")
	}
	if rest, ok := strings.CutPrefix(origin, "http://"); ok {
		return "http://" + strings.TrimSuffix(rest, ":80")
	}
	return origin
}

func validOrigin(origin string) error {
	if origin == "*" || origin == "null" {
		return nil
	}
	ascii := strings.IndexFunc(origin, func(c rune) bool { return c <= ' ' || c > '~' }) < 0
	plain := strings.Replace(origin, "://*.", "://star.", 1)
	u, err := url.Parse(plain)
	if err != nil || !ascii || u.Scheme == "" || u.Hostname() == "" || strings.HasSuffix(u.Host, ":") || strings.Contains(plain, "*") ||
		!strings.EqualFold(u.Scheme+"://"+u.Host, plain) {
		return fmt.Errorf("%q is not of the form https://shop.example, https://*.example.com, * or null", origin)
	}
	return nil
}
