package cdntest

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"
)

// GoogleCDN stands in for what of Google's APIs purges Cloud CDN: urlMaps.invalidateCache and globalOperations.get of the Compute Engine
// API of version 1, the token endpoint for service accounts, and the metadata server, each under its own host. Purged has the host and path of URLs,
// and of prefixes without their asterisk.
//
// It checks tokens, and the JWTs that they are asked for with; that requests with the same requestId are the same; and has the limit
// of 500 invalidations in any minute.
type GoogleCDN struct {
	Server

	Project, URLMap string

	// Token is an access token that is good at all times. Empty means that there is none but those that are given out.
	Token string

	// Email, Key and KeyID are of the service account that tokens are given to. A nil Key means that there is none.
	Email string
	Key   *rsa.PublicKey
	KeyID string

	// Instance is whether there is a metadata server.
	Instance bool

	// TokenLife is how long tokens are good. Zero means an hour.
	TokenLife time.Duration

	// Host is one that purges of tags and of everything are meant to keep to. Empty means that they are for all hosts.
	Host string

	// Takes is how long operations run. Zero means that they are done when they are asked for, and negative that they are
	// when they begin.
	Takes time.Duration

	mu         sync.Mutex // guards what follows
	tokens     map[string]time.Time
	operations []*googleOperation
	failing    []googleOperation
	recent     []time.Time // invalidations of the last minute
}

type googleOperation struct {
	name, requestID, body string
	made, done            time.Time
	status                int // of an error
	code, message         string
}

// FailOperation has the next operation end with an error.
func (s *GoogleCDN) FailOperation(status int, code, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = append(s.failing, googleOperation{status: status, code: code, message: message})
}

// ServeHTTP implements [http.Handler].
func (s *GoogleCDN) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.serve(w, r, func(w http.ResponseWriter, r *http.Request, body []byte, c *Call) {
		switch r.Host {
		case "oauth2.googleapis.com":
			s.token(w, r, body)
		case "metadata.google.internal":
			s.metadata(w, r)
		case "compute.googleapis.com":
			s.compute(w, r, body, c)
		default:
			s.fault("no API is at %q", r.Host)
			http.Error(w, "no such host", http.StatusNotFound)
		}
	})
}

// refuse answers with an error of an API, and notes it.
func (s *GoogleCDN) refuse(w http.ResponseWriter, status int, reason, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	s.fault("%d %s: %s", status, reason, message)
	googleError(w, status, reason, message)
}

func googleError(w http.ResponseWriter, status int, reason, message string) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{
		"code": status, "message": message,
		"errors": []map[string]string{{"message": message, "domain": "global", "reason": reason}},
	}})
}

func (s *GoogleCDN) compute(w http.ResponseWriter, r *http.Request, body []byte, c *Call) {
	if r.URL.Scheme == "http" {
		s.fault("a token over plain http")
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	end, given := s.tokens[token]
	s.mu.Unlock()
	if !ok || token == "" || !(token == s.Token || given && time.Now().Before(end)) {
		s.refuse(w, http.StatusUnauthorized, "authError", "Request had invalid authentication credentials. Expected OAuth 2 access token")
		return
	}
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/compute/v1/projects/")
	project, rest, _ := strings.Cut(rest, "/global/")
	if !ok || rest == "" {
		s.refuse(w, http.StatusNotFound, "notFound", "there is no %s", r.URL.Path)
		return
	}
	if project != s.Project {
		s.refuse(w, http.StatusForbidden, "forbidden", "Required 'compute.urlMaps.invalidateCache' permission for 'projects/%s'", project)
		return
	}
	if name, ok := strings.CutPrefix(rest, "operations/"); ok && r.Method == http.MethodGet && r.URL.RawQuery == "" && len(body) == 0 {
		s.operation(w, name)
		return
	}
	if rest != "urlMaps/"+s.URLMap+"/invalidateCache" {
		s.refuse(w, http.StatusNotFound, "notFound", "The resource 'projects/%s/global/%s' was not found", project, rest)
		return
	}
	if r.Method != http.MethodPost {
		s.refuse(w, http.StatusMethodNotAllowed, "httpMethodNotAllowed", "%s", r.Method)
		return
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		s.refuse(w, http.StatusBadRequest, "badContent", "Unsupported content with type: %s", r.Header.Get("Content-Type"))
		return
	}
	s.invalidateCache(w, r, body, c)
}

var googleUUID = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)

func (s *GoogleCDN) invalidateCache(w http.ResponseWriter, r *http.Request, body []byte, c *Call) {
	var requestID string
	for name, values := range r.URL.Query() {
		if name != "requestId" || len(values) != 1 {
			s.refuse(w, http.StatusBadRequest, "invalid", "the parameter %s", name)
			return
		}
		requestID = values[0]
		if !googleUUID.MatchString(requestID) || strings.Trim(requestID, "0-") == "" {
			s.refuse(w, http.StatusBadRequest, "invalid", "Invalid value for field 'requestId': '%s'. Must be a valid UUID", requestID)
			return
		}
	}
	if requestID == "" {
		s.fault("there is no requestId: a request that is sent again would be carried out again")
	}
	var ask struct {
		Host      *string  `json:"host"`
		Path      *string  `json:"path"`
		CacheTags []string `json:"cacheTags"`
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&ask); err != nil {
		s.refuse(w, http.StatusBadRequest, "parseError", "Invalid JSON payload received: %v", err)
		return
	}
	if _, err := d.Token(); err != io.EOF {
		s.refuse(w, http.StatusBadRequest, "parseError", "Invalid JSON payload received: more than an object")
		return
	}
	host := ""
	if ask.Host != nil {
		if host = *ask.Host; host == "" || strings.ContainsAny(host, "/*?# ") {
			s.refuse(w, http.StatusBadRequest, "invalid", "Invalid value for field 'resource.host': '%s'", host)
			return
		}
	}
	kind, values := "", []string(nil)
	switch {
	case ask.Path == nil && len(ask.CacheTags) == 0:
		s.refuse(w, http.StatusBadRequest, "required", "Required field 'resource.path' not specified")
		return
	case len(ask.CacheTags) > 10:
		s.refuse(w, http.StatusBadRequest, "invalid", "%d cache tags, of at most 10", len(ask.CacheTags))
		return
	case ask.Path != nil:
		p := *ask.Path
		if wrong := googlePath(p); wrong != "" {
			s.refuse(w, http.StatusBadRequest, "invalid", "Invalid value for field 'resource.path': '%s': %s", p, wrong)
			return
		}
		prefix, wild := strings.CutSuffix(p, "*")
		switch {
		case p == "/*" && host == s.Host:
			kind = "all"
		case host == "":
			s.fault("no host: %s is invalidated for all that the URL map has", p)
		}
		if kind == "" {
			kind, values = "url", []string{host + p}
			if wild {
				kind, values = "prefix", []string{host + prefix}
			}
		}
		if len(ask.CacheTags) > 0 {
			s.fault("a path and tags: only what has both is invalidated")
		}
	default:
		kind, values = "tag", ask.CacheTags
		if host != s.Host {
			s.fault("the tags are those of the host %q, not %q", host, s.Host)
		}
		seen := make(map[string]bool)
		for _, tag := range values {
			for i := range len(tag) {
				if tag[i] <= ' ' || tag[i] >= 0x7f || tag[i] == ',' {
					s.refuse(w, http.StatusBadRequest, "invalid", "Invalid value for field 'resource.cacheTags': '%s'", tag)
					return
				}
			}
			if tag == "" || seen[tag] {
				s.fault("%q is empty, or there twice", tag)
			}
			seen[tag] = true
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, op := range s.operations {
		if requestID != "" && op.requestID == requestID {
			if op.body != string(body) {
				s.fault("the requestId %s came with another body before", requestID)
			}
			c.Kind, c.Values = kind, values
			s.write(w, op, now, false)
			return
		}
	}
	for len(s.recent) > 0 && now.Sub(s.recent[0]) >= time.Minute {
		s.recent = s.recent[1:]
	}
	if len(s.recent) >= 500 {
		googleError(w, http.StatusForbidden, "rateLimitExceeded", "Quota exceeded for quota metric 'Cache invalidation requests' and limit 'Cache invalidation requests per minute'")
		return
	}
	s.recent = append(s.recent, now)
	op := &googleOperation{name: fmt.Sprintf("operation-1690000000000-%013x-0a1b2c3d-%08x", len(s.operations)+1, len(s.operations)+1), requestID: requestID, body: string(body), made: now, done: now.Add(s.Takes)}
	if len(s.failing) > 0 {
		op.status, op.code, op.message = s.failing[0].status, s.failing[0].code, s.failing[0].message
		s.failing = s.failing[1:]
	}
	s.operations = append(s.operations, op)
	c.Kind, c.Values = kind, values
	s.write(w, op, now, true)
}

// googlePath says what is wrong with a path of an invalidation.
func googlePath(p string) string {
	switch {
	case !strings.HasPrefix(p, "/"):
		return "it does not begin with a slash"
	case strings.ContainsAny(p, "?#"):
		return "it has a query or a fragment"
	case strings.Contains(strings.TrimSuffix(p, "/*"), "*"):
		return "an asterisk is allowed only at the end, after a slash"
	case strings.HasPrefix(p, "//"):
		return "a host is not part of it"
	}
	for i := range len(p) {
		if p[i] <= ' ' || p[i] >= 0x7f {
			return "a character is not escaped"
		}
	}
	return ""
}

func (s *GoogleCDN) operation(w http.ResponseWriter, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, op := range s.operations {
		if op.name == name {
			s.write(w, op, time.Now(), false)
			return
		}
	}
	s.refuse(w, http.StatusNotFound, "notFound", "The resource 'projects/%s/global/operations/%s' was not found", s.Project, name)
}

// write answers an operation, which is pending when it begins.
func (s *GoogleCDN) write(w http.ResponseWriter, op *googleOperation, now time.Time, begins bool) {
	link := "https://www.googleapis.com/compute/v1/projects/" + s.Project + "/global/"
	v := map[string]any{
		"kind": "compute#operation", "id": "4123456789012345678", "name": op.name, "operationType": "invalidateCache", "progress": 0, "status": "RUNNING",
		"targetLink": link + "urlMaps/" + s.URLMap, "selfLink": link + "operations/" + op.name, "insertTime": op.made.Format(time.RFC3339),
	}
	if op.requestID != "" {
		v["clientOperationId"] = op.requestID
	}
	switch {
	case begins && !op.done.Before(now):
		v["status"] = "PENDING"
	case !op.done.After(now):
		v["status"], v["progress"] = "DONE", 100
		if op.status != 0 {
			v["error"] = map[string]any{"errors": []map[string]string{{"code": op.code, "message": op.message}}}
			v["httpErrorStatusCode"], v["httpErrorMessage"] = op.status, strings.ToUpper(http.StatusText(op.status))
		}
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	json.NewEncoder(w).Encode(v)
}

// give answers a new token.
func (s *GoogleCDN) give(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	life := s.TokenLife
	if life == 0 {
		life = time.Hour
	}
	if s.tokens == nil {
		s.tokens = make(map[string]time.Time)
	}
	token := fmt.Sprintf("ya29.token-%d", len(s.tokens)+1)
	s.tokens[token] = time.Now().Add(life)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	fmt.Fprintf(w, `{"access_token":%q,"expires_in":%d,"token_type":"Bearer"}`, token, int(life.Seconds()))
}

// token is the endpoint of RFC 7523 at Google.
func (s *GoogleCDN) token(w http.ResponseWriter, r *http.Request, body []byte) {
	refuse := func(code, format string, args ...any) {
		message := fmt.Sprintf(format, args...)
		s.fault("%s: %s", code, message)
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": message})
	}
	if r.Method != http.MethodPost || r.URL.RequestURI() != "/token" || r.URL.Scheme == "http" {
		s.fault("%s %s is not the token endpoint", r.Method, r.URL)
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	form, err := url.ParseQuery(string(body))
	switch {
	case r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || err != nil:
		refuse("invalid_request", "the body is no form")
		return
	case form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
		refuse("unsupported_grant_type", "Invalid grant_type: %s", form.Get("grant_type"))
		return
	case len(form) != 2 || len(form["assertion"]) != 1:
		refuse("invalid_request", "the form has not just a grant_type and an assertion")
		return
	}
	if wrong := s.assertion(form.Get("assertion")); wrong != "" {
		refuse("invalid_grant", "%s", wrong)
		return
	}
	s.give(w)
}

// assertion says what is wrong with a JWT.
func (s *GoogleCDN) assertion(jwt string) string {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return "the assertion has not three parts"
	}
	var raw [3][]byte
	for i, p := range parts {
		b, err := base64.RawURLEncoding.Strict().DecodeString(p)
		if err != nil {
			return "the assertion is not in base64url without padding"
		}
		raw[i] = b
	}
	var header struct {
		Algorithm string `json:"alg"`
		Type      string `json:"typ"`
		KeyID     string `json:"kid"`
	}
	var claims struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Scope    string `json:"scope"`
		Audience string `json:"aud"`
		Issued   int64  `json:"iat"`
		Expires  int64  `json:"exp"`
	}
	for i, v := range []any{&header, &claims} {
		d := json.NewDecoder(bytes.NewReader(raw[i]))
		d.DisallowUnknownFields()
		if err := d.Decode(v); err != nil {
			return "the assertion's JSON: " + err.Error()
		}
	}
	if s.Key == nil || header.Algorithm != "RS256" || header.Type != "JWT" || header.KeyID != s.KeyID {
		return "Invalid JWT: no such key, or not RS256"
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if rsa.VerifyPKCS1v15(s.Key, crypto.SHA256, sum[:], raw[2]) != nil {
		return "Invalid JWT Signature."
	}
	now := time.Now().Unix()
	switch {
	case claims.Issuer != s.Email || claims.Subject != "" && claims.Subject != s.Email:
		return "Invalid grant: account not found"
	case claims.Audience != "https://oauth2.googleapis.com/token":
		return "Invalid JWT: the audience is " + claims.Audience
	case claims.Expires-claims.Issued > 3600 || claims.Expires <= now || claims.Issued > now+60 || claims.Issued < now-3600:
		return "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim."
	case claims.Scope != "https://www.googleapis.com/auth/compute" && claims.Scope != "https://www.googleapis.com/auth/cloud-platform":
		return "the scope has nothing to do with Cloud CDN: " + claims.Scope
	}
	return ""
}

// metadata is the part of a machine's metadata server that gives out tokens.
func (s *GoogleCDN) metadata(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Metadata-Flavor", "Google")
	w.Header().Set("Server", "Metadata Server for VM")
	switch {
	case !s.Instance:
		s.fault("there is no metadata server")
		http.Error(w, "no such host", http.StatusNotFound)
	case r.Header.Get("Metadata-Flavor") != "Google" || r.Header.Get("X-Forwarded-For") != "":
		s.fault("the header Metadata-Flavor is missing")
		http.Error(w, "Missing required header: Metadata-Flavor", http.StatusForbidden)
	case r.Method != http.MethodGet || r.URL.RequestURI() != "/computeMetadata/v1/instance/service-accounts/default/token":
		s.fault("%s %s is not where tokens are", r.Method, r.URL.RequestURI())
		http.Error(w, "not found", http.StatusNotFound)
	default:
		s.give(w)
	}
}
