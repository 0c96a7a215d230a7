package command

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// A front answers until there is a handler, which may take a while after a restart: the purges that were acknowledged before are put in force
// first. Until then the process lives, and is not ready, and there is nothing else to be had of it.
type front struct{ handler atomic.Pointer[http.Handler] }

func (f *front) ready(h http.Handler) { f.handler.Store(&h) }

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := f.handler.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	if r.URL.Path == "/-/healthz" {
		io.WriteString(w, "ok\n")
		return
	}
	header.Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
	io.WriteString(w, "starting: purges of before are put in force first\n")
}

// running is a server that serves.
type running struct {
	server     *http.Server
	ended      chan error
	endStreams context.CancelFunc
}

// serveOn begins to serve.
func serveOn(l net.Listener, h http.Handler) *running {
	s := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      5 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	// A stream of events has no end of its own.
	streams, endStreams := context.WithCancel(context.Background())
	s.RegisterOnShutdown(endStreams)
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/purges/events") && strings.HasPrefix(r.URL.Path, "/-/") {
			ctx, stop := context.WithCancel(r.Context())
			defer stop()
			defer context.AfterFunc(streams, stop)()
			r = r.WithContext(ctx)
		}
		h.ServeHTTP(w, r)
	})
	run := &running{s, make(chan error, 1), endStreams}
	go func() { run.ended <- s.Serve(l) }()
	return run
}

// until serves until ctx ends, and then lets the requests being served finish, once drain has ended those that only wait.
func (r *running) until(ctx context.Context, drain func()) error {
	select {
	case err := <-r.ended:
		return err
	case <-ctx.Done():
	}
	drain()
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := r.server.Shutdown(grace); err != nil {
		return r.server.Close()
	}
	return nil
}

// close ends what until has not.
func (r *running) close() {
	r.server.Close()
	r.endStreams()
}
