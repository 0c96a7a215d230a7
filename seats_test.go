package imagecdn_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn"
)

// While places in the queue are free, no more originals are fetched than there are places: the others are refused at once, not when their originals are
// here.
func TestOriginalsHaveSeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		for i := range 60 {
			o.set(fmt.Sprintf("/%d.png", i), answer{header: cacheFor("max-age=3600"), body: paint(t, red, 40+i, 40)})
		}
		arrive := make(chan struct{})
		o.block = func(_ *http.Request, where string) {
			if where == "header" {
				<-arrive
			}
		}
		h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: o}}, &imagecdn.Options{Renders: 1, MaxQueued: 10})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		c := &crowd{h: h}
		began := time.Now()
		release := imagecdn.HoldGate(h)

		for i := range 20 {
			c.ask("greedy", "192.0.2.1", fmt.Sprintf("/photos/%d.png?w=10", i))
		}
		if c.count("greedy 429") != 10 || o.count() != 10 {
			t.Errorf("%d were fetched, and there were 10 places; %v", o.count(), c.done)
		}
		// Who asks for an original that is on its way takes no place, and who has less than others gets one.
		c.ask("sharer", "192.0.2.1", "/photos/0.png?w=10")
		c.ask("modest", "192.0.2.2", "/photos/20.png?w=10")
		if len(c.done) != 10 || o.count() != 11 {
			t.Errorf("%d fetched, %v", o.count(), c.done)
		}
		if time.Since(began) > 0 {
			t.Errorf("it took %v", time.Since(began))
		}
		// An origin that is slow keeps nobody out.
		time.Sleep(2 * time.Second)
		c.ask("later", "192.0.2.1", "/photos/21.png?w=10")
		if c.count("later 429") != 0 || o.count() != 12 {
			t.Errorf("after two seconds: %d fetched, %v", o.count(), c.done)
		}
		close(arrive)
		synctest.Wait()
		release()
		c.wg.Wait()
		if c.count("modest 200") != 1 || c.count("greedy 200")+c.count("later 200")+c.count("sharer 200") < 9 {
			t.Error(c.done)
		}
		if n := imagecdn.Seats(h); n != 0 {
			t.Errorf("%d seats are left", n)
		}
	})
}

// What becomes no picture gives its seat back at once, and so does a client that goes away.
func TestSeatsAreGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: o}}, &imagecdn.Options{Renders: 1, MaxQueued: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		for i := range 20 {
			if w := get(h, fmt.Sprintf("/photos/%d.png?w=10", i)); w.Code != http.StatusNotFound {
				t.Fatal(i, w.Code)
			}
		}
		o.block = func(r *http.Request, _ string) { <-r.Context().Done() }
		for i := range 20 {
			r := httptest.NewRequest(http.MethodGet, fmt.Sprintf("/photos/gone%d.png?w=10", i), nil)
			ctx, leave := context.WithCancel(r.Context())
			done := make(chan int)
			go func() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r.WithContext(ctx))
				done <- w.Code
			}()
			synctest.Wait()
			if n := imagecdn.Seats(h); n != 1 {
				t.Errorf("request %d: %d seats", i, n)
			}
			leave()
			if code := <-done; code == http.StatusTooManyRequests {
				t.Error(i, code)
			}
			if n := imagecdn.Seats(h); n != 0 {
				t.Errorf("request %d: %d seats are left", i, n)
			}
		}
	})
}
