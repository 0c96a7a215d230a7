package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/imagecdn/imagecdn/cache"
)

// openBuckets opens what nodes share beside purges: of it what is not open yet.
func (c *Cluster) openBuckets(ctx context.Context) error {
	if c.jobs == nil {
		jobs, err := newJobs(ctx, c.js, jobsOptions{Prefix: c.o.Prefix, Replicas: c.o.Replicas, Self: c.o.Name, Fenced: c.hasYounger, Logger: c.o.Logger})
		if err != nil {
			return err
		}
		c.jobs = jobs
	}
	if c.turns == nil && !c.o.OwnRenders {
		turns, err := newTurns(ctx, c.js, turnsOptions{Prefix: c.o.Prefix, Replicas: c.o.Replicas, Self: c.o.Name, Logger: c.o.Logger})
		if err != nil {
			return err
		}
		c.turns = turns
	}
	if c.names == nil && !c.o.OwnNames {
		names, err := newNames(ctx, c.js, namesOptions{
			Prefix: c.o.Prefix, Replicas: c.o.Replicas, MaxAge: c.o.Retention, Logger: c.o.Logger,
			Log:    func() string { log, _ := c.log.Load().(string); return log },
			Purged: c.purged, ToCluster: c.toCluster, FromCluster: c.fromCluster, Learn: c.learn,
		})
		if err != nil {
			return err
		}
		c.names = names
	}
	return nil
}

// learn has this node's table learn what another has told.
func (c *Cluster) learn(n cache.Name, e *cache.Entry, valid func() bool) bool {
	joined := c.node.Load()
	if joined == nil {
		return false
	}
	l, ok := joined.node.(learner)
	return ok && l.Learn(n, e, valid)
}

// A learner is a node with a table.
type learner interface {
	Learn(n cache.Name, e *cache.Entry, valid func() bool) bool
}

// makeBucket makes a bucket where it is not there, and returns when that was.
func makeBucket(ctx context.Context, js jetstream.JetStream, config jetstream.KeyValueConfig) (kv jetstream.KeyValue, made time.Time, err error) {
	kv, err = js.CreateOrUpdateKeyValue(ctx, config)
	if err == nil {
		var s jetstream.Stream
		if s, err = js.Stream(ctx, "KV_"+config.Bucket); err == nil {
			return kv, s.CachedInfo().Created, nil
		}
	}
	return nil, made, fmt.Errorf("the bucket %s: %w", config.Bucket, err)
}

// renewBuckets sees that the buckets are there, whenever the stream is read anew, until Close.
func (c *Cluster) renewBuckets() {
	for failed := 0; ; {
		if failed == 0 {
			select {
			case <-c.renew:
			case <-c.ctx.Done():
				return
			}
		}
		ctx, cancel := context.WithTimeout(c.ctx, 5*time.Second)
		err := c.jobs.renew(ctx)
		if n := c.names; n != nil {
			err = errors.Join(err, n.renew(ctx))
		}
		cancel()
		if err == nil {
			failed = 0
			continue
		}
		failed++
		c.o.Logger.Warn("cluster: the buckets are not to be had, and are asked for again", "node", c.o.Name, "error", err)
		if !pause(c.ctx, backoff(failed)) {
			return
		}
	}
}

func (c *Cluster) closeBuckets() {
	if c.jobs != nil {
		c.jobs.Close()
	}
	if c.turns != nil {
		c.turns.Close()
	}
	if c.names != nil {
		c.names.Close()
	}
}

// Lookup implements [cache.Shared].
func (c *Cluster) Lookup(ctx context.Context, n cache.Name) *cache.Entry {
	if c.names == nil {
		return nil
	}
	return c.names.Lookup(ctx, n)
}

// Commit implements [cache.Shared].
func (c *Cluster) Commit(n cache.Name, e *cache.Entry, position uint64) {
	if position > c.applied.Load() {
		return // it is in a log that is no more, or in an end of this one that was lost
	}
	if c.names != nil {
		c.names.Commit(n, e, position)
	}
}

// forgetNames has images forgotten that were purged up to a position. It is for the room that they take.
func (c *Cluster) forgetNames(paths []string, position uint64) {
	if c.names == nil {
		return
	}
	for _, p := range paths {
		source, image, _ := strings.Cut(strings.TrimPrefix(p, "/"), "/")
		c.names.Forget(source, "/"+image, position)
	}
}

// Turn implements [imagecdn.Cluster].
func (c *Cluster) Turn(ctx context.Context, k cache.Key) (end func(), mine bool) {
	if c.turns == nil {
		return func() {}, true
	}
	return c.turns.Turn(ctx, k)
}
