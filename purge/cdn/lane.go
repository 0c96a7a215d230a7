package cdn

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// A lane is the way to one CDN. What jobs want purged there waits in it, and leaves it in calls: as many values as one takes, of whatever
// jobs, as soon as the CDN's rates allow. Tenants take turns by values, so that one job of many thousands delays nobody by more than its share.
//
// A value that is wanted twice and has not left is purged once. One that has left is purged again, as what it is of may have been cached
// since.
//
// A lane at rest has no goroutine. When nobody waits any more, its calls are cancelled.
type lane struct {
	e        *Edge
	o        *Options
	told     func(CallInfo) // of each call
	features Features
	confirms Confirmer // nil where the CDN is none
	polls    []*rate.Limiter
	rates    map[Kind][]limit

	mu      sync.Mutex // guards all below
	tickets int        // who waits
	ctx     context.Context
	cancel  context.CancelFunc
	running bool               // there is a goroutine that makes calls
	wake    chan struct{}      // tells it that something has changed
	pending map[wanted]*entry  // not in a call
	queues  map[place][]*entry // of those, what may leave now, first come first
	turns   []place            // the keys of queues, the next first
	later   []*entry           // of those, what is not due yet
	calls   int                // under way
	batches int                // taken by the CDN, and waiting to be confirmed
	open    map[Kind]int       // values in calls, and waiting to be confirmed
	pause   time.Time          // no call before
	backoff time.Duration      // after the next failure
	failing time.Time          // of the first failure after the last success; zero where there is none
	worked  time.Time          // of the last success
	strikes int                // calls that were refused for good after the last success
	counts  counts
}

// A limit is a rate of a form.
type limit struct {
	*rate.Limiter
	perItem bool
}

// wanted tells values apart.
type wanted struct {
	item
	soft bool
}

// A place is a queue: values of one kind that one tenant wants.
type place struct {
	tenant string
	kind   Kind
	soft   bool
}

// An entry is a value on its way through the lane.
type entry struct {
	wanted
	tenant  string
	tickets []*ticket // who waits for it
	due     time.Time // it may not leave before
	tries   int       // calls with it that failed
	failing time.Time // of the first of these
	most    int       // the largest call that it may be in; zero: any
	second  bool      // it has been purged once, and is once more: see Edge.Again
}

// A ticket is what one flush wants of a lane. It is guarded by the lane's mu.
type ticket struct {
	since     time.Time       // when it came
	left      int             // values not at their end
	job       string          // whose flush it is
	failed    map[item]string // why
	confirmed int             // values that are
	reason    string          // what goes wrong at present
	gone      bool            // nobody waits for it
	changed   chan struct{}   // told when something has changed
}

func (t *ticket) tell() {
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

const (
	maxCalls   = 4  // of a CDN at once
	maxBatches = 64 // of a CDN, waiting to be confirmed

	// maxStrikes is how many calls in a row may be refused before it is no longer taken for the fault of one value among many: more than
	// it takes to find one in a thousand.
	maxStrikes = 16

	// maxFront is how often a value may fail and keep its place; minTries is how often one must that is given up where others do not fail.
	maxFront, minTries = 2, 5

	// maxFill is how long a call waits for a rate of values to let it be full.
	maxFill = 10 * time.Second

	firstBackoff, maxBackoff = time.Second, time.Minute
	firstPoll, maxPoll       = 2 * time.Second, 15 * time.Second
)

// margin is how much of a CDN's rates is used: calls do not arrive as evenly as they leave, and the operator's people may make some, too.
const margin = 0.9

func newLane(e *Edge, o *Options, told func(CallInfo)) *lane {
	l := &lane{
		e: e, o: o, told: told, features: e.CDN.Features(),
		wake:    make(chan struct{}, 1),
		rates:   make(map[Kind][]limit),
		pending: make(map[wanted]*entry), queues: make(map[place][]*entry), open: make(map[Kind]int),
	}
	l.confirms, _ = e.CDN.(Confirmer)
	if l.features.Confirms <= 0 {
		l.features.Confirms = 15 * time.Minute
	}
	l.counts = newCounts(l.features, l.confirms != nil)
	shared := make(map[string]*rate.Limiter)
	limiter := func(r Rate) *rate.Limiter {
		if shared[r.Name] == nil {
			shared[r.Name] = rate.NewLimiter(rate.Limit(r.PerSecond*margin), max(1, int(r.Burst*margin)))
		}
		return shared[r.Name]
	}
	for kind, f := range l.features.Forms {
		for _, r := range f.Rates {
			l.rates[kind] = append(l.rates[kind], limit{limiter(r), r.PerItem})
		}
	}
	for _, r := range l.features.Polls {
		l.polls = append(l.polls, limiter(r))
	}
	return l
}

// purge has items purged, and returns when all are at their end, or ctx ends. progress is called now and then with how many are without
// having failed, and with what goes wrong at present.
func (l *lane) purge(ctx context.Context, job, tenant string, items []item, soft bool, progress func(done int, reason string)) (*ticket, error) {
	t := &ticket{since: time.Now(), left: len(items), job: job, failed: make(map[item]string), changed: make(chan struct{}, 1)}
	l.mu.Lock()
	if l.tickets++; l.ctx == nil {
		l.ctx, l.cancel = context.WithCancel(context.Background())
	}
	for _, it := range items {
		w := wanted{it, soft && !l.features.Forms[it.kind].Hard}
		if fault := l.tooLong(w); fault != "" {
			t.failed[it] = fault
			t.left--
			continue
		}
		if e := l.pending[w]; e != nil && !e.second {
			e.tickets = append(e.tickets, t)
			continue
		}
		l.queue(&entry{wanted: w, tenant: tenant, tickets: []*ticket{t}})
	}
	l.start()
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		t.gone = true
		if l.tickets--; l.tickets == 0 {
			l.cancel()
			l.ctx, l.cancel = nil, nil
			l.signal()
		}
	}()
	for {
		l.mu.Lock()
		left, failed, reason := t.left, len(t.failed), t.reason
		l.mu.Unlock()
		progress(len(items)-left-failed, reason)
		if left == 0 {
			return t, nil
		}
		select {
		case <-t.changed:
		case <-ctx.Done():
			return t, ctx.Err()
		}
	}
}

// tooLong says that a value fits in no call.
func (l *lane) tooLong(w wanted) string {
	if f := l.features.Forms[w.kind]; f.MaxBytes > 0 && len(w.value)+f.ItemBytes > f.MaxBytes {
		return fmt.Sprintf("this CDN takes %d bytes in a call, and the %s has %d", f.MaxBytes-f.ItemBytes, w.kind, len(w.value))
	}
	return ""
}

// queue puts an entry where it waits. l.mu is held.
func (l *lane) queue(e *entry) {
	if time.Now().Before(e.due) {
		l.later = append(l.later, e)
	} else {
		at := l.turnOf(e)
		l.queues[at] = append(l.queues[at], e)
	}
	if !e.second || l.pending[e.wanted] == nil {
		l.pending[e.wanted] = e
	}
}

// turnOf returns where e waits, which has a turn from now on. l.mu is held.
func (l *lane) turnOf(e *entry) place {
	at := place{e.tenant, e.kind, e.soft}
	if len(l.queues[at]) == 0 {
		l.turns = append(l.turns, at)
	}
	return at
}

// putBack puts entries of one kind where they wait, before the others of their tenants. l.mu is held.
func (l *lane) putBack(batch []*entry) {
	for _, e := range slices.Backward(batch) {
		at := l.turnOf(e)
		l.queues[at] = slices.Insert(l.queues[at], 0, e)
		if !e.second || l.pending[e.wanted] == nil {
			l.pending[e.wanted] = e
		}
	}
}

// start has somebody make calls. l.mu is held.
func (l *lane) start() {
	if !l.running {
		l.running = true
		go l.run()
		return
	}
	l.signal()
}

func (l *lane) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run makes calls for as long as anything waits.
func (l *lane) run() {
	for {
		l.mu.Lock()
		l.forget()
		if len(l.queues) == 0 && len(l.later) == 0 && l.calls == 0 && l.batches == 0 {
			l.running = false
			l.mu.Unlock()
			return
		}
		batch, wait := l.next(time.Now())
		if batch != nil {
			l.calls++
			l.open[batch[0].kind] += len(batch)
			ctx := l.ctx
			l.mu.Unlock()
			go l.call(ctx, batch)
			continue
		}
		l.mu.Unlock()
		if wait == 0 {
			<-l.wake
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-l.wake:
		}
		timer.Stop()
	}
}

// forget drops all that waits, where nobody waits for it. l.mu is held.
func (l *lane) forget() {
	if l.tickets > 0 {
		return
	}
	clear(l.pending)
	clear(l.queues)
	l.turns, l.later, l.strikes = nil, nil, 0
}

// isWanted reports whether anybody waits for e. l.mu is held.
func (e *entry) isWanted() bool {
	for _, t := range e.tickets {
		if !t.gone {
			return true
		}
	}
	return false
}

// next returns the entries of the next call, or how long to wait for it: zero until something changes. l.mu is held.
func (l *lane) next(now time.Time) (batch []*entry, wait time.Duration) {
	sooner := func(d time.Duration) {
		if d = max(d, time.Millisecond); wait == 0 || d < wait {
			wait = d
		}
	}
	rest := l.later[:0]
	for _, e := range l.later {
		if now.Before(e.due) {
			rest = append(rest, e)
			sooner(e.due.Sub(now))
			continue
		}
		at := l.turnOf(e)
		l.queues[at] = append(l.queues[at], e)
	}
	clear(l.later[len(rest):])
	l.later = rest
	switch {
	case l.calls >= maxCalls || l.calls+l.batches >= maxBatches:
		return nil, 0
	case now.Before(l.pause):
		if len(l.turns) > 0 {
			sooner(l.pause.Sub(now))
		}
		return nil, wait
	case !l.failing.IsZero() && l.calls > 0: // one call finds out
		return nil, 0
	}
	tried := make(map[place]bool)
	var saved []*rate.Limiter // for a form whose turn it is, so that one that takes less does not take it all
	for _, at := range l.turns {
		form := place{"", at.kind, at.soft}
		if tried[form] {
			continue
		}
		tried[form] = true
		if slices.ContainsFunc(l.rates[at.kind], func(r limit) bool { return slices.Contains(saved, r.Limiter) }) {
			continue
		}
		most, delay, lacks := l.room(at.kind, now, l.waiting(at.kind, at.soft))
		switch {
		case delay > 0:
			sooner(delay)
			saved = append(saved, lacks...)
		case most > 0:
			if batch := l.gather(at.kind, at.soft, most); len(batch) > 0 {
				return batch, 0
			}
		}
	}
	return nil, wait
}

// waiting is how many entries of a kind may leave. l.mu is held.
func (l *lane) waiting(kind Kind, soft bool) (n int) {
	for at, q := range l.queues {
		if at.kind == kind && at.soft == soft {
			n += len(q)
		}
	}
	return n
}

// room returns how many of n values of a kind a call may take now, or how long it is until it may, and what it lacks. l.mu is held.
func (l *lane) room(kind Kind, now time.Time, n int) (most int, delay time.Duration, lacks []*rate.Limiter) {
	f := l.features.Forms[kind]
	most = min(n, perCall(f))
	if f.MaxOpen > 0 {
		if most = min(most, f.MaxOpen-l.open[kind]); most <= 0 {
			return 0, 0, nil
		}
	}
	for _, r := range l.rates[kind] {
		if r.perItem {
			most = min(most, r.Burst())
		}
	}
	// Tenants take turns with each call, so that one that takes long to fill has others wait.
	full := most
	for _, r := range l.rates[kind] {
		if r.perItem {
			full = min(full, max(1, int(float64(r.Limit())*maxFill.Seconds())))
		}
	}
	for _, r := range l.rates[kind] {
		need := 1
		if r.perItem {
			need = full
		}
		tokens := r.TokensAt(now)
		if lack := float64(need) - tokens; lack > 0 {
			delay = max(delay, time.Duration(lack/float64(r.Limit())*float64(time.Second))+time.Millisecond)
			lacks = append(lacks, r.Limiter)
		}
		if r.perItem {
			most = min(most, max(full, int(tokens)))
		}
	}
	return most, delay, lacks
}

// gather takes entries for a call, a tenant's after another's. l.mu is held.
func (l *lane) gather(kind Kind, soft bool, most int) (batch []*entry) {
	f := l.features.Forms[kind]
	size := 0
	full := false
	in := make(map[item]bool, min(most, 64)) // one that is purged a second time may be wanted anew
	for len(batch) < most && !full {
		taken := false
		for i := 0; i < len(l.turns) && len(batch) < most && !full; i++ {
			at := l.turns[i]
			if at.kind != kind || at.soft != soft {
				continue
			}
			q := l.queues[at]
			for len(q) > 0 && !q[0].isWanted() {
				l.left(q[0])
				q = q[1:]
			}
			if len(q) > 0 && !in[q[0].item] {
				e := q[0]
				n := len(e.value) + f.ItemBytes
				limit := most
				if e.most > 0 {
					limit = min(most, e.most)
				}
				if len(batch) > 0 && (f.MaxBytes > 0 && size+n > f.MaxBytes || len(batch) >= limit) {
					full = true
				} else {
					most = limit
					size += n
					q[0], q = nil, q[1:]
					batch, in[e.item] = append(batch, e), true
					taken = true
					l.left(e)
				}
			}
			l.queues[at] = q
		}
		if !taken {
			break
		}
	}
	turns := l.turns[:0:0]
	var behind []place
	for _, at := range l.turns {
		switch {
		case len(l.queues[at]) == 0:
			delete(l.queues, at)
		case at.kind == kind && at.soft == soft && len(behind) == 0 && len(l.turns) > 1:
			behind = append(behind, at) // who was first is last
		default:
			turns = append(turns, at)
		}
	}
	l.turns = append(turns, behind...)
	if len(batch) > 0 {
		now := time.Now()
		for _, r := range l.rates[kind] {
			n := 1
			if r.perItem {
				n = len(batch)
			}
			r.ReserveN(now, n)
		}
	}
	return batch
}

// left notes that e is not waiting any more. l.mu is held.
func (l *lane) left(e *entry) {
	if l.pending[e.wanted] == e {
		delete(l.pending, e.wanted)
	}
}

// call makes one call.
func (l *lane) call(ctx context.Context, batch []*entry) {
	b := Batch{Kind: batch[0].kind, Soft: batch[0].soft, ID: newID()}
	if b.Kind != All {
		for _, e := range batch {
			b.Values = append(b.Values, e.value)
		}
	}
	var receipt Receipt
	var err error = &Error{Reason: "the adapter ended its goroutine"}
	defer func() { l.answered(ctx, batch, b, receipt, err) }()
	receipt, err = l.try(ctx, b, batch)
}

// answered sees to what came of a call.
func (l *lane) answered(ctx context.Context, batch []*entry, b Batch, receipt Receipt, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls--
	l.open[b.Kind] -= len(batch)
	defer l.signal()
	if err == nil {
		l.counts.values[b.Kind] += int64(len(batch) - len(receipt.Failed))
	}
	if ctx.Err() != nil {
		return // nobody waits
	}
	if err != nil {
		l.failed(batch, err)
		return
	}
	now := time.Now()
	l.failing, l.worked, l.backoff, l.strikes = time.Time{}, now, 0, 0
	refused := make(map[string]Failure, len(receipt.Failed))
	for _, f := range receipt.Failed {
		f.Reason = saying(f.Reason)
		refused[f.Value] = f
	}
	taken := batch[:0:0]
	var bad []*entry
	for _, e := range batch {
		if _, ok := refused[e.value]; ok {
			bad = append(bad, e)
		} else {
			taken = append(taken, e)
		}
	}
	if len(bad) < len(refused) { // which of the others they are nobody knows
		l.failed(batch, &Error{Reason: "the adapter names values as failed that are not of the call: " + receipt.Failed[0].Reason})
		return
	}
	for _, e := range bad {
		f := refused[e.value]
		if !f.Temporary {
			l.end(e, f.Reason, false)
			continue
		}
		e.failed(now)
		if l.giveUp(e, e.failing, f.Reason, e.tries >= minTries) {
			l.again(e, now.Add(min(firstBackoff<<min(e.tries-1, 10), maxBackoff)), f.Reason)
		}
	}
	switch {
	case len(taken) == 0:
	case receipt.Complete || l.confirms == nil:
		for _, e := range taken {
			l.purged(e, receipt.Complete)
		}
	default:
		l.batches++
		l.open[b.Kind] += len(taken)
		go l.confirm(ctx, taken, receipt)
	}
}

// panicked is what becomes of a call whose adapter panicked.
func (l *lane) panicked(p any) error {
	l.o.log().Error("purge: a CDN's adapter panicked", "cdn", l.e.Name, "panic", p, "stack", string(debug.Stack()))
	return &Error{Reason: "the adapter panicked"}
}

// try is Purge, with what a call costs and how it ended told to who wants to know.
func (l *lane) try(ctx context.Context, b Batch, batch []*entry) (receipt Receipt, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.o.callTimeout())
	defer cancel()
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			err = l.panicked(p)
		}
		if err != nil {
			l.o.log().Warn("purge: a call to a CDN failed", "cdn", l.e.Name, "kind", b.Kind, "values", len(b.Values), "error", err)
		}
		call := CallInfo{CDN: l.e.Name, Kind: b.Kind, Values: len(b.Values), Time: began, Took: time.Since(began), Err: err}
		l.mu.Lock()
		l.counts.called(b.Kind, resultOf(receipt, err), call.Took)
		call.Jobs = jobsOf(batch)
		l.mu.Unlock()
		l.told(call)
	}()
	return l.e.CDN.Purge(ctx, b)
}

// jobsOf are the jobs that wait for a batch. lane.mu is held.
func jobsOf(batch []*entry) (jobs []string) {
	const most = 100
	seen := make(map[string]bool)
	for _, e := range batch {
		for _, t := range e.tickets {
			if len(jobs) < most && !seen[t.job] && !t.gone {
				seen[t.job] = true
				jobs = append(jobs, t.job)
			}
		}
	}
	return jobs
}

// newID returns a random UUID (RFC 9562 section 5.4).
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// failed sees to a call that failed as a whole. l.mu is held.
func (l *lane) failed(batch []*entry, err error) {
	now, reason := time.Now(), saying(err.Error())
	e, known := errors.AsType[*Error](err)
	if known && !e.Temporary {
		l.strikes++
		if len(batch) > 1 && perhapsOne(e.Status) && l.strikes <= maxStrikes {
			// One of them may be what the CDN does not like: halves tell.
			for _, b := range batch {
				b.most = (len(batch) + 1) / 2
				l.again(b, now, reason)
			}
			return
		}
		for _, b := range batch {
			l.end(b, reason, false)
		}
		return
	}
	if l.failing.IsZero() {
		l.failing = now
	}
	l.backoff = min(max(2*l.backoff, firstBackoff), maxBackoff)
	wait := l.backoff/2 + mathrand.N(l.backoff/2+1)
	switch {
	case known && e.Status == http.StatusTooManyRequests: // its rates are others than ours
		wait = max(wait, e.RetryAfter)
	case known:
		wait = max(wait, min(e.RetryAfter, l.e.giveUp()))
	}
	l.pause = now.Add(wait)
	var front []*entry
	for _, b := range batch {
		b.failed(now)
		// Where calls without it work, one of them may be what the CDN cannot do; and where there are no others for long, too. One that takes too long may be too
		// large.
		if len(batch) > 1 && (b.tries > maxFront && l.worked.After(b.failing) || b.tries > minTries || errors.Is(err, context.DeadlineExceeded)) {
			b.most = (len(batch) + 1) / 2
		}
		// Who has never been asked for alone, while calls without it work, may have failed for another: halves tell that first.
		may := b.tries >= minTries && (len(batch) == 1 || !l.worked.After(b.failing))
		switch {
		case !l.giveUp(b, b.failing, reason, may):
		case b.tries > maxFront:
			l.again(b, now, reason)
		case !l.merged(b, reason):
			front = append(front, b)
		}
	}
	l.putBack(front)
	// Who has waited for so long as the CDN has failed, and longer than that may take, waits no more.
	if now.Sub(l.failing) < l.e.giveUp() {
		return
	}
	for at, q := range l.queues {
		rest := q[:0:0]
		for _, b := range q {
			if l.giveUp(b, l.failing, reason, true) {
				rest = append(rest, b)
			}
		}
		if l.queues[at] = rest; len(rest) == 0 {
			delete(l.queues, at)
		}
	}
	turns := l.turns[:0:0]
	for _, at := range l.turns {
		if len(l.queues[at]) > 0 {
			turns = append(turns, at)
		}
	}
	l.turns = turns
}

// saying is a reason that is one line, and never empty: what has none has not failed.
func saying(reason string) string {
	if reason = OneLine(reason); reason == "" {
		return "failed without saying why"
	}
	return reason
}

// failed counts a call with e that failed.
func (e *entry) failed(now time.Time) {
	if e.tries++; e.tries == 1 {
		e.failing = now
	}
}

// giveUp ends e, where it may, for who has waited since before it began to fail, or since then, for longer than that may take. It reports whether
// somebody is left. l.mu is held.
func (l *lane) giveUp(e *entry, failing time.Time, why string, may bool) bool {
	now := time.Now()
	if !may || now.Sub(failing) < l.e.giveUp() {
		return true
	}
	why = fmt.Sprintf("%s; it has failed for %v", why, now.Sub(failing).Round(time.Second))
	var rest, over []*ticket
	for _, t := range e.tickets {
		from := t.since
		if failing.After(from) {
			from = failing
		}
		if now.Sub(from) >= l.e.giveUp() {
			over = append(over, t)
		} else {
			rest = append(rest, t)
		}
	}
	if len(rest) == 0 {
		l.end(e, why, false)
		return false
	}
	e.tickets = rest
	for _, t := range over {
		t.ends(e.item, why, false)
	}
	return true
}

// perhapsOne reports whether an answer of that status, or that there was none as the adapter would not ask, may be about one value of many.
func perhapsOne(status int) bool {
	return status == 0 || status == 400 || status == 413 || status == 414 || status == 422
}

// again has an entry wait for another call. l.mu is held.
func (l *lane) again(e *entry, due time.Time, why string) {
	if !l.merged(e, why) {
		e.due = due
		l.queue(e)
	}
}

// merged tells who waits for e why it waits once more, and reports whether it is purged with an entry that waits for the same. l.mu is held.
func (l *lane) merged(e *entry, why string) bool {
	for _, t := range e.tickets {
		t.reason = why
		t.tell()
	}
	other := l.pending[e.wanted]
	if other == nil || other == e || other.second != e.second {
		return false
	}
	other.tickets = append(other.tickets, e.tickets...)
	if other.tries == 0 || e.tries > 0 && e.failing.Before(other.failing) {
		other.failing = e.failing
	}
	other.tries = max(other.tries, e.tries)
	return true
}

// purged sees to an entry that the CDN has purged, as far as it knows. l.mu is held.
func (l *lane) purged(e *entry, confirmed bool) {
	if l.e.Again > 0 && !e.second {
		e.second, e.due = true, time.Now().Add(l.e.Again)
		e.tries, e.most = 0, 0
		l.queue(e)
		return
	}
	l.end(e, "", confirmed)
}

// end tells who waits for an entry how it ended. l.mu is held.
func (l *lane) end(e *entry, why string, confirmed bool) {
	l.left(e)
	for _, t := range e.tickets {
		t.ends(e.item, why, confirmed)
	}
}

// ends notes how one of t's values ended.
func (t *ticket) ends(it item, why string, confirmed bool) {
	t.left--
	if why != "" {
		t.failed[it] = why
	} else {
		t.reason = "" // it works again
	}
	if confirmed {
		t.confirmed++
	}
	t.tell()
}

// confirm asks until the CDN says that it is through.
func (l *lane) confirm(ctx context.Context, batch []*entry, receipt Receipt) {
	began := time.Now()
	wait := max(firstPoll, min(receipt.After, l.features.Confirms/2))
	why := fmt.Sprintf("accepted, and not confirmed within %v", l.features.Confirms)
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.batches--
		l.open[batch[0].kind] -= len(batch)
		defer l.signal()
		if ctx.Err() != nil {
			return
		}
		for _, e := range batch {
			if why != "" {
				l.end(e, why, false)
			} else {
				l.purged(e, true)
			}
		}
	}()
	done := false
	for !done {
		if !sleep(ctx, wait) {
			break
		}
		if time.Since(began) > l.features.Confirms {
			break
		}
		if !l.mayPoll(ctx) {
			break
		}
		ok, err := l.ask(ctx, receipt)
		e, known := errors.AsType[*Error](err)
		switch {
		case err == nil && ok:
			done, why = true, ""
		case err != nil && known && !e.Temporary:
			done, why = true, "accepted, and then: "+err.Error()
		case err != nil && known:
			wait = max(wait, min(e.RetryAfter, l.features.Confirms/2))
		}
		wait = min(wait*3/2, max(maxPoll, wait))
	}
}

func (l *lane) mayPoll(ctx context.Context) bool {
	for _, r := range l.polls {
		if r.Wait(ctx) != nil {
			return false
		}
	}
	return true
}

func (l *lane) ask(ctx context.Context, receipt Receipt) (ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.o.callTimeout())
	defer cancel()
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			err = l.panicked(p)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.counts.called(Confirm, resultOf(Receipt{}, err), time.Since(began))
	}()
	return l.confirms.Confirmed(ctx, receipt)
}

// sleep waits, and reports whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
