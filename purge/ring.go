package purge

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxNodes is the most nodes that a record has results of.
const maxNodes = 1000

// nodeBytes is about how much memory the result of a node takes: in a few snapshots, with its name and a reason.
const nodeBytes = 512

// anyNode stands for the nodes in a record, where the ring has failed and does not say for which.
const anyNode = "*"

// A ring is one call of Nodes.Flush. Service.mu guards what is behind flush.
type ring struct {
	flush NodeFlush
	parts map[string][]string // what CDNs hear of after it
	some  bool                // there is something that CDNs would have to hear of

	results map[string]NodeResult         // as the nodes reported them
	before  map[*Job]map[string]nodeCount // what was removed in rings before, as the record of each job has it
	over    bool                          // what is reported now comes too late
	news    bool                          // that was not saved
	crowded bool                          // more nodes were reported than a record has room for
}

type nodeCount struct {
	originals, derivatives, composites int
	bytes                              int64
}

// ringPaths returns what an attempt of j leaves for other nodes: what it has done here or, where a node failed before, all that was
// ever done. resumed is as for partsOf: once CDNs have heard of the purge, the ring within had answered. s.mu is held.
func (s *Service) ringPaths(j *Job, done []string, resumed State) []string {
	switch {
	case s.o.Nodes == nil, j.rec.Mode == Followed, resumed == FlushingCDN:
		return nil
	case j.rec.nodesLeft():
		return j.rec.donePaths()
	}
	return done
}

// newRing prepares the ring of j's attempt: the nodes that its record knows of have said nothing as yet, and this one, if it was such a node before
// it took the job over, is none. s.mu is held.
func (s *Service) newRing(j *Job, paths []string, parts map[string][]string) *ring {
	r := &ring{
		flush: NodeFlush{ID: j.rec.ID, Attempt: j.rec.Attempt, Scope: j.rec.Scope, Source: j.rec.Source, Mode: j.rec.Mode, Paths: paths, Resumed: j.rec.Attempt > 1},
		parts: parts, some: len(parts) > 0 || len(j.rec.flushedPaths()) > 0, results: make(map[string]NodeResult), before: make(map[*Job]map[string]nodeCount),
	}
	for _, k := range j.all() {
		if k.over() {
			continue
		}
		r.flush.Resumed = r.flush.Resumed || k.resumed || k.rec.Attempt > 1
		k.edit()
		k.rec.Nodes = slices.DeleteFunc(k.rec.Nodes, func(n NodeResult) bool { return n.Name == anyNode || n.Name == s.self })
		r.before[k] = make(map[string]nodeCount)
		for i := range k.rec.Nodes {
			n := &k.rec.Nodes[i]
			n.State, n.Outcome, n.Reason = Received, "", ""
			r.before[k][n.Name] = nodeCount{n.Originals, n.Derivatives, n.Composites, n.Bytes}
		}
	}
	return r
}

// tellNodes has the other nodes carry out what j has flushed here, and then goes on to the CDNs, or to j's end; on a goroutine of its own, so that a
// node that is slow or away keeps no worker from what is to be done here.
func (s *Service) tellNodes(j *Job, r *ring) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	why := "ended without a result"
	failed, through := true, false // unless it returns
	defer func() {                 // also if the nodes end the goroutine
		s.mu.Lock()
		defer s.unlock()
		defer func() { s.flushing-- }()
		r.over = true
		if s.ctx.Err() != nil && !through { // it may have returned for that
			all := j.all()
			j.group = nil
			for _, k := range all {
				if s.o.Log == nil {
					s.endRing(k, r, whyClosed, true)
					s.finish(k, whyClosed)
				} else {
					s.cut(k)
				}
			}
			return
		}
		for name, n := range r.results {
			if !n.State.Final() {
				n.State, n.Outcome, n.Reason = Error, Failing, why
				r.results[name] = n
				s.counts.nodes[Failing]++
			}
			failed = failed || r.results[name].State == Error
		}
		if r.crowded {
			failed, why = true, fmt.Sprintf("there are more than %d nodes, the most that a record has results of", maxNodes)
		}
		all := j.all()
		for _, k := range all {
			s.endRing(k, r, why, failed)
		}
		if !failed {
			r.tellOutward(s.cdnNames())
			s.outward(j, r.some, r.parts)
			return
		}
		j.group = nil // while one is saved, another may be retried
		for _, k := range all {
			s.finish(k, whyClosed)
			k.busy = false
		}
	}()
	s.mu.Lock()
	j.cancel = cancel
	s.mu.Unlock()
	s.saveAll(j) // what was asked of the origin is not asked again
	defer s.saveRing(j, r)()
	err := s.guard("Nodes.Flush", func() error {
		s.o.Nodes.Flush(ctx, r.flush, func(n NodeResult) { s.reportNode(j, r, n) })
		return nil
	})
	if err != nil {
		why = err.Error()
	}
	failed, through = err != nil, s.ctx.Err() == nil
}

// tellOutward has CDNs hear of what has not changed here as well, where another node had, or may have had, something else of it: they may have that from there.
func (r *ring) tellOutward(cdns []string) {
	other := r.flush.Resumed // what a node had is known only when it is first asked
	for _, n := range r.results {
		other = other || n.Changed || n.Outcome == Left
	}
	if !other || r.flush.Mode == Delete {
		return
	}
	for _, name := range cdns {
		for _, p := range r.flush.Paths {
			if !slices.Contains(r.parts[name], p) {
				r.parts[name] = append(r.parts[name], p)
			}
		}
	}
	r.some = r.some || len(r.flush.Paths) > 0
}

// ringEvery is how often it is saved how far nodes have come. All are asked again after a crash, when those that have removed something in the moment before
// say that there was nothing.
const ringEvery = time.Second

// saveRing saves how far nodes have come, again and again until the function it returns is called.
func (s *Service) saveRing(j *Job, r *ring) (stop func()) {
	if s.o.Log == nil {
		return func() {}
	}
	ended, through := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(through)
		every := time.NewTicker(ringEvery)
		defer every.Stop()
		for more := true; more; {
			select {
			case <-every.C:
			case <-ended:
				if more = false; s.ctx.Err() == nil {
					return // what comes next is saved with it
				}
			}
			s.mu.Lock()
			news := r.news
			r.news = false
			s.mu.Unlock()
			if news {
				s.saveAll(j)
			}
		}
	}()
	return func() { close(ended); <-through }
}

// saveAll saves how far j is, and those that share its work.
func (s *Service) saveAll(j *Job) {
	if s.o.Log == nil {
		return
	}
	var all []save
	s.mu.Lock()
	for _, k := range j.all() {
		if !k.over() {
			all = append(all, save{k, k.kept(k.rec.State, timestamp())})
		}
	}
	s.mu.Unlock()
	for _, k := range all {
		s.saveOrWarn(k.j, k.k)
	}
}

// reportNode records how far a node has come, for j and those that share its work.
func (s *Service) reportNode(j *Job, r *ring, n NodeResult) {
	switch {
	case n.State == Done && n.Outcome != Left:
		n.Outcome = Flushed
	case n.State == Done:
	case n.State.Final():
		n.State, n.Outcome = Error, Failing
		n.Reason = reason(n.Reason)
	case n.State != Received:
		n.State, n.Outcome = FlushingServers, ""
	}
	if n.Reason != "" {
		n.Reason = reason(n.Reason)
	}

	s.mu.Lock()
	old, heard := r.results[n.Name]
	switch {
	case r.over, old.State.Final():
		s.mu.Unlock()
		return
	case !heard && len(r.results) >= maxNodes:
		r.crowded = true
		s.mu.Unlock()
		return
	}
	r.results[n.Name] = n
	if n.State.Final() {
		s.counts.nodes[n.Outcome]++
		r.news = true
	}
	for _, k := range j.all() {
		if !k.over() {
			s.setNode(k, r, n)
		}
	}
	s.mu.Unlock()
}

// setNode puts a node's result into the record of a job, by name. s.mu is held.
func (s *Service) setNode(j *Job, r *ring, n NodeResult) {
	b := r.before[j][n.Name]
	n.Originals += b.originals
	n.Derivatives += b.derivatives
	n.Composites += b.composites
	n.Bytes += b.bytes
	j.edit()
	i, found := slices.BinarySearchFunc(j.rec.Nodes, n.Name, func(n NodeResult, name string) int { return strings.Compare(n.Name, name) })
	if found {
		j.rec.Nodes[i] = n
		return
	}
	j.rec.Nodes = slices.Insert(j.rec.Nodes, i, n)
	j.size += nodeBytes
	s.bytes += nodeBytes
	s.live += nodeBytes
}

// endRing brings the results of nodes in the record of j to their end. With failed, those that have none failed for the reason given, and nothing
// is told to CDNs; else they are no nodes any more. s.mu is held.
func (s *Service) endRing(j *Job, r *ring, why string, failed bool) {
	if j.over() {
		return
	}
	for _, n := range r.results { // those that are at their end by now
		s.setNode(j, r, n)
	}
	some := false
	for i := range j.rec.Nodes {
		n := &j.rec.Nodes[i]
		switch {
		case n.State.Final():
		case failed:
			n.State, n.Outcome, n.Reason = Error, Failing, why
		default:
			n.State, n.Outcome, n.Reason = Done, Left, "is no node of the cluster any more"
		}
		some = some || n.State == Error
	}
	if !failed {
		return
	}
	if !some {
		s.setNode(j, r, NodeResult{Name: anyNode, State: Error, Outcome: Failing, Reason: why})
	}
	for i := range j.rec.CDNs {
		c := &j.rec.CDNs[i]
		if paths := r.parts[c.Name]; len(paths) > 0 {
			const why = "not told, as the purge has failed on a node"
			c.State, c.Outcome, c.Reason, c.Failed = Error, "", why, []CDNFailure{{Reason: why, Paths: paths}}
		}
	}
}

// nodesLeft reports whether a node has to be asked again.
func (r Record) nodesLeft() bool {
	return slices.ContainsFunc(r.Nodes, func(n NodeResult) bool { return n.State != Done })
}

// nodeFailures says which nodes failed, and why the first did.
func (r Record) nodeFailures() string {
	var names []string
	why := ""
	for _, n := range r.Nodes {
		if n.State == Error {
			if names = append(names, n.Name); why == "" {
				why = n.Reason
			}
		}
	}
	switch {
	case len(names) == 0:
		return ""
	case names[0] == anyNode:
		return "failed on other nodes: " + why
	}
	return "failed on the nodes " + strings.Join(names, ", ") + ": " + why
}

// nodesGone says which nodes were left out.
func (r Record) nodesGone() string {
	var names []string
	for _, n := range r.Nodes {
		if n.Outcome == Left {
			names = append(names, n.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "without " + strings.Join(names, ", ")
}
