package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A history is a workload on a disk that may fail or lose its power, and what must hold of it whatever happens.
//
// The value of a name goes up with every save. So a purge that was acknowledged when it was n must never be followed
// by a value of n or less, and a save that was settled at n, with no purge since, never by one of less than n.
type history struct {
	c     *crashFS
	d     *Disk
	table *Table
	n     int64 // the value last saved, of any name
	errs  []error

	noticed int64 // failures that were counted, or made opening fail

	promised
}

// promised is what has been acknowledged.
type promised struct {
	purged map[Name]int64 // no value up to this may be seen again
	saved  map[Name]int64 // this one, or a later, must be there
	things map[Key]bool   // false: was there when a purge of it was acknowledged
}

func (p promised) clone() promised {
	return promised{maps.Clone(p.purged), maps.Clone(p.saved), maps.Clone(p.things)}
}

var historyNames = []Name{{"s", "/a", ""}, {"s", "/b", ""}, {"s", "/b", "v"}, {"t", "/a", ""}}

const diskDir = "/var/cache"

func newHistory() *history {
	c := newCrashFS()
	if err := c.mkdirAll(diskDir); err != nil {
		panic(err)
	}
	for _, dir := range []string{"/", "/var"} {
		if err := c.syncDir(dir); err != nil {
			panic(err)
		}
	}
	return &history{c: c, promised: promised{make(map[Name]int64), make(map[Name]int64), make(map[Key]bool)}}
}

func (h *history) errorf(format string, args ...any) {
	h.errs = append(h.errs, fmt.Errorf(format, args...))
}

// open opens the disk. It reports whether it could.
func (h *history) open() bool {
	d, err := openDiskOn(h.c, diskDir, &DiskOptions{MaxFiles: 1000})
	if err != nil {
		h.noticed++
		return false
	}
	h.d, h.table = d, NewTable(d, nil)
	tidied(d)
	return true
}

func (h *history) close() {
	if err := h.d.Close(); err != nil {
		h.errorf("Close: %w", err)
	}
	h.noticed += h.d.Stats().Faults
	if h.d.Stats().Evicted > 0 { // a full disk makes room
		h.acknowledge(func() { clear(h.saved) })
	}
}

func bodyOf(k Key) string { return fmt.Sprintf("%s %s %d %x", k.Source, k.Image, k.Kind, k.Sum) }

func thingOf(n Name, what int) Key {
	return Key{n.Source, n.Image, Kind(what % 3), DigestOf(fmt.Append(nil, n, what))}
}

// inputsOf are the other images that a composite is made from.
func inputsOf(k Key) []Input {
	switch {
	case k.Kind != Composite:
		return nil
	case k.Source == "s" && k.Image == "/b":
		return []Input{{"s", "/a"}, {"t", "/a"}}
	case k.Source == "s":
		return []Input{{"t", "/a"}}
	}
	return []Input{{"s", "/a"}}
}

// save commits the next value of a name, and waits until it is written.
func (h *history) save(n Name) {
	h.n++
	v, faults := h.n, h.d.Stats().Faults
	h.acknowledge(func() { delete(h.saved, n) })
	if !h.table.Commit(h.table.Lease(n), newEntry(v)) {
		h.errorf("%v: a commit with nothing between was refused", n)
	}
	settle(h.d)
	// While generations could not be kept, no name is.
	if h.d.Stats().Faults == faults && !h.d.unsaved.Load() {
		h.acknowledge(func() { h.saved[n] = v })
	}
}

// acknowledge notes a promise at one moment of the file system.
func (h *history) acknowledge(note func()) {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	note()
}

func (h *history) put(k Key) {
	h.acknowledge(func() { delete(h.things, k) })
	faults := h.d.Stats().Faults
	err := h.d.Put(context.Background(), k, &Thing{Header: map[string][]string{"A": {k.Image}}, Body: []byte(bodyOf(k)), Inputs: inputsOf(k)}, nil)
	if err != nil && h.d.Stats().Faults == faults {
		h.errorf("Put failed and was not counted: %w", err)
	}
}

// purge purges what which says by what is given, and notes it where it was acknowledged.
func (h *history) purge(things bool, which func(source, image string) bool, do func() error) {
	h.acknowledge(func() {
		maps.DeleteFunc(h.saved, func(n Name, _ int64) bool { return which(n.Source, n.Image) })
	})
	faults := h.d.Stats().Faults
	if err := do(); err != nil {
		if h.d.Stats().Faults == faults {
			h.errorf("a purge failed and was not counted: %w", err)
		}
		return
	}
	h.acknowledge(func() {
		for _, n := range historyNames {
			if which(n.Source, n.Image) {
				h.purged[n] = h.n
			}
			for i := range 4 {
				k := thingOf(n, i)
				of := append([]Input{{n.Source, n.Image}}, inputsOf(k)...)
				if things && slices.ContainsFunc(of, func(in Input) bool { return which(in.Source, in.Image) }) {
					h.things[k] = false
				}
			}
		}
	})
}

func (h *history) run() {
	if !h.open() {
		return
	}
	a, b, bv, t := historyNames[0], historyNames[1], historyNames[2], historyNames[3]
	only := func(n Name) func(string, string) bool {
		return func(source, image string) bool { return source == n.Source && image == n.Image }
	}
	for _, n := range historyNames {
		h.put(thingOf(n, 0))
		h.save(n)
		h.put(thingOf(n, 1))
		h.put(thingOf(n, 2))
	}
	h.check()
	h.purge(true, only(a), func() error { return h.table.Purge("s", "/a", Delete) })
	h.check()
	h.save(a)
	h.put(thingOf(a, 2))
	h.put(thingOf(t, 2)) // again, before what the purge has hidden is freed
	_, _ = h.d.Remove(context.Background(), "s", "/a")
	h.put(thingOf(b, 2)) // again, and after it
	h.purge(false, only(b), func() error { return h.table.Purge("s", "/b", Revalidate) })
	h.save(bv)
	h.check()
	h.close()
	if !h.open() {
		return
	}
	h.check()
	h.save(b)
	for _, f := range h.d.listed(h.d.folder("t", "/a")) { // as the eviction does
		h.acknowledge(func() { delete(h.saved, t) })
		if _, err := h.d.removeAny(h.d.folder("t", "/a")+"/"+f.Name(), h.d.remove); err != nil {
			h.d.fault("evicting", err)
		}
	}
	h.d.dropFolder(h.d.folder("t", "/a"))
	h.purge(true, only(t), func() error { return h.table.Purge("t", "/a", Delete) })
	h.save(t)
	h.purge(true, func(source, _ string) bool { return source == "s" }, func() error { return h.table.PurgeAll("s", Delete) })
	h.check()
	h.save(a)
	h.put(thingOf(a, 3))
	_, _ = h.d.RemoveAll(context.Background(), "s")
	h.purge(true, func(string, string) bool { return true }, func() error { return h.table.PurgeAll("", Delete) })
	h.save(b)
	h.put(thingOf(b, 3))
	h.d.evictSome(func() bool { h.acknowledge(func() { clear(h.saved) }); return true })
	h.check()
	h.close()
}

// check looks that all that was promised holds, of a disk that is open.
func (h *history) check() {
	h.checkOf(h.promised, func() bool { return h.d.Stats().Faults == 0 })
}

// checkOf checks what is there. What was saved has to be there only where all says so, after it was looked up.
func (h *history) checkOf(p promised, all func() bool) {
	for _, n := range historyNames {
		e := h.table.Lookup(h.table.Lease(n))
		switch {
		case e == nil || e.stale > 0:
			if p.saved[n] > 0 && all() {
				h.errorf("%v was saved with %d, and is gone", n, p.saved[n])
			}
		case e.Size <= p.purged[n]:
			h.errorf("%v was purged at %d, and is %d", n, p.purged[n], e.Size)
		case e.Size < p.saved[n]:
			h.errorf("%v was saved with %d, and is %d", n, p.saved[n], e.Size)
		}
		for i := range 4 {
			k := thingOf(n, i)
			th, err := h.d.Get(context.Background(), k)
			if err != nil {
				continue
			}
			if string(th.Body) != bodyOf(k) || th.Header.Get("A") != k.Image || !slices.Equal(th.Inputs, inputsOf(k)) {
				h.errorf("%v: %q with %v, of %v", k, th.Body, th.Header, th.Inputs)
			}
			if there, ok := p.things[k]; ok && !there {
				h.errorf("%v: its purge was acknowledged, and it is there", k)
			}
		}
	}
}

// reopened opens what c holds, checks it against p, and closes it. It reports how it went.
func reopened(c *crashFS, p promised) error {
	after := &history{c: c}
	for range 2 { // the second time after the tidying of the first
		if !after.open() {
			return errors.New("it cannot be opened")
		}
		after.checkOf(p, func() bool { return true })
		after.close()
		if s := after.d.Stats(); s.Faults != 0 {
			after.errorf("%+v", s)
		}
	}
	if err := after.d.check(); err != nil {
		after.errorf("the account: %w", err)
	}
	for _, f := range after.d.listed(diskDir) {
		if isTemp(f.Name()) {
			after.errorf("%s is left", f.Name())
		}
	}
	return errors.Join(after.errs...)
}

// Every operation fails, one after the other; and, from one on, all of them do.
func TestEveryOperationFails(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rule string
		ops  []string
		err  error
		all  bool // from that one on, for 20 operations
	}{
		{"an I/O error", slices.Concat(changes, reads), syscall.EIO, false},
		{"I/O errors for a while", slices.Concat(changes, reads), syscall.EIO, true},
		{"a full disk", []string{"create", "write", "sync", "mkdir", "mkdirAll", "rename"}, syscall.ENOSPC, true},
		{"too many open files", []string{"lock", "read", "create", "list", "syncDir"}, syscall.EMFILE, true},
		{"a disk that became read-only", changes, syscall.EROFS, true},
	} {
		t.Run(test.rule, func(t *testing.T) {
			step := 1
			if testing.Short() {
				step = 7
			}
			for n := 0; ; n += step {
				h := newHistory()
				calls, failed := 0, ""
				h.c.before = func(op, path string) error {
					if !slices.Contains(test.ops, op) {
						return nil
					}
					calls++
					if calls <= n || calls > n+1 && (!test.all || calls > n+20) {
						return nil
					}
					if failed == "" {
						failed = op + " " + path
					}
					return test.err
				}
				h.run()
				h.acknowledge(func() { h.c.before = func(string, string) error { return nil } })
				if failed != "" && h.noticed == 0 && !strings.HasPrefix(failed, "touch ") {
					h.errorf("no fault was counted")
				}
				if failed == "" {
					t.Logf("%d operations", calls)
					if h.d.Stats().Faults != 0 || len(h.errs) > 0 {
						t.Errorf("without a failure: %+v, %v", h.d.Stats(), h.errs)
					}
					return
				}
				if err := errors.Join(append(h.errs, reopened(h.c, h.promised))...); err != nil {
					t.Fatalf("failure %d, %s: %v", n, failed, err)
				}
			}
		})
	}
}

// The power is cut before every operation that writes.
func TestTheDiskCrashesBeforeEveryWrite(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	type cut struct {
		c    *crashFS
		p    promised
		what string
	}
	var cuts []cut
	h := newHistory()
	h.c.before = func(op, path string) error {
		if slices.Contains(changes, op) {
			what := fmt.Sprintf("crash %d, before %s %s", len(cuts), op, path)
			cuts = append(cuts, cut{h.c.crash(nil), h.clone(), what})
			for range 3 {
				cuts = append(cuts, cut{h.c.crash(r), h.clone(), what + ", some of what was not synced is there"})
			}
		}
		return nil
	}
	h.run()
	if len(h.errs) > 0 {
		t.Fatal(h.errs)
	}
	t.Logf("%d crashes", len(cuts))
	for i, cut := range cuts {
		if testing.Short() && i%7 != 0 {
			continue
		}
		if err := reopened(cut.c, cut.p); err != nil {
			t.Errorf("%s: %v", cut.what, err)
		}
	}
}

// However often the disk fails, that is logged once a minute.
func TestFaultsAreLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := newCrashFS()
		d, err := openDiskOn(c, diskDir, &DiskOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		c.mu.Lock()
		c.before = func(op, _ string) error { return syscall.EIO }
		c.mu.Unlock()
		for range 3 {
			for range 50 {
				d.Get(t.Context(), keyOf("/cat", Original, "x"))
				time.Sleep(time.Second)
			}
		}
		if got := strings.Count(log.String(), "the disk cache failed"); got != 3 || d.Stats().Faults != 150 {
			t.Errorf("%d lines for %d faults: %s", got, d.Stats().Faults, log.String())
		}
		d.Close()
	})
}
