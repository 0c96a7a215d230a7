// Command loadtest measures what hits notice of ten times more renders than there is capacity for, beside origins that are
// slow on purpose. scripts/load.sh runs it; docs/load.md has what it does and its figures.
//
// It starts itself twice more: as the server, so that peak memory is the server's alone, and as the client that asks for hits, so that
// neither the origin nor the many other clients are in its way. All is on the loopback, and ends by itself.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

type settings struct {
	duration time.Duration // of the overload
	factor   float64       // how many times the capacity is asked for
	hits     float64       // a second
	queue    int
	renders  int
	procs    int   // GOMAXPROCS of the server; zero: its default
	memory   int64 // bytes of images in memory
	budget   int64 // bytes for making pictures
	slow     int   // requests to slow origins that are out all along
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("loadtest: ")
	var s settings
	flag.DurationVar(&s.duration, "duration", time.Minute, "how long too much is asked for")
	flag.Float64Var(&s.factor, "factor", 10, "how many times the capacity of renders is asked for")
	flag.Float64Var(&s.hits, "hits", 200, "hits a second beside it")
	flag.IntVar(&s.queue, "queue", 100, "Options.MaxQueued of the server")
	flag.IntVar(&s.renders, "renders", 0, "Options.Renders of the server; 0 means as many as there are processors")
	flag.IntVar(&s.procs, "procs", -1, "GOMAXPROCS of the server; -1 means what imagecdn serve sets, 0 Go's default")
	flag.Int64Var(&s.memory, "memory", 128<<20, "most bytes of images in the server's memory")
	flag.Int64Var(&s.budget, "render-memory", 128<<20, "most bytes for making pictures")
	flag.IntVar(&s.slow, "slow", 40, "requests to slow origins that are out all along")
	role := flag.String("role", "", "server or hits: what the command starts itself as")
	at := flag.String("at", "", "the URL of the origin or server, for -role")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch *role {
	case "":
		err = run(ctx, s)
	case "server":
		err = runServer(ctx, s, *at)
	case "hits":
		err = json.NewEncoder(os.Stdout).Encode(askForHits(ctx, *at, s.hits, s.duration))
	}
	if err != nil {
		log.Fatal(err)
	}
}

// run is the whole test.
func run(ctx context.Context, s settings) error {
	photo, err := photograph()
	if err != nil {
		return err
	}
	web := httptest.NewServer(newOrigin(photo))
	defer web.Close()
	server, err := start(ctx, s, "server", web.URL)
	if err != nil {
		return err
	}
	defer server.kill()
	var up struct{ URL string }
	if err := server.read(&up); err != nil {
		return err
	}
	if err := warmUp(ctx, up.URL); err != nil {
		return err
	}

	fmt.Fprintln(os.Stderr, "capacity, alone…")
	capacity := coldCapacity(ctx, up.URL, 2*runtime.NumCPU(), 8*time.Second)
	if capacity == 0 {
		return fmt.Errorf("nothing was rendered")
	}
	fmt.Fprintln(os.Stderr, "hits, alone…")
	quiet := s
	quiet.duration = min(s.duration, 10*time.Second)
	alone, err := hitsBeside(ctx, quiet, up.URL, nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "hits beside %.0f times %.1f renders a second, for %v…\n", s.factor, capacity, s.duration)
	var cold, slow *tally
	beside, err := hitsBeside(ctx, s, up.URL, func() {
		done := make(chan struct{})
		go func() { defer close(done); slow = askSlowOrigins(ctx, up.URL, s.slow, s.duration) }()
		cold = askForRenders(ctx, up.URL, s.factor*capacity, s.duration)
		<-done
	})
	if err != nil {
		return err
	}

	end, err := server.end()
	if err != nil {
		return err
	}
	fmt.Println("| what | figure |")
	fmt.Println("|---|---|")
	row := func(what, figure string, args ...any) {
		fmt.Printf("| %s | %s |\n", what, fmt.Sprintf(figure, args...))
	}
	row("processors; renders at once; GOMAXPROCS", "%d; %d; %d", runtime.NumCPU(), end.Renders, end.Procs)
	row("original, and picture", "JPEG of %d KB, never asked for before; 500 pixels wide", len(photo)>>10)
	row("capacity of renders, alone", "%.1f a second", capacity)
	row("asked for, for "+s.duration.String(), "%.1f a second, %.1f times the capacity", float64(cold.asked())/s.duration.Seconds(), float64(cold.asked())/s.duration.Seconds()/capacity)
	row("answered", "%s", cold.statuses())
	row("renders made meanwhile", "%.1f a second, %.2f of the capacity", float64(cold.Statuses["200"])/cold.Took.Seconds(), float64(cold.Statuses["200"])/cold.Took.Seconds()/capacity)
	row("how long a 429 took: median, p99, most", "%s", times(cold.Refused))
	row("slow origins: silent, and of a byte a second", "%d requests out all along; answered %s", s.slow, slow.statuses())
	row("hits alone: median, p99, most", "%s of %.0f a second", times(alone.Served), s.hits)
	row("hits beside it: median, p99, most", "%s of %.0f a second", times(beside.Served), s.hits)
	row("hits that failed", "%d of %d", beside.asked()-beside.Statuses["200"], beside.asked())
	row("peak resident memory of the server", "%d MiB; the memory limit is %d MiB, of which %d for images and %d for making pictures",
		end.Peak>>20, end.Allowed>>20, s.memory>>20, s.budget>>20)
	row("goroutines of the server, before anything and after Close", "%d, %d", end.Before, end.After)
	switch {
	case cold.asked() != cold.Statuses["200"]+cold.Statuses["429"]:
		return fmt.Errorf("renders were answered otherwise than 200 and 429")
	case beside.asked() != beside.Statuses["200"]:
		return fmt.Errorf("hits failed")
	case end.After > end.Before:
		return fmt.Errorf("goroutines are left after Close:\n%s", end.Left)
	}
	return nil
}

// hitsBeside has another process ask for hits while work is done.
func hitsBeside(ctx context.Context, s settings, url string, work func()) (*tally, error) {
	p, err := start(ctx, s, "hits", url)
	if err != nil {
		return nil, err
	}
	defer p.kill()
	if work != nil {
		work()
	}
	t := new(tally)
	return t, p.read(t)
}

// A process is this program in another role. It writes values in JSON, one a line.
type process struct {
	cmd *exec.Cmd
	out *bufio.Reader
}

func start(ctx context.Context, s settings, role, at string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-role", role, "-at", at, "-duration", s.duration.String(), "-hits", fmt.Sprint(s.hits),
		"-queue", strconv.Itoa(s.queue), "-renders", strconv.Itoa(s.renders), "-procs", strconv.Itoa(s.procs),
		"-memory", fmt.Sprint(s.memory), "-render-memory", fmt.Sprint(s.budget))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &process{cmd, bufio.NewReader(out)}, cmd.Start()
}

func (p *process) read(v any) error {
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("a process ended early: %w", err)
	}
	return json.Unmarshal(line, v)
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// An ending is what the server says of itself when it has closed.
type ending struct {
	Renders, Procs int
	Before, After  int   // goroutines
	Peak, Allowed  int64 // bytes: the largest resident memory, and the runtime's memory limit
	Left           string
}

func (p *process) end() (e ending, err error) {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return e, err
	}
	err = p.read(&e)
	return e, err
}

// peakMemory is the largest resident memory that this process has had, in bytes; zero where the system does not say.
func peakMemory() int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(b)
	if m == nil {
		return 0
	}
	kb, _ := strconv.ParseInt(string(m[1]), 10, 64)
	return kb << 10
}

// drain reads a body to its end.
func drain(resp *http.Response) error {
	defer resp.Body.Close()
	_, err := io.Copy(io.Discard, resp.Body)
	return err
}
