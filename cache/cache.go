// Package cache keeps what an image CDN knows, in two kinds of state that are never mixed.
//
//   - Names are mutable, few, small and strict. An [Entry] says what an origin last answered for a
//     [Name]: status, validators, freshness and the digest of the bytes. A [Table] holds them.
//   - Things are immutable, many, large and loose. A [Thing] is an original's or a derivative's bytes,
//     kept in a [Store] under a [Key] computed from what it was made from. Things may be dropped,
//     written late or twice, and are never wrong.
//
// A [Transport] joins the two: it asks an origin for images, by RFC 9111 as a shared cache.
//
//	store := cache.NewMemory(256 << 20)
//	table := cache.NewTable(store, nil)
//	photos := cache.NewTransport(store, origin, &cache.TransportOptions{Source: "photos", Table: table})
//	res, err := photos.Fetch(ctx, "/cat.jpg", "")
//
// # Purges
//
// A fill of a name holds a [Lease]; a purge kills it; what a dead lease brings is handed to those who
// were waiting for it already, and never becomes the name's value. So a fetch that began before a purge
// cannot put purged bytes back after it, in memory, on disk, or after a restart.
//
// This package never sees a pixel, a URL's parameters or a handler.
package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"
)

// A Name is what an image is called: where it comes from, its path there, and which version of it is
// meant. Version is the cache-busting word of a URL, empty for the image itself, and where the origin is asked with a query
// that too: see [Version].
type Name struct {
	Source  string
	Image   string // with a leading slash
	Version string
}

// Version makes one version of a cache-busting word and the raw query that the origin is to be asked with. Both may be empty. Neither
// may have a line break, which is what stands between them.
func Version(word, query string) string {
	if query == "" {
		return word
	}
	return word + "\n" + query
}

// cutVersion undoes Version.
func cutVersion(version string) (word, query string) {
	word, query, _ = strings.Cut(version, "\n")
	return word, query
}

// A Digest is the SHA-256 of some bytes.
type Digest [sha256.Size]byte

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText returns d in hexadecimal.
func (d Digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d[:]), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(d)) {
		return errors.New("cache: a digest has 64 hexadecimal digits")
	}
	_, err := hex.Decode(d[:], text)
	return err
}

// DigestOf returns the digest of b.
func DigestOf(b []byte) Digest { return sha256.Sum256(b) }

// An Entry is what an origin last said of a name. It is not changed once it is in a table.
type Entry struct {
	Status int         // as the origin answered; 502 and 504 for an origin that failed or was too slow
	Header http.Header // the origin's, end-to-end fields only
	Digest Digest      // of the body; zero where there is none
	Size   int64       // of the body in bytes
	Reason string      // one line for a status of 400 or more, fit for the public

	RequestTime  time.Time // when the request was sent
	ResponseTime time.Time // when its header had arrived
	Freshness    Freshness // how long this may be used

	// Variant is the hash of the request's fields that selected this answer, where it has Vary. See
	// [Transport.RoundTrip].
	Variant string `json:",omitempty"`

	gen       uint64    // the table's generation when the fetch began
	tags      []Mark    // of the header's tags, once the table has it
	stale     expiry    // set by a purge that keeps the bytes
	origin    *Entry    // that this was made from by marking or amending it; nil where it was not
	asked     uint64    // how many groups had been invalidated when it was asked for; see groups
	restUntil time.Time // the origin has failed, and is left alone until then
}

// OK reports whether e stands for a body.
func (e *Entry) OK() bool { return e.Status == http.StatusOK }

// Marked reports whether a purge that keeps the bytes has left e, and the origin has not been heard since.
func (e *Entry) Marked() bool { return e.stale != notExpired }

// Age is how old e's content is at now (RFC 9111 section 4.2.3).
func (e *Entry) Age(now time.Time) time.Duration {
	return e.Freshness.InitialAge + max(0, now.Sub(e.ResponseTime))
}

// plainEntry is an Entry as encoding/json sees it, with the generation that a Keeper has to keep.
type plainEntry struct {
	entryFields
	Generation uint64
}

type entryFields Entry // without the methods

// MarshalJSON writes all of e that a [Keeper] has to keep.
func (e *Entry) MarshalJSON() ([]byte, error) {
	return json.Marshal(plainEntry{entryFields(*e), e.gen})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (e *Entry) UnmarshalJSON(data []byte) error {
	var p plainEntry
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	*e = Entry(p.entryFields)
	e.gen = p.Generation
	return nil
}

// expiry is what a purge that keeps bytes demands of an entry. The larger demand prevails.
type expiry uint8

const (
	notExpired expiry = iota
	mayServe          // use it while the origin is asked
	mustAsk           // ask the origin before using it again
)

// A Key is what a thing is kept under. Image and Source say whose it is, so that all that belongs to one
// image can be found; Sum alone tells things apart.
type Key struct {
	Source string
	Image  string
	Kind   Kind
	Sum    Digest
}

// Kind is what a thing is to its image.
type Kind uint8

const (
	Original   Kind = iota // the origin's bytes; Sum is their digest
	Derivative             // made from the original alone
	Composite              // made from the original and others
)

// A Thing is some bytes and what to say of them. It is immutable, header, body and inputs: whoever gets one
// may keep it, and must not write to it.
type Thing struct {
	Header http.Header // to be sent as it is
	Body   []byte

	// Inputs are the other images that a Composite was made from, beside the one that its key names: a watermark,
	// say. A purge of any of them removes it. Composites with equal keys have the same inputs. It means nothing of
	// another kind.
	Inputs []Input
}

// An Input is an image that has gone into a composite.
type Input struct {
	Source string
	Image  string // with a leading slash
}

// size is what t costs in memory, in bytes: the body, and about what maps and strings take.
func (t *Thing) size() int64 {
	n := int64(len(t.Body)) + 256
	for k, vs := range t.Header {
		n += int64(len(k)) + 64
		for _, v := range vs {
			n += int64(len(v)) + 16
		}
	}
	for _, in := range t.Inputs {
		n += int64(len(in.Source)+len(in.Image)) + 128 // and a place in a store's index
	}
	return n
}

// ErrNotFound is what a Store returns for a key it does not hold.
var ErrNotFound = errors.New("cache: not found")

// Removed counts what a purge took away. Composites are also those on other images.
type Removed struct {
	Originals, Derivatives, Composites int
	Bytes                              int64
}

func (r *Removed) add(k Kind, bytes int64) {
	switch k {
	case Original:
		r.Originals++
	case Derivative:
		r.Derivatives++
	case Composite:
		r.Composites++
	}
	r.Bytes += bytes
}

func (r *Removed) plus(o Removed) {
	r.Originals += o.Originals
	r.Derivatives += o.Derivatives
	r.Composites += o.Composites
	r.Bytes += o.Bytes
}

// atLeast makes each count of r no less than o's. Tiers hold copies of the same things, so their
// counts do not add up.
func (r *Removed) atLeast(o Removed) {
	r.Originals = max(r.Originals, o.Originals)
	r.Derivatives = max(r.Derivatives, o.Derivatives)
	r.Composites = max(r.Composites, o.Composites)
	r.Bytes = max(r.Bytes, o.Bytes)
}
