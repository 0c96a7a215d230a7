package purge

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxEvents is how many of the latest events are kept as they were. They take a quarter of MaxBytes at most.
const maxEvents = 1000

// A stream is the latest events of all jobs, in the order in which they came about.
type stream struct {
	events []Event
	sizes  []int64 // of each event's job
	first  int     // the number of events[0], counted since the service was made
	bytes  int64   // the sum of sizes
	news   chan struct{}
}

func (st *stream) end() int { return st.first + len(st.events) }

// add appends an event of a job of that size, forgets the oldest, and wakes who waits.
func (st *stream) add(e Event, size, maxBytes int64) {
	st.events = append(st.events, e)
	st.sizes = append(st.sizes, size)
	st.bytes += size
	for len(st.events) > maxEvents || st.bytes > maxBytes && len(st.events) > 1 {
		st.bytes -= st.sizes[0]
		st.events[0] = Event{}
		st.events, st.sizes = st.events[1:], st.sizes[1:]
		st.first++
	}
	close(st.news)
	st.news = make(chan struct{})
}

// find returns the number of the event with that ID.
func (st *stream) find(id string) (int, bool) {
	job, seq := splitEventID(id)
	for i, e := range slices.Backward(st.events) {
		if e.ID == job && e.Seq == seq {
			return st.first + i, true
		}
	}
	return 0, false
}

// EventID returns what tells e from all other events: the job's ID and Seq.
// [Service.Events] goes on after it.
func (e Event) EventID() string { return e.ID + "." + strconv.Itoa(e.Seq) }

func splitEventID(id string) (job string, seq int) {
	job, n, _ := strings.Cut(id, ".")
	seq, _ = strconv.Atoi(n)
	return job, seq
}

// Events returns the events of all jobs as they come about, for as long as ctx goes on: those after the one
// with the ID after, or, if it is empty, those from this call on, however late the first is read. Those of one job come in order.
//
// Whoever reads slowly delays nobody. Behind the latest 1,000, and for IDs of before a
// restart, events are made from the log: with the state and the time of each, and the Record as it stands. Where after is not in
// the log, or no more, they are all that the log has. Every event comes at least once; after a gap, those of
// the same millisecond may come again. Receivers tell them by [Event.EventID].
//
// The last that is yielded is an error: ctx's, or [ErrClosed] when the service is through.
func (s *Service) Events(ctx context.Context, after string) iter.Seq2[Event, error] {
	s.mu.Lock()
	last, next := after, s.stream.end()
	if n, held := s.stream.find(after); held {
		next = n + 1
	} else if after != "" {
		next = -1 // behind all that is held: the log has it
	} else if next > s.stream.first {
		last = s.stream.events[next-1-s.stream.first].EventID()
	}
	s.mu.Unlock()
	return func(yield func(Event, error) bool) {
		last, next := last, next
		var batch []Event
		for {
			for _, e := range batch {
				last = e.EventID()
				e.Record = e.Record.clone()
				if ctx.Err() != nil {
					break
				}
				if !yield(e, nil) {
					return
				}
			}
			if err := ctx.Err(); err != nil {
				yield(Event{}, err)
				return
			}
			s.mu.Lock()
			if next < s.stream.first { // fallen behind
				batch, next = s.backlog(last), s.stream.end()
			} else {
				rest := s.stream.events[next-s.stream.first:]
				batch = slices.Clone(rest[:min(len(rest), 64)])
				next += len(batch)
			}
			news, stopped := s.stream.news, s.stopped
			s.mu.Unlock()
			if len(batch) > 0 {
				continue
			}
			if stopped {
				yield(Event{}, ErrClosed)
				return
			}
			select {
			case <-news:
			case <-ctx.Done():
			case <-s.gone:
			}
		}
	}
}

// publish adds the state that j has just reached to the stream. s.mu is held.
func (s *Service) publish(j *Job, now time.Time) {
	s.stream.add(j.event(now), j.size, s.o.MaxBytes/4)
}

// event returns the event that is j's state. s.mu is held.
func (j *Job) event(now time.Time) Event {
	return Event{ID: j.rec.ID, Seq: j.seq, Time: now, Attempt: j.rec.Attempt, State: j.rec.State, Record: j.snapshot()}
}

// backlog makes the events after the one with that ID from the log. s.mu is held.
func (s *Service) backlog(after string) (events []Event) {
	job, seq := splitEventID(after)
	var since time.Time
	if j := s.byID[job]; j != nil {
		if i := len(j.rec.History) - 1 - (j.seq - seq); i >= 0 && i < len(j.rec.History) {
			since = j.rec.History[i].Time
		}
	}
	for _, j := range s.log {
		if !slices.ContainsFunc(j.rec.History, func(h StateAt) bool { return !h.Time.Before(since) }) {
			continue // as most have: it is over, and nobody submits while this goes on
		}
		rec := j.snapshot()
		var latest time.Time // the clock may have gone back
		for i, h := range rec.History {
			if h.Time.After(latest) {
				latest = h.Time
			}
			n := j.seq - (len(rec.History) - 1 - i)
			if latest.Before(since) || rec.ID == job && n <= seq {
				continue
			}
			events = append(events, Event{ID: rec.ID, Seq: n, Time: latest, Attempt: h.Attempt, State: h.State, Record: rec})
		}
	}
	slices.SortStableFunc(events, func(a, b Event) int { return cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.ID, b.ID)) })
	return events
}
