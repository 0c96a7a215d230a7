package middleware

import (
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// An AccessLog writes one record for each request, when it has been answered:
//
//	method      GET
//	host        img.example.com
//	path        /photos/cat.jpg, as it was sent
//	query       w=400&s=REDACTED, as it was sent but for what is secret; not there if empty
//	status      200
//	bytes       of the body, as they were written
//	duration    from the request's arrival to the end of the handler
//	remote      address and port of who is connected, be it a proxy: no header that anybody can set is believed
//	cache       the response's Cache-Status; not there if empty
//	referer     without its query, which may hold secrets of another site; not there if empty
//	agent       the User-Agent; not there if empty
//	aborted     true if the handler broke off with http.ErrAbortHandler; not there otherwise
//	panic       true if the handler panicked with anything else; not there otherwise
//
// The message is "request". Values that come from the request are cut at 2048 bytes (path, query) or 512.
//
// The zero value logs nothing.
type AccessLog struct {
	// Logger gets the records. Nil means that nothing is logged: there is no global logger behind it.
	Logger *slog.Logger

	// Level of the records. Nil means slog.LevelInfo. Responses with a status of 500 or above are logged at
	// slog.LevelError at least.
	Level slog.Leveler

	// Redact are the names of parameters whose values are not logged.
	// Nil means those of signatures: s, ci_sign and ci_seal. A list replaces these.
	Redact []string
}

var signatures = []string{"s", "ci_sign", "ci_seal"}

// Handler returns a handler that logs the requests to h. With no Logger it is h itself.
//
// A panic of h goes on after it is logged, with status 500 if the response had not begun, and net/http does
// with it what it always does. http.ErrAbortHandler is logged with the status that was sent, which is 0 for none.
func (l *AccessLog) Handler(h http.Handler) http.Handler {
	if l.Logger == nil {
		return h
	}
	logger, redact := l.Logger, slices.Clone(l.Redact)
	if l.Redact == nil {
		redact = signatures
	}
	level := l.Level
	if level == nil {
		level = slog.LevelInfo
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		// Taken now: handlers inside are free to change the request.
		path, query, _ := strings.Cut(requestURI(r), "?")
		method, host, remote := r.Method, r.Host, r.RemoteAddr
		referer, agent := r.Referer(), r.UserAgent()
		resp := &response{ResponseWriter: w}
		returned := false

		defer func() {
			var problem any
			if !returned {
				problem = recover()
			}
			status := resp.status
			switch {
			case status != 0:
			case returned:
				status = http.StatusOK // net/http sends it when this returns
			case problem != http.ErrAbortHandler:
				status = http.StatusInternalServerError
			}
			lvl := level.Level()
			if status >= 500 || problem != nil && problem != http.ErrAbortHandler {
				lvl = max(lvl, slog.LevelError)
			}
			if logger.Enabled(r.Context(), lvl) {
				bytes := resp.bytes
				if method == http.MethodHead {
					bytes = 0 // net/http takes them, and sends none
				}
				attrs := make([]slog.Attr, 0, 13)
				attrs = append(attrs,
					slog.String("method", clip(method, 512)),
					slog.String("host", clip(host, 512)),
					slog.String("path", clip(path, 2048)),
				)
				attrs = appendString(attrs, "query", clip(redactQuery(query, redact), 2048))
				attrs = append(attrs,
					slog.Int("status", status),
					slog.Int64("bytes", bytes),
					slog.Duration("duration", time.Since(start)),
					slog.String("remote", remote),
				)
				attrs = appendString(attrs, "cache", clip(w.Header().Get("Cache-Status"), 512))
				attrs = appendString(attrs, "referer", clip(redactReferer(referer), 512))
				attrs = appendString(attrs, "agent", clip(agent, 512))
				switch problem {
				case nil:
				case http.ErrAbortHandler:
					attrs = append(attrs, slog.Bool("aborted", true))
				default:
					attrs = append(attrs, slog.Bool("panic", true))
				}
				logger.LogAttrs(r.Context(), lvl, "request", attrs...)
			}
			if problem != nil {
				panic(problem)
			}
		}()

		h.ServeHTTP(resp, r)
		returned = true
	})
}

func appendString(attrs []slog.Attr, key, value string) []slog.Attr {
	if value == "" {
		return attrs
	}
	return append(attrs, slog.String(key, value))
}

// clip returns at most the first n bytes of s. It is a copy if it is shorter, so that a log that keeps it does
// not keep all of s.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.Clone(strings.ToValidUTF8(s[:n], ""))
}

// redactQuery replaces the values of the named parameters of a raw query.
func redactQuery(query string, names []string) string {
	params := strings.Split(query, "&")
	changed := false
	for i, param := range params {
		if slices.ContainsFunc(names, func(name string) bool { return isParam(param, name) }) {
			key, _, _ := strings.Cut(param, "=")
			params[i] = key + "=REDACTED"
			changed = true
		}
	}
	if !changed {
		return query
	}
	return strings.Join(params, "&")
}

// redactReferer returns a referer's scheme, host and path.
func redactReferer(referer string) string {
	u, err := url.Parse(referer)
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
	return u.String()
}
