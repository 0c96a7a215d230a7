package akamai_test

import (
	"context"
	"encoding/json"
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
	"github.com/imagecdn/imagecdn/purge/cdn/akamai"
	"github.com/imagecdn/imagecdn/purge/cdn/cdntest"
)

var keys = akamai.Credentials{
	Host:         "akab-host-1234.luna.akamaiapis.net",
	ClientToken:  "akab-client-token-1234",
	ClientSecret: "Y2xpZW50LXNlY3JldC0xMjM0NTY3ODkw",
	AccessToken:  "akab-access-token-1234",
}

func fake() *cdntest.Akamai {
	return &cdntest.Akamai{Host: keys.Host, ClientToken: keys.ClientToken, ClientSecret: keys.ClientSecret, AccessToken: keys.AccessToken, CPCodes: []int{123456, 7}}
}

func Example() {
	c, err := akamai.New(keys, &akamai.Options{
		CPCodes: []int{123456},
		Client:  cdntest.Client(fake()), // leave it out for the real one
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	receipt, err := c.Purge(context.Background(), cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}, Soft: true})
	fmt.Println(receipt.After, err)
	// Output: 5s <nil>
}

func standIn(t *testing.T, o *akamai.Options) (*cdntest.Akamai, *akamai.CDN) {
	t.Helper()
	s := fake()
	var opts akamai.Options
	if o != nil {
		opts = *o
	}
	s.Network, s.SwitchKey = opts.Network, opts.AccountSwitchKey
	opts.Client = cdntest.Client(s)
	c, err := akamai.New(keys, &opts)
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func clean(t *testing.T, s *cdntest.Akamai) {
	t.Helper()
	if faults := s.Faults(); len(faults) > 0 {
		t.Errorf("faults: %.500q", faults)
	}
}

func TestEveryKind(t *testing.T) {
	for _, test := range []struct {
		kind   cdn.Kind
		values []string
		path   string
	}{
		{cdn.Tag, []string{"cat", "Cat", "a-b_c.d/e|f'g+h!i#j$k%l^m`n~o"}, "tag"},
		{cdn.URL, []string{"https://www.example.com/a.jpg", "https://img.example.com/b%20c.jpg?w=200&q=50"}, "url"},
		{cdn.All, nil, "cpcode"},
	} {
		for _, soft := range []bool{false, true} {
			for _, o := range []akamai.Options{
				{CPCodes: []int{123456, 7}},
				{CPCodes: []int{7}, Network: akamai.Staging, AccountSwitchKey: "1-ABC:1-DEF"},
			} {
				s, c := standIn(t, &o)
				s.Estimated = 7
				receipt, err := c.Purge(t.Context(), cdn.Batch{Kind: test.kind, Values: test.values, Soft: soft, ID: "b1"})
				if err != nil || receipt.ID == "" || receipt.After != 7*time.Second || receipt.Complete || len(receipt.Failed) > 0 {
					t.Errorf("%s: %+v, %v", test.kind, receipt, err)
				}
				calls := s.Calls()
				method, network := "delete", "production"
				if soft {
					method = "invalidate"
				}
				if o.Network != "" {
					network = o.Network
				}
				want := "/ccu/v3/" + method + "/" + test.path + "/" + network
				if len(calls) != 1 || calls[0].Soft != soft || calls[0].Kind != string(test.kind) || !slices.Equal(calls[0].Values, test.values) || !strings.HasPrefix(calls[0].Path, want) {
					t.Errorf("%s %v: %+v, want %s", test.kind, soft, calls, want)
				}
				clean(t, s)
			}
		}
	}
}

// As many values as MaxBytes has room for are taken, and not one more.
func TestLargestBatches(t *testing.T) {
	for _, kind := range []cdn.Kind{cdn.Tag, cdn.URL} {
		s, c := standIn(t, nil)
		form := c.Features().Forms[kind]
		if !c.Features().Soft {
			t.Error("Akamai marks copies as stale")
		}
		var values []string
		for size := 0; ; {
			v := fmt.Sprintf("i%026d", len(values))
			if kind == cdn.URL {
				v = fmt.Sprintf("https://www.example.com/%026d.jpg?a=b&c=d", len(values))
			}
			if size += len(v) + form.ItemBytes; size > form.MaxBytes {
				break
			}
			values = append(values, v)
		}
		receipt, err := c.Purge(t.Context(), cdn.Batch{Kind: kind, Values: values, ID: "b1"})
		if err != nil || len(receipt.Failed) > 0 {
			t.Errorf("%d: %+v, %v", len(values), receipt.Failed, err)
		}
		if got := len(s.Purged(string(kind))); got != len(values) || got < 600 {
			t.Errorf("%d purged of %d", got, len(values))
		}
		// What is beyond comes back, to be tried again.
		values = append(values, values[0]+"1", values[0]+"2")
		receipt, err = c.Purge(t.Context(), cdn.Batch{Kind: kind, Values: values, ID: "b2"})
		if err != nil || len(receipt.Failed) == 0 || len(receipt.Failed) > 2 || !receipt.Failed[0].Temporary {
			t.Errorf("%+v, %v", receipt.Failed, err)
		}
		clean(t, s)
	}
	// The body is as large as may be, and then by one byte too large.
	for _, more := range []int{0, 1} {
		s, c := standIn(t, nil)
		values := []string{"https://www.example.com/" + strings.Repeat("a", 20_000), "https://www.example.com/"}
		values[1] += strings.Repeat("b", 50_000-len(`{"objects":["",""]}`)-len(values[0])-len(values[1])+more)
		receipt, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.URL, Values: values, ID: "b3"})
		if err != nil || len(receipt.Failed) != more || len(s.Purged("url")) != 2-more {
			t.Errorf("%d more: %d of them failed, %v", more, len(receipt.Failed), err)
		}
		clean(t, s)
	}
	_, c := standIn(t, nil)
	receipt, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.URL, Values: []string{"https://www.example.com/" + strings.Repeat("a", 50_000)}, ID: "b4"})
	if err != nil || len(receipt.Failed) != 1 || receipt.Failed[0].Temporary {
		t.Errorf("a URL that no call has room for: %+v, %v", receipt.Failed, err)
	}
}

func TestPartsOfABatch(t *testing.T) {
	s, c := standIn(t, nil)
	b := cdn.Batch{Kind: cdn.Tag, Values: []string{"good", "a:b", "", "a,b", "a b", "a@b", strings.Repeat("t", 129), "last"}, ID: "b1"}
	receipt, err := c.Purge(t.Context(), b)
	if err != nil || len(receipt.Failed) != 6 {
		t.Errorf("%+v, %v", receipt, err)
	}
	if got := s.Purged("tag"); !slices.Equal(got, []string{"good", "last"}) {
		t.Errorf("%q", got)
	}
	receipt, err = c.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{"a:b"}, ID: "b2"})
	if err != nil || len(receipt.Failed) != 1 || !receipt.Complete || len(s.Calls()) != 1 {
		t.Errorf("%+v, %v", receipt, err)
	}
	clean(t, s)
}

func TestErrors(t *testing.T) {
	problem := `{"supportId":"17PY1","title":"Rate Limit exceeded","httpStatus":%d,"detail":"Too many requests","describedBy":"https://developer.akamai.com/"}`
	for _, test := range []struct {
		name      string
		setup     func(s *cdntest.Akamai)
		status    int
		temporary bool
		reason    string
		after     time.Duration
	}{
		{"wrong secret", func(s *cdntest.Akamai) { s.ClientSecret = "x" }, 401, false, "Not authorized: The signature does not match", 0},
		{"wrong token", func(s *cdntest.Akamai) { s.AccessToken = "x" }, 401, false, "access token", 0},
		{"another network", func(s *cdntest.Akamai) { s.Network = "staging" }, 403, false, "Forbidden: no access to production (support ID 17PY", 0},
		{"bad request", func(s *cdntest.Akamai) { s.Fail(1, 400, nil, fmt.Sprintf(problem, 400)) }, 400, false, "Rate Limit exceeded: Too many requests (support ID 17PY1)", 0},
		{"too large", func(s *cdntest.Akamai) { s.Fail(1, 413, nil, fmt.Sprintf(problem, 413)) }, 413, false, "", 0},
		{"too many", func(s *cdntest.Akamai) { s.Fail(1, 429, nil, fmt.Sprintf(problem, 429)) }, 429, true, "Rate Limit exceeded", 5 * time.Second},
		{"too many, with patience", func(s *cdntest.Akamai) { s.Fail(1, 429, http.Header{"Retry-After": {"9"}}, "slow down") }, 429, true, "slow down", 9 * time.Second},
		{"internal", func(s *cdntest.Akamai) { s.Fail(1, 500, nil, fmt.Sprintf(problem, 500)) }, 500, true, "", 0},
		{"unavailable", func(s *cdntest.Akamai) { s.Fail(1, 503, http.Header{"Retry-After": {"3"}}, "") }, 503, true, "", 3 * time.Second},
		{"full", func(s *cdntest.Akamai) { s.Fail(1, 507, nil, fmt.Sprintf(problem, 507)) }, 507, true, "", 0},
		{"a page", func(s *cdntest.Akamai) { s.Fail(1, 200, nil, "<html>welcome</html>") }, 0, true, "none of Fast Purge", 0},
		{"an error within", func(s *cdntest.Akamai) { s.Fail(1, 201, nil, fmt.Sprintf(problem, 403)) }, 403, false, "Rate Limit exceeded", 0},
		{"an error within that passes", func(s *cdntest.Akamai) { s.Fail(1, 200, nil, fmt.Sprintf(problem, 503)) }, 503, true, "Rate Limit exceeded", 0},
		{"accepted in vain", func(s *cdntest.Akamai) { s.Fail(1, 200, nil, fmt.Sprintf(problem, 201)) }, 201, false, "", 0},
	} {
		s, c := standIn(t, nil)
		test.setup(s)
		_, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}, ID: "b1"})
		e, ok := errors.AsType[*cdn.Error](err)
		if !ok || e.Status != test.status || e.Temporary != test.temporary || e.RetryAfter != test.after || !strings.Contains(e.Reason, test.reason) {
			t.Errorf("%s: %+v", test.name, err)
		}
		if err != nil && (strings.Contains(err.Error(), keys.ClientSecret) || strings.Contains(err.Error(), keys.AccessToken)) {
			t.Errorf("%s: a secret in %v", test.name, err)
		}
	}
}

// Both buckets refuse with 429, and a request that is refused takes nothing of either.
func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := standIn(t, &akamai.Options{CPCodes: []int{123456, 7}})
		purge := func(kind cdn.Kind, n int) error {
			var values []string
			for i := range n {
				values = append(values, fmt.Sprint("t", i))
			}
			_, err := c.Purge(t.Context(), cdn.Batch{Kind: kind, Values: values, ID: "b"})
			return err
		}
		refused := func(err error) bool {
			e, ok := errors.AsType[*cdn.Error](err)
			return ok && e.Status == 429 && e.Temporary && e.RetryAfter == 5*time.Second
		}
		for i := range 101 {
			if err := purge(cdn.Tag, 1); i < 100 && err != nil || i == 100 && !refused(err) {
				t.Fatalf("request %d: %v", i, err)
			}
		}
		time.Sleep(time.Minute) // 4,900 + 500 tags, at most 5,000
		for i := range 4 {
			if err := purge(cdn.Tag, 1666); i < 3 && err != nil || i == 3 && !refused(err) {
				t.Errorf("%d x 1,666 tags: %v", i, err)
			}
		}
		if err := purge(cdn.Tag, 2); err != nil {
			t.Errorf("what a request that was refused asked for was taken away: %v", err)
		}
		for i := range 151 {
			time.Sleep(20 * time.Millisecond)
			if err := purge(cdn.All, 0); i < 150 && err != nil {
				t.Fatalf("everything, for the %dth time: %v", i, err)
			}
		}
		form := c.Features().Forms[cdn.All]
		if r := form.Rates[1]; r.Burst != 150 || r.PerSecond != 0.25 {
			t.Errorf("two CP codes: %+v", r)
		}
		clean(t, s)
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestCutAnswers(t *testing.T) {
	for _, test := range []struct {
		f    transport
		says string
	}{
		{func(r *http.Request) (*http.Response, error) {
			body := io.MultiReader(strings.NewReader(`{"httpStatus":201,`), iotest.ErrReader(io.ErrUnexpectedEOF))
			return &http.Response{StatusCode: 201, Header: http.Header{}, Body: io.NopCloser(body), Request: r}, nil
		}, "cut short"},
		{func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }, "connection refused"},
	} {
		c, err := akamai.New(keys, &akamai.Options{Client: &http.Client{Transport: test.f}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}, ID: "b1"})
		if e, ok := errors.AsType[*cdn.Error](err); !ok || !e.Temporary || e.Status != 0 || !strings.Contains(e.Reason, test.says) {
			t.Errorf("%+v", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	s, c := standIn(t, nil)
	s.Hang(1)
	if _, err := c.Purge(ctx, cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}, ID: "b1"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestSettings(t *testing.T) {
	with := func(f func(c *akamai.Credentials)) akamai.Credentials {
		c := keys
		f(&c)
		return c
	}
	for _, test := range []struct {
		keys akamai.Credentials
		o    *akamai.Options
		says string
	}{
		{with(func(c *akamai.Credentials) { c.Host = "" }), nil, "Host is missing"},
		{with(func(c *akamai.Credentials) { c.ClientToken = "" }), nil, "ClientToken is missing"},
		{with(func(c *akamai.Credentials) { c.ClientSecret = "" }), nil, "ClientSecret is missing"},
		{with(func(c *akamai.Credentials) { c.AccessToken = "" }), nil, "AccessToken is missing"},
		{with(func(c *akamai.Credentials) { c.Host = "https://a.example" }), nil, "Host"},
		{with(func(c *akamai.Credentials) { c.Host = "a.example/path" }), nil, "Host"},
		{keys, &akamai.Options{Network: "prod"}, "Network"},
		{keys, &akamai.Options{CPCodes: []int{0}}, "CPCodes"},
		{keys, &akamai.Options{CPCodes: make([]int, 301)}, "CPCodes"},
	} {
		if _, err := akamai.New(test.keys, test.o); err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), keys.ClientSecret) {
			t.Errorf("%+v: %v, want %s", test.o, err, test.says)
		}
	}
	c, err := akamai.New(with(func(c *akamai.Credentials) { c.Host = "AKAB-host.luna.akamaiapis.net" }), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Features().Forms[cdn.All]; ok {
		t.Error("everything, without CP codes")
	}
	for _, kind := range []cdn.Kind{cdn.All, cdn.Prefix, cdn.Tag} {
		if _, err := c.Purge(t.Context(), cdn.Batch{Kind: kind}); err == nil {
			t.Errorf("%s was taken", kind)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", keys, keys, keys); strings.Contains(text, keys.ClientSecret) || strings.Contains(text, keys.AccessToken) {
		t.Errorf("a secret is in %s", text)
	}
}

// The stand-in finds each mistake that is made in a request on purpose.
func TestPlantedMistakes(t *testing.T) {
	at := "https://" + keys.Host + "/ccu/v3/invalidate/tag/production"
	replace := func(old, new string) string { return strings.Replace(at, old, new, 1) }
	list := func(objects ...any) string {
		b, err := json.Marshal(map[string]any{"objects": objects})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	type request struct {
		method, url, body, contentType string
		keys                           akamai.Credentials
		age                            time.Duration
		nonce                          string
		after                          func(*http.Request) // it has been signed
	}
	for _, test := range []struct {
		name   string
		change func(r *request)
	}{
		{"", func(*request) {}}, // none
		{"wrong method", func(r *request) { r.method = "PUT" }},
		{"GET", func(r *request) { r.method, r.body = "GET", "" }},
		{"wrong path", func(r *request) { r.url = replace("ccu", "ccw") }},
		{"version 2", func(r *request) { r.url = replace("v3", "v2") }},
		{"no such method", func(r *request) { r.url = replace("invalidate", "remove") }},
		{"no such kind", func(r *request) { r.url = replace("tag", "prefix") }},
		{"no such network", func(r *request) { r.url = replace("production", "prod") }},
		{"slash at the end", func(r *request) { r.url += "/" }},
		{"query", func(r *request) { r.url += "?accountSwitchKey=x" }},
		{"another host", func(r *request) { r.url = replace(keys.Host, "api.akamai.com") }},
		{"plain http", func(r *request) { r.url = replace("https", "http") }},
		{"unsigned", func(r *request) { r.after = func(q *http.Request) { q.Header.Del("Authorization") } }},
		{"bearer", func(r *request) { r.after = func(q *http.Request) { q.Header.Set("Authorization", "Bearer x") } }},
		{"without a nonce", func(r *request) {
			r.after = func(q *http.Request) {
				q.Header.Set("Authorization", strings.Replace(q.Header.Get("Authorization"), "nonce=n1;", "", 1))
			}
		}},
		{"wrong secret", func(r *request) { r.keys.ClientSecret = "x" }},
		{"wrong client token", func(r *request) { r.keys.ClientToken = "x" }},
		{"wrong access token", func(r *request) { r.keys.AccessToken = "x" }},
		{"an old timestamp", func(r *request) { r.age = time.Minute }},
		{"a timestamp of the future", func(r *request) { r.age = -time.Minute }},
		{"a nonce again", func(r *request) { r.nonce = "n0" }},
		{"another body than was signed", func(r *request) {
			r.after = func(q *http.Request) { q.Body = io.NopCloser(strings.NewReader(list("dog"))) }
		}},
		{"another path than was signed", func(r *request) {
			r.after = func(q *http.Request) { q.URL.Path = strings.Replace(q.URL.Path, "invalidate", "delete", 1) }
		}},
		{"wrong type", func(r *request) { r.contentType = "text/plain" }},
		{"no type", func(r *request) { r.contentType = "" }},
		{"no body", func(r *request) { r.body = "" }},
		{"no JSON", func(r *request) { r.body = "objects=cat" }},
		{"a list alone", func(r *request) { r.body = `["cat"]` }},
		{"two bodies", func(r *request) { r.body += r.body }},
		{"no objects", func(r *request) { r.body = `{}` }},
		{"an empty list", func(r *request) { r.body = list() }},
		{"unknown field", func(r *request) { r.body = `{"objects":["cat"],"soft":true}` }},
		{"tags in one", func(r *request) { r.body = list("cat,dog") }},
		{"tags by space", func(r *request) { r.body = list("cat dog") }},
		{"a colon", func(r *request) { r.body = list("a:b") }},
		{"an asterisk", func(r *request) { r.body = list("cat*") }},
		{"an empty tag", func(r *request) { r.body = list("") }},
		{"a long tag", func(r *request) { r.body = list(strings.Repeat("t", 129)) }},
		{"twice", func(r *request) { r.body = list("cat", "cat") }},
		{"a number", func(r *request) { r.body = list(1) }},
		{"too large", func(r *request) {
			var tags []any
			for i := range 2000 {
				tags = append(tags, fmt.Sprintf("i%026d", i))
			}
			r.body = list(tags...)
		}},
		{"a URL without a host", func(r *request) { r.url, r.body = replace("tag", "url"), list("/a.jpg") }},
		{"a URL without a scheme", func(r *request) { r.url, r.body = replace("tag", "url"), list("www.example.com/a.jpg") }},
		{"a URL with white space", func(r *request) { r.url, r.body = replace("tag", "url"), list("https://www.example.com/a b.jpg") }},
		{"a URL with a fragment", func(r *request) { r.url, r.body = replace("tag", "url"), list("https://www.example.com/a.jpg#b") }},
		{"a wildcard", func(r *request) { r.url, r.body = replace("tag", "url"), list("https://www.example.com/*") }},
		{"a CP code as text", func(r *request) { r.url, r.body = replace("tag", "cpcode"), list("123456") }},
		{"somebody else's CP code", func(r *request) { r.url, r.body = replace("tag", "cpcode"), list(99) }},
	} {
		s := fake()
		send := func(q request) *http.Response {
			r, err := http.NewRequest(q.method, q.url, strings.NewReader(q.body))
			if err != nil {
				t.Fatal(err)
			}
			if q.contentType != "" {
				r.Header.Set("Content-Type", q.contentType)
			}
			akamai.Sign(r, []byte(q.body), q.keys, time.Now().Add(-q.age), q.nonce)
			if q.after != nil {
				q.after(r)
			}
			resp, err := cdntest.Client(s).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			return resp
		}
		q := request{method: "POST", url: at, body: list("cat"), contentType: "application/json", keys: keys, nonce: "n0"}
		if resp := send(q); resp.StatusCode != 201 || len(s.Faults()) > 0 {
			t.Fatalf("%d, %q", resp.StatusCode, s.Faults())
		}
		q.nonce = "n1"
		test.change(&q)
		resp := send(q)
		found := len(s.Faults()) > 0
		if found != (test.name != "") || !found && resp.StatusCode != 201 {
			t.Errorf("%q: %d, faults %.200q", test.name, resp.StatusCode, s.Faults())
		}
	}
}
