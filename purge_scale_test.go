package imagecdn_test

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/boltlog"
)

var (
	purgeThings = flag.Int("purge.things", 0, "how many things BenchmarkPurgeScale keeps, ten to an image; 1,000,000 take 9 GB on disk")
	purgeDir    = flag.String("purge.dir", "", "where BenchmarkPurgeScale has its disk; empty: memory alone, with a log in memory")
	purgeQueued = flag.Int("purge.queued", 100_000, "how many purges BenchmarkPurgeScale has waiting")
)

// everyImage is an origin of one tiny picture under every name, but what is held.
type everyImage struct {
	body []byte
	hold atomic.Pointer[chan struct{}] // requests wait for it, where there is one
}

func (o *everyImage) RoundTrip(r *http.Request) (*http.Response, error) {
	if c := o.hold.Load(); c != nil {
		select {
		case <-*c:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	w := httptest.NewRecorder()
	w.Header().Set("Cache-Control", "max-age=86400")
	w.Header().Set("Etag", `"1"`)
	w.Write(o.body)
	return w.Result(), nil
}

// A purgeBench is a handler with many things in its cache.
type purgeBench struct {
	testing.TB
	*everyImage
	h    *imagecdn.Handler
	disk *cache.Disk
	log  *boltlog.Log
}

func newPurgeBench(tb testing.TB, dir string, things int) *purgeBench {
	b := &purgeBench{TB: tb, everyImage: &everyImage{body: paint(tb, red, 16, 16)}}
	memory := cache.NewMemory(max(256<<20, int64(things)*1500))
	o := &imagecdn.Options{Cache: memory, Purge: &purge.ServiceOptions{MaxQueued: 1 << 20, MaxLog: 1 << 20, MaxBytes: 4 << 30, PathTimeout: time.Hour}}
	if dir != "" {
		var err error
		if b.disk, err = cache.OpenDisk(filepath.Join(dir, "cache"), &cache.DiskOptions{MaxBytes: -1, MaxFiles: -1}); err != nil {
			tb.Fatal(err)
		}
		if b.log, err = boltlog.Open(filepath.Join(dir, "purges.db")); err != nil {
			tb.Fatal(err)
		}
		o.Cache, o.Purge.Log = cache.Tiered(memory, b.disk), b.log
	}
	var err error
	if b.h, err = imagecdn.New(imagecdn.Sources{"s": {Transport: b}}, o); err != nil {
		tb.Fatal(err)
	}
	b.parallel(things/10, func(i int) {
		for w := 1; w < 10; w++ { // and the original
			b.get(fmt.Sprintf("/s/bulk%d.png?w=%d", i, w))
		}
	})
	return b
}

func (b *purgeBench) close() {
	b.h.Close()
	if b.log != nil {
		b.log.Close()
	}
}

func (b *purgeBench) parallel(n int, do func(i int)) {
	var next atomic.Int64
	var done sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		done.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	done.Wait()
}

func (b *purgeBench) get(url string) {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		b.Fatal(err)
	}
	w := &discard{make(http.Header)}
	b.h.ServeHTTP(w, r)
	if w.header.Get("Etag") == "" {
		b.Errorf("%s: %v", url, w.header)
	}
}

func (b *purgeBench) wait(j *purge.Job, err error) purge.Record {
	if err != nil {
		b.Fatal(err)
	}
	rec, err := j.Wait(b.Context())
	if err != nil || rec.State != purge.Done {
		b.Fatal(err, rec.Err())
	}
	return rec
}

// hits is how long n hits in memory take, of 100 pictures, on all cores.
func (b *purgeBench) hits(n int) time.Duration {
	var requests []*http.Request
	for i := range 100 {
		requests = append(requests, httptest.NewRequest(http.MethodGet, fmt.Sprintf("/s/hot%d.png?w=8", i), nil))
		b.get(requests[i].URL.String())
	}
	start := time.Now()
	b.parallel(n/100, func(i int) {
		w := &discard{make(http.Header)}
		for _, r := range requests {
			clear(w.header)
			b.h.ServeHTTP(w, r)
		}
	})
	return time.Since(start)
}

// times are how long something took, several times.
type times []time.Duration

func (t times) at(q float64) time.Duration {
	slices.Sort(t)
	return t[min(len(t)-1, int(q*float64(len(t))))]
}

func (t times) String() string {
	return fmt.Sprintf("median %s, p99 %s, most %s, of %d", t.at(0.5).Round(time.Microsecond), t.at(0.99).Round(time.Microsecond), t.at(1).Round(time.Microsecond), len(t))
}

// BenchmarkPurgeScale measures purges in a large cache once, and prints a table:
//
//	go test . -run '^$' -bench PurgeScale -benchtime 1x -purge.things 1000000 -purge.dir DIR -timeout 1h
func BenchmarkPurgeScale(b *testing.B) {
	if *purgeThings == 0 {
		b.Skip("give -purge.things N")
	}
	dir := func(name string) string {
		if *purgeDir == "" {
			return ""
		}
		d, err := os.MkdirTemp(*purgeDir, name)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { os.RemoveAll(d) })
		return d
	}
	var table strings.Builder
	row := func(what, format string, args ...any) {
		fmt.Fprintf(&table, "| %s | %s |\n", what, fmt.Sprintf(format, args...))
	}
	for b.Loop() {
		start := time.Now()
		big := newPurgeBench(b, dir("big"), *purgeThings)
		row("things, made and kept in", "%d, %.0f s", *purgeThings, time.Since(start).Seconds())

		// One image with 100 derivatives, which is the watermark on 100 others.
		const images, each = 120, 100
		var effect, done times
		for i := range images {
			x := fmt.Sprintf("/s/x%d.png", i)
			big.parallel(each, func(n int) {
				big.get(fmt.Sprintf("%s?w=%d", x, 1+n))
				big.get(fmt.Sprintf("/s/bulk%d.png?w=16&mark=%s", i*each+n, x))
			})
			start := time.Now()
			job, err := big.h.Purge(b.Context(), []string{x}, nil)
			effect = append(effect, time.Since(start))
			rec := big.wait(job, err)
			done = append(done, time.Since(start))
			if p := rec.Paths[0]; p.Derivatives != each || p.Composites != each {
				b.Errorf("%s: %d derivatives and %d composites are gone, of %d each", x, p.Derivatives, p.Composites, each)
			}
		}
		row("purge of an image with 100 derivatives and 100 composites: in force", "%s", effect)
		row("the same: Done", "%s", done)

		all := func(p *purgeBench, mode purge.Mode) time.Duration {
			start := time.Now()
			job, err := p.h.PurgeAll(b.Context(), &purge.Options{Mode: mode})
			took := time.Since(start)
			p.wait(job, err)
			return took
		}
		var large, small, smallDelete times
		for range 20 {
			little := newPurgeBench(b, dir("little"), 1000)
			large = append(large, all(big, purge.Revalidate))
			small = append(small, all(little, purge.Revalidate))
			smallDelete = append(smallDelete, all(little, purge.Delete))
			little.close()
		}
		row("purge of everything by revalidation: in force", "%s", large)
		row("the same with 1,000 things", "%s", small)
		var tags times
		for range 20 {
			start := time.Now()
			job, err := big.h.PurgeTags(b.Context(), []string{"x"}, &purge.Options{Mode: purge.Revalidate})
			tags = append(tags, time.Since(start))
			big.wait(job, err)
		}
		row("purge of a tag by revalidation: in force", "%s", tags)

		// Many purges wait, as workers wait for an origin.
		queued := newPurgeBench(b, dir("queued"), 1000)
		big.hits(100_000)
		queued.hits(100_000)
		for i := range 8 {
			queued.get(fmt.Sprintf("/s/held%d.png?w=8", i))
		}
		held := make(chan struct{})
		queued.hold.Store(&held)
		var jobs []*purge.Job
		for i := range 8 {
			job, err := queued.h.Purge(b.Context(), []string{fmt.Sprintf("/s/held%d.png", i)}, &purge.Options{Mode: purge.Revalidate})
			if err != nil {
				b.Fatal(err)
			}
			jobs = append(jobs, job)
		}
		// Beside it, one without: rounds alternate.
		idle := newPurgeBench(b, "", 1000)
		start = time.Now()
		more := make([]*purge.Job, *purgeQueued)
		queued.parallel(len(more), func(i int) {
			var err error
			if more[i], err = queued.h.Purge(b.Context(), []string{fmt.Sprintf("/s/bulk%d.png", i)}, nil); err != nil {
				b.Error(err)
			}
		})
		row("purges submitted, two at a time", "%d, %.0f/s", len(more), float64(len(more))/time.Since(start).Seconds())
		queued.hold.Store(nil)
		queued.hits(1000) // whose names are there again
		queued.hold.Store(&held)
		runtime.GC()
		var ratios []float64
		for range 15 {
			a, c := idle.hits(200_000), queued.hits(200_000)
			ratios = append(ratios, a.Seconds()/c.Seconds())
		}
		slices.Sort(ratios)
		row("throughput of hits in memory, of that with no purge waiting", "median %.3f of %d rounds (%.3f to %.3f)", ratios[len(ratios)/2], len(ratios), ratios[0], ratios[len(ratios)-1])
		start = time.Now()
		close(held)
		for _, j := range append(jobs, more...) {
			queued.wait(j, nil)
		}
		row("the queue drains", "%.0f paths/s", float64(len(jobs)+len(more))/time.Since(start).Seconds())
		idle.close()
		queued.close()

		row("purge of everything, delete: in force", "%s", all(big, purge.Delete))
		row("the same with 1,000 things", "%s", smallDelete)
		big.close()
	}
	fmt.Print("\n| | |\n| --- | --- |\n" + table.String())
}
