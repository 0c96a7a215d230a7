package imagecdn

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// line makes a queue of turns, each "source client number".
func line(turns ...string) *queue {
	q := new(queue)
	for _, s := range turns {
		q.push(turnOf(s))
	}
	return q
}

func turnOf(s string) *turn {
	parts := strings.Fields(s)
	var n int64
	fmt.Sscan(parts[len(parts)-1], &n)
	return &turn{bytes: n, path: parts[:len(parts)-1]}
}

func (t *turn) String() string {
	return strings.Join(append(slices.Clone(t.path), fmt.Sprint(t.bytes)), " ")
}

// drained takes all there is.
func drained(q *queue) (all []string) {
	for t := q.front(); t != nil; t = q.front() {
		q.take()
		all = append(all, t.String())
	}
	return all
}

func TestQueueTakesTurns(t *testing.T) {
	for _, test := range []struct {
		name  string
		turns []string
		want  []string
	}{
		{"one client, in order", []string{"s a 1", "s a 2", "s a 3"}, []string{"s a 1", "s a 2", "s a 3"}},
		{"two clients", []string{"s a 1", "s a 2", "s a 3", "s b 4", "s b 5"}, []string{"s a 1", "s b 4", "s a 2", "s b 5", "s a 3"}},
		{"two sources, of which one has more clients", []string{"s a 1", "s b 2", "s c 3", "t d 4", "t d 5"},
			[]string{"s a 1", "t d 4", "s b 2", "t d 5", "s c 3"}},
		{"a client of two sources", []string{"s a 1", "s a 2", "t a 3", "s b 4"}, []string{"s a 1", "t a 3", "s b 4", "s a 2"}},
		{"no paths", []string{"1", "2", "3"}, []string{"1", "2", "3"}},
	} {
		if got := drained(line(test.turns...)); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestQueueSpares(t *testing.T) {
	for _, test := range []struct {
		name  string
		turns []string
		path  string
		want  string // empty for none
	}{
		{"nothing waits", nil, "s a", ""},
		{"who has most", []string{"s a 1", "s a 2", "s a 3", "s b 4", "s b 5"}, "s c", "s a 3"},
		{"not for one more of the same", []string{"s a 1", "s a 2", "s a 3"}, "s a", ""},
		{"nobody has two more", []string{"s a 1", "s b 2"}, "s c", ""},
		{"a swap is no use", []string{"s a 1", "s a 2", "s b 3"}, "s b", ""},
		{"sources first", []string{"s a 1", "s b 2", "s c 3", "t d 4", "t d 5"}, "t e", "t d 5"},
		{"the newest of the larger source", []string{"s a 1", "s b 2", "s b 3", "s c 4", "t d 5"}, "t e", "s b 3"},
		{"a client of its own source, where that is the largest", []string{"s a 1", "s a 2", "s a 3", "t b 4", "t b 5"}, "s c", "s a 3"},
		{"another source has most, but not two more", []string{"s a 1", "s b 2", "s c 3", "t d 4", "t d 5"}, "t f", "t d 5"},
	} {
		q := line(test.turns...)
		got := ""
		if spare := q.spare(strings.Fields(test.path)); spare != nil {
			got = spare.String()
			q.remove(spare)
			if q.waiting != len(test.turns)-1 || slices.Contains(drained(q), got) {
				t.Errorf("%s: %q is not gone", test.name, got)
			}
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// Whatever is pushed, taken and removed: turns of a path leave in order, paths that wait all along leave as often as each other,
// and nothing is kept of those that are empty.
func TestQueueAtRandom(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	q, waiting := new(queue), make(map[string][]*turn)
	taken := make(map[string]int) // from each path, since any path was last empty
	count := 0
	for i := range int64(20_000) {
		s := fmt.Sprintf("%c %c", 's'+rnd.IntN(2), 'a'+rnd.IntN(3))
		switch rnd.IntN(5) {
		case 0, 1:
			next := &turn{bytes: i, path: strings.Fields(s)}
			if len(waiting[s]) == 0 {
				clear(taken)
			}
			q.push(next)
			waiting[s] = append(waiting[s], next)
			count++
		case 2, 3:
			front := q.front()
			if front == nil {
				break
			}
			q.take()
			s = strings.Join(front.path, " ")
			if waiting[s][0] != front {
				t.Fatalf("%v is not the first of its path", front)
			}
			waiting[s] = waiting[s][1:]
			count--
			taken[s]++
			for other, turns := range waiting {
				if len(turns) > 0 && other[0] == s[0] && taken[s] > taken[other]+1 {
					t.Fatalf("%s had %d turns, and %s, which waits, %d", s, taken[s], other, taken[other])
				}
			}
			if len(waiting[s]) == 0 {
				clear(taken)
			}
		case 4:
			if turns := waiting[s]; len(turns) > 0 {
				n := rnd.IntN(len(turns))
				q.remove(turns[n])
				waiting[s] = slices.Delete(turns, n, n+1)
				count--
				clear(taken)
			}
		}
		sum := 0
		for e := q.parts.Front(); e != nil; e = e.Next() {
			source := e.Value.(*queue)
			for e := source.parts.Front(); e != nil; e = e.Next() {
				client := e.Value.(*queue)
				if client.waiting == 0 || client.waiting != client.turns.Len() {
					t.Fatal("a client's count is off")
				}
				sum += client.waiting
			}
			if len(source.byName) != source.parts.Len() {
				t.Fatal("a client is not forgotten")
			}
		}
		if sum != count || q.waiting != count || len(q.byName) != q.parts.Len() {
			t.Fatalf("%d wait, the queue says %d", sum, q.waiting)
		}
	}
}
