package nginx_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/purge/cdn/cdntest"
	"github.com/imagecdn/imagecdn/purge/cdn/nginx"
)

const host = "www.example.com"

// conf is testdata/nginx.conf with what an operator changes in it.
func conf(t *testing.T, origin string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	s := string(b)
	for _, r := range [][2]string{
		{"listen 80;", "listen LISTEN;"}, {"/var/cache/nginx/imagecdn", "DIR/cache"}, {"\t\t\tproxy_pass http://127.0.0.1:8080;\n\t\t\tproxy_http", "\t\t\tproxy_pass " + origin + ";\n\t\t\tproxy_http"},
	} {
		if strings.Count(s, r[0]) != 1 {
			t.Fatalf("%q is not there once", r[0])
		}
		s = strings.Replace(s, r[0], r[1], 1)
	}
	return s
}

const (
	chrome  = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
	firefox = "image/avif,image/webp,*/*"
	safari  = "image/webp,image/png,*/*"
	avif    = "image/avif,*/*"
	old     = "image/png,*/*"
	noWebP  = "image/webp;q=0,image/avif; q=0.0 ,*/*" // as good as old
)

var variants = []string{chrome, safari, avif, old}

func TestPurge(t *testing.T) {
	t.Parallel()
	const base = "https://" + host
	origin := cdntest.NewOrigin(t)
	cache := cdntest.StartNginx(t, conf(t, origin.URL))
	visitor := cdntest.NewVisitor(t, cache.URL, host)
	c, err := nginx.New([]string{cache.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{"/img/cat.jpg?w=100", "/img/cat.jpg?w=200", "/img/cat.jpg", "/img/a%20cat.jpg", "/img/dog.jpg?w=100&h=200"}
	for _, tt := range []struct {
		name   string
		values []string
		gone   []string
	}{
		{"a URL: all variants of it", []string{base + paths[0]}, paths[:1]},
		{"one without a query", []string{base + paths[2]}, paths[2:3]},
		{"one that is escaped", []string{base + paths[3]}, paths[3:4]},
		{"URLs, one of which is not there", []string{base + paths[1], base + "/img/bird.jpg", "http://WWW.Example.COM:8080" + paths[4]}, []string{paths[1], paths[4]}},
		{"another host", []string{"https://example.com" + paths[0]}, nil},
		{"no expression", []string{base + "/img/*", base + "/img/cat.jpg*"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := visitor.In(t)
			before := make(map[string]string)
			for _, path := range paths {
				for _, accept := range variants {
					v.Version(path, accept)
					version, hit := v.Version(path, accept)
					if !hit {
						t.Fatalf("%s, %s: no hit before the purge", path, accept)
					}
					before[path+accept] = version
				}
			}
			for accept, as := range map[string]string{noWebP: old, firefox: chrome} {
				if version, hit := v.Version(paths[0], accept); !hit || version != before[paths[0]+as] {
					t.Errorf("%s is another copy than %s", accept, as)
				}
			}
			for _, p := range []string{"/img/cat.jpg", "/img/a cat.jpg", "/img/dog.jpg"} {
				origin.Change(p)
			}
			r, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.URL, Values: tt.values})
			if err != nil || !r.Complete || len(r.Failed) > 0 {
				t.Fatalf("%+v, %v", r, err)
			}
			for _, path := range paths {
				for _, accept := range variants {
					version, hit := v.Version(path, accept)
					if gone := slices.Contains(tt.gone, path); hit == gone || (version == before[path+accept]) == gone {
						t.Errorf("%s, %s: version %s after %s, hit %v; want it gone: %v", path, accept, version, before[path+accept], hit, gone)
					}
				}
			}
		})
	}
}

// TestStale holds the configuration to the origin's words about stale answers.
func TestStale(t *testing.T) {
	t.Parallel()
	origin := cdntest.NewOrigin(t)
	cache := cdntest.StartNginx(t, conf(t, origin.URL))
	v := cdntest.NewVisitor(t, cache.URL, host)
	origin.CacheControl("max-age=1, stale-while-revalidate=60, stale-if-error=60")
	v.Version("/cat.jpg", old)
	origin.Change("/cat.jpg")
	old0 := false
	for range 100 { // a second must pass, as nginx counts them
		version, hit := v.Version("/cat.jpg", old)
		if version == "1" {
			break
		}
		old0 = old0 || hit
		<-time.After(50 * time.Millisecond)
	}
	if version, _ := v.Version("/cat.jpg", old); version != "1" || !old0 {
		t.Errorf("version %s, and the stale one was given: %v", version, old0)
	}
	origin.Fail(502)
	<-time.After(2100 * time.Millisecond)
	for range 2 {
		if version, hit := v.Version("/cat.jpg", old); version != "1" || !hit {
			t.Errorf("while the origin fails: version %s, hit %v", version, hit)
		}
	}
	c, err := nginx.New([]string{cache.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.URL, Values: []string{"http://" + host + "/cat.jpg"}}); err != nil {
		t.Fatal(err)
	}
	if resp, _ := v.Get("/cat.jpg", old); resp.StatusCode != 502 {
		t.Errorf("after a purge, while the origin fails: %s", resp.Status)
	}
}

func TestWhoMayPurge(t *testing.T) {
	t.Parallel()
	origin := cdntest.NewOrigin(t)
	cache := cdntest.StartNginx(t, conf(t, origin.URL))
	v := cdntest.NewVisitor(t, cache.URL, host)
	v.Version("/cat.jpg", old)
	c, err := nginx.New([]string{cache.URL}, &nginx.Options{Client: v.Client})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Purge(t.Context(), cdn.Batch{Kind: cdn.URL, Values: []string{"https://" + host + "/cat.jpg"}})
	if e, ok := errors.AsType[*cdn.Error](err); !ok || e.Status != 403 || e.Temporary || e.Reason != strings.TrimPrefix(cache.URL, "http://")+": Forbidden" {
		t.Errorf("%v", err)
	}
	if _, hit := v.Version("/cat.jpg", old); !hit {
		t.Error("it was purged")
	}
	if resp, _ := v.Get("/-/console", ""); resp.StatusCode != 403 {
		t.Errorf("the console: %s", resp.Status)
	}
	if resp, err := http.Get(cache.URL + "/-/purge/cat.jpg"); err != nil {
		t.Error(err)
	} else if resp.Body.Close(); resp.StatusCode != 405 {
		t.Errorf("a GET where purges go: %s", resp.Status)
	}
	elsewhere, err := nginx.New([]string{cache.URL}, &nginx.Options{Path: "/-/prge"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := elsewhere.Purge(t.Context(), cdn.Batch{Kind: cdn.URL, Values: []string{"https://" + host + "/cat.jpg"}}); err == nil {
		t.Error("a purge that goes nowhere is none of what is not there")
	}
	// A question mark that is escaped is another file, and its copy none of a query's.
	origin.Change("/img/cat.jpg?w=1")
	v.Version("/img/cat.jpg%3Fw=1", old)
	if version, hit := v.Version("/img/cat.jpg?w=1", old); version != "0" || hit {
		t.Errorf("version %s, hit %v: a copy of another path is given", version, hit)
	}
}

func TestOneOfTwoServersIsDown(t *testing.T) {
	t.Parallel()
	origin := cdntest.NewOrigin(t)
	up, down := cdntest.StartNginx(t, conf(t, origin.URL)), cdntest.StartNginx(t, conf(t, origin.URL))
	c, err := nginx.New([]string{up.URL, down.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, cache := range []*cdntest.Cache{up, down} {
		v := cdntest.NewVisitor(t, cache.URL, host)
		v.Version("/cat.jpg", old)
	}
	origin.Change("/cat.jpg")
	down.Stop()
	b := cdn.Batch{Kind: cdn.URL, Values: []string{"http://" + host + "/cat.jpg"}}
	_, err = c.Purge(t.Context(), b)
	e, ok := errors.AsType[*cdn.Error](err)
	if !ok || !e.Temporary || !strings.HasPrefix(e.Reason, "1 of 2 servers: "+strings.TrimPrefix(down.URL, "http://")+": ") {
		t.Error(err)
	}
	if version, _ := cdntest.NewVisitor(t, up.URL, host).Version("/cat.jpg", old); version != "1" {
		t.Error("the server that is up was not purged")
	}
	down.Start() // with what is on its disk
	v := cdntest.NewVisitor(t, down.URL, host)
	if version, _ := v.Version("/cat.jpg", old); version != "0" {
		t.Errorf("version %s: the test shows nothing, as the copy is gone", version)
	}
	if r, err := c.Purge(t.Context(), b); err != nil || !r.Complete {
		t.Errorf("another try: %+v, %v", r, err)
	}
	if version, _ := v.Version("/cat.jpg", old); version != "1" {
		t.Error("the server that was down was not purged")
	}
}

var accepts = []string{"*/*", "image/webp", "image/avif", "image/avif,image/webp"}

// TestKinds is against the stand-in, as the module that has prefixes and purge_all is in no package.
func TestKinds(t *testing.T) {
	uris := []string{"example.com/img/cat.jpg", "www.example.com/img/cat.jpg", "www.example.com/img/cat.jpg?w=1", "www.example.com/img/catalogue.jpg", "www.example.com/img/dog.jpg"}
	full := &nginx.Options{Wildcards: true, AllPath: "/-/purge-all"}
	for _, tt := range []struct {
		name  string
		s     *cdntest.Nginx
		o     *nginx.Options
		b     cdn.Batch
		left  []string
		want  cdn.Receipt
		err   string
		calls int
	}{
		{"a URL", &cdntest.Nginx{}, nil, cdn.Batch{Kind: cdn.URL, Values: []string{"https://www.example.com/img/cat.jpg"}},
			[]string{uris[0], uris[2], uris[3], uris[4]}, cdn.Receipt{Complete: true}, "", 4},
		{"URLs that are not there", &cdntest.Nginx{NotFound: true}, nil, cdn.Batch{Kind: cdn.URL, Values: []string{"https://www.example.com/bird.jpg", "https://www.example.com/img/cat.jpg"}},
			[]string{uris[0], uris[2], uris[3], uris[4]}, cdn.Receipt{Complete: true}, "", 8},
		{"a URL, with a queue for others", &cdntest.Nginx{Background: true}, nil, cdn.Batch{Kind: cdn.URL, Values: []string{"https://www.example.com/img/cat.jpg"}},
			[]string{uris[0], uris[2], uris[3], uris[4]}, cdn.Receipt{Complete: true}, "", 4},
		{"a prefix", &cdntest.Nginx{Wildcards: true}, full, cdn.Batch{Kind: cdn.Prefix, Values: []string{"https://www.example.com/img/cat.jpg"}},
			[]string{uris[0], uris[3], uris[4]}, cdn.Receipt{Complete: true}, "", 4},
		{"prefixes in a queue", &cdntest.Nginx{Wildcards: true, Background: true}, full, cdn.Batch{Kind: cdn.Prefix, Values: []string{"https://www.example.com/img/cat.jpg?", "http://example.com/img/"}},
			[]string{uris[1], uris[3], uris[4]}, cdn.Receipt{}, "", 8},
		{"all", &cdntest.Nginx{AllPath: "/-/purge-all"}, full, cdn.Batch{Kind: cdn.All}, nil, cdn.Receipt{Complete: true}, "", 1},
		{"all in a queue", &cdntest.Nginx{AllPath: "/-/purge-all", Background: true}, full, cdn.Batch{Kind: cdn.All}, nil, cdn.Receipt{}, "", 1},
		{"a prefix without the module", &cdntest.Nginx{}, nil, cdn.Batch{Kind: cdn.Prefix, Values: []string{"https://www.example.com/img/cat.jpg"}},
			uris, cdn.Receipt{}, "this nginx does not purge by prefix", 0},
		{"all without the location", &cdntest.Nginx{}, nil, cdn.Batch{Kind: cdn.All}, uris, cdn.Receipt{}, "this nginx does not purge by all", 0},
		{"a tag", &cdntest.Nginx{}, full, cdn.Batch{Kind: cdn.Tag, Values: []string{"a"}}, uris, cdn.Receipt{}, "this nginx does not purge by tag", 0},
		{"a URL that would be a prefix", &cdntest.Nginx{Wildcards: true}, full, cdn.Batch{Kind: cdn.URL, Values: []string{"https://www.example.com/img/*"}}, uris, cdn.Receipt{}, "is a prefix to nginx", 0},
		{"no URL", &cdntest.Nginx{}, nil, cdn.Batch{Kind: cdn.URL, Values: []string{"/img/cat.jpg"}}, uris, cdn.Receipt{}, "is no absolute URL", 0},
		{"refused", &cdntest.Nginx{Refuse: true}, nil, cdn.Batch{Kind: cdn.URL, Values: []string{"https://www.example.com/img/cat.jpg"}}, uris, cdn.Receipt{}, "403: n:80: Forbidden", 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.s
			s.Hosts, s.Accepts, s.Path = []string{"www.example.com", "example.com"}, accepts, "/-/purge"
			for _, uri := range uris {
				h, p, _ := strings.Cut(uri, "/")
				s.Fill(h, "/"+p)
			}
			var o nginx.Options
			if tt.o != nil {
				o = *tt.o
			}
			o.Client = cdntest.Client(s)
			c, err := nginx.New([]string{"http://n:80"}, &o)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Purge(t.Context(), tt.b)
			if fmt.Sprint(got) != fmt.Sprint(tt.want) || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %+v, %v", got, err)
			}
			if e, ok := errors.AsType[*cdn.Error](err); err != nil && (!ok || e.Temporary) {
				t.Errorf("%v is temporary", err)
			}
			if left := s.Copies(); !slices.Equal(left, tt.left) {
				t.Errorf("left are %q, want %q", left, tt.left)
			}
			if n := len(s.Calls()); n != tt.calls {
				t.Errorf("%d calls, want %d", n, tt.calls)
			}
			if f := s.Faults(); len(f) > 0 {
				t.Error(f)
			}
			_, prefixes := c.Features().Forms[cdn.Prefix]
			if _, all := c.Features().Forms[cdn.All]; prefixes != o.Wildcards || all != (o.AllPath != "") {
				t.Errorf("features: %+v", c.Features())
			}
		})
	}
}

func TestErrors(t *testing.T) {
	b := cdn.Batch{Kind: cdn.URL, Values: []string{"https://www.example.com/a", "https://www.example.com/b"}}
	for _, tt := range []struct {
		name string
		fail func(s *cdntest.Nginx)
		want cdn.Error // of all
		part string    // of a part
	}{
		{"failing", func(s *cdntest.Nginx) {
			s.Fail(8, 503, nil, "<html><head><title>503 Service Temporarily Unavailable</title>")
		},
			cdn.Error{Status: 503, Reason: "n:80: Service Temporarily Unavailable", Temporary: true}, ""},
		{"busy", func(s *cdntest.Nginx) { s.Fail(8, 429, http.Header{"Retry-After": {"3"}}, "slow down") },
			cdn.Error{Status: 429, Reason: "n:80: slow down", Temporary: true, RetryAfter: 3 * time.Second}, ""},
		{"not understood", func(s *cdntest.Nginx) { s.Fail(8, 405, nil, "") }, cdn.Error{Status: 405, Reason: "n:80: Method Not Allowed"}, ""},
		{"one variant of one fails", func(s *cdntest.Nginx) { s.Fail(1, 500, nil, "oh") }, cdn.Error{}, "500: n:80: oh"},
	} {
		s := &cdntest.Nginx{Hosts: []string{"www.example.com"}, Accepts: accepts, Path: "/-/purge"}
		tt.fail(s)
		c, err := nginx.New([]string{"http://n:80"}, &nginx.Options{Client: cdntest.Client(s)})
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.Purge(t.Context(), b)
		if tt.part != "" {
			if err != nil || len(r.Failed) != 1 || r.Failed[0] != (cdn.Failure{Value: b.Values[0], Reason: tt.part, Temporary: true}) {
				t.Errorf("%s: %+v, %v", tt.name, r, err)
			}
			continue
		}
		if e, ok := errors.AsType[*cdn.Error](err); !ok || *e != tt.want {
			t.Errorf("%s: %+v", tt.name, err)
		}
	}
}

// TestStandIn plants mistakes, each of which the stand-in must note.
func TestStandIn(t *testing.T) {
	for _, tt := range []struct{ method, url, host, accept, body, want string }{
		{"PURGE", "/-/purge/cat.jpg", "www.example.com", "image/webp", "", ""},
		{"PURGE", "/-/purge/cat.jpg", "www.example.com:8443", "image/webp", "", ""},
		{"DELETE", "/-/purge/cat.jpg", "www.example.com", "image/webp", "", "no method"},
		{"PURGE", "/-/purge/cat.jpg", "n:80", "image/webp", "", "no copies by the host"},
		{"PURGE", "/-/purge/cat.jpg", "www.example.com", "", "", "no copies by the Accept"},
		{"PURGE", "/-/purge/cat.jpg", "www.example.com", chrome, "", "no copies by the Accept"},
		{"PURGE", "/-/purge/cat.jpg*", "www.example.com", "image/webp", "", "a * is a letter"},
		{"PURGE", "/-/purge/cat.jpg", "www.example.com", "image/webp", "x", "no body"},
		{"PURGE", "/cat.jpg", "www.example.com", "image/webp", "", "not where purges go"},
		{"PURGE", "/-/purgecat.jpg", "www.example.com", "image/webp", "", "not where purges go"},
	} {
		s := &cdntest.Nginx{Hosts: []string{"www.example.com"}, Accepts: accepts, Path: "/-/purge"}
		r, err := http.NewRequest(tt.method, "http://n:80"+tt.url, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = tt.host
		r.Header.Set("Accept", tt.accept)
		resp, err := cdntest.Client(s).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		faults := strings.Join(s.Faults(), "; ")
		if !strings.Contains(faults, tt.want) || tt.want == "" && faults != "" {
			t.Errorf("%s %s: %q, want %q", tt.method, tt.url, faults, tt.want)
		}
	}
}

func TestNew(t *testing.T) {
	for _, tt := range []struct {
		servers []string
		o       nginx.Options
		want    string
	}{
		{nil, nginx.Options{}, "nginx: there is no server"},
		{[]string{"http://a/purge"}, nginx.Options{}, "nginx: a: a server's address has no path"},
		{[]string{"http://a"}, nginx.Options{Accepts: []string{}}, "Options.Accepts is empty"},
		{[]string{"http://a"}, nginx.Options{Path: "/purge?"}, `Options.Path: "/purge?" is no path`},
		{[]string{"http://a"}, nginx.Options{AllPath: "purge-all"}, `Options.AllPath: "purge-all" is no path`},
		{[]string{"http://a"}, nginx.Options{AllPath: "//b/"}, `Options.AllPath: "//b/" is no path`},
	} {
		if _, err := nginx.New(tt.servers, &tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v; want %s", tt.servers, err, tt.want)
		}
	}
}
