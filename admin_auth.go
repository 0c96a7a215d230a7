package imagecdn

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/imagecdn/imagecdn/internal/client"
)

// An authError refuses a request to the API or the console.
type authError struct {
	status     int
	code, text string
	retryAfter time.Duration
}

func (e *authError) Error() string { return e.text }

var (
	errNoKey       = &authError{status: http.StatusUnauthorized, code: "unauthorized", text: "give a key: Authorization: Bearer KEY"}
	errWrongKey    = &authError{status: http.StatusUnauthorized, code: "unauthorized", text: "the key opens nothing here"}
	errCrossOrigin = &authError{status: http.StatusForbidden, code: "cross_origin", text: "a page of another origin may not ask for this"}
)

// A doorkeeper says who may use the API and the console: who has a key, or a session that a key began, or whom Authorize lets in.
//
// A browser sends its cookies with whatever any page has it ask for. So what changes something has to come from a page of this origin,
// by Sec-Fetch-Site or Origin ([http.CrossOriginProtection]), unless it has a key in Authorization: Bearer, which no browser sends by itself.
type doorkeeper struct {
	keys       [][sha256.Size]byte
	authorize  func(*http.Request) error // in place of keys; nil where there is none
	client     func(*http.Request) string
	sameOrigin *http.CrossOriginProtection
	sessions   sessions
	guesses    guesses
}

func newDoorkeeper(o *AdminOptions, named func(*http.Request) string) *doorkeeper {
	d := &doorkeeper{authorize: o.Authorize, client: named, sameOrigin: http.NewCrossOriginProtection()}
	if d.client == nil {
		d.client = client.Of
	}
	for _, k := range o.Keys {
		if k != "" {
			d.keys = append(d.keys, sha256.Sum256([]byte(k)))
		}
	}
	return d
}

// check refuses a request that nobody who may has sent.
func (d *doorkeeper) check(r *http.Request) error {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	hasKey := strings.EqualFold(scheme, "Bearer") && key != ""
	if !hasKey && d.sameOrigin.Check(r) != nil {
		return errCrossOrigin
	}
	switch {
	case d.authorize != nil:
		if err := d.authorize(r); err != nil {
			return &authError{status: http.StatusUnauthorized, code: "unauthorized", text: err.Error()}
		}
		return nil
	case hasKey:
		return d.tryKey(r, strings.TrimSpace(key))
	case d.sessions.has(tokenOf(r), time.Now()):
		return nil
	}
	return errNoKey
}

// over reports whether r was let in by a session that has ended since.
func (d *doorkeeper) over(r *http.Request) bool {
	return d.authorize == nil && r.Header.Get("Authorization") == "" && !d.sessions.has(tokenOf(r), time.Now())
}

// longKey is how many bytes a key has that nobody comes upon by trying: of random letters and digits, more than 100 bits.
const longKey = 20

// tryKey refuses a key that is none, and whoever has tried too many of those lately.
//
// A client may be many: all that are behind one proxy, or one network's address. So that a stranger's guesses do not keep those out who have a
// key, one that is right and long opens all the same.
func (d *doorkeeper) tryKey(r *http.Request, key string) error {
	// Digests are compared, so that neither a key's bytes nor its length can be timed.
	given := sha256.Sum256([]byte(key))
	found := 0
	for _, k := range d.keys {
		found |= subtle.ConstantTimeCompare(k[:], given[:])
	}
	if found == 1 && len(key) >= longKey {
		return nil
	}
	now, who := time.Now(), d.client(r)
	if wait := d.guesses.wait(who, now); wait > 0 {
		return &authError{http.StatusTooManyRequests, "limited", "too many wrong keys; try again later", wait}
	}
	if found == 0 {
		d.guesses.wrong(who, now)
		return errWrongKey
	}
	return nil
}

// sessionCookie holds the token of a session.
const sessionCookie = "imagecdn_session"

const (
	sessionAge  = 12 * time.Hour // after which one has to sign in again
	maxSessions = 1000
)

// sessions are those of operators who have signed in. The table has digests of the tokens, so that who reads the memory has no token. It
// ends with the process.
type sessions struct {
	mu    sync.Mutex // guards until
	until map[[sha256.Size]byte]time.Time
}

// begin returns the token of a new session. Where there are too many, the one that would end next does.
func (s *sessions) begin(now time.Time) (token string) {
	token = rand.Text() // 130 bits
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until == nil {
		s.until = make(map[[sha256.Size]byte]time.Time)
	}
	if len(s.until) >= maxSessions {
		var first [sha256.Size]byte
		var end time.Time
		for sum, until := range s.until {
			if end.IsZero() || until.Before(end) {
				first, end = sum, until
			}
		}
		delete(s.until, first)
	}
	s.until[sha256.Sum256([]byte(token))] = now.Add(sessionAge)
	return token
}

func (s *sessions) has(token string, now time.Time) bool {
	if token == "" {
		return false
	}
	sum := sha256.Sum256([]byte(token))
	s.mu.Lock()
	defer s.mu.Unlock()
	until, ok := s.until[sum]
	if ok && !now.Before(until) {
		delete(s.until, sum)
		return false
	}
	return ok
}

func (s *sessions) end(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.until, sha256.Sum256([]byte(token)))
}

func tokenOf(r *http.Request) string {
	if c, err := r.Cookie(sessionCookie); err == nil {
		return c.Value
	}
	return ""
}

// setSession has the browser keep a token, for this origin's pages below prefix alone, or forget it where it is empty.
func setSession(w http.ResponseWriter, r *http.Request, prefix, token string) {
	c := &http.Cookie{
		Name: sessionCookie, Value: token, Path: prefix + "/", MaxAge: int(sessionAge / time.Second), HttpOnly: true, SameSite: http.SameSiteStrictMode,
		// Behind a proxy that speaks TLS, it is the browser's own word that says so.
		Secure: r.TLS != nil || strings.HasPrefix(r.Header.Get("Origin"), "https://"),
	}
	if token == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

const (
	guessBurst = 10              // wrong keys that a client may try at once
	guessEvery = 2 * time.Second // and one more after so long
	maxGuesses = 1024            // clients that are remembered
)

// guesses bounds how many wrong keys a client may try: a token bucket for each, as the time when it is full again.
type guesses struct {
	mu   sync.Mutex // guards full
	full map[string]time.Time
}

// wait is how long a client has to wait before its next try.
func (g *guesses) wait(who string, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	full, known := g.full[who]
	if !known {
		return 0
	}
	return full.Sub(now) - (guessBurst-1)*guessEvery
}

func (g *guesses) wrong(who string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.full == nil {
		g.full = make(map[string]time.Time)
	}
	if _, known := g.full[who]; !known && len(g.full) >= maxGuesses {
		for other, full := range g.full {
			if !full.After(now) {
				delete(g.full, other)
			}
		}
		for other := range g.full { // as many guess as are remembered: one is forgotten
			if len(g.full) < maxGuesses {
				break
			}
			delete(g.full, other)
		}
	}
	full := g.full[who]
	if full.Before(now) {
		full = now
	}
	g.full[who] = full.Add(guessEvery)
}

// guarded has next answer those who may ask.
func (a *admin) guarded(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := a.door.check(r); err != nil {
			e := authErrorOf(err)
			if e.status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", "Bearer")
			}
			e.setRetry(w)
			writeAPIError(w, e.status, e.code, e.text, "")
			return
		}
		next(w, r)
	}
}

func authErrorOf(err error) *authError {
	e, _ := errors.AsType[*authError](err)
	return cmp.Or(e, errNoKey)
}

func (e *authError) setRetry(w http.ResponseWriter) {
	if e.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((e.retryAfter+time.Second-1)/time.Second), 10))
	}
}

// prefixOf is where the handler is mounted, as the client knows it: what StripPrefix took. It is a path here, whatever the request line
// has: links and redirects begin with it.
func prefixOf(r *http.Request) string {
	prefix := strings.TrimSuffix(mounted(r), r.URL.EscapedPath())
	if prefix == "" {
		return ""
	}
	return "/" + strings.TrimLeft(prefix, "/\\")
}

// explain is the text of e for a page.
func (e *authError) explain() string {
	if e.retryAfter > 0 {
		return fmt.Sprintf("Too many wrong keys. Try again in %d seconds.", int64((e.retryAfter+time.Second-1)/time.Second))
	}
	return e.text
}
