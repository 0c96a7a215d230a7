// Package blobcache keeps things in a bucket of S3, Google Cloud Storage, Azure or whatever else gocloud.dev has a driver for, as
// the slowest tier of a cache, which several nodes may share:
//
//	import _ "gocloud.dev/blob/s3blob"
//
//	bucket, err := blobcache.Open(ctx, "s3://my-cache?region=eu-central-1", nil)
//	if err != nil {
//		log.Fatal(err)
//	}
//	disk, err := cache.OpenDisk("/var/cache/imagecdn", nil)
//	if err != nil {
//		log.Fatal(err)
//	}
//	store := cache.Tiered(cache.Tiered(cache.NewMemory(0), disk), bucket)
//
// Names stay in the disk cache; what is here are bytes under keys that say what is inside. So any number of nodes may read, write and
// purge in one bucket at once, with no lock: the worst that comes of it is a thing that is made again. docs/buckets.md has the layout, what
// things cost in requests, and rules for the bucket's lifecycle.
//
// # What is promised
//
// What comes out is what was put in: every object says whose it is and has a checksum, and what does not match is a miss.
//
// A bucket that fails or is slow is a miss. It costs a request [Options].ReadTimeout at the most, and after a few failures in a row
// nothing for a while. Writes go behind, in a queue that is bounded by bytes and by things; what has no room there is not written.
//
// A purge is another matter: Remove and RemoveAll return an error where the bucket could not do it, and are to be called again.
// The bucket has to be strongly consistent, lists included, as S3, Google Cloud Storage and Azure are.
package blobcache

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/imagecdn/imagecdn/cache"
)

// Options are the optional settings of a Store.
type Options struct {
	// Prefix is what all keys in the bucket begin with, such as "cache/", so that a bucket may have other things as well. A slash
	// at the end is added where there is none. Empty means none.
	Prefix string

	// MaxBytes bounds a thing with its header. Larger ones are neither written nor read. Zero means 64 MiB.
	MaxBytes int64

	// MaxWaiting bounds the bytes that wait to be written, and MaxWaitingThings how many things. What comes beyond is not written.
	// Zero means 64 MiB, and 4,096.
	MaxWaiting       int64
	MaxWaitingThings int

	// Writers is how many write at once. Zero means 8.
	Writers int

	// ReadTimeout bounds the wait for a thing, WriteTimeout every other operation: a write, a page of a list, a deletion. Zero means 3 and
	// 30 seconds.
	ReadTimeout, WriteTimeout time.Duration

	// CloseTimeout is how long Close goes on writing what waits. Zero means 10 seconds.
	CloseTimeout time.Duration

	// RemoveAllTimeout is how long RemoveAll goes on freeing and counting. What is left then is freed behind, and not counted. What
	// RemoveAll removes cannot be found from its first moment on. Zero means 10 seconds.
	RemoveAllTimeout time.Duration

	// Refresh is how often is looked whether another node has removed everything, or a source. Zero means a minute.
	Refresh time.Duration

	// Logger gets a warning when the bucket fails or something is dropped, at most one a minute. Nil means nothing is logged.
	Logger *slog.Logger
}

const (
	// reclaimEvery is how often is looked for what nothing leads to: what a node that has ended left, or one that came late wrote.
	reclaimEvery = time.Hour

	// deleters is how many objects are deleted at once.
	deleters = 16
)

// A Store is a [cache.Store], a [cache.Lister], a [cache.Counter] and a [cache.Settler] in a bucket. All methods are safe for concurrent use.
type Store struct {
	opts   Options
	bucket *blob.Bucket
	owned  bool // closed with the store
	log    *slog.Logger

	open    context.Context // until Close gives up
	stop    context.CancelFunc
	tending context.Context // until Close begins
	rest    context.CancelFunc
	reclaim chan struct{} // there may be something that nothing leads to
	work    sync.WaitGroup
	breaker breaker

	gens    atomic.Pointer[gens] // nil until they were first read
	reading sync.Mutex           // held while they are read and written
	first   bool                 // this node has begun the first generation of the bucket; guarded by reading

	// tidying is held while what nothing leads to is freed behind, and to read by RemoveAll, which counts what it frees.
	tidying sync.RWMutex

	mu      sync.Mutex // guards what follows, and the fields of writes that say so
	removes int        // calls of RemoveAll
	yield   func()     // ends the tidying that goes on; nil where none does
	closed  bool
	queue   chan *write
	pending map[cache.Key]*write
	waiting int64 // bytes
	counted map[imageKey]*tally
	late    map[string]time.Time // objects whose write failed, and that are not wanted, by when that was

	hits, misses, written, removed, dropped, faults, damaged atomic.Int64
	lastWarn                                                 atomic.Int64 // Unix seconds
}

type imageKey struct{ source, image string }

// Stats are counts since a Store was opened.
type Stats struct {
	Hits, Misses int64 // of Get
	Written      int64 // things
	Removed      int64 // objects, by purges or because nothing led to them
	Dropped      int64 // things that were not written: they had no room, were too large, or the bucket failed
	Faults       int64 // operations that failed
	Damaged      int64 // objects that were not whole

	Waiting       int64 // bytes that are to be written yet
	WaitingThings int

	// Broken is set while the bucket is left alone, as it has failed often.
	Broken bool
}

var errClosed = errors.New("blobcache: the store is closed")

// Open opens a bucket by its URL, whose driver must have been imported. Close closes it.
//
// A bucket that does not exist, or may not be listed, is an error. One that cannot be reached is none: it is looked
// for again and again, and has nothing until then.
func Open(ctx context.Context, bucketURL string, o *Options) (*Store, error) {
	b, err := blob.OpenBucket(ctx, bucketURL)
	if err != nil {
		return nil, fmt.Errorf("blobcache: %w", err)
	}
	s, err := New(ctx, b, o)
	if err != nil {
		b.Close()
		return nil, err
	}
	s.owned = true
	return s, nil
}

// New is Open for a bucket that is open, and that stays so.
func New(ctx context.Context, b *blob.Bucket, o *Options) (*Store, error) {
	if o == nil {
		o = new(Options)
	}
	opts := *o
	for _, n := range []struct {
		field string
		value int64
	}{
		{"MaxBytes", opts.MaxBytes}, {"MaxWaiting", opts.MaxWaiting}, {"MaxWaitingThings", int64(opts.MaxWaitingThings)}, {"Writers", int64(opts.Writers)},
		{"ReadTimeout", int64(opts.ReadTimeout)}, {"WriteTimeout", int64(opts.WriteTimeout)}, {"CloseTimeout", int64(opts.CloseTimeout)},
		{"RemoveAllTimeout", int64(opts.RemoveAllTimeout)}, {"Refresh", int64(opts.Refresh)},
	} {
		if n.value < 0 {
			return nil, fmt.Errorf("blobcache: Options.%s is negative", n.field)
		}
	}
	opts.MaxBytes = cmp.Or(opts.MaxBytes, 64<<20)
	opts.MaxWaiting = cmp.Or(opts.MaxWaiting, 64<<20)
	opts.MaxWaitingThings = cmp.Or(opts.MaxWaitingThings, 4096)
	opts.Writers = cmp.Or(opts.Writers, 8)
	opts.ReadTimeout = cmp.Or(opts.ReadTimeout, 3*time.Second)
	opts.WriteTimeout = cmp.Or(opts.WriteTimeout, 30*time.Second)
	opts.CloseTimeout = cmp.Or(opts.CloseTimeout, 10*time.Second)
	opts.RemoveAllTimeout = cmp.Or(opts.RemoveAllTimeout, 10*time.Second)
	opts.Refresh = cmp.Or(opts.Refresh, time.Minute)
	if strings.HasPrefix(opts.Prefix, "/") {
		return nil, errors.New("blobcache: Options.Prefix begins with a slash")
	}
	if opts.Prefix != "" && !strings.HasSuffix(opts.Prefix, "/") {
		opts.Prefix += "/"
	}

	s := &Store{
		opts: opts, bucket: b, log: opts.Logger, reclaim: make(chan struct{}, 1),
		queue: make(chan *write, opts.MaxWaitingThings), pending: make(map[cache.Key]*write), counted: make(map[imageKey]*tally),
		late: make(map[string]time.Time),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.open, s.stop = context.WithCancel(context.Background())
	s.tending, s.rest = context.WithCancel(s.open)
	if err := s.begin(ctx); err != nil {
		s.stop()
		return nil, fmt.Errorf("blobcache: %w", err)
	}
	for range opts.Writers {
		s.work.Go(s.write)
	}
	s.work.Go(s.tend)
	return s, nil
}

// begin reads the generations, and is an error where that can never succeed.
func (s *Store) begin(ctx context.Context) error {
	err := s.refresh(ctx)
	switch gcerrors.Code(err) {
	case gcerrors.NotFound, gcerrors.PermissionDenied, gcerrors.InvalidArgument, gcerrors.Unimplemented:
		return err
	}
	return ctx.Err()
}

// Get implements [cache.Store]. A bucket that fails, or is left alone, is a miss.
func (s *Store) Get(ctx context.Context, k cache.Key) (*cache.Thing, error) {
	t, known := s.getPending(k)
	if !known {
		t = s.read(ctx, k)
	}
	if t == nil {
		s.misses.Add(1)
		return nil, cache.ErrNotFound
	}
	s.hits.Add(1)
	return t, nil
}

func (s *Store) read(ctx context.Context, k cache.Key) *cache.Thing {
	g := s.gens.Load()
	if g == nil {
		return nil
	}
	var data []byte
	object := imageDir(g.of(k.Source), k.Source, k.Image) + thingName(k)
	err := s.try(ctx, "reading", s.opts.ReadTimeout, func(ctx context.Context) (err error) {
		data, err = s.readObject(ctx, object)
		return err
	})
	if errors.Is(err, errTooLarge) || err != nil {
		return nil
	}
	h, body, err := decode(data)
	if err == nil && h.key != k {
		err = errDamaged // it is another's
	}
	if err != nil {
		s.damaged.Add(1)
		s.warn("an object in the bucket is not whole", "key", object)
		return nil // the next write replaces it
	}
	return &cache.Thing{Header: h.header, Body: body, Inputs: h.inputs}
}

var errTooLarge = errors.New("blobcache: too large")

// readObject reads an object that is not too large.
func (s *Store) readObject(ctx context.Context, object string) ([]byte, error) {
	r, err := s.bucket.NewReader(ctx, s.opts.Prefix+object, nil)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.Size() > s.opts.MaxBytes {
		return nil, errTooLarge
	}
	b := bytes.NewBuffer(make([]byte, 0, max(r.Size(), 0)+bytes.MinRead))
	if _, err := io.Copy(b, io.LimitReader(r, s.opts.MaxBytes+1)); err != nil {
		return nil, err
	}
	if int64(b.Len()) > s.opts.MaxBytes {
		return nil, errTooLarge
	}
	return b.Bytes(), nil
}

// readHead reads what stands in front of an object's body, without a check of its sum.
func (s *Store) readHead(ctx context.Context, object string) (*head, error) {
	first := int64(4096) // as good as always all of it
	for {
		var data []byte
		err := s.must(ctx, "reading", func(ctx context.Context) error {
			r, err := s.bucket.NewRangeReader(ctx, s.opts.Prefix+object, 0, first, nil)
			if err != nil {
				return err
			}
			defer r.Close()
			data, err = io.ReadAll(io.LimitReader(r, first))
			return err
		})
		if err != nil {
			return nil, err
		}
		hlen, blen, err := lengths(data)
		if err != nil {
			return nil, err
		}
		if whole := prefix + int64(hlen); whole > first {
			first = whole
		} else if whole > int64(len(data)) {
			return nil, errDamaged
		} else {
			h, err := decodeHead(data[prefix:whole])
			if err == nil {
				h.size = int64(blen)
			}
			return h, err
		}
	}
}

// writeObject writes one. Where it fails, it may be there all the same.
func (s *Store) writeObject(ctx context.Context, object string, parts ...[]byte) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before Close it is what keeps half an object from being one
	w, err := s.bucket.NewWriter(ctx, s.opts.Prefix+object, &blob.WriterOptions{ContentType: "application/octet-stream"})
	if err != nil {
		return err
	}
	for _, p := range parts {
		if _, err := w.Write(p); err != nil {
			cancel()
			return errors.Join(err, w.Close())
		}
	}
	return w.Close()
}

// look is an error where an object is not there.
func (s *Store) look(ctx context.Context, object string) error {
	_, err := s.bucket.Attributes(ctx, s.opts.Prefix+object)
	return err
}

// deleteObject deletes one, and reports whether it was there.
func (s *Store) deleteObject(ctx context.Context, object string) (was bool, err error) {
	err = s.must(ctx, "deleting", func(ctx context.Context) error { return s.bucket.Delete(ctx, s.opts.Prefix+object) })
	if isAbsent(err) {
		return false, nil
	}
	if err == nil {
		s.removed.Add(1)
	}
	return err == nil, err
}

func isAbsent(err error) bool { return gcerrors.Code(err) == gcerrors.NotFound }

var errBroken = errors.New("blobcache: the bucket has failed often, and is left alone for a while")

// try does an operation that can be done without, unless the bucket is left alone.
func (s *Store) try(ctx context.Context, what string, timeout time.Duration, do func(ctx context.Context) error) error {
	probe, ok := s.breaker.allow()
	if !ok {
		return errBroken
	}
	return s.do(ctx, what, timeout, probe, do)
}

// must does an operation that purges need.
func (s *Store) must(ctx context.Context, what string, do func(ctx context.Context) error) error {
	return s.do(ctx, what, s.opts.WriteTimeout, false, do)
}

func (s *Store) do(ctx context.Context, what string, timeout time.Duration, probe bool, do func(ctx context.Context) error) error {
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := do(within)
	switch {
	case err == nil, isAbsent(err), errors.Is(err, errTooLarge):
		s.breaker.ended(worked, probe)
	case ctx.Err() != nil:
		s.breaker.ended(unknown, probe)
	default:
		if within.Err() != nil {
			err = fmt.Errorf("it took longer than %v: %w", timeout, err)
		}
		s.faults.Add(1)
		if s.breaker.ended(failed, probe) {
			s.log.Warn("blobcache: the bucket is left alone for a while", "while", what, "error", err)
		} else {
			s.warn("the bucket fails", "while", what, "error", err)
		}
	}
	return err
}

// warn logs, at most once a minute.
func (s *Store) warn(what string, args ...any) {
	now := time.Now().Unix()
	if last := s.lastWarn.Load(); now-last >= 60 && s.lastWarn.CompareAndSwap(last, now) {
		s.log.Warn("blobcache: "+what, args...)
	}
}

// Stats returns counts.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	waiting, n := s.waiting, len(s.pending)
	s.mu.Unlock()
	return Stats{
		Hits: s.hits.Load(), Misses: s.misses.Load(), Written: s.written.Load(), Removed: s.removed.Load(), Dropped: s.dropped.Load(),
		Faults: s.faults.Load(), Damaged: s.damaged.Load(), Waiting: waiting, WaitingThings: n, Broken: s.breaker.open(),
	}
}

// Close implements [cache.Store]: it writes what waits, for Options.CloseTimeout at the most.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.work.Wait()
		return nil
	}
	s.closed = true
	close(s.queue)
	s.mu.Unlock()
	s.rest()

	late := time.AfterFunc(s.opts.CloseTimeout, s.stop)
	s.work.Wait()
	late.Stop()
	s.stop()
	if s.owned {
		return s.bucket.Close()
	}
	return nil
}

// size is about what t takes in the bucket, and in memory until it is there.
func size(t *cache.Thing) int64 {
	n := int64(len(t.Body)) + 512
	for k, vs := range t.Header {
		n += int64(len(k)) + 16
		for _, v := range vs {
			n += int64(len(v)) + 8
		}
	}
	for _, in := range t.Inputs {
		n += int64(len(in.Source)+len(in.Image)) + 16
	}
	return n
}

var _ interface {
	cache.Store
	cache.Lister
	cache.Counter
	cache.Settler
} = (*Store)(nil)
