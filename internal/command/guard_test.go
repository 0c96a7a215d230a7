package command

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagecdn/imagecdn/internal/samples"
	"github.com/imagecdn/imagecdn/middleware"
)

func TestServeSigned(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "photos"), samples.FS()); err != nil {
		t.Fatal(err)
	}
	const oldKey, newKey = "the-old-key-of-more-than-16-bytes", "the-new-key-of-more-than-16-bytes"
	keyFile := filepath.Join(dir, "key")
	if err := os.WriteFile(keyFile, []byte(newKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	out := &lineWriter{url: make(chan string, 1)}
	ended := make(chan int)
	go func() {
		ended <- Run(ctx, []string{"serve", "-listen", "127.0.0.1:0", "-cache", "", "-source", "photos=" + filepath.Join(dir, "photos"),
			"-sign", "@" + keyFile, "-sign", oldKey, "-sign-imgix", "FOO123bar", "-seal-cloudimage", "salt",
			"-allow", "w=20,30", "-allow", "auto=format%2Ccompress", "-allow", "expires"}, out, io.Discard)
	}()
	url := <-out.url
	newer, older := &middleware.Signature{Keys: [][]byte{[]byte(newKey)}}, &middleware.Signature{Keys: [][]byte{[]byte(oldKey)}}
	imgix, seal := &middleware.ImgixSignature{Tokens: []string{"FOO123bar"}}, &middleware.CloudimageSeal{Salts: []string{"salt"}}
	for _, test := range []struct {
		uri    string
		status int
		says   string
	}{
		{newer.Sign("/photos/rocket.jpg?w=20"), 200, "\xff\xd8"},
		{older.Sign("/photos/rocket.jpg?w=30"), 200, "\xff\xd8"},
		{imgix.Sign("/photos/rocket.jpg?w=20&auto=format%2Ccompress"), 200, "\xff\xd8"},
		{seal.Seal("/photos/rocket.jpg?w=20", "w"), 200, "\xff\xd8"},
		{seal.Seal("/photos/rocket.jpg?w=20", "w") + "&w=30", 403, "signature refused"},
		{newer.Sign("/photos/rocket.jpg?expires=1"), 404, "the URL has expired"},
		{newer.Sign("/photos/rocket.jpg?w=21"), 403, `"w" is not allowed to be "21" here`},
		{newer.Sign("/photos/rocket.jpg?h=20"), 403, `"h" is not allowed here`},
		{newer.Sign("/photos/rocket.jpg?w=20") + "&w=20", 403, "not the last parameter"},
		{"/photos/rocket.jpg?w=20", 403, "the URL is not signed"},
		{"/photos/rocket.jpg", 403, "the URL is not signed"},
		{"/photos", 403, "the URL is not signed"},
		{"/-/../photos/rocket.jpg", 307, ""}, // by the mux of what is not an image, to a path that is refused
		{"//photos/rocket.jpg", 403, "the URL is not signed"},
		{"/-/healthz", 200, "ok"},
		{"/-/api/v1/purges", 401, "give a key"},
	} {
		req, _ := http.NewRequest(http.MethodGet, url, nil)
		req.URL.Opaque = strings.Replace(test.uri, "//", "http://x//", 1)
		if !strings.HasPrefix(test.uri, "//") {
			req.URL.Opaque = test.uri
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s may be sniffed", test.uri)
		}
		if resp.StatusCode != test.status || !strings.Contains(string(body), test.says) {
			t.Errorf("%s: %d %.200q", test.uri, resp.StatusCode, body)
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit %d", code)
	}
	if s := out.buf.String(); !strings.Contains(s, "have to be signed") || strings.Contains(s, oldKey) {
		t.Errorf("it says %q", s)
	}
}

// A secret is never part of what is printed about it.
func TestServeRefusesBadSecrets(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		code int
		says string
		args []string
	}{
		{2, "at least 16 bytes", []string{"-sign", "top-secret"}},
		{2, "nothing in it", []string{"-sign", ""}},
		{2, "nothing in it", []string{"-sign-imgix", "@"}},
		{1, "holds no key", []string{"-sign", "@" + empty}},
		{1, "no such file", []string{"-sign", "@" + filepath.Join(dir, "none")}},
		{2, "one or the other", []string{"-sign-cloudimage", "top-secret", "-seal-cloudimage", "top-secret"}},
		{2, "NAME", []string{"-allow", "=1"}},
		{2, "each name once", []string{"-allow", "w=1", "-allow", "w=2"}},
	} {
		args := append([]string{"serve", "-listen", "127.0.0.1:0", "-cache", "", "-source", "photos=" + dir}, test.args...)
		code, _, stderr := command(t, args...)
		if code != test.code || !strings.Contains(stderr, test.says) || strings.Contains(stderr, "top-secret") {
			t.Errorf("%q: exit %d, %q", test.args, code, stderr)
		}
	}
	if code, _, stderr := command(t, "serve", "-sign-imgix", "FOO123bar"); code != 2 || !strings.Contains(stderr, "-source") {
		t.Errorf("the demo, signed: exit %d, %q", code, stderr)
	}
}
