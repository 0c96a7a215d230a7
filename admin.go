package imagecdn

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

// AdminOptions are the settings of [Handler.Admin].
type AdminOptions struct {
	// Keys open the API and the console: a request to the API has one of them in Authorization: Bearer KEY, and whoever signs in to
	// the console types one. Several let a key be replaced without a gap. With none, and no Authorize, every request is answered 401. Keys
	// should be random, and have 20 bytes at least: shorter ones are refused while wrong ones are tried by the same client.
	Keys []string

	// Authorize decides instead of Keys, where it is set: an error refuses the request, and its text is told. It is for programs
	// that know their users by other means; the console has no form to sign in then. Requests that change something are refused
	// before, where a browser sends them for a page of another origin.
	Authorize func(*http.Request) error

	// PublicMetrics opens /metrics to everybody. It tells of sources and CDNs by name, and of how much is served, fetched and made; of no
	// image and no client. Zero means that it takes a key, as the API does.
	PublicMetrics bool

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
// The path that StripPrefix takes is where the console's cookie and links lead. It answers, in JSON:
//
//	POST /api/v1/purges             {"scope":"original","paths":["/photos/cat.jpg"],"mode":"delete"},
//	                                {"scope":"prefix","paths":["/photos/2026/"]}, {"scope":"tag","tags":["product-17"]} or
//	                                {"scope":"all","source":"photos"}: 202 with the job
//	GET  /api/v1/purges?cursor=…    {"purges":[…],"next":"…"}, newest first; limit=… sets how many
//	GET  /api/v1/purges/{id}        the job
//	POST /api/v1/purges/{id}/retry  a new attempt for what failed: 202 with the job
//	POST /api/v1/purges/{id}/cancel ends a job that waits; the purge itself stands: 200 with the job
//	GET  /api/v1/purges/events      the states of all jobs as Server-Sent Events, after Last-Event-ID if given
//	POST /api/v1/purges/check       {"text":"/photos/cat.jpg, /photos/dog.jpg"}: what is wrong with each path, before they are purged
//	GET  /api/v1/stats              what has been served, fetched and made, and how full the cache and the queues are
//	GET  /api/v1/nodes              the nodes of the cluster, as this one sees them
//	GET  /api/v1/images/SOURCE/PATH what is known and kept of an image
//	GET  /api/v1/openapi.json       all this as an OpenAPI document
//	GET  /console                   the same for people, in a browser; whoever has a key signs in with it
//	GET  /metrics                   what docs/metrics.md lists, in Prometheus' text format; with a key, unless AdminOptions.PublicMetrics
//	GET  /healthz, /readyz          200 while the process lives, and while it serves, as a node of a cluster where it has caught up with all purges; without
//	                                a key
//
// and, for clients that were written for others, as docs/compatible-apis.md has it:
//
//	POST /invalidate                as Cloudimage's Invalidation API, and GET /invalidate/{uuid}
//	POST /api/v1/purge              as imgix's Purge API
//	POST /invalidation              as draft-nottingham-http-invalidation
//
// Refusals are {"error":{"code","message","path"}}, with the codes of [purge.ErrorCode], and "unauthorized", "cross_origin", "limited".
// docs/console.md has more of both.
func (h *Handler) Admin(o *AdminOptions) http.Handler {
	a := newAdmin(h, o)
	a.hub = newHub(h.purges)
	mux := http.NewServeMux()
	for _, r := range a.api() {
		method, path, _ := strings.Cut(r.pattern, " ")
		mux.HandleFunc(method+" /api/v1"+path, a.guarded(r.handle))
	}
	a.compatible(mux)
	newConsole(a).register(mux)
	metrics := a.guarded(a.metrics)
	if o != nil && o.PublicMetrics {
		metrics = a.metrics
	}
	mux.HandleFunc("GET /metrics", metrics)
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
	h       *Handler
	door    *doorkeeper
	hub     *hub         // nil where no events are asked for
	streams atomic.Int32 // of events, open
	bases   []base
	waiting atomic.Int32 // for the end of invalidations
	recent  duplicates
}

func newAdmin(h *Handler, o *AdminOptions) *admin {
	if o == nil {
		o = new(AdminOptions)
	}
	return &admin{h: h, door: newDoorkeeper(o, h.opts.Client), bases: h.parseBases(o.Bases)}
}

// A route is a method and a path, and what answers them.
type route struct {
	pattern string
	handle  http.HandlerFunc
}

// api are the routes of the API, without /api/v1. console/openapi.json describes them.
func (a *admin) api() []route {
	return []route{
		{"POST /purges", a.submit},
		{"GET /purges", a.list},
		{"POST /purges/check", a.checkPaths},
		{"GET /purges/events", a.events},
		{"GET /purges/{id}", a.get},
		{"POST /purges/{id}/retry", a.retry},
		{"POST /purges/{id}/cancel", a.cancel},
		{"GET /stats", a.stats},
		{"GET /nodes", a.nodes},
		{"GET /images/{source}/{path...}", a.image},
		{"GET /openapi.json", a.openAPI},
	}
}

// mounted is a request's path as the client knows it. r.URL has lost what StripPrefix took.
func mounted(r *http.Request) string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if u, err := url.Parse(path); err == nil && u.IsAbs() {
		return u.EscapedPath() // a request line has a whole URL where it was meant for a proxy
	}
	return path
}

func (a *admin) submit(w http.ResponseWriter, r *http.Request) {
	var req purge.Request
	if !readJSON(w, r, &req, "a purge") {
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
	brief, err := wantsSummary(r)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	rec, err := a.h.purges.Get(r.PathValue("id"))
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	if brief {
		writeJSON(w, http.StatusOK, summarize(&rec))
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
	brief, err := wantsSummary(r)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	records, next, err := a.h.purges.List(q.Get("cursor"), n)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	if brief {
		writeJSON(w, http.StatusOK, struct {
			Purges []purgeSummary `json:"purges"`
			Next   string         `json:"next"`
		}{summarizeAll(records), next})
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

func (a *admin) ready(w http.ResponseWriter, r *http.Request) {
	if !a.h.enter() {
		http.Error(w, "closing", http.StatusServiceUnavailable)
		return
	}
	a.h.leave()
	if n := a.h.nodesReport(); n != nil && !n.Ready {
		http.Error(w, n.Reason, http.StatusServiceUnavailable)
		return
	}
	io.WriteString(w, "ok\n")
}

var statusOfCode = map[string]int{
	"invalid_path":    http.StatusBadRequest,
	"invalid_request": http.StatusBadRequest,
	"not_found":       http.StatusNotFound,
	"not_finished":    http.StatusConflict,
	"not_waiting":     http.StatusConflict,
	"not_owner":       http.StatusConflict,
	"nothing_failed":  http.StatusConflict,
	"too_many_paths":  http.StatusBadRequest,
	"limited":         http.StatusTooManyRequests,
	"busy":            http.StatusTooManyRequests,
	"closed":          http.StatusServiceUnavailable,
	"unavailable":     http.StatusServiceUnavailable,
	"cancelled":       http.StatusServiceUnavailable,
}

// statusOf is the status, the code and the text of a purge that was refused.
func (a *admin) statusOf(err error) (status int, code, text string) {
	if p, ok := errors.AsType[*ParamError](err); ok {
		return paramStatus(p), "invalid_path", p.Error()
	}
	code, text = purge.ErrorCode(err), err.Error()
	status, known := statusOfCode[code]
	if !known {
		a.h.log.Error("a purge could not be made", "error", err)
		status, text = http.StatusInternalServerError, "the server failed; nothing was promised"
	}
	return status, code, oneLine(text)
}

func (a *admin) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status, code, text := a.explain(w, err)
	path := ""
	if p, ok := errors.AsType[*purge.PathError](err); ok {
		path = p.Path
	}
	writeAPIError(w, status, code, text, path)
}

// explain is statusOf, which sets Retry-After.
func (a *admin) explain(w http.ResponseWriter, err error) (status int, code, text string) {
	status, code, text = a.statusOf(err)
	if status == http.StatusTooManyRequests {
		after := time.Second
		if l, ok := errors.AsType[*purge.LimitError](err); ok {
			after = l.RetryAfter
		}
		w.Header().Set("Retry-After", strconv.FormatFloat(math.Ceil(after.Seconds()), 'f', 0, 64))
	}
	return status, code, text
}

// openAPI is the description of the API.
func (a *admin) openAPI(w http.ResponseWriter, r *http.Request) {
	body, err := consoleFiles.ReadFile("console/openapi.json")
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
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
