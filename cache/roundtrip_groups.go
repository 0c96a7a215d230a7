package cache

import (
	"net/http"
	"slices"
	"sync"

	"github.com/dunglas/httpsfv"
)

const (
	maxGroups      = 64  // of one response
	maxGroupLength = 128 // bytes of one name; RFC 9875 asks for 32 groups of 32 at least
	maxInvalidated = 10_000
)

// groups are the cache groups that have been invalidated (RFC 9875), each with the number of its invalidation. An
// entry knows the number when it was asked for, and is invalid where one of its groups has a higher one. So a fill
// that was under way when its group was invalidated is, too.
//
// Nothing is written down: an entry from before a restart has the number 0, and is invalid if it is in any group. When
// there are too many groups they are forgotten, and floor makes all that were asked for until then invalid.
type groups struct {
	mu    sync.Mutex // guards all
	count uint64
	floor uint64
	last  map[string]uint64 // by origin and group
}

// now is the number of the newest invalidation, no less than 1.
func (g *groups) now() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count + 1
}

// invalidate does what the answer to an unsafe request says about groups of its origin.
func (g *groups) invalidate(origin string, h http.Header) {
	names, over := groupsOf(h, "Cache-Group-Invalidation")
	if len(names) == 0 && !over {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count++
	if over || len(g.last)+len(names) > maxInvalidated {
		g.last, g.floor = nil, g.count+1
		return
	}
	if g.last == nil {
		g.last = make(map[string]uint64)
	}
	for _, name := range names {
		g.last[origin+"\x00"+name] = g.count + 1
	}
}

// invalid reports whether an entry of a name must be confirmed by the origin before it is used.
func (g *groups) invalid(image string, e *Entry) bool {
	if len(e.Header["Cache-Groups"]) == 0 {
		return false
	}
	names, _ := groupsOf(e.Header, "Cache-Groups")
	origin := originOf(image)
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(names) > 0 && e.asked < max(1, g.floor) {
		return true
	}
	for _, name := range names {
		if e.asked < g.last[origin+"\x00"+name] {
			return true
		}
	}
	return false
}

// groupsOf reads a list of groups. What is no list counts as absent, and what is no string in it, too (RFC 9875
// section 2). over says that there are more, or longer ones, than can be had.
func groupsOf(h http.Header, field string) (names []string, over bool) {
	names = stringsOf(h.Values(field))
	tooLong := func(name string) bool { return len(name) > maxGroupLength }
	if len(names) > maxGroups || slices.ContainsFunc(names, tooLong) {
		return nil, true
	}
	return names, false
}

// stringsOf returns the strings of a field that is a list (RFC 9651), and none where it is not well formed.
func stringsOf(lines []string) (all []string) {
	if len(lines) == 0 {
		return nil
	}
	list, err := httpsfv.UnmarshalList(lines)
	if err != nil {
		return nil
	}
	for _, member := range list {
		if item, ok := member.(httpsfv.Item); ok {
			if s, ok := item.Value.(string); ok {
				all = append(all, s)
			}
		}
	}
	return all
}
