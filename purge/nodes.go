package purge

import (
	"context"
	"iter"
)

// Nodes are the nodes of a cluster, each of which has a [Service] of its own. A purge that one of them accepts is in force on all: the Target
// sees to that. What is left is that each frees what it has, and says so. Its methods are called from many goroutines at once, and by
// at-least-once rules, as those of a [Target].
type Nodes interface {
	// Self is the name of this node.
	Self() string

	// Flush has every other node carry out what f says, and calls report with a node's result as that changes, one call at a time, with
	// counts of what this Flush has removed. It returns when every node that may serve has a final result, or soon after ctx ends; a node that it
	// reported without a final result by then has failed. A node that was lost, and so serves nothing of before until it has caught up, has the
	// result Left. It is called again, with all that was flushed, after a restart and after it failed.
	Flush(ctx context.Context, f NodeFlush, report func(NodeResult))

	// Lost reports whether a node is known to be no part of the cluster any more, so that its jobs are anybody's. It does no I/O.
	Lost(node string) bool
}

// A NodeFlush is what an attempt of a job leaves for other nodes to do.
type NodeFlush struct {
	ID      string   `json:"id"` // of the job
	Attempt int      `json:"attempt"`
	Scope   Scope    `json:"scope"`
	Source  string   `json:"source,omitempty"`
	Mode    Mode     `json:"mode"`
	Paths   []string `json:"paths"` // or folders or tags; with scope All "/*" or "/source/*"

	// Resumed says that the purge may have been accepted by another process, so that this node need not have carried it out yet, nor know all the others.
	Resumed bool `json:"-"`
}

// A NodeResult is what became of the purge on one node.
type NodeResult struct {
	Name    string      `json:"name"`
	State   State       `json:"state"`   // Received, FlushingServers, Done or Error
	Outcome NodeOutcome `json:"outcome"` // empty until the state is final
	Reason  string      `json:"reason"`  // why it failed, or is waited for; one line

	// Changed says that it had, or may have had, something else of an image than the node whose job it is, in a mode that compares: caches further out may have that, too.
	Changed bool `json:"changed,omitempty"`

	// What was removed there.
	Originals   int   `json:"originals"`
	Derivatives int   `json:"derivatives"`
	Composites  int   `json:"composites"`
	Bytes       int64 `json:"bytes"`
}

// A NodeOutcome is what is known of a purge on a node.
type NodeOutcome string

const (
	Flushed NodeOutcome = "flushed" // it has freed what it had
	Left    NodeOutcome = "left"    // it is cut off or gone: it serves nothing of before, and carries the purge out before it does again
	Failing NodeOutcome = "failed"  // the purge is in force there, and what it had could not be freed; see the reason
)

// A SharedLog is a [Log] that the services of all nodes write to. Each entry belongs to one of them; Write makes what is new its writer's, and
// leaves the Owner in put unread. Where an entry in put is another's, or was this node's and has been taken and dropped since, Write changes nothing and
// returns an error that is [ErrNotOwner]. What is not this node's is not dropped, and that is no error. Package purgetest has the tests that each
// must pass.
//
// A put may be held back for a second or so, and be replaced by the next, where the entry was put twice before and neither it nor what it
// replaces is Final: nothing was promised with it. All others are as durable when Write returns as a [Log] has it. This node's
// Entries and Unfinished have it at once.
type SharedLog interface {
	Log

	// Watch calls changed with every entry that another node has put or taken since the log was opened, or since the time before the first
	// call, in an order that is that of the writes for each entry, until ctx ends. Where puts of an entry follow closely, the last is
	// enough. Where it has to begin anew, entries may come again.
	Watch(ctx context.Context, changed func(LogEntry))

	// Unfinished yields the entries that are not Final, as they are known here, without I/O and without their Data. What this node has written or
	// taken is known at once.
	Unfinished() iter.Seq[LogEntry]

	// Take makes an entry this node's, if it is the owner's still and as it was: so that of several who take it one
	// succeeds. The others get ErrNotOwner.
	Take(e LogEntry) error
}
