package purgetest

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/imagecdn/imagecdn/purge"
)

// A SharedLog is what several services in one program share, each by a [purge.SharedLog] of its own: for tests. It lasts as long as the program.
type SharedLog struct {
	mu      sync.Mutex // guards all below
	entries map[string]sharedEntry
	puts    int
	news    chan struct{} // closed with the next put
}

type sharedEntry struct {
	purge.LogEntry
	put int // the number of the latest put of it, counted over all
}

// NewSharedLog returns one that is empty.
func NewSharedLog() *SharedLog {
	return &SharedLog{entries: make(map[string]sharedEntry), news: make(chan struct{})}
}

// Node opens the log as the node of that name does when it starts.
func (l *SharedLog) Node(name string) purge.SharedLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &sharedNode{l: l, name: name, opened: l.puts, had: make(map[string]bool)}
}

// put sets an entry. l.mu is held.
func (l *SharedLog) put(e purge.LogEntry) {
	l.puts++
	e.Data = bytes.Clone(e.Data)
	l.entries[e.ID] = sharedEntry{e, l.puts}
	close(l.news)
	l.news = make(chan struct{})
}

type sharedNode struct {
	l      *SharedLog
	name   string
	opened int             // l.puts as of then
	had    map[string]bool // IDs of entries that were this node's; guarded by l.mu
}

func (n *sharedNode) String() string { return "memory of the node " + n.name }

func (n *sharedNode) Write(put []purge.LogEntry, drop []string) error {
	l := n.l
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range put {
		if old, found := l.entries[e.ID]; found && old.Owner != n.name || !found && n.had[e.ID] {
			return fmt.Errorf("job %s: %w", e.ID, purge.ErrNotOwner)
		}
	}
	for _, e := range put {
		e.Owner = n.name
		n.had[e.ID] = true
		l.put(e)
	}
	for _, id := range drop {
		if l.entries[id].Owner == n.name {
			delete(l.entries, id)
			delete(n.had, id)
		}
	}
	return nil
}

func (n *sharedNode) Take(e purge.LogEntry) error {
	l := n.l
	l.mu.Lock()
	defer l.mu.Unlock()
	old, found := l.entries[e.ID]
	if !found || old.Owner != e.Owner || !bytes.Equal(old.Data, e.Data) {
		return fmt.Errorf("job %s: %w", e.ID, purge.ErrNotOwner)
	}
	e = old.LogEntry
	e.Owner = n.name
	n.had[e.ID] = true
	l.put(e)
	return nil
}

func (n *sharedNode) Entries(before string) iter.Seq2[purge.LogEntry, error] {
	return func(yield func(purge.LogEntry, error) bool) {
		for _, e := range n.all(func(e sharedEntry) bool { return before == "" || e.ID < before }) {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (n *sharedNode) Unfinished() iter.Seq[purge.LogEntry] {
	all := n.all(func(e sharedEntry) bool { return !e.Final })
	for i := range all {
		all[i].Data = nil
	}
	return slices.Values(all)
}

// all returns the entries for which f is true, newest first, for the caller to keep.
func (n *sharedNode) all(f func(sharedEntry) bool) (all []purge.LogEntry) {
	n.l.mu.Lock()
	defer n.l.mu.Unlock()
	for e := range maps.Values(n.l.entries) {
		if f(e) {
			e.Data = bytes.Clone(e.Data)
			all = append(all, e.LogEntry)
		}
	}
	slices.SortFunc(all, func(a, b purge.LogEntry) int { return strings.Compare(b.ID, a.ID) })
	return all
}

func (n *sharedNode) Watch(ctx context.Context, changed func(purge.LogEntry)) {
	for seen := n.opened; ctx.Err() == nil; {
		n.l.mu.Lock()
		var puts []sharedEntry
		for e := range maps.Values(n.l.entries) {
			if e.put > seen && e.Owner != n.name {
				e.Data = bytes.Clone(e.Data)
				puts = append(puts, e)
			}
		}
		seen = n.l.puts
		news := n.l.news
		n.l.mu.Unlock()
		slices.SortFunc(puts, func(a, b sharedEntry) int { return a.put - b.put })
		for _, e := range puts {
			if ctx.Err() != nil {
				return
			}
			changed(e.LogEntry)
		}
		select {
		case <-news:
		case <-ctx.Done():
		}
	}
}
