package cdn

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

// An Error is a call that failed.
type Error struct {
	Status     int           // of the answer; zero where none came
	Reason     string        // in the CDN's own words where it has any; one line
	Temporary  bool          // another try may help
	RetryAfter time.Duration // the CDN asks for so much patience; zero: it does not say
}

func (e *Error) Error() string {
	switch {
	case e.Status == 0:
		return e.Reason
	case e.Reason == "":
		return strconv.Itoa(e.Status) + " " + http.StatusText(e.Status)
	}
	return strconv.Itoa(e.Status) + ": " + e.Reason
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

// Call sends a request and returns the answer's status, header and body, of at most a mebibyte. It is what adapters make their calls with.
//
// An answer that is neither 2xx nor among the statuses in also is an [*Error]: Temporary with 408, 425, 429 and 5xx other than 501 and 505, with Retry-After,
// in seconds or as a date, and with the Reason that words finds in the body, or the body's beginning where words is nil. Where no answer
// came, it is one with Status 0 that is Temporary, but for ctx's own end.
func Call(client *http.Client, r *http.Request, words func(body []byte) string, also ...int) (status int, header http.Header, body []byte, err error) {
	resp, err := client.Do(r)
	if err != nil {
		if ctxErr := r.Context().Err(); ctxErr != nil {
			return 0, nil, nil, ctxErr
		}
		return 0, nil, nil, &Error{Reason: plain(err), Temporary: true}
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		if ctxErr := r.Context().Err(); ctxErr != nil {
			return 0, nil, nil, ctxErr
		}
		return 0, nil, nil, &Error{Reason: "the answer was cut short: " + plain(err), Temporary: true}
	}
	status = resp.StatusCode
	if status/100 == 2 {
		return status, resp.Header, body, nil
	}
	for _, s := range also {
		if status == s {
			return status, resp.Header, body, nil
		}
	}
	e := &Error{Status: status, Temporary: temporary(status), RetryAfter: retryAfter(resp.Header, time.Now())}
	if words != nil {
		e.Reason = OneLine(words(body))
	} else {
		e.Reason = OneLine(string(body))
	}
	return status, resp.Header, body, e
}

func temporary(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return status >= 500
}

// maxRetryAfter bounds the patience that an answer may ask for.
const maxRetryAfter = time.Hour

// retryAfter reads Retry-After (RFC 9110 section 10.2.3).
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(t.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// plain is an error of a client without the URL, which may hold a key.
func plain(err error) string {
	if e, ok := errors.AsType[*url.Error](err); ok {
		if e.Timeout() {
			return "no answer in time"
		}
		err = e.Err
	}
	return OneLine(err.Error())
}

// OneLine keeps a text of somebody else's to one line of at most 300 bytes.
func OneLine(s string) string {
	const most = 300
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD")))
	if len(s) > most {
		cut := most - len("…")
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return s
}

// ClientOptions are the optional settings of [NewClient].
type ClientOptions struct {
	// Timeout is the longest one call may take. Zero means 30 seconds.
	Timeout time.Duration

	// Control is called before a connection is made, with the address as it was resolved; an error forbids it. It is the Control
	// of a [net.Dialer]. Nil means that any address is dialled.
	Control func(network, address string, c syscall.RawConn) error
}

// NewClient returns a client for calls to CDNs. It follows no redirect, takes no proxy from the environment, keeps no cookies, and shares
// connections with nobody. A nil o means the defaults. Where they go is the operator's word, so that private addresses, where a
// Varnish is, are dialled.
func NewClient(o *ClientOptions) *http.Client {
	var c ClientOptions
	if o != nil {
		c = *o
	}
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
	dialer := &net.Dialer{Timeout: min(c.Timeout, 10*time.Second), Control: c.Control}
	return &http.Client{
		Timeout: c.Timeout,
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    8,
			MaxConnsPerHost:        16,
			IdleConnTimeout:        time.Minute,
			TLSHandshakeTimeout:    10 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// CheckSetting returns an error that names the first of an adapter's settings that is missing, or has white space around it or a line's end in it, as
// keys that were read from files do: pairs of a name and its value. The error has no values, which may be secret.
func CheckSetting(adapter string, pairs ...string) error {
	for i := 0; i+1 < len(pairs); i += 2 {
		switch v := pairs[i+1]; {
		case v == "":
			return fmt.Errorf("%s: %s is missing", adapter, pairs[i])
		case v != strings.TrimSpace(v) || strings.ContainsFunc(v, unicode.IsControl):
			return fmt.Errorf("%s: %s has white space around it, or a line's end in it", adapter, pairs[i])
		}
	}
	return nil
}
