package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A meter gives rooms, and counts what is in them.
type meter struct {
	mu      sync.Mutex // guards what follows
	open    int
	bytes   int64
	most    int64
	resizes int
	refuse  func(ctx context.Context, bytes int64) error
}

type meterRoom struct {
	m      *meter
	bytes  int64
	closed bool
}

func (m *meter) room(string) Room {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open++
	return &meterRoom{m: m}
}

func (r *meterRoom) Resize(ctx context.Context, bytes, expect int64) error {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	if r.closed {
		panic("used after Close")
	}
	if r.m.refuse != nil {
		if err := r.m.refuse(ctx, bytes); err != nil {
			return err
		}
	}
	r.m.resizes++
	r.m.bytes += bytes - r.bytes
	r.m.most = max(r.m.most, r.m.bytes)
	r.bytes = bytes
	return nil
}

func (r *meterRoom) Close() {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	if r.closed {
		panic("closed twice")
	}
	r.closed = true
	r.m.open--
	r.m.bytes -= r.bytes
}

func (m *meter) holds() (open int, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.open, m.bytes
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Whatever becomes of an exchange, its room is closed once: when all who got its bytes are Done.
func TestRoomIsGivenBack(t *testing.T) {
	long := strings.Repeat("x", 300_000)
	answer := func(status int, body string, header ...string) roundTripper {
		return func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			if err := r.Context().Err(); err != nil {
				return nil, err
			}
			h := make(http.Header)
			for i := 0; i < len(header); i += 2 {
				h.Set(header[i], header[i+1])
			}
			if r.Header.Get("If-None-Match") != "" {
				status, body = http.StatusNotModified, ""
			}
			return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}, nil
		}
	}
	for _, tt := range []struct {
		name   string
		next   roundTripper
		held   int64 // while those who asked are not Done
		failed bool
	}{
		{"a body", answer(200, long, "Cache-Control", "max-age=60"), 300_001, false},
		{"no body", answer(200, "", "Cache-Control", "max-age=60"), 1, false},
		{"not to be stored", answer(200, long, "Cache-Control", "no-store"), 3 * 300_001, false},
		{"not found", answer(404, "no"), 0, false},
		{"too large", answer(200, long+long, "Cache-Control", "max-age=60"), 0, false},
		{"no image", answer(200, "text", "Cache-Control", "max-age=60"), 0, false},
		{"broken", func(*http.Request) (*http.Response, error) { return nil, errors.New("broken") }, 0, false},
		{"a panic", func(*http.Request) (*http.Response, error) { panic("oops") }, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := new(meter)
				store := NewMemory(1 << 20)
				defer store.Close()
				tr := NewTransport(store, tt.next, &TransportOptions{Room: m.room, MaxBytes: 500_000, Inspect: func(body []byte) (string, int, string) {
					if string(body) == "text" {
						return "", http.StatusUnsupportedMediaType, "no image"
					}
					return "image/x", http.StatusOK, ""
				}})
				var group sync.WaitGroup
				results := make([]*Result, 3)
				for i := range results {
					group.Go(func() {
						res, err := tr.Fetch(t.Context(), "/cat", "")
						if results[i] = res; (err != nil) != tt.failed {
							t.Error(err)
						}
					})
				}
				group.Go(func() { // it goes away, and harms nobody
					ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
					defer cancel()
					if res, err := tr.Fetch(ctx, "/cat", ""); err == nil {
						res.Done()
					}
				})
				group.Wait()
				if _, bytes := m.holds(); bytes != tt.held {
					t.Errorf("%d bytes are held, want %d", bytes, tt.held)
				}
				for _, res := range results {
					if res == nil {
						continue
					}
					other := res.Share()
					res.Done()
					res.Done()
					other.Done()
				}
				if open, bytes := m.holds(); open != 0 || bytes != 0 {
					t.Errorf("%d rooms of %d bytes are left", open, bytes)
				}
				tr.Close()
			})
		})
	}
}

// A room is asked for in steps of what has arrived, and never for a 304.
func TestRoomIsAskedForAsBytesArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(meter)
		pause := make(chan bool)
		next := roundTripper(func(r *http.Request) (*http.Response, error) {
			h := http.Header{"Cache-Control": {"max-age=60"}, "Etag": {`"1"`}}
			if r.Header.Get("If-None-Match") != "" {
				return &http.Response{StatusCode: http.StatusNotModified, Header: h, Body: http.NoBody}, nil
			}
			body := io.MultiReader(strings.NewReader(strings.Repeat("x", 100)), reader(func() { <-pause }), strings.NewReader(strings.Repeat("y", 1<<20-100)))
			return &http.Response{StatusCode: http.StatusOK, Header: h, Body: io.NopCloser(body), ContentLength: 1 << 20}, nil
		})
		store := NewMemory(4 << 20)
		defer store.Close()
		tr := NewTransport(store, next, &TransportOptions{Room: m.room})
		defer tr.Close()
		go func() {
			synctest.Wait()
			if _, bytes := m.holds(); bytes != firstBytes {
				t.Errorf("%d bytes are held for 100", bytes)
			}
			close(pause)
		}()
		res, err := tr.Fetch(t.Context(), "/cat", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, bytes := m.holds(); bytes != 1<<20+1 {
			t.Errorf("%d bytes are held", bytes)
		}
		res.Done()
		time.Sleep(2 * time.Minute)
		asked := m.resizes
		if res, err = tr.Fetch(t.Context(), "/cat", ""); err != nil || res.How != Revalidated || m.resizes != asked {
			t.Errorf("%v %v, and %d times asked for room", res, err, m.resizes-asked)
		}
	})
}

type reader func()

func (f reader) Read([]byte) (int, error) { f(); return 0, io.EOF }

// What is refused room is an error for all who wait, tells nothing of the origin, and is no refusal of the next request. A
// request does not get the refusal of work behind.
func TestRoomRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(meter)
		full := errors.New("full")
		n := 0
		next := roundTripper(func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			n++
			body := fmt.Sprint("cat ", n)
			return &http.Response{
				StatusCode: http.StatusOK, Header: http.Header{"Cache-Control": {"max-age=60, stale-while-revalidate=600"}, "Etag": {fmt.Sprintf("%q", body)}},
				Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
			}, nil
		})
		store := NewMemory(1 << 20)
		defer store.Close()
		tr := NewTransport(store, next, &TransportOptions{Room: m.room})
		defer tr.Close()
		m.refuse = func(context.Context, int64) error { return full }
		if _, err := tr.Fetch(t.Context(), "/cat", ""); err != full || tr.Known("/cat", "") != nil {
			t.Errorf("%v, and %v is known", err, tr.Known("/cat", ""))
		}
		m.refuse = nil
		res, err := tr.Fetch(t.Context(), "/cat", "")
		if err != nil {
			t.Fatal(err)
		}
		res.Done()
		time.Sleep(2 * time.Minute)
		m.refuse = func(ctx context.Context, bytes int64) error {
			if IsBehind(ctx) {
				return ErrNoRoom
			}
			return nil
		}
		asked := n
		if res, err = tr.Fetch(t.Context(), "/cat", ""); err != nil || res.How != StaleHit {
			t.Fatal(res, err)
		}
		synctest.Wait()
		res, err = tr.Refresh(t.Context(), "/cat", "") // joins what has begun behind
		if err != nil || res.How != Filled || n != asked+2 {
			t.Errorf("%v %v, after %d requests", res, err, n-asked)
		}
		res.Done()
		if open, bytes := m.holds(); open != 0 || bytes != 0 {
			t.Errorf("%d rooms of %d bytes are left", open, bytes)
		}
	})
}

// Bytes from a store that is not memory have a room, one for all who ask at a time; those of Memory have none.
func TestRoomOfStoredBytes(t *testing.T) {
	type other struct{ Store }
	for _, inMemory := range []bool{true, false} {
		m := new(meter)
		var store Store = NewMemory(1 << 20)
		if !inMemory {
			store = other{store}
		}
		next := roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Cache-Control": {"max-age=60"}},
				Body: io.NopCloser(strings.NewReader("cat")), ContentLength: 3}, nil
		})
		tr := NewTransport(store, next, &TransportOptions{Room: m.room})
		filled, err := tr.Fetch(t.Context(), "/cat", "")
		if err != nil {
			t.Fatal(err)
		}
		filled.Done()
		res, err := tr.Fetch(t.Context(), "/cat", "")
		if err != nil {
			t.Fatal(err)
		}
		body, now, err := tr.Body(t.Context(), res)
		if _, bytes := m.holds(); err != nil || string(body) != "cat" || (bytes == 0) != inMemory {
			t.Errorf("%q %v, %d bytes are held, in memory %t", body, err, bytes, inMemory)
		}
		now.Done()
		if open, _ := m.holds(); open != 0 {
			t.Errorf("%d rooms are left", open)
		}
		tr.Close()
	}
}

// The memory that a body outgrows is another's next: none of them has what another has written.
func TestBodiesKeepTheirBytes(t *testing.T) {
	body := func(path string) string {
		n := 0
		fmt.Sscanf(path, "/%d", &n)
		return strings.Repeat(fmt.Sprintf("%08d", n), (50+n*37%300)<<7) // 50 to 350 KiB
	}
	m, o := new(meter), new(fakeOrigin)
	o.answers(func(r *http.Request) (*http.Response, error) {
		text := body(r.URL.Path)
		resp := reply(200, text, "Cache-Control: max-age=60")
		if resp.ContentLength = int64(len(text)); len(text)%3 == 0 {
			resp.ContentLength = -1
		}
		return resp, nil
	})
	transport := NewTransport(NewMemory(64<<20), o, &TransportOptions{Room: m.room})
	defer transport.Close()
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			kept := make(map[string]*Result)
			for i := range 25 {
				path := fmt.Sprintf("/%d", 100*g+i)
				res, err := transport.Fetch(t.Context(), path, "")
				if err != nil {
					t.Error(err)
					return
				}
				kept[path] = res
			}
			for path, res := range kept {
				if string(res.body) != body(path) {
					t.Errorf("%s has other bytes", path)
				}
				res.Done()
			}
		})
	}
	group.Wait()
}
