package cluster

import "github.com/imagecdn/imagecdn"

// Metrics are counts since this node was connected, and gauges. Where nodes have names or renders of their own, theirs are not there. /-/metrics shows them.
func (c *Cluster) Metrics() (all []imagecdn.Metric) {
	add := func(t imagecdn.MetricType, name, help string, v float64) {
		all = append(all, imagecdn.Metric{Name: "imagecdn_cluster_" + name, Help: help, Type: t, Samples: []imagecdn.Sample{{Value: v}}})
	}
	counter := func(name, help string, v uint64) { add(imagecdn.CounterMetric, name+"_total", help, float64(v)) }
	gauge := func(name, help string, v float64) { add(imagecdn.GaugeMetric, name, help, v) }
	if c.names != nil {
		s := c.names.Stats()
		counter("names_written", "Names that were told to other nodes.", s.Written)
		counter("names_conflicts", "Names that another node told first, or meanwhile.", s.Conflicts)
		counter("names_dropped", "Names that were not told, for want of room or as the engine was away.", s.Dropped)
		counter("names_lookups", "Names that other nodes were asked about.", s.Lookups)
		counter("names_found", "Names that another node had told, and that were used.", s.Found)
		counter("names_slow", "Names for which there was no answer in time.", s.Slow)
		counter("names_learned", "Names that another node told, and that took the place of older ones.", s.Learned)
		counter("names_skipped", "Times that this node was behind with what others told, and left it out.", s.Skipped)
		gauge("names_waiting", "Names that wait to be told.", float64(s.Waiting))
	}
	if c.turns != nil {
		s := c.turns.Stats()
		counter("turns_taken", "Turns of this node to make a picture.", s.Created)
		counter("turns_shared", "Waits that ended as another node had made the picture.", s.Waited)
		counter("turns_expired", "Waits that ended as the other node was gone.", s.Expired)
		counter("turns_late", "Waits that took too long, or in which the engine went away.", s.Late)
		counter("turns_unasked", "Pictures that were made without a turn, as the engine did not answer in time.", s.Unasked)
		gauge("turns_waiting", "Pictures that wait for another node.", float64(s.Waiting))
	}
	s := c.jobs.Stats()
	gauge("jobs", "Purges in the log that nodes share.", float64(s.Jobs))
	gauge("jobs_bytes", "Bytes of the log of purges that nodes share.", float64(s.Bytes))
	counter("jobs_written", "Writes of this node to that log.", s.Writes)
	counter("jobs_taken", "Purges that this node took over from others.", s.Taken)
	return all
}
