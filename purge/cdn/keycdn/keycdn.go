// Package keycdn purges KeyCDN's cache:
//
//	k, err := keycdn.New("12345", key, nil)
//
// The first argument is the zone's ID, a number; the key is the account's API key, which is the name of HTTP Basic Auth, with no password.
//
// # What it can do
//
//   - Tags: DELETE zones/purgetag/{id}.json with {"tags": […]}.
//   - URLs, as they are with their query: DELETE zones/purgeurl/{id}.json with {"urls": ["host/path"]}.
//   - All of the zone: GET zones/purge/{id}.json.
//
// KeyCDN says that a purge takes a few seconds. The header Cache-Tag holds tags between single spaces: Cloudflare's header of the same name has commas, so
// that one response cannot serve both. KeyCDN passes it on to visitors.
//
// The limits (keycdn.com/api): bodies of 64 KB, and as many requests as the header X-Rate-Limit-Limit has, which was 20 in a minute until KeyCDN raised it
// in 2019, and since is seen to be 60; here it is taken for 60 in a minute. The purge of tags is in KeyCDN's dashboard, guide and clients, but not in
// the API's reference, and of its list of tags KeyCDN's support said in 2017 that it has no more than 128 bytes (drupal.org/node/2878035):
// Options.TagBytes says otherwise where that is known to be over.
//
// # What it cannot
//
// There is no soft purge, no prefix, and nothing to ask whether a purge is complete.
package keycdn

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/imagecdn/imagecdn/purge/cdn"
)

// Options are the optional settings of [New].
type Options struct {
	// Client makes the calls. Nil means cdn.NewClient(nil).
	Client *http.Client

	// API is the base URL of the API. Empty means https://api.keycdn.com.
	API string

	// TagBytes bounds the list of tags in a call: its JSON, as in ["a","b"], which has 9. Zero means 128, and the most is 60,000.
	TagBytes int
}

// A CDN is one zone of KeyCDN. It implements [cdn.CDN].
type CDN struct {
	client   *http.Client
	api      string
	zone     string
	key      string
	tagBytes int
}

// maxBytes bounds a list in a body of 64 KB, which is taken for 64,000 bytes; what is around the list has room in the rest.
const maxBytes = 60_000

// New returns a zone, by its ID and the account's API key. A nil o means the defaults.
func New(zone, key string, o *Options) (*CDN, error) {
	var opt Options
	if o != nil {
		opt = *o
	}
	if err := cdn.CheckSetting("keycdn", "zone", zone, "key", key); err != nil {
		return nil, err
	}
	if _, err := strconv.ParseUint(zone, 10, 63); err != nil {
		return nil, fmt.Errorf("keycdn: the zone is %q, and not the number that is a zone's ID", zone)
	}
	if opt.TagBytes == 0 {
		opt.TagBytes = 128
	}
	if opt.TagBytes < 64 || opt.TagBytes > maxBytes {
		return nil, fmt.Errorf("keycdn: Options.TagBytes is %d, and not from 64 to %d", opt.TagBytes, maxBytes)
	}
	api, err := cdn.BaseURL("keycdn", opt.API, "https://api.keycdn.com")
	if err != nil {
		return nil, err
	}
	if opt.Client == nil {
		opt.Client = cdn.NewClient(nil)
	}
	return &CDN{client: opt.Client, api: api, zone: zone, key: key, tagBytes: opt.TagBytes}, nil
}

// Each value of a list has two quotes and, but for the last, a comma; the list has two brackets.
const (
	perItem = 3
	perList = 1
)

// Features implements [cdn.CDN].
func (c *CDN) Features() cdn.Features {
	// How the minute is counted is not said. A third of 60 at once, and two thirds as it goes, is never more than 60 in a minute, wherever that
	// begins.
	rates := []cdn.Rate{{Name: "requests", Burst: 20, PerSecond: 40. / 60}}
	return cdn.Features{
		Forms: map[cdn.Kind]cdn.Form{
			cdn.Tag: {MaxItems: c.tagBytes/(perItem+1) + 1, MaxBytes: c.tagBytes - perList, ItemBytes: perItem, Rates: rates},
			cdn.URL: {MaxItems: 1000, MaxBytes: maxBytes - perList, ItemBytes: perItem, Rates: rates},
			cdn.All: {Rates: rates},
		},
		Tags: []cdn.TagHeader{{Name: "Cache-Tag", Separator: " "}},
	}
}

// after is what "a few seconds" are (keycdn.com/support/purge-cdn-cache).
const after = 5 * time.Second

// Purge implements [cdn.CDN].
func (c *CDN) Purge(ctx context.Context, b cdn.Batch) (cdn.Receipt, error) {
	if err := c.Features().Check(b); err != nil {
		return cdn.Receipt{}, err
	}
	receipt := cdn.Receipt{After: after}
	method, action, field := http.MethodGet, "purge", ""
	var values []string
	switch b.Kind {
	case cdn.Tag:
		method, action, field = http.MethodDelete, "purgetag", "tags"
		values, receipt.Failed = cdn.Sift(b.Values, tag)
	case cdn.URL:
		method, action, field = http.MethodDelete, "purgeurl", "urls"
		values, receipt.Failed = cdn.Sift(b.Values, bare)
	}
	var body []byte
	if field != "" {
		if len(values) == 0 {
			return cdn.Receipt{Failed: receipt.Failed}, nil
		}
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false) // or & would have six bytes
		if err := enc.Encode(map[string][]string{field: values}); err != nil {
			return cdn.Receipt{}, err
		}
		body = bytes.TrimSpace(buf.Bytes())
	}
	if err := c.send(ctx, method, c.api+"/zones/"+action+"/"+c.zone+".json", body); err != nil {
		return cdn.Receipt{}, cdn.Hide(err, c.key)
	}
	return receipt, nil
}

func (c *CDN) send(ctx context.Context, method, to string, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.SetBasicAuth(c.key, "")
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	status, _, answer, err := cdn.Call(c.client, r, words)
	if err != nil {
		return err
	}
	var got struct{ Status string }
	switch {
	case json.Unmarshal(answer, &got) != nil || got.Status == "":
		return &cdn.Error{Status: status, Reason: "the answer is not that of the API: " + cdn.OneLine(string(answer)), Temporary: true}
	case got.Status != "success":
		return &cdn.Error{Status: status, Reason: cdn.OneLine(words(answer))}
	}
	return nil
}

// words are the description of an answer.
func words(body []byte) string {
	var got struct {
		Description string `json:"description"`
		Message     string `json:"error_message"`
	}
	switch err := json.Unmarshal(body, &got); {
	case err != nil || got.Description == "" && got.Message == "":
		return string(body)
	case got.Description == "":
		return got.Message
	}
	return got.Description
}

func tag(v string) (string, error) {
	if v == "" {
		return "", errors.New("a tag is not empty")
	}
	for i := 0; i < len(v); i++ {
		if v[i] <= ' ' || v[i] >= 0x7f || v[i] == '"' || v[i] == '\\' {
			return "", errors.New("a tag is of printable ASCII without spaces, quotes and backslashes")
		}
	}
	return v, nil
}

// bare is a URL without its scheme, which is how the API takes it.
func bare(v string) (string, error) {
	host, path, err := cdn.SplitURL(v)
	for i := 0; i < len(path) && err == nil; i++ {
		if path[i] == '"' || path[i] == '\\' {
			err = errors.New("it has quotes or backslashes, which are %22 and %5C in a URL")
		}
	}
	return host + path, err
}
