package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
)

// An engine is a NATS server with JetStream that can be stopped, and started anew on what it has kept.
type engine struct {
	t *testing.T
	o server.Options
	s *server.Server
}

// startEngine starts a server of its own for t.
func startEngine(t *testing.T) *engine {
	t.Helper()
	e := &engine{t: t, o: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
		JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 4 << 30,
	}}
	t.Cleanup(e.stop)
	e.start()
	return e
}

func (e *engine) start() {
	e.t.Helper()
	o := e.o
	s, err := server.NewServer(&o)
	if err != nil {
		e.t.Fatal(err)
	}
	s.Start()
	e.s = s
	if !s.ReadyForConnections(20 * time.Second) {
		e.t.Fatal("the server does not come up")
	}
	e.o.Port = s.Addr().(*net.TCPAddr).Port // the same one when it is started again
}

func (e *engine) stop() {
	if e.s != nil {
		e.s.Shutdown()
		e.s.WaitForShutdown()
		e.s = nil
	}
}

// connect returns a connection of its own, as each node has.
func (e *engine) connect() jetstream.JetStream {
	e.t.Helper()
	nc, err := nats.Connect(e.s.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		e.t.Fatal(err)
	}
	return js
}

// kv is a look at a bucket from outside.
func (e *engine) kv(bucket string) jetstream.KeyValue {
	e.t.Helper()
	kv, err := e.connect().KeyValue(within(e.t), bucket)
	if err != nil {
		e.t.Fatal(err)
	}
	return kv
}

// within returns a context that ends before a test that hangs does.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until ok says so.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// startEngines starts a cluster of three servers, on which buckets can have replicas. Each connection goes to another.
func startEngines(t *testing.T) []*engine {
	t.Helper()
	if testing.Short() {
		t.Skip("three servers take a while to agree")
	}
	var routes []*url.URL
	for range 3 { // ports that were free a moment ago: servers of a cluster have to know each other's before they start
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		routes = append(routes, &url.URL{Scheme: "nats", Host: l.Addr().String()})
		l.Close()
	}
	var engines []*engine
	for i, r := range routes {
		port, err := strconv.Atoi(r.Port())
		if err != nil {
			t.Fatal(err)
		}
		e := &engine{t: t, o: server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
			JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 4 << 30,
			Cluster: server.ClusterOpts{Name: "cdn", Host: "127.0.0.1", Port: port}, Routes: routes,
		}}
		t.Cleanup(e.stop)
		s, err := server.NewServer(&e.o)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		e.s = s
		engines = append(engines, e)
	}
	for _, e := range engines {
		if !e.s.ReadyForConnections(30 * time.Second) {
			t.Fatal("a server does not come up")
		}
	}
	js := engines[0].connect()
	eventually(t, "the servers agree", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "cdn_first", Replicas: 3})
		return err == nil
	})
	return engines
}

func TestOnBucketsWithReplicas(t *testing.T) {
	t.Parallel()
	engines := startEngines(t)

	t.Run("names", func(t *testing.T) {
		var nodes []*nameNode
		for _, e := range engines {
			nodes = append(nodes, newNameNodeOf(t, e, 0, 3))
		}
		start := time.Now().Add(-time.Hour)
		for i := range 60 {
			nodes[i%3].Commit(cat, answer(fmt.Sprint(i), start.Add(time.Duration(i)*time.Second)), 1)
		}
		for _, n := range nodes {
			eventually(t, "the newest is found", func() bool {
				got := n.Lookup(within(t), cat)
				return got != nil && got.Digest == cache.DigestOf([]byte("59"))
			})
		}
		nodes[0].Forget(cat.Source, cat.Image, 2)
		eventually(t, "it is forgotten", func() bool { return nodes[1].Lookup(within(t), cat) == nil })
		nodes[2].tell(t, cat, answer("again", nodes[2].now()), 2)
		eventually(t, "and told again", func() bool { return nodes[1].Lookup(within(t), cat) != nil })
	})
	t.Run("jobs", func(t *testing.T) {
		var nodes []*jobs
		for i, e := range engines {
			nodes = append(nodes, newTestJobs(t, e, jobsOptions{Self: fmt.Sprint(i), Replicas: 3}))
			t.Cleanup(nodes[i].Close)
		}
		writeJob(t, nodes[0], job(1, "accepted", false))
		known := make([]purge.LogEntry, len(nodes))
		for i, l := range nodes {
			eventually(t, "it is known", func() bool {
				known[i] = inLog(t, l, 1)
				return known[i].ID != ""
			})
		}
		var won atomic.Int32
		var all sync.WaitGroup
		for i, l := range nodes[1:] {
			all.Go(func() {
				err := l.Take(known[1+i])
				if err == nil {
					won.Add(1)
					err = l.Write([]purge.LogEntry{job(1, "end", true)}, nil)
				}
				if err != nil && !errors.Is(err, purge.ErrNotOwner) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 {
			t.Errorf("%d have taken it", won.Load())
		}
		if err := nodes[0].Write([]purge.LogEntry{job(1, "progress", false)}, nil); !errors.Is(err, purge.ErrNotOwner) {
			t.Errorf("the error is %v", err)
		}
		for _, l := range nodes {
			eventually(t, "all have the end", func() bool {
				for e, err := range l.Entries("") {
					return err == nil && string(e.Data) == "end" && e.Final
				}
				return false
			})
		}
	})
	t.Run("turns", func(t *testing.T) {
		var nodes []*turns
		for i, e := range engines {
			nodes = append(nodes, newTestTurns(t, e, turnsOptions{Self: fmt.Sprint(i), Replicas: 3, Expiry: 2 * time.Second}))
		}
		end, mine := nodes[0].Turn(within(t), picture(1))
		if !mine {
			t.Fatal("nobody else is at it")
		}
		w := later(within(t), nodes[1], picture(1))
		nodes[1].waits(t, 1)
		end()
		if got := <-w; got.mine {
			t.Error("it is made again")
		}
		var all sync.WaitGroup
		for i := range 30 { // over the markers of turns that have ended
			all.Go(func() {
				end, _ := nodes[i%3].Turn(within(t), picture(i%2))
				end()
			})
		}
		all.Wait()
		for _, n := range nodes {
			if s := n.Stats(); s.Unasked != 0 {
				t.Errorf("%+v", s)
			}
		}
	})
}
