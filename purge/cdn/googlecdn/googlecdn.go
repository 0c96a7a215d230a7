// Package googlecdn purges Google's Cloud CDN.
//
//	token, err := googlecdn.ServiceAccount(key, nil) // the JSON of a key; on Google Cloud: googlecdn.MetadataServer(nil)
//	c, err := googlecdn.New("my-project", "my-url-map", token, nil)
//
// Whose token it is needs the permissions compute.urlMaps.invalidateCache and compute.globalOperations.get.
//
// # What it can do
//
// It invalidates tags, URLs, prefixes and everything that is behind one URL map, and the operation that each call begins can be asked
// whether it is done, which takes about ten seconds. A call that is sent again with the same requestId, which is the batch's ID, is not carried out
// twice.
//
// Tags are taken from the response header Cache-Tag, separated by commas.
//
// A path has no query: a URL is invalidated with all queries that it was asked for with, and so with all sizes of an image whose size
// is in the query. Paths are of one host, that of the URL; tags and everything are of all hosts of the URL map, or of Options.Host.
//
// # Limits
//
// 500 calls a minute (https://cloud.google.com/cdn/docs/cache-invalidation-overview), with one path or ten tags each
// (https://cloud.google.com/compute/docs/reference/rest/v1/urlMaps/invalidateCache).
//
// # What it cannot do
//
// Cloud CDN has no way to mark copies as stale. A prefix ends in a slash: one that does not is refused.
package googlecdn

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/imagecdn/imagecdn/purge/cdn"
)

// Options are the optional settings of [New].
type Options struct {
	// Host keeps purges of tags and of everything to one host. Empty means all that the URL map has.
	Host string

	// Client makes the calls. Nil means cdn.NewClient(nil).
	Client *http.Client

	// API is the API's base URL. Empty means "https://compute.googleapis.com".
	API string
}

// A CDN is what is behind a URL map.
type CDN struct {
	token      func(context.Context) (string, error)
	client     *http.Client
	invalidate string
	operations string
	host       string
}

var _ cdn.Confirmer = (*CDN)(nil)

// New returns what is behind a project's global URL map. The token is asked for before each call: [ServiceAccount] and [MetadataServer] are such
// functions. A nil o means the defaults.
func New(project, urlMap string, token func(context.Context) (string, error), o *Options) (*CDN, error) {
	if err := cdn.CheckSetting("googlecdn", "project", project, "urlMap", urlMap); err != nil {
		return nil, err
	}
	for _, name := range []string{project, urlMap} {
		if !plainName(name) {
			return nil, fmt.Errorf("googlecdn: %q is no name of a project or URL map", name)
		}
	}
	if token == nil {
		return nil, errors.New("googlecdn: token is missing")
	}
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.API == "" {
		opts.API = "https://compute.googleapis.com"
	}
	if api, err := url.Parse(opts.API); err != nil || api.Host == "" || api.RawQuery != "" {
		return nil, errors.New("googlecdn: API is not the URL of a host")
	}
	if strings.ContainsAny(opts.Host, "/ ") {
		return nil, fmt.Errorf("googlecdn: Host %q is no host", opts.Host)
	}
	if opts.Client == nil {
		opts.Client = cdn.NewClient(nil)
	}
	base := strings.TrimSuffix(opts.API, "/") + "/compute/v1/projects/" + project + "/global/"
	return &CDN{
		token:      token,
		client:     opts.Client,
		invalidate: base + "urlMaps/" + urlMap + "/invalidateCache",
		operations: base + "operations/",
		host:       opts.Host,
	}, nil
}

// plainName is whether s needs no escaping in a path. Names are of lower-case letters, digits and hyphens, and a project's may begin with a
// domain and a colon.
func plainName(s string) bool {
	for _, b := range []byte(s) {
		if !(b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || strings.IndexByte("-_.:", b) >= 0) {
			return false
		}
	}
	return s != "" && s != "." && s != ".."
}

const maxTags = 10

// Features implements [cdn.CDN].
func (c *CDN) Features() cdn.Features {
	// In no minute does that come to more than 500.
	rates := []cdn.Rate{{Name: "calls", Burst: 50, PerSecond: 7.5}}
	return cdn.Features{
		Forms: map[cdn.Kind]cdn.Form{
			cdn.Tag:    {MaxItems: maxTags, Rates: rates},
			cdn.URL:    {MaxItems: 1, Rates: rates, Query: true},
			cdn.Prefix: {MaxItems: 1, Rates: rates},
			cdn.All:    {Rates: rates},
		},
		Tags: []cdn.TagHeader{{Name: "Cache-Tag", Separator: ","}},
	}
}

// A rule is the body of invalidateCache. Each field is a condition more.
type rule struct {
	Host      string   `json:"host,omitempty"`
	Path      string   `json:"path,omitempty"`
	CacheTags []string `json:"cacheTags,omitempty"` // any of these
}

// Purge implements [cdn.CDN].
func (c *CDN) Purge(ctx context.Context, b cdn.Batch) (cdn.Receipt, error) {
	if b.Soft {
		return cdn.Receipt{}, &cdn.Error{Reason: "Cloud CDN cannot mark copies as stale"}
	}
	var receipt cdn.Receipt
	fail := func(value string, temporary bool, reason string) {
		receipt.Failed = append(receipt.Failed, cdn.Failure{Value: value, Reason: reason, Temporary: temporary})
	}
	var ask rule
	asked := false
	switch b.Kind {
	case cdn.All:
		ask, asked = rule{Host: c.host, Path: "/*"}, true
	case cdn.Tag:
		ask.Host = c.host
		for _, tag := range b.Values {
			switch wrong := wrongTag(tag); {
			case wrong != "":
				fail(tag, false, wrong)
			case len(ask.CacheTags) == maxTags:
				fail(tag, true, "no room in the call")
			default:
				ask.CacheTags, asked = append(ask.CacheTags, tag), true
			}
		}
	case cdn.URL, cdn.Prefix:
		for _, value := range b.Values {
			host, path, err := location(b.Kind, value)
			switch {
			case err != nil:
				fail(value, false, err.Error())
			case asked:
				fail(value, true, "no room in the call")
			default:
				ask, asked = rule{Host: host, Path: path}, true
			}
		}
	default:
		return cdn.Receipt{}, &cdn.Error{Reason: fmt.Sprintf("Cloud CDN purges nothing of kind %q", b.Kind)}
	}
	if !asked {
		if len(receipt.Failed) == 0 {
			return cdn.Receipt{}, &cdn.Error{Reason: "nothing to purge"}
		}
		receipt.Complete = true
		return receipt, nil
	}
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(ask); err != nil {
		return cdn.Receipt{}, err
	}
	target := c.invalidate
	if b.ID != "" {
		target += "?requestId=" + url.QueryEscape(b.ID)
	}
	op, err := c.call(ctx, http.MethodPost, target, body.Bytes())
	if err != nil {
		return cdn.Receipt{}, err
	}
	if err := op.failure(); err != nil {
		return cdn.Receipt{}, err
	}
	receipt.ID = op.Name
	if receipt.Complete = op.Status == done; !receipt.Complete {
		receipt.After = usual
	}
	return receipt, nil
}

// usual is what the documentation says that an invalidation takes.
const usual = 10 * time.Second

// Confirmed implements [cdn.Confirmer].
func (c *CDN) Confirmed(ctx context.Context, receipt cdn.Receipt) (bool, error) {
	if !plainName(receipt.ID) {
		return false, &cdn.Error{Reason: "the receipt has no name of an operation"}
	}
	op, err := c.call(ctx, http.MethodGet, c.operations+receipt.ID, nil)
	if err != nil {
		return false, err
	}
	if err := op.failure(); err != nil {
		err.Temporary = false // to ask again does not help
		return false, err
	}
	return op.Status == done, nil
}

// done is the status of an operation that has ended, well or not. The others are PENDING and RUNNING.
const done = "DONE"

type operation struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Error  struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	} `json:"error"`
	HTTPErrorStatusCode int    `json:"httpErrorStatusCode"`
	HTTPErrorMessage    string `json:"httpErrorMessage"`
}

// failure is how the operation failed; nil: it has not, so far.
func (op *operation) failure() *cdn.Error {
	if len(op.Error.Errors) == 0 && op.HTTPErrorStatusCode == 0 {
		return nil
	}
	var said []string
	for _, e := range op.Error.Errors {
		said = append(said, strings.TrimPrefix(e.Code+": "+e.Message, ": "))
	}
	if len(said) == 0 {
		said = append(said, op.HTTPErrorMessage)
	}
	status := op.HTTPErrorStatusCode
	return &cdn.Error{Status: status, Reason: cdn.OneLine(strings.Join(said, "; ")), Temporary: status == http.StatusTooManyRequests || status >= 500}
}

// call sends a request, and reads the operation that it answers.
func (c *CDN) call(ctx context.Context, method, target string, body []byte) (*operation, error) {
	token, err := c.token(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if e, ok := errors.AsType[*cdn.Error](err); ok {
			return nil, e
		}
		return nil, &cdn.Error{Reason: "no access token: " + cdn.OneLine(err.Error()), Temporary: true}
	}
	r, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", "Bearer "+token)
	_, _, answer, err := cdn.Call(c.client, r, words)
	if err != nil {
		if e, ok := errors.AsType[*cdn.Error](err); ok && passes(answer) {
			e.Temporary = true
		}
		return nil, err
	}
	var op operation
	if err := json.Unmarshal(answer, &op); err != nil || op.Name == "" || op.Status == "" {
		return nil, &cdn.Error{Reason: "the answer is no operation: " + cdn.OneLine(string(answer)), Temporary: true}
	}
	return &op, nil
}

// An apiError is how errors are told.
type apiError struct {
	Error struct {
		Message string `json:"message"`
		Status  string `json:"status"`
		Errors  []struct {
			Reason string `json:"reason"`
		} `json:"errors"`
	} `json:"error"`
}

// words is what a body says of an error.
func words(body []byte) string {
	var e apiError
	if json.Unmarshal(body, &e) != nil || e.Error.Message == "" {
		return string(body)
	}
	if len(e.Error.Errors) > 0 && e.Error.Errors[0].Reason != "" {
		return e.Error.Errors[0].Reason + ": " + e.Error.Message
	}
	return e.Error.Message
}

// passes is whether an error that is told with a status of 4xx goes away: limits of rate come as 403, with a reason.
func passes(body []byte) bool {
	var e apiError
	if json.Unmarshal(body, &e) != nil {
		return false
	}
	for _, one := range e.Error.Errors {
		switch one.Reason {
		case "rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "backendError", "internalError":
			return true
		}
	}
	return e.Error.Status == "RESOURCE_EXHAUSTED"
}

func wrongTag(tag string) string {
	if tag == "" {
		return "an empty tag"
	}
	for _, b := range []byte(tag) {
		if b <= ' ' || b >= 0x7f || b == ',' {
			return "a tag of Cloud CDN has only visible ASCII characters, and no comma"
		}
	}
	return ""
}

// location is the host of a URL, and what invalidateCache has for its path.
func location(kind cdn.Kind, value string) (host, path string, err error) {
	u, err := url.Parse(value)
	if err != nil || u.Scheme == "" || u.Hostname() == "" {
		return "", "", errors.New("not an absolute URL")
	}
	host, path = strings.ToLower(u.Host), u.EscapedPath()
	if port := u.Port(); port == "443" && u.Scheme == "https" || port == "80" && u.Scheme == "http" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	if path == "" {
		path = "/"
	}
	if strings.Contains(path, "*") {
		path = strings.ReplaceAll(path, "*", "%2A") // it may stand for itself nowhere
	}
	if kind == cdn.Prefix {
		if u.RawQuery != "" || !strings.HasSuffix(path, "/") {
			return "", "", errors.New("a prefix of Cloud CDN ends in a slash")
		}
		path += "*"
	}
	return host, path, nil
}
