package command

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Pages are compressed, as browsers ask for it, and streams of events are not: each would hold a compressor.
func TestStreamsAreNotCompressed(t *testing.T) {
	for _, tt := range []struct {
		contentType, accept, want string
	}{
		{"application/json", "gzip, deflate, br, zstd", "zstd"},
		{"text/html; charset=utf-8", "gzip", "gzip"},
		{"text/event-stream", "gzip, deflate, br, zstd", ""},
		{"text/event-stream", "gzip", ""},
	} {
		h := compressed(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", tt.contentType)
			for range 3 {
				io.WriteString(w, strings.Repeat("data: something\n\n", 100))
				if err := http.NewResponseController(w).Flush(); err != nil {
					t.Error(err)
				}
			}
		}))
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept-Encoding", tt.accept)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header().Get("Content-Encoding"); got != tt.want {
			t.Errorf("%s for %s: %q", tt.contentType, tt.accept, got)
		}
	}
}
