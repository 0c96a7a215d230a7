package purge

import (
	"container/list"
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"slices"
	"time"
)

// A Job is a purge that has been accepted. Its methods may be called from many
// goroutines at once, and also after its record has left the log.
type Job struct {
	s        *Service
	onStatus func(Event)
	size     int64 // of memory, about

	// The rest is guarded by s.mu.

	rec    Record
	shared bool // rec.Paths is part of a snapshot, and not to be written to
	seq    int  // of the latest event

	suspended bool // Close left it unfinished, in the log
	retrying  bool // Retry is saving its next attempt

	// With a SharedLog.
	followed bool   // another node's: shown here and not worked on
	owner    string // of a followed job, where that is known
	busy     bool   // a worker has it, or what comes after one; also while it is lost, until that has let go
	resumed  bool   // it was accepted by another process, or may have been
	lost     bool   // it was this node's, and what its new owner made of it has not been seen yet
	saved    int    // the seq that the log has, from here
	shift    int    // of seq here against that in the log, once it was lost

	attempt *attempt
	expiry  *time.Timer // while it waits

	work    [sha256.Size]byte // of the attempt, once it waits
	sharers []*Job            // while it waits: they share its work, first come first
	lead    *Job              // while it waits: the job whose work it shares
	group   []*Job            // at work: they share its work

	cancel context.CancelFunc // while nodes are asked and CDNs are told: ends that

	events  []notice      // not yet told
	telling bool          // a teller has it, or it is in line for one
	inLine  *list.Element // its place, while it is in line
}

// An attempt is a run of a job from Received to a final state.
type attempt struct {
	over chan struct{} // closed at its end
	rec  Record        // as of then; set before over is closed
	err  error         // why it has no end; as rec
}

func (a *attempt) end(r Record) {
	a.rec = r
	close(a.over)
}

// jobBytes returns about how much memory a job for r takes: the strings, its
// history, and per path the result in a few snapshots and a reason.
func jobBytes(r Request) int64 {
	n := 4 << 10
	for _, p := range r.names() {
		n += 512 + len(p) // with 16 for each of a few CDNs
	}
	return int64(n)
}

func newJob(s *Service, id string, r Request, now time.Time, onStatus func(Event)) *Job {
	j := &Job{
		s:        s,
		onStatus: onStatus,
		size:     jobBytes(r),
		attempt:  &attempt{over: make(chan struct{})},
		rec: Record{
			ID:      id,
			Scope:   r.Scope,
			Source:  r.Source,
			Mode:    r.Mode,
			Tenant:  r.Tenant,
			Cause:   r.Cause,
			Date:    now.UTC().Truncate(time.Millisecond),
			Attempt: 1,
		},
	}
	paths := r.names()
	if r.Scope == All {
		paths = []string{"/*"}
		if r.Source != "" {
			paths[0] = "/" + r.Source + "/*"
		}
	}
	if s != nil {
		j.rec.CDNs = s.cdnResults(nil, nil)
	}
	j.rec.Paths = make([]PathResult, len(paths))
	for i, p := range paths {
		j.rec.Paths[i] = PathResult{Path: p, State: Received}
	}
	return j
}

// restart makes the job's next attempt. s.mu is held.
func (j *Job) restart() {
	j.attempt = &attempt{over: make(chan struct{})}
	j.rec.Attempt++
	j.rec.State = "" // not final: the attempt's first state is reached next
	paths := j.edit()
	for i := range paths {
		if p := &paths[i]; p.failed() {
			p.State, p.Outcome, p.Reason = Received, "", ""
		}
	}
	for i := range j.rec.Nodes {
		if n := &j.rec.Nodes[i]; n.State != Done {
			n.State, n.Outcome, n.Reason = Received, "", ""
		}
	}
	if j.s.o.Nodes == nil {
		j.rec.Nodes = nil
	}
	j.rec.CDNs = j.s.cdnResults(j.rec.CDNs, j.rec.flushedPaths())
	for i := range j.rec.CDNs {
		if c := &j.rec.CDNs[i]; c.failed() {
			c.State = Received
		}
	}
}

// snapshot returns the record for keeping: it shares its slices with the job, and
// is cloned before it is given to a caller. s.mu is held.
func (j *Job) snapshot() Record {
	j.shared = true
	return j.rec
}

// edit returns the results of paths for writing; those of nodes and CDNs may then be written as well, but for what is in their slices. s.mu
// is held.
func (j *Job) edit() []PathResult {
	if j.shared {
		j.rec.Paths = slices.Clone(j.rec.Paths)
		j.rec.Nodes = slices.Clone(j.rec.Nodes)
		j.rec.CDNs = slices.Clone(j.rec.CDNs)
		j.shared = false
	}
	return j.rec.Paths
}

// unfinished reports whether there is something still to be done. s.mu is held.
func (j *Job) unfinished() bool {
	return slices.ContainsFunc(j.rec.Paths, func(p PathResult) bool { return !p.State.Final() }) ||
		j.rec.nodesLeft() ||
		slices.ContainsFunc(j.rec.CDNs, func(c CDNResult) bool { return c.State == FlushingCDN })
}

// over reports whether there is nothing to be done for j: it is at its end, left to the next start, or another node's. s.mu is held.
func (j *Job) over() bool { return j.rec.State.Final() || j.suspended || j.followed }

// ID returns the job's ID, a UUID.
func (j *Job) ID() string { return j.rec.ID } // never written to

// Record returns the job as it stands. The caller owns the record.
func (j *Job) Record() Record {
	j.s.mu.Lock()
	r := j.snapshot()
	j.s.mu.Unlock()
	return r.clone()
}

// Wait waits for the end of the attempt that is under way and returns the record as
// of then, at once if the job is at its end. The error is nil however the job ended:
// [Record.Err] says whether it is done. If ctx ends first, Wait returns the
// record as it stands, and ctx's error; the job goes on.
//
// Where a service with a Log closes before, the error is ErrClosed, and the
// job goes on when the log is next opened. Wait does not wait for callbacks.
//
// The end of a job of another node is waited for as that of one's own, until its record is dropped
// to make room: then the error is ErrNotFound.
func (j *Job) Wait(ctx context.Context) (Record, error) {
	j.s.mu.Lock()
	a := j.attempt
	j.s.mu.Unlock()
	select {
	case <-a.over:
		return a.rec.clone(), a.err
	default:
	}
	select {
	case <-a.over:
		return a.rec.clone(), a.err
	case <-ctx.Done():
		return j.Record(), ctx.Err()
	}
}

// maxBackoff is the longest wait between two tries of a path.
const maxBackoff = 30 * time.Second

// run takes a job from Preparing to its end, on a worker.
//
// The paths are tried in rounds, each with those that failed in the one before, so that a
// path that keeps failing delays the others of its job by no wait of its own.
func (s *Service) run(j *Job) {
	s.mu.Lock()
	for _, k := range j.all() {
		k.busy = true
	}
	var todo []int // indexes of paths
	for i, p := range j.rec.Paths {
		if !p.State.Final() {
			todo = append(todo, i)
		}
	}
	attempted := todo
	resumed := j.rec.State
	if j.rec.State == Received {
		resumed = ""
		for _, k := range j.all() {
			s.reach(k, Preparing, timestamp())
		}
	} else { // it came further before a restart, and some paths to their end
		attempted = nil
		for i := range j.rec.Paths {
			attempted = append(attempted, i)
		}
	}
	for _, k := range j.all() {
		if k.rec.State == Preparing {
			s.saveReach(k, FlushingServers)
		}
	}
	s.unlock()
	unsaved := 0 // paths at their end since j was last saved

	wait := s.o.Backoff
	for try := 1; len(todo) > 0 && s.ctx.Err() == nil && !s.isFollowed(j); try++ {
		if try > 1 {
			s.sleep(wait/2 + rand.N(wait/2+1))
			wait = min(2*wait, maxBackoff)
		}
		var again []int
		for _, i := range todo {
			if s.ctx.Err() != nil || !s.flush(j, i, try == s.o.Tries) {
				again = append(again, i)
				continue
			}
			if unsaved++; unsaved == saveEvery {
				s.saveProgress(j)
				unsaved = 0
			}
		}
		todo = again
	}

	s.mu.Lock()
	defer s.unlock()
	if j.followed { // what has been lost is its part: others who share the work may not have been
		s.disband(j)
		return
	}
	if len(todo) > 0 {
		for _, k := range j.all() {
			if k.followed {
				continue
			}
			if s.o.Log == nil {
				s.finish(k, whyClosed)
				continue
			}
			left := k.kept(k.rec.State, timestamp())
			s.cut(k)
			s.mu.Unlock()
			s.saveOrWarn(k, left)
			s.mu.Lock()
		}
		return
	}
	// The rings after this one: nodes hear of all, as what has not changed here may have on them, and CDNs of what was flushed.
	var flushed, done []string
	for _, i := range attempted {
		p := &j.rec.Paths[i]
		if p.flushed() {
			flushed = append(flushed, p.Path)
		}
		if p.State == Done {
			done = append(done, p.Path)
		}
	}
	parts := s.partsOf(j, flushed, resumed)
	if paths := s.ringPaths(j, done, resumed); len(paths) > 0 && !s.stopped {
		s.flushing++
		go s.tellNodes(j, s.newRing(j, paths, parts))
		return
	}
	s.outward(j, len(flushed) > 0, parts)
}

// outward takes j on from where it is flushed, here and on other nodes, to the CDNs or to its end; some says whether this attempt flushed anything.
// s.mu is held.
func (s *Service) outward(j *Job, some bool, parts map[string][]string) {
	if some || len(parts) > 0 {
		for _, k := range j.all() {
			if k.over() {
				continue
			}
			k.edit()
			for i := range k.rec.CDNs {
				if c := &k.rec.CDNs[i]; parts[c.Name] != nil {
					c.State, c.Outcome, c.Reason, c.Items, c.Purged = FlushingCDN, "", "", 0, 0
				}
			}
			switch {
			case k.rec.State == FlushingCDN:
			case len(parts) > 0:
				s.saveReach(k, FlushingCDN)
			default:
				s.reach(k, FlushingCDN, timestamp())
			}
		}
	}
	if len(parts) > 0 && !s.stopped {
		s.flushing++
		go s.tellCDNs(j, parts)
		return
	}
	all := j.all()
	j.group = nil // while one is saved, another may be retried
	for _, k := range all {
		s.finish(k, "")
		k.busy = false
	}
}

// saveEvery is how many paths may be done again after a restart. A write takes milliseconds on a disk.
const saveEvery = 100

// saveProgress saves what has become of j's paths.
func (s *Service) saveProgress(j *Job) {
	if s.o.Log == nil {
		return
	}
	s.mu.Lock()
	if j.followed {
		s.mu.Unlock()
		return
	}
	k := j.kept(j.rec.State, time.Time{})
	s.mu.Unlock()
	s.saveOrWarn(j, k)
}

// flush has the target purge one path of j, and reports whether the path is at its
// end. With last, it is at its end also if it fails.
func (s *Service) flush(j *Job, i int, last bool) bool {
	s.mu.Lock()
	if j.followed {
		s.mu.Unlock()
		return false
	}
	p := &j.edit()[i]
	p.State = FlushingServers
	j.share(i, PathResult{})
	path, scope, source, mode := p.Path, j.rec.Scope, j.rec.Source, j.rec.Mode
	s.mu.Unlock()

	limit := s.o.PathTimeout
	if scope != Original {
		limit = s.o.AllTimeout
	}
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	defer cancel()
	var res PathResult
	var err error
	switch scope {
	case All:
		err = s.guard("PurgeAll", func() (err error) { res, err = s.target.PurgeAll(ctx, source, mode); return })
	case Original:
		err = s.guard("PurgePath", func() (err error) { res, err = s.target.PurgePath(ctx, path, mode); return })
	default:
		err = s.guard("PurgeSelection", func() (err error) {
			t, ok := s.target.(Selector)
			if !ok {
				return Permanent(errNoSelector(scope)) // the log is of a target that was one
			}
			res, err = t.PurgeSelection(ctx, scope, path, mode)
			return err
		})
	}
	var why string
	if err != nil {
		why = reason(err.Error())
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if j.followed {
		return false
	}
	if j.over() {
		return true // cut short by Close
	}
	defer j.share(i, res)
	s.counts.removed.add(res)
	defer func() {
		if p.State.Final() {
			s.counts.paths[p.Outcome]++
		}
	}()
	p = &j.edit()[i]
	p.add(res)
	switch {
	case err == nil:
		p.done(res.Outcome, mode)
	case s.ctx.Err() != nil:
		return false // the error is most likely only that
	case last || isPermanent(err):
		p.State, p.Outcome, p.Reason = Error, Failed, why
	default:
		p.Reason = why
		return false
	}
	return true
}

// sleep waits for d, or until the service's work is cut short.
func (s *Service) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.ctx.Done():
	}
}
