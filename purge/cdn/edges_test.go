package cdn

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

// fake is a CDN that takes what it is told to.
type fake struct {
	features Features
	answer   func(b Batch) (Receipt, error) // nil: takes all

	mu      sync.Mutex
	batches []Batch
	times   []time.Time
}

func (f *fake) Features() Features { return f.features }

func (f *fake) Purge(ctx context.Context, b Batch) (Receipt, error) {
	f.mu.Lock()
	f.batches = append(f.batches, b)
	f.times = append(f.times, time.Now())
	f.mu.Unlock()
	time.Sleep(50 * time.Millisecond)
	if f.answer == nil {
		return Receipt{ID: b.ID}, ctx.Err()
	}
	return f.answer(b)
}

func (f *fake) calls() []Batch {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.batches)
}

func (f *fake) values() (all []string) {
	for _, b := range f.calls() {
		all = append(all, b.Values...)
	}
	return all
}

// confirmer is a fake that is asked.
type confirmer struct {
	fake
	confirmed func(Receipt) (bool, error)
}

func (c *confirmer) Confirmed(ctx context.Context, r Receipt) (bool, error) { return c.confirmed(r) }

var byTag = Features{Forms: map[Kind]Form{Tag: {MaxItems: 3}}, Soft: true}

func newEdges(t *testing.T, rings ...Ring) *Edges {
	t.Helper()
	es, err := New(rings, nil)
	if err != nil {
		t.Fatal(err)
	}
	return es
}

// flushed purges and returns the last result of each CDN, and how many reports there were.
func flushed(t *testing.T, es *Edges, f purge.Flush) (map[string]purge.CDNResult, int) {
	t.Helper()
	results, n := make(map[string]purge.CDNResult), 0
	es.Flush(t.Context(), f, func(r purge.CDNResult) {
		if results[r.Name].State.Final() {
			t.Errorf("%s: %v after its end", r.Name, r)
		}
		results[r.Name] = r
		n++
	})
	return results, n
}

func original(names []string, cdns ...string) purge.Flush {
	f := purge.Flush{ID: "job", Attempt: 1, Scope: purge.Original, Mode: purge.Delete, Parts: map[string][]string{}}
	for _, c := range cdns {
		f.Parts[c] = names
	}
	return f
}

func TestAPurgeIsOneTagForEachImageInTheFewestCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fake{features: byTag}
		es := newEdges(t, Ring{{Name: "c", CDN: c}})
		results, _ := flushed(t, es, original([]string{"/p/1.jpg", "/p/2.jpg", "/p/3.jpg", "/p/4.jpg"}, "c"))
		want := []string{}
		for i := range 4 {
			want = append(want, es.Namer().Image("p", fmt.Sprintf("/%d.jpg", i+1)))
		}
		if got := c.values(); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) || len(c.calls()) != 2 {
			t.Errorf("purged %v in %d calls", got, len(c.calls()))
		}
		if r := results["c"]; r.State != purge.Done || r.Outcome != purge.Accepted || r.Items != 4 || r.Purged != 4 || r.Reason != "" {
			t.Errorf("got %+v", r)
		}
		for _, b := range c.calls() {
			if b.Soft || len(b.ID) != 36 || b.Kind != Tag {
				t.Errorf("got %+v", b)
			}
		}
	})
}

func TestStaleIsSoftWhereTheCDNCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		can, cannot := &fake{features: byTag}, &fake{features: Features{Forms: byTag.Forms}}
		es := newEdges(t, Ring{{Name: "can", CDN: can}, {Name: "cannot", CDN: cannot}})
		f := original([]string{"/p/1.jpg"}, "can", "cannot")
		f.Mode = purge.Stale
		flushed(t, es, f)
		if !can.calls()[0].Soft || cannot.calls()[0].Soft {
			t.Errorf("got %v and %v", can.calls(), cannot.calls())
		}
	})
}

func TestARingWaitsForTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		say := func(name string) func(Batch) (Receipt, error) {
			return func(Batch) (Receipt, error) {
				time.Sleep(3 * time.Second)
				mu.Lock()
				defer mu.Unlock()
				order = append(order, name)
				return Receipt{}, nil
			}
		}
		shield, edge1, edge2 := &fake{features: byTag, answer: say("shield")}, &fake{features: byTag, answer: say("edge")}, &fake{features: byTag, answer: say("edge")}
		es := newEdges(t, Ring{{Name: "shield", CDN: shield}}, Ring{{Name: "edge1", CDN: edge1}, {Name: "edge2", CDN: edge2}})
		if got := es.Names(); !slices.Equal(got, []string{"shield", "edge1", "edge2"}) {
			t.Errorf("names are %v", got)
		}
		began := time.Now()
		flushed(t, es, original([]string{"/p/1.jpg"}, "shield", "edge1", "edge2"))
		if got := strings.Join(order, " "); got != "shield edge edge" {
			t.Errorf("purged %s", got)
		}
		if took := time.Since(began); took > 8*time.Second {
			t.Errorf("took %v: the edges did not go together", took)
		}
	})
}

func TestWhereAShieldFailsEdgesAreNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := false
		shield := &fake{features: byTag, answer: func(Batch) (Receipt, error) {
			if up {
				return Receipt{}, nil
			}
			return Receipt{}, &Error{Status: 403, Reason: "no such key"}
		}}
		edge := &fake{features: byTag}
		es := newEdges(t, Ring{{Name: "shield", CDN: shield}}, Ring{{Name: "edge", CDN: edge}})
		results, _ := flushed(t, es, original([]string{"/p/1.jpg"}, "shield", "edge"))
		if r := results["shield"]; r.State != purge.Error || r.Reason != "403: no such key" || len(r.Failed) != 1 || !slices.Equal(r.Failed[0].Paths, []string{"/p/1.jpg"}) {
			t.Errorf("shield: %+v", r)
		}
		if r := results["edge"]; r.State != purge.Error || !strings.Contains(r.Reason, "shield") || len(r.Failed) != 1 || len(edge.calls()) != 0 {
			t.Errorf("edge: %+v, calls %v", r, edge.calls())
		}
		up = true
		if results, _ = flushed(t, es, original([]string{"/p/1.jpg"}, "shield", "edge")); results["edge"].State != purge.Done {
			t.Errorf("then: %+v", results)
		}
	})
}

// What a shield does not take is not told to what is behind it; all the rest is.
func TestWhatFailsOnAShieldAloneIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bad string
		shield := &fake{features: byTag, answer: func(b Batch) (r Receipt, err error) {
			if slices.Contains(b.Values, bad) {
				r.Failed = []Failure{{bad, "not yours", false}}
			}
			return r, nil
		}}
		edge, last := &fake{features: byTag}, &fake{features: byTag}
		es := newEdges(t, Ring{{Name: "shield", CDN: shield}}, Ring{{Name: "edge", CDN: edge}}, Ring{{Name: "last", CDN: last}})
		bad = es.Namer().Image("p", "/2.jpg")
		results, _ := flushed(t, es, original([]string{"/p/1.jpg", "/p/2.jpg", "/p/3.jpg"}, "shield", "edge", "last"))
		want := []string{es.Namer().Image("p", "/1.jpg"), es.Namer().Image("p", "/3.jpg")}
		for name, c := range map[string]*fake{"edge": edge, "last": last} {
			r := results[name]
			if r.State != purge.Error || len(r.Failed) != 1 || !slices.Equal(r.Failed[0].Paths, []string{"/p/2.jpg"}) || !strings.Contains(r.Reason, "shield") ||
				r.Items != 2 || r.Purged != 2 || r.Outcome != purge.Accepted {
				t.Errorf("%s: %+v", name, r)
			}
			if got := c.values(); !slices.Equal(got, want) {
				t.Errorf("%s was told %v", name, got)
			}
		}
	})
}

func TestFailuresByClass(t *testing.T) {
	down := &Error{Status: 503, Reason: "down", Temporary: true}
	for _, tt := range []struct {
		name         string
		errs         []error // of the calls, the last of all further ones
		state        purge.State
		reason       string
		calls        int
		atLeast      time.Duration
		noLongerThan time.Duration
	}{
		{"temporary", []error{down, down, nil}, purge.Done, "", 3, time.Second, 5 * time.Second},
		{"no answer", []error{fmt.Errorf("connection refused"), nil}, purge.Done, "", 2, 0, 3 * time.Second},
		{"told to wait", []error{&Error{Status: 429, Temporary: true, RetryAfter: 40 * time.Second}, nil}, purge.Done, "", 2, 40 * time.Second, 42 * time.Second},
		{"refused", []error{&Error{Status: 401, Reason: "bad token"}}, purge.Error, "401: bad token", 1, 0, time.Second},
		{"down for good", []error{down}, purge.Error, "503: down; it has failed for 10m", 0, 10 * time.Minute, 12 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				c := &fake{features: byTag, answer: func(Batch) (Receipt, error) {
					err := tt.errs[min(n, len(tt.errs)-1)]
					n++
					return Receipt{}, err
				}}
				es := newEdges(t, Ring{{Name: "c", CDN: c}})
				began := time.Now()
				results, _ := flushed(t, es, original([]string{"/p/1.jpg"}, "c"))
				took := time.Since(began)
				r := results["c"]
				if r.State != tt.state || !strings.HasPrefix(r.Reason, tt.reason) || tt.reason == "" && r.Reason != "" {
					t.Errorf("got %+v", r)
				}
				if tt.calls > 0 && n != tt.calls {
					t.Errorf("%d calls", n)
				}
				if took < tt.atLeast || took > tt.noLongerThan {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

func TestOneBadValueFailsAlone(t *testing.T) {
	for name, fail := range map[string]func() error{
		"the CDN's word":     func() error { return &Error{Status: 400, Reason: "invalid tag"} },
		"the adapter's word": func() error { return &Error{Reason: "is no tag"} },
		"a panic":            func() error { panic("oh") },
	} {
		t.Run(name, func(t *testing.T) { oneBadValue(t, fail) })
	}
}

func oneBadValue(t *testing.T, fail func() error) {
	synctest.Test(t, func(t *testing.T) {
		features := Features{Forms: map[Kind]Form{Tag: {MaxItems: 100}}}
		var bad string
		c := &fake{features: features, answer: func(b Batch) (Receipt, error) {
			if slices.Contains(b.Values, bad) {
				return Receipt{}, fail()
			}
			return Receipt{}, nil
		}}
		es := newEdges(t, Ring{{Name: "c", CDN: c}})
		bad = es.Namer().Image("p", "/37.jpg")
		var names []string
		for i := range 100 {
			names = append(names, fmt.Sprintf("/p/%d.jpg", i))
		}
		results, _ := flushed(t, es, original(names, "c"))
		r := results["c"]
		if r.State != purge.Error || len(r.Failed) != 1 || !slices.Equal(r.Failed[0].Paths, []string{"/p/37.jpg"}) || r.Purged != 99 {
			t.Errorf("got %+v", r)
		}
		if n := len(c.calls()); n > 20 {
			t.Errorf("it took %d calls", n)
		}
	})
}

func TestAllBadIsFoundSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fake{features: Features{Forms: map[Kind]Form{Tag: {MaxItems: 100}}}, answer: func(b Batch) (Receipt, error) {
			return Receipt{}, &Error{Status: 400, Reason: "no such zone"}
		}}
		es := newEdges(t, Ring{{Name: "c", CDN: c}})
		var names []string
		for i := range 5000 {
			names = append(names, fmt.Sprintf("/p/%d.jpg", i))
		}
		results, _ := flushed(t, es, original(names, "c"))
		if r := results["c"]; r.State != purge.Error || len(r.Failed) != 1 || len(r.Failed[0].Paths) != 5000 {
			t.Errorf("got %v, %s, %d groups", r.State, r.Reason, len(r.Failed))
		}
		if n := len(c.calls()); n > 120 {
			t.Errorf("it took %d calls", n)
		}
	})
}

func TestPartOfABatchMayFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := make(map[string]int)
		var soon, never string
		c := &fake{features: byTag, answer: func(b Batch) (r Receipt, err error) {
			for _, v := range b.Values {
				tries[v]++
				switch {
				case v == soon && tries[v] < 3:
					r.Failed = append(r.Failed, Failure{v, "busy", true})
				case v == never:
					r.Failed = append(r.Failed, Failure{v, "not yours", false})
				}
			}
			return r, nil
		}}
		es := newEdges(t, Ring{{Name: "c", CDN: c}})
		soon, never = es.Namer().Image("p", "/soon.jpg"), es.Namer().Image("p", "/never.jpg")
		results, _ := flushed(t, es, original([]string{"/p/soon.jpg", "/p/never.jpg", "/p/now.jpg"}, "c"))
		if r := results["c"]; r.State != purge.Error || r.Reason != "not yours" || !slices.Equal(r.Failed[0].Paths, []string{"/p/never.jpg"}) || r.Outcome != purge.Accepted {
			t.Errorf("got %+v", r)
		}
		if tries[soon] != 3 || tries[never] != 1 {
			t.Errorf("tries: %v", tries)
		}
	})
}

func TestConfirmed(t *testing.T) {
	for _, tt := range []struct {
		name      string
		confirmed func(at time.Duration) (bool, error)
		state     purge.State
		outcome   purge.CDNOutcome
		reason    string
	}{
		{"after a while", func(at time.Duration) (bool, error) { return at > 30*time.Second, nil }, purge.Done, purge.Confirmed, ""},
		{"with a failure in between", func(at time.Duration) (bool, error) {
			if at < 10*time.Second {
				return false, &Error{Status: 500, Temporary: true}
			}
			return true, nil
		}, purge.Done, purge.Confirmed, ""},
		{"never", func(time.Duration) (bool, error) { return false, nil }, purge.Error, "", "accepted, and not confirmed within 15m0s"},
		{"it failed", func(time.Duration) (bool, error) { return false, &Error{Reason: "node 7 is gone"} }, purge.Error, "", "accepted, and then: node 7 is gone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				c := &confirmer{fake: fake{features: byTag}, confirmed: func(Receipt) (bool, error) { return tt.confirmed(time.Since(began)) }}
				es := newEdges(t, Ring{{Name: "c", CDN: c}})
				results, _ := flushed(t, es, original([]string{"/p/1.jpg"}, "c"))
				if r := results["c"]; r.State != tt.state || r.Outcome != tt.outcome || r.Reason != tt.reason {
					t.Errorf("got %+v", r)
				}
			})
		})
	}
}

func TestNoMoreIsOpenThanMayBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		open, most := 0, 0
		sizes := make(map[string]int)
		taken := make(map[string]time.Time)
		c := &confirmer{}
		c.features = Features{Forms: map[Kind]Form{Tag: {MaxItems: 4, MaxOpen: 10}}}
		c.answer = func(b Batch) (Receipt, error) {
			mu.Lock()
			defer mu.Unlock()
			open += len(b.Values)
			most = max(most, open)
			sizes[b.ID], taken[b.ID] = len(b.Values), time.Now()
			return Receipt{ID: b.ID}, nil
		}
		c.confirmed = func(r Receipt) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			if time.Since(taken[r.ID]) < 20*time.Second {
				return false, nil
			}
			open -= sizes[r.ID]
			return true, nil
		}
		es := newEdges(t, Ring{{Name: "c", CDN: c}})
		var names []string
		for i := range 50 {
			names = append(names, fmt.Sprintf("/p/%d.jpg", i))
		}
		results, _ := flushed(t, es, original(names, "c"))
		if results["c"].Outcome != purge.Confirmed || most > 10 || most < 8 {
			t.Errorf("%d open at most, %+v", most, results["c"])
		}
	})
}

func TestAgainPurgesTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fake{features: byTag}
		es := newEdges(t, Ring{{Name: "c", CDN: c, Again: 30 * time.Second}})
		began := time.Now()
		results, _ := flushed(t, es, original([]string{"/p/1.jpg"}, "c"))
		if v := c.values(); len(v) != 2 || v[0] != v[1] || c.times[1].Sub(c.times[0]) < 30*time.Second {
			t.Errorf("purged %v at %v", v, c.times)
		}
		if results["c"].State != purge.Done || time.Since(began) < 30*time.Second {
			t.Errorf("%+v after %v", results["c"], time.Since(began))
		}
	})
}

// Rates hold for calls and for values, also where many jobs come at once, and none is wasted much.
func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fake{features: Features{Forms: map[Kind]Form{Tag: {MaxItems: 10, Rates: []Rate{
			{Name: "requests", Burst: 5, PerSecond: 1}, {Name: "tags", Burst: 40, PerSecond: 5, PerItem: true},
		}}}}}
		es := newEdges(t, Ring{{Name: "c", CDN: c}})
		began := time.Now()
		var jobs sync.WaitGroup
		for job := range 10 {
			jobs.Go(func() {
				var names []string
				for i := range 30 {
					names = append(names, fmt.Sprintf("/p/%d-%d.jpg", job, i))
				}
				flushed(t, es, original(names, "c"))
			})
		}
		jobs.Wait()
		took := time.Since(began)
		values := 0
		for i, b := range c.batches {
			values += len(b.Values)
			at := c.times[i].Sub(began).Seconds()
			if float64(i+1) > 5+at+0.01 {
				t.Errorf("call %d at %.2f s", i+1, at)
			}
			if float64(values) > 40+5*at+0.01 {
				t.Errorf("%d values at %.2f s", values, at)
			}
		}
		if values != 300 || took > 75*time.Second { // 260 of them at 5 a second, less a tenth
			t.Errorf("%d values in %v", values, took)
		}
	})
}

func TestATenantIsNotDelayedByAnothersThousands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fake{features: Features{Forms: map[Kind]Form{Tag: {MaxItems: 10, Rates: []Rate{{Name: "requests", Burst: 1, PerSecond: 1}}}}}}
		es := newEdges(t, Ring{{Name: "c", CDN: c}})
		var names []string
		for i := range 1000 {
			names = append(names, fmt.Sprintf("/p/%d.jpg", i))
		}
		var jobs sync.WaitGroup
		jobs.Go(func() {
			f := original(names, "c")
			f.Tenant = "large"
			flushed(t, es, f)
		})
		time.Sleep(10 * time.Second)
		began := time.Now()
		f := original([]string{"/p/one.jpg"}, "c")
		f.Tenant = "small"
		flushed(t, es, f)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the small one took %v", took)
		}
		jobs.Wait()
	})
}

// What waits is purged once for all who want it; what is on its way is purged again, as it may have been cached since.
func TestJobsShareWhatHasNotLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fake{features: Features{Forms: map[Kind]Form{Tag: {MaxItems: 10, Rates: []Rate{{Name: "requests", Burst: 1, PerSecond: 0.1}}}}}}
		es := newEdges(t, Ring{{Name: "c", CDN: c}})
		var jobs sync.WaitGroup
		for range 5 {
			jobs.Go(func() { flushed(t, es, original([]string{"/p/1.jpg"}, "c")) })
			time.Sleep(time.Second)
		}
		jobs.Wait()
		if v := c.values(); len(v) != 2 {
			t.Errorf("purged %v", v)
		}
	})
}

func TestCancelledFlushLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &confirmer{fake: fake{features: byTag}, confirmed: func(Receipt) (bool, error) { return false, nil }}
		down := &fake{features: byTag, answer: func(Batch) (Receipt, error) { return Receipt{}, &Error{Temporary: true, Reason: "down"} }}
		es := newEdges(t, Ring{{Name: "c", CDN: c}, {Name: "down", CDN: down}})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		began := time.Now()
		final := false
		es.Flush(ctx, original([]string{"/p/1.jpg"}, "c", "down"), func(r purge.CDNResult) { final = final || r.State.Final() })
		if took := time.Since(began); took != 20*time.Second || final {
			t.Errorf("it took %v, final %v", took, final)
		}
		synctest.Wait() // and no goroutine is left, or the bubble says so
		// The lane works on.
		if results, _ := flushed(t, es, func() purge.Flush { down.answer = nil; return original([]string{"/p/2.jpg"}, "down") }()); results["down"].State != purge.Done {
			t.Errorf("then: %+v", results["down"])
		}
	})
}

func TestAnAdapterThatPanicsFailsItsCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fake{features: byTag, answer: func(Batch) (Receipt, error) { panic("oh") }}
		es := newEdges(t, Ring{{Name: "c", CDN: c}})
		if results, _ := flushed(t, es, original([]string{"/p/1.jpg"}, "c")); results["c"].Reason != "the adapter panicked" {
			t.Errorf("got %+v", results["c"])
		}
	})
}

func TestVerified(t *testing.T) {
	for _, tt := range []struct {
		name    string
		status  int
		etag    string // at the edge
		from    time.Duration
		state   purge.State
		outcome purge.CDNOutcome
		reason  string
		probe   int
	}{
		{"at once", 200, `W/"new"`, 0, purge.Done, purge.Verified, "", 200},
		{"after a while", 200, `"new"`, 10 * time.Second, purge.Done, purge.Verified, "", 200},
		{"never", 200, `"new"`, time.Hour, purge.Error, "", `purged, and still answers with the ETag "old" where the handler has "new"`, 200},
		{"it is gone", 404, "", 0, purge.Done, purge.Verified, "", 404},
		{"it is not gone", 200, `"new"`, 0, purge.Error, "", "purged, and still answers 200 where the handler answers 404", 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var asked []string
				client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					asked = append(asked, r.URL.String())
					etag := tt.etag
					if time.Since(began) < tt.from {
						etag = `"old"`
					}
					return &http.Response{StatusCode: tt.status, Header: http.Header{"Etag": {etag}}, Body: http.NoBody}, nil
				})}
				es, err := New([]Ring{{{Name: "c", CDN: &fake{features: byTag}, Bases: []string{"https://e.example/img/"}, Verify: 2}}}, &Options{Client: client})
				if err != nil {
					t.Fatal(err)
				}
				f := original([]string{"/p/a b.jpg", "/p/2.jpg", "/p/3.jpg"}, "c")
				f.Probe = func(ctx context.Context, path string) (int, string, error) { return tt.probe, `"new"`, nil }
				results, _ := flushed(t, es, f)
				if r := results["c"]; r.State != tt.state || tt.state == purge.Done && r.Outcome != tt.outcome || r.Reason != tt.reason {
					t.Errorf("got %+v", r)
				}
				if !slices.Contains(asked, "https://e.example/img/p/a%20b.jpg") || slices.Contains(asked, "https://e.example/img/p/3.jpg") {
					t.Errorf("asked for %v", asked)
				}
			})
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestWhatIsAsked(t *testing.T) {
	n := Namer{}
	base := "https://e.example/img"
	forms := func(kinds ...Kind) map[Kind]Form {
		m := make(map[Kind]Form)
		for _, k := range kinds {
			m[k] = Form{}
		}
		return m
	}
	query := map[Kind]Form{URL: {Query: true}}
	for _, tt := range []struct {
		name   string
		forms  map[Kind]Form
		edge   Edge
		scope  purge.Scope
		path   string
		want   []item
		cannot string
	}{
		{"tag", forms(Tag, URL, Prefix, All), Edge{}, purge.Original, "/p/a.jpg", []item{{Tag, n.Image("p", "/a.jpg")}}, ""},
		{"prefix", forms(URL, Prefix), Edge{}, purge.Original, "/p/a b.jpg", []item{{Prefix, base + "/p/a%20b.jpg"}}, ""},
		{"a star is no wildcard", forms(Prefix), Edge{}, purge.Original, "/p/a*.jpg", []item{{Prefix, base + "/p/a%2A.jpg"}}, ""},
		{"URL that covers queries", query, Edge{}, purge.Original, "/p/a.jpg", []item{{URL, base + "/p/a.jpg"}}, ""},
		{"URLs alone", forms(URL), Edge{}, purge.Original, "/p/a.jpg", nil, "Variants"},
		{"URLs that are known", forms(URL), Edge{Variants: []string{"w=1", "w=2"}}, purge.Original, "/p/a.jpg",
			[]item{{URL, base + "/p/a.jpg"}, {URL, base + "/p/a.jpg?w=1"}, {URL, base + "/p/a.jpg?w=2"}}, ""},
		{"all, which is too much", forms(URL, All), Edge{}, purge.Original, "/p/a.jpg", nil, "Widen"},
		{"all, which is allowed", forms(URL, All), Edge{Widen: true}, purge.Original, "/p/a.jpg", []item{{All, ""}}, ""},
		{"folder by tag", forms(Tag), Edge{}, purge.Prefix, "/p/a/b/", []item{{Tag, n.Folder("p", "/a/b/")}, {Tag, n.overflow()}}, ""},
		{"a source's folder by tag", forms(Tag), Edge{}, purge.Prefix, "/p/", []item{{Tag, n.Source("p")}}, ""},
		{"folder by prefix", forms(Prefix), Edge{}, purge.Prefix, "/p/a/b/", []item{{Prefix, base + "/p/a/b/"}}, ""},
		{"folder by URL", query, Edge{}, purge.Prefix, "/p/a/b/", nil, "folders"},
		{"tag by tag", forms(Tag), Edge{}, purge.Tag, "product-17", []item{{Tag, n.Origin("product-17")}, {Tag, n.overflow()}}, ""},
		{"tag by prefix", forms(Prefix), Edge{}, purge.Tag, "product-17", nil, "tags of origins"},
		{"source by tag", forms(Tag, All), Edge{}, purge.All, "/p/*", []item{{Tag, n.Source("p")}}, ""},
		{"source by prefix", forms(Prefix, All), Edge{}, purge.All, "/p/*", []item{{Prefix, base + "/p/"}}, ""},
		{"everything by tag", forms(Tag, All), Edge{Widen: true}, purge.All, "/*", []item{{Tag, n.Everything()}}, ""},
		{"everything by prefix", forms(Prefix, All), Edge{}, purge.All, "/*", []item{{Prefix, base + "/"}}, ""},
		{"everything by all", forms(URL, All), Edge{Widen: true}, purge.All, "/*", []item{{All, ""}}, ""},
		{"few stay as they are", forms(Tag), Edge{WidenAfter: 1}, purge.Original, "/p/a.jpg", []item{{Tag, n.Image("p", "/a.jpg")}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.edge.Bases = []string{base}
			p := planFor(&tt.edge, n, Features{Forms: tt.forms}, tt.scope, []string{tt.path}, nil)
			if !slices.Equal(p.items, tt.want) || !strings.Contains(p.cannot[0], tt.cannot) || (tt.cannot == "") != (p.cannot[0] == "") {
				t.Errorf("got %v and %q, want %v and %q", p.items, p.cannot[0], tt.want, tt.cannot)
			}
		})
	}

	p := planFor(&Edge{WidenAfter: 2}, n, Features{Forms: forms(Tag)}, purge.Original, []string{"/p/1", "/p/2", "/q/3"}, nil)
	if want := []item{{Tag, n.Source("p")}, {Tag, n.Source("q")}}; !slices.Equal(p.items, want) || len(p.of[want[0]]) != 2 {
		t.Errorf("widened to %v", p.items)
	}
	// Everything is more than all of their sources.
	urls := Features{Forms: map[Kind]Form{URL: {Query: true}, All: {}}}
	for widen, want := range map[bool][]item{true: {{All, ""}}, false: {{URL, base + "/p/1"}, {URL, base + "/p/2"}}} {
		if p := planFor(&Edge{WidenAfter: 1, Widen: widen, Bases: []string{base}}, n, urls, purge.Original, []string{"/p/1", "/p/2"}, nil); !slices.Equal(p.items, want) {
			t.Errorf("with Widen %v: %v", widen, p.items)
		}
	}
}

// One path has several spellings in URLs, and caches tell them apart.
func TestSpellings(t *testing.T) {
	for path, want := range map[string][]string{
		"/p/cat-1_2.~jpg":  {"/p/cat-1_2.~jpg"},
		"/p/a b%c?d#e.jpg": {"/p/a%20b%25c%3Fd%23e.jpg"},
		"/p/über.jpg":      {"/p/%C3%BCber.jpg"},
		"/p/a (1).jpg":     {"/p/a%20%281%29.jpg", "/p/a%20(1).jpg"},
		"/p/it's!.jpg":     {"/p/it%27s%21.jpg", "/p/it's!.jpg"},
		"/p/a+b,c@2x.jpg":  {"/p/a+b,c@2x.jpg", "/p/a%2Bb%2Cc%402x.jpg"},
		"/p/a=(b).jpg":     {"/p/a=%28b%29.jpg", "/p/a=(b).jpg", "/p/a%3D(b).jpg", "/p/a%3D%28b%29.jpg"},
		"/p/a*(b).jpg":     {"/p/a%2A%28b%29.jpg", "/p/a%2A(b).jpg"},
		"/p/[a]|b.jpg":     {"/p/%5Ba%5D%7Cb.jpg", "/p/[a]%7Cb.jpg"},
	} {
		got := spellings(path)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
		for _, s := range got {
			u, err := url.Parse("https://e.example/img" + s)
			if err != nil || u.Path != "/img"+path {
				t.Errorf("%s means %q, %v", s, u.Path, err)
			}
		}
	}
}

func TestTags(t *testing.T) {
	n := Namer{}
	tags := n.Tags([]Image{{Source: "p", Path: "/a/b/c.jpg", Tags: []string{"x", "y"}}, {Source: "brand", Path: "/logo.png"}})
	want := []string{n.Everything(), n.Image("p", "/a/b/c.jpg"), n.Image("brand", "/logo.png"), n.Source("p"), n.Source("brand"),
		n.Folder("p", "/a/"), n.Folder("p", "/a/b/"), n.Origin("x"), n.Origin("y")}
	if !slices.Equal(tags, want) {
		t.Errorf("got %v\nwant %v", tags, want)
	}
	if n.Image("p", "/a") == (Namer{Space: "two"}).Image("p", "/a") {
		t.Error("spaces share tags")
	}
	// Tags are in other programs' caches: they must not change.
	if got := n.Image("photos", "/cat.jpg"); got != "ioomnyjzdcns7sibmzaavu5rj3i" {
		t.Errorf("the tag of an image is %s now", got)
	}

	many := make([]string, 100)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	deep := Image{Source: "p", Path: "/" + strings.Repeat("a/", 60) + "c.jpg", Tags: many}
	tags = n.Tags([]Image{deep})
	if len(tags) != MaxTags || !slices.Contains(tags, n.overflow()) || !slices.Contains(tags, n.Image("p", deep.Path)) {
		t.Errorf("%d tags: %v", len(tags), tags)
	}
	for _, h := range []TagHeader{{Name: "Cache-Tag", Separator: ","}, {Name: "Surrogate-Key", Separator: " "}, {Name: "Cache-Groups", Separator: ", ", Quoted: true}} {
		if v := h.Value(tags); h.Name != "Cache-Groups" && len(v) >= 1024 {
			t.Errorf("%s has %d bytes", h.Name, len(v))
		}
	}
	for _, tag := range tags {
		if len(tag) > 32 || strings.Trim(tag, "abcdefghijklmnopqrstuvwxyz0123456789_.-") != "" {
			t.Errorf("the tag %q is not portable", tag)
		}
	}
	if got, want := (TagHeader{Name: "Cache-Groups", Separator: ", ", Quoted: true}).Value([]string{"a", "b"}), `"a", "b"`; got != want {
		t.Errorf("got %s", got)
	}
}

// Whatever is purged, a purge by a tag of it reaches the answer.
func TestAPurgeReachesEveryAnswerThatItIsAbout(t *testing.T) {
	n := Namer{Space: "x"}
	tagsOf := make([]string, 60)
	for i := range tagsOf {
		tagsOf[i] = fmt.Sprint("tag", i)
	}
	images := []Image{{Source: "p", Path: "/" + strings.Repeat("d/", 20) + "c.jpg", Tags: tagsOf}, {Source: "brand", Path: "/logo.png"}}
	tags := n.Tags(images)
	asked := map[purge.Scope][]string{
		purge.Original: {"/p" + images[0].Path, "/brand/logo.png"},
		purge.Tag:      tagsOf,
		purge.All:      {"/*", "/p/*", "/brand/*"},
		purge.Prefix:   {"/p/", "/brand/"},
	}
	for i := range 20 {
		asked[purge.Prefix] = append(asked[purge.Prefix], "/p/"+strings.Repeat("d/", i+1))
	}
	for _, scope := range slices.Sorted(maps.Keys(asked)) {
		for _, name := range asked[scope] {
			if !slices.ContainsFunc(tagsFor(n, scope, name), func(t string) bool { return slices.Contains(tags, t) }) {
				t.Errorf("a purge of %s %s does not reach the answer", scope, name)
			}
		}
	}
}

func TestSettingsThatMakeNoSense(t *testing.T) {
	ok := &fake{features: byTag}
	urls := &fake{features: Features{Forms: map[Kind]Form{URL: {}}}}
	rated := func(rates ...Rate) *fake { return &fake{features: Features{Forms: map[Kind]Form{Tag: {Rates: rates}}}} }
	for want, edge := range map[string]Edge{
		"has no Name":   {CDN: ok},
		"has no CDN":    {Name: "x"},
		"needs Bases":   {Name: "x", CDN: urls},
		"is no URL":     {Name: "x", CDN: urls, Bases: []string{"www.example.com"}},
		"has more than": {Name: "x", CDN: urls, Bases: []string{"https://www.example.com/?a=b"}},
		"negative":      {Name: "x", CDN: ok, Again: -1},
		"purge nothing": {Name: "x", CDN: &fake{}},
		"Verify needs":  {Name: "x", CDN: ok, Verify: 1},
		"\"r\" is no":   {Name: "x", CDN: rated(Rate{Name: "r", Burst: 1})},
		"\"n\" is no":   {Name: "x", CDN: rated(Rate{Name: "n", Burst: math.NaN(), PerSecond: 1})},
		"two sizes":     {Name: "x", CDN: rated(Rate{Name: "r", Burst: 1, PerSecond: 1}, Rate{Name: "r", Burst: 2, PerSecond: 1})},
	} {
		if _, err := New([]Ring{{edge}}, nil); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := New([]Ring{{{Name: "x", CDN: ok}}, {{Name: "x", CDN: ok}}}, nil); err == nil {
		t.Error("two of a name are taken")
	}
}
