package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
)

// Subjects of the stream.
const (
	purgeSubject = ".inv.purge"
	beatSubject  = ".inv.beat."  // and the node's name
	leaveSubject = ".inv.leave." // and the node's name
)

func (c *Cluster) streamName() string { return c.o.Prefix + "_inv" }

// consumerName is what the names of this node's consumers begin with.
func (c *Cluster) consumerName() string { return "node-" + c.o.Name }

// consumerTimeout is how long the making of a consumer may take, which is one round trip, and one among the servers.
const consumerTimeout = 2 * time.Second

// openStream makes the stream, or sees that it is one that will do.
func (c *Cluster) openStream(ctx context.Context) error {
	s, err := c.js.Stream(ctx, c.streamName())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = c.js.CreateStream(ctx, jetstream.StreamConfig{
			Name:        c.streamName(),
			Description: "purges of imagecdn, and beats of its nodes",
			Subjects:    []string{c.o.Prefix + ".inv.>"},
			Storage:     jetstream.FileStorage,
			Replicas:    c.o.Replicas,
			MaxAge:      c.o.Retention,
			MaxMsgs:     c.o.MaxPurges,
			Discard:     jetstream.DiscardOld,
			AllowMsgTTL: true,
			DenyDelete:  true,
			DenyPurge:   true,
		})
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			s, err = c.js.Stream(ctx, c.streamName())
		}
	}
	if err != nil {
		return fmt.Errorf("the stream %s: %w", c.streamName(), err)
	}
	has := s.CachedInfo().Config
	switch {
	case !has.AllowMsgTTL:
		return fmt.Errorf("the stream %s does not allow for messages that expire: it takes a server of version 2.11 or later, and a stream that this program has made", c.streamName())
	case has.MaxAge != c.o.Retention || has.MaxMsgs != c.o.MaxPurges || has.Replicas != c.o.Replicas:
		c.o.Logger.Warn("cluster: the stream was made with other settings, which hold", "stream", c.streamName(),
			"retention", has.MaxAge, "purges", has.MaxMsgs, "replicas", has.Replicas)
		if !c.joined.Load() { // afterwards others read them
			c.o.Retention, c.o.MaxPurges = has.MaxAge, has.MaxMsgs
		}
	}
	return nil
}

// A node is what an [imagecdn.Node] does here.
type node interface {
	Accept(ctx context.Context, r purge.Request) error
	Flush(ctx context.Context, f purge.NodeFlush) (purge.PathResult, error)
	Marked(path string) bool
	Position() cache.Position
	SavePosition(p cache.Position) error
}

type joinedNode struct{ node }

type handlerNode struct {
	*imagecdn.Node
	*cache.Table
}

// Join implements [imagecdn.Cluster].
func (c *Cluster) Join(ctx context.Context, n *imagecdn.Node) error {
	return c.join(ctx, handlerNode{n, n.Table()})
}

func (c *Cluster) join(ctx context.Context, n node) error {
	if c.joined.Swap(true) {
		return errors.New("cluster: Join was called before: a Cluster is for one handler")
	}
	c.node.Store(&joinedNode{n})
	r := &reader{c: c}
	if err := r.begin(ctx, n.Position()); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	if err := c.flushes.listen(); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	c.work.Go(func() { r.run() })
	c.work.Go(c.beat)
	c.work.Go(c.renewBuckets)
	return nil
}

// readAgain has the stream read anew from where it was applied.
func (c *Cluster) readAgain() {
	select {
	case c.again <- struct{}{}:
	default:
	}
}

// A reader reads the stream, and carries out what it says. It is one goroutine.
type reader struct {
	c *Cluster

	log     string          // which stream it is: when it was made
	most    int64           // messages that the stream keeps
	skip    uint64          // what is up to here is noted only: the table has it, or had nothing when it came
	keptAt  time.Time       // when the server had the message at skip; zero where the table had nothing
	last    uint64          // the last message that was read
	lastAt  time.Time       // when the server had it
	purge   uint64          // the last purge that was read: unlike beats it is there for long
	purgeAt time.Time       // when the server had it
	broken  string          // why this node has to begin with nothing
	failed  []purge.Request // carried out in memory, and not on the disk
	tried   time.Time       // when they were last tried again
	pause   time.Duration   // until they are
	saved   time.Time
	dirty   bool // purges were carried out since
	acked   time.Time
	unacked int    // messages since
	reads   string // its consumer
}

// begin decides what of this node's names may be trusted, which has kept a position on its disk.
func (r *reader) begin(ctx context.Context, kept cache.Position) error {
	s, err := r.c.js.Stream(ctx, r.c.streamName())
	if err != nil {
		return err
	}
	info := s.CachedInfo()
	log := logOf(info)
	why := ""
	switch {
	case kept == cache.Position{}:
		why = "it was no part of the cluster"
	case kept.Log != log:
		why = "the cluster's stream is another"
	default:
		if why, err = r.changed(ctx, s, info, cutAt{seq: kept.Seq, at: time.Unix(0, kept.Time)}); err != nil {
			return err
		}
	}
	if why != "" {
		r.c.o.Logger.Info("cluster: this node begins with nothing", "node", r.c.o.Name, "why", why)
		return r.forget(log, info.State.LastSeq)
	}
	r.log, r.skip, r.keptAt = log, kept.Seq, time.Unix(0, kept.Time)
	r.c.skip.Store(r.skip) // before anything of the log counts
	r.c.log.Store(log)
	return nil
}

// logOf says which stream it is.
func logOf(info *jetstream.StreamInfo) string { return info.Created.UTC().Format(time.RFC3339Nano) }

// A cutAt is up to where the stream is known.
type cutAt struct {
	seq     uint64
	at      time.Time // when the server had the message at seq
	purge   uint64    // the last purge up to there, where that is known, or zero
	purgeAt time.Time
}

// changed says why what the stream has may not be all that came behind k.
//
// Purges leave it the oldest first, when they are too old or too many. So where a purge is that was known, or any message, all purges behind it are. Beats leave
// it at any time: a place in which a beat was says nothing, and in a stream whose end was lost may have had another message meanwhile.
func (r *reader) changed(ctx context.Context, s jetstream.Stream, info *jetstream.StreamInfo, k cutAt) (why string, err error) {
	const lostEnd, otherPast = "the cluster's stream has lost its end", "the cluster's stream has another past"
	get := func(seq uint64, opts ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
		m, err := s.GetMsg(ctx, seq, opts...)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, nil
		}
		return m, err
	}
	purges := jetstream.WithGetMsgSubject(r.c.o.Prefix + purgeSubject)
	if k.seq > info.State.LastSeq {
		return lostEnd, nil
	}
	anchor, at := k.seq, k.at
	if k.purge > 0 {
		anchor, at = k.purge, k.purgeAt
	}
	there, err := get(anchor)
	if err != nil {
		return "", err
	}
	if there != nil && !there.Time.Equal(at) {
		return otherPast, nil
	}
	if k.purge > 0 { // what is between is known to be no purge
		next, err := get(k.purge+1, purges)
		if err != nil {
			return "", err
		}
		if next != nil && next.Sequence <= k.seq {
			return otherPast, nil
		}
	}
	if there != nil {
		return "", nil
	}
	first, err := get(0, purges)
	if err != nil {
		return "", err
	}
	now, err := r.c.serverTime(ctx)
	if err != nil {
		return "", fmt.Errorf("the cluster's clock could not be read: %w", err)
	}
	away := now.Sub(k.at)
	switch {
	case first != nil && k.purge > 0 && first.Sequence < k.purge: // it cannot have left before that one
		return otherPast, nil
	case k.purge == 0 && away < r.c.o.beatTTL()/2: // nothing expires so soon
		return otherPast, nil
	case first != nil && first.Sequence <= k.seq:
	case nearlyFull(info.State.Msgs, info.Config.MaxMsgs):
		return "it was away for more purges than are sure to be kept", nil
	case away > info.Config.MaxAge/2:
		return "it was away for longer than purges are sure to be kept", nil
	}
	return "", nil
}

// nearlyFull reports whether some of the oldest messages may have been dropped, where so many of the most there may be are there. Some of those that were may have been
// beats, which have gone since.
func nearlyFull(are uint64, most int64) bool {
	return most > 0 && are+uint64(max(most/10, min(most/2, 5000))) >= uint64(most)
}

// mark puts a message into the stream that says nothing, and returns where it is.
func (c *Cluster) mark(ctx context.Context) (uint64, error) {
	m, err := c.message(leaveSubject, event{}) // of nobody
	if err != nil {
		return 0, err
	}
	ack, err := c.js.PublishMsg(ctx, m)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// serverTime is the time by the clock of who writes the stream.
func (c *Cluster) serverTime(ctx context.Context) (time.Time, error) {
	seq, err := c.mark(ctx)
	if err != nil {
		return time.Time{}, err
	}
	s, err := c.js.Stream(ctx, c.streamName())
	if err != nil {
		return time.Time{}, err
	}
	got, err := s.GetMsg(ctx, seq)
	if err != nil {
		return time.Time{}, err
	}
	return got.Time, nil
}

// forget empties this node's table, after which purges up to seq need not be carried out any more.
func (r *reader) forget(log string, seq uint64) error {
	r.c.skip.Store(math.MaxUint64) // what leases of after it would learn is not to be trusted yet
	r.c.current.Store(0)
	r.c.applied.Store(0)                                                   // nor are they newer than anything
	if err := r.c.node.Load().SavePosition(cache.Position{}); err != nil { // else a later one might count as less
		return err
	}
	if err := r.c.node.Load().Accept(r.c.ctx, purge.Request{Scope: purge.All, Mode: purge.Delete}); err != nil {
		return err
	}
	*r = reader{c: r.c, log: log, most: r.most, skip: seq, saved: r.saved}
	r.c.marks.reset()
	r.c.stales.take()
	r.c.log.Store(log)
	if n := r.c.names; n != nil {
		n.Reset()
	}
	r.c.skip.Store(seq)
	return nil
}

// run reads until Close.
func (r *reader) run() {
	defer func() {
		if r.dirty {
			r.save()
		}
	}()
	wait := 50 * time.Millisecond
	for r.c.ctx.Err() == nil {
		before := r.last
		err := r.follow()
		if r.c.ctx.Err() != nil {
			return
		}
		if r.last > before {
			wait = 50 * time.Millisecond
		}
		r.c.o.Logger.Warn("cluster: the stream of purges is read anew", "node", r.c.o.Name, "from", r.last+1, "error", err)
		select {
		case <-r.c.ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, 2*time.Second)
	}
}

var (
	errGap       = errors.New("a message is missing, or came twice")
	errMissed    = errors.New("purges may have been missed")
	errReconnect = errors.New("the connection was lost")
	errUsurped   = errors.New("another process has this node's name")
)

// follow makes the consumer anew and reads from where this node is, until something is wrong.
func (r *reader) follow() error {
	ctx, cancel := context.WithCancelCause(r.c.ctx)
	defer cancel(nil)
	if r.c.usurped.Load() {
		<-ctx.Done()
		return errUsurped
	}
	select {
	case <-r.c.again: // what follows begins anew in any case
	default:
	}
	opening, done := context.WithTimeout(ctx, 10*time.Second)
	defer done()
	s, err := r.c.js.Stream(opening, r.c.streamName())
	if err != nil {
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			err = errors.Join(err, r.c.openStream(opening))
		}
		return err
	}
	if err := r.check(opening, s); err != nil {
		return err
	}
	select {
	case r.c.renew <- struct{}{}:
	default:
	}
	messages := make(chan jetstream.Msg, 1024)
	consumer, err := r.consumer(opening)
	if err != nil {
		return err
	}
	reading, err := consumer.Consume(func(m jetstream.Msg) {
		select {
		case messages <- m:
		case <-ctx.Done():
		}
	}, jetstream.PullMaxMessages(512), jetstream.PullHeartbeat(max(r.c.o.Bound/2, 500*time.Millisecond)), jetstream.PullExpiry(max(2*r.c.o.Bound, 2*time.Second)),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { cancel(err) }))
	if err != nil {
		return err
	}
	defer reading.Stop()
	next := uint64(1) // by the consumer's count
	batch := make([]jetstream.Msg, 0, 512)
	for {
		batch = batch[:0]
		select {
		case m := <-messages:
			batch = append(batch, m)
		case <-r.c.again:
			return errReconnect
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		for more := true; more && len(batch) < cap(batch); {
			select {
			case m := <-messages:
				batch = append(batch, m)
			default:
				more = false
			}
		}
		if err := r.carryOut(ctx, batch, &next); err != nil {
			return err
		}
	}
}

// check sees that the stream is still the one that this node has followed, and has all that came behind what was read.
func (r *reader) check(ctx context.Context, s jetstream.Stream) error {
	info := s.CachedInfo()
	r.most = info.Config.MaxMsgs
	log := logOf(info)
	why := r.broken
	var err error
	switch {
	case why != "":
	case log != r.log:
		why = "it is another"
	case r.last > 0:
		why, err = r.changed(ctx, s, info, cutAt{r.last, r.lastAt, r.purge, r.purgeAt})
	case !r.keptAt.IsZero():
		why, err = r.changed(ctx, s, info, cutAt{seq: r.skip, at: r.keptAt})
	}
	if err != nil {
		return err
	}
	if why != "" {
		r.broken = why // until that is done
		r.c.o.Logger.Error("cluster: the stream of purges cannot be followed from where this node was; it begins with nothing", "node", r.c.o.Name,
			"why", why, "at", r.last, "end", info.State.LastSeq)
		if err := r.forget(log, info.State.LastSeq); err != nil {
			return err
		}
	}
	if r.last == 0 {
		r.c.full.Store(nearlyFull(info.State.Msgs, info.Config.MaxMsgs))
	}
	return nil
}

// consumer makes a consumer of this node's, from behind what was read. Each has a name of its own: the one before may have been on a server that has died,
// and then nobody answers who would delete it, or make it anew. It expires, if it cannot be deleted behind.
func (r *reader) consumer(ctx context.Context) (jetstream.Consumer, error) {
	if old := r.reads; old != "" {
		r.c.work.Go(func() {
			ctx, cancel := context.WithTimeout(r.c.ctx, 10*time.Second)
			defer cancel()
			_ = r.c.js.DeleteConsumer(ctx, r.c.streamName(), old)
		})
	}
	r.reads = r.c.consumerName() + "-" + rand.Text()[:12]
	// A server that has died a moment ago may be chosen once more, and again: what takes longer is made elsewhere.
	ctx, cancel := context.WithTimeout(ctx, consumerTimeout)
	defer cancel()
	return r.c.js.CreateConsumer(ctx, r.c.streamName(), jetstream.ConsumerConfig{
		Durable:           r.reads,
		Description:       "instance " + r.c.instance,
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       r.last + 1,
		AckPolicy:         jetstream.AckAllPolicy,
		AckWait:           time.Minute,
		MaxAckPending:     10_000,
		InactiveThreshold: max(time.Minute, 4*r.c.o.Bound),
		// Where this node is it knows by itself, so a server that dies takes nothing along; and servers need not agree on it.
		Replicas:      1,
		MemoryStorage: true,
	})
}

// An event is what a beat or a farewell says.
type event struct {
	Instance string    `json:"instance"`
	Number   uint64    `json:"number,omitempty"`
	First    uint64    `json:"first,omitempty"` // where its first one is
	Since    time.Time `json:"since,omitzero"`
	Applied  uint64    `json:"applied,omitempty"`
	Ready    bool      `json:"ready,omitempty"`
	Version  string    `json:"version,omitempty"`
}

// carryOut does what a batch says. next is the number that the consumer is to have given its first message.
func (r *reader) carryOut(ctx context.Context, batch []jetstream.Msg, next *uint64) error {
	var requests []purge.Request
	var beats []uint64
	var gap error
	last, at := r.last, r.lastAt
	lastPurge, purgeAt := r.purge, r.purgeAt
	for _, m := range batch {
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		seq := meta.Sequence.Stream
		if meta.Sequence.Consumer != *next || meta.NumDelivered != 1 || seq <= last {
			gap = errGap
			break
		}
		if seq > max(last, r.skip)+1 && nearlyFull(meta.NumPending, r.most) {
			r.broken = "more purges were made than are sure to be kept until it has read them"
			return errMissed
		}
		*next++
		last, at = seq, meta.Timestamp
		switch subject := strings.TrimPrefix(m.Subject(), r.c.o.Prefix); {
		case subject == purgeSubject:
			req, err := decodeRequest(m.Data())
			if err != nil {
				// Nobody can say what it was to purge. Nothing is left to be trusted.
				r.c.o.Logger.Error("cluster: a purge cannot be read, and everything is purged", "position", seq, "error", err)
				req = purge.Request{Scope: purge.All, Mode: purge.Delete}
			}
			if seq <= r.skip && !r.keptAt.IsZero() && at.After(r.keptAt) {
				r.broken = "the cluster's stream has another past" // this one came in the place of what was carried out
				return errMissed
			}
			r.c.marks.note(seq, req)
			req = r.c.stales.note(seq, req, r.c.Currency() == cache.Current)
			lastPurge, purgeAt = seq, at
			if seq > r.skip {
				requests = append(requests, req)
			}
		case strings.HasPrefix(subject, beatSubject):
			var e event
			if json.Unmarshal(m.Data(), &e) != nil {
				continue
			}
			name := strings.TrimPrefix(subject, beatSubject)
			if e.Instance == r.c.instance {
				beats = append(beats, e.Number)
				if t, ok := r.c.sentAt(e.Number); ok {
					// By the clock as it is set now: where it was wrong when this process began, it may have been set right.
					r.c.offset.Store(int64(meta.Timestamp.Sub(time.Now().Round(0).Add(t - r.c.now()))))
				}
			}
			if r.c.members.saw(name, e, seq) {
				return r.c.usurp(name)
			}
		case strings.HasPrefix(subject, leaveSubject):
			var e event
			if json.Unmarshal(m.Data(), &e) == nil {
				r.c.members.left(strings.TrimPrefix(subject, leaveSubject), e.Instance)
			}
		}
	}
	if last == r.last {
		return gap
	}
	tried := len(r.failed) + len(requests)
	r.accept(ctx, requests)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.last, r.lastAt, r.purge, r.purgeAt = last, at, lastPurge, purgeAt
	r.c.applied.Store(last)
	r.c.tell(last)
	if len(beats) > 0 && r.c.Currency() != cache.Current || r.c.stales.areMany() {
		again := r.c.stales.take()
		tried += len(again)
		r.accept(ctx, again)
		if ctx.Err() != nil {
			r.failed = append(r.failed, again...) // of which some may not be on the disk
			return context.Cause(ctx)
		}
	}
	for _, n := range beats {
		if t, ok := r.c.readBack(n); ok {
			r.c.isCurrentFrom(t)
			r.c.members.observe(t)
		}
	}
	// What was carried out and not kept is carried out again after a restart, so this need not be kept at once.
	if r.dirty = r.dirty || tried > 0; r.dirty && time.Since(r.saved) > time.Second || time.Since(r.saved) > time.Minute {
		r.save()
	}
	if r.unacked += len(batch); gap == nil && (r.unacked > 1000 || time.Since(r.acked) > time.Second) {
		r.unacked, r.acked = 0, time.Now()
		_ = batch[len(batch)-1].Ack() // it is for those who look at the consumer: where this node goes on is on its own disk
	}
	return gap
}

// maxFailed is how many purges that could not be kept are tried again one by one. When there are more, everything is purged in their place.
const maxFailed = 1000

// accept carries requests out on this node. They may come in any order among each other: each only takes away.
func (r *reader) accept(ctx context.Context, requests []purge.Request) {
	before := r.failed
	again := len(before) > 0 && time.Since(r.tried) >= r.pause
	todo := requests
	if again {
		todo = slices.Concat(before, requests)
		r.tried, r.pause = time.Now(), min(2*r.pause, time.Minute)
	}
	var failed []purge.Request
	var mu sync.Mutex
	var wg sync.WaitGroup
	turns := make(chan struct{}, 16)
	for _, req := range todo {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			if err := r.c.node.Load().Accept(ctx, req); err != nil && ctx.Err() == nil {
				r.c.o.Logger.Error("cluster: a purge is in force, and could not be kept; it is tried again", "error", err)
				mu.Lock()
				failed = append(failed, req)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return // those of the batch are read again
	}
	if !again {
		failed = slices.Concat(before, failed)
	}
	if len(failed) > maxFailed {
		failed = []purge.Request{{Scope: purge.All, Mode: purge.Delete}}
	}
	if len(failed) == 0 {
		r.pause = r.c.o.interval()
	}
	r.failed = failed
}

// save keeps how far this node is, unless something of that is not on its disk.
func (r *reader) save() {
	if len(r.failed) > 0 || r.last < r.skip {
		return
	}
	p := cache.Position{Log: r.log, Seq: r.last, Time: r.lastAt.UnixNano()}
	if err := r.c.node.Load().SavePosition(p); err != nil {
		r.c.o.Logger.Warn("cluster: how far this node is could not be kept; after a restart it goes on from before", "error", err)
		return
	}
	r.saved, r.dirty = time.Now(), false
}

// usurp has this node serve nothing any more of what it knows.
func (c *Cluster) usurp(name string) error {
	c.younger.Store(true)
	c.fence()
	c.o.Logger.Error("cluster: another process has the name of this node, which serves nothing from its cache from now on; give each node a name of its own", "node", name)
	return errUsurped
}

// maxMessage is the most bytes that a purge may have in the stream: what servers take by default, and room for headers.
const maxMessage = 1<<20 - 4096

// publish puts a purge into the stream, and returns where it is.
func (c *Cluster) publish(ctx context.Context, r purge.Request) (uint64, error) {
	data, err := encode(r)
	if err != nil {
		return 0, fmt.Errorf("cluster: %w", err)
	}
	if len(data) > min(maxMessage, int(c.nc.MaxPayload())-4096) {
		return 0, &purge.RequestError{Field: "paths", Reason: "take more bytes than a message of the cluster may have; make it several purges"}
	}
	ack, err := c.js.Publish(ctx, c.o.Prefix+purgeSubject, data, jetstream.WithExpectStream(c.streamName()), jetstream.WithRetryAttempts(3))
	switch {
	case err == nil:
		return ack.Sequence, nil
	case context.Cause(ctx) == errCutOff, ctx.Err() == nil && mayPass(err):
		c.o.Logger.Warn("cluster: a purge was not accepted", "error", err)
		return 0, errCutOff
	}
	return 0, fmt.Errorf("cluster: the purge was not accepted: %w", err)
}

// compressFrom is how many bytes are worth compressing.
const compressFrom = 1024

// encode returns v as JSON, compressed where that is long.
func encode(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil || len(data) < compressFrom {
		return data, err
	}
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	_, err = w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// maxRequest bounds what a message unfolds to.
const maxRequest = 64 << 20

// decode is the inverse of encode. With strict, a field that is not known is an error.
func decode(data []byte, v any, strict bool) error {
	if len(data) > 0 && data[0] != '{' {
		z, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxRequest))
		if err != nil {
			return err
		}
		defer z.Close()
		if data, err = io.ReadAll(io.LimitReader(z, maxRequest)); err != nil {
			return err
		}
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if strict {
		d.DisallowUnknownFields()
	}
	return d.Decode(v)
}

func decodeRequest(data []byte) (r purge.Request, err error) {
	if err := decode(data, &r, true); err != nil { // what is not known may be about what to purge
		return r, err
	}
	switch r.Scope {
	case purge.Original, purge.Prefix, purge.Tag, purge.All:
		return r, nil
	}
	return r, fmt.Errorf("the scope is %q", r.Scope)
}
