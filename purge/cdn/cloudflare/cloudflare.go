// Package cloudflare purges Cloudflare's cache:
//
//	cf, err := cloudflare.New("023e105f4ecef8ad9ca31a8372d0c353", token, &cloudflare.Options{Plan: cloudflare.Pro})
//
// The first argument is the zone's ID, from the zone's page in the dashboard; the token is an API token with the permission
// Zone › Cache Purge › Purge for that zone, and goes in Authorization: Bearer.
//
// # What it can do
//
// Everything is POST zones/{zone}/purge_cache: by cache tag, by URL, by prefix, and the whole zone. All plans have all of these
// (developers.cloudflare.com/cache/how-to/purge-cache, July 2026; before April 2025 tags and prefixes were Enterprise's alone).
// The limits are per account, and there by plan:
//
//	                     Free      Pro    Business  Enterprise
//	tags, prefixes, all  5/min     5/s    10/s      50/s        requests
//	  at once            25        25     50        500
//	  values in a call   100       100    100       100
//	URLs                 800/s     1500/s 1500/s    3000/s      of all calls together
//	  values in a call   100       100    100       500
//
// A tag has at most 1,024 characters of printable ASCII without spaces, and upper and lower case are the same. The header Cache-Tag holds tags between
// commas, 16 KB in all, and Cloudflare takes it off before the visitor sees it.
//
// # What it cannot
//
//   - There is no soft purge, and nothing to ask whether a purge is complete: an answer of success says that it was taken.
//   - A URL is purged with its query as it is, and neither with other queries nor with custom cache keys. Where a transform rule
//     changes URLs, it is the visitor's that counts; for a prefix it is the origin's.
//   - A prefix covers what is below it, with any query, but it is of whole segments: …/photos and …/photos/cat.jpg, not …/photos/ca. It has at most 31 slashes.
package cloudflare

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/imagecdn/imagecdn/purge/cdn"
)

// A Plan is what the account pays for: its limits follow from it.
type Plan string

const (
	Free       Plan = "free"
	Pro        Plan = "pro"
	Business   Plan = "business"
	Enterprise Plan = "enterprise"
)

// Options are the optional settings of [New].
type Options struct {
	// Client makes the calls. Nil means cdn.NewClient(nil).
	Client *http.Client

	// API is the base URL of the API. Empty means https://api.cloudflare.com/client/v4.
	API string

	// Plan sets rates and how much fits in a call. Empty means Free. It is the plan of the account, as limits are.
	Plan Plan
}

// A CDN is one zone of Cloudflare. It implements [cdn.CDN].
type CDN struct {
	client   *http.Client
	call     string
	zone     string
	token    string
	features cdn.Features
}

// New returns a zone, by its ID and an API token. A nil o means the defaults.
func New(zone, token string, o *Options) (*CDN, error) {
	var opt Options
	if o != nil {
		opt = *o
	}
	if err := cdn.CheckSetting("cloudflare", "zone", zone, "token", token); err != nil {
		return nil, err
	}
	api, err := cdn.BaseURL("cloudflare", opt.API, "https://api.cloudflare.com/client/v4")
	if err != nil {
		return nil, err
	}
	f, err := features(opt.Plan)
	if err != nil {
		return nil, err
	}
	if opt.Client == nil {
		opt.Client = cdn.NewClient(nil)
	}
	return &CDN{
		client:   opt.Client,
		call:     api + "/zones/" + url.PathEscape(zone) + "/purge_cache",
		zone:     zone,
		token:    token,
		features: f,
	}, nil
}

func features(p Plan) (cdn.Features, error) {
	var perSecond, burst, urlsPerSecond float64
	urls := 100
	switch p {
	case Free, "":
		perSecond, burst, urlsPerSecond = 5./60, 25, 800
	case Pro:
		perSecond, burst, urlsPerSecond = 5, 25, 1500
	case Business:
		perSecond, burst, urlsPerSecond = 10, 50, 1500
	case Enterprise:
		perSecond, burst, urlsPerSecond = 50, 500, 3000
		urls = 500
	default:
		return cdn.Features{}, fmt.Errorf("cloudflare: Options.Plan is %q, and not one of free, pro, business and enterprise", p)
	}
	requests := cdn.Form{MaxItems: 100, Rates: []cdn.Rate{{Name: "requests", Burst: burst, PerSecond: perSecond}}}
	// The limit of URLs is a moving average with no bucket. Half of it at once and half of it as it goes is never more than
	// all of it, in a second or in longer.
	perURL := cdn.Rate{Name: "URLs", Burst: urlsPerSecond / 2, PerSecond: urlsPerSecond / 2, PerItem: true}
	if perURL.Burst < float64(urls) {
		perURL.Burst = float64(urls)
	}
	return cdn.Features{
		Forms: map[cdn.Kind]cdn.Form{
			cdn.Tag:    requests,
			cdn.Prefix: requests,
			cdn.All:    {Rates: requests.Rates},
			cdn.URL:    {MaxItems: urls, Rates: []cdn.Rate{perURL}},
		},
		Tags: []cdn.TagHeader{{Name: "Cache-Tag", Separator: ",", MaxBytes: 16 << 10}},
	}, nil
}

// Features implements [cdn.CDN].
func (c *CDN) Features() cdn.Features { return c.features }

// ask is the body of a call: one of these.
type ask struct {
	Files      []string `json:"files,omitempty"`
	Tags       []string `json:"tags,omitempty"`
	Prefixes   []string `json:"prefixes,omitempty"`
	Everything bool     `json:"purge_everything,omitempty"`
}

// Purge implements [cdn.CDN].
func (c *CDN) Purge(ctx context.Context, b cdn.Batch) (cdn.Receipt, error) {
	if err := c.features.Check(b); err != nil {
		return cdn.Receipt{}, err
	}
	var a ask
	var bad []cdn.Failure
	switch b.Kind {
	case cdn.Tag:
		a.Tags, bad = cdn.Sift(b.Values, tag)
	case cdn.URL:
		a.Files, bad = cdn.Sift(b.Values, file)
	case cdn.Prefix:
		a.Prefixes, bad = cdn.Sift(b.Values, prefix)
	case cdn.All:
		a.Everything = true
	}
	receipt := cdn.Receipt{Failed: bad}
	if len(a.Tags)+len(a.Files)+len(a.Prefixes) == 0 && !a.Everything {
		return receipt, nil
	}
	id, err := c.send(ctx, a)
	if err != nil {
		return cdn.Receipt{}, cdn.Hide(err, c.token)
	}
	receipt.ID = id
	return receipt, nil
}

func (c *CDN) send(ctx context.Context, a ask) (id string, err error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(a); err != nil {
		return "", err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.call, &body)
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	status, _, answer, err := cdn.Call(c.client, r, words)
	if err != nil {
		if e, ok := errors.AsType[*cdn.Error](err); ok && limited(e.Reason) {
			e.Temporary = true
		}
		return "", err
	}
	var got struct {
		Success bool `json:"success"`
		Result  struct {
			ID string `json:"id"`
		} `json:"result"`
	}
	if json.Unmarshal(answer, &got) != nil {
		return "", &cdn.Error{Status: status, Reason: "the answer is not that of the API: " + cdn.OneLine(string(answer)), Temporary: true}
	}
	if !got.Success {
		reason := cdn.OneLine(words(answer))
		return "", &cdn.Error{Status: status, Reason: reason, Temporary: limited(reason)}
	}
	// The reference calls it an ID and does not say whose; it is the zone's that comes, which names no purge.
	if got.Result.ID == c.zone {
		return "", nil
	}
	return got.Result.ID, nil
}

// limited reports whether a refusal is one of rate, which is not always a 429: the binding of Workers to the same limits
// is documented to answer success: false.
func limited(reason string) bool {
	reason = strings.ToLower(reason)
	return strings.Contains(reason, "rate limit") || strings.Contains(reason, "throttl")
}

// words are the errors of an answer, each with its code.
func words(body []byte) string {
	var got struct {
		Errors []struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &got) != nil || len(got.Errors) == 0 {
		return string(body)
	}
	var parts []string
	for _, e := range got.Errors {
		parts = append(parts, fmt.Sprintf("%s (%d)", e.Message, e.Code))
	}
	return strings.Join(parts, "; ")
}

func tag(v string) (string, error) {
	if v == "" || len(v) > 1024 {
		return "", errors.New("a tag has 1 to 1,024 characters")
	}
	for i := 0; i < len(v); i++ {
		if v[i] <= ' ' || v[i] >= 0x7f || v[i] == ',' {
			return "", errors.New("a tag is of printable ASCII without spaces and commas")
		}
	}
	return v, nil
}

func file(v string) (string, error) {
	_, _, err := cdn.SplitURL(v)
	return v, err
}

// maxSlashes is the most path separators of a prefix.
const maxSlashes = 31

// prefix is host and path, as in www.example.com/photos. A query is left off, since the prefix without covers every query.
func prefix(v string) (string, error) {
	host, path, err := cdn.SplitURL(v)
	if err != nil {
		return "", err
	}
	path, _, _ = strings.Cut(path, "?")
	path = strings.TrimRight(path, "/")
	if n := strings.Count(path, "/"); n > maxSlashes {
		return "", fmt.Errorf("a prefix has at most %d slashes, and this one %d", maxSlashes, n)
	}
	return host + path, nil
}
