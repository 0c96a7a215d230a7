package imagecdn_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/purge"
)

// After a purge the pictures that were asked for most are there again, and others are not.
func TestWarming(t *testing.T) {
	for _, mode := range []purge.Mode{purge.Delete, purge.Revalidate} {
		synctest.Test(t, func(t *testing.T) {
			o := newOrigin()
			o.set("/cat.png", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
			o.set("/dog.png", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
			h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: o}}, &imagecdn.Options{Warm: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			for i, times := range []int{3, 1, 5} {
				for range times {
					mustGet(t, h, fmt.Sprintf("/photos/cat.png?w=%d", 10+i))
					time.Sleep(time.Second)
				}
			}
			mustGet(t, h, "/photos/dog.png?w=10&mark=/photos/cat.png") // once
			o.set("/cat.png", answer{header: version2, body: paint(t, green, 40, 40)})
			purged(t, h, purge.Options{Mode: mode}, "/photos/cat.png")
			synctest.Wait()

			if n := imagecdn.Renders(h); n != 4+2 {
				t.Errorf("%s: %d pictures were made, 4 before the purge and then 2", mode, n)
			}
			for _, w := range []string{"10", "12"} {
				if w := mustGet(t, h, "/photos/cat.png?w="+w); colorOf(t, w.Body.Bytes()) != green {
					t.Error("it is the old picture")
				}
			}
			if n := imagecdn.Renders(h); n != 6 {
				t.Errorf("%s: what was asked for most was made by the request for it", mode)
			}
		})
	}
}

// Who waits for a picture does not wait for one that nobody asked for.
func TestWarmingGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		o.set("/cat.png", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
		o.set("/slow.png", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
		h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: o}}, &imagecdn.Options{Warm: 5, Renders: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		for i := range 5 {
			mustGet(t, h, fmt.Sprintf("/photos/cat.png?w=%d", 10+i))
		}

		// While another picture is made, none is warmed.
		release := imagecdn.HoldGate(h)
		purged(t, h, purge.Options{}, "/photos/cat.png")
		synctest.Wait()
		release()
		synctest.Wait()
		if n := imagecdn.Renders(h); n != 5 {
			t.Errorf("%d pictures were made while there was no room", n-5)
		}

		// One that is being warmed ends, where a request has to wait.
		mustGet(t, h, "/photos/cat.png?w=10")
		asked := make(chan bool)
		o.mu.Lock()
		o.block = func(r *http.Request, where string) {
			if where == "header" && r.URL.Path == "/cat.png" {
				close(asked)
				<-r.Context().Done()
			}
		}
		o.mu.Unlock()
		purged(t, h, purge.Options{}, "/photos/cat.png")
		<-asked
		release = imagecdn.HoldGate(h)
		done := make(chan bool)
		go func() {
			mustGet(t, h, "/photos/slow.png?w=10")
			close(done)
		}()
		synctest.Wait() // the warmer has given up, although the origin has not answered
		if imagecdn.Warming(h) {
			t.Error("the warmer goes on while a request waits")
		}
		release()
		<-done
	})
}
