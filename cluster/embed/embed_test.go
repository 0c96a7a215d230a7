package embed

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/imagecdn/imagecdn/cluster/internal/faulty"
)

const aSecret = "a secret of 24 bytes or so"

func TestMisuse(t *testing.T) {
	three := []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}
	verified := &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert}
	for _, test := range []struct {
		o    *Options
		says string // empty where there is nothing wrong
	}{
		{nil, "Options.Name"},
		{&Options{Name: "a.b", Dir: "d"}, "Options.Name"},
		{&Options{Name: strings.Repeat("a", 65), Dir: "d"}, "Options.Name"},
		{&Options{Name: "a"}, "Options.Dir"},
		{&Options{Name: "a", Dir: "d"}, ""},
		{&Options{Name: "a", Dir: "d", Secret: "short"}, "Options.Secret has 5 bytes"},
		{&Options{Name: "a", Dir: "d", MaxStore: -1}, "MaxStore"},
		{&Options{Name: "a", Dir: "d", SyncInterval: -1}, "SyncInterval"},
		{&Options{Name: "a", Dir: "d", Peers: three[:1]}, "at least 3"},
		{&Options{Name: "a", Dir: "d", Peers: three[:2]}, "at least 3"},
		{&Options{Name: "a", Dir: "d", Peers: three}, ""},
		{&Options{Name: "a", Dir: "d", Peers: []string{"a", "b", "a:6222"}}, "a:6222 twice"},
		{&Options{Name: "a", Dir: "d", Peers: []string{"a", "b", ""}}, `Options.Peers has ""`},
		{&Options{Name: "a", Dir: "d", Peers: []string{"a", "b", "c:x"}}, `Options.Peers has "c:x"`},
		{&Options{Name: "a", Dir: "d", Peers: []string{"a", "b", "c:0"}}, `Options.Peers has "c:0"`},
		{&Options{Name: "a", Dir: "d", Peers: []string{"a", "b", "http://c/"}}, `Options.Peers has "http://c/"`},
		{&Options{Name: "a", Dir: "d", Peers: []string{"a", "b", "user@c"}}, `Options.Peers has "user@c"`},
		{&Options{Name: "a", Dir: "d", Peers: []string{"nats://a:1", "[::1]:2", "fe80::1"}}, ""},
		{&Options{Name: "a", Dir: "d", ClusterListen: "127.0.0.1:1"}, "Options.Peers is empty"},
		{&Options{Name: "a", Dir: "d", Listen: "4222"}, `Options.Listen is "4222"`},
		{&Options{Name: "a", Dir: "d", Listen: "127.0.0.1:x"}, "whose port is none"},
		{&Options{Name: "a", Dir: "d", Listen: "127.0.0.1:4222"}, ""},
		{&Options{Name: "a", Dir: "d", Listen: "localhost:4222"}, ""},
		{&Options{Name: "a", Dir: "d", Listen: "[::1]:4222"}, ""},
		{&Options{Name: "a", Dir: "d", Listen: ":4222"}, "others can reach"},
		{&Options{Name: "a", Dir: "d", Listen: "localhost.example.com:4222"}, "others can reach"},
		{&Options{Name: "a", Dir: "d", Listen: "10.0.0.1:4222"}, "others can reach"},
		{&Options{Name: "a", Dir: "d", Listen: "10.0.0.1:4222", Secret: aSecret}, ""},
		{&Options{Name: "a", Dir: "d", Listen: "10.0.0.1:4222", TLS: new(tls.Config)}, "others can reach"},
		{&Options{Name: "a", Dir: "d", Listen: "10.0.0.1:4222", TLS: verified}, ""},
		{&Options{Name: "a", Dir: "d", Peers: three, ClusterListen: "0.0.0.0:6222"}, "Options.ClusterListen"},
		{&Options{Name: "a", Dir: "d", Peers: three, ClusterListen: "0.0.0.0:6222", Secret: aSecret}, ""},
	} {
		if test.o == nil {
			test.o = new(Options)
		}
		_, err := test.o.server()
		if (err == nil) != (test.says == "") || err != nil && (!strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%+v: %v, want %q", test.o, err, test.says)
		}
	}
	if _, err := Start(t.Context(), nil); err == nil || !strings.HasPrefix(err.Error(), "embed: Options.Name") {
		t.Errorf("Start: %v", err)
	}
}

// start starts a server that ends with the test, if not before.
func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// connect returns a client in this process.
func connect(t *testing.T, s *Server) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(s.URL(), s.ConnectOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// publish puts a message into the stream, and tries again while there is no leader.
func publish(t *testing.T, js jetstream.JetStream, text string) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	for {
		one, stop := context.WithTimeout(ctx, 2*time.Second)
		_, err := js.Publish(one, "s.x", []byte(text))
		stop()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", text, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func messages(t *testing.T, js jetstream.JetStream) uint64 {
	t.Helper()
	s, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Msgs
}

func TestOneServer(t *testing.T) {
	o := Options{Name: "a", Dir: filepath.Join(t.TempDir(), "new", "nats")}
	s := start(t, o)
	js := connect(t, s)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}); err != nil {
		t.Fatal(err)
	}
	publish(t, js, "one")
	if a := s.ClusterAddr(); a != nil {
		t.Errorf("it listens to others at %v", a)
	}
	if a := s.server.Addr(); a != nil {
		t.Errorf("it listens to clients at %v", a)
	}
	if _, err := Start(t.Context(), &o); err == nil || !strings.Contains(err.Error(), "in use by another server") {
		t.Errorf("a second server in the directory: %v", err)
	}
	js.Conn().Close()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
	other := o
	other.Name = "b"
	if _, err := Start(t.Context(), &other); err == nil || !strings.Contains(err.Error(), `is of the server "a", and not of "b"`) {
		t.Errorf("with another name: %v", err)
	}
	if n := messages(t, connect(t, start(t, o))); n != 1 {
		t.Errorf("after a restart there are %d messages, want 1", n)
	}
}

// What is acknowledged is on the disk by then, unless that was not asked for; and bounds are in force.
func TestSettingsOfTheServer(t *testing.T) {
	for _, test := range []struct {
		o             Options
		always        bool
		memory, store int64
	}{
		{Options{}, true, 64 << 20, 4 << 30},
		{Options{SyncInterval: time.Second, MaxMemory: 1 << 20, MaxStore: 2 << 20}, false, 1 << 20, 2 << 20},
	} {
		test.o.Name, test.o.Dir = "a", t.TempDir()
		s := start(t, test.o)
		c := s.server.JetStreamConfig()
		if c.SyncAlways != test.always || c.MaxMemory != test.memory || c.MaxStore != test.store {
			t.Errorf("%+v", c)
		}
	}
}

func TestWhatIsInTheWay(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	address := taken.Addr().String()
	for _, test := range []struct {
		o    Options
		says string
	}{
		{Options{Name: "a", Dir: t.TempDir(), Listen: address}, "address already in use"},
		{Options{Name: "a", Dir: t.TempDir(), ClusterListen: address, Peers: []string{address, "127.0.0.1:1", "127.0.0.1:2"}}, "address already in use"},
		{Options{Name: "a", Dir: file}, "not a directory"},
		{Options{Name: "a", Dir: t.TempDir(), Peers: []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}, ClusterListen: "127.0.0.1:0", StartTimeout: 300 * time.Millisecond},
			"the servers have no leader yet, and this one has found 0 of 2 others: 300ms have passed"},
	} {
		begun := time.Now()
		s, err := Start(t.Context(), &test.o)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%+v: %v after %v, want %s", test.o, err, time.Since(begun), test.says)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Start(ctx, &Options{Name: "a", Dir: t.TempDir(), Peers: []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}, ClusterListen: "127.0.0.1:0"}); !errors.Is(err, context.Canceled) {
		t.Errorf("told to end: %v", err)
	}
}

// three starts three servers that are one cluster. Somebody else may take a port before they do: then with others.
func three(t *testing.T, change func(o *Options)) (all []*Server, opts []Options) {
	t.Helper()
	for range 5 {
		var peers []string
		for range 3 {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			peers = append(peers, l.Addr().String())
			l.Close()
		}
		all, opts = make([]*Server, 3), make([]Options, 3)
		errs := make([]error, 3)
		var starting sync.WaitGroup
		for i := range all {
			o := Options{Name: fmt.Sprint("node-", i+1), Dir: t.TempDir(), ClusterListen: peers[i], Peers: peers, MaxStore: 1 << 30}
			if change != nil {
				change(&o)
			}
			opts[i] = o
			starting.Go(func() { all[i], errs[i] = Start(t.Context(), &o) })
		}
		starting.Wait()
		err := errors.Join(errs...)
		if err == nil {
			for _, s := range all {
				t.Cleanup(func() { s.Close() })
			}
			return all, opts
		}
		for _, s := range all {
			if s != nil {
				s.Close()
			}
		}
		if !strings.Contains(err.Error(), "address already in use") {
			t.Fatal(err)
		}
	}
	t.Fatal("no ports")
	return nil, nil
}

// Three servers elect a leader. When one is killed, the two others go on, and it has what it missed when it is back.
func TestThreeServers(t *testing.T) {
	t.Parallel()
	all, opts := three(t, func(o *Options) { o.Secret = aSecret })
	leader := all[0].Leader()
	i := slices.IndexFunc(opts, func(o Options) bool { return o.Name == leader })
	if i < 0 {
		t.Fatalf("the leader is %q", leader)
	}
	away, left := all[i], all[(i+1)%3]
	js := connect(t, left)
	var err error
	for range 100 { // the leader may not have heard of all yet
		if _, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Replicas: 3}); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	publish(t, js, "of three")
	if err := away.Close(); err != nil {
		t.Error(err)
	}
	publish(t, js, "of two")
	for begun := time.Now(); left.Leader() == leader || left.Leader() == ""; time.Sleep(20 * time.Millisecond) {
		if time.Since(begun) > 30*time.Second {
			t.Fatalf("after half a minute, the leader is %q, and %q is away", left.Leader(), leader)
		}
	}
	back := start(t, opts[i])
	publish(t, js, "of three again")
	if err := all[(i+2)%3].Close(); err != nil { // so that it takes the one that was away
		t.Error(err)
	}
	publish(t, js, "of two others")
	if n := messages(t, connect(t, back)); n != 4 {
		t.Errorf("who came back has %d messages, want 4", n)
	}
}

// Who does not know the secret is let in neither as a client nor as a server.
func TestSecret(t *testing.T) {
	t.Parallel()
	var log faulty.Buffer
	s := start(t, Options{Name: "a", Dir: t.TempDir(), Listen: "127.0.0.1:0", Secret: aSecret, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	for _, test := range []struct {
		options []nats.Option
		in      bool
	}{
		{nil, false},
		{[]nats.Option{nats.Token("another secret of bytes")}, false},
		{[]nats.Option{nats.Token(aSecret)}, true},
		{s.ConnectOptions(), true},
	} {
		nc, err := nats.Connect(s.URL(), append(test.options, nats.Timeout(5*time.Second))...)
		if err == nil {
			nc.Close()
		}
		if (err == nil) != test.in {
			t.Errorf("%d options: %v", len(test.options), err)
		}
	}
	if text := log.String(); !strings.Contains(text, "level=ERROR msg=\"nats: ") || !strings.Contains(text, "authentication error") || !strings.Contains(text, "level=DEBUG msg=\"nats: Server is ready\"") {
		t.Errorf("the log does not have it:\n%s", text)
	}
	if text := log.String(); strings.Contains(text, aSecret) {
		t.Errorf("the log has the secret:\n%s", text)
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	errs := make([]error, 3)
	var starting sync.WaitGroup
	for i, secret := range []string{aSecret, aSecret, "another secret of bytes"} {
		o := Options{Name: fmt.Sprint("node-", i), Dir: t.TempDir(), ClusterListen: "127.0.0.1:0", Secret: secret, StartTimeout: 4 * time.Second,
			Peers: []string{address, "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}} // of which one is there: so there is never a leader
		if i == 0 {
			o.ClusterListen, o.StartTimeout = address, 3*time.Second // so that it says so before the others have gone
		}
		starting.Go(func() { _, errs[i] = Start(t.Context(), &o) })
	}
	starting.Wait()
	for i, found := range map[int]int{0: 1, 2: 0} {
		if want := fmt.Sprintf("found %d of 3 others", found); errs[i] == nil || !strings.Contains(errs[i].Error(), want) {
			t.Errorf("server %d: %v, want %s", i, errs[i], want)
		}
	}
}

// With certificates on both sides, servers and clients need no secret; without one, nobody is let in.
func TestTLS(t *testing.T) {
	t.Parallel()
	config := certificates(t)
	all, _ := three(t, func(o *Options) { o.TLS, o.Listen = config, "127.0.0.1:0" })
	client := &tls.Config{RootCAs: config.RootCAs}
	if nc, err := nats.Connect(all[0].URL(), nats.Secure(client), nats.Timeout(5*time.Second)); err == nil {
		nc.Close()
		t.Error("a client without a certificate is let in")
	}
	client.Certificates = config.Certificates
	nc, err := nats.Connect(all[0].URL(), nats.Secure(client), nats.Timeout(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	connect(t, all[1]) // in this process
}

// certificates returns a certificate for 127.0.0.1, of an authority that is trusted for it on both sides.
func certificates(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "imagecdn"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		RootCAs:      pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	}
}
