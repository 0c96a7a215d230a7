package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn/cluster/internal/faulty"
	"github.com/imagecdn/imagecdn/internal/command"
	"github.com/imagecdn/imagecdn/internal/samples"
)

// What does not go together is said in a line, before anything is opened.
func TestWrongFlags(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	empty, short := file("empty", "\n"), file("short", "secret\n")
	for _, test := range []struct {
		args string
		code int
		says string
	}{
		{"-node a", 2, "-node is for -cluster"},
		{"-cluster-bound 3s", 2, "-cluster-bound is for -cluster"},
		{"-peers a,b,c", 2, "-peers is for -cluster"},
		{"-cluster nats://h -peers a,b,c", 2, "-peers is for -cluster embed"},
		{"-cluster nats://h -cluster-dir x", 2, "-cluster-dir is for -cluster embed"},
		{"-cluster embed -cluster-creds x", 2, "-cluster-creds is for NATS servers of others"},
		{"-cluster embed -cluster-policy lax", 2, `-cluster-policy takes strict or available, and got "lax"`},
		{"-cluster embed -cluster-listen 127.0.0.1:6222", 2, "-cluster-listen is for -peers"},
		{"-cluster embed -cluster-cert x", 2, "-cluster-cert and -cluster-key go together"},
		{"-cluster embed -cluster-ca x", 2, "-cluster-ca, -cluster-cert and -cluster-key together"},
		{"-cluster 10.0.0.5", 2, "-cluster takes embed, or URLs"},
		{"-cluster http://10.0.0.5:4222", 2, "-cluster takes embed, or URLs"},
		{"-cluster nats://user:pass%zz@h", 2, "-cluster takes embed, or URLs"},
		{"-cluster nats://h,", 2, "-cluster takes embed, or URLs"},
		{"-cluster embed", 2, "-cluster embed takes a -cluster-dir where there is no -cache"},
		{"-cluster embed -cluster-dir D -node a.b", 1, `embed: Options.Name is "a.b"`},
		{"-cluster embed -cluster-dir D -cluster-bound 1ms", 1, "cluster: Options.Bound is 1ms"},
		{"-cluster embed -cluster-dir D -peers a,b", 1, "at least 3"},
		{"-cluster embed -cluster-dir D -peers a,b -peers c -cluster-listen :6222", 1, "which others can reach"},
		{"-cluster embed -cluster-dir D -cluster-secret-file " + empty, 1, "holds no secret"},
		{"-cluster embed -cluster-dir D -cluster-secret-file " + short, 1, "Options.Secret has 6 bytes"},
		{"-cluster embed -cluster-dir D -cluster-secret-file D/none", 1, "no such file"},
		{"-cluster nats://h -cluster-ca " + empty, 1, "holds no certificate"},
		{"-cluster nats://127.0.0.1:1", 1, "imagecdn: cluster: "},
		{"-bucket photos", 2, "-bucket takes the URL of a bucket"},
		{"-bucket gopher://photos", 2, "-bucket takes the URL of a bucket"},
		{"-bucket-max-bytes unlimited", 2, "-bucket-max-bytes and -bucket-queue take sizes"},
		{"-bucket file:///no/such/directory", 1, "imagecdn: -bucket: "},
		{"-source shop=file:///no/such/directory", 1, "imagecdn: -source shop: "},
		{"-source shop=gopher://x", 1, `Sources["shop"]`},
	} {
		var errs bytes.Buffer
		args := strings.Fields("serve -listen 127.0.0.1:0 -api-key k " + strings.ReplaceAll(test.args, " D", " "+t.TempDir()))
		code := command.Run(t.Context(), append(args, "-cache", ""), io.Discard, &errs, extension())
		if code != test.code || !strings.Contains(errs.String(), test.says) || strings.Contains(errs.String(), "pass%zz") {
			t.Errorf("%s: exits with %d and says %s", test.args, code, &errs)
		}
	}
}

// A file of settings with all flags is one that the command takes.
func TestPrintConfig(t *testing.T) {
	var out, errs bytes.Buffer
	if code := command.Run(t.Context(), []string{"serve", "-print-config"}, &out, &errs, extension()); code != 0 {
		t.Fatalf("exits with %d: %s", code, &errs)
	}
	for _, want := range []string{`(?m)^#peers = \["10`, `(?m)^#cluster-bound = "5s"$`, `(?m)^#cluster-size = "4.0 GiB"$`, `(?m)^#bucket = "s3://`, `(?m)^#cluster-policy = "strict"$`} {
		if !regexp.MustCompile(want).Match(out.Bytes()) {
			t.Errorf("no %s in\n%s", want, &out)
		}
	}
	file := filepath.Join(t.TempDir(), "all.toml")
	if err := os.WriteFile(file, []byte("cluster = \"embed\"\npeers = [\"a\", \"b\"]\ncluster-dir = \""+t.TempDir()+"\"\ncache = \"\"\nlisten = \"127.0.0.1:0\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := command.Run(t.Context(), []string{"serve", "-config", file}, io.Discard, &errs, extension()); code != 1 || !strings.Contains(errs.String(), "Options.Peers has 2") {
		t.Errorf("exits with %d: %s", code, &errs)
	}
}

// A server is one run of serve.
type server struct {
	url   string
	stop  context.CancelFunc
	ended chan int
	log   *faulty.Buffer
}

var listening = regexp.MustCompile(`listening on (http://\S+)\n`)

// begin begins to serve.
func begin(t *testing.T, args ...string) *server {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	s := &server{stop: stop, ended: make(chan int, 1), log: new(faulty.Buffer)}
	go func() {
		s.ended <- command.Run(ctx, append([]string{"serve", "-listen", "127.0.0.1:0", "-api-key", "k", "-allow-private"}, args...), s.log, s.log, extension())
	}()
	t.Cleanup(func() { s.end(t) })
	return s
}

// listens waits until the server listens.
func (s *server) listens(t *testing.T) {
	t.Helper()
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if m := listening.FindStringSubmatch(s.log.String()); m != nil {
			s.url = m[1]
			return
		}
		if time.Since(begun) > time.Minute || len(s.ended) > 0 {
			t.Fatalf("it does not listen:\n%s", s.log)
		}
	}
}

func (s *server) end(t *testing.T) {
	t.Helper()
	if s.stop == nil {
		return
	}
	s.stop()
	s.stop = nil
	select {
	case code := <-s.ended:
		if code != 0 {
			t.Errorf("exits with %d:\n%s", code, s.log)
		}
	case <-time.After(time.Minute):
		t.Errorf("it does not end:\n%s", s.log)
	}
}

func (s *server) get(t *testing.T, path string) (int, string) {
	t.Helper()
	resp, err := http.Get(s.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// purge purges a path, and waits for the job's end.
// purge asks for a purge, again where the servers have no leader at that moment, and waits for its end.
func (s *server) purge(t *testing.T, path string) (job struct{ ID, State string }) {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/-/api/v1/purges", strings.NewReader(fmt.Sprintf(`{"scope":"original","paths":[%q]}`, path)))
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		req.Header.Set("Authorization", "Bearer k")
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode == http.StatusServiceUnavailable && req.Method == http.MethodPost && time.Since(begun) < 30*time.Second {
			req.Body, _ = req.GetBody()
			continue
		}
		if resp.StatusCode >= 300 || json.Unmarshal(body, &job) != nil {
			t.Fatalf("%s %s: %d %s", req.Method, req.URL, resp.StatusCode, body)
		}
		if job.State == "done" || time.Since(begun) > 30*time.Second {
			return job
		}
		req, _ = http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/-/api/v1/purges/"+job.ID, nil)
	}
}

// photographs returns a directory with some.
func photographs(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "photos")
	if err := os.CopyFS(dir, samples.FS()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// things counts what is kept in a bucket that is a directory.
func things(t *testing.T, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "things"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, ".attrs") {
			n++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// bucketURL is a bucket that is a directory.
func bucketURL(dir string) string {
	return "file://" + filepath.ToSlash(dir) + "?no_tmp_dir=true&create_dir=true"
}

// Buckets are sources, and the slowest tier of the cache.
func TestBuckets(t *testing.T) {
	bucket := filepath.Join(t.TempDir(), "bucket")
	s := begin(t, "-cache", t.TempDir(), "-source", "shop=file://"+filepath.ToSlash(photographs(t)), "-bucket", bucketURL(bucket))
	s.listens(t)
	if status, body := s.get(t, "/shop/rocket.jpg?w=20"); status != http.StatusOK || !strings.HasPrefix(body, "\xff\xd8") {
		t.Errorf("%d %.40q", status, body)
	}
	if status, _ := s.get(t, "/shop/none.jpg?w=20"); status != http.StatusNotFound {
		t.Errorf("of what the bucket does not have: %d", status)
	}
	s.end(t) // which writes what waits
	if n := things(t, bucket); n != 2 {
		t.Errorf("%d things are in the bucket, want the original and the picture", n)
	}
}

// A node alone, with its server in its process, serves and purges, and does so after a restart.
func TestEmbeddedServer(t *testing.T) {
	dir, photos := t.TempDir(), photographs(t)
	for range 2 {
		s := begin(t, "-cache", dir, "-source", "shop="+photos, "-cluster", "embed", "-node", "a", "-cluster-bound", "1s")
		s.listens(t)
		s.ready(t)
		if status, _ := s.get(t, "/shop/rocket.jpg?w=20"); status != http.StatusOK {
			t.Errorf("%d\n%s", status, s.log)
		}
		if job := s.purge(t, "/shop/rocket.jpg"); job.State != "done" {
			t.Errorf("%+v\n%s", job, s.log)
		}
		s.end(t)
	}
	if _, err := os.Stat(filepath.Join(dir, "nats", "jetstream")); err != nil {
		t.Error(err)
	}
}

func (s *server) ready(t *testing.T) {
	t.Helper()
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		status, body := s.get(t, "/-/readyz")
		if status == http.StatusOK {
			return
		}
		if time.Since(begun) > time.Minute {
			t.Fatalf("it is not ready: %s\n%s", body, s.log)
		}
	}
}

// versions is an origin with one picture, which is as wide as its version says.
type versions struct{ n atomic.Int64 }

func (v *versions) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "image/png")
	w.Header().Set("Cache-Control", "max-age=3600")
	png.Encode(w, image.NewGray(image.Rect(0, 0, int(v.n.Load()), 8)))
}

// Three nodes, each with a server in its process and a bucket in common: what one is told to forget, all have forgotten when the job is done; and two go
// on when the third is away.
func TestThreeNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("runs three servers")
	}
	origin := new(versions)
	origin.n.Store(8)
	web := httptest.NewServer(origin)
	defer web.Close()
	bucket := filepath.Join(t.TempDir(), "bucket")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a secret of 24 bytes or so\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var peers []string
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		peers = append(peers, l.Addr().String())
		l.Close()
	}
	var all []*server
	for i, address := range peers {
		// The settings are those that docs/deploy.md shows.
		file := deployed(t, "cluster-embed.toml", `"10.0.0.1:6222"`, `"`+address+`"`, `["10.0.0.1", "10.0.0.2", "10.0.0.3"]`, `["`+strings.Join(peers, `", "`)+`"]`,
			"cdn-1", fmt.Sprint("cdn-", i+1), "https://img.example.com/", web.URL, "s3://my-cache?region=eu-central-1", bucketURL(bucket))
		all = append(all, begin(t, "-config", file, "-cache", t.TempDir(), "-cluster-secret-file", secret, "-cluster-bound", "2s"))
	}
	for _, s := range all {
		s.listens(t)
		s.ready(t)
	}
	ask := func(when string, nodes []*server) {
		for i, s := range nodes {
			status, body := s.get(t, "/shop/a.png?fm=png")
			if got, err := png.DecodeConfig(strings.NewReader(body)); err != nil || int64(got.Width) != origin.n.Load() {
				t.Errorf("%s, node %d answers %d with version %d, want %d\n%s", when, i+1, status, got.Width, origin.n.Load(), s.log)
			}
		}
	}
	ask("at first", all)
	for i, s := range all {
		origin.n.Add(1)
		if job := s.purge(t, "/shop/a.png"); job.State != "done" {
			t.Errorf("%+v\n%s", job, s.log)
		}
		ask(fmt.Sprint("after a purge on node ", i+1), all)
	}
	all[0].end(t)
	origin.n.Add(1)
	if job := all[1].purge(t, "/shop/a.png"); job.State != "done" {
		t.Errorf("%+v\n%s", job, all[1].log)
	}
	ask("with a node away", all[1:])
}
