package cdn

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

var laneSeeds = flag.Int("lane.seeds", 60, "how many histories TestLaneAgainstAModel tries")

// A modelCDN is a CDN that fails in every way that there is until a time, and remembers what it carried out. It faults whoever breaks one of its
// rules.
type modelCDN struct {
	features Features
	until    time.Time       // it works from then on
	careless bool            // what is open does not count: when all flushes are cancelled, nobody asks any more whether it is
	trouble  float64         // how likely a call fails before that
	poison   map[string]bool // values that no call may have, for good
	sour     map[string]bool // values that no call may have, with an error that looks as if it would pass

	mu      sync.Mutex
	rng     *rand.Rand
	faults  []string
	carried map[string][]time.Time // by value, the beginnings of calls that were carried out
	blamed  map[string][]time.Time // by value, when it was in a call that failed
	open    map[string]opened      // by receipt
	nOpen   int
	tokens  map[string]float64
	filled  map[string]time.Time
	ids     map[string]bool
}

type opened struct {
	batch Batch
	began time.Time
	from  time.Time // when it is confirmed
	fails bool
}

func (c *modelCDN) Features() Features { return c.features }

func (c *modelCDN) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

// spend takes n tokens of a rate, by the CDN's own count.
func (c *modelCDN) spend(r Rate, n int) {
	now := time.Now()
	have, ok := c.tokens[r.Name]
	if !ok {
		have = r.Burst
	} else {
		have = min(r.Burst, have+now.Sub(c.filled[r.Name]).Seconds()*r.PerSecond)
	}
	have -= float64(n)
	if have < -1e-6 {
		c.fault("the rate %q is exceeded by %.3f", r.Name, -have)
	}
	c.tokens[r.Name], c.filled[r.Name] = have, now
}

func (c *modelCDN) Purge(ctx context.Context, b Batch) (Receipt, error) {
	began := time.Now()
	c.mu.Lock()
	if err := c.features.Check(b); err != nil {
		c.fault("%v", err)
	}
	if c.ids[b.ID] {
		c.fault("two calls have the ID %s", b.ID)
	}
	c.ids[b.ID] = true
	if n := len(slices.Compact(slices.Sorted(slices.Values(b.Values)))); n != len(b.Values) {
		c.fault("a call has a value twice: %v", b.Values)
	}
	form := c.features.Forms[b.Kind]
	for _, r := range form.Rates {
		if r.PerItem {
			c.spend(r, len(b.Values))
		} else {
			c.spend(r, 1)
		}
	}
	c.nOpen += len(b.Values)
	if form.MaxOpen > 0 && c.nOpen > form.MaxOpen && !c.careless {
		c.fault("%d values are open, and %d may be", c.nOpen, form.MaxOpen)
	}
	takes := time.Duration(10+c.rng.IntN(400)) * time.Millisecond
	kind := c.rng.Float64()
	bad := began.Before(c.until) && c.rng.Float64() < c.trouble
	after := time.Duration(c.rng.IntN(90)) * time.Second
	confirmFails := bad && c.rng.IntN(4) == 0
	c.mu.Unlock()

	blame := func(values []string) {
		for _, v := range values {
			c.blamed[v] = append(c.blamed[v], time.Now())
		}
	}
	closed := func(err error) (Receipt, error) {
		c.nOpen -= len(b.Values)
		blame(b.Values)
		return Receipt{}, err
	}
	if bad && kind < 0.1 { // it never answers
		<-ctx.Done()
		c.mu.Lock()
		defer c.mu.Unlock()
		return closed(ctx.Err())
	}
	if !sleep(ctx, takes) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return closed(ctx.Err())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.ContainsFunc(b.Values, func(v string) bool { return c.poison[v] }) {
		return closed(&Error{Status: 400, Reason: "I do not like one of them"})
	}
	if slices.ContainsFunc(b.Values, func(v string) bool { return c.sour[v] }) {
		return closed(&Error{Status: 500, Reason: "oops", Temporary: true})
	}
	receipt := Receipt{ID: b.ID, After: time.Duration(c.rng.IntN(10)) * time.Second}
	if bad {
		switch {
		case kind < 0.3:
			return closed(&Error{Status: 503, Reason: "down", Temporary: true})
		case kind < 0.4:
			return closed(&Error{Status: 429, Reason: "too many", Temporary: true, RetryAfter: time.Duration(c.rng.IntN(60)) * time.Second})
		case kind < 0.5:
			return closed(errors.New("connection reset"))
		case kind < 0.55:
			return closed(&Error{Status: 401, Reason: "bad token"})
		case kind < 0.6:
			closed(nil)
			panic("oh")
		case kind < 0.9:
			for _, v := range b.Values {
				if c.rng.IntN(2) == 0 {
					receipt.Failed = append(receipt.Failed, Failure{Value: v, Reason: "busy", Temporary: c.rng.IntN(5) > 0})
				}
			}
		}
	}
	taken := slices.Clone(b.Values)
	for _, f := range receipt.Failed {
		blame([]string{f.Value})
		taken = slices.DeleteFunc(taken, func(v string) bool { return v == f.Value })
	}
	c.nOpen -= len(b.Values) - len(taken)
	if c.features.Polls == nil || len(taken) == 0 || c.rng.IntN(5) == 0 {
		receipt.Complete = true
		c.carry(taken, began)
		c.nOpen -= len(taken)
		return receipt, nil
	}
	b.Values = taken
	c.open[b.ID] = opened{b, began, time.Now().Add(after), confirmFails}
	return receipt, nil
}

func (c *modelCDN) carry(values []string, began time.Time) {
	for _, v := range values {
		c.carried[v] = append(c.carried[v], began)
	}
}

// A modelConfirmer is asked.
type modelConfirmer struct{ *modelCDN }

func (c modelConfirmer) Confirmed(ctx context.Context, r Receipt) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.features.Polls {
		c.spend(r, 1)
	}
	o, ok := c.open[r.ID]
	if !ok {
		c.fault("asked about %q, which is not open", r.ID)
		return false, nil
	}
	if time.Now().Before(c.until) && c.rng.Float64() < c.trouble/2 {
		return false, &Error{Status: 502, Temporary: true, RetryAfter: time.Duration(c.rng.IntN(5)) * time.Second}
	}
	if time.Now().Before(o.from) {
		return false, nil
	}
	delete(c.open, r.ID)
	c.nOpen -= len(o.batch.Values)
	if o.fails {
		for _, v := range o.batch.Values {
			c.blamed[v] = append(c.blamed[v], time.Now())
		}
		return false, &Error{Reason: "a node is gone"}
	}
	c.carry(o.batch.Values, o.began)
	return true, nil
}

// Random jobs of a few tenants, whose images overlap, on a CDN that fails in every way for a while, with cancellations. What must hold: each value that a
// flush calls purged was in a call that began after it was wanted and was carried out, and with Again in another that much later; one that failed
// was in a call that failed; no limit is broken; every flush ends in good time; and at the end nothing is left, no goroutine either.
func TestLaneAgainstAModel(t *testing.T) {
	for seed := range *laneSeeds {
		if t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { history(t, uint64(seed)) })
		}); t.Failed() {
			return
		}
	}
}

func history(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 8))
	c := &modelCDN{
		rng: rand.New(rand.NewPCG(seed, 9)), until: time.Now().Add(time.Duration(rng.IntN(40)) * time.Minute), trouble: rng.Float64(),
		poison: make(map[string]bool), sour: make(map[string]bool),
		carried: make(map[string][]time.Time), blamed: make(map[string][]time.Time), open: make(map[string]opened),
		tokens: make(map[string]float64), filled: make(map[string]time.Time), ids: make(map[string]bool),
	}
	c.careless = rng.IntN(2) == 0
	form := Form{MaxItems: 1 + rng.IntN(12)}
	if rng.IntN(2) == 0 {
		form.MaxBytes, form.ItemBytes = 100+rng.IntN(200), rng.IntN(4)
	}
	if rng.IntN(2) == 0 {
		form.MaxOpen = 1 + rng.IntN(30)
	}
	if rng.IntN(3) > 0 {
		form.Rates = append(form.Rates, Rate{Name: "requests", Burst: 1 + float64(rng.IntN(10)), PerSecond: 0.2 + rng.Float64()})
	}
	if rng.IntN(3) == 0 {
		form.Rates = append(form.Rates, Rate{Name: "values", Burst: 1 + float64(rng.IntN(30)), PerSecond: 0.5 + 3*rng.Float64(), PerItem: true})
	}
	c.features = Features{Forms: map[Kind]Form{Tag: form}, Soft: rng.IntN(2) == 0}
	edge := Edge{Name: "c", CDN: c}
	if rng.IntN(2) == 0 {
		c.features.Polls = []Rate{{Name: "polls", Burst: 5, PerSecond: 1}}
		if rng.IntN(3) == 0 {
			c.features.Polls[0].Name = "requests"
			if len(form.Rates) > 0 && form.Rates[0].Name == "requests" {
				c.features.Polls[0] = form.Rates[0]
			}
		}
		edge.CDN = modelConfirmer{c}
	}
	if rng.IntN(3) == 0 {
		edge.Again = time.Duration(1+rng.IntN(120)) * time.Second
	}
	es := newEdges(t, Ring{edge})
	universe := 1 + rng.IntN(60)
	n := es.Namer()
	for i := range universe {
		switch rng.IntN(25) {
		case 0:
			c.poison[n.Image("p", fmt.Sprintf("/%d", i))] = true
		case 1:
			c.sour[n.Image("p", fmt.Sprintf("/%d", i))] = true
		}
	}

	var jobs sync.WaitGroup
	began := time.Now()
	for range 1 + rng.IntN(25) {
		time.Sleep(time.Duration(rng.ExpFloat64() * float64(20*time.Second)))
		f := purge.Flush{Tenant: fmt.Sprint(rng.IntN(3)), Scope: purge.Original, Mode: purge.Delete, Parts: map[string][]string{}}
		if rng.IntN(3) == 0 {
			f.Mode = purge.Stale
		}
		for _, i := range rng.Perm(universe)[:1+rng.IntN(universe)] {
			f.Parts["c"] = append(f.Parts["c"], fmt.Sprintf("/p/%d", i))
		}
		ctx, cancel := context.WithCancel(t.Context())
		if c.careless && rng.IntN(3) == 0 {
			time.AfterFunc(time.Duration(rng.ExpFloat64()*float64(time.Minute)), cancel)
		}
		jobs.Go(func() {
			defer cancel()
			wanted := time.Now()
			var last purge.CDNResult
			purged := 0
			es.Flush(ctx, f, func(r purge.CDNResult) {
				if last.State.Final() {
					t.Errorf("seed %d: a report after the last", seed)
				}
				if r.Purged < purged && !r.State.Final() {
					t.Errorf("seed %d: %d are purged after %d were", seed, r.Purged, purged)
				}
				last, purged = r, r.Purged
			})
			if ctx.Err() != nil {
				return
			}
			if !last.State.Final() {
				t.Errorf("seed %d: the flush has no end: %+v", seed, last)
				return
			}
			failed := make(map[string]string)
			for _, g := range last.Failed {
				for _, p := range g.Paths {
					failed[p] = g.Reason
				}
			}
			if last.Purged != last.Items-len(failed) || last.Items != len(f.Parts["c"]) {
				t.Errorf("seed %d: %d of %d purged with %d failed", seed, last.Purged, last.Items, len(failed))
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			for _, p := range f.Parts["c"] {
				v := n.Image("p", p[2:])
				why, bad := failed[p]
				if bad {
					failed := slices.ContainsFunc(c.blamed[v], func(at time.Time) bool { return !at.Before(wanted) })
					down := strings.Contains(why, "it has failed for") && time.Since(wanted) >= 10*time.Minute
					if why == "" || !failed && !down {
						t.Errorf("seed %d: %s failed without a call that did: %s", seed, p, why)
					}
					continue
				}
				times := c.carried[v]
				first := slices.IndexFunc(times, func(at time.Time) bool { return !at.Before(wanted) })
				if first < 0 {
					t.Errorf("seed %d: %s is said to be purged, and was not after it was wanted", seed, p)
					continue
				}
				if edge.Again > 0 && !slices.ContainsFunc(times, func(at time.Time) bool { return at.Sub(times[first]) >= edge.Again }) {
					t.Errorf("seed %d: %s was not purged again", seed, p)
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() { jobs.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(12 * time.Hour):
		t.Fatalf("seed %d: a flush goes on after %v", seed, time.Since(began))
	}
	synctest.Wait()
	l := es.rings[0][0].lane
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running || l.tickets+l.calls+l.batches+len(l.pending)+len(l.queues)+len(l.turns)+len(l.later) > 0 || l.open[Tag] != 0 || l.ctx != nil {
		t.Errorf("seed %d: the lane is not at rest: %+v", seed, l)
	}
	for _, f := range c.faults {
		t.Errorf("seed %d: %s", seed, f)
	}
}

// paths are n images, each of its own.
func paths(prefix string, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("/p/%s%d", prefix, i))
	}
	return names
}

// A value that the CDN always fails on, as if that would pass, while others are purged all the time: it ends, and alone.
func TestAValueThatAlwaysFailsEnds(t *testing.T) {
	for name, answer := range map[string]func(b Batch, sour string) (Receipt, error){
		"the call": func(b Batch, sour string) (Receipt, error) {
			if slices.Contains(b.Values, sour) {
				return Receipt{}, &Error{Status: 500, Temporary: true}
			}
			return Receipt{}, nil
		},
		"the value": func(b Batch, sour string) (r Receipt, err error) {
			if slices.Contains(b.Values, sour) {
				r.Failed = []Failure{{sour, "500 Internal Server Error", true}}
			}
			return r, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sour, calls := "", 0
				c := &fake{features: Features{Forms: map[Kind]Form{Tag: {MaxItems: 20}}}}
				c.answer = func(b Batch) (Receipt, error) {
					if slices.Contains(b.Values, sour) {
						calls++
					}
					return answer(b, sour)
				}
				es := newEdges(t, Ring{{Name: "c", CDN: c}})
				sour = es.Namer().Image("p", "/bad7")
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go func() { // what works
					for i := 0; ctx.Err() == nil; i++ {
						es.Flush(ctx, original([]string{fmt.Sprint("/p/", i)}, "c"), func(purge.CDNResult) {})
						sleep(ctx, 2*time.Second)
					}
				}()
				began := time.Now()
				results, _ := flushed(t, es, original(paths("bad", 20), "c"))
				if r := results["c"]; len(r.Failed) != 1 || !slices.Equal(r.Failed[0].Paths, []string{"/p/bad7"}) || r.Purged != 19 {
					t.Errorf("got %+v", r)
				}
				if took := time.Since(began); took < 10*time.Minute || took > 15*time.Minute || calls > 400 {
					t.Errorf("it took %v and %d calls", took, calls)
				}
			})
		})
	}
}

// What waited long for the CDN's rates is not given up the first time that it fails.
func TestWaitingForRatesDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last string
		tries := 0
		c := &fake{features: Features{Forms: map[Kind]Form{Tag: {Rates: []Rate{{Name: "requests", Burst: 1, PerSecond: 0.05}}}}}}
		c.answer = func(b Batch) (r Receipt, err error) {
			if b.Values[0] == last {
				if tries++; tries < 4 {
					r.Failed = []Failure{{last, "busy", true}}
				}
			}
			return r, nil
		}
		es := newEdges(t, Ring{{Name: "c", CDN: c}})
		names := paths("", 60) // 22 minutes
		last = es.Namer().Image("p", "/59")
		if results, _ := flushed(t, es, original(names, "c")); results["c"].State != purge.Done || tries != 4 {
			t.Errorf("%d tries: %+v", tries, results["c"])
		}
	})
}

// Who joins a value that others have wanted for long has it tried for as long as they had.
func TestWhoComesLaterIsGivenUpLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fake{features: byTag, answer: func(Batch) (Receipt, error) { return Receipt{}, &Error{Status: 503, Temporary: true} }}
		es := newEdges(t, Ring{{Name: "c", CDN: c}})
		var jobs sync.WaitGroup
		for range 2 {
			jobs.Go(func() {
				began := time.Now()
				flushed(t, es, original([]string{"/p/1"}, "c"))
				if took := time.Since(began); took < 10*time.Minute || took > 12*time.Minute {
					t.Errorf("given up after %v", took)
				}
			})
			time.Sleep(9 * time.Minute)
		}
		jobs.Wait()
	})
}

// One tenant's thousands do not have another wait until a call is full, where values have a rate.
func TestATenantDoesNotWaitForAFullCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fake{features: Features{Forms: map[Kind]Form{Tag: {MaxItems: 5000, Rates: []Rate{{Name: "tags", Burst: 5000, PerSecond: 8, PerItem: true}}}}}}
		es := newEdges(t, Ring{{Name: "c", CDN: c}})
		var jobs sync.WaitGroup
		jobs.Go(func() {
			f := original(paths("", 10_000), "c")
			f.Tenant = "large"
			flushed(t, es, f)
		})
		time.Sleep(time.Minute)
		began := time.Now()
		f := original([]string{"/p/one"}, "c")
		f.Tenant = "small"
		flushed(t, es, f)
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("the small one took %v", took)
		}
		jobs.Wait()
		if n := len(c.calls()); n > 150 {
			t.Errorf("%d calls", n)
		}
	})
}

// Forms that share a rate take turns at it: many small calls do not starve one that needs more.
func TestFormsThatShareARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		values := []Rate{{Name: "values", Burst: 40, PerSecond: 4, PerItem: true}}
		c := &fake{features: Features{Forms: map[Kind]Form{URL: {Rates: values, Query: true}, Prefix: {MaxItems: 1, Rates: values}}}}
		big := c.features.Forms[URL]
		big.MaxItems = 40
		c.features.Forms[URL] = big
		es := newEdges(t, Ring{{Name: "c", CDN: c, Bases: []string{"https://e.example"}}})
		var jobs sync.WaitGroup
		jobs.Go(func() {
			f := original(nil, "c")
			f.Scope = purge.Prefix
			for _, p := range paths("", 4000) {
				f.Parts["c"] = append(f.Parts["c"], p+"/")
			}
			flushed(t, es, f)
		})
		time.Sleep(time.Minute)
		began := time.Now()
		f := original(paths("", 40), "c")
		f.Tenant = "other"
		flushed(t, es, f)
		if took := time.Since(began); took > time.Minute {
			t.Errorf("took %v", took)
		}
		jobs.Wait()
	})
}

// A form that waits for a rate of its own keeps no other from what they share.
func TestAFormThatWaitsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := Rate{Name: "requests", Burst: 100, PerSecond: 50}
		c := &fake{features: Features{Forms: map[Kind]Form{
			URL: {Rates: []Rate{requests}, Query: true}, Prefix: {Rates: []Rate{requests, {Name: "prefixes", Burst: 1, PerSecond: 0.001}}}}}}
		big := c.features.Forms[URL]
		big.MaxItems = 10
		c.features.Forms[URL] = big
		es := newEdges(t, Ring{{Name: "c", CDN: c, Bases: []string{"https://e.example"}}})
		var jobs sync.WaitGroup
		jobs.Go(func() {
			f := original([]string{"/p/a/", "/p/b/", "/p/c/"}, "c")
			f.Scope = purge.Prefix
			flushed(t, es, f)
		})
		time.Sleep(time.Minute)
		began := time.Now()
		flushed(t, es, original(paths("", 40), "c"))
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
		jobs.Wait()
	})
}

// A call that takes too long, as it is many requests to servers that are slow, is made smaller.
func TestACallThatTakesTooLongIsHalved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fake{features: Features{Forms: map[Kind]Form{Tag: {MaxItems: 250}}}}
		c.answer = func(b Batch) (Receipt, error) {
			if took := time.Duration(len(b.Values)) * time.Second; took > time.Minute {
				time.Sleep(time.Minute)
				return Receipt{}, context.DeadlineExceeded
			}
			return Receipt{}, nil
		}
		es := newEdges(t, Ring{{Name: "c", CDN: c}})
		if results, _ := flushed(t, es, original(paths("", 250), "c")); results["c"].State != purge.Done {
			t.Errorf("got %+v", results["c"])
		}
	})
}

// A CDN that asks for more patience than there is, is asked once more before it is given up; one whose rates are used up is waited for.
func TestRetryAfterIsBounded(t *testing.T) {
	for status, want := range map[int]time.Duration{503: 10 * time.Minute, 429: time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			c := &fake{features: byTag, answer: func(Batch) (Receipt, error) {
				return Receipt{}, &Error{Status: status, Temporary: true, RetryAfter: time.Hour}
			}}
			es := newEdges(t, Ring{{Name: "c", CDN: c}})
			began := time.Now()
			flushed(t, es, original([]string{"/p/1"}, "c"))
			if took := time.Since(began); took < want || took > want+time.Minute || len(c.calls()) != 2 {
				t.Errorf("%d: given up after %v and %d calls", status, took, len(c.calls()))
			}
		})
	}
}

func TestAdaptersThatMisbehave(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(Batch) (Receipt, error)
		want   string
	}{
		"end the goroutine": {func(Batch) (Receipt, error) { runtime.Goexit(); return Receipt{}, nil }, "the adapter ended its goroutine"},
		"fail another value": {func(b Batch) (Receipt, error) {
			return Receipt{Failed: []Failure{{"X" + b.Values[0], "no", false}}}, nil
		}, "not of the call: no"},
		"fail without a reason": {func(b Batch) (Receipt, error) { return Receipt{Failed: []Failure{{Value: b.Values[0]}}}, nil }, "failed without saying why"},
		"have no words":         {func(b Batch) (Receipt, error) { return Receipt{}, &Error{} }, "failed without saying why"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				es := newEdges(t, Ring{{Name: "c", CDN: &fake{features: byTag, answer: tt.answer}}})
				results, _ := flushed(t, es, original([]string{"/p/1"}, "c"))
				if r := results["c"]; r.State != purge.Error || len(r.Failed) != 1 || !strings.Contains(r.Reason, tt.want) {
					t.Errorf("got %+v", r)
				}
			})
		})
	}
}
