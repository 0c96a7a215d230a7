// Package leaseweb purges URLs at Leaseweb's Multi-CDN.
//
//	c, err := leaseweb.New(key, &leaseweb.Options{Path: "/…", StatusPath: "/…/{id}"})
//	edges, err := cdn.New([]cdn.Ring{{{Name: "leaseweb", CDN: c, Bases: []string{"https://cdn.example.com"}}}}, nil)
//
// The key is one of the Customer Portal; it goes out as X-LSW-Auth.
//
// # What is documented, and what is not
//
// Public are: the API's base, the header of the key and the form of errors (developer.leaseweb.com/api-docs/cdn_v2.html, of an API in
// beta); the body {"urls":[…]}, which is that of the first version of the API; and the limits and statuses of the Multi-CDN
// (kb.leaseweb.com, "Multi-CDN Invalidations"). What is not public are the paths of the invalidations and the fields of their
// answers. So Options.Path has no default: it is to be had from the reference that customers see, or from Leaseweb. Of answers, an "id" and a "status"
// are read, at the top or in "invalidation" or "data"; an answer without them is a purge that was taken, and of which no more is known.
//
// # Limits
//
// 75 URLs in a call, and one call a minute for the whole customer, whoever makes it: a purge may wait. A status is Pending, Complete, Error or
// Expired; an expired invalidation waited too long in Leaseweb's queue, and counts as failed. Purges take minutes.
//
// # What is not possible
//
// There are no tags, no prefixes, no purge of everything and no soft purge. Whether a URL covers those with a query is not documented,
// and so it is taken that it does not.
package leaseweb

import (
	"bytes"
	"cmp"
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

// Options are the settings of [New].
type Options struct {
	// Client makes the calls. Nil means cdn.NewClient(nil).
	Client *http.Client

	// API is the URL that paths of the API are appended to. Zero means https://api.leaseweb.com/cdn/v2.
	API string

	// Path is the path of the API that invalidations are posted to. It has no default, as none is documented in public.
	Path string

	// StatusPath is the path of one invalidation, with {id} in the place of its ID. Zero means that invalidations cannot be asked about, so
	// that a purge counts as accepted, and is never confirmed.
	StatusPath string
}

// New returns the CDN of a customer: a [cdn.Confirmer] where Options.StatusPath is set.
func New(key string, o *Options) (cdn.CDN, error) {
	if o == nil {
		o = new(Options)
	}
	if err := cdn.CheckSetting("leaseweb", "the API key", key, "Options.Path", o.Path); err != nil {
		return nil, err
	}
	for name, path := range map[string]string{"Path": o.Path, "StatusPath": o.StatusPath} {
		if path != "" && !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("leaseweb: Options.%s has no leading slash", name)
		}
	}
	c := leaseweb{
		key:        key,
		api:        cmp.Or(strings.TrimSuffix(o.API, "/"), "https://api.leaseweb.com/cdn/v2"),
		path:       o.Path,
		statusPath: o.StatusPath,
		client:     o.Client,
	}
	if c.client == nil {
		c.client = cdn.NewClient(nil)
	}
	switch {
	case o.StatusPath == "":
		return &c, nil
	case !strings.Contains(o.StatusPath, "{id}"):
		return nil, errors.New("leaseweb: Options.StatusPath has no {id}")
	}
	return &polled{c}, nil
}

type leaseweb struct {
	key, api, path, statusPath string
	client                     *http.Client
}

// polled is a CDN whose invalidations can be asked about.
type polled struct{ leaseweb }

// maxURLs is how many URLs an invalidation may have.
const maxURLs = 75

// Features implements [cdn.CDN].
func (c *leaseweb) Features() cdn.Features {
	return cdn.Features{
		Forms: map[cdn.Kind]cdn.Form{
			cdn.URL: {MaxItems: maxURLs, Rates: []cdn.Rate{{Name: "invalidations", Burst: 1, PerSecond: 1.0 / 60}}},
		},
		Confirms: 30 * time.Minute, // a few minutes, and those of the queue
	}
}

// An invalidation is what is read of what the API says of one.
type invalidation struct {
	ID     any    `json:"id"` // a string or a number
	Status string `json:"status"`

	text string // the answer as a whole, less the key
}

// An answer is one of the API. Where the invalidation is in it is not documented.
type answer struct {
	invalidation
	Invalidation *invalidation `json:"invalidation"`
	Data         *invalidation `json:"data"`
}

func (a answer) it() invalidation { return *cmp.Or(a.Invalidation, a.Data, &a.invalidation) }

// id is the ID as it stands in a path; empty without one.
func (in invalidation) id() string {
	switch id := in.ID.(type) {
	case string:
		return id
	case json.Number:
		return id.String()
	}
	return ""
}

// Purge implements [cdn.CDN].
func (c *leaseweb) Purge(ctx context.Context, b cdn.Batch) (cdn.Receipt, error) {
	if b.Kind != cdn.URL || len(b.Values) == 0 || len(b.Values) > maxURLs || b.Soft {
		return cdn.Receipt{}, &cdn.Error{Reason: fmt.Sprintf("Leaseweb purges up to %d URLs in a call, and nothing else", maxURLs)}
	}
	var request struct {
		URLs []string `json:"urls"`
	}
	var receipt cdn.Receipt
	for _, v := range b.Values {
		if u, err := url.Parse(v); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			receipt.Failed = append(receipt.Failed, cdn.Failure{Value: v, Reason: "is no absolute URL"})
			continue
		}
		request.URLs = append(request.URLs, v)
	}
	if len(request.URLs) == 0 {
		return receipt, nil
	}
	body, err := json.Marshal(request)
	if err != nil {
		return receipt, err
	}
	in, err := c.call(ctx, http.MethodPost, c.path, body)
	if err != nil {
		return cdn.Receipt{}, err
	}
	if failed := in.failed(); failed != nil {
		return cdn.Receipt{}, failed
	}
	receipt.ID = in.id()
	receipt.Complete = strings.EqualFold(in.Status, "Complete")
	return receipt, nil
}

// Confirmed implements [cdn.Confirmer].
func (c *polled) Confirmed(ctx context.Context, receipt cdn.Receipt) (bool, error) {
	if receipt.ID == "" {
		return false, &cdn.Error{Reason: "Leaseweb gave the invalidation no ID to ask about"}
	}
	in, err := c.call(ctx, http.MethodGet, strings.ReplaceAll(c.statusPath, "{id}", url.PathEscape(receipt.ID)), nil)
	if err != nil {
		return false, err
	}
	if failed := in.failed(); failed != nil {
		return false, failed
	}
	return strings.EqualFold(in.Status, "Complete"), nil
}

// failed is the error of an invalidation that has come to a bad end; nil of any other.
func (in invalidation) failed() error {
	if !strings.EqualFold(in.Status, "Error") && !strings.EqualFold(in.Status, "Expired") {
		return nil
	}
	// Which URLs failed, and why, is somewhere in it.
	return &cdn.Error{Reason: cdn.OneLine("the invalidation ended as " + in.Status + ": " + in.text)}
}

func (c *leaseweb) call(ctx context.Context, method, path string, body []byte) (in invalidation, err error) {
	r, err := http.NewRequestWithContext(ctx, method, c.api+path, bytes.NewReader(body))
	if err != nil {
		return in, &cdn.Error{Reason: "the URL of the API is none"}
	}
	r.Header.Set("X-LSW-Auth", c.key)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Accept", "application/json")
	status, _, body, err := cdn.Call(c.client, r, c.words)
	if err != nil || len(bytes.TrimSpace(body)) == 0 {
		return in, err
	}
	text := c.redact(string(body))
	if !json.Valid(body) {
		return in, &cdn.Error{Status: status, Reason: "the answer is not that of the API: " + cdn.OneLine(text), Temporary: true}
	}
	var a answer
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()    // IDs may have more digits than a float64
	_ = d.Decode(&a) // what was read of it counts
	in = a.it()
	in.text = text
	return in, nil
}

// words finds what Leaseweb says in an answer that refuses. The correlation ID is what its support asks for.
func (c *leaseweb) words(body []byte) string {
	var e struct{ ErrorCode, ErrorMessage, CorrelationID, UserMessage string }
	_ = json.Unmarshal(body, &e) // what was read of it counts
	text := cmp.Or(e.ErrorMessage, e.UserMessage)
	if text == "" {
		return c.redact(string(body))
	}
	if e.ErrorCode != "" {
		text = e.ErrorCode + ": " + text
	}
	if e.CorrelationID != "" {
		text += " (correlation ID " + e.CorrelationID + ")"
	}
	return c.redact(text)
}

// redact takes the key out of what an answer repeats.
func (c *leaseweb) redact(s string) string { return strings.ReplaceAll(s, c.key, "…") }
