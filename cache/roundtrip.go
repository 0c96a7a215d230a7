package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pquerna/cachecontrol/cacheobject"
)

// RoundTrip implements http.RoundTripper: a shared cache for whatever next serves, by RFC 9111, with headers
// kept as the origin sent them. It goes under httputil.ReverseProxy, or into an http.Client.
//
// GET is answered from what is stored where that is fresh, matches by Vary, and the request allows it; else next
// is asked, conditionally where there is a validator, and a 304 freshens what is stored. HEAD is answered from
// what GET has stored. A request for a range, and a conditional request, are answered from a whole
// stored response. Other methods pass; POST, PUT, DELETE and unknown ones invalidate what is stored for their URL, and for
// Location and Content-Location of their answer, if it is no error (RFC 9111 section 4.4).
//
// A response with a body that is longer than MaxBytes passes unstored. Every response has Cache-Status (RFC 9211),
// and one that was stored has Age. With a zero Lifetime freshness is by the RFCs alone: where the origin
// says nothing, a tenth of what has passed since Last-Modified, and a day at most.
//
// What is stored is found by Purge under the URL with scheme and host, in the Source of TransportOptions.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	switch req.Method {
	case http.MethodGet, "", http.MethodHead:
		return t.get(req)
	case http.MethodOptions, http.MethodTrace, http.MethodConnect:
		return t.pass(req, "method")
	}
	resp, err := t.pass(req, "method")
	if err == nil && resp.StatusCode/100 == 2 || err == nil && resp.StatusCode/100 == 3 {
		err = t.invalidate(req.URL, resp.Header)
		if err != nil {
			resp.Body.Close()
			return nil, err
		}
	}
	return resp, err
}

// pass forwards a request as it is, and stores nothing.
func (t *Transport) pass(req *http.Request, why string) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err == nil {
		resp.Header = endToEnd(resp.Header)
		addStatus(resp.Header, "fwd="+why+"; fwd-status="+strconv.Itoa(resp.StatusCode))
	}
	return resp, err
}

// invalidate forgets a URL after an unsafe request, and those of the same origin that the answer names.
func (t *Transport) invalidate(u *url.URL, h http.Header) error {
	all := []*url.URL{u}
	for _, field := range []string{"Location", "Content-Location"} {
		if ref, err := u.Parse(h.Get(field)); err == nil && h.Get(field) != "" && ref.Host == u.Host && ref.Scheme == u.Scheme {
			all = append(all, ref)
		}
	}
	for _, u := range all {
		if err := t.table.Purge(t.opts.Source, target(u), Delete); err != nil {
			return err
		}
	}
	return nil
}

// target is the name of a URL.
func target(u *url.URL) string { return u.Scheme + "://" + u.Host + u.RequestURI() }

// A stored response is an entry, and under Vary the one of its entries that a request selects.
//
// The entry of version "" is the newest. Where it has Vary, each response is also kept under a version
// computed from the request's fields that Vary names.
func (t *Transport) find(req *http.Request, image string) (Lease, *Entry) {
	lease := t.table.Lease(Name{t.opts.Source, image, ""})
	e := t.table.Lookup(lease)
	if e == nil || e.Header.Get("Vary") == "" {
		return lease, e
	}
	v := variant(e.Header, req.Header)
	if v == e.Variant {
		return lease, e
	}
	// The lease is the image's: a purge ends those of all its versions.
	of := lease
	of.name.Version = v
	e = t.table.Lookup(of)
	if e != nil && (e.Variant != v || variant(e.Header, req.Header) != v) {
		return lease, nil
	}
	return lease, e
}

// variant is the secondary key (RFC 9111 section 4.1): a hash of the request's fields that Vary names, white space
// around commas aside.
func variant(stored, request http.Header) string {
	fields := varyFields(stored)
	if len(fields) == 0 {
		return ""
	}
	var b strings.Builder
	for _, f := range fields {
		b.WriteString(f)
		for v := range strings.SplitSeq(strings.Join(request.Values(f), ","), ",") {
			b.WriteByte('\x00')
			b.WriteString(strings.TrimSpace(v))
		}
		b.WriteByte('\n')
	}
	return "vary " + DigestOf([]byte(b.String())).String()[:32]
}

func varyFields(h http.Header) []string {
	var fields []string
	for _, line := range h.Values("Vary") {
		for f := range strings.SplitSeq(line, ",") {
			if f = strings.TrimSpace(f); f != "" {
				fields = append(fields, http.CanonicalHeaderKey(f))
			}
		}
	}
	slices.Sort(fields)
	return slices.Compact(fields)
}

// get answers GET and HEAD.
func (t *Transport) get(req *http.Request) (*http.Response, error) {
	if req.Header.Get("If-Match") != "" || req.Header.Get("If-Unmodified-Since") != "" {
		return t.pass(req, "request")
	}
	image := target(req.URL)
	lease, e := t.find(req, image)
	wants := requestDirectives(req.Header)
	now := time.Now()
	if e != nil && !wants.NoStore {
		reuse := e.state(now)
		if !wants.allow(e, now) && reuse != mustRevalidate {
			reuse = mustRevalidate
		}
		switch reuse {
		case fresh:
			if resp, err := t.serve(req, e, "hit; ttl="+ttl(e, now)); err == nil {
				return resp, nil
			}
			e = nil // the bytes are lost
		case staleUsable:
			t.revalidateBehind(req, lease, e)
			if resp, err := t.serve(req, e, "hit; ttl="+ttl(e, now)); err == nil {
				return resp, nil
			}
			e = nil
		}
	}
	if wants.OnlyIfCached {
		return answer(req, http.StatusGatewayTimeout, nil, nil, "fwd=request"), nil // RFC 9111 section 5.2.1.7
	}
	if req.Method == http.MethodHead {
		return t.head(req, lease, e)
	}
	if req.Header.Get("Range") != "" && e == nil || wants.NoStore {
		return t.pass(req, "request")
	}
	return t.forward(req, lease, e)
}

func ttl(e *Entry, now time.Time) string {
	return strconv.FormatInt(int64((e.Freshness.Lifetime-e.Age(now))/time.Second), 10)
}

// forward asks next, and stores what may be stored. e, where there is one, is revalidated.
func (t *Transport) forward(req *http.Request, lease Lease, e *Entry) (*http.Response, error) {
	out := req.Clone(req.Context())
	for _, f := range []string{"If-None-Match", "If-Modified-Since", "If-Range", "Range"} {
		out.Header.Del(f) // answered here, from the whole
	}
	why := "miss"
	conditional := false
	if e != nil {
		why = "stale"
		conditional = setValidators(out.Header, e.Header)
	} else if lease.noCache() && out.Header.Get("Cache-Control") == "" {
		out.Header.Set("Cache-Control", "no-cache")
	}

	fill := &Entry{RequestTime: time.Now()}
	resp, err := t.next.RoundTrip(out)
	fill.ResponseTime = time.Now()
	if err != nil || resp.StatusCode >= 500 && t.masks(e) {
		if e != nil && req.Context().Err() == nil && e.usableOnError(fill.ResponseTime) {
			if stale, serr := t.serve(req, e, "hit; ttl="+ttl(e, fill.ResponseTime)+"; detail=stale-if-error"); serr == nil {
				if err == nil {
					resp.Body.Close()
				}
				return stale, nil
			}
		}
		if err != nil {
			return nil, err
		}
	}
	status := "fwd=" + why + "; fwd-status=" + strconv.Itoa(resp.StatusCode)
	fill.Status, fill.Header = resp.StatusCode, endToEnd(resp.Header)

	if fill.Status == http.StatusNotModified && conditional {
		resp.Body.Close()
		fill.Status, fill.Digest, fill.Size, fill.Variant = e.Status, e.Digest, e.Size, e.Variant
		fill.Header = freshen(e.Header, fill.Header)
		fill.Freshness = freshnessOf(fill.Status, fill.Header, fill.RequestTime, fill.ResponseTime, t.policy)
		t.keep(req, lease, fill)
		served, err := t.serve(req, fill, status)
		if errors.Is(err, ErrNotFound) {
			return t.forward(req, lease, nil)
		}
		return served, err
	}

	fill.Freshness = freshnessOf(fill.Status, fill.Header, fill.RequestTime, fill.ResponseTime, t.policy)
	if !storable(req, resp, fill.Freshness) {
		if e != nil && fill.Status < 500 {
			t.spend(lease)
		}
		return t.answerOnce(req, resp, fill, nil, status), nil
	}
	body, err := t.readBody(resp)
	if err == errTooLarge {
		return t.answerOnce(req, resp, fill, body, status), nil
	}
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	if len(resp.Trailer) > 0 {
		r := answer(req, fill.Status, fill.Header, body, status)
		r.Trailer = resp.Trailer
		return r, nil
	}
	fill.Digest, fill.Size = DigestOf(body), int64(len(body))
	thing := &Thing{nil, body}
	_ = t.store.Put(req.Context(), Key{t.opts.Source, lease.name.Image, Original, fill.Digest}, thing, lease.Alive)
	if t.keep(req, lease, fill) {
		status += "; stored"
	}
	return t.respond(req, fill, body, status, false), nil
}

// masks reports whether e may stand in for a server error. That takes the origin's word, or a policy's; an origin
// that cannot be reached at all takes neither (RFC 9111 section 4.2.4).
func (t *Transport) masks(e *Entry) bool {
	if e == nil || t.policy != nil {
		return e != nil
	}
	cc, _, err := directives(e.Header.Values("Cache-Control"))
	return cc != nil && err == nil && cc.StaleIfError >= 0
}

// keep makes e what is stored for a request.
func (t *Transport) keep(req *http.Request, lease Lease, e *Entry) bool {
	e.Variant = variant(e.Header, req.Header)
	kept := t.table.Commit(lease, e)
	if kept && e.Variant != "" {
		of, same := lease, *e
		of.name.Version = e.Variant
		kept = t.table.Commit(of, &same)
	}
	return kept
}

// answerOnce passes on a response that is not stored. start is what was read of its body already.
func (t *Transport) answerOnce(req *http.Request, resp *http.Response, e *Entry, start []byte, status string) *http.Response {
	resp.Header = e.Header
	addStatus(resp.Header, status)
	if start != nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(start), resp.Body), resp.Body}
	}
	resp.Request = req
	return resp
}

// storable reports whether a response may be stored by a shared cache (RFC 9111 section 3).
func storable(req *http.Request, resp *http.Response, f Freshness) bool {
	switch {
	case f.NoStore, varies(resp.Header), resp.StatusCode < 200, resp.StatusCode == http.StatusPartialContent, resp.StatusCode == http.StatusNotModified:
		return false
	}
	cc, _, err := directives(resp.Header.Values("Cache-Control"))
	if cc == nil || err != nil {
		cc = &cacheobject.ResponseCacheDirectives{MaxAge: -1, SMaxAge: -1}
	}
	if req.Header.Get("Authorization") != "" && !cc.Public && !cc.MustRevalidate && cc.SMaxAge < 0 {
		return false // section 3.5
	}
	if slices.Contains(cc.Extensions, "must-understand") && http.StatusText(resp.StatusCode) == "" {
		return false // section 5.2.2.3
	}
	explicit := cc.Public || cc.MaxAge >= 0 || cc.SMaxAge >= 0 || resp.Header.Get("Expires") != "" || len(resp.Header.Values("Cdn-Cache-Control")) > 0
	return explicit || heuristic(resp.StatusCode)
}

// heuristic reports whether a status is cacheable by default (RFC 9110 section 15.1).
func heuristic(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// serve answers from what is stored.
func (t *Transport) serve(req *http.Request, e *Entry, status string) (*http.Response, error) {
	var body []byte
	if e.Size > 0 && req.Method != http.MethodHead {
		th, err := t.store.Get(req.Context(), Key{t.opts.Source, target(req.URL), Original, e.Digest})
		if err != nil {
			return nil, ErrNotFound
		}
		body = th.Body
	}
	return t.respond(req, e, body, status, true), nil
}

// respond makes the response to req from an entry and its body, which a condition or a range of the request may
// leave out. stored says that the body comes from the store, and so has an Age.
func (t *Transport) respond(req *http.Request, e *Entry, body []byte, status string, stored bool) *http.Response {
	h := e.Header.Clone()
	if stored {
		h.Set("Age", strconv.FormatInt(int64(e.Age(time.Now())/time.Second), 10))
	}
	if e.Status != http.StatusOK || !conditionalOrRange(req) {
		r := answer(req, e.Status, h, body, status)
		if req.Method == http.MethodHead {
			r.ContentLength = e.Size
		}
		return r
	}
	// net/http's own rules for conditions and ranges (RFC 9110 sections 13 and 14).
	w := &capture{header: h, status: http.StatusOK}
	modified, _ := http.ParseTime(h.Get("Last-Modified"))
	if h.Get("Content-Type") == "" {
		h["Content-Type"] = nil // not to be guessed
	}
	http.ServeContent(w, req, "", modified, bytes.NewReader(body))
	if w.status == http.StatusOK && req.Method == http.MethodHead {
		h.Del("Content-Length")
		r := answer(req, e.Status, h, nil, status)
		r.ContentLength = e.Size
		return r
	}
	return answer(req, w.status, h, w.body.Bytes(), status)
}

func conditionalOrRange(req *http.Request) bool {
	for _, f := range []string{"If-None-Match", "If-Modified-Since", "Range"} {
		if req.Header.Get(f) != "" {
			return true
		}
	}
	return false
}

// capture is a ResponseWriter into memory.
type capture struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (c *capture) Header() http.Header         { return c.header }
func (c *capture) WriteHeader(status int)      { c.status = status }
func (c *capture) Write(b []byte) (int, error) { return c.body.Write(b) }

// answer makes a response.
func answer(req *http.Request, code int, h http.Header, body []byte, status string) *http.Response {
	if h == nil {
		h = make(http.Header)
	}
	addStatus(h, status)
	r := &http.Response{
		Status:     strconv.Itoa(code) + " " + http.StatusText(code),
		StatusCode: code,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        h,
		ContentLength: int64(len(body)),
		Body:          http.NoBody,
		Request:       req,
	}
	if len(body) > 0 && req.Method != http.MethodHead {
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	if code != http.StatusNoContent && code != http.StatusNotModified {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	return r
}

// addStatus adds this cache's member to Cache-Status; those of caches nearer the origin come first.
func addStatus(h http.Header, status string) {
	h.Add("Cache-Status", "imagecdn; "+status)
}

// head forwards a HEAD request. Its answer freshens what GET has stored, where that is the same still, and
// ends its life where it is not (RFC 9111 section 4.3.5).
func (t *Transport) head(req *http.Request, lease Lease, e *Entry) (*http.Response, error) {
	sent := time.Now()
	resp, err := t.pass(req, "miss")
	if err != nil || e == nil || resp.StatusCode != http.StatusOK || !e.OK() {
		return resp, err
	}
	for _, f := range []string{"Etag", "Last-Modified", "Content-Length"} {
		if got := resp.Header.Get(f); got != "" && e.Header.Get(f) != "" && got != e.Header.Get(f) {
			t.spend(lease)
			return resp, nil
		}
	}
	update := &Entry{Status: e.Status, Digest: e.Digest, Size: e.Size, Variant: e.Variant, RequestTime: sent, ResponseTime: time.Now()}
	update.Header = freshen(e.Header, resp.Header)
	update.Header.Del("Cache-Status")
	update.Freshness = freshnessOf(update.Status, update.Header, update.RequestTime, update.ResponseTime, t.policy)
	if !update.Freshness.NoStore {
		t.keep(req, lease, update)
	}
	return resp, nil
}

// revalidateBehind refreshes a stored response while it is served stale.
func (t *Transport) revalidateBehind(req *http.Request, lease Lease, e *Entry) {
	out := req.Clone(context.WithoutCancel(req.Context()))
	out.Method = http.MethodGet
	out.Body = nil
	t.doBehind(lease.flight()+e.Variant, func() {
		ctx, cancel := context.WithCancel(out.Context())
		defer cancel()
		defer context.AfterFunc(t.base, cancel)()
		if resp, err := t.forward(out.WithContext(ctx), lease, e); err == nil {
			resp.Body.Close()
		}
	})
}

// requestDirectives reads a request's Cache-Control, and Pragma where there is none (RFC 9111 sections 5.2.1 and
// 5.4). What cannot be read counts as absent: it is the client's advice.
func requestDirectives(h http.Header) *wishes {
	w := &wishes{cacheobject.RequestCacheDirectives{MaxAge: -1, MinFresh: -1, MaxStale: -1}}
	field := h.Values("Cache-Control")
	if len(field) == 0 {
		w.NoCache = strings.EqualFold(h.Get("Pragma"), "no-cache")
		return w
	}
	if d, err := cacheobject.ParseRequestCacheControl(strings.Join(field, ",")); err == nil {
		w.RequestCacheDirectives = *d
	}
	return w
}

type wishes struct {
	cacheobject.RequestCacheDirectives
}

// allow reports whether a stored response is fresh enough for the request.
func (w *wishes) allow(e *Entry, now time.Time) bool {
	age := e.Age(now)
	return !w.NoCache &&
		(w.MaxAge < 0 || age <= seconds(w.MaxAge)) &&
		(w.MinFresh < 0 || e.Freshness.Lifetime-age >= seconds(w.MinFresh))
}
