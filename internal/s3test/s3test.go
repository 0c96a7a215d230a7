// Package s3test runs a real S3 server for a test: versitygw, which keeps objects in a directory. scripts/s3.sh installs it.
package s3test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Server is the command that is looked for.
const server = "versitygw"

// tries bounds how often the server is started: another program may take its port first.
const tries = 5

// Bucket starts a server on the loopback address, with an empty bucket in it, and ends it with the test. It returns a URL for
// gocloud.dev's s3blob, with the credentials set in the test's environment. Where the server is not installed, the test is skipped.
func Bucket(t testing.TB) (bucketURL string) {
	t.Helper()
	path, err := exec.LookPath(server)
	if err != nil {
		t.Skip("no S3 server is there to test with: scripts/s3.sh installs ", server)
	}
	const name = "images"
	dir := t.TempDir()
	for _, d := range []string{"buckets/" + name, "sidecar"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	key, secret := "test", rand.Text()
	var address, said string
	for range tries {
		if address, said = start(t, path, dir, key, secret); address != "" {
			break
		}
	}
	if address == "" {
		t.Fatalf("%s did not come up: %s", server, said)
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(name, value)
	}
	q := url.Values{"endpoint": {"http://" + address}, "region": {"us-east-1"}, "use_path_style": {"true"},
		"response_checksum_validation": {"when_required"}, // the server has no checksums to send, and the client would log that each time
	}
	return "s3://" + name + "?" + q.Encode()
}

// start starts the server on a port that was free a moment ago.
func start(t testing.TB, path, dir, key, secret string) (address, said string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	l.Close()

	health := "/" + rand.Text() // so that no other server on that port passes for this one
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, "--port", address, "--quiet", "--health", health, "posix", "--sidecar", filepath.Join(dir, "sidecar"), filepath.Join(dir, "buckets"))
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+key, "ROOT_SECRET_KEY="+secret)
	cmd.SysProcAttr = attributes()
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is killed, or out says why it ended
	}()
	end := func() { cancel(); <-ended }
	for began := time.Now(); time.Since(began) < 20*time.Second; {
		select {
		case <-ended:
			cancel()
			return "", fmt.Sprint(out.String())
		case <-time.After(20 * time.Millisecond):
		}
		resp, err := http.Get("http://" + address + health)
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			t.Cleanup(end)
			return address, ""
		}
	}
	end()
	return "", out.String()
}
