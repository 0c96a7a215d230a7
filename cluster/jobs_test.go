package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/purgetest"
)

func newTestJobs(t *testing.T, e *engine, o jobsOptions) *jobs {
	t.Helper()
	o.Prefix, o.Logger = "cdn", quiet()
	l, err := newJobs(within(t), e.connect(), o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestSharedLog(t *testing.T) {
	purgetest.TestSharedLog(t, func(t *testing.T) purgetest.Opener {
		e := startEngine(t)
		open := make(map[string]*jobs)
		t.Cleanup(func() {
			for _, l := range open {
				l.Close()
			}
		})
		return func(node string) purge.SharedLog {
			if l := open[node]; l != nil {
				delete(open, node)
				l.Close()
			}
			open[node] = newTestJobs(t, e, jobsOptions{Self: node, Every: 100 * time.Millisecond})
			return open[node]
		}
	})
}

func jobID(n int) string { return fmt.Sprintf("0198c1d2-0000-7000-8000-%012x", n) }

func job(n int, data string, final bool) purge.LogEntry {
	return purge.LogEntry{ID: jobID(n), Data: []byte(data), Final: final}
}

// inLog returns a job as a log has it, if it has it.
func inLog(t *testing.T, l *jobs, n int) purge.LogEntry {
	t.Helper()
	for e, err := range l.Entries("") {
		if err != nil {
			t.Fatal(err)
		}
		if e.ID == jobID(n) {
			return e
		}
	}
	return purge.LogEntry{}
}

func writeJob(t *testing.T, l *jobs, entries ...purge.LogEntry) {
	t.Helper()
	if err := l.Write(entries, nil); err != nil {
		t.Fatal(err)
	}
}

// inBucket returns what the bucket has of a job.
func inBucket(t *testing.T, kv jetstream.KeyValue, n int) string {
	t.Helper()
	there, err := kv.Get(within(t), jobKey(jobID(n)))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return "nothing"
	}
	if err != nil {
		t.Fatal(err)
	}
	_, body, err := parseJob(there.Value())
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func ids(t *testing.T, l *jobs) (ids []string) {
	t.Helper()
	for e, err := range l.Entries("") {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID)
	}
	return ids
}

func TestProgressIsWrittenBehindAndAllElseAtOnce(t *testing.T) {
	e := startEngine(t)
	l := newTestJobs(t, e, jobsOptions{Self: "a", Every: time.Hour})
	kv := e.kv("cdn_jobs")
	for _, tt := range []struct {
		data  string
		final bool
		want  string // in the bucket then
	}{
		{"intent", false, "intent"},
		{"accepted", false, "accepted"},
		{"progress", false, "accepted"},
		{"more progress", false, "accepted"},
		{"the end", true, "the end"},
		{"accepted again", false, "accepted again"},
		{"and again", false, "and again"},
		{"progress again", false, "and again"},
		{"another end", true, "another end"},
		{"a retry", false, "a retry"},
	} {
		writeJob(t, l, job(1, tt.data, tt.final))
		if got := inBucket(t, kv, 1); got != tt.want {
			t.Errorf("after %q the bucket has %q", tt.data, got)
		}
		for e, err := range l.Entries("") {
			if err != nil || string(e.Data) != tt.data {
				t.Errorf("after %q the log has %q, %v", tt.data, e.Data, err)
			}
		}
		if unfinished := len(slices.Collect(l.Unfinished())) == 1; unfinished == tt.final {
			t.Errorf("after %q it is unfinished: %t", tt.data, unfinished)
		}
	}
	writeJob(t, l, job(1, "x", false))
	writeJob(t, l, job(1, "the last before the log is closed", false))
	l.Close()
	if got := inBucket(t, kv, 1); got != "the last before the log is closed" {
		t.Errorf("closed, the bucket has %q", got)
	}
	if s := l.Stats(); s.Coalesced != 3 || s.Writes != 9 {
		t.Errorf("%+v", s)
	}
}

func TestProgressOfAJobThatAnotherHasTakenIsDropped(t *testing.T) {
	e := startEngine(t)
	a := newTestJobs(t, e, jobsOptions{Self: "a", Every: time.Hour})
	defer a.Close()
	b := newTestJobs(t, e, jobsOptions{Self: "b", Every: time.Hour})
	defer b.Close()
	writeJob(t, a, job(1, "intent", false))
	writeJob(t, a, job(1, "accepted", false))
	var taken purge.LogEntry
	eventually(t, "b knows it", func() bool {
		taken = inLog(t, b, 1)
		return string(taken.Data) == "accepted"
	})
	if err := b.Take(taken); err != nil {
		t.Fatal(err)
	}
	if err := a.Write([]purge.LogEntry{job(1, "progress", false)}, nil); err != nil && !errors.Is(err, purge.ErrNotOwner) {
		t.Fatal(err)
	}
	eventually(t, "a knows that it is b's", func() bool {
		return errors.Is(a.Write([]purge.LogEntry{job(1, "more", false)}, nil), purge.ErrNotOwner)
	})
	a.flush(within(t))
	if err := a.Write([]purge.LogEntry{job(1, "end", true)}, nil); !errors.Is(err, purge.ErrNotOwner) {
		t.Errorf("a ends it: %v", err)
	}
	if got := inBucket(t, e.kv("cdn_jobs"), 1); got != "accepted" {
		t.Errorf("the bucket has %q", got)
	}
	writeJob(t, b, job(1, "b's acceptance", false)) // at once, as the first of a new owner
	if got := inBucket(t, e.kv("cdn_jobs"), 1); got != "b's acceptance" {
		t.Errorf("the bucket has %q", got)
	}
}

func TestAWriteBehindIsRefusedByARevisionThatWasNotHeardOf(t *testing.T) {
	e := startEngine(t)
	a := newTestJobs(t, e, jobsOptions{Self: "a", Every: time.Hour})
	defer a.Close()
	writeJob(t, a, job(1, "intent", false))
	writeJob(t, a, job(1, "accepted", false))
	// As if the watch were late: the job is b's in the bucket, and nobody has told a.
	it := a.lock(jobID(1))
	value := []byte(`{"format":1,"owner":"b"}` + "\naccepted")
	if _, err := e.kv("cdn_jobs").Put(within(t), jobKey(jobID(1)), value); err != nil {
		t.Fatal(err)
	}
	err := a.put(within(t), it, []byte("progress"), false)
	it.turn.Unlock()
	if !errors.Is(err, purge.ErrNotOwner) {
		t.Errorf("the error is %v", err)
	}
	if got := inBucket(t, e.kv("cdn_jobs"), 1); got != "accepted" {
		t.Errorf("the bucket has %q", got)
	}
}

func TestAWriteThatWasNotKnownToHaveSucceededIsWrittenOver(t *testing.T) {
	e := startEngine(t)
	a := newTestJobs(t, e, jobsOptions{Self: "a"})
	defer a.Close()
	writeJob(t, a, job(1, "intent", false))
	value := []byte(`{"format":1,"owner":"a"}` + "\nlost acknowledgement")
	if _, err := e.kv("cdn_jobs").Put(within(t), jobKey(jobID(1)), value); err != nil {
		t.Fatal(err)
	}
	writeJob(t, a, job(1, "end", true))
	if got := inBucket(t, e.kv("cdn_jobs"), 1); got != "end" {
		t.Errorf("the bucket has %q", got)
	}
}

func TestLargeRecordsAreKeptInPartsAndTheirPartsGoWithThem(t *testing.T) {
	e := startEngine(t)
	a := newTestJobs(t, e, jobsOptions{Self: "a"})
	defer a.Close()
	b := newTestJobs(t, e, jobsOptions{Self: "b"})
	defer b.Close()
	kv := e.kv("cdn_jobs")
	large := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{}).Read(large)
	parts := func() int {
		w, err := kv.Watch(within(t), "p.>", jetstream.IgnoreDeletes(), jetstream.MetaOnly())
		if err != nil {
			t.Fatal(err)
		}
		defer stopWatch(w)
		n := 0
		for part := range w.Updates() {
			if part == nil {
				break
			}
			n++
		}
		return n
	}
	var seen purge.LogEntry
	writeJob(t, a, job(1, string(large), false))
	eventually(t, "b knows it", func() bool {
		seen = inLog(t, b, 1)
		return bytes.Equal(seen.Data, large)
	})
	if got := parts(); got != 6 {
		t.Errorf("%d parts", got)
	}
	if err := b.Take(seen); err != nil {
		t.Fatal(err)
	}
	large[0]++
	writeJob(t, b, job(1, string(large), true))
	eventually(t, "the parts of before are gone", func() bool { return parts() == 6 })
	for e, err := range b.Entries("") {
		if err != nil || !bytes.Equal(e.Data, large) {
			t.Errorf("%d bytes, %v", len(e.Data), err)
		}
	}
	if err := b.Write(nil, []string{jobID(1)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all parts are gone", func() bool { return parts() == 0 })
	if err := b.Write([]purge.LogEntry{job(2, strings.Repeat("x", maxJobData+1), true)}, nil); err == nil {
		t.Error("too large, and taken")
	}
}

func TestTheOldestJobsThatAreAtTheirEndGo(t *testing.T) {
	e := startEngine(t)
	a := newTestJobs(t, e, jobsOptions{Self: "a", Max: 10})
	defer a.Close()
	b := newTestJobs(t, e, jobsOptions{Self: "b", Max: 10})
	defer b.Close()
	writeJob(t, a, job(0, "unfinished", false))
	for n := 1; n < 20; n++ {
		writeJob(t, []*jobs{a, b}[n%2], job(n, "x", true))
	}
	want := []string{}
	for n := 19; n > 10; n-- {
		want = append(want, jobID(n))
	}
	want = append(want, jobID(0))
	for _, l := range []*jobs{a, b} {
		eventually(t, "the rest is within bounds", func() bool { return slices.Equal(ids(t, l), want) })
	}
	eventually(t, "one of them counted", func() bool { return a.Stats().Trimmed+b.Stats().Trimmed >= 10 })

	small := newTestJobs(t, e, jobsOptions{Self: "c", MaxBytes: 1})
	defer small.Close()
	eventually(t, "what is too much when it is opened goes", func() bool { return slices.Equal(ids(t, small), []string{jobID(0)}) })
}

func TestTheLogGoesOnWhenTheEngineIsBack(t *testing.T) {
	t.Parallel()
	e := startEngine(t)
	a := newTestJobs(t, e, jobsOptions{Self: "a", Every: 50 * time.Millisecond, Timeout: time.Second})
	defer a.Close()
	b := newTestJobs(t, e, jobsOptions{Self: "b"})
	defer b.Close()
	writeJob(t, a, job(1, "intent", false))
	writeJob(t, a, job(1, "accepted", false))
	writeJob(t, a, job(2, "x", true))
	e.stop()
	writeJob(t, a, job(1, "progress", false)) // waits
	began := time.Now()
	if err := a.Write([]purge.LogEntry{job(3, "x", false)}, nil); err == nil {
		t.Error("written to nothing")
	}
	if d := time.Since(began); d > 15*time.Second {
		t.Errorf("that took %v", d)
	}
	e.start()
	kv := e.kv("cdn_jobs")
	eventually(t, "the progress is written", func() bool { return inBucket(t, kv, 1) == "progress" })
	eventually(t, "b hears of it", func() bool { return string(inLog(t, b, 1).Data) == "progress" })
	eventually(t, "a can write again", func() bool { return a.Write([]purge.LogEntry{job(4, "y", true)}, nil) == nil })
	eventually(t, "b has all", func() bool { return slices.Contains(ids(t, b), jobID(4)) })
}

func TestAnIndexThatIsReadAnewForgetsWhatIsGone(t *testing.T) {
	e := startEngine(t)
	a := newTestJobs(t, e, jobsOptions{Self: "a"})
	defer a.Close()
	for n := range 3 {
		writeJob(t, a, job(n, "x", true))
	}
	// As if nobody had heard that 1 was removed: read anew, it was not seen.
	eventually(t, "the watch has told of all", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return !slices.ContainsFunc(a.items, func(it *jobItem) bool { return it.told != it.rev })
	})
	a.complete(map[string]struct{}{jobKey(jobID(0)): {}, jobKey(jobID(2)): {}}, a.newest)
	if got := ids(t, a); !slices.Equal(got, []string{jobID(2), jobID(0)}) {
		t.Errorf("the log has %q", got)
	}
	if err := a.Write([]purge.LogEntry{job(1, "y", true)}, nil); !errors.Is(err, purge.ErrNotOwner) {
		t.Errorf("what another has removed is written again: %v", err)
	}
}

func TestJobsThatCannotBeReadAreNotLeftOut(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"a later format", `{"format":2,"owner":"b"}` + "\nx", "has format 2, and this program knows 1 alone"},
		{"no head", "x", "is damaged"},
		{"parts that are not there", `{"format":1,"owner":"b","final":true,"word":"x","parts":1,"size":3}` + "\n", "is not all there"},
		{"data that is not packed", `{"format":1,"owner":"b","packed":true}` + "\nxyz", "is damaged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := startEngine(t)
			newTestJobs(t, e, jobsOptions{Self: "a"}).Close()
			if _, err := e.kv("cdn_jobs").Put(within(t), jobKey(jobID(1)), []byte(tt.value)); err != nil {
				t.Fatal(err)
			}
			a := newTestJobs(t, e, jobsOptions{Self: "a"})
			defer a.Close()
			var last error
			for _, err := range a.Entries("") {
				last = err
			}
			if want := fmt.Sprintf("job %q %s", jobID(1), tt.want); last == nil || last.Error() != want {
				t.Errorf("the error is %v, want %s", last, want)
			}
			if err := a.Write([]purge.LogEntry{job(1, "x", true)}, nil); !errors.Is(err, purge.ErrNotOwner) {
				t.Errorf("written over: %v", err)
			}
		})
	}
}

func TestIDsThatAreNoKeysAreRefused(t *testing.T) {
	e := startEngine(t)
	a := newTestJobs(t, e, jobsOptions{Self: "a"})
	defer a.Close()
	for _, id := range []string{"", "a.b", "*", "a b", ">", strings.Repeat("x", 65)} {
		if err := a.Write([]purge.LogEntry{{ID: id}}, nil); err == nil {
			t.Errorf("%q is taken", id)
		}
		if err := a.Write(nil, []string{id}); err != nil {
			t.Errorf("%q is not dropped: %v", id, err)
		}
		if err := a.Take(purge.LogEntry{ID: id}); err == nil {
			t.Errorf("%q is this node's now", id)
		}
	}
}

func TestChangesAreBoundedAndTheLatestIsKept(t *testing.T) {
	c := newChanges(time.Hour)
	large := fakeUpdate{value: make([]byte, maxChangeBytes/2+1)}
	c.add("a", large, true)
	c.add("b", large, true) // beyond what is kept: to be read
	c.add("a", fakeUpdate{value: []byte("latest")}, true)
	c.add("c", large, true)
	for _, want := range []struct {
		id   string
		size int
	}{{"a", 6}, {"b", -1}, {"c", len(large.value)}} {
		id, there, ok, _ := c.take()
		size := -1
		if there != nil {
			size = len(there.Value())
		}
		if !ok || id != want.id || size != want.size {
			t.Errorf("took %q of %d bytes, want %+v", id, size, want)
		}
	}
	if _, _, ok, after := c.take(); ok || after != 0 || c.bytes != 0 {
		t.Errorf("%d bytes are left", c.bytes)
	}
}

// What is not at its end is told of a while later, unless its end comes first.
func TestChangesThatHaveNoEndYetWait(t *testing.T) {
	c := newChanges(time.Hour)
	for _, id := range []string{"a", "b"} {
		c.add(id, fakeUpdate{value: []byte("accepted")}, false)
	}
	c.add("a", fakeUpdate{value: []byte("done")}, true)
	if id, there, ok, _ := c.take(); !ok || id != "a" || string(there.Value()) != "done" {
		t.Errorf("took %q, %v", id, ok)
	}
	if _, _, ok, after := c.take(); ok || after <= 0 || after > time.Hour {
		t.Errorf("the next is due after %v, %v", after, ok)
	}
	for i := range c.young {
		c.young[i].due = time.Now()
	}
	if id, there, ok, _ := c.take(); !ok || id != "b" || string(there.Value()) != "accepted" {
		t.Errorf("took %q, %v", id, ok)
	}
	if _, _, ok, after := c.take(); ok || after != 0 || c.bytes != 0 || len(c.young) != 0 {
		t.Errorf("%d bytes and %d are left", c.bytes, len(c.young))
	}
}

func FuzzJob(f *testing.F) {
	f.Add([]byte(`{"format":1,"owner":"a","final":true,"packed":true}` + "\nxyz"))
	f.Add([]byte(`{"format":1,"owner":"a","word":"x","parts":2,"size":3}` + "\n"))
	f.Add([]byte(`{"format":2}` + "\n"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, value []byte) {
		head, body, err := parseJob(value)
		if err != nil {
			if head != (jobHead{}) {
				t.Errorf("%+v, %v", head, err)
			}
			return
		}
		if head.Owner == "" || head.Parts > 0 && (len(body) > 0 || int64(head.Parts) > head.Size || !isKeyToken(head.Word)) || head.Parts == 0 && head.Size != 0 {
			t.Errorf("%+v and %d bytes", head, len(body))
		}
	})
}
