package cluster

import (
	"maps"
	"slices"
	"sync"

	"github.com/imagecdn/imagecdn/purge"
)

// stales are images that this node has only marked, as a purge in mode Stale asks: it serves what it has of them until who works the job has heard the origin
// and asks it to compare.
//
// A node that is lost to the others is not asked, and the job is done without it. So what it has marked before it was cut off, and what was purged while it was, it
// has to ask the origin about before it serves it again: it carries these purges out as ones in mode Revalidate, before it is current.
type stales struct {
	mu    sync.Mutex        // guards paths
	paths map[string]uint64 // where each was last purged so
}

// maxStales is how many images may be marked at a time. Where there are more, as jobs have failed, the origin is asked about all of them.
const maxStales = 10_000

// note returns r as this node is to carry it out, which stands at seq.
func (s *stales) note(seq uint64, r purge.Request, current bool) purge.Request {
	if r.Mode != purge.Stale || r.Scope != purge.Original {
		return r
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !current || len(s.paths) >= maxStales {
		r.Mode = purge.Revalidate
		return r
	}
	if s.paths == nil {
		s.paths = make(map[string]uint64)
	}
	for _, p := range r.Paths {
		s.paths[p] = seq
	}
	return r
}

func (s *stales) areMany() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.paths) >= maxStales
}

// compared notes that the purges up to a position have been followed by what the origin has said, but for images that are marked all the same.
func (s *stales) compared(f purge.NodeFlush, position uint64, marked func(path string) bool) {
	if f.Mode != purge.Stale || f.Scope != purge.Original {
		return
	}
	were := make(map[string]uint64)
	s.mu.Lock()
	for _, p := range f.Paths {
		if seq, ok := s.paths[p]; ok && seq <= position {
			were[p] = seq
		}
	}
	s.mu.Unlock()
	maps.DeleteFunc(were, func(p string, _ uint64) bool { return marked(p) }) // which may read the disk
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, seq := range were {
		if s.paths[p] == seq {
			delete(s.paths, p)
		}
	}
}

// take returns purges of the images that are still marked only, and forgets them.
func (s *stales) take() (again []purge.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for paths := range slices.Chunk(slices.Collect(maps.Keys(s.paths)), 64) {
		again = append(again, purge.Request{Scope: purge.Original, Mode: purge.Revalidate, Paths: paths})
	}
	s.paths = nil
	return again
}
