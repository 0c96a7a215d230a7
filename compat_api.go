package imagecdn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

// compatible adds the purge APIs of others to mux. Each makes the same purges as POST /api/v1/purges, for who is let in there, and differs in
// how it is asked and what it answers. Fields that a body has beside those that are known mean nothing: none of those could make a
// purge larger.
func (a *admin) compatible(mux *http.ServeMux) {
	mux.HandleFunc("POST /invalidate", a.keyed("X-Client-Key", refuseCloudimage, a.invalidateCloudimage))
	mux.HandleFunc("GET /invalidate/{uuid}", a.keyed("X-Client-Key", refuseCloudimage, a.statusCloudimage))
	mux.HandleFunc("POST /api/v1/purge", a.keyed("", refuseImgix, a.purgeImgix))
	mux.HandleFunc("POST /invalidation", a.keyed("", refuseHere, a.invalidate))
}

// A refusal answers with an error in the form that a client knows.
type refusal func(w http.ResponseWriter, status int, code, message string)

func refuseHere(w http.ResponseWriter, status int, code, message string) {
	writeAPIError(w, status, code, message, "")
}

// keyed is guarded for clients that have the key in a field of their own, where header names one. What authorizes sees it where others have it.
func (a *admin) keyed(header string, refuse refusal, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		asked := r
		if key := r.Header.Get(header); header != "" && key != "" && r.Header.Get("Authorization") == "" {
			asked = r.Clone(r.Context())
			asked.Header.Set("Authorization", "Bearer "+key)
		}
		err := a.door.check(asked)
		if err == nil {
			next(w, r)
			return
		}
		e, text := authErrorOf(err), err.Error()
		if e == errNoKey && header != "" {
			text += ", or " + header + ": KEY"
		}
		if e.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		e.setRetry(w)
		refuse(w, e.status, e.code, text)
	}
}

// readJSONAs decodes the body of r, which is called what. It reports whether it could; else it has refused.
func readJSONAs(w http.ResponseWriter, r *http.Request, what string, v any, refuse refusal) bool {
	contentType := r.Header.Get("Content-Type")
	if t, _, err := mime.ParseMediaType(contentType); err != nil || t != "application/json" && !strings.HasSuffix(t, "+json") {
		refuse(w, http.StatusUnsupportedMediaType, "invalid_request", "the Content-Type is "+strconv.Quote(contentType)+"; the body is to be JSON")
		return false
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAPIBody))
	err := d.Decode(v)
	if err == nil && d.More() {
		err = errors.New("there is more than one")
	}
	if err == nil {
		return true
	}
	status := http.StatusBadRequest
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		status = http.StatusRequestEntityTooLarge
	}
	refuse(w, status, "invalid_request", "the body is not "+what+": "+strings.TrimPrefix(err.Error(), "json: "))
	return false
}

// purgePath is the path that an image is purged by, of its path in URLs, percent-encoded and with a leading slash, and their query.
func (h *Handler) purgePath(escaped, query string) (string, error) {
	image, err := h.imageAt(escaped, query)
	if err != nil {
		return "", err
	}
	return purge.EscapePath("/" + image.Source + image.Path), nil
}

// imageAt is the image that the dialect finds at a path. All its versions and queries are purged with it.
func (h *Handler) imageAt(escaped, query string) (Image, error) {
	u, err := url.ParseRequestURI(escaped)
	if err != nil {
		return Image{}, &ParamError{Param: "path", Value: escaped, Reason: "is not percent-encoded as a path is"}
	}
	dialect := unlimited(h.opts.Dialect)
	if query != "" {
		// It may say how the path is to be read, as ci_url_encoded of Cloudimage does. There is nothing at a URL whose query is refused.
		if req, err := dialect.ParseRequest(&url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: query}); err == nil {
			return req.Image, nil
		}
	}
	req, err := dialect.ParseRequest(&url.URL{Path: u.Path, RawPath: u.RawPath})
	return req.Image, err
}

// unlimited is d without what bounds the queries that it takes, which there are none of in purges.
func unlimited(d Dialect) Dialect {
	if l, ok := d.(*laddered); ok {
		d = l.Dialect
	}
	if l, ok := d.(limited); ok {
		d = l.Dialect
	}
	return d
}

// A selected is what a request of another's API is about.
type selected struct {
	everything               bool
	sources, folders, images []string
}

// addFolder adds all that is at paths below an escaped one.
func (s *selected) addFolder(h *Handler, escaped string) error {
	escaped = strings.TrimSuffix(escaped, "/")
	if escaped == "" {
		s.everything = true
		return nil
	}
	const within = "/x"
	image, err := h.imageAt(escaped+within, "")
	if err != nil {
		return err
	}
	switch folder, ok := strings.CutSuffix(image.Path, within); {
	case !ok:
		return &ParamError{Param: "path", Value: escaped, Reason: "is not that of a folder"}
	case folder == "":
		s.sources = append(s.sources, image.Source)
	default:
		s.folders = append(s.folders, purge.EscapePath("/"+image.Source+folder)+"/")
	}
	return nil
}

// requests are the purges that cover s.
func (s *selected) requests(mode purge.Mode) (all []purge.Request) {
	if s.everything {
		return []purge.Request{{Scope: purge.All, Mode: mode, Cause: purge.ByAPI}}
	}
	slices.Sort(s.sources)
	for _, source := range slices.Compact(s.sources) {
		all = append(all, purge.Request{Scope: purge.All, Source: source, Mode: mode, Cause: purge.ByAPI})
	}
	if len(s.folders) > 0 {
		all = append(all, purge.Request{Scope: purge.Prefix, Paths: s.folders, Mode: mode, Cause: purge.ByAPI})
	}
	if len(s.images) > 0 {
		all = append(all, purge.Request{Scope: purge.Original, Paths: s.images, Mode: mode, Cause: purge.ByAPI})
	}
	return all
}

// # Cloudimage

func refuseCloudimage(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, struct {
		Status string `json:"status"`
		Code   string `json:"code"`
		Msg    string `json:"msg"`
	}{"error", code, oneLine(message)})
}

func (a *admin) refuseCloudimage(w http.ResponseWriter, err error) {
	status, code, text := a.explain(w, err)
	refuseCloudimage(w, status, code, text)
}

// cloudimageTime is how Cloudimage writes times, which are UTC.
const cloudimageTime = "2006-01-02 15:04:05.000000"

type cloudimageInvalidation struct {
	Status  string          `json:"status"`
	UUID    string          `json:"uuid"`
	AddedAt string          `json:"added_at"`
	URLs    *cloudimageURLs `json:"urls,omitempty"`
	Scope   string          `json:"scope,omitempty"`
}

type cloudimageURLs struct {
	Received    []string `json:"received"` // null with scope all
	Invalidated []string `json:"invalidated"`
	Failed      []string `json:"failed"`
}

type cloudimageAnswer struct {
	Status       string                 `json:"status"`
	Msg          string                 `json:"msg,omitempty"`
	Invalidation cloudimageInvalidation `json:"invalidation"`
}

func (a *admin) invalidateCloudimage(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Scope string   `json:"scope"`
		URLs  []string `json:"urls"`
	}
	if !readJSONAs(w, r, "an invalidation", &body, refuseCloudimage) {
		return
	}
	var s selected
	switch {
	case body.Scope == "all" && len(body.URLs) == 0:
		s.everything = true
	case body.Scope == "all":
		refuseCloudimage(w, http.StatusBadRequest, "invalid_request", `urls goes with scope "original", and the scope is "all"`)
		return
	case body.Scope != "original":
		refuseCloudimage(w, http.StatusBadRequest, "invalid_request", fmt.Sprintf(
			`scope is %q; it may be "original", which covers all that was made of an image, or "all"`, printable(body.Scope)))
		return
	case len(body.URLs) == 0:
		refuseCloudimage(w, http.StatusBadRequest, "invalid_request", `urls is empty; list at least one, such as "`+cloudimageExample+`"`)
		return
	}
	for _, p := range body.URLs {
		if err := a.addCloudimage(&s, p); err != nil {
			a.refuseCloudimage(w, err)
			return
		}
	}
	requests := s.requests(purge.Delete)
	if len(requests) != 1 {
		refuseCloudimage(w, http.StatusBadRequest, "invalid_request", "urls has images, folders and whole sources mixed; make it several invalidations")
		return
	}
	job, err := a.h.purges.Submit(r.Context(), requests[0], nil)
	if err != nil {
		a.refuseCloudimage(w, err)
		return
	}
	w.Header().Set("Location", mounted(r)+"/"+job.ID())
	writeJSON(w, http.StatusCreated, cloudimageAnswer{
		Status: "success", Msg: "Your invalidation request has been received",
		Invalidation: cloudimageInvalidation{Status: "RECEIVED", UUID: job.ID(), AddedAt: job.Record().Date.Format(cloudimageTime)},
	})
}

// cloudimageExample is the right form where none can be made from what was given.
const cloudimageExample = "/sample.li/flat1.jpg"

// addCloudimage adds a path as Cloudimage's API takes it: that of URLs, without the host, or the URL of an origin. Refused is whatever
// has the query of a picture, or the host that pictures come from.
func (a *admin) addCloudimage(s *selected, given string) error {
	path, tail := given, ""
	if i := strings.IndexAny(path, "?#"); i >= 0 {
		path, tail = path[:i], path[i:]
	}
	var faults []string
	if !strings.HasPrefix(path, "/") {
		first, rest, _ := strings.Cut(path, "/")
		_, absolute := cutScheme(path)
		path = "/" + path
		if rest != "" && strings.ContainsAny(first, ".:") && !absolute {
			// A host that is there too much, or the slash that is missing before an origin's: what is meant is what there is.
			faults = append(faults, "has a host, and no leading slash")
			if _, err := a.h.imageAt("/"+rest, ""); err == nil {
				path = "/" + rest
			}
		}
	}
	switch {
	case given == "":
		faults = append(faults, "is empty")
	case tail == "":
	case tail[0] == '?':
		faults = append(faults, "has a query")
	default:
		faults = append(faults, "has a fragment")
	}
	want := ""
	folder, wildcard := strings.CutSuffix(path, "/*")
	switch {
	case wildcard && folder == "":
		faults = append(faults, `is everything, which is purged with scope "all"`)
	case strings.Contains(folder, "*"):
		faults = append(faults, "has a wildcard elsewhere than at its end, after a slash")
		want = "/sample.li/avatars/*"
	default:
		want = path
		if _, err := a.h.imageAt(want, ""); err != nil {
			want = cloudimageExample
		}
	}
	if len(faults) > 0 {
		return &purge.PathError{Path: given, Reason: strings.Join(faults, ", and "), Want: want}
	}
	if wildcard {
		return s.addFolder(a.h, folder)
	}
	image, err := a.h.purgePath(path, "")
	if err != nil {
		return err
	}
	s.images = append(s.images, image)
	return nil
}

var cloudimageStates = map[purge.State]string{
	purge.Received:        "RECEIVED",
	purge.Preparing:       "PREPARING",
	purge.FlushingServers: "FLUSHINGCLOUDIMAGESERVER",
	purge.FlushingCDN:     "FLUSHINGCDNSERVERS",
	purge.Done:            "DONE",
	purge.ErrorCDNNode:    "ERROR",
	purge.Error:           "ERROR",
	purge.Expired:         "ERROR",
}

func (a *admin) statusCloudimage(w http.ResponseWriter, r *http.Request) {
	rec, err := a.h.purges.Get(r.PathValue("uuid"))
	if err != nil {
		a.refuseCloudimage(w, err)
		return
	}
	in := cloudimageInvalidation{
		Status: cloudimageStates[rec.State], UUID: rec.ID, AddedAt: rec.Date.Format(cloudimageTime), Scope: "original",
		URLs: &cloudimageURLs{Invalidated: []string{}, Failed: []string{}},
	}
	if rec.Scope == purge.All {
		in.Scope = "all"
	}
	for _, p := range rec.Paths {
		path := p.Path
		if rec.Scope != purge.Tag {
			path = strings.ReplaceAll(purge.EscapePath(path), "%2A", "*")
		}
		if rec.Scope != purge.All {
			in.URLs.Received = append(in.URLs.Received, path)
		}
		switch p.State {
		case purge.Done:
			in.URLs.Invalidated = append(in.URLs.Invalidated, path)
		case purge.Error, purge.Expired:
			in.URLs.Failed = append(in.URLs.Failed, path)
		}
	}
	writeJSON(w, http.StatusOK, cloudimageAnswer{Status: "success", Invalidation: in})
}

// # imgix

const jsonAPI = "application/vnd.api+json"

type jsonAPIVersion struct {
	Version string `json:"version"`
}

func refuseImgix(w http.ResponseWriter, status int, code, message string) {
	type failure struct {
		Status string `json:"status"`
		Code   string `json:"code"`
		Title  string `json:"title"`
		Detail string `json:"detail"`
	}
	writeJSONAs(w, jsonAPI, status, struct {
		Errors  []failure      `json:"errors"`
		JSONAPI jsonAPIVersion `json:"jsonapi"`
	}{[]failure{{strconv.Itoa(status), code, http.StatusText(status), oneLine(message)}}, jsonAPIVersion{"1.0"}})
}

// imgixSpacing is how far apart purges of one image are to be at imgix.
const imgixSpacing = 10 * time.Second

func (a *admin) purgeImgix(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Data struct {
			Type       string `json:"type"`
			Attributes struct {
				URL string `json:"url"`

				// A purge here covers the pictures that an image is in, in whichever source.
				SubImage bool   `json:"sub_image"`
				SourceID string `json:"source_id"`
			} `json:"attributes"`
		} `json:"data"`
	}
	if !readJSONAs(w, r, "a purge", &body, refuseImgix) {
		return
	}
	if body.Data.Type != "purges" {
		refuseImgix(w, http.StatusBadRequest, "invalid_request", fmt.Sprintf(`data.type is %q; it is "purges"`, printable(body.Data.Type)))
		return
	}
	given := body.Data.Attributes.URL
	u, err := url.Parse(given)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		refuseImgix(w, http.StatusBadRequest, "invalid_request", fmt.Sprintf(
			`data.attributes.url is %q; it is the whole URL of an image, such as "https://img.example.com/photos/cat.jpg"`, printable(given)))
		return
	}
	rest, ok := a.below(u)
	if !ok {
		refuseImgix(w, http.StatusForbidden, "invalid_path", "images are not at "+printable(u.Host+u.Path)+" here")
		return
	}
	path, err := a.h.purgePath(rest, u.RawQuery)
	if err == nil {
		var job *purge.Job
		// As imgix does: what has not changed at its origin stays.
		job, err = a.h.purges.Submit(r.Context(), purge.Request{Paths: []string{path}, Mode: purge.Revalidate, Cause: purge.ByAPI}, nil)
		if err == nil {
			a.answerImgix(w, path, job.ID())
			return
		}
	}
	status, code, text := a.explain(w, err)
	refuseImgix(w, status, code, text)
}

func (a *admin) answerImgix(w http.ResponseWriter, path, id string) {
	if a.recent.again(path, time.Now()) {
		// The image may have changed since: the purge was made all the same.
		refuseImgix(w, http.StatusConflict, "duplicate", "this image was purged less than 10 seconds ago; it is purged again nevertheless, as "+id)
		return
	}
	type attributes struct {
		PurgeID string `json:"purge_id"`
	}
	type resource struct {
		Attributes attributes `json:"attributes"`
		ID         string     `json:"id"`
		Type       string     `json:"type"`
	}
	writeJSONAs(w, jsonAPI, http.StatusOK, struct {
		Data     resource       `json:"data"`
		Included []struct{}     `json:"included"`
		JSONAPI  jsonAPIVersion `json:"jsonapi"`
		Meta     struct{}       `json:"meta"`
	}{resource{attributes{id}, id, "purges"}, []struct{}{}, jsonAPIVersion{"1.0"}, struct{}{}})
}

// duplicates know which images were purged a moment ago.
type duplicates struct {
	mu sync.Mutex // guards at
	at map[string]time.Time
}

// maxDuplicates bounds them. What is forgotten is not said to be a duplicate.
const maxDuplicates = 10_000

// again reports whether path was given less than imgixSpacing before now, and remembers it.
func (d *duplicates) again(path string, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	before, known := d.at[path]
	if !known && len(d.at) >= maxDuplicates {
		for p, t := range d.at {
			if now.Sub(t) >= imgixSpacing {
				delete(d.at, p)
			}
		}
		if len(d.at) >= maxDuplicates {
			clear(d.at)
		}
	}
	if d.at == nil {
		d.at = make(map[string]time.Time)
	}
	d.at[path] = now
	return known && now.Sub(before) < imgixSpacing
}

// # URLs from outside

// A base is one of AdminOptions.Bases.
type base struct{ host, path string }

// parseBases reads AdminOptions.Bases. One that is no absolute URL is a base that nothing is below: what was meant to bound does.
func (h *Handler) parseBases(bases []string) (all []base) {
	for _, s := range bases {
		b := base{}
		if u, err := url.Parse(s); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
			b = base{normalHost(u.Host), strings.TrimSuffix(normalPath(u), "/")}
		} else {
			h.log.Error("one of AdminOptions.Bases is no absolute URL, so that nothing is below it", "base", s)
		}
		all = append(all, b)
	}
	return all
}

// below is what u's path has after a base, percent-encoded and with a leading slash. It reports whether u is below one.
func (a *admin) below(u *url.URL) (rest string, ok bool) {
	path := normalPath(u)
	longest := -1
	if len(a.bases) == 0 {
		rest, longest = path, 0
	}
	for _, b := range a.bases {
		after, under := strings.CutPrefix(path, b.path)
		if under && len(b.path) > longest && b.host != "" && b.host == normalHost(u.Host) && (after == "" || after[0] == '/') {
			rest, longest = after, len(b.path)
		}
	}
	if rest == "" {
		rest = "/"
	}
	return rest, longest >= 0
}

// normalPath is u's path in the one spelling that it has after syntax-based normalization (RFC 3986 section 6.2.2): without dots, and
// with nothing encoded that need not be.
func normalPath(u *url.URL) string {
	escaped := u.EscapedPath()
	b := make([]byte, 0, len(escaped))
	for i := 0; i < len(escaped); i++ {
		if escaped[i] == '%' && i+2 < len(escaped) {
			if c, err := strconv.ParseUint(escaped[i+1:i+3], 16, 8); err == nil && unreserved(byte(c)) {
				b = append(b, byte(c))
				i += 2
				continue
			}
		}
		b = append(b, escaped[i])
	}
	plain, err := url.Parse("http://h" + string(b))
	if err != nil {
		return escaped
	}
	return plain.ResolveReference(plain).EscapedPath()
}

// unreserved reports whether c is what RFC 3986 section 2.3 calls so.
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// # The draft

// invalidateWithin is how long an answer waits for the end of what it is about.
const invalidateWithin = 30 * time.Second

// errSelectorType says that an invalidation has selectors of a type that is not known here.
var errSelectorType = errors.New(`type: there are "uri", "uri-prefix", "origin" and "group"`)

// invalidate implements draft-nottingham-http-invalidation. Selectors that are of somewhere else, or select nothing that could be here, are
// passed over, as the draft has it for those that a client has no leave for.
func (a *admin) invalidate(w http.ResponseWriter, r *http.Request) {
	var event struct {
		Type      string   `json:"type"`
		Selectors []string `json:"selectors"`
		Groups    []string `json:"groups"`
		Purge     bool     `json:"purge"`
	}
	if !readJSONAs(w, r, "an invalidation event", &event, refuseHere) {
		return
	}
	mode := purge.Revalidate
	if event.Purge {
		mode = purge.Delete
	}
	requests, err := a.selection(event.Type, event.Selectors, event.Groups, mode)
	switch {
	case err == errSelectorType:
		refuseHere(w, http.StatusNotImplemented, "not_implemented", err.Error())
		return
	case err != nil:
		refuseHere(w, http.StatusBadRequest, "invalid_request", err.Error())
		return
	}
	var jobs []*purge.Job
	ids := []string{}
	for _, req := range requests {
		job, err := a.h.purges.Submit(r.Context(), req, nil)
		if err != nil {
			a.refuse(w, r, err) // those before it stand: who asks again asks for all
			return
		}
		jobs, ids = append(jobs, job), append(ids, job.ID())
	}
	status, err := a.wait(w, r, jobs)
	if err != nil {
		refuseHere(w, status, "purge_failed", err.Error())
		return
	}
	writeJSON(w, status, struct {
		Purges []string `json:"purges"`
	}{ids})
}

// maxInvalidations is how many requests may wait for the end of theirs.
const maxInvalidations = 100

// wait waits for the end of jobs, as long as an answer may. It returns what is to be answered.
func (a *admin) wait(w http.ResponseWriter, r *http.Request, jobs []*purge.Job) (status int, err error) {
	defer a.waiting.Add(-1)
	if a.waiting.Add(1) > maxInvalidations {
		return http.StatusAccepted, nil
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(2 * invalidateWithin)) // where there is none, the server's own holds
	ctx, stop := context.WithTimeout(r.Context(), invalidateWithin)
	defer stop()
	for _, job := range jobs {
		rec, waitErr := job.Wait(ctx)
		if waitErr != nil {
			return http.StatusAccepted, nil // it goes on
		}
		if rec.State != purge.Done && err == nil {
			err = rec.Err()
		}
	}
	if err != nil {
		return http.StatusBadGateway, err // an origin's failure, or a CDN's
	}
	return http.StatusOK, nil
}

// selection finds what an event is about.
func (a *admin) selection(kind string, selectors, groups []string, mode purge.Mode) ([]purge.Request, error) {
	switch kind {
	case "uri", "uri-prefix", "origin", "group":
	case "":
		return nil, errors.New("type is missing")
	default:
		return nil, errSelectorType
	}
	if selectors == nil {
		return nil, errors.New("selectors is missing")
	}
	if kind == "group" && len(groups) == 0 {
		return nil, errors.New(`groups is missing, which type "group" has to have`)
	}
	var s selected
	ours := false
	for _, selector := range selectors {
		u, err := url.Parse(selector)
		if err != nil || u.Scheme == "" || u.Host == "" {
			return nil, fmt.Errorf("selectors: %q is no absolute URI", printable(selector))
		}
		if kind == "origin" || kind == "group" {
			if u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
				return nil, fmt.Errorf(`selectors: %q is not the URI of an origin, such as "https://www.example.com:443"`, printable(selector))
			}
			ours = ours || a.hasOrigin(u)
			continue
		}
		if u.Scheme != "http" && u.Scheme != "https" {
			continue
		}
		path, ok := a.below(u)
		if !ok {
			// What is above a base is a prefix of all that is below it.
			s.everything = s.everything || kind == "uri-prefix" && u.RawQuery == "" && a.isAbove(u)
			continue
		}
		if image, err := a.h.purgePath(path, u.RawQuery); err == nil {
			s.images = append(s.images, image)
		}
		if kind == "uri-prefix" && u.RawQuery == "" {
			_ = s.addFolder(a.h, path) // what could be no folder has nothing in it
		}
	}
	switch {
	case kind == "origin":
		s.everything = ours
	case kind == "group" && ours:
		return []purge.Request{{Scope: purge.Tag, Tags: groups, Mode: mode, Cause: purge.ByAPI}}, nil
	}
	a.known(&s)
	return s.requests(mode), nil
}

// known leaves out of s what is in no source that there is.
func (a *admin) known(s *selected) {
	missing := func(path string) bool {
		source, _, _ := strings.Cut(path[1:], "/")
		name, err := url.PathUnescape(source)
		return err != nil || a.h.sources[name] == nil
	}
	s.sources = slices.DeleteFunc(s.sources, func(name string) bool { return a.h.sources[name] == nil })
	s.folders = slices.DeleteFunc(s.folders, missing)
	s.images = slices.DeleteFunc(s.images, missing)
}

// hasOrigin reports whether images are at u's host.
func (a *admin) hasOrigin(u *url.URL) bool {
	if u.Scheme != "http" && u.Scheme != "https" {
		return false
	}
	return len(a.bases) == 0 || slices.ContainsFunc(a.bases, func(b base) bool { return b.host != "" && b.host == normalHost(u.Host) })
}

// isAbove reports whether a base is below u.
func (a *admin) isAbove(u *url.URL) bool {
	path := strings.TrimSuffix(normalPath(u), "/") + "/"
	return slices.ContainsFunc(a.bases, func(b base) bool {
		return b.host != "" && b.host == normalHost(u.Host) && strings.HasPrefix(b.path+"/", path)
	})
}

// # PURGE

// PurgeMethod returns a handler that answers PURGE of the URLs of images, and has next answer all else. next is h, or what h is wrapped in; nil
// means h:
//
//	http.Handle("/img/", http.StripPrefix("/img", h.PurgeMethod(nil, &imagecdn.AdminOptions{Keys: keys})))
//
// A request has a key in Authorization: Bearer KEY or Fastly-Key: KEY, or is one that o.Authorize takes; with a nil o, or neither keys nor
// Authorize, every PURGE is answered 401. The query of the URL tells
// which image it is of, where the Dialect has it so, and nothing else: all that was made of the image goes. With Soft-Purge: 1 or
// Fastly-Soft-Purge: 1 it is served on while it is refreshed ([purge.Stale]).
//
// The answer is 200 with {"status":"ok","id":"…"} when the purge is in force here; GET /api/v1/purges/{id} of [Handler.Admin] tells of the
// rest. Refusals are as there.
func (h *Handler) PurgeMethod(next http.Handler, o *AdminOptions) http.Handler {
	if next == nil {
		next = h
	}
	a := newAdmin(h, o)
	purges := a.keyed("Fastly-Key", refuseHere, a.purgeURL)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PURGE" {
			purges(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (a *admin) purgeURL(w http.ResponseWriter, r *http.Request) {
	req := purge.Request{Mode: purge.Delete, Cause: purge.ByAPI}
	for _, name := range []string{"Fastly-Soft-Purge", "Soft-Purge"} {
		switch v := r.Header.Get(name); v {
		case "", "0":
		case "1":
			req.Mode = purge.Stale
		default:
			refuseHere(w, http.StatusBadRequest, "invalid_request", fmt.Sprintf("%s is %q; it may be 1 or 0", name, printable(v)))
			return
		}
	}
	path, err := a.h.purgePath(r.URL.EscapedPath(), r.URL.RawQuery)
	var job *purge.Job
	if err == nil {
		req.Paths = []string{path}
		job, err = a.h.purges.Submit(r.Context(), req, nil)
	}
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, struct {
		Status string `json:"status"`
		ID     string `json:"id"`
	}{"ok", job.ID()})
}
