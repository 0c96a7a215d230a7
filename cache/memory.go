package cache

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/ristretto/v2"
)

// Memory is a Store in memory, of a bounded number of bytes. What goes when room is needed is decided
// by how often and how lately things were used (TinyLFU).
//
// Ristretto holds the things and decides; it may drop a write or apply it late, which is why only things
// are in it, and names never. Beside it stands a strict index of which keys belong to which image, so
// that an image's things can be found and freed. A composite is in it under each of its images.
type Memory struct {
	bytes   int64
	seed    maphash.Seed
	cache   *ristretto.Cache[uint64, *held] // by hash; what it returns is compared with the whole key
	evicted atomic.Int64

	// open is held to read while cache is used. Ristretto panics, or waits for ever, where it is closed
	// meanwhile.
	open   sync.RWMutex
	closed bool

	mu    sync.Mutex // guards index, the maps in it, and made
	index map[imageKey]map[Key]*held
	made  map[imageKey]int // derivatives and composites of an image, where there are any
}

type held struct {
	key   Key
	thing *Thing
	ready atomic.Bool // once no Remove has come between: until then it is not to be found
}

// list puts h into the index, and returns what was there under its key. The caller holds m.mu.
func (m *Memory) list(h *held) (before *held) {
	own := imageKey{h.key.Source, h.key.Image}
	before = m.index[own][h.key]
	m.listUnder(own, h)
	if h.key.Kind == Composite {
		for _, in := range h.thing.Inputs {
			m.listUnder(imageKey{in.Source, in.Image}, h)
		}
	}
	return before
}

func (m *Memory) listUnder(ik imageKey, h *held) {
	if m.index[ik] == nil {
		m.index[ik] = make(map[Key]*held)
	}
	if m.index[ik][h.key] == nil && h.isMadeOf(ik) {
		m.made[ik]++
	}
	m.index[ik][h.key] = h
}

// isMadeOf reports whether h is a picture of that image, and not one that it is only a part of.
func (h *held) isMadeOf(ik imageKey) bool {
	return h.key.Kind != Original && h.key.Source == ik.source && h.key.Image == ik.image
}

// unlist takes h out of the index, unless an equal thing has taken its place. The caller holds m.mu.
func (m *Memory) unlist(h *held) {
	m.unlistUnder(imageKey{h.key.Source, h.key.Image}, h)
	if h.key.Kind == Composite {
		for _, in := range h.thing.Inputs {
			m.unlistUnder(imageKey{in.Source, in.Image}, h)
		}
	}
}

func (m *Memory) unlistUnder(ik imageKey, h *held) {
	if m.index[ik][h.key] != h {
		return
	}
	delete(m.index[ik], h.key)
	if h.isMadeOf(ik) {
		if m.made[ik]--; m.made[ik] == 0 {
			delete(m.made, ik)
		}
	}
	if len(m.index[ik]) == 0 {
		delete(m.index, ik)
	}
}

// NewMemory returns a Store that holds at most bytes bytes. Zero means 256 MiB.
func NewMemory(bytes int64) *Memory {
	m := &Memory{
		bytes: orDefault(bytes, 256<<20),
		seed:  maphash.MakeSeed(),
		index: make(map[imageKey]map[Key]*held),
		made:  make(map[imageKey]int),
	}
	c, err := ristretto.NewCache(&ristretto.Config[uint64, *held]{
		// Fifty counters for each thing that fits, taking things to be 16 KiB. Its documentation advises ten; on Zipf
		// traces with sizes like these that forgets too soon, and costs up to six points of hit ratio
		// in a small store (internal/bench).
		NumCounters:        max(100_000, m.bytes/(16<<10)*50),
		MaxCost:            max(1, m.bytes),
		BufferItems:        64,
		IgnoreInternalCost: true, // size() has it
		OnEvict:            func(*ristretto.Item[*held]) { m.evicted.Add(1) },
		OnExit:             m.exit,
	})
	if err != nil {
		panic(err) // the configuration above is valid for any size
	}
	m.cache = c
	return m
}

func (m *Memory) hash(k Key) uint64 { return maphash.Comparable(m.seed, k) }

// Get implements [Store].
func (m *Memory) Get(_ context.Context, k Key) (*Thing, error) {
	m.open.RLock()
	defer m.open.RUnlock()
	if m.closed {
		return nil, ErrNotFound
	}
	h, ok := m.cache.Get(m.hash(k))
	if !ok || h.key != k || !h.ready.Load() {
		return nil, ErrNotFound
	}
	return h.thing, nil
}

// Put implements [Store]. A thing larger than the whole store is not kept.
func (m *Memory) Put(_ context.Context, k Key, t *Thing, valid func() bool) error {
	m.open.RLock()
	defer m.open.RUnlock()
	size := t.size()
	if m.closed || size > m.bytes || valid != nil && !valid() {
		return nil
	}
	h := &held{key: k, thing: t}
	m.mu.Lock()
	before := m.list(h)
	m.mu.Unlock()
	if before != nil && before.thing.size() < size {
		m.cache.Del(m.hash(k)) // ristretto makes no room for what grows in its place, as by a longer header
	}
	if !m.cache.Set(m.hash(k), h, size) {
		m.exit(h)
		return nil
	}
	// Writes are buffered. What took milliseconds to make is worth the microseconds until the next
	// request can find it.
	m.cache.Wait()

	// A Remove that came before Set found only the index, and a purge that came since may have been
	// followed by one.
	wanted := valid == nil || valid()
	m.mu.Lock()
	if wanted = wanted && m.index[imageKey{k.Source, k.Image}][k] != nil; wanted {
		h.ready.Store(true)
	}
	m.mu.Unlock()
	if !wanted {
		m.cache.Del(m.hash(k))
	}
	return nil
}

// exit is called when ristretto lets go of h, or never took it.
func (m *Memory) exit(h *held) {
	if h == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unlist(h)
}

// Remove implements [Store].
func (m *Memory) Remove(_ context.Context, source, image string) (Removed, error) {
	var r Removed
	m.open.RLock()
	defer m.open.RUnlock()
	if !m.closed {
		m.remove(imageKey{source, image}, &r)
	}
	return r, nil
}

// drop implements [dropper].
func (m *Memory) drop(source, image string) {
	_, _ = m.Remove(context.Background(), source, image) // which does not fail
}

// List implements [Lister].
func (m *Memory) List(ctx context.Context, source string, visit func(source, image string, names []ListedName) error) error {
	for _, ik := range m.images(source) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := visit(ik.source, ik.image, nil); err != nil {
			return err
		}
	}
	return nil
}

// Count implements [Counter].
func (m *Memory) Count(_ context.Context, source, image string) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.made[imageKey{source, image}], nil
}

// images returns those of a source, or of all.
func (m *Memory) images(source string) (images []imageKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for ik := range m.index {
		if source == "" || ik.source == source {
			images = append(images, ik)
		}
	}
	return images
}

// RemoveAll implements [Store].
func (m *Memory) RemoveAll(ctx context.Context, source string) (Removed, error) {
	var r Removed
	m.open.RLock()
	defer m.open.RUnlock()
	if m.closed {
		return r, nil
	}
	for _, ik := range m.images(source) {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		m.remove(ik, &r)
	}
	return r, nil
}

func (m *Memory) remove(ik imageKey, r *Removed) {
	m.mu.Lock()
	things := m.index[ik]
	delete(m.index, ik)
	delete(m.made, ik)
	for _, h := range things {
		m.unlist(h) // under its other images, so that whoever removes one of them does not count it
	}
	m.mu.Unlock()
	for k, h := range things { // nobody else has this map now
		m.cache.Del(m.hash(k))
		r.add(k.Kind, int64(len(h.thing.Body)))
	}
}

// Close implements [Store].
func (m *Memory) Close() error {
	m.open.Lock()
	defer m.open.Unlock()
	if !m.closed {
		m.closed = true
		m.cache.Close()
	}
	return nil
}
