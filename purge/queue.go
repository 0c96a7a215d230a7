package purge

import (
	"container/list"
	"crypto/sha256"
	"slices"
	"strings"
)

// quantum is how many paths of one tenant are begun before it is the next one's turn: few enough that turns
// are short, enough that a job of the usual size fits in one.
const quantum = 10

// A queue holds the jobs that wait for a worker, and shares workers among tenants by deficit round robin
// (Shreedhar and Varghese, 1995), counted in paths: a tenant begins jobs while it has credit, goes into debt with the
// last, and gets a quantum of credit when its turn comes again. So over time each gets the same number of paths,
// however it cuts them into jobs.
//
// A tenant that comes new has its first turn before all that had theirs, as in FQ-CoDel (RFC 8290, section
// 4.2): its first job is the next to begin, whatever others have waiting. It is new again only when a turn
// has passed it by with nothing waiting and no debt, so that nobody gains by coming and going.
type queue struct {
	tenants map[string]*turn
	fresh   list.List // of *turn: those that had no turn yet, first come first
	rest    list.List // of *turn: the others, the next first
	n       int       // jobs
}

// A turn is a tenant's place in the queue.
type turn struct {
	tenant string
	jobs   []*Job // first come first
	credit int    // of paths; less than nothing is debt
	fresh  bool
	place  *list.Element
}

// Len returns how many jobs wait.
func (q *queue) Len() int { return q.n }

// waiting returns how many jobs of a tenant wait, with those that share the work of another.
func (q *queue) waiting(tenant string) int {
	t := q.tenants[tenant]
	if t == nil {
		return 0
	}
	n := len(t.jobs)
	for _, j := range t.jobs {
		n += len(j.sharers)
	}
	return n
}

func (q *queue) push(j *Job) {
	t := q.tenants[j.rec.Tenant]
	if t == nil {
		if q.tenants == nil {
			q.tenants = make(map[string]*turn)
		}
		if len(q.tenants) > 2*q.n+1000 { // their turn does not come, as there are always new ones
			q.forget()
		}
		t = &turn{tenant: j.rec.Tenant, credit: quantum, fresh: true}
		q.tenants[t.tenant] = t
		t.place = q.fresh.PushBack(t)
	}
	t.jobs = append(t.jobs, j)
	q.n++
}

// forget drops the tenants with nothing waiting, and their debts.
func (q *queue) forget() {
	for tenant, t := range q.tenants {
		if len(t.jobs) == 0 {
			q.toRest(t)
			q.rest.Remove(t.place)
			delete(q.tenants, tenant)
		}
	}
}

// pop returns the job to begin next, or nil.
func (q *queue) pop() *Job {
	for q.n > 0 {
		l := &q.fresh
		if l.Len() == 0 {
			l = &q.rest
		}
		t := l.Front().Value.(*turn)
		switch {
		case len(t.jobs) > 0 && t.credit > 0:
			j := t.jobs[0]
			t.jobs[0] = nil
			t.jobs = t.jobs[1:]
			t.credit -= len(j.rec.Paths)
			if t.fresh { // one job is what it has on the others
				q.toRest(t)
			}
			q.removed()
			return j
		case len(t.jobs) == 0 && t.credit >= 0 && !t.fresh:
			q.rest.Remove(t.place)
			delete(q.tenants, t.tenant)
		default:
			if t.credit <= 0 {
				t.credit = min(t.credit+quantum, quantum)
			}
			q.toRest(t)
		}
	}
	return nil
}

// toRest ends t's turn.
func (q *queue) toRest(t *turn) {
	if t.fresh {
		q.fresh.Remove(t.place)
		t.fresh = false
		t.place = q.rest.PushBack(t)
		return
	}
	q.rest.MoveToBack(t.place)
}

// remove takes j out and reports whether it was there.
func (q *queue) remove(j *Job) bool {
	t := q.tenants[j.rec.Tenant]
	if t == nil {
		return false
	}
	i := slices.Index(t.jobs, j)
	if i < 0 {
		return false
	}
	t.jobs = slices.Delete(t.jobs, i, i+1)
	q.removed()
	return true
}

// replace puts k where j waits.
func (q *queue) replace(j, k *Job) {
	t := q.tenants[j.rec.Tenant]
	t.jobs[slices.Index(t.jobs, j)] = k
}

// removed counts a job out. With the last, all debts are forgotten, and so are their debtors.
func (q *queue) removed() {
	if q.n--; q.n == 0 {
		*q = queue{}
	}
}

// twin returns a job that waits for the same work as j, or nil.
func (q *queue) twin(j *Job) *Job {
	t := q.tenants[j.rec.Tenant]
	if t == nil {
		return nil
	}
	for _, k := range t.jobs {
		if k.work == j.work && k.rec.State == Received {
			return k
		}
	}
	return nil
}

// all empties the queue and returns what was in it.
func (q *queue) all() (jobs []*Job) {
	for _, l := range []*list.List{&q.fresh, &q.rest} {
		for e := l.Front(); e != nil; e = e.Next() {
			for _, j := range e.Value.(*turn).jobs {
				jobs = append(append(jobs, j), j.sharers...)
				j.sharers = nil
			}
		}
	}
	*q = queue{}
	return jobs
}

// workOf returns a digest of what j has left to do: the same for the same work. s.mu is held.
func (j *Job) workOf() [sha256.Size]byte {
	paths := []string{string(j.rec.Mode), string(j.rec.Scope), j.rec.Source}
	for _, p := range j.rec.Paths {
		if !p.State.Final() {
			paths = append(paths, p.Path)
		}
	}
	slices.Sort(paths[3:])
	if j.rec.nodesLeft() {
		paths = append(append(paths, "", anyNode), j.rec.donePaths()...)
	}
	for _, c := range j.rec.CDNs {
		if len(c.Failed) > 0 {
			paths = append(append(paths, "", c.Name), c.left()...)
		}
	}
	return sha256.Sum256([]byte(strings.Join(paths, "\x00")))
}

// wait has j wait for a worker, with a job that waits for the same work if there is one: it begins after both
// were accepted, and so does what each of them asks. s.mu is held.
func (s *Service) wait(j *Job) {
	j.work = j.workOf()
	if lead := s.queue.twin(j); lead != nil && j.rec.State == Received {
		lead.sharers = append(lead.sharers, j)
		j.lead = lead
		s.sharing++
		return
	}
	s.queue.push(j)
}

// unwait takes j out of the queue and reports whether it was there. s.mu is held.
func (s *Service) unwait(j *Job) bool {
	switch {
	case j.lead != nil:
		j.lead.sharers = slices.DeleteFunc(j.lead.sharers, func(k *Job) bool { return k == j })
		j.lead = nil
		s.sharing--
	case len(j.sharers) > 0: // the next of them takes its place
		next := j.sharers[0]
		next.lead, next.sharers, j.sharers = nil, j.sharers[1:], nil
		for _, k := range next.sharers {
			k.lead = next
		}
		s.queue.replace(j, next)
		s.sharing--
	default:
		return s.queue.remove(j)
	}
	return true
}

// begin takes the job to begin next out of the queue, with those that share its work. s.mu is held.
func (s *Service) begin() *Job {
	j := s.queue.pop()
	if j == nil {
		return nil
	}
	j.group, j.sharers = j.sharers, nil
	s.sharing -= len(j.group)
	for _, k := range j.all() {
		k.lead = nil
		if k.expiry != nil {
			k.expiry.Stop()
		}
	}
	return j
}

// all returns j and the jobs that share its work.
func (j *Job) all() []*Job { return append([]*Job{j}, j.group...) }

// share gives what became of j's path i to the jobs that share its work; removed is what a call removed. s.mu is held.
func (j *Job) share(i int, removed PathResult) {
	p := j.rec.Paths[i]
	for _, k := range j.group {
		if k.over() {
			continue
		}
		for n := range k.rec.Paths {
			if q := &k.edit()[n]; q.Path == p.Path {
				q.State, q.Outcome, q.Reason = p.State, p.Outcome, p.Reason
				q.add(removed)
			}
		}
	}
}
