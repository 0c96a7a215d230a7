package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// serveDistinct serves an original under any name, each time with other bytes and the same picture: a comment with the
// name comes after the start of the file. So nothing that goes by the bytes takes two of them for one.
func serveDistinct(jpeg []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := []byte(r.URL.Path)
		marker := binary.BigEndian.AppendUint16([]byte{0xff, 0xfe}, uint16(2+len(name)))
		body := bytes.Join([][]byte{jpeg[:2], marker, name, jpeg[2:]}, nil)
		w.Header().Set("Content-Type", "image/jpeg")
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Write(body)
	})
}

// peakOf is the most memory that a process has had resident.
func peakOf(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if kb, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.Fields(kb)[0], 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("the system does not say VmHWM")
}

// A server is a command that serves /p/NAME?w=W&q=Q from the origin, on an address.
type server struct {
	side    string
	command func(origin, address string) []string
}

// load starts a server, asks it for n originals at the same time, and ends it. The record has what it took.
func (s server) load(ctx context.Context, origin string, width, quality, n int) (r record, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return r, err
	}
	address := listener.Addr().String()
	listener.Close() // the server takes the port
	command := s.command(origin, address)
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), twoThreads...)
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		return r, err
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
		if err != nil {
			err = fmt.Errorf("%s: %w\n%s", s.side, err, log.Bytes())
		}
	}()
	if err := listens(ctx, address); err != nil {
		return r, err
	}

	client := &http.Client{Timeout: 5 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: n}}
	defer client.CloseIdleConnections()
	errs := make([]error, n)
	var wg sync.WaitGroup
	start := time.Now()
	for i := range n {
		wg.Go(func() {
			errs[i] = get(ctx, client, fmt.Sprintf("http://%s/p/%d.jpg?w=%d&q=%d", address, i, width, quality), width)
		})
	}
	wg.Wait()
	r.busy = time.Since(start) * workers
	for _, err := range errs {
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", s.side, err)
			r.failed++
		}
	}
	r.pictures = n - r.failed
	r.peak, err = peakOf(cmd.Process.Pid)
	return r, err
}

func listens(ctx context.Context, address string) error {
	for range 200 {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("nothing listens at %s", address)
}

// get asks for a picture, and holds what comes to the width.
func get(ctx context.Context, client *http.Client, url string, width int) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<20))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %.100s", url, response.Status, body)
	}
	return hasWidth(body, "jpg", width)
}
