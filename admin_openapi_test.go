package imagecdn_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/internal/clustertest"
	"github.com/imagecdn/imagecdn/purge"
)

// An openAPI is the document that describes the API.
type openAPI struct {
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]any }
}

type operation struct {
	Responses map[string]struct {
		Content map[string]struct{ Schema any }
		Headers map[string]any
	}
}

func readOpenAPI(t testing.TB) *openAPI {
	data, err := os.ReadFile("console/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	d := new(openAPI)
	if err := json.Unmarshal(data, d); err != nil {
		t.Fatal(err)
	}
	return d
}

// check says where v is not as a schema wants it, by those words of JSON Schema that the document uses.
func (d *openAPI) check(schema, v any, at string) (wrong []string) {
	s, _ := schema.(map[string]any)
	if name, ok := s["$ref"].(string); ok {
		to, known := d.Components.Schemas[strings.TrimPrefix(name, "#/components/schemas/")]
		if !known {
			return []string{at + ": there is no " + name}
		}
		return d.check(to, v, at)
	}
	for _, one := range list(s["allOf"]) {
		wrong = append(wrong, d.check(one, v, at)...)
	}
	if any := list(s["oneOf"]); len(any) > 0 {
		fits := 0
		var all []string
		for _, one := range any {
			not := d.check(one, v, at)
			if len(not) == 0 {
				fits++
			}
			all = append(all, not...)
		}
		if fits != 1 {
			wrong = append(wrong, fmt.Sprintf("%s: fits %d of %d: %v", at, fits, len(any), all))
		}
	}
	if values := list(s["enum"]); len(values) > 0 && !slices.Contains(values, v) {
		wrong = append(wrong, fmt.Sprintf("%s: %v is none of %v", at, v, values))
	}
	is := map[string]bool{}
	switch v := v.(type) {
	case map[string]any:
		is["object"] = true
		properties, _ := s["properties"].(map[string]any)
		for _, name := range list(s["required"]) {
			if _, ok := v[name.(string)]; !ok {
				wrong = append(wrong, fmt.Sprintf("%s: there is no %s", at, name))
			}
		}
		for name, value := range v {
			if property, known := properties[name]; known {
				wrong = append(wrong, d.check(property, value, at+"."+name)...)
			} else if s["additionalProperties"] == false {
				wrong = append(wrong, fmt.Sprintf("%s: %s is not described", at, name))
			}
		}
	case []any:
		is["array"] = true
		for i, value := range v {
			wrong = append(wrong, d.check(s["items"], value, fmt.Sprintf("%s[%d]", at, i))...)
		}
	case string:
		is["string"] = true
		if _, err := time.Parse(time.RFC3339, v); s["format"] == "date-time" && err != nil {
			wrong = append(wrong, at+": "+err.Error())
		}
	case bool:
		is["boolean"] = true
	case float64:
		is["number"], is["integer"] = true, v == float64(int64(v))
	}
	if want, ok := s["type"].(string); ok && !is[want] {
		wrong = append(wrong, fmt.Sprintf("%s: %v is no %s", at, v, want))
	}
	return wrong
}

func list(v any) []any { l, _ := v.([]any); return l }

// Every operation that the OpenAPI document describes answers each status that it says, and nothing else, in the form that it says; and it
// describes every operation that there is.
func TestOpenAPI(t *testing.T) {
	doc := readOpenAPI(t)
	hold, held := make(chan struct{}), false
	open := func(o *purge.ServiceOptions) *imagecdn.Handler {
		origin := newOrigin()
		origin.block = func(*http.Request, string) {
			if held {
				<-hold
			}
		}
		origin.set("/cat.png", answer{header: cachedAnHour, body: paint(t, red, 40, 30)})
		origin.set("/logo.png", answer{header: cachedAnHour, body: paint(t, green, 8, 8)})
		hub := clustertest.New()
		other, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: origin}}, &imagecdn.Options{Cluster: hub.Node("b")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { other.Close() })
		h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: origin}}, &imagecdn.Options{
			Purge:   o,
			Cluster: hub.Node("a"),
			Client:  func(r *http.Request) string { return r.Header.Get("Test-Client") },
		})
		if err != nil {
			t.Fatal(err)
		}
		for h.Cluster().Ready() != nil {
			time.Sleep(time.Millisecond)
		}
		return h
	}
	limits := func(tenant string) purge.Limits {
		if tenant == "slow" {
			return purge.Limits{PerMinute: 1}
		}
		return purge.Limits{}
	}
	h := open(&purge.ServiceOptions{Limits: limits, CDNs: twoCDNs{}})
	defer h.Close()
	closed := open(&purge.ServiceOptions{CDNs: twoCDNs{}})
	busy := open(&purge.ServiceOptions{Workers: 1})
	defer busy.Close()
	defer close(hold)

	for _, url := range []string{"/photos/cat.png?w=20", "/photos/cat.png?w=20&mark=/photos/logo.png", "/photos/none.png"} {
		get(h, url)
	}
	failed := func(h *imagecdn.Handler) string {
		job, err := h.Purge(t.Context(), []string{"/photos/retina.png"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		rec, err := job.Wait(t.Context())
		if err != nil || rec.State != purge.ErrorCDNNode {
			t.Fatal(rec, err)
		}
		return job.ID()
	}
	done := func() string {
		job, err := h.Purge(t.Context(), []string{"/photos/dog.png"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := job.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		return job.ID()
	}()
	closedID, retryID := failed(closed), failed(h)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	// Its only worker waits for an origin until it is let go.
	get(busy, "/photos/cat.png")
	held = true
	first, err := busy.Purge(t.Context(), []string{"/photos/cat.png"}, &purge.Options{Mode: purge.Revalidate})
	if err != nil {
		t.Fatal(err)
	}
	waiting, err := busy.Purge(t.Context(), []string{"/photos/dog.png"}, nil)
	if err != nil {
		t.Fatal(err)
	}

	servers := make(map[string]*httptest.Server)
	for name, h := range map[string]*imagecdn.Handler{"": h, "guessed": h, "closed": closed, "busy": busy} {
		mux := http.NewServeMux()
		mux.Handle("/-/", http.StripPrefix("/-", h.Admin(&imagecdn.AdminOptions{Keys: []string{"k"}})))
		servers[name] = httptest.NewServer(mux)
		defer servers[name].Close()
	}
	for range 11 { // wrong keys, so that no more are looked at
		r, _ := http.NewRequestWithContext(t.Context(), "GET", servers["guessed"].URL+"/-/api/v1/stats", nil)
		r.Header.Set("Authorization", "Bearer x")
		r.Header.Set("Test-Client", "somebody")
		if resp, err := http.DefaultClient.Do(r); err == nil {
			resp.Body.Close()
		}
	}
	session := signIn(t, servers[""].URL+"/-", "k")

	type call struct {
		op, path, body, with, server string
		status                       int
	}
	calls := []call{
		{"POST /purges", "/purges", `{"scope":"original","paths":["/photos/cat.png"],"mode":"delete"}`, "", "", 202},
		{"POST /purges", "/purges", `{"scope":"prefix","paths":["/photos/2026/"],"mode":"stale","tenant":"t"}`, "", "", 202},
		{"POST /purges", "/purges", `{"scope":"tag","tags":["product-17"]}`, "", "", 202},
		{"POST /purges", "/purges", `{"scope":"all","source":"photos"}`, "session", "", 202},
		{"POST /purges", "/purges", `{"paths":["cat.png"]}`, "", "", 400},
		{"POST /purges", "/purges", `{"paths":["/photos/cat.png"],"more":1}`, "", "", 400},
		{"POST /purges", "/purges", `{"paths":["/photos/cat.png"]} {}`, "", "", 400},
		{"POST /purges", "/purges", `{"paths":["/photos/` + strings.Repeat("x", 1<<20) + `"]}`, "", "", 413},
		{"POST /purges", "/purges", `{"paths":["/photos/a"],"tenant":"slow"}`, "", "", 202},
		{"POST /purges", "/purges", `{"paths":["/photos/a"],"tenant":"slow"}`, "", "", 429},
		{"POST /purges", "/purges", `{"paths":["/photos/a"]}`, "", "closed", 503},
		{"GET /purges", "/purges", "", "", "", 200},
		{"GET /purges", "/purges?limit=2&view=summary", "", "session", "", 200},
		{"GET /purges", "/purges?view=long", "", "", "", 400},
		{"GET /purges", "/purges?cursor=x", "", "", "", 400},
		{"POST /purges/check", "/purges/check", `{"text":"/photos/cat.png, cat.png\n/photos/cat.png\n/nowhere/x"}`, "", "", 200},
		{"POST /purges/check", "/purges/check", `{"scope":"prefix","paths":["/photos/a","/photos/"]}`, "session", "", 200},
		{"POST /purges/check", "/purges/check", `{"scope":"all"}`, "", "", 400},
		{"POST /purges/check", "/purges/check", `{"text":"` + strings.Repeat("x", 1<<20) + `"}`, "", "", 413},
		{"GET /purges/events", "/purges/events?view=x", "", "", "", 400},
		{"GET /purges/{id}", "/purges/" + done, "", "", "", 200},
		{"GET /purges/{id}", "/purges/" + retryID, "", "session", "", 200},
		{"GET /purges/{id}", "/purges/" + retryID + "?view=summary", "", "", "", 200},
		{"GET /purges/{id}", "/purges/" + retryID + "?view=x", "", "", "", 400},
		{"GET /purges/{id}", "/purges/none", "", "", "", 404},
		{"POST /purges/{id}/retry", "/purges/" + retryID + "/retry", "", "", "", 202},
		{"POST /purges/{id}/retry", "/purges/none/retry", "", "", "", 404},
		{"POST /purges/{id}/retry", "/purges/" + done + "/retry", "", "", "", 409},
		{"POST /purges/{id}/retry", "/purges/" + first.ID() + "/retry", "", "", "busy", 409},
		{"POST /purges/{id}/retry", "/purges/" + closedID + "/retry", "", "", "closed", 503},
		{"POST /purges/{id}/cancel", "/purges/" + waiting.ID() + "/cancel", "", "", "busy", 200},
		{"POST /purges/{id}/cancel", "/purges/none/cancel", "", "", "", 404},
		{"POST /purges/{id}/cancel", "/purges/" + done + "/cancel", "", "", "", 409},
		{"POST /purges/{id}/cancel", "/purges/" + closedID + "/cancel", "", "", "closed", 503},
		{"GET /stats", "/stats", "", "", "", 200},
		{"GET /nodes", "/nodes", "", "", "", 200},
		{"GET /nodes", "/nodes", "", "", "busy", 200},
		{"GET /images/{source}/{path}", "/images/photos/cat.png", "", "", "", 200},
		{"GET /images/{source}/{path}", "/images/photos/logo.png", "", "session", "", 200},
		{"GET /images/{source}/{path}", "/images/photos/none.png", "", "", "", 200},
		{"GET /images/{source}/{path}", "/images/photos/a%20b/never%3Fasked.png", "", "", "", 200},
		{"GET /images/{source}/{path}", "/images/nowhere/cat.png", "", "", "", 400},
		{"GET /openapi.json", "/openapi.json", "", "", "", 200},
	}
	// Each operation without a key, with a wrong one, with one of too many, and for a page of another origin.
	for path, operations := range doc.Paths {
		for method := range operations {
			op, target := strings.ToUpper(method)+" "+path, strings.NewReplacer("{id}", done, "{source}", "photos", "{path}", "cat.png").Replace(path)
			calls = append(calls, call{op, target, "", "nothing", "", 401}, call{op, target, "", "wrong", "", 401}, call{op, target, "", "", "guessed", 429})
			if method == "post" {
				calls = append(calls, call{op, target, "", "cross", "", 403}, call{op, target, "", "cross origin", "", 403})
			}
		}
	}

	seen := make(map[string]bool)
	look := func(c call, resp *http.Response) {
		t.Helper()
		name := fmt.Sprintf("%s %.100s with %q on %q", c.op, c.path, c.with, c.server)
		method, path, _ := strings.Cut(c.op, " ")
		response, described := doc.Paths[path][strings.ToLower(method)].Responses[fmt.Sprint(resp.StatusCode)]
		if resp.StatusCode != c.status || !described {
			t.Errorf("%s: %s, want %d; described: %v", name, resp.Status, c.status, described)
			return
		}
		seen[fmt.Sprint(c.op, " ", c.status)] = true
		content, ok := response.Content[resp.Header.Get("Content-Type")]
		if !ok {
			t.Errorf("%s: Content-Type %q is not described", name, resp.Header.Get("Content-Type"))
			return
		}
		for field := range response.Headers {
			if resp.Header.Get(field) == "" {
				t.Errorf("%s: there is no %s", name, field)
			}
		}
		if resp.Header.Get("Content-Type") != "application/json" {
			return
		}
		var v any
		if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, wrong := range doc.check(content.Schema, v, "body") {
			t.Errorf("%s: %s", name, wrong)
		}
	}
	sent := 0
	send := func(ctx context.Context, c call) *http.Response {
		t.Helper()
		method, _, _ := strings.Cut(c.op, " ")
		r, err := http.NewRequestWithContext(ctx, method, servers[c.server].URL+"/-/api/v1"+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		sent++
		r.Header.Set("Test-Client", fmt.Sprint(sent))
		if c.server == "guessed" {
			r.Header.Set("Test-Client", "somebody")
		}
		switch c.with {
		case "":
			r.Header.Set("Authorization", "Bearer k")
		case "wrong":
			r.Header.Set("Authorization", "Bearer wrong")
		case "session":
			r.AddCookie(session)
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		case "cross":
			r.AddCookie(session)
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		case "cross origin": // of a browser that does not send the other field
			r.AddCookie(session)
			r.Header.Set("Origin", "https://evil.example")
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	for _, c := range calls {
		resp := send(t.Context(), c)
		look(c, resp)
		resp.Body.Close()
	}

	// A stream of events has no end: it is read until there is one.
	for view, schema := range map[string]string{"full": "Event", "summary": "EventSummary"} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		c := call{"GET /purges/events", "/purges/events?view=" + view, "", "session", "", 200}
		resp := send(ctx, c)
		look(c, resp)
		if _, err := h.Purge(ctx, []string{"/photos/cat.png"}, nil); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var v any
				if err := json.Unmarshal([]byte(data), &v); err != nil {
					t.Error(err)
				}
				for _, wrong := range doc.check(map[string]any{"$ref": "#/components/schemas/" + schema}, v, view) {
					t.Error(wrong)
				}
				break
			}
		}
		cancel()
		resp.Body.Close()
	}

	api, _, _ := imagecdn.AdminRoutes(h)
	var described []string
	for path, operations := range doc.Paths {
		for method, op := range operations {
			described = append(described, strings.ToUpper(method)+" "+strings.Replace(path, "{path}", "{path...}", 1))
			for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
				if name := strings.ToUpper(method) + " " + path + " " + status; !seen[name] {
					t.Errorf("%s is described, and was not seen", name)
				}
			}
		}
	}
	slices.Sort(api)
	slices.Sort(described)
	if !slices.Equal(api, described) {
		t.Errorf("there are   %q\ndescribed are %q", api, described)
	}
}
