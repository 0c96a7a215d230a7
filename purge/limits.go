package purge

import (
	"fmt"
	"maps"
	"math"
	"time"
)

// Limits are what one tenant may ask for, beside the limits of the whole service.
// The zero Limits are none.
type Limits struct {
	// MaxPaths is the most distinct paths in one job. Zero means no limit of the tenant's own.
	MaxPaths int

	// PerMinute is how many purges, retries counted, may be made in a minute on average. After a restart the
	// count begins anew. Zero means no limit.
	PerMinute float64

	// Burst is how many may be made at once after a time without any. Zero means
	// PerMinute, and at least one.
	Burst int

	// MaxWaiting is the most jobs that wait for a worker, those that are just being accepted counted. Zero means no limit of the tenant's own.
	MaxWaiting int
}

// CloudimageLimits are those of Cloudimage's console: ten paths in one purge.
func CloudimageLimits() Limits { return Limits{MaxPaths: 10} }

// MultiCDNLimits are those of Leaseweb's Multi-CDN: 75 paths in one purge, and one purge a minute.
func MultiCDNLimits() Limits { return Limits{MaxPaths: 75, PerMinute: 1, Burst: 1} }

// every is the time between two purges at the rate of l.
func (l Limits) every() time.Duration { return time.Duration(float64(time.Minute) / l.PerMinute) }

// slack is how far ahead of its rate a burst may run.
func (l Limits) slack() time.Duration {
	burst := float64(l.Burst)
	if l.Burst <= 0 {
		burst = max(1, math.Floor(l.PerMinute))
	}
	return time.Duration((burst - 1) * float64(l.every()))
}

// A LimitError says which of a tenant's limits a purge is beyond. Nothing was done.
type LimitError struct {
	Tenant string
	Limit  string  // the field of Limits: "MaxPaths", "PerMinute" or "MaxWaiting"
	Most   float64 // its value

	// RetryAfter is when to try again. Zero means that trying again is of no
	// use: the purge must be another. For MaxWaiting it is a guess.
	RetryAfter time.Duration
}

func (e *LimitError) Error() string {
	who := "the tenant " + fmt.Sprintf("%q", e.Tenant)
	if e.Tenant == "" {
		who = "a purge without a tenant"
	}
	switch e.Limit {
	case "MaxPaths":
		return fmt.Sprintf("purge: %s may have %v paths; make it several purges", who, e.Most)
	case "PerMinute":
		return fmt.Sprintf("purge: %s may be made %v times a minute; try again in %v", who, e.Most, e.seconds())
	default:
		return fmt.Sprintf("purge: %s may have %v jobs waiting; try again in %v", who, e.Most, e.seconds())
	}
}

// seconds is RetryAfter, no shorter, in whole seconds.
func (e *LimitError) seconds() time.Duration {
	return (e.RetryAfter + time.Second - 1).Truncate(time.Second)
}

// Code returns "too_many_paths" or "limited".
func (e *LimitError) Code() string {
	if e.RetryAfter == 0 {
		return "too_many_paths"
	}
	return "limited"
}

// limits returns what tenant may do.
func (s *Service) limits(tenant string) Limits {
	if s.o.Limits == nil {
		return Limits{}
	}
	return s.o.Limits(tenant)
}

// take admits one more purge of tenant within l, or says why not. s.mu is held.
//
// The rate is a token bucket, kept as the time when the next purge is due at that rate: it may be made
// as much before as the burst is ahead (the generic cell rate algorithm).
func (s *Service) take(tenant string, l Limits, now time.Time) error {
	if l.MaxWaiting > 0 && s.queue.waiting(tenant)+s.pending[tenant] >= l.MaxWaiting {
		return &LimitError{tenant, "MaxWaiting", float64(l.MaxWaiting), time.Second}
	}
	if l.PerMinute <= 0 {
		return nil
	}
	due := s.due[tenant]
	if due.Before(now) {
		due = now
	}
	if wait := due.Sub(now) - l.slack(); wait > 0 {
		return &LimitError{tenant, "PerMinute", l.PerMinute, wait}
	}
	s.sweepDue(now)
	s.due[tenant] = due.Add(l.every())
	return nil
}

// giveBack undoes take for a purge that came to nothing. s.mu is held.
func (s *Service) giveBack(tenant string, l Limits) {
	if due, ok := s.due[tenant]; ok && l.PerMinute > 0 {
		s.due[tenant] = due.Add(-l.every())
	}
}

// sweepDue forgets what is past, which is as good as nothing, each time its number has doubled. s.mu is held.
func (s *Service) sweepDue(now time.Time) {
	if len(s.due) < max(1024, 2*s.swept) {
		return
	}
	maps.DeleteFunc(s.due, func(_ string, due time.Time) bool { return !due.After(now) })
	s.swept = len(s.due)
}
