// Package sim plays a cluster in simulated time: nodes that beat, fill and purge, servers with a queue, links that delay, lose and are cut, clocks of different speeds. It is
// to check two things of docs/scale.md: that the formulas there have the right shape, for numbers of nodes that nobody starts for a test; and that the rules of
// package cluster keep purged images from being served, in more orders of events than tests of real nodes see.
//
// The rules are written down here once more, as plainly as they can be, and none of the code of package cluster runs. So what is shown is that the rules are right, not
// that the code follows them: [Fault] breaks each rule, and the checks have to notice.
//
// All is drawn from [Options].Seed. One run is one goroutine.
package sim

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Options describe a cluster and what happens to it. Durations are those of the real world's clock unless a node measures them.
type Options struct {
	Seed  uint64
	Nodes int
	For   time.Duration // how long purges come; then the run goes on until all are done, for at most as long again

	Bound time.Duration // how long a node is current; a beat is sent each fifth of it

	// Link is the way between a node and the servers, in one direction; Store until a message that has come is in a stream; Apply until a node has
	// carried a purge out; Work until it has freed what it had; Origin until an origin has answered.
	Link, Store, Apply, Work, Origin Delay

	// Message is what servers take for each message that comes or goes, one after the other.
	Message time.Duration

	Purges float64 // a second, of all nodes
	Fills  float64 // a second of each node: looks at an image that is fetched if it is not there
	Images int     // that purges and fills are about

	Clocks float64       // how much faster the fastest clock may be than the slowest: 0.1 is a tenth
	Drop   float64       // of messages
	Cuts   time.Duration // between two of a node's, on average; zero means none
	Cut    time.Duration // length of one, on average
	OneWay float64       // of cuts, what part stops only one direction
	Dies   float64       // of cuts, what part is a process that is killed and started again
	Fault  Fault
}

// A Fault is a rule that is broken on purpose.
type Fault int

const (
	None            Fault = iota
	ShortPatience         // a node is taken for lost before it has stopped serving
	CurrentFromRead       // a node is current from when it read its beat, not from when it sent it
	AnswerAtOnce          // a node answers a flush before it has carried out the purge
	UnmarkedNames         // what other nodes have fetched is used without a look at what was purged since
	UnseenGap             // a node does not notice that a message of the stream is missing
	ServesCutOff          // nodes that are cut off serve what they know: the policy "available"
	ForgetsPosition       // a node that was started again goes on from the end of the stream
	ResumesAtOnce         // who goes on with a job, its own of before a restart or one of a lost node, asks those that it knows of, about what it has carried out
)

// A Delay is drawn from a log-normal distribution.
type Delay struct {
	Median time.Duration
	Sigma  float64 // of the logarithm
}

func (d Delay) draw(r *rand.Rand) time.Duration {
	if d.Sigma == 0 {
		return d.Median
	}
	return time.Duration(float64(d.Median) * math.Exp(d.Sigma*r.NormFloat64()))
}

// quantile is what a part q of delays does not exceed.
func (d Delay) quantile(q float64) time.Duration {
	if q <= 0 {
		return 0
	}
	return time.Duration(float64(d.Median) * math.Exp(d.Sigma*math.Sqrt2*math.Erfinv(2*q-1)))
}

// A Result is what came of a run.
type Result struct {
	Purges   int             // that were begun
	Refused  int             // of them, by nodes that were cut off
	Lost     int             // whose node died before the job was kept
	Resumed  int             // whose node died, and that it or another went on with
	Open     int             // that were not done at the end
	Times    []time.Duration // from a purge to Done, of those whose node was not cut off meanwhile; ascending
	InForce  []time.Duration // from a purge to its acknowledgement, ascending
	Left     int             // nodes that a purge did not wait for
	Messages float64         // a second at the servers, those that come and those that go
	Busy     float64         // part of the time in which the servers had work
	Current  float64         // part of the nodes' time in which they were current, after all had begun
	Wrong    []string        // times that a node would have served what was purged and done
}

// Quantile is what a part q of sorted durations does not exceed.
func Quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// An event is something that happens at a time: a message of the stream that has come to a node and been read, or anything else.
type event struct {
	at    time.Duration
	order uint64 // among those of the same time
	do    func()

	to    *node
	m     *message
	epoch int // of the node's connection
	count int // by the consumer's count
}

// world is a run.
type world struct {
	o       Options
	r       *rand.Rand
	now     time.Duration
	order   uint64
	events  []event // a heap: each has four below it
	nodes   []*node
	server  server
	bucket  []shared // names, by image
	origin  []int    // version of each image
	done    []int    // version that has been purged and done of each image: nothing older may be served
	jobs    map[*job]bool
	orphans []*job // whose owner has died
	res     Result
	warm    time.Duration // from here on time counts
}

// Run plays a cluster.
func Run(o Options) Result {
	w := &world{o: o, r: rand.New(rand.NewPCG(o.Seed, 0x5ca1e)), jobs: make(map[*job]bool), warm: 2 * o.Bound}
	w.bucket, w.origin, w.done = make([]shared, o.Images), make([]int, o.Images), make([]int, o.Images)
	for i := range w.origin {
		w.origin[i] = 1
	}
	for i := range o.Nodes {
		w.nodes = append(w.nodes, newNode(w, i))
	}
	for _, n := range w.nodes {
		n.join()
	}
	if o.Purges > 0 {
		w.after(w.warm, w.nextPurge)
	}
	end := w.warm + o.For
	measured := false
	for len(w.events) > 0 && w.now < end+o.For {
		e := w.pop()
		w.now = e.at
		if !measured && w.now >= end {
			measured = true
			w.measure(end)
		}
		if measured && len(w.jobs) == 0 {
			break
		}
		if e.do != nil {
			e.do()
		} else {
			e.to.heard(e)
		}
	}
	if !measured {
		w.measure(end)
	}
	w.res.Open = len(w.jobs)
	slices.Sort(w.res.Times)
	slices.Sort(w.res.InForce)
	return w.res
}

// measure notes what counts until the end of the time in which purges come.
func (w *world) measure(end time.Duration) {
	took := (end - w.warm).Seconds()
	w.res.Messages = float64(w.server.messages) / took
	w.res.Busy = w.server.worked.Seconds() / took
	for _, n := range w.nodes {
		n.account(end)
		w.res.Current += n.served.Seconds() / took / float64(len(w.nodes))
	}
}

func (w *world) after(d time.Duration, do func()) { w.push(event{at: w.now + d, do: do}) }

func (w *world) push(e event) {
	w.order++
	e.order = w.order
	h := append(w.events, e)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !e.before(&h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = e
	w.events = h
}

func (w *world) pop() event {
	h := w.events
	first, e := h[0], h[len(h)-1]
	h[len(h)-1] = event{}
	h = h[:len(h)-1]
	w.events = h
	for i := 0; len(h) > 0; {
		least := i
		h[i] = e
		for c := 4*i + 1; c <= 4*i+4 && c < len(h); c++ {
			if h[c].before(&h[least]) {
				least = c
			}
		}
		if least == i {
			break
		}
		h[i] = h[least]
		i = least
	}
	return first
}

func (e *event) before(other *event) bool {
	return e.at < other.at || e.at == other.at && e.order < other.order
}

// exponential draws a time between two things that happen so many times a second.
func (w *world) exponential(perSecond float64) time.Duration {
	return time.Duration(w.r.ExpFloat64() / perSecond * float64(time.Second))
}

// A server is the servers together: one queue, and the streams that they keep.
type server struct {
	free     time.Duration // when what waits is done
	worked   time.Duration
	messages int
	stored   time.Duration // when the last message came to be in the stream
	stream   []*message    // by sequence, from 1
}

// A message is one of the stream.
type message struct {
	seq      int
	at       time.Duration
	from     *node
	instance int // of from
	number   int // of a beat
	sent     time.Duration
	image    int // of a purge, else -1
	ack      func(seq int)
}

// takes is when the servers have handled n messages more.
func (w *world) takes(n int) time.Duration {
	s := &w.server
	s.free = max(s.free, w.now) + time.Duration(n)*w.o.Message
	if w.now >= w.warm && w.now < w.warm+w.o.For {
		s.worked += time.Duration(n) * w.o.Message
		s.messages += n
	}
	return s.free
}

// publish has a message that comes to the servers now put into the stream, and told to all nodes.
func (w *world) publish(m *message) {
	s := &w.server
	s.stored = max(s.stored, w.takes(1)+w.o.Store.draw(w.r))
	w.after(s.stored-w.now, func() {
		m.at = w.now
		s.stream = append(s.stream, m)
		m.seq = len(s.stream)
		if m.ack != nil {
			m.from.send(w.takes(1), m.instance, func() { m.ack(m.seq) })
		}
		first := w.r.IntN(len(w.nodes))
		for i := range w.nodes {
			n := w.nodes[(first+i)%len(w.nodes)]
			if n.follows {
				n.push(m, w.takes(1))
			}
		}
	})
}

// replay sends a node what the stream has from a sequence on, but for beats that are too old.
func (w *world) replay(n *node, from int) {
	expired := w.now - 3*w.o.Bound - time.Second
	for _, m := range w.server.stream[min(from-1, len(w.server.stream)):] {
		if m.image < 0 && m.at < expired {
			continue
		}
		n.push(m, w.takes(1))
	}
}

// write has a node write something that all nodes watch, such as a job. stored is called when the servers have it, then when the node knows that.
func (n *node) write(stored, then func()) {
	w, instance := n.w, n.instance
	var try func()
	sure := false
	try = func() {
		if sure || n.instance != instance || n.down {
			return
		}
		n.toServer(func() {
			at := w.takes(1) + w.o.Store.draw(w.r)
			w.after(at-w.now, func() {
				if stored != nil {
					stored()
				}
				n.send(w.takes(1), instance, func() {
					if !sure {
						sure = true
						then()
					}
				})
				w.takes(len(w.nodes))
			})
		})
		w.after(5*time.Second, try)
	}
	try()
}
