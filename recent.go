package imagecdn

import (
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/resize"
)

// recent remembers how URLs were parsed lately, and which key their picture had. It saves the hit of a popular picture
// about half of the handler's own time, and decides nothing: what it says follows from the URL alone, or, for
// the key, from the digest that it was computed with.
type recent struct {
	mu  sync.RWMutex // guards all
	all map[rawURL]*parsed
}

// rawURL is all of a URL that parsing looks at.
type rawURL struct{ path, rawPath, query string }

// parsed is a URL's meaning. All but last is never changed.
type parsed struct {
	Request
	asIs bool                       // no parameters: the original itself
	plan *resize.Plan               // where Accept does not decide about it
	last atomic.Pointer[derivative] // the key computed last
}

// derivative is a key, and what it was computed from.
type derivative struct {
	format resize.Format // as negotiated; the rest of the plan is the URL's
	digest cache.Digest  // of the original
	sum    cache.Digest
}

const (
	maxRecent    = 4096 // entries
	maxRecentURL = 512  // bytes of a URL that is remembered
)

// parse gives the meaning of u, remembered or new.
func (r *recent) parse(u *url.URL, strict bool) (*parsed, error) {
	k := rawURL{u.Path, u.RawPath, u.RawQuery}
	r.mu.RLock()
	p := r.all[k]
	r.mu.RUnlock()
	if p != nil {
		return p, nil
	}
	req, err := ParseRequest(u, strict)
	if err != nil {
		return nil, err
	}
	p = &parsed{Request: req, asIs: req.Params.IsZero()}
	if plan, varies := req.Params.Negotiate(""); !varies {
		p.plan = &plan
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
