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
	// Images is set once any single image was purged. From then on first fetches are sent with
	// Cache-Control: no-cache, as one of them may be the first after a purge.
	Images bool `json:"images,omitempty"`
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

// Deleted is the generation in which source, or everything, was last deleted. Where things live on disk
// depends on it.
func (g *Generations) Deleted(source string) uint64 { return g.of(source).Delete }

// expiry is what the generations demand of an entry whose fetch began in gen.
func (g *Generations) expiry(source string, gen uint64) (gone bool, x expiry) {
	p := g.of(source)
	switch {
	case gen < p.Delete:
		return true, notExpired
	case gen < p.Revalidate:
		return false, Revalidate.expiry()
	case gen < p.Stale:
		return false, Stale.expiry()
	}
	return false, notExpired
}

// purged reports whether source was ever purged whole.
func (g *Generations) purged(source string) bool { return g.of(source) != Purged{} }

// with returns the generations after a purge of source, or of everything where source is empty.
func (g *Generations) with(source string, mode Mode) *Generations {
	next := *g
	next.Seq++
	bump := func(p Purged) Purged {
		switch mode {
		case Delete:
			p.Delete = next.Seq
		case Revalidate:
			p.Revalidate = next.Seq
		case Stale:
			p.Stale = next.Seq
		}
		return p
	}
	if source == "" {
		next.All = bump(g.All)
		return &next
	}
	next.Sources = maps.Clone(g.Sources)
	if next.Sources == nil {
		next.Sources = make(map[string]Purged)
	}
	next.Sources[source] = bump(g.Sources[source])
	return &next
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
