package cache

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// tidy frees what earlier lives have left and counts what is there. Until it is done, the account is too
// low, and less is evicted than could be.
func (d *Disk) tidy(opened time.Time) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-d.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	// Counted first, so that what is freed can be taken off the account.
	_ = filepath.WalkDir(d.dir, func(path string, f fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return fs.SkipAll
		}
		if err != nil || f.IsDir() {
			return nil
		}
		info, err := f.Info()
		if err != nil || info.ModTime().After(opened) {
			return nil // gone, or counted when it was put there
		}
		if strings.HasPrefix(f.Name(), ".tmp-") {
			os.Remove(path)
			return nil
		}
		d.bytes.Add(blocks(info.Size()))
		return nil
	})
	var r Removed
	top, _ := os.ReadDir(d.dir)
	for _, f := range top {
		if strings.HasPrefix(f.Name(), "epoch-") && f.Name() != d.epoch {
			_ = d.free(ctx, filepath.Join(d.dir, f.Name()), &r)
		}
	}
	hidden, _ := filepath.Glob(filepath.Join(d.dir, "trash", "*"))
	for _, folder := range hidden {
		_ = d.free(ctx, folder, &r)
	}
	_, _ = d.RemoveAll(ctx, "")
	d.grow(0)
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
	for {
		select {
		case <-d.stop:
			return
		case <-d.full:
		}
		for empty := 0; d.bytes.Load() > d.opts.MaxBytes/20*19 && empty < 1000; {
			select {
			case <-d.stop:
				return
			default:
			}
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
				if info, err := f.Info(); err == nil {
					seen = append(seen, candidate{filepath.Join(folder, f.Name()), info.ModTime()})
				}
			}
		}
	}
	slices.SortFunc(seen, func(a, b candidate) int { return a.used.Compare(b.used) })
	seen = slices.CompactFunc(seen, func(a, b candidate) bool { return a.path == b.path })
	n := (len(seen) + 3) / 4
	for _, c := range seen[:n] {
		if d.remove(c.path) == nil {
			d.evicted.Add(1)
		}
	}
	return n
}
