package origin

import (
	"log/slog"
	"sync"
	"time"
)

// breakers leave hosts alone that fail again and again. A host fails when a connection to it does, when it is too slow or
// breaks off in the middle of a body, and when it answers 502, 503 or 504. Any other answer, 404 and 500 too, says that it works.
//
//	closed ── failures in a row ──▶ open ── a pause ──▶ probing: one request is let through
//	   ▲                             ▲                     │
//	   │                             └ it fails: 2 pauses ─┤
//	   └──────────────── it succeeds ──────────────────────┘
//
// A caller that goes away says nothing of the host. Neither does a request that was sent before the state last changed: of
// those that were out when the host failed, many may end long after.
type breakers struct {
	after int           // failures in a row that open one; zero: none does
	pause time.Duration // the first one
	log   *slog.Logger

	mu      sync.Mutex // guards what follows
	hosts   map[string]*breaker
	opened  int64
	refused int64
}

// A breaker is a host that has failed.
type breaker struct {
	epoch    int       // of the state: grows with each change
	failures int       // in a row
	since    time.Time // the first of them
	err      error     // of the last failure; nil where it was a status
	open     bool
	until    time.Time     // that it is left alone, while open
	pause    time.Duration // the last one
	probing  bool          // while open: a request is out that decides
}

const (
	longestPause = time.Minute

	// A row of failures lasts as long as this before it counts. Some images of a host that works may be slow, and those who ask for
	// them together are told so in the same moment, with no other answer in between.
	shortestRow = 2 * time.Second

	// maxBreakers is how many hosts are remembered, as redirects lead to any number of them. Who is forgotten is asked again.
	maxBreakers = 256
)

// An attempt is one request to a host. The first that is said of its end counts. Nil is one that nobody watches.
type attempt struct {
	all   *breakers
	host  string
	epoch int
	end   sync.Once
}

// try lets a request to a host through, or returns an error at once.
func (a *breakers) try(host string) (*attempt, error) {
	if a.after == 0 {
		return nil, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.hosts[host]
	if b == nil {
		return &attempt{all: a, host: host}, nil
	}
	if b.open {
		if !b.mayProbe() {
			a.refused++
			return nil, &Error{Text: "origin: the origin has failed often, and is left alone for a while", Kind: ErrBroken, Cause: b.err}
		}
		b.probing = true
		b.epoch++
	}
	return &attempt{all: a, host: host, epoch: b.epoch}, nil
}

// lets reports whether try would let a request through.
func (a *breakers) lets(host string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.hosts[host]
	return b == nil || !b.open || b.mayProbe()
}

func (b *breaker) mayProbe() bool { return !b.probing && !time.Now().Before(b.until) }

// succeed says that the host works.
func (t *attempt) succeed() {
	t.finish(func(a *breakers, b *breaker) {
		switch {
		case b == nil:
		case b.open:
			a.log.Info("an origin works again", "host", t.host)
			*b = breaker{epoch: b.epoch + 1}
		case b.epoch == 0:
			delete(a.hosts, t.host)
		default:
			b.failures = 0
		}
	})
}

// fail says that the host failed. err is nil where it did so by a status.
func (t *attempt) fail(err error) {
	t.finish(func(a *breakers, b *breaker) {
		if b == nil {
			for other := range a.hosts {
				if len(a.hosts) < maxBreakers {
					break
				}
				delete(a.hosts, other)
			}
			b = new(breaker)
			a.hosts[t.host] = b
		}
		now := time.Now()
		if b.failures++; b.failures == 1 {
			b.since = now
		}
		b.err = err
		switch {
		case b.open:
			b.pause = min(2*b.pause, max(longestPause, a.pause))
		case b.failures >= a.after && now.Sub(b.since) >= shortestRow:
			b.pause = a.pause
		default:
			return
		}
		if !b.open {
			a.opened++
		}
		b.open, b.probing = true, false
		b.until = now.Add(b.pause)
		b.epoch++
		a.log.Warn("an origin fails, and is left alone", "host", t.host, "failures", b.failures, "for", b.pause, "error", err)
	})
}

// abandon says that nothing was learned of the host.
func (t *attempt) abandon() {
	t.finish(func(_ *breakers, b *breaker) {
		if b != nil {
			b.probing = false // the next one decides
		}
	})
}

func (t *attempt) finish(say func(*breakers, *breaker)) {
	if t == nil {
		return
	}
	t.end.Do(func() {
		t.all.mu.Lock()
		defer t.all.mu.Unlock()
		b := t.all.hosts[t.host]
		if b == nil && t.epoch == 0 || b != nil && b.epoch == t.epoch {
			say(t.all, b)
		}
	})
}
