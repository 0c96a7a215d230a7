// Package purge is the invalidation service of an image CDN: it takes a purge,
// makes it take effect at once, does the rest of the work behind, and says at
// every step, and for every path, what became of it.
//
// What is purged is a [Target], which the caller brings:
//
//	svc := purge.NewService(target, nil)
//	defer svc.Close()
//
//	job, err := svc.Submit(ctx, purge.Request{Paths: []string{"/photos/cat.jpg"}}, nil)
//	if err != nil {
//		return err // refused, and err says why
//	}
//	rec, err := job.Wait(ctx)
//	if err != nil {
//		return err // ctx ended; the job goes on
//	}
//	return rec.Err()
//
// # The life of a job
//
//	Received ▶ Preparing ▶ FlushingServers ▶ FlushingCDN ▶ Done
//	   │ waits too long ▶ Expired                └ a CDN failed ▶ ErrorCDNNode   any other failure ▶ Error
//
// Before Received, [Target.Accept] has returned: from then on nothing that was
// cached before the purge is served as fresh, whatever becomes of the job. The
// states after it report how the work behind goes on: asking the origin,
// removing what is stored, here and then on the other nodes of a cluster, and counting it. States are reported in this order
// and never twice in one attempt.
//
// FlushingCDN is passed through also where no CDN is configured; it is skipped
// where an attempt leaves nothing for a CDN to do, because every path came out
// [Unchanged] or failed, or because another node has failed.
//
// A job ends as Done only if every path is done. The failure of one path stops
// no other: [Record] has a result for each, and [Service.Retry] makes a new
// attempt for those that failed.
//
// # Promises
//
//   - A job that Submit returns was accepted by the Target. A purge that is
//     refused says which path or field is at fault and shows the right form.
//   - A callback gets a job's events in order, one at a time. It cannot delay a
//     purge, nor, until [ServiceOptions].MaxCallbacks of them do not return, the
//     callback of another job.
//   - Nothing is unbounded: jobs that wait, paths in a job, records kept, the
//     memory they take, workers, and goroutines in callbacks: see [ServiceOptions].
//   - A Target or a callback that panics is logged; it ends one path, or one
//     call of the callback, and not the program.
//   - A service at rest has no goroutines, but for those that follow a [SharedLog].
//
// # Limits
//
// Jobs and records live in memory, and a restart forgets them, unless
// [ServiceOptions].Log keeps them; see [Open]. What Accept did is as
// durable as the Target makes it, so a forgotten job never brings old bytes
// back; what it leaves behind is room not yet reclaimed. The paths of one job are
// purged one after another.
//
// # Several nodes
//
// With [ServiceOptions].Nodes, what a job has flushed here is flushed on the other nodes, while it is FlushingServers, and no CDN hears of it before
// all of them have answered: [Record].Nodes has a result for each. A node that fails makes the job's end Error, and Retry asks all nodes again, which does no
// harm. A node that is cut off or gone serves nothing of before; it has the outcome [Left], which is a success.
//
// With a [SharedLog] each service shows the jobs of all: List, Get and Events have them, and Job.Wait waits for them. A job belongs to one node, which alone works on it; the others
// follow it. When a node is lost, another takes its unfinished jobs over and goes on as after a restart. If the node was not lost after all, its writes are refused, and it
// follows. So each attempt of a job has one end, which is saved before anybody sees it: while the log is away, jobs do not end. States
// between the first and the last may not be in such a log as yet, and are then gone through again.
//
// Retry makes a failed job of another node this node's; Cancel is for a node's own. Bounds of the log, such as MaxLog, say how much of others' records is kept
// here; what leaves to make room stays in the log until its owner drops it, or the owner is lost. IDs grow over all nodes as far as their clocks are
// within an hour of each other.
//
// # Fairness
//
// Workers are shared among tenants by the paths that they purge, and within a tenant jobs are
// served first come, first served. The first job of a tenant waits for nobody's
// queue: it is the next to begin. Jobs of one tenant that wait for the same work share it:
// each is accepted on its own, has a record of its own and reaches its own
// end, and what was removed is told in each. [ServiceOptions].Limits bounds what a tenant may ask for.
//
// All methods may be called from many goroutines at once, and from callbacks.
package purge

import (
	"context"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Mode says how hard a purge is.
type Mode string

const (
	// Delete drops everything now, whatever the origin says: the case of a
	// takedown. The zero Mode means Delete.
	Delete Mode = "delete"

	// Revalidate asks the origin first. What has not changed stays, with the
	// outcome [Unchanged]; what has is replaced before its derivatives go.
	Revalidate Mode = "revalidate"

	// Stale keeps serving what there is while it is refreshed.
	Stale Mode = "stale"

	// Followed says that nothing is left to be done here: the cache has found by itself that the
	// image has changed at its origin, and has followed. Such a purge is for the log, and for caches further out. It
	// goes with the cause ByOrigin alone.
	Followed Mode = "followed"
)

// A Cause says how a purge came about.
type Cause string

const (
	ByCode   Cause = "code"   // a program called for it; the zero Cause means ByCode
	ByAPI    Cause = "api"    // somebody asked over the network
	ByOrigin Cause = "origin" // the origin was found to have changed; see Followed
)

// A Scope says how much a purge is about.
type Scope string

const (
	// Original is the listed paths, each with everything made from it.
	Original Scope = "original"

	// All is everything, or everything of one source.
	All Scope = "all"

	// Prefix is all images in the listed folders, at any depth.
	Prefix Scope = "prefix"

	// Tag is all images that their origin has given one of the listed tags.
	Tag Scope = "tag"
)

// A State is how far a job, or one path of it, has come.
type State string

const (
	Received        State = "received"         // accepted, in force, and waiting for a worker
	Preparing       State = "preparing"        // a worker works out what is left to do
	FlushingServers State = "flushing_servers" // the origin is asked, what is stored here goes
	FlushingCDN     State = "flushing_cdn"     // what CDNs hold goes
	Done            State = "done"             // all of it is done
	ErrorCDNNode    State = "error_cdn_node"   // all of it is done, except on a CDN
	Error           State = "error"            // at least one path failed
	Expired         State = "expired"          // waited too long for a worker, or was cancelled while it waited
)

// Final reports whether s is a state in which an attempt ends.
func (s State) Final() bool {
	switch s {
	case Done, ErrorCDNNode, Error, Expired:
		return true
	}
	return false
}

// An Outcome is what became of one path.
type Outcome string

const (
	Removed   Outcome = "removed"   // what was stored is gone
	Absent    Outcome = "absent"    // nothing was stored
	Unchanged Outcome = "unchanged" // the origin has the same image still: nothing was removed, a success
	Changed   Outcome = "changed"   // the origin has another image, which is in place; what was made of the old one is gone
	Gone      Outcome = "gone"      // the origin no longer has the image (404, 410); what was stored is gone
	Staled    Outcome = "stale"     // what was stored is served on while it is refreshed
	Marked    Outcome = "marked"    // what was stored is kept, and asked about before it is next served
	Failed    Outcome = "failed"    // see the reason
)

// Options is what a purge may say beyond what is purged. It is what the methods
// of a CDN that embeds this package take; nil and the zero value mean the
// defaults.
type Options struct {
	// Mode is how hard the purge is. Zero means Delete.
	Mode Mode

	// Tenant is on whose behalf the purge is made: at most 128 bytes of text,
	// kept in the record. Zero means nobody in particular.
	Tenant string

	// Source narrows a purge of everything to one source. Zero means every
	// source. It has no meaning where paths or tags are listed, and is refused there.
	Source string

	// OnStatus is called with every state the job reaches, in order, one call
	// at a time, on a goroutine of its own; a retry goes on calling it. It
	// may take its time and may panic: neither the purge nor other jobs'
	// callbacks notice. It may be called before Submit has returned. Zero
	// means that nobody is told.
	OnStatus func(Event)
}

// A Request is a purge to be made.
type Request struct {
	// Scope is how much is purged. Zero means Original, never All.
	Scope Scope `json:"scope"`

	// Paths are the images to purge with scope Original, at least one, each
	// in the form that [CleanPath] takes, and with scope Prefix the folders, each in
	// the form that [CleanFolder] takes. A path given twice is purged once.
	Paths []string `json:"paths,omitempty"`

	// Tags are the tags to purge with scope Tag, at least one, each of up to 1,024 bytes of UTF-8 without
	// white space, commas and control characters. They tell cases apart.
	Tags []string `json:"tags,omitempty"`

	// Source is the one source to purge with scope All. Zero means everything.
	Source string `json:"source,omitempty"`

	// Mode is how hard the purge is. Zero means Delete.
	Mode Mode `json:"mode"`

	// Tenant is on whose behalf the purge is made. Zero means nobody in particular.
	Tenant string `json:"tenant,omitempty"`

	// Cause is how it came about, for the log. Zero means ByCode. JSON does not have it: who asks does not decide it.
	Cause Cause `json:"-"`
}

// A Target is the cache that is purged.
//
// Its methods are called from many goroutines at once, and by at-least-once
// rules: a call may be made again after it failed, or although it succeeded, and
// then does no harm. A call returns soon after its context ends; what it
// has done by then may stay done. The text of an error becomes the reason in
// the job's record, to be read by whoever may read the job.
//
// An error ends a call for now, and the service tries again a little later,
// unless the error is a *[PathError], a *[RequestError], or wrapped by [Permanent].
type Target interface {
	// Accept makes the purge r take effect for every request that arrives
	// after it returns, and durably: nothing from before may be stored, or
	// be served as fresh, again. It is quick, constant time for scope
	// All, since the submitter waits for it.
	//
	// r is complete and checked: Scope and Mode are set and the paths are
	// clean, as [CleanPath] returns them, and distinct. The Target says
	// with a *PathError or a *RequestError if there is no such source.
	// An error means that nothing was promised: the purge is refused. It may
	// have taken effect in part nevertheless, which costs only a refetch.
	Accept(ctx context.Context, r Request) error

	// PurgePath does for one path what Accept left to do: it asks the origin
	// (Revalidate), removes what is stored, and says what became of it. path
	// is clean: it is decoded already, the source up to the second slash and
	// the image from there.
	//
	// The result's counts are of what this call removed, also beside an
	// error. A zero Outcome is filled in: Staled in mode Stale, otherwise
	// Removed or Absent by the counts. Path, State and Reason are not read.
	PurgePath(ctx context.Context, path string, mode Mode) (PathResult, error)

	// PurgeAll reclaims what the purge of one source, or of everything if
	// source is empty, made unreachable. Its result is as PurgePath's.
	PurgeAll(ctx context.Context, source string, mode Mode) (PathResult, error)
}

// A Selector is a [Target] that can purge folders and tags. Where a Target is none, such
// purges are refused.
type Selector interface {
	Target

	// PurgeSelection does for one folder (scope Prefix) or one tag (scope Tag) what Accept left to do: it
	// removes what that has made unreachable, and says what became of it. A folder is clean, as
	// [CleanFolder] returns it. Its result is as PurgePath's.
	PurgeSelection(ctx context.Context, scope Scope, name string, mode Mode) (PathResult, error)
}

// maxTag is the longest tag, in bytes: what Cloudflare's API takes.
const maxTag = 1024

// maxTenant is the longest name of a tenant, in bytes.
const maxTenant = 128

// check returns r complete, with clean and distinct paths, or what is wrong with it.
func (r Request) check(maxPaths int) (Request, error) {
	if r.Scope == "" {
		r.Scope = Original
	}
	if r.Mode == "" {
		r.Mode = Delete
	}
	if r.Cause == "" {
		r.Cause = ByCode
	}
	switch r.Mode {
	case Delete, Revalidate, Stale:
	case Followed:
		if r.Cause == ByOrigin {
			break
		}
		fallthrough
	default:
		return r, &RequestError{"mode", fmt.Sprintf("is %q; it may be %q, %q or %q", clip(string(r.Mode)), Delete, Revalidate, Stale)}
	}
	if len(r.Tenant) > maxTenant {
		return r, &RequestError{"tenant", fmt.Sprintf("has %d bytes; it may have %d", len(r.Tenant), maxTenant)}
	}
	if !utf8.ValidString(r.Tenant) || strings.ContainsFunc(r.Tenant, isControl) {
		return r, &RequestError{"tenant", "has bytes that are no text"}
	}

	switch r.Scope {
	case All:
		if len(r.Paths) > 0 {
			return r, &RequestError{"paths", `goes with scope "original", and the scope is "all"`}
		}
		if len(r.Tags) > 0 {
			return r, &RequestError{"tags", `goes with scope "tag", and the scope is "all"`}
		}
		if r.Source != "" {
			if fault := sourceFault(r.Source); fault != "" {
				return r, &RequestError{"source", fmt.Sprintf("is %q, which %s; it is a name, such as %q", clip(r.Source), fault, "photos")}
			}
		}
		r.Paths = nil
		return r, nil
	case Original, Prefix, Tag:
	default:
		return r, &RequestError{"scope", fmt.Sprintf("is %q; it may be %q, %q, %q or %q", clip(string(r.Scope)), Original, Prefix, Tag, All)}
	}

	if r.Source != "" {
		return r, &RequestError{"source", fmt.Sprintf(`goes with scope "all", and the scope is %q`, r.Scope)}
	}
	var err error
	if r.Scope == Tag {
		if len(r.Paths) > 0 {
			return r, &RequestError{"paths", `goes with the scopes "original" and "prefix", and the scope is "tag"`}
		}
		r.Tags, err = distinct("tags", r.Tags, "product-17", maxPaths, cleanTag)
		return r, err
	}
	if len(r.Tags) > 0 {
		return r, &RequestError{"tags", fmt.Sprintf(`goes with scope "tag", and the scope is %q`, r.Scope)}
	}
	if r.Scope == Prefix {
		r.Paths, err = distinct("paths", r.Paths, exampleFolder, maxPaths, CleanFolder)
	} else {
		r.Paths, err = distinct("paths", r.Paths, exampleForm, maxPaths, CleanPath)
	}
	return r, err
}

// names are what r lists: paths or tags.
func (r Request) names() []string {
	if r.Scope == Tag {
		return r.Tags
	}
	return r.Paths
}

// distinct returns the clean forms of names, each once.
func distinct(field string, names []string, example string, most int, clean func(string) (string, error)) ([]string, error) {
	if len(names) == 0 {
		return nil, &RequestError{field, fmt.Sprintf("is empty; list at least one, such as %q", example)}
	}
	// Grown as names are accepted, so that a list that is refused costs little.
	var all []string
	seen := make(map[string]bool)
	for _, n := range names {
		n, err := clean(n)
		if err != nil {
			return nil, err
		}
		if seen[n] {
			continue
		}
		if len(all) == most {
			return nil, &RequestError{field, fmt.Sprintf("lists more than %d; make it several purges", most)}
		}
		seen[n] = true
		all = append(all, n)
	}
	return all, nil
}

// cleanTag returns t, or what is wrong with it.
func cleanTag(t string) (string, error) {
	fault := ""
	switch {
	case t == "":
		fault = "has an empty tag"
	case len(t) > maxTag:
		fault = fmt.Sprintf("has a tag of %d bytes; it may have %d", len(t), maxTag)
	case !utf8.ValidString(t):
		fault = fmt.Sprintf("has the tag %q, which is not UTF-8", clip(t))
	case strings.ContainsFunc(t, func(r rune) bool { return r == ',' || unicode.IsSpace(r) || isControl(r) }):
		fault = fmt.Sprintf("has the tag %q, with a comma, white space or a control character in it, which no origin can send", clip(t))
	}
	if fault != "" {
		return "", &RequestError{"tags", fault}
	}
	return t, nil
}
