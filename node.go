package imagecdn

import (
	"context"
	"slices"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
)

// A Node is a handler as its Cluster drives it.
type Node struct {
	h *Handler
}

// Accept carries a purge out on this node alone: when it returns, the purge is in force here, durably. Sources that are not here are no
// error: the nodes of a cluster need not have the same.
func (n *Node) Accept(_ context.Context, r purge.Request) error { return n.h.targets.accept(r) }

// Table has the names of this node.
func (n *Node) Table() *cache.Table { return n.h.table }

// Flush frees what a purge has made unreachable on this node; of listed images that it has only marked, what they are now is what
// another node has told of them, and the origin is not asked. What is in stores that nodes share is left to the node whose job it is. The purge
// has to be in force here. It is safe to be called again, and goes on after an error, which is the first of them.
func (n *Node) Flush(ctx context.Context, f purge.NodeFlush) (all purge.PathResult, err error) {
	if f.Mode == purge.Followed {
		return all, nil
	}
	ctx = cache.Elsewhere(ctx)
	add := func(one purge.PathResult, oneErr error) {
		all.Originals += one.Originals
		all.Derivatives += one.Derivatives
		all.Composites += one.Composites
		all.Bytes += one.Bytes
		if one.Outcome == purge.Changed {
			all.Outcome = purge.Changed
		}
		if err == nil {
			err = oneErr
		}
	}
	if f.Scope == purge.All {
		add(n.h.targets.PurgeAll(ctx, f.Source, f.Mode))
		return all, err
	}
	for _, name := range f.Paths {
		switch {
		case f.Scope == purge.Tag && f.Mode == purge.Delete:
			add(n.sweep(ctx, selection(nil, []string{name})))
		case f.Scope == purge.Prefix && f.Mode == purge.Delete:
			add(n.sweep(ctx, selection([]string{name}, nil)))
		case f.Scope != purge.Original: // each is asked about as it is asked for
		case f.Mode == purge.Delete:
			source, image := cutPath(name)
			removed, err := n.h.store.Remove(ctx, source, image)
			if err == nil {
				n.h.targets.warm(name)
			}
			add(counts("", removed), err)
		default:
			add(n.compare(ctx, name, f.Mode))
		}
	}
	return all, err
}

// Marked reports whether a purge has marked what this node knows of an image, or of a version of it, and the origin was not asked since.
func (n *Node) Marked(path string) bool {
	source, image := cutPath(path)
	s := n.h.sources[source]
	if s == nil {
		return false
	}
	return slices.ContainsFunc(append(s.cache.Versions(image), ""), func(v string) bool {
		e := s.cache.Known(image, v)
		return e != nil && e.Marked()
	})
}

func (n *Node) sweep(ctx context.Context, s cache.Selection) (purge.PathResult, error) {
	removed, err := n.h.table.Sweep(ctx, n.h.store, s)
	return counts("", removed), err
}

// compare is PurgePath for an image that another node has asked the origin about. What that has not told stays marked, and in mode Stale is
// served no more before somebody has asked.
func (n *Node) compare(ctx context.Context, path string, mode purge.Mode) (purge.PathResult, error) {
	t := n.h.targets
	source, image := cutPath(path)
	s := n.h.sources[source]
	if s == nil {
		return purge.PathResult{}, nil
	}
	left := false
	for _, v := range s.cache.Versions(image) {
		if known := s.cache.Known(image, v); v != "" && known != nil && known.Marked() {
			left = s.cache.Learn(ctx, image, v) == nil || left
		}
	}
	before := t.noted(path)
	if known := s.cache.Known(image, ""); before == nil && known != nil && known.Marked() {
		before = known
	}
	var now *cache.Result
	if before != nil {
		now = s.cache.Learn(ctx, image, "")
		left = left || now == nil
	}
	if left && mode == purge.Stale {
		if err := s.cache.Purge(image, cache.Revalidate); err != nil {
			return purge.PathResult{}, err
		}
	}
	if now == nil && before != nil {
		return purge.PathResult{Outcome: purge.Changed}, nil // for all that is known
	}
	if now == nil {
		return purge.PathResult{}, nil
	}
	if now.Entry.OK() && before.OK() && now.Entry.Digest == before.Digest {
		t.forget(path)
		return purge.PathResult{}, nil
	}
	removed, err := s.cache.Supersede(ctx, now)
	if err == nil {
		t.forget(path)
		t.warm(path)
	}
	return counts(purge.Changed, removed), err
}

// clusterTarget is the caches of all nodes as the invalidation service sees them.
type clusterTarget struct {
	*target
	cluster Cluster
}

// Accept implements [purge.Target].
func (t clusterTarget) Accept(ctx context.Context, r purge.Request) error {
	if err := t.check(r); err != nil {
		return err
	}
	if r.Mode == purge.Followed {
		return nil
	}
	return t.cluster.Accept(ctx, r)
}

// clusterNodes are the other nodes as the invalidation service sees them.
type clusterNodes struct {
	Cluster
	h *Handler
}

// Flush implements [purge.Nodes]. What a node that had not heard of the purge yet has put into a store that nodes share, after this one had removed what
// was there, nobody can ask for any more; a takedown is to leave nothing all the same.
func (n clusterNodes) Flush(ctx context.Context, f purge.NodeFlush, report func(purge.NodeResult)) {
	n.Cluster.Flush(ctx, f, report)
	if f.Scope != purge.Original || f.Mode != purge.Delete || !cache.Settles(n.h.store) {
		return
	}
	for _, path := range f.Paths {
		source, image := cutPath(path)
		if err := cache.RemoveShared(ctx, n.h.store, source, image); err != nil && ctx.Err() == nil {
			n.h.log.Warn("a purge has left what nobody can ask for", "path", path, "error", err)
		}
	}
}
