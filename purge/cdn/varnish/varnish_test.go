package varnish_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/purge/cdn/cdntest"
	"github.com/imagecdn/imagecdn/purge/cdn/varnish"
)

const host = "www.example.com"

// vcl is testdata/imagecdn.vcl with another backend; without the lines for xkey if it is to do without.
func vcl(t *testing.T, backend string, xkey bool) string {
	t.Helper()
	b, err := os.ReadFile("testdata/imagecdn.vcl")
	if err != nil {
		t.Fatal(err)
	}
	h, port, err := net.SplitHostPort(strings.TrimPrefix(backend, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	s := string(b)
	for _, r := range [][2]string{{`.host = "127.0.0.1";`, `.host = "` + h + `";`}, {`.port = "8080";`, `.port = "` + port + `";`}} {
		if strings.Count(s, r[0]) != 1 {
			t.Fatalf("%q is not there once", r[0])
		}
		s = strings.Replace(s, r[0], r[1], 1)
	}
	if !xkey {
		for {
			before, rest, ok := strings.Cut(s, "# xkey:\n")
			if !ok {
				break
			}
			_, after, ok := strings.Cut(rest, "# end\n")
			if !ok {
				t.Fatal("no end")
			}
			s = before + after
		}
	}
	return s
}

const (
	chrome  = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
	firefox = "image/avif,image/webp,*/*"
	old     = "image/png,*/*"
	noWebP  = "image/webp;q=0,image/avif; q=0.0 ,*/*" // as good as old
)

// want is one variant of one image and what becomes of it.
type want struct {
	path, accept string
	gone         bool
}

func TestPurge(t *testing.T) {
	t.Parallel()
	const base = "https://" + host
	origin := cdntest.NewOrigin(t)
	tag := func(p string) string { return origin.Tags(p)[1] }
	cat := []want{
		{"/img/pets/cat.jpg?w=100", chrome, true}, {"/img/pets/cat.jpg?w=100", old, true},
		{"/img/pets/cat.jpg?w=200", old, true}, {"/img/pets/cat.jpg", firefox, true},
	}
	others := []want{{"/img/pets/catalogue.jpg?w=100", old, false}, {"/img/dog.jpg", chrome, false}, {"/img/pets.jpg?w=100", old, false}}
	all := slices.Concat(cat, others)
	// only are all, with those gone whose path has a prefix.
	only := func(prefixes ...string) []want {
		wants := slices.Clone(all)
		for i := range wants {
			wants[i].gone = slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(wants[i].path, p) })
		}
		return wants
	}
	tests := []struct {
		name  string
		batch cdn.Batch
		wants []want
	}{
		{"a tag: all variants of an image", cdn.Batch{Kind: cdn.Tag, Values: []string{tag("/img/pets/cat.jpg")}}, only("/img/pets/cat.jpg")},
		{"a tag of a folder", cdn.Batch{Kind: cdn.Tag, Values: []string{tag("/img/pets")}}, only("/img/pets/")},
		{"tags", cdn.Batch{Kind: cdn.Tag, Values: []string{tag("/img/dog.jpg"), "nobody", tag("/img/pets.jpg")}}, only("/img/dog.jpg", "/img/pets.jpg")},
		{"a tag that is a part of others", cdn.Batch{Kind: cdn.Tag, Values: []string{"al", "img", "t-2fimg-2fpet", tag("/img/pets/cat")}}, only()},
		{"a tag of all", cdn.Batch{Kind: cdn.Tag, Values: []string{"all"}}, only("/")},
		{"a URL: its variants of Accept", cdn.Batch{Kind: cdn.URL, Values: []string{base + "/img/pets/cat.jpg?w=100"}}, only("/img/pets/cat.jpg?w=100")},
		{"URLs", cdn.Batch{Kind: cdn.URL, Values: []string{base + "/img/pets/cat.jpg?w=200", base + "/img/none.jpg", "https://WWW.Example.com:8443/img/dog.jpg"}}, only("/img/pets/cat.jpg?w=200", "/img/dog.jpg")},
		{"a URL of another host", cdn.Batch{Kind: cdn.URL, Values: []string{"https://example.com/img/dog.jpg"}}, only()},
		{"a prefix: an image", cdn.Batch{Kind: cdn.Prefix, Values: []string{base + "/img/pets/cat.jpg"}}, only("/img/pets/cat.jpg")},
		{"a prefix: its queries", cdn.Batch{Kind: cdn.Prefix, Values: []string{base + "/img/pets/cat.jpg?"}}, only("/img/pets/cat.jpg?")},
		{"prefixes, one of another host", cdn.Batch{Kind: cdn.Prefix, Values: []string{base + "/img/pets/", "http://other.example/img/dog", "http://WWW.EXAMPLE.COM./img/pets."}}, only("/img/pets/", "/img/pets.jpg")},
		{"a prefix is no expression", cdn.Batch{Kind: cdn.Prefix, Values: []string{base + "/img/p.ts/", base + "/img/.*", base + "/(img|)", base + "/img/pets/cat.jpg%3Fw"}}, only()},
		{"all", cdn.Batch{Kind: cdn.All}, only("/")},
	}
	for _, bans := range []bool{false, true} {
		t.Run(map[bool]string{false: "xkey", true: "bans"}[bans], func(t *testing.T) {
			t.Parallel()
			origin := cdntest.NewOrigin(t)
			cache := cdntest.StartVarnish(t, vcl(t, origin.URL, !bans))
			v := cdntest.NewVisitor(t, cache.URL, host)
			c, err := varnish.New([]string{cache.URL}, &varnish.Options{Bans: bans})
			if err != nil {
				t.Fatal(err)
			}
			round := 0
			for _, tt := range tests {
				for _, soft := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/soft=%v", tt.name, soft), func(t *testing.T) {
						v := v.In(t)
						for _, w := range all { // all are there
							v.Version(w.path, w.accept)
							if version, hit := v.Version(w.path, w.accept); !hit || version != fmt.Sprint(round) {
								t.Fatalf("%s, %s: version %s, hit %v before the purge", w.path, w.accept, version, hit)
							}
						}
						if _, hit := v.Version("/img/pets/cat.jpg?w=100", noWebP); !hit {
							t.Error("another spelling of Accept is another copy")
						}
						changed := make(map[string]bool)
						for _, w := range all {
							if p, _, _ := strings.Cut(w.path, "?"); !changed[p] {
								changed[p] = true
								origin.Change(p)
							}
						}
						b := tt.batch
						b.Soft = soft
						r, err := c.Purge(t.Context(), b)
						if err != nil || !r.Complete || len(r.Failed) > 0 {
							t.Fatalf("%+v, %v", r, err)
						}
						for _, w := range tt.wants {
							version, hit := v.Version(w.path, w.accept)
							if hit == w.gone || version != fmt.Sprint(map[bool]int{false: round, true: round + 1}[w.gone]) {
								t.Errorf("%s, %s: version %s, hit %v; want it gone: %v", w.path, w.accept, version, hit, w.gone)
							}
						}
						round++
						if _, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.All}); err != nil {
							t.Fatal(err)
						}
					})
				}
			}
		})
	}
}

// eventually waits for what Varnish does behind a visitor's back.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Error(what)
}

func TestSoft(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		batch cdn.Batch
	}{
		{"by tag", cdn.Batch{Kind: cdn.Tag, Values: []string{"all"}, Soft: true}},
		{"by URL", cdn.Batch{Kind: cdn.URL, Values: []string{"https://" + host + "/cat.jpg"}, Soft: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			origin := cdntest.NewOrigin(t)
			cache := cdntest.StartVarnish(t, vcl(t, origin.URL, true))
			v := cdntest.NewVisitor(t, cache.URL, host)
			c, err := varnish.New([]string{cache.URL}, nil)
			if err != nil {
				t.Fatal(err)
			}
			purge := func() {
				t.Helper()
				origin.Change("/cat.jpg")
				if r, err := c.Purge(t.Context(), tt.batch); err != nil || !r.Complete {
					t.Fatalf("%+v, %v", r, err)
				}
			}

			origin.CacheControl("max-age=3600, stale-while-revalidate=60")
			for _, accept := range []string{chrome, old} {
				v.Version("/cat.jpg", accept)
			}
			purge()
			for _, accept := range []string{chrome, old} {
				if version, hit := v.Version("/cat.jpg", accept); version != "0" || !hit {
					t.Errorf("after a soft purge: version %s, hit %v; want the stale copy", version, hit)
				}
				eventually(t, "the copy was not refreshed", func() bool { version, _ := v.Version("/cat.jpg", accept); return version == "1" })
			}

			// Without stale-while-revalidate nobody is given what is stale but where the origin fails.
			origin.CacheControl("max-age=3600, stale-if-error=60")
			if _, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.All}); err != nil {
				t.Fatal(err)
			}
			v.Version("/cat.jpg", old)
			purge()
			for _, status := range []int{502, -1} {
				origin.Fail(status)
				if version, hit := v.Version("/cat.jpg", old); version != "1" || !hit {
					t.Errorf("while the origin fails with %d: version %s, hit %v; want the stale copy", status, version, hit)
				}
			}
			origin.Fail(0)
			if _, body := v.Get("/cat.jpg", old, "x-look", "stale"); !strings.HasSuffix(body, "version 2") {
				t.Errorf("when it is back, to a visitor who asks for stale copies: %s", body)
			}

			// A hard purge leaves nothing for failures.
			hard := tt.batch
			hard.Soft = false
			if _, err := c.Purge(t.Context(), hard); err != nil {
				t.Fatal(err)
			}
			origin.Fail(502)
			if resp, _ := v.Get("/cat.jpg", old); resp.StatusCode != 502 {
				t.Errorf("after a hard purge, while the origin fails: %s", resp.Status)
			}
		})
	}
}

// TestWhoMayPurge holds the VCL to its lists of addresses.
func TestWhoMayPurge(t *testing.T) {
	t.Parallel()
	origin := cdntest.NewOrigin(t)
	cache := cdntest.StartVarnish(t, vcl(t, origin.URL, true))
	v := cdntest.NewVisitor(t, cache.URL, host)
	v.Version("/cat.jpg", old)
	origin.Change("/cat.jpg")
	hits := func() {
		t.Helper()
		if version, hit := v.Version("/cat.jpg", old); version != "0" || !hit {
			t.Errorf("version %s, hit %v: it was purged", version, hit)
		}
	}

	stranger, err := varnish.New([]string{cache.URL}, &varnish.Options{Client: v.Client})
	if err != nil {
		t.Fatal(err)
	}
	behind, err := varnish.New([]string{cache.URL}, &varnish.Options{Header: http.Header{"X-Forwarded-For": {"192.0.2.1"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*varnish.CDN{stranger, behind} {
		for _, b := range []cdn.Batch{
			{Kind: cdn.Tag, Values: []string{"all"}}, {Kind: cdn.Tag, Values: []string{"all"}, Soft: true}, {Kind: cdn.All},
			{Kind: cdn.URL, Values: []string{"https://" + host + "/cat.jpg"}}, {Kind: cdn.URL, Values: []string{"https://" + host + "/cat.jpg"}, Soft: true},
			{Kind: cdn.Prefix, Values: []string{"https://" + host + "/"}},
		} {
			_, err := c.Purge(t.Context(), b)
			e, ok := errors.AsType[*cdn.Error](err)
			if !ok || e.Status != 403 || e.Temporary || !strings.Contains(e.Reason, "Purges are not taken from 127.0.0.") || !strings.Contains(e.Reason, strings.TrimPrefix(cache.URL, "http://")) {
				t.Errorf("%s: %v", b.Kind, err)
			}
			hits()
		}
	}

	// Visitors bring no headers with which the VCL tells itself things.
	for _, h := range []string{"x-look", "x-ban", "xkey-purge", "x-soft", "xkey"} {
		if resp, _ := v.Get("/cat.jpg", old, h, "stale"); resp.StatusCode != 200 {
			t.Errorf("%s: %s", h, resp.Status)
		}
		hits()
	}
	if resp, _ := v.Get("/-/console", ""); resp.StatusCode != 404 {
		t.Errorf("the console: %s", resp.Status)
	}
	for url := range origin.Fetches() {
		if strings.Contains(url, "/-/console") {
			t.Error("the origin was asked for the console")
		}
	}

	// What only a purger may get wrong is told.
	for _, tt := range []struct {
		ban, want string
	}{
		{"", "x-ban is not about obj"},
		{"req.url ~ .", "x-ban is not about obj"},
		{"obj.status != 0 && req.url ~ .", "x-ban is not about obj"},
		{"obj.http.x-url ~ [", "missing terminating ]"},
		{"obj.http.x-url", "Expected"},
	} {
		r, err := http.NewRequest("BAN", cache.URL+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("x-ban", tt.ban)
		_, _, _, err = cdn.Call(http.DefaultClient, r, nil)
		if e, ok := errors.AsType[*cdn.Error](err); !ok || e.Status != 400 || !strings.Contains(e.Reason, tt.want) {
			t.Errorf("%q: %v", tt.ban, err)
		}
		hits()
	}
}

// TestWithoutXkey shows that a VCL without xkey says so, and does not take the purge for one of a URL.
func TestWithoutXkey(t *testing.T) {
	t.Parallel()
	cache := cdntest.StartVarnish(t, vcl(t, cdntest.NewOrigin(t).URL, false))
	c, err := varnish.New([]string{cache.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, soft := range []bool{false, true} {
		_, err = c.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{"all"}, Soft: soft})
		if e, ok := errors.AsType[*cdn.Error](err); !ok || e.Status != 501 || e.Temporary {
			t.Error(err)
		}
	}
}

func TestOneOfTwoServersIsDown(t *testing.T) {
	t.Parallel()
	origin := cdntest.NewOrigin(t)
	up, down := cdntest.StartVarnish(t, vcl(t, origin.URL, true)), cdntest.StartVarnish(t, vcl(t, origin.URL, true))
	c, err := varnish.New([]string{up.URL, down.URL + "/"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(down.URL, "http://")
	batches := []cdn.Batch{
		{Kind: cdn.Tag, Values: []string{"all"}}, {Kind: cdn.URL, Values: []string{"http://" + host + "/cat.jpg", "http://" + host + "/dog.jpg"}},
		{Kind: cdn.Prefix, Values: []string{"http://" + host + "/"}}, {Kind: cdn.All},
	}
	v := cdntest.NewVisitor(t, up.URL, host)
	down.Stop()
	for _, b := range batches {
		before, _ := v.Version("/cat.jpg", old)
		origin.Change("/cat.jpg")
		r, err := c.Purge(t.Context(), b)
		e, ok := errors.AsType[*cdn.Error](err)
		if !ok || !e.Temporary || !strings.HasPrefix(e.Reason, "1 of 2 servers: "+name+": ") || r.Complete {
			t.Errorf("%s: %+v, %v", b.Kind, r, err)
		}
		if after, _ := v.Version("/cat.jpg", old); after == before {
			t.Errorf("%s: the server that is up was not purged", b.Kind)
		}
	}
	down.Start()
	for _, b := range batches {
		if r, err := c.Purge(t.Context(), b); err != nil || !r.Complete || len(r.Failed) > 0 {
			t.Errorf("%s: another try: %+v, %v", b.Kind, r, err)
		}
	}
}

// TestShield has one Varnish before the other: what is purged at the shield first is new at the edge, which has its tags from the shield.
func TestShield(t *testing.T) {
	t.Parallel()
	origin := cdntest.NewOrigin(t)
	shield := cdntest.StartVarnish(t, vcl(t, origin.URL, true))
	edge := cdntest.StartVarnish(t, vcl(t, shield.URL, true))
	v := cdntest.NewVisitor(t, edge.URL, host)
	v.Version("/pets/cat.jpg?w=1", chrome)
	v.Version("/pets/cat.jpg?w=1", chrome)
	for round, values := range [][]string{{origin.Tags("/pets/cat.jpg")[1]}, {origin.Tags("/pets/cat.jpg")[2]}, {"all"}} {
		origin.Change("/pets/cat.jpg")
		for i, cache := range []*cdntest.Cache{shield, edge} {
			c, err := varnish.New([]string{cache.URL}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: values}); err != nil {
				t.Fatal(err)
			}
			if version, hit := v.Version("/pets/cat.jpg?w=1", chrome); version != fmt.Sprint(round+i) || hit == (i == 1) {
				t.Errorf("tag %s, %d purged: version %s, hit %v", values, i+1, version, hit)
			}
		}
	}
	if n := origin.Fetches()[host+"/pets/cat.jpg?w=1"]; n != 4 {
		t.Errorf("%d fetches from the origin, want 4", n)
	}
}

func TestNew(t *testing.T) {
	for _, tt := range []struct {
		servers []string
		o       varnish.Options
		want    string
	}{
		{nil, varnish.Options{}, "varnish: there is no server"},
		{[]string{"10.0.0.1:6081"}, varnish.Options{}, "is not of the form http://host:port"},
		{[]string{"unix:/run/varnish"}, varnish.Options{}, `"unix:/run/varnish" is not of the form http://host:port`},
		{[]string{"http://a:1/img"}, varnish.Options{}, "varnish: a:1: a server's address has no path"},
		{[]string{"http://user:secret@a:1?x"}, varnish.Options{}, "varnish: a server's address is not of the form"},
		{[]string{"http://a:1", "http://a:1/"}, varnish.Options{}, "varnish: a:1 is there twice"},
		{[]string{"http://a:1"}, varnish.Options{TagHeader: "x key"}, `varnish: "x key" is no name of a header`},
	} {
		_, err := varnish.New(tt.servers, &tt.o)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v; want %s", tt.servers, err, tt.want)
		}
	}
}

// got is what a server that takes everything was asked.
type got struct{ method, host, url, header string }

// TestRequests holds what is sent to the words of the package comment.
func TestRequests(t *testing.T) {
	var calls []got
	names := []string{"Xkey-Purge", "Xkey-Softpurge", "X-Soft", "X-Ban", "P", "S", "U", "B"}
	client := cdntest.Client(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g := got{method: r.Method, host: r.Host, url: r.RequestURI}
		for _, n := range names {
			if v := r.Header.Get(n); v != "" {
				g.header += n + ": " + v
			}
		}
		if r.Header.Get("Authorization") != "Key 123" {
			t.Error("the operator's header is not there")
		}
		calls = append(calls, g)
	}))
	long := strings.Repeat("a", 3000)
	for _, tt := range []struct {
		name string
		o    varnish.Options
		b    cdn.Batch
		want []got
	}{
		{"tags", varnish.Options{}, cdn.Batch{Kind: cdn.Tag, Values: []string{"a", "b.c"}}, []got{{"PURGE", "s:1", "/", "Xkey-Purge: a b.c"}}},
		{"soft tags", varnish.Options{}, cdn.Batch{Kind: cdn.Tag, Values: []string{"a", "b.c"}, Soft: true}, []got{{"PURGE", "s:1", "/", "Xkey-Softpurge: a b.c"}}},
		{"banned tags", varnish.Options{Bans: true}, cdn.Batch{Kind: cdn.Tag, Values: []string{"a", "b.c"}, Soft: true},
			[]got{{"BAN", "s:1", "/", `X-Ban: obj.http.xkey ~ (^|[\x20,])(a|b\x2ec)([\x20,]|$)`}}},
		{"URLs", varnish.Options{}, cdn.Batch{Kind: cdn.URL, Values: []string{"https://h:8/a%20b?c=d&e", "http://i/"}},
			[]got{{"PURGE", "h:8", "/a%20b?c=d&e", ""}, {"PURGE", "i", "/", ""}}},
		{"a soft URL", varnish.Options{}, cdn.Batch{Kind: cdn.URL, Values: []string{"https://h/"}, Soft: true}, []got{{"PURGE", "h", "/", "X-Soft: 1"}}},
		{"prefixes", varnish.Options{}, cdn.Batch{Kind: cdn.Prefix, Values: []string{"https://H:8/a.b", "http://i/?", "http://h", `http://[::1]:8/"`}, Soft: true}, []got{
			{"BAN", "s:1", "/", `X-Ban: obj.http.x-host == h && obj.http.x-url ~ ^(/a\x2eb|/)`},
			{"BAN", "s:1", "/", `X-Ban: obj.http.x-host == i && obj.http.x-url ~ ^(/\x3f)`},
			{"BAN", "s:1", "/", `X-Ban: obj.http.x-host == [::1] && obj.http.x-url ~ ^(/%22)`},
		}},
		{"long prefixes", varnish.Options{}, cdn.Batch{Kind: cdn.Prefix, Values: []string{"http://h/1" + long, "http://h/2" + long, "http://h/3" + long}}, []got{
			{"BAN", "s:1", "/", `X-Ban: obj.http.x-host == h && obj.http.x-url ~ ^(/1` + long + `|/2` + long + `)`},
			{"BAN", "s:1", "/", `X-Ban: obj.http.x-host == h && obj.http.x-url ~ ^(/3` + long + `)`},
		}},
		{"all", varnish.Options{}, cdn.Batch{Kind: cdn.All}, []got{{"BAN", "s:1", "/", `X-Ban: obj.status != 0`}}},
		{"names", varnish.Options{Bans: true, BanHeader: "b", TagHeader: "Cache-Tag"}, cdn.Batch{Kind: cdn.Tag, Values: []string{"a"}},
			[]got{{"BAN", "s:1", "/", `B: obj.http.Cache-Tag ~ (^|[\x20,])(a)([\x20,]|$)`}}},
		{"more names", varnish.Options{BanHeader: "b", URLHeader: "u", HostHeader: "o"}, cdn.Batch{Kind: cdn.Prefix, Values: []string{"http://h/"}},
			[]got{{"BAN", "s:1", "/", `B: obj.http.o == h && obj.http.u ~ ^(/)`}}},
		{"and more", varnish.Options{PurgeHeader: "p", SoftHeader: "s"}, cdn.Batch{Kind: cdn.Tag, Values: []string{"a"}, Soft: true}, []got{{"PURGE", "s:1", "/", "S: a"}}},
		{"not a tag", varnish.Options{}, cdn.Batch{Kind: cdn.Tag, Values: []string{"a b"}}, nil},
		{"not one either", varnish.Options{}, cdn.Batch{Kind: cdn.Tag, Values: []string{"a,b"}}, nil},
		{"a line more", varnish.Options{}, cdn.Batch{Kind: cdn.Tag, Values: []string{"a\r\nx: y"}}, nil},
		{"no URL", varnish.Options{}, cdn.Batch{Kind: cdn.URL, Values: []string{"/cat.jpg"}}, nil},
		{"too long", varnish.Options{}, cdn.Batch{Kind: cdn.Prefix, Values: []string{"http://h/" + long + long + long}}, nil},
		{"no kind", varnish.Options{}, cdn.Batch{Kind: "colour", Values: []string{"red"}}, nil},
	} {
		calls = nil
		tt.o.Client = client
		tt.o.Header = http.Header{"Authorization": {"Key 123"}}
		c, err := varnish.New([]string{"http://s:1"}, &tt.o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Purge(t.Context(), tt.b)
		if e, ok := errors.AsType[*cdn.Error](err); (err == nil) != (tt.want != nil) || err != nil && (!ok || e.Temporary) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if !slices.Equal(calls, tt.want) {
			t.Errorf("%s: got  %q\nwant %q", tt.name, calls, tt.want)
		}
	}
}

// TestFeatures has batches of the greatest size taken by a real Varnish.
func TestFeatures(t *testing.T) {
	t.Parallel()
	cache := cdntest.StartVarnish(t, vcl(t, cdntest.NewOrigin(t).URL, true))
	for _, bans := range []bool{false, true} {
		c, err := varnish.New([]string{cache.URL}, &varnish.Options{Bans: bans})
		if err != nil {
			t.Fatal(err)
		}
		for kind, form := range c.Features().Forms {
			values := make([]string, form.MaxItems)
			room := 200
			if form.MaxBytes > 0 {
				room = form.MaxBytes/form.MaxItems - form.ItemBytes
			}
			for i := range values {
				values[i] = fmt.Sprintf("t%d", i)
				if kind != cdn.Tag {
					values[i] = "http://" + host + "/" + values[i]
				}
				values[i] += strings.Repeat(".", room-len(values[i]))
			}
			if r, err := c.Purge(t.Context(), cdn.Batch{Kind: kind, Values: values}); err != nil || !r.Complete || len(r.Failed) > 0 {
				t.Errorf("%d of kind %s, bans %v: %+v, %v", len(values), kind, bans, r, err)
			}
		}
	}
}

func TestCancelled(t *testing.T) {
	hang := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hang.Close()
	c, err := varnish.New([]string{hang.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := c.Purge(ctx, cdn.Batch{Kind: cdn.All}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
