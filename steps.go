package imagecdn

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// A phase is a part of the work for a request, which Options.Trace and Server-Timing tell of.
type phase uint8

const (
	phaseName   phase = iota // finding out what the images of a picture are, with phaseFetch
	phaseFetch               // an exchange with an origin, to the end of its body
	phaseMake                // having a picture made, with all below, or waiting for one that another request has made
	phaseRead                // reading the originals' bytes, with phaseFetch where they were lost
	phaseQueue               // waiting for leave
	phaseRender              // making the picture; for Server-Timing without phaseQueue
	phaseStore               // giving it to the cache
	phases
)

// phaseNames are the names of spans, and of metrics in Server-Timing.
var phaseNames = [phases]string{"name", "fetch", "make", "read", "queue", "render", "store"}

// timing is how long the phases of one request took. Work that the request has begun may still write to it when the request is gone.
type timing struct {
	began time.Time
	took  [phases]atomic.Int64 // nanoseconds
}

func (t *timing) add(p phase, d time.Duration) {
	if t != nil {
		t.took[p].Add(int64(d))
	}
}

// timingOf is where the time of work is noted; nil where nobody wants to know.
func timingOf(ctx context.Context) *timing {
	t, _ := ctx.Value(timingKey{}).(*timing)
	return t
}

type timingKey struct{}

// header is t for Server-Timing (https://www.w3.org/TR/server-timing/): durations in milliseconds, of the phases that there were.
func (t *timing) header() string {
	b := make([]byte, 0, 128)
	metric := func(name string, d time.Duration) {
		b = append(b, name...)
		b = append(b, ";dur="...)
		b = strconv.AppendFloat(b, float64(d)/1e6, 'f', 3, 64)
	}
	for p := range phases {
		if d := time.Duration(t.took[p].Load()); d > 0 {
			metric(phaseNames[p], d)
			b = append(b, ", "...)
		}
	}
	metric("total", time.Since(t.began))
	return string(b)
}

// noStep ends a step that nobody is told of.
func noStep(error, ...slog.Attr) {}

// step says that a phase begins. The work is done with the context that is returned, and end called after it.
func (h *Handler) step(ctx context.Context, p phase, attrs ...slog.Attr) (_ context.Context, end func(error, ...slog.Attr)) {
	if !h.followed {
		return ctx, noStep
	}
	return h.begin(ctx, p, attrs...)
}

func (h *Handler) begin(ctx context.Context, p phase, attrs ...slog.Attr) (_ context.Context, end func(error, ...slog.Attr)) {
	t, traced := timingOf(ctx), noStep
	if h.opts.Trace != nil {
		ctx, traced = h.opts.Trace(ctx, phaseNames[p], attrs...)
	}
	if t == nil {
		return ctx, traced
	}
	began := time.Now()
	return ctx, func(err error, attrs ...slog.Attr) {
		t.add(p, time.Since(began))
		traced(err, attrs...)
	}
}

// requestStep tells Options.Trace of a whole request. end is called when that is answered.
func (h *Handler) requestStep(w http.ResponseWriter, r *http.Request) (_ http.ResponseWriter, _ *http.Request, end func()) {
	ctx, traced := h.opts.Trace(r.Context(), "request", slog.String("http.request.method", method(r.Method)), slog.String("url.path", r.URL.Path))
	noted := &notedResponse{ResponseWriter: w}
	return noted, r.WithContext(ctx), func() {
		attrs := []slog.Attr{slog.Int("http.response.status_code", noted.status), slog.Int64("http.response.body.size", noted.bytes)}
		if s := w.Header().Get("Cache-Status"); s != "" {
			attrs = append(attrs, slog.String("imagecdn.cache_status", s))
		}
		traced(nil, attrs...)
	}
}

// method is one of a few words, whatever a client has sent.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost, http.MethodPut, http.MethodDelete:
		return m
	}
	return "_OTHER"
}

// A notedResponse notes what a request was answered.
type notedResponse struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *notedResponse) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *notedResponse) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// ReadFrom keeps the way open for files to be sent without copying.
func (w *notedResponse) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(w.ResponseWriter, r)
	w.bytes += n
	return n, err
}

func (w *notedResponse) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// waits counts how long a picture waits for leave.
type waits struct{ nanoseconds atomic.Int64 }

type waitsKey struct{}

// admitted is a gate's admit that says how long it waited, to all who want to know.
func (h *Handler) admitted(admit func(context.Context, int64, bool) (func(), error)) func(context.Context, int64, bool) (func(), error) {
	return func(ctx context.Context, bytes int64, begun bool) (leave func(), err error) {
		began := time.Now()
		ctx, end := h.step(ctx, phaseQueue)
		leave, err = admit(ctx, bytes, begun)
		if w, _ := ctx.Value(waitsKey{}).(*waits); w != nil {
			w.nanoseconds.Add(int64(time.Since(began)))
		}
		end(err)
		return leave, err
	}
}

// tracked is an origin whose exchanges are told of, and counted.
type tracked struct {
	http.RoundTripper
	h      *Handler
	source string
}

func (t tracked) RoundTrip(r *http.Request) (*http.Response, error) {
	if !t.h.followed && t.h.opts.OriginHeader == nil {
		return t.RoundTripper.RoundTrip(r)
	}
	ctx, end := t.h.begin(r.Context(), phaseFetch, slog.String("imagecdn.source", t.source), slog.String("url.path", r.URL.Path))
	r = r.WithContext(ctx)
	if t.h.opts.OriginHeader != nil {
		r.Header = r.Header.Clone() // a RoundTripper may not change what its caller has
		t.h.opts.OriginHeader(ctx, r.Header)
	}
	resp, err := t.RoundTripper.RoundTrip(r)
	if err != nil {
		end(err)
		return nil, err
	}
	resp.Body = &trackedBody{ReadCloser: resp.Body, status: resp.StatusCode, end: end}
	return resp, nil
}

// A trackedBody ends a step when it is closed.
type trackedBody struct {
	io.ReadCloser
	status int
	bytes  int64
	err    error
	end    func(error, ...slog.Attr) // nil once it was called
}

func (b *trackedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.bytes += int64(n)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

func (b *trackedBody) Close() error {
	err := b.ReadCloser.Close()
	if b.end != nil {
		b.end(b.err, slog.Int("http.response.status_code", b.status), slog.Int64("http.response.body.size", b.bytes))
		b.end = nil
	}
	return err
}

// attrs are what a picture has become.
func (m *made) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("imagecdn.format", string(m.format)), slog.Int64("imagecdn.pixels_read", m.read), slog.Int64("imagecdn.pixels_written", m.written),
		slog.Int64("imagecdn.bytes_read", m.bytesRead), slog.Int64("imagecdn.bytes_written", m.bytes),
	}
}
