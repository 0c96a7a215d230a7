// Package cachetest has the tests that every [cache.Store] and every [cache.Keeper] must pass. A store's own
// test needs one line of each:
//
//	func TestStore(t *testing.T) { cachetest.TestStore(t, func(t *testing.T) cache.Store { return New() }) }
//
// # Lossy stores
//
// A store may drop what it holds. So where a thing was put, the tests take "not found" for an answer, and
// any other thing for an error; one rule says that a new store, not busy, keeps at least half of a few small
// things, so that a store that keeps nothing does not pass.
package cachetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/imagecdn/imagecdn/cache"
)

// TestStore tests a store. open returns a new and empty one, with room for 8 MiB; TestStore closes it.
// A store that is a Keeper, or is made of tiers of which one is, gets its purges through a [cache.Table], as it
// would in use: it need free only what a purge has hidden.
func TestStore(t *testing.T, open func(t *testing.T) cache.Store) {
	for _, rule := range storeRules {
		t.Run(rule.says, func(t *testing.T) {
			s := open(t)
			defer func() {
				if err := s.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}()
			rule.test(&tester{t, s, cache.NewTable(s, nil)})
		})
	}
}

var storeRules = []struct {
	says string
	test func(*tester)
}{
	{"A new store keeps what it is given", (*tester).keeps},
	{"What was put is got, byte for byte, with its header and its inputs", (*tester).got},
	{"An unknown key is ErrNotFound", (*tester).unknown},
	{"Keys differ by source, image, kind and sum", (*tester).keys},
	{"Equal bytes may be kept under two keys", (*tester).equalBytes},
	{"Putting an equal thing again is harmless", (*tester).again},
	{"valid is asked before a thing can be found, and nothing is kept where it says no", (*tester).validity},
	{"Remove frees one image and nothing else", (*tester).removes},
	{"Remove counts what it frees, and counts it once", (*tester).counts},
	{"Remove of an input frees the composites made with it, wherever they are, and nothing else", (*tester).removesComposites},
	{"A composite of several images is counted once, with the image that goes first", (*tester).countsComposites},
	{"RemoveAll of an input's source frees the composites made with it", (*tester).removesCompositesOfSource},
	{"A composite that is put again after a Remove of its input stays, and goes with the next", (*tester).putsCompositesAgain},
	{"RemoveAll of a source frees that source and nothing else", (*tester).removesSource},
	{"RemoveAll frees everything", (*tester).removesAll},
	{"RemoveAll with a context that has ended leaves the rest for the next call", (*tester).removesLater},
	{"A put after a Remove is kept as any other", (*tester).putsAgain},
	{"What is put is not changed, and what is got can be kept", (*tester).unchanged},
	{"What has settled can be found, where a store settles, and what was never put cannot", (*tester).settles},
	{"What is freed elsewhere stays where nodes share it, and goes where they do not", (*tester).freesElsewhere},
	{"Concurrent use gives no wrong bytes", (*tester).concurrent},
	{"A context that has ended gives no wrong bytes and keeps nothing broken", (*tester).cancelled},
	{"Close may be called twice, and a closed store has and keeps nothing, and does not panic", (*tester).closed},
}

type tester struct {
	*testing.T
	store cache.Store
	table *cache.Table
}

func (t *tester) settles() {
	if !cache.Settles(t.store) {
		if !cache.Settle(t.Context(), t.store, key("s", "/cat", cache.Derivative, "never put")) {
			t.Error("a store that does not settle has something to wait for")
		}
		return
	}
	settled := 0
	for i := range 20 {
		k, th := key("s", "/cat", cache.Derivative, fmt.Sprint("settled", i)), thing(fmt.Sprint("settled", i))
		t.put(k, th)
		for range 2 { // the second has nothing to wait for
			if cache.Settle(t.Context(), t.store, k) {
				settled++
				if !t.has(k, th) {
					t.Error("what has settled is not there")
				}
			}
		}
	}
	if settled < 20 {
		t.Errorf("of 20 things, %d of 40 times one has settled: too few", settled)
	}
	if cache.Settle(t.Context(), t.store, key("s", "/cat", cache.Derivative, "never put")) {
		t.Error("what was never put has settled")
	}
	refused := key("s", "/cat", cache.Derivative, "refused")
	if err := t.store.Put(t.Context(), refused, thing("refused"), func() bool { return false }); err != nil {
		t.Error(err)
	}
	if cache.Settle(t.Context(), t.store, refused) {
		t.Error("what was not to be kept has settled")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	k := key("s", "/cat", cache.Derivative, "late")
	t.put(k, thing("late"))
	cache.Settle(ended, t.store, k) // which returns
}

func (t *tester) freesElsewhere() {
	elsewhere := cache.Elsewhere(t.Context())
	shared := cache.Settles(t.store)
	for _, all := range []bool{false, true} {
		k, th := key("s", "/cat", cache.Derivative, fmt.Sprint("elsewhere", all)), thing("elsewhere")
		t.put(k, th)
		settled := cache.Settle(t.Context(), t.store, k)
		free, purge := func() error { _, err := t.store.Remove(elsewhere, "s", "/cat"); return err }, func() error { return t.table.Purge("s", "/cat", cache.Delete) }
		if all {
			free, purge = func() error { _, err := t.store.RemoveAll(elsewhere, "s"); return err }, func() error { return t.table.PurgeAll("s", cache.Delete) }
		}
		if err := errors.Join(purge(), free()); err != nil {
			t.Fatal(err)
		}
		if has := t.has(k, th); has != (shared && settled) {
			t.Errorf("freed elsewhere, of a source %v: it is there: %v", all, has)
		}
	}
}

func key(source, image string, kind cache.Kind, what string) cache.Key {
	return cache.Key{Source: source, Image: image, Kind: kind, Sum: cache.DigestOf([]byte(what))}
}

func thing(body string) *cache.Thing {
	return &cache.Thing{Header: http.Header{"Content-Type": {"image/png"}}, Body: []byte(body)}
}

// same reports whether a and b are to be told apart by no client.
func same(a, b *cache.Thing) bool {
	return bytes.Equal(a.Body, b.Body) && maps.EqualFunc(a.Header, b.Header, slices.Equal) && slices.Equal(a.Inputs, b.Inputs)
}

// composite is a thing that other images have gone into.
func composite(body string, inputs ...cache.Input) *cache.Thing {
	th := thing(body)
	th.Inputs = inputs
	return th
}

func (t *tester) put(k cache.Key, th *cache.Thing) {
	t.Helper()
	if err := t.store.Put(t.Context(), k, th, nil); err != nil {
		t.Fatalf("Put: %v", err)
	}
}

// has reports whether the store holds something under k, which then must be want.
func (t *tester) has(k cache.Key, want *cache.Thing) bool {
	t.Helper()
	got, err := t.store.Get(t.Context(), k)
	switch {
	case errors.Is(err, cache.ErrNotFound):
		return false
	case err != nil:
		t.Fatalf("Get: %v", err)
	case !same(got, want):
		t.Fatalf("%v: got %d bytes with %v, want %d bytes with %v", k, len(got.Body), got.Header, len(want.Body), want.Header)
	}
	return true
}

func (t *tester) hasNot(k cache.Key) {
	t.Helper()
	if got, err := t.store.Get(t.Context(), k); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("%s%s: got %v, %v, want ErrNotFound", k.Source, k.Image, got, err)
	}
}

// purge purges an image and frees it.
func (t *tester) purge(source, image string) cache.Removed {
	t.Helper()
	if err := t.table.Purge(source, image, cache.Delete); err != nil {
		t.Fatalf("Purge: %v", err)
	}
	r, err := t.store.Remove(t.Context(), source, image)
	if err != nil {
		t.Fatalf("Remove: %v", err)
	}
	return r
}

// purgeAll purges a source, or everything, and frees it.
func (t *tester) purgeAll(source string) cache.Removed {
	t.Helper()
	if err := t.table.PurgeAll(source, cache.Delete); err != nil {
		t.Fatalf("PurgeAll: %v", err)
	}
	r, err := t.store.RemoveAll(t.Context(), source)
	if err != nil {
		t.Fatalf("RemoveAll: %v", err)
	}
	return r
}

func (t *tester) keeps() {
	kept := 0
	for i := range 100 {
		k, th := key("s", fmt.Sprintf("/%d", i), cache.Derivative, "kept"), thing(fmt.Sprint("body ", i))
		t.put(k, th)
		if t.has(k, th) {
			kept++
		}
	}
	if kept < 50 {
		t.Errorf("of 100 things %d were found", kept)
	}
}

func (t *tester) got() {
	large := make([]byte, 1<<20)
	for i, r := 0, rand.New(rand.NewPCG(1, 2)); i < len(large); i++ {
		large[i] = byte(r.Uint32())
	}
	for name, th := range map[string]*cache.Thing{
		"a small body":             thing("small"),
		"an empty body":            {Header: http.Header{"Content-Type": {"image/png"}}, Body: []byte{}},
		"a body of 1 MiB":          {Header: http.Header{"Content-Type": {"image/jpeg"}}, Body: large},
		"a body that compresses":   {Header: http.Header{"Content-Type": {"image/bmp"}}, Body: bytes.Repeat([]byte("bmp"), 10_000)},
		"every byte":               {Header: http.Header{}, Body: everyByte()},
		"no header":                {Body: []byte("no header")},
		"fields of several values": {Header: http.Header{"Vary": {"Accept", "Origin"}, "Link": {"<a>", "<b>", "<a>"}}, Body: []byte("x")},
		"fields that are no UTF-8": {Header: http.Header{"X-Name": {"caf\xe9", "50% \u00e9"}, "X-Empty": {""}}, Body: []byte("x")},
	} {
		t.Run(name, func(sub *testing.T) {
			t := &tester{sub, t.store, t.table}
			k := key("s", "/"+name, cache.Derivative, name)
			t.put(k, th)
			t.has(k, th)
		})
	}
	k, th := key("s", "/a", cache.Composite, "of three"), composite("of three", cache.Input{Source: "s", Image: "/caf\xe9"}, cache.Input{Source: "t", Image: "/\x00"})
	t.put(k, th)
	t.has(k, th)
	for _, image := range []string{"/", "/a b", "/\u00e9", "/caf\xe9", "/caf\xe8", "/../x", "/a\\b", "/con", "/A", "/a", "/x\x00y", "/%2e", "", "/[a]*?"} {
		k, th := key("s", image, cache.Original, "odd"), thing("of "+image)
		t.put(k, th)
		t.has(k, th)
	}
}

func everyByte() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func (t *tester) unknown() {
	t.hasNot(key("s", "/a", cache.Original, "never put"))
	t.put(key("s", "/a", cache.Original, "x"), thing("x"))
	t.hasNot(key("s", "/a", cache.Original, "never put"))
}

func (t *tester) keys() {
	base := key("s", "/a", cache.Original, "x")
	t.put(base, thing("x"))
	for _, k := range []cache.Key{
		key("s", "/a", cache.Derivative, "x"), key("s", "/a", cache.Composite, "x"), key("s", "/a", cache.Original, "y"),
		key("s", "/b", cache.Original, "x"), key("s2", "/a", cache.Original, "x"), key("", "s/a", cache.Original, "x"), key("s/", "a", cache.Original, "x"),
	} {
		t.hasNot(k)
	}
}

func (t *tester) equalBytes() {
	a, b := key("s", "/a", cache.Original, "equal"), key("s", "/b", cache.Original, "equal")
	ofA, ofB := thing("equal"), thing("equal")
	ofB.Header.Set("Content-Type", "image/webp")
	t.put(a, ofA)
	t.put(b, ofB)
	t.has(a, ofA)
	t.has(b, ofB)
	t.purge("s", "/a")
	t.hasNot(a)
	t.has(b, ofB)
}

func (t *tester) again() {
	k, th := key("s", "/a", cache.Original, "x"), thing("x")
	for range 3 {
		t.put(k, th)
		t.put(k, thing("x"))
		t.has(k, th)
	}
	if r := t.purge("s", "/a"); r.Originals > 1 {
		t.Errorf("one thing, put six times, was counted as %d", r.Originals)
	}
	t.hasNot(k)
}

func (t *tester) validity() {
	no, yes, asked := key("s", "/no", cache.Original, "x"), key("s", "/yes", cache.Original, "x"), 0
	for range 10 {
		if err := t.store.Put(t.Context(), no, thing("x"), func() bool { return false }); err != nil {
			t.Errorf("Put: %v", err)
		}
		t.hasNot(no)
	}
	var mu sync.Mutex
	err := t.store.Put(t.Context(), yes, thing("x"), func() bool { mu.Lock(); asked++; mu.Unlock(); return true })
	if err != nil {
		t.Errorf("Put: %v", err)
	}
	if t.has(yes, thing("x")) {
		mu.Lock()
		defer mu.Unlock()
		if asked == 0 {
			t.Errorf("valid was not asked")
		}
	}
}

func (t *tester) removes() {
	gone := []cache.Key{
		key("s", "/a", cache.Original, "1"), key("s", "/a", cache.Derivative, "2"),
		key("s", "/a", cache.Derivative, "3"), key("s", "/a", cache.Composite, "4"),
	}
	stay := []cache.Key{
		key("s", "/ab", cache.Original, "1"), key("s", "/a/b", cache.Original, "1"), key("s", "/A", cache.Original, "1"),
		key("s", "/b", cache.Composite, "4"), key("s2", "/a", cache.Original, "1"), key("s", "/", cache.Original, "1"), key("s", "", cache.Original, "1"),
	}
	kept := make(map[cache.Key]bool)
	for _, k := range slices.Concat(gone, stay) {
		t.put(k, thing(k.Image))
	}
	for _, k := range stay {
		kept[k] = t.has(k, thing(k.Image))
	}
	t.purge("s", "/a")
	for _, k := range gone {
		t.hasNot(k)
	}
	for _, k := range stay {
		if !t.has(k, thing(k.Image)) && kept[k] {
			t.Errorf("%s%s went with s/a", k.Source, k.Image)
		}
	}
	if r := t.purge("s", "/never"); r != (cache.Removed{}) {
		t.Errorf("nothing was counted as %+v", r)
	}
}

func (t *tester) counts() {
	want := cache.Removed{}
	for kind, n := range []int{cache.Original: 1, cache.Derivative: 3, cache.Composite: 2} {
		for i := range n {
			k, th := key("s", "/a", cache.Kind(kind), fmt.Sprint(kind, i)), thing("0123456789")
			t.put(k, th)
			if !t.has(k, th) {
				continue
			}
			want.Bytes += 10
			switch cache.Kind(kind) {
			case cache.Original:
				want.Originals++
			case cache.Derivative:
				want.Derivatives++
			case cache.Composite:
				want.Composites++
			}
		}
	}
	got := t.purge("s", "/a")
	if got.Bytes < want.Bytes {
		t.Errorf("freed %d bytes, at least %d were kept", got.Bytes, want.Bytes)
	}
	got.Bytes = want.Bytes // a store may count what it has written around them
	if got != want {
		t.Errorf("freed %+v, want %+v", got, want)
	}
	if again := t.purge("s", "/a"); again != (cache.Removed{}) {
		t.Errorf("the second Remove counted %+v", again)
	}
}

var logo, seal = cache.Input{Source: "marks", Image: "/logo"}, cache.Input{Source: "s", Image: "/seal"}

// compose puts composites on five images, made with these inputs. It returns how many of them are kept, and how many bytes they
// have at the least.
func (t *tester) compose(inputs ...cache.Input) (kept cache.Removed) {
	t.Helper()
	for i := range 5 {
		k, th := onImage(i, inputs)
		t.put(k, th)
		if t.has(k, th) {
			kept.Composites++
			kept.Bytes += int64(len(th.Body))
		}
	}
	return kept
}

func onImage(i int, inputs []cache.Input) (cache.Key, *cache.Thing) {
	what := fmt.Sprint("composite ", i, inputs)
	return key("s", fmt.Sprint("/", i), cache.Composite, what), composite(what, inputs...)
}

// composed reports whether all composites of these inputs, or none, are there, as far as they were kept before.
func (t *tester) composed(kept cache.Removed, inputs ...cache.Input) {
	t.Helper()
	n := 0
	for i := range 5 {
		if k, th := onImage(i, inputs); t.has(k, th) {
			n++
		}
	}
	if n != kept.Composites {
		t.Errorf("of composites with %v there are %d, want %d", inputs, n, kept.Composites)
	}
}

// counted compares what a purge has counted with what was kept.
func (t *tester) counted(got, kept cache.Removed) {
	t.Helper()
	if got.Bytes < kept.Bytes {
		t.Errorf("freed %d bytes, at least %d were kept", got.Bytes, kept.Bytes)
	}
	got.Bytes = kept.Bytes
	if got != kept {
		t.Errorf("freed %+v, want %+v", got, kept)
	}
}

func (t *tester) removesComposites() {
	with, without := t.compose(logo), t.compose(seal)
	plain := key("s", "/0", cache.Derivative, "plain")
	t.put(plain, thing("plain"))
	kept := t.has(plain, thing("plain"))
	t.purge("marks", "/log")
	t.purge("s", "/logo")
	t.composed(with, logo)
	t.counted(t.purge(logo.Source, logo.Image), with)
	t.composed(cache.Removed{}, logo)
	t.composed(without, seal)
	if t.has(plain, thing("plain")) != kept {
		t.Error("a derivative went with the composite on the same image")
	}
}

func (t *tester) countsComposites() {
	both, own := t.compose(logo, seal), t.compose(seal, cache.Input{Source: "s", Image: "/0"}, seal)
	t.counted(t.purge(logo.Source, logo.Image), both)
	k, th := onImage(0, []cache.Input{seal, {Source: "s", Image: "/0"}, seal})
	if t.has(k, th) {
		own.Composites, own.Bytes = own.Composites-1, own.Bytes-int64(len(th.Body))
		first := t.purge("s", "/0") // whose composite has it for an input as well; the others go, too
		t.counted(first, cache.Removed{Composites: own.Composites + 1, Bytes: own.Bytes})
	}
	for i := range 5 {
		if r := t.purge("s", fmt.Sprint("/", i)); r != (cache.Removed{}) {
			t.Errorf("/%d: what went before was counted again: %+v", i, r)
		}
	}
	if r := t.purge(seal.Source, seal.Image); r != (cache.Removed{}) {
		t.Errorf("what went before was counted again: %+v", r)
	}
}

func (t *tester) removesCompositesOfSource() {
	with, without := t.compose(logo), t.compose(seal)
	t.counted(t.purgeAll("marks"), with)
	t.composed(cache.Removed{}, logo)
	t.composed(without, seal)
	with = t.compose(logo)
	t.counted(t.purgeAll("s"), cache.Removed{Composites: with.Composites + without.Composites, Bytes: with.Bytes + without.Bytes})
	if r := t.purgeAll("marks"); r != (cache.Removed{}) {
		t.Errorf("what went before was counted again: %+v", r)
	}
}

func (t *tester) putsCompositesAgain() {
	n := 0
	for range 10 {
		kept := t.compose(logo)
		n += kept.Composites
		t.composed(kept, logo)
		t.counted(t.purge(logo.Source, logo.Image), kept)
		t.composed(cache.Removed{}, logo)
	}
	if n < 25 {
		t.Errorf("of 50 puts %d were found", n)
	}
}

func (t *tester) removesSource() {
	t.fill("s", "s2")
	if t.has(key("s2", "/7", cache.Derivative, "x"), thing("/7")) {
		defer func() {
			if !t.has(key("s2", "/7", cache.Derivative, "x"), thing("/7")) {
				t.Errorf("s2 went with s")
			}
		}()
	}
	first := t.purgeAll("s")
	if first.Derivatives > 20 {
		t.Errorf("%d were put, %d freed", 20, first.Derivatives)
	}
	for i := range 20 {
		t.hasNot(key("s", fmt.Sprint("/", i), cache.Derivative, "x"))
		t.has(key("s2", fmt.Sprint("/", i), cache.Derivative, "x"), thing(fmt.Sprint("/", i)))
	}
	if again := t.purgeAll("s"); again != (cache.Removed{}) {
		t.Errorf("the second RemoveAll counted %+v", again)
	}
}

// fill puts twenty things of each source.
func (t *tester) fill(sources ...string) {
	t.Helper()
	for _, s := range sources {
		for i := range 20 {
			t.put(key(s, fmt.Sprint("/", i), cache.Derivative, "x"), thing(fmt.Sprint("/", i)))
		}
	}
}

func (t *tester) removesAll() {
	t.fill("s", "s2")
	t.purgeAll("")
	for _, s := range []string{"s", "s2"} {
		for i := range 20 {
			t.hasNot(key(s, fmt.Sprint("/", i), cache.Derivative, "x"))
		}
	}
	if again := t.purgeAll(""); again != (cache.Removed{}) {
		t.Errorf("the second RemoveAll counted %+v", again)
	}
}

func (t *tester) removesLater() {
	t.fill("s")
	if err := t.table.PurgeAll("", cache.Delete); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	a, _ := t.store.RemoveAll(ended, "")
	b, err := t.store.RemoveAll(t.Context(), "")
	if err != nil {
		t.Fatalf("RemoveAll: %v", err)
	}
	if a.Derivatives+b.Derivatives > 40 { // tiers may each count their copy
		t.Errorf("freed %d and %d of 20", a.Derivatives, b.Derivatives)
	}
	for i := range 20 {
		t.hasNot(key("s", fmt.Sprint("/", i), cache.Derivative, "x"))
	}
}

func (t *tester) putsAgain() {
	k, th := key("s", "/a", cache.Original, "x"), thing("x")
	kept := 0
	for range 20 {
		t.put(k, th)
		if t.has(k, th) {
			kept++
		}
		t.purge("s", "/a")
		t.hasNot(k)
	}
	if kept < 10 {
		t.Errorf("of 20 puts %d were found", kept)
	}
}

func (t *tester) unchanged() {
	k := key("s", "/a", cache.Original, "x")
	th := &cache.Thing{Header: http.Header{"Content-Type": {"text/plain"}, "X-B": {"2", "1"}}, Body: bytes.Repeat([]byte("a"), 5000)}
	want := &cache.Thing{Header: th.Header.Clone(), Body: bytes.Clone(th.Body)}
	t.put(k, th)
	got, err := t.store.Get(t.Context(), k)
	t.purge("s", "/a")
	t.fill("s")
	if !same(th, want) {
		t.Errorf("what was put has changed")
	}
	if err == nil && !same(got, want) {
		t.Errorf("what was got has changed after the image was removed")
	}
}

func (t *tester) concurrent() {
	const images = 8
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for range 150 {
				n := r.IntN(images)
				image := fmt.Sprint("/", n)
				k := key("s", image, cache.Kind(r.IntN(3)), fmt.Sprint(r.IntN(4)))
				want := thing(fmt.Sprintf("%s %d %x", image, k.Kind, k.Sum))
				if k.Kind == cache.Composite {
					want.Inputs = []cache.Input{{Source: "s", Image: fmt.Sprint("/", (n+3)%images)}, {Source: "s", Image: fmt.Sprint("/", k.Sum[0]%images)}}
				}
				switch op := r.IntN(100); {
				case op < 40:
					if err := t.store.Put(t.Context(), k, want, func() bool { return true }); err != nil {
						t.Errorf("Put: %v", err)
					}
				case op < 95:
					if got, err := t.store.Get(t.Context(), k); err == nil && !same(got, want) {
						t.Errorf("%s: got %q, want %q", image, got.Body, want.Body)
					} else if err != nil && !errors.Is(err, cache.ErrNotFound) {
						t.Errorf("Get: %v", err)
					}
				case op < 99:
					if _, err := t.store.Remove(t.Context(), "s", image); err != nil {
						t.Errorf("Remove: %v", err)
					}
				default:
					if _, err := t.store.RemoveAll(t.Context(), ""); err != nil {
						t.Errorf("RemoveAll: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	for n := range images {
		t.purge("s", fmt.Sprint("/", n))
	}
	if r := t.purgeAll(""); r != (cache.Removed{}) {
		t.Errorf("after every image was removed there was %+v", r)
	}
}

func (t *tester) cancelled() {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	k, th := key("s", "/a", cache.Original, "x"), thing("x")
	_ = t.store.Put(ended, k, th, nil)
	t.has(k, th)
	t.put(k, th)
	if got, err := t.store.Get(ended, k); err == nil && !same(got, th) {
		t.Errorf("got %q", got.Body)
	}
	if _, err := t.store.Remove(ended, "s", "/a"); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Remove: %v", err)
	}
	t.purge("s", "/a")
	t.hasNot(k)
}

func (t *tester) closed() {
	k := key("s", "/a", cache.Original, "x")
	t.put(k, thing("x"))
	for range 2 {
		if err := t.store.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if got, err := t.store.Get(t.Context(), k); err == nil {
		t.Errorf("Get after Close: %q", got.Body)
	}
	_ = t.store.Put(t.Context(), k, thing("x"), nil)
	_, _ = t.store.Remove(t.Context(), "s", "/a")
	_, _ = t.store.RemoveAll(t.Context(), "")
	if got, err := t.store.Get(t.Context(), k); err == nil {
		t.Errorf("Get of what was put after Close: %q", got.Body)
	}
}
