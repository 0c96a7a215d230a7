package souin_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/purge/cdn/cdntest"
	"github.com/imagecdn/imagecdn/purge/cdn/souin"
)

const base = "https://www.example.com"

func full() *cdntest.Souin {
	s := &cdntest.Souin{}
	s.Fill(base+"/img/pets/cat.jpg", "cat", "pets", "all")
	s.Fill(base+"/img/pets/cat.jpg?w=100", "cat", "pets", "all")
	s.Fill(base+"/img/pets/a%20cat.jpg?w=100", "other", "pets", "all")
	s.Fill(base+"/img/pets.jpg?w=100", "picture", "all")
	s.Fill("https://example.com/img/pets/cat.jpg", "cat", "all")
	return s
}

func left(keys ...int) (left []string) {
	all := []string{"GET-https-example.com-/img/pets/cat.jpg", "GET-https-www.example.com-/img/pets.jpg?w=100", "GET-https-www.example.com-/img/pets/a cat.jpg?w=100",
		"GET-https-www.example.com-/img/pets/cat.jpg", "GET-https-www.example.com-/img/pets/cat.jpg?w=100"}
	for _, i := range keys {
		left = append(left, all[i])
	}
	return left
}

func TestPurge(t *testing.T) {
	for _, tt := range []struct {
		name   string
		b      cdn.Batch
		queued bool
		left   []string
		err    string
	}{
		{"a tag", cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}}, false, left(1, 2), ""},
		{"tags", cdn.Batch{Kind: cdn.Tag, Values: []string{"picture", "nobody", "other"}}, false, left(0, 3, 4), ""},
		{"a tag of all", cdn.Batch{Kind: cdn.Tag, Values: []string{"all"}}, false, nil, ""},
		{"a URL has all its queries", cdn.Batch{Kind: cdn.URL, Values: []string{base + "/img/pets/cat.jpg"}}, false, left(0, 1, 2), ""},
		{"a URL with a query has others too", cdn.Batch{Kind: cdn.URL, Values: []string{base + "/img/pets/cat.jpg?w=5"}}, false, left(0, 1, 2), ""},
		{"a URL that is escaped", cdn.Batch{Kind: cdn.URL, Values: []string{base + "/img/pets/a%20cat.jpg"}}, false, left(0, 1, 3, 4), ""},
		{"two of one path", cdn.Batch{Kind: cdn.URL, Values: []string{base + "/img/pets.jpg?w=1", base + "/img/pets.jpg?w=2"}}, false, left(0, 2, 3, 4), ""},
		{"a folder", cdn.Batch{Kind: cdn.Prefix, Values: []string{base + "/img/pets/"}}, false, left(0, 1), ""},
		{"a host", cdn.Batch{Kind: cdn.Prefix, Values: []string{"https://www.example.com/"}}, false, left(0), ""},
		{"prefixes, and no answer when it is done", cdn.Batch{Kind: cdn.Prefix, Values: []string{base + "/img/pets/cat.jpg?", "http://m.example.com/img"}}, true, left(0, 1, 2), ""},
		{"a host that others end in", cdn.Batch{Kind: cdn.Prefix, Values: []string{"http://example.com/img/pets/cat.jpg"}}, false, left(1, 2), ""},
		{"all", cdn.Batch{Kind: cdn.All}, false, nil, ""},
		{"no tag", cdn.Batch{Kind: cdn.Tag, Values: []string{"a,b"}}, false, left(0, 1, 2, 3, 4), "is no tag"},
		{"no tag either", cdn.Batch{Kind: cdn.Tag, Values: []string{"a\nb"}}, false, left(0, 1, 2, 3, 4), "is no tag"},
		{"no URL", cdn.Batch{Kind: cdn.URL, Values: []string{"/img/pets.jpg"}}, false, left(0, 1, 2, 3, 4), "is no absolute URL"},
		{"two slashes", cdn.Batch{Kind: cdn.Prefix, Values: []string{base + "/img//pets"}}, false, left(0, 1, 2, 3, 4), "two slashes in a row"},
		{"no kind", cdn.Batch{Kind: "colour", Values: []string{"red"}}, false, left(0, 1, 2, 3, 4), "does not purge by colour"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := full()
			s.Queued = tt.queued
			c, err := souin.New([]string{"http://n:2019"}, &souin.Options{Client: cdntest.Client(s)})
			if err != nil {
				t.Fatal(err)
			}
			r, err := c.Purge(t.Context(), tt.b)
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) || r.Complete != (err == nil && !tt.queued) {
				t.Errorf("%+v, %v", r, err)
			}
			if e, ok := errors.AsType[*cdn.Error](err); err != nil && (!ok || e.Temporary) {
				t.Errorf("%v is temporary", err)
			}
			if got := s.Copies(); !slices.Equal(got, tt.left) {
				t.Errorf("left are\n%q, want\n%q", got, tt.left)
			}
			if f := s.Faults(); len(f) > 0 {
				t.Error(f)
			}
		})
	}
}

func TestFeatures(t *testing.T) {
	s := &cdntest.Souin{Path: "/cache/api"}
	c, err := souin.New([]string{"http://n:2019"}, &souin.Options{Client: cdntest.Client(s), Path: "/cache/api"})
	if err != nil {
		t.Fatal(err)
	}
	f := c.Features()
	if f.Soft || !slices.Equal(f.Tags, []cdn.TagHeader{{Name: "Surrogate-Key", Separator: ", "}}) {
		t.Errorf("%+v", f)
	}
	for kind, form := range f.Forms {
		var values []string
		for i := range form.MaxItems {
			values = append(values, fmt.Sprintf("t%d", i))
			if kind != cdn.Tag {
				values[i] = base + "/" + values[i]
			}
		}
		if r, err := c.Purge(t.Context(), cdn.Batch{Kind: kind, Values: values}); err != nil || !r.Complete {
			t.Errorf("%d of kind %s: %+v, %v", len(values), kind, r, err)
		}
	}
	if faults := s.Faults(); len(faults) > 0 || len(s.Calls()) != 4 {
		t.Error(s.Calls(), faults)
	}
}

func TestErrors(t *testing.T) {
	up, down := full(), full()
	client := cdntest.Client(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			t.Error("the operator's header is not there")
		}
		if r.Host == "down:1" {
			down.ServeHTTP(w, r)
		} else {
			up.ServeHTTP(w, r)
		}
	}))
	c, err := souin.New([]string{"http://up:1", "http://down:1"}, &souin.Options{Client: client, Header: http.Header{"Authorization": {"Bearer secret"}}})
	if err != nil {
		t.Fatal(err)
	}
	b := cdn.Batch{Kind: cdn.Tag, Values: []string{"cat"}}
	for _, tt := range []struct {
		status int
		header http.Header
		body   string
		want   cdn.Error
	}{
		{503, nil, "not yet", cdn.Error{Status: 503, Reason: "1 of 2 servers: down:1: not yet", Temporary: true}},
		{429, http.Header{"Retry-After": {"9"}}, "", cdn.Error{Status: 429, Reason: "1 of 2 servers: down:1: Too Many Requests", Temporary: true, RetryAfter: 9 * time.Second}},
		{404, nil, "", cdn.Error{Status: 404, Reason: "1 of 2 servers: down:1: Not Found"}},
		{403, nil, `{"error":"host not allowed"}`, cdn.Error{Status: 403, Reason: `1 of 2 servers: down:1: {"error":"host not allowed"}`}},
	} {
		down.Fail(1, tt.status, tt.header, tt.body)
		_, err := c.Purge(t.Context(), b)
		if e, ok := errors.AsType[*cdn.Error](err); !ok || *e != tt.want {
			t.Errorf("%+v, want %+v", err, tt.want)
		}
	}
	if len(up.Copies()) != 2 || len(down.Copies()) != 5 {
		t.Errorf("%q, %q", up.Copies(), down.Copies())
	}
	if r, err := c.Purge(t.Context(), b); err != nil || !r.Complete || len(down.Copies()) != 2 {
		t.Errorf("another try: %+v, %v, %q", r, err, down.Copies())
	}
	down.Hang(1)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := c.Purge(ctx, b); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestNew(t *testing.T) {
	for _, tt := range []struct {
		servers []string
		path    string
		want    string
	}{
		{nil, "", "souin: there is no server"},
		{[]string{"http://n:2019/souin-api/souin"}, "", "souin: n:2019: a server's address has no path"},
		{[]string{"http://n:2019"}, "souin", "Options.Path"},
		{[]string{"http://n:2019"}, "/souin/", "Options.Path"},
		{[]string{"http://n:2019"}, "/souin?x", "Options.Path"},
	} {
		if _, err := souin.New(tt.servers, &souin.Options{Path: tt.path}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q, %q: %v; want %s", tt.servers, tt.path, err, tt.want)
		}
	}
}

// TestStandIn plants mistakes, each of which the stand-in must note.
func TestStandIn(t *testing.T) {
	const api, js = "/souin-api/souin", "application/json"
	for _, tt := range []struct {
		name, method, path, key, contentType, body string
		want                                       string // of the fault; empty: none
	}{
		{"tags", "PURGE", api, "a, b", "", "", ""},
		{"a prefix", "POST", api, "", js, `{"type":"uri-prefix","selectors":["h/a"],"purge":true}`, ""},
		{"all", "PURGE", api + "/flush", "", "", "", ""},
		{"wrong path", "PURGE", "/souin-api", "a", "", "", "the API is at"},
		{"wrong path of all", "PURGE", api + "/flush/", "", "", "", "depends on the version"},
		{"a key", "PURGE", api + "/GET-https-h-/a", "", "", "", "depends on the version"},
		{"wrong method", "DELETE", api, "a", "", "", "does nothing"},
		{"wrong method of all", "POST", api + "/flush", "", "", "", "does nothing"},
		{"a query", "PURGE", api + "?ykey=a", "a", "", "", "takes no query"},
		{"a body", "PURGE", api, "a", "", "a", "no body"},
		{"no tag", "PURGE", api, "", "", "", "0 lines"},
		{"separated by a comma", "PURGE", api, "a,b", "", "", "a comma and a space"},
		{"separated by a space", "PURGE", api, "a b", "", "", "a comma and a space"},
		{"twice", "PURGE", api, "a, a", "", "", "there twice"},
		{"no content type", "POST", api, "", "", `{"type":"uri-prefix","selectors":["h/a"],"purge":true}`, "Content-Type"},
		{"no JSON", "POST", api, "", js, `{`, "the body"},
		{"an unknown field", "POST", api, "", js, `{"type":"uri-prefix","selectors":["h/a"],"purge":true,"soft":true}`, "unknown field"},
		{"more than one", "POST", api, "", js, `{"type":"uri-prefix","selectors":["h/a"],"purge":true}{}`, "something follows"},
		{"not purge", "POST", api, "", js, `{"type":"uri-prefix","selectors":["h/a"]}`, "purge is false"},
		{"a scheme", "POST", api, "", js, `{"type":"uri-prefix","selectors":["https://h/a"],"purge":true}`, "passed over"},
		{"no host", "POST", api, "", js, `{"type":"uri-prefix","selectors":["/a"],"purge":true}`, "no host and path"},
		{"a slash at the end", "POST", api, "", js, `{"type":"uri-prefix","selectors":["h/a/"],"purge":true}`, "after its last slash"},
		{"a selector's query", "POST", api, "", js, `{"type":"uri-prefix","selectors":["h/a?b"],"purge":true}`, "query is not looked at"},
		{"no selector", "POST", api, "", js, `{"type":"uri-prefix","purge":true}`, "has selectors"},
		{"a URI", "POST", api, "", js, `{"type":"uri","selectors":["h/a"],"purge":true}`, "finds nothing"},
		{"groups", "POST", api, "", js, `{"type":"group","groups":["a","b"],"purge":true}`, "the first is read"},
	} {
		s := &cdntest.Souin{}
		r, err := http.NewRequest(tt.method, "http://n:2019"+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		if tt.key != "" {
			r.Header.Set("Surrogate-Key", tt.key)
		}
		if tt.contentType != "" {
			r.Header.Set("Content-Type", tt.contentType)
		}
		resp, err := cdntest.Client(s).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		faults := strings.Join(s.Faults(), "; ")
		if !strings.Contains(faults, tt.want) || tt.want == "" && faults != "" {
			t.Errorf("%s: %q, want %q", tt.name, faults, tt.want)
		}
	}
}
