package cluster

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
)

// maxMarks is how many images, folders and tags are remembered at the least since they were last purged. They take about 40 bytes each, twice.
const maxMarks = 500_000

// marks say up to where names were purged, so that what was fetched before is not learned from others afterwards. What was purged so long ago that it is
// forgotten counts as purged.
type marks struct {
	mu    sync.RWMutex
	seed  maphash.Seed
	max   int
	all   uint64            // everything was last purged here
	young map[uint64]uint64 // by what: where it was last purged
	old   map[uint64]uint64 // the same, of before
	last  uint64            // the last purge in young
	oldTo uint64            // the last purge in old
	floor uint64            // what is not in the maps may have been purged up to here

	first uint64 // the first purge that was read at all; zero where there was none
}

func newMarks(most int) *marks {
	m := &marks{seed: maphash.MakeSeed(), max: most}
	m.reset()
	return m
}

// reset forgets all.
func (m *marks) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all, m.last, m.oldTo, m.floor, m.first = 0, 0, 0, 0, 0
	m.young, m.old = make(map[uint64]uint64), nil
}

// The kinds of what may be purged.
const (
	markSource = iota
	markFolder
	markImage
	markTag
)

type marked struct {
	kind int
	name string // of an image with its source; of a folder with both slashes
}

func (m *marks) hash(kind int, name string) uint64 {
	return maphash.Comparable(m.seed, marked{kind, name})
}

// note says what a purge is about.
func (m *marks) note(seq uint64, r purge.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.first == 0 {
		m.first = seq
	}
	m.last = seq
	kind, names := markImage, r.Paths
	switch r.Scope {
	case purge.All:
		if r.Source == "" {
			m.all = seq
			return
		}
		kind, names = markSource, []string{r.Source}
	case purge.Prefix:
		kind = markFolder
	case purge.Tag:
		kind, names = markTag, r.Tags
	}
	for _, name := range names {
		if len(m.young) >= m.max {
			m.floor, m.old, m.oldTo = max(m.floor, m.oldTo), m.young, seq
			m.young = make(map[uint64]uint64)
		}
		m.young[m.hash(kind, name)] = seq
	}
}

// covers reports whether a purge behind at is about a name, or may have been.
func (m *marks) covers(n cache.Name, e *cache.Entry, at uint64) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if at < m.floor || at < m.all {
		return true
	}
	if at >= m.last { // as most
		return false
	}
	purged := func(kind int, name string) bool {
		h := m.hash(kind, name)
		return m.young[h] > at || m.old[h] > at
	}
	path := "/" + n.Source + n.Image
	if purged(markSource, n.Source) || purged(markImage, path) {
		return true
	}
	for i, b := range path {
		if b == '/' && i > 0 && purged(markFolder, path[:i+1]) {
			return true
		}
	}
	for _, tag := range cache.TagsOf(e.Header) {
		if purged(markTag, tag) {
			return true
		}
	}
	return false
}

// reachBackTo reports whether every purge behind at was noted, as far as can be told by the first one that was.
func (m *marks) reachBackTo(at uint64) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.first > 0 && at+1 >= m.first
}

// purged reports whether a purge behind at covers what the cluster has of a name since it was written there, or may.
func (c *Cluster) purged(n cache.Name, e *cache.Entry, at uint64, written time.Time) bool {
	if c.applied.Load() < c.skip.Load() || c.marks.covers(n, e, at) {
		return true
	}
	if c.marks.reachBackTo(at) {
		return false
	}
	// All that was purged since was still in the stream, if it was written not too long ago, and the stream was not too full for that.
	return c.full.Load() || c.toCluster(time.Now()).Sub(written) > c.o.Retention/2
}
