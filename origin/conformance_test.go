package origin_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/imagecdn/imagecdn/origin"
	"github.com/imagecdn/imagecdn/origin/origintest"
)

func TestConformance(t *testing.T) {
	t.Run("NewFS", func(t *testing.T) {
		origintest.Run(t, func(t *testing.T, files map[string]string) http.RoundTripper {
			fsys := fstest.MapFS{}
			for path, text := range files {
				fsys[path[1:]] = &fstest.MapFile{Data: []byte(text)}
			}
			return origin.NewFS(fsys)
		})
	})

	t.Run("Dir", func(t *testing.T) {
		origintest.Run(t, func(t *testing.T, files map[string]string) http.RoundTripper {
			dir := t.TempDir()
			for path, text := range files {
				name := filepath.Join(dir, filepath.FromSlash(path))
				if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				longAgo := time.Now().Add(-time.Hour)
				if err := os.Chtimes(name, longAgo, longAgo); err != nil {
					t.Fatal(err)
				}
			}
			d, err := origin.OpenDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { d.Close() })
			return d
		})
	})

	t.Run("HTTP", func(t *testing.T) {
		origintest.Run(t, func(t *testing.T, files map[string]string) http.RoundTripper {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				text, ok := files[strings.TrimPrefix(r.URL.Path, "/base")]
				if !ok || r.URL.RawQuery != "" {
					http.NotFound(w, r)
					return
				}
				w.Header().Set("ETag", strconv.Quote(strconv.Itoa(len(text))))
				http.ServeContent(w, r, "x.jpg", time.Unix(1e9, 0), strings.NewReader(text))
			}))
			t.Cleanup(srv.Close)
			h, err := origin.NewHTTP(srv.URL+"/base/", &origin.HTTPOptions{AllowPrivate: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { h.Close() })
			return h
		})
	})
}
