package imagecdn_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn"
)

// A stuckOrigin never answers for one path, sends the header and then nothing for another, and has any other image.
type stuckOrigin struct{ *fakeOrigin }

func (o stuckOrigin) RoundTrip(r *http.Request) (*http.Response, error) {
	switch r.URL.Path[:3] {
	case "/si":
		<-r.Context().Done()
		return nil, r.Context().Err()
	case "/st":
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: r, ContentLength: 1 << 20, Body: io.NopCloser(stuck{r})}, nil
	}
	return o.fakeOrigin.RoundTrip(r)
}

type stuck struct{ r *http.Request }

func (s stuck) Read([]byte) (int, error) {
	<-s.r.Context().Done()
	return 0, s.r.Context().Err()
}

// With one slot, and 200 requests whose origins do not answer, another client is served.
func TestSlowOriginsHoldNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		o.set("/cat.png", answer{header: cacheFor("max-age=3600"), body: paint(t, red, 40, 40)})
		h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: stuckOrigin{o}}}, &imagecdn.Options{Renders: 1, RenderMemory: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		ctx, leave := context.WithCancel(t.Context())
		for i := range 100 {
			for _, path := range []string{"silent", "stalls"} {
				r := httptest.NewRequest(http.MethodGet, fmt.Sprintf("/photos/%s%d.jpg?w=10", path, i), nil).WithContext(ctx)
				go h.ServeHTTP(httptest.NewRecorder(), r)
				synctest.Wait()
			}
		}
		// What waits for its turn to be read is looked at again once a second.
		start := time.Now()
		for i := range 3 {
			if w := from(h, "192.0.2.9", fmt.Sprintf("/photos/cat.png?w=%d", 10+i)); w.Code != http.StatusOK {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		leave()
		synctest.Wait()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
}
