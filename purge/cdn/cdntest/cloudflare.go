package cdntest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// Cloudflare stands in for one zone of Cloudflare's API, after developers.cloudflare.com/api (resources/cache/methods/purge) and
// developers.cloudflare.com/cache/how-to/purge-cache. Its fields are set before use.
type Cloudflare struct {
	Server

	Zone  string // its ID
	Token string // an API token that may purge it
	Plan  string // "free", "pro", "business" or "enterprise"; empty means free

	once     sync.Once
	requests *bucket // of tags, hosts, prefixes and everything
	urls     *bucket
	maxURLs  int
}

func (s *Cloudflare) init() {
	s.maxURLs = 100
	switch s.Plan {
	case "pro":
		s.requests, s.urls = &bucket{burst: 25, perSecond: 5}, &bucket{burst: 1500, perSecond: 1500}
	case "business":
		s.requests, s.urls = &bucket{burst: 50, perSecond: 10}, &bucket{burst: 1500, perSecond: 1500}
	case "enterprise":
		s.requests, s.urls = &bucket{burst: 500, perSecond: 50}, &bucket{burst: 3000, perSecond: 3000}
		s.maxURLs = 500
	case "", "free":
		s.requests, s.urls = &bucket{burst: 25, perSecond: 5. / 60}, &bucket{burst: 800, perSecond: 800}
	default:
		panic("cdntest: no plan of Cloudflare's: " + s.Plan)
	}
}

// ServeHTTP implements [http.Handler].
func (s *Cloudflare) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.once.Do(s.init)
	s.serve(w, r, s.answer)
}

// refuse notes a fault, and answers with an error of the API.
func (s *Cloudflare) refuse(w http.ResponseWriter, status, code int, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.fault("%d: %s", status, text)
	s.envelope(w, status, code, text)
}

func (s *Cloudflare) envelope(w http.ResponseWriter, status, code int, text string) {
	type item struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	type result struct {
		ID string `json:"id"`
	}
	v := struct {
		Success  bool    `json:"success"`
		Errors   []item  `json:"errors"`
		Messages []item  `json:"messages"`
		Result   *result `json:"result"`
	}{Errors: []item{}, Messages: []item{}}
	if text == "" {
		v.Success, v.Result = true, &result{s.Zone}
	} else {
		v.Errors = append(v.Errors, item{code, text})
	}
	answerJSON(w, status, v)
}

func (s *Cloudflare) answer(w http.ResponseWriter, r *http.Request, body []byte, c *Call) {
	s.addressed(r, "api.cloudflare.com")
	if r.URL.EscapedPath() != "/client/v4/zones/"+s.Zone+"/purge_cache" {
		s.refuse(w, 404, 7003, "Could not route to %s, perhaps your object identifier is invalid?", r.URL.Path)
		return
	}
	if r.URL.RawQuery != "" {
		s.fault("a query: %s", r.URL.RawQuery)
	}
	if r.Method != http.MethodPost {
		s.refuse(w, 405, 10405, "Method not allowed for this authentication scheme")
		return
	}
	switch auth := r.Header.Values("Authorization"); {
	case len(auth) != 1 || !strings.HasPrefix(auth[0], "Bearer "):
		s.refuse(w, 400, 6003, "Invalid request headers")
		return
	case auth[0] != "Bearer "+s.Token:
		s.refuse(w, 403, 10000, "Authentication error")
		return
	}
	if !isJSON(r) {
		s.refuse(w, 400, 1012, "Content-Type %q is not application/json", r.Header.Get("Content-Type"))
		return
	}
	var ask struct {
		Files      []json.RawMessage `json:"files"`
		Tags       []string          `json:"tags"`
		Hosts      []string          `json:"hosts"`
		Prefixes   []string          `json:"prefixes"`
		Everything *bool             `json:"purge_everything"`
	}
	if err := strictJSON(body, &ask); err != nil {
		s.refuse(w, 400, 1012, "Invalid JSON: %v", err)
		return
	}
	given := 0
	for _, is := range []bool{ask.Files != nil, ask.Tags != nil, ask.Hosts != nil, ask.Prefixes != nil, ask.Everything != nil} {
		if is {
			given++
		}
	}
	if given != 1 {
		s.refuse(w, 400, 1012, `Request must contain one of "purge_everything", "files", "tags", "hosts" or "prefixes"`)
		return
	}
	kind, values, most, limit := "", []string(nil), 100, s.requests
	cost := 1.
	switch {
	case ask.Everything != nil:
		if !*ask.Everything {
			s.refuse(w, 400, 1012, "purge_everything must be true")
			return
		}
		kind = "all"
	case ask.Files != nil:
		kind, most, limit, cost = "url", s.maxURLs, s.urls, float64(len(ask.Files))
		for _, raw := range ask.Files {
			v, err := cloudflareFile(raw)
			if err != nil {
				s.refuse(w, 400, 1012, "files: %v", err)
				return
			}
			values = append(values, v)
		}
	case ask.Tags != nil:
		kind, values = "tag", ask.Tags
	case ask.Hosts != nil:
		kind, values = "host", ask.Hosts
	case ask.Prefixes != nil:
		kind, values = "prefix", ask.Prefixes
	}
	if kind != "all" && len(values) == 0 {
		s.refuse(w, 400, 1012, "an empty list")
		return
	}
	if len(values) > most {
		s.refuse(w, 400, 1012, "You may only purge up to %d items at a time", most)
		return
	}
	s.distinct(values)
	for _, v := range values {
		if wrong := s.wrong(kind, v); wrong != "" {
			s.refuse(w, 400, 1012, "%s %q %s", kind, v, wrong)
			return
		}
	}
	if !limit.take(cost) {
		wait := limit.wait(cost)
		w.Header().Set("Retry-After", seconds(wait))
		w.Header().Set("Ratelimit", fmt.Sprintf(`"purge";r=0;t=%s`, seconds(wait)))
		s.envelope(w, 429, 971, "Rate limit reached. Please wait and consider throttling your request speed")
		return
	}
	c.Kind, c.Values = kind, values
	s.envelope(w, 200, 0, "")
}

// cloudflareFile is an element of files: a URL, or a URL with the headers of a custom cache key.
func cloudflareFile(raw json.RawMessage) (string, error) {
	var v string
	if json.Unmarshal(raw, &v) == nil {
		return v, nil
	}
	var keyed struct {
		URL     string            `json:"url"`
		Headers map[string]string `json:"headers"`
	}
	err := strictJSON(raw, &keyed)
	return keyed.URL, err
}

// wrong says what is wrong with a value; empty: nothing.
func (s *Cloudflare) wrong(kind, v string) string {
	switch kind {
	case "url":
		if strings.Contains(v, "*") {
			return "has a wildcard, which is taken as it is"
		}
		return absolute(v)
	case "tag":
		switch {
		case len(v) > 1024:
			return "has over 1,024 characters"
		case !printable(v):
			return "is not of printable ASCII without spaces"
		case strings.Contains(v, ","):
			return "has a comma, at which the header is split"
		}
	case "prefix":
		switch {
		case strings.ContainsAny(v, "?#"):
			return "has a query or a fragment, and would match nothing"
		case strings.Contains(v, "*"):
			return "has a wildcard, which is taken as it is"
		case strings.HasSuffix(v, "/"):
			return "ends with a slash, in a form that is not documented"
		case strings.Count(v, "/") > 31:
			return "has over 31 path separators"
		}
		return schemeless(v)
	case "host":
		if strings.Contains(v, "/") {
			return "has a path"
		}
		return schemeless(v)
	}
	return ""
}
