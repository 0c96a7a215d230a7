package cdn

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

// Calls are counted by kind and result, with those that ask for a confirmation; and all who watch are told of each, and of whose it is.
func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards what follows
		n, asked := 0, 0
		var told, watched []CallInfo
		c := &confirmer{}
		c.features = Features{Forms: map[Kind]Form{Tag: {MaxItems: 2}, All: {}}}
		c.answer = func(b Batch) (Receipt, error) {
			mu.Lock()
			defer mu.Unlock()
			switch n++; n {
			case 1:
				return Receipt{}, &Error{Status: 429, Temporary: true}
			case 2:
				return Receipt{}, &Error{Status: 503, Temporary: true}
			case 3:
				return Receipt{Failed: []Failure{{Value: b.Values[0], Reason: "no"}}}, nil
			}
			return Receipt{ID: b.ID}, nil
		}
		c.confirmed = func(Receipt) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			asked++
			return asked > 1, nil
		}
		es, err := New([]Ring{{{Name: "edge", CDN: c}}}, &Options{OnCall: func(i CallInfo) { mu.Lock(); defer mu.Unlock(); told = append(told, i) }})
		if err != nil {
			t.Fatal(err)
		}
		stop := es.Watch(func(i CallInfo) { mu.Lock(); defer mu.Unlock(); watched = append(watched, i) })
		flush := func(id string, names ...string) {
			es.Flush(context.Background(), purge.Flush{ID: id, Scope: purge.Original, Mode: purge.Delete, Parts: map[string][]string{"edge": names}}, func(purge.CDNResult) {})
		}
		done := make(chan struct{})
		go func() { flush("job-1", "/a/1", "/a/2", "/a/3"); close(done) }()
		time.Sleep(100 * time.Millisecond) // the first call is refused for a while
		s := es.Stats()[0]
		if s.CDN != "edge" || s.Waiting != 3 || s.Calling != 0 || s.Failing <= 0 || s.Failing > time.Second {
			t.Errorf("after the first call: %+v", s)
		}
		<-done
		stop()
		flush("job-2", "/a/9")
		s = es.Stats()[0]
		for k, want := range map[CallKind]int64{
			{Tag, Limited}: 1, {Tag, Failed}: 1, {Tag, Partial}: 1, {Tag, OK}: 2, {Tag, Refused}: 0, {All, OK}: 0,
			{Confirm, OK}: int64(asked), {Confirm, Failed}: 0,
		} {
			if got, there := s.Calls[k]; got != want || !there {
				t.Errorf("%v: %d, there %t, want %d", k, got, there, want)
			}
		}
		if s.Values[Tag] != 3 || s.Waiting != 0 || s.Unconfirmed != 0 || s.Failing != 0 {
			t.Errorf("at the end: %+v", s)
		}
		if d := s.Durations[Tag]; d.Count() != 5 || d.Sum != 5*50*time.Millisecond {
			t.Errorf("%d calls of %v", d.Count(), d.Sum)
		}
		if len(told) != 5 || len(watched) != 4 {
			t.Errorf("told of %d calls, watched %d, want 5 and 4", len(told), len(watched))
		}
		for i, call := range told {
			want := []string{"job-1"}
			if i == 4 {
				want = []string{"job-2"}
			}
			if !slices.Equal(call.Jobs, want) {
				t.Errorf("call %d was for %v, want %v", i, call.Jobs, want)
			}
		}
	})
}
