package imagecdn_test

import (
	"fmt"
	"io/fs"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/internal/samples"
	"github.com/imagecdn/imagecdn/purge"
)

// Sizes of one image that are asked for together share its decoding, and so do those that come within the age that is set.
func TestSizesShareDecoding(t *testing.T) {
	rocket, err := fs.ReadFile(samples.FS(), "rocket.jpg")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		o.set("/a/rocket.jpg", answer{header: cachedAnHour, body: rocket})
		h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: o}}, &imagecdn.Options{Renders: 2, DecodedAge: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		release := imagecdn.HoldGate(h)
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() { mustGet(t, h, fmt.Sprintf("/photos/a/rocket.jpg?w=%d&fm=jpg", 60*(i+1))) })
		}
		synctest.Wait() // all have asked
		release()
		group.Wait()
		decodes := func(what string, want int64) {
			t.Helper()
			if n, _ := imagecdn.Decoded(h); n != want {
				t.Errorf("%s: %d decodings, want %d", what, n, want)
			}
		}
		decodes("together", 1)
		mustGet(t, h, "/photos/a/rocket.jpg?w=100")
		decodes("soon after", 1)
		time.Sleep(time.Minute + time.Second)
		if _, bytes := imagecdn.Decoded(h); bytes != 0 {
			t.Errorf("%d bytes are decoded after the age that was set", bytes)
		}
		mustGet(t, h, "/photos/a/rocket.jpg?w=101")
		decodes("later", 2)

		// A takedown leaves nothing decoded.
		for i, p := range []func() (*purge.Job, error){
			func() (*purge.Job, error) { return h.Purge(t.Context(), []string{"/photos/a/rocket.jpg"}, nil) },
			func() (*purge.Job, error) { return h.PurgeFolders(t.Context(), []string{"/photos/a/"}, nil) },
			func() (*purge.Job, error) { return h.PurgeAll(t.Context(), nil) },
		} {
			mustGet(t, h, fmt.Sprintf("/photos/a/rocket.jpg?w=%d", 102+i))
			if _, bytes := imagecdn.Decoded(h); bytes == 0 {
				t.Error("nothing is decoded before the purge")
			}
			if _, err := p(); err != nil {
				t.Fatal(err)
			}
			if _, bytes := imagecdn.Decoded(h); bytes != 0 {
				t.Errorf("%d bytes are decoded after a purge", bytes)
			}
		}
	})
}

// A picture that takes more than the whole budget is made all the same, alone.
func TestRenderMemoryIsNoSizeLimit(t *testing.T) {
	h, err := imagecdn.New(imagecdn.Sources{"samples": imagecdn.FS(samples.FS())}, &imagecdn.Options{RenderMemory: 1, Renders: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", fmt.Sprintf("/samples/rocket.jpg?w=%d", 100+i), nil))
			if w.Code != 200 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	group.Wait()
}
