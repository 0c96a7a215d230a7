package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/imagecdn/imagecdn/purge"
)

// jobs are the nodes' purges in a bucket: a [purge.SharedLog].
//
// The bucket has under "j.ID" a line of JSON that says whose the job is and whether it is at its end, and then what the service says of it, compressed. What is
// too large for a message is in parts, under "p.ID.WORD.NUMBER", which are written before what names them. Every write names the revision
// that it replaces, so that of a node and one that takes its job from it one succeeds.
//
// A node has in memory an index of all jobs, which a watch keeps current. What they say is read when it is asked for.
//
// # What is written when
//
// An entry that is Final is written before Write returns, and so are the first two of a job that are not, and the first two after one that was: the
// intent and the acceptance, of the first attempt, of a later one, and of who has taken the job. What comes after that is progress, which whoever
// takes the job finds out anew: it is kept here, and the latest is written once every so often, and when the log is closed.
type jobs struct {
	o      jobsOptions
	js     jetstream.JetStream
	bucket string
	kv     jetstream.KeyValue
	conn   *nats.Conn
	part   int // bytes of a message
	enc    *zstd.Encoder
	dec    *zstd.Decoder

	mu     sync.Mutex    // guards what follows and what the items say they have under it
	items  []*jobItem    // by ascending ID
	bytes  int64         // of all in the bucket
	newest uint64        // the greatest revision heard of
	made   time.Time     // when the bucket was
	anew   chan struct{} // closed when the bucket is another
	behind map[*jobItem]struct{}
	lost   [2]map[string]struct{} // IDs of jobs that this node has written and another has removed, the latest ones
	first  *changes               // since the log was opened, until the first Watch takes them
	subs   map[*changes]struct{}

	loaded chan struct{} // closed when the index is complete
	trim   chan struct{} // has an element where there may be too many
	ctx    context.Context
	cancel context.CancelFunc
	all    sync.WaitGroup

	writes, coalesced, conflicts, taken, trimmed atomic.Uint64
}

// jobsOptions are what a log of jobs works with.
type jobsOptions struct {
	Prefix   string
	Replicas int           // zero means 1
	Self     string        // the name of this node
	Max      int           // jobs of all nodes; zero means 20,000. The oldest that are at their end go
	MaxBytes int64         // of them, as they are in the bucket; zero means 256 MiB
	Every    time.Duration // between writes of a job's progress, and until others are told of one that is not at its end; zero means 1 s
	Timeout  time.Duration // of one operation; zero means 5 s
	Fenced   func() bool   // this node's jobs are those of a younger process of its name; nil means never
	Logger   *slog.Logger
}

// jobsStats are about the bucket as this node knows it, and count since the log was opened.
type jobsStats struct {
	Jobs      int    // in the bucket
	Bytes     int64  // of these
	Writes    uint64 // of entries
	Coalesced uint64 // entries that were not written, for a later one was
	Conflicts uint64 // writes that found another revision than the one they were to replace
	Taken     uint64 // jobs that this node has taken from others
	Trimmed   uint64 // jobs that this node has removed to make room
}

const (
	jobParallel    = 16                     // requests at once
	watchDelay     = 200 * time.Millisecond // for which a watch waits, as most jobs are at their end by then, and are told of once
	maxJobData     = 32 << 20               // bytes of one entry
	maxJobPart     = 512 << 10              // bytes of one message
	minPacked      = 1 << 10                // bytes that are worth compressing: each node reads each job
	markersLast    = time.Hour              // that a deletion can be heard of
	partsOrphaned  = 10 * time.Minute       // parts that are older and that nothing names are left from a write that was interrupted
	maxLost        = 20_000                 // jobs that were removed by others and are known as such
	maxChangeBytes = 16 << 20               // of what others have written and a watch has not handed on; beyond that it reads them again
)

// A jobItem is a job in the index.
type jobItem struct {
	id   string
	turn sync.Mutex // held while this node writes the job, over I/O; taken before jobs.mu

	// jobs.mu guards the rest.
	rev  uint64 // of what is known; zero while it was never written
	head jobHead
	size int64
	bad  error     // why it cannot be read
	rest time.Time // until then it is not told of as unfinished, as what it says is not all there
	gone bool      // from the index
	mine bool      // this node has written it
	told uint64    // the revision that the watch has brought

	urgent  int    // entries written at once since the last that was final
	waits   bool   // late is to be written
	late    []byte // progress, newer than what the bucket has, for who reads it; never written to
	doubted bool   // a take may have been carried out although it has failed
}

// A jobHead is the first line of a job in the bucket.
type jobHead struct {
	Format int    `json:"format"`
	Owner  string `json:"owner"`
	Final  bool   `json:"final,omitempty"`
	Packed bool   `json:"packed,omitempty"` // the data is compressed with zstd
	Word   string `json:"word,omitempty"`   // of the data's parts, where it is in parts
	Parts  int    `json:"parts,omitempty"`
	Size   int64  `json:"size,omitempty"` // of all parts
}

const jobFormat = 1

var (
	errBadJob  = errors.New("is damaged")
	errNoParts = errors.New("is not all there")
	errGone    = errors.New("is gone")
)

func newJobs(ctx context.Context, js jetstream.JetStream, o jobsOptions) (*jobs, error) {
	o.Max = orDefault(o.Max, 20_000)
	o.MaxBytes = orDefault(o.MaxBytes, 256<<20)
	o.Every = orDefault(o.Every, time.Second)
	o.Timeout = orDefault(o.Timeout, 5*time.Second)
	l := &jobs{
		o:      o,
		js:     js,
		anew:   make(chan struct{}),
		bucket: o.Prefix + "_jobs",
		conn:   js.Conn(),
		part:   maxJobPart,
		behind: make(map[*jobItem]struct{}),
		first:  newChanges(o.Every),
		subs:   make(map[*changes]struct{}),
		loaded: make(chan struct{}),
		trim:   make(chan struct{}, 1),
	}
	if limit := js.Conn().MaxPayload() / 2; limit > 0 {
		l.part = int(min(int64(l.part), limit))
	}
	l.subs[l.first] = struct{}{}
	var err error
	if l.enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true)); err != nil {
		return nil, err
	}
	if l.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxJobData)); err != nil {
		return nil, err
	}
	if l.kv, l.made, err = l.make(ctx); err != nil {
		l.dec.Close()
		return nil, err
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.all.Go(l.follow)
	l.all.Go(l.writeBehind)
	select {
	case <-l.loaded:
	case <-ctx.Done():
		l.Close()
		return nil, fmt.Errorf("the bucket %s is not read in time: %w", l.bucket, ctx.Err())
	}
	l.all.Go(l.sweep)
	l.wantRoom()
	return l, nil
}

// make makes the bucket where it is not there, and returns when that was.
func (l *jobs) make(ctx context.Context) (jetstream.KeyValue, time.Time, error) {
	return makeBucket(ctx, l.js, jetstream.KeyValueConfig{
		Bucket:         l.bucket,
		Description:    "The invalidation jobs of an image CDN",
		Replicas:       max(1, l.o.Replicas),
		LimitMarkerTTL: markersLast,
	})
}

// renew makes the bucket again where the servers have lost it. Of what was in it, this node's jobs that go on are written again by what comes next of them.
func (l *jobs) renew(ctx context.Context) error {
	_, made, err := l.make(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if made.Equal(l.made) {
		return nil
	}
	l.o.Logger.Error("cluster: the bucket of jobs is another; those that were at their end are no longer known there", "bucket", l.bucket)
	for _, it := range l.items {
		it.gone, it.mine, it.rev = true, false, 0 // no revision of before means anything
		it.late, it.waits = nil, false
	}
	l.items, l.bytes, l.newest, l.made = nil, 0, 0, made
	clear(l.behind)
	close(l.anew)
	l.anew = make(chan struct{})
	return nil
}

// Close writes what progress waits to be written, unless that takes too long, and ends all that goes on behind.
func (l *jobs) Close() {
	l.cancel()
	l.all.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), l.o.Timeout)
	defer cancel()
	l.flush(ctx)
	l.all.Wait() // for parts that are removed
	l.dec.Close()
}

// String implements purge.Log.
func (l *jobs) String() string { return "bucket " + l.bucket }

// Stats tells of the log.
func (l *jobs) Stats() jobsStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return jobsStats{
		Jobs: len(l.items), Bytes: l.bytes, Writes: l.writes.Load(), Coalesced: l.coalesced.Load(), Conflicts: l.conflicts.Load(),
		Taken: l.taken.Load(), Trimmed: l.trimmed.Load(),
	}
}

// Write implements purge.Log. An entry that is another node's is ErrNotOwner, and so nothing is written; a drop of one is none of this node's business.
func (l *jobs) Write(put []purge.LogEntry, drop []string) error {
	var now []purge.LogEntry
	l.mu.Lock()
	for _, e := range put {
		err := checkJob(e)
		if err == nil {
			if it := l.find(e.ID); it != nil && it.rev != 0 && it.head.Owner != l.o.Self || it == nil && l.wasLost(e.ID) {
				err = purge.ErrNotOwner
			}
		}
		if err != nil {
			l.mu.Unlock()
			return fmt.Errorf("job %.36q: %w", e.ID, err)
		}
	}
	for _, e := range put {
		if it := l.find(e.ID); it != nil && it.rev != 0 && !e.Final && !it.head.Final && it.urgent >= 2 {
			if it.waits {
				l.coalesced.Add(1)
			}
			it.late, it.waits = bytes.Clone(e.Data), true
			l.behind[it] = struct{}{}
		} else {
			now = append(now, e)
		}
	}
	l.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), l.o.Timeout)
	defer cancel()
	return parallel(len(now)+len(drop), func(i int) error {
		if i >= len(now) {
			if err := l.drop(ctx, drop[i-len(now)]); err != nil {
				return fmt.Errorf("job %.36q is not dropped: %w", drop[i-len(now)], err)
			}
			return nil
		}
		e := now[i]
		it := l.lock(e.ID)
		defer it.turn.Unlock()
		l.mu.Lock()
		l.settled(it)
		l.mu.Unlock()
		if err := l.put(ctx, it, e.Data, e.Final); err != nil {
			if mayPass(err) {
				err = fmt.Errorf("%w: %w", purge.ErrUnavailable, err)
			}
			return fmt.Errorf("job %.36q: %w", e.ID, err)
		}
		l.mu.Lock()
		if it.urgent++; e.Final {
			it.urgent = 0
			l.settled(it) // whatever has come meanwhile is of before
		}
		l.mu.Unlock()
		return nil
	})
}

// settled has nothing of it wait to be written. l.mu is held.
func (l *jobs) settled(it *jobItem) {
	it.late = nil
	if it.waits {
		it.waits = false
		delete(l.behind, it)
		l.coalesced.Add(1)
	}
}

func checkJob(e purge.LogEntry) error {
	if len(e.ID) > 64 || !isKeyToken(e.ID) {
		return errors.New("an ID here is of letters, digits and dashes")
	}
	if len(e.Data) > maxJobData {
		return fmt.Errorf("%d bytes are too much, %d is the limit", len(e.Data), maxJobData)
	}
	return nil
}

// isKeyToken reports whether s can be a part of a key.
func isKeyToken(s string) bool {
	for _, c := range []byte(s) {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '-' || c == '_') {
			return false
		}
	}
	return s != ""
}

// lock returns the item of a job, new where there is none, with its turn. Who finds that nothing was written removes it again.
func (l *jobs) lock(id string) *jobItem {
	for {
		l.mu.Lock()
		it := l.find(id)
		if it == nil {
			it = &jobItem{id: id}
			i, _ := l.search(id)
			l.items = slices.Insert(l.items, i, it)
		}
		l.mu.Unlock()
		it.turn.Lock()
		l.mu.Lock()
		gone := it.gone
		l.mu.Unlock()
		if !gone {
			return it
		}
		it.turn.Unlock()
	}
}

func (l *jobs) search(id string) (int, bool) {
	return slices.BinarySearchFunc(l.items, id, func(it *jobItem, id string) int { return strings.Compare(it.id, id) })
}

// find returns the item of a job, or nil. l.mu is held.
func (l *jobs) find(id string) *jobItem {
	if i, ok := l.search(id); ok {
		return l.items[i]
	}
	return nil
}

// lose removes a job that another node has removed from the bucket: what this node may still have in hand of it is not to bring it back. l.mu is held.
func (l *jobs) lose(it *jobItem) {
	if it.mine {
		if len(l.lost[0]) >= maxLost/2 {
			l.lost[0], l.lost[1] = nil, l.lost[0]
		}
		if l.lost[0] == nil {
			l.lost[0] = make(map[string]struct{})
		}
		l.lost[0][it.id] = struct{}{}
	}
	l.remove(it)
}

func (l *jobs) wasLost(id string) bool {
	_, ok := l.lost[0][id]
	_, earlier := l.lost[1][id]
	return ok || earlier
}

// remove takes an item out of the index. l.mu is held.
func (l *jobs) remove(it *jobItem) {
	if i, ok := l.search(it.id); ok && l.items[i] == it {
		l.items = slices.Delete(l.items, i, i+1)
		l.bytes -= it.size
		it.gone = true
		delete(l.behind, it)
	}
}

// put writes a job as this node's, over whatever this node has written of it. The caller has the turn.
func (l *jobs) put(ctx context.Context, it *jobItem, data []byte, final bool) (err error) {
	defer func() {
		if err != nil {
			l.mu.Lock()
			if it.rev == 0 {
				l.remove(it)
			}
			l.mu.Unlock()
		}
	}()
	if l.fenced() {
		return errUsurped
	}
	head, value, err := l.encode(ctx, it.id, data, final)
	if err != nil {
		return err
	}
	for range 4 {
		l.mu.Lock()
		rev, was := it.rev, it.head
		l.mu.Unlock()
		if rev != 0 && was.Owner != l.o.Self {
			l.removeParts(it.id, head)
			return purge.ErrNotOwner
		}
		now, err := l.kv.Update(ctx, jobKey(it.id), value, rev)
		if err == nil {
			l.wrote(it, now, head, value)
			l.removeParts(it.id, was)
			if rev == 0 {
				l.wantRoom()
			}
			return nil
		}
		if !isConflict(err) {
			return err
		}
		l.conflicts.Add(1)
		there, err := l.kv.Get(ctx, jobKey(it.id))
		switch {
		case err == nil:
			l.observe(it.id, there, false)
		case errors.Is(err, jetstream.ErrKeyNotFound) && rev != 0: // another has taken it, and removed it
			l.mu.Lock()
			renewed := it.rev == 0
			if !renewed {
				l.lose(it)
			}
			l.mu.Unlock()
			if !renewed {
				return purge.ErrNotOwner
			}
		case errors.Is(err, jetstream.ErrKeyNotFound): // it was dropped once: Create knows the revision of that
			now, err := l.kv.Create(ctx, jobKey(it.id), value)
			if err == nil {
				l.wrote(it, now, head, value)
				return nil
			}
			if !isConflict(err) {
				return err
			}
		default:
			return err
		}
	}
	return errContended
}

func (l *jobs) fenced() bool { return l.o.Fenced != nil && l.o.Fenced() }

// wrote notes what this node has written.
func (l *jobs) wrote(it *jobItem, rev uint64, head jobHead, value []byte) {
	l.writes.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	it.mine = true
	if it.gone { // it was deleted while it was written, as far as the watch had come
		if i, ok := l.search(it.id); !ok {
			l.items = slices.Insert(l.items, i, it)
			it.gone, it.size = false, 0
		}
	}
	l.set(it, rev, head, int64(len(value))+head.Size, nil)
}

// set notes what the bucket has of a job, unless something later is known. l.mu is held.
func (l *jobs) set(it *jobItem, rev uint64, head jobHead, size int64, bad error) {
	if rev <= it.rev {
		return
	}
	if !it.gone {
		l.bytes += size - it.size
	}
	it.rev, it.head, it.size, it.bad, it.rest = rev, head, size, bad, time.Time{}
	l.newest = max(l.newest, rev)
}

// encode returns a job as the bucket has it. Parts are in the bucket when it returns.
func (l *jobs) encode(ctx context.Context, id string, data []byte, final bool) (head jobHead, value []byte, err error) {
	head = jobHead{Format: jobFormat, Owner: l.o.Self, Final: final}
	if len(data) > minPacked {
		if packed := l.enc.EncodeAll(data, nil); len(packed) < len(data) {
			data, head.Packed = packed, true
		}
	}
	if len(data) > l.part {
		head.Word, head.Size = rand.Text()[:13], int64(len(data))
		for part := range slices.Chunk(data, l.part) {
			if _, err := l.kv.Put(ctx, partKey(id, head.Word, head.Parts), part); err != nil {
				l.removeParts(id, head)
				return head, nil, err
			}
			head.Parts++
		}
		data = nil
	}
	value, err = json.Marshal(head)
	value = append(append(value, '\n'), data...)
	return head, value, err
}

// parseJob splits a job as the bucket has it. A head that says a format which is not known has nothing else.
func parseJob(value []byte) (head jobHead, body []byte, err error) {
	line, body, ok := bytes.Cut(value, []byte("\n"))
	if !ok || json.Unmarshal(line, &head) != nil {
		return jobHead{}, nil, errBadJob
	}
	if head.Format != jobFormat {
		return jobHead{}, nil, fmt.Errorf("has format %d, and this program knows %d alone", head.Format, jobFormat)
	}
	inParts := head.Parts > 0
	switch {
	case head.Owner == "", head.Parts < 0, head.Size < 0, head.Size > maxJobData, inParts != (head.Size > 0), int64(head.Parts) > head.Size,
		inParts && (!isKeyToken(head.Word) || len(body) > 0):
		return jobHead{}, nil, errBadJob
	}
	return head, body, nil
}

// data returns what the service has said, reading its parts where it has some.
func (l *jobs) data(ctx context.Context, id string, head jobHead, body []byte) ([]byte, error) {
	if head.Parts > 0 {
		body = make([]byte, 0, head.Size)
		for i := range head.Parts {
			part, err := l.kv.Get(ctx, partKey(id, head.Word, i))
			if errors.Is(err, jetstream.ErrKeyNotFound) {
				return nil, errNoParts
			}
			if err != nil {
				return nil, err
			}
			if body = append(body, part.Value()...); int64(len(body)) > head.Size {
				return nil, errBadJob
			}
		}
		if int64(len(body)) != head.Size {
			return nil, errBadJob
		}
	}
	if !head.Packed {
		return bytes.Clone(body), nil
	}
	data, err := l.dec.DecodeAll(body, nil)
	if err != nil {
		return nil, errBadJob
	}
	return data, nil
}

func jobKey(id string) string { return "j." + id }

func partKey(id, word string, part int) string {
	return "p." + id + "." + word + "." + strconv.Itoa(part)
}

// removeParts removes the parts that head names, behind. What is left after a crash goes with the next sweep.
func (l *jobs) removeParts(id string, head jobHead) {
	if head.Parts == 0 {
		return
	}
	l.all.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), l.o.Timeout)
		defer cancel()
		for i := range head.Parts {
			if l.kv.Purge(ctx, partKey(id, head.Word, i), jetstream.PurgeTTL(markersLast)) != nil {
				return
			}
		}
	})
}

// sweep removes parts that nothing names.
func (l *jobs) sweep() {
	w, err := l.kv.Watch(l.ctx, "p.>", jetstream.IgnoreDeletes(), jetstream.MetaOnly())
	if err != nil {
		return
	}
	defer stopWatch(w)
	for {
		select {
		case part, ok := <-w.Updates():
			if !ok || part == nil {
				return
			}
			words := strings.Split(part.Key(), ".")
			if len(words) != 4 || time.Since(part.Created()) < partsOrphaned {
				continue
			}
			l.mu.Lock()
			it := l.find(words[1])
			named := it != nil && (it.rev == 0 || it.bad != nil || it.head.Word == words[2])
			l.mu.Unlock()
			if !named {
				ctx, cancel := context.WithTimeout(l.ctx, l.o.Timeout)
				_ = l.kv.Purge(ctx, part.Key(), jetstream.PurgeTTL(markersLast), jetstream.LastRevision(part.Revision()))
				cancel()
			}
		case <-l.ctx.Done():
			return
		}
	}
}

// drop removes a job that is this node's.
func (l *jobs) drop(ctx context.Context, id string) error {
	if !isKeyToken(id) {
		return nil // it was never put
	}
	l.mu.Lock()
	absent := l.find(id) == nil
	l.mu.Unlock()
	if absent {
		return nil
	}
	it := l.lock(id)
	defer it.turn.Unlock()
	for range 4 {
		l.mu.Lock()
		rev, head, mine := it.rev, it.head, it.mine
		if rev == 0 {
			l.remove(it)
		}
		own := rev != 0 && head.Owner == l.o.Self
		it.mine = mine && !own // the watch may tell of it first, and this node may put it again
		l.mu.Unlock()
		if !own {
			return nil
		}
		err := l.kv.Purge(ctx, jobKey(id), jetstream.LastRevision(rev), jetstream.PurgeTTL(markersLast))
		if err == nil {
			l.mu.Lock()
			l.remove(it)
			l.mu.Unlock()
			l.removeParts(id, head)
			return nil
		}
		l.mu.Lock()
		it.mine = mine
		l.mu.Unlock()
		if !isConflict(err) {
			return err
		}
		l.conflicts.Add(1)
		there, err := l.kv.Get(ctx, jobKey(id))
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			l.mu.Lock()
			l.remove(it)
			l.mu.Unlock()
			return nil
		}
		if err != nil {
			return err
		}
		l.observe(id, there, false)
	}
	return errContended
}

// Take implements purge.SharedLog.
func (l *jobs) Take(e purge.LogEntry) error {
	if err := checkJob(e); err != nil {
		return fmt.Errorf("job %.36q: %w", e.ID, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.o.Timeout)
	defer cancel()
	l.mu.Lock()
	absent := l.find(e.ID) == nil
	l.mu.Unlock()
	if absent {
		return fmt.Errorf("job %.36q: %w", e.ID, purge.ErrNotOwner)
	}
	it := l.lock(e.ID)
	defer it.turn.Unlock()
	if err := l.take(ctx, it, e); err != nil {
		return fmt.Errorf("job %.36q: %w", e.ID, err)
	}
	l.taken.Add(1)
	return nil
}

func (l *jobs) take(ctx context.Context, it *jobItem, e purge.LogEntry) error {
	if l.fenced() {
		return errUsurped
	}
	l.mu.Lock()
	doubted := it.doubted
	it.doubted = false
	rev, owner := it.rev, it.head.Owner
	l.mu.Unlock()
	switch {
	case rev == 0:
		l.mu.Lock()
		l.remove(it)
		l.mu.Unlock()
		return purge.ErrNotOwner
	case doubted && owner == l.o.Self:
		return nil // the last time, and nobody could say so
	case owner != e.Owner:
		return purge.ErrNotOwner
	}
	there, err := l.kv.Get(ctx, jobKey(it.id))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return purge.ErrNotOwner
	}
	if err != nil {
		return err
	}
	head, body, err := parseJob(there.Value())
	if err != nil {
		return err
	}
	data, err := l.data(ctx, it.id, head, body)
	switch {
	case errors.Is(err, errNoParts): // written over meanwhile
		return purge.ErrNotOwner
	case err != nil:
		return err
	case head.Owner != e.Owner || !bytes.Equal(data, e.Data):
		l.observe(it.id, there, false)
		return purge.ErrNotOwner
	}
	head.Owner = l.o.Self
	line, err := json.Marshal(head)
	if err != nil {
		return err
	}
	value := append(append(line, '\n'), body...)
	now, err := l.kv.Update(ctx, jobKey(it.id), value, there.Revision())
	if isConflict(err) {
		l.conflicts.Add(1)
		return purge.ErrNotOwner
	}
	l.mu.Lock()
	it.doubted = err != nil
	it.urgent = 0
	l.mu.Unlock()
	if err != nil {
		return err
	}
	l.wrote(it, now, head, value)
	return nil
}

// Unfinished implements purge.SharedLog.
func (l *jobs) Unfinished() iter.Seq[purge.LogEntry] {
	return func(yield func(purge.LogEntry) bool) {
		var entries []purge.LogEntry
		l.mu.Lock()
		for _, it := range slices.Backward(l.items) {
			if it.rev != 0 && it.bad == nil && !it.head.Final && time.Now().After(it.rest) {
				entries = append(entries, purge.LogEntry{ID: it.id, Owner: it.head.Owner})
			}
		}
		l.mu.Unlock()
		slices.Values(entries)(yield)
	}
}

// Entries implements purge.Log.
func (l *jobs) Entries(before string) iter.Seq2[purge.LogEntry, error] {
	return func(yield func(purge.LogEntry, error) bool) {
		for some := 1; ; some = min(2*some, 64) { // who wants a few need not wait for many
			ids := l.before(before, some)
			if len(ids) == 0 {
				return
			}
			before = ids[len(ids)-1]
			entries, errs := make([]purge.LogEntry, len(ids)), make([]error, len(ids))
			_ = parallel(len(ids), func(i int) error {
				entries[i], errs[i] = l.read(ids[i])
				return nil
			})
			for i, e := range entries {
				switch err := errs[i]; {
				case errors.Is(err, errGone):
				case err != nil:
					yield(purge.LogEntry{}, fmt.Errorf("job %.36q %w", ids[i], err))
					return
				case !yield(e, nil):
					return
				}
			}
		}
	}
}

// before returns the IDs of the jobs before one, the greatest first: some, or fewer where they are large.
func (l *jobs) before(id string, some int) (ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := len(l.items)
	if id != "" {
		i, _ = l.search(id)
	}
	var size int64
	for i--; i >= 0 && len(ids) < some && size < 4<<20; i-- {
		if it := l.items[i]; it.rev != 0 {
			ids = append(ids, it.id)
			size += it.size
		}
	}
	return ids
}

// read returns a job as it is now, or errGone. A copy of the bucket that has not heard yet of what is known here is asked again.
func (l *jobs) read(id string) (purge.LogEntry, error) {
	ctx, cancel := context.WithTimeout(context.Background(), l.o.Timeout)
	defer cancel()
	missing := false
	for {
		l.mu.Lock()
		it := l.find(id)
		if it == nil || it.rev == 0 {
			l.mu.Unlock()
			return purge.LogEntry{}, errGone
		}
		e := purge.LogEntry{ID: id, Data: bytes.Clone(it.late), Final: it.head.Final, Owner: it.head.Owner}
		rev, bad, late := it.rev, it.bad, it.late != nil
		l.mu.Unlock()
		if bad != nil || late {
			return e, bad
		}
		there, err := l.kv.Get(ctx, jobKey(id))
		if err == nil && there.Revision() >= rev {
			if e, err = l.entry(ctx, id, there); err == nil {
				return e, nil
			}
			l.mu.Lock()
			if errors.Is(err, errBadJob) && it.rev == there.Revision() {
				it.bad = err
			}
			l.mu.Unlock()
		}
		passing := err == nil || errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, errNoParts)
		missing = missing || passing
		if !passing || !pause(ctx, 20*time.Millisecond) {
			if missing && ctx.Err() != nil {
				err = errNoParts
				l.mu.Lock()
				if it.rev == rev {
					it.rest = time.Now().Add(time.Minute)
				}
				l.mu.Unlock()
			}
			return e, err
		}
	}
}

// entry returns a job that was read.
func (l *jobs) entry(ctx context.Context, id string, there jetstream.KeyValueEntry) (purge.LogEntry, error) {
	head, body, err := parseJob(there.Value())
	if err != nil {
		return purge.LogEntry{}, err
	}
	data, err := l.data(ctx, id, head, body)
	return purge.LogEntry{ID: id, Data: data, Final: head.Final, Owner: head.Owner}, err
}

// observe notes what was read of a job, or heard by the watch, which alone may say that there is one: what was read may be what is no more, where a copy of the bucket
// is late.
func (l *jobs) observe(id string, there jetstream.KeyValueEntry, heard bool) {
	head, _, err := parseJob(there.Value())
	l.mu.Lock()
	defer l.mu.Unlock()
	it := l.find(id)
	if it == nil {
		if !heard {
			return
		}
		it = &jobItem{id: id}
		i, _ := l.search(id)
		l.items = slices.Insert(l.items, i, it)
	}
	if there.Revision() <= it.rev {
		return
	}
	l.set(it, there.Revision(), head, int64(len(there.Value()))+head.Size, err)
	if head.Owner != l.o.Self {
		it.urgent, it.late = 0, nil
		if it.waits {
			it.waits = false
			delete(l.behind, it)
			l.o.Logger.Warn("cluster: a job is another node's now, and what this one knew of its progress is dropped", "job", id, "node", head.Owner)
		}
	}
}

// follow keeps the index current.
func (l *jobs) follow() {
	keepWatching(l.ctx, l.followOnce, func(err error) {
		l.o.Logger.Debug("cluster: the watch of the jobs begins anew", "bucket", l.bucket, "error", err)
	})
}

// followOnce reads all jobs and then hears of what changes, until something fails.
func (l *jobs) followOnce() error {
	l.mu.Lock()
	anew := l.anew
	known := l.newest // what is not read again of what was written up to here is there no more
	l.mu.Unlock()
	connected := l.conn.StatusChanged(nats.CONNECTED)
	defer l.conn.RemoveStatusListener(connected)
	w, err := l.kv.Watch(l.ctx, "j.*")
	if err != nil {
		return err
	}
	defer stopWatch(w)
	seen := make(map[string]struct{})
	for {
		select {
		case <-connected: // sooner than the watch finds out that its consumer is gone
			return errWatchEnded
		case there, ok := <-w.Updates():
			switch {
			case !ok:
				return errWatchEnded
			case there != nil:
				if seen != nil {
					seen[there.Key()] = struct{}{}
				}
				l.hear(there)
			case seen != nil:
				l.complete(seen, known)
				seen = nil
			}
		case <-anew:
			return errWatchEnded
		case <-l.ctx.Done():
			return nil
		}
	}
}

// complete removes from the index what the bucket has no more. It has read all that was written up to the revision known.
func (l *jobs) complete(seen map[string]struct{}, known uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range slices.Clone(l.items) {
		if _, ok := seen[jobKey(it.id)]; !ok && it.rev != 0 && it.rev <= known && !it.waits {
			l.lose(it)
		}
	}
	select {
	case <-l.loaded:
	default:
		close(l.loaded)
	}
}

// hear takes what the watch has brought.
func (l *jobs) hear(there jetstream.KeyValueEntry) {
	id := strings.TrimPrefix(there.Key(), "j.")
	if there.Operation() != jetstream.KeyValuePut {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.newest = max(l.newest, there.Revision())
		if it := l.find(id); it != nil && it.rev != 0 && it.rev < there.Revision() {
			l.lose(it)
		}
		return
	}
	l.observe(id, there, true)
	l.mu.Lock()
	defer l.mu.Unlock()
	it := l.find(id)
	if it == nil || there.Revision() <= it.told {
		return
	}
	it.told = there.Revision()
	if it.head.Owner == l.o.Self || !l.isLoaded() {
		return
	}
	for c := range l.subs {
		c.add(id, there, it.head.Final)
	}
}

func (l *jobs) isLoaded() bool {
	select {
	case <-l.loaded:
		return true
	default:
		return false
	}
}

// changes are what other nodes have written and a Watch has not handed on yet: of each job the latest.
type changes struct {
	wake chan struct{} // has an element where there may be something

	// jobs.mu guards the rest.
	order []string
	later map[string]jetstream.KeyValueEntry // by ID; nil where it was too much to keep
	delay time.Duration                      // for which what is not final waits
	young []youngChange                      // what most likely has its end soon, oldest first; each ID may be in order as well
	bytes int
}

// A youngChange is a job that is not at its end, and when it is told of all the same.
type youngChange struct {
	id  string
	due time.Time
}

func newChanges(delay time.Duration) *changes {
	return &changes{delay: delay, wake: make(chan struct{}, 1), later: make(map[string]jetstream.KeyValueEntry)}
}

func (c *changes) add(id string, there jetstream.KeyValueEntry, final bool) {
	was, ok := c.later[id]
	switch {
	case final: // if it is among the young, it is not found there when its time comes
		c.order = append(c.order, id)
	case !ok:
		c.young = append(c.young, youngChange{id, time.Now().Add(c.delay)})
	}
	if was != nil {
		c.bytes -= len(was.Value())
	}
	if c.bytes+len(there.Value()) > maxChangeBytes {
		there = nil
	} else {
		c.bytes += len(there.Value())
	}
	c.later[id] = there
	if !final && ok {
		return
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// take returns the next that is to be told of, or after how long there is one, which is zero where there is none.
func (c *changes) take() (id string, there jetstream.KeyValueEntry, ok bool, after time.Duration) {
	now := time.Now()
	for !ok {
		switch {
		case len(c.order) > 0:
			id, c.order = c.order[0], c.order[1:]
		case len(c.young) == 0:
			c.order, c.young = nil, nil
			return "", nil, false, 0
		case c.young[0].due.After(now):
			return "", nil, false, c.young[0].due.Sub(now)
		default:
			id, c.young = c.young[0].id, c.young[1:]
		}
		there, ok = c.later[id]
	}
	if there != nil {
		c.bytes -= len(there.Value())
	}
	delete(c.later, id)
	return id, there, true, 0
}

// Watch implements purge.SharedLog. Where changed is slower than the writes, it is called with the latest of each job alone.
func (l *jobs) Watch(ctx context.Context, changed func(purge.LogEntry)) {
	l.mu.Lock()
	c := l.first
	if l.first = nil; c == nil {
		c = newChanges(l.o.Every)
		l.subs[c] = struct{}{}
	}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.subs, c)
		l.mu.Unlock()
	}()
	for ctx.Err() == nil && l.ctx.Err() == nil {
		l.mu.Lock()
		id, there, ok, after := c.take()
		it := l.find(id)
		mine := it != nil && it.head.Owner == l.o.Self // it was taken: what it was before is nobody's business now
		l.mu.Unlock()
		switch {
		case !ok:
			var due <-chan time.Time
			if after > 0 {
				due = time.After(after)
			}
			select {
			case <-c.wake:
				pause(ctx, watchDelay)
			case <-due:
			case <-ctx.Done():
			case <-l.ctx.Done():
			}
		case mine || it == nil:
		default:
			if e, err := l.change(id, there); err == nil {
				changed(e)
			} else if !errors.Is(err, errGone) && l.ctx.Err() == nil {
				l.o.Logger.Warn("cluster: what another node has written of a job cannot be read", "bucket", l.bucket, "job", id, "error", err)
			}
		}
	}
}

// change returns what was written of a job, or what is there by now where that cannot be had any more.
func (l *jobs) change(id string, there jetstream.KeyValueEntry) (purge.LogEntry, error) {
	if there != nil {
		ctx, cancel := context.WithTimeout(l.ctx, l.o.Timeout)
		defer cancel()
		if e, err := l.entry(ctx, id, there); err == nil {
			return e, nil
		}
	}
	return l.read(id)
}

// writeBehind writes progress, and makes room.
func (l *jobs) writeBehind() {
	every := time.NewTicker(l.o.Every)
	defer every.Stop()
	for {
		select {
		case <-every.C:
			ctx, cancel := context.WithTimeout(l.ctx, l.o.Timeout)
			l.flush(ctx)
			cancel()
			l.wantRoom() // two nodes may each have thought that theirs was the last there is room for
		case <-l.trim:
			l.makeRoom()
		case <-l.ctx.Done():
			return
		}
	}
}

// flush writes what progress waits. What cannot be written waits on, unless there is newer by then.
func (l *jobs) flush(ctx context.Context) {
	l.mu.Lock()
	waiting := make([]*jobItem, 0, len(l.behind))
	for it := range l.behind {
		waiting = append(waiting, it)
	}
	l.mu.Unlock()
	err := parallel(len(waiting), func(i int) error {
		it := waiting[i]
		it.turn.Lock()
		defer it.turn.Unlock()
		l.mu.Lock()
		data, waits := it.late, it.waits && !it.gone
		it.waits = false
		delete(l.behind, it)
		l.mu.Unlock()
		if !waits {
			return nil
		}
		err := l.put(ctx, it, data, false)
		l.mu.Lock()
		defer l.mu.Unlock()
		switch {
		case it.waits || it.gone: // with newer
		case err == nil || errors.Is(err, purge.ErrNotOwner) || errors.Is(err, errUsurped):
			it.late = nil
		default:
			it.waits = true
			l.behind[it] = struct{}{}
		}
		return err
	})
	if err != nil && l.ctx.Err() == nil {
		l.o.Logger.Warn("cluster: the progress of jobs could not be written", "bucket", l.bucket, "error", err)
	}
}

// wantRoom has room made where there are too many jobs.
func (l *jobs) wantRoom() {
	l.mu.Lock()
	full := len(l.items) > l.o.Max || l.bytes > l.o.MaxBytes
	l.mu.Unlock()
	if full {
		select {
		case l.trim <- struct{}{}:
		default:
		}
	}
}

// makeRoom removes the oldest jobs that are at their end, whosever they are, until the rest is within bounds. Where several nodes do, they
// remove the same ones.
func (l *jobs) makeRoom() {
	type old struct {
		it   *jobItem
		rev  uint64
		head jobHead
	}
	var oldest []old
	l.mu.Lock()
	count, size := len(l.items), l.bytes
	for _, it := range l.items {
		if count <= l.o.Max && size <= l.o.MaxBytes {
			break
		}
		if it.rev != 0 && it.head.Final && it.bad == nil {
			oldest = append(oldest, old{it, it.rev, it.head})
			count, size = count-1, size-it.size
		}
	}
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(l.ctx, l.o.Timeout)
	defer cancel()
	_ = parallel(len(oldest), func(i int) error {
		o := oldest[i]
		err := l.kv.Purge(ctx, jobKey(o.it.id), jetstream.LastRevision(o.rev), jetstream.PurgeTTL(markersLast))
		if err != nil {
			return err // the next write tries again
		}
		l.mu.Lock()
		if o.it.rev == o.rev {
			l.lose(o.it)
		}
		l.mu.Unlock()
		l.trimmed.Add(1)
		l.removeParts(o.it.id, o.head)
		return nil
	})
}

// parallel calls do with 0 to n-1, a few at a time, and returns the errors joined.
func parallel(n int, do func(i int) error) error {
	if n == 1 {
		return do(0)
	}
	errs := make([]error, n)
	places := make(chan struct{}, jobParallel)
	var all sync.WaitGroup
	for i := range n {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			errs[i] = do(i)
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
