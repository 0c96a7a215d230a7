package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/imagecdn/imagecdn/internal/fault"
	"github.com/imagecdn/imagecdn/internal/flight"
)

// A Transport is the cache in front of one origin: it knows what each image is, for as long as the
// origin's headers allow (RFC 9111 as a shared cache, RFC 5861, RFC 9213), and asks the origin for
// the rest. However many ask for a name at once, the origin is asked once.
//
// All methods are safe for concurrent use.
type Transport struct {
	store   Store
	next    http.RoundTripper
	opts    TransportOptions
	table   *Table
	policy  *Lifetime // of RoundTrip; nil is the RFCs alone
	flights flight.Group[*Result]

	base context.Context // until Close
	stop context.CancelFunc
	work sync.WaitGroup // refreshes behind, and exchanges with the origin, for whomever

	steps [len(stepSizes)]sync.Pool // of *[]byte

	mu         sync.Mutex          // guards refreshing, and that work grows only while base lasts
	refreshing map[string]struct{} // flights that run behind

	// Of RoundTrip:
	status string // the name in Cache-Status
	groups groups
	turns  map[string]*turn     // by what is asked for; guarded by mu
	passed map[string]time.Time // URLs whose answers were not to be stored, until when; guarded by mu
}

// TransportOptions are optional settings of a Transport.
type TransportOptions struct {
	// Source is the first part of the names of this origin's images.
	Source string

	// Table holds the names. Several transports may share one, with a source each. Nil means a table of
	// the transport's own.
	Table *Table

	// Lifetime is how long images live. The zero value does what the origin says.
	Lifetime Lifetime

	// MaxBytes bounds one original. Zero means 64 MiB. Negative means no limit.
	MaxBytes int64

	// Targets names the targeted fields (RFC 9213) that go before Cache-Control and Expires, the first of
	// them that a response has before the others. Nil means CDN-Cache-Control. Empty means none.
	Targets []string

	// Name is what the cache calls itself in Cache-Status, by RoundTrip. Zero means imagecdn.
	Name string

	// Inspect is asked once for each body that the origin sends, and says what it is: its media type, which
	// stands in for the origin's, and status 200; or a status of 400 or more and the reason, where it is nothing that
	// belongs in this cache. Nil means that everything does, under the origin's media type.
	Inspect func(body []byte) (contentType string, status int, reason string)

	// Room gives the memory for an original's bytes, before they come from the origin by Fetch, Refresh and Body, or from a
	// store that has them not in memory by Body. It must return at once; the Room it returns may wait. RoundTrip does not
	// ask. Nil means that there is always room.
	Room func(image string) Room

	// Admit is asked for leave with the context of each Fetch that is about to ask the origin, or to wait for one that
	// does, in the caller's goroutine. known says that it is about an image that has been known, and is to be compared. An error is
	// Fetch's, and the origin is not asked. What is fresh, or usable while it is not, needs no leave; nor does what is done
	// behind. Nil means that leave is always given.
	Admit func(ctx context.Context, known bool) error

	// Changed is called when the origin, asked about an image that was known, has another, or none any more
	// (404, 410): when that has taken the place of what was known, and not where a Refresh found it out. It must
	// return at once. Nil means that nobody is told.
	Changed func(image string)

	// Classify says what a failure of the origin means to a client: an HTTP status, and one line fit
	// for the public. Nil means the function [Classify].
	Classify func(error) (status int, reason string)
}

// maxBehind bounds refreshes behind. Who finds no room tries again with the next request.
const maxBehind = 64

// NewTransport returns a cache in front of next. Requests that next gets name an image by URL.Path, and URL.RawQuery where its
// [Version] has a query; the scheme and the host mean nothing.
func NewTransport(store Store, next http.RoundTripper, o *TransportOptions) *Transport {
	if o == nil {
		o = new(TransportOptions)
	}
	t := &Transport{store: store, next: next, opts: *o, table: o.Table, refreshing: make(map[string]struct{})}
	if o.Lifetime != (Lifetime{}) {
		t.policy = &t.opts.Lifetime
	}
	t.opts.Lifetime = t.opts.Lifetime.withDefaults()
	t.opts.MaxBytes = orDefault(t.opts.MaxBytes, 64<<20)
	t.opts.Targets = slices.Clone(t.opts.Targets)
	if t.opts.Targets == nil {
		t.opts.Targets = []string{"CDN-Cache-Control"}
	}
	t.status = statusName(orDefault(t.opts.Name, "imagecdn"))
	if t.opts.Classify == nil {
		t.opts.Classify = Classify
	}
	if t.table == nil {
		t.table = NewTable(store, nil)
	}
	t.base, t.stop = context.WithCancel(context.Background())
	t.flights.Handed = (*Result).handed
	return t
}

// Close ends every exchange with the origin, and waits until the store is not used any more. The store
// stays open. What is known and fresh is still there for a Fetch.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.stop()
	t.mu.Unlock()
	t.work.Wait()
	return t.table.keptUp(context.Background())
}

// Classify gives 504 for a timeout, and 502 for everything else.
func Classify(err error) (status int, reason string) {
	var timeout interface{ Timeout() bool }
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return http.StatusGatewayTimeout, "the origin is too slow"
	}
	return http.StatusBadGateway, "the origin failed"
}

// How says how a Result came about, in the words of Cache-Status (RFC 9211).
type How uint8

const (
	Hit          How = iota // known, and fresh
	StaleHit                // known, and used past its lifetime: the origin is being asked, or fails
	Revalidated             // the origin said that it is unchanged
	Filled                  // the origin sent it
	FilledUnkept            // the origin sent it, and forbids keeping it
)

// A Result is what is known of an image at the moment of a request.
type Result struct {
	Entry  *Entry
	How    How
	CutOff bool      // the node is cut off from its cluster: see [Currency]
	At     time.Time // when it was so

	lease Lease
	was   *Entry      // what was known before, where that may have had tags that Entry has not; else nil
	body  []byte      // where this request brought it
	room  *sharedRoom // of body; nil where there is none
}

// Alive reports whether no purge of the image was accepted since the request arrived. Bytes of a Result
// that is not alive may be given to the request that waited for them, and must be kept by nobody.
func (r *Result) Alive() bool {
	return r.lease.Alive() && !r.lease.purged(r.Entry) && (r.was == nil || !r.lease.purged(r.was))
}

// Keepable reports whether things made from r may be stored.
func (r *Result) Keepable() bool {
	return !r.Entry.Freshness.NoStore && (r.Alive() || fault.Planted == fault.DeadBytesMayBeKept)
}

// changed reports whether r is the first to say that an image is not what old was.
func (r *Result) changed(old *Entry) bool {
	if old == nil || !old.OK() || r.lease.name.Version != "" || !r.Alive() {
		return false
	}
	switch r.Entry.Status {
	case http.StatusOK:
		return r.Entry.Digest != old.Digest
	case http.StatusNotFound, http.StatusGone:
		return true
	}
	return false
}

// Fetch says what an image is: from the table while that is fresh, else by asking the origin. A status
// that is not 200 is a Result, not an error; errors are the context's, a Room's, and panics of the origin's
// RoundTripper.
func (t *Transport) Fetch(ctx context.Context, image, version string) (*Result, error) {
	if t.table.shared != nil {
		return t.fetchShared(ctx, image, version)
	}
	return t.fetch(ctx, image, version)
}

// fetchShared is Fetch on a node of a cluster. It is asked first whether what is known may be served: a purge that is not known of here ends
// later than the moment of a good answer, and so after the request has come.
func (t *Transport) fetchShared(ctx context.Context, image, version string) (*Result, error) {
	is := t.table.shared.Currency()
	if is == CutOff {
		lease := t.table.Lease(Name{t.opts.Source, image, version}).unkept()
		if err := t.admit(ctx, false); err != nil {
			return nil, err
		}
		return t.askAlone(ctx, lease, nil)
	}
	res, err := t.fetch(ctx, image, version)
	if err == nil && is == CutOffServing {
		res = res.cutOff()
	}
	return res, err
}

// cutOff is r, which others may have too, for a node that is cut off.
func (r *Result) cutOff() *Result {
	own := *r
	own.CutOff = true
	return &own
}

func (t *Transport) fetch(ctx context.Context, image, version string) (*Result, error) {
	lease, e := t.table.Open(Name{t.opts.Source, image, version})
	if e == nil {
		return t.admitted(ctx, lease, nil)
	}
	now := time.Now()
	switch e.state(now) {
	case fresh:
		return &Result{Entry: e, How: Hit, At: now, lease: lease}, nil
	case staleUsable:
		if !now.Before(e.restUntil) {
			t.refreshBehind(lease, e)
		}
		return &Result{Entry: e, How: StaleHit, At: now, lease: lease}, nil
	}
	if now.Before(e.restUntil) && e.usableOnError(now) {
		return &Result{Entry: e, How: StaleHit, At: now, lease: lease}, nil
	}
	return t.admitted(ctx, lease, e)
}

// admitted is fill for a request that may have to ask for leave.
func (t *Transport) admitted(ctx context.Context, lease Lease, old *Entry) (*Result, error) {
	if err := t.admit(ctx, old != nil && old.OK()); err != nil {
		return nil, err
	}
	return t.fill(ctx, lease, old, false)
}

func (t *Transport) admit(ctx context.Context, known bool) error {
	if t.opts.Admit == nil || IsBehind(ctx) {
		return nil
	}
	return t.opts.Admit(ctx, known)
}

// Refresh asks the origin now, fresh or not.
func (t *Transport) Refresh(ctx context.Context, image, version string) (*Result, error) {
	if t.isCutOff() {
		return t.askAlone(ctx, t.table.Lease(Name{t.opts.Source, image, version}).unkept(), nil)
	}
	lease, e := t.table.Open(Name{t.opts.Source, image, version})
	return t.fill(ctx, lease, e, true)
}

func (t *Transport) isCutOff() bool {
	return t.table.shared != nil && t.table.shared.Currency() == CutOff
}

// Learn is Refresh of an image about which another node of the cluster has asked the origin. It asks nobody but [Shared]. Where neither that nor
// the table has an answer that may be served, newer than any purge that is in force here, it returns nil.
func (t *Transport) Learn(ctx context.Context, image, version string) *Result {
	if t.table.shared == nil {
		return nil
	}
	lease, e := t.table.Open(Name{t.opts.Source, image, version})
	if now := time.Now(); e != nil && !e.Marked() && e.state(now) == fresh {
		return &Result{Entry: e, How: Hit, At: now, lease: lease}
	}
	return t.learn(ctx, lease, e)
}

// learn returns what the cluster knows of l's name, and makes it the value, where it is fresh and newer than old.
//
// A purge that had been noted when the cluster was asked covers nothing of what it says. One that is noted later is carried out here
// later still, and so ends the lease, or finds the entry.
func (t *Transport) learn(ctx context.Context, lease Lease, old *Entry) *Result {
	e := t.table.shared.Lookup(ctx, lease.name)
	now := time.Now()
	if e == nil || e.Variant != "" || e.Freshness.NoStore || e.state(now) != fresh || !t.table.commit(lease, e, ifNoneOrOlder) {
		return nil
	}
	return &Result{Entry: e, How: Hit, At: now, lease: lease, was: old}
}

// Known says what the table has of an image, without asking anybody, and whether or not it may be served. It may be nil.
func (t *Transport) Known(image, version string) *Entry {
	_, e := t.table.Open(Name{t.opts.Source, image, version})
	return e
}

// Versions lists the versions of an image that are in memory, "" being the unversioned one.
func (t *Transport) Versions(image string) []string { return t.table.Versions(t.opts.Source, image) }

// fill asks the origin, once for all who ask at a time; without always, only where that is still needed.
func (t *Transport) fill(ctx context.Context, lease Lease, old *Entry, always bool) (*Result, error) {
	res, shared, err := t.share(ctx, lease.flight(), func(ctx context.Context) (*Result, error) {
		now := time.Now()
		if e := t.table.Lookup(lease); !always && e != nil && e.state(now) == fresh {
			// Another flight has landed between this request's look and its turn.
			return &Result{Entry: e, How: Hit, At: now, lease: lease}, nil
		}
		if t.table.shared != nil && !always {
			if res := t.learn(ctx, lease, old); res != nil {
				return res, nil
			}
		}
		res, err := t.ask(ctx, lease, old)
		if err == nil && !always && t.opts.Changed != nil && res.changed(old) {
			t.opts.Changed(lease.name.Image)
		}
		return res, err
	})
	if err == nil && shared && res.Entry.Freshness.NoStore {
		// What may not be stored may not answer another request either.
		res.Done()
		return t.askAlone(ctx, lease, old)
	}
	return res, err
}

// share has work done once for all who ask with this key at a time. Each gets a Result of its own.
func (t *Transport) share(ctx context.Context, key string, work func(context.Context) (*Result, error)) (*Result, bool, error) {
	for {
		res, shared, err := t.flights.Do(ctx, key, work)
		switch {
		case err == nil:
			return res.own(), shared, nil
		case !shared || !errors.Is(err, ErrNoRoom) || IsBehind(ctx) || ctx.Err() != nil: // which may be why ctx has ended
			return nil, shared, err
		}
		// It was begun behind, and has given up, or for a request that had to make way. This request waits for itself.
	}
}

// askAlone is ask for one caller.
func (t *Transport) askAlone(ctx context.Context, lease Lease, old *Entry) (*Result, error) {
	res, err := t.ask(ctx, lease, old)
	if err == nil {
		res.handed(1)
	}
	return res, err
}

func (t *Transport) refreshBehind(lease Lease, old *Entry) {
	t.doBehind(lease.flight(), func() {
		res, err := t.fill(Behind(t.base), lease, old, false)
		switch {
		case err == nil:
			res.Done() // what it brought is in the table
		case errors.Is(err, ErrNoRoom):
			t.rest(lease, old)
		} // another failure is tried again by a later request
	})
}

// rest has the origin left alone for a moment, while old is served.
func (t *Transport) rest(lease Lease, old *Entry) {
	resting := *old
	resting.restUntil = time.Now().Add(t.opts.Lifetime.Failure)
	t.table.Amend(lease, old, &resting)
}

// doBehind does work that no request waits for, once at a time for each key.
func (t *Transport) doBehind(key string, work func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, already := t.refreshing[key]; already || len(t.refreshing) == maxBehind || t.base.Err() != nil {
		return
	}
	t.refreshing[key] = struct{}{}
	t.work.Go(func() {
		work()
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.refreshing, key)
	})
}

// Body returns the bytes of r, which must be of a 200. Where the store has lost them the origin is asked again, and
// may have something else by now: the Result that the bytes belong to is returned with them. Its status may not
// be 200, and then there are none. It is r itself where r has the bytes, and else to be Done with as r is.
func (t *Transport) Body(ctx context.Context, r *Result) ([]byte, *Result, error) {
	if r.body != nil || r.Entry.Size == 0 {
		return r.body, r, nil
	}
	n := r.lease.name
	key := Key{n.Source, n.Image, Original, r.Entry.Digest}
	if r.lease.isUnkept() {
		return t.bodyAlone(ctx, r, key)
	}
	if m := memoryOf(t.store); m != nil {
		if th, err := m.Get(ctx, key); err == nil {
			return th.Body, r, nil // which the store counts
		}
	}
	lease := t.table.Lease(n)
	now, shared, err := t.share(ctx, "body "+string(r.Entry.Digest[:])+lease.flight(), func(ctx context.Context) (*Result, error) {
		if stored, err := t.load(ctx, r, key); stored != nil || err != nil {
			return stored, err
		}
		return t.ask(ctx, lease, nil)
	})
	if err == nil && shared && now.Entry != r.Entry && now.Entry.Freshness.NoStore {
		now.Done()
		now, err = t.askAlone(ctx, lease, nil)
	}
	if err != nil {
		return nil, nil, err
	}
	return now.body, now, nil
}

// bodyAlone is Body of what is kept by nobody.
func (t *Transport) bodyAlone(ctx context.Context, r *Result, key Key) ([]byte, *Result, error) {
	now, err := t.load(ctx, r, key)
	if now != nil {
		now.handed(1)
	} else if err == nil {
		now, err = t.askAlone(ctx, r.lease, nil)
	}
	if err != nil {
		return nil, nil, err
	}
	return now.body, now, nil
}

// load reads the bytes of r from the store. It returns nothing where that has lost them.
func (t *Transport) load(ctx context.Context, r *Result, key Key) (*Result, error) {
	ctx, end, err := t.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	room := t.room(key.Image)
	if err = room.Resize(ctx, r.Entry.Size, r.Entry.Size); err == nil {
		if th, err := t.store.Get(ctx, key); err == nil {
			stored := *r
			stored.body, stored.room = th.Body, &sharedRoom{Room: room}
			return &stored, nil
		}
	}
	room.Close()
	return nil, err
}

var errTransportClosed = errors.New("cache: the transport is closed")

// begin registers an exchange with the origin, whose context ends with Close, too. Work whose clients have gone
// away goes on for a moment.
func (t *Transport) begin(ctx context.Context) (_ context.Context, end func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.base.Err() != nil {
		return nil, nil, errTransportClosed
	}
	t.work.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	detach := context.AfterFunc(t.base, func() { cancel(errTransportClosed) })
	return ctx, func() {
		detach()
		cancel(nil)
		t.work.Done()
	}, nil
}

// ask asks the origin, under a lease, and commits what it says. old is what was known before, if
// anything: its validators make the request conditional.
func (t *Transport) ask(ctx context.Context, lease Lease, old *Entry) (*Result, error) {
	ctx, end, err := t.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://origin/", nil)
	if err != nil {
		return nil, err
	}
	word, query := cutVersion(lease.name.Version)
	req.URL.Path, req.URL.RawQuery = lease.name.Image, query
	conditional := old != nil && old.OK() && setValidators(req.Header, old.Header)
	room, kept := t.room(lease.name.Image), false
	defer func() {
		if !kept {
			room.Close()
		}
	}()
	if !conditional { // else the answer may have no body
		if err := room.Resize(ctx, 0, -1); err != nil {
			return nil, err
		}
	}
	if lease.isUnkept() || old != nil && old.stale != notExpired || (old == nil || !old.OK()) && (lease.noCache() || word != "") {
		// A failure or a 404 may be all that has been heard since the purge, so that does not count as the
		// first fetch.
		req.Header.Set("Cache-Control", "no-cache")
	}

	e := &Entry{RequestTime: time.Now()}
	resp, err := t.next.RoundTrip(req)
	e.ResponseTime = time.Now()
	if err != nil {
		return t.failed(ctx, lease, old, e, err)
	}
	defer resp.Body.Close()
	e.Status, e.Header = resp.StatusCode, endToEnd(resp.Header)
	e.Header.Del("Set-Cookie") // an image is for everybody

	var body []byte
	how := Filled
	switch {
	case e.Status == http.StatusNotModified && conditional:
		how = Revalidated
		e.Status, e.Digest, e.Size, e.Reason = old.Status, old.Digest, old.Size, old.Reason
		e.Header = freshen(old.Header, e.Header, "Content-Type")
	case e.Status == http.StatusOK:
		body, err = t.readBody(resp, func(bytes, expect int64) error { return room.Resize(ctx, bytes, expect) })
		if full, ok := errors.AsType[roomError](err); ok {
			return nil, full.error
		}
		if err == errTooLarge {
			e.Status, e.Reason = http.StatusRequestEntityTooLarge, fmt.Sprintf("the original has more than %d bytes", t.opts.MaxBytes)
			break
		}
		if err != nil {
			return t.failed(ctx, lease, old, e, err)
		}
		if t.opts.Inspect != nil {
			var contentType string
			if contentType, e.Status, e.Reason = t.opts.Inspect(body); e.Status != http.StatusOK {
				body = nil
				break
			}
			e.Header.Set("Content-Type", contentType)
		}
		e.Digest, e.Size = DigestOf(body), int64(len(body))
	case e.Status == http.StatusNotFound, e.Status == http.StatusGone:
		e.Reason = "the origin has no such image"
	default:
		return t.failed(ctx, lease, old, e, statusError(e.Status))
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx) // another may be under way by now, whose answer is newer
	}
	e.Freshness = t.freshness(lease, e)

	e.tags = tagMarks(e.Header) // before others ask whether e is alive
	res := &Result{Entry: e, How: how, CutOff: lease.isUnkept(), At: e.ResponseTime, lease: lease, was: old, body: body}
	if kept = body != nil; kept {
		res.room = &sharedRoom{Room: room}
	}
	if e.Freshness.NoStore {
		res.How = FilledUnkept
		if !lease.isUnkept() {
			t.spend(lease)
		}
		return res, nil
	}
	if body != nil {
		// The bytes first, so that the name never points at what is not there yet.
		n := lease.name
		_ = t.store.Put(ctx, Key{n.Source, n.Image, Original, e.Digest}, &Thing{Header: originalHeader(e.Header), Body: body}, res.Alive)
	}
	t.table.Commit(lease, e)
	return res, nil
}

// freshness is how long e may be used that came under a lease.
func (t *Transport) freshness(lease Lease, e *Entry) Freshness {
	f := freshnessOf(e.Status, e.Header, e.RequestTime, e.ResponseTime, &t.opts.Lifetime, t.opts.Targets)
	if lease.isUnkept() {
		f.NoStore = true
	}
	return f
}

// spend ends the life of what is known of a name, whose origin now says that it must not be kept. It is
// left to be compared with.
func (t *Transport) spend(lease Lease) {
	e := t.table.Lookup(lease)
	if e == nil || e.Freshness == (Freshness{}) {
		return
	}
	spent := *e
	spent.Freshness = Freshness{}
	if t.table.Amend(lease, e, &spent) {
		t.table.save(lease, &spent)
	}
}

// failed is what becomes of a request that brought no answer: what was known, where it may still be
// used, else a failure that is remembered for a short while.
func (t *Transport) failed(ctx context.Context, lease Lease, old, e *Entry, cause error) (*Result, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx) // nobody waits: this says nothing about the origin
	}
	now := time.Now()
	var status statusError
	refused := errors.As(cause, &status) && status.refusal()
	if old != nil && !refused && old.usableOnError(now) {
		t.rest(lease, old)
		return &Result{Entry: old, How: StaleHit, At: now, lease: lease}, nil
	}
	e.Status, e.Reason = t.opts.Classify(cause)
	e.Header = nil
	e.Freshness = t.freshness(lease, e)
	if lease.isUnkept() {
		return &Result{Entry: e, How: FilledUnkept, CutOff: true, At: now, lease: lease}, nil
	}
	if known := t.table.Lookup(lease); old != nil || known == nil || !known.OK() {
		// Where only bytes were lost, what the image is stays known: it may have derivatives.
		t.table.Commit(lease, e)
	}
	return &Result{Entry: e, How: Filled, At: now, lease: lease}, nil
}

// A statusError is an origin's answer that is none.
type statusError int

func (s statusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("the origin answered %d %s", int(s), http.StatusText(int(s))))
}

func (s statusError) Timeout() bool { return s == http.StatusGatewayTimeout }

// refusal reports whether the origin means what it says: no old bytes stand in for that (RFC 5861 section 4
// speaks of failures only). Storage services answer 403 for what has been deleted.
func (s statusError) refusal() bool {
	return s >= 400 && s < 500 && s != http.StatusRequestTimeout && s != http.StatusTooEarly && s != http.StatusTooManyRequests
}

var errTooLarge = errors.New("cache: too large")

// firstBytes is the memory that a body gets at first.
const firstBytes = 64 << 10

// readBody reads a whole body. Of one that is too large it returns what it has read. grow, where not nil, is asked before memory
// is taken, as for a Room: so that what a slow origin has not sent yet takes next to none, a body gets at most four times what
// has arrived. (Twice would leave as much garbage as there is body.)
func (t *Transport) readBody(resp *http.Response, grow func(bytes, expect int64) error) ([]byte, error) {
	most, length := t.opts.MaxBytes, resp.ContentLength
	if most < 0 {
		most = math.MaxInt64 - 1
	}
	if length > most {
		return nil, errTooLarge
	}
	var body []byte
	for {
		if len(body) == cap(body) {
			n := min(nextSize(int64(cap(body)), length, grow != nil), most+1)
			if grow != nil {
				if err := grow(n, max(length+1, n)); err != nil {
					return nil, roomError{err}
				}
			}
			larger := t.step(n)
			copy(larger, body)
			larger = larger[:len(body)]
			t.stepped(body)
			body = larger
		}
		n, err := resp.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case int64(len(body)) > most:
			return body, errTooLarge
		case err == io.EOF:
			if length > 0 && int64(len(body)) != length {
				return nil, io.ErrUnexpectedEOF
			}
			if cap(body)-len(body) > 512+len(body)/8 {
				body = append(make([]byte, 0, len(body)), body...)
			}
			if grow != nil {
				if err := grow(int64(cap(body)), int64(cap(body))); err != nil {
					return nil, roomError{err}
				}
			}
			return body, nil
		case err != nil:
			return nil, err
		}
	}
}

// stepSizes are the sizes that a body outgrows most often, which other bodies have the memory of next.
var stepSizes = [...]int64{firstBytes, 4 * firstBytes}

// step is memory for n bytes of a body, whatever is in it.
func (t *Transport) step(n int64) []byte {
	if i := slices.Index(stepSizes[:], n); i >= 0 {
		if b, _ := t.steps[i].Get().(*[]byte); b != nil {
			return *b
		}
	}
	return make([]byte, n)
}

// stepped is told of a body that has outgrown its memory.
func (t *Transport) stepped(body []byte) {
	body = body[:cap(body)]
	if i := slices.Index(stepSizes[:], int64(len(body))); i >= 0 {
		t.steps[i].Put(&body)
	}
}

// nextSize is how much memory a body gets that has filled what it has. length is less than zero where it is not known. One byte
// more than a body has lets the end be read.
func nextSize(has, length int64, steps bool) int64 {
	next := max(has+has/4, 2*min(has, 1<<20), 4<<10) // of what may end at any time
	if has <= length {
		next = length + 1
		if steps {
			next = min(next, max(4*has, firstBytes))
		} else {
			next = min(next, max(2*has, 64<<20))
		}
	}
	return next
}

// setValidators makes a request conditional. It reports whether there was anything to compare with.
func setValidators(h, known http.Header) bool {
	etag, modified := known.Get("Etag"), known.Get("Last-Modified")
	if etag != "" {
		h.Set("If-None-Match", etag)
	}
	if modified != "" {
		h.Set("If-Modified-Since", modified)
	}
	return etag != "" || modified != ""
}

// Fields that mean something to one connection only, or to one client (RFC 9110 section 7.6.1).
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization",
	"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

func endToEnd(h http.Header) http.Header {
	kept := h.Clone()
	if kept == nil {
		kept = make(http.Header)
	}
	for _, field := range h.Values("Connection") {
		for name := range strings.SplitSeq(field, ",") {
			kept.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hopByHop {
		kept.Del(name)
	}
	return kept
}

// freshen updates a stored header by that of a 304 (RFC 9111 section 3.2). What says something of the stored
// bytes stays, and with it the fields named in keep.
func freshen(stored, update http.Header, keep ...string) http.Header {
	h := stored.Clone()
	h.Del("Age")
	h.Del("Date") // an answer without one is dated when it arrives (RFC 9110 section 6.6.1)
	maps.Copy(h, update)
	for _, name := range append(keep, "Content-Length", "Content-Encoding", "Content-Range", "Content-Md5", "Etag") {
		if v, ok := stored[name]; ok {
			h[name] = v
		} else {
			delete(h, name)
		}
	}
	return h
}

func originalHeader(h http.Header) http.Header {
	return http.Header{"Content-Type": h.Values("Content-Type")}
}

// Purge makes a purge of one image take effect: for every request that arrives after it has returned,
// and after any restart. It covers every version of the image, stale and negative entries, and fills in
// flight.
func (t *Transport) Purge(image string, mode Mode) error {
	return t.table.Purge(t.opts.Source, image, mode)
}

// Free frees what a purge with Delete has made unreachable, and counts it.
func (t *Transport) Free(ctx context.Context, image string) (Removed, error) {
	return t.store.Remove(ctx, t.opts.Source, image)
}

// Supersede frees everything that was made from what an image was before r, and keeps r.
func (t *Transport) Supersede(ctx context.Context, r *Result) (Removed, error) {
	n := r.lease.name
	key := Key{n.Source, n.Image, Original, r.Entry.Digest}
	var keep *Thing
	if r.Entry.OK() && r.Keepable() && !(IsElsewhere(ctx) && Settles(t.store)) { // then it stays where all have it
		if r.body != nil {
			keep = &Thing{Header: originalHeader(r.Entry.Header), Body: r.body}
		} else if th, err := t.store.Get(ctx, key); err == nil {
			keep = th
		}
	}
	if t.table.keep != nil {
		if err := t.table.keep.Hide(n.Source, n.Image, false); err != nil {
			return Removed{}, err
		}
	}
	removed, err := t.store.Remove(ctx, n.Source, n.Image)
	if keep != nil {
		if removed.Originals > 0 { // it was among them, and stays
			removed.Originals--
			removed.Bytes = max(0, removed.Bytes-int64(len(keep.Body)))
		}
		_ = t.store.Put(ctx, key, keep, r.Alive)
	}
	if r.Keepable() && r.Entry.Status < 500 {
		t.table.save(r.lease, r.Entry)
	}
	return removed, err
}

// Spoil shortens the life of bytes that have turned out to be no picture to the negative lifetime, so
// that a corrected original is seen soon.
func (t *Transport) Spoil(r *Result) {
	e := *r.Entry
	e.Freshness.Lifetime = min(e.Freshness.Lifetime, e.Age(time.Now())+t.opts.Lifetime.Negative)
	e.Freshness.StaleWhileRevalidate, e.Freshness.StaleIfError = 0, 0
	if e.Freshness != r.Entry.Freshness {
		t.table.Amend(r.lease, r.Entry, &e)
	}
}

// Negative is how long a failure to make a picture of this source may be remembered.
func (t *Transport) Negative() time.Duration { return t.opts.Lifetime.Negative }
