package imagecdn_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/internal/samples"
	"github.com/imagecdn/imagecdn/purge"
)

// BenchmarkConsoleLog is the first page of a log of 10,000 jobs, and a later one.
func BenchmarkConsoleLog(b *testing.B) {
	h, err := imagecdn.New(imagecdn.Sources{"photos": imagecdn.FS(samples.FS())}, &imagecdn.Options{Purge: &purge.ServiceOptions{Log: logOf(b, 10_000)}})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	admin := h.Admin(&imagecdn.AdminOptions{Authorize: func(*http.Request) error { return nil }})
	for _, path := range []string{"/console", "/api/v1/purges?view=summary"} {
		b.Run(path, func(b *testing.B) {
			r := httptest.NewRequest("GET", path, nil)
			for b.Loop() {
				w := httptest.NewRecorder()
				admin.ServeHTTP(w, r)
				if w.Code != 200 || w.Body.Len() < 10_000 {
					b.Fatal(w.Code, w.Body.Len())
				}
			}
		})
	}
}

// BenchmarkWatchers is what a purge takes while nobody watches, and while 500 do, in rounds that alternate: until it is in force, and
// until it is done. The watchers have connections of their own, which are read.
func BenchmarkWatchers(b *testing.B) {
	h, err := imagecdn.New(imagecdn.Sources{"photos": imagecdn.FS(samples.FS())}, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	server := httptest.NewServer(h.Admin(&imagecdn.AdminOptions{Authorize: func(*http.Request) error { return nil }}))
	defer server.Close()
	const watchers, rounds, purges = 500, 20, 20
	took := map[string][2][]time.Duration{}
	var heard atomic.Int64
	var sent int
	watch := func() (stop func()) {
		ctx, cancel := context.WithCancel(b.Context())
		var all sync.WaitGroup
		for range watchers {
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			fmt.Fprintf(conn, "GET /api/v1/purges/events?view=summary HTTP/1.1\r\nHost: x\r\n\r\n")
			if _, err := conn.Read(make([]byte, 1024)); err != nil {
				b.Fatal(err)
			}
			context.AfterFunc(ctx, func() { conn.Close() })
			all.Go(func() {
				n, _ := io.Copy(io.Discard, conn)
				heard.Add(n)
			})
		}
		return func() { cancel(); all.Wait() }
	}
	for b.Loop() {
		for round := range 2 * rounds {
			name, stop := "none", func() {}
			if round%2 == 1 {
				name, stop = "500", watch()
				time.Sleep(100 * time.Millisecond)
			}
			for i := range purges {
				began := time.Now()
				job, err := h.Purge(b.Context(), []string{fmt.Sprintf("/photos/%d.jpg", i)}, nil)
				if err != nil {
					b.Fatal(err)
				}
				accepted := time.Since(began)
				if _, err := job.Wait(b.Context()); err != nil {
					b.Fatal(err)
				}
				t := took[name]
				took[name] = [2][]time.Duration{append(t[0], accepted), append(t[1], time.Since(began))}
				if name == "500" {
					sent++
				}
				time.Sleep(25 * time.Millisecond) // somebody purges, and then somebody else
			}
			stop()
		}
	}
	for _, name := range []string{"none", "500"} {
		for i, what := range []string{"accepted", "done"} {
			all := took[name][i]
			slices.Sort(all)
			b.ReportMetric(float64(all[len(all)/2].Microseconds()), "µs-median-"+what+"-"+name)
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "µs-p99-"+what+"-"+name)
		}
	}
	b.ReportMetric(float64(heard.Load())/float64(sent)/watchers, "bytes-heard/purge")
}
