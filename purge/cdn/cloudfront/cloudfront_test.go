package cloudfront_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/purge/cdn/cdntest"
	"github.com/imagecdn/imagecdn/purge/cdn/cloudfront"
)

const (
	distribution = "E1A2B3C4D5E6F7"
	keyID        = "AKIDEXAMPLE"
	secret       = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

func Example() {
	keys := cloudfront.Static(cloudfront.Credentials{AccessKeyID: keyID, SecretAccessKey: secret})
	c, err := cloudfront.New(distribution, keys, &cloudfront.Options{
		TagHeader: "Cache-Tag",
		Client: cdntest.Client(&cdntest.CloudFront{ // leave it out for the real one
			Distribution: distribution,
			Keys:         map[string]cdntest.CloudFrontKey{keyID: {Secret: secret}},
			Tags:         true,
		}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	receipt, err := c.Purge(ctx, cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}, ID: "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f9"})
	fmt.Println(receipt.ID, receipt.Complete, err)
	done, err := c.Confirmed(ctx, receipt)
	fmt.Println(done, err)
	// Output:
	// I0000000000001 false <nil>
	// true <nil>
}

// standIn is a distribution with tags, and its adapter.
func standIn(t *testing.T, o *cloudfront.Options) (*cdntest.CloudFront, *cloudfront.CDN) {
	t.Helper()
	s := &cdntest.CloudFront{Distribution: distribution, Keys: map[string]cdntest.CloudFrontKey{keyID: {Secret: secret}}, Tags: true}
	opts := cloudfront.Options{TagHeader: "Cache-Tag"}
	if o != nil {
		opts = *o
	}
	opts.Client = cdntest.Client(s)
	s.Tenant = opts.Tenant
	c, err := cloudfront.New(distribution, cloudfront.Static(cloudfront.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}), &opts)
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func clean(t *testing.T, s *cdntest.CloudFront) {
	t.Helper()
	if faults := s.Faults(); len(faults) > 0 {
		t.Errorf("faults: %q", faults)
	}
}

func TestEveryKind(t *testing.T) {
	for _, test := range []struct {
		kind   cdn.Kind
		values []string
		purged []string
	}{
		{cdn.Tag, []string{"cat", "i0123456789", "a:b"}, []string{"cat", "i0123456789", "a:b"}},
		{cdn.URL, []string{"https://www.example.com/img/a.jpg", "https://img.example.com/b c.jpg?w=200&q=50"}, []string{"/img/a.jpg", "/b%20c.jpg?w=200&q=50"}},
		{cdn.Prefix, []string{"https://www.example.com/img/photos/"}, []string{"/img/photos/"}},
		{cdn.Prefix, []string{"https://www.example.com/img/cat.jpg"}, []string{"/img/cat.jpg"}},
		{cdn.All, nil, []string{""}},
	} {
		for _, tenant := range []bool{false, true} {
			s, c := standIn(t, &cloudfront.Options{TagHeader: "Cache-Tag", Tenant: tenant})
			receipt, err := c.Purge(t.Context(), cdn.Batch{Kind: test.kind, Values: test.values, ID: "b1"})
			if err != nil || receipt.ID == "" || receipt.Complete || len(receipt.Failed) > 0 {
				t.Errorf("%s: %+v, %v", test.kind, receipt, err)
			}
			if got := s.Purged(string(test.kind)); !slices.Equal(got, test.purged) {
				t.Errorf("%s: purged %q, want %q", test.kind, got, test.purged)
			}
			if done, err := c.Confirmed(t.Context(), receipt); !done || err != nil {
				t.Errorf("%s: %v, %v", test.kind, done, err)
			}
			clean(t, s)
		}
	}
}

func TestLargestBatches(t *testing.T) {
	s, c := standIn(t, nil)
	most := c.Features().Forms[cdn.URL].MaxItems
	var values []string
	for i := range most {
		values = append(values, fmt.Sprintf("https://www.example.com/%d.jpg", i))
	}
	if _, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.URL, Values: values, ID: "b1"}); err != nil {
		t.Error(err)
	}
	if got := len(s.Purged("url")); got != most {
		t.Errorf("%d purged, want %d", got, most)
	}
	clean(t, s)
}

// The limits that Features has are such that whoever keeps to them, and just so, is not refused.
func TestLimitsAreKept(t *testing.T) {
	for _, kind := range []cdn.Kind{cdn.Tag, cdn.URL, cdn.Prefix} {
		synctest.Test(t, func(t *testing.T) {
			s, c := standIn(t, nil)
			s.Takes = time.Minute
			form := c.Features().Forms[kind]
			var open []time.Time // when each is done
			have := make([]float64, len(form.Rates))
			for i, rate := range form.Rates {
				have[i] = rate.Burst
			}
			for i := range 40 {
				for {
					open = slices.DeleteFunc(open, func(at time.Time) bool { return !at.After(time.Now()) })
					wait := len(open)+form.MaxItems > form.MaxOpen
					for j, rate := range form.Rates {
						wait = wait || have[j] < cost(rate, form.MaxItems)
					}
					if !wait {
						break
					}
					const step = 100 * time.Millisecond
					time.Sleep(step)
					for j, rate := range form.Rates {
						have[j] = min(rate.Burst, have[j]+step.Seconds()*rate.PerSecond)
					}
				}
				for j, rate := range form.Rates {
					have[j] -= cost(rate, form.MaxItems)
				}
				var values []string
				for j := range form.MaxItems {
					v := fmt.Sprintf("v%d-%d", i, j)
					if kind != cdn.Tag {
						v = "https://www.example.com/" + v
					}
					values = append(values, v)
					open = append(open, time.Now().Add(s.Takes))
				}
				if _, err := c.Purge(t.Context(), cdn.Batch{Kind: kind, Values: values, ID: fmt.Sprint(i)}); err != nil {
					t.Fatalf("%s %d: %v", kind, i, err)
				}
			}
			clean(t, s)
		})
	}
}

func cost(rate cdn.Rate, items int) float64 {
	if rate.PerItem {
		return float64(items)
	}
	return 1
}

func TestInvalidationsTakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := standIn(t, nil)
		s.Takes = time.Minute
		receipt, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}, ID: "b1"})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if done, err := c.Confirmed(t.Context(), receipt); done != (i == 2) || err != nil {
				t.Errorf("after %d x 30 s: %v, %v", i, done, err)
			}
			time.Sleep(30 * time.Second)
		}
		// A batch that is sent again is the same invalidation.
		again, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}, ID: "b1"})
		if err != nil || again.ID != receipt.ID || !again.Complete {
			t.Errorf("%+v, %v", again, err)
		}
		other, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}, ID: "b2"})
		if err != nil || other.ID == receipt.ID {
			t.Errorf("%+v, %v", other, err)
		}
		clean(t, s)
		if _, err := c.Confirmed(t.Context(), cdn.Receipt{ID: "INONE"}); err == nil || !strings.Contains(err.Error(), "NoSuchInvalidation") {
			t.Errorf("an invalidation that is not there: %v", err)
		}
		if _, err := c.Confirmed(t.Context(), cdn.Receipt{ID: "../x"}); err == nil {
			t.Error("an ID that is a path was asked for")
		}
	})
}

// What CloudFront cannot take of a batch is told apart from what it took.
func TestPartsOfABatch(t *testing.T) {
	s, c := standIn(t, nil)
	b := cdn.Batch{Kind: cdn.URL, Values: []string{"https://a.example/1.jpg", "https://a.example/~me/2.jpg", "nothing", "https://a.example/3.jpg"}, ID: "b1"}
	receipt, err := c.Purge(t.Context(), b)
	if err != nil || len(receipt.Failed) != 2 || receipt.Failed[0].Value != b.Values[1] || receipt.Failed[1].Value != b.Values[2] {
		t.Errorf("%+v, %v", receipt, err)
	}
	if !strings.Contains(receipt.Failed[0].Reason, "~") || receipt.Failed[0].Temporary {
		t.Errorf("%+v", receipt.Failed[0])
	}
	if got := s.Purged("url"); !slices.Equal(got, []string{"/1.jpg", "/3.jpg"}) {
		t.Errorf("%q", got)
	}
	for _, tag := range []string{"", "a,b", "a b", "caf\u00e9", strings.Repeat("t", 257)} {
		receipt, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{tag}, ID: "b2"})
		if err != nil || len(receipt.Failed) != 1 || !receipt.Complete {
			t.Errorf("%q: %+v, %v", tag, receipt, err)
		}
	}
	if n := len(s.Calls()); n != 1 {
		t.Errorf("%d calls, want the one that had something to say", n)
	}
	clean(t, s)
}

// What is one path to CloudFront is paid for once.
func TestOnePathIsThereOnce(t *testing.T) {
	s, c := standIn(t, nil)
	b := cdn.Batch{Kind: cdn.URL, Values: []string{"https://a.example/[1].jpg", "https://a.example/%5B1%5D.jpg", "https://b.example/[1].jpg"}, ID: "b1"}
	if receipt, err := c.Purge(t.Context(), b); err != nil || len(receipt.Failed) != 0 {
		t.Errorf("%+v, %v", receipt, err)
	}
	if got := s.Purged("url"); !slices.Equal(got, []string{"/%5B1%5D.jpg"}) {
		t.Errorf("%q", got)
	}
	clean(t, s)
}

func TestErrors(t *testing.T) {
	type setup func(s *cdntest.CloudFront)
	answers := func(status int, header http.Header, body string) setup {
		return func(s *cdntest.CloudFront) { s.Fail(1, status, header, body) }
	}
	xml := func(code string) string {
		return `<?xml version="1.0"?><ErrorResponse xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/"><Error><Type>Sender</Type><Code>` + code +
			`</Code><Message>` + code + ` said so.</Message></Error><RequestId>1</RequestId></ErrorResponse>`
	}
	for _, test := range []struct {
		name      string
		setup     setup
		status    int
		temporary bool
		reason    string
		after     time.Duration
	}{
		{"access denied", answers(403, nil, xml("AccessDenied")), 403, false, "AccessDenied: AccessDenied said so.", 0},
		{"no distribution", func(s *cdntest.CloudFront) { s.Distribution = "EOTHER" }, 404, false, "NoSuchDistribution", 0},
		{"wrong secret", func(s *cdntest.CloudFront) { s.Keys[keyID] = cdntest.CloudFrontKey{Secret: "x"} }, 403, false, "SignatureDoesNotMatch", 0},
		{"no such key", func(s *cdntest.CloudFront) { delete(s.Keys, keyID) }, 403, false, "InvalidClientTokenId", 0},
		{"credentials ran out", func(s *cdntest.CloudFront) { s.Keys[keyID] = cdntest.CloudFrontKey{Secret: secret, Expired: true} }, 403, true, "ExpiredToken", 0},
		{"too many in progress", answers(400, nil, xml("TooManyInvalidationsInProgress")), 400, true, "TooManyInvalidationsInProgress", 0},
		{"throttled", answers(400, nil, xml("Throttling")), 400, true, "Throttling", 0},
		{"throttled with patience", answers(429, http.Header{"Retry-After": {"7"}}, xml("TooManyRequestsException")), 429, true, "TooManyRequests", 7 * time.Second},
		{"invalid argument", answers(400, nil, xml("InvalidArgument")), 400, false, "InvalidArgument", 0},
		{"too large", answers(413, nil, xml("BatchTooLarge")), 413, false, "BatchTooLarge", 0},
		{"internal", answers(500, nil, xml("InternalFailure")), 500, true, "InternalFailure", 0},
		{"unavailable", answers(503, nil, "<html>down</html>"), 503, true, "down", 0},
		{"redirect", answers(301, http.Header{"Location": {"https://elsewhere.example/"}}, ""), 301, false, "", 0},
		{"no invalidation", answers(201, nil, "<html>welcome</html>"), 0, true, "no invalidation", 0},
		{"an invalidation without ID", answers(201, nil, "<Invalidation><Status>InProgress</Status></Invalidation>"), 0, true, "no invalidation", 0},
	} {
		s, c := standIn(t, nil)
		test.setup(s)
		_, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}, ID: "b1"})
		e, ok := errors.AsType[*cdn.Error](err)
		if !ok || e.Status != test.status || e.Temporary != test.temporary || e.RetryAfter != test.after || !strings.Contains(e.Reason, test.reason) {
			t.Errorf("%s: %+v", test.name, err)
		}
		if err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "Signature=")) {
			t.Errorf("%s: a secret in %v", test.name, err)
		}
	}
}

// The stand-in's own limits come to the caller as errors that pass.
func TestBeyondTheLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := standIn(t, nil)
		s.Takes = time.Hour
		purge := func(kind cdn.Kind, n int) error {
			var values []string
			for i := range n {
				values = append(values, fmt.Sprintf("https://www.example.com/%d", i))
			}
			_, err := c.Purge(t.Context(), cdn.Batch{Kind: kind, Values: values, ID: fmt.Sprint(len(s.Calls()))})
			return err
		}
		for i := range 7 {
			err := purge(cdn.URL, 1)
			if e, ok := errors.AsType[*cdn.Error](err); i < 6 && err != nil || i == 6 && (!ok || !e.Temporary || !strings.Contains(e.Reason, "Rate exceeded")) {
				t.Errorf("call %d at once: %v", i, err)
			}
		}
		for i := range 16 {
			time.Sleep(3 * time.Second)
			err := purge(cdn.Prefix, 1)
			if e, ok := errors.AsType[*cdn.Error](err); i < 15 && err != nil || i == 15 && (!ok || !e.Temporary || !strings.Contains(e.Reason, "TooManyInvalidationsInProgress")) {
				t.Errorf("wildcard %d: %v", i, err)
			}
		}
		time.Sleep(time.Hour)
		if err := purge(cdn.Prefix, 1); err != nil {
			t.Error(err)
		}
		if err := purge(cdn.Prefix, 1); err == nil {
			t.Error("two wildcards in a second")
		}
		clean(t, s)
	})
}

func TestCutAnswers(t *testing.T) {
	_, c := withTransport(t, func(r *http.Request) (*http.Response, error) {
		body := io.MultiReader(strings.NewReader("<Invalidation><Id>I1"), iotest.ErrReader(io.ErrUnexpectedEOF))
		return &http.Response{StatusCode: 201, Header: http.Header{}, Body: io.NopCloser(body), Request: r}, nil
	})
	_, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}, ID: "b1"})
	if e, ok := errors.AsType[*cdn.Error](err); !ok || !e.Temporary || !strings.Contains(e.Reason, "cut short") {
		t.Errorf("%+v", err)
	}
	_, c = withTransport(t, func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") })
	_, err = c.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}, ID: "b1"})
	if e, ok := errors.AsType[*cdn.Error](err); !ok || !e.Temporary || e.Status != 0 {
		t.Errorf("%+v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s, c := standIn(t, nil)
	s.Hang(1)
	cancel()
	if _, err := c.Purge(ctx, cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}, ID: "b1"}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func withTransport(t *testing.T, f transport) (*http.Client, *cloudfront.CDN) {
	t.Helper()
	client := &http.Client{Transport: f}
	c, err := cloudfront.New(distribution, cloudfront.Static(cloudfront.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}),
		&cloudfront.Options{TagHeader: "Cache-Tag", Client: client})
	if err != nil {
		t.Fatal(err)
	}
	return client, c
}

// Credentials are asked for with each request, and their token is sent and signed.
func TestCredentialsRotate(t *testing.T) {
	s := &cdntest.CloudFront{Distribution: distribution, Tags: true, Keys: map[string]cdntest.CloudFrontKey{
		"ASIA1": {Secret: "s1", Token: "t/1=="},
		"ASIA2": {Secret: "s2", Token: "t/2=="},
	}}
	n := 0
	var fails error
	keys := func(context.Context) (cloudfront.Credentials, error) {
		n++
		return cloudfront.Credentials{AccessKeyID: fmt.Sprint("ASIA", n), SecretAccessKey: fmt.Sprint("s", n), SessionToken: fmt.Sprintf("t/%d==", n)}, fails
	}
	c, err := cloudfront.New(distribution, keys, &cloudfront.Options{TagHeader: "Cache-Tag", Client: cdntest.Client(s)})
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}, ID: "b1"})
	if err != nil {
		t.Fatal(err)
	}
	if done, err := c.Confirmed(t.Context(), receipt); !done || err != nil {
		t.Errorf("%v, %v", done, err)
	}
	clean(t, s)
	fails = errors.New("the instance's role is away")
	if _, err := c.Confirmed(t.Context(), receipt); err == nil || !strings.Contains(err.Error(), "role is away") {
		t.Errorf("%v", err)
	} else if e, ok := errors.AsType[*cdn.Error](err); !ok || !e.Temporary {
		t.Errorf("%v does not pass", err)
	}
}

func TestSettings(t *testing.T) {
	keys := cloudfront.Static(cloudfront.Credentials{AccessKeyID: keyID, SecretAccessKey: secret})
	for _, test := range []struct {
		distribution string
		keys         func(context.Context) (cloudfront.Credentials, error)
		o            *cloudfront.Options
		says         string
	}{
		{"", keys, nil, "distribution is missing"},
		{"E1/../E2", keys, nil, "no ID"},
		{distribution, nil, nil, "credentials is missing"},
		{distribution, keys, &cloudfront.Options{API: "cloudfront"}, "API"},
		{distribution, keys, &cloudfront.Options{API: "https://a.example/?x=1"}, "API"},
	} {
		if _, err := cloudfront.New(test.distribution, test.keys, test.o); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%q %+v: %v", test.distribution, test.o, err)
		}
	}
	c, err := cloudfront.New(distribution, keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := c.Features()
	if _, ok := f.Forms[cdn.Tag]; ok || len(f.Tags) > 0 || f.Soft {
		t.Errorf("without a header of tags: %+v", f)
	}
	for _, b := range []cdn.Batch{
		{Kind: cdn.Tag, Values: []string{"cat"}, Soft: true},
		{Kind: cdn.URL},
	} {
		if _, err := c.Purge(t.Context(), b); err == nil {
			t.Errorf("%+v was taken", b)
		}
	}
	for _, b := range []cdn.Batch{
		{Kind: cdn.Tag, Values: []string{"cat"}},
		{Kind: "regexp", Values: []string{".*"}},
	} {
		if r, err := c.Purge(t.Context(), b); err != nil || len(r.Failed) != 1 {
			t.Errorf("%+v: %+v, %v", b, r, err)
		}
	}
	text := fmt.Sprintf("%v %+v %#v", cloudfront.Credentials{SecretAccessKey: secret, SessionToken: secret}, cloudfront.Credentials{SecretAccessKey: secret},
		cloudfront.Credentials{SecretAccessKey: secret})
	if strings.Contains(text, secret) {
		t.Errorf("a secret is in %s", text)
	}
}

// The stand-in finds each mistake that is made in a request on purpose.
func TestPlantedMistakes(t *testing.T) {
	const at = "https://cloudfront.amazonaws.com/2020-05-31/distribution/" + distribution + "/invalidation"
	batch := func(reference, quantity string, paths ...string) string {
		return `<?xml version="1.0" encoding="UTF-8"?><InvalidationBatch xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/"><CallerReference>` + reference +
			`</CallerReference><Paths><Items><Path>` + strings.Join(paths, "</Path><Path>") + `</Path></Items><Quantity>` + quantity + `</Quantity></Paths></InvalidationBatch>`
	}
	good := batch("r1", "1", "/a.jpg")
	keys := cloudfront.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}
	type request struct {
		method, url, body string
		contentType       string
		keys              cloudfront.Credentials
		region, service   string
		age               time.Duration
		after             func(*http.Request) // it has been signed
	}
	for _, test := range []struct {
		name   string
		change func(r *request)
	}{
		{"", func(*request) {}}, // none
		{"wrong method", func(r *request) { r.method = "PUT" }},
		{"GET of all", func(r *request) { r.method, r.body = "GET", "" }},
		{"wrong path", func(r *request) { r.url = strings.Replace(at, "invalidation", "invalidations", 1) }},
		{"wrong version", func(r *request) { r.url = strings.Replace(at, "2020-05-31", "2019-03-26", 1) }},
		{"another distribution", func(r *request) { r.url = strings.Replace(at, distribution, "E2", 1) }},
		{"of a tenant", func(r *request) { r.url = strings.Replace(at, "distribution/", "distribution-tenant/", 1) }},
		{"slash at the end", func(r *request) { r.url += "/" }},
		{"query", func(r *request) { r.url += "?a=b" }},
		{"another host", func(r *request) { r.url = strings.Replace(at, "cloudfront.amazonaws", "example", 1) }},
		{"plain http", func(r *request) { r.url = strings.Replace(at, "https", "http", 1) }},
		{"unsigned", func(r *request) { r.after = func(q *http.Request) { q.Header.Del("Authorization") } }},
		{"bearer", func(r *request) { r.after = func(q *http.Request) { q.Header.Set("Authorization", "Bearer "+secret) } }},
		{"half an Authorization", func(r *request) {
			r.after = func(q *http.Request) {
				q.Header.Set("Authorization", strings.Split(q.Header.Get("Authorization"), ", Signature")[0])
			}
		}},
		{"wrong secret", func(r *request) { r.keys.SecretAccessKey = "x" }},
		{"wrong key", func(r *request) { r.keys.AccessKeyID = "x" }},
		{"a token of nobody's", func(r *request) { r.keys.SessionToken = "x" }},
		{"another region", func(r *request) { r.region = "eu-west-1" }},
		{"another service", func(r *request) { r.service = "s3" }},
		{"an old signature", func(r *request) { r.age = 10 * time.Minute }},
		{"another body than was signed", func(r *request) {
			r.after = func(q *http.Request) { q.Body = io.NopCloser(strings.NewReader(batch("r1", "1", "/b.jpg"))) }
		}},
		{"another path than was signed", func(r *request) { r.after = func(q *http.Request) { q.URL.Path = strings.ToLower(q.URL.Path) } }},
		{"another date than was signed", func(r *request) {
			r.after = func(q *http.Request) {
				q.Header.Set("X-Amz-Date", time.Now().Add(time.Minute).UTC().Format("20060102T150405Z"))
			}
		}},
		{"a type that was not signed", func(r *request) {
			r.contentType = ""
			r.after = func(q *http.Request) { q.Header.Set("Content-Type", "application/xml") }
		}},
		{"wrong type", func(r *request) { r.contentType = "application/json" }},
		{"no type", func(r *request) { r.contentType = "" }},
		{"no body", func(r *request) { r.body = "" }},
		{"JSON", func(r *request) { r.body = `{"Paths":["/a.jpg"]}` }},
		{"no namespace", func(r *request) {
			r.body = strings.Replace(good, ` xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/"`, "", 1)
		}},
		{"an old namespace", func(r *request) { r.body = strings.Replace(good, "2020-05-31", "2012-05-05", 1) }},
		{"unknown field", func(r *request) { r.body = strings.Replace(good, "<Paths>", "<Soft>true</Soft><Paths>", 1) }},
		{"two lists", func(r *request) { r.body = strings.Replace(good, "</Items>", "</Items><Items></Items>", 1) }},
		{"text between", func(r *request) { r.body = strings.Replace(good, "<Items>", "<Items>a", 1) }},
		{"wrong quantity", func(r *request) { r.body = batch("r1", "2", "/a.jpg") }},
		{"no quantity", func(r *request) { r.body = strings.Replace(good, "<Quantity>1</Quantity>", "", 1) }},
		{"no reference", func(r *request) { r.body = batch("", "1", "/a.jpg") }},
		{"no slash", func(r *request) { r.body = batch("r1", "1", "a.jpg") }},
		{"a URL", func(r *request) { r.body = batch("r1", "1", "https://www.example.com/a.jpg") }},
		{"a host", func(r *request) { r.body = batch("r1", "1", "//www.example.com/a.jpg") }},
		{"an asterisk within", func(r *request) { r.body = batch("r1", "1", "/*.jpg") }},
		{"a space", func(r *request) { r.body = batch("r1", "1", "/a b.jpg") }},
		{"not ASCII", func(r *request) { r.body = batch("r1", "1", "/caf\u00e9.jpg") }},
		{"a tilde", func(r *request) { r.body = batch("r1", "1", "/~a.jpg") }},
		{"an escaped tilde", func(r *request) { r.body = batch("r1", "1", "/%7ea.jpg") }},
		{"a percent sign", func(r *request) { r.body = batch("r1", "1", "/100%") }},
		{"escaped for nothing", func(r *request) { r.body = batch("r1", "1", "/%61.jpg") }},
		{"a fragment", func(r *request) { r.body = batch("r1", "1", "/a.jpg#b") }},
		{"too long", func(r *request) { r.body = batch("r1", "1", "/"+strings.Repeat("a", 4000)) }},
		{"twice", func(r *request) { r.body = batch("r1", "2", "/a.jpg", "/a.jpg") }},
		{"tags and paths", func(r *request) { r.body = batch("r1", "2", "/a.jpg", "#cat") }},
		{"an empty tag", func(r *request) { r.body = batch("r1", "1", "#") }},
		{"tags joined by a comma", func(r *request) { r.body = batch("r1", "1", "#cat,dog") }},
		{"tags joined by a space", func(r *request) { r.body = batch("r1", "1", "#cat dog") }},
		{"a wildcard of tags", func(r *request) { r.body = batch("r1", "1", "#cat*") }},
		{"a long tag", func(r *request) { r.body = batch("r1", "1", "#"+strings.Repeat("t", 257)) }},
		{"too many", func(r *request) {
			var paths []string
			for i := range 3001 {
				paths = append(paths, fmt.Sprintf("/%d", i))
			}
			r.body = batch("r1", "3001", paths...)
		}},
		{"a reference with other paths", func(r *request) { r.body = batch("r0", "1", "/a.jpg") }},
	} {
		s, c := standIn(t, nil)
		if _, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.URL, Values: []string{"https://www.example.com/0.jpg"}, ID: "r0"}); err != nil {
			t.Fatal(err)
		}
		q := request{method: "POST", url: at, body: good, contentType: "application/xml", keys: keys, region: "us-east-1", service: "cloudfront"}
		test.change(&q)
		r, err := http.NewRequest(q.method, q.url, strings.NewReader(q.body))
		if err != nil {
			t.Fatal(err)
		}
		if q.contentType != "" {
			r.Header.Set("Content-Type", q.contentType)
		}
		cloudfront.Sign(r, []byte(q.body), q.keys, q.region, q.service, time.Now().Add(-q.age))
		if q.after != nil {
			q.after(r)
		}
		resp, err := cdntest.Client(s).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		found := len(s.Faults()) > 0
		if found != (test.name != "") || !found && resp.StatusCode != 201 {
			t.Errorf("%q: %d, faults %q", test.name, resp.StatusCode, s.Faults())
		}
	}
	// Tags of a distribution that has none.
	s, c := standIn(t, nil)
	s.Tags = false
	if _, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}, ID: "b1"}); err != nil || len(s.Faults()) != 1 {
		t.Errorf("%v, %q", err, s.Faults())
	}
}
