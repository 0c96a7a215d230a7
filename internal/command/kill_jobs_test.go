package command

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"image/color"
	"image/png"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

var jobKills = flag.Int("jobkills", 5, "how often TestKillNineJobs kills the server")

// A holdingOrigin can leave unanswered whoever asks whether an image has changed: so a revalidation stays at work.
type holdingOrigin struct {
	versionedOrigin
	held atomic.Pointer[chan struct{}] // closed to go on; nil where nobody is held
}

func (o *holdingOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if held := o.held.Load(); held != nil && r.Header.Get("If-None-Match") != "" {
		select {
		case <-*held:
		case <-r.Context().Done():
			return
		}
	}
	o.versionedOrigin.ServeHTTP(w, r)
}

// An acknowledgedJob is a purge that was answered 202.
type acknowledgedJob struct {
	id    string
	req   purge.Request
	least map[int]uint32 // by image: the version at the origin before the job was submitted
	final []byte         // its record when it was first seen at its end
}

// A jobClient submits purges to a server that is about to be killed, and follows them on the next.
type jobClient struct {
	t      *testing.T
	o      *holdingOrigin
	client *http.Client

	mu       sync.Mutex // guards what follows
	acked    []*acknowledgedJob
	refused  int // submitted, and never answered
	pictures int
	early    int // of them, those of jobs that were not at their end even then
}

// call uses the API. A server that is gone is an error.
func (c *jobClient) call(ctx context.Context, method, url, body string, v any) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer k")
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	if resp.StatusCode/100 != 2 {
		return resp.StatusCode, nil
	}
	return resp.StatusCode, json.Unmarshal(answer, v)
}

// submit changes some images at the origin and purges them.
func (c *jobClient) submit(ctx context.Context, base string) {
	j := &acknowledgedJob{least: make(map[int]uint32)}
	j.req = purge.Request{Scope: purge.Original, Mode: []purge.Mode{purge.Delete, purge.Revalidate, purge.Stale}[rand.IntN(3)]}
	images := rand.Perm(len(c.o.versions))
	if rand.IntN(4) == 0 {
		// A purge of everything with mode stale serves what there is until it was asked for once.
		j.req.Scope, j.req.Source, j.req.Mode = purge.All, []string{"", "web"}[rand.IntN(2)], []purge.Mode{purge.Delete, purge.Revalidate}[rand.IntN(2)]
	} else {
		images = images[:1+rand.IntN(len(images))]
		for _, n := range images {
			j.req.Paths = append(j.req.Paths, fmt.Sprintf("/web/%d.png", n))
		}
		if rand.IntN(6) == 0 { // it takes a while, and is saved on the way
			for n := range 110 {
				j.req.Paths = append(j.req.Paths, fmt.Sprintf("/web/none-%d.png", n))
			}
		}
	}
	for _, n := range images {
		j.least[n] = c.o.versions[n].Add(1)
	}
	body, err := json.Marshal(j.req)
	if err != nil {
		c.t.Error(err)
		return
	}
	var rec purge.Record
	status, err := c.call(ctx, http.MethodPost, base+"/-/api/v1/purges", string(body), &rec)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.refused++
	case status != http.StatusAccepted:
		c.t.Errorf("purge: %d", status)
	default:
		j.id = rec.ID
		c.acked = append(c.acked, j)
	}
}

// look asks for an image, which must be of a version that its purges allow.
func (c *jobClient) look(ctx context.Context, base string, n int, least uint32, why string) {
	url := fmt.Sprintf("%s/web/%d.png?w=%d&fm=png", base, n, 5+rand.IntN(4))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		c.t.Error(err)
		return
	}
	resp, err := c.client.Do(req)
	if err != nil {
		c.t.Errorf("%s: %v", url, err)
		return
	}
	defer resp.Body.Close()
	m, err := png.Decode(resp.Body)
	if err != nil {
		c.t.Errorf("%s: %s, %v", url, resp.Status, err)
		return
	}
	p := color.NRGBAModel.Convert(m.At(2, 2)).(color.NRGBA)
	if v := uint32(p.G)<<8 | uint32(p.B); int(p.R) != n || v < least {
		c.t.Errorf("%s: image %d of version %d, want version %d or later of image %d, %s", url, p.R, v, least, n, why)
	}
}

// follow sees a job of before the kill to its end, and meanwhile looks at its images. It returns the last state that the
// log had of it.
func (c *jobClient) follow(ctx context.Context, base string, j *acknowledgedJob, killed time.Time) (was purge.State) {
	var looks sync.WaitGroup
	defer looks.Wait()
	for n, least := range j.least {
		looks.Go(func() {
			c.look(ctx, base, n, least, "as the acknowledged job "+j.id+" promises")
			var rec purge.Record
			_, err := c.call(ctx, http.MethodGet, base+"/-/api/v1/purges/"+j.id, "", &rec)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.pictures++
			if err == nil && !rec.State.Final() {
				c.early++
			}
		})
	}
	first := true
	for {
		var rec purge.Record
		status, err := c.call(ctx, http.MethodGet, base+"/-/api/v1/purges/"+j.id, "", &rec)
		if ctx.Err() != nil {
			c.t.Errorf("job %s never ends", j.id)
			return was
		}
		if err != nil || status != http.StatusOK {
			c.t.Errorf("job %s was acknowledged and is lost: %d, %v", j.id, status, err)
			return was
		}
		if first {
			first = false
			for _, s := range rec.History {
				if s.Time.Before(killed) {
					was = s.State
				}
			}
		}
		if rec.State.Final() {
			c.judge(j, rec)
			return was
		}
		time.Sleep(time.Millisecond)
	}
}

// judge checks the record of a job at its end: all of it is done, in order, and it stays so.
func (c *jobClient) judge(j *acknowledgedJob, rec purge.Record) {
	if rec.State != purge.Done || rec.Attempt != 1 || rec.Mode != j.req.Mode || rec.Scope != j.req.Scope || rec.Source != j.req.Source {
		c.t.Errorf("job %s ended as %+v", j.id, rec)
	}
	var paths []string
	for _, p := range rec.Paths {
		paths = append(paths, p.Path)
		if p.State != purge.Done || p.Outcome == "" || p.Outcome == purge.Failed {
			c.t.Errorf("job %s is done, and is not: %+v", j.id, p)
		}
	}
	if j.req.Scope == purge.Original && !slices.Equal(paths, j.req.Paths) {
		c.t.Errorf("job %s was of %q, and is of %q", j.id, j.req.Paths, paths)
	}
	order := []purge.State{purge.Received, purge.Preparing, purge.FlushingServers, purge.FlushingCDN, purge.Done}
	at := -1
	for _, s := range rec.History {
		next := slices.Index(order, s.State)
		if next <= at {
			c.t.Errorf("job %s went through %v", j.id, rec.History)
			break
		}
		at = next
	}
	final, err := json.Marshal(rec)
	switch {
	case err != nil:
		c.t.Error(err)
	case j.final == nil:
		j.final = final
	case !bytes.Equal(j.final, final):
		c.t.Errorf("job %s has changed since its end: %s, then %s", j.id, j.final, final)
	}
}

// The real server is killed while jobs are submitted, accepted, worked on and ended. The next one must know every job that was
// acknowledged, see it to its end by itself, and never show an image as it was before a purge that was acknowledged.
func TestKillNineJobs(t *testing.T) {
	binary := buildCommand(t)
	o := new(holdingOrigin)
	origin := httptest.NewServer(o)
	defer origin.Close()
	dir := t.TempDir()
	c := &jobClient{t: t, o: o, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}, Timeout: 20 * time.Second}}

	was := make(map[purge.State]int) // jobs by the last state that was saved before a kill
	var left []*acknowledgedJob      // of the last round
	var killed time.Time
	check := func(ctx context.Context, base string) {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		o.quick.Store(true)
		defer o.quick.Store(false)
		var all sync.WaitGroup
		for _, j := range left {
			all.Go(func() {
				state := c.follow(ctx, base, j, killed)
				c.mu.Lock()
				defer c.mu.Unlock()
				was[state]++
			})
		}
		all.Wait()
	}
	for range *jobKills {
		s := startServer(t, binary, dir, origin.URL)
		check(t.Context(), s.url)
		if t.Failed() {
			s.kill()
			return
		}
		for n := range o.versions { // so that there is something to purge
			if rand.IntN(2) == 0 {
				c.look(t.Context(), s.url, n, 0, "")
			}
		}
		hold := make(chan struct{})
		if rand.IntN(2) == 0 {
			o.held.Store(&hold)
		}
		before := len(c.acked)
		ctx, cancel := context.WithCancel(t.Context())
		var load sync.WaitGroup
		for range 1 + rand.IntN(8) {
			load.Go(func() {
				time.Sleep(time.Duration(rand.IntN(10_000)) * time.Microsecond)
				c.submit(ctx, s.url)
			})
		}
		// Some are not even written down by then, and some are done.
		time.Sleep(time.Duration(rand.IntN([]int{10, 30, 100, 200}[rand.IntN(4)])) * time.Millisecond)
		s.kill()
		killed = time.Now()
		cancel()
		load.Wait()
		o.held.Store(nil)
		close(hold)
		c.client.CloseIdleConnections()
		left = c.acked[before:]
	}

	// At last all that was ever acknowledged is there, as it was at its end, and nothing else waits for ever.
	s := startServer(t, binary, dir, origin.URL)
	defer s.kill()
	check(t.Context(), s.url)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, j := range c.acked {
		var rec purge.Record
		if status, err := c.call(ctx, http.MethodGet, s.url+"/-/api/v1/purges/"+j.id, "", &rec); err != nil || status != http.StatusOK {
			t.Fatalf("job %s: %d, %v", j.id, status, err)
		}
		c.judge(j, rec)
	}
	unheard := 0 // in the log, and not acknowledged
	for cursor := ""; ; {
		var page struct {
			Purges []purge.Record
			Next   string
		}
		if status, err := c.call(ctx, http.MethodGet, s.url+"/-/api/v1/purges?limit=100&cursor="+cursor, "", &page); err != nil || status != http.StatusOK {
			t.Fatalf("list: %d, %v", status, err)
		}
		for _, rec := range page.Purges {
			for !rec.State.Final() && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
				if _, err := c.call(ctx, http.MethodGet, s.url+"/-/api/v1/purges/"+rec.ID, "", &rec); err != nil {
					t.Fatal(err)
				}
			}
			if rec.State != purge.Done {
				t.Errorf("job %s: %+v", rec.ID, rec)
			}
			if rec.Mode != purge.Followed { // what requests have found is in the log, too
				unheard++
			}
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	unheard -= len(c.acked)
	t.Logf("%d kills; %d jobs acknowledged, %d not answered, of which %d were in the log; last state saved before the kill %v; "+
		"%d images looked at after restarts, %d of them before their job was at its end", *jobKills, len(c.acked), c.refused, unheard, was, c.pictures, c.early)
	if len(c.acked) == 0 || unheard < 0 || len(was) == 0 {
		t.Error("the load did nothing")
	}
}
