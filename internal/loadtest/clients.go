package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A tally is what many requests came to.
type tally struct {
	Statuses map[string]int  // how often, by status; "failed" where there was no answer
	Served   []time.Duration // of 200, sorted
	Refused  []time.Duration // of 429, sorted
	Took     time.Duration   // all of it

	mu sync.Mutex // guards the rest while requests are out
}

func (t *tally) note(status int, err error, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.Statuses == nil {
		t.Statuses = make(map[string]int)
	}
	what := fmt.Sprint(status)
	if err != nil {
		what = "failed"
	}
	t.Statuses[what]++
	switch what {
	case "200":
		t.Served = append(t.Served, took)
	case "429":
		t.Refused = append(t.Refused, took)
	}
}

func (t *tally) asked() (n int) {
	for _, k := range t.Statuses {
		n += k
	}
	return n
}

func (t *tally) statuses() string {
	var all []string
	for _, what := range slices.Sorted(maps.Keys(t.Statuses)) {
		all = append(all, fmt.Sprintf("%s: %d", what, t.Statuses[what]))
	}
	return strings.Join(all, ", ")
}

// times are the median, the 99th percentile and the most of sorted durations.
func times(sorted []time.Duration) string {
	if len(sorted) == 0 {
		return "none"
	}
	at := func(q float64) float64 { return float64(sorted[int(q*float64(len(sorted)-1))].Microseconds()) / 1000 }
	return fmt.Sprintf("%.1f, %.1f, %.1f ms", at(0.5), at(0.99), at(1))
}

func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4096}, Timeout: 5 * time.Minute}
}

func ask(ctx context.Context, c *http.Client, url, name string) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("X-Client", name)
	resp, err := c.Do(r)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, drain(resp)
}

// steadily calls f so many times a second, each time in a goroutine of its own, and waits for them. What f gets is when its turn
// was: a client that comes to it late is late all the same.
func steadily(ctx context.Context, perSecond float64, d time.Duration, f func(i int, due time.Time)) {
	var group sync.WaitGroup
	defer group.Wait()
	start := time.Now()
	for i := range int(perSecond * d.Seconds()) {
		due := start.Add(time.Duration(float64(i) / perSecond * float64(time.Second)))
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			return
		}
		group.Go(func() { f(i, due) })
	}
}

// The pictures that hits are of: sizes of images, some more popular than others.
const hotPictures = 200

func hotURL(server string, i int) string {
	return fmt.Sprintf("%s/web/hot/%d.jpg?w=%d", server, i/10, 100+30*(i%10))
}

// warmUp has the pictures made that hits are of.
func warmUp(ctx context.Context, server string) error {
	c := newClient()
	defer c.CloseIdleConnections()
	for i := range hotPictures {
		if status, err := ask(ctx, c, hotURL(server, i), "warm"); status != http.StatusOK {
			return fmt.Errorf("%s: %d %v", hotURL(server, i), status, err)
		}
	}
	return nil
}

// askForHits asks for pictures that the server has.
func askForHits(ctx context.Context, server string, perSecond float64, d time.Duration) *tally {
	c := newClient()
	defer c.CloseIdleConnections()
	rnd := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(rnd, 1.1, 1, hotPictures-1)
	urls := make([]string, 4096)
	for i := range urls {
		urls[i] = hotURL(server, int(zipf.Uint64()))
	}
	t := new(tally)
	start := time.Now()
	steadily(ctx, perSecond, d, func(i int, due time.Time) {
		status, err := ask(ctx, c, urls[i%len(urls)], "visitor")
		t.note(status, err, time.Since(due))
	})
	t.finish(start)
	return t
}

func (t *tally) finish(start time.Time) {
	t.Took = time.Since(start)
	slices.Sort(t.Served)
	slices.Sort(t.Refused)
}

var originals atomic.Int64 // that were asked for

// coldURL is that of a picture whose original nobody has seen.
func coldURL(server string) string {
	return fmt.Sprintf("%s/web/cold/%d.jpg?w=500", server, originals.Add(1))
}

// coldCapacity is how many renders there are in a second, with so many requests out at a time.
func coldCapacity(ctx context.Context, server string, out int, d time.Duration) float64 {
	c := newClient()
	defer c.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var made atomic.Int64
	var group sync.WaitGroup
	for range out {
		group.Go(func() {
			for ctx.Err() == nil {
				if status, err := ask(ctx, c, coldURL(server), "capacity"); status == http.StatusOK && err == nil {
					made.Add(1)
				}
			}
		})
	}
	group.Wait()
	return float64(made.Load()) / d.Seconds()
}

// askForRenders asks for pictures that nobody has, as a few clients do.
func askForRenders(ctx context.Context, server string, perSecond float64, d time.Duration) *tally {
	t := new(tally)
	c := newClient()
	defer c.CloseIdleConnections()
	start := time.Now()
	steadily(ctx, perSecond, d, func(i int, due time.Time) {
		status, err := ask(ctx, c, coldURL(server), fmt.Sprint("greedy", i%8))
		t.note(status, err, time.Since(due))
	})
	t.finish(start)
	return t
}

// askSlowOrigins has so many requests out at a time whose origins are slow: half are silent, half send a byte a second.
func askSlowOrigins(ctx context.Context, server string, out int, d time.Duration) *tally {
	t := new(tally)
	c := newClient()
	defer c.CloseIdleConnections()
	start := time.Now()
	var group sync.WaitGroup
	for i := range out {
		group.Go(func() {
			for time.Since(start) < d && ctx.Err() == nil {
				kind := []string{"silent", "drip"}[i%2]
				began := time.Now()
				status, err := ask(ctx, c, fmt.Sprintf("%s/web/%s/%d.jpg?w=500", server, kind, originals.Add(1)), "patient")
				t.note(status, err, time.Since(began))
				if time.Since(began) < time.Second { // refused: it comes again, but not at once
					time.Sleep(time.Second)
				}
			}
		})
	}
	group.Wait()
	t.finish(start)
	return t
}
