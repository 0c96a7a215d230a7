package resize

import (
	"container/list"
	"crypto/sha256"
	"sync"

	"github.com/imagecdn/imagecdn/internal/icc"
)

// transforms keeps what was made of profiles: many files have the same few, and tables take 50 ms.
var transforms = transformCache{most: 8 << 20}

// compactSRGB is what files without a profile are taken to have.
var compactSRGB = sync.OnceValue(func() []byte { return icc.Compact(icc.SRGB, false) })

// A transformCache holds transforms by their profile's digest, those used last.
type transformCache struct {
	most int // bytes

	mu    sync.Mutex // guards what follows
	held  map[transformKey]*list.Element
	order list.List // of *cachedTransform, used least lately first
	bytes int
}

type transformKey struct {
	digest [sha256.Size]byte
	output icc.Output
}

type cachedTransform struct {
	key   transformKey
	once  sync.Once
	t     *icc.Transform // nil for a profile that is none
	bytes int            // guarded by transformCache.mu; zero until it is made
}

// get gives the transform from profile to o, or nil if profile is damaged. Of those who want the same at a time one makes it.
func (c *transformCache) get(profile []byte, o icc.Output) *icc.Transform {
	key := transformKey{sha256.Sum256(profile), o}
	c.mu.Lock()
	e := c.held[key]
	if e == nil {
		if c.held == nil {
			c.held = make(map[transformKey]*list.Element)
		}
		e = c.order.PushBack(&cachedTransform{key: key})
		c.held[key] = e
	} else {
		c.order.MoveToBack(e)
	}
	c.mu.Unlock()
	x := e.Value.(*cachedTransform)
	x.once.Do(func() {
		bytes := 256
		// A profile may not make anything panic; what happens if it does is that it is ignored.
		_ = guard("profile", func() error {
			p, err := icc.Parse(profile)
			if err == nil {
				x.t = icc.New(p, o)
				bytes += x.t.Bytes()
			}
			return err
		})
		c.made(e, bytes)
	})
	return x.t
}

// made counts what e takes, and lets go of what is beyond the bound.
func (c *transformCache) made(e *list.Element, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := e.Value.(*cachedTransform)
	if c.held[x.key] != e {
		return // gone meanwhile
	}
	x.bytes = bytes
	c.bytes += bytes
	for c.bytes > c.most {
		old := c.order.Remove(c.order.Front()).(*cachedTransform)
		delete(c.held, old.key)
		c.bytes -= old.bytes
	}
}
