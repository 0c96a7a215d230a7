// Package imagecdn is an image CDN that a Go program embeds. A [Handler] turns image URLs into resized images,
// keeps originals and derivatives for as long as the origin's headers allow, and can invalidate: one
// image, a source, or everything, with a status that is followed to the end.
//
//	h, err := imagecdn.New(imagecdn.Sources{
//		"photos": imagecdn.Dir("./photos"),
//		"shop":   imagecdn.Origin("https://img.example.com/"),
//	}, nil)
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer h.Close()
//	http.Handle("/img/", http.StripPrefix("/img", h))
//
// Then /img/photos/cat.jpg?w=500 is that file of the directory, 500 pixels wide. The parameters are described
// in docs/parameters.md of the module.
//
// # Promises
//
// After a purge is done, no response has bytes of before, even where a fetch was in flight when it
// was accepted. A failed transform is an error that is forgotten soon, never the original's bytes. Nothing is unbounded.
// ARCHITECTURE.md has the arguments.
package imagecdn

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/internal/fault"
	"github.com/imagecdn/imagecdn/internal/flight"
	"github.com/imagecdn/imagecdn/internal/svgclean"
	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/resize"
)

// Options are the optional settings of a [Handler]. Nil and zero values mean the documented defaults.
type Options struct {
	// Cache holds originals and derivatives, and, where it keeps names, lets a restart continue. The
	// handler closes it. Nil means 256 MiB of memory, and no disk.
	Cache cache.Store

	// Lifetime is how long images live, for sources that have no Lifetime of their own. Zero means as
	// long as the origin says.
	Lifetime cache.Lifetime

	// BrowserMaxAge bounds what browsers may keep, who cannot be purged. Shared caches get s-maxage with
	// the whole lifetime. Zero means that browsers may keep what shared caches may, and with CDNs five minutes.
	BrowserMaxAge time.Duration

	// Dialect reads the URLs. Nil means Native{Strict: Strict, Presets: Presets}.
	Dialect Dialect

	// Strict makes an unknown parameter an error. Without it unknown parameters mean nothing, and
	// do not tell two images apart. Another Dialect has a setting of its own.
	Strict bool

	// Presets are queries by name, for preset=NAME in URLs: see [Native]. Another Dialect has presets of its own. Zero means none.
	Presets map[string]string

	// PresetsOnly refuses, with 403, URLs that have no preset, or beside it any other parameter than vh, expires and dl. So strangers can
	// neither make up pictures nor have originals. Zero means that URLs may have what they like.
	PresetsOnly bool

	// Allow bounds what URLs may ask for. Nil means that they may ask for anything.
	Allow *Allow

	// MaxBytes bounds one original. Zero means 64 MiB. Negative means no limit.
	MaxBytes int64

	// MaxPixels bounds one original, frames counted. Zero means 50 megapixels. Negative means no limit.
	MaxPixels int64

	// Ladder has the sizes and qualities that pictures are made in. Nil means any that a URL asks for.
	Ladder *Ladder

	// MaxVariants is how many pictures of one image are kept, about, so that one image's cannot fill the cache. Those beyond are made
	// for each request that asks, and not stored: Cache-Status has the detail "too-many-variants" then. A purge of the
	// image makes room. It is for caches that are a [cache.Counter], as all of package cache are. Zero means 1,000.
	// Negative means no limit.
	MaxVariants int

	// MaxVersions is how many versions of one image, by vh, are known at a time, those that its origin refused among them. Others are
	// answered 403, until a purge of the image. Zero means 1,000. Negative means no limit.
	MaxVersions int

	// MaxEnlarge is how many times wider, or higher, than the original a picture may be; what would be larger is answered 400.
	// Zero means that only the 8192 pixels of a side are a limit.
	MaxEnlarge float64

	// Renders is how many pictures are made at once. Zero means GOMAXPROCS.
	Renders int

	// RenderMemory bounds the memory that making pictures takes, in bytes: of originals, from when their bytes arrive; of
	// pictures by estimates from headers, before anything is decoded; and of the decoded originals that are kept.
	// Pictures beyond that wait; one that takes more by itself is made alone, up to MaxRenderMemory. Zero means half of the runtime's memory
	// limit (GOMEMLIMIT) where there is one, else 256 MiB. Negative means no limit.
	RenderMemory int64

	// MaxRenderMemory is the most memory that one picture may take, in bytes, by its estimate; what would take more is answered 413, before anything is
	// decoded. Zero means four times RenderMemory, but no more than the runtime's memory limit where there is one, and no limit where RenderMemory
	// has none. Negative means no limit: then MaxPixels alone bounds what a picture takes.
	MaxRenderMemory int64

	// RenderTimeout bounds the time that one picture takes to make, from when it is its turn; what takes longer is answered 422, and so
	// are, for the negative lifetime, all pictures of an original whose decoding takes that long. Zero means a minute. Negative
	// means no limit.
	RenderTimeout time.Duration

	// Decoded bounds the originals that are kept decoded, in bytes, so that other sizes of them cost less. They make way
	// where RenderMemory is short. Zero means a quarter of RenderMemory, and 64 MiB where that has no limit. Negative means
	// that none are kept: requests share the decoding that they wait for together.
	Decoded int64

	// DecodedAge is how long an original is kept decoded. Zero means 30 seconds.
	DecodedAge time.Duration

	// MaxQueued is how many requests may wait for a picture to be made, and how many for the memory of an original. Where more
	// come, the source and the client that have most in the queue lose their newest to one that has less; who is left over is answered
	// 429. Zero means 1,000.
	MaxQueued int

	// Client names who sent a request, so that clients of a source take turns at having pictures made. It is asked only where a
	// picture is not in the cache, and the name is not kept longer than that takes. Nil means the address that the request came from, the first
	// 64 bits of an IPv6 one. Behind a proxy this is the proxy's, and all its clients are one: see
	// Client of package middleware's Forwarded.
	Client func(*http.Request) string

	// Admit is asked for leave once for each request that is not answered from the cache: before an origin is asked for an
	// image that is not known or a picture is made, or waited for. (Asking whether an image has changed needs no leave.) An error is answered with 429 and its text, and with Retry-After, which a method RetryAfter() time.Duration
	// of the error may give, and which is a second where it has none. Check of package middleware's Rate does for it.
	// Nil means that leave is always given.
	Admit func(*http.Request) error

	// NoAVIF keeps auto=format from picking AVIF, which costs about two seconds of a processor for a megapixel, of
	// those that nothing else needs. Zero means that it is picked for who takes it, where package resize/avif is linked in.
	NoAVIF bool

	// Faces finds faces, for the parameters that have to do with them; package resize/faces has one. Nil means that those parameters are
	// answered 400.
	Faces resize.FaceFinder

	// Text sets text, for txt and its kin; package resize/text has one, with fonts. Nil means that they are answered 400.
	Text resize.Typesetter

	// Warm is how many of the pictures that were asked for most of an image are made again after a purge of it, before
	// anybody asks, as far as nothing else is to be made. Zero means none.
	Warm int

	// NoSVG has SVG answered 415. Zero means that it is served, without pixels being made of it: written anew from what draws, and with a
	// Content-Security-Policy by which nothing in it could run. docs/formats.md has the rules.
	NoSVG bool

	// IgnoreChanges leaves it out of the log of purges that an origin was found to have changed. Zero means that
	// each such image is a purge with the mode [purge.Followed] and the tenant [ChangesTenant].
	IgnoreChanges bool

	// Purge are settings of the invalidation service. With a Log in it, New returns when every purge that was
	// acknowledged before a restart is in force; who opened the log closes it after the handler. Nil means the defaults, and that jobs live
	// in memory. Without a Logger in it, it gets Logger.
	Purge *purge.ServiceOptions

	// CDNs are the caches in front of the handler. Each purge goes through to them, and each answer carries the tags by which they
	// are told what to forget. Nil means that there are none, or none that is to be told.
	CDNs *cdn.Edges

	// Tags are headers of answers for tags, beside those that CDNs need: for caches that somebody else purges. The tags are those of
	// [cdn.Namer]. Nil means none.
	Tags []cdn.TagHeader

	// ServerTiming has answers carry Server-Timing, with how long the parts of the work took: docs/metrics.md has them. Strangers learn from it
	// what is in the cache, and how busy the server is, so it is for measuring. Zero means that answers have none.
	ServerTiming bool

	// Trace is told of the steps of the work: it is called when one begins, with the step's name, and the work goes on with the context that
	// it returns; end is called when the step is over. The steps are "request", and in it "name" and "make"; in both "fetch", an exchange with an
	// origin, which ends with its body; and in "make" "read", "render" with "queue", and "store". What several requests wait for together is in
	// the context of the one that began it; the others have a "make" of their own that has "shared". Keys of attributes are those of OpenTelemetry's
	// conventions where there are such, and begin with "imagecdn." where not. It is called from many goroutines at once, and must return at
	// once. The module github.com/imagecdn/imagecdn/otel has one. Nil means that nobody is told, and costs nothing.
	Trace func(ctx context.Context, step string, attrs ...slog.Attr) (_ context.Context, end func(err error, attrs ...slog.Attr))

	// OriginHeader is called with the header of each request to an origin, in the context of the step "fetch", and may add fields, such as
	// traceparent. They go wherever the origin redirects to. Nil means that none are added.
	OriginHeader func(ctx context.Context, header http.Header)

	// Cluster makes this handler a node of several: a purge that one of them accepts is in force on all, and is done when all have done it; and what one
	// has heard of an image from its origin, the others need not ask. The handler closes it, and so does New where it fails after it has
	// joined. Its log, where it has one, is that of Purge, which must have none of its own then. The module
	// github.com/imagecdn/imagecdn/cluster has one. Nil means that the handler is by itself.
	Cluster Cluster

	// Logger gets what an operator should know: origins and pictures that fail, with the cause that
	// responses do not tell. Nil means nothing is logged.
	Logger *slog.Logger
}

// Handler is an http.Handler that serves images. See [Handler.ServeHTTP] for what it answers.
//
// All methods are safe for concurrent use.
type Handler struct {
	opts     Options
	sources  map[string]*source
	table    *cache.Table
	store    cache.Store
	renderer resize.Renderer
	decoded  *resize.Pyramids
	renders  flight.Group[rendering]
	gate     *gate
	failures *failures
	recent   recent
	rendered atomic.Int64 // renders that have ended
	warmer   *warmer
	behind   *behind
	turns    *turns // nil where pictures are nobody else's
	changes  *changes
	purges   *purge.Service
	targets  *target
	tags     *tagger
	log      *slog.Logger
	followed bool // somebody wants to know of steps
	stats    stats

	negative time.Duration // how long a refusal may be kept that no source decides

	// serving counts the requests that use sources and the cache. A request counts itself in and then looks whether
	// the handler is closed; Close says so and then waits for the count: so one of them sees the other.
	serving atomic.Int64
	closed  atomic.Bool
	idle    chan struct{} // told when a closed handler serves nothing any more
}

// New returns a handler for images of these sources. A source that cannot be opened, or a setting that
// makes no sense, is an error that names it.
func New(sources Sources, o *Options) (*Handler, error) {
	h := &Handler{sources: make(map[string]*source, len(sources)), failures: newFailures(), idle: make(chan struct{}, 1)}
	if o != nil {
		h.opts = *o
	}
	switch {
	case h.opts.BrowserMaxAge < 0:
		return nil, errors.New("imagecdn: Options.BrowserMaxAge is negative")
	case h.opts.Renders < 0:
		return nil, errors.New("imagecdn: Options.Renders is negative")
	case h.opts.MaxQueued < 0:
		return nil, errors.New("imagecdn: Options.MaxQueued is negative")
	case h.opts.Warm < 0:
		return nil, errors.New("imagecdn: Options.Warm is negative")
	case h.opts.DecodedAge < 0:
		return nil, errors.New("imagecdn: Options.DecodedAge is negative")
	case h.opts.MaxEnlarge < 0:
		return nil, errors.New("imagecdn: Options.MaxEnlarge is negative")
	case h.opts.Cluster != nil && h.opts.Cluster.Log() != nil && h.opts.Purge != nil && h.opts.Purge.Log != nil:
		return nil, errors.New("imagecdn: Options.Purge has a Log, and so has Options.Cluster: only one can be kept")
	}
	if h.opts.CDNs != nil {
		h.opts.BrowserMaxAge = cmp.Or(h.opts.BrowserMaxAge, withCDNMaxAge)
	}
	tags, err := newTagger(&h.opts)
	if err != nil {
		return nil, err
	}
	h.tags = tags
	dialect, err := h.opts.dialect(sources)
	if err != nil {
		return nil, err
	}
	if h.opts.Dialect, err = withLadder(dialect, h.opts.Ladder); err != nil {
		return nil, err
	}
	h.log = cmp.Or(h.opts.Logger, slog.New(slog.DiscardHandler))
	h.stats.began = time.Now()
	memory, decoded := cmp.Or(h.opts.RenderMemory, defaultRenderMemory()), h.opts.Decoded
	if memory < 0 {
		memory = math.MaxInt64 / 2
	} else if decoded == 0 {
		decoded = max(memory/4, 1)
	}
	h.decoded = resize.NewPyramids(&resize.PyramidOptions{Bytes: decoded, Keep: h.opts.DecodedAge})
	h.gate = newGate(cmp.Or(h.opts.Renders, runtime.GOMAXPROCS(0)), cmp.Or(h.opts.MaxQueued, 1000), memory, h.decoded)
	h.gate.waited = h.stats.latency.wait.observe
	h.renderer = resize.Renderer{
		MaxPixels: h.opts.MaxPixels, MaxEnlarge: h.opts.MaxEnlarge, MaxTime: h.opts.RenderTimeout,
		MaxMemory: cmp.Or(h.opts.MaxRenderMemory, defaultMaxRenderMemory(memory)),
		Pyramids:  h.decoded, Admit: h.admitted(h.gate.admit), Faces: h.opts.Faces, Text: h.opts.Text,
	}
	if h.store = h.opts.Cache; h.store == nil {
		h.store = cache.NewMemory(0)
	}
	h.table = cache.NewTable(h.store, &cache.TableOptions{Shared: h.opts.Cluster})
	h.turns = newTurns(h.opts.Cluster, h.store, cmp.Or(h.opts.MaxQueued, 1000))
	h.changes = &changes{h: h}
	for name, s := range sources {
		if err := h.addSource(name, s); err != nil {
			h.abandon()
			return nil, err
		}
	}
	h.followed = h.opts.Trace != nil || h.opts.ServerTiming
	h.negative = cmp.Or(h.opts.Lifetime.Negative, 5*time.Minute)
	h.targets, h.warmer, h.behind = newTarget(h), newWarmer(h, h.opts.Warm), newBehind(h)
	if err := h.openPurges(context.Background()); err != nil {
		h.warmer.close()
		h.abandon()
		return nil, fmt.Errorf("imagecdn: %w", err)
	}
	return h, nil
}

// openPurges opens the invalidation service. Purges of before a restart are in force from then on, before anything is served.
func (h *Handler) openPurges(ctx context.Context) (err error) {
	var t purge.Target = h.targets
	if c := h.opts.Cluster; c != nil {
		defer func() {
			if err != nil {
				err = errors.Join(err, c.Close())
			}
		}()
		if err := c.Join(ctx, &Node{h}); err != nil {
			return err
		}
		t = clusterTarget{h.targets, c}
	}
	o := h.opts.purges()
	if h.opts.Cluster != nil {
		o.Nodes = clusterNodes{h.opts.Cluster, h}
	}
	h.purges, err = purge.Open(ctx, t, o)
	return err
}

// Cluster returns Options.Cluster.
func (h *Handler) Cluster() Cluster { return h.opts.Cluster }

// purges returns the settings of the invalidation service.
func (o *Options) purges() *purge.ServiceOptions {
	var p purge.ServiceOptions
	if o.Purge != nil {
		p = *o.Purge
	}
	if p.CDNs == nil && o.CDNs != nil {
		p.CDNs = o.CDNs
	}
	if c := o.Cluster; c != nil {
		if log := c.Log(); log != nil {
			p.Log = log
		}
	}
	p.Logger = cmp.Or(p.Logger, o.Logger)
	return &p
}

// abandon closes what New has opened. A cache that was given to New stays its giver's.
func (h *Handler) abandon() {
	h.decoded.Close()
	h.closeSources()
	if h.opts.Cache == nil {
		h.store.Close()
	}
}

// Drain has no more work begun: requests that wait for their turn to have a picture made, or would have to, are answered 503.
// Pictures that are being made and originals that are being fetched go on, and hits are served as ever. It is for a server
// that is about to shut down; Close does it, too.
func (h *Handler) Drain() { h.gate.drain() }

// Close waits for the requests being served, but for those whose work has not begun, ends what runs behind, and closes the
// cache. Requests that come later are answered 503.
func (h *Handler) Close() error {
	if h.closed.Swap(true) {
		return nil
	}
	h.Drain()
	for h.serving.Load() > 0 {
		<-h.idle
	}
	h.changes.close()
	err := h.purges.Close()
	h.warmer.close()
	h.behind.close()
	h.turns.close()
	if h.opts.Cluster != nil {
		err = errors.Join(err, h.opts.Cluster.Close()) // after it no purge comes, and nothing is served that one would be of
	}
	h.closeSources()
	h.decoded.Close()
	return errors.Join(err, h.store.Close())
}

// enter counts a request in, unless the handler is closed.
func (h *Handler) enter() bool {
	h.serving.Add(1)
	if h.closed.Load() {
		h.leave()
		return false
	}
	return true
}

// leave counts a request out.
func (h *Handler) leave() {
	if h.serving.Add(-1) == 0 && h.closed.Load() {
		select {
		case h.idle <- struct{}{}:
		default: // it is told already
		}
	}
}

// ServeHTTP answers GET and HEAD of /SOURCE/PATH?parameters, in these steps:
//
//  1. The URL is parsed into a canonical request. One that has expired is a 404.
//  2. Every image that goes into the picture is looked up by name; what is not fresh is asked of its origin.
//  3. The picture's key follows: a hash of those images' digests, the names of watermarks, the plan and the engine's version.
//     It is the ETag, so that If-None-Match is answered here.
//  4. The picture comes from memory, from disk, or is made, once for all who ask. Where that takes asking an origin or
//     making a picture, Options.Admit may refuse, and sources and clients take turns.
//
// Every image has Cache-Control and Age, as its shortest-lived input allows, ETag, Cache-Status (RFC 9211), and
// Vary: Accept where Accept decided the format.
//
// Where Accept names image/avif and that is not in the cache, the next best format goes out in its place, to be kept for half a
// minute at most, and AVIF is made behind; Cache-Status has the detail "stand-in" then. docs/formats.md has the rules.
//
// SVG is served without pixels being made of it: written anew, of what draws, with a Content-Security-Policy by which nothing in it could
// run. Parameters that change pixels are answered 415 then.
//
// Errors are one line of text: 400 for a bad parameter, 403 for an unknown source or what Options.PresetsOnly and Allow refuse, 404 and 410 as the
// origin said, 413 for too many bytes or pixels, 415 for what is no image, 422 for a damaged one, 429 with
// Retry-After when too much is asked at once, 502 and 504 for an origin that failed or was too slow. They are kept
// no longer than the negative lifetime.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.opts.Trace != nil {
		var end func()
		w, r, end = h.requestStep(w, r)
		defer end()
	}
	if !h.enter() {
		h.refuse(w, r, errClosing)
		return
	}
	defer h.leave()
	came := h.stats.came()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		h.refuse(w, r, &httpError{status: http.StatusMethodNotAllowed, text: r.Method + " is not answered here, only GET and HEAD"})
		return
	}

	req, err := h.recent.parse(r.URL, h.opts.Dialect, h.avif())
	if err != nil {
		h.tags.set(w.Header(), nil, nil)
		h.refuse(w, r, &httpError{status: paramStatus(err), text: err.Error(), lifetime: h.negative})
		return
	}
	if !req.Expires.IsZero() && !time.Now().Before(req.Expires) {
		h.tags.set(w.Header(), req, nil)
		h.refuse(w, r, &httpError{status: http.StatusNotFound, text: "the URL has expired", lifetime: h.negative})
		return
	}
	var p *picture
	defer func() { p.done() }() // again, which does nothing, unless something has panicked
	ctx := askedBy(r, req)
	defer func() {
		if ctx.seat != nil {
			h.gate.unseat(ctx.seat)
		}
	}()
	if h.followed && h.opts.ServerTiming {
		ctx.Context = context.WithValue(ctx.Context, timingKey{}, &timing{began: time.Now()})
	}
	if req.plan != nil {
		p, err = h.name(ctx, req, req.plan)
	} else {
		w.Header().Set("Vary", "Accept")
		p, err = h.negotiate(ctx, r, req)
	}
	matches := err == nil && p.matches(r.Header.Values("If-None-Match"))
	if err == nil && !matches && p.thing == nil && p.file == nil {
		err = h.get(ctx, p)
	}
	p.done() // nothing is held while a client reads
	if h.followed && h.opts.ServerTiming {
		w.Header().Set("Server-Timing", timingOf(ctx).header())
	}
	if err != nil {
		h.tags.set(w.Header(), req, p.known(err))
		h.refuse(w, r, err)
		return
	}
	h.tags.set(w.Header(), req, p.inputs)
	if p.better != nil {
		h.follow(p)
	}
	h.stats.timed(p, came, ctx.since)
	if matches {
		h.notModified(w, p)
		return
	}
	h.send(w, r, p)
}

// avif reports whether auto=format may pick AVIF.
func (h *Handler) avif() bool { return !h.opts.NoAVIF && resize.AVIF.Writable() }

// A picture is one request on its way to its bytes.
type picture struct {
	req     *parsed
	plan    *resize.Plan
	inputs  []input  // the original, then the marks
	few     [1]input // room for inputs, which are seldom more
	key     cache.Key
	tag     string // the key as an ETag, where it is known already
	thing   *cache.Thing
	file    *cache.File // in place of thing, where the bytes are to be sent from a file
	tier    cache.Tier  // where they were, if they were found
	made    bool        // for this request, or for one that it shared the work with
	spare   bool        // made, and not stored, as too many of its image are
	drawing bool        // the original is SVG, and p what may be served of it
	marked  func()      // ends the note of a picture with marks; nil where there is none

	better *resize.Plan  // what this picture stands in for, and is to be made behind; nil where nothing is
	atMost time.Duration // how long what stands in for something may be kept; zero where it stands in for nothing
	behind bool          // nobody waits for it
	most   int           // bytes from which on a picture made behind is not kept
}

// An input is an image that goes into a picture, as it is at the moment of the request.
type input struct {
	image  Image
	source *source
	now    *cache.Result
	bytes  *cache.Result // that has them, where now has not
}

// fetch looks the image up.
func (in *input) fetch(ctx context.Context) (err error) {
	in.now, err = in.source.cache.Fetch(ctx, in.image.Path, in.image.version())
	return err
}

// done lets go of the inputs' bytes. Of what p is, nothing is lost.
func (p *picture) done() {
	if p == nil {
		return
	}
	for i := range p.inputs {
		p.inputs[i].done()
	}
	if p.marked != nil {
		p.marked()
		p.marked = nil
	}
}

// share is p for work that may go on when who waits for it has gone.
func (p *picture) share() *picture {
	mine := *p
	mine.inputs, mine.marked = slices.Clone(p.inputs), nil
	for i := range mine.inputs {
		in := &mine.inputs[i]
		in.now, in.bytes = in.now.Share(), nil
	}
	return &mine
}

func (in *input) done() {
	if in.now != nil {
		in.now.Done()
	}
	if in.bytes != nil {
		in.bytes.Done()
		in.bytes = nil
	}
}

// name finds out what every image that goes into a picture is, and so the picture's key.
func (h *Handler) name(ctx context.Context, req *parsed, plan *resize.Plan) (*picture, error) {
	p := &picture{req: req, plan: plan}
	p.inputs = append(p.few[:0], input{image: req.Image})
	for _, mark := range req.Params.Inputs {
		p.inputs = append(p.inputs, input{image: mark})
	}
	for i := range p.inputs {
		in := &p.inputs[i]
		if in.source = h.sources[in.image.Source]; in.source == nil {
			return nil, &httpError{status: http.StatusForbidden, text: fmt.Sprintf("there is no source %q here", in.image.Source)}
		}
		if err := h.mayName(in); err != nil {
			return nil, err
		}
	}
	if len(p.inputs) > 1 {
		images := make([]string, len(p.inputs))
		for i, in := range p.inputs {
			images[i] = in.image.Source + in.image.Path
		}
		p.marked = h.gate.marks(images)
	}
	named := false
	defer func() {
		if !named { // also where a function of Options panics, for which net/http ends the request alone
			p.done()
		}
	}()
	if err := h.fetch(ctx, p); err != nil {
		return nil, err
	}
	named = true
	return p, nil
}

// fetch is p.fetch as a step.
func (h *Handler) fetch(ctx context.Context, p *picture) error {
	if !h.followed { // this is the path of hits
		return p.fetch(ctx)
	}
	ctx, end := h.step(ctx, phaseName)
	err := p.fetch(ctx)
	end(err)
	return err
}

// fetch looks p's inputs up, and computes its key from them.
func (p *picture) fetch(ctx context.Context) (err error) {
	for i := range p.inputs {
		p.inputs[i].done() // what it was is another by now
	}
	if len(p.inputs) == 1 { // no goroutine for the usual one
		err = p.inputs[0].fetch(ctx)
	} else {
		err = fetchAll(ctx, p.inputs)
	}
	if err != nil {
		return err
	}
	return p.computeKey()
}

func fetchAll(ctx context.Context, inputs []input) error {
	g, ctx := errgroup.WithContext(ctx)
	var panicked atomic.Pointer[any]
	for i := range inputs {
		g.Go(func() (err error) {
			defer func() {
				if p := recover(); p != nil {
					panicked.Store(&p)
					err = errors.New("a fetch panicked")
				}
			}()
			return inputs[i].fetch(ctx)
		})
	}
	err := g.Wait()
	if p := panicked.Load(); p != nil {
		panic(*p) // where net/http, or who calls, expects it
	}
	return err
}

// computeKey sets p's key from its inputs. Without any parameters the picture is the original itself, unless that is a drawing.
func (p *picture) computeKey() error {
	for _, in := range p.inputs {
		if !in.now.Entry.OK() {
			return &entryError{in}
		}
	}
	if err := p.checkDrawings(); err != nil {
		return err
	}
	p.key, p.tag = cache.Key{Source: p.req.Image.Source, Image: p.req.Image.Path}, ""
	if p.req.asIs && !p.drawing {
		p.key.Kind, p.key.Sum = cache.Original, p.inputs[0].now.Entry.Digest
		return nil
	}
	p.key.Kind = cache.Derivative
	if len(p.inputs) > 1 {
		p.key.Kind = cache.Composite
	}
	original := p.inputs[0].now.Entry.Digest
	if last := p.req.key.Load(); last != nil && len(p.inputs) == 1 && last.digest == original && last.format == p.plan.Format {
		p.key.Sum, p.tag = last.sum, last.etag
		return nil
	}
	b := make([]byte, 0, 256)
	if p.drawing {
		b = append(b, "imagecdn drawing\n"+svgclean.Version+"\n"...)
	} else {
		b = append(b, "imagecdn derivative\n"+resize.Version+"\n"...)
		b = p.plan.Append(b)
		b = append(b, '\n')
	}
	for i, in := range p.inputs {
		if fault.Planted == fault.MarkIsNoInput && i > 0 {
			break
		}
		b = append(b, in.now.Entry.Digest[:]...)
	}
	for _, mark := range p.marks() {
		// Equal marks of two names make two composites, so that each belongs to the mark that it is purged with.
		b = strconv.AppendQuote(b, mark.Source)
		b = strconv.AppendQuote(b, mark.Image)
	}
	p.key.Sum = cache.DigestOf(b)
	if len(p.inputs) == 1 {
		p.tag = p.etag()
		p.req.key.Store(&derivative{p.plan.Format, original, p.key.Sum, p.tag})
	}
	return nil
}

// marks returns the images that go into p beside its original, each once.
func (p *picture) marks() []cache.Input {
	var marks []cache.Input
	for _, in := range p.inputs[1:] {
		mark := cache.Input{Source: in.image.Source, Image: in.image.Path}
		own := mark.Source == p.key.Source && mark.Image == p.key.Image
		if !own && !slices.Contains(marks, mark) {
			marks = append(marks, mark)
		}
	}
	return marks
}

// etag is p's key, as far as anybody needs to tell pictures apart.
func (p *picture) etag() string {
	if p.tag != "" {
		return p.tag
	}
	return `"` + hex.EncodeToString(p.key.Sum[:16]) + `"`
}

// keepable reports whether p's bytes may be stored. A store may ask when p is done with already.
func (p *picture) keepable() bool {
	for i := range p.inputs {
		if !p.inputs[i].now.Keepable() { // and no other field is read
			return false
		}
	}
	return true
}

// get finds p's bytes: in memory, on disk, or by making them.
func (h *Handler) get(ctx context.Context, p *picture) error {
	for range 8 {
		err := h.getOnce(ctx, p)
		if err != errInputsChanged {
			return err
		}
		if err := p.fetch(ctx); err != nil {
			return err
		}
	}
	return &httpError{status: http.StatusBadGateway, text: "the original changes faster than it can be read"}
}

func (h *Handler) getOnce(ctx context.Context, p *picture) (err error) {
	if p.thing = p.req.find(p); p.thing != nil {
		return nil
	}
	if p.key.Kind == cache.Original {
		return h.original(ctx, p)
	}
	if h.find(ctx, p) == nil {
		return nil
	}
	if err := h.failures.recall(p.key.Sum); err != nil {
		return err
	}
	for i := range p.inputs {
		if err := h.failures.recall(p.inputs[i].now.Entry.Digest); err != nil {
			return err
		}
	}
	if err := h.admit(ctx); err != nil {
		return err
	}
	p.made = true
	for {
		var joined bool
		p.thing, joined, err = h.makeOnce(ctx, p)
		if !joined || !errors.Is(err, cache.ErrNoRoom) || cache.IsBehind(ctx) || ctx.Err() != nil { // which may be why ctx has ended
			return err
		}
		// It was begun behind, and has given up, or for a request that had to make way. This request waits for itself.
	}
}

// makeOnce makes p, once for all who ask for it at a time. It reports whether this call joined another.
func (h *Handler) makeOnce(ctx context.Context, p *picture) (th *cache.Thing, joined bool, err error) {
	mine := p.share()
	ctx, end := h.step(ctx, phaseMake)
	r, joined, err := h.renders.Join(ctx, p.flight(), func(ctx context.Context) (rendering, error) {
		defer mine.done()
		th, err := h.make(ctx, mine)
		return rendering{th, mine.spare}, err
	}, func() {
		// Who makes it may wait for the room that these bytes have. Should it give up, they are read again.
		mine.done()
		for i := range p.inputs {
			p.inputs[i].done()
		}
	})
	end(err, slog.Bool("imagecdn.shared", joined))
	p.spare = r.spare
	return r.thing, joined, err
}

// A rendering is what all who wait for a picture get.
type rendering struct {
	thing *cache.Thing
	spare bool
}

// flight tells renders apart: also those of the same bytes under two names, as each is kept with its own image.
func (p *picture) flight() string {
	return p.key.Source + "\x00" + p.key.Image + "\x00" + string(p.key.Sum[:])
}

// find looks in the cache, for p's bytes or for the file that has them.
func (h *Handler) find(ctx context.Context, p *picture) error {
	err := h.look(ctx, p)
	if p.thing != nil {
		p.req.found(p)
	}
	return err
}

func (h *Handler) look(ctx context.Context, p *picture) (err error) {
	f, ok := h.store.(cache.Finder)
	if !ok {
		p.thing, err = h.store.Get(ctx, p.key)
		return err
	}
	found, err := f.Find(ctx, p.key)
	p.thing, p.file, p.tier = found.Thing, found.File, found.Tier
	return err
}

// errInputsChanged says that an original had to be fetched again, and is another now.
var errInputsChanged = errors.New("an input has changed")

// bodies reads the bytes of p's inputs, and names them by their digests.
func (h *Handler) bodies(ctx context.Context, p *picture) ([]resize.Input, error) {
	bodies := make([]resize.Input, len(p.inputs))
	for i := range p.inputs {
		in := &p.inputs[i]
		body, now, err := in.source.cache.Body(ctx, in.now)
		if err != nil {
			return nil, err
		}
		if now != in.now {
			in.bytes = now
		}
		if !now.Entry.OK() {
			return nil, &entryError{input{image: in.image, source: in.source, now: now}}
		}
		if now.Entry.Digest != in.now.Entry.Digest {
			return nil, errInputsChanged
		}
		bodies[i] = resize.Input{ID: string(now.Entry.Digest[:]), Bytes: body}
	}
	return bodies, nil
}

// original finds an original's own bytes.
func (h *Handler) original(ctx context.Context, p *picture) error {
	kind := p.inputs[0].now.Entry.Header.Get("Content-Type")
	if !p.inputs[0].now.Brought() && h.look(ctx, p) == nil { // which waits for nothing
		if p.file != nil {
			p.file.Header = fixedHeader(p, kind, p.file.Size)
		} else {
			p.thing = newThing(p, kind, p.thing.Body)
			p.req.found(p)
		}
		return nil
	}
	if !p.inputs[0].now.Brought() {
		if err := h.admit(ctx); err != nil {
			return err
		}
	}
	bodies, err := h.bodies(ctx, p)
	if err != nil {
		return err
	}
	p.thing = newThing(p, kind, bodies[0].Bytes)
	p.req.found(p)
	return nil
}

// make makes a derivative and stores it.
func (h *Handler) make(ctx context.Context, p *picture) (*cache.Thing, error) {
	kept := false
	end := h.turns.take(ctx, p)
	defer func() { end(kept) }()
	if th, err := h.store.Get(ctx, p.key); err == nil {
		return th, nil // made between this request's look and its turn, here or on another node
	}
	renderer := h.renderer
	if p.behind { // which is in already
		renderer.Admit = h.admitted(h.gate.admitBehind)
		// A decoding that requests share would wait as this does, after all of them; and leave that came with theirs is a slot
		// that nobody could take back.
		renderer.Pyramids = nil
	} else {
		var part func()
		var err error
		if ctx, part, err = h.gate.join(ctx); err != nil {
			return nil, err
		}
		defer part()
	}
	bodies, err := h.read(ctx, p)
	if err != nil {
		return nil, err
	}
	th, err := h.render(ctx, p, &renderer, bodies)
	if err != nil {
		return nil, h.unmakeable(ctx, p, bodies, err)
	}
	th.Inputs = p.marks() // so that a purge of any of them finds it
	if p.keepable() && (!p.behind || len(th.Body) < p.most && ctx.Err() == nil) {
		if p.spare = h.crowded(ctx, p); p.spare {
			h.stats.more.spare.Add(1)
			return th, nil
		}
		h.keep(ctx, p, th)
		kept = true
	}
	return th, nil
}

// read is bodies as a step.
func (h *Handler) read(ctx context.Context, p *picture) ([]resize.Input, error) {
	ctx, end := h.step(ctx, phaseRead)
	bodies, err := h.bodies(ctx, p)
	end(err)
	return bodies, err
}

// keep gives what p has become to the cache.
func (h *Handler) keep(ctx context.Context, p *picture, th *cache.Thing) {
	ctx, end := h.step(ctx, phaseStore)
	began := time.Now()
	err := h.store.Put(ctx, p.key, th, p.keepable) // what could not be kept is made again
	h.stats.more.stored.observe(time.Since(began))
	end(err)
}

// render makes p of the bytes of its inputs, and counts that.
func (h *Handler) render(ctx context.Context, p *picture, r *resize.Renderer, inputs []resize.Input) (*cache.Thing, error) {
	timing, waited := timingOf(ctx), new(waits)
	ctx, end := h.step(context.WithValue(ctx, waitsKey{}, waited), phaseRender)
	began := time.Now()
	th, m, err := render(ctx, p, r, inputs)
	took := time.Since(began)
	end(err, m.attrs()...)
	wait := time.Duration(waited.nanoseconds.Load())
	timing.add(phaseRender, -wait)
	h.rendered.Add(1)
	h.stats.rendered(took, err)
	if cache.IsBehind(ctx) {
		h.stats.more.behind.Add(1)
	}
	if err != nil {
		return nil, err
	}
	h.stats.more.rendered(m, took-wait)
	return th, nil
}

// render makes p of the bytes of its inputs.
func render(ctx context.Context, p *picture, r *resize.Renderer, inputs []resize.Input) (*cache.Thing, made, error) {
	var m made
	for _, in := range inputs {
		m.bytesRead += int64(len(in.Bytes))
	}
	if p.drawing {
		body, err := cleanDrawing(ctx, r, inputs[0].Bytes)
		if err != nil {
			return nil, m, err
		}
		m.format, m.bytes = drawingFormat, int64(len(body))
		return newThing(p, drawingType, body), m, nil
	}
	pic, err := r.RenderInputs(ctx, *p.plan, inputs)
	if err != nil {
		return nil, m, err
	}
	m.format, m.bytes, m.read = pic.Format, int64(len(pic.Bytes)), pic.Read
	if !pic.Format.Data() {
		m.written = int64(pic.Width) * int64(pic.Height) * int64(pic.Frames)
	}
	return newThing(p, pic.Format.ContentType(), pic.Bytes), m, nil
}

// newThing is a picture's bytes with the fields that never change with it.
func newThing(p *picture, contentType string, body []byte) *cache.Thing {
	return &cache.Thing{Header: fixedHeader(p, contentType, int64(len(body))), Body: body}
}

func fixedHeader(p *picture, contentType string, size int64) http.Header {
	header := http.Header{
		"Content-Type":           {contentType},
		"Content-Length":         {fmt.Sprint(size)},
		"Etag":                   {p.etag()},
		"X-Content-Type-Options": {"nosniff"},
	}
	if p.drawing {
		header["Content-Security-Policy"] = []string{drawingPolicy}
	}
	return header
}

// Purge invalidates images: each path is /source/path, as [purge.CleanPath] has it, and covers all that was
// ever made of that image. When Purge returns, the purge is in force and durable; the job tells of the rest,
// and rec, err := job.Wait(ctx) waits for it. An error means that the purge was refused, and why.
func (h *Handler) Purge(ctx context.Context, paths []string, o *purge.Options) (*purge.Job, error) {
	return h.submit(ctx, purge.Request{Scope: purge.Original, Paths: paths}, o)
}

// PurgeFolders invalidates all images in folders, at any depth, in a time that does not depend on how many there are. Each
// folder is /source/folder/, as [purge.CleanFolder] has it. See [Handler.Purge].
func (h *Handler) PurgeFolders(ctx context.Context, folders []string, o *purge.Options) (*purge.Job, error) {
	return h.submit(ctx, purge.Request{Scope: purge.Prefix, Paths: folders}, o)
}

// PurgeTags invalidates all images that their origin has given one of the tags, in any of the fields of [cache.TagsOf], in a
// time that does not depend on how many there are. See [Handler.Purge].
func (h *Handler) PurgeTags(ctx context.Context, tags []string, o *purge.Options) (*purge.Job, error) {
	return h.submit(ctx, purge.Request{Scope: purge.Tag, Tags: tags}, o)
}

// PurgeAll invalidates everything, or everything of one source if o says so, in a time that does not
// depend on how much that is. See [Handler.Purge].
func (h *Handler) PurgeAll(ctx context.Context, o *purge.Options) (*purge.Job, error) {
	return h.submit(ctx, purge.Request{Scope: purge.All}, o)
}

// Purges returns the invalidation service, with the log of purges, their retries and their events. The handler closes it.
func (h *Handler) Purges() *purge.Service { return h.purges }

// submit makes the purge r, with what o says beside.
func (h *Handler) submit(ctx context.Context, r purge.Request, o *purge.Options) (*purge.Job, error) {
	if o == nil {
		o = new(purge.Options)
	}
	r.Source, r.Mode, r.Tenant = o.Source, o.Mode, o.Tenant
	return h.purges.Submit(ctx, r, o.OnStatus)
}
