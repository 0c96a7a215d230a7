package imagecdn

import (
	"net/url"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/resize"
)

// recent remembers how URLs were parsed lately, and what became of them. It saves the hit of a popular picture most of the
// handler's own time, and decides nothing: what it says follows from the URL alone, or from the entry of the original
// that it was worked out for, which every request looks up anew.
type recent struct {
	mu  sync.RWMutex // guards all
	all map[rawURL]*parsed
}

// rawURL is all of a URL that parsing looks at.
type rawURL struct{ path, rawPath, query string }

// parsed is a URL's meaning. All but what is atomic is never changed.
type parsed struct {
	Request
	asIs bool         // no parameters: the original itself, or what may be served of a drawing
	plan *resize.Plan // where Accept does not decide about it
	own  *resize.Plan // where it does: that of clients who name no format

	asked     atomic.Uint32 // how often the store was, which is up to a hundred times a second
	key       atomic.Pointer[derivative]
	bytes     atomic.Pointer[found]
	freshness atomic.Pointer[freshness]
	settled   atomic.Pointer[settled]
	tagged    atomic.Pointer[tagged]
}

// derivative is the key computed last, and what it was computed from.
type derivative struct {
	format resize.Format // as negotiated; the rest of the plan is the URL's
	digest cache.Digest  // of the original
	sum    cache.Digest
	etag   string
}

// found is the thing that was found last. It keeps nothing in memory that the store has let go of, and holds for one
// entry of the original, so that it ends with a purge as the store's own does.
type found struct {
	entry *cache.Entry
	sum   cache.Digest
	thing weak.Pointer[cache.Thing]
	at    time.Time
}

// countEvery is how often the store is asked for a picture all the same, as it keeps what is asked for often. It tells a hundred
// requests a second from none, and has no use for more: its counters end at 15.
const countEvery = 10 * time.Millisecond

// find returns the bytes of p, if they were found lately and are in memory yet.
func (r *parsed) find(p *picture) *cache.Thing {
	f := r.bytes.Load()
	if f == nil || len(p.inputs) != 1 {
		return nil
	}
	now := p.inputs[0].now
	if f.entry != now.Entry || f.sum != p.key.Sum || now.At.Sub(f.at) >= countEvery {
		return nil
	}
	return f.thing.Value()
}

// found remembers the bytes of p.
func (r *parsed) found(p *picture) {
	r.asked.Add(1)
	if len(p.inputs) == 1 {
		now := p.inputs[0].now
		r.bytes.Store(&found{now.Entry, p.key.Sum, weak.Make(p.thing), now.At})
	}
}

const (
	maxRecent    = 4096 // entries
	maxRecentURL = 512  // bytes of a URL that is remembered
)

// parse gives the meaning of u, remembered or new.
// avif is whether Accept may ask for that.
func (r *recent) parse(u *url.URL, d Dialect, avif bool) (*parsed, error) {
	k := rawURL{u.Path, u.RawPath, u.RawQuery}
	r.mu.RLock()
	p := r.all[k]
	r.mu.RUnlock()
	if p != nil {
		return p, nil
	}
	req, err := d.ParseRequest(u)
	if err != nil {
		return nil, err
	}
	p = &parsed{Request: req, asIs: req.Params.IsZero()}
	if plan, varies := req.Params.negotiate("", avif); !varies {
		p.plan = &plan
	} else {
		p.own = &plan
	}
	if len(k.path)+len(k.rawPath)+len(k.query) > maxRecentURL {
		return p, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil || len(r.all) >= maxRecent {
		// What is popular is back soon.
		r.all = make(map[rawURL]*parsed, maxRecent)
	}
	r.all[k] = p
	return p, nil
}
