// Package gallerytest looks at a program with a gallery as browsers, strangers and operators do.
package gallerytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"image"
	_ "image/jpeg"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

var (
	srcset = regexp.MustCompile(`srcset="([^"]+)"`)
	source = regexp.MustCompile(`(/\S+) (\d+)w`)
)

// Run starts a program's routes on the loopback and uses them. The page is at /, the images are at /img/ and signed, and the API is at
// /-/, with the key.
func Run(t *testing.T, routes http.Handler, key string) {
	server := httptest.NewServer(routes)
	defer server.Close()
	g := &browser{t: t, base: server.URL}

	// Every size that the page has is that size, is made once, and is a hit then.
	status, header, page := g.do("GET", "/", "", "")
	if status != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), "text/html") {
		t.Fatalf("the page: %d %s", status, header.Get("Content-Type"))
	}
	sets := srcset.FindAllSubmatch(page, -1)
	if len(sets) < 2 {
		t.Fatalf("the page has %d pictures:\n%s", len(sets), page)
	}
	var first string
	for _, set := range sets {
		sizes := source.FindAllStringSubmatch(html.UnescapeString(string(set[1])), -1)
		if len(sizes) < 4 {
			t.Fatalf("a srcset of %d sizes: %s", len(sizes), set[1])
		}
		for _, size := range sizes[:2] {
			if first == "" {
				first = size[1]
			}
			for _, want := range []string{"imagecdn; fwd=miss; stored", "imagecdn; hit; ttl="} {
				status, header, body := g.do("GET", size[1], "", "")
				if status != http.StatusOK || !strings.HasPrefix(header.Get("Cache-Status"), want) {
					t.Errorf("%s: %d, Cache-Status: %s, not %s", size[1], status, header.Get("Cache-Status"), want)
				}
				if config, _, err := image.DecodeConfig(bytes.NewReader(body)); err != nil || fmt.Sprint(config.Width) != size[2] {
					t.Errorf("%s: %d pixels wide, not %s: %v", size[1], config.Width, size[2], err)
				}
			}
		}
	}
	_, header, _ = g.do("GET", first, "", "")
	if status, header, body := g.do("HEAD", first, "", ""); status != http.StatusOK || header.Get("Etag") == "" || len(body) != 0 {
		t.Errorf("HEAD: %d, ETag %q, %d bytes", status, header.Get("Etag"), len(body))
	}
	if status, _, _ := g.do("GET", first, "If-None-Match", header.Get("Etag")); status != http.StatusNotModified {
		t.Errorf("If-None-Match: %d", status)
	}

	// Strangers make up no URL, and purge nothing.
	path, _, _ := strings.Cut(first, "?")
	for _, tt := range []struct {
		method, target, body string
		want                 int
	}{
		{"GET", path, "", 403},
		{"GET", path + "?w=321", "", 403},
		{"GET", strings.Replace(first, "w=320", "w=321", 1), "", 403},
		{"POST", first, "", 405},
		{"POST", "/-/api/v1/purges", `{"scope":"all"}`, 401},
		{"GET", "/-/readyz", "", 200},
		{"GET", "/elsewhere", "", 404},
	} {
		if status, _, body := g.do(tt.method, tt.target, "", tt.body); status != tt.want {
			t.Errorf("%s %s: %d %s", tt.method, tt.target, status, body)
		}
	}

	// Operators purge, and follow it to the end.
	purged := strings.TrimPrefix(path, "/img")
	status, header, body := g.do("POST", "/-/api/v1/purges", "Authorization", fmt.Sprintf(`{"scope":"original","paths":[%q]}`, purged), "Bearer "+key)
	if status != http.StatusAccepted {
		t.Fatalf("the purge: %d %s", status, body)
	}
	at := header.Get("Location")
	var job struct{ State string }
	for range 500 {
		status, _, body = g.do("GET", at, "Authorization", "", "Bearer "+key)
		if err := json.Unmarshal(body, &job); err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d %s", at, status, body)
		}
		if job.State == "done" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if job.State != "done" {
		t.Errorf("the purge is %s", job.State)
	}
	if _, header, _ := g.do("GET", first, "", ""); header.Get("Cache-Status") != "imagecdn; fwd=miss; stored" {
		t.Errorf("after the purge: %s", header.Get("Cache-Status"))
	}
}

type browser struct {
	t    *testing.T
	base string
}

// do sends a request. A field has the value of what follows the body, or the body's where nothing does.
func (b *browser) do(method, target, field, body string, value ...string) (int, http.Header, []byte) {
	b.t.Helper()
	if field != "" && len(value) == 0 {
		value, body = []string{body}, ""
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.base+target, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if field != "" {
		r.Header.Set(field, value[0])
	}
	resp, err := http.DefaultTransport.RoundTrip(r) // follows no redirect
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, got
}
