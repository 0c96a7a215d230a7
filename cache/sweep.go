package cache

import (
	"context"
	"maps"
	"slices"
)

// Sweep frees what purges of folders and of tags have made unreachable, in the table and in store, and counts it; of folders
// in s also what no name leads to any more. It goes through all that is kept of their sources, or for a tag through all
// there is. Where ctx ends, the next call does the rest.
func (t *Table) Sweep(ctx context.Context, store Store, s Selection) (Removed, error) {
	w := sweep{ctx: ctx, t: t, store: store, s: s}
	err := w.run()
	return w.removed, err
}

type sweep struct {
	ctx     context.Context
	t       *Table
	store   Store
	s       Selection
	removed Removed
}

func (w *sweep) run() error {
	// Those that requests have met already.
	if err := w.t.keptUp(w.ctx); err != nil {
		return err
	}
	w.t.failing.Lock()
	lately := slices.Collect(maps.Keys(w.t.lately))
	w.t.failing.Unlock()
	for _, k := range lately {
		w.t.failing.Lock()
		delete(w.t.lately, k) // before, as it may fall again meanwhile
		w.t.failing.Unlock()
		if err := w.free(k.source, k.image); err != nil {
			return err
		}
	}

	for i := range w.t.shards {
		for k, e := range w.t.fallen(&w.t.shards[i]) {
			if err := w.fell(k.source, k.image, e); err != nil {
				return err
			}
		}
	}

	sources := []string{""}
	if len(w.s.Tags) == 0 {
		sources = sources[:0]
		for _, f := range w.s.Folders {
			if !slices.Contains(sources, f.Source) {
				sources = append(sources, f.Source)
			}
		}
	}
	for _, l := range listersOf(w.store) {
		if _, keeps := l.(Keeper); !keeps && len(w.s.Folders) == 0 {
			continue // no name tells it of tags, and a bucket takes a request for each thousand images
		}
		for _, source := range sources {
			if err := l.List(w.ctx, source, w.visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// visit looks at an image that something is kept of.
func (w *sweep) visit(source, image string, names []ListedName) error {
	g := w.t.gens.Load()
	for _, n := range names {
		e := *n.Entry
		e.tags = tagMarks(e.Header)
		if _, fallen, _ := g.expiry(source, image, &e); fallen {
			// It is purged as what memory has of it, once that is what the Keeper has.
			if _, e := w.t.lookup(w.t.Lease(Name{source, image, n.Version})); e != nil {
				return w.fell(source, image, e)
			}
			return w.free(source, image)
		}
	}
	if len(names) > 0 || !w.s.matches(source, image) {
		return nil
	}
	if _, e := w.t.Open(Name{Source: source, Image: image}); e == nil {
		if err := w.t.Purge(source, image, Delete); err != nil {
			return err
		}
	}
	return w.free(source, image)
}

func (w *sweep) fell(source, image string, e *Entry) error {
	if err := w.t.purge(source, image, Delete, e); err != nil {
		return err
	}
	return w.free(source, image)
}

// free frees what is kept of an image that was purged. Where that fails the next call has no entry to find it by, but lately.
func (w *sweep) free(source, image string) error {
	if err := w.ctx.Err(); err != nil {
		w.t.freeLater(source, image)
		return err
	}
	r, err := w.store.Remove(w.ctx, source, image)
	if err != nil {
		w.t.freeLater(source, image)
	}
	w.removed.plus(r)
	return err
}

// fallen returns the images in sh that have an entry which a purge of a folder or a tag has deleted, with the entry.
func (t *Table) fallen(sh *shard) map[imageKey]*Entry {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	g := t.gens.Load()
	found := make(map[imageKey]*Entry)
	for k, s := range sh.images {
		for _, e := range s.entries {
			if _, fallen, _ := g.expiry(k.source, k.image, e); fallen {
				found[k] = e
				break
			}
		}
	}
	return found
}
