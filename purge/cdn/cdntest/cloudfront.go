package cdntest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

// CloudFront stands in for the invalidations of the CloudFront API of 2020-05-31, for one distribution. Purged has paths as the API
// takes them, prefixes without their asterisk and tags without their "#".
//
// It checks requests' signatures, the form of paths and tags, that the same CallerReference comes with the same paths, and the quotas: 150 paths
// or tags and one wildcard a second, 3,000 paths and 15 wildcards in progress, and one call in two seconds after six. A call that alone is
// above what is allowed in a second is taken when there was none shortly before.
type CloudFront struct {
	Server

	Distribution string
	Tenant       bool // the ID is of a distribution tenant

	// Keys has credentials by access key ID.
	Keys map[string]CloudFrontKey

	// Tags is whether the distribution has a CacheTagConfig. Without, a tag is taken and purges nothing, which is a fault.
	Tags bool

	// Takes is how long an invalidation is in progress. Zero means that it is complete when it is asked for.
	Takes time.Duration

	mu            sync.Mutex // guards what follows
	invalidations []*cloudFrontInvalidation
	once          sync.Once
	calls         bucket
	paths         bucket
	wildcards     bucket
}

// A CloudFrontKey is what belongs to an access key ID.
type CloudFrontKey struct {
	Secret  string
	Token   string // of temporary credentials
	Expired bool
}

type cloudFrontInvalidation struct {
	id, reference string
	paths         []string
	made, done    time.Time
}

const cloudFrontNamespace = "http://cloudfront.amazonaws.com/doc/2020-05-31/"

// ServeHTTP implements [http.Handler].
func (s *CloudFront) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.once.Do(func() {
		s.calls = bucket{burst: 6, perSecond: 0.5}
		s.paths = bucket{burst: 150, perSecond: 150}
		s.wildcards = bucket{burst: 1, perSecond: 1}
	})
	s.serve(w, r, s.answer)
}

func (s *CloudFront) answer(w http.ResponseWriter, r *http.Request, body []byte, c *Call) {
	if r.Host != "cloudfront.amazonaws.com" || r.URL.Scheme == "http" {
		s.fault("%s://%s is not the API", r.URL.Scheme, r.Host)
	}
	if code, message := s.verify(r, body); code != "" {
		if code != "ExpiredToken" { // which happens to all
			s.fault("%s %s: %s: %s", r.Method, r.URL.Path, code, message)
		}
		cloudFrontError(w, http.StatusForbidden, code, message)
		return
	}
	kind := "distribution"
	if s.Tenant {
		kind = "distribution-tenant"
	}
	base := "/2020-05-31/" + kind + "/"
	rest, ok := strings.CutPrefix(r.URL.Path, base)
	id, rest, slash := strings.Cut(rest, "/")
	if !ok || !slash || rest != "invalidation" && !strings.HasPrefix(rest, "invalidation/") || r.URL.RawQuery != "" {
		s.fault("no such operation: %s %s", r.Method, r.URL.RequestURI())
		cloudFrontError(w, http.StatusNotFound, "UnknownOperationException", "no such operation")
		return
	}
	if id != s.Distribution {
		s.fault("no such distribution: %s", id)
		cloudFrontError(w, http.StatusNotFound, "NoSuchDistribution", "The specified distribution does not exist.")
		return
	}
	switch {
	case r.Method == http.MethodPost && rest == "invalidation":
		s.create(w, r, body, c)
	case r.Method == http.MethodGet && strings.HasPrefix(rest, "invalidation/"):
		s.get(w, strings.TrimPrefix(rest, "invalidation/"))
	default:
		s.fault("no such operation: %s %s", r.Method, r.URL.Path)
		cloudFrontError(w, http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource.")
	}
}

func (s *CloudFront) create(w http.ResponseWriter, r *http.Request, body []byte, c *Call) {
	refuse := func(status int, code, format string, args ...any) {
		message := fmt.Sprintf(format, args...)
		s.fault("%s: %s", code, message)
		cloudFrontError(w, status, code, message)
	}
	if t := r.Header.Get("Content-Type"); t != "application/xml" && t != "text/xml" {
		refuse(400, "MissingBody", "the Content-Type is %q, not application/xml", t)
		return
	}
	reference, paths, quantity, err := parseInvalidationBatch(body)
	switch {
	case err != nil:
		refuse(400, "MalformedXML", "%v", err)
		return
	case quantity != len(paths):
		refuse(400, "InconsistentQuantities", "Quantity is %d and there are %d items", quantity, len(paths))
		return
	case len(paths) == 0:
		refuse(400, "InvalidArgument", "there are no paths")
		return
	case reference == "":
		refuse(400, "InvalidArgument", "the CallerReference is empty")
		return
	case len(paths) > 3000:
		refuse(413, "BatchTooLarge", "Invalidation batch specified is too large: %d paths", len(paths))
		return
	}
	kinds := make(map[string]bool)
	var values []string
	wild := 0
	seen := make(map[string]bool)
	for _, p := range paths {
		kind, value, wrong := s.path(p)
		if wrong != "" {
			refuse(400, "InvalidArgument", "Your request contains one or more invalid invalidation paths: %q %s", p, wrong)
			return
		}
		if seen[p] {
			s.fault("%q is there twice, and paid for twice", p)
		}
		seen[p] = true
		if kind == "all" || kind == "prefix" {
			wild++
		}
		kinds[kind] = true
		values = append(values, value)
	}
	if len(kinds) > 1 {
		s.fault("one batch has %d kinds of values, for which a Call has no room", len(kinds))
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, inv := range s.invalidations {
		if inv.reference != reference {
			continue
		}
		if strings.Join(inv.paths, "\n") != strings.Join(paths, "\n") {
			refuse(400, "InvalidationBatchAlreadyExists", "the CallerReference %s has other paths", reference)
			return
		}
		s.record(c, kinds, values)
		s.write(w, r, http.StatusCreated, inv, now)
		return
	}
	openPaths, openWild := len(paths)-wild, wild
	for _, inv := range s.invalidations {
		if inv.done.After(now) {
			for _, p := range inv.paths {
				if strings.HasSuffix(p, "*") && !strings.HasPrefix(p, "#") {
					openWild++
				} else {
					openPaths++
				}
			}
		}
	}
	switch {
	case !s.calls.take(1):
		cloudFrontError(w, http.StatusBadRequest, "Throttling", "Rate exceeded")
		return
	case openPaths > 3000 || openWild > 15:
		cloudFrontError(w, http.StatusBadRequest, "TooManyInvalidationsInProgress",
			"Processing your request will cause you to exceed the maximum number of in-progress invalidations.")
		return
	case !s.paths.take(float64(min(len(paths)-wild, 150))), wild > 0 && !s.wildcards.take(1):
		cloudFrontError(w, http.StatusBadRequest, "Throttling", "Rate exceeded")
		return
	}
	inv := &cloudFrontInvalidation{id: fmt.Sprintf("I%013X", len(s.invalidations)+1), reference: reference, paths: paths, made: now, done: now.Add(s.Takes)}
	s.invalidations = append(s.invalidations, inv)
	s.record(c, kinds, values)
	s.write(w, r, http.StatusCreated, inv, now)
}

func (s *CloudFront) record(c *Call, kinds map[string]bool, values []string) {
	for kind := range kinds {
		c.Kind = kind
	}
	if c.Kind != "all" {
		c.Values = values
	}
}

func (s *CloudFront) get(w http.ResponseWriter, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, inv := range s.invalidations {
		if inv.id == id {
			s.write(w, nil, http.StatusOK, inv, time.Now())
			return
		}
	}
	s.fault("no such invalidation: %q", id)
	cloudFrontError(w, http.StatusNotFound, "NoSuchInvalidation", "The specified invalidation does not exist.")
}

// write answers an invalidation. That of a request r is new: it is in progress, however fast it is.
func (s *CloudFront) write(w http.ResponseWriter, r *http.Request, status int, inv *cloudFrontInvalidation, now time.Time) {
	state := "Completed"
	if inv.done.After(now) || r != nil && inv.made.Equal(now) {
		state = "InProgress"
	}
	w.Header().Set("Content-Type", "text/xml")
	if r != nil {
		w.Header().Set("Location", "https://"+r.Host+r.URL.Path+"/"+inv.id)
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0"?>%s<Invalidation xmlns="%s"><Id>%s</Id><Status>%s</Status><CreateTime>%s</CreateTime><InvalidationBatch><Paths><Quantity>%d</Quantity><Items>`,
		"\n", cloudFrontNamespace, inv.id, state, inv.made.UTC().Format("2006-01-02T15:04:05.000Z"), len(inv.paths))
	for _, p := range inv.paths {
		io.WriteString(w, "<Path>")
		xml.EscapeText(w, []byte(p))
		io.WriteString(w, "</Path>")
	}
	io.WriteString(w, "</Items></Paths><CallerReference>")
	xml.EscapeText(w, []byte(inv.reference))
	io.WriteString(w, "</CallerReference></InvalidationBatch></Invalidation>")
}

func cloudFrontError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0"?>%s<ErrorResponse xmlns="%s"><Error><Type>Sender</Type><Code>%s</Code><Message>`, "\n", cloudFrontNamespace, code)
	xml.EscapeText(w, []byte(message))
	io.WriteString(w, "</Message></Error><RequestId>22820705-e358-11e2-97fe-ff4fd86f3f1f</RequestId></ErrorResponse>")
}

// path says what a path of an invalidation is, or what is wrong with it. It notes what would be taken and have no effect.
func (s *CloudFront) path(p string) (kind, value, wrong string) {
	if tag, ok := strings.CutPrefix(p, "#"); ok {
		if tag == "" || len(tag) > 256 {
			return "", "", "is no tag of 1 to 256 characters"
		}
		for i := range len(tag) {
			if tag[i] < 33 || tag[i] > 126 || tag[i] == ',' {
				return "", "", "has a character that tags may not have"
			}
		}
		if strings.Contains(tag, "*") {
			s.fault("tags have no wildcards: %q", p)
		}
		if !s.Tags {
			s.fault("the distribution has no CacheTagConfig: %q purges nothing", p)
		}
		return "tag", tag, ""
	}
	switch {
	case !strings.HasPrefix(p, "/"):
		return "", "", "does not begin with a slash"
	case len(p) > 4000:
		return "", "", "has more than 4000 characters"
	case strings.Contains(strings.ToUpper(p), "%7E") || strings.Contains(p, "~"):
		return "", "", "has a tilde"
	case strings.HasPrefix(p, "//"):
		s.fault("a path has no host: %q", p)
	case strings.Contains(p[:len(p)-1], "*"):
		s.fault("an asterisk that is not at the end is a literal one: %q", p)
	}
	for i := 0; i < len(p); i++ {
		switch ch := p[i]; {
		case ch <= ' ' || ch >= 0x7f || strings.ContainsRune(`<>"#{}|\^[]`+"`", rune(ch)):
			return "", "", "has a character that is not escaped"
		case ch == '%':
			n, err := strconv.ParseUint(p[i+1:min(i+3, len(p))], 16, 8)
			if err != nil || i+3 > len(p) {
				return "", "", "has a percent sign that is not escaped"
			}
			if d := byte(n); d == '-' || d == '.' || d == '_' || d >= '0' && d <= '9' || d >= 'a' && d <= 'z' || d >= 'A' && d <= 'Z' {
				s.fault("%q has %q escaped, and so matches nothing", p, d)
			}
		}
	}
	switch prefix, ok := strings.CutSuffix(p, "*"); {
	case p == "/*":
		return "all", "", ""
	case ok:
		return "prefix", prefix, ""
	}
	return "url", p, ""
}

// parseInvalidationBatch reads the body of CreateInvalidation, and refuses whatever else is in it.
func parseInvalidationBatch(body []byte) (reference string, paths []string, quantity int, err error) {
	quantity = -1
	d := xml.NewDecoder(bytes.NewReader(body))
	var at []string
	seen := make(map[string]int)
	var text strings.Builder
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", nil, 0, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			if t.Name.Space != cloudFrontNamespace {
				return "", nil, 0, fmt.Errorf("the element %s is of the namespace %q", t.Name.Local, t.Name.Space)
			}
			for _, a := range t.Attr {
				if a.Name.Local != "xmlns" || len(at) > 0 {
					return "", nil, 0, fmt.Errorf("an attribute %s", a.Name.Local)
				}
			}
			at = append(at, t.Name.Local)
			where := strings.Join(at, ">")
			if strings.TrimSpace(text.String()) != "" {
				return "", nil, 0, fmt.Errorf("text before %s", where)
			}
			seen[where]++
			switch where {
			case "InvalidationBatch", "InvalidationBatch>CallerReference", "InvalidationBatch>Paths", "InvalidationBatch>Paths>Quantity", "InvalidationBatch>Paths>Items":
				if seen[where] > 1 {
					return "", nil, 0, fmt.Errorf("two of %s", where)
				}
			case "InvalidationBatch>Paths>Items>Path":
			default:
				return "", nil, 0, fmt.Errorf("an unknown element %s", where)
			}
			text.Reset()
		case xml.CharData:
			text.Write(t)
		case xml.EndElement:
			switch strings.Join(at, ">") {
			case "InvalidationBatch>CallerReference":
				reference = text.String()
			case "InvalidationBatch>Paths>Quantity":
				if quantity, err = strconv.Atoi(text.String()); err != nil {
					return "", nil, 0, err
				}
			case "InvalidationBatch>Paths>Items>Path":
				paths = append(paths, text.String())
			default:
				if strings.TrimSpace(text.String()) != "" {
					return "", nil, 0, fmt.Errorf("text in %s", t.Name.Local)
				}
			}
			text.Reset()
			at = at[:len(at)-1]
		}
	}
	if seen["InvalidationBatch"] != 1 || quantity < 0 {
		return "", nil, 0, errors.New("no InvalidationBatch with a Quantity")
	}
	return reference, paths, quantity, nil
}

// verify checks the signature of r, from the description of Signature Version 4: it takes from the Authorization which fields are signed, and
// wants all that count to be among them.
func (s *CloudFront) verify(r *http.Request, body []byte) (code, message string) {
	auth := r.Header.Get("Authorization")
	if auth == "" {
		return "MissingAuthenticationToken", "Missing Authentication Token"
	}
	rest, ok := strings.CutPrefix(auth, "AWS4-HMAC-SHA256 ")
	if !ok {
		return "IncompleteSignature", "the algorithm is not AWS4-HMAC-SHA256"
	}
	parts := map[string]string{}
	for _, p := range strings.Split(rest, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		parts[k] = v
	}
	scope := strings.Split(parts["Credential"], "/")
	if len(scope) != 5 || len(parts) != 3 {
		return "IncompleteSignature", "Authorization has not Credential, SignedHeaders and Signature"
	}
	date := r.Header.Get("X-Amz-Date")
	at, err := time.Parse("20060102T150405Z", date)
	switch {
	case err != nil:
		return "IncompleteSignature", "X-Amz-Date is no date"
	case scope[1] != date[:8]:
		return "SignatureDoesNotMatch", "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP"
	case scope[2] != "us-east-1" || scope[3] != "cloudfront" || scope[4] != "aws4_request":
		return "SignatureDoesNotMatch", "Credential should be scoped to a valid region, and to correct service: 'cloudfront'"
	case time.Since(at).Abs() > 5*time.Minute:
		return "RequestExpired", "the request is of " + date
	}
	key, ok := s.Keys[scope[0]]
	switch token := r.Header.Get("X-Amz-Security-Token"); {
	case !ok || token != key.Token:
		return "InvalidClientTokenId", "The security token included in the request is invalid."
	case key.Expired:
		return "ExpiredToken", "The security token included in the request is expired"
	}

	signed := strings.Split(parts["SignedHeaders"], ";")
	if !sort.StringsAreSorted(signed) {
		return "SignatureDoesNotMatch", "SignedHeaders are not sorted"
	}
	must := map[string]bool{"host": true, "x-amz-date": true}
	for name := range r.Header {
		if name = strings.ToLower(name); name == "content-type" || strings.HasPrefix(name, "x-amz-") {
			must[name] = true
		}
	}
	var headers strings.Builder
	for _, name := range signed {
		delete(must, name)
		value := strings.Join(r.Header.Values(name), ",")
		if name == "host" {
			value = r.Host
		}
		for strings.Contains(value, "  ") {
			value = strings.ReplaceAll(value, "  ", " ")
		}
		fmt.Fprintf(&headers, "%s:%s\n", name, strings.TrimSpace(value))
	}
	for name := range must {
		return "SignatureDoesNotMatch", name + " is not signed"
	}
	hex := func(sum []byte) string { return fmt.Sprintf("%x", sum) }
	bodySum := sha256.Sum256(body)
	// Neither the paths of this API nor its queries have anything that is escaped.
	canonical := strings.Join([]string{r.Method, r.URL.Path, r.URL.RawQuery, headers.String(), parts["SignedHeaders"], hex(bodySum[:])}, "\n")
	sum := sha256.Sum256([]byte(canonical))
	toSign := strings.Join([]string{"AWS4-HMAC-SHA256", date, strings.Join(scope[1:], "/"), hex(sum[:])}, "\n")
	secret := "AWS4" + key.Secret
	for _, text := range append(scope[1:], toSign) {
		h := hmac.New(sha256.New, []byte(secret))
		io.WriteString(h, text)
		secret = string(h.Sum(nil))
	}
	if !hmac.Equal([]byte(hex([]byte(secret))), []byte(parts["Signature"])) {
		return "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method."
	}
	return "", ""
}
