package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// A client is one of the compared sides: a process that lives as long as the run, takes a request a line on its standard
// input and answers each with a line. Words are separated by tabs. First of all it says what it is:
//
//	ready	VERSION
//	> load	INPUT	PATH                                        reads a file into memory
//	< ok
//	> once	INPUT	WIDTH	FORMAT	QUALITY	PATH                makes one picture and writes it to a file
//	< ok
//	> run	INPUT	WIDTH	FORMAT	QUALITY	SECONDS	WORKERS     makes it again and again, from memory to memory
//	< ok	PICTURES	NANOSECONDS	CPU-MICROSECONDS	BYTES
//	> set	INPUT	WIDTH,WIDTH,…	FORMAT	QUALITY	SECONDS	WORKERS     all widths at once, again and again
//	< ok	PICTURES	NANOSECONDS	CPU-MICROSECONDS	BYTES
//	> jobs	INPUT	WIDTH	FORMAT	QUALITY	COUNT	WORKERS     a number of pictures, each from its own copy of the input
//	< ok	PICTURES	NANOSECONDS	CPU-MICROSECONDS	BYTES
//
// or "error" and a text. NANOSECONDS is the sum over the workers of how long each was at it, of whole pictures alone, so
// that PICTURES * WORKERS / NANOSECONDS is the throughput even where a worker takes longer than SECONDS for one. BYTES is
// the size of the last picture. FORMAT is jpg, png or webp.
type client struct {
	name, version string
	cmd           *exec.Cmd
	in            io.WriteCloser
	out           *bufio.Scanner
}

// startClient starts command, which ends with ctx at the latest.
func startClient(ctx context.Context, name string, command []string) (*client, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), twoThreads...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	c := &client{name: name, cmd: cmd, in: in, out: bufio.NewScanner(out)}
	words, err := c.answer("ready")
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	c.version = strings.Join(words, " ")
	return c, nil
}

// twoThreads is what keeps a side to two processors where the machine has more.
var twoThreads = []string{"GOMAXPROCS=2", "UV_THREADPOOL_SIZE=2"}

func (c *client) close() error {
	err := c.in.Close()
	if c.cmd == nil {
		return err
	}
	return errors.Join(err, c.cmd.Wait())
}

func (c *client) call(words ...any) ([]string, error) {
	line := strings.TrimSuffix(strings.Join(sprintEach(words), "\t"), "\t") + "\n"
	if _, err := io.WriteString(c.in, line); err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	return c.answer("ok")
}

func sprintEach(words []any) []string {
	s := make([]string, len(words))
	for i, w := range words {
		s[i] = fmt.Sprint(w)
	}
	return s
}

func (c *client) answer(want string) ([]string, error) {
	if !c.out.Scan() {
		err := c.out.Err()
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	words := strings.Split(c.out.Text(), "\t")
	if words[0] != want {
		return nil, fmt.Errorf("%s: %s", c.name, strings.Join(words, " "))
	}
	return words[1:], nil
}

// A tally is what a side has done in one slot.
type tally struct {
	pictures int
	busy     time.Duration // summed over workers
	cpu      time.Duration // of the whole process, all threads
	bytes    int           // of the last picture
}

func (c *client) measure(words ...any) (tally, error) {
	answer, err := c.call(words...)
	if err != nil {
		return tally{}, err
	}
	var n [4]int
	if len(answer) != len(n) {
		return tally{}, fmt.Errorf("%s: answered %q", c.name, answer)
	}
	for i, w := range answer {
		if n[i], err = strconv.Atoi(w); err != nil {
			return tally{}, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	if n[0] < 1 || n[1] < 1 {
		return tally{}, fmt.Errorf("%s: made %d pictures in %d ns", c.name, n[0], n[1])
	}
	return tally{n[0], time.Duration(n[1]), time.Duration(n[2]) * time.Microsecond, n[3]}, nil
}
