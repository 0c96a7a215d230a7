package purge

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// A Resumer is a [Target] that keeps something in memory of the purges that it accepted.
type Resumer interface {
	Target

	// Resume is called for each purge that was accepted before a restart and not finished, before any
	// work on it goes on. The purge is in force already; r lists the paths that are left.
	// An error is logged, and the work goes on all the same.
	Resume(ctx context.Context, r Request) error
}

// Open returns a service that purges t and goes on where the last one on ServiceOptions.Log stopped:
// the records are those of the log, and jobs that were not at their end are tried again, in
// the same attempt, with the states that follow. Without a Log it begins with nothing. It must be closed.
//
// When Open returns, every purge that was ever acknowledged is in force: one whose acceptance
// the log has not is accepted by the Target again. So a cache must not serve before.
//
// A log that cannot be read, in part or as a whole, and a Target that does not accept what it must, is an error,
// and the log is left as it is. ctx is for the opening alone.
//
// Of a [SharedLog] this is said of the jobs that are this node's; entries of others that cannot be read are logged and left alone. What the Target
// does not accept of its own was never acknowledged, and it is asked again while the service runs.
func Open(ctx context.Context, t Target, o *ServiceOptions) (*Service, error) {
	s := newService(t, o)
	if s.o.Log == nil {
		return s, nil
	}
	if s.shared != nil && s.o.Nodes == nil {
		return nil, fmt.Errorf("purge: the log %s is one that nodes share, and ServiceOptions.Nodes is not set", s.o.Log)
	}
	if err := s.load(ctx); err != nil {
		s.cancel()
		return nil, err
	}
	if s.shared != nil {
		s.join()
	}
	return s, nil
}

// load reads the log and goes on with what it says. Nobody else has s as yet.
func (s *Service) load(ctx context.Context) error {
	var unfinished []*Job // newest first, as all
	var intents []kept
	for e, err := range s.o.Log.Entries("") {
		if err != nil {
			return fmt.Errorf("purge: the log %s: %w", s.o.Log, err)
		}
		k, err := parseEntry(e)
		if s.shared != nil && e.Owner != s.self {
			if err != nil {
				s.cannotRead(e, err)
			} else {
				s.loadFollowed(e, k)
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("purge: the log %s: job %.36q %w", s.o.Log, e.ID, err)
		}
		if s.shared != nil {
			s.sawOther(e.ID)
		} else {
			s.ids.saw(e.ID)
		}
		if !k.Accepted {
			intents = append(intents, k)
			continue
		}
		j := s.restore(k)
		if !k.Record.State.Final() {
			unfinished = append(unfinished, j)
		} else if s.bytes+j.size > s.o.MaxBytes || len(s.log) >= s.o.MaxLog {
			s.dropped = append(s.dropped, e.ID)
			continue
		}
		s.log = append(s.log, j)
		s.byID[e.ID] = j
		s.bytes += j.size
	}
	slices.Reverse(s.log)

	for _, k := range slices.Backward(intents) {
		j, err := s.acceptAgain(ctx, k)
		if err != nil && s.shared != nil {
			s.o.Logger.Warn("purge: a purge that was never acknowledged is not accepted again, and the target is asked later", "error", err)
			continue
		}
		if err != nil {
			return err
		}
		if j != nil {
			unfinished = append(unfinished, j)
		}
	}
	if s.shared != nil {
		unfinished = slices.DeleteFunc(unfinished, func(j *Job) bool { return j.followed })
	}
	slices.SortFunc(unfinished, func(a, b *Job) int { return compareIDs(a, b.rec.ID) })
	for _, j := range unfinished {
		s.resume(ctx, j)
	}

	s.mu.Lock()
	defer s.unlock()
	for _, j := range unfinished {
		if len(j.rec.History) == 0 { // it was an intent
			s.insert(j)
		}
		s.goOn(j)
	}
	return nil
}

// resume tells the target of a job that goes on. Nobody else has j as yet.
func (s *Service) resume(ctx context.Context, j *Job) {
	r, ok := s.target.(Resumer)
	if !ok {
		return
	}
	if err := s.guard("Resume", func() error { return r.Resume(ctx, j.request()) }); err != nil {
		s.o.Logger.Warn("purge: a job is resumed without what its target knew of it", "job", j.rec.ID, "error", err)
	}
}

// goOn has a job from the log worked on. s.mu is held.
func (s *Service) goOn(j *Job) {
	if len(j.rec.History) == 0 {
		s.reach(j, Received, j.rec.Date)
	} else {
		s.counts.active[j.rec.State]++
	}
	s.enqueue(j)
}

// acceptAgain has the target accept an intent. A refusal drops it, for nobody was promised anything. Without
// a job, there is nothing left to be done with it here.
func (s *Service) acceptAgain(ctx context.Context, k kept) (*Job, error) {
	j := s.restore(k)
	err := s.accept(ctx, j.request())
	switch {
	case err == nil:
	case isRefusal(err):
		s.o.Logger.Warn("purge: a purge that was never acknowledged is refused after the restart, and dropped", "job", k.Record.ID, "error", err)
		return nil, s.write(nil, []string{k.Record.ID})
	default:
		return nil, fmt.Errorf("purge: the log %s: job %s is not accepted again: %w", s.o.Log, k.Record.ID, err)
	}
	j.rec.Date = timestamp()
	k = j.kept(Received, j.rec.Date)
	if err := s.save(k); errors.Is(err, ErrNotOwner) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("purge: %w", err)
	}
	j.saved = k.Seq
	return j, nil
}

// restore makes a job of what the log has of it.
func (s *Service) restore(k kept) *Job {
	j := newJob(s, k.Record.ID, Request{Scope: Original, Paths: k.Record.paths()}, k.Record.Date, nil)
	j.rec, j.seq, j.saved, j.resumed = k.Record, k.Seq, k.Seq, true
	j.size += nodeBytes * int64(len(k.Record.Nodes))
	if j.rec.State.Final() {
		j.attempt.end(j.snapshot())
	} else {
		if s.o.Nodes == nil {
			j.rec.Nodes = nil
		}
		j.rec.CDNs = s.cdnResults(j.rec.CDNs, j.rec.flushedPaths()) // there may be others now
	}
	return j
}

// request returns the purge that j is, as far as it is left to do. s.mu is held, or nobody else has j.
func (j *Job) request() Request {
	r := Request{Scope: j.rec.Scope, Source: j.rec.Source, Mode: j.rec.Mode, Tenant: j.rec.Tenant, Cause: j.rec.Cause}
	if r.Scope == All {
		return r
	}
	for _, p := range j.rec.Paths {
		switch {
		case p.State.Final():
		case r.Scope == Tag:
			r.Tags = append(r.Tags, p.Path)
		default:
			r.Paths = append(r.Paths, p.Path)
		}
	}
	return r
}

func (r Record) paths() []string {
	paths := make([]string, len(r.Paths))
	for i, p := range r.Paths {
		paths[i] = p.Path
	}
	return paths
}
