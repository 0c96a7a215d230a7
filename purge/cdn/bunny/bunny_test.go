package bunny_test

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
	"github.com/imagecdn/imagecdn/purge/cdn/bunny"
	"github.com/imagecdn/imagecdn/purge/cdn/cdntest"
)

const (
	zone = "1234567"
	key  = "a-key-that-nobody-sees"
)

var _ cdn.CDN = (*bunny.CDN)(nil)

func Example() {
	b, err := bunny.New("1234567", "key", &bunny.Options{
		Client: cdntest.Client(&cdntest.Bunny{Zone: "1234567", Key: "key"}), // for the example
	})
	if err != nil {
		log.Fatal(err)
	}
	receipt, err := b.Purge(context.Background(), cdn.Batch{Kind: cdn.URL, Values: []string{"https://images.example.com/cat.jpg?w=300"}})
	fmt.Println(receipt.Complete, err)
	// Output: true <nil>
}

func open(t *testing.T) (*bunny.CDN, *cdntest.Bunny) {
	t.Helper()
	s := &cdntest.Bunny{Zone: zone, Key: key}
	c, err := bunny.New(zone, key, &bunny.Options{Client: cdntest.Client(s)})
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

func TestPurge(t *testing.T) {
	for _, c := range []struct {
		name     string
		kind     cdn.Kind
		value    string
		sent     string
		complete bool
	}{
		{"a tag", cdn.Tag, "iabc", "iabc", false},
		{"a tag that JSON escapes", cdn.Tag, `<a>&"\`, `<a>&"\`, false},
		{"a URL", cdn.URL, "https://www.example.com/img/a%20b.jpg?w=1&t=%2F+c", "https://www.example.com/img/a%20b.jpg?w=1&t=%2F+c", true},
		{"a URL that ends with a slash", cdn.URL, "https://www.example.com/img/", "https://www.example.com/img/", true},
		{"a URL whose path ends with a slash", cdn.URL, "https://www.example.com/img/?w=1", "https://www.example.com/img/?w=1", true},
		{"a prefix", cdn.Prefix, "https://www.example.com/img/cat.jpg", "https://www.example.com/img/cat.jpg*", true},
		{"a folder", cdn.Prefix, "https://www.example.com/img/", "https://www.example.com/img/*", true},
		{"everything", cdn.All, "", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, s := open(t)
			batch := cdn.Batch{Kind: c.kind}
			if c.kind != cdn.All {
				batch.Values = []string{c.value}
			}
			receipt, err := b.Purge(t.Context(), batch)
			if err != nil || len(receipt.Failed) > 0 || receipt.Complete != c.complete {
				t.Errorf("%+v, %v", receipt, err)
			}
			if got := s.Purged(string(c.kind)); !slices.Equal(got, []string{c.sent}) {
				t.Errorf("purged %q, want %q", got, c.sent)
			}
			if calls := s.Calls(); len(calls) != 1 || c.complete && !strings.Contains(calls[0].Path, "async=false") {
				t.Errorf("%+v", calls)
			}
			if f := s.Faults(); len(f) > 0 {
				t.Error(f)
			}
		})
	}
}

// TestNeverTheWholeZoneByMistake: a purge without a tag is one of everything.
func TestNeverTheWholeZoneByMistake(t *testing.T) {
	b, s := open(t)
	for _, batch := range []cdn.Batch{
		{Kind: cdn.Tag, Values: []string{""}},
		{Kind: cdn.Tag, Values: []string{" "}},
		{Kind: cdn.Tag, Values: []string{"a,b"}},
		{Kind: cdn.Tag, Values: []string{"ü"}},
		{Kind: cdn.Tag, Values: []string{strings.Repeat("a", 1025)}},
		{Kind: cdn.URL, Values: []string{""}},
		{Kind: cdn.URL, Values: []string{"/a.jpg"}},
		{Kind: cdn.Prefix, Values: []string{"www.example.com/"}},
		{Kind: cdn.Prefix, Values: []string{"*"}},
	} {
		receipt, err := b.Purge(t.Context(), batch)
		if err != nil || len(receipt.Failed) != 1 || receipt.Failed[0].Value != batch.Values[0] || receipt.Failed[0].Temporary {
			t.Errorf("%q: %+v, %v", batch.Values, receipt, err)
		}
	}
	for _, batch := range []cdn.Batch{
		{Kind: cdn.Tag},
		{Kind: cdn.Tag, Values: []string{"a", "b"}},
		{Kind: cdn.URL, Values: []string{"https://x.example/a", "https://x.example/b"}},
		{Kind: cdn.All, Values: []string{"a"}},
		{Kind: cdn.All, Soft: true},
	} {
		_, err := b.Purge(t.Context(), batch)
		if e, ok := errors.AsType[*cdn.Error](err); !ok || e.Temporary {
			t.Errorf("%+v: %v", batch, err)
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
		{400, nil, `{"ErrorKey":"purge.url","Field":"Url","Message":"The URL is invalid"}`, "The URL is invalid (Url)", false, 0},
		{401, nil, `{"Message":"Authorization has been denied for this request."}`, "Authorization has been denied for this request.", false, 0},
		{401, nil, `{"Message":"` + key + ` is not a key"}`, "… is not a key", false, 0},
		{404, nil, `{"ErrorKey":"pullzone.not_found","Field":"PullZone","Message":"The requested Pull Zone was not found"}`, "was not found (PullZone)", false, 0},
		{429, http.Header{"Retry-After": {"2"}}, `{"Message":"Too many"}`, "Too many", true, 2 * time.Second},
		{500, nil, "<html>\noops", "<html> oops", true, 0},
	} {
		for _, batch := range []cdn.Batch{{Kind: cdn.Tag, Values: []string{"a"}}, {Kind: cdn.URL, Values: []string{"https://x.example/a"}}, {Kind: cdn.All}} {
			b, s := open(t)
			s.Fail(1, c.status, c.header, c.body)
			_, err := b.Purge(t.Context(), batch)
			e, ok := errors.AsType[*cdn.Error](err)
			if !ok || e.Status != c.status || !strings.Contains(e.Reason, c.reason) || e.Temporary != c.temporary || e.RetryAfter != c.retryAfter {
				t.Errorf("%s: %d %s: %#v", batch.Kind, c.status, c.body, err)
			}
			if strings.Contains(err.Error(), key) {
				t.Errorf("%q", err)
			}
		}
	}
	b, s := open(t)
	s.PermaCache = true
	_, err := b.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{"a"}})
	if e, ok := errors.AsType[*cdn.Error](err); !ok || e.Temporary || !strings.Contains(e.Reason, "Perma-Cache") {
		t.Errorf("Perma-Cache: %v", err)
	}
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
			return &http.Response{StatusCode: 200, Body: io.NopCloser(io.MultiReader(strings.NewReader("a"), cut{})), Request: r}, nil
		}},
		{"a dead connection", func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }},
	} {
		b, err := bunny.New(zone, key, &bunny.Options{Client: &http.Client{Transport: c.next}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.Purge(t.Context(), cdn.Batch{Kind: cdn.All})
		if e, ok := errors.AsType[*cdn.Error](err); !ok || e.Status != 0 || !e.Temporary {
			t.Errorf("%s: %#v", c.name, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		b, s := open(t)
		s.Hang(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := b.Purge(ctx, cdn.Batch{Kind: cdn.All}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// TestRates makes calls as fast as Features allows, of all kinds that share a limit, and is never told to slow down.
func TestRates(t *testing.T) {
	for _, kinds := range [][]cdn.Kind{{cdn.URL}, {cdn.Tag, cdn.Prefix, cdn.All}} {
		synctest.Test(t, func(t *testing.T) {
			b, s := open(t)
			rate := b.Features().Forms[kinds[0]].Rates[0]
			left := rate.Burst
			for i := range 400 {
				if left < 1 {
					time.Sleep(time.Duration((1 - left) / rate.PerSecond * float64(time.Second)))
					left = 1
				}
				left--
				batch := cdn.Batch{Kind: kinds[i%len(kinds)]}
				if batch.Kind != cdn.All {
					batch.Values = []string{map[bool]string{true: "a", false: "https://x.example/a"}[batch.Kind == cdn.Tag]}
				}
				if b.Features().Forms[batch.Kind].Rates[0] != rate {
					t.Fatalf("%s has a limit of its own", batch.Kind)
				}
				if _, err := b.Purge(t.Context(), batch); err != nil {
					t.Fatalf("%d: %v", i, err)
				}
			}
			if f := s.Faults(); len(f) > 0 {
				t.Error(f)
			}
		})
	}
}

func TestTooFast(t *testing.T) {
	for _, c := range []struct {
		kind cdn.Kind
		n    int
		wait time.Duration
	}{{cdn.URL, 121, time.Second}, {cdn.Prefix, 21, 2 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			b, s := open(t)
			batch := cdn.Batch{Kind: c.kind, Values: []string{"https://x.example/a"}}
			var err error
			n := 0
			for ; err == nil && n < 1000; n++ {
				_, err = b.Purge(t.Context(), batch)
			}
			e, ok := errors.AsType[*cdn.Error](err)
			if !ok || n != c.n || !e.Temporary || e.RetryAfter != c.wait {
				t.Fatalf("call %d: %#v", n, err)
			}
			time.Sleep(e.RetryAfter)
			if _, err := b.Purge(t.Context(), batch); err != nil {
				t.Error(err)
			}
			if f := s.Faults(); len(f) > 0 {
				t.Error(f)
			}
		})
	}
}

func TestNew(t *testing.T) {
	for _, c := range []struct {
		zone, key string
		o         *bunny.Options
		want      string
	}{
		{"", key, nil, "zone is missing"},
		{zone, "", nil, "key is missing"},
		{"my-zone", key, nil, `"my-zone"`},
		{"1/../2", key, nil, "number"},
		{zone, key, &bunny.Options{API: "https://"}, "Options.API"},
	} {
		_, err := bunny.New(c.zone, c.key, c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), key) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	if _, err := bunny.New(zone, key, nil); err != nil {
		t.Error(err)
	}
}

func TestAnotherAPI(t *testing.T) {
	var got string
	c, err := bunny.New(zone, key, &bunny.Options{API: "http://127.0.0.1:9/base/", Client: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		got = r.URL.String()
		return nil, errors.New("no network")
	})}})
	if err != nil {
		t.Fatal(err)
	}
	c.Purge(t.Context(), cdn.Batch{Kind: cdn.All})
	if want := "http://127.0.0.1:9/base/pullzone/" + zone + "/purgeCache"; got != want {
		t.Errorf("asked %q, want %q", got, want)
	}
}

// TestPlantedMistakes holds the stand-in to its word: each of these requests but the last has one thing wrong.
func TestPlantedMistakes(t *testing.T) {
	const (
		api  = "https://api.bunny.net"
		here = api + "/pullzone/" + zone + "/purgeCache"
	)
	for _, c := range []struct {
		name, method, url, key, contentType, body string
		fine                                      bool
	}{
		{name: "another path", method: "POST", url: api + "/purges?url=https://x.example/a"},
		{name: "another path of a zone", method: "POST", url: api + "/pullzone/" + zone + "/purge"},
		{name: "another zone", method: "POST", url: api + "/pullzone/7/purgeCache"},
		{name: "another host", method: "POST", url: "https://bunnycdn.com/purge?url=https://x.example/a"},
		{name: "plain http", method: "POST", url: "http://api.bunny.net/purge?url=https://x.example/a"},
		{name: "another method", method: "GET", url: api + "/purge?url=https://x.example/a"},
		{name: "another method of a zone", method: "DELETE", url: here},
		{name: "no key", method: "POST", url: here, key: "-"},
		{name: "another key", method: "POST", url: here, key: "other"},
		{name: "no URL", method: "POST", url: api + "/purge"},
		{name: "a URL without a scheme", method: "POST", url: api + "/purge?url=x.example/a"},
		{name: "a URL without a host", method: "POST", url: api + "/purge?url=/a"},
		{name: "a URL that is not escaped", method: "POST", url: api + "/purge?url=https://x.example/a?w=1&h=2"},
		{name: "two URLs", method: "POST", url: api + "/purge?url=https://x.example/a&url=https://x.example/b"},
		{name: "an unknown parameter", method: "POST", url: api + "/purge?url=https://x.example/a&soft=true"},
		{name: "a flag that is none", method: "POST", url: api + "/purge?url=https://x.example/a&async=no"},
		{name: "a * inside", method: "POST", url: api + "/purge?url=https://x.example/*/a"},
		{name: "a slash at the end", method: "POST", url: api + "/purge?url=https://x.example/a/"},
		{name: "a body of a URL", method: "POST", url: api + "/purge?url=https://x.example/a", body: "{}"},
		{name: "a query of a zone", method: "POST", url: here + "?CacheTag=a"},
		{name: "an empty tag", method: "POST", url: here, body: `{"CacheTag":""}`},
		{name: "null for a tag", method: "POST", url: here, body: `{"CacheTag":null}`},
		{name: "no tag", method: "POST", url: here, body: `{}`},
		{name: "a tag of another spelling", method: "POST", url: here, body: `{"cacheTag":"a"}`},
		{name: "tags", method: "POST", url: here, body: `{"CacheTag":["a"]}`},
		{name: "an unknown field", method: "POST", url: here, body: `{"CacheTag":"a","Soft":true}`},
		{name: "two tags in one, with a comma", method: "POST", url: here, body: `{"CacheTag":"a,b"}`},
		{name: "two tags in one, with a space", method: "POST", url: here, body: `{"CacheTag":"a b"}`},
		{name: "a tag over 1,024", method: "POST", url: here, body: `{"CacheTag":"` + strings.Repeat("a", 1025) + `"}`},
		{name: "another content type", method: "POST", url: here, contentType: "text/plain", body: `{"CacheTag":"a"}`},

		{name: "with all that there is", method: "POST", url: api + "/purge?url=https%3A%2F%2Fx.example%2Fa%2F%3Fw%3D1%26h%3D2&async=true&exactPath=true", fine: true},
	} {
		s := &cdntest.Bunny{Zone: zone, Key: key}
		r, err := http.NewRequest(c.method, c.url, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		switch c.key {
		case "":
			r.Header.Set("AccessKey", key)
		case "-":
		default:
			r.Header.Set("AccessKey", c.key)
		}
		if c.contentType == "" {
			c.contentType = "application/json"
		}
		r.Header.Set("Content-Type", c.contentType)
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
