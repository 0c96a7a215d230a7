package cluster

import (
	"context"
	"strings"

	"github.com/imagecdn/imagecdn/cache"
)

// openBuckets makes the buckets, or opens them.
func (c *Cluster) openBuckets(ctx context.Context) (err error) { return nil }

func (c *Cluster) closeBuckets() {}

// Lookup implements [cache.Shared].
func (c *Cluster) Lookup(ctx context.Context, n cache.Name) *cache.Entry { return nil }

// Commit implements [cache.Shared].
func (c *Cluster) Commit(n cache.Name, e *cache.Entry, position uint64) {}

// Turn implements [imagecdn.Cluster].
func (c *Cluster) Turn(ctx context.Context, k cache.Key) (end func(), mine bool) {
	return func() {}, true
}

type names struct{}

// forgetAll has images forgotten that a purge up to a position was about.
func (n *names) forgetAll(paths []string, position uint64) {
	for _, p := range paths {
		source, image, _ := strings.Cut(p[1:], "/")
		_, _ = source, image
	}
}

type (
	jobs  struct{}
	turns struct{}
)
