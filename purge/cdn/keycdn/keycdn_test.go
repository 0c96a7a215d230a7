package keycdn_test

import (
	"context"
	"encoding/base64"
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
	"github.com/imagecdn/imagecdn/purge/cdn/keycdn"
)

const (
	zone = "12345"
	key  = "sk_prod_nobodySees"
)

var _ cdn.CDN = (*keycdn.CDN)(nil)

func Example() {
	k, err := keycdn.New("12345", "key", &keycdn.Options{
		Client: cdntest.Client(&cdntest.KeyCDN{Zone: "12345", Key: "key"}), // for the example
	})
	if err != nil {
		log.Fatal(err)
	}
	receipt, err := k.Purge(context.Background(), cdn.Batch{Kind: cdn.Tag, Values: []string{"iabc234"}})
	fmt.Println(receipt.After, err)
	// Output: 5s <nil>
}

func open(t *testing.T, tagBytes int) (*keycdn.CDN, *cdntest.KeyCDN) {
	t.Helper()
	s := &cdntest.KeyCDN{Zone: zone, Key: key, TagBytes: tagBytes}
	c, err := keycdn.New(zone, key, &keycdn.Options{Client: cdntest.Client(s), TagBytes: tagBytes})
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

// fill returns as many of values as the limits of a form allow.
func fill(f cdn.Form, values []string) []string {
	n := 0
	for i, v := range values {
		if n += len(v) + f.ItemBytes; i == f.MaxItems || n > f.MaxBytes {
			return values[:i]
		}
	}
	return values
}

func TestPurge(t *testing.T) {
	small, _ := open(t, 0)
	large, _ := open(t, 60_000)
	tag := "i" + strings.Repeat("a", 22) + "%04d" // as long as those of the handler
	for _, c := range []struct {
		name     string
		tagBytes int
		batch    cdn.Batch
		n        int      // of values
		sent     []string // nil: the batch's values
	}{
		{"a tag", 0, cdn.Batch{Kind: cdn.Tag, Values: []string{"iabc"}}, 1, nil},
		{"tags that HTML escapes", 0, cdn.Batch{Kind: cdn.Tag, Values: []string{"<&>&<>&<>", "<&>&<>&<&&>>>>>>"}}, 2, nil},
		{"as many tags as go", 0, cdn.Batch{Kind: cdn.Tag, Values: fill(small.Features().Forms[cdn.Tag], numbered(100, tag))}, 4, nil},
		{"a tag as long as goes", 0, cdn.Batch{Kind: cdn.Tag, Values: []string{strings.Repeat("a", 124)}}, 1, nil},
		{"as many short tags as go", 0, cdn.Batch{Kind: cdn.Tag, Values: fill(small.Features().Forms[cdn.Tag], strings.Split("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", ""))}, 31, nil},
		{"as many tags as go into 60,000 bytes", 60_000, cdn.Batch{Kind: cdn.Tag, Values: fill(large.Features().Forms[cdn.Tag], numbered(5000, tag))}, 1999, nil},
		{"a URL", 0, cdn.Batch{Kind: cdn.URL, Values: []string{"https://www.example.com/img/a%20b.jpg?w=1&h=2"}}, 1, []string{"www.example.com/img/a%20b.jpg?w=1&h=2"}},
		{"a host", 0, cdn.Batch{Kind: cdn.URL, Values: []string{"http://www.example.com"}}, 1, []string{"www.example.com/"}},
		{"as many URLs as go", 0, cdn.Batch{Kind: cdn.URL, Values: fill(small.Features().Forms[cdn.URL], numbered(2000, "https://www.example.com/img/photos/%d.jpg?w=300&h=200&fit=crop&fm=webp"))}, 800, make([]string, 0)},
		{"everything", 0, cdn.Batch{Kind: cdn.All}, 0, []string{""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, s := open(t, c.tagBytes)
			receipt, err := k.Purge(t.Context(), c.batch)
			if err != nil || len(receipt.Failed) > 0 || receipt.After != 5*time.Second || receipt.Complete {
				t.Errorf("%+v, %v", receipt, err)
			}
			switch {
			case c.sent == nil:
				c.sent = c.batch.Values
			case len(c.sent) == 0:
				for _, v := range c.batch.Values {
					c.sent = append(c.sent, strings.TrimPrefix(v, "https://"))
				}
			}
			if got := s.Purged(string(c.batch.Kind)); !slices.Equal(got, c.sent) {
				t.Errorf("purged %.300q, want %.300q", got, c.sent)
			}
			if n := len(c.batch.Values); c.n < 100 && n != c.n || n < c.n {
				t.Errorf("%d values, want %d", n, c.n)
			}
			if f := s.Faults(); len(f) > 0 || len(s.Calls()) != 1 {
				t.Error(f, len(s.Calls()))
			}
		})
	}
}

func TestWhatCannotBePurged(t *testing.T) {
	for _, c := range []struct {
		kind       cdn.Kind
		good, sent string
		bad        []string
	}{
		{cdn.Tag, "a", "a", []string{"", "a b", "ü", `"`, `\`}},
		{cdn.URL, "https://x.example/a", "x.example/a", []string{"/a", "x.example/a", "https:///a", "https://x.example/a#b", `https://x.example/"`}},
	} {
		k, s := open(t, 0)
		receipt, err := k.Purge(t.Context(), cdn.Batch{Kind: c.kind, Values: append([]string{c.good}, c.bad...)})
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
		if _, err := k.Purge(t.Context(), cdn.Batch{Kind: c.kind, Values: c.bad[:1]}); err != nil || len(s.Calls()) != 1 {
			t.Errorf("%s: nothing to send: %v, %d calls", c.kind, err, len(s.Calls()))
		}
		if f := s.Faults(); len(f) > 0 {
			t.Error(f)
		}
	}
	k, s := open(t, 0)
	for _, b := range []cdn.Batch{
		{Kind: cdn.Tag, Values: []string{strings.Repeat("a", 125)}},
		{Kind: cdn.Tag, Values: numbered(5, "i"+strings.Repeat("a", 25)+"%d")},
		{Kind: cdn.URL, Values: numbered(1001, "https://x.example/%d")},
		{Kind: cdn.URL, Values: []string{"https://x.example/" + strings.Repeat("a", 60_000)}},
		{Kind: cdn.Prefix, Values: []string{"https://x.example/"}},
		{Kind: cdn.All, Soft: true},
	} {
		_, err := k.Purge(t.Context(), b)
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
		{400, nil, `{"status":"error","description":"Parameter urls is missing."}`, "Parameter urls is missing.", false, 0},
		{401, nil, `{"status":"error","error_message":"Authentication failed."}`, "Authentication failed.", false, 0},
		{403, nil, `{"status":"error","description":"` + key + ` may not"}`, "… may not", false, 0},
		{413, nil, `{"status":"error","description":"Maximum body size is 64 KB."}`, "Maximum body size", false, 0},
		{429, http.Header{"Retry-After": {"3"}}, `{"status":"error","description":"Rate limit exceeded."}`, "Rate limit exceeded.", true, 3 * time.Second},
		{500, nil, "<html>\noops", "<html> oops", true, 0},
		{200, nil, `{"status":"error","description":"Zone not found."}`, "Zone not found.", false, 0},
		{200, nil, `{}`, "not that of the API", true, 0},
		{200, nil, `<html>`, "not that of the API", true, 0},
	} {
		for _, b := range []cdn.Batch{{Kind: cdn.Tag, Values: []string{"a"}}, {Kind: cdn.URL, Values: []string{"https://x.example/a"}}, {Kind: cdn.All}} {
			k, s := open(t, 0)
			s.Fail(1, c.status, c.header, c.body)
			_, err := k.Purge(t.Context(), b)
			e, ok := errors.AsType[*cdn.Error](err)
			if !ok || e.Status != c.status || !strings.Contains(e.Reason, c.reason) || e.Temporary != c.temporary || e.RetryAfter != c.retryAfter {
				t.Errorf("%s: %d %s: %#v", b.Kind, c.status, c.body, err)
			}
			if strings.Contains(err.Error(), key) {
				t.Errorf("%q", err)
			}
		}
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
			return &http.Response{StatusCode: 200, Body: io.NopCloser(io.MultiReader(strings.NewReader(`{"status":"succ`), cut{})), Request: r}, nil
		}},
		{"a dead connection", func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }},
	} {
		k, err := keycdn.New(zone, key, &keycdn.Options{Client: &http.Client{Transport: c.next}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = k.Purge(t.Context(), cdn.Batch{Kind: cdn.All})
		if e, ok := errors.AsType[*cdn.Error](err); !ok || e.Status != 0 || !e.Temporary {
			t.Errorf("%s: %#v", c.name, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		k, s := open(t, 0)
		s.Hang(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := k.Purge(ctx, cdn.Batch{Kind: cdn.All}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// TestRates makes calls as fast as Features allows, of all kinds, and is never told to slow down.
func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, s := open(t, 0)
		batches := []cdn.Batch{{Kind: cdn.Tag, Values: []string{"a"}}, {Kind: cdn.URL, Values: []string{"https://x.example/a"}}, {Kind: cdn.All}}
		rate := k.Features().Forms[cdn.All].Rates[0]
		left := rate.Burst
		for i := range 600 {
			if left < 1 {
				time.Sleep(time.Duration((1 - left) / rate.PerSecond * float64(time.Second)))
				left = 1
			}
			left--
			b := batches[i%len(batches)]
			if k.Features().Forms[b.Kind].Rates[0] != rate {
				t.Fatalf("%s has a limit of its own", b.Kind)
			}
			if _, err := k.Purge(t.Context(), b); err != nil {
				t.Fatalf("%d: %v", i, err)
			}
		}
		if f := s.Faults(); len(f) > 0 {
			t.Error(f)
		}
	})
}

func TestTooFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, s := open(t, 0)
		var err error
		n := 0
		for ; err == nil && n < 1000; n++ {
			_, err = k.Purge(t.Context(), cdn.Batch{Kind: cdn.All})
		}
		e, ok := errors.AsType[*cdn.Error](err)
		if !ok || n != 61 || e.Status != 429 || !e.Temporary {
			t.Fatalf("call %d: %#v", n, err)
		}
		time.Sleep(time.Minute)
		if _, err := k.Purge(t.Context(), cdn.Batch{Kind: cdn.All}); err != nil {
			t.Error(err)
		}
		if f := s.Faults(); len(f) > 0 {
			t.Error(f)
		}
	})
}

func TestNew(t *testing.T) {
	for _, c := range []struct {
		zone, key string
		o         *keycdn.Options
		want      string
	}{
		{"", key, nil, "zone is missing"},
		{zone, "", nil, "key is missing"},
		{"my-zone", key, nil, `"my-zone"`},
		{zone, key, &keycdn.Options{API: "api.keycdn.com"}, "Options.API"},
		{zone, key, &keycdn.Options{TagBytes: 60_001}, "Options.TagBytes"},
		{zone, key, &keycdn.Options{TagBytes: -1}, "Options.TagBytes"},
	} {
		_, err := keycdn.New(c.zone, c.key, c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), key) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	if _, err := keycdn.New(zone, key, nil); err != nil {
		t.Error(err)
	}
}

func TestAnotherAPI(t *testing.T) {
	var got string
	c, err := keycdn.New(zone, key, &keycdn.Options{API: "http://127.0.0.1:9/base/", Client: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		got = r.URL.String()
		return nil, errors.New("no network")
	})}})
	if err != nil {
		t.Fatal(err)
	}
	c.Purge(t.Context(), cdn.Batch{Kind: cdn.All})
	if want := "http://127.0.0.1:9/base/zones/purge/" + zone + ".json"; got != want {
		t.Errorf("asked %q, want %q", got, want)
	}
}

// TestPlantedMistakes holds the stand-in to its word: each of these requests but the last two has one thing wrong.
func TestPlantedMistakes(t *testing.T) {
	const (
		api  = "https://api.keycdn.com/zones/"
		tags = api + "purgetag/" + zone + ".json"
		urls = api + "purgeurl/" + zone + ".json"
		all  = api + "purge/" + zone + ".json"
		ask  = `{"tags":["a"]}`
	)
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, c := range []struct {
		name, method, url, auth, contentType, body string
		fine                                       bool
	}{
		{name: "another path", method: "DELETE", url: api + "purgetags/" + zone + ".json", body: ask},
		{name: "a path without .json", method: "DELETE", url: api + "purgetag/" + zone, body: ask},
		{name: "another zone", method: "DELETE", url: api + "purgetag/7.json", body: ask},
		{name: "another host", method: "DELETE", url: "https://www.keycdn.com/zones/purgetag/" + zone + ".json", body: ask},
		{name: "plain http", method: "DELETE", url: "http://api.keycdn.com/zones/purgetag/" + zone + ".json", body: ask},
		{name: "another method for tags", method: "POST", url: tags, body: ask},
		{name: "another method for the zone", method: "DELETE", url: all},
		{name: "a query", method: "GET", url: all + "?tags=a"},
		{name: "no key", method: "DELETE", url: tags, auth: "-", body: ask},
		{name: "another key", method: "DELETE", url: tags, auth: basic("other:"), body: ask},
		{name: "a key without its colon", method: "DELETE", url: tags, auth: basic(key), body: ask},
		{name: "a key as the password", method: "DELETE", url: tags, auth: basic(":" + key), body: ask},
		{name: "a key as a token", method: "DELETE", url: tags, auth: "Bearer " + key, body: ask},
		{name: "another content type", method: "DELETE", url: tags, contentType: "application/x-www-form-urlencoded", body: ask},
		{name: "a form", method: "DELETE", url: tags, body: "tags[]=a"},
		{name: "an unknown field", method: "DELETE", url: tags, body: `{"tags":["a"],"soft":true}`},
		{name: "URLs for tags", method: "DELETE", url: tags, body: `{"urls":["x.example/a"]}`},
		{name: "tags for URLs", method: "DELETE", url: urls, body: ask},
		{name: "a string for a list", method: "DELETE", url: tags, body: `{"tags":"a b"}`},
		{name: "an empty list", method: "DELETE", url: tags, body: `{"tags":[]}`},
		{name: "no body", method: "DELETE", url: tags},
		{name: "two bodies", method: "DELETE", url: tags, body: ask + ask},
		{name: "an empty tag", method: "DELETE", url: tags, body: `{"tags":[""]}`},
		{name: "two tags in one, with a space", method: "DELETE", url: tags, body: `{"tags":["a b"]}`},
		{name: "two tags in one, with a comma", method: "DELETE", url: tags, body: `{"tags":["a,b"]}`},
		{name: "a tag twice", method: "DELETE", url: tags, body: `{"tags":["a","a"]}`},
		{name: "129 bytes of tags", method: "DELETE", url: tags, body: `{"tags":["` + strings.Repeat("a", 125) + `"]}`},
		{name: "over 64 KB", method: "DELETE", url: urls, body: `{"urls":["x.example/` + strings.Repeat("a", 64_000) + `"]}`},
		{name: "a URL with its scheme", method: "DELETE", url: urls, body: `{"urls":["https://x.example/a"]}`},
		{name: "a URL without a host", method: "DELETE", url: urls, body: `{"urls":["/a.jpg"]}`},
		{name: "a URL that is a path", method: "DELETE", url: urls, body: `{"urls":["photos/a.jpg"]}`},
		{name: "a URL with a wildcard", method: "DELETE", url: urls, body: `{"urls":["x.example/*"]}`},
		{name: "tags for the zone", method: "GET", url: all, body: ask},

		{name: "128 bytes of tags", method: "DELETE", url: tags, body: `{"tags":["` + strings.Repeat("a", 124) + `"]}`, fine: true},
		{name: "everything", method: "GET", url: all, fine: true},
	} {
		s := &cdntest.KeyCDN{Zone: zone, Key: key}
		r, err := http.NewRequest(c.method, c.url, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		switch c.auth {
		case "":
			r.Header.Set("Authorization", basic(key+":"))
		case "-":
		default:
			r.Header.Set("Authorization", c.auth)
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
