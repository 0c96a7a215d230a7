package cache

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
)

// Disk is a Store and a [Keeper] in a directory.
//
// # On disk
//
//	LOCK                                 held while the directory is open
//	generations                          the epoch and the Generations, with a checksum
//	epoch-E/SOURCE.G/HH/IMAGE/           all that is kept of one image
//	    n-VERSION                        a name
//	    o-SUM  d-SUM  c-SUM              an original, a derivative, a composite
//	trash/                               what purges have hidden and nothing has freed yet
//
// SOURCE, IMAGE and VERSION are hashes, HH the first two digits of IMAGE, G the generation in which the source
// was last deleted. So a purge of one image is one rename of its folder, and a purge of a source or of
// everything is one small write: the paths in use change, and the old ones are freed later.
//
// # Why a crash cannot bring back what was purged
//
// A file is written beside its place, under the name of a temporary one, then renamed: it is whole or
// absent. A purge is acknowledged when its rename, and the directories it was between, or the generations
// file, are synced. A generations file that is missing or damaged begins a new epoch, in which nothing
// of before can be found: it all counts as purged. Everything read is checked, by length and checksum; what is
// not whole is a miss, and removed.
//
// All methods are safe for concurrent use.
type Disk struct {
	dir   string
	epoch string // of the folder, below dir
	opts  DiskOptions
	lock  *flock.Flock

	gens     atomic.Pointer[Generations]
	saveGens sync.Mutex  // held while the generations file is replaced
	unsaved  atomic.Bool // the last SaveGenerations failed: no name is saved, as its generation may come again

	// images holds one lock for many images: it is held while a file takes its place in an image's
	// folder, and while the folder is hidden.
	images [256]sync.Mutex

	names chan nameWrite
	stop  chan struct{}
	full  chan struct{} // there may be something to evict
	work  sync.WaitGroup

	closing sync.RWMutex // guards closed, and sends on names
	closed  bool

	bytes    atomic.Int64
	trashed  atomic.Int64 // numbers the folders in trash
	damaged  atomic.Int64
	faults   atomic.Int64
	evicted  atomic.Int64
	lastWarn atomic.Int64 // Unix seconds
}

// Durability says what is synced to the disk before it counts as written.
type Durability uint8

const (
	// DurableNames syncs names. Things are not synced: a power cut may lose some, never change one.
	DurableNames Durability = iota
	// DurableAll syncs names and things.
	DurableAll
	// DurablePurges syncs neither. Purges and generations are always synced.
	DurablePurges
)

// DiskOptions are optional settings of a Disk.
type DiskOptions struct {
	// MaxBytes bounds the disk space used, counted in blocks of 4 KiB. Zero means 10 GiB. Negative means no
	// limit.
	MaxBytes int64

	// Durable says what is synced. Zero means DurableNames.
	Durable Durability

	// Logger gets a warning when the disk fails, at most one a minute. Nil means nothing is logged.
	Logger *slog.Logger
}

// DiskStats are counts since a Disk was opened.
type DiskStats struct {
	Bytes   int64 // in use, in blocks
	Damaged int64 // files that were not whole, and removed
	Faults  int64 // operations that failed
	Evicted int64 // files removed to make room
}

type nameWrite struct {
	n     Name
	e     *Entry
	valid func() bool
}

const blockSize = 4096

// OpenDisk opens the cache in dir, and makes it where there is none. A directory that another process
// has open is an error.
func OpenDisk(dir string, o *DiskOptions) (*Disk, error) {
	if o == nil {
		o = new(DiskOptions)
	}
	d := &Disk{
		dir:   dir,
		opts:  *o,
		names: make(chan nameWrite, 1024),
		stop:  make(chan struct{}),
		full:  make(chan struct{}, 1),
	}
	d.opts.MaxBytes = orDefault(d.opts.MaxBytes, 10<<30)
	d.opts.Logger = cmp.Or(d.opts.Logger, slog.New(slog.DiscardHandler))
	if err := os.MkdirAll(filepath.Join(dir, "trash"), 0o700); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	d.lock = flock.New(filepath.Join(dir, "LOCK"))
	switch ok, err := d.lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("cache: locking %s: %w", dir, err)
	case !ok:
		return nil, fmt.Errorf("cache: %s is in use by another process", dir)
	}
	if err := d.loadGenerations(); err != nil {
		d.lock.Unlock()
		return nil, fmt.Errorf("cache: %w", err)
	}
	opened := time.Now()
	d.work.Go(d.writeNames)
	d.work.Go(func() { d.tidy(opened) })
	d.work.Go(d.evictLoop)
	return d, nil
}

// Stats returns counts since the directory was opened.
func (d *Disk) Stats() DiskStats {
	return DiskStats{d.bytes.Load(), d.damaged.Load(), d.faults.Load(), d.evicted.Load()}
}

// Close writes the names that wait to be written, stops what runs behind and releases the directory.
func (d *Disk) Close() error {
	d.closing.Lock()
	if d.closed {
		d.closing.Unlock()
		return nil
	}
	d.closed = true
	close(d.names)
	close(d.stop)
	d.closing.Unlock()
	d.work.Wait()
	return d.lock.Unlock()
}

// generationsFile is the form of the file of that name: a line of JSON, and a line with its SHA-256.
type generationsFile struct {
	Format      int         `json:"format"`
	Epoch       string      `json:"epoch"`
	Generations Generations `json:"generations"`
}

const generationsFormat = 1

func (d *Disk) loadGenerations() error {
	data, err := os.ReadFile(filepath.Join(d.dir, "generations"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	line, sum, _ := strings.Cut(string(data), "\n")
	var f generationsFile
	if len(data) > 0 {
		if DigestOf([]byte(line)).String() != strings.TrimSpace(sum) || json.Unmarshal([]byte(line), &f) != nil || f.Format != generationsFormat {
			d.damaged.Add(1)
			d.opts.Logger.Warn("the cache's generations file is damaged: everything counts as purged", "dir", d.dir)
			f = generationsFile{}
		}
	}
	d.epoch = f.Epoch
	d.gens.Store(&f.Generations)
	if d.epoch != "" {
		return nil
	}
	d.epoch = "epoch-" + strings.ToLower(rand.Text())
	return d.SaveGenerations(&f.Generations)
}

// Generations implements [Keeper].
func (d *Disk) Generations() *Generations { return d.gens.Load() }

// SaveGenerations implements [Keeper].
func (d *Disk) SaveGenerations(g *Generations) error {
	d.saveGens.Lock()
	defer d.saveGens.Unlock()
	line, err := json.Marshal(generationsFile{generationsFormat, d.epoch, *g})
	if err != nil {
		return err
	}
	sum := DigestOf(line).String()
	path := filepath.Join(d.dir, "generations")
	if err := d.replace(path, append(append(line, '\n'), sum+"\n"...), true, nil); err != nil {
		d.unsaved.Store(true)
		d.fault("saving generations", err)
		return err
	}
	d.unsaved.Store(false)
	d.gens.Store(g)
	return nil
}

// replace puts data at path in one step: temp beside it, write, sync, close, rename, sync the directory.
// commit, where given, does the rename under its own conditions; it reports whether it did.
func (d *Disk) replace(path string, data []byte, durable bool, commit func(temp string) (bool, error)) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err == nil && durable {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if commit == nil {
		err = os.Rename(f.Name(), path)
	} else {
		var did bool
		if did, err = commit(f.Name()); err == nil && !did {
			return os.Remove(f.Name())
		}
	}
	if err != nil || !durable {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // NTFS journals renames, and a directory cannot be synced
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// hash16 is the first half of SHA-256, in hexadecimal.
func hash16(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}

// folder is where all of an image is, now.
func (d *Disk) folder(source, image string) string {
	h := hash16(source + "\x00" + image)
	g := d.gens.Load().Deleted(source)
	return filepath.Join(d.dir, d.epoch, hash16(source)+"."+strconv.FormatUint(g, 10), h[:2], h)
}

func (d *Disk) imageLock(folder string) *sync.Mutex {
	n, _ := strconv.ParseUint(filepath.Base(folder)[2:4], 16, 8)
	return &d.images[n]
}

var kindLetters = [...]string{Original: "o", Derivative: "d", Composite: "c"}

func (k Key) file() string { return kindLetters[k.Kind] + "-" + k.Sum.String() }

// thingHeader is the JSON in front of a thing's bytes. What the file's name has hashed is here in full,
// so that a file says what it is.
type thingHeader struct {
	Source string              `json:"source"`
	Image  string              `json:"image"`
	Header map[string][]string `json:"header"`
	Zstd   bool                `json:"zstd,omitempty"`
}

// Get implements [Store].
func (d *Disk) Get(_ context.Context, k Key) (*Thing, error) {
	path := filepath.Join(d.folder(k.Source, k.Image), k.file())
	var h thingHeader
	body, err := d.read(path, &h)
	if err != nil {
		return nil, err
	}
	if h.Source != k.Source || h.Image != k.Image {
		return nil, ErrNotFound
	}
	if h.Zstd {
		if body, err = decompress(body); err != nil {
			d.discard(path)
			return nil, ErrNotFound
		}
	}
	return &Thing{h.Header, body}, nil
}

// read reads a file of this cache, and its header into h. A file that is not whole is removed.
func (d *Disk) read(path string, h any) ([]byte, error) {
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrNotFound
	case err != nil:
		d.fault("reading", err)
		return nil, err
	}
	body, err := decodeEntry(data, h)
	if err != nil {
		d.discard(path)
		return nil, ErrNotFound
	}
	d.touch(path)
	return body, nil
}

// discard removes a file that is not what it should be.
func (d *Disk) discard(path string) {
	d.damaged.Add(1)
	d.remove(path)
}

// touch tells the eviction that a file is in use. Once in ten minutes is exact enough.
func (d *Disk) touch(path string) {
	now := time.Now()
	if info, err := os.Stat(path); err == nil && now.Sub(info.ModTime()) > 10*time.Minute {
		os.Chtimes(path, now, now)
	}
}

// Put implements [Store].
func (d *Disk) Put(_ context.Context, k Key, t *Thing, valid func() bool) error {
	h := thingHeader{k.Source, k.Image, t.Header, false}
	body := t.Body
	if compressible(t.Header.Get("Content-Type")) {
		if z := compress(body); len(z) < len(body)*9/10 {
			body, h.Zstd = z, true
		}
	}
	folder := d.folder(k.Source, k.Image)
	if _, err := os.Stat(filepath.Join(folder, k.file())); err == nil {
		return nil // it cannot be another thing
	}
	return d.place(folder, k.file(), h, body, d.opts.Durable == DurableAll, valid)
}

// place writes a file into an image's folder.
func (d *Disk) place(folder, name string, header any, body []byte, durable bool, valid func() bool) error {
	data, err := encodeEntry(header, body)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		d.fault("making a folder", err)
		return err
	}
	path := filepath.Join(folder, name)
	err = d.replace(path, data, durable, func(temp string) (bool, error) {
		mu := d.imageLock(folder)
		mu.Lock()
		defer mu.Unlock()
		if valid != nil && !valid() {
			return false, nil
		}
		var before int64
		if info, err := os.Lstat(path); err == nil {
			before = blocks(info.Size())
		}
		if err := os.Rename(temp, path); err != nil {
			return false, err
		}
		d.grow(blocks(int64(len(data))) - before)
		return true, nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the folder was hidden meanwhile: a purge
	}
	if err != nil {
		d.fault("writing", err)
	}
	return err
}

func blocks(size int64) int64 { return max(1, (size+blockSize-1)/blockSize) * blockSize }

// nameHeader is a name as it is on disk.
type nameHeader struct {
	Source  string `json:"source"`
	Image   string `json:"image"`
	Version string `json:"version"`
	Gen     uint64 `json:"gen"`
	Entry   Entry  `json:"entry"`
}

func nameFile(version string) string { return "n-" + hash16(version) }

// LoadName implements [Keeper].
func (d *Disk) LoadName(n Name) *Entry {
	var h nameHeader
	if _, err := d.read(filepath.Join(d.folder(n.Source, n.Image), nameFile(n.Version)), &h); err != nil {
		return nil
	}
	if (Name{h.Source, h.Image, h.Version}) != n {
		return nil
	}
	h.Entry.gen = h.Gen
	return &h.Entry
}

// SaveName implements [Keeper]. It is written behind, unless much waits already.
func (d *Disk) SaveName(n Name, e *Entry, valid func() bool) error {
	d.closing.RLock()
	defer d.closing.RUnlock()
	if d.closed {
		return errors.New("cache: closed")
	}
	w := nameWrite{n, e, valid}
	select {
	case d.names <- w:
		return nil
	default:
		return d.saveName(w)
	}
}

func (d *Disk) writeNames() {
	for w := range d.names {
		_ = d.saveName(w) // counted and logged there
	}
}

func (d *Disk) saveName(w nameWrite) error {
	if d.unsaved.Load() || !w.valid() {
		return nil
	}
	h := nameHeader{w.n.Source, w.n.Image, w.n.Version, w.e.gen, *w.e}
	return d.place(d.folder(w.n.Source, w.n.Image), nameFile(w.n.Version), h, nil, d.opts.Durable != DurablePurges, w.valid)
}

// Hide implements [Keeper].
func (d *Disk) Hide(source, image string, namesOnly bool) error {
	folder := d.folder(source, image)
	mu := d.imageLock(folder)
	mu.Lock()
	defer mu.Unlock()
	err := d.hide(folder, namesOnly)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		d.fault("purging", err)
	}
	return err
}

func (d *Disk) hide(folder string, namesOnly bool) error {
	if !namesOnly {
		if err := d.toTrash(folder); err != nil {
			return err
		}
		return errors.Join(syncDir(filepath.Dir(folder)), syncDir(filepath.Join(d.dir, "trash")))
	}
	files, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), "n-") {
			if err := d.remove(filepath.Join(folder, f.Name())); err != nil {
				return err
			}
		}
	}
	return syncDir(folder)
}

// toTrash moves a folder out of the way. Its last element stays the beginning of its new name.
func (d *Disk) toTrash(folder string) error {
	name := fmt.Sprintf("%s.%d", filepath.Base(folder), d.trashed.Add(1))
	return os.Rename(folder, filepath.Join(d.dir, "trash", name))
}

// Remove implements [Store]: it frees what Hide has hidden.
func (d *Disk) Remove(ctx context.Context, source, image string) (Removed, error) {
	hidden, err := filepath.Glob(filepath.Join(d.dir, "trash", filepath.Base(d.folder(source, image))+".*"))
	if err != nil {
		return Removed{}, err
	}
	var r Removed
	for _, folder := range hidden {
		if err := d.free(ctx, folder, &r); err != nil {
			return r, err
		}
	}
	return r, nil
}

// RemoveAll implements [Store]: it frees what SaveGenerations has made unreachable.
func (d *Disk) RemoveAll(ctx context.Context, source string) (Removed, error) {
	var r Removed
	epoch := filepath.Join(d.dir, d.epoch)
	folders, err := os.ReadDir(epoch)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	g := d.gens.Load()
	now := make(map[string]uint64, len(g.Sources))
	for s := range g.Sources {
		now[hash16(s)] = g.Deleted(s)
	}
	for _, f := range folders {
		hash, gen, _ := strings.Cut(f.Name(), ".")
		n, err := strconv.ParseUint(gen, 10, 64)
		current, known := now[hash]
		if !known {
			current = g.All.Delete
		}
		if err != nil || n >= current || source != "" && hash != hash16(source) {
			continue
		}
		if err := d.free(ctx, filepath.Join(epoch, f.Name()), &r); err != nil {
			return r, err
		}
	}
	return r, nil
}

// free removes a folder and counts what was in it.
func (d *Disk) free(ctx context.Context, folder string, r *Removed) error {
	err := filepath.WalkDir(folder, func(path string, f fs.DirEntry, err error) error {
		if err != nil || f.IsDir() {
			return cmp.Or(ctx.Err(), err)
		}
		info, err := f.Info()
		if err != nil {
			return err
		}
		for k, letter := range kindLetters {
			if strings.HasPrefix(f.Name(), letter+"-") {
				r.add(Kind(k), info.Size())
			}
		}
		return d.remove(path)
	})
	if err == nil {
		err = os.RemoveAll(folder)
	}
	if err != nil && ctx.Err() == nil {
		d.fault("freeing", err)
	}
	return err
}

// remove removes one file, and takes it off the account.
func (d *Disk) remove(path string) error {
	info, err := os.Lstat(path)
	if err == nil {
		err = os.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		d.bytes.Add(-blocks(info.Size()))
	}
	return err
}

// fault counts a failure of the disk, and logs one a minute.
func (d *Disk) fault(doing string, err error) {
	d.faults.Add(1)
	now, last := time.Now().Unix(), d.lastWarn.Load()
	if now-last >= 60 && d.lastWarn.CompareAndSwap(last, now) {
		d.opts.Logger.Warn("the disk cache failed", "doing", doing, "error", err, "faults", d.faults.Load())
	}
}
