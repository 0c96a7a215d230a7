package cdntest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Akamai stands in for the Fast Purge API of version 3, as it is described on techdocs.akamai.com/purge-cache. Purged has URLs and tags
// as they were sent; "all" are purges of CP codes.
//
// It checks the EdgeGrid signature of requests, their clock and that no nonce comes twice; keeps to 50,000 bytes a body; and has the
// account's buckets of requests and of objects, of which a request that is refused takes nothing.
type Akamai struct {
	Server

	Host, ClientToken, ClientSecret, AccessToken string

	Network   string // that may be purged; empty means both
	CPCodes   []int  // that may be purged
	SwitchKey string // that requests have as accountSwitchKey
	Estimated int    // seconds that purges take; zero means 5

	once     sync.Once
	requests bucket
	objects  map[string]*bucket

	mu     sync.Mutex // guards what follows
	nonces map[string]bool
	n      int
}

// ServeHTTP implements [http.Handler].
func (s *Akamai) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.once.Do(func() {
		s.nonces = make(map[string]bool)
		s.requests = bucket{burst: 100, perSecond: 50}
		s.objects = map[string]*bucket{
			"url":    {burst: 10_000, perSecond: 12_000. / 60},
			"cpcode": {burst: 300, perSecond: 30. / 60},
			"tag":    {burst: 5000, perSecond: 500. / 60},
		}
	})
	s.serve(w, r, s.answer)
}

var (
	akamaiPath = regexp.MustCompile(`^/ccu/v3/(invalidate|delete)/(url|tag|cpcode)/(production|staging)$`)
	akamaiAuth = regexp.MustCompile(`^EG1-HMAC-SHA256 client_token=([^;]+);access_token=([^;]+);timestamp=([^;]+);nonce=([^;]+);signature=([^;]+)$`)

	// What a cache tag may be made of. The documentation of Fast Purge names what is not allowed, that of the Property Manager what is.
	akamaiTag = regexp.MustCompile(`^[0-9A-Za-z!#$%'+./^_` + "`" + `|~-]{1,128}$`)
)

func (s *Akamai) answer(w http.ResponseWriter, r *http.Request, body []byte, c *Call) {
	refuse := func(status int, title, format string, args ...any) {
		detail := fmt.Sprintf(format, args...)
		s.fault("%d %s: %s", status, title, detail)
		s.problem(w, status, title, detail)
	}
	if wrong := s.verify(r, body); wrong != "" {
		s.fault("401: %s", wrong)
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnauthorized)
		json.NewEncoder(w).Encode(map[string]any{
			"type": "https://problems.luna.akamaiapis.net/-/pep-authn/deny", "title": "Not authorized", "status": http.StatusUnauthorized, "detail": wrong,
			"instance": "https://" + s.Host + r.URL.Path, "method": r.Method, "requestId": "1a2b3c",
		})
		return
	}
	m := akamaiPath.FindStringSubmatch(r.URL.EscapedPath())
	if m == nil {
		refuse(http.StatusNotFound, "Not Found", "there is no %s", r.URL.Path)
		return
	}
	method, kind, network := m[1], m[2], m[3]
	want := ""
	if s.SwitchKey != "" {
		want = "accountSwitchKey=" + url.QueryEscape(s.SwitchKey)
	}
	if r.URL.RawQuery != want {
		s.fault("the query is %q, not %q", r.URL.RawQuery, want)
	}
	if r.Method != http.MethodPost {
		refuse(http.StatusMethodNotAllowed, "Method Not Allowed", "%s", r.Method)
		return
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		refuse(http.StatusUnsupportedMediaType, "Unsupported Media Type", "the type is %q", r.Header.Get("Content-Type"))
		return
	}
	if len(body) > 50_000 {
		refuse(http.StatusRequestEntityTooLarge, "Request Entity Too Large", "the body has %d bytes", len(body))
		return
	}
	if s.Network != "" && network != s.Network {
		refuse(http.StatusForbidden, "Forbidden", "no access to %s", network)
		return
	}
	values, wrong := s.parse(kind, body)
	if wrong != "" {
		refuse(http.StatusBadRequest, "Bad Request", "%s", wrong)
		return
	}
	if kind == "cpcode" {
		for _, v := range values {
			allowed := false
			for _, code := range s.CPCodes {
				allowed = allowed || strconv.Itoa(code) == v
			}
			if !allowed {
				refuse(http.StatusForbidden, "unauthorized cpcode", "%s", v)
				return
			}
		}
	}
	for i, v := range values {
		for _, before := range values[:min(i, 50)] { // enough to see
			if v == before {
				s.fault("%q is there twice, and counts twice", v)
			}
		}
	}

	n, objects := float64(len(values)), s.objects[kind]
	s.mu.Lock()
	defer s.mu.Unlock()
	ok := s.requests.take(1)
	if ok && !objects.take(n) {
		s.requests.take(-1)
		ok = false
	}
	for suffix, b := range map[string]*bucket{"": &s.requests, "-Objects": objects} {
		b.mu.Lock()
		w.Header().Set("X-Ratelimit-Limit"+suffix, fmt.Sprint(b.burst))
		w.Header().Set("X-Ratelimit-Limit-Per-Second"+suffix, fmt.Sprintf("%.2f", b.perSecond))
		w.Header().Set("X-Ratelimit-Remaining"+suffix, fmt.Sprint(int(b.burst-b.used)))
		b.mu.Unlock()
	}
	if !ok {
		s.problem(w, http.StatusTooManyRequests, "Rate Limit exceeded", "Too many requests")
		return
	}
	s.n++
	c.Kind, c.Values, c.Soft = kind, values, method == "invalidate"
	if kind == "cpcode" {
		c.Kind, c.Values = "all", nil
	}
	estimated := s.Estimated
	if estimated == 0 {
		estimated = 5
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"httpStatus":201,"detail":"Request accepted","supportId":"17PY%d-211776704","purgeId":"e535071c-26b2-11e7-94d7-%012d","estimatedSeconds":%d}`, s.n, s.n, estimated)
}

// problem answers with an error of Fast Purge.
func (s *Akamai) problem(w http.ResponseWriter, status int, title, detail string) {
	w.Header().Set("Content-Type", "application/api-problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{
		"supportId": "17PY1552425241133633-211776704", "title": title, "httpStatus": status, "detail": detail,
		"describedBy": "https://techdocs.akamai.com/purge-cache/reference/" + strconv.Itoa(status),
	})
}

// parse reads the objects of a body, and says what is wrong with it.
func (s *Akamai) parse(kind string, body []byte) (values []string, wrong string) {
	var ask struct {
		Objects []json.RawMessage `json:"objects"`
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&ask); err != nil {
		return nil, "the body is not as it should be: " + err.Error()
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, "something follows the body's object"
	}
	if len(ask.Objects) == 0 {
		return nil, "there are no objects"
	}
	for _, raw := range ask.Objects {
		if kind == "cpcode" {
			n, err := strconv.Atoi(string(raw))
			if err != nil || n <= 0 {
				return nil, fmt.Sprintf("%s is no CP code", raw)
			}
			values = append(values, strconv.Itoa(n))
			continue
		}
		var v string
		if err := json.Unmarshal(raw, &v); err != nil {
			return nil, fmt.Sprintf("%s is no string", raw)
		}
		switch {
		case kind == "tag" && !akamaiTag.MatchString(v):
			return nil, fmt.Sprintf("%q is no cache tag", v)
		case kind == "url":
			u, err := url.Parse(v)
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || !strings.Contains(u.Host, ".") {
				return nil, fmt.Sprintf("%q is no absolute URL", v)
			}
			for i := range len(v) {
				if v[i] <= ' ' || v[i] >= 0x7f {
					return nil, fmt.Sprintf("%q has a character that is not escaped", v)
				}
			}
			if strings.Contains(v, "#") || strings.HasSuffix(v, "*") {
				s.fault("%q is no URL of a copy: there are no fragments and no wildcards", v)
			}
		}
		values = append(values, v)
	}
	return values, ""
}

// verify checks the Authorization of r, from the description of EdgeGrid.
func (s *Akamai) verify(r *http.Request, body []byte) (wrong string) {
	m := akamaiAuth.FindStringSubmatch(r.Header.Get("Authorization"))
	if m == nil {
		return "Authorization is not that of EdgeGrid"
	}
	token, access, stamp, nonce, signature := m[1], m[2], m[3], m[4], m[5]
	at, err := time.Parse("20060102T15:04:05-0700", stamp)
	switch {
	case token != s.ClientToken || access != s.AccessToken:
		return "Invalid authorization access token"
	case err != nil || !strings.HasSuffix(stamp, "+0000") || time.Since(at).Abs() > 30*time.Second:
		return "Invalid timestamp"
	case r.Host != s.Host || r.URL.Scheme == "http":
		return "the request is for " + r.URL.Scheme + "://" + r.Host
	}
	secret := func(key string, text ...string) string {
		h := hmac.New(sha256.New, []byte(key))
		for i, t := range text {
			if i > 0 {
				h.Write([]byte{'\t'})
			}
			io.WriteString(h, t)
		}
		return base64.StdEncoding.EncodeToString(h.Sum(nil))
	}
	sum := ""
	if r.Method == http.MethodPost && len(body) > 0 {
		digest := sha256.Sum256(body[:min(len(body), 131_072)])
		sum = base64.StdEncoding.EncodeToString(digest[:])
	}
	unsigned := strings.TrimSuffix(r.Header.Get("Authorization"), "signature="+signature)
	if secret(secret(s.ClientSecret, stamp), r.Method, "https", r.Host, r.URL.RequestURI(), "", sum, unsigned) != signature {
		return "The signature does not match"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nonces[nonce] {
		return "Invalid nonce: it was used before"
	}
	s.nonces[nonce] = true
	return ""
}
