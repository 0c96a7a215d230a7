package sim

import (
	"math"
	"time"
)

// A Model is what the formulas of docs/scale.md say of a run.
type Model struct {
	Messages float64       // a second at the servers
	Busy     float64       // part of the time in which the servers have work
	InForce  time.Duration // half of the purges are in force, on the node that was asked, by then
	P50, P99 time.Duration // from a purge to Done
	Current  float64       // part of the time in which a node is current
}

// Predict is the model.
func Predict(o Options) Model {
	n := float64(o.Nodes)
	beats := n / (o.Bound / 5).Seconds()
	var m Model

	// A beat comes once and goes to each. A purge comes, is acknowledged and goes to each; a flush comes and goes to the others, and each
	// answers, which comes and goes; three writes of the job come, are acknowledged and go to each. A fill is looked up, written, and goes to each.
	m.Messages = beats*(1+n) + o.Purges*((2+n)+(1+3*(n-1))+3*(2+n))
	if o.Fills > 0 {
		// An image is looked up once by each node after each purge of it, if there is time for that, and fetched by about one.
		each := o.Fills / float64(o.Images)
		purged := o.Purges / float64(o.Images)
		misses := n * float64(o.Images) * each * purged / (each + purged)
		m.Messages += misses*2 + min(misses, o.Purges)*(1+n)
	}
	m.Busy = m.Messages * o.Message.Seconds()

	// What comes waits for what is being told to all: on average half of that, as often as the servers are at it, and for what waits already.
	visit, all := math.Inf(1), math.Inf(1)
	if m.Busy < 1 {
		visit = o.Message.Seconds() + m.Busy*n*o.Message.Seconds()/2/(1-m.Busy)
		all = n * o.Message.Seconds() / (1 - m.Busy)
	}
	link, store := o.Link.Median.Seconds(), o.Store.Median.Seconds()
	sure := 2*link + store + 2*visit // a write, with its acknowledgement

	// Two writes of the job, and between them the purge, which comes back from the stream.
	inForce := 3*sure + all/2 + o.Apply.Median.Seconds()
	m.InForce = seconds(inForce)

	// The slowest of so many answers, each of which is the work and four ways, there and back through the servers; and what they take to ask all.
	slowest := func(q float64) float64 {
		if o.Nodes == 1 {
			return o.Work.quantile(q).Seconds()
		}
		return o.Work.quantile(math.Pow(q, 1/n)).Seconds() + 4*link + all + 4*visit
	}
	m.P50 = seconds(inForce + slowest(0.5) + sure)
	m.P99 = seconds(inForce + slowest(0.99) + sure)

	// A node is current for Bound from when it sent the last beat that it has read back. Of an outage it notices what is longer than that, with the
	// time to the last beat before and to the first one after.
	m.Current = 1
	if o.Cuts > 0 {
		spare := o.Bound - o.Bound/5 - 300*time.Millisecond - 4*o.Link.Median
		m.Current = 1 - o.Cut.Seconds()*math.Exp(-max(0, spare.Seconds())/o.Cut.Seconds())/(o.Cuts+o.Cut).Seconds()
	}
	return m
}

func seconds(s float64) time.Duration {
	if s > 1e6 {
		return 1e6 * time.Second
	}
	return time.Duration(s * float64(time.Second))
}
