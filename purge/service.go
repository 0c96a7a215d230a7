package purge

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// ServiceOptions are the limits of a [Service]. In every number zero or less means
// the default, unless it says otherwise, for nothing here may be without bound.
type ServiceOptions struct {
	// Workers is the most jobs at work at once. Zero means 4.
	Workers int

	// MaxQueued is the most jobs that wait for a worker; a purge beyond them
	// is refused with ErrBusy. Zero means 1,000.
	MaxQueued int

	// MaxFlushing is the most jobs that wait for other nodes and for CDNs, about: while there are more, purges are refused with ErrBusy. They are in force here, and
	// keep no worker, so there may be more of them. Zero means ten times MaxQueued.
	MaxFlushing int

	// MaxPaths is the most distinct paths or tags in one job. Zero means 1,000.
	MaxPaths int

	// Limits says what a tenant may ask for, beside the limits here. It is called with the
	// name that a purge has as its Tenant, from many goroutines at once. Zero means that tenants have no
	// limits of their own.
	Limits func(tenant string) Limits

	// MaxLog is the most records that are kept. Beyond it the oldest job that has
	// finished is forgotten; one that waits or is at work never is.
	// Zero means 10,000.
	MaxLog int

	// MaxAge is how long records are kept: those of jobs accepted before that
	// are forgotten, once finished. Zero means that age does not matter.
	MaxAge time.Duration

	// MaxBytes is about the most memory that jobs and their records take: the
	// log is shortened to stay within it, and where the jobs that
	// wait would take more by themselves, a purge is refused with ErrBusy. A
	// record is reckoned at 4 KiB and half a KiB for each path. Zero means 64 MiB.
	MaxBytes int64

	// MaxWait is the longest a job waits for a worker; after it the job
	// ends as Expired. Zero means an hour. Negative means that it waits for ever.
	MaxWait time.Duration

	// Tries is how often one attempt calls the Target for a path that fails
	// before it gives the path up. Zero means 4.
	Tries int

	// Backoff is how long a job waits before it tries its failed paths a second
	// time. The wait doubles with each try, to 30 seconds at most, and each is
	// cut short at random by up to a half. Zero means 200 milliseconds.
	Backoff time.Duration

	// PathTimeout is the longest one call of PurgePath may take.
	// Zero means a minute.
	PathTimeout time.Duration

	// AllTimeout is the longest one call of PurgeAll or PurgeSelection may take. Zero means an hour.
	AllTimeout time.Duration

	// MaxCallbacks is the most callbacks that run at once. Where so many do not
	// return, the events of further jobs wait, without delaying the jobs,
	// until their records are dropped from the log. Zero means 256.
	MaxCallbacks int

	// CloseTimeout is how long Close lets jobs and callbacks go on before it
	// cuts them short. Zero means 5 seconds. Negative means not at all.
	CloseTimeout time.Duration

	// Nodes are the other nodes of a cluster, which carry out what a job has done here before any CDN hears of it. The job ends as
	// Error where one of them fails, and Retry has all do it again. Zero means that there are none.
	Nodes Nodes

	// CDNs are the caches further out, which a job tells of what it has flushed. It ends as ErrorCDNNode where one of them fails, and
	// Retry tells them alone again. Zero means that there are none.
	CDNs CDNs

	// Log keeps jobs and records, so that a restart forgets none; see [Open]. The
	// caller closes it, after the service. Where it is a [SharedLog], the jobs of all nodes are seen here, and Nodes is needed; see
	// "Several nodes" in the package comment. Zero means that they live in memory.
	Log Log

	// OnStatus is called with every state that any job reaches, as that of
	// [Options] is, and also for jobs of before a restart and those taken over from other nodes. It is for jobs of this node alone,
	// where [Service.Events] has those of all. Zero means that nobody is told.
	OnStatus func(Event)

	// Logger is told of panics, and of events that nobody took. Zero means
	// that nothing is logged.
	Logger *slog.Logger
}

// closeGrace is how long Close waits for calls whose context has ended to return.
const closeGrace = time.Second

// withDefaults returns a copy of o in which every field is set.
func (o *ServiceOptions) withDefaults() ServiceOptions {
	var c ServiceOptions
	if o != nil {
		c = *o
	}
	atLeastOne(&c.Workers, 4)
	atLeastOne(&c.MaxQueued, 1000)
	atLeastOne(&c.MaxFlushing, 10*c.MaxQueued)
	atLeastOne(&c.MaxPaths, 1000)
	atLeastOne(&c.MaxLog, 10_000)
	atLeastOne(&c.MaxBytes, 64<<20)
	atLeastOne(&c.Tries, 4)
	atLeastOne(&c.Backoff, 200*time.Millisecond)
	atLeastOne(&c.PathTimeout, time.Minute)
	atLeastOne(&c.AllTimeout, time.Hour)
	atLeastOne(&c.MaxCallbacks, 256)
	if c.MaxWait == 0 {
		c.MaxWait = time.Hour
	}
	if c.CloseTimeout == 0 {
		c.CloseTimeout = 5 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func atLeastOne[T ~int | ~int64](n *T, zero T) {
	if *n <= 0 {
		*n = zero
	}
}

// A Service takes purges of one [Target] and sees them through. Its methods may be
// called from many goroutines at once.
type Service struct {
	target Target
	o      ServiceOptions
	shared SharedLog // o.Log, where it is one
	self   string    // of o.Nodes

	ctx    context.Context // of all work; ends when Close cuts it short
	cancel context.CancelFunc

	mu sync.Mutex // guards all below, and every Job; never held while calling out

	ids   idSource
	log   []*Job          // every job known, by ascending ID
	byID  map[string]*Job // the same
	bytes int64           // that all of them take
	live  int64           // of these, that unfinished ones take

	dropped []string // IDs that have left log and not yet o.Log

	queue    queue // waiting
	sharing  int   // waiting as well, with a job in the queue
	admitted int   // being accepted or saved, with a place in the queue
	saving   int   // out of the queue and at their end, as soon as that is saved
	working  int   // workers, each with a job
	flushing int   // jobs that wait for nodes or CDNs

	due     map[string]time.Time // by tenant, where it has a rate: when its next purge is due
	swept   int                  // of due, left after the last sweep
	pending map[string]int       // by tenant: jobs being accepted or saved

	followed int                 // in log: jobs of other nodes
	making   map[string]struct{} // with a SharedLog: IDs of submissions under way
	orphans  []orphan            // jobs of others that have left log
	unread   map[string]struct{} // IDs of entries of others that cannot be read, and were logged
	doubtful map[string]struct{} // IDs of jobs that others have taken, to be looked up

	stream stream // the latest events

	tellers int        // goroutines that call callbacks
	line    *list.List // of *Job: with events to tell, waiting for a teller
	untold  int        // events dropped and not yet logged

	counts counts

	closed  bool          // Close was called
	stopped bool          // Close has cut short what was left; nothing changes any more
	quiet   chan struct{} // closed when closed and nothing runs or waits
	gone    chan struct{} // closed when Close is through
	left    error         // what Close returns

	behind chan struct{} // with a SharedLog: closed when its watch and the sweep are through
}

// NewService returns a service that purges t and lives in memory. It must be
// closed. It panics if o has a Log, which may fail: that takes [Open].
func NewService(t Target, o *ServiceOptions) *Service {
	if o != nil && o.Log != nil {
		panic("purge: ServiceOptions.Log takes Open, not NewService")
	}
	return newService(t, o)
}

func newService(t Target, o *ServiceOptions) *Service {
	s := &Service{
		target: t,
		o:      o.withDefaults(),
		byID:   make(map[string]*Job),

		due:     make(map[string]time.Time),
		pending: make(map[string]int),
		making:  make(map[string]struct{}),
		unread:  make(map[string]struct{}),

		doubtful: make(map[string]struct{}),
		line:     list.New(),
		stream:   stream{news: make(chan struct{})},
		counts:   newCounts(),
		quiet:    make(chan struct{}),
		gone:     make(chan struct{}),
	}
	s.shared, _ = s.o.Log.(SharedLog)
	if s.o.Nodes != nil {
		s.self = s.o.Nodes.Self()
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Submit makes the purge r: it checks r, has the Target accept it, and leaves the
// rest to a worker. When it returns a job, the purge is in force.
//
// onStatus, if not nil, is called with each state the job reaches, from Received
// on, as [Options] says of OnStatus.
//
// ctx is for the submission alone: once Submit has returned, the job goes on
// without it. If ctx ends before, the purge is refused, though it may have taken
// effect in part or as a whole: nothing is promised of it but that this does no harm.
//
// The errors are a *[RequestError], a *[PathError], a *[LimitError], [ErrBusy], [ErrClosed], and
// what Target.Accept returned, wrapped; [ErrorCode] tells them apart.
func (s *Service) Submit(ctx context.Context, r Request, onStatus func(Event)) (*Job, error) {
	j, err := s.submit(ctx, r, onStatus)
	if err != nil {
		s.refuse(err)
	}
	return j, err
}

func (s *Service) submit(ctx context.Context, r Request, onStatus func(Event)) (*Job, error) {
	r, err := r.check(s.o.MaxPaths)
	if err != nil {
		return nil, err
	}
	if _, ok := s.target.(Selector); !ok && (r.Scope == Prefix || r.Scope == Tag) {
		return nil, errNoSelector(r.Scope)
	}

	limits := s.limits(r.Tenant)
	if limits.MaxPaths > 0 && len(r.names()) > limits.MaxPaths {
		return nil, &LimitError{Tenant: r.Tenant, Limit: "MaxPaths", Most: float64(limits.MaxPaths)}
	}

	// The place in the queue comes first: what is refused as one too many must
	// not have taken effect.
	size := jobBytes(r)
	s.mu.Lock()
	if err := s.admit(size); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	now := time.Now()
	if err := s.take(r.Tenant, limits, now); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	s.admitted++
	s.pending[r.Tenant]++
	s.live += size
	made := false
	j := newJob(s, s.ids.next(now), r, now, onStatus)
	if s.shared != nil {
		s.making[j.rec.ID] = struct{}{}
	}
	s.mu.Unlock()
	defer func() { // also if the target ends the goroutine
		s.mu.Lock()
		delete(s.making, j.rec.ID)
		s.admitted--
		s.noLonger(r.Tenant)
		s.live -= size
		if !made {
			s.giveBack(r.Tenant, limits)
		}
		s.unlock()
	}()

	// See [kept] for the order.
	if err := s.save(kept{Record: j.rec}); err != nil {
		return nil, fmt.Errorf("purge: not accepted: %w", err)
	}
	if err := s.accept(ctx, r); err != nil {
		if dropErr := s.write(nil, []string{j.rec.ID}); dropErr != nil {
			s.o.Logger.Warn("purge: what was refused may be enforced after a restart", "job", j.rec.ID, "error", dropErr)
		}
		if isRefusal(err) {
			return nil, err
		}
		return nil, fmt.Errorf("purge: not accepted: %w", err)
	}
	now = timestamp()
	j.rec.Date = now
	if err := s.save(j.kept(Received, now)); err != nil {
		return nil, fmt.Errorf("purge: not acknowledged, though it may be in force: %w", err)
	}

	s.mu.Lock()
	defer s.unlock()
	if s.stopped {
		return nil, ErrClosed
	}
	made = true
	if k := s.byID[j.rec.ID]; k != nil { // accepted, and already taken by another node, to which this one is lost
		s.counts.accepted[r.Scope]++
		k.onStatus = onStatus
		s.notify(k, notice{k.event(now), false})
		return k, nil
	}
	j.saved = 1
	s.counts.accepted[r.Scope]++
	s.insert(j)
	s.reach(j, Received, now)
	s.enqueue(j)
	return j, nil
}

// noLonger counts a job of tenant out of pending. s.mu is held.
func (s *Service) noLonger(tenant string) {
	if s.pending[tenant]--; s.pending[tenant] == 0 {
		delete(s.pending, tenant)
	}
}

// insert adds j to the log. Nearly always it is the newest. s.mu is held.
func (s *Service) insert(j *Job) {
	i, _ := slices.BinarySearchFunc(s.log, j.rec.ID, compareIDs)
	s.log = slices.Insert(s.log, i, j)
	s.byID[j.rec.ID] = j
	s.bytes += j.size
}

// timestamp is the time as records have it.
func timestamp() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// Retry makes a new attempt of the job for the paths that failed or expired.
// Those that are done keep their results. The job has the same ID, its attempt
// is one more, and its callback goes on being called.
//
// The Target is not asked to accept the purge anew: it is in force still, and
// what has been cached since is not touched on its account. To purge that as
// well, submit the purge again.
//
// A job of another node becomes this node's, unless that node or a third is at it: [ErrNotOwner].
//
// If ctx has ended, nothing is done. The errors are ctx's, [ErrNotFound],
// [ErrNotFinished], [ErrNothingFailed], a *[LimitError], [ErrBusy] and [ErrClosed].
func (s *Service) Retry(ctx context.Context, id string) (*Job, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	rec, err := s.Get(id)
	if err != nil {
		return nil, err
	}
	if err := s.claim(id); err != nil {
		return nil, err
	}
	limits := s.limits(rec.Tenant)
	s.mu.Lock()
	defer s.unlock()
	j := s.byID[id]
	switch {
	case j == nil:
		return nil, ErrNotFound
	case j.retrying, j.followed && j.rec.State != Done, !j.rec.State.Final():
		return nil, ErrNotFinished
	case j.rec.State == Done:
		return nil, ErrNothingFailed
	}
	if err := s.admit(j.size); err != nil {
		return nil, err
	}
	now := timestamp()
	if err := s.take(rec.Tenant, limits, time.Now()); err != nil {
		return nil, err
	}
	if s.o.Log != nil {
		next := &Job{s: s, rec: j.snapshot(), seq: j.seq, shared: true}
		next.restart()
		k := next.kept(Received, now)
		j.retrying = true
		s.admitted++
		s.pending[rec.Tenant]++
		s.mu.Unlock()
		err := s.save(k)
		s.mu.Lock()
		s.admitted--
		s.noLonger(rec.Tenant)
		j.retrying = false
		switch {
		case err != nil:
			if errors.Is(err, ErrNotOwner) {
				s.lose(j)
			}
			s.giveBack(rec.Tenant, limits)
			return nil, fmt.Errorf("purge: not retried: %w", err)
		case s.stopped:
			return nil, ErrClosed
		}
		j.saved = k.Seq
	}
	j.restart()
	s.counts.retried++
	s.reach(j, Received, now)
	s.enqueue(j)
	return j, nil
}

// admit says why one more job of that size cannot be taken. s.mu is held.
func (s *Service) admit(size int64) error {
	switch {
	case s.closed:
		return ErrClosed
	case s.admitted+s.queue.Len()+s.sharing+s.working >= s.o.MaxQueued+s.o.Workers:
		return fmt.Errorf("%w: %d, the most that may", ErrBusy, s.o.MaxQueued)
	case s.flushing >= s.o.MaxFlushing:
		return fmt.Errorf("%w for nodes and CDNs: %d, the most that may", ErrBusy, s.o.MaxFlushing)
	case s.live > 0 && s.live+size > s.o.MaxBytes:
		return fmt.Errorf("%w: their paths fill the %d bytes set aside for them", ErrBusy, s.o.MaxBytes)
	}
	return nil
}

// accept has the target accept r, for as long as the submitter and the service are there.
func (s *Service) accept(ctx context.Context, r Request) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.ctx, func() { cancel(ErrClosed) })()
	if err := ctx.Err(); err != nil {
		return err
	}
	err := s.guard("Accept", func() error { return s.target.Accept(ctx, r) })
	if err != nil && context.Cause(ctx) == ErrClosed {
		return ErrClosed
	}
	return err
}

// guard calls f, which calls the target or the log, and makes an error of a panic.
func (s *Service) guard(method string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.o.Logger.Error("purge: the target or the log panicked", "method", method, "panic", p, "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	return f()
}

// enqueue gives j to a worker, or has it wait for one. s.mu is held.
func (s *Service) enqueue(j *Job) {
	s.live += j.size
	if s.working < s.o.Workers { // then none waits
		s.working++
		go s.work(j)
		return
	}
	s.wait(j)
	if s.o.MaxWait > 0 && j.rec.State == Received { // not what was at work before a restart
		attempt := j.rec.Attempt
		j.expiry = time.AfterFunc(s.o.MaxWait, func() { s.expire(j, attempt) })
	}
}

// work is a worker: it runs j, and then jobs from the queue as long as any wait.
func (s *Service) work(j *Job) {
	defer func() {
		if p := recover(); p != nil {
			panic(p) // not the target's
		}
		if j != nil { // the target ended the goroutine
			s.mu.Lock()
			all := j.all()
			j.group = nil
			for _, k := range all {
				s.finish(k, errPanic.Error())
				k.busy = false
			}
			defer s.unlock()
			if j := s.next(); j != nil {
				go s.work(j)
			}
		}
	}()
	for j != nil {
		s.run(j)
		s.mu.Lock()
		j = s.next()
		s.unlock()
	}
}

// next returns the job whose turn it is, for a worker that is free, or
// retires the worker. s.mu is held.
func (s *Service) next() *Job {
	j := s.begin()
	if j == nil {
		s.working--
	}
	return j
}

// expire ends an attempt that has waited too long.
func (s *Service) expire(j *Job, attempt int) {
	s.mu.Lock()
	defer s.unlock()
	if j.rec.Attempt != attempt || !s.unwait(j) {
		return // a worker has it, or had it
	}
	s.abandon(j, fmt.Sprintf("waited longer than %v for a worker", s.o.MaxWait))
}

// Cancel ends a job that waits for a worker, as Expired, and returns it. The purge itself stands: what
// Target.Accept did is not undone, and nothing from before it is served as fresh. Only the work behind it,
// such as making room, is left undone, until [Service.Retry].
//
// If ctx has ended, nothing is done. The errors are ctx's, [ErrNotFound],
// [ErrNotWaiting], [ErrNotOwner] where another node has the job, and [ErrClosed].
func (s *Service) Cancel(ctx context.Context, id string) (*Job, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.unlock()
	j := s.byID[id]
	switch {
	case j == nil:
		return nil, ErrNotFound
	case s.stopped:
		return nil, ErrClosed
	case j.followed:
		return nil, ErrNotOwner
	case !s.unwait(j):
		return nil, ErrNotWaiting
	}
	if j.expiry != nil {
		j.expiry.Stop()
	}
	s.abandon(j, "cancelled while it waited; the purge is in force")
	if j.followed {
		return nil, ErrNotOwner
	}
	return j, nil
}

// abandon ends a job that was waiting, for the reason given. s.mu is held.
func (s *Service) abandon(j *Job, why string) {
	paths := j.edit()
	for i := range paths {
		if p := &paths[i]; !p.State.Final() {
			p.State, p.Outcome = Expired, Failed
			p.Reason = why
		}
	}
	for i := range j.rec.Nodes {
		if n := &j.rec.Nodes[i]; n.State != Done {
			n.State, n.Outcome, n.Reason = Error, Failing, why
		}
	}
	for i := range j.rec.CDNs {
		if c := &j.rec.CDNs[i]; c.State == Received {
			c.State, c.Reason = Expired, why
		}
	}
	s.saving++
	s.saveReach(j, Expired)
	s.saving--
}

// reach records that j has reached a state, and has its callback told. s.mu is held.
func (s *Service) reach(j *Job, state State, now time.Time) {
	if j.over() {
		return // cut short by Close
	}
	j.seq++
	s.counts.step(&j.rec, state, now)
	j.rec.reached(state, now)
	s.publish(j, now)
	s.announce(j, now)
	if state.Final() {
		s.live -= j.size
		j.attempt.end(j.snapshot())
	}
}

// saveReach is reach for a state that is saved first. It releases s.mu for that; s.mu
// is held when it is called and when it returns.
func (s *Service) saveReach(j *Job, state State) {
	now := timestamp()
	if s.o.Log != nil && !j.over() {
		k := j.kept(state, now)
		saved := true
		s.mu.Unlock()
		if state.Final() {
			saved = s.saveEnd(j, k)
		} else {
			s.saveOrWarn(j, k)
		}
		s.mu.Lock()
		if !saved {
			if !j.followed {
				s.cut(j)
			}
			return
		}
	}
	s.reach(j, state, now)
}

// finish ends j as what its paths make of it, as saveReach does.
func (s *Service) finish(j *Job, why string) {
	if j.over() {
		return
	}
	s.saveReach(j, j.settle(why))
}

// settle brings the paths to their end and returns the state that this makes
// of j; paths that are not at their end have failed, for the reason given. s.mu is held.
func (j *Job) settle(why string) State {
	state := Done
	paths := j.edit()
	for i := range paths {
		p := &paths[i]
		if !p.State.Final() {
			p.State, p.Outcome = Error, Failed
			if p.Reason != "" {
				p.Reason = reason(why + ", after: " + p.Reason)
			} else {
				p.Reason = why
			}
		}
		if p.failed() {
			state = Error
		}
	}
	for i := range j.rec.Nodes {
		n := &j.rec.Nodes[i]
		if !n.State.Final() {
			n.State, n.Outcome, n.Reason = Error, Failing, why
		}
		if n.State == Error {
			state = Error
		}
	}
	for i := range j.rec.CDNs {
		c := &j.rec.CDNs[i]
		switch {
		case c.State == FlushingCDN:
			c.State, c.Reason = Error, why
			c.Failed = []CDNFailure{{Reason: why, Paths: j.rec.flushedPaths()}}
		case c.State == Received && len(c.Failed) > 0: // nobody came to try again
			c.State, c.Reason = Error, c.Failed[0].Reason
		case c.State == Received && state == Error:
			c.State, c.Reason = Error, "not told, as the purge has failed here"
		case c.State == Received:
			c.State, c.Outcome = Done, Unneeded
		}
		if c.failed() && state == Done {
			state = ErrorCDNNode
		}
	}
	return state
}

// cut ends j for Close. With a log the job stays as it is, to go on after a restart. s.mu is held.
func (s *Service) cut(j *Job) {
	if j.rec.State.Final() || j.suspended {
		return
	}
	if j.followed {
		j.suspended = true
		j.attempt.err = ErrClosed
		j.attempt.end(j.snapshot())
		return
	}
	if s.o.Log == nil {
		s.reach(j, j.settle(whyClosed), timestamp())
		return
	}
	j.suspended = true
	s.live -= j.size
	j.attempt.err = ErrClosed
	j.attempt.end(j.snapshot())
}

// unlock releases s.mu, after it has seen to what may follow from any change: the
// log is within its bounds, and Close knows when nothing is left.
func (s *Service) unlock() {
	s.trim()
	s.settle()
	n := s.untold
	s.untold = 0
	s.mu.Unlock()
	if n > 0 {
		s.o.Logger.Warn("purge: dropped events of jobs whose callbacks never had their turn, since other callbacks do not return", "events", n)
	}
}

// settle tells Close if nothing runs or waits. s.mu is held.
func (s *Service) settle() {
	if !s.closed || s.admitted+s.saving+s.working+s.flushing+s.tellers+s.queue.Len()+s.sharing+s.line.Len() > 0 {
		return
	}
	select {
	case <-s.quiet:
	default:
		close(s.quiet)
	}
}

// Close ends the service. It first refuses new purges and lets those that it has
// go on, with their callbacks, for CloseTimeout. Then it ends the context of what is
// still going on; jobs that are not at their end, waiting or at work, end as Error
// with the reason "the service closed". They are in force all the same. With a
// Log they do not end: they go on when it is next opened, and until then
// Job.Wait returns ErrClosed.
//
// Close waits no longer than CloseTimeout and a second. If calls of the Target or of
// callbacks have not returned by then, it returns an error that counts
// them; their goroutines end when they do, and nothing is called any more.
// Records can still be read. Closing again waits for the first and
// returns the same. A callback or Target that calls Close waits for itself that long.
func (s *Service) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		<-s.gone
		return s.left
	}
	s.closed = true
	s.unlock()
	defer close(s.gone)
	defer s.cancel()

	if s.o.CloseTimeout < 0 || !s.quietWithin(s.o.CloseTimeout) {
		s.mu.Lock()
		waiting := s.queue.all()
		s.sharing = 0
		for _, j := range waiting {
			if j.expiry != nil {
				j.expiry.Stop()
			}
			j.lead = nil
			s.cut(j)
		}
		s.unlock()
		s.cancel()
		s.quietWithin(closeGrace)
	}

	s.cancel()
	watching := s.behind != nil && !closedWithin(s.behind, closeGrace)

	s.mu.Lock()
	defer s.unlock()
	s.stopped = true
	for _, j := range s.log {
		if s.o.Log != nil || j.unfinished() { // if not, its worker is about to end it
			s.cut(j)
		}
	}
	calls, callbacks := s.admitted+s.working+s.flushing, s.tellers
	if calls+callbacks > 0 {
		s.left = fmt.Errorf("purge: closed before all returned: calls of the target %d, callbacks %d", calls, callbacks)
	} else if watching {
		s.left = fmt.Errorf("purge: closed before the watch of the log %s returned", s.o.Log)
	}
	return s.left
}

const whyClosed = "the service closed"

func (s *Service) quietWithin(d time.Duration) bool { return closedWithin(s.quiet, d) }

func closedWithin(c <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c:
		return true
	case <-t.C:
		return false
	}
}
