package purge

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A Record is a job as it stands: what was asked for, and what became of it.
type Record struct {
	ID      string    `json:"id"` // a UUID; later jobs have greater ones
	Scope   Scope     `json:"scope"`
	Source  string    `json:"source,omitempty"` // with scope All: the one source, or empty for everything
	Mode    Mode      `json:"mode"`
	Tenant  string    `json:"tenant"`
	Cause   Cause     `json:"cause"`
	Date    time.Time `json:"date"`    // when it was accepted
	Attempt int       `json:"attempt"` // 1, and one more with every retry
	State   State     `json:"state"`

	// Paths has a result for each distinct path, folder or tag, in the order of the
	// request. With scope All it has one, for the path "/*" or "/source/*".
	Paths []PathResult `json:"paths"`

	// Nodes has a result for each other node of the cluster that was asked to carry the purge out as well, by name. Where that failed and nobody
	// knows for which, the name is "*".
	Nodes []NodeResult `json:"nodes,omitempty"`

	// CDNs has a result for each CDN that is configured.
	CDNs []CDNResult `json:"cdns"`

	// History has every state the job reached, oldest first; after many
	// retries, the latest 100.
	History []StateAt `json:"history"`
}

// A PathResult is what became of one path.
type PathResult struct {
	Path    string  `json:"path"`    // clean, see CleanPath and CleanFolder; with scope Tag, the tag
	State   State   `json:"state"`   // Received, FlushingServers, Done, Error or Expired
	Outcome Outcome `json:"outcome"` // empty until the state is final
	Reason  string  `json:"reason"`  // why it failed, or fails at present; one line

	// What was removed, over all tries and attempts.
	Originals   int   `json:"originals"`
	Derivatives int   `json:"derivatives"` // of this image alone
	Composites  int   `json:"composites"`  // made from this image and others
	Bytes       int64 `json:"bytes"`       // of all of them
}

// A CDNResult is what became of the purge on one CDN.
type CDNResult struct {
	Name    string     `json:"name"`
	State   State      `json:"state"`   // Received, FlushingCDN, Done, Error or Expired
	Outcome CDNOutcome `json:"outcome"` // the most that is known; empty until the CDN has answered
	Reason  string     `json:"reason"`  // why it failed, or fails at present; one line

	Items  int `json:"items"`  // values to purge there: tags, prefixes, URLs
	Purged int `json:"purged"` // of those, what is at its end without failing

	// Failed has the paths (folders, tags) of the record that were purged here and not there. All others that were have the outcome; what failed
	// here, no CDN is told of.
	Failed []CDNFailure `json:"failed,omitempty"`
}

// A CDNOutcome is what is known of a purge on a CDN. The three are different things.
type CDNOutcome string

const (
	Accepted  CDNOutcome = "accepted"  // the CDN took the purge, and has no way to say when it is through
	Confirmed CDNOutcome = "confirmed" // the CDN said that it is through
	Verified  CDNOutcome = "verified"  // and what was then fetched through it was new
	Unneeded  CDNOutcome = "unneeded"  // nothing was changed that the CDN could have
)

// A CDNFailure is why paths were not purged on a CDN.
type CDNFailure struct {
	Reason string   `json:"reason"` // one line
	Paths  []string `json:"paths"`
}

// A StateAt is a state and when it was reached.
type StateAt struct {
	State   State     `json:"state"`
	Attempt int       `json:"attempt"`
	Time    time.Time `json:"time"`
}

// An Event is a state that a job reached.
type Event struct {
	ID      string    `json:"id"`  // of the job
	Seq     int       `json:"seq"` // 1, 2, 3… over all attempts of the job
	Time    time.Time `json:"time"`
	Attempt int       `json:"attempt"`
	State   State     `json:"state"`
	Record  Record    `json:"record"` // the job as it stood then; the receiver owns it
}

// maxHistory is the most states a record remembers: those of 20 attempts.
const maxHistory = 100

// Err returns nil for a job that is done, or not at its end, and otherwise an error
// that says how it ended, how many paths failed, and why the first did.
func (r Record) Err() error {
	if !r.State.Final() || r.State == Done {
		return nil
	}
	text := fmt.Sprintf("purge %s: %s", r.ID, r.State)
	if s := r.failures(); s != "" {
		text += ": " + s
	}
	if s := r.nodeFailures(); s != "" {
		text += ": " + s
	}
	if s := r.cdnFailures(); s != "" {
		text += ": " + s
	}
	return errors.New(text)
}

// String returns e as one line for a log:
//
//	purge 0198c1d2-… delete "/photos/cat.jpg": received
//	purge 0198c1d2-… delete "/photos/cat.jpg": done: 1 removed, 12 derivatives, 48210 bytes
//	purge 0198c1d2-… revalidate 3 paths, attempt 2: error: 2 unchanged, 1 failed, "/photos/dog.jpg": origin timed out
func (e Event) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "purge %s", e.ID)
	r := e.Record
	switch {
	case r.Scope == All && r.Source != "":
		fmt.Fprintf(&b, " %s all of %q", r.Mode, r.Source)
	case r.Scope == All:
		fmt.Fprintf(&b, " %s all", r.Mode)
	case r.Scope == Tag && len(r.Paths) == 1:
		fmt.Fprintf(&b, " %s tag %q", r.Mode, r.Paths[0].Path)
	case r.Scope == Tag:
		fmt.Fprintf(&b, " %s %d tags", r.Mode, len(r.Paths))
	case r.Scope == Prefix && len(r.Paths) > 1:
		fmt.Fprintf(&b, " %s %d folders", r.Mode, len(r.Paths))
	case len(r.Paths) == 1:
		fmt.Fprintf(&b, " %s %q", r.Mode, r.Paths[0].Path)
	case len(r.Paths) > 1:
		fmt.Fprintf(&b, " %s %d paths", r.Mode, len(r.Paths))
	}
	if e.Attempt > 1 {
		fmt.Fprintf(&b, ", attempt %d", e.Attempt)
	}
	fmt.Fprintf(&b, ": %s", e.State)
	if e.State.Final() {
		if s := r.summary(); s != "" {
			b.WriteString(": " + s)
		}
	}
	return b.String()
}

// summary counts outcomes and what was removed, and shows the first failure.
func (r Record) summary() string {
	var parts []string
	outcomes := make(map[Outcome]int)
	var sum PathResult
	for _, p := range r.Paths {
		outcomes[p.Outcome]++
		sum.add(p)
	}
	for _, o := range []Outcome{Removed, Absent, Unchanged, Changed, Gone, Staled, Marked} {
		if n := outcomes[o]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o))
		}
	}
	for _, c := range []struct {
		n    int64
		name string
	}{
		{int64(sum.Originals), "originals"},
		{int64(sum.Derivatives), "derivatives"},
		{int64(sum.Composites), "composites"},
		{sum.Bytes, "bytes"},
	} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.name))
		}
	}
	if s := r.failures(); s != "" {
		parts = append(parts, s)
	}
	if s := r.nodesGone(); s != "" {
		parts = append(parts, s)
	}
	if s := r.nodeFailures(); s != "" {
		parts = append(parts, s)
	}
	if s := r.cdnFailures(); s != "" {
		parts = append(parts, s)
	}
	return strings.Join(parts, ", ")
}

// failures counts the paths that failed and shows the first.
func (r Record) failures() string {
	n, first := 0, PathResult{}
	for _, p := range r.Paths {
		if p.failed() {
			if n++; n == 1 {
				first = p
			}
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d failed, %q: %s", n, first.Path, first.Reason)
}

// clone returns r with slices of its own, none of them nil but Nodes, so that JSON has a
// list where there is nothing in it.
func (r Record) clone() Record {
	r.Paths = append([]PathResult{}, r.Paths...)
	r.Nodes = slices.Clone(r.Nodes)
	r.CDNs = append([]CDNResult{}, r.CDNs...)
	for i := range r.CDNs {
		c := &r.CDNs[i]
		c.Failed = slices.Clone(c.Failed)
		for k := range c.Failed {
			c.Failed[k].Paths = slices.Clone(c.Failed[k].Paths)
		}
	}
	r.History = append([]StateAt{}, r.History...)
	return r
}

// reached adds a state to the history. It never writes into what snapshots share.
func (r *Record) reached(s State, now time.Time) {
	r.State = s
	if len(r.History) >= maxHistory {
		r.History = slices.Clone(r.History[len(r.History)-maxHistory+1:])
	}
	r.History = append(r.History, StateAt{s, r.Attempt, now})
}

// donePaths are the paths that are done here.
func (r Record) donePaths() (paths []string) {
	for _, p := range r.Paths {
		if p.State == Done {
			paths = append(paths, p.Path)
		}
	}
	return paths
}

// flushedPaths are the paths that CDNs must hear of.
func (r Record) flushedPaths() (paths []string) {
	for _, p := range r.Paths {
		if p.flushed() {
			paths = append(paths, p.Path)
		}
	}
	return paths
}

func (p PathResult) failed() bool { return p.State == Error || p.State == Expired }

// flushed reports whether the purge of p is one that CDNs must hear of.
func (p PathResult) flushed() bool { return p.State == Done && p.Outcome != Unchanged }

// add adds the counts of q to those of p.
func (p *PathResult) add(q PathResult) {
	p.Originals += q.Originals
	p.Derivatives += q.Derivatives
	p.Composites += q.Composites
	p.Bytes += q.Bytes
}

// done completes p, whose last call was made in the given mode and returned o.
func (p *PathResult) done(o Outcome, mode Mode) {
	some := p.Originals+p.Derivatives+p.Composites > 0 || p.Bytes > 0
	switch {
	case o == "" && mode == Stale:
		o = Staled
	case o == "" && !some:
		o = Absent
	case o == "", o == Absent && some: // what an earlier try removed
		o = Removed
	}
	p.State, p.Outcome, p.Reason = Done, o, ""
}

// reason makes one line of at most 512 bytes of an error's text.
func reason(text string) string {
	const most = 512
	text = strings.Map(func(r rune) rune {
		if isControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if len(text) > most {
		cut := most - len("…")
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "…"
	}
	if text == "" {
		text = "failed without saying why"
	}
	return text
}
