package cache

import (
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// crashFS is a fileSystem in memory that knows what was synced: crash returns what a power cut would leave. It is as
// strict as POSIX lets it be: what a file holds is lost unless the file was synced, and its name unless the directory was.
type crashFS struct {
	mu   sync.Mutex // guards what follows, and all nodes
	root *node
	held map[string]bool // locks

	// before is asked before every operation, with mu held, and fails it by an error.
	before func(op, path string) error
}

// A node is a file or a directory. What is durable has its own copy.
type node struct {
	dir           bool
	mtime         time.Time
	data, synced  []byte
	files, linked map[string]*node // of a directory: as they are, and as they were at the last sync
}

func newCrashFS() *crashFS {
	return &crashFS{root: newDir(), held: make(map[string]bool), before: func(string, string) error { return nil }}
}

func newDir() *node {
	return &node{dir: true, files: make(map[string]*node), linked: make(map[string]*node), mtime: time.Now()}
}

// changes are the operations that write, read those that do not.
var (
	changes = []string{"create", "write", "sync", "close", "mkdir", "mkdirAll", "rename", "remove", "syncDir", "touch"}
	reads   = []string{"lock", "read", "list", "stat"}
)

// crash returns the file system after a power cut now. Of what was not synced, a part chosen by r stays; none where
// r is nil. The caller holds mu.
func (c *crashFS) crash(r *rand.Rand) *crashFS {
	after := newCrashFS()
	after.root = c.root.crash(r)
	return after
}

func (n *node) crash(r *rand.Rand) *node {
	stays := func() bool { return r != nil && r.IntN(2) == 0 }
	if !n.dir {
		data := n.synced // files are only ever appended to
		if more := len(n.data) - len(data); more > 0 && stays() {
			data = slices.Clone(n.data)
			switch r.IntN(3) {
			case 0:
				data = data[:len(n.synced)+r.IntN(more)]
			case 1: // the length alone
				clear(data[len(n.synced)+r.IntN(more):])
			}
		}
		data = slices.Clone(data)
		return &node{data: data, synced: data, mtime: n.mtime}
	}
	d := newDir()
	keep := maps.Clone(n.linked)
	for _, name := range slices.Sorted(maps.Keys(n.files)) {
		if n.linked[name] != n.files[name] && stays() {
			keep[name] = n.files[name]
		}
	}
	for _, name := range slices.Sorted(maps.Keys(n.linked)) {
		if n.files[name] == nil && stays() {
			delete(keep, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(keep)) {
		d.files[name] = keep[name].crash(r)
	}
	d.linked = maps.Clone(d.files)
	return d
}

func pathError(op, path string, err error) error { return &fs.PathError{Op: op, Path: path, Err: err} }

// begin locks c and asks before. The caller unlocks.
func (c *crashFS) begin(op, path string) error {
	c.mu.Lock()
	if err := c.before(op, path); err != nil {
		return pathError(op, path, err)
	}
	return nil
}

// find returns what is at path, and the directory that it is in or could be in.
func (c *crashFS) find(path string) (n, parent *node, err error) {
	n = c.root
	if filepath.ToSlash(filepath.Clean(path)) == "/" {
		return n, nil, nil
	}
	for name := range strings.SplitSeq(strings.Trim(filepath.ToSlash(filepath.Clean(path)), "/"), "/") {
		if n == nil {
			return nil, nil, syscall.ENOENT
		}
		if !n.dir {
			return nil, nil, syscall.ENOTDIR
		}
		parent, n = n, n.files[name]
	}
	if n == nil {
		return nil, parent, syscall.ENOENT
	}
	return n, parent, nil
}

func (c *crashFS) lock(path string) (func() error, error) {
	err := c.begin("lock", path)
	defer c.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case c.held[path]:
		return nil, errInUse
	}
	c.held[path] = true
	return func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.held, path)
		return nil
	}, nil
}

func (c *crashFS) read(path string, idle time.Duration) ([]byte, error) {
	err := c.begin("read", path)
	defer c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	n, _, err := c.find(path)
	if err == nil && n.dir {
		err = syscall.EISDIR
	}
	if err != nil {
		return nil, pathError("read", path, err)
	}
	if now := time.Now(); idle > 0 && now.Sub(n.mtime) > idle && c.before("touch", path) == nil {
		n.mtime = now
	}
	return slices.Clone(n.data), nil
}

type crashFile struct {
	c    *crashFS
	path string
	n    *node
}

func (c *crashFS) create(path string) (file, error) {
	err := c.begin("create", path)
	defer c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	_, parent, err := c.find(path)
	switch {
	case err == nil:
		return nil, pathError("create", path, syscall.EEXIST)
	case parent == nil:
		return nil, pathError("create", path, err)
	}
	n := &node{mtime: time.Now()}
	parent.files[filepath.Base(path)] = n
	return &crashFile{c, path, n}, nil
}

// Write writes half of b where it fails, as a disk that is full may.
func (f *crashFile) Write(b []byte) (int, error) {
	err := f.c.begin("write", f.path)
	defer f.c.mu.Unlock()
	if err != nil {
		b = b[:len(b)/2]
	}
	f.n.data, f.n.mtime = append(slices.Clip(f.n.data), b...), time.Now()
	return len(b), err
}

func (f *crashFile) Sync() error {
	err := f.c.begin("sync", f.path)
	defer f.c.mu.Unlock()
	if err == nil {
		f.n.synced = f.n.data
	}
	return err
}

func (f *crashFile) Close() error {
	err := f.c.begin("close", f.path)
	f.c.mu.Unlock()
	return err
}

func (c *crashFS) mkdir(path string) error {
	err := c.begin("mkdir", path)
	defer c.mu.Unlock()
	if err != nil {
		return err
	}
	return c.makeDir(path)
}

func (c *crashFS) makeDir(path string) error {
	_, parent, err := c.find(path)
	switch {
	case err == nil:
		return pathError("mkdir", path, syscall.EEXIST)
	case parent == nil:
		return pathError("mkdir", path, err)
	}
	parent.files[filepath.Base(path)] = newDir()
	return nil
}

func (c *crashFS) mkdirAll(path string) error {
	err := c.begin("mkdirAll", path)
	defer c.mu.Unlock()
	if err != nil {
		return err
	}
	n, all := "", strings.Split(strings.Trim(filepath.ToSlash(filepath.Clean(path)), "/"), "/")
	for _, name := range all {
		n += "/" + name
		if at, _, err := c.find(n); err == nil && at.dir {
			continue
		} else if err == nil {
			return pathError("mkdir", n, syscall.ENOTDIR)
		}
		if err := c.makeDir(n); err != nil {
			return err
		}
	}
	return nil
}

func (c *crashFS) rename(from, to string) error {
	err := c.begin("rename", to)
	defer c.mu.Unlock()
	if err != nil {
		return err
	}
	n, parent, err := c.find(from)
	if err != nil {
		return pathError("rename", from, err)
	}
	there, toParent, err := c.find(to)
	switch {
	case err != nil && toParent == nil:
		return pathError("rename", to, err)
	case err == nil && there.dir:
		return pathError("rename", to, syscall.EEXIST)
	}
	delete(parent.files, filepath.Base(from))
	toParent.files[filepath.Base(to)] = n
	return nil
}

func (c *crashFS) remove(path string) error {
	err := c.begin("remove", path)
	defer c.mu.Unlock()
	if err != nil {
		return err
	}
	n, parent, err := c.find(path)
	if err == nil && len(n.files) > 0 {
		err = syscall.ENOTEMPTY
	}
	if err != nil {
		return pathError("remove", path, err)
	}
	delete(parent.files, filepath.Base(path))
	return nil
}

func (c *crashFS) list(path string) ([]fs.DirEntry, error) {
	err := c.begin("list", path)
	defer c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	n, _, err := c.find(path)
	if err == nil && !n.dir {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathError("list", path, err)
	}
	all := make([]fs.DirEntry, 0, len(n.files))
	for name, f := range n.files {
		all = append(all, fs.FileInfoToDirEntry(nodeInfo{name, f.dir, int64(len(f.data)), f.mtime}))
	}
	return all, nil
}

func (c *crashFS) stat(path string) (fs.FileInfo, error) {
	err := c.begin("stat", path)
	defer c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	n, _, err := c.find(path)
	if err != nil {
		return nil, pathError("stat", path, err)
	}
	return nodeInfo{filepath.Base(path), n.dir, int64(len(n.data)), n.mtime}, nil
}

func (c *crashFS) syncDir(path string) error {
	err := c.begin("syncDir", path)
	defer c.mu.Unlock()
	if err != nil {
		return err
	}
	n, _, err := c.find(path)
	if err != nil {
		return pathError("sync", path, err)
	}
	n.linked = maps.Clone(n.files)
	return nil
}

type nodeInfo struct {
	name  string
	dir   bool
	size  int64
	mtime time.Time
}

func (i nodeInfo) Name() string       { return i.name }
func (i nodeInfo) Size() int64        { return i.size }
func (i nodeInfo) ModTime() time.Time { return i.mtime }
func (i nodeInfo) IsDir() bool        { return i.dir }
func (i nodeInfo) Sys() any           { return nil }
func (i nodeInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o700
	}
	return 0o600
}
