package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

var key = []byte("a key of 24 random bytes")

// A receiver answers as it is told, and notes the IDs of events.
type receiver struct {
	mu     sync.Mutex // guards got
	got    []string
	answer func(id string, try int) (*http.Response, error) // nil answers 204
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	if err := Verify(key, req.Header, body, time.Now(), time.Second); err != nil {
		return nil, err
	}
	var e purge.Event
	if err := json.Unmarshal(body, &e); err != nil || e.EventID() != req.Header.Get(EventHeader) {
		return nil, fmt.Errorf("%q: %v", body, err)
	}
	r.mu.Lock()
	r.got = append(r.got, e.EventID())
	try := 0
	for _, id := range r.got {
		if id == e.EventID() {
			try++
		}
	}
	r.mu.Unlock()
	if r.answer == nil {
		return status(204), nil
	}
	return r.answer(e.EventID(), try)
}

func status(code int) *http.Response {
	return &http.Response{StatusCode: code, Status: fmt.Sprint(code), Header: http.Header{}, Body: http.NoBody}
}

func newSender(t *testing.T, r http.RoundTripper, o Options) *Sender {
	t.Helper()
	o.Transport = r
	s, err := New("https://hook.example/", key, &o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func event(job string, seq int) purge.Event { return purge.Event{ID: job, Seq: seq} }

func TestEventsOfAJobArriveInOrderAtLeastOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(id string, try int) (*http.Response, error) {
			switch {
			case id == "a.2" && try == 1:
				return nil, errors.New("connection reset")
			case id == "a.2" && try < 4:
				return status([]int{408, 429, 503}[try-1]), nil
			}
			time.Sleep(time.Second)
			return status(200), nil
		}}
		s := newSender(t, r, Options{})
		for n := range 3 {
			s.Send(event("a", n+1))
			s.Send(event("b", n+1))
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		var a, b []string
		for _, id := range r.got {
			if id[0] == 'a' {
				a = append(a, id)
			} else {
				b = append(b, id)
			}
		}
		if want := []string{"a.1", "a.2", "a.2", "a.2", "a.2", "a.3"}; !slices.Equal(a, want) {
			t.Errorf("got %v, want %v", a, want)
		}
		if want := []string{"b.1", "b.2", "b.3"}; !slices.Equal(b, want) {
			t.Errorf("got %v, want %v", b, want)
		}
		s.Send(event("a", 4)) // does nothing
	})
}

func TestWhatNoRepetitionHelpsIsGivenUpAtOnce(t *testing.T) {
	for _, code := range []int{301, 307, 400, 401, 404, 410} {
		synctest.Test(t, func(t *testing.T) {
			r := &receiver{answer: func(id string, _ int) (*http.Response, error) {
				if id == "a.1" {
					return status(code), nil
				}
				return status(204), nil
			}}
			s := newSender(t, r, Options{})
			s.Send(event("a", 1))
			s.Send(event("a", 2))
			err := s.Close(t.Context())
			if err == nil || err.Error() != "webhook: 1 events were given up" || !slices.Equal(r.got, []string{"a.1", "a.2"}) {
				t.Errorf("%d: %v, %v", code, err, r.got)
			}
		})
	}
}

func TestTriesBackOffAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		r := &receiver{answer: func(string, int) (*http.Response, error) {
			at = append(at, time.Now())
			return status(500), nil
		}}
		s := newSender(t, r, Options{Backoff: time.Second, MaxBackoff: time.Minute, GiveUp: time.Hour})
		s.Send(event("a", 1))
		if err := s.Close(t.Context()); err == nil {
			t.Error("nothing was given up")
		}
		wait := time.Second
		for i := 1; i < len(at); i++ {
			if d := at[i].Sub(at[i-1]); d < wait/2 || d > wait {
				t.Errorf("try %d came after %v, want %v to %v", i+1, d, wait/2, wait)
			}
			wait = min(2*wait, time.Minute)
		}
		if total := at[len(at)-1].Sub(at[0]); total > time.Hour || total < 58*time.Minute {
			t.Errorf("tried for %v", total)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		r := &receiver{answer: func(_ string, try int) (*http.Response, error) {
			at = append(at, time.Now())
			resp := status(503)
			resp.Header.Set("Retry-After", []string{"30", "100000000"}[min(try-1, 1)])
			if try == 3 {
				resp = status(204)
			}
			return resp, nil
		}}
		s := newSender(t, r, Options{})
		s.Send(event("a", 1))
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if a, b := at[1].Sub(at[0]), at[2].Sub(at[1]); a != 30*time.Second || b != 5*time.Minute {
			t.Errorf("waited %v and %v", a, b)
		}
	})
}

func TestTheQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := &receiver{answer: func(string, int) (*http.Response, error) { <-release; return status(204), nil }}
		s := newSender(t, r, Options{MaxQueued: 3, MaxConcurrent: 2})
		sent := 0
		go func() {
			for n := range 10 {
				s.Send(event(fmt.Sprint(n), 1))
				sent++
			}
		}()
		synctest.Wait()
		if sent != 3 || len(r.got) != 2 {
			t.Errorf("%d were taken, %d are being sent", sent, len(r.got))
		}
		close(release)
		synctest.Wait()
		if err := s.Close(t.Context()); err != nil || len(r.got) != 10 {
			t.Errorf("%v, %d were sent", err, len(r.got))
		}
	})
}

func TestCloseGivesUpWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(string, int) (*http.Response, error) { return status(500), nil }}
		s := newSender(t, r, Options{})
		s.Send(event("a", 1))
		s.Send(event("a", 2))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Close(ctx); err == nil || err.Error() != "webhook: 2 events were given up" {
			t.Error(err)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		url  string
		key  []byte
		want string
	}{
		{"ftp://example.com/", key, "not the URL of a web server"},
		{"/hook", key, "not the URL of a web server"},
		{"https://example.com/%zz", key, "invalid URL escape"},
		{"https://example.com/", []byte("short"), "the key has 5 bytes"},
	} {
		if _, err := New(tt.url, tt.key, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.url, err)
		}
	}
}

// Over a real connection: what arrives can be verified, what was changed cannot, and a redirect is not followed.
func TestOverHTTP(t *testing.T) {
	var mu sync.Mutex
	var header http.Header
	var body []byte
	elsewhere := 0
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hook", func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		header = r.Header
		body, _ = io.ReadAll(r.Body)
	})
	mux.Handle("POST /moved", http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect))
	mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { elsewhere++ })
	server := httptest.NewServer(mux)
	defer server.Close()
	for path, lost := range map[string]bool{"/hook": false, "/moved": true} {
		s, err := New(server.URL+path, key, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.Send(event("a", 1))
		if err := s.Close(t.Context()); (err != nil) != lost {
			t.Errorf("%s: %v", path, err)
		}
	}
	if elsewhere != 0 {
		t.Error("a redirect was followed")
	}
	now := time.Now()
	if err := Verify(key, header, body, now, time.Minute); err != nil {
		t.Error(err)
	}
	changed := header.Clone()
	changed.Set(TimestampHeader, "1")
	for what, err := range map[string]error{
		"another key":       Verify([]byte("another"), header, body, now, time.Minute),
		"another body":      Verify(key, header, bytes.Replace(body, []byte("a"), []byte("b"), 1), now, time.Minute),
		"another timestamp": Verify(key, changed, body, now, time.Minute),
		"an old request":    Verify(key, header, body, now.Add(time.Hour), time.Minute),
		"nothing":           Verify(key, http.Header{}, nil, now, time.Minute),
	} {
		if err == nil {
			t.Errorf("%s is verified", what)
		}
	}
}

// The sender has a client and rules of its own: no proxy, no redirect, and public addresses alone where it is told so.
func TestTheSendersOwnClient(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
		t.Setenv(name, "http://127.0.0.1:1/")
	}
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1); r.URL.Path == "/moved" {
			t.Error("a redirect was followed")
		}
		w.Header().Set("Location", "/moved")
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	var mu sync.Mutex
	var dialled []string
	for _, test := range []struct {
		name    string
		control func(network, address string, conn syscall.RawConn) error
		want    int32 // requests
	}{
		{"by default", nil, 1},
		{"with a condition that does not hold", func(_, address string, _ syscall.RawConn) error {
			mu.Lock()
			defer mu.Unlock()
			dialled = append(dialled, address)
			return errors.New("not a public address")
		}, 0},
	} {
		asked.Store(0)
		var log bytes.Buffer
		s, err := New(server.URL, key, &Options{
			Control: test.control, Backoff: time.Millisecond, GiveUp: time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Send(purge.Event{})
		if err := s.Close(t.Context()); err == nil || asked.Load() != test.want {
			t.Errorf("%s: %v after %d requests, want %d", test.name, err, asked.Load(), test.want)
		}
	}
	if want := server.Listener.Addr().String(); len(dialled) == 0 || dialled[0] != want {
		t.Errorf("%v were judged, want %s", dialled, want)
	}
	if _, err := New("ftp://ann:secret@a.example", key, nil); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
	if _, err := New(server.URL, key, &Options{Control: func(string, string, syscall.RawConn) error { return nil }, Transport: http.DefaultTransport}); err == nil {
		t.Error("Control beside a Transport is taken")
	}
}
