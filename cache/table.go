package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/imagecdn/imagecdn/internal/fault"
)

// A Keeper keeps names and generations over restarts. A Store that is one makes its table durable; see
// [NewTable].
//
// All methods are safe for concurrent use.
type Keeper interface {
	// LoadName reads the entry last saved for n. Where there is none, or it cannot be read, it returns nil.
	LoadName(n Name) *Entry

	// SaveName keeps e for n, replacing what was there. It asks valid at the last moment, when nothing
	// can come between the answer and the deed, and keeps nothing where that says no.
	SaveName(n Name, e *Entry, valid func() bool) error

	// Hide makes all that is kept of an image unreachable, durably: when it has returned, no restart
	// brings any of it back. With names alone, the image's things stay.
	Hide(source, image string, namesOnly bool) error

	// Generations returns the generations last saved.
	Generations() *Generations

	// SaveGenerations makes g durable, and what it drops unreachable.
	SaveGenerations(g *Generations) error
}

// A Table is the table of names: what each image is, right now. It is strict: a value set is the value
// read, until it is replaced, purged, or makes room for others. It is bounded, in memory, and is written
// through to a Keeper where there is one.
//
// All methods are safe for concurrent use. Lookups do no I/O, save for the first one of a name that only
// the Keeper holds.
//
// # The order of a purge
//
// A purge of an image happens in this order, F being a fill, L a load from the Keeper:
//
//	1  pending++       from here on no load begins: what the Keeper holds is about to go
//	2  purges++, twice under the shard's lock: every lease of before is dead
//	3  entries go      under the same hold of the lock
//	4  Keeper.Hide     durable
//	5  pending--
//
// F takes its lease before 2 and commits after 2: the commit looks at purges under the shard's lock, sees
// the change, and does nothing. F commits before 2: 3 removes what it brought, and its SaveName either comes
// before 4, which hides it, or asks valid after 2 and is told no. L reads the Keeper's file before 4 and
// commits after 2: its lease is dead. L takes its lease after 2: it sees pending, and asks the origin. L
// sees no pending, after 5: the file is gone.
type Table struct {
	keep Keeper                     // nil: memory only
	drop func(source, image string) // removes an image's things from memory; nil where none are there
	max  int                        // entries in one shard

	shared Shared // nil: nobody else's

	gens    atomic.Pointer[Generations]
	bumping sync.Mutex // held while gens is changed, kept and published, so that they never go back

	failing sync.Mutex            // guards failed and lately
	failed  map[imageKey]struct{} // purges that the Keeper could not promise, each pending until it can
	lately  map[imageKey]struct{} // images that fell, and whose things are to be freed yet
	behind  chan struct{}         // has an element for each image that fell, and is being hidden
	filling chan struct{}         // has an element while somebody fills behind: two would each wait for what the other has

	seed    maphash.Seed
	stripes []stripe
	shards  []shard
}

// Purges are counted in stripes, by a keyed hash of the image, so that a lease is a few numbers and
// purges leave nothing behind in memory however many there are. Each purge counts in two stripes, chosen
// by different bits of the hash, and a lease is dead when both have counted on: that other images' purges
// end a fill, at the cost of a fetch that is not kept, takes two of them that hit the right ones of 16,384 each
// while it lasts.
const (
	stripeCount = 1 << 14
	shardCount  = 64
)

type stripe struct {
	purges  atomic.Uint64 // of images in this stripe, ever
	second  atomic.Uint64 // of images whose second stripe this is, ever
	pending atomic.Int64  // purges whose Keeper has not answered yet
}

type shard struct {
	mu     sync.RWMutex // guards images and what its slots hold
	images map[imageKey]*slot
	count  int // entries in all slots
}

type imageKey struct{ source, image string }

type slot struct {
	entries map[string]*Entry // by version
	used    atomic.Bool       // since the clock hand last passed
}

// TableOptions are optional settings of a Table.
type TableOptions struct {
	// MaxNames bounds how many names are held in memory. Zero means 1,000,000. What does not fit is
	// read from the Keeper again, or fetched.
	MaxNames int

	// Shared is what the nodes of a cluster share of their names. Its purges are to be carried out on this table, as it says of itself.
	// Nil means that the table is nobody else's.
	Shared Shared
}

// NewTable returns a table of names. Where store is a [Keeper], or is made of tiers of which one is, the
// table continues where the Keeper left off.
func NewTable(store Store, o *TableOptions) *Table {
	if o == nil {
		o = new(TableOptions)
	}
	t := &Table{
		max:     max(1, orDefault(o.MaxNames, 1_000_000)/shardCount),
		shared:  o.Shared,
		seed:    maphash.MakeSeed(),
		stripes: make([]stripe, stripeCount),
		shards:  make([]shard, shardCount),
		failed:  make(map[imageKey]struct{}),
		lately:  make(map[imageKey]struct{}),
		behind:  make(chan struct{}, 64),
		filling: make(chan struct{}, 1),
	}
	for i := range t.shards {
		t.shards[i].images = make(map[imageKey]*slot)
	}
	t.keep = keeperOf(store)
	if d, ok := store.(dropper); ok {
		t.drop = d.drop
	}
	if t.keep != nil {
		t.gens.Store(t.keep.Generations())
	} else {
		t.gens.Store(new(Generations))
	}
	return t
}

func (t *Table) place(source, image string) (*shard, *stripe, *atomic.Uint64) {
	h := maphash.Comparable(t.seed, imageKey{source, image})
	first := h / shardCount
	return &t.shards[h%shardCount], &t.stripes[first%stripeCount], &t.stripes[first/stripeCount%stripeCount].second
}

// A Lease is the right to say what a name is. It is taken before the origin is asked, and a purge of the
// name ends it. It needs no release.
type Lease struct {
	table  *Table
	name   Name
	shard  *shard
	stripe *stripe
	second *atomic.Uint64
	purges [2]uint64 // as stripe and second had them
	gen    uint64

	// position is that of Shared, or unkept: what comes of the lease is newer than every purge up to there. It is read after all of the
	// above, and before the origin is asked. A purge that the table carries out between these reads ends the lease, so that nobody is
	// told. One that it carries out later is behind the position, where whoever hears of the entry looks for it.
	position uint64
}

// unkept is the position of a lease that was never alive: what comes of it is for one request, and kept by nobody.
const unkept = math.MaxUint64

// Lease takes a lease on n.
func (t *Table) Lease(n Name) Lease {
	sh, st, second := t.place(n.Source, n.Image)
	l := Lease{t, n, sh, st, second, [2]uint64{st.purges.Load(), second.Load()}, t.gens.Load().Seq, 0}
	if t.shared != nil {
		l.position = t.shared.Position()
	}
	return l
}

// unkept is l for what is to be kept by nobody.
func (l Lease) unkept() Lease {
	l.position = unkept
	return l
}

func (l Lease) isUnkept() bool { return l.position == unkept }

// Alive reports whether no purge of the name was accepted since the lease was taken. What came of a dead
// lease may answer those who were waiting already, marked so that nobody keeps it.
func (l Lease) Alive() bool {
	if l.isUnkept() {
		return false
	}
	if l.stripe.purges.Load() != l.purges[0] && l.second.Load() != l.purges[1] {
		return false
	}
	g := l.table.gens.Load()
	return g.Seq == l.gen || g.ofImage(l.name.Source, l.name.Image).last() <= l.gen
}

// purged reports whether a purge by a tag of e was accepted since the lease was taken. Until the answer has come, nobody
// knows its tags.
func (l Lease) purged(e *Entry) bool {
	g := l.table.gens.Load()
	if g.Tags <= l.gen {
		return false
	}
	tags := e.tags
	if tags == nil {
		tags = tagMarks(e.Header)
	}
	return g.marked(l.name.Source, l.name.Image, tags).last() > l.gen
}

// flight tells apart fills that a purge came between: they must not be shared.
func (l Lease) flight() string {
	if fault.Planted == fault.FlightOutlivesPurge {
		return l.name.Version + l.name.Image
	}
	g := l.table.gens.Load()
	last := max(g.ofImage(l.name.Source, l.name.Image).last(), g.Tags)
	return fmt.Sprintf("%d.%d.%d.%d.%s%s", l.purges[0], l.purges[1], min(last, l.gen), len(l.name.Version), l.name.Version, l.name.Image)
}

// noCache reports whether a first fetch may be the first since a purge, and so must not be answered
// from a copy on the way.
func (l Lease) noCache() bool {
	if fault.Planted == fault.FirstFetchMayBeCopied {
		return false
	}
	g := l.table.gens.Load()
	return l.purges[0] > 0 && l.purges[1] > 0 || g.Images || g.purged(l.name.Source, l.name.Image)
}

// Open takes a lease on n, and returns it with what is known of n, or nil. Where a purge of a folder or a tag is what there
// is to know, it is carried out here for this image: other than after a purge of the source, its things
// can be found otherwise.
func (t *Table) Open(n Name) (Lease, *Entry) {
	for tries := 1; ; tries++ {
		l := t.Lease(n)
		e, fallen := t.lookup(l)
		if fallen == nil || tries == 3 { // purges come faster than this can follow: the next request goes on
			return l, e
		}
		t.fell(n.Source, n.Image, fallen)
	}
}

// Lookup returns what is known of l's name, or nil.
func (t *Table) Lookup(l Lease) *Entry {
	e, _ := t.lookup(l)
	return e
}

// lookup is Lookup, and gives the entry that a purge of its folder or its tags has deleted.
func (t *Table) lookup(l Lease) (e, fallen *Entry) {
	if e, fallen := t.inMemory(l); e != nil || fallen != nil {
		return e, fallen
	}
	if t.keep == nil || l.stripe.pending.Load() != 0 {
		return nil, nil
	}
	if e := t.keep.LoadName(l.name); e != nil {
		if seq := t.gens.Load().Seq; e.gen > seq {
			// It was fetched in a generation that was never kept. That number will come again, and must
			// then count as newer.
			known := *e
			known.gen = seq
			e = &known
		}
		t.put(l, e, ifNone)
	}
	return t.inMemory(l)
}

func (t *Table) inMemory(l Lease) (e, fallen *Entry) {
	e, fallen, x := t.read(l)
	if e == nil || x <= e.stale {
		return e, fallen
	}
	l.shard.mu.Lock()
	defer l.shard.mu.Unlock()
	if s := l.shard.images[imageKey{l.name.Source, l.name.Image}]; s != nil && s.entries[l.name.Version] == e {
		e = e.marked(x)
		s.entries[l.name.Version] = e
		return e, nil
	}
	return e.marked(x), nil
}

// read returns what is in memory of l's name, and what the generations demand of it.
func (t *Table) read(l Lease) (e, fallen *Entry, x expiry) {
	l.shard.mu.RLock()
	defer l.shard.mu.RUnlock()
	s := l.shard.images[imageKey{l.name.Source, l.name.Image}]
	if s == nil {
		return nil, nil, notExpired
	}
	if e = s.entries[l.name.Version]; e == nil {
		return nil, nil, notExpired
	}
	if !s.used.Load() {
		s.used.Store(true)
	}
	gone, fell, x := t.gens.Load().expiry(l.name.Source, l.name.Image, e)
	switch {
	case gone:
		return nil, nil, notExpired
	case fell:
		return nil, e, notExpired
	}
	return e, nil, x
}

// marked returns e as a purge that keeps the bytes leaves it.
func (e *Entry) marked(x expiry) *Entry {
	m := *e
	m.stale = max(m.stale, x)
	m.origin = cmp.Or(e.origin, e)
	return &m
}

// Commit makes e the value of l's name, unless l is dead. It reports whether it did. An entry that was
// loaded or looked up keeps the generation of its own fetch.
func (t *Table) Commit(l Lease, e *Entry) bool {
	if !t.commit(l, e, anyway) {
		return false
	}
	// What an answer is under Vary means nothing without the others; and what has tags of before, others would not find by them.
	if t.shared != nil && e.Status < 500 && !e.Freshness.NoStore && e.Variant == "" && (e.OK() || len(e.tags) == len(tagMarks(e.Header))) {
		t.shared.Commit(l.name, e, l.position)
	}
	return true
}

func (t *Table) commit(l Lease, e *Entry, when condition) bool {
	e.gen = l.gen
	if l.purged(e) || !t.put(l, e, when) {
		return false
	}
	if e.Status < 500 { // a failure of the origin is not worth keeping over a restart
		t.save(l, e)
	}
	return true
}

// Learn makes e, which another node has heard from the origin, the value of n, where the table has a value that is older, by
// ResponseTime; a name that it does not hold it does not learn. valid is asked once the table can tell which purges
// come after the answer, and says that none of before covers e. Learn reports whether e is the value now. The table owns e.
func (t *Table) Learn(n Name, e *Entry, valid func() bool) bool {
	l := t.Lease(n)
	if known, _ := t.lookup(l); known == nil || !e.ResponseTime.After(known.ResponseTime) { // which spares most the question
		return false
	}
	return valid() && t.commit(l, e, ifOlder)
}

// save has the Keeper keep e. A name that could not be kept is a miss after a restart; the Keeper counts
// and logs it.
func (t *Table) save(l Lease, e *Entry) {
	if t.keep != nil {
		_ = t.keep.SaveName(l.name, e, func() bool { return l.Alive() && !t.replaced(l, e) })
	}
}

// Amend puts e in the place of old, unless a purge or another fill has come between.
func (t *Table) Amend(l Lease, old, e *Entry) bool {
	l.shard.mu.Lock()
	defer l.shard.mu.Unlock()
	s := l.shard.images[imageKey{l.name.Source, l.name.Image}]
	if s == nil || s.entries[l.name.Version] != old || !l.Alive() {
		return false
	}
	e.gen, e.origin = old.gen, cmp.Or(old.origin, old)
	s.entries[l.name.Version] = e
	return true
}

// replaced reports whether another answer of the origin has taken the place of e. One that made room for
// others, or was amended, is still the newest there is.
func (t *Table) replaced(l Lease, e *Entry) bool {
	l.shard.mu.RLock()
	defer l.shard.mu.RUnlock()
	s := l.shard.images[imageKey{l.name.Source, l.name.Image}]
	if s == nil || s.entries[l.name.Version] == nil {
		return false
	}
	now := s.entries[l.name.Version]
	return cmp.Or(now.origin, now) != cmp.Or(e.origin, e)
}

// A condition says what may be put in the place of what.
type condition uint8

const (
	anyway        condition = iota
	ifNone                  // where there is no value
	ifOlder                 // where there is one, whose exchange with the origin was before
	ifNoneOrOlder           // where there is none, or such a one
)

func (c condition) holds(before, e *Entry) bool {
	if before == nil {
		return c != ifOlder
	}
	return c == anyway || c != ifNone && e.ResponseTime.After(before.ResponseTime)
}

// put makes e the value of l's name unless l is dead, and if when holds.
func (t *Table) put(l Lease, e *Entry, when condition) bool {
	l.shard.mu.Lock()
	defer l.shard.mu.Unlock()
	if !l.Alive() && fault.Planted != fault.DeadLeaseCommits {
		return false
	}
	if e.tags == nil {
		e.tags = tagMarks(e.Header)
	}
	k := imageKey{l.name.Source, l.name.Image}
	s := l.shard.images[k]
	var before *Entry
	if s != nil {
		before = s.entries[l.name.Version]
	}
	if !when.holds(before, e) {
		return false
	}
	if s == nil {
		s = &slot{entries: make(map[string]*Entry, 1)}
		l.shard.images[k] = s
	}
	switch {
	case before == nil:
		l.shard.count++
	case t.gens.Load().marked(l.name.Source, l.name.Image, before.tags).last() > e.gen:
		return false // a tag that the image had, and has no more, was purged since e was asked for
	case !e.OK():
		// What fails, or is gone, is still the image that has these tags.
		e.tags = slices.Concat(before.tags, e.tags)
	}
	s.entries[l.name.Version] = e
	l.shard.evict(t.max, k, l.name.Version)
	return true
}

// evict makes room, by the clock algorithm over Go's random map order. keep and version were just put in.
func (sh *shard) evict(most int, keep imageKey, version string) {
	for sh.count > most {
		for k, s := range sh.images {
			if sh.count <= most {
				return
			}
			if k == keep {
				for v := range s.entries {
					if v != version && sh.count > most {
						delete(s.entries, v)
						sh.count--
					}
				}
				continue
			}
			if s.used.Swap(false) {
				continue
			}
			sh.count -= len(s.entries)
			delete(sh.images, k)
		}
		if sh.count <= most || len(sh.images) == 1 {
			return
		}
	}
}

// Purge ends every lease on an image, and removes or expires all its names, in memory at once and in
// the Keeper durably. An error means that the Keeper could not promise it; memory has forgotten all the
// same.
func (t *Table) Purge(source, image string, mode Mode) error {
	return t.purge(source, image, mode, nil)
}

// purge is Purge, of an image that has the entry only, where that is not nil.
func (t *Table) purge(source, image string, mode Mode, only *Entry) error {
	keep, did := t.purgeMemory(source, image, mode, only)
	if !did {
		return nil
	}
	return keep()
}

// purgeMemory is the part of purge that does no I/O. keep is the rest, and must be called.
func (t *Table) purgeMemory(source, image string, mode Mode, only *Entry) (keep func() error, did bool) {
	if fault.Planted == fault.FirstFetchIsConditional && only == nil {
		mode = Revalidate
	}
	if mode != Delete {
		// What the Keeper alone knows must be in memory to be asked about: the Keeper is about to forget it.
		t.Lookup(t.Lease(Name{Source: source, Image: image}))
	}
	sh, st, second := t.place(source, image)
	st.pending.Add(1)
	sh.mu.Lock()
	k := imageKey{source, image}
	s := sh.images[k]
	if only != nil && (s == nil || !s.has(only)) {
		sh.mu.Unlock()
		st.pending.Add(-1)
		return nil, false
	}
	st.purges.Add(1)
	second.Add(1)
	if s != nil {
		switch {
		case only == nil && (fault.Planted == fault.PurgeForgetsVersions || fault.Planted == fault.PurgeForgetsFailures):
			for v, e := range s.entries {
				if fault.Planted == fault.PurgeForgetsVersions && v == "" || fault.Planted == fault.PurgeForgetsFailures && e.OK() {
					sh.count--
					delete(s.entries, v)
				}
			}
		case mode == Delete:
			sh.count -= len(s.entries)
			delete(sh.images, k)
		default:
			for v, e := range s.entries {
				s.entries[v] = e.marked(mode.expiry())
			}
		}
	}
	sh.mu.Unlock()

	if t.keep == nil || fault.Planted == fault.RestartForgetsPurge && only == nil {
		st.pending.Add(-1)
		return func() error { return nil }, true
	}
	return func() error {
		var err error
		if only == nil { // else the marks say it
			err = t.noteImagePurge()
		}
		err = errors.Join(err, t.keep.Hide(source, image, mode != Delete))
		t.settle(k, st, err == nil)
		if err != nil {
			return fmt.Errorf("cache: %w", err)
		}
		return nil
	}, true
}

// fell purges an image that a purge of its folder or its tags has deleted, unless another has come before. What the
// Keeper has to do happens behind, as a request waits: until then it is not asked about the image, and a restart would
// know of the purge by its generation.
func (t *Table) fell(source, image string, fallen *Entry) {
	keep, did := t.purgeMemory(source, image, Delete, fallen)
	if !did {
		return
	}
	if t.drop != nil {
		t.drop(source, image)
	}
	t.freeLater(source, image)
	if t.keep == nil {
		_ = keep()
		return
	}
	select {
	case t.behind <- struct{}{}:
		go func() {
			defer func() { <-t.behind }()
			_ = keep() // the Keeper counts and logs what it could not do
		}()
	default:
		_ = keep()
	}
}

// keptUp waits until the Keeper has done what fell has left to it.
func (t *Table) keptUp(ctx context.Context) error {
	select {
	case t.filling <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	held := 0
	defer func() {
		for range held {
			<-t.behind
		}
		<-t.filling
	}()
	for ; held < cap(t.behind); held++ {
		select {
		case t.behind <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// freeLater has the next Sweep free the things of an image that fell.
func (t *Table) freeLater(source, image string) {
	t.failing.Lock()
	defer t.failing.Unlock()
	if len(t.lately) < maxFailed { // what is beyond it is freed as room is needed
		t.lately[imageKey{source, image}] = struct{}{}
	}
}

func (s *slot) has(e *Entry) bool {
	for _, known := range s.entries {
		if known == e {
			return true
		}
	}
	return false
}

// maxFailed bounds failed. Of what is beyond it, the stripe stays pending until a restart.
const maxFailed = 10_000

// settle ends a purge. One that the Keeper could not promise stays pending, as its names of this stripe are
// not to be trusted, until another purge of the image can be promised.
func (t *Table) settle(k imageKey, st *stripe, kept bool) {
	t.failing.Lock()
	defer t.failing.Unlock()
	_, failed := t.failed[k]
	switch {
	case kept:
		st.pending.Add(-1)
		if failed {
			st.pending.Add(-1)
			delete(t.failed, k)
		}
	case failed:
		st.pending.Add(-1) // it is pending already
	case len(t.failed) < maxFailed:
		t.failed[k] = struct{}{}
	}
}

// noteImagePurge records durably, once, that images have been purged.
func (t *Table) noteImagePurge() error {
	if t.gens.Load().Images {
		return nil
	}
	t.bumping.Lock()
	defer t.bumping.Unlock()
	g := *t.gens.Load()
	if g.Images {
		return nil
	}
	g.Images = true
	if err := t.keep.SaveGenerations(&g); err != nil {
		return err
	}
	t.gens.Store(&g)
	return nil
}

// PurgeAll does to every name of a source, or to all where source is empty, what Purge does to one
// image, in a time that does not depend on how many there are.
func (t *Table) PurgeAll(source string, mode Mode) error {
	return t.bump(func(g *Generations) *Generations { return g.with(source, mode) })
}

// PurgeSelection does to every image that s selects what Purge does to one, in a time that does not depend on
// how many there are. What it makes unreachable is freed by Sweep.
func (t *Table) PurgeSelection(s Selection, mode Mode) error {
	return t.bump(func(g *Generations) *Generations { return g.withSelection(s, mode) })
}

// bump takes the next generation: in memory at once, and durably.
func (t *Table) bump(next func(*Generations) *Generations) error {
	t.bumping.Lock()
	defer t.bumping.Unlock()
	g := next(t.gens.Load())
	t.gens.Store(g)
	if t.keep != nil && fault.Planted != fault.RestartForgetsPurgeAll {
		if err := t.keep.SaveGenerations(g); err != nil {
			return fmt.Errorf("cache: %w", err)
		}
	}
	return nil
}

// Position returns the position that was last saved: zero where none was, or where what the Keeper had is lost.
func (t *Table) Position() Position { return t.gens.Load().Position }

// SavePosition keeps p, durably where there is a Keeper: with it goes all that the table has carried out before. In one log
// positions do not go back.
func (t *Table) SavePosition(p Position) error {
	t.bumping.Lock()
	defer t.bumping.Unlock()
	g := *t.gens.Load()
	if p.Log == g.Position.Log && p.Seq <= g.Position.Seq {
		return nil
	}
	g.Position = p
	if t.keep != nil {
		if err := t.keep.SaveGenerations(&g); err != nil {
			return fmt.Errorf("cache: %w", err)
		}
	}
	t.gens.Store(&g)
	return nil
}

// Reclaim frees the memory of names that a purge of everything or of a source left behind, one shard at
// a time.
func (t *Table) Reclaim() {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		g := t.gens.Load()
		for k, s := range sh.images {
			for v, e := range s.entries {
				if gone, _, _ := g.expiry(k.source, k.image, e); gone {
					delete(s.entries, v)
					sh.count--
				}
			}
			if len(s.entries) == 0 {
				delete(sh.images, k)
			}
		}
		sh.mu.Unlock()
	}
}

// Versions lists the versions of an image that the table holds in memory.
func (t *Table) Versions(source, image string) []string {
	sh, _, _ := t.place(source, image)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	s := sh.images[imageKey{source, image}]
	if s == nil {
		return nil
	}
	g := t.gens.Load()
	vs := make([]string, 0, len(s.entries))
	for v, e := range s.entries {
		if gone, fallen, _ := g.expiry(source, image, e); !gone && !fallen {
			vs = append(vs, v)
		}
	}
	return vs
}

// Len is how many names are in memory.
func (t *Table) Len() int {
	n := 0
	for i := range t.shards {
		t.shards[i].mu.RLock()
		n += t.shards[i].count
		t.shards[i].mu.RUnlock()
	}
	return n
}
