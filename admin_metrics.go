package imagecdn

import (
	"bytes"
	"math"
	"net/http"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"

	"github.com/imagecdn/imagecdn/resize"
)

// metricsType is the media type of Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/).
const metricsType = "text/plain; version=0.0.4; charset=utf-8"

// metrics answers with what [Stats.Metrics] and the runtime say.
func (a *admin) metrics(w http.ResponseWriter, r *http.Request) {
	var b bytes.Buffer
	b.Grow(64 << 10)
	for _, m := range a.h.Stats().Metrics() {
		writeMetric(&b, &m)
	}
	for _, m := range processMetrics() {
		writeMetric(&b, &m)
	}
	w.Header().Set("Content-Type", metricsType)
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	_, _ = w.Write(b.Bytes()) // a client that has gone needs no answer
}

var (
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// writeMetric writes m in Prometheus' text format.
func writeMetric(b *bytes.Buffer, m *Metric) {
	for _, line := range [...]struct{ word, text string }{{"HELP", helpEscapes.Replace(m.Help)}, {"TYPE", string(m.Type)}} {
		b.WriteString("# " + line.word + " " + m.Name + " " + line.text + "\n")
	}
	for _, s := range m.Samples {
		if s.Histogram == nil {
			writeSample(b, m.Name, "", s.Labels, "", s.Value)
			continue
		}
		n := int64(0)
		for i, c := range s.Histogram.Counts {
			n += c
			le := "+Inf"
			if i < len(s.Histogram.Bounds) {
				le = formatFloat(s.Histogram.Bounds[i].Seconds())
			}
			writeSample(b, m.Name, "_bucket", s.Labels, le, float64(n))
		}
		writeSample(b, m.Name, "_sum", s.Labels, "", s.Histogram.Sum.Seconds())
		writeSample(b, m.Name, "_count", s.Labels, "", float64(n))
	}
}

func writeSample(b *bytes.Buffer, name, suffix string, labels []Label, le string, v float64) {
	b.WriteString(name)
	b.WriteString(suffix)
	separator := byte('{')
	label := func(name, value string) {
		b.WriteByte(separator)
		separator = ','
		b.WriteString(name + `="` + labelEscapes.Replace(strings.ToValidUTF8(value, "\uFFFD")) + `"`)
	}
	for _, l := range labels {
		label(l.Name, l.Value)
	}
	if le != "" {
		label("le", le)
	}
	if separator == ',' {
		b.WriteByte('}')
	}
	b.WriteByte(' ')
	b.WriteString(formatFloat(v))
	b.WriteByte('\n')
}

func formatFloat(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "+Inf"
	case math.IsInf(v, -1):
		return "-Inf"
	case v == math.Trunc(v) && math.Abs(v) < 1<<53:
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// runtimeMetrics are those of runtime/metrics that /metrics has, under the names that Prometheus' Go client gives them.
var runtimeMetrics = [...]struct {
	of, name, help string
	kind           MetricType
}{
	{"/sched/goroutines:goroutines", "go_goroutines", "Goroutines.", GaugeMetric},
	{"/sched/gomaxprocs:threads", "go_sched_gomaxprocs_threads", "GOMAXPROCS.", GaugeMetric},
	{"/memory/classes/total:bytes", "go_memory_classes_total_bytes", "Memory that the Go runtime has from the system.", GaugeMetric},
	{"/memory/classes/heap/objects:bytes", "go_memory_classes_heap_objects_bytes", "Memory of objects, in use or not yet collected.", GaugeMetric},
	{"/memory/classes/heap/released:bytes", "go_memory_classes_heap_released_bytes", "Memory given back to the system.", GaugeMetric},
	{"/gc/heap/live:bytes", "go_gc_heap_live_bytes", "Memory of objects that the last collection found in use.", GaugeMetric},
	{"/gc/gomemlimit:bytes", "go_gc_gomemlimit_bytes", "GOMEMLIMIT.", GaugeMetric},
	{"/gc/heap/allocs:bytes", "go_gc_heap_allocs_bytes_total", "Bytes allocated.", CounterMetric},
	{"/gc/cycles/total:gc-cycles", "go_gc_cycles_total_gc_cycles_total", "Collections of garbage.", CounterMetric},
	{"/cpu/classes/gc/total:cpu-seconds", "go_cpu_classes_gc_total_cpu_seconds_total", "Processor time of collecting garbage, estimated.", CounterMetric},
	{"/cpu/classes/user:cpu-seconds", "go_cpu_classes_user_cpu_seconds_total", "Processor time of Go code, estimated.", CounterMetric},
	{"/sync/mutex/wait/total:seconds", "go_sync_mutex_wait_total_seconds_total", "Time that goroutines waited for mutexes.", CounterMetric},
}

// processMetrics says what runs, and how the runtime is.
func processMetrics() []Metric {
	l := new(metricList)
	l.add(GaugeMetric, "imagecdn_build_info", "What runs; always 1.",
		Sample{Labels: labels("version", moduleVersion(), "engine", resize.Version, "go", runtime.Version()), Value: 1})
	samples := make([]metrics.Sample, len(runtimeMetrics))
	for i, m := range runtimeMetrics {
		samples[i].Name = m.of
	}
	metrics.Read(samples)
	for i, m := range runtimeMetrics {
		switch v := samples[i].Value; v.Kind() {
		case metrics.KindUint64:
			l.add(m.kind, m.name, m.help, Sample{Value: float64(v.Uint64())})
		case metrics.KindFloat64:
			l.add(m.kind, m.name, m.help, Sample{Value: v.Float64()})
		}
	}
	return l.all
}

// moduleVersion is the version of this module in what runs, as far as that is known.
func moduleVersion() string {
	const path = "github.com/imagecdn/imagecdn"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	if info.Main.Path == path {
		return info.Main.Version
	}
	for _, m := range info.Deps {
		if m.Path == path {
			return m.Version
		}
	}
	return ""
}
