package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// A DiskReport says what is kept in a directory of a [Disk].
type DiskReport struct {
	Epoch       string       // empty where the generations file is missing or damaged: then nothing is in use
	Generations *Generations // nil where the generations file is missing or damaged

	Sources int // that have images
	Images  int // of all sources
	Names   int // images and their versions that the origin has answered for

	Originals, Derivatives, Composites int

	References int // to composites on other images, one for each image that went into one

	Bytes int64 // in use, in blocks, as DiskStats has them
	Files int64 // in use, and folders of images

	// Freeable is what cannot be reached any more: what purges have hidden, and what a process that ended suddenly
	// has left. It is freed when the directory is opened.
	Freeable struct{ Files, Bytes int64 }
}

// Inspect reports what is kept in dir, without opening it: it may be in use by another process, and then changes
// meanwhile.
func Inspect(ctx context.Context, dir string) (*DiskReport, error) {
	files := osFiles{}
	f, err := readDisk(files, dir)
	if err != nil && !errors.Is(err, errDamaged) {
		return nil, err
	}
	r := new(DiskReport)
	current := func(string, string) bool { return false }
	if err == nil {
		r.Epoch, r.Generations = f.Epoch, &f.Generations
		current = f.current
	}
	sources := make(map[string]bool)
	err = walkDisk(ctx, files, dir, func(p diskPath, file fs.DirEntry) error {
		if p.source == "" && isTemp(p.epoch) {
			r.Freeable.Files++
			return nil
		}
		info, err := file.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case p.epoch == "trash" || !current(p.epoch, p.source) || isTemp(p.file):
			r.Freeable.Files++
			r.Freeable.Bytes += blocks(info.Size())
			return nil
		case file.IsDir():
			sources[p.source] = true
			r.Images++
			r.Files++
			r.Bytes += blockSize
			return nil
		}
		r.Files++
		r.Bytes += blocks(info.Size())
		switch p.file[0] {
		case 'n':
			r.Names++
		case 'o':
			r.Originals++
		case 'd':
			r.Derivatives++
		case 'c':
			r.Composites++
		case 'r':
			r.References++
		}
		return nil
	})
	r.Sources = len(sources)
	return r, err
}

// A DiskCheck is what [Verify] has found.
type DiskCheck struct {
	Files   int   // read
	Bytes   int64 // read
	Damaged int   // files that are not what they should be
	Earlier int   // files of an earlier version of this package, which count as absent
}

// Verify reads every file that is in use in dir and checks it: lengths and checksums, that it is in its place, that a
// body that was compressed can be restored, and that an original has the digest that it is kept under. It calls report
// for each that is damaged. With fix, it removes those, and those of an earlier format; then dir must not be in use by
// another process.
//
// A generations file that is missing or damaged counts as one damaged file. It is left as it is: opening the directory
// begins anew.
func Verify(ctx context.Context, dir string, fix bool, report func(path string, err error)) (DiskCheck, error) {
	var c DiskCheck
	files := osFiles{}
	f, err := readDisk(files, dir)
	if errors.Is(err, errDamaged) {
		c.Damaged++
		report(filepath.Join(dir, "generations"), err)
		return c, nil
	}
	if err != nil {
		return c, err
	}
	if fix {
		unlock, err := lockDisk(files, dir)
		if err != nil {
			return c, err
		}
		defer unlock()
	}
	unzip := newZstdReader()
	defer unzip.Close()
	err = walkDisk(ctx, files, dir, func(p diskPath, file fs.DirEntry) error {
		if file.IsDir() || isTemp(p.file) || p.epoch == "trash" || !f.current(p.epoch, p.source) {
			return nil
		}
		path := p.in(dir)
		data, err := files.read(path, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		c.Files++
		c.Bytes += int64(len(data))
		if err == nil {
			if err = p.check(data, unzip); err == nil {
				return nil
			}
		}
		if errors.Is(err, errFormat) {
			c.Earlier++
		} else {
			c.Damaged++
			report(path, err)
		}
		if fix {
			return files.remove(path)
		}
		return nil
	})
	return c, err
}

// check looks that data is what is to be at p.
func (p diskPath) check(data []byte, unzip *zstd.Decoder) error {
	var h fileHeader
	body, err := decodeEntry(data, &h)
	if err != nil {
		return err
	}
	source, _, _ := strings.Cut(p.source, ".")
	switch {
	case hash16(h.Source) != source || string(appendHash16(nil, h.Source, h.Image)) != p.image || h.File != p.file:
		return fmt.Errorf("cache: it is %s of %s%s, and not in its place", h.File, h.Source, h.Image)
	case p.file[0] == 'n' && (h.Entry == nil || nameFile(h.Version) != p.file):
		return errors.New("cache: it is no name")
	case isReference(p.file) && !referencePattern.Match(body):
		return errors.New("cache: a reference to no composite")
	}
	if h.Zstd {
		if body, err = unzip.DecodeAll(body, nil); err != nil {
			return err
		}
	}
	if p.file[0] == 'o' && (Key{Kind: Original, Sum: DigestOf(body)}).file() != p.file {
		return errors.New("cache: an original that has not its digest")
	}
	return nil
}

// Clear removes all that is kept in dir, and leaves dir, its lock, and whatever else is there. A directory that
// another process has open is an error. It returns what was removed.
func Clear(ctx context.Context, dir string) (files int, bytes int64, err error) {
	f := osFiles{}
	if _, err := readDisk(f, dir); err != nil && !errors.Is(err, errDamaged) {
		return 0, 0, err
	}
	unlock, err := lockDisk(f, dir)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	remove := func(path string, size int64) error {
		err := f.remove(path)
		if err == nil {
			files++
			bytes += size
		}
		return err
	}
	folders := make(map[string]bool)
	err = walkDisk(ctx, f, dir, func(p diskPath, file fs.DirEntry) error {
		if file.IsDir() {
			folders[p.in(dir)] = true
			return nil
		}
		info, err := file.Info()
		if err != nil {
			return err
		}
		return remove(p.in(dir), info.Size())
	})
	if err != nil {
		return files, bytes, err
	}
	// From below upwards. What is not empty holds what is not the cache's own.
	for len(folders) > 0 {
		above := make(map[string]bool)
		for path := range folders {
			if f.remove(path) == nil && filepath.Dir(path) != filepath.Clean(dir) {
				above[filepath.Dir(path)] = true
			}
		}
		folders = above
	}
	for _, own := range topFolders(f, dir) { // that had no images in them
		removeEmpty(f, own, 2)
	}
	if err := remove(filepath.Join(dir, "generations"), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return files, bytes, err
	}
	return files, bytes, f.syncDir(dir)
}

// removeEmpty removes a folder, and those so many levels below it, where they are empty.
func removeEmpty(f fileSystem, path string, levels int) {
	if levels > 0 {
		below, _ := f.list(path)
		for _, b := range below {
			if b.IsDir() {
				removeEmpty(f, filepath.Join(path, b.Name()), levels-1)
			}
		}
	}
	_ = f.remove(path)
}

// lockDisk takes the lock of a directory.
func lockDisk(f fileSystem, dir string) (unlock func() error, err error) {
	unlock, err = f.lock(filepath.Join(dir, "LOCK"))
	if errors.Is(err, errInUse) {
		return nil, fmt.Errorf("cache: %s is %w", dir, err)
	}
	return unlock, err
}

// readDisk reads the generations of a directory. Where they are missing or damaged, in what is otherwise a cache, the
// error is errDamaged.
func readDisk(f fileSystem, dir string) (*generationsFile, error) {
	top, err := f.list(dir)
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	data, err := f.read(filepath.Join(dir, "generations"), 0)
	if err == nil {
		g := new(generationsFile)
		if g.decode(data) == nil {
			return g, nil
		}
		return nil, errDamaged
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cache: %w", err)
	}
	for _, f := range top {
		if f.Name() == "LOCK" || f.IsDir() && epochPattern.MatchString(f.Name()) {
			return nil, errDamaged
		}
	}
	return nil, fmt.Errorf("cache: %s is not the directory of a cache", dir)
}

// current reports whether a folder SOURCE.G of an epoch is in use.
func (f *generationsFile) current(epoch, source string) bool {
	hash, gen, _ := strings.Cut(source, ".")
	n, err := strconv.ParseUint(gen, 10, 64)
	if err != nil || epoch != f.Epoch {
		return false
	}
	for s := range f.Generations.Sources {
		if hash16(s) == hash {
			return n >= f.Generations.Deleted(s)
		}
	}
	return n >= f.Generations.All.Delete
}

// diskPath is where a file is in a directory of a Disk, or an image's folder where file is empty. In the trash,
// source is a life, and there is no shard.
type diskPath struct{ epoch, source, shard, image, file string }

func (p diskPath) in(dir string) string {
	return filepath.Join(dir, p.epoch, p.source, p.shard, p.image, p.file)
}

var (
	epochPattern  = regexp.MustCompile(`^epoch-[a-z2-7]{26}$`)
	sourcePattern = regexp.MustCompile(`^[0-9a-f]{32}\.[0-9]{1,20}$`)
	shardPattern  = regexp.MustCompile(`^[0-9a-f]{2}$`)
	imagePattern  = regexp.MustCompile(`^[0-9a-f]{32}$`)
	filePattern   = regexp.MustCompile(`^(n-[0-9a-f]{32}|[odc]-[0-9a-f]{64}|r-[a-z2-7]{13}-[0-9]+|\.tmp-[a-z2-7]{13}-[0-9]+)$`)
	lifePattern   = regexp.MustCompile(`^[a-z2-7]{13}$`)
	hiddenPattern = regexp.MustCompile(`^[0-9a-f]{32}\.[0-9]+(\.uncounted)?$`)
)

// topFolders lists what is the cache's own at the top of a directory, and has folders below it.
func topFolders(f fileSystem, dir string) []string {
	top, _ := f.list(dir)
	var own []string
	for _, t := range top {
		if t.IsDir() && (t.Name() == "trash" || epochPattern.MatchString(t.Name())) {
			own = append(own, filepath.Join(dir, t.Name()))
		}
	}
	return own
}

// walkDisk visits all that is the cache's own in dir, by its name: the files of images, then their folder, and
// temporary files at the top, which are given as an epoch. Where something goes meanwhile, it is left out.
func walkDisk(ctx context.Context, f fileSystem, dir string, visit func(p diskPath, file fs.DirEntry) error) error {
	each := func(path string, pattern *regexp.Regexp, do func(file fs.DirEntry) error) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		files, err := f.list(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, file := range files {
			if pattern.MatchString(file.Name()) && file.IsDir() == (pattern != filePattern) {
				if err := do(file); err != nil {
					return err
				}
			}
		}
		return nil
	}
	images := func(p diskPath, pattern *regexp.Regexp) error {
		return each(p.in(dir), pattern, func(image fs.DirEntry) error {
			p := p
			p.image = image.Name()
			err := each(p.in(dir), filePattern, func(file fs.DirEntry) error {
				p := p
				p.file = file.Name()
				return visit(p, file)
			})
			if err != nil {
				return err
			}
			return visit(p, image)
		})
	}
	err := each(dir, epochPattern, func(epoch fs.DirEntry) error {
		return each(filepath.Join(dir, epoch.Name()), sourcePattern, func(source fs.DirEntry) error {
			return each(filepath.Join(dir, epoch.Name(), source.Name()), shardPattern, func(shard fs.DirEntry) error {
				return images(diskPath{epoch: epoch.Name(), source: source.Name(), shard: shard.Name()}, imagePattern)
			})
		})
	})
	if err != nil {
		return err
	}
	err = each(filepath.Join(dir, "trash"), lifePattern, func(life fs.DirEntry) error {
		return images(diskPath{epoch: "trash", source: life.Name()}, hiddenPattern)
	})
	if err != nil {
		return err
	}
	return each(dir, filePattern, func(file fs.DirEntry) error {
		if !isTemp(file.Name()) {
			return nil
		}
		return visit(diskPath{epoch: file.Name()}, file)
	})
}
