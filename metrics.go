package imagecdn

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/resize"
)

// A Metric is a number, or some that labels tell apart, with a name by Prometheus' conventions. docs/metrics.md has all of them.
type Metric struct {
	Name string // in base units: seconds, bytes
	Help string // one line
	Type MetricType

	// Samples are the numbers, each with other labels. There may be none, as where there is no disk.
	Samples []Sample
}

// A MetricType is what may become of a metric's numbers.
type MetricType string

const (
	CounterMetric   MetricType = "counter" // only grows
	GaugeMetric     MetricType = "gauge"
	HistogramMetric MetricType = "histogram"
)

// A Sample is one number of a Metric.
type Sample struct {
	Labels    []Label
	Value     float64
	Histogram *Histogram // in place of Value, where the Metric is of that type
}

// A Label tells samples apart. Values are of lists that are short, or names that the operator has given: never of what a request has in it.
type Label struct{ Name, Value string }

// metricList is metrics being made.
type metricList struct{ all []Metric }

// labels makes labels of names and values, in turn.
func labels(pairs ...string) (all []Label) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, Label{pairs[i], pairs[i+1]})
	}
	return all
}

func (l *metricList) add(t MetricType, name, help string, samples ...Sample) {
	l.all = append(l.all, Metric{name, help, t, samples})
}

// counter and gauge add a metric of one number.
func (l *metricList) counter(name, help string, v int64) {
	l.add(CounterMetric, name, help, Sample{Value: float64(v)})
}

func (l *metricList) gauge(name, help string, v float64) {
	l.add(GaugeMetric, name, help, Sample{Value: v})
}

func (l *metricList) histogram(name, help string, h Histogram) {
	l.add(HistogramMetric, name, help, Sample{Histogram: &h})
}

// each makes samples of what a list has.
func each[T any](list []T, sample func(T) Sample) (all []Sample) {
	for _, v := range list {
		all = append(all, sample(v))
	}
	return all
}

// keyed makes samples of a map whose keys are words.
func keyed[K ~string, V int | int64](label string, m map[K]V) (all []Sample) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, Sample{Labels: labels(label, string(k)), Value: float64(m[k])})
	}
	return all
}

// Metrics gives s names: those that /metrics of [Handler.Admin] answers with, without what it says of the process. The names are the same each
// time, and so are the labels, but for "code" of imagecdn_purges_refused_total, which has what has occurred.
func (s *Stats) Metrics() []Metric {
	l := new(metricList)
	l.gauge("imagecdn_start_time_seconds", "When the handler was made, as Unix time.", float64(s.Began.UnixMilli())/1000)
	s.requestMetrics(l)
	s.renderMetrics(l)
	s.originMetrics(l)
	s.cacheMetrics(l)
	s.purgeMetrics(l)
	s.cdnMetrics(l)
	s.nodeMetrics(l)
	return l.all
}

func (s *Stats) requestMetrics(l *metricList) {
	l.gauge("imagecdn_requests_in_flight", "Requests being served.", float64(s.InFlight))
	l.add(CounterMetric, "imagecdn_requests_total", "Requests answered, by how.", each(s.Requests, func(o OutcomeStats) Sample {
		return Sample{Labels: labels("outcome", o.Outcome), Value: float64(o.Requests)}
	})...)
	l.add(CounterMetric, "imagecdn_response_bytes_total", "Bytes of the bodies of answers.", each(s.Requests, func(o OutcomeStats) Sample {
		return Sample{Labels: labels("outcome", o.Outcome), Value: float64(o.Bytes)}
	})...)
	l.add(CounterMetric, "imagecdn_hits_total", "Requests of the outcome hit, by the tier where the picture was.",
		Sample{Labels: labels("tier", "memory"), Value: float64(s.MemoryHits)},
		Sample{Labels: labels("tier", "disk"), Value: float64(s.DiskHits)})
	l.add(CounterMetric, "imagecdn_error_responses_total", "Answers that are no pictures, by status.", each(s.Errors, func(e StatusStats) Sample {
		status := "other"
		if e.Status != 0 {
			status = strconv.Itoa(e.Status)
		}
		return Sample{Labels: labels("status", status), Value: float64(e.Answers)}
	})...)
	l.histogram("imagecdn_hit_duration_seconds", "Time until the answer begins, of one hit in 64.", s.Hits)
	l.histogram("imagecdn_miss_duration_seconds", "Time until the answer begins, of what is fetched, made or asked about, from when that is found out.", s.Misses)
}

func (s *Stats) renderMetrics(l *metricList) {
	byFormat := func(v func(RenderStats) int64) []Sample {
		return each(s.Renders, func(r RenderStats) Sample {
			return Sample{Labels: labels("format", formatLabel(r.Format)), Value: float64(v(r))}
		})
	}
	l.add(HistogramMetric, "imagecdn_render_duration_seconds", "Time it took to make pictures, without the wait for leave, by their format.", each(s.Renders, func(r RenderStats) Sample {
		return Sample{Labels: labels("format", formatLabel(r.Format)), Histogram: &r.Took}
	})...)
	l.counter("imagecdn_render_failures_total", "Pictures that could not be made.", s.FailedRenders)
	l.counter("imagecdn_renders_behind_total", "Pictures made, or tried, that no request waited for.", s.BehindRenders)
	l.counter("imagecdn_renders_unstored_total", "Pictures not stored, as too many of their image were.", s.SpareRenders)
	l.add(CounterMetric, "imagecdn_render_read_pixels_total", "Pixels of the originals and watermarks that pictures were made of.", byFormat(func(r RenderStats) int64 { return r.PixelsRead })...)
	l.add(CounterMetric, "imagecdn_render_written_pixels_total", "Pixels of the pictures made.", byFormat(func(r RenderStats) int64 { return r.PixelsWritten })...)
	l.add(CounterMetric, "imagecdn_render_read_bytes_total", "Bytes of the originals and watermarks that pictures were made of.", byFormat(func(r RenderStats) int64 { return r.BytesRead })...)
	l.add(CounterMetric, "imagecdn_render_written_bytes_total", "Bytes of the pictures made.", byFormat(func(r RenderStats) int64 { return r.BytesWritten })...)

	q := &s.Queue
	l.histogram("imagecdn_render_wait_seconds", "Time that pictures waited for leave to be made.", q.Waits)
	l.gauge("imagecdn_renders_waiting", "Requests whose pictures have no leave yet.", float64(q.Waiting))
	l.gauge("imagecdn_renders_waiting_max", "Requests that may wait.", float64(q.MaxWaiting))
	l.gauge("imagecdn_renders_working", "Pictures being made.", float64(q.Working))
	l.gauge("imagecdn_renders_working_max", "Pictures that may be made at once.", float64(q.MaxWorking))
	l.gauge("imagecdn_renders_behind_waiting", "Pictures to be made behind their stand-ins.", float64(q.Behind))
	l.gauge("imagecdn_warming_waiting", "Images whose pictures are to be made again after a purge.", float64(q.Warming))
	l.gauge("imagecdn_originals_waiting", "Originals that wait for memory.", float64(q.Originals))
	l.gauge("imagecdn_render_memory_bytes", "Memory taken by originals, by pictures being made and by decoded originals.", float64(q.Memory))
	l.gauge("imagecdn_render_memory_max_bytes", "The most of it; less than zero: no limit.", float64(q.MaxMemory))

	l.gauge("imagecdn_decoded_originals", "Originals that are kept decoded.", float64(s.Decoded.Held))
	l.gauge("imagecdn_decoded_bytes", "Memory of originals that are decoded.", float64(s.Decoded.Bytes))
	l.counter("imagecdn_decodes_total", "Originals whose decoding was begun to be shared.", s.Decoded.Begun)
	l.counter("imagecdn_decodes_shared_total", "Times that an original was found decoded, or being decoded.", s.Decoded.Shared)
}

func formatLabel(f resize.Format) string { return cmp.Or(string(f), "other") }

func (s *Stats) originMetrics(l *metricList) {
	var exchanges []Sample
	for _, o := range s.Origins {
		exchanges = append(exchanges, each(o.Exchanges, func(r ResultStats) Sample {
			return Sample{Labels: labels("source", o.Source, "result", r.Result), Value: float64(r.Count)}
		})...)
	}
	bySource := func(v func(OriginStats) int64) []Sample {
		return each(s.Origins, func(o OriginStats) Sample { return Sample{Labels: labels("source", o.Source), Value: float64(v(o))} })
	}
	l.add(CounterMetric, "imagecdn_origin_requests_total", "Requests to origins, files of this machine apart, by source and result.", exchanges...)
	l.histogram("imagecdn_origin_duration_seconds", "Time until the header of an origin's answer.", s.Exchanges)
	l.add(CounterMetric, "imagecdn_origin_retries_total", "Requests to an origin that were sent again.", bySource(func(o OriginStats) int64 { return o.Retries })...)
	l.add(CounterMetric, "imagecdn_origin_breaker_opened_total", "Times that a host began to be left alone, as it had failed often.", bySource(func(o OriginStats) int64 { return o.BreakerOpened })...)
	l.add(CounterMetric, "imagecdn_origin_breaker_refused_total", "Requests not sent, as their host was left alone.", bySource(func(o OriginStats) int64 { return o.BreakerRefused })...)
	l.add(GaugeMetric, "imagecdn_origin_hosts_failing", "Hosts of a source whose last request failed, or that are left alone.", bySource(func(o OriginStats) int64 { return int64(o.HostsFailing) })...)
	l.add(GaugeMetric, "imagecdn_origin_hosts_left_alone", "Hosts of a source that are left alone, as they have failed often.", bySource(func(o OriginStats) int64 { return int64(o.HostsLeftAlone) })...)
	l.counter("imagecdn_originals_total", "Originals that came, from files as well.", s.Originals)
	l.counter("imagecdn_original_bytes_total", "Bytes of them.", s.OriginalBytes)
}

func (s *Stats) cacheMetrics(l *metricList) {
	c := &s.Cache
	byTier := func(memory, disk func(*TierStats) int64) (all []Sample) {
		if c.Memory != nil && memory != nil {
			all = append(all, Sample{Labels: labels("tier", "memory"), Value: float64(memory(c.Memory))})
		}
		if c.Disk != nil {
			all = append(all, Sample{Labels: labels("tier", "disk"), Value: float64(disk(c.Disk))})
		}
		return all
	}
	both := func(v func(*TierStats) int64) []Sample { return byTier(v, v) }
	l.gauge("imagecdn_cache_names", "Images and versions of them that something is known of in memory.", float64(c.Names))
	l.add(GaugeMetric, "imagecdn_cache_bytes", "Bytes in the cache, by tier.", both(func(t *TierStats) int64 { return t.Bytes })...)
	l.add(GaugeMetric, "imagecdn_cache_max_bytes", "The most bytes that may be; less than zero: no limit.", both(func(t *TierStats) int64 { return t.MaxBytes })...)
	l.add(GaugeMetric, "imagecdn_cache_files", "Files and folders of images on the disk.", byTier(nil, func(t *TierStats) int64 { return t.Files })...)
	l.add(GaugeMetric, "imagecdn_cache_max_files", "The most of them that may be; less than zero: no limit.", byTier(nil, func(t *TierStats) int64 { return t.MaxFiles })...)
	l.add(CounterMetric, "imagecdn_cache_evictions_total", "What went to make room: things in memory, files on the disk.", both(func(t *TierStats) int64 { return t.Evicted })...)
	l.add(CounterMetric, "imagecdn_cache_damaged_total", "Files that were not whole, and are removed.", byTier(nil, func(t *TierStats) int64 { return t.Damaged })...)
	l.add(CounterMetric, "imagecdn_cache_faults_total", "Operations of the disk that failed.", byTier(nil, func(t *TierStats) int64 { return t.Faults })...)
	l.gauge("imagecdn_cache_write_waiting_bytes", "Bytes on their way to the disk.", float64(c.WaitingBytes))
	l.counter("imagecdn_cache_writes_dropped_total", "Things that are not on the disk, as too much waited to be written.", c.Dropped)
	l.histogram("imagecdn_store_duration_seconds", "Time it took to give a picture to the cache.", s.Stores)
}

func (s *Stats) purgeMetrics(l *metricList) {
	p := &s.Purges
	l.add(CounterMetric, "imagecdn_purges_accepted_total", "Purges accepted, by scope.", keyed("scope", p.Accepted)...)
	l.add(CounterMetric, "imagecdn_purges_refused_total", "Purges refused, by the code of the refusal.", keyed("code", p.Refused)...)
	l.counter("imagecdn_purges_retried_total", "Attempts that a retry has begun.", p.Retried)
	l.add(GaugeMetric, "imagecdn_purges_active", "Jobs that are not at their end, by state.", keyed("state", p.Active)...)
	l.add(CounterMetric, "imagecdn_purges_ended_total", "Attempts of jobs that ended, by state.", keyed("state", p.Ended)...)
	var steps []Sample
	for _, state := range slices.Sorted(maps.Keys(p.Steps)) {
		h := Histogram(p.Steps[state])
		steps = append(steps, Sample{Labels: labels("step", string(state)), Histogram: &h})
	}
	l.add(HistogramMetric, "imagecdn_purge_step_duration_seconds", "Time that jobs were in a state; received is the wait for a worker.", steps...)
	l.add(CounterMetric, "imagecdn_purge_paths_total", "Paths, folders and tags purged, by outcome.", keyed("outcome", p.Paths)...)
	l.add(CounterMetric, "imagecdn_purge_removed_total", "What purges removed, by kind.",
		Sample{Labels: labels("kind", "original"), Value: float64(p.Originals)},
		Sample{Labels: labels("kind", "derivative"), Value: float64(p.Derivatives)},
		Sample{Labels: labels("kind", "composite"), Value: float64(p.Composites)})
	l.counter("imagecdn_purge_removed_bytes_total", "Bytes of what purges removed.", p.Bytes)
	l.gauge("imagecdn_purges_waiting", "Jobs that wait for a worker.", float64(p.Waiting))
	l.gauge("imagecdn_purge_workers_busy", "Workers that have a job.", float64(p.Working))
	l.gauge("imagecdn_purges_flushing_cdn", "Jobs, those that share their work counted once, that wait for CDNs.", float64(p.Flushing))
	l.gauge("imagecdn_purge_callbacks_waiting", "Jobs with events to tell whose callbacks wait for their turn.", float64(p.Callbacks))
	l.gauge("imagecdn_purge_log_jobs", "Jobs in the log.", float64(p.Records))
	l.gauge("imagecdn_purge_log_bytes", "Memory that they take, about.", float64(p.Memory))
}

func (s *Stats) cdnMetrics(l *metricList) {
	var calls, values, durations, waiting, calling, unconfirmed, failing []Sample
	for _, c := range s.CDNs {
		kinds := slices.SortedFunc(maps.Keys(c.Calls), func(a, b cdn.CallKind) int {
			return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Result, b.Result))
		})
		for _, k := range kinds {
			calls = append(calls, Sample{Labels: labels("cdn", c.CDN, "kind", string(k.Kind), "result", string(k.Result)), Value: float64(c.Calls[k])})
		}
		for _, k := range slices.Sorted(maps.Keys(c.Values)) {
			values = append(values, Sample{Labels: labels("cdn", c.CDN, "kind", string(k)), Value: float64(c.Values[k])})
		}
		for _, k := range slices.Sorted(maps.Keys(c.Durations)) {
			h := Histogram(c.Durations[k])
			durations = append(durations, Sample{Labels: labels("cdn", c.CDN, "kind", string(k)), Histogram: &h})
		}
		of := labels("cdn", c.CDN)
		waiting = append(waiting, Sample{Labels: of, Value: float64(c.Waiting)})
		calling = append(calling, Sample{Labels: of, Value: float64(c.Calling)})
		unconfirmed = append(unconfirmed, Sample{Labels: of, Value: float64(c.Unconfirmed)})
		failing = append(failing, Sample{Labels: of, Value: c.Failing.Seconds()})
	}
	l.add(CounterMetric, "imagecdn_cdn_calls_total", "Calls to CDNs, by kind and result; confirm asks whether a purge is through.", calls...)
	l.add(CounterMetric, "imagecdn_cdn_values_total", "Tags, URLs and prefixes that a CDN took, and purges of everything.", values...)
	l.add(HistogramMetric, "imagecdn_cdn_call_duration_seconds", "Time that calls to CDNs took.", durations...)
	l.add(GaugeMetric, "imagecdn_cdn_values_waiting", "Values that are in no call yet.", waiting...)
	l.add(GaugeMetric, "imagecdn_cdn_calls_in_flight", "Calls under way.", calling...)
	l.add(GaugeMetric, "imagecdn_cdn_calls_unconfirmed", "Calls that a CDN took, and has not confirmed.", unconfirmed...)
	l.add(GaugeMetric, "imagecdn_cdn_failing_seconds", "Time since the first failure after the last success; zero where the CDN works.", failing...)
}
