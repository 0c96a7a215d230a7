package imagecdn

import (
	"net/http"
	"time"

	"github.com/imagecdn/imagecdn/cache"
)

// statsReport is what GET /api/v1/stats answers. Counts are since Since, bytes are bytes, durations are seconds.
type statsReport struct {
	Time  time.Time `json:"time"`
	Since time.Time `json:"since"` // when the handler was made

	// Requests has, by outcome, how many requests were answered, and the bytes of their bodies.
	Requests map[string]countReport `json:"requests"`
	Latency  struct {
		Hit    latencyReport `json:"hit"` // one hit in SampledHits is timed
		Miss   latencyReport `json:"miss"`
		Wait   latencyReport `json:"wait"`
		Render latencyReport `json:"render"`
		Origin latencyReport `json:"origin"`
	} `json:"latency"`
	SampledHits int `json:"sampled_hits"`

	Queue struct {
		Waiting     int   `json:"waiting"`
		MaxWaiting  int   `json:"max_waiting"`
		Working     int   `json:"working"`
		MaxWorking  int   `json:"max_working"`
		Originals   int   `json:"originals"` // that wait for memory
		Memory      int64 `json:"memory"`
		MaxMemory   int64 `json:"max_memory"`
		DecodedKept int64 `json:"decoded_kept"` // bytes, part of memory
	} `json:"queue"`
	Renders struct {
		Ended  int64 `json:"ended"`
		Failed int64 `json:"failed"`
	} `json:"renders"`
	Origins struct {
		Exchanges int64 `json:"exchanges"`
		Failures  int64 `json:"failures"`
		Originals int64 `json:"originals"`
		Bytes     int64 `json:"bytes"`
	} `json:"origins"`
	Cache struct {
		Names  int         `json:"names"`
		Memory *tierReport `json:"memory,omitempty"`
		Disk   *diskReport `json:"disk,omitempty"`
	} `json:"cache"`
	Streams int `json:"streams"` // of events, open
}

type countReport struct {
	Count int64 `json:"count"`
	Bytes int64 `json:"bytes"`
}

type latencyReport struct {
	Count   int64          `json:"count"`
	Sum     float64        `json:"sum"`
	Buckets []bucketReport `json:"buckets"` // cumulative; what is above the last is in Count alone
}

type bucketReport struct {
	LE    float64 `json:"le"` // seconds, the upper bound
	Count int64   `json:"count"`
}

type tierReport struct {
	Bytes    int64 `json:"bytes"`
	MaxBytes int64 `json:"max_bytes"` // less than zero: no limit
}

type diskReport struct {
	tierReport
	Files    int64 `json:"files"`
	MaxFiles int64 `json:"max_files"`
	Evicted  int64 `json:"evicted"`
	Damaged  int64 `json:"damaged"`
	Faults   int64 `json:"faults"`
}

func (h *histogram) report() latencyReport {
	r := latencyReport{Sum: time.Duration(h.sum.Load()).Seconds(), Buckets: make([]bucketReport, len(latencyBounds))}
	for i := range h.counts {
		r.Count += h.counts[i].Load()
		if i < len(latencyBounds) {
			r.Buckets[i] = bucketReport{latencyBounds[i].Seconds(), r.Count}
		}
	}
	return r
}

// report reads the counters, one after the other: a request that ends meanwhile may be in some of them.
func (h *Handler) report() *statsReport {
	s := &h.stats
	r := &statsReport{Time: time.Now().UTC(), Since: s.began.UTC(), SampledHits: hitSample}
	r.Requests = make(map[string]countReport, outcomes)
	for o := range outcomes {
		r.Requests[outcomeNames[o]] = countReport{s.answers[o].requests.Load(), s.answers[o].bytes.Load()}
	}
	r.Latency.Hit, r.Latency.Miss = s.latency.hit.report(), s.latency.miss.report()
	r.Latency.Wait, r.Latency.Render, r.Latency.Origin = s.latency.wait.report(), s.latency.render.report(), s.latency.origin.report()
	g, q := h.gate.state(), &r.Queue
	q.Waiting, q.MaxWaiting, q.Working, q.MaxWorking = g.waiting, g.most, g.working, g.slots
	q.Originals, q.Memory, q.MaxMemory, q.DecodedKept = g.originals, g.taken, g.memory, h.decoded.Bytes()
	r.Renders.Ended, r.Renders.Failed = h.rendered.Load(), s.failedRenders.Load()
	o := &r.Origins
	o.Exchanges, o.Failures, o.Originals, o.Bytes = s.origin.exchanges.Load(), s.origin.failures.Load(), s.origin.bodies.Load(), s.origin.bytes.Load()
	r.Cache.Names = h.table.Len()
	u := cache.UsageOf(h.store)
	if m := u.Memory; m != nil {
		r.Cache.Memory = &tierReport{m.Bytes, m.MaxBytes}
	}
	if d := u.Disk; d != nil {
		r.Cache.Disk = &diskReport{tierReport{d.Bytes, d.MaxBytes}, d.Files, d.MaxFiles, d.Evicted, d.Damaged, d.Faults}
	}
	return r
}

func (a *admin) stats(w http.ResponseWriter, r *http.Request) {
	report := a.h.report()
	report.Streams = int(a.streams.Load())
	writeJSON(w, http.StatusOK, report)
}
