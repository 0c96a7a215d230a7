package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/imagecdn/imagecdn/internal/wire"
)

func openDisk(t testing.TB, dir string, o *DiskOptions) *Disk {
	t.Helper()
	d, err := OpenDisk(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return d
}

// tidied waits until d has counted what is there.
func tidied(d *Disk) {
	for all := false; !all; {
		d.account.RLock()
		all = d.all
		d.account.RUnlock()
		runtime.Gosched()
	}
}

// settle waits until all names are written.
func settle(d *Disk) {
	for waiting := 1; waiting > 0; {
		d.waiting.Lock()
		waiting = len(d.unwritten)
		d.waiting.Unlock()
		runtime.Gosched()
	}
}

// files lists what is in an image's folder.
func (d *Disk) files(source, image string) []string {
	files, _ := os.ReadDir(d.folder(source, image))
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	return names
}

// check compares the account with what is there, of a Disk that nobody is using.
func (d *Disk) check() error {
	var errs []error
	var size, files int64
	// walk looks at what is below a folder. Folders of images are so much deeper.
	var walk func(path string, depth int, counted bool)
	walk = func(path string, depth int, counted bool) {
		list, err := d.fs.list(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		if depth == 0 && counted && err == nil {
			size, files = size+blockSize, files+1
		}
		for _, f := range list {
			below := filepath.Join(path, f.Name())
			switch {
			case f.IsDir():
				walk(below, depth-1, counted && !strings.HasSuffix(f.Name(), uncountedSuffix))
			case isTemp(f.Name()):
				if !strings.HasPrefix(path, d.trash()) {
					errs = append(errs, fmt.Errorf("a temporary file is left: %s", below))
				}
			case counted:
				info, err := d.fs.stat(below)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				size, files = size+blocks(info.Size()), files+1
			}
		}
	}
	walk(filepath.Join(d.dir, d.epoch), 3, true)
	walk(d.trash(), 1, true)
	if b, f := d.bytes.Load(), d.inodes.Load(); b != size || f != files {
		errs = append(errs, fmt.Errorf("%d bytes and %d files are on the account, %d and %d on the disk", b, f, size, files))
	}
	return errors.Join(errs...)
}

func checkDisk(t *testing.T, d *Disk) {
	t.Helper()
	tidied(d)
	settle(d)
	if err := d.check(); err != nil {
		t.Error(err)
	}
}

func put(t testing.TB, d *Disk, k Key, body string) {
	t.Helper()
	if err := d.Put(context.Background(), k, &Thing{Header: http.Header{"Content-Type": {"image/png"}}, Body: []byte(body)}, nil); err != nil {
		t.Fatal(err)
	}
}

func get(d *Disk, k Key) string {
	th, err := d.Get(context.Background(), k)
	if err != nil {
		return ""
	}
	return string(th.Body)
}

func keyOf(image string, kind Kind, body string) Key {
	return Key{"s", image, kind, DigestOf([]byte(body))}
}

func TestADamagedFileIsAMiss(t *testing.T) {
	t.Parallel()
	d := openDisk(t, t.TempDir(), nil)
	body := "the bytes of a small picture"
	k := keyOf("/cat", Original, body)
	put(t, d, k, body)
	if err := d.SaveName(cat, newEntry(1), nil); err != nil {
		t.Fatal(err)
	}
	settle(d)
	folder := d.folder("s", "/cat")
	for name, read := range map[string]func() string{
		k.file(): func() string { return get(d, k) },
		nameFile(""): func() string {
			if e := d.LoadName(cat); e != nil {
				return fmt.Sprint(e.Size, e.Status, e.Digest)
			}
			return ""
		},
	} {
		path := filepath.Join(folder, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		good := read()
		if good == "" {
			t.Fatalf("%s cannot be read", name)
		}
		try := func(what string, data []byte) {
			t.Helper()
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			before := d.Stats()
			if got := read(); got != "" {
				t.Errorf("%s: %s: got %q", name, what, got)
			}
			if after := d.Stats(); after.Damaged != before.Damaged+1 || after.Faults != before.Faults {
				t.Errorf("%s: %s: counted %+v after %+v", name, what, after, before)
			}
			if _, err := os.Lstat(path); err == nil {
				t.Errorf("%s: %s: the file is still there", name, what)
			}
		}
		for i := range whole {
			for _, flip := range []byte{0x01, 0x80, 0xff} {
				data := bytes.Clone(whole)
				data[i] ^= flip
				if slices.Contains(earlierMagics, string(data[:len(entryMagic)])) {
					continue // a miss as well, and no damage
				}
				try(fmt.Sprintf("byte %d by %#x", i, flip), data)
			}
			try(fmt.Sprintf("%d bytes", i), whole[:i])
		}
		try("a byte more", append(bytes.Clone(whole), 0))
		try("another format", append([]byte("imgcdn4\n"), whole[8:]...))
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := read(); got != good {
			t.Errorf("%s: whole again: got %q", name, got)
		}
	}
}

// A file counts for nothing in another's place.
func TestAFileInAnothersPlaceIsAMiss(t *testing.T) {
	d := openDisk(t, t.TempDir(), nil)
	one, two, other := keyOf("/cat", Original, "one"), keyOf("/cat", Derivative, "two"), keyOf("/dog", Original, "one")
	for _, k := range []Key{two, other} {
		put(t, d, one, "one")
		put(t, d, k, "two")
		if err := os.Rename(filepath.Join(d.folder("s", "/cat"), one.file()), filepath.Join(d.folder(k.Source, k.Image), k.file())); err != nil {
			t.Fatal(err)
		}
		if got := get(d, k); got != "" {
			t.Errorf("got %q", got)
		}
	}
	for _, n := range []Name{cat, {"s", "/cat", "v"}} {
		if err := d.SaveName(n, newEntry(1), nil); err != nil {
			t.Fatal(err)
		}
	}
	settle(d)
	if err := os.Rename(filepath.Join(d.folder("s", "/cat"), nameFile("")), filepath.Join(d.folder("s", "/cat"), nameFile("v"))); err != nil {
		t.Fatal(err)
	}
	if e := d.LoadName(Name{"s", "/cat", "v"}); e != nil {
		t.Errorf("got %+v", e)
	}
}

func TestDamagedGenerations(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "generations")
	body := "bytes"
	k := keyOf("/cat", Original, body)
	var seq uint64
	// fill opens the directory, looks that nothing of before is there, and makes something that is.
	fill := func(what string) {
		t.Helper()
		d, err := OpenDisk(dir, nil)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		table := NewTable(d, nil)
		if e := table.Lookup(table.Lease(cat)); e != nil || get(d, k) != "" {
			t.Errorf("%s: what was there is still known", what)
		}
		if what != "at first" && (!table.Lease(cat).noCache() || d.Stats().Damaged != 1) {
			t.Errorf("%s: not everything counts as purged, or %+v", what, d.Stats())
		}
		if g := d.Generations(); g.Seq < seq {
			t.Errorf("%s: the generation went back from %d to %d", what, seq, g.Seq)
		}
		if err := table.PurgeAll("s", Delete); err != nil {
			t.Fatal(err)
		}
		put(t, d, k, body)
		table.Commit(table.Lease(cat), newEntry(1))
		settle(d)
		seq = d.Generations().Seq
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	fill("at first")

	// Undamaged, all is there: otherwise the rest would prove nothing.
	d, err := OpenDisk(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d.LoadName(cat) == nil || get(d, k) != body || d.Generations().Seq != seq {
		t.Fatal("what was kept is not there")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}

	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		var f generationsFile
		damaged := bytes.Clone(whole)
		damaged[i] ^= 1 << (i % 8)
		if f.decode(damaged) == nil || f.decode(whole[:i]) == nil {
			t.Errorf("byte %d flipped, or the last, goes unnoticed", i)
		}
	}
	for i, damage := range []func(whole []byte) []byte{
		func(whole []byte) []byte { return nil },
		func(whole []byte) []byte { return whole[:1] },
		func(whole []byte) []byte { return whole[:len(whole)/2] },
		func(whole []byte) []byte { return whole[:len(whole)-1] },
		func(whole []byte) []byte { return append(whole, '\n') },
		func(whole []byte) []byte { whole[len(whole)/3] ^= 1; return whole },
		func(whole []byte) []byte { return bytes.Replace(whole, []byte(`"seq":`), []byte(`"seq":0`), 1) },
		func(whole []byte) []byte {
			line, _, _ := bytes.Cut(whole, []byte("\n"))
			line = bytes.Replace(line, []byte(`"format":1`), []byte(`"format":2`), 1)
			return fmt.Appendf(nil, "%s\n%s\n", line, DigestOf(line))
		},
	} {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, damage(whole), 0o600); err != nil {
			t.Fatal(err)
		}
		fill(fmt.Sprint("damage ", i))
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	fill("missing")

	// What cannot be read at all is an error, not a new beginning that might be forgotten.
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	if d, err := OpenDisk(dir, nil); err == nil {
		d.Close()
		t.Error("a directory in the place of the generations was accepted")
	}
}

func TestADirectoryIsOpenedOnce(t *testing.T) {
	dir := t.TempDir()
	d := openDisk(t, dir, nil)
	if _, err := OpenDisk(dir, nil); err == nil || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), dir) {
		t.Errorf("opened twice: %v", err)
	}
	put(t, d, keyOf("/cat", Original, "x"), "x") // the first is unharmed
	checkDisk(t, d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	openDisk(t, dir, nil)
	if _, err := OpenDisk(filepath.Join(dir, "LOCK"), nil); err == nil {
		t.Error("a file was opened as a directory")
	}
}

// crash copies what is on the disk while d is open, and opens the copy.
func crash(t *testing.T, d *Disk) *Disk {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(d.dir)); err != nil {
		t.Fatal(err)
	}
	return openDisk(t, dir, nil)
}

func TestAcknowledgedPurgesSurviveAKill(t *testing.T) {
	t.Parallel()
	dog, owl, cow := Name{Source: "s", Image: "/dog"}, Name{Source: "t", Image: "/owl"}, Name{Source: "u", Image: "/cow"}
	purges := []struct {
		rule  string
		purge func(*Table) error
		gone  []Name
		kept  []Name
	}{
		{"of an image", func(t *Table) error { return t.Purge("s", "/cat", Delete) }, []Name{cat}, []Name{dog, owl, cow}},
		{"of an image, with Revalidate", func(t *Table) error { return t.Purge("s", "/cat", Revalidate) }, []Name{cat}, []Name{dog, owl, cow}},
		{"of a source", func(t *Table) error { return t.PurgeAll("s", Delete) }, []Name{cat, dog}, []Name{owl, cow}},
		{"of two sources", func(t *Table) error { return errors.Join(t.PurgeAll("s", Delete), t.PurgeAll("t", Delete)) }, []Name{cat, dog, owl}, []Name{cow}},
		{"of everything", func(t *Table) error { return t.PurgeAll("", Delete) }, []Name{cat, dog, owl, cow}, nil},
	}
	for _, p := range purges {
		t.Run(p.rule, func(t *testing.T) {
			d := openDisk(t, t.TempDir(), nil)
			table := NewTable(d, nil)
			for _, n := range []Name{cat, dog, owl, cow} {
				table.Commit(table.Lease(n), newEntry(1))
				put(t, d, Key{n.Source, n.Image, Original, newEntry(1).Digest}, "x")
			}
			settle(d)
			if err := p.purge(table); err != nil {
				t.Fatal(err)
			}
			after := crash(t, d)
			table = NewTable(after, nil)
			for _, n := range p.gone {
				if e := table.Lookup(table.Lease(n)); e != nil || !table.Lease(n).noCache() {
					t.Errorf("%v: after the crash it is known as %+v", n, e)
				}
				if p.rule != "of an image, with Revalidate" && get(after, Key{n.Source, n.Image, Original, newEntry(1).Digest}) != "" {
					t.Errorf("%v: its bytes are there", n)
				}
			}
			for _, n := range p.kept {
				if e := table.Lookup(table.Lease(n)); e == nil || get(after, Key{n.Source, n.Image, Original, newEntry(1).Digest}) != "x" {
					t.Errorf("%v: it is gone", n)
				}
			}
			tidied(after)
			if err := errors.Join(after.Close(), after.check()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAFailingDisk(t *testing.T) {
	t.Parallel()
	fail := func(t *testing.T, d *Disk, what string, do func() error) {
		t.Helper()
		before := d.Stats().Faults
		if err := do(); err == nil {
			t.Errorf("%s succeeded", what)
		}
		if d.Stats().Faults == before {
			t.Errorf("%s: no fault was counted", what)
		}
	}
	// With a file in the place of a directory nothing below can be made, as on a full or read-only disk.
	t.Run("a file in the place of the epoch", func(t *testing.T) {
		d := openDisk(t, t.TempDir(), nil)
		tidied(d)
		table := NewTable(d, nil)
		if err := os.WriteFile(filepath.Join(d.dir, d.epoch), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		k := keyOf("/cat", Original, "x")
		fail(t, d, "Put", func() error { return d.Put(context.Background(), k, &Thing{Body: []byte("x")}, nil) })
		fail(t, d, "Get", func() error { _, err := d.Get(context.Background(), k); return err })
		fail(t, d, "Hide", func() error { return d.Hide("s", "/cat", false) })
		fail(t, d, "Hide of names", func() error { return d.Hide("s", "/cat", true) })
		before := d.Stats().Faults
		if !table.Commit(table.Lease(cat), newEntry(1)) {
			t.Error("a name that cannot be kept was refused")
		}
		settle(d)
		if e := table.Lookup(table.Lease(cat)); e == nil || d.Stats().Faults == before {
			t.Errorf("it is known as %v, faults %d after %d", e, d.Stats().Faults, before)
		}
	})
	t.Run("a directory in the place of a file", func(t *testing.T) {
		d := openDisk(t, t.TempDir(), nil)
		k := keyOf("/cat", Original, "x")
		tidied(d)
		folder := d.folder("s", "/cat")
		if err := errors.Join(d.makeFolder(folder), os.MkdirAll(filepath.Join(folder, k.file(), "x"), 0o700)); err != nil {
			t.Fatal(err)
		}
		fail(t, d, "Get", func() error { _, err := d.Get(context.Background(), k); return err })
		if err := d.Hide("s", "/cat", false); err != nil {
			t.Errorf("Hide: %v", err)
		}
		if _, err := d.Remove(context.Background(), "s", "/cat"); err != nil {
			t.Errorf("Remove: %v", err)
		}
		put(t, d, k, "x")
		if got := get(d, k); got != "x" {
			t.Errorf("got %q", got)
		}
		checkDisk(t, d)
	})
	t.Run("the generations cannot be replaced", func(t *testing.T) {
		d := openDisk(t, t.TempDir(), nil)
		table := NewTable(d, nil)
		table.Commit(table.Lease(cat), newEntry(1))
		settle(d)
		path := filepath.Join(d.dir, "generations")
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Remove(path), os.MkdirAll(filepath.Join(path, "x"), 0o700)); err != nil {
			t.Fatal(err)
		}
		fail(t, d, "PurgeAll", func() error { return table.PurgeAll("", Delete) })
		if e := table.Lookup(table.Lease(cat)); e != nil {
			t.Errorf("what was purged is served: %+v", e)
		}
		// Names of a generation that was not kept are not kept either.
		table.Commit(table.Lease(cat), newEntry(2))
		settle(d)
		if err := errors.Join(os.RemoveAll(path), os.WriteFile(path, whole, 0o600)); err != nil {
			t.Fatal(err)
		}
		after := crash(t, d)
		if e := after.LoadName(cat); e != nil && e.Size == 2 {
			t.Errorf("after a crash there is a name of a generation that never was")
		}
		if err := table.PurgeAll("", Delete); err != nil {
			t.Fatal(err)
		}
		table.Commit(table.Lease(cat), newEntry(3))
		settle(d)
		if e := d.LoadName(cat); e == nil || e.Size != 3 {
			t.Errorf("got %+v", e)
		}
		checkDisk(t, d)
	})
	t.Run("somebody removed the trash", func(t *testing.T) {
		d := openDisk(t, t.TempDir(), nil)
		put(t, d, keyOf("/cat", Original, "x"), "x")
		tidied(d)
		if err := os.RemoveAll(filepath.Join(d.dir, "trash")); err != nil {
			t.Fatal(err)
		}
		if err := d.Hide("s", "/cat", false); err != nil {
			t.Errorf("Hide: %v", err)
		}
		if got := get(d, keyOf("/cat", Original, "x")); got != "" {
			t.Errorf("a purge was acknowledged, and %q is there", got)
		}
		if r, err := d.Remove(context.Background(), "s", "/cat"); err != nil || r.Originals != 1 {
			t.Errorf("removed %+v, %v", r, err)
		}
	})
	t.Run("somebody removed everything", func(t *testing.T) {
		d := openDisk(t, t.TempDir(), nil)
		tidied(d)
		put(t, d, keyOf("/cat", Original, "x"), "x")
		if err := os.RemoveAll(filepath.Join(d.dir, d.epoch)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(d.Hide("s", "/cat", false), d.Hide("s", "/cat", true)); err != nil {
			t.Errorf("Hide: %v", err)
		}
		put(t, d, keyOf("/cat", Original, "x"), "x")
		if got := get(d, keyOf("/cat", Original, "x")); got != "x" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("the name of a source that is not UTF-8", func(t *testing.T) {
		d := openDisk(t, t.TempDir(), nil)
		fail(t, d, "PurgeAll", func() error { return NewTable(d, nil).PurgeAll("\xff", Delete) })
	})
}

func TestTheDiskIsBounded(t *testing.T) {
	t.Parallel()
	const most = 100 * blockSize
	dir := t.TempDir()
	d := openDisk(t, dir, &DiskOptions{MaxBytes: most, Durable: DurablePurges})
	tidied(d)
	// within waits until there is room, and closes d.
	within := func(d *Disk, most int64) {
		t.Helper()
		tidied(d)
		settle(d)
		for d.bytes.Load() > most {
			runtime.Gosched()
		}
		if err := errors.Join(d.Close(), d.check()); err != nil {
			t.Error(err)
		}
	}
	for i := range 400 {
		put(t, d, Key{"s", fmt.Sprint("/", i%150), Kind(i % 3), DigestOf(fmt.Append(nil, i))}, strings.Repeat("x", 1000+i*20))
		if i%40 == 0 {
			if err := d.SaveName(Name{"s", fmt.Sprint("/", i%150), ""}, newEntry(int64(i)), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	within(d, most)
	if s := d.Stats(); s.Evicted == 0 || s.Faults != 0 || s.Bytes < most/2 {
		t.Errorf("%+v", s)
	}
	bytes := d.bytes.Load()

	d = openDisk(t, dir, &DiskOptions{MaxBytes: most})
	within(d, most)
	if got := d.bytes.Load(); got != bytes {
		t.Errorf("after reopening %d bytes are on the account, were %d", got, bytes)
	}

	// A lower bound takes effect at once.
	within(openDisk(t, dir, &DiskOptions{MaxBytes: most / 4}), most/4)
}

// Counting what was there goes on beside everything else.
func TestTheAccountIsRightWhateverComesBetween(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 6 {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 0))
		d := openDisk(t, dir, &DiskOptions{Durable: DurablePurges, MaxBytes: 400 * blockSize})
		table := NewTable(d, nil)
		if round%2 == 0 {
			tidied(d)
		}
		var wg sync.WaitGroup
		for range 4 {
			r := rand.New(rand.NewPCG(r.Uint64(), 1))
			wg.Go(func() {
				for range 120 {
					source, image := []string{"s", "t"}[r.IntN(2)], fmt.Sprint("/", r.IntN(40))
					k := Key{source, image, Kind(r.IntN(3)), DigestOf([]byte{byte(r.IntN(4))})}
					th := &Thing{Body: make([]byte, r.IntN(3*blockSize))}
					if k.Kind == Composite {
						th.Inputs = []Input{{"s", fmt.Sprint("/", k.Sum[0]%4)}, {"t", fmt.Sprint("/", k.Sum[1]%8)}}
					}
					var err error
					switch op := r.IntN(100); {
					case op < 50:
						err = d.Put(context.Background(), k, th, nil)
					case op < 70:
						table.Commit(table.Lease(Name{source, image, ""}), newEntry(int64(op)))
					case op < 80:
						d.Get(context.Background(), k)
					case op < 90:
						err = table.Purge(source, image, Mode(r.IntN(3)))
					case op < 95:
						_, err = d.Remove(context.Background(), source, image)
					case op < 97:
						err = table.PurgeAll(source, Delete)
					case op < 99:
						_, err = d.RemoveAll(context.Background(), "")
					default:
						_, err = d.Get(context.Background(), k)
						if err == nil { // damage it
							err = os.Truncate(filepath.Join(d.folder(source, image), k.file()), 3)
							d.Get(context.Background(), k)
						}
						err = nil
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		tidied(d)
		settle(d)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		// Damaging a file changes its size behind the account's back, by two blocks at the most.
		if err := d.check(); err != nil && !strings.Contains(err.Error(), "on the account") {
			t.Error(err)
		}
		if s := d.Stats(); s.Damaged == 0 {
			if err := d.check(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestTrashIsFreed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "[odd]*?") // no pattern
	d := openDisk(t, dir, nil)
	tidied(d)
	for _, image := range []string{"/a", "/b", "/c"} {
		put(t, d, keyOf(image, Original, "x"), "x")
		put(t, d, keyOf(image, Derivative, "y"), "yy")
	}
	for _, image := range []string{"/a", "/b"} {
		if err := d.Hide("s", image, false); err != nil {
			t.Fatal(err)
		}
	}
	checkDisk(t, d)
	if r, err := d.Remove(context.Background(), "s", "/a"); err != nil || r.Originals != 1 || r.Derivatives != 1 {
		t.Errorf("removed %+v, %v", r, err)
	}
	if r, err := d.Remove(context.Background(), "s", "/c"); err != nil || r != (Removed{}) {
		t.Errorf("removed %+v of what was not hidden, %v", r, err)
	}
	checkDisk(t, d)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := d.Remove(ended, "s", "/b"); !errors.Is(err, context.Canceled) {
		t.Errorf("Remove: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	// What nobody has freed goes when the directory is opened again.
	d = openDisk(t, dir, nil)
	tidied(d)
	if err := d.Close(); err != nil { // waits for the tidying
		t.Fatal(err)
	}
	d = openDisk(t, dir, nil)
	checkDisk(t, d)
	if got := get(d, keyOf("/c", Original, "x")); got != "x" || d.Stats().Faults != 0 {
		t.Errorf("got %q, %+v", got, d.Stats())
	}
}

// Trash that nobody frees makes room before what is in use does.
func TestTrashMakesRoom(t *testing.T) {
	t.Parallel()
	d := openDisk(t, t.TempDir(), &DiskOptions{MaxBytes: 50 * blockSize})
	tidied(d)
	for i := range 300 {
		image := fmt.Sprint("/", i)
		put(t, d, keyOf(image, Original, "x"), "x")
		if err := d.Hide("s", image, false); err != nil {
			t.Fatal(err)
		}
	}
	for d.bytes.Load() > 50*blockSize {
		d.grow(0, 0)
		runtime.Gosched()
	}
	if err := errors.Join(d.Close(), d.check()); err != nil {
		t.Error(err)
	}
}

func TestTemporaryFilesDoNotLeak(t *testing.T) {
	dir := t.TempDir()
	d := openDisk(t, dir, nil)
	tidied(d)
	put(t, d, keyOf("/cat", Original, "x"), "x")
	folder := d.folder("s", "/cat")
	if err := d.Put(context.Background(), keyOf("/cat", Original, "y"), &Thing{Body: []byte("y")}, func() bool { return false }); err != nil {
		t.Fatal(err)
	}
	// A purge comes while a file is on its way: it is written again, as it is still valid, or not at all.
	n := 0
	err := d.Put(context.Background(), keyOf("/cat", Original, "z"), &Thing{Body: []byte("z")}, func() bool {
		if n++; n == 1 {
			if err := os.Rename(folder, folder+".away"); err != nil { // as Hide does, whose lock is held here
				t.Error(err)
			}
		}
		return true
	})
	if err != nil || n != 2 || get(d, keyOf("/cat", Original, "z")) != "z" {
		t.Errorf("%v, valid was asked %d times", err, n)
	}
	if err := os.RemoveAll(folder + ".away"); err != nil {
		t.Fatal(err)
	}
	d.grow(-2, -2*blockSize) // x and its folder
	checkDisk(t, d)

	// Those of a life that was cut short go when the directory is opened again.
	var temps []string
	for _, dir := range []string{folder, dir} {
		temps = append(temps, filepath.Join(dir, tempPrefix+"anotherlife23-123"))
	}
	for _, temp := range temps {
		if err := os.WriteFile(temp, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = openDisk(t, dir, nil)
	tidied(d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, temp := range temps {
		if _, err := os.Lstat(temp); err == nil {
			t.Errorf("%s is still there", temp)
		}
	}
	if err := d.check(); err != nil {
		t.Error(err)
	}
}

func TestLostFilesAreMisses(t *testing.T) {
	d := openDisk(t, t.TempDir(), nil)
	table := NewTable(d, nil)
	table.Commit(table.Lease(cat), newEntry(1))
	settle(d)
	if _, err := d.remove(filepath.Join(d.folder("s", "/cat"), nameFile(""))); err != nil {
		t.Fatal(err)
	}
	table = NewTable(d, nil)
	if e := table.Lookup(table.Lease(cat)); e != nil || d.Stats().Faults != 0 {
		t.Errorf("got %+v, %+v", e, d.Stats())
	}
	checkDisk(t, d)
}

func TestBodiesThatCompressAreCompressed(t *testing.T) {
	d := openDisk(t, t.TempDir(), nil)
	bmp := bytes.Repeat([]byte("BM pixels, pixels, pixels"), 4000)
	for _, test := range []struct {
		contentType string
		body        []byte
		small       bool
	}{
		{"image/bmp", bmp, true},
		{"image/BMP; q=1", bmp, true},
		{"image/svg+xml; charset=utf-8", bmp, true},
		{"image/jpeg", bmp, false},
		{"", bmp, false},
		{"image/bmp", []byte("BM"), false},
		{"image/bmp", nil, false},
	} {
		k := keyOf("/cat", Original, test.contentType+string(test.body))
		if err := d.Put(context.Background(), k, &Thing{Header: http.Header{"Content-Type": {test.contentType}}, Body: test.body}, nil); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(d.folder("s", "/cat"), k.file())
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if small := info.Size() < int64(len(test.body))/2; small != test.small {
			t.Errorf("%s: %d bytes for %d", test.contentType, info.Size(), len(test.body))
		}
		if th, err := d.Get(context.Background(), k); err != nil || !bytes.Equal(th.Body, test.body) || th.Header.Get("Content-Type") != test.contentType {
			t.Errorf("%s: got %v", test.contentType, err)
		}
		if !test.small {
			continue
		}
		// Whole by its checksum, and yet not what the compressor wrote.
		var h fileHeader
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeEntry(data, &h); err != nil {
			t.Fatal(err)
		}
		if data, err = encodeFile(&h, []byte("no zstd")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := get(d, k); got != "" {
			t.Errorf("got %q", got)
		}
	}
}

// However many purges there are, nothing is left of them but what keeps them.
func TestPurgesLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	d := openDisk(t, t.TempDir(), nil)
	table := NewTable(d, nil)
	for i := range 200 {
		if err := table.Purge("s", fmt.Sprint("/", i), Delete); err != nil {
			t.Fatal(err)
		}
	}
	if table.Len() != 0 || len(table.failed) != 0 || len(d.unwritten) != 0 {
		t.Errorf("%d names, %d failed, %d unwritten", table.Len(), len(table.failed), len(d.unwritten))
	}
	if files, _ := os.ReadDir(d.trash()); len(files) != 0 {
		t.Errorf("%d folders in trash", len(files))
	}
}

// SaveName is one queue: what is saved while much waits does not overtake what waits, nor the other way round.
func TestTheNameLastSavedIsTheOneKept(t *testing.T) {
	t.Parallel()
	d := openDisk(t, t.TempDir(), &DiskOptions{Durable: DurablePurges})
	var last [8]atomic.Int64
	var wg sync.WaitGroup
	for i := range last {
		wg.Go(func() {
			n := Name{"s", fmt.Sprint("/", i), ""}
			for v := range int64(300) {
				if err := d.SaveName(n, newEntry(v), nil); err != nil {
					t.Error(err)
				}
				last[i].Store(v)
				if e := d.LoadName(n); e == nil || e.Size != v {
					t.Errorf("%v: got %+v, want %d", n, e, v)
				}
			}
		})
	}
	wg.Wait()
	settle(d)
	for i := range last {
		if e := d.LoadName(Name{"s", fmt.Sprint("/", i), ""}); e == nil || e.Size != last[i].Load() {
			t.Errorf("/%d: got %+v, want %d", i, e, last[i].Load())
		}
	}
	checkDisk(t, d)
}

// An order in which Hide and a write of the same image can come, each forced by valid, which is asked under the lock
// that Hide takes.
func TestHideAndWritesOfOneImage(t *testing.T) {
	d := openDisk(t, t.TempDir(), nil)
	hidden := make(chan error, 1)
	asked := make(chan struct{})
	purged := new(atomic.Bool)
	valid := func() bool {
		select {
		case <-asked:
		default:
			close(asked)
		}
		return !purged.Load()
	}
	go func() {
		<-asked // the write has the lock, or is about to ask again
		purged.Store(true)
		hidden <- d.Hide("s", "/cat", false)
	}()
	put(t, d, keyOf("/cat", Derivative, "y"), "y")
	if err := d.SaveName(cat, newEntry(1), valid); err != nil {
		t.Fatal(err)
	}
	if err := <-hidden; err != nil {
		t.Fatal(err)
	}
	settle(d)
	if e := d.LoadName(cat); e != nil || len(d.files("s", "/cat")) != 0 {
		t.Errorf("got %+v, and %q are there", e, d.files("s", "/cat"))
	}
	checkDisk(t, d)
}

func TestSourcesAndImagesHaveFoldersOfTheirOwn(t *testing.T) {
	d := openDisk(t, t.TempDir(), nil)
	var folders []string
	for _, k := range []imageKey{{"s", "/a"}, {"s", "/b"}, {"t", "/a"}, {"s/", "a"}, {"", "s/a"}, {"s", "/A"}, {"s", "/../a"}, {"..", "/a"}, {"s", "/caf\xe9"}, {"s", "/caf\xe8"}} {
		f := d.folder(k.source, k.image)
		if rel, err := filepath.Rel(filepath.Join(d.dir, d.epoch), f); err != nil || !filepath.IsLocal(rel) || strings.ContainsAny(rel, `:*?"<>| `) {
			t.Errorf("%q is at %s", k, f)
		}
		folders = append(folders, f)
	}
	slices.Sort(folders)
	if n := len(slices.Compact(slices.Clone(folders))); n != len(folders) {
		t.Errorf("%d images have %d folders", len(folders), n)
	}
}

// encodeFile returns a whole file.
func encodeFile(h *fileHeader, body []byte) ([]byte, error) {
	head, err := encodeEntry(h, body)
	return append(head, body...), err
}

// A file system that says nonsense of a file's size takes no memory.
func TestAFileThatIsTooLargeIsAMiss(t *testing.T) {
	d := openDisk(t, t.TempDir(), nil)
	k := keyOf("/cat", Original, "x")
	put(t, d, k, "x")
	path := filepath.Join(d.folder("s", "/cat"), k.file())
	if err := os.Truncate(path, 1<<40); err != nil {
		t.Skip(err)
	}
	if got := get(d, k); got != "" || d.Stats().Damaged != 1 {
		t.Errorf("got %q, %+v", got, d.Stats())
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("it is still there")
	}
}

// What an earlier version of this package has written is no damage, and of no use.
func TestFilesOfAnEarlierFormatAreMisses(t *testing.T) {
	d := openDisk(t, t.TempDir(), nil)
	k := keyOf("/cat", Original, "x")
	put(t, d, k, "x")
	path := filepath.Join(d.folder("s", "/cat"), k.file())
	for _, magic := range earlierMagics {
		if err := os.WriteFile(path, []byte(magic+"and more"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := get(d, k); got != "" || d.Stats().Damaged != 0 || d.Stats().Faults != 0 {
			t.Errorf("got %q, %+v", got, d.Stats())
		}
		put(t, d, k, "x")
		if got := get(d, k); got != "x" {
			t.Errorf("got %q", got)
		}
	}
	checkDisk(t, d)
}

func FuzzDecodeEntry(f *testing.F) {
	for _, h := range []fileHeader{
		{Source: "s", Image: "/a", File: "o-1", Header: http.Header{"A": {"b"}}},
		{Source: "s", Image: "/caf\xe9", File: "n-1", Entry: newEntry(1)},
		{Source: "s", Image: "/a", File: "o-1", Zstd: true, Header: http.Header{"A": {}, "B": nil}},
		{Source: "s", Image: "/a", File: "c-1", Stamp: "x-1", Inputs: []Input{{"s", "/b"}, {"t", "/caf\xe9"}}},
	} {
		data, err := encodeFile(&h, []byte("body"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, "/a", "b")
	}
	f.Fuzz(func(t *testing.T, data []byte, image, value string) {
		var h fileHeader
		_, _ = decodeEntry(data, &h) // whatever it is, it does not panic
		// Nor where the checksum is right.
		r := headerReader{wire.Reader{Rest: string(data)}}
		_ = r.read(new(fileHeader))

		want := fileHeader{Source: "s", Image: image, File: "o-1", Header: http.Header{"A": {value, ""}, value: nil}}
		if len(value)%2 == 1 {
			want.Stamp, want.Inputs = value, []Input{{image, value}, {value, image}}
		}
		file, err := encodeFile(&want, data)
		if err != nil {
			t.Fatal(err)
		}
		var got fileHeader
		body, err := decodeEntry(file, &got)
		if err != nil || !bytes.Equal(body, data) || fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) {
			t.Errorf("got %#v, want %#v, %v", got, want, err)
		}
	})
}
