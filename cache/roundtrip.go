package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// RoundTrip implements http.RoundTripper: a shared cache for whatever next serves, by RFC 9111, with headers
// kept as the origin sent them. It goes under httputil.ReverseProxy, or into an http.Client.
//
// GET is answered from what is stored where that is fresh, matches by Vary, and the request allows it; else next
// is asked, conditionally where there is a validator, and a 304 freshens what is stored. HEAD is answered from
// what GET has stored. A request for a range, and a conditional request, are answered from a whole
// stored response. A GET that asks for a range of what is not stored, that has a body, or that has If-Match or
// If-Unmodified-Since passes, and so does every other method. Those that are not known to be safe invalidate what is
// stored for their URL, and for Location and Content-Location of their answer where these have the same origin, if
// it is no error (RFC 9111 section 4.4).
//
// Requests for one URL that is not stored, or stale, wait for the first of them to bring what may serve them all, each
// asking by itself where it does not. A URL whose answer was not to be stored is remembered for ten seconds, and
// nobody waits for it.
//
// # What is stored
//
// What RFC 9111 section 3 lets a shared cache store, if it may ever be used again: it is fresh, has a validator, or
// may be served stale. Its body is read whole before it is passed on, so each request may hold MaxBytes of memory,
// and the range that it asked for beside it. All else passes as it comes: a longer body, one whose length is not known
// once MaxBytes of it have been read, one with trailers, a part, an upgrade to another protocol.
//
// A qualified private, as in private="Set-Cookie", counts as an unqualified one. Fields that a qualified no-cache
// names are left out of what is stored. With a zero Lifetime freshness is by the RFCs alone: where the origin
// says nothing, a tenth of what has passed since Last-Modified, and a day at most. A stale response stands in for an
// origin that cannot be reached for up to a day; for one that answers 500, 502, 503 or 504 only where
// stale-if-error or a Lifetime says so; and never where a directive, or a request with no-cache, forbids it.
//
// Next should not decompress by itself (http.Transport has DisableCompression): what it takes away
// of Content-Encoding and Content-Length is not stored either.
//
// # Purges and groups
//
// What is stored is found by Purge under the name that [Target] gives. The invalidation by an unsafe method is such a
// purge. Where a Keeper fails to make it durable the answer passes all the same: memory has forgotten, and what the
// Keeper holds is not used before a restart.
//
// Cache-Groups and Cache-Group-Invalidation (RFC 9875) are obeyed: the answer to an unsafe method makes stored
// responses of its origin that are in one of the groups it names stale, and not to be used unless the origin
// confirms them. Groups have up to 128 bytes each, and a response up to 64 of them; one that exceeds this is not
// stored. Invalidated groups are kept in memory, 10,000 of them. After a restart, and when there are more, each
// response that is in any group is revalidated before it is used again.
//
// # Header fields
//
// # Clusters
//
// Names are neither asked of a cluster here nor, where they have Vary, told to it, and what unsafe methods invalidate is invalidated on this node
// alone. On a node that is cut off each request is forwarded by itself, with Cache-Control: no-cache, and its answer gets no-store; where what is
// known is served all the same, hits have the detail "cut-off" in Cache-Status.
//
// Every response has Cache-Status (RFC 9211) and Date, and one that was stored has Age. One that a purge has overtaken
// on its way is sent with Cache-Control: no-store, so that nobody keeps it.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	switch {
	case req.Method == http.MethodGet, req.Method == "", req.Method == http.MethodHead:
		return t.get(req)
	case safe[req.Method], req.Method == http.MethodConnect:
		return t.pass(req, "method")
	}
	resp, err := t.pass(req, "method")
	if err == nil {
		t.invalidate(req, resp)
	}
	return resp, err
}

// safe are the safe methods that pass (RFC 9110 section 9.2.1 and the IANA registry of methods).
var safe = map[string]bool{
	http.MethodOptions: true, http.MethodTrace: true,
	"PROPFIND": true, "QUERY": true, "REPORT": true, "SEARCH": true,
}

// exchange sends a request to next. The body of the answer is the caller's to close; until then, Close of the
// Transport ends it.
func (t *Transport) exchange(req *http.Request) (*http.Response, error) {
	if t.base.Err() != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, errTransportClosed
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	detach := context.AfterFunc(t.base, func() { cancel(errTransportClosed) })
	end := func() {
		detach()
		cancel(nil)
	}
	resp, err := t.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && req.Context().Err() == nil {
			err = cause
		}
		end()
		return nil, err
	}
	if tunnel, ok := resp.Body.(io.ReadWriteCloser); ok && resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body = &tunnelling{tunnel, end}
		return resp, nil
	}
	resp.Header = endToEnd(resp.Header)
	if resp.Header.Get("Date") == "" {
		resp.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat)) // RFC 9110 section 6.6.1
	}
	resp.Body = &passing{resp.Body, resp.Body, end}
	resp.Request = req
	return resp, nil
}

// passing is a body on its way through.
type passing struct {
	io.Reader
	body io.Closer
	end  func()
}

func (p *passing) Close() error {
	defer p.end()
	return p.body.Close()
}

// tunnelling is what an upgraded connection is talked through.
type tunnelling struct {
	io.ReadWriteCloser
	end func()
}

func (t *tunnelling) Close() error {
	defer t.end()
	return t.ReadWriteCloser.Close()
}

// pass forwards a request as it is, and stores nothing.
func (t *Transport) pass(req *http.Request, why string) (*http.Response, error) {
	resp, err := t.exchange(req)
	if err == nil {
		t.addStatus(resp.Header, fwd(why, resp.StatusCode))
	}
	return resp, err
}

// passUnder passes what a purge may overtake.
func (t *Transport) passUnder(lease Lease, req *http.Request, why string) (*http.Response, error) {
	resp, err := t.pass(req, why)
	if err == nil {
		t.unlessAlive(lease, resp.Header)
	}
	return resp, err
}

// fwd says in Cache-Status why a request was forwarded, and what came of it.
func fwd(why string, status int) string {
	return "fwd=" + why + "; fwd-status=" + strconv.Itoa(status)
}

// addStatus adds this cache's member to Cache-Status; those of caches nearer the origin come first.
func (t *Transport) addStatus(h http.Header, status string) {
	h.Add("Cache-Status", t.status+"; "+status)
}

// invalidate forgets what an unsafe request may have changed.
func (t *Transport) invalidate(req *http.Request, resp *http.Response) {
	t.groups.invalidate(originOf(Target(req)), resp.Header)
	if resp.StatusCode < 200 || resp.StatusCode >= 400 {
		return
	}
	names := map[string]bool{Target(req): true}
	for _, field := range []string{"Location", "Content-Location"} {
		if name, ok := sameOrigin(req, resp.Header.Get(field)); ok {
			names[name] = true
		}
	}
	for name := range names {
		// The Keeper counts and logs what it could not do.
		_ = t.table.Purge(t.opts.Source, name, Delete)
	}
}

// A stored response is an entry, and under Vary the one of its entries that a request selects.
//
// The entry of version "" is the newest. Where it has Vary, each response is also kept under a version
// computed from the request's fields that Vary names.
type found struct {
	lease   Lease // the image's: a purge ends those of all its versions
	entry   *Entry
	variant string // where Vary is known
	why     string // to forward, in words of Cache-Status
	detail  string // of Cache-Status, where it is used
}

func (t *Transport) find(req *http.Request, image string) found {
	f := found{why: "stale"}
	f.lease, f.entry = t.table.Open(Name{t.opts.Source, image, ""})
	if f.entry == nil {
		f.why = "uri-miss"
		return f
	}
	f.variant = variant(f.entry.Header, req.Header)
	if f.variant != f.entry.Variant {
		f.entry = t.table.Lookup(f.lease.of(f.variant))
		if f.entry == nil || f.entry.Variant != f.variant {
			f.entry, f.why = nil, "vary-miss"
			return f
		}
	}
	if t.groups.invalid(image, f.entry) {
		f.entry = f.entry.marked(mustAsk)
	}
	return f
}

// of is the same lease, on another version.
func (l Lease) of(version string) Lease {
	l.name.Version = version
	return l
}

// get answers GET and HEAD.
func (t *Transport) get(req *http.Request) (*http.Response, error) {
	image, wants, detail := Target(req), wishesOf(req.Header), ""
	if t.table.shared != nil {
		switch t.table.shared.Currency() {
		case CutOff:
			return t.getCutOff(req, wants)
		case CutOffServing:
			detail = "; detail=cut-off"
		}
	}
	if req.Header.Get("Upgrade") != "" || req.Header.Get("If-Match") != "" || req.Header.Get("If-Unmodified-Since") != "" || wants.noStore ||
		req.Body != nil && req.Body != http.NoBody {
		return t.passUnder(t.table.Lease(Name{t.opts.Source, image, ""}), req, "bypass")
	}
	collapsed := ""
	for waits := 0; ; {
		f := t.find(req, image)
		f.detail = detail
		if resp := t.reuse(req, wants, &f, collapsed); resp != nil {
			return resp, nil
		}
		switch {
		case wants.onlyIfCached:
			return t.notCached(req), nil
		case req.Method == http.MethodHead:
			return t.head(req, f)
		case req.Header.Get("Range") != "" && f.entry == nil:
			return t.passUnder(f.lease, req, f.why)
		case wants.noCache, req.Header.Get("Authorization") != "", waits == 2:
			return t.forward(req, wants, f, nil)
		}
		// A wait that brings nothing may be repeated once: the first may have been for what Vary says.
		turn, first := t.takeTurn(f)
		if turn == nil || first {
			return t.forward(req, wants, f, turn)
		}
		select {
		case <-turn.done:
		case <-req.Context().Done():
			return nil, context.Cause(req.Context())
		case <-t.base.Done():
			return nil, errTransportClosed
		}
		if !turn.gaveUp {
			waits++
		}
		collapsed = "fwd=" + f.why + "; collapsed"
	}
}

// notCached answers who wants nothing else (RFC 9111 section 5.2.1.7).
func (t *Transport) notCached(req *http.Request) *http.Response {
	h := http.Header{"Date": {time.Now().UTC().Format(http.TimeFormat)}}
	t.addStatus(h, "detail=only-if-cached")
	return answer(req, http.StatusGatewayTimeout, h, nil, 0)
}

// getCutOff answers GET and HEAD where nothing of what is known may be served.
func (t *Transport) getCutOff(req *http.Request, wants wishes) (*http.Response, error) {
	if wants.onlyIfCached {
		return t.notCached(req), nil
	}
	out := req.Clone(req.Context())
	out.Header.Add("Cache-Control", "no-cache")
	resp, err := t.exchange(out)
	if err != nil {
		return nil, err
	}
	t.addStatus(resp.Header, fwd("bypass", resp.StatusCode)+"; detail=cut-off")
	t.unlessAlive(t.table.Lease(Name{Source: t.opts.Source, Image: Target(req)}).unkept(), resp.Header)
	return resp, nil
}

// reuse answers from what is stored, where that is allowed; nil where it is not. It notes in f why not.
func (t *Transport) reuse(req *http.Request, wants wishes, f *found, collapsed string) *http.Response {
	e, now := f.entry, time.Now()
	if e == nil {
		return nil
	}
	is := e.state(now)
	if !wants.allow(e, now) {
		if is == fresh {
			f.why = "request"
		}
		is = mustRevalidate
	}
	if is == mustRevalidate && !t.bearsStale(wants, e, now) {
		return nil
	}
	if is == staleUsable {
		t.revalidateBehind(req, *f)
	}
	how := "hit"
	if collapsed != "" {
		how = collapsed
	}
	resp, err := t.serve(req, f.lease, e, how+ttl(e, now)+f.detail)
	if err != nil {
		f.entry, f.why = nil, "miss" // the bytes are lost
	}
	return resp
}

// bearsStale reports whether the request takes e stale, by max-stale, and the origin lets it.
func (t *Transport) bearsStale(wants wishes, e *Entry, now time.Time) bool {
	over := e.Age(now) - e.Freshness.Lifetime
	return over < wants.maxStale && wants.minFresh < 0 && e.stale == notExpired && wants.takes(e, now) &&
		!controlsOf(e.Status, e.Header, t.opts.Targets).strict()
}

func ttl(e *Entry, now time.Time) string {
	return "; ttl=" + strconv.FormatInt(int64((e.Freshness.Lifetime-e.Age(now))/time.Second), 10)
}

// forward asks next, and stores what may be stored. What was found, if anything, is revalidated.
func (t *Transport) forward(req *http.Request, wants wishes, f found, turn *turn) (*http.Response, error) {
	defer t.endTurn(req.Context(), turn)
	_, end, err := t.begin(context.Background()) // the store is used until this is done
	if err != nil {
		return nil, err
	}
	defer end()

	e := f.entry
	out := req.Clone(req.Context())
	if e != nil || !t.wasPassed(f.lease) {
		for _, field := range []string{"If-None-Match", "If-Modified-Since"} {
			out.Header.Del(field) // answered here, from the whole
		}
	}
	out.Header.Del("Range")
	out.Header.Del("If-Range")
	conditional := e != nil && e.Status/100 == 2 && setValidators(out.Header, e.Header)
	if (e != nil && e.stale != notExpired || e == nil && f.lease.noCache()) && !wants.noCache {
		out.Header.Add("Cache-Control", "no-cache") // a copy on the way may be older than the purge
	}

	fill := &Entry{asked: t.groups.now(), RequestTime: time.Now()}
	resp, err := t.exchange(out)
	fill.ResponseTime = time.Now()
	if err != nil || isError(resp.StatusCode) && t.masks(e) {
		if stale := t.standIn(req, wants, f, resp); stale != nil {
			return stale, nil
		}
		if err != nil {
			return nil, err
		}
	}
	fill.Status, fill.Header = resp.StatusCode, resp.Header

	if fill.Status == http.StatusNotModified && conditional {
		resp.Body.Close()
		if served, err := t.freshened(req, f, fill); err == nil {
			return served, nil
		}
		f.entry, f.why = nil, "miss" // the bytes are lost
		return t.forward(req, wants, f, turn)
	}

	status := fwd(f.why, fill.Status)
	fill.Freshness = freshnessOf(fill.Status, fill.Header, fill.RequestTime, fill.ResponseTime, t.policy, t.opts.Targets)
	if !t.storable(req, fill) || !t.worth(fill, e) {
		if e != nil && (fill.Status < 400 || statusError(fill.Status).refusal()) {
			t.spendVariant(f.lease, e)
		}
		t.notePassed(req, f.lease, fill.Status)
		return t.stream(f.lease, resp, nil, status), nil
	}
	body, err := t.readBody(resp, nil)
	if err == errTooLarge {
		t.notePassed(req, f.lease, fill.Status)
		return t.stream(f.lease, resp, body, status), nil
	}
	resp.Body.Close()
	if err != nil {
		if stale := t.standIn(req, wants, f, nil); stale != nil {
			return stale, nil
		}
		return nil, err
	}
	if len(resp.Trailer) > 0 {
		t.notePassed(req, f.lease, fill.Status)
		resp.Body = io.NopCloser(bytes.NewReader(body))
		resp.ContentLength = -1 // trailers come after chunks only
		resp.Header.Del("Content-Length")
		return t.stream(f.lease, resp, nil, status), nil
	}
	fill.Digest, fill.Size = DigestOf(body), int64(len(body))
	// The bytes first, so that the name never points at what is not there yet.
	_ = t.store.Put(req.Context(), Key{t.opts.Source, f.lease.name.Image, Original, fill.Digest}, &Thing{Body: body}, f.lease.Alive)
	if t.keep(req, f.lease, fill) {
		status += "; stored" + ttl(fill, fill.ResponseTime)
	}
	return t.respond(req, f.lease, fill, body, status, false), nil
}

// freshened answers after a 304, and stores what that says.
func (t *Transport) freshened(req *http.Request, f found, fill *Entry) (*http.Response, error) {
	e, status := f.entry, fwd(f.why, http.StatusNotModified)
	fill.Status, fill.Digest, fill.Size, fill.Header = e.Status, e.Digest, e.Size, freshen(e.Header, fill.Header)
	fill.Freshness = freshnessOf(fill.Status, fill.Header, fill.RequestTime, fill.ResponseTime, t.policy, t.opts.Targets)
	switch {
	case t.storable(req, fill):
		if t.keep(req, f.lease, fill) {
			status += "; stored" + ttl(fill, fill.ResponseTime)
		}
	case fill.Freshness.NoStore:
		t.spendVariant(f.lease, e)
	}
	return t.serve(req, f.lease, fill, status)
}

// isError reports whether a status is an error that a stale response may stand in for (RFC 5861 section 4).
func isError(status int) bool {
	switch status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// masks reports whether e may stand in for an answer that is an error. That takes the origin's word, or a policy's;
// an origin that cannot be reached at all takes neither (RFC 9111 section 4.2.4).
func (t *Transport) masks(e *Entry) bool {
	return e != nil && (t.policy != nil || controlsOf(e.Status, e.Header, t.opts.Targets).StaleIfError > 0)
}

// standIn answers with what is stale, where that may stand in for an origin that fails. failed is the origin's
// answer, if there was one.
func (t *Transport) standIn(req *http.Request, wants wishes, f found, failed *http.Response) *http.Response {
	now := time.Now()
	if f.entry == nil || wants.noCache || req.Context().Err() != nil || t.base.Err() != nil || !f.entry.usableOnError(now) {
		return nil
	}
	status := "fwd=" + f.why
	if failed != nil {
		status = fwd(f.why, failed.StatusCode)
	}
	stale, err := t.serve(req, f.lease, f.entry, status+ttl(f.entry, now)+"; detail=stale-if-error")
	if err != nil {
		return nil
	}
	if failed != nil {
		failed.Body.Close()
	}
	return stale
}

// storable reports whether a response may be stored by a shared cache (RFC 9111 section 3).
func (t *Transport) storable(req *http.Request, e *Entry) bool {
	switch {
	case e.Freshness.NoStore, varies(e.Header), e.Status < 200:
		return false
	case e.Status == http.StatusPartialContent, e.Status == http.StatusNotModified,
		e.Status == http.StatusPreconditionFailed, e.Status == http.StatusRequestedRangeNotSatisfiable:
		return false // they are about a request, not about a URL
	}
	c := controlsOf(e.Status, e.Header, t.opts.Targets)
	if req.Header.Get("Authorization") != "" && !c.Public && !c.MustRevalidate && c.SMaxAge < 0 {
		return false // section 3.5
	}
	if c.mustUnderstand && http.StatusText(e.Status) == "" {
		return false // section 5.2.2.3
	}
	if _, over := groupsOf(e.Header, "Cache-Groups"); over {
		return false
	}
	explicit := c.Public || c.MaxAge >= 0 || c.SMaxAge >= 0 || !c.targeted && e.Header.Get("Expires") != ""
	return explicit || heuristic(e.Status)
}

// worth reports whether a response may ever be used again, so that it is worth storing, also in the place of old. A
// stream of events, for one, is not.
func (t *Transport) worth(e, old *Entry) bool {
	f := e.Freshness
	if f.Lifetime > f.InitialAge {
		return true
	}
	if e.Status >= 500 && old != nil && old.Status < 500 {
		return false
	}
	return e.Header.Get("Etag") != "" || e.Header.Get("Last-Modified") != "" || f.StaleWhileRevalidate > 0 ||
		f.StaleIfError > 0 && controlsOf(e.Status, e.Header, t.opts.Targets).StaleIfError > 0
}

// keep makes e what is stored for a request, unless what is stored was asked for later. It leaves e as it is.
func (t *Transport) keep(req *http.Request, lease Lease, e *Entry) bool {
	header := e.Header.Clone()
	for field := range controlsOf(e.Status, e.Header, t.opts.Targets).NoCache {
		header.Del(field) // RFC 9111 section 5.2.2.4
	}
	kept := false
	e.Variant = variant(e.Header, req.Header)
	for _, version := range slices.Compact([]string{"", e.Variant}) {
		of, one := lease.of(version), *e
		one.Header = header
		known := t.table.Lookup(of)
		if known != nil && known.RequestTime.After(e.RequestTime) && !known.RequestTime.After(time.Now()) {
			continue
		}
		kept = t.table.Commit(of, &one) || kept
	}
	return kept
}

// spendVariant ends the life of e, a stored response, in all the places where it is.
func (t *Transport) spendVariant(lease Lease, e *Entry) {
	for _, version := range []string{"", e.Variant} {
		if known := t.table.Lookup(lease.of(version)); known != nil && known.Variant == e.Variant {
			t.spend(lease.of(version))
		}
	}
}

// stream passes on a response that is not stored. start is what was read of its body already.
func (t *Transport) stream(lease Lease, resp *http.Response, start []byte, status string) *http.Response {
	t.addStatus(resp.Header, status)
	t.unlessAlive(lease, resp.Header)
	if p, ok := resp.Body.(*passing); ok && len(start) > 0 {
		p.Reader = io.MultiReader(bytes.NewReader(start), p.Reader)
	}
	return resp
}

// serve answers from what is stored.
func (t *Transport) serve(req *http.Request, lease Lease, e *Entry, status string) (*http.Response, error) {
	var body []byte
	if e.Size > 0 && req.Method != http.MethodHead {
		th, err := t.store.Get(req.Context(), Key{t.opts.Source, lease.name.Image, Original, e.Digest})
		if err != nil {
			return nil, errors.Join(ErrNotFound, err)
		}
		body = th.Body
	}
	return t.respond(req, lease, e, body, status, true), nil
}

// head forwards a HEAD request. Its answer freshens what GET has stored, where that is the same still, and
// ends its life where it is not (RFC 9111 section 4.3.5).
func (t *Transport) head(req *http.Request, f found) (*http.Response, error) {
	update := &Entry{asked: t.groups.now(), RequestTime: time.Now()}
	resp, err := t.exchange(req)
	if err != nil {
		return nil, err
	}
	update.ResponseTime = time.Now()
	e, status := f.entry, fwd(f.why, resp.StatusCode)
	if e != nil && e.OK() && resp.StatusCode == http.StatusOK {
		length := resp.Header.Get("Content-Length")
		if differs(resp.Header, e.Header, "Etag", "Last-Modified", "Content-Encoding") || length != "" && length != strconv.FormatInt(e.Size, 10) {
			t.spendVariant(f.lease, e)
		} else {
			update.Status, update.Digest, update.Size, update.Header = e.Status, e.Digest, e.Size, freshen(e.Header, resp.Header)
			update.Freshness = freshnessOf(update.Status, update.Header, update.RequestTime, update.ResponseTime, t.policy, t.opts.Targets)
			if t.storable(req, update) {
				t.keep(req, f.lease, update)
			} else if update.Freshness.NoStore {
				t.spendVariant(f.lease, e)
			}
		}
	}
	t.addStatus(resp.Header, status)
	t.unlessAlive(f.lease, resp.Header)
	return resp, nil
}

func differs(a, b http.Header, fields ...string) bool {
	for _, f := range fields {
		if x, y := a.Get(f), b.Get(f); x != "" && y != "" && x != y {
			return true
		}
	}
	return false
}

// revalidateBehind refreshes a stored response while it is served stale.
func (t *Transport) revalidateBehind(req *http.Request, f found) {
	out := req.Clone(context.WithoutCancel(req.Context()))
	out.Method = http.MethodGet
	t.doBehind(f.lease.flight()+f.variant, func() {
		if resp, err := t.forward(out, wishesOf(nil), f, nil); err == nil {
			resp.Body.Close()
		}
	})
}
