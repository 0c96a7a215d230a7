package cdntest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Cache is a real cache server that a test runs: on the loopback, on a port of its own, in a directory of its own. It ends with the test, and where
// the test is killed it ends too.
type Cache struct {
	URL string // "http://127.0.0.1:41234"

	t    testing.TB
	run  func() (*process, error)
	proc *process
}

// StartVarnish runs varnishd with a VCL. A test without varnishd, or without a module that the VCL imports, is skipped.
func StartVarnish(t testing.TB, vcl string) *Cache {
	t.Helper()
	lookPath(t, "varnishd", "varnish")
	lookPath(t, "varnishadm", "varnish")
	lookPath(t, "sh", "dash")
	dir := t.TempDir()
	file := filepath.Join(dir, "test.vcl")
	if err := os.WriteFile(file, []byte(vcl), 0o600); err != nil {
		t.Fatal(err)
	}
	address := "127.0.0.1:0"
	c := &Cache{t: t}
	c.run = func() (*process, error) {
		name := filepath.Join(dir, "varnish")
		if err := os.RemoveAll(name); err != nil {
			return nil, err
		}
		p, err := start(nil, nil, "varnishd", "-F", "-j", "none", "-n", name, "-f", file, "-a", address, "-s", "malloc,32m", "-p", "thread_pool_min=10")
		if err != nil {
			return nil, err
		}
		// The port is asked for when it is there, so that nobody else has it.
		err = p.until(func() bool {
			out, err := exec.Command("varnishadm", "-n", name, "-t", "1", "debug.listen_address").Output()
			f := strings.Fields(string(out))
			if err != nil || len(f) < 3 {
				return false
			}
			address = net.JoinHostPort(f[1], f[2])
			return answers(address)
		})
		return p, err
	}
	c.Start()
	c.URL = "http://" + address
	return c
}

// temporary are directories that nginx makes when it starts.
const temporary = "client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp; uwsgi_temp_path temp; scgi_temp_path temp;\n"

// StartNginx runs nginx with a configuration, in which it replaces LISTEN by the address to listen on and DIR by a directory that is its own.
// A test without nginx, or without a module that the configuration loads, is skipped.
func StartNginx(t testing.TB, conf string) *Cache {
	t.Helper()
	lookPath(t, "nginx", "nginx-light")
	lookPath(t, "sh", "dash")
	dir := t.TempDir()
	address := "127.0.0.1:0"
	c := &Cache{t: t}
	c.run = func() (*process, error) {
		// The socket is handed over as nginx does it to its next self, so that nobody else has the port.
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, err
		}
		defer l.Close()
		address = l.Addr().String()
		socket, err := l.(*net.TCPListener).File()
		if err != nil {
			return nil, err
		}
		defer socket.Close()
		file := filepath.Join(dir, "nginx.conf")
		if err := os.WriteFile(file, []byte(strings.NewReplacer("LISTEN", address, "DIR", dir, "http {\n", "http {\n"+temporary).Replace(conf)), 0o600); err != nil {
			return nil, err
		}
		global := "daemon off; pid " + filepath.Join(dir, "pid") + ";"
		if os.Geteuid() == 0 {
			global += " user root;"
		}
		p, err := start([]string{"NGINX=3;"}, []*os.File{socket}, "nginx", "-p", dir, "-e", filepath.Join(dir, "error.log"), "-c", file, "-g", global)
		if err != nil {
			return nil, err
		}
		l.Close()
		return p, p.until(func() bool { return answers(address) })
	}
	c.Start()
	c.URL = "http://" + address
	return c
}

// Stop ends the cache, and waits until it has ended. Start starts it again, empty or not as it is its way, at the same address.
func (c *Cache) Stop() {
	if c.proc != nil {
		c.proc.end()
		c.proc = nil
	}
}

// Start starts a cache that was stopped.
func (c *Cache) Start() {
	c.t.Helper()
	p, err := c.run()
	if p != nil {
		c.t.Cleanup(p.end)
	}
	if err != nil {
		said := err.Error()
		if p != nil {
			p.end()
			said += "\n" + p.said()
		}
		if strings.Contains(said, "Could not load VMOD") || strings.Contains(said, "dlopen()") {
			c.t.Skip("a module is not installed: ", said)
		}
		c.t.Fatal(said)
	}
	c.proc = p
}

func lookPath(t testing.TB, command, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(command); err != nil {
		t.Skipf("%s is not installed (Debian: %s)", command, pkg)
	}
}

// answers reports whether a request has an answer, whatever it is.
func answers(address string) bool {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + address + "/-/up")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return true
}

// A process is a server that ends when its standard input does.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	once  sync.Once
	dead  chan struct{} // closed when it has ended

	mu  sync.Mutex // guards out
	out strings.Builder
}

// script runs its arguments until there is no more standard input, or until they end by themselves.
const script = `
exec 9<&0
"$@" </dev/null 9<&- &
pid=$!
(cat <&9; kill $pid) 3<&- >/dev/null 2>&1 &
exec 9<&-
wait $pid`

func start(env []string, files []*os.File, command ...string) (*process, error) {
	p := &process{cmd: exec.Command("sh", append([]string{"-c", script, "sh"}, command...)...), dead: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.ExtraFiles = files
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.WaitDelay = 10 * time.Second // a worker that is left has the pipe
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.cmd.Wait()
		close(p.dead)
	}()
	return p, nil
}

// Write implements [io.Writer], for what the process says.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out.Len() < 64<<10 {
		p.out.Write(b)
	}
	return len(b), nil
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// until waits until the server is ready.
func (p *process) until(ready func() bool) error {
	deadline := time.Now().Add(time.Minute) // varnishd has the VCL compiled
	for !ready() {
		select {
		case <-p.dead:
			return fmt.Errorf("%s ended before it answered", p.cmd.Args[4])
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s did not answer", p.cmd.Args[4])
		}
	}
	return nil
}

func (p *process) end() {
	p.once.Do(func() {
		p.stdin.Close()
		select {
		case <-p.dead:
		case <-time.After(15 * time.Second):
			p.cmd.Process.Kill()
			<-p.dead
		}
	})
}
