package cache

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"time"

	"github.com/gofrs/flock"
)

// fileSystem is all that a Disk does to its directory. Tests put one in its place that fails, or that loses what
// was not synced. Errors are as those of package os: errors.Is knows fs.ErrNotExist and fs.ErrExist.
type fileSystem interface {
	// lock takes the lock at path, or returns errInUse.
	lock(path string) (unlock func() error, err error)

	// read reads a file whole, or nothing of one larger than maxFileSize. One that was last marked as used longer
	// than idle ago is marked again; idle 0 marks none. Failing to mark is no error.
	read(path string, idle time.Duration) ([]byte, error)

	// create makes a file that is not there yet.
	create(path string) (file, error)
	mkdir(path string) error
	mkdirAll(path string) error
	rename(from, to string) error
	remove(path string) error

	// list lists a directory, in no order.
	list(path string) ([]fs.DirEntry, error)
	stat(path string) (fs.FileInfo, error)

	// syncDir makes what has come to a directory, and what has left it, outlast a power cut.
	syncDir(path string) error
}

// file is one that is being written.
type file interface {
	Write(b []byte) (int, error)
	Sync() error
	Close() error
}

// maxFileSize is the most that is read into memory, whatever a damaged file system says that a file has.
const maxFileSize = 1 << 30

var errInUse = errors.New("in use by another process")

// osFiles is the fileSystem of the system. Its read is in disk_read_linux.go and disk_read_other.go.
type osFiles struct{}

func (osFiles) lock(path string) (unlock func() error, err error) {
	l := flock.New(path)
	switch ok, err := l.TryLock(); {
	case err != nil:
		return nil, err
	case !ok:
		return nil, errInUse
	}
	return l.Unlock, nil
}

func (osFiles) create(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (osFiles) mkdir(path string) error               { return os.Mkdir(path, 0o700) }
func (osFiles) mkdirAll(path string) error            { return os.MkdirAll(path, 0o700) }
func (osFiles) rename(from, to string) error          { return os.Rename(from, to) }
func (osFiles) remove(path string) error              { return os.Remove(path) }
func (osFiles) stat(path string) (fs.FileInfo, error) { return os.Lstat(path) }

func (osFiles) list(path string) ([]fs.DirEntry, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}

func (osFiles) syncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil // NTFS journals renames, and a directory cannot be synced
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
