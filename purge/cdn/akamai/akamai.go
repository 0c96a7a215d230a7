// Package akamai purges Akamai, by the Fast Purge API of version 3.
//
//	c, err := akamai.New(akamai.Credentials{
//		Host:         "akab-….luna.akamaiapis.net",
//		ClientToken:  "akab-…",
//		ClientSecret: "…",
//		AccessToken:  "akab-…",
//	}, &akamai.Options{CPCodes: []int{123456}})
//
// The credentials are those of an API client with read-write access to the service CCU APIs, as .edgerc files have them. Requests are signed with
// EdgeGrid (EG1-HMAC-SHA256); the clock may be off by 30 seconds at most.
//
// # What it can do
//
// It purges tags and URLs, and of everything the CP codes of Options. A soft purge is Akamai's invalidate: copies are asked
// about at the origin before they are used again. The other is delete.
//
// Tags are taken from the response header Edge-Cache-Tag, separated by commas: at most 128 of a response, each of at most 128 characters.
// Upper case and lower case are different tags. A 304 does not change the tags of a copy.
//
// A URL is purged as it is, with its query.
//
// # Limits
//
// The body of a call has at most 50,000 bytes. The account has a bucket of 100 requests, filled by 50 a second, and one for each kind of
// object: 10,000 URLs by 12,000 a minute, 5,000 tags by 500 a minute, 300 CP codes by 30 a minute
// (https://techdocs.akamai.com/purge-cache/reference/rate-limiting). They are the account's as a whole, of which others may use some. Whoever
// is refused waits five seconds.
//
// # What it cannot do
//
// There is no prefix, and version 3 cannot be asked whether a purge is complete: the answer says how long it takes, which is five seconds or so.
package akamai

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/imagecdn/imagecdn/purge/cdn"
)

// Credentials are those of an API client, in the words of .edgerc files.
type Credentials struct {
	Host         string // without a scheme
	ClientToken  string
	ClientSecret string
	AccessToken  string
}

// String has no secret in it.
func (c Credentials) String() string { return "Akamai credentials for " + c.Host }

// GoString has no secret in it.
func (c Credentials) GoString() string { return c.String() }

// Networks that can be purged.
const (
	Production = "production"
	Staging    = "staging"
)

// Options are the optional settings of [New].
type Options struct {
	// Network is Production or Staging. Empty means Production.
	Network string

	// CPCodes are the CP codes that everything is under. Empty means that there is no way to purge everything.
	CPCodes []int

	// AccountSwitchKey names the account, for API clients that may manage several. Empty means their own.
	AccountSwitchKey string

	// Client makes the calls. Nil means cdn.NewClient(nil).
	Client *http.Client

	// API is the API's base URL. Empty means https and the host of the credentials.
	API string
}

// A CDN is an account's properties on one network.
type CDN struct {
	credentials Credentials
	client      *http.Client
	api         string
	suffix      string // of paths: the network, and the query
	cpCodes     []int
}

var _ cdn.CDN = (*CDN)(nil)

// New returns what the credentials may purge. A nil o means the defaults.
func New(credentials Credentials, o *Options) (*CDN, error) {
	err := cdn.CheckSetting("akamai", "Host", credentials.Host, "ClientToken", credentials.ClientToken,
		"ClientSecret", credentials.ClientSecret, "AccessToken", credentials.AccessToken)
	if err != nil {
		return nil, err
	}
	var opts Options
	if o != nil {
		opts = *o
	}
	switch opts.Network {
	case "":
		opts.Network = Production
	case Production, Staging:
	default:
		return nil, fmt.Errorf("akamai: Network is %q, not %q or %q", opts.Network, Production, Staging)
	}
	if len(opts.CPCodes) > cpCodeBurst {
		return nil, fmt.Errorf("akamai: CPCodes are %d, and no more than %d can be purged at once", len(opts.CPCodes), cpCodeBurst)
	}
	for _, code := range opts.CPCodes {
		if code <= 0 {
			return nil, fmt.Errorf("akamai: CPCodes has %d", code)
		}
	}
	if opts.API == "" {
		opts.API = "https://" + strings.ToLower(credentials.Host)
	}
	if api, err := url.Parse(opts.API); err != nil || api.Host == "" || api.RawQuery != "" || (o == nil || o.API == "") && api.Host != strings.ToLower(credentials.Host) {
		return nil, errors.New("akamai: Host is not that of a URL, without a scheme and a path")
	}
	if opts.Client == nil {
		opts.Client = cdn.NewClient(nil)
	}
	c := &CDN{
		credentials: credentials,
		client:      opts.Client,
		api:         strings.TrimSuffix(opts.API, "/") + "/ccu/v3/",
		suffix:      "/" + opts.Network,
		cpCodes:     append([]int(nil), opts.CPCodes...),
	}
	if opts.AccountSwitchKey != "" {
		c.suffix += "?accountSwitchKey=" + url.QueryEscape(opts.AccountSwitchKey)
	}
	return c, nil
}

const (
	maxBody     = 50_000
	cpCodeBurst = 300
	envelope    = len(`{"objects":[]}`)
	itemBytes   = len(`"",`)
)

// Features implements [cdn.CDN].
func (c *CDN) Features() cdn.Features {
	requests := cdn.Rate{Name: "requests", Burst: 100, PerSecond: 50}
	f := cdn.Features{
		Forms: map[cdn.Kind]cdn.Form{
			cdn.URL: {MaxItems: 10_000, MaxBytes: maxBody - envelope, ItemBytes: itemBytes, Rates: []cdn.Rate{
				requests, {Name: "URLs", Burst: 10_000, PerSecond: 200, PerItem: true},
			}},
			cdn.Tag: {MaxItems: 5000, MaxBytes: maxBody - envelope, ItemBytes: itemBytes, Rates: []cdn.Rate{
				requests, {Name: "tags", Burst: 5000, PerSecond: 500. / 60, PerItem: true},
			}},
		},
		Soft: true,
		Tags: []cdn.TagHeader{{Name: "Edge-Cache-Tag", Separator: ","}},
	}
	if n := len(c.cpCodes); n > 0 {
		f.Forms[cdn.All] = cdn.Form{Rates: []cdn.Rate{
			requests, {Name: "CP codes", Burst: float64(cpCodeBurst / n), PerSecond: 0.5 / float64(n)},
		}}
	}
	return f
}

// An answer is what Fast Purge and the gateway before it say.
type answer struct {
	HTTPStatus       int     `json:"httpStatus"`
	Title            string  `json:"title"`
	Detail           string  `json:"detail"`
	EstimatedSeconds float64 `json:"estimatedSeconds"`
	PurgeID          string  `json:"purgeId"`
	SupportID        string  `json:"supportId"`
}

// Purge implements [cdn.CDN].
func (c *CDN) Purge(ctx context.Context, b cdn.Batch) (cdn.Receipt, error) {
	var receipt cdn.Receipt
	var objects []any
	selection := string(b.Kind)
	switch b.Kind {
	case cdn.All:
		if len(c.cpCodes) == 0 {
			return cdn.Receipt{}, &cdn.Error{Reason: "there are no CP codes to purge everything by"}
		}
		selection = "cpcode"
		for _, code := range c.cpCodes {
			objects = append(objects, code)
		}
	case cdn.URL, cdn.Tag:
		size := envelope
		for _, value := range b.Values {
			object, err := object(b.Kind, value)
			if err != nil {
				receipt.Failed = append(receipt.Failed, cdn.Failure{Value: value, Reason: err.Error()})
				continue
			}
			if size += len(object) + itemBytes; size > maxBody+1 { // the last has no comma
				receipt.Failed = append(receipt.Failed, cdn.Failure{Value: value, Reason: "no room in the call", Temporary: len(objects) > 0})
				continue
			}
			objects = append(objects, object)
		}
	default:
		return cdn.Receipt{}, &cdn.Error{Reason: fmt.Sprintf("Akamai purges nothing of kind %q", b.Kind)}
	}
	if len(objects) == 0 {
		if len(receipt.Failed) == 0 {
			return cdn.Receipt{}, &cdn.Error{Reason: "nothing to purge"}
		}
		receipt.Complete = true
		return receipt, nil
	}
	method := "delete"
	if b.Soft {
		method = "invalidate"
	}
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // an ampersand is one byte
	if err := enc.Encode(map[string][]any{"objects": objects}); err != nil {
		return cdn.Receipt{}, err
	}
	said, err := c.call(ctx, method+"/"+selection, bytes.TrimSuffix(body.Bytes(), []byte("\n")))
	if err != nil {
		return cdn.Receipt{}, err
	}
	receipt.ID = said.PurgeID
	receipt.After = time.Duration(min(max(said.EstimatedSeconds, 0), 24*3600) * float64(time.Second))
	return receipt, nil
}

// patience is what the documentation asks for after a 429, which comes without Retry-After.
const patience = 5 * time.Second

func (c *CDN) call(ctx context.Context, path string, body []byte) (*answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.api+path+c.suffix, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	sign(r, body, c.credentials, time.Now(), rand.Text())
	status, _, said, err := cdn.Call(c.client, r, words)
	if err != nil {
		if e, ok := errors.AsType[*cdn.Error](err); ok && e.Status == http.StatusTooManyRequests && e.RetryAfter == 0 {
			e.RetryAfter = patience
		}
		return nil, err
	}
	var a answer
	if err := json.Unmarshal(said, &a); err != nil || a.HTTPStatus == 0 {
		return nil, &cdn.Error{Reason: "the answer is none of Fast Purge: " + cdn.OneLine(string(said)), Temporary: true}
	}
	if status != http.StatusCreated || a.HTTPStatus != http.StatusCreated {
		return nil, &cdn.Error{Status: a.HTTPStatus, Reason: cdn.OneLine(words(said)), Temporary: a.HTTPStatus == http.StatusTooManyRequests || a.HTTPStatus >= 500}
	}
	return &a, nil
}

// words is what a body says of an error, with what Akamai's support asks for.
func words(body []byte) string {
	var a answer
	if json.Unmarshal(body, &a) != nil || a.Title == "" && a.Detail == "" {
		return string(body)
	}
	s := a.Title
	if a.Detail != "" && a.Detail != a.Title {
		if s != "" {
			s += ": "
		}
		s += a.Detail
	}
	if a.SupportID != "" {
		s += " (support ID " + a.SupportID + ")"
	}
	return s
}

// object makes of a value what the API has for it.
func object(kind cdn.Kind, value string) (string, error) {
	if kind == cdn.Tag {
		if value == "" || len(value) > 128 {
			return "", errors.New("a tag of Akamai has from 1 to 128 characters")
		}
		for _, b := range []byte(value) {
			alphanumeric := b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z'
			if !alphanumeric && strings.IndexByte("!#$%'+./^_`|~-", b) < 0 {
				return "", fmt.Errorf("a tag of Akamai has no %q", b)
			}
		}
		return value, nil
	}
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", errors.New("not an absolute URL")
	}
	u.Fragment, u.RawFragment, u.User = "", "", nil
	s := u.String()
	for _, b := range []byte(s) {
		if b <= ' ' || b >= 0x7f || b == '"' || b == '\\' {
			return "", errors.New("a character of the query is not escaped")
		}
	}
	return s, nil
}
