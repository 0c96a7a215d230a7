package purge

import (
	"maps"
	"time"
)

// Stats is what a [Service] has done since it was made, and what it has to do. Where nothing else is said, numbers only grow. Every key that
// a map may have is in it, those of Refused apart.
type Stats struct {
	Accepted map[Scope]int64  // purges, of before a restart not counted
	Refused  map[string]int64 // purges, retries apart, by [ErrorCode]
	Retried  int64            // attempts that Retry has begun

	// Of jobs of a [SharedLog].
	TakenOver int64 // unfinished jobs of nodes that were lost, which this one went on with
	TakenAway int64 // jobs of this node that another has taken
	Followed  int   // records of other nodes' jobs: a gauge

	// Nodes is what became of purges on other nodes, each node counted once for a job, or for jobs that share their work.
	Nodes map[NodeOutcome]int64

	// Active is how many jobs are in each state that is not final: a gauge.
	Active map[State]int

	// Ended is how many attempts reached each final state.
	Ended map[State]int64

	// Steps is how long attempts were in each state that is not final. Received is the wait for a worker.
	Steps map[State]Histogram

	// Paths is what became of paths, folders and tags, each counted once where several jobs shared the work: those that a Target was
	// called for, and with Failed those that a call of it failed for in the end.
	Paths map[Outcome]int64

	// What the Target has removed.
	Originals, Derivatives, Composites int64
	Bytes                              int64 // of all of them

	// How full the service is; all are gauges.
	Waiting   int   // jobs that wait for a worker
	Working   int   // workers, each with a job
	Flushing  int   // jobs that wait for other nodes or CDNs
	Callbacks int   // jobs with events to tell whose callbacks wait for their turn
	Records   int   // in the log
	Memory    int64 // bytes that they take, about
}

// A Histogram counts durations.
type Histogram struct {
	Bounds []time.Duration // ascending: the upper bound of each bucket
	Counts []int64         // of each bucket by itself, and at last of what is above all bounds
	Sum    time.Duration
}

// Count is how many durations were counted.
func (h Histogram) Count() (n int64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// stepBounds are from what a purge of one image takes, to what CDNs may.
var stepBounds = []time.Duration{
	time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour,
}

// observe counts a duration. The counts are made with the first.
func (h *Histogram) observe(d time.Duration) {
	if h.Counts == nil {
		h.Counts = make([]int64, len(stepBounds)+1)
	}
	i := 0
	for i < len(stepBounds) && d > stepBounds[i] {
		i++
	}
	h.Counts[i]++
	h.Sum += d
}

// snapshot is h for somebody else to keep.
func (h *Histogram) snapshot() Histogram {
	s := Histogram{Bounds: stepBounds[:len(stepBounds):len(stepBounds)], Counts: make([]int64, len(stepBounds)+1), Sum: h.Sum}
	copy(s.Counts, h.Counts)
	return s
}

// counts is what a Service counts for Stats. Service.mu guards it.
type counts struct {
	accepted map[Scope]int64
	refused  map[string]int64
	retried  int64
	active   map[State]int
	ended    map[State]int64
	steps    map[State]*Histogram
	paths    map[Outcome]int64
	nodes    map[NodeOutcome]int64
	removed  PathResult

	takenOver, takenAway int64
}

func newCounts() counts {
	c := counts{
		accepted: make(map[Scope]int64), refused: make(map[string]int64), active: make(map[State]int), ended: make(map[State]int64),
		steps: make(map[State]*Histogram), paths: make(map[Outcome]int64),
		nodes: make(map[NodeOutcome]int64),
	}
	for _, s := range []Scope{Original, All, Prefix, Tag} {
		c.accepted[s] = 0
	}
	for _, s := range []State{Received, Preparing, FlushingServers, FlushingCDN} {
		c.active[s], c.steps[s] = 0, new(Histogram)
	}
	for _, s := range []State{Done, ErrorCDNNode, Error, Expired} {
		c.ended[s] = 0
	}
	for _, o := range []Outcome{Removed, Absent, Unchanged, Changed, Gone, Staled, Marked, Failed} {
		c.paths[o] = 0
	}
	for _, o := range []NodeOutcome{Flushed, Left, Failing} {
		c.nodes[o] = 0
	}
	return c
}

// refuse counts a purge that was refused. The codes are few, unless a Target makes up its own.
func (s *Service) refuse(err error) {
	const most = 100
	s.mu.Lock()
	defer s.mu.Unlock()
	code := ErrorCode(err)
	if _, known := s.counts.refused[code]; !known && len(s.counts.refused) >= most {
		code = "other"
	}
	s.counts.refused[code]++
}

// step counts that a job goes on to a state, now.
func (c *counts) step(r *Record, to State, now time.Time) {
	if from, active := c.steps[r.State]; active {
		c.active[r.State]--
		if n := len(r.History); n > 0 {
			from.observe(max(0, now.Sub(r.History[n-1].Time)))
		}
	}
	if to.Final() {
		c.ended[to]++
	} else {
		c.active[to]++
	}
}

// Stats says what the service has done, and has to do. It takes a time that does not depend on how many jobs there are.
func (s *Service) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.counts
	stats := Stats{
		Accepted: maps.Clone(c.accepted), Refused: maps.Clone(c.refused), Retried: c.retried,
		Active: maps.Clone(c.active), Ended: maps.Clone(c.ended), Steps: make(map[State]Histogram, len(c.steps)), Paths: maps.Clone(c.paths),
		TakenOver: c.takenOver, TakenAway: c.takenAway, Followed: s.followed, Nodes: maps.Clone(c.nodes),
		Originals: int64(c.removed.Originals), Derivatives: int64(c.removed.Derivatives), Composites: int64(c.removed.Composites), Bytes: c.removed.Bytes,
		Waiting: s.queue.Len() + s.sharing, Working: s.working, Flushing: s.flushing, Callbacks: s.line.Len(), Records: len(s.log), Memory: s.bytes,
	}
	for state, h := range c.steps {
		stats.Steps[state] = h.snapshot()
	}
	return stats
}
