// Package purgetest has the tests that every [purge.Log] must pass, and with [TestSharedLog] those of a [purge.SharedLog]:
//
//	func TestLog(t *testing.T) {
//		purgetest.TestLog(t, func(t *testing.T) purgetest.Reopener {
//			return …
//		})
//	}
package purgetest

import (
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/imagecdn/imagecdn/purge"
)

// A Reopener opens a log that is empty at first. Every call closes what an earlier one returned, if anything,
// and opens the same log again, as a restart does. What fails ends the test.
type Reopener func() purge.Log

// TestLog tests the log that make makes, a new one for each rule.
func TestLog(t *testing.T, make func(t *testing.T) Reopener) {
	for _, rule := range []struct {
		name string
		test func(*testing.T, Reopener)
	}{
		{"a new log is empty", empty},
		{"entries come newest first, and before a cursor", order},
		{"the last write of an ID is what is read", overwrite},
		{"one write puts and drops", putAndDrop},
		{"dropping what is not there is no error", dropAbsent},
		{"a restart changes nothing", restart},
		{"bytes belong to the caller", ownership},
		{"data may be empty, binary or large", shapes},
		{"reading may stop early, and write meanwhile", reentrant},
		{"many may write and read at once", concurrent},
		{"a random history leaves what a map has", history},
		{"the log says where it is", name},
	} {
		t.Run(rule.name, func(t *testing.T) { rule.test(t, make(t)) })
	}
}

func id(n int) string { return fmt.Sprintf("0198c1d2-0000-7000-8000-%012x", n) }

func put(t *testing.T, l purge.Log, n int, data string) {
	t.Helper()
	write(t, l, []purge.LogEntry{{ID: id(n), Data: []byte(data)}})
}

func write(t *testing.T, l purge.Log, put []purge.LogEntry, drop ...string) {
	t.Helper()
	if err := l.Write(put, drop); err != nil {
		t.Fatal(err)
	}
}

// read returns the entries as "n=data", for IDs of id.
func read(t *testing.T, seq iter.Seq2[purge.LogEntry, error]) []string {
	t.Helper()
	got := []string{}
	for e, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		fmt.Sscanf(e.ID[len(e.ID)-12:], "%x", &n)
		got = append(got, fmt.Sprintf("%d=%s", n, e.Data))
	}
	return got
}

func want(t *testing.T, l purge.Log, before string, want ...string) {
	t.Helper()
	if got := read(t, l.Entries(before)); !slices.Equal(got, want) {
		t.Errorf("before %q the log has %q, want %q", before, got, want)
	}
}

func empty(t *testing.T, open Reopener) {
	l := open()
	want(t, l, "")
	want(t, l, id(5))
	write(t, l, nil)
	want(t, l, "")
}

func order(t *testing.T, open Reopener) {
	l := open()
	for _, n := range []int{3, 1, 9, 7} {
		put(t, l, n, "x")
	}
	want(t, l, "", "9=x", "7=x", "3=x", "1=x")
	want(t, l, id(9), "7=x", "3=x", "1=x")
	want(t, l, id(8), "7=x", "3=x", "1=x")
	want(t, l, id(10), "9=x", "7=x", "3=x", "1=x")
	want(t, l, id(1))
}

func overwrite(t *testing.T, open Reopener) {
	l := open()
	put(t, l, 1, "long ago")
	put(t, l, 2, "x")
	put(t, l, 1, "now")
	want(t, l, "", "2=x", "1=now")
}

func putAndDrop(t *testing.T, open Reopener) {
	l := open()
	put(t, l, 1, "a")
	put(t, l, 2, "b")
	write(t, l, []purge.LogEntry{{ID: id(3), Data: []byte("c")}, {ID: id(4), Data: []byte("d")}}, id(1), id(2))
	want(t, l, "", "4=d", "3=c")
}

func dropAbsent(t *testing.T, open Reopener) {
	l := open()
	write(t, l, nil, id(1))
	put(t, l, 1, "a")
	write(t, l, nil, id(2), id(1), id(1))
	want(t, l, "")
}

func restart(t *testing.T, open Reopener) {
	l := open()
	var entries []string
	for n := range 200 {
		put(t, l, n, "x")
		entries = append(entries, fmt.Sprintf("%d=x", n))
	}
	slices.Reverse(entries)
	l = open()
	want(t, l, "", entries...)
	write(t, l, nil, id(199))
	l = open()
	want(t, l, "", entries[1:]...)
}

func ownership(t *testing.T, open Reopener) {
	l := open()
	data := []byte("mine")
	write(t, l, []purge.LogEntry{{ID: id(1), Data: data}})
	copy(data, "xxxx")
	want(t, l, "", "1=mine")
	for e := range l.Entries("") {
		copy(e.Data, "yyyy")
	}
	want(t, l, "", "1=mine")
}

func shapes(t *testing.T, open Reopener) {
	l := open()
	large := make([]byte, 1<<20) // as compressible as records are
	for i := range large {
		large[i] = byte(rand.Uint32())
		if i%16 > 0 {
			large[i] = '/'
		}
	}
	write(t, l, []purge.LogEntry{{ID: id(1)}, {ID: id(2), Data: []byte("\x00\n\xff")}, {ID: id(3), Data: large}})
	l = open()
	want(t, l, "", "3="+string(large), "2=\x00\n\xff", "1=")
}

func reentrant(t *testing.T, open Reopener) {
	l := open()
	for n := range 150 {
		put(t, l, n, "x")
	}
	for e, err := range l.Entries("") {
		if err != nil {
			t.Fatal(err)
		}
		write(t, l, nil, e.ID)
		if e.ID == id(50) {
			break
		}
	}
	if got := read(t, l.Entries("")); len(got) != 50 || got[0] != "49=x" {
		t.Errorf("%d are left, the newest %q", len(got), got[0])
	}
}

func concurrent(t *testing.T, open Reopener) {
	l := open()
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for n := range 25 {
				if err := l.Write([]purge.LogEntry{{ID: id(100*g + n), Data: []byte("x")}}, nil); err != nil {
					t.Error(err)
				}
				before := id(1 << 20)
				for e, err := range l.Entries("") {
					if err != nil || e.ID >= before {
						t.Errorf("%q after %q, %v", e.ID, before, err)
					}
					before = e.ID
				}
			}
		})
	}
	all.Wait()
	l = open()
	if got := read(t, l.Entries("")); len(got) != 200 {
		t.Errorf("the log has %d entries, want 200", len(got))
	}
}

func history(t *testing.T, open Reopener) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	l := open()
	model := make(map[string]string)
	for step := range 200 {
		var put []purge.LogEntry
		var drop []string
		for range rnd.IntN(4) {
			k := id(rnd.IntN(40))
			if slices.ContainsFunc(put, func(e purge.LogEntry) bool { return e.ID == k }) || slices.Contains(drop, k) {
				continue
			}
			if rnd.IntN(3) == 0 {
				drop = append(drop, k)
				delete(model, k)
			} else {
				model[k] = fmt.Sprint(step)
				put = append(put, purge.LogEntry{ID: k, Data: []byte(model[k])})
			}
		}
		write(t, l, put, drop...)
		if rnd.IntN(20) == 0 {
			l = open()
		}
		keys := slices.Sorted(maps.Keys(model))
		for e, err := range l.Entries("") {
			if err != nil {
				t.Fatal(err)
			}
			last := len(keys) - 1
			if last < 0 || keys[last] != e.ID || model[e.ID] != string(e.Data) {
				t.Fatalf("step %d: the log has %s %q, want of %v", step, e.ID, e.Data, model)
			}
			keys = keys[:last]
		}
		if len(keys) > 0 {
			t.Fatalf("step %d: the log lacks %v", step, keys)
		}
	}
}

func name(t *testing.T, open Reopener) {
	if open().String() == "" {
		t.Error("String returns nothing")
	}
}
