package imagecdn

import (
	"context"
	"time"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
)

// A Cluster makes handlers on several machines one: what one of them is told to forget, all have forgotten when the job is done. The module
// github.com/imagecdn/imagecdn/cluster has one. It is for one handler, which closes it.
//
// All methods are safe for concurrent use.
type Cluster interface {
	cache.Shared
	purge.Nodes

	// Join begins to carry out the purges of the cluster on n. It is called once, by New, before anything is served, and returns
	// when n may be asked to accept purges; an error is New's. What was missed is caught up with behind, and Ready tells when.
	Join(ctx context.Context, n *Node) error

	// Accept has all nodes carry a purge out, durably, and returns when this one has, by Node.Accept. An error means that nothing was
	// promised.
	Accept(ctx context.Context, r purge.Request) error

	// Log is where the nodes' jobs are, or nil.
	Log() purge.SharedLog

	// Turn is asked for before a picture is made that is to be kept in a store which nodes share, as one that has a [cache.Settler]
	// is. mine is that nobody else is at it, or that who is took too long; the caller makes it, and then calls
	// end, which others who wait for it wait for. Else another node has made it meanwhile, and it may be found in the cache. ctx ends the wait.
	Turn(ctx context.Context, k cache.Key) (end func(), mine bool)

	// Ready is nil where this node has caught up with all purges, and else says why not, in one line.
	Ready() error

	// Members are the nodes that this one knows of, itself among them, by name.
	Members() []Member

	// Close takes this node out of the cluster, so that nobody waits for it. What it knows is not served from then on. When Close
	// returns, the Node is used no more. A second call does nothing, and so does the end of a turn.
	Close() error
}

// A Member is a node of a cluster, as another sees it.
type Member struct {
	Name    string        `json:"name"`
	Self    bool          `json:"self"`
	State   string        `json:"state"`   // "ready", "catching_up", "cut_off", "gone"
	Since   time.Time     `json:"since"`   // when it joined, by its own clock
	Seen    time.Duration `json:"seen"`    // how long ago it was last heard of
	Applied uint64        `json:"applied"` // up to which position it has carried out purges
	Version string        `json:"version,omitempty"`
}
