package imagecdn

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
)

// maxContents is how many things of an image are listed: their files are read for it.
const maxContents = 200

// imageReport is what GET /api/v1/images/{source}/{path...} answers: what is known and kept of an image, without anybody being asked.
type imageReport struct {
	Image    string          `json:"image"` // /source/path, clean
	Source   string          `json:"source"`
	Path     string          `json:"path"`
	State    string          `json:"state"` // of the version "", or the first that is known: see versionReport; else "unknown"
	Versions []versionReport `json:"versions"`

	// What is kept under the image's own keys, and the pictures of other images that it is composited into.
	Kept []thingReport `json:"kept"`
	In   []thingReport `json:"in"`
	More bool          `json:"more"` // there is more than what is listed

	// Of what is listed in Kept.
	Originals   int   `json:"originals"`
	Derivatives int   `json:"derivatives"`
	Composites  int   `json:"composites"`
	Bytes       int64 `json:"bytes"`
}

// versionReport is what an origin last said of an image.
type versionReport struct {
	Version string `json:"version"` // of vh, and after a line break the query; empty for the image itself

	// State is "fresh", "stale" (to be asked about, or used while that happens), "marked" (a purge has left it to be asked about), or
	// "refused" (the origin has no such image, or failed).
	State string `json:"state"`

	Status       int       `json:"status"`
	Reason       string    `json:"reason,omitempty"`
	Fetched      time.Time `json:"fetched"`
	Age          int64     `json:"age"`      // seconds
	Lifetime     int64     `json:"lifetime"` // seconds
	TTL          int64     `json:"ttl"`      // seconds, less than zero past the lifetime
	NoStore      bool      `json:"no_store,omitempty"`
	Type         string    `json:"type,omitempty"`
	Bytes        int64     `json:"bytes"`
	Digest       string    `json:"digest,omitempty"` // SHA-256, in hexadecimal
	ETag         string    `json:"etag,omitempty"`
	LastModified string    `json:"last_modified,omitempty"`
	CacheControl string    `json:"cache_control,omitempty"`
	Tags         []string  `json:"tags,omitempty"`
}

// thingReport is something that is kept.
type thingReport struct {
	Kind   string   `json:"kind"`  // "original", "derivative" or "composite"
	Image  string   `json:"image"` // whose it is
	Sum    string   `json:"sum"`   // what it is kept under, in hexadecimal
	ETag   string   `json:"etag,omitempty"`
	Type   string   `json:"type"`
	Bytes  int64    `json:"bytes"`
	Inputs []string `json:"inputs,omitempty"` // of a composite: the other images that are in it
	URLs   []string `json:"urls,omitempty"`   // that were asked for lately and gave this; of a composite none are known
	Memory bool     `json:"memory"`
	Disk   bool     `json:"disk"`
}

var kindNames = [...]string{cache.Original: "original", cache.Derivative: "derivative", cache.Composite: "composite"}

// describe says what is known and kept of an image. path is clean.
func (h *Handler) describe(r *http.Request, path string) (*imageReport, error) {
	s, image, err := h.targets.find(path)
	if err != nil {
		return nil, err
	}
	source, _, _ := strings.Cut(path[1:], "/")
	report := &imageReport{Image: path, Source: source, Path: image, State: "unknown", Versions: []versionReport{}, Kept: []thingReport{}, In: []thingReport{}}
	versions := s.cache.Versions(image)
	if !slices.Contains(versions, "") {
		versions = append(versions, "")
	}
	slices.Sort(versions)
	now := time.Now()
	for _, v := range versions {
		if e := s.cache.Known(image, v); e != nil {
			report.Versions = append(report.Versions, describeEntry(v, e, now))
		}
	}
	if len(report.Versions) > 0 {
		report.State = report.Versions[0].State
	}
	teller, ok := h.store.(cache.Teller)
	if !ok {
		return report, nil
	}
	all, more, err := teller.Contents(r.Context(), source, image, maxContents)
	if err != nil {
		return nil, err
	}
	report.More = more
	cache.SortContents(all)
	urls := h.recent.urls(Image{Source: source, Path: image})
	for _, c := range all {
		thing := describeContent(c)
		if c.Key.Source != source || c.Key.Image != image {
			report.In = append(report.In, thing)
			continue
		}
		thing.URLs = urls[c.Key.Sum]
		report.Kept = append(report.Kept, thing)
		report.Bytes += c.Bytes
		switch c.Key.Kind {
		case cache.Original:
			report.Originals++
		case cache.Derivative:
			report.Derivatives++
		case cache.Composite:
			report.Composites++
		}
	}
	return report, nil
}

func describeEntry(version string, e *cache.Entry, now time.Time) versionReport {
	age := e.Age(now)
	v := versionReport{
		Version: version, Status: e.Status, Reason: e.Reason, Fetched: e.ResponseTime.UTC(),
		Age: int64(age / time.Second), Lifetime: int64(e.Freshness.Lifetime / time.Second), TTL: int64((e.Freshness.Lifetime - age) / time.Second),
		NoStore: e.Freshness.NoStore, Type: e.Header.Get("Content-Type"), Bytes: e.Size,
		ETag: e.Header.Get("Etag"), LastModified: e.Header.Get("Last-Modified"), CacheControl: e.Header.Get("Cache-Control"), Tags: cache.TagsOf(e.Header),
	}
	if e.OK() {
		v.Digest = e.Digest.String()
	}
	switch {
	case !e.OK():
		v.State = "refused"
	case e.Marked():
		v.State = "marked"
	case age < e.Freshness.Lifetime:
		v.State = "fresh"
	default:
		v.State = "stale"
	}
	return v
}

func describeContent(c cache.Content) thingReport {
	t := thingReport{
		Kind: kindNames[c.Key.Kind], Image: "/" + c.Key.Source + c.Key.Image, Sum: c.Key.Sum.String(), Type: c.Header.Get("Content-Type"),
		Bytes: c.Bytes, Memory: c.Memory, Disk: c.Disk,
	}
	if c.Key.Kind != cache.Original {
		t.ETag = `"` + hex.EncodeToString(c.Key.Sum[:16]) + `"`
	}
	for _, in := range c.Inputs {
		t.Inputs = append(t.Inputs, "/"+in.Source+in.Image)
	}
	return t
}

// maxURLs is how many URLs of one picture are told.
const maxURLs = 5

// urls returns the URLs, of those remembered, that pictures of an image were last asked for by.
func (r *recent) urls(i Image) map[cache.Digest][]string {
	found := make(map[cache.Digest][]string)
	r.mu.RLock()
	defer r.mu.RUnlock()
	for raw, p := range r.all {
		last := p.key.Load()
		if last == nil || p.Image.Source != i.Source || p.Image.Path != i.Path || len(found[last.sum]) == maxURLs {
			continue
		}
		u := url.URL{Path: raw.path, RawPath: raw.rawPath, RawQuery: raw.query}
		found[last.sum] = append(found[last.sum], u.String())
	}
	for _, urls := range found {
		slices.Sort(urls)
	}
	return found
}

func (a *admin) image(w http.ResponseWriter, r *http.Request) {
	path, err := purge.CleanPath(strings.TrimPrefix(r.URL.EscapedPath(), "/api/v1/images"))
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	report, err := a.h.describe(r, path)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, report)
}

// An askReport is what a request for a picture was answered.
type askReport struct {
	URL    string
	Status int
	Text   string // of an answer that is no picture
	Header http.Header
	Bytes  int64
	Took   time.Duration
}

// ask sends a request for a picture to the handler itself, past whatever is mounted around it.
func (h *Handler) ask(r *http.Request, rawURL, accept string) (*askReport, error) {
	u, err := url.ParseRequestURI(rawURL)
	if err != nil || u.Host != "" || !strings.HasPrefix(rawURL, "/") || strings.HasPrefix(rawURL, "//") {
		return nil, fmt.Errorf("%q is no path of an image with parameters, such as /photos/cat.jpg?w=400", oneLine(rawURL))
	}
	sent, err := http.NewRequestWithContext(r.Context(), http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	sent.RemoteAddr = r.RemoteAddr
	sent.Header.Set("Accept", accept)
	answer := &answerRecorder{header: make(http.Header)}
	began := time.Now()
	h.ServeHTTP(answer, sent)
	return &askReport{URL: rawURL, Status: answer.status, Text: answer.text.String(), Header: answer.header, Bytes: answer.bytes, Took: time.Since(began)}, nil
}

// An answerRecorder keeps all of an answer but a picture's bytes.
type answerRecorder struct {
	header http.Header
	status int
	bytes  int64
	text   strings.Builder
}

func (a *answerRecorder) Header() http.Header { return a.header }

func (a *answerRecorder) WriteHeader(status int) { a.status = status }

func (a *answerRecorder) Write(b []byte) (int, error) {
	if a.status >= 400 && a.text.Len() < 1000 {
		a.text.Write(b)
	}
	a.bytes += int64(len(b))
	return len(b), nil
}

// thing shows something that is kept, if that is a picture that cannot run anything.
func (a *admin) thing(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	kind := slices.Index(kindNames[:], q.Get("kind"))
	var sum cache.Digest
	path, err := purge.CleanPath(q.Get("image"))
	if err != nil || kind < 0 || sum.UnmarshalText([]byte(q.Get("sum"))) != nil {
		http.Error(w, "that names nothing that is kept", http.StatusBadRequest)
		return
	}
	source, image, _ := strings.Cut(path[1:], "/")
	th, err := a.h.store.Get(r.Context(), cache.Key{Source: source, Image: "/" + image, Kind: cache.Kind(kind), Sum: sum})
	if err != nil {
		http.Error(w, "it is not kept any more", http.StatusNotFound)
		return
	}
	contentType := th.Header.Get("Content-Type")
	drawing := contentType == drawingType
	if !strings.HasPrefix(contentType, "image/") || drawing && cache.Kind(kind) == cache.Original {
		http.Error(w, "it is no picture that can be shown", http.StatusUnsupportedMediaType)
		return
	}
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	if drawing {
		header.Set("Content-Security-Policy", drawingPolicy)
	}
	_, _ = w.Write(th.Body) // a client that has gone needs none
}
