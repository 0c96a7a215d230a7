//go:build unix

package scalebench

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
)

// What a beat costs the servers with so many nodes: each reads it through a consumer of its own. "acked" has each node acknowledge every batch that it
// reads, "seldom" every hundredth. With three servers the state of a consumer is on all three, unless it is told to be in the memory of one.
func BenchmarkBeats(b *testing.B) {
	for _, nodes := range []int{1, 16, 100, 300} {
		b.Run(fmt.Sprintf("acked/nodes=%d", nodes), func(b *testing.B) { beats(b, nodes, 1, 1, false) })
		b.Run(fmt.Sprintf("seldom/nodes=%d", nodes), func(b *testing.B) { beats(b, nodes, 100, 1, false) })
	}
	for _, nodes := range []int{16, 100} {
		b.Run(fmt.Sprintf("replicas=3,acked/nodes=%d", nodes), func(b *testing.B) { beats(b, nodes, 1, 3, false) })
		b.Run(fmt.Sprintf("replicas=3,seldom/nodes=%d", nodes), func(b *testing.B) { beats(b, nodes, 100, 3, false) })
		b.Run(fmt.Sprintf("replicas=3,acked,consumers=1/nodes=%d", nodes), func(b *testing.B) { beats(b, nodes, 1, 3, true) })
		b.Run(fmt.Sprintf("replicas=3,seldom,consumers=1/nodes=%d", nodes), func(b *testing.B) { beats(b, nodes, 100, 3, true) })
	}
}

func beats(b *testing.B, nodes, every, replicas int, inMemory bool) {
	servers := startServers(b, replicas, false)
	used := func() (cpu time.Duration) {
		for _, p := range servers {
			cpu += p.usage(b, "").CPU
		}
		return cpu
	}
	_, js := connect(b, servers[0].url)
	stream(b, js, replicas)
	var got atomic.Int64
	for i := range nodes {
		_, js := connect(b, servers[i%len(servers)].url)
		config := jetstream.ConsumerConfig{Durable: fmt.Sprintf("node-%d", i), AckPolicy: jetstream.AckAllPolicy,
			DeliverPolicy: jetstream.DeliverAllPolicy, AckWait: time.Minute, MaxAckPending: 10_000}
		if inMemory {
			config.Replicas, config.MemoryStorage = 1, true
		}
		c, err := js.CreateConsumer(b.Context(), "bench_inv", config)
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		reading, err := c.Consume(func(m jetstream.Msg) {
			got.Add(1)
			if n++; n%every == 0 {
				_ = m.Ack()
			}
		}, jetstream.PullMaxMessages(512))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(reading.Stop)
	}
	most := max(200, 100_000/nodes/replicas)
	if replicas > 1 {
		time.Sleep(3 * time.Second) // consumers elect leaders
	}
	var took, cpu time.Duration
	delivered := 0.0
	for b.Loop() {
		before, began := used(), time.Now()
		want := got.Load() + int64(most*nodes)
		for i := range most { // some at a time, as beats come from many
			if _, err := js.PublishMsgAsync(beat(i % nodes)); err != nil {
				b.Fatal(err)
			}
			if i%64 == 63 {
				<-js.PublishAsyncComplete()
			}
		}
		for limit := time.Now().Add(time.Minute); got.Load() < want; time.Sleep(time.Millisecond) {
			if time.Now().After(limit) {
				b.Fatalf("%d of %d are missing", want-got.Load(), most*nodes)
			}
		}
		took += time.Since(began)
		cpu += used() - before
		delivered += float64(most * nodes)
	}
	b.ReportMetric(delivered/took.Seconds(), "delivered/s")
	b.ReportMetric(float64(cpu.Microseconds())/delivered, "server-µs/delivered")
}

// What the flush requests of a purge and their replies cost, and how long they take, with nodes that answer at once.
func BenchmarkFlush(b *testing.B) {
	for _, nodes := range []int{1, 16, 100, 300} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			p := start(b, settings{})
			for range nodes {
				nc, _ := connect(b, p.url)
				if _, err := nc.Subscribe("bench.flush.all", func(m *nats.Msg) {
					var q flushRequest
					if json.Unmarshal(m.Data, &q) == nil {
						_ = m.Respond(reply(int(q.Number)))
					}
				}); err != nil {
					b.Fatal(err)
				}
				if err := nc.Flush(); err != nil {
					b.Fatal(err)
				}
			}
			nc, _ := connect(b, p.url)
			replies, err := nc.SubscribeSync("bench.flush.reply.owner")
			if err != nil {
				b.Fatal(err)
			}
			var times []time.Duration
			before := p.usage(b, "")
			for b.Loop() {
				for number := range 300 {
					began := time.Now()
					if err := nc.PublishRequest("bench.flush.all", "bench.flush.reply.owner", flush(number)); err != nil {
						b.Fatal(err)
					}
					for range nodes {
						if _, err := replies.NextMsg(10 * time.Second); err != nil {
							b.Fatal(err)
						}
					}
					times = append(times, time.Since(began))
				}
			}
			cpu := p.usage(b, "").CPU - before.CPU
			reportTimes(b, times)
			b.ReportMetric(float64(cpu.Microseconds())/float64(len(times)*nodes), "server-µs/node")
		})
	}
}

func reportTimes(b *testing.B, times []time.Duration) {
	b.Helper()
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(0, "ns/op")
}

// How long a purge takes to be in the stream, one after the other; and how many are when 64 come at a time.
func BenchmarkPublish(b *testing.B) {
	for _, c := range []struct {
		name     string
		replicas int
		sync     bool
	}{{"replicas=1", 1, false}, {"replicas=1,sync", 1, true}, {"replicas=3", 3, false}, {"replicas=3,sync", 3, true}} {
		b.Run(c.name, func(b *testing.B) {
			url := startServers(b, c.replicas, c.sync)[0].url
			_, js := connect(b, url)
			stream(b, js, c.replicas)
			var times []time.Duration
			var took time.Duration
			many := 0
			for b.Loop() {
				for i := range 500 {
					began := time.Now()
					if _, err := js.Publish(b.Context(), "bench.inv.purge", request(i)); err != nil {
						b.Fatal(err)
					}
					times = append(times, time.Since(began))
				}
				began := time.Now()
				var wg sync.WaitGroup
				for range 64 {
					wg.Go(func() {
						for i := range 100 {
							if _, err := js.Publish(b.Context(), "bench.inv.purge", request(i)); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				took += time.Since(began)
				many += 64 * 100
			}
			reportTimes(b, times)
			b.ReportMetric(float64(many)/took.Seconds(), "published/s")
		})
	}
}

// startServers starts a server, or a cluster of them.
func startServers(b *testing.B, n int, sync bool) (all []*process) {
	b.Helper()
	if n == 1 {
		return []*process{start(b, settings{Sync: sync})}
	}
	ports := make([]int, n)
	var routes []string
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		ports[i] = l.Addr().(*net.TCPAddr).Port
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[i]))
		_ = l.Close()
	}
	for i, port := range ports {
		all = append(all, start(b, settings{Sync: sync, Name: fmt.Sprintf("s%d", i), Port: port, Routes: routes}))
	}
	_, js := connect(b, all[0].url)
	for limit := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) { // until they have found each other, and a leader
		_, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "probe", Subjects: []string{"probe"}, Replicas: n})
		if err == nil {
			return all
		}
		if time.Now().After(limit) {
			b.Fatal(err)
		}
	}
}

// How fast a node that was away reads what it has missed, and carries it out: on a table in memory, and on one with a disk, where each purge is made durable.
func BenchmarkReplay(b *testing.B) {
	const purges = 50_000
	p := start(b, settings{})
	nc, js := connect(b, p.url)
	stream(b, js, 1)
	for i := range purges {
		if err := nc.Publish("bench.inv.purge", request(i)); err != nil {
			b.Fatal(err)
		}
		if i%500 == 499 {
			if err := nc.Flush(); err != nil {
				b.Fatal(err)
			}
		}
	}
	for _, kind := range []string{"read", "memory", "disk"} {
		b.Run(kind, func(b *testing.B) {
			n := purges
			var table *cache.Table
			switch kind {
			case "memory":
				table = cache.NewTable(cache.NewMemory(1<<20), nil)
			case "disk":
				n = 5_000
				disk, err := cache.OpenDisk(b.TempDir(), nil)
				if err != nil {
					b.Fatal(err)
				}
				defer func() { _ = disk.Close() }()
				table = cache.NewTable(disk, nil)
			}
			var took time.Duration
			for b.Loop() {
				began := time.Now()
				c, err := js.CreateConsumer(b.Context(), "bench_inv", jetstream.ConsumerConfig{AckPolicy: jetstream.AckAllPolicy, MaxAckPending: 10_000})
				if err != nil {
					b.Fatal(err)
				}
				it, err := c.Messages(jetstream.PullMaxMessages(512))
				if err != nil {
					b.Fatal(err)
				}
				turns := make(chan struct{}, 16)
				var wg sync.WaitGroup
				for i := range n {
					m, err := it.Next()
					if err != nil {
						b.Fatal(err)
					}
					var r purge.Request
					if err := json.Unmarshal(m.Data(), &r); err != nil {
						b.Fatal(err)
					}
					if table != nil {
						turns <- struct{}{}
						wg.Go(func() {
							defer func() { <-turns }()
							if err := table.Purge("shop", r.Paths[0][len("/shop"):], cache.Delete); err != nil {
								b.Error(err)
							}
						})
					}
					if i%512 == 511 {
						_ = m.Ack()
					}
				}
				wg.Wait()
				it.Stop()
				took += time.Since(began)
			}
			b.ReportMetric(float64(n*b.N)/took.Seconds(), "purges/s")
		})
	}
}
