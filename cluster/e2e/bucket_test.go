//go:build unix

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn/internal/s3test"
	"github.com/imagecdn/imagecdn/internal/samples"
)

// Photographs are one, with another comment in each, so that they are as many to a cache.
type photographs struct {
	url       string
	jpeg      []byte
	exchanges atomic.Int64
}

func startPhotographs(t testing.TB) *photographs {
	jpeg, err := fs.ReadFile(samples.FS(), "rocket.jpg")
	if err != nil {
		t.Fatal(err)
	}
	p := &photographs{jpeg: jpeg}
	server := httptest.NewServer(p)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	p.url = server.URL
	return p
}

func (p *photographs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.exchanges.Add(1)
	comment := []byte(r.URL.Path)
	head := append([]byte{0xff, 0xd8, 0xff, 0xfe}, binary.BigEndian.AppendUint16(nil, uint16(len(comment)+2))...)
	w.Header().Set("Content-Type", "image/jpeg")
	w.Header().Set("Cache-Control", "public, max-age=31536000")
	w.Header().Set("Etag", fmt.Sprintf("%q", r.URL.Path))
	_, _ = w.Write(bytes.Join([][]byte{head, comment, p.jpeg[2:]}, nil))
}

// derivatives are the paths of so many pictures, ten of each photograph.
func derivatives(n int) (paths []string) {
	for i := range n {
		paths = append(paths, fmt.Sprintf("/photos/%d.jpg?w=%d&fm=jpg", i/10, 100+40*(i%10)))
	}
	return paths
}

// fetch asks a node for all of paths, a few at a time, and returns what it answered and how many it answered a second.
func (n *node) fetch(t testing.TB, paths []string) (bodies map[string][32]byte, rate float64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	bodies = make(map[string][32]byte)
	var mu sync.Mutex // guards bodies
	todo := make(chan string)
	var work sync.WaitGroup
	began := time.Now()
	for range 8 {
		work.Go(func() {
			for path := range todo {
				sum, err := n.body(ctx, path)
				if err != nil {
					t.Errorf("%s of %s: %v", path, n.name, err)
					continue
				}
				mu.Lock()
				bodies[path] = sum
				mu.Unlock()
			}
		})
	}
	for _, path := range paths {
		todo <- path
	}
	close(todo)
	work.Wait()
	return bodies, float64(len(paths)) / time.Since(began).Seconds()
}

// body is the hash of a picture.
func (n *node) body(ctx context.Context, path string) (sum [32]byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, *n.url.Load()+path, nil)
	if err != nil {
		return sum, err
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return sum, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "image/jpeg") {
		err = errors.New(resp.Status)
	}
	return sha256.Sum256(body), err
}

// alone starts a node with no cluster.
func alone(t testing.TB, f *fleet, args ...string) *node {
	n := &node{name: "alone", dir: t.TempDir(), binary: f.nodes[0].binary, logs: f.nodes[0].logs, w: f.w, args: append([]string{"-allow-private"}, args...)}
	n.start(t)
	return n
}

// A node with an empty disk comes to a cluster whose bucket has all that was ever made: it makes nothing, and asks no origin.
func TestNewNodeWithWarmBucket(t *testing.T) {
	paths := derivatives(1000)
	photos := startPhotographs(t)
	source := []string{"-source", "photos=" + photos.url}
	f := startFleet(t, setup{nodes: 2, bucket: s3test.Bucket(t), args: source})
	first, newcomer := f.nodes[0], f.nodes[1]
	newcomer.stop(t) // and so knows nothing of what comes now
	var rows []string
	row := func(what string, rate float64, renders int, exchanges int64) {
		rows = append(rows, fmt.Sprintf("| %s | %.0f/s | %d | %d |", what, rate, renders, exchanges))
	}

	single := alone(t, f, source...)
	_, rate := single.fetch(t, paths)
	row("one node, no cluster", rate, single.renders(t), photos.exchanges.Swap(0))
	single.stop(t)

	want, rate := first.fetch(t, paths)
	row("the first node of a cluster with an empty bucket", rate, first.renders(t), photos.exchanges.Swap(0))
	first.settled(t)

	newcomer.start(t)
	got, rate := newcomer.fetch(t, paths)
	renders, exchanges := newcomer.renders(t), photos.exchanges.Swap(0)
	row("a new node with an empty disk, beside a warm bucket", rate, renders, exchanges)
	if renders != 0 || exchanges != 0 {
		t.Errorf("the first %d derivatives of a new node took %d renders and %d exchanges with the origin", len(paths), renders, exchanges)
	}
	for path, sum := range want {
		if got[path] != sum {
			t.Errorf("%s: the new node has another picture than the first", path)
			break
		}
	}
	_, rate = newcomer.fetch(t, paths)
	row("the same, warm", rate, newcomer.renders(t)-renders, photos.exchanges.Swap(0))

	g := startFleet(t, setup{nodes: 2, args: source})
	g.nodes[0].fetch(t, paths)
	photos.exchanges.Store(0)
	_, rate = g.nodes[1].fetch(t, paths)
	row("a new node of a cluster without a bucket", rate, g.nodes[1].renders(t), photos.exchanges.Swap(0))
	t.Logf("the first %d derivatives of %d photographs, 8 at a time; nodes, NATS, the S3 server, the origin and who asks on %d processors\n"+
		"| | pictures | renders | exchanges with the origin |\n| --- | --- | --- | --- |\n%s", len(paths), len(paths)/10, runtime.NumCPU(), strings.Join(rows, "\n"))
}

// settled waits until the node has written all that it was to write.
func (n *node) settled(t testing.TB) {
	t.Helper()
	eventually(t, time.Minute, n.name+" has written all that it has made", func() bool { return n.metric(t, "imagecdn_cache_write_waiting_bytes") == 0 })
	time.Sleep(time.Second) // names are told behind
}

// A hundred requests for one picture that nobody has, over three nodes, have it made once.
func TestOneRenderAmongNodes(t *testing.T) {
	photos := startPhotographs(t)
	f := startFleet(t, setup{nodes: 3, bucket: s3test.Bucket(t), args: []string{"-source", "photos=" + photos.url}})
	made := func() (sum int) {
		for _, n := range f.nodes {
			sum += n.renders(t)
		}
		return sum
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for round := range 5 {
		before := made()
		path := fmt.Sprintf("/photos/%d.jpg?w=300&fm=jpg", round)
		sums := make([][32]byte, 100)
		var work sync.WaitGroup
		for i := range sums {
			work.Go(func() {
				var err error
				if sums[i], err = f.nodes[i%len(f.nodes)].body(ctx, path); err != nil {
					t.Errorf("%s: %v", path, err)
				}
			})
		}
		work.Wait()
		for _, sum := range sums {
			if sum != sums[0] {
				t.Errorf("%s: not all have the same picture", path)
				break
			}
		}
		if renders := made() - before; renders != 1 {
			t.Errorf("%s: 100 requests over three nodes took %d renders", path, renders)
			for _, n := range f.nodes {
				t.Logf("%s: %v turns taken, %v shared, %v expired, %v late, %v unasked", n.name, n.metric(t, "imagecdn_cluster_turns_taken_total"), n.metric(t, "imagecdn_cluster_turns_shared_total"),
					n.metric(t, "imagecdn_cluster_turns_expired_total"), n.metric(t, "imagecdn_cluster_turns_late_total"), n.metric(t, "imagecdn_cluster_turns_unasked_total"))
			}
		}
	}
	t.Logf("%d exchanges with the origin for 5 photographs", photos.exchanges.Load())
}
