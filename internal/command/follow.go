package command

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

// A follower follows jobs to their end, and shows how they go on.
//
// The stream of events tells of states as they are reached. What becomes of each path within a state, and whether the server is there at all,
// comes from looking at the job now and then, and whenever the stream begins. So nothing is missed in a cut: the stream goes
// on after the last event that was read, and a job that is looked at has the history of its states.
type follower struct {
	api         *apiClient
	screen      *screen
	watch, json bool
	silence     time.Duration // how long the server may not answer before the follower gives up

	rec    purge.Record         // as it was last known
	states map[purge.State]bool // that were shown, of the attempt
	state  purge.State          // the last of them
	since  time.Time            // when it was first seen here
	told   string               // the last line of progress, where there is no terminal
	when   time.Time            // of told
}

// follow follows a job to its end, and shows what became of it. An error is why it could not be followed.
func (f *follower) follow(ctx context.Context, rec purge.Record) (purge.Record, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	f.rec, f.states, f.told, f.when = rec, make(map[purge.State]bool), "", time.Now()
	f.show()
	news := make(chan purge.Record)
	look := make(chan bool, 1) // when the stream begins
	streamed := make(chan struct{})
	go func() {
		defer close(streamed)
		f.stream(ctx, news, look)
	}()
	defer func() { stop(); <-streamed }()

	heard := time.Now()
	t := time.NewTicker(f.pause())
	defer t.Stop()
	for !f.rec.State.Final() {
		select {
		case <-ctx.Done():
			f.screen.end()
			return f.rec, ctx.Err()
		case rec := <-news:
			heard = time.Now()
			f.take(rec)
			continue
		case <-look:
		case <-t.C:
		}
		rec, err := f.api.call(ctx, http.MethodGet, f.rec.ID, nil)
		refusal, _ := errors.AsType[*apiError](err)
		switch {
		case err == nil:
			heard = time.Now()
			f.take(rec)
		case ctx.Err() != nil:
		case refusal != nil && !refusal.passes():
			f.screen.end()
			return f.rec, fmt.Errorf("purge %s: %w", f.rec.ID, err)
		case time.Since(heard) > f.silence:
			f.screen.end()
			return f.rec, fmt.Errorf("purge %s is in force, and the server has not told of it for %v: %w; imagecdn purge -follow %[1]s goes on",
				f.rec.ID, time.Since(heard).Round(time.Second), err)
		default:
			f.screen.show(fmt.Sprintf("%-17sno answer, trying again: %v", f.rec.State, err))
		}
		t.Reset(f.pause())
	}
	f.finish()
	return f.rec, nil
}

// pause is how long the job is left alone between looks: the longer, the more there is to look at.
func (f *follower) pause() time.Duration {
	if !f.watch {
		return time.Second
	}
	return min(250*time.Millisecond+time.Duration(len(f.rec.Paths))*time.Millisecond, 2*time.Second)
}

// stream sends the job of every event that is about it, and connects again when it is cut off, until ctx ends.
func (f *follower) stream(ctx context.Context, news chan<- purge.Record, look chan<- bool) {
	id := f.rec.ID
	last := "" // the ID of the last event
	const first, most = 200 * time.Millisecond, 10 * time.Second
	for wait := first; ; {
		err := f.read(ctx, id, &last, news, func() {
			wait = first
			select {
			case look <- true:
			default:
			}
		})
		if refusal, _ := errors.AsType[*apiError](err); ctx.Err() != nil || refusal != nil && !refusal.passes() {
			return // by looking at the job, its end is seen all the same
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(wait*2, most)
	}
}

// read reads one stream of events, until it is cut off. Last is the ID of the last event, which it goes on after.
func (f *follower) read(ctx context.Context, id string, last *string, news chan<- purge.Record, begun func()) error {
	// The server shows that it lives every 15 s.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	alive := time.AfterFunc(45*time.Second, cancel)
	defer alive.Stop()
	req, err := f.api.request(ctx, http.MethodGet, "events", nil)
	if err != nil {
		return err
	}
	if *last != "" {
		req.Header.Set("Last-Event-ID", *last)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16)) // what there is of it says enough
		return f.api.refusal(resp, answer)
	}
	if kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";"); strings.TrimSpace(kind) != "text/event-stream" {
		return &apiError{status: http.StatusNotFound, message: "no stream of events"}
	}
	lines := bufio.NewReader(resp.Body)
	var event string
	for begin := true; ; begin = false {
		line, err := readLine(lines, maxAnswer)
		if err != nil {
			return err
		}
		alive.Reset(45 * time.Second)
		if begin {
			begun() // with its first line the server says that from here on no event is missed
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "id":
			event = string(value)
		case "data":
			if !strings.HasPrefix(event, id+".") {
				continue // another job's
			}
			var e purge.Event
			if err := json.Unmarshal(value, &e); err != nil {
				return err
			}
			select {
			case news <- e.Record:
			case <-ctx.Done():
				return ctx.Err()
			}
		case "":
			if len(line) == 0 && event != "" {
				*last, event = event, ""
			}
		}
	}
}

// readLine reads a line of at most so many bytes, without its end.
func readLine(r *bufio.Reader, most int) (line []byte, err error) {
	for {
		part, more, err := r.ReadLine()
		if err != nil {
			return nil, err
		}
		if line = append(line, part...); len(line) > most {
			return nil, errors.New("an event is too long")
		}
		if !more {
			return line, nil
		}
	}
}

// take takes what is known of the job now, and shows it, unless more was known before: an event tells of when it came about.
func (f *follower) take(rec purge.Record) {
	if known(rec).before(known(f.rec)) {
		return
	}
	f.rec = rec
	f.show()
}

// A moment orders what is known of a job.
type moment struct{ attempt, states, paths, items int }

func known(r purge.Record) moment {
	m := moment{attempt: r.Attempt}
	for _, h := range r.History {
		if h.Attempt == r.Attempt {
			m.states++
		}
	}
	m.paths, _ = pathsDone(r)
	m.items, _ = itemsDone(r)
	return m
}

func (m moment) before(n moment) bool {
	for _, p := range [][2]int{{m.attempt, n.attempt}, {m.states, n.states}, {m.paths, n.paths}, {m.items, n.items}} {
		if p[0] != p[1] {
			return p[0] < p[1]
		}
	}
	return false
}

// pathsDone counts the paths that are at their end, and of those the ones that failed.
func pathsDone(r purge.Record) (done, failed int) {
	for _, p := range r.Paths {
		switch {
		case p.State == purge.Done:
			done++
		case p.State.Final():
			done, failed = done+1, failed+1
		}
	}
	return done, failed
}

// itemsDone counts what CDNs were told, and of that what is at its end.
func itemsDone(r purge.Record) (done, all int) {
	for _, c := range r.CDNs {
		done, all = done+c.Purged, all+c.Items
	}
	return done, all
}

// show shows the states that were reached since it was last called, and how the present one goes on.
func (f *follower) show() {
	now := time.Now()
	reached := false
	for _, h := range f.rec.History {
		if h.Attempt != f.rec.Attempt || f.states[h.State] {
			continue
		}
		switch {
		case f.json:
		case !f.watch || !f.screen.live():
			f.screen.say("%s %s", f.rec.ID, h.State)
		case len(f.states) == 0:
			f.screen.say("%s", f.rec.ID)
		default:
			f.screen.show(f.progress()) // of the state that it leaves, as it was left
			f.screen.end()
		}
		f.states[h.State] = true
		f.state, f.since, reached = h.State, now, true
	}
	if f.json && f.watch && reached {
		f.print()
	}
	if f.json || !f.watch {
		return
	}
	line := f.progress()
	if f.screen.live() {
		f.screen.show(line)
		return
	}
	if done := strings.TrimSpace(strings.TrimPrefix(line, string(f.state))); done != "" && done != f.told && now.Sub(f.when) >= 5*time.Second {
		f.told, f.when = done, now
		f.screen.say("%s %s %s", f.rec.ID, f.state, done)
	}
}

// progress is the line of the state.
func (f *follower) progress() string {
	line := fmt.Sprintf("%-17s", f.state)
	switch f.state {
	case purge.FlushingServers:
		done, failed := pathsDone(f.rec)
		line += fmt.Sprintf("%s %d of %d paths", bar(done, len(f.rec.Paths)), done, len(f.rec.Paths))
		if failed > 0 {
			line += fmt.Sprintf(", %d failed", failed)
		}
	case purge.FlushingCDN:
		if len(f.rec.CDNs) == 0 {
			return line + "no CDN"
		}
		done, all := itemsDone(f.rec)
		line += bar(done, all)
		for i, c := range f.rec.CDNs {
			if i > 0 {
				line += ","
			}
			line += " " + cdnProgress(c)
		}
	}
	if since := time.Since(f.since); f.screen.live() && !f.state.Final() && since >= time.Second {
		line += fmt.Sprintf(" (%v)", since.Round(time.Second))
	}
	return line
}

// cdnProgress is how far a CDN has come: "fastly 3 of 9", "fastly confirmed".
func cdnProgress(c purge.CDNResult) string {
	switch {
	case c.State == purge.Error:
		return c.Name + " failed"
	case c.State == purge.Done:
		return c.Name + " " + string(c.Outcome)
	case c.Outcome != "":
		return fmt.Sprintf("%s %s, %d of %d", c.Name, c.Outcome, c.Purged, c.Items)
	}
	return fmt.Sprintf("%s %d of %d", c.Name, c.Purged, c.Items)
}

func (f *follower) print() {
	b, err := json.Marshal(f.rec)
	if err != nil {
		f.screen.complain("imagecdn: %v", err)
		return
	}
	f.screen.say("%s", b)
}

// finish shows what became of the job.
func (f *follower) finish() {
	f.screen.end()
	r := f.rec
	switch {
	case f.json && !f.watch:
		f.print()
	case f.json:
	case f.watch:
		outcomes, sum := make(map[purge.Outcome]int), purge.PathResult{}
		for _, p := range r.Paths {
			outcomes[p.Outcome]++
			sum.Originals, sum.Derivatives = sum.Originals+p.Originals, sum.Derivatives+p.Derivatives
			sum.Composites, sum.Bytes = sum.Composites+p.Composites, sum.Bytes+p.Bytes
		}
		line := ""
		for _, o := range []purge.Outcome{
			purge.Removed, purge.Absent, purge.Unchanged, purge.Changed, purge.Gone, purge.Staled, purge.Marked, purge.Failed,
		} {
			if outcomes[o] > 0 {
				line += fmt.Sprintf("%d %s, ", outcomes[o], o)
			}
		}
		f.screen.say("%soriginals %d, derivatives %d, composites %d, bytes %d", line, sum.Originals, sum.Derivatives, sum.Composites, sum.Bytes)
	default:
		for _, p := range r.Paths {
			if p.State == purge.Done {
				f.screen.say("%-10s %s: originals %d, derivatives %d, composites %d, bytes %d", p.Outcome, p.Path, p.Originals, p.Derivatives, p.Composites, p.Bytes)
			}
		}
	}
	for _, c := range r.CDNs {
		if c.State == purge.Done && !f.json {
			f.screen.say("%-10s %s: %d of %d", c.Outcome, c.Name, c.Purged, c.Items)
		}
	}
	for _, p := range r.Paths {
		if p.State != purge.Done {
			f.screen.complain("failed     %s: %s", p.Path, p.Reason)
		}
	}
	for _, c := range r.CDNs {
		if c.State == purge.Done {
			continue
		}
		if len(c.Failed) == 0 {
			f.screen.complain("failed     %s: %s", c.Name, c.Reason)
		}
		for _, part := range c.Failed {
			for _, path := range part.Paths {
				f.screen.complain("failed     %s %s: %s", c.Name, path, part.Reason)
			}
		}
	}
}
