package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cluster"
	"github.com/imagecdn/imagecdn/cluster/embed"
	"github.com/imagecdn/imagecdn/internal/command"
)

const (
	// joinTimeout bounds the wait for servers, of which there have to be as many as replicas when streams and buckets are made.
	joinTimeout = 2 * time.Minute

	// toEmbed is -cluster where the servers run in this process.
	toEmbed = "embed"
)

// clusterFlags say which cluster this is a node of.
type clusterFlags struct {
	where     string // URLs of servers, or embed
	node      string
	replicas  int
	policy    string
	bound     time.Duration
	retention time.Duration
	prefix    string
	creds     string

	peers   []string
	listen  string
	clients string
	dir     string
	secret  string // a file
	store   int64

	ca, cert, key string
}

func (c *clusterFlags) define(f *flag.FlagSet) {
	c.store = 4 << 30
	f.StringVar(&c.where, "cluster", "", "be a node of several, on the NATS servers at `nats://HOST:4222`, with commas between them, or embed for servers in the nodes themselves; see docs/deploy.md")
	f.StringVar(&c.node, "node", "", "`name` of this node, which no other has and which stays (default: the host's)")
	f.IntVar(&c.replicas, "cluster-replicas", 0, "on how many `servers` all is that the nodes share: 1, 3 or 5; 0 means 3 with -peers and else 1")
	f.StringVar(&c.policy, "cluster-policy", "strict", "what a node that is cut off does, by `policy`: strict asks the origin for each request, available serves what it knows, and undone purges with it")
	f.DurationVar(&c.bound, "cluster-bound", 5*time.Second, "how `long` a node that hears nothing of the others counts as one of them, and about how long a purge waits for one that has died")
	f.DurationVar(&c.retention, "cluster-retention", 24*time.Hour, "how `long` purges are kept for nodes that are away; one that was away for more than half of it begins with an empty cache")
	f.StringVar(&c.prefix, "cluster-prefix", "imagecdn", "`word` that all on the servers begins with, so that several clusters may share them")
	f.StringVar(&c.creds, "cluster-creds", "", "`file` of credentials for the NATS servers")
	f.Var(command.List(&c.peers), "peers", "with -cluster embed: `HOST[:6222]` of each node, this one among them, the same on all: 3 or 5; with commas between them, and may be repeated (default: this node alone)")
	f.StringVar(&c.listen, "cluster-listen", "", "with -peers: `address` for the servers of the other nodes (default 127.0.0.1:6222)")
	f.StringVar(&c.clients, "cluster-clients", "", "with -cluster embed: `address` for other NATS clients, such as the command nats; empty for none")
	f.StringVar(&c.dir, "cluster-dir", "", "with -cluster embed: `directory` of the server (default: nats in that of -cache)")
	f.Var(command.Size(&c.store), "cluster-size", "with -cluster embed: most `bytes` on disk of what the nodes share")
	f.StringVar(&c.secret, "cluster-secret-file", "", "with -cluster embed: `file` of what the servers know each other by, 16 bytes or more; where -cluster-listen is not loopback, this or -cluster-cert")
	f.StringVar(&c.ca, "cluster-ca", "", "`file` of the certificates, PEM, by which servers, and with -cluster embed nodes, are known; -cluster is over TLS then")
	f.StringVar(&c.cert, "cluster-cert", "", "`file` of this node's certificate, PEM")
	f.StringVar(&c.key, "cluster-key", "", "`file` of the key of -cluster-cert, PEM")
}

// embedded are the flags that are for servers in this process.
var embedded = []string{"peers", "cluster-listen", "cluster-clients", "cluster-dir", "cluster-size", "cluster-secret-file"}

// check says which flags do not go together. What they say is for those to judge who take it.
func (c *clusterFlags) check(f *flag.FlagSet) (err error) {
	c.peers = split(c.peers)
	f.Visit(func(fl *flag.Flag) {
		switch {
		case err != nil:
		case c.where == "" && (fl.Name == "node" || fl.Name == "peers" || strings.HasPrefix(fl.Name, "cluster-")):
			err = command.UsageErrorf("-%s is for -cluster", fl.Name)
		case c.where != toEmbed && slices.Contains(embedded, fl.Name):
			err = command.UsageErrorf("-%s is for -cluster embed", fl.Name)
		}
	})
	switch {
	case err != nil:
		return err
	case c.where == "":
		return nil
	case c.where == toEmbed && c.creds != "":
		return command.UsageErrorf("-cluster-creds is for NATS servers of others, and not for -cluster embed")
	case c.policy != "strict" && c.policy != "available":
		return command.UsageErrorf("-cluster-policy takes strict or available, and got %q", c.policy)
	case c.listen != "" && len(c.peers) == 0:
		return command.UsageErrorf("-cluster-listen is for -peers")
	case (c.cert == "") != (c.key == ""):
		return command.UsageErrorf("-cluster-cert and -cluster-key go together")
	case c.where == toEmbed && (c.ca == "") != (c.cert == ""):
		return command.UsageErrorf("-cluster embed takes -cluster-ca, -cluster-cert and -cluster-key together, as nodes are servers and clients of each other")
	case c.where == toEmbed && c.store < 0:
		return command.UsageErrorf("-cluster-size takes a size")
	case c.where == toEmbed:
		return nil
	}
	for _, server := range strings.Split(c.where, ",") {
		// A URL that url.Parse does not take may have a password, which an error of its would show.
		u, err := url.Parse(strings.TrimSpace(server))
		if err != nil || u.Host == "" || u.Scheme != "nats" && u.Scheme != "tls" && u.Scheme != "ws" && u.Scheme != "wss" {
			return command.UsageErrorf("-cluster takes embed, or URLs of NATS servers such as nats://10.0.0.5:4222, with commas between them")
		}
	}
	return nil
}

// split splits at commas.
func split(list []string) (all []string) {
	for _, item := range list {
		for one := range strings.SplitSeq(item, ",") {
			if one = strings.TrimSpace(one); one != "" {
				all = append(all, one)
			}
		}
	}
	return all
}

// options makes the handler a node.
func (n *node) options(ctx context.Context, env command.Env, opts *imagecdn.Options) error {
	c := &n.cluster
	if c.where == "" {
		return nil
	}
	name, err := c.name()
	if err != nil {
		return err
	}
	config, err := c.tls()
	if err != nil {
		return err
	}
	where, dial := c.where, c.dial(config, env.Logger)
	replicas := c.replicas
	if where == toEmbed {
		server, err := c.embed(ctx, name, config, env)
		if err != nil {
			return err
		}
		n.closers = append(n.closers, server)
		// With servers in the nodes, all that is shared outlives one of them by default, which is what they are for.
		if replicas == 0 && len(c.peers) > 0 {
			replicas = 3
		}
		where, dial = server.URL(), append(c.reports(env.Logger), server.ConnectOptions()...)
	}
	joined, err := join(ctx, where, &cluster.Options{
		Name: name, Prefix: c.prefix, Replicas: replicas, Bound: c.bound, Available: c.policy == "available", Retention: c.retention,
		OwnRenders: n.bucket.url == "", // what another has made is nowhere to be found
		Logger:     env.Logger,
	}, dial)
	if err != nil {
		return err
	}
	// The handler closes it; and where there will be none, this does.
	n.closers = append(n.closers, joined)
	opts.Cluster = joined
	if joined.Log() != nil && opts.Purge != nil {
		purges := *opts.Purge
		purges.Log = nil
		opts.Purge = &purges
	}
	env.Logger.Info("a node of a cluster", "node", name, "cluster", cmp.Or(c.prefix, "imagecdn"), "policy", c.policy, "bound", c.bound)
	return nil
}

// join connects to the servers, and waits for what they are to have.
func join(ctx context.Context, where string, o *cluster.Options, dial []nats.Option) (*cluster.Cluster, error) {
	joining, stop := context.WithTimeout(ctx, joinTimeout)
	defer stop()
	return cluster.Connect(joining, where, o, dial...)
}

// name is -node, or that of the host.
func (c *clusterFlags) name() (string, error) {
	if c.node != "" {
		return c.node, nil
	}
	name, err := cluster.HostName()
	if err != nil {
		return "", fmt.Errorf("%w; -node names this node", err)
	}
	return name, nil
}

// tls is what -cluster-ca and the like come to; nil where there are none.
func (c *clusterFlags) tls() (*tls.Config, error) {
	if c.ca == "" && c.cert == "" {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.ca != "" {
		pem, err := os.ReadFile(c.ca)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", c.ca)
		}
	}
	if c.cert != "" {
		pair, err := tls.LoadX509KeyPair(c.cert, c.key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if c.where == toEmbed {
		config.ClientCAs, config.ClientAuth = config.RootCAs, tls.RequireAndVerifyClientCert
	}
	return config, nil
}

// dial is how servers of others are spoken to.
func (c *clusterFlags) dial(config *tls.Config, log *slog.Logger) []nats.Option {
	all := c.reports(log)
	if c.creds != "" {
		all = append(all, nats.UserCredentials(c.creds))
	}
	if config != nil {
		all = append(all, nats.Secure(config))
	}
	return all
}

// reports tell the log of the connection.
func (c *clusterFlags) reports(log *slog.Logger) []nats.Option {
	return []nats.Option{
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("cluster: the connection to the NATS servers is gone", "error", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn("cluster: the connection to the NATS servers", "error", err)
		}),
	}
}

// embed starts a server in this process.
func (c *clusterFlags) embed(ctx context.Context, name string, config *tls.Config, env command.Env) (*embed.Server, error) {
	dir := c.dir
	if dir == "" {
		if env.CacheDir == "" {
			return nil, command.UsageErrorf("-cluster embed takes a -cluster-dir where there is no -cache")
		}
		dir = filepath.Join(env.CacheDir, "nats")
	}
	secret := ""
	if c.secret != "" {
		b, err := os.ReadFile(c.secret)
		if err != nil {
			return nil, err
		}
		if secret = strings.TrimSpace(string(b)); secret == "" {
			return nil, fmt.Errorf("%s holds no secret", c.secret)
		}
	}
	if len(c.peers) > 0 {
		env.Logger.Info("cluster: waiting for most of the servers", "peers", strings.Join(c.peers, ","))
	}
	return embed.Start(ctx, &embed.Options{
		Name: name, Dir: dir, Listen: c.clients, ClusterListen: c.listen, Peers: c.peers, Secret: secret, TLS: config, MaxStore: c.store, Logger: env.Logger,
	})
}
