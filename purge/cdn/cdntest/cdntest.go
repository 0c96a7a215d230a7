// Package cdntest has strict stand-ins for the purge APIs of CDNs, for tests of what calls them. Each is written from the CDN's
// documentation, apart from the adapter: it takes exactly the method, path, credentials and body that are documented, keeps to
// the documented limits, and notes as a fault whatever the CDN would refuse and whatever it would take without doing what was meant.
//
//	cf := &cdntest.Cloudflare{Zone: "…", Token: "…"}
//	c, err := cloudflare.New("…", "…", &cloudflare.Options{Client: cdntest.Client(cf)})
//	…
//	if faults := cf.Faults(); len(faults) > 0 {
//		t.Error(faults)
//	}
//
// They need no network and know no time but time.Now, so that they work in a bubble of testing/synctest, where hours pass at once.
package cdntest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// A Server is what all stand-ins have in common. Its methods may be called from many goroutines at once.
type Server struct {
	mu     sync.Mutex // guards all below
	calls  []Call
	faults []string
	script []scripted
}

// A Call is a request that a stand-in got.
type Call struct {
	Time   time.Time
	Method string
	Path   string // with the query
	Kind   string // "tag", "url", "prefix" or "all" where it was a purge that was taken, else empty
	Values []string
	Soft   bool
	Status int // of the answer
}

type scripted struct {
	n      int
	status int
	header http.Header
	body   string
	hang   bool
}

// Fail has the next n requests answered with a status, header and body, before anything of them is looked at.
func (s *Server) Fail(n, status int, header http.Header, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = append(s.script, scripted{n: n, status: status, header: header, body: body})
}

// Hang has the next n requests never answered: they end with their context.
func (s *Server) Hang(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = append(s.script, scripted{n: n, hang: true})
}

// Heal ends what Fail and Hang began.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = nil
}

// Faults returns what was wrong with requests, in order.
func (s *Server) Faults() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.faults...)
}

// Calls returns all requests, in order.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Call(nil), s.calls...)
}

// Purged returns the values of a kind that were taken, in order, with repetitions. Of "all" it has one empty string for each.
func (s *Server) Purged(kind string) (values []string) {
	for _, c := range s.Calls() {
		switch {
		case c.Kind != kind || c.Status/100 != 2:
		case kind == "all":
			values = append(values, "")
		default:
			values = append(values, c.Values...)
		}
	}
	return values
}

// fault notes what is wrong with a request.
func (s *Server) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

// serve answers r by answer, unless something else is scripted, and records the call. answer may set Kind, Values and Soft. The body has been
// read by then, and is given to answer.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, answer func(w http.ResponseWriter, r *http.Request, body []byte, c *Call)) {
	c := Call{Time: time.Now(), Method: r.Method, Path: r.URL.RequestURI()}
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(io.LimitReader(r.Body, 16<<20))
	}
	rec := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	defer func() {
		c.Status = rec.status
		s.mu.Lock()
		defer s.mu.Unlock()
		s.calls = append(s.calls, c)
	}()

	s.mu.Lock()
	var next *scripted
	if len(s.script) > 0 {
		first := s.script[0]
		next = &first
		if s.script[0].n--; s.script[0].n <= 0 {
			s.script = s.script[1:]
		}
	}
	s.mu.Unlock()
	switch {
	case next == nil:
		answer(rec, r, body, &c)
	case next.hang:
		rec.status = 0
		<-r.Context().Done()
	default:
		for k, v := range next.header {
			rec.Header()[k] = v
		}
		rec.WriteHeader(next.status)
		io.WriteString(rec, next.body)
	}
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// A bucket is a rate limit as APIs enforce it. The zero time is when it was full.
type bucket struct {
	burst, perSecond float64

	mu   sync.Mutex // guards what follows
	used float64
	at   time.Time
}

// take reports whether n are allowed now, and takes them if so.
func (b *bucket) take(n float64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if !b.at.IsZero() {
		b.used = max(0, b.used-now.Sub(b.at).Seconds()*b.perSecond)
	}
	b.at = now
	if b.used+n > b.burst+1e-6 {
		return false
	}
	b.used += n
	return true
}

// Client returns a client whose requests h answers, whatever their host, without a network.
func Client(h http.Handler) *http.Client {
	return &http.Client{
		Transport:     transport{h},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type transport struct{ h http.Handler }

// RoundTrip implements [http.RoundTripper].
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	in := r.Clone(r.Context())
	in.RequestURI = r.URL.RequestURI()
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.RemoteAddr = "192.0.2.1:1234"
	rec := httptest.NewRecorder()
	t.h.ServeHTTP(rec, in)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if r.Body != nil {
		r.Body.Close()
	}
	resp := rec.Result()
	resp.Request = r
	return resp, nil
}
