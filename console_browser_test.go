package imagecdn_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/internal/samples"
	"github.com/imagecdn/imagecdn/purge"
)

// emptyTarget is a cache that has nothing.
type emptyTarget struct{}

func (emptyTarget) Accept(context.Context, purge.Request) error { return nil }
func (emptyTarget) PurgePath(context.Context, string, purge.Mode) (purge.PathResult, error) {
	return purge.PathResult{}, nil
}
func (emptyTarget) PurgeAll(context.Context, string, purge.Mode) (purge.PathResult, error) {
	return purge.PathResult{}, nil
}

// logOf returns the log of so many jobs that are done.
func logOf(t testing.TB, jobs int) *purge.MemoryLog {
	log := new(purge.MemoryLog)
	s, err := purge.Open(context.Background(), emptyTarget{}, &purge.ServiceOptions{Log: log, MaxLog: jobs})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var last *purge.Job
	for i := range jobs {
		r := purge.Request{Paths: []string{fmt.Sprintf("/photos/2026/%d.jpg", i), fmt.Sprintf("/photos/2026/%d-large.jpg", i)}, Cause: purge.ByAPI}
		if last, err = s.Submit(context.Background(), r, nil); err != nil {
			t.Fatal(err)
		}
		if i%500 == 499 || i == jobs-1 {
			if _, err := last.Wait(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return log
}

// twoCDNs are a CDN that does what it is told, and one that fails at a job's first attempt where a path says "retina".
type twoCDNs struct{ delay time.Duration }

func (twoCDNs) Names() []string { return []string{"cloudflare", "fastly"} }

func (c twoCDNs) Flush(ctx context.Context, f purge.Flush, report func(purge.CDNResult)) {
	for _, name := range c.Names() {
		paths, ok := f.Parts[name]
		if !ok {
			continue
		}
		report(purge.CDNResult{Name: name, State: purge.FlushingCDN, Items: len(paths)})
		select {
		case <-time.After(c.delay):
		case <-ctx.Done():
		}
		i := slices.IndexFunc(paths, func(p string) bool { return strings.Contains(p, "retina") })
		if name == "fastly" && f.Attempt == 1 && i >= 0 {
			report(purge.CDNResult{
				Name: name, State: purge.Error, Outcome: purge.Accepted, Reason: "503 Service Unavailable, 4 times", Items: len(paths), Purged: len(paths) - 1,
				Failed: []purge.CDNFailure{{Reason: "503 Service Unavailable, 4 times", Paths: paths[i : i+1]}},
			})
			continue
		}
		report(purge.CDNResult{Name: name, State: purge.Done, Outcome: purge.Confirmed, Items: len(paths), Purged: len(paths)})
	}
}

// TestConsoleInChromium uses the console in a real browser. scripts/console.sh installs what it takes, and runs this.
func TestConsoleInChromium(t *testing.T) {
	modules := os.Getenv("IMAGECDN_CONSOLE")
	if modules == "" {
		t.Skip("IMAGECDN_CONSOLE names no folder with playwright-core and axe-core: scripts/console.sh does, and runs this")
	}
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Fatal("there is no Chromium")
	}
	pictures := os.Getenv("IMAGECDN_CONSOLE_PICTURES")
	if pictures == "" {
		pictures = t.ArtifactDir()
	}
	h, err := imagecdn.New(imagecdn.Sources{"photos": imagecdn.FS(samples.FS())}, &imagecdn.Options{
		Purge: &purge.ServiceOptions{Log: logOf(t, 10_000), CDNs: twoCDNs{400 * time.Millisecond}, Limits: func(string) purge.Limits { return purge.CloudimageLimits() }},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	mux := http.NewServeMux()
	mux.Handle("/-/", http.StripPrefix("/-", h.Admin(&imagecdn.AdminOptions{Keys: []string{"the key of the console"}})))
	server := httptest.NewServer(mux)
	defer server.Close()

	// Somebody looks at pictures meanwhile.
	ctx, stop := context.WithCancel(t.Context())
	var visitors sync.WaitGroup
	defer visitors.Wait()
	defer stop()
	visitors.Go(func() {
		names := []string{"chelsea.png", "coffee.png", "rocket.jpg", "retina.jpg"}
		for i := 0; ctx.Err() == nil; i++ {
			width := 100 + 20*(i/40%12)
			if i%97 == 0 {
				width = 60 + i%300
			}
			get(h, fmt.Sprintf("/photos/%s?w=%d&fm=webp", names[i%len(names)], width))
			time.Sleep(20 * time.Millisecond)
		}
	})

	cmd := exec.CommandContext(t.Context(), "node", "internal/consoletest/browse.mjs", modules, program, server.URL+"/-", "the key of the console", pictures)
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	t.Logf("pictures are in %s\n%s", pictures, out.Bytes())
	if err != nil {
		t.Error(err)
	}
}
