package middleware

import (
	"container/list"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/imagecdn/imagecdn/internal/client"
)

// ErrRate is what every error of [Rate.Check] is.
var ErrRate = errors.New("too many requests")

// A Rate bounds how many requests each client makes a second. As the handler's Admit it counts those that no cache answers,
// so that a client may have as many hits as it likes, and few renders:
//
//	renders := &middleware.Rate{PerSecond: 5, Burst: 100}
//	h, err := imagecdn.New(sources, &imagecdn.Options{Admit: renders.Check})
//
// Around a handler, by [Rate.Handler], it counts every request.
//
// A client has Burst requests at first, and gets PerSecond of them back each second, up to Burst. What is beyond is
// refused with 429, and Retry-After says when the next one may come.
//
// # Safe deployments
//
// A client is an address, and many people can be behind one: choose Burst so that a page of theirs fits. A stranger with many addresses is many
// clients: where URLs are not signed, an [Allow] bounds what they may ask for.
// Behind a proxy every request has the proxy's address, so there set Client: see [Forwarded].
//
// The zero value is ready. A Rate is not to be copied after first use.
type Rate struct {
	// PerSecond is how many requests a client gets back each second. Zero means 10. Negative means none: Burst is all there is, until the
	// client is forgotten.
	PerSecond float64

	// Burst is how many requests a client may make at once. Zero means 100, of which a srcset of 31 widths fits three times.
	Burst int

	// Client names who sent a request. Nil means the address that it came from, and the first 64 bits of an IPv6 one.
	Client func(*http.Request) string

	// MaxClients is how many clients are remembered. Who was seen longest ago is forgotten first, and has Burst requests again. Zero
	// means 100,000, of about 200 bytes each.
	MaxClients int

	mu      sync.Mutex // guards what follows
	clients map[string]*list.Element
	recent  list.List // of *limited, the last one seen first
}

type limited struct {
	name    string
	limiter *rate.Limiter
}

// A TooFast is the error of a request over a [Rate].
type TooFast struct{ wait time.Duration }

func (e *TooFast) Error() string {
	return fmt.Sprintf("%v: try again in %d s", ErrRate, seconds(e.wait))
}

// Is reports that e is [ErrRate].
func (e *TooFast) Is(target error) bool { return target == ErrRate }

// RetryAfter is how long until the client may make another request.
func (e *TooFast) RetryAfter() time.Duration { return e.wait }

// seconds is d in whole seconds, and at least one.
func seconds(d time.Duration) int64 { return max(int64((d+time.Second-1)/time.Second), 1) }

// Check counts a request, and returns nil, or, where it is one too many and not counted, a [*TooFast].
func (l *Rate) Check(r *http.Request) error {
	name := client.Of
	if l.Client != nil {
		name = l.Client
	}
	return l.take(name(r))
}

func (l *Rate) take(name string) error {
	perSecond, burst, most := l.PerSecond, l.Burst, l.MaxClients
	if perSecond == 0 {
		perSecond = 10
	}
	if burst <= 0 {
		burst = 100
	}
	if most <= 0 {
		most = 100_000
	}
	if len(name) > 64 { // what a stranger may have written
		sum := sha256.Sum256([]byte(name))
		name = string(sum[:])
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.clients[name]
	if e == nil {
		if l.clients == nil {
			l.clients = make(map[string]*list.Element)
		}
		for len(l.clients) >= most {
			last := l.recent.Back()
			delete(l.clients, l.recent.Remove(last).(*limited).name)
		}
		e = l.recent.PushFront(&limited{name, rate.NewLimiter(rate.Limit(max(perSecond, 0)), burst)})
		l.clients[name] = e
	}
	l.recent.MoveToFront(e)
	limiter := e.Value.(*limited).limiter
	if limiter.AllowN(now, 1) {
		return nil
	}
	if perSecond < 0 {
		return &TooFast{time.Hour}
	}
	missing := 1 - limiter.TokensAt(now)
	return &TooFast{min(time.Duration(missing/perSecond*float64(time.Second)), time.Hour)}
}

// Handler returns a handler that passes on to h the requests that are not too many.
func (l *Rate) Handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := l.Check(r)
		if err == nil {
			h.ServeHTTP(w, r)
			return
		}
		header := w.Header()
		if fast, ok := errors.AsType[*TooFast](err); ok {
			header.Set("Retry-After", strconv.FormatInt(seconds(fast.wait), 10))
		}
		header.Set("Cache-Control", "no-store")
		header.Set("Content-Type", "text/plain; charset=utf-8")
		header.Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(http.StatusTooManyRequests)
		if r.Method != http.MethodHead {
			fmt.Fprintln(w, err)
		}
	})
}
