package command

import (
	"bytes"
	"context"
	"flag"
	"image/png"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/internal/samples"
)

func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestWrongWordsExitWith2(t *testing.T) {
	for _, args := range [][]string{
		{"frobnicate"},
		{"serve", "photos"},
		{"serve", "-source", "photos"},
		{"serve", "-source", "a=b", "-source", "a=c"},
		{"serve", "-cache-size", "much"},
		{"serve", "-source", "a=https://a.example", "-allow-private=b"},
		{"serve", "-source", "a=folder", "-allow-private=a"}, // which is at no address
		{"purge"},
		{"purge", "-all", "/photos/cat.jpg"},
		{"purge", "-server", "nowhere", "/photos/cat.jpg"},
		{"transform", "one"},
	} {
		if code, _, stderr := command(t, args...); code != 2 || stderr == "" {
			t.Errorf("%q: exit %d, %q", args, code, stderr)
		}
	}
	if code, stdout, _ := command(t, "help"); code != 0 || !strings.Contains(stdout, "imagecdn serve") {
		t.Errorf("help: %d %q", code, stdout)
	}
}

func TestFailuresExitWith1AndOneLine(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.jpg")
	os.WriteFile(text, []byte("no picture"), 0o644)
	for _, args := range [][]string{
		{"serve", "-cache", "", "-listen", "127.0.0.1:0", "-source", "photos=" + filepath.Join(dir, "none")},
		{"transform", text, "w=20", filepath.Join(dir, "out.png")},
		{"transform", text, "w=abc", filepath.Join(dir, "out.png")},
		{"transform", text, "wdith=20", filepath.Join(dir, "out.png")},
		{"transform", filepath.Join(dir, "none.jpg"), "w=20", filepath.Join(dir, "out.png")},
	} {
		code, _, stderr := command(t, args...)
		if code != 1 || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: exit %d, %q", args, code, stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "out.png")); err == nil {
		t.Error("a failed transform left a file")
	}
}

func TestTransform(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"rocket.jpg", "chelsea.png"} {
		body, err := fs.ReadFile(samples.FS(), name)
		if err != nil {
			t.Fatal(err)
		}
		os.MkdirAll("photos", 0o755)
		os.WriteFile(filepath.Join("photos", name), body, 0o644)
	}
	if code, _, stderr := command(t, "transform", "photos/rocket.jpg", "w=100&h=50&fit=crop&mark=/photos/chelsea.png&mark-w=0.3", "out.png"); code != 0 {
		t.Fatalf("exit %d, %s", code, stderr)
	}
	f, err := os.Open("out.png")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := png.DecodeConfig(f)
	if err != nil || c.Width != 100 || c.Height != 50 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestPurgeFollowsTheJob(t *testing.T) {
	h, err := imagecdn.New(imagecdn.Sources{"photos": imagecdn.FS(samples.FS())}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	mux := http.NewServeMux()
	mux.Handle("/-/", http.StripPrefix("/-", h.Admin(&imagecdn.AdminOptions{Keys: []string{"k"}})))
	server := httptest.NewServer(mux)
	defer server.Close()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/photos/rocket.jpg?w=20", nil))

	code, stdout, stderr := command(t, "purge", "-server", server.URL, "-key", "k", "/photos/rocket.jpg")
	if code != 0 || !strings.Contains(stdout, " done\n") || !strings.Contains(stdout, "removed    /photos/rocket.jpg: originals 1, derivatives 1") {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
	if code, stdout, _ := command(t, "purge", "-server", server.URL, "-key", "k", "-all", "-source", "photos"); code != 0 || !strings.Contains(stdout, " done\n") {
		t.Errorf("all: exit %d, %q", code, stdout)
	}
	for says, args := range map[string][]string{
		"give a key":         {"purge", "-server", server.URL, "/photos/rocket.jpg"},
		"opens nothing":      {"purge", "-server", server.URL, "-key", "wrong", "/photos/rocket.jpg"},
		"/photos/a.jpg":      {"purge", "-server", server.URL, "-key", "k", "/photos/a.jpg?w=5"},
		"does not exist":     {"purge", "-server", server.URL, "-key", "k", "/nowhere/a.jpg"},
		"no such source":     {"purge", "-server", server.URL, "-key", "k", "-all", "-source", "nowhere"},
		"connection refused": {"purge", "-server", "http://127.0.0.1:1", "-key", "k", "-all"},
	} {
		if code, _, stderr := command(t, args...); code != 1 || !strings.Contains(stderr, says) {
			t.Errorf("%q: exit %d, %q", args, code, stderr)
		}
	}
}

// A lineWriter tells of the URL in what is written to it.
type lineWriter struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
	url chan string
}

var listening = regexp.MustCompile(`listening on (\S+)\n`)

func (w *lineWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(b)
	if m := listening.FindSubmatch(w.buf.Bytes()); m != nil {
		select {
		case w.url <- string(m[1]):
		default:
		}
	}
	return len(b), nil
}

func TestServeTheDemo(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	out := &lineWriter{url: make(chan string, 1)}
	ended := make(chan int)
	go func() { ended <- Run(ctx, []string{"-listen", "127.0.0.1:0", "-cache", t.TempDir()}, out, io.Discard) }()
	url := <-out.url
	for path, says := range map[string]string{
		"/":                         "<h1>imagecdn</h1>",
		"/photos/rocket.jpg?w=20":   "\xff\xd8",
		"/photos/none.jpg?w=20":     "no such image",
		"/photos/../rocket.jpg?w=2": "..",
		"/-/healthz":                "ok",
		"/-/api/v1/purges":          "give a key",
		"/photos":                   "path",
	} {
		req, _ := http.NewRequest(http.MethodGet, url, nil)
		req.URL.Opaque = path
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !bytes.Contains(body, []byte(says)) {
			t.Errorf("%s: %d %.200q", path, resp.StatusCode, body)
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit %d", code)
	}
}

func TestAllowPrivateOfSomeSources(t *testing.T) {
	given := sourceFlags{"a": "http://a.example", "b": "http://b.example", "c": "http://c.example", "d": "folder"}
	for _, test := range []struct {
		args []string
		want string // sources that may be private
	}{
		{nil, ""},
		{[]string{"-allow-private"}, "abc"},
		{[]string{"-allow-private=false"}, ""},
		{[]string{"-allow-private=b"}, "b"},
		{[]string{"-allow-private=a,c"}, "ac"},
		{[]string{"-allow-private=a", "-allow-private=b"}, "ab"},
	} {
		var private privateFlag
		f := flag.NewFlagSet("serve", flag.ContinueOnError)
		f.Var(&private, "allow-private", "")
		if err := f.Parse(test.args); err != nil {
			t.Fatal(err)
		}
		opened, err := openSources(t.Context(), given, private, new(extended))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, name := range slices.Sorted(maps.Keys(opened)) {
			if o := opened[name].HTTP; o != nil && o.AllowPrivate {
				got += name
			}
		}
		if got != test.want {
			t.Errorf("%q: %s may be private, want %s", test.args, got, test.want)
		}
	}
}
