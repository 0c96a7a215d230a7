package cache

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// A composite belongs to several images, and is kept with one of them. In the folder of each of the others, its inputs,
// stands a reference: a small file r-STAMP whose body is the composite's path. The composite's header has the inputs, and
// the stamp, which no two writings of a composite share. A composite is found only while all its references are in the
// folders that its inputs have now. From that follows:
//
//   - What hides an input, one rename or one generation, makes its composites unreachable in the same instant, and as
//     durably, wherever they are.
//   - Who frees the input's folder then reads in the references which composites to remove and to count. One that was put
//     again since the purge has another stamp, and stays: an old reference does not tell of it.
//   - A crash, a fault or an eviction, at whatever moment and whatever it loses, leaves at the worst a composite that nobody
//     finds, or a reference to nothing. The next Put of the composite, or the eviction, clears that away.
//
// The references are written first, and the composite's own rename makes it found. The lock of its image is held while it is asked
// whether it is still valid and its references are still there, and while a reference is followed to it: so who frees an input
// while a composite is put either finds the composite, or keeps it from being found.

const referencePrefix = "r-"

// referencePattern is what a reference has for a body: the composite's path below the epoch, with slashes.
var referencePattern = regexp.MustCompile(`^[0-9a-f]{32}\.[0-9]{1,20}/[0-9a-f]{2}/[0-9a-f]{32}/c-[0-9a-f]{64}$`)

func isReference(file string) bool { return strings.HasPrefix(file, referencePrefix) }

func isComposite(file string) bool { return strings.HasPrefix(file, kindLetters[Composite]+"-") }

func (d *Disk) newStamp() string { return d.life + "-" + strconv.FormatInt(d.stamps.Add(1), 10) }

// referenceTo is where the reference of an input to a composite of that stamp has to be.
func (d *Disk) referenceTo(in Input, stamp string) string {
	return filepath.Join(d.folder(in.Source, in.Image), referencePrefix+stamp)
}

// lookReferred reports whether all references to a composite are in their places. Of anything else it is true.
func (d *Disk) lookReferred(inputs []Input, stamp string) (bool, error) {
	for _, in := range inputs {
		switch _, err := d.fs.stat(d.referenceTo(in, stamp)); {
		case errors.Is(err, fs.ErrNotExist):
			return false, nil
		case err != nil:
			d.fault("reading", err)
			return false, err
		}
	}
	return true, nil
}

// referred is lookReferred, where a failure is no reference.
func (d *Disk) referred(h *fileHeader) bool {
	ok, _ := d.lookReferred(h.Inputs, h.Stamp)
	return ok
}

// refer writes the references to a composite, which is to be at path. It reports whether all have their places.
func (d *Disk) refer(path string, h *fileHeader, durable bool, valid func() bool) (placed bool, err error) {
	below := []byte(filepath.ToSlash(path[len(d.root):]))
	for _, in := range h.Inputs {
		ref := fileHeader{Source: in.Source, Image: in.Image, File: referencePrefix + h.Stamp}
		if placed, err := d.place(ref, below, durable, valid); !placed || err != nil {
			return false, err
		}
	}
	return true, nil
}

// compositeAt reads the header of the composite at path, and its size. It returns nil where there is none that is whole.
func (d *Disk) compositeAt(path string) (*fileHeader, int64, error) {
	data, err := d.fs.read(path, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	h := new(fileHeader)
	if _, err := decodeEntry(data, h); err != nil {
		return nil, 0, nil
	}
	return h, int64(len(data)), nil
}

// removeComposite removes the composite at path, if its stamp is that one, and what refers to it.
func (d *Disk) removeComposite(path, stamp string) (size int64, removed bool, err error) {
	mu := d.imageLock(filepath.Dir(path))
	mu.Lock()
	h, size, err := d.compositeAt(path)
	if err == nil && h != nil && h.Stamp == stamp {
		removed, err = d.removeLocked(path)
	}
	mu.Unlock()
	if removed {
		d.dropReferences(h)
	}
	return size, removed, err
}

// dropReferences removes what refers to a composite that is gone.
func (d *Disk) dropReferences(h *fileHeader) {
	for _, in := range h.Inputs {
		if _, err := d.remove(d.referenceTo(in, h.Stamp)); err != nil {
			d.fault("removing a reference", err)
		}
	}
}

// removeAny removes a file with do, and, where it is a composite, what refers to it.
func (d *Disk) removeAny(path string, do func(path string) (removed bool, err error)) (removed bool, err error) {
	var h *fileHeader
	if isComposite(filepath.Base(path)) {
		if h, _, err = d.compositeAt(path); err != nil {
			d.fault("reading", err) // its references stay, and are no use to anybody
		}
	}
	removed, err = do(path)
	if removed && h != nil {
		d.dropReferences(h)
	}
	return removed, err
}

// follow removes the composite that the reference at path tells of, and counts it. The reference stays: who removes it does
// so afterwards, so that where it is gone, the composite is.
func (d *Disk) follow(path string, r *Removed) error {
	to, stamp, err := d.reference(path)
	if to == "" || err != nil {
		return err
	}
	source, _, _ := strings.Cut(to[len(d.root):], string(filepath.Separator))
	if g := (&generationsFile{Epoch: d.epoch, Generations: *d.gens.Load()}); !g.current(d.epoch, source) {
		return nil // it goes, and counts, with all that was kept of its source
	}
	size, removed, err := d.removeComposite(to, stamp)
	if removed {
		r.add(Composite, size)
	}
	return err
}

// reference reads a reference: where the composite is, and its stamp. Both are empty where there is none that is whole.
func (d *Disk) reference(path string) (to, stamp string, err error) {
	data, err := d.fs.read(path, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	var h fileHeader
	body, err := decodeEntry(data, &h)
	switch {
	case errors.Is(err, errFormat):
		return "", "", nil
	case err != nil, h.File != filepath.Base(path), !referencePattern.Match(body),
		!strings.HasPrefix(filepath.Base(filepath.Dir(path)), string(appendHash16(nil, h.Source, h.Image))):
		d.damaged.Add(1)
		return "", "", nil
	}
	return d.root + filepath.FromSlash(string(body)), strings.TrimPrefix(h.File, referencePrefix), nil
}

// maxChased bounds how many references of one image the eviction looks at each time it comes by. A watermark may have as many as there
// are composites.
const maxChased = 8

// dangling returns some of an image's references that refer to nothing. There are such after a crash or a fault alone.
func (d *Disk) dangling(folder string, references []string) []string {
	var all []string
	for range min(maxChased, len(references)) {
		i := rand.IntN(len(references))
		name := references[i]
		references[i], references = references[len(references)-1], references[:len(references)-1]
		to, stamp, err := d.reference(filepath.Join(folder, name))
		var h *fileHeader
		if err == nil && to != "" {
			h, _, err = d.compositeAt(to)
		}
		switch {
		case err != nil:
			d.fault("evicting", err)
		case h == nil || h.Stamp != stamp:
			all = append(all, name)
		}
	}
	return all
}
