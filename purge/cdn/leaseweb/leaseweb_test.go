package leaseweb_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/purge/cdn/cdntest"
	"github.com/imagecdn/imagecdn/purge/cdn/leaseweb"
)

const key = "213423-2134234-234234-23424"

func standIn() *cdntest.Leaseweb {
	return &cdntest.Leaseweb{Key: key, Path: "/invalidations", Hosts: []string{"cdn.example.com"}}
}

func open(t *testing.T, s http.Handler, statusPath string) cdn.CDN {
	t.Helper()
	c, err := leaseweb.New(key, &leaseweb.Options{Client: cdntest.Client(s), Path: "/invalidations", StatusPath: statusPath})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func urls(n int) cdn.Batch {
	b := cdn.Batch{Kind: cdn.URL}
	for i := range n {
		b.Values = append(b.Values, fmt.Sprintf("https://cdn.example.com/photos/%d.jpg?w=400", i))
	}
	return b
}

func Example() {
	s := standIn() // in place of https://api.leaseweb.com/cdn/v2
	c, err := leaseweb.New(key, &leaseweb.Options{
		Client: cdntest.Client(s),
		Path:   "/invalidations", StatusPath: "/invalidations/{id}", // as Leaseweb's reference has them
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	receipt, err := c.Purge(ctx, cdn.Batch{Kind: cdn.URL, Values: []string{"https://cdn.example.com/photos/cat.jpg?w=400"}})
	fmt.Println(receipt.ID, err)
	fmt.Println(c.(cdn.Confirmer).Confirmed(ctx, receipt))
	// Output:
	// 9007199254740993 <nil>
	// true <nil>
}

func TestNew(t *testing.T) {
	for _, tt := range []struct {
		key     string
		o       *leaseweb.Options
		problem string
	}{
		{"", &leaseweb.Options{Path: "/x"}, "the API key is missing"},
		{key, nil, "Options.Path is missing"},
		{key, &leaseweb.Options{Path: "x"}, "Options.Path has no leading slash"},
		{key, &leaseweb.Options{Path: "/x", StatusPath: "x/{id}"}, "Options.StatusPath has no leading slash"},
		{key, &leaseweb.Options{Path: "/x", StatusPath: "/x/id"}, "Options.StatusPath has no {id}"},
	} {
		if _, err := leaseweb.New(tt.key, tt.o); err == nil || !strings.Contains(err.Error(), tt.problem) {
			t.Errorf("%+v: %v", tt.o, err)
		}
	}
	if _, ok := open(t, standIn(), "").(cdn.Confirmer); ok {
		t.Error("without a path to ask at, it is a Confirmer")
	}
	if _, ok := open(t, standIn(), "/invalidations/{id}").(cdn.Confirmer); !ok {
		t.Error("with a path to ask at, it is no Confirmer")
	}
}

func TestFeatures(t *testing.T) {
	f := open(t, standIn(), "").Features()
	form := f.Forms[cdn.URL]
	if len(f.Forms) != 1 || form.MaxItems != 75 || form.Query || f.Soft || f.Tags != nil || len(form.Rates) != 1 {
		t.Errorf("%+v", f)
	}
	if r := form.Rates[0]; r.Burst != 1 || r.PerSecond*60 != 1 || r.PerItem {
		t.Errorf("%+v", r)
	}
}

// A minute passes between two purges, and as many URLs as there may be are taken.
func TestPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := standIn()
		c := open(t, s, "")
		for n, b := range []cdn.Batch{urls(1), urls(75), {Kind: cdn.URL, Values: []string{"https://cdn.example.com/a%20b.jpg"}}} {
			before := len(s.Purged("url"))
			if receipt, err := c.Purge(t.Context(), b); err != nil || receipt.ID == "" || receipt.Complete || receipt.Failed != nil {
				t.Errorf("%d: %+v, %v", n, receipt, err)
			}
			if got := s.Purged("url")[before:]; !slices.Equal(got, b.Values) {
				t.Errorf("%d: %q", n, got)
			}
			time.Sleep(time.Minute)
		}
		if faults := s.Faults(); faults != nil {
			t.Error(faults)
		}
		if _, err := c.Purge(t.Context(), urls(1)); err != nil {
			t.Error(err)
		}
		time.Sleep(59 * time.Second)
		_, err := c.Purge(t.Context(), urls(1))
		if e, ok := errors.AsType[*cdn.Error](err); !ok || e.Status != 429 || !e.Temporary {
			t.Error("within a minute: ", err)
		}
	})

	s := standIn()
	c := open(t, s, "")
	receipt, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.URL, Values: []string{"cdn.example.com/a.jpg", "https://cdn.example.com/b.jpg"}})
	if err != nil || len(receipt.Failed) != 1 || receipt.Failed[0].Value != "cdn.example.com/a.jpg" || !slices.Equal(s.Purged("url"), []string{"https://cdn.example.com/b.jpg"}) {
		t.Errorf("%+v, %v", receipt, err)
	}
	if receipt, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.URL, Values: []string{"/a.jpg"}}); err != nil || len(receipt.Failed) != 1 || len(s.Calls()) != 1 {
		t.Errorf("%+v, %v", receipt, err)
	}
	soft := urls(1)
	soft.Soft = true
	for _, b := range []cdn.Batch{urls(0), urls(76), soft, {Kind: cdn.All}, {Kind: cdn.Prefix, Values: []string{"https://cdn.example.com/"}}} {
		if _, err := c.Purge(t.Context(), b); err == nil {
			t.Errorf("%v of %d is taken", b.Kind, len(b.Values))
		}
	}
}

// A purge is confirmed when it is Complete; Error and Expired say that it failed, with what is told of it.
func TestConfirmed(t *testing.T) {
	for _, tt := range []struct {
		ends   string
		failed map[string]string
		words  string
	}{
		{"", nil, ""},
		{"COMPLETE", nil, ""},
		{"Expired", nil, "ended as Expired"},
		{"", map[string]string{"https://cdn.example.com/photos/1.jpg?w=400": "the origin is away"}, "the origin is away"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := standIn()
			s.Takes, s.Ends, s.Failed = 3*time.Minute, tt.ends, tt.failed
			c := open(t, s, "/invalidations/{id}").(cdn.Confirmer)
			receipt, err := c.Purge(t.Context(), urls(2))
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if done, err := c.Confirmed(t.Context(), receipt); done || err != nil {
					t.Error(done, err)
				}
				time.Sleep(time.Minute)
			}
			done, err := c.Confirmed(t.Context(), receipt)
			if tt.words == "" {
				if !done || err != nil {
					t.Error(tt.ends, done, err)
				}
			} else if e, ok := errors.AsType[*cdn.Error](err); done || !ok || e.Temporary || !strings.Contains(e.Reason, tt.words) {
				t.Errorf("%s: %v, %#v", tt.ends, done, err)
			}
			if faults := s.Faults(); faults != nil {
				t.Error(faults)
			}
			if _, err := c.Confirmed(t.Context(), cdn.Receipt{ID: "7"}); err == nil || !strings.Contains(err.Error(), "There is no such invalidation.") {
				t.Error(err)
			}
			if _, err := c.Confirmed(t.Context(), cdn.Receipt{}); err == nil {
				t.Error("a receipt without an ID is asked about")
			}
		})
	}
}

// What is not documented of answers is not needed of them.
func TestAnswersOfOtherForms(t *testing.T) {
	for _, tt := range []struct {
		body, id string
		complete bool
		words    string
	}{
		{``, "", false, ""},
		{`{}`, "", false, ""},
		{`[]`, "", false, ""},
		{`{"success":1234}`, "", false, ""},
		{`{"id":"a-b","status":"PENDING"}`, "a-b", false, ""},
		{`{"id":"a-b","status":5}`, "a-b", false, ""},
		{`{"data":{"id":7,"status":"Complete"}}`, "7", true, ""},
		{`{"invalidation":{"id":8}}`, "8", false, ""},
		{`{"id":9,"status":"Error","why":"x"}`, "", false, `ended as Error: {"id":9`},
		{`<html>` + key, "", false, "is not that of the API: <html>…"},
	} {
		s := standIn()
		s.Fail(1, 200, nil, tt.body)
		receipt, err := open(t, s, "").Purge(t.Context(), urls(1))
		if tt.words != "" {
			if err == nil || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("%s: %v", tt.body, err)
			}
		} else if err != nil || receipt.ID != tt.id || receipt.Complete != tt.complete {
			t.Errorf("%s: %+v, %v", tt.body, receipt, err)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		what      string
		prepare   func(*cdntest.Leaseweb)
		status    int
		temporary bool
		words     string
	}{
		{"a wrong key", func(s *cdntest.Leaseweb) { s.Key = "another" }, 401, false,
			"401: You are not authorized to view this resource. (correlation ID 550e8400-e29b-41d4-a716-446655440000)"},
		{"another path", func(s *cdntest.Leaseweb) { s.Path = "/invalidate" }, 404, false, "there is nothing at this path"},
		{"another host", func(s *cdntest.Leaseweb) { s.Hosts = nil }, 400, false, "is no URL of a distribution"},
		{"for people", func(s *cdntest.Leaseweb) { s.Fail(1, 400, nil, `{"userMessage":"Cannot"}`) }, 400, false, "Cannot"},
		{"too fast", func(s *cdntest.Leaseweb) { s.Fail(1, 429, http.Header{"Retry-After": {"7"}}, "") }, 429, true, ""},
		{"a failure", func(s *cdntest.Leaseweb) { s.Fail(1, 500, nil, "with "+key) }, 500, true, "with …"},
		{"a cut answer", func(s *cdntest.Leaseweb) { s.Fail(1, 202, nil, `{"id":12`) }, 202, true, "is not that of the API"},
	} {
		s := standIn()
		tt.prepare(s)
		_, err := open(t, s, "").Purge(t.Context(), urls(1))
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
}

// The stand-in finds what the adapter does not do wrong.
func TestPlantedMistakes(t *testing.T) {
	const good = `{"urls":["https://cdn.example.com/cat.jpg"]}`
	swap := func(with string) string { return strings.Replace(good, "https://cdn.example.com/cat.jpg", with, 1) }
	var many []string
	for i := range 76 {
		many = append(many, fmt.Sprintf(`"https://cdn.example.com/%d.jpg"`, i))
	}
	for _, tt := range []struct {
		what, method, url, contentType, key, body string
		status                                    int
	}{
		{"nothing", "POST", "https://api.leaseweb.com/cdn/v2/invalidations", "application/json", key, good, 202},
		{"another host", "POST", "https://api.leasewebcdn.com/cdn/v2/invalidations", "application/json", key, good, 404},
		{"another path", "POST", "https://api.leaseweb.com/invalidations", "application/json", key, good, 404},
		{"a query", "POST", "https://api.leaseweb.com/cdn/v2/invalidations?x", "application/json", key, good, 404},
		{"another method", "PUT", "https://api.leaseweb.com/cdn/v2/invalidations", "application/json", key, good, 405},
		{"asked with POST", "POST", "https://api.leaseweb.com/cdn/v2/invalidations/1", "application/json", key, good, 405},
		{"of nothing", "GET", "https://api.leaseweb.com/cdn/v2/invalidations/1", "", key, "", 404},
		{"no key", "POST", "https://api.leaseweb.com/cdn/v2/invalidations", "application/json", "", good, 401},
		{"a wrong key", "POST", "https://api.leaseweb.com/cdn/v2/invalidations", "application/json", "Bearer " + key, good, 401},
		{"a form", "POST", "https://api.leaseweb.com/cdn/v2/invalidations", "application/x-www-form-urlencoded", key, good, 415},
		{"an unknown field", "POST", "https://api.leaseweb.com/cdn/v2/invalidations", "application/json", key, strings.Replace(good, "urls", "files", 1), 400},
		{"two bodies", "POST", "https://api.leaseweb.com/cdn/v2/invalidations", "application/json", key, good + good, 400},
		{"no URLs", "POST", "https://api.leaseweb.com/cdn/v2/invalidations", "application/json", key, `{"urls":[]}`, 400},
		{"too many", "POST", "https://api.leaseweb.com/cdn/v2/invalidations", "application/json", key, `{"urls":[` + strings.Join(many, ",") + `]}`, 400},
		{"twice", "POST", "https://api.leaseweb.com/cdn/v2/invalidations", "application/json", key, swap(`https://cdn.example.com/a.jpg","https://cdn.example.com/a.jpg`), 202},
		{"a path", "POST", "https://api.leaseweb.com/cdn/v2/invalidations", "application/json", key, swap("/cat.jpg"), 400},
		{"no scheme", "POST", "https://api.leaseweb.com/cdn/v2/invalidations", "application/json", key, swap("cdn.example.com/cat.jpg"), 400},
		{"another distribution", "POST", "https://api.leaseweb.com/cdn/v2/invalidations", "application/json", key, swap("https://example.com/cat.jpg"), 400},
		{"a wildcard", "POST", "https://api.leaseweb.com/cdn/v2/invalidations", "application/json", key, swap("https://cdn.example.com/*"), 400},
		{"a fragment", "POST", "https://api.leaseweb.com/cdn/v2/invalidations", "application/json", key, swap("https://cdn.example.com/a#b"), 400},
	} {
		s := standIn()
		r, _ := http.NewRequestWithContext(t.Context(), tt.method, tt.url, strings.NewReader(tt.body))
		r.Header = http.Header{"Content-Type": {tt.contentType}, "X-Lsw-Auth": {tt.key}}
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
