package imagecdn

import (
	"maps"
	"slices"
	"time"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/resize"
)

// Stats is what a handler has done since it was made, and how full it is: see [Handler.Stats].
//
// Numbers only grow unless they are said to be gauges, which go up and down. Bytes are bytes, pixels are pixels, and durations are those of the
// wall clock. Lists have every entry that they may ever have, in the same order each time: nothing in Stats grows with how many images or
// clients there are. [Stats.Metrics] has all of it under names.
type Stats struct {
	Began time.Time // when the handler was made

	InFlight int // requests being served; a gauge

	// Requests are those answered, by how.
	Requests []OutcomeStats

	// MemoryHits and DiskHits are the requests of the outcome "hit", by the tier where the picture was. MemoryHits may be behind by
	// what is being answered just now.
	MemoryHits, DiskHits int64

	// Errors are answers that are no pictures, by status; the last, of status 0, has all that are not in the list.
	Errors []StatusStats

	// Hits is how long it took until the answer began, of one hit in 64.
	Hits Histogram

	// Misses is the same of requests that took more than a look into the cache, from when that was found out.
	Misses Histogram

	// Renders are the pictures that were made, by format; FailedRenders are those that could not be.
	Renders       []RenderStats
	FailedRenders int64

	// BehindRenders are those among Renders and FailedRenders that no request waited for, and SpareRenders those that were not stored, as too many
	// pictures of their image were: see Options.MaxVariants.
	BehindRenders, SpareRenders int64

	// Stores is how long it took to give a picture to the cache.
	Stores Histogram

	// Origins are the sources, by name.
	Origins []OriginStats

	// Exchanges is how long origins took until the header of their answer. Files of this machine are not in it.
	Exchanges Histogram

	// Originals are the originals that came, from files as well, and OriginalBytes the bytes of these.
	Originals, OriginalBytes int64

	Queue   QueueStats
	Decoded DecodedStats
	Cache   CacheStats

	// Node is how the handler is as a node of a cluster. Nil means that there is none.
	Node *NodeStats

	// Purges is what the invalidation service has done.
	Purges purge.Stats

	// CDNs are those of Options.CDNs, in the order of their Names.
	CDNs []cdn.Stats
}

// OutcomeStats are the requests that were answered in one way.
type OutcomeStats struct {
	// Outcome is "hit": from the cache, and nobody was asked; "revalidated": from the cache, once the origin had said that it is unchanged;
	// "miss": fetched or made; "not_modified": 304; "refused": 4xx but 429; "overloaded": 429; "failed": 5xx.
	Outcome  string
	Requests int64
	Bytes    int64 // of bodies
}

// StatusStats are the answers with one status.
type StatusStats struct {
	Status  int
	Answers int64
}

// RenderStats are the pictures made in one format.
type RenderStats struct {
	Format        resize.Format // "svg" for a drawing that was written anew, and "" for formats that are not in the list
	Took          Histogram     // without waiting for leave; with waiting for a decoding that it shares with another
	PixelsRead    int64         // of the originals and watermarks, frames counted, as their headers say: what is decoded of them may be less
	PixelsWritten int64         // of the pictures, frames counted
	BytesRead     int64         // of the originals and watermarks
	BytesWritten  int64         // of the pictures
}

// OriginStats are the exchanges with one source.
type OriginStats struct {
	Source string
	Local  bool // files of this machine: no exchange is counted

	// Exchanges are the requests sent, by result: "ok", "not_modified", "redirected", "refused" (4xx), "failed" (5xx) and "no_answer".
	Exchanges []ResultStats

	// Of an HTTP origin with a URL: see [origin.HTTPStats].
	Retries, BreakerOpened, BreakerRefused int64
	HostsFailing, HostsLeftAlone           int // gauges
}

// ResultStats are the exchanges with one result.
type ResultStats struct {
	Result string
	Count  int64
}

// QueueStats is how full the queues are. All but Waits are gauges.
type QueueStats struct {
	Waiting, MaxWaiting int   // requests whose pictures have no leave yet
	Working, MaxWorking int   // pictures being made
	Originals           int   // that wait for memory
	Memory, MaxMemory   int64 // bytes, taken by originals, by pictures being made and by decoded originals; less than zero: no limit
	Behind              int   // pictures to be made behind their stand-ins
	Warming             int   // images to be warmed after a purge

	Waits Histogram // how long pictures waited for leave
}

// DecodedStats is about originals that are kept decoded.
type DecodedStats struct {
	Held   int   // a gauge
	Bytes  int64 // with those in use; a gauge
	Begun  int64 // decodings
	Shared int64 // renders that found their original decoded, or being decoded
}

// CacheStats is how full the cache is.
type CacheStats struct {
	Names int // images and versions that something is known of in memory; a gauge

	Memory, Disk *TierStats // nil where there is none, or the store is none of package cache

	WaitingBytes int64 // on their way to the disk; a gauge
	Dropped      int64 // things that had no room to wait in, and are not on the disk
}

// TierStats is how full a tier is.
type TierStats struct {
	Bytes, MaxBytes int64 // gauges; MaxBytes is less than zero where there is no limit
	Files, MaxFiles int64 // the same, of a disk
	Evicted         int64 // things that went to make room; of a disk, files
	Damaged         int64 // of a disk: files that were not whole, and are removed
	Faults          int64 // of a disk: operations that failed
}

// A Histogram counts durations.
type Histogram struct {
	Bounds []time.Duration // ascending: the upper bound of each bucket; not to be changed
	Counts []int64         // of each bucket by itself, and at last of what is above all bounds
	Sum    time.Duration
}

// Count is how many durations were counted.
func (h Histogram) Count() (n int64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// snapshot is h as it is now.
func (h *histogram) snapshot() Histogram {
	s := Histogram{Bounds: latencyBounds[:], Counts: make([]int64, len(h.counts))}
	for i := range h.counts {
		s.Counts[i] = h.counts[i].Load()
	}
	s.Sum = time.Duration(h.sum.Load())
	return s
}

// Stats says what the handler has done, and how full it is. It reads one counter after the other, so that a request which ends meanwhile may
// be in some of them. It takes a time that does not depend on how much is cached, and holds no request up.
func (h *Handler) Stats() *Stats {
	c := &h.stats
	s := &Stats{
		Began:         c.began,
		InFlight:      int(max(0, h.serving.Load())),
		Hits:          c.latency.hit.snapshot(),
		Misses:        c.latency.miss.snapshot(),
		Exchanges:     c.latency.origin.snapshot(),
		Stores:        c.more.stored.snapshot(),
		FailedRenders: c.failedRenders.Load(),
		BehindRenders: c.more.behind.Load(),
		SpareRenders:  c.more.spare.Load(),
		Originals:     c.origin.bodies.Load(),
		OriginalBytes: c.origin.bytes.Load(),
		Decoded:       DecodedStats{h.decoded.Held(), h.decoded.Bytes(), h.decoded.Decodes(), h.decoded.Shared()},
		Purges:        h.purges.Stats(),
	}
	for o := range outcomes {
		s.Requests = append(s.Requests, OutcomeStats{outcomeNames[o], c.answers[o].requests.Load(), c.answers[o].bytes.Load()})
	}
	s.DiskHits = c.more.diskHits.Load()
	s.MemoryHits = c.memoryHits(s.Requests[outcomeHit].Requests - s.DiskHits)
	for i := range c.more.errors {
		status := 0
		if i < len(errorStatuses) {
			status = errorStatuses[i]
		}
		s.Errors = append(s.Errors, StatusStats{status, c.more.errors[i].Load()})
	}
	for i := range c.more.renders {
		r := &c.more.renders[i]
		var format resize.Format
		if i < len(renderFormats) {
			format = renderFormats[i]
		}
		s.Renders = append(s.Renders, RenderStats{
			format, r.took.snapshot(), r.read.Load(), r.written.Load(), r.bytesRead.Load(), r.bytes.Load(),
		})
	}
	for _, name := range slices.Sorted(maps.Keys(h.sources)) {
		s.Origins = append(s.Origins, h.sources[name].stats(name))
	}
	s.Queue, s.Cache = h.queueStats(), h.cacheStats()
	if h.opts.CDNs != nil {
		s.CDNs = h.opts.CDNs.Stats()
	}
	s.Node = nodeStats(h.opts.Cluster)
	return s
}

// memoryHits is n, or what it was before, where that is more: hits on disk and all hits are counted one after the other.
func (s *stats) memoryHits(n int64) int64 {
	for {
		told := s.more.toldHits.Load()
		if n <= told {
			return told
		}
		if s.more.toldHits.CompareAndSwap(told, n) {
			return n
		}
	}
}

func (s *source) stats(name string) OriginStats {
	o := OriginStats{Source: name, Local: s.local}
	for r := range originResults {
		o.Exchanges = append(o.Exchanges, ResultStats{originResultNames[r], s.counters.results[r].Load()})
	}
	if s.http != nil {
		n := s.http.Stats()
		o.Retries, o.BreakerOpened, o.BreakerRefused = n.Retries, n.Opened, n.Refused
		o.HostsFailing, o.HostsLeftAlone = n.Failing, n.LeftAlone
	}
	return o
}

func (h *Handler) queueStats() QueueStats {
	g := h.gate.state()
	q := QueueStats{
		Waiting: g.waiting, MaxWaiting: g.most, Working: g.working, MaxWorking: g.slots, Originals: g.originals,
		Memory: g.taken, MaxMemory: g.memory, Warming: len(h.warmer.queue), Waits: h.stats.latency.wait.snapshot(),
	}
	if h.opts.RenderMemory < 0 {
		q.MaxMemory = -1
	}
	h.behind.mu.Lock()
	q.Behind = len(h.behind.queue)
	h.behind.mu.Unlock()
	return q
}

func (h *Handler) cacheStats() CacheStats {
	u := cache.UsageOf(h.store)
	return CacheStats{Names: h.table.Len(), Memory: tierStats(u.Memory), Disk: tierStats(u.Disk), WaitingBytes: u.Waiting, Dropped: u.Dropped}
}

func tierStats(u *cache.TierUsage) *TierStats {
	if u == nil {
		return nil
	}
	return &TierStats{u.Bytes, u.MaxBytes, u.Files, u.MaxFiles, u.Evicted, u.Damaged, u.Faults}
}
