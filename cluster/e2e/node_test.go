//go:build unix

package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

// A node is the real command, in one of its lives.
type node struct {
	name   string
	dir    string // of its cache
	binary string
	args   []string
	env    []string
	logs   string
	w      *witness
	url    atomic.Pointer[string]
	client *http.Client
	*process
}

var listening = regexp.MustCompile(`listening on (\S+)`)

// start starts the node, and returns when it serves.
func (n *node) start(t testing.TB) {
	t.Helper()
	n.begin(t)
	n.serves(t)
}

// begin starts it, and does not wait.
func (n *node) begin(t testing.TB) {
	t.Helper()
	if n.client == nil {
		n.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}, Timeout: 2 * time.Minute}
		t.Cleanup(n.client.CloseIdleConnections)
	}
	n.url.Store(nil)
	out := &lines{line: func(s string) {
		if m := listening.FindStringSubmatch(s); m != nil {
			n.url.Store(&m[1])
		}
	}}
	n.process = start(t, n.name, n.logs, out, n.env, append([]string{n.binary, "serve", "-listen", "127.0.0.1:0", "-cache", n.dir, "-api-key", "k"}, n.args...)...)
}

func (n *node) serves(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if n.url.Load() != nil && n.ready() {
			return
		}
		if n.wait(0) {
			t.Fatalf("%s has ended: %s", n.name, tail(n.log, 4000))
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not come up: %s", n.name, tail(n.log, 4000))
		}
	}
}

// ready reports whether the node says that it is.
func (n *node) ready() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	status, _, err := n.call(ctx, http.MethodGet, "/-/readyz", nil)
	return err == nil && status == http.StatusOK
}

var errNotUp = errors.New("the node is not up")

// call uses the API.
func (n *node) call(ctx context.Context, method, path string, body []byte) (status int, answer []byte, err error) {
	base := n.url.Load()
	if base == nil {
		return 0, nil, errNotUp
	}
	req, err := http.NewRequestWithContext(ctx, method, *base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer k")
	resp, err := n.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// A record is a job, as the API has it.
type record struct {
	ID      string             `json:"id"`
	State   purge.State        `json:"state"`
	Attempt int                `json:"attempt"`
	Paths   []purge.PathResult `json:"paths"`
	Nodes   []purge.NodeResult `json:"nodes"`
}

// submit asks for a purge. What is not acknowledged is an error.
func (n *node) submit(ctx context.Context, r purge.Request) (rec record, err error) {
	body, err := json.Marshal(r)
	if err != nil {
		return rec, err
	}
	status, answer, err := n.call(ctx, http.MethodPost, "/-/api/v1/purges", body)
	if err != nil {
		return rec, err
	}
	if status != http.StatusAccepted {
		return rec, &refused{status, string(answer)}
	}
	return rec, json.Unmarshal(answer, &rec)
}

type refused struct {
	status int
	answer string
}

func (e *refused) Error() string { return fmt.Sprintf("%d: %s", e.status, e.answer) }

// job is a job, as this node has it.
func (n *node) job(ctx context.Context, id string) (rec record, err error) {
	status, answer, err := n.call(ctx, http.MethodGet, "/-/api/v1/purges/"+id, nil)
	if err != nil {
		return rec, err
	}
	if status != http.StatusOK {
		return rec, &refused{status, string(answer)}
	}
	return rec, json.Unmarshal(answer, &rec)
}

// get asks for a picture of an image, w pixels wide. Only what was answered with a picture is a response: a node that is killed, or that has
// its reasons not to answer, shows nothing old.
func (n *node) get(ctx context.Context, image, width int) (*response, error) {
	base := n.url.Load()
	if base == nil {
		return nil, errNotUp
	}
	r := &response{node: n.name, image: image, url: fmt.Sprintf("%s?w=%d&fm=png", imagePath(image), width)}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, *base+r.url, nil)
	if err != nil {
		return nil, err
	}
	r.least, r.sent = n.w.leastFrom(n.name, image), time.Now()
	resp, err := n.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	r.status, r.cache, r.age = resp.StatusCode, resp.Header.Get("Cache-Status"), resp.Header.Get("Age")
	if r.status != http.StatusOK {
		return nil, &refused{r.status, string(body)}
	}
	m, err := png.Decode(bytes.NewReader(body))
	if err != nil {
		r.wrong = err.Error()
		return r, nil
	}
	p := color.NRGBAModel.Convert(m.At(2, 2)).(color.NRGBA)
	if p.R != uint8(image) {
		r.wrong = fmt.Sprintf("it is of image %d", p.R)
	}
	r.version = uint32(p.G)<<8 | uint32(p.B)
	n.w.note(image, "%s: version %d, %s, asked for at %.3f s", n.name, r.version, r.cache, r.sent.Sub(n.w.began).Seconds())
	return r, nil
}

// metric is the sum of a metric over its labels.
func (n *node) metric(t testing.TB, name string) (sum float64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	status, text, err := n.call(ctx, http.MethodGet, "/-/metrics", nil)
	if err != nil || status != http.StatusOK {
		t.Fatalf("metrics of %s: %d, %v", n.name, status, err)
	}
	found := false
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' ')+1:]), 64)
		if err != nil {
			t.Fatal(err)
		}
		found = true
		sum += v
	}
	if !found && !strings.Contains(string(text), "# TYPE "+cmp.Or(strings.TrimSuffix(name, "_count"), name)) {
		t.Fatalf("%s has no metric %s", n.name, name)
	}
	return sum
}

// renders is how many pictures the node has made.
func (n *node) renders(t testing.TB) int {
	return int(n.metric(t, "imagecdn_render_duration_seconds_count"))
}

// events calls seen with each event of a job that the node tells of, until ctx ends.
func (n *node) events(ctx context.Context, seen func(id string, state purge.State, at time.Time)) error {
	base := n.url.Load()
	if base == nil {
		return errNotUp
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, *base+"/-/api/v1/purges/events?view=summary", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer k")
	client := &http.Client{Transport: n.client.Transport}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("events: %s", resp.Status)
	}
	scan := bufio.NewScanner(resp.Body)
	scan.Buffer(nil, 16<<20)
	for scan.Scan() {
		data, ok := bytes.CutPrefix(scan.Bytes(), []byte("data: "))
		if !ok {
			continue
		}
		var e struct {
			ID    string      `json:"id"`
			State purge.State `json:"state"`
			Time  time.Time   `json:"time"` // by the clock of the node whose job it is, in milliseconds
		}
		if err := json.Unmarshal(data, &e); err != nil {
			return err
		}
		seen(e.ID, e.State, e.Time)
	}
	return scan.Err()
}
