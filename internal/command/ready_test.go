package command

import (
	"context"
	"errors"
	"fmt"
	"image/color"
	"image/png"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/boltlog"
)

// ask returns the status and the body of an answer; zero where there is none.
func ask(url string) (status int, body string) {
	resp, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// versionOf is the version that a versionedOrigin has painted.
func versionOf(t *testing.T, body string) uint32 {
	t.Helper()
	m, err := png.Decode(strings.NewReader(body))
	if err != nil {
		t.Fatalf("%v: %.80q", err, body)
	}
	c := color.NRGBAModel.Convert(m.At(2, 2)).(color.NRGBA)
	return uint32(c.G)<<8 | uint32(c.B)
}

// A heldLog is read when it is let go.
type heldLog struct {
	purge.MemoryLog
	reading, release chan struct{}
}

func (l *heldLog) Entries(before string) iter.Seq2[purge.LogEntry, error] {
	close(l.reading)
	<-l.release
	return l.MemoryLog.Entries(before)
}

// While New puts purges of before in force, the process lives, is not ready, and serves nothing.
func TestNotReadyWhilePurgesAreReplayed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	start := new(front)
	run := serveOn(l, start)
	defer run.close()
	log := &heldLog{reading: make(chan struct{}), release: make(chan struct{})}
	ready := make(chan *imagecdn.Handler)
	go func() {
		h, err := imagecdn.New(imagecdn.Sources{"photos": imagecdn.Dir(t.TempDir())}, &imagecdn.Options{Purge: &purge.ServiceOptions{Log: log}})
		if err != nil {
			t.Error(err)
		}
		mux := http.NewServeMux()
		mux.Handle("/-/", http.StripPrefix("/-", h.Admin(nil)))
		mux.Handle("/", h)
		start.ready(mux)
		ready <- h
	}()
	<-log.reading
	base := "http://" + l.Addr().String()
	check := func(when string, want map[string]int) {
		t.Helper()
		for path, status := range want {
			if got, body := ask(base + path); got != status {
				t.Errorf("%s: %s is %d %s, want %d", when, path, got, body, status)
			}
		}
	}
	check("replaying", map[string]int{"/-/healthz": 200, "/-/readyz": 503, "/photos/a.png": 503, "/-/api/v1/purges": 503, "/-/metrics": 503})
	close(log.release)
	h := <-ready
	check("serving", map[string]int{"/-/healthz": 200, "/-/readyz": 200, "/photos/a.png": 404, "/-/api/v1/purges": 401, "/-/metrics": 401})
	h.Close()
	check("closed", map[string]int{"/-/healthz": 200, "/-/readyz": 503, "/photos/a.png": 503})
}

// A forgetfulLog does not drop what was refused, as where the process is killed before it can.
type forgetfulLog struct{ *boltlog.Log }

func (l forgetfulLog) Write(put []purge.LogEntry, _ []string) error { return l.Log.Write(put, nil) }

// A target that is killed in the middle of each purge.
type killedTarget struct{ purge.Target }

func (killedTarget) Accept(context.Context, purge.Request) error { return errors.New("killed") }

// The real server is killed, with purges in its log that were begun and may have been acknowledged. Started again on the same directory, it is
// ready when all of them are in force, and not before; and what it serves is never of before them.
func TestRestartIsReadyWhenPurgesAreInForce(t *testing.T) {
	binary := buildCommand(t)
	o := new(versionedOrigin)
	o.quick.Store(true)
	origin := httptest.NewServer(o)
	defer origin.Close()
	dir := t.TempDir()
	s := startServer(t, binary, dir, origin.URL)
	for n := range o.versions {
		if status, body := ask(fmt.Sprintf("%s/web/%d.png?w=8&fm=png", s.url, n)); status != 200 {
			t.Fatal(status, body)
		}
	}
	s.kill()

	// What a process leaves that is killed between the intent and the answer.
	log, err := boltlog.Open(filepath.Join(dir, "purges.db"))
	if err != nil {
		t.Fatal(err)
	}
	service, err := purge.Open(t.Context(), killedTarget{}, &purge.ServiceOptions{Log: forgetfulLog{log}})
	if err != nil {
		t.Fatal(err)
	}
	const intents = 100
	for i := range intents {
		path := fmt.Sprintf("/web/%d.png", i%len(o.versions))
		if i >= len(o.versions) {
			path = fmt.Sprintf("/web/of-no-origin/%d.png", i)
		}
		if _, err := service.Submit(t.Context(), purge.Request{Paths: []string{path}}, nil); err == nil {
			t.Fatal("it was accepted")
		}
	}
	if err := errors.Join(service.Close(), log.Close()); err != nil {
		t.Fatal(err)
	}
	for n := range o.versions {
		o.versions[n].Add(1)
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	cmd := exec.Command(binary, "serve", "-listen", address, "-cache", dir, "-api-key", "k", "-allow-private", "-source", "web="+origin.URL)
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	base := "http://" + address
	replaying, deadline := 0, time.Now().Add(30*time.Second)
	for ready := false; !ready; {
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			cmd.Wait()
			t.Fatal("not ready in time: ", errs.String())
		}
		lives, _ := ask(base + "/-/healthz")
		status, body := ask(base + "/-/readyz")
		switch status {
		case 200:
			ready = true
		case 503:
			if lives == 0 {
				continue // it came up between the two
			}
			if lives != 200 || !strings.Contains(body, "starting") {
				t.Fatalf("healthz %d, readyz %d %s", lives, status, body)
			}
			replaying++
		case 0:
			time.Sleep(time.Millisecond)
		default:
			t.Fatal(status, body)
		}
	}
	if replaying == 0 {
		t.Log("it was ready before it could be asked")
	}
	for n := range o.versions {
		if _, body := ask(fmt.Sprintf("%s/web/%d.png?w=8&fm=png", base, n)); body == "" {
			t.Errorf("%d: nothing", n)
		} else if m := versionOf(t, body); m != 1 {
			t.Errorf("%d: version %d after a purge", n, m)
		}
	}
	t.Logf("%d answers while it was not ready", replaying)
}
