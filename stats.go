package imagecdn

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/imagecdn/imagecdn/cache"
)

// stats counts what a handler has done since it was made. All of it is atomics, none of it takes a lock: a hit costs two additions and
// a look at whether it is to be timed. The numbers only grow, so that who reads them twice has what happened between.
type stats struct {
	began time.Time
	times atomic.Bool // the next request

	_       [64]byte // hits write to other cache lines than all read
	answers [outcomes]struct{ requests, bytes atomic.Int64 }
	_       [64]byte

	latency struct {
		hit    histogram // until the answer begins, of one hit in hitSample
		miss   histogram // of what was fetched, made or asked about: from when that was found out until the answer begins
		wait   histogram // for leave to make a picture
		render histogram // making a picture, with its waiting
		origin histogram // until the header of an origin's answer
	}
	origin struct {
		exchanges atomic.Int64 // requests to origins, but for files of this machine
		failures  atomic.Int64 // of these: without an answer, or with a status of 500 and more
		bodies    atomic.Int64 // originals that came, from files as well
		bytes     atomic.Int64 // of them
	}
	failedRenders atomic.Int64
	more          counters
}

// hitSample is how many hits there are to one whose time is taken, as looking at the clock costs more than counting does.
const hitSample = 64

// outcome is how a request was answered.
type outcome uint8

const (
	outcomeHit         outcome = iota // from the cache, and nobody was asked
	outcomeRevalidated                // from the cache, once the origin had said that it is unchanged
	outcomeMiss                       // fetched or made
	outcomeNotModified                // 304: the client has it
	outcomeRefused                    // 4xx, but 429
	outcomeOverloaded                 // 429
	outcomeFailed                     // 5xx
	outcomes
)

// outcomeNames are the words for outcomes, as the API has them.
var outcomeNames = [outcomes]string{"hit", "revalidated", "miss", "not_modified", "refused", "overloaded", "failed"}

// outcomeOf is the outcome of an answer that is no picture.
func outcomeOf(status int) outcome {
	switch {
	case status == http.StatusTooManyRequests:
		return outcomeOverloaded
	case status >= 500:
		return outcomeFailed
	}
	return outcomeRefused
}

// answered counts an answer of so many bytes.
func (s *stats) answered(o outcome, bytes int64) {
	n := s.answers[o].requests.Add(1)
	s.answers[o].bytes.Add(bytes)
	if o == outcomeHit && n%hitSample == 0 {
		s.times.Store(true)
	}
}

// sent counts an answer that is a picture.
func (s *stats) sent(p *picture, bytes int64) {
	o := p.outcome()
	if o == outcomeHit && p.tier == cache.OnDisk {
		s.more.diskHits.Add(1) // first: Stats takes what is no hit on disk for one in memory
	}
	s.answered(o, bytes)
}

// came returns when a request came, from when the handler was made, if it is to be timed, and else zero.
func (s *stats) came() time.Duration {
	if !s.times.Load() || !s.times.CompareAndSwap(true, false) {
		return 0
	}
	return time.Since(s.began)
}

// timed takes the time of a picture that is about to be sent: of a miss from when it was found to be one, of a hit from when the request
// came, where that is known.
func (s *stats) timed(p *picture, came, asked time.Duration) {
	if came|asked == 0 {
		return
	}
	switch hit := p.outcome() == outcomeHit; {
	case !hit && asked != 0:
		s.latency.miss.observe(time.Since(s.began) - asked)
	case hit && came != 0:
		s.latency.hit.observe(time.Since(s.began) - came)
	}
}

// rendered counts a picture that was made, or could not be.
func (s *stats) rendered(took time.Duration, err error) {
	s.latency.render.observe(took)
	if err != nil {
		s.failedRenders.Add(1)
	}
}

// latencyBounds are the upper bounds of the buckets of a histogram; a last one has what is above.
var latencyBounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
}

// A histogram counts durations by latencyBounds. The zero value is empty.
type histogram struct {
	counts [len(latencyBounds) + 1]atomic.Int64 // of each bucket by itself
	sum    atomic.Int64                         // nanoseconds
}

func (h *histogram) observe(d time.Duration) {
	i := 0
	for i < len(latencyBounds) && d > latencyBounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// asked is the most that was done to find out what p's inputs are.
func (p *picture) asked() cache.How {
	asked := cache.Hit
	for i := range p.inputs {
		in := &p.inputs[i]
		if how := in.now.How; !in.source.local || how == cache.FilledUnkept || how == cache.Filled && p.key.Kind == cache.Original {
			asked = max(asked, how)
		}
	}
	return asked
}

// outcome is how p came about, as its Cache-Status says.
func (p *picture) outcome() outcome {
	if len(p.inputs) == 1 && p.inputs[0].now.How == cache.Hit && !p.made {
		return outcomeHit // as most are
	}
	switch asked := p.asked(); {
	case p.made, asked >= cache.Filled:
		return outcomeMiss
	case asked == cache.Revalidated:
		return outcomeRevalidated
	}
	return outcomeHit
}

// countedOrigin counts the requests to an origin.
type countedOrigin struct {
	http.RoundTripper
	stats    *stats
	counters *originCounters
}

func (c countedOrigin) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	resp, err := c.RoundTripper.RoundTrip(r)
	c.stats.latency.origin.observe(time.Since(began))
	c.stats.origin.exchanges.Add(1)
	c.counters.results[originResultOf(resp, err)].Add(1)
	if err != nil || resp.StatusCode >= 500 {
		c.stats.origin.failures.Add(1)
	}
	return resp, err
}
