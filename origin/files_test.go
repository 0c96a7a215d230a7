package origin

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

var longAgo = time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)

// newDir makes a directory of files, each holding its name and modified long ago.
func newDir(t *testing.T, names ...string) (*Dir, string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		write(t, dir, name, name, longAgo)
	}
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, dir
}

func write(t *testing.T, dir, name, text string, mtime time.Time) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, mtime, mtime); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, to, from string) {
	t.Helper()
	if err := os.Symlink(to, from); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
}

func TestDir(t *testing.T) {
	d, dir := newDir(t, "cat.jpg", "a b/c.jpg", "sub/index.html", "sub/dog.png", ".env", ".git/config", "sub/.hidden/x.jpg", "noext")
	if runtime.GOOS != "windows" {
		for _, name := range []string{"100%.jpg", "what?.jpg", "a#b.jpg", "st\u00f6ked \u2713.png", "%2e%2e.jpg", "plus+.jpg", "back\\slash.jpg", "c:d.jpg", "new\nline.jpg", "\xff\xfe.jpg"} {
			write(t, dir, name, name, longAgo)
			if name != "\xff\xfe.jpg" { // fs.FS has no names that are not UTF-8
				if resp, body := get(t, d, "/"+name); resp.StatusCode != 200 || body != name {
					t.Errorf("%q: got %d %q", name, resp.StatusCode, body)
				}
			} else if resp, _ := get(t, d, "/"+name); resp.StatusCode != 404 {
				t.Errorf("%q: got %d, want 404", name, resp.StatusCode)
			}
		}
	}
	for _, test := range []struct {
		path string
		want int
		kind string
	}{
		{"/cat.jpg", 200, "image/jpeg"},
		{"/a b/c.jpg", 200, "image/jpeg"},
		{"/sub/dog.png", 200, "image/png"},
		{"/noext", 200, "text/plain; charset=utf-8"},
		{"/", 404, ""},
		{"/sub", 404, ""},
		{"/sub/index.html", 404, ""},
		{"/index.html", 404, ""},
		{"/no.jpg", 404, ""},
		{"/no/no.jpg", 404, ""},
		{"/cat.jpg/x", 404, ""},
		{"/.env", 404, ""},
		{"/.git/config", 404, ""},
		{"/.git", 404, ""},
		{"/sub/.hidden/x.jpg", 404, ""},
		{"/nul\x00.jpg", 404, ""},
		{"/" + strings.Repeat("x", 300) + ".jpg", 404, ""},
		{"/" + strings.Repeat("x/", 3000) + "x.jpg", 404, ""},
		{"/a%20b/c.jpg", 404, ""},
		{"/..\\cat.jpg", 404, ""},
	} {
		resp, body := get(t, d, test.path)
		if resp.StatusCode != test.want {
			t.Errorf("%.40q: got %d, want %d", test.path, resp.StatusCode, test.want)
			continue
		}
		if got := resp.Header.Get("Cache-Control"); got != "max-age=1" {
			t.Errorf("%.40q: got Cache-Control %q", test.path, got)
		}
		if resp.Header.Get("Date") == "" || resp.ContentLength != int64(len(body)) {
			t.Errorf("%.40q: got length %d for %d bytes, header %v", test.path, resp.ContentLength, len(body), resp.Header)
		}
		if test.want != 200 {
			if body != "Not Found\n" {
				t.Errorf("%.40q: got body %q", test.path, body)
			}
			continue
		}
		if body != test.path[1:] || resp.Header.Get("Content-Type") != test.kind {
			t.Errorf("%q: got %q of type %q, want type %q", test.path, body, resp.Header.Get("Content-Type"), test.kind)
		}
		if resp.Header.Get("Accept-Ranges") != "" {
			t.Errorf("%q: says that it takes ranges", test.path)
		}
	}
}

func TestDirKeepsInside(t *testing.T) {
	d, dir := newDir(t, "real/cat.jpg")
	outside := t.TempDir()
	write(t, outside, "secret.jpg", "secret", longAgo)
	symlink(t, filepath.Join("real", "cat.jpg"), filepath.Join(dir, "inside.jpg"))
	symlink(t, "real", filepath.Join(dir, "insidedir"))
	symlink(t, filepath.Join("..", "real", "cat.jpg"), filepath.Join(dir, "real", "up.jpg"))
	symlink(t, filepath.Join(outside, "secret.jpg"), filepath.Join(dir, "absolute.jpg"))
	symlink(t, filepath.Join(dir, "real", "cat.jpg"), filepath.Join(dir, "absoluteinside.jpg"))
	symlink(t, outside, filepath.Join(dir, "outdir"))
	rel, err := filepath.Rel(dir, filepath.Join(outside, "secret.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	symlink(t, rel, filepath.Join(dir, "relative.jpg"))
	symlink(t, "loop.jpg", filepath.Join(dir, "loop.jpg"))
	symlink(t, "gone.jpg", filepath.Join(dir, "dangling.jpg"))
	for _, test := range []struct {
		path string
		want int
	}{
		{"/inside.jpg", 200},
		{"/insidedir/cat.jpg", 200},
		{"/real/up.jpg", 200},
		{"/absolute.jpg", 404},
		{"/absoluteinside.jpg", 404},
		{"/outdir/secret.jpg", 404},
		{"/relative.jpg", 404},
		{"/loop.jpg", 404},
		{"/dangling.jpg", 404},
	} {
		if resp, body := get(t, d, test.path); resp.StatusCode != test.want || strings.Contains(body, "secret") {
			t.Errorf("%s: got %d %q, want %d", test.path, resp.StatusCode, body, test.want)
		}
	}
	for _, path := range []string{"/../secret.jpg", "/real/../../secret.jpg", "//etc/passwd", "/real//cat.jpg", "/./real/cat.jpg"} {
		if err := fails(t, d, path); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: got %v, want ErrRefused", path, err)
		}
	}
}

func TestDirUnreadableFile(t *testing.T) {
	// As root every file can be read, so the refusal comes from a file system that refuses.
	rt := NewFS(failFS{fstest.MapFS{"cat.jpg": {Data: []byte("cat")}}, fs.ErrPermission})
	if resp, body := get(t, rt, "/cat.jpg"); resp.StatusCode != 403 || body != "Forbidden\n" {
		t.Errorf("got %d %q, want 403", resp.StatusCode, body)
	}
}

// Failing is not the same as not being there: a 404 would be remembered.
func TestFSFailureIsAnError(t *testing.T) {
	rt := NewFS(failFS{fstest.MapFS{"cat.jpg": {Data: []byte("cat")}}, errors.New("disk /dev/sda on fire")})
	if err := fails(t, rt, "/cat.jpg"); Status(err) != 502 || strings.Contains(err.Error(), "fire") {
		t.Errorf("got %v, want a 502 that tells nothing", err)
	}
	d, _ := newDir(t, "cat.jpg")
	d.Close()
	if err := fails(t, d, "/cat.jpg"); Status(err) != 502 {
		t.Errorf("after Close: got %v, want a 502", err)
	}
}

type failFS struct {
	fstest.MapFS
	err error
}

func (f failFS) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: f.err}
}

func TestDirMethods(t *testing.T) {
	d, _ := newDir(t, "cat.jpg")
	for path, status := range map[string]int{"/cat.jpg": 200, "/no.jpg": 404} {
		whole, _ := get(t, d, path)
		resp, err := d.RoundTrip(request(t, http.MethodHead, path))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if resp.StatusCode != status || len(b) != 0 || err != nil || resp.ContentLength != whole.ContentLength ||
			resp.Header.Get("Content-Length") != whole.Header.Get("Content-Length") || resp.Header.Get("Etag") != whole.Header.Get("Etag") {
			t.Errorf("HEAD %s: got %d, %d bytes, %v, header %v; GET has %v", path, resp.StatusCode, len(b), err, resp.Header, whole.Header)
		}
	}
	resp, body := get(t, d, "/cat.jpg", "Range", "bytes=0-1", "If-Range", `"x"`, "If-Match", `"x"`)
	if resp.StatusCode != 200 || body != "cat.jpg" {
		t.Errorf("with Range: got %d %q, want the whole", resp.StatusCode, body)
	}
}

func TestDirConditions(t *testing.T) {
	d, _ := newDir(t, "cat.jpg")
	first, _ := get(t, d, "/cat.jpg")
	etag := first.Header.Get("Etag")
	if len(etag) < 4 || etag[0] != '"' {
		t.Fatalf("got ETag %s, want a strong one", etag)
	}
	modified := first.Header.Get("Last-Modified")
	for _, test := range []struct {
		name, value string
		want        int
	}{
		{"If-None-Match", etag, 304},
		{"If-None-Match", "W/" + etag, 304},
		{"If-None-Match", `"a", "b,c" , ` + etag, 304},
		{"If-None-Match", "*", 304},
		{"If-None-Match", `"other"`, 200},
		{"If-None-Match", strings.Trim(etag, `"`), 200},
		{"If-None-Match", `"`, 200},
		{"If-Modified-Since", modified, 304},
		{"If-Modified-Since", "Thu, 01 Jan 2026 00:00:00 GMT", 200},
	} {
		resp, body := get(t, d, "/cat.jpg", test.name, test.value)
		if resp.StatusCode != test.want || (body == "") != (test.want == 304) {
			t.Errorf("%s: %s: got %d %q, want %d", test.name, test.value, resp.StatusCode, body, test.want)
		}
		if resp.Header.Get("Etag") != etag || resp.Header.Get("Cache-Control") != "max-age=1" {
			t.Errorf("%s: %s: got header %v", test.name, test.value, resp.Header)
		}
	}
	// If-None-Match decides, also against If-Modified-Since.
	if resp, _ := get(t, d, "/cat.jpg", "If-None-Match", `"other"`, "If-Modified-Since", modified); resp.StatusCode != 200 {
		t.Errorf("got %d, want 200", resp.StatusCode)
	}
}

func TestEditedFileHasAnotherETag(t *testing.T) {
	d, dir := newDir(t)
	for _, test := range []struct {
		name     string
		from, to string
		t1, t2   time.Time
	}{
		{"other time", "aaa", "aaa", longAgo, longAgo.Add(time.Nanosecond)},
		{"other size", "aaa", "aaaa", longAgo, longAgo},
		// A clock that ticks slowly: the second edit leaves time and size as they are.
		{"same time, both edits just now", "aaa", "bbb", time.Now(), time.Time{}},
		{"no time", "aaa", "bbb", time.Unix(0, 0), time.Unix(0, 0)},
	} {
		if test.t2.IsZero() {
			test.t2 = test.t1
		}
		write(t, dir, "cat.jpg", test.from, test.t1)
		before, _ := get(t, d, "/cat.jpg")
		etag := before.Header.Get("Etag")
		if resp, _ := get(t, d, "/cat.jpg", "If-None-Match", etag); resp.StatusCode != 304 {
			t.Errorf("%s: got %d before the edit, want 304", test.name, resp.StatusCode)
		}
		write(t, dir, "cat.jpg", test.to, test.t2)
		resp, body := get(t, d, "/cat.jpg", "If-None-Match", etag, "If-Modified-Since", time.Now().UTC().Format(http.TimeFormat))
		if resp.StatusCode != 200 || body != test.to || resp.Header.Get("Etag") == etag {
			t.Errorf("%s: got %d %q after the edit, ETag %s then %s", test.name, resp.StatusCode, body, etag, resp.Header.Get("Etag"))
		}
	}
}

func TestFSWithoutTimes(t *testing.T) {
	etags := map[string]string{}
	for _, text := range []string{"one", "two", ""} {
		for range 2 {
			rt := NewFS(fstest.MapFS{"cat.jpg": {Data: []byte(text)}})
			resp, body := get(t, rt, "/cat.jpg")
			etag := resp.Header.Get("Etag")
			if body != text || resp.StatusCode != 200 || etag == "" || resp.Header.Get("Last-Modified") != "" {
				t.Errorf("%q: got %d %q, header %v", text, resp.StatusCode, body, resp.Header)
			}
			if was, ok := etags[text]; ok && was != etag {
				t.Errorf("%q: ETag %s became %s", text, was, etag)
			}
			etags[text] = etag
			if resp, _ := get(t, rt, "/cat.jpg", "If-None-Match", etag); resp.StatusCode != 304 {
				t.Errorf("%q: got %d, want 304", text, resp.StatusCode)
			}
		}
	}
	if etags["one"] == etags["two"] || etags["one"] == etags[""] {
		t.Errorf("different contents share an ETag: %v", etags)
	}
}

func TestFSThatCannotSeek(t *testing.T) {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	text := strings.Repeat("image ", 10000)
	f, err := w.CreateHeader(&zip.FileHeader{Name: "a/cat.jpg", Method: zip.Deflate, Modified: longAgo})
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(f, text)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := zip.NewReader(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if resp, body := get(t, NewFS(r), "/a/cat.jpg"); resp.StatusCode != 200 || body != text {
		t.Errorf("got %d and %d bytes, want %d", resp.StatusCode, len(body), len(text))
	}
}

// A file that is cut, grown or rewritten while it is read must not pass for a whole one.
func TestFileThatChangesWhileItIsRead(t *testing.T) {
	d, dir := newDir(t)
	big := strings.Repeat("x", 1<<20)
	for name, change := range map[string]func(path string) error{
		"cut":       func(path string) error { return os.Truncate(path, 1000) },
		"grown":     func(path string) error { return os.Truncate(path, 2<<20) },
		"rewritten": func(path string) error { return os.WriteFile(path, []byte(strings.ToUpper(big)), 0o644) },
	} {
		write(t, dir, "cat.jpg", big, longAgo)
		resp, err := d.RoundTrip(request(t, http.MethodGet, "/cat.jpg"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(resp.Body, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		if err := change(filepath.Join(dir, "cat.jpg")); err != nil {
			t.Fatal(err)
		}
		if _, err = io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "cat") {
			t.Errorf("%s: got %v, want io.ErrUnexpectedEOF with no name", name, err)
		}
		resp.Body.Close()
	}
	write(t, dir, "cat.jpg", big, longAgo)
	if _, body := get(t, d, "/cat.jpg"); body != big {
		t.Error("a file left alone is not read whole")
	}
}

func TestFileBodyOfACancelledRequest(t *testing.T) {
	d, dir := newDir(t)
	write(t, dir, "cat.jpg", strings.Repeat("x", 1<<20), longAgo)
	ctx, cancel := context.WithCancel(t.Context())
	resp, err := d.RoundTrip(request(t, http.MethodGet, "/cat.jpg").WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	cancel()
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestOpenDirOfNothing(t *testing.T) {
	if _, err := OpenDir(filepath.Join(t.TempDir(), "no")); !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want fs.ErrNotExist in one line", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDir(file); err == nil {
		t.Error("a file was opened as a directory")
	}
}
