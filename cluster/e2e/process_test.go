//go:build unix

package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A process is a program in a process group of its own, which ends with the test.
type process struct {
	name  string
	log   string // what it writes, of all its lives
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
}

// start starts a program. What it writes is shown where the test fails. Everything that it is told comes before its output, which goes to out as well.
func start(t testing.TB, name, logs string, out *lines, env []string, argv ...string) *process {
	t.Helper()
	p := &process{name: name, log: filepath.Join(logs, name+".log"), ended: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = attributes()
	p.cmd.Stderr = log
	if out != nil {
		p.cmd.Stdout = out
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // it is killed, or its log says why it ended
	}()
	t.Cleanup(func() { p.kill(); p.wait(10 * time.Second) })
	return p
}

// signal sends a signal to the process and those that it has started.
func (p *process) signal(s syscall.Signal) {
	select {
	case <-p.ended: // its number may be another's by now
	default:
		_ = syscall.Kill(-p.cmd.Process.Pid, s)
	}
}

// kill ends it as a power cut would, but for what the kernel has for the disk.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// stop asks it to end, and waits.
func (p *process) stop(t testing.TB) {
	t.Helper()
	p.signal(syscall.SIGTERM)
	if !p.wait(20 * time.Second) {
		t.Errorf("%s did not end when it was asked to", p.name)
		p.kill()
	}
}

func (p *process) wait(d time.Duration) bool {
	select {
	case <-p.ended:
		return true
	case <-time.After(d):
		return false
	}
}

// logsOf is a directory for what processes write. Where the test fails, the end of each file is shown; go test -artifacts keeps them.
func logsOf(t testing.TB) string {
	dir := t.ArtifactDir()
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
		for _, path := range logs {
			t.Logf("the end of %s:\n%s", filepath.Base(path), tail(path, 6000))
		}
	})
	return dir
}

// freePort is a port that was free a moment ago: programs that have to know one another's before they start cannot have the kernel choose.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// lines are what a program writes, a line at a time.
type lines struct {
	mu   sync.Mutex // guards part
	part []byte
	line func(string)
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range p {
		if b == '\n' {
			l.line(string(l.part))
			l.part = l.part[:0]
		} else if len(l.part) < 1<<16 {
			l.part = append(l.part, b)
		}
	}
	return len(p), nil
}

// eventually waits until a thing is so, which it has to be within d.
func eventually(t testing.TB, d time.Duration, what string, is func() bool) bool {
	t.Helper()
	for end := time.Now().Add(d); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("within %v it was not so that %s", d, what)
			return false
		}
	}
	return true
}
