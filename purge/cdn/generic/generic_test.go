package generic_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/purge/cdn/cdntest"
	"github.com/imagecdn/imagecdn/purge/cdn/generic"
)

// A server records what it is asked, a line for each: method, host and URL, the headers K and Authorization, and the body.
type server struct {
	status map[string]int // by host
	header http.Header

	mu    sync.Mutex // guards calls
	calls []string
}

// ServeHTTP implements [http.Handler].
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	line := r.Method + " " + r.Host + " " + r.RequestURI
	for _, h := range []string{"K", "Authorization"} {
		if v := r.Header.Get(h); v != "" {
			line += " " + h + "=" + v
		}
	}
	if len(b) > 0 {
		line += " " + string(b)
	}
	s.mu.Lock()
	s.calls = append(s.calls, line)
	s.mu.Unlock()
	if status := s.status[r.Host]; status != 0 {
		for k, v := range s.header {
			w.Header()[k] = v
		}
		w.WriteHeader(status)
		io.WriteString(w, "said")
	}
}

var tags = []cdn.TagHeader{{Name: "Cache-Tag", Separator: ","}}

func TestTemplates(t *testing.T) {
	const cat, dog = "https://www.example.com:8443/img/a%20cat.jpg?w=1&h=2", "http://b.example/dog.jpg"
	js := map[string]string{"Content-Type": "application/json"}
	for _, tt := range []struct {
		name string
		kind cdn.Kind
		form generic.Form
		vals []string
		want []string
	}{
		{"PURGE of the URL", cdn.URL, generic.Form{Method: "PURGE", URL: "{url}"}, []string{cat, dog},
			[]string{"PURGE www.example.com:8443 /img/a%20cat.jpg?w=1&h=2", "PURGE b.example /dog.jpg"}},
		{"of a prefix, with a star", cdn.Prefix, generic.Form{Method: "PURGE", URL: "{prefix}*"}, []string{"https://h/img/"}, []string{"PURGE h /img/*"}},
		{"at one server, with Host", cdn.URL, generic.Form{Method: "PURGE", URL: "http://10.0.0.1:80{path}", Header: map[string]string{"Host": "{host}"}}, []string{cat},
			[]string{"PURGE www.example.com:8443 /img/a%20cat.jpg?w=1&h=2"}},
		{"in the query", cdn.URL, generic.Form{Method: "GET", URL: "https://api/purge?url={url}&h={host}&id={id}"}, []string{cat},
			[]string{"GET api /purge?url=https%3A%2F%2Fwww.example.com%3A8443%2Fimg%2Fa%2520cat.jpg%3Fw%3D1%26h%3D2&h=www.example.com:8443&id=batch-1"}},
		{"tags in the path, one by one", cdn.Tag, generic.Form{Method: "DELETE", URL: "https://api/tags/{tag}"}, []string{"a/b", "c d"},
			[]string{"DELETE api /tags/a%2Fb", "DELETE api /tags/c%20d"}},
		{"tags in the query, all", cdn.Tag, generic.Form{URL: "https://api/?tags={tags}", Separator: " "}, []string{"a", "b"}, []string{"POST api /?tags=a%20b"}},
		{"tags in a header", cdn.Tag, generic.Form{Method: "PURGE", URL: "https://api/", Header: map[string]string{"K": "{tags}"}, Separator: " "}, []string{"a", "b"},
			[]string{"PURGE api / K=a b"}},
		{"tags in JSON", cdn.Tag, generic.Form{URL: "https://api/", Header: js, Body: `{"tags": {tags}, "o": {"id": "{id}"}}`}, []string{"a", `b"c`},
			[]string{`POST api / {"tags": ["a","b\"c"], "o": {"id": "batch-1"}}`}},
		{"a URL in JSON", cdn.URL, generic.Form{URL: "https://api/", Header: js, Body: `{"u":"{url}","p":"{path}","h":"{host}"}`}, []string{`http://h/?a="b"`},
			[]string{`POST api / {"u":"http://h/?a=\"b\"","p":"/?a=\"b\"","h":"h"}`}},
		{"paths in JSON", cdn.URL, generic.Form{URL: "https://api/", Header: map[string]string{"content-type": "application/vnd.api+json; x=y"}, Body: `{"p":{paths}}`}, []string{cat, dog},
			[]string{`POST api / {"p":["/img/a%20cat.jpg?w=1\u0026h=2","/dog.jpg"]}`}},
		{"URLs in a form", cdn.URL, generic.Form{URL: "https://api/", Header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, Body: "u={urls}&x=1", Separator: "\n"}, []string{dog, dog + "?a&b"},
			[]string{"POST api / u=http%3A%2F%2Fb.example%2Fdog.jpg%0Ahttp%3A%2F%2Fb.example%2Fdog.jpg%3Fa%26b&x=1"}},
		{"a path in a form", cdn.URL, generic.Form{URL: "https://api/", Header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, Body: "p={path}"}, []string{dog + "?a&b"},
			[]string{"POST api / p=%2Fdog.jpg%3Fa%26b"}},
		{"URLs in lines", cdn.URL, generic.Form{URL: "https://api/", Body: "{urls}", Separator: "\n"}, []string{cat, dog}, []string{"POST api / " + cat + "\n" + dog}},
		{"all", cdn.All, generic.Form{Method: "DELETE", URL: "https://api/zone?x={id}", Header: map[string]string{"Authorization": "Bearer secret"}}, nil,
			[]string{"DELETE api /zone?x=batch-1 Authorization=Bearer secret"}},
	} {
		s := &server{}
		g, err := generic.New(&generic.Options{Client: cdntest.Client(s), Forms: map[cdn.Kind]generic.Form{tt.kind: tt.form}, Tags: tags, Complete: true})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		r, err := g.Purge(t.Context(), cdn.Batch{Kind: tt.kind, Values: tt.vals, ID: "batch-1"})
		if err != nil || !r.Complete || len(r.Failed) > 0 {
			t.Errorf("%s: %+v, %v", tt.name, r, err)
		}
		if !slices.Equal(s.calls, tt.want) {
			t.Errorf("%s: got\n%q, want\n%q", tt.name, s.calls, tt.want)
		}
	}
}

func TestServers(t *testing.T) {
	s := &server{status: map[string]int{"b:1": 503}}
	g, err := generic.New(&generic.Options{
		Client: cdntest.Client(s), Servers: []string{"http://a:1", "http://b:1/cache/"},
		Forms: map[cdn.Kind]generic.Form{cdn.URL: {Method: "PURGE", URL: "/purge{path}", MaxItems: 10}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b := cdn.Batch{Kind: cdn.URL, Values: []string{"https://h/cat.jpg"}}
	_, err = g.Purge(t.Context(), b)
	if e, ok := errors.AsType[*cdn.Error](err); !ok || *e != (cdn.Error{Status: 503, Reason: "1 of 2 servers: b:1: said", Temporary: true}) {
		t.Error(err)
	}
	s.status, s.calls = nil, nil
	if r, err := g.Purge(t.Context(), b); err != nil || r.Complete {
		t.Errorf("another try: %+v, %v", r, err)
	}
	slices.Sort(s.calls)
	if !slices.Equal(s.calls, []string{"PURGE a:1 /purge/cat.jpg", "PURGE b:1 /cache/purge/cat.jpg"}) {
		t.Errorf("%q", s.calls)
	}
}

func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		status  int
		header  http.Header
		good    []int
		want    *cdn.Error
		partial bool
	}{
		{204, nil, nil, nil, false},
		{404, nil, []int{404, 412}, nil, false},
		{404, nil, nil, &cdn.Error{Status: 404, Reason: "said"}, false},
		{401, nil, nil, &cdn.Error{Status: 401, Reason: "said"}, false},
		{429, http.Header{"Retry-After": {"4"}}, nil, &cdn.Error{Status: 429, Reason: "said", Temporary: true, RetryAfter: 4 * time.Second}, false},
		{500, nil, nil, &cdn.Error{Status: 500, Reason: "said", Temporary: true}, false},
		{500, nil, nil, nil, true},
	} {
		s := &server{status: map[string]int{"a": tt.status}, header: tt.header}
		g, err := generic.New(&generic.Options{Client: cdntest.Client(s), Forms: map[cdn.Kind]generic.Form{
			cdn.URL: {Method: "PURGE", URL: "{url}", Statuses: tt.good, Header: map[string]string{"K": "secret"}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		b := cdn.Batch{Kind: cdn.URL, Values: []string{"https://a/1"}}
		if tt.partial {
			b.Values = append(b.Values, "https://b/2")
		}
		r, err := g.Purge(t.Context(), b)
		if e, _ := errors.AsType[*cdn.Error](err); !reflect.DeepEqual(e, tt.want) || e == nil && err != nil {
			t.Errorf("%d: %+v, want %+v", tt.status, err, tt.want)
		}
		if want := (cdn.Failure{Value: "https://a/1", Reason: "500: said", Temporary: true}); tt.partial != slices.Equal(r.Failed, []cdn.Failure{want}) {
			t.Errorf("%d: %+v", tt.status, r)
		}
	}
}

func TestFeatures(t *testing.T) {
	rate := cdn.Rate{Name: "requests", Burst: 10, PerSecond: 2}
	var o generic.Options
	if err := json.Unmarshal([]byte(`{
		"forms": {
			"tag": {"url": "https://api/", "header": {"Content-Type": "application/json"}, "body": "{\"tags\":{tags}}", "maxItems": 30, "maxBytes": 1000, "itemBytes": 3,
				"rates": [{"name": "requests", "burst": 10, "perSecond": 2}]},
			"url": {"method": "PURGE", "url": "{url}", "query": true}
		},
		"soft": {"tag": {"url": "https://api/soft?{tags}"}},
		"tags": [{"name": "Cache-Tag", "separator": ","}],
		"complete": true
	}`), &o); err != nil {
		t.Fatal(err)
	}
	s := &server{}
	o.Client = cdntest.Client(s)
	g, err := generic.New(&o)
	if err != nil {
		t.Fatal(err)
	}
	want := cdn.Features{
		Forms: map[cdn.Kind]cdn.Form{
			cdn.Tag: {MaxItems: 30, MaxBytes: 1000, ItemBytes: 3, Rates: []cdn.Rate{rate}},
			cdn.URL: {Query: true, Hard: true},
		},
		Soft: true, Tags: tags,
	}
	if got := g.Features(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for _, soft := range []bool{false, true} {
		if _, err := g.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{"a"}, Soft: soft}); err != nil {
			t.Error(err)
		}
	}
	if !slices.Equal(s.calls, []string{`POST api / {"tags":["a"]}`, "POST api /soft?a"}) {
		t.Errorf("%q", s.calls)
	}
	for _, b := range []cdn.Batch{
		{Kind: cdn.Prefix, Values: []string{"https://h/"}}, {Kind: cdn.All}, {Kind: cdn.URL, Values: []string{"/cat.jpg"}},
		{Kind: cdn.URL, Values: []string{"file:///cat.jpg"}}, {Kind: cdn.Tag, Values: []string{"a\r\nb: c"}},
	} {
		_, err := g.Purge(t.Context(), b)
		if e, ok := errors.AsType[*cdn.Error](err); !ok || e.Temporary {
			t.Errorf("%+v: %v", b, err)
		}
	}
	if len(s.calls) != 2 {
		t.Errorf("%q", s.calls)
	}
}

func TestNew(t *testing.T) {
	form := func(kind cdn.Kind, f generic.Form) generic.Options {
		return generic.Options{Forms: map[cdn.Kind]generic.Form{kind: f}, Tags: tags}
	}
	js := map[string]string{"Content-Type": "application/json", "Authorization": "secret"}
	for _, tt := range []struct {
		name string
		o    generic.Options
		want string
	}{
		{"no form", generic.Options{}, "Options.Forms is empty"},
		{"no such kind", form("colour", generic.Form{URL: "https://a/"}), `Options.Forms, "colour": there is no such kind`},
		{"no URL", form(cdn.All, generic.Form{}), "the URL begins with"},
		{"a path without servers", form(cdn.All, generic.Form{URL: "/all"}), "the URL begins with"},
		{"servers, and elsewhere", generic.Options{Servers: []string{"http://a"}, Forms: map[cdn.Kind]generic.Form{cdn.All: {URL: "https://a/secret"}}}, "as there are Servers"},
		{"a server", generic.Options{Servers: []string{"a"}, Forms: map[cdn.Kind]generic.Form{cdn.All: {URL: "/"}}}, "generic: \"a\" is not of the form"},
		{"nothing of the value", form(cdn.URL, generic.Form{URL: "https://a/secret"}), "no placeholder of what is to be purged"},
		{"of another kind", form(cdn.URL, generic.Form{URL: "https://a/{tag}"}), "there is no placeholder {tag} here"},
		{"of nothing", form(cdn.URL, generic.Form{URL: "https://a/{url}{token}"}), "there is no placeholder {token} here"},
		{"of a value, for all", form(cdn.All, generic.Form{URL: "{url}"}), "there is no placeholder {url} here"},
		{"mixed", form(cdn.Tag, generic.Form{URL: "https://a/{tag}", Body: "{tags}"}), "are mixed"},
		{"a method", form(cdn.All, generic.Form{URL: "https://a/", Method: "A B"}), "the method is no word"},
		{"a header", form(cdn.All, generic.Form{URL: "https://a/", Header: map[string]string{"a b": "secret"}}), "the name of a header"},
		{"a header's value", form(cdn.All, generic.Form{URL: "https://a/", Header: map[string]string{"a": "secret\nb: c"}}), "the header a has the end of a line"},
		{"no JSON", form(cdn.Tag, generic.Form{URL: "https://a/", Header: js, Body: `{"a":{tag}}`}), "the body is no JSON"},
		{"a list in quotes is a text", form(cdn.Tag, generic.Form{URL: "https://a/", Header: js, Body: `{"a":"{tags}"}`}), "the body is no JSON"},
		{"a limit", form(cdn.Tag, generic.Form{URL: "https://a/{tag}", MaxItems: -1}), "below zero"},
		{"tags that are nowhere", generic.Options{Forms: map[cdn.Kind]generic.Form{cdn.Tag: {URL: "https://a/{tag}"}}}, "Options.Tags says no header"},
		{"soft alone", generic.Options{Forms: map[cdn.Kind]generic.Form{cdn.All: {URL: "https://a/"}}, Soft: map[cdn.Kind]generic.Form{cdn.URL: {URL: "{url}"}}}, `Options.Soft has a form for "url"`},
	} {
		_, err := generic.New(&tt.o)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v; want %s", tt.name, err, tt.want)
		}
	}
	if _, err := generic.New(nil); err == nil {
		t.Error("nil is no description")
	}
}

// TestOthers has a generic CDN do what the adapters do, at their stand-ins.
func TestOthers(t *testing.T) {
	n := &cdntest.Nginx{Hosts: []string{"www.example.com"}, Accepts: []string{"*/*"}, Path: "/-/purge", Wildcards: true, AllPath: "/-/purge-all"}
	for _, path := range []string{"/a", "/a?w=1", "/b", "/c"} {
		n.Fill("www.example.com", path)
	}
	s := &cdntest.Souin{}
	s.Fill("https://www.example.com/a", "t1")
	s.Fill("https://www.example.com/b", "t2", "t3")
	s.Fill("https://www.example.com/c", "t4")
	host := map[string]string{"Host": "{host}", "Accept": "*/*"}
	nginx, err := generic.New(&generic.Options{Client: cdntest.Client(n), Servers: []string{"http://n:80"}, Forms: map[cdn.Kind]generic.Form{
		cdn.URL:    {Method: "PURGE", URL: "/-/purge{path}", Header: host, Statuses: []int{404, 412}},
		cdn.Prefix: {Method: "PURGE", URL: "/-/purge{path}*", Header: host},
		cdn.All:    {Method: "PURGE", URL: "/-/purge-all"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	souin, err := generic.New(&generic.Options{Client: cdntest.Client(s), Forms: map[cdn.Kind]generic.Form{
		cdn.Tag: {Method: "PURGE", URL: "http://s:2019/souin-api/souin", Header: map[string]string{"Surrogate-Key": "{tags}"}, Separator: ", "},
		cdn.All: {Method: "PURGE", URL: "http://s:2019/souin-api/souin/flush"},
	}, Tags: []cdn.TagHeader{{Name: "Surrogate-Key", Separator: ", "}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		c      cdn.CDN
		b      cdn.Batch
		copies func() []string
		left   []string
	}{
		{nginx, cdn.Batch{Kind: cdn.URL, Values: []string{"https://www.example.com/b", "https://www.example.com/d"}}, n.Copies, []string{"www.example.com/a", "www.example.com/a?w=1", "www.example.com/c"}},
		{nginx, cdn.Batch{Kind: cdn.Prefix, Values: []string{"https://www.example.com/a"}}, n.Copies, []string{"www.example.com/c"}},
		{nginx, cdn.Batch{Kind: cdn.All}, n.Copies, nil},
		{souin, cdn.Batch{Kind: cdn.Tag, Values: []string{"t1", "t3"}}, s.Copies, []string{"GET-https-www.example.com-/c"}},
		{souin, cdn.Batch{Kind: cdn.All}, s.Copies, nil},
	} {
		if _, err := tt.c.Purge(t.Context(), tt.b); err != nil {
			t.Error(err)
		}
		if got := tt.copies(); !slices.Equal(got, tt.left) {
			t.Errorf("%+v: left are %q, want %q", tt.b, got, tt.left)
		}
	}
	if faults := append(n.Faults(), s.Faults()...); len(faults) > 0 {
		t.Error(faults)
	}
}

// FuzzJSON holds bodies to be JSON, and values in them to be what was put in.
func FuzzJSON(f *testing.F) {
	f.Add("a", `"`)
	f.Add("</script>", "\u2028\\")
	f.Fuzz(func(t *testing.T, a, b string) {
		a, b = strings.ToValidUTF8(a, ""), strings.ToValidUTF8(b, "")
		if strings.ContainsAny(a+b, "\r\n\x00") {
			t.Skip()
		}
		var got struct{ Tags []string }
		client := cdntest.Client(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			dec := json.NewDecoder(bytes.NewReader(body))
			if err := dec.Decode(&got); err != nil || dec.More() {
				t.Errorf("%q: %v", body, err)
			}
		}))
		g, err := generic.New(&generic.Options{Client: client, Tags: tags, Forms: map[cdn.Kind]generic.Form{
			cdn.Tag: {URL: "https://api/", Header: map[string]string{"Content-Type": "application/json"}, Body: `{"tags": {tags}}`},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Purge(t.Context(), cdn.Batch{Kind: cdn.Tag, Values: []string{a, b}}); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Tags, []string{a, b}) {
			t.Errorf("%q, want %q", got.Tags, []string{a, b})
		}
	})
}
