package sim

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// A node is one of the cluster. What it knows of others it knows from messages; w.now it uses for its own clock alone.
type node struct {
	w     *world
	index int
	speed float64 // of its clock

	// The connection.
	down     bool // the process is not there
	in, out  bool // whether messages come, and go
	epoch    int  // counts connections
	follows  bool // the servers send it the stream
	pushed   int  // messages of the stream that were sent in this connection
	came     int  // those that were read
	lastIn   time.Duration
	lastOut  time.Duration
	reading  time.Duration // until when what has come is being carried out
	instance int

	// What lasts over restarts.
	table []int // version of each image, 0 where none is kept
	kept  int   // position

	// What does not.
	applied int
	skip    int // purges up to here the table has
	until   time.Duration
	beats   int
	sentAt  map[int]time.Duration // of beats, by its own clock
	seen    []time.Duration       // by node: when a beat of it was read, by its own clock
	member  []bool                // by node: whether it is waited for
	began   time.Duration         // when it had its first message
	marks   []int                 // by image: the last purge
	leases  []int                 // by image: how many purges were carried out
	flushes []flush               // that it was asked for and waits with
	own     []*job
	resumed []resumed

	counted time.Duration // up to when served is right
	served  time.Duration // how long it was current
}

// shared is a name in the bucket.
type shared struct{ version, at int }

type flush struct {
	j        *job
	number   int // of those of j
	position int
	instance int // of who asks
}

// resumed is a job that waits for a beat with a number, or a later one, to be read back.
type resumed struct {
	j    *job
	beat int
}

// A job is a purge of an image, at the node that took it.
type job struct {
	owner    *node
	image    int
	version  int // what the origin has from now on
	began    time.Duration
	position int
	kept     bool   // the servers have the record, and know the position
	orphan   bool   // its owner has died
	acked    bool   // it has been carried out where it was asked for
	flushes  int    // how often all were asked
	wait     []bool // by node
	left     int    // of wait
	cut      bool   // the owner was cut off meanwhile
}

func newNode(w *world, index int) *node {
	n := &node{w: w, index: index, in: true, out: true, table: make([]int, w.o.Images)}
	n.speed = 1 + w.o.Clocks*w.r.Float64()
	return n
}

// clock is the node's own.
func (n *node) clock() time.Duration { return time.Duration(float64(n.w.now) * n.speed) }

// real is how long the world takes for what this node's clock measures.
func (n *node) real(d time.Duration) time.Duration { return time.Duration(float64(d) / n.speed) }

func (n *node) patience() time.Duration {
	if n.w.o.Fault == ShortPatience {
		return n.w.o.Bound * 6 / 10
	}
	return n.w.o.Bound * 6 / 5
}

// join starts the process.
func (n *node) join() {
	o := n.w.o
	n.instance++
	n.down, n.applied, n.skip, n.until, n.began = false, 0, n.kept, 0, -1
	n.sentAt, n.own, n.flushes, n.resumed = make(map[int]time.Duration), nil, nil, nil
	n.seen, n.member = make([]time.Duration, o.Nodes), make([]bool, o.Nodes)
	n.marks, n.leases = make([]int, o.Images), make([]int, o.Images)
	n.connect()
	instance := n.instance
	alive := func() bool { return n.instance == instance && !n.down }
	interval := o.Bound / 5
	var beat, look func()
	beat = func() {
		if alive() {
			n.beat()
			n.w.after(n.real(interval), beat)
		}
	}
	n.w.after(time.Duration(n.w.r.Float64()*float64(interval)), beat)
	if o.Fills > 0 {
		look = func() {
			if alive() {
				n.look(n.w.r.IntN(o.Images))
				n.w.after(n.w.exponential(o.Fills), look)
			}
		}
		n.w.after(n.w.exponential(o.Fills), look)
	}
	if o.Cuts > 0 {
		n.w.after(n.w.exponential(1/o.Cuts.Seconds()), func() {
			if alive() {
				n.cut()
			}
		})
	}
}

// cut takes the connection away for a while, or the process.
func (n *node) cut() {
	w := n.w
	n.account(w.now)
	for _, j := range n.own {
		j.cut = true
	}
	length := w.exponential(1 / w.o.Cut.Seconds())
	n.epoch++
	n.in, n.out, n.follows = false, false, false
	switch {
	case w.r.Float64() < w.o.Dies:
		n.down, n.until = true, 0
		for _, j := range n.own {
			switch {
			case !w.jobs[j]:
			case j.kept:
				j.orphan = true
				w.orphans = append(w.orphans, j)
			default:
				delete(w.jobs, j)
				w.res.Lost++
			}
		}
		w.after(length, n.restart)
		return
	case w.r.Float64() < w.o.OneWay:
		if w.r.IntN(2) == 0 {
			n.in, n.follows = true, true
			n.pushed, n.came = 0, 0
			n.w.replay(n, n.applied+1)
		} else {
			n.out = true
		}
	}
	instance := n.instance
	w.after(length+200*time.Millisecond+time.Duration(w.r.Float64()*float64(200*time.Millisecond)), func() {
		if n.instance == instance {
			n.connect()
			w.after(w.exponential(1/w.o.Cuts.Seconds()), func() {
				if n.instance == instance && !n.down {
					n.cut()
				}
			})
		}
	})
}

func (n *node) restart() {
	if n.w.o.Fault == ForgetsPosition {
		n.kept = math.MaxInt
	}
	n.join()
	for _, j := range slices.Clone(n.w.orphans) {
		if j.owner == n {
			n.resume(j)
		}
	}
}

// resume has a node go on with a job whose owner has died, be that itself. It knows neither whether it has carried the purge out, nor all nodes: both, as soon as it has read a
// beat that it sends from now on.
func (n *node) resume(j *job) {
	w := n.w
	w.orphans = slices.DeleteFunc(w.orphans, func(other *job) bool { return other == j })
	w.res.Resumed++
	j.owner, j.orphan = n, false
	n.own = append(n.own, j)
	if w.o.Fault == ResumesAtOnce {
		n.tellAll(j)
		return
	}
	n.resumed = append(n.resumed, resumed{j, n.beats + 1})
}

// connect makes the connection anew and has the stream read from where it was applied.
func (n *node) connect() {
	n.epoch++
	n.in, n.out, n.follows = true, true, false
	epoch := n.epoch
	n.toServer(func() {
		if n.epoch == epoch {
			n.follows, n.pushed, n.came = true, 0, 0
			n.w.replay(n, n.applied+1)
		}
	})
	// What is asked for again where nothing comes of that.
	n.w.after(2*time.Second, func() {
		if n.epoch == epoch && !n.follows && !n.down {
			n.connect()
		}
	})
}

// toServer has something happen at the servers, if it gets there. What goes through a connection keeps its order.
func (n *node) toServer(do func()) {
	if !n.out || n.down || n.w.r.Float64() < n.w.o.Drop {
		return
	}
	n.lastOut = max(n.lastOut, n.w.now+n.w.o.Link.draw(n.w.r))
	epoch := n.epoch
	n.w.after(n.lastOut-n.w.now, func() {
		if n.epoch == epoch {
			do()
		}
	})
}

// send has something that the servers send at a time happen at the node, if it gets there and that is still the same process.
func (n *node) send(at time.Duration, instance int, do func()) {
	w := n.w
	if !n.in || n.down || w.r.Float64() < w.o.Drop {
		return
	}
	n.lastIn = max(n.lastIn, at+w.o.Link.draw(w.r))
	epoch := n.epoch
	w.after(n.lastIn-w.now, func() {
		if n.epoch == epoch && n.instance == instance {
			do()
		}
	})
}

// push sends a message of the stream.
func (n *node) push(m *message, at time.Duration) {
	w := n.w
	n.pushed++
	if !n.in || n.down || w.o.Drop > 0 && w.r.Float64() < w.o.Drop {
		return
	}
	n.lastIn = max(n.lastIn, at+w.o.Link.draw(w.r))
	n.reading = max(n.reading, n.lastIn)
	if m.image >= 0 {
		n.reading += w.o.Apply.draw(w.r)
	}
	w.push(event{at: n.reading, to: n, m: m, epoch: n.epoch, count: n.pushed})
}

// heard is called when a message of the stream was read, and carried out.
func (n *node) heard(e event) {
	if n.epoch != e.epoch || n.down {
		return
	}
	if n.came++; n.came != e.count {
		if n.w.o.Fault != UnseenGap {
			n.connect()
			return
		}
		n.came = e.count
	}
	m := e.m
	if n.began < 0 {
		n.began = n.clock()
	}
	if m.image >= 0 {
		n.marks[m.image] = m.seq
		if m.seq > n.skip {
			n.leases[m.image]++
			n.table[m.image] = 0
		}
	}
	n.applied, n.kept = m.seq, max(n.kept, m.seq)
	if n.w.o.Fault == ForgetsPosition && n.kept == math.MaxInt {
		n.skip, n.kept = len(n.w.server.stream), m.seq
	}
	for i := 0; i < len(n.flushes); {
		if f := n.flushes[i]; n.applied >= f.position {
			n.flushes = append(n.flushes[:i], n.flushes[i+1:]...)
			n.free(f)
			continue
		}
		i++
	}
	for _, j := range n.own {
		if !j.acked && j.position > 0 && n.applied >= j.position {
			n.acknowledge(j)
		}
	}
	if m.image >= 0 {
		return
	}
	now := n.clock()
	i := m.from.index
	n.seen[i], n.member[i] = now, true
	if m.from != n || m.instance != n.instance {
		return
	}
	if sent, ok := n.sentAt[m.number]; ok {
		delete(n.sentAt, m.number)
		from := sent
		if n.w.o.Fault == CurrentFromRead {
			from = now
		}
		n.isCurrentFrom(from)
		n.observe(sent)
		for _, r := range n.resumed {
			if m.number >= r.beat {
				n.tellAll(r.j)
			}
		}
		n.resumed = slices.DeleteFunc(n.resumed, func(r resumed) bool { return m.number >= r.beat })
	}
}

func (n *node) beat() {
	n.beats++
	now := n.clock()
	for number, t := range n.sentAt {
		if now-t > 3*n.w.o.Bound {
			delete(n.sentAt, number)
		}
	}
	n.sentAt[n.beats] = now
	m := &message{from: n, instance: n.instance, number: n.beats, image: -1}
	n.toServer(func() { n.w.publish(m) })
}

// current reports whether what the node knows may be served.
func (n *node) current() bool { return !n.down && n.clock() < n.until }

// serves is what the checks mean by that.
func (n *node) serves() bool {
	return n.current() || n.w.o.Fault == ServesCutOff && !n.down && n.until > 0
}

// account adds up the time for which the node was current until now.
func (n *node) account(now time.Duration) {
	from := max(n.counted, n.w.warm)
	to := min(now, time.Duration(float64(n.until)/n.speed), n.w.warm+n.w.o.For)
	if to > from {
		n.served += to - from
	}
	n.counted = now
}

func (n *node) isCurrentFrom(t time.Duration) {
	n.account(n.w.now)
	was := n.current()
	n.until = max(n.until, t+n.w.o.Bound)
	if !was && n.current() {
		for image := range n.table {
			n.check(image, "is current again")
		}
	}
}

// observe takes nodes for lost of which nothing was read for so long.
func (n *node) observe(sent time.Duration) {
	lost := false
	for i, is := range n.member {
		if is && i != n.index && sent-n.seen[i] >= n.patience() {
			n.member[i], lost = false, true
		}
	}
	if n.current() && n.began >= 0 && sent-n.began >= n.patience() {
		for _, j := range slices.Clone(n.w.orphans) {
			if !n.member[j.owner.index] {
				n.resume(j)
			}
		}
	}
	if !lost {
		return
	}
	for _, j := range n.own {
		for i, waited := range j.wait {
			if waited && !n.member[i] {
				n.w.res.Left++
				n.over(flush{j: j, number: j.flushes}, i)
			}
		}
	}
}

// look is a request for an image: what is not there is looked for among the names of others, and then fetched.
func (n *node) look(image int) {
	w := n.w
	if !n.current() || n.table[image] != 0 {
		return
	}
	instance, lease, at := n.instance, n.leases[image], n.applied
	keep := func(version int) {
		if n.instance == instance && n.leases[image] == lease && n.current() && version > 0 {
			n.table[image] = version
			n.check(image, "has learned it")
		}
	}
	ask := func() {
		w.after(w.o.Origin.draw(w.r), func() { // on its way
			version := w.origin[image]
			w.after(w.o.Origin.draw(w.r), func() {
				keep(version)
				n.toServer(func() { // told to the others whatever became of it here: who reads it has to know better
					w.takes(1)
					if b := &w.bucket[image]; at >= b.at {
						*b = shared{version, at}
						w.takes(len(w.nodes))
					}
				})
			})
		})
	}
	asked := false
	n.toServer(func() {
		found := w.bucket[image]
		n.send(w.takes(2), instance, func() {
			if asked {
				return
			}
			asked = true
			if found.version > 0 && (n.marks[image] <= found.at || w.o.Fault == UnmarkedNames) {
				keep(found.version)
				return
			}
			ask()
		})
	})
	w.after(250*time.Millisecond, func() {
		if !asked && n.instance == instance && !n.down {
			asked = true
			ask()
		}
	})
}

// check sees that what the node would serve of an image is nothing that was purged and done.
func (n *node) check(image int, why string) {
	w := n.w
	if v := n.table[image]; v > 0 && v < w.done[image] && n.serves() && len(w.res.Wrong) < 10 {
		w.res.Wrong = append(w.res.Wrong, fmt.Sprintf("at %v node %d %s: version %d of image %d, of which %d is done", w.now, n.index, why, v, image, w.done[image]))
	}
}

// nextPurge has a node purge an image that its origin has replaced.
func (w *world) nextPurge() {
	if w.now >= w.warm+w.o.For {
		return
	}
	w.after(w.exponential(w.o.Purges), w.nextPurge)
	n, image := w.nodes[w.r.IntN(len(w.nodes))], w.r.IntN(w.o.Images)
	if n.down {
		return
	}
	w.res.Purges++
	if !n.current() {
		w.res.Refused++
		return
	}
	w.origin[image]++
	j := &job{owner: n, image: image, version: w.origin[image], began: w.now, cut: !n.follows || !n.out}
	w.jobs[j] = true
	n.own = append(n.own, j)
	n.write(nil, func() { // the intent
		m := &message{from: n, instance: n.instance, image: image}
		acked := false
		m.ack = func(seq int) {
			acked = true
			if j.position == 0 {
				j.position = seq
				if n.applied >= seq {
					n.acknowledge(j)
				}
			}
		}
		instance := n.instance
		n.toServer(func() { w.publish(m) })
		w.after(5*time.Second, func() {
			if !acked && n.instance == instance && w.jobs[j] { // nothing was promised
				delete(w.jobs, j)
				n.disown(j)
				w.res.Refused++
			}
		})
	})
}

// acknowledge is called when the purge is in force here.
func (n *node) acknowledge(j *job) {
	j.acked = true
	n.write(func() { j.kept = true }, func() {
		if !j.cut {
			n.w.res.InForce = append(n.w.res.InForce, n.w.now-j.began)
		}
		n.tellAll(j)
	})
}

// tellAll asks the other nodes to free what they have.
func (n *node) tellAll(j *job) {
	w := n.w
	j.flushes++
	j.wait, j.left = make([]bool, w.o.Nodes), 1 // this one
	for i, is := range n.member {
		if is && i != n.index {
			j.wait[i] = true
			j.left++
		}
	}
	f := flush{j, j.flushes, n.applied, n.instance}
	n.toServer(func() {
		w.takes(1)
		for _, m := range w.nodes {
			if m != n {
				m.ask(f, w.takes(1))
			}
		}
	})
	n.askAgain(f)
	w.after(w.o.Work.draw(w.r), func() {
		if n.instance == f.instance && !n.down {
			n.over(f, -1)
		}
	})
}

func (n *node) disown(j *job) {
	n.own = slices.DeleteFunc(n.own, func(other *job) bool { return other == j })
}

// askAgain asks each second those that have not answered.
func (n *node) askAgain(f flush) {
	w := n.w
	w.after(n.real(time.Second), func() {
		if !w.jobs[f.j] || f.j.flushes != f.number || n.instance != f.instance || n.down {
			return
		}
		for i, waited := range f.j.wait {
			if waited {
				n.toServer(func() { w.nodes[i].ask(f, w.takes(2)) })
			}
		}
		n.askAgain(f)
	})
}

// ask brings a flush to a node.
func (n *node) ask(f flush, at time.Duration) {
	n.send(at, n.instance, func() {
		if n.applied >= f.position || n.w.o.Fault == AnswerAtOnce {
			n.free(f)
			return
		}
		n.flushes = append(n.flushes, f)
	})
}

// free does a node's part of a flush and answers.
func (n *node) free(f flush) {
	w, instance := n.w, n.instance
	w.after(w.o.Work.draw(w.r), func() {
		if n.instance != instance {
			return
		}
		n.toServer(func() {
			owner := f.j.owner
			owner.send(w.takes(2), f.instance, func() { owner.over(f, n.index) })
		})
	})
}

// over notes that a node needs not be waited for any more.
func (n *node) over(f flush, i int) {
	w, j := n.w, f.j
	if !w.jobs[j] || j.flushes != f.number || i >= 0 && !j.wait[i] {
		return
	}
	if i >= 0 {
		j.wait[i] = false
	}
	if j.left--; j.left > 0 {
		return
	}
	// All have answered. This is checked here, where the record says so, and not when that is sure.
	w.done[j.image] = max(w.done[j.image], j.version)
	for _, m := range w.nodes {
		m.check(j.image, "has it when the purge is done")
	}
	delete(w.jobs, j)
	n.write(nil, func() {
		n.disown(j)
		if !j.cut {
			w.res.Times = append(w.res.Times, w.now-j.began)
		}
	})
}
