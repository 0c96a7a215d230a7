package blobcache

import (
	"sync"
	"time"
)

// A breaker leaves a bucket alone that fails again and again, so that only a few wait for it.
//
//	closed ── failures in a row ──▶ open ── a pause ──▶ probing: one operation is let through
//	   ▲                             ▲                     │
//	   │                             └ it fails: 2 pauses ─┤
//	   └──────────────── it succeeds ──────────────────────┘
type breaker struct {
	mu       sync.Mutex // guards what follows
	failures int        // in a row
	pause    time.Duration
	until    time.Time // that it is left alone, if pause is not zero
	probing  bool
}

const (
	breakAfter    = 5
	shortestPause = time.Second
	longestPause  = time.Minute
)

// allow reports whether an operation may be tried, and whether it is the one that probes. Who was allowed to calls ended.
func (b *breaker) allow() (probe, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pause == 0 {
		return false, true
	}
	if b.probing || time.Now().Before(b.until) {
		return false, false
	}
	b.probing = true
	return true, true
}

// An outcome is how an operation ended.
type outcome uint8

const (
	worked outcome = iota
	failed
	unknown // its caller went away first
)

// ended says how an operation did. It reports whether the bucket is left alone from now on.
func (b *breaker) ended(o outcome, probe bool) (opened bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.probing = false
	}
	switch o {
	case worked:
		b.failures, b.pause = 0, 0
	case failed:
		if b.failures++; b.failures < breakAfter {
			return false
		}
		if now := time.Now(); b.pause == 0 || now.After(b.until) { // those that were out when it opened say nothing new
			b.pause = min(max(2*b.pause, shortestPause), longestPause)
			b.until = now.Add(b.pause)
			return true
		}
	}
	return false
}

func (b *breaker) open() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pause != 0
}
