package purge

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// # Whose job it is, and why each comes to one end
//
// The owner of a job in a [SharedLog] is who wrote it last, and who is not the owner cannot write. The owner alone works on it, and an end is
// saved before it is reached, for as long as that takes. So when a node that was thought lost comes back, or was never away, what it has in hand
// ends with a write that is refused, and it waits for the end that the new owner saves:
//
//	a: accepted ▶ works … (cut off) … works ▶ its end: refused ▶ follows ▶ sees b's end
//	b:                       Lost(a) ▶ Take ▶ works ▶ its end: saved
//
// Paths may be purged by both, which does no harm. A watch may tell late of what was written before a Take, so it alone takes no job away, unless what
// it shows goes beyond what was saved here.

// sweepEvery is how often, on average, nodes that are lost are looked for.
const sweepEvery = time.Second

// maxTaken is the most jobs that are taken in one sweep. What is left has its turn in the next.
const maxTaken = 100

// maxOrphans is the most records of other nodes that are remembered to be dropped from the log, should their nodes be lost. Those beyond stay in it until a
// restart.
const maxOrphans = 1000

// An orphan is the record of a job of another node that is kept here no longer.
type orphan struct{ id, owner string }

// join begins to follow the other nodes' jobs, and to look for nodes that are lost.
func (s *Service) join() {
	s.behind = make(chan struct{})
	watch := make(chan struct{})
	go func() {
		defer close(watch)
		for s.ctx.Err() == nil {
			s.guardEnd(func() { s.shared.Watch(s.ctx, s.changed) })
			s.sleep(sweepEvery) // it is not to return before
		}
	}()
	go func() {
		defer close(s.behind)
		again := make(map[string]bool)
		for s.ctx.Err() == nil {
			s.sleep(sweepEvery/2 + rand.N(sweepEvery))
			s.guardEnd(func() { again = s.sweep(again) })
		}
		<-watch
	}()
}

// guardEnd is guard for what has no error, and may end its goroutine.
func (s *Service) guardEnd(f func()) {
	through := make(chan struct{})
	go func() {
		defer close(through)
		s.guard("SharedLog", func() error { f(); return nil })
	}()
	<-through
}

// sawOther has later IDs be greater than id, if the clock it was made by is one to follow.
func (s *Service) sawOther(id string) {
	if !isID(id) {
		return
	}
	s.mu.Lock()
	followed := s.ids.sawOther(id, time.Now())
	_, known := s.unread[id]
	if !followed && !known && len(s.unread) < maxOrphans {
		s.unread[id] = struct{}{}
	}
	s.mu.Unlock()
	if !followed && !known {
		s.o.Logger.Warn("purge: a job has an ID that is too far ahead of this node's clock, and its order among others is wrong", "job", id, "most", maxAhead)
	}
}

// cannotRead logs, once, that another's entry is left alone.
func (s *Service) cannotRead(e LogEntry, err error) {
	s.mu.Lock()
	_, known := s.unread[e.ID]
	if !known && len(s.unread) < maxOrphans {
		s.unread[e.ID] = struct{}{}
	}
	s.mu.Unlock()
	if !known {
		s.o.Logger.Error("purge: a job of another node cannot be read, and is left alone", "job", clip(e.ID), "node", e.Owner, "error", err)
	}
}

// loadFollowed keeps a job of another node that the log has, as far as there is room. Nobody else has s as yet.
func (s *Service) loadFollowed(e LogEntry, k kept) {
	s.sawOther(e.ID)
	if !k.Accepted {
		return
	}
	j := s.newFollowed(k, e.Owner)
	if s.bytes+j.size > s.o.MaxBytes || len(s.log) >= s.o.MaxLog {
		s.unfollow(j)
		return
	}
	s.followed++
	s.log = append(s.log, j) // as load has it, newest first
	s.byID[e.ID] = j
	s.bytes += j.size
}

// newFollowed makes a job of another node.
func (s *Service) newFollowed(k kept, owner string) *Job {
	j := newJob(nil, k.Record.ID, Request{Scope: Original, Paths: k.Record.paths()}, k.Record.Date, nil)
	j.s, j.followed, j.owner = s, true, owner
	j.size += nodeBytes * int64(len(k.Record.Nodes))
	j.rec, j.seq, j.saved = k.Record, k.Seq, k.Seq
	if j.rec.State.Final() {
		j.attempt.end(j.snapshot())
	}
	return j
}

// unfollow ends the wait for a followed job that is no longer kept here. Its record stays in the log until its owner drops it, or is lost.
// s.mu is held.
func (s *Service) unfollow(j *Job) {
	if !j.ended() && !j.suspended {
		j.suspended = true
		j.attempt.err = ErrNotFound
		j.attempt.end(j.snapshot())
	}
	if j.rec.State.Final() && j.owner != "" && len(s.orphans) < maxOrphans {
		s.orphans = append(s.orphans, orphan{j.rec.ID, j.owner})
	}
}

// ended reports whether nobody has to wait for j's attempt. s.mu is held.
func (j *Job) ended() bool {
	select {
	case <-j.attempt.over:
		return true
	default:
		return false
	}
}

// changed is told of what another node has put.
func (s *Service) changed(e LogEntry) {
	k, err := parseEntry(e)
	if err != nil {
		s.cannotRead(e, err)
		return
	}
	if e.Owner == s.self {
		return
	}
	s.sawOther(e.ID)
	if !k.Accepted {
		return
	}
	s.mu.Lock()
	defer s.unlock()
	if s.stopped {
		return
	}
	j := s.byID[e.ID]
	switch {
	case j == nil && len(s.log) >= s.o.MaxLog && e.ID < s.log[0].rec.ID && k.Record.State.Final():
		return // it would be the first to be dropped
	case j == nil:
		j = s.newFollowed(k, e.Owner)
		s.followed++
		s.insert(j)
		s.tellFollowed(j, len(k.Record.History))
		return
	case !j.followed && k.Seq <= j.saved, j.suspended:
		return
	case j.retrying:
		s.doubtful[e.ID] = struct{}{}
		return
	case !j.followed:
		s.lose(j)
	}
	j.owner = e.Owner
	s.refresh(j, k)
}

// refresh brings a followed job to where the log has it. s.mu is held.
func (s *Service) refresh(j *Job, k kept) {
	r := k.Record
	switch {
	case len(r.Paths) != len(j.rec.Paths):
		return
	case j.lost && k.Seq <= j.saved:
		return // of before
	case j.lost:
		// What was reached here and is not in the log has numbers that its new owner gives anew.
		if k.Seq != j.seq || r.State != j.rec.State || r.Attempt != j.rec.Attempt {
			j.shift = max(0, j.seq+1-k.Seq)
		}
		j.lost = false
	case k.Seq+j.shift < j.seq:
		return
	}
	news := min(k.Seq+j.shift-j.seq, len(r.History))
	if !r.State.Final() && j.ended() || r.State.Final() && j.ended() && news > 0 {
		j.attempt = &attempt{over: make(chan struct{})} // a retry
	}
	size := int64(nodeBytes * (len(r.Nodes) - len(j.rec.Nodes)))
	j.size += size
	s.bytes += size
	// The rest never changes, and is read without s.mu.
	j.rec.Date, j.rec.Attempt, j.rec.State = r.Date, r.Attempt, r.State
	j.rec.Paths, j.rec.Nodes, j.rec.CDNs, j.rec.History = r.Paths, r.Nodes, r.CDNs, r.History
	j.shared = false
	j.seq, j.saved = k.Seq+j.shift, k.Seq
	s.tellFollowed(j, news)
	if r.State.Final() && !j.ended() {
		j.attempt.end(j.snapshot())
	}
}

// tellFollowed makes events of the latest n states of a followed job, with the record as it stands. s.mu is held.
func (s *Service) tellFollowed(j *Job, n int) {
	h := j.rec.History
	for i := len(h) - n; i < len(h); i++ {
		e := Event{ID: j.rec.ID, Seq: j.seq - (len(h) - 1 - i), Time: h[i].Time, Attempt: h[i].Attempt, State: h[i].State, Record: j.snapshot()}
		s.stream.add(e, j.size, s.o.MaxBytes/4)
		s.notify(j, notice{e, false})
	}
}

// lose makes j another node's. s.mu is held.
func (s *Service) lose(j *Job) {
	if j.followed || j.suspended {
		return
	}
	if !j.rec.State.Final() {
		s.counts.active[j.rec.State]--
		s.live -= j.size
		if j.expiry != nil {
			j.expiry.Stop()
		}
		s.unwait(j)
	}
	j.followed, j.lost, j.owner = true, true, ""
	s.doubtful[j.rec.ID] = struct{}{} // its new owner may have been seen before
	s.followed++
	s.counts.takenAway++
	if j.cancel != nil && !slices.ContainsFunc(j.all(), func(k *Job) bool { return !k.over() }) {
		j.cancel()
	}
	s.o.Logger.Info("purge: another node has taken a job of this one", "job", j.rec.ID)
}

// own makes a followed job this node's, as the log has it. s.mu is held.
func (s *Service) own(j *Job, k kept) {
	j.lost = false
	j.shift = max(j.shift, j.seq-k.Seq)
	s.refresh(j, k)
	j.followed, j.owner, j.shift, j.resumed = false, "", 0, true
	s.followed--
}

func (s *Service) isFollowed(j *Job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return j.followed
}

// disband has those who share the work of j, which is another node's now, go on by themselves. s.mu is held.
func (s *Service) disband(j *Job) {
	group := j.group
	j.group, j.busy = nil, false
	for _, k := range group {
		k.busy = false
		switch {
		case k.over():
		case s.ctx.Err() != nil:
			s.cut(k)
		default:
			s.live -= k.size // enqueue counts it
			s.enqueue(k)
		}
	}
}

// lookUp returns the entry of a job as the log has it.
func (s *Service) lookUp(id string) (e LogEntry, k kept, err error) {
	err = s.guard("Log.Entries", func() error {
		for found, err := range s.shared.Entries(nextID(id)) {
			if err != nil {
				return fmt.Errorf("purge: the log %s: %w", s.shared, err)
			}
			if found.ID == id {
				e = found
			}
			break
		}
		return nil
	})
	if err == nil && e.ID == "" {
		err = ErrNotFound
	}
	if err == nil {
		if k, err = parseEntry(e); err != nil {
			err = fmt.Errorf("purge: the log %s: job %s %w", s.shared, id, err)
		}
	}
	return e, k, err
}

// claim makes the job of another node that is at its end, and has failed, this node's, so that it can be retried.
func (s *Service) claim(id string) error {
	if s.shared == nil {
		return nil
	}
	s.mu.Lock()
	j := s.byID[id]
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	if j == nil || !j.followed || j.retrying || j.busy || j.rec.State == Done || !j.rec.State.Final() {
		s.mu.Unlock()
		return nil // Retry says what is wrong
	}
	j.retrying = true
	s.mu.Unlock()

	e, k, err := s.lookUp(id)
	switch {
	case err != nil:
	case !k.Record.State.Final():
		err = ErrNotOwner // somebody else has it go on already
	case k.Record.State == Done:
		err = ErrNothingFailed
	case e.Owner != s.self:
		err = s.guard("SharedLog.Take", func() error { return s.shared.Take(e) })
	}

	s.mu.Lock()
	defer s.unlock()
	j.retrying = false
	switch {
	case errors.Is(err, ErrNotOwner):
		s.doubtful[id] = struct{}{}
		return ErrNotOwner
	case err != nil:
		return err
	case s.stopped:
		return ErrClosed
	}
	s.own(j, k)
	return nil
}

// sweep takes over the unfinished jobs of nodes that are lost. again has the IDs of jobs that are this node's by the log and were not here
// in the sweep before; it returns those of now.
func (s *Service) sweep(again map[string]bool) map[string]bool {
	var jobs []LogEntry
	waited := false
	next := make(map[string]bool)
	for e := range s.shared.Unfinished() {
		if len(jobs) == maxTaken {
			break
		}
		switch {
		case e.Final:
		case e.Owner == s.self:
			if s.isStray(e.ID) {
				if len(next) < maxOrphans {
					next[e.ID] = true
				}
				if again[e.ID] {
					jobs = append(jobs, e)
				}
			}
		case s.o.Nodes.Lost(e.Owner):
			jobs = append(jobs, e)
		}
	}
	for _, e := range jobs {
		if e.Owner != s.self && !waited { // others have seen the same in this moment
			waited = true
			s.sleep(rand.N(sweepEvery / 4))
		}
		if !s.takeOver(e.ID, e.Owner) {
			break
		}
	}
	s.lookUpDoubtful()
	s.dropOrphans()
	return next
}

// lookUpDoubtful sees what others have made of jobs, where the watch may have told it when it could not be taken up.
func (s *Service) lookUpDoubtful() {
	s.mu.Lock()
	ids := slices.Collect(maps.Keys(s.doubtful))
	s.mu.Unlock()
	for _, id := range ids {
		e, _, err := s.lookUp(id)
		if err != nil && !errors.Is(err, ErrNotFound) {
			continue
		}
		s.mu.Lock()
		delete(s.doubtful, id)
		if j := s.byID[id]; err != nil && j != nil && j.lost && !j.rec.State.Final() { // nobody will say how it ends
			s.trimWhere(func(k *Job) (more, drop bool) { return true, k == j })
		}
		s.unlock()
		if err == nil {
			s.changed(e)
		}
	}
}

// isStray reports whether an unfinished job that is this node's, by the log, is not worked on: a write or a Take of it came back as an error
// and was none, or what had it here before it was lost had not let go of it.
func (s *Service) isStray(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, making := s.making[id]
	j := s.byID[id]
	return !making && !slices.Contains(s.dropped, id) && (j == nil || (j.followed || j.rec.State.Final()) && !j.retrying && !j.busy)
}

// takeOver goes on with an unfinished job as a restart would, once it is this node's. It reports whether there is room for more.
func (s *Service) takeOver(id, owner string) bool {
	e, k, err := s.lookUp(id)
	switch {
	case errors.Is(err, ErrNotFound):
		return true
	case err != nil && e.ID != "":
		s.cannotRead(e, err)
		return true
	case err != nil:
		s.o.Logger.Warn("purge: a job of a node that is lost could not be read", "error", err)
		return true
	case e.Final || e.Owner != owner:
		return true
	}
	size := jobBytes(Request{Paths: k.Record.paths()})
	s.mu.Lock()
	if s.admit(size) != nil {
		s.mu.Unlock()
		return false
	}
	if old := s.byID[e.ID]; old != nil && (old.busy || old.retrying) { // what has it here is to let go of it before
		s.mu.Unlock()
		return true
	}
	s.admitted++ // and Close waits
	s.live += size
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.admitted--
		s.live -= size
		s.unlock()
	}()

	if owner == s.self { // what had it here may have let go of it just now, with an end
		if e, k, err = s.lookUp(id); err != nil || e.Final || e.Owner != s.self {
			return true
		}
	} else if !s.o.Nodes.Lost(owner) {
		return true
	} else if err := s.guard("SharedLog.Take", func() error { return s.shared.Take(e) }); errors.Is(err, ErrNotOwner) {
		return true
	} else if err != nil {
		s.o.Logger.Warn("purge: a job of a node that is lost could not be taken over", "job", e.ID, "node", e.Owner, "error", err)
		return true
	}
	s.o.Logger.Info("purge: goes on with a job of a node that is lost", "job", e.ID, "node", e.Owner)

	var j *Job
	if k.Accepted {
		j = s.restore(k)
	} else if j, err = s.acceptAgain(s.ctx, k); err != nil {
		s.o.Logger.Warn("purge: the purge of a node that is lost is not accepted again, and the target is asked later", "error", err)
		return true
	}
	if j == nil {
		return true
	}
	s.resume(s.ctx, j)

	s.mu.Lock()
	defer s.unlock()
	if s.stopped {
		return false // it is this node's in the log
	}
	if old := s.byID[e.ID]; old != nil {
		if !old.followed && k.Seq <= old.saved {
			return true // it was taken and nothing was made of it: what is under way here is what the log has
		}
		s.lose(old)
		if old.busy || old.retrying || old.suspended {
			return true // it is a stray
		}
		s.own(old, kept{Accepted: true, Seq: j.seq, Record: j.rec})
		j = old
	} else {
		s.insert(j)
	}
	s.counts.takenOver++
	s.goOn(j)
	return true
}

// dropOrphans drops from the log the records that are kept here no longer, and whose nodes are lost.
func (s *Service) dropOrphans() {
	s.mu.Lock()
	orphans := s.orphans
	s.orphans = nil
	s.mu.Unlock()
	var drop []string
	for _, o := range orphans {
		if s.ctx.Err() != nil || !s.o.Nodes.Lost(o.owner) { // then it drops them itself
			continue
		}
		e, _, err := s.lookUp(o.id)
		if err != nil || !e.Final || e.Owner != o.owner {
			continue
		}
		if s.guard("SharedLog.Take", func() error { return s.shared.Take(e) }) == nil {
			drop = append(drop, o.id)
		}
	}
	if len(drop) == 0 {
		return
	}
	if err := s.write(nil, drop); err != nil && !errors.Is(err, ErrClosed) {
		s.o.Logger.Warn("purge: old jobs could not be dropped from the log", "jobs", len(drop), "error", err)
	}
}
