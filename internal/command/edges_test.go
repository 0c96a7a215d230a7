package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/cdn/cdntest"
)

// behind is a real server with real caches in front of it, and what visitors get at the outermost.
type behind struct {
	t      *testing.T
	origin *versionedOrigin
	server *server
	edge   *cdntest.Visitor
	bodies map[string]string // by URL and Accept, what the edge has
}

const edgeHost = "www.example.com"

// freePort is a port that nobody has, most likely for a while.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// backendOf is a configuration of an adapter's testdata, with another backend in it.
func backendOf(t *testing.T, file, before, after string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.FromSlash("../../purge/cdn/" + file))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), before) {
		t.Fatalf("%s: %q is not there", file, before)
	}
	return strings.ReplaceAll(string(b), before, after)
}

func varnishBefore(t *testing.T, port string) *cdntest.Cache {
	t.Helper()
	return cdntest.StartVarnish(t, backendOf(t, "varnish/testdata/imagecdn.vcl", `.port = "8080";`, `.port = "`+port+`";`))
}

func portOf(c *cdntest.Cache) string { return c.URL[strings.LastIndexByte(c.URL, ':')+1:] }

// startBehind starts the server on a port, behind caches that are started already, of which edge is the outermost.
func startBehind(t *testing.T, port string, edge *cdntest.Cache, rings string) *behind {
	t.Helper()
	binary := buildCommand(t)
	cdns := filepath.Join(t.TempDir(), "cdns.json")
	if err := os.WriteFile(cdns, []byte(rings), 0o600); err != nil {
		t.Fatal(err)
	}
	b := &behind{t: t, origin: new(versionedOrigin), edge: cdntest.NewVisitor(t, edge.URL, edgeHost), bodies: make(map[string]string)}
	b.origin.quick.Store(true)
	origin := httptest.NewServer(b.origin)
	t.Cleanup(origin.Close)
	var errs bytes.Buffer
	b.server = startServerLogging(t, &errs, binary, t.TempDir(), origin.URL, "-listen", "127.0.0.1:"+port, "-cdns", cdns)
	t.Cleanup(b.server.kill)
	return b
}

// A shot is a URL, and the Accept that it is asked for with.
type shot struct{ url, accept string }

// newer is how far apart two versions are, so that they can be told in what is lossy.
const newer = 60

const webp, plain = "image/webp,*/*", "image/png,*/*"

// look asks the edge, and says whether the edge had it, and whether it is what it had before.
func (b *behind) look(s shot) (hit, same bool) {
	b.t.Helper()
	resp, body := b.edge.Get(s.url, s.accept)
	if resp.StatusCode != http.StatusOK {
		b.t.Fatalf("%s: %s %s", s.url, resp.Status, body)
	}
	if tags := resp.Header.Get("xkey"); tags != "" {
		b.t.Errorf("%s: a visitor sees tags: %s", s.url, tags)
	}
	key := s.url + " " + s.accept
	same = b.bodies[key] == body
	b.bodies[key] = body
	status := strings.Join(resp.Header["Cache-Status"], ", ")
	last := status[strings.LastIndexByte(status, ',')+1:]
	return strings.HasSuffix(last, "; hit"), same
}

// fill has the edge get all of these and keep them.
func (b *behind) fill(shots []shot) {
	b.t.Helper()
	for _, s := range shots {
		b.look(s)
		if hit, same := b.look(s); !hit || !same {
			b.t.Fatalf("%s, %s: hit %v, same %v the second time", s.url, s.accept, hit, same)
		}
	}
}

// api calls the server's API and decodes what it answers.
func (b *behind) api(method, path, body string, v any) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.server.url+"/-/api/v1/"+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer k")
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(resp.Body)
	if resp.StatusCode/100 != 2 {
		b.t.Fatalf("%s %s: %s %s", method, path, resp.Status, said)
	}
	if err := json.Unmarshal(said, v); err != nil {
		b.t.Fatal(err)
	}
}

// end waits for the end of a job.
func (b *behind) end(id string) (rec purge.Record) {
	b.t.Helper()
	for range 3000 {
		if b.api("GET", "purges/"+id, "", &rec); rec.State.Final() {
			return rec
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.t.Fatalf("the job is %s for half a minute", rec.State)
	return rec
}

func (b *behind) purge(body string) purge.Record {
	b.t.Helper()
	var rec purge.Record
	b.api("POST", "purges", body, &rec)
	return b.end(rec.ID)
}

// judge looks at all shots: gone have to be new, and all others hits still.
func (b *behind) judge(shots []shot, gone func(shot) bool) {
	b.t.Helper()
	for _, s := range shots {
		hit, same := b.look(s)
		if g := gone(s); hit == g || same == g {
			b.t.Errorf("%s, %s: hit %v, same %v; it is to be gone: %v", s.url, s.accept, hit, same, g)
		}
	}
}

// of says that a picture has an image in it.
func of(image string) func(shot) bool {
	return func(s shot) bool { return strings.Contains(strings.ReplaceAll(s.url, "%2F", "/"), "/"+image+".png") }
}

func everything(shot) bool { return true }

// The shots: an image in many forms, one with it as a watermark, and others.
var shots = []shot{
	{"/web/0.png", plain}, {"/web/0.png?w=10", plain}, {"/web/0.png?w=10&fm=jpg", plain}, {"/web/0.png?w=20&vh=7", plain},
	{"/web/0.png?w=10&auto=format", webp}, {"/web/0.png?w=10&auto=format", plain},
	{"/web/1.png?w=15&mark=%2Fweb%2F0.png&mark-w=5", plain},
	{"/web/1.png?w=10", plain}, {"/web/1.png?w=10&auto=format", webp}, {"/web/10.png?w=10", plain}, {"/web/11.png", plain},
}

// Two Varnishes from Debian, one behind the other, in front of the real server: what is purged by a job is gone from both, all variants and the picture that
// it is a watermark of, and everything else is a hit still. Then the shield is down: the edge is not told, and a retry finishes it.
func TestShieldAndEdge(t *testing.T) {
	port := freePort(t)
	shield := varnishBefore(t, port)
	edge := varnishBefore(t, portOf(shield))
	b := startBehind(t, port, edge, fmt.Sprintf(`{"rings":[
		[{"name":"shield","type":"varnish","servers":[%q]}],
		[{"name":"edge","type":"varnish","servers":[%q],"bases":["http://edge.invalid"],"giveUp":"1s"}]]}`, shield.URL, edge.URL))
	done := func(rec purge.Record) {
		t.Helper()
		if rec.State != purge.Done || len(rec.CDNs) != 2 || rec.CDNs[0].Outcome != purge.Confirmed || rec.CDNs[1].Outcome != purge.Confirmed {
			t.Fatalf("the job: %+v", rec)
		}
	}
	for name, tt := range map[string]struct {
		body string
		gone func(shot) bool
	}{
		"an image":   {`{"scope":"original","paths":["/web/0.png"]}`, of("0")},
		"a source":   {`{"scope":"all","source":"web"}`, everything},
		"everything": {`{"scope":"all"}`, everything},
	} {
		t.Run(name, func(t *testing.T) {
			b := *b
			b.t = t
			b.edge = b.edge.In(t)
			b.fill(shots)
			for i := range b.origin.versions {
				b.origin.versions[i].Add(newer)
			}
			done(b.purge(tt.body))
			b.judge(shots, tt.gone)
			done(b.purge(`{"scope":"all"}`)) // the versions are those of the origin again
		})
	}

	t.Run("the shield is down", func(t *testing.T) {
		b := *b
		b.t = t
		b.edge = b.edge.In(t)
		b.fill(shots)
		shield.Stop()
		b.origin.versions[0].Add(newer)
		var rec purge.Record
		b.api("POST", "purges", `{"scope":"original","paths":["/web/0.png"]}`, &rec)
		for rec.State != purge.FlushingCDN || rec.CDNs[0].Reason == "" { // it is tried for ten minutes
			if b.api("GET", "purges/"+rec.ID, "", &rec); rec.State.Final() {
				t.Fatalf("the job: %+v", rec)
			}
		}
		if rec.Paths[0].State != purge.Done || rec.CDNs[1].Purged != 0 {
			t.Errorf("the job: %+v", rec)
		}
		for _, s := range shots {
			if hit, same := b.look(s); !hit || !same {
				t.Errorf("%s: the edge was told before the shield", s.url)
			}
		}
		shield.Start()
		done(b.end(rec.ID))
		b.judge(shots, of("0"))
	})
}

// nginx from Debian, whose module drops one URL at a time: the job drops all that are listed as being asked for.
func TestNginxInFront(t *testing.T) {
	port := freePort(t)
	conf := backendOf(t, "nginx/testdata/nginx.conf", "127.0.0.1:8080", "127.0.0.1:"+port)
	conf = strings.Replace(strings.Replace(conf, "listen 80;", "listen LISTEN;", 1), "/var/cache/nginx/imagecdn", "DIR/cache", 1)
	edge := cdntest.StartNginx(t, conf)
	alone := slices.DeleteFunc(slices.Clone(shots), func(s shot) bool { return strings.Contains(s.url, "mark=") })
	var variants []string
	for _, s := range alone {
		if _, q, ok := strings.Cut(s.url, "?"); ok && !slices.Contains(variants, q) {
			variants = append(variants, q)
		}
	}
	list, _ := json.Marshal(variants)
	b := startBehind(t, port, edge, fmt.Sprintf(`{"rings":[[{"name":"nginx","type":"nginx","servers":[%q],"bases":["http://%s"],"variants":%s,"giveUp":"1s"}]]}`,
		edge.URL, edgeHost, list))
	b.fill(alone)
	for i := range b.origin.versions {
		b.origin.versions[i].Add(newer)
	}
	if rec := b.purge(`{"scope":"original","paths":["/web/0.png"]}`); rec.State != purge.Done || rec.CDNs[0].Outcome != purge.Confirmed || rec.CDNs[0].Items != len(variants)+1 {
		t.Errorf("the job: %+v", rec)
	}
	b.judge(alone, of("0"))
	// What nginx cannot do is said, for each path, and is purged here all the same.
	if rec := b.purge(`{"scope":"all","source":"web"}`); rec.State != purge.ErrorCDNNode || rec.Paths[0].State != purge.Done || !strings.Contains(rec.CDNs[0].Reason, "sources") {
		t.Errorf("a source: %+v", rec)
	}
	// Down, and there again.
	edge.Stop()
	rec := b.purge(`{"scope":"original","paths":["/web/1.png"]}`)
	if rec.State != purge.ErrorCDNNode || len(rec.CDNs[0].Failed) != 1 || !slices.Equal(rec.CDNs[0].Failed[0].Paths, []string{"/web/1.png"}) {
		t.Errorf("down: %+v", rec)
	}
	edge.Start()
	b.api("POST", "purges/"+rec.ID+"/retry", "", &rec)
	if rec = b.end(rec.ID); rec.State != purge.Done || rec.Attempt != 2 {
		t.Errorf("then: %+v", rec)
	}
}
