// Package webhook tells a URL of the states that purges reach:
//
//	hook, err := webhook.New("https://example.com/purged", key, nil)
//	if err != nil {
//		return err
//	}
//	svc := purge.NewService(target, &purge.ServiceOptions{OnStatus: hook.Send})
//	…
//	svc.Close()
//	hook.Close(ctx)
//
// Each event is a POST of its JSON with the headers
//
//	Imagecdn-Event: 0198c1d2-….3               its ID, the same for every try
//	Imagecdn-Timestamp: 1795298359             when this try was made, in Unix seconds
//	Imagecdn-Signature: sha256=5f2c…           the HMAC-SHA256 of timestamp, ".", and body
//
// which [Verify] checks for the receiver. An answer of 2xx ends it.
//
// # Promises
//
//   - The events of one job arrive in order, each after the one before was answered or given up.
//   - An event is sent until it is answered: at least once, so a receiver tells by the ID what it has already.
//     It is given up, and logged, after Options.GiveUp, or at once where the answer says that
//     no repetition helps: 3xx, as no redirect is followed, and 4xx other than 408, 425 and 429.
//   - Nothing is unbounded: where Options.MaxQueued events wait, Send waits.
//
// Events that wait live in memory: a crash forgets them. A receiver that must not miss any reads
// [purge.Service.Events] from the last ID that it has.
//
// # Where requests go
//
// To the one URL that [New] was given, and nowhere else: no redirect is followed, and no proxy of the environment is used. That URL is
// the operator's, who may well have the receiver on a private network, so by default any address is dialled. Where somebody else
// has a say in it, Options.Control keeps it to public ones. The client is the sender's own: it shares neither connections nor
// rules with those that fetch images.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

// The headers of a request.
const (
	EventHeader     = "Imagecdn-Event"
	TimestampHeader = "Imagecdn-Timestamp"
	SignatureHeader = "Imagecdn-Signature"
)

// Options are the optional settings of a [Sender].
type Options struct {
	// MaxQueued is the most events that wait to be answered. Zero means 1,000.
	MaxQueued int

	// MaxConcurrent is the most requests at once. Zero means 4.
	MaxConcurrent int

	// Timeout is the longest one request may take. Zero means 10 seconds.
	Timeout time.Duration

	// Backoff is how long a failed event waits for its second try. The wait doubles with each, up to MaxBackoff, and
	// each is cut short at random by up to a half. Zero means a second.
	Backoff time.Duration

	// MaxBackoff is the longest wait between two tries, also where Retry-After asks for more. Zero means 5 minutes.
	MaxBackoff time.Duration

	// GiveUp is how long an event is tried. Zero means a day.
	GiveUp time.Duration

	// Control is asked right before each connect, as [net.Dialer.Control] is, and its error refuses the address: origin.PublicOnly(443)
	// of this module allows public addresses alone. It is not for a Transport. Nil means that any address is dialled.
	Control func(network, address string, conn syscall.RawConn) error

	// Transport makes the requests. Nil means one of the sender's own, with no proxy, and no more than 64 KiB of a response's header.
	Transport http.RoundTripper

	// Logger is told of events that are given up. Nil means nothing is logged.
	Logger *slog.Logger
}

// A Sender sends events to one URL. Its methods may be called from many goroutines at once.
type Sender struct {
	url    string
	key    []byte
	o      Options
	client http.Client
	own    *http.Transport // closed with the sender; may be nil

	ctx     context.Context // of all requests
	cancel  context.CancelFunc
	closing chan struct{} // closed by Close
	room    chan struct{} // one element for each event that waits
	calls   chan struct{} // one element for each request under way
	work    sync.WaitGroup

	mu     sync.Mutex               // guards jobs, closed and lost
	jobs   map[string][]purge.Event // by job: what its goroutine has still to send
	closed bool
	lost   int
}

// New returns a sender to an http or https URL that signs with key. It must be closed.
func New(to string, key []byte, o *Options) (*Sender, error) {
	u, err := url.Parse(to)
	switch {
	case err != nil:
		return nil, fmt.Errorf("webhook: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("webhook: %q is not the URL of a web server", u.Redacted())
	case o != nil && o.Control != nil && o.Transport != nil:
		return nil, errors.New("webhook: Options.Control is for the sender's own transport, and Options.Transport is another")
	case len(key) < 16:
		return nil, fmt.Errorf("webhook: the key has %d bytes; give it 16 or more", len(key))
	}
	s := &Sender{url: to, key: bytes.Clone(key), closing: make(chan struct{}), jobs: make(map[string][]purge.Event)}
	if o != nil {
		s.o = *o
	}
	positive(&s.o.MaxQueued, 1000)
	positive(&s.o.MaxConcurrent, 4)
	positive(&s.o.Timeout, 10*time.Second)
	positive(&s.o.Backoff, time.Second)
	positive(&s.o.MaxBackoff, 5*time.Minute)
	positive(&s.o.GiveUp, 24*time.Hour)
	if s.o.Logger == nil {
		s.o.Logger = slog.New(slog.DiscardHandler)
	}
	if s.o.Transport == nil {
		s.own = &http.Transport{
			DialContext:           (&net.Dialer{Timeout: s.o.Timeout, Control: s.o.Control}).DialContext,
			TLSHandshakeTimeout:   s.o.Timeout,
			ResponseHeaderTimeout: s.o.Timeout,
			MaxIdleConnsPerHost:   s.o.MaxConcurrent,
			IdleConnTimeout:       time.Minute,
			ForceAttemptHTTP2:     true,
			DisableCompression:    true,
			// Of an answer, its status is all that counts.
			MaxResponseHeaderBytes: 64 << 10,
		}
		s.o.Transport = s.own
	}
	s.client = http.Client{
		Transport:     s.o.Transport,
		Timeout:       s.o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	s.room = make(chan struct{}, s.o.MaxQueued)
	s.calls = make(chan struct{}, s.o.MaxConcurrent)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

func positive[T ~int | ~int64](n *T, zero T) {
	if *n <= 0 {
		*n = zero
	}
}

// Send has e sent, and waits only while the queue is full. It is for purge.ServiceOptions.OnStatus, which calls it with one
// event of a job after the other. After Close it does nothing.
func (s *Sender) Send(e purge.Event) {
	select {
	case s.room <- struct{}{}:
	case <-s.closing:
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		<-s.room
		return
	}
	waiting, running := s.jobs[e.ID]
	s.jobs[e.ID] = append(waiting, e)
	if !running {
		s.work.Go(func() { s.send(e.ID) })
	}
}

// send sends the events of one job, until none is left.
func (s *Sender) send(job string) {
	for {
		s.mu.Lock()
		waiting := s.jobs[job]
		if len(waiting) == 0 {
			delete(s.jobs, job)
			s.mu.Unlock()
			return
		}
		e := waiting[0]
		s.jobs[job] = waiting[1:]
		s.mu.Unlock()
		if err := s.deliver(e); err != nil {
			s.mu.Lock()
			s.lost++
			s.mu.Unlock()
			s.o.Logger.Error("webhook: an event is given up", "event", e.EventID(), "state", e.State, "error", err)
		}
		<-s.room
	}
}

// deliver sends e until it is answered.
func (s *Sender) deliver(e purge.Event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	end := time.Now().Add(s.o.GiveUp)
	for wait := s.o.Backoff; ; wait = min(2*wait, s.o.MaxBackoff) {
		after, err := s.try(e.EventID(), body)
		if err == nil {
			return nil
		}
		if _, final := errors.AsType[*answerError](err); final {
			return err
		}
		pause := max(wait/2+rand.N(wait/2+1), min(after, s.o.MaxBackoff))
		if time.Now().Add(pause).After(end) {
			return fmt.Errorf("tried for %v: %w", s.o.GiveUp, err)
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-s.ctx.Done():
			t.Stop()
			return fmt.Errorf("closed: %w", err)
		}
	}
}

// An answerError is an answer that no repetition changes.
type answerError struct{ status string }

func (e *answerError) Error() string { return "answered " + e.status }

// try makes one request. It returns how long the answer asks to wait.
func (s *Sender) try(id string, body []byte) (after time.Duration, err error) {
	select {
	case s.calls <- struct{}{}:
		defer func() { <-s.calls }()
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	}
	req, err := http.NewRequestWithContext(s.ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	at := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "imagecdn-webhook/1")
	req.Header.Set(EventHeader, id)
	req.Header.Set(TimestampHeader, at)
	req.Header.Set(SignatureHeader, sign(s.key, at, body))
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection may be used again
	switch code := resp.StatusCode; {
	case code/100 == 2:
		return 0, nil
	case code/100 == 5, code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests:
		if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
			after = time.Duration(min(n, 1<<20)) * time.Second
		}
		return after, fmt.Errorf("answered %s", resp.Status)
	}
	return 0, &answerError{resp.Status}
}

// Close waits until every event is answered or given up. When ctx ends it stops that, and returns an
// error that counts the events that were never answered since New.
func (s *Sender) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, s.cancel)
	s.work.Wait()
	stop()
	s.cancel()
	if s.own != nil {
		s.own.CloseIdleConnections()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost > 0 {
		return fmt.Errorf("webhook: %d events were given up", s.lost)
	}
	return nil
}

func sign(key []byte, timestamp string, body []byte) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(timestamp + "."))
	m.Write(body)
	return "sha256=" + hex.EncodeToString(m.Sum(nil))
}

// Verify reports whether a request with these headers and this body was signed with key, and no longer than
// within before or after now. Several keys are tried by several calls. A receiver that
// must not act twice remembers the IDs of events as well.
func Verify(key []byte, h http.Header, body []byte, now time.Time, within time.Duration) error {
	at := h.Get(TimestampHeader)
	if !hmac.Equal([]byte(sign(key, at, body)), []byte(h.Get(SignatureHeader))) {
		return errors.New("webhook: the signature is wrong")
	}
	n, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return errors.New("webhook: the timestamp is no number")
	}
	if d := now.Sub(time.Unix(n, 0)); d > within || d < -within {
		return errors.New("webhook: the request is too old, or from the future")
	}
	return nil
}
