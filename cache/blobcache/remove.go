package blobcache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"gocloud.dev/blob"
	"golang.org/x/sync/errgroup"

	"github.com/imagecdn/imagecdn/cache"
)

// Remove implements [cache.Store]. It lists the image's prefix, deletes what is there, and the composites that references
// there tell of. An error says that some of it may be left; the next call goes on. Where that is done elsewhere, see [cache.Elsewhere], only what this
// node is about to write goes.
func (s *Store) Remove(ctx context.Context, source, image string) (cache.Removed, error) {
	if s.isClosed() {
		return cache.Removed{}, errClosed
	}
	pending, busy := s.removePending(func(so, im string) bool { return so == source && im == image })
	f := s.freeing(pending)
	if err := wait(ctx, busy); err != nil {
		return f.all, err
	}
	if cache.IsElsewhere(ctx) {
		s.mu.Lock()
		delete(s.counted, imageKey{source, image})
		s.mu.Unlock()
		return f.all, nil
	}
	// Another node may have removed all since, and kept more of this image. What it has put away by then is found.
	if err := s.refresh(ctx); err != nil {
		return f.all, fmt.Errorf("blobcache: %w", err)
	}
	err := f.free(ctx, imageDir(s.gens.Load().of(source), source, image), true)
	s.mu.Lock()
	delete(s.counted, imageKey{source, image})
	s.mu.Unlock()
	return f.all, err
}

// RemoveAll implements [cache.Store]. One small object makes all of it unreachable, whatever there is. Then it is freed, for
// Options.RemoveAllTimeout; the rest of that goes behind. Where that is done elsewhere, see [cache.Elsewhere], only what this node is about to write goes.
func (s *Store) RemoveAll(ctx context.Context, source string) (cache.Removed, error) {
	if s.isClosed() {
		return cache.Removed{}, errClosed
	}
	elsewhere := cache.IsElsewhere(ctx)
	if !elsewhere {
		defer s.stopTidying()()
	}
	pending, busy := s.removePending(func(so, _ string) bool { return source == "" || so == source })
	f := s.freeing(pending)
	s.mu.Lock()
	clear(s.counted)
	s.mu.Unlock()
	if elsewhere {
		return f.all, wait(ctx, busy)
	}
	if err := s.bump(ctx, source); err != nil {
		return f.all, err
	}
	if err := wait(ctx, busy); err != nil {
		return f.all, err
	}
	within, cancel := context.WithTimeout(ctx, s.opts.RemoveAllTimeout)
	defer cancel()
	err := f.freeUnreachable(within, source)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && within.Err() != nil {
		err = nil // it goes on behind
	}
	return f.all, err
}

// stopTidying has what RemoveAll frees freed by nobody else here, who would not count it. What it returns lets that go on.
func (s *Store) stopTidying() (again func()) {
	s.mu.Lock()
	s.removes++
	if s.yield != nil {
		s.yield()
	}
	s.mu.Unlock()
	s.tidying.RLock()
	return func() {
		s.tidying.RUnlock()
		s.mu.Lock()
		s.removes--
		s.mu.Unlock()
		s.wantReclaim()
	}
}

func (s *Store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// wait waits for writes that are to be taken back.
func wait(ctx context.Context, busy []*write) error {
	for _, w := range busy {
		select {
		case <-w.done:
		case <-ctx.Done():
			return ctx.Err() // each sees by itself that it is not wanted
		}
	}
	return nil
}

// A freeing deletes and counts, each thing once.
type freeing struct {
	s       *Store
	pending map[string]struct{} // that are counted already, by afterGeneration

	mu  sync.Mutex // guards all
	all cache.Removed
}

func (s *Store) freeing(pending map[cache.Key]int64) *freeing {
	f := &freeing{s: s, pending: make(map[string]struct{}, len(pending))}
	for k, bytes := range pending {
		f.pending[afterGeneration(imageDir("", k.Source, k.Image)+thingName(k))] = struct{}{}
		f.add(k.Kind, bytes)
	}
	return f
}

func (f *freeing) add(k cache.Kind, bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch k {
	case cache.Original:
		f.all.Originals++
	case cache.Derivative:
		f.all.Derivatives++
	case cache.Composite:
		f.all.Composites++
	}
	f.all.Bytes += bytes
}

// free deletes all below a prefix: first things, then references, with what they tell of. So where a reference is gone, the composite is.
func (f *freeing) free(ctx context.Context, prefix string, follow bool) error {
	return f.s.list(ctx, prefix, "", func(page []*blob.ListObject) error {
		var things, references []*blob.ListObject
		for _, o := range page {
			if referencePattern.MatchString(lastPart(o.Key)) {
				references = append(references, o)
			} else {
				things = append(things, o)
			}
		}
		err := each(ctx, things, func(ctx context.Context, o *blob.ListObject) error { return f.freeThing(ctx, o, follow) })
		if err != nil {
			return err
		}
		// Two that tell of one composite must not both see it go.
		var stripes [64]sync.Mutex
		return each(ctx, references, func(ctx context.Context, o *blob.ListObject) error {
			if !follow {
				_, err := f.s.deleteObject(ctx, o.Key)
				return err
			}
			return f.follow(ctx, o.Key, &stripes)
		})
	})
}

func lastPart(key string) string { return key[strings.LastIndexByte(key, '/')+1:] }

// each does something to many, some at once.
func each(ctx context.Context, objects []*blob.ListObject, do func(ctx context.Context, o *blob.ListObject) error) error {
	g, within := errgroup.WithContext(ctx)
	g.SetLimit(deleters)
	for _, o := range objects {
		if within.Err() != nil {
			break
		}
		g.Go(func() error { return do(within, o) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// freeThing deletes a thing, and the references to it where it is a composite whose inputs may stay.
func (f *freeing) freeThing(ctx context.Context, o *blob.ListObject, withReferences bool) error {
	kind, known := kindOf(lastPart(o.Key))
	var h *head
	if withReferences && known && kind == cache.Composite {
		// Where it cannot be read its references stay, and tell of nothing.
		h, _ = f.s.readHead(ctx, o.Key)
	}
	was, err := f.s.deleteObject(ctx, o.Key)
	if err != nil {
		return err
	}
	if was && known && !f.isPending(o.Key) {
		f.add(kind, o.Size)
	}
	if h != nil {
		return f.s.dropReferences(ctx, h)
	}
	return nil
}

// isPending reports whether what is at that key was counted while it waited to be written.
func (f *freeing) isPending(object string) bool {
	_, is := f.pending[afterGeneration(object)]
	return is
}

// afterGeneration is the part of a thing's key that is the same in all generations.
func afterGeneration(object string) string {
	parts := strings.SplitN(object, "/", 4)
	return parts[len(parts)-1]
}

// follow deletes the composite that a reference tells of, and then the reference.
func (f *freeing) follow(ctx context.Context, reference string, stripes *[64]sync.Mutex) error {
	h, err := f.s.readHead(ctx, reference)
	switch {
	case isAbsent(err):
		return nil
	case errors.Is(err, errDamaged):
		f.s.damaged.Add(1)
	case err != nil:
		return err
	default:
		mu := &stripes[h.key.Sum[0]%64]
		mu.Lock()
		defer mu.Unlock()
		seen, err := f.freeComposite(ctx, h.key, "")
		if err != nil {
			return err
		}
		if seen != h.stamp {
			// It may be on its way: see upload.
			if _, err := f.s.deleteObject(ctx, reference); err != nil {
				return err
			}
			_, err := f.freeComposite(ctx, h.key, h.stamp)
			return err
		}
	}
	_, err = f.s.deleteObject(ctx, reference)
	return err
}

// freeComposite deletes a composite, if its stamp is that one or none is given. It returns the stamp of the one that it has deleted.
func (f *freeing) freeComposite(ctx context.Context, k cache.Key, stamp string) (seen string, err error) {
	object := imageDir(f.s.gens.Load().of(k.Source), k.Source, k.Image) + thingName(k)
	var size int64
	h, err := f.s.readHead(ctx, object)
	switch {
	case isAbsent(err):
		return "", nil
	case err == nil && stamp != "" && h.stamp != stamp:
		return "", nil
	case err == nil:
		seen, size = h.stamp, h.size
	case !errors.Is(err, errDamaged):
		return "", err
	}
	was, err := f.s.deleteObject(ctx, object)
	if err != nil {
		return "", err
	}
	if was && !f.isPending(object) {
		f.add(cache.Composite, size)
		f.s.count(k, -1)
	}
	if h != nil {
		err = f.s.dropReferences(ctx, h)
	}
	return seen, err
}

// dropReferences deletes what refers to a composite that is gone.
func (s *Store) dropReferences(ctx context.Context, h *head) error {
	g := s.gens.Load()
	w := write{key: h.key, thing: &cache.Thing{Inputs: h.inputs}}
	for _, in := range w.others() {
		if _, err := s.deleteObject(ctx, imageDir(g.of(in.Source), in.Source, in.Image)+"r-"+h.stamp); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) freeUnreachable(ctx context.Context, source string) (cache.Removed, error) {
	f := s.freeing(nil)
	err := f.freeUnreachable(ctx, source)
	return f.all, err
}

// freeUnreachable frees what generations have made unreachable, of a source or of all.
func (f *freeing) freeUnreachable(ctx context.Context, source string) error {
	for _, shard := range shards {
		generationDirs, err := f.s.dirs(ctx, things+string(shard)+"/")
		if err != nil {
			return err
		}
		for _, g := range generationDirs {
			if !generationPattern.MatchString(g) {
				continue // not the cache's
			}
			sourceDirs, err := f.s.dirs(ctx, things+string(shard)+"/"+g+"/")
			if err != nil {
				return err
			}
			for _, dir := range sourceDirs {
				// A greater generation than is known here is of a purge by another node.
				if !dirPattern.MatchString(dir) || source != "" && dir != sourceDir(source) || g >= f.s.gens.Load().ofHash(dir[:32]) {
					continue
				}
				// What references tell of went with everything, where that is what was purged.
				follow := g >= f.s.gens.Load().all
				if err := f.free(ctx, things+string(shard)+"/"+g+"/"+dir+"/", follow); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
