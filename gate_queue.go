package imagecdn

import (
	"container/list"
	"iter"
)

// A queue has turns that wait. Those of one path wait in order; paths that differ take turns about, part by part: first those
// whose first parts differ, then those whose second parts do. So with a source and a client as the path, each source
// that anything waits for gets one turn in a round, and each client one of its source's turns in a round of those.
//
// It has no more paths than turns, and forgets a path with its last turn. The zero value is empty. Turns without any path
// make it a plain queue.
type queue struct {
	name    string
	waiting int
	turns   list.List                // of *turn, where the path ends
	parts   list.List                // of *queue, none of them empty; the first is next
	byName  map[string]*list.Element // in parts
}

// push adds t, as the last of its path.
func (q *queue) push(t *turn) { q.add(t, t.path) }

func (q *queue) add(t *turn, path []string) {
	q.waiting++
	if len(path) == 0 {
		t.place = q.turns.PushBack(t)
		return
	}
	e := q.byName[path[0]]
	if e == nil {
		e = q.parts.PushBack(&queue{name: path[0]})
		if q.byName == nil {
			q.byName = make(map[string]*list.Element)
		}
		q.byName[path[0]] = e
	}
	e.Value.(*queue).add(t, path[1:])
}

// front is the turn that is next; nil where nothing waits. It stays so until it is removed.
func (q *queue) front() *turn {
	if e := q.parts.Front(); e != nil {
		return e.Value.(*queue).front()
	}
	if e := q.turns.Front(); e != nil {
		return e.Value.(*turn)
	}
	return nil
}

// take removes the turn that is next, and has the others of its path wait for a round.
func (q *queue) take() {
	e := q.parts.Front()
	if e == nil {
		q.turns.Remove(q.turns.Front())
		q.waiting--
		return
	}
	q.waiting--
	part := e.Value.(*queue)
	part.take()
	q.parts.MoveToBack(e)
	q.forget(e)
}

// remove removes t from wherever it is. Nobody else's turn changes.
func (q *queue) remove(t *turn) { q.drop(t, t.path) }

func (q *queue) drop(t *turn, path []string) {
	q.waiting--
	if len(path) == 0 {
		q.turns.Remove(t.place)
		return
	}
	e := q.byName[path[0]]
	e.Value.(*queue).drop(t, path[1:])
	q.forget(e)
}

// forget drops a part that is empty.
func (q *queue) forget(e *list.Element) {
	if part := e.Value.(*queue); part.waiting == 0 {
		q.parts.Remove(e)
		delete(q.byName, part.name)
	}
}

// spare is the turn that should make way for one more of a path: the newest of the path that has most, of those that have
// at least two more than this one. Parts are compared as they take turns: the first ones first. Nil means that there is none.
func (q *queue) spare(path []string) *turn {
	if len(path) == 0 {
		return nil
	}
	var own, most *queue
	for e := q.parts.Front(); e != nil; e = e.Next() {
		part := e.Value.(*queue)
		if part.name == path[0] {
			own = part
		}
		if most == nil || part.waiting > most.waiting {
			most = part
		}
	}
	has := 0
	if own != nil {
		has = own.waiting
	}
	if most != nil && most.waiting > has+1 {
		return most.newest()
	}
	if own == nil {
		return nil
	}
	return own.spare(path[1:])
}

// newest is the last turn of the path that has most.
func (q *queue) newest() *turn {
	var most *queue
	for e := q.parts.Front(); e != nil; e = e.Next() {
		if part := e.Value.(*queue); most == nil || part.waiting > most.waiting {
			most = part
		}
	}
	if most != nil {
		return most.newest()
	}
	return q.turns.Back().Value.(*turn)
}

// all are the turns that wait, path by path. The one that is at hand may be removed.
func (q *queue) all() iter.Seq[*turn] {
	return func(yield func(*turn) bool) { q.each(yield) }
}

func (q *queue) each(yield func(*turn) bool) bool {
	for e := q.parts.Front(); e != nil; {
		next := e.Next()
		if !e.Value.(*queue).each(yield) {
			return false
		}
		e = next
	}
	for e := q.turns.Front(); e != nil; {
		next := e.Next()
		if !yield(e.Value.(*turn)) {
			return false
		}
		e = next
	}
	return true
}
