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
	"io"
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
	"unicode/utf8"

	"github.com/gofrs/flock"
	"github.com/klauspost/compress/zstd"
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
//	trash/LIFE/                          what purges have hidden and nothing has freed yet
//
// SOURCE, IMAGE and VERSION are hashes, HH the first two digits of IMAGE, G the generation in which the source
// was last deleted, LIFE a word made up whenever the directory is opened. So a purge of one image is one
// rename of its folder, and a purge of a source or of everything is one small write: the paths in use
// change, and the old ones are freed later.
//
// # Why a crash cannot bring back what was purged
//
// A file is written beside its place, under the name of a temporary one, then renamed: it is whole or
// absent. A purge is acknowledged when its rename, and the directories it was between, or the generations
// file, are synced; the directory is synced even where the purge finds nothing, as what was there may
// have been evicted and still be on the disk. A generations file that is missing or damaged begins a new
// epoch, in which nothing of before can be found: it all counts as purged. Everything read is checked, by
// length and checksum; what is not whole is a miss, and removed.
//
// All methods are safe for concurrent use.
type Disk struct {
	dir   string
	epoch string // of the folder, below dir
	life  string // in the names of temporary files, and of the folder in trash
	opts  DiskOptions
	lock  *flock.Flock

	gens     atomic.Pointer[Generations]
	saveGens sync.Mutex  // held while the generations file is replaced
	unsaved  atomic.Bool // the last SaveGenerations failed: no name is saved, as its generation may come again

	// images holds one lock for many images: it is held while a file takes its place in an image's
	// folder or leaves it, and while the folder is hidden.
	images [256]sync.Mutex

	// account guards counted and all, and is held to read while a file comes or goes and bytes is put
	// right: so a file is counted once, by who put it there or by who counts what was there before.
	// It is taken after a lock of images.
	account sync.RWMutex
	counted string // the folders of images up to this one, "SOURCE.G/HH", are in bytes
	all     bool   // all folders are
	bytes   atomic.Int64

	queue     chan Name
	waiting   sync.Mutex          // guards unwritten
	unwritten map[Name]*nameWrite // names in queue or being written; a later one takes the place of an earlier

	open context.Context // until Close
	stop context.CancelFunc
	full chan struct{} // there may be something to evict
	work sync.WaitGroup

	closing sync.RWMutex // guards closed; held to read while the directory is used
	closed  bool

	zip   func() *zstd.Encoder
	unzip func() *zstd.Decoder

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
	e     *Entry
	valid func() bool
}

const blockSize = 4096

var errClosed = errors.New("cache: the disk cache is closed")

// OpenDisk opens the cache in dir, and makes it where there is none. A directory that another process
// has open is an error.
func OpenDisk(dir string, o *DiskOptions) (*Disk, error) {
	if o == nil {
		o = new(DiskOptions)
	}
	d := &Disk{
		dir:       dir,
		life:      strings.ToLower(rand.Text()[:13]),
		opts:      *o,
		queue:     make(chan Name, 1024),
		unwritten: make(map[Name]*nameWrite),
		full:      make(chan struct{}, 1),
		zip:       sync.OnceValue(newZstdWriter),
		unzip:     sync.OnceValue(newZstdReader),
	}
	d.open, d.stop = context.WithCancel(context.Background())
	d.opts.MaxBytes = orDefault(d.opts.MaxBytes, 10<<30)
	d.opts.Logger = cmp.Or(d.opts.Logger, slog.New(slog.DiscardHandler))
	if err := os.MkdirAll(d.trash(), 0o700); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	d.lock = flock.New(filepath.Join(dir, "LOCK"))
	ok, err := d.lock.TryLock()
	switch {
	case err != nil:
		err = fmt.Errorf("cache: locking %s: %w", dir, err)
	case !ok:
		err = fmt.Errorf("cache: %s is in use by another process", dir)
	default:
		if err = d.loadGenerations(); err != nil {
			err = errors.Join(fmt.Errorf("cache: %w", err), d.lock.Unlock())
		}
	}
	if err != nil {
		d.stop()
		os.Remove(d.trash())
		return nil, err
	}
	d.work.Go(d.writeNames)
	d.work.Go(d.tidy)
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
	close(d.queue)
	d.stop()
	d.closing.Unlock()
	d.work.Wait()
	return d.lock.Unlock()
}

// use reports whether d is open. Where it is, it stays so until done is called.
func (d *Disk) use() (done func(), open bool) {
	d.closing.RLock()
	if d.closed {
		d.closing.RUnlock()
		return nil, false
	}
	return d.closing.RUnlock, true
}

func (d *Disk) trash() string { return filepath.Join(d.dir, "trash", d.life) }

// generationsFile is the form of the file of that name: a line of JSON, and a line with its SHA-256.
type generationsFile struct {
	Format      int         `json:"format"`
	Epoch       string      `json:"epoch"`
	Generations Generations `json:"generations"`
}

const generationsFormat = 1

func (f *generationsFile) encode() ([]byte, error) {
	for source := range f.Generations.Sources {
		if !utf8.ValidString(source) {
			return nil, fmt.Errorf("cache: the name of a source is not UTF-8: %q", source)
		}
	}
	line, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%s\n%s\n", line, DigestOf(line)), nil
}

func (f *generationsFile) decode(data []byte) error {
	line, sum, _ := strings.Cut(string(data), "\n")
	if sum != DigestOf([]byte(line)).String()+"\n" {
		return errDamaged
	}
	if err := json.Unmarshal([]byte(line), f); err != nil {
		return err
	}
	if f.Format != generationsFormat || f.Epoch == "" {
		return fmt.Errorf("cache: generations of format %d", f.Format)
	}
	return nil
}

func (d *Disk) loadGenerations() error {
	data, err := os.ReadFile(filepath.Join(d.dir, "generations"))
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return err
	}
	var f generationsFile
	if !missing && f.decode(data) == nil {
		d.epoch = f.Epoch
		d.gens.Store(&f.Generations)
		return nil
	}

	// A new epoch, in which nothing of an earlier one can be found.
	g := new(Generations)
	if last, used := d.lastGeneration(); used || !missing {
		d.damaged.Add(1)
		d.opts.Logger.Warn("the cache's generations file is missing or damaged: everything counts as purged", "dir", d.dir)
		g.Seq = last + 1
		g.All.Delete = g.Seq
	}
	d.epoch = "epoch-" + strings.ToLower(rand.Text())
	return d.saveGenerations(g)
}

// lastGeneration reads the newest generation that the names of folders tell of, and whether there are
// any folders.
func (d *Disk) lastGeneration() (last uint64, used bool) {
	top, _ := os.ReadDir(d.dir)
	for _, epoch := range top {
		if !strings.HasPrefix(epoch.Name(), "epoch-") {
			continue
		}
		used = true
		sources, _ := os.ReadDir(filepath.Join(d.dir, epoch.Name()))
		for _, s := range sources {
			_, gen, _ := strings.Cut(s.Name(), ".")
			if n, err := strconv.ParseUint(gen, 10, 63); err == nil {
				last = max(last, n)
			}
		}
	}
	return last, used
}

// Generations implements [Keeper].
func (d *Disk) Generations() *Generations { return d.gens.Load() }

// SaveGenerations implements [Keeper].
func (d *Disk) SaveGenerations(g *Generations) error {
	done, open := d.use()
	if !open {
		return errClosed
	}
	defer done()
	return d.saveGenerations(g)
}

func (d *Disk) saveGenerations(g *Generations) error {
	d.saveGens.Lock()
	defer d.saveGens.Unlock()
	f := generationsFile{generationsFormat, d.epoch, *g}
	data, err := f.encode()
	if err == nil {
		err = d.replace(filepath.Join(d.dir, "generations"), data, true, nil)
	}
	if err != nil {
		d.unsaved.Store(true)
		d.fault("saving generations", err)
		return err
	}
	d.unsaved.Store(false)
	d.gens.Store(g)
	return nil
}

const tempPrefix = ".tmp-"

func isTemp(name string) bool { return strings.HasPrefix(name, tempPrefix) }

// replace puts data at path in one step: temp beside it, write, sync, close, rename, sync the directory.
// commit, where given, does the rename under its own conditions; it reports whether it did.
func (d *Disk) replace(path string, data []byte, durable bool, commit func(temp string) (bool, error)) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix+d.life+"-*")
	if err != nil {
		return err
	}
	placed := false
	defer func() {
		if !placed {
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
	if commit != nil {
		placed, err = commit(f.Name())
	} else {
		err = os.Rename(f.Name(), path)
		placed = err == nil
	}
	if !placed || !durable {
		return err
	}
	err = syncDir(filepath.Dir(path))
	if commit != nil && errors.Is(err, fs.ErrNotExist) {
		return nil // a purge came after it
	}
	return err
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

// Get implements [Store].
func (d *Disk) Get(_ context.Context, k Key) (*Thing, error) {
	done, open := d.use()
	if !open {
		return nil, ErrNotFound
	}
	defer done()
	path := filepath.Join(d.folder(k.Source, k.Image), k.file())
	var h fileHeader
	body, err := d.read(path, &h)
	if err != nil {
		return nil, err
	}
	if h.Source != k.Source || h.Image != k.Image || h.File != k.file() {
		d.discard(path)
		return nil, ErrNotFound
	}
	if h.Zstd {
		if body, err = d.unzip().DecodeAll(body, nil); err != nil {
			d.discard(path)
			return nil, ErrNotFound
		}
	}
	return &Thing{h.Header, body}, nil
}

// read reads a file of this cache, and its header into h. A file that is not whole is removed.
func (d *Disk) read(path string, h *fileHeader) ([]byte, error) {
	data, err := readFile(path)
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
	return body, nil
}

// readFile reads a file, and tells the eviction that it is in use. Once in ten minutes is exact enough.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	data := make([]byte, info.Size())
	n, err := io.ReadFull(f, data)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	if now := time.Now(); now.Sub(info.ModTime()) > 10*time.Minute {
		os.Chtimes(path, now, now)
	}
	return data[:n], nil
}

// discard removes a file that is not what it should be.
func (d *Disk) discard(path string) {
	d.damaged.Add(1)
	if err := d.remove(path); err != nil {
		d.fault("removing a damaged file", err)
	}
}

// Put implements [Store].
func (d *Disk) Put(_ context.Context, k Key, t *Thing, valid func() bool) error {
	done, open := d.use()
	if !open {
		return errClosed
	}
	defer done()
	if _, err := os.Stat(filepath.Join(d.folder(k.Source, k.Image), k.file())); err == nil {
		return nil // it cannot be another thing
	}
	h := fileHeader{Source: k.Source, Image: k.Image, File: k.file(), Header: t.Header}
	body := t.Body
	if compressible(t.Header.Get("Content-Type")) {
		if z := d.zip().EncodeAll(body, nil); len(z) < len(body)*9/10 {
			body, h.Zstd = z, true
		}
	}
	return d.place(h, body, d.opts.Durable == DurableAll, valid)
}

// place writes a file into its image's folder.
func (d *Disk) place(h fileHeader, body []byte, durable bool, valid func() bool) error {
	source, image := h.Source, h.Image
	data, err := encodeEntry(&h, body)
	if err != nil {
		return err
	}
	// The folder may be hidden at any moment, by a purge, or removed by the eviction while it is empty.
	// What is still valid then is written again.
	for range 3 {
		folder := d.folder(source, image)
		if err = os.MkdirAll(folder, 0o700); errors.Is(err, fs.ErrNotExist) {
			continue // a folder above it was freed meanwhile
		} else if err != nil {
			break
		}
		path := filepath.Join(folder, h.File)
		err = d.replace(path, data, durable, func(temp string) (bool, error) {
			mu := d.imageLock(folder)
			mu.Lock()
			defer mu.Unlock()
			if valid != nil && !valid() || folder != d.folder(source, image) {
				return false, nil
			}
			return d.moveIn(temp, path, int64(len(data)))
		})
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		d.fault("writing", err)
	}
	return err
}

// moveIn gives a file of so many bytes its place. The caller holds the image's lock.
func (d *Disk) moveIn(temp, path string, size int64) (bool, error) {
	d.account.RLock()
	defer d.account.RUnlock()
	var before int64
	if info, err := os.Lstat(path); err == nil {
		before = blocks(info.Size())
	}
	if err := os.Rename(temp, path); err != nil {
		return false, err
	}
	if d.accounted(filepath.Dir(path)) {
		d.grow(blocks(size) - before)
	}
	return true, nil
}

func blocks(size int64) int64 { return max(1, (size+blockSize-1)/blockSize) * blockSize }

func nameFile(version string) string { return "n-" + hash16(version) }

// LoadName implements [Keeper].
func (d *Disk) LoadName(n Name) *Entry {
	done, open := d.use()
	if !open {
		return nil
	}
	defer done()
	d.waiting.Lock()
	w := d.unwritten[n]
	d.waiting.Unlock()
	if w != nil && isValid(w.valid) {
		return w.e
	}
	path := filepath.Join(d.folder(n.Source, n.Image), nameFile(n.Version))
	var h fileHeader
	if _, err := d.read(path, &h); err != nil {
		return nil
	}
	if (Name{h.Source, h.Image, h.Version}) != n || h.Entry == nil {
		d.discard(path)
		return nil
	}
	h.Entry.Header = h.Header
	return h.Entry
}

func isValid(valid func() bool) bool { return valid == nil || valid() }

// SaveName implements [Keeper]. It is written behind, unless much waits already.
func (d *Disk) SaveName(n Name, e *Entry, valid func() bool) error {
	done, open := d.use()
	if !open {
		return errClosed
	}
	defer done()
	d.waiting.Lock()
	_, queued := d.unwritten[n]
	d.unwritten[n] = &nameWrite{e, valid}
	d.waiting.Unlock()
	if queued {
		return nil // whoever writes the earlier one writes this one
	}
	select {
	case d.queue <- n:
		return nil
	default:
		return d.writeName(n)
	}
}

func (d *Disk) writeNames() {
	for n := range d.queue {
		_ = d.writeName(n) // counted and logged there
	}
}

// writeName writes what waits to be written of n, until nothing does.
func (d *Disk) writeName(n Name) error {
	for {
		d.waiting.Lock()
		w := d.unwritten[n]
		d.waiting.Unlock()
		err := d.saveName(n, w)
		d.waiting.Lock()
		last := d.unwritten[n] == w
		if last {
			delete(d.unwritten, n)
		}
		d.waiting.Unlock()
		if last {
			return err
		}
	}
}

func (d *Disk) saveName(n Name, w *nameWrite) error {
	if d.unsaved.Load() || !isValid(w.valid) {
		return nil
	}
	e := *w.e
	h := fileHeader{Source: n.Source, Image: n.Image, File: nameFile(n.Version), Header: e.Header, Version: n.Version, Entry: &e}
	e.Header = nil
	return d.place(h, nil, d.opts.Durable != DurablePurges, w.valid)
}

// Hide implements [Keeper].
func (d *Disk) Hide(source, image string, namesOnly bool) error {
	done, open := d.use()
	if !open {
		return errClosed
	}
	defer done()
	folder := d.folder(source, image)
	mu := d.imageLock(folder)
	mu.Lock()
	defer mu.Unlock()
	hide := d.toTrash
	if namesOnly {
		hide = d.removeNames
	}
	err := hide(folder)
	if err == nil {
		// Also where nothing was found: what the eviction has removed may still be on the disk.
		if err = syncDir(filepath.Dir(folder)); errors.Is(err, fs.ErrNotExist) {
			return nil // nothing of these images was ever kept
		}
	}
	if err != nil {
		d.fault("purging", err)
	}
	return err
}

// removeNames removes the names in a folder. The caller holds the image's lock.
func (d *Disk) removeNames(folder string) error {
	files, err := os.ReadDir(folder)
	for _, f := range files {
		if strings.HasPrefix(f.Name(), "n-") {
			err = errors.Join(err, d.removeLocked(filepath.Join(folder, f.Name())))
		}
	}
	if err == nil {
		err = syncDir(folder)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// toTrash moves a folder out of the way. Its last element stays the beginning of its new name, and the
// new name tells whether its files are on the account. The caller holds the image's lock.
func (d *Disk) toTrash(folder string) error {
	d.account.RLock()
	name := fmt.Sprintf("%s.%d", filepath.Base(folder), d.trashed.Add(1))
	if !d.accounted(folder) {
		name += uncountedSuffix
	}
	err := os.Rename(folder, filepath.Join(d.trash(), name))
	d.account.RUnlock()
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(folder); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		// It is the trash that is missing.
		if err := os.MkdirAll(d.trash(), 0o700); err != nil {
			return err
		}
		err = os.Rename(folder, filepath.Join(d.trash(), name))
	}
	if err != nil {
		return err
	}
	return syncDir(d.trash())
}

const uncountedSuffix = ".uncounted"

// Remove implements [Store]: it frees what Hide has hidden.
func (d *Disk) Remove(ctx context.Context, source, image string) (Removed, error) {
	done, open := d.use()
	if !open {
		return Removed{}, errClosed
	}
	defer done()
	prefix := filepath.Base(d.folder(source, image)) + "."
	return d.emptyTrash(ctx, func(name string) bool { return strings.HasPrefix(name, prefix) })
}

// emptyTrash frees some of what was hidden since the directory was opened.
func (d *Disk) emptyTrash(ctx context.Context, which func(name string) bool) (r Removed, err error) {
	hidden, err := os.ReadDir(d.trash())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.fault("freeing", err)
		return r, err
	}
	for _, f := range hidden {
		if !which(f.Name()) {
			continue
		}
		counted := !strings.HasSuffix(f.Name(), uncountedSuffix)
		remove := func(path string) error { return d.unlink(path, counted) }
		if err := d.free(ctx, filepath.Join(d.trash(), f.Name()), remove, &r); err != nil {
			return r, err
		}
	}
	return r, nil
}

// RemoveAll implements [Store]: it frees what SaveGenerations has made unreachable.
func (d *Disk) RemoveAll(ctx context.Context, source string) (Removed, error) {
	done, open := d.use()
	if !open {
		return Removed{}, errClosed
	}
	defer done()
	return d.freeUnreachable(ctx, source)
}

func (d *Disk) freeUnreachable(ctx context.Context, source string) (Removed, error) {
	var r Removed
	epoch := filepath.Join(d.dir, d.epoch)
	folders, err := os.ReadDir(epoch)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.fault("freeing", err)
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
		if err := d.free(ctx, filepath.Join(epoch, f.Name()), d.remove, &r); err != nil {
			return r, err
		}
	}
	return r, nil
}

// free removes all below path and counts it.
func (d *Disk) free(ctx context.Context, path string, remove func(path string) error, r *Removed) error {
	err := d.freeTree(ctx, path, remove, r)
	if err != nil && ctx.Err() == nil {
		d.fault("freeing", err)
	}
	return err
}

func (d *Disk) freeTree(ctx context.Context, path string, remove func(path string) error, r *Removed) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	files, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, f := range files {
		below := filepath.Join(path, f.Name())
		if f.IsDir() {
			if err := d.freeTree(ctx, below, remove, r); err != nil {
				return err
			}
			continue
		}
		info, infoErr := f.Info()
		if err := remove(below); err != nil {
			return err
		}
		if k, ok := kindOf(f.Name()); ok && infoErr == nil {
			r.add(k, info.Size())
		}
	}
	// Where something has arrived meanwhile, it stays for the next time.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func kindOf(file string) (Kind, bool) {
	for k, letter := range kindLetters {
		if strings.HasPrefix(file, letter+"-") {
			return Kind(k), true
		}
	}
	return 0, false
}

// remove removes a file in an image's folder, and takes it off the account.
func (d *Disk) remove(path string) error {
	mu := d.imageLock(filepath.Dir(path))
	mu.Lock()
	defer mu.Unlock()
	return d.removeLocked(path)
}

// removeLocked is remove for callers that hold the image's lock.
func (d *Disk) removeLocked(path string) error {
	d.account.RLock()
	defer d.account.RUnlock()
	return d.unlink(path, d.accounted(filepath.Dir(path)))
}

func (d *Disk) unlink(path string, accounted bool) error {
	info, err := os.Lstat(path)
	if err == nil {
		err = os.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && accounted && !isTemp(filepath.Base(path)) {
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
