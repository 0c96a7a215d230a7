package command

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

// seen is what a terminal shows that was written to: it knows carriage returns and line feeds, as a screen writes no more.
func seen(t *testing.T, written string, columns int) string {
	t.Helper()
	var lines []string
	line, at := []rune{}, 0
	for _, r := range written {
		switch {
		case r == '\r':
			at = 0
		case r == '\n':
			lines = append(lines, strings.TrimRight(string(line), " "))
			line, at = nil, 0
		case r < ' ':
			t.Fatalf("%q has a control character", written)
		default:
			if at == len(line) {
				line = append(line, r)
			} else {
				line[at] = r
			}
			if at++; at > columns {
				t.Fatalf("%q is wider than %d columns", string(line), columns)
			}
		}
	}
	return strings.Join(append(lines, strings.TrimRight(string(line), " ")), "\n")
}

func TestScreen(t *testing.T) {
	var both bytes.Buffer
	s := newScreen(&both, &both)
	s.show("nothing, as a buffer is no terminal")
	if both.Len() > 0 || s.live() {
		t.Errorf("%q", both.String())
	}
	s.columns = func() int { return 20 }
	s.show("a line")
	s.show("a line that is far too long for it")
	s.show("short")
	s.complain("file\x1b[2J: failed")
	s.show("shown again")
	s.end()
	s.end()
	s.show("the last")
	if got, want := seen(t, both.String(), 80), "file\uFFFD[2J: failed\nshown again\nthe last"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestBar(t *testing.T) {
	for _, tt := range []struct {
		done, of, filled int
	}{{0, 0, 0}, {0, 7, 0}, {1, 1000, 0}, {999, 1000, 19}, {5, 10, 10}, {7, 7, 20}, {9, 7, 20}, {-1, 7, 0}} {
		if got := bar(tt.done, tt.of); strings.Count(got, "#") != tt.filled || len(got) != 22 {
			t.Errorf("%d of %d is %s", tt.done, tt.of, got)
		}
	}
}

// A terminal has one line for each state, which says how far it is while it lasts, and how it was left after.
func TestWatchOnATerminal(t *testing.T) {
	var out bytes.Buffer
	f := &follower{screen: newScreen(&out, &out), watch: true, states: make(map[purge.State]bool)}
	f.screen.columns = func() int { return 100 }
	path := func(state purge.State) purge.PathResult { return purge.PathResult{Path: "/photos/x", State: state} }
	cdn := func(name string, state purge.State, outcome purge.CDNOutcome, purged int) purge.CDNResult {
		return purge.CDNResult{Name: name, State: state, Outcome: outcome, Items: 4, Purged: purged}
	}
	for _, tt := range []struct {
		states []purge.State
		paths  []purge.PathResult
		cdns   []purge.CDNResult
		want   string // the last line
	}{
		{[]purge.State{purge.Received}, nil, nil, "received"},
		{[]purge.State{purge.Received, purge.FlushingServers}, []purge.PathResult{path(purge.Done), path(purge.FlushingServers)}, nil,
			"flushing_servers [##########----------] 1 of 2 paths"},
		{[]purge.State{purge.Received, purge.FlushingServers}, []purge.PathResult{path(purge.Done), path(purge.Error)}, nil,
			"flushing_servers [####################] 2 of 2 paths, 1 failed"},
		{[]purge.State{purge.Received, purge.FlushingServers, purge.FlushingCDN}, []purge.PathResult{path(purge.Done), path(purge.Error)},
			[]purge.CDNResult{cdn("a", purge.FlushingCDN, "", 1), cdn("b", purge.FlushingCDN, purge.Accepted, 3)},
			"flushing_cdn     [##########----------] a 1 of 4, b accepted, 3 of 4"},
		{[]purge.State{purge.Received, purge.FlushingServers, purge.FlushingCDN}, []purge.PathResult{path(purge.Done), path(purge.Error)},
			[]purge.CDNResult{cdn("a", purge.Done, purge.Verified, 4), cdn("b", purge.Error, purge.Accepted, 4)},
			"flushing_cdn     [####################] a verified, b failed"},
	} {
		rec := job(tt.states...)
		rec.Paths, rec.CDNs = tt.paths, tt.cdns
		f.take(rec)
		lines := strings.Split(seen(t, out.String(), 100), "\n")
		if got := lines[len(lines)-1]; got != tt.want {
			t.Errorf("%v: %q, want %q", tt.states, got, tt.want)
		}
	}
	f.take(job(purge.Received, purge.FlushingServers)) // an event that comes late
	f.since = f.since.Add(-3 * time.Second)
	f.show()
	want := "0198c1d2\nreceived\nflushing_servers [####################] 2 of 2 paths, 1 failed\nflushing_cdn     [####################] a verified, b failed (3s)"
	if got := seen(t, out.String(), 100); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
