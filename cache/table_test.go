package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A fakeKeeper keeps names in memory, as a file system would: what it returns is not what it was given. What
// comes between its steps is forced by hooks.
type fakeKeeper struct {
	Store // nil: a fakeKeeper is asked for names alone

	mu    sync.Mutex
	names map[Name][]byte
	gens  Generations
	loads int

	beforeSave, afterLoad, beforeHide func()
	failHide, failGens                error
}

func newFakeKeeper() *fakeKeeper { return &fakeKeeper{names: make(map[Name][]byte)} }

func run(hook *func()) {
	if f := *hook; f != nil {
		*hook = nil
		f()
	}
}

func (k *fakeKeeper) LoadName(n Name) *Entry {
	k.mu.Lock()
	k.loads++
	data := k.names[n]
	k.mu.Unlock()
	run(&k.afterLoad)
	if data == nil {
		return nil
	}
	e := new(Entry)
	if err := json.Unmarshal(data, e); err != nil {
		panic(err)
	}
	return e
}

func (k *fakeKeeper) SaveName(n Name, e *Entry, valid func() bool) error {
	run(&k.beforeSave)
	data, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if valid() {
		k.names[n] = data
	}
	return nil
}

func (k *fakeKeeper) Hide(source, image string, namesOnly bool) error {
	run(&k.beforeHide)
	if k.failHide != nil {
		return k.failHide
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for n := range k.names {
		if n.Source == source && n.Image == image {
			delete(k.names, n)
		}
	}
	return nil
}

func (k *fakeKeeper) Generations() *Generations {
	k.mu.Lock()
	defer k.mu.Unlock()
	g := k.gens
	return &g
}

func (k *fakeKeeper) SaveGenerations(g *Generations) error {
	if k.failGens != nil {
		return k.failGens
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for n := range k.names {
		if g.Deleted(n.Source) > k.gens.Deleted(n.Source) {
			delete(k.names, n)
		}
	}
	k.gens = *g
	return nil
}

func (k *fakeKeeper) has(n Name) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.names[n] != nil
}

func newEntry(id int64) *Entry {
	return &Entry{Status: http.StatusOK, Size: id, Digest: DigestOf(fmt.Append(nil, id)), Freshness: Freshness{Lifetime: time.Hour}}
}

// check looks at what must always hold of a table that nobody is using.
func (t *Table) check() error {
	var errs []error
	for i := range t.shards {
		sh := &t.shards[i]
		n := 0
		for k, s := range sh.images {
			n += len(s.entries)
			if len(s.entries) == 0 {
				errs = append(errs, fmt.Errorf("%v has a slot and no entries", k))
			}
			for v, e := range s.entries {
				if e.origin != nil && e.origin.origin != nil {
					errs = append(errs, fmt.Errorf("%v %q: the origin of an entry has one itself", k, v))
				}
				if e.gen > t.gens.Load().Seq {
					errs = append(errs, fmt.Errorf("%v %q is of generation %d, the newest is %d", k, v, e.gen, t.gens.Load().Seq))
				}
			}
		}
		if n != sh.count {
			errs = append(errs, fmt.Errorf("shard %d has %d entries and counts %d", i, n, sh.count))
		}
	}
	for i := range t.stripes {
		if p := t.stripes[i].pending.Load(); p < 0 || p > int64(len(t.failed)) {
			errs = append(errs, fmt.Errorf("stripe %d: %d pending, %d failed", i, p, len(t.failed)))
		}
	}
	return errors.Join(errs...)
}

// apart finds an image that shares no stripe with others.
func apart(t *Table, others ...string) string {
	for i := 0; ; i++ {
		image := fmt.Sprint("/apart", i)
		_, st, _ := t.place("s", image)
		if !slices.ContainsFunc(others, func(o string) bool { _, other, _ := t.place("s", o); return other == st }) {
			return image
		}
	}
}

type tableTest struct {
	*testing.T
	keep  *fakeKeeper
	table *Table
}

// tableTests runs test with a Keeper and without.
func tableTests(t *testing.T, test func(*tableTest)) {
	t.Run("memory", func(t *testing.T) { test(&tableTest{t, nil, NewTable(nil, nil)}) })
	t.Run("keeper", func(t *testing.T) {
		k := newFakeKeeper()
		test(&tableTest{t, k, NewTable(k, nil)})
	})
}

func (t *tableTest) purge(source, image string, m Mode) {
	t.Helper()
	if err := t.table.Purge(source, image, m); err != nil {
		t.Fatal(err)
	}
}

func (t *tableTest) purgeAll(source string, m Mode) {
	t.Helper()
	if err := t.table.PurgeAll(source, m); err != nil {
		t.Fatal(err)
	}
}

// known is what the table says of a name: an entry's id, or zero. With a Keeper it is asked after a restart,
// too, and may then only be the same or nothing.
func (t *tableTest) known(n Name, want int64) {
	t.Helper()
	ask := func(table *Table) int64 {
		if e := table.Lookup(table.Lease(n)); e != nil {
			return e.Size
		}
		return 0
	}
	if got := ask(t.table); got != want {
		t.Errorf("%v is %d, want %d", n, got, want)
	}
	if t.keep != nil {
		if got := ask(NewTable(t.keep, nil)); got != want && got != 0 {
			t.Errorf("after a restart %v is %d, want %d or nothing", n, got, want)
		}
	}
	if err := t.table.keptUp(t.Context()); err != nil {
		t.Error(err)
	}
	if err := t.table.check(); err != nil {
		t.Error(err)
	}
}

var cat = Name{Source: "s", Image: "/cat"}

func TestCommittedIsKnown(t *testing.T) {
	tableTests(t, func(t *tableTest) {
		t.known(cat, 0)
		if l := t.table.Lease(cat); !t.table.Commit(l, newEntry(1)) || !l.Alive() {
			t.Error("not committed")
		}
		t.known(cat, 1)
		t.known(Name{"s", "/cat", "v"}, 0)
		t.known(Name{"t", "/cat", ""}, 0)
		t.table.Commit(t.table.Lease(cat), newEntry(2))
		t.known(cat, 2)
		if t.keep != nil {
			table := NewTable(t.keep, nil)
			if e := table.Lookup(table.Lease(cat)); e == nil || e.Size != 2 {
				t.Errorf("after a restart the name is %v", e)
			}
		}
	})
}

// A fill that began before a purge does not become the value, whatever the purge is of.
func TestPurgeEndsFills(t *testing.T) {
	purges := []struct {
		rule  string
		purge func(*tableTest, Mode)
		kills []Name
		spare []Name
	}{
		{"of an image: all versions of it", func(t *tableTest, m Mode) { t.purge("s", "/cat", m) },
			[]Name{cat, {"s", "/cat", "v"}}, []Name{{"t", "/cat", ""}, {"s", "APART", ""}}},
		{"of a source", func(t *tableTest, m Mode) { t.purgeAll("s", m) },
			[]Name{cat, {"s", "/cat", "v"}, {"s", "/dog", ""}}, []Name{{"t", "/cat", ""}, {"", "/cat", ""}}},
		{"of a folder", func(t *tableTest, m Mode) {
			if err := t.table.PurgeSelection(Selection{Folders: []Folder{{"s", "/f/"}}}, m); err != nil {
				t.Fatal(err)
			}
		}, []Name{{"s", "/f/cat", ""}, {"s", "/f/g/cat", "v"}}, []Name{cat, {"s", "/f", ""}, {"t", "/f/cat", ""}}},
		{"of everything", func(t *tableTest, m Mode) { t.purgeAll("", m) },
			[]Name{cat, {"t", "/cat", ""}, {"", "/cat", ""}}, nil},
	}
	for _, p := range purges {
		for _, mode := range []Mode{Delete, Revalidate, Stale} {
			t.Run(fmt.Sprintf("%s/mode %d", p.rule, mode), func(t *testing.T) {
				tableTests(t, func(t *tableTest) {
					leases := make(map[Name]Lease)
					var kills, spares []Name
					for _, n := range slices.Concat(p.kills, p.spare) {
						if n.Image == "APART" {
							n.Image = apart(t.table, "/cat")
						}
						if len(kills) < len(p.kills) {
							kills = append(kills, n)
						} else {
							spares = append(spares, n)
						}
						leases[n] = t.table.Lease(n)
					}
					if _, st, _ := t.table.place("s", "/cat"); slices.ContainsFunc(spares, func(n Name) bool { _, o, _ := t.table.place(n.Source, n.Image); return o == st }) {
						t.Skip("two images share a stripe: one in 16,384")
					}
					p.purge(t, mode)
					for _, n := range kills {
						l := leases[n]
						if l.Alive() || t.table.Commit(l, newEntry(1)) || l.flight() == t.table.Lease(n).flight() {
							t.Errorf("%v: the fill of before lives", n)
						}
						t.known(n, 0)
						if !t.table.Lease(n).noCache() {
							t.Errorf("%v: the first fetch may be answered from a copy", n)
						}
						if l := t.table.Lease(n); !t.table.Commit(l, newEntry(2)) {
							t.Errorf("%v: a fill that began after the purge was refused", n)
						}
						t.known(n, 2)
					}
					for _, n := range spares {
						l := leases[n]
						if !l.Alive() || l.flight() != t.table.Lease(n).flight() || !t.table.Commit(l, newEntry(3)) {
							t.Errorf("%v: the fill was ended by another's purge", n)
						}
						t.known(n, 3)
					}
				})
			})
		}
	}
}

func TestFlightsOfDifferentNamesDiffer(t *testing.T) {
	table := NewTable(nil, nil)
	seen := make(map[string]Name)
	for _, n := range []Name{{"s", "/a", ""}, {"s", "/a", "v"}, {"s", "v/a", ""}, {"s", "/c", "a\x00/b"}, {"s", "/b\x00/c", "a"}, {"s", "2./a", ""}, {"s", "/a", "2."}, {"s", "a", "/"}} {
		f := table.Lease(n).flight()
		if other, ok := seen[f]; ok {
			t.Errorf("%q and %q share a flight", n, other)
		}
		seen[f] = n
	}
}

// The interleavings in the comment of Table, each forced.
func TestPurgeInterleavings(t *testing.T) {
	open := func(t *testing.T) *tableTest {
		k := newFakeKeeper()
		return &tableTest{t, k, NewTable(k, nil)}
	}
	t.Run("a fill commits before the purge and saves after it", func(t *testing.T) {
		tt := open(t)
		tt.keep.beforeSave = func() { tt.purge("s", "/cat", Delete) }
		tt.table.Commit(tt.table.Lease(cat), newEntry(1))
		tt.known(cat, 0)
		if tt.keep.has(cat) {
			t.Error("it was saved")
		}
	})
	t.Run("a fill commits before the purge and saves before Hide", func(t *testing.T) {
		tt := open(t)
		saved, hiding := make(chan struct{}), make(chan struct{})
		tt.keep.beforeSave = func() { // committed, and not saved
			go func() { tt.purge("s", "/other", Delete); close(saved) }()
			<-saved
		}
		tt.table.Commit(tt.table.Lease(cat), newEntry(1))
		tt.keep.beforeHide = func() { close(hiding) }
		tt.purge("s", "/cat", Delete)
		<-hiding
		tt.known(cat, 0)
		if tt.keep.has(cat) {
			t.Error("it was not hidden")
		}
	})
	t.Run("a fill commits while the purge waits for Hide", func(t *testing.T) {
		tt := open(t)
		l := tt.table.Lease(cat)
		tt.keep.beforeHide = func() {
			if tt.table.Commit(l, newEntry(1)) {
				t.Error("a dead lease committed")
			}
		}
		tt.purge("s", "/cat", Delete)
		tt.known(cat, 0)
	})
	t.Run("a fill begins and commits while the purge waits for Hide", func(t *testing.T) {
		tt := open(t)
		tt.keep.beforeHide = func() {
			if !tt.table.Commit(tt.table.Lease(cat), newEntry(1)) {
				t.Error("a fill that began after the purge was accepted was refused")
			}
		}
		tt.purge("s", "/cat", Delete)
		tt.known(cat, 1)
	})
	t.Run("a load reads before Hide and commits after the purge", func(t *testing.T) {
		tt := open(t)
		tt.table.Commit(tt.table.Lease(cat), newEntry(1))
		tt.table = NewTable(tt.keep, nil)
		tt.keep.afterLoad = func() { tt.purge("s", "/cat", Delete) }
		tt.known(cat, 0)
	})
	t.Run("a load begins while the purge waits for Hide", func(t *testing.T) {
		tt := open(t)
		tt.table.Commit(tt.table.Lease(cat), newEntry(1))
		tt.table = NewTable(tt.keep, nil)
		tt.keep.beforeHide = func() {
			if e := tt.table.Lookup(tt.table.Lease(cat)); e != nil || tt.keep.loads != 0 {
				t.Errorf("what is about to be hidden was loaded: %v", e)
			}
		}
		tt.purge("s", "/cat", Delete)
		tt.known(cat, 0)
	})
	t.Run("a load reads, a purge of everything comes, and the load commits", func(t *testing.T) {
		tt := open(t)
		tt.table.Commit(tt.table.Lease(cat), newEntry(1))
		tt.table = NewTable(tt.keep, nil)
		tt.keep.afterLoad = func() { tt.purgeAll("", Delete) }
		tt.known(cat, 0)
	})
	t.Run("a load reads, a fill commits, and the load does not overwrite it", func(t *testing.T) {
		tt := open(t)
		tt.table.Commit(tt.table.Lease(cat), newEntry(1))
		tt.table = NewTable(tt.keep, nil)
		tt.keep.afterLoad = func() { tt.table.Commit(tt.table.Lease(cat), newEntry(2)) }
		tt.known(cat, 2)
	})
	t.Run("of two fills that save in the other order, the last to commit is kept", func(t *testing.T) {
		tt := open(t)
		tt.keep.beforeSave = func() { tt.table.Commit(tt.table.Lease(cat), newEntry(2)) }
		tt.table.Commit(tt.table.Lease(cat), newEntry(1))
		tt.known(cat, 2)
		table := NewTable(tt.keep, nil)
		if e := table.Lookup(table.Lease(cat)); e == nil || e.Size != 2 {
			t.Errorf("after a restart the name is %v, want 2", e)
		}
	})
	t.Run("a fill that was amended, or made room, before it was saved is saved", func(t *testing.T) {
		tt := open(t)
		e := newEntry(1)
		l := tt.table.Lease(cat)
		tt.keep.beforeSave = func() { tt.table.Amend(l, e, newEntry(2)) }
		tt.table.Commit(l, e)
		if !tt.keep.has(cat) {
			t.Error("amended: not saved")
		}
		dog := Name{Source: "s", Image: "/dog"}
		l = tt.table.Lease(dog)
		tt.keep.beforeSave = func() {
			l.shard.mu.Lock()
			defer l.shard.mu.Unlock()
			delete(l.shard.images, imageKey{"s", "/dog"})
			l.shard.count--
		}
		tt.table.Commit(l, newEntry(3))
		if !tt.keep.has(dog) {
			t.Error("made room: not saved")
		}
	})
	t.Run("failures of the origin are not saved", func(t *testing.T) {
		tt := open(t)
		e := newEntry(1)
		e.Status = http.StatusBadGateway
		tt.table.Commit(tt.table.Lease(cat), e)
		tt.known(cat, 1)
		if tt.keep.has(cat) {
			t.Error("saved")
		}
	})
}

func TestPurgesThatKeepBytes(t *testing.T) {
	dog := Name{Source: "s", Image: "/dog"}
	tests := []struct {
		rule   string
		purges []func(*tableTest)
		want   expiry
		gone   bool
	}{
		{"Revalidate", []func(*tableTest){func(t *tableTest) { t.purge("s", "/dog", Revalidate) }}, mustAsk, false},
		{"Stale", []func(*tableTest){func(t *tableTest) { t.purge("s", "/dog", Stale) }}, mayServe, false},
		{"Revalidate of all", []func(*tableTest){func(t *tableTest) { t.purgeAll("", Revalidate) }}, mustAsk, false},
		{"Stale of the source", []func(*tableTest){func(t *tableTest) { t.purgeAll("s", Stale) }}, mayServe, false},
		{"Revalidate prevails over Stale", []func(*tableTest){func(t *tableTest) { t.purge("s", "/dog", Revalidate) }, func(t *tableTest) { t.purge("s", "/dog", Stale) }}, mustAsk, false},
		{"Revalidate of all after Stale", []func(*tableTest){func(t *tableTest) { t.purge("s", "/dog", Stale) }, func(t *tableTest) { t.purgeAll("", Revalidate) }}, mustAsk, false},
		{"Revalidate of the source after Stale of all", []func(*tableTest){func(t *tableTest) { t.purgeAll("", Stale) }, func(t *tableTest) { t.purgeAll("s", Revalidate) }}, mustAsk, false},
		{"Stale of all after Revalidate of all", []func(*tableTest){func(t *tableTest) { t.purgeAll("", Revalidate) }, func(t *tableTest) { t.purgeAll("", Stale) }}, mustAsk, false},
		{"Delete prevails", []func(*tableTest){func(t *tableTest) { t.purgeAll("", Stale) }, func(t *tableTest) { t.purge("s", "/dog", Delete) }}, 0, true},
		{"Delete of all prevails", []func(*tableTest){func(t *tableTest) { t.purge("s", "/dog", Stale) }, func(t *tableTest) { t.purgeAll("", Delete) }}, 0, true},
	}
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			tableTests(t, func(t *tableTest) {
				t.table.Commit(t.table.Lease(dog), newEntry(1))
				for _, purge := range test.purges {
					purge(t)
					_ = t.table.Lookup(t.table.Lease(dog)) // a lookup between must not hide the next purge
				}
				e := t.table.Lookup(t.table.Lease(dog))
				if test.gone {
					t.known(dog, 0)
					t.table.Reclaim()
					if n := t.table.Len(); n != 0 {
						t.Errorf("%d names are left", n)
					}
					return
				}
				if e == nil || e.stale != test.want || e.Size != 1 {
					t.Fatalf("got %+v", e)
				}
				if again := t.table.Lookup(t.table.Lease(dog)); again != e {
					t.Errorf("it is marked anew with every lookup")
				}
				resting := *e
				if !t.table.Amend(t.table.Lease(dog), e, &resting) {
					t.Errorf("a marked entry cannot be amended")
				}
				// A fill that begins now brings something fresh.
				t.table.Commit(t.table.Lease(dog), newEntry(2))
				if e := t.table.Lookup(t.table.Lease(dog)); e == nil || e.Size != 2 || e.stale != notExpired {
					t.Errorf("after the next fill: %+v", e)
				}
				if err := t.table.check(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestPurgesThatKeepBytesSurviveARestart(t *testing.T) {
	for _, mode := range []Mode{Revalidate, Stale} {
		k := newFakeKeeper()
		table := NewTable(k, nil)
		dog, owl := Name{Source: "s", Image: "/dog"}, Name{Source: "s", Image: "/owl"}
		table.Commit(table.Lease(dog), newEntry(1))
		table.Commit(table.Lease(owl), newEntry(2))
		if err := errors.Join(table.Purge("s", "/dog", mode), table.PurgeAll("s", mode)); err != nil {
			t.Fatal(err)
		}
		table = NewTable(k, nil)
		if e := table.Lookup(table.Lease(dog)); e != nil {
			t.Errorf("mode %d: the image that was purged is known as %+v", mode, e)
		}
		if e := table.Lookup(table.Lease(owl)); e == nil || e.stale != mode.expiry() {
			t.Errorf("mode %d: the image of the source that was purged is known as %+v", mode, e)
		}
		if !table.Lease(dog).noCache() || !table.Lease(owl).noCache() {
			t.Errorf("mode %d: the first fetch may be answered from a copy", mode)
		}
	}
}

func TestAFailingKeeper(t *testing.T) {
	ouch := errors.New("ouch")
	k := newFakeKeeper()
	table := NewTable(k, nil)
	tt := &tableTest{t, k, table}
	table.Commit(table.Lease(cat), newEntry(1))

	k.failHide = ouch
	l := table.Lease(cat)
	for range 3 { // each a retry
		if err := table.Purge("s", "/cat", Delete); !errors.Is(err, ouch) {
			t.Errorf("Purge: %v", err)
		}
	}
	if l.Alive() {
		t.Error("a fill of before lives")
	}
	if e := table.Lookup(table.Lease(cat)); e != nil {
		t.Errorf("what could not be hidden is served: %+v", e)
	}
	if err := table.check(); err != nil {
		t.Error(err)
	}
	k.failHide = nil
	tt.purge("s", "/cat", Delete)
	tt.known(cat, 0)
	table.Commit(table.Lease(cat), newEntry(2))
	l = table.Lease(cat)
	if p := l.stripe.pending.Load(); p != 0 {
		t.Errorf("after a purge that was kept, %d are pending", p)
	}

	k.failGens = ouch
	seq := table.gens.Load().Seq
	if err := table.PurgeAll("", Delete); !errors.Is(err, ouch) {
		t.Errorf("PurgeAll: %v", err)
	}
	if e := table.Lookup(table.Lease(cat)); e != nil || l.Alive() {
		t.Errorf("memory has not forgotten: %+v", e)
	}
	if err := table.PurgeAll("s", Stale); !errors.Is(err, ouch) {
		t.Errorf("PurgeAll: %v", err)
	}
	if got := table.gens.Load().Seq; got != seq+2 {
		t.Errorf("the generation went from %d to %d in two purges", seq, got)
	}
	k.failGens = nil
	tt.purgeAll("s", Delete)
	tt.known(cat, 0)
	if g := k.Generations(); g.Seq != seq+3 || g.All.Delete != seq+1 || g.Sources["s"].Delete != seq+3 {
		t.Errorf("kept %+v", g)
	}

	// The first purge of an image there ever was has to be noted as well.
	k = newFakeKeeper()
	k.failGens = ouch
	table = NewTable(k, nil)
	if err := table.Purge("s", "/cat", Delete); !errors.Is(err, ouch) {
		t.Errorf("Purge: %v", err)
	}
	k.failGens = nil
	if err := table.Purge("s", "/cat", Delete); err != nil || !k.Generations().Images {
		t.Errorf("Purge: %v, %+v", err, k.Generations())
	}
	if err := table.check(); err != nil {
		t.Error(err)
	}
}

// A generation that could not be kept is taken again after a restart. What was fetched in it must count as
// older than the purge that takes it.
func TestAGenerationThatComesAgain(t *testing.T) {
	k := newFakeKeeper()
	table := NewTable(k, nil)
	k.failGens = errors.New("ouch")
	_ = table.PurgeAll("", Revalidate)
	table.Commit(table.Lease(cat), newEntry(1)) // in generation 1
	k.failGens = nil

	table = NewTable(k, nil)
	if e := table.Lookup(table.Lease(cat)); e == nil || e.stale != notExpired {
		t.Fatalf("got %+v", e)
	}
	if err := table.check(); err != nil {
		t.Error(err)
	}
	if err := table.PurgeAll("", Revalidate); err != nil { // generation 1 again
		t.Fatal(err)
	}
	if e := table.Lookup(table.Lease(cat)); e == nil || e.stale != mustAsk {
		t.Errorf("what was fetched before the purge counts as newer: %+v", e)
	}
}

func TestTheTableIsBounded(t *testing.T) {
	const most = 640
	table := NewTable(nil, &TableOptions{MaxNames: most})
	for i := range 20 * most {
		n := Name{Source: "s", Image: fmt.Sprint("/", i%(5*most)), Version: fmt.Sprint(i % 3)}
		l := table.Lease(n)
		table.Commit(l, newEntry(int64(i+1)))
		if e := table.Lookup(l); e == nil || e.Size != int64(i+1) {
			t.Fatalf("what was just committed is %v", e)
		}
		if n := table.Len(); n > most {
			t.Fatalf("%d names, at most %d are allowed", n, most)
		}
	}
	if err := table.check(); err != nil {
		t.Error(err)
	}
	if n := table.Len(); n < most*8/10 {
		t.Errorf("%d names are held where %d fit", n, most)
	}
	// Many versions of one image are bounded, too.
	for i := range 5 * most {
		table.Commit(table.Lease(Name{"s", "/many", fmt.Sprint(i)}), newEntry(int64(i+1)))
	}
	if n := len(table.Versions("s", "/many")); n > most/shardCount {
		t.Errorf("%d versions of one image", n)
	}
	if err := table.check(); err != nil {
		t.Error(err)
	}
}

func TestWhatIsUsedStaysLonger(t *testing.T) {
	table := NewTable(nil, &TableOptions{MaxNames: 64 * 20})
	hot := table.Lease(Name{Source: "s", Image: "/hot"})
	table.Commit(hot, newEntry(1))
	for i := range 20_000 {
		if table.Lookup(hot) == nil {
			t.Fatalf("the hot name was evicted by the %dth", i)
		}
		table.Commit(table.Lease(Name{"s", fmt.Sprint("/", i), ""}), newEntry(2))
	}
}

func TestAmend(t *testing.T) {
	tableTests(t, func(t *tableTest) {
		l := t.table.Lease(cat)
		one := newEntry(1)
		t.table.Commit(l, one)
		if !t.table.Amend(l, one, newEntry(2)) {
			t.Error("refused")
		}
		if t.table.Amend(l, one, newEntry(3)) {
			t.Error("an entry that is not the value was amended")
		}
		two := t.table.Lookup(l)
		t.table.Commit(l, newEntry(4))
		if t.table.Amend(l, two, newEntry(5)) {
			t.Error("a fill came between")
		}
		four := t.table.Lookup(l)
		t.purge("s", "/cat", Stale)
		if t.table.Amend(l, four, newEntry(6)) {
			t.Error("a purge came between")
		}
		t.purge("s", "/cat", Delete)
		if t.table.Amend(t.table.Lease(cat), four, newEntry(7)) {
			t.Error("what is gone was amended")
		}
		t.known(cat, 0)
	})
}

func TestVersions(t *testing.T) {
	tableTests(t, func(t *tableTest) {
		for _, v := range []string{"", "a", "b"} {
			t.table.Commit(t.table.Lease(Name{"s", "/cat", v}), newEntry(1))
		}
		got := t.table.Versions("s", "/cat")
		slices.Sort(got)
		if !slices.Equal(got, []string{"", "a", "b"}) || len(t.table.Versions("s", "/dog")) != 0 {
			t.Errorf("got %q", got)
		}
		t.purgeAll("s", Delete)
		if got := t.table.Versions("s", "/cat"); len(got) != 0 {
			t.Errorf("after a purge of the source: %q", got)
		}
	})
}

// newTableApart returns a table in which no two images of names share a stripe, as one in 16,384 pairs does.
func newTableApart(store Store, names []Name) *Table {
	for {
		table := NewTable(store, nil)
		stripes := make(map[*stripe]imageKey)
		shared := false
		for _, n := range names {
			_, st, _ := table.place(n.Source, n.Image)
			k := imageKey{n.Source, n.Image}
			if other, taken := stripes[st]; taken && other != k {
				shared = true
			}
			stripes[st] = k
		}
		if !shared {
			return table
		}
	}
}

// modelled is what a random history expects of a name.
type modelled struct {
	id    int64
	stale expiry
}

type modelLease struct {
	Lease
	name  Name
	dead  bool
	first int64 // ids from here on are committed with it
}

func TestRandomHistories(t *testing.T) {
	t.Parallel()
	for range 15 {
		seed := rand.Uint64()
		if err := randomHistory(seed, 300); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func randomHistory(seed uint64, steps int) error {
	r := rand.New(rand.NewPCG(seed, 0))
	var keep *fakeKeeper
	var store Store
	if r.IntN(3) > 0 {
		keep = newFakeKeeper()
		store = keep
	}
	var (
		table   *Table
		memory  = make(map[Name]modelled)
		disk    = make(map[Name]modelled)
		purged  = make(map[imageKey]bool) // in this life
		ever    = make(map[string]bool)   // a source, or "" for any image, in any life
		leases  []*modelLease
		next    int64
		names   []Name
		sources = []string{"s", "t"}
	)
	for _, s := range sources {
		for _, image := range []string{"/a", "/b", "/c"} {
			for _, v := range []string{"", "v"} {
				names = append(names, Name{s, image, v})
			}
		}
	}
	table = newTableApart(store, names)
	mark := func(names map[Name]modelled, n Name, m Mode) {
		if e, ok := names[n]; ok {
			e.stale = max(e.stale, m.expiry())
			names[n] = e
		}
	}
	for step := range steps {
		n := names[r.IntN(len(names))]
		mode := Mode(r.IntN(3))
		what := ""
		switch op := r.IntN(100); {
		case op < 30:
			what = fmt.Sprintf("lease %v", n)
			leases = append(leases, &modelLease{Lease: table.Lease(n), name: n})
		case op < 60 && len(leases) > 0:
			l := leases[r.IntN(len(leases))]
			next++
			what = fmt.Sprintf("commit %d as %v, dead %v", next, l.name, l.dead)
			did := table.Commit(l.Lease, newEntry(next))
			if did == l.dead {
				return fmt.Errorf("step %d: %s: committed %v", step, what, did)
			}
			if did {
				memory[l.name] = modelled{id: next}
				disk[l.name] = modelled{id: next}
			}
		case op < 80:
			what = fmt.Sprintf("purge %v, mode %d", n, mode)
			// What only the Keeper knows of the other versions is forgotten.
			if mode != Delete && keep != nil {
				image := Name{n.Source, n.Image, ""}
				if _, ok := memory[image]; !ok {
					if e, ok := disk[image]; ok {
						memory[image] = e
					}
				}
			}
			if err := table.Purge(n.Source, n.Image, mode); err != nil {
				return err
			}
			purged[imageKey{n.Source, n.Image}] = true
			ever[""] = true
			for _, o := range names {
				if o.Source == n.Source && o.Image == n.Image {
					delete(disk, o)
					if mode == Delete {
						delete(memory, o)
					} else {
						mark(memory, o, mode)
					}
				}
			}
			for _, l := range leases {
				l.dead = l.dead || l.name.Source == n.Source && l.name.Image == n.Image
			}
		case op < 88:
			source := []string{"", "s", "t"}[r.IntN(3)]
			what = fmt.Sprintf("purge all of %q, mode %d", source, mode)
			if err := table.PurgeAll(source, mode); err != nil {
				return err
			}
			for _, s := range sources {
				ever[s] = ever[s] || source == "" || s == source
			}
			for _, o := range names {
				if source != "" && o.Source != source {
					continue
				}
				if mode == Delete {
					delete(memory, o)
					delete(disk, o)
				} else {
					mark(memory, o, mode)
					mark(disk, o, mode)
				}
			}
			for _, l := range leases {
				l.dead = l.dead || source == "" || l.name.Source == source
			}
		case op < 92:
			what = "reclaim"
			table.Reclaim()
		case op < 96 && keep != nil:
			what = "restart"
			table = newTableApart(store, names)
			memory, leases = make(map[Name]modelled), nil
			clear(purged)
		default:
			what = "look"
		}
		for _, n := range names {
			want, ok := memory[n]
			if !ok && keep != nil {
				if want, ok = disk[n]; ok {
					memory[n] = want
				}
			}
			l := table.Lease(n)
			got := table.Lookup(l)
			if ok != (got != nil) || ok && (got.Size != want.id || got.stale != want.stale) {
				return fmt.Errorf("step %d: %s: %v is %+v, want %v %+v", step, what, n, got, ok, want)
			}
			asked := purged[imageKey{n.Source, n.Image}] || ever[n.Source] || keep != nil && ever[""]
			if asked && !l.noCache() {
				return fmt.Errorf("step %d: %s: the first fetch of %v may be answered from a copy", step, what, n)
			}
		}
		for _, l := range leases {
			if l.Alive() == l.dead {
				return fmt.Errorf("step %d: %s: a lease of %v is alive: %v", step, what, l.name, !l.dead)
			}
		}
		if err := table.check(); err != nil {
			return fmt.Errorf("step %d: %s: %w", step, what, err)
		}
	}
	return nil
}

// Readers, fills and purges at once: whoever asks after a purge has returned sees nothing that was begun
// before it was called.
func TestPurgesUnderLoad(t *testing.T) {
	t.Parallel()
	stores := map[string]func(t *testing.T) Store{
		"memory": func(t *testing.T) Store { return nil },
		"keeper": func(t *testing.T) Store { return newFakeKeeper() },
		"disk": func(t *testing.T) Store {
			d, err := OpenDisk(t.TempDir(), &DiskOptions{Durable: DurablePurges})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { d.Close() })
			return d
		},
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			const images = 4
			var (
				store = open(t)
				table = NewTable(store, &TableOptions{MaxNames: 64})
				clock atomic.Int64
				after [images]atomic.Int64 // what was begun before this must not be seen any more
				wg    sync.WaitGroup
			)
			raise := func(a *atomic.Int64, to int64) {
				for {
					old := a.Load()
					if old >= to || a.CompareAndSwap(old, to) {
						return
					}
				}
			}
			for g := range 6 {
				wg.Go(func() {
					r := rand.New(rand.NewPCG(uint64(g), 9))
					for range 400 {
						i := r.IntN(images)
						n := Name{"s", fmt.Sprint("/", i), []string{"", "v"}[r.IntN(2)]}
						switch op := r.IntN(100); {
						case op < 45:
							l := table.Lease(n)
							table.Commit(l, newEntry(clock.Add(1)))
						case op < 90:
							bound := after[i].Load()
							if e := table.Lookup(table.Lease(n)); e != nil && e.Size < bound {
								t.Errorf("%v: begun at %d, and a purge that was called at %d has returned", n, e.Size, bound)
							}
						case op < 98:
							called := clock.Add(1)
							if err := table.Purge(n.Source, n.Image, Delete); err != nil {
								t.Error(err)
							}
							raise(&after[i], called)
						default:
							called := clock.Add(1)
							if err := table.PurgeAll([]string{"", "s"}[r.IntN(2)], Delete); err != nil {
								t.Error(err)
							}
							for i := range after {
								raise(&after[i], called)
							}
						}
					}
				})
			}
			wg.Wait()
			if err := table.check(); err != nil {
				t.Error(err)
			}
			if store == nil {
				return
			}
			if d, ok := store.(*Disk); ok {
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
				d, err := OpenDisk(d.dir, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				store = d
			}
			table = NewTable(store, nil)
			for i := range images {
				for _, v := range []string{"", "v"} {
					if e := table.Lookup(table.Lease(Name{"s", fmt.Sprint("/", i), v})); e != nil && e.Size < after[i].Load() {
						t.Errorf("after a restart /%d was begun at %d, before a purge of %d", i, e.Size, after[i].Load())
					}
				}
			}
		})
	}
}

// Many sweeps at once each wait for what the Keeper has left to do, and none for another.
func TestSweepsDoNotWaitForEachOther(t *testing.T) {
	table := NewTable(NewMemory(1<<20), nil)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var sweeps sync.WaitGroup
	for range 8 {
		sweeps.Go(func() {
			for range 2000 {
				if err := table.keptUp(ctx); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	sweeps.Wait()
	if n := len(table.behind) + len(table.filling); n != 0 {
		t.Errorf("%d places are left taken", n)
	}
}
