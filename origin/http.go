package origin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// HTTPOptions are the options of [NewHTTP]. Nil and the zero value mean the documented defaults.
type HTTPOptions struct {
	// AllowPrivate lets the base's own host, and those that RedirectHosts has, be at any address. It is for an origin
	// inside one's own network. A redirect of it to another host is judged as without AllowPrivate, so that an origin which can be
	// talked into redirects opens no door to its neighbours.
	//
	// Zero means that only public addresses are dialled. Denied, when names have been resolved and again at the moment of
	// each connect: loopback, private,
	// link-local (where clouds keep their credentials), carrier-grade NAT, multicast, documentation and every
	// other range of the IANA special-purpose registries; IPv6 outside 2000::/3, and so NAT64 and IPv4 in IPv6;
	// 6to4, Teredo and ISATAP; addresses with a zone; networks other than TCP. A name with one such address among others is
	// denied altogether, and so are localhost, and numbers in place of a name ("2130706433", "127.1").
	AllowPrivate bool

	// Ports are further ports that requests may go to, by the base and by redirects.
	// Zero means the base's own, 80 and 443.
	Ports []uint16

	// Resolver resolves names. Zero means the system's.
	Resolver *net.Resolver

	// Control is a further condition: it is asked right before each connect about what the rules above allow, as
	// [net.Dialer.Control] is, and its error refuses the address. It must be safe for concurrent use. Zero means none.
	Control func(network, address string, conn syscall.RawConn) error

	// Header is set on each request, in place of a field of the same name: the credentials of the origin, or
	// another Host. A redirect to another scheme, host or port drops all of it, and Authorization and Cookie of
	// the request, for the rest of the exchange. (From http to https on the default ports of one host is
	// not another.) Zero means none. The User-Agent is "imagecdn" unless Header has one.
	Header http.Header

	// MaxRedirects is how many redirects are followed. Each must lead to http or https, not from https to http,
	// have no user name, and stay within Ports and RedirectHosts. Zero means 3. Negative means none: a redirect is then refused.
	MaxRedirects int

	// RedirectHosts are the hosts, besides the base's own, that redirects may lead to: "cdn.example.com", or
	// "*.example.com" for every name below example.com. Zero means any host.
	RedirectHosts []string

	// Retries is how often, in one exchange, a request is sent again after a connection failed before the
	// response began, or after a 502, 503 or 504 with no Retry-After. The wait before each doubles from 100 ms to
	// 2 s at most, of which half is random. Timeouts, and names that do not exist, are not tried again. An
	// exchange sends at most 1 + Retries + MaxRedirects requests.
	// Zero means 2. Negative means none.
	Retries int

	// DialTimeout bounds connecting, and the TLS handshake after it. Zero means 5 seconds.
	DialTimeout time.Duration

	// ResponseHeaderTimeout bounds the wait for the response to begin, once the request is sent.
	// Zero means 10 seconds. Negative means no limit but Timeout.
	ResponseHeaderTimeout time.Duration

	// Timeout bounds the whole exchange: redirects, retries and the body to its end.
	// Zero means 1 minute. Negative means no limit.
	Timeout time.Duration

	// MinRate is the rate in bytes a second below which an origin that sends a body is too slow. Each byte gives it 1/MinRate
	// of a second, up to 10 seconds in all, which it has at first, too; the time that is spent on waiting for it takes
	// from them, and when there is nothing left the body ends with ErrTimeout. So a body that stalls for 10 seconds does, and
	// one of a byte a second; time that the reader takes counts for nothing.
	// Zero means 1,024. Negative means no rate but what Timeout implies.
	MinRate int

	// BreakAfter is how many requests to a host have to fail in a row, retries and redirects counted, and for at least 2 seconds, for it
	// to be left alone for a while: connections that fail, timeouts and bodies below MinRate, bodies that are cut short, and the
	// statuses 502, 503 and 504. Exchanges that need that host fail at once then, with ErrBroken. After BreakFor one request is let through:
	// if it succeeds, all are; if it fails, the host is left alone for twice as long as the last time, up to a minute.
	// Zero means 10. Negative means that no host is left alone.
	BreakAfter int

	// BreakFor is how long a host is left alone at first. Zero means 5 seconds.
	BreakFor time.Duration

	// Logger gets which hosts are left alone, and which work again. Nil means that nothing is logged.
	Logger *slog.Logger

	// MaxResponseHeaderBytes bounds the response's header. Zero means 64 KiB.
	MaxResponseHeaderBytes int64

	// MaxConns bounds the connections to each host; requests over it wait.
	// Zero means 128. Negative means no limit.
	MaxConns int

	// TLS is the configuration of TLS. Zero means the system's roots and Go's defaults.
	TLS *tls.Config
}

// HTTP is an origin at a URL. Make one with [NewHTTP]. It is safe for concurrent use.
type HTTP struct {
	base      *url.URL // Path and RawPath without their last slashes
	opts      HTTPOptions
	ports     []uint16 // that requests may go to
	guard     *guard
	transport *http.Transport
	breakers  *breakers
	retried   atomic.Int64
}

const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 2 * time.Second

	// An origin that sends a body is waited for as long as this before its rate matters.
	patience = 10 * time.Second

	// A body that is not wanted is read up to here, to keep its connection; a longer one costs the connection.
	maxDiscard = 16 << 10
)

// NewHTTP returns an origin whose images are at base joined with their paths: with base
// "https://img.example.com/catalogue", "/a b.jpg" is "https://img.example.com/catalogue/a%20b.jpg".
// All of a path but letters, digits, "-", ".", "_" and "~" is percent-encoded.
//
// The base must be an absolute http or https URL with a host and no user name, query or fragment.
// Credentials go into HTTPOptions.Header. Environment variables for proxies are not looked at.
func NewHTTP(base string, o *HTTPOptions) (*HTTP, error) {
	u, err := parseBase(base)
	if err != nil {
		return nil, err
	}
	var opts HTTPOptions
	if o != nil {
		opts = *o
	}
	header := make(http.Header, len(opts.Header))
	for name, values := range opts.Header {
		header[textproto.CanonicalMIMEHeaderKey(name)] = slices.Clone(values)
	}
	opts.Header = header
	opts.RedirectHosts = slices.Clone(opts.RedirectHosts)
	for i, host := range opts.RedirectHosts {
		if name := strings.TrimPrefix(host, "*."); name == "" || strings.ContainsAny(name, "*/:@ ") {
			return nil, fmt.Errorf("origin: HTTPOptions.RedirectHosts: %q is not of the form cdn.example.com or *.example.com", host)
		}
		opts.RedirectHosts[i] = strings.ToLower(host)
	}
	opts.MaxRedirects = orDefault(opts.MaxRedirects, 3)
	opts.Retries = orDefault(opts.Retries, 2)
	opts.MaxConns = orDefault(opts.MaxConns, 128)
	opts.ResponseHeaderTimeout = orDefault(opts.ResponseHeaderTimeout, 10*time.Second)
	opts.Timeout = orDefault(opts.Timeout, time.Minute)
	opts.MinRate = orDefault(opts.MinRate, 1024)
	opts.BreakAfter = orDefault(opts.BreakAfter, 10)
	if opts.BreakFor <= 0 {
		opts.BreakFor = 5 * time.Second
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.DialTimeout <= 0 {
		opts.DialTimeout = 5 * time.Second
	}
	if opts.MaxResponseHeaderBytes <= 0 {
		opts.MaxResponseHeaderBytes = 64 << 10
	}

	h := &HTTP{base: u, opts: opts, ports: append([]uint16{80, 443, port(u)}, opts.Ports...)}
	h.guard = newGuard(h.ports)
	h.breakers = &breakers{after: opts.BreakAfter, pause: opts.BreakFor, log: opts.Logger, hosts: make(map[string]*breaker)}
	h.transport = &http.Transport{
		Proxy:                  nil, // the guard would see the proxy's address instead of the origin's
		DialContext:            h.dial,
		TLSHandshakeTimeout:    opts.DialTimeout,
		TLSClientConfig:        opts.TLS.Clone(),
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // images do not shrink; a few compressed bytes could grow without end
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    64,
		MaxConnsPerHost:        opts.MaxConns,
		IdleConnTimeout:        90 * time.Second,
		ResponseHeaderTimeout:  opts.ResponseHeaderTimeout,
		MaxResponseHeaderBytes: opts.MaxResponseHeaderBytes,
	}
	return h, nil
}

// orDefault returns def for zero, and zero, which is "none" to what is configured with it, for a negative v.
func orDefault[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return max(v, 0)
}

func parseBase(base string) (*url.URL, error) {
	fail := func(reason string) (*url.URL, error) {
		return nil, fmt.Errorf("origin: base %s: want a URL such as https://img.example.com/photos", reason)
	}
	// A base may hold a password by mistake, so no error quotes it.
	u, err := url.Parse(base)
	switch {
	case err != nil:
		return fail("is not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return fail("has no http or https scheme")
	case u.Hostname() == "":
		return fail("has no host")
	case u.User != nil:
		return fail("has a user name (credentials go into HTTPOptions.Header)")
	case u.RawQuery != "" || u.ForceQuery:
		return fail("has a query")
	case strings.Contains(base, "#"):
		return fail("has a fragment")
	case strings.HasSuffix(u.Host, ":"):
		return fail("has an empty port")
	}
	if s := u.Port(); s != "" {
		if n, err := strconv.ParseUint(s, 10, 16); err != nil || n == 0 {
			return fail("has a port that is none")
		}
	}
	escaped := strings.TrimRight(u.EscapedPath(), "/")
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			return fail("has a . or .. segment")
		}
	}
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return fail("is not a URL")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: path, RawPath: escaped}, nil
}

// join returns the URL of an image. Its decoded path is the base's followed by the image's, byte for byte.
func (h *HTTP) join(path string) *url.URL {
	var b strings.Builder
	b.Grow(len(h.base.RawPath) + len(path) + 16)
	b.WriteString(h.base.RawPath)
	for i := range len(path) {
		switch c := path[i]; {
		case c == '/', c == '-', c == '.', c == '_', c == '~',
			'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			b.WriteByte(c)
		default:
			// Also what a path may hold as it is: some servers take "+" for a space, or cut at ";".
			const hex = "0123456789ABCDEF"
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	u := *h.base
	u.Path += path
	u.RawPath = b.String()
	return &u
}

// port returns the port that u is at; zero if it is not a number of 16 bits.
func port(u *url.URL) uint16 {
	switch s := u.Port(); {
	case s != "":
		n, _ := strconv.ParseUint(s, 10, 16)
		return uint16(n)
	case u.Scheme == "https":
		return 443
	default:
		return 80
	}
}

// Close closes idle connections. Requests under way go on.
func (h *HTTP) Close() error {
	h.transport.CloseIdleConnections()
	return nil
}

// HTTPStats is what has become of requests since a client was made.
type HTTPStats struct {
	Retries int64 // requests that were sent again
	Opened  int64 // times that a host began to be left alone, as it had failed often
	Refused int64 // requests that were not sent, as their host was left alone

	Failing   int // hosts whose last request failed, or that are left alone, now
	LeftAlone int // of those, how many are left alone, now
}

// Stats says what has become of requests.
func (h *HTTP) Stats() HTTPStats {
	b := h.breakers
	b.mu.Lock()
	defer b.mu.Unlock()
	s := HTTPStats{Retries: h.retried.Load(), Opened: b.opened, Refused: b.refused}
	for _, host := range b.hosts {
		if host.open || host.failures > 0 {
			s.Failing++
		}
		if host.open {
			s.LeftAlone++
		}
	}
	return s
}

// RoundTrip fetches an image:
//
//  1. The request is checked, and its path joined to the base.
//  2. It is sent with HTTPOptions.Header, Accept-Encoding: identity and the other fields of the request
//     but Range, If-Range and those of a connection (RFC 9110 section 7.6.1).
//  3. Connection failures, 502, 503 and 504 are tried again, and redirects followed. A host that has failed often is not asked.
//  4. A 2xx response with a Content-Encoding is an error. Any other with one loses its body and keeps its status.
//  5. The response is returned; its body is bounded by HTTPOptions.Timeout and MinRate.
//
// A status of the origin, also the last 503 of several, is a response. A body without Content-Length
// over HTTP/1.0 that is cut short cannot be told from a whole one.
func (h *HTTP) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := admit(req); err != nil {
		return nil, err
	}
	ctx, end := context.WithCancelCause(req.Context())
	cancel := func() { end(nil) }
	if h.opts.Timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, h.opts.Timeout)
		cancel = func() { stop(); end(nil) }
	}
	resp, sent, err := h.exchange(ctx, req)
	if err != nil {
		cancel()
		return nil, failure(err)
	}
	resp.Request = req
	if !identity(resp.Header) && resp.StatusCode != http.StatusNotModified {
		if resp.StatusCode/100 == 2 {
			resp.Body.Close()
			cancel()
			sent.succeed()
			return nil, &Error{
				Text:  "origin: the response has a Content-Encoding, though none was asked for",
				Cause: fmt.Errorf("Content-Encoding: %q", resp.Header["Content-Encoding"]),
			}
		}
		discard(resp.Body)
		resp.Body, resp.ContentLength = http.NoBody, 0
		resp.Header.Del("Content-Encoding")
		resp.Header.Del("Content-Length")
	}
	if resp.Body == http.NoBody {
		sent.succeed()
	}
	body := &httpBody{ReadCloser: resp.Body, ctx: ctx, cancel: cancel, sent: sent, rate: h.opts.MinRate, patience: patience}
	if body.rate > 0 {
		body.timer = time.AfterFunc(patience, func() { end(errTooSlow) })
		body.timer.Stop()
	}
	resp.Body = body
	return resp, nil
}

// exchange sends requests until there is a response to return. How the body of that ends is to be told to the attempt.
func (h *HTTP) exchange(ctx context.Context, req *http.Request) (*http.Response, *attempt, error) {
	u := h.join(req.URL.Path)
	u.RawQuery = req.URL.RawQuery
	trusted := true // u is where the credentials belong, as was every URL before it
	redirects, retries := h.opts.MaxRedirects, h.opts.Retries
	delay := firstBackoff
	for {
		sent, err := h.breakers.try(u.Host)
		if err != nil {
			return nil, nil, err
		}
		resp, err := h.transport.RoundTrip(h.outgoing(ctx, req, u, trusted))
		switch {
		case err != nil && (req.Context().Err() != nil || errors.Is(err, ErrRefused)):
			sent.abandon()
		case err != nil:
			sent.fail(err)
		case failing(resp):
			sent.fail(nil)
		}
		switch {
		case err != nil && transient(err), err == nil && busy(resp):
			wait := delay/2 + rand.N(delay/2)
			if deadline, ok := ctx.Deadline(); retries <= 0 || ok && time.Until(deadline) <= wait || !h.breakers.lets(u.Host) {
				return resp, sent, err
			}
			if err == nil {
				discard(resp.Body)
			}
			retries--
			h.retried.Add(1)
			delay = min(2*delay, lastBackoff)
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return nil, nil, ctx.Err()
			}

		case err == nil && redirected(resp):
			discard(resp.Body)
			sent.succeed()
			if redirects <= 0 {
				return nil, nil, &Error{Text: "origin: refused: too many redirects", Kind: ErrRefused}
			}
			redirects--
			next, err := h.follow(u, resp.Header.Get("Location"))
			if err != nil {
				return nil, nil, err
			}
			trusted = trusted && sameOrigin(u, next)
			u = next

		default:
			return resp, sent, err
		}
	}
}

// outgoing returns the request to send to u.
func (h *HTTP) outgoing(ctx context.Context, req *http.Request, u *url.URL, trusted bool) *http.Request {
	header := req.Header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	for _, list := range header["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			header.Del(textproto.TrimString(name))
		}
	}
	for _, name := range []string{
		"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade", "Content-Length", "Expect", "Range", "If-Range",
	} {
		delete(header, name)
	}
	header.Set("User-Agent", "imagecdn")
	host := u.Host
	if trusted {
		for name, values := range h.opts.Header {
			if name == "Host" {
				if len(values) > 0 {
					host = values[0]
				}
				continue
			}
			header[name] = values
		}
	} else {
		delete(header, "Authorization")
		delete(header, "Cookie")
	}
	header.Set("Accept-Encoding", "identity")
	method := req.Method
	if method == "" {
		method = http.MethodGet
	}
	out := &http.Request{
		Method: method,
		URL:    u,
		Host:   host,
		Header: header,
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	return out.WithContext(context.WithValue(ctx, anyAddress{}, h.mayBePrivate(u.Hostname())))
}

// transient reports whether err, which came before any response, may be gone the next time.
func transient(err error) bool {
	var dns *net.DNSError
	var op *net.OpError
	switch e := failure(err); {
	case e.Kind != nil: // refused, cancelled, too slow
		return false
	case errors.As(err, &dns):
		return !dns.IsNotFound
	case errors.As(err, &op):
		return op.Op == "dial" || op.Op == "read" || op.Op == "write"
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// failing reports whether a response says that its host, or one behind it, does not work.
func failing(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// busy reports whether a response is one to try again after. One with Retry-After is not: it says when.
func busy(resp *http.Response) bool { return failing(resp) && resp.Header.Get("Retry-After") == "" }

func redirected(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// follow returns where a redirect at u leads, if it may lead there. What address that is, the guard will see.
func (h *HTTP) follow(u *url.URL, location string) (*url.URL, error) {
	refuse := func(reason string) (*url.URL, error) {
		return nil, &Error{
			Text:  "origin: refused: a redirect " + reason,
			Kind:  ErrRefused,
			Cause: fmt.Errorf("redirect from %q to %q", u.Redacted(), location),
		}
	}
	if location == "" {
		return refuse("has no Location")
	}
	next, err := u.Parse(location)
	switch {
	case err != nil:
		return refuse("is not a URL")
	case next.Scheme != "http" && next.Scheme != "https":
		return refuse("is not to http or https")
	case next.Scheme == "http" && u.Scheme == "https":
		return refuse("is from https to http")
	case next.User != nil:
		return refuse("has a user name")
	case next.Hostname() == "":
		return refuse("has no host")
	case !slices.Contains(h.ports, port(next)):
		return refuse("is to a port that HTTPOptions.Ports does not have")
	case !h.mayRedirectTo(next.Hostname()):
		return refuse("is to a host that HTTPOptions.RedirectHosts does not have")
	}
	next.Fragment, next.RawFragment = "", ""
	return next, nil
}

func (h *HTTP) mayRedirectTo(host string) bool {
	return len(h.opts.RedirectHosts) == 0 || strings.EqualFold(host, h.base.Hostname()) || h.listed(host)
}

// listed reports whether RedirectHosts has the host.
func (h *HTTP) listed(host string) bool {
	host = strings.ToLower(host)
	return slices.ContainsFunc(h.opts.RedirectHosts, func(pattern string) bool {
		if parent, ok := strings.CutPrefix(pattern, "*"); ok { // parent begins with the dot
			return len(host) > len(parent) && strings.HasSuffix(host, parent)
		}
		return host == pattern
	})
}

// sameOrigin reports whether credentials for a may be sent to b.
func sameOrigin(a, b *url.URL) bool {
	if !strings.EqualFold(a.Hostname(), b.Hostname()) {
		return false
	}
	if a.Scheme == "http" && b.Scheme == "https" {
		return port(a) == 80 && port(b) == 443
	}
	return a.Scheme == b.Scheme && port(a) == port(b)
}

// identity reports whether a response's bytes are the image's own.
func identity(header http.Header) bool {
	for _, list := range header["Content-Encoding"] {
		for coding := range strings.SplitSeq(list, ",") {
			if coding = textproto.TrimString(coding); coding != "" && !strings.EqualFold(coding, "identity") {
				return false
			}
		}
	}
	return true
}

// discard ends a body that is not wanted.
func discard(body io.ReadCloser) {
	io.CopyN(io.Discard, body, maxDiscard)
	body.Close()
}

// httpBody is a response's body under the exchange's deadline and the least rate.
type httpBody struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelFunc
	sent   *attempt

	rate     int           // bytes a second; zero: none
	patience time.Duration // that is left for waiting
	timer    *time.Timer   // ends the exchange when there is none left; nil where rate is zero
}

var errTooSlow = &Error{Text: "origin: the origin sends too slowly", Kind: ErrTimeout}

func (b *httpBody) Read(p []byte) (int, error) {
	n, err := b.wait(p)
	if err == nil {
		return n, nil
	}
	if err == io.EOF {
		b.sent.succeed()
		b.cancel()
		return n, err
	}
	// A cancelled HTTP/1 connection reports that it was closed, and not always why.
	cause := context.Cause(b.ctx)
	if cause != nil && !errors.Is(err, cause) {
		err = errors.Join(cause, err)
	}
	if cause == nil || cause == errTooSlow {
		b.sent.fail(err)
	} else {
		b.sent.abandon() // the reader went away, or took some of the time that is over
	}
	return n, cutShort(err)
}

// wait reads, and counts how long that takes.
func (b *httpBody) wait(p []byte) (int, error) {
	if b.timer == nil {
		return b.ReadCloser.Read(p)
	}
	start := time.Now()
	b.timer.Reset(b.patience)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	gained := time.Duration(n) * time.Second / time.Duration(b.rate)
	b.patience = min(max(b.patience-time.Since(start), 0)+gained, patience)
	return n, err
}

func (b *httpBody) Close() error {
	err := b.ReadCloser.Close()
	b.sent.succeed() // there was no fault in what was read
	b.cancel()
	return err
}
