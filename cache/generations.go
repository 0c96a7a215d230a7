package cache

import "maps"

// Generations say which entries a purge of everything, or of a source, has left valid. They are
// counters, never clocks, and never go back. A Generations is not changed once it is in use: with
// makes a new one.
type Generations struct {
	// Seq is the newest generation. Every purge of a scope takes the next one.
	Seq uint64 `json:"seq"`
	// All and Sources are when everything, and each source, was last purged.
	All     Purged            `json:"all"`
	Sources map[string]Purged `json:"sources,omitempty"`
	// Marks are when folders and tags were last purged, by mark. A mark may stand for several of
	// them: what is purged too much is asked for again, and so their number is bounded.
	Marks map[Mark]Purged `json:"marks,omitempty"`
	// Tags is when any tag was last purged.
	Tags uint64 `json:"tags,omitempty"`
	// Images is set once any single image was purged. From then on first fetches are sent with
	// Cache-Control: no-cache, as one of them may be the first after a purge.
	Images bool `json:"images,omitempty"`
	// Position is how far the purges of a cluster had been carried out.
	Position Position `json:"position,omitzero"`
}

// Purged is when a scope was last purged, in generations.
type Purged struct {
	Delete     uint64 `json:"delete,omitempty"`     // entries that began before are gone
	Revalidate uint64 `json:"revalidate,omitempty"` // entries that began before must be asked about
	Stale      uint64 `json:"stale,omitempty"`      // entries that began before may be served while they are asked about
}

func (p Purged) atLeast(o Purged) Purged {
	return Purged{max(p.Delete, o.Delete), max(p.Revalidate, o.Revalidate), max(p.Stale, o.Stale)}
}

// last is the newest purge of any kind.
func (p Purged) last() uint64 { return max(p.Delete, p.Revalidate, p.Stale) }

// of is what holds for one source.
func (g *Generations) of(source string) Purged {
	if p, ok := g.Sources[source]; ok {
		return p.atLeast(g.All)
	}
	return g.All
}

// ofImage is what holds for one image, its tags aside.
func (g *Generations) ofImage(source, image string) Purged {
	return g.of(source).atLeast(g.marked(source, image, nil))
}

// marked is what the marks say of an image with those tags.
func (g *Generations) marked(source, image string, tags []Mark) (p Purged) {
	if len(g.Marks) == 0 {
		return p
	}
	for m := range folderMarks(source, image) {
		p = p.atLeast(g.Marks[m])
	}
	for _, m := range tags {
		p = p.atLeast(g.Marks[m])
	}
	return p
}

// Deleted is the generation in which source, or everything, was last deleted. Where things live on disk
// depends on it.
func (g *Generations) Deleted(source string) uint64 { return g.of(source).Delete }

// expiry is what the generations demand of an entry. gone says that a purge of its source has deleted it, and fallen that
// one of its folder or its tags has: then its things are where they were.
func (g *Generations) expiry(source, image string, e *Entry) (gone, fallen bool, x expiry) {
	if e.gen == g.Seq {
		return false, false, notExpired
	}
	p := g.of(source)
	if e.gen < p.Delete {
		return true, false, notExpired
	}
	p = p.atLeast(g.marked(source, image, e.tags))
	switch {
	case e.gen < p.Delete:
		return false, true, notExpired
	case e.gen < p.Revalidate:
		return false, false, Revalidate.expiry()
	case e.gen < p.Stale:
		return false, false, Stale.expiry()
	}
	return false, false, notExpired
}

// purged reports whether an image was ever purged with its source, a folder, or maybe by a tag.
func (g *Generations) purged(source, image string) bool {
	return g.Tags > 0 || g.ofImage(source, image) != Purged{}
}

// with returns the generations after a purge of source, or of everything where source is empty.
func (g *Generations) with(source string, mode Mode) *Generations {
	next := *g
	next.Seq++
	if source == "" {
		next.All = g.All.at(next.Seq, mode)
		if mode == Delete {
			next.Marks = nil // all that they say is said by All
		}
		return &next
	}
	next.Sources = maps.Clone(g.Sources)
	if next.Sources == nil {
		next.Sources = make(map[string]Purged)
	}
	next.Sources[source] = g.Sources[source].at(next.Seq, mode)
	return &next
}

// withSelection returns the generations after a purge of what s selects.
func (g *Generations) withSelection(s Selection, mode Mode) *Generations {
	next := *g
	next.Seq++
	next.Marks = maps.Clone(g.Marks)
	if next.Marks == nil {
		next.Marks = make(map[Mark]Purged)
	}
	for _, f := range s.Folders {
		m := folderMark(f)
		next.Marks[m] = next.Marks[m].at(next.Seq, mode)
	}
	for _, tag := range s.Tags {
		m := tagMark(tag)
		next.Marks[m] = next.Marks[m].at(next.Seq, mode)
		next.Tags = next.Seq
	}
	return &next
}

// at is p with a purge in mode at seq.
func (p Purged) at(seq uint64, mode Mode) Purged {
	switch mode {
	case Delete:
		p.Delete = seq
	case Revalidate:
		p.Revalidate = seq
	case Stale:
		p.Stale = seq
	}
	return p
}

// Mode is what a purge does to what it finds.
type Mode uint8

const (
	Delete     Mode = iota // everything goes
	Revalidate             // bytes stay, and are not served before the origin was asked
	Stale                  // bytes stay, and are served while the origin is asked
)

// expiry is what a purge with m demands of what it leaves.
func (m Mode) expiry() expiry {
	if m == Stale {
		return mayServe
	}
	return mustAsk
}
