package cdntest

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Nginx stands in for nginx with a module ngx_cache_purge, as far as purges go: it has copies by key, and drops them. The key is that of Accept, a
// space, the host without a port, and the path as it was asked for.
//
// It is strict with what nginx takes without a word: a purge of a host or with an Accept that it has no copies by, and, to a module without prefixes, one
// that ends in "*".
type Nginx struct {
	Server

	Hosts   []string // of the copies
	Accepts []string // as the key tells them apart

	Path       string // of the location that purges, before that of the URL: "/-/purge"
	Wildcards  bool   // "*" at the end of a key is any end: nginx-modules' module
	AllPath    string // where purge_all is
	Background bool   // cache_purge_background_queue: 202 to prefixes and to all
	NotFound   bool   // cache_purge_legacy_status off: 404 and not 412
	Refuse     bool   // the caller's address is in no list

	mu     sync.Mutex      // guards copies
	copies map[string]bool // by key
}

// Fill has it keep a copy of each variant of what is at a host and path.
func (s *Nginx) Fill(host, uri string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.copies == nil {
		s.copies = make(map[string]bool)
	}
	for _, accept := range s.Accepts {
		s.copies[accept+" "+host+uri] = true
	}
}

// Copies are the hosts and paths of which there is a copy of at least one variant, in order.
func (s *Nginx) Copies() (uris []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.copies {
		_, uri, _ := strings.Cut(key, " ")
		uris = append(uris, uri)
	}
	slices.Sort(uris)
	return slices.Compact(uris)
}

// ServeHTTP implements [http.Handler].
func (s *Nginx) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.serve(w, r, s.answer) }

func (s *Nginx) answer(w http.ResponseWriter, r *http.Request, body []byte, c *Call) {
	page := func(status int, title string) {
		w.Header().Set("Server", "nginx")
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<html>\r\n<head><title>%s</title></head>\r\n<body>\r\n<center><h1>%[1]s</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n", title)
	}
	if len(body) > 0 {
		s.fault("a purge has no body")
	}
	if r.Method != "PURGE" {
		s.fault("%s is no method of a purge", r.Method)
		page(http.StatusMethodNotAllowed, "405 Not Allowed")
		return
	}
	if s.Refuse {
		page(http.StatusForbidden, "403 Forbidden")
		return
	}
	done := func() {
		status := http.StatusOK
		if s.Background && (c.Kind != "url") {
			status = http.StatusAccepted
		}
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		io.WriteString(w, "<html><head><title>Successful purge</title></head><body bgcolor=\"white\"><center><h1>Successful purge</h1></center></body></html>")
	}
	uri := r.URL.RequestURI()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.AllPath != "" && r.URL.Path == s.AllPath {
		c.Kind = "all"
		clear(s.copies)
		done()
		return
	}
	uri, ok := strings.CutPrefix(uri, s.Path)
	if !ok || !strings.HasPrefix(uri, "/") {
		s.fault("%s is not where purges go", r.URL.Path)
		page(http.StatusForbidden, "403 Forbidden")
		return
	}
	host, _, _ := strings.Cut(strings.ToLower(r.Host), ":")
	accept := r.Header.Get("Accept")
	c.Kind, c.Values = "url", []string{host + uri}
	if !slices.Contains(s.Hosts, host) {
		s.fault("there are no copies by the host %q", r.Host)
	}
	if !slices.Contains(s.Accepts, accept) {
		s.fault("there are no copies by the Accept %q", accept)
	}
	key := accept + " " + host + uri
	if before, ok := strings.CutSuffix(key, "*"); ok {
		if !s.Wildcards {
			s.fault("to this module a * is a letter")
		} else {
			c.Kind, c.Values = "prefix", []string{strings.TrimSuffix(host+uri, "*")}
			for k := range s.copies {
				if strings.HasPrefix(k, before) {
					delete(s.copies, k)
				}
			}
			done()
			return
		}
	}
	if !s.copies[key] {
		if s.NotFound {
			page(http.StatusNotFound, "404 Not Found")
		} else {
			page(http.StatusPreconditionFailed, "412 Precondition Failed")
		}
		return
	}
	delete(s.copies, key)
	done()
}
