package otel_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/png"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/otel"
	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/cdn"
)

// An origin has one image, at every path but /none.png, and keeps the headers of requests.
type origin struct {
	mu      sync.Mutex // guards headers
	headers []http.Header
	wait    time.Duration
}

func (o *origin) RoundTrip(r *http.Request) (*http.Response, error) {
	o.mu.Lock()
	o.headers = append(o.headers, r.Header.Clone())
	o.mu.Unlock()
	time.Sleep(o.wait)
	if r.URL.Path == "/far.png" {
		return nil, errors.New("no route")
	}
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewNRGBA(image.Rect(0, 0, 40, 30))); err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Cache-Control": {"max-age=60"}}, Body: io.NopCloser(&b), ContentLength: int64(b.Len()), Request: r,
	}, nil
}

// traced is a handler whose spans are exported to memory.
func traced(t *testing.T, o *origin, with *otel.Options, opts *imagecdn.Options) (*imagecdn.Handler, *otel.Instrumentation, *tracetest.InMemoryExporter) {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	with.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	if with.MeterProvider == nil {
		with.MeterProvider = sdkmetric.NewMeterProvider()
	}
	tell := otel.New(with)
	h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: o}}, tell.Options(opts))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(h.Close(), tell.Close()); err != nil {
			t.Error(err)
		}
	})
	return h, tell, spans
}

func get(h http.Handler, url string) int {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, url, nil))
	return w.Code
}

// tree is spans as paths of names from their root, in order of their ends.
func tree(spans tracetest.SpanStubs) (paths []string) {
	byID := make(map[trace.SpanID]tracetest.SpanStub)
	for _, s := range spans {
		byID[s.SpanContext.SpanID()] = s
	}
	for _, s := range spans {
		path := strings.TrimPrefix(s.Name, "imagecdn.")
		for s.Parent.IsValid() {
			parent, ok := byID[s.Parent.SpanID()]
			if !ok {
				return append(paths, path+" of nobody")
			}
			if parent.SpanContext.TraceID() != s.SpanContext.TraceID() {
				return append(paths, path+" of another trace")
			}
			path = strings.TrimPrefix(parent.Name, "imagecdn.") + ">" + path
			s = parent
		}
		paths = append(paths, path)
	}
	return paths
}

func value(s tracetest.SpanStub, key string) (v attribute.Value) {
	for _, a := range s.Attributes {
		if string(a.Key) == key {
			v = a.Value
		}
	}
	return v
}

func named(spans tracetest.SpanStubs, name string) (all []tracetest.SpanStub) {
	for _, s := range spans {
		if s.Name == name {
			all = append(all, s)
		}
	}
	return all
}

func TestSpansOfRequests(t *testing.T) {
	h, _, spans := traced(t, new(origin), new(otel.Options), nil)
	for _, test := range []struct {
		url    string
		status int
		want   []string
	}{
		{"/photos/a.png?w=20", 200, []string{
			"request>name>fetch", "request>name", "request>make>read", "request>make>render>queue", "request>make>render", "request>make>store", "request>make", "request",
		}},
		{"/photos/a.png?w=20", 200, []string{"request>name", "request"}},
		{"/photos/a.png", 200, []string{"request>name", "request"}},
		{"/photos/b.png", 200, []string{"request>name>fetch", "request>name", "request"}},
		{"/photos/a.png?w=x", 400, []string{"request"}},
		{"/photos/far.png", 502, []string{"request>name>fetch", "request>name", "request"}},
	} {
		spans.Reset()
		if status := get(h, test.url); status != test.status {
			t.Fatalf("%s: %d", test.url, status)
		}
		got := tree(spans.GetSpans())
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.url, got, test.want)
		}
		root := named(spans.GetSpans(), "imagecdn.request")[0]
		if n := value(root, "http.response.status_code").AsInt64(); n != int64(test.status) || value(root, "http.request.method").AsString() != "GET" {
			t.Errorf("%s: attributes %v", test.url, root.Attributes)
		}
		if failed := root.Status.Code == codes.Error; failed != (test.status >= 500) {
			t.Errorf("%s: status %v", test.url, root.Status)
		}
		for _, s := range named(spans.GetSpans(), "imagecdn.fetch") {
			if s.SpanKind != trace.SpanKindClient || value(s, "imagecdn.source").AsString() != "photos" {
				t.Errorf("%s: fetch of kind %v with %v", test.url, s.SpanKind, s.Attributes)
			}
			if failed := s.Status.Code == codes.Error; failed != (test.url == "/photos/far.png") {
				t.Errorf("%s: fetch ended with %v", test.url, s.Status)
			}
		}
		for _, s := range named(spans.GetSpans(), "imagecdn.render") {
			if value(s, "imagecdn.format").AsString() != "png" || value(s, "imagecdn.pixels_read").AsInt64() != 1200 || value(s, "imagecdn.pixels_written").AsInt64() != 300 {
				t.Errorf("%s: render with %v", test.url, s.Attributes)
			}
		}
	}
}

// A request's spans are in the trace of its context, and take the time that the work takes; who joins work has it said.
func TestSpansOfTwoThatShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spans := tracetest.NewInMemoryExporter()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
		tell := otel.New(&otel.Options{TracerProvider: provider})
		steps := 0
		var mu sync.Mutex
		h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: &origin{wait: time.Second}}}, tell.Options(&imagecdn.Options{
			Trace: func(ctx context.Context, _ string, _ ...slog.Attr) (context.Context, func(error, ...slog.Attr)) {
				mu.Lock()
				defer mu.Unlock()
				steps++
				return ctx, func(error, ...slog.Attr) {}
			},
		}))
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		ctx, outer := provider.Tracer("test").Start(t.Context(), "outer")
		var ended sync.WaitGroup
		for range 2 {
			ended.Go(func() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/photos/a.png?w=20", nil))
			})
		}
		ended.Wait()
		outer.End()
		all := spans.GetSpans()
		if n := len(named(all, "imagecdn.fetch")); n != 1 {
			t.Errorf("%d spans of fetches, want 1", n)
		}
		if took := named(all, "imagecdn.fetch")[0]; took.EndTime.Sub(took.StartTime) != time.Second {
			t.Errorf("the fetch took %v", took.EndTime.Sub(took.StartTime))
		}
		for _, s := range named(all, "imagecdn.request") {
			if s.Parent.SpanID() != outer.SpanContext().SpanID() {
				t.Errorf("a request is not in the trace of its context: %v", s.Parent)
			}
		}
		if n := len(named(all, "imagecdn.render")); n != 1 {
			t.Errorf("%d spans of renders, want 1", n)
		}
		if steps != len(all)-1 {
			t.Errorf("the user's Trace was told of %d steps of %d", steps, len(all)-1)
		}
	})
}

func TestOriginsAreToldOnlyWhereAskedFor(t *testing.T) {
	for _, test := range []struct {
		propagator propagation.TextMapPropagator
		want       bool
	}{{nil, false}, {propagation.TraceContext{}, true}} {
		o := new(origin)
		h, _, spans := traced(t, o, &otel.Options{Propagator: test.propagator}, nil)
		get(h, "/photos/a.png")
		parent := o.headers[0].Get("Traceparent")
		if got := parent != ""; got != test.want {
			t.Errorf("with %v: traceparent %q", test.propagator, parent)
		}
		fetch := named(spans.GetSpans(), "imagecdn.fetch")[0]
		if test.want && !strings.Contains(parent, fetch.SpanContext.TraceID().String()+"-"+fetch.SpanContext.SpanID().String()) {
			t.Errorf("traceparent %q, and the span is %v", parent, fetch.SpanContext)
		}
	}
}

// A tagCDN takes tags, and refuses those of one path.
type tagCDN struct{ bad string }

func (c tagCDN) Features() cdn.Features {
	return cdn.Features{Forms: map[cdn.Kind]cdn.Form{cdn.Tag: {MaxItems: 10}}}
}

func (c tagCDN) Purge(_ context.Context, b cdn.Batch) (cdn.Receipt, error) {
	if slices.Contains(b.Values, c.bad) {
		return cdn.Receipt{}, &cdn.Error{Status: 403, Reason: "no such zone"}
	}
	return cdn.Receipt{}, nil
}

func TestSpansOfPurges(t *testing.T) {
	bad := cdn.Namer{}.Image("photos", "/bad.png")
	calls := 0
	edges, err := cdn.New([]cdn.Ring{{{Name: "edge", CDN: tagCDN{bad}}}}, &cdn.Options{OnCall: func(cdn.CallInfo) { calls++ }})
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan purge.State, 100)
	opts := &imagecdn.Options{CDNs: edges, Purge: &purge.ServiceOptions{OnStatus: func(e purge.Event) { told <- e.State }}}
	h, _, spans := traced(t, new(origin), new(otel.Options), opts)
	if opts.Trace != nil || opts.OriginHeader != nil {
		t.Error("the options of the caller were written to")
	}
	get(h, "/photos/a.png?w=20")
	for _, test := range []struct {
		path  string
		state purge.State
	}{{"/photos/a.png", purge.Done}, {"/photos/bad.png", purge.ErrorCDNNode}} {
		spans.Reset()
		job, err := h.Purge(t.Context(), []string{test.path}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for state := range told { // after the trace was made
			if state.Final() {
				break
			}
		}
		all := spans.GetSpans()
		want := []string{
			"purge>purge.received", "purge>purge.preparing", "purge>purge.flushing_servers", "purge>purge.flushing_cdn>purge.call", "purge>purge.flushing_cdn", "purge",
		}
		if got := tree(all); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", test.path, got, want)
			continue
		}
		root, call := named(all, "imagecdn.purge")[0], named(all, "imagecdn.purge.call")[0]
		if value(root, "imagecdn.purge.id").AsString() != job.ID() || value(root, "imagecdn.purge.state").AsString() != string(test.state) {
			t.Errorf("%s: attributes %v", test.path, root.Attributes)
		}
		if n := value(root, "imagecdn.purge.derivatives").AsInt64(); test.state == purge.Done && n != 1 {
			t.Errorf("%s: %d derivatives", test.path, n)
		}
		failed := test.state != purge.Done
		if root.Status.Code == codes.Error != failed || call.Status.Code == codes.Error != failed {
			t.Errorf("%s: the purge ended with %v, the call with %v", test.path, root.Status, call.Status)
		}
		if value(call, "imagecdn.cdn").AsString() != "edge" || value(call, "imagecdn.cdn.values").AsInt64() != 1 {
			t.Errorf("%s: call %v", test.path, call.Attributes)
		}
		for _, s := range all {
			if s.EndTime.Before(s.StartTime) || s.EndTime.After(root.EndTime) || s.StartTime.Before(root.StartTime) {
				t.Errorf("%s: %s is from %v to %v, and the purge from %v to %v", test.path, s.Name, s.StartTime, s.EndTime, root.StartTime, root.EndTime)
			}
		}
	}
	if calls != 2 {
		t.Errorf("the user's OnCall was told of %d calls, want 2", calls)
	}
}

// What a reader gets is what Handler.Stats says, all of it.
func TestMetricsAreThoseOfStats(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	edges, err := cdn.New([]cdn.Ring{{{Name: "edge", CDN: tagCDN{}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	h, tell, _ := traced(t, new(origin), &otel.Options{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))}, &imagecdn.Options{CDNs: edges})
	if err := tell.Observe(h); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		get(h, "/photos/a.png?w=20")
	}
	get(h, "/photos/a.png?w=x")
	job, err := h.Purge(t.Context(), []string{"/photos/a.png"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := job.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	points := collect(t, reader)
	n, names := 0, make(map[string]bool)
	for _, m := range h.Stats().Metrics() {
		name := strings.Replace(strings.TrimSuffix(m.Name, "_total"), "_", ".", 1)
		if names[name] {
			t.Errorf("%s is two metrics", name)
		}
		names[name] = true
		for _, s := range m.Samples {
			var attrs []attribute.KeyValue
			for _, l := range s.Labels {
				attrs = append(attrs, attribute.String(l.Name, l.Value))
			}
			want := map[string]float64{pointName(name, attrs...): s.Value}
			if h := s.Histogram; h != nil {
				want = map[string]float64{
					pointName(name+".count", attrs...): float64(h.Count()), pointName(name+".sum", attrs...): h.Sum.Seconds(),
					pointName(name+".bucket", append(attrs, attribute.String("le", "+Inf"))...): float64(h.Count()),
				}
			}
			for point, v := range want {
				n++
				if got, ok := points[point]; !ok || got != v {
					t.Errorf("%s: %v, there %t; want %v", point, got, ok, v)
				}
			}
		}
	}
	if n < 200 {
		t.Errorf("%d points were compared", n)
	}
	for point, want := range map[string]float64{
		pointName("imagecdn.requests", attribute.String("outcome", "hit")):                                                                  2,
		pointName("imagecdn.requests", attribute.String("outcome", "refused")):                                                              1,
		pointName("imagecdn.purges_ended", attribute.String("state", "done")):                                                               1,
		pointName("imagecdn.cdn_calls", attribute.String("cdn", "edge"), attribute.String("kind", "tag"), attribute.String("result", "ok")): 1,
		pointName("imagecdn.render_duration_seconds.bucket", attribute.String("format", "png"), attribute.String("le", "60")):               1,
	} {
		if points[point] != want {
			t.Errorf("%s: %v, want %v", point, points[point], want)
		}
	}
	if err := tell.Close(); err != nil {
		t.Fatal(err)
	}
	if left := collect(t, reader); len(left) != 0 {
		t.Errorf("%d points are observed after Close", len(left))
	}
}

func pointName(name string, attrs ...attribute.KeyValue) string {
	set := attribute.NewSet(attrs...)
	return name + " " + set.Encoded(attribute.DefaultEncoder())
}

// collect reads all points, by pointName.
func collect(t *testing.T, reader *sdkmetric.ManualReader) map[string]float64 {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	points := make(map[string]float64)
	for _, s := range data.ScopeMetrics {
		for _, m := range s.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				if !d.IsMonotonic {
					t.Errorf("%s: a counter that is none", m.Name)
				}
				add(points, m.Name, d.DataPoints)
			case metricdata.Sum[float64]:
				add(points, m.Name, d.DataPoints)
			case metricdata.Gauge[int64]:
				add(points, m.Name, d.DataPoints)
			case metricdata.Gauge[float64]:
				add(points, m.Name, d.DataPoints)
			default:
				t.Errorf("%s is a %T", m.Name, d)
			}
		}
	}
	return points
}

func add[N int64 | float64](points map[string]float64, name string, all []metricdata.DataPoint[N]) {
	for _, p := range all {
		points[name+" "+p.Attributes.Encoded(attribute.DefaultEncoder())] = float64(p.Value)
	}
}
