package cdntest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// Bunny stands in for bunny.net's API and one pull zone, after docs.bunny.net/api-reference/core (purge/purge-url and pull-zone/purge-cache) and
// docs.bunny.net/cdn/purge-cache. Its fields are set before use.
type Bunny struct {
	Server

	Zone string // the pull zone's ID
	Key  string // the account's API key

	// PermaCache says that the zone has Perma-Cache, with which tags do not work.
	PermaCache bool

	once   sync.Once
	exact  *bucket
	prefix *bucket // and, as nothing else is said of them, tags and zones
}

func (s *Bunny) init() {
	s.exact, s.prefix = &bucket{burst: 120, perSecond: 5}, &bucket{burst: 20, perSecond: 0.5}
}

// ServeHTTP implements [http.Handler].
func (s *Bunny) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.once.Do(s.init)
	s.serve(w, r, s.answer)
}

// refuse notes a fault, and answers with an error of the API.
func (s *Bunny) refuse(w http.ResponseWriter, status int, key, field, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.fault("%d: %s", status, text)
	answerJSON(w, status, map[string]string{"ErrorKey": key, "Field": field, "Message": text})
}

// allow takes one of a bucket, or answers that there is none.
func (s *Bunny) allow(w http.ResponseWriter, b *bucket) bool {
	if b.take(1) {
		return true
	}
	w.Header().Set("Retry-After", seconds(b.wait(1)))
	answerJSON(w, 429, map[string]string{"ErrorKey": "purge.rate_limited", "Field": "", "Message": "Too many purge requests"})
	return false
}

func (s *Bunny) answer(w http.ResponseWriter, r *http.Request, body []byte, c *Call) {
	s.addressed(r, "api.bunny.net")
	if keys := r.Header.Values("AccessKey"); len(keys) != 1 || keys[0] != s.Key {
		s.fault("401: AccessKey is missing or wrong")
		answerJSON(w, 401, map[string]string{"Message": "Authorization has been denied for this request."})
		return
	}
	path := r.URL.EscapedPath()
	rest, zoned := strings.CutPrefix(path, "/pullzone/")
	switch {
	case path == "/purge":
	case zoned && strings.HasSuffix(rest, "/purgeCache"):
		if strings.TrimSuffix(rest, "/purgeCache") != s.Zone {
			s.refuse(w, 404, "pullzone.not_found", "PullZone", "The requested Pull Zone was not found")
			return
		}
	default:
		s.fault("404: no such path: %s", path)
		w.WriteHeader(404)
		return
	}
	if r.Method != http.MethodPost {
		s.refuse(w, 405, "method", "", "The requested resource does not support http method '%s'.", r.Method)
		return
	}
	if path == "/purge" {
		s.url(w, r, body, c)
	} else {
		s.zone(w, r, body, c)
	}
}

// url answers a purge of a URL or prefix.
func (s *Bunny) url(w http.ResponseWriter, r *http.Request, body []byte, c *Call) {
	if len(body) > 0 {
		s.fault("a body, where none is read")
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		s.refuse(w, 400, "query", "", "The query cannot be read: %v", err)
		return
	}
	flags := map[string]bool{}
	for name, values := range q {
		switch {
		case len(values) != 1:
			s.refuse(w, 400, "query", name, "%s is there twice", name)
			return
		case name == "url":
		case name != "async" && name != "exactPath":
			s.refuse(w, 400, "query", name, "an unknown parameter, or part of a URL that is not escaped: %s", name)
			return
		case values[0] != "true" && values[0] != "false":
			s.refuse(w, 400, "query", name, "%s is neither true nor false", name)
			return
		default:
			flags[name] = values[0] == "true"
		}
	}
	v := q.Get("url")
	if wrong := absolute(v); wrong != "" {
		s.refuse(w, 400, "purge.url", "Url", "The URL %q %s", v, wrong)
		return
	}
	if i := strings.Index(v, "*"); i >= 0 && i < len(v)-1 {
		s.fault("the URL %q has a * before its end", v)
	}
	before, _, _ := strings.Cut(v, "?")
	slash := strings.HasSuffix(before, "/") && !flags["exactPath"]
	c.Values = []string{v}
	limit, kind := s.exact, "url"
	if slash || strings.Contains(v, "*") {
		limit, kind = s.prefix, "prefix"
	}
	if slash {
		s.fault("the URL %q ends with a slash: all below it is purged", v)
	}
	if !s.allow(w, limit) {
		return
	}
	c.Kind = kind
	w.WriteHeader(200)
}

// zone answers a purge of a tag, or of the zone.
func (s *Bunny) zone(w http.ResponseWriter, r *http.Request, body []byte, c *Call) {
	if r.URL.RawQuery != "" {
		s.fault("a query: %s", r.URL.RawQuery)
	}
	kind := "all"
	if len(body) > 0 {
		if !isJSON(r) {
			s.refuse(w, 415, "content_type", "", "Content-Type is %q", r.Header.Get("Content-Type"))
			return
		}
		var ask struct {
			CacheTag *string
		}
		if err := strictJSON(body, &ask); err != nil {
			s.refuse(w, 400, "body", "", "The body cannot be read: %v", err)
			return
		}
		if !strings.Contains(string(body), `"CacheTag"`) {
			s.fault("a body without CacheTag, spelled so: the whole zone is purged")
		} else if ask.CacheTag == nil || *ask.CacheTag == "" {
			s.fault("an empty CacheTag: the whole zone is purged")
		} else {
			kind, c.Values = "tag", []string{*ask.CacheTag}
			if v := *ask.CacheTag; !printable(v) || strings.Contains(v, ",") || len(v) > 1024 {
				s.fault("the tag %.50q can be in no header", v)
			}
			if s.PermaCache {
				s.refuse(w, 400, "pullzone.perma_cache", "CacheTag", "Purging by tag is not supported with Perma-Cache")
				return
			}
		}
	}
	if !s.allow(w, s.prefix) {
		return
	}
	c.Kind = kind
	w.WriteHeader(204)
}
