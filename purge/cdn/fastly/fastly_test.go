package fastly_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/purge/cdn/cdntest"
	"github.com/imagecdn/imagecdn/purge/cdn/fastly"
)

const (
	service = "SU1Z0isxPaozGVKXdv0eY"
	token   = "a-token-that-nobody-sees"
	here    = "https://api.fastly.com/service/" + service
)

var _ cdn.CDN = (*fastly.CDN)(nil)

func Example() {
	f, err := fastly.New("SU1Z0isxPaozGVKXdv0eY", "token", &fastly.Options{
		Client: cdntest.Client(&cdntest.Fastly{Service: "SU1Z0isxPaozGVKXdv0eY", Token: "token"}), // for the example
	})
	if err != nil {
		log.Fatal(err)
	}
	receipt, err := f.Purge(context.Background(), cdn.Batch{Kind: cdn.Tag, Values: []string{"iabc234"}, Soft: true})
	fmt.Println(receipt.ID, len(receipt.Failed), err)
	// Output: 108-1 0 <nil>
}

func open(t *testing.T) (*fastly.CDN, *cdntest.Fastly) {
	t.Helper()
	s := &cdntest.Fastly{Service: service, Token: token}
	c, err := fastly.New(service, token, &fastly.Options{Client: cdntest.Client(s)})
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
		batch cdn.Batch
		sent  []string // nil: the batch's values
		id    string
	}{
		{"a key", cdn.Batch{Kind: cdn.Tag, Values: []string{"iabc"}}, nil, "108-1"},
		{"a key, softly", cdn.Batch{Kind: cdn.Tag, Values: []string{"iabc"}, Soft: true}, nil, "108-1"},
		{"a key that JSON escapes", cdn.Batch{Kind: cdn.Tag, Values: []string{`<a>&"\`}}, nil, "108-1"},
		{"as many keys as go", cdn.Batch{Kind: cdn.Tag, Values: numbered(256, strings.Repeat("a", 1000)+"%d")}, nil, ""},
		{"a URL", cdn.Batch{Kind: cdn.URL, Values: []string{"https://www.example.com/img/a%20b%2Fc.jpg?w=1&t=%2F"}}, []string{"www.example.com/img/a%20b%2Fc.jpg?w=1&t=%2F"}, "108-1"},
		{"a URL, softly", cdn.Batch{Kind: cdn.URL, Values: []string{"https://www.example.com/a.jpg"}, Soft: true}, []string{"www.example.com/a.jpg"}, "108-1"},
		{"a URL of a path that is cleaned elsewhere", cdn.Batch{Kind: cdn.URL, Values: []string{"https://www.example.com//a/../b/./c?"}}, []string{"www.example.com//a/../b/./c?"}, "108-1"},
		{"a host", cdn.Batch{Kind: cdn.URL, Values: []string{"http://www.example.com"}}, []string{"www.example.com/"}, "108-1"},
		{"everything", cdn.Batch{Kind: cdn.All}, []string{""}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, s := open(t)
			receipt, err := f.Purge(t.Context(), c.batch)
			if err != nil || len(receipt.Failed) > 0 || receipt.ID != c.id || receipt.After != 150*time.Millisecond {
				t.Errorf("%+v, %v", receipt, err)
			}
			if c.sent == nil {
				c.sent = c.batch.Values
			}
			if got := s.Purged(string(c.batch.Kind)); !slices.Equal(got, c.sent) {
				t.Errorf("purged %q, want %q", got, c.sent)
			}
			if calls := s.Calls(); len(calls) != 1 || calls[0].Soft != c.batch.Soft {
				t.Errorf("%+v", calls)
			}
			if f := s.Faults(); len(f) > 0 {
				t.Error(f)
			}
		})
	}
}

func TestKeysThatTheAnswerLeavesOut(t *testing.T) {
	f, s := open(t)
	s.Loses = []string{"b"}
	receipt, err := f.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{"a", "b", "ü", "c"}})
	want := []cdn.Failure{
		{Value: "ü", Reason: "a surrogate key is of printable ASCII without spaces"},
		{Value: "b", Reason: "the answer does not have it", Temporary: true},
	}
	if err != nil || !slices.Equal(receipt.Failed, want) || !slices.Equal(s.Purged("tag"), []string{"a", "c"}) {
		t.Errorf("%+v, %v, %q", receipt, err, s.Purged("tag"))
	}
}

func TestWhatCannotBePurgedIsNotSent(t *testing.T) {
	f, s := open(t)
	for _, b := range []cdn.Batch{
		{Kind: cdn.Tag, Values: []string{""}},
		{Kind: cdn.Tag, Values: []string{"a b"}},
		{Kind: cdn.Tag, Values: []string{strings.Repeat("a", 1025)}},
		{Kind: cdn.URL, Values: []string{"/a.jpg"}},
		{Kind: cdn.URL, Values: []string{"x.example/a.jpg"}},
		{Kind: cdn.URL, Values: []string{"https://x.example/a#b"}},
	} {
		receipt, err := f.Purge(t.Context(), b)
		if err != nil || len(receipt.Failed) != 1 || receipt.Failed[0].Value != b.Values[0] || receipt.Failed[0].Temporary {
			t.Errorf("%q: %+v, %v", b.Values, receipt, err)
		}
	}
	for _, b := range []cdn.Batch{
		{Kind: cdn.Tag, Values: numbered(257, "i%d")},
		{Kind: cdn.URL, Values: numbered(2, "https://x.example/%d")},
		{Kind: cdn.Prefix, Values: []string{"https://x.example/"}},
		{Kind: cdn.All, Soft: true},
	} {
		_, err := f.Purge(t.Context(), b)
		if e, ok := errors.AsType[*cdn.Error](err); !ok || e.Temporary {
			t.Errorf("%s: %v", b.Kind, err)
		}
	}
	if len(s.Calls()) > 0 {
		t.Error("something was sent")
	}
}

func TestErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := func(d time.Duration) http.Header {
			return http.Header{"Fastly-Ratelimit-Reset": {strconv.FormatInt(time.Now().Add(d).Unix(), 10)}}
		}
		for _, c := range []struct {
			status     int
			header     http.Header
			body       string
			reason     string
			temporary  bool
			retryAfter time.Duration
		}{
			{401, nil, `{"msg":"Provided credentials are missing or invalid"}`, "Provided credentials are missing or invalid", false, 0},
			{404, nil, `{"msg":"Record not found","detail":"Cannot load service"}`, "Record not found: Cannot load service", false, 0},
			{403, nil, `{"msg":"You are not authorized","detail":"` + token + `"}`, "You are not authorized: …", false, 0},
			{429, in(90 * time.Second), `{"msg":"Too many requests"}`, "Too many requests", true, 90 * time.Second},
			{429, in(-time.Minute), ``, "", true, 0},
			{429, in(1000 * time.Hour), ``, "", true, time.Hour},
			{429, http.Header{"Retry-After": {"7"}, "Fastly-Ratelimit-Reset": in(time.Minute)["Fastly-Ratelimit-Reset"]}, ``, "", true, 7 * time.Second},
			{429, http.Header{"Fastly-Ratelimit-Reset": {"soon"}}, ``, "", true, 0},
			{503, in(90 * time.Second), "<html>backend\nread error", "backend read error", true, 0},
			{200, nil, `not JSON`, "not that of the API", true, 0},
		} {
			for _, b := range []cdn.Batch{{Kind: cdn.Tag, Values: []string{"a"}}, {Kind: cdn.URL, Values: []string{"https://x.example/a"}}, {Kind: cdn.All}} {
				f, s := open(t)
				s.Fail(1, c.status, c.header, c.body)
				_, err := f.Purge(t.Context(), b)
				e, ok := errors.AsType[*cdn.Error](err)
				if !ok || e.Status != c.status || !strings.Contains(e.Reason, c.reason) || e.Temporary != c.temporary || e.RetryAfter != c.retryAfter {
					t.Errorf("%s: %d %s: %#v", b.Kind, c.status, c.body, err)
				}
				if strings.Contains(err.Error(), token) {
					t.Errorf("%q", err)
				}
			}
		}
		f, s := open(t)
		s.Fail(1, 200, nil, `{"status":"failed"}`)
		_, err := f.Purge(t.Context(), cdn.Batch{Kind: cdn.All})
		if e, ok := errors.AsType[*cdn.Error](err); !ok || e.Temporary || !strings.Contains(e.Reason, "failed") {
			t.Errorf("%#v", err)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type cut struct{}

func (cut) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestNoAnswer(t *testing.T) {
	for _, c := range []struct {
		name string
		next roundTrip
	}{
		{"a cut answer", func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: io.NopCloser(io.MultiReader(strings.NewReader(`{"a":"1`), cut{})), Request: r}, nil
		}},
		{"a dead connection", func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }},
	} {
		f, err := fastly.New(service, token, &fastly.Options{Client: &http.Client{Transport: c.next}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{"a"}})
		if e, ok := errors.AsType[*cdn.Error](err); !ok || e.Status != 0 || !e.Temporary || strings.Contains(e.Reason, service) {
			t.Errorf("%s: %#v", c.name, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		f, s := open(t)
		s.Hang(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := f.Purge(ctx, cdn.Batch{Kind: cdn.All}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// TestRates makes calls for hours, as fast as Features allows, and is never told to slow down.
func TestRates(t *testing.T) {
	for _, kind := range []cdn.Kind{cdn.Tag, cdn.All} {
		synctest.Test(t, func(t *testing.T) {
			f, s := open(t)
			form := f.Features().Forms[kind]
			var values []string
			if kind == cdn.Tag {
				values = numbered(form.MaxItems, "i%d")
			}
			rate, cost := form.Rates[0], float64(max(1, len(values)))
			left := rate.Burst
			for start := time.Now(); time.Since(start) < 90*time.Minute; {
				if left < cost {
					time.Sleep(time.Duration((cost - left) / rate.PerSecond * float64(time.Second)))
					left = cost
				}
				left -= cost
				if _, err := f.Purge(t.Context(), cdn.Batch{Kind: kind, Values: values}); err != nil {
					t.Fatalf("%s after %v: %v", kind, time.Since(start), err)
				}
			}
			if f := s.Faults(); len(f) > 0 {
				t.Error(f)
			}
		})
	}
}

func TestTooFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s := open(t)
		var err error
		n := 0
		for ; err == nil && n < 2000; n++ {
			_, err = f.Purge(t.Context(), cdn.Batch{Kind: cdn.All})
		}
		e, ok := errors.AsType[*cdn.Error](err)
		if !ok || n != 1001 || !e.Temporary || e.RetryAfter < 59*time.Minute || !strings.Contains(e.Reason, "hourly rate limit") {
			t.Fatalf("call %d: %#v", n, err)
		}
		time.Sleep(e.RetryAfter)
		if _, err := f.Purge(t.Context(), cdn.Batch{Kind: cdn.All}); err != nil {
			t.Error(err)
		}
		if f := s.Faults(); len(f) > 0 {
			t.Error(f)
		}
	})
}

func TestNew(t *testing.T) {
	for _, c := range []struct {
		service, token string
		o              *fastly.Options
		want           string
	}{
		{"", token, nil, "service is missing"},
		{service, "", nil, "token is missing"},
		{service, token, &fastly.Options{API: "/api"}, "Options.API"},
	} {
		_, err := fastly.New(c.service, c.token, c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), token) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	if _, err := fastly.New(service, token, nil); err != nil {
		t.Error(err)
	}
}

func TestAnotherAPI(t *testing.T) {
	var got string
	c, err := fastly.New(service, token, &fastly.Options{API: "http://127.0.0.1:9/base/", Client: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		got = r.URL.String()
		return nil, errors.New("no network")
	})}})
	if err != nil {
		t.Fatal(err)
	}
	c.Purge(t.Context(), cdn.Batch{Kind: cdn.All})
	if want := "http://127.0.0.1:9/base/service/" + service + "/purge_all"; got != want {
		t.Errorf("asked %q, want %q", got, want)
	}
}

// TestPlantedMistakes holds the stand-in to its word: each of these requests but the last has one thing wrong.
func TestPlantedMistakes(t *testing.T) {
	ask := `{"surrogate_keys":["a"]}`
	long := strings.Join(numbered(257, "i%d"), " ")
	type h = map[string]string
	for _, c := range []struct {
		name, method, url string
		header            h // "-" removes
		body              string
		fine              bool
	}{
		{name: "another path", method: "POST", url: here + "/purges", body: ask},
		{name: "another service", method: "POST", url: "https://api.fastly.com/service/other/purge", body: ask},
		{name: "another host", method: "POST", url: "https://www.fastly.com/service/" + service + "/purge", body: ask},
		{name: "plain http", method: "POST", url: "http://api.fastly.com/service/" + service + "/purge", body: ask},
		{name: "another method", method: "PURGE", url: here + "/purge", body: ask},
		{name: "no token", method: "POST", url: here + "/purge", header: h{"Fastly-Key": "-"}, body: ask},
		{name: "another token", method: "POST", url: here + "/purge", header: h{"Fastly-Key": "other"}, body: ask},
		{name: "a token in another header", method: "POST", url: here + "/purge", header: h{"Fastly-Key": "-", "Authorization": "Bearer " + token}, body: ask},
		{name: "another content type", method: "POST", url: here + "/purge", header: h{"Content-Type": "application/x-www-form-urlencoded"}, body: ask},
		{name: "an unknown field", method: "POST", url: here + "/purge", body: `{"surrogate_keys":["a"],"soft":true}`},
		{name: "another field", method: "POST", url: here + "/purge", body: `{"keys":["a"]}`},
		{name: "no keys", method: "POST", url: here + "/purge", body: `{"surrogate_keys":[]}`},
		{name: "257 keys", method: "POST", url: here + "/purge", body: `{"surrogate_keys":["` + strings.ReplaceAll(long, " ", `","`) + `"]}`},
		{name: "257 keys in the header", method: "POST", url: here + "/purge", header: h{"Surrogate-Key": long}},
		{name: "keys in both", method: "POST", url: here + "/purge", header: h{"Surrogate-Key": "a"}, body: ask},
		{name: "keys parted by commas", method: "POST", url: here + "/purge", header: h{"Surrogate-Key": "a,b"}},
		{name: "keys parted by two spaces", method: "POST", url: here + "/purge", header: h{"Surrogate-Key": "a  b"}},
		{name: "keys over 16 KB", method: "POST", url: here + "/purge", header: h{"Surrogate-Key": strings.Join(numbered(20, strings.Repeat("a", 1000)+"%d"), " ")}},
		{name: "two keys in one, with a space", method: "POST", url: here + "/purge", body: `{"surrogate_keys":["a b"]}`},
		{name: "two keys in one, with a comma", method: "POST", url: here + "/purge", body: `{"surrogate_keys":["a,b"]}`},
		{name: "a key over 1,024", method: "POST", url: here + "/purge", body: `{"surrogate_keys":["` + strings.Repeat("a", 1025) + `"]}`},
		{name: "a key twice", method: "POST", url: here + "/purge", body: `{"surrogate_keys":["a","a"]}`},
		{name: "softly, with a doubtful value", method: "POST", url: here + "/purge", header: h{"Fastly-Soft-Purge": "0"}, body: ask},
		{name: "everything, softly", method: "POST", url: here + "/purge_all", header: h{"Fastly-Soft-Purge": "1"}},
		{name: "everything, with a body", method: "POST", url: here + "/purge_all", body: ask},
		{name: "everything, with keys", method: "POST", url: here + "/purge_all", header: h{"Surrogate-Key": "a"}},
		{name: "everything, with a query", method: "POST", url: here + "/purge_all?soft=1"},
		{name: "a URL with its scheme", method: "POST", url: "https://api.fastly.com/purge/https://x.example/a"},
		{name: "a URL without a host", method: "POST", url: "https://api.fastly.com/purge//a.jpg"},
		{name: "a URL that is a path", method: "POST", url: "https://api.fastly.com/purge/photos/a.jpg"},
		{name: "a URL with a wildcard", method: "POST", url: "https://api.fastly.com/purge/x.example/*"},
		{name: "a key with a slash", method: "POST", url: here + "/purge/a/b"},

		{name: "keys in the header", method: "POST", url: here + "/purge", header: h{"Surrogate-Key": "a b", "Content-Type": "-"}, fine: true},
		{name: "one key", method: "POST", url: here + "/purge/a", header: h{"Fastly-Soft-Purge": "1", "Content-Type": "-"}, fine: true},
	} {
		s := &cdntest.Fastly{Service: service, Token: token}
		r, err := http.NewRequest(c.method, c.url, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Fastly-Key", token)
		r.Header.Set("Content-Type", "application/json")
		for k, v := range c.header {
			if r.Header.Del(k); v != "-" {
				r.Header.Set(k, v)
			}
		}
		resp, err := cdntest.Client(s).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if faults := s.Faults(); (len(faults) == 0) != c.fine {
			t.Errorf("%s: answered %d, %v", c.name, resp.StatusCode, faults)
		}
	}
}
