package cache

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// tidy counts what is there and frees what earlier lives have left. Until it has counted, the account is
// too low, and less is evicted than could be.
func (d *Disk) tidy() {
	ctx := d.open
	for c := (counter{d: d}); ctx.Err() == nil && c.next(); {
	}
	d.grow(0, 0)

	var r Removed
	for _, f := range d.listed(d.dir) {
		path := filepath.Join(d.dir, f.Name())
		switch {
		case epochPattern.MatchString(f.Name()) && f.Name() != d.epoch:
			_ = d.free(ctx, path, d.uncountedRemover(false), &r)
		case d.leftover(f.Name()) && filePattern.MatchString(f.Name()):
			d.dropTemp(path)
		}
	}
	_, _ = d.emptyTrash(ctx, func(life, _ string) bool { return life != d.life }, true)
	for _, f := range d.listed(filepath.Join(d.dir, "trash")) {
		if f.Name() != d.life {
			_ = d.free(ctx, filepath.Join(d.dir, "trash", f.Name()), d.uncountedRemover(true), &r)
		}
	}
	lives, err := d.fs.list(filepath.Join(d.dir, "trash"))
	if err != nil {
		d.fault("listing", err)
	}
	d.tidied.Store(err == nil && !slices.ContainsFunc(lives, func(f fs.DirEntry) bool { return f.Name() != d.life }))
	_, _ = d.freeUnreachable(ctx, "", true)
}

// listed lists a directory for who can do nothing about an error but have it counted.
func (d *Disk) listed(path string) []fs.DirEntry {
	files, err := d.fs.list(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.fault("listing", err)
	}
	return files
}

// leftover reports whether a file is a temporary one of an earlier life.
func (d *Disk) leftover(name string) bool {
	return isTemp(name) && !strings.HasPrefix(name, tempPrefix+d.life)
}

// A counter puts what is there on the account, one SOURCE.G/HH after the other, in the order of their names.
type counter struct {
	d      *Disk
	source string // SOURCE.G whose folders are being counted
}

// next counts the next SOURCE.G/HH. Nothing in any image's folder comes or goes meanwhile. It reports whether there
// was one.
func (c *counter) next() bool {
	d := c.d
	d.account.Lock()
	defer d.account.Unlock()
	for {
		if c.source != "" {
			if sh := after(d.listed(d.root+c.source), strings.TrimPrefix(d.counted, c.source+"/")); sh != "" {
				d.countShard(filepath.Join(d.root+c.source, sh))
				d.counted = c.source + "/" + sh
				return true
			}
		}
		source := after(d.listed(d.root), c.source)
		if source == "" {
			d.all = true
			return false
		}
		c.source, d.counted = source, source+"/"
	}
}

// after is the first name behind last.
func after(files []fs.DirEntry, last string) string {
	first := ""
	for _, f := range files {
		if n := f.Name(); n > last && (first == "" || n < first) {
			first = n
		}
	}
	return first
}

// countShard counts the images of a folder HH.
func (d *Disk) countShard(shard string) {
	for _, image := range d.listed(shard) {
		if !image.IsDir() {
			continue
		}
		files, bytes := int64(1), int64(blockSize)
		folder := filepath.Join(shard, image.Name())
		for _, f := range d.listed(folder) {
			switch {
			case d.leftover(f.Name()):
				d.dropTemp(filepath.Join(folder, f.Name()))
			case !isTemp(f.Name()):
				if info, err := f.Info(); err == nil {
					files++
					bytes += blocks(info.Size())
				} else if !errors.Is(err, fs.ErrNotExist) {
					d.fault("counting", err)
				}
			}
		}
		d.inodes.Add(files)
		d.bytes.Add(bytes)
	}
}

// accounted reports whether what is in an image's folder is on the account. The caller holds d.account.
func (d *Disk) accounted(folder string) bool {
	if d.all {
		return true
	}
	shard := filepath.Dir(folder)
	return filepath.Base(filepath.Dir(shard))+"/"+filepath.Base(shard) <= d.counted
}

// grow puts files and bytes on the account, and has room made where that is too much.
func (d *Disk) grow(files, bytes int64) {
	d.inodes.Add(files)
	d.bytes.Add(bytes)
	if d.over(1, 1) {
		d.makeRoom()
	}
}

// over reports whether there is more than so large a part of what may be.
func (d *Disk) over(num, den int64) bool {
	return d.opts.MaxBytes >= 0 && d.bytes.Load() > d.opts.MaxBytes/den*num ||
		d.opts.MaxFiles >= 0 && d.inodes.Load() > d.opts.MaxFiles*num/den
}

func (d *Disk) makeRoom() {
	select {
	case d.full <- struct{}{}:
	default:
	}
}

// evictLoop makes room when there is too much, down to 95 % of the bounds.
func (d *Disk) evictLoop() {
	var forgotten map[string]bool // what lay in the trash the last time: nobody frees it
	for {
		select {
		case <-d.open.Done():
			return
		case <-d.full:
		}
		_, _ = d.emptyTrash(d.open, func(life, name string) bool { return life == d.life && forgotten[name] }, true)
		forgotten = make(map[string]bool)
		for _, f := range d.listed(d.trash()) {
			forgotten[f.Name()] = true
		}
		tooMuch := func() bool { return d.over(19, 20) }
		if d.none.Swap(false) {
			// The file system is full before the bounds are reached. A handful less, each time, is what it holds.
			for left := 100; left > 0 && d.open.Err() == nil && d.evictSome(func() bool { return true }) == 0; {
				left--
			}
		}
		for empty := 0; tooMuch() && empty < 1000 && d.open.Err() == nil; {
			if d.evictSome(tooMuch) == 0 {
				empty++
			} else {
				empty = 0
			}
		}
	}
}

// A candidate is a file that might be evicted.
type candidate struct {
	folder *sampledFolder
	name   string
	worth  uint8
	used   time.Time
}

// rank lets names go last.
func (c *candidate) rank() int {
	if strings.HasPrefix(c.name, "n-") {
		return 1
	}
	return 0
}

type sampledFolder struct {
	path string
	left int // files that are still in it
}

// sampleSize is how many files are looked at before the worst of them go. Of so many, the worst quarter is on average
// the worst quarter of all to within a few per cent.
const sampleSize = 64

// evictSome looks at random images and removes the files of least worth, a quarter of what it saw, while more says
// so. Nothing is held in memory for it but the sketch, however much is cached. It returns how many it removed.
func (d *Disk) evictSome(more func() bool) int {
	d.seen.last(10 * int(d.inodes.Load()))
	sources := d.listed(d.root)
	if len(sources) == 0 {
		return 0
	}
	folders := make(map[string]bool)
	var all []candidate
	for picks := 0; picks < 16 && len(all) < sampleSize; picks++ {
		shard := filepath.Join(d.root+sources[rand.IntN(len(sources))].Name(), fmt.Sprintf("%02x", rand.IntN(256)))
		images := d.listed(shard)
		// So many of a folder's images that the images of large sources are as likely to be seen as those of small.
		for range min((len(images)+15)/16, sampleSize) {
			image := images[rand.IntN(len(images))]
			if folder := filepath.Join(shard, image.Name()); image.IsDir() && !folders[folder] {
				folders[folder] = true
				all = append(all, d.sample(folder)...)
			}
		}
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.worth, b.worth), a.used.Compare(b.used), cmp.Compare(a.rank(), b.rank()))
	})
	n := 0
	for _, c := range all[:(len(all)+3)/4] {
		if !more() {
			break
		}
		if _, err := d.removeAny(filepath.Join(c.folder.path, c.name), d.remove); err != nil {
			d.fault("evicting", err)
			continue
		}
		d.evicted.Add(1)
		n++
		if c.folder.left--; c.folder.left == 0 {
			d.dropFolder(c.folder.path)
		}
	}
	return n
}

// sample returns what might be evicted from an image's folder. A name is worth as much as what is kept with it, which
// cannot be found without it. A reference goes with its composite, or at once where that is gone.
func (d *Disk) sample(folder string) []candidate {
	files := d.listed(folder)
	if len(files) == 0 {
		d.dropFolder(folder)
		return nil
	}
	f := &sampledFolder{folder, len(files)}
	var all []candidate
	var best candidate
	var references []string
	for _, file := range files {
		if isReference(file.Name()) {
			references = append(references, file.Name())
			continue
		}
		info, err := file.Info()
		if err != nil || isTemp(file.Name()) {
			continue
		}
		path := filepath.Join(folder, file.Name())
		c := candidate{f, file.Name(), d.worth(path[len(d.root):]), info.ModTime()}
		if c.used.After(best.used) {
			best.used = c.used
		}
		best.worth = max(best.worth, c.worth)
		all = append(all, c)
	}
	for i, c := range all {
		if c.rank() > 0 {
			all[i].worth, all[i].used = best.worth, best.used
		}
	}
	for _, name := range d.dangling(folder, references) {
		all = append(all, candidate{folder: f, name: name})
	}
	return all
}

// dropFolder removes an image's folder that seems to be empty: it fails, rightly, where a file has just arrived.
func (d *Disk) dropFolder(folder string) {
	mu := d.imageLock(folder)
	mu.Lock()
	defer mu.Unlock()
	if err := d.removeFolder(folder); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
		d.fault("evicting", err)
	}
}
