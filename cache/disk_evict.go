package cache

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// tidy counts what is there and frees what earlier lives have left. Until it has counted, the account is
// too low, and less is evicted than could be.
func (d *Disk) tidy() {
	ctx := d.open
	for ctx.Err() == nil && d.countShard() {
	}
	d.grow(0)

	uncounted := func(path string) error { return d.unlink(path, false) }
	var r Removed
	top, _ := os.ReadDir(d.dir)
	for _, f := range top {
		path := filepath.Join(d.dir, f.Name())
		switch {
		case strings.HasPrefix(f.Name(), "epoch-") && f.Name() != d.epoch:
			_ = d.free(ctx, path, uncounted, &r)
		case d.leftover(f.Name()):
			os.Remove(path)
		}
	}
	hidden, _ := os.ReadDir(filepath.Join(d.dir, "trash"))
	for _, f := range hidden {
		if f.Name() != d.life {
			_ = d.free(ctx, filepath.Join(d.dir, "trash", f.Name()), uncounted, &r)
		}
	}
	_, _ = d.freeUnreachable(ctx, "")
}

// leftover reports whether a file is a temporary one of an earlier life.
func (d *Disk) leftover(name string) bool {
	return isTemp(name) && !strings.HasPrefix(name, tempPrefix+d.life)
}

// countShard puts the next SOURCE.G/HH on the account. Nothing in any image's folder comes or goes meanwhile. It
// reports whether there was one.
func (d *Disk) countShard() bool {
	d.account.Lock()
	defer d.account.Unlock()
	epoch := filepath.Join(d.dir, d.epoch)
	sources, _ := os.ReadDir(epoch)
	for _, s := range sources {
		shards, _ := os.ReadDir(filepath.Join(epoch, s.Name()))
		for _, sh := range shards {
			name := s.Name() + "/" + sh.Name()
			if name <= d.counted {
				continue
			}
			d.bytes.Add(d.sizeOf(filepath.Join(epoch, s.Name(), sh.Name())))
			d.counted = name
			return true
		}
	}
	d.all = true
	return false
}

// sizeOf is what the images in a shard take, in blocks.
func (d *Disk) sizeOf(shard string) int64 {
	var n int64
	images, _ := os.ReadDir(shard)
	for _, image := range images {
		folder := filepath.Join(shard, image.Name())
		files, _ := os.ReadDir(folder)
		for _, f := range files {
			switch {
			case d.leftover(f.Name()):
				os.Remove(filepath.Join(folder, f.Name()))
			case !isTemp(f.Name()):
				if info, err := f.Info(); err == nil {
					n += blocks(info.Size())
				}
			}
		}
	}
	return n
}

// accounted reports whether the files in an image's folder are on the account. The caller holds
// d.account.
func (d *Disk) accounted(folder string) bool {
	if d.all {
		return true
	}
	shard := filepath.Dir(folder)
	return filepath.Base(filepath.Dir(shard))+"/"+filepath.Base(shard) <= d.counted
}

// grow puts bytes on the account, and has room made where that is too much.
func (d *Disk) grow(bytes int64) {
	if n := d.bytes.Add(bytes); d.opts.MaxBytes < 0 || n <= d.opts.MaxBytes {
		return
	}
	select {
	case d.full <- struct{}{}:
	default:
	}
}

// evictLoop makes room when there is too much, down to 95 % of the bound.
func (d *Disk) evictLoop() {
	var forgotten map[string]bool // what lay in the trash the last time: nobody frees it
	for {
		select {
		case <-d.open.Done():
			return
		case <-d.full:
		}
		_, _ = d.emptyTrash(d.open, func(name string) bool { return forgotten[name] })
		forgotten = make(map[string]bool)
		hidden, _ := os.ReadDir(d.trash())
		for _, f := range hidden {
			forgotten[f.Name()] = true
		}
		for empty := 0; d.bytes.Load() > d.opts.MaxBytes/20*19 && empty < 1000 && d.open.Err() == nil; {
			if d.evictSome() == 0 {
				empty++
			} else {
				empty = 0
			}
		}
	}
}

// evictSome looks at a random handful of images and removes the files used least lately, a quarter of
// what it saw. Nothing is held in memory for it, however much is cached. It returns how many it removed.
func (d *Disk) evictSome() int {
	epoch := filepath.Join(d.dir, d.epoch)
	sources, err := os.ReadDir(epoch)
	if err != nil || len(sources) == 0 {
		return 0
	}
	type candidate struct {
		path string
		used time.Time
	}
	var seen []candidate
	for range 4 {
		shard := filepath.Join(epoch, sources[rand.IntN(len(sources))].Name(), fmt.Sprintf("%02x", rand.IntN(256)))
		images, _ := os.ReadDir(shard)
		for range min(4, len(images)) {
			folder := filepath.Join(shard, images[rand.IntN(len(images))].Name())
			files, _ := os.ReadDir(folder)
			if len(files) == 0 {
				os.Remove(folder) // fails, rightly, where a file has just arrived
			}
			for _, f := range files {
				if info, err := f.Info(); err == nil && !isTemp(f.Name()) {
					seen = append(seen, candidate{filepath.Join(folder, f.Name()), info.ModTime()})
				}
			}
		}
	}
	slices.SortFunc(seen, func(a, b candidate) int {
		return cmp.Or(a.used.Compare(b.used), strings.Compare(a.path, b.path))
	})
	seen = slices.CompactFunc(seen, func(a, b candidate) bool { return a.path == b.path })
	n := 0
	for _, c := range seen[:(len(seen)+3)/4] {
		if err := d.remove(c.path); err != nil {
			d.fault("evicting", err)
			continue
		}
		d.evicted.Add(1)
		n++
	}
	return n
}
