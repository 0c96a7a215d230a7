package cdn

import (
	"errors"
	"maps"
	"net/http"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

// Stats is what has been asked of a CDN since [New], and what waits to be.
type Stats struct {
	CDN string // the Edge's name

	// Calls are those of each kind that the CDN can be told, and of each result. They only grow.
	Calls map[CallKind]int64

	// Values are what the calls that the CDN took were of: tags, URLs, prefixes, and one for each call of kind All. They only grow.
	Values map[Kind]int64

	// Durations are those of calls, by kind.
	Durations map[Kind]purge.Histogram

	// Gauges:
	Waiting     int           // values that are in no call yet
	Calling     int           // calls under way
	Unconfirmed int           // calls that the CDN took, and has not confirmed
	Failing     time.Duration // since the first failure after the last success; zero where the CDN works
}

// A CallKind is a kind of call with a result.
type CallKind struct {
	Kind   Kind // and Confirm
	Result Result
}

// Confirm is the Kind of calls that ask whether a purge has reached all servers, in [Stats] alone.
const Confirm Kind = "confirm"

// A Result is how a call ended.
type Result string

const (
	OK      Result = "ok"      // the CDN took all values
	Partial Result = "partial" // and here not all
	Limited Result = "limited" // 429: too many calls
	Failed  Result = "failed"  // and may do better next time
	Refused Result = "refused" // for good
)

var results = []Result{OK, Partial, Limited, Failed, Refused}

// resultOf is the result of a call.
func resultOf(receipt Receipt, err error) Result {
	if err != nil {
		switch e, known := errors.AsType[*Error](err); {
		case known && e.Status == http.StatusTooManyRequests:
			return Limited
		case known && !e.Temporary:
			return Refused
		}
		return Failed
	}
	if len(receipt.Failed) > 0 {
		return Partial
	}
	return OK
}

// callBounds are of calls over the Internet.
var callBounds = []time.Duration{
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
}

// counts is what a lane counts. lane.mu guards it.
type counts struct {
	calls     map[CallKind]int64
	values    map[Kind]int64
	durations map[Kind]purge.Histogram // whose Counts are written to
}

func newCounts(f Features, confirms bool) counts {
	c := counts{calls: make(map[CallKind]int64), values: make(map[Kind]int64), durations: make(map[Kind]purge.Histogram)}
	add := func(k Kind) {
		for _, r := range results {
			c.calls[CallKind{k, r}] = 0
		}
		c.durations[k] = purge.Histogram{Bounds: callBounds, Counts: make([]int64, len(callBounds)+1)}
	}
	for k := range f.Forms {
		add(k)
		c.values[k] = 0
	}
	if confirms {
		add(Confirm)
	}
	return c
}

// called counts a call.
func (c *counts) called(k Kind, r Result, took time.Duration) {
	c.calls[CallKind{k, r}]++
	h := c.durations[k]
	i := 0
	for i < len(callBounds) && took > callBounds[i] {
		i++
	}
	h.Counts[i]++
	h.Sum += took
	c.durations[k] = h
}

// Stats says what has been asked of each CDN, in the order of [Edges.Names]. Options.OnCall is called all the same.
func (es *Edges) Stats() []Stats {
	var all []Stats
	for _, ring := range es.rings {
		for _, e := range ring {
			all = append(all, e.lane.stats(e.Name))
		}
	}
	return all
}

func (l *lane) stats(name string) Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Stats{
		CDN: name, Calls: maps.Clone(l.counts.calls), Values: maps.Clone(l.counts.values), Durations: make(map[Kind]purge.Histogram, len(l.counts.durations)),
		Waiting: len(l.later), Calling: l.calls, Unconfirmed: l.batches,
	}
	for k, h := range l.counts.durations {
		h.Bounds, h.Counts = append([]time.Duration(nil), h.Bounds...), append([]int64(nil), h.Counts...)
		s.Durations[k] = h
	}
	for _, q := range l.queues {
		s.Waiting += len(q)
	}
	if !l.failing.IsZero() {
		s.Failing = time.Since(l.failing)
	}
	return s
}
