package cluster

import (
	"context"
	"strings"

	"github.com/imagecdn/imagecdn/cache"
)

// openJobs opens the log of jobs.
func (c *Cluster) openJobs(ctx context.Context) (err error) {
	c.jobs, err = newJobs(ctx, c.js, jobsOptions{Prefix: c.o.Prefix, Replicas: c.o.Replicas, Self: c.o.Name, Logger: c.o.Logger})
	return err
}

// share opens what nodes share beside purges and jobs. Until then nothing is.
func (c *Cluster) share(ctx context.Context, n node) error {
	if !c.o.OwnRenders {
		turns, err := newTurns(ctx, c.js, turnsOptions{Prefix: c.o.Prefix, Replicas: c.o.Replicas, Self: c.o.Name, Logger: c.o.Logger})
		if err != nil {
			return err
		}
		c.turns.Store(turns)
	}
	if c.o.OwnNames {
		return nil
	}
	var learn func(n cache.Name, e *cache.Entry, valid func() bool) bool
	if t, ok := n.(learner); ok {
		learn = t.Learn
	} else {
		learn = func(cache.Name, *cache.Entry, func() bool) bool { return false }
	}
	names, err := newNames(ctx, c.js, namesOptions{
		Prefix: c.o.Prefix, Replicas: c.o.Replicas, MaxAge: c.o.Retention, Logger: c.o.Logger,
		Log:    func() string { log, _ := c.log.Load().(string); return log },
		Purged: c.purged, ToCluster: c.toCluster, FromCluster: c.fromCluster, Learn: learn,
	})
	if err != nil {
		return err
	}
	c.names.Store(names)
	return nil
}

// A learner is a node with a table.
type learner interface {
	Learn(n cache.Name, e *cache.Entry, valid func() bool) bool
}

func (c *Cluster) closeBuckets() {
	c.jobs.Close()
	if t := c.turns.Load(); t != nil {
		t.Close()
	}
	if n := c.names.Load(); n != nil {
		n.Close()
	}
}

// Lookup implements [cache.Shared].
func (c *Cluster) Lookup(ctx context.Context, n cache.Name) *cache.Entry {
	if names := c.names.Load(); names != nil {
		return names.Lookup(ctx, n)
	}
	return nil
}

// Commit implements [cache.Shared].
func (c *Cluster) Commit(n cache.Name, e *cache.Entry, position uint64) {
	if names := c.names.Load(); names != nil {
		names.Commit(n, e, position)
	}
}

// forgetNames has images forgotten that were purged up to a position. It is for the room that they take.
func (c *Cluster) forgetNames(paths []string, position uint64) {
	names := c.names.Load()
	if names == nil {
		return
	}
	for _, p := range paths {
		source, image, _ := strings.Cut(strings.TrimPrefix(p, "/"), "/")
		names.Forget(source, "/"+image, position)
	}
}

// Turn implements [imagecdn.Cluster].
func (c *Cluster) Turn(ctx context.Context, k cache.Key) (end func(), mine bool) {
	if t := c.turns.Load(); t != nil {
		return t.Turn(ctx, k)
	}
	return func() {}, true
}
