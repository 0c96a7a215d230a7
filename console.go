package imagecdn

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"math"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

//go:embed console/*.html console/*.css console/*.js console/*.svg console/openapi.json
var consoleFiles embed.FS

// consolePolicy lets pages of the console have what comes from here, in files of its own, and nothing else: no script or style in a
// page, no frame around it.
const consolePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; " +
	"frame-ancestors 'none'; base-uri 'none'"

// A console is the API for people: pages that are made here, and work without a script. With one they follow what happens.
type console struct {
	*admin
	assets map[string]asset // by name
}

// An asset is a file that pages refer to by its content, so that browsers may keep it for ever.
type asset struct {
	contentType string
	body        []byte
	version     string
}

// consolePages has a template for each kind of page.
var consolePages = sync.OnceValue(func() map[string]*template.Template {
	pages := make(map[string]*template.Template)
	for _, name := range []string{"log", "purge", "review", "images", "sign-in", "message"} {
		pages[name] = template.Must(template.New("layout.html").Funcs(template.FuncMap{
			"label": stateLabel, "tone": stateTone, "bytes": byteText, "count": countText, "seconds": secondsText, "escape": purge.EscapePath,
			"result": resultText, "steps": stepsOf, "thumb": isPicture,
			"row": func(prefix string, row any) any {
				return struct {
					Prefix string
					Row    any
				}{prefix, row}
			},
			"things": func(prefix, id string, all []thingReport) any {
				return struct {
					Prefix, ID string
					Things     []thingReport
				}{prefix, id, all}
			},
		}).ParseFS(consoleFiles, "console/layout.html", "console/parts.html", "console/"+name+".html"))
	}
	return pages
})

func newConsole(a *admin) *console {
	c := &console{admin: a, assets: make(map[string]asset)}
	for name, contentType := range map[string]string{ // which package mime would ask the system for
		"console.css": "text/css; charset=utf-8", "console.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml",
	} {
		body, err := consoleFiles.ReadFile("console/" + name)
		if err != nil {
			panic(err) // it is part of the program
		}
		sum := sha256.Sum256(body)
		c.assets[name] = asset{contentType, body, hex.EncodeToString(sum[:6])}
	}
	return c
}

// routes are the routes of the console, without /console, and whether they take somebody who has signed in.
func (c *console) routes() (open, signed []route) {
	open = []route{
		{"GET /sign-in", c.signInPage},
		{"POST /sign-in", c.signIn},
		{"POST /sign-out", c.signOut},
		{"GET /static/{version}/{name}", c.static},
	}
	signed = []route{
		{"GET ", c.logPage},
		{"POST /review", c.reviewPage},
		{"POST /purges", c.submitForm},
		{"GET /purges/{id}", c.purgePage},
		{"POST /purges/{id}/retry", c.retryForm},
		{"POST /purges/{id}/cancel", c.cancelForm},
		{"GET /images", c.imagesPage},
		{"POST /images", c.imagesPage},
		{"GET /thing", c.admin.thing},
	}
	return open, signed
}

func (c *console) register(mux *http.ServeMux) {
	open, signed := c.routes()
	add := func(r route, handle http.HandlerFunc) {
		method, path, _ := strings.Cut(r.pattern, " ")
		mux.HandleFunc(method+" /console"+path, handle)
	}
	for _, r := range open {
		add(r, r.handle)
	}
	for _, r := range signed {
		add(r, c.signedIn(r.handle))
	}
}

// signedIn has next answer those who may ask. Others are sent to the form, where there is one.
func (c *console) signedIn(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := c.door.check(r)
		if err == nil {
			next(w, r)
			return
		}
		e := authErrorOf(err)
		if c.door.authorize == nil && e == errNoKey && r.Method == http.MethodGet {
			http.Redirect(w, r, prefixOf(r)+"/console/sign-in?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
			return
		}
		e.setRetry(w)
		text := e.explain()
		if e == errNoKey {
			text = "Sign in first."
		}
		c.message(w, r, e.status, "Not for you", text)
	}
}

// A page is what every page has.
type page struct {
	Prefix string // of links to pages and to the API
	Name   string // of the template
	Title  string
	Signed bool // in, by a session that can be ended
	Body   any

	console *console
}

// Asset is the URL of a file that pages refer to.
func (p *page) Asset(name string) string {
	return p.Prefix + "/console/static/" + p.console.assets[name].version + "/" + name
}

// show answers with a page.
func (c *console) show(w http.ResponseWriter, r *http.Request, status int, name, title string, body any) {
	p := &page{Prefix: prefixOf(r), Name: name, Title: title, Body: body, console: c}
	p.Signed = c.door.authorize == nil && c.door.sessions.has(tokenOf(r), time.Now())
	var text bytes.Buffer
	if err := consolePages()[name].Execute(&text, p); err != nil {
		c.h.log.Error("a page of the console cannot be made", "page", name, "error", err)
		http.Error(w, "the server failed", http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", consolePolicy)
	header.Set("X-Frame-Options", "DENY") // for what is older than frame-ancestors
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Referrer-Policy", "same-origin") // without any, forms would have the Origin "null"
	w.WriteHeader(status)
	_, _ = w.Write(text.Bytes()) // a client that has gone needs no page
}

func (c *console) message(w http.ResponseWriter, r *http.Request, status int, title, text string) {
	c.show(w, r, status, "message", title, text)
}

// fail answers with a page that says why something was refused.
func (c *console) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, code, text := c.statusOf(err)
	if l, ok := errors.AsType[*purge.LimitError](err); ok && l.RetryAfter > 0 {
		w.Header().Set("Retry-After", fmt.Sprintf("%.0f", math.Ceil(l.RetryAfter.Seconds())))
	}
	c.message(w, r, status, strings.ReplaceAll(code, "_", " "), text)
}

func (c *console) static(w http.ResponseWriter, r *http.Request) {
	a, ok := c.assets[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	header := w.Header()
	header.Set("Content-Type", a.contentType)
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	if r.PathValue("version") == a.version {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	_, _ = w.Write(a.body)
}

// signInForm is what the page to sign in shows.
type signInForm struct {
	Next   string
	Error  string
	Closed bool // there is no key
}

// nextOf is the page to go to after signing in: one of the console's, and nothing else.
func nextOf(r *http.Request, next string) string {
	console := prefixOf(r) + "/console"
	if u, err := url.Parse(next); err == nil && u.Scheme == "" && u.Host == "" && !strings.Contains(next, "\\") {
		if u.Path == "/console" || strings.HasPrefix(u.Path, "/console/") && path.Clean(u.Path) == u.Path {
			return prefixOf(r) + u.RequestURI()
		}
	}
	return console
}

func (c *console) signInPage(w http.ResponseWriter, r *http.Request) {
	if c.door.authorize != nil || c.door.sessions.has(tokenOf(r), time.Now()) {
		http.Redirect(w, r, nextOf(r, r.URL.Query().Get("next")), http.StatusSeeOther)
		return
	}
	c.show(w, r, http.StatusOK, "sign-in", "Sign in", signInForm{Next: r.URL.Query().Get("next"), Closed: len(c.door.keys) == 0})
}

func (c *console) signIn(w http.ResponseWriter, r *http.Request) {
	if c.door.authorize != nil {
		http.Redirect(w, r, nextOf(r, ""), http.StatusSeeOther)
		return
	}
	if c.door.sameOrigin.Check(r) != nil {
		c.message(w, r, http.StatusForbidden, "Refused", errCrossOrigin.text)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	form := signInForm{Next: r.PostFormValue("next"), Closed: len(c.door.keys) == 0}
	if err := c.door.tryKey(r, strings.TrimSpace(r.PostFormValue("key"))); err != nil {
		e := authErrorOf(err)
		e.setRetry(w)
		form.Error = e.explain()
		if e == errWrongKey {
			form.Error = "That key opens nothing here."
		}
		c.show(w, r, e.status, "sign-in", "Sign in", form)
		return
	}
	c.door.sessions.end(tokenOf(r)) // a new one each time, so that nobody can have one chosen for them
	setSession(w, r, prefixOf(r), c.door.sessions.begin(time.Now()))
	http.Redirect(w, r, nextOf(r, form.Next), http.StatusSeeOther)
}

func (c *console) signOut(w http.ResponseWriter, r *http.Request) {
	if c.door.sameOrigin.Check(r) != nil {
		c.message(w, r, http.StatusForbidden, "Refused", errCrossOrigin.text)
		return
	}
	c.door.sessions.end(tokenOf(r))
	setSession(w, r, prefixOf(r), "")
	http.Redirect(w, r, prefixOf(r)+"/console/sign-in", http.StatusSeeOther)
}

// A purgeForm is what the form for a purge shows.
type purgeForm struct {
	Scope   purge.Scope
	Text    string
	Mode    purge.Mode
	Source  string
	Sources []string
	Most    int
	Error   string
}

func (c *console) newForm() purgeForm {
	return purgeForm{Scope: purge.Original, Mode: purge.Delete, Sources: slices.Sorted(maps.Keys(c.h.sources)), Most: c.h.maxPurgePaths()}
}

// formOf reads the form. Paths may be in it one by one, as the page for reviewing has them.
func (c *console) formOf(w http.ResponseWriter, r *http.Request) (f purgeForm, paths []string, err error) {
	r.Body = http.MaxBytesReader(w, r.Body, 4*maxAPIBody)
	if err := r.ParseForm(); err != nil {
		return f, nil, &purge.RequestError{Field: "form", Reason: "cannot be read, or is too long"}
	}
	f = c.newForm()
	f.Scope, f.Mode = purge.Scope(r.PostForm.Get("scope")), purge.Mode(r.PostForm.Get("mode"))
	f.Text, f.Source = r.PostForm.Get("text"), r.PostForm.Get("source")
	return f, append(r.PostForm["path"], splitPaths(f.Text)...), nil
}

// A logView is what the page of the log shows.
type logView struct {
	Form   purgeForm
	Rows   []logRow
	Blank  logRow // to make rows of
	Cursor string
	Next   string
	Stats  *statsReport
	Nodes  *nodesReport // nil without a cluster
}

// A logRow is a job in the log.
type logRow struct {
	purgeSummary
	Links []string // the first maxLinks
}

// maxLinks is how many paths of a job the log shows. Its own page has all.
const maxLinks = 10

func newLogRow(r *purge.Record) logRow {
	row := logRow{purgeSummary: summarize(r)}
	for _, p := range r.Paths[:min(len(r.Paths), maxLinks)] {
		row.Links = append(row.Links, p.Path)
	}
	return row
}

// More is how many paths there are beyond Links.
func (r logRow) More() int { return r.Paths - len(r.Links) }

func (c *console) logPage(w http.ResponseWriter, r *http.Request) {
	cursor := r.URL.Query().Get("cursor")
	records, next, err := c.h.purges.List(cursor, 0)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	view := logView{Form: c.newForm(), Rows: make([]logRow, len(records)), Cursor: cursor, Next: next, Stats: c.h.report(), Nodes: c.h.nodesReport()}
	view.Form.Text = r.URL.Query().Get("path")
	for i := range records {
		view.Rows[i] = newLogRow(&records[i])
	}
	c.show(w, r, http.StatusOK, "log", "Invalidation", view)
}

// A review is what the page shows that asks before a purge is made.
type review struct {
	Form  purgeForm
	Check checkReport
}

func (c *console) reviewPage(w http.ResponseWriter, r *http.Request) {
	form, paths, err := c.formOf(w, r)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	view := review{Form: form}
	if form.Scope != purge.All {
		view.Check = c.h.checkAll(form.Scope, paths)
		if len(view.Check.Paths) == 0 {
			view.Form.Error = "Nothing is listed."
		}
	}
	c.show(w, r, http.StatusOK, "review", "Review", view)
}

func (c *console) submitForm(w http.ResponseWriter, r *http.Request) {
	form, paths, err := c.formOf(w, r)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	req := purge.Request{Scope: form.Scope, Mode: form.Mode, Cause: purge.ByAPI}
	switch form.Scope {
	case purge.All:
		if req.Source = form.Source; r.PostForm.Get("sure") != "yes" {
			c.message(w, r, http.StatusBadRequest, "Not purged", "A purge of everything has to be confirmed. Go back and tick the box.")
			return
		}
	case purge.Tag:
		req.Tags = paths
	default:
		req.Paths = paths
	}
	job, err := c.h.purges.Submit(r.Context(), req, nil)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	http.Redirect(w, r, prefixOf(r)+"/console/purges/"+job.ID(), http.StatusSeeOther)
}

func (c *console) purgePage(w http.ResponseWriter, r *http.Request) {
	rec, err := c.h.purges.Get(r.PathValue("id"))
	if err != nil {
		c.fail(w, r, err)
		return
	}
	c.show(w, r, http.StatusOK, "purge", "Invalidation "+rec.ID, struct {
		purge.Record
		Row logRow
	}{rec, newLogRow(&rec)})
}

func (c *console) retryForm(w http.ResponseWriter, r *http.Request) {
	if _, err := c.h.purges.Retry(r.Context(), r.PathValue("id")); err != nil {
		c.fail(w, r, err)
		return
	}
	http.Redirect(w, r, prefixOf(r)+"/console/purges/"+r.PathValue("id"), http.StatusSeeOther)
}

func (c *console) cancelForm(w http.ResponseWriter, r *http.Request) {
	if _, err := c.h.purges.Cancel(r.Context(), r.PathValue("id")); err != nil {
		c.fail(w, r, err)
		return
	}
	http.Redirect(w, r, prefixOf(r)+"/console/purges/"+r.PathValue("id"), http.StatusSeeOther)
}

// An imagesView is what the page about one image shows.
type imagesView struct {
	Image string
	Error string
	Want  string
	Found *imageReport
	Asked string // URL
	Asks  *askReport
	Names []string // of sources
}

// shownHeaders are the fields of an answer that the page shows, in this order.
var shownHeaders = []string{"Cache-Status", "Cache-Control", "Age", "Etag", "Content-Type", "Content-Length", "Vary", "Retry-After"}

// Fields are those of shownHeaders that the answer has.
func (a *askReport) Fields() (all [][2]string) {
	for _, name := range shownHeaders {
		if v := a.Header.Get(name); v != "" {
			all = append(all, [2]string{name, v})
		}
	}
	return all
}

// Milliseconds is how long the answer took.
func (a *askReport) Milliseconds() float64 { return float64(a.Took) / float64(time.Millisecond) }

// imagesPage shows what is known and kept of an image, and, as it is a POST, what a request for a picture of it is answered: that may
// fetch and make something, as any request may.
func (c *console) imagesPage(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	view := imagesView{Image: strings.TrimSpace(r.FormValue("image")), Names: slices.Sorted(maps.Keys(c.h.sources))}
	status := http.StatusOK
	if r.Method == http.MethodPost {
		view.Asked = strings.TrimSpace(r.PostFormValue("url"))
		asks, err := c.h.ask(r, view.Asked, browserAccept)
		if view.Asks = asks; err != nil {
			view.Error, status = err.Error(), http.StatusBadRequest
		}
	}
	if view.Image != "" {
		// What is typed here may be copied from anywhere: the right form is made of it where there is one.
		clean, err := purge.CleanPath(view.Image)
		if err == nil {
			view.Found, err = c.h.describe(r, clean)
		}
		if err != nil {
			var text string
			status, _, text = c.statusOf(err)
			view.Error = text
			if p, ok := errors.AsType[*purge.PathError](err); ok {
				view.Error, view.Want = p.Reason, p.Want
			}
		}
	}
	if f := view.Found; f != nil && view.Asked == "" {
		view.Asked = purge.EscapePath(f.Image)
		for _, t := range f.Kept {
			if len(t.URLs) > 0 {
				view.Asked = t.URLs[0]
				break
			}
		}
	}
	c.show(w, r, status, "images", "Images", view)
}

// browserAccept is what browsers say they take where an image belongs.
const browserAccept = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"

// stateLabel is the word for a state, as Cloudimage's console has it.
func stateLabel(s purge.State) string {
	switch s {
	case purge.Received:
		return "Received"
	case purge.Preparing:
		return "Preparing"
	case purge.FlushingServers:
		return "Flushing servers"
	case purge.FlushingCDN:
		return "Flushing CDN servers"
	case purge.Done:
		return "Done"
	case purge.ErrorCDNNode:
		return "ERROR_CDN_NODE"
	case purge.Error:
		return "ERROR"
	case purge.Expired:
		return "Expired"
	}
	return string(s)
}

// stateTone is the class of a state: its colour and its sign. The word says the same.
func stateTone(s purge.State) string {
	switch s {
	case purge.Done:
		return "ok"
	case purge.ErrorCDNNode, purge.Error:
		return "bad"
	case purge.Expired:
		return "off"
	case purge.Received, "":
		return "wait"
	}
	return "busy"
}

// A step is a state on the way of a job.
type step struct {
	State purge.State
	Time  time.Time // zero where it was not reached
	Now   bool
}

// stepsOf are the states that the last attempt of a job has reached, and those that it may reach yet.
func stepsOf(r purge.Record) (steps []step) {
	for _, at := range r.History {
		if at.Attempt == r.Attempt {
			steps = append(steps, step{State: at.State, Time: at.Time})
		}
	}
	if len(steps) > 0 {
		steps[len(steps)-1].Now = true
	}
	if r.State.Final() {
		return steps
	}
	way := []purge.State{purge.Received, purge.Preparing, purge.FlushingServers, purge.FlushingCDN, purge.Done}
	for _, s := range way[slices.Index(way, r.State)+1:] {
		steps = append(steps, step{State: s})
	}
	return steps
}

// resultText says in a few words what a job has come to, as console.js does.
func resultText(s logRow) string {
	var parts []string
	if s.Paths > 1 && s.Ended < s.Paths {
		parts = append(parts, fmt.Sprintf("%s of %s", countText(s.Ended), countText(s.Paths)))
	}
	if s.Failed > 0 && s.Paths > 1 {
		parts = append(parts, fmt.Sprintf("%s failed", countText(s.Failed)))
	}
	if n := s.Originals + s.Derivatives + s.Composites; n > 0 {
		parts = append(parts, fmt.Sprintf("%s removed, %s", countText(n), byteText(s.Bytes)))
	} else if s.State == purge.Done {
		parts = append(parts, "nothing was stored")
		if s.Mode != purge.Delete {
			parts[len(parts)-1] = "nothing removed"
		}
	}
	return strings.Join(parts, " · ")
}

// byteText is a number of bytes to be read.
func byteText(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v := float64(n)
	for _, unit := range []string{"kB", "MB", "GB", "TB", "PB"} {
		if v /= 1000; v < 999.5 || unit == "PB" {
			if v < 9.95 {
				return fmt.Sprintf("%.1f %s", v, unit)
			}
			return fmt.Sprintf("%.0f %s", v, unit)
		}
	}
	return ""
}

// countText is a whole number with its thousands apart.
func countText(n any) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// secondsText is a time in the unit that fits.
func secondsText(n int64) string {
	sign := ""
	if n < 0 {
		sign, n = "−", -n
	}
	switch {
	case n < 120:
		return fmt.Sprintf("%s%d s", sign, n)
	case n < 2*60*60:
		return fmt.Sprintf("%s%d min", sign, n/60)
	case n < 48*60*60:
		return fmt.Sprintf("%s%d h", sign, n/60/60)
	}
	return fmt.Sprintf("%s%s days", sign, countText(n/60/60/24))
}

// isPicture reports whether something that is kept can be shown as a picture.
func isPicture(t thingReport) bool {
	return strings.HasPrefix(t.Type, "image/") && (t.Type != drawingType || t.Kind != kindNames[0])
}
