package imagecdn

import (
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/imagecdn/imagecdn/resize"
)

// counters are what a handler counts beside stats, off the path of hits in memory.
type counters struct {
	diskHits atomic.Int64 // of the requests that were hits
	errors   [len(errorStatuses) + 1]atomic.Int64
	renders  [len(renderFormats) + 1]renderCounters
	stored   histogram // pictures given to the cache
	spare    atomic.Int64
	behind   atomic.Int64 // pictures made that no request waited for

	toldHits atomic.Int64 // the most hits in memory that were ever told
}

// errorStatuses are those that are counted by themselves.
var errorStatuses = [...]int{400, 403, 404, 405, 410, 413, 415, 422, 429, 500, 502, 503, 504}

// renderFormats are those that are counted by themselves. The last counter is of what is none of them.
var renderFormats = [...]resize.Format{
	resize.JPEG, resize.PNG, resize.GIF, resize.WebP, resize.AVIF, resize.JSON, resize.BlurHashText, resize.PaletteJSON, resize.PaletteCSS, drawingFormat,
}

// drawingFormat stands for SVG, of which nothing is rendered: it is written anew.
const drawingFormat resize.Format = "svg"

// renderCounters are of the pictures of one format.
type renderCounters struct {
	took      histogram    // without waiting
	read      atomic.Int64 // pixels of inputs
	written   atomic.Int64 // pixels of pictures
	bytesRead atomic.Int64
	bytes     atomic.Int64
}

// refused counts an answer that is no picture.
func (c *counters) refused(status int) {
	i := slices.Index(errorStatuses[:], status)
	if i < 0 {
		i = len(errorStatuses)
	}
	c.errors[i].Add(1)
}

// made is a picture that has been made, for the counters.
type made struct {
	format        resize.Format
	read, written int64 // pixels
	bytesRead     int64
	bytes         int64
}

// rendered counts a picture that was made.
func (c *counters) rendered(m made, worked time.Duration) {
	i := slices.Index(renderFormats[:], m.format)
	if i < 0 {
		i = len(renderFormats)
	}
	r := &c.renders[i]
	r.took.observe(worked)
	r.read.Add(m.read)
	r.written.Add(m.written)
	r.bytesRead.Add(m.bytesRead)
	r.bytes.Add(m.bytes)
}

// originCounters are of the exchanges with one source.
type originCounters struct {
	results [originResults]atomic.Int64
}

// originResult is how an exchange with an origin ended.
type originResult uint8

const (
	originOK          originResult = iota // 2xx
	originNotModified                     // 304
	originRedirected                      // another 3xx
	originRefused                         // 4xx
	originFailed                          // 5xx
	originNoAnswer
	originResults
)

var originResultNames = [originResults]string{"ok", "not_modified", "redirected", "refused", "failed", "no_answer"}

func originResultOf(resp *http.Response, err error) originResult {
	switch {
	case err != nil:
		return originNoAnswer
	case resp.StatusCode == http.StatusNotModified:
		return originNotModified
	case resp.StatusCode >= 500:
		return originFailed
	case resp.StatusCode >= 400:
		return originRefused
	case resp.StatusCode >= 300:
		return originRedirected
	}
	return originOK
}
