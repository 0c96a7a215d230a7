package imagecdn_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"flag"
	"fmt"
	"image/png"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
)

var browser = flag.Bool("chromium", false, "look at SVG in a real Chromium, for a minute")

const (
	drawing       = `<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script><rect width="9" height="9"/></svg>`
	cleanDrawing  = `<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>`
	drawingPolicy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"
)

func TestDrawingIsServedCleaned(t *testing.T) {
	o := newOrigin()
	header := cacheFor("max-age=60")
	header.Set("Content-Type", "image/png") // what an origin says does not count
	o.set("/logo.svg", answer{header: header, body: []byte(drawing)})
	h := open(t, o, nil)
	var etag string
	for i, query := range []string{
		"", "?q=50", "?auto=format", "?auto=format,compress", "?svg-sanitize=true", "?rasterize-bypass=true&dl=logo.svg", "?fit=crop&dpr=2", "",
	} {
		w := mustGet(t, h, "/photos/logo.svg"+query, "Accept", "image/avif,image/webp,*/*")
		if w.Body.String() != cleanDrawing {
			t.Errorf("%s: %s", query, w.Body)
		}
		for name, want := range map[string]string{
			"Content-Type": "image/svg+xml", "Content-Security-Policy": drawingPolicy, "X-Content-Type-Options": "nosniff",
			"Content-Length": strconv.Itoa(len(cleanDrawing)), "Cache-Control": "public, max-age=60",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s: %q, want %q", query, name, got, want)
			}
		}
		status := w.Header().Get("Cache-Status")
		if i == 0 && status != "imagecdn; fwd=miss; stored" || i > 0 && !strings.HasPrefix(status, "imagecdn; hit; ttl=") {
			t.Errorf("%s: Cache-Status %q", query, status)
		}
		if i == 0 {
			etag = w.Header().Get("Etag")
		} else if w.Header().Get("Etag") != etag {
			t.Errorf("%s: another ETag", query)
		}
	}
	if w := get(h, "/photos/logo.svg", "If-None-Match", etag); w.Code != http.StatusNotModified {
		t.Errorf("If-None-Match: %d", w.Code)
	}
	if o.count() != 1 || imagecdn.Renders(h) != 1 {
		t.Errorf("%d requests to the origin, cleaned %d times; want one of each", o.count(), imagecdn.Renders(h))
	}
}

func TestDrawingHasNoPixels(t *testing.T) {
	o := newOrigin()
	o.set("/logo.svg", answer{header: cacheFor("max-age=3600"), body: []byte(drawing)})
	o.set("/cat.png", answer{header: cacheFor("max-age=3600"), body: paint(t, red, 8, 8)})
	h := open(t, o, nil)
	for _, query := range []string{"w=100", "h=0.5", "fm=png", "fm=json", "blur=5", "rot=90", "auto=enhance", "auto=format&w=9", "palette=css", "lossless=true", "mark64=L3Bob3Rvcy9jYXQucG5n"} {
		w := get(h, "/photos/logo.svg?"+query, "Accept", "image/avif,image/webp")
		if w.Code != http.StatusUnsupportedMediaType || w.Body.String() != "vector images (SVG) are served as they are: no parameters may change their pixels\n" {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
		if got := w.Header().Get("Cache-Control"); got != "public, max-age=300" {
			t.Errorf("%s: Cache-Control %q", query, got)
		}
	}
	if w := get(h, "/photos/cat.png?mark64=L3Bob3Rvcy9sb2dvLnN2Zw"); w.Code != http.StatusUnsupportedMediaType || !strings.Contains(w.Body.String(), "/photos/logo.svg: vector images (SVG) are not drawn onto others") {
		t.Errorf("as a mark: %d %s", w.Code, w.Body)
	}
	if w := get(h, "/photos/logo.svg?svg-sanitize=false"); w.Code != http.StatusBadRequest {
		t.Errorf("svg-sanitize=false: %d %s", w.Code, w.Body)
	}
}

func TestDrawingThatIsNotServed(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write([]byte(drawing))
	z.Close()
	for _, tt := range []struct {
		name, body string
		status     int
		text       string
	}{
		{"compressed", zipped.String(), 415, "gzip"},
		{"UTF-16", "\xff\xfe<\x00s\x00v\x00g\x00>\x00", 415, "UTF-8"},
		{"entities", `<!DOCTYPE svg [<!ENTITY a "b">]><svg xmlns="http://www.w3.org/2000/svg"/>`, 415, "document type"},
		{"cut off", drawing[:80], 422, "damaged SVG"},
		{"a circle", `<svg xmlns="http://www.w3.org/2000/svg"><g id="a"><use href="#a"/></g></svg>`, 422, "refers to itself"},
		{"too deep", `<svg xmlns="http://www.w3.org/2000/svg">` + strings.Repeat("<g>", 300) + strings.Repeat("</g>", 300) + `</svg>`, 413, "deep"},
		{"HTML", "<!DOCTYPE html><svg></svg>", 415, "not an image"},
	} {
		o := newOrigin()
		o.set("/logo.svg", answer{header: cacheFor("max-age=3600"), body: []byte(tt.body)})
		h := open(t, o, nil)
		for range 2 { // made, and remembered
			w := get(h, "/photos/logo.svg")
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.text) || strings.Count(w.Body.String(), "\n") != 1 {
				t.Errorf("%s: %d %s", tt.name, w.Code, w.Body)
			}
			for name, want := range map[string]string{
				"Content-Type": "text/plain; charset=utf-8", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox", "X-Content-Type-Options": "nosniff", "Cache-Control": "public, max-age=300",
			} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: %s: %q, want %q", tt.name, name, got, want)
				}
			}
		}
		if o.count() != 1 || imagecdn.Renders(h) > 1 {
			t.Errorf("%s: %d requests to the origin, cleaned %d times", tt.name, o.count(), imagecdn.Renders(h))
		}
	}
}

func TestNoSVG(t *testing.T) {
	o := newOrigin()
	o.set("/logo.svg", answer{header: cacheFor("max-age=60"), body: []byte(drawing)})
	h := open(t, o, &imagecdn.Options{NoSVG: true})
	if w := get(h, "/photos/logo.svg"); w.Code != http.StatusUnsupportedMediaType || w.Body.String() != "/photos/logo.svg: SVG is not served here\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// A purge covers what was made of SVG, as of any other original, in memory and on disk; and the policy is there after a restart.
func TestDrawingIsPurged(t *testing.T) {
	o := newOrigin()
	o.set("/logo.svg", answer{header: http.Header{"Cache-Control": {"max-age=3600"}}, body: []byte(drawing)})
	dir := t.TempDir()
	start := func() *imagecdn.Handler {
		disk, err := cache.OpenDisk(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		return open(t, o, &imagecdn.Options{Cache: disk})
	}
	h := start()
	mustGet(t, h, "/photos/logo.svg")
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = start()
	w := mustGet(t, h, "/photos/logo.svg")
	if w.Body.String() != cleanDrawing || w.Header().Get("Content-Security-Policy") != drawingPolicy || imagecdn.Renders(h) != 0 || o.count() != 1 {
		t.Errorf("after a restart: %s %v, cleaned %d times, %d requests", w.Body, w.Header(), imagecdn.Renders(h), o.count())
	}
	o.set("/logo.svg", answer{header: http.Header{"Cache-Control": {"max-age=3600"}}, body: []byte(strings.ReplaceAll(drawing, "rect", "path"))})
	job, err := h.Purge(t.Context(), []string{"/photos/logo.svg"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := job.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if rec.Paths[0].Derivatives != 1 {
		t.Errorf("%d derivatives were removed", rec.Paths[0].Derivatives)
	}
	if w := mustGet(t, h, "/photos/logo.svg"); w.Body.String() != strings.ReplaceAll(cleanDrawing, "rect", "path") {
		t.Errorf("after the purge: %s", w.Body)
	}
	// What is a picture next is one.
	o.set("/logo.svg", answer{body: paint(t, green, 8, 8)})
	if _, err := h.Purge(t.Context(), []string{"/photos/logo.svg"}, nil); err != nil {
		t.Fatal(err)
	}
	w = mustGet(t, h, "/photos/logo.svg?w=4")
	if colorOf(t, w.Body.Bytes()) != green || w.Header().Get("Content-Security-Policy") != "" {
		t.Errorf("a picture in its place: %v", w.Header())
	}
}

// attackDocs are the documents of package svgclean that are served.
func attackDocs(t *testing.T, js, leak string) (names, docs []string) {
	text, err := os.ReadFile("internal/svgclean/testdata/attacks.txt")
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range strings.Split(string(text), "\n-- ")[1:] {
		head, doc, _ := strings.Cut(part, "\n")
		name, outcome, _ := strings.Cut(head, ": ")
		if outcome != "ok" {
			continue
		}
		n := strconv.Itoa(i)
		doc = strings.ReplaceAll(doc, "]]>", "\x00")
		doc = strings.NewReplacer(
			"[[<", `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"><`, ">]]", "></svg>",
			"{JS}", strings.ReplaceAll(js, "NAME", n), "{LEAK}", leak+n, "\x00", "]]>").Replace(doc)
		names, docs = append(names, n+" "+name), append(docs, doc)
	}
	return names, docs
}

// chromium runs a browser without a window, and returns what it writes.
func chromium(t *testing.T, arguments ...string) []byte {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	switch {
	case !*browser:
		t.Skip("a browser takes a minute: -chromium has it started")
	case program == "":
		t.Skip("there is no Chromium to look at SVG with")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	profile, err := os.MkdirTemp("", "chromium") // which children may write to yet when the browser has ended
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(profile)
	cmd := exec.CommandContext(ctx, program, append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions", "--disable-background-networking",
		"--disable-component-update", "--force-device-scale-factor=1", "--user-data-dir=" + profile,
	}, arguments...)...)
	cmd.WaitDelay = 5 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("Chromium does not run here: %v: %.300s", err, stderr.Bytes())
	}
	return out
}

// A page shows all attacks in frames, clicks on everything that it can reach, and writes down who has sent a message that they ran.
const page = `<!DOCTYPE html><title>attacks</title><body><script>
const ran = new Set();
addEventListener('message', e => { ran.add(e.data); document.title = 'ran:' + [...ran].join(',') + ':'; });
for (let i = 0; i < %d; i++) {
	const f = document.createElement('iframe');
	f.width = f.height = 50;
	f.sandbox = 'allow-scripts allow-same-origin'; // and not to go elsewhere with this page
	f.onload = () => { try {
		for (const e of f.contentDocument.querySelectorAll('*')) {
			e.dispatchEvent(new MouseEvent('mouseover', {bubbles: true}));
			e.dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true, view: f.contentWindow}));
		}
	} catch {} };
	f.src = '%s' + i + '.svg';
	document.body.append(f);
}
</script>`

// Nothing of an attack runs in a real browser or is loaded by it: neither what is served, nor the same without its policy. The policy
// alone stops the documents as they came. Without either they do run, which shows that the test can tell.
func TestNothingRunsInChromium(t *testing.T) {
	var mu sync.Mutex
	leaks := make(map[string]bool)
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	names, docs := attackDocs(t, "document.documentElement.setAttribute('ran','NAME');top.postMessage('NAME','*')", server.URL+"/leak/")
	files := make(fstest.MapFS)
	for i, doc := range docs {
		files[strconv.Itoa(i)+".svg"] = &fstest.MapFile{Data: []byte(doc)}
	}
	h, err := imagecdn.New(imagecdn.Sources{"attacks": imagecdn.FS(files)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	mux.HandleFunc("/leak/", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		leaks[strings.TrimPrefix(r.URL.Path, "/leak/")] = true
		http.NotFound(w, r)
	})
	raw := func(policy string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			f, ok := files[filepath.Base(r.URL.Path)]
			if !ok {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Type", "image/svg+xml")
			if policy != "" {
				w.Header().Set("Content-Security-Policy", policy)
			}
			w.Write(f.Data)
		})
	}
	mux.Handle("/raw/", raw(""))
	mux.Handle("/policy/", raw(drawingPolicy))
	mux.Handle("/served/", http.StripPrefix("/served", h))
	mux.Handle("/cleaned/", http.StripPrefix("/cleaned", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := httptest.NewRecorder()
		h.ServeHTTP(got, r)
		if got.Code != http.StatusOK {
			t.Errorf("%s: %d %s", r.URL, got.Code, got.Body)
		}
		w.Header().Set("Content-Type", got.Header().Get("Content-Type"))
		w.Write(got.Body.Bytes())
	})))
	mux.HandleFunc("/page/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, page, len(docs), strings.TrimPrefix(r.URL.Path, "/page")+"/attacks/")
	})

	for _, tt := range []struct {
		way         string
		runs, leaks bool
	}{{"raw", true, true}, {"cleaned", false, false}, {"policy", false, false}, {"served", false, false}} {
		clear(leaks)
		out := string(chromium(t, "--virtual-time-budget=4000", "--timeout=30000", "--dump-dom", server.URL+"/page/"+tt.way))
		if !strings.Contains(out, "<iframe") {
			t.Fatalf("%s: no page: %.500s", tt.way, out)
		}
		var ran []string
		if _, after, ok := strings.Cut(out, "<title>ran:"); ok {
			list, _, _ := strings.Cut(after, ":")
			ran = strings.Split(list, ",")
		}
		mu.Lock()
		t.Logf("%s: %d of %d documents ran, %d loaded something", tt.way, len(ran), len(docs), len(leaks))
		if tt.runs != (len(ran) >= 20) || !tt.runs && len(ran) > 0 {
			for _, name := range names {
				if n, _, _ := strings.Cut(name, " "); slices.Contains(ran, n) {
					t.Errorf("%s: %s ran", tt.way, name)
				}
			}
			t.Errorf("%s: ran: %v", tt.way, ran)
		}
		if tt.leaks != (len(leaks) >= 5) || !tt.leaks && len(leaks) > 0 {
			t.Errorf("%s: loaded: %v", tt.way, leaks)
		}
		mu.Unlock()
	}

	// By themselves, as somebody would open them.
	for _, name := range []string{"script", "onload of the root", "script with a prefix", "foreignObject with an image"} {
		i := slices.IndexFunc(names, func(n string) bool { return strings.HasSuffix(n, " "+name) })
		for _, way := range []string{"raw", "served"} {
			out := chromium(t, "--virtual-time-budget=2000", "--timeout=10000", "--dump-dom", fmt.Sprintf("%s/%s/attacks/%d.svg", server.URL, way, i))
			if !bytes.Contains(out, []byte("svg")) {
				t.Fatalf("%s: %s: no document: %.300s", way, name, out)
			}
			if ran := bytes.Contains(out, []byte(`ran="`)); ran != (way == "raw") {
				t.Errorf("%s: %s: ran: %v: %s", way, name, ran, out)
			}
		}
	}
}

// Documents of programs that draw look the same when they are served, pixel by pixel, in an img and as documents of their own.
func TestDrawingsLookTheSameInChromium(t *testing.T) {
	dir := os.DirFS("internal/svgclean/testdata/benign")
	names, err := fs.Glob(dir, "*.svg")
	if err != nil || len(names) < 5 {
		t.Fatal(names, err)
	}
	h, err := imagecdn.New(imagecdn.Sources{"drawings": imagecdn.FS(dir)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	mux.Handle("/served/", http.StripPrefix("/served", h))
	mux.HandleFunc("/raw/drawings/", func(w http.ResponseWriter, r *http.Request) {
		body, err := fs.ReadFile(dir, filepath.Base(r.URL.Path))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "image/svg+xml")
		// As a document of its own in a frame, what is in a sandbox is sized to the frame by Chromium, and what is not is not.
		w.Header().Set("Content-Security-Policy", drawingPolicy)
		w.Write(body)
	})
	mux.HandleFunc("/page/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `<!DOCTYPE html><body style="margin:0;background:#fff">`)
		for _, tag := range []string{"<img width=150 height=150 src=%q>", "<iframe width=150 height=150 frameborder=0 scrolling=no src=%q></iframe>"} {
			for _, name := range names {
				fmt.Fprintf(w, tag, strings.TrimPrefix(r.URL.Path, "/page")+"/drawings/"+name)
			}
			fmt.Fprint(w, "<br>")
		}
	})
	shoot := func(way string) []byte {
		file := filepath.Join(t.TempDir(), way+".png")
		chromium(t, "--virtual-time-budget=5000", "--timeout=20000", "--hide-scrollbars", "--window-size=800,320", "--screenshot="+file, server.URL+"/page/"+way)
		shot, err := os.ReadFile(file)
		if err != nil {
			t.Skip("Chromium makes no pictures here: ", err)
		}
		return shot
	}
	before, after := shoot("raw"), shoot("served")
	a, err := png.Decode(bytes.NewReader(before))
	if err != nil {
		t.Fatal(err)
	}
	b, err := png.Decode(bytes.NewReader(after))
	if err != nil {
		t.Fatal(err)
	}
	differ, coloured := 0, 0
	for y := range a.Bounds().Dy() {
		for x := range a.Bounds().Dx() {
			if a.At(x, y) != b.At(x, y) {
				differ++
			}
			if r, g, b, _ := a.At(x, y).RGBA(); r+g+b < 3*0xffff {
				coloured++
			}
		}
	}
	t.Logf("%d drawings twice: %d pixels that are not white, %d differ", len(names), coloured, differ)
	if a.Bounds() != b.Bounds() || differ > 0 || coloured < 20_000 {
		for name, shot := range map[string][]byte{"before.png": before, "after.png": after} {
			if err := os.WriteFile(filepath.Join(t.ArtifactDir(), name), shot, 0o644); err != nil {
				t.Error(err)
			}
		}
		t.Errorf("%d pixels differ, %d are not white", differ, coloured)
	}
}
