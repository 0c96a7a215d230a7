package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/imagecdn/imagecdn/purge"
)

// Subjects of the second part of a purge. Nothing of it is in a stream: what is lost is asked for again.
const (
	flushSubject = ".flush."       // and "all", or an instance: who is to carry a flush out
	replySubject = ".flush.reply." // and the instance that asked
)

// A flushRequest asks a node to free what a purge has left it.
type flushRequest struct {
	Flush    purge.NodeFlush `json:"flush"`
	Number   uint64          `json:"number"`   // of the flush, by who asks
	Position uint64          `json:"position"` // that the node must have carried out before
}

type flushReply struct {
	Instance string           `json:"instance"`
	Number   uint64           `json:"number"`
	Result   purge.PathResult `json:"result"`
	Error    string           `json:"error,omitempty"`
	Working  bool             `json:"working,omitempty"` // there is no result yet
}

// flushes are those that this node asks for, and those that it is asked for.
type flushes struct {
	c      *Cluster
	number atomic.Uint64
	subs   []*nats.Subscription

	mu     sync.Mutex // guards asking and done
	asking map[uint64]chan flushReply
	done   map[string]*flushed // by who asked, and the number
	order  []string            // of done, oldest first

	todo chan func()
}

// A flushed is a flush that this node was asked for.
type flushed struct {
	over  bool
	reply []byte
}

const (
	maxRemembered = 10_000 // flushes that this node was asked for
	maxTodo       = 10_000 // of them, what waits; what is beyond is asked for again
	flushWorkers  = 16
	askAgain      = time.Second
	flushTimeout  = time.Hour       // for a whole cache, at the most
	maxSilence    = 2 * time.Minute // of a node that is there
	maxTries      = 4               // after which a node that fails to free what it has is given up
)

func newFlushes(c *Cluster) *flushes {
	return &flushes{c: c, asking: make(map[uint64]chan flushReply), done: make(map[string]*flushed), todo: make(chan func(), maxTodo)}
}

// listen begins to answer.
func (f *flushes) listen() error {
	p := f.c.o.Prefix
	for subject, handle := range map[string]nats.MsgHandler{
		p + flushSubject + "all":                 f.asked,
		p + flushSubject + "one." + f.c.instance: f.asked,
		p + replySubject + f.c.instance:          f.answered,
	} {
		sub, err := f.c.nc.Subscribe(subject, handle)
		if err != nil {
			return err
		}
		f.subs = append(f.subs, sub)
	}
	for range flushWorkers {
		f.c.work.Go(func() {
			for {
				select {
				case do := <-f.todo:
					do()
				case <-f.c.ctx.Done():
					return
				}
			}
		})
	}
	return nil
}

func (f *flushes) close() {
	for _, s := range f.subs {
		_ = s.Unsubscribe()
	}
}

// asked is called with each request, one at a time.
func (f *flushes) asked(m *nats.Msg) {
	var q flushRequest
	from := strings.TrimPrefix(m.Reply, f.c.o.Prefix+replySubject)
	if from == f.c.instance || from == m.Reply || decode(m.Data, &q, false) != nil {
		return
	}
	key := from + " " + strconv.FormatUint(q.Number, 10)
	f.mu.Lock()
	defer f.mu.Unlock()
	if d := f.done[key]; d != nil {
		reply := d.reply
		if !d.over {
			reply, _ = json.Marshal(flushReply{Instance: f.c.instance, Number: q.Number, Working: true})
		}
		_ = f.c.nc.Publish(m.Reply, reply)
		return
	}
	d := new(flushed)
	select {
	case f.todo <- func() { f.carryOut(m.Reply, q, d, key) }:
	default:
		return // it is asked again
	}
	f.done[key] = d
	f.order = append(f.order, key)
	if len(f.order) > maxRemembered {
		delete(f.done, f.order[0])
		f.order = f.order[1:]
	}
}

// carryOut does what another node asks for, and answers.
func (f *flushes) carryOut(reply string, q flushRequest, d *flushed, key string) {
	ctx, cancel := context.WithTimeout(f.c.ctx, flushTimeout)
	defer cancel()
	a := flushReply{Instance: f.c.instance, Number: q.Number}
	err := f.c.waitAwhile(ctx, q.Position, maxSilence)
	if err == nil {
		if a.Result, err = f.free(ctx, q.Flush); err == nil {
			f.c.stales.compared(q.Flush, q.Position, func(string) bool { return false })
		}
	}
	if f.c.ctx.Err() != nil {
		return
	}
	if err != nil {
		a.Error = err.Error()
	}
	data, err := json.Marshal(a)
	if err != nil {
		return
	}
	f.mu.Lock()
	if a.Error != "" {
		delete(f.done, key) // who asks again may have better luck
	}
	d.over, d.reply = true, data
	f.mu.Unlock()
	_ = f.c.nc.Publish(reply, data)
}

func (f *flushes) free(ctx context.Context, flush purge.NodeFlush) (res purge.PathResult, err error) {
	defer func() {
		if p := recover(); p != nil {
			f.c.o.Logger.Error("cluster: a flush panicked", "job", flush.ID, "panic", p)
			err = fmt.Errorf("the node panicked: %v", p)
		}
	}()
	return f.c.node.Load().Flush(ctx, flush)
}

func (f *flushes) answered(m *nats.Msg) {
	var a flushReply
	if json.Unmarshal(m.Data, &a) != nil {
		return
	}
	f.mu.Lock()
	replies := f.asking[a.Number]
	f.mu.Unlock()
	if replies == nil {
		return
	}
	select {
	case replies <- a:
	case <-f.c.ctx.Done():
	default: // it is asked again
	}
}

// catchUp waits until this node has carried out all that was accepted before the call, and so knows of every node that was current before.
func (c *Cluster) catchUp(ctx context.Context) error {
	for failed := 0; ; failed++ {
		if c.usurped.Load() {
			return errUsurped
		}
		asking, cancel := context.WithTimeout(ctx, c.o.Bound)
		seq, err := c.mark(asking)
		cancel()
		if err == nil && c.waitAwhile(ctx, seq, c.o.Bound+5*time.Second) == nil {
			return nil
		}
		select { // the stream is away, or is another by now
		case <-time.After(backoff(failed)):
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.ctx.Done():
			return purge.ErrClosed
		}
	}
}

// Flush implements [purge.Nodes].
func (c *Cluster) Flush(ctx context.Context, flush purge.NodeFlush, report func(purge.NodeResult)) {
	f := c.flushes
	if flush.Resumed || c.applied.Load() < c.skip.Load() { // else it is behind the purge, which this node has accepted
		if err := c.catchUp(ctx); err != nil {
			if ctx.Err() == nil && c.ctx.Err() == nil {
				report(purge.NodeResult{Name: c.o.Name, State: purge.Error, Outcome: purge.Failing, Reason: err.Error()})
			}
			return
		}
	}
	q := flushRequest{Flush: flush, Number: f.number.Add(1), Position: c.applied.Load()}
	data, err := encode(q)
	if err == nil && len(data) > int(c.nc.MaxPayload()) {
		err = fmt.Errorf("the paths take %d bytes, and a message may have %d", len(data), c.nc.MaxPayload())
	}
	if err != nil {
		report(purge.NodeResult{Name: c.o.Name, State: purge.Error, Outcome: purge.Failing, Reason: err.Error()})
		return
	}
	c.stales.compared(flush, q.Position, c.node.Load().Marked) // by a purge that has come since the origin was asked here
	if flush.Mode == purge.Delete && flush.Scope == purge.Original {
		c.forgetNames(flush.Paths, q.Position)
	}
	nodes, changed := c.members.others()
	if len(nodes) == 0 {
		return
	}
	replies := make(chan flushReply, 2*len(nodes)+16)
	f.mu.Lock()
	f.asking[q.Number] = replies
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.asking, q.Number)
		f.mu.Unlock()
	}()
	names := make(map[string]int) // of those that are waited for: a name may have two instances for a while
	for _, name := range nodes {
		if names[name]++; names[name] == 1 {
			report(purge.NodeResult{Name: name, State: purge.FlushingServers})
		}
	}
	reply := c.o.Prefix + replySubject + c.instance
	ask := func(to string) {
		_ = c.nc.PublishRequest(c.o.Prefix+flushSubject+to, reply, data)
	}
	ask("all")
	results := make(map[string]purge.NodeResult)
	// end notes what became of an instance. Of two of one name, that which did something is told.
	end := func(instance string, r purge.NodeResult) {
		name := nodes[instance]
		delete(nodes, instance)
		r.Name = name
		if was, ok := results[name]; ok && r.Outcome == purge.Left {
			r = was
		}
		results[name] = r
		if names[name]--; names[name] == 0 {
			report(r)
		}
	}
	again := time.NewTicker(askAgain)
	defer again.Stop()
	tries, heard := make(map[string]int), make(map[string]time.Time)
	for instance := range nodes {
		heard[instance] = time.Now()
	}
	for len(nodes) > 0 {
		select {
		case a := <-replies:
			heard[a.Instance] = time.Now()
			if nodes[a.Instance] == "" || a.Working {
				continue
			}
			switch tries[a.Instance]++; {
			case a.Error == "":
				end(a.Instance, purge.NodeResult{State: purge.Done, Outcome: purge.Flushed, Originals: a.Result.Originals, Derivatives: a.Result.Derivatives,
					Composites: a.Result.Composites, Bytes: a.Result.Bytes, Changed: a.Result.Outcome == purge.Changed})
			case tries[a.Instance] >= maxTries:
				end(a.Instance, purge.NodeResult{State: purge.Error, Outcome: purge.Failing, Reason: a.Error})
			default:
				report(purge.NodeResult{Name: nodes[a.Instance], State: purge.FlushingServers, Reason: a.Error})
			}
		case <-changed:
			var now map[string]string
			now, changed = c.members.others()
			for instance := range nodes {
				if now[instance] == "" {
					end(instance, purge.NodeResult{State: purge.Done, Outcome: purge.Left,
						Reason: "the node is gone or cut off: it serves nothing of before, and carries the purge out before it does again"})
				}
			}
		case <-again.C:
			if applied := c.applied.Load(); applied >= c.skip.Load() && applied < q.Position { // as that of others will be
				for instance := range nodes {
					end(instance, purge.NodeResult{State: purge.Error, Outcome: purge.Failing, Reason: "the stream of purges was lost meanwhile, and the node begins with nothing"})
				}
				continue
			}
			for instance := range nodes {
				if time.Since(heard[instance]) > maxSilence {
					end(instance, purge.NodeResult{State: purge.Error, Outcome: purge.Failing, Reason: "the node is there, and does not answer"})
					continue
				}
				ask("one." + instance)
			}
		case <-ctx.Done():
			return
		case <-c.ctx.Done():
			return
		}
	}
}
