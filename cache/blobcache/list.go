package blobcache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"gocloud.dev/blob"

	"github.com/imagecdn/imagecdn/cache"
)

// list calls visit for each page of objects below a prefix. With a delimiter, folders are among them.
func (s *Store) list(ctx context.Context, prefix, delimiter string, visit func(page []*blob.ListObject) error) error {
	for token := blob.FirstPageToken; ; {
		page, next, err := s.listPage(ctx, token, prefix, delimiter)
		for range 10 {
			// A directory in which something goes while it is listed is an error to its driver.
			if !isAbsent(err) {
				break
			}
			page, next, err = s.listPage(ctx, token, prefix, delimiter)
		}
		if err != nil {
			return err
		}
		if err := visit(page); err != nil {
			return err
		}
		if len(next) == 0 {
			return ctx.Err()
		}
		token = next
	}
}

func (s *Store) listPage(ctx context.Context, token []byte, prefix, delimiter string) (page []*blob.ListObject, next []byte, err error) {
	err = s.must(ctx, "listing", func(ctx context.Context) (err error) {
		page, next, err = s.bucket.ListPage(ctx, token, 1000, &blob.ListOptions{Prefix: s.opts.Prefix + prefix, Delimiter: delimiter})
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return err
	})
	for _, o := range page {
		o.Key = strings.TrimPrefix(o.Key, s.opts.Prefix)
	}
	return page, next, err
}

// dirs returns the names of the folders in one, which have to be few.
func (s *Store) dirs(ctx context.Context, prefix string) (names []string, err error) {
	err = s.list(ctx, prefix, "/", func(page []*blob.ListObject) error {
		for _, o := range page {
			if name, ok := strings.CutSuffix(strings.TrimPrefix(o.Key, prefix), "/"); ok && o.IsDir {
				names = append(names, name)
			}
		}
		return nil
	})
	return names, err
}

// List implements [cache.Lister], from the names of keys: a thousand images take one request. Of images with long paths it reads an
// object each. What is freed elsewhere, see [cache.Elsewhere], is not listed.
func (s *Store) List(ctx context.Context, source string, visit func(source, image string, names []cache.ListedName) error) error {
	if s.isClosed() {
		return errClosed
	}
	if cache.IsElsewhere(ctx) {
		return nil
	}
	g := s.gens.Load()
	if g == nil {
		return errors.New("blobcache: the bucket could not be read yet")
	}
	for _, shard := range shards {
		in := things + string(shard) + "/"
		generationDirs, err := s.dirs(ctx, in)
		if err != nil {
			return fmt.Errorf("blobcache: %w", err)
		}
		for _, gen := range generationDirs {
			sourceDirs, err := s.dirs(ctx, in+gen+"/")
			if err != nil {
				return fmt.Errorf("blobcache: %w", err)
			}
			for _, dir := range sourceDirs {
				if !dirPattern.MatchString(dir) || g.ofHash(dir[:32]) != gen || source != "" && dir != sourceDir(source) {
					continue
				}
				if err := s.listSource(ctx, in+gen+"/"+dir+"/", dir, visit); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (s *Store) listSource(ctx context.Context, prefix, dir string, visit func(source, image string, names []cache.ListedName) error) error {
	sourceName, sourceKnown := nameIn(dir)
	return s.list(ctx, prefix, "/", func(page []*blob.ListObject) error {
		for _, o := range page {
			if !o.IsDir {
				continue
			}
			image, known := nameIn(lastPart(strings.TrimSuffix(o.Key, "/")))
			source := sourceName
			if !known || !sourceKnown {
				h := s.anyHead(ctx, o.Key)
				if h == nil {
					continue
				}
				source, image = h.key.Source, h.key.Image
			}
			if err := visit(source, image, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// anyHead reads that of an image's first thing; nil where there is none.
func (s *Store) anyHead(ctx context.Context, prefix string) *head {
	var first string
	found := errors.New("found")
	err := s.list(ctx, prefix, "", func(page []*blob.ListObject) error {
		for _, o := range page {
			if _, ok := kindOf(lastPart(o.Key)); ok {
				first = o.Key
				return found
			}
		}
		return nil
	})
	if !errors.Is(err, found) {
		return nil
	}
	h, err := s.readHead(ctx, first)
	if err != nil {
		return nil
	}
	return h
}

// A tally is how many pictures of an image there are, as far as is known here.
type tally struct {
	n    int
	when time.Time // they were counted
}

const (
	// Counts are asked for with every picture that is made: a request each would be one for each write.
	countedFor = 10 * time.Minute

	maxCounted = 4096
)

// Count implements [cache.Counter]. It lists an image's prefix, up to a page, and remembers the count for ten minutes, in
// which what other nodes put is missing. A bucket that fails has none: its things are no reason to keep nothing.
func (s *Store) Count(ctx context.Context, source, image string) (int, error) {
	own := imageKey{source, image}
	s.mu.Lock()
	t := s.counted[own]
	if t != nil && time.Since(t.when) < countedFor {
		defer s.mu.Unlock()
		return t.n, nil
	}
	waiting := 0
	for k, w := range s.pending {
		if k.Source == source && k.Image == image && k.Kind != cache.Original && !w.removed {
			waiting++
		}
	}
	s.mu.Unlock()
	g := s.gens.Load()
	if g == nil {
		return waiting, nil
	}
	n := 0
	err := s.try(ctx, "listing", s.opts.ReadTimeout, func(ctx context.Context) error {
		n = 0
		page, _, err := s.bucket.ListPage(ctx, blob.FirstPageToken, 1000, &blob.ListOptions{Prefix: s.opts.Prefix + imageDir(g.of(source), source, image)})
		for _, o := range page {
			if kind, ok := kindOf(lastPart(o.Key)); ok && kind != cache.Original {
				n++
			}
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return err
	})
	if err != nil {
		return waiting, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.counted) >= maxCounted {
		clear(s.counted) // to count again is one request
	}
	s.counted[own] = &tally{n, time.Now()}
	return n + waiting, nil
}

// count adds to what is known of an image.
func (s *Store) count(k cache.Key, by int) {
	if k.Kind == cache.Original {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.counted[imageKey{k.Source, k.Image}]; t != nil {
		t.n = max(0, t.n+by)
	}
}
