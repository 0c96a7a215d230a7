package cdntest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Imgix stands in for imgix's purge API, as docs.imgix.com/apis/management/purges and /references/api-rate-limits have it.
type Imgix struct {
	Server

	Host    string   // where the API is; empty means api.imgix.com
	Key     string   // an API key with the permission to purge
	Domains []string // those of the account's sources: "shop.imgix.net"
	Sources []string // their IDs

	rate bucket
	last map[string]time.Time // by URL; guarded by mu of Server
	n    int                  // of purges; as last
}

var imgixSource = regexp.MustCompile(`^[0-9a-f]{24}$`)

// ServeHTTP implements [http.Handler].
func (s *Imgix) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.serve(w, r, s.answer) }

func (s *Imgix) answer(w http.ResponseWriter, r *http.Request, body []byte, c *Call) {
	fail := func(status int, title, detail string) {
		s.fault("%s %s: %d: %s", r.Method, r.URL.RequestURI(), status, detail)
		s.refuse(w, status, title, detail)
	}
	switch {
	case r.Host != cmp.Or(s.Host, "api.imgix.com"):
		fail(http.StatusNotFound, "Not Found", "the API is not at "+r.Host)
		return
	case r.URL.RequestURI() != "/api/v1/purge":
		fail(http.StatusNotFound, "Not Found", "there is nothing at this path")
		return
	case r.Method != http.MethodPost:
		fail(http.StatusMethodNotAllowed, "Method Not Allowed", "purges are posted")
		return
	case r.Header.Get("Authorization") != "Bearer "+s.Key:
		fail(http.StatusUnauthorized, "Unauthorized", "the API key is not valid")
		return
	case r.Header.Get("Content-Type") != "application/vnd.api+json":
		fail(http.StatusUnsupportedMediaType, "Unsupported Media Type", "the body is to be application/vnd.api+json, without parameters")
		return
	case r.Header.Get("Accept") != "" && r.Header.Get("Accept") != "application/vnd.api+json" && r.Header.Get("Accept") != "*/*":
		fail(http.StatusNotAcceptable, "Not Acceptable", "the answer is application/vnd.api+json")
		return
	}
	s.rate.mu.Lock()
	s.rate.burst, s.rate.perSecond = 10, 10
	s.rate.mu.Unlock()
	if !s.rate.take(1) {
		fail(http.StatusTooManyRequests, "Too Many Requests", "more than 10 purges in a second")
		return
	}

	var d struct {
		Data *struct {
			Attributes *struct {
				URL      string  `json:"url"`
				SubImage *bool   `json:"sub_image"`
				SourceID *string `json:"source_id"`
			} `json:"attributes"`
			Type string `json:"type"`
		} `json:"data"`
	}
	if err := strictJSON(body, &d); err != nil || d.Data == nil || d.Data.Attributes == nil {
		fail(http.StatusBadRequest, "Bad Request", fmt.Sprintf("the body is not a purge: %v", err))
		return
	}
	a := d.Data.Attributes
	u, err := url.Parse(a.URL)
	switch {
	case d.Data.Type != "purges":
		fail(http.StatusBadRequest, "Bad Request", "the type is not purges")
		return
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		fail(http.StatusBadRequest, "Bad Request", fmt.Sprintf("%q is no fully qualified URL", a.URL))
		return
	case !containsFold(s.Domains, u.Host):
		fail(http.StatusForbidden, "Forbidden", "the domain "+u.Host+" is not of this account")
		return
	case len(u.Path) < 2:
		fail(http.StatusBadRequest, "Bad Request", "the URL is that of no asset")
		return
	case (a.SubImage != nil && *a.SubImage) != (a.SourceID != nil):
		fail(http.StatusBadRequest, "Bad Request", "sub_image and source_id go together")
		return
	case a.SourceID != nil && (!imgixSource.MatchString(*a.SourceID) || !containsFold(s.Sources, *a.SourceID)):
		fail(http.StatusBadRequest, "Bad Request", "there is no source "+*a.SourceID)
		return
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		// imgix takes it, and purges the asset: who sends it may think that it purges one derivative.
		s.fault("%s has parameters, which mean nothing", a.URL)
		u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = "", false, "", ""
	}
	c.Kind, c.Values = "url", []string{u.String()}

	s.mu.Lock()
	if s.last == nil {
		s.last = make(map[string]time.Time)
	}
	before, again := s.last[u.String()]
	s.last[u.String()] = time.Now()
	s.n++
	id := fmt.Sprintf("a794e260-3776-4efe-9878-%012d", s.n)
	s.mu.Unlock()
	if again && time.Since(before) < 10*time.Second {
		// It is carried out nevertheless.
		s.refuse(w, http.StatusConflict, "Conflict", "duplicate purge request")
		return
	}
	w.Header().Set("Content-Type", "application/vnd.api+json")
	fmt.Fprintf(w, `{"data":{"attributes":{"purge_id":%q},"id":%[1]q,"type":"purges"},"included":[],"jsonapi":{"version":"1.0"},"meta":{}}`, id)
}

func (s *Imgix) refuse(w http.ResponseWriter, status int, title, detail string) {
	type e struct {
		Status string `json:"status"`
		Title  string `json:"title"`
		Detail string `json:"detail"`
	}
	w.Header().Set("Content-Type", "application/vnd.api+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"errors": []e{{fmt.Sprint(status), title, detail}}, "jsonapi": map[string]string{"version": "1.0"},
	})
}

func containsFold(list []string, s string) bool {
	for _, v := range list {
		if strings.EqualFold(v, s) {
			return true
		}
	}
	return false
}
