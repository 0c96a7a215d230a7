// Peers compares this library with sharp and libvips: throughput, quality and memory. scripts/bench-peers.sh installs,
// builds and runs all of it; docs/benchmarks.md says what is measured.
//
//	peers worker            is this library's side of the comparison
//	peers compare [flags]   compares
//	peers tables FILE       writes the tables of raw figures that were kept
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("worker, compare or tables?")
	}
	switch args[0] {
	case "worker":
		return work(ctx, os.Stdin, os.Stdout)
	case "compare":
		return compare(ctx, args[1:])
	case "tables":
		if len(args) != 2 {
			return errors.New("tables takes a file")
		}
		file, err := os.Open(args[1])
		if err != nil {
			return err
		}
		defer file.Close()
		f, err := readFigures(file)
		if err != nil {
			return fmt.Errorf("%s: %w", args[1], err)
		}
		f.writeTables(os.Stdout)
		return nil
	}
	return fmt.Errorf("%q is neither worker, compare nor tables", args[0])
}

// withoutLibwebp is the side that is built without looking for the system's libwebp.
const withoutLibwebp = "imagecdn without libwebp"

// lists collects NAME=VALUE.
type lists [][2]string

func (l *lists) String() string { return "" }

func (l *lists) Set(v string) error {
	name, value, ok := strings.Cut(v, "=")
	if !ok || name == "" || value == "" {
		return errors.New("give NAME=VALUE")
	}
	*l = append(*l, [2]string{name, value})
	return nil
}

func compare(ctx context.Context, args []string) (err error) {
	var commands, facts lists
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	f.Var(&commands, "side", "`NAME=COMMAND` of a side, imagecdn first; repeated")
	f.Var(&facts, "fact", "`NAME=TEXT` to keep with the figures; repeated")
	inputsDir := f.String("inputs", "", "`directory` of the photographs")
	serve := f.String("serve", "", "`program` imagecdn, whose memory is measured")
	sharpServer := f.String("sharp-server", "", "`command` of the server of sharp, whose memory is measured")
	requests := f.Int("requests", 64, "how many requests at once measure memory; 0 leaves it out")
	memoryOf := f.String("memory-of", large, "`names` of the originals that measure memory, with commas")
	rounds := f.Int("rounds", 5, "how often all is repeated")
	seconds := f.Float64("seconds", 0.4, "how long a side is at one thing in a round, at least")
	limit := f.Duration("limit", 8*time.Minute, "after which no further round begins; memory and quality come first")
	out := f.String("out", "", "`file` of the raw figures")
	if err := f.Parse(args); err != nil {
		return err
	}
	if len(commands) == 0 || commands[0][0] != ours {
		return fmt.Errorf("the first -side is %s", ours)
	}
	if *rounds < 1 || *out == "" {
		return errors.New("-rounds is 1 at least, and -out a file")
	}
	dir, err := os.MkdirTemp("", "peers")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	c := &comparison{dir: dir, log: func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
	}}
	c.fact("date", time.Now().UTC().Format(time.DateOnly))
	c.fact("machine", machine())
	c.fact("load average before", loadAverage())
	for _, fact := range facts {
		c.fact(fact[0], fact[1])
	}
	defer func() { // what was measured before a failure, too
		if len(c.records) > 0 {
			err = errors.Join(err, c.save(*out))
			c.log("the raw figures are in %s", *out)
		}
	}()
	deadline := time.Now().Add(*limit)
	for _, s := range commands {
		side, err := startClient(ctx, s[0], strings.Fields(s[1]))
		if err != nil {
			return err
		}
		defer side.close()
		c.sides = append(c.sides, side)
		c.fact(side.name, side.version)
	}

	found, err := findInputs(*inputsDir)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		c.log("there are no photographs in %q: speed and memory are left out", *inputsDir)
	}
	all := make([]input, 0, len(found))
	for _, in := range found {
		all = append(all, in)
	}
	photos, err := findSamples(dir)
	if err != nil {
		return err
	}
	if err := c.load(slices.Concat(all, photos)); err != nil {
		return err
	}
	ones, sets := oneAsks(found), setAsks(found)
	c.log("each side makes each picture once")
	if err := c.check(slices.Concat(ones, sets)); err != nil {
		return err
	}
	for name := range strings.SplitSeq(*memoryOf, ",") {
		in, ok := found[name]
		if !ok || *requests == 0 {
			continue
		}
		var jobs []string
		for _, s := range commands {
			if s[0] == "libvips" {
				jobs = strings.Fields(s[1])
			}
		}
		if err := c.memory(ctx, in, servers(*serve, *sharpServer), jobs, *requests); err != nil {
			return err
		}
	}
	c.log("quality")
	if in, ok := found[small]; ok {
		photos = append(photos, in)
	}
	if err := c.quality(ctx, photos); err != nil {
		return err
	}
	if err := c.speed(ctx, ones, sets, *rounds, *seconds, deadline); err != nil {
		return err
	}
	c.fact("load average after", loadAverage())

	c.writeTables(os.Stdout)
	return nil
}

func (c *comparison) save(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(c.writeTo(file), file.Close())
}

// machine says what Linux tells of the processor; elsewhere, how many there are.
func machine() string {
	model := runtime.GOARCH
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%d processors, %s, %s", runtime.NumCPU(), model, runtime.GOOS)
}

// loadAverage tells how busy the machine was with other things.
func loadAverage() string {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(load))[:3], " ")
}
