// Package embed runs a NATS server with JetStream in this process, so that nodes of a cluster need no other program:
//
//	s, err := embed.Start(ctx, &embed.Options{
//		Name:          "cdn-1",
//		Dir:           "/var/lib/imagecdn/nats",
//		ClusterListen: "10.0.0.1:6222",
//		Peers:         []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}, // the same on all three
//		Secret:        secret,
//	})
//	if err != nil {
//		return err
//	}
//	defer s.Close()
//	c, err := cluster.Connect(ctx, s.URL(), &cluster.Options{Name: "cdn-1", Replicas: 3}, s.ConnectOptions()...)
//
// One server alone is for one machine. Three go on when one of them is away, five when two are; with two, neither goes on without the other, so that is
// refused.
//
// # What is promised
//
// What JetStream acknowledges is on the disks of most servers, synced, unless Options.SyncInterval has it otherwise: it outlives a kill, and a power
// cut of all of them.
//
// By default nobody outside of this process is let in but the peers. An address that others can reach takes a secret or certificates: who may speak to a server may purge, and
// read the names of all images. The secret is sent as it is, so without TLS the network between the nodes has to be theirs alone.
package embed

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Options are the settings of a Server. Name and Dir are required.
type Options struct {
	// Name is that of this server, which no other of the cluster has, and which stays that of its directory: up to 64 letters, digits, "-" and "_".
	Name string

	// Dir is a directory for this server alone. It is made where it is not there.
	Dir string

	// Listen is an address for clients of other processes, such as the command nats: "127.0.0.1:4222". Empty means that there are
	// none: this process needs none.
	Listen string

	// ClusterListen is the address for the other servers. Empty means "127.0.0.1:6222" where there are Peers, and else none.
	ClusterListen string

	// Peers are the addresses for servers of all nodes, this one among them, the same on all: at least 3, as "host" or "host:port". The port is
	// 6222 where there is none. Empty means that this server is alone.
	Peers []string

	// Secret is what servers of a cluster, and clients, know each other by: at least 16 bytes. Empty means none, which is for loopback addresses and
	// for TLS with certificates on both sides.
	Secret string

	// TLS has the certificates of this server, for all that it listens to, and for its connections to others. Nil means that connections are not
	// encrypted. With ClientAuth tls.RequireAndVerifyClientCert, a certificate is enough to be let in.
	TLS *tls.Config

	// MaxMemory and MaxStore bound what streams and buckets take in memory and on disk, in bytes. Zero means 64 MiB and 4 GiB.
	MaxMemory, MaxStore int64

	// SyncInterval is how often what was written is synced to the disk. Zero means each time, before it is acknowledged, which is what a promise of
	// durability needs where all machines may lose their power at once.
	SyncInterval time.Duration

	// StartTimeout is how long Start waits until enough servers have found each other. Zero means a minute.
	StartTimeout time.Duration

	// Logger is told what the server warns of, and at the level of debugging what else it says. Nil means that nothing is logged.
	Logger *slog.Logger
}

const (
	clusterName = "imagecdn"
	routePort   = 6222
	routeUser   = "imagecdn" // a server asks for a name where it asks for a password

	minSecret = 16 // bytes
)

// A Server is a NATS server. All methods are safe for concurrent use.
type Server struct {
	server *server.Server
	secret string // of clients
	close  func() error
}

var names = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Start starts a server and waits until JetStream is ready: with Peers, until most of them are there and have a leader. ctx ends the wait; the
// server runs until Close.
func Start(ctx context.Context, o *Options) (*Server, error) {
	if o == nil {
		o = new(Options)
	}
	opts, err := o.server()
	if err != nil {
		return nil, fmt.Errorf("embed: %w", err)
	}
	lock, err := take(o.Dir, o.Name)
	if err != nil {
		return nil, fmt.Errorf("embed: %w", err)
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("embed: %w", errors.Join(err, lock.Close()))
	}
	log := &bridge{log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)), failed: make(chan struct{}), monitored: make(chan struct{})}
	s.SetLoggerV2(log, true, false, false)
	started := &Server{server: s, secret: opts.Authorization}
	begun := make(chan struct{})
	go func() {
		defer close(begun)
		s.Start()
	}()
	started.close = sync.OnceValue(func() error {
		<-begun
		if len(o.Peers) > 0 {
			log.settle()
			s.LameDuckShutdown() // the others have a leader at once, and need not miss this one first
		}
		s.Shutdown()
		s.WaitForShutdown()
		return lock.Close()
	})
	if err := started.wait(ctx, o, log); err != nil {
		return nil, fmt.Errorf("embed: %w", errors.Join(err, started.close()))
	}
	s.SetLoggerV2(log, log.log.Enabled(ctx, slog.LevelDebug), false, false)
	if len(o.Peers) > 0 {
		if known := len(s.JetStreamClusterPeers()); known > len(o.Peers) {
			log.log.Warn("embed: the cluster has more servers than Options.Peers, which has to have them all, this one among them", "servers", known, "peers", len(o.Peers))
		}
	}
	return started, nil
}

// server returns the settings of the NATS server.
func (o *Options) server() (*server.Options, error) {
	switch {
	case !names.MatchString(o.Name):
		return nil, fmt.Errorf("Options.Name is %q; it has up to 64 letters, digits, \"-\" and \"_\"", o.Name)
	case o.Dir == "":
		return nil, errors.New("Options.Dir is empty; a server needs a directory")
	case o.Secret != "" && len(o.Secret) < minSecret:
		return nil, fmt.Errorf("Options.Secret has %d bytes; the least is %d", len(o.Secret), minSecret)
	case o.MaxMemory < 0 || o.MaxStore < 0:
		return nil, errors.New("Options.MaxMemory and MaxStore are bounds, and not negative")
	case o.SyncInterval < 0 || o.StartTimeout < 0:
		return nil, errors.New("Options.SyncInterval and StartTimeout are not negative")
	case len(o.Peers) == 1 || len(o.Peers) == 2:
		return nil, fmt.Errorf("Options.Peers has %d of all servers, this one among them; it takes at least 3, as with two neither goes on without the other", len(o.Peers))
	case len(o.Peers) == 0 && o.ClusterListen != "":
		return nil, errors.New("Options.ClusterListen is set, and Options.Peers is empty")
	}
	opts := &server.Options{
		ServerName: o.Name, NoSigs: true, NoLog: true, DisableJetStreamBanner: true,
		DontListen: true, // unless there is an address below
		JetStream:  true, StoreDir: o.Dir,
		JetStreamMaxMemory: cmp.Or(o.MaxMemory, 64<<20), JetStreamMaxStore: cmp.Or(o.MaxStore, 4<<30),
		SyncAlways: o.SyncInterval == 0, SyncInterval: o.SyncInterval,
		Authorization:    o.Secret,
		LameDuckDuration: time.Second, LameDuckGracePeriod: time.Millisecond, // of clients, which have the other servers
		// Without a rest for those that stay away, as this is how a node that comes back is found.
		ReconnectErrorReports: 60, ConnectErrorReports: 60,
	}
	if o.TLS != nil {
		opts.TLSConfig, opts.TLSVerify = o.TLS.Clone(), o.TLS.ClientAuth == tls.RequireAndVerifyClientCert
	}
	if o.Listen != "" {
		var err error
		if opts.Host, opts.Port, err = o.address("Listen", o.Listen); err != nil {
			return nil, err
		}
		opts.DontListen = false
	}
	if len(o.Peers) == 0 {
		return opts, nil
	}
	host, port, err := o.address("ClusterListen", cmp.Or(o.ClusterListen, net.JoinHostPort("127.0.0.1", strconv.Itoa(routePort))))
	if err != nil {
		return nil, err
	}
	if opts.DontListen {
		// It would wait for ever with the listening to others for that to clients: so it listens, and lets nobody in who does not know what nobody does.
		opts.DontListen, opts.Host, opts.Port = false, "127.0.0.1", server.RANDOM_PORT
		opts.Authorization = cmp.Or(o.Secret, rand.Text())
	}
	opts.Cluster = server.ClusterOpts{Name: clusterName, Host: host, Port: port}
	if o.Secret != "" {
		opts.Cluster.Username, opts.Cluster.Password = routeUser, o.Secret
	}
	if o.TLS != nil {
		opts.Cluster.TLSConfig = o.TLS.Clone()
	}
	// The server counts the routes, its own among them, to know how many it takes for the first leader.
	seen := make(map[string]bool)
	for _, p := range o.Peers {
		u, err := route(p)
		if err != nil {
			return nil, err
		}
		if seen[u.Host] {
			return nil, fmt.Errorf("Options.Peers has %s twice", u.Host)
		}
		seen[u.Host] = true
		if o.Secret != "" {
			u.User = url.UserPassword(routeUser, o.Secret)
		}
		opts.Routes = append(opts.Routes, u)
	}
	return opts, nil
}

// address parses an address to listen on, which only who is let in may reach.
func (o *Options) address(field, address string) (host string, port int, err error) {
	host, digits, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("Options.%s is %q; it takes \"host:port\"", field, address)
	}
	port, err = strconv.Atoi(digits)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("Options.%s is %q, whose port is none", field, address)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	verified := o.TLS != nil && o.TLS.ClientAuth == tls.RequireAndVerifyClientCert
	if ip := net.ParseIP(host); host != "localhost" && !ip.IsLoopback() && o.Secret == "" && !verified {
		return "", 0, fmt.Errorf("Options.%s is %q, which others can reach; it takes a Secret, or TLS with certificates on both sides", field, address)
	}
	return host, port, nil
}

// route is the URL of a peer.
func route(peer string) (*url.URL, error) {
	wrong := fmt.Errorf("Options.Peers has %q; it takes \"host\" or \"host:port\"", peer)
	peer = strings.TrimPrefix(peer, "nats://")
	host, port, err := net.SplitHostPort(peer)
	if err != nil {
		host, port = strings.Trim(peer, "[]"), strconv.Itoa(routePort)
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return nil, wrong
		}
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || host == "" || strings.ContainsAny(host, "/@?# \t,") {
		return nil, wrong
	}
	return &url.URL{Scheme: "nats", Host: net.JoinHostPort(host, port)}, nil
}

// take makes the directory this process's, and of the server of this name: with another name it would be another server to its peers, who would wait for the first for ever.
func take(dir, name string) (*flock.Flock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(dir, "lock"), flock.SetPermissions(0o600))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%s is in use by another server", dir)
	}
	file := filepath.Join(dir, "name")
	switch had, err := os.ReadFile(file); {
	case errors.Is(err, os.ErrNotExist):
		err = os.WriteFile(file, []byte(name+"\n"), 0o600)
		if err != nil {
			return nil, errors.Join(err, lock.Close())
		}
	case err != nil:
		return nil, errors.Join(err, lock.Close())
	case strings.TrimSpace(string(had)) != name:
		return nil, errors.Join(fmt.Errorf("%s is of the server %q, and not of %q", dir, strings.TrimSpace(string(had)), name), lock.Close())
	}
	return lock, nil
}

// wait waits until the server is ready, has failed, or has waited for long enough.
func (s *Server) wait(ctx context.Context, o *Options, log *bridge) error {
	limit := cmp.Or(o.StartTimeout, time.Minute)
	end := time.NewTimer(limit)
	defer end.Stop()
	for !s.ready(len(o.Peers) > 0) || !s.answers(ctx) {
		again := time.NewTimer(20 * time.Millisecond)
		select {
		case <-again.C:
			continue
		case <-log.failed:
			again.Stop()
			return log.why
		case <-ctx.Done():
			again.Stop()
			return s.waited(o, ctx.Err())
		case <-end.C:
			again.Stop()
			return s.waited(o, fmt.Errorf("%v have passed", limit))
		}
	}
	return nil
}

func (s *Server) ready(clustered bool) bool {
	if !s.server.ReadyForConnections(time.Millisecond) || !s.server.JetStreamEnabled() {
		return false
	}
	if !clustered {
		return true
	}
	info, err := s.server.Jsz(nil)
	return err == nil && info.Meta != nil && info.Meta.Leader != "" && s.server.JetStreamIsCurrent()
}

// answers reports whether JetStream answers a client here. When there is a leader, this server may not have heard yet of who asks it for what: then
// a request is lost, and who has sent it would wait for long.
func (s *Server) answers(ctx context.Context) bool {
	nc, err := nats.Connect(s.URL(), append(s.ConnectOptions(), nats.NoReconnect(), nats.Timeout(time.Second))...)
	if err != nil {
		return false
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return false
	}
	ctx, stop := context.WithTimeout(ctx, 250*time.Millisecond)
	defer stop()
	_, err = js.AccountInfo(ctx)
	return err == nil
}

// waited says what has been waited for in vain.
func (s *Server) waited(o *Options, why error) error {
	if len(o.Peers) == 0 {
		return fmt.Errorf("the server is not ready: %w", why)
	}
	found := make(map[string]bool)
	if routes, err := s.server.Routez(nil); err == nil {
		for _, r := range routes.Routes {
			found[r.RemoteName] = true
		}
	}
	return fmt.Errorf("the servers have no leader yet, and this one has found %d of %d others: %w", len(found), len(o.Peers)-1, why)
}

// URL is where clients of other processes find the server. Where Options.Listen is empty, it is for ConnectOptions alone.
func (s *Server) URL() string {
	// With tls:// a client of this process would want what it does not need.
	return strings.Replace(s.server.ClientURL(), "tls://", "nats://", 1)
}

// ConnectOptions have a client of this process connected to the server without a network, whatever it listens to.
func (s *Server) ConnectOptions() []nats.Option {
	all := []nats.Option{nats.InProcessServer(s.server)}
	if s.secret != "" {
		all = append(all, nats.Token(s.secret))
	}
	return all
}

// ClusterAddr is the address that other servers find this one at, or nil.
func (s *Server) ClusterAddr() net.Addr {
	if a := s.server.ClusterAddr(); a != nil {
		return a
	}
	return nil
}

// Leader is the name of the server that leads, and empty while there is none, and of one that is alone.
func (s *Server) Leader() string {
	info, err := s.server.Jsz(nil)
	if err != nil || info.Meta == nil {
		return ""
	}
	return info.Meta.Leader
}

// Close ends the server, and returns when it has. What it leads goes to the others first, which takes a second or two. Clients are
// to be closed before.
func (s *Server) Close() error { return s.close() }

// A bridge has the server's log in that of the program. The server says much when it is well: that is for debugging.
type bridge struct {
	log    *slog.Logger
	once   sync.Once
	why    error         // of what the server cannot go on with
	failed chan struct{} // closed once why is set

	monitoring sync.Once
	monitored  chan struct{} // closed once the server follows the cluster
}

// monitoring is what the server says when it follows the cluster. One that is shut down between its start and this panics, in v2.12.
const monitoring = "Starting metadata monitor"

// settle waits until the server may be shut down, but not for one that has failed before it came so far.
func (b *bridge) settle() {
	limit := time.NewTimer(time.Second)
	defer limit.Stop()
	select {
	case <-b.monitored:
	case <-limit.C:
	}
}

func (b *bridge) Noticef(format string, v ...any) { b.debug(format, v) }
func (b *bridge) Debugf(format string, v ...any)  { b.debug(format, v) }
func (b *bridge) Tracef(format string, v ...any)  { b.debug(format, v) }

func (b *bridge) debug(format string, v []any) {
	if format == monitoring {
		b.monitoring.Do(func() { close(b.monitored) })
	}
	if b.log.Enabled(context.Background(), slog.LevelDebug) {
		b.log.Debug("nats: " + fmt.Sprintf(format, v...))
	}
}

func (b *bridge) Warnf(format string, v ...any)  { b.log.Warn("nats: " + fmt.Sprintf(format, v...)) }
func (b *bridge) Errorf(format string, v ...any) { b.log.Error("nats: " + fmt.Sprintf(format, v...)) }

func (b *bridge) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	b.log.Error("nats: " + text)
	b.once.Do(func() {
		b.why = errors.New(strings.TrimSpace(text))
		close(b.failed)
	})
}
