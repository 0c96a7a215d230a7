package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

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
	hide := d.removeNames
	if !namesOnly {
		d.hidden.take(filepath.Base(folder)) // what an earlier purge has freed is not told of this one
		hide = d.toTrash
	}
	err := hide(folder)
	if err == nil {
		// Also where nothing was found: what the eviction has removed may still be on the disk.
		if err = d.fs.syncDir(filepath.Dir(folder)); errors.Is(err, fs.ErrNotExist) {
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
	files, err := d.fs.list(folder)
	for _, f := range files {
		if strings.HasPrefix(f.Name(), "n-") {
			_, removeErr := d.removeLocked(filepath.Join(folder, f.Name()))
			err = errors.Join(err, removeErr)
		}
	}
	if err == nil {
		err = d.fs.syncDir(folder)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// toTrash moves a folder out of the way. The caller holds the image's lock.
func (d *Disk) toTrash(folder string) error {
	err := d.moveToTrash(folder)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := d.fs.stat(folder); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		// It is the trash that is missing.
		if err := d.fs.mkdirAll(d.trash()); err != nil {
			return err
		}
		err = d.moveToTrash(folder)
	}
	if err != nil {
		return err
	}
	return d.fs.syncDir(d.trash())
}

// moveToTrash is the move. The folder's last element stays the beginning of its new name, and the new name tells
// whether it is on the account.
func (d *Disk) moveToTrash(folder string) error {
	d.account.RLock()
	defer d.account.RUnlock()
	name := fmt.Sprintf("%s.%d", filepath.Base(folder), d.trashed.Add(1))
	if !d.accounted(folder) {
		name += uncountedSuffix
	}
	d.hiding.Add(1)
	err := d.fs.rename(folder, filepath.Join(d.trash(), name))
	if errors.Is(err, fs.ErrNotExist) {
		d.hiding.Add(-1)
	}
	return err
}

const uncountedSuffix = ".uncounted"

// Remove implements [Store]: it frees what Hide has hidden, also before a restart.
func (d *Disk) Remove(ctx context.Context, source, image string) (Removed, error) {
	done, open := d.use()
	if !open {
		return Removed{}, errClosed
	}
	defer done()
	hash := filepath.Base(d.folder(source, image))
	var r Removed
	var err error
	if d.hiding.Load() > 0 || !d.tidied.Load() { // else there is nothing to look for, as for most that a purge lists
		r, err = d.emptyTrash(ctx, func(_, name string) bool { return strings.HasPrefix(name, hash+".") }, false)
	}
	mu := lockOf(&d.emptying, hash)
	mu.Lock() // who has freed it has said so then
	defer mu.Unlock()
	r.plus(d.hidden.take(hash))
	return r, err
}

// emptyTrash frees some of what was hidden, in this life and in earlier ones. What it frees without being asked to is counted for
// who asks later.
func (d *Disk) emptyTrash(ctx context.Context, which func(life, name string) bool, unasked bool) (r Removed, err error) {
	lives, err := d.fs.list(filepath.Dir(d.trash()))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.fault("freeing", err)
		return r, err
	}
	for _, life := range lives {
		if !life.IsDir() {
			continue
		}
		folder := filepath.Join(filepath.Dir(d.trash()), life.Name())
		hidden, err := d.fs.list(folder)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.fault("freeing", err)
			return r, err
		}
		for _, f := range hidden {
			if !which(life.Name(), f.Name()) {
				continue
			}
			path, how := filepath.Join(folder, f.Name()), d.trashRemover()
			if life.Name() != d.life || strings.HasSuffix(f.Name(), uncountedSuffix) {
				how = d.uncountedRemover(true)
			}
			var freed Removed
			hash, _, _ := strings.Cut(f.Name(), ".")
			mu := lockOf(&d.emptying, hash)
			mu.Lock()
			before := d.isThere(path)
			err := d.free(ctx, path, how, &freed)
			if unasked {
				d.hidden.leave(hash, freed)
			}
			if life.Name() == d.life && before == nil && errors.Is(d.isThere(path), fs.ErrNotExist) {
				d.hiding.Add(-1)
			}
			mu.Unlock()
			r.plus(freed)
			if err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

// isThere returns nil where something is at path, and ErrNotExist where nothing is.
func (d *Disk) isThere(path string) error {
	_, err := d.fs.stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.fault("freeing", err)
	}
	return err
}

// RemoveAll implements [Store]: it frees what SaveGenerations has made unreachable.
func (d *Disk) RemoveAll(ctx context.Context, source string) (Removed, error) {
	done, open := d.use()
	if !open {
		return Removed{}, errClosed
	}
	defer done()
	r, err := d.freeUnreachable(ctx, source, false)
	if source != "" {
		mu := lockOf(&d.reclaiming, hash16(source))
		mu.Lock() // who has freed it has said so then
		defer mu.Unlock()
		r.plus(d.deleted.take(hash16(source)))
		return r, err
	}
	for i := range d.reclaiming {
		d.reclaiming[i].Lock()
		d.reclaiming[i].Unlock() // to have waited is all
	}
	r.plus(d.deleted.takeAll())
	return r, err
}

// freeUnreachable frees what generations have made unreachable, of a source or of all. What it frees without being asked to is
// counted for who asks later.
func (d *Disk) freeUnreachable(ctx context.Context, source string, unasked bool) (r Removed, err error) {
	epoch := filepath.Join(d.dir, d.epoch)
	folders, err := d.fs.list(epoch)
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
		var freed Removed
		mu := lockOf(&d.reclaiming, hash)
		mu.Lock()
		err = d.free(ctx, filepath.Join(epoch, f.Name()), d.unreachableRemover(), &freed)
		if unasked {
			d.deleted.leave(hash, freed)
		}
		mu.Unlock()
		r.plus(freed)
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

// claims remember what was freed before anybody came to ask for it: after a restart, and to make room. Who asks tells it then.
type claims struct {
	mu sync.Mutex // guards of; may be taken with any other lock held
	of map[string]Removed
}

// maxClaims bounds what is remembered: about 1 MB. What is beyond is freed and not told.
const maxClaims = 10_000

func (c *claims) leave(whose string, r Removed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, known := c.of[whose]
	if r == (Removed{}) || !known && len(c.of) >= maxClaims {
		return
	}
	if c.of == nil {
		c.of = make(map[string]Removed)
	}
	before.plus(r)
	c.of[whose] = before
}

// take returns what leave was told, once.
func (c *claims) take(whose string) Removed {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.of[whose]
	delete(c.of, whose)
	return r
}

func (c *claims) takeAll() (r Removed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, freed := range c.of {
		r.plus(freed)
	}
	clear(c.of)
	return r
}

// A remover removes files, and folders. Those of images, which are so far below where it begins, count.
type remover struct {
	file   func(path string) (removed bool, err error)
	folder func(path string) error
	depth  int
	follow bool // references, to composites of the epoch that is in use
}

func (d *Disk) unreachableRemover() remover { return remover{d.remove, d.removeFolder, 2, true} }

func (d *Disk) trashRemover() remover {
	return remover{
		func(path string) (bool, error) { return d.unlink(path, true) },
		func(path string) error {
			err := d.fs.remove(path)
			if err == nil {
				d.grow(-1, -blockSize)
			}
			return err
		}, 0, true,
	}
}

func (d *Disk) uncountedRemover(follow bool) remover {
	return remover{func(path string) (bool, error) { return d.unlink(path, false) }, d.fs.remove, 0, follow}
}

// free removes all below path and counts it.
func (d *Disk) free(ctx context.Context, path string, how remover, r *Removed) error {
	err := d.freeTree(ctx, path, how, r)
	if err != nil && ctx.Err() == nil {
		d.fault("freeing", err)
	}
	return err
}

func (d *Disk) freeTree(ctx context.Context, path string, how remover, r *Removed) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	files, err := d.fs.list(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, f := range files {
		below := filepath.Join(path, f.Name())
		if f.IsDir() {
			deeper := how
			deeper.depth--
			if err := d.freeTree(ctx, below, deeper, r); err != nil {
				return err
			}
			continue
		}
		info, infoErr := f.Info()
		if how.follow && isReference(f.Name()) {
			if err := d.follow(below, r); err != nil {
				return err
			}
		}
		remove := how.file
		if how.follow {
			remove = func(path string) (bool, error) { return d.removeAny(path, how.file) }
		}
		removed, err := remove(below)
		if err != nil {
			return err
		}
		if k, ok := kindOf(f.Name()); ok && removed && infoErr == nil {
			r.add(k, info.Size())
		}
	}
	removeFolder := d.fs.remove
	if how.depth == 0 {
		removeFolder = how.folder
	}
	// Where something has arrived meanwhile, it stays for the next time.
	if err := removeFolder(path); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
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
