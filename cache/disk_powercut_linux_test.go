package cache

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"
)

// volume is a file system whose power can be cut: what was not synced is lost then.
type volume struct {
	*testing.T
	image, dir string
}

func newVolume(t *testing.T) *volume {
	if os.Getuid() != 0 || testing.Short() {
		t.Skip("mounting a file system needs root, and time")
	}
	v := &volume{t, filepath.Join(t.TempDir(), "image"), t.TempDir()}
	if err := errors.Join(os.WriteFile(v.image, nil, 0o600), os.Truncate(v.image, 16<<20)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", v.image).CombinedOutput(); err != nil {
		t.Skipf("mkfs.ext4: %v %s", err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop", v.image, v.dir).CombinedOutput(); err != nil {
		t.Skipf("mount: %v %s", err, out)
	}
	t.Cleanup(func() { exec.Command("umount", v.dir).Run() })
	return v
}

// cut cuts the power while d is open, and opens what is there afterwards.
func (v *volume) cut(d *Disk) *Disk {
	v.Helper()
	f, err := os.Open(v.dir)
	if err != nil {
		v.Fatal(err)
	}
	// EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH: from now on nothing reaches the disk.
	flag := uint32(2)
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), 0x8004587d, uintptr(unsafe.Pointer(&flag)))
	f.Close()
	if errno != 0 {
		d.Close()
		v.Skipf("cutting the power of a mounted image: %v", errno)
	}
	d.Close() // whatever it says, it can write nothing any more
	for _, command := range [][]string{{"umount", v.dir}, {"mount", "-o", "loop", v.image, v.dir}} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			v.Fatalf("%s: %v %s", command[0], err, out)
		}
	}
	return v.open()
}

func (v *volume) open() *Disk {
	v.Helper()
	d, err := OpenDisk(filepath.Join(v.dir, "cache"), nil)
	if err != nil {
		v.Fatal(err)
	}
	tidied(d)
	return d
}

// sync makes all that was written until now outlast a cut.
func (v *volume) sync() {
	v.Helper()
	if out, err := exec.Command("sync", "-f", v.dir).CombinedOutput(); err != nil {
		v.Fatalf("sync: %v %s", err, out)
	}
}

func TestPowerCuts(t *testing.T) {
	dog := Name{Source: "s", Image: "/dog"}
	tests := []struct {
		rule string
		do   func(*volume, *Disk, *Table) error
		gone bool
	}{
		{"a name that was written is there", func(*volume, *Disk, *Table) error { return nil }, false},
		{"a purge of an image holds", func(v *volume, d *Disk, t *Table) error { return t.Purge("s", "/cat", Delete) }, true},
		{"a purge that keeps bytes holds", func(v *volume, d *Disk, t *Table) error { return t.Purge("s", "/cat", Revalidate) }, true},
		{"a purge of the source holds", func(v *volume, d *Disk, t *Table) error { return t.PurgeAll("s", Delete) }, true},
		{"a purge of everything holds", func(v *volume, d *Disk, t *Table) error { return t.PurgeAll("", Delete) }, true},
		{"a purge of what was just evicted holds", func(v *volume, d *Disk, t *Table) error {
			return errors.Join(evict(d), t.Purge("s", "/cat", Delete))
		}, true},
		{"a purge that keeps bytes of what was just evicted holds", func(v *volume, d *Disk, t *Table) error {
			return errors.Join(evict(d), t.Purge("s", "/cat", Revalidate))
		}, true},
		{"a purge of what was evicted in part holds", func(v *volume, d *Disk, t *Table) error {
			return errors.Join(removeFile(d, filepath.Join(d.folder("s", "/cat"), nameFile(""))), t.Purge("s", "/cat", Revalidate))
		}, true},
	}
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			v := newVolume(t)
			d := v.open()
			table := NewTable(d, nil)
			for _, n := range []Name{cat, dog} {
				put(t, d, Key{n.Source, n.Image, Original, newEntry(1).Digest}, "x")
				table.Commit(table.Lease(n), newEntry(1))
			}
			if err := table.Purge("s", "/never", Delete); err != nil { // so that the generations are as they stay
				t.Fatal(err)
			}
			settle(d)
			v.sync()
			if err := test.do(v, d, table); err != nil {
				t.Fatal(err)
			}
			d = v.cut(d)
			defer d.Close()
			table = NewTable(d, nil)
			if e := table.Lookup(table.Lease(cat)); (e == nil) != test.gone {
				t.Errorf("the image is known as %+v", e)
			}
			if s := d.Stats(); s.Damaged != 0 || s.Faults != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// evict removes all of the image, and its folder, as the eviction does.
func evict(d *Disk) error {
	folder := d.folder("s", "/cat")
	var errs []error
	for _, f := range d.files("s", "/cat") {
		errs = append(errs, removeFile(d, filepath.Join(folder, f)))
	}
	return errors.Join(append(errs, d.removeFolder(folder))...)
}

func removeFile(d *Disk, path string) error {
	_, err := d.remove(path)
	return err
}
