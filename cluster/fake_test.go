package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
)

// fakeNode notes what it is told.
type fakeNode struct {
	mu       sync.Mutex
	accepted []string
	flushed  []string
	position cache.Position
	saves    int
	fail     func(r purge.Request) error
	result   purge.PathResult
	flushErr func(f purge.NodeFlush) error
	stuck    func(f purge.NodeFlush) bool // waits for the context to end
}

func (n *fakeNode) Accept(ctx context.Context, r purge.Request) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fail != nil {
		if err := n.fail(r); err != nil {
			return err
		}
	}
	what := string(r.Scope) + " " + strings.Join(r.Paths, " ")
	if r.Mode == purge.Stale || r.Mode == purge.Revalidate {
		what = string(r.Mode) + " " + what
	}
	n.accepted = append(n.accepted, what)
	return nil
}

func (n *fakeNode) Marked(string) bool { return false }

func (n *fakeNode) Flush(ctx context.Context, f purge.NodeFlush) (purge.PathResult, error) {
	if n.stuck != nil && n.stuck(f) {
		<-ctx.Done()
		return purge.PathResult{}, ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.flushed = append(n.flushed, strings.Join(f.Paths, " "))
	if n.flushErr != nil {
		if err := n.flushErr(f); err != nil {
			return purge.PathResult{}, err
		}
	}
	return n.result, nil
}

func (n *fakeNode) Position() cache.Position {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.position
}

func (n *fakeNode) SavePosition(p cache.Position) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.position = p
	n.saves++
	return nil
}

// has reports whether the node has accepted a purge of a path.
func (n *fakeNode) has(what string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range n.accepted {
		if a == what {
			return true
		}
	}
	return false
}

func (n *fakeNode) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.accepted)
}

// start connects a node and has it join.
func start(t *testing.T, url, name string, n *fakeNode, o Options, more ...nats.Option) *Cluster {
	t.Helper()
	o.Name = name
	if o.Bound == 0 {
		o.Bound = time.Second
	}
	if testing.Verbose() {
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := Connect(ctx, url, &o, more...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.join(ctx, n); err != nil {
		t.Fatal(err)
	}
	return c
}

func ready(t *testing.T, cs ...*Cluster) {
	t.Helper()
	for _, c := range cs {
		eventually(t, c.Self()+" is ready", func() bool { return c.Ready() == nil })
		eventually(t, fmt.Sprintf("%s sees %d", c.Self(), len(cs)), func() bool {
			n := 0
			for _, m := range c.Members() {
				if m.State == "ready" {
					n++
				}
			}
			return n >= len(cs)
		})
	}
}

func paths(p ...string) purge.Request {
	return purge.Request{Scope: purge.Original, Mode: purge.Delete, Paths: p}
}
