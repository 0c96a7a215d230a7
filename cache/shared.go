package cache

import "context"

// Shared is what the nodes of a cluster share of their names. A [Table] that has one asks it about names that it does not hold, tells it of
// those that it commits, and says whether what the table holds may be served. The module github.com/imagecdn/imagecdn/cluster has one.
//
// # Why a purge of another node is not undone
//
// Purges of the cluster have positions, ascending, the same on every node. A node applies them in their order: it first notes a purge for
// Lookup and Learn, then has its own table carry it out, and then moves Position on. A fill takes its lease, then Position, and then asks the
// origin; so what it brings is newer than every purge up to there, and whoever hears of it from the cluster drops it where a purge behind
// that position covers the name. A lease taken before that look ends with whatever purge comes after it.
//
// All methods are safe for concurrent use.
type Shared interface {
	// Currency says whether what this node knows may be served. It is asked for every request, and does no I/O.
	Currency() Currency

	// Position is up to which purge of the cluster this node's table has carried all out. It does no I/O.
	Position() uint64

	// Lookup returns what the cluster knows of n, or nil: nothing that a purge covers that was noted when it was called. It returns
	// soon, with nil, where the cluster is slow or away. The caller owns the entry.
	Lookup(ctx context.Context, n Name) *Entry

	// Commit tells the cluster of e, which was asked for at that position. It returns at once; what there is no room for is not told. e is not
	// changed.
	Commit(n Name, e *Entry, position uint64)
}

// Currency says whether what a node of a cluster knows may be served.
type Currency uint8

const (
	// Current: every purge that was accepted, but for the last moment, has been carried out here.
	Current Currency = iota

	// CutOff: there may be purges that have not been heard of, and nothing of what is known is served: the origin is asked for each request, and
	// its answer is kept by nobody.
	CutOff

	// CutOffServing: there may be purges that have not been heard of, and what is known is served all the same. [Result].CutOff says so.
	CutOffServing
)

// A Position is how far a node had carried out the purges of its cluster. A table whose store is a [Keeper] keeps it, beside the generations:
// so that who copies the one has the other.
type Position struct {
	Log  string `json:"log"`  // which log of purges the rest is about
	Seq  uint64 `json:"seq"`  // in it
	Time int64  `json:"time"` // when Seq was written, by the log's clock, in Unix nanoseconds
}

// A Settler is a [Store] that writes behind, and can be waited for.
type Settler interface {
	// Settle waits until what was put under k can be found by others, or cannot any more, or until ctx ends. It reports whether it can.
	Settle(ctx context.Context, k Key) bool
}

type elsewhereKey struct{}

// Elsewhere returns a context in which stores that nodes share free nothing: another node does, and this one frees what is its own.
func Elsewhere(ctx context.Context) context.Context {
	return context.WithValue(ctx, elsewhereKey{}, true)
}

// IsElsewhere reports whether ctx is one of Elsewhere.
func IsElsewhere(ctx context.Context) bool { return ctx.Value(elsewhereKey{}) != nil }
