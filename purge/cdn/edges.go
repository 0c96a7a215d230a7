package cdn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

// An Edge is a CDN in its place.
type Edge struct {
	// Name is what records call it; each has another.
	Name string

	// CDN is its API.
	CDN CDN

	// Bases are the URLs at which the CDN has the handler: what a source's path is added to, such as "https://www.example.com/img".
	// A CDN that has tags does without, but for Verify.
	Bases []string

	// Variants are the queries that images are asked for with, such as "w=300". They are what is purged of a CDN that knows URLs alone, beside the URL without a
	// query. Zero means that such a CDN cannot purge.
	Variants []string

	// Widen allows a purge of everything that the CDN has, where it can purge neither what is asked for nor what holds it. Zero means
	// that such a purge fails there.
	Widen bool

	// WidenAfter is how many images, folders or tags of one purge are purged by themselves; of more, all of their sources are. It is
	// for CDNs whose calls cost money. Zero means that all are.
	WidenAfter int

	// Again purges all once more, that long after the first time, and the job is not done before. It is for edges that may have been refilled
	// in between by a shield that was late. Zero means once.
	Again time.Duration

	// Verify is how many images of a purge are fetched through the first of Bases afterwards, and compared with what the handler says. It takes
	// a purge of listed images. Zero means none.
	Verify int

	// GiveUp is how long a CDN that fails is tried; waiting for its rates does not count. Zero means 10 minutes.
	GiveUp time.Duration
}

func (e *Edge) giveUp() time.Duration {
	if e.GiveUp > 0 {
		return e.GiveUp
	}
	return 10 * time.Minute
}

// A Ring is CDNs that are told at the same time.
type Ring []Edge

// Options are the optional settings of [New].
type Options struct {
	// Space is that of the tags: see [Namer].
	Space string

	// CallTimeout is the longest one call may take, beside what the adapter's client allows. Zero means a minute.
	CallTimeout time.Duration

	// Client fetches images for Edge.Verify. Nil means [NewClient] with its defaults.
	Client *http.Client

	// OnCall is told of each call to a CDN when it has ended, from many goroutines at once. Nil: nobody is; see [Edges.Watch].
	OnCall func(CallInfo)

	// Logger is told of calls that fail. Nil: nobody is.
	Logger *slog.Logger
}

// A CallInfo is a call to a CDN that has ended.
type CallInfo struct {
	CDN    string // the Edge's name
	Kind   Kind
	Values int
	Time   time.Time // when it began
	Took   time.Duration
	Err    error
	Jobs   []string // IDs of the purges that wait for it; of more than a hundred, some
}

func (o *Options) callTimeout() time.Duration {
	if o.CallTimeout > 0 {
		return o.CallTimeout
	}
	return time.Minute
}

func (o *Options) log() *slog.Logger {
	if o.Logger != nil {
		return o.Logger
	}
	return slog.New(slog.DiscardHandler)
}

// Edges are all the CDNs in front of a handler. They implement [purge.CDNs]. All methods may be called from many goroutines at once.
type Edges struct {
	rings [][]*edge
	names []string
	namer Namer
	o     Options

	mu       sync.Mutex        // guards watchers
	watchers []*func(CallInfo) // the slice is replaced, never changed
}

type edge struct {
	Edge
	lane *lane
}

// New returns the CDNs in those rings: the caches nearest to the handler first. A ring is told when all of the one before have
// answered, and not of what failed on one of those, as it would fetch the old from there. A nil o means the defaults.
func New(rings []Ring, o *Options) (*Edges, error) {
	es := &Edges{}
	if o != nil {
		es.o = *o
	}
	es.namer = Namer{Space: es.o.Space}
	if es.o.Client == nil {
		es.o.Client = NewClient(nil)
	}
	for _, ring := range rings {
		var made []*edge
		for _, e := range ring {
			if err := es.check(&e); err != nil {
				return nil, fmt.Errorf("cdn: %q: %w", e.Name, err)
			}
			es.names = append(es.names, e.Name)
			made = append(made, &edge{Edge: e})
		}
		for _, e := range made {
			e.lane = newLane(&e.Edge, &es.o, es.tell)
		}
		if len(made) > 0 {
			es.rings = append(es.rings, made)
		}
	}
	return es, nil
}

// check completes e, or says what is wrong with it.
func (es *Edges) check(e *Edge) error {
	switch {
	case e.Name == "":
		return errors.New("a CDN has no Name")
	case slices.Contains(es.names, e.Name):
		return errors.New("two CDNs have this name")
	case e.CDN == nil:
		return errors.New("it has no CDN")
	case e.Again < 0 || e.Verify < 0 || e.WidenAfter < 0:
		return errors.New("Again, Verify and WidenAfter may not be negative")
	}
	e.Bases, e.Variants = slices.Clone(e.Bases), slices.Clone(e.Variants)
	for i, base := range e.Bases {
		clean, err := checkBase(base)
		if err != nil {
			return err
		}
		e.Bases[i] = clean
	}
	if err := checkRates(e.CDN.Features()); err != nil {
		return err
	}
	forms := e.CDN.Features().Forms
	_, tags := forms[Tag]
	_, all := forms[All]
	switch {
	case len(forms) == 0:
		return errors.New("it can purge nothing")
	case !tags && len(e.Bases) == 0 && !(all && e.Widen):
		return errors.New("it has no tags, and so needs Bases: the URLs at which it has the images")
	case e.Verify > 0 && len(e.Bases) == 0:
		return errors.New("Verify needs Bases: the URLs at which it has the images")
	}
	return nil
}

// Watch has another function told of calls, as Options.OnCall is, until stop is called.
func (es *Edges) Watch(told func(CallInfo)) (stop func()) {
	es.mu.Lock()
	defer es.mu.Unlock()
	es.watchers = append(slices.Clone(es.watchers), &told)
	return func() {
		es.mu.Lock()
		defer es.mu.Unlock()
		es.watchers = slices.DeleteFunc(slices.Clone(es.watchers), func(w *func(CallInfo)) bool { return w == &told })
	}
}

// tell tells all who want to know of a call.
func (es *Edges) tell(call CallInfo) {
	if es.o.OnCall != nil {
		es.o.OnCall(call)
	}
	es.mu.Lock()
	watchers := es.watchers
	es.mu.Unlock()
	for _, told := range watchers {
		(*told)(call)
	}
}

// checkRates says which rate lets nothing through, or has two sizes.
func checkRates(f Features) error {
	sizes := make(map[string]Rate)
	check := func(rates []Rate) error {
		for _, r := range rates {
			if !(r.PerSecond > 0 && r.Burst >= 1) {
				return fmt.Errorf("the rate %q is no rate: Burst is at least one, and PerSecond above zero", r.Name)
			}
			if same, ok := sizes[r.Name]; ok && (same.Burst != r.Burst || same.PerSecond != r.PerSecond) {
				return fmt.Errorf("the rate %q has two sizes", r.Name)
			}
			sizes[r.Name] = r
		}
		return nil
	}
	for _, form := range f.Forms {
		if err := check(form.Rates); err != nil {
			return err
		}
	}
	return check(f.Polls)
}

// Names implements [purge.CDNs]: by rings, and within one in the order given.
func (es *Edges) Names() []string { return slices.Clone(es.names) }

// Namer returns what makes the tags that answers must have.
func (es *Edges) Namer() Namer { return es.namer }

// TagHeaders returns the headers that answers must have, each once, for all of the CDNs to find their tags. Where two CDNs read the same
// header with other separators, New's caller has to choose: the first wins, and the other is an error of [Edges.CheckTags].
func (es *Edges) TagHeaders() (headers []TagHeader) {
	for _, ring := range es.rings {
		for _, e := range ring {
			for _, h := range e.lane.features.Tags {
				same := func(g TagHeader) bool { return http.CanonicalHeaderKey(g.Name) == http.CanonicalHeaderKey(h.Name) }
				if !slices.ContainsFunc(headers, same) {
					headers = append(headers, h)
				}
			}
		}
	}
	return headers
}

// CheckTags returns an error where two CDNs read the same header in two ways.
func (es *Edges) CheckTags() error {
	headers := es.TagHeaders()
	for _, ring := range es.rings {
		for _, e := range ring {
			for _, h := range e.lane.features.Tags {
				for _, g := range headers {
					if http.CanonicalHeaderKey(g.Name) == http.CanonicalHeaderKey(h.Name) && (g.Separator != h.Separator || g.Quoted != h.Quoted) {
						return fmt.Errorf("cdn: %q reads %s with the separator %q, and another CDN with %q", e.Name, h.Name, h.Separator, g.Separator)
					}
				}
			}
		}
	}
	return nil
}

// Flush implements [purge.CDNs].
func (es *Edges) Flush(ctx context.Context, f purge.Flush, report func(purge.CDNResult)) {
	var mu sync.Mutex                  // one report at a time
	blocked := make(map[string]string) // what failed, on the first CDN that it did
	for _, ring := range es.rings {
		var tellers sync.WaitGroup
		failed := make([][]string, len(ring))
		for i, e := range ring {
			names := f.Parts[e.Name]
			if len(names) == 0 {
				continue
			}
			told := func(r purge.CDNResult) {
				mu.Lock()
				defer mu.Unlock()
				report(r)
			}
			tellers.Go(func() {
				if r, ok := es.flush(ctx, e, f, names, blocked, told); ok {
					for _, g := range r.Failed {
						failed[i] = append(failed[i], g.Paths...)
					}
					told(r)
				}
			})
		}
		tellers.Wait()
		if ctx.Err() != nil {
			return
		}
		for i, names := range failed {
			for _, name := range names {
				if blocked[name] == "" {
					blocked[name] = ring[i].Name
				}
			}
		}
	}
}

// flush purges names from one CDN, less those that failed on one before it, as blocked says. It returns false where ctx has ended before.
func (es *Edges) flush(ctx context.Context, e *edge, f purge.Flush, names []string, blocked map[string]string, told func(purge.CDNResult)) (purge.CDNResult, bool) {
	p := planFor(&e.Edge, es.namer, e.lane.features, f.Scope, names, blocked)
	r := purge.CDNResult{Name: e.Name, State: purge.FlushingCDN, Items: len(p.items)}
	var t *ticket
	if len(p.items) > 0 {
		var err error
		soft := f.Mode == purge.Stale && e.lane.features.Soft
		t, err = e.lane.purge(ctx, f.ID, f.Tenant, p.items, soft, func(done int, reason string) {
			now := r
			now.Purged, now.Reason = done, reason
			told(now)
		})
		if err != nil {
			return r, false
		}
	}
	faults := p.cannot
	if t != nil {
		for it, why := range t.failed {
			for _, i := range p.of[it] {
				faults[i] = why
			}
		}
		r.Purged = len(p.items) - len(t.failed)
		r.Outcome = purge.Accepted
		if t.confirmed > 0 && t.confirmed == r.Purged {
			r.Outcome = purge.Confirmed
		}
	}
	if e.Verify > 0 && f.Scope == purge.Original && f.Probe != nil {
		all := true
		for i, n := 0, 0; i < len(names) && n < e.Verify; i++ {
			if faults[i] != "" {
				continue
			}
			n++
			if why := es.verify(ctx, e, f, names[i]); why != "" {
				faults[i], all = why, false
			}
			if ctx.Err() != nil {
				return r, false
			}
		}
		if all && len(faults) == 0 {
			r.Outcome = purge.Verified
		}
	}
	r.State = purge.Done
	if len(faults) > 0 {
		r.State = purge.Error
		r.Failed = grouped(names, faults)
		r.Reason = r.Failed[0].Reason
		if len(faults) == len(names) {
			r.Outcome = ""
		}
	}
	return r, true
}

// grouped puts the names that failed for the same reason together, in their order.
func grouped(names []string, faults map[int]string) (all []purge.CDNFailure) {
	at := make(map[string]int)
	for i, name := range names {
		why, bad := faults[i]
		if !bad {
			continue
		}
		g, ok := at[why]
		if !ok {
			if len(all) == maxReasons { // what differs in each is not worth more
				g = len(all) - 1
			} else {
				g = len(all)
				all = append(all, purge.CDNFailure{Reason: why})
			}
			at[why] = g
		}
		all[g].Paths = append(all[g].Paths, name)
	}
	return all
}

// maxReasons bounds how many reasons are told.
const maxReasons = 20

// verifyTries is how often an edge is asked before it counts as not purged.
const verifyTries = 6

// verify fetches an image through a CDN and says in what it differs from what the handler has.
func (es *Edges) verify(ctx context.Context, e *edge, f purge.Flush, path string) (why string) {
	at := e.Bases[0] + (&url.URL{Path: path}).EscapedPath()
	wait := time.Second
	for try := range verifyTries {
		if try > 0 {
			if !sleep(ctx, wait) {
				return "not verified: " + ctx.Err().Error()
			}
			wait *= 2
		}
		status, etag, err := f.Probe(ctx, path)
		if err != nil {
			why = "not verified: " + err.Error()
			continue
		}
		gotStatus, gotTag, err := es.fetch(ctx, at)
		switch {
		case err != nil:
			why = "not verified: the fetch through it failed: " + err.Error()
		case gotStatus != status:
			why = fmt.Sprintf("purged, and still answers %d where the handler answers %d", gotStatus, status)
		case status == http.StatusOK && weak(gotTag) != weak(etag):
			why = fmt.Sprintf("purged, and still answers with the ETag %s where the handler has %s", quoteOrNone(gotTag), etag)
		default:
			return ""
		}
	}
	return why
}

func weak(etag string) string { return strings.TrimPrefix(etag, "W/") }

func quoteOrNone(etag string) string {
	if etag == "" {
		return "that is none"
	}
	return OneLine(etag)
}

// fetch gets an image as a visitor does.
func (es *Edges) fetch(ctx context.Context, at string) (status int, etag string, err error) {
	ctx, cancel := context.WithTimeout(ctx, es.o.callTimeout())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := es.o.Client.Do(r)
	if err != nil {
		return 0, "", errors.New(plain(err))
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<20)); err != nil {
		return 0, "", err
	}
	return resp.StatusCode, resp.Header.Get("Etag"), nil
}
