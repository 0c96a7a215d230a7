// Package faulty has what tests of nodes have in common: servers that end and come back, and ways to them that can be cut.
package faulty

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// StartServer starts a NATS server with JetStream for a test, in a directory that a later one may go on with. Port -1 means any.
func StartServer(t *testing.T, dir string, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server does not start")
	}
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return s
}

// A Buffer is one that many write to.
type Buffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String is all that was written.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// A Link is a way to a server that can be cut.
type Link struct {
	to   string
	l    net.Listener
	mu   sync.Mutex
	off  bool
	held chan struct{} // closed where nothing is held
	open []net.Conn
}

// NewLink makes a link to an address, for as long as the test lasts.
func NewLink(t *testing.T, to string) *Link {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &Link{to: to, l: l, held: make(chan struct{})}
	close(k.held)
	t.Cleanup(func() {
		l.Close()
		k.Hold(false)
		k.Cut()
	})
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			k.serve(in)
		}
	}()
	return k
}

// URL is that of the server, by way of the link.
func (k *Link) URL() string { return "nats://" + k.l.Addr().String() }

func (k *Link) serve(in net.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.off {
		in.Close()
		return
	}
	out, err := net.Dial("tcp", k.to)
	if err != nil {
		in.Close()
		return
	}
	k.open = append(k.open, in, out)
	for _, c := range [][2]net.Conn{{in, out}, {out, in}} {
		go func() {
			buf := make([]byte, 32<<10)
			for {
				n, err := c[0].Read(buf)
				if err != nil {
					c[1].Close()
					return
				}
				k.mu.Lock()
				held := k.held
				k.mu.Unlock()
				<-held
				if _, err := c[1].Write(buf[:n]); err != nil {
					c[0].Close()
					return
				}
			}
		}()
	}
}

// Cut ends all connections, and refuses others.
func (k *Link) Cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.off = true
	for _, c := range k.open {
		c.Close()
	}
	k.open = nil
}

// Mend lets connections come again.
func (k *Link) Mend() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.off = false
}

// Hold has nothing come through, or all again.
func (k *Link) Hold(on bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.held:
		if on {
			k.held = make(chan struct{})
		}
	default:
		if !on {
			close(k.held)
		}
	}
}
