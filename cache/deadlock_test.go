package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"
)

// within fails the test, with the stacks of all that wait, where f takes so long that it must hang.
func within(t *testing.T, d time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(d):
		t.Fatalf("%s hangs:\n%s", what, stacks())
	}
}

// Who lists a Disk uses it, too: a sweep reads names, and hides and removes images. A Close in between must not keep it waiting
// for ever, and itself.
func TestCloseWhileListing(t *testing.T) {
	d, err := OpenDisk(t.TempDir(), nil) // which no cleanup closes: that would hang, too
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range []string{"/1.jpg", "/2.jpg"} {
		if err := d.Put(t.Context(), Key{Source: "s", Image: image}, &Thing{Body: []byte("x")}, nil); err != nil {
			t.Fatal(err)
		}
	}
	closed := make(chan error)
	var visited int
	within(t, 10*time.Second, "Close during List", func() {
		err := d.List(t.Context(), "s", func(source, image string, _ []ListedName) error {
			if visited++; visited == 1 {
				go func() { closed <- d.Close() }()
				<-d.open.Done()
				time.Sleep(10 * time.Millisecond) // so that Close is where it waits for who uses the directory
			}
			d.LoadName(Name{Source: source, Image: image})
			return nil
		})
		if !errors.Is(err, errClosed) || visited != 1 {
			t.Errorf("List: %v, after %d visits", err, visited)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

// What falls again while a sweep frees what fell before is there for the next one.
func TestSweepForgetsNothing(t *testing.T) {
	store := &removing{Store: NewMemory(1 << 20)}
	table := NewTable(store, nil)
	store.remove = func() {
		store.remove = func() {}
		table.freeLater("s", "/1.jpg")
	}
	table.freeLater("s", "/1.jpg")
	if _, err := table.Sweep(t.Context(), store, Selection{Tags: []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	if n := len(table.lately); n != 1 {
		t.Errorf("%d images are to be freed yet, want 1", n)
	}
}

type removing struct {
	Store
	remove func()
}

func (r *removing) Remove(ctx context.Context, source, image string) (Removed, error) {
	r.remove()
	return r.Store.Remove(ctx, source, image)
}

// Who has to make way while another asks for it does not try again and again until that has ended.
func TestMakingWayEnds(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	tr := NewTransport(NewMemory(1<<20), roundTripper(func(*http.Request) (*http.Response, error) {
		close(asked)
		<-release
		return nil, errors.New("refused")
	}), nil)
	var first sync.WaitGroup
	first.Go(func() { _, _ = tr.Fetch(context.Background(), "/1.jpg", "") })
	<-asked
	ctx, end := context.WithCancelCause(t.Context())
	end(ErrNoRoom)
	within(t, 10*time.Second, "a request that had to make way", func() {
		if _, err := tr.Fetch(ctx, "/1.jpg", ""); err != ErrNoRoom {
			t.Error(err)
		}
	})
	close(release)
	first.Wait()
	tr.Close()
}

func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}

// Fetches, purges of all kinds and sweeps that are given up, on a disk that is too small, all end, also where what they use is
// closed under them.
func TestNothingHangs(t *testing.T) {
	disk, err := OpenDisk(t.TempDir(), &DiskOptions{MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	store := Tiered(NewMemory(1<<18), disk)
	table := NewTable(store, &TableOptions{MaxNames: 128})
	tr := NewTransport(store, roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: http.StatusOK, Request: r, ContentLength: -1,
			Header: http.Header{"Cache-Control": {[]string{"max-age=60", "max-age=0, stale-while-revalidate=60", "no-store"}[rand.IntN(3)]}, "Cache-Tag": {"t"}},
			Body:   io.NopCloser(bytes.NewReader(make([]byte, rand.IntN(20<<10)))),
		}, nil
	}), &TransportOptions{Source: "s", Table: table})
	until := time.Now().Add(400 * time.Millisecond)
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			for time.Now().Before(until) {
				ctx, cancel := context.WithTimeout(context.Background(), rand.N(10*time.Millisecond))
				image := fmt.Sprintf("/f/%d.jpg", rand.IntN(300))
				switch i {
				case 0:
					_ = table.PurgeSelection(Selection{Tags: []string{"t"}}, Delete)
				case 1:
					_ = table.PurgeSelection(Selection{Folders: []Folder{{"s", "/f/"}}}, Delete)
				case 2:
					_ = table.PurgeAll("s", Delete)
					table.Reclaim()
					_, _ = store.RemoveAll(ctx, "s")
				case 3, 4, 5, 6:
					_, _ = table.Sweep(ctx, store, Selection{Tags: []string{"t"}})
				case 7, 8:
					_ = table.Purge("s", image, []Mode{Delete, Revalidate, Stale}[rand.IntN(3)])
					_, _ = store.Remove(ctx, "s", image)
				default:
					if r, err := tr.Fetch(ctx, image, ""); err == nil {
						if r.Entry.OK() {
							if _, b, err := tr.Body(ctx, r); err == nil && b != r {
								b.Done()
							}
						}
						r.Done()
					}
				}
				cancel()
			}
		})
	}
	time.Sleep(300 * time.Millisecond)
	within(t, 20*time.Second, "Close of the transport", func() { tr.Close() })
	within(t, 20*time.Second, "Close of the store", func() { store.Close() })
	within(t, 20*time.Second, "a fetch, a purge or a sweep", all.Wait)
	if n := len(table.behind) + len(table.filling); n != 0 {
		t.Errorf("%d places are left taken", n)
	}
}
