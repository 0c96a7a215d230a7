package cluster

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
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
