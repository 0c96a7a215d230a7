package cache

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

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
//	    r-STAMP                          a reference to a composite on another image, made with this one
//	trash/LIFE/                          what purges have hidden and nothing has freed yet
//
// SOURCE, IMAGE and VERSION are hashes, HH the first two digits of IMAGE, G the generation in which the source
// was last deleted, LIFE a word made up whenever the directory is opened. So a purge of one image is one
// rename of its folder, and a purge of a source or of everything is one small write: the paths in use
// change, and the old ones are freed later. A composite is not found without its references, so what hides
// those hides the composite.
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
// # What is bounded
//
// The bytes and the files, by counts that are kept exact beside every operation and are counted anew whenever the
// directory is opened, behind. What goes is chosen from random samples: what was asked for least often lately, by a
// sketch of fixed size, and among equals what was used least lately, by the files' times. No key is in memory for
// it, however much is cached.
//
// All methods are safe for concurrent use.
type Disk struct {
	fs     fileSystem
	dir    string
	epoch  string // of the folder, below dir
	root   string // dir and epoch, with a separator behind
	life   string // in the names of temporary files, and of the folder in trash
	opts   DiskOptions
	unlock func() error

	gens     atomic.Pointer[Generations]
	saveGens sync.Mutex  // held while the generations file is replaced
	unsaved  atomic.Bool // the last SaveGenerations failed: no name is saved, as its generation may come again

	// images holds one lock for many images: it is held while a file takes its place in an image's
	// folder or leaves it, and while the folder is hidden.
	images [256]sync.Mutex

	// emptying holds the same for the folders in trash: held while one is freed, so that whoever waited finds it freed and
	// counted.
	emptying [256]sync.Mutex

	// reclaiming holds the same for the folders of sources that generations have made unreachable.
	reclaiming [256]sync.Mutex

	// account guards counted and all, and is held to read while a file or an image's folder comes or goes and
	// bytes and inodes are put right: so each is counted once, by who put it there or by who counts what was
	// there before. It is taken after a lock of images.
	account sync.RWMutex
	counted string // the folders of images up to this one, "SOURCE.G/HH", are on the account
	all     bool   // all folders are
	bytes   atomic.Int64
	inodes  atomic.Int64 // files, and folders of images

	seen *sketch

	checking sync.Mutex             // guards checked
	checked  map[string]checkedFile // by path; see Find

	worth func(path string) uint8 // how often a file, by its path below root, was asked for lately
	idle  time.Duration           // a file that is read is marked as used again after so long

	linking sync.Mutex          // guards linked
	linked  map[string]struct{} // folders SOURCE.G/HH that are known to outlast a power cut, from dir down

	queue     chan Name
	waiting   sync.Mutex          // guards unwritten
	unwritten map[Name]*nameWrite // names in queue or being written; a later one takes the place of an earlier

	open context.Context // until Close
	stop context.CancelFunc
	full chan struct{} // there may be something to evict
	none atomic.Bool   // the file system had no room, whatever the bounds are
	work sync.WaitGroup

	closing sync.RWMutex // guards closed; held to read while the directory is used
	closed  bool

	zip   func() *zstd.Encoder
	unzip func() *zstd.Decoder

	hidden  claims // by IMAGE: what was freed of a purge before its Remove came
	deleted claims // by SOURCE: the same, before its RemoveAll came

	trashed  atomic.Int64 // numbers the folders in trash
	hiding   atomic.Int64 // how many there are of this life, at the most
	tidied   atomic.Bool  // there are none of earlier lives
	temps    atomic.Int64 // numbers the temporary files
	stamps   atomic.Int64 // numbers the composites that have references
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
	// MaxBytes bounds the disk space used, counted in blocks of 4 KiB, a folder being one. Zero means 10 GiB.
	// Negative means no limit.
	MaxBytes int64

	// MaxFiles bounds the files and folders, of which a file system may have room for fewer than for bytes: ext4
	// is made with one inode for each 16 KiB. Zero means 1,000,000, or one for each 16 KiB of MaxBytes where that
	// is more. Negative means no limit.
	MaxFiles int64

	// Durable says what is synced. Zero means DurableNames.
	Durable Durability

	// Logger gets a warning when the disk fails, at most one a minute. Nil means nothing is logged.
	Logger *slog.Logger
}

// DiskStats are counts since a Disk was opened.
type DiskStats struct {
	Bytes   int64 // in use, in blocks
	Files   int64 // in use, and folders of images
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
func OpenDisk(dir string, o *DiskOptions) (*Disk, error) { return openDiskOn(osFiles{}, dir, o) }

func openDiskOn(files fileSystem, dir string, o *DiskOptions) (*Disk, error) {
	d, err := newDisk(files, dir, o)
	if err != nil {
		return nil, err
	}
	d.work.Go(d.writeNames)
	d.work.Go(d.tidy)
	d.work.Go(d.evictLoop)
	return d, nil
}

// newDisk is openDiskOn without what runs behind.
func newDisk(files fileSystem, dir string, o *DiskOptions) (*Disk, error) {
	if o == nil {
		o = new(DiskOptions)
	}
	d := &Disk{
		fs:        files,
		dir:       filepath.Clean(dir),
		life:      strings.ToLower(rand.Text()[:13]),
		opts:      *o,
		idle:      10 * time.Minute,
		linked:    make(map[string]struct{}),
		queue:     make(chan Name, 1024),
		unwritten: make(map[Name]*nameWrite),
		full:      make(chan struct{}, 1),
		zip:       sync.OnceValue(newZstdWriter),
		unzip:     sync.OnceValue(newZstdReader),
	}
	d.open, d.stop = context.WithCancel(context.Background())
	d.opts.MaxBytes = orDefault(d.opts.MaxBytes, 10<<30)
	d.opts.MaxFiles = orDefault(d.opts.MaxFiles, max(1_000_000, d.opts.MaxBytes/(16<<10)))
	d.opts.Logger = cmp.Or(d.opts.Logger, slog.New(slog.DiscardHandler))
	d.seen = newSketch(d.opts.MaxFiles)
	d.checked = make(map[string]checkedFile)
	d.worth = d.seen.count
	if err := d.fs.mkdirAll(d.trash()); err != nil {
		d.stop()
		return nil, fmt.Errorf("cache: %w", err)
	}
	unlock, err := d.fs.lock(filepath.Join(d.dir, "LOCK"))
	switch {
	case errors.Is(err, errInUse):
		err = fmt.Errorf("cache: %s is %w", dir, err)
	case err != nil:
		err = fmt.Errorf("cache: locking %s: %w", dir, err)
	default:
		if err = d.loadGenerations(); err != nil {
			err = errors.Join(fmt.Errorf("cache: %w", err), unlock())
		}
	}
	if err != nil {
		d.stop()
		_ = d.fs.remove(d.trash())
		return nil, err
	}
	d.unlock = unlock
	d.root = filepath.Join(d.dir, d.epoch) + string(filepath.Separator)
	return d, nil
}

// Stats returns counts since the directory was opened.
func (d *Disk) Stats() DiskStats {
	return DiskStats{d.bytes.Load(), d.inodes.Load(), d.damaged.Load(), d.faults.Load(), d.evicted.Load()}
}

// Close writes the names that wait to be written, stops what runs behind and releases the directory.
func (d *Disk) Close() error {
	d.stop() // first: who uses the directory may wait for what runs behind
	d.closing.Lock()
	if d.closed {
		d.closing.Unlock()
		return nil
	}
	d.closed = true
	close(d.queue)
	d.closing.Unlock()
	d.work.Wait()
	return d.unlock()
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

const tempPrefix = ".tmp-"

func isTemp(name string) bool { return strings.HasPrefix(name, tempPrefix) }

// createTemp makes a temporary file in folder.
func (d *Disk) createTemp(folder string) (f file, path string, err error) {
	path = filepath.Join(folder, tempPrefix+d.life+"-"+strconv.FormatInt(d.temps.Add(1), 10))
	f, err = d.fs.create(path)
	return f, path, err
}

// fillTemp writes a temporary file, syncs it where durable says so, and closes it. Where that fails it is removed.
func (d *Disk) fillTemp(f file, path string, durable bool, parts ...[]byte) (err error) {
	for _, b := range parts {
		if err == nil && len(b) > 0 {
			_, err = f.Write(b)
		}
	}
	if err == nil && durable {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		d.dropTemp(path)
	}
	return err
}

// dropTemp removes a temporary file that is not to take its place. One that stays goes when the directory is opened
// again.
func (d *Disk) dropTemp(path string) {
	if err := d.fs.remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.fault("removing a temporary file", err)
	}
}

// hash16 is the first half of SHA-256, in hexadecimal.
func hash16(s string) string { return string(appendHash16(nil, s)) }

func appendHash16(b []byte, parts ...string) []byte {
	var buf [256]byte
	in := buf[:0]
	for i, p := range parts {
		if i > 0 {
			in = append(in, 0)
		}
		in = append(in, p...)
	}
	sum := sha256.Sum256(in)
	return hex.AppendEncode(b, sum[:16])
}

// folder is where all of an image is, now.
func (d *Disk) folder(source, image string) string {
	var buf [512]byte
	return string(d.appendFolder(buf[:0], source, image))
}

func (d *Disk) appendFolder(b []byte, source, image string) []byte {
	b = append(b, d.root...)
	b = appendHash16(b, source)
	b = append(b, '.')
	b = strconv.AppendUint(b, d.gens.Load().Deleted(source), 10)
	b = append(b, filepath.Separator)
	shard := len(b)
	b = append(b, "hh"...)
	b = append(b, filepath.Separator)
	folder := len(b)
	b = appendHash16(b, source, image)
	copy(b[shard:], b[folder:folder+2])
	return b
}

func (d *Disk) imageLock(folder string) *sync.Mutex { return lockOf(&d.images, filepath.Base(folder)) }

// lockOf returns the lock of an image, or a source, by its hash.
func lockOf(locks *[256]sync.Mutex, hash string) *sync.Mutex {
	if len(hash) < 4 {
		return &locks[0] // not a name that this package gives
	}
	n, _ := strconv.ParseUint(hash[2:4], 16, 8)
	return &locks[n]
}

var kindLetters = [...]string{Original: "o", Derivative: "d", Composite: "c"}

func (k *Key) appendFile(b []byte) []byte {
	b = append(b, kindLetters[k.Kind]...)
	b = append(b, '-')
	return hex.AppendEncode(b, k.Sum[:])
}

func (k Key) file() string { return string(k.appendFile(nil)) }

// path is where the thing of a key is, now: its folder, and its name there.
func (d *Disk) path(k *Key) (path, file string) {
	var buf [512]byte
	b := append(d.appendFolder(buf[:0], k.Source, k.Image), filepath.Separator)
	n := len(b)
	path = string(k.appendFile(b))
	return path, path[n:]
}

// isAt reports whether path is still where the thing of a key is.
func (d *Disk) isAt(k *Key, path string) bool {
	now, _ := d.path(k)
	return now == path
}

// Get implements [Store].
func (d *Disk) Get(_ context.Context, k Key) (*Thing, error) {
	done, open := d.use()
	if !open {
		return nil, ErrNotFound
	}
	defer done()
	path, file := d.path(&k)
	var h fileHeader
	body, err := d.read(path, &h)
	if err != nil {
		return nil, err
	}
	if h.Source != k.Source || h.Image != k.Image || h.File != file {
		d.discard(path)
		return nil, ErrNotFound
	}
	// One that lacks a reference stays where it is: who frees the purged input counts it.
	if ok, err := d.lookReferred(h.Inputs, h.Stamp); err != nil {
		return nil, err
	} else if !ok {
		return nil, ErrNotFound
	}
	if h.Zstd {
		if body, err = d.unzip().DecodeAll(body, nil); err != nil {
			d.discard(path)
			return nil, ErrNotFound
		}
	}
	return &Thing{Header: h.Header, Body: body, Inputs: h.Inputs}, nil
}

// read reads a file of this cache, and its header into h. A file that is not whole, or of an earlier format, is
// removed.
func (d *Disk) read(path string, h *fileHeader) ([]byte, error) {
	d.seen.add(path[len(d.root):])
	data, err := d.fs.read(path, d.idle)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrNotFound
	case err != nil:
		d.fault("reading", err)
		return nil, err
	}
	body, err := decodeEntry(data, h)
	switch {
	case errors.Is(err, errFormat):
		if _, err := d.remove(path); err != nil {
			d.fault("removing a file of an earlier format", err)
		}
		return nil, ErrNotFound
	case err != nil:
		d.discard(path)
		return nil, ErrNotFound
	}
	return body, nil
}

// discard removes a file that is not what it should be.
func (d *Disk) discard(path string) {
	d.damaged.Add(1)
	if _, err := d.remove(path); err != nil {
		d.fault("removing a damaged file", err)
	}
}

// Put implements [Store]. A thing of a gigabyte or more is not kept.
func (d *Disk) Put(_ context.Context, k Key, t *Thing, valid func() bool) error {
	done, open := d.use()
	if !open {
		return errClosed
	}
	defer done()
	if t.size() >= maxFileSize-(1<<20) {
		return nil
	}
	path, file := d.path(&k)
	h := fileHeader{Source: k.Source, Image: k.Image, File: file, Header: t.Header}
	if k.Kind == Composite && len(t.Inputs) > 0 {
		h.Inputs, h.Stamp = t.Inputs, d.newStamp()
	}
	there, old, err := d.kept(path, &h)
	if there || err != nil {
		return err
	}
	body := t.Body
	if compressible(t.Header.Get("Content-Type")) {
		if z := d.zip().EncodeAll(body, nil); len(z) < len(body)*9/10 {
			body, h.Zstd = z, true
		}
	}
	durable := d.opts.Durable == DurableAll
	if len(h.Inputs) == 0 {
		_, err = d.place(h, body, durable, valid)
		return err
	}
	placed, err := d.refer(path, &h, durable, valid)
	if placed {
		placed, err = d.place(h, body, durable, func() bool { return isValid(valid) && d.isAt(&k, path) && d.referred(&h) })
	}
	switch {
	case !placed:
		d.dropReferences(&h)
	case old != nil:
		d.dropReferences(old)
	}
	return err
}

// kept reports whether what is to be put is there already. It cannot be another thing; but a composite is not there where it has
// lost a reference, as by a purge of an input, and then its header is returned.
func (d *Disk) kept(path string, h *fileHeader) (there bool, old *fileHeader, err error) {
	_, err = d.fs.stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil, nil
	}
	if err == nil && len(h.Inputs) == 0 {
		return true, nil, nil
	}
	if err == nil {
		old, _, err = d.compositeAt(path)
	}
	if err != nil {
		d.fault("writing", err)
		return false, nil, err
	}
	if old == nil {
		return false, nil, nil
	}
	there, err = d.lookReferred(old.Inputs, old.Stamp)
	return there, old, err
}

// place writes a file into its image's folder: temp beside its place, write, sync, close, rename, sync the
// directories from its own upwards. The syncs are for what is durable. It reports whether the file has its place; it has not
// where it was not valid any more.
func (d *Disk) place(h fileHeader, body []byte, durable bool, valid func() bool) (placed bool, err error) {
	head, err := encodeEntry(&h, body)
	if err != nil {
		return false, err
	}
	// The folder may be hidden at any moment, by a purge, or removed by the eviction while it is empty.
	// What is still valid then is written again.
	for range 3 {
		folder := d.folder(h.Source, h.Image)
		placed, err = d.placeIn(folder, &h, head, body, durable, valid)
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		d.fault("writing", err)
		if errors.Is(err, syscall.ENOSPC) {
			d.none.Store(true)
			d.makeRoom()
		}
	}
	return placed, err
}

func (d *Disk) placeIn(folder string, h *fileHeader, head, body []byte, durable bool, valid func() bool) (placed bool, err error) {
	mu := d.imageLock(folder)
	f, temp, err := d.createTemp(folder)
	if errors.Is(err, fs.ErrNotExist) {
		// Under the lock, as the eviction would remove a folder that is still empty.
		mu.Lock()
		if err = d.makeFolder(folder); err == nil {
			f, temp, err = d.createTemp(folder)
		}
		mu.Unlock()
	}
	if err != nil {
		return false, err
	}
	if err = d.fillTemp(f, temp, durable, head, body); err != nil {
		return false, err
	}
	mu.Lock()
	placed = isValid(valid) && folder == d.folder(h.Source, h.Image)
	if placed {
		err = d.moveIn(temp, filepath.Join(folder, h.File), int64(len(head)+len(body)))
	}
	mu.Unlock()
	if !placed || err != nil {
		d.dropTemp(temp)
		return false, err
	}
	if !durable {
		return true, nil
	}
	if err = d.syncUp(folder); errors.Is(err, fs.ErrNotExist) {
		return true, nil // a purge came after it
	}
	return true, err
}

// moveIn gives a file of so many bytes its place. The caller holds the image's lock.
func (d *Disk) moveIn(temp, path string, size int64) error {
	d.account.RLock()
	defer d.account.RUnlock()
	bytes, files := blocks(size), int64(1)
	info, err := d.fs.stat(path)
	switch {
	case err == nil:
		bytes, files = bytes-blocks(info.Size()), 0
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := d.fs.rename(temp, path); err != nil {
		return err
	}
	if d.accounted(filepath.Dir(path)) {
		d.grow(files, bytes)
	}
	return nil
}

// makeFolder makes an image's folder. The caller holds the image's lock.
func (d *Disk) makeFolder(folder string) error {
	make := func() error {
		d.account.RLock()
		defer d.account.RUnlock()
		err := d.fs.mkdir(folder)
		if err == nil && d.accounted(folder) {
			d.grow(1, blockSize)
		}
		return err
	}
	err := make()
	if errors.Is(err, fs.ErrNotExist) {
		shard := filepath.Dir(folder)
		d.linking.Lock()
		delete(d.linked, shard)
		d.linking.Unlock()
		if err = d.fs.mkdirAll(shard); err == nil {
			err = make()
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// removeFolder removes an image's folder where it is empty.
func (d *Disk) removeFolder(folder string) error {
	d.account.RLock()
	defer d.account.RUnlock()
	err := d.fs.remove(folder)
	if err == nil && d.accounted(folder) {
		d.grow(-1, -blockSize)
	}
	return err
}

// maxLinked bounds what is remembered as linked: 64 sources, about 10 MB.
const maxLinked = 64 << 8

// syncUp makes what has come to an image's folder, and the folder itself, outlast a power cut. Most file systems do
// that for the folders above with the first sync; none has to.
func (d *Disk) syncUp(folder string) error {
	shard := filepath.Dir(folder)
	if err := d.fs.syncDir(folder); err != nil {
		return err
	}
	if err := d.fs.syncDir(shard); err != nil {
		return err
	}
	d.linking.Lock()
	defer d.linking.Unlock()
	if _, ok := d.linked[shard]; ok {
		return nil
	}
	source := filepath.Dir(shard)
	for _, dir := range []string{source, filepath.Dir(source), d.dir} {
		if err := d.fs.syncDir(dir); err != nil {
			return err
		}
	}
	if len(d.linked) >= maxLinked {
		clear(d.linked)
	}
	d.linked[shard] = struct{}{}
	return nil
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
	_, err := d.place(h, nil, d.opts.Durable != DurablePurges, w.valid)
	return err
}

// remove removes a file in an image's folder, and takes it off the account. It reports whether there was one.
func (d *Disk) remove(path string) (removed bool, err error) {
	mu := d.imageLock(filepath.Dir(path))
	mu.Lock()
	defer mu.Unlock()
	return d.removeLocked(path)
}

// removeLocked is remove for callers that hold the image's lock.
func (d *Disk) removeLocked(path string) (removed bool, err error) {
	d.account.RLock()
	defer d.account.RUnlock()
	return d.unlink(path, d.accounted(filepath.Dir(path)))
}

func (d *Disk) unlink(path string, accounted bool) (removed bool, err error) {
	info, err := d.fs.stat(path)
	if err == nil {
		err = d.fs.remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil && accounted && !isTemp(filepath.Base(path)) {
		d.grow(-1, -blocks(info.Size()))
	}
	return err == nil, err
}

// fault counts a failure of the disk, and logs one a minute.
func (d *Disk) fault(doing string, err error) {
	d.faults.Add(1)
	now, last := time.Now().Unix(), d.lastWarn.Load()
	if now-last >= 60 && d.lastWarn.CompareAndSwap(last, now) {
		d.opts.Logger.Warn("the disk cache failed", "doing", doing, "error", err, "faults", d.faults.Load())
	}
}
