//go:build unix

package scalebench

import (
	"encoding/json"
	"flag"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/imagecdn/imagecdn/cache"
)

var mostNames = flag.Int("names", 100_000, "the most `keys` that BenchmarkNames puts into a bucket")

// What names take of the server: memory for each key, which it keeps however the bucket is kept, and disk.
func BenchmarkNames(b *testing.B) {
	for _, names := range []int{100_000, 1_000_000} {
		if names > *mostNames {
			continue
		}
		b.Run(fmt.Sprintf("names=%d", names), func(b *testing.B) {
			for b.Loop() {
				p := start(b, settings{})
				_, js := connect(b, p.url)
				before, began := p.usage(b, "heap"), time.Now()
				for i := range names {
					key, value := name(i)
					if _, err := js.PublishAsync("$KV.bench_names."+key, value); err != nil {
						b.Fatal(err)
					}
					if i%4000 == 3999 {
						<-js.PublishAsyncComplete()
					}
				}
				<-js.PublishAsyncComplete()
				took := time.Since(began)
				used := p.usage(b, "") // what the blocks in its cache take goes after some seconds
				time.Sleep(15 * time.Second)
				b.ReportMetric(float64((used.CPU-before.CPU).Microseconds())/float64(names), "server-µs/name")
				b.ReportMetric((float64(p.usage(b, "heap").Heap)-float64(before.Heap))/float64(names), "heap-B/name")
				b.ReportMetric(float64(p.bytesOnDisk(b))/float64(names), "disk-B/name")
				b.ReportMetric(float64(names)/took.Seconds(), "names/s")
			}
		})
	}
}

func bucket(b *testing.B, js jetstream.JetStream) jetstream.KeyValue {
	b.Helper()
	kv, err := js.CreateKeyValue(b.Context(), jetstream.KeyValueConfig{Bucket: "bench_names", TTL: 24 * time.Hour, MaxBytes: 16 << 30, MaxValueSize: 64 << 10, Storage: jetstream.FileStorage})
	if err != nil {
		b.Fatal(err)
	}
	return kv
}

// What a fill costs the server with so many nodes: one write, and each node's watch.
func BenchmarkWatch(b *testing.B) {
	for _, nodes := range []int{1, 16, 100, 300} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			p := start(b, settings{})
			_, js := connect(b, p.url)
			kv := bucket(b, js)
			var got atomic.Int64
			for range nodes {
				_, js := connect(b, p.url)
				kv, err := js.KeyValue(b.Context(), "bench_names")
				if err != nil {
					b.Fatal(err)
				}
				w, err := kv.WatchAll(b.Context(), jetstream.UpdatesOnly())
				if err != nil {
					b.Fatal(err)
				}
				go func() {
					for e := range w.Updates() {
						if e != nil {
							got.Add(1)
						}
					}
				}()
				b.Cleanup(func() { _ = w.Stop() })
			}
			fills := max(200, 50_000/nodes)
			round := 0
			var took, cpu time.Duration
			delivered := 0.0
			for b.Loop() {
				before, began := p.usage(b, ""), time.Now()
				want := got.Load() + int64(fills*nodes)
				var wg sync.WaitGroup
				for writer := range 4 {
					wg.Go(func() {
						for i := writer; i < fills; i += 4 {
							key, value := name(round*fills + i)
							if _, err := kv.Update(b.Context(), key, value, 0); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				for limit := time.Now().Add(time.Minute); got.Load() < want && !b.Failed(); time.Sleep(time.Millisecond) {
					if time.Now().After(limit) {
						b.Fatalf("%d of %d are missing", want-got.Load(), fills*nodes)
					}
				}
				round++
				took += time.Since(began)
				cpu += p.usage(b, "").CPU - before.CPU
				delivered += float64(fills * nodes)
			}
			b.ReportMetric(delivered/took.Seconds(), "delivered/s")
			b.ReportMetric(float64(cpu.Microseconds())/delivered, "server-µs/delivered")
		})
	}
}

// How long a lookup of a name takes, and how many there are when 64 come at a time.
func BenchmarkLookup(b *testing.B) {
	p := start(b, settings{})
	_, js := connect(b, p.url)
	kv := bucket(b, js)
	const names = 20_000
	for i := range names {
		key, value := name(i)
		if _, err := js.PublishAsync("$KV.bench_names."+key, value); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	get := func(i int) error {
		key, _ := name(i)
		_, err := kv.Get(b.Context(), key)
		return err
	}
	b.Run("one", func(b *testing.B) {
		var times []time.Duration
		for b.Loop() {
			for i := range 2000 {
				began := time.Now()
				if err := get(i * 7 % names); err != nil {
					b.Fatal(err)
				}
				times = append(times, time.Since(began))
			}
		}
		reportTimes(b, times)
	})
	b.Run("many", func(b *testing.B) {
		var took time.Duration
		n := 0
		for b.Loop() {
			began := time.Now()
			var wg sync.WaitGroup
			for w := range 64 {
				wg.Go(func() {
					for i := range 300 {
						if err := get((w*300 + i*7) % names); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			took += time.Since(began)
			n += 64 * 300
		}
		b.ReportMetric(float64(n)/took.Seconds(), "lookups/s")
	})
}

// What a name takes in the memory of a node that has it in its table.
func BenchmarkTable(b *testing.B) {
	const names = 50_000
	for b.Loop() {
		table := cache.NewTable(cache.NewMemory(1<<20), nil)
		before := heap()
		for i := range names {
			_, value := name(i)
			var v nameValue
			if err := json.Unmarshal(value[1:], &v); err != nil {
				b.Fatal(err)
			}
			l := table.Lease(cache.Name{Source: v.Source, Image: v.Image})
			if !table.Commit(l, &cache.Entry{Status: v.Status, Header: v.Header, Digest: v.Digest, Size: v.Size, RequestTime: when, ResponseTime: when,
				Freshness: cache.Freshness{Lifetime: v.Lifetime}}) {
				b.Fatal("a name was not kept")
			}
		}
		b.ReportMetric((heap()-before)/names, "heap-B/name")
		runtime.KeepAlive(table)
	}
}

func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
