package cache

import (
	"context"
	"errors"
)

// A Store keeps things. It is loose: it may drop what it holds at any time, and need not keep what it
// is given. What it returns under a key is always what was put there, byte for byte.
//
// Things in a Store are immutable, so a Store never has to decide between two values of a key.
//
// All methods are safe for concurrent use. [github.com/imagecdn/imagecdn/cache/cachetest] has the tests
// that every Store must pass.
type Store interface {
	// Get returns the thing kept under k, or ErrNotFound. The caller must not change it. Another error
	// says that the store failed; to a caller that is a miss, too.
	Get(ctx context.Context, k Key) (*Thing, error)

	// Put keeps t under k. The store may hold on to t and its bytes, which the caller must not change
	// afterwards. A nil error does not promise that a later Get will find it.
	//
	// Where valid is not nil, the store asks it at the last moment before t can be found, and keeps
	// nothing if it says no: so the bytes of a purged image do not come back.
	Put(ctx context.Context, k Key, t *Thing, valid func() bool) error

	// Remove frees all that is kept of one image, and counts it: also the composites on other images that it is an
	// input of, each once. Where the store is a Keeper, only what Hide has hidden is freed, and the composites that
	// were put before.
	Remove(ctx context.Context, source, image string) (Removed, error)

	// RemoveAll frees all that is kept of a source, or all where source is empty, and counts it: also the composites on
	// images of other sources. Where the store is a Keeper, only what its generations have made unreachable is freed, and
	// the composites that were put before.
	//
	// A context that ends leaves part of it for the next call.
	RemoveAll(ctx context.Context, source string) (Removed, error)

	// Close writes what is still to be written and releases what the store holds.
	Close() error
}

// A Lister is a Store that can say of which images it keeps something. Purges by folder and by tag need it to free what
// they have made unreachable; where a store is none, that goes as room is needed.
type Lister interface {
	// List calls visit for each image of a source that something is kept of, or of all sources where source is empty, with
	// the names that it keeps, if it is a Keeper. What comes and goes meanwhile may be left out. It ends with
	// visit's error, or ctx's.
	List(ctx context.Context, source string, visit func(source, image string, names []ListedName) error) error
}

// A ListedName is a version of an image, and what is known of it. The entry is not to be changed.
type ListedName struct {
	Version string
	Entry   *Entry
}

// A Counter is a Store that can say how many pictures it keeps of an image, so that one image's cannot fill it.
type Counter interface {
	// Count returns how many derivatives and composites are kept under the image's own keys: not the original, and not other images'
	// composites that it is a part of. What is being written may be missing.
	Count(ctx context.Context, source, image string) (int, error)
}

// listersOf finds the Listers in a store that may be made of tiers.
func listersOf(s Store) []Lister {
	if t, ok := s.(*tiered); ok {
		return append(listersOf(t.fast), listersOf(t.slow)...)
	}
	if l, ok := s.(Lister); ok {
		return []Lister{l}
	}
	return nil
}

// Settle waits until what was put into s under k can be found by other nodes, or cannot any more, or until ctx ends. It reports whether it
// can. Where s is no [Settler], and has none in its tiers, that is true at once.
func Settle(ctx context.Context, s Store, k Key) bool {
	if t, ok := s.(*tiered); ok {
		return t.settle(ctx, k)
	}
	if l, ok := s.(Settler); ok {
		return l.Settle(ctx, k)
	}
	return true
}

// Settles reports whether s is a [Settler], or has one in its tiers: whether other nodes may find what is put there.
func Settles(s Store) bool {
	if t, ok := s.(*tiered); ok {
		return Settles(t.fast) || Settles(t.slow)
	}
	_, is := s.(Settler)
	return is
}

// RemoveShared is s.Remove in the tiers that are a [Settler] alone: for what other nodes may have put there since Remove was called.
func RemoveShared(ctx context.Context, s Store, source, image string) error {
	if t, ok := s.(*tiered); ok {
		return errors.Join(RemoveShared(ctx, t.fast, source, image), RemoveShared(ctx, t.slow, source, image))
	}
	if _, is := s.(Settler); !is {
		return nil
	}
	_, err := s.Remove(ctx, source, image)
	return err
}

// A dropper is a Store that can forget an image's things without I/O.
type dropper interface {
	drop(source, image string)
}

// keeperOf finds the Keeper in a store that may be made of tiers.
func keeperOf(s Store) Keeper {
	if t, ok := s.(*tiered); ok {
		k := keeperOf(t.fast)
		if k == nil {
			k = keeperOf(t.slow)
		}
		if k != nil {
			return &tieredKeeper{k, t}
		}
		return nil
	}
	k, _ := s.(Keeper)
	return k
}

// memoryOf finds the memory in a store that may be made of tiers.
func memoryOf(s Store) *Memory {
	if t, ok := s.(*tiered); ok {
		return memoryOf(t.fast)
	}
	m, _ := s.(*Memory)
	return m
}
