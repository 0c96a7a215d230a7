// Package bunny purges the cache of bunny.net:
//
//	b, err := bunny.New("1234567", key, nil)
//
// The first argument is the pull zone's ID, a number that the dashboard has in the zone's address; the key is the account's API key, and goes in the
// header AccessKey.
//
// # What it can do
//
//   - One tag: POST pullzone/{id}/purgeCache with {"CacheTag": …}.
//   - One URL, as it is with its query: POST purge?url=….
//   - One prefix: the same, with a URL that ends in *.
//   - All of the pull zone: POST pullzone/{id}/purgeCache.
//
// For URLs and prefixes bunny.net answers when the purge is done ([cdn.Receipt].Complete), for the others when it is taken, and it has nothing to
// ask afterwards.
//
// The limits (docs.bunny.net/cdn/purge-cache) are per account and kind: of URLs 120 at once and 5 a second, of prefixes 20 at once and one in
// two seconds. What tags and zones count as is not said; here they count as prefixes do. The header CDN-Tag has no more than
// 1,024 bytes, which are some 36 tags of the handler's. That commas are between tags is what its users do; the documentation shows one tag.
//
// # What it cannot
//
//   - There is no soft purge, and no call takes more than one value, so that many tags take their time.
//   - Tags do not work for a pull zone with Perma-Cache.
//   - A pull zone caches by path alone until Vary Cache › URL Query String is on, which an image CDN needs. One that varies by country or by
//     host name cannot be purged by URL.
//   - A URL with a * in it is taken for a pattern: it purges what is meant, and what else matches.
package bunny

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/imagecdn/imagecdn/purge/cdn"
)

// Options are the optional settings of [New].
type Options struct {
	// Client makes the calls. Nil means cdn.NewClient(nil).
	Client *http.Client

	// API is the base URL of the API. Empty means https://api.bunny.net.
	API string
}

// A CDN is one pull zone of bunny.net. It implements [cdn.CDN].
type CDN struct {
	client *http.Client
	api    string
	zone   string
	key    string
}

// New returns a pull zone, by its ID and the account's API key. A nil o means the defaults.
func New(zone, key string, o *Options) (*CDN, error) {
	var opt Options
	if o != nil {
		opt = *o
	}
	if err := cdn.CheckSetting("bunny", "zone", zone, "key", key); err != nil {
		return nil, err
	}
	if _, err := strconv.ParseUint(zone, 10, 63); err != nil {
		return nil, fmt.Errorf("bunny: the zone is %q, and not the number that is a pull zone's ID", zone)
	}
	api, err := cdn.BaseURL("bunny", opt.API, "https://api.bunny.net")
	if err != nil {
		return nil, err
	}
	if opt.Client == nil {
		opt.Client = cdn.NewClient(nil)
	}
	return &CDN{client: opt.Client, api: api, zone: zone, key: key}, nil
}

// Features implements [cdn.CDN].
func (c *CDN) Features() cdn.Features {
	exact := []cdn.Rate{{Name: "URLs", Burst: 120, PerSecond: 5}}
	prefix := []cdn.Rate{{Name: "prefixes", Burst: 20, PerSecond: 0.5}}
	return cdn.Features{
		Forms: map[cdn.Kind]cdn.Form{
			cdn.Tag:    {MaxItems: 1, Rates: prefix},
			cdn.URL:    {MaxItems: 1, Rates: exact},
			cdn.Prefix: {MaxItems: 1, Rates: prefix},
			cdn.All:    {Rates: prefix},
		},
		Tags: []cdn.TagHeader{{Name: "CDN-Tag", Separator: ",", MaxBytes: 1024}},
	}
}

// Purge implements [cdn.CDN].
func (c *CDN) Purge(ctx context.Context, b cdn.Batch) (cdn.Receipt, error) {
	if err := c.Features().Check(b); err != nil {
		return cdn.Receipt{}, err
	}
	var to string
	var body []byte
	var receipt cdn.Receipt
	zone := c.api + "/pullzone/" + c.zone + "/purgeCache"
	switch b.Kind {
	case cdn.Tag:
		var tags []string
		// A call without a tag is one for the whole zone: there is none for a tag that is no tag.
		if tags, receipt.Failed = cdn.Sift(b.Values, tag); len(tags) == 0 {
			return receipt, nil
		}
		var err error
		if body, err = json.Marshal(map[string]string{"CacheTag": tags[0]}); err != nil {
			return cdn.Receipt{}, err
		}
		to = zone
	case cdn.URL, cdn.Prefix:
		var urls []string
		if urls, receipt.Failed = cdn.Sift(b.Values, absolute); len(urls) == 0 {
			return receipt, nil
		}
		to, receipt.Complete = c.api+"/purge?"+query(urls[0], b.Kind == cdn.Prefix), true
	default:
		to = zone
	}
	if err := c.send(ctx, to, body); err != nil {
		return cdn.Receipt{}, cdn.Hide(err, c.key)
	}
	return receipt, nil
}

// query has bunny.net purge a URL, or what begins with it, and answer when that is done.
func query(v string, prefix bool) string {
	q := url.Values{"async": {"false"}}
	path, _, _ := strings.Cut(v, "?")
	switch {
	case prefix:
		v = strings.TrimRight(v, "*") + "*"
	case strings.HasSuffix(path, "/"):
		q.Set("exactPath", "true") // it would be a prefix otherwise
	}
	q.Set("url", v)
	return q.Encode()
}

func (c *CDN) send(ctx context.Context, to string, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("AccessKey", c.key)
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	_, _, _, err = cdn.Call(c.client, r, words)
	return err
}

// words are the message of an answer, and the field that it is about.
func words(body []byte) string {
	var got struct{ Message, Field string }
	switch err := json.Unmarshal(body, &got); {
	case err != nil || got.Message == "":
		return string(body)
	case got.Field == "":
		return got.Message
	}
	return got.Message + " (" + got.Field + ")"
}

func tag(v string) (string, error) {
	if v == "" || len(v) > 1024 {
		return "", errors.New("a tag has 1 to 1,024 bytes, as the header has")
	}
	for i := 0; i < len(v); i++ {
		if v[i] <= ' ' || v[i] >= 0x7f || v[i] == ',' {
			return "", errors.New("a tag is of printable ASCII without spaces and commas")
		}
	}
	return v, nil
}

func absolute(v string) (string, error) {
	_, _, err := cdn.SplitURL(v)
	return v, err
}
