//go:build unix

package scalebench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The test binary runs itself as a server where this is in its environment.
const asServer = "SCALEBENCH_SERVER"

func TestMain(m *testing.M) {
	if settings := os.Getenv(asServer); settings != "" {
		if err := serve(settings); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// settings are what a server is started with.
type settings struct {
	Dir    string
	Sync   bool     // before each acknowledgement
	Name   string   // of one of several
	Port   int      // for the others
	Routes []string // to the others
}

// A usage is what a server has used since it began.
type usage struct {
	CPU  time.Duration // user and system
	Heap uint64        // bytes that are alive, after a collection
}

// serve runs a server until its input ends. It writes its URL, and for each line of input a usage.
func serve(encoded string) error {
	var s settings
	if err := json.Unmarshal([]byte(encoded), &s); err != nil {
		return err
	}
	o := &server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: s.Dir, SyncAlways: s.Sync, NoLog: true, NoSigs: true, MaxPayload: 1 << 20,
		ServerName: s.Name,
	}
	if s.Name != "" {
		o.Cluster = server.ClusterOpts{Name: "bench", Host: "127.0.0.1", Port: s.Port}
		o.RoutesStr = strings.Join(s.Routes, ",")
		o.Routes = server.RoutesFromStr(o.RoutesStr)
	}
	srv, err := server.NewServer(o)
	if err != nil {
		return err
	}
	srv.Start()
	defer srv.Shutdown()
	if !srv.ReadyForConnections(10 * time.Second) {
		return fmt.Errorf("the server takes no connections")
	}
	fmt.Println(srv.ClientURL())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var ru syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
			return err
		}
		u := usage{CPU: time.Duration(ru.Utime.Nano() + ru.Stime.Nano())}
		if in.Text() == "heap" {
			debug.FreeOSMemory()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			u.Heap = m.HeapAlloc
		}
		out, err := json.Marshal(u)
		if err != nil {
			return err
		}
		fmt.Println(string(out))
	}
	return nil
}

// A process is a server.
type process struct {
	cmd  *exec.Cmd
	name string
	url  string
	dir  string
	in   io.WriteCloser
	out  *bufio.Scanner
}

// start runs a server until the end of b.
func start(b *testing.B, s settings) *process {
	b.Helper()
	if s.Dir == "" {
		s.Dir = b.TempDir()
	}
	encoded, err := json.Marshal(s)
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asServer+"="+string(encoded))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	p := &process{cmd: cmd, name: s.Name, dir: s.Dir, in: in, out: bufio.NewScanner(out)}
	if p.url = p.line(b); !strings.HasPrefix(p.url, "nats://") {
		b.Fatal(p.url)
	}
	return p
}

func (p *process) line(b *testing.B) string {
	b.Helper()
	if !p.out.Scan() {
		b.Fatal("the server is gone: ", p.out.Err())
	}
	return p.out.Text()
}

func (p *process) usage(b *testing.B, what string) (u usage) {
	b.Helper()
	if _, err := fmt.Fprintln(p.in, what); err != nil {
		b.Fatal(err)
	}
	if err := json.Unmarshal([]byte(p.line(b)), &u); err != nil {
		b.Fatal(err)
	}
	return u
}

// bytesOnDisk is what files of a server take.
func (p *process) bytesOnDisk(b *testing.B) (n int64) {
	b.Helper()
	err := filepath.Walk(p.dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}

func connect(b *testing.B, url string) (*nats.Conn, jetstream.JetStream) {
	b.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(3))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	return nc, js
}

// stream makes the stream of a cluster's purges and beats.
func stream(b *testing.B, js jetstream.JetStream, replicas int) {
	b.Helper()
	_, err := js.CreateStream(b.Context(), jetstream.StreamConfig{
		Name: "bench_inv", Subjects: []string{"bench.inv.>"}, Storage: jetstream.FileStorage, Replicas: replicas,
		MaxAge: 24 * time.Hour, MaxMsgs: 250_000, Discard: jetstream.DiscardOld, AllowMsgTTL: true, DenyDelete: true,
	})
	if err != nil {
		b.Fatal(err)
	}
}
