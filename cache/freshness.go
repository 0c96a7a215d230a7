package cache

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Policy says what decides how long an image lives.
type Policy uint8

const (
	// Respect lets the origin decide.
	Respect Policy = iota
	// Minimum lets the origin decide, and raises shorter lifetimes to Lifetime.Value.
	Minimum
	// Override uses Lifetime.Value whatever the origin says.
	Override
)

// A Lifetime is how long the images of a source live. The zero value respects the origin.
//
// An origin that says no-store or private is always obeyed: no policy stores what it forbids.
type Lifetime struct {
	// Policy says who decides.
	Policy Policy

	// Value is the lifetime that Minimum and Override use.
	Value time.Duration

	// Default is for images of which the origin says nothing. Zero means 365 days.
	Default time.Duration

	// Negative is how long an origin's 404 or 410, or a picture that cannot be made, is remembered
	// at the most. Zero means 5 minutes.
	Negative time.Duration

	// Failure is how long an origin that failed is left alone, never more than Negative. Zero means
	// 10 seconds.
	Failure time.Duration

	// StaleIfError is how long past its lifetime an image is used while the origin fails, where the origin
	// does not say (RFC 5861 section 4). Zero means a day. Negative means not at all.
	StaleIfError time.Duration
}

const (
	year = 365 * 24 * time.Hour

	defaultNegative     = 5 * time.Minute
	defaultFailure      = 10 * time.Second
	defaultStaleIfError = 24 * time.Hour

	// forever bounds every duration read from a header, so that sums of them cannot overflow
	// (RFC 9111 section 1.2.2 asks for at least 2^31 seconds).
	forever = (1 << 31) * time.Second
)

func (l Lifetime) withDefaults() Lifetime {
	l.Default = orDefault(l.Default, year)
	l.Negative = orDefault(l.Negative, defaultNegative)
	l.Failure = min(orDefault(l.Failure, defaultFailure), l.Negative)
	l.StaleIfError = max(0, orDefault(l.StaleIfError, defaultStaleIfError))
	for _, d := range []*time.Duration{&l.Value, &l.Default, &l.Negative, &l.Failure, &l.StaleIfError} {
		*d = min(max(0, *d), forever)
	}
	return l
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Freshness is how long an answer of an origin may be used (RFC 9111 section 4.2, RFC 5861).
type Freshness struct {
	NoStore              bool          // not to be kept at all
	InitialAge           time.Duration // its age when it arrived
	Lifetime             time.Duration // fresh below this age
	StaleWhileRevalidate time.Duration // past Lifetime: used while the origin is asked
	StaleIfError         time.Duration // past Lifetime: used while the origin fails
}

// freshnessOf reads the freshness of an answer. A nil Lifetime means the RFCs alone.
func freshnessOf(status int, h http.Header, sent, arrived time.Time, l *Lifetime, targets []string) Freshness {
	f := Freshness{InitialAge: initialAge(h, sent, arrived), StaleIfError: defaultStaleIfError}
	if l != nil {
		f.StaleIfError = l.StaleIfError
	}
	cc := controlsOf(status, h, targets)
	f.NoStore = cc.forbidden
	explicit := true
	switch {
	case cc.unreadable || cc.NoCachePresent && len(cc.NoCache) == 0:
		f.Lifetime = 0
	case cc.SMaxAge >= 0:
		f.Lifetime = seconds(cc.SMaxAge)
	case cc.MaxAge >= 0:
		f.Lifetime = seconds(cc.MaxAge)
	case !cc.targeted && len(h.Values("Expires")) > 0:
		f.Lifetime = untilExpiry(h, arrived)
	case l != nil:
		f.Lifetime, explicit = l.Default, false
	case heuristic(status) || cc.Public:
		f.Lifetime = heuristicLifetime(h, arrived)
	}
	if cc.StaleWhileRevalidate >= 0 {
		f.StaleWhileRevalidate = seconds(cc.StaleWhileRevalidate)
	}
	if cc.StaleIfError >= 0 {
		f.StaleIfError = seconds(cc.StaleIfError)
	}
	if varies(h) {
		f.Lifetime, f.StaleWhileRevalidate, f.StaleIfError = 0, 0, 0
	}

	if l != nil {
		switch l.Policy {
		case Minimum:
			f.Lifetime = max(f.Lifetime, l.Value+f.InitialAge)
		case Override:
			f.Lifetime = l.Value + f.InitialAge
		}
	}
	switch {
	case cc.MustRevalidate, cc.ProxyRevalidate, cc.NoCachePresent:
		f.StaleIfError, f.StaleWhileRevalidate = 0, 0
	case cc.SMaxAge >= 0 && cc.StaleIfError < 0:
		f.StaleIfError = 0 // s-maxage implies proxy-revalidate (RFC 9111 section 5.2.2.10)
	}

	if status != http.StatusOK && l != nil {
		limit := l.Negative
		if status >= 500 {
			limit = l.Failure
		}
		if !explicit {
			f.Lifetime = f.InitialAge + limit
		}
		f.Lifetime = min(f.Lifetime, f.InitialAge+limit)
		f.StaleWhileRevalidate, f.StaleIfError = 0, 0
	}
	return f
}

// varies reports whether no request can ever be known to match (RFC 9111 section 4.1).
func varies(h http.Header) bool {
	for _, field := range h.Values("Vary") {
		for name := range strings.SplitSeq(field, ",") {
			if strings.TrimSpace(name) == "*" {
				return true
			}
		}
	}
	return false
}

// initialAge is corrected_initial_age of RFC 9111 section 4.2.3.
func initialAge(h http.Header, sent, arrived time.Time) time.Duration {
	var apparent, claimed time.Duration
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		// A Date has whole seconds, so an answer of this second looks up to one second old.
		if apparent = arrived.Truncate(time.Second).Sub(date); apparent < 0 {
			apparent = 0
		}
	}
	if v := h.Values("Age"); len(v) > 0 {
		n, err := strconv.ParseUint(strings.TrimSpace(v[0]), 10, 63)
		if err != nil || len(v) > 1 {
			// Of an unknown age, and so stale. RFC 9111 section 5.1 would take the first of several; whoever
			// sends several has lost count.
			return forever
		}
		claimed = seconds(n) + max(0, arrived.Sub(sent))
	}
	return min(max(apparent, claimed), forever)
}

// untilExpiry is the lifetime that Expires gives, zero where it cannot be read (RFC 9111 section 5.3).
func untilExpiry(h http.Header, arrived time.Time) time.Duration {
	expires, err := http.ParseTime(h.Get("Expires"))
	if err != nil {
		return 0
	}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		date = arrived
	}
	return min(max(0, expires.Sub(date)), forever)
}

// heuristicLifetime is a tenth of what has passed since Last-Modified, and a day at most (RFC 9111 section 4.2.2).
func heuristicLifetime(h http.Header, arrived time.Time) time.Duration {
	modified, err := http.ParseTime(h.Get("Last-Modified"))
	if err != nil {
		return 0
	}
	return min(max(0, arrived.Sub(modified)/10), 24*time.Hour)
}

// heuristic reports whether a status is cacheable by default (RFC 9110 section 15.1).
func heuristic(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

func seconds[N ~int32 | ~uint64](n N) time.Duration {
	if uint64(n) > uint64(forever/time.Second) {
		return forever
	}
	return time.Duration(n) * time.Second
}

// state is what an entry is good for at a moment.
type state uint8

const (
	fresh          state = iota
	staleUsable          // use it, and ask the origin behind
	mustRevalidate       // ask the origin first
)

func (e *Entry) state(now time.Time) state {
	over := e.Age(now) - e.Freshness.Lifetime
	switch {
	case e.stale == mustAsk:
		return mustRevalidate
	case e.stale == mayServe && !e.OK():
		return mustRevalidate // a purge that keeps bytes keeps no failure
	case e.stale == mayServe && over < 0:
		return staleUsable
	case over < 0:
		return fresh
	case over < e.Freshness.StaleWhileRevalidate:
		return staleUsable
	}
	return mustRevalidate
}

// usableOnError reports whether e may stand in for an origin that fails.
func (e *Entry) usableOnError(now time.Time) bool {
	f := e.Freshness
	return e.OK() && e.stale != mustAsk && e.Age(now)-f.Lifetime < max(f.StaleIfError, f.StaleWhileRevalidate)
}
