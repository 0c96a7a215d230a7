package imagecdn

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

// AdminOptions are the settings of [Handler.Admin].
type AdminOptions struct {
	// Keys open the API: a request has one of them in Authorization: Bearer KEY. Several let a key be
	// replaced without a gap. With none, and no Authorize, every request to the API is answered 401.
	Keys []string

	// Authorize decides instead of Keys, where it is set: an error refuses the request. It is for programs
	// that know their users by other means.
	Authorize func(*http.Request) error

	// Bases are where clients find the images: "https://img.example.com", or "https://www.example.com/img" with a handler that is mounted
	// below a path. It is for the APIs that take absolute URLs: what follows a base is what the Dialect reads, and URLs below none are
	// not of here. Schemes are not compared. Zero means that the host of a URL means nothing, and all of its path is read.
	Bases []string
}

// maxAPIBody bounds the body of an API request: a thousand paths of 500 bytes fit in twice.
const maxAPIBody = 1 << 20

// Admin returns the handler for operators, to be mounted apart from the images:
//
//	http.Handle("/-/", http.StripPrefix("/-", h.Admin(&imagecdn.AdminOptions{Keys: keys})))
//
// It answers, in JSON:
//
//	POST /api/v1/purges             {"scope":"original","paths":["/photos/cat.jpg"],"mode":"delete"},
//	                                {"scope":"prefix","paths":["/photos/2026/"]}, {"scope":"tag","tags":["product-17"]} or
//	                                {"scope":"all","source":"photos"}: 202 with the job
//	GET  /api/v1/purges?cursor=…    {"purges":[…],"next":"…"}, newest first; limit=… sets how many
//	GET  /api/v1/purges/{id}        the job
//	POST /api/v1/purges/{id}/retry  a new attempt for what failed: 202 with the job
//	POST /api/v1/purges/{id}/cancel ends a job that waits; the purge itself stands: 200 with the job
//	GET  /api/v1/purges/events      the states of all jobs as Server-Sent Events, after Last-Event-ID if given
//	GET  /healthz, /readyz          200 while the process lives, and while it serves; without a key
//
// and, for clients that were written for others, as docs/compatible-apis.md has it:
//
//	POST /invalidate                as Cloudimage's Invalidation API, and GET /invalidate/{uuid}
//	POST /api/v1/purge              as imgix's Purge API
//	POST /invalidation              as draft-nottingham-http-invalidation
//
// Refusals are {"error":{"code","message","path"}}, with the codes of [purge.ErrorCode].
func (h *Handler) Admin(o *AdminOptions) http.Handler {
	a := newAdmin(h, o)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/purges", a.guarded(a.submit))
	mux.HandleFunc("GET /api/v1/purges", a.guarded(a.list))
	mux.HandleFunc("GET /api/v1/purges/{id}", a.guarded(a.get))
	mux.HandleFunc("POST /api/v1/purges/{id}/retry", a.guarded(a.retry))
	mux.HandleFunc("POST /api/v1/purges/{id}/cancel", a.guarded(a.cancel))
	mux.HandleFunc("GET /api/v1/purges/events", a.guarded(a.events))
	a.compatible(mux)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", a.ready)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeAPIError(w, http.StatusNotFound, "not_found", "there is nothing at "+r.Method+" "+mounted(r), "")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Of all that comes from here, also what the mux answers by itself.
		header := w.Header()
		header.Set("Content-Type", "text/plain; charset=utf-8")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Content-Security-Policy", errorPolicy)
		header.Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}

type admin struct {
	h         *Handler
	authorize func(*http.Request) error
	streams   atomic.Int32 // of events, open
	bases     []base
	waiting   atomic.Int32 // for the end of invalidations
	recent    duplicates
}

func newAdmin(h *Handler, o *AdminOptions) *admin {
	if o == nil {
		o = new(AdminOptions)
	}
	a := &admin{h: h, authorize: o.Authorize, bases: h.parseBases(o.Bases)}
	if a.authorize == nil {
		a.authorize = bearer(o.Keys)
	}
	return a
}

var (
	errNoKey    = errors.New("give a key: Authorization: Bearer KEY")
	errWrongKey = errors.New("the key opens nothing here")
)

// bearer compares digests, so that neither a key's bytes nor its length can be timed.
func bearer(keys []string) func(*http.Request) error {
	var sums [][sha256.Size]byte
	for _, k := range keys {
		if k != "" {
			sums = append(sums, sha256.Sum256([]byte(k)))
		}
	}
	return func(r *http.Request) error {
		scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		given := sha256.Sum256([]byte(strings.TrimSpace(key)))
		found := 0
		for _, sum := range sums {
			found |= subtle.ConstantTimeCompare(sum[:], given[:])
		}
		switch {
		case !strings.EqualFold(scheme, "Bearer") || key == "":
			return errNoKey
		case found == 0:
			return errWrongKey
		}
		return nil
	}
}

func (a *admin) guarded(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := a.authorize(r); err != nil {
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeAPIError(w, http.StatusUnauthorized, "unauthorized", err.Error(), "")
			return
		}
		next(w, r)
	}
}

// mounted is a request's path as the client knows it. r.URL has lost what StripPrefix took.
func mounted(r *http.Request) string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	return path
}

func (a *admin) submit(w http.ResponseWriter, r *http.Request) {
	var req purge.Request
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAPIBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&req); err != nil {
		status := http.StatusBadRequest
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			status = http.StatusRequestEntityTooLarge
		}
		writeAPIError(w, status, "invalid_request", "the body is not a purge: "+strings.TrimPrefix(err.Error(), "json: "), "")
		return
	}
	if d.More() {
		writeAPIError(w, http.StatusBadRequest, "invalid_request", "the body has more than one purge", "")
		return
	}
	req.Cause = purge.ByAPI
	job, err := a.h.purges.Submit(r.Context(), req, nil)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	w.Header().Set("Location", mounted(r)+"/"+job.ID())
	writeJSON(w, http.StatusAccepted, job.Record())
}

func (a *admin) get(w http.ResponseWriter, r *http.Request) {
	rec, err := a.h.purges.Get(r.PathValue("id"))
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, rec)
}

func (a *admin) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	n := 0
	if limit := q.Get("limit"); limit != "" {
		var err error
		if n, err = strconv.Atoi(limit); err != nil || n < 1 {
			writeAPIError(w, http.StatusBadRequest, "invalid_request", fmt.Sprintf("limit=%q: give a number from 1", limit), "")
			return
		}
	}
	records, next, err := a.h.purges.List(q.Get("cursor"), n)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, struct {
		Purges []purge.Record `json:"purges"`
		Next   string         `json:"next"`
	}{records, next})
}

func (a *admin) retry(w http.ResponseWriter, r *http.Request) {
	job, err := a.h.purges.Retry(r.Context(), r.PathValue("id"))
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusAccepted, job.Record())
}

func (a *admin) cancel(w http.ResponseWriter, r *http.Request) {
	job, err := a.h.purges.Cancel(r.Context(), r.PathValue("id"))
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, job.Record())
}

// eventsBeat is how often a stream of events shows that it lives: often enough for proxies, which give up after a minute or so.
const eventsBeat = 15 * time.Second

// maxStreams is how many streams of events may be open: each is a connection and two goroutines.
const maxStreams = 100

// events sends purge.Service.Events, until the client goes, or the handler closes.
func (a *admin) events(w http.ResponseWriter, r *http.Request) {
	defer a.streams.Add(-1)
	if a.streams.Add(1) > maxStreams {
		w.Header().Set("Retry-After", "15")
		writeAPIError(w, http.StatusTooManyRequests, "busy", fmt.Sprintf("%d streams of events are open, the most that may", maxStreams), "")
		return
	}
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	rc := http.NewResponseController(w)
	var writing sync.Mutex
	send := func(format string, args ...any) {
		writing.Lock()
		defer writing.Unlock()
		_ = rc.SetWriteDeadline(time.Now().Add(2 * eventsBeat)) // where there is none, the server's own holds
		_, err := fmt.Fprintf(w, format, args...)
		if err = cmp.Or(err, rc.Flush()); err != nil {
			stop()
		}
	}
	var beat sync.WaitGroup
	defer beat.Wait()
	defer stop()
	events := a.h.purges.Events(ctx, r.Header.Get("Last-Event-ID"))
	send(": the states of purges\n\n")
	beat.Go(func() {
		t := time.NewTicker(eventsBeat)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				send(": more to come\n\n")
			case <-ctx.Done():
				return
			}
		}
	})
	for e, err := range events {
		if err != nil {
			return
		}
		data, err := json.Marshal(e)
		if err != nil {
			a.h.log.Error("an event of a purge cannot be sent", "error", err)
			return
		}
		send("id: %s\nevent: state\ndata: %s\n\n", e.EventID(), data)
	}
}

func (a *admin) ready(w http.ResponseWriter, r *http.Request) {
	if !a.h.enter() {
		http.Error(w, "closing", http.StatusServiceUnavailable)
		return
	}
	a.h.leave()
	io.WriteString(w, "ok\n")
}

var statusOfCode = map[string]int{
	"invalid_path":    http.StatusBadRequest,
	"invalid_request": http.StatusBadRequest,
	"not_found":       http.StatusNotFound,
	"not_finished":    http.StatusConflict,
	"not_waiting":     http.StatusConflict,
	"nothing_failed":  http.StatusConflict,
	"too_many_paths":  http.StatusBadRequest,
	"limited":         http.StatusTooManyRequests,
	"busy":            http.StatusTooManyRequests,
	"closed":          http.StatusServiceUnavailable,
	"cancelled":       http.StatusServiceUnavailable,
}

func (a *admin) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status, code, text := a.explain(w, err)
	path := ""
	if p, ok := errors.AsType[*purge.PathError](err); ok {
		path = p.Path
	}
	writeAPIError(w, status, code, text, path)
}

// explain is what is answered to a purge that could not be made. It sets Retry-After.
func (a *admin) explain(w http.ResponseWriter, err error) (status int, code, text string) {
	if p, ok := errors.AsType[*ParamError](err); ok {
		return paramStatus(p), "invalid_path", p.Error()
	}
	code = purge.ErrorCode(err)
	status, known := statusOfCode[code]
	text = err.Error()
	if !known {
		a.h.log.Error("a purge could not be made", "error", err)
		status, text = http.StatusInternalServerError, "the server failed; nothing was promised"
	}
	if status == http.StatusTooManyRequests {
		after := time.Second
		if l, ok := errors.AsType[*purge.LimitError](err); ok {
			after = l.RetryAfter
		}
		w.Header().Set("Retry-After", strconv.FormatFloat(math.Ceil(after.Seconds()), 'f', 0, 64))
	}
	return status, code, text
}

func writeAPIError(w http.ResponseWriter, status int, code, message, path string) {
	var body struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Path    string `json:"path,omitempty"`
		} `json:"error"`
	}
	body.Error.Code, body.Error.Message, body.Error.Path = code, oneLine(message), path
	writeJSON(w, status, body)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	writeJSONAs(w, "application/json", status, v)
}

func writeJSONAs(w http.ResponseWriter, contentType string, status int, v any) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that has gone needs no answer
}
