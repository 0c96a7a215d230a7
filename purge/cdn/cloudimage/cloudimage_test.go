package cloudimage_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/purge/cdn/cdntest"
	"github.com/imagecdn/imagecdn/purge/cdn/cloudimage"
)

const key = "c1-secret-0123456789"

func standIn() *cdntest.Cloudimage {
	return &cdntest.Cloudimage{Key: key, Hosts: []string{"www.example.com", "_shop_"}}
}

func open(t *testing.T, s http.Handler) *cloudimage.CDN {
	t.Helper()
	c, err := cloudimage.New(key, &cloudimage.Options{Client: cdntest.Client(s)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const base = "https://token.cloudimg.io/www.example.com/img"

func urls(values ...string) cdn.Batch { return cdn.Batch{Kind: cdn.URL, Values: values} }

func Example() {
	s := standIn() // in place of https://api.cloudimage.com
	c, err := cloudimage.New(key, &cloudimage.Options{Client: cdntest.Client(s)})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	receipt, err := c.Purge(ctx, cdn.Batch{Kind: cdn.URL, Values: []string{base + "/photos/cat.jpg"}})
	fmt.Println(receipt.ID, err)
	fmt.Println(c.Confirmed(ctx, receipt))
	fmt.Println(s.Purged("url"))
	// Output:
	// 4fc96d31-9815-4021-830a-000000000001 <nil>
	// true <nil>
	// [/www.example.com/img/photos/cat.jpg]
}

func TestFeatures(t *testing.T) {
	want := cdn.Features{Forms: map[cdn.Kind]cdn.Form{cdn.URL: {MaxItems: 15, Query: true}, cdn.All: {}}}
	if got := open(t, standIn()).Features(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if _, err := cloudimage.New("", nil); err == nil {
		t.Error("no key is taken")
	}
}

func TestPurge(t *testing.T) {
	var many []string
	for i := range 15 {
		many = append(many, fmt.Sprintf("%s/photos/%d.jpg", base, i))
	}
	for _, tt := range []struct {
		what  string
		old   bool
		batch cdn.Batch
		sent  []string
	}{
		{"an image", false, urls(base + "/photos/cat.jpg"), []string{"/www.example.com/img/photos/cat.jpg"}},
		{"an alias", false, urls("https://token.cloudimg.io/_shop_/a/cat.jpg"), []string{"/_shop_/a/cat.jpg"}},
		{"an old token", true, urls("https://token.cloudimg.io/v7/www.example.com/img/photos/cat.jpg"), []string{"/v7/www.example.com/img/photos/cat.jpg"}},
		{"with a query, twice", false, urls(base+"/a.jpg?w=400", base+"/a.jpg?w=500#x"), []string{"/www.example.com/img/a.jpg"}},
		{"escaped", false, urls(base + "/a%20b/%E7%8C%AB.jpg"), []string{"/www.example.com/img/a%20b/%E7%8C%AB.jpg"}},
		{"as many as there may be", false, urls(many...), nil},
	} {
		s := standIn()
		s.Old = tt.old
		receipt, err := open(t, s).Purge(t.Context(), tt.batch)
		if err != nil || receipt.ID == "" || receipt.Complete || receipt.Failed != nil {
			t.Errorf("%s: %+v, %v", tt.what, receipt, err)
		}
		if got := s.Purged("url"); tt.sent != nil && !slices.Equal(got, tt.sent) || tt.sent == nil && len(got) != 15 {
			t.Errorf("%s: %q", tt.what, got)
		}
		if faults := s.Faults(); faults != nil {
			t.Errorf("%s: %q", tt.what, faults)
		}
	}

	s := standIn()
	c := open(t, s)
	if receipt, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.All}); err != nil || receipt.ID == "" || len(s.Purged("all")) != 1 || s.Faults() != nil {
		t.Errorf("everything: %+v, %v, %q", receipt, err, s.Faults())
	} else if done, err := c.Confirmed(t.Context(), receipt); !done || err != nil {
		t.Error(done, err)
	}
	receipt, err := c.Purge(t.Context(), urls("/photos/cat.jpg", base+"/cat.jpg", "https://token.cloudimg.io/"))
	if want := []string{"/photos/cat.jpg", "https://token.cloudimg.io/"}; err != nil || len(receipt.Failed) != 2 ||
		receipt.Failed[0].Value != want[0] || receipt.Failed[1].Value != want[1] || receipt.ID == "" {
		t.Errorf("%+v, %v", receipt, err)
	}
	calls := len(s.Calls())
	if receipt, err := c.Purge(t.Context(), urls("cat.jpg")); err != nil || len(receipt.Failed) != 1 || len(s.Calls()) != calls {
		t.Errorf("%+v, %v", receipt, err)
	}
	for _, b := range []cdn.Batch{
		urls(), urls(append(many, base+"/16.jpg")...), {Kind: cdn.Tag, Values: []string{"a"}}, {Kind: cdn.All, Soft: true},
	} {
		if _, err := c.Purge(t.Context(), b); err == nil {
			t.Errorf("%+v is taken", b)
		}
	}
}

// A purge is confirmed when it is done, and not before.
func TestConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := standIn()
		s.Takes = time.Minute
		c := open(t, s)
		receipt, err := c.Purge(t.Context(), urls(base+"/a.jpg", base+"/b.jpg"))
		if err != nil {
			t.Fatal(err)
		}
		for range 4 {
			if done, err := c.Confirmed(t.Context(), receipt); done || err != nil {
				t.Errorf("%v: %v, %v", time.Now(), done, err)
			}
			time.Sleep(15 * time.Second)
		}
		if done, err := c.Confirmed(t.Context(), receipt); !done || err != nil {
			t.Error(done, err)
		}
		if faults := s.Faults(); faults != nil {
			t.Error(faults)
		}

		for ends, words := range map[string]string{
			"ERROR": "ended as ERROR", "ERROR_CDN_NODE": "ended as ERROR_CDN_NODE",
			"": "ended as DONE; failed: /www.example.com/img/b.jpg: node 3 is away",
		} {
			s.Ends, s.Failed = ends, map[string]string{"/www.example.com/img/b.jpg": "node 3 is away"}
			done, err := c.Confirmed(t.Context(), receipt)
			if e, ok := errors.AsType[*cdn.Error](err); done || !ok || e.Temporary || !strings.Contains(e.Reason, words) {
				t.Errorf("%q: %v, %#v", ends, done, err)
			}
		}

		if _, err := c.Confirmed(t.Context(), cdn.Receipt{ID: "a/b?c"}); err == nil || !strings.Contains(err.Error(), "404: there is no invalidation") {
			t.Error(err)
		}
		if _, err := c.Confirmed(t.Context(), cdn.Receipt{}); err == nil {
			t.Error("a receipt without an ID is asked about")
		}
		s.Fail(1, 500, nil, "x")
		if _, err := c.Confirmed(t.Context(), receipt); err == nil || !err.(*cdn.Error).Temporary {
			t.Error(err)
		}
	})
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		what      string
		prepare   func(*cdntest.Cloudimage)
		status    int
		temporary bool
		words     string
	}{
		{"a wrong key", func(s *cdntest.Cloudimage) { s.Key = "another" }, 401, false, "the API key is not valid"},
		{"another host", func(s *cdntest.Cloudimage) { s.Hosts = nil }, 400, false, "begins with neither a host nor an alias"},
		{"an old token", func(s *cdntest.Cloudimage) { s.Old = true }, 400, false, "has /v7"},
		{"too fast", func(s *cdntest.Cloudimage) {
			s.Fail(1, 429, http.Header{"Retry-After": {"7"}}, `{"status":"error","hint":"slow down"}`)
		}, 429, true, "slow down"},
		{"a failure", func(s *cdntest.Cloudimage) { s.Fail(1, 502, nil, "<html>"+key) }, 502, true, "<html>…"},
		{"an error in a 200", func(s *cdntest.Cloudimage) { s.Fail(1, 200, nil, `{"status":"error","msg":"not now"}`) }, 200, false, "not now"},
		{"no invalidation", func(s *cdntest.Cloudimage) { s.Fail(1, 201, nil, `{"status":"success"}`) }, 201, true, "has no invalidation"},
		{"a cut answer", func(s *cdntest.Cloudimage) { s.Fail(1, 201, nil, `{"status":"succ`) }, 201, true, "is not that of the API"},
	} {
		s := standIn()
		tt.prepare(s)
		_, err := open(t, s).Purge(t.Context(), urls(base+"/cat.jpg"))
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
	const good = `{"scope":"original","urls":["/www.example.com/cat.jpg"]}`
	swap := func(with string) string { return strings.Replace(good, "/www.example.com/cat.jpg", with, 1) }
	many := strings.Repeat(`"/www.example.com/cat.jpg",`, 16)
	for _, tt := range []struct {
		what, method, path, contentType, key, body string
		status                                     int
	}{
		{"nothing", "POST", "/invalidate", "application/json", key, good, 201},
		{"another path", "POST", "/invalidations", "application/json", key, good, 404},
		{"a query", "POST", "/invalidate?x", "application/json", key, good, 404},
		{"another method", "PUT", "/invalidate", "application/json", key, good, 405},
		{"asked with POST", "POST", "/invalidate/4fc96d31-9815-4021-830a-000000000001", "application/json", key, good, 405},
		{"of nothing", "GET", "/invalidate/4fc96d31-9815-4021-830a-000000000001", "application/json", key, "", 404},
		{"no key", "POST", "/invalidate", "application/json", "", good, 401},
		{"a wrong key", "POST", "/invalidate", "application/json", "Bearer " + key, good, 401},
		{"a form", "POST", "/invalidate", "application/x-www-form-urlencoded", key, good, 415},
		{"no type", "POST", "/invalidate", "", key, good, 415},
		{"an unknown field", "POST", "/invalidate", "application/json", key, strings.Replace(good, `"urls"`, `"paths"`, 1), 400},
		{"two bodies", "POST", "/invalidate", "application/json", key, good + good, 400},
		{"no scope", "POST", "/invalidate", "application/json", key, `{"urls":["/www.example.com/cat.jpg"]}`, 400},
		{"the withdrawn scope", "POST", "/invalidate", "application/json", key, strings.Replace(good, "original", "urls", 1), 400},
		{"everything and paths", "POST", "/invalidate", "application/json", key, strings.Replace(good, "original", "all", 1), 400},
		{"no paths", "POST", "/invalidate", "application/json", key, `{"scope":"original","urls":[]}`, 400},
		{"too many", "POST", "/invalidate", "application/json", key, `{"scope":"original","urls":[` + strings.TrimSuffix(many, ",") + `]}`, 400},
		{"twice", "POST", "/invalidate", "application/json", key, swap(`/www.example.com/cat.jpg","/www.example.com/cat.jpg`), 201},
		{"an absolute URL", "POST", "/invalidate", "application/json", key, swap("https://token.cloudimg.io/www.example.com/cat.jpg"), 400},
		{"no slash", "POST", "/invalidate", "application/json", key, swap("www.example.com/cat.jpg"), 400},
		{"parameters", "POST", "/invalidate", "application/json", key, swap("/www.example.com/cat.jpg?w=500"), 400},
		{"Cloudimage's host", "POST", "/invalidate", "application/json", key, swap("/token.cloudimg.io/www.example.com/cat.jpg"), 400},
		{"an old path", "POST", "/invalidate", "application/json", key, swap("/v7/www.example.com/cat.jpg"), 400},
		{"another host", "POST", "/invalidate", "application/json", key, swap("/example.com/cat.jpg"), 400},
		{"a wildcard", "POST", "/invalidate", "application/json", key, swap("/www.example.com/*"), 400},
		{"no image", "POST", "/invalidate", "application/json", key, swap("/www.example.com"), 400},
	} {
		s := standIn()
		r, _ := http.NewRequestWithContext(t.Context(), tt.method, "https://api.cloudimage.com"+tt.path, strings.NewReader(tt.body))
		r.Header = http.Header{"Content-Type": {tt.contentType}, "X-Client-Key": {tt.key}}
		resp, err := cdntest.Client(s).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.status || (len(s.Faults()) == 0) != (tt.what == "nothing") {
			t.Errorf("%s: %s, %q", tt.what, resp.Status, s.Faults())
		}
	}
	s := standIn()
	resp, err := cdntest.Client(s).Post("https://cloudimage.com/invalidate", "application/json", strings.NewReader(good))
	if err != nil || resp.StatusCode != 404 || s.Faults() == nil {
		t.Error(err, resp.Status)
	}
}
