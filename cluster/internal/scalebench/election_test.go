//go:build unix

package scalebench

import (
	"context"
	"slices"
	"testing"
	"time"
)

// For how long nothing can be put into the stream when the server that leads it is killed, and when it is stopped in order.
func BenchmarkElection(b *testing.B) {
	for _, how := range []string{"killed", "stopped"} {
		b.Run(how, func(b *testing.B) {
			var gaps []time.Duration
			for b.Loop() {
				servers := startServers(b, 3, false)
				var urls string
				for _, p := range servers {
					urls += p.url + ","
				}
				_, js := connect(b, urls[:len(urls)-1])
				stream(b, js, 3)
				s, err := js.Stream(b.Context(), "bench_inv")
				if err != nil {
					b.Fatal(err)
				}
				info, err := s.Info(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				leader := slices.IndexFunc(servers, func(p *process) bool { return p.name == info.Cluster.Leader })
				if leader < 0 {
					b.Fatalf("%q leads the stream", info.Cluster.Leader)
				}
				if how == "killed" {
					if err := servers[leader].cmd.Process.Kill(); err != nil {
						b.Fatal(err)
					}
				} else {
					_ = servers[leader].in.Close()
				}
				began := time.Now()
				for done := false; !done && time.Since(began) < time.Minute; {
					ctx, cancel := context.WithTimeout(b.Context(), 250*time.Millisecond)
					ack, err := js.Publish(ctx, "bench.inv.purge", request(1))
					cancel()
					done = err == nil && ack.Sequence > 0 && time.Since(began) > 20*time.Millisecond
				}
				gaps = append(gaps, time.Since(began))
			}
			slices.Sort(gaps)
			b.ReportMetric(gaps[len(gaps)/2].Seconds(), "s")
			b.ReportMetric(0, "ns/op")
		})
	}
}
