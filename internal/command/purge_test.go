package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

// A script is a server whose one job does what a test says.
type script struct {
	events []purge.Record // what the stream tells, in this order
	cut    bool           // end the stream after each event
	blind  bool           // answer 503 to whoever looks at the job
	deaf   bool           // have no stream

	mu     sync.Mutex // guards what follows
	now    purge.Record
	posted []purge.Request
	after  []string // Last-Event-ID of each stream
	refuse []int    // statuses of POSTs, in turn; 0 and beyond are accepted
	keys   []string
}

// seen are the POSTs, the Last-Event-IDs and the keys so far. A stream may still be on its way when the command has ended.
func (s *script) seen() (posted []purge.Request, after, keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.posted), slices.Clone(s.after), slices.Clone(s.keys)
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.keys = append(s.keys, r.Header.Get("Authorization"))
	s.mu.Unlock()
	switch path := strings.TrimPrefix(r.URL.Path, "/-/api/v1/purges"); {
	case path == "/events" && s.deaf:
		http.NotFound(w, r)
	case path == "/events":
		s.stream(w, r)
	case r.Method == http.MethodPost:
		s.mu.Lock()
		defer s.mu.Unlock()
		var req purge.Request
		if path == "" {
			if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
		}
		if len(s.refuse) > 0 {
			status := s.refuse[0]
			if s.refuse = s.refuse[1:]; status != 0 {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(status)
				fmt.Fprint(w, `{"error":{"code":"limited","message":"one purge a minute"}}`)
				return
			}
		}
		s.posted = append(s.posted, req)
		w.WriteHeader(http.StatusAccepted)
		json.NewEncoder(w).Encode(s.now)
	case s.blind:
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		s.mu.Lock()
		defer s.mu.Unlock()
		if path != "/"+s.now.ID {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"error":{"code":"not_found","message":"there is no such job"}}`)
			return
		}
		json.NewEncoder(w).Encode(s.now)
	}
}

func (s *script) stream(w http.ResponseWriter, r *http.Request) {
	last := r.Header.Get("Last-Event-ID")
	s.mu.Lock()
	s.after = append(s.after, last)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, ": the states of purges\n\n")
	fmt.Fprint(w, "id: another-job.1\nevent: state\ndata: {\n\n") // of which nothing is read
	for i, rec := range s.events {
		e := purge.Event{ID: rec.ID, Seq: i + 2, Attempt: rec.Attempt, State: rec.State, Record: rec}
		if last != "" && last != "another-job.1" && last >= e.EventID() {
			continue
		}
		data, _ := json.Marshal(e)
		fmt.Fprintf(w, "id: %s\nevent: state\ndata: %s\n\n", e.EventID(), data)
		if s.cut {
			return
		}
	}
	http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// job is a record that has gone through states.
func job(states ...purge.State) purge.Record {
	r := purge.Record{ID: "0198c1d2", Scope: purge.Original, Mode: purge.Delete, Attempt: 1, Date: time.Unix(1700000000, 0).UTC()}
	for _, s := range states {
		r.State = s
		r.History = append(r.History, purge.StateAt{State: s, Attempt: 1, Time: r.Date})
	}
	return r
}

func serveScript(t *testing.T, s *script) (url string) {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return server.URL
}

// The stream alone is enough, however often it is cut off; and so is looking at the job, where there is no stream.
func TestPurgeIsFollowedThroughCuts(t *testing.T) {
	all := []purge.State{purge.Received, purge.Preparing, purge.FlushingServers, purge.FlushingCDN, purge.Done}
	var events []purge.Record
	for n := range all[1:] {
		events = append(events, job(all[:n+2]...))
	}
	want := ""
	for _, s := range all {
		want += "0198c1d2 " + string(s) + "\n"
	}
	for name, s := range map[string]*script{
		"in one piece":      {now: job(purge.Received), events: events, blind: true},
		"cut at each event": {now: job(purge.Received), events: events, blind: true, cut: true},
		"no stream":         {now: job(purge.Received), deaf: true},
	} {
		t.Run(name, func(t *testing.T) {
			if s.deaf {
				time.AfterFunc(100*time.Millisecond, func() { s.mu.Lock(); defer s.mu.Unlock(); s.now = job(all...) })
			}
			for _, flags := range [][]string{{}, {"-watch"}} {
				s.mu.Lock()
				s.after = nil
				s.mu.Unlock()
				code, stdout, stderr := command(t, append([]string{"purge", "-server", serveScript(t, s), "/photos/a.jpg"}, flags...)...)
				if code != 0 || !strings.HasPrefix(stdout, want) || stderr != "" {
					t.Errorf("%q: exit %d, %q, %q, want %q", flags, code, stdout, stderr, want)
				}
				if _, after, _ := s.seen(); s.cut && !slices.Equal(after, []string{"", "0198c1d2.2", "0198c1d2.3", "0198c1d2.4"}) {
					t.Errorf("%q: streams go on after %q", flags, after)
				}
				if s.deaf {
					break // it is at its end
				}
			}
		})
	}
}

// An exit status of 0 is for Done alone, and each path and CDN that failed has a line that says why.
func TestPurgeSaysWhatFailed(t *testing.T) {
	paths := []purge.PathResult{
		{Path: "/photos/a.jpg", State: purge.Done, Outcome: purge.Removed, Originals: 1, Derivatives: 2, Bytes: 300},
		{Path: "/photos/b.jpg", State: purge.Error, Outcome: purge.Failed, Reason: "the disk is full"},
		{Path: "/photos/c\x1b[2J.jpg", State: purge.Expired, Outcome: purge.Failed, Reason: "waited too long"},
	}
	cdns := []purge.CDNResult{
		{Name: "fastly", State: purge.Done, Outcome: purge.Verified, Items: 3, Purged: 3},
		{Name: "bunny", State: purge.Error, Reason: "401: no such key"},
		{Name: "akamai", State: purge.Error, Outcome: purge.Accepted, Items: 3, Purged: 1, Reason: "x", Failed: []purge.CDNFailure{
			{Reason: "too slow", Paths: []string{"/photos/a.jpg", "/photos/b.jpg"}},
		}},
	}
	record := func(state purge.State, paths []purge.PathResult, cdns []purge.CDNResult) purge.Record {
		r := job(purge.Received, state)
		r.Paths, r.CDNs = paths, cdns
		return r
	}
	for _, tt := range []struct {
		rec  purge.Record
		code int
		errs string
	}{
		{record(purge.Done, paths[:1], cdns[:1]), 0, ""},
		{record(purge.Error, paths, nil), 1, "failed     /photos/b.jpg: the disk is full\n" + "failed     /photos/c\uFFFD[2J.jpg: waited too long\n" +
			"imagecdn: purge 0198c1d2: error; imagecdn purge -server URL -retry 0198c1d2 tries again what failed\n"},
		{record(purge.Expired, paths[2:], nil), 1, "failed     /photos/c\uFFFD[2J.jpg: waited too long\n" +
			"imagecdn: purge 0198c1d2: expired; imagecdn purge -server URL -retry 0198c1d2 tries again what failed\n"},
		{record(purge.ErrorCDNNode, paths[:1], cdns), 1, "failed     bunny: 401: no such key\n" +
			"failed     akamai /photos/a.jpg: too slow\n" + "failed     akamai /photos/b.jpg: too slow\n" +
			"imagecdn: purge 0198c1d2: error_cdn_node; imagecdn purge -server URL -retry 0198c1d2 tries again what failed\n"},
	} {
		for _, flags := range [][]string{{}, {"-watch"}, {"-json"}} {
			url := serveScript(t, &script{now: tt.rec})
			code, stdout, stderr := command(t, append([]string{"purge", "-server", url, "/photos/a.jpg"}, flags...)...)
			stderr = strings.ReplaceAll(stderr, url, "URL")
			if code != tt.code || stderr != tt.errs {
				t.Errorf("%s %q: exit %d, %q, want %d, %q", tt.rec.State, flags, code, stderr, tt.code, tt.errs)
			}
			switch {
			case slices.Equal(flags, []string{"-json"}):
				var got purge.Record
				if err := json.Unmarshal([]byte(stdout), &got); err != nil || strings.Count(stdout, "\n") != 1 || got.State != tt.rec.State || len(got.Paths) != len(tt.rec.Paths) {
					t.Errorf("%s: JSON %q, %v", tt.rec.State, stdout, err)
				}
			case len(flags) == 0 && len(tt.rec.Paths) != 0 && tt.rec.Paths[0].State == purge.Done:
				if !strings.Contains(stdout, "removed    /photos/a.jpg: originals 1, derivatives 2, composites 0, bytes 300\n") {
					t.Errorf("%s: %q", tt.rec.State, stdout)
				}
			}
			if len(tt.rec.CDNs) > 0 && !slices.Equal(flags, []string{"-json"}) && !strings.Contains(stdout, "verified   fastly: 3 of 3\n") {
				t.Errorf("%s: %q does not say what is known of fastly", tt.rec.State, stdout)
			}
		}
	}
}

// A job that is forgotten, or a server that is gone for good, ends the watch.
func TestPurgeGivesUp(t *testing.T) {
	s := &script{now: job(purge.Received), deaf: true}
	url := serveScript(t, s)
	code, _, stderr := command(t, "purge", "-server", url, "-follow", "0198ffff")
	if code != 1 || !strings.Contains(stderr, "there is no such job") {
		t.Errorf("exit %d, %q", code, stderr)
	}
	var out, errs bytes.Buffer
	f := &follower{screen: newScreen(&out, &errs), silence: time.Nanosecond}
	base := strings.TrimPrefix(url, "http://")
	s.blind = true
	f.api = &apiClient{base: mustParse(t, "http://"+base+"/-/api/v1/purges")}
	if _, err := f.follow(t.Context(), job(purge.Received)); err == nil || !strings.Contains(err.Error(), "imagecdn purge -follow 0198c1d2 goes on") {
		t.Error(err)
	}
}

func TestInterruptedPurgeSaysHowToGoOn(t *testing.T) {
	s := &script{now: job(purge.Received, purge.Preparing)}
	url := serveScript(t, s)
	ctx, stop := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, stop)
	var out, errs bytes.Buffer
	code := Run(ctx, []string{"purge", "-server", url, "-all", "-watch"}, &out, &errs)
	if want := "imagecdn purge -server " + url + " -watch -follow 0198c1d2\n"; code != 130 || !strings.HasSuffix(errs.String(), want) || strings.Count(errs.String(), "\n") != 1 {
		t.Errorf("exit %d, %q, want %q", code, errs.String(), want)
	}
	s.mu.Lock()
	s.now = job(purge.Received, purge.Preparing, purge.FlushingServers, purge.FlushingCDN, purge.Done)
	s.mu.Unlock()
	if code, stdout, stderr := command(t, "purge", "-server", url, "-watch", "-follow", "0198c1d2"); code != 0 || !strings.Contains(stdout, "done") {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
}

func TestWhatPurgeAsksFor(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "list")
	os.WriteFile(list, []byte("/photos/b.jpg\r\n\n  /photos/c d.jpg\n/photos/e.jpg"), 0o600)
	key := filepath.Join(dir, "key")
	os.WriteFile(key, []byte("of-the-file\n"), 0o600)
	t.Setenv("IMAGECDN_KEY", "of-the-environment")
	for _, tt := range []struct {
		args  string
		stdin string
		key   string
		want  string
	}{
		{"/photos/a.jpg", "", "of-the-environment", `{"scope":"original","paths":["/photos/a.jpg"],"mode":"delete"}`},
		{"/photos/a.jpg -mode revalidate -key k /photos/b.jpg -tenant t", "", "k", `{"scope":"original","paths":["/photos/a.jpg","/photos/b.jpg"],"mode":"revalidate","tenant":"t"}`},
		{"-api-key k -- -a", "", "k", `{"scope":"original","paths":["-a"],"mode":"delete"}`},
		{"-key-file " + key + " /photos/2026/", "", "of-the-file", `{"scope":"prefix","paths":["/photos/2026/"],"mode":"delete"}`},
		{"-api-key-file " + key + " -prefix /photos/2026", "", "of-the-file", `{"scope":"prefix","paths":["/photos/2026"],"mode":"delete"}`},
		{"-tag a/ b", "", "", `{"scope":"tag","tags":["a/","b"],"mode":"delete"}`},
		{"-all", "", "", `{"scope":"all","mode":"delete"}`},
		{"-source photos -mode stale", "", "", `{"scope":"all","source":"photos","mode":"stale"}`},
		{"-all -source photos", "", "", `{"scope":"all","source":"photos","mode":"delete"}`},
		{"-from " + list + " /photos/a.jpg", "", "", `{"scope":"original","paths":["/photos/a.jpg","/photos/b.jpg","/photos/c d.jpg","/photos/e.jpg"],"mode":"delete"}`},
		{"-from " + list + " -batch 2 /photos/a.jpg", "", "", `{"scope":"original","paths":["/photos/a.jpg","/photos/b.jpg"],"mode":"delete"}` + "\n" +
			`{"scope":"original","paths":["/photos/c d.jpg","/photos/e.jpg"],"mode":"delete"}`},
		{"-", "/photos/x.jpg\n/photos/y.jpg\n", "", `{"scope":"original","paths":["/photos/x.jpg","/photos/y.jpg"],"mode":"delete"}`},
		{"-tag -from -", "t\n", "", `{"scope":"tag","tags":["t"],"mode":"delete"}`},
	} {
		s := &script{now: job(purge.Received, purge.Done)}
		args := append([]string{"purge", "-server", serveScript(t, s)}, strings.Fields(tt.args)...)
		withStdin(t, tt.stdin)
		if code, _, stderr := command(t, args...); code != 0 {
			t.Errorf("%s: exit %d, %s", tt.args, code, stderr)
			continue
		}
		var got []string
		posted, _, keys := s.seen()
		for _, req := range posted {
			b, _ := json.Marshal(req)
			got = append(got, string(b))
		}
		if strings.Join(got, "\n") != tt.want {
			t.Errorf("%s asks for\n%s\nwant\n%s", tt.args, strings.Join(got, "\n"), tt.want)
		}
		if tt.key != "" && keys[0] != "Bearer "+tt.key {
			t.Errorf("%s has %q, want the key %s", tt.args, keys[0], tt.key)
		}
	}
	for _, args := range []string{
		"-all /photos/a.jpg", "-all -tag x", "-prefix -tag x", "-source photos /photos/a.jpg", "-follow x -retry y", "-follow x /photos/a.jpg", "-retry a/b", "-follow ..",
		"/photos/a.jpg /photos/b/", "/photos/b/ /photos/a.jpg", "-batch 0 /photos/a.jpg", "-tag", "- -from -", "-all -from " + list, "-key a -key-file " + key + " -all",
	} {
		withStdin(t, "")
		if code, _, stderr := command(t, append([]string{"purge"}, strings.Fields(args)...)...); code != 2 || stderr == "" {
			t.Errorf("%s: exit %d, %s", args, code, stderr)
		}
	}
}

// Retry is a POST to the job, and of several jobs the later ones wait where the server says so.
func TestPurgeRetriesAndWaits(t *testing.T) {
	s := &script{now: job(purge.Received, purge.Done)}
	code, _, stderr := command(t, "purge", "-server", serveScript(t, s), "-retry", "0198c1d2")
	if posted, _, _ := s.seen(); code != 0 || len(posted) != 1 || posted[0].Scope != "" {
		t.Errorf("exit %d, %q, %+v", code, stderr, posted)
	}
	s = &script{now: job(purge.Received, purge.Done), refuse: []int{0, 429, 0}}
	code, _, stderr = command(t, "purge", "-server", serveScript(t, s), "-batch", "1", "/photos/a", "/photos/b")
	if posted, _, _ := s.seen(); code != 0 || len(posted) != 2 {
		t.Errorf("exit %d, %q, %+v", code, stderr, posted)
	}
	s = &script{now: job(purge.Received, purge.Done), refuse: []int{429}}
	if code, _, stderr := command(t, "purge", "-server", serveScript(t, s), "-batch", "1", "/photos/a", "/photos/b"); code != 1 || stderr != "imagecdn: one purge a minute\n" {
		t.Errorf("exit %d, %q", code, stderr)
	}
	s = &script{now: job(purge.Received, purge.Done), refuse: []int{0, 400}}
	code, stdout, stderr := command(t, "purge", "-server", serveScript(t, s), "-batch", "1", "/photos/a", "/photos/b", "/photos/c")
	if code != 1 || !strings.Contains(stderr, `1 of 3 jobs were asked for, and not what comes from "/photos/b" on: one purge a minute`) || !strings.Contains(stdout, "done") {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
}

// With -watch and -json there is a line for each state.
func TestPurgePrintsEachState(t *testing.T) {
	s := &script{now: job(purge.Received), blind: true, events: []purge.Record{job(purge.Received, purge.Preparing), job(purge.Received, purge.Preparing, purge.Done)}}
	code, stdout, _ := command(t, "purge", "-server", serveScript(t, s), "-watch", "-json", "-all")
	var states []purge.State
	for line := range strings.Lines(stdout) {
		var r purge.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		states = append(states, r.State)
	}
	if code != 0 || !slices.Equal(states, []purge.State{purge.Received, purge.Preparing, purge.Done}) {
		t.Errorf("exit %d, %v", code, states)
	}
}

// withStdin has the standard input be a text until the test ends.
func withStdin(t *testing.T, text string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() { io.WriteString(w, text); w.Close() }()
	before := os.Stdin
	os.Stdin = r
	t.Cleanup(func() { os.Stdin = before; r.Close() })
}

func mustParse(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
