package cloudflare_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/purge/cdn/cdntest"
	"github.com/imagecdn/imagecdn/purge/cdn/cloudflare"
)

const (
	zone  = "023e105f4ecef8ad9ca31a8372d0c353"
	token = "a-token-that-nobody-sees"
	here  = "https://api.cloudflare.com/client/v4/zones/" + zone + "/purge_cache"
)

var _ cdn.CDN = (*cloudflare.CDN)(nil)

func Example() {
	cf, err := cloudflare.New("023e105f4ecef8ad9ca31a8372d0c353", "token", &cloudflare.Options{
		Plan:   cloudflare.Pro,
		Client: cdntest.Client(&cdntest.Cloudflare{Zone: "023e105f4ecef8ad9ca31a8372d0c353", Token: "token", Plan: "pro"}), // for the example
	})
	if err != nil {
		log.Fatal(err)
	}
	receipt, err := cf.Purge(context.Background(), cdn.Batch{Kind: cdn.Tag, Values: []string{"iabc234"}})
	fmt.Println(len(receipt.Failed), err)
	// Output: 0 <nil>
}

func open(t *testing.T, plan cloudflare.Plan) (*cloudflare.CDN, *cdntest.Cloudflare) {
	t.Helper()
	s := &cdntest.Cloudflare{Zone: zone, Token: token, Plan: string(plan)}
	c, err := cloudflare.New(zone, token, &cloudflare.Options{Client: cdntest.Client(s), Plan: plan})
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

func numbered(n int, format string) (values []string) {
	for i := range n {
		values = append(values, fmt.Sprintf(format, i))
	}
	return values
}

func TestPurge(t *testing.T) {
	for _, c := range []struct {
		name  string
		plan  cloudflare.Plan
		batch cdn.Batch
		sent  []string // nil: the batch's values
	}{
		{"a tag", "", cdn.Batch{Kind: cdn.Tag, Values: []string{"iabc"}}, nil},
		{"a tag of 1,024", "", cdn.Batch{Kind: cdn.Tag, Values: []string{strings.Repeat("a", 1024)}}, nil},
		{"as many tags as go", "", cdn.Batch{Kind: cdn.Tag, Values: numbered(100, "i%d")}, nil},
		{"a URL", "", cdn.Batch{Kind: cdn.URL, Values: []string{"https://www.example.com/img/a%20b.jpg?w=1&fm=webp"}}, nil},
		{"as many URLs as go", cloudflare.Pro, cdn.Batch{Kind: cdn.URL, Values: numbered(100, "https://www.example.com/%d.jpg")}, nil},
		{"as many URLs as go for more", cloudflare.Enterprise, cdn.Batch{Kind: cdn.URL, Values: numbered(500, "https://www.example.com/%d.jpg")}, nil},
		{"a prefix is host and path", "", cdn.Batch{Kind: cdn.Prefix, Values: []string{"https://www.example.com/img/cat.jpg"}}, []string{"www.example.com/img/cat.jpg"}},
		{"a folder has no slash", "", cdn.Batch{Kind: cdn.Prefix, Values: []string{"https://www.example.com/img/photos/"}}, []string{"www.example.com/img/photos"}},
		{"a host", "", cdn.Batch{Kind: cdn.Prefix, Values: []string{"https://www.example.com/"}}, []string{"www.example.com"}},
		{"a prefix has no query", "", cdn.Batch{Kind: cdn.Prefix, Values: []string{"https://www.example.com/a.jpg?w="}}, []string{"www.example.com/a.jpg"}},
		{"a prefix of 31 slashes", "", cdn.Batch{Kind: cdn.Prefix, Values: []string{"https://www.example.com" + strings.Repeat("/a", 31)}}, []string{"www.example.com" + strings.Repeat("/a", 31)}},
		{"everything", "", cdn.Batch{Kind: cdn.All}, []string{""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cf, s := open(t, c.plan)
			receipt, err := cf.Purge(t.Context(), c.batch)
			if err != nil || len(receipt.Failed) > 0 || receipt.Complete || receipt.ID != "" {
				t.Errorf("%+v, %v", receipt, err)
			}
			if c.sent == nil {
				c.sent = c.batch.Values
			}
			if got := s.Purged(string(c.batch.Kind)); !slices.Equal(got, c.sent) {
				t.Errorf("purged %q, want %q", got, c.sent)
			}
			if len(s.Calls()) != 1 {
				t.Errorf("%d calls", len(s.Calls()))
			}
			if f := s.Faults(); len(f) > 0 {
				t.Error(f)
			}
		})
	}
}

func TestWhatCannotBePurgedFailsAlone(t *testing.T) {
	for _, c := range []struct {
		kind       cdn.Kind
		good, sent string
		bad        []string
	}{
		{cdn.Tag, "a", "a", []string{"", "a b", "a,b", "ü", strings.Repeat("a", 1025)}},
		{cdn.URL, "https://x.example/a", "https://x.example/a", []string{"/a", "x.example/a", "https:///a", "https://x.example/a#b", "https://x.example/a b"}},
		{cdn.Prefix, "https://x.example/a", "x.example/a", []string{"/a", "https://x.example" + strings.Repeat("/a", 32)}},
	} {
		cf, s := open(t, "")
		receipt, err := cf.Purge(t.Context(), cdn.Batch{Kind: c.kind, Values: append([]string{c.good}, c.bad...)})
		if err != nil {
			t.Error(err)
		}
		var bad []string
		for _, f := range receipt.Failed {
			bad = append(bad, f.Value)
			if f.Temporary || f.Reason == "" {
				t.Errorf("%+v", f)
			}
		}
		if !slices.Equal(bad, c.bad) || !slices.Equal(s.Purged(string(c.kind)), []string{c.sent}) {
			t.Errorf("%s: failed %q, purged %q", c.kind, bad, s.Purged(string(c.kind)))
		}
		if _, err := cf.Purge(t.Context(), cdn.Batch{Kind: c.kind, Values: c.bad[:1]}); err != nil || len(s.Calls()) != 1 {
			t.Errorf("%s: nothing to send: %v, %d calls", c.kind, err, len(s.Calls()))
		}
		if f := s.Faults(); len(f) > 0 {
			t.Error(f)
		}
	}
}

func TestWhatDoesNotFitIsNotSent(t *testing.T) {
	cf, s := open(t, "")
	for _, b := range []cdn.Batch{
		{Kind: cdn.Tag, Values: numbered(101, "i%d")},
		{Kind: cdn.URL, Values: numbered(101, "https://x.example/%d")},
		{Kind: cdn.Tag, Values: []string{"a"}, Soft: true},
		{Kind: cdn.Tag},
		{Kind: "host", Values: []string{"x.example"}},
	} {
		_, err := cf.Purge(t.Context(), b)
		if e, ok := errors.AsType[*cdn.Error](err); !ok || e.Temporary {
			t.Errorf("%s: %v", b.Kind, err)
		}
	}
	if len(s.Calls()) > 0 {
		t.Error("something was sent")
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		status     int
		header     http.Header
		body       string
		reason     string
		temporary  bool
		retryAfter time.Duration
	}{
		{400, nil, `{"success":false,"errors":[{"code":1012,"message":"Request must contain one of"},{"code":7,"message":"And more"}]}`, "Request must contain one of (1012); And more (7)", false, 0},
		{403, nil, `{"success":false,"errors":[{"code":10000,"message":"Authentication error"}]}`, "Authentication error (10000)", false, 0},
		{403, nil, `{"success":false,"errors":[{"code":1,"message":"no ` + token + ` here"}]}`, "no … here (1)", false, 0},
		{429, http.Header{"Retry-After": {"12"}}, `{"success":false,"errors":[{"code":971,"message":"Please wait"}]}`, "Please wait (971)", true, 12 * time.Second},
		{400, nil, `{"success":false,"errors":[{"code":1134,"message":"Rate limit reached"}]}`, "Rate limit reached (1134)", true, 0},
		{200, nil, `{"success":false,"errors":[{"code":5,"message":"Unable to purge"}]}`, "Unable to purge (5)", false, 0},
		{200, nil, `{"success":false,"errors":[{"code":5,"message":"Rate limit reached"}]}`, "Rate limit reached (5)", true, 0},
		{200, nil, `<html>captive portal</html>`, "captive portal", true, 0},
		{200, nil, ``, "not that of the API", true, 0},
		{502, nil, "<html>\nbad gateway</html>", "bad gateway", true, 0},
		{302, http.Header{"Location": {"https://elsewhere.example/"}}, "", "", false, 0},
	} {
		cf, s := open(t, "")
		s.Fail(1, c.status, c.header, c.body)
		_, err := cf.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{"a"}})
		e, ok := errors.AsType[*cdn.Error](err)
		if !ok || e.Status != c.status || !strings.Contains(e.Reason, c.reason) || e.Temporary != c.temporary || e.RetryAfter != c.retryAfter {
			t.Errorf("%d %s: %#v", c.status, c.body, err)
		}
		if strings.Contains(err.Error(), token) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q", err)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestNoAnswer(t *testing.T) {
	for _, c := range []struct {
		name string
		next roundTrip
	}{
		{"a cut answer", func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: io.NopCloser(io.MultiReader(strings.NewReader(`{"success":tr`), cut{})), Request: r}, nil
		}},
		{"a dead connection", func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }},
	} {
		cf, err := cloudflare.New(zone, token, &cloudflare.Options{Client: &http.Client{Transport: c.next}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = cf.Purge(t.Context(), cdn.Batch{Kind: cdn.All})
		if e, ok := errors.AsType[*cdn.Error](err); !ok || e.Status != 0 || !e.Temporary || strings.Contains(e.Reason, zone) {
			t.Errorf("%s: %#v", c.name, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		cf, s := open(t, "")
		s.Hang(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := cf.Purge(ctx, cdn.Batch{Kind: cdn.All}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

type cut struct{}

func (cut) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestRates makes calls as fast as Features allows, and is never told to slow down.
func TestRates(t *testing.T) {
	for _, plan := range []cloudflare.Plan{"", cloudflare.Pro, cloudflare.Business, cloudflare.Enterprise} {
		for _, kind := range []cdn.Kind{cdn.Tag, cdn.URL} {
			synctest.Test(t, func(t *testing.T) {
				cf, s := open(t, plan)
				form := cf.Features().Forms[kind]
				values := numbered(form.MaxItems, map[cdn.Kind]string{cdn.Tag: "i%d", cdn.URL: "https://x.example/%d"}[kind])
				rate := form.Rates[0]
				cost := 1.
				if rate.PerItem {
					cost = float64(len(values))
				}
				left := rate.Burst
				for range int(rate.Burst/cost) + 40 {
					if left < cost {
						time.Sleep(time.Duration((cost - left) / rate.PerSecond * float64(time.Second)))
						left = cost
					}
					left -= cost
					if _, err := cf.Purge(t.Context(), cdn.Batch{Kind: kind, Values: values}); err != nil {
						t.Fatalf("plan %q, %s: %v", plan, kind, err)
					}
				}
				if f := s.Faults(); len(f) > 0 {
					t.Error(f)
				}
			})
		}
	}
}

func TestTooFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cf, s := open(t, "")
		var err error
		n := 0
		for ; err == nil && n < 1000; n++ {
			_, err = cf.Purge(t.Context(), cdn.Batch{Kind: cdn.All})
		}
		e, ok := errors.AsType[*cdn.Error](err)
		if !ok || n != 26 || !e.Temporary || e.RetryAfter != 12*time.Second {
			t.Fatalf("call %d: %#v", n, err)
		}
		time.Sleep(e.RetryAfter)
		if _, err := cf.Purge(t.Context(), cdn.Batch{Kind: cdn.All}); err != nil {
			t.Error(err)
		}
		if f := s.Faults(); len(f) > 0 {
			t.Error(f)
		}
	})
}

func TestNew(t *testing.T) {
	for _, c := range []struct {
		zone, token string
		o           *cloudflare.Options
		want        string
	}{
		{"", token, nil, "zone is missing"},
		{zone, "", nil, "token is missing"},
		{zone, token, &cloudflare.Options{API: "api.cloudflare.com"}, "Options.API"},
		{zone, token, &cloudflare.Options{Plan: "Gold"}, `"Gold"`},
	} {
		_, err := cloudflare.New(c.zone, c.token, c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), token) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	if c, err := cloudflare.New(zone, token, nil); err != nil || c.Features().Tags[0].Separator != "," {
		t.Error(err)
	}
}

func TestAnotherAPI(t *testing.T) {
	var got string
	c, err := cloudflare.New(zone, token, &cloudflare.Options{API: "http://127.0.0.1:9/base/", Client: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		got = r.URL.String()
		return nil, errors.New("no network")
	})}})
	if err != nil {
		t.Fatal(err)
	}
	c.Purge(t.Context(), cdn.Batch{Kind: cdn.All})
	if want := "http://127.0.0.1:9/base/zones/" + zone + "/purge_cache"; got != want {
		t.Errorf("asked %q, want %q", got, want)
	}
}

// TestPlantedMistakes holds the stand-in to its word: each of these requests has one thing wrong.
func TestPlantedMistakes(t *testing.T) {
	long := `"` + strings.Join(numbered(101, "i%d"), `","`) + `"`
	urls := `"` + strings.Join(numbered(101, "https://x.example/%d"), `","`) + `"`
	for _, c := range []struct {
		name, method, url, auth, contentType, body string
	}{
		{"another path", "POST", here + "/", "", "", `{"tags":["a"]}`},
		{"another zone", "POST", strings.Replace(here, zone, "0", 1), "", "", `{"tags":["a"]}`},
		{"another host", "POST", strings.Replace(here, "api.", "www.", 1), "", "", `{"tags":["a"]}`},
		{"plain http", "POST", strings.Replace(here, "https", "http", 1), "", "", `{"tags":["a"]}`},
		{"a query", "POST", here + "?a=b", "", "", `{"tags":["a"]}`},
		{"another method", "DELETE", here, "", "", `{"tags":["a"]}`},
		{"no token", "POST", here, "-", "", `{"tags":["a"]}`},
		{"another token", "POST", here, "Bearer other", "", `{"tags":["a"]}`},
		{"a token without its scheme", "POST", here, token, "", `{"tags":["a"]}`},
		{"another content type", "POST", here, "", "text/plain", `{"tags":["a"]}`},
		{"no content type", "POST", here, "", "-", `{"tags":["a"]}`},
		{"no JSON", "POST", here, "", "", `tags=a`},
		{"two objects", "POST", here, "", "", `{"tags":["a"]}{"tags":["b"]}`},
		{"an unknown field", "POST", here, "", "", `{"tag":["a"]}`},
		{"a field too many", "POST", here, "", "", `{"tags":["a"],"soft":true}`},
		{"nothing", "POST", here, "", "", `{}`},
		{"an empty list", "POST", here, "", "", `{"tags":[]}`},
		{"two selections", "POST", here, "", "", `{"tags":["a"],"files":["https://x.example/a"]}`},
		{"not everything", "POST", here, "", "", `{"purge_everything":false}`},
		{"101 tags", "POST", here, "", "", `{"tags":[` + long + `]}`},
		{"101 URLs", "POST", here, "", "", `{"files":[` + urls + `]}`},
		{"a tag twice", "POST", here, "", "", `{"tags":["a","a"]}`},
		{"two tags in one, with a comma", "POST", here, "", "", `{"tags":["a,b"]}`},
		{"two tags in one, with a space", "POST", here, "", "", `{"tags":["a b"]}`},
		{"an empty tag", "POST", here, "", "", `{"tags":[""]}`},
		{"a tag over 1,024", "POST", here, "", "", `{"tags":["` + strings.Repeat("a", 1025) + `"]}`},
		{"a URL without a host", "POST", here, "", "", `{"files":["/a.jpg"]}`},
		{"a URL without a scheme", "POST", here, "", "", `{"files":["x.example/a.jpg"]}`},
		{"a URL with a wildcard", "POST", here, "", "", `{"files":["https://x.example/*"]}`},
		{"a URL with a fragment", "POST", here, "", "", `{"files":["https://x.example/a#b"]}`},
		{"a URL with an unknown field", "POST", here, "", "", `{"files":[{"url":"https://x.example/a","header":{}}]}`},
		{"a prefix with a scheme", "POST", here, "", "", `{"prefixes":["https://x.example/a"]}`},
		{"a prefix without a host", "POST", here, "", "", `{"prefixes":["/a"]}`},
		{"a prefix that is a path", "POST", here, "", "", `{"prefixes":["photos/a"]}`},
		{"a prefix with a query", "POST", here, "", "", `{"prefixes":["x.example/a?b"]}`},
		{"a prefix with a wildcard", "POST", here, "", "", `{"prefixes":["x.example/a*"]}`},
		{"a prefix with 32 slashes", "POST", here, "", "", `{"prefixes":["x.example` + strings.Repeat("/a", 32) + `"]}`},
	} {
		s := &cdntest.Cloudflare{Zone: zone, Token: token}
		r, err := http.NewRequest(c.method, c.url, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		for name, v := range map[string][2]string{"Authorization": {c.auth, "Bearer " + token}, "Content-Type": {c.contentType, "application/json"}} {
			switch v[0] {
			case "-":
			case "":
				r.Header.Set(name, v[1])
			default:
				r.Header.Set(name, v[0])
			}
		}
		resp, err := cdntest.Client(s).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if len(s.Faults()) == 0 {
			t.Errorf("%s: answered %d, and no fault", c.name, resp.StatusCode)
		}
	}
	s := &cdntest.Cloudflare{Zone: zone, Token: token}
	r, _ := http.NewRequest("POST", here, strings.NewReader(`{"files":[{"url":"https://x.example/a","headers":{"CF-Device-Type":"mobile"}}]}`))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json; charset=UTF-8")
	resp, err := cdntest.Client(s).Do(r)
	if err != nil || resp.StatusCode != 200 || len(s.Faults()) > 0 || !slices.Equal(s.Purged("url"), []string{"https://x.example/a"}) {
		t.Errorf("one with nothing wrong: %v, %v", err, s.Faults())
	}
}
