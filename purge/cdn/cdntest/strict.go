package cdntest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// strictJSON decodes a body that has one value of JSON, with the fields of v and no others.
func strictJSON(body []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("something follows the JSON")
	}
	return nil
}

// isJSON reports whether a request says that its body is JSON, in UTF-8.
func isJSON(r *http.Request) bool {
	t, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := params["charset"]
	return err == nil && t == "application/json" && (charset == "" || strings.EqualFold(charset, "utf-8"))
}

// answerJSON answers with a status and a JSON body.
func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// addressed notes a request that did not go to the API by https. A request that came over a socket has no scheme, which is fine.
func (s *Server) addressed(r *http.Request, host string) {
	if r.Host != host {
		s.fault("%s %s: the host is %q, not %q", r.Method, r.URL.Path, r.Host, host)
	}
	if r.URL.Scheme == "http" {
		s.fault("%s %s: plain http", r.Method, r.URL.Path)
	}
}

// distinct notes values that are there twice.
func (s *Server) distinct(values []string) {
	seen := map[string]bool{}
	for _, v := range values {
		if seen[v] {
			s.fault("%q is there twice", v)
		}
		seen[v] = true
	}
}

// absolute says what is wrong with an absolute URL of a cached object; empty: nothing.
func absolute(v string) string {
	u, err := url.Parse(v)
	switch {
	case err != nil:
		return "is no URL"
	case u.Scheme != "http" && u.Scheme != "https":
		return "has no scheme of http or https"
	case u.Hostname() == "":
		return "has no host"
	case strings.ContainsAny(v, " \t\r\n"):
		return "has white space"
	case strings.Contains(v, "#"):
		return "has a fragment"
	}
	return ""
}

// schemeless says what is wrong with a URL that begins with its host; empty: nothing.
func schemeless(v string) string {
	host, _, _ := strings.Cut(v, "/")
	host, _, _ = strings.Cut(host, "?")
	switch {
	case strings.Contains(v, "://"):
		return "has a scheme"
	case host == "":
		return "has no host"
	case !strings.Contains(host, ".") && !strings.HasPrefix(host, "localhost"):
		return "begins with " + strconv.Quote(host) + ", which is no host"
	case strings.ContainsAny(v, " \t\r\n"):
		return "has white space"
	case strings.Contains(v, "#"):
		return "has a fragment"
	}
	return ""
}

// printable reports whether v has nothing but ASCII from '!' to '~'.
func printable(v string) bool {
	for i := 0; i < len(v); i++ {
		if v[i] < '!' || v[i] > '~' {
			return false
		}
	}
	return v != ""
}

// wait is how long until n could be taken of b.
func (b *bucket) wait(n float64) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Duration(math.Max(0, b.used+n-b.burst) / b.perSecond * float64(time.Second))
}

// seconds is d in whole seconds, rounded up, as in Retry-After.
func seconds(d time.Duration) string {
	return strconv.Itoa(int(math.Ceil(d.Seconds())))
}

// A window is a rate limit that begins anew at intervals, the first with the first request.
type window struct {
	limit int
	every time.Duration

	mu   sync.Mutex // guards what follows
	used int
	ends time.Time
}

// take takes n if so many are left, and reports how many are left then and when the interval ends.
func (w *window) take(n int) (ok bool, left int, ends time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); !now.Before(w.ends) {
		w.used, w.ends = 0, now.Add(w.every)
	}
	if w.used+n <= w.limit {
		w.used += n
		ok = true
	}
	return ok, w.limit - w.used, w.ends
}
