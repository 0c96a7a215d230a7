package cache

import (
	"context"
	"testing"
)

// settling is a store that nodes share.
type settling struct{ *Memory }

func (settling) Settle(context.Context, Key) bool { return true }

func TestRemoveSharedLeavesTheNodesOwn(t *testing.T) {
	own, shared := NewMemory(1<<20), settling{NewMemory(1 << 20)}
	s := Tiered(own, shared)
	defer s.Close()
	k := Key{Source: "photos", Image: "/cat.jpg", Kind: Derivative, Sum: DigestOf([]byte("k"))}
	for _, tier := range []Store{own, shared} {
		if err := tier.Put(t.Context(), k, &Thing{Body: []byte("cat")}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveShared(t.Context(), s, k.Source, k.Image); err != nil {
		t.Fatal(err)
	}
	if _, err := own.Get(t.Context(), k); err != nil {
		t.Errorf("what is the node's own is gone: %v", err)
	}
	if _, err := shared.Get(t.Context(), k); err == nil {
		t.Error("what nodes share is still there")
	}
}
