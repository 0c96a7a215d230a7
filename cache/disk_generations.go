package cache

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"
)

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
	data, err := d.fs.read(filepath.Join(d.dir, "generations"), 0)
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
	last, used, err := d.lastGeneration()
	if err != nil {
		return err // to begin at 0 would be to go back
	}
	if used || !missing {
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
func (d *Disk) lastGeneration() (last uint64, used bool, err error) {
	top, err := d.fs.list(d.dir)
	if err != nil {
		return 0, false, err
	}
	for _, epoch := range top {
		if !epoch.IsDir() || !epochPattern.MatchString(epoch.Name()) {
			continue
		}
		used = true
		sources, err := d.fs.list(filepath.Join(d.dir, epoch.Name()))
		if err != nil {
			return 0, false, err
		}
		for _, s := range sources {
			_, gen, _ := strings.Cut(s.Name(), ".")
			if n, err := strconv.ParseUint(gen, 10, 63); err == nil {
				last = max(last, n)
			}
		}
	}
	return last, used, nil
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
		err = d.replaceGenerations(data)
	}
	if err != nil {
		d.unsaved.Store(true)
		d.fault("saving generations", err)
		return err
	}
	d.unsaved.Store(false)
	before := d.gens.Swap(g)
	// What an earlier purge has freed is not told of this one.
	if before == nil || g.All.Delete > before.All.Delete {
		d.deleted.takeAll()
		return nil
	}
	for source := range g.Sources {
		if g.Deleted(source) > before.Deleted(source) {
			d.deleted.take(hash16(source))
		}
	}
	return nil
}

// replaceGenerations puts data in the place of the generations file, in one step: temp beside it, write, sync, close,
// rename, sync the directory.
func (d *Disk) replaceGenerations(data []byte) error {
	f, temp, err := d.createTemp(d.dir)
	if err != nil {
		return err
	}
	if err := d.fillTemp(f, temp, true, data); err != nil {
		return err
	}
	if err := d.fs.rename(temp, filepath.Join(d.dir, "generations")); err != nil {
		d.dropTemp(temp)
		return err
	}
	return d.fs.syncDir(d.dir)
}
