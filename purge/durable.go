package purge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Log keeps jobs, so that a restart forgets none. Package boltlog has one in a
// file; purgetest has the tests that each must pass.
//
// Its methods may be called from many goroutines at once. It belongs to one
// [Service] at a time, and to who opened it: the service does not close it.
type Log interface {
	// Write sets the entries in put and removes those whose IDs are in drop: all of that or, with an
	// error, most likely none. When it returns nil, a power cut does not undo it. An ID that is
	// dropped and not there is no error; none is in both. The log does not keep put, drop or any Data.
	Write(put []LogEntry, drop []string) error

	// Entries yields the entries whose IDs are less than before, or all if it is empty, the greatest ID
	// first. Each has Data of its own. An error is the last that it yields: what cannot be
	// read is never left out silently. Entries that are written or dropped meanwhile may be seen or not.
	Entries(before string) iter.Seq2[LogEntry, error]

	// String says where the log is, such as the name of its file. Errors have it.
	String() string
}

// A LogEntry is one job as a [Log] keeps it.
type LogEntry struct {
	ID   string // of the job; later ones are greater
	Data []byte // what the service says of it, for nobody else to read

	// Of a [SharedLog] alone: whether the job is at its end, which the service says, and whose it is, which the log says.
	Final bool
	Owner string
}

// A MemoryLog is a [Log] that lasts as long as the program: for tests, and for
// programs that close a service and open another. The zero value is empty.
type MemoryLog struct {
	mu      sync.Mutex // guards entries
	entries []LogEntry // by ascending ID
}

// Write implements [Log].
func (l *MemoryLog) Write(put []LogEntry, drop []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range put {
		e.Data = bytes.Clone(e.Data)
		if i, found := l.find(e.ID); found {
			l.entries[i] = e
		} else {
			l.entries = slices.Insert(l.entries, i, e)
		}
	}
	for _, id := range drop {
		if i, found := l.find(id); found {
			l.entries = slices.Delete(l.entries, i, i+1)
		}
	}
	return nil
}

// find returns where an ID is, or would be. l.mu is held.
func (l *MemoryLog) find(id string) (int, bool) {
	return slices.BinarySearchFunc(l.entries, id, func(e LogEntry, id string) int { return strings.Compare(e.ID, id) })
}

// Entries implements [Log].
func (l *MemoryLog) Entries(before string) iter.Seq2[LogEntry, error] {
	return func(yield func(LogEntry, error) bool) {
		for {
			l.mu.Lock()
			i := len(l.entries)
			if before != "" {
				i, _ = l.find(before)
			}
			if i == 0 {
				l.mu.Unlock()
				return
			}
			e := l.entries[i-1]
			l.mu.Unlock()
			before = e.ID
			e.Data = bytes.Clone(e.Data)
			if !yield(e, nil) {
				return
			}
		}
	}
}

// String implements [Log].
func (l *MemoryLog) String() string { return "memory" }

// A kept job is what the log has of one.
//
// # The order of writes, and why a crash loses nothing
//
//	intent ▶ Target.Accept ▶ accepted ▶ Submit returns ▶ progress… ▶ the final state ▶ its event
//
// Each ▶ is a write that is on the disk. A crash before the write of the intent leaves nothing, and nobody was promised anything.
// One before that of accepted leaves an intent, which [Open] has the target accept again: perhaps it had
// not, or not all of it. From then on the job is in the log until its final state is, so it is worked
// on again; that a path is purged twice does no harm.
type kept struct {
	Accepted bool   `json:"accepted"` // else it is an intent
	Seq      int    `json:"seq"`      // of the latest event
	Record   Record `json:"record"`

	// Nodes has in an entry what Record.Nodes has. Each node of a cluster reads the entries of all jobs, so what they say of nodes grows with the square of
	// their number: most have the same result, which is said once.
	Nodes []keptNodes `json:"nodes,omitempty"`
}

// keptNodes are the nodes that have a result.
type keptNodes struct {
	Names []string `json:"names"`
	keptResult
}

// A keptResult is a [NodeResult], of which an entry has what is not zero.
type keptResult struct {
	Name    string      `json:"-"`
	State   State       `json:"state"`
	Outcome NodeOutcome `json:"outcome,omitempty"`
	Reason  string      `json:"reason,omitempty"`
	Changed bool        `json:"changed,omitempty"`

	Originals   int   `json:"originals,omitempty"`
	Derivatives int   `json:"derivatives,omitempty"`
	Composites  int   `json:"composites,omitempty"`
	Bytes       int64 `json:"bytes,omitempty"`
}

func packNodes(nodes []NodeResult) (packed []keptNodes) {
	places := make(map[keptResult]int)
	for _, n := range nodes {
		r := keptResult(n)
		r.Name = ""
		i, ok := places[r]
		if !ok {
			i = len(packed)
			places[r] = i
			packed = append(packed, keptNodes{keptResult: r})
		}
		packed[i].Names = append(packed[i].Names, n.Name)
	}
	return packed
}

func unpackNodes(packed []keptNodes) (nodes []NodeResult) {
	for _, p := range packed {
		for _, name := range p.Names {
			p.Name = name
			nodes = append(nodes, NodeResult(p.keptResult))
		}
	}
	slices.SortFunc(nodes, func(a, b NodeResult) int { return strings.Compare(a.Name, b.Name) })
	return nodes
}

// The form of an entry's data: this word, the version, the checksum of the rest, a line feed, JSON.
const (
	keptWord    = "purge"
	keptVersion = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (k kept) entry() (LogEntry, error) {
	k.Record = k.Record.clone()
	k.Nodes, k.Record.Nodes = packNodes(k.Record.Nodes), nil
	body, err := json.Marshal(k)
	if err != nil {
		return LogEntry{}, err
	}
	data := fmt.Appendf(nil, "%s %d %08x\n", keptWord, keptVersion, crc32.Checksum(body, castagnoli))
	return LogEntry{ID: k.Record.ID, Data: append(data, body...), Final: k.Accepted && k.Record.State.Final()}, nil
}

var errDamaged = errors.New("is damaged")

// parseEntry is the inverse of kept.entry.
func parseEntry(e LogEntry) (k kept, err error) {
	head, body, ok := bytes.Cut(e.Data, []byte("\n"))
	var version int
	var sum uint32
	if n, _ := fmt.Sscanf(string(head), keptWord+" %d %08x", &version, &sum); !ok || n == 0 {
		return k, errDamaged
	}
	if version != keptVersion {
		return k, fmt.Errorf("has version %d, and this program knows %d alone", version, keptVersion)
	}
	if fmt.Sprintf("%s %d %08x", keptWord, version, crc32.Checksum(body, castagnoli)) != string(head) {
		return k, errDamaged
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields() // a field that is not known is a loss
	if err := d.Decode(&k); err != nil {
		return k, fmt.Errorf("cannot be read: %w", err)
	}
	if len(k.Record.Nodes) == 0 { // else it is an entry of before they were said once
		k.Record.Nodes, k.Nodes = unpackNodes(k.Nodes), nil
	}
	if r := k.Record; r.ID != e.ID || !isID(r.ID) || r.Attempt < 1 || len(r.Paths) == 0 || len(r.History) > k.Seq {
		return k, errDamaged
	}
	return k, nil
}

// kept returns j for the log, as it will be when it has reached state. s.mu is held.
func (j *Job) kept(state State, now time.Time) kept {
	k := kept{Accepted: true, Seq: j.seq, Record: j.snapshot()}
	if state != k.Record.State || len(k.Record.History) == 0 {
		k.Seq++
		k.Record.History = slices.Clone(k.Record.History) // reached appends
		k.Record.reached(state, now)
	}
	return k
}

// save writes a job to the log, if there is one, and drops what has left it. s.mu is not held.
func (s *Service) save(k kept) error {
	if s.o.Log == nil {
		return nil
	}
	e, err := k.entry()
	if err != nil {
		return err
	}
	return s.write([]LogEntry{e}, nil)
}

func (s *Service) write(put []LogEntry, drop []string) (err error) {
	if s.o.Log == nil {
		return nil
	}
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return ErrClosed
	}
	drop = append(drop, s.dropped...)
	s.dropped = nil
	s.mu.Unlock()
	defer func() {
		if err != nil {
			s.mu.Lock()
			s.dropped = append(s.dropped, drop...)
			s.mu.Unlock()
			err = fmt.Errorf("the log %s: %w", s.o.Log, err)
		}
	}()
	return s.guard("Log.Write", func() error {
		if s.shared == nil || len(put) == 0 || len(drop) == 0 {
			return s.o.Log.Write(put, drop)
		}
		if err := s.o.Log.Write(put, nil); err != nil { // it is to say whose put is
			return err
		}
		if err := s.o.Log.Write(nil, drop); err != nil {
			s.o.Logger.Warn("purge: old jobs could not be dropped from the log", "jobs", len(drop), "error", err)
			s.mu.Lock()
			s.dropped = append(s.dropped, drop...) // with the next write
			s.mu.Unlock()
		}
		return nil
	})
}

// A save is a job with what is to be saved of it.
type save struct {
	j *Job
	k kept
}

// saveJob is save for a job that is known, which is another's where the log says so.
func (s *Service) saveJob(j *Job, k kept) error {
	err := s.save(k)
	s.mu.Lock()
	defer s.unlock()
	switch {
	case err == nil:
		j.saved = max(j.saved, k.Seq)
	case errors.Is(err, ErrNotOwner):
		s.lose(j)
	}
	return err
}

// saveOrWarn is saveJob where the job goes on in any case: what the log lacks is done again after a restart.
func (s *Service) saveOrWarn(j *Job, k kept) {
	if err := s.saveJob(j, k); err != nil && err != ErrClosed && !errors.Is(err, ErrNotOwner) {
		s.o.Logger.Error("purge: a job could not be saved, and is done again after a restart", "job", k.Record.ID, "error", err)
	}
}

// maxSaveWait is the longest wait between two tries to save the end of a job: somebody waits for it, and nothing else is left to do.
const maxSaveWait = 2 * time.Second

// saveEnd is saveOrWarn for the end of a job. In a log that nodes share that has to be: else another could bring the job to another
// end. It reports whether the job may end.
func (s *Service) saveEnd(j *Job, k kept) bool {
	if s.shared == nil {
		s.saveOrWarn(j, k)
		return true
	}
	wait := s.o.Backoff
	var told time.Time
	for {
		err := s.saveJob(j, k)
		switch {
		case err == nil:
			return true
		case err == ErrClosed, errors.Is(err, ErrNotOwner):
			return false
		}
		if time.Since(told) > maxBackoff {
			s.o.Logger.Error("purge: the end of a job could not be saved, and has to be", "job", k.Record.ID, "error", err)
			told = time.Now()
		}
		if s.sleep(wait/2 + rand.N(wait/2+1)); s.ctx.Err() != nil {
			return false
		}
		wait = min(2*wait, maxSaveWait)
	}
}
