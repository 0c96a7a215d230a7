//go:build unix

package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// A witness sees what goes in and comes out, and knows nothing of how a promise is kept. The promise is I1 of docs/purges.md for several nodes:
//
// A response to a request that was sent after a job was done, whichever node was asked, is of no version that the origin had only before the purge was
// submitted. The node that acknowledged the purge holds to it from then on.
//
// So who purges first has the origin change, and then submits; the version that the origin had by then is the least that may be seen once the job is
// done. An exchange with the origin that was sent before the change may bring the version of before, one that was sent later cannot.
type witness struct {
	began  time.Time
	images []seen
}

// A seen is what is known of an image.
type seen struct {
	mu     sync.Mutex // guards what follows
	least  uint32     // on each node
	leasts map[string]uint32
	events []string // the latest, for who reads of a failure
	next   int
}

const maxEvents = 60

func newWitness(images int) *witness {
	return &witness{began: time.Now(), images: make([]seen, images)}
}

// note keeps what has happened to an image, for a reader.
func (w *witness) note(n int, format string, args ...any) {
	s := &w.images[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := fmt.Sprintf("%9.3f s  %s", time.Since(w.began).Seconds(), fmt.Sprintf(format, args...))
	if len(s.events) < maxEvents {
		s.events = append(s.events, e)
		return
	}
	s.events[s.next] = e
	s.next = (s.next + 1) % maxEvents
}

// story is what has happened to an image of late.
func (w *witness) story(n int) string {
	s := &w.images[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(append(append([]string{imagePath(n)}, s.events[s.next:]...), s.events[:s.next]...), "\n    ")
}

// acknowledged says that a node has answered a purge, before which the origin had that version. It binds the node alone.
func (w *witness) acknowledged(node string, n int, version uint32) {
	s := &w.images[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leasts == nil {
		s.leasts = make(map[string]uint32)
	}
	s.leasts[node] = max(s.leasts[node], version)
}

// done says that a job is, before which the origin had that version. It binds all.
func (w *witness) done(n int, version uint32) {
	s := &w.images[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.least = max(s.least, version)
}

// leastFrom is the least version that a request to a node may be answered with that is sent now.
func (w *witness) leastFrom(node string, n int) uint32 {
	s := &w.images[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.least, s.leasts[node])
}

// A response is what a node has answered.
type response struct {
	node    string
	image   int
	least   uint32 // when the request was sent
	sent    time.Time
	url     string
	status  int
	version uint32
	wrong   string // what is wrong with it whatever the version
	cache   string // Cache-Status
	age     string
}

// cutOff reports whether the node says that it is.
func (r *response) cutOff() bool { return strings.Contains(r.cache, "cut-off") }

// judge returns what is wrong with a response. With the policy available, nodes that say that they are cut off may show what is old.
func (w *witness) judge(r *response, available bool) error {
	switch {
	case r.wrong != "":
		return fmt.Errorf("%s of %s: %s\n    %s", r.url, r.node, r.wrong, w.story(r.image))
	case r.version < r.least && !(available && r.cutOff()):
		return fmt.Errorf("%s of %s, asked for at %.3f s, is version %d, and a purge that was done before promised %d; Cache-Status: %s; Age: %s\n    %s",
			r.url, r.node, r.sent.Sub(w.began).Seconds(), r.version, r.least, r.cache, r.age, w.story(r.image))
	}
	return nil
}

// The witness itself: what is right passes, and what is wrong does not.
func TestWitness(t *testing.T) {
	tests := []struct {
		name      string
		happens   func(w *witness)
		node      string
		version   uint32
		cache     string
		available bool
		ok        bool
	}{
		{"nothing was purged", func(*witness) {}, "a", 0, "", false, true},
		{"the version of before a purge that is done", func(w *witness) { w.done(0, 2) }, "a", 1, "", false, false},
		{"the version that the purge was for", func(w *witness) { w.done(0, 2) }, "a", 2, "", false, true},
		{"a later one", func(w *witness) { w.done(0, 2) }, "a", 3, "", false, true},
		{"purges that end in another order", func(w *witness) { w.done(0, 3); w.done(0, 2) }, "a", 2, "", false, false},
		{"another image's purge", func(w *witness) { w.done(1, 2) }, "a", 1, "", false, true},
		{"who acknowledged it is bound", func(w *witness) { w.acknowledged("a", 0, 2) }, "a", 1, "", false, false},
		{"another is not yet", func(w *witness) { w.acknowledged("a", 0, 2) }, "b", 1, "", false, true},
		{"cut off, and may serve", func(w *witness) { w.done(0, 2) }, "a", 1, "imagecdn; hit; detail=cut-off", true, true},
		{"cut off, and must not", func(w *witness) { w.done(0, 2) }, "a", 1, "imagecdn; hit; detail=cut-off", false, false},
		{"cut off, and has asked the origin", func(w *witness) { w.done(0, 2) }, "a", 2, "imagecdn; fwd=miss; detail=cut-off", false, true},
		{"may serve when cut off, and does not say that it is", func(w *witness) { w.done(0, 2) }, "a", 1, "imagecdn; hit", true, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWitness(2)
			test.happens(w)
			r := &response{node: test.node, least: w.leastFrom(test.node, 0), version: test.version, cache: test.cache}
			if err := w.judge(r, test.available); (err == nil) != test.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}
