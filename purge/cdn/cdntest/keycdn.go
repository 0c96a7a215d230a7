package cdntest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// KeyCDN stands in for one zone of KeyCDN's API, after keycdn.com/api, keycdn.com/support/purge-cdn-cache and, as to the purge of tags, which
// the reference leaves out, what clients of it send. Its fields are set before use.
type KeyCDN struct {
	Server

	Zone string // its ID
	Key  string // the account's API key

	// TagBytes is the longest list of tags that is taken, as JSON. Zero means 128.
	TagBytes int

	once     sync.Once
	requests window
}

func (s *KeyCDN) init() {
	s.requests = window{limit: 60, every: time.Minute}
	if s.TagBytes == 0 {
		s.TagBytes = 128
	}
}

// ServeHTTP implements [http.Handler].
func (s *KeyCDN) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.once.Do(s.init)
	s.serve(w, r, s.answer)
}

// refuse notes a fault, and answers with an error of the API.
func (s *KeyCDN) refuse(w http.ResponseWriter, status int, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.fault("%d: %s", status, text)
	answerJSON(w, status, map[string]string{"status": "error", "description": text})
}

func (s *KeyCDN) answer(w http.ResponseWriter, r *http.Request, body []byte, c *Call) {
	s.addressed(r, "api.keycdn.com")
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(s.Key+":"))
	if auth := r.Header.Values("Authorization"); len(auth) != 1 || auth[0] != want {
		s.refuse(w, 401, "Authentication failed.")
		return
	}
	if r.URL.RawQuery != "" {
		s.fault("a query: %s", r.URL.RawQuery)
	}
	var kind, field, method string
	switch r.URL.EscapedPath() {
	case "/zones/purge/" + s.Zone + ".json":
		kind, method = "all", http.MethodGet
	case "/zones/purgeurl/" + s.Zone + ".json":
		kind, field, method = "url", "urls", http.MethodDelete
	case "/zones/purgetag/" + s.Zone + ".json":
		kind, field, method = "tag", "tags", http.MethodDelete
	default:
		s.refuse(w, 404, "The requested item does not exist.")
		return
	}
	if r.Method != method {
		s.refuse(w, 405, "Method %s is not allowed.", r.Method)
		return
	}
	ok, left, _ := s.requests.take(1)
	w.Header().Set("X-Rate-Limit-Limit", "60")
	w.Header().Set("X-Rate-Limit-Remaining", strconv.Itoa(left))
	if !ok {
		answerJSON(w, 429, map[string]string{"status": "error", "description": "Rate limit exceeded."})
		return
	}
	if len(body) > 64_000 {
		s.refuse(w, 413, "Maximum body size is 64 KB.")
		return
	}

	var values []string
	if field == "" {
		if len(body) > 0 {
			s.fault("a body, where none is read: the whole zone is purged")
		}
	} else {
		if !isJSON(r) {
			s.refuse(w, 400, "Content-Type is %q.", r.Header.Get("Content-Type"))
			return
		}
		var ask map[string]json.RawMessage
		if err := strictJSON(body, &ask); err != nil {
			s.refuse(w, 400, "The body cannot be read: %v", err)
			return
		}
		for name := range ask {
			if name != field {
				s.refuse(w, 400, "%q is an unknown parameter.", name)
				return
			}
		}
		if err := strictJSON(ask[field], &values); err != nil || len(values) == 0 {
			s.refuse(w, 400, "%s is missing, or no list.", field)
			return
		}
		if kind == "tag" && len(ask[field]) > s.TagBytes {
			s.refuse(w, 400, "The tags have over %d characters.", s.TagBytes)
			return
		}
	}
	s.distinct(values)
	for _, v := range values {
		wrong := ""
		switch {
		case kind == "url" && strings.Contains(v, "*"):
			wrong = "has a wildcard, which is taken as it is"
		case kind == "url":
			wrong = schemeless(v)
		case !printable(v) || strings.Contains(v, ","):
			wrong = "can be in no header, where a single space is between two"
		}
		if wrong != "" {
			s.refuse(w, 400, "The %s %.50q %s.", kind, v, wrong)
			return
		}
	}
	c.Kind, c.Values = kind, values
	answerJSON(w, 200, map[string]string{"status": "success", "description": "Cache has been cleared."})
}
