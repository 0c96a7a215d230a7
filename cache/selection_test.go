package cache

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"testing"
)

func TestTagsOf(t *testing.T) {
	h := http.Header{}
	h.Add("Surrogate-Key", "a b  c")
	h.Add("Surrogate-Key", "d")
	h.Add("Cache-Tag", "e,f, g ,,")
	h.Add("Edge-Cache-Tag", "h")
	h.Add("Xkey", "i, j")
	h.Add("Cache-Groups", `"k l", "m";p=1, 7, ("n")`)
	want := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k l", "m"}
	if got := TagsOf(h); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := TagsOf(http.Header{"Cache-Groups": {`"k`}}); got != nil {
		t.Errorf("a list that is not well formed has the tags %q", got)
	}
}

// An image has the marks of its folders, and no folder that only begins alike has the same by design.
func TestFolderMarks(t *testing.T) {
	got := slices.Collect(folderMarks("s", "/a/bc/d.jpg"))
	want := []Mark{folderMark(Folder{"s", "/a/"}), folderMark(Folder{"s", "/a/bc/"})}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := slices.Collect(folderMarks("s", "/a.jpg")); got != nil {
		t.Errorf("an image in no folder has the marks %v", got)
	}
	seen := make(map[Mark]int)
	for i := range 10_000 {
		seen[tagMark(fmt.Sprint("product-", i))]++
	}
	// 10,000 tags in 16,384 marks take 16,384·(1-e^(-10,000/16,384)) = 7,485 of them if they spread as at random.
	if n := len(seen); n < 7300 || n > 7700 {
		t.Errorf("10,000 tags have %d marks", n)
	}
	// These are in files, and must not change.
	if a, b := tagMark("product-17"), folderMark(Folder{"photos", "/2026/"}); a != 8262 || b != 5838 {
		t.Errorf("marks are %d and %d", a, b)
	}
}

func tagged(id int64, tags string) *Entry {
	e := newEntry(id)
	if tags != "" {
		e.Header = http.Header{"Surrogate-Key": {tags}}
	}
	return e
}

func TestPurgeOfASelection(t *testing.T) {
	in, out := Name{"s", "/a/b/cat", ""}, Name{"s", "/a/bc/cat", ""}
	for _, tt := range []struct {
		rule string
		s    Selection
		tags string // of in
	}{
		{"a folder", Selection{Folders: []Folder{{"s", "/a/b/"}}}, ""},
		{"a folder above, one of several", Selection{Folders: []Folder{{"t", "/a/bc/"}, {"s", "/a/b/"}}}, ""},
		{"a tag", Selection{Tags: []string{"x"}}, "w x"},
	} {
		for _, mode := range []Mode{Delete, Revalidate, Stale} {
			t.Run(fmt.Sprintf("%s/mode %d", tt.rule, mode), func(t *testing.T) {
				tableTests(t, func(t *tableTest) {
					for _, n := range []Name{in, {"s", "/a/b/cat", "v"}} {
						t.table.Commit(t.table.Lease(n), tagged(1, tt.tags))
					}
					t.table.Commit(t.table.Lease(out), tagged(2, "w"))
					late, lateOut := t.table.Lease(in), t.table.Lease(out)
					if err := t.table.PurgeSelection(tt.s, mode); err != nil {
						t.Fatal(err)
					}

					// What was asked for before the purge never becomes the value, whatever it has for tags.
					if late.flight() == t.table.Lease(in).flight() {
						t.Error("a request after the purge joins a flight from before")
					}
					for _, tags := range []string{tt.tags, "other"} {
						if t.table.Commit(late, tagged(3, tags)) {
							t.Errorf("a fill of before, with the tags %q, is the value", tags)
						}
					}
					if e := tagged(3, tt.tags); late.Alive() && !late.purged(e) {
						t.Error("a response that a purge has overtaken may be kept")
					}
					if !t.table.Commit(lateOut, tagged(2, "w")) {
						t.Error("a fill of another image is lost")
					}

					switch l, e := t.table.Open(in); {
					case mode == Delete && e != nil:
						t.Errorf("it is still known: %+v", e)
					case mode != Delete && (e == nil || e.stale != mode.expiry()):
						t.Errorf("it is %+v", e)
					case !l.Alive():
						t.Error("the lease is dead")
					}
					t.known(out, 2)
					if mode == Delete {
						t.known(in, 0)
						t.known(Name{"s", "/a/b/cat", "v"}, 0)
					}
					if l := t.table.Lease(in); !l.noCache() || !t.table.Commit(l, tagged(4, tt.tags)) {
						t.Error("what was asked for after the purge is not the value")
					}
					t.known(in, 4)
				})
			})
		}
	}
}

// Two requests meet an image that has fallen. The second does not end the fill of the first.
func TestAnImageFallsOnce(t *testing.T) {
	tableTests(t, func(t *tableTest) {
		n := Name{"s", "/a/cat", ""}
		t.table.Commit(t.table.Lease(n), newEntry(1))
		if err := t.table.PurgeSelection(Selection{Folders: []Folder{{"s", "/a/"}}}, Delete); err != nil {
			t.Fatal(err)
		}
		first, _ := t.table.Open(n)
		second, _ := t.table.Open(n)
		if !t.table.Commit(first, newEntry(2)) || !second.Alive() {
			t.Error("a fill was lost")
		}
		t.known(n, 2)
	})
}

// A failure that takes the place of an image keeps its tags: a purge by one of them is a purge of the failure.
func TestAFailureKeepsTheTags(t *testing.T) {
	tableTests(t, func(t *tableTest) {
		t.table.Commit(t.table.Lease(cat), tagged(1, "x"))
		failure := &Entry{Status: 502, Size: 2}
		t.table.Commit(t.table.Lease(cat), failure)
		if err := t.table.PurgeSelection(Selection{Tags: []string{"x"}}, Delete); err != nil {
			t.Fatal(err)
		}
		if _, e := t.table.Open(cat); e != nil {
			t.Errorf("known: %+v", e)
		}
	})
}

// Marks are bounded, and go with a purge of everything.
func TestMarksAreBounded(t *testing.T) {
	table := NewTable(nil, nil)
	for i := range 300 {
		tags := make([]string, 1000)
		for j := range tags {
			tags[j] = fmt.Sprint(i, ".", j)
		}
		if err := table.PurgeSelection(Selection{Tags: tags}, Delete); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(table.gens.Load().Marks); n > 1<<markBits {
		t.Errorf("%d marks", n)
	}
	if err := table.PurgeAll("", Delete); err != nil {
		t.Fatal(err)
	}
	if n := len(table.gens.Load().Marks); n != 0 {
		t.Errorf("%d marks after a purge of everything", n)
	}
}

// writtenThrough waits until all that was put is where it belongs.
func writtenThrough(s Store) {
	switch s := s.(type) {
	case *Disk:
		settle(s)
	case *tiered:
		for waiting := 1; waiting > 0; runtime.Gosched() {
			s.mu.Lock()
			waiting = len(s.waiting)
			s.mu.Unlock()
		}
		writtenThrough(s.slow)
	}
}

// After a sweep there is nothing left of what was purged, of names that memory has forgotten as well, and all else is there.
func TestSweep(t *testing.T) {
	ctx := context.Background()
	for _, tt := range []struct {
		name string
		open func(t *testing.T) Store
	}{
		{"memory", func(t *testing.T) Store { return NewMemory(0) }},
		{"disk", func(t *testing.T) Store { return openDisk(t, t.TempDir(), nil) }},
		{"tiers", func(t *testing.T) Store { return Tiered(NewMemory(0), openDisk(t, t.TempDir(), nil)) }},
	} {
		for _, s := range []Selection{{Folders: []Folder{{"s", "/a/"}}}, {Tags: []string{"x"}}} {
			t.Run(fmt.Sprintf("%s/%d tags", tt.name, len(s.Tags)), func(t *testing.T) {
				store := tt.open(t)
				defer store.Close()
				table := NewTable(store, nil)
				thing := func(image string, k Kind) Key { return Key{"s", image, k, DigestOf([]byte(image))} }
				images := []string{"/a/1", "/a/2", "/a/b/3", "/ab/4", "/5"}
				for i, image := range images {
					tags := "x"
					if i >= 3 {
						tags = "y"
					}
					for _, k := range []Kind{Original, Derivative} {
						if err := store.Put(ctx, thing(image, k), &Thing{Body: []byte("0123456789")}, nil); err != nil {
							t.Fatal(err)
						}
					}
					table.Commit(table.Lease(Name{"s", image, ""}), tagged(int64(i), tags))
				}
				writtenThrough(store)
				known := table
				if len(s.Folders) > 0 || keeperOf(store) != nil {
					known = NewTable(store, nil) // one that has read no name yet
				}
				if err := known.PurgeSelection(s, Delete); err != nil {
					t.Fatal(err)
				}
				known.Open(Name{"s", "/a/2", ""}) // a request meets it before the sweep does
				removed, err := known.Sweep(ctx, store, s)
				if err != nil {
					t.Fatal(err)
				}
				want := Removed{Originals: 3, Derivatives: 3}
				if removed.Bytes = 0; keeperOf(store) == nil && len(s.Tags) > 0 {
					want = Removed{Originals: 2, Derivatives: 2} // what the request met went at once, uncounted
				}
				if removed != want {
					t.Errorf("removed %+v, want %+v", removed, want)
				}
				for i, image := range images {
					for _, k := range []Kind{Original, Derivative} {
						if _, err := store.Get(ctx, thing(image, k)); (err == nil) != (i >= 3) {
							t.Errorf("%s %d: %v", image, k, err)
						}
					}
				}
				if removed, err = known.Sweep(ctx, store, s); err != nil || removed != (Removed{}) {
					t.Errorf("a second sweep removes %+v, %v", removed, err)
				}
			})
		}
	}
}
