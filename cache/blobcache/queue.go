package blobcache

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/imagecdn/imagecdn/cache"
)

// A write is a thing on its way to the bucket. Until it is there it is found here.
//
//	put ──▶ waiting ──▶ being written ──▶ done
//	           │              │
//	           └── removed ◀──┘   it is not found from then on; what is in the bucket of it by then, its writer deletes
type write struct {
	key   cache.Key
	thing *cache.Thing
	size  int64
	done  chan struct{}

	// Guarded by the store's mu.
	valid   func() bool
	removed bool
	written bool
	writing bool   // it is waited for, not cut short: the bucket might take it all the same, after it was taken back
	next    *write // put again after it was removed
}

// Put implements [cache.Store]. The thing is written behind; Get finds it at once.
func (s *Store) Put(_ context.Context, k cache.Key, t *cache.Thing, valid func() bool) error {
	w := &write{key: k, thing: t, size: size(t), valid: valid, done: make(chan struct{})}
	if w.size > s.opts.MaxBytes {
		s.drop("it is too large", 1)
		return nil
	}
	if valid != nil && !valid() {
		return nil
	}
	s.mu.Lock()
	closed, full := s.closed, false
	if !closed {
		full = !s.enqueue(w)
	}
	s.mu.Unlock()
	switch {
	case closed:
		return errClosed
	case full:
		s.drop("too much waits already", 1)
	}
	return nil
}

// enqueue reports whether there is room for w. The caller holds s.mu.
func (s *Store) enqueue(w *write) bool {
	before := s.pending[w.key]
	switch {
	case before != nil && !before.removed:
		before.valid = w.valid // the later one knows of later purges
		return true
	case before != nil && before.next != nil:
		before.next.valid = w.valid
		return true
	case s.waiting > 0 && s.waiting+w.size > s.opts.MaxWaiting:
		return false
	case before != nil:
		before.next = w
	default:
		select {
		case s.queue <- w:
			s.pending[w.key] = w
		default:
			return false
		}
	}
	s.waiting += w.size
	return true
}

func (s *Store) drop(why string, n int64) {
	s.dropped.Add(n)
	s.warn("something was not written", "why", why)
}

// getPending looks among what waits. known says that the bucket need not be asked.
func (s *Store) getPending(k cache.Key) (t *cache.Thing, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch w := s.pending[k]; {
	case s.closed:
		return nil, true
	case w == nil:
		return nil, false
	case !w.removed:
		return w.thing, true
	case w.next != nil:
		return w.next.thing, true
	}
	return nil, true
}

func (s *Store) write() {
	for w := range s.queue {
		s.writeOne(w)
	}
}

func (s *Store) writeOne(w *write) {
	s.mu.Lock()
	if w.removed {
		s.mu.Unlock()
		return
	}
	w.writing = true
	s.mu.Unlock()

	if s.wanted(w) {
		s.upload(s.open, w)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(w)
}

// wanted reports whether w is to be found.
func (s *Store) wanted(w *write) bool {
	s.mu.Lock()
	removed, valid := w.removed, w.valid
	s.mu.Unlock()
	return !removed && (valid == nil || valid())
}

// upload writes w, and takes it back where a purge has come meanwhile, of this node or of another.
//
// Nothing but these orders keeps a composite C from being there without its reference R, which its input's purge P, of whatever node, follows:
//
//	upload  1 write R   2 write C    3 look whether R is there; where it is not, delete C
//	P       a delete C  b delete R   c delete C, unless a found the very one that R tells of
//
// Where b comes before 3, the upload deletes C. Where it comes after, C is there by then, and c finds it.
func (s *Store) upload(ctx context.Context, w *write) {
	g := s.gens.Load()
	h := head{key: w.key, header: w.thing.Header, inputs: w.thing.Inputs}
	inputs := w.others()
	if len(inputs) > 0 {
		h.stamp = newStamp()
	}
	front, err := h.encode(w.thing.Body)
	if g == nil || err != nil {
		s.drop("the bucket could not be read yet, or it has too many fields", 1)
		return
	}
	object := imageDir(g.of(w.key.Source), w.key.Source, w.key.Image) + thingName(w.key)
	var all []string
	for _, in := range inputs {
		ref := head{key: w.key, stamp: h.stamp}
		data, err := ref.encode(nil)
		if err != nil {
			return // its names are no longer than they were
		}
		to := imageDir(g.of(in.Source), in.Source, in.Image) + "r-" + h.stamp
		all = append(all, to)
		if err := s.put(ctx, to, data); err != nil {
			s.takeBack(all, err)
			s.drop("the bucket fails", 1)
			return
		}
	}
	err = s.put(ctx, object, front, w.thing.Body)
	for _, r := range all {
		if err == nil {
			err = s.must(ctx, "looking", func(ctx context.Context) error { return s.look(ctx, r) })
		}
	}
	switch {
	case !s.wanted(w), isAbsent(err):
		s.takeBack(append(all, object), err)
	case err != nil: // what may be there of it can be found and be removed
		s.drop("the bucket fails", 1)
	default:
		s.written.Add(1)
		s.count(w.key, +1)
		s.mu.Lock()
		w.written = true
		s.mu.Unlock()
	}
}

// Settle implements [cache.Settler].
func (s *Store) Settle(ctx context.Context, k cache.Key) bool {
	for waited := false; ; waited = true {
		s.mu.Lock()
		w, closed := s.pending[k], s.closed
		s.mu.Unlock()
		switch g := s.gens.Load(); {
		case w != nil:
		case closed, waited, g == nil:
			return false // it was not written
		default: // it was written before, by whomever, or was not
			object := imageDir(g.of(k.Source), k.Source, k.Image) + thingName(k)
			return s.try(ctx, "looking", s.opts.ReadTimeout, func(ctx context.Context) error { return s.look(ctx, object) }) == nil
		}
		if err := wait(ctx, []*write{w}); err != nil {
			return false
		}
		s.mu.Lock()
		written := w.written
		s.mu.Unlock()
		if written {
			return true
		}
	}
}

func (s *Store) put(ctx context.Context, object string, parts ...[]byte) error {
	return s.try(ctx, "writing", s.opts.WriteTimeout, func(ctx context.Context) error { return s.writeObject(ctx, object, parts...) })
}

// takeBack deletes what was written of something that is not wanted. Where a write has failed, the bucket may take it later: it is
// deleted once more then. Where that fails as well, it goes with a purge that comes later, or by the bucket's own rules.
func (s *Store) takeBack(objects []string, err error) {
	for _, o := range slices.Backward(objects) {
		if _, deleteErr := s.deleteObject(s.open, o); deleteErr == nil && (err == nil || isAbsent(err) || errors.Is(err, errBroken)) {
			continue
		}
		s.mu.Lock()
		if len(s.late) < maxLate {
			s.late[o] = time.Now()
		}
		s.mu.Unlock()
	}
}

const (
	maxLate = 1000

	// lateFor is how long a bucket may take for a write whose writer has given up.
	lateFor = time.Minute
)

// takeBackLate deletes what was to be taken back, and may have come since.
func (s *Store) takeBackLate(ctx context.Context) {
	s.mu.Lock()
	var due []string
	for o, since := range s.late {
		if time.Since(since) >= lateFor {
			due = append(due, o)
		}
	}
	s.mu.Unlock()
	for _, o := range due {
		if _, err := s.deleteObject(ctx, o); err == nil {
			s.mu.Lock()
			delete(s.late, o)
			s.mu.Unlock()
		}
	}
}

// forget takes w out of what waits. The caller holds s.mu.
func (s *Store) forget(w *write) {
	s.waiting -= w.size
	close(w.done)
	if s.pending[w.key] != w {
		return
	}
	delete(s.pending, w.key)
	if next := w.next; next != nil {
		s.waiting -= next.size
		if s.closed || !s.enqueue(next) {
			s.drop("too much waits already", 1)
		}
	}
}

// others are the images that a composite belongs to beside its own, each once.
func (w *write) others() (inputs []cache.Input) {
	if w.key.Kind != cache.Composite {
		return nil
	}
	for _, in := range w.thing.Inputs {
		if in != (cache.Input{Source: w.key.Source, Image: w.key.Image}) && !slices.Contains(inputs, in) {
			inputs = append(inputs, in)
		}
	}
	return inputs
}

// of reports whether w belongs to an image that which says yes to.
func (w *write) of(which func(source, image string) bool) bool {
	return which(w.key.Source, w.key.Image) || w.key.Kind == cache.Composite &&
		slices.ContainsFunc(w.thing.Inputs, func(in cache.Input) bool { return which(in.Source, in.Image) })
}

// removePending sees to it that what waits, and belongs to what is removed, is neither found nor written. It returns what could be found
// until now, and what is being written and has to be waited for.
func (s *Store) removePending(which func(source, image string) bool) (found map[cache.Key]int64, busy []*write) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found = make(map[cache.Key]int64)
	for k, w := range s.pending {
		if !w.of(which) {
			continue
		}
		if !w.removed {
			w.removed = true
			found[k] = int64(len(w.thing.Body))
		}
		if next := w.next; next != nil {
			w.next = nil
			s.waiting -= next.size
			found[k] = int64(len(next.thing.Body))
		}
		if w.writing {
			busy = append(busy, w)
			continue
		}
		s.forget(w)
	}
	return found, busy
}
