//go:build unix

package e2e

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

// A watch is told by a node when jobs end, its own and those of others.
type watch struct {
	mu   sync.Mutex // guards what follows
	ends map[string]end
	want map[string]chan end
}

type end struct {
	state purge.State
	at    time.Time
}

// watchNode reads the events of a node until the test ends. What it tells of the others' jobs has come to it through the log that they share.
func watchNode(ctx context.Context, t testing.TB, n *node) *watch {
	w := &watch{ends: make(map[string]end), want: make(map[string]chan end)}
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	t.Cleanup(func() { cancel(); all.Wait() })
	all.Go(func() {
		err := n.events(ctx, func(id string, state purge.State, at time.Time) {
			if state.Final() {
				w.ended(id, end{state, at})
			}
		})
		if ctx.Err() == nil {
			t.Errorf("the events of %s ended: %v", n.name, err)
		}
	})
	return w
}

// ended keeps the first that is heard of a job's end.
func (w *watch) ended(id string, e end) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.ends[id]; ok {
		return
	}
	w.ends[id] = e
	if c := w.want[id]; c != nil {
		delete(w.want, id)
		c <- e
	}
}

// of returns where the end of a job comes.
func (w *watch) of(id string) <-chan end {
	c := make(chan end, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if e, ok := w.ends[id]; ok {
		c <- e
	} else {
		w.want[id] = c
	}
	return c
}

func percentile(of []time.Duration, p float64) string {
	if len(of) == 0 {
		return "-"
	}
	of = slices.Clone(of)
	slices.Sort(of)
	d := of[min(len(of)-1, int(p*float64(len(of))))]
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// Sixteen nodes on one server: how long a purge takes until all have answered, one at a time and with many at once. What is to be true whatever
// the speed is checked: what is acknowledged is done, by all, and no node shows what was before.
func TestSixteenNodes(t *testing.T) {
	const images, few = 4096, 64
	nodes := *nodeCount
	purges, rate, during := 30, 100, 2*time.Second
	if *table {
		purges, rate, during = 500, 1000, 30*time.Second
	}
	f := startFleet(t, setup{nodes: nodes, images: images, bound: 5 * time.Second, args: []string{"-memory", "8MiB"}})
	r := random(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute+10*during)
	defer cancel()
	w := watchNode(ctx, t, f.nodes[0])
	var rows []string
	row := func(what string, done int, refused int64, rate float64, accepted, took []time.Duration) {
		reached := "one at a time"
		if rate > 0 {
			reached = fmt.Sprintf("%.0f/s", rate)
		}
		rows = append(rows, fmt.Sprintf("| %s | %d | %s | %d | %s | %s | %s | %s | %s |", what, done, reached, refused,
			percentile(accepted, 0.5), percentile(accepted, 0.99), percentile(took, 0.5), percentile(took, 0.99), percentile(took, 1)))
		t.Log(rows[len(rows)-1])
	}

	// One at a time. Each has something to free on each node.
	var accepted, took []time.Duration
	for i := range purges {
		image := i % few
		all(f.nodes, func(n *node) {
			if _, err := f.look(ctx, n, image, 5); err != nil {
				t.Errorf("%s: %v", n.name, err)
			}
		})
		owner := f.nodes[r.IntN(nodes)]
		s, err := f.purge(ctx, owner, purge.Request{Scope: purge.Original, Mode: purge.Delete, Paths: []string{imagePath(image)}}, []int{image})
		if err != nil {
			t.Fatal(err)
		}
		select {
		case e := <-w.of(s.id):
			if e.state != purge.Done {
				t.Errorf("job %s of %s: %s", s.id, owner.name, e.state)
			}
			accepted, took = append(accepted, s.acked.Sub(s.asked)), append(took, e.at.Sub(s.asked))
			f.w.done(image, s.least[image])
		case <-ctx.Done():
			t.Fatalf("job %s of %s is never done", s.id, owner.name)
		}
		n := f.nodes[r.IntN(nodes)]
		if _, err := f.look(ctx, n, image, 5); err != nil {
			t.Errorf("%s: %v", n.name, err)
		}
		if t.Failed() {
			return
		}
	}
	row("one after the other, an image each", len(took), 0, 0, accepted, took)

	// At a rate, of as many images that none is purged twice at a time: jobs that are the same share the work. Who submits does not wait for answers, up to a number, beyond which it has fallen behind, and the rate that is reached is less.
	sustained := func(rate, each int) {
		accepted, took = nil, nil
		const inFlight = 512
		var mu sync.Mutex // guards accepted, took, least
		least := make([]uint32, images)
		var refusals, failures, behind atomic.Int64
		slots := make(chan struct{}, inFlight)
		var work sync.WaitGroup
		began := time.Now()
		var lastDone time.Time
		count := 0
		for ; time.Since(began) < during && ctx.Err() == nil; count++ {
			if ahead := time.Until(began.Add(time.Duration(count) * time.Second / time.Duration(rate))); ahead > 0 {
				time.Sleep(ahead)
			}
			select {
			case slots <- struct{}{}:
			default:
				behind.Add(1)
				slots <- struct{}{}
			}
			owner := f.nodes[count%nodes]
			var these []int
			var paths []string
			for i := range each {
				these = append(these, (count*each+i)%images)
				paths = append(paths, imagePath(these[i]))
			}
			work.Go(func() {
				s, err := f.purge(ctx, owner, purge.Request{Scope: purge.Original, Mode: purge.Delete, Paths: paths}, these)
				<-slots
				if err != nil {
					if _, ok := err.(*refused); ok {
						if refusals.Add(1) == 1 {
							t.Logf("the first refusal: %v", err)
						}
					} else if failures.Add(1) == 1 {
						t.Logf("the first failure: %v", err)
					}
					return
				}
				select {
				case e := <-w.of(s.id):
					mu.Lock()
					defer mu.Unlock()
					if e.state != purge.Done {
						t.Errorf("job %s of %s: %s", s.id, owner.name, e.state)
						return
					}
					accepted, took = append(accepted, s.acked.Sub(s.asked)), append(took, e.at.Sub(s.asked))
					for _, image := range these {
						least[image] = max(least[image], s.least[image])
					}
					if e.at.After(lastDone) {
						lastDone = e.at
					}
				case <-ctx.Done():
					t.Errorf("job %s of %s is never done", s.id, owner.name)
				}
			})
		}
		submitting := time.Since(began)
		work.Wait()
		row(fmt.Sprintf("%d a second for %v, of %d images each", rate, during, each), len(took), refusals.Load(), float64(len(took))/max(submitting, lastDone.Sub(began)).Seconds(), accepted, took)
		for image, v := range least {
			f.w.done(image, v)
		}
		t.Logf("%d submitted, %d times all %d slots were taken, %d had no answer, %d refused", count, behind.Load(), inFlight, failures.Load(), refusals.Load())
		if len(took) == 0 {
			t.Error("no purge was done")
		}
	}
	sustained(max(1, rate/10), 10)
	sustained(rate, 1)
	all(f.nodes, func(n *node) {
		for image := range few {
			if _, err := f.look(ctx, n, image, 5); err != nil {
				t.Errorf("%s: %v", n.name, err)
			}
		}
	})
	t.Logf("%d nodes, one NATS server, the origin and who asks, on %d processors\n"+
		"| purges | done | rate reached | refused | accepted, median | p99 | done, median | p99 | most |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n%s",
		nodes, runtime.NumCPU(), strings.Join(rows, "\n"))
}
