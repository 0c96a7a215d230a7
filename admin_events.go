package imagecdn

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

// eventsBeat is how often a stream of events shows that it lives: often enough for proxies, which give up after a minute or so.
const eventsBeat = 15 * time.Second

// maxStreams is how many streams of events may be open: each is a connection and two goroutines.
const maxStreams = 1000

// events sends purge.Service.Events, until the client goes, its session ends, or the handler closes.
func (a *admin) events(w http.ResponseWriter, r *http.Request) {
	defer a.streams.Add(-1)
	if a.streams.Add(1) > maxStreams {
		w.Header().Set("Retry-After", "15")
		writeAPIError(w, http.StatusTooManyRequests, "busy", fmt.Sprintf("%d streams of events are open, the most that may", maxStreams), "")
		return
	}
	brief, err := wantsSummary(r)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	rc := http.NewResponseController(w)
	var writing sync.Mutex
	send := func(texts ...[]byte) {
		writing.Lock()
		defer writing.Unlock()
		_ = rc.SetWriteDeadline(time.Now().Add(2 * eventsBeat)) // where there is none, the server's own holds
		var err error
		for _, text := range texts {
			if err == nil {
				_, err = w.Write(text)
			}
		}
		if err = cmp.Or(err, rc.Flush()); err != nil {
			stop()
		}
	}
	var beat sync.WaitGroup
	defer beat.Wait()
	defer stop()
	hub, last := a.hub, r.Header.Get("Last-Event-ID")
	group, next := hub.join()
	defer hub.leave(group)
	send([]byte(": the states of purges\n\n"))
	beat.Go(func() {
		t := time.NewTicker(eventsBeat)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				if a.door.over(r) {
					stop()
					return
				}
				send([]byte(": more to come\n\n"))
			case <-ctx.Done():
				return
			}
		}
	})

	if last != "" {
		if n, held := hub.find(last); held {
			next = n + 1
		} else if next, last = a.catchUp(ctx, last, brief, send); next < 0 {
			return
		}
	}
	for ctx.Err() == nil {
		batch, news, ended := hub.from(group, next)
		switch {
		case batch == nil: // fallen behind
			if next, last = a.catchUp(ctx, last, brief, send); next < 0 {
				return
			}
		case len(batch) > 0:
			texts := make([][]byte, len(batch))
			for i, e := range batch {
				texts[i] = e.full()
				if brief {
					texts[i] = e.brief()
				}
			}
			send(texts...)
			next += len(batch)
			last = batch[len(batch)-1].id
		case ended:
			return
		default:
			select {
			case <-news:
			case <-ctx.Done():
			}
		}
	}
}

// catchUp sends the events after the one with that ID which the hub does not hold, and returns where in the hub the stream goes on: less
// than zero where it does not.
//
// It reads the service's own events until there is one that came about after the hub's end was looked at. That one and those after it
// are in the hub from there on: so none is left out, and some may come twice.
func (a *admin) catchUp(ctx context.Context, last string, brief bool, send func(...[]byte)) (next int, latest string) {
	now := time.Now()
	end := a.hub.end()
	for e, err := range a.h.purges.Events(ctx, last) {
		if err != nil {
			return -1, last
		}
		if n, held := a.hub.find(e.EventID()); e.Time.After(now) && (!held || n >= end) {
			return end, last
		}
		text := newHubEvent(e)
		if brief {
			send(text.brief())
		} else {
			send(text.full())
		}
		last = text.id
	}
	return -1, last
}

// A hub reads the events of all jobs once for all streams, and encodes each once. Those who watch cost whoever purges nothing but the
// hub's own reading, and the processor's time for their connections. So that a purge does not wait for that, streams are woken in small
// groups, one after the other, and every group wakeEvery at most.
type hub struct {
	service *purge.Service

	mu       sync.Mutex // guards what follows
	watchers int
	members  [wakeGroups]int           // of watchers
	news     [wakeGroups]chan struct{} // closed when there is something for a group
	stop     context.CancelFunc        // of the reading
	events   []*hubEvent               // the latest
	first    int                       // the number of events[0]
	bytes    int
	waking   bool // groups are being woken, or about to be
	since    bool // something has come since the first of them was
	ended    bool
}

const (
	wakeEvery   = 20 * time.Millisecond
	wakeApart   = time.Millisecond
	wakeGroups  = 64
	maxHubBytes = 4 << 20
	maxHubBatch = 64
)

// A hubEvent is an event as it is sent, in both views, each made as it is first asked for.
type hubEvent struct {
	id          string
	size        int
	full, brief func() []byte
}

func newHubEvent(e purge.Event) *hubEvent {
	text := func(v any) []byte {
		data, _ := json.Marshal(v) // these types have nothing that cannot be encoded
		return fmt.Appendf(nil, "id: %s\nevent: state\ndata: %s\n\n", e.EventID(), data)
	}
	return &hubEvent{
		id:   e.EventID(),
		size: 1<<10 + 512*len(e.Record.Paths),
		full: sync.OnceValue(func() []byte { return text(e) }),
		brief: sync.OnceValue(func() []byte {
			return text(eventSummary{e.ID, e.Seq, e.Time, e.Attempt, e.State, summarize(&e.Record)})
		}),
	}
}

func newHub(service *purge.Service) *hub {
	b := &hub{service: service}
	for i := range b.news {
		b.news[i] = make(chan struct{})
	}
	return b
}

// join counts a stream in, and returns its group and the number of the next event. The first begins the reading.
func (b *hub) join() (group, next int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.watchers++; b.watchers == 1 {
		ctx, stop := context.WithCancel(context.Background())
		events := b.service.Events(ctx, "")
		b.stop, b.ended = stop, false
		go func() {
			for e, err := range events {
				if !b.add(ctx, e, err) {
					return
				}
			}
		}()
	}
	for i, n := range b.members {
		if n < b.members[group] {
			group = i
		}
	}
	b.members[group]++
	return group, b.first + len(b.events)
}

// leave counts a stream out. The last ends the reading.
func (b *hub) leave(group int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.members[group]--
	if b.watchers--; b.watchers == 0 {
		b.stop()
		b.first += len(b.events)
		b.events, b.bytes = nil, 0
	}
}

// add takes an event, or the end of them, from the reading that has that context.
func (b *hub) add(ctx context.Context, e purge.Event, err error) (more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		b.ended = true
	} else {
		text := newHubEvent(e)
		b.events = append(b.events, text)
		b.bytes += text.size
		for b.bytes > maxHubBytes && len(b.events) > 1 {
			b.bytes -= b.events[0].size
			b.events[0] = nil
			b.events = b.events[1:]
			b.first++
		}
	}
	b.since = true
	if !b.waking {
		b.waking = true
		time.AfterFunc(wakeEvery, func() { b.wake(0) })
	}
	return err == nil
}

// wake wakes a group, or the first after it that has anybody, and sees to the next.
func (b *hub) wake(group int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if group == 0 {
		b.since = false
	}
	for group < wakeGroups && b.members[group] == 0 {
		group++
	}
	switch {
	case group < wakeGroups:
		close(b.news[group])
		b.news[group] = make(chan struct{})
		time.AfterFunc(wakeApart, func() { b.wake(group + 1) })
	case b.since:
		time.AfterFunc(wakeEvery, func() { b.wake(0) })
	default:
		b.waking = false
	}
}

// find returns the number of the event with that ID.
func (b *hub) find(id string) (n int, held bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.events) - 1; i >= 0; i-- {
		if b.events[i].id == id {
			return b.first + i, true
		}
	}
	return 0, false
}

func (b *hub) end() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.first + len(b.events)
}

// from returns some events from a number on: nil where they are held no more, and none where there are none yet, and then what to
// wait for, unless there will never be any.
func (b *hub) from(group, next int) (batch []*hubEvent, news <-chan struct{}, ended bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if next < b.first {
		return nil, nil, false
	}
	rest := b.events[next-b.first:]
	batch = make([]*hubEvent, min(len(rest), maxHubBatch))
	copy(batch, rest)
	return batch, b.news[group], b.ended
}
