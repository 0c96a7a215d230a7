package purge

import (
	"context"
	"slices"
	"strings"
)

// CDNs are the caches further out, which hear of a purge when it is done here. Package cdn has them. Its methods are called from
// many goroutines at once, and by at-least-once rules, as those of a [Target].
type CDNs interface {
	// Names are those of the CDNs, distinct, in the order in which records have them. They are always the same.
	Names() []string

	// Flush purges from each CDN that f.Parts names what is listed there. It calls report with a CDN's result as that changes, one
	// call at a time, with Failed in the terms of Parts, and returns when the results of all have a final state, or soon after ctx ends.
	Flush(ctx context.Context, f Flush, report func(CDNResult))
}

// A Flush is what an attempt of a job leaves for CDNs to do.
type Flush struct {
	ID      string // of the job
	Attempt int
	Tenant  string
	Scope   Scope
	Mode    Mode

	// Parts has, by the names of CDNs, the paths, folders or tags to purge there, as [PathResult] has them: with scope All the one path
	// "/*" or "/source/*".
	Parts map[string][]string

	// Probe says what a request for an image is answered at present, for a CDN to be verified against: its status and its ETag.
	// It is nil where the Target is no [Prober].
	Probe func(ctx context.Context, path string) (status int, etag string, err error)
}

// A Prober is a [Target] that says what a request for an image is answered.
type Prober interface {
	Target

	// Probe returns the status and the ETag of the answer to a request for an image as its origin has it.
	Probe(ctx context.Context, path string) (status int, etag string, err error)
}

// failed reports whether something is left to do on a CDN.
func (c CDNResult) failed() bool { return c.State == Error || c.State == Expired }

// left are the paths that failed.
func (c CDNResult) left() (paths []string) {
	for _, f := range c.Failed {
		paths = append(paths, f.Paths...)
	}
	return paths
}

// cdnNames are the CDNs that there are.
func (s *Service) cdnNames() []string {
	if s.o.CDNs == nil {
		return nil
	}
	return s.o.CDNs.Names()
}

// cdnResults returns one result for each CDN that there is: that of old where it has one. The others have heard nothing of what was flushed
// before.
func (s *Service) cdnResults(old []CDNResult, flushed []string) []CDNResult {
	var all []CDNResult
	for _, name := range s.cdnNames() {
		c := CDNResult{Name: name, State: Received}
		if len(flushed) > 0 {
			c.Failed = []CDNFailure{{Reason: "this CDN is new", Paths: flushed}}
		}
		if i := slices.IndexFunc(old, func(c CDNResult) bool { return c.Name == name }); i >= 0 {
			c = old[i]
		}
		all = append(all, c)
	}
	return all
}

// partsOf returns what an attempt of j leaves for each CDN: of the paths that it flushed here all that the CDN must hear of, and what
// failed there before. resumed is the state in which a restart left the attempt; it is empty where there was none. s.mu is held.
func (s *Service) partsOf(j *Job, flushed []string, resumed State) map[string][]string {
	parts := make(map[string][]string)
	for _, c := range j.rec.CDNs {
		paths := slices.Clone(flushed)
		if resumed == FlushingCDN && c.State.Final() { // but for what failed: those behind it are not to be told of that before
			paths = nil
		}
		seen := make(map[string]bool, len(paths))
		for _, p := range paths {
			seen[p] = true
		}
		for _, p := range c.left() {
			if !seen[p] {
				paths = append(paths, p)
			}
		}
		if len(paths) > 0 {
			parts[c.Name] = paths
		}
	}
	return parts
}

// tellCDNs takes j from FlushingCDN to its end, on a goroutine of its own, so that a CDN that is slow or down keeps no
// worker from what is to be done here.
func (s *Service) tellCDNs(j *Job, parts map[string][]string) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	defer func() { // also if the CDNs end the goroutine
		s.mu.Lock()
		defer s.unlock()
		all := j.all()
		j.group = nil // while one is saved, another may be retried
		for _, k := range all {
			if s.ctx.Err() != nil && s.o.Log != nil && slices.ContainsFunc(k.rec.CDNs, func(c CDNResult) bool { return c.State == FlushingCDN }) {
				s.cut(k)
				continue
			}
			s.finish(k, whyClosed)
			k.busy = false
		}
		s.flushing--
	}()
	s.mu.Lock()
	f := Flush{ID: j.rec.ID, Attempt: j.rec.Attempt, Tenant: j.rec.Tenant, Scope: j.rec.Scope, Mode: j.rec.Mode, Parts: parts}
	j.cancel = cancel
	s.mu.Unlock()
	if p, ok := s.target.(Prober); ok {
		f.Probe = p.Probe
	}
	err := s.guard("CDNs.Flush", func() error {
		s.o.CDNs.Flush(ctx, f, func(r CDNResult) { s.reportCDN(j, r) })
		return nil
	})
	if s.ctx.Err() != nil {
		return
	}
	// Whoever reported no end has none to report any more.
	why := "ended without a result"
	if err != nil {
		why = err.Error()
	}
	s.mu.Lock()
	var results []CDNResult
	for _, k := range j.all() {
		if !k.over() {
			results = slices.Clone(k.rec.CDNs) // the same in each
		}
	}
	s.mu.Unlock()
	for _, c := range results {
		if c.State == FlushingCDN {
			c.State, c.Reason, c.Failed = Error, why, []CDNFailure{{Reason: why, Paths: parts[c.Name]}}
			s.reportCDN(j, c)
		}
	}
}

// reportCDN records how far a CDN has come, for j and those that share its work, and saves it at its end.
func (s *Service) reportCDN(j *Job, r CDNResult) {
	if r.Reason != "" {
		r.Reason = reason(r.Reason)
	}
	r.Failed = slices.Clone(r.Failed)
	for i := range r.Failed {
		r.Failed[i].Reason = reason(r.Failed[i].Reason)
	}
	s.mu.Lock()
	var ended []save
	for _, k := range j.all() {
		if k.over() {
			continue
		}
		k.edit()
		for i, c := range k.rec.CDNs {
			if c.Name == r.Name && c.State == FlushingCDN {
				k.rec.CDNs[i] = r
				if r.State.Final() && s.o.Log != nil {
					ended = append(ended, save{k, k.kept(k.rec.State, timestamp())})
				}
			}
		}
	}
	s.mu.Unlock()
	for _, e := range ended {
		s.saveOrWarn(e.j, e.k)
	}
}

// cdnFailures says which CDNs failed, and why the first did.
func (r Record) cdnFailures() string {
	var names []string
	why := ""
	for _, c := range r.CDNs {
		if c.failed() {
			if names = append(names, c.Name); why == "" {
				why = c.Reason
			}
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "failed on " + strings.Join(names, ", ") + ": " + why
}
