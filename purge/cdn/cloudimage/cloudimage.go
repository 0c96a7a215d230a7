// Package cloudimage purges images at Cloudimage, where that stands in front of this CDN, which is an origin of it.
//
//	c, err := cloudimage.New(key, nil)
//	edges, err := cdn.New([]cdn.Ring{{{
//		Name: "cloudimage", CDN: c, Bases: []string{"https://TOKEN.cloudimg.io/www.example.com/img"},
//	}}}, nil)
//
// The key is that of the page "Invalidation" of the console; it goes out as X-Client-Key. A base is what stands before /SOURCE/PATH in URLs at
// Cloudimage: the path of one, without its host, is what the API takes. Tokens from before November 2021 have to have /v7 in it, and later ones
// must not (docs.cloudimage.io, "Invalidation API").
//
// # Limits
//
// 15 paths in a call. A path covers all that was made of the image, whatever the parameters, so that it goes out without a query. No limit of
// rate is documented. A purge takes about a minute, as Cloudimage searches its logs for what it has made; the API tells how far it
// is, and so this is a [cdn.Confirmer].
//
// # What is not possible
//
// There are no tags, no folders and no soft purge. A purge of everything is one of the whole token, and Cloudimage fetches all images
// anew after it.
package cloudimage

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/imagecdn/imagecdn/purge/cdn"
)

// Options are the optional settings of [New].
type Options struct {
	// Client makes the calls. Nil means cdn.NewClient(nil).
	Client *http.Client

	// API is the URL that paths of the API are appended to. Zero means https://api.cloudimage.com.
	API string
}

// A CDN is a token at Cloudimage.
type CDN struct {
	key, api string
	client   *http.Client
}

var _ cdn.Confirmer = (*CDN)(nil)

// New returns the token that an API key is of. A nil o means the defaults.
func New(key string, o *Options) (*CDN, error) {
	if o == nil {
		o = new(Options)
	}
	if err := cdn.CheckSetting("cloudimage", "the API key", key); err != nil {
		return nil, err
	}
	c := &CDN{key: key, api: cmp.Or(strings.TrimSuffix(o.API, "/"), "https://api.cloudimage.com"), client: o.Client}
	if c.client == nil {
		c.client = cdn.NewClient(nil)
	}
	return c, nil
}

// Features implements [cdn.CDN].
func (c *CDN) Features() cdn.Features {
	return cdn.Features{Forms: map[cdn.Kind]cdn.Form{
		cdn.URL: {MaxItems: maxPaths, Query: true},
		cdn.All: {},
	}}
}

// maxPaths is how many paths the API takes in a call.
const maxPaths = 15

// An invalidation is what the API says of one.
type invalidation struct {
	Status string `json:"status"`
	UUID   string `json:"uuid"`
	URLs   struct {
		Failed []json.RawMessage `json:"failed"` // undocumented: paths, or objects about paths
	} `json:"urls"`
}

// Purge implements [cdn.CDN].
func (c *CDN) Purge(ctx context.Context, b cdn.Batch) (cdn.Receipt, error) {
	var request struct {
		Scope string   `json:"scope"`
		URLs  []string `json:"urls,omitempty"`
	}
	var receipt cdn.Receipt
	switch {
	case b.Soft:
		return receipt, &cdn.Error{Reason: "Cloudimage has no soft purge"}
	case b.Kind == cdn.All:
		request.Scope = "all"
	case b.Kind == cdn.URL && len(b.Values) > 0 && len(b.Values) <= maxPaths:
		request.Scope = "original"
		seen := make(map[string]bool)
		for _, v := range b.Values {
			u, err := url.Parse(v)
			if err != nil || u.Host == "" || len(u.Path) < 2 {
				receipt.Failed = append(receipt.Failed, cdn.Failure{Value: v, Reason: "is no absolute URL of an image"})
				continue
			}
			if path := u.EscapedPath(); !seen[path] {
				seen[path] = true
				request.URLs = append(request.URLs, path)
			}
		}
		if len(request.URLs) == 0 {
			return receipt, nil
		}
	default:
		return receipt, &cdn.Error{Reason: fmt.Sprintf("Cloudimage purges up to %d URLs in a call, or everything, and nothing else", maxPaths)}
	}
	body, err := json.Marshal(request)
	if err != nil {
		return receipt, err
	}
	in, err := c.call(ctx, http.MethodPost, "/invalidate", body)
	if err != nil {
		return cdn.Receipt{}, err
	}
	receipt.ID = in.UUID
	return receipt, nil
}

// Confirmed implements [cdn.Confirmer].
func (c *CDN) Confirmed(ctx context.Context, receipt cdn.Receipt) (bool, error) {
	if receipt.ID == "" {
		return false, &cdn.Error{Reason: "there is no ID to ask about"}
	}
	in, err := c.call(ctx, http.MethodGet, "/invalidate/"+url.PathEscape(receipt.ID), nil)
	switch {
	case err != nil:
		return false, err
	case strings.HasPrefix(in.Status, "ERROR"), len(in.URLs.Failed) > 0 && in.Status == "DONE":
		reason := "the invalidation ended as " + in.Status
		if len(in.URLs.Failed) > 0 {
			var failed []string
			for _, f := range in.URLs.Failed {
				failed = append(failed, strings.Trim(string(f), `"`))
			}
			reason += "; failed: " + strings.Join(failed, ", ")
		}
		return false, &cdn.Error{Reason: cdn.OneLine(c.redact(reason))}
	}
	return in.Status == "DONE", nil
}

func (c *CDN) call(ctx context.Context, method, path string, body []byte) (in invalidation, err error) {
	r, err := http.NewRequestWithContext(ctx, method, c.api+path, bytes.NewReader(body))
	if err != nil {
		return in, &cdn.Error{Reason: "the URL of the API is none"}
	}
	r.Header.Set("X-Client-Key", c.key)
	r.Header.Set("Content-Type", "application/json")
	status, _, body, err := cdn.Call(c.client, r, c.words)
	if err != nil {
		return in, err
	}
	var answer struct {
		Status       string       `json:"status"`
		Invalidation invalidation `json:"invalidation"`
	}
	switch err := json.Unmarshal(body, &answer); {
	case err != nil:
		return in, &cdn.Error{Status: status, Reason: "the answer is not that of the API: " + cdn.OneLine(c.redact(string(body))), Temporary: true}
	case answer.Status != "success":
		return in, &cdn.Error{Status: status, Reason: cdn.OneLine(c.words(body))}
	case answer.Invalidation.UUID == "" || answer.Invalidation.Status == "":
		return in, &cdn.Error{Status: status, Reason: "the answer has no invalidation", Temporary: true}
	}
	return answer.Invalidation, nil
}

// words finds what Cloudimage says in an answer that refuses. How those look is not documented.
func (c *CDN) words(body []byte) string {
	var answer struct{ Msg, Message, Hint, Error string }
	_ = json.Unmarshal(body, &answer) // what was read of it counts
	return c.redact(cmp.Or(answer.Msg, answer.Message, answer.Hint, answer.Error, string(body)))
}

// redact takes the key out of what an answer repeats.
func (c *CDN) redact(s string) string { return strings.ReplaceAll(s, c.key, "…") }
