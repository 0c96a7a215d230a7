// Package cloudfront purges Amazon CloudFront.
//
//	keys := cloudfront.Static(cloudfront.Credentials{AccessKeyID: "…", SecretAccessKey: "…"})
//	c, err := cloudfront.New("E1A2B3C4D5E6F7", keys, &cloudfront.Options{TagHeader: "Cache-Tag"})
//
// # Credentials
//
// They need the actions cloudfront:CreateInvalidation and cloudfront:GetInvalidation on the distribution. They come from a function that is
// called for each request, so that those of a role can rotate; with a session token the request carries it. Requests are signed with
// Signature Version 4.
//
// # What it can do
//
// It invalidates tags, URLs, prefixes and everything, and can be asked whether an invalidation is complete, which takes seconds to minutes. A
// batch that is sent again is the same invalidation: its ID is the CallerReference.
//
// Tags work on distributions that have a CacheTagConfig, whose HeaderName Options.TagHeader repeats. CloudFront keeps at most 50 tags of a
// response, each of at most 256 visible characters without a comma, and does not tell upper case from lower.
//
// A path of an invalidation has no host: it is purged for all hosts of the distribution. A URL is purged with its query, and where
// query strings are part of the cache key a URL without one does not cover those with one; a prefix does.
//
// # Limits
//
// The quotas are 150 paths or tags, and one wildcard, a second
// (https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html#limits-invalidations). Earlier ones, which
// copies of another page still have, were 3,000 paths and 15 wildcards in progress
// (https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/InvalidationLimits.html). Calls are limited to one in two seconds
// after the first few, says AWS in https://github.com/aws/aws-sdk-js/issues/3983. Features keeps to all of them. Each path and tag
// beyond a thousand a month costs money, a wildcard as much as any other; a tag that purges all sizes of an image is one.
//
// # What it cannot do
//
// CloudFront has no way to mark copies as stale. It takes no path with "~", encoded or not: those are refused here, with a reason, rather than
// taken there without effect. An asterisk at the end of a URL's path is a wildcard.
package cloudfront

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/imagecdn/imagecdn/purge/cdn"
)

// Credentials are what requests are signed with.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string // of temporary credentials; else empty
}

// String has no secret in it.
func (c Credentials) String() string { return "AWS credentials " + c.AccessKeyID }

// GoString has no secret in it.
func (c Credentials) GoString() string { return c.String() }

// Static returns credentials that do not change.
func Static(c Credentials) func(context.Context) (Credentials, error) {
	return func(context.Context) (Credentials, error) { return c, nil }
}

// Options are the optional settings of [New].
type Options struct {
	// TagHeader is the HeaderName of the distribution's CacheTagConfig. Empty means that it has none, so that nothing is purged by tag.
	TagHeader string

	// Tenant says that the distribution's ID is that of a distribution tenant.
	Tenant bool

	// Client makes the calls. Nil means cdn.NewClient(nil).
	Client *http.Client

	// API is the API's base URL. Empty means "https://cloudfront.amazonaws.com".
	API string

	// Region is what requests are signed for. Empty means "us-east-1", which all of CloudFront outside China is.
	Region string
}

// A CDN is a distribution.
type CDN struct {
	credentials func(context.Context) (Credentials, error)
	client      *http.Client
	invalidate  string // URL of the distribution's invalidations
	region      string
	tagHeader   string
}

var _ cdn.Confirmer = (*CDN)(nil)

// New returns the distribution with an ID. A nil o means the defaults.
func New(distribution string, credentials func(context.Context) (Credentials, error), o *Options) (*CDN, error) {
	if err := cdn.CheckSetting("cloudfront", "distribution", distribution); err != nil {
		return nil, err
	}
	if !plainID(distribution) {
		return nil, fmt.Errorf("cloudfront: distribution %q is no ID such as E1A2B3C4D5E6F7", distribution)
	}
	if credentials == nil {
		return nil, errors.New("cloudfront: credentials is missing")
	}
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.API == "" {
		opts.API = "https://cloudfront.amazonaws.com"
	}
	if opts.Region == "" {
		opts.Region = "us-east-1"
	}
	if opts.Client == nil {
		opts.Client = cdn.NewClient(nil)
	}
	api, err := url.Parse(opts.API)
	if err != nil || api.Host == "" || api.RawQuery != "" {
		return nil, errors.New("cloudfront: API is not the URL of a host")
	}
	kind := "distribution"
	if opts.Tenant {
		kind = "distribution-tenant"
	}
	return &CDN{
		credentials: credentials,
		client:      opts.Client,
		invalidate:  strings.TrimSuffix(opts.API, "/") + "/2020-05-31/" + kind + "/" + distribution + "/invalidation",
		region:      opts.Region,
		tagHeader:   opts.TagHeader,
	}, nil
}

// plainID is whether s needs no escaping in a path: IDs are letters, digits, and in those of tenants underscores.
func plainID(s string) bool {
	for _, b := range []byte(s) {
		if !(b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || b == '_' || b == '-') {
			return false
		}
	}
	return s != ""
}

// maxBatch is as many paths as the quota of a second has, so that no call is larger than the bucket that it counts against.
const maxBatch = 150

// Features implements [cdn.CDN].
func (c *CDN) Features() cdn.Features {
	calls := cdn.Rate{Name: "calls", Burst: 5, PerSecond: 0.5}
	paths := cdn.Rate{Name: "paths", Burst: maxBatch, PerSecond: 150, PerItem: true}
	wildcards := cdn.Rate{Name: "wildcards", Burst: 1, PerSecond: 1}
	f := cdn.Features{
		Forms: map[cdn.Kind]cdn.Form{
			cdn.URL:    {MaxItems: maxBatch, MaxOpen: 3000, Rates: []cdn.Rate{calls, paths}},
			cdn.Prefix: {MaxItems: 1, MaxOpen: 14, Rates: []cdn.Rate{calls, wildcards}},
			cdn.All:    {MaxOpen: 1, Rates: []cdn.Rate{calls, wildcards}}, // is a wildcard, too: the fifteenth
		},
		Polls:    []cdn.Rate{{Name: "polls", Burst: 5, PerSecond: 0.5}},
		Confirms: 30 * time.Minute,
	}
	if c.tagHeader != "" {
		// How tags in progress count is not said; so they and paths are half of what is allowed, each.
		f.Forms[cdn.Tag] = cdn.Form{MaxItems: maxBatch, MaxOpen: 1500, Rates: []cdn.Rate{calls, paths}}
		f.Forms[cdn.URL] = cdn.Form{MaxItems: maxBatch, MaxOpen: 1500, Rates: []cdn.Rate{calls, paths}}
		f.Tags = []cdn.TagHeader{{Name: c.tagHeader, Separator: ","}}
	}
	return f
}

const namespace = "http://cloudfront.amazonaws.com/doc/2020-05-31/"

// An invalidationBatch is the body of CreateInvalidation.
type invalidationBatch struct {
	XMLName         xml.Name `xml:"InvalidationBatch"`
	Namespace       string   `xml:"xmlns,attr"`
	Quantity        int      `xml:"Paths>Quantity"`
	Items           []string `xml:"Paths>Items>Path"`
	CallerReference string
}

// Purge implements [cdn.CDN].
func (c *CDN) Purge(ctx context.Context, b cdn.Batch) (cdn.Receipt, error) {
	if b.Soft {
		return cdn.Receipt{}, &cdn.Error{Reason: "CloudFront cannot mark copies as stale"}
	}
	var receipt cdn.Receipt
	body := invalidationBatch{Namespace: namespace, CallerReference: b.ID}
	if b.Kind == cdn.All {
		body.Items = []string{"/*"}
	}
	for _, value := range b.Values {
		path, err := c.path(b.Kind, value)
		if err != nil {
			receipt.Failed = append(receipt.Failed, cdn.Failure{Value: value, Reason: cdn.OneLine(err.Error())})
			continue
		}
		if !slices.Contains(body.Items, path) { // two hosts, or two spellings, may have one
			body.Items = append(body.Items, path)
		}
	}
	if len(body.Items) == 0 {
		if len(receipt.Failed) == 0 {
			return cdn.Receipt{}, &cdn.Error{Reason: "nothing to invalidate"}
		}
		receipt.Complete = true
		return receipt, nil
	}
	body.Quantity = len(body.Items)
	var buf bytes.Buffer
	buf.WriteString(xml.Header)
	if err := xml.NewEncoder(&buf).Encode(body); err != nil {
		return cdn.Receipt{}, err
	}
	inv, err := c.call(ctx, http.MethodPost, c.invalidate, buf.Bytes())
	if err != nil {
		return cdn.Receipt{}, err
	}
	receipt.ID = inv.ID
	receipt.Complete = inv.Status == completed
	return receipt, nil
}

// Confirmed implements [cdn.Confirmer].
func (c *CDN) Confirmed(ctx context.Context, receipt cdn.Receipt) (bool, error) {
	if !plainID(receipt.ID) {
		return false, &cdn.Error{Reason: "the receipt has no ID of an invalidation"}
	}
	inv, err := c.call(ctx, http.MethodGet, c.invalidate+"/"+receipt.ID, nil)
	if err != nil {
		return false, err
	}
	return inv.Status == completed, nil
}

// completed is the Status of an invalidation that has reached all edge locations; until then it is InProgress.
const completed = "Completed"

type invalidation struct {
	XMLName xml.Name `xml:"Invalidation"`
	ID      string   `xml:"Id"`
	Status  string
}

// call sends a signed request, and reads the invalidation that it answers.
func (c *CDN) call(ctx context.Context, method, target string, body []byte) (*invalidation, error) {
	keys, err := c.credentials(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if e, ok := errors.AsType[*cdn.Error](err); ok {
			return nil, e
		}
		return nil, &cdn.Error{Reason: "no credentials: " + cdn.OneLine(err.Error()), Temporary: true}
	}
	if keys.AccessKeyID == "" || keys.SecretAccessKey == "" {
		return nil, &cdn.Error{Reason: "the credentials are empty"}
	}
	r, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/xml")
	}
	sign(r, body, keys, c.region, "cloudfront", time.Now())
	_, _, answer, err := cdn.Call(c.client, r, words)
	if err != nil {
		if e, ok := errors.AsType[*cdn.Error](err); ok && passes(errorOf(answer).Code) {
			e.Temporary = true
		}
		return nil, err
	}
	var inv invalidation
	if err := xml.Unmarshal(answer, &inv); err != nil || inv.ID == "" || inv.Status == "" {
		return nil, &cdn.Error{Reason: "the answer is no invalidation: " + cdn.OneLine(string(answer)), Temporary: true}
	}
	return &inv, nil
}

// An apiError is how errors are told.
type apiError struct {
	Code    string `xml:"Error>Code"`
	Message string `xml:"Error>Message"`
}

func errorOf(body []byte) (e apiError) {
	if xml.Unmarshal(body, &e) != nil {
		return apiError{}
	}
	return e
}

// words is what a body says of an error.
func words(body []byte) string {
	e := errorOf(body)
	switch {
	case e.Code == "":
		return string(body)
	case e.Message == "":
		return e.Code
	}
	return e.Code + ": " + e.Message
}

// passes is whether an error that is told with a status of 4xx is one that goes away: too much was asked for, or credentials ran out that
// may have been renewed by the next try.
func passes(code string) bool {
	switch code {
	case "TooManyInvalidationsInProgress",
		"Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException", "TooManyRequestsException",
		"RequestLimitExceeded", "BandwidthLimitExceeded", "LimitExceededException", "SlowDown", "PriorRequestNotComplete",
		"RequestTimeout", "RequestTimeoutException", "ServiceUnavailable", "InternalError", "InternalFailure",
		"ExpiredToken", "ExpiredTokenException", "RequestExpired":
		return true
	}
	return false
}

// path makes of a value what an invalidation has for it.
func (c *CDN) path(kind cdn.Kind, value string) (string, error) {
	switch kind {
	case cdn.Tag:
		if c.tagHeader == "" {
			return "", errors.New("the distribution has no cache tags")
		}
		return tagPath(value)
	case cdn.URL:
		return urlPath(value)
	case cdn.Prefix:
		p, err := urlPath(value)
		if err != nil {
			return "", err
		}
		return p + "*", nil
	}
	return "", fmt.Errorf("there are no values of kind %q", kind)
}

func tagPath(tag string) (string, error) {
	if tag == "" || len(tag) > 256 {
		return "", errors.New("a tag of CloudFront has from 1 to 256 characters")
	}
	for _, b := range []byte(tag) {
		if b < 33 || b > 126 || b == ',' {
			return "", errors.New("a tag of CloudFront has only visible ASCII characters, and no comma")
		}
	}
	return "#" + tag, nil
}

// maxPath is the longest path that an invalidation may have.
const maxPath = 4000

// urlPath is what a URL's path and query are in invalidations: exactly those characters escaped that are unsafe by RFC 1738 or are not
// ASCII. "Don't URL-encode any other characters in the path, or CloudFront won't invalidate the old version of the updated file."
//
// So what a URL has escaped needlessly is unescaped, as far as that makes no other URL of it: letters, digits and "-._".
func urlPath(value string) (string, error) {
	u, err := url.Parse(value)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return "", errors.New("not an absolute URL")
	}
	s := u.EscapedPath()
	if s == "" {
		s = "/"
	}
	if u.RawQuery != "" || u.ForceQuery {
		s += "?" + u.RawQuery
	}
	const unsafe = "<>\"#{}|\\^[]`"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		ch, escaped := s[i], false
		if ch == '%' {
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				b.WriteString("%25") // a query may have it so
				continue
			}
			ch, escaped = unhex(s[i+1])<<4|unhex(s[i+2]), true
			i += 2
		}
		switch plain := ch >= '0' && ch <= '9' || ch >= 'A' && ch <= 'Z' || ch >= 'a' && ch <= 'z' || strings.IndexByte("-._", ch) >= 0; {
		case ch == '~':
			return "", errors.New(`CloudFront invalidates no path with "~"`)
		case plain, !escaped && ch > ' ' && ch < 0x7f && strings.IndexByte(unsafe, ch) < 0:
			b.WriteByte(ch)
		default:
			fmt.Fprintf(&b, "%%%02X", ch)
		}
	}
	if b.Len() > maxPath-len("*") {
		return "", fmt.Errorf("a path of CloudFront has at most %d characters", maxPath)
	}
	return b.String(), nil
}

func isHex(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F'
}

func unhex(b byte) byte {
	switch {
	case b >= 'a':
		return b - 'a' + 10
	case b >= 'A':
		return b - 'A' + 10
	}
	return b - '0'
}
