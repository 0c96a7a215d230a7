package cachetest

import (
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn/cache"
)

// KeepingStore is a Store that is a Keeper.
type KeepingStore interface {
	cache.Store
	cache.Keeper
}

// TestKeeper tests a store that keeps names and generations. open opens the one in dir, which is empty at first;
// TestKeeper closes it.
func TestKeeper(t *testing.T, open func(t *testing.T, dir string) KeepingStore) {
	for _, rule := range keeperRules {
		t.Run(rule.says, func(t *testing.T) {
			k := &keeper{T: t, dir: t.TempDir(), open: open}
			k.KeepingStore = open(t, k.dir)
			rule.test(k)
			if err := k.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

var keeperRules = []struct {
	says string
	test func(*keeper)
}{
	{"A name that was never saved is nil", (*keeper).unknown},
	{"The name last saved is loaded, at once and after reopening", (*keeper).loads},
	{"Names differ by source, image and version", (*keeper).names},
	{"SaveName asks valid, and keeps nothing where it says no", (*keeper).validity},
	{"Hide hides names and things of one image, at once and after reopening", (*keeper).hides},
	{"Hide of names alone keeps things", (*keeper).hidesNames},
	{"Hide of what is not there, and Hide twice, are harmless", (*keeper).hidesNothing},
	{"What is saved after Hide is kept", (*keeper).savesAfter},
	{"Generations start at none, and the ones last saved are there after reopening", (*keeper).generations},
	{"SaveGenerations makes what it deletes unreachable, at once and after reopening", (*keeper).deletes},
	{"SaveGenerations of one source leaves the others", (*keeper).deletesSource},
	{"Generations that delete nothing leave everything", (*keeper).deletesNothing},
	{"A closed keeper promises nothing", (*keeper).closed},
}

type keeper struct {
	*testing.T
	KeepingStore
	dir  string
	open func(t *testing.T, dir string) KeepingStore
}

func (k *keeper) reopen() {
	k.Helper()
	if err := k.Close(); err != nil {
		k.Fatalf("Close: %v", err)
	}
	k.KeepingStore = k.open(k.T, k.dir)
}

// twice runs check now and after reopening.
func (k *keeper) twice(check func()) {
	k.Helper()
	check()
	k.reopen()
	check()
}

func entry(what string) *cache.Entry {
	now := time.Date(2026, 3, 4, 5, 6, 7, 890, time.UTC)
	return &cache.Entry{
		Status:       http.StatusOK,
		Header:       http.Header{"Etag": {`"` + what + `"`}, "Vary": {"Accept", "Origin"}, "X-Name": {"caf\xe9"}},
		Digest:       cache.DigestOf([]byte(what)),
		Size:         int64(len(what)),
		RequestTime:  now,
		ResponseTime: now.Add(time.Second),
		Freshness:    cache.Freshness{InitialAge: 1, Lifetime: time.Hour, StaleWhileRevalidate: 2, StaleIfError: 3},
	}
}

func (k *keeper) save(n cache.Name, what string) {
	k.Helper()
	if err := k.SaveName(n, entry(what), func() bool { return true }); err != nil {
		k.Fatalf("SaveName: %v", err)
	}
}

func (k *keeper) is(n cache.Name, what string) {
	k.Helper()
	got, want := k.LoadName(n), entry(what)
	if got == nil {
		k.Errorf("%+v is not there", n)
		return
	}
	if got.Status != want.Status || got.Digest != want.Digest || got.Size != want.Size || got.Freshness != want.Freshness ||
		!got.RequestTime.Equal(want.RequestTime) || !got.ResponseTime.Equal(want.ResponseTime) || !maps.EqualFunc(got.Header, want.Header, slices.Equal) {
		k.Errorf("%+v: got %+v, want %+v", n, got, want)
	}
}

func (k *keeper) isNot(n cache.Name) {
	k.Helper()
	if got := k.LoadName(n); got != nil {
		k.Errorf("%+v: got %v", n, got.Header)
	}
}

// store puts a thing, which must be kept.
func (k *keeper) store(key cache.Key) {
	k.Helper()
	if err := k.Put(k.Context(), key, thing("x"), nil); err != nil {
		k.Fatalf("Put: %v", err)
	}
	if !k.stored(key) {
		k.Fatalf("a new keeper did not keep %s%s", key.Source, key.Image)
	}
}

func (k *keeper) stored(key cache.Key) bool {
	got, err := k.Get(k.Context(), key)
	return err == nil && same(got, thing("x"))
}

var (
	nameA  = cache.Name{Source: "s", Image: "/a"}
	nameAV = cache.Name{Source: "s", Image: "/a", Version: "v"}
	nameB  = cache.Name{Source: "s", Image: "/b"}
	nameT  = cache.Name{Source: "t", Image: "/a"}

	thingA = key("s", "/a", cache.Derivative, "x")
	thingB = key("s", "/b", cache.Derivative, "x")
	thingT = key("t", "/a", cache.Derivative, "x")
)

func (k *keeper) unknown() { k.twice(func() { k.isNot(nameA) }) }

func (k *keeper) loads() {
	k.save(nameA, "one")
	k.is(nameA, "one")
	k.save(nameA, "two")
	k.twice(func() { k.is(nameA, "two") })
}

func (k *keeper) names() {
	all := []cache.Name{
		nameA, nameAV, nameB, nameT, {Source: "s", Image: "/a", Version: "/a"}, {Source: "s/", Image: "a"}, {Source: "s", Image: "/a\x00v"},
		{Source: "s", Image: "/caf\xe9"}, {Source: "s", Image: "/caf\xe8"}, {Source: "s", Image: "/A"}, {Source: "s", Image: "/a", Version: "\xff"},
	}
	for _, n := range all {
		k.save(n, n.Source+"|"+n.Image+"|"+n.Version)
	}
	k.twice(func() {
		for _, n := range all {
			k.is(n, n.Source+"|"+n.Image+"|"+n.Version)
		}
	})
}

func (k *keeper) validity() {
	k.save(nameB, "b")
	for _, n := range []cache.Name{nameA, nameB} {
		if err := k.SaveName(n, entry("no"), func() bool { return false }); err != nil {
			k.Errorf("SaveName: %v", err)
		}
	}
	k.isNot(nameA)
	k.reopen()
	k.isNot(nameA)
	if got := k.LoadName(nameB); got != nil && got.Digest != cache.DigestOf([]byte("b")) {
		k.Errorf("a name that was not valid was kept")
	}
}

func (k *keeper) hides() {
	for _, n := range []cache.Name{nameA, nameAV, nameB, nameT} {
		k.save(n, "x")
	}
	for _, key := range []cache.Key{thingA, thingB, thingT} {
		k.store(key)
	}
	k.reopen() // so that names are written, not only about to be
	if err := k.Hide("s", "/a", false); err != nil {
		k.Fatalf("Hide: %v", err)
	}
	k.twice(func() {
		k.isNot(nameA)
		k.isNot(nameAV)
		if k.stored(thingA) {
			k.Errorf("the thing is still there")
		}
		k.is(nameB, "x")
		k.is(nameT, "x")
		if !k.stored(thingB) || !k.stored(thingT) {
			k.Errorf("another image's thing is gone")
		}
	})
}

func (k *keeper) hidesNames() {
	k.save(nameA, "x")
	k.save(nameAV, "x")
	k.store(thingA)
	k.reopen()
	if err := k.Hide("s", "/a", true); err != nil {
		k.Fatalf("Hide: %v", err)
	}
	k.twice(func() {
		k.isNot(nameA)
		k.isNot(nameAV)
		if !k.stored(thingA) {
			k.Errorf("the thing is gone")
		}
	})
}

func (k *keeper) hidesNothing() {
	k.save(nameB, "b")
	for range 2 {
		for _, namesOnly := range []bool{false, true} {
			if err := k.Hide("s", "/a", namesOnly); err != nil {
				k.Errorf("Hide: %v", err)
			}
		}
	}
	k.twice(func() { k.is(nameB, "b") })
}

func (k *keeper) savesAfter() {
	for _, namesOnly := range []bool{false, true} {
		k.save(nameA, "before")
		k.reopen()
		if err := k.Hide("s", "/a", namesOnly); err != nil {
			k.Fatalf("Hide: %v", err)
		}
		k.save(nameA, "after")
		k.store(thingA)
		k.twice(func() {
			k.is(nameA, "after")
			if !k.stored(thingA) {
				k.Errorf("the thing is gone")
			}
		})
	}
}

func (k *keeper) generations() {
	if g := k.Generations(); g.Seq != 0 || g.All != (cache.Purged{}) || len(g.Sources) != 0 || g.Images {
		k.Errorf("a new keeper has %+v", g)
	}
	want := &cache.Generations{
		Seq: 7, All: cache.Purged{Delete: 3, Revalidate: 6, Stale: 2}, Images: true,
		Sources: map[string]cache.Purged{"s": {Delete: 7}, "a/b": {Stale: 5}, "\u00e9": {Revalidate: 4}},
	}
	if err := k.SaveGenerations(want); err != nil {
		k.Fatalf("SaveGenerations: %v", err)
	}
	k.twice(func() {
		if g := k.Generations(); g.Seq != want.Seq || g.All != want.All || g.Images != want.Images || !maps.Equal(g.Sources, want.Sources) {
			k.Errorf("got %+v, want %+v", g, want)
		}
	})
}

func (k *keeper) fillAll() {
	k.Helper()
	for _, n := range []cache.Name{nameA, nameAV, nameB, nameT} {
		k.save(n, "x")
	}
	for _, key := range []cache.Key{thingA, thingB, thingT} {
		k.store(key)
	}
	k.reopen()
}

func (k *keeper) deletes() {
	k.fillAll()
	if err := k.SaveGenerations(&cache.Generations{Seq: 1, All: cache.Purged{Delete: 1}}); err != nil {
		k.Fatalf("SaveGenerations: %v", err)
	}
	k.twice(func() {
		for _, n := range []cache.Name{nameA, nameAV, nameB, nameT} {
			k.isNot(n)
		}
		if k.stored(thingA) || k.stored(thingB) || k.stored(thingT) {
			k.Errorf("a thing is still there")
		}
	})
}

func (k *keeper) deletesSource() {
	k.fillAll()
	if err := k.SaveGenerations(&cache.Generations{Seq: 1, Sources: map[string]cache.Purged{"s": {Delete: 1}}}); err != nil {
		k.Fatalf("SaveGenerations: %v", err)
	}
	k.twice(func() {
		k.isNot(nameA)
		k.isNot(nameAV)
		k.isNot(nameB)
		k.is(nameT, "x")
		if k.stored(thingA) || k.stored(thingB) || !k.stored(thingT) {
			k.Errorf("the things of s should be gone, and those of t be there")
		}
	})
}

func (k *keeper) deletesNothing() {
	k.fillAll()
	if err := k.SaveGenerations(&cache.Generations{Seq: 2, All: cache.Purged{Revalidate: 1, Stale: 2}, Images: true}); err != nil {
		k.Fatalf("SaveGenerations: %v", err)
	}
	k.twice(func() {
		k.is(nameA, "x")
		k.is(nameT, "x")
		if !k.stored(thingA) || !k.stored(thingT) {
			k.Errorf("a thing is gone")
		}
	})
}

func (k *keeper) closed() {
	k.save(nameA, "x")
	if err := k.Close(); err != nil {
		k.Fatalf("Close: %v", err)
	}
	if err := k.Hide("s", "/a", false); err == nil {
		k.Errorf("Hide of a closed keeper promised something")
	}
	if err := k.SaveGenerations(&cache.Generations{Seq: 1, All: cache.Purged{Delete: 1}}); err == nil {
		k.Errorf("SaveGenerations of a closed keeper promised something")
	}
	if err := k.SaveName(nameA, entry("y"), func() bool { return true }); err == nil {
		k.Errorf("SaveName of a closed keeper promised something")
	}
	_ = k.LoadName(nameA)
	k.KeepingStore = k.open(k.T, k.dir)
	k.is(nameA, "x")
}
