package purge

import (
	"runtime/debug"
	"time"
)

// Callbacks run on goroutines called tellers. A job with events to tell has a teller of
// its own, which goes away when all are told; so a callback that is stuck holds up its
// own job's events and nothing else. Only when MaxCallbacks of them are stuck do the events
// of further jobs wait in line, with the log as their bound: what is dropped from the log is
// dropped from the line.

// announce has j's callback told of the state just reached. s.mu is held.
func (s *Service) announce(j *Job, now time.Time) {
	s.notify(j, notice{j.event(now), true})
}

// A notice is an event to be told to callbacks: to that of all jobs only if the job is this node's own.
type notice struct {
	Event
	own bool
}

func (s *Service) notify(j *Job, n notice) {
	if j.onStatus == nil && (s.o.OnStatus == nil || !n.own) {
		return
	}
	j.events = append(j.events, n)
	switch {
	case j.telling:
	case s.tellers < s.o.MaxCallbacks:
		j.telling = true
		s.tellers++
		go s.tell(j)
	default:
		j.telling = true
		j.inLine = s.line.PushBack(j)
	}
}

// tell is a teller: it tells j's events, and then those of jobs in line.
func (s *Service) tell(j *Job) {
	told := false
	defer func() {
		if !told { // the callback ended the goroutine
			go s.tell(j)
		}
	}()
	s.mu.Lock()
	for j != nil {
		if len(j.events) == 0 || s.stopped {
			j.telling = false
			j = nil
			if front := s.line.Front(); front != nil && !s.stopped {
				j = s.line.Remove(front).(*Job)
				j.inLine = nil
			}
			continue
		}
		e := j.events[0]
		j.events[0] = notice{}
		j.events = j.events[1:]
		s.unlock()
		e.Record = e.Record.clone()
		if j.onStatus != nil {
			s.callback(j.onStatus, e.Event)
			e.Record = e.Record.clone()
		}
		if s.o.OnStatus != nil && e.own {
			s.callback(s.o.OnStatus, e.Event)
		}
		s.mu.Lock()
	}
	s.tellers--
	told = true
	s.unlock()
}

func (s *Service) callback(onStatus func(Event), e Event) {
	defer func() {
		if p := recover(); p != nil {
			s.o.Logger.Error("purge: a callback panicked", "job", e.ID, "state", e.State, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	onStatus(e)
}
