package purge

import (
	"slices"
	"strings"
	"time"
)

func compareIDs(j *Job, id string) int { return strings.Compare(j.rec.ID, id) }

// Get returns the record of a job, or [ErrNotFound]. The caller owns the record.
func (s *Service) Get(id string) (Record, error) {
	s.mu.Lock()
	s.trim() // for MaxAge
	j := s.byID[id]
	s.mu.Unlock()
	if j == nil {
		return Record{}, ErrNotFound
	}
	return j.Record(), nil
}

// How many records List returns.
const (
	defaultList = 50
	maxList     = 100
)

// List returns up to n records, newest first, and the cursor for those after them.
// An empty cursor asks for the newest; next is empty where there are none
// after. Zero n means 50, and more than 100 means 100.
//
// Jobs that are submitted meanwhile do not move what follows a cursor: pages neither
// repeat a record nor leave one out, except that records dropped from the log to
// make room are not seen any more. The records are as they stand at the time of the call.
//
// A cursor that is not one of List's is refused with a *[RequestError].
func (s *Service) List(cursor string, n int) (records []Record, next string, err error) {
	if cursor != "" && !isID(cursor) {
		return nil, "", &RequestError{"cursor", "is not one that a list returned"}
	}
	if n <= 0 {
		n = defaultList
	}
	n = min(n, maxList)

	s.mu.Lock()
	s.trim() // for MaxAge
	end := len(s.log)
	if cursor != "" { // the ID of the last record on the page before
		end, _ = slices.BinarySearchFunc(s.log, cursor, compareIDs)
	}
	start := max(0, end-n)
	records = make([]Record, 0, end-start)
	for i := end - 1; i >= start; i-- {
		records = append(records, s.log[i].snapshot())
	}
	if start > 0 {
		next = s.log[start].rec.ID
	}
	s.mu.Unlock()

	for i := range records {
		records[i] = records[i].clone()
	}
	return records, next, nil
}

// trim drops the oldest finished jobs until the log is within its bounds. s.mu is held.
func (s *Service) trim() {
	var oldest time.Time
	if s.o.MaxAge > 0 {
		oldest = time.Now().Add(-s.o.MaxAge)
	}
	full := func() bool { return len(s.log) > s.o.MaxLog || s.bytes > s.o.MaxBytes }
	s.trimWhere(func(j *Job) (more, drop bool) {
		return full() || j.rec.Date.Before(oldest), j.rec.State.Final()
	})
	if s.followed > 0 && full() { // others see to it that these come to their end
		s.trimWhere(func(j *Job) (more, drop bool) { return full(), j.followed })
	}
}

// trimWhere asks f of each job, the oldest first, whether more are to be dropped, and whether this one is. s.mu is held.
func (s *Service) trimWhere(f func(*Job) (more, drop bool)) {
	for i := 0; i < len(s.log); {
		j := s.log[i]
		more, drop := f(j)
		if !more {
			return
		}
		if j.retrying || !drop {
			i++
			continue
		}
		if i == 0 { // as nearly always: the others stay where they are
			s.log[0] = nil
			s.log = s.log[1:]
		} else {
			s.log = slices.Delete(s.log, i, i+1)
		}
		delete(s.byID, j.rec.ID)
		if j.followed {
			s.followed--
			s.unfollow(j)
		} else if s.o.Log != nil {
			s.dropped = append(s.dropped, j.rec.ID)
		}
		s.bytes -= j.size
		if j.inLine != nil {
			s.line.Remove(j.inLine)
			s.untold += len(j.events)
			j.inLine, j.events, j.telling = nil, nil, false
		}
	}
}
