package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/imagecdn/imagecdn/cache"
)

// A nameNode is what a node has around its names: a clock that is off, purges that it has heard of, and a table.
type nameNode struct {
	*names
	off time.Duration // this node's clock is ahead of the cluster's

	mu      sync.Mutex
	purges  map[string]uint64 // by image
	learned map[cache.Name]*cache.Entry
	refuse  bool // the table does not take what is offered
	late    bool // what is asked about is purged as late as it can be
}

func newNameNode(t *testing.T, e *engine, off time.Duration) *nameNode {
	t.Helper()
	return newNameNodeOf(t, e, off, 1)
}

func newNameNodeOf(t *testing.T, e *engine, off time.Duration, replicas int) *nameNode {
	t.Helper()
	n := &nameNode{off: off, purges: make(map[string]uint64), learned: make(map[cache.Name]*cache.Entry)}
	var err error
	n.names, err = newNames(within(t), e.connect(), namesOptions{
		Prefix:      "cdn",
		Replicas:    replicas,
		Timeout:     2 * time.Second, // the machine may be slow, and a miss would be another test
		Purged:      n.purged,
		ToCluster:   func(at time.Time) time.Time { return at.Add(-off) },
		FromCluster: func(at time.Time) time.Time { return at.Add(off) },
		Learn:       n.learn,
		Logger:      quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

func (n *nameNode) purge(image string, position uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.purges[image] = position
}

func (n *nameNode) purged(name cache.Name, e *cache.Entry, at uint64, written time.Time) bool {
	if written.IsZero() || e == nil {
		panic("asked of nothing")
	}
	n.mu.Lock()
	if n.late {
		n.purges[name.Image] = 8
	}
	n.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.purges[name.Image] > at
}

func (n *nameNode) learn(name cache.Name, e *cache.Entry, valid func() bool) bool {
	if !valid() {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refuse {
		return false
	}
	n.learned[name] = e
	return true
}

func (n *nameNode) has(name cache.Name) *cache.Entry {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.learned[name]
}

// now is what the node's clock says.
func (n *nameNode) now() time.Time { return time.Now().Add(n.off) }

var cat = cache.Name{Source: "photos", Image: "/cat.jpg"}

// answer is what an origin said at that time.
func answer(content string, at time.Time) *cache.Entry {
	return &cache.Entry{
		Status: http.StatusOK,
		Header: http.Header{
			"Content-Type": {"image/jpeg"}, "Etag": {`"` + content + `"`}, "Last-Modified": {"Wed, 21 Oct 2015 07:28:00 GMT"},
			"Date": {"Wed, 21 Oct 2025 07:28:00 GMT"}, "Cache-Control": {"public, max-age=86400"}, "Accept-Ranges": {"bytes"},
		},
		Digest: cache.DigestOf([]byte(content)), Size: 829_113, RequestTime: at.Add(-20 * time.Millisecond), ResponseTime: at,
		Freshness: cache.Freshness{InitialAge: 3 * time.Second, Lifetime: 24 * time.Hour, StaleIfError: 24 * time.Hour},
	}
}

func (n *nameNode) tell(t *testing.T, name cache.Name, e *cache.Entry, position uint64) {
	t.Helper()
	was := n.Stats()
	n.Commit(name, e, position)
	eventually(t, "what was committed is written", func() bool {
		s := n.Stats()
		return s.Written+s.Conflicts > was.Written+was.Conflicts && s.Waiting == 0
	})
}

func TestNamesAreFoundByOtherNodes(t *testing.T) {
	e := startEngine(t)
	a, b := newNameNode(t, e, 0), newNameNode(t, e, 0)
	for _, name := range []cache.Name{
		cat,
		{Source: "photos", Image: "/cat.jpg", Version: "v2\nw=3"},
		{Source: "", Image: "/a b/\u00e9/$>.*.jpg", Version: strings.Repeat("x", 3_000)},
	} {
		want := answer("1", a.now())
		want.Variant = "abc"
		a.tell(t, name, want, 7)
		got := b.Lookup(within(t), name)
		if got == nil {
			t.Fatalf("%q is not found", name)
		}
		if !got.RequestTime.Equal(want.RequestTime) || !got.ResponseTime.Equal(want.ResponseTime) {
			t.Errorf("asked at %v, answered at %v, want %v, %v", got.RequestTime, got.ResponseTime, want.RequestTime, want.ResponseTime)
		}
		same := *got
		same.RequestTime, same.ResponseTime = want.RequestTime, want.ResponseTime
		if !reflect.DeepEqual(&same, want) {
			t.Errorf("found %+v, want %+v", &same, want)
		}
	}
	if b.Lookup(within(t), cache.Name{Source: "photos", Image: "/dog.jpg"}) != nil {
		t.Error("found what nobody has told")
	}
	if s := b.Stats(); s.Lookups != 4 || s.Found != 3 || s.Slow != 0 {
		t.Errorf("%+v", s)
	}
}

func TestNamesAreLearnedByOtherNodesAndNotByTheirOwn(t *testing.T) {
	e := startEngine(t)
	a, b := newNameNode(t, e, 0), newNameNode(t, e, 0)
	// The watch is told of what comes after it began.
	eventually(t, "b learns", func() bool {
		a.tell(t, cat, answer("1", a.now()), 1)
		return b.has(cat) != nil
	})
	if a.has(cat) != nil {
		t.Error("a learned from itself")
	}
	if b.Stats().Learned == 0 {
		t.Error("and nobody counted")
	}
}

func TestNamesSurviveClocksThatAreAnHourApart(t *testing.T) {
	e := startEngine(t)
	ahead, behind := newNameNode(t, e, time.Hour), newNameNode(t, e, -time.Hour)
	sent := answer("1", ahead.now().Add(-time.Minute))
	ahead.tell(t, cat, sent, 1)
	got := behind.Lookup(within(t), cat)
	if got == nil {
		t.Fatal("not found")
	}
	if age := got.Age(behind.now()); age < time.Minute || age > 10*time.Minute {
		t.Errorf("its age is %v, want about a minute", age)
	}
	if want := sent.RequestTime.Add(-2 * time.Hour); !got.RequestTime.Equal(want) {
		t.Errorf("asked at %v, want %v", got.RequestTime, want)
	}

	// The later exchange wins by the cluster's clock, not by the nodes'.
	behind.tell(t, cat, answer("2", behind.now()), 1)
	if got := ahead.Lookup(within(t), cat); got == nil || got.Digest != cache.DigestOf([]byte("2")) {
		t.Errorf("the later answer is not there, but %+v", got)
	}
}

func TestAnAnswerFromTheFutureIsAsOldAsItsEntry(t *testing.T) {
	e := startEngine(t)
	a, b := newNameNode(t, e, 0), newNameNode(t, e, 0)
	a.tell(t, cat, answer("1", time.Now().Add(5*time.Hour)), 1)
	got := b.Lookup(within(t), cat)
	if got == nil || got.ResponseTime.After(time.Now().Add(time.Minute)) || got.RequestTime.After(got.ResponseTime) {
		t.Errorf("found %+v", got)
	}
}

func TestPurgedNamesAreNeitherFoundNorLearnedNorWritten(t *testing.T) {
	e := startEngine(t)
	a, b := newNameNode(t, e, 0), newNameNode(t, e, 0)
	dog := cache.Name{Source: "photos", Image: "/dog.jpg"}
	b.purge(cat.Image, 8)
	a.tell(t, cat, answer("1", a.now()), 7)
	if b.Lookup(within(t), cat) != nil {
		t.Error("found what was purged")
	}
	eventually(t, "the watch of b runs", func() bool {
		a.tell(t, dog, answer("1", a.now()), 1)
		return b.has(dog) != nil
	})
	a.tell(t, cat, answer("2", a.now()), 7) // late
	a.tell(t, dog, answer("2", a.now()), 2)
	eventually(t, "b has read both", func() bool { return b.has(dog).Digest == cache.DigestOf([]byte("2")) })
	if b.has(cat) != nil {
		t.Error("learned what was purged")
	}

	written := b.Stats().Written
	b.Commit(cat, answer("3", b.now()), 7)
	b.tell(t, dog, answer("3", b.now()), 3)
	eventually(t, "nothing waits", func() bool { return b.Stats().Waiting == 0 })
	if got := b.Stats().Written; got > written+1 {
		t.Errorf("%d were written, one of them purged", got-written)
	}

	b.tell(t, cat, answer("4", b.now()), 8)
	if got := a.Lookup(within(t), cat); got == nil || got.Digest != cache.DigestOf([]byte("4")) {
		t.Errorf("what was asked for after the purge is not found, but %+v", got)
	}
}

func TestPurgedIsAskedAfterTheEntryWasRead(t *testing.T) {
	e := startEngine(t)
	a, b := newNameNode(t, e, 0), newNameNode(t, e, 0)
	a.tell(t, cat, answer("1", a.now()), 7)
	b.mu.Lock()
	b.late = true
	b.mu.Unlock()
	if b.Lookup(within(t), cat) != nil {
		t.Error("found what was purged while it was looked up")
	}
}

func TestTheNewerExchangeStays(t *testing.T) {
	start := time.Now().Add(-time.Minute)
	type write struct {
		node     int
		content  string
		position uint64
		at       time.Duration
	}
	for _, tt := range []struct {
		name   string
		blind  bool // no node knows what the others have written
		writes []write
		want   string
	}{
		{"a later request at the same position", false, []write{{0, "old", 5, 0}, {1, "new", 5, time.Second}}, "new"},
		{"an earlier request that is written late", false, []write{{1, "new", 5, time.Second}, {0, "old", 5, 0}}, "new"},
		{"a greater position, whatever the clocks say", false, []write{{0, "old", 5, time.Second}, {1, "new", 6, 0}}, "new"},
		{"a lesser position, written late", false, []write{{0, "new", 6, 0}, {1, "old", 5, time.Second}}, "new"},
		{"a lesser position that knows nothing of it", true, []write{{0, "new", 6, 0}, {1, "old", 5, time.Second}}, "new"},
		{"a later request that knows nothing of it", true, []write{{0, "old", 5, 0}, {1, "new", 5, time.Second}}, "new"},
		{"three, there and back", true, []write{{0, "a", 5, 0}, {1, "b", 6, 0}, {0, "a", 5, time.Second}, {1, "c", 7, 0}, {0, "b", 6, 2 * time.Second}}, "c"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := startEngine(t)
			nodes := []*nameNode{newNameNode(t, e, 0), newNameNode(t, e, 0)}
			for _, w := range tt.writes {
				n := nodes[w.node]
				if tt.blind {
					n.gone(nameKey(cat))
				}
				if err := n.writeOne(cat, pendingName{e: answer(w.content, start.Add(w.at)), at: w.position}); err != nil {
					t.Fatal(err)
				}
			}
			for i, n := range nodes {
				if got := n.Lookup(within(t), cat); got == nil || got.Digest != cache.DigestOf([]byte(tt.want)) {
					t.Errorf("node %d finds %+v, want %q", i, got, tt.want)
				}
			}
		})
	}
}

func TestAPurgedEntryGivesWayToAnOlderExchangeThatIsNot(t *testing.T) {
	e := startEngine(t)
	a := newNameNode(t, e, 0)
	tagged := answer("tagged", a.now())
	if err := a.writeOne(cat, pendingName{e: tagged, at: 5}); err != nil {
		t.Fatal(err)
	}
	a.gone(nameKey(cat))
	before := a.o.Purged
	a.o.Purged = func(n cache.Name, e *cache.Entry, at uint64, written time.Time) bool {
		return e.Digest == tagged.Digest || before(n, e, at, written)
	}
	if err := a.writeOne(cat, pendingName{e: answer("plain", a.now().Add(-time.Second)), at: 5}); err != nil {
		t.Fatal(err)
	}
	if got := a.Lookup(within(t), cat); got == nil || got.Digest != cache.DigestOf([]byte("plain")) {
		t.Errorf("found %+v", got)
	}
}

func TestManyNodesWriteOneNameAndTheNewestStays(t *testing.T) {
	e := startEngine(t)
	nodes := []*nameNode{newNameNode(t, e, 0), newNameNode(t, e, 0), newNameNode(t, e, 0)}
	start := time.Now().Add(-time.Hour)
	var all sync.WaitGroup
	const each = 40
	for i, n := range nodes {
		all.Go(func() {
			for k := range each {
				n.Commit(cat, answer(fmt.Sprint(k*len(nodes)+i), start.Add(time.Duration(k*len(nodes)+i)*time.Second)), 1)
			}
		})
	}
	all.Wait()
	want := cache.DigestOf([]byte(fmt.Sprint(each*len(nodes) - 1)))
	eventually(t, "the newest is there", func() bool {
		got := nodes[0].Lookup(within(t), cat)
		return got != nil && got.Digest == want
	})
	for _, n := range nodes {
		eventually(t, "all is written", func() bool { return n.Stats().Waiting == 0 })
	}
	for _, n := range nodes {
		n.Close()
	}
	if got := nodes[1].Lookup(within(t), cat); got == nil || got.Digest != want {
		t.Errorf("and then it went: %+v", got)
	}
}

func TestForgetRemovesAnImageAndNothingThatIsNewer(t *testing.T) {
	e := startEngine(t)
	a, b := newNameNode(t, e, 0), newNameNode(t, e, 0)
	kept := []cache.Name{{Source: "photos", Image: "/cat.jpg", Version: "new"}, {Source: "photos", Image: "/dog.jpg"}, {Source: "other", Image: "/cat.jpg"}}
	gone := []cache.Name{cat, {Source: "photos", Image: "/cat.jpg", Version: "old"}}
	for _, n := range gone {
		a.tell(t, n, answer("x", a.now()), 7)
	}
	for _, n := range kept {
		a.tell(t, n, answer("x", a.now()), 8)
	}
	b.Forget(cat.Source, cat.Image, 8)
	eventually(t, "they are gone", func() bool {
		return a.Lookup(within(t), gone[0]) == nil && a.Lookup(within(t), gone[1]) == nil
	})
	for _, n := range kept {
		if a.Lookup(within(t), n) == nil {
			t.Errorf("%q is gone", n)
		}
	}
	b.Forget("photos", "/never.jpg", 8)

	a.tell(t, cat, answer("again", a.now()), 9) // on top of a deletion
	if got := b.Lookup(within(t), cat); got == nil || got.Digest != cache.DigestOf([]byte("again")) {
		t.Errorf("found %+v", got)
	}
	if d := b.Stats().Dropped; d != 0 {
		t.Errorf("%d dropped", d)
	}
}

func TestWhatIsOfNoUseToOthersIsNotTold(t *testing.T) {
	e := startEngine(t)
	a := newNameNode(t, e, 0)
	for name, change := range map[string]func(*cache.Entry){
		"not to be kept":         func(e *cache.Entry) { e.Freshness.NoStore = true },
		"the origin has failed":  func(e *cache.Entry) { e.Status = http.StatusBadGateway },
		"nobody knows when":      func(e *cache.Entry) { e.RequestTime = time.Time{} },
		"too large":              func(e *cache.Entry) { e.Header.Set("Link", strings.Repeat("x", maxNameValue)) },
		"not to be said in JSON": func(e *cache.Entry) { e.Header.Set("Link", "\xff") },
		"no header field":        func(e *cache.Entry) { e.Header["a b"] = []string{"x"} },
	} {
		x := answer("1", a.now())
		change(x)
		n := cat
		n.Version = name
		a.Commit(n, x, 1)
	}
	a.tell(t, cat, answer("1", a.now()), 1)
	eventually(t, "nothing waits", func() bool { return a.Stats().Waiting == 0 && a.Stats().Dropped == 3 })
	a.Close()
	keys, err := e.kv("cdn_names").Keys(within(t))
	if err != nil || len(keys) != 1 {
		t.Errorf("the bucket has %q, %v", keys, err)
	}
}

func TestTheQueueOfNamesIsBoundedAndTheLatestWins(t *testing.T) {
	q := nameQueue{max: 2, wake: make(chan struct{}, 1), waiting: make(map[cache.Name]pendingName)}
	start := time.Now()
	name := func(v string) cache.Name { return cache.Name{Image: "/x", Version: v} }
	for _, tt := range []struct {
		version, content string
		position         uint64
		at               time.Duration
		want             bool
	}{
		{"a", "1", 1, 0, true},
		{"b", "1", 1, 0, true},
		{"c", "1", 1, 0, false},
		{"a", "2", 1, time.Second, true},
		{"a", "3", 1, 0, true}, // older than what waits
		{"b", "2", 2, -time.Second, true},
	} {
		if got := q.put(name(tt.version), pendingName{e: answer(tt.content, start.Add(tt.at)), at: tt.position}); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
	for _, version := range []string{"a", "b"} {
		n, p, ok := q.take()
		if !ok || n != name(version) || p.e.Digest != cache.DigestOf([]byte("2")) {
			t.Errorf("%q: took %q %+v", version, n, p.e)
		}
	}
	if _, _, ok := q.take(); ok || q.len() != 0 {
		t.Error("there is more")
	}
}

func TestNamesOfAFormatThatIsNotKnownAreLeftAlone(t *testing.T) {
	e := startEngine(t)
	a := newNameNode(t, e, 0)
	kv := e.kv("cdn_names")
	for _, value := range []string{"2{}", "\x00"} {
		if _, err := kv.Put(within(t), nameKey(cat), []byte(value)); err != nil {
			t.Fatal(err)
		}
		if a.Lookup(within(t), cat) != nil {
			t.Errorf("%q is an entry", value)
		}
		if err := a.writeOne(cat, pendingName{e: answer("1", a.now()), at: 1}); err != nil {
			t.Fatal(err)
		}
		if got, err := kv.Get(within(t), nameKey(cat)); err != nil || string(got.Value()) != value {
			t.Errorf("%q was written over: %v", value, err)
		}
	}
	// What is no entry at all gives way, and so does one that is at the wrong place.
	elsewhere, err := a.encode(cache.Name{Source: "x", Image: "/y"}, pendingName{e: answer("2", a.now()), at: 9})
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"1{", string(elsewhere)} {
		if _, err := kv.Put(within(t), nameKey(cat), []byte(value)); err != nil {
			t.Fatal(err)
		}
		if a.Lookup(within(t), cat) != nil {
			t.Errorf("%q is an entry of the cat", value)
		}
		a.gone(nameKey(cat))
		if err := a.writeOne(cat, pendingName{e: answer("1", a.now()), at: 1}); err != nil {
			t.Fatal(err)
		}
		if a.Lookup(within(t), cat) == nil {
			t.Errorf("%q stays", value)
		}
	}
}

func TestLookupsOfADeadEngineEndSoonAndThenAtOnce(t *testing.T) {
	t.Parallel()
	e := startEngine(t)
	a := newNameNode(t, e, 0)
	a.o.Timeout = 100 * time.Millisecond
	a.tell(t, cat, answer("1", a.now()), 1)
	e.stop()
	began := time.Now()
	for range 200 {
		if a.Lookup(within(t), cat) != nil {
			t.Fatal("found")
		}
	}
	if d := time.Since(began); d > 10*time.Second { // 200 timeouts are twice that
		t.Errorf("200 lookups took %v", d)
	}
	if s := a.Stats(); s.Slow != 200 {
		t.Errorf("%d were slow", s.Slow)
	}

	a.Commit(cat, answer("2", a.now()), 2) // waits for the engine
	e.start()
	eventually(t, "names are found again, and what was told meanwhile", func() bool {
		got := a.Lookup(within(t), cat)
		return got != nil && got.Digest == cache.DigestOf([]byte("2"))
	})
}

func TestTheWatchGoesOnWhenTheEngineIsBack(t *testing.T) {
	t.Parallel()
	e := startEngine(t)
	a, b := newNameNode(t, e, 0), newNameNode(t, e, 0)
	e.stop()
	e.start()
	eventually(t, "b learns", func() bool {
		a.tell(t, cat, answer("1", a.now()), 1)
		return b.has(cat) != nil
	})
}

func TestAWatchThatIsTooFarBehindGoesOnAtTheEnd(t *testing.T) {
	t.Parallel()
	e := startEngine(t)
	a := newNameNode(t, e, 0)
	holding, release := make(chan struct{}), make(chan struct{})
	var first sync.Once
	var mu sync.Mutex
	learned := make(map[string]bool)
	b, err := newNames(within(t), e.connect(), namesOptions{
		Prefix: "cdn", Lag: 500 * time.Millisecond, ToCluster: a.o.ToCluster, FromCluster: a.o.FromCluster, Logger: quiet(),
		Purged: func(cache.Name, *cache.Entry, uint64, time.Time) bool { return false },
		Learn: func(n cache.Name, e *cache.Entry, valid func() bool) bool {
			first.Do(func() { close(holding); <-release })
			mu.Lock()
			defer mu.Unlock()
			learned[n.Version] = true
			return true
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	tell := func(version string) {
		n := cat
		n.Version = version
		a.tell(t, n, answer("1", a.now()), 1)
	}
	knows := func(version string) bool {
		mu.Lock()
		defer mu.Unlock()
		return learned[version]
	}
	eventually(t, "the watch of b runs", func() bool {
		tell("held")
		select {
		case <-holding:
			return true
		default:
			return false
		}
	})
	tell("missed")
	time.Sleep(time.Second) // what was just told is to be too old
	close(release)
	eventually(t, "it begins anew", func() bool { return b.Stats().Skipped > 0 })
	eventually(t, "it learns what comes then", func() bool {
		tell("new")
		return knows("new")
	})
	if knows("missed") {
		t.Error("it learned what was too old")
	}
}

// fakeUpdate is an entry as a bucket returns it.
type fakeUpdate struct {
	jetstream.KeyValueEntry
	value   []byte
	created time.Time
}

func (u fakeUpdate) Value() []byte      { return u.value }
func (u fakeUpdate) Created() time.Time { return u.created }

func FuzzName(f *testing.F) {
	same := func(t time.Time) time.Time { return t }
	n := &names{o: namesOptions{ToCluster: same, FromCluster: same}, writer: "w"}
	for _, name := range []cache.Name{cat, {Image: "/", Version: "a\nb=c"}} {
		value, err := n.encode(name, pendingName{e: answer("1", time.Unix(1_700_000_000, 0)), at: 5})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(value)
		f.Add(bytes.Replace(value, []byte("Etag"), []byte("etag"), 1))
	}
	f.Add([]byte{})
	f.Add([]byte("1"))
	f.Add([]byte("1null"))
	f.Add([]byte("2{}"))
	f.Add([]byte(`1{"image":"/","status":200,"requested":1,"responded":9223372036854775807,"lifetime":-1}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		v, err := parseName(value)
		if err != nil {
			return
		}
		_, e, err := n.parse(fakeUpdate{value: value, created: time.Unix(1_700_000_000, 0)})
		if err != nil {
			t.Fatal(err)
		}
		if e.ResponseTime.After(time.Unix(1_700_000_000, 0)) || e.RequestTime.After(e.ResponseTime) {
			t.Errorf("asked at %v, answered at %v", e.RequestTime, e.ResponseTime)
		}
		again, err := v.append(nil)
		if err != nil {
			return // longer than it was
		}
		w, err := parseName(again)
		if err != nil {
			t.Fatalf("%q is written as %q, and that is %v", value, again, err)
		}
		if w.name() != v.name() || w.At != v.At || w.Digest != v.Digest || !maps.EqualFunc(w.Header, v.Header, func(a, b []string) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
			t.Errorf("%+v became %+v", v, w)
		}
		if err := http.Header(e.Header).Write(new(bytes.Buffer)); err != nil {
			t.Error(err)
		}
	})
}

func TestASizeOfATypicalName(t *testing.T) {
	n := &names{o: namesOptions{ToCluster: func(t time.Time) time.Time { return t }}, writer: "ABCDEFGHIJKLM"}
	value, err := n.encode(cat, pendingName{e: answer("1", time.Now()), at: 123_456})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", len(value))
	var v nameValue
	if err := json.Unmarshal(value[1:], &v); err != nil || len(value) > 1_000 {
		t.Errorf("%d bytes, %v", len(value), err)
	}
	if bytes.Contains(value, []byte("eneration")) {
		t.Error("a generation means nothing elsewhere")
	}
}
