package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // the buckets that URLs may name
	_ "gocloud.dev/blob/fileblob"
	_ "gocloud.dev/blob/gcsblob"
	_ "gocloud.dev/blob/s3blob"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/cache/blobcache"
	"github.com/imagecdn/imagecdn/internal/command"
	"github.com/imagecdn/imagecdn/origin/bloborigin"
)

// extension is what this command has beyond that of the library.
func extension() command.Extension {
	return command.Extension{
		Usage: `  imagecdn serve -cluster nats://HOST:4222 [flags]    … as a node of several (docs/deploy.md)
  imagecdn serve -bucket URL -source NAME=BUCKET_URL  … with buckets as a cache and as sources (docs/buckets.md)
`,
		Choices: map[string][]string{"cluster-policy": {"strict", "available"}},
		Examples: map[string]string{
			"bucket":              "bucket = \"s3://my-cache?region=eu-central-1&prefix=cache/\"\n",
			"cluster":             "cluster = \"nats://10.0.0.5:4222,nats://10.0.0.6:4222,nats://10.0.0.7:4222\"\n",
			"cluster-creds":       "cluster-creds = \"/etc/imagecdn/nats.creds\"\n",
			"cluster-secret-file": "cluster-secret-file = \"/etc/imagecdn/cluster-secret\"\n",
			"cluster-dir":         "cluster-dir = \"/var/lib/imagecdn/nats\"\n",
			"cluster-listen":      "cluster-listen = \"10.0.0.1:6222\"\n",
			"cluster-clients":     "cluster-clients = \"127.0.0.1:4222\"\n",
			"cluster-ca":          "cluster-ca = \"/etc/imagecdn/cluster-ca.pem\"\n",
			"cluster-cert":        "cluster-cert = \"/etc/imagecdn/cluster.pem\"\n",
			"cluster-key":         "cluster-key = \"/etc/imagecdn/cluster-key.pem\"\n",
			"node":                "node = \"cdn-1\"\n",
			"peers":               "peers = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\"]\n",
		},
		Flags: func(f *flag.FlagSet) command.Serving {
			n := new(node)
			n.define(f)
			return command.Serving{
				Check: func(command.Env) error {
					return errors.Join(n.bucket.check(), n.cluster.check(f))
				},
				Source: n.source, Cache: n.cache, Options: n.options, Close: n.close,
			}
		},
	}
}

// A node is what this command has opened for one run of serve.
type node struct {
	bucket  bucketFlags
	cluster clusterFlags

	closers []io.Closer // in the order in which they were opened
}

func (n *node) define(f *flag.FlagSet) {
	n.bucket.define(f)
	n.cluster.define(f)
}

// close closes the sources, and what the cluster runs on. Whoever uses them has been closed.
func (n *node) close() (err error) {
	for i := len(n.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, n.closers[i].Close())
	}
	return err
}

// bucketFlags say which bucket is the slowest tier of the cache.
type bucketFlags struct {
	url          string
	most, queued int64
}

func (b *bucketFlags) define(f *flag.FlagSet) {
	b.most, b.queued = 64<<20, 64<<20
	f.StringVar(&b.url, "bucket", "", "`URL` of a bucket that is the slowest tier of the cache, which nodes may share: s3://…, gs://…, azblob://… or file:///…; see docs/buckets.md")
	f.Var(command.Size(&b.most), "bucket-max-bytes", "most `bytes` of an image that goes into -bucket")
	f.Var(command.Size(&b.queued), "bucket-queue", "most `bytes` of memory for images that are to be written to -bucket; what has no room is not written")
}

func (b *bucketFlags) check() error {
	switch {
	case b.url != "" && !isBucket(b.url):
		return command.UsageErrorf("-bucket takes the URL of a bucket, s3://, gs://, azblob:// or file://, and got %q", b.url)
	case b.most < 0 || b.queued < 0:
		return command.UsageErrorf("-bucket-max-bytes and -bucket-queue take sizes")
	}
	return nil
}

// isBucket reports whether a driver is there for a URL.
func isBucket(where string) bool {
	scheme, _, ok := strings.Cut(where, "://")
	return ok && blob.DefaultURLMux().ValidBucketScheme(scheme)
}

// source opens a bucket as a source.
func (n *node) source(ctx context.Context, _ command.Env, where string) (imagecdn.Source, bool, error) {
	if !isBucket(where) {
		return imagecdn.Source{}, false, nil
	}
	o, err := bloborigin.Open(ctx, where, nil)
	if err != nil {
		return imagecdn.Source{}, true, err
	}
	n.closers = append(n.closers, o)
	return imagecdn.Source{Transport: o}, true, nil
}

// cache puts the bucket under the cache.
func (n *node) cache(ctx context.Context, env command.Env, fast cache.Store) (cache.Store, error) {
	if n.bucket.url == "" {
		return fast, nil
	}
	slow, err := blobcache.Open(ctx, n.bucket.url, &blobcache.Options{MaxBytes: n.bucket.most, MaxWaiting: n.bucket.queued, Logger: env.Logger})
	if err != nil {
		return nil, fmt.Errorf("-bucket: %w", err)
	}
	return cache.Tiered(fast, slow), nil
}
