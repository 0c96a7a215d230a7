package cluster

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/imagecdn/imagecdn/cache"
)

// names are what the nodes tell each other of their names, in a bucket: see [cache.Shared]. They save questions to origins, and nothing rests on
// them: each may be lost, late, or never written.
//
// # Why none of them undoes a purge
//
// An entry stands in the bucket with the position that its filler had when it asked the origin. Who reads one, by Lookup or by the watch, asks Purged
// after it was read, at the last moment, whether a purge behind that position covers it. So an entry that was written late, or that Forget has
// left, is used by nobody.
//
// # Writes
//
// Commit puts an entry in a queue, in which a later one of the same name takes its place. Each queue has one writer, and a name always the
// same queue, so a node never competes with itself. A write names the revision that it replaces. Where that is another by now, the writer reads
// what is there, and the newer exchange with the origin stays: the greater position, then the later request by the cluster's clock.
type names struct {
	o      namesOptions
	js     jetstream.JetStream
	bucket string
	kv     jetstream.KeyValue
	stream jetstream.Stream
	conn   *nats.Conn
	writer string // in what this one writes, so that its watch skips that
	queues []nameQueue
	forget chan forgotten
	brk    breaker

	revMu         sync.Mutex             // guards recent and older
	recent, older map[string]writtenName // by key: what is known to be in the bucket

	ctx    context.Context
	cancel context.CancelFunc
	all    sync.WaitGroup
	resets atomic.Uint64

	madeMu sync.Mutex    // guards made and anew
	made   time.Time     // when the bucket was
	anew   chan struct{} // closed when the bucket is another

	written, conflicts, dropped, lookups, found, slow, learned, skipped atomic.Uint64
}

// namesOptions are what names work with. The functions are called from many goroutines at once.
type namesOptions struct {
	Prefix   string
	Replicas int           // zero means 1
	MaxAge   time.Duration // of an entry in the bucket; zero means 24 hours
	MaxBytes int64         // of the bucket; zero means 1 GiB, negative no limit. A full one takes nothing until something has aged
	Timeout  time.Duration // of a lookup; zero means 250 ms
	Lag      time.Duration // of the watch, beyond which it leaves out what it has missed; zero means a minute
	Queue    int           // names that wait to be written; zero means 10,000

	// Log says which log of purges positions are in. What was written in another is not known. Nil means that there is but one.
	Log func() string

	// Purged reports whether a purge behind the position at covers e, or may, for all that is known. written is when e was written, by the
	// cluster's clock.
	Purged func(n cache.Name, e *cache.Entry, at uint64, written time.Time) bool

	// ToCluster makes a time of this node's clock one of the cluster's; FromCluster undoes it.
	ToCluster, FromCluster func(time.Time) time.Time

	// Learn is Table.Learn.
	Learn func(n cache.Name, e *cache.Entry, valid func() bool) bool

	Logger *slog.Logger
}

// namesStats count since the names were opened.
type namesStats struct {
	Written   uint64 // entries
	Conflicts uint64 // writes that found another revision than the one they were to replace
	Dropped   uint64 // entries and purges for which there was no room, or that could not be written
	Lookups   uint64
	Found     uint64 // lookups that returned an entry
	Slow      uint64 // lookups that got no answer in time, an error, or were not tried after too many of these
	Learned   uint64 // entries that the watch brought and the table took
	Skipped   uint64 // times that the watch was behind too far, and began anew at the end
	Waiting   int    // entries that wait to be written, now
}

const (
	nameWriters = 4

	maxNameValue   = 64 << 10 // bytes; a larger one is neither written nor read
	maxForgotten   = 1_000    // images that wait to be forgotten
	maxVersions    = 1_000    // of an image that Forget removes: what is left is purged all the same, and ages
	maxRevisions   = 8_192    // whose revisions are known
	maxWatchBehind = 10_000   // updates, beyond which the watch leaves out what it has missed; see Lag

	nameWriteTimeout = 5 * time.Second
	nameWriteTries   = 5

	// The origin's failures are every node's own: what one cannot reach, another may.
	leastFailure = http.StatusInternalServerError
)

// A writtenName is what is known of a key in the bucket.
type writtenName struct {
	rev       uint64
	at        uint64
	requested int64
}

// A forgotten image was purged at a position.
type forgotten struct {
	source, image string
	at            uint64
}

func newNames(ctx context.Context, js jetstream.JetStream, o namesOptions) (*names, error) {
	o.MaxAge = orDefault(o.MaxAge, 24*time.Hour)
	o.Timeout = orDefault(o.Timeout, 250*time.Millisecond)
	o.Lag = orDefault(o.Lag, time.Minute)
	o.Queue = orDefault(o.Queue, 10_000)
	o.MaxBytes = max(-1, orDefault(o.MaxBytes, 1<<30))
	n := &names{
		o:      o,
		js:     js,
		anew:   make(chan struct{}),
		bucket: o.Prefix + "_names",
		conn:   js.Conn(),
		writer: rand.Text()[:13],
		queues: make([]nameQueue, nameWriters),
		forget: make(chan forgotten, maxForgotten),
		recent: make(map[string]writtenName),
	}
	var err error
	if n.kv, n.made, err = n.make(ctx); err != nil {
		return nil, err
	}
	if n.stream, err = js.Stream(ctx, "KV_"+n.bucket); err != nil {
		return nil, fmt.Errorf("the bucket %s: %w", n.bucket, err)
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	for i := range n.queues {
		q := &n.queues[i]
		q.waiting, q.wake, q.max = make(map[cache.Name]pendingName), make(chan struct{}, 1), max(1, o.Queue/nameWriters)
		n.all.Go(func() { n.write(q) })
	}
	n.all.Go(n.forgetWaiting)
	n.all.Go(n.watch)
	return n, nil
}

// make makes the bucket where it is not there, and returns when that was.
func (n *names) make(ctx context.Context) (jetstream.KeyValue, time.Time, error) {
	return makeBucket(ctx, n.js, jetstream.KeyValueConfig{
		Bucket:       n.bucket,
		Description:  "What the nodes of an image CDN know of origins' images",
		TTL:          n.o.MaxAge,
		MaxBytes:     n.o.MaxBytes,
		MaxValueSize: maxNameValue + 1<<10, // and the message's header
		Replicas:     max(1, n.o.Replicas),
	})
}

// renew makes the bucket again where the servers have lost it.
func (n *names) renew(ctx context.Context) error {
	_, made, err := n.make(ctx)
	if err != nil {
		return err
	}
	n.madeMu.Lock()
	defer n.madeMu.Unlock()
	if made.Equal(n.made) {
		return nil
	}
	n.made = made
	n.Reset()
	close(n.anew)
	n.anew = make(chan struct{})
	return nil
}

// Close ends all that goes on behind. What waits to be written is lost.
func (n *names) Close() {
	n.cancel()
	n.all.Wait()
}

// Stats counts.
func (n *names) Stats() namesStats {
	s := namesStats{
		Written: n.written.Load(), Conflicts: n.conflicts.Load(), Dropped: n.dropped.Load(), Lookups: n.lookups.Load(),
		Found: n.found.Load(), Slow: n.slow.Load(), Learned: n.learned.Load(), Skipped: n.skipped.Load(),
	}
	for i := range n.queues {
		s.Waiting += n.queues[i].len()
	}
	return s
}

// Lookup implements cache.Shared.
func (n *names) Lookup(ctx context.Context, name cache.Name) *cache.Entry {
	n.lookups.Add(1)
	if !n.brk.allow(time.Now()) {
		n.slow.Add(1)
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, n.o.Timeout)
	defer cancel()
	key := nameKey(name)
	found, err := n.kv.Get(bounded, key)
	switch {
	case err == nil, errors.Is(err, jetstream.ErrKeyNotFound):
		n.brk.done(time.Now(), true)
	case ctx.Err() != nil: // who asked has gone: that says nothing of the engine
		n.brk.leave()
	default:
		n.slow.Add(1)
		n.brk.done(time.Now(), false)
	}
	if err != nil {
		return nil
	}
	v, e, err := n.parse(found)
	if err != nil || v.name() != name {
		return nil
	}
	n.saw(key, writtenName{found.Revision(), v.At, v.Requested})
	if n.o.Purged(name, e, v.At, found.Created()) { // at last: what comes after is the lease's to see
		return nil
	}
	n.found.Add(1)
	return e
}

// Commit implements cache.Shared. What is of no use to others is not told: an entry that is not to be kept, that a purge has marked, or that says
// that the origin has failed.
func (n *names) Commit(name cache.Name, e *cache.Entry, position uint64) {
	if e.Freshness.NoStore || e.Marked() || e.Status >= leastFailure || e.RequestTime.IsZero() || e.ResponseTime.IsZero() {
		return
	}
	if !n.queueOf(name).put(name, pendingName{e, position, n.log(), n.resets.Load()}) {
		n.dropped.Add(1)
	}
}

// Reset forgets what waits to be written, and what is known of the bucket: positions in it are in a log that is no more, or whose end was lost.
func (n *names) Reset() {
	n.resets.Add(1)
	for i := range n.queues {
		n.queues[i].clear()
	}
	n.revMu.Lock()
	defer n.revMu.Unlock()
	n.recent, n.older = make(map[string]writtenName), nil
}

// Forget removes behind what the bucket has of an image that a purge at the position at has covered, so that it does not take room. What was asked
// for after that purge stays.
func (n *names) Forget(source, image string, at uint64) {
	select {
	case n.forget <- forgotten{source, image, at}:
	default:
		n.dropped.Add(1)
	}
}

// A pendingName waits to be written.
type pendingName struct {
	e      *cache.Entry
	at     uint64
	log    string // that at is in
	resets uint64 // when it came
}

// newer reports whether p's exchange with the origin is newer than one at that position and time, by this node's clock.
func (p pendingName) newer(than pendingName) bool {
	if p.at != than.at {
		return p.at > than.at
	}
	return p.e.RequestTime.After(than.e.RequestTime)
}

// A nameQueue has the names that one writer is to write, each once.
type nameQueue struct {
	max  int
	wake chan struct{} // has an element where there may be something

	mu      sync.Mutex // guards the rest
	waiting map[cache.Name]pendingName
	order   []cache.Name // of waiting
}

func (n *names) queueOf(name cache.Name) *nameQueue {
	sum := hashOf(name.Source, name.Image, name.Version)
	return &n.queues[int(sum[0])%len(n.queues)]
}

func (q *nameQueue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

func (q *nameQueue) put(name cache.Name, p pendingName) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	was, ok := q.waiting[name]
	switch {
	case ok:
		if p.newer(was) {
			q.waiting[name] = p
		}
		return true
	case len(q.waiting) >= q.max:
		return false
	}
	q.waiting[name] = p
	q.order = append(q.order, name)
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

func (q *nameQueue) clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting, q.order = make(map[cache.Name]pendingName), nil
}

func (q *nameQueue) take() (name cache.Name, p pendingName, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.order) == 0 {
		q.order = nil // its array has grown with what has gone
		return name, p, false
	}
	name, q.order = q.order[0], q.order[1:]
	p = q.waiting[name]
	delete(q.waiting, name)
	return name, p, true
}

// write writes what q has until the names are closed.
func (n *names) write(q *nameQueue) {
	for {
		name, p, ok := q.take()
		if !ok {
			select {
			case <-q.wake:
				continue
			case <-n.ctx.Done():
				return
			}
		}
		for try := 1; ; try++ {
			err := n.writeOne(name, p)
			if err == nil {
				break
			}
			if try == nameWriteTries || n.ctx.Err() != nil {
				n.dropped.Add(1)
				n.o.Logger.Debug("cluster: a name could not be told to other nodes", "bucket", n.bucket, "error", err)
				break
			}
			if !pause(n.ctx, time.Second) {
				return
			}
		}
	}
}

// errContended is what a write ends with that others were always quicker than.
var errContended = errors.New("other nodes write it all the time")

// writeOne writes an entry, unless what is there is newer or a purge covers it. An error may be a passing one.
func (n *names) writeOne(name cache.Name, p pendingName) error {
	ctx, cancel := context.WithTimeout(n.ctx, nameWriteTimeout)
	defer cancel()
	key := nameKey(name)
	requested := n.o.ToCluster(p.e.RequestTime).UnixNano()
	value, err := n.encode(name, p)
	if err != nil { // too large, or not to be read by anybody
		n.dropped.Add(1)
		return nil
	}

	known := n.known(key)
	if known.rev != 0 && !newerExchange(p.at, requested, known.at, known.requested) {
		return nil
	}
	rev := known.rev
	for range 4 {
		if p.resets != n.resets.Load() || n.o.Purged(name, p.e, p.at, n.o.ToCluster(time.Now())) {
			return nil
		}
		now, err := n.kv.Update(ctx, key, value, rev)
		if err == nil {
			n.wrote(key, writtenName{now, p.at, requested})
			return nil
		}
		if !isConflict(err) {
			return err
		}
		n.conflicts.Add(1)
		there, err := n.kv.Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) { // it was deleted: Create knows the revision of that
			now, err = n.kv.Create(ctx, key, value)
			if err == nil {
				n.wrote(key, writtenName{now, p.at, requested})
				return nil
			}
			if !isConflict(err) {
				return err
			}
			rev = 0
			continue
		}
		if err != nil {
			return err
		}
		v, e, err := n.parse(there)
		switch {
		case errors.Is(err, errNewerFormat): // written by a newer program, which knows more
			return nil
		case err == nil && v.name() == name && !newerExchange(p.at, requested, v.At, v.Requested) && !n.o.Purged(name, e, v.At, there.Created()):
			n.saw(key, writtenName{there.Revision(), v.At, v.Requested})
			return nil
		}
		rev = there.Revision()
	}
	return errContended
}

func newerExchange(at uint64, requested int64, thanAt uint64, thanRequested int64) bool {
	if at != thanAt {
		return at > thanAt
	}
	return requested > thanRequested
}

func (n *names) wrote(key string, w writtenName) {
	n.written.Add(1)
	n.saw(key, w)
}

// saw notes what is in the bucket. Of the keys those are kept that were seen last, about.
func (n *names) saw(key string, w writtenName) {
	n.revMu.Lock()
	defer n.revMu.Unlock()
	if n.recent[key].rev >= w.rev || n.older[key].rev >= w.rev {
		return
	}
	n.recent[key] = w
	if len(n.recent) >= maxRevisions/2 {
		n.recent, n.older = make(map[string]writtenName), n.recent
	}
}

// known returns what was last seen under key, zero where that is not known.
func (n *names) known(key string) writtenName {
	n.revMu.Lock()
	defer n.revMu.Unlock()
	if w, ok := n.recent[key]; ok {
		return w
	}
	return n.older[key]
}

// gone notes that a key was deleted, so that the next write of it need not be told.
func (n *names) gone(key string) {
	n.revMu.Lock()
	defer n.revMu.Unlock()
	delete(n.recent, key)
	delete(n.older, key)
}

// forgetWaiting removes what Forget was called for.
func (n *names) forgetWaiting() {
	for {
		select {
		case f := <-n.forget:
			if err := n.forgetImage(f); err != nil && n.ctx.Err() == nil {
				n.dropped.Add(1)
				n.o.Logger.Debug("cluster: what the bucket has of a purged image stays until it is too old", "bucket", n.bucket, "error", err)
			}
		case <-n.ctx.Done():
			return
		}
	}
}

func (n *names) forgetImage(f forgotten) error {
	ctx, cancel := context.WithTimeout(n.ctx, nameWriteTimeout)
	defer cancel()
	prefix := "$KV." + n.bucket + "."
	info, err := n.stream.Info(ctx, jetstream.WithSubjectFilter(prefix+imageKey(f.source, f.image)+".*"))
	if err != nil {
		return err
	}
	left := maxVersions
	for subject := range info.State.Subjects {
		if left--; left < 0 {
			break
		}
		key := strings.TrimPrefix(subject, prefix)
		there, err := n.kv.Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		v, _, err := n.parse(there)
		if err == nil && v.At >= f.at || errors.Is(err, errNewerFormat) {
			continue
		}
		err = n.kv.Delete(ctx, key, jetstream.LastRevision(there.Revision()))
		if err != nil && !isConflict(err) { // else there is a newer one
			return err
		}
		n.gone(key)
	}
	return nil
}

// watch gives the table what other nodes have written, for as long as the names are open. It is told of what comes from when it
// begins on, and where it falls behind so far that it might for ever, it leaves out what it has missed: who wants that looks it up.
func (n *names) watch() {
	keepWatching(n.ctx, n.watchOnce, func(err error) {
		n.o.Logger.Debug("cluster: the watch of the names begins anew", "bucket", n.bucket, "error", err)
	})
}

var (
	errWatchEnded  = errors.New("the watch has ended")
	errWatchBehind = errors.New("the watch was too far behind")
)

func (n *names) watchOnce() error {
	connected := n.conn.StatusChanged(nats.CONNECTED)
	defer n.conn.RemoveStatusListener(connected)
	n.madeMu.Lock()
	anew := n.anew
	n.madeMu.Unlock()
	w, err := n.kv.WatchAll(n.ctx, jetstream.UpdatesOnly())
	if err != nil {
		return err
	}
	defer stopWatch(w)
	for {
		select {
		case <-connected: // sooner than the watch finds out that its consumer is gone
			return errWatchEnded
		case there, ok := <-w.Updates():
			if !ok {
				return errWatchEnded
			}
			if there == nil {
				continue
			}
			if there.Delta() > maxWatchBehind || n.o.ToCluster(time.Now()).Sub(there.Created()) > n.o.Lag {
				n.skipped.Add(1)
				return errWatchBehind
			}
			n.hear(there)
		case <-anew:
			return errWatchEnded
		case <-n.ctx.Done():
			return nil
		}
	}
}

// hear takes what the watch has brought.
func (n *names) hear(there jetstream.KeyValueEntry) {
	if there.Operation() != jetstream.KeyValuePut {
		n.gone(there.Key())
		return
	}
	v, e, err := n.parse(there)
	if err != nil {
		return
	}
	name := v.name()
	if nameKey(name) != there.Key() {
		return
	}
	n.saw(there.Key(), writtenName{there.Revision(), v.At, v.Requested})
	if v.Writer == n.writer {
		return
	}
	valid := func() bool { return !n.o.Purged(name, e, v.At, there.Created()) }
	if valid() && n.o.Learn(name, e, valid) {
		n.learned.Add(1)
	}
}

// A nameValue is an entry in the bucket, behind a byte for the format. Times are Unix nanoseconds by the cluster's clock. It has no generation: that counts purges
// of one node's table, and means nothing elsewhere.
type nameValue struct {
	Source    string              `json:"source"`
	Image     string              `json:"image"`
	Version   string              `json:"version,omitempty"`
	Log       string              `json:"log"`    // of purges
	At        uint64              `json:"at"`     // the filler's position in it when it asked
	Writer    string              `json:"writer"` // a word of its own for each opening of the names
	Status    int                 `json:"status"`
	Header    map[string][]string `json:"header,omitempty"`
	Digest    cache.Digest        `json:"digest"`
	Size      int64               `json:"size"`
	Reason    string              `json:"reason,omitempty"`
	Requested int64               `json:"requested"`
	Responded int64               `json:"responded"`
	Age       time.Duration       `json:"age,omitempty"` // when it arrived
	Lifetime  time.Duration       `json:"lifetime"`
	While     time.Duration       `json:"stale_while_revalidate,omitempty"`
	IfError   time.Duration       `json:"stale_if_error,omitempty"`
	Variant   string              `json:"variant,omitempty"`
}

func (n *names) log() string {
	if n.o.Log == nil {
		return ""
	}
	return n.o.Log()
}

func (v *nameValue) name() cache.Name {
	return cache.Name{Source: v.Source, Image: v.Image, Version: v.Version}
}

const nameFormat = '1'

var (
	errNewerFormat = errors.New("of a format that this program does not know")
	errBadName     = errors.New("no entry of a name")
	errOtherLog    = errors.New("of before the log of purges was lost")
)

// longest bounds durations, so that sums of them do not overflow.
const longest = (1 << 31) * time.Second

// encode returns p as the bucket has it, or an error where it is too large or says what no reader takes.
func (n *names) encode(name cache.Name, p pendingName) ([]byte, error) {
	e := p.e
	f := e.Freshness
	v := nameValue{
		Source: name.Source, Image: name.Image, Version: name.Version, Log: p.log, At: p.at, Writer: n.writer,
		Status: e.Status, Header: e.Header, Digest: e.Digest, Size: e.Size, Reason: e.Reason,
		Requested: n.o.ToCluster(e.RequestTime).UnixNano(), Responded: n.o.ToCluster(e.ResponseTime).UnixNano(),
		Age: f.InitialAge, Lifetime: f.Lifetime, While: f.StaleWhileRevalidate, IfError: f.StaleIfError, Variant: e.Variant,
	}
	if err := v.check(); err != nil {
		return nil, err
	}
	return v.append(nil)
}

func (v *nameValue) append(b []byte) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if 1+len(body) > maxNameValue {
		return nil, errBadName
	}
	return append(append(b, nameFormat), body...), nil
}

// parse reads what the bucket has. The entry is the caller's.
func (n *names) parse(there jetstream.KeyValueEntry) (*nameValue, *cache.Entry, error) {
	v, err := parseName(there.Value())
	if err == nil && v.Log != n.log() {
		err = errOtherLog
	}
	if err != nil {
		return nil, nil, err
	}
	// Nothing was heard after it was written, whatever the clock of who says so.
	responded := time.Unix(0, min(v.Responded, there.Created().UnixNano()))
	requested := time.Unix(0, min(v.Requested, responded.UnixNano()))
	return v, &cache.Entry{
		Status: v.Status, Header: v.Header, Digest: v.Digest, Size: v.Size, Reason: v.Reason, Variant: v.Variant,
		RequestTime: n.o.FromCluster(requested), ResponseTime: n.o.FromCluster(responded),
		Freshness: cache.Freshness{InitialAge: v.Age, Lifetime: v.Lifetime, StaleWhileRevalidate: v.While, StaleIfError: v.IfError},
	}, nil
}

// parseName is the inverse of append. What it returns has been checked.
func parseName(value []byte) (*nameValue, error) {
	switch {
	case len(value) == 0 || len(value) > maxNameValue:
		return nil, errBadName
	case value[0] != nameFormat:
		return nil, errNewerFormat
	}
	v := new(nameValue)
	if err := json.Unmarshal(value[1:], v); err != nil {
		return nil, errBadName
	}
	return v, v.check()
}

func (v *nameValue) check() error {
	for _, d := range []time.Duration{v.Age, v.Lifetime, v.While, v.IfError} {
		if d < 0 || d > longest {
			return errBadName
		}
	}
	if !strings.HasPrefix(v.Image, "/") || v.Status < 100 || v.Status >= leastFailure || v.Size < 0 || v.Requested <= 0 || v.Responded <= 0 {
		return errBadName
	}
	for name, values := range v.Header {
		if !isFieldName(name) {
			return errBadName
		}
		for _, value := range values {
			if !isFieldValue(value) {
				return errBadName
			}
		}
	}
	if !isFieldValue(v.Reason) {
		return errBadName
	}
	for _, s := range []string{v.Source, v.Image, v.Version, v.Variant} {
		if !utf8.ValidString(s) {
			return errBadName
		}
	}
	return nil
}

// isFieldName is strict where net/http is lenient, for what has come a longer way than an origin's answer.
func isFieldName(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != "" && http.CanonicalHeaderKey(s) == s
}

func isFieldValue(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s) // else JSON would say something else
}

// nameKey is where the bucket has a name: all that belongs to an image has one beginning, so that Forget can find it. Whoever reads compares the name inside.
func nameKey(n cache.Name) string {
	sum := hashOf(n.Version)
	return imageKey(n.Source, n.Image) + "." + hex.EncodeToString(sum[:])
}

func imageKey(source, image string) string {
	sum := hashOf(source, image)
	return hex.EncodeToString(sum[:])
}

// hashOf returns 128 bits of a hash of the parts, which no other parts have.
func hashOf(parts ...string) (sum [16]byte) {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:", len(p))
		h.Write([]byte(p))
	}
	copy(sum[:], h.Sum(nil))
	return sum
}

// A breaker keeps questions from an engine that has not answered the last few: after breakerLimit in a row nobody asks for breakerRest, and then one
// does, to find out. The zero value asks.
type breaker struct {
	mu     sync.Mutex // guards the rest
	failed int        // in a row
	until  time.Time  // nobody asks before, where too many have failed
}

const (
	breakerLimit = 3
	breakerRest  = 2 * time.Second
)

// allow reports whether to ask now. Who asks calls done, or leave.
func (b *breaker) allow(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed < breakerLimit {
		return true
	}
	if now.Before(b.until) {
		return false
	}
	b.until = now.Add(breakerRest) // the others wait for what this one finds
	return true
}

func (b *breaker) done(now time.Time, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ok {
		b.failed = 0
		return
	}
	b.failed = min(b.failed+1, breakerLimit)
	b.until = now.Add(breakerRest)
}

// leave is done for a question whose answer nobody has waited for. The next may ask.
func (b *breaker) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.until = time.Time{}
}

// backoff is how long to wait after so many failures in a row: 100 ms to about 6 s, a part of it by chance, so that nodes
// do not come all at once.
func backoff(failed int) time.Duration {
	d := 100 * time.Millisecond << min(failed, 6)
	return d/2 + mathrand.N(d/2)
}

// keepWatching calls watch, which returns when something fails, again and again until ctx ends, and says why it has to.
func keepWatching(ctx context.Context, watch func() error, failing func(error)) {
	for failed := 0; ctx.Err() == nil; {
		began := time.Now()
		if err := watch(); err != nil && ctx.Err() == nil {
			failing(err)
		}
		if failed++; time.Since(began) > time.Minute {
			failed = 0
		}
		if !pause(ctx, backoff(failed)) {
			return
		}
	}
}

// pause waits, and reports whether ctx is alive then.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// stopWatch ends a watch, behind, for the engine is told. Until that is done the watch may be in the middle of handing on an update, which somebody has to take.
func stopWatch(w jetstream.KeyWatcher) {
	go func() { _ = w.Stop() }()
	go func() {
		for range w.Updates() {
		}
	}()
}

// isConflict reports whether a write was refused because its key has another revision than it named. A bucket with replicas says so in a way
// of its own, which jetstream.KeyValue does not translate everywhere.
func isConflict(err error) bool {
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return true
	}
	refused := new(jetstream.APIError)
	return errors.As(err, &refused) &&
		(refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
