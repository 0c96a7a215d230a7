package command

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/internal/samples"
	"github.com/imagecdn/imagecdn/resize"
)

// A browser that takes AVIF has WebP at once, and AVIF when the real encoder is done: smaller, and as large in pixels.
func TestAVIFBehindWebP(t *testing.T) {
	if testing.Short() {
		t.Skip("the encoder takes seconds: left out of short runs")
	}
	h, err := imagecdn.New(imagecdn.Sources{"photos": imagecdn.FS(samples.FS())}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	const url = "/photos/coffee.png?w=300&auto=format"
	get := func() *httptest.ResponseRecorder {
		t.Helper()
		r := httptest.NewRequest(http.MethodGet, url, nil)
		r.Header.Set("Accept", "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		return w
	}
	first := get()
	if got := first.Header(); got.Get("Content-Type") != "image/webp" || got.Get("Cache-Status") != "imagecdn; fwd=miss; stored; detail=stand-in" {
		t.Fatalf("first: %v", got)
	}
	last := first
	for end := time.Now().Add(time.Minute); last.Header().Get("Content-Type") != "image/avif"; last = get() {
		if time.Now().After(end) {
			t.Fatalf("still %v", last.Header())
		}
		time.Sleep(20 * time.Millisecond)
	}
	info, err := resize.Probe(last.Body.Bytes())
	if err != nil || info.Format != resize.AVIF || info.Width != 300 || info.Height != 200 {
		t.Errorf("%+v, %v", info, err)
	}
	if last.Body.Len() >= first.Body.Len() || bytes.Equal(first.Body.Bytes(), last.Body.Bytes()) || last.Header().Get("Etag") == first.Header().Get("Etag") {
		t.Errorf("%d bytes, the stand-in's were %d; %v", last.Body.Len(), first.Body.Len(), last.Header())
	}
}
