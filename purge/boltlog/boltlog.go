// Package boltlog keeps the jobs of package purge in a file, a bbolt database:
//
//	log, err := boltlog.Open("purges.db")
//	if err != nil {
//		return err
//	}
//	defer log.Close() // after the service
//	svc, err := purge.Open(ctx, target, &purge.ServiceOptions{Log: log})
//
// # Promises
//
// What Write has returned for is on the disk. Writes that come while another is under way are
// made together, at the cost of one. A file is whole or absent, also when it is made: it is
// written beside its place, synced and renamed. One that is damaged, too new, or open in another process is an error
// that names it; it is never replaced by an empty one. Who gives it up removes it.
//
// Every entry has a checksum, which purge.Open verifies, and their number is kept, which Open verifies. Two things are
// past telling. Where the newer of the file's two heads is damaged after it was written, bbolt takes the
// older, as it must after a power cut, and so the last write is undone. And the pages that lead to the entries have no
// checksums: bbolt may not survive what a medium does to them.
package boltlog

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/imagecdn/imagecdn/purge"
)

// A Log is a [purge.Log] in a file.
type Log struct {
	path string
	db   *bbolt.DB

	mu      sync.Mutex // guards waiting
	waiting []*write
	writing sync.Mutex // held by the one who writes for all that wait; guards their done and err
}

// A write is a call of Write.
type write struct {
	put  []purge.LogEntry
	drop []string
	done bool
	err  error
}

var (
	metaBucket = []byte("meta")
	jobsBucket = []byte("jobs") // ID ▶ data
	versionKey = []byte("version")
	countKey   = []byte("count") // of entries, a varint
)

const version = "imagecdn purges 1"

// lockTimeout is how long another process may take to let go of the file.
const lockTimeout = time.Second

// Open opens the log in the file at path, and makes it where there is none. A file that is found to be damaged
// may stay locked until the process ends.
func Open(path string) (*Log, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(path); err != nil {
			return nil, fmt.Errorf("boltlog: %s: %w", path, err)
		}
	} else if err != nil {
		return nil, fmt.Errorf("boltlog: %w", err)
	}
	l := &Log{path: path}
	err := guard(func() (err error) {
		if l.db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout}); err != nil {
			return err
		}
		return l.db.View(l.check)
	})
	if err == nil {
		return l, nil
	}
	if l.db != nil {
		_ = guard(l.db.Close)
	}
	if errors.Is(err, bolterrors.ErrTimeout) {
		err = errors.New("another process has it open")
	}
	return nil, fmt.Errorf("boltlog: %s: %w", path, err)
}

// create makes an empty log at path, which comes to be as a whole:
//
//	write path.new ▶ fsync ▶ close ▶ rename ▶ fsync the directory
func create(path string) error {
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // what a crash left
	}
	db, err := bbolt.Open(temp, 0o600, &bbolt.Options{Timeout: lockTimeout})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		if _, err := tx.CreateBucket(jobsBucket); err != nil {
			return err
		}
		return meta.Put(versionKey, []byte(version))
	})
	if err := cmp.Or(err, db.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be synced there, nor need be
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return cmp.Or(d.Sync(), d.Close())
}

// check reports what is wrong with the file.
func (l *Log) check(tx *bbolt.Tx) error {
	info, err := os.Stat(l.path)
	if err != nil {
		return err
	}
	if info.Size() < tx.Size() { // before anything is read that is not there
		return fmt.Errorf("the file is damaged: it has %d bytes of %d", info.Size(), tx.Size())
	}
	meta, jobs := tx.Bucket(metaBucket), tx.Bucket(jobsBucket)
	if meta == nil || jobs == nil {
		return errors.New("the file is another kind of database")
	}
	if v := string(meta.Get(versionKey)); v != version {
		return fmt.Errorf("the file has the version %.40q, and this program knows %q alone", v, version)
	}
	// bbolt's own check runs on a goroutine, where a damaged file ends the program or hangs it. Every entry has a
	// checksum; what is left to know is that none is missing, and that they are in order.
	want := count(meta)
	n, before := uint64(0), []byte(nil)
	c := jobs.Cursor()
	for k, _ := c.First(); k != nil && n <= want; k, _ = c.Next() {
		if bytes.Compare(before, k) >= 0 {
			return errors.New("the file is damaged: its entries are out of order")
		}
		before = append(before[:0], k...)
		n++
	}
	if n != want {
		return fmt.Errorf("the file is damaged: it has %d entries of %d", n, want)
	}
	return nil
}

// count is how many entries there are.
func count(meta *bbolt.Bucket) uint64 {
	n, _ := binary.Uvarint(meta.Get(countKey))
	return n
}

// guard calls f and makes an error of a panic, or of a fault in the file's mapping, as a damaged file brings them.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the file is damaged: %v", p)
		}
	}()
	return f()
}

// Write implements [purge.Log].
func (l *Log) Write(put []purge.LogEntry, drop []string) error {
	w := &write{put: put, drop: drop}
	l.mu.Lock()
	l.waiting = append(l.waiting, w)
	l.mu.Unlock()

	l.writing.Lock()
	defer l.writing.Unlock()
	if w.done { // by the one before
		return w.err
	}
	l.mu.Lock()
	all := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	err := guard(func() error { return l.db.Update(func(tx *bbolt.Tx) error { return apply(tx, all) }) })
	if err != nil {
		err = fmt.Errorf("write: %w", err)
	}
	for _, w := range all {
		w.done, w.err = true, err
	}
	return w.err
}

func apply(tx *bbolt.Tx, all []*write) error {
	jobs, meta := tx.Bucket(jobsBucket), tx.Bucket(metaBucket)
	n := count(meta)
	for _, w := range all {
		for _, e := range w.put {
			if jobs.Get([]byte(e.ID)) == nil {
				n++
			}
			if err := jobs.Put([]byte(e.ID), e.Data); err != nil {
				return err
			}
		}
		for _, id := range w.drop {
			if jobs.Get([]byte(id)) != nil {
				n--
			}
			if err := jobs.Delete([]byte(id)); err != nil {
				return err
			}
		}
	}
	return meta.Put(countKey, binary.AppendUvarint(nil, n))
}

// page is how many entries are read at a time: no transaction is open while they are used.
const page = 64

// Entries implements [purge.Log].
func (l *Log) Entries(before string) iter.Seq2[purge.LogEntry, error] {
	return func(yield func(purge.LogEntry, error) bool) {
		for {
			var entries []purge.LogEntry
			err := guard(func() error {
				return l.db.View(func(tx *bbolt.Tx) error {
					c := tx.Bucket(jobsBucket).Cursor()
					k, v := last(c, before)
					for ; k != nil && len(entries) < page; k, v = c.Prev() {
						entries = append(entries, purge.LogEntry{ID: string(k), Data: append([]byte{}, v...)})
					}
					return nil
				})
			})
			if err != nil {
				yield(purge.LogEntry{}, fmt.Errorf("read: %w", err))
				return
			}
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
				before = e.ID
			}
			if len(entries) < page {
				return
			}
		}
	}
}

// last moves c to the greatest key less than before, or of all.
func last(c *bbolt.Cursor, before string) (k, v []byte) {
	if before != "" {
		if k, _ := c.Seek([]byte(before)); k != nil {
			return c.Prev()
		}
	}
	return c.Last()
}

// String returns the name of the file.
func (l *Log) String() string { return l.path }

// Close closes the file, after the writes that are under way. Nothing may be called after it but Close and
// String; Write and Entries return errors.
func (l *Log) Close() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	return guard(l.db.Close)
}
