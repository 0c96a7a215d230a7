package purge_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/purgetest"
)

// aloneNodes are those of a node that knows of no other.
type aloneNodes struct{}

func (aloneNodes) Self() string                                                   { return "a" }
func (aloneNodes) Lost(string) bool                                               { return false }
func (aloneNodes) Flush(context.Context, purge.NodeFlush, func(purge.NodeResult)) {}

// slowTarget is done with a path when it is told.
type slowTarget struct{ done chan struct{} }

func (slowTarget) Accept(context.Context, purge.Request) error { return nil }

func (t slowTarget) PurgePath(ctx context.Context, path string, mode purge.Mode) (purge.PathResult, error) {
	select {
	case <-t.done:
	case <-ctx.Done():
	}
	return purge.PathResult{}, ctx.Err()
}

func (slowTarget) PurgeAll(context.Context, string, purge.Mode) (purge.PathResult, error) {
	return purge.PathResult{}, nil
}

// A job that another node has taken and the log has no more: nobody will say how it ends.
func TestALostJobThatTheLogHasNoMoreIsNotWaitedFor(t *testing.T) {
	log := purgetest.NewSharedLog()
	target := slowTarget{make(chan struct{})}
	s, err := purge.Open(t.Context(), target, &purge.ServiceOptions{Log: log.Node("a"), Nodes: aloneNodes{}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	j, err := s.Submit(t.Context(), purge.Request{Paths: []string{"/p/1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := log.Node("b")
	for {
		taken := false
		for e := range b.Entries("") {
			taken = !e.Final && b.Take(e) == nil && b.Write(nil, []string{e.ID}) == nil
		}
		if taken {
			break
		}
		time.Sleep(time.Millisecond)
	}
	close(target.done)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if rec, err := j.Wait(ctx); !errors.Is(err, purge.ErrNotFound) {
		t.Errorf("the wait ended with %v, of %+v", err, rec)
	}
	if _, err := s.Get(j.ID()); !errors.Is(err, purge.ErrNotFound) {
		t.Errorf("the record is kept: %v", err)
	}
}
