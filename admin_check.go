package imagecdn

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/imagecdn/imagecdn/purge"
)

// maxChecked is how many paths one check looks at.
const maxChecked = 2000

// A pathCheck says what a purge would make of one path.
type pathCheck struct {
	Given  string      `json:"given"`
	Path   string      `json:"path"`             // in its clean form; empty where it is refused
	Again  bool        `json:"again,omitempty"`  // it is there before, and counts once
	Cached *bool       `json:"cached,omitempty"` // whether anything is known of the image; not said where many are checked
	Error  *checkError `json:"error,omitempty"`
}

type checkError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Want    string `json:"want,omitempty"` // the right form, where it can be told
}

// checkReport is what a purge would make of a list.
type checkReport struct {
	Paths    []pathCheck `json:"paths"`
	Distinct int         `json:"distinct"` // that would be purged
	Wrong    int         `json:"wrong"`
	Most     int         `json:"most"` // that one purge may have
	Error    *checkError `json:"error,omitempty"`
}

// splitPaths splits what somebody has typed into paths: at commas and line breaks. A comma of a path is written %2C.
func splitPaths(text string) (paths []string) {
	for p := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
		if p = strings.TrimSpace(p); p != "" {
			paths = append(paths, p)
		}
	}
	return paths
}

// maxPurgePaths is how many paths a purge may have that is made without a tenant.
func (h *Handler) maxPurgePaths() int {
	most := 1000
	if o := h.opts.Purge; o != nil {
		if o.MaxPaths > 0 {
			most = o.MaxPaths
		}
		if o.Limits != nil {
			if l := o.Limits(""); l.MaxPaths > 0 {
				most = min(most, l.MaxPaths)
			}
		}
	}
	return most
}

// checkAll says what a purge of these paths would make of them, by the rules that it is accepted by.
func (h *Handler) checkAll(scope purge.Scope, paths []string) checkReport {
	r := checkReport{Paths: []pathCheck{}, Most: h.maxPurgePaths()}
	if len(paths) > maxChecked {
		r.Error = &checkError{Code: "too_many_paths", Message: fmt.Sprintf("%d are listed; %d can be looked at", len(paths), maxChecked)}
		paths = paths[:maxChecked]
	}
	seen := make(map[string]bool)
	for _, p := range paths {
		c := h.checkPath(scope, p)
		switch {
		case c.Error != nil:
			r.Wrong++
		case seen[c.Path]:
			c.Again = true
		default:
			seen[c.Path] = true
			r.Distinct++
		}
		if c.Error == nil && scope == purge.Original && len(paths) <= 100 {
			cached := h.knows(c.Path)
			c.Cached = &cached
		}
		r.Paths = append(r.Paths, c)
	}
	if r.Distinct > r.Most && r.Error == nil {
		r.Error = &checkError{Code: "too_many_paths", Message: fmt.Sprintf("%d are listed; one purge may have %d", r.Distinct, r.Most)}
	}
	return r
}

func (h *Handler) checkPath(scope purge.Scope, given string) pathCheck {
	c := pathCheck{Given: given}
	var err error
	switch scope {
	case purge.Prefix:
		if c.Path, err = purge.CleanFolder(given); err == nil {
			_, _, err = h.targets.find(c.Path)
		}
	case purge.Tag:
		c.Path = given
	default:
		if c.Path, err = purge.CleanPath(given); err == nil {
			_, _, err = h.targets.find(c.Path)
		}
	}
	if err != nil {
		c.Path, c.Error = "", &checkError{Code: purge.ErrorCode(err), Message: oneLine(err.Error())}
		if p, ok := errors.AsType[*purge.PathError](err); ok {
			c.Error.Message, c.Error.Want = oneLine(p.Reason), p.Want
		}
	}
	return c
}

// knows reports whether anything is known of an image, in any version. path is clean.
func (h *Handler) knows(path string) bool {
	s, image, err := h.targets.find(path)
	return err == nil && (s.cache.Known(image, "") != nil || len(s.cache.Versions(image)) > 0)
}

func (a *admin) checkPaths(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Scope purge.Scope `json:"scope"`
		Text  string      `json:"text"`
		Paths []string    `json:"paths"`
	}
	if !readJSON(w, r, &req, "a list of paths") {
		return
	}
	switch req.Scope {
	case "", purge.Original, purge.Prefix, purge.Tag:
	default:
		a.refuse(w, r, &purge.RequestError{Field: "scope", Reason: fmt.Sprintf("is %q; it may be %q, %q or %q", oneLine(string(req.Scope)), purge.Original, purge.Prefix, purge.Tag)})
		return
	}
	writeJSON(w, http.StatusOK, a.h.checkAll(req.Scope, append(req.Paths, splitPaths(req.Text)...)))
}

// readJSON reads the body of a request into v, or refuses it: it is not what it should be.
func readJSON(w http.ResponseWriter, r *http.Request, v any, what string) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAPIBody))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		status := http.StatusBadRequest
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			status = http.StatusRequestEntityTooLarge
		}
		writeAPIError(w, status, "invalid_request", "the body is not "+what+": "+strings.TrimPrefix(err.Error(), "json: "), "")
		return false
	}
	if d.More() {
		writeAPIError(w, http.StatusBadRequest, "invalid_request", "the body has more than "+strings.Replace(what, "a ", "one ", 1), "")
		return false
	}
	return true
}
