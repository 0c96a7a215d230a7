package imagecdn

import (
	"net/http"
	"time"

	"github.com/imagecdn/imagecdn/cache"
)

// NodeStats say how a node of a cluster is.
type NodeStats struct {
	Currency cache.Currency // whether what it knows may be served
	Position uint64         // up to which purge of the cluster it has carried all out
	Members  []Member       // the nodes that it knows of
	Metrics  []Metric       // of the Cluster itself, where it has a method Metrics() []Metric
}

func nodeStats(c Cluster) *NodeStats {
	if c == nil {
		return nil
	}
	n := &NodeStats{Currency: c.Currency(), Position: c.Position(), Members: c.Members()}
	if m, ok := c.(interface{ Metrics() []Metric }); ok {
		n.Metrics = m.Metrics()
	}
	return n
}

// memberStates are the states that a Member may have.
var memberStates = [...]string{"ready", "catching_up", "cut_off", "gone"}

func (s *Stats) nodeMetrics(l *metricList) {
	var current, position, members, seen []Sample
	if n := s.Node; n != nil {
		is := 0.0
		if n.Currency == cache.Current {
			is = 1
		}
		current, position = []Sample{{Value: is}}, []Sample{{Value: float64(n.Position)}}
		in := make(map[string]int)
		for _, m := range n.Members {
			in[m.State]++
			seen = append(seen, Sample{Labels: labels("node", m.Name), Value: m.Seen.Seconds()})
		}
		for _, state := range memberStates {
			members = append(members, Sample{Labels: labels("state", state), Value: float64(in[state])})
		}
	}
	l.add(GaugeMetric, "imagecdn_node_current", "1 while this node of a cluster is known to have carried out every purge but those of the last moment, else 0.", current...)
	l.add(GaugeMetric, "imagecdn_node_position", "Up to which purge of the cluster this node has carried all out.", position...)
	l.add(GaugeMetric, "imagecdn_node_members", "Nodes of the cluster that this one knows of, by state.", members...)
	l.add(GaugeMetric, "imagecdn_node_seen_seconds", "How long ago a node was last heard of.", seen...)
	if s.Node != nil {
		l.all = append(l.all, s.Node.Metrics...)
	}
}

// A nodesReport is what the API says of the nodes of a cluster.
type nodesReport struct {
	Ready  bool         `json:"ready"`  // this node has caught up with all purges
	Reason string       `json:"reason"` // why not
	Nodes  []nodeReport `json:"nodes"`  // by name; none without a cluster
}

type nodeReport struct {
	Name    string    `json:"name"`
	Self    bool      `json:"self"`
	State   string    `json:"state"`
	Since   time.Time `json:"since"`
	Seen    float64   `json:"seen"` // seconds ago
	Applied uint64    `json:"applied"`
	Version string    `json:"version"`
}

// nodesReport is nil where there is no cluster.
func (h *Handler) nodesReport() *nodesReport {
	c := h.opts.Cluster
	if c == nil {
		return nil
	}
	r := &nodesReport{Ready: true, Nodes: []nodeReport{}}
	if err := c.Ready(); err != nil {
		r.Ready, r.Reason = false, oneLine(err.Error())
	}
	for _, m := range c.Members() {
		r.Nodes = append(r.Nodes, nodeReport{m.Name, m.Self, m.State, m.Since.UTC(), m.Seen.Seconds(), m.Applied, m.Version})
	}
	return r
}

func (a *admin) nodes(w http.ResponseWriter, r *http.Request) {
	report := a.h.nodesReport()
	if report == nil {
		report = &nodesReport{Ready: true, Nodes: []nodeReport{}}
	}
	writeJSON(w, http.StatusOK, report)
}
