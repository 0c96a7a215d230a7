package command

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var kills = flag.Int("kills", 5, "how often TestKillNine kills the server")

// A versionedOrigin paints the version of an image into its pixels, and says that it lives for a year.
type versionedOrigin struct {
	versions [12]atomic.Uint32
	quick    atomic.Bool // answers at once
}

func (o *versionedOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var n int
	if _, err := fmt.Sscanf(r.URL.Path, "/%d.png", &n); err != nil || n >= len(o.versions) {
		http.NotFound(w, r)
		return
	}
	v := o.versions[n].Load()
	etag := fmt.Sprintf(`"%d"`, v)
	w.Header().Set("Etag", etag)
	w.Header().Set("Cache-Control", "max-age=31536000")
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	// A slow origin keeps fetches in flight when purges and kills come.
	if !o.quick.Load() {
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
	}
	m := image.NewPaletted(image.Rect(0, 0, 30, 20), color.Palette{color.RGBA{uint8(n), uint8(v >> 8), uint8(v), 255}})
	_ = png.Encode(w, m)
}

// A server is the real command, to be killed.
type server struct {
	cmd *exec.Cmd
	url string
}

func startServer(t *testing.T, binary, dir, origin string, flags ...string) *server {
	t.Helper()
	return startServerLogging(t, new(bytes.Buffer), binary, dir, origin, flags...)
}

// startServerLogging is startServer, with what the server writes of itself going to errs.
func startServerLogging(t *testing.T, errs io.Writer, binary, dir, origin string, flags ...string) *server {
	t.Helper()
	s := &server{cmd: exec.Command(binary, append([]string{"serve", "-listen", "127.0.0.1:0", "-cache", dir, "-api-key", "k", "-allow-private", "-source", "web=" + origin}, flags...)...)}
	s.cmd.Stderr = errs
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := listening.FindStringSubmatch(lines.Text() + "\n"); m != nil {
			s.url = m[1]
			go io.Copy(io.Discard, out)
			return s
		}
	}
	s.kill()
	t.Fatalf("the server did not start: %s", errs)
	return nil
}

func (s *server) kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

// buildCommand builds the real command.
func buildCommand(t *testing.T) (binary string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts the real server many times")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no go command to build the server with")
	}
	binary = filepath.Join(t.TempDir(), "imagecdn")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/imagecdn").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// The real server under load is killed again and again, at moments it does not choose. Whatever was
// acknowledged must hold: a response to a request that was sent after a purge was accepted has the version that
// the origin had by then, or a later one. Every picture must be whole, and of the image that was asked for.
func TestKillNine(t *testing.T) {
	binary := buildCommand(t)
	o := new(versionedOrigin)
	origin := httptest.NewServer(o)
	defer origin.Close()
	dir := t.TempDir()

	var acknowledged [len(o.versions)]atomic.Uint32 // the version at the origin when a purge was asked for that was accepted
	var responses, purges, hits atomic.Int64
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: 10 * time.Second}

	look := func(ctx context.Context, base string) {
		n := rand.IntN(len(o.versions))
		least := acknowledged[n].Load()
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/web/%d.png?w=%d&fm=png", base, n, 5+rand.IntN(4)), nil)
		resp, err := client.Do(req)
		if err != nil {
			return // killed
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return
		}
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", req.URL, resp.StatusCode, body)
			return
		}
		m, err := png.Decode(bytes.NewReader(body))
		if err != nil {
			t.Errorf("%s: not a whole picture: %v", req.URL, err)
			return
		}
		c := color.NRGBAModel.Convert(m.At(2, 2)).(color.NRGBA)
		if v := uint32(c.G)<<8 | uint32(c.B); int(c.R) != n || v < least {
			t.Errorf("%s: image %d version %d, want image %d version %d or later: %s", req.URL, c.R, v, n, least, resp.Header.Get("Cache-Status"))
		}
		responses.Add(1)
		if strings.Contains(resp.Header.Get("Cache-Status"), "; hit") {
			hits.Add(1)
		}
	}
	change := func(ctx context.Context, base string) {
		n := rand.IntN(len(o.versions))
		v := o.versions[n].Add(1)
		body := fmt.Sprintf(`{"paths":["/web/%d.png"]}`, n)
		if rand.IntN(20) == 0 {
			body = `{"scope":"all"}`
		}
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, base+"/-/api/v1/purges", strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer k")
		resp, err := client.Do(req)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != http.StatusAccepted {
			t.Errorf("purge: %s", resp.Status)
			return
		}
		purges.Add(1)
		for old := acknowledged[n].Load(); old < v && !acknowledged[n].CompareAndSwap(old, v); old = acknowledged[n].Load() {
		}
	}

	for range *kills {
		s := startServer(t, binary, dir, origin.URL)
		ctx, cancel := context.WithCancel(t.Context())
		var load sync.WaitGroup
		for range 6 {
			load.Go(func() {
				for ctx.Err() == nil {
					look(ctx, s.url)
				}
			})
		}
		load.Go(func() {
			for ctx.Err() == nil {
				change(ctx, s.url)
				time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
			}
		})
		time.Sleep(time.Duration(30+rand.IntN(400)) * time.Millisecond)
		s.kill()
		cancel()
		load.Wait()
		client.CloseIdleConnections()
		if t.Failed() {
			break
		}
	}
	t.Logf("%d kills, %d responses of which %d hits, %d purges acknowledged", *kills, responses.Load(), hits.Load(), purges.Load())
	if responses.Load() == 0 || hits.Load() == 0 || purges.Load() == 0 {
		t.Error("the load did nothing")
	}
}
