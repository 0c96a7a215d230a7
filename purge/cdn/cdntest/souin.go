package cdntest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Souin stands in for Souin and its API, as pkg/api/souin.go and pkg/surrogate of its source have it: it has copies by key, "GET-https-HOST-/PATH?QUERY",
// each with tags, and drops them.
//
// It is strict with what Souin takes without doing what was meant: tags that are not separated by a comma and a space, selectors with
// "//" in them, types and methods that find nothing, and a group beyond the first.
type Souin struct {
	Server

	Path   string // of the API; empty means "/souin-api/souin"
	Queued bool   // 202 to POST, as the draft allows where it takes long

	mu     sync.Mutex          // guards copies
	copies map[string][]string // tags by key
}

// Fill has it keep a copy of what is at an absolute URL, with tags.
func (s *Souin) Fill(of string, tags ...string) {
	u, err := url.Parse(of)
	if err != nil {
		panic(err)
	}
	key := "GET-" + u.Scheme + "-" + u.Host + "-" + u.Path
	if u.RawQuery != "" {
		key += "?" + u.RawQuery
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.copies == nil {
		s.copies = make(map[string][]string)
	}
	s.copies[key] = tags
}

// Copies are the keys that are left, in order.
func (s *Souin) Copies() (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.copies {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// drop drops those copies for which gone says so.
func (s *Souin) drop(gone func(key string, tags []string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, tags := range s.copies {
		if gone(key, tags) {
			delete(s.copies, key)
		}
	}
}

// ServeHTTP implements [http.Handler].
func (s *Souin) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.serve(w, r, s.answer) }

func (s *Souin) answer(w http.ResponseWriter, r *http.Request, body []byte, c *Call) {
	base := s.Path
	if base == "" {
		base = "/souin-api/souin"
	}
	rest, ok := strings.CutPrefix(r.URL.Path, base)
	if !ok || rest != "" && rest[0] != '/' {
		s.fault("%s: the API is at %s", r.URL.Path, base)
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if r.URL.RawQuery != "" {
		s.fault("the API takes no query")
	}
	switch {
	case r.Method == "PURGE":
		if len(body) > 0 {
			s.fault("a PURGE has no body")
		}
		switch {
		case rest == "/flush":
			c.Kind = "all"
			s.drop(func(string, []string) bool { return true })
		case rest != "":
			s.fault("PURGE %s: it depends on the version whether this is a key or an expression", rest)
		default:
			c.Kind = "tag"
			s.tags(r, c)
		}
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPost && rest == "":
		s.post(w, r, body, c)
	default:
		s.fault("%s %s does nothing", r.Method, r.URL.Path)
		w.WriteHeader(http.StatusOK)
	}
}

// tags drops what has a tag of the header.
func (s *Souin) tags(r *http.Request, c *Call) {
	for _, h := range []string{"Cache-Groups", "Edge-Cache-Tag", "Cache-Tags"} {
		if r.Header.Get(h) != "" {
			s.fault("%s beside Surrogate-Key: one of them is read", h)
		}
	}
	lines := r.Header.Values("Surrogate-Key")
	if len(lines) != 1 || lines[0] == "" {
		s.fault("%d lines of Surrogate-Key: the first is read", len(lines))
		return
	}
	c.Values = strings.Split(lines[0], ", ")
	for _, v := range c.Values {
		if v == "" || strings.ContainsAny(v, " ,\t") {
			s.fault("the tag %q: they are separated by a comma and a space", v)
		}
	}
	s.distinct(c.Values)
	s.drop(func(_ string, tags []string) bool {
		return slices.ContainsFunc(tags, func(t string) bool { return slices.Contains(c.Values, t) })
	})
}

func (s *Souin) post(w http.ResponseWriter, r *http.Request, body []byte, c *Call) {
	if !isJSON(r) {
		s.fault("the Content-Type is %q", r.Header.Get("Content-Type"))
	}
	var in struct {
		Type      string   `json:"type"`
		Selectors []string `json:"selectors"`
		Groups    []string `json:"groups"`
		Purge     bool     `json:"purge"`
	}
	if err := strictJSON(body, &in); err != nil {
		s.fault("the body: %v", err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if !in.Purge {
		s.fault("purge is false, and yet copies are dropped")
	}
	answer := func() {
		if s.Queued {
			w.WriteHeader(http.StatusAccepted)
		} else {
			w.WriteHeader(http.StatusOK)
		}
	}
	switch in.Type {
	case "uri-prefix":
		c.Kind, c.Values = "prefix", in.Selectors
		if len(in.Selectors) == 0 || len(in.Groups) > 0 {
			s.fault("uri-prefix has selectors and nothing else")
		}
		s.distinct(in.Selectors)
		for _, selector := range in.Selectors {
			host, path, _ := strings.Cut(selector, "/")
			decoded, err := url.PathUnescape(path)
			switch {
			case strings.Contains(selector, "//"):
				s.fault("%q: with // it is passed over", selector)
				continue
			case host == "" || err != nil:
				s.fault("%q is no host and path", selector)
				continue
			case strings.HasSuffix(selector, "/"):
				s.fault("%q: nothing has a segment more after its last slash", selector)
			case strings.Contains(selector, "?"):
				s.fault("%q: the query is not looked at", selector)
			}
			if path != "" {
				decoded = "/" + decoded
			}
			within := host + "-" + decoded
			s.drop(func(key string, _ []string) bool {
				return strings.HasSuffix(key, within) || strings.Contains(key, within+"?") || strings.Contains(key, within+"/") || strings.Contains(key, within+"-")
			})
		}
	case "group":
		if len(in.Groups) > 1 {
			s.fault("%d groups: the first is read", len(in.Groups))
		}
		c.Kind, c.Values = "tag", in.Groups
		if len(in.Groups) > 0 {
			s.drop(func(_ string, tags []string) bool { return slices.Contains(tags, in.Groups[0]) })
		}
	case "origin":
		c.Kind, c.Values = "prefix", in.Selectors
		for _, host := range in.Selectors {
			s.drop(func(key string, _ []string) bool { return strings.Contains(key, host) })
		}
	default:
		s.fault("the type %q finds nothing", in.Type)
	}
	answer()
}
