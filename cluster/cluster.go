// Package cluster makes handlers of imagecdn on several machines one, on NATS JetStream: what one of them is told to forget, all have forgotten
// when the job is done.
//
//	c, err := cluster.Connect(ctx, "nats://10.0.0.5:4222", &cluster.Options{Name: "cdn-1"})
//	if err != nil {
//		return err
//	}
//	h, err := imagecdn.New(sources, &imagecdn.Options{Cluster: c}) // closes c
//
// # What is promised
//
// A job is done when every node that may serve has answered. A purge is a message in a stream, which every node reads in order and carries out. Each
// second a node puts a beat into the same stream; when it reads that back, it has carried out all that was accepted before the beat was sent, and so is
// current for [Options].Bound from when it sent it. A node that is not serves nothing of what it knows ([Options].Available may have it otherwise), and
// before it is current again it has read, in order, what it missed. The nodes that a job waits for are those whose beats were read; one whose
// beats stay away is waited for until it cannot be current any more, by the clock of who waits.
//
// No clock is compared with another's. That a node's clock runs a tenth slower than another's does no harm; that a machine is stopped, with its clocks, for longer than
// Bound, and does not notice it for the rest of Bound, would.
//
// Names that a node has fetched are shared in a bucket, jobs in another, and where the caches of nodes have a tier in common, each picture is made
// once: docs/scale.md has what this costs.
package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
)

// Options are the optional settings of a Cluster. What nodes have in common, Prefix, Replicas, Retention and MaxPurges, has to be the same on
// all; who comes first decides.
type Options struct {
	// Name is that of this node, which no other has: up to 64 letters, digits, "-" and "_". Zero means the host's name, with "-" for what may not be in it.
	Name string

	// Prefix is what subjects, the stream and buckets begin with, so that several clusters may share servers: up to 32 letters, digits, "-"
	// and "_". Zero means "imagecdn".
	Prefix string

	// Replicas is on how many servers each stream and bucket is: 1, 3 or 5. Zero means 1.
	Replicas int

	// Bound is how long a node that hears nothing of the others serves what it knows. It is also about how long a purge waits for
	// a node that has died. Zero means 5 seconds; the least is half a second.
	Bound time.Duration

	// Available has a node that is cut off serve what it knows, and say so in Cache-Status. Then a purge that the others say is done may be
	// undone, on that node alone, until it is back; browsers and CDNs are told not to keep such answers. Zero means that it asks the origin for each request, and has nobody keep the answer.
	Available bool

	// Retention is how long purges are kept for nodes that are away. One that comes back after more than half of it begins with
	// nothing. Zero means 24 hours; the least is a minute.
	Retention time.Duration

	// MaxPurges is the most purges that are kept, beats among them. Zero means 250,000.
	MaxPurges int64

	// OwnNames keeps names from being shared: each node asks the origins itself. Zero means that they are shared.
	OwnNames bool

	// OwnRenders has each node make its pictures itself. Zero means that each is made once, for which the caches have to have a tier in common, such as
	// package blobcache's.
	OwnRenders bool

	// Logger is told what an operator should know. Nil means that nothing is logged.
	Logger *slog.Logger
}

var (
	nodeNames  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	prefixes   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)
	notInNames = regexp.MustCompile(`[^A-Za-z0-9_-]+`)
)

// interval is how often a node sends a beat.
func (o *Options) interval() time.Duration { return o.Bound / 5 }

// patience is how long nothing has to be read of a node until it is lost: longer than it can be current, by what clocks may differ in speed.
func (o *Options) patience() time.Duration { return o.Bound + o.Bound/5 }

// beatTTL is how long a beat stays in the stream. Servers count in seconds.
func (o *Options) beatTTL() time.Duration {
	return (3*o.Bound + time.Second).Truncate(time.Second)
}

// HostName is what a node is called that is given no name: as its host, with "-" for what may not be in a node's name.
func HostName() (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", err
	}
	host = notInNames.ReplaceAllString(host, "-")
	return host[:min(len(host), 64)], nil
}

func (o *Options) withDefaults() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	if c.Name == "" {
		var err error
		if c.Name, err = HostName(); err != nil {
			return c, fmt.Errorf("cluster: Options.Name is not given, and the host has none: %w", err)
		}
	}
	c.Prefix = cmp.Or(c.Prefix, "imagecdn")
	c.Replicas = cmp.Or(c.Replicas, 1)
	c.Bound = cmp.Or(c.Bound, 5*time.Second)
	c.Retention = cmp.Or(c.Retention, 24*time.Hour)
	c.MaxPurges = cmp.Or(c.MaxPurges, 250_000)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	switch {
	case !nodeNames.MatchString(c.Name):
		return c, fmt.Errorf("cluster: Options.Name is %q; it may have up to 64 letters, digits, \"-\" and \"_\"", c.Name)
	case !prefixes.MatchString(c.Prefix):
		return c, fmt.Errorf("cluster: Options.Prefix is %q; it may have up to 32 letters, digits, \"-\" and \"_\"", c.Prefix)
	case c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5:
		return c, fmt.Errorf("cluster: Options.Replicas is %d; it may be 1, 3 or 5", c.Replicas)
	case c.Bound < 500*time.Millisecond:
		return c, fmt.Errorf("cluster: Options.Bound is %v; the least is 500ms", c.Bound)
	case c.Retention < time.Minute:
		return c, fmt.Errorf("cluster: Options.Retention is %v; the least is 1m", c.Retention)
	case c.MaxPurges < 1000:
		return c, fmt.Errorf("cluster: Options.MaxPurges is %d; the least is 1000", c.MaxPurges)
	}
	return c, nil
}

// Cluster is an [imagecdn.Cluster]. It is for one handler, which closes it.
//
// All methods are safe for concurrent use.
type Cluster struct {
	o        Options
	instance string // of this process
	nc       *nats.Conn
	ownsConn bool
	js       jetstream.JetStream

	ctx    context.Context // until Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	base    time.Time     // that durations count from, by the monotonic clock
	current atomic.Int64  // until when this node is current, in nanoseconds since base
	wall    atomic.Int64  // the same, by the wall clock: a machine that was stopped may see it there
	applied atomic.Uint64 // up to where everything was carried out on the table
	offset  atomic.Int64  // of the cluster's clock from this one's, in nanoseconds
	beaten  atomic.Uint64 // the last beat that was sent
	fencing sync.Mutex    // held while current and usurped change
	usurped atomic.Bool   // a younger process has this node's name, or this one has left
	younger atomic.Bool   // a younger process has this node's name
	joined  atomic.Bool
	log     atomic.Value  // a string: which stream it is, by when it was made
	skip    atomic.Uint64 // up to where purges are noted alone; before applied is there, nothing of others is to be trusted
	full    atomic.Bool   // the stream had so many purges, when it was read from its beginning, that some may have been dropped
	again   chan struct{} // has an element when the stream is to be read anew
	renew   chan struct{} // has an element when the buckets may be others

	node atomic.Pointer[joinedNode] // since Join

	marks   *marks
	stales  stales
	members *members
	waiting waiting // for applied
	flushes *flushes
	names   *names // nil where Options.OwnNames
	jobs    *jobs
	turns   *turns // nil where Options.OwnRenders

	sent struct { // beats that have not been read back
		sync.Mutex
		at map[uint64]time.Duration // since base, by number
	}
}

// Connect is [New] on a connection of its own to the servers at url: "nats://host:port", or several with commas between them. Where no server can be
// reached before ctx ends, that is an error.
func Connect(ctx context.Context, url string, o *Options, more ...nats.Option) (*Cluster, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(url, append([]nats.Option{
		nats.Name("imagecdn " + opts.Name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(200 * time.Millisecond),
		nats.ReconnectJitter(200*time.Millisecond, 200*time.Millisecond),
		nats.ReconnectBufSize(-1), // what cannot be sent is an error, and does not go out when nobody waits for it any more
		nats.PingInterval(2 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.Timeout(2 * time.Second),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			opts.Logger.Warn("cluster: the connection has a fault", "node", opts.Name, "error", err)
		}),
	}, more...)...)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	c, err := newCluster(ctx, nc, opts)
	if err != nil {
		nc.Close()
		return nil, err
	}
	c.ownsConn = true
	return c, nil
}

// New prepares this node for a cluster on nc, whose streams and buckets it makes where they are not there. It takes servers with JetStream, of version 2.11 or later.
// The caller closes nc, after the Cluster. ctx is for New alone.
func New(ctx context.Context, nc *nats.Conn, o *Options) (*Cluster, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return newCluster(ctx, nc, opts)
}

func newCluster(ctx context.Context, nc *nats.Conn, o Options) (*Cluster, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	c := &Cluster{o: o, instance: rand.Text(), nc: nc, js: js, base: time.Now(), again: make(chan struct{}, 1), renew: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.skip.Store(math.MaxUint64) // until it is known what is to be trusted
	c.sent.at = make(map[uint64]time.Duration)
	c.marks = newMarks(maxMarks)
	c.members = newMembers(c)
	c.flushes = newFlushes(c)
	if err := c.open(ctx); err != nil {
		c.cancel()
		c.closeBuckets()
		return nil, fmt.Errorf("cluster: %w", err)
	}
	c.work.Go(c.watchConnection)
	return c, nil
}

// open makes what the nodes have in common, or opens it, and tries again until ctx ends where servers are there that cannot do it yet: servers
// that have just begun look for each other first.
func (c *Cluster) open(ctx context.Context) error {
	wait, told := 100*time.Millisecond, false
	for patience := 2 * time.Second; ; patience = min(2*patience, 15*time.Second) { // a server without a leader may say nothing at all
		attempt, stop := context.WithTimeout(ctx, patience)
		err := c.openStream(attempt)
		if err == nil {
			err = c.openBuckets(attempt)
		}
		stop()
		if err == nil || !mayPass(err) {
			return err
		}
		if !told {
			c.o.Logger.Info("cluster: the servers are not ready, and are tried again", "node", c.o.Name, "error", err)
			told = true
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
		wait = min(2*wait, 2*time.Second)
	}
}

// mayPass reports whether servers may do later what they have refused with err.
func mayPass(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		// A stream that another node has just made is not known to each server yet.
		return api.Code == 503 || api.ErrorCode == noSuitablePeers || api.ErrorCode == jetstream.JSErrCodeStreamNotFound
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) ||
		errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrConnectionReconnecting) || errors.Is(err, nats.ErrDisconnected) ||
		errors.Is(err, nats.ErrReconnectBufExceeded)
}

// noSuitablePeers is the code of servers that are fewer than a stream is to be on.
const noSuitablePeers = 10005

// watchConnection has the stream read anew after each loss of the connection, until Close.
func (c *Cluster) watchConnection() {
	changes := c.nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.CLOSED)
	defer c.nc.RemoveStatusListener(changes)
	for {
		select {
		case s, ok := <-changes:
			if !ok {
				return
			}
			c.o.Logger.Info("cluster: the connection has changed", "node", c.o.Name, "to", s.String())
			if s == nats.CONNECTED {
				c.readAgain()
			}
		case <-c.ctx.Done():
			return
		}
	}
}

// Self implements [purge.Nodes].
func (c *Cluster) Self() string { return c.o.Name }

// Log implements [imagecdn.Cluster].
func (c *Cluster) Log() purge.SharedLog { return c.jobs }

// now is the time since c began, by the monotonic clock.
func (c *Cluster) now() time.Duration { return time.Since(c.base) }

// Currency implements [cache.Shared].
func (c *Cluster) Currency() cache.Currency {
	now := time.Now()
	if int64(now.Sub(c.base)) < c.current.Load() && now.UnixNano() < c.wall.Load() {
		return cache.Current
	}
	if c.o.Available && !c.usurped.Load() && c.applied.Load() > 0 {
		return cache.CutOffServing
	}
	return cache.CutOff
}

// isCurrentFrom says that all was carried out that had been accepted at a time.
func (c *Cluster) isCurrentFrom(t time.Duration) {
	until := t + c.o.Bound
	c.fencing.Lock()
	defer c.fencing.Unlock()
	if c.usurped.Load() || int64(until) <= c.current.Load() {
		return
	}
	// By the wall clock it may be a little later: a clock that is being set right is no machine that was stopped.
	c.wall.Store(time.Now().Add(until - c.now() + c.o.Bound).UnixNano())
	c.current.Store(int64(until))
}

// fence has this node be current no more, ever.
func (c *Cluster) fence() {
	c.fencing.Lock()
	defer c.fencing.Unlock()
	c.usurped.Store(true)
	c.current.Store(0)
}

func (c *Cluster) hasYounger() bool { return c.younger.Load() }

// Position implements [cache.Shared].
func (c *Cluster) Position() uint64 { return c.applied.Load() }

// errCutOff says why a purge was refused.
var errCutOff = fmt.Errorf("cluster: this node is cut off from the others, and the purge was not accepted: %w", purge.ErrUnavailable)

// Ready implements [imagecdn.Cluster].
func (c *Cluster) Ready() error {
	switch {
	case c.hasYounger():
		return fmt.Errorf("another process has the name of this node, %q", c.o.Name)
	case c.usurped.Load():
		return errors.New("the node has left the cluster")
	case c.current.Load() == 0:
		return errors.New("the node catches up with the purges of the cluster")
	case c.Currency() != cache.Current:
		return errors.New("the node is cut off from the cluster")
	}
	return nil
}

// Close implements [imagecdn.Cluster].
func (c *Cluster) Close() error {
	c.fence() // before the others hear of it
	var err error
	if c.joined.Load() && c.ctx.Err() == nil {
		err = c.leave()
	}
	c.cancel()
	c.flushes.close()
	c.work.Wait()
	c.closeBuckets()
	if c.ownsConn {
		c.nc.Close()
	}
	return err
}

// A waiting is who waits for a position to be applied.
type waiting struct {
	mu   sync.Mutex
	list []waiter
}

type waiter struct {
	seq  uint64
	done chan struct{}
}

// waitFor waits until everything up to seq has been carried out here.
func (c *Cluster) waitFor(ctx context.Context, seq uint64) error {
	if c.applied.Load() >= seq {
		return nil
	}
	w := waiter{seq, make(chan struct{})}
	c.waiting.mu.Lock()
	c.waiting.list = append(c.waiting.list, w)
	c.waiting.mu.Unlock()
	c.tell(c.applied.Load()) // it may have come between
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	c.waiting.mu.Lock()
	defer c.waiting.mu.Unlock()
	for i, other := range c.waiting.list {
		if other.done == w.done {
			c.waiting.list = append(c.waiting.list[:i], c.waiting.list[i+1:]...)
			break
		}
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	return purge.ErrClosed
}

// errBehind says why nobody waits any longer.
var errBehind = errors.New("the node has not come to the purge yet")

// waitAwhile is waitFor with an end.
func (c *Cluster) waitAwhile(ctx context.Context, seq uint64, most time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, most, errBehind)
	defer cancel()
	return c.waitFor(ctx, seq)
}

// tell tells who waits for a position.
func (c *Cluster) tell(applied uint64) {
	c.waiting.mu.Lock()
	defer c.waiting.mu.Unlock()
	left := c.waiting.list[:0]
	for _, w := range c.waiting.list {
		if w.seq <= applied {
			close(w.done)
		} else {
			left = append(left, w)
		}
	}
	clear(c.waiting.list[len(left):])
	c.waiting.list = left
}

// Accept implements [imagecdn.Cluster].
func (c *Cluster) Accept(ctx context.Context, r purge.Request) error {
	if c.usurped.Load() || c.ctx.Err() != nil {
		return errCutOff
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.o.Bound+5*time.Second, errCutOff)
	defer cancel()
	seq, err := c.publish(ctx, r)
	if err != nil {
		return err
	}
	return c.waitFor(ctx, seq)
}

// ToCluster is a time of this machine's clock as the cluster's has it.
func (c *Cluster) toCluster(t time.Time) time.Time {
	return t.Add(time.Duration(c.offset.Load()))
}

func (c *Cluster) fromCluster(t time.Time) time.Time {
	return t.Add(-time.Duration(c.offset.Load()))
}
