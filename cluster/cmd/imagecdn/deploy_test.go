package main

import (
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/imagecdn/imagecdn/cluster/embed"
)

// deployed writes a file of docs/deploy to a directory of the test's, with other texts in the place of some, each of which has to be there.
func deployed(t *testing.T, name string, replace ...string) (file string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../../docs/deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			t.Fatalf("%s does not have %s", name, replace[i])
		}
		text = strings.ReplaceAll(text, replace[i], replace[i+1])
	}
	file = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A node on NATS servers of others has the settings that docs/deploy.md shows.
func TestNATSOfOthers(t *testing.T) {
	nats, err := embed.Start(t.Context(), &embed.Options{Name: "nats", Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer nats.Close()
	file := deployed(t, "cluster-nats.toml",
		"nats://10.0.0.5:4222,nats://10.0.0.6:4222,nats://10.0.0.7:4222", nats.URL(),
		`cluster-creds = "/etc/imagecdn/nats.creds"`, "", "cluster-replicas = 3", "cluster-replicas = 1",
		"https://img.example.com/", photographs(t), "s3://my-cache?region=eu-central-1", bucketURL(filepath.Join(t.TempDir(), "bucket")))
	s := begin(t, "-config", file, "-cache", t.TempDir(), "-cluster-bound", "1s")
	defer s.end(t) // before the server
	s.listens(t)
	s.ready(t)
	if status, _ := s.get(t, "/shop/rocket.jpg?w=20"); status != http.StatusOK {
		t.Errorf("%d\n%s", status, s.log)
	}
	if job := s.purge(t, "/shop/rocket.jpg"); job.State != "done" {
		t.Errorf("%+v\n%s", job, s.log)
	}
}

// The drop-in starts what there is.
func TestDropIn(t *testing.T) {
	b, err := os.ReadFile(deployed(t, "cluster.conf"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/imagecdn serve (.+)$`).FindStringSubmatch(string(b))
	if m == nil {
		t.Fatal("it starts nothing")
	}
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	extension().Flags(f)
	for _, name := range []string{"config", "cache", "api-key-file"} { // which any serve has
		f.String(name, "", "")
	}
	if err := f.Parse(strings.Fields(m[1])); err != nil || f.NArg() > 0 {
		t.Errorf("%s: %v", m[1], err)
	}
}
