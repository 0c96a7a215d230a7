//go:build unix

package e2e

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The origin has its images in folders, and tells tags of them.
const (
	folders = 4
	tags    = 3
)

func imagePath(n int) string  { return fmt.Sprintf("/web/f%d/%d.png", n%folders, n) }
func folderPath(n int) string { return fmt.Sprintf("/web/f%d/", n%folders) }
func tagName(n int) string    { return fmt.Sprintf("t%d", n%tags) }

// An origin paints the number of an image, modulo 256, and its version into each of its pixels, and says that it lives for a year.
type origin struct {
	url       string
	w         *witness
	slow      atomic.Int64 // nanoseconds that an answer takes at the most
	exchanges atomic.Int64
	versions  []atomic.Uint32

	mu   sync.Mutex // guards held
	held map[int]*hold
}

// A hold keeps answers of one version back, until it is let go.
type hold struct {
	version uint32
	held    atomic.Int64 // how many are
	free    chan struct{}
}

func startOrigin(t testing.TB, w *witness, images int) *origin {
	o := &origin{w: w, versions: make([]atomic.Uint32, images), held: make(map[int]*hold)}
	server := httptest.NewServer(o)
	t.Cleanup(func() {
		o.mu.Lock()
		for n, h := range o.held {
			close(h.free)
			delete(o.held, n)
		}
		o.mu.Unlock()
		server.CloseClientConnections()
		server.Close()
	})
	o.url = server.URL
	return o
}

// hold keeps back answers that have the present version of an image.
func (o *origin) hold(n int) *hold {
	h := &hold{version: o.versions[n].Load(), free: make(chan struct{})}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held[n] = h
	return h
}

func (o *origin) letGo(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if h := o.held[n]; h != nil {
		close(h.free)
		delete(o.held, n)
	}
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var n int
	if _, err := fmt.Sscanf(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:], "%d.png", &n); err != nil || n >= len(o.versions) || "/web"+r.URL.Path != imagePath(n) {
		http.NotFound(w, r)
		return
	}
	v := o.versions[n].Load() // as it was when the exchange came, however long it takes
	number := o.exchanges.Add(1)
	asked := r.Header.Get("If-None-Match")
	o.w.note(n, "exchange %d at the origin: version %d, If-None-Match %q, Cache-Control %q", number, v, asked, r.Header.Get("Cache-Control"))
	if most := o.slow.Load(); most > 0 {
		time.Sleep(time.Duration(rand.Int64N(most)))
	}
	o.mu.Lock()
	h := o.held[n]
	o.mu.Unlock()
	if h != nil && h.version == v {
		h.held.Add(1)
		select {
		case <-h.free:
		case <-r.Context().Done():
		}
	}
	etag := fmt.Sprintf(`"%d"`, v)
	w.Header().Set("Etag", etag)
	w.Header().Set("Cache-Control", "public, max-age=31536000")
	w.Header().Set("Cache-Tag", tagName(n))
	if asked == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "image/png")
	_ = png.Encode(w, image.NewPaletted(image.Rect(0, 0, 30, 20), color.Palette{color.RGBA{uint8(n), uint8(v >> 8), uint8(v), 255}}))
}
