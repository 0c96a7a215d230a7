// Package otel tells OpenTelemetry of what an image CDN does: traces of requests and of purges, and all metrics.
//
//	tell := otel.New(nil)
//	defer tell.Close()
//	h, err := imagecdn.New(sources, tell.Options(&imagecdn.Options{CDNs: edges}))
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer h.Close()
//	if err := tell.Observe(h); err != nil {
//		log.Fatal(err)
//	}
//
// # Traces
//
// A request is a span "imagecdn.request" in the trace of the request's context, which is that of otelhttp where the handler is in it. In it are
// the steps that imagecdn.Options.Trace names: "imagecdn.name", "imagecdn.fetch" of an origin (a client's span), "imagecdn.make", "imagecdn.read",
// "imagecdn.render", "imagecdn.queue" and "imagecdn.store". What several requests wait for together is in the trace of the one that began it.
//
// An attempt of a purge is a trace of its own, "imagecdn.purge", made when it has ended: with a span for each state, such as
// "imagecdn.purge.flushing_servers", and in "imagecdn.purge.flushing_cdn" one for each call to a CDN that was made for it, "imagecdn.purge.call".
//
// Origins are told of traces only where Options.Propagator is set.
//
// # Metrics
//
// They are those of docs/metrics.md, observed when a reader asks: imagecdn_requests_total is "imagecdn.requests" here, with labels as
// attributes; what exports to Prometheus gives them their names back. OpenTelemetry has no histograms that are observed; each of ours
// is three counters, named ".bucket", with the attribute "le" as in Prometheus, ".sum" and ".count".
package otel

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	otelapi "go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/cdn"
)

// scope is the name of the instrumentation.
const scope = "github.com/imagecdn/imagecdn/otel"

// Options are the optional settings of [New].
type Options struct {
	// TracerProvider gets the spans. Nil means OpenTelemetry's global one.
	TracerProvider trace.TracerProvider

	// MeterProvider gets the metrics. Nil means OpenTelemetry's global one.
	MeterProvider metric.MeterProvider

	// Propagator writes the trace into requests to origins, and to wherever they redirect: it is for origins that are one's own, as it tells
	// them which requests belong together. Nil means that nothing is written.
	Propagator propagation.TextMapPropagator
}

// Instrumentation tells OpenTelemetry of handlers. Make one with [New]. Its methods may be called from many goroutines at once.
type Instrumentation struct {
	tracer     trace.Tracer
	meter      metric.Meter
	propagator propagation.TextMapPropagator

	mu    sync.Mutex                // guards what follows
	calls map[string][]cdn.CallInfo // by job: to CDNs, until the job has ended
	stops []func() error
}

// New returns what tells OpenTelemetry. It is to be closed after the handlers.
func New(o *Options) *Instrumentation {
	if o == nil {
		o = new(Options)
	}
	tracers, meters := o.TracerProvider, o.MeterProvider
	if tracers == nil {
		tracers = otelapi.GetTracerProvider()
	}
	if meters == nil {
		meters = otelapi.GetMeterProvider()
	}
	return &Instrumentation{
		tracer: tracers.Tracer(scope), meter: meters.Meter(scope), propagator: o.Propagator,
		calls: make(map[string][]cdn.CallInfo),
	}
}

// Options returns a copy of o, which may be nil, for a handler that is traced. What o has for Trace, OriginHeader and Purge.OnStatus is
// called as well.
func (i *Instrumentation) Options(o *imagecdn.Options) *imagecdn.Options {
	var traced imagecdn.Options
	if o != nil {
		traced = *o
	}
	traced.Trace = i.follow(traced.Trace)
	if i.propagator != nil {
		traced.OriginHeader = i.propagate(traced.OriginHeader)
	}
	var purges purge.ServiceOptions
	if traced.Purge != nil {
		purges = *traced.Purge
	}
	told := purges.OnStatus
	purges.OnStatus = func(e purge.Event) {
		if e.State.Final() {
			i.ended(e)
		}
		if told != nil {
			told(e)
		}
	}
	traced.Purge = &purges
	if traced.CDNs != nil {
		stop := traced.CDNs.Watch(i.called)
		i.mu.Lock()
		i.stops = append(i.stops, func() error { stop(); return nil })
		i.mu.Unlock()
	}
	return &traced
}

// Close ends observing. Spans that are under way end all the same.
func (i *Instrumentation) Close() error {
	i.mu.Lock()
	stops := i.stops
	i.stops = nil
	i.mu.Unlock()
	var errs []error
	for _, stop := range stops {
		errs = append(errs, stop())
	}
	return errors.Join(errs...)
}

type follower = func(ctx context.Context, step string, attrs ...slog.Attr) (context.Context, func(error, ...slog.Attr))

// follow is a follower that makes a span of each step, and calls next.
func (i *Instrumentation) follow(next follower) follower {
	return func(ctx context.Context, step string, attrs ...slog.Attr) (context.Context, func(error, ...slog.Attr)) {
		kind := trace.SpanKindInternal
		if step == "fetch" {
			kind = trace.SpanKindClient
		}
		ctx, span := i.tracer.Start(ctx, "imagecdn."+step, trace.WithSpanKind(kind), trace.WithAttributes(attributes(attrs)...))
		end := func(err error, attrs ...slog.Attr) {
			span.SetAttributes(attributes(attrs)...)
			fail(span, err)
			for _, a := range attrs {
				if a.Key == "http.response.status_code" && a.Value.Kind() == slog.KindInt64 && a.Value.Int64() >= http.StatusInternalServerError {
					span.SetStatus(codes.Error, "")
				}
			}
			span.End()
		}
		if next == nil {
			return ctx, end
		}
		ctx, nextEnd := next(ctx, step, attrs...)
		return ctx, func(err error, attrs ...slog.Attr) {
			nextEnd(err, attrs...)
			end(err, attrs...)
		}
	}
}

// fail says that what a span is about has failed, where it has. Work that nobody waits for any more has not.
func fail(span trace.Span, err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	span.RecordError(err)
	span.SetStatus(codes.Error, err.Error())
}

func attributes(attrs []slog.Attr) []attribute.KeyValue {
	all := make([]attribute.KeyValue, len(attrs))
	for n, a := range attrs {
		switch a.Value.Kind() {
		case slog.KindBool:
			all[n] = attribute.Bool(a.Key, a.Value.Bool())
		case slog.KindInt64:
			all[n] = attribute.Int64(a.Key, a.Value.Int64())
		case slog.KindFloat64:
			all[n] = attribute.Float64(a.Key, a.Value.Float64())
		default:
			all[n] = attribute.String(a.Key, strings.ToValidUTF8(a.Value.String(), "\uFFFD"))
		}
	}
	return all
}

func (i *Instrumentation) propagate(next func(context.Context, http.Header)) func(context.Context, http.Header) {
	return func(ctx context.Context, header http.Header) {
		i.propagator.Inject(ctx, propagation.HeaderCarrier(header))
		if next != nil {
			next(ctx, header)
		}
	}
}

const (
	// maxJobs is how many jobs' calls are remembered, and maxCalls how many of each: what is beyond is in no trace.
	maxJobs  = 1000
	maxCalls = 200
)

// called remembers a call to a CDN for the traces of the jobs that it was made for.
func (i *Instrumentation) called(call cdn.CallInfo) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, job := range call.Jobs {
		if i.calls[job] == nil {
			for other := range i.calls {
				if len(i.calls) < maxJobs {
					break
				}
				delete(i.calls, other)
			}
		}
		if len(i.calls[job]) < maxCalls {
			i.calls[job] = append(i.calls[job], call)
		}
	}
}

// ended makes the trace of an attempt that has ended.
func (i *Instrumentation) ended(e purge.Event) {
	i.mu.Lock()
	calls := i.calls[e.ID]
	delete(i.calls, e.ID)
	i.mu.Unlock()

	r := &e.Record
	history := r.History
	for len(history) > 0 && history[0].Attempt != e.Attempt {
		history = history[1:]
	}
	if len(history) == 0 {
		return
	}
	end := history[len(history)-1].Time
	for _, call := range calls { // times of states are in whole milliseconds
		if over := call.Time.Add(call.Took); over.After(end) {
			end = over
		}
	}
	ctx, root := i.tracer.Start(context.Background(), "imagecdn.purge", trace.WithNewRoot(), trace.WithTimestamp(history[0].Time), trace.WithAttributes(
		attribute.String("imagecdn.purge.id", e.ID), attribute.Int("imagecdn.purge.attempt", e.Attempt),
		attribute.String("imagecdn.purge.scope", string(r.Scope)), attribute.String("imagecdn.purge.mode", string(r.Mode)),
		attribute.String("imagecdn.purge.cause", string(r.Cause)), attribute.String("imagecdn.purge.state", string(e.State)),
	))
	var removed purge.PathResult
	for _, p := range r.Paths {
		removed.Originals += p.Originals
		removed.Derivatives += p.Derivatives
		removed.Composites += p.Composites
		removed.Bytes += p.Bytes
	}
	root.SetAttributes(
		attribute.Int("imagecdn.purge.paths", len(r.Paths)), attribute.Int("imagecdn.purge.originals", removed.Originals),
		attribute.Int("imagecdn.purge.derivatives", removed.Derivatives), attribute.Int("imagecdn.purge.composites", removed.Composites),
		attribute.Int64("imagecdn.purge.bytes", removed.Bytes),
	)
	fail(root, r.Err())
	for n, at := range history[:len(history)-1] {
		until := history[n+1].Time
		if at.State == purge.FlushingCDN {
			until = end
		}
		stepCtx, step := i.tracer.Start(ctx, "imagecdn.purge."+string(at.State), trace.WithTimestamp(at.Time))
		if at.State == purge.FlushingCDN {
			for _, call := range calls {
				i.callSpan(stepCtx, call)
			}
		}
		step.End(trace.WithTimestamp(until))
	}
	root.End(trace.WithTimestamp(end))
}

func (i *Instrumentation) callSpan(ctx context.Context, call cdn.CallInfo) {
	_, span := i.tracer.Start(ctx, "imagecdn.purge.call", trace.WithTimestamp(call.Time), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("imagecdn.cdn", call.CDN), attribute.String("imagecdn.cdn.kind", string(call.Kind)),
		attribute.Int("imagecdn.cdn.values", call.Values), attribute.Int("imagecdn.cdn.jobs", len(call.Jobs)),
	))
	fail(span, call.Err)
	span.End(trace.WithTimestamp(call.Time.Add(call.Took)))
}

// Observe has h's metrics observed, until Close.
func (i *Instrumentation) Observe(h *imagecdn.Handler) error {
	var all []metric.Observable
	instruments := make(map[string]observed)
	for _, m := range h.Stats().Metrics() {
		made, err := i.instruments(&m)
		if err != nil {
			return err
		}
		instruments[m.Name] = made
		all = append(all, made.all()...)
	}
	registered, err := i.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, m := range h.Stats().Metrics() {
			instruments[m.Name].observe(o, &m)
		}
		return nil
	}, all...)
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.stops = append(i.stops, registered.Unregister)
	return nil
}

// observed are the instruments of one metric.
type observed struct {
	count   metric.Int64Observable // of what is counted; and of a histogram
	measure metric.Float64Observable
	buckets metric.Int64Observable
}

func (m observed) all() (all []metric.Observable) {
	for _, o := range []metric.Observable{m.count, m.measure, m.buckets} {
		if o != nil {
			all = append(all, o)
		}
	}
	return all
}

// nameAndUnit are those of a metric here.
func nameAndUnit(prometheus string) (name, unit string) {
	name = strings.Replace(strings.TrimSuffix(prometheus, "_total"), "_", ".", 1)
	switch {
	case strings.HasSuffix(name, "_seconds"):
		return name, "s"
	case strings.HasSuffix(name, "_bytes"):
		return name, "By"
	}
	return name, ""
}

func (i *Instrumentation) instruments(m *imagecdn.Metric) (made observed, err error) {
	name, unit := nameAndUnit(m.Name)
	help := metric.WithDescription(m.Help)
	var errs [3]error
	switch {
	case m.Type == imagecdn.HistogramMetric:
		made.count, errs[0] = i.meter.Int64ObservableCounter(name+".count", help)
		made.measure, errs[1] = i.meter.Float64ObservableCounter(name+".sum", help, metric.WithUnit(unit))
		made.buckets, errs[2] = i.meter.Int64ObservableCounter(name+".bucket", help)
	case m.Type == imagecdn.CounterMetric && unit == "s":
		made.measure, errs[0] = i.meter.Float64ObservableCounter(name, help, metric.WithUnit(unit))
	case m.Type == imagecdn.CounterMetric:
		made.count, errs[0] = i.meter.Int64ObservableCounter(name, help, metric.WithUnit(unit))
	case unit == "s":
		made.measure, errs[0] = i.meter.Float64ObservableGauge(name, help, metric.WithUnit(unit))
	default:
		made.count, errs[0] = i.meter.Int64ObservableGauge(name, help, metric.WithUnit(unit))
	}
	return made, errors.Join(errs[:]...)
}

func (in observed) observe(o metric.Observer, m *imagecdn.Metric) {
	for _, s := range m.Samples {
		attrs := make([]attribute.KeyValue, 0, len(s.Labels)+1)
		for _, l := range s.Labels {
			attrs = append(attrs, attribute.String(l.Name, strings.ToValidUTF8(l.Value, "\uFFFD")))
		}
		of := metric.WithAttributes(attrs...)
		switch {
		case s.Histogram != nil:
			n := int64(0)
			for i, c := range s.Histogram.Counts {
				n += c
				le := "+Inf"
				if i < len(s.Histogram.Bounds) {
					le = seconds(s.Histogram.Bounds[i])
				}
				o.ObserveInt64(in.buckets, n, metric.WithAttributes(append(attrs[:len(attrs):len(attrs)], attribute.String("le", le))...))
			}
			o.ObserveInt64(in.count, n, of)
			o.ObserveFloat64(in.measure, s.Histogram.Sum.Seconds(), of)
		case in.measure != nil:
			o.ObserveFloat64(in.measure, s.Value, of)
		default:
			o.ObserveInt64(in.count, int64(s.Value), of)
		}
	}
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'g', -1, 64) }
