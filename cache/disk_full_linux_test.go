package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// mount mounts a file system in memory with these options.
func mount(t *testing.T, options string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting a file system needs root")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("mount: %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	return dir
}

// A file system that has less room than the bounds allow is used as far as it goes: new things take the place of old
// ones, and what is read is whole.
func TestAFullFileSystem(t *testing.T) {
	for _, test := range []struct{ rule, options string }{
		{"of bytes", "size=1m"},
		{"of inodes", "size=16m,nr_inodes=150"},
	} {
		t.Run(test.rule, func(t *testing.T) {
			d := openDisk(t, filepath.Join(mount(t, test.options), "cache"), nil)
			tidied(d)
			table := NewTable(d, nil)
			full, kept := false, 0
			for i := range 1500 {
				k := keyOf(fmt.Sprint("/", i%300), Derivative, fmt.Sprint(i))
				body := strings.Repeat(fmt.Sprint(i, " "), 1000)
				err := d.Put(context.Background(), k, &Thing{Body: []byte(body)}, nil)
				switch got := get(d, k); {
				case err != nil && !errors.Is(err, syscall.ENOSPC):
					t.Fatal(err)
				case err == nil && got != body && got != "": // it may have made room already
					t.Fatalf("got %.20q", got)
				case err != nil:
					full = true
				case full:
					kept++
				}
			}
			if !full || kept == 0 || d.Stats().Faults == 0 || d.Stats().Damaged != 0 {
				t.Errorf("full: %v, %d kept after that, %+v", full, kept, d.Stats())
			}
			// A full disk takes no purge away.
			for i := range 300 {
				image := fmt.Sprint("/", i)
				if err := table.Purge("s", image, Delete); err != nil {
					continue // it is not promised
				}
				if files := d.files("s", image); len(files) > 0 {
					t.Errorf("%s was purged, and has %q", image, files)
				}
			}
			checkDisk(t, d)
		})
	}
}

func TestAReadOnlyFileSystem(t *testing.T) {
	dir := mount(t, "size=1m")
	d := openDisk(t, filepath.Join(dir, "cache"), nil)
	tidied(d)
	table := NewTable(d, nil)
	k := keyOf("/cat", Derivative, "x")
	put(t, d, k, "x")
	table.Commit(table.Lease(cat), newEntry(1))
	settle(d)
	if out, err := exec.Command("mount", "-o", "remount,ro", dir).CombinedOutput(); err != nil {
		t.Skipf("mount: %v %s", err, out)
	}
	if got, e := get(d, k), d.LoadName(cat); got != "x" || e == nil {
		t.Errorf("what is there cannot be read: %q, %v", got, e)
	}
	if err := d.Put(t.Context(), keyOf("/cat", Derivative, "y"), &Thing{Body: []byte("y")}, nil); !errors.Is(err, syscall.EROFS) {
		t.Errorf("Put: %v", err)
	}
	for name, purge := range map[string]func() error{
		"an image":   func() error { return table.Purge("s", "/cat", Delete) },
		"everything": func() error { return table.PurgeAll("", Delete) },
	} {
		if err := purge(); !errors.Is(err, syscall.EROFS) {
			t.Errorf("a purge of %s was promised: %v", name, err)
		}
	}
	if e := table.Lookup(table.Lease(cat)); e != nil {
		t.Error("what was purged is served")
	}
	if d.Stats().Faults != 4 {
		t.Errorf("%+v", d.Stats())
	}
	if out, err := exec.Command("mount", "-o", "remount,rw", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v %s", err, out)
	}
	if err := table.Purge("s", "/cat", Delete); err != nil || get(d, k) != "" {
		t.Errorf("writable again: %v", err)
	}
}

// A process that has no file descriptor left. It is a process of its own, as the limit is one of the process.
func TestNoFileDescriptorIsLeft(t *testing.T) {
	const dirVariable = "CACHE_TEST_DIR"
	dir := os.Getenv(dirVariable)
	if dir == "" {
		c := exec.Command(os.Args[0], "-test.run=^TestNoFileDescriptorIsLeft$")
		c.Env = append(os.Environ(), dirVariable+"="+t.TempDir())
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	d := openDisk(t, dir, nil)
	tidied(d)
	table := NewTable(d, nil)
	k := keyOf("/cat", Derivative, "x")
	put(t, d, k, "x")
	limit := syscall.Rlimit{Cur: 30, Max: 30}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Skip(err)
	}
	var held []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		held = append(held, f)
	}
	if got := get(d, k); got != "" {
		t.Errorf("got %q", got)
	}
	if err := d.Put(t.Context(), keyOf("/cat", Derivative, "y"), &Thing{Body: []byte("y")}, nil); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("Put: %v", err)
	}
	if err := table.Purge("s", "/cat", Delete); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("a purge was promised: %v", err)
	}
	if d.Stats().Faults != 4 || d.Stats().Damaged != 0 {
		t.Errorf("%+v", d.Stats())
	}
	for _, f := range held {
		f.Close()
	}
	put(t, d, k, "x") // the purge that was not promised may have hidden it
	if got := get(d, k); got != "x" {
		t.Errorf("got %q, with descriptors again", got)
	}
	if err := table.Purge("s", "/cat", Delete); err != nil || get(d, k) != "" {
		t.Errorf("with descriptors again: %v", err)
	}
	checkDisk(t, d)
}
