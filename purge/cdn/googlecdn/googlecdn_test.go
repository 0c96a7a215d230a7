package googlecdn_test

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
	"github.com/imagecdn/imagecdn/purge/cdn/googlecdn"
)

const secret = "ya29.a-secret"

func static(token string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return token, nil }
}

func Example() {
	google := &cdntest.GoogleCDN{Project: "my-project", URLMap: "my-map", Instance: true}
	client := cdntest.Client(google) // leave it out for the real one
	token := googlecdn.MetadataServer(&googlecdn.TokenOptions{Client: client})
	c, err := googlecdn.New("my-project", "my-map", token, &googlecdn.Options{Client: client})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	receipt, err := c.Purge(ctx, cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}, ID: "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f9"})
	fmt.Println(receipt.After, err)
	done, err := c.Confirmed(ctx, receipt)
	fmt.Println(done, err)
	// Output:
	// 10s <nil>
	// true <nil>
}

func standIn(t *testing.T, o *googlecdn.Options) (*cdntest.GoogleCDN, *googlecdn.CDN) {
	t.Helper()
	var opts googlecdn.Options
	if o != nil {
		opts = *o
	}
	s := &cdntest.GoogleCDN{Project: "my-project", URLMap: "my-map", Token: secret, Host: opts.Host}
	opts.Client = cdntest.Client(s)
	c, err := googlecdn.New("my-project", "my-map", static(secret), &opts)
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func clean(t *testing.T, s *cdntest.GoogleCDN) {
	t.Helper()
	if faults := s.Faults(); len(faults) > 0 {
		t.Errorf("faults: %q", faults)
	}
}

// id is a UUID that is another one for each n.
func id(n int) string { return fmt.Sprintf("0f1e2d3c-4b5a-4978-8695-%012d", n) }

func TestEveryKind(t *testing.T) {
	for _, test := range []struct {
		kind   cdn.Kind
		values []string
		purged []string
	}{
		{cdn.Tag, []string{"cat"}, []string{"cat"}},
		{cdn.Tag, []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"}, []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"}},
		{cdn.URL, []string{"https://www.example.com/img/a.jpg"}, []string{"www.example.com/img/a.jpg"}},
		{cdn.URL, []string{"https://WWW.example.com:443/img/b c.jpg?w=200#x"}, []string{"www.example.com/img/b%20c.jpg"}},
		{cdn.URL, []string{"http://www.example.com:8080/caf\u00e9*.jpg"}, []string{"www.example.com:8080/caf%C3%A9%2A.jpg"}},
		{cdn.URL, []string{"https://www.example.com"}, []string{"www.example.com/"}},
		{cdn.Prefix, []string{"https://www.example.com/img/photos/"}, []string{"www.example.com/img/photos/"}},
		{cdn.Prefix, []string{"https://www.example.com"}, []string{"www.example.com/"}},
		{cdn.All, nil, []string{""}},
	} {
		for _, host := range []string{"", "img.example.com"} {
			s, c := standIn(t, &googlecdn.Options{Host: host})
			receipt, err := c.Purge(t.Context(), cdn.Batch{Kind: test.kind, Values: test.values, ID: id(1)})
			if err != nil || receipt.ID == "" || receipt.Complete || receipt.After != 10*time.Second || len(receipt.Failed) > 0 {
				t.Errorf("%s: %+v, %v", test.kind, receipt, err)
			}
			if got := s.Purged(string(test.kind)); !slices.Equal(got, test.purged) {
				t.Errorf("%s: purged %q, want %q", test.kind, got, test.purged)
			}
			if done, err := c.Confirmed(t.Context(), receipt); !done || err != nil {
				t.Errorf("%s: %v, %v", test.kind, done, err)
			}
			if path := s.Calls()[0].Path; path != "/compute/v1/projects/my-project/global/urlMaps/my-map/invalidateCache?requestId="+id(1) {
				t.Error(path)
			}
			clean(t, s)
		}
	}
}

func TestOperationsTakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := standIn(t, nil)
		s.Takes = 10 * time.Second
		b := cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}, ID: id(1)}
		receipt, err := c.Purge(t.Context(), b)
		if err != nil || receipt.Complete {
			t.Fatal(receipt, err)
		}
		for i := range 3 {
			if done, err := c.Confirmed(t.Context(), receipt); done != (i == 2) || err != nil {
				t.Errorf("after %d x 5 s: %v, %v", i, done, err)
			}
			time.Sleep(5 * time.Second)
		}
		again, err := c.Purge(t.Context(), b) // is the same operation
		if err != nil || again.ID != receipt.ID || !again.Complete {
			t.Errorf("%+v, %v", again, err)
		}

		// One that fails in the end has failed, whatever it says.
		for i, status := range []int{400, 503} {
			s.FailOperation(status, "RESOURCE_NOT_READY", "The URL map is being changed.")
			receipt, err = c.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}, ID: id(2 + i)})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			done, err := c.Confirmed(t.Context(), receipt)
			e, ok := errors.AsType[*cdn.Error](err)
			if done || !ok || e.Temporary || e.Status != status || !strings.Contains(e.Reason, "RESOURCE_NOT_READY: The URL map is being changed.") {
				t.Errorf("%v, %+v", done, err)
			}
		}
		// One that fails at once is an error of the call.
		s.Takes = -1
		s.FailOperation(503, "BACKEND_ERROR", "Try again.")
		_, err = c.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}, ID: id(9)})
		if e, ok := errors.AsType[*cdn.Error](err); !ok || !e.Temporary || e.Status != 503 || e.Reason != "BACKEND_ERROR: Try again." {
			t.Errorf("%+v", err)
		}
		clean(t, s)
		if _, err := c.Confirmed(t.Context(), cdn.Receipt{ID: "operation-none"}); err == nil || !strings.Contains(err.Error(), "was not found") {
			t.Errorf("an operation that is not there: %v", err)
		}
		for _, name := range []string{"", "..", "a/b", "a?b"} {
			if _, err := c.Confirmed(t.Context(), cdn.Receipt{ID: name}); err == nil {
				t.Errorf("%q was asked for", name)
			}
		}
	})
}

func TestPartsOfABatch(t *testing.T) {
	s, c := standIn(t, nil)
	for i, test := range []struct {
		kind      cdn.Kind
		values    []string
		failed    []string
		temporary []bool
	}{
		{cdn.Tag, []string{"a,b", "cat", "a b", ""}, []string{"a,b", "a b", ""}, []bool{false, false, false}},
		{cdn.Tag, []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"}, []string{"11"}, []bool{true}},
		{cdn.URL, []string{"nothing", "https://a.example/1", "https://a.example/2"}, []string{"nothing", "https://a.example/2"}, []bool{false, true}},
		{cdn.Prefix, []string{"https://a.example/cat", "https://a.example/1/"}, []string{"https://a.example/cat"}, []bool{false}},
		{cdn.Prefix, []string{"https://a.example/?a=/"}, []string{"https://a.example/?a=/"}, []bool{false}},
		{cdn.URL, []string{"/a.jpg"}, []string{"/a.jpg"}, []bool{false}},
	} {
		receipt, err := c.Purge(t.Context(), cdn.Batch{Kind: test.kind, Values: test.values, ID: id(i)})
		if err != nil || len(receipt.Failed) != len(test.failed) || receipt.Complete != (receipt.ID == "") {
			t.Errorf("%q: %+v, %v", test.values, receipt, err)
			continue
		}
		for j, f := range receipt.Failed {
			if f.Value != test.failed[j] || f.Temporary != test.temporary[j] || f.Reason == "" {
				t.Errorf("%q: %+v", test.values, f)
			}
		}
	}
	if n := len(s.Calls()); n != 4 {
		t.Errorf("%d calls, want the four that had something to say", n)
	}
	clean(t, s)
}

func TestErrors(t *testing.T) {
	body := func(reason string) string {
		return `{"error":{"code":1,"message":"It is ` + reason + `.","errors":[{"message":"m","domain":"d","reason":"` + reason + `"}]}}`
	}
	answers := func(status int, header http.Header, body string) func(s *cdntest.GoogleCDN) {
		return func(s *cdntest.GoogleCDN) { s.Fail(1, status, header, body) }
	}
	for _, test := range []struct {
		name      string
		setup     func(s *cdntest.GoogleCDN)
		status    int
		temporary bool
		reason    string
		after     time.Duration
	}{
		{"wrong token", func(s *cdntest.GoogleCDN) { s.Token = "x" }, 401, false, "authError: Request had invalid authentication", 0},
		{"another project", func(s *cdntest.GoogleCDN) { s.Project = "x" }, 403, false, "forbidden: Required 'compute.urlMaps.invalidateCache'", 0},
		{"no such map", func(s *cdntest.GoogleCDN) { s.URLMap = "x" }, 404, false, "was not found", 0},
		{"rate by 403", answers(403, nil, body("rateLimitExceeded")), 403, true, "rateLimitExceeded: It is rateLimitExceeded.", 0},
		{"rate by 429", answers(429, http.Header{"Retry-After": {"8"}}, body("rateLimitExceeded")), 429, true, "rateLimitExceeded", 8 * time.Second},
		{"exhausted", answers(403, nil, `{"error":{"code":403,"message":"m","status":"RESOURCE_EXHAUSTED"}}`), 403, true, "m", 0},
		{"forbidden", answers(403, nil, body("accessNotConfigured")), 403, false, "accessNotConfigured", 0},
		{"invalid", answers(400, nil, body("invalid")), 400, false, "invalid", 0},
		{"internal", answers(500, nil, body("backendError")), 500, true, "backendError", 0},
		{"unavailable", answers(503, nil, "<html>down</html>"), 503, true, "down", 0},
		{"a page", answers(200, nil, "<html>welcome</html>"), 0, true, "no operation", 0},
		{"an empty object", answers(200, nil, "{}"), 0, true, "no operation", 0},
		{"an operation that failed", answers(200, nil, `{"name":"o","status":"DONE","httpErrorStatusCode":403,"httpErrorMessage":"FORBIDDEN"}`), 403, false, "FORBIDDEN", 0},
	} {
		s, c := standIn(t, nil)
		test.setup(s)
		_, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}, ID: id(1)})
		e, ok := errors.AsType[*cdn.Error](err)
		if !ok || e.Status != test.status || e.Temporary != test.temporary || e.RetryAfter != test.after || !strings.Contains(e.Reason, test.reason) {
			t.Errorf("%s: %+v", test.name, err)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: a secret in %v", test.name, err)
		}
	}
}

// Whoever keeps to the rates of Features is never refused, and the 501st call in a minute is.
func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := standIn(t, nil)
		rate := c.Features().Forms[cdn.Tag].Rates[0]
		purge := func(i int) error {
			_, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}, ID: id(i)})
			return err
		}
		have, at := rate.Burst, time.Now()
		for i := range 1500 {
			for have < 1 {
				time.Sleep(time.Duration(float64(time.Second) / rate.PerSecond))
				have += time.Since(at).Seconds() * rate.PerSecond
				at = time.Now()
			}
			have--
			if err := purge(i); err != nil {
				t.Fatalf("call %d: %v", i, err)
			}
		}
		time.Sleep(time.Minute)
		for i := range 501 {
			err := purge(2000 + i)
			if e, ok := errors.AsType[*cdn.Error](err); i < 500 && err != nil || i == 500 && (!ok || !e.Temporary || e.Status != 403) {
				t.Fatalf("call %d at once: %v", i, err)
			}
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
			body := io.MultiReader(strings.NewReader(`{"name":"o",`), iotest.ErrReader(io.ErrUnexpectedEOF))
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(body), Request: r}, nil
		}, "cut short"},
		{func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }, "connection refused"},
	} {
		c, err := googlecdn.New("p", "m", static(secret), &googlecdn.Options{Client: &http.Client{Transport: test.f}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}, ID: id(1)})
		if e, ok := errors.AsType[*cdn.Error](err); !ok || !e.Temporary || e.Status != 0 || !strings.Contains(e.Reason, test.says) {
			t.Errorf("%+v", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	s, c := standIn(t, nil)
	s.Hang(1)
	if _, err := c.Purge(ctx, cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}, ID: id(1)}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestSettings(t *testing.T) {
	for _, test := range []struct {
		project, urlMap string
		token           func(context.Context) (string, error)
		o               *googlecdn.Options
		says            string
	}{
		{"", "m", static(secret), nil, "project is missing"},
		{"p", "", static(secret), nil, "urlMap is missing"},
		{"p/../q", "m", static(secret), nil, "p/../q"},
		{"p", "..", static(secret), nil, ".."},
		{"p", "m", nil, nil, "token is missing"},
		{"p", "m", static(secret), &googlecdn.Options{API: "compute"}, "API"},
		{"p", "m", static(secret), &googlecdn.Options{Host: "https://a.example/"}, "Host"},
	} {
		if _, err := googlecdn.New(test.project, test.urlMap, test.token, test.o); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%q %q: %v, want %s", test.project, test.urlMap, err, test.says)
		}
	}
	c, err := googlecdn.New("example.com:p-1", "m", func(context.Context) (string, error) { return "", errors.New("nobody is at home") }, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		b    cdn.Batch
		says string
	}{
		{cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}, Soft: true}, "stale"},
		{cdn.Batch{Kind: cdn.Tag}, "nothing"},
		{cdn.Batch{Kind: "regexp", Values: []string{".*"}}, "regexp"},
		{cdn.Batch{Kind: cdn.All}, "no access token: nobody is at home"},
	} {
		if _, err := c.Purge(t.Context(), test.b); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%+v: %v, want %s", test.b, err, test.says)
		}
	}
}

// The stand-in finds each mistake that is made in a request on purpose.
func TestPlantedMistakes(t *testing.T) {
	const at = "https://compute.googleapis.com/compute/v1/projects/my-project/global/urlMaps/my-map/invalidateCache?requestId="
	type request struct{ method, url, body, contentType, auth string }
	good := request{"POST", at + id(1), `{"host":"www.example.com","path":"/a.jpg"}`, "application/json", "Bearer " + secret}
	replace := func(old, new string) func(*request) {
		return func(r *request) { r.url = strings.Replace(r.url, old, new, 1) }
	}
	ask := func(body string) func(*request) { return func(r *request) { r.body = body } }
	for _, test := range []struct {
		name   string
		change func(r *request)
	}{
		{"", func(*request) {}}, // none
		{"wrong method", func(r *request) { r.method = "PUT" }},
		{"GET", func(r *request) { r.method, r.body = "GET", "" }},
		{"another host", replace("compute.googleapis.com", "cloud.example.com")},
		{"plain http", replace("https", "http")},
		{"wrong path", replace("invalidateCache", "invalidate")},
		{"another version", replace("v1", "beta")},
		{"another project", replace("my-project", "yours")},
		{"another map", replace("my-map", "yours")},
		{"a regional map", replace("global", "regions/us-east1")},
		{"a parameter more", func(r *request) { r.url += "&prettyPrint=true" }},
		{"no requestId", replace("?requestId="+id(1), "")},
		{"no UUID", replace(id(1), "b1")},
		{"the UUID of zeros", replace(id(1), "00000000-0000-0000-0000-000000000000")},
		{"a requestId again", replace(id(1), id(0))},
		{"no token", func(r *request) { r.auth = "" }},
		{"wrong token", func(r *request) { r.auth = "Bearer x" }},
		{"no bearer", func(r *request) { r.auth = secret }},
		{"an empty bearer", func(r *request) { r.auth = "Bearer " }},
		{"wrong type", func(r *request) { r.contentType = "application/x-www-form-urlencoded" }},
		{"no type", func(r *request) { r.contentType = "" }},
		{"no body", ask("")},
		{"no JSON", ask("path=/a.jpg")},
		{"two objects", ask(good.body + good.body)},
		{"unknown field", ask(`{"host":"www.example.com","path":"/a.jpg","soft":true}`)},
		{"nothing", ask(`{}`)},
		{"only a host", ask(`{"host":"www.example.com"}`)},
		{"no host", ask(`{"path":"/a.jpg"}`)},
		{"an empty host", ask(`{"host":"","path":"/a.jpg"}`)},
		{"a URL as host", ask(`{"host":"https://www.example.com","path":"/a.jpg"}`)},
		{"a URL as path", ask(`{"path":"https://www.example.com/a.jpg"}`)},
		{"a host in the path", ask(`{"host":"www.example.com","path":"//www.example.com/a.jpg"}`)},
		{"no slash", ask(`{"host":"www.example.com","path":"a.jpg"}`)},
		{"a query", ask(`{"host":"www.example.com","path":"/a.jpg?w=1"}`)},
		{"a fragment", ask(`{"host":"www.example.com","path":"/a.jpg#x"}`)},
		{"an asterisk within", ask(`{"host":"www.example.com","path":"/*.jpg"}`)},
		{"an asterisk after a name", ask(`{"host":"www.example.com","path":"/a.jpg*"}`)},
		{"a space", ask(`{"host":"www.example.com","path":"/a b.jpg"}`)},
		{"not ASCII", ask(`{"host":"www.example.com","path":"/caf\u00e9.jpg"}`)},
		{"two paths", ask(`{"host":"www.example.com","path":["/a.jpg","/b.jpg"]}`)},
		{"tags and a path", ask(`{"host":"www.example.com","path":"/a.jpg","cacheTags":["cat"]}`)},
		{"eleven tags", ask(`{"cacheTags":["1","2","3","4","5","6","7","8","9","10","11"]}`)},
		{"tags in one", ask(`{"cacheTags":["cat,dog"]}`)},
		{"tags by space", ask(`{"cacheTags":["cat dog"]}`)},
		{"no list", ask(`{"cacheTags":"cat"}`)},
		{"an empty tag", ask(`{"cacheTags":[""]}`)},
		{"twice", ask(`{"cacheTags":["cat","cat"]}`)},
		{"another operation", func(r *request) {
			*r = request{"GET", "https://compute.googleapis.com/compute/v1/projects/my-project/global/operations/none", "", "", good.auth}
		}},
	} {
		s, c := standIn(t, nil)
		if _, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.URL, Values: []string{"https://www.example.com/0.jpg"}, ID: id(0)}); err != nil {
			t.Fatal(err)
		}
		q := good
		test.change(&q)
		r, err := http.NewRequest(q.method, q.url, strings.NewReader(q.body))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{"Content-Type": q.contentType, "Authorization": q.auth} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		resp, err := cdntest.Client(s).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		found := len(s.Faults()) > 0
		if found != (test.name != "") || !found && resp.StatusCode != 200 {
			t.Errorf("%q: %d, faults %q", test.name, resp.StatusCode, s.Faults())
		}
	}
}
