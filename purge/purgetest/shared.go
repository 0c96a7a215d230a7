package purgetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

// An Opener opens a log that nodes share, and that is empty at first, as the node of that name. A second call for a name closes what the first
// returned and opens it again, as a restart of the node does. What fails ends the test.
type Opener func(node string) purge.SharedLog

// TestSharedLog tests the log that make makes, a new one for each rule: those of [TestLog], for one node, and those for several.
func TestSharedLog(t *testing.T, make func(t *testing.T) Opener) {
	TestLog(t, func(t *testing.T) Reopener {
		open := make(t)
		return func() purge.Log { return open("a") }
	})
	for _, rule := range []struct {
		name string
		test func(*testing.T, Opener)
	}{
		{"an entry belongs to who put it, and all see it", belongs},
		{"who does not own an entry cannot put it", refused},
		{"a put that is refused changes nothing", together},
		{"who does not own an entry does not drop it", dropOthers},
		{"a restart keeps what is a node's", ownAfterRestart},
		{"Take makes an entry another's, with its data", take},
		{"of many who take an entry one succeeds", takeRace},
		{"an entry that was changed meanwhile is not taken", takeChanged},
		{"what was taken and dropped is not put again by who had it", zombie},
		{"Unfinished has what is not final, at once for what this node wrote", unfinished},
		{"Watch tells of what others put, and not of one's own", watch},
		{"Watch begins with what was put since the log was opened", watchFromOpen},
		{"Watch tells of a take, and of each entry in order", watchOrder},
		{"Watch ends with its context", watchEnds},
	} {
		t.Run(rule.name, func(t *testing.T) { rule.test(t, make(t)) })
	}
}

// within is how long a log may take to tell another node something.
const within = 20 * time.Second

// eventually waits until f is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

func entry(n int, data string) purge.LogEntry { return purge.LogEntry{ID: id(n), Data: []byte(data)} }

// find returns an entry as a log has it, or one without an ID.
func find(t *testing.T, l purge.SharedLog, n int) purge.LogEntry {
	t.Helper()
	for e, err := range l.Entries(id(n + 1)) {
		if err != nil {
			t.Fatal(err)
		}
		if e.ID == id(n) {
			return e
		}
		break
	}
	return purge.LogEntry{}
}

// has waits until a log has an entry with that data, which is that owner's, and returns it.
func has(t *testing.T, l purge.SharedLog, n int, owner, data string) (e purge.LogEntry) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s has %d=%s of %s", l, n, data, owner), func() bool {
		e = find(t, l, n)
		return e.ID != "" && e.Owner == owner && string(e.Data) == data
	})
	return e
}

func notOwner(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, purge.ErrNotOwner) {
		t.Errorf("the error is %v, want ErrNotOwner", err)
	}
}

func belongs(t *testing.T, open Opener) {
	a, b := open("a"), open("b")
	e := entry(1, "x")
	e.Owner, e.Final = "b", true // Owner is not for the writer to say
	write(t, a, []purge.LogEntry{e})
	put(t, b, 2, "y")
	for _, l := range []purge.SharedLog{a, b} {
		if e := has(t, l, 1, "a", "x"); !e.Final {
			t.Errorf("%s: it is not final", l)
		}
		if e := has(t, l, 2, "b", "y"); e.Final {
			t.Errorf("%s: it is final", l)
		}
		want(t, l, "", "2=y", "1=x")
	}
}

func refused(t *testing.T, open Opener) {
	a, b := open("a"), open("b")
	put(t, a, 1, "x")
	notOwner(t, b.Write([]purge.LogEntry{entry(1, "y")}, nil))
	put(t, a, 1, "z")
	has(t, b, 1, "a", "z")
}

func together(t *testing.T, open Opener) {
	a, b := open("a"), open("b")
	put(t, a, 1, "x")
	notOwner(t, b.Write([]purge.LogEntry{entry(1, "y")}, nil))
	put(t, b, 2, "y")
	has(t, a, 2, "b", "y")
	has(t, b, 1, "a", "x")
}

func dropOthers(t *testing.T, open Opener) {
	a, b := open("a"), open("b")
	put(t, a, 1, "x")
	put(t, b, 2, "y")
	has(t, b, 1, "a", "x")
	write(t, b, nil, id(1), id(2))
	has(t, b, 1, "a", "x")
	has(t, a, 1, "a", "x")
	eventually(t, "a sees that 2 is dropped", func() bool { return find(t, a, 2).ID == "" })
	write(t, a, nil, id(1))
	eventually(t, "b sees that 1 is dropped", func() bool { return find(t, b, 1).ID == "" })
}

func ownAfterRestart(t *testing.T, open Opener) {
	a, b := open("a"), open("b")
	put(t, a, 1, "x")
	put(t, b, 2, "y")
	a = open("a")
	has(t, a, 1, "a", "x")
	has(t, a, 2, "b", "y")
	put(t, a, 1, "z")
	notOwner(t, a.Write([]purge.LogEntry{entry(2, "z")}, nil))
	has(t, b, 1, "a", "z")
	write(t, a, nil, id(1))
	eventually(t, "b sees that 1 is dropped", func() bool { return find(t, b, 1).ID == "" })
}

func take(t *testing.T, open Opener) {
	a, b := open("a"), open("b")
	put(t, a, 1, "x")
	if err := b.Take(has(t, b, 1, "a", "x")); err != nil {
		t.Fatal(err)
	}
	has(t, b, 1, "b", "x")
	notOwner(t, a.Write([]purge.LogEntry{entry(1, "y")}, nil))
	put(t, b, 1, "z")
	has(t, a, 1, "b", "z")
	a = open("a")
	notOwner(t, a.Write([]purge.LogEntry{entry(1, "y")}, nil))
	write(t, a, nil, id(1))
	has(t, a, 1, "b", "z")
	if err := a.Take(has(t, a, 1, "b", "z")); err != nil { // and back
		t.Fatal(err)
	}
	put(t, a, 1, "w")
	has(t, b, 1, "a", "w")
}

func takeRace(t *testing.T, open Opener) {
	a := open("a")
	var others []purge.SharedLog
	for i := range 6 {
		others = append(others, open(fmt.Sprintf("o%d", i)))
	}
	for n := range 10 {
		put(t, a, n, "x")
		var won atomic.Int32
		var all sync.WaitGroup
		var entries []purge.LogEntry
		for _, o := range others {
			entries = append(entries, has(t, o, n, "a", "x"))
		}
		for i, o := range others {
			all.Go(func() {
				if err := o.Take(entries[i]); err == nil {
					won.Add(1)
					if err := o.Write([]purge.LogEntry{entry(n, o.String())}, nil); err != nil {
						t.Error(err)
					}
				} else {
					notOwner(t, err)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 {
			t.Errorf("%d have taken it", won.Load())
		}
	}
}

func takeChanged(t *testing.T, open Opener) {
	a, b := open("a"), open("b")
	put(t, a, 1, "x")
	e := has(t, b, 1, "a", "x")
	put(t, a, 1, "y")
	notOwner(t, b.Take(e))
	e = has(t, b, 1, "a", "y")
	write(t, a, nil, id(1))
	notOwner(t, b.Take(e))
	if e := find(t, a, 1); e.ID != "" {
		t.Error("it is there again")
	}
}

func zombie(t *testing.T, open Opener) {
	a, b := open("a"), open("b")
	put(t, a, 1, "x")
	if err := b.Take(has(t, b, 1, "a", "x")); err != nil {
		t.Fatal(err)
	}
	write(t, b, nil, id(1))
	notOwner(t, a.Write([]purge.LogEntry{entry(1, "y")}, nil))
	if e := find(t, b, 1); e.ID != "" {
		t.Error("it is there again")
	}
}

func unfinished(t *testing.T, open Opener) {
	a, b := open("a"), open("b")
	names := func(l purge.SharedLog) string {
		var all []string
		for e := range l.Unfinished() {
			all = append(all, fmt.Sprintf("%s%s of %s", strings.TrimLeft(e.ID[len(e.ID)-12:], "0"), e.Data, e.Owner))
		}
		slices.Sort(all)
		return strings.Join(all, ", ")
	}
	final := entry(2, "y")
	final.Final = true
	put(t, a, 1, "x")
	write(t, a, []purge.LogEntry{final})
	if got := names(a); got != "1 of a" {
		t.Errorf("unfinished are %s", got)
	}
	eventually(t, "b sees it", func() bool { return names(b) == "1 of a" })
	put(t, b, 3, "z")
	if got := names(b); got != "1 of a, 3 of b" {
		t.Errorf("unfinished are %s", got)
	}
	final = entry(1, "w")
	final.Final = true
	write(t, a, []purge.LogEntry{final})
	eventually(t, "a sees all", func() bool { return names(a) == "3 of b" })
	eventually(t, "b sees all", func() bool { return names(b) == "3 of b" })
	if err := a.Take(has(t, a, 3, "b", "z")); err != nil {
		t.Fatal(err)
	}
	if got := names(a); got != "3 of a" {
		t.Errorf("unfinished are %s", got)
	}
	a = open("a") // at once after the log is opened
	if got := names(a); got != "3 of a" {
		t.Errorf("unfinished are %s", got)
	}
	write(t, a, nil, id(3))
	if got := names(a); got != "" {
		t.Errorf("unfinished are %s", got)
	}
}

// A watcher collects what a watch tells.
type watcher struct {
	mu  sync.Mutex
	all []string
}

func watching(t *testing.T, l purge.SharedLog) *watcher {
	w := new(watcher)
	ctx, cancel := context.WithCancel(context.Background())
	through := make(chan struct{})
	go func() {
		defer close(through)
		l.Watch(ctx, func(e purge.LogEntry) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.all = append(w.all, fmt.Sprintf("%s=%s of %s", strings.TrimLeft(e.ID[len(e.ID)-12:], "0"), e.Data, e.Owner))
		})
	}()
	t.Cleanup(func() { cancel(); <-through })
	return w
}

func (w *watcher) told() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.all)
}

func (w *watcher) sees(t *testing.T, what string) {
	t.Helper()
	eventually(t, "told of "+what, func() bool { return slices.Contains(w.told(), what) })
}

func watch(t *testing.T, open Opener) {
	a, b := open("a"), open("b")
	w := watching(t, b)
	put(t, a, 1, "x")
	w.sees(t, "1=x of a")
	put(t, b, 2, "y")
	put(t, a, 3, "z")
	w.sees(t, "3=z of a")
	if slices.Contains(w.told(), "2=y of b") {
		t.Error("it is told of its own")
	}
}

func watchFromOpen(t *testing.T, open Opener) {
	a := open("a")
	put(t, a, 1, "x")
	b := open("b")
	has(t, b, 1, "a", "x")
	put(t, a, 2, "y")
	put(t, a, 1, "z")
	w := watching(t, b)
	w.sees(t, "2=y of a")
	w.sees(t, "1=z of a")
}

func watchOrder(t *testing.T, open Opener) {
	a, b, c := open("a"), open("b"), open("c")
	w, lost := watching(t, b), watching(t, a)
	for v := range 50 {
		put(t, a, 1, fmt.Sprintf("%02d", v))
	}
	w.sees(t, "1=49 of a")
	if err := c.Take(has(t, c, 1, "a", "49")); err != nil {
		t.Fatal(err)
	}
	put(t, c, 1, "50")
	w.sees(t, "1=50 of c")
	lost.sees(t, "1=50 of c")
	if got := w.told(); !slices.IsSorted(got) {
		t.Errorf("told %q", got)
	}
}

func watchEnds(t *testing.T, open Opener) {
	l := open("a")
	ctx, cancel := context.WithCancel(context.Background())
	through := make(chan struct{})
	go func() {
		defer close(through)
		l.Watch(ctx, func(purge.LogEntry) {})
	}()
	select {
	case <-through:
		t.Error("it has ended before")
	case <-time.After(20 * time.Millisecond):
	}
	cancel()
	select {
	case <-through:
	case <-time.After(within):
		t.Error("it does not end")
	}
}
