//go:build unix

package e2e

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A relay passes connections on. While it is frozen it keeps what is sent, which toxiproxy cannot: what it delays is lost, or hangs, when a connection ends
// meanwhile.
type relay struct {
	address string
	frozen  sync.RWMutex // held by who passes something on, and for as long as nothing is to be

	mu    sync.Mutex // guards conns and ended
	conns map[net.Conn]bool
	ended bool
}

func startRelay(t testing.TB, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{address: l.Addr().String(), conns: make(map[net.Conn]bool)}
	var work sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		r.mu.Lock()
		r.ended = true
		for c := range r.conns {
			c.Close()
		}
		r.mu.Unlock()
		work.Wait()
	})
	work.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer from.Close()
				to, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				if !r.keep(from, to) {
					to.Close()
					return
				}
				work.Go(func() { r.pass(from, to) })
				r.pass(to, from)
				r.drop(from, to)
			})
		}
	})
	return r
}

func (r *relay) keep(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return false
	}
	for _, c := range conns {
		r.conns[c] = true
	}
	return true
}

func (r *relay) drop(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		delete(r.conns, c)
		c.Close()
	}
}

// pass copies one way, and then says that there is no more.
func (r *relay) pass(from, to net.Conn) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		r.frozen.RLock()
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				r.frozen.RUnlock()
				from.Close()
				return
			}
		}
		r.frozen.RUnlock()
		if err == io.EOF {
			_ = to.(*net.TCPConn).CloseWrite()
			return
		}
		if err != nil {
			to.Close()
			return
		}
	}
}
