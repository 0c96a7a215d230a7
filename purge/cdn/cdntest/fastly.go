package cdntest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fastly stands in for one service of Fastly's API, after fastly.com/documentation/reference/api/purging and its guides on surrogate
// keys and rate limits. Its fields are set before use.
type Fastly struct {
	Server

	Service string // its ID
	Token   string // an API token that may purge it

	// Loses are keys that the answer to many leaves out.
	Loses []string

	once     sync.Once
	purges   window // keys and URLs
	requests window // everything

	mu   sync.Mutex // guards last
	last int        // of the IDs that were given
}

func (s *Fastly) init() {
	s.purges = window{limit: 100_000, every: time.Hour}
	s.requests = window{limit: 1000, every: time.Hour}
}

// ServeHTTP implements [http.Handler].
func (s *Fastly) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.once.Do(s.init)
	s.serve(w, r, s.answer)
}

// refuse notes a fault, and answers with an error of the API.
func (s *Fastly) refuse(w http.ResponseWriter, status int, msg, detail string) {
	s.fault("%d: %s: %s", status, msg, detail)
	answerJSON(w, status, map[string]string{"msg": msg, "detail": detail})
}

func (s *Fastly) id() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	return fmt.Sprintf("108-%d", s.last)
}

func (s *Fastly) answer(w http.ResponseWriter, r *http.Request, body []byte, c *Call) {
	s.addressed(r, "api.fastly.com")
	path := r.URL.EscapedPath()
	service := "/service/" + s.Service
	one, single := strings.CutPrefix(path, service+"/purge/")
	cached, byURL := strings.CutPrefix(path, "/purge/")
	many, all := path == service+"/purge", path == service+"/purge_all"
	if !single && !byURL && !many && !all {
		s.refuse(w, 404, "Record not found", "no such resource: "+path)
		return
	}
	if r.Method != http.MethodPost {
		s.refuse(w, 405, "Method not allowed", r.Method)
		return
	}
	if keys := r.Header.Values("Fastly-Key"); len(keys) != 1 || keys[0] != s.Token {
		s.refuse(w, 401, "Provided credentials are missing or invalid", "Fastly-Key")
		return
	}
	if r.URL.RawQuery != "" && !byURL {
		s.fault("a query: %s", r.URL.RawQuery)
	}
	soft := r.Header.Values("Fastly-Soft-Purge")
	if len(soft) > 1 || len(soft) == 1 && soft[0] != "1" {
		s.fault("Fastly-Soft-Purge is %q: any value makes it soft, and 1 is the documented one", soft)
	}
	if len(soft) > 0 && all {
		s.refuse(w, 400, "Bad request", "purge_all cannot be soft")
		return
	}
	if r.Header.Get("Surrogate-Key") != "" && !many {
		s.fault("Surrogate-Key, where it is not read")
	}
	if len(body) > 0 && !many {
		s.fault("a body, where none is read")
	}

	var keys []string
	switch {
	case many:
		var msg string
		if keys, msg = s.keys(r, body); msg != "" {
			s.refuse(w, 400, "Bad request", msg)
			return
		}
	case single:
		v, err := url.PathUnescape(one)
		if err != nil || strings.Contains(one, "/") || !printable(v) || len(v) > 1024 {
			s.refuse(w, 400, "Bad request", "not a surrogate key: "+one)
			return
		}
		keys = []string{v}
	case byURL:
		if r.URL.RawQuery != "" || r.URL.ForceQuery {
			cached += "?" + r.URL.RawQuery
		}
		if wrong := schemeless(cached); wrong != "" || strings.Contains(cached, "*") {
			s.refuse(w, 400, "Bad request", fmt.Sprintf("the URL %q %s", cached, wrong))
			return
		}
	}

	limit, n := &s.purges, max(1, len(keys))
	if all {
		limit, n = &s.requests, 1
	}
	ok, left, ends := limit.take(n)
	w.Header().Set("Fastly-RateLimit-Remaining", strconv.Itoa(left))
	w.Header().Set("Fastly-RateLimit-Reset", strconv.FormatInt(ends.Unix()+1, 10))
	if !ok {
		answerJSON(w, 429, map[string]string{"msg": "Too many requests", "detail": "You have exceeded your hourly rate limit"})
		return
	}

	c.Soft = len(soft) > 0
	switch {
	case many:
		ids := map[string]string{}
		c.Kind = "tag"
		for _, k := range keys {
			if !slices.Contains(s.Loses, k) {
				ids[k] = s.id()
				c.Values = append(c.Values, k)
			}
		}
		answerJSON(w, 200, ids)
	case single:
		c.Kind, c.Values = "tag", keys
		answerJSON(w, 200, map[string]string{"status": "ok", "id": s.id()})
	case byURL:
		c.Kind, c.Values = "url", []string{cached}
		answerJSON(w, 200, map[string]string{"status": "ok", "id": s.id()})
	case all:
		c.Kind = "all"
		answerJSON(w, 200, map[string]string{"status": "ok"})
	}
}

// keys reads the keys of a purge of many, from the header or the body, and says what is wrong with them.
func (s *Fastly) keys(r *http.Request, body []byte) (keys []string, wrong string) {
	header := r.Header.Values("Surrogate-Key")
	switch {
	case len(header) > 0 && len(body) > 0:
		return nil, "keys in a header and in a body"
	case len(header) > 1:
		return nil, "Surrogate-Key twice"
	case len(header) == 1:
		if len(header[0]) > 16<<10 {
			return nil, "Surrogate-Key has over 16 KB, and later keys would be ignored"
		}
		if strings.ContainsAny(header[0], ",;") {
			return nil, "Surrogate-Key has a comma or semicolon, and keys are parted by spaces"
		}
		keys = strings.Split(header[0], " ")
	default:
		if !isJSON(r) {
			return nil, fmt.Sprintf("Content-Type is %q", r.Header.Get("Content-Type"))
		}
		var ask struct {
			Keys []string `json:"surrogate_keys"`
		}
		if err := strictJSON(body, &ask); err != nil {
			return nil, "Invalid JSON: " + err.Error()
		}
		keys = ask.Keys
	}
	if len(keys) == 0 {
		return nil, "no keys"
	}
	if len(keys) > 256 {
		return nil, fmt.Sprintf("%d keys, and 256 are the most", len(keys))
	}
	for _, k := range keys {
		if !printable(k) || len(k) > 1024 {
			return nil, fmt.Sprintf("not a surrogate key: %.50q", k)
		}
		if strings.Contains(k, ",") {
			s.fault("the key %q has a comma: two of them in one?", k)
		}
	}
	s.distinct(keys)
	return keys, ""
}
