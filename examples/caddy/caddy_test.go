// Package caddy has a Caddyfile for imagecdn behind Caddy.
package caddy

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/middleware"
)

// Caddy takes the Caddyfile, as it is.
func TestValidate(t *testing.T) {
	if out, err := caddy(t, "adapt", "--config", "Caddyfile", "--validate").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// Behind Caddy signatures are good, what is under /-/ is not to be had, and the client's address comes through.
func TestBehindCaddy(t *testing.T) {
	h, err := imagecdn.New(imagecdn.Sources{"photos": imagecdn.Dir("../../internal/samples/photos")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	sign := &middleware.Signature{Keys: [][]byte{[]byte("secret-key-of-32-bytes-0123456789")}}
	mux := http.NewServeMux()
	mux.Handle("/", sign.Handler(h))
	mux.Handle("/-/", http.StripPrefix("/-", h.Admin(nil)))
	forwarded := make(chan string, 100)
	images := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		forwarded <- r.Header.Get("X-Forwarded-For")
		mux.ServeHTTP(w, r)
	}))
	defer images.Close()

	// The same file, but for where Caddy listens and where the images are.
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	b, err := os.ReadFile("Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	file := strings.Replace(string(b), "img.example.com {", "{\n\tadmin off\n}\nhttp://img.example.com {\n\tbind unix/"+socket, 1)
	file = strings.Replace(file, "127.0.0.1:8080", strings.TrimPrefix(images.URL, "http://"), 1)
	config := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(config, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := caddy(t, "run", "--config", config)
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	get := func(target string) (int, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://img.example.com"+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Forwarded-For", "192.0.2.1") // made up
		resp, err := client.Do(r)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	for range 100 {
		if _, err = get("/-/healthz"); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		cmd.Process.Kill()
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	for _, tt := range []struct {
		target string
		want   int
	}{
		{sign.Sign("/photos/rocket.jpg?w=400"), 200},
		{sign.Sign("/photos/rocket%2Ejpg?w=400&auto=format"), 200},
		{"/photos/rocket.jpg?w=400", 403},
		{"/-/healthz", 404},
		{"/-/api/v1/purges", 404},
		{"//-/api/v1/purges", 404},
		{"/%2d/api/v1/purges", 404},
	} {
		if got, err := get(tt.target); got != tt.want || err != nil {
			t.Errorf("%s: %d, not %d: %v", tt.target, got, tt.want, err)
		}
	}
	for len(forwarded) > 0 {
		if f := <-forwarded; strings.Contains(f, "192.0.2.1") {
			t.Errorf("X-Forwarded-For is %s: Caddy lets clients make theirs up", f)
		}
	}
}

func caddy(t *testing.T, words ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("caddy")
	if err != nil {
		t.Skip("caddy is not there to ask: ", err)
	}
	return exec.CommandContext(t.Context(), path, words...)
}
