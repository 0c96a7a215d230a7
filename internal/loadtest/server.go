package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/origin"
)

// newHandler is what is tested. Clients name themselves.
func newHandler(s settings, at string) (*imagecdn.Handler, error) {
	web := imagecdn.Origin(at)
	web.HTTP = &origin.HTTPOptions{AllowPrivate: true}
	return imagecdn.New(imagecdn.Sources{"web": web}, &imagecdn.Options{
		Cache: cache.NewMemory(s.memory), RenderMemory: s.budget, MaxQueued: s.queue, Renders: s.renders,
		Client: func(r *http.Request) string { return r.Header.Get("X-Client") },
	})
}

// runServer serves until ctx ends, and then says what is left.
func runServer(ctx context.Context, s settings, at string) error {
	var e ending
	e.Before = runtime.NumGoroutine()
	e.Renders = s.renders
	if s.renders == 0 {
		e.Renders = runtime.GOMAXPROCS(0)
		s.renders = e.Renders
	}
	switch {
	case s.procs > 0:
		runtime.GOMAXPROCS(s.procs)
	case s.procs < 0:
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 4) // as serve does
	}
	e.Procs = runtime.GOMAXPROCS(0)
	sum := s.memory + s.budget
	debug.SetMemoryLimit(sum + sum/16 + 32<<20) // as serve does, too
	h, err := newHandler(s, at)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	fmt.Printf("{\"URL\":%q}\n", "http://"+l.Addr().String())
	<-ctx.Done()
	h.Drain()
	grace, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		return err
	}
	<-served
	if err := h.Close(); err != nil {
		return err
	}
	for range 50 { // those that end are given a moment to be gone
		if e.After = runtime.NumGoroutine(); e.After <= e.Before {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if e.After > e.Before {
		var b bytes.Buffer
		_ = pprof.Lookup("goroutine").WriteTo(&b, 1)
		e.Left = b.String()
	}
	e.Peak = peakMemory()
	e.Allowed = debug.SetMemoryLimit(-1)
	return json.NewEncoder(os.Stdout).Encode(e)
}
