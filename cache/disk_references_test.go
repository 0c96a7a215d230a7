package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// edges looks that every composite in use has its references, and every reference its composite, of a Disk that nobody
// is using and that has met no fault. It returns how many composites there are.
func (d *Disk) edges() (composites int, err error) {
	var errs []error
	references := make(map[string]bool) // by path: a composite tells of it
	err = filepath.WalkDir(d.root, func(path string, f fs.DirEntry, err error) error {
		if err == nil && isReference(f.Name()) {
			references[path] = references[path] || false
			to, stamp, err := d.reference(path)
			h, _, err2 := d.compositeAt(to)
			if err != nil || err2 != nil || h == nil || h.Stamp != stamp {
				errs = append(errs, fmt.Errorf("%s refers to nothing: %v, %v", path, err, err2))
			}
		}
		if err == nil && isComposite(f.Name()) {
			h, _, err := d.compositeAt(path)
			if err != nil || h == nil {
				return fmt.Errorf("%s: %v", path, err)
			}
			composites++
			for _, in := range h.Inputs {
				references[d.referenceTo(in, h.Stamp)] = true
			}
		}
		return err
	})
	for path, told := range references {
		if _, statErr := os.Lstat(path); statErr != nil || !told {
			errs = append(errs, fmt.Errorf("%s: %v, a composite tells of it: %v", path, statErr, told))
		}
	}
	return composites, errors.Join(append(errs, err)...)
}

func checkEdges(t *testing.T, d *Disk, want int) {
	t.Helper()
	checkDisk(t, d)
	if n, err := d.edges(); n != want || err != nil {
		t.Errorf("%d composites, want %d: %v", n, want, err)
	}
}

var marked = []Input{{"marks", "/logo"}, {"s", "/seal"}}

// putMarked puts a composite on each of n images.
func putMarked(t *testing.T, d *Disk, n int, inputs ...Input) (keys []Key) {
	t.Helper()
	for i := range n {
		k := keyOf(fmt.Sprint("/", i), Composite, fmt.Sprint(i, inputs))
		th := &Thing{Body: []byte(strings.Repeat("x", 100)), Inputs: inputs}
		if err := d.Put(t.Context(), k, th, nil); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	return keys
}

func areThere(t *testing.T, d *Disk, keys []Key, want bool) {
	t.Helper()
	for _, k := range keys {
		if _, err := d.Get(t.Context(), k); (err == nil) != want {
			t.Errorf("%s: %v, want it there: %v", k.Image, err, want)
		}
		found, err := d.Find(t.Context(), k)
		f := found.File
		if (err == nil) != want {
			t.Errorf("%s: Find: %v, want it there: %v", k.Image, err, want)
		}
		if f != nil {
			f.Close()
		}
	}
}

// Whatever hides an input hides the composites in the same instant, before anything is freed, and after a restart.
func TestHidingAnInputHidesItsComposites(t *testing.T) {
	for _, test := range []struct {
		rule  string
		purge func(*Table) error
		free  func(*Disk) (Removed, error)
		gone  bool
	}{
		{"a purge of the first input", func(t *Table) error { return t.Purge("marks", "/logo", Delete) },
			func(d *Disk) (Removed, error) { return d.Remove(context.Background(), "marks", "/logo") }, true},
		{"a purge of the second", func(t *Table) error { return t.Purge("s", "/seal", Delete) },
			func(d *Disk) (Removed, error) { return d.Remove(context.Background(), "s", "/seal") }, true},
		{"a purge of the input's source", func(t *Table) error { return t.PurgeAll("marks", Delete) },
			func(d *Disk) (Removed, error) { return d.RemoveAll(context.Background(), "marks") }, true},
		{"a purge of the images' source", func(t *Table) error { return t.PurgeAll("s", Delete) },
			func(d *Disk) (Removed, error) { return d.RemoveAll(context.Background(), "s") }, true},
		{"a purge of everything", func(t *Table) error { return t.PurgeAll("", Delete) },
			func(d *Disk) (Removed, error) { return d.RemoveAll(context.Background(), "") }, true},
		{"a purge that keeps bytes", func(t *Table) error { return t.Purge("marks", "/logo", Revalidate) },
			func(d *Disk) (Removed, error) { return d.Remove(context.Background(), "marks", "/logo") }, false},
	} {
		t.Run(test.rule, func(t *testing.T) {
			for _, restart := range []string{"", "before freeing", "and freed by it"} {
				dir := t.TempDir()
				d := openDisk(t, dir, nil)
				table := NewTable(d, nil)
				keys := putMarked(t, d, 3, marked...)
				areThere(t, d, keys, true)
				if err := test.purge(table); err != nil {
					t.Fatal(err)
				}
				areThere(t, d, keys, !test.gone)
				if restart != "" {
					if err := d.Close(); err != nil {
						t.Fatal(err)
					}
					var err error
					if d, err = newDisk(osFiles{}, dir, nil); err != nil {
						t.Fatal(err)
					}
					defer d.Close()
					areThere(t, d, keys, !test.gone)
					if restart == "and freed by it" {
						d.tidy()
						checkDisk(t, d)
					} else {
						d.work.Go(d.tidy) // meanwhile
					}
				}
				r, err := test.free(d)
				switch {
				case err != nil || test.gone != (r.Composites == 3) || test.gone != (r.Bytes >= 300):
					t.Errorf("restart %q: freed %+v, %v", restart, r, err)
				case test.gone:
					checkEdges(t, d, 0)
				default:
					checkEdges(t, d, 3)
				}
				if again, err := test.free(d); again != (Removed{}) || err != nil {
					t.Errorf("restart %q: freed %+v again, %v", restart, again, err)
				}
				if s := d.Stats(); s.Damaged != 0 || s.Faults != 0 {
					t.Errorf("restart %q: %+v", restart, s)
				}
			}
		})
	}
}

// What is put again between a purge of an input and the freeing stays: it has a stamp of its own.
func TestACompositeThatIsPutAgainBeforeFreeingStays(t *testing.T) {
	d := openDisk(t, t.TempDir(), nil)
	table := NewTable(d, nil)
	keys := putMarked(t, d, 3, marked...)
	if err := table.Purge("marks", "/logo", Delete); err != nil {
		t.Fatal(err)
	}
	putMarked(t, d, 1, marked...)
	areThere(t, d, keys[:1], true)
	areThere(t, d, keys[1:], false)
	if r, err := d.Remove(t.Context(), "marks", "/logo"); err != nil || r.Composites != 2 {
		t.Errorf("removed %+v, %v", r, err)
	}
	areThere(t, d, keys[:1], true)
	checkEdges(t, d, 1)
	if err := table.Purge("s", "/0", Delete); err != nil {
		t.Fatal(err)
	}
	if r, err := d.Remove(t.Context(), "s", "/0"); err != nil || r.Composites != 1 {
		t.Errorf("removed %+v, %v", r, err)
	}
	checkEdges(t, d, 0)
}

// A purge of an input comes while a composite is put: after its references are written, and before it has its place.
func TestAPurgeOfAnInputWhileACompositeIsPut(t *testing.T) {
	for _, valid := range []bool{false, true} {
		d := openDisk(t, t.TempDir(), nil)
		k, asked := keyOf("/0", Composite, "x"), 0
		err := d.Put(t.Context(), k, &Thing{Body: []byte("x"), Inputs: marked}, func() bool {
			if asked++; asked < 3 { // once for each reference
				return true
			}
			if err := d.Hide("marks", "/logo", false); err != nil {
				t.Error(err)
			}
			return valid // even if it has not heard of the purge
		})
		if err != nil || asked != 3 {
			t.Errorf("%v, valid was asked %d times", err, asked)
		}
		areThere(t, d, []Key{k}, false)
		if r, err := d.Remove(t.Context(), "marks", "/logo"); r != (Removed{}) || err != nil {
			t.Errorf("removed %+v, %v", r, err)
		}
		checkEdges(t, d, 0)
	}
}

// References go with their composites, whatever takes those, and not before.
func TestTheEvictionTakesReferencesWithTheirComposites(t *testing.T) {
	d, err := newDisk(osFiles{}, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	d.all = true
	keys := putMarked(t, d, 40, marked...)
	for n := len(keys); n > 0; {
		d.evictSome(func() bool { return true })
		left, err := d.edges()
		if err != nil || left > n {
			t.Fatalf("%d composites are left of %d, %v", left, n, err)
		}
		n = left
	}
	for d.inodes.Load() > 0 { // folders that have become empty
		d.evictSome(func() bool { return true })
	}
	if s := d.Stats(); s.Bytes != 0 || s.Evicted != 40 || s.Faults != 0 {
		t.Errorf("%+v", s)
	}

	// What a crash leaves: references without a composite, and composites without a reference.
	for i, k := range putMarked(t, d, 40, marked...) {
		path, _ := d.path(&k)
		h, _, err := d.compositeAt(path)
		if err != nil || h == nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			path = d.referenceTo(h.Inputs[0], h.Stamp)
		}
		if removed, err := d.remove(path); !removed || err != nil {
			t.Fatalf("%v, %v", removed, err)
		}
		areThere(t, d, []Key{k}, false)
	}
	for d.inodes.Load() > 0 {
		d.evictSome(func() bool { return true })
	}
	if err := d.check(); err != nil || d.Stats().Faults != 0 {
		t.Errorf("%v, %+v", err, d.Stats())
	}
}

func TestFilesOfReferences(t *testing.T) {
	dir := t.TempDir()
	d := openDisk(t, dir, nil)
	tidied(d)
	keys := putMarked(t, d, 3, marked...)
	r, err := Inspect(t.Context(), dir)
	if s := d.Stats(); err != nil || r.Composites != 3 || r.References != 6 || r.Bytes != s.Bytes || r.Files != s.Files {
		t.Errorf("%+v, %v, %+v", r, err, s)
	}
	if c, err := Verify(t.Context(), dir, false, func(path string, err error) { t.Error(path, err) }); err != nil || c.Files != 9 || c.Damaged != 0 {
		t.Errorf("%+v, %v", c, err)
	}

	// One that is damaged, one that is another's, one that leads out of the cache: none removes anything.
	folder := d.folder("marks", "/logo")
	files := d.files("marks", "/logo")
	outside := filepath.Join(dir, "c-outside")
	forged, err := encodeFile(&fileHeader{Source: "marks", Image: "/logo", File: files[1]}, []byte("../c-outside"))
	if err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(filepath.Join(folder, files[0]))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{filepath.Join(folder, files[0]): first[:40], filepath.Join(folder, files[1]): forged, filepath.Join(folder, files[2]): first, outside: first} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := Verify(t.Context(), dir, false, func(path string, err error) { t.Log(path, err) }); err != nil || c.Files != 9 || c.Damaged != 3 {
		t.Errorf("%+v, %v", c, err)
	}
	if err := d.Hide("marks", "/logo", false); err != nil {
		t.Fatal(err)
	}
	if r, err := d.Remove(t.Context(), "marks", "/logo"); err != nil || r != (Removed{}) || d.Stats().Damaged != 3 {
		t.Errorf("removed %+v, %v, %+v", r, err, d.Stats())
	}
	areThere(t, d, keys, false)
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
	putMarked(t, d, 3, marked...)
	areThere(t, d, keys, true)
	checkEdges(t, d, 3)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(outside); err != nil {
		t.Fatal(err)
	}
	if files, _, err := Clear(t.Context(), dir); err != nil || files != 10 {
		t.Errorf("Clear: %d files, %v", files, err)
	}
}

func BenchmarkDiskPutComposite(b *testing.B) {
	for _, n := range []int{0, 1, 2} {
		b.Run(fmt.Sprint("marks=", n), func(b *testing.B) {
			d := openDisk(b, b.TempDir(), nil)
			tidied(d)
			th := &Thing{Body: make([]byte, 35_000), Inputs: marked[:n]}
			for i := 0; b.Loop(); i++ {
				if err := d.Put(b.Context(), keyOf(fmt.Sprint("/", i%100), Composite, fmt.Sprint(i)), th, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
