package blobcache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"
	"time"

	"gocloud.dev/blob"
)

// gens are the generations in use. They are not changed once they are.
type gens struct {
	all     string
	sources map[string]string // by hash, of those that were purged since all was
}

func (g *gens) of(source string) string { return g.ofHash(hash16(source)) }

func (g *gens) ofHash(hash string) string { return max(g.all, g.sources[hash]) }

// seq is the number of the newest.
func (g *gens) seq() uint64 {
	n := number(g.all)
	for _, gen := range g.sources {
		n = max(n, number(gen))
	}
	return n
}

func number(generation string) uint64 {
	digits, _, _ := strings.Cut(generation, "-")
	n, _ := strconv.ParseUint(digits, 10, 64) // empty is none
	return n
}

// maxNumber leaves room behind it: what is greater was put there to do harm.
const maxNumber = 1 << 62

// readGens reads the generations, and says which of their objects no longer say anything.
func (s *Store) readGens(ctx context.Context) (*gens, []string, error) {
	g := &gens{sources: make(map[string]string)}
	var past, all []string
	err := s.list(ctx, generations, "", func(page []*blob.ListObject) error {
		for _, o := range page {
			scope, gen, _ := strings.Cut(strings.TrimPrefix(o.Key, generations), "/")
			switch {
			case scope != everything && !hashPattern.MatchString(scope) || !generationPattern.MatchString(gen) || number(gen) > maxNumber:
				continue // not the cache's, or on its way: of a directory, a temporary file
			case scope == everything:
				g.all = max(g.all, gen)
			default:
				g.sources[scope] = max(g.sources[scope], gen)
			}
			all = append(all, o.Key)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	maps.DeleteFunc(g.sources, func(_, gen string) bool { return gen < g.all })
	for _, key := range all {
		if scope, gen, _ := strings.Cut(strings.TrimPrefix(key, generations), "/"); gen != g.all && gen != g.sources[scope] {
			past = append(past, key)
		}
	}
	return g, past, nil
}

// refresh reads the generations again. Where there are none yet, or none any more, it begins one that was never used: what was kept
// before cannot be found.
func (s *Store) refresh(ctx context.Context) error {
	s.reading.Lock()
	defer s.reading.Unlock()
	return s.refreshLocked(ctx)
}

func (s *Store) refreshLocked(ctx context.Context) error {
	g, _, err := s.readGens(ctx)
	if err != nil {
		return err
	}
	before := s.gens.Load()
	if g.all == "" {
		seq := g.seq()
		if before != nil {
			seq = max(seq, before.seq())
		}
		if err := s.bumpTo(ctx, everything, newGeneration(seq)); err != nil {
			return err
		}
		s.first = true
		if g, _, err = s.readGens(ctx); err != nil {
			return err
		}
		if g.all == "" {
			return errors.New("what was written is not in the bucket's list")
		}
	}
	s.gens.Store(g)
	if before == nil || before.all != g.all || !maps.Equal(before.sources, g.sources) {
		s.wantReclaim()
	}
	return nil
}

// bumpTo writes a generation. Its body is for people.
func (s *Store) bumpTo(ctx context.Context, scope, generation string) error {
	return s.must(ctx, "writing a generation", func(ctx context.Context) error {
		w, err := s.bucket.NewWriter(ctx, s.opts.Prefix+generations+scope+"/"+generation, &blob.WriterOptions{ContentType: "text/plain; charset=utf-8"})
		if err != nil {
			return err
		}
		_, err = io.WriteString(w, "imagecdn: "+scope+" was purged at "+time.Now().UTC().Format(time.RFC3339)+"\n")
		return errors.Join(err, w.Close())
	})
}

// bump begins a generation of a source, or of everything, which is greater than all that there are. Nodes that do so at once
// write one each, and the greatest is that of all of them.
func (s *Store) bump(ctx context.Context, source string) error {
	s.reading.Lock()
	defer s.reading.Unlock()
	if err := s.refreshLocked(ctx); err != nil {
		return err
	}
	before := s.gens.Load()
	scope, gen := everything, newGeneration(before.seq())
	next := &gens{all: gen}
	if source != "" {
		scope = hash16(source)
		next = &gens{all: before.all, sources: maps.Clone(before.sources)}
		next.sources[scope] = gen
	}
	if err := s.bumpTo(ctx, scope, gen); err != nil {
		return fmt.Errorf("blobcache: %w", err)
	}
	if next.sources == nil {
		next.sources = make(map[string]string)
	}
	s.gens.Store(next)
	return nil
}

func (s *Store) wantReclaim() {
	select {
	case s.reclaim <- struct{}{}:
	default:
	}
}

// tend keeps the generations current, and frees what nothing leads to.
func (s *Store) tend() {
	refresh, reclaim := time.NewTicker(s.opts.Refresh), time.NewTicker(reclaimEvery)
	defer refresh.Stop()
	defer reclaim.Stop()
	// Nodes that begin with an empty bucket at once each write a generation, and find what the others put once they have heard of them.
	soon := 250 * time.Millisecond
	young := time.NewTimer(soon)
	defer young.Stop()
	s.reading.Lock()
	if !s.first {
		young.Stop()
	}
	s.reading.Unlock()
	for {
		select {
		case <-s.tending.Done():
			return
		case <-young.C:
			_ = s.refresh(s.tending) // counted and logged
			if soon *= 2; soon < 5*time.Second {
				young.Reset(soon)
			}
		case <-refresh.C:
			_ = s.refresh(s.tending) // counted and logged
			s.takeBackLate(s.tending)
		case <-reclaim.C:
			s.tidy(s.tending)
		case <-s.reclaim:
			s.tidy(s.tending)
		}
	}
}

// tidy frees what no generation leads to any more, and the objects of generations that are past.
func (s *Store) tidy(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	if s.removes > 0 {
		s.mu.Unlock()
		return // it asks for it when it has ended
	}
	s.yield = cancel
	s.tidying.Lock() // at once: nobody has it
	s.mu.Unlock()
	defer s.tidying.Unlock()

	_, past, err := s.readGens(ctx)
	for _, key := range past {
		if err == nil {
			_, err = s.deleteObject(ctx, key)
		}
	}
	if err == nil {
		_, err = s.freeUnreachable(ctx, "")
	}
	if err != nil && ctx.Err() == nil {
		s.warn("what nothing leads to could not be freed", "error", err)
	}
}
