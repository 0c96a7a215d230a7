package cluster

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/imagecdn/imagecdn/cache"
)

// turns have a picture made by one node while others wait for it. They save work, and nothing rests on them: who is in doubt makes
// the picture.
//
// They are keys of a bucket in memory: who creates the key of a picture makes it, and writes the key again for as long as that takes; the others watch
// that key. Of three things one ends the wait: the key is deleted, and the picture is made; it expires, for its node is gone, and one of those who
// wait creates it anew; or nothing is heard for as long as the key would have lived, and the engine is not asked any more.
type turns struct {
	o      turnsOptions
	bucket string
	js     jetstream.JetStream
	kv     jetstream.KeyValue
	conn   *nats.Conn
	brk    breaker
	absent chan struct{} // has an element where the bucket may be gone

	waiting atomic.Int64

	mu   sync.Mutex    // guards down
	down chan struct{} // closed when the connection is lost, and then another

	ctx    context.Context
	cancel context.CancelFunc
	all    sync.WaitGroup

	created, waited, expired, late, unasked atomic.Uint64
}

// turnsOptions are what turns work with.
type turnsOptions struct {
	Prefix   string
	Replicas int           // zero means 1
	Self     string        // the name of this node
	Expiry   time.Duration // of a turn whose node is gone; zero means 10 s, and it is a second at least
	Bound    time.Duration // the longest that anybody waits; zero means 15 s
	Timeout  time.Duration // of a question to the engine; zero means 250 ms
	Logger   *slog.Logger
}

// turnsStats count since the turns were opened.
type turnsStats struct {
	Created uint64 // turns of this node
	Waited  uint64 // waits that ended because another node had made the picture
	Expired uint64 // waits that ended because the other node was gone
	Late    uint64 // waits that ended because they took too long, or because the engine went away
	Unasked uint64 // turns for which the engine was not asked, or did not answer in time
	Waiting int64  // for other nodes, now
}

const (
	maxTurnWaiters = 1_000 // each has a watch of its own
	maxTurnTries   = 5     // to have a turn that has expired: who has lost as often is told different things by copies of the bucket
)

func newTurns(ctx context.Context, js jetstream.JetStream, o turnsOptions) (*turns, error) {
	o.Expiry = max(time.Second, orDefault(o.Expiry, 10*time.Second)) // an engine knows no shorter ones
	o.Bound = orDefault(o.Bound, 15*time.Second)
	o.Timeout = orDefault(o.Timeout, 250*time.Millisecond)
	t := &turns{o: o, bucket: o.Prefix + "_turns", js: js, conn: js.Conn(), down: make(chan struct{}), absent: make(chan struct{}, 1)}
	var err error
	if t.kv, err = t.open(ctx); err != nil {
		return nil, fmt.Errorf("the bucket %s: %w", t.bucket, err)
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.all.Go(t.listen)
	t.all.Go(t.reopen)
	return t, nil
}

// open makes the bucket where there is none.
func (t *turns) open(ctx context.Context) (jetstream.KeyValue, error) {
	return t.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:         t.bucket,
		Description:    "Which node of an image CDN makes which picture",
		Storage:        jetstream.MemoryStorage,
		TTL:            t.o.Expiry,
		Replicas:       max(1, t.o.Replicas),
		LimitMarkerTTL: t.o.Expiry, // who watches a key hears that it has expired
	})
}

// reopen makes the bucket anew when it is not found: what is in memory ends with its engine.
func (t *turns) reopen() {
	for {
		select {
		case <-t.absent:
		case <-t.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(t.ctx, 5*time.Second)
		_, err := t.open(ctx)
		cancel()
		if err != nil && t.ctx.Err() == nil {
			t.o.Logger.Debug("cluster: the bucket of turns cannot be made anew", "bucket", t.bucket, "error", err)
		}
		if !pause(t.ctx, time.Second) {
			return
		}
	}
}

// Close gives up what turns this node has, and ends its waits.
func (t *turns) Close() {
	t.cancel()
	t.all.Wait()
}

// Stats tells of the turns.
func (t *turns) Stats() turnsStats {
	return turnsStats{
		Created: t.created.Load(), Waited: t.waited.Load(), Expired: t.expired.Load(), Late: t.late.Load(), Unasked: t.unasked.Load(),
		Waiting: t.waiting.Load(),
	}
}

// Turn implements imagecdn.Cluster. A ctx that ends is like a wait that has taken too long.
func (t *turns) Turn(ctx context.Context, k cache.Key) (end func(), mine bool) {
	nothing := func() {}
	sum := hashOf(k.Source, k.Image, strconv.Itoa(int(k.Kind)), string(k.Sum[:]))
	key := hex.EncodeToString(sum[:])
	ctx, cancel := context.WithTimeout(ctx, t.o.Bound)
	defer cancel()
	stop := context.AfterFunc(t.ctx, cancel)
	defer stop()
	for tries := 1; ; tries++ {
		rev, err := t.create(ctx, key)
		switch {
		case err == nil:
			t.created.Add(1)
			return t.hold(key, rev), true
		case !isConflict(err):
			t.unasked.Add(1)
			return nothing, true
		}
		if t.waiting.Add(1) > maxTurnWaiters {
			t.waiting.Add(-1)
			t.unasked.Add(1)
			return nothing, true
		}
		how := t.wait(ctx, key)
		t.waiting.Add(-1)
		switch {
		case how == turnEnded:
			t.waited.Add(1)
			return nothing, false
		case how == turnExpired && tries < maxTurnTries:
			t.expired.Add(1)
		default:
			t.late.Add(1)
			return nothing, true
		}
	}
}

var errNotAsked = errors.New("the engine is not asked")

// create makes key this node's; isConflict tells that it is another's. The engine is asked only where it may be expected to answer.
func (t *turns) create(ctx context.Context, key string) (rev uint64, err error) {
	if !t.conn.IsConnected() || !t.brk.allow(time.Now()) {
		return 0, errNotAsked
	}
	asking, cancel := context.WithTimeout(ctx, t.o.Timeout)
	defer cancel()
	rev, err = t.kv.Create(asking, key, []byte(t.o.Self))
	switch {
	case err == nil, isConflict(err):
		t.brk.done(time.Now(), true)
	case ctx.Err() != nil:
		t.brk.leave()
	default:
		t.brk.done(time.Now(), false)
		select {
		case t.absent <- struct{}{}:
		default:
		}
	}
	return rev, err
}

// hold keeps key this node's until end is called. Should it be lost, for the engine was away, that is of no consequence.
func (t *turns) hold(key string, rev uint64) (end func()) {
	over := make(chan struct{})
	t.all.Go(func() {
		renew := time.NewTicker(t.o.Expiry / 3)
		defer renew.Stop()
		for {
			select {
			case <-renew.C:
				ctx, cancel := context.WithTimeout(t.ctx, t.o.Expiry/3)
				now, err := t.kv.Update(ctx, key, []byte(t.o.Self), rev)
				cancel()
				switch {
				case err == nil:
					rev = now
				case isConflict(err): // another has it
					return
				}
				continue
			case <-over:
			case <-t.ctx.Done():
			}
			ctx, cancel := context.WithTimeout(context.Background(), t.o.Timeout)
			defer cancel()
			if err := t.kv.Delete(ctx, key, jetstream.LastRevision(rev)); err != nil && !isConflict(err) {
				t.o.Logger.Debug("cluster: a turn could not be ended, and expires", "bucket", t.bucket, "error", err)
			}
			return
		}
	})
	return sync.OnceFunc(func() { close(over) })
}

// How a wait has ended.
type turnEnd int

const (
	turnEnded   turnEnd = iota // the picture is made
	turnExpired                // who was to make it is gone
	turnLate                   // it took too long, or nothing can be heard of it
)

// wait waits until another node's turn ends.
func (t *turns) wait(ctx context.Context, key string) turnEnd {
	t.mu.Lock()
	down := t.down
	t.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	beginning := time.AfterFunc(t.o.Timeout, cancel)
	w, err := t.kv.Watch(ctx, key)
	if !beginning.Stop() || err != nil {
		if err == nil {
			stopWatch(w)
		}
		return turnLate
	}
	defer stopWatch(w)
	// Its node writes it again and again; so where nothing comes for as long as it lives, nothing does.
	silence := time.NewTimer(t.o.Expiry + time.Second)
	defer silence.Stop()
	seen := false
	for {
		select {
		case there, ok := <-w.Updates():
			switch {
			case !ok:
				return turnLate
			case there == nil && !seen: // neither the key nor a marker: it is long gone
				return turnExpired
			case there == nil:
			case there.Operation() == jetstream.KeyValueDelete:
				return turnEnded
			case there.Operation() == jetstream.KeyValuePurge: // which end never does
				return turnExpired
			default:
				seen = true
				silence.Reset(t.o.Expiry + time.Second)
			}
		case <-silence.C:
			return turnLate
		case <-down:
			return turnLate
		case <-ctx.Done():
			return turnLate
		}
	}
}

// listen tells who waits that the connection is lost.
func (t *turns) listen() {
	lost := t.conn.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	defer t.conn.RemoveStatusListener(lost)
	for {
		select {
		case <-lost:
			t.mu.Lock()
			close(t.down)
			t.down = make(chan struct{})
			t.mu.Unlock()
		case <-t.ctx.Done():
			return
		}
	}
}
