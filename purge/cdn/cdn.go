// Package cdn purges the caches in front of an image CDN: hosted CDNs, and Varnish, nginx and their like. It makes of a purge the fewest
// calls that cover it, keeps within the limits of each CDN's API, tries again what failed, and tells accepted, confirmed and
// verified apart.
//
// A [CDN] is one of them, and knows its API; each has a small package of its own below this one. [New] puts them in rings and plans,
// batches, paces and repeats their calls:
//
//	edges, err := cdn.New([]cdn.Ring{
//		{{Name: "shield", CDN: shield, Bases: []string{"http://shield.internal/img"}}}, // first
//		{{Name: "cloudflare", CDN: cf, Bases: []string{"https://www.example.com/img"}}}, // when the shield has answered
//	}, nil)
//	h, err := imagecdn.New(sources, &imagecdn.Options{CDNs: edges})
//
// # What a CDN is asked
//
// Every answer of the handler carries tags ([TagHeader]): one for each image that went into the picture, for each folder
// and source of these, for each tag that the origin gave them, and one for everything. So an image is purged with one tag: all sizes,
// formats and versions of it, and all pictures that it is a watermark of. Where a CDN has no tags, what it has is taken: a prefix, or URLs.
// [Features] says what that is, and docs/cdns.md what it leaves out.
package cdn

import (
	"context"
	"time"
)

// A Kind is a way to say what is to be purged.
type Kind string

const (
	Tag    Kind = "tag"    // whatever was answered with that tag
	URL    Kind = "url"    // what is at that URL
	Prefix Kind = "prefix" // what is at URLs that begin with that
	All    Kind = "all"    // all that the CDN has, or all of the zone, service or distribution that it was made for
)

// A Batch is what one call asks for.
type Batch struct {
	Kind Kind

	// Values are tags, or absolute URLs, distinct: at least one, and as many as [Form] allows. Of kind All there is none.
	Values []string

	// Soft asks that copies are marked as stale rather than dropped. It is set only where Features.Soft is, and Form.Hard is not.
	Soft bool

	// ID is the same for each try of this batch and for no other batch: at most 36 characters, a UUID.
	ID string
}

// A CDN is one CDN's purge API. Its methods may be called from many goroutines at once.
type CDN interface {
	// Features says what the API can do. It is always the same.
	Features() Features

	// Purge makes one call. It returns when that is answered, or soon after ctx ends.
	//
	// An error that is an [*Error] says whether another try may help; of any other it is taken that it may. A batch may be
	// sent again although it was carried out.
	Purge(ctx context.Context, b Batch) (Receipt, error)
}

// A Confirmer is a CDN that can be asked whether a purge has reached all of its servers.
type Confirmer interface {
	CDN

	// Confirmed reports whether the purge with that receipt's ID is complete. An error is as that of Purge; one that is not Temporary
	// says that the purge has failed.
	Confirmed(ctx context.Context, receipt Receipt) (bool, error)
}

// A Receipt is what a CDN said of a batch that it took.
type Receipt struct {
	ID string // its name for the purge, where it has one

	// Complete says that the answer itself came after the purge was carried out everywhere: nothing is left to be confirmed.
	Complete bool

	// After is how long the CDN expects the purge to take. Zero: it does not say.
	After time.Duration

	// Failed are those of the batch's values that it did not take.
	Failed []Failure
}

// A Failure is a value of a batch that a CDN did not take.
type Failure struct {
	Value     string
	Reason    string // in the CDN's own words; one line
	Temporary bool   // another try may help
}

// Features is what an API can do.
type Features struct {
	// Forms are the ways in which it can be told what to purge.
	Forms map[Kind]Form

	// Soft is whether it can mark copies as stale.
	Soft bool

	// Tags are the headers of responses where it looks for tags.
	Tags []TagHeader

	// Polls are the limits of rate that asking whether a purge is complete counts against. Rates of calls with the same name share them.
	Polls []Rate

	// Confirms is how long a purge may take to be confirmed before it counts as failed. Zero means 15 minutes. It has no meaning
	// where the CDN is no Confirmer.
	Confirms time.Duration
}

// A Form is one way in which an API can be told what to purge, with its limits.
type Form struct {
	MaxItems int // most values in a call; zero means one

	// MaxBytes bounds a call: the sum of the lengths of its values and, for each, of ItemBytes. Zero means no limit. A value
	// that is too long by itself is refused.
	MaxBytes, ItemBytes int

	// MaxOpen is the most values that may wait to be confirmed. Zero means no limit.
	MaxOpen int

	// Rates are the limits of rate that a call counts against: all of them.
	Rates []Rate

	// Query says of kind URL that a URL without a query covers those with one.
	Query bool

	// Hard says that this form cannot mark copies as stale, although others of the CDN can.
	Hard bool
}

// A Rate is a limit by token bucket. Forms of a CDN whose rates have the same name share a bucket, whose size is the same in all.
type Rate struct {
	Name      string  // what is limited, for people: "requests"
	Burst     float64 // at once; at least one
	PerSecond float64 // in the long run; above zero
	PerItem   bool    // each value counts, and not each call
}

// A TagHeader is a header of responses that a CDN reads tags from.
type TagHeader struct {
	Name      string // "Surrogate-Key"
	Separator string // between two tags: " " or ","

	// Quoted is for headers that are a list of strings of RFC 9651, such as Cache-Groups (RFC 9875).
	Quoted bool

	// MaxBytes is the longest value that the CDN reads: of what is beyond, it takes no notice. Zero means no limit.
	MaxBytes int
}
