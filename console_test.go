package imagecdn_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/internal/samples"
	"github.com/imagecdn/imagecdn/purge"
)

// signIn returns the cookie of a new session.
func signIn(t testing.TB, base, key string) *http.Cookie {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.PostForm(base+"/console/sign-in", url.Values{"key": {key}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusSeeOther || len(resp.Cookies()) != 1 {
		t.Fatal(resp.Status, resp.Cookies())
	}
	return resp.Cookies()[0]
}

// consoleOf returns what sends requests to the console of h, which is mounted at /-, with fields as pairs.
func consoleOf(t testing.TB, h *imagecdn.Handler, o *imagecdn.AdminOptions) (ask func(method, path, body string, fields ...string) *httptest.ResponseRecorder) {
	admin := http.StripPrefix("/-", h.Admin(o))
	return func(method, path, body string, fields ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/-"+path, strings.NewReader(body))
		if method == http.MethodPost {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		for i := 0; i < len(fields); i += 2 {
			r.Header.Set(fields[i], fields[i+1])
		}
		w := httptest.NewRecorder()
		admin.ServeHTTP(w, r)
		return w
	}
}

func sampleHandler(t testing.TB, o *imagecdn.Options) *imagecdn.Handler {
	h, err := imagecdn.New(imagecdn.Sources{"photos": imagecdn.FS(samples.FS())}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// Who has no session is sent to the form, and nothing is done; who has a wrong one is nobody; who has one gets each page.
func TestConsoleIsClosed(t *testing.T) {
	h := sampleHandler(t, nil)
	_, open, signed := imagecdn.AdminRoutes(h)
	job, err := h.PurgeAll(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ask := consoleOf(t, h, &imagecdn.AdminOptions{Keys: []string{"right"}})
	cookie := func(w *httptest.ResponseRecorder) string { return strings.Split(w.Header().Get("Set-Cookie"), ";")[0] }
	session := cookie(ask("POST", "/console/sign-in", "key=right"))
	if session == "" {
		t.Fatal("no session")
	}
	for _, route := range signed {
		method, path, _ := strings.Cut(route, " ")
		path = "/console" + strings.Replace(path, "{id}", job.ID(), 1)
		want := http.StatusUnauthorized
		if method == http.MethodGet {
			want = http.StatusSeeOther
		}
		for name, w := range map[string]*httptest.ResponseRecorder{
			"nothing":         ask(method, path, ""),
			"another session": ask(method, path, "", "Cookie", "imagecdn_session=AAAAAAAAAAAAAAAAAAAAAAAAAA"),
			"an empty one":    ask(method, path, "", "Cookie", "imagecdn_session="),
		} {
			if w.Code != want || strings.Contains(w.Body.String(), job.ID()) {
				t.Errorf("%s with %s: %d", route, name, w.Code)
			}
			if location := w.Header().Get("Location"); want == http.StatusSeeOther && location != "/-/console/sign-in?next="+url.QueryEscape(path) {
				t.Errorf("%s with %s: to %s", route, name, location)
			}
		}
		if w := ask(method, path, "", "Authorization", "Bearer wrong"); w.Code != http.StatusUnauthorized {
			t.Errorf("%s with a wrong key: %d", route, w.Code)
		}
		if w := ask(method, path, "", "Cookie", session); w.Code == http.StatusUnauthorized || strings.Contains(w.Header().Get("Location"), "sign-in") {
			t.Errorf("%s with a session: %d", route, w.Code)
		}
	}
	if len(open) != 4 {
		t.Errorf("what needs no session: %q", open)
	}
	if w := ask("GET", "/console/sign-in", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `type="password"`) {
		t.Errorf("the form: %d", w.Code)
	}
	if w := ask("POST", "/console/sign-in", "key=wrong"); w.Code != 401 || cookie(w) != "" || !strings.Contains(w.Body.String(), "opens nothing") {
		t.Errorf("a wrong key: %d %s", w.Code, w.Body)
	}

	w := ask("POST", "/console/sign-out", "", "Cookie", session)
	if w.Code != 303 || !strings.Contains(w.Header().Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("signing out: %d %v", w.Code, w.Header())
	}
	if w := ask("GET", "/console", "", "Cookie", session); w.Code != 303 {
		t.Errorf("after signing out: %d", w.Code)
	}
}

// Without keys and Authorize nothing opens, not even for an empty key.
func TestConsoleWithoutKeys(t *testing.T) {
	h := sampleHandler(t, nil)
	for _, o := range []*imagecdn.AdminOptions{nil, {}, {Keys: []string{""}}} {
		ask := consoleOf(t, h, o)
		if w := ask("GET", "/console/sign-in", ""); w.Code != 200 || !strings.Contains(w.Body.String(), "has no key") {
			t.Errorf("%+v: %d", o, w.Code)
		}
		if w := ask("POST", "/console/sign-in", "key="); w.Code != 401 {
			t.Errorf("%+v: an empty key: %d", o, w.Code)
		}
		for _, fields := range [][]string{{}, {"Authorization", "Bearer "}, {"Authorization", "Bearer x"}, {"Cookie", "imagecdn_session="}} {
			if w := ask("GET", "/api/v1/stats", "", fields...); w.Code != 401 {
				t.Errorf("%+v, %q: %d", o, fields, w.Code)
			}
		}
	}
}

// Whoever knows its users by other means needs no keys, and has no form to sign in. Pages of others are refused all the same.
func TestConsoleWithAuthorize(t *testing.T) {
	h := sampleHandler(t, nil)
	ask := consoleOf(t, h, &imagecdn.AdminOptions{Keys: []string{"k"}, Authorize: func(r *http.Request) error {
		if r.Header.Get("Cookie") != "user=ann" {
			return errors.New("nobody I know")
		}
		return nil
	}})
	for _, tt := range []struct {
		method, path string
		fields       []string
		status       int
	}{
		{"GET", "/console", nil, 401},
		{"GET", "/console", []string{"Cookie", "user=ann"}, 200},
		{"GET", "/console", []string{"Authorization", "Bearer k"}, 401}, // Authorize decides instead
		{"GET", "/api/v1/stats", []string{"Cookie", "user=ann"}, 200},
		{"POST", "/console/review", []string{"Cookie", "user=ann"}, 200},
		{"POST", "/console/review", []string{"Cookie", "user=ann", "Sec-Fetch-Site", "cross-site"}, 403},
		{"POST", "/api/v1/purges", []string{"Cookie", "user=ann", "Origin", "https://evil.example"}, 403},
		{"GET", "/console/sign-in", nil, 303},
		{"POST", "/console/sign-in", nil, 303},
	} {
		w := ask(tt.method, tt.path, "", tt.fields...)
		if w.Code != tt.status || tt.status == 401 && !strings.Contains(w.Body.String(), "nobody I know") {
			t.Errorf("%s %s with %q: %d %s", tt.method, tt.path, tt.fields, w.Code, w.Body)
		}
	}
}

// No page of another origin, or of another site on this host, has a browser do what its user may: not sign in, not sign out, not purge.
func TestConsoleCrossSite(t *testing.T) {
	h := sampleHandler(t, nil)
	ask := consoleOf(t, h, &imagecdn.AdminOptions{Keys: []string{"k"}})
	session := strings.Split(ask("POST", "/console/sign-in", "key=k").Header().Get("Set-Cookie"), ";")[0]
	api, open, signed := imagecdn.AdminRoutes(h)
	var changing []string
	for _, route := range api {
		changing = append(changing, strings.Replace(route, " ", " /api/v1", 1))
	}
	for _, route := range append(open, signed...) {
		changing = append(changing, strings.Replace(route, " ", " /console", 1))
	}
	n := 0
	for _, route := range changing {
		path, post := strings.CutPrefix(route, "POST ")
		if !post {
			continue
		}
		n++
		path = strings.Replace(path, "{id}", "x", 1)
		for _, fields := range [][]string{
			{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"},
			{"Sec-Fetch-Site", "cross-site", "Origin", "http://example.com"}, {"Sec-Fetch-Site", "cross-site", "Authorization", "Basic eDp5"},
		} {
			if w := ask("POST", path, "key=k&scope=all&sure=yes", append(fields, "Cookie", session)...); w.Code != http.StatusForbidden || w.Header().Get("Set-Cookie") != "" {
				t.Errorf("%s with %q: %d", route, fields, w.Code)
			}
		}
		// The page's own forms and script.
		for _, fields := range [][]string{{"Sec-Fetch-Site", "same-origin"}, {"Sec-Fetch-Site", "none"}, {"Origin", "http://example.com"}} {
			if strings.HasPrefix(path, "/console/sign-") {
				continue // which ends the session
			}
			if w := ask("POST", path, "key=k", append(fields, "Cookie", session)...); w.Code == http.StatusForbidden {
				t.Errorf("%s with %q: %d", route, fields, w.Code)
			}
		}
		// A key that a program sends is no browser's.
		if w := ask("POST", path, "key=k", "Sec-Fetch-Site", "cross-site", "Authorization", "Bearer k"); strings.HasPrefix(path, "/api/") && w.Code == http.StatusForbidden {
			t.Errorf("%s with a key: %d", route, w.Code)
		}
	}
	if n < 9 {
		t.Errorf("%d routes change something", n)
	}
	if w := ask("GET", "/api/v1/purges", "", "Cookie", session); w.Body.String() != `{"purges":[],"next":""}`+"\n" {
		t.Errorf("there are purges: %s", w.Body)
	}
}

// No page may be framed, run what is not a file of the console's, or be read by another origin; no cookie is seen by a script, or sent elsewhere.
func TestConsoleHeaders(t *testing.T) {
	h := sampleHandler(t, nil)
	job, err := h.Purge(t.Context(), []string{"/photos/<script>alert(1)</script>.jpg", "/photos/a'\"&b.jpg"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ask := consoleOf(t, h, &imagecdn.AdminOptions{Keys: []string{"k"}})
	set := ask("POST", "/console/sign-in", "key=k").Header().Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Strict", "Path=/-/", "Max-Age=43200"} {
		if !strings.Contains(set, want) {
			t.Errorf("%s: no %s", set, want)
		}
	}
	if strings.Contains(set, "Secure") {
		t.Errorf("%s, without TLS", set)
	}
	if set := ask("POST", "/console/sign-in", "key=k", "Origin", "https://example.com").Header().Get("Set-Cookie"); !strings.Contains(set, "; Secure") {
		t.Errorf("%s, behind a proxy that speaks TLS", set)
	}
	r := httptest.NewRequest("POST", "/console/sign-in", strings.NewReader("key=k"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.TLS = new(tls.ConnectionState)
	w := httptest.NewRecorder()
	h.Admin(&imagecdn.AdminOptions{Keys: []string{"k"}}).ServeHTTP(w, r)
	if set := w.Header().Get("Set-Cookie"); !strings.Contains(set, "; Secure") || !strings.Contains(set, "Path=/;") {
		t.Errorf("%s, with TLS, mounted at the root", set)
	}

	session := strings.Split(set, ";")[0]
	for _, path := range []string{
		"/console", "/console?path=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "/console?cursor=x", "/console/sign-in", "/console/purges/" + job.ID(), "/console/purges/none",
		"/console/images", "/console/images?image=/photos/chelsea.png", "/console/images?image=%3Cscript%3Ealert(1)%3C/script%3E",
	} {
		fields := []string{"Cookie", session}
		if path == "/console/sign-in" {
			fields = nil
		}
		w := ask("GET", path, "", fields...)
		header, body := w.Header(), w.Body.String()
		for name, want := range map[string]string{
			"Content-Type": "text/html; charset=utf-8", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Referrer-Policy": "same-origin",
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
		} {
			if got := header.Get(name); got != want {
				t.Errorf("%s: %s: %q", path, name, got)
			}
		}
		for _, never := range []string{"<script>", "style=", "onclick", "javascript:", "http://", "https://img", "//cdn"} {
			if strings.Contains(strings.ReplaceAll(body, "https://img.example.com/sample.li", ""), never) {
				t.Errorf("%s: has %s", path, never)
			}
		}
		if !strings.Contains(body, "<html lang=\"en\">") {
			t.Errorf("%s: %d %.300s", path, w.Code, body)
		}
	}
	w = ask("GET", "/console/purges/"+job.ID(), "", "Cookie", session)
	if !strings.Contains(w.Body.String(), "&lt;script&gt;alert(1)&lt;/script&gt;.jpg") {
		t.Errorf("the path is not there: %s", w.Body)
	}

	// Files are kept by browsers for as long as they are what they are.
	_, rest, _ := strings.Cut(w.Body.String(), `src="/-/console/static/`)
	file, _, _ := strings.Cut(rest, `"`)
	if w := ask("GET", "/console/static/"+file, ""); w.Code != 200 || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
		t.Errorf("%s: %d %v", file, w.Code, w.Header())
	}
	if w := ask("GET", "/console/static/0/console.js", ""); w.Code != 200 || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("an earlier version: %d %v", w.Code, w.Header())
	}
	if w := ask("GET", "/console/static/0/openapi.json", ""); w.Code != 404 {
		t.Errorf("another file: %d", w.Code)
	}
}

// After signing in one goes on to a page of the console, and nowhere else.
func TestConsoleSignInLeadsNowhereElse(t *testing.T) {
	h := sampleHandler(t, nil)
	ask := consoleOf(t, h, &imagecdn.AdminOptions{Keys: []string{"k"}})
	for next, want := range map[string]string{
		"":                                    "/-/console",
		"/console/images?image=/photos/a.jpg": "/-/console/images?image=/photos/a.jpg",
		"/console":                            "/-/console",
		"//evil.example/console":              "/-/console",
		"https://evil.example/console":        "/-/console",
		"/console/../../evil":                 "/-/console",
		"/consoles":                           "/-/console",
		`/\evil.example/console`:              "/-/console",
		"javascript:alert(1)":                 "/-/console",
		"/console/%2e%2e/%2e%2e/evil":         "/-/console",
	} {
		w := ask("POST", "/console/sign-in", url.Values{"key": {"k"}, "next": {next}}.Encode())
		if got := w.Header().Get("Location"); w.Code != 303 || got != want {
			t.Errorf("%q: %d, to %q, want %q", next, w.Code, got, want)
		}
	}
}

// Links and redirects begin with where the console is mounted, and never with a host.
func TestConsoleIsWhereItIsMounted(t *testing.T) {
	h := sampleHandler(t, nil)
	admin := h.Admin(&imagecdn.AdminOptions{Keys: []string{"k"}})
	for _, tt := range []struct{ line, strip, want string }{
		{"/-/console", "/-", "/-/console/sign-in?next=%2Fconsole"},
		{"/console", "", "/console/sign-in?next=%2Fconsole"},
		{"/a/b/console?cursor=x", "/a/b", "/a/b/console/sign-in?next=%2Fconsole%3Fcursor%3Dx"},
		{"http://evil.example/-/console", "/-", "/-/console/sign-in?next=%2Fconsole"},
		{"http://evil.example//evil.example/console", "//evil.example", "/evil.example/console/sign-in?next=%2Fconsole"},
	} {
		r := httptest.NewRequest("GET", tt.line, nil)
		r.RequestURI = tt.line
		w := httptest.NewRecorder()
		http.StripPrefix(tt.strip, admin).ServeHTTP(w, r)
		if got := w.Header().Get("Location"); w.Code != 303 || got != tt.want {
			t.Errorf("%s: %d, to %q, want %q", tt.line, w.Code, got, tt.want)
		}
	}
}

// Sessions end after twelve hours, and there are a thousand at most; wrong keys are bounded by client, over the form and the API together.
func TestConsoleSessionsAndGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := imagecdn.New(imagecdn.Sources{"photos": imagecdn.FS(samples.FS())}, &imagecdn.Options{
			Client: func(r *http.Request) string { return r.Header.Get("Client") },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		const long = "XQ3T6YLWVJ2M5RKHPA7DZB4NCE"
		ask := consoleOf(t, h, &imagecdn.AdminOptions{Keys: []string{"k", "next", long}})
		begin := func(key string) string {
			return strings.Split(ask("POST", "/console/sign-in", "key="+key).Header().Get("Set-Cookie"), ";")[0]
		}
		first := begin("k")
		status := func(session string) int { return ask("GET", "/api/v1/stats", "", "Cookie", session).Code }
		time.Sleep(12*time.Hour - time.Second)
		if got := status(first); got != 200 {
			t.Errorf("before its end: %d", got)
		}
		second := begin("next")
		time.Sleep(2 * time.Second)
		if a, b := status(first), status(second); a != 401 || b != 200 {
			t.Errorf("after its end: %d; another: %d", a, b)
		}
		for range 999 {
			time.Sleep(time.Millisecond)
			begin("k")
		}
		if got := status(second); got != 200 {
			t.Errorf("one of a thousand: %d", got)
		}
		third := begin("k")
		if a, b := status(second), status(third); a != 401 || b != 200 {
			t.Errorf("one of a thousand and one: %d; the last: %d", a, b)
		}

		try := func(client, key string) int {
			return ask("GET", "/api/v1/stats", "", "Authorization", "Bearer "+key, "Client", client).Code
		}
		for i := range 10 {
			if got := try("mallory", fmt.Sprint(i)); got != 401 {
				t.Errorf("guess %d: %d", i, got)
			}
		}
		if a, b, c := try("mallory", "11"), try("mallory", "k"), try("ann", "k"); a != 429 || b != 429 || c != 200 {
			t.Errorf("one guess more: %d; then the right one: %d; somebody else: %d", a, b, c)
		}
		w := ask("POST", "/console/sign-in", "key=k", "Client", "mallory")
		if w.Code != 429 || w.Header().Get("Retry-After") != "2" || !strings.Contains(w.Body.String(), "Too many wrong keys") {
			t.Errorf("by the form: %d %v", w.Code, w.Header())
		}
		time.Sleep(2 * time.Second)
		if a, b := try("mallory", "12"), try("mallory", "k"); a != 401 || b != 429 {
			t.Errorf("after two seconds: %d, and one more: %d", a, b)
		}
		// A key that is too long to be come upon opens whatever others try who count as the same client; by the form, too.
		if a, b := try("mallory", long), try("mallory", long[1:]); a != 200 || b != 429 {
			t.Errorf("a long key among guesses: %d; a wrong one as long: %d", a, b)
		}
		if got := ask("POST", "/console/sign-in", "key="+long, "Client", "mallory").Code; got != 303 {
			t.Errorf("a long key by the form: %d", got)
		}
		for i := range 3000 {
			try(fmt.Sprint("client ", i), "wrong")
		}
		if got := try("ann", "k"); got != 200 {
			t.Errorf("after 3,000 clients: %d", got)
		}
	})
}

// A stream of events ends soon after the session that it was opened with, and goes on where a key opened it.
func TestEventsEndWithTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := sampleHandler(t, nil)
		defer h.Close()
		ask := consoleOf(t, h, &imagecdn.AdminOptions{Keys: []string{"k"}})
		session := strings.Split(ask("POST", "/console/sign-in", "key=k").Header().Get("Set-Cookie"), ";")[0]
		var open sync.Map
		var streams sync.WaitGroup
		for _, by := range [][2]string{{"Cookie", session}, {"Authorization", "Bearer k"}} {
			open.Store(by[0], true)
			streams.Go(func() {
				ask("GET", "/api/v1/purges/events", "", by[:]...)
				open.Delete(by[0])
			})
		}
		stillOpen := func() (names []string) {
			synctest.Wait()
			open.Range(func(name, _ any) bool { names = append(names, name.(string)); return true })
			slices.Sort(names)
			return names
		}
		time.Sleep(time.Hour)
		if got := stillOpen(); len(got) != 2 {
			t.Errorf("open while the session lasts: %v", got)
		}
		if w := ask("POST", "/console/sign-out", "", "Cookie", session); w.Code != 303 {
			t.Fatal(w.Code)
		}
		time.Sleep(15 * time.Second)
		if got := stillOpen(); !slices.Equal(got, []string{"Authorization"}) {
			t.Errorf("open after signing out: %v", got)
		}
		h.Close()
		streams.Wait()
	})
}

// The pages without a script: a list is reviewed, what is wrong is said, everything takes a yes.
func TestConsoleForms(t *testing.T) {
	h := sampleHandler(t, &imagecdn.Options{Purge: &purge.ServiceOptions{Limits: func(string) purge.Limits { return purge.CloudimageLimits() }, CDNs: twoCDNs{}}})
	ask := consoleOf(t, h, &imagecdn.AdminOptions{Keys: []string{"k"}})
	session := strings.Split(ask("POST", "/console/sign-in", "key=k").Header().Get("Set-Cookie"), ";")[0]
	post := func(path string, form url.Values) *httptest.ResponseRecorder {
		return ask("POST", "/console"+path, form.Encode(), "Cookie", session, "Sec-Fetch-Site", "same-origin")
	}
	w := post("/review", url.Values{"scope": {"original"}, "mode": {"stale"}, "text": {"/photos/a%2Cb.jpg, /photos/c.jpg\r\n/photos/c.jpg\r\ndoc.cloudimg.io/sample.li/flat1.jpg?w=500"}})
	page := w.Body.String()
	for _, want := range []string{
		`value="/photos/a%2Cb.jpg" checked> <code>/photos/a,b.jpg</code>`, `value="/photos/c.jpg" checked`, `name="mode" value="stale"`,
		"has a host, and no leading slash, and has a query", "<code>/sample.li/flat1.jpg</code>",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in %s", want, page)
		}
	}
	if strings.Count(page, `type="checkbox"`) != 2 {
		t.Errorf("not each path once: %s", page)
	}
	many := strings.Repeat("/photos/x.jpg\n", 3) + strings.Join(slices.Collect(func(yield func(string) bool) {
		for i := range 11 {
			yield(fmt.Sprintf("/photos/%d.jpg", i))
		}
	}), "\n")
	if w := post("/review", url.Values{"scope": {"original"}, "text": {many}}); !strings.Contains(w.Body.String(), "12 are listed; one purge may have 10") {
		t.Errorf("twelve: %s", w.Body)
	}
	wait := func(w *httptest.ResponseRecorder, state purge.State) string {
		t.Helper()
		path, ok := strings.CutPrefix(w.Header().Get("Location"), "/-")
		if w.Code != 303 || !ok {
			t.Fatal(w.Code, w.Header(), w.Body)
		}
		for {
			w := ask("GET", path, "", "Cookie", session)
			if strings.Contains(w.Body.String(), `data-state="`+string(state)+`"`) {
				return w.Body.String()
			}
			if t.Context().Err() != nil || w.Code != 200 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
		}
	}
	page = wait(post("/purges", url.Values{"scope": {"original"}, "mode": {"stale"}, "path": {"/photos/a%2Cb.jpg"}}), purge.Done)
	if !strings.Contains(page, "<code>/photos/a,b.jpg</code>") || !strings.Contains(page, "<dd>stale</dd>") {
		t.Errorf("the job: %s", page)
	}
	wait(post("/purges", url.Values{"scope": {"prefix"}, "path": {"/photos/2026/"}}), purge.Done)
	wait(post("/purges", url.Values{"scope": {"tag"}, "path": {"product-17"}}), purge.Done)
	page = wait(post("/purges", url.Values{"scope": {"original"}, "path": {"/photos/retina.jpg"}}), purge.ErrorCDNNode)
	for _, want := range []string{"ERROR_CDN_NODE", "503 Service Unavailable", "fastly", "1 not purged", `class="act retry"`} {
		if !strings.Contains(page, want) {
			t.Errorf("a CDN that failed: no %s in %s", want, page)
		}
	}
	_, id, _ := strings.Cut(page, `data-id="`)
	id, _, _ = strings.Cut(id, `"`)
	wait(post("/purges/"+id+"/retry", nil), purge.Done)
	if w := post("/purges/"+id+"/retry", nil); w.Code != 409 || !strings.Contains(w.Body.String(), "nothing of the job has failed") {
		t.Errorf("nothing to retry: %d %s", w.Code, w.Body)
	}
	if w := post("/purges/"+id+"/cancel", nil); w.Code != 409 {
		t.Errorf("nothing to cancel: %d", w.Code)
	}

	if w := post("/review", url.Values{"scope": {"all"}, "mode": {"delete"}, "source": {"photos"}}); !strings.Contains(w.Body.String(), `name="sure" value="yes" required`) || !strings.Contains(w.Body.String(), "all of the source photos") {
		t.Errorf("everything: %s", w.Body)
	}
	before := ask("GET", "/console", "", "Cookie", session).Body.String()
	if w := post("/purges", url.Values{"scope": {"all"}, "mode": {"delete"}}); w.Code != 400 || !strings.Contains(w.Body.String(), "has to be confirmed") {
		t.Errorf("everything without a yes: %d %s", w.Code, w.Body)
	}
	if after := ask("GET", "/console", "", "Cookie", session).Body.String(); strings.Count(after, "data-id=") != strings.Count(before, "data-id=") {
		t.Error("everything was purged without a yes")
	}
	wait(post("/purges", url.Values{"scope": {"all"}, "mode": {"delete"}, "sure": {"yes"}}), purge.Done)
	if w := post("/purges", url.Values{"scope": {"all"}, "sure": {"yes"}, "source": {"nowhere"}}); w.Code != 400 {
		t.Errorf("a source that is none: %d", w.Code)
	}
	if w := post("/purges", url.Values{"scope": {"original"}, "path": {"photos/x.jpg"}}); w.Code != 400 || !strings.Contains(w.Body.String(), "no leading slash") {
		t.Errorf("a wrong format: %d %s", w.Code, w.Body)
	}
}

// What the page about an image says is what is so, and looking changes nothing.
func TestConsoleImages(t *testing.T) {
	h := sampleHandler(t, nil)
	ask := consoleOf(t, h, &imagecdn.AdminOptions{Keys: []string{"k"}})
	look := func(image string) (int, string) {
		w := ask("GET", "/console/images?image="+url.QueryEscape(image), "", "Authorization", "Bearer k")
		return w.Code, w.Body.String()
	}
	if code, page := look("/photos/chelsea.png"); code != 200 || !strings.Contains(page, "nobody has asked for it") || imagecdn.Names(h) != 0 {
		t.Errorf("before: %d, %d names, %s", code, imagecdn.Names(h), page)
	}
	get(h, "/photos/chelsea.png?w=60")
	get(h, "/photos/rocket.jpg?w=60&mark=/photos/chelsea.png")
	_, page := look("/photos/chelsea.png")
	for _, want := range []string{"/photos/chelsea.png?w=60", "Pictures of other images that it is in", "kind=composite", ">memory<", "image/png", "SHA-256"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in %s", want, page)
		}
	}
	_, src, _ := strings.Cut(page, `<img src="/-/console/thing`)
	src, _, _ = strings.Cut(src, `"`)
	w := ask("GET", "/console/thing"+strings.ReplaceAll(src, "&amp;", "&"), "", "Authorization", "Bearer k")
	if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "image/") || w.Header().Get("Cache-Control") != "no-store" || !strings.Contains(w.Header().Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("its picture: %d %v", w.Code, w.Header())
	}
	for query, want := range map[string]int{
		"": 400, "?image=/photos/chelsea.png&kind=original&sum=x": 400, "?image=/photos/chelsea.png&kind=name&sum=" + strings.Repeat("0", 64): 400,
		"?image=/photos/chelsea.png&kind=original&sum=" + strings.Repeat("0", 64): 404,
	} {
		if w := ask("GET", "/console/thing"+query, "", "Authorization", "Bearer k"); w.Code != want {
			t.Errorf("%s: %d, want %d", query, w.Code, want)
		}
	}
	for image, want := range map[string]string{"photos/chelsea.png?w=5": "<code>/photos/chelsea.png</code>", "/nowhere/a.png": "does not exist here"} {
		if code, page := look(image); code != 400 || !strings.Contains(page, want) {
			t.Errorf("%s: %d, no %s in %s", image, code, want, page)
		}
	}
	send := func(u string) string {
		return ask("POST", "/console/images", url.Values{"image": {"/photos/chelsea.png"}, "url": {u}}.Encode(), "Authorization", "Bearer k").Body.String()
	}
	for u, want := range map[string]string{
		"/photos/chelsea.png?w=60": "<code>imagecdn; hit; ttl=", "/photos/chelsea.png?w=61": "<code>imagecdn; fwd=miss; stored</code>",
		"/photos/none.png": "<dd>404", "https://evil.example/x": "is no path of an image", "//evil.example/x": "is no path of an image",
	} {
		if page := send(u); !strings.Contains(page, want) {
			t.Errorf("%s: no %s in %s", u, want, page)
		}
	}
}

// Counts are of what was answered, by how that came about.
func TestStats(t *testing.T) {
	o := newOrigin()
	o.set("/cat.png", answer{header: cacheFor("max-age=1"), body: paint(t, red, 40, 30)})
	h := open(t, o, nil)
	ask := consoleOf(t, h, &imagecdn.AdminOptions{Keys: []string{"k"}})
	var sent int64
	for _, url := range []string{"/photos/cat.png?w=20", "/photos/cat.png?w=20", "/photos/cat.png?w=30", "/photos/none.png", "/photos/cat.png?w=abc"} {
		sent += int64(get(h, url).Body.Len())
	}
	get(h, "/photos/cat.png?w=20", "If-None-Match", "*")
	body := ask("GET", "/api/v1/stats", "", "Authorization", "Bearer k").Body.String()
	for _, want := range []string{
		`"hit":{"count":1,`, `"miss":{"count":2,`, `"not_modified":{"count":1,"bytes":0}`, `"refused":{"count":2,`, `"failed":{"count":0,"bytes":0}`,
		`"renders":{"ended":2,"failed":0}`, `"origins":{"exchanges":2,"failures":0,"originals":1,`, `"names":2,`, `"max_bytes":268435456`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
}

// A stream that went on after an event that the hub does not hold, and those who come and go, get every event.
func TestEventsOfManyWatchers(t *testing.T) {
	h := sampleHandler(t, nil)
	server := httptest.NewServer(h.Admin(&imagecdn.AdminOptions{Keys: []string{"k"}}))
	defer server.Close()
	follow := func(ctx context.Context, last string, events int) (ids []string) {
		r, _ := http.NewRequestWithContext(ctx, "GET", server.URL+"/api/v1/purges/events?view=summary", nil)
		r.Header.Set("Authorization", "Bearer k")
		if last != "" {
			r.Header.Set("Last-Event-ID", last)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Error(err)
			return nil
		}
		defer resp.Body.Close()
		buf, text := make([]byte, 64<<10), ""
		for len(ids) < events {
			n, err := resp.Body.Read(buf)
			text += string(buf[:n])
			for {
				line, rest, ok := strings.Cut(text, "\n")
				if !ok {
					break
				}
				text = rest
				if id, ok := strings.CutPrefix(line, "id: "); ok && !slices.Contains(ids, id) {
					ids = append(ids, id)
				}
			}
			if err != nil {
				if err != io.EOF {
					t.Error(err)
				}
				return ids
			}
		}
		return ids
	}
	first, err := h.Purge(t.Context(), []string{"/photos/a.jpg"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const jobs, watchers = 20, 8
	got := make([][]string, watchers)
	var all sync.WaitGroup
	for i := range watchers {
		all.Go(func() {
			last := first.ID() + ".1"
			for want := 4 + 5*jobs; len(got[i]) < want; { // in pieces, each on a connection of its own
				piece := follow(ctx, last, min(want-len(got[i]), 7+i))
				if len(piece) == 0 {
					return
				}
				last = piece[len(piece)-1]
				for _, id := range piece {
					if !slices.Contains(got[i], id) {
						got[i] = append(got[i], id)
					}
				}
			}
		})
	}
	want := []string{first.ID() + ".2", first.ID() + ".3", first.ID() + ".4", first.ID() + ".5"}
	for i := range jobs {
		job, err := h.Purge(t.Context(), []string{fmt.Sprintf("/photos/%d.jpg", i)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for seq := range 5 {
			want = append(want, fmt.Sprintf("%s.%d", job.ID(), seq+1))
		}
		time.Sleep(time.Millisecond)
	}
	all.Wait()
	slices.Sort(want)
	for i := range got {
		slices.Sort(got[i])
		if !slices.Equal(got[i], want) {
			t.Errorf("watcher %d has %d events, want %d", i, len(got[i]), len(want))
		}
	}
}
