package cache

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"time"
)

// A Finder is a Store that may give a thing as a part of an open file, so that a system which sends files by
// itself does.
type Finder interface {
	Store

	// Find is Get, with two ways to answer.
	Find(ctx context.Context, k Key) (Found, error)
}

// Found is what a Finder has: a thing, or a file that the caller has to close.
type Found struct {
	Thing *Thing
	File  *File // in place of Thing
	Tier  Tier  // where it was
}

// A Tier is a part of a store.
type Tier uint8

const (
	InMemory Tier = iota
	OnDisk
)

// A File is a thing whose bytes are in an open file. It is for one caller, to be written once and closed.
type File struct {
	Header http.Header // as a Thing's
	Size   int64       // of the body in bytes

	file *os.File // at the body's first byte
}

// WriteTo writes the body to w. A ResponseWriter of net/http sends it without copying, where the system can.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, &io.LimitedReader{R: f.file, N: f.Size})
	if err == nil && n < f.Size {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// A checkedFile is a file that was found whole once. Files take their place by a rename and are not written to
// again, so it is whole as long as it is the same file, with the same time on it; what the medium does to it meanwhile is seen by the
// next life, or by imagecdn cache verify.
type checkedFile struct {
	info   os.FileInfo
	header http.Header
	start  int64 // of the body; 0 where it is compressed, and cannot be sent as it is
	stamp  string
	inputs []Input // whose references are looked for each time
}

const maxChecked = 10_000

// Find implements [Finder]. Each file is checked when it is first found.
func (d *Disk) Find(ctx context.Context, k Key) (Found, error) {
	if f, err := d.send(&k, 0); f != nil || err != nil {
		return Found{File: f, Tier: OnDisk}, err
	}
	th, err := d.Get(ctx, k)
	return Found{Thing: th, Tier: OnDisk}, err
}

// send opens the file of a thing at its body. It returns neither file nor error where Get is the way to read it: where the
// file has fewer than least bytes, or a body that is compressed.
func (d *Disk) send(k *Key, least int64) (*File, error) {
	done, open := d.use()
	if !open {
		return nil, ErrNotFound
	}
	defer done()
	if _, real := d.fs.(osFiles); !real {
		return nil, nil
	}
	path, name := d.path(k)
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrNotFound
	case err != nil:
		d.fault("reading", err)
		return nil, err
	}
	sent, err := d.sendFile(f, k, path, name, least)
	if sent == nil {
		f.Close()
	}
	return sent, err
}

func (d *Disk) sendFile(f *os.File, k *Key, path, name string, least int64) (*File, error) {
	info, err := f.Stat()
	if err != nil {
		d.fault("reading", err)
		return nil, err
	}
	if info.Size() < least {
		return nil, nil
	}
	d.checking.Lock()
	c, known := d.checked[path]
	d.checking.Unlock()
	// File systems give a new file the number of one that went, so that alone says little.
	if !known || !os.SameFile(c.info, info) || c.info.Size() != info.Size() || !c.info.ModTime().Equal(info.ModTime()) {
		if c, err = d.checkWhole(f, info, k, name); err != nil {
			if errors.Is(err, errDamaged) {
				d.discard(path)
			}
			return nil, nil // Get sees to the rest
		}
		d.checking.Lock()
		if len(d.checked) >= maxChecked {
			clear(d.checked) // what is asked for is soon back
		}
		d.checked[path] = c
		d.checking.Unlock()
	}
	if c.start == 0 {
		return nil, nil
	}
	if ok, err := d.lookReferred(c.inputs, c.stamp); err != nil {
		return nil, err
	} else if !ok {
		return nil, ErrNotFound
	}
	d.seen.add(path[len(d.root):])
	if now := time.Now(); d.idle > 0 && now.Sub(info.ModTime()) > d.idle {
		_ = os.Chtimes(path, now, now) // as with reads, failing to mark is no error
	}
	if _, err := f.Seek(c.start, io.SeekStart); err != nil {
		d.fault("reading", err)
		return nil, err
	}
	return &File{Header: c.header, Size: info.Size() - c.start, file: f}, nil
}

// checkWhole reads a whole file, and says where its body is.
func (d *Disk) checkWhole(f *os.File, info os.FileInfo, k *Key, name string) (c checkedFile, err error) {
	if info.Size() > maxFileSize {
		return c, errDamaged
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return c, err
	}
	var h fileHeader
	body, err := decodeEntry(data, &h)
	if err != nil {
		return c, err
	}
	if h.Source != k.Source || h.Image != k.Image || h.File != name {
		return c, errDamaged
	}
	c = checkedFile{info: info, header: h.Header, stamp: h.Stamp, inputs: h.Inputs}
	if !h.Zstd {
		c.start = int64(len(data) - len(body))
	}
	return c, nil
}
