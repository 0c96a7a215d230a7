package cdntest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Leaseweb stands in for invalidations of Leaseweb's Multi-CDN. Its limits and statuses are those of kb.leaseweb.com ("Multi-CDN Invalidations"), its key and
// errors those of developer.leaseweb.com/api-docs/cdn_v2.html. What is not public is as good a guess as any: the path, that of one
// invalidation, and the fields of answers.
type Leaseweb struct {
	Server

	Host  string // where the API is; empty means api.leaseweb.com
	Key   string
	Path  string   // of invalidations, after /cdn/v2; one of them is at Path/ID
	Hosts []string // those of the customer's distributions

	Takes  time.Duration     // how long an invalidation is Pending
	Ends   string            // how invalidations end; empty means Complete, and Error where one of their URLs fails
	Failed map[string]string // why URLs fail

	rate          bucket
	invalidations []*leasewebInvalidation // guarded by mu of Server
}

type leasewebInvalidation struct {
	urls []string
	at   time.Time
}

// ServeHTTP implements [http.Handler].
func (s *Leaseweb) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.serve(w, r, s.answer) }

func (s *Leaseweb) answer(w http.ResponseWriter, r *http.Request, body []byte, c *Call) {
	fail := func(status int, code, format string, args ...any) {
		reason := fmt.Sprintf(format, args...)
		s.fault("%s %s: %d: %s", r.Method, r.URL.RequestURI(), status, reason)
		s.answerJSON(w, status, map[string]any{
			"errorCode": code, "errorMessage": reason, "correlationId": "550e8400-e29b-41d4-a716-446655440000",
			"userMessage": "Cannot handle your request.", "reference": "https://developer.leaseweb.com/errors/" + code,
		})
	}
	path := "/cdn/v2" + s.Path
	id, asks := strings.CutPrefix(r.URL.RequestURI(), path+"/")
	switch {
	case r.Host != cmp.Or(s.Host, "api.leaseweb.com"):
		fail(http.StatusNotFound, "404", "the API is not at %s", r.Host)
		return
	case !asks && r.URL.RequestURI() != path:
		fail(http.StatusNotFound, "404", "there is nothing at this path")
		return
	case asks && r.Method != http.MethodGet, !asks && r.Method != http.MethodPost:
		fail(http.StatusMethodNotAllowed, "405", "invalidations are posted, and asked about with GET")
		return
	case r.Header.Get("X-LSW-Auth") != s.Key:
		fail(http.StatusUnauthorized, "401", "You are not authorized to view this resource.")
		return
	}
	if asks {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, in := range s.invalidations {
			if id == fmt.Sprint(leasewebID(i)) {
				s.answerJSON(w, http.StatusOK, s.stateOf(i, in))
				return
			}
		}
		s.faults = append(s.faults, "there is no invalidation "+id)
		s.answerJSON(w, http.StatusNotFound, map[string]any{"errorCode": "404", "errorMessage": "There is no such invalidation."})
		return
	}

	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		fail(http.StatusUnsupportedMediaType, "415", "the Content-Type is to be application/json")
		return
	}
	var req struct {
		URLs []string `json:"urls"`
	}
	if err := strictJSON(body, &req); err != nil {
		fail(http.StatusBadRequest, "400", "the body is not an invalidation: %v", err)
		return
	}
	if len(req.URLs) == 0 || len(req.URLs) > 75 {
		fail(http.StatusBadRequest, "400", "an invalidation has 1 to 75 URLs, and not %d", len(req.URLs))
		return
	}
	seen := make(map[string]bool)
	for _, v := range req.URLs {
		u, err := url.Parse(v)
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || !containsFold(s.Hosts, u.Host) || u.Path == "" || u.Fragment != "":
			fail(http.StatusBadRequest, "400", "%q is no URL of a distribution", v)
			return
		case strings.Contains(u.Path, "*"):
			fail(http.StatusBadRequest, "400", "%q has a wildcard", v)
			return
		case seen[v]:
			s.fault("%q is there twice", v)
		}
		seen[v] = true
	}
	s.rate.mu.Lock()
	s.rate.burst, s.rate.perSecond = 1, 1.0/60
	s.rate.mu.Unlock()
	if !s.rate.take(1) {
		fail(http.StatusTooManyRequests, "429", "There may be one invalidation a minute.")
		return
	}
	c.Kind, c.Values = "url", req.URLs
	s.mu.Lock()
	defer s.mu.Unlock()
	in := &leasewebInvalidation{urls: req.URLs, at: time.Now()}
	s.invalidations = append(s.invalidations, in)
	s.answerJSON(w, http.StatusAccepted, map[string]any{"id": leasewebID(len(s.invalidations) - 1), "status": "Pending"})
}

// leasewebID is the ID of the i-th invalidation: more than a float64 holds, as IDs may be.
func leasewebID(i int) int64 { return 9007199254740993 + 2*int64(i) }

// stateOf is what is answered of an invalidation. mu is held.
func (s *Leaseweb) stateOf(i int, in *leasewebInvalidation) any {
	type detail struct {
		URL    string `json:"url"`
		Status string `json:"status"`
		Reason string `json:"reason,omitempty"`
	}
	state := "Complete"
	var details []detail
	for _, v := range in.urls {
		d := detail{v, "Complete", s.Failed[v]}
		if d.Reason != "" {
			d.Status, state = "Error", "Error"
		}
		details = append(details, d)
	}
	switch {
	case time.Since(in.at) < s.Takes:
		state, details = "Pending", nil
	case s.Ends != "":
		state = s.Ends
	}
	return map[string]any{"id": leasewebID(i), "status": state, "details": details}
}

func (s *Leaseweb) answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
