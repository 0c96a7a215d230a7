package imagecdn_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/purge/cdn/cdntest"
	"github.com/imagecdn/imagecdn/purge/cdn/cloudimage"
	"github.com/imagecdn/imagecdn/purge/cdn/imgix"
)

// compatOrigin has a few images, of the source "photos".
func compatOrigin(t testing.TB) *fakeOrigin {
	o := newOrigin()
	for _, path := range []string{"/cat.png", "/dog.png", "/a b.png", "/2026/one.png", "/2026/two.png", "/20260.png", "/cat.png/inner.png"} {
		o.set(path, answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
	}
	return o
}

// An asker calls the handlers of a program that has all of them, without a network.
type asker struct {
	t   *testing.T
	h   *imagecdn.Handler
	mux *http.ServeMux
}

// ask opens the program of docs/compatible-apis.md.
func ask(t *testing.T, o http.RoundTripper, opts *imagecdn.Options, admin *imagecdn.AdminOptions) *asker {
	t.Helper()
	a := &asker{t: t, h: open(t, o, opts), mux: http.NewServeMux()}
	a.mux.Handle("/-/", http.StripPrefix("/-", a.h.Admin(admin)))
	a.mux.Handle("/img/", http.StripPrefix("/img", a.h.PurgeMethod(nil, admin)))
	return a
}

var oneKey = &imagecdn.AdminOptions{Keys: []string{"k3y"}}

// do sends a request with pairs of header fields.
func (a *asker) do(method, target, body string, header ...string) *httptest.ResponseRecorder {
	a.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	a.mux.ServeHTTP(w, r)
	return w
}

func (a *asker) cloudimage(body string) *httptest.ResponseRecorder {
	a.t.Helper()
	return a.do("POST", "/-/invalidate", body, "Content-Type", "application/json", "X-Client-Key", "k3y")
}

func (a *asker) imgix(url string) *httptest.ResponseRecorder {
	a.t.Helper()
	return a.do("POST", "/-/api/v1/purge", fmt.Sprintf(`{"data":{"attributes":{"url":%q},"type":"purges"}}`, url),
		"Content-Type", "application/vnd.api+json", "Authorization", "Bearer k3y")
}

func (a *asker) draft(body string) *httptest.ResponseRecorder {
	a.t.Helper()
	return a.do("POST", "/-/invalidation", body, "Content-Type", "application/json", "Authorization", "Bearer k3y")
}

// ended is the job that an answer names, at its end.
func (a *asker) ended(id string) purge.Record {
	a.t.Helper()
	for range 10_000 {
		var rec purge.Record
		w := a.do("GET", "/-/api/v1/purges/"+id, "", "Authorization", "Bearer k3y")
		if err := json.Unmarshal(w.Body.Bytes(), &rec); err != nil || w.Code != 200 {
			a.t.Fatal(w.Code, w.Body)
		}
		if rec.State.Final() {
			return rec
		}
		time.Sleep(time.Millisecond)
	}
	a.t.Fatal(id, " does not end")
	panic("unreached")
}

// purges are all jobs, oldest first, as "scope mode paths".
func (a *asker) purges() (all []string) {
	a.t.Helper()
	var list struct{ Purges []purge.Record }
	w := a.do("GET", "/-/api/v1/purges?limit=100", "", "Authorization", "Bearer k3y")
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
		a.t.Fatal(err)
	}
	for _, rec := range slices.Backward(list.Purges) {
		s := fmt.Sprintf("%s %s", rec.Scope, rec.Mode)
		for _, p := range rec.Paths {
			s += " " + p.Path
		}
		if rec.Cause != purge.ByAPI {
			s += " by " + string(rec.Cause)
		}
		all = append(all, s)
	}
	return all
}

var (
	anUUID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	aTime  = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}`)
)

// same compares two JSON texts field by field. IDs and times are equal to each other.
func same(t *testing.T, what, got, want string) {
	t.Helper()
	var values [2]any
	for i, text := range []string{got, want} {
		text = aTime.ReplaceAllString(anUUID.ReplaceAllString(text, "UUID"), "TIME")
		if err := json.Unmarshal([]byte(text), &values[i]); err != nil {
			t.Errorf("%s: %v: %s", what, err, text)
			return
		}
	}
	if !reflect.DeepEqual(values[0], values[1]) {
		t.Errorf("%s:\ngot  %swant %s", what, got, want)
	}
}

func ExampleHandler_PurgeMethod() {
	h, err := imagecdn.New(imagecdn.Sources{"photos": imagecdn.Dir("testdata")}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer h.Close()
	mux := http.NewServeMux()
	mux.Handle("/img/", http.StripPrefix("/img", h.PurgeMethod(nil, &imagecdn.AdminOptions{Keys: []string{"a-long-random-key"}})))

	for _, key := range []string{"a-long-random-key", "another"} {
		r := httptest.NewRequest("PURGE", "/img/photos/cat.jpg?w=400", nil)
		r.Header.Set("Authorization", "Bearer "+key)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(w.Code, http.StatusText(w.Code))
	}
	// Output:
	// 200 OK
	// 401 Unauthorized
}

// Every endpoint is closed without a key, to a wrong key, and to a handler that has no keys; and open with the right one.
func TestCompatibleAPIsWantAKey(t *testing.T) {
	const purges = `{"data":{"attributes":{"url":"https://example.com/photos/cat.png"},"type":"purges"}}`
	for _, tt := range []struct {
		method, path, contentType, body string
		header                          string // of the key
		status                          int    // with the key
	}{
		{"POST", "/-/invalidate", "application/json", `{"scope":"original","urls":["/photos/cat.png"]}`, "X-Client-Key", 201},
		{"POST", "/-/invalidate", "application/json", `{"scope":"original","urls":["/photos/cat.png"]}`, "Authorization", 201},
		{"GET", "/-/invalidate/00000000-0000-0000-0000-000000000000", "", "", "X-Client-Key", 404},
		{"POST", "/-/api/v1/purge", "application/vnd.api+json", purges, "Authorization", 200},
		{"POST", "/-/invalidation", "application/json", `{"type":"uri","selectors":["https://example.com/photos/cat.png"]}`, "Authorization", 200},
		{"PURGE", "/img/photos/cat.png", "", "", "Authorization", 200},
		{"PURGE", "/img/photos/cat.png", "", "", "Fastly-Key", 200},
	} {
		key := func(k string) string {
			if tt.header == "Authorization" {
				return "Bearer " + k
			}
			return k
		}
		a := ask(t, compatOrigin(t), nil, oneKey)
		closed := ask(t, compatOrigin(t), nil, nil)
		empty := ask(t, compatOrigin(t), nil, &imagecdn.AdminOptions{Keys: []string{""}})
		asks := 0
		own := ask(t, compatOrigin(t), nil, &imagecdn.AdminOptions{Keys: []string{"unused"}, Authorize: func(r *http.Request) error {
			if asks++; r.Header.Get("Authorization") != "Bearer k3y" {
				return errors.New("who are you?")
			}
			return nil
		}})
		for _, c := range []struct {
			what   string
			a      *asker
			header []string
			status int
			words  string
		}{
			{"no key", a, nil, 401, "give a key: "},
			{"an empty key", a, []string{tt.header, key("")}, 401, "give a key: "},
			{"a wrong key", a, []string{tt.header, key("k3x")}, 401, "the key opens nothing here"},
			{"in another field", a, []string{"X-Api-Key", "k3y"}, 401, "give a key: "},
			{"no scheme", a, []string{"Authorization", "k3y"}, 401, "give a key: "},
			{"a wrong one beside", a, []string{"Authorization", "Bearer k3x", "X-Client-Key", "k3y", "Fastly-Key", "k3y"}, 401, "opens nothing"},
			{"no keys are set", closed, []string{tt.header, key("k3y")}, 401, "the key opens nothing here"},
			{"an empty key is set", empty, []string{tt.header, key("")}, 401, "give a key: "},
			{"refused by the program", own, []string{tt.header, key("unused")}, 401, "who are you?"},
			{"the key", a, []string{tt.header, key("k3y")}, tt.status, ""},
			{"let in by the program", own, []string{tt.header, key("k3y")}, tt.status, ""},
		} {
			w := c.a.do(tt.method, tt.path, tt.body, append(c.header, "Content-Type", tt.contentType)...)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.words) {
				t.Errorf("%s %s, %s: %d %s", tt.method, tt.path, c.what, w.Code, w.Body)
			}
			if c.status == 401 && (w.Header().Get("WWW-Authenticate") == "" || c.a != a && len(c.a.purges401()) != 0) {
				t.Errorf("%s %s, %s: %v", tt.method, tt.path, c.what, w.Header())
			}
			if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s %s, %s: %v", tt.method, tt.path, c.what, w.Header())
			}
		}
		if n := len(a.purges()); tt.method != "GET" && n != 1 || tt.method == "GET" && n != 0 {
			t.Errorf("%s %s: %d purges were made", tt.method, tt.path, n)
		}
		if asks != 2 {
			t.Errorf("%s %s: the program was asked %d times", tt.method, tt.path, asks)
		}
	}
}

// purges401 are the purges of a handler whose API nobody gets into: its own method lists them.
func (a *asker) purges401() []purge.Record {
	records, _, err := a.h.Purges().List("", 10)
	if err != nil {
		a.t.Fatal(err)
	}
	return records
}

// What scaleflex/cloudimage-rb and Scaleflex's published collection show, field by field.
func TestCloudimageAPI(t *testing.T) {
	o := compatOrigin(t)
	a := ask(t, o, nil, oneKey)
	mustGet(t, a.h, "/photos/cat.png?w=20")
	w := a.cloudimage(`{"scope":"original","urls":["/photos/cat.png","photos/a%20b.png"]}`)
	if w.Code != 201 || w.Header().Get("Content-Type") != "application/json" {
		t.Error(w.Code, w.Header())
	}
	same(t, "invalidate", w.Body.String(), `{"status":"success","msg":"Your invalidation request has been received",
		"invalidation":{"status":"RECEIVED","uuid":"4fc96d31-9815-4021-830a-ca6d96c514a5","added_at":"2023-08-08 13:39:52.636426"}}`)
	id := anUUID.FindString(w.Body.String())
	if got, want := w.Header().Get("Location"), "/-/invalidate/"+id; got != want {
		t.Errorf("Location %q", got)
	}
	if rec := a.ended(id); rec.State != purge.Done || rec.Mode != purge.Delete || rec.Paths[0].Derivatives != 1 {
		t.Errorf("%+v", rec)
	}
	w = a.do("GET", "/-/invalidate/"+id, "", "X-Client-Key", "k3y", "Content-Type", "application/json")
	if w.Code != 200 {
		t.Error(w.Code)
	}
	same(t, "status", w.Body.String(), `{"status":"success","invalidation":{"status":"DONE","uuid":"8f988e14-24ca-4225-ae88-0e525f48ab78",
		"added_at":"2023-08-08 13:40:26.766563","urls":{"received":["/photos/cat.png","/photos/a%20b.png"],
		"invalidated":["/photos/cat.png","/photos/a%20b.png"],"failed":[]},"scope":"original"}}`)

	w = a.cloudimage(`{"scope":"all"}`)
	id = anUUID.FindString(w.Body.String())
	a.ended(id)
	w = a.do("GET", "/-/invalidate/"+id, "", "X-Client-Key", "k3y")
	same(t, "status of all", w.Body.String(), `{"status":"success","invalidation":{"status":"DONE","uuid":"8f988e14-24ca-4225-ae88-0e525f48ab78",
		"added_at":"2023-08-08 13:40:26.766563","urls":{"received":null,"invalidated":["/*"],"failed":[]},"scope":"all"}}`)

	w = a.do("GET", "/-/invalidate/nothing", "", "X-Client-Key", "k3y")
	same(t, "of nothing", w.Body.String(), `{"status":"error","code":"not_found","msg":"purge: there is no such job"}`)

	a.cloudimage(`{"scope":"original","urls":["/photos/2026/*"]}`)
	a.cloudimage(`{"scope":"original","urls":["/photos/*"]}`)
	want := []string{
		"original delete /photos/cat.png /photos/a b.png", "all delete /*", "prefix delete /photos/2026/", "all delete /photos/*",
	}
	if got := a.purges(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// The job's states in Cloudimage's words, each as it is.
func TestCloudimageStatuses(t *testing.T) {
	for state, want := range map[purge.State]string{
		purge.Received: "RECEIVED", purge.Preparing: "PREPARING", purge.FlushingServers: "FLUSHINGCLOUDIMAGESERVER", purge.FlushingCDN: "FLUSHINGCDNSERVERS",
		purge.Done: "DONE", purge.Error: "ERROR", purge.ErrorCDNNode: "ERROR", purge.Expired: "ERROR",
	} {
		if got := imagecdn.CloudimageStatus(state); got != want {
			t.Errorf("%s is %q", state, got)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		o := compatOrigin(t)
		a := ask(t, o, nil, oneKey)
		defer a.h.Close()
		mustGet(t, a.h, "/photos/cat.png")
		goOn := make(chan struct{})
		o.mu.Lock()
		o.block = func(*http.Request, string) { <-goOn }
		o.images["/cat.png"] = answer{err: errors.New("away")}
		o.mu.Unlock()
		job, err := a.h.Purge(t.Context(), []string{"/photos/cat.png"}, &purge.Options{Mode: purge.Revalidate})
		if err != nil {
			t.Fatal(err)
		}
		status := func() string { return a.do("GET", "/-/invalidate/"+job.ID(), "", "X-Client-Key", "k3y").Body.String() }
		synctest.Wait()
		const in = `{"status":"success","invalidation":{"status":%q,"uuid":"8f988e14-24ca-4225-ae88-0e525f48ab78",
			"added_at":"2023-08-08 13:40:26.766563","urls":{"received":["/photos/cat.png"],"invalidated":[],"failed":[%s]},"scope":"original"}}`
		same(t, "at work", status(), fmt.Sprintf(in, "FLUSHINGCLOUDIMAGESERVER", ""))
		close(goOn)
		if rec, err := job.Wait(t.Context()); err != nil || rec.State != purge.Error {
			t.Fatal(rec.State, err)
		}
		same(t, "failed", status(), fmt.Sprintf(in, "ERROR", `"/photos/cat.png"`))
	})
}

// The wrong forms that Cloudimage's documentation lists are refused, with the right one.
func TestCloudimagePaths(t *testing.T) {
	native := ask(t, compatOrigin(t), nil, oneKey)
	cloudimage := ask(t, compatOrigin(t), &imagecdn.Options{Dialect: imagecdn.Cloudimage{
		Hosts: map[string]string{"sample.li": "photos"}, Aliases: map[string]string{"_shop_": "photos/shop"}, Prefix: "photos/prefix",
	}}, oneKey)
	plain := ask(t, compatOrigin(t), &imagecdn.Options{Dialect: imagecdn.Cloudimage{Hosts: map[string]string{"sample.li": "photos"}}}, oneKey)
	for _, tt := range []struct {
		a          *asker
		path       string
		want       string // the purge; or else the refusal
		statusCode int
	}{
		{cloudimage, "/sample.li/flat1.jpg", "original delete /photos/flat1.jpg", 201},
		{cloudimage, "v7/sample.li/flat1.jpg", "original delete /photos/flat1.jpg", 201},
		{cloudimage, "/v7/sample.li/flat1.jpg", "original delete /photos/flat1.jpg", 201},
		{cloudimage, "https://sample.li/a/flat1.jpg", "original delete /photos/a/flat1.jpg", 201},
		{cloudimage, "_shop_/flat1.jpg", "original delete /photos/shop/flat1.jpg", 201},
		{cloudimage, "images/flat1.jpg", "original delete /photos/prefix/images/flat1.jpg", 201},
		{cloudimage, "/sample.li/avatars/*", "prefix delete /photos/avatars/", 201},
		{cloudimage, "/sample.li/*", "all delete /photos/*", 201},
		{cloudimage, "/_shop_/*", "prefix delete /photos/shop/", 201},

		{cloudimage, "/sample.li/flat1.jpg?w=500", `path "/sample.li/flat1.jpg?w=500" has a query; the right form is "/sample.li/flat1.jpg"`, 400},
		{cloudimage, "doc.cloudimg.io/sample.li/flat1.jpg",
			`path "doc.cloudimg.io/sample.li/flat1.jpg" has a host, and no leading slash; the right form is "/sample.li/flat1.jpg"`, 400},
		{cloudimage, "doc.cloudimg.io/sample.li/flat1.jpg?w=500",
			`has a host, and no leading slash, and has a query; the right form is "/sample.li/flat1.jpg"`, 400},
		{plain, "/sample.li/flat1.jpg?w=500", `has a query; the right form is "/sample.li/flat1.jpg"`, 400},
		{plain, "doc.cloudimg.io/sample.li/flat1.jpg", `has a host, and no leading slash; the right form is "/sample.li/flat1.jpg"`, 400},
		{plain, "sample.li/a/flat1.jpg", `has a host, and no leading slash; the right form is "/sample.li/a/flat1.jpg"`, 400},
		{plain, "doc.cloudimg.io/sample.li/flat1.jpg?w=500", `the right form is "/sample.li/flat1.jpg"`, 400},
		{plain, "https://doc.cloudimg.io/sample.li/flat1.jpg", "the host doc.cloudimg.io is none of those that images come from here", 403},
		{plain, "/doc.cloudimg.io/sample.li/flat1.jpg", "begins with doc.cloudimg.io, which is neither a host nor an alias", 403},
		{plain, "images/flat1.jpg", "begins with images, which is neither", 403},
		{plain, "", `path "" is empty; the right form is`, 400},
		{plain, "/sample.li/flat1.jpg#x", "has a fragment", 400},
		{plain, "/sample.li/%zz.jpg", "percent", 400},
		{plain, "/*", `is everything, which is purged with scope "all"`, 400},
		{plain, "/sample.li/*.jpg", `has a wildcard elsewhere than at its end, after a slash; the right form is "/sample.li/avatars/*"`, 400},
		{native, "/photos/a b猫.png", "original delete /photos/a b猫.png", 201},
		{native, "/photos/cat.png", "original delete /photos/cat.png", 201},
		{native, "/photos/../secret", `has the segment ".."`, 400},
		{native, "/nothing/cat.png", `names a source, "nothing", that does not exist here`, 400},
		{native, "cat.png", `one segment`, 400},
	} {
		before := len(tt.a.purges())
		body, _ := json.Marshal(map[string]any{"scope": "original", "urls": []string{tt.path}})
		w := tt.a.cloudimage(string(body))
		if w.Code != tt.statusCode {
			t.Errorf("%s: %d %s", tt.path, w.Code, w.Body)
		}
		made := tt.a.purges()[before:]
		if tt.statusCode == 201 {
			if !slices.Equal(made, []string{tt.want}) {
				t.Errorf("%s: %q", tt.path, made)
			}
			continue
		}
		var refused struct{ Status, Code, Msg string }
		if err := json.Unmarshal(w.Body.Bytes(), &refused); err != nil || refused.Status != "error" || refused.Code != "invalid_path" || !strings.Contains(refused.Msg, tt.want) {
			t.Errorf("%s: %v %s", tt.path, err, w.Body)
		}
		if len(made) != 0 {
			t.Errorf("%s: %q", tt.path, made)
		}
	}
}

func TestCloudimageRefusals(t *testing.T) {
	a := ask(t, compatOrigin(t), &imagecdn.Options{Purge: &purge.ServiceOptions{Limits: func(string) purge.Limits { return purge.MultiCDNLimits() }}}, oneKey)
	for _, tt := range []struct {
		body   string
		status int
		words  string
	}{
		{``, 400, "the body is not an invalidation: EOF"},
		{`{"scope":"all"}{}`, 400, "more than one"},
		{`{"urls":"/photos/cat.png"}`, 400, "cannot unmarshal"},
		{`{"urls":["/photos/cat.png"]}`, 400, `scope is \"\"`},
		{`{"scope":"urls","urls":["/photos/cat.png?w=20"]}`, 400, `scope is \"urls\"; it may be \"original\"`},
		{`{"scope":"original"}`, 400, "urls is empty"},
		{`{"scope":"all","urls":["/photos/cat.png"]}`, 400, "urls goes with scope"},
		{`{"scope":"original","urls":["/photos/cat.png","/photos/2026/*"]}`, 400, "make it several"},
		{`{"scope":"original","urls":["` + strings.Repeat("x", 1<<20) + `"]}`, 413, "too large"},
		{`{"scope":"all","more":1}`, 201, "RECEIVED"},
		{`{"scope":"all"}`, 429, "a minute"},
	} {
		w := a.cloudimage(tt.body)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.words) {
			t.Errorf("%.60s: %d %s", tt.body, w.Code, w.Body)
		}
		if after := w.Header().Get("Retry-After"); tt.status == 429 && after != "60" {
			t.Errorf("Retry-After %q", after)
		}
	}
	for _, contentType := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "/"} {
		w := a.do("POST", "/-/invalidate", `{"scope":"all"}`, "Content-Type", contentType, "X-Client-Key", "k3y")
		if w.Code != 415 {
			t.Errorf("%q: %d", contentType, w.Code)
		}
	}
	if w := a.do("PUT", "/-/invalidate", `{"scope":"all"}`, "Content-Type", "application/json", "X-Client-Key", "k3y"); w.Code != 404 {
		t.Error(w.Code)
	}
}

// What docs.imgix.com/apis/management/purges shows, field by field.
func TestImgixAPI(t *testing.T) {
	o := compatOrigin(t)
	a := ask(t, o, nil, oneKey)
	before := mustGet(t, a.h, "/photos/cat.png?w=20")
	w := a.imgix("https://assets.imgix.net/photos/cat.png?w=400")
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/vnd.api+json" {
		t.Error(w.Code, w.Header())
	}
	same(t, "purge", w.Body.String(), `{"data":{"attributes":{"purge_id":"a794e260-3776-4efe-9878-35acec6980b6"},"id":"a794e260-3776-4efe-9878-35acec6980b6",
		"type":"purges"},"included":[],"jsonapi":{"version":"1.0"},"meta":{}}`)
	ids := anUUID.FindAllString(w.Body.String(), -1)
	if len(ids) != 2 || ids[0] != ids[1] {
		t.Error(ids)
	}
	// imgix asks the origin first, and what is unchanged stays.
	if rec := a.ended(ids[0]); rec.State != purge.Done || rec.Mode != purge.Revalidate || rec.Paths[0].Outcome != purge.Unchanged {
		t.Errorf("%+v", rec)
	}
	o.set("/cat.png", answer{header: http.Header{"Cache-Control": {"max-age=3600"}, "Etag": {`"2"`}}, body: paint(t, blue, 40, 40)})
	w = a.do("POST", "/-/api/v1/purge", `{"data":{"attributes":{"url":"http://assets.imgix.net/photos/cat.png","sub_image":true,"source_id":"5f1a2b3c4d5e6f7a8b9c0d1e"},"type":"purges"}}`,
		"Content-Type", "application/json", "Authorization", "Bearer k3y")
	// Less than ten seconds later: a duplicate, which succeeds.
	if w.Code != 409 || w.Header().Get("Content-Type") != "application/vnd.api+json" {
		t.Error(w.Code, w.Header())
	}
	same(t, "duplicate", w.Body.String(), `{"errors":[{"status":"409","code":"duplicate","title":"Conflict",
		"detail":"this image was purged less than 10 seconds ago; it is purged again nevertheless, as a794e260-3776-4efe-9878-35acec6980b6"}],"jsonapi":{"version":"1.0"}}`)
	if rec := a.ended(anUUID.FindString(w.Body.String())); rec.State != purge.Done || rec.Paths[0].Outcome != purge.Changed || rec.Paths[0].Derivatives != 1 {
		t.Errorf("%+v", rec)
	}
	if after := mustGet(t, a.h, "/photos/cat.png?w=20"); colorOf(t, before.Body.Bytes()) != red || colorOf(t, after.Body.Bytes()) != blue {
		t.Error("the picture is of before")
	}
	if w := a.imgix("https://assets.imgix.net/photos/dog.png"); w.Code != 200 {
		t.Error(w.Code)
	}
}

func TestImgixDuplicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := ask(t, compatOrigin(t), nil, oneKey)
		defer a.h.Close()
		for i, tt := range []struct {
			url    string
			later  time.Duration
			status int
		}{
			{"https://h/photos/cat.png", 0, 200},
			{"https://h/photos/cat.png?w=2", 9999 * time.Millisecond, 409},
			{"https://h/photos/%63at.png", 9999 * time.Millisecond, 409}, // as often as it is asked
			{"https://h/photos/dog.png", 0, 200},
			{"https://h/photos/cat.png", 10 * time.Second, 200},
			{"https://h/photos/dog.png", 0, 200},
		} {
			time.Sleep(tt.later)
			if w := a.imgix(tt.url); w.Code != tt.status {
				t.Errorf("%d: %d %s", i, w.Code, w.Body)
			}
		}
		if n := len(a.purges()); n != 6 {
			t.Errorf("%d purges", n)
		}
	})
	if n := imagecdn.FillDuplicates(25_000); n > 10_000 {
		t.Errorf("%d are remembered", n)
	}
}

func TestImgixURLs(t *testing.T) {
	o := compatOrigin(t)
	based := &imagecdn.AdminOptions{Keys: []string{"k3y"}, Bases: []string{"https://www.example.com/img/", "https://img.example.com", "https://img.example.com/sub", "nonsense"}}
	native := ask(t, o, nil, based)
	anyHost := ask(t, o, nil, oneKey)
	whole := ask(t, o, &imagecdn.Options{Dialect: imagecdn.Imgix{Source: "photos/folder", Hosts: map[string]string{"img.example.com": "photos"}}}, oneKey)
	cloudimage := ask(t, o, &imagecdn.Options{Dialect: imagecdn.Cloudimage{Hosts: map[string]string{"img.example.com": "photos"}}}, oneKey)
	laddered := ask(t, o, &imagecdn.Options{Ladder: &imagecdn.Ladder{Widths: []int{100}}, PresetsOnly: true, Strict: true, Presets: map[string]string{"a": "w=100"}}, oneKey)
	nowhere := ask(t, o, nil, &imagecdn.AdminOptions{Keys: []string{"k3y"}, Bases: []string{"www.example.com/img"}})
	for _, tt := range []struct {
		a    *asker
		url  string
		want string // the path; or else the refusal
		code int
	}{
		{anyHost, "https://h/photos/cat.png", "/photos/cat.png", 200},
		{anyHost, "http://user@h:8080/photos/a%20b.png?w=1#x", "/photos/a b.png", 200},
		{anyHost, "https://h/photos/x/../%61%20b.png", "/photos/a b.png", 409},
		{anyHost, "https://h/photos/%E7%8C%AB.jpg", "/photos/猫.jpg", 200},
		{anyHost, "https://h/photos/猫.jpg", "/photos/猫.jpg", 409},
		{anyHost, "https://h/photos/a%2Fb.jpg", "encoded slash", 400},
		{anyHost, "https://h/photos/", "slash", 400},
		{anyHost, "https://h/none/cat.png", "does not exist here", 400},
		{anyHost, "https://h", "path /: has", 400},
		{anyHost, "/photos/cat.png", "the whole URL of an image", 400},
		{anyHost, "h/photos/cat.png", "the whole URL of an image", 400},
		{anyHost, "", "the whole URL of an image", 400},
		{anyHost, "ftp://h/photos/cat.png", "the whole URL of an image", 400},
		{native, "https://www.example.com/img/photos/cat.png", "/photos/cat.png", 200},
		{native, "http://WWW.example.com:80/img/photos/dog.png", "/photos/dog.png", 200},
		{native, "https://img.example.com/photos/a.png", "/photos/a.png", 200},
		{native, "https://img.example.com/sub/photos/b.png", "/photos/b.png", 200},
		{native, "https://www.example.com/photos/cat.png", "images are not at www.example.com/photos/cat.png here", 403},
		{native, "https://www.example.com/imgs/photos/cat.png", "images are not at", 403},
		{native, "https://example.com/img/photos/cat.png", "images are not at", 403},
		{native, "https://www.example.com:8443/img/photos/cat.png", "images are not at", 403},
		{native, "https://www.example.com/img/../photos/cat.png", "images are not at", 403},
		{nowhere, "https://www.example.com/img/photos/cat.png", "images are not at", 403},
		{whole, "https://shop.imgix.net/users/1.png?w=4", "/photos/folder/users/1.png", 200},
		{whole, "https://shop.imgix.net/https%3A%2F%2Fimg.example.com%2Fa.jpg%3Fv%3D2?w=4", "/photos/a.jpg", 200},
		{whole, "https://shop.imgix.net/https%3A%2F%2Fother.example.com%2Fa.jpg", "is none of those", 403},
		{cloudimage, "https://t.cloudimg.io/v7/https://img.example.com/a/b.jpg?w=4", "/photos/a/b.jpg", 200},
		{cloudimage, "https://t.cloudimg.io/img.example.com/a/c.jpg?alt=media?w=4", "/photos/a/c.jpg", 200},
		{cloudimage, "https://t.cloudimg.io/v7/img.example.com/a%2520d.jpg?w=4", "/photos/a%20d.jpg", 200},
		{cloudimage, "https://t.cloudimg.io/v7/img.example.com/a%2520d.jpg?ci_url_encoded=1&w=4", "/photos/a d.jpg", 200},
		{cloudimage, "https://t.cloudimg.io/v7/img.example.com%2Fa%2Fe.jpg?ci_url_encoded=1", "/photos/a/e.jpg", 200},
		{cloudimage, "https://t.cloudimg.io/v7/img.example.com/f.jpg?w=none", "/photos/f.jpg", 200},
		{laddered, "https://h/photos/cat.png", "/photos/cat.png", 200},
	} {
		before := len(tt.a.purges())
		w := tt.a.imgix(tt.url)
		made := tt.a.purges()[before:]
		if w.Code != tt.code {
			t.Errorf("%s: %d %s", tt.url, w.Code, w.Body)
		}
		if tt.code == 200 || tt.code == 409 {
			if !slices.Equal(made, []string{"original revalidate " + tt.want}) {
				t.Errorf("%s: %q", tt.url, made)
			}
			continue
		}
		var refused struct {
			Errors  []struct{ Status, Code, Title, Detail string }
			JSONAPI struct{ Version string }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &refused); err != nil || len(refused.Errors) != 1 || refused.Errors[0].Status != fmt.Sprint(tt.code) ||
			refused.Errors[0].Title != http.StatusText(tt.code) || !strings.Contains(refused.Errors[0].Detail, tt.want) || refused.JSONAPI.Version != "1.0" || len(made) != 0 {
			t.Errorf("%s: %v %s %q", tt.url, err, w.Body, made)
		}
	}
}

func TestImgixRefusals(t *testing.T) {
	a := ask(t, compatOrigin(t), nil, oneKey)
	for _, tt := range []struct {
		contentType, body string
		status            int
		words             string
	}{
		{"application/vnd.api+json", `{`, 400, "the body is not a purge"},
		{"application/vnd.api+json", `{}`, 400, `data.type is \"\"`},
		{"application/vnd.api+json", `{"url":"https://h/photos/cat.png"}`, 400, `data.type`},
		{"application/vnd.api+json", `{"data":{"type":"assets","attributes":{"url":"https://h/photos/cat.png"}}}`, 400, `assets`},
		{"application/vnd.api+json", `{"data":{"type":"purges","attributes":{"url":["https://h/photos/cat.png"]}}}`, 400, `cannot unmarshal`},
		{"application/vnd.api+json", `{"data":{"type":"purges","attributes":{"url":"https://h/photos/cat.png","sub_image":"yes"}}}`, 400, `cannot unmarshal`},
		{"text/plain", `{"data":{"type":"purges","attributes":{"url":"https://h/photos/cat.png"}}}`, 415, `text/plain`},
	} {
		w := a.do("POST", "/-/api/v1/purge", tt.body, "Content-Type", tt.contentType, "Authorization", "Bearer k3y")
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.words) || w.Header().Get("Content-Type") != "application/vnd.api+json" {
			t.Errorf("%s: %d %s", tt.body, w.Code, w.Body)
		}
	}
	if made := a.purges(); made != nil {
		t.Error(made)
	}
}

// The rules of draft-nottingham-http-invalidation, by what is purged and what is answered.
func TestInvalidationDraft(t *testing.T) {
	o := compatOrigin(t)
	anyHost := ask(t, o, nil, oneKey)
	based := ask(t, o, nil, &imagecdn.AdminOptions{Keys: []string{"k3y"}, Bases: []string{"https://www.example.com/img"}})
	imgix := ask(t, o, &imagecdn.Options{Dialect: imagecdn.Imgix{Source: "photos"}}, oneKey)
	ci := ask(t, o, &imagecdn.Options{Dialect: imagecdn.Cloudimage{Hosts: map[string]string{"img.example.com": "photos/shop"}}}, oneKey)
	for _, tt := range []struct {
		what   string
		a      *asker
		body   string
		status int
		want   []string // purges; or else the refusal
	}{
		{"two images", anyHost, `{"type":"uri","selectors":["https://example.com/photos/cat.png","https://example.com/photos/dog.png"]}`, 200,
			[]string{"original revalidate /photos/cat.png /photos/dog.png"}},
		{"dropped", anyHost, `{"type":"uri","selectors":["https://h/photos/cat.png"],"purge":true}`, 200, []string{"original delete /photos/cat.png"}},
		{"a query", anyHost, `{"type":"uri","selectors":["https://h/photos/cat.png?w=4","https://h/photos/cat.png?w=8"]}`, 200, []string{"original revalidate /photos/cat.png"}},
		{"other spellings", anyHost, `{"type":"uri","selectors":["HTTPS://h:443/x/../photos/%63at.png"]}`, 200, []string{"original revalidate /photos/cat.png"}},
		{"encoded dots", anyHost, `{"type":"uri","selectors":["https://h/x/%2e%2E/photos/cat.png"]}`, 200, []string{"original revalidate /photos/cat.png"}},
		{"an IRI", anyHost, `{"type":"uri","selectors":["https://h/photos/猫.png"]}`, 200, []string{"original revalidate /photos/猫.png"}},
		{"a folder is no image", anyHost, `{"type":"uri","selectors":["https://h/photos/2026/"]}`, 200, nil},
		{"no selectors", anyHost, `{"type":"uri","selectors":[]}`, 200, nil},
		{"unknown members", anyHost, `{"type":"uri","selectors":["https://h/photos/cat.png"],"reason":"x"}`, 200, []string{"original revalidate /photos/cat.png"}},
		{"another source", anyHost, `{"type":"uri","selectors":["https://h/none/cat.png","https://h/photos/cat.png"]}`, 200, []string{"original revalidate /photos/cat.png"}},
		{"another scheme", anyHost, `{"type":"uri","selectors":["ftp://h/photos/cat.png"]}`, 200, nil},

		{"a prefix", anyHost, `{"type":"uri-prefix","selectors":["https://h/photos/2026"]}`, 200,
			[]string{"prefix revalidate /photos/2026/", "original revalidate /photos/2026"}},
		{"a folder", anyHost, `{"type":"uri-prefix","selectors":["https://h/photos/2026/"],"purge":true}`, 200, []string{"prefix delete /photos/2026/"}},
		{"a prefix with a query", anyHost, `{"type":"uri-prefix","selectors":["https://h/photos/cat.png?w="]}`, 200, []string{"original revalidate /photos/cat.png"}},
		{"a source", anyHost, `{"type":"uri-prefix","selectors":["https://h/photos","https://h/photos/","https://h/none/"]}`, 200, []string{"all revalidate /photos/*"}},
		{"the root", anyHost, `{"type":"uri-prefix","selectors":["https://h/"]}`, 200, []string{"all revalidate /*"}},
		{"the host", anyHost, `{"type":"uri-prefix","selectors":["https://h","https://h/photos/cat.png"],"purge":true}`, 200, []string{"all delete /*"}},

		{"an origin", anyHost, `{"type":"origin","selectors":["https://www.example.com:443"]}`, 200, []string{"all revalidate /*"}},
		{"a group", anyHost, `{"type":"group","selectors":["https://www.example.com:443"],"groups":["scripts","a"]}`, 200, []string{"tag revalidate scripts a"}},
		{"an origin of nothing", anyHost, `{"type":"origin","selectors":["ftp://www.example.com:21"]}`, 200, nil},

		{"an image here", based, `{"type":"uri","selectors":["https://www.example.com/img/photos/cat.png"]}`, 200, []string{"original revalidate /photos/cat.png"}},
		{"an image elsewhere is passed over", based,
			`{"type":"uri","selectors":["https://example.com/img/photos/cat.png","https://www.example.com/photos/cat.png","https://www.example.com/img/photos/dog.png"]}`, 200,
			[]string{"original revalidate /photos/dog.png"}},
		{"a prefix elsewhere", based, `{"type":"uri-prefix","selectors":["https://www.example.com/other","https://example.com/","https://www.example.com/im"]}`, 200, nil},
		{"a prefix of all", based, `{"type":"uri-prefix","selectors":["https://www.example.com/"]}`, 200, []string{"all revalidate /*"}},
		{"the base", based, `{"type":"uri-prefix","selectors":["https://www.example.com/img"]}`, 200, []string{"all revalidate /*"}},
		{"an origin elsewhere", based, `{"type":"origin","selectors":["https://example.com:443"]}`, 200, nil},
		{"an origin here, too", based, `{"type":"origin","selectors":["https://example.com:443","https://www.example.com:443"]}`, 200, []string{"all revalidate /*"}},
		{"a group elsewhere", based, `{"type":"group","selectors":["https://example.com:443"],"groups":["a"]}`, 200, nil},

		{"imgix's paths", imgix, `{"type":"uri-prefix","selectors":["https://h/2026"]}`, 200,
			[]string{"prefix revalidate /photos/2026/", "original revalidate /photos/2026"}},
		{"Cloudimage's paths", ci, `{"type":"uri-prefix","selectors":["https://h/v7/https://img.example.com/a/"]}`, 200, []string{"prefix revalidate /photos/shop/a/"}},
		{"Cloudimage's hosts", ci, `{"type":"uri-prefix","selectors":["https://h/v7/img.example.com/"]}`, 200, []string{"prefix revalidate /photos/shop/"}},
		{"others of its hosts", ci, `{"type":"uri","selectors":["https://h/v7/other.example.com/a.png"]}`, 200, nil},

		{"an unknown type", anyHost, `{"type":"regex","selectors":["https://h/.*"]}`, 501, []string{`there are \"uri\", \"uri-prefix\", \"origin\" and \"group\"`}},
		{"a type in capitals", anyHost, `{"type":"URI","selectors":["https://h/photos/cat.png"]}`, 501, []string{"uri-prefix"}},
		{"no type", anyHost, `{"selectors":["https://h/photos/cat.png"]}`, 400, []string{"type is missing"}},
		{"no selectors at all", anyHost, `{"type":"uri"}`, 400, []string{"selectors is missing"}},
		{"no groups", anyHost, `{"type":"group","selectors":["https://h:443"]}`, 400, []string{"groups is missing"}},
		{"a group that is none", anyHost, `{"type":"group","selectors":["https://h:443"],"groups":["a b"]}`, 400, []string{"white space"}},
		{"a path", anyHost, `{"type":"uri","selectors":["/photos/cat.png"]}`, 400, []string{"is no absolute URI"}},
		{"an origin with a path", anyHost, `{"type":"origin","selectors":["https://h:443/"]}`, 400, []string{"is not the URI of an origin"}},
		{"no JSON", anyHost, `type=uri`, 400, []string{"the body is not an invalidation event"}},
		{"a string", anyHost, `{"type":"uri","selectors":"https://h/photos/cat.png"}`, 400, []string{"cannot unmarshal"}},
	} {
		before := len(tt.a.purges())
		w := tt.a.draft(tt.body)
		if w.Code != tt.status {
			t.Errorf("%s: %d %s", tt.what, w.Code, w.Body)
		}
		made := tt.a.purges()[before:]
		if tt.status != 200 {
			var refused struct {
				Error struct{ Code, Message string }
			}
			if err := json.Unmarshal(w.Body.Bytes(), &refused); err != nil || refused.Error.Code == "" || !strings.Contains(w.Body.String(), tt.want[0]) || len(made) != 0 {
				t.Errorf("%s: %v %s %q", tt.what, err, w.Body, made)
			}
			continue
		}
		slices.Sort(made)
		slices.Sort(tt.want)
		if !slices.Equal(made, tt.want) {
			t.Errorf("%s: %q", tt.what, made)
		}
		var answer struct{ Purges []string }
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || len(answer.Purges) != len(tt.want) || !strings.Contains(w.Body.String(), `"purges":[`) {
			t.Errorf("%s: %v %s", tt.what, err, w.Body)
		}
		for _, id := range answer.Purges { // 200 says that it is done
			if rec := tt.a.job(id); rec.State != purge.Done {
				t.Errorf("%s: %s", tt.what, rec.State)
			}
		}
	}
}

func (a *asker) job(id string) (rec purge.Record) {
	a.t.Helper()
	if err := json.Unmarshal(a.do("GET", "/-/api/v1/purges/"+id, "", "Authorization", "Bearer k3y").Body.Bytes(), &rec); err != nil {
		a.t.Fatal(err)
	}
	return rec
}

// 200 comes when it is done, 202 after half a minute or where too many wait, and 502 where it fails.
func TestInvalidationDraftWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := compatOrigin(t)
		a := ask(t, o, nil, oneKey)
		defer a.h.Close()
		mustGet(t, a.h, "/photos/cat.png")
		slow := func(d time.Duration) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.block = func(r *http.Request, where string) {
				if where == "header" {
					time.Sleep(d)
				}
			}
		}
		const event = `{"type":"uri","selectors":["https://h/photos/cat.png"]}`
		for _, tt := range []struct {
			origin, answer time.Duration
			status         int
		}{{20 * time.Second, 20 * time.Second, 200}, {45 * time.Second, 30 * time.Second, 202}} {
			slow(tt.origin)
			begun := time.Now()
			w := a.draft(event)
			if took := time.Since(begun); w.Code != tt.status || took != tt.answer {
				t.Errorf("%v: %d after %v: %s", tt.origin, w.Code, took, w.Body)
			}
			id := anUUID.FindString(w.Body.String())
			same(t, "the answer", w.Body.String(), `{"purges":["4fc96d31-9815-4021-830a-ca6d96c514a5"]}`)
			time.Sleep(time.Minute)
			if rec := a.job(id); rec.State != purge.Done {
				t.Error(rec.State)
			}
		}

		slow(29 * time.Second)
		codes := make(chan int, 110)
		for range cap(codes) {
			go func() { codes <- a.draft(event).Code }()
		}
		synctest.Wait()
		if n := len(codes); n != 10 {
			t.Errorf("%d of 110 are answered at once", n)
		}
		for range 10 {
			if code := <-codes; code != 202 {
				t.Error(code)
			}
		}
		time.Sleep(time.Minute)
		for range 100 {
			<-codes
		}

		slow(0)
		o.set("/cat.png", answer{err: errors.New("away")})
		w := a.draft(event)
		if w.Code != 502 || !strings.Contains(w.Body.String(), "the origin failed") {
			t.Error(w.Code, w.Body)
		}
	})
}

// PURGE of the URL that a browser has, under a prefix, and with a query.
func TestPurgeMethod(t *testing.T) {
	o := compatOrigin(t)
	a := ask(t, o, nil, oneKey)
	for _, tt := range []struct {
		target string
		header []string
		want   string // the purge; or else the refusal
		status int
	}{
		{"/img/photos/cat.png", nil, "original delete /photos/cat.png", 200},
		{"/img/photos/cat.png?w=20&fm=jpg", nil, "original delete /photos/cat.png", 200},
		{"/img/photos/a%20b.png", nil, "original delete /photos/a b.png", 200},
		{"/img/photos/cat.png", []string{"Fastly-Soft-Purge", "1"}, "original stale /photos/cat.png", 200},
		{"/img/photos/cat.png", []string{"Soft-Purge", "1"}, "original stale /photos/cat.png", 200},
		{"/img/photos/cat.png", []string{"Soft-Purge", "0"}, "original delete /photos/cat.png", 200},
		{"/img/photos/cat.png", []string{"Soft-Purge", "yes"}, `Soft-Purge is \"yes\"; it may be 1 or 0`, 400},
		{"/img/photos/", nil, "slash", 400},
		{"/img/none/cat.png", nil, "does not exist here", 400},
	} {
		before := len(a.purges())
		w := a.do("PURGE", tt.target, "", append(tt.header, "Fastly-Key", "k3y")...)
		made := a.purges()[before:]
		switch {
		case w.Code != tt.status:
			t.Errorf("%s %v: %d %s", tt.target, tt.header, w.Code, w.Body)
		case w.Code == 200:
			same(t, tt.target, w.Body.String(), `{"status":"ok","id":"4fc96d31-9815-4021-830a-ca6d96c514a5"}`)
			if !slices.Equal(made, []string{tt.want}) {
				t.Errorf("%s %v: %q", tt.target, tt.header, made)
			}
		case !strings.Contains(w.Body.String(), tt.want) || len(made) != 0:
			t.Errorf("%s %v: %s", tt.target, tt.header, w.Body)
		}
	}

	// In force when it is answered: the next request has the new picture, or with a soft purge, the old one still.
	for _, soft := range []string{"0", "1"} {
		o.set("/dog.png", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
		if w := a.do("PURGE", "/img/photos/dog.png", "", "Fastly-Key", "k3y"); w.Code != 200 {
			t.Fatal(w.Code)
		}
		if w := a.do("GET", "/img/photos/dog.png?w=20", ""); colorOf(t, w.Body.Bytes()) != red {
			t.Fatal("not red")
		}
		o.set("/dog.png", answer{header: http.Header{"Cache-Control": {"max-age=3600"}, "Etag": {`"2"`}}, body: paint(t, green, 40, 40)})
		w := a.do("PURGE", "/img/photos/dog.png?w=99", "", "Fastly-Key", "k3y", "Fastly-Soft-Purge", soft)
		if soft == "1" {
			a.ended(anUUID.FindString(w.Body.String()))
		}
		if w := a.do("GET", "/img/photos/dog.png?w=20", ""); colorOf(t, w.Body.Bytes()) != green {
			t.Errorf("soft %s: not green", soft)
		}
	}

	// Without it, and of other methods, all is as before.
	for _, tt := range []struct {
		h      http.Handler
		method string
		status int
	}{{a.h, "PURGE", 405}, {a.mux, "GET", 200}, {a.mux, "POST", 405}, {a.h.PurgeMethod(http.NotFoundHandler(), nil), "GET", 404}} {
		w := httptest.NewRecorder()
		target := "/img/photos/cat.png"
		if tt.h == http.Handler(a.h) {
			target = "/photos/cat.png"
		}
		tt.h.ServeHTTP(w, httptest.NewRequest(tt.method, target, nil))
		if w.Code != tt.status {
			t.Errorf("%s: %d", tt.method, w.Code)
		}
	}
	a.h.Close()
	if w := a.do("PURGE", "/img/photos/cat.png", "", "Fastly-Key", "k3y"); w.Code != 503 {
		t.Error("closed: ", w.Code, w.Body)
	}
}

// The adapters for Cloudimage and imgix purge a handler of this package, as if it were those: one imagecdn in front of another.
func TestAdaptersSpeakToCompatibleAPIs(t *testing.T) {
	a := ask(t, compatOrigin(t), nil, oneKey)
	im, err := imgix.New("k3y", &imgix.Options{Client: cdntest.Client(a.mux), API: "https://edge.example.com/-", SubImage: true, SourceID: "5f1a2b3c4d5e6f7a8b9c0d1e"})
	if err != nil {
		t.Fatal(err)
	}
	ci, err := cloudimage.New("k3y", &cloudimage.Options{Client: cdntest.Client(a.mux), API: "https://edge.example.com/-"})
	if err != nil {
		t.Fatal(err)
	}
	urls := []string{"https://edge.example.com/photos/cat.png", "https://edge.example.com/photos/a%20b.png"}
	for range 2 { // the second is a duplicate
		receipt, err := im.Purge(t.Context(), cdn.Batch{Kind: cdn.URL, Values: urls[:1]})
		if err != nil || receipt.Failed != nil {
			t.Errorf("%+v, %v", receipt, err)
		}
	}
	for _, b := range []cdn.Batch{{Kind: cdn.URL, Values: urls}, {Kind: cdn.All}} {
		receipt, err := ci.Purge(t.Context(), b)
		if err != nil || receipt.ID == "" || receipt.Failed != nil {
			t.Fatalf("%+v, %v", receipt, err)
		}
		a.ended(receipt.ID)
		if done, err := ci.Confirmed(t.Context(), receipt); !done || err != nil {
			t.Error(done, err)
		}
	}
	want := []string{
		"original revalidate /photos/cat.png", "original revalidate /photos/cat.png", "original delete /photos/cat.png /photos/a b.png", "all delete /*",
	}
	if got := a.purges(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}

	wrong, err := cloudimage.New("k3x", &cloudimage.Options{Client: cdntest.Client(a.mux), API: "https://edge.example.com/-"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wrong.Purge(t.Context(), cdn.Batch{Kind: cdn.All}); err == nil || err.Error() != "401: the key opens nothing here" {
		t.Error(err)
	}
	if _, err := im.Purge(t.Context(), cdn.Batch{Kind: cdn.URL, Values: []string{"https://edge.example.com/none/a.png"}}); err == nil ||
		!strings.HasPrefix(err.Error(), "400: Bad Request: ") || !strings.Contains(err.Error(), "does not exist here") {
		t.Error(err)
	}
}

// Every command of docs/compatible-apis.md answers what follows it there.
func TestCompatibleAPIsDocumentation(t *testing.T) {
	page, err := os.ReadFile("docs/compatible-apis.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not there to run the commands: ", err)
	}
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("sh is not there to run the commands: ", err)
	}
	o := compatOrigin(t)
	o.set("/cat.jpg", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
	o.set("/dog.jpg", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
	h := open(t, o, nil)
	admin := &imagecdn.AdminOptions{Keys: []string{"KEY"}, Bases: []string{"https://www.example.com/img"}}
	mux := http.NewServeMux()
	mux.Handle("/img/", http.StripPrefix("/img", h.PurgeMethod(nil, admin)))
	mux.Handle("/-/", http.StripPrefix("/-", h.Admin(admin)))
	server := httptest.NewServer(mux)
	defer server.Close()
	for _, line := range []string{
		`mux.Handle("/img/", http.StripPrefix("/img", h.PurgeMethod(nil, admin)))`, `mux.Handle("/-/", http.StripPrefix("/-", h.Admin(admin)))`,
		`admin := &imagecdn.AdminOptions{Keys: []string{"KEY"}, Bases: []string{"https://www.example.com/img"}}`,
	} {
		if !bytes.Contains(page, []byte("\n"+line+"\n")) {
			t.Errorf("the page does not have %s", line)
		}
	}

	n, last := 0, ""
	text := strings.ReplaceAll(string(page), "\r\n", "\n")
	for _, fence := range regexp.MustCompile("(?ms)^```console\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		for block := range strings.SplitSeq(strings.TrimPrefix(fence[1], "$ "), "\n$ ") {
			// A line that ends in a backslash goes on.
			lines := strings.Split(strings.TrimSuffix(block, "\n"), "\n")
			end := slices.IndexFunc(lines, func(l string) bool { return !strings.HasSuffix(l, `\`) })
			command, want := strings.Join(lines[:end+1], "\n"), strings.Join(lines[end+1:], "\n")
			run := strings.ReplaceAll(command, "http://127.0.0.1:8080", server.URL)
			if last != "" {
				run = anUUID.ReplaceAllString(run, last)
				waitForAll(t, h)
			}
			curl := exec.CommandContext(t.Context(), "sh", "-c", run)
			curl.Env = append(os.Environ(), "no_proxy=*", "CURL_HOME="+t.TempDir())
			out, err := curl.Output()
			if err != nil {
				t.Errorf("%s\n%v", command, err)
				continue
			}
			if id := anUUID.FindString(string(out)); id != "" {
				last = id
			}
			norm := func(s string) string {
				s = aTime.ReplaceAllString(anUUID.ReplaceAllString(s, "UUID"), "TIME")
				return strings.TrimSpace(strings.ReplaceAll(s, "\r", ""))
			}
			if got := norm(string(out)); got != norm(want) {
				t.Errorf("%s\nanswers %s\nnot     %s", command, got, norm(want))
			}
			n++
		}
	}
	if n < 8 {
		t.Errorf("%d commands", n)
	}
}

// waitForAll waits for the end of all purges.
func waitForAll(t *testing.T, h *imagecdn.Handler) {
	t.Helper()
	for range 10_000 {
		records, _, err := h.Purges().List("", 100)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(records, func(r purge.Record) bool { return !r.State.Final() }) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("purges do not end")
}
