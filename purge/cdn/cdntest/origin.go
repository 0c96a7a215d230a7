package cdntest

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"sync"
	"testing"
)

// An Origin is a server that caches are put before: it answers every path with a text that names the path, the query, the Accept and the version of what
// is there, and counts how often it was asked. It says Vary: Accept, as the handler does.
//
// Its tags are "all", one for each folder that the path is in, and one for the path itself, in the header that TagHeader says, as [Origin.Tags] makes them.
type Origin struct {
	URL       string
	TagHeader string // empty means "xkey"

	mu           sync.Mutex // guards what follows
	versions     map[string]int
	fetches      map[string]int
	cacheControl string
	status       int
}

// NewOrigin starts an origin, which ends with the test. Its answers may be kept for an hour.
func NewOrigin(t testing.TB) *Origin {
	o := &Origin{versions: make(map[string]int), fetches: make(map[string]int), cacheControl: "public, max-age=3600"}
	s := httptest.NewServer(o)
	t.Cleanup(s.Close)
	o.URL = s.URL
	return o
}

// CacheControl sets the Cache-Control of answers.
func (o *Origin) CacheControl(v string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cacheControl = v
}

// Fail has all requests answered with a status, or broken off where that is negative; zero ends it.
func (o *Origin) Fail(status int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status = status
}

// Change gives what is at a path another version.
func (o *Origin) Change(path string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.versions[path]++
}

// Fetches is how often each URL was asked for so far, as "host/path?query".
func (o *Origin) Fetches() map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.fetches)
}

// Tags are those of a path.
func (o *Origin) Tags(p string) []string {
	tags := []string{"all", tag(p)}
	for dir := path.Dir(p); dir != "/" && dir != "."; dir = path.Dir(dir) {
		tags = append(tags, tag(dir))
	}
	return tags
}

// tag is a path as a tag: in a name, everything but letters and digits is hexadecimal.
func tag(p string) string {
	out := []byte("t")
	for i := range len(p) {
		switch c := p[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			out = append(out, c)
		default:
			out = fmt.Appendf(out, "-%02x", c)
		}
	}
	return string(out)
}

// ServeHTTP implements [http.Handler].
func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fetches[r.Host+r.URL.RequestURI()]++
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if o.status < 0 {
		panic(http.ErrAbortHandler)
	}
	if o.status != 0 {
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(o.status)
		return
	}
	name := o.TagHeader
	if name == "" {
		name = "xkey"
	}
	for _, t := range o.Tags(r.URL.Path) {
		w.Header().Add(name, t) // a line for each, as is allowed
	}
	version := strconv.Itoa(o.versions[r.URL.Path])
	h := w.Header()
	h.Set("Cache-Control", o.cacheControl)
	h.Set("Vary", "Accept")
	h.Set("Etag", strconv.Quote(version))
	h.Set("Cache-Status", "origin; fwd=miss")
	if r.Header.Get("If-None-Match") == strconv.Quote(version) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "text/plain")
	fmt.Fprintf(w, "%s%s for %q, version %s", r.Host, r.URL.RequestURI(), r.Header.Get("Accept"), version)
}
