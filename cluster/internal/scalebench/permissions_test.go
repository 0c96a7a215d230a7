//go:build unix

package scalebench

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The permissions in docs/scale.md are enough for what nodes do, and not for what they do not.
func TestPermissions(t *testing.T) {
	page, err := os.ReadFile("../../../docs/scale.md")
	if err != nil {
		t.Fatal(err)
	}
	_, config, ok := strings.Cut(string(page), "```text\naccounts {")
	config, _, closed := strings.Cut(config, "```")
	if !ok || !closed {
		t.Fatal("docs/scale.md has no accounts")
	}
	t.Setenv("NODE_PASSWORD", "node-password")
	t.Setenv("ADMIN_PASSWORD", "admin-password")
	file := filepath.Join(t.TempDir(), "accounts.conf")
	other := "  OTHER { jetstream: enabled, users: [ { user: other, password: other } ] }\n"
	if err := os.WriteFile(file, []byte("accounts {\n"+other+config), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o.Host, o.Port, o.JetStream, o.StoreDir, o.NoLog, o.NoSigs = "127.0.0.1", -1, true, t.TempDir(), true, true
	o.JetStreamMaxStore, o.JetStreamMaxMemory = 1<<40, 1<<34 // whatever this machine has room for
	srv, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server takes no connections")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	nc, js := user(t, srv, "node", "node-password")

	// What a node does.
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "imagecdn_inv", Subjects: []string{"imagecdn.inv.>"}, AllowMsgTTL: true, DenyDelete: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, "imagecdn.inv.purge", request(1)); err != nil {
		t.Error(err)
	}
	s, err := js.Stream(ctx, "imagecdn_inv")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetMsg(ctx, 1); err != nil {
		t.Error(err)
	}
	c, err := js.CreateConsumer(ctx, "imagecdn_inv", jetstream.ConsumerConfig{Durable: "node-cdn-1", AckPolicy: jetstream.AckAllPolicy})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := c.Next(jetstream.FetchMaxWait(5 * time.Second)); err != nil {
		t.Error(err)
	} else if err := m.DoubleAck(ctx); err != nil {
		t.Error(err)
	}
	if err := js.DeleteConsumer(ctx, "imagecdn_inv", "node-cdn-1"); err != nil {
		t.Error(err)
	}
	for _, bucket := range []string{"names", "jobs", "turns"} {
		kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "imagecdn_" + bucket, LimitMarkerTTL: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		w, err := kv.WatchAll(ctx)
		if err != nil {
			t.Fatal(err)
		}
		revision, err := kv.Create(ctx, "key", []byte("1"))
		if err != nil {
			t.Fatal(err)
		}
		if revision, err = kv.Update(ctx, "key", []byte("2"), revision); err != nil {
			t.Error(err)
		}
		if _, err := kv.Get(ctx, "key"); err != nil {
			t.Error(err)
		}
		if err := kv.Delete(ctx, "key", jetstream.LastRevision(revision)); err != nil {
			t.Error(err)
		}
		for told := false; !told; { // of the last in any case: a watch may begin a little after it was made
			select {
			case e := <-w.Updates():
				told = e != nil && e.Operation() == jetstream.KeyValueDelete
			case <-ctx.Done():
				t.Fatal("the watch is told nothing")
			}
		}
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
	}
	replies, err := nc.SubscribeSync("imagecdn.flush.reply.instance")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Subscribe("imagecdn.flush.all", func(m *nats.Msg) { _ = m.Respond(nil) }); err != nil {
		t.Fatal(err)
	}
	if err := nc.PublishRequest("imagecdn.flush.all", "imagecdn.flush.reply.instance", flush(1)); err != nil {
		t.Error(err)
	}
	if _, err := replies.NextMsg(5 * time.Second); err != nil {
		t.Error("a flush request and its answer: ", err)
	}
	if err := nc.LastError(); err != nil {
		t.Error(err)
	}

	// What it may not.
	for what, do := range map[string]func(context.Context) error{
		"delete the stream": func(ctx context.Context) error { return js.DeleteStream(ctx, "imagecdn_inv") },
		"purge the stream":  func(ctx context.Context) error { return s.Purge(ctx) },
		"delete the names":  func(ctx context.Context) error { return js.DeleteKeyValue(ctx, "imagecdn_names") },
	} {
		short, cancel := context.WithTimeout(ctx, time.Second)
		if do(short) == nil {
			t.Errorf("a node may %s", what)
		}
		cancel()
	}
	if s, err := js.Stream(ctx, "imagecdn_inv"); err != nil || s.CachedInfo().State.Msgs != 1 {
		t.Error("the stream has not what it had: ", err)
	}
	_, otherJS := user(t, srv, "other", "other")
	if _, err := otherJS.Stream(ctx, "imagecdn_inv"); err == nil {
		t.Error("another account sees the stream")
	}
}

func user(t *testing.T, srv *server.Server, name, password string) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect(srv.ClientURL(), nats.UserInfo(name, password), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}
