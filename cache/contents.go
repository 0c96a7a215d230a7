package cache

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A Teller is a Store that can say what it keeps of an image, for operators to look at.
type Teller interface {
	// Contents returns what is kept of an image, up to most: under its own keys, and the composites on other images that it is an input
	// of. more says that there is more. It changes nothing, and counts as no use of what it finds. What is being written may be missing.
	Contents(ctx context.Context, source, image string, most int) (all []Content, more bool, err error)
}

// A Content is a thing that a store keeps. It is not to be changed.
type Content struct {
	Key    Key
	Header http.Header
	Bytes  int64   // of the body
	Inputs []Input // of a composite

	// Where it is. Of a tiered store both may be.
	Memory, Disk bool
}

// Contents implements [Teller].
func (m *Memory) Contents(_ context.Context, source, image string, most int) (all []Content, more bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, h := range m.index[imageKey{source, image}] {
		if !h.ready.Load() {
			continue
		}
		if len(all) == most {
			return all, true, nil
		}
		all = append(all, Content{Key: k, Header: h.thing.Header, Bytes: int64(len(h.thing.Body)), Inputs: h.thing.Inputs, Memory: true})
	}
	return all, false, nil
}

// Contents implements [Teller], by reading the image's folder. It reads the files whole.
func (d *Disk) Contents(ctx context.Context, source, image string, most int) (all []Content, more bool, err error) {
	done, open := d.use()
	if !open {
		return nil, false, errClosed
	}
	defer done()
	folder := d.folder(source, image)
	files, err := d.fs.list(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		d.fault("listing", err)
		return nil, false, err
	}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return all, false, err
		}
		path, stamp := filepath.Join(folder, f.Name()), ""
		switch _, thing := kindOf(f.Name()); {
		case isReference(f.Name()):
			if path, stamp, err = d.reference(path); path == "" || err != nil {
				continue
			}
		case !thing:
			continue
		}
		if len(all) == most {
			return all, true, nil
		}
		h, size := d.headerAt(path)
		if h == nil || stamp != "" && h.Stamp != stamp || !d.referred(h) {
			continue // it went meanwhile, or nobody finds it any more
		}
		c := Content{Header: h.Header, Bytes: size, Inputs: h.Inputs, Disk: true}
		if c.Key, err = h.key(); err != nil || !d.isAt(&c.Key, path) {
			continue
		}
		all = append(all, c)
	}
	return all, false, nil
}

// headerAt reads the header of the file at path, and how long its body is. It returns nil where there is none that is whole.
func (d *Disk) headerAt(path string) (*fileHeader, int64) {
	data, err := d.fs.read(path, 0)
	if err != nil {
		return nil, 0
	}
	h := new(fileHeader)
	body, err := decodeEntry(data, h)
	if err != nil || h.File != filepath.Base(path) {
		return nil, 0
	}
	size := int64(len(body))
	if h.Zstd {
		if n, err := strconv.ParseInt(h.Header.Get("Content-Length"), 10, 64); err == nil {
			size = n
		}
	}
	return h, size
}

// key is what a thing of that header is kept under.
func (h *fileHeader) key() (Key, error) {
	kind, ok := kindOf(h.File)
	_, sum, _ := strings.Cut(h.File, "-")
	k := Key{Source: h.Source, Image: h.Image, Kind: kind}
	if err := k.Sum.UnmarshalText([]byte(sum)); err != nil || !ok {
		return k, errDamaged
	}
	return k, nil
}

// Contents implements [Teller], where a tier does.
func (t *tiered) Contents(ctx context.Context, source, image string, most int) (all []Content, more bool, err error) {
	where := make(map[Key]int)
	for _, s := range []Store{t.fast, t.slow} {
		teller, ok := s.(Teller)
		if !ok {
			continue
		}
		found, beyond, tellErr := teller.Contents(ctx, source, image, most)
		more, err = more || beyond, errors.Join(err, tellErr)
		for _, c := range found {
			i, known := where[c.Key]
			switch {
			case known:
				all[i].Memory, all[i].Disk = all[i].Memory || c.Memory, all[i].Disk || c.Disk
			case len(all) == most:
				more = true
			default:
				where[c.Key] = len(all)
				all = append(all, c)
			}
		}
	}
	return all, more, err
}

// SortContents puts contents into the order of their kinds, images and sums.
func SortContents(all []Content) {
	slices.SortFunc(all, func(a, b Content) int {
		return cmp.Or(cmp.Compare(a.Key.Kind, b.Key.Kind), strings.Compare(a.Key.Source, b.Key.Source),
			strings.Compare(a.Key.Image, b.Key.Image), slices.Compare(a.Key.Sum[:], b.Key.Sum[:]))
	})
}

// A Usage is how full a store is.
type Usage struct {
	Memory, Disk *TierUsage // nil where there is none

	// Of a tiered store, what is on its way to the slow tier, in bytes, and how many things had no room to wait in, and are not there.
	Waiting, Dropped int64
}

// A TierUsage is how full the memory or the disk of a store is.
type TierUsage struct {
	Bytes, MaxBytes int64 // in use, and the most that may be; negative means no limit
	Files, MaxFiles int64 // of a disk, with folders of images

	Evicted         int64 // things that went to make room for others, ever since the store was opened; of a disk files
	Damaged, Faults int64 // of a disk: see DiskStats
}

// UsageOf says how full a store of this package is. Of another it says nothing.
func UsageOf(s Store) (u Usage) {
	switch s := s.(type) {
	case *tiered:
		u = UsageOf(s.fast)
		slow := UsageOf(s.slow)
		u.Memory, u.Disk = cmp.Or(u.Memory, slow.Memory), cmp.Or(u.Disk, slow.Disk)
		s.mu.Lock()
		u.Waiting, u.Dropped = u.Waiting+slow.Waiting+s.bytes, u.Dropped+slow.Dropped+s.dropped
		s.mu.Unlock()
	case *Memory:
		u.Memory = s.usage()
	case *Disk:
		n := s.Stats()
		u.Disk = &TierUsage{n.Bytes, s.opts.MaxBytes, n.Files, s.opts.MaxFiles, n.Evicted, n.Damaged, n.Faults}
	}
	return u
}

func (m *Memory) usage() *TierUsage {
	m.open.RLock()
	defer m.open.RUnlock()
	u := &TierUsage{MaxBytes: m.bytes, Evicted: m.evicted.Load()}
	if !m.closed {
		u.Bytes = max(0, m.cache.MaxCost()-m.cache.RemainingCost())
	}
	return u
}
