package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
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
	hide := d.toTrash
	if namesOnly {
		hide = d.removeNames
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
			err = errors.Join(err, d.removeLocked(filepath.Join(folder, f.Name())))
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
	return d.fs.rename(folder, filepath.Join(d.trash(), name))
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
	hidden, err := d.fs.list(d.trash())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.fault("freeing", err)
		return r, err
	}
	for _, f := range hidden {
		if !which(f.Name()) {
			continue
		}
		path, how := filepath.Join(d.trash(), f.Name()), d.trashRemover()
		if strings.HasSuffix(f.Name(), uncountedSuffix) {
			how = d.uncountedRemover()
		}
		if err := d.free(ctx, path, how, &r); err != nil {
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
		if err := d.free(ctx, filepath.Join(epoch, f.Name()), d.unreachableRemover(), &r); err != nil {
			return r, err
		}
	}
	return r, nil
}

// A remover removes files, and folders. Those of images, which are so far below where it begins, count.
type remover struct {
	file, folder func(path string) error
	depth        int
}

func (d *Disk) unreachableRemover() remover { return remover{d.remove, d.removeFolder, 2} }

func (d *Disk) trashRemover() remover {
	return remover{
		func(path string) error { return d.unlink(path, true) },
		func(path string) error {
			err := d.fs.remove(path)
			if err == nil {
				d.grow(-1, -blockSize)
			}
			return err
		}, 0,
	}
}

func (d *Disk) uncountedRemover() remover {
	return remover{func(path string) error { return d.unlink(path, false) }, d.fs.remove, 0}
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
		if err := how.file(below); err != nil {
			return err
		}
		if k, ok := kindOf(f.Name()); ok && infoErr == nil {
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
