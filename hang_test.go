package imagecdn_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
)

var hangFor = flag.Duration("hang.for", time.Second, "how long TestNothingHangs tries")

// endsWithin fails the test, with the stacks of all that wait, where f takes so long that it must hang.
func endsWithin(t *testing.T, d time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(d):
		b := make([]byte, 4<<20)
		os.Stderr.Write(b[:runtime.Stack(b, true)])
		t.Fatalf("%s hangs: the stacks above say where", what)
	}
}

// A moodyOrigin has pictures of any size that come in pieces, late, or not at all, are fresh or stale, and have tags.
type moodyOrigin struct{ t testing.TB }

func (o moodyOrigin) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(rand.N(3 * time.Millisecond))
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	var i int
	_, _ = fmt.Sscanf(strings.TrimLeft(r.URL.Path, "/abcdefghijklmnopqrstuvwxyz"), "%d", &i)
	h := http.Header{"Cache-Tag": {fmt.Sprintf("t%d", i%3)}, "Etag": {fmt.Sprintf(`"%d"`, rand.IntN(3))}}
	switch rand.IntN(4) {
	case 0:
		h.Set("Cache-Control", "max-age=3600")
	case 1:
		h.Set("Cache-Control", "max-age=0, stale-while-revalidate=60")
	case 2:
		h.Set("Cache-Control", "max-age=1")
	case 3:
		h.Set("Cache-Control", "no-store")
	}
	resp := &http.Response{StatusCode: http.StatusOK, Header: h, Request: r, ContentLength: -1}
	if rand.IntN(20) == 0 {
		resp.StatusCode, resp.Body = []int{404, 500, 503}[rand.IntN(3)], http.NoBody
		return resp, nil
	}
	body := heavy(o.t, i, (i%7+1)*90<<10)
	if rand.IntN(2) == 0 {
		resp.ContentLength = int64(len(body))
	}
	resp.Body = io.NopCloser(&moodyBody{ctx: r.Context(), left: body})
	return resp, nil
}

type moodyBody struct {
	ctx  context.Context
	left []byte
}

func (b *moodyBody) Read(p []byte) (int, error) {
	if rand.IntN(8) == 0 {
		time.Sleep(rand.N(2 * time.Millisecond))
	}
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if len(b.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 40<<10)], b.left)
	b.left = b.left[n:]
	return n, nil
}

// moodyURL is one of those that many ask for at once.
func moodyURL() string {
	url := fmt.Sprintf("/photos/%d.png?w=%d", rand.IntN(12), rand.IntN(8)+1)
	switch rand.IntN(8) {
	case 0:
		url += fmt.Sprintf("&mark=/photos/%d.png", rand.IntN(12))
	case 1:
		url += fmt.Sprintf("&mark=/photos/%d.png&vh=%d", rand.IntN(12), rand.IntN(3))
	case 2, 3:
		url += "&auto=format"
	case 4:
		url += "&fm=avif"
	case 5:
		url, _, _ = strings.Cut(url, "?")
	}
	return url
}

// With too little of everything, so that all waits there are do happen, with clients that go away, and with purges of all kinds in
// between, every request ends, every purge, and Close; and nothing stays taken.
func TestNothingHangs(t *testing.T) {
	(&fakeAVIF{takes: time.Millisecond, size: 2000}).register(t)
	for end := time.Now().Add(*hangFor); time.Now().Before(end); {
		disk, err := cache.OpenDisk(t.TempDir(), &cache.DiskOptions{MaxBytes: 2 << 20})
		if err != nil {
			t.Fatal(err)
		}
		h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: moodyOrigin{t}}}, &imagecdn.Options{
			Cache: cache.Tiered(cache.NewMemory(1<<20), disk), RenderMemory: 4 << 20, Decoded: 1 << 16, DecodedAge: 20 * time.Millisecond,
			Renders: 1 + rand.IntN(3), MaxQueued: 4 + rand.IntN(60), Warm: 3, Purge: &purge.ServiceOptions{Workers: 3, Backoff: time.Millisecond},
			Lifetime: cache.Lifetime{Negative: 5 * time.Millisecond, Failure: 5 * time.Millisecond},
		})
		if err != nil {
			t.Fatal(err)
		}
		var answers [6]atomic.Int64
		ctx, stop := context.WithTimeout(context.Background(), min(*hangFor, 10*time.Second)/2)
		var clients sync.WaitGroup
		for i := range 48 {
			clients.Go(func() {
				for ctx.Err() == nil {
					mine, cancel := context.Background(), func() {}
					if i%2 == 0 {
						mine, cancel = context.WithTimeout(mine, rand.N(20*time.Millisecond))
					}
					r := httptest.NewRequest("GET", moodyURL(), nil).WithContext(mine)
					r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1", i%7)
					r.Header.Set("Accept", takesAVIF)
					w := httptest.NewRecorder()
					began := time.Now()
					h.ServeHTTP(w, r)
					if took := time.Since(began); took > 10*time.Second {
						t.Errorf("%s took %v", r.URL, took)
					}
					if mine.Done() == nil {
						answers[w.Code/100].Add(1)
					}
					if w.Code == http.StatusInternalServerError {
						t.Errorf("%s: %d %s", r.URL, w.Code, w.Body)
					}
					cancel()
				}
			})
		}
		for range 4 {
			clients.Go(func() {
				for ctx.Err() == nil {
					time.Sleep(rand.N(10 * time.Millisecond))
					o := &purge.Options{Mode: []purge.Mode{purge.Delete, purge.Revalidate, purge.Stale}[rand.IntN(3)]}
					var job *purge.Job
					var err error
					switch rand.IntN(5) {
					case 0:
						job, err = h.PurgeAll(ctx, o)
					case 1:
						job, err = h.PurgeFolders(ctx, []string{"/photos/"}, o)
					case 2, 3:
						job, err = h.PurgeTags(ctx, []string{fmt.Sprintf("t%d", rand.IntN(3))}, o)
					default:
						job, err = h.Purge(ctx, []string{fmt.Sprintf("/photos/%d.png", rand.IntN(12))}, o)
					}
					if err == nil && rand.IntN(2) == 0 {
						_, _ = job.Wait(ctx)
					}
				}
			})
		}
		inTheMiddle := rand.IntN(2) == 0
		if inTheMiddle {
			time.AfterFunc(min(*hangFor, 10*time.Second)/4, func() { h.Close() })
		}
		endsWithin(t, time.Minute, "a request or a purge", clients.Wait)
		stop()
		if !inTheMiddle {
			endsWithin(t, 20*time.Second, "Close", func() { h.Close() })
			if answers[2].Load() == 0 {
				t.Error("no request was answered")
			}
			if originals, all := imagecdn.HeldOriginals(h); originals != 0 || all != 0 {
				t.Errorf("%d bytes of originals, and %d in all, are left taken", originals, all)
			}
		}
		if testing.Verbose() {
			t.Log("answers to who did not go away, by hundreds:", answers[2].Load(), answers[4].Load(), answers[5].Load(), "closed in the middle:", inTheMiddle)
		}
	}
}

// The same in a bubble, which sees for itself where all wait for each other, and where a minute lasts no time.
func TestOriginalsNeverWaitForEver(t *testing.T) {
	for i := range 6 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: moodyOrigin{t}}}, &imagecdn.Options{
					Cache: cache.NewMemory(1 << 20), RenderMemory: 2 << 20, Decoded: -1, Renders: 1 + i%3, MaxQueued: 10 + 10*i, MaxRenderMemory: -1,
					Lifetime: cache.Lifetime{Negative: 5 * time.Millisecond, Failure: 5 * time.Millisecond},
				})
				if err != nil {
					t.Fatal(err)
				}
				var clients sync.WaitGroup
				for i := range 40 {
					clients.Go(func() {
						for range 10 {
							mine, cancel := context.WithTimeout(t.Context(), time.Hour)
							if i%3 == 0 {
								mine, cancel = context.WithTimeout(mine, rand.N(20*time.Millisecond))
							}
							r := httptest.NewRequest("GET", strings.ReplaceAll(moodyURL(), "fm=avif", "fm=webp"), nil).WithContext(mine)
							r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1", i%5)
							began := time.Now()
							h.ServeHTTP(httptest.NewRecorder(), r)
							if took := time.Since(began); took > time.Minute {
								t.Errorf("%s took %v", r.URL, took)
							}
							cancel()
						}
					})
				}
				clients.Wait()
				time.Sleep(time.Minute) // what nobody waits for any more ends as well
				synctest.Wait()
				if originals, all := imagecdn.HeldOriginals(h); originals != 0 || all != 0 {
					t.Errorf("%d bytes of originals, and %d in all, are left taken", originals, all)
				}
				h.Close()
			})
		})
	}
}
