package command

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The program that the Containerfile builds runs where there is nothing else, as nobody: it serves, is well, writes to its cache alone, and ends when it is told to.
func TestContainer(t *testing.T) {
	switch {
	case !*container:
		t.Skip("takes a while: -container")
	case os.Getuid() != 0:
		t.Skip("an empty root is for root to make")
	}
	lines := containerLines(t)
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // which testing makes for its user alone
		t.Fatal(err)
	}
	build := ""
	for _, line := range lines["RUN"] {
		if strings.Contains(line, "go build") {
			build = strings.ReplaceAll(line, "-o /imagecdn", "-o "+filepath.Join(dir, "imagecdn"))
		}
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", build)
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build, err, out)
	}
	user, err := strconv.Atoi(strings.Split(lines["USER"][0], ":")[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "cache"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(dir, "cache"), user, user); err != nil {
		t.Fatal(err)
	}
	inside := func(words ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), commandOf(t, lines["ENTRYPOINT"][0])[0], words...)
		cmd.Dir, cmd.Env = "/", []string{"PATH=/"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: dir, Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}}
		return cmd
	}
	words := commandOf(t, lines["CMD"][0])
	for i, w := range words {
		if w == ":8080" {
			words[i] = "127.0.0.1:0"
		}
	}
	server := inside(words...)
	var errs bytes.Buffer
	server.Stderr = &errs
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	url := ""
	for scan := bufio.NewScanner(out); url == "" && scan.Scan(); {
		if m := listening.FindStringSubmatch(scan.Text() + "\n"); m != nil {
			url = m[1]
		}
	}
	if url == "" {
		_ = server.Wait()
		t.Fatalf("it does not listen: %s", errs.Bytes())
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	for _, fm := range []string{"jpg", "png", "gif", "webp", "avif"} {
		resp, err := http.Get(url + "/photos/rocket.jpg?w=60&fm=" + fm)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("fm=%s: %s", fm, resp.Status)
		}
	}
	health := commandOf(t, lines["HEALTHCHECK"][0])[1:]
	health[len(health)-1] = url
	if said, err := inside(health...).CombinedOutput(); err != nil || string(said) != "ok\n" {
		t.Errorf("%q: %v, %s", health, err, said)
	}
	began := time.Now()
	_ = server.Process.Signal(syscall.SIGTERM)
	if err := server.Wait(); err != nil || time.Since(began) > 20*time.Second {
		t.Errorf("it ends after %v: %v\n%s", time.Since(began), err, errs.Bytes())
	}
	if said, err := inside(health...).CombinedOutput(); err == nil {
		t.Errorf("%q after the end: %s", health, said)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || fmt.Sprint(len(entries)) != "2" {
		t.Errorf("%v, %v", entries, err)
	}
	if kept, _ := os.ReadDir(filepath.Join(dir, "cache")); len(kept) == 0 {
		t.Error("nothing is in the cache")
	}
}
