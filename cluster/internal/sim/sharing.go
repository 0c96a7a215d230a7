package sim

import "math"

// Sharing is what nodes ask the origins for, or make, with what they share and without.
type Sharing struct {
	Images    float64 // that there are
	Zipf      float64 // exponent: how much more often the first is asked for than those behind it
	PerSecond float64 // requests of all nodes
	Lifetime  float64 // seconds for which a name, or what was made, is kept
	Nodes     float64
}

// Fetches is how many originals are fetched in a lifetime, by nodes that each know what they have fetched themselves, and by nodes that share it; and
// what part of requests finds the name. Requests are spread over the nodes evenly, and each comes when it comes.
func (s Sharing) Fetches() (alone, shared, hitsAlone, hitsShared float64) {
	sum := 0.0
	s.ranks(func(rank, count float64) { sum += count * math.Pow(rank, -s.Zipf) })
	s.ranks(func(rank, count float64) {
		asked := s.PerSecond * s.Lifetime * math.Pow(rank, -s.Zipf) / sum // in a lifetime
		shared += count * -math.Expm1(-asked)
		alone += count * s.Nodes * -math.Expm1(-asked/s.Nodes)
	})
	all := s.PerSecond * s.Lifetime
	return alone, shared, 1 - alone/all, 1 - shared/all
}

// ranks goes through the ranks, the first ones one by one, and then so many at a time that each step is a thousandth.
func (s Sharing) ranks(do func(rank, count float64)) {
	for from := 1.0; from <= s.Images; {
		count := math.Min(math.Max(1, math.Floor(from/1000)), s.Images-from+1)
		do(from+(count-1)/2, count)
		from += count
	}
}

// Renders is how often a picture is made, on average, that is asked for so many times a second from when it appears, by nodes that find what another has made once that is in the
// tier that they share, and that do not take turns: window is how many seconds that takes, from the first request on.
func Renders(nodes, perSecond, window float64) float64 {
	return 1 + (nodes-1)*-math.Expm1(-perSecond*window/nodes)
}
