// Package fastly purges Fastly's cache:
//
//	f, err := fastly.New("SU1Z0isxPaozGVKXdv0eY", token, nil)
//
// The first argument is the service's ID; the token is an API token for that service with the scope purge_select, and purge_all too where
// everything is to be purged. It goes in the header Fastly-Key.
//
// # What it can do
//
//   - Surrogate keys, up to 256 in a call: POST service/{id}/purge with {"surrogate_keys": […]}.
//   - One URL: POST purge/{host}/{path}?{query}. It is the one that is told who asks; a PURGE of the URL itself, which Fastly
//     takes from anybody unless it is told not to, is not used. Of a URL, every variant by Vary goes; other queries stay.
//   - All of the service: POST service/{id}/purge_all.
//
// Keys and URLs may be purged softly (Fastly-Soft-Purge): copies become stale, and are served while the service's
// stale-while-revalidate and stale-if-error say so.
//
// The limits (fastly.com/documentation, Purging; docs.fastly.com/api, Rate limiting): 100,000 keys and URLs in an hour, counted over all services of a
// customer; a purge of everything counts against the 1,000 requests in an hour of the API instead. A key has 1 to 1,024 bytes of ASCII without
// spaces; the header Surrogate-Key has keys between spaces, of which Fastly reads 16 KB and drops the rest.
//
// # What it cannot
//
//   - A purge of everything cannot be soft ([cdn.Form].Hard). A key that every answer carries can.
//   - There are no prefixes.
//   - There is nothing to ask whether a purge is complete. Fastly gives 150 milliseconds for what it takes on average.
package fastly

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/imagecdn/imagecdn/purge/cdn"
)

// Options are the optional settings of [New].
type Options struct {
	// Client makes the calls. Nil means cdn.NewClient(nil).
	Client *http.Client

	// API is the base URL of the API. Empty means https://api.fastly.com.
	API string
}

// A CDN is one service of Fastly. It implements [cdn.CDN].
type CDN struct {
	client  *http.Client
	api     string
	service string
	token   string
}

// New returns a service, by its ID and an API token. A nil o means the defaults.
func New(service, token string, o *Options) (*CDN, error) {
	var opt Options
	if o != nil {
		opt = *o
	}
	if err := cdn.CheckSetting("fastly", "service", service, "token", token); err != nil {
		return nil, err
	}
	api, err := cdn.BaseURL("fastly", opt.API, "https://api.fastly.com")
	if err != nil {
		return nil, err
	}
	if opt.Client == nil {
		opt.Client = cdn.NewClient(nil)
	}
	return &CDN{client: opt.Client, api: api, service: service, token: token}, nil
}

// maxKeys is the most surrogate keys of a call.
const maxKeys = 256

// Features implements [cdn.CDN].
func (c *CDN) Features() cdn.Features {
	// Fastly counts by the hour. A tenth of that at once, and nine tenths as it goes, is never more than all of it in an hour,
	// wherever that begins.
	purges := []cdn.Rate{{Name: "purges", Burst: 10_000, PerSecond: 90_000. / 3600, PerItem: true}}
	return cdn.Features{
		Forms: map[cdn.Kind]cdn.Form{
			cdn.Tag: {MaxItems: maxKeys, Rates: purges},
			cdn.URL: {MaxItems: 1, Rates: purges},
			cdn.All: {Hard: true, Rates: []cdn.Rate{{Name: "requests", Burst: 100, PerSecond: 900. / 3600}}},
		},
		Soft: true,
		Tags: []cdn.TagHeader{{Name: "Surrogate-Key", Separator: " ", MaxBytes: 16 << 10}},
	}
}

// Purge implements [cdn.CDN].
func (c *CDN) Purge(ctx context.Context, b cdn.Batch) (cdn.Receipt, error) {
	if err := c.Features().Check(b); err != nil {
		return cdn.Receipt{}, err
	}
	receipt, err := c.purge(ctx, b)
	if err != nil {
		return cdn.Receipt{}, cdn.Hide(err, c.token)
	}
	return receipt, nil
}

func (c *CDN) purge(ctx context.Context, b cdn.Batch) (cdn.Receipt, error) {
	service := c.api + "/service/" + url.PathEscape(c.service)
	switch b.Kind {
	case cdn.Tag:
		keys, bad := cdn.Sift(b.Values, key)
		if len(keys) == 0 {
			return cdn.Receipt{Failed: bad}, nil
		}
		return c.keys(ctx, service+"/purge", keys, bad, b.Soft)
	case cdn.URL:
		urls, bad := cdn.Sift(b.Values, bare)
		if len(urls) == 0 {
			return cdn.Receipt{Failed: bad}, nil
		}
		return c.one(ctx, c.api+"/purge/"+urls[0], b.Soft)
	default:
		return c.one(ctx, service+"/purge_all", false)
	}
}

// after is what Fastly gives for how long a purge takes, on average.
const after = 150 * time.Millisecond

// keys purges keys, and counts as failed those that the answer has no ID for.
func (c *CDN) keys(ctx context.Context, to string, keys []string, bad []cdn.Failure, soft bool) (cdn.Receipt, error) {
	body, err := json.Marshal(map[string][]string{"surrogate_keys": keys})
	if err != nil {
		return cdn.Receipt{}, err
	}
	status, answer, err := c.send(ctx, to, body, soft)
	if err != nil {
		return cdn.Receipt{}, err
	}
	var ids map[string]string
	if json.Unmarshal(answer, &ids) != nil {
		return cdn.Receipt{}, strange(status, answer)
	}
	receipt := cdn.Receipt{Failed: bad, After: after}
	for _, k := range keys {
		if ids[k] == "" {
			receipt.Failed = append(receipt.Failed, cdn.Failure{Value: k, Reason: "the answer does not have it", Temporary: true})
		}
	}
	if len(keys) == 1 {
		receipt.ID = ids[keys[0]]
	}
	return receipt, nil
}

// one makes a call that is one purge.
func (c *CDN) one(ctx context.Context, to string, soft bool) (cdn.Receipt, error) {
	status, answer, err := c.send(ctx, to, nil, soft)
	if err != nil {
		return cdn.Receipt{}, err
	}
	var got struct {
		Status string `json:"status"`
		ID     string `json:"id"`
	}
	switch {
	case json.Unmarshal(answer, &got) != nil || got.Status == "":
		return cdn.Receipt{}, strange(status, answer)
	case got.Status != "ok":
		return cdn.Receipt{}, &cdn.Error{Status: status, Reason: "the status is " + cdn.OneLine(got.Status)}
	}
	return cdn.Receipt{ID: got.ID, After: after}, nil
}

func strange(status int, answer []byte) error {
	return &cdn.Error{Status: status, Reason: "the answer is not that of the API: " + cdn.OneLine(string(answer)), Temporary: true}
}

func (c *CDN) send(ctx context.Context, to string, body []byte, soft bool) (status int, answer []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return 0, nil, &cdn.Error{Reason: "the URL cannot be asked for"}
	}
	r.Header.Set("Fastly-Key", c.token)
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if soft {
		r.Header.Set("Fastly-Soft-Purge", "1")
	}
	status, header, answer, err := cdn.Call(c.client, r, words)
	if e, ok := errors.AsType[*cdn.Error](err); ok && e.Status == http.StatusTooManyRequests && e.RetryAfter == 0 {
		e.RetryAfter = reset(header, time.Now())
	}
	return status, answer, err
}

// reset is how long until the hour that Fastly counts ends: the header has Unix seconds.
func reset(h http.Header, now time.Time) time.Duration {
	n, err := strconv.ParseInt(h.Get("Fastly-RateLimit-Reset"), 10, 64)
	if err != nil {
		return 0
	}
	return min(max(time.Unix(n, 0).Sub(now), 0), time.Hour)
}

// words are the message of an answer, and its detail.
func words(body []byte) string {
	var got struct{ Msg, Detail string }
	switch err := json.Unmarshal(body, &got); {
	case err != nil || got.Msg == "":
		return string(body)
	case got.Detail == "" || got.Detail == got.Msg:
		return got.Msg
	}
	return got.Msg + ": " + got.Detail
}

func key(v string) (string, error) {
	if v == "" || len(v) > 1024 {
		return "", errors.New("a surrogate key has 1 to 1,024 bytes")
	}
	for i := 0; i < len(v); i++ {
		if v[i] <= ' ' || v[i] >= 0x7f {
			return "", errors.New("a surrogate key is of printable ASCII without spaces")
		}
	}
	return v, nil
}

// bare is a URL without its scheme, which is how the API takes it.
func bare(v string) (string, error) {
	host, path, err := cdn.SplitURL(v)
	return host + path, err
}
