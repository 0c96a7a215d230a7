package blobcache_test

import (
	"context"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/cache/blobcache"
)

// opened is what docs/buckets.md has, with errors returned.
func opened(ctx context.Context, bucketURL, dir string, sources imagecdn.Sources) (*imagecdn.Handler, error) {
	bucket, err := blobcache.Open(ctx, bucketURL, nil)
	if err != nil {
		return nil, err
	}
	disk, err := cache.OpenDisk(dir, nil)
	if err != nil {
		return nil, err
	}
	store := cache.Tiered(cache.Tiered(cache.NewMemory(256<<20), disk), bucket) // or Tiered(memory, bucket)
	return imagecdn.New(sources, &imagecdn.Options{Cache: store})
}

var _ = opened // for whoever reads the page
