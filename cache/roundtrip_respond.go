package cache

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// respond makes the response to req from an entry and its body, which a condition or a range of the request may
// leave out. stored says that the body comes from the store, and so has an Age.
func (t *Transport) respond(req *http.Request, lease Lease, e *Entry, body []byte, status string, stored bool) *http.Response {
	h := e.Header.Clone()
	if stored {
		h.Set("Age", strconv.FormatInt(int64(e.Age(time.Now())/time.Second), 10))
	}
	t.addStatus(h, status)
	t.unlessAlive(lease, h)
	if e.Status != http.StatusOK {
		return answer(req, e.Status, h, body, e.Size)
	}
	if notModified(req.Header, h) {
		for _, field := range []string{"Content-Type", "Content-Length", "Content-Encoding"} {
			h.Del(field)
		}
		if h.Get("Etag") != "" {
			h.Del("Last-Modified") // RFC 9110 section 15.4.5
		}
		return answer(req, http.StatusNotModified, h, nil, 0)
	}
	if ranges := rangesOf(req, h); ranges != "" && body != nil {
		return partOf(req, h, body, ranges)
	}
	return answer(req, e.Status, h, body, e.Size)
}

// unlessAlive sees to it that nobody keeps what a purge has overtaken.
func (t *Transport) unlessAlive(lease Lease, h http.Header) {
	if lease.Alive() && !lease.purged(&Entry{Header: h}) {
		return
	}
	h.Set("Cache-Control", "no-store")
	h.Del("Expires")
	for _, field := range append([]string{"CDN-Cache-Control"}, t.opts.Targets...) {
		h.Del(field) // a targeted field would go before it
	}
}

// answer makes a response. size is that of the whole body, which a response to HEAD does not have.
func answer(req *http.Request, code int, h http.Header, body []byte, size int64) *http.Response {
	r := &http.Response{
		Status:     strings.TrimSpace(strconv.Itoa(code) + " " + http.StatusText(code)),
		StatusCode: code,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:  h,
		Body:    http.NoBody,
		Request: req,
	}
	h.Del("Content-Length")
	if code == http.StatusNoContent || code == http.StatusNotModified {
		return r
	}
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	r.ContentLength = size
	if len(body) > 0 && req.Method != http.MethodHead {
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return r
}

// notModified evaluates the conditions of a request for a stored 200 with header h (RFC 9111 section 4.3.2).
func notModified(request, h http.Header) bool {
	if tags := request.Values("If-None-Match"); len(tags) > 0 {
		return matches(strings.Join(tags, ", "), h.Get("Etag"))
	}
	since, err := http.ParseTime(request.Get("If-Modified-Since"))
	if err != nil {
		return false
	}
	modified, err := http.ParseTime(h.Get("Last-Modified"))
	if err != nil {
		modified, err = http.ParseTime(h.Get("Date"))
	}
	return err == nil && !modified.After(since)
}

// matches compares the entity tags of If-None-Match with one, weakly (RFC 9110 section 8.8.3.2).
func matches(field, etag string) bool {
	field = strings.TrimSpace(field)
	if field == "*" || field == etag {
		return field != ""
	}
	etag = strings.TrimPrefix(etag, "W/")
	for {
		field = strings.TrimPrefix(strings.TrimLeft(field, " \t,"), "W/")
		if !strings.HasPrefix(field, `"`) {
			return false
		}
		end := strings.IndexByte(field[1:], '"') + 2
		if end < 2 {
			return false
		}
		if field[:end] == etag {
			return true
		}
		field = field[end:]
	}
}

// maxRanges bounds the ranges of one request: many small ones cost more than the whole (RFC 9110 section 17.15).
const maxRanges = 16

// rangesOf is the Range of a request where it counts (RFC 9110 sections 13.1.5 and 14.2), else empty.
func rangesOf(req *http.Request, h http.Header) string {
	unit, set, ok := strings.Cut(req.Header.Get("Range"), "=")
	if req.Method == http.MethodHead || !ok || !strings.EqualFold(strings.TrimSpace(unit), "bytes") || strings.Count(set, ",") >= maxRanges {
		return ""
	}
	if cond := req.Header.Get("If-Range"); cond != "" {
		if strings.Contains(cond, `"`) {
			if cond != h.Get("Etag") || strings.HasPrefix(cond, "W/") {
				return ""
			}
		} else if !sameStrongDate(cond, h) {
			return ""
		}
	}
	return "bytes=" + set
}

// sameStrongDate reports whether a date is Last-Modified, and that is a strong validator: at least a second before
// Date (RFC 9110 section 8.8.2.2).
func sameStrongDate(date string, h http.Header) bool {
	d, errD := http.ParseTime(date)
	modified, errM := http.ParseTime(h.Get("Last-Modified"))
	sent, errS := http.ParseTime(h.Get("Date"))
	return errD == nil && errM == nil && errS == nil && d.Equal(modified) && sent.Sub(modified) >= time.Second
}

// partOf answers with ranges of a body, by net/http's own rules.
func partOf(req *http.Request, h http.Header, body []byte, ranges string) *http.Response {
	typed := h.Get("Content-Type") != ""
	if !typed {
		h["Content-Type"] = nil // not to be guessed
	}
	w := &capture{header: h, status: http.StatusOK}
	http.ServeContent(w, &http.Request{Method: http.MethodGet, Header: http.Header{"Range": {ranges}}}, "", time.Time{}, bytes.NewReader(body))
	if w.status == http.StatusRequestedRangeNotSatisfiable {
		kept := make(http.Header) // of the whole, nothing holds for this answer
		for _, field := range []string{"Date", "Content-Range", "Cache-Status", "Content-Type"} {
			if v, ok := w.header[field]; ok {
				kept[field] = v
			}
		}
		w.header = kept
	}
	if len(w.header["Content-Type"]) == 0 {
		delete(w.header, "Content-Type")
	}
	return answer(req, w.status, w.header, w.body, int64(len(w.body)))
}

// capture is a ResponseWriter into memory.
type capture struct {
	header http.Header
	status int
	body   []byte
}

func (c *capture) Header() http.Header { return c.header }

func (c *capture) WriteHeader(status int) {
	c.status = status
	if n, err := strconv.Atoi(c.header.Get("Content-Length")); err == nil && c.body == nil {
		c.body = make([]byte, 0, n)
	}
}

func (c *capture) Write(b []byte) (int, error) {
	c.body = append(c.body, b...)
	return len(b), nil
}
