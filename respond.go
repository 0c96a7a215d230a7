package imagecdn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/internal/flight"
	"github.com/imagecdn/imagecdn/internal/svgclean"
	"github.com/imagecdn/imagecdn/resize"
)

// send answers with a picture.
func (h *Handler) send(w http.ResponseWriter, r *http.Request, p *picture) {
	header := w.Header()
	var fixed http.Header
	if p.file != nil {
		defer p.file.Close()
		fixed = p.file.Header
	} else {
		fixed = p.thing.Header
	}
	for k, v := range fixed {
		header[k] = v
	}
	if p.req.Downloads {
		header.Set("Content-Disposition", disposition(p.req.Download))
	}
	h.setFreshness(header, p)
	w.WriteHeader(http.StatusOK)
	switch {
	case r.Method == http.MethodHead:
		h.stats.sent(p, 0)
	case p.file != nil:
		h.stats.sent(p, p.file.Size)
		// The client learns from Content-Length where a file has failed.
		_, _ = p.file.WriteTo(w)
	default:
		h.stats.sent(p, int64(len(p.thing.Body)))
		w.Write(p.thing.Body)
	}
}

// disposition has a browser save what it gets, under a name where there is one (RFC 6266).
func disposition(name string) string {
	if name == "" {
		return "attachment"
	}
	return mime.FormatMediaType("attachment", map[string]string{"filename": name})
}

// notModified answers a request whose client has the picture already.
func (h *Handler) notModified(w http.ResponseWriter, p *picture) {
	w.Header().Set("Etag", p.etag())
	w.Header().Set("X-Content-Type-Options", "nosniff")
	h.setFreshness(w.Header(), p)
	h.stats.answered(outcomeNotModified, 0)
	w.WriteHeader(http.StatusNotModified)
}

// matches reports whether p is what the client has, by weak comparison (RFC 9110 section 13.1.2).
func (p *picture) matches(ifNoneMatch []string) bool {
	if len(ifNoneMatch) == 0 {
		return false
	}
	etag := p.etag()
	for _, field := range ifNoneMatch {
		for tag := range strings.SplitSeq(field, ",") {
			tag = strings.TrimSpace(tag)
			if strings.TrimPrefix(tag, "W/") == etag || tag == "*" {
				return true
			}
		}
	}
	return false
}

// setFreshness says how long p may be kept, by the input that has the least left to live, and where p
// came from.
func (h *Handler) setFreshness(header http.Header, p *picture) {
	first := p.inputs[0].now
	if len(p.inputs) > 1 || first.How != cache.Hit || first.CutOff || p.made || p.atMost > 0 || !p.req.Expires.IsZero() || p.req.MaxAge > 0 || !first.Alive() {
		h.freshnessOf(p, time.Now()).set(header)
		return
	}
	// This is the path of most requests, whose answer changes once a second.
	age := first.Entry.Age(first.At)
	second := [2]int64{int64(age / time.Second), int64((first.Entry.Freshness.Lifetime - age) / time.Second)}
	f := p.req.freshness.Load()
	if f == nil || f.entry != first.Entry || f.second != second {
		f = h.freshnessOf(p, first.At)
		f.entry, f.second = first.Entry, second
		if !f.unkept {
			p.req.freshness.Store(f)
		}
	}
	f.set(header)
}

// freshness is the fields of an answer that change with time.
type freshness struct {
	entry  *cache.Entry // of the original that it was computed for
	second [2]int64     // when: that entry's age, and what was left of its lifetime

	unkept bool      // purged since the request arrived, or forbidden to be kept by the origin
	values [3]string // of Cache-Status, Cache-Control and Age
}

func (f *freshness) set(header http.Header) {
	v := &f.values
	header["Cache-Status"], header["Cache-Control"] = v[0:1:1], v[1:2:2]
	if !f.unkept {
		header["Age"] = v[2:3:3]
	}
}

func (h *Handler) freshnessOf(p *picture, now time.Time) *freshness {
	shortest := p.inputs[0].now.Entry
	left := shortest.Freshness.Lifetime - shortest.Age(now)
	unkept, cutOff, asked := false, false, p.asked()
	for _, in := range p.inputs {
		e := in.now.Entry
		if l := e.Freshness.Lifetime - e.Age(now); l < left {
			shortest, left = e, l
		}
		unkept = unkept || !in.now.Keepable()
		cutOff = cutOff || in.now.CutOff
	}

	age, lifetime := shortest.Age(now), shortest.Freshness.Lifetime
	if until := p.req.Expires; !until.IsZero() && until.Sub(now) < left {
		left = until.Sub(now)
		lifetime = age + left
	}
	for _, most := range []time.Duration{p.req.MaxAge, p.atMost} {
		if most > 0 && most < left {
			left = most
			lifetime = age + left
		}
	}

	seconds := func(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }
	f := &freshness{unkept: unkept}
	switch {
	case asked == cache.Revalidated && !p.made:
		f.values[0] = "imagecdn; fwd=stale; fwd-status=304; ttl=" + seconds(left)
	case p.spare:
		f.values[0] = "imagecdn; fwd=miss"
	case (asked >= cache.Filled || p.made) && unkept:
		f.values[0] = "imagecdn; fwd=miss"
	case asked >= cache.Filled || p.made:
		f.values[0] = "imagecdn; fwd=miss; stored"
	default:
		f.values[0] = "imagecdn; hit; ttl=" + seconds(left)
	}
	switch { // the field has one detail
	case cutOff:
		f.values[0] += "; detail=cut-off"
	case p.spare:
		f.values[0] += "; detail=too-many-variants"
	case p.atMost > 0:
		f.values[0] += "; detail=stand-in"
	}
	switch most := h.opts.BrowserMaxAge; {
	case unkept, cutOff: // what may have been purged is not to outlive this node's absence in the caches of others
		f.values[1] = "no-store"
	case most > 0 && left > most:
		// What a cache has held for a while still leaves a browser the full time.
		f.values[1] = "public, max-age=" + seconds(age+most) + ", s-maxage=" + seconds(lifetime)
	default:
		f.values[1] = "public, max-age=" + seconds(lifetime)
	}
	f.values[2] = seconds(age)
	return f
}

// An httpError is an answer that is no picture.
type httpError struct {
	status     int
	text       string        // one line, for the client
	lifetime   time.Duration // zero: not to be kept
	retryAfter time.Duration // zero: not said
	cause      error         // for the operator
}

func (e *httpError) Error() string { return e.text }
func (e *httpError) Unwrap() error { return e.cause }

// An entryError is an input that is no image: the origin said so, or failed.
type entryError struct{ in input }

func (e *entryError) Error() string {
	return fmt.Sprintf("/%s%s: %s", e.in.image.Source, e.in.image.Path, e.in.now.Entry.Reason)
}

// refuse answers with an error: one line of text, to be kept no longer than the negative lifetime.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var e *httpError
	var entry *entryError
	var panicked *flight.PanicError
	switch {
	case errors.As(err, &e):
	case errors.As(err, &entry):
		// Its lifetime is never above the negative one: the cache sees to that.
		known := entry.in.now.Entry
		e = &httpError{status: known.Status, text: entry.Error(), cause: err}
		if entry.in.now.Keepable() && !entry.in.now.CutOff {
			e.lifetime = known.Freshness.Lifetime - known.Age(time.Now())
		}
	case errors.As(err, &panicked):
		e = &httpError{status: http.StatusInternalServerError, text: "the server failed", cause: err}
		h.log.Error("panic", "path", r.URL.Path, "panic", panicked.Value, "stack", string(panicked.Stack))
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e = &httpError{status: http.StatusServiceUnavailable, text: "the request ended before its answer was ready"}
	default:
		e = &httpError{status: http.StatusInternalServerError, text: "the server failed", cause: err}
	}
	if e.status >= 500 && r.Context().Err() == nil {
		h.log.Warn("a request failed", "path", r.URL.Path, "status", e.status, "error", err)
	}

	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", errorPolicy) // the line may quote the URL
	header.Set("Cache-Control", "no-store")
	if seconds := int64((e.lifetime + time.Second - 1) / time.Second); seconds > 0 {
		header.Set("Cache-Control", "public, max-age="+strconv.FormatInt(seconds, 10))
	}
	if e.retryAfter > 0 {
		header.Set("Retry-After", strconv.FormatInt(int64((e.retryAfter+time.Second-1)/time.Second), 10))
	}
	body := oneLine(e.text) + "\n"
	header.Set("Content-Length", strconv.Itoa(len(body))) // of a HEAD too
	sent := len(body)
	if r.Method == http.MethodHead {
		sent = 0
	}
	h.stats.answered(outcomeOf(e.status), int64(sent))
	h.stats.more.refused(e.status)
	w.WriteHeader(e.status)
	io.WriteString(w, body[:sent])
}

// errorPolicy is the Content-Security-Policy of what is to be read and never run.
const errorPolicy = "default-src 'none'; frame-ancestors 'none'; sandbox"

// oneLine keeps a text to one line of a bounded length, whatever bytes of a stranger it quotes.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}

// statusOf is the HTTP status of an error of package resize or svgclean.
func statusOf(err error) int {
	switch {
	case errors.Is(err, resize.ErrPlan):
		return http.StatusBadRequest
	case errors.Is(err, resize.ErrTooLarge), errors.Is(err, svgclean.ErrTooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, resize.ErrUnsupported), errors.Is(err, svgclean.ErrUnsupported):
		return http.StatusUnsupportedMediaType
	case errors.Is(err, resize.ErrDamaged), errors.Is(err, resize.ErrTooSlow), errors.Is(err, svgclean.ErrDamaged):
		return http.StatusUnprocessableEntity
	}
	return http.StatusInternalServerError
}

// publicText is what a client is told of an error of package resize or svgclean.
func publicText(err error) string {
	switch {
	case statusOf(err) == http.StatusInternalServerError:
		return "the picture could not be made"
	case errors.Is(err, resize.ErrUnsupported):
		return resize.ErrUnsupported.Error() // the rest quotes the file
	}
	return err.Error()
}
