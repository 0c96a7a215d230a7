package imagecdn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
)

// target is the handler's cache as the invalidation service sees it.
//
// # The life of a purge
//
// Accept makes it take effect, durably: names go, or are marked, and leases die. What is left is to ask the
// origin, where the mode wants that, and to free what nobody can reach any more.
type target struct {
	h *Handler

	mu      sync.Mutex              // guards before and resumed
	before  map[string]*cache.Entry // by path: what an image was when its revalidation was accepted
	resumed map[string]bool         // by path: its revalidation was accepted before a restart
}

func newTarget(h *Handler) *target {
	return &target{h: h, before: make(map[string]*cache.Entry), resumed: make(map[string]bool)}
}

var modes = map[purge.Mode]cache.Mode{
	purge.Delete:     cache.Delete,
	purge.Revalidate: cache.Revalidate,
	purge.Stale:      cache.Stale,
}

// Accept implements [purge.Target].
func (t *target) Accept(_ context.Context, r purge.Request) error {
	if err := t.check(r); err != nil {
		return err
	}
	return t.accept(r)
}

// check says what of r there is no source for here: all or nothing, as far as that can be known beforehand.
func (t *target) check(r purge.Request) error {
	if r.Mode == purge.Followed {
		return nil
	}
	if r.Scope == purge.All {
		if r.Source != "" && t.h.sources[r.Source] == nil {
			return &purge.RequestError{Field: "source", Reason: fmt.Sprintf("is %q, and there is no such source here", r.Source)}
		}
		return nil
	}
	for _, path := range r.Paths {
		if _, _, err := t.find(path); err != nil {
			return err
		}
	}
	return nil
}

// accept has r take effect. What is of a source that is not here goes all the same: it may have been, and may be again.
func (t *target) accept(r purge.Request) error {
	if r.Mode == purge.Followed {
		return nil
	}
	mode := modes[r.Mode]
	if r.Scope != purge.Original && mode == cache.Delete {
		defer t.h.decoded.Clear()
	}
	switch r.Scope {
	case purge.All:
		return t.h.table.PurgeAll(r.Source, mode)
	case purge.Prefix, purge.Tag:
		return t.h.table.PurgeSelection(selection(r.Paths, r.Tags), mode)
	case purge.Original:
	default: // of a newer node of the cluster
		return fmt.Errorf("there is no scope %q here", r.Scope)
	}
	var errs []error // what cannot be made durable of one keeps none of the others
	for _, path := range r.Paths {
		source, image := cutPath(path)
		_, known := t.h.table.Open(cache.Name{Source: source, Image: image})
		switch {
		case mode != cache.Delete:
			t.note(path, known)
		case known != nil && known.OK():
			// Nobody can ask for it any more; a takedown is to leave nothing all the same. What is decoded of other
			// versions goes with Options.DecodedAge.
			defer t.h.decoded.Remove(string(known.Digest[:]))
		}
		errs = append(errs, t.h.table.Purge(source, image, mode))
	}
	return errors.Join(errs...)
}

// Resume implements [purge.Resumer]. A revalidation compares with what an image was, which the restart has forgotten; the
// name is gone from the disk as well, so that the next request asks the origin. That is all there is to say of it.
func (t *target) Resume(_ context.Context, r purge.Request) error {
	if r.Mode != purge.Revalidate && r.Mode != purge.Stale {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, path := range r.Paths {
		t.resumed[path] = true
	}
	return nil
}

// find splits a clean path into its source and the image there.
func (t *target) find(path string) (s *source, image string, err error) {
	name, image := cutPath(path)
	if s = t.h.sources[name]; s == nil {
		return nil, "", &purge.PathError{Path: path, Reason: fmt.Sprintf("names a source, %q, that does not exist here", name)}
	}
	return s, image, nil
}

// cutPath splits a clean path into the name of its source and the image, or the folder, there.
func cutPath(path string) (source, image string) {
	source, image, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return source, "/" + image
}

// selection says which images are in folders, and have tags.
func selection(folders, tags []string) cache.Selection {
	s := cache.Selection{Tags: tags}
	for _, f := range folders {
		source, path := cutPath(f)
		s.Folders = append(s.Folders, cache.Folder{Source: source, Path: path})
	}
	return s
}

// maxNoted bounds how many images are remembered. What was forgotten counts as absent: nothing is kept
// that should not be, only less is said of it.
const maxNoted = 100_000

// note remembers what an image was, until that is forgotten. The oldest memory counts.
func (t *target) note(path string, e *cache.Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e != nil && t.before[path] == nil && len(t.before) < maxNoted {
		t.before[path] = e
	}
}

func (t *target) noted(path string) *cache.Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.before[path]
}

// wasResumed says so once.
func (t *target) wasResumed(path string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.resumed[path]
	delete(t.resumed, path)
	return was
}

func (t *target) forget(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.before, path)
}

// PurgePath implements [purge.Target].
func (t *target) PurgePath(ctx context.Context, path string, mode purge.Mode) (purge.PathResult, error) {
	s, image, err := t.find(path)
	if err != nil {
		return purge.PathResult{}, err
	}
	switch mode {
	case purge.Followed:
		if e := s.cache.Known(image, ""); e != nil && !e.OK() {
			return purge.PathResult{Outcome: purge.Gone}, nil
		}
		return purge.PathResult{Outcome: purge.Changed}, nil
	case purge.Delete:
		removed, err := s.cache.Free(ctx, image)
		if err == nil {
			t.warm(path)
		}
		return counts("", removed), err
	}

	versions, err := t.refreshVersions(ctx, s, image, mode)
	if err != nil {
		return purge.PathResult{}, err
	}
	before := t.noted(path)
	if known := s.cache.Known(image, ""); before == nil && known != nil && known.Marked() {
		before = known // it came between the note and the mark, or another job has forgotten the note
	}
	switch {
	case before != nil:
	case t.wasResumed(path):
		return purge.PathResult{Outcome: purge.Marked}, nil
	case versions:
		return kept(mode), nil
	default:
		return purge.PathResult{Outcome: purge.Absent}, nil
	}
	now, err := refresh(ctx, s, image, "", mode)
	if err != nil {
		return purge.PathResult{}, err
	}
	defer now.Done()
	outcome := purge.Changed
	switch e := now.Entry; {
	case e.OK() && before.OK() && e.Digest == before.Digest:
		t.forget(path)
		return purge.PathResult{Outcome: purge.Unchanged}, nil
	case e.OK():
	case e.Status == http.StatusNotFound, e.Status == http.StatusGone:
		outcome = purge.Gone
	default:
		return purge.PathResult{}, fmt.Errorf("%s", e.Reason)
	}
	removed, err := s.cache.Supersede(ctx, now)
	if err == nil {
		t.forget(path)
		t.warm(path)
	}
	return counts(outcome, removed), err
}

// warm has the pictures made again that a purge has removed, where that is asked for.
func (t *target) warm(path string) {
	source, image := cutPath(path)
	t.h.warmer.warm(Image{Source: source, Path: image})
}

// refreshVersions asks the origin about what a purge has marked of an image under a vh version, where it would be served until
// somebody has. It reports whether there is any.
func (t *target) refreshVersions(ctx context.Context, s *source, image string, mode purge.Mode) (any bool, err error) {
	for _, v := range s.cache.Versions(image) {
		known := s.cache.Known(image, v)
		if v == "" || known == nil {
			continue
		}
		any = true
		if mode != purge.Stale || !known.Marked() {
			continue
		}
		now, err := refresh(ctx, s, image, v, mode)
		if err != nil {
			return any, err
		}
		now.Done()
	}
	return any, nil
}

// refresh asks the origin about an image that a purge in mode has marked. That what was marked would be served on is an error.
func refresh(ctx context.Context, s *source, image, version string, mode purge.Mode) (*cache.Result, error) {
	now, err := s.cache.Refresh(ctx, image, version)
	switch {
	case err != nil:
		return nil, err
	case now.How == cache.StaleHit && now.Entry.Marked():
		now.Done()
		return nil, errors.New("the origin fails, and what there was is served on")
	case mode == purge.Stale && !now.Alive():
		// What the origin said was not kept, and what was before is served until the origin is asked again.
		now.Done()
		return nil, errors.New("another purge came between")
	}
	return now, nil
}

// PurgeAll implements [purge.Target].
func (t *target) PurgeAll(ctx context.Context, source string, mode purge.Mode) (purge.PathResult, error) {
	if mode != purge.Delete {
		return kept(mode), nil
	}
	t.h.table.Reclaim()
	removed, err := t.h.store.RemoveAll(ctx, source)
	return counts("", removed), err
}

// PurgeSelection implements [purge.Selector].
func (t *target) PurgeSelection(ctx context.Context, scope purge.Scope, name string, mode purge.Mode) (purge.PathResult, error) {
	if mode != purge.Delete {
		return kept(mode), nil
	}
	var folders, tags []string
	if scope == purge.Tag {
		tags = []string{name}
	} else {
		folders = []string{name}
		if _, _, err := t.find(name); err != nil {
			return purge.PathResult{}, err
		}
	}
	removed, err := t.h.table.Sweep(ctx, t.h.store, selection(folders, tags))
	return counts("", removed), err
}

// kept is what becomes of many images whose bytes stay: each is asked about as it is asked for.
func kept(mode purge.Mode) purge.PathResult {
	if mode == purge.Stale {
		return purge.PathResult{Outcome: purge.Staled}
	}
	return purge.PathResult{Outcome: purge.Marked}
}

func counts(o purge.Outcome, r cache.Removed) purge.PathResult {
	return purge.PathResult{Outcome: o, Originals: r.Originals, Derivatives: r.Derivatives, Composites: r.Composites, Bytes: r.Bytes}
}
