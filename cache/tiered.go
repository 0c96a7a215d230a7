package cache

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// Tiered returns a Store that looks in fast first and then in slow, and copies what it finds in slow to
// fast. Writes reach fast at once, and slow behind: a bounded number of bytes may be waiting to be
// written, and what exceeds it is not written. Close writes what waits, and closes both.
func Tiered(fast, slow Store) Store {
	t := &tiered{fast: fast, slow: slow, queue: make(chan *write, 1024), waiting: make(map[*write]struct{})}
	for range writers {
		t.done.Go(t.write)
	}
	return t
}

const (
	writers = 4

	// maxWaiting bounds the bytes on their way to the slow tier.
	maxWaiting = 64 << 20
)

type tiered struct {
	fast, slow Store
	queue      chan *write
	done       sync.WaitGroup

	mu      sync.Mutex          // guards what follows, and removed of the writes that wait
	waiting map[*write]struct{} // in queue, and in writers' hands
	bytes   int64               // of all that waits
	closed  bool
	dropped int64 // writes that found no room
}

type write struct {
	key     Key
	thing   *Thing
	valid   func() bool
	removed bool          // since it was put
	done    chan struct{} // closed when it waits no more; nil until somebody asks
}

func (t *tiered) Get(ctx context.Context, k Key) (*Thing, error) {
	if th, err := t.fast.Get(ctx, k); err == nil {
		return th, nil
	}
	return t.fill(ctx, k)
}

// fill looks in slow, and copies what it finds to fast.
func (t *tiered) fill(ctx context.Context, k Key) (*Thing, error) {
	th, err := t.slow.Get(ctx, k)
	if err != nil {
		return nil, err
	}
	// The copy cannot be wrong, whatever happened to the image meanwhile: the key says what is inside.
	_ = t.fast.Put(ctx, k, th, nil)
	return th, nil
}

// sendable is the least file that is sent as it is: what is smaller is worth a copy in the fast tier.
const sendable = 1 << 20

// Find implements [Finder].
func (t *tiered) Find(ctx context.Context, k Key) (Found, error) {
	if f, ok := t.fast.(Finder); ok { // tiers, or a disk
		if found, err := f.Find(ctx, k); err == nil {
			return found, nil
		}
	} else if th, err := t.fast.Get(ctx, k); err == nil {
		return Found{Thing: th, Tier: tierOf(t.fast)}, nil
	}
	if d, ok := t.slow.(*Disk); ok {
		if f, err := d.send(&k, sendable); f != nil || err != nil {
			return Found{File: f, Tier: OnDisk}, err
		}
	}
	th, err := t.fill(ctx, k)
	return Found{Thing: th, Tier: tierOf(t.slow)}, err
}

// tierOf is where a store that is no tiered one keeps things. One that is not of this package counts as memory.
func tierOf(s Store) Tier {
	if _, ok := s.(*Disk); ok {
		return OnDisk
	}
	return InMemory
}

func (t *tiered) Put(ctx context.Context, k Key, th *Thing, valid func() bool) error {
	err := t.fast.Put(ctx, k, th, valid)
	size := th.size()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.bytes > 0 && t.bytes+size > maxWaiting {
		t.dropped++
		return err
	}
	w := &write{key: k, thing: th, valid: valid}
	select {
	case t.queue <- w:
		t.waiting[w] = struct{}{}
		t.bytes += size
	default:
		t.dropped++
	}
	return err
}

func (t *tiered) write() {
	for w := range t.queue {
		// A thing that could not be kept is a miss later on; the slow tier counts and logs it.
		_ = t.slow.Put(context.Background(), w.key, w.thing, func() bool { return t.stillWanted(w) })
		t.mu.Lock()
		delete(t.waiting, w)
		t.bytes -= w.thing.size()
		if w.done != nil {
			close(w.done)
		}
		t.mu.Unlock()
	}
}

// of reports whether w belongs to an image that which says yes to: it is kept with it, or made from it.
func (w *write) of(which func(source, image string) bool) bool {
	return which(w.key.Source, w.key.Image) || w.key.Kind == Composite &&
		slices.ContainsFunc(w.thing.Inputs, func(in Input) bool { return which(in.Source, in.Image) })
}

func (t *tiered) stillWanted(w *write) bool {
	t.mu.Lock()
	removed := w.removed
	t.mu.Unlock()
	return !removed && (w.valid == nil || w.valid())
}

// forget sees to it that what waits to be written, and belongs to what is removed, is not written.
func (t *tiered) forget(which func(source, image string) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.waiting {
		if w.of(which) {
			w.removed = true
		}
	}
}

func (t *tiered) Remove(ctx context.Context, source, image string) (Removed, error) {
	t.forget(func(s, i string) bool { return s == source && i == image })
	a, errA := t.fast.Remove(ctx, source, image)
	b, errB := t.slow.Remove(ctx, source, image)
	a.atLeast(b)
	return a, errors.Join(errA, errB)
}

// settle is Settle.
func (t *tiered) settle(ctx context.Context, k Key) bool {
	fast := Settle(ctx, t.fast, k)
	if !Settles(t.slow) {
		return fast
	}
	for _, done := range t.waits(k) {
		select {
		case <-done:
		case <-ctx.Done():
			return false
		}
	}
	return Settle(ctx, t.slow, k) && fast
}

// waits is told when what waits to be written under k waits no more.
func (t *tiered) waits(k Key) (all []chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.waiting {
		if w.key != k {
			continue
		}
		if w.done == nil {
			w.done = make(chan struct{})
		}
		all = append(all, w.done)
	}
	return all
}

// Count implements [Counter], where a tier does. What is on its way to the slow tier is in the fast one, unless that had to let go of it.
func (t *tiered) Count(ctx context.Context, source, image string) (most int, err error) {
	for _, s := range []Store{t.fast, t.slow} {
		if c, ok := s.(Counter); ok {
			n, countErr := c.Count(ctx, source, image)
			most, err = max(most, n), errors.Join(err, countErr)
		}
	}
	return most, err
}

// drop implements [dropper].
func (t *tiered) drop(source, image string) {
	t.forget(func(s, i string) bool { return s == source && i == image })
	for _, s := range []Store{t.fast, t.slow} {
		if d, ok := s.(dropper); ok {
			d.drop(source, image)
		}
	}
}

func (t *tiered) RemoveAll(ctx context.Context, source string) (Removed, error) {
	t.forget(func(s, _ string) bool { return source == "" || s == source })
	a, errA := t.fast.RemoveAll(ctx, source)
	b, errB := t.slow.RemoveAll(ctx, source)
	a.atLeast(b)
	return a, errors.Join(errA, errB)
}

func (t *tiered) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	close(t.queue)
	t.mu.Unlock()
	t.done.Wait()
	return errors.Join(t.fast.Close(), t.slow.Close())
}

// A tieredKeeper is the Keeper in one of the tiers. What waits to be written when a purge comes would be
// found again after it.
type tieredKeeper struct {
	Keeper
	tiers *tiered
}

func (k *tieredKeeper) Hide(source, image string, namesOnly bool) error {
	if !namesOnly {
		k.tiers.forget(func(s, i string) bool { return s == source && i == image })
	}
	return k.Keeper.Hide(source, image, namesOnly)
}

func (k *tieredKeeper) SaveGenerations(g *Generations) error {
	before := k.Generations()
	k.tiers.forget(func(s, i string) bool { return g.ofImage(s, i).Delete > before.ofImage(s, i).Delete })
	return k.Keeper.SaveGenerations(g)
}
