package imgix_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/purge/cdn/cdntest"
	"github.com/imagecdn/imagecdn/purge/cdn/imgix"
)

const (
	key    = "ak_secret0123456789"
	source = "5f1a2b3c4d5e6f7a8b9c0d1e"
)

func standIn() *cdntest.Imgix {
	return &cdntest.Imgix{Key: key, Domains: []string{"shop.imgix.net"}, Sources: []string{source}}
}

func open(t *testing.T, s http.Handler, o imgix.Options) *imgix.CDN {
	t.Helper()
	o.Client = cdntest.Client(s)
	c, err := imgix.New(key, &o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func one(u string) cdn.Batch {
	return cdn.Batch{Kind: cdn.URL, Values: []string{u}, ID: "0198c1d2-0000-7000-8000-000000000001"}
}

func Example() {
	s := standIn() // in place of https://api.imgix.com
	c, err := imgix.New(key, &imgix.Options{Client: cdntest.Client(s)})
	if err != nil {
		fmt.Println(err)
		return
	}
	receipt, err := c.Purge(context.Background(), cdn.Batch{Kind: cdn.URL, Values: []string{"https://shop.imgix.net/photos/cat.jpg"}})
	fmt.Println(receipt.ID, err)
	// Output: a794e260-3776-4efe-9878-000000000001 <nil>
}

func TestPurge(t *testing.T) {
	s := standIn()
	c := open(t, s, imgix.Options{})
	for _, tt := range []struct{ given, sent string }{
		{"https://shop.imgix.net/photos/cat.jpg", "https://shop.imgix.net/photos/cat.jpg"},
		{"https://shop.imgix.net/photos/dog%201.jpg?w=400&s=0f", "https://shop.imgix.net/photos/dog%201.jpg"},
		{"https://shop.imgix.net/photos/%E7%8C%AB.jpg?#x", "https://shop.imgix.net/photos/%E7%8C%AB.jpg"},
	} {
		if receipt, err := c.Purge(t.Context(), one(tt.given)); err != nil || receipt.ID == "" || receipt.Complete || receipt.Failed != nil {
			t.Errorf("%s: %+v, %v", tt.given, receipt, err)
		}
		if got := s.Purged("url"); got[len(got)-1] != tt.sent {
			t.Errorf("%s is sent as %s", tt.given, got[len(got)-1])
		}
	}
	if faults := s.Faults(); faults != nil {
		t.Error(faults)
	}
	if _, ok := any(c).(cdn.Confirmer); ok {
		t.Error("imgix tells nobody when a purge is through")
	}
}

// A form is the documented limit, and a purge at its rate is never refused.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := standIn()
		c := open(t, s, imgix.Options{})
		form := c.Features().Forms[cdn.URL]
		if want := (cdn.Form{MaxItems: 1, Query: true, Rates: []cdn.Rate{{Name: "purges", Burst: 10, PerSecond: 10}}}); !reflect.DeepEqual(form, want) {
			t.Errorf("%+v", form)
		}
		if f := c.Features(); len(f.Forms) != 1 || f.Soft || f.Tags != nil {
			t.Errorf("%+v", f)
		}
		for i := range 40 {
			if _, err := c.Purge(t.Context(), one(fmt.Sprintf("https://shop.imgix.net/%d.jpg", i))); err != nil {
				t.Fatal(i, err)
			}
			if i >= 9 {
				time.Sleep(time.Second / 10)
			}
		}
		if faults := s.Faults(); faults != nil {
			t.Error(faults)
		}
		for i := range 11 {
			_, err := c.Purge(t.Context(), one(fmt.Sprintf("https://shop.imgix.net/again%d.jpg", i)))
			if e, ok := errors.AsType[*cdn.Error](err); i == 10 && (!ok || e.Status != 429 || !e.Temporary) {
				t.Error("faster than the rate: ", err)
			}
		}
	})
}

func TestDuplicateIsTaken(t *testing.T) {
	s := standIn()
	c := open(t, s, imgix.Options{})
	for range 2 {
		if receipt, err := c.Purge(t.Context(), one("https://shop.imgix.net/cat.jpg")); err != nil || receipt.Failed != nil {
			t.Error(receipt, err)
		}
	}
	if calls := s.Calls(); calls[0].Status != 200 || calls[1].Status != 409 {
		t.Error(calls)
	}
}

func TestSubImage(t *testing.T) {
	s := standIn()
	c := open(t, s, imgix.Options{SubImage: true, SourceID: source})
	if _, err := c.Purge(t.Context(), one("https://shop.imgix.net/logo.png")); err != nil {
		t.Error(err)
	}
	if faults := s.Faults(); faults != nil {
		t.Error(faults)
	}
	c = open(t, s, imgix.Options{SubImage: true, SourceID: "000000000000000000000000"})
	if _, err := c.Purge(t.Context(), one("https://shop.imgix.net/logo.png")); err == nil || !strings.Contains(err.Error(), "there is no source 000000000000000000000000") {
		t.Error(err)
	}
	for _, o := range []imgix.Options{{SubImage: true}, {SourceID: source}} {
		if _, err := imgix.New(key, &o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	if _, err := imgix.New("", nil); err == nil {
		t.Error("no key is taken")
	}
}

func TestErrors(t *testing.T) {
	const u = "https://shop.imgix.net/cat.jpg"
	for _, tt := range []struct {
		what      string
		prepare   func(*cdntest.Imgix)
		url       string
		status    int
		temporary bool
		words     string
	}{
		{"another domain", nil, "https://other.imgix.net/cat.jpg", 403, false, "Forbidden: the domain other.imgix.net is not of this account"},
		{"a wrong key", func(s *cdntest.Imgix) { s.Key = "ak_other" }, u, 401, false, "the API key is not valid"},
		{"too fast", func(s *cdntest.Imgix) {
			s.Fail(1, 429, http.Header{"Retry-After": {"7"}}, `{"errors":[{"title":"Rate limited"}]}`)
		}, u, 429, true, "Rate limited"},
		{"a failure", func(s *cdntest.Imgix) { s.Fail(1, 503, nil, "down for "+key) }, u, 503, true, "down for …"},
		{"detail alone", func(s *cdntest.Imgix) { s.Fail(1, 400, nil, `{"errors":[{"detail":"no"},{"title":"T","detail":"d"}]}`) }, u, 400, false, "no; T: d"},
		{"errors in a 200", func(s *cdntest.Imgix) { s.Fail(1, 200, nil, `{"errors":[{"detail":"not purged"}]}`) }, u, 200, false, "not purged"},
		{"a page in a 200", func(s *cdntest.Imgix) { s.Fail(1, 200, nil, `<html>`) }, u, 200, true, "the answer is not that of the API: <html>"},
		{"a cut answer", func(s *cdntest.Imgix) { s.Fail(1, 200, nil, `{"data":{"id":"a7`) }, u, 200, true, "the answer is not that of the API"},
	} {
		s := standIn()
		if tt.prepare != nil {
			tt.prepare(s)
		}
		_, err := open(t, s, imgix.Options{}).Purge(t.Context(), one(tt.url))
		e, ok := errors.AsType[*cdn.Error](err)
		if !ok || e.Status != tt.status || e.Temporary != tt.temporary || !strings.Contains(e.Reason, tt.words) {
			t.Errorf("%s: %#v", tt.what, err)
		}
		if err != nil && strings.Contains(err.Error(), key) {
			t.Errorf("%s: the key is in %q", tt.what, err)
		}
		if tt.status == 429 && e.RetryAfter != 7*time.Second {
			t.Errorf("%s: after %v", tt.what, e.RetryAfter)
		}
	}

	c := open(t, standIn(), imgix.Options{})
	for _, b := range []cdn.Batch{
		{Kind: cdn.All}, {Kind: cdn.Tag, Values: []string{"a"}}, {Kind: cdn.URL}, {Kind: cdn.URL, Values: []string{u, u + "2"}},
		{Kind: cdn.URL, Values: []string{u}, Soft: true},
	} {
		if _, err := c.Purge(t.Context(), b); err == nil {
			t.Errorf("%+v is taken", b)
		}
	}
	for _, u := range []string{"shop.imgix.net/cat.jpg", "/cat.jpg", "https://%zz/"} {
		if receipt, err := c.Purge(t.Context(), one(u)); err != nil || len(receipt.Failed) != 1 || receipt.Failed[0].Value != u || receipt.Failed[0].Temporary {
			t.Errorf("%s: %+v, %v", u, receipt, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Purge(ctx, one(u)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// The stand-in finds what the adapter does not do wrong.
func TestPlantedMistakes(t *testing.T) {
	const good = `{"data":{"attributes":{"url":"https://shop.imgix.net/cat.jpg"},"type":"purges"}}`
	for _, tt := range []struct {
		what, method, url, contentType, auth, body string
		status                                     int
	}{
		{"nothing", "POST", "https://api.imgix.com/api/v1/purge", "application/vnd.api+json", "Bearer " + key, good, 200},
		{"another host", "POST", "https://imgix.com/api/v1/purge", "application/vnd.api+json", "Bearer " + key, good, 404},
		{"another path", "POST", "https://api.imgix.com/api/v1/purges", "application/vnd.api+json", "Bearer " + key, good, 404},
		{"a query", "POST", "https://api.imgix.com/api/v1/purge?x", "application/vnd.api+json", "Bearer " + key, good, 404},
		{"another method", "PUT", "https://api.imgix.com/api/v1/purge", "application/vnd.api+json", "Bearer " + key, good, 405},
		{"no key", "POST", "https://api.imgix.com/api/v1/purge", "application/vnd.api+json", "", good, 401},
		{"a wrong key", "POST", "https://api.imgix.com/api/v1/purge", "application/vnd.api+json", "Bearer x", good, 401},
		{"the key alone", "POST", "https://api.imgix.com/api/v1/purge", "application/vnd.api+json", key, good, 401},
		{"JSON", "POST", "https://api.imgix.com/api/v1/purge", "application/json", "Bearer " + key, good, 415},
		{"a parameter", "POST", "https://api.imgix.com/api/v1/purge", "application/vnd.api+json; charset=utf-8", "Bearer " + key, good, 415},
		{"no data", "POST", "https://api.imgix.com/api/v1/purge", "application/vnd.api+json", "Bearer " + key, `{"url":"https://shop.imgix.net/cat.jpg"}`, 400},
		{"an unknown field", "POST", "https://api.imgix.com/api/v1/purge", "application/vnd.api+json", "Bearer " + key, strings.Replace(good, `"url"`, `"x":1,"url"`, 1), 400},
		{"two bodies", "POST", "https://api.imgix.com/api/v1/purge", "application/vnd.api+json", "Bearer " + key, good + good, 400},
		{"another type", "POST", "https://api.imgix.com/api/v1/purge", "application/vnd.api+json", "Bearer " + key, strings.Replace(good, `purges`, `purge`, 1), 400},
		{"no host", "POST", "https://api.imgix.com/api/v1/purge", "application/vnd.api+json", "Bearer " + key, strings.Replace(good, `https://shop.imgix.net`, ``, 1), 400},
		{"no scheme", "POST", "https://api.imgix.com/api/v1/purge", "application/vnd.api+json", "Bearer " + key, strings.Replace(good, `https://`, ``, 1), 400},
		{"no image", "POST", "https://api.imgix.com/api/v1/purge", "application/vnd.api+json", "Bearer " + key, strings.Replace(good, `/cat.jpg`, `/`, 1), 400},
		{"another domain", "POST", "https://api.imgix.com/api/v1/purge", "application/vnd.api+json", "Bearer " + key, strings.Replace(good, `shop.`, `other.`, 1), 403},
		{"parameters", "POST", "https://api.imgix.com/api/v1/purge", "application/vnd.api+json", "Bearer " + key, strings.Replace(good, `cat.jpg`, `cat.jpg?w=4`, 1), 200},
		{"no source", "POST", "https://api.imgix.com/api/v1/purge", "application/vnd.api+json", "Bearer " + key, strings.Replace(good, `"url"`, `"sub_image":true,"url"`, 1), 400},
		{"no sub-image", "POST", "https://api.imgix.com/api/v1/purge", "application/vnd.api+json", "Bearer " + key, strings.Replace(good, `"url"`, `"source_id":"`+source+`","url"`, 1), 400},
	} {
		s := standIn()
		r, _ := http.NewRequestWithContext(t.Context(), tt.method, tt.url, strings.NewReader(tt.body))
		r.Header = http.Header{"Content-Type": {tt.contentType}, "Authorization": {tt.auth}}
		resp, err := cdntest.Client(s).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.status || (len(s.Faults()) == 0) != (tt.what == "nothing") {
			t.Errorf("%s: %s, %q", tt.what, resp.Status, s.Faults())
		}
	}
}
