package blobcache_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/fstest"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/cache/blobcache"
	"github.com/imagecdn/imagecdn/purge"
)

func picture(t testing.TB, w, h int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, w, h))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Two nodes with one bucket below their own tiers: what one has made the other does not make again, and purges of either leave
// nothing in the bucket.
func TestNodesOfAHandler(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		f, b := newFaulty()
		testHandlers(t, b, f.under)
	})
	t.Run("S3", func(t *testing.T) {
		b := openS3(t)
		testHandlers(t, b, b)
	})
}

func testHandlers(t *testing.T, b, look *blob.Bucket) {
	files := fstest.MapFS{"cat.png": {Data: picture(t, 400, 300)}, "dog.png": {Data: picture(t, 300, 400)}, "logo.png": {Data: picture(t, 20, 20)}}
	type node struct {
		h      *imagecdn.Handler
		bucket *blobcache.Store
	}
	var nodes []node
	for range 2 {
		s := open(t, b, nil)
		h, err := imagecdn.New(imagecdn.Sources{"photos": imagecdn.FS(files)}, &imagecdn.Options{Cache: cache.Tiered(cache.Tiered(cache.NewMemory(0), openDisk(t)), s)})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		nodes = append(nodes, node{h, s})
	}
	urls := []string{"/photos/cat.png?w=100", "/photos/cat.png?w=200", "/photos/dog.png?w=100", "/photos/cat.png?w=150&mark=/photos/logo.png"}
	get := func(n node, url string) string {
		t.Helper()
		w := httptest.NewRecorder()
		n.h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, url, nil))
		if w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", url, w.Code, w.Body)
		}
		return w.Body.String()
	}
	purged := func(n node, paths ...string) purge.Record {
		t.Helper()
		job, err := n.h.Purge(t.Context(), paths, nil)
		if len(paths) == 0 {
			job, err = n.h.PurgeAll(t.Context(), nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		rec, err := job.Wait(t.Context())
		if err != nil || rec.State != purge.Done {
			t.Fatalf("%v: %v, %v", paths, rec.State, err)
		}
		return rec
	}
	all := func() map[string]string {
		bodies := make(map[string]string)
		for _, url := range urls {
			bodies[url] = get(nodes[0], url)
		}
		waitFor(t, nodes[0].bucket, look, len(urls)+3+1) // and the originals, and a reference
		return bodies
	}

	bodies := all()
	for _, url := range urls {
		if get(nodes[1], url) != bodies[url] {
			t.Errorf("%s: the nodes give different bytes", url)
		}
	}
	written := func(n node) (pixels int64) {
		for _, r := range n.h.Stats().Renders {
			pixels += r.PixelsWritten
		}
		return pixels
	}
	if one, two := written(nodes[0]), written(nodes[1]); one == 0 || two != 0 {
		t.Errorf("the nodes made pictures of %d and %d pixels; the second should have found those of the first in the bucket", one, two)
	}

	// The other node's purge frees what the first has put there.
	purged(nodes[1], "/photos/logo.png")
	if n := len(keys(t, look, "things/")); n != len(urls)-1+2 {
		t.Errorf("after a purge of the watermark there are %d objects: %v", n, keys(t, look, "things/"))
	}
	purged(nodes[1], "/photos/cat.png")
	if n := len(keys(t, look, "things/")); n != 2 {
		t.Errorf("after a purge of the cat there are %d objects", n)
	}
	purged(nodes[1])
	if n := keys(t, look, "things/"); len(n) != 0 {
		t.Errorf("after a purge of everything there is %v", n)
	}
}

// waitFor waits until so many objects are in the bucket.
func waitFor(t *testing.T, s *blobcache.Store, b *blob.Bucket, n int) {
	t.Helper()
	for range 10_000 {
		if settle(s); len(keys(t, b, "things/")) == n {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("there are %d objects, and should be %d: %v", len(keys(t, b, "things/")), n, keys(t, b, "things/"))
}

func Example() {
	// In place of blobcache.Open(ctx, "s3://my-cache?region=eu-central-1", nil), with an import of gocloud.dev/blob/s3blob.
	b := memblob.OpenBucket(nil)
	defer b.Close()
	bucket, err := blobcache.New(context.Background(), b, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	store := cache.Tiered(cache.NewMemory(64<<20), bucket) // or Tiered(Tiered(memory, disk), bucket)
	h, err := imagecdn.New(imagecdn.Sources{"photos": imagecdn.Dir(".")}, &imagecdn.Options{Cache: store})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer h.Close() // and the store
	fmt.Println(bucket.Stats().Written)
	// Output: 0
}
