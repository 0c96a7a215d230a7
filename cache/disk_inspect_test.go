package cache

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestInspectTellsWhatIsInUse(t *testing.T) {
	dir := t.TempDir()
	d := openDisk(t, dir, nil)
	tidied(d)
	table := NewTable(d, nil)
	for _, n := range []Name{cat, {"s", "/dog", ""}, {"t", "/cow", ""}} {
		table.Commit(table.Lease(n), newEntry(1))
		put(t, d, Key{n.Source, n.Image, Composite, newEntry(1).Digest}, strings.Repeat("x", 5000))
	}
	settle(d)
	is := func(sources, images, things int, freeable int64) {
		t.Helper()
		r, err := Inspect(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if r.Sources != sources || r.Images != images || r.Names != things || r.Composites != things || r.Freeable.Files != freeable {
			t.Errorf("got %+v", r)
		}
		if s := d.Stats(); freeable == 0 && (r.Bytes != s.Bytes || r.Files != s.Files) {
			t.Errorf("got %+v, %+v", r, s)
		}
	}
	is(2, 3, 3, 0)
	if err := d.Hide("s", "/cat", false); err != nil {
		t.Fatal(err)
	}
	is(2, 2, 2, 3)
	if err := table.PurgeAll("t", Delete); err != nil {
		t.Fatal(err)
	}
	is(1, 1, 1, 6)
	if err := os.WriteFile(filepath.Join(dir, "generations"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	is(0, 0, 0, 9)
}

func TestVerifyFindsWhatIsNotWhatItShouldBe(t *testing.T) {
	dir := t.TempDir()
	d := openDisk(t, dir, nil)
	tidied(d)
	good, other := keyOf("/cat", Original, "x"), keyOf("/cat", Derivative, "y")
	put(t, d, good, "x")
	put(t, d, other, "y")
	folder := d.folder("s", "/cat")
	from := func(k Key) []byte {
		b, err := os.ReadFile(filepath.Join(folder, k.file()))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	forged, err := encodeFile(&fileHeader{Source: "s", Image: "/cat", File: keyOf("", Original, "z").file()}, []byte("not z"))
	if err != nil {
		t.Fatal(err)
	}
	squashed, err := encodeFile(&fileHeader{Source: "s", Image: "/cat", File: keyOf("", Derivative, "z").file(), Zstd: true}, []byte("no zstd"))
	if err != nil {
		t.Fatal(err)
	}
	for file, data := range map[string][]byte{
		keyOf("", Derivative, "w").file(): from(other),                 // in another's place
		keyOf("", Original, "z").file():   forged,                      // whole, and not what it is kept under
		keyOf("", Derivative, "z").file(): squashed,                    // whole, and cannot be restored
		keyOf("", Composite, "z").file():  from(other)[:40],            // cut short
		keyOf("", Composite, "v").file():  []byte("imgcdn1\nand more"), // earlier
		nameFile(""):                      from(other),                 // a thing in a name's place
	} {
		if err := os.WriteFile(filepath.Join(folder, file), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found := make(map[string]bool)
	report := func(path string, err error) {
		found[filepath.Base(path)] = true
		t.Log(err)
	}
	c, err := Verify(t.Context(), dir, false, report)
	if err != nil || c.Files != 8 || c.Damaged != 5 || c.Earlier != 1 || len(found) != 5 || found[good.file()] || found[other.file()] {
		t.Errorf("got %+v, %v, %v", c, err, found)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err := Verify(t.Context(), dir, true, report); err != nil || c.Damaged != 5 {
		t.Errorf("got %+v, %v", c, err)
	}
	if c, err := Verify(t.Context(), dir, false, report); err != nil || c != (DiskCheck{Files: 2, Bytes: c.Bytes}) {
		t.Errorf("got %+v, %v", c, err)
	}
	d = openDisk(t, dir, nil)
	checkDisk(t, d)
	if get(d, good) != "x" || get(d, other) != "y" {
		t.Error("what was whole is gone")
	}
}
