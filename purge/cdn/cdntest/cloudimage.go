package cdntest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"
)

// Cloudimage stands in for Cloudimage's Invalidation API, as docs.cloudimage.io ("Invalidation API") and Scaleflex's published collection have it.
type Cloudimage struct {
	Server

	Host  string // where the API is; empty means api.cloudimage.com
	Key   string
	Hosts []string // what the first segments of paths may be: hosts of origins and aliases
	Old   bool     // a token from before November 2021, whose paths begin with /v7

	Takes  time.Duration     // how long an invalidation takes; zero means that it is done when it is asked about
	Ends   string            // how invalidations end; empty means DONE
	Failed map[string]string // why paths fail

	invalidations map[string]*cloudimageInvalidation // guarded by mu of Server
}

type cloudimageInvalidation struct {
	scope string
	urls  []string
	at    time.Time
}

// ServeHTTP implements [http.Handler].
func (s *Cloudimage) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.serve(w, r, s.answer) }

func (s *Cloudimage) answer(w http.ResponseWriter, r *http.Request, body []byte, c *Call) {
	fail := func(status int, format string, args ...any) {
		reason := fmt.Sprintf(format, args...)
		s.fault("%s %s: %d: %s", r.Method, r.URL.RequestURI(), status, reason)
		s.answerJSON(w, status, map[string]any{"status": "error", "msg": reason})
	}
	id, asks := strings.CutPrefix(r.URL.EscapedPath(), "/invalidate/")
	switch {
	case r.Host != cmp.Or(s.Host, "api.cloudimage.com"):
		fail(http.StatusNotFound, "the API is not at %s", r.Host)
		return
	case r.URL.RawQuery != "", !asks && r.URL.EscapedPath() != "/invalidate":
		fail(http.StatusNotFound, "there is nothing at this path")
		return
	case asks && r.Method != http.MethodGet, !asks && r.Method != http.MethodPost:
		fail(http.StatusMethodNotAllowed, "invalidations are posted, and asked about with GET")
		return
	case r.Header.Get("X-Client-Key") != s.Key:
		fail(http.StatusUnauthorized, "the API key is not valid")
		return
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		fail(http.StatusUnsupportedMediaType, "the Content-Type is to be application/json") // documented for both
		return
	}
	if asks {
		s.status(w, id, fail)
		return
	}

	var req struct {
		Scope string    `json:"scope"`
		URLs  *[]string `json:"urls"`
	}
	if err := strictJSON(body, &req); err != nil {
		fail(http.StatusBadRequest, "the body is not an invalidation: %v", err)
		return
	}
	in := &cloudimageInvalidation{scope: req.Scope, at: time.Now()}
	switch req.Scope {
	case "all":
		if req.URLs != nil {
			fail(http.StatusBadRequest, "scope all has no urls")
			return
		}
		c.Kind = "all"
	case "original":
		if req.URLs == nil || len(*req.URLs) == 0 || len(*req.URLs) > 15 {
			fail(http.StatusBadRequest, "urls has to have 1 to 15 paths")
			return
		}
		in.urls = *req.URLs
		seen := make(map[string]bool)
		for _, path := range in.urls {
			if reason := s.wrong(path); reason != "" {
				// Cloudimage takes it, and finds nothing to flush.
				fail(http.StatusBadRequest, "%q %s", path, reason)
				return
			}
			if seen[path] {
				s.fault("%q is there twice", path)
			}
			seen[path] = true
		}
		c.Kind, c.Values = "url", in.urls
	default:
		fail(http.StatusBadRequest, "the scope %q is neither original nor all", req.Scope)
		return
	}
	s.mu.Lock()
	if s.invalidations == nil {
		s.invalidations = make(map[string]*cloudimageInvalidation)
	}
	uuid := fmt.Sprintf("4fc96d31-9815-4021-830a-%012d", len(s.invalidations)+1)
	s.invalidations[uuid] = in
	s.mu.Unlock()
	s.answerJSON(w, http.StatusCreated, map[string]any{
		"status": "success", "msg": "Your invalidation request has been received",
		"invalidation": map[string]any{"status": "RECEIVED", "uuid": uuid, "added_at": in.at.UTC().Format("2006-01-02 15:04:05.000000")},
	})
}

// wrong says what is wrong with a path.
func (s *Cloudimage) wrong(path string) string {
	rest, ok := strings.CutPrefix(path, "/")
	if !ok {
		return "has no leading slash"
	}
	if strings.ContainsAny(path, "?#") {
		return "has a query"
	}
	v7 := false
	if rest, v7 = strings.CutPrefix(rest, "v7/"); v7 != s.Old {
		return "has /v7 for a new token, or has it not for an old one"
	}
	rest = strings.TrimPrefix(strings.TrimPrefix(rest, "https://"), "http://")
	host, image, _ := strings.Cut(rest, "/")
	switch {
	case strings.HasSuffix(host, ".cloudimg.io"):
		return "has the host of Cloudimage"
	case !containsFold(s.Hosts, host):
		return "begins with neither a host nor an alias"
	case image == "" || strings.Contains(image, "*"):
		return "names no image"
	}
	return ""
}

func (s *Cloudimage) status(w http.ResponseWriter, id string, fail func(status int, format string, args ...any)) {
	s.mu.Lock()
	in := s.invalidations[id]
	s.mu.Unlock()
	if in == nil {
		fail(http.StatusNotFound, "there is no invalidation %q", id)
		return
	}
	state, done := "RECEIVED", false
	switch took := time.Since(in.at); {
	case took >= s.Takes:
		state, done = "DONE", true
		if s.Ends != "" {
			state = s.Ends
		}
	case took >= s.Takes*3/4:
		state = "FLUSHINGCDNSERVERS"
	case took >= s.Takes/2:
		state = "FLUSHINGCLOUDIMAGESERVER"
	case took >= s.Takes/4:
		state = "PREPARING"
	}
	invalidated, failed := []string{}, []string{}
	if done {
		for _, path := range in.urls {
			if reason := s.Failed[path]; reason != "" {
				failed = append(failed, path+": "+reason)
			} else {
				invalidated = append(invalidated, path)
			}
		}
		if in.scope == "all" {
			invalidated = []string{"/*"}
		}
	}
	s.answerJSON(w, http.StatusOK, map[string]any{"status": "success", "invalidation": map[string]any{
		"status": state, "uuid": id, "added_at": in.at.UTC().Format("2006-01-02 15:04:05.000000"), "scope": in.scope,
		"urls": map[string]any{"received": in.urls, "invalidated": invalidated, "failed": failed},
	}})
}

func (s *Cloudimage) answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
